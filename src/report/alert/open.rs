//! Which alerts are open: kept in `state/alerts.json`, so that a lasting failure is sent once, and its end too.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Alert, AlertKind, Delivery, Ended, Finding, Notice, NoticeState, dedup_key};
use crate::{
    model::{Dt, UtcMicros, counted, parse_time_text},
    settings::Receiver,
    store::{Output, StoreError, places},
};

/// How long a day without rows is an open matter, in microseconds.
const MISSING_FOR: i64 = 14 * UtcMicros::DAY;

/// How long an alert waits for a run of its source, in microseconds. A source that nobody reads any more is no open matter.
const SILENT_FOR: i64 = 14 * UtcMicros::DAY;

/// An alert from when it is raised until everybody knows that it is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenAlert {
    /// What it is about.
    pub kind: AlertKind,
    /// Which one of its kind.
    pub subject: String,
    /// What was last found.
    pub message: String,
    /// The run that raised it. Not always the one that `message` is of.
    pub run_id: String,
    /// The run whose finding `message` tells: the counts in it are of this run. `None` in the state of older versions.
    #[serde(default)]
    pub message_run_id: Option<String>,
    /// When that was.
    pub since: String,
    /// Whether the layer that readers see is as it says.
    #[serde(default)]
    pub in_layer: bool,
    /// When it was last sent.
    #[serde(default)]
    pub sent_at: Option<String>,
    /// Who has it.
    #[serde(default)]
    pub told: BTreeSet<String>,
    /// When it was over; it is kept until everybody who has it knows.
    #[serde(default)]
    pub over_at: Option<String>,
    /// The identity of its incident, fixed when it is raised. `None` in the state of older versions.
    #[serde(default)]
    pub dedup_key: Option<String>,
    /// What was last found of each source that it is about, by the name of the source: a success of one source says nothing of another.
    /// An empty name: of a source that had loaded nothing yet. Empty: it is about no source in particular.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, FoundOfSource>,
}

/// What was last found of a source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FoundOfSource {
    /// For a person.
    pub message: String,
    /// The run that found it first. `None` in the state of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// When.
    pub at: String,
}

impl FoundOfSource {
    /// Whether it was found longer ago than this, in microseconds. A time that can't be read is old.
    fn is_older_than(&self, micros: i64, now: UtcMicros) -> bool {
        parse_time_text(&self.at).is_none_or(|at| at < now.minus(micros))
    }
}

impl OpenAlert {
    /// The run whose counts `message` tells, where it is known. The message about a stuck run names that run itself:
    /// its finder counts nothing.
    pub fn run_of_message(&self) -> Option<&str> {
        self.message_run_id.as_deref().filter(|_| self.kind != AlertKind::Stuck)
    }

    fn is_about(&self, kind: AlertKind, subject: &str) -> bool {
        self.kind == kind && self.subject == subject
    }

    /// Notes of which source it was found.
    fn note_source(&mut self, finding: &Finding, message: &str, by: Discovery<'_>) {
        if !finding.is_of_source() {
            self.sources.clear();
            return;
        }
        let source = by.source.raises_for();
        // The same finding within a day says nothing new: the state is not written for it.
        if self.sources.get(source).is_some_and(|known| known.message == message && !known.is_older_than(UtcMicros::DAY, by.now)) {
            return;
        }
        // The same message leaves its run, here as well.
        let known = self.sources.get(source).filter(|known| known.message == message).and_then(|known| known.run_id.clone());
        let run_id = Some(known.unwrap_or_else(|| by.run_id.to_owned()));
        self.sources.insert(source.to_owned(), FoundOfSource { message: message.to_owned(), run_id, at: by.now.rfc3339() });
    }

    /// Takes note that a source is well. Returns whether no source is left of which it was found.
    fn leave(&mut self, source: SourceOfRun<'_>) -> bool {
        self.sources.retain(|of, _| !source.ends_for(of));
        !self.tells_what_is_left()
    }

