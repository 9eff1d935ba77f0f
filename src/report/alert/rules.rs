//! When an alert is raised, and when it is over: pure rules over what is known at the end of a run.

use std::time::Duration;

use super::AlertKind;
use crate::{
    drift,
    model::{Dt, Reason, RunPace, UtcMicros, counted, span_text},
    report::{CommandName, Summary},
    settings::{AlertSettings, Cursor},
};

/// With fewer earlier runs than this, none is called slow.
pub const NEEDED_RUNS: usize = 5;

/// The check that is named first: money that does not add up.
const FIRST_CHECK: &str = "fact_revenue_reconciles";

/// So many of a window's last whole days are looked at for rows.
const DAYS_LOOKED_AT: i32 = 7;

/// How far a run came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The layer is as the run wanted it.
    Success,
    /// The source could not be read.
    SourceFailed,
    /// A check of severity `error` failed; whether the run was published all the same.
    ChecksFailed {
        /// Whether the layer holds what failed.
        published: bool,
    },
    /// The output could not be written.
    StorageFailed,
    /// By a signal, a mistake of configuration, a defect: nothing that these rules speak of.
    Otherwise,
}

/// What is known at the end of a run.
pub struct Evidence<'a> {
    /// The run.
    pub summary: &'a Summary,
    /// How far it came.
    pub ended: Ended,
    /// How long the last successful runs of the same command took, at most thirty.
    pub earlier: &'a [RunPace],
    /// Whether the layer has rows of a day.
    pub has_rows: &'a dyn Fn(Dt) -> bool,
    /// The days that are known to have none although they should.
    pub missing: &'a [Dt],
    /// `created_at` of the newest row that does not lie in the future, where it was looked for.
    pub newest: Option<UtcMicros>,
}

/// What a rule found: a condition that holds, or one that does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is about.
    pub kind: AlertKind,
    /// Which one of its kind: the check, the day. Empty where there is but one.
    pub subject: String,
    /// What to tell, where the condition holds.
    pub message: Option<String>,
    /// Whether the layer that readers see is as the alert says, so that only another look can end it.
    pub in_layer: bool,
}

impl Finding {
    pub(super) fn new(kind: AlertKind, message: Option<String>) -> Finding {
        Finding { kind, subject: String::new(), message, in_layer: false }
    }

    /// Whether only another run of the same source can end it. A check that failed in the layer is seen by every run.
    pub(super) fn is_of_source(&self) -> bool {
        match self.kind {
            AlertKind::SourceFailed | AlertKind::Incomplete | AlertKind::DroppedShare | AlertKind::Deletions => true,
            AlertKind::CheckFailed => !self.in_layer,
            AlertKind::StorageFailed
            | AlertKind::SlowRun
            | AlertKind::NoRecords
            | AlertKind::Stale
            | AlertKind::SchemaChanged
            | AlertKind::Stuck
            | AlertKind::Test => false,
        }
    }

    /// Whether a run that ended so may say that the condition does not hold. What a failed run has read or checked is not what readers
    /// see: it raises alerts and ends none. The age of the newest row is that of the layer, however the run ended. What reads kept records
    /// has not asked the source.
    fn may_end(&self, evidence: &Evidence<'_>) -> bool {
        let ended = evidence.ended;
        let has_asked = !matches!(evidence.summary.command, CommandName::Replay | CommandName::Rebuild);
        match self.kind {
            AlertKind::Stale => true,
            AlertKind::SourceFailed | AlertKind::Incomplete => ended == Ended::Success && has_asked,
            AlertKind::CheckFailed => matches!(ended, Ended::Success | Ended::ChecksFailed { published: true }),
            _ => ended == Ended::Success,
        }
    }

    /// Says of which shop it is, unless it is about the days of the layer, which all shops fill.
    pub fn name_shop(&mut self, shop: &str) {
        if matches!(self.kind, AlertKind::NoRecords | AlertKind::Stale) {
            return;
        }
        self.subject = if self.subject.is_empty() { shop.to_owned() } else { format!("{shop}:{}", self.subject) };
        self.message = self.message.as_ref().map(|message| format!("shop {shop}: {message}"));
    }
}

