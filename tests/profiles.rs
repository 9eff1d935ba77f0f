//! Profiles that can't be written wrong: mistakes end with exit 2 and name line and key; layers are laid over each other key by key.

use std::collections::BTreeSet;

use crate::support::{self, Asked, Server, Workspace, json};

/// The error of a run under this `etl.toml`.
#[track_caller]
fn error(work: &Workspace, toml: &str) -> String {
    work.write("etl.toml", toml);
    let ended = work.etl(&["run", "--log-format", "text"]);
    assert_eq!(ended.code, 2, "{toml}\n{}", ended.stderr);
    ended.stderr
}

#[test]
fn a_mistake_in_a_profile_names_its_line_and_the_nearest_key() {
    let work = Workspace::new();
    let server = Server::start(|_: &Asked| json("[]"));
    for (table, message) in [
        (
            "[orders.pagination]\n\npath = 'paging.next'",
            "line 5: `orders.pagination.path`: `kind` is missing: `path` belongs to next_url or cursor",
        ),
        (
            "[orders.pagination]\nkind = 'cursor'\npath = 'c'\nfirst = 0",
            "line 6: `orders.pagination.first`: unknown key `first` of kind `cursor`",
        ),
        ("[orders.pagination]\nkind = 'cursor'", "line 3: `orders.pagination.path`: this key is needed here"),
        ("[orders.pagination]\nkind = 'curser'", "did you mean `cursor`?"),
        ("[orders.auth]\nkind = 'bearer'\nscope = 'x'", "line 5: `orders.auth.scope`: unknown key `scope` of kind `bearer`"),
        ("[orders.fields]\nstatus = { path = 's', scale = 2 }", "line 4: `orders.fields.status.scale`: `scale` belongs to amounts"),
        ("[orders.fields]\n\nordr_id = 'x'", "line 5: `orders.fields.ordr_id`: unknown field `ordr_id`: did you mean `order_id`?"),
        ("[users]\nlocation = 'u.csv'\nskip = []", "line 5: `users.skip`: `skip` belongs to orders"),
        ("[[orders.skip]]\npath = 'a'\nequls = 1", "line 5: unknown key `equls`: did you mean `equals`?"),
    ] {
        let toml = format!("[orders]\nlocation = '{}'\n{table}\n", server.orders());
        let error = error(&work, &toml);
        assert!(error.contains(&format!("etl.toml, {message}")) || (!message.starts_with("line") && error.contains(message)), "{error}");
    }
    assert_eq!(server.asked().len(), 0, "nothing is requested before settings are right");
}

