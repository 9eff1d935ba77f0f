//! Further columns by configuration: typed, known to every reader of the layer, and rewritten where the settings change.

use crate::support::{Workspace, order};

const COLUMNS: &str = r#"
[[fact.columns]]
name = "channel"
path = "source.name"

[[fact.columns]]
name = "tax_rate"
path = "tax.rate"
level = "line"
type = "decimal"
scale = 3
"#;

fn wide(order_id: &str, day: u8) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-0{day}","source":{{"name":"web, mobile"}},"items":[{{"sku":"S","price":2,"tax":{{"rate":0.19}}}},{{"sku":"T","tax":{{"rate":"none"}}}}]}}"#
    )
}

const HEADER: &str = "order_id,sku,user_id,product_id,status,currency,quantity,unit_price,line_total,price_defaulted,user_country,product_name,product_category,created_at,updated_at";

#[test]
fn they_stand_behind_the_fixed_ones_and_every_reader_knows_them() {
    let work = Workspace::new();
    work.write("etl.toml", COLUMNS);
    work.write("checks/taxed.sql", "-- severity: warn\nSELECT sku, channel, tax_rate + 1 AS gross FROM fact_order WHERE tax_rate > 0");
    let summary = work.load(&[wide("A", 1)], &[]).published();
    assert_eq!(summary["values_unreadable"], 1);
    let file = work.read("output/curated/dt=2026-01-01/part-00000.csv");
    let mut lines = file.lines();
    assert_eq!(lines.next(), Some(format!("{HEADER},channel,tax_rate").as_str()));
    assert!(lines.next().unwrap().ends_with(",\"web, mobile\",0.190"), "{file}");
    assert!(lines.next().unwrap().ends_with(",\"web, mobile\","), "{file}");
    let check = summary["checks"].as_array().unwrap().iter().find(|check| check["name"] == "taxed").unwrap();
    assert_eq!(check["sample"][0], serde_json::json!({"sku": "S", "channel": "web, mobile", "gross": "1.190"}));
    let ddl = work.etl(&["redshift", "ddl"]).stdout;
    assert!(ddl.contains("\"channel\" VARCHAR(") && ddl.contains("\"tax_rate\" DECIMAL(18,3)"), "{ddl}");
    // Stored rows keep them when others come, and a changed value is a changed row.
    assert_eq!(work.load(&[order("B", "2026-01-01", "")], &[]).published()["rows_inserted"], 1);
    assert!(work.read("output/curated/dt=2026-01-01/part-00000.csv").contains("\"web, mobile\",0.190"));
    assert_eq!(work.load(&[wide("A", 1).replace("0.19", "0.07")], &[]).published()["rows_updated"], 1);
    work.load(&[wide("A", 1).replace("0.19", "0.07")], &[]).unchanged();
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn a_layer_of_other_columns_is_an_error_that_names_the_difference_and_the_way_out() {
    let work = Workspace::new();
    let days: Vec<_> = (1..=9).map(|day| order(&format!("O{day}"), &format!("2026-01-0{day}"), "")).collect();
    work.load(&days, &[]).published();
    let before = work.layer();
    work.write("etl.toml", COLUMNS);
    for way in ["with its state", "without"] {
        let ended = work.load(&[wide("A", 1)], &["--log-format", "text"]);
        assert_eq!(ended.code, 2, "{way}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("are none, and by the settings they should be channel, tax_rate") && ended.stderr.contains("etl rewrite"),
            "{}",
            ended.stderr
        );
        assert_eq!(work.layer(), before);
        if way == "with its state" {
            let ended = work.etl(&["check", "--log-format", "text"]);
            assert!(ended.code == 2 && ended.stderr.contains("etl rewrite"), "{}", ended.stderr);
        }
        if way == "with its state" {
            std::fs::remove_dir_all(work.path("output/state")).unwrap();
        }
    }
    // Cut off in the middle, it goes on: a day that is rewritten already is left as it is.
    let done = work.read("output/curated/dt=2026-01-01/part-00000.csv");
    let done =
        done.replace("updated_at\n", "updated_at,channel,tax_rate\n").replace(",2026-01-01 00:00:00,\n", ",2026-01-01 00:00:00,,,\n");
    work.write("output/curated/dt=2026-01-01/part-00000.csv", &done);
    let ended = work.etl(&["rewrite"]);
    let done = |rewritten: u64, unchanged: u64| serde_json::json!({"status": "done", "rewritten": rewritten, "unchanged": unchanged, "values_lost": {}});
    assert_eq!(ended.summary(), done(8, 1), "{}", ended.stderr);
    assert_eq!(work.etl(&["rewrite"]).summary(), done(0, 9));
    assert_eq!(work.etl(&["check"]).code, 0);
    let ended = work.load(&[wide("O1", 2)], &["--log-format", "text"]);
    assert_eq!(ended.published()["rows_moved"], 1);
    // And back again: the rows are those that were there, and the state is not made anew.
    work.write("etl.toml", "");
    let ended = work.etl(&["rewrite", "--force"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let ended = work.load(&[order("O9", "2026-01-09", "")], &["--log-format", "text"]);
    ended.unchanged();
    assert!(!ended.stderr.contains("rebuilt") && !ended.stderr.contains("not as it was"), "{}", ended.stderr);
    assert!(
        work.layer()
            .iter()
            .filter(|(name, _)| name.starts_with("curated"))
            .all(|(_, content)| content.starts_with(format!("{HEADER}\n").as_bytes()))
    );
}

#[test]
fn digits_that_are_no_time_do_not_become_one() {
    let work = Workspace::new();
    let columns = |kind: &str| format!("[[fact.columns]]\nname = \"c\"\npath = \"c\"\n{kind}");
    work.write("etl.toml", columns(""));
    let texts = ["1", "0007", "1.5", "1700000000", "2026-01-31T10:00:00Z"];
    let lines: Vec<_> =
        texts.iter().enumerate().map(|(number, text)| order(&number.to_string(), "2026-01-01", &format!(r#","c":"{text}""#))).collect();
    work.load(&lines, &[]).published();
    work.write("etl.toml", columns("type = \"timestamp\"\n"));
    assert_eq!(work.etl(&["rewrite", "--dry-run"]).summary()["values_lost"]["c"], 3);
    assert_eq!(work.etl(&["rewrite"]).code, 2);
    assert_eq!(work.etl(&["rewrite", "--force"]).code, 0);
    // As a fresh load has it.
    work.load(&lines, &[]).unchanged();
}

#[test]
fn a_changed_type_is_rewritten_too() {
    let work = Workspace::new();
    work.write("etl.toml", COLUMNS);
    work.load(&[wide("A", 1)], &[]).published();
    work.write("etl.toml", COLUMNS.replace("scale = 3", "scale = 1"));
    let ended = work.load(&[wide("A", 1)], &["--log-format", "text"]);
    assert!(ended.code == 5 && ended.stderr.contains("is not a valid DECIMAL(18,1)"), "{}", ended.stderr);
    let layer = work.layer();
    let counted = work.etl(&["rewrite", "--dry-run"]).summary();
    assert_eq!((&counted["values_lost"]["tax_rate"], &counted["rewritten"]), (&1.into(), &1.into()));
    let refused = work.etl(&["rewrite", "--log-format", "text"]);
    assert!(refused.code == 2 && refused.stderr.contains("tax_rate") && refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(work.layer(), layer);
    assert_eq!(work.etl(&["rewrite", "--force"]).summary()["rewritten"], 1);
    assert!(work.read("output/curated/dt=2026-01-01/part-00000.csv").contains(",0.2\n"));
    work.load(&[wide("A", 1)], &[]).unchanged();
}

/// Line totals are made of quantities, so that another quantity would be another layer.
#[test]
fn a_rewrite_loses_no_quantity_even_by_force() {
    let settings = |quantity: &str| format!("orders = \"o.csv\"\nfact.quantity = \"{quantity}\"\n");
    for (from, value, to) in [("whole", "922337203685477580", "decimal"), ("decimal", "2.5", "whole")] {
        let work = Workspace::new();
        work.write("o.csv", format!("order_id,created_at,sku,quantity,price\nA,2026-01-31,x,{value},0\nB,2026-01-31,x,1,1.5\n"));
        work.write("etl.toml", settings(from));
        work.etl(&["run"]).published();
        let layer = work.layer();
        work.write("etl.toml", settings(to));
        assert_eq!(work.etl(&["rewrite", "--dry-run"]).summary()["values_lost"]["quantity"], 1, "{from}");
        for args in [&["rewrite"][..], &["rewrite", "--force"]] {
            let ended = work.etl(args);
            assert!(ended.code == 2 && ended.stderr.contains("1 quantity would not fit"), "{from}: {}", ended.stderr);
        }
        assert_eq!(work.layer(), layer, "{from}");
    }
    // Those that fit go there and back.
    let work = Workspace::new();
    work.write("o.csv", "order_id,created_at,sku,quantity,price\nA,2026-01-31,x,2,1.5\n");
    work.write("etl.toml", settings("decimal"));
    work.etl(&["run"]).published();
    work.write("etl.toml", "orders = \"o.csv\"\n");
    let ended = work.etl(&["run"]);
    assert!(ended.code == 2 && ended.stderr.contains("fact.quantity = \\\"decimal\\\""), "{}", ended.stderr);
    work.write("etl.toml", settings("whole"));
    assert_eq!(work.etl(&["rewrite"]).summary()["rewritten"], 1);
    work.etl(&["run"]).unchanged();
    assert_eq!(work.etl(&["check"]).code, 0);
}
