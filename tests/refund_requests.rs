//! Refunds that a source gives by a request of their own: for the orders that announce some, whole or not at all, on their own days.
//! Sums are compared with the amounts of the source.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json as answer, status};

const HASTE: &str = "[http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\n";

/// The refunds of each order of a shop.
type Refunds = BTreeMap<u32, Vec<Value>>;

/// An order of 20.00 and 5.00, with 4.75 of tax and 2.00 for shipping. It lists its refunds as WooCommerce does, without their times.
fn order(id: u32, refunds: &[Value]) -> Value {
    let listed = |refund: &Value| json!({"id": refund["id"], "reason": "", "total": format!("-{}", refund["amount"].as_str().unwrap())});
    json!({
        "id": id, "status": "processing", "currency": "EUR", "customer_id": 0, "billing": {"email": "a@example.com"},
        "total": "31.75", "total_tax": "4.75", "shipping_total": "2.00",
        "date_created_gmt": "2026-01-05T10:00:00",
        "date_modified_gmt": format!("2026-03-0{}T10:00:00", refunds.len() + 1),
        "line_items": [
            {"id": id * 10 + 1, "product_id": 1, "variation_id": 0, "sku": "A", "quantity": 2, "price": 10, "total": "20.00", "total_tax": "3.80"},
            {"id": id * 10 + 2, "product_id": 2, "variation_id": 0, "sku": "B", "quantity": 1, "price": 5, "total": "5.00", "total_tax": "0.95"},
        ],
        "fee_lines": [],
        "refunds": refunds.iter().map(listed).collect::<Vec<_>>(),
    })
}

/// A refund of these lines. Its time in the zone of the shop is that of another year.
fn refund(id: u32, at: &str, amount: &str, lines: &[Value]) -> Value {
    json!({"id": id, "date_created": "2020-01-01T00:00:00", "date_created_gmt": at, "amount": amount, "line_items": lines, "meta_data": []})
}

/// What is given back of a line of an order. The line has no sku where its product is gone.
fn line(of: u32, sku: &str, quantity: i32, total: &str) -> Value {
    let meta = [json!({"id": 1, "key": "_other", "value": "7"}), json!({"id": 2, "key": "_refunded_item_id", "value": of.to_string()})];
    json!({"id": of + 1000, "product_id": 0, "variation_id": 0, "sku": sku, "quantity": quantity, "total": total, "meta_data": meta})
}

/// Four orders. Two have refunds: a piece with its tax and shipping, a sum without lines, and a whole order.
fn refunds() -> Refunds {
    let second =
        vec![refund(201, "2026-02-03T23:30:00", "13.90", &[line(21, "A", -1, "-10.00")]), refund(202, "2026-02-04T00:10:00", "0.10", &[])];
    let third = vec![refund(301, "2026-02-03T08:00:00", "31.75", &[line(31, "A", -2, "-20.00"), line(32, "", -1, "-5.00")])];
    [(1, Vec::new()), (2, second), (3, third), (4, Vec::new())].into()
}

const ROWS: [&str; 6] = [
    "2026-02-03|201|2|A|1.0000|10.0000",
    "2026-02-03|201|2|NULL|NULL|3.9000",
    "2026-02-03|301|3|A|2.0000|20.0000",
    "2026-02-03|301|3|B|1.0000|5.0000",
    "2026-02-03|301|3|NULL|NULL|6.7500",
    "2026-02-04|202|2|NULL|NULL|0.1000",
];

fn counted(records: &[Value], total: usize, pages: usize) -> Reply {
    let mut reply = answer(Value::from(records).to_string());
    reply.1.push(("x-wp-total", total.to_string()));
    reply.1.push(("x-wp-totalpages", pages.to_string()));
    reply
}

/// A shop of WooCommerce. A page of refunds holds one.
fn shop(refunds: &Refunds, asked: &Asked) -> Reply {
    let (_, path) = asked.path.split_once("/wp-json/wc/v3/orders").unwrap();
    if path.is_empty() {
        let orders: Vec<_> = refunds.iter().map(|(id, refunds)| order(*id, refunds)).collect();
        return counted(&orders, orders.len(), 1);
    }
    let id: u32 = path.trim_start_matches('/').strip_suffix("/refunds").unwrap().parse().unwrap();
    assert_eq!((asked.parameter("per_page"), asked.parameter("orderby"), asked.parameter("order")), ("100", "id", "asc"));
    let of_order = &refunds[&id];
    let page: usize = asked.parameter("page").parse().unwrap();
    counted(&of_order[page - 1..page], of_order.len(), of_order.len())
}

