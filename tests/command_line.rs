//! What a person types and sees: help, results, errors; and what Airflow and cron rely on.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{self, Asked, Ended, Server, Workspace, order, status};

/// What changes from run to run, made the same.
fn settled(text: &str) -> String {
    let mut settled = String::new();
    for line in text.lines() {
        let words: Vec<_> = line
            .split(' ')
            .map(|word| if is_run_id(word.trim_end_matches(['/', ')', ','])) || word.contains("run_id=") { "RUN" } else { word })
            .collect();
        settled.push_str(&words.join(" "));
        settled.push('\n');
    }
    let mut out = String::new();
    let mut rest = settled.as_str();
    // "in 0.12 s"
    while let Some(at) = rest.find(" s, run") {
        let start = rest[..at].rfind(' ').map_or(0, |space| space + 1);
        out.push_str(&rest[..start]);
        out.push_str("TIME s, run");
        rest = &rest[at + " s, run".len()..];
    }
    out + rest
}

fn is_run_id(word: &str) -> bool {
    word.len() > 16 && word.starts_with("20") && word.contains('T') && word.contains('Z')
}

#[test]
fn help_texts() {
    let work = Workspace::new();
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["backfill", "--help"],
        &["check", "--help"],
        &["runs", "--help"],
        &["redshift", "--help"],
        &["demo", "--help"],
    ] {
        let ended = work.etl(args);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        insta::assert_snapshot!(format!("help {}", args[..args.len() - 1].join(" ")).trim(), ended.stdout);
    }
    let bare = work.etl(&[]);
    assert!(bare.code == 2 && bare.stderr.contains("Usage: etl"), "{}", bare.stderr);
}

#[test]
fn the_demo_as_a_person_sees_it() {
    let work = Workspace::new();
    let first = work.etl(&["demo", "--format", "text", "--log-format", "text"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let port = |text: &str| {
        let start = text.find("127.0.0.1:").unwrap() + 10;
        let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
        format!("{}PORT{}", &text[..start], &text[start + digits..])
    };
    insta::assert_snapshot!("demo", settled(&port(&first.stdout)));
    let second = work.etl(&["demo", "--format", "text", "--log-format", "text"]);
    insta::assert_snapshot!("demo again", settled(&port(&second.stdout)));
}

fn failed(work: &Workspace, args: &[&str], code: i32) -> String {
    let ended = work.etl(&[args, &["--log-format", "text", "--format", "json", "-q"]].concat());
    assert_eq!(ended.code, code, "{}", ended.stderr);
    ended.stderr.replace(&work.path("").display().to_string(), "FOLDER/")
}

#[test]
fn a_command_that_an_error_proposes_repeats_the_options_that_were_given() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    work.write("my.toml", "");
    let options = ["--config", "my.toml", "--output", "my out"];
    work.etl(&[&["run", "--orders", "orders.ndjson"], &options[..]].concat()).published();
    let refused = |args: &[&str]| failed(&work, &[args, &options[..]].concat(), 2);
    let unknown = refused(&["runs", "show", "2020"]);
    assert!(unknown.contains("`etl runs --config my.toml --output 'my out'` lists the runs"), "{unknown}");
    // An error of the layer, which knows no options.
    work.write("my.toml", "[[fact.columns]]\nname = \"channel\"\npath = \"c\"\n");
    let columns = refused(&["run", "--orders", "orders.ndjson"]);
    assert!(columns.contains("rewrite the layer: etl rewrite --config my.toml --output 'my out'\n"), "{columns}");
    // An output without a layer is named as a shell reads it.
    let missing = failed(&work, &["undo", "20260131T100000123456Z-01a2b30000", "--output", "no layer"], 2);
    assert!(missing.contains("no layer holds no layer. ") && missing.contains("--orders LOCATION --output 'no layer'\n"), "{missing}");
    let none = work.etl(&["runs", "--output", "no layer"]).stdout;
    assert!(none.contains("in no layer: `etl run --orders LOCATION --output 'no layer'` makes"), "{none}");
    // In a log of JSON it is the same.
    let logged = work.etl(&[&["runs", "show", "2020", "--log-format", "json"], &options[..]].concat()).stderr;
    assert!(logged.contains("`etl runs --config my.toml --output 'my out'` lists the runs"), "{logged}");
}

#[test]
fn error_messages() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let mut all = Vec::new();
    let mut shown =
        |work: &Workspace, args: &[&str], code: i32| all.push(format!("$ etl {}\n{}", args.join(" "), failed(work, args, code)));
    shown(&work, &["run"], 2);
    shown(&work, &["run", "--orders", "ftp://shop.example/orders"], 2);
    shown(&work, &["run", "--orders", "https://me:hush@shop.example/orders"], 2);
    shown(&work, &["run", "--orders", "orders.ndjson", "--since", "yesterday"], 2);
    shown(&work, &["run", "--orders", "orders.ndjson", "--lookback", "1 day"], 2);
    shown(&work, &["run", "--orders", "orders.ndjson", "--output", "ftp://bucket/x"], 2);
    shown(&work, &["run", "--orders", "orders.ndjson", "--config", "other.toml"], 2);
    shown(&work, &["run", "--orders", "nowhere/*.ndjson"], 3);
    shown(&work, &["backfill", "--orders", "orders.ndjson"], 2);
    work.write("etl.toml", "orders = \"orders.ndjson\"\n\n[http]\nmax_atempts = 5\n");
    shown(&work, &["run"], 2);
    work.write("etl.toml", "since = \"soon\"\n");
    shown(&work, &["run"], 2);
    work.write("etl.toml", "");
    work.write(".env", "ETL_SINCE=never\n");
    shown(&work, &["run"], 2);
    work.write(".env", "not a variable\n");
    shown(&work, &["run"], 2);
    insta::assert_snapshot!("errors", all.join("\n"));
}

