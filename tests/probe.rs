//! `etl probe`: what is found, what is proposed, and that what is proposed runs.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use support::{Asked, Server, Workspace, json};

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
    let found = work.etl(&["probe", "--orders", &server.orders()]).summary();
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
    let again = work.etl(&["probe"]).summary();
    assert_eq!(again["profile"], serde_json::Value::Null);
}

#[test]
fn what_a_shipped_profile_gathers_is_shown() {
    let work = Workspace::new();
    let payload = |name: &str| format!("{}/tests/payloads/{name}", env!("CARGO_MANIFEST_DIR"));
    let found = |profile: &str, file: &str| work.etl(&["probe", "--profile", profile, "--orders", &payload(file)]).summary();
    let lines = |found: &serde_json::Value| {
        let columns = found["columns"].as_array().unwrap();
        columns.iter().find(|column| column["column"] == "lines").unwrap()["path"].as_str().unwrap().to_owned()
    };
    let stripe = found("stripe-charges", "stripe-charges.json");
    assert_eq!((lines(&stripe).as_str(), &stripe["profile"]), ("the record itself", &serde_json::Value::Null));
    let server = Server::start(|_: &Asked| json(r#"{"orders":[{"id":1,"created_at":"2026-01-01"}],"total":1}"#));
    work.write("etl.toml", format!("[orders]\nlocation = \"{}\"\nline_request = {{ path = \"/orders/{{id}}/lines\" }}\n", server.orders()));
    assert_eq!(lines(&work.etl(&["probe"]).summary()), "a request for each order");
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
    let found: serde_json::Value = work.etl(&["probe", "--orders", &server.orders()]).summary();
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
    let found = work.etl(&["probe", "--orders", "o.ndjson"]).summary();
    assert_eq!(
        (&found["records_at"], &found["pagination"]["kind"], &found["rows"]),
        (&"each line of the file".into(), &"none".into(), &1.into())
    );
    work.write(
        "o.json",
        r#"{"export":{"bookings":[{"ref":"R1","bookedAt":"Tue, 20 Jan 2026 10:00:00 +0000","items":[{"sku":"s","price":1}]}]}}"#,
    );
    let found = work.etl(&["probe", "--orders", "o.json"]).summary();
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
    let found = work.etl(&["probe", "--profile", "dummyjson", "--url", &server.url]).summary();
    assert_eq!((&found["rows"], &found["pagination"]["kind"], &found["profile"]), (&1.into(), &"offset".into(), &serde_json::Value::Null));
}
