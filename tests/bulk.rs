//! Bulk operations over the API: started, awaited, fetched from another host and counted. What does not come whole is not published.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{self, Ended, Server, Workspace};

const ID: &str = "gid://shopify/BulkOperation/720918";
const TOKEN: &str = "shpat-0123456789abcdef";
const SIGNATURE: &str = "c2lnbmVkLWJ5LXRoZS1zdG9yZQ";

/// A shop with an API, and a host of its own for results.
struct Shop {
    api: Server,
    storage: Server,
}

impl Shop {
    /// What it says when it is asked to start an operation, and what it says of one, each by how often it was asked before.
    fn new(
        result: Vec<u16>,
        content: &str,
        started: impl Fn(usize) -> Value + Send + Sync + 'static,
        polled: impl Fn(usize, &str) -> Value + Send + Sync + 'static,
    ) -> Shop {
        let content = content.to_owned();
        let storage = Server::start(move |asked| match result.get(asked.before) {
            Some(status) => (*status, Vec::new(), format!("<StringToSign>{SIGNATURE}</StringToSign>").into_bytes()),
            None => (200, vec![("content-type", "application/jsonl".to_owned())], content.clone().into_bytes()),
        });
        let url = format!("{}/results/bulk.jsonl?GoogleAccessId=store&Signature={SIGNATURE}", storage.url);
        let (starts, polls) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let api = Server::start(move |asked| {
            let data = if asked.body.contains("bulkOperationRunQuery(") {
                json!({"bulkOperationRunQuery": started(starts.fetch_add(1, Ordering::SeqCst))})
            } else {
                json!({"node": polled(polls.fetch_add(1, Ordering::SeqCst), &url)})
            };
            support::json(json!({"data": data}).to_string())
        });
        Shop { api, storage }
    }

    /// A shop that completes each operation when it is asked for the third time.
    fn with(content: &str, records: usize, objects: usize) -> Shop {
        Shop::new(
            Vec::new(),
            content,
            |_| started(),
            move |asked, url| match asked {
                0 => json!({"id": ID, "status": "CREATED", "objectCount": "0", "rootObjectCount": "0", "url": null}),
                1 => json!({"id": ID, "status": "RUNNING", "objectCount": "1", "rootObjectCount": "1", "url": null}),
                _ => completed(url, records, objects),
            },
        )
    }

    /// The queries that it was asked to run.
    fn queries(&self) -> Vec<String> {
        let bodies = self.api.asked().into_iter().map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap());
        bodies.filter_map(|body| Some(body["variables"]["query"].as_str()?.to_owned())).collect()
    }
}

fn started() -> Value {
    json!({"bulkOperation": {"id": ID, "status": "CREATED"}, "userErrors": []})
}

fn refused(code: Option<&str>, message: &str) -> Value {
    json!({"bulkOperation": null, "userErrors": [{"code": code, "field": null, "message": message}]})
}

fn completed(url: &str, records: usize, objects: usize) -> Value {
    let (records, objects) = (records.to_string(), objects.to_string());
    json!({"id": ID, "status": "COMPLETED", "errorCode": null, "url": url, "rootObjectCount": records, "objectCount": objects})
}

fn order(number: u64, updated_at: &str) -> String {
    let id = format!("gid://shopify/Order/{number}");
    json!({"id": id, "createdAt": "2026-01-10T16:00:00Z", "updatedAt": updated_at, "currencyCode": "USD", "test": false}).to_string()
}

fn line(order: u64, number: u64, quantity: u64, amount: &str) -> String {
    json!({
        "id": format!("gid://shopify/LineItem/{order}{number}"),
        "sku": format!("S{number}"),
        "quantity": quantity,
        "originalUnitPriceSet": {"shopMoney": {"amount": amount}},
        "__parentId": format!("gid://shopify/Order/{order}"),
    })
    .to_string()
}

/// Two orders with three lines.
fn result() -> String {
    let at = "2026-01-11T00:00:00Z";
    [order(1001, at), line(1001, 1, 3, "19.99"), line(1001, 2, 1, "0.05"), order(1002, at), line(1002, 1, 2, "1250.5")].join("\n")
}

fn configure(work: &Workspace, shop: &Shop, poll: &str) {
    let toml = format!(
        "profile = \"shopify-bulk\"\nurl = \"{}\"\n[orders.filter]\nshows = \"all\"\n[orders.bulk.poll]\ninterval = \"1ms\"\n{poll}\n\
         [http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\n",
        shop.api.url
    );
    work.write("etl.toml", toml);
}

