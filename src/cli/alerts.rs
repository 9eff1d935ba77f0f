//! `etl alerts`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::json;

use super::{
    args::{AlertsArgs, AlertsCommand},
    display::{Display, Ending},
};
use crate::{
    model::UtcMicros,
    report::{
        AlertKind,
        alert::{Delivery, Notice, NoticeState, OpenAlert, deliver},
    },
    run::{NoticeOrigin, RequestError, RunError},
    settings,
};

/// Sends one alert to each receiver. One that was not reached is a mistake of configuration: exit 2.
pub(super) fn run(args: &AlertsArgs, display: &Display) -> Result<u8, RunError> {
    let AlertsCommand::Test(config) = &args.what;
    let settings = settings::load(&config.flags)?;
    if settings.alerts.receivers.is_empty() {
        return Err(RequestError::NoReceivers.into());
    }
    let alert = OpenAlert {
        kind: AlertKind::Test,
        subject: String::new(),
        message: "This is a test: nothing is the matter.".to_owned(),
        run_id: "none".to_owned(),
        message_run_id: None,
        since: UtcMicros::now().rfc3339(),
        in_layer: false,
        sent_at: None,
        told: BTreeSet::new(),
        over_at: None,
        dedup_key: None,
        sources: BTreeMap::new(),
    };
    let due: Vec<_> =
        settings.alerts.receivers.iter().map(|receiver| (receiver, Notice { state: NoticeState::Firing, alert: alert.clone() })).collect();
    let origin = NoticeOrigin::new(&settings);
    let deliveries = deliver(&due, origin.sender("none"), settings.alerts.timeout, &settings.http.network);
    let failed = deliveries.iter().find_map(Delivery::failure);
    let shown: Vec<_> = deliveries
        .iter()
        .map(|delivery| json!({"receiver": delivery.receiver, "delivered": delivery.error.is_none(), "error": delivery.error}))
        .collect();
    display.outcome(Ending::of(failed.as_ref()), &json!({ "deliveries": shown }), |out| {
        for delivery in &deliveries {
            let outcome = delivery.error.as_ref().map_or("delivered".to_owned(), |error| format!("not delivered: {error}"));
            let _ = writeln!(out, "{:<10} {outcome}", delivery.receiver.as_str());
        }
    });
    Ok(if failed.is_none() { 0 } else { 2 })
}
