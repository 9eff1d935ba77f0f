//! Looks at single records as a run does, for `etl probe`: from which path each field has its value, and which lines there are.
//!
//! The same walk, the same lists of lines and the same rules of fields as in a run. Drops nothing: that is the normalizer's.

use std::borrow::Cow;

use super::{
    fields::Field,
    limits,
    mapping::{CompiledMapping, LINE_FIELDS, LineField, Mapping, RECORD_FIELDS, RecordField},
    record::RecordNormalizer,
    scalar::Scalar,
    walk::Captured,
};
use crate::model::{FieldPath, Level, Window};

/// Looks at records.
pub struct RecordViewer {
    normalizer: RecordNormalizer,
    /// The paths of each of [`RECORD_FIELDS`].
    record_paths: Vec<Vec<FieldPath>>,
    /// The paths of each of [`LINE_FIELDS`].
    line_paths: Vec<Vec<FieldPath>>,
}

/// What a run takes from a record.
pub struct SeenRecord<'a> {
    /// The values of [`RECORD_FIELDS`], in their order; none of the lines.
    pub fields: Vec<Option<SeenValue>>,
    /// Its lines.
    pub lines: Vec<SeenLine<'a>>,
}

/// A value of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenValue {
    /// Where it stands; `None` for the value that the profile gives where there is none.
    pub path: Option<FieldPath>,
    /// The value.
    pub text: String,
}

/// A line.
pub struct SeenLine<'a> {
    /// Where it comes from.
    pub from: SeenLines,
    /// Its bytes, as JSON.
    pub text: &'a str,
    /// The values of [`LINE_FIELDS`], in their order; none if it is no object.
    pub fields: Vec<Option<SeenValue>>,
}

/// Where lines come from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SeenLines {
    /// The lists at a path.
    At(FieldPath),
    /// A request for the lines of the order.
    Request,
    /// The record is its own line.
    Record,
}

impl RecordViewer {
    /// Looks at records by a mapping.
    pub fn new(mapping: &Mapping<'_>) -> RecordViewer {
        let paths = |level: Level, fields: &[(&str, &[&str])]| fields.iter().map(|(name, _)| mapping.paths_of(level, name)).collect();
        RecordViewer {
            normalizer: RecordNormalizer::configured(mapping, Window::default()),
            record_paths: paths(Level::Record, &RECORD_FIELDS),
            line_paths: paths(Level::Line, &LINE_FIELDS),
        }
    }

    /// What a run takes from a record; `None` if it leaves it out, whatever its fields are: it is no JSON object, beyond a limit, or
    /// skipped.
    pub fn look<'a>(&self, record: &'a [u8]) -> Option<SeenRecord<'a>> {
        let RecordNormalizer { mapping, maps, limits, .. } = &self.normalizer;
        let mut captured = Captured::new(maps);
        if limits::exceeded(record.into(), limits).is_some() || !captured.walk(maps, record) {
            return None;
        }
        if mapping.skip.iter().any(|skip| skip.applies(&captured.cells)) {
            return None;
        }
        let mut places = Vec::new();
        captured.lines(maps, &mut places);
        let is_skipped = |line: usize| captured.line(line).is_some_and(|cells| mapping.skip_lines.iter().any(|rule| rule.applies(cells)));
        let lines = places.into_iter().filter(|line| !is_skipped(*line)).filter_map(|line| self.line(&captured, line)).collect();
        let fields = RECORD_VALUES.iter().map(|field| {
            let paths = self.record_paths.get(*field as usize).map_or(&[][..], Vec::as_slice);
            if *field == RecordField::Lines { None } else { seen(mapping.record(*field), paths, &captured.cells) }
        });
        Some(SeenRecord { fields: fields.collect(), lines })
    }

    fn line<'a>(&self, captured: &Captured<'a>, line: usize) -> Option<SeenLine<'a>> {
        let RecordNormalizer { mapping, maps, .. } = &self.normalizer;
        let list = captured.list_of(line);
        let from = match list {
            None => SeenLines::Record,
            Some(leaf) if maps.asked == Some(leaf) => SeenLines::Request,
            Some(leaf) => SeenLines::At(self.list_path(mapping, leaf)?),
        };
        let text = captured.line_text(line)?;
        let cells = captured.line(line);
        let field = |field: &LineField| {
            let paths = self.line_paths.get(*field as usize).map_or(&[][..], Vec::as_slice);
            seen(mapping.line(*field), paths, cells?)
        };
        Some(SeenLine { from, text, fields: LINE_VALUES.iter().map(field).collect() })
    }

    fn list_path(&self, mapping: &CompiledMapping, leaf: usize) -> Option<FieldPath> {
        let paths = self.record_paths.get(RecordField::Lines as usize)?;
        let place = mapping.record(RecordField::Lines).leaves.iter().position(|own| *own == leaf)?;
        paths.get(place).cloned()
    }
}

