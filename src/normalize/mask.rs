//! Masks of personal data: what stands in the layer in place of a value, and in the records that quarantine keeps.
//!
//! Which columns are masked is `settings`'. Nothing behind `normalize` sees a masked value.

use std::{borrow::Cow, mem};

use ring::hmac;
use serde_json::value::RawValue;

use super::{
    fields::{Field, PathTrie},
    mapping::Mapping,
    read_paths::ReadPaths,
    scalar::Scalar,
};
use crate::{
    model::{DIM_USER, FieldPath, Level, Pairs, WILDCARD, counted},
    settings::{ColumnValue, FieldRule, Mask, Masks, Profile, Secret},
};

/// A document that is nested deeper is not masked: its record is withheld, and its cell stays empty.
const DEEPEST: usize = 128;

/// Stands before an HMAC in quarantine.
const MARK: &str = "hmac:";

/// The letters of an HMAC-SHA-256.
const HEX_LENGTH: usize = 64;

/// Where records come from, which decides whether their values may be masked already.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum RecordsOf {
    /// A source: no value is masked.
    #[default]
    Source,
    /// A quarantine: its values are masked, if they were when it was written.
    Quarantine,
}

/// How the values of one column are masked.
#[derive(Clone)]
pub(super) struct ValueMask {
    kind: Kind,
    records: RecordsOf,
}

#[derive(Clone)]
enum Kind {
    /// Without a key there is no value.
    Hmac(Option<Box<hmac::Key>>),
    Domain,
    Omit,
}

impl ValueMask {
    /// The mask of a column; `None` if it has none.
    pub(super) fn of(masks: &Masks, column: &str, records: RecordsOf) -> Option<ValueMask> {
        Some(ValueMask::new(masks.of(column)?, masks.key(), records))
    }

    fn new(mask: Mask, key: Option<&Secret>, records: RecordsOf) -> ValueMask {
        let kind = match mask {
            Mask::Hmac => Kind::Hmac(key.map(|key| Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes())))),
            Mask::Domain => Kind::Domain,
            Mask::Omit => Kind::Omit,
        };
        ValueMask { kind, records }
    }

    /// Whether no value stays.
    pub(super) fn omits(&self) -> bool {
        matches!(self.kind, Kind::Omit)
    }

    /// What stands in the layer in place of a value.
    pub(super) fn masked(&self, text: &str) -> Option<String> {
        match &self.kind {
            Kind::Hmac(key) => match (self.marked_before(text), key) {
                (Some(hex), _) => Some(hex.to_owned()),
                (None, Some(key)) => Some(hex(hmac::sign(key, text.as_bytes()).as_ref())),
                (None, None) => None,
            },
            Kind::Domain => domain(text).map(str::to_owned),
            Kind::Omit => None,
        }
    }

    /// What stands in quarantine in place of a value. A replay makes the same of it as of the value.
    fn marked(&self, text: &str) -> Option<String> {
        let masked = self.masked(text)?;
        match self.kind {
            Kind::Hmac(_) => Some(format!("{MARK}{masked}")),
            Kind::Domain => Some(format!("@{masked}")),
            Kind::Omit => None,
        }
    }

    /// The HMAC of a value that quarantine has kept masked.
    fn marked_before<'t>(&self, text: &'t str) -> Option<&'t str> {
        let is_hex = |hex: &&str| hex.len() == HEX_LENGTH && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match self.records {
            RecordsOf::Source => None,
            RecordsOf::Quarantine => text.strip_prefix(MARK).filter(is_hex),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// What follows the last `@`; `None` if nothing does.
fn domain(text: &str) -> Option<&str> {
    let (_, domain) = text.rsplit_once('@')?;
    Some(domain.trim()).filter(|domain| !domain.is_empty())
}

/// In which form masked values stand in a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As in the layer.
    Layer,
    /// As in quarantine.
    Quarantine,
}

/// Masks values within JSON documents: at the places of masked columns, and under keys with their names.
pub(super) struct DocumentMasks {
    form: Form,
    placed: Vec<PlacedMask>,
    named: Vec<NamedMask>,
    /// What the mapping reads for other columns: their values stay.
    reads: ReadPaths,
}

