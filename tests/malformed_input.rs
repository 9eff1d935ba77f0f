//! "Malformed input: dropped, counted by reason, and kept in quarantine": nothing vanishes, and nothing panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{self, Workspace, order};

#[test]
fn the_fixtures_show_every_reason_and_the_counts_add_up() {
    let work = Workspace::new();
    let orders = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/orders.ndjson");
    let summary = work.etl(&["run", "--orders", orders]).published();
    let reasons = [
        "invalid_json",
        "missing_order_id",
        "missing_created_at",
        "invalid_created_at",
        "empty_items",
        "no_valid_items",
        "invalid_line",
        "missing_sku",
        "invalid_quantity",
        "invalid_price",
        "price_out_of_range",
    ];
    assert_eq!(summary["dropped"], Value::Object(reasons.into_iter().map(|reason| (reason.to_owned(), json!(1))).collect()));
    assert_eq!(
        (&summary["records_read"], &summary["records_processed_count"], &summary["records_dropped_count"]),
        (&json!(25), &json!(19), &json!(6))
    );
    let quarantine = work.quarantine();
    assert_eq!(quarantine.len(), 11);
    for line in &quarantine {
        let level = if ["invalid_line", "missing_sku", "invalid_quantity", "invalid_price", "price_out_of_range"]
            .contains(&line["reason"].as_str().unwrap())
        {
            "line"
        } else {
            "record"
        };
        assert_eq!(line["level"], level);
        assert_eq!(line["line_index"].is_null(), level == "record", "{line}");
        assert!(!line["record"].is_null());
    }
}

