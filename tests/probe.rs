//! `etl probe`: what is found, what is proposed, and that what is proposed runs.

use crate::support::{self, Asked, Server, Workspace, json};

/// An API that none of the profiles knows: its own names, an envelope of its own, prices in cents.
fn strange() -> Server {
    Server::start(|asked: &Asked| {
        let first: usize = asked.parameter("cursor").parse().unwrap_or(0);
        let orders: Vec<_> = (first..(first + 3).min(7))
            .map(|n| {
                format!(
                    r#"{{"OrderNumber":"N-{n}","meta":{{"placedAt":"2026-01-0{}T10:00:00Z"}},"buyer":{{"id":{n}}},"money":{{"cur":"EUR"}},"positions":[{{"articleNo":"a{n}","pieces":2,"priceCents":150}},{{"articleNo":"b"}}]}}"#,
                    n + 1
                )
            })
            .collect();
        let next = if first + 3 < 7 { format!("\"{}\"", first + 3) } else { "null".into() };
        json(format!(r#"{{"result":{{"page":{{"nextCursor":{next}}},"rows":[{}]}}}}"#, orders.join(",")))
    })
}

#[test]
fn an_unknown_api_is_mapped_by_what_is_proposed() {
    let server = strange();
    let work = Workspace::new();
    let ended = work.etl(&["probe", "--orders", &server.orders(), "--format", "text"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let shown = ended.stdout.replace(&server.url, "http://127.0.0.1:PORT");
    insta::assert_snapshot!("an unknown api", shown);
    assert!(!work.path("output").exists(), "nothing is written");
    assert_eq!(server.asked().len(), 1, "one page");
    // Pasted, it runs.
    let (_, toml) = ended.stdout.split_once("[orders]").unwrap();
    work.write("etl.toml", format!("[orders]{toml}"));
    let summary = work.etl(&["run"]).published();
    assert_eq!((&summary["records_read"], &summary["lines_read"]), (&7.into(), &14.into()));
    assert_eq!(work.query("SELECT count(*), sum(line_total), min(user_id), min(currency) FROM fact_order"), ["14|21.0000|0|EUR"]);
    let again = work.etl(&["probe", "--format", "text"]);
    assert!(again.stdout.contains("Nothing is left to be said"), "{}", again.stdout);
}

/// Lines whose price is a rounded quotient, with a sku only of their variant, and one variant on two lines.
#[test]
fn money_that_the_default_paths_would_lose_is_proposed() {
    let server = Server::start(|_: &Asked| {
        let line = |variant: &str, quantity: u32, price: &str, total: &str| {
            format!(r#"{{"product_id":"p","variant_sku":"{variant}","quantity":{quantity},"price":{price},"total":"{total}"}}"#)
        };
        let lines = [line("p-red", 3, "3.3333", "10.00"), line("p-blue", 1, "5", "5.00"), line("p-red", 1, "4", "4.00")].join(",");
        json(format!(r#"{{"total":1,"orders":[{{"id":1,"created_at":"2026-01-01","items":[{lines}]}}]}}"#))
    });
    let work = Workspace::new();
    let found = work.etl(&["probe", "--orders", &server.orders(), "--json"]).summary();
    let profile = found["profile"].as_str().unwrap();
    for line in ["repeated_sku = \"sum\"", "sku = [\"variant_sku\", \"product_id\"]", "line_total = \"total\""] {
        assert!(profile.contains(line), "{line}: {profile}");
    }
    assert_eq!(found["rows"], 2);
    let shown = work.etl(&["probe", "--orders", &server.orders(), "--format", "text"]).stdout;
    assert!(shown.contains("quantity times price gives another amount on 1 of 3 lines"), "{shown}");
    assert!(shown.contains("the source is not asked for it, so each run reads all orders"), "{shown}");
    work.write("etl.toml", profile);
    let summary = work.etl(&["run"]).published();
    assert_eq!(summary["revenue"], serde_json::json!({ "": "19.0000" }));
    assert_eq!(work.query("SELECT sku, quantity, line_total FROM fact_order ORDER BY sku"), ["p-blue|1|5.0000", "p-red|4|14.0000"]);
    let again = work.etl(&["probe", "--json"]).summary();
    assert_eq!(again["profile"], serde_json::Value::Null);
}

#[test]
fn what_a_shipped_profile_gathers_is_shown() {
    let work = Workspace::new();
    let payload = |name: &str| format!("{}/tests/payloads/{name}", env!("CARGO_MANIFEST_DIR"));
    let found = |profile: &str, file: &str| work.etl(&["probe", "--profile", profile, "--orders", &payload(file), "--json"]).summary();
    let lines = |found: &serde_json::Value| {
        let columns = found["columns"].as_array().unwrap();
        columns.iter().find(|column| column["column"] == "lines").unwrap()["path"].as_str().unwrap().to_owned()
    };
    let stripe = found("stripe-charges", "stripe-charges.json");
    assert_eq!((lines(&stripe).as_str(), &stripe["profile"]), ("the record itself", &serde_json::Value::Null));
    let server = Server::start(|_: &Asked| json(r#"{"orders":[{"id":1,"created_at":"2026-01-01"}],"total":1}"#));
    work.write("etl.toml", format!("[orders]\nlocation = \"{}\"\nline_request = {{ path = \"/orders/{{id}}/lines\" }}\n", server.orders()));
    assert_eq!(lines(&work.etl(&["probe", "--json"]).summary()), "a request for each order");
    std::fs::remove_file(work.path("etl.toml")).unwrap();
    let salesforce = found("salesforce", "salesforce.json");
    assert_eq!(salesforce["rows"], 1);
}

#[test]
fn a_known_shape_needs_nothing_and_says_what_it_would_drop() {
    let server = Server::start(|_: &Asked| {
        let good = support::order("A", "2026-01-01", r#","user_id":"U1","status":"paid","updated_at":"2026-01-02""#);
        json(format!(r#"{{"total":2,"orders":[{good},{{"order_id":"B"}},7],"next_url":"/orders?page=2"}}"#))
    });
    let work = Workspace::new();
    let found: serde_json::Value = work.etl(&["probe", "--orders", &server.orders(), "--json"]).summary();
    assert_eq!((&found["records_at"], &found["records"], &found["rows"]), (&"`orders`".into(), &3.into(), &1.into()));
    assert_eq!(found["dropped"], serde_json::json!({"invalid_json": 1, "missing_created_at": 1}));
    assert_eq!(found["pagination"]["kind"], "next_url");
    assert_eq!(found["sample"][0], "A, S, 1 × 1.5000 EUR, 2026-01-01T00:00:00Z");
    let created = found["columns"].as_array().unwrap().iter().find(|column| column["column"] == "created_at").unwrap();
    assert_eq!((&created["path"], &created["found_in"]), (&"created_at".into(), &1.into()));
}

#[test]
fn files_and_shipped_profiles_are_looked_at_too() {
    let work = Workspace::new();
    work.write("o.ndjson", support::order("A", "2026-01-01", ""));
    let found = work.etl(&["probe", "--orders", "o.ndjson", "--json"]).summary();
    assert_eq!(
        (&found["records_at"], &found["pagination"]["kind"], &found["rows"]),
        (&"each line of the file".into(), &"none".into(), &1.into())
    );
    work.write(
        "o.json",
        r#"{"export":{"bookings":[{"ref":"R1","bookedAt":"Tue, 20 Jan 2026 10:00:00 +0000","items":[{"sku":"s","price":1}]}]}}"#,
    );
    let found = work.etl(&["probe", "--orders", "o.json", "--json"]).summary();
    let profile = found["profile"].as_str().unwrap();
    assert!(
        profile.contains("records = \"export.bookings\"") && profile.contains("created_at = { path = \"bookedAt\", format = \"rfc2822\" }"),
        "{profile}"
    );
    assert_eq!(found["rows"], 1);
    let ended = work.etl(&["probe", "--orders", "none.json", "--log-format", "text"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert_eq!(work.etl(&["probe"]).code, 2);
    let server = Server::start(|_: &Asked| {
        json(r#"{"carts":[{"id":1,"products":[{"id":5,"price":1.5,"quantity":2}],"userId":3}],"total":1,"skip":0}"#)
    });
    let found = work.etl(&["probe", "--profile", "dummyjson", "--url", &server.url, "--json"]).summary();
    assert_eq!((&found["rows"], &found["pagination"]["kind"], &found["profile"]), (&1.into(), &"offset".into(), &serde_json::Value::Null));
}

/// A probe of orders in a file, by the settings of `etl.toml`.
fn probed(name: &str, content: &str, toml: &str) -> (Workspace, serde_json::Value, String) {
    let work = Workspace::new();
    work.write(name, content);
    work.write("etl.toml", format!("[orders]\nlocation = \"{name}\"\n{toml}"));
    let found = work.etl(&["probe", "--format", "json"]).summary();
    let shown = work.etl(&["probe", "--format", "text"]).stdout;
    (work, found, shown)
}

/// What is proposed is pasted and run: the rows are as many as were said, and nothing is dropped.
fn pasted(work: &Workspace, found: &serde_json::Value) -> serde_json::Value {
    work.write("etl.toml", found["profile"].as_str().unwrap());
    let summary = work.etl(&["run"]).published();
    assert_eq!((&summary["rows_inserted"], &summary["dropped"]), (&found["rows"], &found["dropped"]), "{found}");
    assert_eq!(work.etl(&["probe", "--format", "json"]).summary()["profile"], serde_json::Value::Null, "nothing is left");
    summary
}

fn ndjson(records: &[serde_json::Value]) -> String {
    records.iter().map(serde_json::Value::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_a_run_would_lose_is_proposed_and_then_loaded() {
    use serde_json::json;
    let order = |id: u32, currency: &str, items: serde_json::Value| json!({"id": id, "created_at": "2026-01-31", "currency": currency, "items": items});
    let cases = [
        (
            "decimals",
            vec![
                order(1, "EUR", json!([{"sku": "a", "quantity": 0.5, "price": 10}])),
                order(2, "EUR", json!([{"sku": "b", "quantity": 2, "price": 10}])),
            ],
            "quantity = \"decimal\"",
            json!({"EUR": "25.0000"}),
        ),
        (
            "flat records",
            vec![
                json!({"order_id": 1, "created_at": "2026-01-31", "sku": "a", "price": 3}),
                json!({"order_id": 2, "created_at": "2026-01-31", "sku": "a", "price": 4}),
            ],
            "lines = \".\"",
            json!({"": "7.0000"}),
        ),
        (
            "a line that is an object",
            vec![
                order(1, "EUR", json!({"sku": "a", "price": 1})),
                order(2, "EUR", json!([{"sku": "a", "price": 2}, {"sku": "b", "price": 4}])),
            ],
            "lines = { path = \"items\", object = \"line\" }",
            json!({"EUR": "7.0000"}),
        ),
        (
            "a list within an object",
            vec![order(1, "EUR", json!({"data": [{"sku": "a", "price": 1}]}))],
            "lines = \"items.data\"",
            json!({"EUR": "1.0000"}),
        ),
        (
            "cents of several currencies",
            vec![order(1, "JPY", json!([{"sku": "a", "price_cents": 1250}])), order(2, "EUR", json!([{"sku": "a", "price_cents": 1250}]))],
            "unit_price = { path = \"price_cents\", scale = \"currency\" }",
            json!({"JPY": "1250.0000", "EUR": "12.5000"}),
        ),
        (
            "a price of the whole line",
            vec![order(1, "EUR", json!([{"sku": "a", "price": 20, "unit_price": 10, "quantity": 2}]))],
            "line_total = \"price\"",
            json!({"EUR": "20.0000"}),
        ),
        (
            "two times",
            vec![json!({"number": 1, "ordered": "2026-01-31", "updated": "2026-02-01", "items": [{"sku": "a", "price": 1}]})],
            "created_at = \"ordered\"\nupdated_at = \"updated\"",
            json!({"": "1.0000"}),
        ),
    ];
    for (what, records, said, revenue) in cases {
        let (work, found, shown) = probed("o.ndjson", &ndjson(&records), "");
        assert_eq!((found["records"].as_u64(), &found["is_ready"]), (Some(records.len() as u64), &true.into()), "{what}: {shown}");
        assert!(found["profile"].as_str().is_some_and(|profile| profile.contains(said)), "{what}: {shown}");
        assert_eq!(pasted(&work, &found)["revenue"], revenue, "{what}");
    }
}

/// Nothing can be proposed: it says what is lost, how much of it, and what to do.
#[test]
fn a_probe_is_never_content_where_a_run_is_not() {
    let order = |items: &str| format!(r#"{{"id":1,"created_at":"2026-01-31","currency":"EUR","items":{items}}}"#);
    for (items, reason, advice) in [
        (r#"[{"sku":"a","price":"12,50"}]"#, "invalid_price", "without a comma"),
        ("{}", "empty_items", "[orders.fields]"),
        ("5", "empty_items", "[orders.fields]"),
        (r#"["a"]"#, "invalid_line", "JSON object"),
        (r#"[{"price":1}]"#, "missing_sku", "[orders.line_fields]"),
        (r#"[{"sku":"a","quantity":"two","price":1}]"#, "invalid_quantity", "no number"),
    ] {
        let (work, found, shown) = probed("o.ndjson", &order(items), "");
        assert_eq!(
            (&found["rows"], &found["is_ready"], &found["dropped"][reason]),
            (&0.into(), &false.into(), &1.into()),
            "{items}: {shown}"
        );
        assert!(found["advice"][reason].as_str().is_some_and(|text| text.contains(advice)) && shown.contains(advice), "{items}: {shown}");
        assert!(!shown.contains("Nothing is left to be said"), "{shown}");
        // As the run has it.
        assert_eq!(work.etl(&["run"]).unchanged()["dropped"], found["dropped"], "{items}");
    }
    // A few are no reason, more are, and money that is not found is one.
    let good = r#"[{"sku":"a","price":1}]"#;
    for (bad, is_ready) in [(1, true), (3, false)] {
        let orders: Vec<_> =
            (0..40).map(|number| order(if number < bad { "5" } else { good }).replace("\"id\":1", &format!("\"id\":{number}"))).collect();
        let (_, found, shown) = probed("o.ndjson", &orders.join("\n"), "");
        assert_eq!((&found["is_ready"], shown.contains("Nothing is left to be said")), (&is_ready.into(), is_ready), "{shown}");
    }
    let (_, found, shown) = probed("o.ndjson", &order(r#"[{"sku":"a"}]"#), "");
    assert!(found["is_ready"] == false && shown.contains("no line has a price or a total"), "{shown}");
    // What the profile says is what counts: a list of another place is none, and skipped records are not looked at.
    let record = r#"{"id":2,"created_at":"2026-01-31","test":1,"items":[{"sku":"a","price":1}]}"#;
    let (_, found, shown) = probed("o.ndjson", &[order(good).as_str(), record].join("\n"), "skip = [{ path = \"test\" }]");
    assert_eq!((&found["rows"], &found["records_skipped"]), (&1.into(), &1.into()), "{shown}");
}

/// The order export of Shopify, as its documentation has it, but for `Id`: that stands in the first row of an order alone.
const EXPORT: &str = "Name,Email,Financial Status,Paid at,Fulfilled at,Currency,Subtotal,Total,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem compare at price,Lineitem sku,Lineitem requires shipping\n\
    #1001,a@b.example,paid,2026-01-10 10:05:00 -0500,,USD,29.00,29.00,2026-01-10 10:00:00 -0500,2,Mug,12.00,15.00,MUG-R,true\n\
    #1001,a@b.example,,,,,,,2026-01-10 10:00:00 -0500,1,Gift wrap,5.00,,,false\n\
    #1002,c@d.example,pending,,,USD,12.00,12.00,2026-01-11 10:00:00 -0500,1,Mug,12.00,15.00,MUG-R,true\n";

#[test]
fn a_table_is_mapped_by_what_is_proposed() {
    let (work, found, shown) = probed("orders_export.csv", EXPORT, "");
    assert_eq!(
        (&found["records_at"], &found["rows"], &found["is_ready"]),
        (&"each row of the table".into(), &3.into(), &true.into()),
        "{shown}"
    );
    let profile = found["profile"].as_str().unwrap();
    for line in [
        "order_id = \"Name\"",
        "created_at = \"Created at\"",
        "sku = [\"Lineitem sku\", \"Lineitem name\"]",
        "unit_price = \"Lineitem price\"",
    ] {
        assert!(profile.contains(line), "{line}: {profile}");
    }
    assert!(!profile.contains("Total") && !profile.contains("Paid at") && !shown.contains("line of the file"), "{shown}");
    work.write("etl.toml", profile);
    assert_eq!(work.etl(&["run"]).published()["revenue"], serde_json::json!({"USD": "41.0000"}), "the totals of the export");
    assert_eq!(work.query("SELECT order_id, count(*) FROM fact_order GROUP BY ALL ORDER BY ALL"), ["#1001|2", "#1002|1"]);
}

#[test]
fn lines_that_a_run_asks_for_are_asked_for() {
    let orders: Vec<_> = (0..9).map(|id| format!(r#"{{"id":{id},"created_at":"2026-01-01"}}"#)).collect();
    let list = format!("[{}]", orders.join(","));
    let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
        "/orders" => json(list.clone()),
        _ => json(r#"[{"code":"x","price":2}]"#),
    });
    let work = Workspace::new();
    let request = "line_request = { path = \"/lines/{id}\", pagination = { kind = \"single\" } }";
    work.write("etl.toml", format!("[orders]\nlocation = \"{}\"\npagination = {{ kind = \"single\" }}\n{request}\n", server.orders()));
    let found = work.etl(&["probe", "--format", "json"]).summary();
    assert_eq!((&found["records"], &found["rows"], server.asked().len()), (&5.into(), &5.into(), 6), "of the first five orders");
    let profile = found["profile"].as_str().unwrap();
    assert!(profile.contains("sku = \"code\""), "{profile}");
}
