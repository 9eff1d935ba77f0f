//! Why a layer is not healthy, in plain sentences, the most urgent reason first, and what to do next. Reads nothing.

use serde::Serialize;

use super::{FailingCheck, HeldBy, RunInShort};
use crate::{
    check::{self, Severity},
    model::counted,
    report::{AlertKind, Status, alert::OpenAlert},
    settings::Settings,
};

/// A reason why a layer is not healthy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Unhealthy {
    /// What is wrong.
    pub why: String,
    /// What to do next.
    pub next: String,
}

/// What the health of a layer rests on.
pub(super) struct Evidence<'e> {
    pub(super) settings: &'e Settings,
    pub(super) has_success: bool,
    pub(super) held_by: Option<&'e HeldBy>,
    /// The last run, and the last run of each shop.
    pub(super) last_runs: Vec<LastRun<'e>>,
    pub(super) failing_checks: &'e [FailingCheck],
    pub(super) open_alerts: &'e [OpenAlert],
}

/// A run after which none has come, of the layer or of a shop.
#[derive(Clone)]
pub(super) struct LastRun<'e> {
    pub(super) run: RunInShort,
    pub(super) shop: Option<&'e str>,
}

/// Every reason; none if the layer is healthy.
pub(super) fn reasons(evidence: &Evidence<'_>) -> Vec<Unhealthy> {
    let settings = evidence.settings;
    let stuck = evidence.held_by.filter(|held| held.stuck).map(stuck);
    let failed = evidence.last_runs.iter().filter(|last| !is_fine(last.run.status)).map(|last| failed(last, settings));
    let checks = evidence.failing_checks.iter().filter(|check| check.severity == Severity::Error).map(|check| failing(check, settings));
    let alerts = evidence.open_alerts.iter().filter(|alert| !is_told(alert, evidence)).map(|alert| open(alert, settings));
    let mut reasons: Vec<_> = stuck.into_iter().chain(failed).chain(checks).chain(alerts).collect();
    if !evidence.has_success && reasons.is_empty() {
        reasons.push(Unhealthy { why: "no run has succeeded yet".into(), next: load(settings) });
    }
    reasons
}

/// Whether another reason says what an alert says: a failed run, a failing check, a run that is stuck.
fn is_told(alert: &OpenAlert, evidence: &Evidence<'_>) -> bool {
    let is_of = |run_id: &str| run_id == alert.run_id || Some(run_id) == alert.run_of_message();
    let has_failed = |last: &LastRun<'_>| !is_fine(last.run.status) && is_of(&last.run.run_id);
    match alert.kind {
        AlertKind::SourceFailed | AlertKind::StorageFailed => evidence.last_runs.iter().any(has_failed),
        AlertKind::CheckFailed => {
            evidence.failing_checks.iter().any(|check| check.severity == Severity::Error) || evidence.last_runs.iter().any(has_failed)
        }
        AlertKind::Stuck => evidence.held_by.is_some_and(|held| held.stuck),
        _ => false,
    }
}

/// Whether a last run is no sign of illness. One that found the output held is no verdict on the layer.
pub(super) fn is_fine(status: Status) -> bool {
    status.is_success() || matches!(status, Status::Locked | Status::DryRun)
}

fn stuck(held: &HeldBy) -> Unhealthy {
    let holder = &held.holder;
    Unhealthy {
        why: format!("run {} has held the output for longer than a run may", holder.run_id),
        next: format!("look at process {} on {}, and end it if it hangs", holder.pid, holder.host),
    }
}

/// How the orders are loaded: by a command that works with these settings.
pub fn load(settings: &Settings) -> String {
    match settings.orders.is_some() || !settings.shops.is_empty() {
        true => format!("`{}` loads the orders", settings.command_line("run")),
        false => format!("`{}` loads orders", settings.command_line("run --orders LOCATION")),
    }
}

fn failed(last: &LastRun<'_>, settings: &Settings) -> Unhealthy {
    let RunInShort { run_id, status, .. } = &last.run;
    let shop = last.shop.map(|shop| format!(" of shop {shop}")).unwrap_or_default();
    Unhealthy {
        why: format!("the last run{shop} ended as {} (run {run_id})", status.as_str()),
        next: format!("`{}` tells why", settings.command_line(&format!("runs show {run_id}"))),
    }
}

