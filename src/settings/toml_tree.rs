//! `etl.toml` as a tree whose values know their line. Knows TOML and no setting.

use std::{collections::BTreeMap, fmt, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::SettingsError;

/// A line of a settings file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, as its user named it.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

impl Place {
    /// An error about what stands at this place.
    pub(super) fn error(&self, detail: impl fmt::Display) -> SettingsError {
        SettingsError::File { place: self.clone(), detail: detail.to_string() }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value of TOML. Numbers keep their text, so that they are read digit by digit.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Datetime(String),
    Whole(String),
    Float(String),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// The text of a string, number, boolean or time, as it is written.
    pub(super) fn scalar(&self) -> Option<String> {
        match self {
            Value::Text(text) | Value::Datetime(text) | Value::Whole(text) | Value::Float(text) => Some(text.clone()),
            Value::Boolean(value) => Some(value.to_string()),
            Value::List(_) | Value::Table(_) => None,
        }
    }

    /// What kind of value it is, in an error.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Datetime(_) => "a time",
            Value::Whole(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(_) => "a boolean",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// A table and the line where it begins.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) place: Place,
    entries: BTreeMap<String, Node>,
}

impl Table {
    /// An empty table.
    pub(super) fn new(place: Place) -> Table {
        Table { place, entries: BTreeMap::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`SettingsError::File`], where the text is not TOML.
    pub(super) fn parse(file: &str, text: &str) -> Result<Table, SettingsError> {
        let lines = Lines { file: file.into(), text };
        let root = DeTable::parse(text).map_err(|error| lines.place(error.span().map_or(0, |span| span.start)).error(error.message()))?;
        Ok(lines.table(lines.place(0), root.into_inner()))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.get(key)
    }

    pub(super) fn insert(&mut self, key: &str, node: Node) {
        self.entries.insert(key.to_owned(), node);
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Node> {
        self.entries.remove(key)
    }

    /// The entries by the names of their keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.entries.iter().map(|(key, node)| (key.as_str(), node))
    }

    /// The entries in the order of their lines.
    pub(super) fn by_line(&self) -> Vec<(&str, &Node)> {
        let mut entries: Vec<_> = self.entries().collect();
        entries.sort_by_key(|(_, node)| node.place.line);
        entries
    }

    /// The value under a dotted key.
    pub(super) fn at(&self, key: &str) -> Option<&Node> {
        match key.split_once('.') {
            None => self.get(key),
            Some((table, rest)) => match &self.get(table)?.value {
                Value::Table(table) => table.at(rest),
                _ => None,
            },
        }
    }
}

/// The known key that is nearest to an unknown one, where one is near enough to be meant.
pub(super) fn nearest<'k>(unknown: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= (known.len().max(unknown.len()) / 2).max(2))
        .map(|(_, known)| known)
}

/// "unknown key `x`", with the nearest known key.
pub(super) fn unknown_key<'k>(unknown: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    match nearest(unknown, known) {
        Some(nearest) => format!("unknown key `{unknown}`: did you mean `{nearest}`?"),
        None => format!("unknown key `{unknown}`"),
    }
}

/// Turns the parser's tree, whose places are bytes, into one whose places are lines.
struct Lines<'t> {
    file: Arc<str>,
    text: &'t str,
}

impl Lines<'_> {
    fn place(&self, byte: usize) -> Place {
        let before = &self.text.as_bytes()[..byte.min(self.text.len())];
        Place { file: self.file.clone(), line: before.iter().filter(|&&byte| byte == b'\n').count() + 1 }
    }

    fn table(&self, place: Place, entries: DeTable<'_>) -> Table {
        let node = |key: usize, value| {
            let place = self.place(key);
            Node { value: self.value(&place, value), place }
        };
        let entries =
            entries.into_iter().map(|(key, value)| (key.get_ref().to_string(), node(key.span().start, value.into_inner()))).collect();
        Table { place, entries }
    }

    fn value(&self, place: &Place, value: DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => {
                let decimal = i128::from_str_radix(number.as_str(), number.radix()).map(|number| number.to_string());
                Value::Whole(decimal.unwrap_or_else(|_| number.to_string()))
            }
            DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(time) => Value::Datetime(time.to_string()),
            DeValue::Array(elements) => Value::List(
                elements
                    .into_iter()
                    .map(|element| {
                        let place = self.place(element.span().start);
                        Node { value: self.value(&place, element.into_inner()), place }
                    })
                    .collect(),
            ),
            DeValue::Table(entries) => Value::Table(self.table(place.clone(), entries)),
        }
    }
}

/// A text as TOML has it, in quotes. A text of JSON is one of TOML (and of Python), but for one character.
pub fn toml_text(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line_and_keeps_its_digits() {
        let tree = Table::parse("etl.toml", "a = 1\n\n[b.c]\nd = [\n  0.10,\n  0x1F,\n]\n[[b.e]]\nf = 2026-01-31\n").unwrap();
        assert_eq!(tree.at("b.c.d").unwrap().place.to_string(), "etl.toml, line 4");
        let Value::List(list) = &tree.at("b.c.d").unwrap().value else { panic!() };
        assert_eq!((list[0].place.line, list[0].value.scalar().as_deref()), (5, Some("0.10")));
        assert_eq!((list[1].place.line, list[1].value.scalar().as_deref()), (6, Some("31")));
        let Value::List(list) = &tree.at("b.e").unwrap().value else { panic!() };
        let Value::Table(table) = &list[0].value else { panic!() };
        assert_eq!(table.get("f").and_then(|node| node.value.scalar()).as_deref(), Some("2026-01-31"));
        assert_eq!(Table::parse("x.toml", "a = 1\nb = \n").unwrap_err().to_string().split(':').next(), Some("x.toml, line 2"));
        assert!(Table::parse("x.toml", "a = 1\na = 2\n").unwrap_err().to_string().starts_with("x.toml, line 2: "));
    }

    #[test]
    fn only_a_near_key_is_proposed() {
        assert_eq!(unknown_key("lookbak", ["lookback", "output"]), "unknown key `lookbak`: did you mean `lookback`?");
        assert_eq!(unknown_key("xyzzy", ["lookback", "output"]), "unknown key `xyzzy`");
    }
}
