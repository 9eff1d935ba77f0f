//! `etl redshift`: prints SQL, and only that; or runs it; or compares the warehouse with the layer.

use std::{fmt::Write as _, time::Instant};

use serde_json::json;

use super::{
    args::{RedshiftArgs, RedshiftCommand, RedshiftSqlArgs, RedshiftVerifyArgs},
    display::{Display, Ending},
    escaped::escaped,
    text::counted,
};
use crate::{
    cancel::Cancel,
    model::{Dt, currency_name},
    run::{DayRange, Loaded, Repair, RunError, Verified, Warehouse, WarehouseLoad, WhichRuns},
    settings::{self, Settings},
    warehouse::redshift::{Comparison, DifferentDay, DimensionTotals, RedshiftError, SideTotals, Totals},
};

/// The most days that the text of a comparison shows. JSON shows all.
const SHOWN_DAYS: usize = 50;

pub(super) fn run(args: &RedshiftArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let settings = settings::load(&args.what.config().flags)?;
    let warehouse = Warehouse::open(&settings, cancel)?;
    match &args.what {
        RedshiftCommand::Ddl(sql) => print_or_execute(&warehouse, WarehouseLoad::Tables, sql, display),
        RedshiftCommand::Copy(sql) => print_or_execute(&warehouse, WarehouseLoad::Full, sql, display),
        RedshiftCommand::Merge { sql, run, since_run } => {
            let which = match (run, since_run) {
                (Some(run), _) => WhichRuns::One(run.as_str()),
                (None, Some(run)) => WhichRuns::Since(run.as_str()),
                (None, None) => WhichRuns::Last,
            };
            print_or_execute(&warehouse, WarehouseLoad::Runs(which), sql, display)
        }
        RedshiftCommand::Verify(args) => verify(&warehouse, args, &settings, display),
    }
}

fn print_or_execute(warehouse: &Warehouse<'_>, load: WarehouseLoad<'_>, sql: &RedshiftSqlArgs, display: &Display) -> Result<u8, RunError> {
    if !sql.execute {
        let sql = warehouse.script(load)?;
        display.document(&json!({ "sql": sql }), &sql);
        return Ok(0);
    }
    let began = Instant::now();
    let Loaded { statements, created_tables, added_columns } = warehouse.execute(load)?;
    let seconds = began.elapsed().as_secs_f64();
    let result = json!({
        "status": "done",
        "statements": statements,
        "created_tables": created_tables,
        "added_columns": added_columns,
        "execution_time_seconds": seconds,
    });
    display.outcome(Ending::Success, &result, |out| {
        for table in &created_tables {
            let _ = writeln!(out, "created the table {table}");
        }
        for column in &added_columns {
            let _ = writeln!(out, "added the column {column}");
        }
        let _ = writeln!(out, "done: {} in {seconds:.2} s", counted(statements as u64, "statement"));
    });
    Ok(0)
}

fn verify(warehouse: &Warehouse<'_>, args: &RedshiftVerifyArgs, settings: &Settings, display: &Display) -> Result<u8, RunError> {
    let began = Instant::now();
    let repair = if args.repair { Repair::Yes } else { Repair::No };
    let verified = warehouse.verify(DayRange { since: args.since, until: args.until }, repair)?;
    let seconds = began.elapsed().as_secs_f64();
    let is_equal = verified.last().is_equal();
    let status = match (is_equal, &verified.repaired) {
        (false, _) => "different",
        (true, Some(_)) => "repaired",
        (true, None) => "equal",
    };
    // A repair shows what it repaired. Where it did not help, the result is what differs now.
    let shown = if is_equal { &verified.found } else { verified.last() };
    let Comparison { compared, days, side_facts, dimensions, missing_tables, missing_columns } = shown;
    let result = json!({
        "status": status,
        "compared": compared,
        "days": days,
        "side_facts": side_facts,
        "dimensions": dimensions,
        "missing_tables": missing_tables,
        "missing_columns": missing_columns,
        "created_tables": verified.repaired.as_ref().map(|repaired| &repaired.loaded.created_tables),
        "added_columns": verified.repaired.as_ref().map(|repaired| &repaired.loaded.added_columns),
        "execution_time_seconds": seconds,
    });
    let error = (!is_equal).then(|| RunError::from(RedshiftError::Different(Box::new(shown.difference()))));
    display.outcome(Ending::of(error.as_ref()), &result, |out| {
        differences(out, shown);
        let _ = writeln!(out, "{}", display.proposing(&verdict(&verified, error.as_ref())));
        let _ = writeln!(out, "Next: {}", next(&verified, args, settings));
    });
    Ok(error.map_or(0, |error| error.exit_code()))
}

