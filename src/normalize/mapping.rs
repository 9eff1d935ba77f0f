//! Which paths serve which field: the contract's for a source without a profile, a profile's own in their place.

use std::collections::BTreeMap;

use super::fields::{Field, PathTrie};
use crate::{
    model::{ExtraType, FactSchema, Level},
    settings::{Cursor, FactColumn, FieldRule, Limits, Profile, RepeatedSku, SkipRule},
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
}

/// Where the fields of a record are looked for, in order (contract, Orders).
pub const RECORD_FIELDS: [(&str, &[&str]); 7] = [
    ("order_id", &["order_id", "id"]),
    ("created_at", &["created_at", "date"]),
    ("updated_at", &["updated_at"]),
    ("user_id", &["user_id", "userId", "user.id", "customer.id"]),
    ("status", &["status"]),
    ("currency", &["currency"]),
    ("lines", &["items", "line_items", "products"]),
];

/// Where the fields of a line are looked for, in order (contract, Orders).
pub const LINE_FIELDS: [(&str, &[&str]); 4] = [
    ("sku", &["sku", "product_id", "productId", "id"]),
    ("product_id", &["product_id", "productId"]),
    ("quantity", &["quantity", "qty"]),
    ("unit_price", &["price", "unit_price"]),
];

/// What a normalizer is made of.
#[derive(Clone, Copy, Default)]
pub struct Mapping<'a> {
    /// The source's profile; `None` is the default one.
    pub profile: Option<&'a Profile>,
    /// The extra columns of the fact table.
    pub columns: &'a [FactColumn],
    /// Which time the window is on.
    pub cursor: Cursor,
    /// What becomes of a sku on several lines.
    pub repeated_sku: RepeatedSku,
    /// How large and how deep a record may be.
    pub limits: Limits,
}

/// A condition to skip a record.
pub(super) struct SkipField {
    pub(super) field: Field,
    /// What it must equal; `None`: anything but missing.
    pub(super) equals: Option<String>,
}

/// An extra column of the fact table.
pub(super) struct ExtraField {
    pub(super) level: Level,
    pub(super) field: Field,
    pub(super) kind: ExtraType,
}

/// The fields of a record and of its lines, compiled.
pub(super) struct CompiledMapping {
    pub(super) record_trie: PathTrie,
    pub(super) line_trie: PathTrie,
    record: Vec<Field>,
    line: Vec<Field>,
    pub(super) skip: Vec<SkipField>,
    pub(super) extra: Vec<ExtraField>,
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
    /// Compiles the rules: the contract's, with the profile's in their place; those to skip by; those of extra columns.
    pub(super) fn compile(&self) -> CompiledMapping {
        let (mut record_trie, mut line_trie) = (PathTrie::default(), PathTrie::default());
        let own = |rules: fn(&Profile) -> &BTreeMap<String, FieldRule>| self.profile.map(rules);
        let record = fixed_fields(&RECORD_FIELDS, own(|profile| &profile.fields), &mut record_trie);
        let line = fixed_fields(&LINE_FIELDS, own(|profile| &profile.line_fields), &mut line_trie);
        let mut skip_field = |rule: &SkipRule| SkipField {
            field: record_trie.field(&FieldRule { paths: vec![rule.path.clone()], ..FieldRule::default() }),
            equals: rule.equals.clone(),
        };
        let skip = self.profile.into_iter().flat_map(|profile| &profile.skip).map(&mut skip_field).collect();
        let extra_field = |column: &FactColumn| {
            let trie = if column.level == Level::Record { &mut record_trie } else { &mut line_trie };
            ExtraField { level: column.level, field: trie.field(&column.rule), kind: column.kind }
        };
        let extra = self.columns.iter().map(extra_field).collect();
        CompiledMapping { record_trie, line_trie, record, line, skip, extra }
    }

    /// The columns of the rows.
    pub(super) fn schema(&self) -> FactSchema {
        crate::settings::schema_of(self.columns)
    }
}

/// The contract's fields, each with the profile's rule where it has one.
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
    fn the_fields_stand_in_the_order_of_their_tables() {
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
        ];
        assert!(line.iter().all(|&(field, name)| LINE_FIELDS[field as usize].0 == name));
    }
}
