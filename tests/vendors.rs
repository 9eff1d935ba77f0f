//! Orders in the shapes of vendors' APIs, loaded by the shipped profiles: every priced line becomes a row, and the rows add up to the
//! totals in the vendors' own fields.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::Workspace;

/// A payload: its profile, its file, and what its vendor's own fields say of it.
struct Payload {
    profile: &'static str,
    file: &'static str,
    orders: usize,
    rows: usize,
    /// By currency; empty where an order names none.
    revenue: &'static [(&'static str, &'static str)],
    /// Settings that the vendor's API leaves to its user.
    toml: &'static str,
}

const fn payload(
    profile: &'static str,
    file: &'static str,
    orders: usize,
    rows: usize,
    revenue: &'static [(&'static str, &'static str)],
) -> Payload {
    Payload { profile, file, orders, rows, revenue, toml: "" }
}

const PAYLOADS: [Payload; 25] = [
    // Σ total_line_items_price of the orders that are no tests.
    payload("shopify", "shopify.json", 4, 6, &[("USD", "155.0000")]),
    // Σ originalUnitPriceSet × quantity.
    payload("shopify-graphql", "shopify-graphql.json", 1, 2, &[("USD", "36.0000")]),
    // The same; an order without lines is none.
    payload("shopify-bulk", "shopify-bulk.jsonl", 1, 1, &[("USD", "24.0000")]),
    // Σ total of line_items and fee_lines.
    payload("woocommerce", "woocommerce.json", 5, 7, &[("EUR", "104.9800")]),
    // Σ total_inc_tax.
    payload("bigcommerce", "bigcommerce.json", 7, 10, &[("USD", "545.0000")]),
    payload("bigcommerce", "bigcommerce-legacy.json", 1, 1, &[("USD", "178.0000")]),
    // Σ lines.data[].amount.
    payload("stripe", "stripe.json", 7, 7, &[("jpy", "5000.0000"), ("ugx", "5000.0000"), ("usd", "308.4500")]),
    payload("stripe-checkout", "stripe-checkout.json", 1, 1, &[("usd", "30.0000")]),
    payload("stripe-charges", "stripe-charges.json", 1, 1, &[("usd", "20.0000")]),
    // Σ total.
    payload("medusa", "medusa.json", 3, 5, &[("eur", "88.7350")]),
    payload("vendure", "vendure.json", 1, 1, &[("USD", "190.5600")]),
    payload("saleor", "saleor.json", 1, 1, &[("USD", "30.6000")]),
    // Σ line_items[].total_money; a return has no lines.
    payload("square", "square.json", 2, 3, &[("USD", "34.0000")]),
    // Σ grand_total: parts of products are no lines.
    payload("magento", "magento.json", 3, 3, &[("USD", "123.0000")]),
    payload("squarespace", "squarespace.json", 1, 2, &[("USD", "28.0000")]),
    payload("wix", "wix.json", 1, 1, &[("USD", "170.0000")]),
    Payload {
        toml: "orders.zone = \"Europe/Paris\"\norders.fields.currency.map = { 1 = \"EUR\" }",
        ..payload("prestashop", "prestashop.json", 1, 2, &[("EUR", "59.8000")])
    },
    payload("ebay", "ebay.json", 1, 1, &[("USD", "30.0000")]),
    payload("etsy", "etsy.json", 2, 2, &[("JPY", "1500.0000"), ("USD", "19.9900")]),
    payload("amazon-sp-api", "amazon-2026.json", 1, 1, &[("USD", "24.0000")]),
    payload("commercetools", "commercetools.json", 3, 3, &[("EUR", "33.8000"), ("ISK", "1500.0000")]),
    Payload { toml: "orders.fields.currency.value = \"USD\"", ..payload("ecwid", "ecwid.json", 1, 1, &[("USD", "25.0000")]) },
    payload("lightspeed", "lightspeed-r.json", 2, 3, &[("", "45.0000")]),
    payload("lightspeed-x", "lightspeed-x.json", 1, 2, &[("", "35.0000")]),
    payload("salesforce", "salesforce.json", 1, 1, &[("USD", "60.0000")]),
];

