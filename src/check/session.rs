//! An in-memory DuckDB over the layer's files: the tables that the checks name, and the rows that their queries return.
//!
//! DuckDB reads these files and nothing else. Decides nothing about which checks run.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use duckdb::Connection;

use super::{
    CheckError, CheckResult, Engine, Expected, LayerView, SAMPLE_ROWS,
    duckdb_error::DuckDbError,
    layer_tables::{DtLookup, dimension_columns, dimension_source, facts_source, literal, literal_pattern, side_source, sql_path},
    violations::{RowLimit, ViolationFile},
};
use crate::{
    cancel::{Cancel, Hook},
    model::{CurrencyTotals, DIM_PRODUCT, DIM_USER, Dt, FactSchema, QuantityType, Tolerance, add_totals},
    store::places::SideFact,
};

/// The columns that the built-in fact checks look at.
const CHECKED_COLUMNS: &str =
    "order_id, sku, user_id, currency, quantity, unit_price, line_total, price_defaulted, created_at, updated_at, dt";

/// Whether DuckDB plans its queries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Optimizer {
    On,
    Off,
}

/// A query whose rows are violations.
pub(super) struct ViolationQuery<'q> {
    pub(super) sql: &'q str,
    pub(super) tolerance: Tolerance,
    /// The table whose rows a share is a share of.
    pub(super) table: &'q str,
    /// The error of a query that DuckDB refuses.
    pub(super) failed: &'q dyn Fn(DuckDbError) -> CheckError,
}

/// A DuckDB with the tables of a layer.
pub(super) struct Session<'a> {
    duckdb: Connection,
    view: &'a LayerView,
    cancel: &'a Cancel,
    /// Whether `fact_order_changed` is a view, and no longer the table of a group.
    changed_is_view: Cell<bool>,
    /// Ends the query that is running when a signal comes.
    _interrupt: Hook,
}

