//! `tests/*.toml` beside `etl.toml`: records, and the rows and drops that the mapping is to make of them. Maps none of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    Flags, Place, SettingsError, merge,
    reader::Reader,
    toml_tree::{Table, unknown_key},
};
use crate::model::Reason;

/// The folder of the tests, beside `etl.toml`.
const FOLDER: &str = "tests";

const KEYS: [&str; 6] = ["name", "shop", "records", "file", "rows", "drops"];
const DROP_KEYS: [&str; 4] = ["reason", "order_id", "sku", "line"];

/// A case: what goes in, and what is to come out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MappingCase {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// The shop whose profile maps it, where there are several.
    pub shop: Option<String>,
    /// What goes in.
    pub records: CaseRecords,
    /// The rows, in their order.
    pub rows: Vec<Expected>,
    /// The dropped records and lines, in their order.
    pub drops: Vec<Expected>,
}

impl MappingCase {
    /// An error about it.
    pub fn error(&self, detail: impl std::fmt::Display) -> SettingsError {
        self.place.error(detail)
    }
}

/// The records of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CaseRecords {
    /// Each line is a record.
    Lines(String),
    /// A file, as a source of orders may be.
    File(PathBuf),
}

/// What is to be found in a row or a drop: the values that are named, and no others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Where it is written.
    pub place: Place,
    /// The values by name, as they are written; an empty text is NULL.
    pub values: BTreeMap<String, String>,
}

impl Expected {
    /// An error about it.
    pub fn error(&self, detail: impl std::fmt::Display) -> SettingsError {
        self.place.error(detail)
    }
}

/// The folder of the tests of these settings.
///
/// # Errors
/// `.env` can't be read.
pub fn tests_folder(flags: &Flags) -> Result<PathBuf, SettingsError> {
    let surroundings = merge::surroundings(flags)?;
    Ok(surroundings.file().0.parent().unwrap_or(Path::new("")).join(FOLDER))
}

/// All cases of a folder, by file; none where there is no folder.
///
/// # Errors
/// A file that can't be read, or a mistake in one.
pub fn mapping_cases(folder: &Path) -> Result<Vec<MappingCase>, SettingsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| SettingsError::Unreadable { path, source }
    };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        cases.extend(cases_of(&path.to_string_lossy(), &text, folder)?);
    }
    Ok(cases)
}

fn cases_of(file: &str, text: &str, folder: &Path) -> Result<Vec<MappingCase>, SettingsError> {
    let table = Table::parse(file, text)?;
    let reader = Reader::new(&table, "");
    reader.only(&["case"])?;
    reader.tables("case")?.iter().map(|case| one_case(case, folder)).collect()
}

fn one_case(case: &Reader<'_>, folder: &Path) -> Result<MappingCase, SettingsError> {
    case.only(&KEYS)?;
    let records = match (case.text("records")?, case.text("file")?) {
        (Some(lines), None) => CaseRecords::Lines(lines),
        (None, Some(file)) => CaseRecords::File(folder.join(file)),
        (Some(_), Some(_)) => return Err(case.error("file", "write `records` or `file`, not both")),
        (None, None) => return Err(case.error("records", "write `records`, a record on each line, or `file`")),
    };
    let is_said = |key: &str| case.table().get(key).is_some();
    if !is_said("rows") && !is_said("drops") {
        return Err(case.error("rows", "write what is expected: `rows`, `drops`, or `rows = []`"));
    }
    let drops = case.tables("drops")?;
    for drop in &drops {
        drop.only(&DROP_KEYS)?;
        let reason = drop.needed("reason")?;
        if !Reason::ALL.iter().any(|known| known.as_str() == reason) {
            let detail = unknown_key(&reason, Reason::ALL.iter().map(|known| known.as_str())).replace("unknown key", "no such reason:");
            return Err(drop.error("reason", detail));
        }
    }
    Ok(MappingCase {
        name: case.needed("name")?,
        place: case.table().place.clone(),
        shop: case.text("shop")?,
        records,
        rows: case.tables("rows")?.iter().map(expected).collect::<Result<_, _>>()?,
        drops: drops.iter().map(expected).collect::<Result<_, _>>()?,
    })
}

fn expected(table: &Reader<'_>) -> Result<Expected, SettingsError> {
    let names = table.table().entries().map(|(name, _)| name);
    let value = |name: &str| Ok::<_, SettingsError>((name.to_owned(), table.scalar(name)?.unwrap_or_default()));
    let values = names.map(value).collect::<Result<_, _>>()?;
    Ok(Expected { place: table.table().place.clone(), values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(text: &str) -> Result<Vec<MappingCase>, String> {
        cases_of("tests/a.toml", text, Path::new("tests")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_case_has_records_rows_and_drops() {
        let found = cases("[[case]]\nname = 'a'\nrecords = '''\n{\"id\":1}\n'''\nrows = [{ sku = 'A', line_total = 9.90, quantity = 2, price_defaulted = true }]\n[[case]]\nname = 'b'\nfile = 'b.json'\ndrops = [{ reason = 'missing_sku', line = 0 }]\n").unwrap();
        assert_eq!((found[0].records.clone(), found[0].place.line), (CaseRecords::Lines("{\"id\":1}\n".into()), 1));
        let values: Vec<_> = found[0].rows[0].values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(values, ["line_total=9.90", "price_defaulted=true", "quantity=2", "sku=A"]);
        assert_eq!(found[1].records, CaseRecords::File("tests/b.json".into()));
        assert_eq!((found[1].rows.len(), found[1].drops[0].values["line"].as_str()), (0, "0"));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, message) in [
            ("[[cases]]\nname = 'a'", "tests/a.toml, line 1: unknown key `cases`: did you mean `case`?"),
            ("[[case]]\nname = 'a'\nrows = []", "`case.records`: write `records`"),
            ("[[case]]\nname = 'a'\nrecords = ''\nfile = 'x'\nrows = []", "line 4: `case.file`: write `records` or `file`"),
            ("[[case]]\nname = 'a'\nrecords = ''", "`case.rows`: write what is expected"),
            ("[[case]]\nrecords = ''\nrows = []", "`case.name`: this key is needed here"),
            (
                "[[case]]\nname = 'a'\nrecords = ''\ndrops = [{ reason = 'missing_skew' }]",
                "no such reason: `missing_skew`: did you mean `missing_sku`?",
            ),
            (
                "[[case]]\nname = 'a'\nrecords = ''\ndrops = [{ reason = 'missing_sku', lin = 1 }]",
                "unknown key `lin`: did you mean `line`?",
            ),
            ("[[case]]\nname = 'a'\nrecords = ''\nrows = [{ sku = ['a'] }]", "write a text, a number or a boolean, not a list"),
        ] {
            let error = cases(text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
