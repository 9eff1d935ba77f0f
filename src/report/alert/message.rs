//! What is posted, in the dialect of each receiver.

use serde::Serialize;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{AlertKind, OpenAlert, Sender};
use crate::settings::ReceiverKind;

/// `PagerDuty` takes summaries of at most so many characters.
const PAGERDUTY_SUMMARY: usize = 1024;

/// And `dedup_key` of at most so many (<https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>).
const PAGERDUTY_KEY: usize = 255;

/// Whether a notice says that something is the matter, or that it is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeState {
    /// It is the matter.
    Firing,
    /// It is over.
    Recovered,
}

/// One alert, to one receiver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Which of the two.
    pub state: NoticeState,
    /// The alert.
    pub alert: OpenAlert,
}

/// The identity of an incident: the pipeline, the condition and its subject. Nothing in it changes between the notice that opens
/// an incident and the one that resolves it: neither the host, which in Kubernetes is the pod, nor the run.
pub fn dedup_key(pipeline: &str, kind: AlertKind, subject: &str) -> String {
    bounded(format!("etl/{pipeline}/{}/{subject}", kind.as_str()))
}

/// The key of an alert that is about to be sent. An alert of an older state file has none of its own: its incident was opened
/// under a key with the host.
fn key_of(alert: &OpenAlert, sender: Sender<'_>) -> String {
    let of_older_version = || bounded(format!("etl/{}/{}/{}/{}", sender.host, sender.output, alert.kind.as_str(), alert.subject));
    match &alert.dedup_key {
        Some(key) => key.clone(),
        None if alert.told.contains(ReceiverKind::PagerDuty.as_str()) => of_older_version(),
        None => dedup_key(sender.pipeline, alert.kind, &alert.subject),
    }
}

/// A key within `PagerDuty`'s limit: a longer one ends with its hash.
fn bounded(key: String) -> String {
    if key.len() <= PAGERDUTY_KEY {
        return key;
    }
    let hash = format!("{:016x}", xxh3_64(key.as_bytes()));
    let end = (0..=PAGERDUTY_KEY - hash.len()).rev().find(|end| key.is_char_boundary(*end)).unwrap_or_default();
    format!("{}{hash}", key.get(..end).unwrap_or_default())
}

