//! Several shops in one layer: equal ids stand apart, and each shop has its own runs, credentials, coverage and failures.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json as object};

use crate::support::{self, Asked, Ended, Server, Workspace, assert_counts_add_up, json, status};

/// An order of one line. The price is in ten-thousandths.
fn sale(order_id: u32, day: u32, user_id: u32, price: i128) -> String {
    let price = format!("{}.{:04}", price / 10_000, price % 10_000);
    format!(
        r#"{{"order_id":{order_id},"created_at":"2026-01-{day:02}T12:00:00Z","currency":"EUR","user_id":{user_id},"items":[{{"sku":"S","quantity":1,"price":{price}}}]}}"#
    )
}

/// The API of a shop: its orders and its users, each on one page.
fn api(orders: &[String], users: &'static str) -> Server {
    let orders = format!("[{}]", orders.join(","));
    Server::start(move |asked: &Asked| match asked.path.as_str() {
        _ if asked.parameter("page") != "1" => json("[]"),
        "/orders" => json(orders.clone()),
        "/users" => json(users),
        _ => status(404),
    })
}

const USERS_DE: &str = r#"[{"id":1,"name":"Anna","country":"DE"}]"#;
const USERS_US: &str = r#"[{"id":1,"name":"Bob","country":"US"}]"#;

/// Prices of the orders 1, 2 and 3 of each shop.
const PRICES_DE: [i128; 3] = [100_000, 15_000, 70_001];
const PRICES_US: [i128; 3] = [200_000, 25_000, 3];

fn sales(prices: &[i128]) -> Vec<String> {
    (1..).zip(prices).map(|(number, price)| sale(number, number, 1, *price)).collect()
}

/// Two shops at these locations.
fn two_shops(work: &Workspace, top: &str, de: &str, us: &str) {
    work.write("etl.toml", format!("{top}\n[[shops]]\nname = \"de\"\n{de}\n[[shops]]\nname = \"us\"\n{us}\n"));
}

/// Two shops whose orders are files.
fn two_files(work: &Workspace, top: &str, de: &[String], us: &[String]) {
    work.write("de.ndjson", de.join("\n"));
    work.write("us.ndjson", us.join("\n"));
    two_shops(work, top, "orders = \"de.ndjson\"", "orders = \"us.ndjson\"");
}

fn etl_with(work: &Workspace, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    support::ended(work.command(args).envs(variables.iter().copied()).output().unwrap())
}

/// The result of a command over several shops.
#[track_caller]
fn result(ended: &Ended, code: i32, status: &str) -> Value {
    assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
    let result = ended.summary();
    assert_eq!(result["status"], status, "{result}");
    result
}

/// What each shop's run says under a key.
fn of_each<'r>(result: &'r Value, key: &str) -> Vec<&'r Value> {
    result["shops"].as_array().unwrap().iter().map(|run| &run[key]).collect()
}

/// Σ `line_total` by shop, in ten-thousandths.
fn sums(work: &Workspace) -> BTreeMap<String, i128> {
    let mut sums = BTreeMap::new();
    for row in work.facts() {
        *sums.entry(row["shop"].clone()).or_default() += row["line_total"].replace('.', "").parse::<i128>().unwrap();
    }
    sums
}