    /// Tells what was found of a source that is left, and whose run that is. Returns whether there is one.
    fn tells_what_is_left(&mut self) -> bool {
        let Some(left) = self.sources.values().next_back() else { return false };
        if self.message != left.message {
            self.message.clone_from(&left.message);
            self.message_run_id.clone_from(&left.run_id);
        }
        true
    }

    /// Whether a run of this shop may end it: a shop says nothing of another one. `None`: a run in a layer of one source.
    fn is_of(&self, shop: Option<&str>) -> bool {
        shop.is_none_or(|shop| self.subject.split(':').next() == Some(shop))
    }

    /// The shop that it is about; `None`: it is about the layer. [`Finding::name_shop`] writes it.
    fn shop(&self) -> Option<&str> {
        let shop = self.subject.split(':').next()?;
        let is_named =
            self.message.strip_prefix("shop ").and_then(|rest| rest.strip_prefix(shop)).is_some_and(|rest| rest.starts_with(": "));
        Some(shop).filter(|shop| is_named && !shop.is_empty())
    }
}

/// Which source a run has read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceOfRun<'a> {
    /// None that counts: a replay, a demo, a look at the output alone.
    Unnamed,
    /// One of which nothing was loaded before, such as a path with a typo. Nobody may ever read it again.
    New(&'a str),
    /// A source of the layer.
    Loaded(&'a str),
}

impl<'a> SourceOfRun<'a> {
    /// The name under which an alert is raised; empty: any success ends it.
    fn raises_for(self) -> &'a str {
        match self {
            SourceOfRun::Loaded(source) => source,
            SourceOfRun::Unnamed | SourceOfRun::New(_) => "",
        }
    }

    /// Whether a success says something of a source.
    fn ends_for(self, source: &str) -> bool {
        match self {
            SourceOfRun::Loaded(own) | SourceOfRun::New(own) => source.is_empty() || source == own,
            SourceOfRun::Unnamed => source.is_empty(),
        }
    }
}

/// Who found something, and when.
#[derive(Clone, Copy, Debug)]
pub struct Discovery<'a> {
    /// The stable name of the pipeline.
    pub pipeline: &'a str,
    /// The run that found it.
    pub run_id: &'a str,
    /// The shop of the run.
    pub shop: Option<&'a str>,
    /// The source of its orders.
    pub source: SourceOfRun<'a>,
    /// When.
    pub now: UtcMicros,
}

/// The open alerts of an output.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct OpenAlerts {
    open: Vec<OpenAlert>,
}

impl OpenAlerts {
    /// The open alerts of an output. An unreadable file counts as none: its alerts are then sent once more.
    ///
    /// # Errors
    /// I/O errors.
    pub fn read(output: &Output) -> Result<OpenAlerts, StoreError> {
        OpenAlerts::read_from(output, places::ALERTS)
    }

