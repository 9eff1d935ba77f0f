//! `etl erase`.

use std::{collections::BTreeSet, fmt::Write, fs};

use super::{
    args::EraseArgs,
    confirm::{Confirmation, can_ask, confirm},
    display::{Display, Ending},
    escaped::escaped,
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
    "the source: erase the users there, too",
    "the warehouse, with the tables and views made of it: run the statements below there (they are for Redshift)",
    "logs of runs and schedulers, alerts and traces that were sent, HTML reports, and answers that somebody has kept",
    "free text in a status, a product or an order id",
    "records that have only a name, a phone number or a postal address of a user",
    "e-mail addresses that are masked, that another user has, or that stood only in files past `--keep` and `--retention`",
];

/// So many ids are named in the question.
const IDS_NAMED: usize = 5;

/// The first line of a file of ids that is the name of their column.
const HEADER: &str = "user_id";

pub(super) fn run(args: &EraseArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    // Before the settings are read: it is a mistake of the command line.
    if args.users.is_empty() && args.users_file.is_none() {
        return Err(RequestError::NoUsers.into());
    }
    let settings = settings::load(&args.settings.flags)?;
    let sources = if settings.shops.is_empty() { vec![settings.clone()] } else { settings::load_shops(&args.settings.flags, &[])? };
    let users = users(args)?;
    let request = EraseRequest { settings: &settings, sources: &sources, users: &users, columns: &args.columns };
    if !args.yes && !settings.dry_run && can_ask() {
        ask(&request, cancel)?;
    }
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

/// Shows what the erasure will change, and asks. Where it changes nothing, there is nothing to ask.
fn ask(request: &EraseRequest<'_>, cancel: &Cancel) -> Result<(), RunError> {
    let as_dry_run = Settings { dry_run: true, ..request.settings.clone() };
    let EraseRequest { sources, users, columns, .. } = *request;
    let planned = erase(&EraseRequest { settings: &as_dry_run, sources, users, columns }, cancel)?;
    if !planned.has_change() {
        return Ok(());
    }
    let who = counted(planned.users as u64, "user");
    let mut plan = format!("In {}, this erases {who}:\n", request.settings.output);
    show_users(&mut plan, &planned);
    show_counts(&mut plan, &planned);
    plan.push_str("\nNothing brings this back: `etl undo` of earlier runs is no longer possible after it.\n");
    let question = format!("Erase {} ({})?", named(users), changes(&planned));
    confirm(&Confirmation { plan: &plan, question: &question, unchanged: "nothing was erased" }, cancel)
}

/// The users, the first ones by their ids: whoever answers sees a typo.
fn named(users: &[String]) -> String {
    let ids: BTreeSet<&str> = users.iter().map(|user| user.trim()).filter(|user| !user.is_empty()).collect();
    let first: Vec<_> = ids.iter().take(IDS_NAMED).map(|user| format!("`{}`", escaped(user))).collect();
    let noun = if ids.len() == 1 { "user" } else { "users" };
    let more = ids.len().saturating_sub(first.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{noun} {}{more}", first.join(", "))
}

/// How much changes, in one line: rows of the tables, kept records, and files beside them.
fn changes(erased: &Erased) -> String {
    let files = erased.reports_changed + erased.reports_adjusted + erased.damaged_records_removed + erased.versions_removed as u64;
    let rows = counted(erased.dim_user_rows + erased.fact_order_rows, "row");
    let records = counted(erased.quarantined_records + erased.raw_records, "record");
    format!("{rows}, {records}, {}", counted(files, "file"))
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
        (true, ..) => writeln!(out, "dry run: nothing was changed. An erasure of {users} would change"),
        (false, Some(run_id), Some(commit)) => writeln!(out, "run {run_id} erased {users} (commit {commit})"),
        (false, ..) => writeln!(out, "nothing was changed: earlier runs erased {users}, and nothing of them has come back"),
    };
    show_users(out, erased);
    show_counts(out, erased);
    let _ = writeln!(out, "\nLater runs leave these users out. `etl undo` of earlier runs is no longer possible.");
    show_columns(out, erased);
    let _ = writeln!(out, "\n`etl erase` does not reach:");
    for place in NOT_REACHED {
        let _ = writeln!(out, "  - {place}");
    }
    let _ = writeln!(out, "\nStatements for Redshift. They name the users: do not keep them in a log.");
}

/// What changes in each place.
fn show_counts(out: &mut String, erased: &Erased) {
    let partitions = counted(erased.partitions_written.len() as u64, "partition");
    let lines = [
        ("dim_user", format!("{} removed", counted(erased.dim_user_rows, "row"))),
        ("fact_order", format!("user removed from {} in {partitions}; the money stays", counted(erased.fact_order_rows, "row"))),
        ("quarantine", format!("{} withheld", counted(erased.quarantined_records, "record"))),
        ("raw", format!("{} withheld, so that a rebuild leaves them out", counted(erased.raw_records, "record"))),
        ("reports", reports(erased)),
        ("kept versions", format!("{} removed", counted(erased.versions_removed as u64, "file"))),
    ];
    for (place, change) in lines {
        let _ = writeln!(out, "  {place}: {change}");
    }
    if erased.damaged_records_removed > 0 {
        let _ = writeln!(out, "  damaged records of the log: {} removed", counted(erased.damaged_records_removed, "copy"));
    }
}

/// What becomes of reports. One that shows nothing of the users may have to tell another size of `raw/`.
fn reports(erased: &Erased) -> String {
    let adjusted = match erased.reports_adjusted {
        0 => String::new(),
        files => format!("; {} that show nothing of the user: only the size of raw/ is corrected", counted(files, "more file")),
    };
    format!("values removed from {}{adjusted}", counted(erased.reports_changed, "file"))
}

/// Users other than those that were asked for.
fn show_users(out: &mut String, erased: &Erased) {
    if !erased.users_with_them.is_empty() {
        let _ = writeln!(
            out,
            "guests with an e-mail address of these users as their id are erased, too: {}",
            erased.users_with_them.join(", ")
        );
    }
    if !erased.same_address.is_empty() {
        let _ = writeln!(
            out,
            "other users have an e-mail address of these users. Records that have this address alone stay. To erase them, too: {}",
            erase_command(&erased.same_address)
        );
    }
    if erased.users_before > 0 && erased.commit.is_some() {
        let _ = writeln!(out, "{} of these users had been erased before, and had come back", erased.users_before);
    }
}

/// What becomes of the extra columns of facts.
fn show_columns(out: &mut String, erased: &Erased) {
    if !erased.columns_emptied.is_empty() {
        let columns = erased.columns_emptied.join(", ");
        let _ =
            writeln!(out, "Extra columns that are empty in the rows of these users, as this or an earlier erasure asked for: {columns}");
    }
    if !erased.columns_kept.is_empty() {
        let columns = erased.columns_kept.join(", ");
        let _ = writeln!(
            out,
            "Extra columns of fact_order that keep their values, except e-mail addresses of these users: {columns}. To empty one: --column NAME"
        );
    }
    if !erased.columns_not_reached.is_empty() {
        let columns = erased.columns_not_reached.join(", ");
        let _ = writeln!(
            out,
            "Columns that keep their values in rows of an earlier erasure, because those rows no longer name a user: {columns}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_the_ids_and_counts_those_that_it_leaves_out() {
        let ids = |count: usize| (1..=count).map(|id| format!(" u-{id} ")).collect::<Vec<_>>();
        assert_eq!(named(&ids(1)), "user `u-1`");
        assert_eq!(named(&[ids(2), ids(2)].concat()), "users `u-1`, `u-2`", "an id that is named twice is one");
        assert_eq!(named(&ids(7)), "users `u-1`, `u-2`, `u-3`, `u-4`, `u-5` and 2 more");
        assert_eq!(named(&["a\u{1b}[31m".to_owned()]), "user `a\\u{1b}[31m`");
    }

    #[test]
    fn files_that_show_nothing_of_the_user_are_told_apart() {
        let erased = Erased { reports_changed: 1, reports_adjusted: 5, ..Erased::default() };
        assert!(reports(&erased).starts_with("values removed from 1 file; 5 more files that show nothing of the user"));
        assert_eq!(reports(&Erased { reports_adjusted: 0, ..erased }), "values removed from 1 file");
    }

    #[test]
    fn a_file_of_ids_may_come_from_a_spreadsheet() {
        for text in ["u-1\nu-2", "\u{feff}user_id\r\nu-1\r\n\r\n u-2 \r\n", "\n\"User_ID\"\nu-1\nu-2\n\n", "\u{feff}u-1\n\nu-2\n"] {
            assert_eq!(ids_of(text).collect::<Vec<_>>(), ["u-1", "u-2"], "{text:?}");
        }
        assert_eq!(ids_of("u-1\nuser_id\n").collect::<Vec<_>>(), ["u-1", "user_id"], "an id below the first line is one");
        assert_eq!(ids_of("\u{feff}user_id\r\n").count(), 0);
    }
}
