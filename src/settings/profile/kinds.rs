//! Tables that have a `kind`, and the keys that belong to each kind.

use crate::settings::{
    SettingsError,
    reader::Reader,
    toml_tree::{Table, Value, nearest},
    value::choice,
};

/// A kind and the keys that its table may have besides `kind`.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
}

/// The text under `kind`.
pub(super) fn kind_text(table: &Table) -> Option<&str> {
    match &table.get("kind")?.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// The kind of a table, which has the keys of that kind and no others.
pub(super) fn kind_of(reader: &Reader<'_>, kinds: &'static [Kind]) -> Result<&'static str, SettingsError> {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    let Some(written) = reader.text("kind")? else { return Err(missing(reader, kinds, &names)) };
    let Some(kind) = kinds.iter().find(|kind| kind.name == written) else {
        let near = nearest(&written, names.iter().copied()).map(|near| format!(" (did you mean `{near}`?)"));
        return Err(reader.error("kind", format!("`{written}` is no kind{}: write {}", near.unwrap_or_default(), choice(&names))));
    };
    match reader.table().by_line().into_iter().find(|(key, _)| *key != "kind" && !kind.keys.contains(key)) {
        None => Ok(kind.name),
        Some((key, _)) => Err(reader.error(key, not_of(kind, key, kinds))),
    }
}

/// The error for a table without `kind`: at its first key, with the kinds that take that key.
fn missing(reader: &Reader<'_>, kinds: &'static [Kind], names: &[&str]) -> SettingsError {
    let Some((key, _)) = reader.table().by_line().into_iter().next() else {
        return reader.error("kind", format!("`kind` is missing: write {}", choice(names)));
    };
    let takers = takers(key, kinds);
    let detail = if takers.is_empty() {
        format!("unknown key `{key}`, and `kind` is missing: write {}", choice(names))
    } else {
        format!("`kind` is missing: `{key}` belongs to {}", choice(&takers))
    };
    reader.error(key, detail)
}

/// Why a kind can't have a key.
fn not_of(kind: &Kind, key: &str, kinds: &'static [Kind]) -> String {
    let takers = takers(key, kinds);
    let owner = if takers.is_empty() { String::new() } else { format!("; `{key}` belongs to {}", choice(&takers)) };
    let own = if kind.keys.is_empty() { "no other key".to_owned() } else { choice(kind.keys) };
    let near = nearest(key, kind.keys.iter().copied()).filter(|_| takers.is_empty());
    match near {
        Some(near) => format!("unknown key `{key}`: did you mean `{near}`?"),
        None => format!("unknown key `{key}` of kind `{}`, which takes {own}{owner}", kind.name),
    }
}

/// The kinds that take a key.
fn takers(key: &str, kinds: &'static [Kind]) -> Vec<&'static str> {
    kinds.iter().filter(|kind| kind.keys.contains(&key)).map(|kind| kind.name).collect()
}
