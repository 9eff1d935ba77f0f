//! What stands at the end of a run beside its layer: alerts judged and sent, metrics written, what is old removed.
//!
//! Nothing here changes how the run ended: what goes wrong is a warning.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    RunError,
    explain::{self, Clock},
    open::host,
    vacuum,
};
use crate::{
    cancel::Cancel,
    layer::{self, LayerError},
    model::{Dt, RunPace, UtcMicros},
    net::redact,
    report::{
        self, Alert, CurrentRun, Retained, Status, Summary,
        alert::{
            self, Delivery, Discovery, Ended, Evidence, Notice, OpenAlerts, Sender, SourceOfRun,
            stuck::{self, Holding},
        },
        telemetry::RunTelemetry,
    },
    settings::{EmfTarget, MetricsSettings, Receiver, Settings},
    source::SourceError,
    store::{self, AlertsNote, Holder, Lease, Output, StoreError, places},
};

/// The number of reports that are searched for the runs that a slow one is compared with.
const REPORTS_SEARCHED: usize = 200;

/// How far a run came, as the rules of the alerts want to know it.
pub(super) fn ended(error: Option<&RunError>) -> Ended {
    match error {
        None => Ended::Success,
        Some(RunError::Source(SourceError::Interrupted)) => Ended::Otherwise,
        Some(RunError::ChecksFailed { published, .. }) => Ended::ChecksFailed { published: *published },
        Some(RunError::SchemaChanged { .. }) => Ended::ChecksFailed { published: false },
        Some(error) => match error.exit_code() {
            3 => Ended::SourceFailed,
            5 => Ended::StorageFailed,
            _ => Ended::Otherwise,
        },
    }
}

/// Where notices come from: what they name, whatever they are about.
pub struct NoticeOrigin {
    pipeline: String,
    output: String,
    host: String,
}

impl NoticeOrigin {
    /// The pipeline and the output of these settings, on this host.
    pub fn new(settings: &Settings) -> NoticeOrigin {
        let output = settings.output.absolute();
        NoticeOrigin { pipeline: settings.alerts.name.clone().unwrap_or_else(|| output.clone()), output, host: host() }
    }

    /// The stable name of the pipeline.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// The sender of notices after a run.
    pub fn sender<'a>(&'a self, run_id: &'a str) -> Sender<'a> {
        Sender { pipeline: &self.pipeline, output: &self.output, host: &self.host, run_id }
    }
}

/// The alerts that were open when a run was judged, and those that are by what it found.
pub(super) struct Verdict {
    /// `None`: their file could not be read.
    before: Option<OpenAlerts>,
    open: OpenAlerts,
}

/// Says what could not be read for the alerts or the metrics of a run, and what that means. Where storage has ended the run, its
/// error says why.
pub(super) fn warn_unread(ended: Ended, error: &dyn Error, so: &str) {
    if ended != Ended::StorageFailed {
        tracing::warn!(%error, "{so}");
    }
}

/// The alerts that are open, as the lease knows them, which spares a request, or as their file has them; `None` if it can't be read.
fn known_alerts(output: &Output, lease: Option<&Lease>, ended: Ended) -> Option<OpenAlerts> {
    let by_lease = lease.and_then(Lease::known_alerts).and_then(OpenAlerts::from_text);
    let by_file = || {
        let read = OpenAlerts::read(output);
        read.map_err(|error| warn_unread(ended, &error, "which alerts are open can't be read: they may be sent again")).ok()
    };
    by_lease.or_else(by_file)
}

/// How long the runs before took: as the lease knows it, or as their reports say, which in a bucket would cost a request for each.
fn earlier_paces(output: &Output, lease: Option<&Lease>, summary: &Summary, ended: Ended) -> Vec<RunPace> {
    if let Some(paces) = lease.and_then(|lease| lease.paces(&summary.kind())) {
        return paces.to_vec();
    }
    report::latest_paces(output, summary, REPORTS_SEARCHED).unwrap_or_else(|error| {
        warn_unread(ended, &error, "the reports of the runs before can't be read: nothing tells whether this one was slow");
        Vec::new()
    })
}

