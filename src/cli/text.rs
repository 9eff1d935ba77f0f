//! Results as a person reads them.

use std::{collections::BTreeMap, fmt::Write};

use anstyle::{AnsiColor, Style};
use indicatif::{HumanBytes, HumanCount};

use super::{escaped::escaped, terminal::unbroken};
use crate::{
    check::CheckResult,
    model::{DropCounts, Dt, Reason, UtcMicros, currency_name, noun_of},
    report::{CommandName, ErasedCounts, RebuildGap, RebuiltFrom, Status, Summary, money_texts},
    settings::Settings,
    source::{Completeness, CompletenessStatus, Evidence, ReadCounts, SourceCounts},
    store::places,
};

const GOOD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const BAD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const ODD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
const DIM: Style = Style::new().dimmed();

/// The width of the first column.
const LABEL: usize = 11;

/// The column at which the value of a [`row`] begins, with a label or without.
pub(super) const VALUE_COLUMN: usize = 2 + LABEL + 1;

/// How the status is put into words.
fn headline(status: Status) -> (Style, &'static str) {
    match status {
        Status::Published => (GOOD, "published"),
        Status::Unchanged => (GOOD, "unchanged: the layer holds all of this already"),
        Status::DryRun => (ODD, "dry run: nothing was published"),
        Status::ExtractFailed => (BAD, "failed: the source could not be read"),
        Status::ChecksFailed => (BAD, "failed: a check found something"),
        Status::StorageFailed => (BAD, "failed: the output could not be written"),
        Status::Locked => (BAD, "not run: another run holds the output"),
        Status::Interrupted => (ODD, "interrupted"),
        Status::InvalidConfiguration => (BAD, "not run: the configuration is invalid"),
        Status::InternalError => (BAD, "failed: a defect of this tool"),
        Status::Unknown => (ODD, "ended in a way that this version does not know"),
    }
}

/// Whether a change of shape has failed the run, and no check.
fn is_frozen(summary: &Summary) -> bool {
    summary.status == Status::ChecksFailed && !summary.schema_changes.is_empty() && !summary.checks.iter().any(CheckResult::is_failure)
}

/// The location of a place beneath the output, as it can be opened from where the command was typed.
pub(super) fn place(settings: &Settings, beneath: impl AsRef<str>) -> String {
    unbroken(&settings.output.at(beneath))
}

pub(super) fn row(out: &mut String, label: &str, text: &str) {
    let _ = writeln!(out, "  {DIM}{label:<LABEL$}{DIM:#} {text}");
}

fn count(value: u64) -> String {
    HumanCount(value).to_string()
}

/// One word or the other, in the colour of it.
pub(super) fn verdict(good: bool, yes: &str, no: &str) -> String {
    let (style, word) = if good { (GOOD, yes) } else { (BAD, no) };
    format!("{style}{word}{style:#}")
}

/// Writes a message as an item of a list: its further lines, such as the excerpt of a query, stand to the right of the
/// first.
pub(super) fn item(out: &mut String, message: &str) {
    let mut lines = message.lines().filter(|line| !line.trim().is_empty());
    let _ = writeln!(out, "{}", lines.next().unwrap_or_default());
    lines.for_each(|line| {
        let _ = writeln!(out, "    {}", line.trim_end());
    });
}

/// "3 lines", "1 line".
pub(super) fn counted(value: u64, noun: &str) -> String {
    format!("{} {}", count(value), noun_of(value, noun))
}

