//! `fact_unit_slip`: cents that are loaded as euros, and what only looks like it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Ended, Workspace};

/// An order of one line.
fn sale(order_id: &str, day: u8, sku: &str, price: &str, currency: &str) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-{day:02}T10:00:00Z","currency":"{currency}","items":[{{"sku":"{sku}","price":"{price}"}}]}}"#
    )
}

/// Ten skus, S0 to S9, at these prices: their number times `factor`, plus a half.
fn sales(day: u8, factor: f64) -> Vec<String> {
    (0..10)
        .map(|sku| sale(&format!("{day}-{sku}"), day, &format!("S{sku}"), &format!("{:.4}", (f64::from(sku) + 1.5) * factor), "EUR"))
        .collect()
}

fn known() -> Workspace {
    let work = Workspace::new();
    work.load(&sales(1, 1.0), &[]).published();
    work
}

fn result(summary: &Value) -> Value {
    summary["checks"].as_array().unwrap().iter().find(|check| check["name"] == "fact_unit_slip").unwrap().clone()
}

fn refused(ended: &Ended) -> Value {
    result(&ended.expect(4, "checks_failed"))
}

#[test]
fn prices_at_a_hundred_or_a_thousand_times_the_last_ones_are_not_published() {
    for factor in [100.0, 1000.0, 0.01, 0.001, 109.0] {
        let work = known();
        let layer = work.layer();
        let ended = work.load(&sales(2, factor), &["--log-format", "text"]);
        let check = refused(&ended);
        // At a thousandth of it, half of the prices are below the smallest unit, and no multiple any more.
        let least = if factor < 0.01 { 5 } else { 10 };
        assert!(check["violations"].as_u64().unwrap() >= least && check["severity"] == "error", "{factor}: {check}");
        assert!(ended.stderr.contains("fact_unit_slip") && ended.stderr.contains("checks.unit_slip"), "{}", ended.stderr);
        assert_eq!(work.layer(), layer, "nothing is published");
    }
}

