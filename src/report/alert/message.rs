//! What is posted, in the dialect of each receiver.

use serde::Serialize;
use serde_json::{Value, json};

use super::{AlertKind, OpenAlert};
use crate::settings::ReceiverKind;

/// `PagerDuty` takes summaries of at most so many characters.
const PAGERDUTY_SUMMARY: usize = 1024;

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

/// The body of a notice. `output` says which layer it is about, `host` on which machine, `run_id` after which run.
pub fn payload(kind: ReceiverKind, notice: &Notice, output: &str, host: &str, run_id: &str, key: Option<&str>) -> Value {
    let alert = &notice.alert;
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
            "since": alert.since,
            "over_at": alert.over_at,
            "output": output,
            "host": host,
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
                "routing_key": key,
                "event_action": if firing { "trigger" } else { "resolve" },
                "dedup_key": format!("etl/{host}/{output}/{}/{}", alert.kind.as_str(), alert.subject),
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
    use std::collections::BTreeSet;

    use super::*;

    fn notice(state: NoticeState) -> Notice {
        let alert = OpenAlert {
            kind: AlertKind::CheckFailed,
            subject: "fact_key_unique".into(),
            message: "a < b & c".into(),
            run_id: "1".into(),
            since: "2026-01-20T00:00:00Z".into(),
            in_layer: false,
            sent_at: None,
            told: BTreeSet::new(),
            over_at: None,
        };
        Notice { state, alert }
    }

    #[test]
    fn each_receiver_gets_its_dialect() {
        let body = |kind, state| payload(kind, &notice(state), "output", "host", "2", Some("key"));
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
}
