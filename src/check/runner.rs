//! Runs the checks in an in-memory DuckDB that reads the layer's files and nothing else.
//!
//! The built-in fact checks are local to a partition, or nearly so: they run over groups of partitions, each group read
//! once, so that memory is bounded by a group and not by the run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

use duckdb::Connection;

use super::{
    BUILTIN, CheckError, CheckResult, CustomCheck, Engine, SAMPLE_ROWS,
    builtin::{Builtin, Subject, screen},
};
use crate::{
    cancel::{Cancel, Hook},
    model::{CurrencyTotals, DIM_PRODUCT, DIM_USER, DimensionSpec, Dt, FactSchema, UtcMicros},
};

/// About how many bytes of CSV make a group.
const GROUP_BYTES: u64 = 96 << 20;

/// Below this, planning a query costs more than running it as it is written.
const SMALL_BYTES: u64 = 1 << 20;

/// The columns that the built-in fact checks look at.
const CHECKED_COLUMNS: &str =
    "order_id, sku, user_id, currency, quantity, unit_price, line_total, price_defaulted, created_at, updated_at, dt";

/// Runs the built-in checks over the changed partitions, and the user's own over all of the layer.
///
/// # Errors
/// [`CheckError`]; violations are results, not errors.
pub fn run_checks(engine: Engine, view: &LayerView, custom: &[CustomCheck], cancel: &Cancel) -> Result<Vec<CheckResult>, CheckError> {
    let is_small = custom.is_empty() && bytes_of(view, &view.changed) < SMALL_BYTES && view.entangled.len() <= 1;
    let session = Session::open(engine, view, is_small, cancel)?;
    session.dimensions(!custom.is_empty())?;
    let mut results: BTreeMap<&'static str, CheckResult> = BTreeMap::new();
    session.run_builtin(BUILTIN.iter().filter(|check| check.subject == Subject::Dimensions), &mut results)?;
    for group in groups(view, &view.changed) {
        session.load_group(&group)?;
        session.run_builtin(BUILTIN.iter().filter(|check| applies(check.subject, view)), &mut results)?;
    }
    if let Some(unique) = BUILTIN.first().filter(|_| view.entangled.len() > 1) {
        session.load_keys(&view.entangled)?;
        results.remove(unique.name);
        session.run_builtin([unique].into_iter(), &mut results)?;
    }
    let mut all: Vec<_> = BUILTIN.iter().filter_map(|check| results.remove(check.name)).collect();
    if !custom.is_empty() {
        session.whole_layer()?;
        for check in custom {
            all.push(session.run_custom(check)?);
        }
    }
    Ok(all)
}

fn applies(subject: Subject, view: &LayerView) -> bool {
    match subject {
        Subject::Facts => true,
        Subject::Expectations => view.expected.is_some(),
        Subject::KnownUsers => view.users_configured,
        Subject::KnownProducts => view.products_configured,
        Subject::Dimensions => false,
    }
}