fn serve(refunds: Refunds) -> (Server, Arc<Mutex<Refunds>>) {
    let refunds = Arc::new(Mutex::new(refunds));
    let held = refunds.clone();
    (Server::start(move |asked| shop(&held.lock().unwrap(), asked)), refunds)
}

fn etl(work: &Workspace, location: &str, args: &[&str]) -> Ended {
    work.write("etl.toml", format!("{HASTE}\n[orders]\nprofile = \"woocommerce\"\nlocation = \"{location}\"\n"));
    let mut command = work.command(args);
    support::ended(command.envs([("ETL_API_USER", "ck_1"), ("ETL_API_PASSWORD", "cs_1")]).output().unwrap())
}

fn run(work: &Workspace, server: &Server) -> Ended {
    etl(work, &server.url, &["run"])
}

fn stored(work: &Workspace) -> Vec<String> {
    work.query("SELECT dt, refund_id, order_id, sku, quantity, amount FROM fact_refund ORDER BY ALL")
}

/// The paths that refunds were asked for at, in the order of their texts.
fn asked_for(server: &Server) -> Vec<String> {
    let mut paths: Vec<_> = server.asked().into_iter().map(|asked| asked.path).filter(|path| path.ends_with("/refunds")).collect();
    paths.sort();
    paths
}

/// What the shop gave back on each day, by the amounts of its refunds.
fn given_back(refunds: &Refunds) -> Vec<String> {
    let mut by_day = BTreeMap::<String, u64>::new();
    for refund in refunds.values().flatten() {
        let cents: u64 = refund["amount"].as_str().unwrap().replace('.', "").parse().unwrap();
        *by_day.entry(refund["date_created_gmt"].as_str().unwrap()[..10].to_owned()).or_default() += cents;
    }
    by_day.into_iter().map(|(day, cents)| format!("{day}|{}.{:02}00", cents / 100, cents % 100)).collect()
}

#[test]
fn refunds_of_woocommerce_lie_on_their_own_days_and_add_up_to_its_amounts() {
    let (server, _) = serve(refunds());
    let work = Workspace::new();
    let summary = run(&work, &server).published();
    assert_eq!(stored(&work), ROWS);
    assert_eq!(work.query("SELECT dt, sum(amount) FROM fact_refund GROUP BY dt ORDER BY dt"), given_back(&refunds()));
    let counts = ["refunds_read", "refunds_dropped", "values_unreadable", "rows_inserted"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [3, 0, 0, 8]);
    assert_eq!(summary["completeness"]["status"], "proven");
    // Orders without refunds cost no request. Those of the second order are two pages.
    let expected = ["/wp-json/wc/v3/orders/2/refunds", "/wp-json/wc/v3/orders/2/refunds", "/wp-json/wc/v3/orders/3/refunds"];
    assert_eq!(asked_for(&server), expected);
    assert!(server.asked().iter().all(|asked| asked.header("authorization").is_some()));
    assert_eq!(summary["source"]["requests"], 4);
    let before = (work.times_in("refunds"), work.times_in("curated"));
    run(&work, &server).unchanged();
    assert_eq!((work.times_in("refunds"), work.times_in("curated")), before);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn a_later_refund_adds_its_row_and_one_that_is_taken_back_goes() {
    let (server, held) = serve(refunds());
    let work = Workspace::new();
    run(&work, &server).published();
    let before = work.times_in("refunds");
    held.lock().unwrap().get_mut(&3).unwrap().push(refund(302, "2026-02-09T12:00:00", "1.25", &[]));
    let summary = run(&work, &server).published();
    assert_eq!(summary["refunds_changed"], json!(["2026-02-09"]));
    let later = "2026-02-09|302|3|NULL|NULL|1.2500".to_owned();
    assert_eq!(stored(&work), ROWS.iter().map(|row| (*row).to_owned()).chain([later]).collect::<Vec<_>>());
    let after = work.times_in("refunds");
    assert!(before.iter().all(|(file, time)| after.get(file) == Some(time)), "{before:?} {after:?}");
    assert_eq!(work.query("SELECT dt, sum(amount) FROM fact_refund GROUP BY dt ORDER BY dt"), given_back(&held.lock().unwrap()));
    // A refund that the shop deletes goes with the next edit of its order.
    let mut shop = held.lock().unwrap();
    shop.get_mut(&3).unwrap().remove(0);
    shop.get_mut(&3).unwrap().extend([refund(303, "2026-02-09T13:00:00", "0.50", &[]), refund(304, "2026-02-09T14:00:00", "0.25", &[])]);
    drop(shop);
    run(&work, &server).published();
    assert!(stored(&work).iter().all(|row| !row.contains("|301|")), "{:?}", stored(&work));
    assert_eq!(work.query("SELECT dt, sum(amount) FROM fact_refund GROUP BY dt ORDER BY dt"), given_back(&held.lock().unwrap()));
}

#[test]
fn a_request_for_refunds_is_retried_and_one_that_fails_ends_the_run() {
    let failures = Arc::new(AtomicUsize::new(0));
    let failing = |code: u16, times: usize| {
        let (failed, held) = (failures.clone(), refunds());
        failed.store(0, Ordering::SeqCst);
        Server::start(move |asked| match asked.path.ends_with("/3/refunds") && failed.fetch_add(1, Ordering::SeqCst) < times {
            true => status(code),
            false => shop(&held, asked),
        })
    };
    let work = Workspace::new();
    let server = failing(500, 1);
    let summary = run(&work, &server).published();
    assert_eq!((&summary["source"]["retries"], stored(&work)), (&json!(1), ROWS.map(str::to_owned).to_vec()));
    for (code, attempts) in [(500, 3), (404, 1), (403, 1)] {
        let work = Workspace::new();
        let server = failing(code, usize::MAX);
        let ended = run(&work, &server);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("/wp-json/wc/v3/orders/3/refunds"), "{code}: {}", ended.stderr);
        assert!(work.layer().is_empty() && work.files("refunds").is_empty(), "{code}");
        assert_eq!(asked_for(&server).iter().filter(|path| path.ends_with("/3/refunds")).count(), attempts, "{code}");
    }
}