/// Judges a run whose layer is, or is about to be, made of these files. The alerts of the summary are what the rules say.
pub(super) fn judge(
    settings: &Settings,
    output: &Output,
    lease: Option<&Lease>,
    summary: &mut Summary,
    ended: Ended,
    facts: &BTreeMap<Dt, PathBuf>,
) -> Verdict {
    let takes_long = summary.own_seconds() >= settings.alerts.slow_after.as_secs_f64();
    let earlier = if takes_long && ended == Ended::Success { earlier_paces(output, lease, summary, ended) } else { Vec::new() };
    let newest = settings.alerts.freshness.and_then(|_| newest_row(output, facts, summary.finished_at));
    let before = known_alerts(output, lease, ended);
    let mut open = before.clone().unwrap_or_default();
    let missing = open.missing_days();
    let evidence = Evidence { summary, ended, earlier: &earlier, has_rows: &|dt| facts.contains_key(&dt), missing: &missing, newest };
    let mut findings = alert::judge(&settings.alerts, &evidence);
    if let Some(shop) = &summary.shop {
        findings.iter_mut().for_each(|finding| finding.name_shop(shop));
    }
    // They are kept in the state, and sent.
    for finding in &mut findings {
        finding.message = finding.message.as_deref().map(|message| redact::text(message).into_owned());
    }
    summary.alerts = findings.iter().filter_map(|finding| Some(Alert { kind: finding.kind, message: finding.message.clone()? })).collect();
    let origin = NoticeOrigin::new(settings);
    let replayed = summary.replay_of.as_deref().and_then(|run_id| source_of_run(output, run_id, ended));
    let by = Discovery {
        pipeline: origin.pipeline(),
        run_id: &summary.run_id,
        shop: summary.shop.as_deref(),
        source: match &replayed {
            Some(source) => SourceOfRun::Loaded(source),
            None => source_of(summary),
        },
        now: summary.finished_at,
    };
    let over = open.apply_findings(by, ended, &findings);
    if settings.dry_run {
        // What it has found changes nothing, so that no alert is over.
        return Verdict { before, open };
    }
    summary.recovered = over;
    if ended == Ended::Success {
        let closed = open.end_those_of_removed_shops(&settings.shops, summary.finished_at);
        for alert in &closed {
            tracing::info!(kind = alert.kind.as_str(), "an alert is closed: {}", alert.message);
        }
        summary.recovered.extend(closed);
    }
    Verdict { before, open }
}

/// The source of an earlier run, as its report tells it: a replay loads records of this source.
fn source_of_run(output: &Output, run_id: &str, ended: Ended) -> Option<String> {
    let read = output.read(places::report(run_id));
    let unread =
        |error: StoreError| warn_unread(ended, &error, "the report of the replayed run can't be read: alerts do not name its source");
    let report = read.map_err(unread).ok().flatten()?;
    Some(Summary::from_json(&report).ok()?.identity?.source)
}

/// The source whose alerts a run raises and ends.
fn source_of(summary: &Summary) -> SourceOfRun<'_> {
    match &summary.identity {
        None => SourceOfRun::Unnamed,
        Some(identity) if summary.is_known_source => SourceOfRun::Loaded(&identity.source),
        Some(identity) => SourceOfRun::New(&identity.source),
    }
}

/// `created_at` of the newest row that does not lie in the future.
fn newest_row(output: &Output, facts: &BTreeMap<Dt, PathBuf>, now: UtcMicros) -> Option<UtcMicros> {
    let look = |dt: Dt, path: &Path| -> Result<Option<UtcMicros>, LayerError> {
        // A partition that no check has looked at has no local copy yet.
        let key = path.file_name().map(|name| places::partition_folder(dt).join(name.to_string_lossy()));
        let fetched = if path.exists() { None } else { key.map(|key| output.local(key)).transpose()?.flatten() };
        layer::newest_row(fetched.as_deref().unwrap_or(path), now)
    };
    facts.range(..=Dt::of(now)).rev().find_map(|(dt, path)| match look(*dt, path) {
        Ok(newest) => newest,
        Err(error) => {
            tracing::warn!(%error, "the newest row can't be looked for");
            None
        }
    })
}

