//! `etl.toml` as a file: where it is, and its keys. Every unknown key is an error with its line and the nearest known key.

use std::{fs, io, path::Path};

use super::{
    SETTINGS, SettingsError,
    setting::OLD_NAMES,
    toml_tree::{Node, Place, Table, Value, unknown_key},
};
use crate::settings::Form;

/// The file that is read if no other is named.
pub const DEFAULT_FILE: &str = "etl.toml";

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
    let table = read_any(path, presence)?;
    refuse_unknown(&table)?;
    Ok(table)
}

/// Reads the file, whatever its keys are.
pub(super) fn read_any(path: &Path, presence: Presence) -> Result<Table, SettingsError> {
    let name = path.to_string_lossy();
    match fs::read_to_string(path) {
        Ok(text) => Ok(with_new_names(Table::parse(&name, &text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && presence == Presence::Optional => {
            Ok(Table::new(Place { file: name.as_ref().into(), line: 1 }))
        }
        Err(source) => Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    }
}

/// The tree of a text whose keys are all known.
pub(super) fn parse(name: &str, text: &str) -> Result<Table, SettingsError> {
    let table = with_new_names(Table::parse(name, text)?);
    refuse_unknown(&table)?;
    Ok(table)
}

/// The file with the names that its keys have now, at its top and in the tables of shops. Where both names stand, the old one stays, and
/// is then refused as unknown: only one of them can count.
fn with_new_names(mut table: Table) -> Table {
    rename(&mut table);
    if let Some(Node { place, value: Value::List(mut shops) }) = table.get("shops").cloned() {
        for shop in &mut shops {
            if let Value::Table(shop) = &mut shop.value {
                rename(shop);
            }
        }
        table.insert("shops", Node { place, value: Value::List(shops) });
    }
    table
}

fn rename(table: &mut Table) {
    for old in &OLD_NAMES {
        if table.get(old.of).is_none()
            && let Some(node) = table.remove(old.key)
        {
            table.insert(old.of, node);
        }
    }
}

fn refuse_unknown(table: &Table) -> Result<(), SettingsError> {
    match unknown_keys(table).into_iter().next() {
        Some(unknown) => Err(unknown.error),
        None => Ok(()),
    }
}

/// A key that no setting has, or that should be a table and is none.
pub(super) struct UnknownKey {
    /// The key, with the tables above it, outermost first.
    pub(super) path: Vec<String>,
    /// What is wrong with it.
    pub(super) error: SettingsError,
}

/// All unknown keys, in the order of their lines. Tables of sources have a reader of their own.
pub(super) fn unknown_keys(table: &Table) -> Vec<UnknownKey> {
    let mut found = Vec::new();
    add_unknown(table, &[], &mut found);
    found
}

/// Adds the unknown keys beneath a path such as `http`.
fn add_unknown(table: &Table, path: &[String], found: &mut Vec<UnknownKey>) {
    let prefix: String = path.iter().map(|key| format!("{key}.")).collect();
    let beneath = || SETTINGS.iter().filter_map(|setting| setting.key.strip_prefix(prefix.as_str())).filter(|key| !key.is_empty());
    for (key, node) in table.by_line() {
        let full = format!("{prefix}{key}");
        let path: Vec<String> = path.iter().cloned().chain([key.to_owned()]).collect();
        // A key in quotes may be empty or hold a dot, and is then none of ours.
        let is_plain = !key.is_empty() && !key.contains('.');
        if is_plain && SETTINGS.iter().any(|setting| setting.key == full) {
            continue;
        }
        if !is_plain || !beneath().any(|known| known.split('.').next() == Some(key)) {
            let error = node.place.error(unknown(key, beneath().filter_map(|known| known.split('.').next())));
            found.push(UnknownKey { path, error });
            continue;
        }
        match &node.value {
            Value::Table(inner) => add_unknown(inner, &path, found),
            other => {
                let error = node.place.error(format!("`{full}`: write a table, [{full}], not {}", other.kind()));
                found.push(UnknownKey { path, error });
            }
        }
    }
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
    fn an_old_name_is_read_as_the_new_one_unless_both_stand() {
        let table = parse("etl.toml", "source = 'a'\n[[shops]]\nname = 'x'\nsource = 'b'\n").unwrap();
        assert_eq!(table.get("profile").and_then(|node| node.value.scalar()).as_deref(), Some("a"));
        let Value::List(shops) = &table.get("shops").unwrap().value else { panic!() };
        let Value::Table(shop) = &shops[0].value else { panic!() };
        assert_eq!((shop.get("profile").map(|node| node.place.line), shop.get("source").is_none()), (Some(4), true));
        assert!(
            parse("etl.toml", "source = 'a'\nprofile = 'b'\n")
                .unwrap_err()
                .to_string()
                .starts_with("etl.toml, line 1: unknown key `source`")
        );
    }

    #[test]
    fn all_unknown_keys_are_found_with_the_tables_above_them() {
        let table = Table::parse("etl.toml", "x1 = 1\n[http]\nper_pag = 5\nmax_pages = 5\n[orders]\nx2 = 1\n[metrics]\nx3 = 1\n").unwrap();
        let found: Vec<_> = unknown_keys(&table).into_iter().map(|unknown| unknown.path.join(".")).collect();
        assert_eq!(found, ["x1", "http.per_pag", "metrics.x3"]);
    }

    #[test]
    fn every_key_of_the_table_of_settings_is_known() {
        for setting in SETTINGS.iter().filter(|setting| !setting.key.is_empty()) {
            assert!(parse("etl.toml", &format!("{} = 1", setting.key)).is_ok(), "{}", setting.key);
        }
    }
}
