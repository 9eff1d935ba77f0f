//! The rows of a source of users or products with their counts, and those of several files as one source.
//!
//! Parses no value, and does not decide which row of a member wins.

use hashbrown::HashMap;

use crate::model::{DimensionSpec, TextTable};

/// The counts of the records of a source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MemberCounts {
    /// Records in total.
    pub records_read: u64,
    /// Records that are not JSON objects, or exceed a limit.
    pub records_malformed: u64,
    /// Records without a valid key.
    pub records_without_key: u64,
    /// Values that are present but invalid.
    pub values_unreadable: u64,
    /// Texts that were cut.
    pub texts_cut: u64,
}

/// The rows of a source of users or products.
#[derive(Default)]
pub struct Members {
    /// The fixed columns that the source has, as canonical texts, and the extra columns, trimmed.
    pub table: TextTable,
    /// The names of the columns in the source.
    pub source_columns: Vec<String>,
    /// The counts of the records.
    pub counts: MemberCounts,
}

/// Stands in a cell for which the file of the row has no column: what is known of the member stays. No text holds U+0000.
pub const NO_COLUMN: &str = "\0";

impl Members {
    /// The rows of several files of one source, in their order. A row takes what its file has no column for from the row of the same
    /// member before it, or has [`NO_COLUMN`] there.
    pub fn of_files(spec: &DimensionSpec, mut files: Vec<Members>) -> Members {
        if files.len() < 2 {
            return files.pop().unwrap_or_default();
        }
        let mut all = Members::default();
        for name in files.iter().flat_map(|file| file.table.names()) {
            all.table.column_or_add(name);
        }
        let mut latest: HashMap<&str, usize> = HashMap::new();
        for file in &files {
            all.counts.add(file.counts);
            all.source_columns
                .extend(file.source_columns.iter().filter(|name| !all.source_columns.contains(name)).cloned().collect::<Vec<_>>());
            let places: Vec<Option<usize>> = all.table.names().iter().map(|name| file.table.column(name)).collect();
            let key = file.table.column(spec.key());
            for row in 0..file.table.height() {
                let key = key.and_then(|key| file.table.cell(row, key)).unwrap_or_default();
                let before = latest.insert(key, all.table.height());
                for (column, place) in places.iter().enumerate() {
                    let text = match place {
                        Some(place) => file.table.cell(row, *place).map(str::to_owned),
                        None => before.map_or(Some(NO_COLUMN), |before| all.table.cell(before, column)).map(str::to_owned),
                    };
                    if let Some(text) = text {
                        all.table.set(column, &text);
                    }
                }
                all.table.end_row();
            }
        }
        all
    }
}

impl MemberCounts {
    fn add(&mut self, other: MemberCounts) {
        self.records_read += other.records_read;
        self.records_malformed += other.records_malformed;
        self.records_without_key += other.records_without_key;
        self.values_unreadable += other.values_unreadable;
        self.texts_cut += other.texts_cut;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::DIM_USER,
        normalize::members::tests::{members, rows},
    };

    #[test]
    fn a_row_keeps_what_its_file_has_no_column_for() {
        let file = |rows: &[&str]| members(DIM_USER, "", rows);
        let files = vec![
            file(&[r#"{"id":1,"plan":"gold"}"#, r#"{"id":2,"plan":"free"}"#]),
            file(&[r#"{"id":1,"name":"Ann"}"#, r#"{"id":3,"name":"Cy"}"#]),
            file(&[r#"{"id":1,"plan":""}"#]),
        ];
        let all = Members::of_files(&DIM_USER, files);
        assert_eq!(
            rows(&all),
            [
                "user_id=1 plan=gold name=\0",
                "user_id=2 plan=free name=\0",
                "user_id=1 plan=gold name=Ann",
                "user_id=3 plan=\0 name=Cy",
                "user_id=1 name=Ann"
            ]
        );
        assert_eq!((all.counts.records_read, all.source_columns.len()), (5, 3));
    }
}