/// The bytes of the files of some partitions.
fn bytes_of<'d>(view: &LayerView, partitions: impl IntoIterator<Item = &'d Dt>) -> u64 {
    let files = partitions.into_iter().filter_map(|dt| view.facts.get(dt));
    files.filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Cuts partitions into groups of about [`GROUP_BYTES`]; one group, empty, where there are none.
fn groups(view: &LayerView, partitions: &BTreeSet<Dt>) -> Vec<Vec<Dt>> {
    let most = view.memory_limit.map_or(GROUP_BYTES, |limit| GROUP_BYTES.min(limit / 10));
    let mut groups = vec![Vec::new()];
    let mut bytes = 0;
    for &dt in partitions {
        let size = bytes_of(view, [&dt]);
        if bytes + size > most && bytes > 0 {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(group) = groups.last_mut() {
            group.push(dt);
        }
    }
    groups
}

struct Session<'a> {
    duckdb: Connection,
    view: &'a LayerView,
    cancel: &'a Cancel,
    /// Ends the query that is running when a signal comes.
    _interrupt: Hook,
}

impl<'a> Session<'a> {
    /// An in-memory DuckDB that reads the folders of the layer and nothing else: no other file, no network, no extension.
    fn open(engine: Engine, view: &'a LayerView, is_small: bool, cancel: &'a Cancel) -> Result<Session<'a>, CheckError> {
        let duckdb = engine.started()?;
        let engine = |error: duckdb::Error| CheckError::Engine(error.to_string());
        let handle = duckdb.interrupt_handle();
        let session = Session { duckdb, view, cancel, _interrupt: cancel.when_stopped(move || handle.interrupt()) };
        let folders: BTreeSet<&Path> = view
            .facts
            .values()
            .filter_map(|path| path.parent()?.parent())
            .chain([&view.dim_user, &view.dim_product].into_iter().flatten().filter_map(|path| path.parent()))
            .collect();
        let allowed: Vec<_> = folders.iter().map(|folder| literal(&format!("{}/", folder.display()))).collect();
        let mut setup = format!(
            "SET temp_directory = {}; SET allowed_directories = [{}];",
            literal(&view.scratch.to_string_lossy()),
            allowed.join(", ")
        );
        if let Some(limit) = view.memory_limit {
            // What DuckDB counts is not all that it takes: the other half is for what it reads and does not count.
            setup.push_str(&format!("SET memory_limit = '{}MiB';", (limit / 2) >> 20));
        }
        if is_small {
            setup.push_str("PRAGMA disable_optimizer;");
        }
        setup.push_str("SET enable_external_access = false; SET lock_configuration = true;");
        session.duckdb.execute_batch(&setup).map_err(engine)?;
        session.tables()?;
        Ok(session)
    }

    fn execute(&self, doing: &str, sql: &str) -> Result<(), CheckError> {
        self.unless_stopped(|| self.duckdb.execute_batch(sql), |detail| CheckError::Layer { doing: doing.to_owned(), detail })
    }

    /// Does something with DuckDB; whatever it says of an interrupt, the signal is why.
    fn unless_stopped<T>(
        &self,
        work: impl FnOnce() -> duckdb::Result<T>,
        failed: impl FnOnce(String) -> CheckError,
    ) -> Result<T, CheckError> {
        if self.cancel.is_stopped() {
            return Err(CheckError::Interrupted);
        }
        work().map_err(|error| if self.cancel.is_stopped() { CheckError::Interrupted } else { failed(error.to_string()) })
    }

    fn tables(&self) -> Result<(), CheckError> {
        let now = self.view.now.map_or("NULL".to_owned(), |now| format!("make_timestamp({})", now.micros()));
        let sql = format!(
            "CREATE TABLE run_clock AS SELECT CAST({now} AS TIMESTAMP) AS now;
             CREATE TABLE run_rules AS SELECT {} AS sums_skus;
             CREATE TABLE expected_rows (dt DATE, rows BIGINT);
             CREATE TABLE expected_revenue (dt DATE, currency VARCHAR, revenue DECIMAL(38,4));",
            self.view.sums_skus
        );
        self.execute("setting up", &sql)
    }

    /// The current members of each dimension, with their flag; and, where they are asked for, `dim_user` and `dim_product` whole.
    fn dimensions(&self, whole: bool) -> Result<(), CheckError> {
        for (spec, path) in [(DIM_USER, &self.view.dim_user), (DIM_PRODUCT, &self.view.dim_product)] {
            let doing = format!("reading {}", spec.name);
            let (source, versioned) = match path {
                Some(path) => dimension_source(&spec, path)?,
                None => (empty_dimension(&spec), false),
            };
            let current = if versioned { " WHERE is_current" } else { "" };
            let (name, key) = (spec.name, spec.key());
            self.execute(&doing, &format!("CREATE TABLE {name}_member AS SELECT {key}, inferred FROM ({source}){current};"))?;
            if whole {
                self.execute(&doing, &format!("CREATE VIEW {name} AS {source};"))?;
            }
        }
        Ok(())
    }

    /// The rows of some partitions, in memory, under the name that the checks know; and what they must add up to.
    fn load_group(&self, group: &[Dt]) -> Result<(), CheckError> {
        let rows = facts_source(self.view, group.iter());
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
        )?;
        let Some(expected) = &self.view.expected else { return Ok(()) };
        let mut sql = "DELETE FROM expected_rows; DELETE FROM expected_revenue;".to_owned();
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
    fn load_keys(&self, partitions: &BTreeSet<Dt>) -> Result<(), CheckError> {
        let rows = facts_source(self.view, partitions.iter());
        self.execute(
            "reading the keys of partitions that share orders",
            &format!("DROP TABLE fact_order_changed; CREATE VIEW fact_order_changed AS SELECT order_id, sku, dt FROM ({rows});"),
        )
    }

    /// What a user's SQL sees: all of the layer as `fact_order`, and the run's share as `fact_order_changed`.
    fn whole_layer(&self) -> Result<(), CheckError> {
        let all = facts_source(self.view, self.view.facts.keys());
        let changed = facts_source(self.view, self.view.changed.iter());
        let kind = if self.view.entangled.len() > 1 { "VIEW" } else { "TABLE" };
        self.execute(
            "setting up",
            &format!("DROP {kind} fact_order_changed; CREATE VIEW fact_order AS {all}; CREATE VIEW fact_order_changed AS {changed};"),
        )
    }

    /// Runs some checks: all of them in one query that tells which find anything, and those that do by themselves.
    fn run_builtin(
        &self,
        checks: impl Iterator<Item = &'static Builtin>,
        results: &mut BTreeMap<&'static str, CheckResult>,
    ) -> Result<(), CheckError> {
        let checks: Vec<&'static Builtin> = checks.collect();
        for check in &checks {
            results.entry(check.name).or_insert_with(|| CheckResult {
                name: check.name.to_owned(),
                severity: check.severity,
                passed: true,
                violations: 0,
                sample: Vec::new(),
            });
        }
        let doing = |detail| CheckError::Layer { doing: "running the built-in checks".to_owned(), detail };
        for check in self.unless_stopped(|| self.suspicious(&checks), doing)? {
            let Some(result) = results.get_mut(check.name) else { continue };
            let doing = |detail| CheckError::Layer { doing: format!("running the check {}", check.name), detail };
            self.unless_stopped(|| self.violations(check.sql, result), doing)?;
        }
        Ok(())
    }

    /// The checks that may find something: a query each would cost more than it looks at.
    fn suspicious(&self, checks: &[&'static Builtin]) -> duckdb::Result<Vec<&'static Builtin>> {
        let conditions: Vec<_> = checks
            .iter()
            .enumerate()
            .map(|(number, check)| match screen(check.name) {
                Some(condition) => format!("SELECT {number} WHERE (\n{condition}\n)"),
                None => format!("SELECT {number} WHERE EXISTS (\n{}\n)", check.sql),
            })
            .collect();
        let mut statement = self.duckdb.prepare(&conditions.join("\nUNION ALL\n"))?;
        let numbers = statement.query_map([], |row| row.get::<_, usize>(0))?.collect::<duckdb::Result<Vec<_>>>()?;
        let mut found: Vec<_> = numbers.into_iter().filter_map(|number| checks.get(number).copied()).collect();
        found.sort_unstable_by_key(|check| check.name);
        Ok(found)
    }

    fn run_custom(&self, check: &CustomCheck) -> Result<CheckResult, CheckError> {
        let mut result =
            CheckResult { name: check.name.clone(), severity: check.severity, passed: true, violations: 0, sample: Vec::new() };
        let failed = |detail| CheckError::Custom { path: check.path.clone(), detail };
        self.unless_stopped(|| self.violations(&check.sql, &mut result), failed)?;
        Ok(result)
    }

    /// Counts the rows of a query, and takes the first of them.
    fn violations(&self, sql: &str, result: &mut CheckResult) -> duckdb::Result<()> {
        let count: i64 = self.duckdb.query_row(&format!("SELECT count(*) FROM (\n{sql}\n)"), [], |row| row.get(0))?;
        if count == 0 {
            return Ok(());
        }
        result.passed = false;
        result.violations += u64::try_from(count).unwrap_or_default();
        let wanted = SAMPLE_ROWS.saturating_sub(result.sample.len());
        let mut statement =
            self.duckdb.prepare(&format!("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (\n{sql}\n) ORDER BY ALL LIMIT {wanted}"))?;
        let mut rows = statement.query([])?;
        let names: Vec<String> = rows.as_ref().map(|statement| statement.column_names()).unwrap_or_default();
        while let Some(row) = rows.next()? {
            let mut shown = BTreeMap::new();
            for (place, name) in names.iter().enumerate() {
                shown.insert(name.clone(), row.get::<_, Option<String>>(place)?);
            }
            result.sample.push(shown);
        }
        Ok(())
    }
}

/// The bytes of the longest text of a row.
fn longest_text(schema: &FactSchema) -> String {
    let texts = schema.columns().filter(|(_, kind)| kind == "VARCHAR");
    let lengths: Vec<_> = texts.map(|(name, _)| format!("coalesce(strlen(\"{name}\"), 0)")).collect();
    format!("greatest({})", lengths.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::Severity,
        layer::{write_header, write_line},
        model::{Line, Money},
    };

    struct Layer {
        dir: tempfile::TempDir,
        view: LayerView,
    }

    fn row<'a>(order_id: &'a str, day: i64) -> Line<'a> {
        Line {
            order_id,
            sku: "s",
            user_id: Some("U1"),
            product_id: None,
            status: None,
            currency: Some("EUR"),
            quantity: 2,
            unit_price: Money::from_units(10_000).unwrap(),
            line_total: Money::from_units(20_000).unwrap(),
            price_defaulted: false,
            user_country: None,
            product_name: None,
            product_category: Some("a \"b\",\nc"),
            created_at: UtcMicros::from_civil((2026, 1, day), 0, 0, 0).unwrap(),
            updated_at: None,
        }
    }

    fn layer(rows: &[Line<'_>]) -> Layer {
        let dir = tempfile::tempdir().unwrap();
        let mut view = LayerView {
            users_configured: true,
            products_configured: true,
            scratch: dir.path().join("scratch"),
            now: UtcMicros::from_civil((2026, 6, 1), 0, 0, 0),
            ..LayerView::default()
        };
        let mut expected: BTreeMap<Dt, Expected> = BTreeMap::new();
        for dt in rows.iter().map(Line::dt).collect::<BTreeSet<_>>() {
            let mut bytes = Vec::new();
            write_header(&mut bytes, &FactSchema::default());
            for row in rows.iter().filter(|row| row.dt() == dt) {
                write_line(&mut bytes, row, std::iter::empty());
                let expected = expected.entry(dt).or_default();
                expected.rows += 1;
                *expected.revenue.entry(row.currency.unwrap_or_default().to_owned()).or_default() += i128::from(row.line_total.units());
            }
            let path = dir.path().join(format!("curated/dt={dt}/part-00000.csv"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            view.facts.insert(dt, path);
            view.changed.insert(dt);
        }
        view.expected = Some(expected);
        let dims = dir.path().join("dims");
        std::fs::create_dir(&dims).unwrap();
        std::fs::write(
            dims.join("u.csv"),
            "user_id,name,email,country,created_at,inferred\nU1,,,,,false\nU2,,,,2026-01-01 00:00:00,true\n",
        )
        .unwrap();
        std::fs::write(dims.join("p.csv"), "sku,product_id,name,category,list_price,inferred\ns,,,,1.5000,false\n").unwrap();
        (view.dim_user, view.dim_product) = (Some(dims.join("u.csv")), Some(dims.join("p.csv")));
        Layer { dir, view }
    }

    fn violated(layer: &Layer, custom: &[CustomCheck]) -> Vec<(String, u64)> {
        let results = run_checks(Engine::start(), &layer.view, custom, &Cancel::default()).unwrap();
        results.into_iter().filter(|result| !result.passed).map(|result| (result.name, result.violations)).collect()
    }

    fn one(name: &str, violations: u64) -> Vec<(String, u64)> {
        vec![(name.to_owned(), violations)]
    }

    #[test]
    fn a_sound_layer_passes_every_check() {
        let layer = layer(&[row("A", 1), row("B", 1), row("A2", 2)]);
        let results = run_checks(Engine::start(), &layer.view, &[], &Cancel::default()).unwrap();
        assert_eq!(
            results.iter().map(|result| result.name.as_str()).collect::<Vec<_>>(),
            BUILTIN.iter().map(|check| check.name).collect::<Vec<_>>()
        );
        assert_eq!(results.iter().find(|result| !result.passed), None);
    }

    #[test]
    fn each_builtin_check_finds_its_violation_and_nothing_else() {
        for (broken, name) in [
            (Line { line_total: Money::from_units(20_001).unwrap(), ..row("B", 1) }, "fact_line_total"),
            (Line { user_id: Some("U7"), ..row("B", 1) }, "fact_user_in_dim"),
            (Line { sku: "t", ..row("B", 1) }, "fact_product_in_dim"),
            (Line { user_id: Some("U2"), ..row("B", 1) }, "fact_user_known"),
            (Line { quantity: 0, line_total: Money::ZERO, ..row("B", 1) }, "fact_quantity_positive"),
            (
                Line { unit_price: Money::from_units(-1).unwrap(), line_total: Money::from_units(-2).unwrap(), ..row("B", 1) },
                "fact_price_non_negative",
            ),
            (Line { updated_at: UtcMicros::new(0), ..row("B", 1) }, "fact_timestamps_plausible"),
            (row("A", 1), "fact_key_unique"),
        ] {
            assert_eq!(violated(&layer(&[row("A", 1), broken]), &[]), one(name, 1));
        }
    }

    #[test]
    fn a_key_in_two_partitions_is_found_where_orders_are_entangled() {
        let mut layer = layer(&[row("A", 1), row("A", 2), row("B", 3)]);
        layer.view.changed = ["2026-01-02".parse().unwrap()].into();
        layer.view.expected = None;
        assert_eq!(violated(&layer, &[]), []);
        layer.view.entangled = ["2026-01-01".parse().unwrap(), "2026-01-02".parse().unwrap()].into();
        assert_eq!(violated(&layer, &[]), one("fact_key_unique", 1));
    }

    #[test]
    fn totals_and_rows_are_held_against_what_was_parsed() {
        let mut off = layer(&[row("A", 1)]);
        let day = "2026-01-01".parse().unwrap();
        off.view.expected.as_mut().unwrap().get_mut(&day).unwrap().revenue.insert("USD".into(), 1);
        let results = run_checks(Engine::start(), &off.view, &[], &Cancel::default()).unwrap();
        let revenue = results.iter().find(|result| result.name == "fact_revenue_reconciles").unwrap();
        assert_eq!(
            (revenue.violations, revenue.sample[0]["expected"].as_deref(), revenue.sample[0]["actual"].as_deref()),
            (1, Some("0.0001"), Some("0.0000"))
        );
        let mut off = layer(&[row("A", 1)]);
        off.view.expected.as_mut().unwrap().get_mut(&day).unwrap().rows = 2;
        assert_eq!(violated(&off, &[]), one("fact_row_count_reconciles", 1));
    }

    #[test]
    fn a_partition_that_lies_about_its_date_or_lacks_a_value_is_found() {
        let found = |from: &str, to: &str| {
            let layer = layer(&[row("A", 1)]);
            let path = &layer.view.facts[&"2026-01-01".parse().unwrap()];
            let text = std::fs::read_to_string(path).unwrap();
            std::fs::write(path, text.replace(from, to)).unwrap();
            violated(&layer, &[])
        };
        assert_eq!(found("2026-01-01 00", "2026-01-02 00"), one("fact_dt_matches_created_at", 1));
        assert_eq!(found(",false,", ",,"), one("fact_required_not_null", 1));
    }

    #[test]
    fn dimension_keys_are_unique() {
        let layer = layer(&[row("A", 1)]);
        let path = layer.view.dim_user.as_ref().unwrap();
        std::fs::write(path, "user_id,name,email,country,created_at,inferred\nU1,,,,,false\nU1,,,,,false\n").unwrap();
        assert_eq!(violated(&layer, &[]), one("dim_user_key_unique", 1));
        std::fs::write(
            path,
            "user_id,name,email,country,created_at,inferred,valid_from,valid_to,is_current\nU1,,,,,false,,,true\nU1,,,,,false,,,false\n",
        )
        .unwrap();
        assert_eq!(violated(&layer, &[]), []);
    }

    #[test]
    fn a_users_own_check_sees_all_of_the_layer_and_the_runs_share() {
        let mut layer = layer(&[row("A", 1), row("B", 2), row("C", 2)]);
        layer.view.changed = ["2026-01-02".parse().unwrap()].into();
        let custom =
            |sql: &str| CustomCheck { name: "own".into(), severity: Severity::Error, sql: sql.into(), path: "checks/own.sql".into() };
        assert_eq!(violated(&layer, &[custom("SELECT * FROM fact_order -- all")]), one("own", 3));
        assert_eq!(violated(&layer, &[custom("SELECT * FROM fact_order_changed")]), one("own", 2));
        assert_eq!(violated(&layer, &[custom("SELECT list_price FROM dim_product WHERE list_price = 1.5")]), one("own", 1));
        let error = run_checks(Engine::start(), &layer.view, &[custom("SELEC 1")], &Cancel::default()).unwrap_err();
        assert!(error.to_string().starts_with("checks/own.sql: the query does not run"), "{error}");
    }

    #[test]
    fn a_users_own_check_reaches_nothing_but_the_layer() {
        let layer = layer(&[row("A", 1)]);
        let outside = layer.dir.path().join("secret.csv");
        std::fs::write(&outside, "a\n1\n").unwrap();
        for sql in [
            format!("SELECT * FROM read_csv('{}')", outside.display()),
            "SELECT * FROM read_text('/etc/hostname')".to_owned(),
            "SELECT * FROM glob('/etc/*')".to_owned(),
            "SELECT * FROM duckdb_settings() WHERE name = 'enable_external_access' AND value = 'false'".to_owned(),
        ] {
            let check = CustomCheck { name: "own".into(), severity: Severity::Error, sql: sql.clone(), path: "own.sql".into() };
            let result = run_checks(Engine::start(), &layer.view, &[check], &Cancel::default());
            let kept_out = result.as_ref().is_err_and(|error| error.to_string().to_lowercase().contains("permission error"))
                || sql.contains("duckdb_settings");
            assert!(kept_out, "{sql}: {result:?}");
        }
    }

    #[test]
    fn a_price_that_is_a_quotient_may_be_rounded_and_no_further() {
        let total = |units| Line {
            quantity: 3,
            line_total: Money::from_units(units).unwrap(),
            unit_price: Money::from_units(13_333).unwrap(),
            ..row("B", 1)
        };
        let mut sums = layer(&[total(40_000)]);
        assert_eq!(violated(&sums, &[]), one("fact_line_total", 1));
        sums.view.sums_skus = true;
        assert_eq!(violated(&sums, &[]), []);
        let mut sums = layer(&[total(40_001)]);
        sums.view.sums_skus = true;
        assert_eq!(violated(&sums, &[]), one("fact_line_total", 1));
        let mut none = layer(&[Line { quantity: 0, unit_price: Money::ZERO, ..total(5) }]);
        none.view.sums_skus = true;
        assert_eq!(violated(&none, &[]), one("fact_quantity_positive", 1));
    }

    #[test]
    fn a_sample_shows_five_rows_at_most() {
        let rows: Vec<_> =
            (1..=9).map(|day| Line { quantity: -1, line_total: Money::from_units(-10_000).unwrap(), ..row("A", day) }).collect();
        let rows: Vec<_> =
            rows.iter().zip(["a", "b", "c", "d", "e", "f", "g", "h", "i"]).map(|(row, order_id)| Line { order_id, ..*row }).collect();
        let results = run_checks(Engine::start(), &layer(&rows).view, &[], &Cancel::default()).unwrap();
        let negative = results.iter().find(|result| result.name == "fact_quantity_positive").unwrap();
        assert_eq!((negative.violations, negative.sample.len()), (9, 5));
    }
}
