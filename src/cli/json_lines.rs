//! A line of JSON an event, with what its spans say beside what it says itself: all flat, so that `CloudWatch` Logs Insights
//! and ELK find `run_id` and `stage` without a parser of their own. No logic of what is logged.

use std::{
    borrow::Cow,
    fmt,
    io::Write,
    sync::{Mutex, PoisonError},
};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::{model::UtcMicros, net::redact};

/// The version of the Elastic Common Schema that the names are of
/// (<https://www.elastic.co/guide/en/ecs-logging/overview/current/intro.html>).
const ECS_VERSION: &str = "8.11.0";

/// The names of the fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// `timestamp`, `level`, `run_id`, `stage`, `message`, and each field under its own name.
    Plain,
    /// Those of the Elastic Common Schema; what it has no name for stands under `labels` (texts) and `etl` (numbers).
    Ecs,
}

/// Writes lines to `out`.
pub(super) struct JsonLines<W> {
    dialect: Dialect,
    out: Mutex<W>,
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(dialect: Dialect, out: W) -> JsonLines<W> {
        JsonLines { dialect, out: Mutex::new(out) }
    }
}

/// The fields of a span, or of an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    /// Whatever was logged: what this tool says of itself stays.
    fn hide_secrets(&mut self) {
        for (_, value) in self.0.iter_mut().filter(|(name, _)| !redact::is_structural(name)) {
            let Value::String(text) = value else { continue };
            if let Cow::Owned(hidden) = redact::text(text) {
                *text = hidden;
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>, W: Write + 'static> Layer<S> for JsonLines<W> {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().into_iter().rev() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        event.record(&mut fields);
        fields.hide_secrets();
        let mut line = serde_json::to_vec(&line(self.dialect, *event.metadata().level(), UtcMicros::now(), fields.0)).unwrap_or_default();
        line.push(b'\n');
        // A log that can't be written has nowhere to say so.
        let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
    }
}

/// An object whose fields keep their order.
#[derive(Default)]
struct Line(Vec<(String, Value)>);

impl Line {
    fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.push((name.into(), value.into()));
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The line of an event: what a reader looks for first comes first.
fn line(dialect: Dialect, level: Level, now: UtcMicros, mut fields: Map<String, Value>) -> Line {
    let message = fields.remove("message").unwrap_or_else(|| "".into());
    let mut line = Line::default();
    match dialect {
        Dialect::Plain => {
            line.insert("timestamp", now.rfc3339());
            line.insert("level", level.as_str());
            for name in ["run_id", "stage"] {
                line.insert(name, fields.remove(name).unwrap_or(Value::Null));
            }
            line.insert("message", message);
            line.0.extend(fields);
        }
        Dialect::Ecs => {
            line.insert("@timestamp", now.rfc3339());
            line.insert("log.level", level.as_str().to_ascii_lowercase());
            line.insert("message", message);
            line.insert("ecs.version", ECS_VERSION);
            line.insert("service.name", "etl");
            line.insert("process.pid", std::process::id());
            let mut own = [("labels", Map::new()), ("etl", Map::new())];
            for (name, value) in fields {
                match (name.as_str(), &value) {
                    ("url", _) => line.insert("url.full", value),
                    ("error" | "cause", _) => line.insert("error.message", value),
                    (_, Value::String(_)) => _ = own[0].1.insert(name, value),
                    _ => _ = own[1].1.insert(name, value),
                }
            }
            line.0.extend(own.into_iter().filter(|(_, fields)| !fields.is_empty()).map(|(name, fields)| (name.to_owned(), fields.into())));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields() -> Map<String, Value> {
        let Value::Object(fields) =
            json!({"message": "page", "run_id": "r", "stage": "extract", "page": 3, "url": "http://x/", "cause": "503"})
        else {
            unreachable!()
        };
        fields
    }

    #[test]
    fn both_dialects_are_flat() {
        let now = UtcMicros::new(1_769_817_600_000_000).unwrap();
        let value = |line: Line| serde_json::to_value(line).unwrap();
        let plain = serde_json::to_string(&line(Dialect::Plain, Level::WARN, now, fields())).unwrap();
        assert_eq!(
            plain,
            r#"{"timestamp":"2026-01-31T00:00:00Z","level":"WARN","run_id":"r","stage":"extract","message":"page","cause":"503","page":3,"url":"http://x/"}"#
        );
        let ecs = value(line(Dialect::Ecs, Level::WARN, now, fields()));
        assert_eq!(
            (&ecs["@timestamp"], &ecs["log.level"], &ecs["url.full"]),
            (&json!("2026-01-31T00:00:00Z"), &json!("warn"), &json!("http://x/"))
        );
        assert_eq!(
            (&ecs["labels"], &ecs["etl"], &ecs["error.message"]),
            (&json!({"run_id": "r", "stage": "extract"}), &json!({"page": 3}), &json!("503"))
        );
    }
}
