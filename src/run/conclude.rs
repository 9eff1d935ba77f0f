//! What stands at the end of a run beside its layer: alerts judged and sent, metrics written, what is old removed.
//!
//! Nothing here changes how the run ended: what goes wrong is a warning.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{RunError, open::host};
use crate::{
    layer,
    model::{Dt, UtcMicros, parse_time_text},
    net::redact,
    report::{
        self, Alert, Summary,
        alert::{self, Ended, Evidence, OpenAlerts, Sender},
    },
    settings::{EmfTarget, MetricsSettings, Settings},
    source::SourceError,
    store::Output,
};

/// The runs that a slow one is held against, and among how many reports they are looked for.
const EARLIER_RUNS: (usize, usize) = (30, 200);

/// How far a run came, as the rules of the alerts want to know it.
pub(super) fn ended(error: Option<&RunError>) -> Ended {
    match error {
        None => Ended::Success,
        Some(RunError::Source(SourceError::Interrupted)) => Ended::Otherwise,
        Some(RunError::ChecksFailed { published, .. }) => Ended::ChecksFailed { published: *published },
        Some(error) => match error.exit_code() {
            3 => Ended::SourceFailed,
            5 => Ended::StorageFailed,
            _ => Ended::Otherwise,
        },
    }
}

/// The alerts that were open when a run was judged, and those that are by what it found.
pub(super) struct Verdict {
    before: OpenAlerts,
    open: OpenAlerts,
}

/// Judges a run whose layer is, or is about to be, made of these files. The alerts of the summary are what the rules say.
pub(super) fn judge(settings: &Settings, output: &Output, summary: &mut Summary, ended: Ended, facts: &BTreeMap<Dt, PathBuf>) -> Verdict {
    let takes_long = summary.execution_time_seconds >= settings.alerts.slow_after.as_secs_f64();
    let earlier = if takes_long && ended == Ended::Success {
        report::latest_successes(output, summary.command.as_str(), EARLIER_RUNS.0, EARLIER_RUNS.1).unwrap_or_default()
    } else {
        Vec::new()
    };
    let newest = settings.alerts.freshness.and_then(|_| newest_row(facts, summary.finished_at));
    let before = OpenAlerts::read(output).unwrap_or_default();
    let missing = before.missing_days();
    let evidence = Evidence { summary, ended, earlier: &earlier, has_rows: &|dt| facts.contains_key(&dt), missing: &missing, newest };
    let mut findings = alert::judge(&settings.alerts, &evidence);
    // They are kept in the state, and sent.
    for finding in &mut findings {
        finding.message = finding.message.as_deref().map(|message| redact::text(message).into_owned());
    }
    summary.alerts = findings.iter().filter_map(|finding| Some(Alert { kind: finding.kind, message: finding.message.clone()? })).collect();
    let mut open = before.clone();
    summary.recovered = open.take(&summary.run_id, summary.finished_at, ended == Ended::Success, &findings);
    Verdict { before, open }
}

/// `created_at` of the newest row that does not lie in the future.
fn newest_row(facts: &BTreeMap<Dt, PathBuf>, now: UtcMicros) -> Option<UtcMicros> {
    facts.range(..=Dt::of(now)).rev().find_map(|(_, path)| match layer::newest_row(path, now) {
        Ok(newest) => newest,
        Err(error) => {
            tracing::warn!(%error, "the newest row can't be looked for");
            None
        }
    })
}

/// Logs what was found, and tells whoever is configured. The output is held meanwhile, for no longer than three time-outs.
pub(super) fn tell(settings: &Settings, output: &Output, summary: &Summary, Verdict { before, mut open }: Verdict) {
    for alert in &summary.alerts {
        tracing::warn!(kind = alert.kind.as_str(), "alert: {}", alert.message);
    }
    for alert in &summary.recovered {
        tracing::info!(kind = alert.kind.as_str(), "over: {}", alert.message);
    }
    let now = summary.finished_at;
    open.forget_all_but(&settings.alerts.receivers);
    let due = open.due(&settings.alerts.receivers, settings.alerts.repeat, now);
    let place = std::path::absolute(output.root()).unwrap_or_else(|_| output.root().to_owned()).display().to_string();
    let sender = Sender { output: &place, host: &host(), run_id: &summary.run_id };
    let deliveries = alert::deliver(&due, sender, settings.alerts.timeout, &settings.http.network);
    for delivery in &deliveries {
        if let Some(error) = &delivery.error {
            let (receiver, kind) = (delivery.receiver.as_str(), delivery.kind.as_str());
            tracing::warn!(receiver, kind, error, "an alert could not be delivered: the next run tries again");
        }
    }
    open.note(&deliveries, now);
    if open != before
        && let Err(error) = open.write(output)
    {
        tracing::warn!(%error, "which alerts are open could not be kept: they may be sent again");
    }
}

/// Removes what is older than the retention.
pub(super) fn retain(settings: &Settings, output: &Output, summary: &Summary) {
    let Some(retention) = settings.retention else { return };
    match report::remove_older(output, retention, summary.finished_at) {
        Ok(0) => {}
        Ok(runs) => tracing::info!(runs, "quarantine, manifests and reports past their retention have been removed"),
        Err(error) => tracing::warn!(%error, "what is past its retention could not be removed"),
    }
}

/// Writes the metrics where they are asked for.
pub(super) fn write_metrics(settings: &MetricsSettings, output: &Output, summary: &Summary) {
    if let Some(path) = &settings.file {
        let text = report::open_metrics(summary, last_success(output, summary));
        if let Err(error) = replace_whole(path, text.as_bytes()) {
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

fn last_success(output: &Output, summary: &Summary) -> Option<UtcMicros> {
    if summary.status.is_success() {
        return Some(summary.finished_at);
    }
    let (run, _) = report::recorded_runs(output).ok()?.find(|(run, _)| run.is_success())?;
    parse_time_text(&run.finished_at)
}

/// Replaces a file so that a reader sees the old text or the new one.
fn replace_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut staged = path.as_os_str().to_owned();
    // The textfile collector reads `*.prom`: what is being written must not end so.
    staged.push(format!(".{}.tmp", std::process::id()));
    let written = fs::write(&staged, bytes).and_then(|()| fs::rename(&staged, path));
    if written.is_err() {
        let _ = fs::remove_file(&staged);
    }
    written
}

/// The most memory that this process has held so far, in bytes, where the system tells (Linux: `VmHWM`).
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib: u64 = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
