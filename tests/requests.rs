//! Requests in the forms of vendors: bodies by POST, GraphQL, templates, lines of orders by requests of their own, log-ins and
//! refresh tokens.

use serde_json::{Value, json};

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json as answer, order, status};

const HASTE: &str = "[http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\n";

/// A run over a server, whose table of orders is this.
fn run(server: &Server, orders: &str, args: &[&str], variables: &[(&str, &str)]) -> (Workspace, Ended) {
    let work = Workspace::new();
    work.write("etl.toml", format!("[orders]\nlocation = \"{}\"\n{orders}\n{HASTE}", server.orders()));
    let mut command = work.command(&[&["run"], args].concat());
    let ended = support::ended(command.envs(variables.iter().copied()).output().unwrap());
    (work, ended)
}

fn body(asked: &Asked) -> Value {
    serde_json::from_str(&asked.body).unwrap_or(Value::Null)
}

fn ids(work: &Workspace) -> Vec<String> {
    work.query("SELECT order_id, count(*) FROM fact_order GROUP BY ALL ORDER BY ALL")
}

#[test]
fn a_list_by_post_has_its_cursor_size_and_window_in_the_body() {
    let server = Server::start(|asked| {
        let body = body(asked);
        let next = json!({"orders": [serde_json::from_str::<Value>(&order("B", "2026-01-02", "")).unwrap()]});
        match body["cursor"].as_str() {
            None => answer(format!(r#"{{"orders":[{}],"cursor":"next"}}"#, order("A", "2026-01-01", ""))),
            Some("next") => answer(next.to_string()),
            Some(_) => status(400),
        }
    });
    let toml = r#"
records = "orders"
page_size = 50
pagination = { kind = "cursor", path = "cursor", size_parameter = "limit" }
filter = { since = "since", until = "until" }
[orders.body]
limit = "{limit:number}"
cursor = "{cursor}"
filter = { created = { from = "{since}", to = "{until}" }, kinds = ["order"] }
"#;
    let (work, ended) = run(&server, toml, &["--since", "2026-01-01"], &[]);
    ended.published();
    assert_eq!(ids(&work), ["A|1", "B|1"]);
    let asked = server.asked();
    let filter = json!({"created": {"from": "2025-12-31T23:59:59Z"}, "kinds": ["order"]});
    assert_eq!(body(&asked[0]), json!({"limit": 50, "filter": filter}), "an end that is open is left out");
    assert_eq!(body(&asked[1]), json!({"limit": 50, "cursor": "next", "filter": filter}));
    assert!(asked.iter().all(|asked| asked.raw_query.is_empty() && asked.header("content-type") == Some("application/json")));
}

const GRAPHQL: &str = r#"
records = "data.orders.nodes"
page_size = 2
pagination = { kind = "cursor", path = "data.orders.pageInfo.endCursor", more = "data.orders.pageInfo.hasNextPage", parameter = "after", size_parameter = "first" }
graphql = "query($first: Int!, $after: String) { orders(first: $first, after: $after) {nodes{id}} }"
variables = { first = "{first:number}", after = "{after}" }
fields = { order_id = { path = "id", after = "/" }, created_at = "createdAt", lines = "lineItems.nodes" }
[orders.line_request]
when = "lineItems.pageInfo.hasNextPage"
records = "data.order.lineItems.nodes"
page_size = 3
pagination = { kind = "cursor", path = "data.order.lineItems.pageInfo.endCursor", more = "data.order.lineItems.pageInfo.hasNextPage", parameter = "after", size_parameter = "first" }
graphql = "query($id: ID!, $first: Int!, $after: String) { order(id: $id) { lineItems { nodes { sku } } } }"
variables = { id = "{id}", first = "{first:number}", after = "{after}" }
"#;

/// Two pages of orders. The order B lists its first line, and has five.
fn graphql(asked: &Asked) -> Reply {
    let body = body(asked);
    let variables = &body["variables"];
    let info = |next: bool, cursor: &str| json!({"hasNextPage": next, "endCursor": cursor});
    let line = |number: u32| json!({"id": format!("L{number}"), "sku": format!("S{number}"), "price": "1.50"});
    if body["query"].as_str().unwrap().contains("order(id") {
        assert_eq!(variables["id"], "gid://shop/Order/B");
        let (from, to) = if variables["after"] == "third" { (4, 5) } else { (1, 3) };
        let nodes: Vec<_> = (from..=to).map(line).collect();
        return answer(json!({"data": {"order": {"lineItems": {"nodes": nodes, "pageInfo": info(to == 3, "third")}}}}).to_string());
    }
    let order = |id: &str, more: bool| json!({"id": format!("gid://shop/Order/{id}"), "createdAt": "2026-01-01", "lineItems": {"nodes": [line(1)], "pageInfo": {"hasNextPage": more}}});
    let (nodes, info) = match variables["after"].as_str() {
        None => (vec![order("A", false), order("B", true)], info(true, "second")),
        Some(_) => (vec![order("C", false)], info(false, "last")),
    };
    answer(json!({"data": {"orders": {"nodes": nodes, "pageInfo": info}}}).to_string())
}

#[test]
fn graphql_is_followed_to_the_last_line_of_every_order() {
    let server = Server::start(graphql);
    let (work, ended) = run(&server, GRAPHQL, &[], &[]);
    ended.published();
    assert_eq!(ids(&work), ["A|1", "B|5", "C|1"]);
    assert_eq!(body(&server.asked()[0])["variables"], json!({"first": 2}), "the first page has no cursor");
}

#[test]
fn a_throttled_query_waits_and_an_error_of_a_success_is_a_failure() {
    let throttled = json!({
        "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
        "extensions": {"cost": {"requestedQueryCost": 30, "throttleStatus": {"currentlyAvailable": 0, "restoreRate": 100}}},
    });
    let server = Server::start(move |asked| if asked.before == 0 { answer(throttled.to_string()) } else { graphql(asked) });
    let begun = std::time::Instant::now();
    let (work, ended) = run(&server, GRAPHQL, &[], &[]);
    ended.published();
    assert!(begun.elapsed().as_millis() >= 300, "30 points at 100 a second");
    assert_eq!(ids(&work).len(), 3);

    let server = Server::start(|_| answer(r#"{"data":{"orders":null},"errors":[{"message":"not authorized"}]}"#));
    let (work, ended) = run(&server, GRAPHQL, &[], &[]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("not authorized") && work.files("curated").is_empty(), "{}", ended.stderr);
}

#[test]
fn lines_of_orders_come_by_requests_of_their_own() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/orders" => answer(r#"{"orders":[{"id":"A/1","created_at":"2026-01-01"},{"id":"B","created_at":"2026-01-02"}]}"#),
        "/orders/A%2F1/items" if asked.parameter("token").is_empty() => {
            answer(r#"{"lines":[{"sku":"x","price":1},{"sku":"y","price":2}],"next":"2"}"#)
        }
        "/orders/A%2F1/items" => answer(r#"{"lines":[{"sku":"z","price":3}]}"#),
        "/orders/B/items" => answer(r#"{"lines":[{"sku":"x","price":4}]}"#),
        _ => status(404),
    });
    let toml = r#"
records = "orders"
pagination = { kind = "single" }
fields = { lines = "items" }
[orders.line_request]
path = "/orders/{id}/items"
records = "lines"
concurrency = 2
pagination = { kind = "cursor", path = "next", parameter = "token" }
"#;
    let (work, ended) = run(&server, toml, &[], &[]);
    assert_eq!(ended.published()["completeness"]["status"], "proven");
    assert_eq!(
        work.query("SELECT order_id, sku, line_total FROM fact_order ORDER BY ALL"),
        ["A/1|x|1.0000", "A/1|y|2.0000", "A/1|z|3.0000", "B|x|4.0000"]
    );

    // Where no list of lines ever names a next page, its path may be wrong.
    let (_, ended) = run(&server, &toml.replace("\"next\"", "\"paging.next\""), &[], &[]);
    let completeness = &ended.published()["completeness"];
    assert_eq!(completeness["status"], "unproven", "{completeness}");
    assert!(completeness["why"].as_str().unwrap().contains("the lines of 2 orders"), "{completeness}");

    // Lines that can't be had are not left out.
    let server = Server::start(|asked| match asked.path.as_str() {
        "/orders" => answer(r#"{"orders":[{"id":"A","created_at":"2026-01-01","items":[{"sku":"x","price":1}]}]}"#),
        _ => status(403),
    });
    let (work, ended) = run(&server, toml, &[], &[]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("/orders/A/items") && work.files("curated").is_empty(), "{}", ended.stderr);
}

#[test]
fn lines_that_were_asked_for_take_the_place_of_those_that_the_record_lists() {
    let listed = |more: &str| format!(r#"{{"id":"A","key":"k","created_at":"2026-01-01","items":[{{"sku":"old","price":9}}]{more}}}"#);
    let loaded = |record: String, lines: &'static str, settings: &str| {
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/orders" => answer(format!("[{record}]")),
            _ => answer(lines),
        });
        let toml = format!("pagination = {{ kind = \"single\" }}\n{settings}");
        let (work, ended) = run(&server, &toml, &[], &[]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        if work.files("curated").is_empty() { Vec::new() } else { work.query("SELECT sku, line_total FROM fact_order ORDER BY ALL") }
    };
    let asks = |more: &str| format!("line_request = {{ path = \"/lines/{{id}}\", pagination = {{ kind = \"single\" }}{more} }}\n");
    let two = r#"[{"sku":"x","price":1},{"sku":"y","price":2}]"#;
    let new = ["x|1.0000", "y|2.0000"];
    assert_eq!(loaded(listed(""), two, &asks("")), new, "by the default paths");
    let all = format!("{}fields = {{ lines = {{ all = [\"items\", \"fees\"] }} }}", asks(""));
    assert_eq!(loaded(listed(r#","fees":[{"sku":"fee","price":1}]"#), two, &all), new, "of several lists");
    assert_eq!(loaded(listed(""), "[]", &asks("")), [""; 0], "it has none any more");
    assert_eq!(loaded(listed(r#","key2":null"#), two, &asks(", id = \"key2\"")), [""; 0], "without an id they can't be had");
    for (more, expected) in [("true", &new[..]), ("\"true\"", &new[..]), ("1", &new[..]), ("false", &["old|9.0000"][..])] {
        assert_eq!(loaded(listed(&format!(",\"more\":{more}")), two, &asks(", when = \"more\"")), expected, "{more}");
    }
}

#[test]
fn lists_at_another_origin_are_asked_for_without_the_credentials_of_the_source() {
    let server = Server::start(|_| answer(r#"[{"id":"A","created_at":"2026-01-02"}]"#));
    let api = Server::start(|_| answer(r#"[{"sku":"x","price":1}]"#));
    let single = "pagination = { kind = \"single\" }";
    let orders = format!("location = \"{}\"\n{single}\nline_request = {{ path = \"/lines/{{id}}\", {single} }}", server.orders());
    let work = Workspace::new();
    work.write("etl.toml", format!("url = \"{}\"\n[orders]\n{orders}\n{HASTE}", api.url));
    support::ended(work.command(&["run"]).env("ETL_API_TOKEN", "hush-hush-4714").output().unwrap()).published();
    assert_eq!(ids(&work), ["A|1"]);
    let sent = |server: &Server| server.asked().iter().map(|asked| asked.header("authorization").map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(sent(&server), [Some("Bearer hush-hush-4714".to_owned())]);
    assert_eq!(sent(&api), [None::<String>]);
}

#[test]
fn parameters_are_written_as_the_source_wants_them() {
    let server = Server::start(|asked| match asked.raw_query.contains("limit=0%2C1") {
        true => answer(format!(r#"{{"orders":[{}]}}"#, order("A", "2026-01-10 23:30:00", ""))),
        false => answer("[]"),
    });
    let toml = r#"
zone = "Europe/Paris"
records = "orders"
page_size = 1
pagination = { kind = "offset", parameter = "offset", size_parameter = "size" }
filter = { since = "since", until = "until", format = "spaced" }
query = { limit = "{offset|0},{size}", "filter[date]" = "[{since},{until|9999-12-31 00:00:00}]", where = ['at >= "{since}"', 'at < "{until}"'] }
"#;
    let (work, ended) = run(&server, toml, &["--since", "2026-01-10"], &[]);
    ended.published();
    assert_eq!(work.query("SELECT created_at FROM fact_order"), ["2026-01-10 22:30:00"], "the shop's own time");
    let asked = server.asked();
    let query = |place: usize| asked[place].raw_query.replace("%3A", ":").replace('+', " ");
    assert!(query(0).contains("filter%5Bdate%5D=%5B2026-01-10 00:59:59%2C9999-12-31 00:00:00%5D"), "{}", query(0));
    assert!(query(0).contains("where=at %3E%3D %222026-01-10 00:59:59%22") && query(0).matches("where=").count() == 1, "{}", query(0));
    assert!(query(1).starts_with("limit=1%2C1") || query(1).contains("limit=1%2C1"), "an empty list ends it: {}", query(1));
}

#[test]
fn one_record_is_an_object_and_none_is_nothing() {
    let toml = r#"
records = { path = "Sale", object = "record" }
pagination = { kind = "single" }
fields = { order_id = "id", created_at = "at", lines = { path = "Lines.Line", object = "line" } }
"#;
    let sale = |id: &str, lines: &str| format!(r#"{{"id":"{id}","at":"2026-01-01","Lines":{{"Line":{lines}}}}}"#);
    let one = format!(r#"{{"Sale":{}}}"#, sale("A", r#"{"sku":"x","price":1}"#));
    let two = format!(
        r#"{{"Sale":[{},{}]}}"#,
        sale("A", r#"[{"sku":"x","price":1},{"sku":"y","price":1}]"#),
        sale("B", r#"{"sku":"x","price":1}"#)
    );
    for (content, expected) in [(one, vec!["A|1"]), (two, vec!["A|2", "B|1"]), (r#"{"attributes":{"count":"0"}}"#.to_owned(), vec![])] {
        let server = Server::start(move |_| answer(content.clone()));
        let (work, ended) = run(&server, toml, &[], &[]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let found = if work.files("curated").is_empty() { Vec::new() } else { ids(&work) };
        assert_eq!(found, expected);
    }
}

#[test]
fn a_window_that_the_source_demands_has_a_beginning() {
    let server = Server::start(|asked| {
        if asked.parameter("after").is_empty() { status(400) } else { answer(format!("[{}]", order("A", "2026-01-01", ""))) }
    });
    let toml = "pagination = { kind = \"single\" }\nfilter = { since = \"after\", earliest = \"2020-01-01\" }";
    run(&server, toml, &[], &[]).1.published();
    assert!(server.asked()[0].raw_query.contains("2019-12-31"), "a second earlier");
}

#[test]
fn a_log_in_gives_a_token_and_a_key_is_a_user_without_a_password() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/login" => {
            assert_eq!(body(asked), json!({"email": "ann", "password": "a-password-of-ann"}));
            answer(r#"{"data":{"token":"issued-by-the-login"}}"#)
        }
        _ if asked.header("authorization") == Some("Bearer issued-by-the-login") => answer(format!("[{}]", order("A", "2026-01-01", ""))),
        _ => status(401),
    });
    let toml = "pagination = { kind = \"single\" }\nauth = { kind = \"login\", url = \"/login\", token = \"data.token\" }";
    let (_, ended) = run(&server, toml, &[], &[("ETL_API_USER", "ann"), ("ETL_API_PASSWORD", "a-password-of-ann")]);
    ended.published();
    assert!(!ended.stderr.contains("a-password-of-ann") && !ended.stdout.contains("issued-by-the-login"));

    // `a-secret-key:` in Base64.
    let server = Server::start(|asked| match asked.header("authorization") {
        Some("Basic YS1zZWNyZXQta2V5Og==") => answer(format!("[{}]", order("A", "2026-01-01", ""))),
        _ => status(401),
    });
    let toml = "pagination = { kind = \"single\" }\nauth = { kind = \"api_key\", user = true }";
    run(&server, toml, &[], &[("ETL_API_KEY", "a-secret-key")]).1.published();
    run(&server, toml, &[], &[("ETL_API_USER", "a-secret-key"), ("ETL_API_PASSWORD", "")]).1.published();
    run(&server, toml, &[], &[]).1.expect(2, "invalid_configuration");
}

#[test]
fn a_refresh_token_that_is_replaced_is_kept_for_the_next_run() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/token" => {
            let sent = asked.body.split('&').find_map(|pair| pair.strip_prefix("refresh_token=")).unwrap().to_owned();
            let number: u32 = sent.strip_prefix("refresh-token-").unwrap().parse().unwrap();
            // Each refresh token is good for one token.
            if number as usize != asked.before / 2 + 1 {
                return status(400);
            }
            answer(json!({"access_token": format!("token-number-{number}"), "refresh_token": format!("refresh-token-{}", number + 1), "expires_in": 3600}).to_string())
        }
        _ if asked.header("x-token").is_some_and(|token| token.starts_with("token-number-")) => {
            answer(format!("[{}]", order("A", "2026-01-01", "")))
        }
        _ => status(401),
    });
    let work = Workspace::new();
    let toml = "pagination = { kind = \"single\" }\nauth = { kind = \"oauth2\", token_url = \"/token\", grant = \"refresh_token\", credentials_in = \"body\", header = \"X-Token\" }";
    work.write("etl.toml", format!("[orders]\nlocation = \"{}\"\n{toml}\n{HASTE}", server.orders()));
    let variables = [
        ("ETL_OAUTH_CLIENT_ID", "client"),
        ("ETL_OAUTH_CLIENT_SECRET", "a-client-secret"),
        ("ETL_OAUTH_REFRESH_TOKEN", "refresh-token-1"),
        ("ETL_OAUTH_REFRESH_TOKEN_FILE", "refresh-token"),
    ];
    for run in 1..=3 {
        let ended = support::ended(work.command(&["run"]).envs(variables).output().unwrap());
        assert_eq!(ended.code, 0, "run {run}: {}", ended.stderr);
        assert_eq!(work.read("refresh-token"), format!("refresh-token-{}", run + 1));
        assert!(!ended.stderr.contains("refresh-token-"), "{}", ended.stderr);
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(work.path("refresh-token").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn lines_are_asked_for_only_for_orders_that_the_run_takes() {
    let server = || {
        Server::start(|asked| match asked.path.as_str() {
            "/orders" => answer(
                r#"[{"id":"A","created_at":"2026-01-02","status":"paid"},{"id":"B","created_at":"2026-01-02","status":"test"},
                    {"id":"C","created_at":"2025-12-31","status":"paid"},{"id":"D","status":"paid"}]"#,
            ),
            "/lines/A" => answer(r#"[{"sku":"x","price":1}]"#),
            "/lines/D" => answer("[]"),
            _ => status(404),
        })
    };
    let toml = "pagination = { kind = \"single\" }\nskip = [{ path = \"status\", equals = \"test\" }]\n\
                line_request = { path = \"/lines/{id}\", pagination = { kind = \"single\" } }\n";
    let own = server();
    let (work, ended) = run(&own, toml, &["--since", "2026-01-01"], &[]);
    let summary = ended.published();
    assert_eq!(ids(&work), ["A|1"]);
    assert_eq!((&summary["records_skipped"], &summary["records_out_of_window"]), (&1.into(), &1.into()));
    assert_eq!(summary["dropped"], json!({"missing_created_at": 1}));
    let paths = |server: &Server| server.asked().into_iter().map(|asked| asked.path).collect::<Vec<_>>();
    assert_eq!(paths(&own), ["/orders", "/lines/A", "/lines/D"], "of D it is not known");
    // What is kept may be mapped by other rules later, and needs its lines then.
    let own = server();
    run(&own, toml, &["--since", "2026-01-01", "--keep-raw"], &[]).1.expect(3, "extract_failed");
    assert!(paths(&own).contains(&"/lines/B".to_owned()), "{:?}", paths(&own));
}

#[test]
fn an_error_names_the_request_that_was_sent_and_the_variables_of_its_credentials() {
    let toml = "page_size = 50\npagination = { kind = \"cursor\", path = \"cursor\", size_parameter = \"limit\" }\n\
                body = { limit = \"{limit:number}\", cursor = \"{cursor}\" }\n";
    let server = Server::start(|_| status(404));
    let (_, ended) = run(&server, toml, &[], &[]);
    ended.expect(3, "extract_failed");
    let sent = format!("POST {} (page 1): the server answered 404", server.orders());
    assert!(ended.stderr.contains(&sent) && !ended.stderr.contains("GET "), "{}", ended.stderr);
    // The cursor is the same each time, and stands in the body.
    let server = Server::start(|asked| {
        let id = asked.before;
        answer(format!(r#"{{"orders":[{}],"cursor":"again"}}"#, order(&id.to_string(), "2026-01-01", "")))
    });
    let (_, ended) = run(&server, toml, &[], &[]);
    ended.expect(3, "extract_failed");
    let circle = format!("POST {} (page 2): the source's pagination leads in a circle", server.orders());
    assert!(ended.stderr.contains(&circle), "{}", ended.stderr);

    let server = Server::start(|_| status(401));
    let (_, ended) = run(&server, "auth = { kind = \"api_key\" }\n", &[], &[("ETL_API_KEY", "hush")]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("They are read from ETL_API_KEY)") && !ended.stderr.contains("ETL_API_TOKEN"), "{}", ended.stderr);
}

#[test]
fn an_answer_that_says_something_else_is_no_empty_list() {
    let toml = "records = { path = \"Sale\", object = \"record\" }\npagination = { kind = \"single\" }\n";
    for other in [r#"{"message":"moved"}"#, r#"{"Sales":[{"id":1}]}"#] {
        let server = Server::start(move |_| answer(other));
        let (_, ended) = run(&server, toml, &[], &[]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("no array at `Sale`"), "{}", ended.stderr);
    }
}

/// An order whose lines are asked for, and added up by sku.
fn with_lines(pagination: &str) -> String {
    format!(
        "repeated_sku = \"sum\"\nmerge = \"order\"\npagination = {{ kind = \"single\" }}\n[orders.line_request]\n\
         path = \"/orders/{{id}}/lines\"\nid = \"order_id\"\nrecords = \"data\"\npagination = {{ kind = \"{pagination}\" }}\n"
    )
}

/// The answer about the order, or that about its lines, which has the number of the requests for lines before it.
fn order_of_lines(lines: impl Fn(&Asked, usize) -> Value + Send + Sync + 'static) -> Server {
    let before = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |asked| {
        if asked.path == "/orders" {
            return answer(r#"{"orders":[{"order_id":"A","created_at":"2026-01-05T00:00:00Z","currency":"EUR"}]}"#);
        }
        answer(lines(asked, before.fetch_add(1, std::sync::atomic::Ordering::SeqCst)).to_string())
    })
}

fn line_numbered(number: u32) -> Value {
    json!({"id": number, "sku": format!("S{number}"), "quantity": 1, "price": "10.00"})
}

fn skus(work: &Workspace) -> Vec<String> {
    work.query("SELECT sku, quantity, line_total FROM fact_order ORDER BY length(sku), sku")
}

fn once_each(numbers: impl Iterator<Item = u32>) -> Vec<String> {
    numbers.map(|number| format!("S{number}|1|10.0000")).collect()
}

/// A page of some lines, from a place on.
fn lines_from(lines: &[Value], from: usize, most: usize) -> Vec<Value> {
    lines.iter().skip(from).take(most).cloned().collect()
}

#[test]
fn lines_that_are_read_again_are_not_added_up_twice() {
    // The first reading lacks a line that the count has.
    let server = order_of_lines(|asked, before| {
        let lines: Vec<_> = (1..=if before < 2 { 9 } else { 10 }).map(line_numbered).collect();
        let page: usize = asked.parameter("page").parse().unwrap();
        json!({"total": 10, "data": lines_from(&lines, (page - 1) * 5, 5)})
    });
    let (work, ended) = run(&server, &with_lines("page"), &[], &[]);
    ended.published();
    assert_eq!(skus(&work), once_each(1..=10));
}

#[test]
fn lines_that_move_while_they_are_read_are_those_of_the_last_reading() {
    // After the first page, a line comes in front of the others.
    let server = order_of_lines(|asked, before| {
        let lines: Vec<_> = (u32::from(before == 0)..=10).map(line_numbered).collect();
        let page: usize = asked.parameter("page").parse().unwrap();
        json!({"data": lines_from(&lines, (page - 1) * 5, 5)})
    });
    let (work, ended) = run(&server, &with_lines("page"), &[], &[]);
    ended.published();
    assert_eq!(skus(&work), once_each(0..=10));
    // After the first page, the first line is gone: by offset, the reader goes back.
    let server = order_of_lines(|asked, before| {
        let lines: Vec<_> = (1 + u32::from(before > 0)..=10).map(line_numbered).collect();
        json!({"data": lines_from(&lines, asked.parameter("offset").parse().unwrap_or(0), 4)})
    });
    let (work, ended) = run(&server, &with_lines("offset"), &[], &[]);
    ended.published();
    assert_eq!(skus(&work), once_each(2..=10));
}

#[test]
fn lines_that_never_stand_still_are_refused() {
    // A line of the first page is on the second, too, with another quantity each time.
    let server = order_of_lines(|asked, before| match asked.parameter("page") {
        "1" => json!({"data": [line_numbered(1), {"id": 2, "sku": "S2", "quantity": before, "price": "10.00"}]}),
        "2" => json!({"data": [{"id": 2, "sku": "S2", "quantity": before, "price": "10.00"}, line_numbered(3)]}),
        _ => json!({"data": []}),
    });
    let (work, ended) = run(&server, &with_lines("page"), &[], &[]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("the list changed each of the 3 times that it was read"), "{}", ended.stderr);
    assert!(work.layer().is_empty());
}

#[test]
fn equal_lines_without_ids_are_several() {
    let same = || json!({"sku": "S1", "quantity": 1, "price": "10.00"});
    let server = order_of_lines(move |asked, _| {
        let lines = if asked.parameter("page") == "1" { vec![same(), same()] } else { Vec::new() };
        json!({"total": 2, "data": lines})
    });
    let (work, ended) = run(&server, &with_lines("page"), &[], &[]);
    ended.published();
    assert_eq!(skus(&work), ["S1|2|20.0000"]);
}

#[test]
fn lines_of_one_sku_add_up_alike_whatever_the_size_of_their_pages() {
    for size in [2, 4] {
        let server = order_of_lines(move |asked, _| {
            let lines = ["S1", "S2", "S1", "S3"].map(|sku| json!({"id": sku, "quantity": 1, "price": "10.00"}));
            let page: usize = asked.parameter("page").parse().unwrap();
            json!({"data": lines_from(&lines, (page - 1) * size, size)})
        });
        let (work, ended) = run(&server, &with_lines("page"), &[], &[]);
        ended.published();
        assert_eq!(skus(&work), ["S1|2|20.0000", "S2|1|10.0000", "S3|1|10.0000"], "pages of {size}");
    }
}

#[test]
fn a_line_that_failed_is_no_failed_request() {
    let line = || json!({"sku": "S1", "quantity": 1, "price": "10.00", "status": "failed"});
    let server = order_of_lines(move |asked, _| {
        let lines = if asked.parameter("page") == "1" { vec![line()] } else { Vec::new() };
        json!({"data": lines})
    });
    let (work, ended) = run(&server, &with_lines("page"), &[], &[]);
    ended.published();
    assert_eq!(skus(&work), ["S1|1|10.0000"]);
}
