//! Members that a list does not hold, such as the variations of a product: asked for, whole or not at all, beside the list's counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json, status};

/// Products of WooCommerce: a simple one, and two with variations. The variations of 30 have no sku; one of 20 has that of its parent.
const PRODUCTS: &str = r#"[
    {"id":10,"name":"Mug","type":"simple","sku":"MUG","regular_price":"9.00","parent_id":0,"categories":[{"name":"Kitchen"}]},
    {"id":20,"name":"Shirt","type":"variable","sku":"SHIRT","regular_price":"","parent_id":0,"categories":[{"name":"Clothes"}]},
    {"id":30,"name":"Poster","type":"variable","sku":"","regular_price":"","parent_id":0,"categories":[{"name":"Art"}]}
]"#;

/// An order of three variations, and one that no product knows.
const ORDER: &str = r#"[{"id":1,"currency":"EUR","date_created_gmt":"2026-01-10T10:00:00","date_modified_gmt":"2026-01-10T10:00:00","customer_id":0,
    "billing":{"email":"a@example.com"},"refunds":[],"line_items":[
        {"id":1,"product_id":20,"variation_id":21,"sku":"SHIRT-R","quantity":1,"total":"19.00","price":19},
        {"id":2,"product_id":20,"variation_id":22,"sku":"SHIRT-B","quantity":1,"total":"21.00","price":21},
        {"id":3,"product_id":30,"variation_id":31,"sku":"","quantity":1,"total":"5.00","price":5}]}]"#;

fn counted(body: &str, records: usize, pages: usize) -> Reply {
    let mut reply = json(body);
    reply.1.push(("x-wp-total", records.to_string()));
    reply.1.push(("x-wp-totalpages", pages.to_string()));
    reply
}

fn variation(id: u32, sku: &str, price: &str) -> String {
    format!(
        r#"{{"id":{id},"sku":"{sku}","regular_price":"{price}","attributes":[{{"name":"Colour","option":"C{id}"}}],"date_modified_gmt":"2026-01-01T00:00:00"}}"#
    )
}

fn shop(asked: &Asked) -> Reply {
    let page = asked.parameter("page");
    match asked.path.strip_prefix("/wp-json/wc/v3").unwrap() {
        "/orders" => counted(ORDER, 1, 1),
        "/products" => counted(PRODUCTS, 3, 1),
        // Two pages.
        "/products/20/variations" if page == "1" => counted(&format!("[{}]", variation(21, "SHIRT-R", "19.00")), 3, 2),
        "/products/20/variations" => counted(&format!("[{},{}]", variation(22, "SHIRT-B", "21.00"), variation(23, "SHIRT", "25.00")), 3, 2),
        "/products/30/variations" => counted(&format!("[{}]", variation(31, "", "5.00")), 1, 1),
        "/customers" => counted("[]", 0, 0),
        other => panic!("{other}"),
    }
}

fn run(work: &Workspace, server: &Server) -> Ended {
    let toml = "[http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\nallow_plain = true\n";
    work.write("etl.toml", format!("source = \"woocommerce\"\nurl = \"{}\"\n{toml}", server.url));
    let mut command = work.command(&["run", "--cursor", "created_at"]);
    support::ended(command.envs([("ETL_API_USER", "ck_1"), ("ETL_API_PASSWORD", "cs_1")]).output().unwrap())
}

#[test]
fn variations_are_products_of_their_own_and_take_what_they_lack_from_their_product() {
    let server = Server::start(shop);
    let work = Workspace::new();
    let summary = run(&work, &server).published();
    assert_eq!(
        work.query("SELECT sku, product_id, name, category, list_price, inferred FROM dim_product ORDER BY ALL"),
        [
            "30|30|Poster|Art|NULL|false",
            "31|30|Poster|Art|5.0000|false",
            "MUG|10|Mug|Kitchen|9.0000|false",
            "SHIRT|20|Shirt|Clothes|NULL|false",
            "SHIRT-B|20|Shirt|Clothes|21.0000|false",
            "SHIRT-R|20|Shirt|Clothes|19.0000|false",
        ],
        "a variation with the sku of its product does not stand for it"
    );
    let attributes = work.query("SELECT sku, attributes FROM dim_product WHERE sku = 'SHIRT-R'");
    assert_eq!(attributes, [r#"SHIRT-R|[{"name":"Colour","option":"C21"}]"#]);
    assert_eq!(
        work.query("SELECT sku, product_id, product_name, product_category FROM fact_order ORDER BY ALL"),
        ["31|30|Poster|Art", "SHIRT-B|20|Shirt|Clothes", "SHIRT-R|20|Shirt|Clothes"]
    );
    let products = &summary["completeness"]["products"];
    let shown = ["status", "claimed", "read", "distinct"].map(|key| products[key].to_string());
    assert_eq!(shown, ["\"proven\"", "3", "3", "3"], "variations are none of the list");
    let asked = server.asked();
    let lists = |path: &str| asked.iter().filter(|asked| asked.path.ends_with(path)).count();
    assert_eq!((lists("/10/variations"), lists("/20/variations"), lists("/30/variations")), (0, 2, 1));
    assert!(asked.iter().all(|asked| asked.header("authorization").is_some()));
    run(&work, &server).unchanged();
}

#[test]
fn lists_are_asked_for_at_once_and_a_list_that_can_not_be_had_ends_the_run() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (open.clone(), most.clone());
    let server = Server::start(move |asked: &Asked| {
        if asked.path.ends_with("/variations") {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
            now.fetch_sub(1, Ordering::SeqCst);
        }
        shop(asked)
    });
    run(&Workspace::new(), &server).published();
    assert_eq!(most.load(Ordering::SeqCst), 2, "both products at once");
    for code in [404, 500] {
        let server = Server::start(move |asked: &Asked| if asked.path.ends_with("/30/variations") { status(code) } else { shop(asked) });
        let work = Workspace::new();
        let ended = run(&work, &server);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("/products/30/variations"), "{}", ended.stderr);
        assert!(work.layer().is_empty());
    }
}

#[test]
fn they_can_be_left_out() {
    let server = Server::start(shop);
    let work = Workspace::new();
    work.write("etl.toml", format!("source = \"woocommerce\"\nurl = \"{}\"\n[products]\nmore_request = false\n", server.url));
    let mut command = work.command(&["run", "--cursor", "created_at"]);
    support::ended(command.envs([("ETL_API_USER", "ck_1"), ("ETL_API_PASSWORD", "cs_1")]).output().unwrap()).published();
    assert!(server.asked().iter().all(|asked| !asked.path.ends_with("/variations")));
    assert_eq!(work.query("SELECT count(*) FROM dim_product WHERE inferred = 'true'"), ["3"]);
}
