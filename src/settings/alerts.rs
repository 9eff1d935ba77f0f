//! What somebody is to be told of, and where: `[alerts]` in `etl.toml`, and the receivers from the environment.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::{
    Secret, SettingsError,
    layers::{Environment, Said},
};

/// Where PagerDuty takes events (<https://developer.pagerduty.com/docs/events-api-v2-overview>).
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// When an alert is raised, and who gets it.
#[derive(Clone, PartialEq, Debug)]
pub struct AlertSettings {
    /// Per cent of the average of earlier runs above which a run is slow.
    pub slow_percent: f64,
    /// A run that takes less than this is never slow.
    pub slow_after: Duration,
    /// Per cent of the window's records above which too many were dropped.
    pub dropped_percent: f64,
    /// Whether a day without rows counts, where the same weekday a week before had some.
    pub no_records: bool,
    /// How old the newest row may be.
    pub freshness: Option<Duration>,
    /// After how long a lasting alert is sent again; never where nothing is said.
    pub repeat: Option<Duration>,
    /// How long one attempt to send may take.
    pub timeout: Duration,
    /// Who gets them.
    pub receivers: Vec<Receiver>,
}

impl Default for AlertSettings {
    fn default() -> AlertSettings {
        AlertSettings {
            slow_percent: 200.0,
            slow_after: Duration::from_secs(1),
            dropped_percent: 5.0,
            no_records: true,
            freshness: None,
            repeat: None,
            timeout: Duration::from_secs(5),
            receivers: Vec::new(),
        }
    }
}

/// Who gets alerts. A webhook's URL is a secret by itself: whoever knows it may post.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receiver {
    /// The dialect that it takes.
    pub kind: ReceiverKind,
    /// Where it is.
    pub url: Secret,
    /// The bearer token of a generic webhook, or PagerDuty's routing key.
    pub key: Option<Secret>,
}

/// The dialects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiverKind {
    /// A JSON object with all that is known.
    Webhook,
    /// An incoming webhook of Slack.
    Slack,
    /// A workflow of Microsoft Teams that posts an adaptive card.
    Teams,
    /// PagerDuty's Events API v2.
    PagerDuty,
}

impl ReceiverKind {
    /// The name in logs and state.
    pub fn as_str(self) -> &'static str {
        match self {
            ReceiverKind::Webhook => "webhook",
            ReceiverKind::Slack => "slack",
            ReceiverKind::Teams => "teams",
            ReceiverKind::PagerDuty => "pagerduty",
        }
    }
}

/// `[alerts]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsToml {
    pub slow_percent: Option<f64>,
    pub slow_after: Option<String>,
    pub dropped_percent: Option<f64>,
    pub no_records: Option<bool>,
    pub freshness: Option<String>,
    pub repeat: Option<String>,
    pub timeout: Option<String>,
    pub pagerduty_url: Option<String>,
}

pub(super) fn alerts(toml: AlertsToml, environment: &Environment) -> Result<AlertSettings, SettingsError> {
    let default = AlertSettings::default();
    let span = |key: &'static str, value: Option<String>| value.map(|value| Said::in_file(key, value).span()).transpose();
    let percent = |key: &'static str, value: Option<f64>, default: f64| match value {
        Some(value) if value.is_finite() && value >= 0.0 => Ok(value),
        Some(value) => Err(Said::in_file(key, value.to_string()).invalid("write a percentage, such as 200")),
        None => Ok(default),
    };
    Ok(AlertSettings {
        slow_percent: percent("alerts.slow_percent", toml.slow_percent, default.slow_percent)?,
        slow_after: span("alerts.slow_after", toml.slow_after)?.unwrap_or(default.slow_after),
        dropped_percent: percent("alerts.dropped_percent", toml.dropped_percent, default.dropped_percent)?,
        no_records: toml.no_records.unwrap_or(default.no_records),
        freshness: span("alerts.freshness", toml.freshness)?,
        repeat: span("alerts.repeat", toml.repeat)?,
        timeout: span("alerts.timeout", toml.timeout)?.filter(|timeout| !timeout.is_zero()).unwrap_or(default.timeout),
        receivers: receivers(toml.pagerduty_url, environment)?,
    })
}

fn receivers(pagerduty_url: Option<String>, environment: &Environment) -> Result<Vec<Receiver>, SettingsError> {
    let mut receivers = Vec::new();
    for (name, kind) in [
        ("ETL_ALERT_WEBHOOK_URL", ReceiverKind::Webhook),
        ("ETL_ALERT_SLACK_URL", ReceiverKind::Slack),
        ("ETL_ALERT_TEAMS_URL", ReceiverKind::Teams),
    ] {
        let Some(said) = environment.get(name) else { continue };
        hold_url(&said)?;
        let key = (kind == ReceiverKind::Webhook).then(|| environment.secret("ETL_ALERT_WEBHOOK_TOKEN")).flatten();
        receivers.push(Receiver { kind, url: Secret::new(said.value), key });
    }
    if let Some(key) = environment.secret("ETL_ALERT_PAGERDUTY_KEY") {
        let url = Said::in_file("alerts.pagerduty_url", pagerduty_url.unwrap_or_else(|| PAGERDUTY.to_owned()));
        hold_url(&url)?;
        receivers.push(Receiver { kind: ReceiverKind::PagerDuty, url: Secret::new(url.value), key: Some(key) });
    }
    Ok(receivers)
}

/// A URL that can be posted to. The error does not show it.
fn hold_url(said: &Said) -> Result<(), SettingsError> {
    match Url::parse(&said.value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
        _ => Err(SettingsError::Conflict(format!("{}: not an http(s) URL", said.origin))),
    }
}
