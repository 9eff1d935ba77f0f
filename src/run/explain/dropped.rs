//! Dropped records and lines of an order, as the quarantine keeps them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::ExplainRequest;
use crate::{
    model::UtcMicros,
    report::{Replays, Summary},
    run::RunError,
    store::{self, Output, StoreError, places},
};

/// Bytes of a record that an answer shows.
const SHOWN: usize = 2048;

/// A dropped record or line.
#[derive(Clone, Debug, Serialize)]
pub struct DroppedPart {
    /// The run that dropped it.
    pub run_id: String,
    /// When the run started, if its report is kept.
    pub started_at: Option<UtcMicros>,
    /// Why: a reason of the contract.
    pub reason: String,
    /// `record` or `line`.
    pub level: String,
    /// The place of the line in its record, from 0.
    pub line_index: Option<u64>,
    /// How it is known that it belongs to the order.
    pub named_by: NamedBy,
    /// The file, beneath the output.
    pub file: String,
    /// The line of the file, from 1.
    pub line: u64,
    /// The record, as it came; its beginning if it is long.
    pub record: String,
    /// Whether `record` is only the beginning.
    pub record_is_cut: bool,
    /// The runs that have read the quarantine again, the latest first. What they dropped lies in their own.
    pub replayed_by: Vec<String>,
}

impl DroppedPart {
    /// Whether a run has read it again: it waits for nobody.
    pub fn is_replayed(&self) -> bool {
        !self.replayed_by.is_empty()
    }
}

/// How a line of the quarantine names the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedBy {
    /// By its `order_id`.
    OrderId,
    /// Only by the text of the record, which has no valid order id.
    Text,
}

/// What was dropped of an order, by run, and how many quarantines were read.
pub(super) fn dropped(
    output: &Output,
    request: &ExplainRequest<'_>,
    reports: &BTreeMap<String, Summary>,
) -> Result<(Vec<DroppedPart>, usize), RunError> {
    let (mut found, mut quarantines) = (Vec::new(), 0);
    let mut replays = Replays::default();
    // By their names, the latest last.
    reports.values().rev().for_each(|run| replays.note(run));
    let whole = Wanted { order_id: request.order_id, in_record: request.order_id, sku: request.sku };
    for name in output.names(places::QUARANTINE)? {
        let Some(run_id) = places::run_of_folder(&name) else { continue };
        let place = places::quarantine(run_id);
        let Some(path) = output.local(&place)? else { continue };
        // Another command may have removed it meanwhile.
        let Some(opened) = store::open_file(&path)? else { continue };
        quarantines += 1;
        let shop = reports.get(run_id).and_then(|report| report.shop.as_deref());
        let wanted = shop.map_or(whole, |shop| whole.of_shop(shop));
        for (number, line) in (1..).zip(BufReader::with_capacity(1 << 18, opened).split(b'\n')) {
            let line = line.map_err(StoreError::io("read", &path))?;
            if !may_name(&line, wanted.in_record) {
                continue;
            }
            let Some((parsed, named_by)) = named(&line, wanted) else { continue };
            if wanted.sku.is_some_and(|sku| !concerns_sku(&parsed, sku)) {
                continue;
            }
            let (record, record_is_cut) = beginning(record_text(&parsed));
            found.push(DroppedPart {
                run_id: run_id.to_owned(),
                started_at: reports.get(run_id).map(|report| report.started_at),
                level: parsed.level.unwrap_or_else(|| if parsed.line_index.is_some() { "line" } else { "record" }.to_owned()),
                reason: parsed.reason,
                line_index: parsed.line_index,
                named_by,
                file: place.to_string(),
                line: number,
                record,
                record_is_cut,
                replayed_by: replays.of(run_id).to_vec(),
            });
        }
    }
    Ok((found, quarantines))
}

/// What is looked for in the lines of a quarantine.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// The order, as the layer has it.
    order_id: &'a str,
    /// The order, as records have it: without the name of its shop.
    in_record: &'a str,
    /// The sku, as records have it.
    sku: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// The same in the quarantine of a shop: its records do not know its name.
    fn of_shop(self, shop: &str) -> Wanted<'a> {
        let bare = |id: &'a str| id.strip_prefix(shop).and_then(|rest| rest.strip_prefix(':'));
        Wanted { in_record: bare(self.order_id).unwrap_or(self.order_id), sku: self.sku.map(|sku| bare(sku).unwrap_or(sku)), ..self }
    }
}