/// What the totals of a payload's orders must be, by hand from the vendor's own fields.
struct Totals {
    profile: &'static str,
    file: &'static str,
    /// Each row: order, Σ line_total, discount, shipping, tax, total, refunded, paid.
    rows: &'static [&'static str],
    /// The severity that the profile gives to an order whose parts are not its total, and how many there are; `None`: not compared.
    not_added_up: Option<(&'static str, u64)>,
}

const TOTALS: [Totals; 9] = [
    // The third order was edited: its total is that of the line that is left.
    Totals {
        profile: "shopify",
        file: "shopify.json",
        rows: &[
            "1001|36.0000|4.8000|0.0000|0.0000|31.2000|NULL|NULL",
            "1002|90.0000|0.0000|0.0000|0.0000|90.0000|NULL|NULL",
            "1003|17.0000|0.0000|0.0000|0.0000|5.0000|NULL|NULL",
            "1005|12.0000|0.0000|0.0000|0.0000|12.0000|NULL|NULL",
        ],
        not_added_up: Some(("warn", 1)),
    },
    Totals {
        profile: "woocommerce",
        file: "woocommerce.json",
        rows: &[
            "701|60.0000|NULL|NULL|0.0000|60.0000|NULL|NULL",
            "702|10.0000|NULL|NULL|0.0000|10.0000|NULL|NULL",
            "703|10.0000|NULL|NULL|0.0000|10.0000|NULL|NULL",
            "704|15.0000|NULL|NULL|0.0000|15.0000|NULL|NULL",
            "705|9.9800|NULL|NULL|0.0000|9.9800|NULL|NULL",
        ],
        not_added_up: Some(("warn", 0)),
    },
    Totals {
        profile: "bigcommerce",
        file: "bigcommerce.json",
        rows: &[
            "100|178.0000|NULL|NULL|NULL|178.0000|NULL|NULL",
            "101|94.0000|NULL|NULL|NULL|94.0000|NULL|NULL",
            "102|15.0000|NULL|NULL|NULL|15.0000|NULL|NULL",
            "103|89.0000|NULL|NULL|NULL|89.0000|NULL|NULL",
            "104|104.0000|NULL|NULL|NULL|104.0000|NULL|NULL",
            "105|50.0000|NULL|NULL|NULL|50.0000|NULL|NULL",
            "106|15.0000|NULL|NULL|NULL|15.0000|NULL|NULL",
        ],
        not_added_up: Some(("warn", 0)),
    },
    Totals {
        profile: "stripe",
        file: "stripe.json",
        rows: &[
            "in_1|40.0000|NULL|NULL|NULL|40.0000|NULL|40.0000",
            "in_2|15.0000|NULL|NULL|NULL|15.0000|NULL|15.0000",
            "in_3|123.4500|NULL|NULL|NULL|123.4500|NULL|123.4500",
            "in_4|90.0000|NULL|NULL|NULL|90.0000|NULL|90.0000",
            "in_5|5000.0000|NULL|NULL|NULL|5000.0000|NULL|5000.0000",
            "in_6|5000.0000|NULL|NULL|NULL|5000.0000|NULL|5000.0000",
            "in_7|40.0000|NULL|NULL|NULL|40.0000|NULL|40.0000",
        ],
        not_added_up: Some(("warn", 0)),
    },
    Totals {
        profile: "medusa",
        file: "medusa.json",
        rows: &[
            "order_01|35.4850|NULL|NULL|NULL|35.4850|NULL|NULL",
            "order_14|20.1000|NULL|NULL|NULL|20.1000|NULL|NULL",
            "order_19|33.1500|NULL|NULL|NULL|33.1500|NULL|NULL",
        ],
        not_added_up: Some(("warn", 0)),
    },
    Totals {
        profile: "stripe-checkout",
        file: "stripe-checkout.json",
        rows: &["cs_live_1|30.0000|NULL|NULL|NULL|30.0000|NULL|NULL"],
        not_added_up: Some(("warn", 0)),
    },
    Totals {
        profile: "stripe-charges",
        file: "stripe-charges.json",
        rows: &["ch_1|20.0000|NULL|NULL|NULL|20.0000|0.0000|20.0000"],
        not_added_up: None,
    },
    // 190.56 and 12.00 for shipping.
    Totals {
        profile: "vendure",
        file: "vendure.json",
        rows: &["T_ABC|190.5600|NULL|12.0000|NULL|202.5600|NULL|NULL"],
        not_added_up: Some(("error", 0)),
    },
    Totals {
        profile: "saleor",
        file: "saleor.json",
        rows: &["21|30.6000|NULL|NULL|NULL|30.6000|NULL|NULL"],
        not_added_up: Some(("warn", 0)),
    },
];

