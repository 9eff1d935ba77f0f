//! Values reach the layer with the meaning of the source: missing values, ids, amounts, times, texts, encodings. The rules are
//! the same for facts and dimensions.

use serde_json::json;

use crate::support::{Server, Workspace, json as answer, order};

/// A record with these lines.
fn record(order_id: &str, more: &str, lines: &str) -> String {
    format!(r#"{{"order_id":"{order_id}","created_at":"2026-01-01"{more},"items":[{lines}]}}"#)
}

#[test]
fn values_that_a_profile_lists_as_missing_are_skipped() {
    let work = Workspace::new();
    work.write(
        "etl.toml",
        r#"
[orders.fields]
user_id = { paths = ["customer_id", "email"], missing = [0, "guest"] }
[orders.line_fields]
sku = { paths = ["sku", "variation_id", "product_id"], missing = [0] }
unit_price = { path = "price", missing = [-1], default = "9.5" }
"#,
    );
    let lines = [
        record(
            "A",
            r#","customer_id":0,"email":"a@x.test""#,
            r#"{"sku":"","variation_id":0,"product_id":93,"price":10},{"sku":"0","variation_id":"0.0","product_id":94,"price":20}"#,
        ),
        record("B", r#","customer_id":"guest","email":"b@x.test""#, r#"{"sku":null,"variation_id":7,"product_id":93,"price":-1.0}"#),
        record("C", r#","customer_id":5,"email":"c@x.test""#, r#"{"variation_id":0,"price":1}"#),
    ];
    let summary = work.load(&lines, &[]).published();
    assert_eq!(
        work.query("SELECT order_id, sku, user_id, unit_price FROM fact_order ORDER BY ALL"),
        ["A|93|a@x.test|10.0000", "A|94|a@x.test|20.0000", "B|7|b@x.test|9.5000"]
    );
    assert_eq!(summary["dropped"], json!({"missing_sku": 1, "no_valid_items": 1}));
}

#[test]
fn whole_numbers_are_ids_in_any_notation_and_other_values_are_counted() {
    let work = Workspace::new();
    work.write("users.json", r#"[{"id":7.0,"country":"DE"},{"id":"7.0","country":"FR"},{"id":1.5},{"id":true}]"#);
    work.write("products.ndjson", "{\"sku\":2e1,\"product_id\":3.0,\"name\":\"Twenty\"}\n{\"sku\":\"x\",\"product_id\":{\"a\":1}}");
    let lines = [
        r#"{"order_id":1.0,"created_at":"2026-01-01","user_id":7.0,"items":[{"sku":20.0,"product_id":3e0}]}"#.to_owned(),
        r#"{"order_id":2,"created_at":"2026-01-01","user_id":"7.0","status":{},"items":[{"sku":"20","product_id":1.5}]}"#.to_owned(),
        r#"{"order_id":3,"created_at":"2026-01-01","user_id":true,"currency":["EUR"],"items":[{"sku":"20"}]}"#.to_owned(),
        r#"{"order_id":1.5,"created_at":"2026-01-01","items":[{"sku":"20"}]}"#.to_owned(),
    ];
    let summary = work.load(&lines, &["--users", "users.json", "--products", "products.ndjson"]).published();
    assert_eq!(
        work.query("SELECT order_id, sku, user_id, product_id, user_country, product_name FROM fact_order ORDER BY ALL"),
        ["1|20|7|3|DE|Twenty", "2|20|7.0|NULL|FR|Twenty", "3|20|NULL|NULL|NULL|Twenty"]
    );
    // The status, the product_id, the user and the currency. The object of a product is an extra column.
    assert_eq!((&summary["values_unreadable"], &summary["dropped"]["missing_order_id"]), (&json!(4), &json!(1)));
    assert_eq!(work.query("SELECT user_id FROM dim_user ORDER BY 1"), ["7", "7.0"]);
}

#[test]
fn minor_units_follow_iso_4217_or_stripe_or_a_scale_beside_the_amount() {
    let work = Workspace::new();
    let load = |scale: &str, lines: &[String]| {
        work.write("etl.toml", format!("orders = {{ line_fields = {{ unit_price = {{ path = \"amount\", scale = {scale} }} }} }}\n"));
        let summary = work.load(lines, &["--output", "output"]).published();
        std::fs::remove_dir_all(work.path("output/quarantine")).ok();
        summary["dropped"].clone()
    };
    let in_currency = |id: &str, currency: &str| record(id, &format!(r#","currency":"{currency}""#), r#"{"sku":"s","amount":123450}"#);
    let currencies = ["EUR", "jpy", "KWD", "UGX", "LYD", "ISK", "MGA", "CLF", "HUF"];
    let lines: Vec<_> = currencies
        .iter()
        .map(|currency| in_currency(currency, currency))
        .chain([in_currency("X", "ZZZ"), record("Y", "", r#"{"sku":"s","amount":1}"#)])
        .collect();
    assert_eq!(load("\"currency\"", &lines)["invalid_price"], 2);
    let prices = || work.query("SELECT order_id || '=' || unit_price FROM fact_order ORDER BY ALL");
    let iso = [
        "CLF=12.3450",
        "EUR=1234.5000",
        "HUF=1234.5000",
        "ISK=123450.0000",
        "KWD=123.4500",
        "LYD=123.4500",
        "MGA=1234.5000",
        "UGX=123450.0000",
        "jpy=123450.0000",
    ];
    assert_eq!(prices(), iso);
    std::fs::remove_dir_all(work.path("output")).unwrap();
    load("\"stripe\"", &lines);
    let stripe = [
        "CLF=12.3450",
        "EUR=1234.5000",
        "HUF=1234.5000",
        "ISK=1234.5000",
        "KWD=123.4500",
        "LYD=123.4500",
        "MGA=123450.0000",
        "UGX=1234.5000",
        "jpy=123450.0000",
    ];
    assert_eq!(prices(), stripe);
    std::fs::remove_dir_all(work.path("output")).unwrap();
    let beside = |id: &str, more: &str| record(id, "", &format!(r#"{{"sku":"s","amount":123450{more}}}"#));
    let lines = [
        beside("divisor", r#","price":{"divisor":100}"#),
        beside("yen", r#","price":{"divisor":1}"#),
        beside("digits", r#","price":{"divisor":3}"#),
        beside("none", ""),
        beside("odd", r#","price":{"divisor":"x"}"#),
    ];
    assert_eq!(load("{ path = \"price.divisor\" }", &lines)["invalid_price"], 2);
    assert_eq!(prices(), ["digits=123.4500", "divisor=1234.5000", "yen=123450.0000"]);
}

#[test]
fn a_list_price_without_a_currency_is_empty_and_counted() {
    let work = Workspace::new();
    work.write("etl.toml", "[products.fields]\nlist_price = { path = \"cents\", scale = \"currency\" }\n");
    work.write("products.csv", "sku,cents,currency\nA,1250,EUR\nB,1250,\nC,1250,JPY\nD,free,EUR\n");
    let summary = work.load(&[order("A", "2026-01-01", "")], &["--products", "products.csv"]).published();
    assert_eq!(
        work.query("SELECT sku, list_price FROM dim_product WHERE NOT inferred ORDER BY 1"),
        ["A|12.5000", "B|NULL", "C|1250.0000", "D|NULL"]
    );
    assert_eq!(summary["values_unreadable"], 2);
}

#[test]
fn the_first_path_with_a_value_is_used_for_each_record_in_every_format() {
    let json = r#"[{"id":1,"sku":"A","name":"","title":"t1"},{"id":2,"sku":"","name":"n2"},{"id":3,"sku":null,"title":"t3"}]"#;
    for (name, content) in [
        ("p.json", json.to_owned()),
        ("p.ndjson", json[1..json.len() - 1].replace("},{", "}\n{")),
        ("p.csv", "id,sku,name,title\n1,A,,t1\n2,,n2,\n3,,,t3\n".to_owned()),
    ] {
        let work = Workspace::new();
        work.write(name, content);
        work.load(&[order("A", "2026-01-01", "")], &["--products", name]).published();
        assert_eq!(
            work.query("SELECT sku, product_id, name FROM dim_product WHERE NOT inferred ORDER BY 1"),
            ["2|2|n2", "3|3|t3", "A|1|t1"],
            "{name}"
        );
    }
}

#[test]
fn the_last_value_of_a_repeated_key_counts_in_facts_and_dimensions() {
    let work = Workspace::new();
    work.write("users.json", r#"[{"id":"U1","id":"U2","country":"FR","country":"DE","address":{"city":"A","city":"B"}}]"#);
    let lines =
        [r#"{"order_id":"A","created_at":"2026-01-01","order_id":"B","user":{"id":"U1","id":"U2"},"items":[{"sku":"x","sku":"y"}]}"#
            .to_owned()];
    work.load(&lines, &["--users", "users.json"]).published();
    assert_eq!(work.query("SELECT order_id, sku, user_id, user_country FROM fact_order"), ["B|y|U2|DE"]);
    assert_eq!(work.query("SELECT user_id, address_city FROM dim_user"), ["U2|B"]);
}

#[test]
fn times_are_parsed_alike_in_facts_and_dimensions() {
    for (written, stored) in [
        ("\"2026-01-31 10:00:00 +0200\"", Some("2026-01-31 08:00:00")),
        ("\"2026-01-31 10:00:00 UTC\"", Some("2026-01-31 10:00:00")),
        ("\"1769817600\"", Some("2026-01-31 00:00:00")),
        ("\"1769817600123\"", Some("2026-01-31 00:00:00.123")),
        ("\"1769817600123456\"", Some("2026-01-31 00:00:00.123456")),
        ("1769817600123456", Some("2026-01-31 00:00:00.123456")),
        ("1769817600.5", Some("2026-01-31 00:00:00.5")),
        ("\"20260131\"", None),
        ("\"2026\"", None),
        ("\"45688\"", None),
        ("\"45688.5\"", None),
        ("true", None),
    ] {
        let work = Workspace::new();
        work.write("users.ndjson", format!(r#"{{"id":"U1","created_at":{written}}}"#));
        let fact = format!(r#"{{"order_id":"T","created_at":{written},"user_id":"U1","items":[{{"sku":"s"}}]}}"#);
        let summary = work.load(&[fact, order("A", "2026-01-01", "")], &["--users", "users.ndjson"]).published();
        assert_eq!(
            work.query("SELECT created_at FROM fact_order WHERE order_id = 'T'"),
            stored.into_iter().collect::<Vec<_>>(),
            "{written}"
        );
        let of_user = work.query("SELECT CAST(CAST(created_at AS TIMESTAMP) AS VARCHAR) FROM dim_user WHERE user_id = 'U1'");
        assert_eq!(of_user, [stored.unwrap_or("NULL")], "{written}");
        assert_eq!(summary["values_unreadable"], u64::from(stored.is_none()), "{written}");
    }
}

#[test]
fn texts_too_long_for_the_warehouse_are_cut_counted_and_reported() {
    let long = |bytes: usize| "x".repeat(bytes);
    let work = Workspace::new();
    work.write("users.json", format!(r#"[{{"id":"U1","country":"{}"}},{{"id":"{}"}}]"#, "é".repeat(40_000), long(65_536)));
    let lines = [
        record("fits", &format!(r#","status":"{}""#, long(65_531)), r#"{"sku":"s"}"#),
        record(
            "cut",
            &format!(r#","status":"{}","user_id":"U1""#, long(70_000)),
            &format!(r#"{{"sku":"s","product_id":"{}"}}"#, "é".repeat(40_000)),
        ),
        record(&long(65_536), "", r#"{"sku":"s"}"#),
        record("sku", "", &format!(r#"{{"sku":"{}"}},{{"sku":"s"}}"#, long(65_536))),
    ];
    let ended = work.load(&lines, &["--users", "users.json"]);
    let summary = ended.published();
    assert_eq!(summary["texts_cut"], 3);
    assert_eq!(summary["dropped"], json!({"missing_order_id": 1, "missing_sku": 1}));
    assert_eq!(
        work.query("SELECT order_id, strlen(status), strlen(product_id), strlen(user_country) FROM fact_order ORDER BY 1"),
        ["cut|65535|65534|65534", "fits|65531|NULL|NULL", "sku|NULL|NULL|NULL"]
    );
    let found = |summary: &serde_json::Value| {
        summary["checks"].as_array().unwrap().iter().find(|check| check["name"] == "fact_text_fits").unwrap().clone()
    };
    let check = found(&summary);
    assert_eq!((&check["severity"], &check["violations"], &check["sample"][0]["order_id"]), (&json!("warn"), &json!(1), &json!("cut")));
    let whole = work.etl(&["check"]);
    assert_eq!(whole.code, 0);
    assert_eq!(found(&whole.summary())["violations"], 1);
    work.load(&lines, &["--users", "users.json"]).unchanged();
}

#[test]
fn columns_whose_names_differ_only_in_case_are_merged_with_a_warning() {
    let work = Workspace::new();
    work.write("users.json", r#"[{"id":"U1","Name":"A","name":"B","plan":null,"Plan":"gold"},{"id":"U2","PLAN":"free"}]"#);
    let load = || work.load(&[order("A", "2026-01-01", "")], &["--users", "users.json", "--log-format", "text"]);
    let ended = load();
    ended.published();
    assert!(
        ended.stderr.contains("columns that have one name, in lower case") && ended.stderr.contains("names=\"name\""),
        "{}",
        ended.stderr
    );
    assert_eq!(work.query("SELECT user_id, name, plan FROM dim_user ORDER BY 1"), ["U1|A|gold", "U2|NULL|free"]);
    load().unchanged();
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn columns_beyond_the_maximum_are_left_out_with_a_warning() {
    let work = Workspace::new();
    let users: Vec<_> = (0..1600).map(|user| format!(r#"{{"id":"U{user}","key_{user}":"v","{}":1}}"#, "n".repeat(130))).collect();
    work.write("users.ndjson", users.join("\n"));
    let load = || work.load(&[order("A", "2026-01-01", "")], &["--users", "users.ndjson", "--log-format", "text"]);
    let ended = load();
    let summary = ended.published();
    let header = work.read("output/dims/dim_user/dim_user.csv").lines().next().unwrap().split(',').count();
    assert!(header <= 1500 && header > 1480, "{header}");
    assert!(ended.stderr.contains("columns are left out"), "{}", ended.stderr);
    // The header has user_id and inferred, which are not keys of the source.
    let kept = header as u64 - 6;
    assert_eq!(summary["values_unreadable"], 1600 + (1600 - kept));
    load().unchanged();
}

#[test]
fn a_column_that_a_file_does_not_have_keeps_its_stored_values() {
    let work = Workspace::new();
    let load = |users: &str| {
        work.write("users.csv", users);
        work.load(&[order("A", "2026-01-01", "")], &["--users", "users.csv"])
    };
    load("user_id,name,country,plan\nU1,Anna,DE,gold\nU2,Ben,FR,free\n").published();
    load("user_id,country\nU1,IT\n").published();
    assert_eq!(work.query("SELECT user_id, name, country, plan FROM dim_user ORDER BY 1"), ["U1|Anna|IT|gold", "U2|Ben|FR|free"]);
    load("user_id,country\nU1,IT\n").unchanged();
    load("user_id,plan\nU1,\n").published();
    assert_eq!(work.query("SELECT name, country, plan FROM dim_user WHERE user_id = 'U1'"), ["Anna|IT|NULL"]);
}

#[test]
fn a_file_of_a_folder_that_lacks_a_column_keeps_what_the_others_say() {
    let work = Workspace::new();
    work.write("u/2026-01-01.csv", "user_id,name,plan\nU1,Anna,gold\nU2,Ben,free\n");
    let load = || work.load(&[order("A", "2026-01-01", "")], &["--users", "u"]);
    load().published();
    work.write("u/2026-01-02.csv", "user_id,name\nU1,Anna B.\nU3,Cy\n");
    load().published();
    let users = || work.query("SELECT user_id, name, plan FROM dim_user ORDER BY 1");
    assert_eq!(users(), ["U1|Anna B.|gold", "U2|Ben|free", "U3|Cy|NULL"]);
    load().unchanged();
    // The first file is gone, and another one has the column for another user.
    std::fs::remove_file(work.path("u/2026-01-01.csv")).unwrap();
    work.write("u/2026-01-03.csv", "user_id,plan\nU3,new\nU2,\n");
    load().published();
    assert_eq!(users(), ["U1|Anna B.|gold", "U2|Ben|NULL", "U3|Cy|new"]);
    load().unchanged();
}

#[test]
fn half_a_surrogate_pair_makes_only_its_own_value_unreadable() {
    let work = Workspace::new();
    work.write("users.json", r#"[{"id":"U1","\ud800":"x","country":"DE"},{"id":"U2","country":"\udc00"}]"#);
    let lines = [
        r#"{"order_id":"key","created_at":"2026-01-01","\ud800x":{"\udfff":["\ud800"]},"user_id":"U1","items":[{"sku":"s","\ud800":1}]}"#
            .to_owned(),
        r#"{"order_id":"value","created_at":"2026-01-01","note":"\ud800","status":"\ud800","items":[{"sku":"s"}]}"#.to_owned(),
        r#"{"order_id":"line","created_at":"2026-01-01","items":[{"sku":"\ud800"},{"sku":"s"}]}"#.to_owned(),
    ];
    let summary = work.load(&lines, &["--users", "users.json"]).published();
    assert_eq!(work.query("SELECT order_id, user_country FROM fact_order ORDER BY 1"), ["key|DE", "line|NULL", "value|NULL"]);
    assert_eq!((&summary["values_unreadable"], &summary["dropped"]), (&json!(2), &json!({"missing_sku": 1})));
}

#[test]
fn a_byte_that_is_not_utf_8_makes_only_its_own_record_invalid() {
    let good = |id: &str| order(id, "2026-01-01", "").into_bytes();
    let bad =
        [b"{\"order_id\":\"bad\",\"created_at\":\"2026-01-01\",\"name\":\"M".as_slice(), b"\xfc", b"ller\",\"items\":[{\"sku\":\"s\"}]}"]
            .concat();
    let list = [b"[".as_slice(), &good("A"), b",", &bad, b",", &good("B"), b"]"].concat();
    let wrapped = [b"{\"total\":3,\"orders\":".as_slice(), &list, b"}"].concat();
    let lines = [good("A"), bad.clone(), good("B")].join(&b'\n');
    let server = Server::start({
        let list = list.clone();
        move |asked| if asked.parameter("page") == "1" { (200, Vec::new(), list.clone()) } else { answer("[]") }
    });
    let work = Workspace::new();
    work.write("list.json", &list);
    work.write("wrapped.json", &wrapped);
    work.write("lines.ndjson", &lines);
    for (number, location) in ["list.json", "wrapped.json", "lines.ndjson", &server.orders()].into_iter().enumerate() {
        let output = format!("out-{number}");
        let summary = work.etl(&["run", "--orders", location, "--output", &output]).published();
        assert_eq!((&summary["dropped"], &summary["rows_inserted"]), (&json!({"invalid_json": 1}), &json!(2)), "{location}");
    }
}

#[test]
fn csv_errors_name_the_line_with_any_line_ending() {
    for end in ["\n", "\r\n", "\r"] {
        let work = Workspace::new();
        work.write("users.csv", ["user_id,name", "U1,a", "U2", "U3,b", ""].join(end));
        let ended = work.load(&[order("A", "2026-01-01", "")], &["--users", "users.csv", "--log-format", "text"]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("users.csv, line 3: 1 field, where the header has"), "{end:?}: {}", ended.stderr);
    }
}

#[test]
fn zero_is_one_id_with_any_sign() {
    let work = Workspace::new();
    let of = |id: &str, price: u8| format!(r#"{{"order_id":{id},"created_at":"2026-01-01","items":[{{"sku":{id},"price":{price}}}]}}"#);
    work.load(&[of("-0", 1), of("-0.0", 2), of("0", 3)], &[]).published();
    assert_eq!(work.query("SELECT order_id, sku, unit_price FROM fact_order"), ["0|0|3.0000"]);
}

#[test]
fn the_smallest_quantity_is_loaded_and_checked() {
    let lowest = i64::MIN;
    let lines = [
        record("A", "", &format!(r#"{{"sku":"x","quantity":{lowest},"tot":0}},{{"sku":"y","quantity":2,"tot":5}}"#)),
        record("B", "", &format!(r#"{{"sku":"x","quantity":{},"tot":0}}"#, i64::MAX)),
    ];
    for settings in ["[orders.line_fields]\nline_total = \"tot\"\n", "repeated_sku = \"sum\"\n"] {
        let work = Workspace::new();
        work.write("etl.toml", settings);
        work.load(&lines, &[]).published();
        let quantities = work.query("SELECT quantity FROM fact_order ORDER BY order_id, sku");
        assert_eq!(quantities, [lowest.to_string(), "2".into(), i64::MAX.to_string()], "{settings}");
        assert_eq!(work.etl(&["check"]).code, 0, "{settings}");
    }
}

#[test]
fn a_sum_of_quantities_beyond_its_column_is_said_to_be_one() {
    let work = Workspace::new();
    work.write("etl.toml", "repeated_sku = \"sum\"\n");
    let lines = format!(r#"{{"sku":"x","quantity":{}}},{{"sku":"x","quantity":1}}"#, i64::MAX);
    let ended = work.load(&[record("A", "", &lines)], &["--log-format", "text"]);
    assert_eq!(ended.published()["dropped"], json!({"invalid_quantity": 1}));
    assert!(ended.stderr.contains("the sum of the quantities of their sku does not fit"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("quantities have decimals"), "{}", ended.stderr);
}

#[test]
fn lines_of_several_currencies_are_not_added_up_where_their_order_names_none() {
    let work = Workspace::new();
    work.write("etl.toml", "[orders.line_fields]\ncurrency = \"cur\"\n");
    let line = |sku: &str, rest: &str| format!(r#"{{"sku":"{sku}","price":1{rest}}}"#);
    let of = |id: &str, first: &str, second: &str| record(id, "", &[line("a", first), line("b", second), line("c", "")].join(","));
    let (eur, usd) = (r#","cur":"EUR""#, r#","cur":"USD""#);
    let ended = work.load(&[of("A", eur, eur), of("B", eur, usd), of("C", "", usd)], &["--log-format", "text"]);
    let summary = ended.published();
    assert_eq!(
        work.query("SELECT order_id, sku, currency FROM fact_order ORDER BY ALL"),
        ["A|a|EUR", "A|b|EUR", "A|c|EUR", "B|c|NULL", "C|a|USD", "C|b|USD", "C|c|USD"]
    );
    assert_eq!(summary["dropped"], json!({"invalid_price": 2}));
    assert_eq!(summary["revenue"], json!({"": "1.0000", "EUR": "3.0000", "USD": "3.0000"}));
    assert!(ended.stderr.contains("their order has none and its lines name several"), "{}", ended.stderr);
}
