//! Reads a table of `etl.toml` key by key: types, bounds, unknown keys. Each error names the line, the key and the way out.

use std::{collections::BTreeMap, fmt};

use super::{
    ConfiguredValue, Form, Origin, SettingsError,
    toml_tree::{Node, Table, Value, unknown_key},
};
use crate::model::FieldPath;

/// A table that is being read.
#[derive(Clone)]
pub(super) struct Reader<'t> {
    table: &'t Table,
    /// Its name, with the tables above it.
    name: String,
}

impl<'t> Reader<'t> {
    pub(super) fn new(table: &'t Table, name: &str) -> Reader<'t> {
        Reader { table, name: name.to_owned() }
    }

    pub(super) fn table(&self) -> &'t Table {
        self.table
    }

    /// A key with the tables above it.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// An error about a key, or about the whole table where the key is missing.
    pub(super) fn error(&self, key: &str, detail: impl fmt::Display) -> SettingsError {
        let place = self.table.get(key).map_or(&self.table.place, |node| &node.place);
        place.error(format!("`{}`: {detail}", self.full(key)))
    }

    /// Refuses every key but these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), SettingsError> {
        match self.table.by_line().into_iter().find(|(key, _)| !known.contains(key)) {
            Some((key, node)) => Err(node.place.error(unknown_key(key, known.iter().copied()))),
            None => Ok(()),
        }
    }

    /// The value of a key, which has this form.
    pub(super) fn value(&self, key: &str, form: Form) -> Result<Option<ConfiguredValue>, SettingsError> {
        self.table.get(key).map(|node| typed(node, self.full(key), form)).transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, SettingsError> {
        Ok(self.value(key, Form::Text)?.map(|configured| configured.value))
    }

    /// A text that must be there.
    pub(super) fn needed(&self, key: &str) -> Result<String, SettingsError> {
        self.text(key)?.ok_or_else(|| self.error(key, "this key is needed here"))
    }

    pub(super) fn whole(&self, key: &str, form: Form) -> Result<Option<u64>, SettingsError> {
        self.value(key, form)?.map(|configured| configured.whole(form)).transpose()
    }

    pub(super) fn number(&self, key: &str, form: Form) -> Result<Option<f64>, SettingsError> {
        self.value(key, form)?.map(|configured| configured.number(form)).transpose()
    }

    pub(super) fn yes_no(&self, key: &str) -> Result<Option<bool>, SettingsError> {
        self.value(key, Form::YesNo)?.map(|configured| configured.yes_no()).transpose()
    }

    /// A path within a document.
    pub(super) fn path(&self, key: &str) -> Result<Option<FieldPath>, SettingsError> {
        self.value(key, Form::Text)?.map(|configured| configured.parse()).transpose()
    }

    pub(super) fn needed_path(&self, key: &str) -> Result<FieldPath, SettingsError> {
        self.path(key)?.ok_or_else(|| self.error(key, "this key is needed here"))
    }

    /// A name, such as that of a parameter.
    pub(super) fn name(&self, key: &str) -> Result<Option<String>, SettingsError> {
        match self.text(key)? {
            Some(name) if name.trim().is_empty() => Err(self.error(key, "write a name, not an empty text")),
            name => Ok(name),
        }
    }

    /// A name of an HTTP header.
    pub(super) fn header(&self, key: &str) -> Result<Option<String>, SettingsError> {
        match self.text(key)? {
            Some(name) if name.parse::<reqwest::header::HeaderName>().is_err() => {
                Err(self.error(key, format!("`{name}` is not the name of a header")))
            }
            name => Ok(name),
        }
    }

    /// A table within this one.
    pub(super) fn inner(&self, key: &str) -> Result<Option<Reader<'t>>, SettingsError> {
        match self.table.get(key).map(|node| &node.value) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(Reader { table, name: self.full(key) })),
            Some(other) => Err(self.error(key, format!("write a table, not {}", other.kind()))),
        }
    }

    /// A table within this one; `false` takes away that of a profile below.
    pub(super) fn inner_unless_false(&self, key: &str) -> Result<Option<Reader<'t>>, SettingsError> {
        match self.table.get(key).map(|node| &node.value) {
            Some(Value::Boolean(false)) => Ok(None),
            _ => self.inner(key),
        }
    }

    /// The elements of a list; none where the key is missing.
    pub(super) fn list(&self, key: &str) -> Result<&'t [Node], SettingsError> {
        match self.table.get(key).map(|node| &node.value) {
            None => Ok(&[]),
            Some(Value::List(list)) => Ok(list),
            Some(other) => Err(self.error(key, format!("write a list in brackets, not {}", other.kind()))),
        }
    }

    /// The elements of a list of tables.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<Reader<'t>>, SettingsError> {
        let table = |node: &'t Node| match &node.value {
            Value::Table(table) => Ok(Reader { table, name: self.full(key) }),
            other => Err(node.place.error(format!("`{}`: write a table, not {}", self.full(key), other.kind()))),
        };
        self.list(key)?.iter().map(table).collect()
    }

    /// A text, number or boolean, as it is written.
    pub(super) fn scalar(&self, key: &str) -> Result<Option<String>, SettingsError> {
        self.table.get(key).map(|node| scalar(node, &self.full(key))).transpose()
    }

    /// The texts, numbers and booleans of a list, as they are written.
    pub(super) fn scalars(&self, key: &str) -> Result<Vec<String>, SettingsError> {
        self.list(key)?.iter().map(|node| scalar(node, &self.full(key))).collect()
    }

    /// The texts, numbers and booleans of a table, as they are written.
    pub(super) fn scalar_table(&self, key: &str) -> Result<BTreeMap<String, String>, SettingsError> {
        let Some(inner) = self.inner(key)? else { return Ok(BTreeMap::new()) };
        inner.table.entries().map(|(name, node)| Ok((name.to_owned(), scalar(node, &inner.full(name))?))).collect()
    }
}