/// The mask of the values at a path.
struct PlacedMask {
    path: FieldPath,
    /// What values of the source mean.
    field: Field,
    /// An id: `7.0` is `7`.
    is_id: bool,
    mask: ValueMask,
}

/// The mask of the values under a key.
struct NamedMask {
    /// In lower case.
    name: String,
    mask: ValueMask,
}

impl DocumentMasks {
    /// The masks of the records that a mapping reads, for quarantine; `None` if no column is masked.
    pub(super) fn of_records(mapping: &Mapping<'_>) -> Option<DocumentMasks> {
        let masks = mapping.masks.filter(|masks| !masks.is_empty())?;
        // A condition to skip a record is no reason to keep a value.
        let profile = mapping.profile.map(|profile| Profile { skip: Vec::new(), skip_lines: Vec::new(), ..profile.clone() });
        let reads = ReadPaths::of(&Mapping { profile: profile.as_ref(), ..*mapping });
        let field = |rule: &FieldRule| PathTrie::default().field(&FieldRule { paths: Vec::new(), ..rule.clone() });
        let mut placed = Vec::new();
        if let Some(mask) = ValueMask::of(masks, DIM_USER.key(), mapping.records) {
            let rule = mapping.profile.and_then(|profile| profile.fields.get(DIM_USER.key())).cloned().unwrap_or_default();
            let paths = mapping.paths_of(Level::Record, DIM_USER.key());
            placed.extend(paths.into_iter().map(|path| PlacedMask { path, field: field(&rule), is_id: true, mask: mask.clone() }));
        }
        for column in mapping.columns.iter().filter(|column| column.value == ColumnValue::First) {
            let Some(mask) = ValueMask::of(masks, &column.name, mapping.records) else { continue };
            let paths = column.rule.paths.iter().flat_map(|path| match column.level {
                Level::Record => vec![path.clone()],
                Level::Line => reads.in_lines(path),
            });
            placed.extend(paths.map(|path| PlacedMask { path, field: field(&column.rule), is_id: false, mask: mask.clone() }));
        }
        Some(DocumentMasks { form: Form::Quarantine, placed, named: named(masks, mapping.records), reads })
    }

    /// The masks of the documents in cells of the users; `None` if no column is masked.
    pub(super) fn of_cells(masks: &Masks) -> Option<DocumentMasks> {
        let named = named(masks, RecordsOf::Source);
        (!named.is_empty()).then(|| DocumentMasks { form: Form::Layer, placed: Vec::new(), named, reads: ReadPaths::default() })
    }

    /// A record with masked values. What can't be masked is withheld: it is no JSON object, or nested too deep.
    pub(super) fn record(&self, record: &[u8]) -> Vec<u8> {
        let text = str::from_utf8(record).ok().map(str::trim_ascii_start).filter(|text| text.starts_with('{'));
        match text.and_then(|text| self.document(text, Vec::new())) {
            Some(masked) => masked.into_bytes(),
            None => format!("\"withheld, since it can't be masked: {}\"", counted(record.len() as u64, "byte")).into_bytes(),
        }
    }

    /// The JSON of a cell with masked values; `None` if it is nested too deep.
    pub(super) fn cell(&self, column: &str, json: &str) -> Option<String> {
        self.document(json, vec![Step::Key(column.to_owned())])
    }

    fn document(&self, json: &str, steps: Vec<Step>) -> Option<String> {
        let raw = serde_json::from_str::<&RawValue>(json).ok()?;
        let mut walk = Walk { masks: self, steps, masked: String::with_capacity(json.len()) };
        walk.value(raw.get(), None)?;
        Some(walk.masked)
    }
}

fn named(masks: &Masks, records: RecordsOf) -> Vec<NamedMask> {
    let mask = |mask| ValueMask::new(mask, masks.key(), records);
    masks.columns().iter().map(|column| NamedMask { name: column.name.clone(), mask: mask(column.mask) }).collect()
}

impl PlacedMask {
    /// The value as JSON.
    fn masked(&self, raw: &str, form: Form) -> String {
        let Some(value) = self.field.held(raw) else { return json(None) };
        let id = if self.is_id { value.clone().into_id() } else { None };
        json(id.or_else(|| value.into_text()).and_then(|text| in_form(&self.mask, form, &text)).as_deref())
    }
}

