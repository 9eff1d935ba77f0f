//! Tables as text: no lines, numbers to the right, one line a row, and never wider than the terminal if that can be.
//!
//! Where a table is too wide, columns give way in a stated order: the column that may be cut shrinks to its least width, and then
//! columns leave, the one of the lowest turn first. The table says which ones. JSON has all of them.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ColumnConstraint, Row, Width, presets};

/// The columns between two columns.
const GAP: u16 = 2;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    alignment: CellAlignment,
    /// To how many columns it may be cut, with `…`.
    least: Option<u16>,
    /// When it leaves: the lowest first.
    turn: Option<u8>,
}

impl Column {
    /// A column of texts, which is always shown whole.
    pub(super) const fn text(title: &'static str) -> Column {
        Column { title, alignment: CellAlignment::Left, least: None, turn: None }
    }

    /// A column of numbers, which is always shown whole.
    pub(super) const fn number(title: &'static str) -> Column {
        Column { title, alignment: CellAlignment::Right, least: None, turn: None }
    }

    /// It may be cut to this width.
    pub(super) const fn cut(self, least: u16) -> Column {
        Column { least: Some(least), ..self }
    }

    /// It may leave, in this turn.
    pub(super) const fn leaves(self, turn: u8) -> Column {
        Column { turn: Some(turn), ..self }
    }
}

/// A table. A column without any value is not shown.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// A column that is shown.
struct Shown<'t> {
    column: &'t Column,
    /// Its place in the rows.
    place: usize,
    /// The width of its content.
    width: u16,
}

impl Shown<'_> {
    /// The width to which it may be cut.
    fn least(&self) -> u16 {
        self.column.least.map_or(self.width, |least| least.min(self.width))
    }
}

impl Table {
    pub(super) fn new(columns: &[Column]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a text for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| cell.replace(char::is_control, " ")).collect());
    }

    /// Writes the table, in at most `width` columns; `None`: in any.
    pub(super) fn show(&self, out: &mut String, width: Option<usize>) {
        let mut shown = self.columns_with_values();
        let mut left = Vec::new();
        if let Some(width) = width {
            left = drop_until(&mut shown, width);
            cut_to(&mut shown, width);
        }
        let _ = writeln!(out, "{}", self.text(&shown));
        let left: Vec<_> = left.into_iter().filter(|title| !title.is_empty()).collect();
        if !left.is_empty() {
            let _ = writeln!(out, "\nnot shown at this width: {} (--json has all)", left.join(", "));
        }
    }

    fn columns_with_values(&self) -> Vec<Shown<'_>> {
        let has_values = |place: usize| self.rows.iter().any(|row| row.get(place).is_some_and(|cell| !cell.trim().is_empty()));
        let all = self.columns.iter().enumerate().filter(|(place, _)| has_values(*place));
        let mut shown: Vec<_> = all.map(|(place, column)| Shown { column, place, width: 0 }).collect();
        let widths = self.layout(&shown).column_max_content_widths();
        shown.iter_mut().zip(widths).for_each(|(shown, width)| shown.width = width);
        shown
    }

    /// The cells of these columns. No cell has a second line: what does not fit is cut.
    fn layout(&self, shown: &[Shown<'_>]) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        let mut header = row(shown.iter().map(|shown| shown.column.title));
        header.max_height(1);
        table.set_header(header);
        for cells in &self.rows {
            let mut cells = row(shown.iter().map(|shown| cells.get(shown.place).map_or("", String::as_str)));
            cells.max_height(1);
            table.add_row(cells);
        }
        table
    }

    fn text(&self, shown: &[Shown<'_>]) -> String {
        let mut table = self.layout(shown);
        for (place, column) in shown.iter().enumerate() {
            let gap = if place + 1 < shown.len() { GAP } else { 0 };
            let Some(arranged) = table.column_mut(place) else { continue };
            arranged.set_padding((0, gap));
            arranged.set_cell_alignment(column.column.alignment);
            arranged.set_constraint(ColumnConstraint::Absolute(Width::Fixed(column.width.saturating_add(gap))));
        }
        table.trim_fmt()
    }
}

fn row<'c>(cells: impl Iterator<Item = &'c str>) -> Row {
    let mut row = Row::new();
    for cell in cells {
        row.add_cell(Cell::new(cell));
    }
    row
}

