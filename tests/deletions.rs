//! `--delete-missing`: orders that the source no longer has leave the layer, and nothing else ever does. Every test compares the
//! orders of the layer with those of the source.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json as value};

use crate::support::{self, Asked, Ended, Server, Workspace, json, order};

/// The id of an order, and its day: twenty orders on the first twenty days of January, then again from the first.
fn id(number: usize) -> String {
    format!("O{number:02}")
}

fn numbered(number: usize) -> String {
    order(&id(number), &format!("2026-01-{:02}T12:00:00Z", number % 20 + 1), "")
}

fn orders(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(numbered).collect()
}

fn all_but(count: usize, missing: &[usize]) -> Vec<String> {
    orders((0..count).filter(|number| !missing.contains(number)))
}

fn ids(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    numbers.into_iter().map(id).collect()
}

fn ids_but(count: usize, missing: &[usize]) -> BTreeSet<String> {
    ids((0..count).filter(|number| !missing.contains(number)))
}

fn stored(work: &Workspace) -> BTreeSet<String> {
    if work.files("curated").is_empty() {
        BTreeSet::new()
    } else {
        work.query("SELECT DISTINCT order_id FROM fact_order").into_iter().collect()
    }
}

fn kinds(summary: &Value, key: &str) -> Vec<String> {
    summary[key].as_array().unwrap().iter().map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect()
}

/// Bad usage, with these words.
#[track_caller]
fn refused(ended: &Ended, words: &str) {
    assert!(ended.code == 2 && ended.stderr.contains(words), "{}: {}", ended.code, ended.stderr);
}

#[test]
fn missing_orders_leave_the_layer_and_an_undo_brings_them_back() {
    let work = Workspace::new();
    work.load(&all_but(40, &[]), &[]).published();
    // Both lie on the eighth, alone; two of forty are exactly five percent.
    let left = all_but(40, &[7, 27]);
    assert_eq!(work.load(&left, &[]).unchanged()["orders_deleted"], 0, "it is not done unless it is asked for");
    let summary = work.load(&left, &["--delete-missing", "--check-scope", "full"]).published();
    assert_eq!(stored(&work), ids_but(40, &[7, 27]));
    let counts =
        ["orders_deleted", "rows_deleted", "orders_marked", "rows_marked", "rows_unchanged"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [2, 2, 0, 0, 38]);
    assert_eq!((&summary["partitions_removed"], &summary["partitions_written"]), (&value!(["2026-01-08"]), &value!([])));
    assert_eq!((&summary["delete_missing"], &summary["deletions_refused"]), (&value!("remove"), &Value::Null));
    assert_eq!(summary["revenue"]["EUR"], "57.0000", "that of the rows that came");
    assert!(work.files("curated").keys().all(|file| !file.contains("2026-01-08")));
    assert_eq!(work.etl(&["check"]).code, 0);
    let times = work.times();
    assert_eq!(work.load(&left, &["--delete-missing"]).unchanged()["orders_deleted"], 0);
    assert_eq!(work.times(), times);

    let run_id = summary["run_id"].as_str().unwrap();
    let answer = work.etl(&["explain", "O07", "--format", "json"]).summary();
    let outcomes: Vec<_> = answer["versions"].as_array().unwrap().iter().map(|version| version["outcome"].as_str().unwrap()).collect();
    assert_eq!((outcomes, &answer["versions"][1]["run_id"], &answer["rows"]), (vec!["inserted", "deleted"], &value!(run_id), &value!([])));
    assert_eq!(answer["notes"], value!([]), "the deletion itself says why there is no row");
    let text = work.etl(&["explain", "O07", "--format", "text"]).stdout;
    assert!(text.contains("the source no longer had the order") && text.contains(run_id), "{text}");

    assert_eq!(work.etl(&["undo", run_id]).code, 0);
    assert_eq!(stored(&work), ids(0..40));
    assert_eq!(work.etl(&["check"]).code, 0);
    let answer = work.etl(&["explain", "O07", "--format", "json"]).summary();
    assert!(answer["versions"][1]["undone_by"].is_string() && answer["rows"].as_array().unwrap().len() == 1, "{answer}");
    work.load(&left, &["--delete-missing"]).published();
    assert_eq!(stored(&work), ids_but(40, &[7, 27]));
}

