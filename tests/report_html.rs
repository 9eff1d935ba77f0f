//! `etl report`: one HTML file that is whole, says what the layer holds to the last digit, escapes every value, and needs no network.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::support::{Workspace, buckets::S3Server, ended, fault_proxy::Recorded, lake::Lake, order, tool};

/// Elements that have no end.
const VOID: [&str; 1] = ["meta"];

/// The page that `etl report` makes here.
#[track_caller]
fn report(work: &Workspace, args: &[&str]) -> String {
    let ended = work.etl(&[&["report"], args].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let page = work.read("report.html");
    let summary: Value = ended.summary();
    assert_eq!((&summary["report"], &summary["bytes"]), (&"report.html".into(), &page.len().into()));
    assert_whole(&page);
    page
}

/// Every element ends, ids are unique and what refers to one finds it; nothing comes from elsewhere, and nothing runs.
#[track_caller]
fn assert_whole(page: &str) {
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{}", &page[..200]);
    let (mut open, mut ids, mut wanted) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for tag in page.split('<').skip(2) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("a tag does not end: {tag}"));
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "<{tag}>");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        for attribute in [" id=\"", " href=\"#", " aria-labelledby=\""] {
            let Some((_, value)) = tag.split_once(attribute) else { continue };
            for id in value.split('"').next().unwrap().split(' ') {
                if attribute == " id=\"" {
                    assert!(ids.insert(id), "{id} stands twice");
                } else {
                    wanted.insert(id);
                }
            }
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    assert!(wanted.is_subset(&ids) && !wanted.is_empty(), "{:?}", wanted.difference(&ids));
    for foreign in ["http://", "https://", "src=", "<script", "<link", "@import", "javascript:", "onload", "url(h"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    // Each picture has words, and its data as a table.
    assert!(page.contains("<svg class=\"shapes\" role=\"img\" aria-labelledby="));
    assert!(page.matches("<figure").count() <= page.matches("<details>").count());
    // Each table has a name, heads that say what they are of, and a region that a keyboard scrolls.
    let tables = page.matches("<table>").count();
    assert_eq!(page.matches("role=\"region\" tabindex=\"0\" aria-label=\"").count(), tables);
    assert_eq!(page.matches("<table>\n<caption>").count(), tables);
    assert_eq!(page.matches("<th ").count(), page.matches("<th scope=").count());
}

/// The rows of the table with this caption: the words of their cells.
#[track_caller]
fn rows(page: &str, caption: &str) -> Vec<Vec<String>> {
    let start = page.find(&format!("<caption>{caption}</caption>")).unwrap_or_else(|| panic!("no table `{caption}`"));
    let body = page[start..].split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
    let cells = |row: &str| row.split("</t").filter_map(|cell| Some(words(&cell[cell.find("<t")?..]))).collect::<Vec<_>>();
    body.split("<tr>").skip(1).map(cells).collect()
}

/// What stands on a page, or on a part of it, without its tags.
fn words(page: &str) -> String {
    page.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text)).collect()
}

/// An amount as a person reads it: `-1,234.5000` for `-1234.5000`.
fn grouped(amount: &str) -> String {
    let (whole, fraction) = amount.split_once('.').unwrap();
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut groups: Vec<&str> = digits.as_bytes().rchunks(3).map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.reverse();
    format!("{sign}{}.{fraction}", groups.join(","))
}

/// The table of revenue by currency, compared with the rows of `curated/`.
#[track_caller]
fn assert_revenue(work: &Workspace, page: &str) {
    let stored = work.query("SELECT coalesce(currency, 'no currency'), count(DISTINCT dt), sum(line_total) FROM fact_order GROUP BY ALL");
    let expected: BTreeMap<_, _> = stored
        .iter()
        .map(|row| row.split('|').map(str::to_owned).collect::<Vec<_>>())
        .map(|row| (row[0].clone(), (row[1].clone(), grouped(&row[2]))))
        .collect();
    let shown = rows(page, "Revenue of all days, by currency");
    assert_eq!(shown.len(), expected.len(), "{shown:?}");
    for row in shown {
        let (days, amount) = &expected[&row[0]];
        // Two decimals where the others are zero on all days.
        let is_exact = row[2] == *amount || format!("{}00", row[2]) == *amount;
        assert!(row[1] == *days && is_exact, "{row:?}: {days} {amount}");
    }
}