/// The body of a notice to a receiver. `routing_key` is that of `PagerDuty`.
pub fn payload(kind: ReceiverKind, notice: &Notice, sender: Sender<'_>, routing_key: Option<&str>) -> Value {
    let alert = &notice.alert;
    let Sender { pipeline, output, host, run_id } = sender;
    let firing = notice.state == NoticeState::Firing;
    let headline = match (notice.state, alert.kind) {
        (_, AlertKind::Test) => "etl: a test".to_owned(),
        (NoticeState::Firing, kind) => format!("etl: {}", kind.as_str().replace('_', " ")),
        (NoticeState::Recovered, kind) => format!("etl: over: {}", kind.as_str().replace('_', " ")),
    };
    let place = format!("{output} on {host}, run {run_id}");
    match kind {
        ReceiverKind::Webhook => json!({
            "source": "etl",
            "state": notice.state,
            "kind": alert.kind,
            "subject": alert.subject,
            "message": alert.message,
            "run_id": run_id,
            "first_run_id": alert.run_id,
            "message_run_id": alert.message_run_id,
            "since": alert.since,
            "over_at": alert.over_at,
            "name": pipeline,
            "output": output,
            "host": host,
            "dedup_key": key_of(alert, sender),
        }),
        // https://docs.slack.dev/messaging/formatting-message-text: three characters are to be escaped.
        ReceiverKind::Slack => {
            let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let sign = if firing { ":rotating_light:" } else { ":white_check_mark:" };
            json!({ "text": format!("{sign} *{}*\n{}\n_{}_", escaped(&headline), escaped(&alert.message), escaped(&place)) })
        }
        // https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook
        ReceiverKind::Teams => json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        {"type": "TextBlock", "text": headline, "weight": "Bolder", "size": "Medium", "color": if firing { "Attention" } else { "Good" }, "wrap": true},
                        {"type": "TextBlock", "text": alert.message, "wrap": true},
                        {"type": "TextBlock", "text": place, "isSubtle": true, "wrap": true},
                    ],
                },
            }],
        }),
        // https://developer.pagerduty.com/docs/send-alert-event: the same key opens and resolves.
        ReceiverKind::PagerDuty => {
            let summary: String = format!("{headline}: {}", alert.message).chars().take(PAGERDUTY_SUMMARY).collect();
            json!({
                "routing_key": routing_key,
                "event_action": if firing { "trigger" } else { "resolve" },
                "dedup_key": key_of(alert, sender),
                "client": "etl",
                "payload": {
                    "summary": summary,
                    "source": host,
                    "severity": if alert.kind.is_critical() { "critical" } else { "warning" },
                    "timestamp": alert.since,
                    "component": output,
                    "class": alert.kind,
                    "custom_details": {"run_id": run_id, "subject": alert.subject, "message": alert.message},
                },
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn notice(state: NoticeState) -> Notice {
        let alert = OpenAlert {
            kind: AlertKind::CheckFailed,
            subject: "fact_key_unique".into(),
            message: "a < b & c".into(),
            run_id: "1".into(),
            message_run_id: Some("1".into()),
            since: "2026-01-20T00:00:00Z".into(),
            in_layer: false,
            sent_at: None,
            told: BTreeSet::new(),
            over_at: None,
            dedup_key: None,
            sources: BTreeMap::new(),
        };
        Notice { state, alert }
    }

    #[test]
    fn each_receiver_gets_its_dialect() {
        let sender = Sender { pipeline: "orders", output: "output", host: "host", run_id: "2" };
        let body = |kind, state| payload(kind, &notice(state), sender, Some("key"));
        let slack = body(ReceiverKind::Slack, NoticeState::Firing);
        assert_eq!(slack["text"], ":rotating_light: *etl: check failed*\na &lt; b &amp; c\n_output on host, run 2_");
        let teams = body(ReceiverKind::Teams, NoticeState::Recovered);
        assert_eq!(teams["attachments"][0]["content"]["body"][0]["text"], "etl: over: check failed");
        let (opened, closed) = (body(ReceiverKind::PagerDuty, NoticeState::Firing), body(ReceiverKind::PagerDuty, NoticeState::Recovered));
        assert_eq!((&opened["event_action"], &closed["event_action"]), (&json!("trigger"), &json!("resolve")));
        assert_eq!(opened["dedup_key"], closed["dedup_key"]);
        assert_eq!((&opened["routing_key"], &opened["payload"]["severity"]), (&json!("key"), &json!("critical")));
        let webhook = body(ReceiverKind::Webhook, NoticeState::Firing);
        assert_eq!(
            (&webhook["kind"], &webhook["state"], &webhook["message"]),
            (&json!("check_failed"), &json!("firing"), &json!("a < b & c"))
        );
    }

    #[test]
    fn an_incident_has_one_key_on_every_host_and_after_every_run() {
        let key = |notice: &Notice, host, run_id| {
            let sender = Sender { pipeline: "orders", output: "/srv/output", host, run_id };
            payload(ReceiverKind::PagerDuty, notice, sender, None)["dedup_key"].as_str().unwrap().to_owned()
        };
        let mut raised = notice(NoticeState::Firing);
        assert_eq!(key(&raised, "pod-1", "1"), "etl/orders/check_failed/fact_key_unique");
        assert_eq!(key(&raised, "pod-1", "1"), key(&notice(NoticeState::Recovered), "pod-2", "2"));
        raised.alert.told.insert("pagerduty".into());
        assert_eq!(key(&raised, "h", "3"), "etl/h//srv/output/check_failed/fact_key_unique", "as the version that opened it named it");
        raised.alert.dedup_key = Some("etl/earlier-name/x".into());
        assert_eq!(key(&raised, "h", "4"), "etl/earlier-name/x", "a pipeline that was renamed still closes its incidents");
    }

    #[test]
    fn a_long_key_is_cut_and_stays_unique() {
        let [a, b] = ["a", "b"].map(|end| dedup_key(&"é".repeat(300), AlertKind::NoRecords, end));
        assert!(a.len() <= PAGERDUTY_KEY && a.starts_with("etl/éé") && a != b, "{a}");
        assert_eq!(dedup_key("p", AlertKind::Stale, ""), "etl/p/stale/");
    }
}