impl<'a> Session<'a> {
    /// Opens a DuckDB that reads the folders of the layer and nothing else: no other file, no network, no extension.
    pub(super) fn open(
        engine: &mut Engine,
        view: &'a LayerView,
        optimizer: Optimizer,
        cancel: &'a Cancel,
    ) -> Result<Session<'a>, CheckError> {
        let duckdb = engine.started()?;
        let handle = duckdb.interrupt_handle();
        let session = Session {
            duckdb,
            view,
            cancel,
            changed_is_view: Cell::new(false),
            _interrupt: cancel.when_stopped(move || handle.interrupt()),
        };
        let mut setup = format!(
            "SET temp_directory = {}; SET allowed_directories = [{}];",
            literal(&view.scratch.to_string_lossy()),
            allowed_folders(view).join(", ")
        );
        if let Some(threads) = view.threads {
            setup.push_str(&format!("SET threads = {threads};"));
        }
        if let Some(limit) = view.memory_limit {
            // What DuckDB counts is not all that it takes: the other half is for what it reads and does not count.
            setup.push_str(&format!("SET memory_limit = '{}MiB';", (limit / 2) >> 20));
        }
        if optimizer == Optimizer::Off {
            setup.push_str("PRAGMA disable_optimizer;");
        }
        setup.push_str("SET enable_external_access = false; SET lock_configuration = true;");
        session.duckdb.execute_batch(&setup).map_err(|error| CheckError::Engine(error.to_string()))?;
        session.rules()?;
        Ok(session)
    }

    /// Closes DuckDB: beside what follows, where it is small, and has nothing in the scratch folder that goes meanwhile.
    pub(super) fn close(self, engine: &mut Engine, optimizer: Optimizer) {
        if optimizer == Optimizer::Off {
            engine.close(self.duckdb);
        }
    }

    fn execute(&self, doing: &str, sql: &str) -> Result<(), CheckError> {
        self.ask(&|error| error.of_layer(doing), || Ok(self.duckdb.execute_batch(sql)?))
    }

    /// Asks DuckDB something. After a signal, the signal is the error: it interrupts queries.
    fn ask<T>(&self, failed: &dyn Fn(DuckDbError) -> CheckError, work: impl FnOnce() -> Result<T, AskError>) -> Result<T, CheckError> {
        if self.cancel.is_stopped() {
            return Err(CheckError::Interrupted);
        }
        work().map_err(|error| match error {
            _ if self.cancel.is_stopped() => CheckError::Interrupted,
            AskError::DuckDb(error) => failed(DuckDbError::parse(&error.to_string())),
            AskError::Check(error) => error,
        })
    }

    /// What the checks know of the run. Views, because they cost no more than their text.
    fn rules(&self) -> Result<(), CheckError> {
        let now = self.view.now.map_or("NULL".to_owned(), |now| format!("make_timestamp({})", now.micros()));
        let sql = format!(
            "CREATE VIEW run_clock AS SELECT CAST({now} AS TIMESTAMP) AS now;
             CREATE VIEW run_rules AS SELECT {} AS has_quotients, {} AS has_decimals;",
            self.view.has_quotients,
            self.view.schema.quantity() == QuantityType::Decimal
        );
        self.execute("setting up", &sql)
    }

    /// The current members of each dimension, with their flag; and, where they are asked for, `dim_user` and `dim_product` whole.
    pub(super) fn dimensions(&self, whole: bool) -> Result<(), CheckError> {
        for (spec, path) in [(DIM_USER, self.view.dim_user.as_deref()), (DIM_PRODUCT, self.view.dim_product.as_deref())] {
            let doing = format!("reading {}", spec.name);
            let columns = dimension_columns(&spec, path)?;
            let source = dimension_source(&columns, path);
            let current = if columns.is_versioned { " WHERE is_current" } else { "" };
            let (name, key) = (spec.name, spec.key());
            self.execute(&doing, &format!("CREATE TABLE {name}_member AS SELECT {key}, inferred FROM ({source}){current};"))?;
            if whole {
                self.execute(&doing, &format!("CREATE VIEW {name} AS {source};"))?;
            }
        }
        Ok(())
    }

    /// The rows of some partitions, in memory, under the name that the checks know.
    pub(super) fn load_group(&self, group: &[Dt]) -> Result<(), CheckError> {
        let rows = facts_source(self.view, group.iter(), DtLookup::Join);
        let doing = match (group.first(), group.last()) {
            (Some(first), Some(last)) => format!("reading the partitions dt={first} to dt={last}"),
            _ => "reading no partitions".to_owned(),
        };
        // No text is longer than its row: the lengths cost a look at every text, and hardly any partition needs it.
        let are_short = self.view.short_rows.as_ref().is_some_and(|short| group.iter().all(|dt| short.contains(dt)));
        let longest = if are_short { "0".to_owned() } else { longest_text(&self.view.schema) };
        self.execute(
            &doing,
            &format!("CREATE OR REPLACE TABLE fact_order_changed AS SELECT {CHECKED_COLUMNS}, {longest} AS longest_text FROM ({rows});"),
        )
    }

    /// Whether the rows of some partitions add up to what is expected of them. One query finds out, and only where they do not, the
    /// checks are asked what it is.
    pub(super) fn adds_up(&self, group: &[Dt]) -> Result<bool, CheckError> {
        let Some(expected) = &self.view.expected else { return Ok(true) };
        let sums = self.ask(&|error| error.of_layer("running the built-in checks"), || {
            let mut statement = self.duckdb.prepare(SUMS)?;
            let sums = statement
                .query_map([], |row| Ok(Sum { dt: row.get(0)?, currency: row.get(1)?, rows: row.get(2)?, revenue: row.get(3)? }))?;
            Ok(sums.collect::<duckdb::Result<Vec<_>>>()?)
        })?;
        let mut actual: BTreeMap<Dt, Expected> = BTreeMap::new();
        for sum in &sums {
            let (Ok(dt), Some(units), Ok(rows)) = (sum.dt.parse::<Dt>(), sum.units(), u64::try_from(sum.rows)) else { return Ok(false) };
            let partition = actual.entry(dt).or_default();
            partition.rows += rows;
            add_totals(&mut partition.revenue, Some(&sum.currency), units);
        }
        let nothing = Expected::default();
        let mut expected = group.iter().filter_map(|dt| Some((dt, expected.get(dt)?)));
        Ok(expected.all(|(dt, expected)| is_same(expected, actual.get(dt).unwrap_or(&nothing))))
    }

    /// What the rows of some partitions must add up to.
    pub(super) fn load_expected(&self, group: &[Dt]) -> Result<(), CheckError> {
        let Some(expected) = &self.view.expected else { return Ok(()) };
        let mut sql = "CREATE OR REPLACE TABLE expected_rows (dt DATE, rows BIGINT);
             CREATE OR REPLACE TABLE expected_revenue (dt DATE, currency VARCHAR, revenue DECIMAL(38,4));"
            .to_owned();
        let (mut rows, mut revenue) = (Vec::new(), Vec::new());
        for dt in group {
            let Some(expected) = expected.get(dt) else { continue };
            rows.push(format!("('{dt}', {})", expected.rows));
            for (currency, units) in &expected.revenue {
                revenue.push(format!("('{dt}', {}, CAST('{}' AS DECIMAL(38,4)))", literal(currency), crate::model::units_text(*units)));
            }
        }
        for (table, values) in [("expected_rows", rows), ("expected_revenue", revenue)] {
            if !values.is_empty() {
                sql.push_str(&format!("INSERT INTO {table} VALUES {};", values.join(", ")));
            }
        }
        self.execute("setting up", &sql)
    }

    /// The keys alone of some partitions, under the name that the checks know.
    pub(super) fn load_keys(&self, partitions: &BTreeSet<Dt>) -> Result<(), CheckError> {
        let rows = facts_source(self.view, partitions.iter(), DtLookup::Join);
        let drop = self.drop_changed();
        self.execute(
            "reading the keys of partitions that share orders",
            &format!("{drop} CREATE VIEW fact_order_changed AS SELECT order_id, sku, dt FROM ({rows});"),
        )
    }

    /// A side fact of some days, under the name that the checks know.
    pub(super) fn load_side(&self, fact: SideFact, days: &BTreeSet<Dt>) -> Result<(), CheckError> {
        let rows = side_source(self.view, fact, days.iter(), DtLookup::Join);
        let table = fact.table();
        self.execute(&format!("reading {table}"), &format!("CREATE OR REPLACE VIEW {table}_changed AS {rows};"))
    }

    /// The ids of the orders of all partitions, as `stored_order`.
    pub(super) fn load_orders(&self) -> Result<(), CheckError> {
        let rows = facts_source(self.view, self.view.facts.keys(), DtLookup::Join);
        self.execute(
            "reading the orders of all partitions",
            &format!("CREATE OR REPLACE VIEW stored_order AS SELECT order_id FROM ({rows});"),
        )
    }

    /// The keys that were reported, none at first: the query of keys asks for them.
    pub(super) fn prepare_reported_keys(&self) -> Result<(), CheckError> {
        self.execute("setting up", "CREATE TABLE IF NOT EXISTS reported_keys (order_id VARCHAR, sku VARCHAR);")
    }

    /// Notes the keys that a query of keys reports now, so that it does not report them again.
    pub(super) fn remember_keys(&self, sql: &str) -> Result<(), CheckError> {
        self.execute("setting up", &format!("INSERT INTO reported_keys SELECT order_id, sku FROM (\n{sql}\n);"))
    }

    /// A statement that drops `fact_order_changed`, whatever it is now: a view replaces the table, once.
    fn drop_changed(&self) -> &'static str {
        if self.changed_is_view.replace(true) { "DROP VIEW fact_order_changed;" } else { "DROP TABLE fact_order_changed;" }
    }

    /// What a user's SQL sees: all of the layer as `fact_order`, `fact_order_total` and `fact_refund`, and the run's share as
    /// `fact_order_changed` and the like.
    pub(super) fn whole_layer(&self) -> Result<(), CheckError> {
        let all = facts_source(self.view, self.view.facts.keys(), DtLookup::Expression);
        let changed = facts_source(self.view, self.view.changed.iter(), DtLookup::Expression);
        let drop = self.drop_changed();
        self.execute("setting up", &format!("{drop} CREATE VIEW fact_order AS {all}; CREATE VIEW fact_order_changed AS {changed};"))?;
        for fact in SideFact::ALL {
            let (side, table) = (self.view.side(fact), fact.table());
            let all = side_source(self.view, fact, side.files.keys(), DtLookup::Expression);
            let changed = side_source(self.view, fact, side.changed.iter(), DtLookup::Expression);
            self.execute("setting up", &format!("CREATE VIEW {table} AS {all}; CREATE OR REPLACE VIEW {table}_changed AS {changed};"))?;
        }
        Ok(())
    }

    /// The numbers of the conditions that are true, in their order, found by one query.
    pub(super) fn true_conditions(&self, conditions: &[String]) -> Result<Vec<usize>, CheckError> {
        if conditions.is_empty() {
            return Ok(Vec::new());
        }
        let numbered: Vec<_> =
            conditions.iter().enumerate().map(|(number, condition)| format!("SELECT {number} WHERE (\n{condition}\n)")).collect();
        let mut numbers: Vec<usize> = self.ask(&|error| error.of_layer("running the built-in checks"), || {
            let mut statement = self.duckdb.prepare(&numbered.join("\nUNION ALL\n"))?;
            let numbers = statement.query_map([], |row| row.get(0))?;
            Ok(numbers.collect::<duckdb::Result<_>>()?)
        })?;
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Adds the rows of a query to the result of its check: counts them, and keeps the first of them.
    pub(super) fn add_violations(&self, query: &ViolationQuery<'_>, result: &mut CheckResult) -> Result<(), CheckError> {
        let found = self.count(query.sql, query.failed)?;
        if found == 0 {
            return Ok(());
        }
        result.violations += found;
        let rows = match query.tolerance {
            Tolerance::Share { .. } => self.count(&format!("FROM {}", query.table), query.failed)?,
            Tolerance::Rows(_) => 0,
        };
        result.passed = query.tolerance.accepts(result.violations, rows);
        self.ask(query.failed, || self.keep_rows(query.sql, result))
    }

    /// The number of rows of a query.
    fn count(&self, sql: &str, failed: &dyn Fn(DuckDbError) -> CheckError) -> Result<u64, CheckError> {
        let count: i64 =
            self.ask(failed, || Ok(self.duckdb.query_row(&format!("SELECT count(*) FROM (\n{sql}\n)"), [], |row| row.get(0))?))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Keeps the first rows of a query: a few as the sample, and more in a file where the check fails and a folder is given.
    fn keep_rows(&self, sql: &str, result: &mut CheckResult) -> Result<(), AskError> {
        let for_sample = SAMPLE_ROWS.saturating_sub(result.sample.len());
        let folder = self.view.violations.as_deref().filter(|_| !result.passed);
        let for_file = folder.map_or(0, |_| RowLimit::of(result).rows());
        let limit = for_file.max(for_sample as u64);
        if limit == 0 {
            return Ok(());
        }
        let mut statement =
            self.duckdb.prepare(&format!("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (\n{sql}\n) ORDER BY ALL LIMIT {limit}"))?;
        let mut rows = statement.query([])?;
        let names: Vec<String> = rows.as_ref().map(|statement| statement.column_names()).unwrap_or_default();
        let open = |folder: &Path| ViolationFile::open(folder, result, &names, RowLimit::of(result));
        let mut file = folder.filter(|_| for_file > 0).map(open).transpose()?;
        let mut sample = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..names.len()).map(|place| row.get(place)).collect::<duckdb::Result<Vec<Option<String>>>>()?;
            if let Some(file) = &mut file {
                file.write(values.iter().map(Option::as_deref))?;
            }
            if sample.len() < for_sample {
                sample.push(names.iter().cloned().zip(values).collect::<BTreeMap<_, _>>());
            } else if file.is_none() {
                break;
            }
        }
        result.sample.append(&mut sample);
        if let Some(file) = file {
            result.rows_kept = Some(result.rows_kept.unwrap_or(0) + file.finish()?);
        }
        Ok(())
    }
}