/// A cheap test that no line of the order fails: JSON may escape a character, and Base64 hides all of them.
fn may_name(line: &[u8], order_id: &str) -> bool {
    let has = |needle: &[u8]| memchr::memmem::find(line, needle).is_some();
    has(order_id.as_bytes()) || has(b"\\") || has(b"\"record_base64\"")
}

/// A line of the quarantine.
#[derive(Deserialize)]
struct Line {
    reason: String,
    level: Option<String>,
    order_id: Option<String>,
    line_index: Option<u64>,
    record: Option<Box<RawValue>>,
    record_base64: Option<String>,
}

/// The line, if it names the order.
fn named(line: &[u8], wanted: Wanted<'_>) -> Option<(Line, NamedBy)> {
    let line: Line = serde_json::from_slice(line).ok()?;
    match line.order_id.as_deref() {
        Some(own) => (own == wanted.order_id).then_some((line, NamedBy::OrderId)),
        None => names_in_text(&line, wanted.in_record).then_some((line, NamedBy::Text)),
    }
}

/// The text of the record: JSON as it stands, a text that was not JSON without its quotes, bytes as far as they are UTF-8.
fn record_text(line: &Line) -> String {
    match (&line.record, &line.record_base64) {
        (Some(raw), _) => serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned()),
        (None, Some(text)) => String::from_utf8_lossy(&STANDARD.decode(text).unwrap_or_default()).into_owned(),
        (None, None) => String::new(),
    }
}

/// Whether a record without a valid order id holds the id somewhere: as a value outside of lists, or, where the record is
/// not valid JSON, in its text, bounded by other characters. A number counts only behind a name that ends in `id`.
fn names_in_text(line: &Line, order_id: &str) -> bool {
    let text = record_text(line);
    if let Ok(record) = serde_json::from_str::<Value>(&text) {
        return has_value(&record, "", order_id);
    }
    let is_number = order_id.bytes().all(|byte| byte.is_ascii_digit());
    let is_part = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    text.match_indices(order_id).any(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + order_id.len()..]);
        let is_bounded = !is_part(before.chars().next_back()) && !is_part(after.chars().next());
        let name = before.trim_end_matches(['"', ' ', ':']);
        is_bounded && (!is_number || name.to_ascii_lowercase().ends_with("id"))
    })
}

fn has_value(value: &Value, name: &str, order_id: &str) -> bool {
    match value {
        Value::String(text) => text.trim() == order_id,
        Value::Number(number) => name.to_ascii_lowercase().ends_with("id") && number.to_string() == order_id,
        Value::Object(fields) => fields.iter().any(|(name, value)| has_value(value, name, order_id)),
        _ => false,
    }
}

/// Whether a drop may concern a sku: a whole record does; of a dropped line, its own text tells, unless it has no sku.
fn concerns_sku(line: &Line, sku: &str) -> bool {
    let Some(index) = line.line_index.and_then(|index| usize::try_from(index).ok()) else { return true };
    if matches!(line.reason.as_str(), "missing_sku" | "invalid_line") {
        return true;
    }
    let Ok(Value::Object(record)) = serde_json::from_str(&record_text(line)) else { return true };
    let mut lines = record.values().filter_map(Value::as_array).filter_map(|lines| lines.get(index)).peekable();
    lines.peek().is_none() || lines.any(|line| mentions(line, sku))
}

fn mentions(value: &Value, sku: &str) -> bool {
    match value {
        Value::String(text) => text.trim() == sku,
        Value::Number(number) => number.to_string() == sku,
        Value::Object(fields) => fields.values().any(|value| mentions(value, sku)),
        Value::Array(items) => items.iter().any(|value| mentions(value, sku)),
        _ => false,
    }
}