/// In the order of [`RECORD_FIELDS`].
const RECORD_VALUES: [RecordField; RECORD_FIELDS.len()] = [
    RecordField::OrderId,
    RecordField::CreatedAt,
    RecordField::UpdatedAt,
    RecordField::UserId,
    RecordField::Status,
    RecordField::Currency,
    RecordField::Lines,
];

/// In the order of [`LINE_FIELDS`].
const LINE_VALUES: [LineField; LINE_FIELDS.len()] =
    [LineField::Sku, LineField::ProductId, LineField::Quantity, LineField::UnitPrice, LineField::LineTotal];

/// The value of a field, and its path.
fn seen(field: &Field, paths: &[FieldPath], cells: &[Option<&str>]) -> Option<SeenValue> {
    let found = field.leaves.iter().zip(paths).enumerate().find_map(|(place, (leaf, path))| {
        let raw = cells.get(*leaf).copied().flatten()?;
        let text = field.held_at(place, raw)?.into_text().map_or_else(|| raw.to_owned(), Cow::into_owned);
        Some(SeenValue { path: Some(path.clone()), text })
    });
    found.or_else(|| match field.default() {
        Scalar::Missing => None,
        value => value.into_text().map(|text| SeenValue { path: None, text: text.into_owned() }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::orders_profile;

    /// The places of the lines of a record, and the value of the first one's sku with its path.
    fn looked(profile: &str, record: &str) -> (Vec<(SeenLines, String)>, Option<SeenValue>) {
        let profile = orders_profile(&format!("[orders]\n{profile}")).unwrap();
        let viewer = RecordViewer::new(&Mapping { profile: Some(&profile), ..Mapping::default() });
        let seen = viewer.look(record.as_bytes()).unwrap();
        let sku = seen.lines.first().and_then(|line| line.fields.first().cloned().flatten());
        (seen.lines.into_iter().map(|line| (line.from, line.text.to_owned())).collect(), sku)
    }

    fn at(path: &str, text: &str) -> (SeenLines, String) {
        (SeenLines::At(path.parse().unwrap()), text.to_owned())
    }

    #[test]
    fn lines_are_those_that_a_run_takes() {
        assert_eq!(looked("", r#"{"items":[],"products":[1, {"sku": 2}]}"#).0, [at("products", "1"), at("products", r#"{"sku": 2}"#)]);
        assert!(looked("", r#"{"items":{"sku":1},"products":[1]}"#).0.is_empty(), "as in a run, a mistake that no other list makes good");
        let all = "fields.lines = { all = ['a.*.items', 'b'] }";
        let record = r#"{"a":[{"items":[1]},{"items":[2,3]}],"b":[4]}"#;
        assert_eq!(looked(all, record).0, [at("a.*.items", "1"), at("a.*.items", "2"), at("a.*.items", "3"), at("b", "4")]);
        let itself = r#"{"sku":"x"}"#;
        assert_eq!(looked("fields.lines = '.'", itself).0, [(SeenLines::Record, itself.to_owned())]);
        let object = "fields.lines = { path = 'l.i', object = 'line' }";
        assert_eq!(looked(object, r#"{"l":{"i":{"sku":1}}}"#).0, [at("l.i", r#"{"sku":1}"#)]);
        assert!(looked("fields.lines = 'l'", r#"{"l":{"sku":1}}"#).0.is_empty());
        let skip = "skip_lines = [{ path = 'sku', equals = 'x' }]";
        assert_eq!(looked(skip, r#"{"items":[{"sku":"x"},{"sku":"y"}]}"#).0, [at("items", r#"{"sku":"y"}"#)]);
    }

    #[test]
    fn values_are_those_that_a_run_takes() {
        let sku = |profile: &str, line: &str| looked(profile, &format!(r#"{{"items":[{line}]}}"#)).1;
        let value = |path: Option<&str>, text: &str| Some(SeenValue { path: path.map(|path| path.parse().unwrap()), text: text.into() });
        assert_eq!(sku("", r#"{"sku":" ","product_id":7,"id":8}"#), value(Some("product_id"), "7"));
        assert_eq!(sku("line_fields.sku = { path = 'a', missing = [0], default = 'd' }", r#"{"a":0}"#), value(None, "d"));
        assert_eq!(sku("line_fields.sku = { path = 'a', map = { 1 = 'one' } }", r#"{"a":1}"#), value(Some("a"), "one"));
        assert_eq!(sku("", r#"{"price":1}"#), None);
    }

    #[test]
    fn a_record_that_a_run_leaves_out_is_not_seen() {
        let profile = orders_profile("[orders]\nskip = [{ path = 'test' }]").unwrap();
        let viewer = RecordViewer::new(&Mapping { profile: Some(&profile), ..Mapping::default() });
        for record in [&b"7"[..], b"{", br#"{"test":1,"items":[1]}"#] {
            assert!(viewer.look(record).is_none(), "{}", String::from_utf8_lossy(record));
        }
    }
}