/// The rows and the revenue of each partition and currency. A row without `dt` is of no partition.
const SUMS: &str = "SELECT CAST(dt AS VARCHAR), coalesce(currency, ''), count(*), CAST(coalesce(sum(line_total), 0) AS VARCHAR)
FROM fact_order_changed
WHERE dt IS NOT NULL
GROUP BY dt, coalesce(currency, '')";

/// What the rows of one partition and currency add up to.
struct Sum {
    dt: String,
    currency: String,
    rows: i64,
    /// A number with four decimals.
    revenue: String,
}

impl Sum {
    /// The revenue in ten-thousandths.
    fn units(&self) -> Option<i128> {
        let (whole, decimals) = self.revenue.split_once('.')?;
        if decimals.len() == 4 { format!("{whole}{decimals}").parse().ok() } else { None }
    }
}

/// Whether two partitions have as many rows and the same revenue. A currency without revenue is as good as none.
fn is_same(expected: &Expected, actual: &Expected) -> bool {
    expected.rows == actual.rows && amounts(&expected.revenue).eq(amounts(&actual.revenue))
}

/// The amounts that are not zero.
fn amounts(totals: &CurrencyTotals) -> impl Iterator<Item = (&String, &i128)> {
    totals.iter().filter(|(_, units)| **units != 0)
}

