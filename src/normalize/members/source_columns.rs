//! The columns of the records of a source: nested objects become columns `outer_inner`, and names that differ in case
//! are one column. The raw values of one record, by these columns.
//!
//! Knows no dimension: which column serves a fixed one, and what is stored, is decided by the normalizer.

use std::{borrow::Cow, collections::BTreeSet};

use hashbrown::HashMap;

use crate::{model::Pairs, normalize::scalar::Scalar};

/// The levels of nested objects that become columns; deeper objects stay JSON.
const MAX_DEPTH: usize = 4;

/// The columns of the records of the source.
#[derive(Default)]
pub(super) struct SourceColumns {
    /// Of the keys of the records themselves.
    own: ColumnNames,
    /// Of the keys within their objects.
    nested: ColumnNames,
    pub(super) columns: Vec<SourceColumn>,
    /// Names that occur twice in a record: they differ in case only, or a nested and a flat column have the same name.
    pub(super) ambiguous: BTreeSet<String>,
    /// Columns that the dimension does not store.
    pub(super) left_out: BTreeSet<String>,
    /// How long the names of the objects are that the value at hand lies in.
    objects: Vec<usize>,
}

/// The keys that a name is made of, by the lengths of the names of its objects.
fn keys(name: &str, objects: &[usize]) -> Vec<String> {
    let starts = [0].into_iter().chain(objects.iter().map(|length| length + 1));
    let ends = objects.iter().copied().chain([name.len()]);
    starts.zip(ends).filter_map(|(start, end)| name.get(start..end)).map(|key| key.trim().to_lowercase()).collect()
}

/// The places of columns by their names.
#[derive(Default)]
struct ColumnNames {
    /// As they are written.
    written: HashMap<String, usize>,
    /// In lower case.
    folded: HashMap<String, usize>,
}

impl ColumnNames {
    fn find(&self, name: &str) -> Option<usize> {
        self.folded.get(name).or_else(|| self.folded.get(&name.to_lowercase())).copied()
    }
}

pub(super) struct SourceColumn {
    pub(super) name: String,
    pub(super) place: ExtraPlace,
    /// The keys that its name is made of, outermost first, in lower case: those of objects and its own.
    pub(super) keys: Vec<String>,
}

/// Where the values of a source column go that no fixed column uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtraPlace {
    /// Not decided yet.
    Undecided,
    /// To a column of the table.
    Column(usize),
    /// Not stored; `finish` logs a warning.
    LeftOut,
    /// Not stored, because the profile fills the column of this name.
    Replaced,
}

/// The raw values of one record, by source column.
#[derive(Default)]
pub(super) struct SourceRow<'a> {
    pub(super) values: Vec<Option<Cow<'a, str>>>,
    /// The columns that the record has, in its order; null counts too.
    pub(super) present: Vec<usize>,
    /// Whether a fixed column uses the value.
    pub(super) taken: Vec<bool>,
}

impl SourceColumns {
    /// The columns of a name in any case: that of the record itself before a nested one.
    pub(super) fn find(&self, name: &str) -> impl Iterator<Item = usize> {
        [self.own.find(name), self.nested.find(name)].into_iter().flatten()
    }

    /// The columns of some names, best first. Keys of the record itself come before nested ones: an object `product` with an `id` must
    /// not replace the product's own `id`.
    pub(super) fn places(&self, names: &[&str]) -> impl Iterator<Item = usize> {
        [&self.own, &self.nested].into_iter().flat_map(move |level| names.iter().filter_map(move |name| level.find(name)))
    }

    /// The keys that the name of a nested column is made of, outermost first; `None` if no nested column has this name.
    pub(super) fn keys_of_nested(&self, name: &str) -> Option<&[String]> {
        Some(&self.columns[self.nested.find(name)?].keys)
    }

    /// Puts the values of an object into a row. The values of nested objects get the name `outer_inner`.
    pub(super) fn flatten<'a>(&mut self, prefix: &str, pairs: Pairs<'a>, depth: usize, row: &mut SourceRow<'a>) {
        for (key, value) in pairs.0 {
            let name = if prefix.is_empty() { key } else { Cow::Owned(format!("{prefix}_{key}")) };
            if value.get().starts_with('{')
                && depth < MAX_DEPTH
                && let Ok(inner) = serde_json::from_str::<Pairs<'a>>(value.get())
            {
                self.objects.push(name.len());
                self.flatten(&name, inner, depth + 1, row);
                self.objects.pop();
                continue;
            }
            let column = self.column(&name, depth);
            if row.set(column, value.get()) == Kept::Earlier {
                self.ambiguous.insert(name.into_owned());
            }
        }
    }

    fn column(&mut self, name: &str, depth: usize) -> usize {
        let names = if depth == 0 { &mut self.own } else { &mut self.nested };
        if let Some(&column) = names.written.get(name) {
            return column;
        }
        let folded = name.trim().replace('\0', "").to_lowercase();
        let column = names.folded.get(&folded).copied().unwrap_or_else(|| {
            self.columns.push(SourceColumn { name: folded.clone(), place: ExtraPlace::Undecided, keys: keys(name, &self.objects) });
            names.folded.insert(folded, self.columns.len() - 1);
            self.columns.len() - 1
        });
        names.written.insert(name.to_owned(), column);
        column
    }
}

