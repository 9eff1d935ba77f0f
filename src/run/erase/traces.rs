//! What tells of erased users outside of the layer's tables: dropped records, samples of checks, violating rows. Finds it in the bytes
//! of a file, and makes the file without it. Reads and writes no file itself.

use std::collections::{BTreeMap, BTreeSet};

use csv::ByteRecord;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    layer,
    model::{ErasedUsers, WITHHELD_RECORD, addresses_in, is_withheld, words_of},
    normalize::UserIds,
    report::{self, Summary},
    run::replay,
};

/// The columns of a violating row that stay: they name the row, and nobody.
const NAMING_THE_ROW: [&str; 3] = ["dt", "order_id", "sku"];

/// The shortest text that is looked for within others.
const SHORTEST_WITHIN: usize = 5;

/// Stands in place of a message that tells of them.
const WITHHELD_MESSAGE: &str = "withheld: its user was erased";

/// What is known of the users, for as long as the command runs.
#[derive(Default)]
pub(super) struct Traces {
    /// Their ids, as the layer has them.
    pub(super) ids: BTreeSet<String>,
    /// Their orders.
    pub(super) orders: BTreeSet<String>,
    /// Texts of their rows in `dim_user` that nobody else has there.
    pub(super) telling: BTreeSet<String>,
    /// What the layer remembers of them and of those of earlier erasures, but for addresses that somebody else has.
    pub(super) remembered: ErasedUsers,
}

/// A file in which something is withheld.
pub(super) struct Withheld {
    pub(super) bytes: Vec<u8>,
    /// How many records, or rows.
    pub(super) count: u64,
}

/// A report, or a file of violating rows, as the erasure leaves it.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct ChangedReport {
    pub(super) bytes: Vec<u8>,
    pub(super) change: ReportChange,
}

/// What an erasure changes in a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReportChange {
    /// Values that show the users are removed.
    Values,
    /// It shows nothing of them: only the size of its run's kept records is corrected.
    RawSize,
}

/// The head of a line of quarantine.
#[derive(Deserialize)]
struct DropHead {
    reason: String,
    level: String,
    #[serde(default)]
    order_id: Option<String>,
    #[serde(default)]
    line_index: Option<u64>,
}

impl DropHead {
    /// The line without its record.
    fn withheld(&self) -> Vec<u8> {
        let json = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let order_id = self.order_id.as_deref().map_or("null".to_owned(), json);
        let line_index = self.line_index.map_or("null".to_owned(), |index| index.to_string());
        let (reason, level) = (json(&self.reason), json(&self.level));
        let head = format!(r#"{{"reason":{reason},"level":{level},"order_id":{order_id},"line_index":{line_index},"record":"#);
        [head.as_bytes(), WITHHELD_RECORD, b"}\n"].concat()
    }
}

impl Traces {
    /// Whether an id is one of theirs. An id with an `@` may be an address of theirs: of a guest.
    pub(super) fn has(&self, user_id: &str) -> bool {
        self.ids.contains(user_id) || (user_id.contains('@') && self.remembered.has(user_id))
    }

    /// Whether a record is of one of them. Their ids and addresses that it names are added to `found`.
    pub(super) fn is_of(&self, sources: &[&UserIds], record: &[u8], found: &mut BTreeSet<String>) -> bool {
        let named: BTreeSet<String> = sources.iter().flat_map(|source| source.of_record(record)).filter(|user| self.has(user)).collect();
        let is_of = !named.is_empty() || sources.iter().any(|source| source.has_address_of(record, &self.remembered));
        if is_of {
            let addresses = addresses_in(&String::from_utf8_lossy(record));
            found.extend(addresses.into_iter().filter(|address| self.remembered.address(address).is_some()));
            found.extend(named);
        }
        is_of
    }

    /// Whether a value of a row tells of them.
    fn is_told_by(&self, value: &str) -> bool {
        self.ids.contains(value.trim()) || self.telling.contains(value.trim()) || self.is_told_in(value)
    }

    /// Whether a text tells of them. A short number within it is no id.
    fn is_told_in(&self, text: &str) -> bool {
        let is_long = |text: &str| text.chars().count() >= SHORTEST_WITHIN;
        let is_id = |word: &str| (is_long(word) || word.contains(char::is_alphabetic)) && self.ids.contains(word);
        words_of(text).any(is_id)
            || self.telling.iter().any(|told| is_long(told) && text.contains(told.as_str()))
            || self.remembered.address_in(text).is_some()
    }

    /// Whether a file of the tool that can't be read may tell of them: one of its words is an id, however short, or it tells of them.
    pub(super) fn may_be_told_in(&self, file: &[u8]) -> bool {
        let text = String::from_utf8_lossy(file);
        words_of(&text).any(|word| self.ids.contains(word)) || self.is_told_in(&text)
    }

