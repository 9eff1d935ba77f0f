//! Runs the checks, in their order, and collects the results.
//!
//! The built-in fact checks are local to a partition, or nearly so: they run over groups of partitions, each group read
//! once, so that memory is bounded by a group and not by the run. Knows no SQL: see `session`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    BUILTIN, Builtin, CheckBody, CheckError, CheckResult, CustomCheck, Engine, LayerView, Method, SAMPLE_ROWS, Subject, ViewScope,
    duckdb_error::DuckDbError,
    partition_files::foreign_entries,
    script::custom_sql,
    session::{Optimizer, Session, ViolationQuery},
    violations::{RowLimit, ViolationFile},
};
use crate::{
    cancel::Cancel,
    model::{Dt, LayerIds, Tolerance},
    store::places::SideFact,
};

/// About how many bytes of CSV make a group.
const GROUP_BYTES: u64 = 96 << 20;

/// Below this, planning a query costs more than running it as it is written.
const SMALL_BYTES: u64 = 1 << 20;

/// Runs the built-in checks over the changed partitions, and the user's own over all of the layer.
///
/// # Errors
/// [`CheckError`]; violations are results, not errors.
pub fn run_checks(engine: &mut Engine, view: &LayerView, custom: &[CustomCheck], cancel: &Cancel) -> Result<Vec<CheckResult>, CheckError> {
    let is_small = custom.is_empty() && bytes_of(view, &view.changed) < SMALL_BYTES && view.shared_partitions.len() <= 1;
    let optimizer = if is_small { Optimizer::Off } else { Optimizer::On };
    let session = Session::open(engine, view, optimizer, cancel)?;
    let results = run_all(&session, view, custom);
    session.close(engine, optimizer);
    results
}

fn run_all(session: &Session<'_>, view: &LayerView, custom: &[CustomCheck]) -> Result<Vec<CheckResult>, CheckError> {
    session.dimensions(!custom.is_empty())?;
    let mut results = BuiltinResults { session, view, by_name: BTreeMap::new() };
    // One query for the dimensions and the first group, which may be empty, but is always there.
    let mut with_dimensions = true;
    for group in groups(view, &view.changed) {
        session.load_group(&group)?;
        results.run_over(&group, |subject| applies_to_group(subject, view) || with_dimensions && subject == Subject::Dimensions)?;
        with_dimensions = false;
    }
    if compares_shared_keys(view) {
        session.load_keys(&view.shared_partitions)?;
        results.run(|subject| subject == Subject::Keys)?;
    }
    if !view.totals.files.is_empty() {
        results.check_totals()?;
    }
    if !view.refunds.files.is_empty() {
        results.check_refunds()?;
    }
    results.list_files(view)?;
    let mut all = results.in_order();
    if !custom.is_empty() {
        session.whole_layer()?;
        for check in custom {
            all.push(run_custom(session, view, check)?);
        }
    }
    Ok(all)
}

/// Whether keys are compared across partitions that share orders.
fn compares_shared_keys(view: &LayerView) -> bool {
    view.shared_partitions.len() > 1
}