fn scalar(node: &Node, key: &str) -> Result<String, SettingsError> {
    let refused = || node.place.error(format!("`{key}`: write a text, a number or a boolean, not {}", node.value.kind()));
    node.value.scalar().ok_or_else(refused)
}

/// A value of `etl.toml` that has the type of its form.
pub(super) fn typed(node: &Node, key: impl Into<String>, form: Form) -> Result<ConfiguredValue, SettingsError> {
    let key = key.into();
    let value = match (form, &node.value) {
        (Form::Whole { .. }, Value::Whole(text)) | (Form::Number { .. }, Value::Whole(text) | Value::Float(text)) => text.clone(),
        (Form::YesNo, Value::Boolean(value)) => value.to_string(),
        (Form::Threshold, Value::Whole(text) | Value::Text(text)) => text.clone(),
        (Form::Text, Value::Text(text) | Value::Datetime(text)) => text.clone(),
        (Form::Span { .. } | Form::Size { .. } | Form::Words(_) | Form::WordsOrAlone { .. }, Value::Text(text)) => text.clone(),
        (form, other) => {
            let wanted = match form {
                Form::Whole { .. } => "a whole number without quotes",
                Form::Number { .. } => "a number without quotes",
                Form::YesNo => "true or false, without quotes",
                Form::Span { .. } => "a span of time in quotes, such as \"30s\"",
                Form::Size { .. } => "a size in quotes, such as \"512MiB\"",
                Form::Text | Form::Words(_) | Form::WordsOrAlone { .. } | Form::Secret => "a text in quotes",
                Form::Threshold => "a whole number, a share in quotes such as \"2%\", or \"off\"",
                Form::Table => "a table",
            };
            return Err(node.place.error(format!("`{key}`: write {wanted}, not {}", other.kind())));
        }
    };
    Ok(ConfiguredValue { value, origin: Origin::File { place: node.place.clone(), key: key.into() } })
}
