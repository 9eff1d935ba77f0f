//! Files in which the lines of an order stand on lines of their own and name their parent: no line is lost, and none in silence.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Workspace;

/// An order of Shopify with some lines, as GraphQL gives it.
fn order(number: u64, lines: u64) -> Value {
    let line = |line: u64| {
        json!({
            "id": format!("gid://shopify/LineItem/{number}-{line}"),
            "sku": format!("S{line}"),
            "quantity": line,
            "originalUnitPriceSet": {"shopMoney": {"amount": format!("{number}.25")}},
        })
    };
    json!({
        "id": format!("gid://shopify/Order/{number}"),
        "createdAt": format!("2026-01-{:02}T10:00:00Z", number % 28 + 1),
        "updatedAt": "2026-02-01T00:00:00Z",
        "currencyCode": "USD",
        "lineItems": {"nodes": (1..=lines).map(line).collect::<Vec<_>>()},
    })
}

/// The lines of a bulk operation that hold an order.
fn bulk(order: &Value) -> Vec<String> {
    let mut parent = order.clone();
    let lines = parent.as_object_mut().unwrap().remove("lineItems").unwrap();
    let child = |line: &Value| {
        let mut line = line.clone();
        line["__parentId"] = parent["id"].clone();
        line.to_string()
    };
    std::iter::once(parent.to_string()).chain(lines["nodes"].as_array().unwrap().iter().map(child)).collect()
}

/// Some orders, which are more than a page of a file together.
fn orders() -> Vec<Value> {
    (1..=400).map(|number| order(number, if number % 100 == 0 { 6000 } else { number % 5 + 1 })).collect()
}

/// A sku is stored as it is: what is cut off ids is no part of it.
#[test]
fn a_sku_keeps_its_slashes() {
    const SKUS: [&str; 5] = ["TEE/RED/M", "MUG/BLUE/M", "PLAIN", "A/", "10/20"];
    let mut order = order(7, SKUS.len() as u64 + 1);
    for (line, sku) in order["lineItems"]["nodes"].as_array_mut().unwrap().iter_mut().zip(SKUS.into_iter().map(Some).chain([None])) {
        line["sku"] = json!(sku);
        line["product"] = json!({"id": "gid://shopify/Product/500"});
    }
    let files: [(&str, String, &[&str]); 2] =
        [("shopify-bulk", bulk(&order).join("\n"), &[]), ("shopify-graphql", order.to_string(), &["--cursor", "created_at"])];
    for (profile, content, cursor) in files {
        let work = Workspace::new();
        work.write("orders.ndjson", content);
        work.etl(&[&["run", "--source", profile, "--orders", "orders.ndjson"], cursor].concat()).published();
        let skus: BTreeSet<String> = work.facts().into_iter().filter_map(|mut row| row.remove("sku")).collect();
        let expected: BTreeSet<String> = SKUS.into_iter().chain(["500"]).map(str::to_owned).collect();
        assert_eq!(skus, expected, "{profile}");
    }
}

#[test]
fn a_bulk_operation_gives_the_layer_that_the_graphql_shape_gives() {
    let (bulk_file, graphql) = (Workspace::new(), Workspace::new());
    let lines: Vec<String> = orders().iter().flat_map(bulk).collect();
    bulk_file.write("bulk.jsonl", lines.join("\n"));
    graphql.write("orders.ndjson", orders().iter().map(|order| format!("{order}\n")).collect::<String>());
    let summary = bulk_file.etl(&["run", "--source", "shopify-bulk", "--orders", "bulk.jsonl"]).published();
    assert_eq!(summary["records_read"], 400);
    assert_eq!(summary["completeness"]["status"], "proven");
    graphql.etl(&["run", "--source", "shopify-graphql", "--orders", "orders.ndjson", "--cursor", "created_at"]).published();
    assert_eq!(bulk_file.files("curated"), graphql.files("curated"));
    for number in [1, 250, 350] {
        let id = format!("gid://shopify/Order/{number}\"");
        let line = 1 + lines.iter().position(|line| line.contains(&id) && !line.contains("__parentId")).unwrap();
        let answer = bulk_file.etl(&["explain", &number.to_string(), "--format", "json"]).summary();
        let place = json!({"location": "bulk.jsonl", "page": null, "unit": "line", "number": line});
        assert_eq!(answer["versions"][0]["source"], place, "the line of the order {number}");
    }
    let expected: u64 = orders().iter().map(|order| order["lineItems"]["nodes"].as_array().unwrap().len() as u64).sum();
    assert_eq!(bulk_file.query("SELECT count(*) FROM fact_order"), [expected.to_string()]);
    bulk_file.etl(&["run", "--source", "shopify-bulk", "--orders", "bulk.jsonl"]).unchanged();
}