fn in_form(mask: &ValueMask, form: Form, text: &str) -> Option<String> {
    match form {
        Form::Layer => mask.masked(text),
        Form::Quarantine => mask.marked(text),
    }
}

/// A text as JSON; `null` for none.
fn json(text: Option<&str>) -> String {
    serde_json::to_string(&text).unwrap_or_else(|_| "null".to_owned())
}

/// A step on the way to a value.
enum Step {
    Key(String),
    Element(usize),
}

/// Writes a document again, value by value. Numbers keep their digits.
struct Walk<'m> {
    masks: &'m DocumentMasks,
    /// The way to the value at hand.
    steps: Vec<Step>,
    masked: String,
}

impl<'m> Walk<'m> {
    /// Writes a value. `within` is the mask of what it lies in. `None` if it is nested too deep.
    fn value(&mut self, raw: &str, within: Option<&'m ValueMask>) -> Option<()> {
        match (raw.as_bytes().first(), within) {
            (Some(b'{' | b'['), _) if self.steps.len() >= DEEPEST => return None,
            (Some(b'{'), _) => return self.object(raw, within),
            (Some(b'['), _) => return self.list(raw, within),
            (Some(b'"'), None) if self.written_out(raw)? => {}
            (_, None) => self.masked.push_str(raw),
            (_, Some(mask)) => {
                let text = Scalar::of(raw).into_text();
                self.masked.push_str(&json(text.and_then(|text| in_form(mask, self.masks.form, &text)).as_deref()));
            }
        }
        Some(())
    }

    /// Writes a text that is itself a JSON document, with what is masked in it. Returns whether it is one. `None` if it is nested too
    /// deep.
    fn written_out(&mut self, raw: &str) -> Option<bool> {
        let Ok(text) = serde_json::from_str::<Cow<'_, str>>(raw) else { return Some(false) };
        if !text.trim_start().starts_with(['{', '[']) {
            return Some(false);
        }
        let Ok(document) = serde_json::from_str::<&RawValue>(&text) else { return Some(false) };
        if self.steps.len() >= DEEPEST {
            return None;
        }
        let before = mem::take(&mut self.masked);
        self.value(document.get(), None)?;
        let masked = mem::replace(&mut self.masked, before);
        self.masked.push_str(&json(Some(&masked)));
        Some(true)
    }

    fn object(&mut self, raw: &str, within: Option<&'m ValueMask>) -> Option<()> {
        let pairs = serde_json::from_str::<Pairs<'_>>(raw).ok()?;
        self.masked.push('{');
        for (place, (key, value)) in pairs.0.iter().enumerate() {
            if place > 0 {
                self.masked.push(',');
            }
            self.masked.push_str(&serde_json::to_string(key).ok()?);
            self.masked.push(':');
            self.steps.push(Step::Key(key.clone().into_owned()));
            self.placed_value(value.get(), within)?;
            self.steps.pop();
        }
        self.masked.push('}');
        Some(())
    }

    fn list(&mut self, raw: &str, within: Option<&'m ValueMask>) -> Option<()> {
        let elements = serde_json::from_str::<Vec<&RawValue>>(raw).ok()?;
        self.masked.push('[');
        for (place, element) in elements.into_iter().enumerate() {
            if place > 0 {
                self.masked.push(',');
            }
            self.steps.push(Step::Element(place));
            self.placed_value(element.get(), within)?;
            self.steps.pop();
        }
        self.masked.push(']');
        Some(())
    }

    /// Writes the value at the steps, by its own mask or by that of what it lies in.
    fn placed_value(&mut self, raw: &str, within: Option<&'m ValueMask>) -> Option<()> {
        let masks = self.masks;
        match masks.placed.iter().find(|placed| self.is_at(&placed.path)) {
            Some(placed) if raw.starts_with(['{', '[']) => self.value(raw, Some(&placed.mask)),
            Some(placed) => {
                self.masked.push_str(&placed.masked(raw, masks.form));
                Some(())
            }
            None => self.value(raw, self.named().or(within).or_else(|| self.around(raw)).filter(|_| !self.is_read())),
        }
    }

