//! `etl.toml` as a file: where it is, and its keys. Every unknown key is an error with its line and the nearest known key.

use std::{fs, io, path::Path};

use super::{
    SETTINGS, SettingsError,
    toml_tree::{Place, Table, Value, unknown_key},
};
use crate::settings::Form;

/// The file that is read if no other is named.
pub(super) const DEFAULT_FILE: &str = "etl.toml";

/// Whether a file must exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Its user named it.
    Required,
    /// It is the default.
    Optional,
}

/// Reads the file and refuses unknown keys.
pub(super) fn read(path: &Path, presence: Presence) -> Result<Table, SettingsError> {
    let name = path.to_string_lossy();
    match fs::read_to_string(path) {
        Ok(text) => parse(&name, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && presence == Presence::Optional => {
            Ok(Table::new(Place { file: name.as_ref().into(), line: 1 }))
        }
        Err(source) => Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    }
}

/// The tree of a text whose keys are all known.
pub(super) fn parse(name: &str, text: &str) -> Result<Table, SettingsError> {
    let table = Table::parse(name, text)?;
    refuse_unknown(&table, "")?;
    Ok(table)
}

/// Refuses unknown keys beneath a prefix such as `http.`. Tables of sources have a reader of their own.
fn refuse_unknown(table: &Table, prefix: &str) -> Result<(), SettingsError> {
    let beneath = || SETTINGS.iter().filter_map(|setting| setting.key.strip_prefix(prefix)).filter(|key| !key.is_empty());
    for (key, node) in table.by_line() {
        let full = format!("{prefix}{key}");
        // A key in quotes may be empty or hold a dot, and is then none of ours.
        let is_plain = !key.is_empty() && !key.contains('.');
        if is_plain && SETTINGS.iter().any(|setting| setting.key == full) {
            continue;
        }
        if !is_plain || !beneath().any(|known| known.split('.').next() == Some(key)) {
            return Err(node.place.error(unknown(key, beneath().filter_map(|known| known.split('.').next()))));
        }
        match &node.value {
            Value::Table(inner) => refuse_unknown(inner, &format!("{full}."))?,
            other => return Err(node.place.error(format!("`{full}`: write a table, [{full}], not {}", other.kind()))),
        }
    }
    Ok(())
}

/// The error for an unknown key. A key of this name in another table is nearer than any similar name.
fn unknown<'k>(key: &'k str, siblings: impl Iterator<Item = &'k str>) -> String {
    let elsewhere =
        SETTINGS.iter().find(|setting| setting.form != Form::Table && setting.key.rsplit_once('.').is_some_and(|(_, last)| last == key));
    match elsewhere {
        Some(setting) => format!("unknown key `{key}`: did you mean `{}`?", setting.key),
        None => unknown_key(key, siblings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        let error = |text: &str| parse("etl.toml", text).unwrap_err().to_string();
        assert_eq!(error("orders = \"x\"\nlookbak = \"1h\"\n"), "etl.toml, line 2: unknown key `lookbak`: did you mean `lookback`?");
        assert_eq!(error("[http]\n\nmax_atempts = 3\n"), "etl.toml, line 3: unknown key `max_atempts`: did you mean `max_attempts`?");
        assert_eq!(error("[checks]\nxyzzy = 1\n"), "etl.toml, line 2: unknown key `xyzzy`");
        assert_eq!(error("\"\" = true"), "etl.toml, line 1: unknown key ``");
        assert!(error("\"http.per_page\" = 5").starts_with("etl.toml, line 1: unknown key `http.per_page`"));
        assert_eq!(error("[htttp]\nx = 1"), "etl.toml, line 1: unknown key `htttp`: did you mean `http`?");
        assert_eq!(error("per_page = 5"), "etl.toml, line 1: unknown key `per_page`: did you mean `http.per_page`?");
        assert_eq!(error("http = 5"), "etl.toml, line 1: `http`: write a table, [http], not a whole number");
    }

    #[test]
    fn every_key_of_the_table_of_settings_is_known() {
        for setting in SETTINGS.iter().filter(|setting| !setting.key.is_empty()) {
            assert!(parse("etl.toml", &format!("{} = 1", setting.key)).is_ok(), "{}", setting.key);
        }
    }
}
