//! A run that hangs and holds the output: it can't raise an alert by itself, so whoever finds the output held does.
//!
//! These alerts are kept beside those of runs, in a file of their own, since a finder does not hold the output. A lock of the
//! file makes one finder at a time send: two finders do not send the same alert twice.

use std::{
    fs::{File, OpenOptions, TryLockError},
    time::Duration,
};

use super::{Alert, AlertKind, Delivery, Discovery, Ended, Finding, Notice, OpenAlert, OpenAlerts};
use crate::{
    model::{UtcMicros, elapsed_text, parse_time_text, span_text},
    net::redact,
    settings::{AlertSettings, Receiver},
    store::{Holder, Output, StoreError, places},
};

/// The time for which a holder has held the output, by the clocks of its host and of this one.
pub fn held_for(holder: &Holder, now: UtcMicros) -> Duration {
    let since = parse_time_text(&holder.since).unwrap_or(now);
    Duration::from_micros(u64::try_from(now.micros().saturating_sub(since.micros())).unwrap_or_default())
}

/// The alert about a holder, if it has held the output for longer than it may.
pub fn judge(settings: &AlertSettings, holder: &Holder, now: UtcMicros) -> Option<Alert> {
    let held = held_for(holder, now);
    (held > settings.stuck_after).then(|| {
        let Holder { run_id, pid, host, since, .. } = holder;
        let (held, limit) = (elapsed_text(held), span_text(settings.stuck_after));
        let message = format!(
            "run {run_id} (process {pid} on {host}) has held the output since {since}: for {held}, longer than alerts.stuck_after, {limit}"
        );
        Alert { kind: AlertKind::Stuck, message: redact::text(&message).into_owned() }
    })
}

/// The alerts about stuck runs that are open.
///
/// # Errors
/// I/O errors.
pub fn open(output: &Output) -> Result<Vec<OpenAlert>, StoreError> {
    Ok(OpenAlerts::read_from(output, places::STUCK)?.lasting().cloned().collect())
}

/// Whether any alert about a stuck run is kept: one that is open, or one whose end is still to be told.
///
/// # Errors
/// I/O errors.
pub fn is_kept(output: &Output) -> Result<bool, StoreError> {
    Ok(!OpenAlerts::read_from(output, places::STUCK)?.is_empty())
}

/// What is known about the holder of an output.
#[derive(Clone, Copy, Debug)]
pub enum Holding<'a> {
    /// The output is free, or held by the run that says so.
    None,
    /// A run holds it, and the alert about that, if it is stuck.
    By(&'a Holder, Option<&'a Alert>),
}

/// The outcome of [`update`].
#[derive(Debug, Default)]
pub struct Update {
    /// The alerts that are over.
    pub recovered: Vec<Alert>,
    /// What was sent.
    pub deliveries: Vec<Delivery>,
}

/// Brings the kept alerts in line with what was found, and sends what is due by `send`. An alert is over as soon as its run no
/// longer holds the output. Without anything to change, no file is touched.
///
/// # Errors
/// I/O errors: nothing was sent then.
pub fn update(
    output: &Output,
    settings: &AlertSettings,
    by: Discovery<'_>,
    holding: Holding<'_>,
    send: impl FnOnce(&[(&Receiver, Notice)]) -> Vec<Delivery>,
) -> Result<Update, StoreError> {
    let is_quiet = !matches!(holding, Holding::By(_, Some(_)));
    if is_quiet && output.read(places::STUCK)?.is_none() {
        return Ok(Update::default());
    }
    // Whoever has the lock sends this alert too.
    let Some(_lock) = lock(output)? else { return Ok(Update::default()) };
    let before = OpenAlerts::read_from(output, places::STUCK)?;
    let mut open = before.clone();
    let recovered = open.apply_findings(by, Ended::Otherwise, &findings(&before, holding));
    open.forget_all_but(&settings.receivers);
    // Written first: a finder that can't keep the alert would send it again each time.
    if open != before {
        open.write_to(output, places::STUCK)?;
    }
    let deliveries = send(&open.due(&settings.receivers, settings.repeat, by.now));
    let sent = open.clone();
    open.record_deliveries(&deliveries, by.now);
    if open != sent {
        open.write_to(output, places::STUCK)?;
    }
    Ok(Update { recovered, deliveries })
}