#[test]
fn the_report_of_the_demo_is_whole_and_has_its_revenue_to_the_last_digit() {
    let work = Workspace::new();
    work.etl(&["demo", "--output", "output"]).published();
    let page = report(&work, &[]);
    assert_revenue(&work, &page);
    for id in ["revenue", "orders", "coverage", "runs", "checks", "drops", "changes", "partitions", "sources"] {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
    }
    // Orders, counted from the files.
    let counted = work.query(
        "SELECT dt, coalesce(CAST(count(DISTINCT order_id) FILTER (currency = 'EUR') AS VARCHAR), '0') FROM fact_order GROUP BY dt ORDER BY dt DESC",
    );
    let column = rows(&page, "Orders a day");
    let shown: Vec<_> = column.iter().map(|row| format!("{}|{}", row[0], if row[1].is_empty() { "0" } else { row[1].as_str() })).collect();
    assert_eq!(shown, counted);
    // Drops, checks and completeness, as the summary has them.
    let status = work.etl(&["status", "--json"]).summary();
    let dropped: BTreeMap<_, _> = rows(&page, "Drops by reason").iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let expected: BTreeMap<_, _> =
        status["dropped"].as_object().unwrap().iter().map(|(reason, count)| (reason.clone(), count.to_string())).collect();
    assert_eq!(dropped, expected);
    for check in status["failing_checks"].as_array().unwrap() {
        assert_eq!(rows(&page, &format!("Rows that violate {}", check["name"].as_str().unwrap())).len(), 1);
    }
    let healthy = status["healthy"].as_bool().unwrap();
    assert!(page.contains(if healthy { "badge good\">healthy" } else { "badge bad\">not healthy" }));
    assert!(!status["open_alerts"].as_array().unwrap().is_empty() && page.contains("<section id=\"alerts\""));
}