/// Logs what was found, and notifies the receivers. The output is held meanwhile, for no longer than three time-outs.
pub(super) fn tell(
    settings: &Settings,
    output: &Output,
    lease: Option<&Lease>,
    summary: &mut Summary,
    Verdict { before, mut open }: Verdict,
) {
    let waited = lease.is_some_and(Lease::has_waited);
    for alert in &summary.alerts {
        if summary.is_error_of_run(alert) {
            // The error itself follows in the log.
            tracing::info!(kind = alert.kind.as_str(), "alert: {}", alert.message);
        } else {
            tracing::warn!(kind = alert.kind.as_str(), "alert: {}", alert.message);
        }
    }
    let now = summary.finished_at;
    let origin = NoticeOrigin::new(settings);
    open.forget_all_but(&settings.alerts.receivers);
    let due = open.due(&settings.alerts.receivers, settings.alerts.repeat, now);
    let mut deliveries = deliver(settings, origin.sender(&summary.run_id), &due);
    open.record_deliveries(&deliveries, now);
    let note = keep_alerts(output, before, open);
    if let Some(lease) = lease {
        lease.note_alerts(note);
        if summary.status.is_success() {
            lease.note_pace(&summary.kind(), summary.pace());
        }
    }
    // In a bucket a look costs a request: only who waited for a run, or was at work for long itself, can know of one that was stuck.
    let is_long = summary.execution_time_seconds >= settings.alerts.stuck_after.as_secs_f64();
    if output.folder().is_none() && !waited && !is_long {
        summary.deliveries_failed = deliveries.iter().filter_map(Delivery::failure).collect();
        return;
    }
    // Whatever run was stuck: this one has had the output since, or was stuck itself and is at its end.
    let over = update_stuck(settings, output, &summary.run_id, now, Holding::None);
    deliveries.extend(over.deliveries);
    summary.recovered.extend(over.recovered);
    summary.deliveries_failed = deliveries.iter().filter_map(Delivery::failure).collect();
    for alert in &summary.recovered {
        tracing::info!(kind = alert.kind.as_str(), "the alert is over: {}", alert.message);
    }
}

/// Keeps which alerts are open, if that has changed. Returns what their file says then.
fn keep_alerts(output: &Output, before: Option<OpenAlerts>, mut open: OpenAlerts) -> AlertsNote {
    let is_known = before.is_some();
    let before = before.unwrap_or_default();
    if open == before {
        return if is_known { AlertsNote::Read(open.to_text()) } else { AlertsNote::Untouched };
    }
    // Runs on other days may have written it since. Where it can't be read, a write would lose what they have found.
    let kept = OpenAlerts::read(output).and_then(|meanwhile| {
        if meanwhile != before {
            open.absorb_others(&before, meanwhile);
        }
        open.write(output)
    });
    match kept {
        Ok(()) => AlertsNote::Written(open.to_text()),
        Err(error) => {
            // Who could not read it has said so.
            if is_known {
                tracing::warn!(%error, "which alerts are open could not be kept: they may be sent again");
            }
            AlertsNote::Unknown
        }
    }
}

/// Judges the run that holds the output, for a run that found it held. A dry run sends nothing.
pub(super) fn judge_holder(settings: &Settings, output: &Output, summary: &mut Summary, holder: &Holder) {
    let alert = stuck::judge(&settings.alerts, holder, summary.finished_at);
    if let Some(alert) = &alert {
        tracing::warn!(kind = alert.kind.as_str(), "alert: {}", alert.message);
        summary.alerts.push(alert.clone());
    }
    if settings.dry_run {
        return;
    }
    let holding = Holding::By(holder, alert.as_ref());
    let stuck::Update { recovered, deliveries } = update_stuck(settings, output, &summary.run_id, summary.finished_at, holding);
    summary.recovered.extend(recovered);
    summary.deliveries_failed.extend(deliveries.iter().filter_map(Delivery::failure));
}

/// Keeps and sends the alerts about stuck runs.
pub(super) fn update_stuck(settings: &Settings, output: &Output, run_id: &str, now: UtcMicros, holding: Holding<'_>) -> stuck::Update {
    let origin = NoticeOrigin::new(settings);
    let by = Discovery { pipeline: origin.pipeline(), run_id, shop: None, source: SourceOfRun::Unnamed, now };
    let send = |due: &[(&Receiver, Notice)]| deliver(settings, origin.sender(run_id), due);
    let is_stuck = matches!(holding, Holding::By(_, Some(_)));
    stuck::update(output, &settings.alerts, by, holding, send).unwrap_or_else(|error| {
        if is_stuck {
            tracing::warn!(%error, "the alert about the run that holds the output can't be kept, and is not sent");
        } else {
            tracing::warn!(%error, "the alerts about stuck runs can't be read or kept: the next run tries again");
        }
        stuck::Update::default()
    })
}