/// Removes columns until the others fit, cut or not. Returns the titles of those that left.
fn drop_until(shown: &mut Vec<Shown<'_>>, width: usize) -> Vec<&'static str> {
    let mut left = Vec::new();
    while total(shown, |shown| shown.least()) > width {
        let next = shown.iter().enumerate().filter_map(|(place, shown)| Some((shown.column.turn?, place))).min();
        let Some((_, place)) = next else { break };
        left.push(shown.remove(place).column.title);
    }
    left
}

/// Cuts what may be cut until all fit.
fn cut_to(shown: &mut [Shown<'_>], width: usize) {
    let mut excess = total(shown, |shown| shown.width).saturating_sub(width);
    for shown in shown.iter_mut().rev() {
        let spare = usize::from(shown.width.saturating_sub(shown.least())).min(excess);
        shown.width = shown.width.saturating_sub(u16::try_from(spare).unwrap_or(u16::MAX));
        excess -= spare;
    }
}

/// The width of all columns with their gaps.
fn total(shown: &[Shown<'_>], width: impl Fn(&Shown<'_>) -> u16) -> usize {
    let gaps = usize::from(GAP) * shown.len().saturating_sub(1);
    shown.iter().map(|shown| usize::from(width(shown))).sum::<usize>() + gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of two rows, at a width.
    fn shown(width: Option<usize>) -> String {
        let columns = [
            Column::text("run"),
            Column::number("rows"),
            Column::text("").leaves(1),
            Column::number("seconds").leaves(2),
            Column::text("shop").leaves(3),
            Column::text("window").cut(8),
        ];
        let mut table = Table::new(&columns);
        table.row(["20260101T000000000000Z-0001".into(), "7".into(), "██".into(), "0.50".into(), String::new(), "everything".into()]);
        let window = "from 2026-01-01 to before 2026-02-01";
        table.row(["20260102T000000000000Z-0002".into(), "12345".into(), "█".into(), "12.25".into(), String::new(), window.into()]);
        let mut out = String::new();
        table.show(&mut out, width);
        out
    }

    #[test]
    fn numbers_stand_to_the_right_and_a_column_without_values_is_left_out() {
        let expected = "\
run                           rows      seconds  window
20260101T000000000000Z-0001      7  ██     0.50  everything
20260102T000000000000Z-0002  12345  █     12.25  from 2026-01-01 to before 2026-02-01
";
        assert_eq!(shown(None), expected);
        assert_eq!(shown(Some(85)), expected);
    }

    #[test]
    fn the_column_that_may_be_cut_gives_way_first_and_then_columns_leave_in_their_turn() {
        let cut = shown(Some(70));
        assert!(cut.lines().all(|line| line.chars().count() <= 70), "{cut}");
        assert!(cut.contains("12.25") && cut.contains('…') && cut.contains("██"), "{cut}");
        let narrow = shown(Some(50));
        assert!(narrow.lines().take(3).all(|line| line.chars().count() <= 50), "{narrow}");
        assert!(!narrow.contains('█') && !narrow.contains("12.25") && narrow.contains("20260102T000000000000Z-0002  12345"), "{narrow}");
        assert!(narrow.ends_with("\nnot shown at this width: seconds (--json has all)\n"), "{narrow}");
        // What may neither be cut nor leave stays, whatever the width.
        assert!(shown(Some(10)).contains("20260101T000000000000Z-0001"));
    }

    #[test]
    fn a_row_is_one_line_whatever_its_cells_hold() {
        let mut table = Table::new(&[Column::text("a").cut(6), Column::text("b")]);
        table.row(["one\ntwo\u{1b}[31m".into(), "x".into()]);
        let mut out = String::new();
        table.show(&mut out, Some(12));
        assert_eq!(out.lines().count(), 2, "{out}");
    }
}