#[test]
fn the_totals_of_orders_are_those_of_their_vendor_and_add_up_where_it_says_so() {
    for Totals { profile, file, rows, not_added_up } in TOTALS {
        let work = Workspace::new();
        work.write("etl.toml", format!("profile = \"{profile}\""));
        work.write("orders.json", std::fs::read(format!("{}/tests/payloads/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap());
        let run = ["run", "--profile", profile, "--orders", "orders.json", "--cursor", "created_at", "--allow-incomplete"];
        let summary = work.etl(&run).published();
        let columns = "order_id, lines_total, discount_total, shipping_total, tax_total, total, refunded_total, paid_total";
        assert_eq!(work.query(&format!("SELECT {columns} FROM fact_order_total ORDER BY order_id")), rows, "{file}");
        let of_facts = "SELECT order_id, sum(line_total) FROM fact_order GROUP BY order_id ORDER BY order_id";
        assert_eq!(work.query("SELECT order_id, lines_total FROM fact_order_total ORDER BY order_id"), work.query(of_facts), "{file}");
        let checks = summary["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "order_total_reconciles");
        let found = check.map(|check| (check["severity"].as_str().unwrap(), check["violations"].as_u64().unwrap()));
        assert_eq!(found, not_added_up, "{file}: {check:?}");
        work.etl(&run).unchanged();
    }
}

#[test]
fn each_payload_loads_to_the_totals_of_its_vendor_by_its_profile_alone() {
    for Payload { profile, file, orders, rows, revenue, toml } in PAYLOADS {
        let work = Workspace::new();
        work.write("etl.toml", format!("profile = \"{profile}\"\n{toml}"));
        work.write("orders.json", std::fs::read(format!("{}/tests/payloads/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap());
        // Some are pages of a longer list.
        let run = ["run", "--profile", profile, "--orders", "orders.json", "--cursor", "created_at", "--allow-incomplete"];
        let summary = work.etl(&run).published();
        assert_eq!(summary["lines_dropped"], 0, "{file}: {summary}");
        let found: BTreeMap<_, _> =
            summary["revenue"].as_object().unwrap().iter().map(|(currency, sum)| (currency.as_str(), sum.as_str().unwrap())).collect();
        assert_eq!(found, revenue.iter().copied().collect(), "{file}");
        let held = |column: &str| work.facts().iter().map(|row| row[column].clone()).collect::<Vec<_>>();
        assert_eq!(held("order_id").into_iter().collect::<std::collections::BTreeSet<_>>().len(), orders, "{file}");
        assert_eq!(held("sku").len(), rows, "{file}: {:?}", held("sku"));
        assert_eq!(work.etl(&["check"]).code, 0, "{file}: {}", work.etl(&["check"]).stdout);
        work.etl(&run).unchanged();
    }
}

/// Some versions and exports write the parent of a line that has none as 0.
#[test]
fn a_parent_of_0_is_no_parent() {
    for (profile, file, parent, lines_of) in [
        ("magento", "magento.json", "parent_item_id", "/items/0/items"),
        ("bigcommerce", "bigcommerce-legacy.json", "parent_order_product_id", "/0/consignments/0/shipping/0/line_items"),
    ] {
        let text = std::fs::read_to_string(format!("{}/tests/payloads/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let skus_with = |change: &dyn Fn(&mut Vec<Value>)| {
            let mut payload: Value = serde_json::from_str(&text).unwrap();
            change(payload.pointer_mut(lines_of).and_then(Value::as_array_mut).unwrap());
            let work = Workspace::new();
            work.write("orders.json", payload.to_string());
            let run = ["run", "--profile", profile, "--orders", "orders.json", "--cursor", "created_at", "--allow-incomplete"];
            work.etl(&run).published();
            work.query("SELECT order_id, sku FROM fact_order ORDER BY ALL")
        };
        let without = skus_with(&|_| {});
        let of_0 = skus_with(&|lines| lines.iter_mut().filter(|line| line[parent].is_null()).for_each(|line| line[parent] = json!(0)));
        assert_eq!(of_0, without, "{profile}");
        let of_7 = skus_with(&|lines| lines.push(json!({"sku": "part", "id": 99, parent: 7, "qty_ordered": 1, "quantity": 1})));
        assert_eq!(of_7, without, "{profile}: a line with a parent is left out");
    }
}

/// The refunds that a payload becomes once `change` has changed its list of orders.
fn refunds_of(profile: &str, file: &str, orders: &str, change: impl Fn(&mut Value)) -> Vec<String> {
    let work = Workspace::new();
    work.write("etl.toml", format!("source = \"{profile}\""));
    let text = std::fs::read_to_string(format!("{}/tests/payloads/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut payload: Value = serde_json::from_str(&text).unwrap();
    change(&mut payload[orders]);
    work.write("orders.json", payload.to_string());
    let run = ["run", "--source", profile, "--orders", "orders.json", "--cursor", "created_at", "--allow-incomplete"];
    let summary = work.etl(&run).published();
    assert_eq!(summary["refunds_dropped"], 0, "{file}");
    work.etl(&run).unchanged();
    assert_eq!(work.etl(&["check"]).code, 0, "{file}");
    work.query("SELECT dt, refund_id, order_id, sku, quantity, amount, currency FROM fact_refund ORDER BY ALL")
}

#[test]
fn refunds_are_those_of_their_vendor() {
    // An edit that gave no money back, a refund of a line with its tax after a payment that failed, and one whose only payment failed:
    // like the edit, it adds up to 0.
    let of_shopify = refunds_of("shopify", "shopify.json", "orders", |orders| {
        let refund = |id: u8, statuses: &[&str]| {
            let paid = |status: &&str| json!({"id": 5, "kind": "refund", "status": status, "amount": "12.90"});
            let transactions: Vec<_> = statuses.iter().map(paid).collect();
            json!({
                "id": id,
                "created_at": "2026-01-15T22:00:00-05:00",
                "refund_line_items": [{"id": 1, "line_item_id": 12, "quantity": 1, "subtotal": 10.4}],
                "transactions": transactions,
            })
        };
        orders[0]["refunds"] = json!([refund(2, &["failure", "success"]), refund(3, &["failure"])]);
    });
    assert_eq!(
        of_shopify,
        [
            "2026-01-12|1|1003|31|1.0000|5.0000|USD",
            "2026-01-12|1|1003|NULL|NULL|-5.0000|USD",
            "2026-01-16|2|1001|MUG-B|1.0000|10.4000|USD",
            "2026-01-16|2|1001|NULL|NULL|2.5000|USD",
            "2026-01-16|3|1001|MUG-B|1.0000|10.4000|USD",
            "2026-01-16|3|1001|NULL|NULL|-10.4000|USD",
        ]
    );
    let of_ebay = refunds_of("ebay", "ebay.json", "orders", |orders| {
        let refund = |id: &str, status: &str| json!({"refundId": id, "refundDate": "2026-01-12T10:00:00.000Z", "refundStatus": status, "amount": {"value": "30.00", "currency": "USD"}});
        orders[0]["paymentSummary"] = json!({"refunds": [refund("R1", "REFUNDED"), refund("R2", "PENDING")]});
    });
    assert_eq!(of_ebay, ["2026-01-12|R1|12-00001-00001|NULL|NULL|30.0000|USD"]);
    let of_stripe = refunds_of("stripe-charges", "stripe-charges.json", "data", |charges| {
        charges[0]["refunds"]["data"] =
            json!([{"id": "re_1", "amount": 500, "created": 1_768_089_600, "currency": "usd", "status": "succeeded"}]);
    });
    assert_eq!(of_stripe, ["2026-01-11|re_1|ch_1|NULL|NULL|5.0000|usd"]);
}

#[test]
fn a_line_in_another_currency_than_its_order_of_ebay_is_not_added_up() {
    let work = Workspace::new();
    let text = std::fs::read_to_string(format!("{}/tests/payloads/ebay.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut page: Value = serde_json::from_str(&text).unwrap();
    let lines = page["orders"][0]["lineItems"].as_array_mut().unwrap();
    let mut foreign = lines[0].clone();
    foreign["lineItemId"] = json!("other");
    foreign["sku"] = json!("FOREIGN");
    foreign["discountedLineItemCost"] = json!({"value": "99.00", "currency": "EUR"});
    lines.push(foreign);
    work.write("orders.json", page.to_string());
    let run = ["run", "--source", "ebay", "--orders", "orders.json", "--cursor", "created_at", "--allow-incomplete"];
    let ended = work.etl(&[&run[..], &["--log-format", "text"]].concat());
    let summary = ended.published();
    assert_eq!((&summary["revenue"], &summary["dropped"]), (&json!({"USD": "30.0000"}), &json!({"invalid_price": 1})));
    assert!(ended.stderr.contains("their currency is not that of their order"), "{}", ended.stderr);
}

/// Loads a payload with `fact.money = "lines"`, and adds up a column, in ten-thousandths.
fn money_of(profile: &str, file: &str, column: &str) -> i64 {
    let work = Workspace::new();
    work.write("etl.toml", format!("profile = \"{profile}\"\nfact.money = \"lines\"\n"));
    work.write("orders.json", std::fs::read(format!("{}/tests/payloads/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap());
    let run = ["run", "--profile", profile, "--orders", "orders.json", "--cursor", "created_at", "--allow-incomplete"];
    work.etl(&run).published();
    work.etl(&run).unchanged();
    assert_eq!(work.etl(&["check"]).code, 0);
    work.facts().iter().map(|row| row[column].replace('.', "").parse::<i64>().unwrap_or_default()).sum()
}

#[test]
fn the_money_of_lines_adds_up_to_the_vendors_own_totals() {
    let text = std::fs::read_to_string(format!("{}/tests/payloads/shopify.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let payload: serde_json::Value = serde_json::from_str(&text).unwrap();
    let counted = payload["orders"].as_array().unwrap().iter().filter(|order| order["test"] == false);
    let discounts: i64 = counted.map(|order| order["total_discounts"].as_str().unwrap().replace('.', "").parse::<i64>().unwrap()).sum();
    assert!(discounts > 0);
    assert_eq!(money_of("shopify", "shopify.json", "discount_total"), discounts * 100);
    assert_eq!(money_of("stripe-charges", "stripe-charges.json", "refunded_total"), 0);
}

#[test]
fn the_documentation_says_which_profiles_know_the_money_of_a_line() {
    let root = env!("CARGO_MANIFEST_DIR");
    let docs = std::fs::read_to_string(format!("{root}/docs/sources.md")).unwrap();
    for column in ["discount_total", "tax_total", "refunded_quantity", "refunded_total"] {
        let row = docs.lines().find(|line| line.starts_with(&format!("| `{column}` |"))).unwrap();
        let told: Vec<_> = row.trim_end_matches(" |").rsplit(" | ").next().unwrap().split(", ").map(str::to_owned).collect();
        let mut known: Vec<_> = std::fs::read_dir(format!("{root}/src/settings/profile/shipped"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| std::fs::read_to_string(path).unwrap().lines().any(|line| line.starts_with(&format!("{column} = "))))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        known.sort();
        assert_eq!(told, known, "{column}");
    }
}