/// Judges a run. A condition that it could not look at is not among the findings.
pub fn judge(settings: &AlertSettings, evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let error = || evidence.summary.error.clone().unwrap_or_default();
    match evidence.ended {
        Ended::SourceFailed => findings.push(Finding::new(AlertKind::SourceFailed, Some(error()))),
        Ended::Success | Ended::ChecksFailed { .. } => {
            findings.push(Finding::new(AlertKind::SourceFailed, None));
            findings.push(Finding::new(AlertKind::Incomplete, incomplete(evidence.summary)));
        }
        Ended::StorageFailed | Ended::Otherwise => {}
    }
    match evidence.ended {
        Ended::StorageFailed => findings.push(Finding::new(AlertKind::StorageFailed, Some(error()))),
        Ended::Success => findings.push(Finding::new(AlertKind::StorageFailed, None)),
        _ => {}
    }
    findings.extend(checks(evidence));
    findings.extend(deletions(evidence));
    if matches!(evidence.ended, Ended::Success | Ended::ChecksFailed { .. }) {
        findings.extend(dropped_share(settings, evidence.summary));
    }
    if evidence.ended == Ended::Success {
        findings.extend(slow(settings, evidence));
        findings.extend(no_records(settings, evidence));
    }
    if let (Some(limit), Some(newest)) = (settings.freshness, evidence.newest) {
        findings.push(Finding::new(AlertKind::Stale, stale(limit, newest, evidence.summary.finished_at)));
    }
    if matches!(evidence.ended, Ended::Success | Ended::ChecksFailed { .. }) {
        findings.extend(schema_changed(evidence.summary));
    }
    findings.retain(|finding| finding.message.is_some() || finding.may_end(evidence));
    findings
}

/// Whether the records of the source have another shape, where a run compares it.
fn schema_changed(summary: &Summary) -> Option<Finding> {
    let source = &summary.identity.as_ref()?.source;
    let message = (!summary.schema_changes.is_empty()).then(|| {
        let told = drift::told(&summary.schema_changes, summary.schema_changes_omitted);
        format!("the records of {source} have another shape than before: {told}")
    });
    Some(Finding { subject: source.clone(), ..Finding::new(AlertKind::SchemaChanged, message) })
}

