//! A table of texts that grows row by row; a column may first occur in any row. Holds the rows of a dimension.
//!
//! Shape: named columns of optional texts, all with the same height. A column stores only the texts that it has, so
//! that a source with many sparse columns stays small. Beside its bytes, a text costs 4 bytes, and 8 more where its
//! column has gaps. Does not interpret columns.

use hashbrown::HashMap;

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
    /// The rows that have a text, ascending. `None` as long as these are the first rows, without a gap.
    rows: Option<Vec<usize>>,
    ends: Ends,
    text: String,
}

/// The ends of texts that follow each other, in 32 bits each.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Ends {
    /// The lower 32 bits of each end.
    low: Vec<u32>,
    /// The texts with which the ends have passed a multiple of 2^32, ascending. A text is listed once for each
    /// multiple.
    passed: Vec<usize>,
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
        if let Some(column) = self.columns.get_mut(column).filter(|column| column.last_row() != Some(height)) {
            column.push(height, text);
        }
    }

    /// Whether a cell of the current row has a text.
    pub fn is_set(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|column| column.last_row() == Some(self.height))
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
        for (row, text) in old.cells() {
            if let Some(text) = map(text) {
                new.push(row, &text);
            }
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
            for (row, text) in old.cells() {
                if let Some(place) = places.get(row).copied().flatten() {
                    column.push(place, text);
                }
            }
        }
        self.height = height;
    }

    /// The texts of a column, without empty cells.
    pub fn texts(&self, column: usize) -> impl Iterator<Item = &str> {
        self.columns.get(column).into_iter().flat_map(|column| column.cells().map(|(_, text)| text))
    }
}

impl TextColumn {
    /// Appends the text of a row. Rows ascend.
    fn push(&mut self, row: usize, text: &str) {
        let number = self.ends.len();
        if self.rows.is_none() && row != number {
            self.rows = Some((0..number).collect());
        }
        if let Some(rows) = &mut self.rows {
            rows.push(row);
        }
        self.text.push_str(text);
        self.ends.push(self.text.len() as u64);
    }

    fn last_row(&self) -> Option<usize> {
        match &self.rows {
            Some(rows) => rows.last().copied(),
            None => self.ends.len().checked_sub(1),
        }
    }

    fn get(&self, row: usize) -> Option<&str> {
        match &self.rows {
            None => self.text_of(row),
            // Most columns have a text in nearly every row.
            Some(rows) if rows.get(row) == Some(&row) => self.text_of(row),
            Some(rows) => self.text_of(rows.binary_search(&row).ok()?),
        }
    }

    /// The rows that have a text, each with its text.
    fn cells(&self) -> impl Iterator<Item = (usize, &str)> {
        (0..self.ends.len()).filter_map(|number| {
            let row = self.rows.as_ref().map_or(Some(number), |rows| rows.get(number).copied())?;
            Some((row, self.text_of(number)?))
        })
    }

    /// A text by its number among those of the column.
    fn text_of(&self, number: usize) -> Option<&str> {
        let start = number.checked_sub(1).map_or(Some(0), |before| self.ends.get(before))?;
        self.text.get(usize::try_from(start).ok()?..usize::try_from(self.ends.get(number)?).ok()?)
    }
}

impl Ends {
    fn len(&self) -> usize {
        self.low.len()
    }

    /// Appends an end. Ends do not descend.
    fn push(&mut self, end: u64) {
        let number = self.low.len();
        let before = number.checked_sub(1).and_then(|before| self.get(before)).unwrap_or_default();
        for _ in before >> 32..end >> 32 {
            self.passed.push(number);
        }
        self.low.push(u32::try_from(end & u64::from(u32::MAX)).unwrap_or_default());
    }

    fn get(&self, number: usize) -> Option<u64> {
        let low = u64::from(*self.low.get(number)?);
        if self.passed.is_empty() {
            return Some(low);
        }
        let passed = self.passed.partition_point(|&passed| passed <= number) as u64;
        Some(low + (passed << 32))
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

    #[test]
    fn columns_without_and_with_gaps_have_the_texts_of_their_rows() {
        for gap in [None, Some(0), Some(3), Some(9)] {
            let mut table = TextTable::default();
            let column = table.column_or_add("a");
            for row in 0..10 {
                if gap != Some(row) {
                    table.set(column, &"x".repeat(row));
                    assert!(table.is_set(column));
                }
                table.end_row();
                assert!(!table.is_set(column));
            }
            for row in 0..10 {
                assert_eq!(table.cell(row, column).map(str::len), (gap != Some(row)).then_some(row), "row {row}, without {gap:?}");
            }
            let lengths: Vec<_> = (0..10).filter(|row| gap != Some(*row)).collect();
            assert_eq!(table.texts(column).map(str::len).collect::<Vec<_>>(), lengths);
            table.filter_map_column(column, |text| (text.len() % 2 == 0).then(|| text.to_owned()));
            assert_eq!(
                table.texts(column).map(str::len).collect::<Vec<_>>(),
                lengths.into_iter().filter(|row| row % 2 == 0).collect::<Vec<_>>()
            );
            assert_eq!((table.cell(4, column), table.cell(5, column)), (Some("xxxx"), None));
        }
    }

    #[test]
    fn ends_may_pass_what_32_bits_hold() {
        let four_gib = 1_u64 << 32;
        let given = [0, 5, four_gib - 1, four_gib, four_gib, four_gib + 7, 4 * four_gib + 1, 4 * four_gib + 1, 5 * four_gib - 1];
        let mut ends = Ends::default();
        given.iter().for_each(|&end| ends.push(end));
        assert_eq!((0..given.len()).filter_map(|number| ends.get(number)).collect::<Vec<_>>(), given);
        assert_eq!((ends.len(), ends.get(given.len())), (given.len(), None));
    }
}
