//! Lists longer than the largest offset of their source: read in slices of time, each order once and none lost.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Asked, Server, Workspace, json, order, status};

/// The largest offset of these servers. A larger one is a 400.
const LARGEST: usize = 10;

/// 2026-01-01.
const START: i64 = 1_767_225_600;

/// A server of orders, which were made at these seconds. Its filters are inclusive. It adds `hidden` to the total of all orders.
fn shop(seconds: Vec<i64>, counts_to: usize, hidden: usize) -> Server {
    moving_shop(move |_| seconds.clone(), counts_to, hidden)
}

/// The same, where the orders are those of the moment: of so many requests before.
fn moving_shop(orders: impl Fn(usize) -> Vec<i64> + Send + Sync + 'static, counts_to: usize, hidden: usize) -> Server {
    let asked_before = AtomicUsize::new(0);
    Server::start(move |asked: &Asked| {
        let seconds = orders(asked_before.fetch_add(1, Ordering::SeqCst));
        let end = |name: &str| asked.parameter(name).parse::<i64>().ok();
        let number = |name: &str| asked.parameter(name).parse::<usize>().unwrap();
        if number("offset") > LARGEST {
            return status(400);
        }
        let (from, to) = (end("from"), end("to"));
        let is_inside = |at: i64| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at <= to);
        let inside = (1..).zip(&seconds).filter(|(_, at)| is_inside(**at));
        let inside: Vec<String> = inside.map(|(number, at): (u64, _)| order(&format!("O{number}"), &at.to_string(), "")).collect();
        let page: Vec<_> = inside.iter().skip(number("offset")).take(number("limit")).cloned().collect();
        let total = inside.len() + if from.is_none() && to.is_none() { hidden } else { 0 };
        json(format!(r#"{{"total":{},"orders":[{}]}}"#, total.min(counts_to), page.join(",")))
    })
}

fn workspace(server: &Server, largest: &str) -> Workspace {
    let work = Workspace::new();
    work.write(
        "etl.toml",
        format!(
            "[orders]\nname = \"shop\"\nlocation = \"{}\"\nrecords = \"orders\"\npage_size = 5\n\
             pagination = {{ kind = \"offset\", size_parameter = \"limit\", total = \"total\"{largest} }}\n\
             filter = {{ since = \"from\", until = \"to\", format = \"epoch\" }}\n",
            server.orders()
        ),
    );
    work
}

const CUT: &str = ", largest = 10";

/// An order each second, so that every seam has records on both sides, and several in one second.
fn seconds() -> Vec<i64> {
    (0..300).chain([1000; 6]).map(|second| START + second).collect()
}

#[test]
fn a_list_beyond_the_largest_offset_comes_whole_and_each_order_once() {
    // One server counts all; the other, as some do, no further than its largest offset.
    for counts_to in [usize::MAX, LARGEST] {
        let server = shop(seconds(), counts_to, 0);
        let work = workspace(&server, CUT);
        let summary = work.etl(&["run"]).published();
        assert_eq!(summary["records_read"], 306, "{summary}");
        let completeness = &summary["completeness"];
        let shown = ["status", "by", "claimed", "read", "distinct"].map(|key| completeness[key].to_string());
        assert_eq!(shown, ["\"proven\"", "\"total\"", "306", "306", "306"]);
        let skus: Vec<_> = (1..=306).map(|number| format!("O{number}")).collect();
        let loaded = work.query("SELECT order_id FROM fact_order ORDER BY CAST(order_id[2:] AS INTEGER)");
        assert_eq!(loaded, skus);
        assert!(server.asked().len() < 900, "{}", server.asked().len());
        work.etl(&["run"]).unchanged();
    }
}

#[test]
fn an_order_that_moves_into_a_slice_that_was_read_is_neither_missed_nor_deleted() {
    let seconds = || (0..60).map(|second| START + second).collect::<Vec<_>>();
    for counts_to in [usize::MAX, LARGEST] {
        let quiet = shop(seconds(), counts_to, 0);
        let work = workspace(&quiet, CUT);
        work.etl(&["run"]).published();
        let requests = quiet.asked().len();
        let config = work.read("etl.toml");
        for after in (0..requests).step_by(3) {
            // The last order moves to the front, at each moment of the run.
            let orders = move |asked: usize| {
                let mut seconds = seconds();
                if asked >= after {
                    seconds[59] = START + 3;
                }
                seconds
            };
            let server = moving_shop(orders, counts_to, 0);
            work.write("etl.toml", config.replace(&quiet.orders(), &server.orders()));
            let ended = work.etl(&["run", "--delete-missing", "remove"]);
            assert_eq!(ended.code, 0, "{}", ended.stderr);
            let summary = ended.summary();
            assert_eq!(
                (&summary["completeness"]["status"], &summary["orders_deleted"]),
                (&"proven".into(), &0.into()),
                "after {after}: {summary}"
            );
            assert_eq!(work.query("SELECT count(*), count(DISTINCT order_id) FROM fact_order"), ["60|60"], "after {after}");
        }
    }
}

#[test]
fn nothing_is_proven_while_the_slices_change_each_time_they_are_asked() {
    // The front gets one more order with every fourth request.
    let orders = |asked: usize| {
        (0..60).chain((0..asked / 4).map(|more| i64::try_from(more % 30).unwrap() * 2)).map(|second| START + second).collect()
    };
    let server = moving_shop(orders, LARGEST, 0);
    let work = workspace(&server, CUT);
    let summary = work.etl(&["run"]).summary();
    let completeness = &summary["completeness"];
    assert_ne!(completeness["status"], "proven", "{completeness}");
}

#[test]
fn a_closed_window_is_cut_between_its_ends() {
    let server = shop(seconds(), usize::MAX, 0);
    let work = workspace(&server, CUT);
    let run = ["run", "--since", "2026-01-01T00:01:40Z", "--until", "2026-01-01T00:03:20Z"];
    work.etl(&run).published();
    let ids: Vec<_> = (101..=200).map(|number| format!("O{number}")).collect();
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), ids);
    let ends = |name: &'static str| server.asked().iter().map(|asked| asked.parameter(name).parse::<i64>().unwrap()).collect::<Vec<_>>();
    assert_eq!((ends("from").into_iter().min(), ends("to").into_iter().max()), (Some(START + 99), Some(START + 201)));
}

#[test]
fn a_short_list_is_read_at_once() {
    let server = shop((0..9).map(|second| START + second).collect(), usize::MAX, 0);
    let work = workspace(&server, CUT);
    let summary = work.etl(&["run"]).published();
    assert_eq!(summary["records_read"], 9);
    assert_eq!(summary["completeness"]["claimed"], 9);
    let offsets: Vec<_> = server.asked().iter().map(|asked| asked.parameter("offset").to_owned()).collect();
    assert_eq!(offsets, ["0", "4"]);
}

#[test]
fn what_can_not_be_read_or_is_not_there_ends_the_run() {
    let crowded = (0..20).map(|second| START + second).chain([START + 30; 12]).collect();
    for (seconds, hidden, largest, message) in [
        (crowded, 0, CUT, "slices are not shorter than a second"),
        (seconds(), 1, CUT, "the source claims 307 records, and 306 came"),
        (seconds(), 0, "", "the server answered 400"),
    ] {
        let server = shop(seconds, usize::MAX, hidden);
        let work = workspace(&server, largest);
        let ended = work.etl(&["run", "--log-format", "text"]);
        assert!(ended.code == 3 && ended.stderr.contains(message), "{message}: {}", ended.stderr);
        assert!(work.files("curated").is_empty());
    }
}