#[test]
fn two_years_of_days_fit_into_half_a_megabyte() {
    let work = Workspace::new();
    let orders: Vec<String> = (0..730)
        .flat_map(|day| {
            let created_at = work_day(day);
            ["EUR", "USD", "GBP", "CHF"].map(|currency| {
                let price = format!("{}.{:02}", 1_000 + day * 7 % 90_000, day % 100);
                format!(r#"{{"order_id":"{currency}-{day}","created_at":"{created_at}","currency":"{currency}","items":[{{"sku":"S","price":{price}}}]}}"#)
            })
        })
        .collect();
    work.load(&orders, &[]).published();
    let page = report(&work, &[]);
    assert!(page.len() < 500_000, "{} bytes", page.len());
    assert_revenue(&work, &page);
    assert_eq!((rows(&page, "Partitions, the latest first").len(), rows(&page, "Revenue a day").len()), (730, 730));
    assert!(page.contains("One more currency has no column here."));
    assert!(page.contains("<a href=\"#currencies\">and 1 more currency</a>") && page.contains("<div id=\"currencies\" class=\"scroll\""));
    // Fewer days are shown, and those that are not are told.
    let short = report(&work, &["--days", "30"]);
    assert_eq!(rows(&short, "Partitions, the latest first").len(), 30);
    assert!(short.contains("700 earlier days are not listed."));
    assert_revenue(&work, &short);
}

/// A day of 2024 and 2025.
fn work_day(day: i64) -> String {
    let days = chrono::Days::new(u64::try_from(day).unwrap());
    (chrono::NaiveDate::from_ymd_opt(2024, 1, 1).unwrap() + days).to_string()
}

#[test]
fn values_are_escaped_wherever_they_come_from() {
    let work = Workspace::new();
    let evil = "<script>alert(1)</script>\\\"'&<b>";
    let line = format!(
        r#"{{"order_id":"{evil}","created_at":"2026-01-01","currency":"<i>EUR","items":[{{"sku":"{evil}","quantity":-1,"price":1}}]}}"#
    );
    let dropped = format!(r#"{{"order_id":"D","created_at":"2026-01-01","note":"{evil}"}}"#);
    work.load(&[line, dropped], &[]).published();
    let page = report(&work, &[]);
    assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("<i>"));
    let violating = rows(&page, "Rows that violate fact_quantity_positive");
    assert!(page.contains("&lt;i&gt;EUR") && page.matches("&lt;script&gt;alert(1)").count() >= 2, "{violating:?}");
    let text = |escaped: &str| {
        ["&lt;<", "&gt;>", "&quot;\"", "&#x27;'", "&#x2f;/", "&amp;&"].iter().fold(escaped.to_owned(), |text, pair| {
            let (entity, character) = pair.split_at(pair.len() - 1);
            text.replace(entity, character)
        })
    };
    let sku = "sku=<script>alert(1)</script>\"'&<b>";
    assert!(text(&page).contains(sku), "the value is there, as it was");
}

#[test]
fn drops_name_their_units_and_what_was_replayed_is_left_out() {
    let work = Workspace::new();
    let two_bad_lines =
        r#"{"order_id":"B","created_at":"2026-01-02","items":[{"sku":"S","price":1},{"sku":"T","price":"x"},{"sku":"U","price":"y"}]}"#;
    let lines = [two_bad_lines.to_owned(), r#"{"order_id":"C"}"#.to_owned()];
    let first = work.load(&lines, &[]).published()["run_id"].as_str().unwrap().to_owned();
    let page = report(&work, &[]);
    let shown: Vec<_> = rows(&page, "Drops by reason").iter().map(|row| row.join(" ")).collect();
    assert_eq!(shown, ["invalid_price 2 lines 1", "missing_created_at 1 record 1"]);
    let caption = |run_id: &str| format!("Quarantine of run <span class=\"whole\">{run_id}</span>");
    let waits: Vec<_> = rows(&page, &caption(&first)).iter().map(|row| row[..3].join(" ")).collect();
    assert!(waits.contains(&"invalid_price 2 lines".to_owned()) && waits.contains(&"missing_created_at 1 record".to_owned()), "{waits:?}");
    assert!(words(&page).contains("1 record, 2 lines in output"), "{}", words(&page));
    // The replay drops the record again, and reads the lines: what it read no longer waits.
    let file = format!("output/quarantine/run_id={first}/records.ndjson");
    work.write(&file, work.read(&file).replace("\"price\":\"x\"", "\"price\":2").replace("\"price\":\"y\"", "\"price\":3"));
    let replay = work.etl(&["quarantine", "replay", &first]).published()["run_id"].as_str().unwrap().to_owned();
    let page = report(&work, &[]);
    let shown: Vec<_> = rows(&page, "Drops by reason").iter().map(|row| row.join(" ")).collect();
    assert_eq!(shown, ["missing_created_at 1 record 1"]);
    assert!(!page.contains(&caption(&first)) && page.contains(&caption(&replay)));
    let words = words(&page);
    assert!(words.contains(&format!("Run {first}: 1 record, 2 lines, replayed by {replay}.")), "{words}");
    assert!(words.contains("Not counted, since they were replayed: 1 record, 2 lines."), "{words}");
}

#[test]
fn gaps_failures_and_deletions_are_shown_and_few_reports_are_read() {
    let work = Workspace::new();
    let orders = [order("A", "2026-01-02T10:00:00Z", ""), order("B", "2026-01-09T10:00:00Z", "")];
    work.load(&orders, &["--since", "2026-01-01", "--until", "2026-01-05"]).published();
    work.load(&orders, &["--since", "2026-01-08", "--until", "2026-01-11"]).published();
    work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    let page = report(&work, &[]);
    assert!(page.contains("2 intervals loaded completely, 1 gap between them."));
    assert!(page.contains("badge bad\">coverage has gaps<") && !page.contains("badge bad\">days are missing"), "as etl status says it");
    let intervals: Vec<_> = rows(&page, "Intervals, the latest first").iter().map(|row| row.join(" to ")).collect();
    assert_eq!(
        intervals,
        [
            "2026-01-08 00:00:00 to 2026-01-11 00:00:00 to loaded",
            "2026-01-05 00:00:00 to 2026-01-08 00:00:00 to gap",
            "2026-01-01 00:00:00 to 2026-01-05 00:00:00 to loaded"
        ]
    );
    assert_eq!(rows(&page, "Days with rows, by month"), [["2026-01", "2", "03, 04, 05, 06, 07, 08"]]);
    assert_eq!(rows(&page, "Runs, the latest first").len(), 3);
    assert!(page.contains("badge bad\">extract failed"));
    let of_failed = &rows(&page, "Runs, the latest first")[0];
    assert!(of_failed.last().unwrap().contains("missing.ndjson") && page.contains("<tr class=\"below\">"), "{of_failed:?}");
    assert!(page.contains("3 runs, all that are recorded."));
    let few = report(&work, &["--limit", "1"]);
    assert_eq!(rows(&few, "Runs, the latest first").len(), 1);
    assert!(few.contains("The latest 1 of 3 runs that are recorded."));
}

/// The row of a table whose first cell is this.
#[track_caller]
fn row_of(page: &str, caption: &str, head: &str) -> Vec<String> {
    rows(page, caption).into_iter().find(|row| row[0] == head).unwrap_or_else(|| panic!("no {head} in {caption}"))
}

#[test]
fn rows_that_were_not_published_are_no_rows_written() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-02", ""), order("C", "2026-01-04", "")], &[]).published();
    work.write("checks/no_b.sql", "SELECT order_id FROM fact_order WHERE order_id = 'B'\n");
    let failed = work.load(&[order("B", "2026-01-03", "")], &[]).expect(4, "checks_failed");
    assert_eq!(failed["rows_inserted"], 1, "the summary says what the run has merged");
    let page = report(&work, &[]);
    // run, outcome, started, seconds, command, window, read, dropped, rows written, the error below
    let shown: Vec<_> = rows(&page, "Runs, the latest first").into_iter().map(|row| (row[1].clone(), row[8].clone())).collect();
    assert_eq!(shown, [("checks failed".to_owned(), "0".to_owned()), ("published".to_owned(), "2".to_owned())]);
    assert!(page.contains("badge bad\">days are missing<") && !page.contains("coverage has gaps"), "as etl status says it");
    let listed = work.etl(&["runs"]).stdout;
    let cells: Vec<_> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[1..6], ["run", "checks_failed", "1", "0", "0"], "{listed}");
    let text = work.etl(&["runs", "show", failed["run_id"].as_str().unwrap()]).stdout;
    assert!(text.contains("1 inserted of 1 line read, not published\n") && text.contains(" 1.5000 EUR, not published\n"), "{text}");
}