fn beginning(mut text: String) -> (String, bool) {
    if text.len() <= SHOWN {
        return (text, false);
    }
    let mut end = SHOWN;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    (text, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(order_id: &str) -> Wanted<'_> {
        Wanted { order_id, in_record: order_id, sku: None }
    }

    fn names(line: &str, order_id: &str) -> Option<NamedBy> {
        named(line.as_bytes(), wanted(order_id)).filter(|_| may_name(line.as_bytes(), order_id)).map(|(_, named_by)| named_by)
    }

    #[test]
    fn a_record_of_a_shop_has_the_id_without_its_name() {
        let line = br#"{"reason":"missing_sku","level":"line","order_id":"de:1","line_index":0,"record":{"id":1}}"#;
        let broken = br#"{"reason":"invalid_json","level":"record","order_id":null,"line_index":null,"record":"{\"id\": 1, "}"#;
        let of_shop = |shop: &str| wanted("de:1").of_shop(shop);
        let found = |line: &[u8], wanted: Wanted<'_>| named(line, wanted).filter(|_| may_name(line, wanted.in_record)).map(|(_, by)| by);
        assert_eq!((found(line, of_shop("de")), found(broken, of_shop("de"))), (Some(NamedBy::OrderId), Some(NamedBy::Text)));
        assert_eq!((found(line, of_shop("us")), found(broken, of_shop("us"))), (Some(NamedBy::OrderId), None), "of another shop");
        assert_eq!(Wanted { sku: Some("de:S"), ..wanted("de:1") }.of_shop("de").sku, Some("S"));
    }

    #[test]
    fn a_drop_is_named_by_its_order_id_or_by_the_text_of_its_record() {
        let with_id = r#"{"reason":"missing_sku","level":"line","order_id":"\u00fc 1","line_index":0,"record":{}}"#;
        assert_eq!(names(with_id, "ü 1"), Some(NamedBy::OrderId));
        let without = |record: &str| format!(r#"{{"reason":"x","level":"record","order_id":null,"line_index":null,"record":{record}}}"#);
        assert_eq!(names(&without(r#""{\"order_id\":\"A-1\",\"cre""#), "A-1"), Some(NamedBy::Text));
        assert_eq!(names(&without(r#""{\"order_id\":\"A-12\",\"cre""#), "A-1"), None, "a part of another id");
        assert_eq!(names(&without(r#"{"number":"A-1","order_id":null}"#), "A-1"), Some(NamedBy::Text));
        assert_eq!(names(&without(r#"{"orderId":7,"quantity":8}"#), "7"), Some(NamedBy::Text));
        assert_eq!(names(&without(r#"{"orderId":7,"quantity":8}"#), "8"), None, "a quantity is no id");
        assert_eq!(names(&without(r#""{\"id\": 7, \"quantity\": 8""#), "7"), Some(NamedBy::Text));
        assert_eq!(names(&without(r#""{\"id\": 7, \"quantity\": 8""#), "8"), None);
        let encoded = STANDARD.encode(b"{\"order_id\":\"A-1\",\xff");
        let bytes = format!(r#"{{"reason":"invalid_json","order_id":null,"line_index":null,"record_base64":"{encoded}"}}"#);
        assert_eq!(names(&bytes, "A-1"), Some(NamedBy::Text));
    }

    #[test]
    fn a_sku_leaves_the_lines_of_others_out() {
        let line = |reason: &str, index: &str| {
            let text =
                format!(r#"{{"reason":"{reason}","order_id":"A","line_index":{index},"record":{{"items":[{{"sku":"S"}},{{"sku":7}}]}}}}"#);
            named(text.as_bytes(), wanted("A")).unwrap().0
        };
        assert!(concerns_sku(&line("invalid_price", "0"), "S") && !concerns_sku(&line("invalid_price", "1"), "S"));
        assert!(concerns_sku(&line("invalid_price", "1"), "7"));
        assert!(concerns_sku(&line("missing_sku", "1"), "S") && concerns_sku(&line("empty_items", "null"), "S"));
    }

    #[test]
    fn a_long_record_is_cut_at_a_character() {
        let (text, is_cut) = beginning("ü".repeat(SHOWN));
        assert_eq!((text.len(), is_cut), (SHOWN, true));
        assert_eq!(beginning("ü".into()), ("ü".into(), false));
    }
}