#[test]
fn unknown_flags_and_values_are_bad_usage() {
    let work = Workspace::new();
    for args in [&["run", "--order", "x"][..], &["fly"], &["run", "--format", "xml"], &["runs", "--limit", "many"], &["run", "-v", "-q"]] {
        let ended = work.etl(args);
        assert_eq!(ended.code, 2, "{args:?}");
        assert!(ended.stderr.contains("error:"), "{}", ended.stderr);
    }
    assert!(work.etl(&["run", "--order", "x"]).stderr.contains("--orders"));
}

/// Both streams as Airflow's `BashOperator` joins them.
fn joined(work: &Workspace, args: &[&str]) -> (i32, String) {
    let etl = work.command(args);
    let line: Vec<_> =
        std::iter::once(etl.get_program()).chain(etl.get_args()).map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let output =
        Command::new("sh").args(["-c", &format!("{} 2>&1", line.join(" "))]).current_dir(work.path("")).env_clear().output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_summary_is_the_last_line_of_both_streams_however_a_run_ends() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let broken = Server::start(|_: &Asked| status(404));
    for (args, code, expected) in [
        (vec!["run", "--orders", "orders.ndjson"], 0, "published"),
        (vec!["run", "--orders", "orders.ndjson", "-vv"], 0, "unchanged"),
        (vec!["run", "--orders", "orders.ndjson", "--dry-run"], 0, "dry_run"),
        (vec!["run", "--orders", "nowhere.ndjson"], 3, "extract_failed"),
        (vec!["run", "--orders", &broken.orders(), "--log-format", "text"], 3, "extract_failed"),
        (vec!["run", "--orders", "orders.ndjson", "--output", "/proc/none"], 5, "storage_failed"),
        (vec!["demo", "--output", "demo"], 0, "published"),
    ] {
        let (ended, text) = joined(&work, &args);
        assert_eq!(ended, code, "{text}");
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(summary["status"], expected, "{text}");
    }
}

#[test]
fn the_summary_has_every_field_of_the_contract() {
    let work = Workspace::new();
    let summary = work.load(&[order("A", "2026-01-01", "")], &[]).published();
    for field in [
        "run_id",
        "status",
        "since",
        "until",
        "started_at",
        "finished_at",
        "execution_time_seconds",
        "records_read",
        "records_processed_count",
        "records_dropped_count",
        "records_out_of_window",
        "dropped",
        "lines_read",
        "lines_dropped",
        "duplicates_dropped",
        "rows_inserted",
        "rows_updated",
        "rows_unchanged",
        "rows_moved",
        "rows_superseded",
        "prices_defaulted",
        "prices_rounded",
        "updated_at_unreadable",
        "repeated_skus",
        "partitions_written",
        "partitions_removed",
        "partitions_unchanged",
        "revenue",
        "checks",
        "alerts",
        "source",
    ] {
        assert!(summary.get(field).is_some(), "{field}");
    }
    assert_eq!((&summary["revenue"], summary["execution_time_seconds"].is_number()), (&json!({"EUR": "1.5000"}), true));
    for field in ["requests", "retries", "pages", "bytes"] {
        assert!(summary["source"][field].is_u64(), "{field}");
    }
    let report = work.files("reports").into_values().next().unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    for field in ["run_id", "status", "rows_inserted", "revenue", "partitions_written", "started_at"] {
        assert_eq!(report[field], summary[field]);
    }
}