/// The stuck run, and each run that is known as stuck and no longer holds the output.
fn findings(open: &OpenAlerts, holding: Holding<'_>) -> Vec<Finding> {
    let (holder, alert) = match holding {
        Holding::None => (None, None),
        Holding::By(holder, alert) => (Some(holder.run_id.as_str()), alert),
    };
    let finding = |run_id: &str, message| Finding { subject: run_id.to_owned(), ..Finding::new(AlertKind::Stuck, message) };
    let raised = holder.zip(alert).map(|(run_id, alert)| finding(run_id, Some(alert.message.clone())));
    let over = open.lasting().filter(|alert| Some(alert.subject.as_str()) != holder).map(|alert| finding(&alert.subject, None));
    raised.into_iter().chain(over).collect()
}

/// The lock of the file; `None` while another finder has it.
fn lock(output: &Output) -> Result<Option<Option<File>>, StoreError> {
    // A bucket has no locks: two finders at the same moment may both send.
    if output.folder().is_none() {
        return Ok(Some(None));
    }
    let path = output.at(places::STUCK_LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Some(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        settings::{ReceiverKind, Secret},
        store::Scope,
    };

    fn now(hour: i64) -> UtcMicros {
        UtcMicros::from_civil((2026, 1, 20), hour * 3600, 0, 0).unwrap()
    }

    fn holder(run_id: &str) -> Holder {
        Holder { run_id: run_id.into(), pid: 7, host: "pod-1".into(), since: now(0).rfc3339(), scope: Scope::default() }
    }

    fn settings() -> AlertSettings {
        let receiver = Receiver { kind: ReceiverKind::Slack, url: Secret::new("http://127.0.0.1/".into()), key: None };
        AlertSettings { receivers: vec![receiver], ..AlertSettings::default() }
    }

    fn by(run_id: &str, hour: i64) -> Discovery<'_> {
        Discovery { pipeline: "orders", run_id, shop: None, source: crate::report::alert::SourceOfRun::Unnamed, now: now(hour) }
    }

    #[test]
    fn a_run_is_stuck_beyond_its_time_and_not_before() {
        let judged = |hour| judge(&settings(), &holder("one"), now(hour));
        assert_eq!(judged(6), None);
        let message = judged(7).unwrap().message;
        assert!(
            message.contains("run one (process 7 on pod-1)") && message.ends_with("for 7h, longer than alerts.stuck_after, 6h"),
            "{message}"
        );
        assert_eq!(held_for(&Holder { since: "soon".into(), ..holder("one") }, now(9)), Duration::ZERO);
    }

    #[test]
    fn a_stuck_run_is_told_of_once_by_all_finders_and_its_end_once() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        output.prepare().unwrap();
        let settings = settings();
        let mut told = Vec::new();
        let mut find = |by: Discovery<'_>, holding: Holding<'_>| {
            let send = |due: &[(&Receiver, Notice)]| {
                due.iter()
                    .map(|(receiver, notice)| {
                        told.push(format!("{:?} {}", notice.state, notice.alert.subject));
                        let Notice { state, alert } = notice;
                        Delivery { receiver: receiver.kind, state: *state, kind: alert.kind, subject: alert.subject.clone(), error: None }
                    })
                    .collect()
            };
            update(&output, &settings, by, holding, send).unwrap().recovered.len()
        };
        let one = holder("one");
        assert_eq!(find(by("a", 1), Holding::By(&one, None)), 0);
        assert!(!output.at(places::STUCK).exists(), "a run that works is nobody's concern");
        let stuck = judge(&settings, &one, now(7)).unwrap();
        for finder in ["b", "c"] {
            assert_eq!(find(by(finder, 7), Holding::By(&one, Some(&stuck))), 0);
        }
        assert_eq!(open(&output).unwrap().len(), 1);
        assert_eq!(find(by("d", 8), Holding::By(&holder("two"), None)), 1, "another run holds the output");
        assert_eq!(find(by("e", 9), Holding::None), 0);
        assert_eq!((told, open(&output).unwrap()), (vec!["Firing one".to_owned(), "Recovered one".to_owned()], vec![]));
    }

    #[test]
    fn a_second_finder_at_the_same_moment_sends_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        output.prepare().unwrap();
        let (settings, one) = (settings(), holder("one"));
        let stuck = judge(&settings, &one, now(7)).unwrap();
        let _first = lock(&output).unwrap().unwrap();
        let send = |_: &[(&Receiver, Notice)]| -> Vec<Delivery> { panic!("the first one sends") };
        assert_eq!(update(&output, &settings, by("b", 7), Holding::By(&one, Some(&stuck)), send).unwrap().deliveries, []);
    }
}