/// What is missing of the sources that sent less than they claim to hold.
fn incomplete(summary: &Summary) -> Option<String> {
    let missing: Vec<_> = summary
        .completeness
        .all()
        .filter(|(_, completeness)| completeness.is_failed())
        .map(|(source, completeness)| format!("{source}: {}", completeness.why.as_deref().unwrap_or("less came than is claimed")))
        .collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Every check of severity `error` that was run; revenue first.
fn checks(evidence: &Evidence<'_>) -> Vec<Finding> {
    let published = matches!(evidence.ended, Ended::ChecksFailed { published: true });
    let mut results: Vec<_> = evidence.summary.checks.iter().filter(|result| result.severity == crate::check::Severity::Error).collect();
    results.sort_by_key(|result| result.name != FIRST_CHECK);
    let finding = |result: &&crate::check::CheckResult| Finding {
        kind: AlertKind::CheckFailed,
        subject: result.name.clone(),
        message: (!result.passed).then(|| format!("the check {} found {}", result.name, counted(result.violations, "violation"))),
        in_layer: published,
    };
    results.iter().map(finding).collect()
}

/// Whether a run that was to delete missing orders did.
fn deletions(evidence: &Evidence<'_>) -> Option<Finding> {
    let counts = &evidence.summary.deletions;
    counts.delete_missing?;
    let is_known = counts.deletions_refused.is_some() || evidence.ended == Ended::Success;
    is_known.then(|| Finding::new(AlertKind::Deletions, counts.deletions_refused.clone()))
}

/// Whether too many of the window's records were dropped; `None` where nothing says so of the window.
fn dropped_share(settings: &AlertSettings, summary: &Summary) -> Option<Finding> {
    let share = DroppedShare::of(summary)?;
    let limit = settings.dropped_percent;
    let message = (share.percent > limit).then(|| format!("{}: {:.1} %, where {limit} % may be", share.told, share.percent));
    // A window that has no record itself says nothing of those that its source had before.
    (share.is_of_window || message.is_some()).then(|| Finding::new(AlertKind::DroppedShare, message))
}

/// How much of its records a run has dropped.
struct DroppedShare {
    percent: f64,
    /// Of what, in words.
    told: String,
    /// Whether a record is known to be in the window.
    is_of_window: bool,
}

impl DroppedShare {
    /// A record whose date was not read belongs to no window for certain. Where the run has read records outside of its window, too, such
    /// as those of a whole file, it is a share of all of them: else the same records were most of each small window.
    fn of(summary: &Summary) -> Option<DroppedShare> {
        let (read, out_of_window) = (summary.records.records_read, summary.records.records_out_of_window);
        let undated: u64 = Reason::ALL.iter().filter(|reason| reason.precedes_window()).map(|reason| summary.records.of(*reason)).sum();
        let dropped = summary.records_dropped();
        if undated == 0 || out_of_window == 0 {
            let of = dropped + summary.records.records_processed;
            let were = if of == 1 { "was" } else { "were" };
            let told = format!("{dropped} of {} {were} dropped", counted(of, "record"));
            return Some(DroppedShare { percent: percent(dropped, of)?, told, is_of_window: true });
        }
        let dated = dropped.saturating_sub(undated);
        let of_window = dated + summary.records.records_processed;
        let told = if of_window == 0 {
            format!("{undated} of {} that were read were dropped before their date was known", counted(read, "record"))
        } else {
            let of_window = counted(of_window, "record");
            format!("{dated} of {of_window} of the window were dropped, and {undated} of {read} that were read before their date was known")
        };
        let percent = percent(dated, of_window).unwrap_or_default() + percent(undated, read)?;
        Some(DroppedShare { percent, told, is_of_window: of_window > 0 })
    }
}

/// Per cent of a whole; `None` where there is no whole.
fn percent(part: u64, whole: u64) -> Option<f64> {
    // Counts of records: far below the 2^53 up to which this is exact.
    #[expect(clippy::cast_precision_loss, reason = "a share of counts, not money")]
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// Whether the run took more than the allowed share of the average of those before it: of their time, or, where it read
/// more than twice or less than half of what they read on average, of their time a record.
fn slow(settings: &AlertSettings, evidence: &Evidence<'_>) -> Option<Finding> {
    // Who waits for others is not slow.
    let seconds = evidence.summary.own_seconds();
    if seconds < settings.slow_after.as_secs_f64() {
        return Some(Finding::new(AlertKind::SlowRun, None));
    }
    if evidence.earlier.len() < NEEDED_RUNS {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "averages of counts, not money")]
    let (runs, read, earlier_read) = (
        evidence.earlier.len() as f64,
        evidence.summary.records.records_read as f64,
        evidence.earlier.iter().map(|run| run.records).sum::<u64>() as f64,
    );
    let earlier_seconds: f64 = evidence.earlier.iter().map(|run| run.seconds()).sum();
    let average_read = earlier_read / runs;
    let alike = read <= average_read * 2.0 && read * 2.0 >= average_read;
    let usual = if alike || read == 0.0 || earlier_read == 0.0 { earlier_seconds / runs } else { earlier_seconds / earlier_read * read };
    let share = seconds * 100.0 / usual.max(f64::MIN_POSITIVE);
    let message = (share > settings.slow_percent).then(|| {
        let basis = if alike { "on average" } else { "for as many records" };
        format!(
            "the run took {seconds:.2} s, and the {runs} before it {usual:.2} s {basis}: {share:.0} %, where {} % may be",
            settings.slow_percent
        )
    });
    Some(Finding::new(AlertKind::SlowRun, message))
}

/// Each of the last whole days of a run's bounded window, which should have rows where the same weekday a week before has
/// some; and each day that was missing before, which is not where it has rows now. A backfill is watched by who started it.
fn no_records(settings: &AlertSettings, evidence: &Evidence<'_>) -> Vec<Finding> {
    let of_day = |day: Dt, is_missing: bool| Finding {
        subject: day.to_string(),
        ..Finding::new(
            AlertKind::NoRecords,
            is_missing.then(|| format!("no records for {day}, where the same weekday a week before has some")),
        )
    };
    let window = expected_days(evidence.summary);
    let filled = evidence.missing.iter().filter(|day| !window.contains(&day.days()) && (evidence.has_rows)(**day));
    let mut findings: Vec<_> = filled.map(|day| of_day(*day, false)).collect();
    if settings.no_records {
        let days = window.filter_map(|day| Some((Dt::from_days(day)?, Dt::from_days(day - 7)?)));
        findings.extend(days.map(|(day, before)| of_day(day, !(evidence.has_rows)(day) && (evidence.has_rows)(before))));
    }
    findings
}

/// The whole days, as days since 1970, that a run's window lets expect rows of.
fn expected_days(summary: &Summary) -> std::ops::Range<i32> {
    let Some(since) = summary.since.filter(|_| summary.cursor == Cursor::Created && summary.command == CommandName::Run) else {
        return 0..0;
    };
    let end = Dt::of(summary.until.map_or(summary.started_at, |until| until.min(summary.started_at))).days();
    let first = Dt::of(since.minus(1)).days() + 1;
    first.max(end - DAYS_LOOKED_AT)..end
}

fn stale(limit: Duration, newest: UtcMicros, now: UtcMicros) -> Option<String> {
    let age = Duration::from_micros(u64::try_from(now.micros().saturating_sub(newest.micros())).unwrap_or(0));
    (age > limit).then(|| format!("the newest row is of {}: older than {}", newest.rfc3339(), span_text(limit)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::check::{CheckResult, Severity};

    fn at(month: i64, day: i64, second: i64) -> UtcMicros {
        UtcMicros::from_civil((2026, month, day), second, 0, 0).unwrap()
    }

    fn summary(seconds: i32, read: u64) -> Summary {
        let mut summary = Summary::new("r".into(), None, None, at(1, 20, 0));
        summary.finished_at = at(1, 20, i64::from(seconds));
        summary.execution_time_seconds = f64::from(seconds);
        summary.records.records_read = read;
        summary.records.records_processed = read;
        summary
    }

    fn earlier(count: usize, seconds: f64, read: u64) -> Vec<RunPace> {
        vec![RunPace::new(seconds, read); count]
    }

    /// The finding of one kind: `None` where the rule did not look.
    fn told(settings: &AlertSettings, evidence: &Evidence<'_>, kind: AlertKind) -> Option<Option<String>> {
        judge(settings, evidence).into_iter().find(|finding| finding.kind == kind).map(|finding| finding.message)
    }

    fn evidence<'a>(summary: &'a Summary, earlier: &'a [RunPace]) -> Evidence<'a> {
        Evidence { summary, ended: Ended::Success, earlier, has_rows: &|_| true, missing: &[], newest: None }
    }

    #[test]
    fn a_run_is_slow_above_twice_the_average_of_five_or_more() {
        let is_slow = |seconds, read, earlier: &[RunPace]| {
            told(&AlertSettings::default(), &evidence(&summary(seconds, read), earlier), AlertKind::SlowRun).map(|told| told.is_some())
        };
        assert_eq!(is_slow(21, 100, &earlier(5, 10.0, 100)), Some(true));
        assert_eq!(is_slow(20, 100, &earlier(5, 10.0, 100)), Some(false), "exactly twice is not more");
        assert_eq!(is_slow(500, 100, &earlier(4, 10.0, 100)), None, "four runs are no history");
        assert_eq!(is_slow(0, 100, &earlier(5, 0.0, 100)), Some(false), "below a second nothing is slow");
        assert_eq!(is_slow(40, 201, &earlier(5, 10.0, 100)), Some(false), "two times the records may take twice as long, and twice that");
        assert_eq!(is_slow(41, 201, &earlier(5, 10.0, 100)), Some(true));
        assert_eq!(is_slow(21, 200, &earlier(5, 10.0, 100)), Some(true), "of like size up to twice");
        assert_eq!(is_slow(9, 40, &earlier(5, 10.0, 100)), Some(true), "a small run is held against the time a record");
        assert_eq!(is_slow(8, 40, &earlier(5, 10.0, 100)), Some(false));
    }

    #[test]
    fn a_run_that_waits_for_others_is_not_slow() {
        let told_of = |waited_seconds| {
            let summary = Summary { waited_seconds, ..summary(100, 100) };
            told(&AlertSettings::default(), &evidence(&summary, &earlier(5, 10.0, 100)), AlertKind::SlowRun).unwrap()
        };
        assert_eq!(told_of(80.0), None, "20 s are its own, which is no more than twice");
        assert!(told_of(79.0).unwrap().starts_with("the run took 21.00 s, and the 5 before it 10.00 s"));
        assert_eq!(told_of(99.5), None, "half a second of its own is never slow");
    }

    #[test]
    fn dropped_records_count_above_their_share() {
        let told_of = |dropped: u64, processed: u64| {
            let mut summary = summary(0, dropped + processed);
            (0..dropped).for_each(|_| summary.records.drop(Reason::MissingOrderId));
            summary.records.records_processed = processed;
            told(&AlertSettings::default(), &evidence(&summary, &[]), AlertKind::DroppedShare).unwrap()
        };
        assert_eq!(told_of(5, 95), None);
        assert_eq!(told_of(6, 94).unwrap(), "6 of 100 records were dropped: 6.0 %, where 5 % may be");
        assert_eq!(told(&AlertSettings::default(), &evidence(&summary(0, 0), &[]), AlertKind::DroppedShare), None, "nothing was read");
    }

    #[test]
    fn a_record_without_a_date_is_a_share_of_all_that_were_read() {
        let told_of = |undated: u64, dated: u64, processed: u64, out_of_window: u64| {
            let mut summary = summary(0, undated + dated + processed + out_of_window);
            (0..undated).for_each(|_| summary.records.drop(Reason::InvalidCreatedAt));
            (0..dated).for_each(|_| summary.records.drop(Reason::EmptyItems));
            summary.records.records_processed = processed;
            summary.records.records_out_of_window = out_of_window;
            told(&AlertSettings::default(), &evidence(&summary, &[]), AlertKind::DroppedShare)
        };
        assert_eq!(told_of(2, 0, 0, 98), None, "an empty window of a file says nothing, and ends no alert");
        assert_eq!(told_of(2, 0, 1, 97), Some(None), "2 % of all");
        let message = "6 of 100 records that were read were dropped before their date was known: 6.0 %, where 5 % may be";
        assert_eq!(told_of(6, 0, 0, 94), Some(Some(message.to_owned())));
        assert_eq!(told_of(2, 0, 0, 0).unwrap().unwrap(), "2 of 2 records were dropped: 100.0 %, where 5 % may be", "no date at all");
        assert!(told_of(3, 3, 97, 100).unwrap().is_none(), "3.0 % and 1.5 %");
        assert!(told_of(6, 4, 96, 100).unwrap().is_some(), "4.0 % and 2.9 %");
    }

    #[test]
    fn deletions_that_were_refused_are_told_until_a_run_may_delete() {
        let told_of = |mode, refused: Option<&str>, ended| {
            let mut summary = summary(0, 1);
            summary.deletions.delete_missing = mode;
            summary.deletions.deletions_refused = refused.map(str::to_owned);
            told(&AlertSettings::default(), &Evidence { ended, ..evidence(&summary, &[]) }, AlertKind::Deletions)
        };
        let remove = Some(crate::settings::DeletionMode::Remove);
        assert_eq!(told_of(None, None, Ended::Success), None, "a run that was not asked to says nothing of it");
        assert_eq!(told_of(remove, None, Ended::Success), Some(None));
        assert_eq!(told_of(remove, Some("w"), Ended::Success), Some(Some("w".to_owned())));
        assert_eq!(told_of(remove, Some("w"), Ended::Otherwise), Some(Some("w".to_owned())));
        assert_eq!(told_of(remove, None, Ended::SourceFailed), None);
    }

    #[test]
    fn a_day_without_rows_counts_where_its_weekday_had_some() {
        let rows: BTreeSet<Dt> = [12, 14].map(|day| Dt::of(at(1, day, 0))).into();
        let judged = |command, since: Option<UtcMicros>, until: Option<UtcMicros>, missing: &[Dt]| {
            let summary = Summary { command, since, until, ..summary(0, 0) };
            let evidence = Evidence { has_rows: &|dt| rows.contains(&dt), missing, ..evidence(&summary, &[]) };
            let findings = judge(&AlertSettings::default(), &evidence).into_iter().filter(|finding| finding.kind == AlertKind::NoRecords);
            findings.map(|finding| format!("{} {}", finding.subject, finding.message.is_some())).collect::<Vec<_>>()
        };
        let told_of = |since, until| judged(CommandName::Run, since, until, &[]);
        assert_eq!(told_of(Some(at(1, 18, 3600)), None), ["2026-01-19 true"], "the 18th is not whole");
        assert_eq!(told_of(Some(at(1, 19, 1)), None), [""; 0], "only a part of the 19th is in the window");
        assert_eq!(told_of(Some(at(1, 18, 0)), Some(at(1, 19, 0))), ["2026-01-18 false"], "the 11th has none either");
        assert_eq!(told_of(Some(at(1, 20, 0)), Some(at(2, 1, 0))), [""; 0], "the 21st has not been yet");
        assert_eq!(told_of(None, None), [""; 0], "of an open window there is nothing to expect");
        assert_eq!(told_of(Some(at(1, 1, 0)), None).len(), 7, "of a long window the last days");
        assert_eq!(judged(CommandName::Backfill, Some(at(1, 19, 0)), None, &[]), [""; 0]);
        let missing = [12, 13].map(|day| Dt::of(at(1, day, 0)));
        assert_eq!(judged(CommandName::Backfill, None, None, &missing), ["2026-01-12 false"], "it has rows now");
    }

    #[test]
    fn a_layer_is_stale_past_its_freshness() {
        let settings = AlertSettings { freshness: Some(Duration::from_secs(3600)), ..AlertSettings::default() };
        let told_of = |newest| {
            let summary = summary(0, 0);
            told(&settings, &Evidence { newest: Some(newest), ..evidence(&summary, &[]) }, AlertKind::Stale).unwrap()
        };
        assert_eq!(told_of(at(1, 20, 0).minus(3600 * UtcMicros::SECOND)), None);
        assert_eq!(
            told_of(at(1, 20, 0).minus(3601 * UtcMicros::SECOND)).unwrap(),
            "the newest row is of 2026-01-19T22:59:59Z: older than 1h"
        );
    }

    #[test]
    fn another_shape_is_told_of_by_source_and_over_with_the_next_run() {
        let column = Some("[[fact.columns]]\nname = \"gift\"\n".to_owned());
        let (change, types) = (drift::ChangeKind::New, vec![drift::JsonType::Text]);
        let change = drift::SchemaChange { path: "gift".into(), change, types, was: Vec::new(), read: false, column };
        let identity = crate::coverage::SourceIdentity { source: "shop".into(), profile: "default".into(), cursor: "created_at".into() };
        let told_of = |summary: &Summary, ended| {
            let evidence = Evidence { ended, ..evidence(summary, &[]) };
            let findings = judge(&AlertSettings::default(), &evidence).into_iter();
            findings.filter(|finding| finding.kind == AlertKind::SchemaChanged).map(|f| (f.subject, f.message)).collect::<Vec<_>>()
        };
        let same = Summary { identity: Some(identity), ..summary(0, 1) };
        assert_eq!(told_of(&same, Ended::Success), [("shop".to_owned(), None)]);
        let other = Summary { schema_changes: vec![change], ..same };
        let message = "the records of shop have another shape than before: `gift` is new (text): [[fact.columns]] name = \"gift\"";
        assert_eq!(told_of(&other, Ended::ChecksFailed { published: false }), [("shop".to_owned(), Some(message.to_owned()))]);
        assert!(told_of(&other, Ended::SourceFailed).is_empty(), "it was not compared");
        assert!(told_of(&summary(0, 1), Ended::Success).is_empty(), "a run that counts for no source");
    }

    #[test]
    fn money_that_does_not_add_up_is_told_of_first() {
        let result = |name: &str, severity| CheckResult { passed: false, violations: 1, ..CheckResult::new(name, severity) };
        let mut summary = summary(0, 1);
        summary.checks = vec![
            result("fact_key_unique", Severity::Error),
            result("fact_price_non_negative", Severity::Warn),
            result(FIRST_CHECK, Severity::Error),
        ];
        let findings =
            judge(&AlertSettings::default(), &Evidence { ended: Ended::ChecksFailed { published: false }, ..evidence(&summary, &[]) });
        let failed: Vec<_> = findings.iter().filter(|finding| finding.kind == AlertKind::CheckFailed).map(|f| f.subject.as_str()).collect();
        assert_eq!(failed, [FIRST_CHECK, "fact_key_unique"]);
    }

    #[test]
    fn what_reads_kept_records_does_not_say_that_the_source_is_well() {
        let replay = Summary { command: CommandName::Replay, ..summary(0, 1) };
        assert_eq!(told(&AlertSettings::default(), &evidence(&replay, &[]), AlertKind::SourceFailed), None);
        assert_eq!(told(&AlertSettings::default(), &evidence(&replay, &[]), AlertKind::Incomplete), None);
        assert_eq!(told(&AlertSettings::default(), &evidence(&replay, &[]), AlertKind::DroppedShare), Some(None), "its records are mended");
    }

    #[test]
    fn what_was_not_looked_at_is_not_over() {
        let summary = summary(0, 0);
        let kinds = |ended| {
            judge(&AlertSettings::default(), &Evidence { ended, ..evidence(&summary, &[]) }).iter().map(|f| f.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(Ended::Otherwise), []);
        assert_eq!(kinds(Ended::SourceFailed), [AlertKind::SourceFailed]);
        assert_eq!(kinds(Ended::StorageFailed), [AlertKind::StorageFailed]);
        assert_eq!(kinds(Ended::ChecksFailed { published: false }), [], "what it has read was never published");
        let ends = [AlertKind::SourceFailed, AlertKind::Incomplete, AlertKind::StorageFailed, AlertKind::SlowRun];
        assert_eq!(kinds(Ended::Success), ends, "nothing was dropped of nothing");
    }
}
