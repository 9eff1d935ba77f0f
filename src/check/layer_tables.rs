//! The SQL that reads the layer's files as tables. Says every column and every path to DuckDB, so that it guesses nothing.

use std::{
    fs::File,
    path::{Component, Path, PathBuf},
};

use super::{CheckError, layer_view::LayerView};
use crate::{
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, Dt, FactSchema, FileFormat},
    settings::CheckedTable,
    store::places::SideFact,
};

/// The column for the file that a row was read from. No column of a user has a space in its name.
const READ_FROM: &str = "read from";

/// The column that DuckDB's readers have of themselves: the place of a row's file in their list, from 0.
const FILE_NUMBER: &str = "file_index";

/// The columns of a table, and whether it keeps versions of its members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TableColumns {
    /// Name and SQL type of each column.
    pub(super) columns: Vec<TableColumn>,
    pub(super) is_versioned: bool,
}

/// A column of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TableColumn {
    pub(super) name: String,
    pub(super) kind: String,
}

impl TableColumns {
    /// The column of a name, in upper or lower case.
    pub(super) fn find(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The argument of `read_csv`.
    fn argument(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| format!("{}: '{}'", literal(&column.name), column.kind)).collect();
        format!("{{{}}}", columns.join(", "))
    }

    /// The names, as SQL lists them.
    fn names(&self) -> String {
        self.columns.iter().map(|column| name(&column.name)).collect::<Vec<_>>().join(", ")
    }

    /// A query of these columns and no row.
    fn empty(&self) -> String {
        let columns: Vec<_> =
            self.columns.iter().map(|column| format!("CAST(NULL AS {}) AS {}", column.kind, name(&column.name))).collect();
        format!("SELECT {} WHERE false", columns.join(", "))
    }
}

/// A text as an SQL literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as an SQL identifier.
pub(super) fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A path as DuckDB spells it where it finds a file by a pattern: without `./` and doubled slashes. A pattern with `..` may match a
/// path of another spelling, so such a path is resolved.
pub(super) fn sql_path(path: &Path) -> String {
    let resolved = if path.components().any(|component| component == Component::ParentDir) { path.canonicalize().ok() } else { None };
    let path = resolved.as_deref().unwrap_or(path);
    let plain: PathBuf = path.components().filter(|component| *component != Component::CurDir).collect();
    plain.to_string_lossy().into_owned()
}

/// A pattern that matches this path alone: DuckDB takes `*`, `?` and `[` in a path for a pattern.
pub(super) fn literal_pattern(path: &str) -> String {
    // Patterns have no way to write a backslash. A row of a file that is not listed has no `dt`, and a check finds it.
    if path.contains('\\') {
        return path.to_owned();
    }
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            c => pattern.push(c),
        }
    }
    pattern
}

/// The CSV of the layer. Folders above a file say nothing about its rows: `hive_partitioning` is off. `files_to_sniff` is 1: every
/// column and its type are said, so that a look at more files finds nothing, and it costs as much as reading a small one.
const READ_CSV: &str = r#"auto_detect = false, hive_partitioning = false, header = true, delim = ',', quote = '"', escape = '"', nullstr = '', new_line = '\n', max_line_size = 67108864, files_to_sniff = 1"#;

/// The columns of the files of `fact_order`, which have no `dt`.
fn fact_file_columns(schema: &FactSchema) -> TableColumns {
    let columns = schema.columns().map(|(name, kind)| TableColumn { name: name.to_owned(), kind }).collect();
    TableColumns { columns, is_versioned: false }
}

/// The columns of `fact_order`, with `dt`.
pub(super) fn fact_columns(schema: &FactSchema) -> TableColumns {
    with_dt(fact_file_columns(schema))
}

/// The columns of a table whose files have no `dt`, with `dt`.
fn with_dt(mut table: TableColumns) -> TableColumns {
    table.columns.push(TableColumn { name: "dt".into(), kind: "DATE".into() });
    table
}

/// How a row gets its `dt` from the list of files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DtLookup {
    /// By a join: the cheapest way to read all rows once.
    Join,
    /// By an expression of the path alone: DuckDB then reads only the files that a condition on `dt` needs.
    Expression,
}

/// A query over the files of some partitions: the columns of `fact_order`, and `dt` from the list of files.
pub(super) fn facts_source<'d>(view: &LayerView, partitions: impl Iterator<Item = &'d Dt>, lookup: DtLookup) -> String {
    let files: Vec<_> = partitions.filter_map(|dt| Some(DayFile { dt, path: sql_path(view.facts.get(dt)?) })).collect();
    rows_source(&fact_file_columns(&view.schema), &files, lookup)
}