    /// The mask of what should lie within the value, where it is not of the shape that the paths expect: a text or a list in place of
    /// an object. It may hold the same, written otherwise. Where several should lie there, one that omits comes first.
    fn around(&self, raw: &str) -> Option<&'m ValueMask> {
        let is_expected = |next: &String| match raw.as_bytes().first() {
            Some(b'{') => true,
            Some(b'[') => next == WILDCARD || next.parse::<usize>().is_ok(),
            _ => false,
        };
        let within = self.masks.placed.iter().filter(|placed| {
            let steps = placed.path.steps();
            steps.get(self.steps.len()).is_some_and(|next| !is_expected(next)) && self.fits(&steps[..self.steps.len()])
        });
        within.min_by_key(|placed| !placed.mask.omits()).map(|placed| &placed.mask)
    }

    fn is_at(&self, path: &FieldPath) -> bool {
        path.steps().len() == self.steps.len() && self.fits(path.steps())
    }

    /// Whether the steps of a path are those to the value, as far as they go.
    fn fits(&self, path: &[String]) -> bool {
        let fits = |(step, own): (&String, &Step)| match own {
            Step::Key(key) => step == key,
            Step::Element(place) => step == WILDCARD || *step == place.to_string(),
        };
        path.iter().zip(&self.steps).all(fits)
    }

    /// The mask of the column that has the name of the key, or of the keys joined: `customer_email` is `customer.email`.
    fn named(&self) -> Option<&'m ValueMask> {
        let Some(Step::Key(last)) = self.steps.last() else { return None };
        let keys: Vec<&str> = self.steps.iter().filter_map(Step::key).collect();
        let (last, joined) = (last.to_lowercase(), keys.join("_").to_lowercase());
        self.masks.named.iter().find(|named| named.name == last || named.name == joined).map(|named| &named.mask)
    }

    /// Whether the mapping reads the value for a column that is not masked.
    fn is_read(&self) -> bool {
        self.masks.reads.paths().iter().any(|path| self.is_at(path))
    }
}

impl Step {
    fn key(&self) -> Option<&str> {
        match self {
            Step::Key(key) => Some(key),
            Step::Element(_) => None,
        }
    }
}