/// The next step: to repair what differs, of the same days; else to load what the next run changes.
fn next(verified: &Verified, args: &RedshiftVerifyArgs, settings: &Settings) -> String {
    if verified.last().is_equal() {
        return format!("{}, after the next run", settings.command_line("redshift merge --execute"));
    }
    if verified.repaired.is_some() {
        return format!("`{}` shows an order on both sides", settings.command_line("explain ORDER_ID --warehouse"));
    }
    let option = |name: &str, day: Option<Dt>| day.map(|day| format!(" --{name} {day}")).unwrap_or_default();
    let days = format!("{}{}", option("since", args.since), option("until", args.until));
    settings.command_line(&format!("redshift verify{days} --repair"))
}

fn verdict(verified: &Verified, error: Option<&RunError>) -> String {
    let compared = verified.last().compared;
    match (error, &verified.repaired) {
        (Some(error), None) => error.to_string(),
        (Some(error), Some(_)) => format!("loaded again, and still different: {error}"),
        (None, Some(repaired)) => {
            let statements = counted(repaired.loaded.statements as u64, "statement");
            format!("repaired: {}; {statements}, and both sides are equal", verified.found.difference())
        }
        (None, None) => format!("equal: {} of day and currency", counted(compared, "pair")),
    }
}

/// Both sides of what differs.
fn differences(out: &mut String, comparison: &Comparison) {
    different_days(out, "", &comparison.days, |Totals { rows, quantity, line_total, hash }| {
        format!("rows {rows}, quantity {quantity}, line_total {line_total}, hash {hash}")
    });
    for (name, side) in &comparison.side_facts {
        different_days(out, &format!("{name} "), &side.days, |SideTotals { rows, amount, hash }| {
            let amount = if amount.is_empty() { "none" } else { amount };
            format!("rows {rows}, amount {amount}, hash {hash}")
        });
    }
    for (name, dimension) in comparison.dimensions.iter().filter(|(_, dimension)| !dimension.equal) {
        let members = |totals: &DimensionTotals| format!("rows {}, hash {}", totals.rows, totals.hash);
        let warehouse = dimension.warehouse.as_ref().map_or_else(|| "no table".to_owned(), members);
        let _ = writeln!(out, "{name}\n    layer      {}\n    warehouse  {warehouse}", members(&dimension.layer));
    }
}

/// Both sides of the days that differ of a table, which `table` names.
fn different_days<T>(out: &mut String, table: &str, days: &[DifferentDay<T>], words: impl Fn(&T) -> String) {
    let shown = |totals: Option<&T>| totals.map_or_else(|| "no rows".to_owned(), &words);
    for DifferentDay { dt, currency, layer, warehouse } in days.iter().take(SHOWN_DAYS) {
        let currency = escaped(currency_name(currency));
        let dt = dt.map_or_else(|| "no valid created_at".to_owned(), |dt| dt.to_string());
        let (layer, warehouse) = (shown(layer.as_ref()), shown(warehouse.as_ref()));
        let _ = writeln!(out, "{table}{dt} {currency}\n    layer      {layer}\n    warehouse  {warehouse}");
    }
    if days.len() > SHOWN_DAYS {
        let _ = writeln!(out, "... and {} more (--format json shows all)", days.len() - SHOWN_DAYS);
    }
}
