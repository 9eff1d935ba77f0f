//! A table of texts that grows row by row; a column may first occur in any row. Holds the rows of a dimension.
//!
//! Shape: named columns of optional texts, all with the same height. A column stores only the texts that it has, so that a
//! source with many sparse columns stays small. Does not interpret columns.

use std::collections::HashMap;

/// Columns of optional texts, all with the same height.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TextTable {
    names: Vec<String>,
    places: HashMap<String, usize>,
    columns: Vec<TextColumn>,
    height: usize,
}

/// The texts of one column.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct TextColumn {
    /// The rows that have a text, ascending.
    rows: Vec<usize>,
    /// The end of each text.
    ends: Vec<usize>,
    text: String,
}

impl TextTable {
    /// The names of the columns, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The column of a name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The column of a name; adds the column if it does not exist.
    pub fn column_or_add(&mut self, name: &str) -> usize {
        if let Some(column) = self.column(name) {
            return column;
        }
        self.names.push(name.to_owned());
        self.columns.push(TextColumn::default());
        self.places.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// Sets a cell of the current row. If the cell is already set, the first text stays.
    pub fn set(&mut self, column: usize, text: &str) {
        let height = self.height;
        if let Some(column) = self.columns.get_mut(column).filter(|column| column.rows.last() != Some(&height)) {
            column.rows.push(height);
            column.text.push_str(text);
            column.ends.push(column.text.len());
        }
    }

    /// Whether a cell of the current row has a text.
    pub fn is_set(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|column| column.rows.last() == Some(&self.height))
    }

    /// Ends the current row.
    pub fn end_row(&mut self) {
        self.height += 1;
    }

    /// The text of a cell; `None` if it is empty.
    pub fn cell(&self, row: usize, column: usize) -> Option<&str> {
        self.columns.get(column)?.get(row)
    }

    /// Replaces each text of a column.
    pub fn map_column(&mut self, column: usize, mut map: impl FnMut(&str) -> String) {
        self.filter_map_column(column, |text| Some(map(text)));
    }

    /// Replaces each text of a column, or removes it.
    pub fn filter_map_column(&mut self, column: usize, mut map: impl FnMut(&str) -> Option<String>) {
        let Some(old) = self.columns.get_mut(column).map(std::mem::take) else { return };
        let mut new = TextColumn::default();
        for &row in &old.rows {
            let Some(text) = map(old.get(row).unwrap_or_default()) else { continue };
            new.rows.push(row);
            new.text.push_str(&text);
            new.ends.push(new.text.len());
        }
        self.columns[column] = new;
    }

    /// Keeps the rows for which this list says so, in their order. A row beyond it is kept.
    pub fn retain_rows(&mut self, is_kept: &[bool]) {
        let is_kept = |row: usize| is_kept.get(row).copied().unwrap_or(true);
        let mut places = Vec::with_capacity(self.height);
        let mut height = 0;
        for row in 0..self.height {
            places.push(is_kept(row).then_some(height));
            height += usize::from(is_kept(row));
        }
        for column in &mut self.columns {
            let old = std::mem::take(column);
            for &row in &old.rows {
                let Some(place) = places.get(row).copied().flatten() else { continue };
                column.rows.push(place);
                column.text.push_str(old.get(row).unwrap_or_default());
                column.ends.push(column.text.len());
            }
        }
        self.height = height;
    }

    /// The texts of a column, without empty cells.
    pub fn texts(&self, column: usize) -> impl Iterator<Item = &str> {
        self.columns.get(column).into_iter().flat_map(|column| column.rows.iter().filter_map(|&row| column.get(row)))
    }
}

impl TextColumn {
    fn get(&self, row: usize) -> Option<&str> {
        // Most columns have a text in every row.
        let place = if self.rows.get(row) == Some(&row) { row } else { self.rows.binary_search(&row).ok()? };
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..self.ends[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_may_start_in_any_row_and_the_first_text_of_a_cell_counts() {
        let mut table = TextTable::default();
        let a = table.column_or_add("a");
        table.set(a, "1");
        table.set(a, "lost");
        table.end_row();
        let b = table.column_or_add("b");
        table.set(b, "");
        table.end_row();
        table.set(table.column("a").unwrap(), "3");
        table.end_row();
        assert_eq!((table.names(), table.height(), table.column("c")), (&["a".to_owned(), "b".to_owned()][..], 3, None));
        let cells: Vec<_> = (0..3).map(|row| (table.cell(row, a), table.cell(row, b))).collect();
        assert_eq!(cells, [(Some("1"), None), (None, Some("")), (Some("3"), None)]);
        table.map_column(a, |text| format!("{text}!"));
        assert_eq!(table.texts(a).collect::<Vec<_>>(), ["1!", "3!"]);
        assert_eq!((table.cell(2, a), table.cell(9, a), table.cell(0, 9)), (Some("3!"), None, None));
        table.retain_rows(&[false, true]);
        let cells: Vec<_> = (0..3).map(|row| (table.cell(row, a), table.cell(row, b))).collect();
        assert_eq!((table.height(), cells), (2, vec![(None, Some("")), (Some("3!"), None), (None, None)]));
    }
}