/// The value of a column, as the layer stores it.
pub(super) fn masked_value<'a>(mask: Option<&ValueMask>, value: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    match mask {
        None => value,
        Some(mask) => value.and_then(|text| mask.masked(&text)).map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{CellTypes, ExtraType, FactRows, RawRecord, Window},
        normalize::{MemberNormalizer, RecordNormalizer},
        settings::{FactColumn, Limits, Shop, Skus, orders_profile},
    };

    const KEY: &str = "unit-test-key-of-masks-0123456789abcdef";

    fn mask(mask: Mask, records: RecordsOf) -> ValueMask {
        ValueMask::new(mask, Some(&Secret::new(KEY.to_owned())), records)
    }

    fn hmac_of(text: &str) -> String {
        mask(Mask::Hmac, RecordsOf::Source).masked(text).unwrap()
    }

    #[test]
    fn an_hmac_is_that_of_rfc_4231() {
        let jefe = ValueMask::new(Mask::Hmac, Some(&Secret::new("Jefe".to_owned())), RecordsOf::Source);
        assert_eq!(
            jefe.masked("what do ya want for nothing?").unwrap(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(ValueMask::new(Mask::Hmac, None, RecordsOf::Source).masked("a"), None, "without a key, no value");
    }

    #[test]
    fn a_domain_follows_the_last_at() {
        let domain = |text| mask(Mask::Domain, RecordsOf::Source).masked(text);
        assert_eq!(domain("\"a@b\"@c.example").as_deref(), Some("c.example"));
        assert_eq!((domain("no address"), domain("a@ ")), (None, None));
        assert_eq!(mask(Mask::Omit, RecordsOf::Source).masked("a@b"), None);
    }

    #[test]
    fn what_quarantine_keeps_is_masked_once() {
        for kind in [Mask::Hmac, Mask::Domain] {
            let (source, replay) = (mask(kind, RecordsOf::Source), mask(kind, RecordsOf::Quarantine));
            let kept = source.marked("a@b.example").unwrap();
            assert_ne!(Some(kept.clone()), source.masked("a@b.example"));
            assert_eq!((replay.masked(&kept), replay.marked(&kept)), (source.masked("a@b.example"), Some(kept)));
            assert_eq!(replay.masked("a@b.example"), source.masked("a@b.example"), "a value of before the mask");
        }
        let forged = format!("hmac:{}", "0".repeat(64));
        assert_ne!(mask(Mask::Hmac, RecordsOf::Source).masked(&forged).unwrap(), "0".repeat(64), "a source can't name an HMAC");
    }

    fn kept(profile: &str, columns: &[FactColumn], masks: &Masks, record: &str) -> String {
        let profile = orders_profile(&format!("[orders]\n{profile}")).unwrap();
        let mapping = Mapping { profile: Some(&profile), columns, masks: Some(masks), ..Mapping::default() };
        String::from_utf8(DocumentMasks::of_records(&mapping).unwrap().record(record.as_bytes())).unwrap()
    }

    #[test]
    fn a_kept_record_is_masked_where_its_columns_stand_and_under_their_names() {
        let masks =
            Masks::of_toml("[columns]\nuser_id.mask = 'hmac'\nEmail.mask = 'domain'\nship_phone.mask = 'omit'\nname.mask = 'omit'", KEY);
        let (seven, mail) = (hmac_of("7"), "\"@b.example\"");
        for (profile, record, expected) in [
            ("", r#"{"userId":7.0,"n":1.10}"#, format!(r#"{{"userId":"hmac:{seven}","n":1.10}}"#)),
            (
                "",
                r#" {"customer" : {"id":"7","EMAIL":"a@b.example"}}"#,
                format!(r#"{{"customer":{{"id":"hmac:{seven}","EMAIL":{mail}}}}}"#),
            ),
            (
                "",
                r#"{"user_id":null,"l":[{"email":["a@b.example",{"x":"c@b.example"}]}]}"#,
                format!(r#"{{"user_id":null,"l":[{{"email":[{mail},{{"x":{mail}}}]}}]}}"#),
            ),
            ("", r#"{"ship":{"phone":"1"},"phone":"2"}"#, r#"{"ship":{"phone":null},"phone":"2"}"#.to_owned()),
            (
                "fields.user_id = { path = 'c', after = '/' }",
                r#"{"c":"gid://x/7","user_id":"9"}"#,
                format!(r#"{{"c":"hmac:{seven}","user_id":"hmac:{}"}}"#, hmac_of("9")),
            ),
            ("line_fields.sku = 'name'", r#"{"name":"Ann","items":[{"name":"S"}]}"#, r#"{"name":null,"items":[{"name":"S"}]}"#.to_owned()),
            // A text or a list where an object is expected, and a document that is written out as a text.
            ("", r#"{"customer":"Ann"}"#, format!(r#"{{"customer":"hmac:{}"}}"#, hmac_of("Ann"))),
            (
                "",
                r#"{"customer":[{"id":"7","x":"8"}]}"#,
                format!(r#"{{"customer":[{{"id":"hmac:{seven}","x":"hmac:{}"}}]}}"#, hmac_of("8")),
            ),
            ("fields.user_id = 'buyer.mail'", r#"{"buyer":"Ann"}"#, format!(r#"{{"buyer":"hmac:{}"}}"#, hmac_of("Ann"))),
            (
                "",
                r#"{"x":"{\"email\":\"a@b.example\",\"n\":1}","y":"{no"}"#,
                r#"{"x":"{\"email\":\"@b.example\",\"n\":1}","y":"{no"}"#.to_owned(),
            ),
            ("fields.status = 'customer'", r#"{"customer":"Ann"}"#, r#"{"customer":"Ann"}"#.to_owned()),
            ("skip = [{ path = 'email', equals = 'x' }]", r#"{"email":"a@b.example"}"#, format!(r#"{{"email":{mail}}}"#)),
        ] {
            assert_eq!(kept(profile, &[], &masks, record), expected);
        }
        for record in [
            "\"a@b.example\"",
            "[{\"email\":\"a@b.example\"}]",
            "{\"email\":\"a@b.example\"",
            &format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200)),
        ] {
            let kept = kept("", &[], &masks, record);
            assert!(kept.starts_with("\"withheld") && !kept.contains("b.example"), "{kept}");
        }
    }

    #[test]
    fn facts_carry_masked_users_and_columns() {
        let column = |name: &str, level| FactColumn {
            name: name.to_owned(),
            level,
            rule: FieldRule { paths: vec![name.parse().unwrap()], ..FieldRule::default() },
            kind: ExtraType::Text,
            value: ColumnValue::First,
        };
        let columns = [column("mail", Level::Record), column("gift", Level::Line)];
        let masks = Masks::of_toml("[columns]\nuser_id.mask = 'hmac'\nmail.mask = 'domain'\ngift.mask = 'omit'", KEY);
        let shop = Shop { name: "de".into(), skus: Skus::OfCompany };
        let mapping = Mapping { columns: &columns, masks: Some(&masks), shop: Some(&shop), ..Mapping::default() };
        let record = r#"{"id":1,"date":"2026-01-01","user_id":7,"mail":"a@b.example","items":[{"sku":"S","gift":"Ann"},{"gift":"Bob"}]}"#;
        let batch = RecordNormalizer::configured(&mapping, Window::default()).normalize([record.as_bytes()].into_iter());
        assert_eq!((batch.counts.values_unreadable, batch.drops.len()), (0, 1), "a masked value is not an invalid one");
        let expected =
            format!(r#""user_id":"hmac:{}","mail":"@b.example","items":[{{"sku":"S","gift":null}},{{"gift":null}}]"#, hmac_of("7"));
        assert!(String::from_utf8_lossy(&batch.drops[0].record).contains(&expected));
        let frame = batch.rows.finish().unwrap();
        assert_eq!(FactRows::new(&frame).unwrap().line(0).user_id, Some(format!("de:{}", hmac_of("7")).as_str()));
    }

    /// The rows of users as `name=text`, without empty cells.
    fn users(profile: &str, toml: &str, records: &[&str], cells: CellTypes) -> Vec<String> {
        let profile = crate::settings::profile_of(crate::settings::SourceKind::Users, profile).unwrap();
        let mut normalizer = MemberNormalizer::new(DIM_USER, &profile, Limits::default()).masked(&Masks::of_toml(toml, KEY));
        normalizer.records(records.iter().map(|record| RawRecord::from(record.as_bytes())), cells);
        let table = normalizer.finish().table;
        let cell = |row, (column, name): (usize, &String)| Some(format!("{name}={}", table.cell(row, column)?));
        (0..table.height())
            .map(|row| table.names().iter().enumerate().filter_map(|column| cell(row, column)).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn users_are_masked_with_all_columns_of_the_same_value() {
        let toml = "[columns]\nemail.mask = 'domain'\nname.mask = 'omit'\nuser_id.mask = 'hmac'\ncreated_at.mask = 'omit'";
        let record = r#"{"id":7,"user_id":"7","username":"a","name":"b","email":"a@b.example","created_at":"2026-01-01","l":[{"email":"c@d.example"}]}"#;
        let seven = hmac_of("7");
        assert_eq!(
            users("", toml, &[record], CellTypes::Typed),
            [format!(r#"user_id={seven} email=b.example id={seven} l=[{{"email":"d.example"}}]"#)]
        );
        // A column that the profile makes, and the column of the source that it is made of.
        let profile = "fields.email = 'contact.mail'";
        let record = r#"{"id":1,"contact":{"mail":"a@b.example"}}"#;
        for masked in ["email", "contact_mail"] {
            let toml = format!("[columns.{masked}]\nmask = 'domain'");
            assert_eq!(users(profile, &toml, &[record], CellTypes::Typed), ["user_id=1 email=b.example contact_mail=b.example"]);
        }
    }

    #[test]
    fn what_lies_within_a_masked_object_is_masked_and_equal_keys_elsewhere_are_not() {
        let toml = "[columns]\nemail.mask = 'domain'\nname.mask = 'omit'";
        let record = r#"{"id":7,"email":{"primary":"a@b.example","more":{"x":"c@d.example"}},"name":{"first":"Ann"},"email_note":"n","name_tags":{"x":"t"},"billing":{"email":"e@f.example"}}"#;
        assert_eq!(
            users("", toml, &[record], CellTypes::Typed),
            ["user_id=7 email_primary=b.example email_more_x=d.example email_note=n name_tags_x=t billing_email=e@f.example"]
        );
    }

    #[test]
    fn ids_of_a_csv_are_masked_once_they_are_whole() {
        let toml = "[columns.user_id]\nmask = 'hmac'";
        assert_eq!(users("", toml, &[r#"{"id":"7.0"}"#], CellTypes::Text), [format!("user_id={}", hmac_of("7"))]);
    }
}
