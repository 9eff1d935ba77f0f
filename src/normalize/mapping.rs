//! Which paths serve which field: the contract's for a source without a profile, a profile's own in their place.

use crate::{
    model::{ExtraType, FactSchema, Level},
    settings::{Cursor, FactColumn, FieldRule, Limits, Profile, RepeatedSku, SkipRule},
};

/// The fields of a record and of a line, as places among the rules of a [`Mapping`].
pub(super) mod field {
    pub(in super::super) const ORDER_ID: usize = 0;
    pub(in super::super) const CREATED_AT: usize = 1;
    pub(in super::super) const UPDATED_AT: usize = 2;
    pub(in super::super) const USER_ID: usize = 3;
    pub(in super::super) const STATUS: usize = 4;
    pub(in super::super) const CURRENCY: usize = 5;
    pub(in super::super) const LINES: usize = 6;
    /// From here on: the conditions to skip a record, then further columns.
    pub(in super::super) const FURTHER: usize = 7;
    pub(in super::super) const SKU: usize = 0;
    pub(in super::super) const PRODUCT_ID: usize = 1;
    pub(in super::super) const QUANTITY: usize = 2;
    pub(in super::super) const PRICE: usize = 3;
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
    /// The further columns of the fact table.
    pub columns: &'a [FactColumn],
    /// Which time the window is on.
    pub cursor: Cursor,
    /// What becomes of a sku on several lines.
    pub repeated_sku: RepeatedSku,
    /// How large and how deep a record may be.
    pub limits: Limits,
}

impl Mapping<'_> {
    /// The rules of a record's fields and of a line's: the contract's, then those to skip by, then further columns.
    pub(super) fn rules(&self) -> (Vec<FieldRule>, Vec<FieldRule>) {
        let fixed = |fields: &[(&str, &[&str])], own: fn(&Profile) -> &std::collections::BTreeMap<String, FieldRule>| -> Vec<FieldRule> {
            let rule = |&(name, paths): &(&str, &[&str])| {
                let own = self.profile.and_then(|profile| own(profile).get(name)).cloned();
                own.unwrap_or_else(|| FieldRule {
                    paths: paths.iter().filter_map(|path| path.parse().ok()).collect(),
                    ..FieldRule::default()
                })
            };
            fields.iter().map(rule).collect()
        };
        let mut record = fixed(&RECORD_FIELDS, |profile| &profile.fields);
        let mut line = fixed(&LINE_FIELDS, |profile| &profile.line_fields);
        record.extend(self.skip().map(|rule| FieldRule { paths: vec![rule.path.clone()], ..FieldRule::default() }));
        for column in self.columns {
            let rules = if column.level == Level::Record { &mut record } else { &mut line };
            rules.push(column.rule.clone());
        }
        (record, line)
    }

    /// The conditions to skip a record.
    pub(super) fn skip(&self) -> impl Iterator<Item = &SkipRule> {
        self.profile.into_iter().flat_map(|profile| &profile.skip)
    }

    /// Of each further column, the level, its place among the rules of that, and its type.
    pub(super) fn extra(&self) -> Vec<(Level, usize, ExtraType)> {
        let (mut record, mut line) = (field::FURTHER + self.skip().count(), LINE_FIELDS.len());
        let place = |column: &FactColumn| {
            let next = if column.level == Level::Record { &mut record } else { &mut line };
            *next += 1;
            (column.level, *next - 1, column.kind)
        };
        self.columns.iter().map(place).collect()
    }

    /// The columns of the rows.
    pub(super) fn schema(&self) -> FactSchema {
        crate::settings::schema_of(self.columns)
    }
}
