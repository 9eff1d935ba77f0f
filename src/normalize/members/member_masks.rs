//! Masks of the columns of members: which mask a column has, by its own name or by the values that it is made of, and
//! the columns that look as if they should have one.
//!
//! What stands in place of a value, and what is masked within documents, is `normalize::mask`'s.

use std::borrow::Cow;

use super::{FixedRule, MemberNormalizer, source_columns::SourceColumn};
use crate::{
    model::ColumnType,
    normalize::mask::{RecordsOf, ValueMask},
};

impl MemberNormalizer {
    /// Masks the columns, once their values are final.
    pub(super) fn mask_columns(&mut self) {
        if self.masks.is_empty() {
            return;
        }
        for (place, name) in self.members.table.names().to_vec().iter().enumerate() {
            let Some(mask) = self.mask_of(name) else { continue };
            let fixed = self.spec.columns.iter().find(|fixed| fixed.name == name).map(|fixed| fixed.kind);
            let is_empty = mask.omits() || fixed == Some(ColumnType::Timestamp);
            let (table, prefix) = (&mut self.members.table, &self.prefix);
            table.filter_map_column(place, |text| match fixed {
                _ if is_empty => None,
                Some(ColumnType::Id) => mask.masked(prefix.without(text)).map(|id| prefix.before(Cow::Owned(id)).into_owned()),
                _ => mask.masked(text),
            });
        }
    }

    /// The mask of a column: its own, that of a column that may be made of the same value of the source, or that of an object which
    /// the value lies in.
    fn mask_of(&self, name: &str) -> Option<ValueMask> {
        let own = |name: &str| ValueMask::of(&self.masks, name, RecordsOf::Source);
        let same = || self.of_same_values(name).into_iter().find_map(own);
        let around = || {
            let keys = self.source.keys_of_nested(name)?;
            (1..keys.len()).find_map(|outer| own(&keys[..outer].join("_")))
        };
        own(name).or_else(same).or_else(around)
    }

    /// Warns of columns that are not masked, and whose value lies under a key that is called as a masked column.
    pub(super) fn tell_unmasked_keys(&self) {
        let is_masked_elsewhere = |column: &&SourceColumn| {
            column.keys.iter().any(|key| self.masks.of(key).is_some())
                && self.members.table.column(&column.name).is_some()
                && self.mask_of(&column.name).is_none()
        };
        let columns: Vec<&str> = self.source.columns.iter().filter(is_masked_elsewhere).map(|column| column.name.as_str()).collect();
        if !columns.is_empty() {
            let (source, columns) = (self.spec.source, columns.join(", "));
            tracing::warn!(
                source,
                columns,
                "columns hold values under a key that is called as a masked column, and are not masked: mask them by their own names, if these are personal data"
            );
        }
    }

    /// The columns that may be made of the same values as a column. The key stays what it is, since facts are joined by it.
    fn of_same_values<'s>(&'s self, name: &str) -> Vec<&'s str> {
        let fixed = self.spec.columns.iter().zip(&self.fixed).map(|(column, rule)| match rule {
            FixedRule::Placed { placed, .. } => (column.name, placed.names()),
            FixedRule::Own { .. } => (column.name, column.from.to_vec()),
        });
        let placed = self.placed.iter().map(|column| (column.name.as_str(), column.field.names()));
        let mut same = Vec::new();
        for (column, sources) in fixed.chain(placed) {
            if column == name && column != self.spec.key() {
                same.extend(sources);
            } else if sources.iter().any(|source| source.eq_ignore_ascii_case(name)) {
                same.push(column);
            }
        }
        same
    }
}
