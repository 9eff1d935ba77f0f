//! `etl erase`.

use std::{fmt::Write, fs};

use super::{
    args::EraseArgs,
    display::{Display, Ending},
    text::counted,
};
use crate::{
    cancel::Cancel,
    run::{EraseRequest, Erased, RequestError, RunError, erase, erase_command},
    settings::{self, Settings},
    warehouse::redshift::script,
};

/// What no command of this program reaches.
const NOT_REACHED: [&str; 8] = [
    "backups, copies and snapshots of the output",
    "older versions of objects, where the bucket keeps versions",
    "the source itself: ask for the erasure there",
    "the warehouse, and every table and view that was made of it: the statements below are for Redshift",
    "logs of runs and schedulers, alerts and traces that were sent, HTML reports, and answers that somebody has kept",
    "values that only a record's own text holds: free text in a status, a product or an order id",
    "records that repeat only a name, a phone number or a postal address",
    "e-mail addresses that only files had which `--keep` and `--retention` have removed, that were masked, or that another user has",
];

/// The first line of a file of ids that is the name of their column.
const HEADER: &str = "user_id";

pub(super) fn run(args: &EraseArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.settings.flags)?;
    let sources = if settings.shops.is_empty() { vec![settings.clone()] } else { settings::load_shops(&args.settings.flags, &[])? };
    let users = users(args)?;
    let request = EraseRequest { settings: &settings, sources: &sources, users: &users, columns: &args.columns };
    let erased = erase(&request, cancel)?;
    let mut result = serde_json::to_value(&erased).unwrap_or_default();
    result["status"] = status(&erased, &settings).into();
    result["not_reached"] = NOT_REACHED.as_slice().into();
    display.outcome_with_script(Ending::Success, &result, |out| {
        let mut told = String::new();
        show(&mut told, &erased, &settings);
        out.push_str(&display.fitted(&told));
        out.push_str(script(&erased.redshift_sql).trim_end());
        out.push('\n');
    });
    Ok(0)
}

/// The ids of the flags, and those of the file.
fn users(args: &EraseArgs) -> Result<Vec<String>, RequestError> {
    let mut users = args.users.clone();
    if let Some(path) = &args.users_file {
        let failed = |error: std::io::Error| RequestError::UsersFile { path: path.clone(), detail: error.to_string() };
        users.extend(ids_of(&fs::read_to_string(path).map_err(failed)?).map(str::to_owned));
    }
    Ok(users)
}

/// The ids of a file: one a line, without blank lines, a byte order mark, and the name of the column where it is the first.
fn ids_of(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.is_empty());
    lines.enumerate().filter(|(number, line)| *number > 0 || line.trim_matches('"').to_lowercase() != HEADER).map(|(_, line)| line)
}

fn status(erased: &Erased, settings: &Settings) -> &'static str {
    match (settings.dry_run, erased.commit) {
        (true, _) => "dry_run",
        (false, Some(_)) => "published",
        (false, None) => "unchanged",
    }
}

fn show(out: &mut String, erased: &Erased, settings: &Settings) {
    let users = counted(erased.users as u64, "user");
    let _ = match (settings.dry_run, &erased.run_id, erased.commit) {
        (true, ..) => writeln!(out, "dry run: nothing was changed. To erase {users} would change"),
        (false, Some(run_id), Some(commit)) => writeln!(out, "{users} erased, by run {run_id} (commit {commit})"),
        (false, ..) => writeln!(out, "{users} erased before, and nothing of them has come back: the layer stays as it is"),
    };
    show_users(out, erased);
    let partitions = counted(erased.partitions_written.len() as u64, "partition");
    let _ = writeln!(out, "  dim_user: {} removed", counted(erased.dim_user_rows, "row"));
    let _ = writeln!(
        out,
        "  fact_order: {} in {partitions}: they stay, with their money, without these users",
        counted(erased.fact_order_rows, "row")
    );
    let _ = writeln!(out, "  quarantine: {} withheld", counted(erased.quarantined_records, "record"));
    let _ = writeln!(out, "  raw: {} withheld: a rebuild does not bring them again", counted(erased.raw_records, "record"));
    let _ = writeln!(out, "  reports: values removed from {}", counted(erased.reports_changed, "file"));
    if erased.damaged_records_removed > 0 {
        let _ = writeln!(out, "  damaged records of the log: {} removed", counted(erased.damaged_records_removed, "copy"));
    }
    let _ = writeln!(out, "  kept versions: {} removed", counted(erased.versions_removed as u64, "file"));
    let _ =
        writeln!(out, "\nLater runs leave these users out. What earlier runs replaced is gone: `etl undo` of them is no longer possible.");
    show_columns(out, erased);
    let _ = writeln!(out, "\nNot reached:");
    for place in NOT_REACHED {
        let _ = writeln!(out, "  - {place}");
    }
    let _ = writeln!(out, "\nIn Redshift (this names the users: do not keep it in a log):");
}

/// Users other than those that were asked for.
fn show_users(out: &mut String, erased: &Erased) {
    if !erased.users_with_them.is_empty() {
        let _ = writeln!(out, "with them go guests whose ids are their e-mail addresses: {}", erased.users_with_them.join(", "));
    }
    if !erased.same_address.is_empty() {
        let _ = writeln!(
            out,
            "other users have an e-mail address of theirs, so that records with this address alone stay. If it is the same person: {}",
            erase_command(&erased.same_address)
        );
    }
    if erased.users_before > 0 && erased.commit.is_some() {
        let _ = writeln!(out, "{} of these users had been erased before: what has come back goes again", erased.users_before);
    }
}

/// What becomes of the extra columns of facts.
fn show_columns(out: &mut String, erased: &Erased) {
    if !erased.columns_emptied.is_empty() {
        let columns = erased.columns_emptied.join(", ");
        let _ = writeln!(out, "Emptied in the rows of these users, as this or an earlier erasure asked for: {columns}");
    }
    if !erased.columns_kept.is_empty() {
        let columns = erased.columns_kept.join(", ");
        let _ = writeln!(
            out,
            "These extra columns of fact_order stay as they are, but for cells with an e-mail address of these users; --column NAME empties one: {columns}"
        );
    }
    if !erased.columns_not_reached.is_empty() {
        let columns = erased.columns_not_reached.join(", ");
        let _ = writeln!(
            out,
            "Rows that an earlier erasure changed name nobody, and can't be found again: these columns stay as they are there: {columns}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_ids_may_come_from_a_spreadsheet() {
        for text in ["u-1\nu-2", "\u{feff}user_id\r\nu-1\r\n\r\n u-2 \r\n", "\n\"User_ID\"\nu-1\nu-2\n\n", "\u{feff}u-1\n\nu-2\n"] {
            assert_eq!(ids_of(text).collect::<Vec<_>>(), ["u-1", "u-2"], "{text:?}");
        }
        assert_eq!(ids_of("u-1\nuser_id\n").collect::<Vec<_>>(), ["u-1", "user_id"], "an id below the first line is one");
        assert_eq!(ids_of("\u{feff}user_id\r\n").count(), 0);
    }
}