fn failing(check: &FailingCheck, settings: &Settings) -> Unhealthy {
    let FailingCheck { name, violations, run_id, is_in_layer, .. } = check;
    Unhealthy {
        why: format!("the check {name} fails with {} (run {run_id})", counted(*violations, "violation")),
        next: format!("{}: correct the source or the check, and run again", shows_rows(name, LookedAt::of(*is_in_layer), run_id, settings)),
    }
}

/// What a check has looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LookedAt {
    /// What readers see.
    Layer,
    /// What a run had brought and did not publish.
    Unpublished,
}

impl LookedAt {
    fn of(is_in_layer: bool) -> LookedAt {
        if is_in_layer { LookedAt::Layer } else { LookedAt::Unpublished }
    }
}

/// The command that shows what a check has found. `etl check` sees the layer alone, and runs no check that compares a run with it.
fn shows_rows(check: &str, at: LookedAt, run_id: &str, settings: &Settings) -> String {
    if at == LookedAt::Layer && check != check::UNIT_SLIP {
        return format!("`{}` shows the rows", settings.command_line("check"));
    }
    format!("`{}` shows the rows of that run", settings.command_line(&format!("runs show {run_id}")))
}

/// The check that an alert is about: behind the name of the shop, if it has one.
fn check_of(alert: &OpenAlert) -> &str {
    alert.subject.rsplit(':').next().unwrap_or_default()
}