fn run(work: &Workspace, shop: &Shop, poll: &str, args: &[&str]) -> Ended {
    configure(work, shop, poll);
    let mut command = work.command(&[&["run"], args].concat());
    let ended = support::ended(command.env("ETL_API_KEY", TOKEN).output().unwrap());
    assert!(!ended.stderr.contains(SIGNATURE) && !ended.stdout.contains(SIGNATURE), "{}{}", ended.stderr, ended.stdout);
    ended
}

const ROWS: &str = "SELECT order_id, sku, quantity, unit_price FROM fact_order ORDER BY ALL";

#[test]
fn an_operation_is_started_awaited_and_fetched_from_another_host_without_credentials() {
    let (work, shop) = (Workspace::new(), Shop::with(&result(), 2, 5));
    let window = ["--since", "2026-01-01", "--until", "2026-02-01"];
    let summary = run(&work, &shop, "", &window).published();
    let completeness = ["status", "by", "claimed", "read"].map(|key| summary["completeness"][key].clone());
    assert_eq!(completeness, [json!("proven"), json!("total"), json!(2), json!(2)]);
    assert_eq!(work.query(ROWS), ["1001|S1|3|19.9900", "1001|S2|1|0.0500", "1002|S1|2|1250.5000"]);
    let asked = shop.api.asked();
    assert_eq!(asked.len(), 4, "a start, and three questions");
    assert!(asked.iter().all(|asked| asked.path == "/admin/api/2026-07/graphql.json" && asked.raw_query.is_empty()));
    assert!(asked.iter().all(|asked| asked.header("x-shopify-access-token") == Some(TOKEN)));
    assert!(asked[1..].iter().all(|asked| serde_json::from_str::<Value>(&asked.body).unwrap()["variables"] == json!({"id": ID})));
    assert!(asked[0].body.contains("groupObjects: true"), "{}", asked[0].body);
    let queries = shop.queries();
    let filter = "{ orders(query: \"updated_at:>='2025-12-31T23:59:59Z' updated_at:<'2026-02-01T00:00:01Z' \") {";
    assert!(queries.len() == 1 && queries[0].starts_with(filter), "{queries:?}");
    let fetched = shop.storage.asked();
    assert_eq!((fetched.len(), fetched[0].path.as_str(), fetched[0].parameter("Signature")), (1, "/results/bulk.jsonl", SIGNATURE));
    assert!(fetched[0].header("x-shopify-access-token").is_none() && fetched[0].header("authorization").is_none());

    let layer = work.files("curated");
    run(&work, &shop, "", &window).unchanged();
    assert_eq!(shop.queries().len(), 2, "the next run starts its own");
    assert_eq!(work.files("curated"), layer);
}

#[test]
fn windows_are_on_the_time_that_the_run_says_and_a_run_without_one_asks_for_all() {
    for (args, filter) in [
        (vec!["--cursor", "created_at", "--since", "2026-01-01"], "{ orders(query: \"created_at:>='2025-12-31T23:59:59Z' \") {"),
        (vec![], "{ orders(query: \"\") {"),
    ] {
        let (work, shop) = (Workspace::new(), Shop::with(&result(), 2, 5));
        run(&work, &shop, "", &args).published();
        assert!(shop.queries()[0].starts_with(filter), "{:?}", shop.queries());
    }
}