#[test]
fn the_manifest_names_what_the_run_wrote() {
    let work = Workspace::new();
    work.write("etl.toml", "[redshift]\nurl = \"s3://bucket/etl\"\n");
    let summary = work.load(&[order("A", "2026-01-01", ""), order("B", "2026-01-02", "")], &[]).published();
    let manifest: Value =
        serde_json::from_str(&work.read(&format!("output/manifests/{}.manifest", summary["run_id"].as_str().unwrap()))).unwrap();
    let entries: Vec<_> = manifest["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["url"].as_str().unwrap(), entry["mandatory"].as_bool(), entry["meta"]["content_length"].as_u64()))
        .collect();
    // Immutable objects: who loads by the manifest sees the whole run, whatever is committed meanwhile.
    let url = |day: &str| format!("s3://bucket/etl/data/dt={day}/{}.csv", summary["run_id"].as_str().unwrap());
    let size = |day: &str| Some(work.files("curated")[&format!("curated/dt={day}/part-00000.csv")].len() as u64);
    assert_eq!(
        entries,
        [(url("2026-01-01").as_str(), Some(true), size("2026-01-01")), (url("2026-01-02").as_str(), Some(true), size("2026-01-02")),]
    );
}

#[test]
fn quiet_says_nothing_on_success_and_the_error_on_failure() {
    let work = Workspace::new();
    let load = |more: &[&str]| -> Ended { work.load(&[order("A", "2026-01-01", "")], more) };
    let quiet = load(&["--quiet"]);
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
    let failed = work.etl(&["run", "--orders", "nowhere.ndjson", "-q"]);
    assert!(failed.code == 3 && failed.stderr.contains("nowhere.ndjson") && failed.stdout.contains("extract_failed"));
    // JSON that was asked for by name is printed all the same.
    assert_eq!(load(&["-q", "--format", "json"]).unchanged()["rows_unchanged"], 1);
}

#[test]
fn logs_are_json_lines_on_stderr_where_it_is_no_terminal() {
    let work = Workspace::new();
    let ended = work.load(&[order("A", "2026-01-01", "")], &[]);
    assert!(!ended.stderr.is_empty());
    for line in ended.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert_eq!(ended.stdout.lines().count(), 1);
}

#[test]
fn settings_come_from_every_layer() {
    let work = Workspace::new();
    work.write(
        "data/orders.ndjson",
        [order("A", "2026-01-01", ""), order("B", "2026-01-02", ""), order("C", "2026-01-03", ""), order("D", "2026-01-04", "")].join("\n"),
    );
    work.write("conf/etl.toml", "orders = \"../data/orders.ndjson\"\noutput = \"../from-file\"\nsince = \"2026-01-02\"\n");
    work.write("conf/.env", "ETL_SINCE=2026-01-03\nETL_OUTPUT=from-env\n");
    let run = |variables: &[(&str, &str)], more: &[&str]| {
        let mut command = work.command(&[&["run", "--config", "conf/etl.toml"], more].concat());
        command.envs(variables.iter().copied());
        support::ended(command.output().unwrap()).published()["rows_inserted"].as_u64().unwrap()
    };
    assert_eq!(run(&[], &[]), 2);
    assert!(work.path("from-env/curated").is_dir());
    assert_eq!(run(&[("ETL_SINCE", "2026-01-04"), ("ETL_OUTPUT", "b")], &[]), 1);
    assert_eq!(run(&[("ETL_SINCE", "2026-01-04")], &["--since", "2026-01-01", "--output", "c"]), 4);
    std::fs::remove_file(work.path("conf/.env")).unwrap();
    assert_eq!(run(&[], &[]), 3);
    assert!(work.path("from-file/curated").is_dir());
}

#[test]
fn redshift_sql_is_printed_and_nothing_else() {
    let work = Workspace::new();
    work.write("etl.toml", "[redshift]\nschema = \"shop\"\nurl = \"s3://bucket/etl/\"\niam_role = \"arn:aws:iam::1:role/load\"\n");
    insta::assert_snapshot!("redshift ddl", work.etl(&["redshift", "ddl"]).stdout);
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    insta::assert_snapshot!("redshift copy", work.etl(&["redshift", "copy"]).stdout);
    work.write("etl.toml", "");
    let ended = work.etl(&["redshift", "copy", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("[redshift]"), "{}", ended.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let etl = env!("CARGO_BIN_EXE_etl");
    let output = Command::new("sh")
        .args(["-c", &format!("('{etl}' run --orders orders.ndjson --format text; echo code $? >&2) | true")])
        .current_dir(work.path(""))
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("code 0"));
}

#[test]
fn an_answer_is_text_on_a_pipe_and_the_summary_of_work_is_json() {
    let work = Workspace::new();
    let run_id = work.load(&[order("A", "2026-01-01", "")], &[]).published()["run_id"].as_str().unwrap().to_owned();
    let json = |ended: &Ended| serde_json::from_str::<Value>(ended.stdout.lines().last().unwrap()).is_ok_and(|value| value.is_object());
    let answers: [&[&str]; 10] = [
        &["status"],
        &["runs"],
        &["runs", "show", &run_id],
        &["quarantine"],
        &["explain", "A"],
        &["plan", "--orders", "orders.ndjson"],
        &["changes", "--since-run", &run_id],
        &["diff", &run_id],
        &["sources"],
        &["probe", "--orders", "orders.ndjson"],
    ];
    for args in answers {
        let text = work.etl(args);
        assert!(text.code == 0 && !text.stdout.is_empty() && !json(&text), "{args:?}: {}{}", text.stdout, text.stderr);
        for by_name in [&["--json"][..], &["--format", "json"]] {
            let ended = work.etl(&[args, by_name].concat());
            assert!(ended.code == 0 && json(&ended), "{args:?} {by_name:?}: {}{}", ended.stdout, ended.stderr);
        }
    }
    let works: [&[&str]; 4] =
        [&["run", "--orders", "orders.ndjson"], &["check"], &["undo", &run_id, "--dry-run"], &["vacuum", "--dry-run"]];
    for args in works {
        let ended = work.etl(args);
        assert!(ended.code == 0 && json(&ended), "{args:?}: {}{}", ended.stdout, ended.stderr);
        let text = work.etl(&[args, &["--format", "text"]].concat());
        assert!(text.code == 0 && !json(&text), "{args:?}: {}", text.stdout);
    }
    let both = work.etl(&["status", "--json", "--format", "text"]);
    assert!(both.code == 2 && both.stderr.contains("--json"), "{}", both.stderr);
}

#[test]
fn colours_are_shown_where_they_are_asked_for_and_nowhere_else() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let has_colours = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = work.command(&[&["run", "--orders", "orders.ndjson", "--format", "text"], args].concat());
        let ended = support::ended(command.envs(variables.iter().copied()).output().unwrap());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout.contains('\u{1b}')
    };
    assert!(!has_colours(&[], &[]));
    assert!(has_colours(&[], &["--color", "always"]));
    assert!(has_colours(&[("CLICOLOR_FORCE", "1")], &[]));
    assert!(!has_colours(&[("CLICOLOR_FORCE", "1")], &["--color", "never"]));
    assert!(!has_colours(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &[]));
    assert!(has_colours(&[("NO_COLOR", "1"), ("ETL_COLOR", "always")], &[]));
    assert_eq!(work.etl(&["status", "--color", "sometimes"]).code, 2);
}