    /// A file of quarantine in which their records are withheld; `None` if it has none.
    pub(super) fn without_records(&self, sources: &[&UserIds], file: &[u8], found: &mut BTreeSet<String>) -> Option<Withheld> {
        let mut withheld = Withheld { bytes: Vec::with_capacity(file.len()), count: 0 };
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            match self.withheld_line(sources, line, found) {
                Some(line) => {
                    withheld.bytes.extend_from_slice(&line);
                    withheld.count += 1;
                }
                None => withheld.bytes.extend_from_slice(line),
            }
        }
        (withheld.count > 0).then_some(withheld)
    }

    fn withheld_line(&self, sources: &[&UserIds], line: &[u8], found: &mut BTreeSet<String>) -> Option<Vec<u8>> {
        let head: Option<DropHead> = serde_json::from_slice(line).ok();
        // A line that is none of ours is looked at word by word.
        let record = replay::record(line).unwrap_or_else(|_| line.to_vec());
        if is_withheld(&record) {
            return None;
        }
        let is_of_order = head.as_ref().and_then(|head| head.order_id.as_ref()).is_some_and(|order_id| self.orders.contains(order_id));
        let is_theirs = self.is_of(sources, &record, found) || is_of_order;
        let unknown = || DropHead { reason: "invalid_json".to_owned(), level: "record".to_owned(), order_id: None, line_index: None };
        is_theirs.then(|| head.unwrap_or_else(unknown).withheld())
    }

    /// A report whose samples do not tell of them, and that has the size of its run's kept records right; `None` if it is so already.
    pub(super) fn without_samples(&self, report: &[u8], raw_sizes: &BTreeMap<String, u64>) -> Option<ChangedReport> {
        let mut summary = Summary::from_json(report).ok()?;
        let mut change = None;
        for row in summary.checks.iter_mut().flat_map(|check| &mut check.sample) {
            if !row.values().flatten().any(|value| self.is_told_by(value)) {
                continue;
            }
            row.iter_mut().filter(|(name, _)| !NAMING_THE_ROW.contains(&name.as_str())).for_each(|(_, value)| *value = None);
            change = Some(ReportChange::Values);
        }
        // Of a run that failed, a message may show the beginning of a record.
        let told = summary.alerts.iter_mut().chain(&mut summary.recovered).map(|alert| &mut alert.message);
        for message in told.chain(&mut summary.error).filter(|message| self.is_told_in(message)) {
            WITHHELD_MESSAGE.clone_into(message);
            change = Some(ReportChange::Values);
        }
        if let (Some(raw), Some(&bytes)) = (&mut summary.raw, raw_sizes.get(&summary.run_id))
            && raw.bytes != bytes
        {
            raw.bytes = bytes;
            change = change.or(Some(ReportChange::RawSize));
        }
        change.map(|change| ChangedReport { bytes: report::report_bytes(&summary), change })
    }

    /// A file of the tool's own, such as the open alerts, in which no text tells of them; `None` if none does.
    pub(super) fn without_texts(&self, file: &[u8]) -> Option<Vec<u8>> {
        let mut document: Value = serde_json::from_slice(file).ok()?;
        let mut has_changed = false;
        self.withhold_texts(&mut document, &mut has_changed);
        has_changed.then(|| serde_json::to_vec(&document).ok()).flatten()
    }

    fn withhold_texts(&self, document: &mut Value, has_changed: &mut bool) {
        match document {
            Value::String(text) if self.is_told_in(text) => {
                WITHHELD_MESSAGE.clone_into(text);
                *has_changed = true;
            }
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.withhold_texts(element, has_changed)),
            Value::Object(values) => values.values_mut().for_each(|value| self.withhold_texts(value, has_changed)),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The CSV of violating rows in which theirs name the row and nobody; `None` if it has none of theirs.
    pub(super) fn without_rows(&self, file: &[u8]) -> Option<Withheld> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
        let mut withheld = Withheld { bytes: Vec::with_capacity(file.len()), count: 0 };
        let (mut record, mut header): (ByteRecord, Option<ByteRecord>) = (ByteRecord::new(), None);
        loop {
            let start = reader.position().byte();
            // What can't be read further stays.
            let is_read = reader.read_byte_record(&mut record).unwrap_or(false);
            let end = if is_read { reader.position().byte() } else { file.len() as u64 };
            let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
            let line = file.get(start..end).unwrap_or_default();
            if !is_read {
                withheld.bytes.extend_from_slice(line);
                break;
            }
            let Some(names) = &header else {
                header = Some(record.clone());
                withheld.bytes.extend_from_slice(line);
                continue;
            };
            if record.iter().any(|cell| self.is_told_by(&String::from_utf8_lossy(cell))) {
                write_named_row(&mut withheld.bytes, names, &record);
                withheld.count += 1;
            } else {
                withheld.bytes.extend_from_slice(line);
            }
        }
        (withheld.count > 0).then_some(withheld)
    }
}