fn applies_to_group(subject: Subject, view: &LayerView) -> bool {
    match subject {
        Subject::Facts => true,
        // The shared partitions are compared as a whole: a group that is a part of them would be read twice.
        Subject::Keys => !compares_shared_keys(view) || !view.changed.is_subset(&view.shared_partitions),
        Subject::Expectations => view.expected.is_some(),
        Subject::Shops => view.schema.ids() == LayerIds::OfShops,
        Subject::KnownUsers => view.users_configured,
        Subject::KnownProducts => view.products_configured,
        Subject::Dimensions | Subject::Totals | Subject::TotalKeys | Subject::RefundKeys | Subject::RefundOrders | Subject::Files => false,
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

/// The results of the built-in checks, added up over the groups.
struct BuiltinResults<'s> {
    session: &'s Session<'s>,
    view: &'s LayerView,
    by_name: BTreeMap<&'static str, CheckResult>,
}

impl BuiltinResults<'_> {
    /// Runs the queries of some subjects over what is loaded now, where that is no group of partitions.
    fn run(&mut self, is_chosen: impl Fn(Subject) -> bool) -> Result<(), CheckError> {
        self.run_over(&[], is_chosen)
    }

    /// Runs the queries of some subjects over a group of partitions that is loaded. One query finds out which of them find anything,
    /// and only those run by themselves.
    fn run_over(&mut self, group: &[Dt], is_chosen: impl Fn(Subject) -> bool) -> Result<(), CheckError> {
        let mut chosen = Vec::new();
        for check in BUILTIN.iter().filter(|check| is_chosen(check.subject)) {
            let severity = check.severity_in(self.view);
            self.by_name.entry(check.name).or_insert_with(|| CheckResult::new(check.name, severity));
            if let Method::Query { sql, screen } = check.method {
                chosen.push(ChosenQuery { check, sql, screen });
            }
        }
        for query in self.suspicious(&chosen, group)? {
            let Some(result) = self.by_name.get_mut(query.check.name) else { continue };
            let failed = |error: DuckDbError| error.of_layer(&format!("running the check {}", query.check.name));
            if query.check.subject == Subject::Keys {
                self.session.prepare_reported_keys()?;
            }
            self.session
                .add_violations(&ViolationQuery { sql: query.sql, tolerance: Tolerance::default(), table: "", failed: &failed }, result)?;
            if query.check.subject == Subject::Keys {
                self.session.remember_keys(query.sql)?;
            }
        }
        Ok(())
    }

    /// Looks at the totals of orders: whether they add up in the changed partitions, and whether an order has several here and in the
    /// partitions that share orders with them.
    fn check_totals(&mut self) -> Result<(), CheckError> {
        let view = self.view;
        if view.totals_severity.is_some() {
            self.session.load_side(SideFact::OrderTotals, &view.totals.changed)?;
            self.run(|subject| subject == Subject::Totals)?;
        }
        let compared: BTreeSet<Dt> = view.totals.changed.union(&view.shared_partitions).copied().collect();
        self.session.load_side(SideFact::OrderTotals, &compared)?;
        self.run(|subject| subject == Subject::TotalKeys)
    }

    /// Looks at the refunds of the changed days. Whether their orders exist is looked at where the whole layer is: a run takes the
    /// refunds of an order away with its rows.
    fn check_refunds(&mut self) -> Result<(), CheckError> {
        let view = self.view;
        self.session.load_side(SideFact::Refunds, &view.refunds.changed)?;
        self.run(|subject| subject == Subject::RefundKeys)?;
        if view.scope == ViewScope::Changed {
            return Ok(());
        }
        self.session.load_orders()?;
        self.run(|subject| subject == Subject::RefundOrders)
    }

    /// The checks that may find something: a query for each would cost more than it looks at.
    fn suspicious<'c>(&self, chosen: &'c [ChosenQuery], group: &[Dt]) -> Result<Vec<&'c ChosenQuery>, CheckError> {
        let (expectations, others): (Vec<_>, Vec<_>) = chosen.iter().partition(|query| query.check.subject == Subject::Expectations);
        let conditions: Vec<_> = others
            .iter()
            .map(|query| match query.screen {
                Some(condition) => condition.to_owned(),
                None => format!("EXISTS (\n{}\n)", query.sql),
            })
            .collect();
        let numbers = self.session.true_conditions(&conditions)?;
        let mut suspicious: Vec<_> = numbers.into_iter().filter_map(|number| others.get(number).copied()).collect();
        if !expectations.is_empty() && !self.session.adds_up(group)? {
            self.session.load_expected(group)?;
            suspicious.extend(expectations);
        }
        Ok(suspicious)
    }

    /// Looks for files and folders that are not partitions.
    fn list_files(&mut self, view: &LayerView) -> Result<(), CheckError> {
        for check in BUILTIN.iter().filter(|check| check.subject == Subject::Files) {
            let foreign = foreign_entries(view)?;
            let mut result = CheckResult::new(check.name, check.severity);
            result.violations = foreign.len() as u64;
            result.passed = foreign.is_empty();
            for path in foreign.iter().take(SAMPLE_ROWS) {
                result.sample.push([("path".to_owned(), Some(path.clone()))].into());
            }
            if let Some(folder) = view.violations.as_deref().filter(|_| !result.passed) {
                let mut file = ViolationFile::open(folder, &result, &["path".to_owned()], RowLimit::of(&result))?;
                for path in &foreign {
                    file.write([Some(path.as_str())].into_iter())?;
                }
                result.rows_kept = Some(file.finish()?);
            }
            self.by_name.insert(check.name, result);
        }
        Ok(())
    }

    /// The results in the contract's order.
    fn in_order(mut self) -> Vec<CheckResult> {
        BUILTIN.iter().filter_map(|check| self.by_name.remove(check.name)).collect()
    }
}