#[test]
fn a_price_that_may_be_right_is_published() {
    for (prices, what) in [
        (sales(2, 1.0), "the same prices"),
        (sales(2, 3.0), "three times the price"),
        (sales(2, 50.0), "no power of ten"),
        (sales(2, 100.0)[..2].to_vec(), "two lines alone"),
        (sales(2, 100.0).iter().map(|line| line.replace(r#""S"#, r#""T"#)).collect(), "new skus"),
        (sales(2, 100.0).iter().map(|line| line.replace("EUR", "JPY")).collect(), "another currency"),
        (sales(2, -100.0), "refunds"),
    ] {
        let work = known();
        let check = result(&work.load(&prices, &[]).published());
        assert_eq!(check["passed"], true, "{what}: {check}");
    }
    let work = known();
    let check = result(&work.load(&sales(2, 0.1), &[]).published());
    assert_eq!((&check["passed"], &check["severity"], &check["violations"]), (&false.into(), &"warn".into(), &10.into()), "a sale");
}

#[test]
fn all_slipped_lines_are_kept_beside_the_report() {
    let work = known();
    let summary = work.load(&sales(2, 100.0), &[]).expect(4, "checks_failed");
    let check = result(&summary);
    assert_eq!((&check["rows_kept"], check["sample"].as_array().unwrap().len()), (&10.into(), 5));
    let place = format!("reports/{}.violations/fact_unit_slip.csv", summary["run_id"].as_str().unwrap());
    assert_eq!(check["file"], Value::from(place.as_str()));
    let text = work.read(&format!("output/{place}"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 10);
    for row in rows {
        let price = |name: &str| row[name].parse::<f64>().unwrap();
        assert!((price("unit_price") - 100.0 * price("last_price")).abs() < 1e-9 && row["factor"] == "100", "{row:?}");
    }
}

#[test]
fn prices_that_are_right_are_loaded_by_name_and_known_from_then_on() {
    let work = known();
    let ended = work.load(&sales(2, 100.0), &["--on-check-failure", "publish"]);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert_eq!(work.query("SELECT count(*) FROM fact_order WHERE unit_price >= 150"), ["10"]);
    assert_eq!(result(&work.load(&sales(3, 100.0), &[]).published())["violations"], 0);
    refused(&work.load(&sales(4, 1.0), &[]));
    // An old order that is loaded late is not the last price.
    work.load(&sales(1, 1.0), &[]).unchanged();
    assert_eq!(result(&work.load(&sales(5, 100.0), &[]).published())["violations"], 0);
}

#[test]
fn a_gift_or_a_refund_is_no_last_price() {
    for price in ["0", "-1.5", "null"] {
        let work = known();
        let gifts: Vec<_> = sales(2, 1.0)
            .iter()
            .map(|line| {
                let (before, _) = line.split_once("\"price\":").unwrap();
                format!("{before}\"price\":{price}}}]}}")
            })
            .collect();
        work.load(&gifts, &[]).published();
        refused(&work.load(&sales(3, 100.0), &[]));
    }
}

#[test]
fn the_threshold_is_lines_percent_or_off() {
    let mixed = |slipped: usize| {
        let (right, wrong) = (sales(2, 1.0), sales(2, 100.0));
        [&wrong[..slipped], &right[slipped..]].concat()
    };
    for (setting, slipped, fails) in
        [("5", 4, false), ("5", 5, true), ("1", 1, true), ("\"50%\"", 4, false), ("\"50%\"", 5, true), ("\"off\"", 10, false)]
    {
        let work = known();
        work.write("etl.toml", format!("[checks]\nunit_slip = {setting}\n"));
        let ended = work.load(&mixed(slipped), &[]);
        assert_eq!(ended.code, if fails { 4 } else { 0 }, "{setting} {slipped}: {}", ended.stderr);
    }
    let work = known();
    work.write("etl.toml", "[checks]\nunit_slip = \"often\"\n");
    let ended = work.load(&mixed(1), &["--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("unit_slip"), "{}", ended.stderr);
}

#[test]
fn one_percent_of_the_lines_is_the_least_by_default() {
    let work = known();
    let mut lines: Vec<_> = (0..395).map(|order| sale(&format!("N{order}"), 2, "S1", "2.5", "EUR")).collect();
    lines.extend((0..3).map(|order| sale(&format!("W{order}"), 2, "S1", "250", "EUR")));
    assert_eq!(result(&work.load(&lines, &[]).published())["violations"], 3, "3 of 398 lines are less than a percent");
    let work = known();
    refused(&work.load(&lines[200..], &[]));
}

#[test]
fn no_price_of_an_undone_run_is_a_last_price_whether_later_runs_follow_or_not() {
    for has_later in [false, true] {
        let work = known();
        let wrong = work.load(&sales(2, 100.0), &["--on-check-failure", "publish"]);
        assert_eq!(wrong.code, 4, "{}", wrong.stderr);
        if has_later {
            work.load(&[sale("later", 5, "OTHER", "1", "EUR")], &[]).published();
        }
        let undone = work.etl(&["undo", wrong.summary()["run_id"].as_str().unwrap()]);
        assert_eq!(undone.code, 0, "{}", undone.stderr);
        // The prices of before the run are known, and so are those of later runs.
        refused(&work.load(&sales(3, 100.0), &[]));
        assert_eq!(result(&work.load(&sales(2, 1.0), &[]).published())["violations"], 0, "later runs: {has_later}");
        let others: Vec<_> = (0..5).map(|order| sale(&format!("other {order}"), 6, "OTHER", "100", "EUR")).collect();
        assert_eq!(work.load(&others, &[]).code, if has_later { 4 } else { 0 }, "later runs: {has_later}");
    }
}

#[test]
fn a_partition_that_is_corrected_by_hand_and_a_lost_state_are_read_again() {
    let work = known();
    let place = "output/curated/dt=2026-01-01/part-00000.csv";
    let cents: String = work
        .read(place)
        .lines()
        .map(|line| match line.split(',').collect::<Vec<_>>() {
            mut cells if cells[0] != "order_id" => {
                let price: f64 = cells[7].parse().unwrap();
                let price = format!("{:.4}", price * 100.0);
                (cells[7], cells[8]) = (&price, &price);
                format!("{}\n", cells.join(","))
            }
            _ => format!("{line}\n"),
        })
        .collect();
    work.write(place, cents);
    assert_eq!(result(&work.load(&sales(2, 100.0), &[]).published())["violations"], 0);
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    refused(&work.load(&sales(3, 1.0), &[]));
}
