//! The paths of each field: the default paths (contract, Orders), or those that the profile of a source sets instead.

use std::collections::BTreeMap;

use super::{
    amount::amount,
    fields::{Field, PathTrie},
    mask::{RecordsOf, ValueMask},
    raw_json::{self, Found},
    refunds::RefundFields,
    scalar::Scalar,
};
use crate::{
    model::{
        DIM_USER, ExtraType, FactSchema, FieldPath, Level, MoneyError, ORDER_AMOUNTS, OrderAmounts, ParsedMoney, QuantityType, WILDCARD,
    },
    settings::{
        ASKED_LINES, AmountRule, ColumnValue, Cursor, FactColumn, FieldRule, LINE_CURRENCY, Limits, Masks, OrderTotalRules, Profile,
        RepeatedSku, Shop, SkipCandidate, SkipRule, SkipValues, WhichAmounts,
    },
};

/// A field of a record, in the order of [`RECORD_FIELDS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecordField {
    OrderId,
    CreatedAt,
    UpdatedAt,
    UserId,
    Status,
    Currency,
    Lines,
}

/// A field of a line, in the order of [`LINE_FIELDS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LineField {
    Sku,
    ProductId,
    Quantity,
    UnitPrice,
    LineTotal,
}

/// The default paths of each field of a record, in the order in which they are tried (contract, Orders).
pub const RECORD_FIELDS: [(&str, &[&str]); 7] = [
    ("order_id", &["order_id", "id"]),
    ("created_at", &["created_at", "date"]),
    ("updated_at", &["updated_at"]),
    ("user_id", &["user_id", "userId", "user.id", "customer.id"]),
    ("status", &["status"]),
    ("currency", &["currency"]),
    ("lines", &["items", "line_items", "products"]),
];

/// The default paths of each field of a line, in the order in which they are tried (contract, Orders).
pub const LINE_FIELDS: [(&str, &[&str]); 5] = [
    ("sku", &["sku", "product_id", "productId", "id"]),
    ("product_id", &["product_id", "productId"]),
    ("quantity", &["quantity", "qty"]),
    ("unit_price", &["price", "unit_price"]),
    ("line_total", &[]),
];

/// The configuration of a normalizer.
#[derive(Clone, Copy, Default)]
pub struct Mapping<'a> {
    /// The profile of the source; `None` is the default profile.
    pub profile: Option<&'a Profile>,
    /// The shop whose orders these are; `None` in a layer of one source.
    pub shop: Option<&'a Shop>,
    /// The extra columns of the fact table.
    pub columns: &'a [FactColumn],
    /// The timestamp that the window applies to.
    pub cursor: Cursor,
    /// How to treat a sku that is on several lines of a record.
    pub repeated_sku: RepeatedSku,
    /// The type of quantities.
    pub quantity: QuantityType,
    /// The size and depth limits of a record.
    pub limits: Limits,
    /// The columns that are masked.
    pub masks: Option<&'a Masks>,
    /// Where the records come from.
    pub records: RecordsOf,
}

/// A condition to skip a record or a line.
pub(super) struct SkipField {
    field: Field,
    values: SkipValues,
}

impl SkipField {
    pub(super) fn compile(rule: &SkipRule, trie: &mut PathTrie) -> SkipField {
        let field = trie.field(&FieldRule { paths: vec![rule.path.clone()], ..FieldRule::default() });
        SkipField { field, values: rule.values.clone() }
    }

    /// Whether the values of a record or a line fulfil it.
    pub(super) fn applies(&self, cells: &[Option<&str>]) -> bool {
        is_skipped(&self.values, self.field.value(cells))
    }
}

/// Whether a value fulfils a condition.
fn is_skipped(values: &SkipValues, value: Scalar<'_>) -> bool {
    let text = match value {
        Scalar::Missing => return values.take(SkipCandidate::Missing),
        value => value.into_text(),
    };
    values.take(text.as_deref().map_or(SkipCandidate::Other, SkipCandidate::Text))
}

/// An amount: one, or the sum of those in every element of a list.
pub(super) struct SummedField {
    /// How each amount is written.
    amount: Field,
    places: Vec<SummedPlace>,
    /// Elements of the innermost lists that are left out.
    skip: Vec<SkipRule>,
}

/// Where such amounts are.
struct SummedPlace {
    leaf: usize,
    /// The paths within the value at the leaf, outermost first; each leads into every element of a list. Empty: the value itself.
    within: Vec<FieldPath>,
}

