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
fn a_signal_with_a_next_page_wins_over_one_without() {
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
        assert_eq!((&completeness["status"], &completeness["by"]), (&value!("proven"), &value!("cursor")), "{signals}");
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
            let page: usize = asked.parameter("page").parse().unwrap();
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
