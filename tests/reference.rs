//! `docs/reference` compared with the program: fields, values, reasons, keys, statuses, exit codes, columns, limits and checks.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use orders_etl::{
    cancel::Stop,
    check::{BUILTIN, Severity},
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, FACT_COLUMNS, LONGEST_TEXT, ORDER_TOTAL_COLUMNS, Pairs, REFUND_COLUMNS, Reason},
    normalize::{LINE_FIELDS, MOST_COLUMNS, RECORD_FIELDS},
    report::Status,
    run::RunError,
    settings::{Limits, SettingsError},
    source::SourceError,
    store::{LockError, StoreError},
};
use serde_json::{Value, json};

use crate::support::{Server, Workspace, assert_counts_add_up, order, status};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The text between a heading and the next one of its level.
fn section(name: &str, heading: &str) -> String {
    let title = format!("## {heading}");
    let text = page(name);
    let body: Vec<_> = text.lines().skip_while(|line| *line != title).skip(1).take_while(|line| !line.starts_with("## ")).collect();
    assert!(!body.is_empty(), "{name} has no section `{heading}`");
    body.join("\n")
}

/// The cells of each table row that begins with a name in backquotes.
fn rows(section: &str) -> Vec<Vec<String>> {
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The texts in backquotes of a cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// All names of the first column.
fn names(section: &str) -> Vec<String> {
    rows(section).iter().flat_map(|row| quoted(&row[0])).collect()
}

/// The first block of code of a language.
fn block(section: &str, language: &str) -> String {
    let start = format!("```{language}");
    let lines: Vec<_> = section.lines().skip_while(|line| *line != start).skip(1).take_while(|line| *line != "```").collect();
    assert!(!lines.is_empty(), "no block of {language}");
    lines.join("\n") + "\n"
}

/// A number below a million as prose writes it: `65,535`.
fn grouped(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

/// The longest text that is not cut, as prose writes it.
fn longest_text() -> String {
    format!("{} bytes", grouped(LONGEST_TEXT))
}

#[test]
fn every_field_is_documented_with_its_default_paths() {
    for (heading, fields) in [("Fields of a record", &RECORD_FIELDS[..]), ("Fields of a line", &LINE_FIELDS[..])] {
        let rows = rows(&section("orders.md", heading));
        let documented: Vec<_> = rows.iter().map(|row| (quoted(&row[0]).join(" "), quoted(&row[1]).join(" "))).collect();
        let expected: Vec<_> = fields.iter().map(|(name, paths)| ((*name).to_owned(), paths.join(" "))).collect();
        assert_eq!(documented, expected, "{heading}");
    }
}

#[test]
fn the_example_order_becomes_the_example_rows() {
    let example = section("orders.md", "Example");
    let work = Workspace::new();
    work.write("order.json", block(&example, "json"));
    work.etl(&["run", "--orders", "order.json"]).published();
    assert_eq!(work.read("output/curated/dt=2026-02-01/part-00000.csv"), block(&example, "csv"));
}

#[test]
fn each_example_of_an_id_becomes_the_documented_text() {
    let (mut lines, mut ids) = (Vec::new(), Vec::new());
    for row in rows(&section("orders.md", "Ids")) {
        let id = quoted(&row[1]).pop();
        for written in quoted(&row[0]) {
            let number = lines.len();
            lines.push(format!(r#"{{"order_id":"{number:02}","created_at":"2026-01-31","user_id":{written},"items":[{{"sku":"S"}}]}}"#));
            ids.push(id.clone().unwrap_or_else(|| "NULL".to_owned()));
        }
    }
    let invalid = ids.iter().filter(|id| *id == "NULL").count();
    assert!(invalid > 0 && invalid < ids.len(), "{ids:?}");
    let work = Workspace::new();
    let summary = work.load(&lines, &[]).published();
    assert_eq!(work.query("SELECT user_id FROM fact_order ORDER BY order_id"), ids);
    assert_eq!(summary["values_unreadable"], invalid);
}

#[test]
fn each_example_of_a_time_is_stored_as_documented_in_facts_and_dimensions() {
    let rows = rows(&section("orders.md", "Times"));
    let (mut orders, mut users, mut in_facts, mut in_users) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, row) in rows.iter().enumerate() {
        let written = quoted(&row[0]).remove(0);
        orders.push(format!(r#"{{"order_id":"{number:02}","created_at":{written},"items":[{{"sku":"S"}}]}}"#));
        users.push(format!(r#"{{"user_id":"{number:02}","created_at":{written}}}"#));
        let stored = quoted(&row[2]).pop();
        in_users.push(format!("{number:02}|{}", stored.as_deref().unwrap_or("NULL")));
        in_facts.extend(stored.map(|stored| format!("{number:02}|{stored}")));
    }
    let invalid = in_users.len() - in_facts.len();
    assert!(invalid > 0 && !in_facts.is_empty(), "{in_users:?}");
    let work = Workspace::new();
    work.write("users.ndjson", users.join("\n"));
    let summary = work.load(&orders, &["--users", "users.ndjson"]).published();
    assert_eq!(work.query("SELECT order_id, created_at FROM fact_order ORDER BY order_id"), in_facts);
    assert_eq!(work.query("SELECT user_id, created_at FROM dim_user ORDER BY user_id"), in_users);
    assert_eq!((&summary["dropped"]["invalid_created_at"], &summary["values_unreadable"]), (&json!(invalid), &json!(invalid)));
}

#[test]
fn each_example_of_an_amount_in_minor_units_becomes_the_documented_price() {
    let rows = rows(&section("orders.md", "Amounts"));
    let examples: Vec<_> = rows.iter().filter(|row| row.len() == 4).collect();
    assert!(!examples.is_empty());
    for row in examples {
        let cell = |column: usize| quoted(&row[column]).remove(0);
        let (scale, currency, amount) = (cell(0), cell(1), cell(2));
        let work = Workspace::new();
        work.write("etl.toml", format!("[orders.line_fields]\nunit_price = {{ path = \"amount\", scale = {scale} }}\n"));
        let record =
            format!(r#"{{"order_id":"A","created_at":"2026-01-31","currency":"{currency}","items":[{{"sku":"S","amount":{amount}}}]}}"#);
        let ended = work.load(&[record], &[]);
        assert_eq!(ended.code, 0, "{row:?}: {}", ended.stderr);
        let summary = ended.summary();
        let price = match summary["dropped"].as_object().unwrap().keys().find(|reason| *reason != "no_valid_items") {
            Some(reason) => reason.clone(),
            None => work.query("SELECT unit_price FROM fact_order").remove(0),
        };
        assert_eq!(price, cell(3), "{row:?}");
    }
}

#[test]
fn every_reason_is_documented_with_its_level_and_limit() {
    let rows = rows(&section("orders.md", "Dropped records and lines"));
    let documented: BTreeSet<_> = rows.iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone())).collect();
    let expected: BTreeSet<_> = Reason::ALL.iter().map(|reason| (reason.as_str().to_owned(), reason.level().as_str().to_owned())).collect();
    assert_eq!(documented, expected);
    assert_eq!(rows.len(), Reason::ALL.len(), "a reason stands twice");
    let limits = Limits::default();
    for (reason, limit) in [
        ("record_too_large", format!("({})", limits.record_bytes)),
        ("record_too_deep", format!("({})", limits.depth)),
        ("missing_order_id", longest_text()),
        ("missing_sku", longest_text()),
    ] {
        let row = rows.iter().find(|row| quoted(&row[0]) == [reason]).unwrap();
        assert!(row[2].contains(&limit), "{reason}: {}", row[2]);
    }
}

#[test]
fn each_example_of_a_dropped_record_or_line_is_dropped_for_its_reason() {
    let (mut expected, mut lines) = (BTreeSet::new(), Vec::new());
    for row in rows(&section("orders.md", "Dropped records and lines")) {
        let (reason, example) = (quoted(&row[0]).remove(0), quoted(&row[3]).remove(0));
        // Too large for a table.
        if example.contains('…') {
            continue;
        }
        let record = match row[1].as_str() {
            "line" => format!(r#"{{"order_id":"{reason}","created_at":"2026-01-31","items":[{example},{{"sku":"GOOD"}}]}}"#),
            _ => example,
        };
        expected.insert((reason, serde_json::from_str::<Value>(&record).unwrap().to_string()));
        lines.push(record);
    }
    assert_eq!(expected.len(), Reason::ALL.len() - 2);
    let work = Workspace::new();
    work.load(&lines, &[]).published();
    let quarantine = work.quarantine();
    let dropped: BTreeSet<_> =
        quarantine.iter().map(|line| (line["reason"].as_str().unwrap().to_owned(), line["record"].to_string())).collect();
    let missing: Vec<_> = expected.difference(&dropped).collect();
    assert!(missing.is_empty(), "{missing:#?} of {dropped:#?}");
}

/// Paths whose keys are data (reasons, currencies, stages, columns), or are documented elsewhere in the same table.
const ENDS: [&str; 7] =
    ["dropped", "revenue", "stage_seconds", "checks[].sample", "alerts_recovered", "completeness.users", "completeness.products"];

/// The path of each key, as `summary.md` writes it.
fn key_paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    if !path.is_empty() && !path.ends_with(']') && !path.ends_with('*') {
        found.insert(path.to_owned());
    }
    if ENDS.contains(&path) {
        return;
    }
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let path = match path {
                    "" => key.clone(),
                    "dimensions" => "dimensions.*".to_owned(),
                    _ => format!("{path}.{key}"),
                };
                key_paths(inner, &path, found);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| key_paths(element, &format!("{path}[]"), found)),
        _ => {}
    }
}

fn all_key_paths(summary: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    key_paths(summary, "", &mut found);
    found
}

/// The keys of a certificate without those of users and products.
fn certificate_keys(certificate: &Value) -> BTreeSet<&str> {
    certificate.as_object().unwrap().keys().map(String::as_str).filter(|key| !["users", "products"].contains(key)).collect()
}

#[test]
fn every_key_of_a_summary_is_documented_and_every_documented_key_exists() {
    let work = Workspace::new();
    work.write("users.csv", "user_id,name\nU1,Anna\n");
    work.write("products.csv", "sku,name\nS,Thing\n");
    // A record that is dropped raises an alert, its receiver refuses it, and a user that no source knows gives a check a sample.
    let receiver = Server::start(|_| status(404));
    work.write(".env", format!("ETL_ALERT_SLACK_URL={}/hook\n", receiver.url));
    // The records have another shape than those before.
    let sources = ["--users", "users.csv", "--products", "products.csv"];
    work.load(&[order("Z", "2026-01-01", "")], &sources).published();
    let lines = [order("A", "2026-01-01", r#","user_id":"U9""#), r#"{"order_id":"B"}"#.to_owned()];
    let summary = work.load(&lines, &[&sources[..], &["--keep-raw"]].concat()).published();
    let documented: BTreeSet<_> = names(&section("summary.md", "Keys")).into_iter().collect();
    assert_eq!(documented, all_key_paths(&summary));
    let completeness = &summary["completeness"];
    for source in ["users", "products"] {
        assert_eq!(certificate_keys(&completeness[source]), certificate_keys(completeness), "{source}");
    }
    let example: Value = serde_json::from_str(&block(&section("summary.md", "Example"), "json")).unwrap();
    assert_eq!(all_key_paths(&example), documented, "the example");
    assert_counts_add_up(&example);
}

/// The keys of an object with the texts of their values, in its order.
fn pairs(object: &str) -> Vec<(String, String)> {
    let pairs: Pairs<'_> = serde_json::from_str(object).unwrap();
    pairs.0.into_iter().map(|(key, value)| (key.into_owned(), value.get().to_owned())).collect()
}

fn keys_of(object: &str) -> Vec<String> {
    pairs(object).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn the_keys_of_a_summary_have_the_documented_order_and_its_counts_include_the_dimensions() {
    let work = Workspace::new();
    work.write("users.ndjson", r#"{"user_id":"U1","created_at":"2026"}"#);
    let ended = work.load(&[order("A", "2026-01-01", r#","status":{}"#)], &["--users", "users.ndjson"]);
    let summary = ended.published();
    assert_eq!((&summary["values_unreadable"], &summary["dimensions"]["dim_user"]["values_unreadable"]), (&json!(2), &json!(1)));
    let documented = names(&section("summary.md", "Keys"));
    let at_the_top: Vec<_> = documented.iter().filter(|key| !key.contains(['.', '['])).collect();
    let of_a_dimension: Vec<_> = documented.iter().filter_map(|key| key.strip_prefix("dimensions.*.")).collect();
    let example = block(&section("summary.md", "Example"), "json");
    for text in [ended.stdout.lines().last().unwrap(), example.as_str()] {
        assert_eq!(keys_of(text).iter().collect::<Vec<_>>(), at_the_top);
        let (_, dimensions) = pairs(text).into_iter().find(|(key, _)| key == "dimensions").unwrap();
        for (dimension, counts) in pairs(&dimensions) {
            assert_eq!(keys_of(&counts), of_a_dimension, "{dimension}");
        }
    }
    let example: Value = serde_json::from_str(&example).unwrap();
    for count in ["values_unreadable", "texts_cut"] {
        let of_dimensions: u64 = example["dimensions"].as_object().unwrap().values().map(|counts| counts[count].as_u64().unwrap()).sum();
        assert!(example[count].as_u64().unwrap() >= of_dimensions, "{count} of the example");
    }
}

#[test]
fn every_key_of_a_backfills_result_is_documented() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let ended = work.etl(&["backfill", "--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-02"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let result = ended.summary();
    let keys: BTreeSet<_> = result.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names(&section("summary.md", "Result of a backfill")).into_iter().collect::<BTreeSet<_>>(), keys);
}

#[test]
fn every_key_of_a_result_of_several_shops_is_documented() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    work.write("etl.toml", "[[shops]]\nname = \"de\"\norders = \"orders.ndjson\"\n");
    let documented: BTreeSet<_> = names(&section("summary.md", "Result of several shops")).into_iter().collect();
    for args in [&["run"][..], &["backfill", "--since", "2026-01-01", "--until", "2026-01-02"]] {
        let ended = work.etl(args);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let result = ended.summary();
        assert_eq!(result.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), documented);
        assert_eq!(result["shops"][0]["shop"], "de");
    }
}

#[test]
fn every_key_of_a_rebuild_is_documented() {
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &["--keep-raw"]).published();
    let summary = work.etl(&["rebuild", "--from", "raw", "--orders", "orders.ndjson"]).unchanged();
    let keys: BTreeSet<_> = summary["rebuilt_from"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names(&section("summary.md", "Result of a rebuild")).into_iter().collect::<BTreeSet<_>>(), keys);
}

#[test]
fn every_key_of_a_plan_is_documented() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let ended = work.etl(&["plan", "--orders", "orders.ndjson", "--since", "2020-01-01", "--chunk", "1y", "--format", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let plan = ended.summary();
    let keys: BTreeSet<_> = plan.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names(&section("windows.md", "Plan")).into_iter().collect::<BTreeSet<_>>(), keys);
}

#[test]
fn every_status_is_documented() {
    let documented: BTreeSet<_> = names(&section("summary.md", "Statuses")).into_iter().collect();
    let expected: BTreeSet<_> = Status::all().map(|status| status.as_str().to_owned()).collect();
    assert_eq!(documented, expected);
}

#[test]
fn every_exit_code_is_documented_and_no_other() {
    let errors = [
        RunError::Internal(String::new()),
        RunError::Settings(SettingsError::NoOrders),
        RunError::Source(SourceError::Missing { path: PathBuf::new() }),
        RunError::ChecksFailed { names: Vec::new(), published: false },
        RunError::Store(StoreError::Interrupted),
        RunError::Lock(LockError::Interrupted),
        RunError::Interrupted(Stop::Interrupt),
        RunError::Interrupted(Stop::Terminate),
    ];
    let codes: Vec<u8> = std::iter::once(0).chain(errors.iter().map(RunError::exit_code)).collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 130, 143]);
    let documented: Vec<u8> = names(&section("exit-codes.md", "Codes")).iter().map(|code| code.parse().unwrap()).collect();
    assert_eq!(documented, codes);
}

#[test]
fn every_column_is_documented_in_its_order_with_its_type() {
    let rows_of = |heading: &str| rows(&section("output.md", heading));
    let documented: Vec<_> = rows_of("`fact_order`").iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone())).collect();
    let expected: Vec<_> = FACT_COLUMNS.iter().map(|(name, kind)| ((*name).to_owned(), kind.sql().to_owned())).collect();
    assert_eq!(documented, expected);
    let documented: Vec<_> = rows_of("`fact_order_total`").iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone())).collect();
    let expected: Vec<_> = ORDER_TOTAL_COLUMNS.iter().map(|(name, kind)| ((*name).to_owned(), kind.sql().to_owned())).collect();
    assert_eq!(documented, expected);
    let documented: Vec<_> = rows_of("`fact_refund`").iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone())).collect();
    let expected: Vec<_> = REFUND_COLUMNS.iter().map(|(name, kind)| ((*name).to_owned(), kind.sql().to_owned())).collect();
    assert_eq!(documented, expected);
    for dimension in [DIM_USER, DIM_PRODUCT] {
        let rows = rows_of(&format!("`{}`", dimension.name));
        let documented: Vec<_> = rows.iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone(), quoted(&row[2]).join(" "))).collect();
        let fixed = dimension.columns.iter().map(|column| (column.name.to_owned(), column.kind.sql().to_owned(), column.from.join(" ")));
        let inferred = ("inferred".to_owned(), "BOOLEAN".to_owned(), String::new());
        assert_eq!(documented, fixed.chain([inferred]).collect::<Vec<_>>(), "{}", dimension.name);
    }
}