fn open(alert: &OpenAlert, settings: &Settings) -> Unhealthy {
    // The command shows the run that the message tells of, which may be a later one than the run that raised the alert.
    let run_id = alert.run_of_message().unwrap_or(&alert.run_id);
    let show = || settings.command_line(&format!("runs show {run_id}"));
    let next = match alert.kind {
        AlertKind::DroppedShare => {
            format!("`{}` shows the dropped records", settings.command_line(&format!("quarantine --run {run_id}")))
        }
        AlertKind::SourceFailed | AlertKind::StorageFailed => format!("`{}` tells why", show()),
        AlertKind::CheckFailed => shows_rows(check_of(alert), LookedAt::of(alert.in_layer), run_id, settings),
        AlertKind::Incomplete => "ask the source for what is missing, and load the window again".to_owned(),
        AlertKind::SlowRun => format!("`{}` shows which stage took long", show()),
        AlertKind::NoRecords | AlertKind::Stale if settings.orders.is_some() || !settings.shops.is_empty() => {
            format!("ask the source whether it has newer orders; `{}` shows what was loaded", settings.command_line("plan"))
        }
        AlertKind::NoRecords | AlertKind::Stale => "ask the source whether it has newer orders".to_owned(),
        AlertKind::Deletions => format!("`{}` tells why nothing was deleted", show()),
        AlertKind::SchemaChanged => "adapt the profile, or accept the change: docs/sources.md#drift".to_owned(),
        AlertKind::Stuck | AlertKind::Test => "docs/operations.md#alerts says what it means".to_owned(),
    };
    let of_run = alert.run_of_message().map(|run_id| format!(" (run {run_id})")).unwrap_or_default();
    Unhealthy { why: format!("the alert {} is open: {}{of_run}", alert.kind.as_str(), alert.message), next }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{model::UtcMicros, report::CommandName, settings::GivenOptions};

    fn last(status: Status) -> LastRun<'static> {
        let finished_at = UtcMicros::new(0).unwrap();
        let run = RunInShort { run_id: "r2".into(), command: CommandName::Run, status, finished_at, age_seconds: 1, undone_by: None };
        LastRun { run, shop: None }
    }

    fn alert(kind: AlertKind, run_id: &str) -> OpenAlert {
        OpenAlert {
            kind,
            subject: String::new(),
            message: "6 of 25".into(),
            run_id: run_id.into(),
            message_run_id: Some(run_id.into()),
            since: String::new(),
            in_layer: false,
            sent_at: None,
            told: std::collections::BTreeSet::new(),
            over_at: None,
            dedup_key: None,
            sources: std::collections::BTreeMap::new(),
        }
    }

    fn whys(status: Status, checks: &[FailingCheck], alerts: &[OpenAlert]) -> Vec<String> {
        let settings = &Settings::plain(PathBuf::from("output"));
        let last_runs = vec![last(status)];
        let evidence = Evidence { settings, has_success: true, held_by: None, last_runs, failing_checks: checks, open_alerts: alerts };
        reasons(&evidence).into_iter().map(|reason| reason.why).collect()
    }

    #[test]
    fn each_reason_is_told_once_and_the_most_urgent_first() {
        let failing = FailingCheck { name: "c".into(), severity: Severity::Error, violations: 1, run_id: "r2".into(), is_in_layer: true };
        let warning = FailingCheck { severity: Severity::Warn, ..failing.clone() };
        assert_eq!(whys(Status::Unchanged, std::slice::from_ref(&warning), &[]), Vec::<String>::new());
        assert_eq!(whys(Status::Locked, &[], &[]), Vec::<String>::new());
        let both = [alert(AlertKind::SourceFailed, "r2"), alert(AlertKind::DroppedShare, "r1")];
        let failed = "the last run ended as extract_failed (run r2)";
        assert_eq!(whys(Status::ExtractFailed, &[], &both), [failed, "the alert dropped_share is open: 6 of 25 (run r1)"]);
        // An alert of an earlier run is not told by the last one.
        assert_eq!(whys(Status::ExtractFailed, &[], &[alert(AlertKind::SourceFailed, "r1")]).len(), 2);
        assert_eq!(
            whys(Status::Published, &[failing, warning], &[alert(AlertKind::CheckFailed, "r2")]),
            ["the check c fails with 1 violation (run r2)"]
        );
    }

    #[test]
    fn the_counts_of_an_alert_stand_with_their_own_run() {
        let settings = &Settings::plain(PathBuf::from("output"));
        let shown = |alert: OpenAlert| {
            let Unhealthy { why, next } = open(&alert, settings);
            (why, next)
        };
        let later = OpenAlert { message_run_id: Some("r2".into()), ..alert(AlertKind::DroppedShare, "r1") };
        let (why, next) = shown(later);
        assert_eq!(why, "the alert dropped_share is open: 6 of 25 (run r2)");
        assert_eq!(next, "`etl quarantine --run r2` shows the dropped records");
        let unknown = OpenAlert { message_run_id: None, ..alert(AlertKind::SlowRun, "r1") };
        let (why, next) = shown(unknown);
        assert_eq!(
            (why.as_str(), next.as_str()),
            ("the alert slow_run is open: 6 of 25", "`etl runs show r1` shows which stage took long")
        );
        // A failure that lasts is told once: by its last run.
        let lasting = OpenAlert { message_run_id: Some("r2".into()), ..alert(AlertKind::SourceFailed, "r1") };
        assert_eq!(whys(Status::ExtractFailed, &[], &[lasting]).len(), 1);
    }

    #[test]
    fn what_etl_check_does_not_see_is_shown_by_the_run() {
        let settings = Settings::plain(PathBuf::from("output"));
        let next = |subject: &str, in_layer| {
            let alert = OpenAlert { subject: subject.into(), in_layer, ..alert(AlertKind::CheckFailed, "r1") };
            open(&alert, &settings).next
        };
        assert_eq!(next("own", true), "`etl check` shows the rows");
        let of_run = "`etl runs show r1` shows the rows of that run";
        assert_eq!(next("own", false), of_run, "it was never published");
        assert_eq!(next("fact_unit_slip", true), of_run, "only a run can make this check");
        assert_eq!(next("de:fact_unit_slip", true), of_run);
        let slip = FailingCheck {
            name: "fact_unit_slip".into(),
            severity: Severity::Error,
            violations: 1,
            run_id: "r2".into(),
            is_in_layer: true,
        };
        assert_eq!(
            failing(&slip, &settings).next,
            "`etl runs show r2` shows the rows of that run: correct the source or the check, and run again"
        );
    }

    /// What to do next, of a layer where no run has succeeded, or where the last run failed.
    fn nexts(settings: &Settings, last_runs: Vec<LastRun<'_>>) -> Vec<String> {
        let evidence = Evidence { settings, has_success: false, held_by: None, last_runs, failing_checks: &[], open_alerts: &[] };
        reasons(&evidence).into_iter().map(|reason| reason.next).collect()
    }

    #[test]
    fn a_layer_without_a_success_is_not_healthy() {
        let settings = Settings::plain(PathBuf::from("output"));
        assert_eq!(nexts(&settings, Vec::new()), ["`etl run --orders LOCATION` loads orders"]);
    }

    #[test]
    fn what_to_do_next_repeats_the_output_that_was_given() {
        let settings = Settings { given: GivenOptions::of_output("/data/a b"), ..Settings::plain(PathBuf::from("/data/a b")) };
        assert_eq!(nexts(&settings, vec![last(Status::ExtractFailed)]), ["`etl runs show r2 --output '/data/a b'` tells why"]);
    }
}