/// What goes wrong while DuckDB is asked.
enum AskError {
    DuckDb(duckdb::Error),
    Check(CheckError),
}

impl From<duckdb::Error> for AskError {
    fn from(error: duckdb::Error) -> AskError {
        AskError::DuckDb(error)
    }
}

impl From<CheckError> for AskError {
    fn from(error: CheckError) -> AskError {
        AskError::Check(error)
    }
}

/// The folders of the layer's files as SQL literals: each as it is, and as the pattern that files are named by.
fn allowed_folders(view: &LayerView) -> Vec<String> {
    let folders: BTreeSet<&Path> = view
        .facts
        .values()
        .chain(view.totals.files.values())
        .chain(view.refunds.files.values())
        .filter_map(|path| path.parent()?.parent())
        .chain([&view.dim_user, &view.dim_product].into_iter().flatten().filter_map(|path| path.parent()))
        .collect();
    let spellings = folders.iter().flat_map(|folder| {
        let path = format!("{}/", sql_path(folder));
        [literal(&literal_pattern(&path)), literal(&path)]
    });
    spellings.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The bytes of the longest text of a row.
fn longest_text(schema: &FactSchema) -> String {
    let texts = schema.columns().filter(|(_, kind)| kind == "VARCHAR");
    let lengths: Vec<_> = texts.map(|(name, _)| format!("coalesce(strlen(\"{name}\"), 0)")).collect();
    format!("greatest({})", lengths.join(", "))
}