/// Sends notices. A failed delivery is a warning with its cause.
fn deliver(settings: &Settings, sender: Sender<'_>, due: &[(&Receiver, Notice)]) -> Vec<Delivery> {
    let deliveries = alert::deliver(due, sender, settings.alerts.timeout, &settings.http.network);
    for failed in deliveries.iter().filter_map(Delivery::failure) {
        let (receiver, kind, error) = (failed.receiver.as_str(), failed.kind.as_str(), failed.error);
        tracing::warn!(receiver, kind, error, "an alert could not be delivered: the next run tries again");
    }
    deliveries
}

/// Removes what is older than the retention.
pub(super) fn retain(settings: &Settings, output: &Output, summary: &Summary) {
    // In a bucket that takes lists of everything: `etl vacuum` does it there.
    if output.folder().is_none() {
        return;
    }
    vacuum::vacuum_daily(settings, output, summary.finished_at);
    let run = CurrentRun { run_id: &summary.run_id, now: summary.finished_at };
    let retained = report::remove_older(output, &vacuum::retention(settings), &run);
    let clock = if matches!(retained, Ok(Retained::Removed(_))) { Clock::Trusted } else { Clock::Doubted };
    explain::retain_lineage(settings, output, run.now, clock);
    match retained {
        Ok(Retained::Removed(0)) => {}
        // Of a retention that nobody asked for, there may be nothing to remove.
        Ok(Retained::ClockDoubted(_)) if settings.retention.is_none() && !settings.raw.is_kept => {}
        Ok(Retained::ClockDoubted(newest)) => tracing::warn!(
            newest_run = %newest,
            "nothing past the retention is removed: no run started for 180 days, so this host's clock may be wrong; ten runs over a day confirm it"
        ),
        Ok(Retained::Removed(runs)) => {
            tracing::info!(runs, "quarantine, kept records, manifests and reports past their retention have been removed")
        }
        Err(error) => tracing::warn!(%error, "what is past its retention could not be removed"),
    }
}

/// Writes the metrics where they are asked for.
pub(super) fn write_metrics(settings: &MetricsSettings, output: &Output, summary: &Summary) {
    if let Some(path) = &settings.file {
        let text = report::open_metrics(summary, last_success(output, summary, "the metrics file lacks the time of the last success"));
        if let Err(error) = store::replace_file(path, text.as_bytes()) {
            tracing::warn!(path = %path.display(), %error, "the metrics could not be written");
        }
    }
    let lines = || report::embedded_metrics(summary);
    let written = match &settings.emf {
        None => Ok(()),
        Some(EmfTarget::Stdout) => io::stdout().write_all(lines().as_bytes()),
        Some(EmfTarget::File(path)) => {
            OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| file.write_all(lines().as_bytes()))
        }
    };
    if let Err(error) = written {
        tracing::warn!(%error, "the metrics for CloudWatch could not be written");
    }
}

/// Sends what is left of the traces, and the metrics. A dry run sends no metrics.
pub(super) fn send_telemetry(telemetry: RunTelemetry, settings: &Settings, output: &Output, summary: &Summary, cancel: &Cancel) {
    let has_metrics = !settings.dry_run && settings.telemetry.as_ref().is_some_and(|telemetry| telemetry.metrics.is_some());
    let last_success = || last_success(output, summary, "the metrics for the collector lack the time of the last success");
    let metrics = if has_metrics { report::metrics(summary, last_success()) } else { Vec::new() };
    telemetry.finish(&summary.run_id, metrics, cancel);
}

/// When a run like this one was last successful, as the reports say. `lacking` says what lacks it where they can't be read.
fn last_success(output: &Output, summary: &Summary, lacking: &str) -> Option<UtcMicros> {
    if summary.status.is_success() {
        return Some(summary.finished_at);
    }
    let found = report::latest_run(output, |run| run.is_successful_load() && run.shop == summary.shop);
    let ended = if summary.status == Status::StorageFailed { Ended::StorageFailed } else { Ended::Otherwise };
    let run = found.map_err(|error| warn_unread(ended, &error, lacking)).ok().flatten()?;
    Some(run.finished_at)
}

/// The most memory that this process has held so far, in bytes, where the system tells (Linux: `VmHWM`).
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib: u64 = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
