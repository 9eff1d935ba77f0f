//! Reads the layer's files with DuckDB, in memory that does not grow with the layer: the longest texts, sums and hashes.
//! Every column is read as text, as it stands in the files. No file is changed.

use std::{collections::BTreeMap, path::Path};

use duckdb::{Config, Connection};

use super::{Column, ColumnKind, RedshiftError, Table, identifier};
use crate::{
    cancel::{Cancel, Hook, Stop},
    model::FileFormat,
};

/// How much of a text a message shows, in characters.
const SHOWN: usize = 60;

/// The most bytes of a line in the layer's files.
const LONGEST_LINE: u64 = 64 << 20;

/// A DuckDB that reads the layer.
pub struct LayerReader<'c> {
    duckdb: Connection,
    cancel: &'c Cancel,
    /// Ends the query that is running when a signal comes.
    _interrupt: Hook,
}

impl<'c> LayerReader<'c> {
    /// Starts one with this many threads and about this much memory, in bytes.
    ///
    /// # Errors
    /// [`RedshiftError::Layer`] where DuckDB can't be started.
    pub fn open(threads: usize, memory_limit: Option<u64>, cancel: &'c Cancel) -> Result<LayerReader<'c>, RedshiftError> {
        let start = || {
            let config = Config::default()
                .enable_autoload_extension(false)?
                .with("autoinstall_known_extensions", "false")?
                .with("preserve_insertion_order", "false")?;
            let duckdb = Connection::open_in_memory_with_flags(config)?;
            duckdb.execute_batch(&format!("SET threads = {threads}; SET temp_directory = '';"))?;
            if let Some(limit) = memory_limit {
                duckdb.execute_batch(&format!("SET memory_limit = '{}MiB';", (limit / 2) >> 20))?;
            }
            Ok(duckdb)
        };
        let failed = |error: duckdb::Error| RedshiftError::Layer { doing: "starting DuckDB".to_owned(), detail: error.to_string() };
        let duckdb: Connection = start().map_err(failed)?;
        let handle = duckdb.interrupt_handle();
        Ok(LayerReader { duckdb, cancel, _interrupt: cancel.when_stopped(move || handle.interrupt()) })
    }

    /// The bytes of the longest text of each of these columns; 0 where there is none.
    ///
    /// # Errors
    /// [`RedshiftError::Layer`], or a signal.
    pub fn longest(&self, table: &Table, files: &[&Path], columns: &[String]) -> Result<BTreeMap<String, u64>, RedshiftError> {
        if files.is_empty() || columns.is_empty() {
            return Ok(BTreeMap::new());
        }
        let lengths: Vec<_> =
            columns.iter().map(|name| format!("CAST(coalesce(max(strlen({})), 0) AS VARCHAR)", identifier(name))).collect();
        let rows = self.rows(table.name, &format!("SELECT {} FROM {}", lengths.join(", "), source(table, files)))?;
        let lengths = rows.into_iter().next().unwrap_or_default();
        let length = |cell: Option<String>| cell.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(columns.iter().cloned().zip(lengths.into_iter().map(length)).collect())
    }

    /// The beginning of the longest text of a column.
    ///
    /// # Errors
    /// [`RedshiftError::Layer`], or a signal.
    pub fn example(&self, table: &Table, files: &[&Path], column: &str) -> Result<String, RedshiftError> {
        let name = identifier(column);
        let sql = format!("SELECT left(arg_max({name}, strlen({name})), {SHOWN}) FROM {}", source(table, files));
        let rows = self.rows(table.name, &sql)?;
        Ok(rows.into_iter().flatten().next().flatten().unwrap_or_default())
    }

    /// The rows of a query over the files of a table, which `sql` gets as the source of its FROM. No rows where there are no files.
    ///
    /// # Errors
    /// [`RedshiftError::Layer`], or a signal.
    pub fn query(
        &self,
        table: &Table,
        files: &[&Path],
        sql: impl FnOnce(&str) -> String,
    ) -> Result<Vec<Vec<Option<String>>>, RedshiftError> {
        if files.is_empty() { Ok(Vec::new()) } else { self.rows(table.name, &sql(&source(table, files))) }
    }

    fn rows(&self, doing: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, RedshiftError> {
        let read = || {
            let mut statement = self.duckdb.prepare(sql)?;
            let mut rows = statement.query([])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let columns = row.as_ref().column_count();
                all.push((0..columns).map(|column| row.get(column)).collect::<duckdb::Result<Vec<Option<String>>>>()?);
            }
            Ok(all)
        };
        let failed = |error: duckdb::Error| RedshiftError::Layer { doing: format!("reading {doing}"), detail: error.to_string() };
        read().map_err(|error| self.cancel.stopped().map_or_else(|| failed(error), |stop: Stop| RedshiftError::Interrupted(stop)))
    }
}

/// The files of a table as DuckDB reads them: guessing nothing, each column as the text of the contract.
fn source(table: &Table, files: &[&Path]) -> String {
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let list = files.iter().map(|path| literal(&path.to_string_lossy())).collect::<Vec<_>>().join(", ");
    if files.first().is_some_and(|path| FileFormat::of_path(path) == FileFormat::Parquet) {
        let texts: Vec<_> = table.columns.iter().map(text_of).collect();
        return format!("(SELECT {} FROM read_parquet([{list}], hive_partitioning = false)) AS stored", texts.join(", "));
    }
    let columns: Vec<_> = table.names().map(|name| format!("{}: 'VARCHAR'", literal(name))).collect();
    format!(
        r#"read_csv([{list}], columns = {{{}}}, auto_detect = false, header = true, delim = ',', quote = '"', escape = '"', nullstr = '', new_line = '\n', max_line_size = {LONGEST_LINE}, hive_partitioning = false)"#,
        columns.join(", ")
    )
}

/// A column of a Parquet file as the text that it would have in CSV.
fn text_of(column: &Column) -> String {
    let name = identifier(&column.name);
    match column.kind {
        ColumnKind::Timestamp => format!(
            "CASE WHEN {name} = date_trunc('second', {name}) THEN strftime({name}, '%Y-%m-%d %H:%M:%S') ELSE strftime({name}, '%Y-%m-%d %H:%M:%S.%f') END AS {name}"
        ),
        _ => format!("CAST({name} AS VARCHAR) AS {name}"),
    }
}