#[test]
fn a_line_that_belongs_to_no_order_before_it_ends_the_run_and_is_named() {
    let whole: Vec<String> = [order(1, 2), order(2, 2)].iter().flat_map(bulk).collect();
    let (mut scattered, mut cut, mut foreign) = (whole.clone(), whole.clone(), whole.clone());
    scattered.swap(2, 3);
    cut.truncate(5);
    cut.push(whole[5][..20].to_owned());
    foreign[4] = foreign[4].replace("LineItem", "Refund");
    for (lines, message) in [
        (&scattered, "bulk.jsonl, line 4: its parent `gid://shopify/Order/1` is not the record before it"),
        (&cut, "bulk.jsonl, line 6: the line is not valid JSON"),
        (&foreign, "bulk.jsonl, line 5: `children.lists` does not name the type `Refund`"),
        (&whole[1..].to_vec(), "bulk.jsonl, line 1: its parent `gid://shopify/Order/1` is not the record before it"),
    ] {
        let work = Workspace::new();
        work.write("bulk.jsonl", lines.join("\n"));
        let ended = work.etl(&["run", "--source", "shopify-bulk", "--orders", "bulk.jsonl", "--log-format", "text"]);
        assert!(ended.code == 3 && ended.stderr.contains(message), "{}", ended.stderr);
        assert!(work.files("curated").is_empty());
    }
}

#[test]
fn an_order_is_too_large_with_all_its_lines_and_its_neighbours_stay() {
    let work = Workspace::new();
    let lines: Vec<String> = [order(1, 1), order(2, 2000), order(3, 1)].iter().flat_map(bulk).collect();
    work.write("bulk.jsonl", lines.join("\n"));
    work.write("etl.toml", "source = \"shopify-bulk\"\nlimits.record_bytes = 65536\n");
    let summary = work.etl(&["run", "--orders", "bulk.jsonl"]).published();
    assert_eq!((&summary["records_read"], &summary["dropped"]), (&json!(3), &json!({"record_too_large": 1})));
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), ["1", "3"]);
}

/// A run of a file by the profile, which is refused before anything is published.
fn refused(name: &str, content: &str, message: &str) {
    let work = Workspace::new();
    work.write(name, content);
    let ended = work.etl(&["run", "--source", "shopify-bulk", "--orders", name, "--log-format", "text"]);
    assert!(ended.code == 3 && ended.stderr.contains(message), "{}: {}", ended.code, ended.stderr);
    assert!(work.files("curated").is_empty());
}

#[test]
fn what_would_lose_lines_in_silence_is_refused() {
    let whole = bulk(&order(1, 2));
    let beneath = whole[2].replace("gid://shopify/Order/1\"", "gid://shopify/LineItem/1-1\"");
    let lines = [whole[0].as_str(), &whole[1], &beneath].join("\n");
    refused(
        "bulk.jsonl",
        &lines,
        "bulk.jsonl, line 3: this line of an order has the parent `gid://shopify/LineItem/1-1`, which is itself a child",
    );
    for value in ["null", "\"\"", "\" \""] {
        let nameless = whole[2].replace("\"gid://shopify/Order/1\"", value);
        let lines = [whole[0].as_str(), &whole[1], &nameless].join("\n");
        refused("bulk.jsonl", &lines, "bulk.jsonl, line 3: its `__parentId` names no parent");
    }
    let array = format!("[{}]", whole.join(","));
    for name in ["bulk.jsonl", "bulk.json"] {
        refused(name, &array, "line 1: it is one JSON array, where each record and each of its children stands on a line of its own");
        refused(name, &array.replace(',', ",\n"), "line 1: it is one JSON array");
    }
    refused("bulk.json", &format!("{{\"orders\":{array}}}"), "bulk.json, line 1: it is one JSON document");
}

#[test]
fn an_order_that_has_lost_all_its_lines_loses_its_rows() {
    let work = Workspace::new();
    let run = |orders: &[Value]| {
        work.write("bulk.jsonl", orders.iter().flat_map(bulk).collect::<Vec<_>>().join("\n"));
        work.etl(&["run", "--source", "shopify-bulk", "--orders", "bulk.jsonl"])
    };
    run(&[order(1, 2), order(2, 2), order(3, 1)]).published();
    let emptied = |number: u64| {
        let mut emptied = order(number, 0);
        emptied["updatedAt"] = json!("2026-02-02T00:00:00Z");
        emptied
    };
    // Behind the last record, the file may be cut off.
    run(&[order(1, 2), emptied(2), order(3, 1), emptied(3)]);
    assert_eq!(work.query("SELECT order_id, count(*) FROM fact_order GROUP BY ALL ORDER BY ALL"), ["1|2", "3|1"]);
}

#[test]
fn lines_of_files_are_not_looked_for_at_an_api() {
    let work = Workspace::new();
    work.write("etl.toml", "profile = \"shopify-bulk\"\norders.bulk = false\n");
    let ended = work.etl(&["run", "--orders", "https://shop.example/bulk", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("`orders.children`: lines with children stand in files"), "{}", ended.stderr);
}