impl SummedField {
    pub(super) fn compile(rule: &FieldRule, trie: &mut PathTrie) -> SummedField {
        let amount = trie.field(&FieldRule { paths: Vec::new(), ..rule.clone() });
        let place = |path: &FieldPath| {
            let mut parts = path.steps().split(|step| step == WILDCARD).map(FieldPath::of_steps);
            let leaf = trie.leaf(&parts.next()?)?;
            Some(SummedPlace { leaf, within: parts.collect() })
        };
        SummedField { amount, places: rule.paths.iter().filter_map(place).collect(), skip: Vec::new() }
    }

    /// The same, without the elements that fulfil one of these conditions.
    pub(super) fn without(self, skip: &[SkipRule]) -> SummedField {
        SummedField { skip: skip.to_vec(), ..self }
    }

    /// The sum of the first place that has some, or else the default; `None` where there is none. It is rounded if one of its amounts is.
    ///
    /// # Errors
    /// An amount that is not a number, or does not fit.
    pub(super) fn sum(&self, cells: &[Option<&str>], currency: Option<&str>) -> Result<Option<ParsedMoney>, MoneyError> {
        for place in &self.places {
            let Some(raw) = cells.get(place.leaf).copied().flatten() else { continue };
            let mut values = vec![raw];
            for (level, within) in (1..).zip(&place.within) {
                let skip = if level == place.within.len() { self.skip.as_slice() } else { &[] };
                let inner: Result<Vec<_>, _> = values.into_iter().map(|raw| amounts_in(raw, within, skip)).collect();
                values = inner?.concat();
            }
            let amounts = values.into_iter().filter_map(|raw| self.amount.held(raw));
            let sum = ParsedMoney::sum(amounts.map(|value| amount(&self.amount, &value, cells, currency)))?;
            if sum.is_some() {
                return Ok(sum);
            }
        }
        amount(&self.amount, &self.amount.default(), cells, currency)
    }
}

/// The fields of each of [`ORDER_AMOUNTS`], which are added up; none where the profile has none.
pub(super) struct TotalsFields([Vec<SummedField>; ORDER_AMOUNTS.len()]);

impl TotalsFields {
    fn compile(rules: &OrderTotalRules, trie: &mut PathTrie) -> TotalsFields {
        let mut fields = |rule: &AmountRule| match rule.which {
            WhichAmounts::First => vec![SummedField::compile(&rule.field, trie)],
            WhichAmounts::All => {
                let of_path = |path: &FieldPath| FieldRule { paths: vec![path.clone()], ..rule.field.clone() };
                rule.field.paths.iter().map(|path| SummedField::compile(&of_path(path), trie)).collect()
            }
        };
        TotalsFields(ORDER_AMOUNTS.map(|name| rules.amounts.get(name).map(&mut fields).unwrap_or_default()))
    }

    /// The amounts of a record, and how many of them are present and no amount.
    pub(super) fn amounts(&self, cells: &[Option<&str>], currency: Option<&str>) -> ReadAmounts {
        let mut read = ReadAmounts { amounts: OrderAmounts::default(), unreadable: 0 };
        for (amount, fields) in read.amounts.iter_mut().zip(&self.0) {
            match ParsedMoney::sum(fields.iter().map(|field| field.sum(cells, currency))) {
                Ok(sum) => *amount = sum.map(|sum| sum.money),
                Err(MoneyError::NotANumber | MoneyError::OutOfRange) => read.unreadable += 1,
            }
        }
        read
    }
}

/// What a record says of the totals of its order.
pub(super) struct ReadAmounts {
    pub(super) amounts: OrderAmounts,
    /// Amounts that are present and can't be read.
    pub(super) unreadable: u32,
}

