//! Every pagination of a profile against a server with that pagination: the results and the number of requests.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json, order, status};

const HASTE: &str = "[http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\nread_timeout = \"2s\"\n";

/// Records per page of these servers.
const PAGE: usize = 2;

/// A pagination: its profile, and the responses of its server.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    profile: &'static str,
    /// The index of the first record of a request.
    start: fn(&Asked) -> usize,
    /// The response: from the records of the page as JSON, the index of the first one, and the total.
    answer: fn(String, usize, usize) -> Reply,
    /// The number of requests for a number of records.
    requests: fn(usize) -> usize,
    /// Whether a number alone identifies a page, so that a change of the list moves records between pages.
    is_by_position: bool,
}

fn number(asked: &Asked, parameter: &str) -> usize {
    asked.parameter(parameter).trim_start_matches('O').parse().unwrap_or(0)
}

fn more(start: usize, total: usize) -> Option<usize> {
    (start + PAGE < total).then_some(start + PAGE)
}

/// The number of pages if the last page says that it is the last: at least one.
fn pages(records: usize) -> usize {
    records.div_ceil(PAGE).max(1)
}

const KINDS: [Kind; 9] = [
    Kind {
        name: "link",
        profile: r#"pagination = { kind = "link" }"#,
        start: |asked| number(asked, "after"),
        answer: |records, start, total| {
            let mut reply = json(records);
            if let Some(next) = more(start, total) {
                reply.1.push(("link", format!("<?after={next}>; rel=\"next\"")));
            }
            reply
        },
        requests: pages,
        is_by_position: false,
    },
    Kind {
        name: "next_url",
        profile: "records = \"list\"\npagination = { kind = \"next_url\", path = \"paging.following\" }",
        start: |asked| number(asked, "after"),
        answer: |records, start, total| {
            let next = more(start, total).map_or("null".to_owned(), |next| format!("\"/orders?after={next}\""));
            json(format!(r#"{{"paging":{{"following":{next}}},"list":{records}}}"#))
        },
        requests: pages,
        is_by_position: false,
    },
    Kind {
        name: "cursor",
        profile: "records = \"list\"\npagination = { kind = \"cursor\", path = \"meta.cur\", parameter = \"cur\", more = \"meta.more\" }",
        start: |asked| number(asked, "cur"),
        answer: |records, start, total| {
            let more = more(start, total);
            // The last page has a cursor too; only `more` says that there is no next page.
            json(format!(r#"{{"meta":{{"cur":"{}","more":{}}},"list":{records}}}"#, more.unwrap_or(999), more.is_some()))
        },
        requests: pages,
        is_by_position: false,
    },
    Kind {
        name: "last_id",
        profile: "records = \"data\"\npagination = { kind = \"last_id\", id = \"order_id\", more = \"has_more\" }",
        start: |asked| if asked.parameter("starting_after").is_empty() { 0 } else { number(asked, "starting_after") + 1 },
        answer: |records, start, total| json(format!(r#"{{"has_more":{},"data":{records}}}"#, more(start, total).is_some())),
        requests: pages,
        is_by_position: false,
    },
    Kind {
        name: "page",
        profile: "records = \".\"\npage_size = 2\npagination = { kind = \"page\", parameter = \"p\", size_parameter = \"n\", first = 0 }",
        start: |asked| number(asked, "p") * PAGE,
        answer: |records, _, _| json(records),
        requests: |records| records.div_ceil(PAGE) + 1,
        is_by_position: true,
    },
    Kind {
        name: "page of a known number",
        profile: "records = \".\"\npage_size = 2\nconcurrency = 3\npagination = { kind = \"page\", pages_header = \"X-Pages\" }",
        start: |asked| (number(asked, "page") - 1) * PAGE,
        answer: |records, _, total| {
            let mut reply = json(records);
            reply.1.push(("x-pages", total.div_ceil(PAGE).to_string()));
            reply
        },
        requests: pages,
        is_by_position: true,
    },
    Kind {
        name: "page of a known number of records",
        // The server sends two records, whatever limit is requested.
        profile: "records = \"data\"\npage_size = 50\npagination = { kind = \"page\", size_parameter = \"n\", total = \"meta.total\" }",
        start: |asked| (number(asked, "page") - 1) * PAGE,
        answer: |records, _, total| json(format!(r#"{{"meta":{{"total":{total}}},"data":{records}}}"#)),
        requests: pages,
        is_by_position: true,
    },
    Kind {
        name: "offset",
        profile: "records = \".\"\npagination = { kind = \"offset\", parameter = \"skip\" }",
        start: |asked| number(asked, "skip"),
        answer: |records, _, _| json(records),
        // Pages share a record: each page has one new record, and the last page has none.
        requests: |records| if records == 1 { 2 } else { records.max(1) },
        is_by_position: true,
    },
    Kind {
        name: "offset with a total",
        profile: "records = \"carts\"\nconcurrency = 2\npagination = { kind = \"offset\", parameter = \"skip\", total = \"total\" }",
        start: |asked| number(asked, "skip"),
        answer: |records, _, total| json(format!(r#"{{"total":{total},"carts":{records}}}"#)),
        requests: |records| records.saturating_sub(1).max(1),
        is_by_position: true,
    },
];

fn list(numbers: std::ops::Range<usize>) -> String {
    let orders: Vec<_> = numbers.map(|number| order(&format!("O{number}"), "2026-01-01", "")).collect();
    format!("[{}]", orders.join(","))
}

impl Kind {
    fn reply(&self, asked: &Asked, total: usize) -> Reply {
        let start = (self.start)(asked).min(total);
        (self.answer)(list(start..(start + PAGE).min(total)), start, total)
    }

    fn server(self, total: usize) -> Server {
        Server::start(move |asked: &Asked| self.reply(asked, total))
    }

    fn run(&self, work: &Workspace, server: &Server) -> Ended {
        work.write("etl.toml", format!("{HASTE}\n[orders]\nlocation = \"{}\"\n{}\n", server.orders(), self.profile));
        work.etl(&["run", "--log-format", "text"])
    }
}

#[test]
fn empty_lists_full_pages_and_short_last_pages_are_read() {
    for kind in KINDS {
        for records in [0, 1, PAGE, PAGE + 1, 5 * PAGE, 5 * PAGE + 1] {
            let server = kind.server(records);
            let work = Workspace::new();
            let summary = kind.run(&work, &server).expect(0, if records == 0 { "unchanged" } else { "published" });
            assert_eq!(summary["records_read"].as_u64(), Some(records as u64), "{} {records}", kind.name);
            assert_eq!(server.asked().len(), (kind.requests)(records), "{} {records}", kind.name);
            if records > 0 {
                assert_eq!(work.query("SELECT count(DISTINCT order_id) FROM fact_order"), [records.to_string()], "{}", kind.name);
            }
        }
    }
}

/// A list that may change before each request: its records, by the number of earlier requests.
fn changing_server(kind: Kind, list_at: impl Fn(usize) -> Vec<String> + Send + Sync + 'static) -> Server {
    Server::start(move |asked: &Asked| {
        let list = list_at(asked.before);
        let start = (kind.start)(asked).min(list.len());
        let page: Vec<_> = list[start..(start + PAGE).min(list.len())].iter().map(|id| order(id, "2026-01-01", "")).collect();
        (kind.answer)(format!("[{}]", page.join(",")), start, list.len())
    })
}

fn ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("O{number}")).collect()
}

fn loaded(work: &Workspace) -> BTreeSet<String> {
    if work.layer().is_empty() { BTreeSet::new() } else { work.query("SELECT DISTINCT order_id FROM fact_order").into_iter().collect() }
}

#[test]
fn a_list_that_grows_at_its_front_loses_no_order_of_its_end() {
    for kind in KINDS.into_iter().filter(|kind| kind.is_by_position) {
        for before in 1..4 {
            let server = changing_server(kind, move |requests| {
                let new = if requests >= before { vec!["NEW".to_owned()] } else { Vec::new() };
                new.into_iter().chain(ids(0..6)).collect()
            });
            let work = Workspace::new();
            kind.run(&work, &server).published();
            let missing: Vec<_> = ids(0..6).into_iter().filter(|id| !loaded(&work).contains(id)).collect();
            assert_eq!(missing, [""; 0], "{} {before}", kind.name);
        }
    }
}

#[test]
fn a_list_that_shrinks_while_it_is_read_loses_no_order_or_is_unproven() {
    for kind in KINDS.into_iter().filter(|kind| kind.is_by_position) {
        for before in 1..4 {
            let server = changing_server(kind, move |requests| ids(usize::from(requests >= before)..7));
            let work = Workspace::new();
            let ended = kind.run(&work, &server);
            let summary = ended.published();
            let missing: Vec<_> = ids(1..7).into_iter().filter(|id| !loaded(&work).contains(id)).collect();
            let counts_nothing = kind.name == "page";
            if counts_nothing {
                assert_eq!(summary["completeness"]["status"], "unproven");
                assert!(ended.stderr.contains("nothing shows that all of the source came"), "{}", ended.stderr);
            } else {
                assert_eq!(missing, [""; 0], "{} {before}", kind.name);
            }
        }
    }
}

#[test]
fn a_page_that_fails_twice_and_then_works_costs_two_requests() {
    for kind in KINDS {
        for broken in [|| status(503), || json("<html>"), || json("[{\"cut\":")] {
            let failures = Arc::new(AtomicUsize::new(0));
            let server = Server::start(move |asked: &Asked| {
                if (kind.start)(asked) == PAGE && failures.fetch_add(1, Ordering::SeqCst) < 2 {
                    return broken();
                }
                kind.reply(asked, 5)
            });
            let work = Workspace::new();
            let summary = kind.run(&work, &server).published();
            assert_eq!((summary["records_read"].as_u64(), summary["source"]["retries"].as_u64()), (Some(5), Some(2)), "{}", kind.name);
            assert_eq!(server.asked().len(), (kind.requests)(5) + 2, "{}", kind.name);
        }
    }
}

#[test]
fn retry_after_of_a_429_is_respected() {
    let seconds: fn() -> String = || "1".into();
    let date: fn() -> String = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    for kind in [KINDS[2], KINDS[5]] {
        for value in [seconds, date] {
            let times = Arc::new(Mutex::new(Vec::new()));
            let seen = times.clone();
            let server = Server::start(move |asked: &Asked| {
                if (kind.start)(asked) == PAGE {
                    let mut seen = seen.lock().unwrap();
                    seen.push(Instant::now());
                    if seen.len() == 1 {
                        return (429, vec![("retry-after", value())], Vec::new());
                    }
                }
                kind.reply(asked, 3)
            });
            assert_eq!(kind.run(&Workspace::new(), &server).published()["records_read"], 3, "{}", kind.name);
            let times = times.lock().unwrap();
            assert!(times[1].duration_since(times[0]) >= Duration::from_millis(900), "{}", kind.name);
        }
    }
}

#[test]
fn a_page_that_is_never_json_ends_the_run_and_nothing_is_published() {
    for kind in KINDS {
        let server = Server::start(move |asked: &Asked| if (kind.start)(asked) == PAGE { json("busy") } else { kind.reply(asked, 5) });
        let work = Workspace::new();
        let ended = kind.run(&work, &server);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("not JSON") && ended.stderr.contains("after 3 attempts"), "{}: {}", kind.name, ended.stderr);
        assert!(work.layer().is_empty(), "{}", kind.name);
    }
}

#[test]
fn a_circle_of_any_length_is_an_error() {
    let circle = |path: &'static [&'static str]| {
        Server::start(move |asked: &Asked| {
            let next = path[asked.before.min(path.len() - 1)];
            json(format!(
                r#"{{"meta":{{"cur":"{next}","more":true}},"list":[{}]}}"#,
                order(&format!("O{}", asked.before), "2026-01-01", "")
            ))
        })
    };
    // Circles of one, two and four pages.
    for (path, requests) in [(&["A", "A"][..], 2), (&["A", "B", "A"], 3), (&["A", "B", "C", "D", "B"], 5)] {
        let server = circle(path);
        let work = Workspace::new();
        let ended = KINDS[2].run(&work, &server);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("leads in a circle"), "{}", ended.stderr);
        assert_eq!(server.asked().len(), requests);
        assert!(work.layer().is_empty());
    }
}

#[test]
fn a_source_that_ignores_the_parameters_of_its_profile_is_an_error() {
    for kind in KINDS.into_iter().filter(|kind| kind.is_by_position) {
        // The bytes differ each time, but pages are compared by ids.
        let server = Server::start(move |asked: &Asked| {
            let fetched = format!(r#","fetched_at":{}"#, asked.before);
            let page: Vec<_> = ids(0..PAGE).iter().map(|id| order(id, "2026-01-01", &fetched)).collect();
            (kind.answer)(format!("[{}]", page.join(",")), 0, 9)
        });
        let work = Workspace::new();
        let ended = kind.run(&work, &server);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("the same records as the one before it"), "{}: {}", kind.name, ended.stderr);
        assert!(server.asked().len() <= 12, "{}: {}", kind.name, server.asked().len());
        assert_eq!(loaded(&work), BTreeSet::new());
    }
}

#[test]
fn page_two_may_show_that_a_source_does_not_paginate() {
    let same = |total: &'static str| {
        Server::start(move |asked: &Asked| {
            let fetched = format!(r#","fetched_at":{}"#, asked.before);
            json(format!(r#"{{{total}"orders":[{}]}}"#, order("O1", "2026-01-01", &fetched)))
        })
    };
    let server = same("");
    let work = Workspace::new();
    let ended = work.etl(&["run", "--orders", &server.orders(), "--log-format", "text"]);
    assert_eq!(ended.published()["completeness"]["status"], "unproven");
    assert!(ended.stderr.contains("does not paginate"), "{}", ended.stderr);
    assert_eq!((server.asked().len(), loaded(&work)), (3, BTreeSet::from(["O1".to_owned()])));
    // The same records in another order are the same page.
    let server = Server::start(|asked: &Asked| {
        let mut page = [order("O1", "2026-01-01", ""), order("O2", "2026-01-01", "")];
        page.rotate_left(asked.before % 2);
        json(format!("[{}]", page.join(",")))
    });
    let work = Workspace::new();
    work.etl(&["run", "--orders", &server.orders()]).published();
    assert_eq!(server.asked().len(), 3);
    for announces_more in [r#""total":2,"#, r#""has_more":true,"#] {
        let server = same(announces_more);
        let work = Workspace::new();
        work.etl(&["run", "--orders", &server.orders()]).expect(3, "extract_failed");
        assert_eq!(loaded(&work), BTreeSet::new(), "{announces_more}");
    }
}

/// Five orders whose number is 0, which counts as missing: their other id tells them apart.
#[test]
fn an_id_that_counts_as_missing_makes_no_two_pages_equal() {
    let server = Server::start(|asked: &Asked| {
        let start = number(asked, "page").saturating_sub(1) * PAGE;
        let page = (start..5).take(PAGE).map(|at| order(&format!("O{at}"), "2026-01-01", r#","number":0"#));
        json(format!(r#"{{"total":5,"orders":[{}]}}"#, page.collect::<Vec<_>>().join(",")))
    });
    let work = Workspace::new();
    let fields = "fields.order_id = { paths = [\"number\", \"order_id\"], missing = [0] }";
    work.write("etl.toml", format!("{HASTE}\n[orders]\nlocation = \"{}\"\n{fields}\n", server.orders()));
    let ended = work.etl(&["run"]);
    assert_eq!(ended.published()["completeness"]["status"], "proven");
    assert_eq!(loaded(&work), (0..5).map(|at| format!("O{at}")).collect());
}

#[test]
fn known_pages_are_requested_concurrently_and_delivered_in_order() {
    let most = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = most.clone();
    // One thread per request, so that the server does not serialise the requests.
    let kind = KINDS[5];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/orders", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen) = (stream.unwrap(), seen.clone());
            std::thread::spawn(move || {
                use std::io::{Read, Write};
                let mut request = [0; 4096];
                while let Ok(read) = stream.read(&mut request) {
                    let text = String::from_utf8_lossy(&request[..read]).into_owned();
                    let Some(page) = text.split("page=").nth(1).and_then(|rest| rest.split(['&', ' ']).next()?.parse::<usize>().ok())
                    else {
                        return;
                    };
                    let running = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
                    seen.1.fetch_max(running, Ordering::SeqCst);
                    // Earlier pages arrive later.
                    std::thread::sleep(Duration::from_millis(if page == 1 { 10 } else { 300 / page as u64 }));
                    seen.0.fetch_sub(1, Ordering::SeqCst);
                    let same = order("SAME", "2026-01-01", &format!(r#","status":"{page}""#));
                    let body = format!("[{same},{}]", order(&format!("P{page}"), "2026-01-01", ""));
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\nX-Pages: 6\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                }
            });
        }
    });
    let work = Workspace::new();
    work.write("etl.toml", format!("{HASTE}\n[orders]\nlocation = \"{url}\"\n{}\n", kind.profile));
    assert_eq!(work.etl(&["run"]).published()["records_read"], 12);
    assert_eq!(most.1.load(Ordering::SeqCst), 3, "as many as the profile says");
    assert_eq!(work.query("SELECT status FROM fact_order WHERE order_id = 'SAME'"), ["6"], "the later page wins, whichever came first");
}

#[test]
fn requests_respect_the_rate_limit_of_the_profile() {
    let server = KINDS[4].server(9);
    let work = Workspace::new();
    work.write(
        "etl.toml",
        format!("{HASTE}\n[orders]\nlocation = \"{}\"\nrequests_per_second = 10.0\n{}\n", server.orders(), KINDS[4].profile),
    );
    let started = Instant::now();
    work.etl(&["run"]).published();
    assert_eq!(server.asked().len(), 6);
    assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
}

#[test]
fn an_oauth_token_is_renewed_before_it_expires_and_after_a_401() {
    // Tokens of 31 seconds are renewed 30 seconds before they expire: after one second. The third page revokes its token.
    for (life, wait, revoke, tokens) in [(3600, 0, false, 1), (3600, 0, true, 2), (31, 1100, false, 2)] {
        let issued = Arc::new(AtomicUsize::new(0));
        let count = issued.clone();
        let revoked = AtomicUsize::new(0);
        let server = Server::start(move |asked: &Asked| {
            if asked.path == "/token" {
                assert_eq!(asked.header("authorization"), Some("Basic aWQtMTpodXNoLTQ3MTE="));
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                return json(format!(r#"{{"access_token":"tok{number}","token_type":"bearer","expires_in":{life}}}"#));
            }
            let token = format!("Bearer tok{}", count.load(Ordering::SeqCst));
            let page = number(asked, "p");
            if revoke && page == 2 && revoked.fetch_add(1, Ordering::SeqCst) == 0 {
                return status(401);
            }
            if asked.header("authorization") != Some(&token) {
                return status(401);
            }
            if page == 1 {
                std::thread::sleep(Duration::from_millis(wait));
            }
            KINDS[4].reply(asked, 7)
        });
        let work = Workspace::new();
        let auth = format!("auth = {{ kind = \"oauth2\", token_url = \"{}/token\", scope = \"orders\" }}", server.url);
        work.write("etl.toml", format!("{HASTE}\n[orders]\nlocation = \"{}\"\n{auth}\n{}\n", server.orders(), KINDS[4].profile));
        let mut command = work.command(&["run", "-vv", "--log-format", "json"]);
        command.envs([("ETL_OAUTH_CLIENT_ID", "id-1"), ("ETL_OAUTH_CLIENT_SECRET", "hush-4711")]);
        let ended = support::ended(command.output().unwrap());
        assert_eq!(ended.published()["records_read"], 7);
        assert_eq!(issued.load(Ordering::SeqCst), tokens, "{life} {revoke}");
        assert!(!ended.stderr.contains("hush") && !ended.stderr.contains("tok1") && !ended.stdout.contains("tok1"));
        // Without the secret no request is sent.
        let before = server.asked().len();
        let ended = work.etl(&["run", "--log-format", "text"]);
        assert_eq!(ended.code, 2);
        assert!(ended.stderr.contains("ETL_OAUTH_CLIENT_ID") && server.asked().len() == before, "{}", ended.stderr);
    }
}

#[test]
fn a_key_in_a_parameter_is_sent_and_never_shown() {
    let server = Server::start(|asked: &Asked| {
        if asked.parameter("appid") == "hush-4711" { json(if asked.before == 0 { list(0..1) } else { "[]".into() }) } else { status(401) }
    });
    let work = Workspace::new();
    work.write(
        "etl.toml",
        format!("{HASTE}\n[orders]\nlocation = \"{}\"\nauth = {{ kind = \"api_key\", parameter = \"appid\" }}\n", server.orders()),
    );
    let mut command = work.command(&["run", "-vv", "--log-format", "json"]);
    command.env("ETL_API_KEY", "hush-4711");
    let ended = support::ended(command.output().unwrap());
    ended.published();
    assert!(!ended.stderr.contains("hush") && !ended.stdout.contains("hush"), "{}", ended.stderr);
    assert!(work.files("").values().all(|content| !String::from_utf8_lossy(content).contains("hush")));
}