/// Writes a row with the cells that name it, and nothing else.
fn write_named_row(out: &mut Vec<u8>, names: &ByteRecord, record: &ByteRecord) {
    let start = out.len();
    for (place, cell) in record.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if names.get(place).is_some_and(|name| NAMING_THE_ROW.iter().any(|kept| kept.as_bytes() == name)) {
            layer::write_text(out, Some(&String::from_utf8_lossy(cell)));
        }
    }
    // A reader of CSV skips an empty line.
    if out.len() == start {
        out.extend_from_slice(b"\"\"");
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{CheckResult, Severity},
        model::{AddressOf, UtcMicros},
        normalize::Mapping,
    };

    fn traces() -> Traces {
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let mut remembered = ErasedUsers::with_salt(&[7; 16]);
        remembered.add("u-7");
        remembered.add_address("ann@one.example", AddressOf::Member);
        Traces { ids: set(&["u-7"]), orders: set(&["A"]), telling: set(&["ann@one.example", "Ann Example"]), remembered }
    }

    #[test]
    fn records_are_withheld_by_id_by_order_and_by_address_and_no_others() {
        let line = |order_id: &str, record: &str| {
            format!("{{\"reason\":\"missing_sku\",\"level\":\"line\",\"order_id\":{order_id},\"line_index\":2,{record}}}\n")
        };
        let withheld = [
            line("\"X\"", r#""record":{"user_id":"u-7","items":[]}"#),
            line("\"A\"", r#""record":{"items":[]}"#),
            line("null", r#""record":{"contact":{"mail":"ann@one.example"}}"#),
            line("null", r#""record":"{\"user_id\":\"u-7\",""#),
            line("null", r#""record":{"note":"for Ann <ANN@One.example>"}"#),
            line("null", r#""record":"{\"mail\":\" Ann@one.example\",""#),
            line("null", r#""record_base64":"eyJ1c2VyX2lkIjoidS03Iiz/""#),
        ];
        let kept = [
            line("\"B\"", r#""record":{"user_id":"u-70","note":"u-7"}"#),
            line("null", r#""record":"withheld: its user was erased""#),
            "not a line of ours\n".to_owned(),
        ];
        let source = UserIds::of(&Mapping::default());
        let mut found = BTreeSet::new();
        let file = [withheld.concat(), kept.concat()].concat();
        let done = traces().without_records(&[&source], file.as_bytes(), &mut found).unwrap();
        let text = String::from_utf8(done.bytes).unwrap();
        let expected = ["Ann@one.example", "ann@one.example", "u-7"].map(str::to_owned);
        assert_eq!((done.count, found), (7, expected.into()));
        assert!(text.ends_with(&kept.concat()), "{text}");
        let expected = line("\"X\"", r#""record":"withheld: its user was erased""#);
        assert_eq!(text.lines().next().unwrap(), expected.trim_end());
        assert!(traces().without_records(&[&source], text.as_bytes(), &mut BTreeSet::new()).is_none(), "once is enough");
    }

    #[test]
    fn samples_and_violating_rows_keep_what_names_the_row() {
        let row = |user: &str| -> BTreeMap<String, Option<String>> {
            [("order_id", "A"), ("who", user)].map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into()
        };
        let mut summary = Summary::new("r".into(), None, None, UtcMicros::new(0).unwrap());
        summary.error = Some(r#"the first begins with `{"mail":"ann@one.example"`"#.to_owned());
        summary.checks =
            vec![CheckResult { sample: vec![row("Ann Example (u-7)"), row("Bob")], ..CheckResult::new("own", Severity::Warn) }];
        let report = traces().without_samples(&report::report_bytes(&summary), &BTreeMap::new()).unwrap();
        let mut changed = Summary::from_json(&report.bytes).unwrap();
        assert_eq!(report.change, ReportChange::Values);
        assert_eq!(changed.error.as_deref(), Some(WITHHELD_MESSAGE));
        let sample = changed.checks.remove(0).sample;
        assert_eq!((&sample[0]["order_id"], &sample[0]["who"], &sample[1]), (&Some("A".to_owned()), &None, &row("Bob")));
        assert_eq!(traces().without_samples(&report.bytes, &BTreeMap::new()), None);
        let numbers = Traces { ids: ["7".to_owned()].into(), ..Traces::default() };
        assert!(numbers.is_told_by("7") && !numbers.is_told_in("7 of 20 records"));
        assert!(traces().is_told_by(" ANN@one.example") && !traces().is_told_in("joe@one.example"));
        assert!(numbers.may_be_told_in(br#"{"told":[{"text":"{\"user_id\":\"7\"}"#) && !numbers.may_be_told_in(b"{\"n\":70"));
        let alerts = traces().without_texts(br#"{"open":[{"message":"bob"},{"message":"of u-7"}]}"#).unwrap();
        assert_eq!(String::from_utf8(alerts).unwrap(), r#"{"open":[{"message":"bob"},{"message":"withheld: its user was erased"}]}"#);
        let done = traces().without_rows(b"order_id,mail\nA,ann@one.example\nB,\"b,\n2\"\n").unwrap();
        assert_eq!((String::from_utf8(done.bytes).unwrap().as_str(), done.count), ("order_id,mail\nA,\nB,\"b,\n2\"\n", 1));
        assert!(traces().without_rows(b"order_id,mail\nB,bob@two.example\n").is_none());
    }
}