/// The raw values at a path in every element of a list, but for those that are left out; none of null. What is no such
/// list, and what has another shape on the way, is no amount.
fn amounts_in<'a>(raw: &'a str, path: &FieldPath, skip: &[SkipRule]) -> Result<Vec<&'a str>, MoneyError> {
    if raw == "null" {
        return Ok(Vec::new());
    }
    let elements = raw_json::elements(raw).ok_or(MoneyError::NotANumber)?;
    let is_element = |element: &&str| path.steps().is_empty() || element.starts_with(['{', 'n']);
    if !elements.iter().all(is_element) {
        return Err(MoneyError::NotANumber);
    }
    let is_left_out = |element: &&str| {
        skip.iter().any(|rule| is_skipped(&rule.values, raw_json::at(element, &rule.path).map_or(Scalar::Missing, Scalar::of)))
    };
    let value = |element: &'a str| match raw_json::find(element, path) {
        Found::Value(value) => Some(Ok(value)),
        Found::Missing => None,
        Found::OtherShape => Some(Err(MoneyError::NotANumber)),
    };
    elements.into_iter().filter(|element| !is_left_out(element)).filter_map(value).collect()
}

/// An extra column of the fact table.
pub(super) struct ExtraField {
    pub(super) level: Level,
    pub(super) value: ExtraValue,
}

/// How the value of an extra column is made.
pub(super) enum ExtraValue {
    /// The first value that is there.
    First { field: Field, kind: ExtraType, mask: Option<ValueMask> },
    /// A sum of amounts, DECIMAL(18,4).
    Sum(SummedField),
    /// The date of `created_at` in a zone.
    LocalDate(chrono_tz::Tz),
}

/// The fields of a record and of its lines, compiled.
pub(super) struct CompiledMapping {
    pub(super) record_trie: PathTrie,
    pub(super) line_trie: PathTrie,
    record: Vec<Field>,
    line: Vec<Field>,
    pub(super) skip: Vec<SkipField>,
    pub(super) skip_lines: Vec<SkipField>,
    pub(super) discount: Option<SummedField>,
    /// The currency of a line.
    pub(super) line_currency: Option<Field>,
    pub(super) totals: Option<TotalsFields>,
    pub(super) refunds: Option<RefundFields>,
    /// The id of a line that refunds name it by.
    pub(super) line_key: Option<Field>,
    pub(super) extra: Vec<ExtraField>,
    /// The mask of `user_id`.
    pub(super) user_mask: Option<ValueMask>,
    /// The leaf of lines that were asked for by a request of their own.
    pub(super) asked_lines: Option<usize>,
}

impl CompiledMapping {
    /// A field of the record.
    pub(super) fn record(&self, field: RecordField) -> &Field {
        &self.record[field as usize]
    }

    /// A field of the line.
    pub(super) fn line(&self, field: LineField) -> &Field {
        &self.line[field as usize]
    }
}

