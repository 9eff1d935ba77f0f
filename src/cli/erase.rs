//! `etl erase`.

use std::{fmt::Write, fs};

use super::{
    args::EraseArgs,
    display::{Display, Ending},
    text::counted,
};
use crate::{
    cancel::Cancel,
    run::{EraseRequest, Erased, RequestError, RunError, erase},
    settings::{self, Settings},
    warehouse::redshift::script,
};

/// What no command of this program reaches.
const NOT_REACHED: [&str; 7] = [
    "backups, copies and snapshots of the output",
    "older versions of objects, where the bucket keeps versions",
    "the source itself: ask for the erasure there",
    "the warehouse, and every table and view that was made of it: the statements below are for Redshift",
    "logs of runs and schedulers, alerts and traces that were sent, HTML reports, and answers that somebody has kept",
    "values that only a record's own text holds: free text in a status, a product or an order id",
    "records that repeat only a name, a phone number or an address, and orders of a guest whose user id is an e-mail address",
];

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
        out.push_str(&display.fitted(told));
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
        users.extend(fs::read_to_string(path).map_err(failed)?.lines().map(str::to_owned));
    }
    Ok(users)
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
        (false, ..) => writeln!(out, "{users} erased before: the layer stays as it is"),
    };
    let partitions = counted(erased.partitions_written.len() as u64, "partition");
    let _ = writeln!(out, "  dim_user: {} removed", counted(erased.dim_user_rows, "row"));
    let _ = writeln!(
        out,
        "  fact_order: {} in {partitions}: they stay, with their money, and name nobody",
        counted(erased.fact_order_rows, "row")
    );
    let _ = writeln!(out, "  quarantine: {} withheld", counted(erased.quarantined_records, "record"));
    let _ = writeln!(out, "  raw: {} withheld: a rebuild does not bring them again", counted(erased.raw_records, "record"));
    let _ = writeln!(out, "  reports: values removed from {}", counted(erased.reports_changed, "file"));
    let _ = writeln!(out, "  kept versions: {} removed", counted(erased.versions_removed as u64, "file"));
    let _ =
        writeln!(out, "\nLater runs leave these users out. What earlier runs replaced is gone: `etl undo` of them is no longer possible.");
    if !erased.columns_kept.is_empty() {
        let columns = erased.columns_kept.join(", ");
        let _ = writeln!(out, "These extra columns of fact_order stay as they are; --column NAME empties one: {columns}");
    }
    let _ = writeln!(out, "\nNot reached:");
    for place in NOT_REACHED {
        let _ = writeln!(out, "  - {place}");
    }
    let _ = writeln!(out, "\nIn Redshift (this names the users: do not keep it in a log):");
}
