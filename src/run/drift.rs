//! What a run says of the shape of its records: each change with the column that would take a new path.
//!
//! What has changed is `drift`'s. Whether the run goes on is `job`'s.

use crate::{
    drift::{self, JsonType, ObservedShape, PathChange, SchemaChange, Shape},
    model::{ExtraType, FieldPath, Level, counted},
    normalize::{ColumnPlace, ReadPaths},
    settings::{ColumnValue, FactColumn, FieldRule},
};

/// A summary has so many changes.
const MOST_CHANGES: usize = 50;

/// Names that are tried for a proposed column.
const MOST_NAMES: usize = 100;

/// What a run found of the shape of its records.
pub(super) struct Watched {
    /// The first changes.
    pub(super) changes: Vec<SchemaChange>,
    /// How many more there are.
    pub(super) omitted: u64,
    /// The shape to remember, if any record was ever observed.
    pub(super) shape: Option<Shape>,
}

/// Compares the shape of a run's records with the remembered one.
pub(super) fn watch(known: Option<&Shape>, observed: &ObservedShape, reads: &ReadPaths, columns: &[FactColumn]) -> Watched {
    let comparison = drift::compare(known, observed, &|steps| reads.has(steps));
    if comparison.is_cut {
        tracing::warn!(
            "the shape of the records is watched in part: {} and {} at most; `schema.on_change = \"ignore\"` ends this",
            counted(drift::MOST_PATHS as u64, "path"),
            counted(drift::MOST_LEVELS as u64, "level")
        );
    }
    let omitted = comparison.changes.len().saturating_sub(MOST_CHANGES) as u64;
    let mut proposals = Proposals { reads, columns: columns.to_vec() };
    let changes = comparison.changes.iter().take(MOST_CHANGES).map(|change| proposals.with_column(change)).collect();
    Watched { changes, omitted, shape: comparison.shape }
}

/// Columns for new paths, each under a name of its own.
struct Proposals<'a> {
    reads: &'a ReadPaths,
    /// The columns of the settings, and those that are proposed.
    columns: Vec<FactColumn>,
}

impl Proposals<'_> {
    fn with_column(&mut self, change: &PathChange) -> SchemaChange {
        let path = FieldPath::of_steps(&change.steps);
        SchemaChange {
            path: path.to_string(),
            change: change.kind,
            types: change.types.iter().collect(),
            was: change.was.iter().collect(),
            read: change.is_read,
            column: self.column(change).map(|column| column.to_toml()),
        }
    }

    /// The column that would take a path that has its first values; `None` where the run reads it, or it has no one value.
    fn column(&mut self, change: &PathChange) -> Option<FactColumn> {
        if !change.is_first_value() || change.is_read {
            return None;
        }
        let kind = match change.scalar_type()? {
            JsonType::Boolean => ExtraType::Boolean,
            JsonType::Number if change.has_fractions => ExtraType::Decimal { scale: 4 },
            JsonType::Number => ExtraType::BigInt,
            JsonType::Text => ExtraType::Text,
            JsonType::Null | JsonType::Object | JsonType::List => return None,
        };
        let ColumnPlace { level, path } = self.reads.column_place(&change.steps)?;
        let name = self.free_name(&path, level)?;
        let column =
            FactColumn { name, level, rule: FieldRule { paths: vec![path], ..FieldRule::default() }, kind, value: ColumnValue::First };
        self.columns.push(column.clone());
        Some(column)
    }

    /// A name that no column has: the key, else all keys of the path, else those with a number.
    fn free_name(&self, path: &FieldPath, level: Level) -> Option<String> {
        let steps = path.steps();
        let short = FactColumn::valid_name(steps.last()?);
        let whole = FactColumn::valid_name(&format!("{}_{}", level.as_str(), steps.join("_")));
        let numbered = (2..MOST_NAMES).map(|number| format!("{}_{number}", whole.chars().take(100).collect::<String>()));
        let mut names = [short, FactColumn::valid_name(&steps.join("_")), whole.clone()].into_iter().chain(numbered);
        names.find(|name| FactColumn::is_free(name, &self.columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{drift::ChangeKind, normalize::Mapping};

    fn proposed(changes: &[(&str, &[JsonType])]) -> Vec<Option<String>> {
        let reads = ReadPaths::of(&Mapping::default());
        let mut proposals = Proposals { reads: &reads, columns: Vec::new() };
        let change = |(path, types): &(&str, &[JsonType])| PathChange {
            steps: path.split('.').map(str::to_owned).collect(),
            kind: ChangeKind::New,
            types: types.iter().copied().collect(),
            was: std::iter::empty().collect(),
            has_fractions: path.ends_with("rate"),
            is_read: path.ends_with("sku"),
        };
        changes.iter().map(|each| proposals.with_column(&change(each)).column).collect()
    }

    #[test]
    fn a_new_value_gets_a_column_of_its_type_place_and_a_free_name() {
        use JsonType::{Boolean, List, Null, Number, Object, Text};
        let columns = proposed(&[
            ("note", &[Null, Text]),
            ("gift.note", &[Text]),
            ("items.*.note", &[Text]),
            ("items.*.gift.note", &[Text]),
            ("items.*.tax.rate", &[Number]),
            ("count", &[Number]),
            ("is_gift", &[Boolean]),
            ("mixed", &[Boolean, Text]),
            ("meta.status", &[Text]),
            ("tags.*", &[Text]),
            ("box", &[Object, Text]),
            ("empty", &[List]),
            ("nothing", &[Null]),
            ("items.*.sku", &[Text]),
        ]);
        let shown: Vec<_> = columns
            .iter()
            .map(|column| {
                column.as_deref().map_or("-".to_owned(), |text| text.lines().skip(1).collect::<Vec<_>>().join(", ").replace('"', ""))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "name = note, path = note, type = text",
                "name = gift_note, path = gift.note, type = text",
                "name = line_note, path = note, level = line, type = text",
                "name = line_gift_note, path = gift.note, level = line, type = text",
                "name = rate, path = tax.rate, level = line, type = decimal, scale = 4",
                "name = count, path = count, type = bigint",
                "name = is_gift, path = is_gift, type = boolean",
                "name = mixed, path = mixed, type = text",
                "name = meta_status, path = meta.status, type = text",
                "-",
                "-",
                "-",
                "-",
                "-"
            ]
        );
    }
}