impl Mapping<'_> {
    /// The paths of a fixed field, in the order in which they are tried.
    pub fn paths_of(&self, level: Level, field: &str) -> Vec<FieldPath> {
        let fields: &[(&str, &[&str])] = match level {
            Level::Record => &RECORD_FIELDS,
            Level::Line => &LINE_FIELDS,
        };
        let own = self.profile.map(|profile| match level {
            Level::Record => &profile.fields,
            Level::Line => &profile.line_fields,
        });
        let by_default = || fields.iter().filter(|(name, _)| *name == field).flat_map(|(_, paths)| *paths);
        let paths: Vec<FieldPath> = match own.and_then(|own| own.get(field)) {
            Some(rule) => rule.paths.clone(),
            None => by_default().filter_map(|path| path.parse().ok()).collect(),
        };
        // As the trie has them: the whole document is no field.
        paths.into_iter().filter(|path| !path.steps().is_empty()).collect()
    }

    /// Compiles the rules of the fields, of the records to skip and of the extra columns.
    pub(super) fn compile(&self) -> CompiledMapping {
        let zone = self.profile.and_then(|profile| profile.zone);
        let trie = || PathTrie { zone, ..PathTrie::default() };
        let (mut record_trie, mut line_trie) = (trie(), trie());
        let own = |rules: fn(&Profile) -> &BTreeMap<String, FieldRule>| self.profile.map(rules);
        let record = fixed_fields(&RECORD_FIELDS, own(|profile| &profile.fields), &mut record_trie);
        let line = fixed_fields(&LINE_FIELDS, own(|profile| &profile.line_fields), &mut line_trie);
        let discount = self.profile.and_then(|profile| profile.line_fields.get("discount"));
        let discount = discount.map(|rule| SummedField::compile(rule, &mut line_trie));
        let line_currency = self.profile.and_then(|profile| profile.line_fields.get(LINE_CURRENCY));
        let line_currency = line_currency.map(|rule| line_trie.field(rule));
        let totals = self.profile.and_then(|profile| profile.totals.as_ref());
        let totals = totals.map(|rules| TotalsFields::compile(rules, &mut record_trie));
        let refunds = self.profile.and_then(|profile| profile.refunds.as_ref());
        let by_line = refunds.and_then(|rules| rules.lines.as_ref()?.by_line.as_ref());
        let line_key = by_line.map(|by_line| line_trie.field(&by_line.line));
        let refunds = refunds.map(|rules| RefundFields::compile(rules, &mut record_trie));
        let profile = || self.profile.into_iter();
        let skip = profile().flat_map(|profile| &profile.skip).map(|rule| SkipField::compile(rule, &mut record_trie)).collect();
        let skip_lines = profile().flat_map(|profile| &profile.skip_lines).map(|rule| SkipField::compile(rule, &mut line_trie)).collect();
        let mask = |column: &str| ValueMask::of(self.masks?, column, self.records);
        let extra_field = |column: &FactColumn| {
            let trie = if column.level == Level::Record { &mut record_trie } else { &mut line_trie };
            let value = match column.value {
                ColumnValue::First => ExtraValue::First { field: trie.field(&column.rule), kind: column.kind, mask: mask(&column.name) },
                ColumnValue::Sum => ExtraValue::Sum(SummedField::compile(&column.rule, trie)),
                ColumnValue::LocalDate(zone) => ExtraValue::LocalDate(zone),
            };
            ExtraField { level: column.level, value }
        };
        let extra = self.columns.iter().map(extra_field).collect();
        let asks = self.profile.is_some_and(|profile| profile.line_request.is_some());
        let asked_lines = if asks { record_trie.leaf(&FieldPath::root().child(ASKED_LINES)) } else { None };
        let user_mask = mask(DIM_USER.key());
        CompiledMapping {
            record_trie,
            line_trie,
            record,
            line,
            skip,
            skip_lines,
            discount,
            line_currency,
            totals,
            refunds,
            line_key,
            extra,
            user_mask,
            asked_lines,
        }
    }

    /// The schema of the rows.
    pub(super) fn schema(&self) -> FactSchema {
        crate::settings::schema_of(self.columns).with_quantity(self.quantity)
    }
}

/// The fixed fields, each with the rule of the profile or else the default paths.
fn fixed_fields(fields: &[(&str, &[&str])], own: Option<&BTreeMap<String, FieldRule>>, trie: &mut PathTrie) -> Vec<Field> {
    let rule = |name: &str, paths: &[&str]| {
        let by_default = || FieldRule { paths: paths.iter().filter_map(|path| path.parse().ok()).collect(), ..FieldRule::default() };
        own.and_then(|own| own.get(name)).cloned().unwrap_or_else(by_default)
    };
    fields.iter().map(|&(name, paths)| trie.field(&rule(name, paths))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_compares_numbers_by_value() {
        let zero = || vec!["0".to_owned()];
        for raw in ["0", "0.0", "\"0.00\"", "-0"] {
            assert!(!is_skipped(&SkipValues::AnyBut(zero()), Scalar::of(raw)), "{raw}");
            assert!(is_skipped(&SkipValues::OneOf(zero()), Scalar::of(raw)), "{raw}");
            assert!(!is_skipped(&SkipValues::NoneOf(zero()), Scalar::of(raw)), "{raw}");
        }
        for raw in ["1", "\"0x\"", "[]"] {
            assert!(is_skipped(&SkipValues::AnyBut(zero()), Scalar::of(raw)), "{raw}");
        }
    }

    #[test]
    fn the_enums_have_the_order_of_the_tables_of_paths() {
        let record = [
            (RecordField::OrderId, "order_id"),
            (RecordField::CreatedAt, "created_at"),
            (RecordField::UpdatedAt, "updated_at"),
            (RecordField::UserId, "user_id"),
            (RecordField::Status, "status"),
            (RecordField::Currency, "currency"),
            (RecordField::Lines, "lines"),
        ];
        assert!(record.iter().all(|&(field, name)| RECORD_FIELDS[field as usize].0 == name));
        let line = [
            (LineField::Sku, "sku"),
            (LineField::ProductId, "product_id"),
            (LineField::Quantity, "quantity"),
            (LineField::UnitPrice, "unit_price"),
            (LineField::LineTotal, "line_total"),
        ];
        assert!(line.iter().all(|&(field, name)| LINE_FIELDS[field as usize].0 == name));
    }
}