#[test]
fn what_lies_above_the_path_of_the_orders_lies_above_that_of_their_refunds() {
    let (server, _) = serve(refunds());
    let work = Workspace::new();
    etl(&work, &format!("{}/sub/wp-json/wc/v3/orders", server.url), &["run"]).published();
    assert_eq!(stored(&work), ROWS);
    assert!(asked_for(&server).iter().all(|path| path.starts_with("/sub/wp-json/")), "{:?}", asked_for(&server));
}

#[test]
fn refunds_that_were_asked_for_are_kept_in_their_record() {
    let (server, _) = serve(refunds());
    let work = Workspace::new();
    etl(&work, &server.url, &["run", "--keep-raw"]).published();
    let asked = server.asked().len();
    let again = etl(&work, &server.url, &["rebuild", "--from", "raw"]).unchanged();
    assert_eq!((&again["refunds_read"], server.asked().len()), (&json!(3), asked));
    assert_eq!(stored(&work), ROWS);
}

#[test]
fn they_are_left_out_where_the_profile_says_so() {
    let (server, _) = serve(refunds());
    let work = Workspace::new();
    work.write("etl.toml", format!("[orders]\nprofile = \"woocommerce\"\nlocation = \"{}\"\nrefunds = false\n", server.url));
    let mut command = work.command(&["run"]);
    support::ended(command.envs([("ETL_API_USER", "ck_1"), ("ETL_API_PASSWORD", "cs_1")]).output().unwrap()).published();
    assert!(asked_for(&server).is_empty() && !work.path("output/refunds").exists());
}

#[test]
fn refunds_under_the_key_of_those_that_were_asked_for_are_not_read_if_the_source_wrote_them() {
    let forged = |key: &str, id: u32| {
        let order = order(id, &[]).to_string();
        let refund = refund(900 + id, "2026-02-01T00:00:00", "31.75", &[]);
        format!("{},\"{key}\":[{refund}]}}", order.strip_suffix('}').unwrap())
    };
    let orders = format!("[{},{}]", forged("etl_refunds", 1), forged("\\u0065tl_refunds", 2));
    let listed = orders.clone();
    let server = Server::start(move |_| {
        let mut reply = answer(listed.clone());
        reply.1.extend([("x-wp-total", "2".to_owned()), ("x-wp-totalpages", "1".to_owned())]);
        reply
    });
    let work = Workspace::new();
    work.write("orders.json", &orders);
    for args in [[].as_slice(), &["--orders", "orders.json"]] {
        let ended = etl(&work, &server.url, &[&["run", "--log-format", "text"], args].concat());
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
        let summary = ended.summary();
        assert_eq!((&summary["refunds_read"], &summary["records_read"]), (&json!(0), &json!(2)), "{args:?}");
        assert!(work.files("refunds").is_empty(), "{args:?}");
        assert!(ended.stderr.contains("records have a key `etl_refunds` of their own"), "{args:?}: {}", ended.stderr);
    }
    assert!(asked_for(&server).is_empty(), "no order announces any");
}