#[test]
fn a_dimension_that_keeps_versions_has_the_documented_columns() {
    let work = Workspace::new();
    work.write("etl.toml", "scd = 2\n");
    work.write("users.csv", "user_id,name\nU1,Anna\n");
    work.load(&[order("A", "2026-01-01", "")], &["--users", "users.csv"]).published();
    let documented = [names(&section("output.md", "`dim_user`")), names(&section("output.md", "Dimensions"))].concat();
    assert_eq!(work.read("output/dims/dim_user/dim_user.csv").lines().next(), Some(documented.join(",").as_str()));
}

#[test]
fn the_example_products_become_the_example_rows() {
    for heading in ["`dim_product`", "Extra columns"] {
        let example = section("output.md", heading);
        let work = Workspace::new();
        work.write("products.json", block(&example, "json"));
        let order = r#"{"order_id":"A","created_at":"2026-01-31","items":[{"sku":"MUG-01"}]}"#;
        work.load(&[order.to_owned()], &["--products", "products.json"]).published();
        assert_eq!(work.read("output/dims/dim_product/dim_product.csv"), block(&example, "csv"), "{heading}");
    }
}

#[test]
fn the_limits_of_texts_and_columns_are_documented() {
    for (name, heading) in [("orders.md", "Texts"), ("output.md", "Dimensions"), ("summary.md", "Keys")] {
        assert!(section(name, heading).contains(&longest_text()), "{name}, {heading}");
    }
    let extra = section("output.md", "Extra columns");
    let row = |start: &str| extra.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no row `{start}`"));
    assert!(row("| columns beyond the most").contains(&format!("| {},", grouped(MOST_COLUMNS))), "{extra}");
    assert_eq!(quoted(row("| columns with a reserved name")), DimensionSpec::FLAGS);
    let words: Vec<_> = row("| columns with a long name").split_whitespace().collect();
    let longest: usize = words.iter().find_map(|word| word.parse().ok()).unwrap();
    let (fits, does_not) = ("f".repeat(longest), "d".repeat(longest + 1));
    let work = Workspace::new();
    work.write("users.json", format!(r#"[{{"user_id":"U1","{fits}":1,"{does_not}":2}}]"#));
    let summary = work.load(&[order("A", "2026-01-01", "")], &["--users", "users.json"]).published();
    let dimension = work.read("output/dims/dim_user/dim_user.csv");
    assert_eq!(dimension.lines().next(), Some(format!("user_id,name,email,country,created_at,inferred,{fits}").as_str()));
    assert_eq!(summary["values_unreadable"], 1);
}

#[test]
fn the_check_of_long_texts_is_documented_with_its_condition() {
    let rows = rows(&section("checks.md", "Built-in checks"));
    let row = rows.iter().find(|row| quoted(&row[0]) == ["fact_text_fits"]).unwrap();
    // A character has up to four bytes: a text that was cut has at most three bytes less than the longest one.
    let most = LONGEST_TEXT - 4;
    assert!(row[2].contains(&format!("more than {} bytes", grouped(most))), "{}", row[2]);
    let check = BUILTIN.iter().find(|check| check.name == "fact_text_fits").unwrap();
    assert!(check.sql().unwrap().contains(&format!("> {most}")), "{:?}", check.sql());
}

#[test]
fn every_builtin_check_is_documented_with_its_severity() {
    let rows = rows(&section("checks.md", "Built-in checks"));
    let documented: Vec<_> = rows.iter().map(|row| (quoted(&row[0]).join(" "), row[1].clone())).collect();
    let severity = |severity| if severity == Severity::Warn { "warn" } else { "error" };
    let expected: Vec<_> = BUILTIN.iter().map(|check| (check.name.to_owned(), severity(check.severity).to_owned())).collect();
    assert_eq!(documented, expected);
}

/// Every page, by its name.
fn pages() -> BTreeSet<String> {
    folder().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_page_is_in_the_index() {
    let index = page("README.md");
    let linked: BTreeSet<_> = index.lines().filter_map(|line| Some(line.strip_prefix("| [")?.split_once(']')?.0.to_owned())).collect();
    let mut expected = pages();
    expected.remove("README.md");
    assert_eq!(linked, expected);
}
