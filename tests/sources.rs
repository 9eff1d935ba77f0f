//! Each shipped profile against a loopback server that follows the documentation of the vendor: headers, limits, page sizes and
//! pagination. The documented orders must become the right rows.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json, status, tool};

fn run(work: &Workspace, source: &str, url: &str, more: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = work.command(&[&["run", "--profile", source, "--url", url, "--log-format", "text"], more].concat());
    command.envs(variables.iter().copied());
    support::ended(command.output().unwrap())
}

fn with(mut reply: Reply, name: &'static str, value: impl Into<String>) -> Reply {
    reply.1.push((name, value.into()));
    reply
}

fn decoded(asked: &Asked, name: &str) -> String {
    asked.parameter(name).replace("%3A", ":")
}

const ROWS: &str = "SELECT order_id, sku, quantity, unit_price, currency, user_id, created_at FROM fact_order ORDER BY ALL";

#[test]
fn shopify() {
    // https://shopify.dev/docs/api/admin-rest/latest/resources/order and /docs/api/usage/pagination-rest
    let server = Server::start(|asked: &Asked| {
        if asked.header("x-shopify-access-token") != Some("shpat_1") {
            return status(401);
        }
        if asked.path == "/admin/api/2026-07/customers.json" {
            return json(
                r#"{"customers":[{"id":207119551,"email":"bob@example.com","first_name":"Bob","default_address":{"country_code":"US"}}]}"#,
            );
        }
        if asked.path == "/admin/api/2026-07/customers/count.json" {
            return json(r#"{"count":1}"#);
        }
        if asked.path == "/admin/api/2026-07/orders/count.json" {
            assert_eq!((asked.parameter("status"), decoded(asked, "updated_at_min")), ("any", "2025-12-31T23:59:59Z".into()));
            return json(r#"{"count":3}"#);
        }
        assert_eq!(asked.path, "/admin/api/2026-07/orders.json");
        let line = r#"{"id":466157049,"variant_id":39072856,"product_id":632910392,"title":"IPod Nano","sku":"IPOD2008GREEN","quantity":1,"price":"199.00","total_discount":"0.00"}"#;
        let order = |id: u64, test: bool, when: &str| {
            format!(
                r#"{{"id":{id},"name":"N1001","test":{test},"created_at":"{when}","updated_at":"{when}","currency":"USD","financial_status":"paid","customer":{{"id":207119551}},"line_items":[{line}]}}"#
            )
        };
        let reply = if asked.parameter("page_info").is_empty() {
            assert_eq!((asked.parameter("status"), asked.parameter("limit")), ("any", "250"));
            assert_eq!(
                (decoded(asked, "updated_at_min"), decoded(asked, "updated_at_max")),
                ("2025-12-31T23:59:59Z".into(), "2026-02-01T00:00:01Z".into())
            );
            let orders = [order(450789469, false, "2026-01-10T11:00:00-05:00"), order(450789470, true, "2026-01-10T11:00:00-05:00")];
            with(json(format!(r#"{{"orders":[{}]}}"#, orders.join(","))), "link", "<?limit=250&page_info=abc>; rel=\"next\"")
        } else {
            // "When using page_info you can't specify any other parameters, but for limit and fields": a 400.
            if asked.query.keys().any(|name| name != "page_info" && name != "limit") {
                return status(400);
            }
            json(format!(r#"{{"orders":[{}]}}"#, order(450789471, false, "2026-01-11T23:30:00-05:00")))
        };
        with(reply, "x-shopify-shop-api-call-limit", "1/40")
    });
    let work = Workspace::new();
    let window = ["--since", "2026-01-01", "--until", "2026-02-01"];
    let summary = run(&work, "shopify", &server.url, &window, &[("ETL_API_KEY", "shpat_1")]).published();
    assert_eq!((&summary["records_skipped"], &summary["records_read"]), (&1.into(), &2.into()));
    let completeness = &summary["completeness"];
    assert_eq!(
        (&completeness["status"], &completeness["by"], &completeness["claimed"], &completeness["distinct"]),
        (&"proven".into(), &"count".into(), &3.into(), &3.into()),
        "the order of the test gateway counts"
    );
    assert_eq!(
        work.query(ROWS),
        [
            "450789469|IPOD2008GREEN|1|199.0000|USD|207119551|2026-01-10 16:00:00",
            "450789471|IPOD2008GREEN|1|199.0000|USD|207119551|2026-01-12 04:30:00"
        ]
    );
    assert_eq!(work.query("SELECT name, country, inferred FROM dim_user"), ["Bob|US|false"]);
    let ended = run(&work, "shopify", &server.url, &[], &[]);
    assert!(ended.code == 2 && ended.stderr.contains("ETL_API_KEY"), "{}", ended.stderr);
}

#[test]
fn woocommerce() {
    // https://developer.woocommerce.com/docs/apis/rest-api/v3/orders
    let server = Server::start(|asked: &Asked| {
        if asked.header("authorization") != Some("Basic Y2tfMTpjc18x") {
            return status(401);
        }
        if !asked.path.ends_with("/orders") {
            return with(json("[]"), "x-wp-totalpages", "0");
        }
        assert_eq!(
            (asked.path.as_str(), asked.parameter("per_page"), asked.parameter("dates_are_gmt")),
            ("/wp-json/wc/v3/orders", "100", "true")
        );
        assert_eq!(decoded(asked, "modified_after"), "2025-12-31T23:59:59");
        let page = asked.parameter("page");
        let line = r#"{"id":315,"name":"Woo Single #1","product_id":93,"variation_id":0,"quantity":2,"subtotal":"6.00","total":"6.00","sku":"","price":3},{"id":316,"name":"Woo Single #2","product_id":94,"variation_id":0,"quantity":1,"subtotal":"5.00","total":"5.00","sku":"","price":5}"#;
        // A guest has the customer 0.
        let customer = if page == "1" { 26 } else { 0 };
        let body = format!(
            r#"[{{"id":72{page},"status":"processing","currency":"USD","date_created":"2026-01-22T16:28:02","date_created_gmt":"2026-01-22T19:28:02","date_modified_gmt":"2026-01-22T19:28:08","customer_id":{customer},"billing":{{"email":"guest@example.test"}},"line_items":[{line}]}}]"#
        );
        with(with(json(body), "x-wp-total", "2"), "x-wp-totalpages", "2")
    });
    let work = Workspace::new();
    let variables = [("ETL_API_USER", "ck_1"), ("ETL_API_PASSWORD", "cs_1")];
    run(&work, "woocommerce", &server.url, &["--since", "2026-01-01", "--cursor", "updated_at"], &variables).published();
    assert_eq!(
        work.query(ROWS),
        [
            "721|93|2|3.0000|USD|26|2026-01-22 19:28:02",
            "721|94|1|5.0000|USD|26|2026-01-22 19:28:02",
            "722|93|2|3.0000|USD|guest@example.test|2026-01-22 19:28:02",
            "722|94|1|5.0000|USD|guest@example.test|2026-01-22 19:28:02"
        ],
        "no product has the number 0, and the source's totals are 11.00 an order"
    );
    assert_eq!(server.asked().iter().filter(|asked| asked.path.ends_with("/orders")).count(), 2);
}

#[test]
fn bigcommerce() {
    // https://developer.bigcommerce.com/docs/rest-management/orders
    let server = Server::start(|asked: &Asked| {
        if asked.header("x-auth-token") != Some("bc") {
            return status(401);
        }
        match asked.path.as_str() {
            "/stores/abc/v3/customers" => json(
                r#"{"data":[{"id":11,"first_name":"Ann","email":"ann@example.com","addresses":[{"country_code":"CA"}]}],"meta":{"pagination":{"total":1,"total_pages":1}}}"#,
            ),
            "/stores/abc/v3/catalog/products" => json(
                r#"{"data":[{"id":77,"sku":"OFSUC","name":"Sugar","type":"physical","price":1.5}],"meta":{"pagination":{"total":1,"total_pages":1}}}"#,
            ),
            "/stores/abc/v2/orders" if asked.parameter("page") == "1" => json(
                r#"[{"id":100,"customer_id":11,"date_created":"Tue, 20 Jan 2026 23:30:00 -0200","date_modified":"Wed, 21 Jan 2026 18:15:15 +0000","status":"Completed","currency_code":"USD","refunded_amount":"95.5000","consignments":[{"shipping":[{"line_items":[{"id":20,"product_id":77,"sku":"OFSUC","quantity":2,"base_price":"89.0000"},{"id":21,"product_id":78,"variant_id":0,"sku":"","quantity":1,"base_price":"5.0000"},{"id":22,"product_id":0,"variant_id":0,"sku":"","quantity":1,"base_price":"40.0000"}]}]}]}]"#,
            ),
            "/stores/abc/v2/orders/count" => json(r#"{"count":1,"statuses":[]}"#),
            "/stores/abc/v3/orders/100/payment_actions/refunds" => json(
                r#"{"data":[{"id":7,"order_id":100,"created":"2026-02-03T23:30:00-02:00","total_amount":89,"total_tax":8.1,"items":[{"item_type":"PRODUCT","item_id":20,"quantity":1,"requested_amount":null}]},{"id":8,"order_id":100,"created":"2026-02-05T10:00:00+00:00","total_amount":6.5,"total_tax":0,"items":[{"item_type":"SHIPPING","item_id":20,"requested_amount":6.5}]}],"meta":{}}"#,
            ),
            // "204: no orders on this page".
            "/stores/abc/v2/orders" => (204, Vec::new(), Vec::new()),
            other => panic!("{other}"),
        }
    });
    let work = Workspace::new();
    run(&work, "bigcommerce", &format!("{}/stores/abc", server.url), &[], &[("ETL_API_KEY", "bc")]).published();
    assert_eq!(
        work.query(ROWS),
        [
            "100|22|1|40.0000|USD|11|2026-01-21 01:30:00",
            "100|78|1|5.0000|USD|11|2026-01-21 01:30:00",
            "100|OFSUC|2|89.0000|USD|11|2026-01-21 01:30:00"
        ],
        "a product of no catalog has the number 0, and is known by its line"
    );
    assert_eq!(work.query("SELECT user_country, product_name, status FROM fact_order WHERE sku = 'OFSUC'"), ["CA|Sugar|Completed"]);
    assert_eq!(work.query("SELECT list_price FROM dim_product WHERE NOT inferred"), ["1.5000"]);
    let refunds = "SELECT dt, refund_id, order_id, sku, amount, currency FROM fact_refund ORDER BY ALL";
    assert_eq!(
        work.query(refunds),
        ["2026-02-04|7|100|NULL|89.0000|USD", "2026-02-05|8|100|NULL|6.5000|USD"],
        "the amount that the order says was refunded: 95.50"
    );
}

#[test]
fn stripe() {
    // https://docs.stripe.com/api/invoices/list and /api/pagination
    let server = Server::start(|asked: &Asked| {
        if asked.header("authorization") != Some("Bearer rk_1") {
            return status(401);
        }
        if asked.path == "/v1/customers" {
            return json(
                r#"{"object":"list","has_more":false,"data":[{"id":"cus_1","name":"Jenny","address":{"country":"JP"},"created":1680893993}]}"#,
            );
        }
        assert_eq!(
            (asked.path.as_str(), asked.parameter("limit"), asked.parameter("created%5Bgte%5D")),
            ("/v1/invoices", "100", "1767225599")
        );
        let invoice = |id: &str, currency: &str, more: &str| {
            format!(
                r#"{{"id":"{id}","object":"invoice","livemode":true,"status":"paid","created":1768000000,"currency":"{currency}","customer":"cus_1","status_transitions":{{"finalized_at":1768000001,"paid_at":1768000002}},"lines":{{"object":"list","has_more":false,"data":[{{"id":"il_1","quantity":3,"amount":3000,"pricing":{{"price_details":{{"price":"price_1","product":"prod_1"}},"unit_amount_decimal":"1000"}}}}]}}{more}}}"#
            )
        };
        let (data, more) = match asked.parameter("starting_after") {
            "" => (vec![invoice("in_1", "usd", ""), invoice("in_2", "jpy", "")], true),
            "in_2" => (vec![invoice("in_3", "usd", r#","status":"draft""#)], false),
            other => panic!("{other}"),
        };
        json(format!(r#"{{"object":"list","has_more":{more},"data":[{}]}}"#, data.join(",")))
    });
    let work = Workspace::new();
    let summary = run(&work, "stripe", &server.url, &["--since", "2026-01-01"], &[("ETL_API_TOKEN", "rk_1")]).published();
    assert_eq!(summary["records_skipped"], 1);
    assert_eq!(
        work.query(ROWS),
        ["in_1|price_1|3|10.0000|usd|cus_1|2026-01-09 23:06:40", "in_2|price_1|3|1000.0000|jpy|cus_1|2026-01-09 23:06:40"]
    );
    assert_eq!(summary["revenue"], serde_json::json!({"jpy": "3000.0000", "usd": "30.0000"}));
}

/// Stripe, with one object that was made ten days ago. It counts from the moment on that `counts` says.
fn stripe_ten_days_ago(path: &'static str, counts: &Arc<AtomicBool>, object: fn(created: u64, counts: bool) -> String) -> Server {
    let counts = counts.clone();
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 10 * 86_400;
    Server::start(move |asked: &Asked| {
        let from = asked.parameter("created%5Bgte%5D").parse::<u64>().unwrap_or(0);
        let is_listed = asked.path == path && from <= created;
        let data = if is_listed { object(created, counts.load(Ordering::SeqCst)) } else { String::new() };
        json(format!(r#"{{"object":"list","has_more":false,"data":[{data}]}}"#))
    })
}

#[test]
fn what_counts_at_stripe_ten_days_after_it_was_made_is_loaded_by_the_next_increment() {
    let invoice = |created: u64, counts: bool| {
        let status = if counts { "open" } else { "draft" };
        format!(
            r#"{{"id":"in_1","livemode":true,"status":"{status}","created":{created},"currency":"usd","lines":{{"has_more":false,"data":[{{"id":"il_1","quantity":1,"amount":3000}}]}}}}"#
        )
    };
    let charge = |created: u64, counts: bool| {
        let status = if counts { "succeeded" } else { "pending" };
        format!(
            r#"{{"id":"ch_1","livemode":true,"captured":true,"status":"{status}","created":{created},"currency":"usd","amount":3000,"amount_refunded":0}}"#
        )
    };
    type Object = fn(u64, bool) -> String;
    let objects: [(&str, &str, Object); 2] = [("stripe", "/v1/invoices", invoice), ("stripe-charges", "/v1/charges", charge)];
    for (profile, path, object) in objects {
        let counts = Arc::new(AtomicBool::new(false));
        let server = stripe_ten_days_ago(path, &counts, object);
        let work = Workspace::new();
        let increment = || run(&work, profile, &server.url, &["--since", "last"], &[("ETL_API_TOKEN", "rk_1")]);
        assert_eq!(increment().summary()["records_skipped"], 1, "{profile}");
        counts.store(true, Ordering::SeqCst);
        let summary = increment().published();
        assert_eq!(summary["revenue"], serde_json::json!({"usd": "30.0000"}), "{profile}");
    }
}

#[test]
fn dummyjson_and_fakestore() {
    let dummy = Server::start(|asked: &Asked| {
        let skip: usize = asked.parameter("skip").parse().unwrap();
        assert_eq!(asked.parameter("limit"), "30");
        match asked.path.as_str() {
            "/carts" => {
                let carts: Vec<_> = (skip..(skip + 30).min(50))
                    .map(|n| format!(r#"{{"id":{n},"products":[{{"id":168,"title":"Charger SXT","price":32999.99,"quantity":3,"total":98999.97}}],"total":103774.85,"userId":33}}"#))
                    .collect();
                json(format!(r#"{{"carts":[{}],"total":50,"skip":{skip},"limit":30}}"#, carts.join(",")))
            }
            "/users" => {
                json(r#"{"users":[{"id":33,"username":"emilys","address":{"country":"United States"}}],"total":1,"skip":0,"limit":30}"#)
            }
            "/products" => json(
                r#"{"products":[{"id":168,"title":"Charger SXT","category":"vehicle","price":32999.99}],"total":1,"skip":0,"limit":30}"#,
            ),
            other => panic!("{other}"),
        }
    });
    let work = Workspace::new();
    run(&work, "dummyjson", &dummy.url, &[], &[]).published();
    assert_eq!(
        work.query("SELECT count(*), sum(line_total), min(user_country), min(product_name) FROM fact_order"),
        ["50|4949998.5000|United States|Charger SXT"]
    );
    assert_eq!(dummy.asked().iter().filter(|asked| asked.path == "/carts").count(), 2);

    let fake = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/carts" => json(
            r#"[{"id":1,"userId":1,"date":"2026-03-02T00:00:00.000Z","products":[{"productId":1,"quantity":4},{"productId":2,"quantity":1}],"__v":0}]"#,
        ),
        "/users" => json(r#"[{"id":1,"username":"johnd","email":"john@gmail.com","address":{"city":"kilcoole"}}]"#),
        _ => json(r#"[{"id":1,"title":"Backpack","price":109.95,"category":"men's clothing"}]"#),
    });
    let work = Workspace::new();
    let summary = run(&work, "fakestore", &fake.url, &[], &[]).published();
    assert_eq!(summary["prices_defaulted"], 2);
    assert_eq!(work.query(ROWS), ["1|1|4|0.0000|USD|1|2026-03-02 00:00:00", "1|2|1|0.0000|USD|1|2026-03-02 00:00:00"]);
    assert_eq!(work.query("SELECT list_price FROM dim_product WHERE sku = '1'"), ["109.9500"]);
}

/// The database of a json-server.
fn database() -> String {
    let orders: Vec<_> = (0..230)
        .map(|n| format!(r#"{{"id":"{n}","created_at":"2026-01-0{}T10:00:00Z","user_id":"u1","currency":"EUR","items":[{{"sku":"s","quantity":1,"price":0.10}}]}}"#, n % 9 + 1))
        .collect();
    format!(
        r#"{{"orders":[{}],"users":[{{"id":"u1","name":"Ann","country":"DE"}}],"products":[{{"id":"p","sku":"s","name":"Thing","price":0.1}}]}}"#,
        orders.join(",")
    )
}

const LOADED: &str = "SELECT count(*), sum(line_total), min(user_country), min(product_name) FROM fact_order";

#[test]
fn json_server_as_documented() {
    // https://github.com/typicode/json-server: `_page`, `_per_page`, and a body with first, prev, next, last, pages, items, data.
    let database: serde_json::Value = serde_json::from_str(&database()).unwrap();
    let server = Server::start(move |asked: &Asked| {
        let (page, size): (usize, usize) = (asked.parameter("_page").parse().unwrap(), asked.parameter("_per_page").parse().unwrap());
        let all = database[asked.path.trim_start_matches('/')].as_array().unwrap();
        let pages = all.len().div_ceil(size);
        let next = if page < pages { (page + 1).to_string() } else { "null".into() };
        let data: Vec<_> = all.iter().skip((page - 1) * size).take(size).collect();
        json(format!(
            r#"{{"first":1,"prev":null,"next":{next},"last":{pages},"pages":{pages},"items":{},"data":{}}}"#,
            all.len(),
            serde_json::to_string(&data).unwrap()
        ))
    });
    let work = Workspace::new();
    run(&work, "json-server", &server.url, &[], &[]).published();
    assert_eq!(work.query(LOADED), ["230|23.0000|DE|Thing"]);
    assert_eq!(server.asked().iter().filter(|asked| asked.path == "/orders").count(), 3);
}

#[test]
fn the_real_json_server() {
    let Some(program) = tool("ETL_TEST_JSON_SERVER", "reading the real json-server") else { return };
    let work = Workspace::new();
    work.write("db.json", database());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new(program)
        .args(["--host", "127.0.0.1", "--port", &port.to_string(), "db.json"])
        .current_dir(work.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "json-server does not start");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let url = format!("http://127.0.0.1:{port}");
    let first = run(&work, "json-server", &url, &[], &[]);
    let second = run(&work, "json-server", &url, &[], &[]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(first.published()["source"]["requests"], 5);
    second.unchanged();
    assert_eq!(work.query(LOADED), ["230|23.0000|DE|Thing"]);
}

#[test]
fn profiles_are_listed_and_shown_and_a_shown_profile_runs() {
    let work = Workspace::new();
    let names = work.etl(&["sources", "--format", "text"]);
    for name in ["bigcommerce", "dummyjson", "fakestore", "json-server", "shopify", "stripe", "woocommerce"] {
        assert!(names.stdout.lines().any(|line| line.starts_with(name)), "{}", names.stdout);
        let shown = work.etl(&["sources", "show", name]);
        assert_eq!(shown.code, 0);
        work.write("etl.toml", &shown.stdout);
        // Unchanged, it has the URL of an example shop or of a public API. With a URL of its own it is complete.
        let ended = work.etl(&["check", "--show-sql"]);
        let is_example = shown.stdout.contains("your-");
        assert_eq!(ended.code, if is_example { 2 } else { 0 }, "{name}: {}", ended.stderr);
        assert_eq!(ended.stderr.contains("say where your own API is"), is_example, "{name}");
    }
    assert_eq!(work.etl(&["sources", "show", "none"]).code, 2);
    std::fs::remove_file(work.path("etl.toml")).unwrap();
    for command in ["run", "probe"] {
        let ended = work.etl(&[command, "--profile", "shopify", "--log-format", "text"]);
        assert!(ended.code == 2 && ended.stderr.contains("where is your shopify API? Say so with --url"), "{}", ended.stderr);
    }
}

#[test]
fn a_profile_in_etl_toml_overrides_the_shipped_one_and_errors_name_mistakes() {
    let server = Server::start(|asked: &Asked| {
        json(if asked.before == 0 { r#"[{"no":7,"date":"2026-01-01","products":[{"productId":1,"cents":150}]}]"# } else { "[]" })
    });
    let work = Workspace::new();
    let toml = format!(
        "[orders]\nprofile = \"fakestore\"\nlocation = \"{}\"\n[orders.fields]\norder_id = \"no\"\n[orders.line_fields]\nunit_price = {{ path = \"cents\", scale = 2 }}\n",
        server.url
    );
    work.write("etl.toml", &toml);
    work.etl(&["run"]).published();
    assert_eq!(server.asked()[0].path, "/carts");
    assert_eq!(work.query("SELECT order_id, sku, unit_price, currency FROM fact_order"), ["7|1|1.5000|USD"]);
    for (from, to, message) in [
        ("fakestore", "fakestor", "etl.toml, line 2: `orders.profile`: `fakestor`: no such profile (did you mean `fakestore`?)"),
        ("order_id =", "order_no =", "etl.toml, line 5: `orders.fields.order_no`: unknown field `order_no`: did you mean `order_id`?"),
        ("scale = 2", "scale = \"x\"", "etl.toml, line 7: `orders.line_fields.unit_price.scale`: write a number of decimals"),
        ("profile =", "profil =", "etl.toml, line 2: unknown key `profil`: did you mean `profile`?"),
        ("[orders.fields]", "[orders.field]", "unknown key `field`: did you mean `fields`?"),
    ] {
        work.write("etl.toml", toml.replace(from, to));
        let ended = work.etl(&["run", "--log-format", "text"]);
        assert!(ended.code == 2 && ended.stderr.contains(message), "{}", ended.stderr);
    }
}
