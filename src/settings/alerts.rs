//! When alerts are raised, and who receives them: `[alerts]` in `etl.toml`, receivers from the environment. Sends none.

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{ConfiguredValue, Environment, Secret, SettingsError, merge::Layers, setting};

/// PagerDuty's endpoint for events (<https://developer.pagerduty.com/docs/events-api-v2-overview>).
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// When an alert is raised, and who receives it.
#[derive(Clone, PartialEq, Debug)]
pub struct AlertSettings {
    /// The stable name of this pipeline, by which receivers know its incidents; `None`: the absolute path of the output.
    pub name: Option<String>,
    /// Percent of the average duration of earlier runs above which a run is slow.
    pub slow_percent: f64,
    /// A run that takes less than this is never slow.
    pub slow_after: Duration,
    /// Percent of the window's records above which too many were dropped.
    pub dropped_percent: f64,
    /// Whether a day without rows raises an alert if the same weekday of the week before had rows.
    pub no_records: bool,
    /// The age of the newest row above which an alert is raised.
    pub freshness: Option<Duration>,
    /// The time for which a run may hold the output before it counts as stuck.
    pub stuck_after: Duration,
    /// The time after which a lasting alert is sent again; `None`: never.
    pub repeat: Option<Duration>,
    /// The time for one attempt to send.
    pub timeout: Duration,
    /// The receivers.
    pub receivers: Vec<Receiver>,
}

impl Default for AlertSettings {
    fn default() -> AlertSettings {
        AlertSettings {
            name: None,
            slow_percent: 200.0,
            slow_after: Duration::from_secs(1),
            dropped_percent: 5.0,
            no_records: true,
            freshness: None,
            stuck_after: Duration::from_secs(6 * 3600),
            repeat: None,
            timeout: Duration::from_secs(5),
            receivers: Vec::new(),
        }
    }
}

/// A receiver of alerts. The URL of a webhook is a secret: whoever knows it may post.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receiver {
    /// The format that it takes.
    pub kind: ReceiverKind,
    /// Its URL.
    pub url: Secret,
    /// The bearer token of a generic webhook, or PagerDuty's routing key.
    pub key: Option<Secret>,
}

/// The formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum ReceiverKind {
    /// A JSON object with every detail.
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
        self.into()
    }
}

/// Reads `[alerts]` and the receivers.
pub(super) fn read(layers: &Layers<'_>) -> Result<AlertSettings, SettingsError> {
    let default = AlertSettings::default();
    Ok(AlertSettings {
        name: layers.text(&setting::ALERT_NAME)?.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        slow_percent: layers.number(&setting::SLOW_PERCENT)?.unwrap_or(default.slow_percent),
        slow_after: layers.span(&setting::SLOW_AFTER)?.unwrap_or(default.slow_after),
        dropped_percent: layers.number(&setting::DROPPED_PERCENT)?.unwrap_or(default.dropped_percent),
        no_records: layers.yes_no(&setting::NO_RECORDS)?.unwrap_or(default.no_records),
        freshness: layers.span(&setting::FRESHNESS)?,
        stuck_after: layers.span(&setting::STUCK_AFTER)?.unwrap_or(default.stuck_after),
        repeat: layers.span(&setting::REPEAT)?,
        timeout: layers.span(&setting::ALERT_TIMEOUT)?.unwrap_or(default.timeout),
        receivers: receivers(layers)?,
    })
}

fn receivers(layers: &Layers<'_>) -> Result<Vec<Receiver>, SettingsError> {
    let environment: &Environment = layers.environment;
    let secret = |setting: &setting::Setting| environment.secret(setting.variable);
    let mut receivers = Vec::new();
    for (setting, kind) in [
        (&setting::ALERT_WEBHOOK_URL, ReceiverKind::Webhook),
        (&setting::ALERT_SLACK_URL, ReceiverKind::Slack),
        (&setting::ALERT_TEAMS_URL, ReceiverKind::Teams),
    ] {
        let Some(url) = environment.get(setting.variable) else { continue };
        require_url(&url)?;
        let key = (kind == ReceiverKind::Webhook).then(|| secret(&setting::ALERT_WEBHOOK_TOKEN)).flatten();
        receivers.push(Receiver { kind, url: Secret::new(url.value), key });
    }
    let pagerduty = layers.get(&setting::PAGERDUTY_URL)?;
    if let Some(url) = &pagerduty {
        require_url(url)?;
    }
    if let Some(key) = secret(&setting::ALERT_PAGERDUTY_KEY) {
        let url = Secret::new(pagerduty.map_or_else(|| PAGERDUTY.to_owned(), |url| url.value));
        receivers.push(Receiver { kind: ReceiverKind::PagerDuty, url, key: Some(key) });
    }
    Ok(receivers)
}

/// Refuses what is not an http(s) URL. The error does not show it.
fn require_url(configured: &ConfiguredValue) -> Result<(), SettingsError> {
    match Url::parse(&configured.value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
        _ => Err(configured.invalid_secret("not an http(s) URL")),
    }
}