#[test]
fn marked_orders_keep_their_rows_and_come_back() {
    let work = Workspace::new();
    work.write("etl.toml", "delete_missing = \"mark\"\n");
    let statuses = |work: &Workspace| work.query("SELECT order_id FROM fact_order WHERE status = 'deleted'");
    let all = all_but(20, &[]);
    work.load(&all, &[]).published();
    let left = all_but(20, &[3]);
    let summary = work.load(&left, &["--check-scope", "full"]).published();
    let counts = ["orders_marked", "rows_marked", "orders_deleted", "rows_deleted"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!((counts, stored(&work), statuses(&work)), ([1, 1, 0, 0], ids(0..20), vec!["O03".to_owned()]));
    assert_eq!(work.etl(&["check"]).code, 0);
    assert_eq!(work.load(&left, &[]).unchanged()["orders_marked"], 0);
    let answer = work.etl(&["explain", "O03", "--format", "json"]).summary();
    assert_eq!((&answer["versions"][1]["outcome"], &answer["notes"]), (&value!("marked"), &value!([])));
    // It is marked already, so that another missing one is still one of nineteen: more than five percent.
    work.load(&all_but(20, &[3, 4]), &[]).expect(4, "checks_failed");
    let summary = work.load(&all, &[]).published();
    assert_eq!((&summary["rows_updated"], statuses(&work)), (&value!(1), Vec::new()));
    // Marked orders may be removed later; a flag beats the file.
    work.load(&left, &[]).published();
    assert_eq!(work.load(&left, &["--delete-missing", "remove"]).published()["orders_deleted"], 1);
    assert_eq!(stored(&work), ids_but(20, &[3]));
    let off = work.load(&all_but(20, &[3, 4]), &["--delete-missing=off"]).unchanged();
    assert_eq!((&off["delete_missing"], stored(&work)), (&Value::Null, ids_but(20, &[3])));
}

#[test]
fn too_many_missing_orders_end_the_run_before_anything_is_published() {
    let work = Workspace::new();
    work.load(&all_but(10, &[]), &[]).published();
    let before = work.layer();
    let mut left = all_but(10, &[5]);
    left.push(numbered(30));
    let ended = work.load(&left, &["--delete-missing", "--log-format", "text"]);
    let summary = ended.expect(4, "checks_failed");
    for words in ["1 of the 10 stored orders", "at most 5%", "`O05`", "--delete-limit 10%"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    assert_eq!((work.layer() == before, &summary["orders_deleted"], &summary["commit"]), (true, &value!(0), &Value::Null));
    assert_eq!(kinds(&summary, "alerts"), ["deletions"]);
    // With the flag that the message names; first without publishing.
    let dry = work.load(&left, &["--delete-missing", "--delete-limit", "10%", "--dry-run", "--diff"]).expect(0, "dry_run");
    assert_eq!((&dry["orders_deleted"], &dry["diff"]["rows_removed"], &dry["diff"]["rows_added"]), (&value!(1), &value!(1), &value!(1)));
    assert_eq!(work.layer(), before);
    let summary = work.load(&left, &["--delete-missing", "--delete-limit", "10%"]).published();
    assert_eq!((kinds(&summary, "alerts_recovered"), stored(&work)), (vec!["deletions".to_owned()], ids([0, 1, 2, 3, 4, 6, 7, 8, 9, 30])));
    let wrong = work.load(&left, &["--delete-limit", "10", "--log-format", "text"]);
    refused(&wrong, "--delete-limit: `10`: write a share from 0% to 100%");
    refused(&work.load(&left, &["--delete-missing=all", "--log-format", "text"]), "--delete-missing: `all`: write off, remove or mark");
}

const EVERYTHING: [&str; 3] = ["--delete-missing", "--delete-limit", "100%"];

#[test]
fn an_order_of_which_any_record_was_read_is_not_missing() {
    let work = Workspace::new();
    work.write("etl.toml", "[orders]\nskip = [{ path = \"test\", equals = true }]\n");
    work.load(&all_but(10, &[]), &[]).published();
    let mut lines = orders([0, 1]);
    lines.extend(
        [
            r#"{"order_id":"O02","items":[{"sku":"S"}]}"#,
            r#"{"order_id":"O03","created_at":"never","items":[{"sku":"S"}]}"#,
            r#"{"order_id":"O04","created_at":"2026-01-05","items":[]}"#,
            r#"{"order_id":"O05","created_at":"2026-01-06","items":[{"price":"free"}]}"#,
            r#"{"order_id":"O06","created_at":"2025-06-01","items":[{"sku":"S"}]}"#,
            r#"{"order_id":"O07","test":true}"#,
            r#"{"order_id":" O08 ","created_at":"2026-01-09","items":7}"#,
        ]
        .map(str::to_owned),
    );
    let summary = work.load(&lines, &[&EVERYTHING[..], &["--since", "2026-01-01"]].concat()).published();
    assert_eq!((stored(&work), &summary["orders_deleted"]), (ids_but(10, &[9]), &value!(1)));
}

#[test]
fn one_record_without_an_order_id_keeps_every_order() {
    for unknown in [r#"{"created_at":"2026-01-01","items":[]}"#, "{", r#"{"order_id":"","test":true}"#] {
        let work = Workspace::new();
        work.write("etl.toml", "[orders]\nskip = [{ path = \"test\", equals = true }]\n");
        work.load(&all_but(10, &[]), &[]).published();
        let mut lines = all_but(11, &[5]);
        lines.push(unknown.to_owned());
        let ended = work.load(&lines, &[&EVERYTHING[..], &["--log-format", "text"]].concat());
        let summary = ended.published();
        assert_eq!((stored(&work), &summary["orders_deleted"]), (ids(0..11), &value!(0)), "{unknown}");
        assert!(summary["deletions_refused"].as_str().unwrap().contains("a record without a valid order id"), "{summary}");
        assert!(
            kinds(&summary, "alerts").contains(&"deletions".to_owned()) && ended.stderr.contains("nothing is deleted"),
            "{}",
            ended.stderr
        );
        let mended = work.load(&all_but(11, &[5]), &EVERYTHING).published();
        assert_eq!((stored(&work), kinds(&mended, "alerts_recovered").contains(&"deletions".to_owned())), (ids_but(11, &[5]), true));
    }
}

#[test]
fn only_orders_that_lie_in_the_window_as_a_whole_are_deleted() {
    let work = Workspace::new();
    let lines = |skus: &[&str]| skus.iter().map(|sku| format!(r#"{{"sku":"{sku}"}}"#)).collect::<Vec<_>>().join(",");
    let version =
        |id: &str, day: u8, skus: &[&str]| format!(r#"{{"order_id":"{id}","created_at":"2026-01-{day:02}","items":[{}]}}"#, lines(skus));
    let mut first = all_but(20, &[]);
    first.extend([version("M", 4, &["x", "y"]), version("N", 4, &["x"])]);
    first.push(order("FUTURE", "2999-01-01", ""));
    work.load(&first, &[]).published();
    // Both move. By line, y of M stays on the fourth, and nothing of N does.
    work.load(&[version("M", 6, &["x"]), version("N", 6, &["x"])], &[]).published();
    // The sixth to the ninth at noon: that of the ninth is not before the end.
    let window = ["--since", "2026-01-06", "--until", "2026-01-09T12:00:00Z"];
    let summary = work.load(&orders([0]), &[&EVERYTHING[..], &window].concat()).published();
    let mut expected = ids_but(20, &[5, 6, 7]);
    expected.extend(["M".to_owned(), "FUTURE".to_owned()]);
    assert_eq!((stored(&work), &summary["orders_deleted"]), (expected, &value!(4)));
    assert_eq!(work.query("SELECT sku FROM fact_order WHERE order_id = 'M' ORDER BY sku"), ["x", "y"]);
    // All is in an open window, but for what is not created yet.
    work.load(&orders([0]), &EVERYTHING).published();
    assert_eq!(stored(&work), ["FUTURE".to_owned(), "O00".to_owned()].into());
}

#[test]
fn with_merge_by_order_a_missing_order_goes_beside_one_that_moves() {
    let work = Workspace::new();
    work.write("etl.toml", "merge = \"order\"\n");
    work.load(&all_but(20, &[]), &[]).published();
    let mut left = all_but(20, &[3, 4]);
    // It moves to the day of the missing one.
    left.push(order("O04", "2026-01-04T10:00:00Z", ""));
    let summary = work.load(&left, &["--delete-missing"]).published();
    assert_eq!((&summary["rows_moved"], &summary["rows_deleted"], &summary["rows_removed"]), (&value!(1), &value!(1), &value!(0)));
    assert_eq!((stored(&work), work.etl(&["check"]).code), (ids_but(20, &[3]), 0));
    work.load(&left, &["--delete-missing"]).unchanged();
}

#[test]
fn runs_that_cannot_tell_are_refused() {
    let work = Workspace::new();
    let dropped = r#"{"order_id":"O00","created_at":"2026-01-01","items":[]}"#.to_owned();
    let summary = work.load(&[all_but(10, &[]), vec![dropped]].concat(), &[]).published();
    let before = work.layer();
    let text = ["--log-format", "text"];
    refused(&work.load(&orders([0]), &[&EVERYTHING[..], &["--cursor", "updated_at"], &text].concat()), "--cursor updated_at");
    let replay = ["quarantine", "replay", summary["run_id"].as_str().unwrap(), "--delete-missing", "--log-format", "text"];
    refused(&work.etl(&replay), "in a replay");
    let server = Server::start(|_: &Asked| json("[]"));
    let url = format!("{}?from=2026-01-01", server.orders());
    refused(&work.etl(&["run", "--orders", &url, "--delete-missing", "--log-format", "text"]), "the parameter `from`");
    assert!(server.asked().is_empty() && work.layer() == before);
    // Replays of its own records make no other source.
    let quarantine = format!("output/{}", work.files("quarantine").into_keys().next().unwrap());
    work.write(&quarantine, work.read(&quarantine).replace(r#""items":[]"#, r#""items":[{"sku":"MENDED"}]"#));
    work.etl(&["quarantine", "replay", summary["run_id"].as_str().unwrap()]).published();
    assert_eq!(work.load(&orders([0]), &EVERYTHING).published()["orders_deleted"], 9);
    assert_eq!(stored(&work), ids([0]));
}

#[test]
fn orders_of_another_source_are_never_deleted() {
    let another_file = |work: &Workspace| {
        work.write("other.ndjson", order("OTHER", "2026-01-02", ""));
        work.etl(&["run", "--orders", "other.ndjson"]).published();
    };
    // An incomplete load is in no ledger.
    let incomplete = |work: &Workspace| {
        let server = Server::start(|asked: &Asked| match asked.parameter("page") {
            "1" => json(format!(r#"{{"total":2,"orders":[{}]}}"#, order("OTHER", "2026-01-02", ""))),
            _ => json(r#"{"total":2,"orders":[]}"#),
        });
        let summary = work.etl(&["run", "--orders", &server.orders(), "--allow-incomplete"]).published();
        assert_eq!(summary["completeness"]["status"], "failed");
    };
    type Load<'l> = &'l dyn Fn(&Workspace);
    let loads: [(Load<'_>, &str); 2] = [(&another_file, "other.ndjson"), (&incomplete, "http://127.0.0.1")];
    for (load, named) in loads {
        for is_first in [false, true] {
            let work = Workspace::new();
            if is_first {
                load(&work);
            }
            work.load(&all_but(10, &[]), &[]).published();
            if !is_first {
                load(&work);
            }
            let before = work.layer();
            refused(&work.load(&orders([0]), &[&EVERYTHING[..], &["--log-format", "text"]].concat()), named);
            assert_eq!(work.layer(), before);
        }
    }
}

/// Takes out of the newest commit what sources have brought orders: as earlier versions have written it.
fn forget_sources(work: &Workspace) {
    let newest = work.files("state/commits").into_keys().next_back().unwrap();
    // The second one is the copy of the newest commit that is installed.
    for file in [newest.as_str(), "state/latest.json"] {
        let mut commit: Value = serde_json::from_str(&work.read(&format!("output/{file}"))).unwrap();
        assert!(commit["layer"].as_object_mut().unwrap().remove("order_sources").is_some(), "{commit}");
        work.write(&format!("output/{file}"), commit.to_string());
    }
}

#[test]
fn a_layer_that_does_not_know_its_sources_needs_the_report_of_each_commit() {
    let loaded = || {
        let work = Workspace::new();
        work.load(&all_but(10, &[]), &[]).published();
        work.load(&all_but(11, &[]), &[]).published();
        forget_sources(&work);
        work
    };
    let args = [&EVERYTHING[..], &["--log-format", "text"]].concat();
    let work = loaded();
    work.load(&orders([0]), &args).published();
    assert_eq!(stored(&work), ids([0]));
    // From then on the layer knows them.
    std::fs::remove_dir_all(work.path("output/reports")).unwrap();
    work.load(&orders([0, 1]), &args).published();
    work.load(&orders([1]), &args).published();
    assert_eq!(stored(&work), ids([1]));

    let work = loaded();
    let oldest = work.files("reports").into_keys().next().unwrap();
    std::fs::remove_file(work.path("output").join(oldest)).unwrap();
    refused(&work.load(&orders([0]), &args), "it is not known which sources");
    let work = loaded();
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    refused(&work.load(&orders([0]), &args), "a complete list of all orders settles it");
    assert_eq!(stored(&work), ids(0..11));
    // A part of the orders settles nothing, and all of them do.
    assert_eq!(work.load(&all_but(11, &[]), &["--since", "2026-01-01"]).code, 0);
    refused(&work.load(&orders([0]), &args), "it is not known which sources");
    let ended = work.load(&all_but(11, &[]), &["--log-format", "text"]);
    assert!(ended.code == 0 && ended.stderr.contains("it was not known which sources"), "{}", ended.stderr);
    work.load(&orders([0]), &args).published();
    assert_eq!(stored(&work), ids([0]));
}

/// A server whose only page holds these orders, with a total or without one.
fn shop(list: &Arc<Mutex<Vec<String>>>, counts: bool) -> Server {
    let list = list.clone();
    Server::start(move |asked: &Asked| {
        let orders = list.lock().unwrap().clone();
        let shown = if asked.parameter("page") == "1" { orders.join(",") } else { String::new() };
        let total = if counts { format!(r#""total":{},"#, orders.len()) } else { String::new() };
        json(format!(r#"{{{total}"orders":[{shown}]}}"#))
    })
}

#[test]
fn a_list_over_http_must_be_proven_to_be_complete() {
    for counts in [true, false] {
        let list = Arc::new(Mutex::new(all_but(10, &[])));
        let (work, server) = (Workspace::new(), shop(&list, counts));
        let run = |args: &[&str]| work.etl(&[&["run", "--orders", &server.orders()], args].concat());
        run(&[]).published();
        *list.lock().unwrap() = all_but(11, &[5]);
        let summary = run(&EVERYTHING).published();
        if counts {
            assert_eq!((stored(&work), &summary["completeness"]["status"]), (ids_but(11, &[5]), &value!("proven")));
            continue;
        }
        assert_eq!((stored(&work), &summary["orders_deleted"]), (ids(0..11), &value!(0)));
        assert!(summary["deletions_refused"].as_str().unwrap().contains("not proven to be complete"), "{summary}");
        assert_eq!(kinds(&summary, "alerts"), ["deletions"]);
    }
}

/// An order goes while pages with numbered next links are read: the reader skips the one behind it.
#[test]
fn an_order_that_numbered_next_links_skip_is_not_deleted() {
    let list = Arc::new(Mutex::new(all_but(10, &[])));
    let shrinks = Arc::new(AtomicBool::new(false));
    let server = {
        let (list, shrinks) = (list.clone(), shrinks.clone());
        Server::start(move |asked: &Asked| {
            let page: usize = asked.parameter("page").parse().unwrap_or(1);
            let mut orders = list.lock().unwrap();
            let (start, end) = ((page * 4 - 4).min(orders.len()), (page * 4).min(orders.len()));
            let next = if end < orders.len() { format!("\"/orders?page={}\"", page + 1) } else { "null".to_owned() };
            let shown = orders[start..end].join(",");
            if page == 1 && shrinks.swap(false, Ordering::SeqCst) {
                orders.remove(0);
            }
            json(format!(r#"{{"previous":null,"next":{next},"orders":[{shown}]}}"#))
        })
    };
    let work = Workspace::new();
    work.etl(&["run", "--orders", &server.orders()]).published();
    shrinks.store(true, Ordering::SeqCst);
    let location = server.orders();
    let deleting = [&["run", "--orders", location.as_str()], &EVERYTHING[..]].concat();
    let summary = work.etl(&deleting).unchanged();
    assert_eq!((stored(&work), &summary["completeness"]["status"]), (ids(0..10), &value!("unproven")));
    assert!(summary["deletions_refused"].as_str().unwrap().contains("its pages are numbered"), "{summary}");
    // Two readings agree.
    let summary = work.etl(&deleting).published();
    let shown = (&summary["completeness"]["by"], &summary["orders_deleted"]);
    assert_eq!((stored(&work), shown), (ids_but(10, &[0]), (&value!("second_reading"), &value!(1))));
    let readings = server.asked().iter().filter(|asked| asked.parameter("page") == "1").count();
    assert_eq!(readings, 1 + 2 + 2, "a run that deletes nothing reads once");
}

#[test]
fn an_incomplete_list_that_is_published_all_the_same_deletes_nothing() {
    let list = Arc::new(Mutex::new(all_but(10, &[])));
    let work = Workspace::new();
    let lacks = Arc::new(AtomicBool::new(false));
    let server = {
        let (list, lacks) = (list.clone(), lacks.clone());
        Server::start(move |asked: &Asked| {
            let orders = list.lock().unwrap().clone();
            let sent = orders.len() - usize::from(lacks.load(Ordering::SeqCst));
            let shown = if asked.parameter("page") == "1" { orders[..sent].join(",") } else { String::new() };
            json(format!(r#"{{"total":{},"orders":[{shown}]}}"#, orders.len()))
        })
    };
    work.etl(&["run", "--orders", &server.orders()]).published();
    lacks.store(true, Ordering::SeqCst);
    let summary = work.etl(&[&["run", "--orders", &server.orders(), "--allow-incomplete"], &EVERYTHING[..]].concat()).unchanged();
    assert_eq!((stored(&work), &summary["completeness"]["status"]), (ids(0..10), &value!("failed")));
    assert!(kinds(&summary, "alerts").contains(&"deletions".to_owned()), "{summary}");
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_another_run_has_stored_meanwhile_stays() {
    let work = Workspace::new();
    let (holds, released) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let list = Arc::new(Mutex::new(all_but(10, &[])));
    // On the third, beside O02.
    list.lock().unwrap().push(order("MOVES", "2026-01-03", ""));
    let server = {
        let (list, holds, released) = (list.clone(), holds.clone(), released.clone());
        Server::start(move |asked: &Asked| {
            let orders = list.lock().unwrap().clone();
            // The first request of the run that deletes: it gets the list of now, and gets it late.
            if holds.swap(false, Ordering::SeqCst) {
                wait_until("the other run is done", || released.load(Ordering::SeqCst));
            }
            let shown = if asked.parameter("page") == "1" { orders.join(",") } else { String::new() };
            json(format!(r#"{{"total":{},"orders":[{shown}]}}"#, orders.len()))
        })
    };
    let january = ["--since", "2026-01-01", "--until", "2026-02-01"];
    work.etl(&["run", "--orders", &server.orders()]).published();
    // O02 and O06 are gone, and MOVES belongs to February.
    let mut left = all_but(10, &[2, 6]);
    left.push(order("MOVES", "2026-02-03", ""));
    *list.lock().unwrap() = left;
    holds.store(true, Ordering::SeqCst);
    let location = server.orders();
    let args = [&["run", "--orders", location.as_str()], &EVERYTHING[..], &january].concat();
    let deleting = work.start(&args);
    wait_until("the run asks", || !holds.load(Ordering::SeqCst));
    work.etl(&["run", "--orders", &server.orders(), "--since", "2026-02-01"]).published();
    let moved = work.read("output/curated/dt=2026-02-03/part-00000.csv");
    released.store(true, Ordering::SeqCst);
    let summary = support::ended(deleting.wait_with_output().unwrap()).published();
    // The third was changed by the other run: what is missing there waits for the next run.
    let mut expected = ids_but(10, &[6]);
    expected.insert("MOVES".to_owned());
    assert_eq!((stored(&work), &summary["orders_deleted"]), (expected, &value!(1)));
    assert_eq!(work.read("output/curated/dt=2026-02-03/part-00000.csv"), moved);
    assert_eq!(work.etl(&["check"]).code, 0);
    assert_eq!(work.etl(&args).published()["orders_deleted"], 1);
    assert!(!stored(&work).contains("O02") && stored(&work).contains("MOVES"));
}