#[test]
fn a_run_that_was_undone_counts_for_nothing_and_what_it_had_loaded_is_shown_as_undone() {
    let work = Workspace::new();
    let first = work.load(&[order("A", "2026-01-02", "")], &["--since", "2026-01-01", "--until", "2026-01-05"]).published();
    let negative = order("B", "2026-01-06", "").replace("\"quantity\":1", "\"quantity\":-1");
    let second = work.load(std::slice::from_ref(&negative), &["--since", "2026-01-05", "--until", "2026-01-10"]).published();
    work.write("other.ndjson", order("C", "2026-01-08", ""));
    let other = work.etl(&["run", "--orders", "other.ndjson", "--since", "2026-01-01", "--until", "2026-01-09"]).published();
    let check = "Checks, those of the latest run first";
    assert_eq!(row_of(&report(&work, &[]), check, "fact_quantity_positive")[1], "passed", "the latest run that ran it");
    let undo = |run: &Value| {
        let ended = work.etl(&["undo", run["run_id"].as_str().unwrap(), "--json"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.summary()["run_id"].as_str().unwrap().to_owned()
    };
    let (of_other, of_second) = (undo(&other), undo(&second));
    let page = report(&work, &[]);
    // check, last result, severity, violations, looked at, history, run
    let quantity = row_of(&page, check, "fact_quantity_positive");
    assert_eq!(quantity[1..5], ["passed", "warn", "0", "changed days only"]);
    assert_eq!((quantity[5].trim(), quantity[6].as_str()), ("passed 1 of 1 run", first["run_id"].as_str().unwrap()));
    assert!(!page.contains("Rows that violate") && words(&page).contains("Without 2 runs that were undone."));
    assert!(page.contains("k-quiet\"></span>did not run<"), "the history has a legend");
    assert_eq!(row_of(&page, "What became of rows", "Rows inserted")[1..], ["1", "1"]);
    let of_runs: Vec<_> = rows(&page, "Runs, the latest first").into_iter().map(|row| (row[4].clone(), row[5].clone())).collect();
    let window = |text: &str| text.to_owned();
    assert_eq!(of_runs[0], (window("undo"), window("-")));
    assert_eq!(of_runs[3], (window("run, undone"), window("from 2026-01-05 to before 2026-01-10")));
    assert_eq!(
        rows(&page, "Intervals, the latest first"),
        [
            ["2026-01-05 00:00:00".to_owned(), "2026-01-10 00:00:00".to_owned(), format!("undone by run {of_second}")],
            ["2026-01-01 00:00:00".to_owned(), "2026-01-05 00:00:00".to_owned(), "loaded".to_owned()]
        ]
    );
    assert!(page.contains(&format!("undone by run <span class=\"whole\">{of_other}</span>")), "a source of which nothing is left");
    let undone: Vec<_> = rows(&page, "What has been loaded of each source").into_iter().map(|row| row[6].clone()).collect();
    let expected = ["2026-01-05 00:00:00 to before 2026-01-10 00:00:00", "2026-01-01 00:00:00 to before 2026-01-09 00:00:00"];
    assert_eq!(undone, expected);
    // A run that looks at everything says so.
    work.load(&[order("A", "2026-01-02", r#","status":"paid","updated_at":"2026-02-01""#)], &["--check-scope", "full"]).published();
    assert_eq!(row_of(&report(&work, &[]), check, "fact_quantity_positive")[4], "whole layer");
}

#[test]
fn drops_are_counted_as_status_counts_them_and_a_mended_record_is_no_delivered_one() {
    let work = Workspace::new();
    let bad = ["{\"order_id\":\"A\"".to_owned(), r#"{"created_at":"2026-01-01"}"#.to_owned(), order("Z", "2026-01-01", "")];
    let first = work.load(&bad, &[]).published()["run_id"].as_str().unwrap().to_owned();
    work.load(&bad, &[]).unchanged();
    let file = format!("output/quarantine/run_id={first}/records.ndjson");
    let mended = work.read(&file).replace(r#""{\"order_id\":\"A\"""#, &order("A", "2026-01-02", ""));
    work.write(&file, mended);
    let replay = work.etl(&["quarantine", "replay", &first]).published()["run_id"].as_str().unwrap().to_owned();
    let page = report(&work, &[]);
    // Of the first run nothing is counted; the second and the replay dropped the same record again.
    assert_eq!(rows(&page, "Drops by reason"), [["invalid_json", "1", "record", "1"], ["missing_order_id", "2", "records", "2"]]);
    let status = work.etl(&["status", "--json"]).summary();
    assert_eq!(status["dropped"], serde_json::json!({"invalid_json": 1, "missing_order_id": 2}));
    let text = words(&page);
    assert!(text.contains("Times dropped, in all runs listed: a record that several runs read counts once for each of them."), "{text}");
    assert!(text.contains("Not counted, since they were replayed: 2 records.") && !text.contains("etl status"), "{text}");
    assert!(words(&report(&work, &["--limit", "2"])).contains("`etl status` counts the latest 3 runs."));
    let (_, of_replay) = page.split_once(&format!("A replay of what run <span class=\"whole\">{first}</span> had dropped.")).unwrap();
    assert_eq!((page.matches(">Record, as it was replayed<").count(), of_replay.contains(">Record, as it was delivered<")), (1, true));
    assert_eq!(rows(&page, &format!("Quarantine of run <span class=\"whole\">{replay}</span>")).len(), 1);
}

#[test]
fn results_of_shops_are_told_apart() {
    let work = Workspace::new();
    let refund = order("A", "2026-01-02", "").replace("\"quantity\":1", "\"quantity\":-1");
    work.write("de.ndjson", [refund.as_str(), r#"{"order_id":"B"}"#].join("\n"));
    work.write("us.ndjson", order("A", "2026-01-09", ""));
    let shop = |name: &str| format!("[[shops]]\nname = \"{name}\"\norders = \"{name}.ndjson\"\n");
    work.write("etl.toml", shop("de") + &shop("us"));
    let ended = work.etl(&["run"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let of_shops = ended.summary()["shops"].as_array().unwrap().clone();
    let run_of = |shop: &str| {
        let run = of_shops.iter().find(|run| run["shop"] == shop).unwrap();
        run["run_id"].as_str().unwrap().to_owned()
    };
    let page = report(&work, &[]);
    let checks = rows(&page, "Checks of each shop, those of the latest run first");
    // check, shop, last result, severity, violations, looked at, history, run
    let of_check: Vec<_> = checks.iter().filter(|row| row[0] == "fact_quantity_positive").collect();
    let shown: Vec<_> = of_check.iter().map(|row| [row[1].as_str(), row[2].as_str(), row[6].trim(), row[7].as_str()].join(" | ")).collect();
    let expected =
        [format!("de | violated | passed 0 of 1 run | {}", run_of("de")), format!("us | passed | passed 1 of 1 run | {}", run_of("us"))];
    assert_eq!(shown, expected);
    assert_eq!(rows(&page, "Rows that violate fact_quantity_positive in shop de").len(), 1);
    // reason, shop, times, unit, runs
    assert_eq!(rows(&page, "Drops by reason"), [["missing_created_at", "de", "1", "record", "1"]]);
    let words = words(&page);
    assert!(words.contains("Of shop de."), "the samples in quarantine: {words}");
    assert!(words.contains("last run (shop us): published"), "{words}");
    let commands: Vec<_> = rows(&page, "Runs, the latest first").into_iter().map(|row| row[4].clone()).collect();
    assert_eq!(commands, ["run (shop us)", "run (shop de)"]);
}

#[test]
fn totals_of_orders_are_added_up_where_a_source_says_some() {
    let work = Workspace::new();
    work.write("etl.toml", "[orders.totals]\ntotal = \"total\"\nrefunded = \"refunded\"\nreconciles = true\n");
    let totals = r#","total":"1.50","refunded":"0.2501""#;
    work.load(&[order("A", "2026-01-02", totals), order("B", "2026-01-03", r#","total":"1.50""#)], &[]).published();
    let page = report(&work, &[]);
    let expected = [["lines", "2", "3.0000"], ["total", "2", "3.0000"], ["refunded", "1", "0.2501"]];
    assert_eq!(rows(&page, "Order totals, EUR"), expected);
    let none = Workspace::new();
    none.load(&[order("A", "2026-01-02", "")], &[]).published();
    assert!(!report(&none, &[]).contains("Order totals"));
}

#[test]
fn an_empty_layer_is_bad_usage_and_a_lost_state_says_the_way() {
    let work = Workspace::new();
    let refused = |words: &str| {
        let ended = work.etl(&["report"]);
        assert!(ended.code == 2 && ended.stderr.contains(words), "{}: {}", ended.code, ended.stderr);
        assert!(!work.path("report.html").exists());
    };
    refused("nothing to report on");
    work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    refused("nothing to report on");
    work.load(&[order("A", "2026-01-02", "")], &[]).published();
    std::fs::remove_dir_all(work.path("output/state")).unwrap();
    refused("etl check --rebuild-state");
    assert_eq!(work.etl(&["check", "--rebuild-state"]).code, 0);
    assert_revenue(&work, &report(&work, &[]));
}

#[test]
fn the_page_goes_to_stdout_or_to_a_file_outside_of_the_layer() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-02", "")], &[]).published();
    let before = work.layer();
    let ended = work.etl(&["report", "-o", "-"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_whole(&ended.stdout);
    assert!(!work.path("report.html").exists());
    std::os::unix::fs::symlink(work.path("output"), work.path("link")).unwrap();
    for file in [
        "output/report.html",
        "output/curated/report.html",
        "output/curated/dt=2026-01-02/r.html",
        "output/dims/r.html",
        "output/reports/r.html",
        "output/quarantine/r.html",
        "output/state/r.html",
        "output/none/yet/r.html",
        "./output/../output/r.html",
        "link/r.html",
    ] {
        for file in [file.to_owned(), work.path(file).display().to_string()] {
            let ended = work.etl(&["report", "-o", &file]);
            assert!(ended.code == 2 && ended.stderr.contains("part of the layer"), "{file}: {} {}", ended.code, ended.stderr);
        }
    }
    assert_eq!(work.layer(), before);
    assert_eq!(work.files("").into_keys().filter(|name| name.contains("html")).collect::<Vec<_>>(), [""; 0]);
    let missing = work.etl(&["report", "-o", "missing/folder/report.html", "--log-format", "text"]);
    assert_eq!(missing.code, 5);
    let words = "can't write missing/folder/report.html: its folder missing/folder does not exist";
    assert!(missing.stderr.contains(words) && !missing.stderr.contains(".tmp"), "{}", missing.stderr);
}

/// In every other command, `-o` is the output.
#[test]
fn an_output_after_the_short_flag_of_the_file_is_told() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-02", "")], &[]).published();
    for place in ["output", "s3://bucket/prefix"] {
        let ended = work.etl(&["report", "-o", place, "--log-format", "text"]);
        assert!(ended.code == 2 && ended.stderr.contains("name the layer with --output"), "{place}: {}", ended.stderr);
    }
    assert!(!work.path("s3:").exists());
    let help = work.etl(&["report", "--help"]).stdout;
    assert!(help.split_whitespace().collect::<Vec<_>>().join(" ").contains("-o is short for --file"), "{help}");
}

/// What somebody edited does not change the numbers in silence.
#[test]
fn files_that_are_not_what_was_committed_are_told() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-02", ""), order("B", "2026-01-03", ""), order("C", "2026-01-04", "")], &[]).published();
    let file = "output/curated/dt=2026-01-02/part-00000.csv";
    let edited = work.read(file).replace("1.5000", "99.5000");
    std::fs::remove_file(work.path(file)).unwrap();
    work.write(file, edited);
    std::fs::remove_dir_all(work.path("output/curated/dt=2026-01-03")).unwrap();
    let page = report(&work, &[]);
    assert!(words(&page).contains("This page shows what was committed: dt=2026-01-02."));
    assert!(words(&page).contains("lacks files that were committed. This page shows what was committed: dt=2026-01-03."));
    assert_eq!(rows(&page, "Revenue of all days, by currency"), [["EUR", "3", "4.50"]]);
    assert_eq!(rows(&page, "Orders a day").len(), 3, "each is read as it was committed");
}

/// A secret that a source has put into its data stands in quarantine, and not on the page.
#[test]
fn a_secret_does_not_stand_on_the_page() {
    let work = Workspace::new();
    let secret = "hush/47k11&<x>";
    work.write("etl.toml", "orders = \"http://127.0.0.1:9/orders\"\n");
    let dropped = format!(r#"{{"order_id":"D","created_at":"2026-01-01","note":"{secret}"}}"#);
    work.load(&[order("A", "2026-01-02", ""), dropped], &[]).published();
    let mut command = work.command(&["report"]);
    let ended = ended(command.env("ETL_API_TOKEN", secret).output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let page = work.read("report.html");
    assert!(page.contains("empty_items") && page.contains("***"));
    assert!(!page.contains("hush") && !page.contains("47k11"));
}

#[test]
fn the_report_of_a_bucket_says_what_that_of_a_folder_says() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::new(server.bucket());
    let work = Workspace::new();
    let orders: Vec<String> = (1..=9).map(|day| order(&format!("A-{day}"), &format!("2026-01-0{day}"), "")).chain(["{}".into()]).collect();
    assert_eq!(lake.load(&orders, &[]).code, 0);
    work.load(&orders, &[]).published();
    let ended = lake.etl(&["report"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let (of_bucket, of_folder) = (lake.work.read("report.html"), report(&work, &[]));
    assert_whole(&of_bucket);
    for caption in ["Revenue of all days, by currency", "Revenue a day", "Orders a day", "Drops by reason", "What became of rows"] {
        assert_eq!(rows(&of_bucket, caption), rows(&of_folder, caption), "{caption}");
    }
    assert_eq!(rows(&of_bucket, "Orders a day").len(), 9);
    assert!(lake.work.path("tmp").read_dir().unwrap().next().is_none(), "no copy is left");
}

#[test]
fn the_report_of_a_run_with_drops_is_read_as_often_as_that_of_any_other_run() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::new(server.bucket().behind_proxy(1));
    // The one with drops is the older one, so that both reports are read for what lies in quarantine.
    let with_drops = lake.load(&[order("A", "2026-01-01", ""), "{}".into()], &[]).published();
    let without = lake.load(&[order("B", "2026-01-02", "")], &[]).published();
    lake.bucket.proxy().take_requests();
    let ended = lake.etl(&["report"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let requests: Vec<_> = lake.bucket.requests().iter().map(Recorded::line).collect();
    let reads = |run: &Value| {
        let report = format!("/reports/{}.json", run["run_id"].as_str().unwrap());
        requests.iter().filter(|line| line.starts_with("GET ") && line.ends_with(&report)).count()
    };
    assert!(reads(&without) > 0 && reads(&with_drops) == reads(&without), "{requests:#?}");
}

/// A browser without a window, with a profile of its own.
fn headless(chromium: &Path, work: &Workspace, profile: &str) -> Command {
    let mut command = Command::new(chromium);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu"]);
    command.arg(format!("--user-data-dir={}", work.path(&format!("profile-{profile}")).display()));
    command
}

/// The address of a file.
fn address(work: &Workspace, file: &str) -> String {
    format!("file://{}", work.path(file).display())
}

/// A picture of the page in a real browser; what it wrote to its console.
fn opened(chromium: &Path, work: &Workspace, theme: &str) -> (Vec<u8>, Vec<String>) {
    let picture = work.path(&format!("theme-{theme}.png"));
    let output = headless(chromium, work, theme)
        .args(["--enable-logging=stderr", "--window-size=400,900"])
        .arg(format!("--blink-settings=preferredColorScheme={theme}"))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(address(work, "report.html"))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let console = log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (std::fs::read(picture).unwrap_or_else(|error| panic!("{error}: {log}")), console)
}

#[test]
fn a_browser_opens_it_in_both_themes_without_a_word_on_its_console() {
    let Some(chromium) = tool("ETL_TEST_CHROMIUM", "the report in Chromium") else { return };
    let work = Workspace::new();
    work.etl(&["demo", "--output", "output"]).published();
    report(&work, &[]);
    // 0 is dark, 1 is light.
    let [(dark, said_dark), (light, said_light)] = ["0", "1"].map(|theme| opened(&chromium, &work, theme));
    assert_eq!((said_dark, said_light), (Vec::new(), Vec::new()));
    assert!(dark.len() > 1000 && light.len() > 1000 && dark != light, "the themes look the same");
}

/// What `report_in_frames.html` finds at the page, a line each: at the widths of phones and of a desk, and on paper.
fn measured(chromium: &Path, work: &Workspace) -> Vec<String> {
    let page = serde_json::to_string(&work.read("report.html")).unwrap().replace('<', "\\u003c");
    work.write("frames.html", include_str!("support/report_in_frames.html").replace("\"%PAGE%\"", &page));
    let output = headless(chromium, work, "frames")
        .args(["--virtual-time-budget=60000", "--dump-dom"])
        .arg(address(work, "frames.html"))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = dom.split_once("<pre id=\"found\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (found, _) = found.unwrap_or_else(|| panic!("{dom}\n{}", String::from_utf8_lossy(&output.stderr)));
    found.lines().map(str::to_owned).collect()
}

/// Tables that are wider than the screen show that they scroll, a keyboard scrolls them, and paper has all columns.
/// No line breaks inside a date, a time, an id or an amount; long texts break.
#[test]
fn nothing_is_cut_without_a_sign_and_no_date_breaks_at_any_width() {
    let Some(chromium) = tool("ETL_TEST_CHROMIUM", "the report at several widths") else { return };
    let work = Workspace::new();
    work.etl(&["demo", "--output", "output"]).published();
    let refunds = r#","note":"refunds""#;
    let orders: Vec<_> = (8..29)
        .map(|day| order(&format!("A-2026-{day}"), &format!("2026-01-{day:02}T10:00:00Z"), refunds))
        .map(|line| line.replace("1.5", "-1234567.8901"))
        .collect();
    work.load(&orders, &["--since", "2026-01-08T06:00:00Z", "--until", "2026-01-29"]).published();
    work.etl(&["run", "--orders", "a-missing-file-of-2026-01-29.ndjson"]).expect(3, "extract_failed");
    report(&work, &[]);
    let found = measured(&chromium, &work);
    let (counts, findings): (Vec<_>, Vec<_>) = found.iter().partition(|line| line.starts_with("measured ") || *line == "done");
    assert!(findings.is_empty(), "{findings:#?}");
    // It has measured something: tables that are wider than a phone, and many words.
    let numbers = |width: &str| {
        let line = counts.iter().find_map(|line| line.strip_prefix(&format!("measured {width}: "))).unwrap_or_else(|| panic!("{counts:?}"));
        let numbers: Vec<usize> = line.split(' ').filter_map(|part| part.parse().ok()).collect();
        <[usize; 2]>::try_from(numbers).unwrap()
    };
    for (width, least) in [("320", 5), ("400", 5), ("1280", 1), ("paper", 0)] {
        let [scrollers, words] = numbers(width);
        assert!(scrollers >= least && words >= 100, "{counts:?}");
    }
}