/// What was dropped, with its units: "2 records, 3 lines"; "nothing". The same words wherever drops are told.
pub(super) fn drops(drops: DropCounts) -> String {
    let units = [(drops.records, "record"), (drops.lines, "line")];
    let shown: Vec<_> = units.into_iter().filter(|(value, _)| *value > 0).map(|(value, unit)| counted(value, unit)).collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

/// How much a reason has dropped, with its unit, the number in a column of its own. An unknown reason drops a record.
pub(super) fn dropped_for(reason: &str, value: u64) -> String {
    let level = Reason::ALL.iter().find(|known| known.as_str() == reason).map_or("record", |known| known.level().as_str());
    format!("{:>6} {}", count(value), noun_of(value, level))
}

/// Joins the parts that are not empty.
fn joined(parts: &[(u64, &str)]) -> String {
    let shown: Vec<_> = parts.iter().filter(|(value, _)| *value > 0).map(|(value, what)| format!("{} {what}", count(*value))).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

/// How a run ended, in a line.
fn title(out: &mut String, summary: &Summary) {
    let (style, words) = headline(summary.status);
    let words = if is_frozen(summary) { "failed: the records have another shape than before" } else { words };
    let _ = writeln!(out, "{style}{words}{style:#} {DIM}({:.2} s, run {}){DIM:#}", summary.execution_time_seconds, summary.run_id);
}

/// The whole summary.
pub(super) fn summary(out: &mut String, summary: &Summary, settings: &Settings) {
    title(out, summary);
    if summary.status != Status::Locked && !has_begun_nothing(summary) {
        out.push('\n');
        work(out, summary, settings);
    }
    notices(out, summary);
}

/// Whether a run has failed before it has read anything: there is no work to tell of.
fn has_begun_nothing(summary: &Summary) -> bool {
    summary.error.is_some() && summary.source.requests == 0 && summary.source.bytes == 0 && summary.records.records_read == 0
}

/// A run of the history: what its report says, without the layer around it. What it leaves out stands in the JSON.
pub(super) fn recorded(out: &mut String, summary: &Summary, settings: &Settings) {
    title(out, summary);
    out.push('\n');
    row(out, "command", &command(summary));
    row(out, "window", &window_of(summary));
    row(out, "ended", &format!("{}, begun {}", summary.finished_at, summary.started_at));
    if let Some(shop) = &summary.shop {
        row(out, "shop", shop);
    }
    if let Some(identity) = &summary.identity {
        row(out, "source", &format!("{} (profile {}, by {})", identity.source, identity.profile, identity.cursor));
    }
    if summary.command.is_load() && summary.status != Status::Locked {
        row(out, "read", &format!("{} {DIM}({}){DIM:#}", counted(summary.records.records_read, "record"), requested(summary)));
        became(out, summary);
        completeness(out, summary);
        row(out, "dropped", &drops(summary.drops()));
        reasons_of_drops(out, summary);
        rows(out, summary);
        deletions(out, summary);
    }
    days(out, summary);
    members(out, summary);
    erased(out, summary);
    checks(out, &summary.checks, |file| place(settings, file));
    notices(out, summary);
    if let Some(error) = &summary.error {
        row(out, "error", &format!("{BAD}{}{BAD:#}", escaped(error)));
    }
}

/// What a run was started as, and the run that it is about.
fn command(summary: &Summary) -> String {
    let command = summary.command.as_str();
    match (&summary.undoes, &summary.replay_of) {
        (Some(run_id), _) => format!("{command} of run {run_id}"),
        (None, Some(run_id)) => format!("{command} of what run {run_id} dropped"),
        (None, None) => command.to_owned(),
    }
}

/// The days that a run changed, by what lies there.
fn days(out: &mut String, summary: &Summary) {
    let changed = [
        ("written", &summary.partitions_written),
        ("removed", &summary.partitions_removed),
        ("totals", &summary.order_totals_changed),
        ("refunds", &summary.refunds_changed),
    ];
    for (label, days) in changed.into_iter().filter(|(_, days)| !days.is_empty()) {
        row(out, label, &format!("{}: {}", counted(days.len() as u64, "day"), range(days)));
    }
    if !summary.has_published() {
        row(out, "written", "no day changed");
    }
}

/// What was left out, or taken out, of users who were erased.
fn erased(out: &mut String, summary: &Summary) {
    let ErasedCounts { users_erased, lines_erased, records_withheld } = summary.erased;
    if users_erased + lines_erased + records_withheld > 0 {
        let counts = [counted(users_erased, "user"), counted(lines_erased, "line"), counted(records_withheld, "record")];
        row(out, "erased", &counts.join(", "));
    }
}

/// What a run has read and done.
fn work(out: &mut String, summary: &Summary, settings: &Settings) {
    if let Some(shop) = &summary.shop {
        row(out, "shop", shop);
    }
    if summary.since.is_some() || summary.until.is_some() {
        row(out, "window", &window(summary.since, summary.until));
    }
    read(out, summary, settings);
    if let Some(rebuilt_from) = &summary.rebuilt_from {
        rebuilt(out, rebuilt_from);
    }
    completeness(out, summary);
    dropped(out, summary, settings);
    rows(out, summary);
    deletions(out, summary);
    written(out, summary, settings);
    if let Some(raw) = &summary.raw {
        row(
            out,
            "kept",
            &format!(
                "{} as delivered, in {} {DIM}({}){DIM:#}",
                counted(raw.records, "record"),
                place(settings, &raw.file),
                HumanBytes(raw.bytes)
            ),
        );
    }
    members(out, summary);
    checks(out, &summary.checks, |file| place(settings, file));
}

/// How many members each dimension has.
fn members(out: &mut String, summary: &Summary) {
    for (name, counts) in &summary.dimensions {
        let inferred = if counts.inferred > 0 {
            format!(", {} inferred (named by orders, unknown to the source)", count(counts.inferred))
        } else {
            String::new()
        };
        row(out, name, &format!("{}{inferred}", counted(counts.members, "member")));
    }
}

/// What somebody should know of, what is over, and what did not arrive.
fn notices(out: &mut String, summary: &Summary) {
    for (place, alert) in summary.alerts.iter().enumerate() {
        // A message is said once: the error stands above.
        let message = if summary.is_error_of_run(alert) { "the error of this run" } else { alert.message.as_str() };
        row(out, if place == 0 { "alerts" } else { "" }, &format!("{BAD}{}{BAD:#}: {message}", alert.kind.as_str()));
    }
    for alert in &summary.recovered {
        row(out, "recovered", &format!("{GOOD}{}{GOOD:#}: {}", alert.kind.as_str(), alert.message));
    }
    for failed in &summary.deliveries_failed {
        row(out, "not sent", &format!("{ODD}{} to {}{ODD:#}: {}", failed.kind.as_str(), failed.receiver.as_str(), failed.error));
    }
}

/// Where the records came from.
fn origin(summary: &Summary, settings: &Settings) -> String {
    match (summary.command, &summary.replay_of, &settings.orders) {
        (CommandName::Rebuild, ..) => place(settings, places::RAW),
        (_, Some(run_id), _) => place(settings, places::quarantine(run_id).as_str()),
        (_, None, Some(orders)) => unbroken(&orders.location.to_string()),
        (_, None, None) => "an unknown source".to_owned(),
    }
}

/// What of the orders was requested and read; in a report of an earlier version, that of all sources.
fn read_counts(summary: &Summary) -> ReadCounts {
    let SourceCounts { requests, retries, pages, bytes, orders, .. } = summary.source;
    orders.unwrap_or(ReadCounts { requests, retries, pages, bytes })
}

/// How much was requested and read of the orders.
fn requested(summary: &Summary) -> String {
    let ReadCounts { requests, retries, pages, bytes } = read_counts(summary);
    let asked = if requests > 0 { counted(requests, "request") } else { counted(pages, "file") };
    let retried = if retries > 0 { format!(", {} tried again", count(retries)) } else { String::new() };
    format!("{asked}{retried}, {}", HumanBytes(bytes))
}

fn read(out: &mut String, summary: &Summary, settings: &Settings) {
    let (records, from) = (counted(summary.records.records_read, "record"), origin(summary, settings));
    row(out, "read", &format!("{records} from {from} {DIM}({}){DIM:#}", requested(summary)));
    became(out, summary);
}

/// What became of the records.
fn became(out: &mut String, summary: &Summary) {
    let parts = [
        (summary.records.records_processed, "processed"),
        (summary.records_dropped(), "dropped"),
        (summary.records.records_out_of_window, "out of the window"),
        (summary.records.records_skipped, "skipped, as the profile says"),
    ];
    if parts.iter().any(|(records, _)| *records > 0) {
        row(out, "", &joined(&parts));
    }
}

/// What a rebuild was made of, and what it did not reach.
fn rebuilt(out: &mut String, from: &RebuiltFrom) {
    row(out, "rebuilt", &format!("from the kept records of {}", counted(from.runs, "run")));
    let (run, did) = (from.gap_run.as_deref().unwrap_or_default(), from.gap.map_or("", RebuildGap::shown));
    let before_gap = format!("kept records of before run {run}, {did}: --across-gaps takes them, too");
    let parts = [
        (from.runs_undone, "undone since"),
        (from.runs_before_gap, before_gap.as_str()),
        (from.runs_of_other_sources, "of another source or profile"),
    ];
    for (runs, what) in parts.into_iter().filter(|(runs, _)| *runs > 0) {
        row(out, "", &format!("{ODD}{} left out{ODD:#}: {what}", counted(runs, "run")));
    }
    if from.rows_not_covered > 0 {
        row(
            out,
            "",
            &format!("{ODD}{} of the layer not covered{ODD:#}: no kept record brought them again", counted(from.rows_not_covered, "row")),
        );
    }
}

/// Whether each source was read whole.
fn completeness(out: &mut String, summary: &Summary) {
    for (source, completeness) in summary.completeness.all() {
        let style = match completeness.status {
            CompletenessStatus::Proven => GOOD,
            CompletenessStatus::Unproven => ODD,
            CompletenessStatus::Failed => BAD,
        };
        let (status, words) =
            (completeness.status.as_str(), verdict_words(completeness.by, completeness.claimed, completeness.why.as_deref()));
        row(out, if source == "orders" { "complete" } else { source }, &format!("{style}{status}{style:#}{words}"));
    }
}

/// What a verdict on completeness rests on, or why it is none.
fn verdict_words(by: Option<Evidence>, claimed: Option<u64>, why: Option<&str>) -> String {
    let claimed = counted(claimed.unwrap_or_default(), "record");
    match (by, why) {
        (_, Some(why)) => format!(": {why}"),
        (Some(Evidence::Total), None) => format!(": the responses announce {claimed}, and all came"),
        (Some(Evidence::Count), None) => format!(": the source counts {claimed}, and all came"),
        (Some(Evidence::Cursor), None) => ": the list was followed to its end".to_owned(),
        (Some(Evidence::SecondReading), None) => ": two readings of the list brought the same records".to_owned(),
        (Some(Evidence::Single), None) => ": one page holds everything, as the profile says".to_owned(),
        (Some(Evidence::File), None) => ": the files were read to their ends".to_owned(),
        (None, None) => String::new(),
    }
}

/// A verdict on completeness in words; `None` where the orders were not read to their end.
pub(super) fn completeness_words(completeness: Option<&Completeness>) -> String {
    let Some(Completeness { status, by, claimed, why, .. }) = completeness else { return "not known".to_owned() };
    format!("{}{}", status.as_str(), verdict_words(*by, *claimed, why.as_deref()))
}

fn dropped(out: &mut String, summary: &Summary, settings: &Settings) {
    if summary.drops().is_none() {
        return;
    }
    let quarantine = places::quarantine(&summary.run_id);
    let place = place(settings, quarantine.folder().unwrap_or_default());
    let kept = if summary.has_loaded() { format!("kept in {place}/") } else { "not kept, since nothing was published".to_owned() };
    row(out, "dropped", &format!("{}, {kept}", drops(summary.drops())));
    reasons_of_drops(out, summary);
}

/// A row for each reason.
fn reasons_of_drops(out: &mut String, summary: &Summary) {
    for (reason, number) in summary.dropped_by_reason() {
        row(out, "", &format!("{ODD}{reason:<20}{ODD:#} {}", dropped_for(reason, number)));
    }
}

/// The next step after drops; nothing where nothing was dropped, or where nothing was published: quarantine has none of it then.
pub(super) fn next_after_drops(out: &mut String, summary: &Summary, settings: &Settings) {
    if !summary.drops().is_none() && summary.has_loaded() {
        let command = settings.command_line(&format!("quarantine --run {}", summary.run_id));
        let _ = writeln!(out, "\nSee what was dropped, and how to load it: {command}");
    }
}

fn rows(out: &mut String, summary: &Summary) {
    let rows = &summary.rows;
    let duplicates = noun_of(rows.duplicates_dropped, "duplicate");
    let parts = [
        (rows.rows_inserted, "inserted"),
        (rows.rows_updated, "updated"),
        (rows.rows_moved, "moved to another day"),
        (rows.rows_unchanged, "unchanged"),
        (rows.rows_removed, "removed: a newer version of their order has them no more"),
        (rows.rows_retained, "kept: the newer version of their order has a dropped line"),
        (rows.rows_deleted, "deleted: the source no longer has their order"),
        (rows.rows_marked, "marked as deleted: the source no longer has their order"),
        (rows.rows_superseded, "superseded by newer ones in the layer"),
        (rows.duplicates_dropped, duplicates.as_str()),
    ];
    let not_published = not_published(summary);
    row(out, "rows", &format!("{} {DIM}of {} read{DIM:#}{not_published}", joined(&parts), counted(summary.records.lines_read, "line")));
    let notes = [
        (summary.values.prices_defaulted, "without a price (0, price_defaulted)"),
        (summary.values.prices_rounded, "rounded to four decimals"),
        (summary.values.repeated_skus, "of a sku that stands twice in its order"),
        (summary.values.updated_at_unreadable, "with an unreadable updated_at"),
    ];
    for (value, what) in notes.iter().filter(|(value, _)| *value > 0) {
        row(out, "", &format!("{} {what}", count(*value)));
    }
    for (place, (currency, amount)) in money_texts(&summary.revenue).iter().enumerate() {
        row(out, if place == 0 { "revenue" } else { "" }, &format!("{amount:>18} {}{not_published}", escaped(currency_name(currency))));
    }
}

/// What is said behind counts of rows and money that the layer does not have: those of a dry run, and of a run that has failed.
fn not_published(summary: &Summary) -> String {
    let has_merged = summary.records.lines_read > 0 || !summary.revenue.is_empty();
    if summary.has_loaded() || !has_merged { String::new() } else { format!("{ODD}, not published{ODD:#}") }
}

/// What became of orders that the source no longer has, if that was asked for.
fn deletions(out: &mut String, summary: &Summary) {
    let counts = &summary.deletions;
    if let Some(why) = &counts.deletions_refused {
        row(out, "deletions", &format!("{ODD}none{ODD:#}: {why}"));
    }
    for (orders, what) in [(counts.orders_deleted, "deleted"), (counts.orders_marked, "marked as deleted")] {
        if orders > 0 {
            row(out, "deletions", &format!("{} {what}: the source no longer has them", counted(orders, "order")));
        }
    }
}

fn written(out: &mut String, summary: &Summary, settings: &Settings) {
    let curated = place(settings, places::CURATED);
    if !summary.partitions_written.is_empty() {
        row(
            out,
            "written",
            &format!(
                "{} of {}: {}",
                counted(summary.partitions_written.len() as u64, "partition"),
                curated,
                range(&summary.partitions_written)
            ),
        );
    }
    if !summary.partitions_removed.is_empty() {
        row(
            out,
            "removed",
            &format!("{}: {}", counted(summary.partitions_removed.len() as u64, "partition"), range(&summary.partitions_removed)),
        );
    }
    if !summary.order_totals_changed.is_empty() {
        row(
            out,
            "totals",
            &format!(
                "of orders, {} of {}: {}",
                counted(summary.order_totals_changed.len() as u64, "partition"),
                place(settings, places::ORDER_TOTALS),
                range(&summary.order_totals_changed)
            ),
        );
    }
    if !summary.refunds_changed.is_empty() {
        row(
            out,
            "refunds",
            &format!(
                "{} of {}: {}",
                counted(summary.refunds_changed.len() as u64, "day"),
                place(settings, places::REFUNDS),
                range(&summary.refunds_changed)
            ),
        );
    }
    if summary.partitions_unchanged > 0 {
        row(out, "untouched", &format!("{} as before", counted(summary.partitions_unchanged, "partition")));
    }
}

fn range(partitions: &[Dt]) -> String {
    match partitions {
        [first, .., last] if partitions.len() > 4 => format!("dt={first} … dt={last}"),
        few => few.iter().map(|dt| format!("dt={dt}")).collect::<Vec<_>>().join(", "),
    }
}

/// What the checks found: the violated ones with their rows, the others in a line. `opened_at` is the path of a file of
/// rows as it can be opened.
pub(super) fn checks(out: &mut String, checks: &[CheckResult], opened_at: impl Fn(&str) -> String) {
    if checks.is_empty() {
        return;
    }
    let passed = checks.iter().filter(|check| check.passed).count();
    row(out, "checks", &format!("{passed} of {} passed", checks.len()));
    for check in checks.iter().filter(|check| !check.passed) {
        let (style, word) = if check.is_failure() { (BAD, "error") } else { (ODD, "warn") };
        row(out, "", &format!("{style}{word:<5} {}{style:#}: {}", check.name, counted(check.violations, "violation")));
        for sample in &check.sample {
            row(out, "", &format!("      {DIM}{}{DIM:#}", sample_text(sample)));
        }
        if let Some(kept) = kept_text(check, &opened_at) {
            row(out, "", &format!("      {kept}"));
        }
    }
}

/// Where the violating rows of a check are, if the sample does not show all of them.
fn kept_text(check: &CheckResult, opened_at: &dyn Fn(&str) -> String) -> Option<String> {
    let (rows, file) = (check.rows_kept.filter(|rows| *rows > check.sample.len() as u64)?, opened_at(check.file.as_deref()?));
    Some(match rows == check.violations {
        true => format!("all of them: {file}"),
        false => format!("the first {} of them: {file}", count(rows)),
    })
}

fn sample_text(sample: &BTreeMap<String, Option<String>>) -> String {
    let values: Vec<_> = sample.iter().map(|(name, value)| format!("{name}={}", escaped(value.as_deref().unwrap_or("NULL")))).collect();
    values.join(" ")
}

/// A run in one line, as a backfill lists them.
pub(super) fn one_line(out: &mut String, summary: &Summary) {
    let (style, _) = headline(summary.status);
    let rows = &summary.rows;
    let parts = [
        (rows.rows_inserted, "inserted"),
        (rows.rows_updated, "updated"),
        (rows.rows_moved, "moved"),
        (rows.rows_unchanged, "unchanged"),
        (rows.rows_deleted, "deleted"),
        (rows.rows_marked, "marked as deleted"),
    ];
    let _ = writeln!(
        out,
        "{style}{:<15}{style:#} {}  {} read; dropped: {}; rows: {}{} {DIM}({:.2} s){DIM:#}",
        summary.status.as_str(),
        window(summary.since, summary.until),
        counted(summary.records.records_read, "record"),
        drops(summary.drops()),
        joined(&parts),
        not_published(summary),
        summary.execution_time_seconds
    );
}

/// The window of a run, in words; "-" for a command that has none, such as an undo.
pub(super) fn window_of(summary: &Summary) -> String {
    if summary.command.has_window() { window(summary.since, summary.until) } else { "-".to_owned() }
}

/// A window, in words.
pub(super) fn window(since: Option<UtcMicros>, until: Option<UtcMicros>) -> String {
    window_text(since.map(UtcMicros::rfc3339).as_deref(), until.map(UtcMicros::rfc3339).as_deref())
}

/// A window of RFC 3339 texts, in words.
pub(super) fn window_text(since: Option<&str>, until: Option<&str>) -> String {
    let short = |text: &str| text.strip_suffix("T00:00:00Z").unwrap_or(text).to_owned();
    match (since.map(short), until.map(short)) {
        (None, None) => "everything".to_owned(),
        (Some(since), None) => format!("from {since}"),
        (None, Some(until)) => format!("before {until}"),
        (Some(since), Some(until)) => format!("from {since} to before {until}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_money_of_a_failed_run_are_said_to_be_not_published() {
        let mut summary = Summary::new("r".into(), None, None, UtcMicros::new(0).unwrap());
        summary.status = Status::ChecksFailed;
        (summary.records.lines_read, summary.rows.rows_inserted) = (38, 38);
        summary.revenue = [("EUR".to_owned(), 15_000)].into();
        let shown = |summary: &Summary| {
            let mut out = String::new();
            rows(&mut out, summary);
            anstream::adapter::strip_str(&out).to_string()
        };
        let failed = shown(&summary);
        assert!(failed.contains("38 inserted of 38 lines read, not published\n"), "{failed}");
        assert!(failed.contains("1.5000 EUR, not published\n"), "{failed}");
        summary.partitions_written = vec!["2026-01-01".parse().unwrap()];
        assert!(!shown(&summary).contains("not published"), "--on-check-failure publish");
    }

    #[test]
    fn drops_name_their_units() {
        let shown = |records, lines| drops(DropCounts { records, lines });
        assert_eq!([shown(2, 3), shown(1, 0), shown(0, 1), shown(0, 0)], ["2 records, 3 lines", "1 record", "1 line", "nothing"]);
        let of_reasons = ["missing_sku", "invalid_json", "unreadable"].map(|reason| dropped_for(reason, 2));
        assert_eq!(of_reasons, ["     2 lines", "     2 records", "     2 records"]);
    }
}