/// A built-in check that is a query.
struct ChosenQuery {
    check: &'static Builtin,
    sql: &'static str,
    screen: Option<&'static str>,
}

fn run_custom(session: &Session<'_>, view: &LayerView, check: &CustomCheck) -> Result<CheckResult, CheckError> {
    let sql = custom_sql(view, check)?;
    let table = match &check.body {
        CheckBody::Query { .. } => "fact_order",
        CheckBody::Column(declared) => declared.table.name(),
    };
    let failed = |error: DuckDbError| error.of_custom(check, sql.lines().count());
    let query = ViolationQuery { sql: &sql, tolerance: check.tolerance, table, failed: &failed };
    let mut result = CheckResult::new(&check.name, check.severity);
    session.add_violations(&query, &mut result)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{Expected, QueryText, Severity, ViewScope},
        layer::{write_header, write_line},
        model::{DIM_PRODUCT, DIM_USER, DimensionSpec, FactSchema, Line, Money, UtcMicros},
        store::places,
    };

    struct Layer {
        dir: tempfile::TempDir,
        view: LayerView,
    }

    fn row<'a>(order_id: &'a str, day: i64) -> Line<'a> {
        Line {
            user_id: Some("U1"),
            currency: Some("EUR"),
            quantity: 2.into(),
            unit_price: Money::from_units(10_000).unwrap(),
            line_total: Money::from_units(20_000).unwrap(),
            product_category: Some("a \"b\",\nc"),
            created_at: UtcMicros::from_civil((2026, 1, day), 0, 0, 0).unwrap(),
            ..Line::of_key(order_id, "s")
        }
    }

    fn layer(rows: &[Line<'_>]) -> Layer {
        layer_in(tempfile::tempdir().unwrap(), rows)
    }

    fn layer_in(dir: tempfile::TempDir, rows: &[Line<'_>]) -> Layer {
        let mut view = LayerView {
            users_configured: true,
            products_configured: true,
            scratch: dir.path().join("scratch"),
            output: Some(dir.path().to_owned()),
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
        let put = |spec: &DimensionSpec, text: &str| {
            let path = dir.path().join(places::dimension(spec));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let users = "user_id,name,email,country,created_at,inferred\nU1,,,,,false\nU2,,,,2026-01-01 00:00:00,true\n";
        view.dim_user = put(&DIM_USER, users);
        view.dim_product = put(&DIM_PRODUCT, "sku,product_id,name,category,list_price,inferred\ns,,,,1.5000,false\n");
        Layer { dir, view }
    }

    fn violated(layer: &Layer, custom: &[CustomCheck]) -> Vec<(String, u64)> {
        let results = run_checks(&mut Engine::start(), &layer.view, custom, &Cancel::default()).unwrap();
        results.into_iter().filter(|result| !result.passed).map(|result| (result.name, result.violations)).collect()
    }

    fn custom(sql: &str) -> CustomCheck {
        let query = QueryText::parse(sql).unwrap();
        let body = CheckBody::Query { path: "checks/own.sql".into(), query };
        CustomCheck { name: "own".into(), severity: Severity::Error, tolerance: Tolerance::default(), body }
    }

    fn one(name: &str, violations: u64) -> Vec<(String, u64)> {
        vec![(name.to_owned(), violations)]
    }

    #[test]
    fn a_sound_layer_passes_every_check() {
        let layer = layer(&[row("A", 1), row("B", 1), row("A2", 2)]);
        let results = run_checks(&mut Engine::start(), &layer.view, &[], &Cancel::default()).unwrap();
        // It has no shops, and neither totals of orders nor refunds.
        let of_others = |subject: Subject| {
            matches!(subject, Subject::Shops | Subject::Totals | Subject::TotalKeys | Subject::RefundKeys | Subject::RefundOrders)
        };
        let of_layer = BUILTIN.iter().filter(|check| !of_others(check.subject));
        assert_eq!(
            results.iter().map(|result| result.name.as_str()).collect::<Vec<_>>(),
            of_layer.map(|check| check.name).collect::<Vec<_>>()
        );
        assert_eq!(results.iter().find(|result| !result.passed), None);
    }

    #[test]
    fn totals_that_do_not_add_up_and_orders_with_two_of_them_are_found() {
        let days: [Dt; 2] = ["2026-01-01", "2026-01-02"].map(|day| day.parse().unwrap());
        let mut layer = layer(&[row("A", 1), row("B", 2)]);
        let put = |layer: &mut Layer, dt: Dt, rows: &[&str]| {
            let names = crate::model::ORDER_TOTAL_COLUMNS.map(|(name, _)| name).join(",");
            let path = layer.dir.path().join(SideFact::OrderTotals.file(dt));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, format!("{names}\n{}\n", rows.join("\n"))).unwrap();
            layer.view.totals.files.insert(dt, path);
        };
        // The total of the second is not known.
        put(&mut layer, days[0], &["A,EUR,2.0000,,1.0000,,3.0000,,,,2026-01-01 00:00:00,", "C,EUR,2.0000,,,,,,,,2026-01-01 00:00:00,"]);
        put(&mut layer, days[1], &["B,EUR,2.0000,0.5000,,,1.6000,,,,2026-01-02 00:00:00,"]);
        layer.view.totals.changed = days.into();
        assert_eq!(violated(&layer, &[]), [], "nothing is compared");
        layer.view.totals_severity = Some(Severity::Warn);
        assert_eq!(violated(&layer, &[]), one("order_total_reconciles", 1));
        layer.view.totals.changed = [days[0]].into();
        assert_eq!(violated(&layer, &[]), []);
        put(&mut layer, days[1], &["A,EUR,2.0000,,,,2.0000,,,,2026-01-02 00:00:00,"]);
        assert_eq!(violated(&layer, &[]), [], "no order is shared");
        layer.view.shared_partitions = days.into();
        assert_eq!(violated(&layer, &[]), one("order_total_key_unique", 1));
        assert_eq!(
            violated(&layer, &[custom("SELECT order_id FROM fact_order_total WHERE dt = '2026-01-02'")]).last(),
            Some(&("own".to_owned(), 1))
        );
    }

    #[test]
    fn each_builtin_check_finds_its_violation_and_nothing_else() {
        for (broken, name) in [
            (Line { line_total: Money::from_units(20_001).unwrap(), ..row("B", 1) }, "fact_line_total"),
            (Line { user_id: Some("U7"), ..row("B", 1) }, "fact_user_in_dim"),
            (Line { sku: "t", ..row("B", 1) }, "fact_product_in_dim"),
            (Line { user_id: Some("U2"), ..row("B", 1) }, "fact_user_known"),
            (Line { quantity: 0.into(), line_total: Money::ZERO, ..row("B", 1) }, "fact_quantity_positive"),
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
    fn a_key_in_two_partitions_is_found_where_orders_are_shared() {
        let mut layer = layer(&[row("A", 1), row("A", 2), row("B", 3)]);
        layer.view.changed = ["2026-01-02".parse().unwrap()].into();
        layer.view.expected = None;
        assert_eq!(violated(&layer, &[]), []);
        layer.view.shared_partitions = ["2026-01-01".parse().unwrap(), "2026-01-02".parse().unwrap()].into();
        assert_eq!(violated(&layer, &[]), one("fact_key_unique", 1));
    }

    #[test]
    fn a_key_is_looked_for_in_changed_and_in_shared_partitions_and_counted_once() {
        // A stands twice in a changed partition that shares no order; B in two partitions that share orders; C in all of it.
        let rows = [row("A", 1), row("A", 1), row("B", 2), row("B", 3), row("C", 3), row("C", 3), row("C", 4)];
        let mut layer = layer(&rows);
        let days = |days: &[&str]| -> BTreeSet<Dt> { days.iter().map(|day| day.parse().unwrap()).collect() };
        layer.view.expected = None;
        layer.view.changed = days(&["2026-01-01", "2026-01-03"]);
        layer.view.shared_partitions = days(&["2026-01-02", "2026-01-03", "2026-01-04"]);
        layer.view.violations = Some(layer.dir.path().join("violations"));
        assert_eq!(violated(&layer, &[]), one("fact_key_unique", 3));
        let rows = std::fs::read_to_string(layer.dir.path().join("violations/fact_key_unique.csv")).unwrap();
        let mut keys: Vec<_> = rows.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["A", "B", "C"]);
        layer.view.changed = days(&["2026-01-03"]);
        assert_eq!(violated(&layer, &[]), one("fact_key_unique", 2));
    }

    #[test]
    fn folders_above_the_layer_say_nothing_about_its_rows() {
        for folder in ["currency=USD/dt=2020-01-01/status=paid/user_id=U9", "a*b/[c]", "d?{e,f}/it's", "a[*]b"] {
            let dir = tempfile::tempdir().unwrap();
            let above = dir.path().join(folder);
            // A pattern that is taken for one finds these files too.
            std::fs::create_dir_all(dir.path().join("aXb/c/curated/dt=2026-01-01")).unwrap();
            std::fs::write(dir.path().join("aXb/c/curated/dt=2026-01-01/part-00000.csv"), "x\n1\n").unwrap();
            std::fs::create_dir_all(&above).unwrap();
            let layer = layer_in(tempfile::tempdir_in(&above).unwrap(), &[row("A", 1), row("B", 2)]);
            assert_eq!(violated(&layer, &[]), [], "{folder}");
            let seen = custom(
                "SELECT order_id FROM fact_order WHERE currency = 'EUR' AND status IS NULL AND user_id = 'U1' AND dt = CAST(created_at AS DATE)",
            );
            assert_eq!(violated(&layer, &[seen]), one("own", 2), "{folder}");
            let users = custom("SELECT user_id FROM dim_user WHERE user_id = 'U1'");
            assert_eq!(violated(&layer, &[users]), one("own", 1), "{folder}");
        }
    }

    #[test]
    fn a_file_that_is_not_a_partition_is_found() {
        let mut layer = layer(&[row("A", 1), row("B", 2)]);
        std::fs::write(layer.dir.path().join("curated/dt=2026-01-02/part-00001.csv"), "").unwrap();
        std::fs::write(layer.dir.path().join("curated/notes.txt"), "").unwrap();
        assert_eq!(violated(&layer, &[]), one("partition_files", 1));
        layer.view.changed = ["2026-01-01".parse().unwrap()].into();
        assert_eq!(violated(&layer, &[]), []);
        layer.view.scope = ViewScope::Whole;
        layer.view.violations = Some(layer.dir.path().join("violations"));
        let results = run_checks(&mut Engine::start(), &layer.view, &[], &Cancel::default()).unwrap();
        let found = results.iter().find(|result| result.name == "partition_files").unwrap();
        assert_eq!((found.violations, found.rows_kept, found.is_failure()), (2, Some(2), true));
        let rows = std::fs::read_to_string(layer.dir.path().join("violations/partition_files.csv")).unwrap();
        assert_eq!(rows, "path\ncurated/dt=2026-01-02/part-00001.csv\ncurated/notes.txt\n");
    }

    #[test]
    fn a_check_passes_up_to_its_maximum_and_counts_all_violations() {
        let layer = layer(&[row("A", 1), row("B", 2), row("C", 3), row("D", 3)]);
        let run = |tolerance, sql: &str| {
            let check = CustomCheck { tolerance, ..custom(sql) };
            let result = run_checks(&mut Engine::start(), &layer.view, &[check], &Cancel::default()).unwrap().pop().unwrap();
            (result.passed, result.violations, result.sample.len())
        };
        let two = "SELECT * FROM fact_order WHERE order_id IN ('A', 'B')";
        assert_eq!(run(Tolerance::Rows(2), two), (true, 2, 2));
        assert_eq!(run(Tolerance::Rows(1), two), (false, 2, 2));
        assert_eq!(run(Tolerance::percent("50").unwrap(), two), (true, 2, 2));
        assert_eq!(run(Tolerance::percent("49.9").unwrap(), two), (false, 2, 2));
    }

    #[test]
    fn duckdbs_words_come_with_the_line_of_the_file() {
        let layer = layer(&[row("A", 1)]);
        let error = |sql: &str| run_checks(&mut Engine::start(), &layer.view, &[custom(sql)], &Cancel::default()).unwrap_err().to_string();
        let text = error("-- why\n\nSELECT order_id\nFROM fact_order\nWHERE statuss = 1 -- typo\n;\n-- end");
        assert!(text.starts_with("checks/own.sql, line 5: Binder Error") && text.contains("\n  WHERE statuss = 1"), "{text}");
        assert!(error("SELECT\n1 +").starts_with("checks/own.sql, line 2: the query is not complete: "), "{}", error("SELECT\n1 +"));
        assert!(error("INSTALL httpfs").starts_with("checks/own.sql, line 1: "));
    }

    #[test]
    fn a_query_knows_the_window_and_the_threads_of_the_settings() {
        let mut layer = layer(&[row("A", 1), row("B", 2), row("C", 3)]);
        layer.view.threads = Some(1);
        let in_window = custom("SELECT * FROM fact_order WHERE created_at >= $since AND ($until IS NULL OR created_at < $until); -- why");
        assert_eq!(violated(&layer, std::slice::from_ref(&in_window)), []);
        layer.view.window.since = UtcMicros::from_civil((2026, 1, 2), 0, 0, 0);
        assert_eq!(violated(&layer, std::slice::from_ref(&in_window)), one("own", 2));
        layer.view.window.until = UtcMicros::from_civil((2026, 1, 3), 0, 0, 0);
        assert_eq!(violated(&layer, &[in_window]), one("own", 1));
        assert_eq!(
            violated(&layer, &[custom("SELECT current_setting('threads') AS threads WHERE current_setting('threads') = 1")]),
            one("own", 1)
        );
    }

    #[test]
    fn totals_and_rows_are_held_against_what_was_parsed() {
        let mut off = layer(&[row("A", 1)]);
        let day = "2026-01-01".parse().unwrap();
        off.view.expected.as_mut().unwrap().get_mut(&day).unwrap().revenue.insert("USD".into(), 1);
        let results = run_checks(&mut Engine::start(), &off.view, &[], &Cancel::default()).unwrap();
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
    fn one_query_finds_out_whether_partitions_add_up() {
        let negative = Line { quantity: (-3).into(), line_total: Money::from_units(-30_001).unwrap(), ..row("B", 1) };
        let rows = [row("A", 1), negative, Line { currency: None, ..row("C", 1) }, Line { currency: Some("USD"), ..row("D", 2) }];
        let days: [Dt; 2] = ["2026-01-01", "2026-01-02"].map(|day| day.parse().unwrap());
        let adds_up = |change: &dyn Fn(&mut Expected)| {
            let mut layer = layer(&rows);
            change(layer.view.expected.as_mut().unwrap().entry(days[0]).or_default());
            let cancel = Cancel::default();
            let session = Session::open(&mut Engine::start(), &layer.view, Optimizer::Off, &cancel).unwrap();
            session.load_group(&days).unwrap();
            session.adds_up(&days).unwrap()
        };
        assert!(adds_up(&|_| {}));
        assert!(adds_up(&|day| _ = day.revenue.insert("CHF".into(), 0)), "no revenue is none");
        assert!(!adds_up(&|day| day.rows += 1));
        assert!(!adds_up(&|day| _ = day.revenue.insert("CHF".into(), 1)));
        assert!(!adds_up(&|day| _ = day.revenue.remove("EUR")));
        assert!(!adds_up(&|day| *day.revenue.get_mut("").unwrap() += 1), "one ten-thousandth");
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
        assert_eq!(violated(&layer, &[custom("SELECT * FROM fact_order -- all")]), one("own", 3));
        assert_eq!(violated(&layer, &[custom("SELECT * FROM fact_order_changed")]), one("own", 2));
        assert_eq!(violated(&layer, &[custom("SELECT list_price FROM dim_product WHERE list_price = 1.5")]), one("own", 1));
        let error = run_checks(&mut Engine::start(), &layer.view, &[custom("SELEC 1")], &Cancel::default()).unwrap_err();
        assert!(error.to_string().starts_with("checks/own.sql, line 1: Parser Error"), "{error}");
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
            let check = custom(&sql);
            let result = run_checks(&mut Engine::start(), &layer.view, &[check], &Cancel::default());
            let kept_out = result.as_ref().is_err_and(|error| error.to_string().to_lowercase().contains("permission error"))
                || sql.contains("duckdb_settings");
            assert!(kept_out, "{sql}: {result:?}");
        }
    }

    #[test]
    fn a_price_that_is_a_quotient_may_be_rounded_and_no_further() {
        let total = |units| Line {
            quantity: 3.into(),
            line_total: Money::from_units(units).unwrap(),
            unit_price: Money::from_units(13_333).unwrap(),
            ..row("B", 1)
        };
        let mut sums = layer(&[total(40_000)]);
        assert_eq!(violated(&sums, &[]), one("fact_line_total", 1));
        sums.view.has_quotients = true;
        assert_eq!(violated(&sums, &[]), []);
        let mut sums = layer(&[total(40_001)]);
        sums.view.has_quotients = true;
        assert_eq!(violated(&sums, &[]), one("fact_line_total", 1));
        let mut none = layer(&[Line { quantity: 0.into(), unit_price: Money::ZERO, ..total(5) }]);
        none.view.has_quotients = true;
        assert_eq!(violated(&none, &[]), one("fact_quantity_positive", 1));
    }

    #[test]
    fn the_extremes_of_quantities_are_computed_with() {
        let free = |quantity: i64| Line { quantity: quantity.into(), unit_price: Money::ZERO, line_total: Money::ZERO, ..row("B", 1) };
        for (quantity, warned) in [(i64::MIN, one("fact_quantity_positive", 1)), (i64::MAX, Vec::new())] {
            for has_quotients in [true, false] {
                let mut extreme = layer(&[free(quantity)]);
                extreme.view.has_quotients = has_quotients;
                assert_eq!(violated(&extreme, &[]), warned, "{quantity}");
            }
        }
    }

    #[test]
    fn a_sample_shows_five_rows_at_most() {
        let rows: Vec<_> =
            (1..=9).map(|day| Line { quantity: (-1).into(), line_total: Money::from_units(-10_000).unwrap(), ..row("A", day) }).collect();
        let rows: Vec<_> =
            rows.iter().zip(["a", "b", "c", "d", "e", "f", "g", "h", "i"]).map(|(row, order_id)| Line { order_id, ..*row }).collect();
        let results = run_checks(&mut Engine::start(), &layer(&rows).view, &[], &Cancel::default()).unwrap();
        let negative = results.iter().find(|result| result.name == "fact_quantity_positive").unwrap();
        assert_eq!((negative.violations, negative.sample.len()), (9, 5));
    }
}
