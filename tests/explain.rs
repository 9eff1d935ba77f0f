//! `etl explain`: its answers compared with what the sources held, line by line.

use std::{collections::BTreeMap, io::Write};

use serde_json::{Value, json};

use crate::support::{
    self, Ended, Server, Workspace, json as reply, order,
    postgres::{Fault, Postgres},
    tool,
};

/// A version of an order: its day, its update, its skus, each at the price of its update.
fn version(order_id: &str, day: u8, updated: u8, skus: &[&str]) -> String {
    let items: Vec<_> = skus.iter().map(|sku| format!(r#"{{"sku":"{sku}","price":{updated}}}"#)).collect();
    let items = items.join(",");
    format!(r#"{{"order_id":"{order_id}","created_at":"2026-01-0{day}","updated_at":"2026-02-0{updated}T00:00:00Z","items":[{items}]}}"#)
}

#[track_caller]
fn explain(work: &Workspace, args: &[&str]) -> Value {
    let ended = work.etl(&[&["explain"], args, &["--format", "json"]].concat());
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    ended.summary()
}

fn texts(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|part| part[key].as_str().unwrap_or("null").to_owned()).collect()
}

fn run_id(summary: &Value) -> String {
    summary["run_id"].as_str().unwrap().to_owned()
}

/// The lineage files, in the order of the commits.
fn lineage(work: &Workspace) -> Vec<String> {
    work.files("state/lineage").into_keys().collect()
}

#[test]
fn each_version_says_which_record_brought_it_and_why_it_won_or_lost() {
    let work = Workspace::new();
    let id = "#1001 ü";
    work.load(&(3..10).map(|day| order(&format!("O{day}"), &format!("2026-01-0{day}"), "")).collect::<Vec<_>>(), &[]).published();
    let loads = [
        vec![order("other", "2026-01-01", ""), version(id, 1, 2, &["x", "y"])],
        vec![version(id, 2, 3, &["x", "y"]), order("another", "2026-01-02", "")],
        vec![order("third", "2026-01-01", ""), order("fourth", "2026-01-01", ""), version(id, 1, 1, &["x"])],
        vec![version(id, 2, 3, &["x", "y"])],
    ];
    let runs: Vec<Value> = loads.iter().map(|lines| work.load(lines, &[]).summary()).collect();
    let answer = explain(&work, &[id]);
    let versions = &answer["versions"];
    assert_eq!(texts(versions, "run_id"), runs.iter().map(run_id).collect::<Vec<_>>());
    assert_eq!(texts(versions, "outcome"), ["inserted", "moved", "superseded", "unchanged"]);
    assert_eq!(texts(versions, "dt"), ["2026-01-01", "2026-01-02", "2026-01-01", "2026-01-02"]);
    assert_eq!(texts(versions, "command"), ["run"; 4]);
    for (number, (version, lines)) in versions.as_array().unwrap().iter().zip(&loads).enumerate() {
        let line = 1 + lines.iter().position(|line| line.contains(id)).unwrap();
        let place = json!({"location": "orders.ndjson", "page": null, "unit": "line", "number": line});
        assert_eq!(version["source"], place, "version {number}");
        let record: Value = serde_json::from_str(&lines[line - 1]).unwrap();
        assert_eq!(version["updated_at"], record["updated_at"]);
        let skus = |lines: &Value| texts(lines, "sku");
        assert_eq!(skus(&version["lines"]), skus(&record["items"]));
        assert_eq!(version["started_at"], runs[number]["started_at"]);
    }
    assert_eq!(versions[1]["moved_from"], json!(["2026-01-01"]));
    assert_eq!(versions[2]["lines"][0]["lost_to"], runs[1]["run_id"]);
    let why = |number: usize| versions[number]["why"].as_str().unwrap();
    assert!(why(1).contains("the row left dt=2026-01-01") && why(1).contains("the greatest updated_at wins"), "{}", why(1));
    assert!(why(2).contains(&run_id(&runs[1])) && why(2).contains("the greatest updated_at wins"), "{}", why(2));
    assert!(why(3).contains("already had this row"), "{}", why(3));

    // The rows are those of the layer, with all columns, and only the order's partition was read.
    let rows = &answer["rows"];
    assert_eq!(texts(rows, "dt"), ["2026-01-02"; 2]);
    let file = work.read("output/curated/dt=2026-01-02/part-00000.csv");
    for row in rows.as_array().unwrap() {
        let text = file.lines().nth(row["line"].as_u64().unwrap() as usize - 1).unwrap();
        let columns = file.lines().next().unwrap().split(',').map(|name| row["columns"][name].as_str().unwrap_or_default());
        assert_eq!(columns.collect::<Vec<_>>().join(","), text);
        assert_eq!(row["columns"].as_object().unwrap().len(), text.split(',').count());
    }
    // The index may still name the partition that the order left, and no other.
    let looked_at = &answer["looked_at"];
    assert_eq!((&looked_at["found_by"], &looked_at["partitions"]), (&json!("index"), &json!(9)));
    assert!(looked_at["partitions_read"].as_u64().unwrap() <= 2, "{looked_at}");
    assert_eq!((&answer["notes"], &answer["dropped"], &answer["warehouse"]), (&json!([]), &json!([]), &Value::Null));
    // The checks of each run that changed one of its partitions saw it: the rerun changed none.
    let changed: Vec<_> = runs.iter().filter(|run| run["partitions_written"] != json!([])).collect();
    assert_eq!(texts(&answer["checks"], "run_id"), changed.iter().map(|run| run_id(run)).collect::<Vec<_>>());
    for (seen, run) in answer["checks"].as_array().unwrap().iter().zip(changed) {
        assert_eq!(seen["partitions"], run["partitions_written"]);
    }

    // One sku only.
    let answer = explain(&work, &[id, "y"]);
    assert_eq!(texts(&answer["versions"], "outcome"), ["inserted", "moved", "unchanged"]);
    assert_eq!(answer["rows"].as_array().unwrap().len(), 1);
    assert_eq!(answer["rows"][0]["columns"]["sku"], "y");
}

#[test]
fn the_text_names_runs_places_and_rules_within_a_hundred_columns() {
    let work = Workspace::new();
    work.load(&[version("0007", 1, 1, &["x", "y"])], &[]).published();
    let moved = work.load(&["".into(), version("0007", 2, 2, &["x", "y"])], &[]).published();
    let bad = r#"{"order_id":"0007","created_at":"2026-01-02","items":[{"sku":"S","price":"a very long text that is no price, and goes on and on and on and on and on and on"}]}"#;
    work.load(&[bad.into()], &[]).unchanged();
    let ended = work.etl(&["explain", "0007", "--format", "text"]);
    let text = ended.stdout;
    assert_eq!(ended.code, 0);
    for part in [
        "order 0007: 2 rows, 2 versions, dropped: 1 record, 1 line\n",
        "\nNext: etl quarantine --run ",
        "dt=2026-01-02",
        "moved",
        "orders.ndjson, line 2",
        "invalid_price",
        "unit_price=2.0000",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.contains(moved["run_id"].as_str().unwrap()), "{text}");
    let unknown = work.etl(&["explain", "7", "--output", "output", "--log-format", "text"]);
    assert_eq!(unknown.code, 2, "an id is a text: 7 is not 0007");
    assert!(unknown.stderr.contains("`etl quarantine --output output` what was dropped"), "{}", unknown.stderr);
}

/// Writes lines with blank lines between them; returns the line of each record.
fn with_blank_lines(records: &[String], line_break: &str) -> (String, Vec<u64>) {
    let (mut text, mut lines, mut line) = (String::new(), Vec::new(), 1);
    for (number, record) in records.iter().enumerate() {
        for _ in 0..number % 3 {
            text += &format!("  {line_break}");
            line += 1;
        }
        lines.push(line);
        text += &format!("{record}{line_break}");
        line += 1;
    }
    (text, lines)
}

#[test]
fn a_record_of_a_file_is_named_by_its_exact_line() {
    let records: Vec<String> = (0..40)
        .map(|number| match number % 7 {
            // Dropped records and records out of the window count as lines, too.
            3 => "{broken".to_owned(),
            5 => order(&format!("late-{number}"), "2027-01-01", ""),
            _ => version(&format!("O{number}"), 1 + number % 3, 1 + number % 5, &["a", "b"]),
        })
        .collect();
    for (name, line_break) in [("orders.ndjson", "\n"), ("crlf.ndjson", "\r\n"), ("orders.ndjson.gz", "\n")] {
        let work = Workspace::new();
        let (text, lines) = with_blank_lines(&records, line_break);
        if name.ends_with(".gz") {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            work.write(name, encoder.finish().unwrap());
        } else {
            work.write(name, text);
        }
        work.etl(&["run", "--orders", name, "--until", "2026-12-31"]).published();
        for (number, line) in lines.iter().enumerate().filter(|(number, _)| ![3, 5].contains(&(number % 7))) {
            let answer = explain(&work, &[&format!("O{number}")]);
            let source = &answer["versions"][0]["source"];
            assert_eq!(
                (&source["number"], &source["unit"], &source["location"]),
                (&json!(line), &json!("line"), &json!(name)),
                "O{number}"
            );
        }
    }
}

#[test]
fn array_elements_and_the_files_of_a_folder_are_named() {
    let work = Workspace::new();
    work.write("in/a.json", format!("[{},\n\n{}]", version("A", 1, 1, &["x"]), version("B", 1, 1, &["x"])));
    work.write("in/b.json", format!(r#"{{"data":[{},{}]}}"#, version("C", 1, 1, &["x"]), version("D", 1, 1, &["x"])));
    work.etl(&["run", "--orders", "in"]).published();
    for (id, file, number) in [("A", "in/a.json", 1), ("B", "in/a.json", 2), ("C", "in/b.json", 1), ("D", "in/b.json", 2)] {
        let place = json!({"location": file, "page": null, "unit": "element", "number": number});
        assert_eq!(explain(&work, &[id])["versions"][0]["source"], place, "{id}");
    }
}

#[test]
fn of_several_records_of_one_run_the_loser_names_the_winner() {
    let work = Workspace::new();
    let lines = [
        version("A", 1, 2, &["x", "y"]),
        version("A", 1, 3, &["x"]),
        version("A", 1, 1, &["x"]),
        version("A", 1, 3, &["x"]),
        version("A", 2, 1, &["x", "z", "z"]),
    ];
    work.load(&lines, &[]).published();
    let answer = explain(&work, &["A", "x"]);
    let outcomes = texts(&answer["versions"], "outcome");
    assert_eq!(outcomes, ["duplicate", "duplicate", "duplicate", "inserted", "duplicate"]);
    for (number, expected) in [(0, "line 4 of the same run"), (1, "came later"), (2, "the greatest updated_at wins"), (4, "line 4")] {
        let why = answer["versions"][number]["why"].as_str().unwrap();
        assert!(why.contains(expected), "{number}: {why}");
    }
    // A later line of the same record wins.
    let z = &explain(&work, &["A", "z"])["versions"][0]["lines"];
    assert_eq!(texts(z, "outcome"), ["duplicate", "inserted"], "{z}");
}

#[test]
fn of_equal_versions_the_loaded_one_wins_and_explain_says_so() {
    let work = Workspace::new();
    let paid = version("A", 1, 2, &["x"]);
    work.load(std::slice::from_ref(&paid), &[]).published();
    work.load(&[paid.replace("\"items\"", "\"status\":\"paid\",\"items\"")], &[]).published();
    let answer = explain(&work, &["A"]);
    assert_eq!(texts(&answer["versions"], "outcome"), ["inserted", "won"]);
    let why = answer["versions"][1]["why"].as_str().unwrap();
    assert!(why.contains("both have updated_at") && why.contains("what is loaded wins"), "{why}");
}

#[test]
fn a_removed_line_of_an_order_that_is_replaced_as_a_whole_is_told() {
    let work = Workspace::new();
    work.write("etl.toml", "merge = \"order\"\n");
    work.load(&[version("A", 1, 1, &["x", "y"])], &[]).published();
    let newest = work.load(&[version("A", 1, 2, &["x"])], &[]).published();
    work.load(&[version("A", 1, 1, &["y"])], &[]).unchanged();
    let answer = explain(&work, &["A"]);
    assert_eq!(texts(&answer["versions"], "outcome"), ["inserted", "won", "superseded"]);
    assert_eq!(answer["versions"][2]["lines"][0]["lost_to"], newest["run_id"], "{answer}");
    let notes = answer["notes"].to_string();
    assert!(notes.contains("`y`") && notes.contains("merge = \\\"order\\\""), "{notes}");
}

#[test]
fn pages_of_an_api_are_named_by_number_and_url_without_its_token() {
    let pages: Vec<Vec<String>> =
        (0..3).map(|page| (0..4).map(|place| order(&format!("P{page}-{place}"), "2026-01-01", "")).collect()).collect();
    let held = pages.clone();
    let server = Server::start(move |asked| {
        let page = asked.parameter("page").parse::<usize>().unwrap_or(1) - 1;
        reply(format!("[{}]", held.get(page).map(|records| records.join(",")).unwrap_or_default()))
    });
    let work = Workspace::new();
    let url = format!("{}?api_key=geheim", server.orders());
    work.etl(&["run", "--orders", &url]).published();
    for (page, records) in (1..).zip(&pages) {
        for (number, _) in (1..).zip(records) {
            let answer = explain(&work, &[&format!("P{}-{}", page - 1, number - 1)]);
            let source = &answer["versions"][0]["source"];
            let found = (&source["page"], &source["unit"], &source["number"]);
            assert_eq!(found, (&json!(page), &json!("record"), &json!(number)), "{source}");
            let location = source["location"].as_str().unwrap();
            assert!(location.starts_with(&server.orders()) && location.contains(&format!("page={page}")), "{location}");
            assert!(!answer.to_string().contains("geheim"), "{answer}");
        }
    }
    for (name, bytes) in work.files("state/lineage") {
        assert!(!bytes.windows(6).any(|part| part == b"geheim"), "{name}");
    }
}

#[test]
fn what_was_dropped_is_found_by_id_by_text_and_by_sku() {
    let work = Workspace::new();
    let lines = [
        r#"{"order_id":"A 1","created_at":"2026-01-01","items":[{"sku":"ok","price":1},{"sku":"bad","price":"x"},{"price":2}]}"#,
        r#"{"order_id":"A 1","created_at":"never","items":[{"sku":"ok","price":1}]}"#,
        r#"{"order_id":"A 1","created_at":"2026-01-01","items":[{"sku":"ok"#,
        r#"{"order_id":"A 12","created_at":"never"}"#,
    ];
    let summary = work.load(&lines.map(str::to_owned), &[]).published();
    let answer = explain(&work, &["A 1"]);
    let dropped = answer["dropped"].as_array().unwrap();
    let found: Vec<_> =
        dropped.iter().map(|part| (part["reason"].as_str().unwrap(), part["level"].as_str().unwrap(), &part["line_index"])).collect();
    let expected = [
        ("invalid_price", "line", &json!(1)),
        ("missing_sku", "line", &json!(2)),
        ("invalid_created_at", "record", &Value::Null),
        ("invalid_json", "record", &Value::Null),
    ];
    assert_eq!(found, expected);
    assert_eq!(texts(&answer["dropped"], "named_by"), ["order_id", "order_id", "order_id", "text"]);
    for (part, held) in dropped.iter().zip([lines[0], lines[0], lines[1], lines[2]]) {
        assert_eq!((&part["record"], &part["run_id"], &part["record_is_cut"]), (&json!(held), &summary["run_id"], &json!(false)));
        // The file and line that it names hold the drop.
        let file = work.read(&format!("output/{}", part["file"].as_str().unwrap()));
        let line: Value = serde_json::from_str(file.lines().nth(part["line"].as_u64().unwrap() as usize - 1).unwrap()).unwrap();
        assert_eq!(line["reason"], part["reason"]);
    }
    let reasons = texts(&explain(&work, &["A 1", "bad"])["dropped"], "reason");
    assert_eq!(reasons, ["invalid_price", "missing_sku", "invalid_created_at", "invalid_json"]);
    let reasons = texts(&explain(&work, &["A 1", "ok"])["dropped"], "reason");
    assert_eq!(reasons, ["missing_sku", "invalid_created_at", "invalid_json"]);
    // An order of which nothing but a drop is known.
    assert_eq!(texts(&explain(&work, &["A 12"])["dropped"], "reason"), ["invalid_created_at"]);
}

#[test]
fn an_unknown_order_is_exit_2_and_says_what_was_searched() {
    let work = Workspace::new();
    let refused = |ended: Ended| (ended.code, ended.stderr);
    let (code, said) = refused(work.etl(&["explain", "nope"]));
    assert_eq!(code, 2, "{said}");
    let first = work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    work.load(&[order("B", "2026-01-02", "")], &[]).unchanged();
    let (code, said) = refused(work.etl(&["explain", "nope"]));
    let since = first["started_at"].as_str().unwrap();
    assert!(
        code == 2 && said.contains("output: no order `nope`") && said.contains("2 partitions, 2 runs since") && said.contains(since),
        "{said}"
    );
    let (code, said) = refused(work.etl(&["explain", "A", "no such sku"]));
    assert!(code == 2 && said.contains("sku `no such sku`"), "{said}");
}

#[test]
fn damaged_lineage_is_told_and_all_else_is_still_answered() {
    let work = Workspace::new();
    work.load(&[version("A", 1, 1, &["x"])], &[]).published();
    work.load(&[version("A", 1, 2, &["x"])], &[]).published();
    let [first, _] = lineage(&work).try_into().unwrap();
    let path = work.path(&format!("output/{first}"));
    let whole = std::fs::read(&path).unwrap();
    // Each byte, and each length.
    let mut damaged: Vec<Vec<u8>> =
        (0..whole.len()).step_by(7).map(|place| [&whole[..place], &[!whole[place]], &whole[place + 1..]].concat()).collect();
    damaged.extend([0, 1, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()));
    for bytes in damaged {
        std::fs::write(&path, &bytes).unwrap();
        let answer = explain(&work, &["A"]);
        let notes = answer["notes"].to_string();
        assert_eq!(texts(&answer["versions"], "outcome"), ["won"], "{answer}");
        assert!(notes.contains("lineage can't be read") && notes.contains(&first), "{notes}");
        assert_eq!(answer["rows"].as_array().unwrap().len(), 1);
    }
    // Missing altogether.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(texts(&explain(&work, &["A"])["versions"], "outcome"), ["won"]);
    std::fs::remove_dir_all(work.path("output/state/lineage")).unwrap();
    let answer = explain(&work, &["A"]);
    assert!(answer["notes"].to_string().contains("no kept run tells which record brought"), "{answer}");
    // The next run writes its own.
    work.load(&[version("A", 1, 3, &["x"])], &[]).published();
    assert_eq!(texts(&explain(&work, &["A"])["versions"], "outcome"), ["won"]);
}

#[test]
fn without_the_index_all_partitions_are_read_and_it_is_said() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    assert_eq!(explain(&work, &["A"])["looked_at"]["partitions_read"], 1);
    std::fs::remove_dir_all(work.path("output/state/index")).unwrap();
    let answer = explain(&work, &["A"]);
    assert_eq!((&answer["looked_at"]["found_by"], &answer["looked_at"]["partitions_read"]), (&json!("scan"), &json!(2)));
    assert!(answer["notes"].to_string().contains("the index of orders is missing or damaged"), "{answer}");
    assert_eq!(answer["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn lineage_past_its_retention_is_removed_and_that_of_the_latest_run_stays() {
    let work = Workspace::new();
    for updated in 1..=3 {
        work.load(&[version("A", 1, updated, &["x"])], &[]).published();
    }
    // The first two become runs of long ago, as their names say.
    for (name, start) in lineage(&work)[..2].iter().zip(["20200101", "20200102"]) {
        let (sequence, run) = name.rsplit_once('/').unwrap().1.split_once('-').unwrap();
        let to = format!("output/state/lineage/{sequence}-{start}{}", &run[start.len()..]);
        std::fs::rename(work.path(&format!("output/{name}")), work.path(&to)).unwrap();
    }
    assert_eq!(lineage(&work).len(), 3);
    let ended = work.load(&[version("A", 1, 4, &["x"])], &[]);
    assert!(ended.stderr.contains("lineage of earlier runs has been removed"), "{}", ended.stderr);
    assert_eq!(lineage(&work).len(), 2, "90 days are the default");
    assert_eq!(texts(&explain(&work, &["A"])["versions"], "outcome"), ["won", "won"]);
    // The size, too, is bounded: by the files of the latest runs.
    work.write("etl.toml", "[explain]\nmax_size = \"1MiB\"\n");
    let id = |number: usize| format!("{number}-{}", "long".repeat(10));
    for _ in 0..3 {
        let lines: Vec<_> = (0..12_000).map(|number| version(&id(number), 1, 1, &["first sku of it", "second sku of it"])).collect();
        assert!(work.load(&lines, &[]).code == 0);
    }
    let sizes: Vec<_> = work.files("state/lineage").into_values().map(|bytes| bytes.len()).collect();
    assert!(sizes.len() < 5 && sizes[..sizes.len() - 1].iter().sum::<usize>() <= 1 << 20, "{sizes:?}");
    let answer = explain(&work, &[&id(0)]);
    assert_eq!(answer["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn a_clock_that_jumps_removes_no_lineage() {
    let work = Workspace::new();
    for updated in 1..=2 {
        work.load(&[version("A", 1, updated, &["x"])], &[]).published();
    }
    // All earlier runs are of long ago, as after a jump of the clock.
    for folder in ["reports", "manifests", "state/lineage"] {
        for name in work.files(folder).into_keys() {
            // The manifest of the whole layer is no run's.
            let Some(run) = name.find("202") else { continue };
            let to = format!("{}2020{}", &name[..run], &name[run + 4..]);
            std::fs::rename(work.path(&format!("output/{name}")), work.path(&format!("output/{to}"))).unwrap();
        }
    }
    work.load(&[version("A", 1, 3, &["x"])], &[]).published();
    assert_eq!(texts(&explain(&work, &["A"])["versions"], "outcome"), ["inserted", "won", "won"]);
}

#[test]
fn a_rerun_keeps_lineage_and_touches_nothing_else() {
    let work = Workspace::new();
    let lines: Vec<_> = (0..50).map(|number| version(&format!("O{number}"), 1 + number % 3, 1, &["x"])).collect();
    work.load(&lines, &[]).published();
    let (times, layer) = (work.times(), work.layer());
    work.load(&lines, &[]).unchanged();
    assert_eq!((work.times(), work.layer()), (times, layer));
    let outcomes: Vec<_> = (0..50).map(|number| texts(&explain(&work, &[&format!("O{number}")])["versions"], "outcome")).collect();
    assert_eq!(outcomes, vec![vec!["inserted", "unchanged"]; 50]);
}

#[test]
fn replays_backfills_and_demos_are_explained() {
    let work = Workspace::new();
    let broken = r#"{"order_id":"R","created_at":"2026-01-02","updated_at":"2026-01-02","items":[{"sku":"x","price":"?"}]}"#;
    let dropped = work.load(&[order("A", "2026-01-01", ""), broken.into()], &[]).published();
    let run = run_id(&dropped);
    let quarantine = format!("output/quarantine/run_id={run}/records.ndjson");
    let corrected = work.read(&quarantine).replace("\"?\"", "5");
    work.write(&quarantine, &corrected);
    let replayed = work.etl(&["quarantine", "replay", &run]).published();
    let answer = explain(&work, &["R"]);
    // What was replayed waits for nobody: the next step is not its quarantine.
    assert_eq!(answer["dropped"][0]["replayed_by"], json!([replayed["run_id"]]));
    let replay = run_id(&replayed);
    let text = work.etl(&["explain", "R"]).stdout;
    assert!(text.contains(&format!(", run {run}, replayed by run {replay}\n")), "{text}");
    assert!(text.contains(&format!("      {quarantine}, line 1\n")), "a path that can be opened: {text}");
    assert!(text.ends_with(&format!("\nNext: etl runs show {replay}\n")), "{text}");
    let version = &answer["versions"][0];
    assert_eq!((&version["run_id"], &version["command"]), (&replayed["run_id"], &json!("replay")));
    assert_eq!(version["source"]["location"], format!("quarantine/run_id={run}/records.ndjson"));
    let lines: BTreeMap<_, _> = (1..).zip(corrected.lines()).collect();
    assert!(lines[&version["source"]["number"].as_u64().unwrap()].contains("\"R\""));
    // A backfill: the run of the order's day.
    let ended = work.etl(&[
        "backfill",
        "--orders",
        "orders.ndjson",
        "--since",
        "2026-01-01",
        "--until",
        "2026-01-03",
        "--chunk",
        "1d",
        "--restart",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let versions = explain(&work, &["A"])["versions"].clone();
    assert_eq!(
        (texts(&versions, "command"), texts(&versions, "outcome")),
        (vec!["run".into(), "backfill".into()], vec!["inserted".into(), "unchanged".into()])
    );
    // The demo, in its own output.
    let demo = Workspace::new();
    assert_eq!(demo.etl(&["demo"]).code, 0);
    let files: Vec<_> = walkdir(&demo.path("output/demo/curated"));
    let row = std::fs::read_to_string(&files[0]).unwrap().lines().nth(1).unwrap().to_owned();
    let id = row.split(',').next().unwrap();
    let answer = explain(&demo, &[id, "--output", "output/demo"]);
    let brought = answer["versions"].as_array().unwrap();
    assert!(!brought.is_empty() && brought.iter().all(|version| version["command"] == "demo"), "{answer}");
    assert!(brought[0]["source"]["page"].is_u64(), "{answer}");
}

fn walkdir(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in folder.read_dir().into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walkdir(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn a_failed_check_says_whether_it_names_the_order() {
    let work = Workspace::new();
    work.write("checks/no_refunds.sql", "SELECT order_id, sku FROM fact_order WHERE quantity < 0\n");
    let order = |id: &str, quantity: i32| {
        format!(r#"{{"order_id":"{id}","created_at":"2026-01-01","items":[{{"sku":"S","quantity":{quantity},"price":1}}]}}"#)
    };
    let ended = work.load(&[order("good", 1), order("bad", -1)], &["--on-check-failure", "publish"]);
    let summary = ended.summary();
    assert_eq!(summary["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "no_refunds").count(), 1, "{summary}");
    for (id, is_named) in [("good", false), ("bad", true)] {
        let answer = explain(&work, &[id]);
        let run = &answer["checks"][0];
        assert_eq!((&run["run_id"], &run["partitions"]), (&summary["run_id"], &json!(["2026-01-01"])));
        assert_eq!(run["checks"], summary["checks"].as_array().unwrap().len());
        let failed = run["failed"].as_array().unwrap().iter().find(|check| check["name"] == "no_refunds").unwrap();
        assert_eq!((&failed["violations"], &failed["names_order"]), (&json!(1), &json!(is_named)), "{id}");
    }
}

#[test]
fn the_warehouse_is_compared_and_where_it_is_not_reached_it_is_exit_5() {
    let work = Workspace::new();
    work.load(&[version("O'1", 1, 1, &["x", "y"])], &[]).published();
    let ended = work.etl(&["explain", "O'1", "--warehouse"]);
    assert!(ended.code == 2 && ended.stderr.contains("ETL_REDSHIFT_URL"), "{} {}", ended.code, ended.stderr);
    work.write(".env", "ETL_REDSHIFT_URL=postgresql://u:hush@127.0.0.1:1/db?sslmode=disable\n");
    let ended = work.etl(&["explain", "O'1", "--warehouse"]);
    assert!(ended.code == 5 && !ended.stderr.contains("hush"), "{} {}", ended.code, ended.stderr);

    let Some(bin) = tool("ETL_TEST_POSTGRES", "explaining rows of a real PostgreSQL: the folder of its programs") else { return };
    let postgres = Postgres::start(&bin, "", &[]);
    let work = Workspace::new();
    work.write(
        "etl.toml",
        format!("[redshift]\nschema = \"shop\"\nurl = \"{}\"\niam_role = \"arn:aws:iam::1:role/r\"\n", support::postgres::BUCKET),
    );
    let port = postgres.as_redshift(work.path("output"), Fault::None).port;
    work.write(".env", format!("ETL_REDSHIFT_URL=postgresql://postgres:hush@127.0.0.1:{port}/postgres?sslmode=disable\n"));
    work.load(&[version("O'1", 1, 1, &["x", "y"])], &[]).published();
    for args in [["redshift", "ddl", "--execute"], ["redshift", "copy", "--execute"]] {
        let ended = work.etl(&args);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    let asked = |sku: &[&str]| explain(&work, &[&["O'1"], sku, &["--warehouse"]].concat())["warehouse"].clone();
    let held = asked(&[]);
    assert_eq!((&held["equals_layer"], &held["differences"]), (&json!(true), &json!([])), "{held}");
    assert_eq!(held["rows"].as_array().unwrap().len(), 2);
    assert_eq!(asked(&["y"])["rows"].as_array().unwrap().len(), 1);
    postgres
        .query("WITH changed AS (UPDATE shop.fact_order SET unit_price = 9 WHERE sku = 'y' RETURNING sku) SELECT sku AS line FROM changed");
    postgres.query("WITH gone AS (DELETE FROM shop.fact_order WHERE sku = 'x' RETURNING sku) SELECT sku AS line FROM gone");
    let held = asked(&[]);
    assert_eq!(held["equals_layer"], false);
    let differences = held["differences"].to_string();
    assert!(differences.contains("sku `x`: the warehouse has no row"), "{differences}");
    assert!(differences.contains("unit_price: 1.0000 in the layer, 9.0000 in the warehouse"), "{differences}");
}

/// The names in the first column of the tables of a section of the reference.
fn documented(heading: &str) -> Vec<String> {
    let page = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/explain.md")).unwrap();
    let section: Vec<_> =
        page.lines().skip_while(|line| *line != format!("## {heading}")).skip(1).take_while(|line| !line.starts_with("## ")).collect();
    assert!(!section.is_empty(), "{heading}");
    let first_cells = section.iter().filter(|line| line.starts_with("| `")).map(|line| line.split('|').nth(1).unwrap());
    first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn the_reference_names_every_key_of_an_answer_and_no_other() {
    let work = Workspace::new();
    let broken = r#"{"order_id":"A","created_at":"never"}"#.to_owned();
    work.load(&[version("A", 1, 1, &["x"]), broken], &[]).published();
    let answer = explain(&work, &["A"]);
    let keys = |value: &Value| sorted(value.as_object().unwrap_or_else(|| panic!("{value}")).keys().cloned().collect());
    let units_and_outcomes: Vec<_> = [
        "line",
        "element",
        "row",
        "record",
        "inserted",
        "won",
        "unchanged",
        "moved",
        "superseded",
        "duplicate",
        "deleted",
        "marked",
        "unknown",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(keys(&answer), sorted(documented("Answer")));
    assert_eq!(keys(&answer["rows"][0]), sorted(documented("Rows")));
    assert_eq!(sorted([keys(&answer["versions"][0]), units_and_outcomes].concat()), sorted(documented("Versions")));
    assert_eq!(keys(&answer["dropped"][0]), sorted(documented("Dropped")));
    assert_eq!(keys(&answer["checks"][0]), sorted(documented("Checks")));
    assert_eq!(keys(&answer["looked_at"]), sorted(documented("Searched")));
}
