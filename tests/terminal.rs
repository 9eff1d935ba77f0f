//! What a terminal shows, at several widths: nothing is wider, no word is cut, and a table says which columns it leaves out.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use crate::support::{Workspace, order};

/// A command on a terminal of its own.
fn terminal(work: &Workspace, columns: usize, args: &str) -> Command {
    let line = format!("stty cols {columns} rows 50 && exec '{}' {args}", env!("CARGO_BIN_EXE_etl"));
    let mut command = Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .current_dir(work.path(""))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// What a command prints on a terminal of so many columns; `None` where no terminal can be made.
fn on_terminal(work: &Workspace, columns: usize, args: &str) -> Option<String> {
    let output = terminal(work, columns, &format!("{args} 2>/dev/null")).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    assert!(output.status.success(), "{args}: {text}");
    Some(text)
}

/// A layer with drops, warnings, an alert and two runs; the id of the first.
fn busy_layer() -> (Workspace, String) {
    let work = Workspace::new();
    let dropped = r#"{"order_id":"B","created_at":"2026-01-02T00:00:00Z","note":"a text that goes on and on and on and on and on and on","items":[]}"#;
    let lines = [order("A", "2026-01-01", r#","user_id":"U1""#), dropped.to_owned(), r#"{"created_at":"2026-01-02"}"#.to_owned()];
    let first = work.load(&lines, &[]).published()["run_id"].as_str().unwrap().to_owned();
    work.load(&[order("A", "2026-01-01", r#","status":"paid","updated_at":"2026-02-01""#), order("C", "2026-01-04", "")], &[]).published();
    (work, first)
}

#[test]
fn text_fits_the_terminal_and_no_word_is_cut() {
    let (work, first) = busy_layer();
    let (diff, show, changes) = (format!("diff {first}"), format!("runs show {first}"), format!("changes --since-run {first}"));
    let note = "a text that goes on and on and on and on and on and on and on and on and on and on and on and on and on";
    work.write("long.ndjson", order("L", "2026-01-05", &format!(r#","user_id":"U1","status":"{note}""#)));
    let commands = [
        "runs",
        "status",
        "quarantine",
        "sources",
        "check",
        "check --history",
        "explain A",
        "plan --orders orders.ndjson",
        "run --orders long.ndjson --sample 1",
        "run --orders long.ndjson --dry-run --diff",
        "config show --orders orders.ndjson",
        "config check --orders orders.ndjson",
        "doctor --orders orders.ndjson",
        "probe --orders long.ndjson",
        changes.as_str(),
        diff.as_str(),
        show.as_str(),
    ];
    for columns in [80, 100, 130] {
        for args in commands {
            let Some(text) = on_terminal(&work, columns, args) else {
                eprintln!("skipped: text on a terminal (`script` is missing)");
                return;
            };
            assert!(!text.trim().is_empty(), "{args}");
            for line in text.lines() {
                let is_one_word = !line.trim().contains(' ');
                assert!(line.chars().count() <= columns || is_one_word, "{args}, {columns} columns: {line}\n{text}");
            }
        }
    }
}

#[test]
fn a_sample_that_is_too_wide_is_a_block_for_each_row_and_hides_no_column() {
    let (work, _) = busy_layer();
    let Some(narrow) = on_terminal(&work, 60, "run --orders orders.ndjson --sample 1") else { return };
    assert!(narrow.contains("row 1 of 1\n  order_id         A\n") && narrow.contains("\n  status           paid\n"), "{narrow}");
    assert!(narrow.contains("1 row of 1 record;"), "{narrow}");
    let wide = on_terminal(&work, 200, "run --orders orders.ndjson --sample 1").unwrap();
    assert!(wide.starts_with("order_id  sku ") && !wide.contains("row 1 of 1"), "{wide}");
}

#[test]
fn a_long_value_of_a_setting_is_shown_whole_on_a_terminal_and_in_one_line_of_a_pipe() {
    let work = Workspace::new();
    let url = format!("https://shop.invalid/{}/orders", "long".repeat(40));
    work.write("etl.toml", format!("orders = \"{url}\"\n"));
    let piped = work.etl(&["config", "show"]).stdout;
    let line = piped.lines().find(|line| line.starts_with("orders.location ")).unwrap();
    assert!(line.ends_with(&format!("  {url}  etl.toml, line 1")), "{line}");
    let others: Vec<_> = piped.lines().filter(|other| *other != line).collect();
    assert!(!piped.contains('…') && others.iter().all(|other| other.chars().count() < 120), "{piped}");
    let Some(shown) = on_terminal(&work, 80, "config show") else {
        eprintln!("skipped: a long value on a terminal (`script` is missing)");
        return;
    };
    assert!(!shown.contains('…') && shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let (value, from) = (shown.find("value").unwrap(), shown.find("from").unwrap());
    let values: String = shown.lines().map(|line| line.chars().take(from).skip(value).collect::<String>()).collect();
    assert!(values.replace(' ', "").contains(&url), "{shown}");
}

#[test]
fn a_path_with_blanks_stays_in_one_piece() {
    let (work, output) = (Workspace::new(), "a folder of a customer/with many parts/and more parts than fit into a line/my output");
    work.write("all my orders of a whole year.ndjson", order("A", "2026-01-01", "") + "\n{}\n");
    let run = format!("run --orders 'all my orders of a whole year.ndjson' --output '{output}'");
    let Some(text) = on_terminal(&work, 60, &run) else { return };
    for path in ["all my orders of a whole year.ndjson".to_owned(), format!("{output}/curated"), format!("{output}/quarantine/run_id=")] {
        assert!(text.contains(&path), "{path}: {text}");
    }
    let listed = on_terminal(&work, 60, &format!("quarantine --output '{output}'")).unwrap();
    assert!(listed.contains(&format!("\n{output}/quarantine/run_id=")), "{listed}");
    assert!(work.path(output).join("curated").is_dir());
}

#[test]
fn an_id_with_line_breaks_does_not_break_a_line() {
    let work = Workspace::new();
    let record = r#"{"order_id":"A\n1\u001b[31m","created_at":"2026-01-01T00:00:00Z","items":[{"sku":"x\ty","quantity":-1,"price":1}]}"#;
    work.write("orders.ndjson", record);
    let shown = |args: &[&str]| work.etl(&[args, &["--format", "text"]].concat()).stdout;
    let run = shown(&["run", "--orders", "orders.ndjson"]);
    assert!(run.contains(r"order_id=A\n1\u{1b}[31m") && run.contains(r"sku=x\ty"), "{run}");
    for args in [&["check"][..], &["explain", "A\n1\u{1b}[31m"], &["run", "--orders", "orders.ndjson", "--sample", "1"]] {
        let text = shown(args);
        assert!(text.contains(r"A\n1\u{1b}[31m") && !text.contains('\u{1b}'), "{args:?}: {text}");
    }
}

#[test]
fn a_table_says_what_it_leaves_out_and_a_pipe_gets_all() {
    let (work, first) = busy_layer();
    let Some(narrow) = on_terminal(&work, 80, "runs") else { return };
    assert!(narrow.contains(&first) && narrow.contains("published") && !narrow.contains("partitions  "), "{narrow}");
    assert!(narrow.contains("not shown at this width:") && narrow.contains("partitions"), "{narrow}");
    let wide = on_terminal(&work, 200, "runs").unwrap();
    assert!(!wide.contains("not shown") && wide.contains("partitions"), "{wide}");
    let piped = work.etl(&["runs"]).stdout;
    assert!(["partitions", "seconds", "command", "window"].iter().all(|title| piped.contains(title)), "{piped}");
    assert!(wide.contains("██") && !piped.contains('█'), "bars are for the eye: {piped}");
    assert_eq!(piped.lines().count(), 3, "a line a run, and the titles: {piped}");
}

/// At any width, an undo is told from a run, and the days that it removed are counted.
#[test]
fn the_history_tells_an_undo_from_a_run() {
    let work = Workspace::new();
    let lines = [order("A", "2026-01-01", ""), order("B", "2026-01-02", "")];
    let run_id = work.load(&lines, &[]).published()["run_id"].as_str().unwrap().to_owned();
    assert_eq!(work.etl(&["undo", &run_id]).code, 0);
    let cells = |text: &str| text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>();
    let piped = cells(&work.etl(&["runs"]).stdout);
    // run, command, status, records, dropped records, rows written, partitions, ...
    assert_eq!(piped[1][1..7], ["undo", "published", "0", "0", "0", "2"], "it removed two days: {piped:?}");
    assert_eq!(piped[2][1..7], ["run", "published", "2", "0", "2", "2"], "{piped:?}");
    let Some(narrow) = on_terminal(&work, 80, "runs") else { return };
    assert_eq!(cells(&narrow)[1][1..3], ["undo", "published"], "{narrow}");
}

/// Ids as long as these leave no room for a value beside them.
#[test]
fn a_difference_shows_the_amount_of_a_row_at_any_width() {
    let work = Workspace::new();
    let id = format!("gid://shop/Order/{}", "4".repeat(30));
    work.load(&[order("Z", "2026-01-01", "")], &[]).published();
    let run_id = work.load(&[order(&id, "2026-01-02", "")], &[]).published()["run_id"].as_str().unwrap().to_owned();
    for columns in [60, 80, 100, 200] {
        let Some(text) = on_terminal(&work, columns, &format!("diff {run_id}")) else { return };
        assert!(
            text.starts_with("1 row added") && text.contains("line_total 1.5000") && text.contains(&id) && !text.contains('…'),
            "{columns} columns: {text}"
        );
    }
    let narrow = on_terminal(&work, 60, &format!("diff {run_id}")).unwrap();
    assert!(narrow.contains("row 1 of 1\n"), "{narrow}");
}

/// What a command prints on both streams of a terminal, where somebody types `typed`, and its exit code.
fn at_keyboard(work: &Workspace, columns: usize, args: &str, typed: &str) -> Option<(i32, String)> {
    let mut child = terminal(work, columns, args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Some((output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap().replace('\r', "")))
}

/// What a command prints on a terminal where somebody presses Ctrl-C at its question, and its exit code.
fn interrupted_at(work: &Workspace, args: &str, question: &str) -> Option<(i32, String)> {
    let mut child = terminal(work, 100, args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&shown).contains(question) {
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "no question: {}", String::from_utf8_lossy(&shown));
        shown.push(byte[0]);
    }
    keyboard.write_all(b"\x03").unwrap();
    screen.read_to_end(&mut shown).unwrap();
    let code = child.wait().unwrap().code().unwrap();
    drop(keyboard);
    Some((code, String::from_utf8(shown).unwrap().replace('\r', "")))
}

#[test]
fn ctrl_c_at_a_question_ends_the_command_and_says_what_is_as_it_was() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", r#","user_id":"U1""#)], &[]).published();
    let before = work.layer();
    let Some((code, text)) = interrupted_at(&work, "erase --user U1 --color never", "[y/N] ") else { return };
    assert_eq!(code, 130, "{text}");
    assert!(text.contains("\nerror: interrupted; nothing was erased\n"), "a line of its own: {text}");
    assert_eq!(work.layer(), before);
    let (code, text) = interrupted_at(&work, "init --color never", "Empty: none").unwrap();
    assert_eq!(code, 130, "{text}");
    assert!(text.contains("\nerror: interrupted; nothing was written\n"), "{text}");
    assert!(!work.path("etl.toml").exists(), "{text}");
}

#[test]
fn a_typo_of_a_profile_is_asked_again() {
    let work = Workspace::new();
    let Some((code, text)) = at_keyboard(&work, 100, "init --color never", "shopfy\nfakestore\n\n\n\n") else { return };
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("did you mean `shopify`?"), "{text}");
    assert!(std::fs::read_to_string(work.path("etl.toml")).unwrap().contains("profile = \"fakestore\""), "{text}");
}

#[test]
fn an_erasure_asks_on_a_terminal_and_nowhere_else() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", r#","user_id":"U1""#), order("B", "2026-01-02", r#","user_id":"U2""#)], &[]).published();
    let before = work.layer();
    for typed in ["n\n", "\n"] {
        let Some((code, text)) = at_keyboard(&work, 80, "erase --user U1 --color never", typed) else { return };
        assert_eq!(code, 2, "{text}");
        assert!(text.contains("Erase user `U1` (2 rows, 0 records, ") && text.contains(")? [y/N]"), "{text}");
        assert!(text.contains("user removed from 1 row in 1 partition"), "{text}");
        assert!(text.contains("not confirmed"), "{text}");
        assert_eq!(work.layer(), before, "{text}");
    }
    let (code, text) = at_keyboard(&work, 80, "erase --user U1 --dry-run --color never", "").unwrap();
    assert!(code == 0 && !text.contains("[y/N]"), "{text}");
    let (code, text) = at_keyboard(&work, 80, "erase --user U1 --color never", "y\n").unwrap();
    assert!(code == 0 && text.contains("erased 1 user"), "{text}");
    assert_ne!(work.layer(), before);
    let (code, text) = at_keyboard(&work, 80, "erase --user U2 --yes --color never", "").unwrap();
    assert!(code == 0 && text.contains("erased 1 user") && !text.contains("[y/N]"), "{text}");
    let ended = work.etl(&["erase", "--user", "U2"]);
    assert!(ended.code == 0 && !ended.stderr.contains("[y/N]"), "{}", ended.stderr);
}

#[test]
fn lines_of_the_log_end_between_words_on_a_terminal_alone() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let args = "run --orders orders.ndjson --metrics-file a/folder/that/is/missing/etl.prom --no-progress --color never";
    let Some((code, text)) = at_keyboard(&work, 80, args, "") else { return };
    assert_eq!(code, 0, "{text}");
    let warned: Vec<_> = text.lines().skip_while(|line| !line.contains(" WARN the metrics")).collect();
    assert!(warned.len() > 2 && warned[1].starts_with("      ") && !warned[1].starts_with("       "), "{text}");
    let is_one_word = |line: &str| !line.trim().contains(' ');
    assert!(text.lines().all(|line| line.chars().count() <= 80 || is_one_word(line)), "{text}");
    let piped = work.etl(&[&args.split(' ').collect::<Vec<_>>()[..], &["--log-format", "text"]].concat()).stderr;
    let line = piped.lines().find(|line| line.contains("WARN the metrics")).unwrap();
    assert!(line.len() > 80 && line.contains("name another file"), "{piped}");
}

#[test]
fn names_of_profiles_are_whole_at_any_width() {
    let work = Workspace::new();
    let Some(narrow) = on_terminal(&work, 60, "sources") else { return };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&narrow), words(&work.etl(&["sources"]).stdout), "{narrow}");
}