#[test]
fn quarantine_keeps_the_sources_own_bytes() {
    let work = Workspace::new();
    let mut input = br#"{"order_id":"A","items":[{"price": 1.10000000000000000000001}]}"#.to_vec();
    input.extend_from_slice(b"\n{\"cut\":\n\xff\xfe\n");
    work.write("orders.ndjson", input);
    let summary = work.etl(&["run", "--orders", "orders.ndjson"]).expect(0, "unchanged");
    assert_eq!(summary["records_dropped_count"], 3);
    let raw = String::from_utf8(work.files("quarantine").into_values().next().unwrap()).unwrap();
    assert!(raw.contains(r#""record":{"order_id":"A","items":[{"price": 1.10000000000000000000001}]}}"#), "{raw}");
    let lines = work.quarantine();
    assert_eq!((&lines[1]["record"], &lines[2]["record_base64"]), (&json!("{\"cut\":"), &json!("//4=")));
}

#[test]
fn a_dropped_line_does_not_drop_its_record() {
    let work = Workspace::new();
    let summary = work
        .load(
            &[r#"{"order_id":"A","created_at":"2026-01-01","items":[{"sku":"S","price":"1e14"},{"sku":"T","price":"0.10"}]}"#.into()],
            &[],
        )
        .published();
    assert_eq!((&summary["records_processed_count"], &summary["lines_dropped"], &summary["lines_read"]), (&json!(1), &json!(1), &json!(2)));
    assert_eq!(work.query("SELECT sku, line_total FROM fact_order"), ["T|0.1000"]);
}

#[test]
fn a_record_outside_the_window_is_neither_read_into_nor_dropped() {
    let work = Workspace::new();
    let lines =
        [order("A", "2026-01-01", ""), r#"{"order_id":"B","created_at":"2025-12-31","items":[]}"#.into(), order("C", "2026-01-02", "")];
    let summary = work.load(&lines, &["--since", "2026-01-01", "--until", "2026-01-02"]).published();
    assert_eq!(
        (&summary["records_out_of_window"], &summary["records_dropped_count"], &summary["lines_read"]),
        (&json!(2), &json!(0), &json!(1))
    );
}

#[test]
fn money_is_exact_and_rounded_half_to_even() {
    let work = Workspace::new();
    let lines = r#"{"order_id":"A","created_at":"2026-01-01","currency":"EUR","items":[{"sku":"a","price":0.1,"quantity":3},{"sku":"b","price":"2.00005"},{"sku":"c","price":2.00015},{"sku":"d"},{"sku":"e","price":99999999999999.9999}]}"#;
    let summary = work.load(&[lines.into()], &[]).published();
    assert_eq!(
        work.query("SELECT sku, unit_price, line_total, price_defaulted FROM fact_order ORDER BY sku"),
        [
            "a|0.1000|0.3000|false",
            "b|2.0000|2.0000|false",
            "c|2.0002|2.0002|false",
            "d|0.0000|0.0000|true",
            "e|99999999999999.9999|99999999999999.9999|false"
        ]
    );
    assert_eq!(
        (&summary["prices_rounded"], &summary["prices_defaulted"], &summary["revenue"]),
        (&json!(2), &json!(1), &json!({"EUR": "100000000000004.3001"}))
    );
}

/// Any JSON, with the names that matter more often than chance would have them.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |float| serde_json::Number::from_f64(float).map(Value::from)),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof![Just("2026-01-01"), Just("2026-01-01T10:00:00Z"), Just("1.5"), Just("2"), Just(" "), Just("\u{0}"), Just("a,\"b\n\r")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let key = prop_oneof![
            Just("order_id"),
            Just("id"),
            Just("created_at"),
            Just("date"),
            Just("updated_at"),
            Just("items"),
            Just("line_items"),
            Just("products"),
            Just("sku"),
            Just("product_id"),
            Just("quantity"),
            Just("qty"),
            Just("price"),
            Just("unit_price"),
            Just("user"),
            Just("user_id"),
            Just("status"),
            Just("x")
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..8).prop_map(|pairs| pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

/// An order with a required field or two replaced by anything.
fn nearly_an_order() -> impl Strategy<Value = String> {
    (any_json(), any_json(), 0..6_u8, any_json()).prop_map(|(first, second, which, whole)| {
        let mut order = json!({"order_id": "A", "created_at": "2026-01-01", "items": [{"sku": "S", "quantity": 1, "price": "1.25"}]});
        match which {
            0 => order["order_id"] = first,
            1 => order["created_at"] = first,
            2 => order["items"] = first,
            3 => order["items"][0]["price"] = first,
            4 => order["items"] = json!([{"sku": first, "quantity": second}, {"sku": "T", "price": second}]),
            _ => order = whole,
        }
        order.to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_record_vanishes_and_none_panics(records in proptest::collection::vec(nearly_an_order(), 1..40), junk in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..30), 0..4)) {
        let work = Workspace::new();
        let mut input: Vec<u8> = records.join("\n").into_bytes();
        let mut expected = records.len() as u64;
        for bytes in junk {
            let line: Vec<u8> = bytes.into_iter().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
            if !line.trim_ascii().is_empty() {
                expected += 1;
                input.push(b'\n');
                input.extend_from_slice(&line);
            }
        }
        // A file that begins with a NUL is UTF-16 or binary data, and one without any object holds no orders: refused as a whole.
        let is_refused = input.iter().take(64).any(|byte| *byte == 0) || !records.iter().any(|record| record.starts_with('{'));
        work.write("orders.ndjson", input);
        let ended = work.etl(&["run", "--orders", "orders.ndjson", "--check-scope", "full"]);
        prop_assert_eq!(ended.code, if is_refused { 3 } else { 0 }, "{}", ended.stderr);
        if is_refused {
            return Ok(());
        }
        let summary = ended.summary();
        support::assert_counts_add_up(&summary);
        prop_assert_eq!(summary["records_read"].as_u64(), Some(expected));
        let dropped = summary["records_dropped_count"].as_u64().unwrap() + summary["lines_dropped"].as_u64().unwrap();
        let kept = if dropped == 0 { 0 } else { work.quarantine().len() as u64 };
        prop_assert_eq!(kept, dropped);
        let rows = summary["rows_inserted"].as_u64().unwrap();
        if rows > 0 {
            prop_assert_eq!(work.query("SELECT count(*) FROM fact_order"), [rows.to_string()]);
        }
    }
}