#[test]
fn the_usual_short_flags_mean_the_usual_things() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    work.etl(&["run", "--orders", "orders.ndjson", "-o", "there"]).published();
    work.etl(&["run", "--orders", "orders.ndjson", "-o", "there"]).unchanged();
    assert!(work.path("there/curated").is_dir() && !work.path("output").exists());
    let runs = work.etl(&["runs", "-o", "there", "-n", "1", "--json"]).summary();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
}

/// A command that only reads or changes a layer makes none.
#[test]
fn a_mistyped_output_is_named_and_no_folder_is_made() {
    let work = Workspace::new();
    work.write("etl.toml", "orders = \"orders.ndjson\"\n\n[redshift]\nurl = \"s3://bucket/prefix\"\n");
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    let run_id = "20260131T100000123456Z-01a2b30000";
    let cases: [(&[&str], i32); 24] = [
        (&["status"], 0),
        (&["runs"], 0),
        (&["quarantine"], 0),
        (&["runs", "show", run_id], 2),
        (&["report"], 2),
        (&["report", "-o", "-"], 2),
        (&["diff", run_id], 2),
        (&["changes", "--since-run", run_id], 2),
        (&["explain", "A"], 2),
        (&["check"], 2),
        (&["check", "--history"], 2),
        (&["check", "--rebuild-state"], 2),
        (&["undo", run_id], 2),
        (&["undo", run_id, "--dry-run"], 2),
        (&["erase", "--user", "U1"], 2),
        (&["vacuum"], 2),
        (&["vacuum", "--dry-run"], 2),
        (&["rewrite"], 2),
        (&["rewrite", "--dry-run"], 2),
        (&["rebuild", "--from", "raw"], 2),
        (&["quarantine", "replay", run_id], 2),
        (&["redshift", "copy"], 2),
        (&["redshift", "merge"], 2),
        (&["redshift", "verify"], 2),
    ];
    for (args, code) in cases {
        let ended = work.etl(&[args, &["--output", "outptu", "--format", "text", "--log-format", "text"]].concat());
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, code, "{args:?}: {said}");
        assert!(said.contains("outptu") && (said.contains("`etl run") || said.contains(": etl run")), "{args:?}: {said}");
        assert!(!work.path("outptu").exists(), "{args:?}");
    }
    // A folder of something else is no layer.
    work.write("notes/todo.txt", "");
    assert_eq!(work.etl(&["vacuum", "--output", "notes"]).code, 2);
    assert_eq!(work.path("notes").read_dir().unwrap().count(), 1);
    for args in [["status", "--json"], ["runs", "--json"], ["quarantine", "--json"]] {
        let ended = work.etl(&[&args[..], &["--output", "outptu"]].concat());
        assert!(ended.code == 0 && ended.stderr.contains("outptu holds no layer"), "{args:?}: {}", ended.stderr);
    }
    // One where only a failed run has been is one.
    work.etl(&["run", "--orders", "missing.ndjson", "--output", "failed"]).expect(3, "extract_failed");
    assert_eq!(work.etl(&["vacuum", "--output", "failed"]).code, 0);
    let unknown = work.etl(&["diff", run_id, "--log-format", "text"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("has been recorded in output"), "{}", unknown.stderr);
}