#[test]
fn announced_refunds_of_orders_in_files_are_counted_as_dropped_and_said() {
    let work = Workspace::new();
    work.write("etl.toml", "profile = \"woocommerce\"\n");
    let orders: Vec<_> = refunds().iter().map(|(id, refunds)| order(*id, refunds)).collect();
    work.write("orders.json", Value::from(orders).to_string());
    let ended = work.etl(&["run", "--profile", "woocommerce", "--orders", "orders.json", "--log-format", "text"]);
    let summary = ended.published();
    assert_eq!((&summary["refunds_read"], &summary["refunds_dropped"], &summary["rows_inserted"]), (&json!(3), &json!(3), &json!(8)));
    assert!(ended.stderr.contains("refunds were dropped") && ended.stderr.contains("not in files of orders"), "{}", ended.stderr);
    // A table of one's own that nothing would ever ask by.
    let own = "[orders.refunds]\nrefund_id = 'id'\ncreated_at = 'at'\namount = 'a'\nrequest = { path = '/orders/{id}/refunds' }\n";
    work.write("etl.toml", own);
    let ended = work.etl(&["run", "--orders", "orders.json", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("refunds are asked for over HTTP"), "{}: {}", ended.code, ended.stderr);
}

#[test]
fn refunds_are_asked_for_by_orders_that_the_run_takes_and_that_may_have_some() {
    let listed = |id: &str, created: &str, more: &str| {
        format!(r#"{{"id":"{id}","key":"k{id}","created_at":"{created}","items":[{{"sku":"s","price":1}}]{more}}}"#)
    };
    let orders = [
        listed("none", "2026-01-02", r#","back":"0.00""#),
        listed("some", "2026-01-02", r#","back":"2.50""#),
        // It says nothing.
        listed("silent", "2026-01-02", ""),
        listed("skipped", "2026-01-02", r#","back":1,"test":true"#),
        listed("early", "2025-12-31", r#","back":1"#),
        // What it gave back is not in the list.
        listed("lost", "2026-01-02", r#","back":3"#),
        listed("fewer", "2026-01-02", r#","back":["r2","r3"]"#),
    ];
    let body = format!("[{}]", orders.join(","));
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/orders" => answer(body.clone()),
        "/back/ksome" => answer(r#"{"data":[{"no":"r1","at":"2026-02-03","sum":2.5}]}"#),
        "/back/kfewer" => answer(r#"{"data":[{"no":"r2","at":"2026-02-03","sum":1}]}"#),
        "/back/ksilent" | "/back/klost" => answer(r#"{"data":[]}"#),
        other => panic!("{other}"),
    });
    let work = Workspace::new();
    let single = "pagination = { kind = \"single\" }";
    let refunds = format!(
        "[orders.refunds]\nrefund_id = \"no\"\ncreated_at = \"at\"\namount = \"sum\"\n\
         request = {{ path = \"/back/{{id}}\", id = \"key\", when = \"back\", records = \"data\", {single} }}\n"
    );
    let orders = format!("[orders]\nlocation = \"{}\"\n{single}\nskip = [{{ path = \"test\", equals = true }}]\n", server.orders());
    work.write("etl.toml", format!("{HASTE}{orders}{refunds}"));
    let ended = work.etl(&["run", "--since", "2026-01-01", "--log-format", "text"]);
    let summary = ended.published();
    assert_eq!(stored(&work), ["2026-02-03|r1|some|NULL|NULL|2.5000", "2026-02-03|r2|fewer|NULL|NULL|1.0000"]);
    let mut paths: Vec<_> = server.asked().into_iter().map(|asked| asked.path).collect();
    paths.sort();
    assert_eq!(paths, ["/back/kfewer", "/back/klost", "/back/ksilent", "/back/ksome", "/orders"]);
    assert_eq!((&summary["refunds_read"], &summary["refunds_dropped"]), (&json!(4), &json!(2)));
    assert!(ended.stderr.contains("refunds were dropped"), "{}", ended.stderr);
}
