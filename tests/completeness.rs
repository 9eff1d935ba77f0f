//! The layer has all records of the source: responses are judged, lists are read to their ends, and counts are compared. Every
//! test compares the ids of the layer with the ids of the server.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json as value;

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json, order};

const HASTE: &str = "[http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\n";

fn list(numbers: std::ops::Range<usize>) -> String {
    let orders: Vec<_> = numbers.map(|number| order(&format!("O{number}"), "2026-01-01", "")).collect();
    format!("[{}]", orders.join(","))
}

fn ids(count: usize) -> BTreeSet<String> {
    (0..count).map(|number| format!("O{number}")).collect()
}

fn loaded(work: &Workspace) -> BTreeSet<String> {
    if work.layer().is_empty() { BTreeSet::new() } else { work.query("SELECT DISTINCT order_id FROM fact_order").into_iter().collect() }
}

fn run(work: &Workspace, server: &Server, profile: &str, args: &[&str]) -> Ended {
    work.write("etl.toml", format!("{HASTE}\n[orders]\nlocation = \"{}\"\n{profile}\n", server.orders()));
    work.etl(&[&["run", "--log-format", "text"], args].concat())
}

/// A list of three numbered pages of two orders. `second` answers the requests for page 2.
fn with_second_page(second: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |asked: &Asked| match asked.parameter("page") {
        "1" => json(format!(r#"{{"orders":{}}}"#, list(0..2))),
        "2" => second(count.fetch_add(1, Ordering::SeqCst)),
        "3" => json(format!(r#"{{"orders":{}}}"#, list(4..6))),
        _ => json(r#"{"orders":[]}"#),
    })
}

#[test]
fn an_error_in_a_successful_response_is_a_failed_request() {
    for body in [
        r#"{"status":"error","data":null}"#,
        r#"{"data":null,"errors":[{"message":"words of the server"}]}"#,
        r#"{"success":false,"data":[]}"#,
        r#"{"error":{"message":"words of the server"},"orders":[]}"#,
        r#"{"ok":false}"#,
        r#"{"fault":{"faultstring":"quota"}}"#,
        r#"{"code":503,"orders":[]}"#,
        r#"{"meta":{"status":"error"},"orders":[]}"#,
        r#"{"message":"words of the server"}"#,
        r#"{"hasErrors":true,"data":[],"next":null}"#,
        r#"{"state":"error","message":"db down","data":[],"total":0}"#,
        r#"{"code":1001,"message":"rate limited","data":[]}"#,
        r#"{"code":-1,"data":[]}"#,
        r#"{"timed_out":true,"data":[]}"#,
        r#"{"success":null,"data":[]}"#,
        r#"{"result":{"status":"error"},"data":[]}"#,
        r#"{"total":0,"message":"upstream timeout"}"#,
        r#"{"total":0}"#,
    ] {
        // Two errors and then the page: no order is lost.
        let server = with_second_page(move |count| json(if count < 2 { body.into() } else { format!(r#"{{"orders":{}}}"#, list(2..4)) }));
        let work = Workspace::new();
        let summary = run(&work, &server, "", &[]).published();
        assert_eq!((loaded(&work), &summary["source"]["retries"]), (ids(6), &value!(2)), "{body}");
        // Only errors: nothing is published, and the error shows the body.
        let server = with_second_page(move |_| json(body));
        let work = Workspace::new();
        let ended = run(&work, &server, "", &[]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains(body) && ended.stderr.contains("after 3 attempts"), "{body}: {}", ended.stderr);
        assert_eq!(loaded(&work), BTreeSet::new());
    }
}

#[test]
fn a_body_that_reports_success_is_a_page() {
    for head in [
        r#""error":null,"#,
        r#""errors":[],"#,
        r#""success":true,"#,
        r#""status":"ok","code":200,"#,
        r#""error":{"code":0,"message":""},"#,
        r#""data":null,"#,
        r#""data":[],"#,
        r#""code":0,"message":"ok","failed":0,"timed_out":false,"hasErrors":false,"errno":0,"#,
        r#""code":20000,"msg":"success","ack":"Warning","warnings":["the version ends in 2027"],"#,
        r#""message":"no more orders","state":"closed","#,
    ] {
        let server = Server::start(move |asked: &Asked| {
            json(format!(r#"{{{head}"orders":{}}}"#, if asked.before == 0 { list(0..2) } else { "[]".into() }))
        });
        let work = Workspace::new();
        run(&work, &server, "", &[]).published();
        assert_eq!(loaded(&work), ids(2), "{head}");
    }
    let server = Server::start(|_: &Asked| json(r#"{"orders":null,"total":0}"#));
    run(&Workspace::new(), &server, "", &[]).unchanged();
}

#[test]
fn a_total_of_0_beside_orders_is_no_empty_list() {
    for (key, said) in [("entries", "the body has no records"), ("orders", "announces 0 records, but has 20 records")] {
        let server = Server::start(move |_: &Asked| json(format!(r#"{{"total":0,"{key}":{}}}"#, list(0..20))));
        let ended = run(&Workspace::new(), &server, "", &[]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    // A count of something else is not believed where the profile says so.
    let server = Server::start(|_: &Asked| json(format!(r#"{{"total":0,"orders":{}}}"#, list(0..20))));
    let work = Workspace::new();
    run(&work, &server, "pagination = { kind = \"single\", total = \"\" }", &[]).published();
    assert_eq!(loaded(&work), ids(20));
}

#[test]
fn a_failed_request_shows_the_body_without_secrets() {
    let server = Server::start(|_: &Asked| (400, Vec::new(), br#"{"detail":"hush-4711 may not","next":"/o?key=hush-4711"}"#.to_vec()));
    let work = Workspace::new();
    work.write("etl.toml", format!("{HASTE}\n[orders]\nlocation = \"{}\"\n", server.orders()));
    let mut command = work.command(&["run", "--log-format", "json"]);
    command.env("ETL_API_TOKEN", "hush-4711");
    let ended = support::ended(command.output().unwrap());
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("the server answered 400") && ended.stderr.contains("*** may not"), "{}", ended.stderr);
    let kept = work.files("").into_values().map(|content| String::from_utf8_lossy(&content).into_owned());
    assert!(!kept.chain([ended.stdout, ended.stderr]).any(|text| text.contains("hush")));
}

#[test]
fn one_order_may_be_the_whole_body() {
    for body in [
        r#"{"order_id":"O0","created_at":"2026-01-01","status":"failed","items":[{"sku":"S","price":1}]}"#,
        r#"{"items":[{"sku":"S","id":"L","created_at":"2026-01-01"}],"id":"O0","date":"2026-01-01T00:00:00Z"}"#,
    ] {
        let server = Server::start(move |_: &Asked| json(body));
        let work = Workspace::new();
        run(&work, &server, "", &[]).published();
        assert_eq!(loaded(&work), ids(1), "{body}");
        work.write("one.json", body);
        work.write("pretty.json", serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(body).unwrap()).unwrap());
        for file in ["one.json", "pretty.json"] {
            work.etl(&["run", "--orders", file]).unchanged();
        }
    }
}

#[test]
fn a_page_with_an_id_and_a_time_of_its_own_is_no_order() {
    let first = |fields: &str| format!(r#"{{"order_id":"DRAFT"{fields}}}"#);
    let orders = |first: String| format!("[{first},{}", list(0..5).trim_start_matches('['));
    for first in [
        first(r#","created_at":"2026-01-01","items":null"#),
        first(r#","created_at":"2026-01-01""#),
        first(r#","items":[{"sku":"S","price":1}]"#),
        first(""),
    ] {
        let body = format!(r#"{{"id":"export-2026-01","date":"2026-01-06T00:00:00Z","items":{}}}"#, orders(first));
        let server = Server::start({
            let body = body.clone();
            move |_: &Asked| json(body.clone())
        });
        let work = Workspace::new();
        let summary = run(&work, &server, "pagination = { kind = \"single\" }", &[]).published();
        assert_eq!((loaded(&work), &summary["records_dropped_count"]), (ids(5), &value!(1)), "{body}");
        let work = Workspace::new();
        work.write("page.json", &body);
        work.etl(&["run", "--orders", "page.json"]).published();
        assert_eq!(loaded(&work), ids(5), "{body}");
    }
}

#[test]
fn a_signal_with_a_next_page_wins_over_one_without() {
    // The numbers of pages are followed as well, and prove nothing.
    let by_position = [r#""pagination":{"next_page":2},"#, r#""has_more":true,"#];
    for signals in [
        r#""next":null,"next_cursor":"abc","#,
        r#""next":null,"links":{"next":"/orders?cursor=abc"},"#,
        r#""links":{"next":null},"next_page_token":"abc","#,
        r#""_links":{"next":{"href":"?cursor=abc"}},"#,
        r#""next":{"href":"/orders?cursor=abc"},"#,
        r#""paging":{"next":"/orders?cursor=abc"},"#,
        r#""meta":{"next_cursor":"abc"},"#,
        r#""meta":{"next":"/orders?cursor=abc"},"#,
        r#""pagination":{"next_cursor":12345678901234567890123},"#,
        r#""links":[{"rel":"next","href":"/orders?cursor=abc"}],"#,
        r#""has_more":false,"next_cursor":"abc","#,
        r#""pagination":{"next_page":2},"#,
        r#""has_more":true,"#,
    ] {
        let server = Server::start(move |asked: &Asked| {
            let is_second = ["abc", "12345678901234567890123"].contains(&asked.parameter("cursor")) || asked.parameter("page") == "2";
            // The last page says that it is the last.
            if is_second {
                json(format!(r#"{{"next":null,"orders":{}}}"#, list(2..3)))
            } else {
                json(format!(r#"{{{signals}"orders":{}}}"#, list(0..2)))
            }
        });
        let work = Workspace::new();
        let completeness = run(&work, &server, "", &[]).published()["completeness"].clone();
        assert_eq!(loaded(&work), ids(3), "{signals}");
        let expected =
            if by_position.contains(&signals) { (value!("unproven"), value!(null)) } else { (value!("proven"), value!("cursor")) };
        assert_eq!((&completeness["status"], &completeness["by"]), (&expected.0, &expected.1), "{signals}");
    }
}

#[test]
fn a_link_header_of_any_form_is_followed() {
    for link in [
        r#"<?page=2>; rel="next""#,
        "<?page=2>; rel='next'",
        r#"<?page=9>; rel="last"; title="<a>; b, rel=\"next\"", <?page=2>; REL=next"#,
        r#"<?page=1>; rel="first", <?page=2>; rel="next prefetch""#,
    ] {
        let server = Server::start(move |asked: &Asked| {
            let mut reply = json(if asked.parameter("page") == "2" { list(2..3) } else { list(0..2) });
            reply.1.push(("link", if asked.parameter("page") == "2" { "<?page=1>; rel=\"first\"".into() } else { link.to_owned() }));
            reply
        });
        let work = Workspace::new();
        run(&work, &server, "", &[]).published();
        assert_eq!(loaded(&work), ids(3), "{link}");
    }
    let server = Server::start(|asked: &Asked| {
        let next = if asked.before == 0 { r#""/orders?page=2""# } else { "null" };
        let mut reply = json(format!(r#"{{"next_url":{next},"orders":{}}}"#, list(2 * asked.before..2 * asked.before + 2)));
        reply.1.push(("link", "<?page=1>; rel=\"first\"".into()));
        reply
    });
    let work = Workspace::new();
    run(&work, &server, "", &[]).published();
    assert_eq!(loaded(&work), ids(4));
}

#[test]
fn a_relative_link_is_resolved_against_the_url_of_the_response() {
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/orders" => (302, vec![("location", "/v2/shop/orders".into())], Vec::new()),
        "/v2/shop/orders" => json(format!(r#"{{"next":"more?x=1","orders":{}}}"#, list(0..2))),
        "/v2/shop/more" => json(format!(r#"{{"next":null,"orders":{}}}"#, list(2..3))),
        other => panic!("{other}"),
    });
    let work = Workspace::new();
    run(&work, &server, "", &[]).published();
    assert_eq!(loaded(&work), ids(3));
}

#[test]
fn more_records_without_a_next_page_are_an_error() {
    for (profile, body) in [
        ("", r#"{"next":"opaque-token","orders":LIST}"#),
        ("", r#"{"has_more":true,"orders":[]}"#),
        ("pagination.kind = \"single\"", r#"{"has_more":true,"orders":LIST}"#),
        ("pagination.kind = \"single\"", r#"{"next":"/orders?page=2","orders":LIST}"#),
        ("pagination.kind = \"link\"", r#"{"hasMore":true,"orders":LIST}"#),
        ("pagination = { kind = \"cursor\", path = \"cur\" }", r#"{"has_more":true,"orders":LIST}"#),
        ("pagination = { kind = \"page\" }", r#"{"has_more":true,"orders":[]}"#),
    ] {
        let server = Server::start(move |_: &Asked| json(body.replace("LIST", &list(0..2))));
        let work = Workspace::new();
        let ended = run(&work, &server, profile, &[]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("can't find the next page"), "{profile} {body}: {}", ended.stderr);
        assert_eq!(loaded(&work), BTreeSet::new(), "{body}");
    }
}

/// A list like that of Medusa: by offset, with a total.
fn by_offset(count: usize, claimed: usize) -> Server {
    Server::start(move |asked: &Asked| {
        let offset: usize = asked.parameter("offset").parse().unwrap_or(0);
        let page = list(offset.min(count)..(offset + 4).min(count));
        json(format!(r#"{{"orders":{page},"count":{claimed},"offset":{offset},"limit":4}}"#))
    })
}

#[test]
fn a_body_with_a_larger_total_is_continued_by_offset_or_is_an_error() {
    let server = by_offset(11, 11);
    let work = Workspace::new();
    let completeness = run(&work, &server, "", &[]).published()["completeness"].clone();
    assert_eq!(loaded(&work), ids(11));
    assert_eq!(
        (&completeness["status"], &completeness["by"], &completeness["claimed"]),
        (&value!("proven"), &value!("total"), &value!(11))
    );
    for total in ["total", "totalItems", "total_count", "count"] {
        let server = Server::start(move |_: &Asked| json(format!(r#"{{"orders":{},"{total}":305}}"#, list(0..15))));
        let work = Workspace::new();
        run(&work, &server, "", &[]).expect(3, "extract_failed");
        assert_eq!(loaded(&work), BTreeSet::new(), "{total}");
    }
}

/// A list of `count` orders that claims to have `claimed`.
fn claiming(count: usize, claimed: usize, how: &'static str) -> Server {
    Server::start(move |asked: &Asked| {
        if asked.path == "/count" {
            return json(format!(r#"{{"n":{claimed}}}"#));
        }
        let start = (asked.parameter("page").parse::<usize>().unwrap_or(1) - 1) * 2;
        let page = list(start.min(count)..(start + 2).min(count));
        let mut reply = json(if how == "body" { format!(r#"{{"orders":{page},"meta":{{"total":{claimed}}}}}"#) } else { page });
        match how {
            "x-wp-total" | "x-total-count" => reply.1.push((how, claimed.to_string())),
            "content-range" => reply.1.push((how, format!("orders {start}-{}/{claimed}", start + 1))),
            _ => {}
        }
        reply
    })
}

#[test]
fn fewer_than_claimed_is_read_again_and_then_refused_unless_allowed() {
    for how in ["body", "x-wp-total", "x-total-count", "content-range", "count"] {
        let profile = if how == "count" { "count = { path = \"/count\", value = \"n\" }" } else { "" };
        let by = if how == "count" { "count" } else { "total" };
        let work = Workspace::new();
        let complete = run(&work, &claiming(5, 5, how), profile, &[]).published()["completeness"].clone();
        assert_eq!(
            [&complete["status"], &complete["by"], &complete["claimed"], &complete["read"], &complete["distinct"]],
            [&value!("proven"), &value!(by), &value!(5), &value!(5), &value!(5)],
            "{how}"
        );
        let work = Workspace::new();
        let server = claiming(5, 7, how);
        let ended = run(&work, &server, profile, &[]);
        let failed = ended.expect(3, "extract_failed")["completeness"].clone();
        assert_eq!((&failed["status"], &failed["claimed"], &failed["distinct"]), (&value!("failed"), &value!(7), &value!(5)), "{how}");
        assert!(ended.stderr.contains("claims 7 records and sent 5 different ones"), "{how}: {}", ended.stderr);
        assert_eq!(server.asked().iter().filter(|asked| asked.parameter("page") == "1").count(), 2, "{how}: read once more");
        assert_eq!(loaded(&work), BTreeSet::new());
        // If it is allowed, the run publishes and alerts, but adds nothing to coverage.
        let allowed = run(&work, &server, profile, &["--allow-incomplete", "--since", "2025-01-01"]).published();
        assert_eq!((loaded(&work), &allowed["alerts"][0]["kind"]), (ids(5), &value!("incomplete")), "{how}");
        let next = run(&work, &claiming(5, 5, how), profile, &["--since", "last"]).unchanged();
        assert_eq!((&next["since"], &next["alerts"]), (&value!(null), &value!([])), "{how}");
    }
}

#[test]
fn null_in_place_of_a_page_is_an_error_if_the_total_is_larger() {
    for body in ["null", "{\"orders\":null}"] {
        let server = Server::start(move |asked: &Asked| {
            let mut reply = json(match asked.parameter("page") {
                "1" => list(0..3),
                "2" => body.to_owned(),
                _ => list(6..9),
            });
            reply.1.push(("x-wp-total", "9".to_owned()));
            reply
        });
        let work = Workspace::new();
        let ended = run(&work, &server, "", &[]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("null in place of records"), "{body}: {}", ended.stderr);
        assert_eq!(loaded(&work), BTreeSet::new());
    }
}

#[test]
fn a_list_that_is_complete_at_the_second_reading_is_published() {
    let server = {
        let readings = Arc::new(AtomicUsize::new(0));
        Server::start(move |asked: &Asked| {
            let Ok(page) = asked.parameter("page").parse::<usize>() else { return json(r#"{"total":4,"orders":[]}"#) };
            let reading = if page == 1 { readings.fetch_add(1, Ordering::SeqCst) + 1 } else { readings.load(Ordering::SeqCst) };
            // At the first reading, the second page lacks one order.
            let (start, end) = [(0, 2), (2, if reading == 1 { 3 } else { 4 }), (4, 4)][(page - 1).min(2)];
            json(format!(r#"{{"total":4,"orders":{}}}"#, list(start..end)))
        })
    };
    let work = Workspace::new();
    let summary = run(&work, &server, "", &[]).published();
    assert_eq!((loaded(&work), &summary["completeness"]["status"]), (ids(4), &value!("proven")));
}

#[test]
fn users_and_products_are_certified_too() {
    let server = Server::start(|asked: &Asked| match (asked.path.as_str(), asked.parameter("page")) {
        ("/users", "1") => json(r#"{"total":3,"data":[{"id":"U1"},{"id":"U2"}]}"#),
        ("/users", _) => json(r#"{"total":3,"data":[]}"#),
        _ => json(if asked.parameter("page") == "1" { list(0..1) } else { "[]".into() }),
    });
    let work = Workspace::new();
    work.write("etl.toml", HASTE);
    let args = ["run", "--orders", &server.orders(), "--users", &format!("{}/users", server.url)];
    let ended = work.etl(&args);
    let users = ended.expect(3, "extract_failed")["completeness"]["users"].clone();
    assert_eq!((&users["status"], &users["claimed"], &users["distinct"]), (&value!("failed"), &value!(3), &value!(2)));
    assert!(work.layer().is_empty());
    let allowed = work.etl(&[&args[..], &["--allow-incomplete"]].concat()).published();
    assert_eq!(allowed["alerts"][0]["kind"], "incomplete");
    // It is not part of coverage, even if coverage is rebuilt from the reports.
    for _ in 0..2 {
        let plan = work.etl(&["plan", "--orders", &server.orders(), "--json"]).summary();
        assert_eq!(plan["covered"], value!([]));
        let _ = std::fs::remove_dir_all(work.path("output/state"));
    }
}

#[test]
fn completeness_is_shown_by_status_text_metrics_and_probe() {
    let server = claiming(5, 5, "body");
    let work = Workspace::new();
    let text = run(&work, &server, "", &["--format", "text", "--metrics-file", "etl.prom"]).stdout;
    assert!(text.contains("proven: the responses announce 5 records, and all came"), "{text}");
    assert!(work.read("etl.prom").contains("etl_completeness{source=\"orders\",status=\"proven\"} 1\n"), "{}", work.read("etl.prom"));
    assert!(work.read("etl.prom").contains("etl_records_claimed{source=\"orders\"} 5\n"));
    let status = work.etl(&["status", "--json"]).summary();
    assert_eq!((&status["completeness"]["status"], &status["completeness"]["by"]), (&value!("proven"), &value!("total")));
    let probe = work.etl(&["probe", "--json"]).summary();
    assert_eq!(probe["completeness"], "can be proven: the response counts 5 records");
}

#[test]
fn pages_numbered_from_zero_lose_no_order() {
    let pages = |asked: &Asked| asked.parameter("page").parse::<usize>().unwrap_or(0);
    // The response names a page before page 1, or page 1 is empty.
    for (count, page_size, named) in [(6, 2, "prev"), (6, 2, "link"), (6, 2, "has_more"), (6, 2, "next_page"), (2, 10, "nothing")] {
        let server = Server::start(move |asked: &Asked| {
            let (page, last) = (pages(asked), count / page_size);
            let records = list((page * page_size).min(count)..((page + 1) * page_size).min(count));
            let previous = if page > 0 && named == "prev" { format!("\"/orders?page={}\"", page - 1) } else { "null".to_owned() };
            let next = if page < last && named != "nothing" { format!("\"/orders?page={}\"", page + 1) } else { "null".to_owned() };
            match named {
                "has_more" => return json(format!(r#"{{"has_more":{},"orders":{records}}}"#, page < last)),
                "next_page" => {
                    let next = if page < last { (page + 1).to_string() } else { "null".to_owned() };
                    return json(format!(r#"{{"next_page":{next},"orders":{records}}}"#));
                }
                _ => {}
            }
            let mut reply = json(format!(r#"{{"previous":{previous},"next":{next},"orders":{records}}}"#));
            if named == "link" && page > 0 {
                reply.1.push(("link", format!("<?page={}>; rel=\"prev\", <?page={}>; rel=\"next\"", page - 1, page + 1)));
                reply.2 = records.into_bytes();
                if page >= last {
                    reply.1[1].1 = format!("<?page={}>; rel=\"prev\"", page - 1);
                }
            }
            reply
        });
        let work = Workspace::new();
        run(&work, &server, "", &[]).published();
        assert_eq!(loaded(&work), ids(count), "{named}");
    }
}

#[test]
fn a_count_of_one_page_proves_nothing() {
    let server = Server::start(|asked: &Asked| {
        let offset: usize = asked.parameter("offset").parse().unwrap_or(0);
        let (start, end) = (offset.min(11), (offset + 4).min(11));
        json(format!(r#"{{"orders":{},"count":{},"offset":{offset},"limit":4}}"#, list(start..end), end - start))
    });
    let work = Workspace::new();
    let summary = run(&work, &server, "", &[]).published();
    assert_eq!((loaded(&work), &summary["completeness"]["status"]), (ids(11), &value!("unproven")));
}

#[test]
fn a_page_with_records_that_are_not_read_proves_nothing() {
    for named in [r#""orders":[{"order_id":"X"}]"#, r#""orders":{"7":{"order_id":"X","created_at":"2026-01-01"}}"#] {
        let server = Server::start(move |_: &Asked| json(format!(r#"{{"data":{},{named},"next":null,"total":2}}"#, list(0..2))));
        let work = Workspace::new();
        let summary = run(&work, &server, "", &[]).published();
        let why = "the body has records under `orders` too, which are not read";
        assert_eq!((loaded(&work), &summary["completeness"]["status"]), (ids(2), &value!("unproven")), "{named}");
        assert_eq!(summary["completeness"]["why"], why, "{named}");
        let chosen = run(&work, &server, "records = \"data\"", &[]).unchanged();
        assert_eq!(chosen["completeness"]["status"], "proven", "{named}");
    }
}

#[test]
fn a_page_past_the_end_may_fail_if_all_counted_records_were_received() {
    for code in [400, 404] {
        let server = Server::start(move |asked: &Asked| match asked.parameter("page") {
            "1" => json(format!(r#"{{"total":3,"orders":{}}}"#, list(0..3))),
            _ => (code, Vec::new(), b"Invalid page.".to_vec()),
        });
        let work = Workspace::new();
        let summary = run(&work, &server, "", &[]).published();
        assert_eq!((loaded(&work), &summary["completeness"]["status"]), (ids(3), &value!("proven")));
    }
}

#[test]
fn a_profile_with_the_wrong_place_is_an_error_or_unproven() {
    for (profile, body, code) in [
        ("pagination = { kind = \"cursor\", path = \"meta.nxt\" }", r#"{"meta":{"next_cursor":"abc"},"orders":LIST}"#, 3),
        ("pagination.kind = \"link\"", r#"{"next":"/orders?page=2","orders":LIST}"#, 3),
        ("pagination = { kind = \"cursor\", path = \"meta.nxt\" }", r#"{"orders":LIST}"#, 0),
    ] {
        let server = Server::start(move |_: &Asked| json(body.replace("LIST", &list(0..2))));
        let ended = run(&Workspace::new(), &server, profile, &[]);
        assert_eq!(ended.code, code, "{body}: {}", ended.stderr);
        if code == 0 {
            assert_eq!(ended.published()["completeness"]["status"], "unproven", "{body}");
        }
    }
}

#[test]
fn a_list_that_never_ends_is_an_error() {
    let server = Server::start(|asked: &Asked| json(format!(r#"{{"orders":[],"next_cursor":"c{}"}}"#, asked.before)));
    let ended = run(&Workspace::new(), &server, "", &[]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("brought no new record") && server.asked().len() < 300, "{}", ended.stderr);
}

#[test]
fn an_order_added_during_the_count_does_not_make_the_list_unproven() {
    let server = Server::start(|asked: &Asked| {
        let held = if asked.before < 2 { 3 } else { 4 };
        match asked.path.as_str() {
            "/count" => json(format!(r#"{{"n":{held}}}"#)),
            _ if asked.parameter("page") == "1" => json(list(0..2)),
            _ if asked.parameter("page") == "2" => json(list(2..held)),
            _ => json("[]"),
        }
    });
    let work = Workspace::new();
    let summary = run(&work, &server, "count = { path = \"/count\", value = \"n\" }", &[]).published();
    assert_eq!((loaded(&work), &summary["completeness"]["status"]), (ids(4), &value!("proven")));
}

#[test]
fn a_cursor_that_is_neither_a_text_nor_a_number_does_not_end_the_list() {
    let kinds = [
        ("pagination = { kind = \"cursor\", path = \"at.next_token\", parameter = \"start\" }", "at"),
        ("pagination = { kind = \"next_url\", path = \"at.next_token\" }", "at"),
        ("", "meta"),
    ];
    for (profile, place) in kinds {
        for value in [r#"{"n":2}"#, r#"["O1"]"#, r#"["/orders?page=2","/orders?page=3"]"#, "true"] {
            let server = Server::start(move |_: &Asked| json(format!(r#"{{"{place}":{{"next_token":{value}}},"orders":{}}}"#, list(0..2))));
            let work = Workspace::new();
            let ended = run(&work, &server, profile, &[]);
            ended.expect(3, "extract_failed");
            assert!(ended.stderr.contains("can't find the next page"), "{profile} {value}: {}", ended.stderr);
            assert_eq!(loaded(&work), BTreeSet::new());
        }
        for value in ["null", "false", "{}", "[]", r#""""#] {
            let server = Server::start(move |_: &Asked| json(format!(r#"{{"{place}":{{"next_token":{value}}},"orders":{}}}"#, list(0..2))));
            let work = Workspace::new();
            let summary = run(&work, &server, profile, &[]).published();
            assert_eq!((loaded(&work), &summary["completeness"]["by"]), (ids(2), &value!("cursor")), "{profile} {value}");
        }
    }
}

/// A list on pages of two orders that are numbered from 0. A request without a number gets the first.
fn from_zero(count: usize, style: &'static str) -> Server {
    Server::start(move |asked: &Asked| {
        let page: usize = asked.parameter("page").parse().unwrap_or(0);
        let records = list((page * 2).min(count)..(page * 2 + 2).min(count));
        let next = (page * 2 + 2 < count).then(|| format!("/orders?page={}", page + 1));
        let named = next.as_ref().map_or("null".to_owned(), |next| format!("\"{next}\""));
        let mut reply = json(match (style, &next) {
            ("next", _) => format!(r#"{{"next":{named},"orders":{records}}}"#),
            ("hal", Some(next)) => format!(r#"{{"_links":{{"self":{{"href":"/o"}},"next":{{"href":"{next}"}}}},"orders":{records}}}"#),
            ("hal", None) => format!(r#"{{"_links":{{"self":{{"href":"/o"}}}},"orders":{records}}}"#),
            ("pages", _) => format!(r#"{{"page":{page},"total_pages":{},"orders":{records}}}"#, count.div_ceil(2)),
            _ => records,
        });
        if let ("link", Some(next)) = (style, &next) {
            reply.1.push(("link", format!("<{next}>; rel=\"next\"")));
        }
        reply
    })
}

#[test]
fn page_zero_is_read_where_no_response_names_it() {
    // In the last case, page 1 alone says that the list ends with it.
    for (count, style) in [(8, "next"), (8, "hal"), (8, "link"), (8, "pages"), (8, "nothing"), (4, "next")] {
        let work = Workspace::new();
        let summary = run(&work, &from_zero(count, style), "", &[]).published();
        assert_eq!((loaded(&work), &summary["completeness"]["status"]), (ids(count), &value!("unproven")), "{style}");
    }
    // Users are read likewise.
    let users = Server::start(|asked: &Asked| {
        let page: usize = asked.parameter("page").parse().unwrap_or(0);
        let next = if page < 2 { format!("\"/users?page={}\"", page + 1) } else { "null".to_owned() };
        json(format!(r#"{{"next":{next},"data":[{{"id":"U{page}"}}]}}"#))
    });
    let work = Workspace::new();
    work.write("orders.json", list(0..1));
    work.etl(&["run", "--orders", "orders.json", "--users", &format!("{}/users", users.url)]).published();
    assert_eq!(work.query("SELECT user_id FROM dim_user ORDER BY 1"), ["U0", "U1", "U2"]);
}

#[test]
fn page_zero_is_not_requested_where_the_list_begins_with_page_one() {
    for style in ["previous", "link", "total"] {
        let server = Server::start(move |asked: &Asked| {
            let page: usize = asked.parameter("page").parse().unwrap_or(1);
            let records = list((page - 1) * 2..page * 2);
            let url = |page: usize| format!("/orders?page={page}");
            let next = if page < 3 { format!("\"{}\"", url(page + 1)) } else { "null".to_owned() };
            let previous = if page > 1 { format!("\"{}\"", url(page - 1)) } else { "null".to_owned() };
            let mut reply = json(match style {
                "previous" => format!(r#"{{"previous":{previous},"next":{next},"orders":{records}}}"#),
                "total" => format!(r#"{{"total":6,"next":{next},"orders":{records}}}"#),
                _ => records,
            });
            if style == "link" {
                let link = if page < 3 { format!("<{}>; rel=\"next\"", url(page + 1)) } else { format!("<{}>; rel=\"first\"", url(1)) };
                reply.1.push(("link", link));
            }
            reply
        });
        let work = Workspace::new();
        run(&work, &server, "", &[]).published();
        let asked: Vec<_> = server.asked().iter().map(|asked| asked.parameter("page").to_owned()).collect();
        assert_eq!((loaded(&work), asked), (ids(6), ["1", "2", "3"].map(str::to_owned).to_vec()), "{style}");
    }
}

#[test]
fn page_zero_is_requested_by_its_own_url_and_a_failure_is_no_end() {
    /// Pages from 0 of two orders each. Two statuses: that of a request without a number, and that of one for page 0;
    /// 200 is the page.
    fn server(names: &'static str, without_number: u16, zero: u16) -> Server {
        Server::start(move |asked: &Asked| {
            let (page, code) = match asked.parameter("page") {
                "" => (0, without_number),
                "0" => (0, zero),
                page => (page.parse::<usize>().unwrap(), 200),
            };
            if code != 200 {
                return support::status(code);
            }
            let records = list((page * 2).min(6)..(page * 2 + 2).min(6));
            let next = if page < 2 { format!("\"/orders?page={}\"", page + 1) } else { "null".to_owned() };
            json(match names {
                "previous" if page > 0 => {
                    format!(r#"{{"previous":"/orders?page={}","next":{next},"orders":{records}}}"#, page - 1)
                }
                "has_more" => format!(r#"{{"has_more":{},"orders":{records}}}"#, page < 2),
                _ => format!(r#"{{"next":{next},"orders":{records}}}"#),
            })
        })
    }
    // The URL that page 1 names is followed, whatever a request without a number is answered with, and by a profile too.
    let work = Workspace::new();
    run(&work, &server("previous", 503, 200), "pagination = { kind = \"page\" }", &[]).published();
    assert_eq!(loaded(&work), ids(6));
    for (names, without_number, zero) in
        [("previous", 503, 200), ("previous", 400, 200), ("has_more", 200, 503), ("has_more", 400, 200), ("next", 422, 200)]
    {
        let work = Workspace::new();
        run(&work, &server(names, without_number, zero), "", &[]).published();
        assert_eq!(loaded(&work), ids(6), "{names} {without_number} {zero}");
    }
    for (names, without_number, zero) in
        [("previous", 200, 503), ("previous", 200, 404), ("has_more", 503, 200), ("next", 503, 200), ("next", 400, 503)]
    {
        let work = Workspace::new();
        let ended = run(&work, &server(names, without_number, zero), "", &[]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains("the server answered"), "{names} {without_number} {zero}: {}", ended.stderr);
        assert_eq!(loaded(&work), BTreeSet::new());
    }
    // A source that requires the number and has no page 0 begins with page 1.
    let work = Workspace::new();
    run(&work, &server("has_more", 400, 404), "", &[]).published();
    assert_eq!(loaded(&work).len(), 4);
    let work = Workspace::new();
    run(&work, &server("has_more", 405, 403), "", &[]).published();
    assert_eq!(loaded(&work).len(), 4);
}

#[test]
fn a_total_that_the_same_response_contradicts_does_not_end_the_list() {
    for kind in ["page", "offset"] {
        for style in ["pages", "next", "link", "has_more", "less"] {
            let server = Server::start(move |asked: &Asked| {
                let number = |name: &str| asked.parameter(name).parse::<usize>();
                let start = if kind == "page" { (number("page").unwrap() - 1) * 3 } else { number("offset").unwrap() };
                let (start, end) = (start.min(12), (start + 3).min(12));
                let (records, count, has_more) = (list(start..end), end - start, end < 12);
                let next = if has_more { format!("\"/orders?{kind}=9\"") } else { "null".to_owned() };
                let mut reply = json(match style {
                    // `total` counts the records of the page.
                    "pages" => format!(r#"{{"total":{count},"pages":4,"orders":{records}}}"#),
                    "next" => format!(r#"{{"total":{count},"next":{next},"orders":{records}}}"#),
                    "has_more" => format!(r#"{{"total":{count},"has_more":{has_more},"orders":{records}}}"#),
                    "link" => format!(r#"{{"total":{count},"orders":{records}}}"#),
                    // It counts fewer than the page has.
                    _ => format!(r#"{{"total":1,"orders":{records}}}"#),
                });
                if style == "link" && has_more {
                    reply.1.push(("link", format!("</orders?{kind}=9>; rel=\"next\"")));
                }
                reply
            });
            let work = Workspace::new();
            let profile = format!("pagination = {{ kind = \"{kind}\", total = \"total\" }}");
            let summary = run(&work, &server, &profile, &[]).published();
            assert_eq!((loaded(&work), &summary["completeness"]["status"]), (ids(12), &value!("unproven")), "{kind} {style}");
        }
    }
    // By default, too: the total of a list that is capped at 4.
    let server = Server::start(|asked: &Asked| {
        let page: usize = asked.parameter("page").parse().unwrap_or(1);
        json(format!(r#"{{"total":4,"total_pages":3,"orders":{}}}"#, list((page * 2 - 2).min(6)..(page * 2).min(6))))
    });
    let work = Workspace::new();
    let summary = run(&work, &server, "", &[]).published();
    assert_eq!((loaded(&work), &summary["completeness"]["status"]), (ids(6), &value!("unproven")));
    // A number of pages that is that of smaller pages costs one request.
    let server = Server::start(|asked: &Asked| {
        let orders = if asked.parameter("page") == "1" { list(0..6) } else { "[]".to_owned() };
        json(format!(r#"{{"total":6,"pages":3,"orders":{orders}}}"#))
    });
    let work = Workspace::new();
    let summary = run(&work, &server, "pagination = { kind = \"page\" }", &[]).published();
    assert_eq!((loaded(&work), &summary["completeness"]["status"], server.asked().len()), (ids(6), &value!("proven"), 2));
}

/// A list of six orders whose first one goes once page 1 was read. It is paged by the URL or the cursor that `next`
/// makes of the number of the next page.
fn shrinking(counts: bool, next: fn(usize) -> String) -> Server {
    let gone = AtomicUsize::new(0);
    Server::start(move |asked: &Asked| {
        let first = gone.load(Ordering::SeqCst);
        let number =
            [asked.parameter("page"), asked.parameter("cursor")].into_iter().filter_map(|page| page.parse::<usize>().ok()).next_back();
        let page = number.unwrap_or(1);
        let (start, end) = ((first + page * 2 - 2).min(6), (first + page * 2).min(6));
        let next = if end < 6 { next(page + 1) } else { next(0) };
        let count = if counts { format!(r#""count":{},"#, 6 - first) } else { String::new() };
        gone.store(1, Ordering::SeqCst);
        json(format!(r#"{{{count}{next},"previous":null,"results":{}}}"#, list(start..end)))
    })
}

fn next_by_number(page: usize) -> String {
    if page == 0 { r#""next":null"#.to_owned() } else { format!(r#""next":"/orders?page={page}""#) }
}

#[test]
fn next_links_with_page_numbers_prove_nothing_without_a_total() {
    let work = Workspace::new();
    let ended = run(&work, &shrinking(false, next_by_number), "", &[]);
    let completeness = ended.published()["completeness"].clone();
    assert!(!loaded(&work).contains("O2"), "page 2 began with the order behind it");
    assert_eq!((&completeness["status"], &completeness["by"]), (&value!("unproven"), &value!(null)));
    assert!(completeness["why"].as_str().unwrap().contains("its pages are numbered"), "{completeness}");
    // So it is where a header or a place in the profile has the link, or a flag says that numbered pages end.
    for (profile, style) in [
        ("pagination = { kind = \"next_url\", path = \"following\" }", "body"),
        ("pagination = { kind = \"link\" }", "link"),
        ("pagination = { kind = \"cursor\", path = \"following\", parameter = \"offset\" }", "offset"),
        ("", "has_more"),
    ] {
        let server = Server::start(move |asked: &Asked| {
            let page: usize = asked.parameter(if style == "offset" { "offset" } else { "page" }).parse().unwrap_or(1);
            let following = match (page < 3, style) {
                (false, _) => "null".to_owned(),
                (true, "offset") => (page + 1).to_string(),
                (true, _) => format!("\"/orders?page={}\"", page + 1),
            };
            let orders = list(page * 2 - 2..page * 2);
            let mut reply = json(match style {
                "has_more" => format!(r#"{{"has_more":{},"orders":{orders}}}"#, page < 3),
                "link" => format!(r#"{{"orders":{orders}}}"#),
                _ => format!(r#"{{"following":{following},"orders":{orders}}}"#),
            });
            if style == "link" {
                let link = if page < 3 { format!("<?page={}>; rel=\"next\"", page + 1) } else { "<?page=1>; rel=\"first\"".to_owned() };
                reply.1.push(("link", link));
            }
            reply
        });
        let work = Workspace::new();
        let summary = run(&work, &server, profile, &[]).published();
        assert_eq!((loaded(&work), &summary["completeness"]["status"]), (ids(6), &value!("unproven")), "{style}");
    }
    // One page is the whole list, and a cursor skips no record.
    let single = Server::start(|_: &Asked| json(format!(r#"{{"previous":null,"next":null,"orders":{}}}"#, list(0..2))));
    let by_cursor = Server::start(|asked: &Asked| match asked.parameter("cursor") {
        "" => json(format!(r#"{{"next":"/orders?cursor=abc","orders":{}}}"#, list(0..1))),
        _ => json(format!(r#"{{"next":null,"orders":{}}}"#, list(1..2))),
    });
    for server in [single, by_cursor] {
        let work = Workspace::new();
        let completeness = run(&work, &server, "", &[]).published()["completeness"].clone();
        assert_eq!((loaded(&work), &completeness["by"]), (ids(2), &value!("cursor")));
    }
}

#[test]
fn a_list_that_loses_a_record_is_read_twice_before_it_fails() {
    fn next_by_cursor(page: usize) -> String {
        if page == 0 { r#""next_cursor":null"#.to_owned() } else { format!(r#""next_cursor":"{page}""#) }
    }
    let ways: [fn(usize) -> String; 2] = [next_by_number, next_by_cursor];
    for next in ways {
        let server = shrinking(true, next);
        let work = Workspace::new();
        let summary = run(&work, &server, "", &[]).published();
        let firsts = server.asked().iter().filter(|asked| asked.parameter("page") == "1").count();
        assert_eq!((&summary["completeness"]["status"], firsts), (&value!("proven"), 2), "{summary}");
        assert_eq!(loaded(&work), ids(6), "O0 was there when page 1 was read");
    }
}

#[test]
fn a_page_without_a_list_that_was_requested_ahead_is_retried() {
    for concurrency in [1, 4] {
        let moved = AtomicUsize::new(0);
        let server = Server::start(move |asked: &Asked| {
            let page: usize = asked.parameter("page").parse().unwrap();
            if page == 3 && moved.fetch_add(1, Ordering::SeqCst) == 0 {
                return json(r#"{"message":"moved"}"#);
            }
            json(format!(r#"{{"total":12,"orders":{}}}"#, list(page * 2 - 2..page * 2)))
        });
        let work = Workspace::new();
        let profile = format!("concurrency = {concurrency}\npagination = {{ kind = \"page\", total = \"total\" }}");
        let summary = run(&work, &server, &profile, &[]).published();
        assert_eq!((loaded(&work), &summary["source"]["retries"]), (ids(12), &value!(1)), "{concurrency}");
    }
}

/// A page of two orders out of six; `meta` says where the next one is.
fn page_with_meta(asked: &Asked, more: &str) -> Reply {
    let from: usize = asked.parameter("cursor").parse().unwrap_or(0);
    let next = if from < 4 { format!("\"{}\"", from + 2) } else { "null".to_owned() };
    json(format!(r#"{{"orders":{},"meta":{{{more}"next":{next}}}}}"#, list(from..from + 2)))
}

#[test]
fn a_large_list_beside_the_next_page_does_not_hide_it() {
    const CURSOR: &str = "pagination = { kind = \"cursor\", path = \"meta.next\" }";
    let facets = format!("\"facets\":[{}],", vec!["\"facet\""; 9000].join(","));
    let server = Server::start(move |asked| page_with_meta(asked, if asked.parameter("cursor") == "2" { &facets } else { "" }));
    let work = Workspace::new();
    run(&work, &server, CURSOR, &[]).published();
    assert_eq!(loaded(&work), ids(6));
    // An object that is too large to keep may name a next page: it is no end.
    let keys: Vec<_> = (0..90_000).map(|number| format!("\"key-{number}\":1,")).collect();
    let keys = keys.concat();
    let server = Server::start(move |asked| page_with_meta(asked, if asked.parameter("cursor") == "2" { &keys } else { "" }));
    let work = Workspace::new();
    let ended = run(&work, &server, CURSOR, &[]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("no signal of a next page: `meta.next` is too large"), "{}", ended.stderr);
}
