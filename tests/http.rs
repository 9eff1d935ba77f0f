//! "Source over HTTP", and the pagination of lists. The tests count the requests too, not only the results.

use std::{
    io::Write,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json, order, status};

/// Short waits for tests.
const HASTE: &str = "[http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\nread_timeout = \"300ms\"\nconnect_timeout = \"300ms\"\nretry_after_cap = \"5s\"\n";

fn fetch(work: &Workspace, url: &str, more: &[&str]) -> Ended {
    if !work.path("etl.toml").exists() {
        work.write("etl.toml", HASTE);
    }
    work.etl(&[&["run", "--orders", url, "--log-format", "text"], more].concat())
}

/// Orders with these numbers, as a JSON array.
fn page(numbers: std::ops::Range<u32>) -> String {
    let orders: Vec<_> = numbers.map(|number| order(&format!("O{number}"), "2026-01-01", "")).collect();
    format!("[{}]", orders.join(","))
}

fn with_header(reply: Reply, name: &'static str, value: impl Into<String>) -> Reply {
    let (status, mut headers, body) = reply;
    headers.push((name, value.into()));
    (status, headers, body)
}

/// The pages that were requested.
fn asked_pages(server: &Server) -> Vec<String> {
    server.asked().iter().map(|asked| asked.parameter("page").to_owned()).collect()
}

#[test]
fn numbered_pages_are_requested_until_one_is_empty() {
    // The server caps its pages at two records, so a short page is not the end. If page 1 is empty, or a list without
    // a count has several pages, page 0 is requested.
    for (records, expected) in [(0, vec!["1", ""]), (2, vec!["1", "2"]), (5, vec!["1", "2", "3", "4", ""])] {
        let server = Server::start(move |asked: &Asked| {
            let number: u32 = asked.parameter("page").parse().unwrap_or(1);
            json(page((number - 1) * 2..records.min(number * 2).max((number - 1) * 2)))
        });
        let work = Workspace::new();
        let summary = fetch(&work, &server.orders(), &[]).summary();
        assert_eq!(
            (summary["records_read"].as_u64(), summary["source"]["pages"].as_u64()),
            (Some(records.into()), Some(expected.iter().filter(|page| !page.is_empty()).count() as u64))
        );
        assert_eq!(asked_pages(&server), expected);
        assert!(server.asked().iter().all(|asked| asked.parameter("per_page") == "500"));
    }
}

#[test]
fn a_numbered_page_that_equals_the_one_before_ends_the_list_with_a_warning() {
    let server = Server::start(|_: &Asked| json(page(0..3)));
    let work = Workspace::new();
    let ended = fetch(&work, &server.orders(), &[]);
    assert_eq!(ended.published()["records_read"], 3);
    assert_eq!(asked_pages(&server), ["1", "2", "2"], "requested once more");
    assert!(ended.stderr.contains("does not paginate"), "{}", ended.stderr);
}