#[test]
fn a_file_in_place_of_a_folder_is_bad_usage() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    for place in ["orders.ndjson", "orders.ndjson/below"] {
        for args in [&["run", "--orders", "orders.ndjson"][..], &["status"], &["vacuum"], &["check"], &["demo"]] {
            let ended = work.etl(&[args, &["--output", place, "--log-format", "text"]].concat());
            assert_eq!(ended.code, 2, "{args:?}: {}", ended.stderr);
            assert!(ended.stderr.contains("--output") && ended.stderr.contains("orders.ndjson is a file"), "{args:?}: {}", ended.stderr);
            assert!(!ended.stderr.contains("cut off"), "{args:?}: {}", ended.stderr);
        }
    }
    let ended = work.etl(&["man", "--dir", "orders.ndjson", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("orders.ndjson is a file"), "{}", ended.stderr);
    work.write("output", "");
    let ended = work.etl(&["run", "--orders", "orders.ndjson", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("output is a file"), "{}", ended.stderr);
}

/// None shows what is not so, and none says what only a programmer understands.
#[test]
fn counts_are_whole_numbers_and_of_none_there_is_nothing_to_show() {
    let work = Workspace::new();
    let run_id = "20260131T100000123456Z-01a2b30000";
    let counted: [(&[&str], &str); 8] = [
        (&["runs", "-n"], "a whole number of runs, 1 or more"),
        (&["quarantine", "--limit"], "a whole number of runs, 1 or more"),
        (&["check", "--history", "-n"], "a whole number of runs, 1 or more"),
        (&["report", "--limit"], "a whole number of runs, 1 or more"),
        (&["report", "--days"], "a whole number of days, 1 or more"),
        (&["backfill", "--jobs"], "a whole number of chunks, 1 or more"),
        (&["run", "--sample"], "a whole number of records, 1 or more"),
        (&["run", "--max-attempts"], "a whole number from 1 to 100"),
    ];
    let or_none: [(&[&str], &str); 4] = [
        (&["quarantine", "--samples"], "a whole number of records, 0 or more"),
        (&["diff", run_id, "-n"], "a whole number of rows, 0 or more"),
        (&["run", "--diff", "--limit"], "a whole number of rows, 0 or more"),
        (&["rebuild", "--from", "raw", "--diff", "--limit"], "a whole number of rows, 0 or more"),
    ];
    let zero = counted.iter().map(|case| (case, "0"));
    let others = counted.iter().chain(&or_none).flat_map(|case| ["x", "-1", "1.5", "99999999999999999999999"].map(|text| (case, text)));
    for ((args, words), text) in zero.chain(others) {
        let ended = work.etl(&[*args, &[text, "--log-format", "text"][..]].concat());
        assert_eq!(ended.code, 2, "{args:?} {text}: {}", ended.stdout);
        assert!(ended.stderr.contains(words), "{args:?} {text}: {}", ended.stderr);
        assert!(!["invalid digit", "too large to fit", "cannot parse"].iter().any(|raw| ended.stderr.contains(raw)), "{}", ended.stderr);
    }
    assert_eq!(work.etl(&["quarantine", "--samples", "0"]).code, 0);
}

#[test]
fn one_of_several_mistakes_names_the_command_that_shows_all() {
    let work = Workspace::new();
    let run = |toml: &str| {
        work.write("etl.toml", toml);
        let ended = work.etl(&["run", "--orders", "orders.ndjson", "--log-format", "text"]);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        ended.stderr
    };
    let several = run("since = \"soon\"\nuntil = \"never\"\n\n[http]\nmax_atempts = 5\n");
    let all = "The settings have 2 more problems: `etl config check --orders orders.ndjson` shows them all";
    assert!(several.contains(all), "{several}");
    let one = run("since = \"soon\"\n");
    assert!(!one.contains("config check"), "{one}");
}

#[test]
fn an_error_is_said_once() {
    let work = Workspace::new();
    let ended = work.etl(&["run", "--orders", "missing.ndjson", "--format", "text", "--log-format", "text"]);
    assert_eq!(ended.code, 3);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(said.matches("no such file or folder").count(), 1, "{said}");
    assert!(ended.stdout.contains("source_failed: the error of this run"), "{said}");
    assert!(!ended.stdout.contains("none") && !ended.stdout.contains("0 records"), "nothing was read: {said}");
    // Machines get it where they look for it.
    let summary = work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    assert_eq!(summary["alerts"][0]["message"], "missing.ndjson: no such file or folder");
}

#[test]
fn a_replay_says_where_it_reads() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01", ""), r#"{"created_at":"2026-01-02"}"#.to_owned()];
    let run_id = work.load(&lines, &[]).published()["run_id"].as_str().unwrap().to_owned();
    let ended = work.etl(&["quarantine", "replay", &run_id, "--format", "text"]);
    let place = format!("1 record from output/quarantine/run_id={run_id}/records.ndjson ");
    assert!(ended.code == 0 && ended.stdout.contains(&place), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn a_location_that_begins_as_a_url_does_is_no_folder_of_this_machine() {
    let work = Workspace::new();
    work.write("o.ndjson", order("A", "2026-01-01", ""));
    for (output, form) in [
        ("s3:/my-bucket/x", "s3://bucket/key"),
        ("s3:my-bucket", "s3://bucket/key"),
        ("gcs://my-bucket/x", "gs://bucket/key"),
        ("file:///data/x", "as its path alone"),
    ] {
        let command = |args: &[&str]| support::ended(work.command(args).env("ETL_OUTPUT", output).output().unwrap());
        let refused = command(&["run", "--orders", "o.ndjson"]);
        assert!(refused.code == 2 && refused.stderr.contains(form), "{output}: {} {}", refused.code, refused.stderr);
        let refused = work.etl(&["run", "--orders", output]);
        assert!(refused.code == 2 && refused.stderr.contains(form), "{output}: {} {}", refused.code, refused.stderr);
        assert_eq!(work.etl(&["demo", "--output", output]).code, 2, "{output}");
    }
    let refused = work.etl(&["run", "--orders", "https:/user:hush@shop.example/orders"]);
    assert!(refused.code == 2 && !refused.stderr.contains("hush"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(work.path("")).unwrap().count(), 1, "nothing is made");
}
