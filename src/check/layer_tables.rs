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

/// The column for the path that a row was read from. No column of a user has a space in its name.
const READ_FROM: &str = "read from";

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
    let files: Vec<_> = partitions.filter_map(|dt| Some((dt, sql_path(view.facts.get(dt)?)))).collect();
    rows_source(&fact_file_columns(&view.schema), &files, lookup)
}

/// The same for a side fact: its columns, and `dt`.
pub(super) fn side_source<'d>(view: &LayerView, fact: SideFact, days: impl Iterator<Item = &'d Dt>, lookup: DtLookup) -> String {
    let files: Vec<_> = days.filter_map(|dt| Some((dt, sql_path(view.side(fact).files.get(dt)?)))).collect();
    let columns = fact.columns().iter().map(|(name, kind)| TableColumn { name: (*name).to_owned(), kind: kind.sql().to_owned() });
    rows_source(&TableColumns { columns: columns.collect(), is_versioned: false }, &files, lookup)
}

/// A query over files of one table, which have no `dt`.
fn rows_source(table: &TableColumns, files: &[(&Dt, String)], lookup: DtLookup) -> String {
    if files.is_empty() {
        return with_dt(table.clone()).empty();
    }
    let names: Vec<_> = table.columns.iter().map(|column| format!("line.{}", name(&column.name))).collect();
    let (names, read_from) = (names.join(", "), format!("line.{}", name(READ_FROM)));
    let rows = file_rows(table, files);
    match lookup {
        DtLookup::Join => {
            let list: Vec<_> = files.iter().map(|(dt, path)| format!("({}, DATE '{dt}')", literal(path))).collect();
            format!(
                "SELECT {names}, listed.dt FROM {rows} LEFT JOIN (VALUES {}) AS listed(file, dt) ON listed.file = {read_from}",
                list.join(", ")
            )
        }
        DtLookup::Expression => {
            let list: Vec<_> = files.iter().map(|(dt, path)| format!("{}: DATE '{dt}'", literal(path))).collect();
            format!("SELECT {names}, MAP {{{}}}[{read_from}] AS dt FROM {rows}", list.join(", "))
        }
    }
}

/// The rows of files, as `line`: each with the columns of the table and the path that it was read from.
fn file_rows(table: &TableColumns, files: &[(&Dt, String)]) -> String {
    let patterns = |is_wanted: &dyn Fn(&str) -> bool| {
        let wanted = files.iter().filter(|(_, path)| is_wanted(path));
        wanted.map(|(_, path)| literal(&literal_pattern(path))).collect::<Vec<_>>().join(", ")
    };
    let is_parquet = |path: &str| FileFormat::of_path(Path::new(path)) == FileFormat::Parquet;
    let read_from = literal(READ_FROM);
    let csv = |patterns: &str| format!("read_csv([{patterns}], columns = {}, filename = {read_from}, {READ_CSV})", table.argument());
    if !files.iter().any(|(_, path)| is_parquet(path)) {
        return format!("{} AS line", csv(&patterns(&|_| true)));
    }
    let cast: Vec<_> = table.columns.iter().map(|column| format!("CAST({0} AS {1}) AS {0}", name(&column.name), column.kind)).collect();
    let parquet = format!(
        "SELECT {}, {} FROM read_parquet([{}], filename = {read_from}, hive_partitioning = false)",
        cast.join(", "),
        name(READ_FROM),
        patterns(&is_parquet)
    );
    if files.iter().all(|(_, path)| is_parquet(path)) {
        return format!("({parquet}) AS line");
    }
    // A rewrite that was cut off leaves two formats.
    format!("({parquet} UNION ALL FROM {}) AS line", csv(&patterns(&|path| !is_parquet(path))))
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
    fn a_path_is_a_pattern_of_itself_alone() {
        let pattern = |path: &str| literal_pattern(&sql_path(Path::new(path)));
        assert_eq!(pattern("./a//b/./c.csv"), "a/b/c.csv");
        assert_eq!(pattern("/a*b?/[c]{d}/../e'f"), "/a[*]b[?]/[[]c]{d}/../e'f");
        assert_eq!(pattern(r"a\b*"), r"a\b*");
        assert_eq!((literal("it's"), name("a\"b")), ("'it''s'".to_owned(), "\"a\"\"b\"".to_owned()));
    }
}