#[test]
fn a_key_over_a_shipped_profile_changes_that_key_alone() {
    let server = Server::start(|asked: &Asked| {
        if asked.path.ends_with("count.json") {
            return json(r#"{"count":1}"#);
        }
        json(r#"{"orders":[{"id":1,"created_at":"2026-01-01T00:00:00Z","line_items":[{"sku":"S","price":"1.50"}]}]}"#)
    });
    let work = Workspace::new();
    let toml = format!("[orders]\nprofile = 'shopify'\nlocation = '{}'\n[orders.pagination]\nsize_parameter = 'n'\n", server.url);
    work.write("etl.toml", &toml);
    let run = |work: &Workspace| support::ended(work.command(&["run"]).env("ETL_API_KEY", "k").output().unwrap());
    run(&work).published();
    let list = server.asked().into_iter().find(|asked| asked.path.ends_with("orders.json")).unwrap();
    assert_eq!((list.parameter("n"), list.parameter("limit"), list.parameter("status")), ("250", "", "any"));
    assert_eq!(list.header("x-shopify-access-token"), Some("k"));
    // Another kind replaces the table: `size_parameter` of the profile is not mixed in.
    let before = server.asked().len();
    work.write("etl.toml", toml.replace("size_parameter = 'n'", "kind = 'single'"));
    run(&work).unchanged();
    let list = server.asked().into_iter().skip(before).find(|asked| asked.path.ends_with("orders.json")).unwrap();
    assert_eq!((list.parameter("n"), list.parameter("limit")), ("", ""));
}

#[test]
fn a_url_is_refused_only_where_it_is_the_unchanged_example() {
    let server = Server::start(|_: &Asked| json("[]"));
    let work = Workspace::new();
    let toml = |url: &str| format!("profile = 'fakestore'\nurl = '{url}'\n");
    work.write("etl.toml", toml(&format!("{}/your-shop", server.url)));
    assert_eq!(work.etl(&["run"]).code, 0);
    assert!(server.asked().iter().any(|asked| asked.path == "/your-shop/carts"), "{:?}", server.asked());
    for example in ["https://your-shop.myshopify.com", "https://your-shop.example/"] {
        let error = error(&work, &toml(example));
        assert!(error.contains("etl.toml, line 2: `url`") && error.contains("say where your own API is"), "{error}");
    }
}

#[test]
fn a_file_of_orders_does_not_make_a_run_ask_the_vendor_for_users() {
    let charges = std::fs::read(format!("{}/tests/payloads/stripe-charges.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let work = Workspace::new();
    work.write("charges.json", charges);
    // The profile has the URL of the vendor. Were it asked, its credentials would be missing.
    work.write("etl.toml", "profile = 'stripe-charges'\n[orders]\nlocation = 'charges.json'\n");
    let ended = work.etl(&["run", "--allow-incomplete"]);
    assert_eq!(ended.published()["completeness"]["users"], serde_json::Value::Null);
    assert!(ended.stderr.contains("users: not read: a profile or a table describes them"), "{}", ended.stderr);
    assert!(!work.etl(&["config", "show"]).stdout.contains("api.stripe.com"));
    // Who names the API has it asked.
    let server =
        Server::start(|_: &Asked| json(r#"{"object":"list","has_more":false,"data":[{"id":"cus_1","address":{"country":"DE"}}]}"#));
    work.write("etl.toml", format!("profile = 'stripe-charges'\nurl = '{}'\n[orders]\nlocation = 'charges.json'\n", server.url));
    let mut command = work.command(&["run", "--allow-incomplete", "--output", "asked"]);
    let ended = support::ended(command.env("ETL_API_TOKEN", "rk").output().unwrap());
    ended.published();
    assert!(server.asked().iter().all(|asked| asked.path == "/v1/customers") && !server.asked().is_empty(), "{:?}", server.asked());
}

/// A record that is its own line: several of one order can't be added up, and a later one takes the place of an earlier one.
#[test]
fn several_records_of_one_order_that_are_lines_are_not_added_up_in_silence() {
    let record = |sku: &str, price: u32| format!(r#"{{"order_id":"A","created_at":"2026-01-31","sku":"{sku}","price":{price}}}"#);
    let toml = |more: &str| format!("{more}\n[orders]\nlocation = 'o.ndjson'\nfields.lines = '.'\n");
    let work = Workspace::new();
    work.write("o.ndjson", [record("a", 1), record("a", 2), record("b", 4)].join("\n"));
    assert!(error(&work, &toml("repeated_sku = 'sum'")).contains("would not be added up"));
    for (merge, expected, said) in
        [("line", "6.0000", "of one sku the later record counts"), ("order", "4.0000", "the last record alone counts")]
    {
        work.write("etl.toml", toml(&format!("merge = '{merge}'")));
        let ended = work.etl(&["run", "--output", merge]);
        assert_eq!(ended.published()["revenue"], serde_json::json!({"": expected}), "{merge}");
        assert!(ended.stderr.contains(said), "{merge}: {}", ended.stderr);
    }
    work.write("o.ndjson", record("a", 1));
    let ended = work.etl(&["run", "--output", "one"]);
    ended.published();
    assert!(!ended.stderr.contains("several records"), "{}", ended.stderr);
}

#[test]
fn an_order_whose_lines_are_all_skipped_is_skipped() {
    let order = |id: &str, skus: &[&str]| {
        let lines: Vec<_> = skus.iter().map(|sku| format!(r#"{{"sku":"{sku}","price":1}}"#)).collect();
        format!(r#"{{"order_id":"{id}","created_at":"2026-01-31","items":[{}]}}"#, lines.join(","))
    };
    let work = Workspace::new();
    work.write("etl.toml", "merge = 'order'\n[orders]\nlocation = 'o.ndjson'\nskip_lines = [{ path = 'sku', equals = 'gift' }]\n");
    work.write("o.ndjson", [order("A", &["x"]), order("B", &["x", "gift"]), order("C", &[])].join("\n"));
    let summary = work.etl(&["run"]).published();
    assert_eq!((&summary["records_skipped"], &summary["dropped"]), (&0.into(), &serde_json::json!({"empty_items": 1})));
    // A newer version that has gifts alone has no rows, and is none of the malformed ones.
    work.write("o.ndjson", [order("A", &["gift"]), order("B", &["x"])].join("\n"));
    let summary = work.etl(&["run"]).published();
    assert_eq!(
        (&summary["records_skipped"], &summary["records_read"], &summary["records_dropped_count"]),
        (&1.into(), &1.into(), &0.into())
    );
    assert_eq!(work.query("SELECT order_id, sku FROM fact_order"), ["B|x"]);
}

/// What is missing among ids is no rule for a sku.
#[test]
fn a_sku_of_zero_is_a_sku() {
    let line = |id: u32, sku: &str| {
        format!(
            r#"{{"id":{id},"sku":"{sku}","variation_id":0,"product_id":{},"quantity":1,"price":1,"total":"1.00","total_tax":"0.00"}}"#,
            id + 500
        )
    };
    let lines = [line(1, "0"), line(2, "00"), line(3, "")].join(",");
    let work = Workspace::new();
    work.write(
        "orders.json",
        format!(
            r#"[{{"id":7,"status":"completed","currency":"EUR","total":"3.00","total_tax":"0.00","shipping_total":"0.00",
            "date_created_gmt":"2026-01-05T10:00:00","date_modified_gmt":"2026-01-05T10:00:00","line_items":[{lines}],"refunds":[]}}]"#
        ),
    );
    work.etl(&["run", "--profile", "woocommerce", "--orders", "orders.json"]).published();
    let skus: BTreeSet<String> = work.facts().into_iter().filter_map(|mut row| row.remove("sku")).collect();
    assert_eq!(skus, BTreeSet::from(["0", "00", "503"].map(str::to_owned)));
    // Elsewhere such a rule would be read by nobody.
    for table in
        ["[orders.fields]\nuser_id = [{ path = 'a', missing = [0] }]", "[products]\nlocation = 'p.csv'\nfields.sku = [{ path = 'a' }]"]
    {
        let error = error(&work, &format!("[orders]\nlocation = 'orders.json'\n{table}\n"));
        assert!(error.contains("only the paths of the `sku` of a line may have rules of their own"), "{error}");
    }
    let error = error(&work, "[orders]\nlocation = 'orders.json'\nline_fields.sku = [{ path = 'a', scale = 2 }]\n");
    assert!(error.contains("unknown key `scale`"), "{error}");
}
