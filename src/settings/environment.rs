//! The variables of the environment and of `.env` that concern this tool. Knows no setting: only names and texts.

use std::{
    collections::{BTreeSet, HashMap},
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{ConfiguredValue, Origin, Secret, SettingsError, storage, telemetry};

/// Variables that are read although their names do not begin with `ETL_`.
pub(super) const FOREIGN: [&str; 9] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    // Set by a web server that runs CGI programs: HTTP_PROXY may then be a header of a request.
    "REQUEST_METHOD",
];

/// How the names of the variables of a shop begin.
pub(super) const SHOP_PREFIX: &str = "ETL_SHOP_";

/// How the names of the variables of OpenLineage's clients begin.
const LINEAGE_PREFIX: &str = "OPENLINEAGE_";

/// The name of the file.
pub const DOT_ENV: &str = ".env";

fn concerns_us(name: &str) -> bool {
    name.starts_with("ETL_")
        || name.starts_with(LINEAGE_PREFIX)
        || FOREIGN.contains(&name)
        || telemetry::VARIABLES.contains(&name)
        || storage::VARIABLES.contains(&name)
}

/// The environment and `.env`.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    process: HashMap<String, String>,
    /// The files, the one that counts first.
    files: Vec<HashMap<String, String>>,
}

impl Environment {
    /// The environment of this process and the `.env` of the working directory.
    ///
    /// # Errors
    /// [`SettingsError`], which names the variable or the file.
    pub fn read() -> Result<Environment, SettingsError> {
        let process = process_variables(env::vars_os())?;
        Ok(Environment { process, files: dot_env(Path::new(DOT_ENV))?.into_iter().collect() })
    }

    /// Adds the `.env` in the folder of `etl.toml`, below the one of the working directory.
    pub(super) fn add_folder_of(&mut self, config: &Path) -> Result<(), SettingsError> {
        let folder = config.parent().unwrap_or(Path::new(""));
        if folder.as_os_str().is_empty() || folder == Path::new(".") {
            return Ok(());
        }
        self.files.extend(dot_env(&folder.join(DOT_ENV))?);
        Ok(())
    }

    /// The value of a variable. An empty variable counts as not set.
    pub(super) fn get(&self, name: &str) -> Option<ConfiguredValue> {
        self.first_of(&[name])
    }

    /// The value of the first of these variables that is set, in the environment before `.env`.
    pub(super) fn first_of(&self, names: &[&str]) -> Option<ConfiguredValue> {
        let set = |variables: &HashMap<String, String>| {
            let value = |name: &&str| Some(((*name).to_owned(), variables.get(*name).filter(|value| !value.is_empty())?.clone()));
            names.iter().find_map(value)
        };
        let process = set(&self.process).map(|(name, value)| ConfiguredValue { value, origin: Origin::Environment(name.into()) });
        let from_file =
            || self.files.iter().find_map(set).map(|(name, value)| ConfiguredValue { value, origin: Origin::DotEnv(name.into()) });
        process.or_else(from_file)
    }

    /// The value of a variable that may be set to an empty text.
    pub(super) fn get_or_empty(&self, name: &str) -> Option<ConfiguredValue> {
        let is_set = std::iter::once(&self.process).chain(&self.files).any(|variables| variables.contains_key(name));
        let empty = || ConfiguredValue { value: String::new(), origin: Origin::Environment(name.to_owned().into()) };
        self.get(name).or_else(|| is_set.then(empty))
    }

    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|configured| Secret::new(configured.value))
    }

    /// The names of all variables that are set, and not to an empty text.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        let variables = std::iter::once(&self.process).chain(&self.files).flatten();
        variables.filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str()).filter(|name| concerns_us(name)).collect()
    }

    /// The environment without a variable.
    pub(super) fn without(&self, name: &str) -> Environment {
        let without = |variables: &HashMap<String, String>| {
            let others = variables.iter().filter(|(other, _)| *other != name);
            others.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        Environment { process: without(&self.process), files: self.files.iter().map(without).collect() }
    }

    /// The names of the variables that shops have of their own.
    pub(super) fn of_shops(&self) -> impl Iterator<Item = &str> {
        let names = std::iter::once(&self.process).chain(&self.files).flat_map(HashMap::keys).map(String::as_str);
        names.filter(|name| name.starts_with(SHOP_PREFIX))
    }

    #[cfg(test)]
    pub(super) fn of(process: &[(&str, &str)], dot_env: &[(&str, &str)]) -> Environment {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment { process: map(process), files: vec![map(dot_env)] }
    }
}

fn process_variables(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<HashMap<String, String>, SettingsError> {
    let mut process = HashMap::new();
    for (name, value) in variables {
        let shown = name.to_string_lossy().into_owned();
        if !concerns_us(&shown) {
            continue;
        }
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => process.insert(name, value),
            _ => return Err(SettingsError::NotUtf8 { variable: shown }),
        };
    }
    Ok(process)
}

/// The variables of a file; a missing file is not an error.
fn dot_env(path: &Path) -> Result<Option<HashMap<String, String>>, SettingsError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => return Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    };
    let invalid = || SettingsError::DotEnv { path: PathBuf::from(path) };
    let text = String::from_utf8(bytes).map_err(|_| invalid())?;
    parse(&text).map(Some).ok_or_else(invalid)
}