    /// Keeps them.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, output: &Output) -> Result<(), StoreError> {
        self.write_to(output, places::ALERTS)
    }

    /// The open alerts of a text that [`OpenAlerts::to_text`] made; `None` if it is none.
    pub fn from_text(text: &str) -> Option<OpenAlerts> {
        serde_json::from_str(text).ok()
    }

    /// What a file of them says.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Takes over what another run has made of `before` meanwhile, where this one has not looked at the same.
    pub fn absorb_others(&mut self, before: &OpenAlerts, meanwhile: OpenAlerts) {
        let is_gone = |alert: &OpenAlert| before.open.contains(alert) && !meanwhile.open.contains(alert);
        self.open.retain(|alert| !is_gone(alert));
        for alert in meanwhile.open {
            if !before.open.contains(&alert) && !self.open.iter().any(|own| own.is_about(alert.kind, &alert.subject)) {
                self.open.push(alert);
            }
        }
    }

    /// The open alerts of a file beneath the output.
    pub(super) fn read_from(output: &Output, place: &str) -> Result<OpenAlerts, StoreError> {
        Ok(output.read(place)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Replaces a file beneath the output as a whole.
    pub(super) fn write_to(&self, output: &Output, place: &str) -> Result<(), StoreError> {
        output.replace(place, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Whether there are none, not even such as are over and still to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Those that are not over.
    pub fn lasting(&self) -> impl Iterator<Item = &OpenAlert> {
        self.open.iter().filter(|alert| alert.over_at.is_none())
    }

    /// The days that are known to have no rows although they should.
    pub fn missing_days(&self) -> Vec<Dt> {
        self.lasting().filter(|alert| alert.kind == AlertKind::NoRecords).filter_map(|alert| alert.subject.parse().ok()).collect()
    }

    /// Raises, keeps and ends alerts by what a run found. Returns those that are over by it.
    pub fn apply_findings(&mut self, by: Discovery<'_>, ended: Ended, findings: &[Finding]) -> Vec<Alert> {
        let (now, success) = (by.now, ended == Ended::Success);
        let mut over = Vec::new();
        for finding in findings {
            let known = self.open.iter_mut().find(|open| open.is_about(finding.kind, &finding.subject));
            match (&finding.message, known) {
                (Some(message), Some(known)) => {
                    // Back before everybody knew that it was over: it never was.
                    known.over_at = None;
                    // Each change of the shape is found once, so that every other message is news.
                    if known.kind == AlertKind::SchemaChanged && known.message != *message {
                        known.told.clear();
                    }
                    // The same message again leaves its run: the state is not written for it.
                    if known.message != *message {
                        known.message.clone_from(message);
                        known.message_run_id = Some(by.run_id.to_owned());
                    }
                    known.in_layer = finding.in_layer;
                    known.note_source(finding, message, by);
                }
                (Some(message), None) => self.open.push(raised(finding, message, by)),
                (None, Some(known)) => {
                    if known.leave(by.source) {
                        end(known, now, &mut over);
                    }
                }
                (None, None) => {}
            }
        }
        // A check that failed on what was never published: a success without it says that it is over.
        let looked_at = |alert: &OpenAlert| findings.iter().any(|finding| alert.is_about(finding.kind, &finding.subject));
        for alert in self.open.iter_mut().filter(|alert| success && alert.kind == AlertKind::CheckFailed && !alert.in_layer) {
            if !looked_at(alert) && alert.is_of(by.shop) && alert.leave(by.source) {
                end(alert, now, &mut over);
            }
        }
        if success {
            self.end_those_of_silent_sources(now, &mut over);
        }
        // A day that stayed without rows for so long has none: nobody waits for them, and there is nothing to tell.
        let is_past = |alert: &OpenAlert| {
            let since = parse_time_text(&alert.since).unwrap_or(now);
            alert.kind == AlertKind::NoRecords && now.micros() - since.micros() > MISSING_FOR
        };
        self.open.retain(|alert| !is_past(alert));
        self.let_go();
        over
    }

    /// Ends the alerts about sources that no run has read for a long time, each with the reason.
    fn end_those_of_silent_sources(&mut self, now: UtcMicros, over: &mut Vec<Alert>) {
        let is_silent = |found: &FoundOfSource| parse_time_text(&found.at).is_some_and(|at| now.micros() - at.micros() > SILENT_FOR);
        for alert in self.open.iter_mut().filter(|alert| alert.over_at.is_none()) {
            let silent: Vec<String> =
                alert.sources.iter().filter(|(_, found)| is_silent(found)).map(|(source, _)| source.clone()).collect();
            if silent.is_empty() {
                continue;
            }
            alert.sources.retain(|source, _| !silent.contains(source));
            if alert.tells_what_is_left() {
                continue;
            }
            let days = u64::try_from(SILENT_FOR / UtcMicros::DAY).unwrap_or_default();
            let named: Vec<_> = silent.iter().map(|source| if source.is_empty() { "its source" } else { source.as_str() }).collect();
            alert.message = format!("{} (closed: no run has read {} for {})", alert.message, named.join(", "), counted(days, "day"));
            end(alert, now, over);
        }
    }

    /// Ends the alerts about shops that the settings no longer have: no run of these will ever look again. Returns them, each with the
    /// reason.
    pub fn end_those_of_removed_shops(&mut self, shops: &[String], now: UtcMicros) -> Vec<Alert> {
        let mut over = Vec::new();
        for alert in self.open.iter_mut().filter(|alert| alert.over_at.is_none()) {
            let Some(shop) = alert.shop().filter(|shop| !shops.iter().any(|known| known == shop)) else { continue };
            alert.message = format!("{} (closed: the settings no longer have the shop {shop})", alert.message);
            end(alert, now, &mut over);
        }
        self.let_go();
        over
    }

    /// What each receiver is still to be told: what it has not got, what has lasted for `repeat`, what is over.
    pub fn due<'r>(&self, receivers: &'r [Receiver], repeat: Option<Duration>, now: UtcMicros) -> Vec<(&'r Receiver, Notice)> {
        let repeats = |alert: &OpenAlert| {
            let sent = alert.sent_at.as_deref().and_then(parse_time_text);
            matches!((repeat, sent), (Some(repeat), Some(sent)) if i128::from(now.micros() - sent.micros()) >= repeat.as_micros().cast_signed())
        };
        let mut due = Vec::new();
        for alert in &self.open {
            for receiver in receivers {
                let told = alert.told.contains(receiver.kind.as_str());
                let state = match (&alert.over_at, told) {
                    (Some(_), true) => NoticeState::Recovered,
                    (None, told) if !told || repeats(alert) => NoticeState::Firing,
                    _ => continue,
                };
                due.push((receiver, Notice { state, alert: alert.clone() }));
            }
        }
        due
    }

    /// Records who has got what.
    pub fn record_deliveries(&mut self, deliveries: &[Delivery], now: UtcMicros) {
        for delivery in deliveries.iter().filter(|delivery| delivery.error.is_none()) {
            let Some(alert) = self.open.iter_mut().find(|alert| alert.is_about(delivery.kind, &delivery.subject)) else { continue };
            match delivery.state {
                NoticeState::Firing => {
                    alert.told.insert(delivery.receiver.as_str().to_owned());
                    alert.sent_at = Some(now.rfc3339());
                }
                NoticeState::Recovered => {
                    alert.told.remove(delivery.receiver.as_str());
                }
            }
        }
        self.let_go();
    }

    /// Forgets who is no longer configured: nobody waits for them.
    pub fn forget_all_but(&mut self, receivers: &[Receiver]) {
        let known: BTreeSet<_> = receivers.iter().map(|receiver| receiver.kind.as_str()).collect();
        for alert in &mut self.open {
            alert.told.retain(|name| known.contains(name.as_str()));
        }
        self.let_go();
    }

    /// Of what is over, keeps only what somebody is still to be told.
    fn let_go(&mut self) {
        self.open.retain(|alert| alert.over_at.is_none() || !alert.told.is_empty());
    }
}

fn raised(finding: &Finding, message: &str, by: Discovery<'_>) -> OpenAlert {
    let mut alert = OpenAlert {
        kind: finding.kind,
        subject: finding.subject.clone(),
        message: message.to_owned(),
        run_id: by.run_id.to_owned(),
        message_run_id: Some(by.run_id.to_owned()),
        since: by.now.rfc3339(),
        in_layer: finding.in_layer,
        sent_at: None,
        told: BTreeSet::new(),
        over_at: None,
        dedup_key: Some(dedup_key(by.pipeline, finding.kind, &finding.subject)),
        sources: BTreeMap::new(),
    };
    alert.note_source(finding, message, by);
    alert
}

fn end(alert: &mut OpenAlert, now: UtcMicros, over: &mut Vec<Alert>) {
    if alert.over_at.is_none() {
        alert.over_at = Some(now.rfc3339());
        over.push(Alert { kind: alert.kind, message: alert.message.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{ReceiverKind, Secret};

    fn now(hour: i64) -> UtcMicros {
        UtcMicros::from_civil((2026, 1, 20), hour * 3600, 0, 0).unwrap()
    }

    fn by(run_id: &str, now: UtcMicros) -> Discovery<'_> {
        Discovery { pipeline: "orders", run_id, shop: None, source: SourceOfRun::Unnamed, now }
    }

    fn receiver(kind: ReceiverKind) -> Receiver {
        Receiver { kind, url: Secret::new("http://127.0.0.1/".into()), key: None }
    }

    fn finding(kind: AlertKind, subject: &str, message: Option<&str>) -> Finding {
        Finding { kind, subject: subject.into(), message: message.map(str::to_owned), in_layer: false }
    }

    fn sent(receiver: ReceiverKind, state: NoticeState) -> Delivery {
        Delivery { receiver, state, kind: AlertKind::SourceFailed, subject: String::new(), error: None }
    }

    #[test]
    fn what_another_run_made_of_the_alerts_meanwhile_stays() {
        let with = |open: &OpenAlerts, kind, subject: &str, message: &str| {
            let mut open = open.clone();
            open.apply_findings(by("1", now(1)), Ended::Otherwise, &[finding(kind, subject, Some(message))]);
            open
        };
        let before = with(&OpenAlerts::default(), AlertKind::SourceFailed, "", "broken");
        let before = with(&before, AlertKind::NoRecords, "2026-01-01", "no rows");
        // This run has one more, and another run has ended one, changed none, and found two: one of them is the same.
        let mut own = with(&before, AlertKind::NoRecords, "2026-01-02", "no rows");
        let meanwhile = with(&OpenAlerts::default(), AlertKind::NoRecords, "2026-01-01", "no rows");
        let meanwhile = with(&meanwhile, AlertKind::NoRecords, "2026-01-02", "none at all");
        let meanwhile = with(&meanwhile, AlertKind::NoRecords, "2026-01-03", "no rows");
        own.absorb_others(&before, meanwhile);
        let found: Vec<_> = own.lasting().map(|alert| (alert.subject.as_str(), alert.message.as_str())).collect();
        assert_eq!(found, [("2026-01-01", "no rows"), ("2026-01-02", "no rows"), ("2026-01-03", "no rows")]);
        assert_eq!(OpenAlerts::from_text(&own.to_text()), Some(own));
    }

    #[test]
    fn a_lasting_failure_is_told_of_once_and_so_is_its_end() {
        let receivers = [receiver(ReceiverKind::Slack)];
        let states = |open: &OpenAlerts, repeat, hour| {
            open.due(&receivers, repeat, now(hour)).into_iter().map(|(_, notice)| notice.state).collect::<Vec<_>>()
        };
        let mut open = OpenAlerts::default();
        let (failed, fine) = (finding(AlertKind::SourceFailed, "", Some("broken")), finding(AlertKind::SourceFailed, "", None));
        open.apply_findings(by("1", now(1)), Ended::Otherwise, std::slice::from_ref(&failed));
        assert_eq!(states(&open, None, 1), [NoticeState::Firing]);
        open.apply_findings(by("2", now(2)), Ended::Otherwise, std::slice::from_ref(&failed));
        assert_eq!(states(&open, None, 2), [NoticeState::Firing], "nobody was reached: it is still to be told");
        open.record_deliveries(&[sent(ReceiverKind::Slack, NoticeState::Firing)], now(2));
        open.apply_findings(by("3", now(3)), Ended::Otherwise, std::slice::from_ref(&failed));
        assert_eq!(states(&open, None, 3), []);
        assert_eq!(states(&open, Some(Duration::from_secs(3601)), 3), []);
        assert_eq!(states(&open, Some(Duration::from_secs(3600)), 3), [NoticeState::Firing]);
        assert_eq!(open.apply_findings(by("4", now(4)), Ended::Success, std::slice::from_ref(&fine)).len(), 1);
        assert_eq!(states(&open, None, 4), [NoticeState::Recovered]);
        assert_eq!(open.lasting().count(), 0);
        open.record_deliveries(&[sent(ReceiverKind::Slack, NoticeState::Recovered)], now(4));
        assert_eq!(open, OpenAlerts::default());
    }

    #[test]
    fn a_success_ends_no_alert_of_another_source_of_the_layer() {
        let by = |run_id, source| Discovery { source, ..by(run_id, now(1)) };
        let (a, b, new) = (SourceOfRun::Loaded("a"), SourceOfRun::Loaded("b"), SourceOfRun::New("c"));
        let failed = |message| [finding(AlertKind::SourceFailed, "", Some(message))];
        let fine = [finding(AlertKind::SourceFailed, "", None)];
        let mut open = OpenAlerts::default();
        open.apply_findings(by("1", a), Ended::SourceFailed, &failed("a is down"));
        open.apply_findings(by("2", b), Ended::SourceFailed, &failed("b is down"));
        for other in [new, SourceOfRun::Unnamed] {
            assert_eq!(open.apply_findings(by("3", other), Ended::Success, &fine), []);
        }
        assert_eq!(open.apply_findings(by("4", b), Ended::Success, &fine), [], "a is down yet");
        assert_eq!(open.lasting().map(|alert| alert.message.as_str()).collect::<Vec<_>>(), ["a is down"]);
        assert_eq!(open.lasting().next().and_then(OpenAlert::run_of_message), Some("1"), "the run that found it, and not the later one");
        assert_eq!(open.apply_findings(by("5", a), Ended::Success, &fine).len(), 1);
        // A location that was never loaded, such as a typo, is no source that somebody waits for.
        open.apply_findings(by("6", new), Ended::SourceFailed, &failed("no such file"));
        assert_eq!(open.apply_findings(by("7", a), Ended::Success, &fine).len(), 1);
    }

    #[test]
    fn a_check_that_failed_before_the_publish_waits_for_its_source_and_one_in_the_layer_for_any_look() {
        let by = |source| Discovery { source, ..by("1", now(1)) };
        let (a, b) = (SourceOfRun::Loaded("a"), SourceOfRun::Loaded("b"));
        let failed = finding(AlertKind::CheckFailed, "own", Some("2"));
        let fine = finding(AlertKind::CheckFailed, "own", None);
        let mut open = OpenAlerts::default();
        open.apply_findings(by(a), Ended::ChecksFailed { published: false }, std::slice::from_ref(&failed));
        assert_eq!(open.apply_findings(by(b), Ended::Success, std::slice::from_ref(&fine)), []);
        assert_eq!(open.apply_findings(by(b), Ended::Success, &[]), []);
        open.apply_findings(by(a), Ended::ChecksFailed { published: true }, &[Finding { in_layer: true, ..failed }]);
        assert_eq!(open.apply_findings(by(b), Ended::Success, std::slice::from_ref(&fine)).len(), 1);
    }

    #[test]
    fn an_alert_of_a_source_that_nobody_reads_any_more_is_closed_with_the_reason() {
        let mut open = OpenAlerts::default();
        let (a, b) = (SourceOfRun::Loaded("a"), SourceOfRun::Loaded("b"));
        let failed = finding(AlertKind::SourceFailed, "", Some("down"));
        open.apply_findings(Discovery { source: a, ..by("1", now(0)) }, Ended::SourceFailed, &[failed]);
        let at = |micros: i64| Discovery { source: b, ..by("2", now(0).minus(-micros)) };
        assert_eq!(open.apply_findings(at(SILENT_FOR), Ended::Success, &[]), []);
        assert_eq!(open.apply_findings(at(SILENT_FOR + 1), Ended::Otherwise, &[]), [], "a failed run closes nothing");
        let closed = open.apply_findings(at(SILENT_FOR + 1), Ended::Success, &[]);
        assert_eq!(closed.iter().map(|alert| alert.message.as_str()).collect::<Vec<_>>(), ["down (closed: no run has read a for 14 days)"]);
    }

    #[test]
    fn another_change_of_the_shape_is_told_again_and_the_same_one_is_not() {
        let receivers = [receiver(ReceiverKind::Slack)];
        let mut open = OpenAlerts::default();
        let told = Delivery { kind: AlertKind::SchemaChanged, ..sent(ReceiverKind::Slack, NoticeState::Firing) };
        for (run, message, notices) in [("1", "a is new", 1), ("2", "a is new", 0), ("3", "b is new", 1)] {
            open.apply_findings(by(run, now(1)), Ended::Success, &[finding(AlertKind::SchemaChanged, "", Some(message))]);
            assert_eq!(open.due(&receivers, None, now(1)).len(), notices, "{run}");
            open.record_deliveries(std::slice::from_ref(&told), now(1));
        }
    }

    #[test]
    fn the_run_of_the_counts_is_kept_apart_from_the_run_that_raised_the_alert() {
        let mut open = OpenAlerts::default();
        for (run, message, of) in [("1", "2 of 9", "1"), ("2", "2 of 9", "1"), ("3", "5 of 9", "3"), ("4", "5 of 9", "3")] {
            open.apply_findings(by(run, now(1)), Ended::Success, &[finding(AlertKind::DroppedShare, "", Some(message))]);
            let alert = open.lasting().next().unwrap();
            let found = (alert.run_id.as_str(), alert.message_run_id.as_deref(), alert.message.as_str());
            assert_eq!(found, ("1", Some(of), message), "{run}");
        }
    }

    #[test]
    fn who_was_not_reached_is_told_later_and_the_others_not_again() {
        let receivers = [receiver(ReceiverKind::Slack), receiver(ReceiverKind::PagerDuty)];
        let mut open = OpenAlerts::default();
        open.apply_findings(by("1", now(1)), Ended::Otherwise, &[finding(AlertKind::SourceFailed, "", Some("broken"))]);
        let refused = Delivery { error: Some("503".into()), ..sent(ReceiverKind::PagerDuty, NoticeState::Firing) };
        open.record_deliveries(&[sent(ReceiverKind::Slack, NoticeState::Firing), refused], now(1));
        let due: Vec<_> = open.due(&receivers, None, now(2)).into_iter().map(|(receiver, _)| receiver.kind).collect();
        assert_eq!(due, [ReceiverKind::PagerDuty]);
        assert_eq!(open.apply_findings(by("2", now(2)), Ended::Success, &[finding(AlertKind::SourceFailed, "", None)]).len(), 1);
        let due: Vec<_> = open.due(&receivers, None, now(2)).into_iter().map(|(receiver, notice)| (receiver.kind, notice.state)).collect();
        assert_eq!(due, [(ReceiverKind::Slack, NoticeState::Recovered)], "who never heard of it need not hear that it is over");
    }

    #[test]
    fn a_check_that_failed_before_the_publish_is_over_with_the_next_success() {
        let mut open = OpenAlerts::default();
        let failed = finding(AlertKind::CheckFailed, "fact_key_unique", Some("2"));
        open.apply_findings(by("1", now(1)), Ended::Otherwise, std::slice::from_ref(&failed));
        assert_eq!(open.apply_findings(by("2", now(2)), Ended::Success, &[]).len(), 1);
        open.apply_findings(by("3", now(3)), Ended::Otherwise, &[Finding { in_layer: true, ..failed }]);
        assert_eq!(open.apply_findings(by("4", now(4)), Ended::Success, &[]), [], "the layer still holds it: only another look can tell");
        assert_eq!(
            open.apply_findings(by("5", now(5)), Ended::Success, &[finding(AlertKind::CheckFailed, "fact_key_unique", None)]).len(),
            1
        );
    }

    #[test]
    fn a_shop_ends_no_alert_of_another_one() {
        let mut open = OpenAlerts::default();
        let of_shop = |shop: &str, kind: AlertKind, subject: &str, message: Option<&str>| {
            let mut finding = finding(kind, subject, message);
            finding.name_shop(shop);
            finding
        };
        let failed =
            [of_shop("de", AlertKind::SourceFailed, "", Some("503")), of_shop("de", AlertKind::CheckFailed, "fact_key_unique", Some("2"))];
        open.apply_findings(Discovery { shop: Some("de"), ..by("1", now(1)) }, Ended::Otherwise, &failed);
        let messages: Vec<_> = open.lasting().map(|alert| alert.message.clone()).collect();
        assert_eq!(messages, ["shop de: 503", "shop de: 2"]);
        let fine = |shop: &str| of_shop(shop, AlertKind::SourceFailed, "", None);
        assert_eq!(open.apply_findings(Discovery { shop: Some("us"), ..by("2", now(2)) }, Ended::Success, &[fine("us")]), []);
        assert_eq!(open.apply_findings(Discovery { shop: Some("de"), ..by("3", now(3)) }, Ended::Success, &[fine("de")]).len(), 2);
        // What is about the days of the layer is about all shops.
        assert_eq!(of_shop("de", AlertKind::NoRecords, "2026-01-12", Some("none")).subject, "2026-01-12");
    }

    #[test]
    fn an_alert_of_a_shop_that_the_settings_no_longer_have_is_closed_with_the_reason() {
        let receivers = [receiver(ReceiverKind::Slack)];
        let mut open = OpenAlerts::default();
        let mut failed = finding(AlertKind::SourceFailed, "", Some("503"));
        failed.name_shop("de");
        let of_layer = finding(AlertKind::CheckFailed, "de", Some("a check of this name"));
        open.apply_findings(by("1", now(1)), Ended::Otherwise, &[failed, of_layer]);
        open.record_deliveries(&[Delivery { subject: "de".into(), ..sent(ReceiverKind::Slack, NoticeState::Firing) }], now(1));
        assert_eq!(open.end_those_of_removed_shops(&["de".to_owned(), "us".to_owned()], now(2)), []);
        let closed: Vec<_> = open.end_those_of_removed_shops(&["us".to_owned()], now(2)).into_iter().map(|alert| alert.message).collect();
        assert_eq!(closed, ["shop de: 503 (closed: the settings no longer have the shop de)"]);
        assert_eq!(open.lasting().map(|alert| alert.kind).collect::<Vec<_>>(), [AlertKind::CheckFailed]);
        let recovered = open.due(&receivers, None, now(2)).into_iter().filter(|(_, notice)| notice.state == NoticeState::Recovered);
        assert_eq!(recovered.map(|(_, notice)| notice.alert.message).collect::<Vec<_>>(), closed, "who was told is told why it is over");
        assert_eq!(open.end_those_of_removed_shops(&[], now(3)), [], "once");
    }

    #[test]
    fn a_day_that_stays_without_rows_is_forgotten_after_two_weeks() {
        let mut open = OpenAlerts::default();
        open.apply_findings(
            by("1", now(0)),
            Ended::Success,
            &[finding(AlertKind::NoRecords, "2026-01-12", Some("none")), finding(AlertKind::Stale, "", Some("old"))],
        );
        assert_eq!(open.missing_days(), ["2026-01-12".parse().unwrap()]);
        assert_eq!(open.apply_findings(by("2", now(0).minus(-MISSING_FOR)), Ended::Success, &[]), []);
        assert_eq!(open.lasting().count(), 2);
        assert_eq!(open.apply_findings(by("3", now(0).minus(-MISSING_FOR - 1)), Ended::Success, &[]), [], "there is nothing to tell");
        assert_eq!(open.lasting().map(|alert| alert.kind).collect::<Vec<_>>(), [AlertKind::Stale]);
    }

    #[test]
    fn the_state_of_an_older_version_is_read() {
        let old = r#"{"open":[{"kind":"stale","subject":"","message":"m","run_id":"r","since":"2026-01-01T00:00:00Z","told":["slack"]}]}"#;
        let open: OpenAlerts = serde_json::from_str(old).unwrap();
        let alert = open.lasting().next().unwrap();
        assert_eq!((alert.kind, alert.told.len(), &alert.dedup_key), (AlertKind::Stale, 1, &None));
        assert_eq!(alert.message_run_id, None, "it is not known which run its message is of");
    }
}
