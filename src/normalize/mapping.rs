//! The paths of each field: the default paths (contract, Orders), or those that the profile of a source sets instead.

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
pub const LINE_FIELDS: [(&str, &[&str]); 4] = [
    ("sku", &["sku", "product_id", "productId", "id"]),
    ("product_id", &["product_id", "productId"]),
    ("quantity", &["quantity", "qty"]),
    ("unit_price", &["price", "unit_price"]),
];

/// The configuration of a normalizer.
#[derive(Clone, Copy, Default)]
pub struct Mapping<'a> {
    /// The profile of the source; `None` is the default profile.
    pub profile: Option<&'a Profile>,
    /// The extra columns of the fact table.
    pub columns: &'a [FactColumn],
    /// The timestamp that the window applies to.
    pub cursor: Cursor,
    /// How to treat a sku that is on several lines of a record.
    pub repeated_sku: RepeatedSku,
    /// The size and depth limits of a record.
    pub limits: Limits,
}

/// A condition to skip a record.
pub(super) struct SkipField {
    pub(super) field: Field,
    /// The value to skip; `None` skips every value that is not missing.
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
    /// Compiles the rules of the fields, of the records to skip and of the extra columns.
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

    /// The schema of the rows.
    pub(super) fn schema(&self) -> FactSchema {
        crate::settings::schema_of(self.columns)
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
        ];
        assert!(line.iter().all(|&(field, name)| LINE_FIELDS[field as usize].0 == name));
    }
}