/// The variables of a text; `None` where a line is not `NAME=value`.
fn parse(text: &str) -> Option<HashMap<String, String>> {
    let text = without_substitution(text.trim_start_matches('\u{feff}'));
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().ok()
}

/// Where a character of the file stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Name,
    /// Between `=` and the value.
    BeforeValue,
    /// In a value without quotes.
    Plain,
    /// In a value that began with a quote, outside of quotes.
    BetweenQuotes,
    SingleQuotes,
    DoubleQuotes,
    /// Behind a value, where a comment may follow.
    AfterValue,
    Comment,
}

/// The text so that `dotenvy` reads each value as it is written: a password may hold any character. A `$` is never replaced by
/// a variable. In a value without quotes, quotes and backslashes stand for themselves.
fn without_substitution(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut place = Place::Name;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        place = next_place(place, character, escaped.ends_with(char::is_whitespace));
        let has_meaning = match place {
            Place::Plain => matches!(character, '$' | '\\' | '"' | '\''),
            Place::BetweenQuotes | Place::DoubleQuotes => character == '$',
            _ => false,
        };
        if has_meaning {
            escaped.push('\\');
        }
        escaped.push(character);
        if character == '\\' && matches!(place, Place::BetweenQuotes | Place::DoubleQuotes) {
            escaped.extend(characters.next());
        }
    }
    escaped
}

/// Where a character stands, by where the one before it did.
fn next_place(place: Place, character: char, is_after_space: bool) -> Place {
    match (place, character) {
        (Place::SingleQuotes, '\'') | (Place::DoubleQuotes, '"') => Place::BetweenQuotes,
        (Place::SingleQuotes | Place::DoubleQuotes, _) => place,
        (_, '\n') => Place::Name,
        (Place::Name | Place::BeforeValue | Place::AfterValue, '#') if is_after_space || place == Place::Name => Place::Comment,
        (Place::BetweenQuotes, '#') if is_after_space => Place::Comment,
        (Place::Name, '=') => Place::BeforeValue,
        (Place::BeforeValue | Place::BetweenQuotes, '\'') => Place::SingleQuotes,
        (Place::BeforeValue | Place::BetweenQuotes, '"') => Place::DoubleQuotes,
        (Place::BeforeValue, character) if !character.is_whitespace() => Place::Plain,
        (Place::Plain, character) if character.is_whitespace() => Place::AfterValue,
        (place, _) => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dollar_in_dot_env_stands_for_itself() {
        for (line, expected) in [
            ("X=pa$word", "pa$word"),
            ("X=${HOME}", "${HOME}"),
            ("X=\"a$HOME b\"", "a$HOME b"),
            ("X='a$b'", "a$b"),
            ("X='it'\\''s $5'", "it's $5"),
            ("X=a\\$b", "a\\$b"),
            ("X=end\\", "end\\"),
            ("X=x\"y\"z'w", "x\"y\"z'w"),
            ("X=a\\nb # c", "a\\nb"),
            ("X=  a'b\nY=1", "a'b"),
            ("X=$", "$"),
            ("X=$$", "$$"),
            ("X=a$b # costs $5, isn't it", "a$b"),
            ("# isn't a variable\nX=a$b", "a$b"),
            ("export X=a$b", "a$b"),
            ("X = \"a\\\"$b\\n\"", "a\"$b\n"),
            ("X=a#b", "a#b"),
            ("X=\"two\nlines $x\"", "two\nlines $x"),
            ("\u{feff}X=bom", "bom"),
            ("X=crlf$\r\nY=2\r\n", "crlf$"),
            ("X=", ""),
        ] {
            assert_eq!(parse(line).and_then(|variables| variables.get("X").cloned()).as_deref(), Some(expected), "{line}");
        }
        for line in ["not a variable", "X=\"open", "X='open", "X=a b"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_of_ours_that_is_not_utf8_is_named_and_others_are_ignored() {
        use std::os::unix::ffi::OsStringExt;
        let read = |name: &str, value: &[u8]| {
            process_variables([(OsString::from(name), OsString::from_vec(value.to_vec()))].into_iter()).map(|variables| variables.len())
        };
        assert_eq!(read("ETL_OUTPUT", b"a").unwrap(), 1);
        assert_eq!(read("LESS", b"\xff").unwrap(), 0);
        for name in ["ETL_OUTPUT", "HTTPS_PROXY", "no_proxy"] {
            assert_eq!(read(name, b"s\xe9cret").unwrap_err().to_string(), format!("{name}: the value is not valid UTF-8"));
        }
    }

    #[test]
    fn the_environment_beats_dot_env_whatever_the_spelling() {
        let environment = Environment::of(&[("HTTP_PROXY", "a"), ("ETL_X", "")], &[("http_proxy", "b"), ("ETL_X", "c")]);
        assert_eq!(environment.first_of(&["http_proxy", "HTTP_PROXY"]).map(|found| found.value).as_deref(), Some("a"));
        assert_eq!(environment.get("ETL_X").map(|found| found.value).as_deref(), Some("c"));
    }
}