/// The values of some columns of all rows, in order.
fn columns(work: &Workspace, names: &[&str]) -> BTreeSet<String> {
    work.facts().iter().map(|row| names.iter().map(|name| row[*name].as_str()).collect::<Vec<_>>().join(" ")).collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The run ids of the quarantines, in order.
fn quarantines(work: &Workspace) -> Vec<String> {
    let files = work.files("quarantine").into_keys();
    files.filter_map(|name| Some(name.split('/').find_map(|part| part.strip_prefix("run_id="))?.to_owned())).collect()
}

#[test]
fn equal_ids_of_two_shops_are_two_orders_and_no_money_is_lost() {
    let (de, us) = (api(&sales(&PRICES_DE), USERS_DE), api(&sales(&PRICES_US), USERS_US));
    let work = Workspace::new();
    let sources = |server: &Server| format!("orders = \"{0}/orders\"\nusers = \"{0}/users\"", server.url);
    two_shops(&work, "", &sources(&de), &sources(&us));
    let first = result(&work.etl(&["run"]), 0, "published");
    assert_eq!((of_each(&first, "shop"), &first["command"]), (vec![&object!("de"), &object!("us")], &object!("run")));
    first["shops"].as_array().unwrap().iter().for_each(assert_counts_add_up);
    assert_eq!(of_each(&first, "rows_inserted"), [3, 3]);
    let expected = [("de", PRICES_DE.iter().sum()), ("us", PRICES_US.iter().sum())];
    assert_eq!(sums(&work), expected.map(|(shop, sum): (&str, i128)| (shop.to_owned(), sum)).into());
    assert_eq!(
        columns(&work, &["shop", "order_id", "user_id", "sku", "user_country"]),
        set(&[
            "de de:1 de:1 S DE",
            "de de:2 de:1 S DE",
            "de de:3 de:1 S DE",
            "us us:1 us:1 S US",
            "us us:2 us:1 S US",
            "us us:3 us:1 S US"
        ])
    );
    assert!(work.read("output/curated/dt=2026-01-01/part-00000.csv").lines().next().unwrap().ends_with(",updated_at,shop"));
    let members = "user_id,name,email,country,created_at,inferred\nde:1,Anna,,DE,,false\nus:1,Bob,,US,,false\n";
    assert_eq!(work.read("output/dims/dim_user/dim_user.csv"), members);
    // Each run is a commit of its own, with a report of its own.
    assert_eq!(of_each(&first, "commit"), [1, 2]);
    assert_eq!(work.files("reports").keys().filter(|name| name.ends_with(".json")).count(), 2);
    let times = work.times();
    let second = result(&work.etl(&["run", "--check-scope", "full"]), 0, "unchanged");
    assert_eq!((of_each(&second, "rows_unchanged"), work.times()), (vec![&object!(3), &object!(3)], times));
    assert_eq!(work.etl(&["run", "--empty-exit-code", "99"]).code, 99);
    assert_eq!(work.etl(&["check"]).code, 0);
    let text = work.etl(&["run", "--format", "text"]).stdout;
    assert!(text.contains("shop de\n") && text.contains("2 of 2 shops succeeded"), "{text}");
}

#[test]
fn one_shop_that_fails_stops_no_other_and_its_code_is_the_code() {
    let (de, us) = (Server::start(|_: &Asked| status(404)), api(&sales(&PRICES_US), USERS_US));
    let work = Workspace::new();
    two_shops(&work, "", &format!("orders = \"{}\"", de.orders()), &format!("orders = \"{}\"", us.orders()));
    let ended = work.etl(&["run", "--metrics-file", "etl.prom"]);
    let failed = result(&ended, 3, "extract_failed");
    assert_eq!(of_each(&failed, "status"), ["extract_failed", "published"]);
    assert!(ended.stderr.contains("shop de: "), "{}", ended.stderr);
    assert_eq!(sums(&work), [("us".to_owned(), PRICES_US.iter().sum())].into());
    // The metrics of the one do not stand in place of those of the other.
    let metrics = |name: &str| work.read(name).lines().any(|line| line.starts_with("etl_run_status{status=\"published\",shop=\"us\"} 1"));
    assert!(metrics("etl.us.prom") && work.read("etl.de.prom").contains("etl_run_status{status=\"extract_failed\",shop=\"de\"} 1"));
    // A success of the other one does not hide it: neither its last run nor its alert.
    work.etl(&["run", "--shop", "us"]).unchanged();
    let now = work.etl(&["status", "--json"]).summary();
    assert_eq!((&now["healthy"], &now["last_run"]["status"]), (&object!(false), &object!("unchanged")));
    assert_eq!((&now["shops"][0]["shop"], &now["shops"][0]["last_run"]["status"]), (&object!("de"), &object!("extract_failed")));
    assert_eq!((&now["shops"][0]["last_success"], &now["shops"][1]["last_success"]["status"]), (&Value::Null, &object!("unchanged")));
    let alerts: Vec<_> = now["open_alerts"].as_array().unwrap().iter().map(|alert| (&alert["kind"], &alert["subject"])).collect();
    assert!(alerts.contains(&(&object!("source_failed"), &object!("de"))), "{now}");
    // Once the settings no longer have the shop, nobody would ever close it.
    work.write("etl.toml", format!("[[shops]]\nname = \"us\"\norders = \"{}\"\n", us.orders()));
    let ended = work.etl(&["run", "--shop", "us"]);
    let summary = ended.unchanged();
    let closed = summary["alerts_recovered"].to_string();
    let reason = "(closed: the settings no longer have the shop de)";
    assert!(closed.contains("source_failed") && closed.contains(reason) && ended.stderr.contains(reason), "{closed} {}", ended.stderr);
    let now = work.etl(&["status", "--json"]).summary();
    assert_eq!(now["open_alerts"], object!([]), "{now}");
}

#[test]
fn credentials_go_to_their_own_shop_only() {
    let (de, us) = (api(&sales(&PRICES_DE), USERS_DE), api(&sales(&PRICES_US), USERS_US));
    let work = Workspace::new();
    two_shops(&work, "", &format!("orders = \"{}\"", de.orders()), &format!("orders = \"{}\"", us.orders()));
    let sent = |server: &Server| -> BTreeSet<Option<String>> {
        server.asked().iter().map(|asked| asked.header("authorization").map(str::to_owned)).collect()
    };
    result(&etl_with(&work, &["run"], &[("ETL_API_TOKEN", "common"), ("ETL_SHOP_DE_API_TOKEN", "own")]), 0, "published");
    assert_eq!((sent(&de), sent(&us)), ([Some("Bearer own".to_owned())].into(), [None].into()));
    // At the origin of the top level, the common ones count, and those of the shop come first.
    two_shops(&work, &format!("url = \"{}\"\n[orders]\npath = \"orders\"", us.url), &format!("url = \"{}\"", de.url), "");
    let before = us.asked().len();
    result(&etl_with(&work, &["run"], &[("ETL_API_TOKEN", "common"), ("ETL_SHOP_DE_API_TOKEN", "own")]), 0, "unchanged");
    let later = us.asked().split_off(before);
    assert!(!later.is_empty() && later.iter().all(|asked| asked.header("authorization") == Some("Bearer common")));
    assert!(sent(&de).iter().all(|sent| sent.as_deref() == Some("Bearer own")));
    // What is missing is named by the variable of the shop.
    let auth = "[orders]\nauth = { kind = \"bearer\" }";
    two_shops(&work, auth, &format!("orders = \"{}\"", de.orders()), &format!("orders = \"{}\"", us.orders()));
    let ended = etl_with(&work, &["run", "--shop", "us"], &[("ETL_API_TOKEN", "common")]);
    assert!(ended.code == 2 && ended.stderr.contains("set ETL_SHOP_US_API_TOKEN in the environment or .env"), "{}", ended.stderr);
    // It is hidden before it is known which shops there are.
    let secret = "hush-47k11-token";
    let ended = etl_with(&work, &["run", "--log-format", "text"], &[("ETL_SHOP_DE_API_TOKEN", secret), ("ETL_SINCE", secret)]);
    assert!(ended.code == 2 && ended.stderr.contains("ETL_SINCE") && !ended.stderr.contains("47k11"), "{}", ended.stderr);
}

#[test]
fn some_shops_are_picked_by_name() {
    let work = Workspace::new();
    two_files(&work, "", &sales(&PRICES_DE), &sales(&PRICES_US));
    // One shop alone is a plain run.
    let one = work.etl(&["run", "--shop", "us"]).published();
    assert_eq!((&one["shop"], &one["source_identity"], &one["command"]), (&object!("us"), &object!("us:us.ndjson"), &object!("run")));
    assert_eq!(sums(&work).into_keys().collect::<Vec<_>>(), ["us"]);
    let both = result(&work.etl(&["run", "--shop", "us", "--shop", "de"]), 0, "published");
    assert_eq!(of_each(&both, "shop"), ["de", "us"], "in the order of the file");
    work.write("other.ndjson", sale(9, 9, 9, 90_000));
    let refused = |args: &[&str], variables: &[(&str, &str)], message: &str| {
        let ended = etl_with(&work, &[args, &["--log-format", "text"]].concat(), variables);
        assert!(ended.code == 2 && ended.stderr.contains(message), "{args:?}: {}", ended.stderr);
    };
    let layer = work.layer();
    refused(&["run", "--shop", "fr"], &[], "--shop: `fr`: no such shop in etl.toml: there are de, us");
    refused(&["run", "--orders", "other.ndjson"], &[], "--orders: `other.ndjson`: etl.toml has [[shops]]");
    refused(&["run", "--orders", "other.ndjson", "--shop", "de", "--shop", "us"], &[], "say of which (--shop NAME)");
    refused(&["run", "--shop", "de"], &[("ETL_ORDERS", "other.ndjson")], "ETL_ORDERS: `other.ndjson`: etl.toml has [[shops]]");
    refused(&["probe"], &[], "--shop de or --shop us");
    assert_eq!(work.layer(), layer);
    let own = work.etl(&["run", "--orders", "other.ndjson", "--shop", "de"]).published();
    assert_eq!((&own["shop"], &own["source_identity"]), (&object!("de"), &object!("de:other.ndjson")));
    assert!(columns(&work, &["order_id"]).contains("de:9"));
    assert_eq!(work.etl(&["probe", "--shop", "de"]).code, 0);
    work.write("etl.toml", "orders = \"de.ndjson\"\noutput = \"plain\"\n");
    refused(&["run", "--shop", "de"], &[], "--shop: `de`: etl.toml has no [[shops]]");
    two_shops(&work, "", "orders = \"de.ndjson\"", "");
    refused(&["run"], &[], "where are the orders of the shop `us`?");
}

#[test]
fn each_shop_has_its_own_coverage() {
    let work = Workspace::new();
    two_files(&work, "lookback = \"0s\"", &sales(&PRICES_DE), &sales(&PRICES_US));
    work.etl(&["run", "--shop", "de", "--until", "2026-01-03"]).published();
    let plan = || -> Vec<(Value, Value)> {
        let plan = work.etl(&["plan", "--json"]).summary();
        plan["shops"].as_array().unwrap().iter().map(|plan| (plan["shop"].clone(), plan["since"].clone())).collect()
    };
    let expected = [(object!("de"), object!("2026-01-03T00:00:00Z")), (object!("us"), Value::Null)];
    assert_eq!(plan(), expected);
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    assert_eq!(plan(), expected, "the reports tell the same");
    let last = result(&work.etl(&["run", "--since", "last"]), 0, "published");
    assert_eq!(
        (of_each(&last, "records_read"), of_each(&last, "records_out_of_window")),
        (vec![&object!(3); 2], vec![&object!(2), &object!(0)])
    );
    // Chunks are done by shop.
    let window = ["backfill", "--since", "2026-01-01", "--until", "2026-01-03"];
    let first = result(&work.etl(&[&window[..], &["--restart", "--shop", "us", "--shop", "de"]].concat()), 0, "unchanged");
    assert_eq!((of_each(&first, "shop"), of_each(&first, "chunks_done")), (vec![&object!("de"), &object!("us")], vec![&object!(2); 2]));
    assert!(first["shops"][1]["runs"].as_array().unwrap().iter().all(|run| run["shop"] == "us"), "{first}");
    let one = work.etl(&[&window[..], &["--restart", "--shop", "us"]].concat()).summary();
    assert_eq!((&one["chunks"], &one["shop"]), (&object!(2), &Value::Null), "that of a plain backfill");
    let again = result(&work.etl(&window), 0, "unchanged");
    assert_eq!(of_each(&again, "chunks_done_before"), [2, 2]);
}

#[test]
fn a_backfill_that_can_not_begin_for_one_shop_goes_on_with_the_next() {
    let work = Workspace::new();
    two_files(&work, "", &sales(&PRICES_DE), &sales(&PRICES_US));
    work.etl(&["run", "--shop", "us", "--until", "2026-01-02"]).published();
    let ended = work.etl(&["backfill", "--log-format", "text"]);
    let failed = result(&ended, 2, "invalid_configuration");
    assert_eq!(of_each(&failed, "shop"), ["de", "us"]);
    assert!(failed["shops"][0]["error"].as_str().unwrap().contains("needs a beginning"), "{failed}");
    assert!(ended.stderr.contains("shop us: a backfill needs a beginning"), "{}", ended.stderr);
}

#[test]
fn a_replay_is_of_the_shop_whose_run_dropped_it() {
    let work = Workspace::new();
    let bad = |sku: &str| {
        format!(
            r#"{{"order_id":3,"created_at":"2026-01-03","currency":"EUR","items":[{{"sku":"{sku}","price":"?"}},{{"sku":"T","price":1}}]}}"#
        )
    };
    two_files(&work, "", &[sale(1, 1, 1, 10_000), bad("D")], &[sale(1, 1, 1, 20_000), bad("U")]);
    let run = result(&work.etl(&["run"]), 0, "published");
    let ids = quarantines(&work);
    assert_eq!(ids, of_each(&run, "run_id").into_iter().map(|id| id.as_str().unwrap().to_owned()).collect::<Vec<_>>());
    let file = format!("output/quarantine/run_id={}/records.ndjson", ids[1]);
    let line: Value = serde_json::from_str(work.read(&file).lines().next().unwrap()).unwrap();
    assert_eq!((&line["order_id"], &line["record"]["order_id"]), (&object!("us:3"), &object!(3)), "the record is as it came");
    work.write(&file, work.read(&file).replace("\"?\"", "7"));
    let replayed = work.etl(&["quarantine", "replay", &ids[1]]).published();
    assert_eq!((&replayed["shop"], &replayed["replay_of"]), (&object!("us"), &object!(ids[1])));
    assert_eq!(
        columns(&work, &["order_id", "sku"]),
        set(&["de:1 S", "de:3 T", "us:1 S", "us:3 T", "us:3 U"]),
        "the order of the other shop has no line more"
    );
    let explained = work.etl(&["explain", "us:3", "--json"]).summary();
    assert_eq!((explained["rows"].as_array().unwrap().len(), explained["dropped"].as_array().unwrap().len()), (2, 1), "{explained}");
    assert_eq!(work.etl(&["explain", "3"]).code, 2);
    // Whose shop is gone can't be replayed as of another one.
    work.write("etl.toml", "[[shops]]\nname = \"us\"\norders = \"us.ndjson\"\n");
    let ended = work.etl(&["quarantine", "replay", &ids[0], "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("is of no shop in etl.toml, which has us"), "{}", ended.stderr);
}

#[test]
fn an_order_that_has_lost_its_lines_takes_nothing_from_another_shop() {
    let work = Workspace::new();
    two_files(&work, "merge = \"order\"", &sales(&PRICES_DE), &sales(&PRICES_US));
    result(&work.etl(&["run"]), 0, "published");
    let emptied = r#"{"order_id":1,"created_at":"2026-01-01T12:00:00Z","updated_at":"2026-02-01","items":[]}"#;
    work.write("de.ndjson", emptied);
    work.etl(&["run", "--shop", "de"]).published();
    assert_eq!(columns(&work, &["order_id"]), set(&["de:2", "de:3", "us:1", "us:2", "us:3"]));
    let us: i128 = PRICES_US.iter().sum();
    assert_eq!(sums(&work), [("de".to_owned(), PRICES_DE[1] + PRICES_DE[2]), ("us".to_owned(), us)].into());
}

#[test]
fn a_sku_is_one_thing_in_all_shops_unless_a_shop_has_its_own() {
    let work = Workspace::new();
    work.write("de.ndjson", sales(&PRICES_DE).join("\n"));
    work.write("us.ndjson", sales(&PRICES_US).join("\n"));
    work.write("de.json", r#"[{"id":1,"sku":"S","name":"Tasse"}]"#);
    work.write("us.json", r#"[{"id":1,"sku":"S","name":"Mug"}]"#);
    two_shops(
        &work,
        "",
        "orders = \"de.ndjson\"\nproducts = \"de.json\"",
        "own_skus = true\norders = \"us.ndjson\"\nproducts = \"us.json\"",
    );
    result(&work.etl(&["run"]), 0, "published");
    assert_eq!(columns(&work, &["shop", "sku", "product_name"]), set(&["de S Tasse", "us us:S Mug"]));
    let products = "sku,product_id,name,category,list_price,inferred\nS,1,Tasse,,,false\nus:S,us:1,Mug,,,false\n";
    assert_eq!(work.read("output/dims/dim_product/dim_product.csv"), products);
    let times = work.times();
    result(&work.etl(&["run"]), 0, "unchanged");
    assert_eq!(work.times(), times);
}

#[test]
fn a_layer_does_not_change_between_one_source_and_several_shops() {
    let refused = |work: &Workspace, args: &[&str], message: &str| {
        let layer = work.layer();
        let ended = work.etl(&[args, &["--log-format", "text"]].concat());
        assert!(ended.code == 2 && ended.stderr.contains(message), "{args:?}: {}", ended.stderr);
        assert_eq!(work.layer(), layer);
    };
    // A column of the same name does not make it a layer of shops.
    for columns in ["", "[[fact.columns]]\nname = \"shop\"\npath = \"store\"\n"] {
        let work = Workspace::new();
        work.write("etl.toml", columns);
        work.load(&sales(&PRICES_DE), &[]).published();
        two_files(&work, "", &sales(&PRICES_DE), &sales(&PRICES_US));
        for command in [&["run"][..], &["run", "--shop", "de"], &["rewrite", "--force"], &["check"], &["ddl", "duckdb"]] {
            refused(&work, command, "the layer was made without shops");
        }
        // Another output is the way out, and the old settings still fit the old one.
        result(&work.etl(&["run", "--output", "shops"]), 0, "published");
        work.write("etl.toml", columns);
        work.load(&sales(&PRICES_DE), &[]).unchanged();
    }
    let work = Workspace::new();
    two_files(&work, "", &sales(&PRICES_DE), &sales(&PRICES_US));
    result(&work.etl(&["run"]), 0, "published");
    for columns in ["", "[[fact.columns]]\nname = \"shop\"\npath = \"store\"\n"] {
        work.write("etl.toml", format!("orders = \"de.ndjson\"\n{columns}"));
        refused(&work, &["run"], "the layer is one of several shops");
        refused(&work, &["rewrite", "--force"], "the layer is one of several shops");
    }
    // Also where its state is lost, and only its files tell.
    let plain = Workspace::new();
    plain.load(&sales(&PRICES_DE), &[]).published();
    std::fs::remove_dir_all(plain.path("output/state")).unwrap();
    two_files(&plain, "", &sales(&PRICES_DE), &sales(&PRICES_US));
    refused(&plain, &["run"], "the layer was made without shops");
    refused(&plain, &["rewrite"], "the layer was made without shops");
}

#[test]
fn shops_that_would_meet_are_refused() {
    let work = Workspace::new();
    work.write("o.ndjson", sales(&PRICES_DE).join("\n"));
    let shop = |name: &str, orders: &str| format!("[[shops]]\nname = \"{name}\"\norders = \"{orders}\"\n");
    for (toml, message) in [
        (shop("a-b", "o.ndjson") + &shop("a_b", "p.ndjson"), "would share the variable ETL_SHOP_A_B_API_TOKEN"),
        (shop("a", "o.ndjson") + &shop("b", "o.ndjson"), "the shops `a` and `b` read the same orders, o.ndjson"),
        (shop("a", "o.ndjson") + &shop("a", "p.ndjson"), "etl.toml, line 5: `shops.name`: `a`: another shop has this name"),
        (shop("a:b", "o.ndjson"), "etl.toml, line 2: `shops.name`: `a:b`: the name of a shop has"),
        (shop("a", "o.ndjson") + "pagination = 1\n", "etl.toml, line 4: unknown key `pagination`"),
        (
            shop("a", "o.ndjson") + "[[fact.columns]]\nname = \"shop\"\npath = \"x\"\n",
            "etl.toml, line 5: `fact.columns.name`: `shop`: another column has this name",
        ),
    ] {
        work.write("etl.toml", &toml);
        let ended = work.etl(&["run", "--log-format", "text"]);
        assert!(ended.code == 2 && ended.stderr.contains(message), "{toml}: {}", ended.stderr);
    }
    assert!(!work.path("output").exists());
}

#[test]
fn what_the_ids_of_a_loaded_shop_are_made_of_may_not_change() {
    let loaded = || {
        let work = Workspace::new();
        two_files(&work, "", &sales(&PRICES_DE), &sales(&PRICES_US));
        result(&work.etl(&["run"]), 0, "published");
        work
    };
    let refused = |work: &Workspace, words: &str| {
        let before = work.layer();
        let ended = work.etl(&["run", "--log-format", "text"]);
        assert!(ended.code == 2 && ended.stderr.contains(words), "{}: {}", ended.code, ended.stderr);
        assert_eq!(work.layer(), before);
    };
    let work = loaded();
    let config = work.read("etl.toml");
    work.write("etl.toml", config.replace("name = \"de\"", "name = \"germany\""));
    refused(&work, "shop `germany` reads what shop `de` has loaded");
    work.write("etl.toml", config.replace("name = \"de\"", "name = \"de\"\nown_skus = true"));
    refused(&work, "the layer has skus of shop `de` without its name");
    // Another shop beside them, and the same once more, are none of these.
    work.write("new.ndjson", sales(&[30_000, 40_000]).join("\n"));
    work.write("etl.toml", format!("{config}\n[[shops]]\nname = \"fr\"\norders = \"new.ndjson\"\nown_skus = true\n"));
    result(&work.etl(&["run"]), 0, "published");
    result(&work.etl(&["run"]), 0, "unchanged");
    work.write("etl.toml", format!("{config}\n[[shops]]\nname = \"fr\"\norders = \"new.ndjson\"\n"));
    refused(&work, "the layer has skus of shop `fr` with its name");
}

/// The names of shops, and where they read.
type NamedOrders<'n> = Vec<(&'n str, String)>;

#[test]
fn a_name_that_goes_to_another_shop_is_refused_and_so_is_a_new_name_in_another_spelling() {
    let (de, us) = (api(&sales(&PRICES_DE), USERS_DE), api(&sales(&PRICES_US), USERS_US));
    let port = |server: &Server| server.url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let other = |server: &Server, path: &str| format!("http://localhost:{}{path}", port(server));
    let config = |shops: &[(&str, String)]| -> String {
        shops.iter().map(|(name, orders)| format!("[[shops]]\nname = \"{name}\"\norders = \"{orders}\"\n")).collect()
    };
    let empty = api(&[], "[]");
    let (at_de, at_us) = (de.orders(), us.orders());
    let loaded = [("de", at_de.clone()), ("us", at_us.clone())];
    let cases: Vec<(NamedOrders<'_>, i32, &str)> = vec![
        (vec![("us", at_de.clone()), ("de", at_us.clone())], 2, "shop `us` now reads what shop `de` has loaded"),
        (vec![("us", other(&de, "//orders")), ("de", other(&us, "/orders#x"))], 2, "shop `us` now reads what shop `de` has loaded"),
        (vec![("dex", at_de.clone()), ("de", format!("{}/others", de.url))], 2, "shop `dex` reads what shop `de` has loaded"),
        (vec![("de", at_us.clone())], 2, "shop `de` now reads what shop `us` has loaded"),
        (vec![("germany", other(&de, "/orders")), ("us", at_us.clone())], 2, "shop `germany` reads what shop `de` has loaded"),
        (vec![("germany", format!("{at_de}?limit=5")), ("us", at_us.clone())], 2, "shop `germany` reads what shop `de` has loaded"),
        (
            vec![("fr", format!("{}/moved/orders", de.url)), ("us", at_us.clone())],
            2,
            "shop `fr` was never loaded, and etl.toml no longer names shop `de`",
        ),
        // Another spelling of its own place, and a new shop beside them, change nothing that is loaded.
        (vec![("de", other(&de, "/orders")), ("us", format!("{at_us}?limit=5"))], 0, "unchanged"),
        (vec![("de", at_de.clone()), ("us", at_us.clone()), ("fr", empty.orders())], 0, ""),
    ];
    for (shops, code, words) in cases {
        let work = Workspace::new();
        work.write("etl.toml", config(&loaded));
        result(&work.etl(&["run"]), 0, "published");
        let before = (work.layer(), sums(&work));
        work.write("etl.toml", config(&shops));
        let ended = work.etl(&["run", "--log-format", "text"]);
        assert!(
            ended.code == code && (ended.stdout.contains(words) || ended.stderr.contains(words)),
            "{shops:?}: {} {}",
            ended.code,
            ended.stderr
        );
        assert_eq!((work.layer(), sums(&work)), before, "{shops:?}");
    }
}

#[test]
fn a_shop_that_takes_the_place_of_another_is_loaded_once_it_is_accepted() {
    let work = Workspace::new();
    two_files(&work, "", &sales(&PRICES_DE), &sales(&PRICES_US));
    result(&work.etl(&["run"]), 0, "published");
    let config = work.read("etl.toml");
    work.write("fr.ndjson", sales(&[30_000]).join("\n"));
    work.write("etl.toml", config.replace("name = \"de\"\norders = \"de.ndjson\"", "name = \"fr\"\norders = \"fr.ndjson\""));
    let refused = work.etl(&["run", "--log-format", "text"]);
    assert!(refused.code == 2 && refused.stderr.contains("say --accept-new-shop once"), "{}", refused.stderr);
    result(&work.etl(&["run", "--accept-new-shop"]), 0, "published");
    assert_eq!(sums(&work)["fr"], 30_000);
    result(&work.etl(&["run"]), 0, "unchanged");
    // What is loaded is no new shop: the flag does not let names be exchanged.
    let config = work.read("etl.toml");
    work.write("etl.toml", config.replace("fr.ndjson", "x").replace("us.ndjson", "fr.ndjson").replace("\"x\"", "\"us.ndjson\""));
    let refused = work.etl(&["run", "--accept-new-shop", "--log-format", "text"]);
    assert!(refused.code == 2 && refused.stderr.contains("now reads what shop"), "{}", refused.stderr);
}

#[test]
fn whatever_place_it_comes_from_an_order_is_of_one_shop() {
    let work = |shops: &[[&str; 2]]| {
        let work = Workspace::new();
        work.write("de/o.ndjson", sales(&PRICES_DE).join("\n"));
        work.write("us/o.ndjson", sales(&PRICES_US).join("\n"));
        let config = |shops: &[[&str; 2]]| -> String {
            shops.iter().map(|[name, orders]| format!("[[shops]]\nname = \"{name}\"\norders = \"{orders}\"\n")).collect()
        };
        work.write("etl.toml", config(shops));
        work
    };
    let refused = |work: &Workspace, args: &[&str], loaded: &BTreeMap<String, i128>| {
        let ended = work.etl(args);
        assert_eq!(ended.code, 4, "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("fact_order_of_one_shop"), "{}", ended.stderr);
        assert_eq!(sums(work), *loaded);
        assert_eq!(work.etl(&["check"]).code, 0, "nothing of it was published");
    };
    let both = BTreeMap::from([("de".to_owned(), PRICES_DE.iter().sum()), ("us".to_owned(), PRICES_US.iter().sum())]);
    let of_de = BTreeMap::from([("de".to_owned(), both["de"])]);
    // One place, spelled in two ways, in the first run.
    refused(&work(&[["de", "de/*.ndjson"], ["us", "de/o.ndjson"]]), &["run"], &of_de);
    // Folders that change places, where the spelling changes too.
    let exchanged = work(&[["de", "de/"], ["us", "us/"]]);
    result(&exchanged.etl(&["run"]), 0, "published");
    let config = exchanged.read("etl.toml").replace("\"de/\"", "\"x\"").replace("\"us/\"", "\"de/*.ndjson\"");
    exchanged.write("etl.toml", config.replace("\"x\"", "\"us/o.ndjson\""));
    refused(&exchanged, &["run"], &both);
    // Another shop's orders by hand.
    let by_hand = work(&[["de", "de/o.ndjson"], ["us", "us/o.ndjson"]]);
    result(&by_hand.etl(&["run"]), 0, "published");
    refused(&by_hand, &["run", "--shop", "us", "--orders", "de/o.ndjson"], &both);
    // What is loaded so is found by `etl check`, and some equal orders of two shops are no double.
    let published = work(&[["de", "de/*.ndjson"], ["us", "de/o.ndjson"]]);
    assert_eq!(published.etl(&["run", "--on-check-failure", "publish"]).code, 4);
    assert_eq!(published.etl(&["check"]).code, 4);
    let some = work(&[["de", "de/o.ndjson"], ["us", "us/o.ndjson"]]);
    some.write("us/o.ndjson", sales(&[PRICES_DE[0], 1, 2]).join("\n"));
    result(&some.etl(&["run"]), 0, "published");
}

#[test]
fn no_shop_is_loaded_while_a_name_is_wrong() {
    let work = Workspace::new();
    two_files(&work, "", &sales(&PRICES_DE), &sales(&PRICES_US));
    result(&work.etl(&["run"]), 0, "published");
    let config = work.read("etl.toml");
    work.write("other.ndjson", sales(&[50_000]).join("\n"));
    // `de` has got the orders of `us`, and `us` others.
    work.write("etl.toml", config.replace("us.ndjson", "other.ndjson").replace("de.ndjson", "us.ndjson"));
    let before = work.layer();
    for args in [&["run"][..], &["run", "--shop", "us"]] {
        let ended = work.etl(args);
        assert!(ended.code == 2 && ended.stderr.contains("shop `de` now reads what shop `us` has loaded"), "{}", ended.stderr);
        assert_eq!(work.layer(), before);
    }
}
