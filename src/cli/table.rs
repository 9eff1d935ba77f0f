//! Tables as text: no lines, numbers to the right, one line a row, and never wider than the terminal if that can be.
//!
//! Where a table is too wide, columns give way in a stated order: columns that may be cut shrink to their least width,
//! from the last to the first, and then columns leave, the one of the lowest turn first. The table says which ones.
//! JSON has all of them. A last column of sentences wraps instead: it goes on in the next lines, beneath itself. Columns
//! that fold lose nothing either, wherever they stand. Where no column may be lost, [`Table::show_or_list`] writes a block
//! of lines for each row.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ColumnConstraint, Row, Width, presets};

use super::{escaped::escaped, terminal};

/// The columns between two columns.
const GAP: u16 = 2;

/// What becomes of a cell that has too little room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fit {
    /// It is shown whole.
    Whole,
    /// It is cut to this many columns at least, with `…`.
    Cut(u16),
    /// It goes on in the next line, in this many columns at least. For the last column.
    Wrap(u16),
    /// It goes on in the next lines of its row, in this many columns at least. A word that is longer than that is broken.
    Fold(u16),
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<'t> {
    title: &'t str,
    alignment: CellAlignment,
    fit: Fit,
    /// When it leaves: the lowest first.
    turn: Option<u8>,
}

impl<'t> Column<'t> {
    /// A column of texts, which is always shown whole.
    pub(super) const fn text(title: &'t str) -> Column<'t> {
        Column { title, alignment: CellAlignment::Left, fit: Fit::Whole, turn: None }
    }

    /// A column of numbers, which is always shown whole.
    pub(super) const fn number(title: &'t str) -> Column<'t> {
        Column { title, alignment: CellAlignment::Right, fit: Fit::Whole, turn: None }
    }

    /// It may be cut to this width.
    pub(super) const fn cut(self, least: u16) -> Column<'t> {
        Column { fit: Fit::Cut(least), ..self }
    }

    /// It is the last column, and may be wrapped to this width.
    pub(super) const fn wraps(self, least: u16) -> Column<'t> {
        Column { fit: Fit::Wrap(least), ..self }
    }

    /// It may be folded to this width: nothing of it is lost.
    pub(super) const fn folds(self, least: u16) -> Column<'t> {
        Column { fit: Fit::Fold(least), ..self }
    }

    /// It may leave, in this turn.
    pub(super) const fn leaves(self, turn: u8) -> Column<'t> {
        Column { turn: Some(turn), ..self }
    }
}

/// A table. A column without any value is not shown.
pub(super) struct Table<'t> {
    columns: Vec<Column<'t>>,
    rows: Vec<Vec<String>>,
}

/// A column that is shown.
struct Shown<'s, 't> {
    column: &'s Column<'t>,
    /// Its place in the rows.
    place: usize,
    /// The width of its content.
    width: u16,
}

impl Shown<'_, '_> {
    /// The width to which it may shrink.
    fn least(&self) -> u16 {
        match self.column.fit {
            Fit::Whole => self.width,
            Fit::Cut(least) | Fit::Wrap(least) | Fit::Fold(least) => least.min(self.width),
        }
    }
}

impl<'t> Table<'t> {
    pub(super) fn new(columns: &[Column<'t>]) -> Table<'t> {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a text for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| escaped(&cell).into_owned()).collect());
    }

    /// Writes the table, in at most `width` columns; `None`: in any.
    pub(super) fn show(&self, out: &mut String, width: Option<usize>) {
        let mut shown = self.columns_with_values();
        let mut left = Vec::new();
        if let Some(width) = width {
            left = drop_until(&mut shown, width);
            cut_to(&mut shown, width);
        }
        self.write(out, &shown);
        let left: Vec<_> = left.into_iter().filter(|title| !title.is_empty()).collect();
        if !left.is_empty() {
            let _ = writeln!(out, "\nnot shown at this width: {} (--json has all)", left.join(", "));
        }
    }

    /// Writes the table if it fits into `width` columns, its last one wrapped if it may be, and else a block for each
    /// row: a line for each value, behind its title.
    pub(super) fn show_or_list(&self, out: &mut String, width: Option<usize>) {
        let mut shown = self.columns_with_values();
        if width.is_none_or(|width| total(&shown, |shown| shown.least()) <= width) {
            cut_to(&mut shown, width.unwrap_or(usize::MAX));
            self.write(out, &shown);
            return;
        }
        let label = shown.iter().map(|shown| shown.column.title.chars().count()).max().unwrap_or(0);
        for (number, cells) in (1..).zip(&self.rows) {
            let _ = writeln!(out, "row {number} of {}", self.rows.len());
            for Shown { column, place, .. } in &shown {
                if let Some(cell) = cells.get(*place).filter(|cell| !cell.is_empty()) {
                    let _ = writeln!(out, "  {:<label$}  {cell}", column.title);
                }
            }
        }
    }

    fn columns_with_values(&self) -> Vec<Shown<'_, 't>> {
        let has_values = |place: usize| self.rows.iter().any(|row| row.get(place).is_some_and(|cell| !cell.trim().is_empty()));
        let all = self.columns.iter().enumerate().filter(|(place, _)| has_values(*place));
        let mut shown: Vec<_> = all.map(|(place, column)| Shown { column, place, width: 0 }).collect();
        let widths = self.layout(&shown).column_max_content_widths();
        shown.iter_mut().zip(widths).for_each(|(shown, width)| shown.width = width);
        shown
    }