/// The same for a side fact: its columns, and `dt`.
pub(super) fn side_source<'d>(view: &LayerView, fact: SideFact, days: impl Iterator<Item = &'d Dt>, lookup: DtLookup) -> String {
    let files: Vec<_> = days.filter_map(|dt| Some(DayFile { dt, path: sql_path(view.side(fact).files.get(dt)?) })).collect();
    let columns = fact.columns().iter().map(|(name, kind)| TableColumn { name: (*name).to_owned(), kind: kind.sql().to_owned() });
    rows_source(&TableColumns { columns: columns.collect(), is_versioned: false }, &files, lookup)
}

/// A file of a day, as DuckDB spells its path.
struct DayFile<'d> {
    dt: &'d Dt,
    path: String,
}

/// What says which file a row is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKey {
    /// The file's place in the list of a reader. Numbers are compared in a fifth of the time that paths take.
    Number,
    Path,
}

/// A query over files of one table, which have no `dt`.
fn rows_source(table: &TableColumns, files: &[DayFile<'_>], lookup: DtLookup) -> String {
    let (parquet, csv): (Vec<&DayFile<'_>>, Vec<_>) =
        files.iter().partition(|file| FileFormat::of_path(Path::new(&file.path)) == FileFormat::Parquet);
    // A user's column may have the name of DuckDB's own.
    let key = if lookup == DtLookup::Join && table.find(FILE_NUMBER).is_none() { FileKey::Number } else { FileKey::Path };
    let mut queries = Vec::new();
    if !csv.is_empty() {
        queries.push(with_dates(table, &csv_rows(table, &csv, key), &csv, key, lookup));
    }
    // A rewrite that was cut off leaves two formats.
    if !parquet.is_empty() {
        queries.push(with_dates(table, &parquet_rows(table, &parquet, key), &parquet, key, lookup));
    }
    if queries.is_empty() { with_dt(table.clone()).empty() } else { queries.join(" UNION ALL ") }
}

/// Rows of files that say which file they are of, with `dt` in its place.
fn with_dates(table: &TableColumns, rows: &str, files: &[&DayFile<'_>], key: FileKey, lookup: DtLookup) -> String {
    let listed = files.iter().enumerate().map(|(number, DayFile { dt, path })| {
        let file = match key {
            FileKey::Number => number.to_string(),
            FileKey::Path => literal(path),
        };
        match lookup {
            DtLookup::Join => format!("({file}, DATE '{dt}')"),
            DtLookup::Expression => format!("{file}: DATE '{dt}'"),
        }
    });
    let (listed, read_from) = (listed.collect::<Vec<_>>().join(", "), name(READ_FROM));
    let names = table.columns.iter().map(|column| format!("line.{}", name(&column.name))).collect::<Vec<_>>().join(", ");
    match lookup {
        DtLookup::Join => format!(
            "SELECT {names}, listed.dt FROM ({rows}) AS line LEFT JOIN (VALUES {listed}) AS listed(file, dt) ON listed.file = line.{read_from}"
        ),
        DtLookup::Expression => format!("SELECT {names}, MAP {{{listed}}}[line.{read_from}] AS dt FROM ({rows}) AS line"),
    }
}

/// The rows of CSV files, with their file as [`READ_FROM`].
fn csv_rows(table: &TableColumns, files: &[&DayFile<'_>], key: FileKey) -> String {
    let (names, patterns, columns, read_from) = (table.names(), patterns(files), table.argument(), name(READ_FROM));
    match key {
        FileKey::Number => {
            format!("SELECT {names}, {FILE_NUMBER} AS {read_from} FROM read_csv([{patterns}], columns = {columns}, {READ_CSV})")
        }
        FileKey::Path => {
            let column = literal(READ_FROM);
            format!("SELECT {names}, {read_from} FROM read_csv([{patterns}], columns = {columns}, filename = {column}, {READ_CSV})")
        }
    }
}

/// The same of Parquet files.
fn parquet_rows(table: &TableColumns, files: &[&DayFile<'_>], key: FileKey) -> String {
    let cast: Vec<_> = table.columns.iter().map(|column| format!("CAST({0} AS {1}) AS {0}", name(&column.name), column.kind)).collect();
    let (cast, patterns, read_from) = (cast.join(", "), patterns(files), name(READ_FROM));
    match key {
        FileKey::Number => {
            format!("SELECT {cast}, {FILE_NUMBER} AS {read_from} FROM read_parquet([{patterns}], hive_partitioning = false)")
        }
        FileKey::Path => {
            let column = literal(READ_FROM);
            format!("SELECT {cast}, {read_from} FROM read_parquet([{patterns}], filename = {column}, hive_partitioning = false)")
        }
    }
}

/// Patterns that match these files, each one file.
fn patterns(files: &[&DayFile<'_>]) -> String {
    files.iter().map(|file| literal(&literal_pattern(&file.path))).collect::<Vec<_>>().join(", ")
}

/// A query over the file of a dimension; one without rows if there is no file.
pub(super) fn dimension_source(columns: &TableColumns, path: Option<&Path>) -> String {
    match path {
        Some(path) => {
            let pattern = literal(&literal_pattern(&sql_path(path)));
            format!("SELECT * FROM read_csv({pattern}, columns = {}, {READ_CSV})", columns.argument())
        }
        None => columns.empty(),
    }
}

/// The columns of a dimension: those of its file's header, or the fixed ones where there is no file.
pub(super) fn dimension_columns(spec: &DimensionSpec, path: Option<&Path>) -> Result<TableColumns, CheckError> {
    let names: Vec<String> = match path {
        Some(path) => {
            let damaged = |detail: String| CheckError::Layer { doing: format!("reading {}", path.display()), detail };
            let file = File::open(path).map_err(|error| damaged(error.to_string()))?;
            let mut reader = csv::Reader::from_reader(file);
            reader.headers().map_err(|error| damaged(error.to_string()))?.iter().map(str::to_owned).collect()
        }
        None => spec.columns.iter().map(|column| column.name).chain(["inferred"]).map(str::to_owned).collect(),
    };
    let typed = |name: String| {
        let kind = match name.as_str() {
            "inferred" | "is_current" => "BOOLEAN",
            "valid_from" | "valid_to" => "TIMESTAMP",
            _ => spec.columns.iter().find(|column| column.name == name).map_or("VARCHAR", |column| column.kind.sql()),
        };
        TableColumn { kind: kind.to_owned(), name }
    };
    let columns: Vec<_> = names.into_iter().map(typed).collect();
    let is_versioned = columns.iter().any(|column| column.name == "is_current");
    Ok(TableColumns { columns, is_versioned })
}

/// The columns of a table that a declared check names.
pub(super) fn table_columns(view: &LayerView, table: CheckedTable) -> Result<TableColumns, CheckError> {
    match table {
        CheckedTable::FactOrder => Ok(fact_columns(&view.schema)),
        CheckedTable::DimUser => dimension_columns(&DIM_USER, view.dim_user.as_deref()),
        CheckedTable::DimProduct => dimension_columns(&DIM_PRODUCT, view.dim_product.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_number_unless_a_column_has_that_name() {
        let source = |column: &str, lookup| {
            let table = TableColumns { columns: vec![TableColumn { name: column.into(), kind: "VARCHAR".into() }], is_versioned: false };
            let days: [Dt; 2] = [Dt::from_days(0).unwrap(), Dt::from_days(1).unwrap()];
            let file = |dt, path: &str| DayFile { dt, path: path.into() };
            rows_source(&table, &[file(&days[0], "a.csv"), file(&days[1], "b.parquet"), file(&days[1], "c.csv")], lookup)
        };
        let joined = source("x", DtLookup::Join);
        assert!(joined.contains("(0, DATE '1970-01-01'), (1, DATE '1970-01-02')"), "{joined}");
        assert!(joined.contains("UNION ALL") && joined.contains("(VALUES (0, DATE '1970-01-02'))"), "{joined}");
        let by_path = source("FILE_index", DtLookup::Join);
        assert!(by_path.contains("('a.csv', DATE '1970-01-01')") && !by_path.contains("(0, "), "{by_path}");
        assert!(source("file", DtLookup::Join).contains(r#"SELECT line."file", listed.dt"#));
        assert!(source("x", DtLookup::Expression).contains("MAP {'a.csv': DATE '1970-01-01'"));
    }

    #[test]
    fn a_path_is_a_pattern_of_itself_alone() {
        let pattern = |path: &str| literal_pattern(&sql_path(Path::new(path)));
        assert_eq!(pattern("./a//b/./c.csv"), "a/b/c.csv");
        assert_eq!(pattern("/a*b?/[c]{d}/../e'f"), "/a[*]b[?]/[[]c]{d}/../e'f");
        assert_eq!(pattern(r"a\b*"), r"a\b*");
        assert_eq!((literal("it's"), name("a\"b")), ("'it''s'".to_owned(), "\"a\"\"b\"".to_owned()));
    }
}