/// A run that ends with exit 3 and leaves nothing.
fn fails(shop: &Shop, poll: &str, messages: &[&str]) -> String {
    let work = Workspace::new();
    let ended = run(&work, shop, poll, &["--log-format", "text"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    for message in messages {
        assert!(ended.stderr.contains(message), "{message}: {}", ended.stderr);
    }
    assert!(work.files("curated").is_empty());
    ended.stderr
}

#[test]
fn an_operation_that_is_refused_or_fails_or_does_not_end_fails_the_run() {
    let refuses = Shop::new(Vec::new(), "", |_| refused(Some("INVALID"), "Invalid bulk query: orders"), |_, _| Value::Null);
    fails(&refuses, "", &["the source does not start the bulk operation: INVALID: Invalid bulk query: orders"]);
    assert_eq!(refuses.api.asked().len(), 1);

    let partial = |_: usize, url: &str| json!({"id": ID, "status": "FAILED", "errorCode": "TIMEOUT", "url": null, "partialDataUrl": url});
    let failed = Shop::new(Vec::new(), &result(), |_| started(), partial);
    fails(&failed, "", &["the bulk operation gid://shopify/BulkOperation/720918 ended as FAILED (TIMEOUT): nothing of it was read"]);
    assert!(failed.storage.asked().is_empty(), "a part of the result");

    let endless = Shop::new(Vec::new(), "", |_| started(), |_, _| json!({"id": ID, "status": "RUNNING", "url": null}));
    let left = "the bulk operation gid://shopify/BulkOperation/720918 is left as it is: nothing cancels it";
    let in_time =
        fails(&endless, "timeout = \"30ms\"", &["the bulk operation gid://shopify/BulkOperation/720918 has not ended after", left]);
    let waited = in_time.split("has not ended after ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(!waited.starts_with('0'), "a time below a second is not nothing: {waited}");

    let unknown = Shop::new(Vec::new(), "", |_| started(), |_, _| Value::Null);
    fails(&unknown, "", &["the body has no status of the operation at `data.node.status` ([orders.bulk])", left]);
}

#[test]
fn a_run_that_is_stopped_says_which_operation_it_leaves() {
    let endless = Shop::new(Vec::new(), "", |_| started(), |_, _| json!({"id": ID, "status": "RUNNING", "url": null}));
    let work = Workspace::new();
    configure(&work, &endless, "");
    let mut command = work.command(&["run", "--log-format", "text"]);
    let child = command.env("ETL_API_KEY", TOKEN).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while endless.api.asked().len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no question comes");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let ended = support::ended(child.wait_with_output().unwrap());
    let left = "the bulk operation gid://shopify/BulkOperation/720918 is left as it is: nothing cancels it";
    assert!(ended.code == 143 && ended.stderr.contains(left), "{}: {}", ended.code, ended.stderr);
    assert!(endless.api.asked().iter().all(|asked| !asked.body.contains("Cancel")));
}

#[test]
fn a_result_that_is_not_what_the_operation_counted_is_refused() {
    let two = "the bulk operation counts 3 records, but its result has 2 records";
    fails(&Shop::with(&result(), 3, 5), "", &[two]);
    let objects = "the bulk operation counts 6 objects, but its result has 5 objects";
    fails(&Shop::with(&result(), 2, 6), "", &[objects]);
    fails(&Shop::with("", 2, 5), "", &["the bulk operation counts 2 records, but its result has 0 records"]);
}

#[test]
fn an_operation_of_another_waits_for_its_turn() {
    for code in [Some("OPERATION_IN_PROGRESS"), Some("LIMIT_REACHED"), None] {
        let running = "A bulk query operation for this app and shop is already in progress: gid://shopify/BulkOperation/1.";
        let message = if code == Some("LIMIT_REACHED") { "Try again later." } else { running };
        let first = move |asked: usize| if asked < 2 { refused(code, message) } else { started() };
        let (work, shop) = (Workspace::new(), Shop::new(Vec::new(), &result(), first, |_, url| completed(url, 2, 5)));
        run(&work, &shop, "", &[]).published();
        assert_eq!((shop.queries().len(), work.query(ROWS).len()), (3, 3));
    }
    let busy = Shop::new(Vec::new(), "", |_| refused(None, "already in progress"), |_, _| Value::Null);
    fails(&busy, "timeout = \"30ms\"", &["no bulk operation could be started (already in progress) after"]);
}

#[test]
fn an_operation_without_a_url_found_nothing() {
    let nothing = |_: usize, _: &str| json!({"id": ID, "status": "COMPLETED", "errorCode": null, "url": null, "rootObjectCount": "0", "objectCount": "0"});
    let (work, shop) = (Workspace::new(), Shop::new(Vec::new(), "", |_| started(), nothing));
    let ended = run(&work, &shop, "", &["--since", "2026-01-01"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let summary = ended.summary();
    assert_eq!((&summary["records_read"], &summary["completeness"]["status"]), (&json!(0), &json!("proven")));
    assert!(shop.storage.asked().is_empty());

    let lost = |_: usize, _: &str| json!({"id": ID, "status": "COMPLETED", "url": null, "rootObjectCount": "2", "objectCount": "5"});
    let shop = Shop::new(Vec::new(), "", |_| started(), lost);
    fails(&shop, "", &["the bulk operation counts 2 records, but its result has 0 records"]);
}

#[test]
fn a_download_begins_anew_and_its_failure_shows_no_signature() {
    let (work, shop) = (Workspace::new(), Shop::new(vec![503, 500], &result(), |_| started(), |_, url| completed(url, 2, 5)));
    let summary = run(&work, &shop, "", &[]).published();
    assert_eq!((shop.storage.asked().len(), &summary["source"]["retries"]), (3, &json!(2)));
    assert_eq!(work.query(ROWS).len(), 3);
    let shop = Shop::new(vec![403; 9], &result(), |_| started(), |_, url| completed(url, 2, 5));
    fails(&shop, "", &["/results/bulk.jsonl (another origin than that of the source", "the server answered 403"]);
    assert_eq!(shop.storage.asked().len(), 1, "the signature is refused again");
}

#[test]
fn a_line_that_the_result_has_twice_is_one_line_and_two_that_differ_are_refused() {
    let at = "2026-01-11T00:00:00Z";
    let twice = [order(1001, at), line(1001, 1, 3, "19.99"), line(1001, 1, 3, "19.99")].join("\n");
    let work = Workspace::new();
    let summary = run(&work, &Shop::with(&twice, 1, 3), "", &[]).published();
    assert_eq!(work.query(ROWS), ["1001|S1|3|19.9900"]);
    assert_eq!((&summary["source"]["repeated_lines"], &summary["lines_read"]), (&json!(1), &json!(1)));
    let differing = [order(1001, at), line(1001, 1, 3, "19.99"), line(1001, 1, 4, "19.99")].join("\n");
    fails(&Shop::with(&differing, 1, 3), "", &["`gid://shopify/LineItem/10011` of `gid://shopify/Order/1001` twice"]);
}

#[test]
fn a_signed_url_in_the_words_of_the_source_shows_no_signature() {
    let words = format!("see https://storage.example/part.jsonl?Signature={SIGNATURE}&x=1");
    let said = words.clone();
    let failed =
        Shop::new(Vec::new(), "", |_| started(), move |_, _| json!({"id": ID, "status": "FAILED", "errorCode": said, "url": null}));
    fails(&failed, "", &["ended as FAILED (see https://storage.example/part.jsonl?***): nothing of it was read"]);
    let said = words.clone();
    let refuses = Shop::new(Vec::new(), "", move |_| refused(Some("INVALID"), &said), |_, _| Value::Null);
    fails(&refuses, "", &["INVALID: see https://storage.example/part.jsonl?***"]);
    let reports = Shop::new(Vec::new(), "", |_| started(), move |_, _| json!({"id": ID, "message": words}));
    fails(&reports, "", &["https://storage.example/part.jsonl?***"]);
}

#[test]
fn a_download_that_another_host_leads_back_to_the_source_gets_no_credentials() {
    let back = Arc::new(OnceLock::<String>::new());
    let target = back.clone();
    let storage = Server::start(move |_| (302, vec![("location", format!("{}/result", target.get().unwrap()))], Vec::new()));
    let url = format!("{}/bulk.jsonl", storage.url);
    let api = Server::start(move |asked| match asked.path.as_str() {
        "/result" => (200, Vec::new(), result().into_bytes()),
        _ if asked.body.contains("bulkOperationRunQuery(") => {
            support::json(json!({"data": {"bulkOperationRunQuery": started()}}).to_string())
        }
        _ => support::json(json!({"data": {"node": completed(&url, 2, 5)}}).to_string()),
    });
    back.set(api.url.clone()).unwrap();
    let (work, shop) = (Workspace::new(), Shop { api, storage });
    run(&work, &shop, "", &[]).published();
    let asked = shop.api.asked();
    let fetched: Vec<_> = asked.iter().filter(|asked| asked.path == "/result").collect();
    assert!(fetched.len() == 1 && fetched[0].header("x-shopify-access-token").is_none(), "{}", fetched.len());
    assert!(asked.iter().filter(|asked| asked.path != "/result").all(|asked| asked.header("x-shopify-access-token") == Some(TOKEN)));
}

#[test]
fn an_order_that_the_result_shows_without_lines_loses_its_rows() {
    let work = Workspace::new();
    run(&work, &Shop::with(&result(), 2, 5), "", &[]).published();
    let later = [order(1001, "2026-01-11T00:00:00Z"), line(1001, 1, 3, "19.99"), order(1002, "2026-01-12T00:00:00Z")].join("\n");
    let ended = run(&work, &Shop::with(&later, 2, 3), "", &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let orders = work.query("SELECT DISTINCT order_id FROM fact_order ORDER BY ALL");
    assert_eq!(orders, ["1001"]);
}

#[test]
fn a_doctor_and_a_probe_start_no_operation() {
    let (work, shop) = (Workspace::new(), Shop::with(&result(), 2, 5));
    run(&work, &shop, "", &[]).published();
    let before = shop.api.asked().len();
    for command in ["doctor", "probe"] {
        let ended = support::ended(work.command(&[command]).env("ETL_API_KEY", TOKEN).output().unwrap());
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("not started only to look at the source"), "{command}: {said}");
    }
    assert_eq!(shop.api.asked().len(), before);
}