    /// The cells of these columns. No cell has a second line, unless a column folds: what does not fit is cut.
    fn layout(&self, shown: &[Shown<'_, 't>]) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        let mut header = row(shown.iter().map(|shown| shown.column.title));
        header.max_height(1);
        table.set_header(header);
        let has_folds = shown.iter().any(|shown| matches!(shown.column.fit, Fit::Fold(_)));
        for cells in &self.rows {
            let mut cells = row(shown.iter().map(|shown| cells.get(shown.place).map_or("", String::as_str)));
            if !has_folds {
                cells.max_height(1);
            }
            table.add_row(cells);
        }
        table
    }

    fn write(&self, out: &mut String, shown: &[Shown<'_, 't>]) {
        let mut table = self.layout(shown);
        for (place, column) in shown.iter().enumerate() {
            let gap = if place + 1 < shown.len() { GAP } else { 0 };
            let Some(arranged) = table.column_mut(place) else { continue };
            arranged.set_padding((0, gap));
            arranged.set_cell_alignment(column.column.alignment);
            // A column that wraps is laid out as wide as it is. Its lines are broken below, between words.
            if !matches!(column.column.fit, Fit::Wrap(_)) {
                arranged.set_constraint(ColumnConstraint::Absolute(Width::Fixed(column.width.saturating_add(gap))));
            }
        }
        let text = table.trim_fmt();
        let wraps = shown.last().filter(|last| matches!(last.column.fit, Fit::Wrap(_)));
        let all = total(shown, |shown| shown.width);
        for line in text.lines() {
            match wraps {
                Some(last) => terminal::wrap_beneath(out, line, all, all - usize::from(last.width)),
                None => out.push_str(line),
            }
            out.push('\n');
        }
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
fn drop_until<'t>(shown: &mut Vec<Shown<'_, 't>>, width: usize) -> Vec<&'t str> {
    let mut left = Vec::new();
    while total(shown, |shown| shown.least()) > width {
        let next = shown.iter().enumerate().filter_map(|(place, shown)| Some((shown.column.turn?, place))).min();
        let Some((_, place)) = next else { break };
        left.push(shown.remove(place).column.title);
    }
    left
}

/// Shrinks what may shrink until all fit.
fn cut_to(shown: &mut [Shown<'_, '_>], width: usize) {
    let mut excess = total(shown, |shown| shown.width).saturating_sub(width);
    for shown in shown.iter_mut().rev() {
        let spare = usize::from(shown.width.saturating_sub(shown.least())).min(excess);
        shown.width = shown.width.saturating_sub(u16::try_from(spare).unwrap_or(u16::MAX));
        excess -= spare;
    }
}

/// The width of all columns with their gaps.
fn total<'s, 't>(shown: &[Shown<'s, 't>], width: impl Fn(&Shown<'s, 't>) -> u16) -> usize {
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

    #[test]
    fn a_last_column_of_sentences_goes_on_beneath_itself_and_loses_no_word() {
        let mut table = Table::new(&[Column::text("part"), Column::text("state"), Column::text("found").wraps(10)]);
        table.row(["output".into(), "works".into(), "output/: nothing is loaded yet".into()]);
        table.row(["users".into(), "unused".into(), "no source is named".into()]);
        let mut out = String::new();
        table.show(&mut out, Some(32));
        let expected = "\
part    state   found
output  works   output/: nothing
                is loaded yet
users   unused  no source is
                named
";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_column_that_folds_goes_on_in_its_row_and_loses_no_letter() {
        let mut table = Table::new(&[Column::text("setting"), Column::text("value").folds(8), Column::text("from").folds(8)]);
        table.row(["output".into(), "a long value".into(), "default".into()]);
        table.row(["url".into(), "https://shop.example".into(), "etl.toml, line 1".into()]);
        let shown = |width| {
            let mut out = String::new();
            table.show(&mut out, width);
            out
        };
        let narrow = shown(Some(30));
        assert!(narrow.lines().all(|line| line.chars().count() <= 30) && !narrow.contains('…'), "{narrow}");
        let column = |start: usize, end: usize| -> String {
            let cells = narrow.lines().skip(2).map(|line| line.chars().skip(start).take(end - start).collect::<String>());
            cells.collect::<String>().replace(' ', "")
        };
        assert!(column(9, 20).ends_with("https://shop.example"), "{narrow}");
        assert!(column(21, 30).ends_with("etl.toml,line1"), "{narrow}");
        assert_eq!(shown(None).lines().count(), 3, "{}", shown(None));
    }

    #[test]
    fn a_table_that_does_not_fit_is_a_block_for_each_row() {
        let mut table = Table::new(&[Column::text("order_id"), Column::text("empty"), Column::text("status")]);
        table.row(["A-1".into(), String::new(), "paid".into()]);
        table.row(["A-2\n".into(), String::new(), String::new()]);
        let shown = |width| {
            let mut out = String::new();
            table.show_or_list(&mut out, width);
            out
        };
        assert_eq!(shown(Some(16)), "order_id  status\nA-1       paid\nA-2\\n\n");
        assert_eq!(shown(Some(15)), "row 1 of 2\n  order_id  A-1\n  status    paid\nrow 2 of 2\n  order_id  A-2\\n\n");
        assert_eq!(shown(None), shown(Some(16)));
    }

    #[test]
    fn a_block_is_for_what_does_not_fit_wrapped_either() {
        let mut table = Table::new(&[Column::text("order_id"), Column::text("values").wraps(10)]);
        table.row(["A-1".into(), "quantity 1 -> 2, price 1 -> 3".into()]);
        let shown = |width| {
            let mut out = String::new();
            table.show_or_list(&mut out, Some(width));
            out
        };
        assert_eq!(shown(26), "order_id  values\nA-1       quantity 1 -> 2,\n          price 1 -> 3\n");
        assert_eq!(shown(19), "row 1 of 1\n  order_id  A-1\n  values    quantity 1 -> 2, price 1 -> 3\n");
    }
}
