//! What the templates show: a page of sections with pictures and tables, as texts. How it is marked up is the templates' alone.

use serde::Serialize;

use super::{
    PageError,
    picture::{Mark, Picture},
};

/// Whether something is good or bad, for its colour and its sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
    Plain,
}

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    pub(super) location: String,
    pub(super) made_at: String,
    pub(super) version: &'static str,
    pub(super) verdicts: Vec<Badge>,
    /// What the reader must know before the numbers.
    pub(super) notes: Vec<String>,
    pub(super) tiles: Vec<Tile>,
    /// How many currencies have no tile; empty if all have one.
    pub(super) more_currencies: String,
    pub(super) sections: Vec<Section>,
}

/// A word with a tone.
#[derive(Debug, Serialize)]
pub(super) struct Badge {
    pub(super) tone: Tone,
    pub(super) text: String,
}

/// One number of the layer.
#[derive(Debug, Serialize)]
pub(super) struct Tile {
    pub(super) label: String,
    pub(super) figure: String,
    pub(super) detail: String,
}

/// A part of the page, with a heading.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) texts: Vec<String>,
    pub(super) figures: Vec<Figure>,
    pub(super) tables: Vec<Table>,
}

impl Section {
    /// A section that has nothing yet.
    pub(super) fn new(id: &'static str, title: &'static str) -> Section {
        Section { id, title, texts: Vec::new(), figures: Vec::new(), tables: Vec::new() }
    }

    /// Adds a table; of one without rows only its note.
    pub(super) fn push(&mut self, table: Table) {
        if table.rows.is_empty() {
            self.texts.push(table.note);
        } else {
            self.tables.push(table);
        }
    }
}

/// What a picture is like: the templates lay it out by that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shape {
    /// Values over days or runs, as wide as the page.
    Bars,
    /// Days of a year.
    Calendar,
}

/// A picture with its axes, its words and its data.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) id: String,
    pub(super) shape: Shape,
    pub(super) title: String,
    /// What it shows, for who does not see it.
    pub(super) desc: String,
    pub(super) plots: Vec<Plot>,
    pub(super) legend: Vec<Legend>,
    pub(super) table: Table,
}

/// One picture with the labels of its axes.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    /// Its own name, if a figure has several.
    pub(super) label: String,
    pub(super) picture: Picture,
    pub(super) rows: Ticks,
    pub(super) columns: Ticks,
}

/// The labels of an axis.
pub(super) type Ticks = Vec<Tick>;

/// A label, at a distance from the beginning of its axis, in percent.
#[derive(Debug, Serialize)]
pub(super) struct Tick {
    pub(super) at: String,
    pub(super) text: String,
}

/// What a colour means.
#[derive(Debug, Serialize)]
pub(super) struct Legend {
    /// The class of the marks.
    pub(super) mark: &'static str,
    pub(super) text: &'static str,
}

impl Legend {
    pub(super) fn new(mark: Mark, text: &'static str) -> Legend {
        Legend { mark: mark.class(), text }
    }
}

/// How the cells of a column stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Align {
    Number,
    Text,
}

/// The head of a column.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    pub(super) title: String,
    pub(super) align: Align,
}

impl Column {
    pub(super) fn number(title: impl Into<String>) -> Column {
        Column { title: title.into(), align: Align::Number }
    }

    pub(super) fn text(title: impl Into<String>) -> Column {
        Column { title: title.into(), align: Align::Text }
    }
}

/// A table. The first cell of each row names it.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// What links find it by; empty if none leads to it.
    pub(super) id: &'static str,
    pub(super) caption: String,
    /// What the colours of its pictures mean.
    pub(super) legend: Vec<Legend>,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// What the table leaves out, or how it is read.
    pub(super) note: String,
    /// Whether it is shown at once, or after a click.
    pub(super) fold: Fold,
}

/// Whether something is shown at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fold {
    Open,
    Closed,
}

impl Table {
    /// A table without rows yet.
    pub(super) fn new(caption: impl Into<String>, columns: Vec<Column>) -> Table {
        let (legend, rows, note) = (Vec::new(), Vec::new(), String::new());
        Table { id: "", caption: caption.into(), legend, columns, rows, note, fold: Fold::Open }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, head: impl Into<String>, cells: Vec<Cell>) {
        self.push_with(head, cells, "");
    }

    /// Adds a row, and a text below it that is as wide as the table.
    pub(super) fn push_with(&mut self, head: impl Into<String>, cells: Vec<Cell>, below: impl Into<String>) {
        self.rows.push(Row { head: head.into(), cells, below: below.into() });
    }
}

/// A row of a table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) head: String,
    pub(super) cells: Vec<Cell>,
    /// A text below it; empty if there is none.
    pub(super) below: String,
}

/// How the text of a cell looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Look {
    Number,
    Text,
    Code,
    Good,
    Warn,
    Bad,
    Plain,
}

/// A cell of a table.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub(super) look: Look,
    pub(super) text: String,
    /// A small picture before the text.
    pub(super) picture: Option<Picture>,
}

impl Cell {
    fn new(look: Look, text: impl Into<String>) -> Cell {
        Cell { look, text: text.into(), picture: None }
    }

    pub(super) fn number(text: impl Into<String>) -> Cell {
        Cell::new(Look::Number, text)
    }

    pub(super) fn text(text: impl Into<String>) -> Cell {
        Cell::new(Look::Text, text)
    }

    pub(super) fn code(text: impl Into<String>) -> Cell {
        Cell::new(Look::Code, text)
    }

    pub(super) fn badge(badge: Badge) -> Cell {
        let look = match badge.tone {
            Tone::Good => Look::Good,
            Tone::Warn => Look::Warn,
            Tone::Bad => Look::Bad,
            Tone::Plain => Look::Plain,
        };
        Cell::new(look, badge.text)
    }

    pub(super) fn picture(picture: Picture, text: impl Into<String>) -> Cell {
        Cell { picture: Some(picture), ..Cell::new(Look::Text, text) }
    }
}

/// The result of a section.
pub(super) type Made = Result<Section, PageError>;