/// Which of two values of one column was kept.
#[derive(PartialEq, Eq)]
enum Kept {
    Earlier,
    New,
}

impl<'a> SourceRow<'a> {
    pub(super) fn clear(&mut self) {
        for &column in &self.present {
            self.values[column] = None;
            self.taken[column] = false;
        }
        self.present.clear();
    }

    /// The value of the first of some columns that holds something, and which column it is.
    pub(super) fn first(&self, columns: impl Iterator<Item = usize>) -> (Scalar<'_>, Option<usize>) {
        for column in columns {
            let value = self.values.get(column).and_then(Option::as_deref).map_or(Scalar::Missing, Scalar::of);
            if value != Scalar::Missing {
                return (value, Some(column));
            }
        }
        (Scalar::Missing, None)
    }

    /// Sets a value. Keeps the first of two values that are not missing.
    fn set(&mut self, column: usize, raw: &'a str) -> Kept {
        if self.values.len() <= column {
            self.values.resize(column + 1, None);
            self.taken.resize(column + 1, false);
        }
        let holds = |raw: &str| Scalar::of(raw) != Scalar::Missing;
        match &self.values[column] {
            None => self.present.push(column),
            Some(earlier) if holds(earlier) => return if holds(raw) { Kept::Earlier } else { Kept::New },
            Some(_) => {}
        }
        self.values[column] = Some(Cow::Borrowed(raw));
        Kept::New
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{DIM_PRODUCT, DIM_USER},
        normalize::members::tests::{members, rows},
    };

    #[test]
    fn objects_are_flattened_arrays_stay_json_and_the_last_of_a_repeated_key_counts() {
        let record = r#"{"id":7.0,"address":{"city":"B","country":"DE","geo":{"lat":1.50}},"tags":["a"],"plan":"x","plan":"y","note":null,"\ud800":1}"#;
        let found = members(DIM_USER, "", &[record, "7", "not json"]);
        assert_eq!(
            rows(&found),
            ["user_id=7 country=DE address_city=B address_geo_lat=1.50 tags=[\"a\"] plan=y \u{fffd}\u{fffd}\u{fffd}=1"]
        );
        assert_eq!(found.counts.records_malformed, 2);
        assert!(found.table.column("note").is_some(), "a column without values is kept");
        let found = members(DIM_USER, "", &[r#"{"id":1,"address":null,"zip":null}"#, r#"{"id":2,"address":{"city":"B"}}"#]);
        assert_eq!(found.table.names(), ["user_id", "address_city", "zip"], "an object that is null is not a column");
    }

    #[test]
    fn names_that_differ_only_in_case_are_one_column_and_the_first_value_counts() {
        let found = members(DIM_USER, "", &[r#"{"ID":1,"Name":"a","name":"b","plan":"","Plan":"gold"}"#]);
        assert_eq!(rows(&found), ["user_id=1 name=a plan=gold"]);
    }

    #[test]
    fn an_object_does_not_replace_what_the_record_says_itself() {
        let found = members(
            DIM_PRODUCT,
            "",
            &[
                r#"{"product":{"id":"group","x":1},"id":"A","list":{"price":"1.00"},"price":"5.00"}"#,
                r#"{"product":{"id":"only"}}"#,
                r#"{"id":"B","a":{"b":1},"a_b":2}"#,
            ],
        );
        assert_eq!(
            rows(&found),
            ["sku=A product_id=A list_price=5.0000 product_x=1", "sku=only product_id=only", "sku=B product_id=B a_b=1"]
        );
        assert_eq!(found.counts.values_unreadable, 2, "the names of fixed columns are theirs");
        let found = members(DIM_USER, "", &[r#"{"user":{"id":"owner"},"user_id":"U1","created":{"at":"n/a"},"created_at":"2026-01-01"}"#]);
        assert_eq!(rows(&found), ["user_id=U1 created_at=2026-01-01 00:00:00"]);
    }
}