#[test]
fn a_changed_envelope_does_not_make_a_different_page() {
    let server = Server::start(|asked: &Asked| json(format!(r#"{{"served":{},"data":{}}}"#, asked.before, page(0..3))));
    let ended = fetch(&Workspace::new(), &server.orders(), &[]);
    assert_eq!(ended.published()["records_read"], 3);
    assert_eq!(asked_pages(&server), ["1", "2", "2"]);
}

#[test]
fn a_link_header_is_followed_until_it_is_absent() {
    let server = Server::start(|asked: &Asked| match asked.parameter("after") {
        "" => with_header(json(page(0..2)), "link", r#"<?after=2>; rel="next", <?after=9>; rel="last""#),
        "2" => with_header(json(page(2..4)), "link", r#"</orders?after=4>; rel=next"#),
        _ => with_header(json(page(4..5)), "link", r#"<?after=0>; rel="first""#),
    });
    let work = Workspace::new();
    assert_eq!(fetch(&work, &server.orders(), &[]).published()["records_read"], 5);
    assert_eq!(server.asked().iter().map(|asked| asked.parameter("after").to_owned()).collect::<Vec<_>>(), ["", "2", "4"]);
}

#[test]
fn a_next_url_in_the_body_is_followed_under_each_of_its_names() {
    for name in ["next", "next_url", "links"] {
        let server = Server::start(move |asked: &Asked| {
            let next = match (name, asked.parameter("at")) {
                ("links", "") => r#"{"next":"/orders?at=2"}"#.to_owned(),
                (_, "") => r#""/orders?at=2""#.to_owned(),
                ("links", _) => r#"{"next":null}"#.to_owned(),
                _ => "null".to_owned(),
            };
            let first = if asked.parameter("at").is_empty() { 0 } else { 2 };
            json(format!(r#"{{"{name}":{next},"orders":{}}}"#, page(first..first + 2)))
        });
        let work = Workspace::new();
        assert_eq!(fetch(&work, &server.orders(), &[]).published()["records_read"], 4, "{name}");
        assert_eq!(server.asked().len(), 2, "{name}");
    }
}

#[test]
fn a_cursor_is_sent_back_until_there_is_none() {
    for name in ["next_cursor", "next_page_token"] {
        let server = Server::start(move |asked: &Asked| match asked.parameter("cursor") {
            "" => json(format!(r#"{{"data":{},"{name}":"a b&c"}}"#, page(0..2))),
            "a+b%26c" => json(format!(r#"{{"data":[],"{name}":7}}"#)),
            "7" => json(format!(r#"{{"data":{}}}"#, page(2..3))),
            other => panic!("{other}"),
        });
        let work = Workspace::new();
        // An empty page that names a next one is not the end.
        assert_eq!(fetch(&work, &server.orders(), &[]).published()["records_read"], 3, "{name}");
        assert_eq!(server.asked().len(), 3);
    }
}

#[test]
fn a_circular_pagination_is_an_error() {
    let cursors = Server::start(|asked: &Asked| {
        let next = if asked.parameter("cursor") == "A" { "B" } else { "A" };
        let number = u32::try_from(asked.before).unwrap();
        json(format!(r#"{{"data":{},"next_cursor":"{next}"}}"#, page(number..number + 1)))
    });
    let links = Server::start(|_: &Asked| with_header(json(page(0..1)), "link", "<?page=1&per_page=500>; rel=next"));
    for (server, requests) in [(cursors, 3), (links, 1)] {
        let work = Workspace::new();
        let ended = fetch(&work, &server.orders(), &[]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("leads in a circle"), "{}", ended.stderr);
        assert_eq!(server.asked().len(), requests);
        assert!(work.layer().is_empty());
    }
}

#[test]
fn a_location_keeps_its_own_parameters() {
    let server = Server::start(|asked: &Asked| json(if asked.parameter("page") == "1" { page(0..1) } else { "[]".into() }));
    let work = Workspace::new();
    fetch(&work, &format!("{}?status=paid&per_page=50&page=9", server.orders()), &[]).published();
    let asked = &server.asked()[0];
    assert_eq!((asked.parameter("status"), asked.parameter("per_page"), asked.parameter("page")), ("paid", "50", "1"));
}

/// A server with a list of one page, whose first `failures` responses are `broken`.
fn failing(failures: usize, broken: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |asked: &Asked| {
        if asked.before < failures {
            return broken();
        }
        json(if asked.parameter("page") == "1" { page(0..2) } else { "[]".into() })
    })
}

#[test]
fn transient_failures_are_tried_three_times_and_others_once() {
    for code in [408, 425, 429, 500, 502, 503, 504] {
        let (twice, thrice) = (failing(2, move || status(code)), failing(3, move || status(code)));
        let work = Workspace::new();
        let summary = fetch(&work, &twice.orders(), &[]).published();
        assert_eq!((summary["source"]["requests"].as_u64(), summary["source"]["retries"].as_u64()), (Some(4), Some(2)), "{code}");
        let work = Workspace::new();
        let ended = fetch(&work, &thrice.orders(), &[]);
        let summary = ended.expect(3, "extract_failed");
        assert_eq!(thrice.asked().len(), 3, "{code}");
        assert!(
            ended.stderr.contains(&format!("the server answered {code}")) && ended.stderr.contains("after 3 attempts"),
            "{}",
            ended.stderr
        );
        assert_eq!(summary["alerts"][0]["kind"], "source_failed");
        assert!(work.layer().is_empty());
    }
    for code in [400, 401, 403, 404, 410, 422, 501] {
        let server = failing(1, move || status(code));
        let work = Workspace::new();
        fetch(&work, &server.orders(), &[]).expect(3, "extract_failed");
        assert_eq!(server.asked().len(), 1, "{code}");
    }
}

#[test]
fn the_number_of_attempts_can_be_set() {
    let server = failing(9, || status(503));
    let work = Workspace::new();
    assert!(fetch(&work, &server.orders(), &["--max-attempts", "5"]).stderr.contains("after 5 attempts"));
    assert_eq!(server.asked().len(), 5);
}

#[test]
fn retry_after_is_respected_as_seconds_and_as_a_date() {
    let seconds: fn() -> String = || "1".into();
    let date: fn() -> String = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    for (value, least) in [(seconds, 1000), (date, 900)] {
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = times.clone();
        let server = Server::start(move |asked: &Asked| {
            seen.lock().unwrap().push(Instant::now());
            match asked.before {
                0 => with_header(status(429), "retry-after", value()),
                1 => json(page(0..1)),
                _ => json("[]"),
            }
        });
        let work = Workspace::new();
        fetch(&work, &server.orders(), &[]).published();
        let times = times.lock().unwrap();
        let waited = times[1].duration_since(times[0]);
        assert!(waited >= Duration::from_millis(least) && waited < Duration::from_secs(4), "{waited:?}");
    }
}

#[test]
fn a_body_that_is_not_json_is_retried() {
    for body in ["<html>busy</html>", "", r#"[{"order_id":"#, r#"[] trailing"#] {
        let server = failing(1, move || json(body));
        let work = Workspace::new();
        assert_eq!(fetch(&work, &server.orders(), &[]).published()["source"]["retries"], 1, "{body}");
        let server = failing(3, move || json(body));
        let ended = fetch(&Workspace::new(), &server.orders(), &[]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("the body is not JSON"), "{}", ended.stderr);
    }
}

#[test]
fn a_body_without_records_is_an_error_with_the_expected_places() {
    let server = failing(9, || json(r#"{"message":"hello"}"#));
    let ended = fetch(&Workspace::new(), &server.orders(), &[]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("`data`, `orders`, `results`, `items` or `carts`"), "{}", ended.stderr);
    assert_eq!(server.asked().len(), 1);
}

/// A raw server that answers each connection with these bytes, and then closes the connection or sends nothing.
fn raw(answers: Vec<Vec<u8>>, silence: Duration) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/orders", listener.local_addr().unwrap());
    let count = Arc::new(Mutex::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for (place, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            *counted.lock().unwrap() += 1;
            let answer = answers[place.min(answers.len() - 1)].clone();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = std::io::Read::read(&mut stream, &mut request);
                let _ = stream.write_all(&answer);
                std::thread::sleep(silence);
            });
        }
    });
    (url, count)
}

fn response(length: usize, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

#[test]
fn a_truncated_body_a_broken_connection_and_a_silent_server_are_retried() {
    let whole = format!(r#"{{"orders":{},"previous":null,"next":null}}"#, page(0..1));
    let good = response(whole.len(), &whole);
    for (broken, silence) in
        [(response(whole.len(), &whole[..20]), 0), (Vec::new(), 0), (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[".to_vec(), 2000)]
    {
        let (url, count) = raw(vec![broken.clone(), good.clone()], Duration::from_millis(silence));
        let summary = fetch(&Workspace::new(), &url, &[]).published();
        assert_eq!((*count.lock().unwrap(), summary["records_read"].as_u64()), (2, Some(1)));
        let (url, count) = raw(vec![broken], Duration::from_millis(silence));
        let work = Workspace::new();
        fetch(&work, &url, &[]).expect(3, "extract_failed");
        assert_eq!(*count.lock().unwrap(), 3);
        assert!(work.layer().is_empty());
    }
}

#[test]
fn a_refused_connection_is_an_error_that_names_the_url_and_the_page() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ended = fetch(&Workspace::new(), &format!("http://127.0.0.1:{port}/orders"), &[]);
    ended.expect(3, "extract_failed");
    assert!(
        ended.stderr.contains(&format!("GET http://127.0.0.1:{port}/orders?page=1&per_page=500 (page 1): "))
            && ended.stderr.contains("after 3 attempts"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_page_that_fails_in_the_middle_publishes_nothing() {
    let server = Server::start(|asked: &Asked| {
        if asked.parameter("page") == "3" {
            status(500)
        } else {
            json(page(asked.parameter("page").parse::<u32>().unwrap() * 10..asked.parameter("page").parse::<u32>().unwrap() * 10 + 10))
        }
    });
    let work = Workspace::new();
    let ended = fetch(&work, &server.orders(), &[]);
    assert_eq!(ended.expect(3, "extract_failed")["source"]["requests"], 5);
    assert!(ended.stderr.contains("(page 3)"), "{}", ended.stderr);
    assert!(work.layer().is_empty());
}

#[test]
fn gzip_is_requested_and_decoded() {
    let server = Server::start(|asked: &Asked| {
        assert!(asked.header("accept-encoding").unwrap().contains("gzip"));
        let mut body = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        body.write_all(if asked.parameter("page") == "1" { page(0..3) } else { "[]".into() }.as_bytes()).unwrap();
        with_header((200, Vec::new(), body.finish().unwrap()), "content-encoding", "gzip")
    });
    assert_eq!(fetch(&Workspace::new(), &server.orders(), &[]).published()["records_read"], 3);
}

#[test]
fn users_and_products_are_paginated_too() {
    let server = Server::start(|asked: &Asked| match (asked.path.as_str(), asked.parameter("page")) {
        ("/orders", "1") => json(format!("[{}]", order("A", "2026-01-01", r#","user_id":2"#))),
        ("/users", "1") => json(r#"{"data":[{"id":1,"country":"DE"}]}"#),
        ("/users", "2") => json(r#"{"data":[{"id":2,"country":"FR"}]}"#),
        ("/products", "1") => json(r#"[{"sku":"S","name":"Thing","category":"C","price":2.5}]"#),
        _ => json("[]"),
    });
    let work = Workspace::new();
    fetch(&work, &server.orders(), &["--users", &format!("{}/users", server.url), "--products", &format!("{}/products", server.url)])
        .published();
    assert_eq!(work.query("SELECT user_country, product_name, product_category FROM fact_order"), ["FR|Thing|C"]);
    assert_eq!(work.query("SELECT user_id, country, inferred FROM dim_user ORDER BY 1"), ["1|DE|false", "2|FR|false"]);
}

const SECRET: &str = "hush-do-not-tell-4711";

/// Runs with credentials, and asserts that no file and no stream of the run contains them.
fn with_credentials(variables: &[(&str, &str)], url: &str) -> Ended {
    let work = Workspace::new();
    work.write("etl.toml", HASTE);
    let mut command = work.command(&["run", "--orders", url, "-vv", "--log-format", "json"]);
    command.envs(variables.iter().copied());
    let ended = support::ended(command.output().unwrap());
    for folder in ["curated", "dims", "quarantine", "manifests", "reports", "state"] {
        for (name, content) in work.files(folder) {
            assert!(!String::from_utf8_lossy(&content).contains(SECRET), "{name}");
        }
    }
    assert!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET), "{}", ended.stderr);
    ended
}

#[test]
fn credentials_are_sent_in_each_configured_way_and_never_shown() {
    use base64::Engine;
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("me:{SECRET}")));
    for (variables, header, expected) in [
        (vec![("ETL_API_TOKEN", SECRET)], "authorization", format!("Bearer {SECRET}")),
        (vec![("ETL_API_KEY", SECRET)], "x-api-key", SECRET.to_owned()),
        (vec![("ETL_API_KEY", SECRET), ("ETL_API_KEY_HEADER", "X-Shop")], "x-shop", SECRET.to_owned()),
        (vec![("ETL_API_USER", "me"), ("ETL_API_PASSWORD", SECRET)], "authorization", basic),
    ] {
        let server = Server::start(|asked: &Asked| json(if asked.parameter("page") == "1" { page(0..1) } else { "[]".into() }));
        with_credentials(&variables, &server.orders()).published();
        assert!(server.asked().iter().all(|asked| asked.header(header) == Some(&expected)), "{header}");
        // A server that echoes the request, and a server that does not exist.
        let echo = Server::start(|_: &Asked| status(401));
        with_credentials(&variables, &format!("{}?api_key={SECRET}", echo.orders())).expect(3, "extract_failed");
    }
}

#[test]
fn credentials_do_not_leave_the_configured_origin() {
    let elsewhere = Server::start(|asked: &Asked| json(if asked.path == "/moved" { page(0..1) } else { "[]".into() }));
    let (moved, next) = (format!("{}/moved", elsewhere.url), format!("{}/next", elsewhere.url));
    let redirecting = Server::start(move |_: &Asked| with_header(status(302), "location", moved.clone()));
    let linking = Server::start(move |_: &Asked| with_header(json(page(0..1)), "link", format!("<{next}>; rel=next")));
    for server in [&redirecting, &linking] {
        with_credentials(&[("ETL_API_TOKEN", SECRET), ("ETL_API_KEY", SECRET)], &server.orders()).published();
        assert!(server.asked().iter().all(|asked| asked.header("authorization").is_some() && asked.header("x-api-key").is_some()));
    }
    assert!(elsewhere.asked().len() >= 2);
    assert!(elsewhere.asked().iter().all(|asked| asked.header("authorization").is_none() && asked.header("x-api-key").is_none()));
}

#[test]
fn the_number_of_redirects_is_limited() {
    let server = Server::start(|_: &Asked| with_header(status(302), "location", "/orders"));
    let ended = fetch(&Workspace::new(), &server.orders(), &[]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("more than 10 redirects (http.max_redirects)"), "{}", ended.stderr);
}

#[test]
fn an_error_names_the_limit_of_pages_or_of_bodies() {
    let server = Server::start(|asked: &Asked| json(page(asked.before as u32..asked.before as u32 + 1)));
    for (setting, message) in
        [("max_pages = 3", "more than 3 pages (http.max_pages)"), ("max_body = 100", "larger than 100 bytes (http.max_body)")]
    {
        let work = Workspace::new();
        work.write("etl.toml", format!("{HASTE}{setting}\n"));
        let ended = fetch(&work, &server.orders(), &[]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}
