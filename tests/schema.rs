//! What `etl schema` prints, compared with the documentation, the files of a layer, and the summaries of runs.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{Workspace, order, tool};

/// All that settings can add to the tables of one source.
const SETTINGS: &str = r#"
scd = 2
[fact]
money = "lines"
time_zone = "Europe/Berlin"
[[fact.columns]]
name = "channel"
path = "channel"
[orders]
location = "orders.ndjson"
[orders.totals]
total = "total"
[orders.refunds]
list = "refunds"
refund_id = "id"
created_at = "at"
amount = "amount"
"#;

/// A layer with all tables, whose users have one column more.
fn layer() -> Workspace {
    let work = Workspace::new();
    work.write("etl.toml", SETTINGS);
    work.write("users.csv", "user_id,name,shoe_size\nU1,Anna,38\n");
    let refunds = r#","refunds":[{"id":"r1","at":"2026-02-03","amount":"0.50"}]"#;
    let refunded = format!(r#","user_id":"U1","total":"1.50"{refunds}"#);
    let orders = [order("A", "2026-01-01", &refunded), order("B", "2026-01-02", r#","user_id":"U2""#)];
    work.load(&orders, &["--users", "users.csv"]).published();
    work
}

#[track_caller]
fn schema(work: &Workspace, args: &[&str]) -> String {
    let ended = work.etl(&[&["schema"], args].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

#[test]
fn json_is_one_line_of_it_for_every_form() {
    let work = layer();
    for (form, args) in [("md", vec![]), ("dbml", vec!["dbml"]), ("odcs", vec!["odcs"]), ("dbt", vec!["dbt"])] {
        let text = schema(&work, &args);
        for flags in [&["--json"][..], &["--format", "json"]] {
            let line = schema(&work, &[&args[..], flags].concat());
            let result: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{form}: {error}: {line}"));
            assert_eq!((&result["form"], &result["text"]), (&json!(form), &json!(text)));
            assert_eq!(line.lines().count(), 1, "{form}");
        }
    }
    let pretty: Value = serde_json::from_str(&schema(&work, &["json"])).unwrap();
    let line = schema(&work, &["json", "--json"]);
    assert_eq!((line.lines().count(), serde_json::from_str::<Value>(&line).unwrap()), (1, pretty));
}

/// A column, as a page tells of it.
#[derive(PartialEq, Eq, Debug)]
struct Column {
    name: String,
    kind: String,
    is_nullable: bool,
    meaning: String,
}

/// The cells of the rows of columns below a heading.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let title = format!("## {heading}");
    let section = page.lines().skip_while(|line| *line != title).skip(1).take_while(|line| !line.starts_with("## "));
    let rows = section.filter(|line| line.starts_with("| `"));
    let rows: Vec<_> = rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect();
    assert!(!rows.is_empty(), "no section {heading} in {page}");
    rows
}

fn name_of(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// The columns that the dictionary has.
fn printed(dictionary: &str, table: &str) -> Vec<Column> {
    let column = |row: Vec<String>| {
        let is_nullable = match row[2].as_str() {
            "never" => false,
            "possible" => true,
            other => panic!("{other}"),
        };
        Column { name: name_of(&row[0]), kind: row[1].clone(), is_nullable, meaning: row[3].clone() }
    };
    rows(dictionary, &format!("`{table}`")).into_iter().map(column).collect()
}

/// The columns that the documentation has, whose meaning stands in this cell.
fn documented(heading: &str, meaning: usize) -> Vec<Column> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/output.md");
    let page = std::fs::read_to_string(path).unwrap();
    let never = "; never NULL";
    let column = |row: Vec<String>| Column {
        name: name_of(&row[0]),
        kind: row[1].clone(),
        is_nullable: !row[meaning].contains(never),
        meaning: row[meaning].replace(never, ""),
    };
    rows(&page, heading).into_iter().map(column).collect()
}

#[test]
fn the_dictionary_says_what_the_documentation_says() {
    let work = layer();
    let dictionary = schema(&work, &[]);
    let channel = Column {
        name: "channel".into(),
        kind: "VARCHAR".into(),
        is_nullable: true,
        meaning: "`channel` of the order in the source".into(),
    };
    let size =
        Column { name: "shoe_size".into(), meaning: "an extra column of the source".into(), ..documented("`dim_user`", 3).remove(1) };
    let optional = documented("Optional columns of `fact_order`", 2).into_iter().filter(|column| column.name != "shop");
    let facts: Vec<_> = documented("`fact_order`", 2).into_iter().chain(optional).chain([channel]).collect();
    assert_eq!(printed(&dictionary, "fact_order"), facts);
    assert_eq!(printed(&dictionary, "fact_order_total"), documented("`fact_order_total`", 2));
    assert_eq!(printed(&dictionary, "fact_refund"), documented("`fact_refund`", 2));
    let users: Vec<_> = documented("`dim_user`", 3).into_iter().chain([size]).chain(documented("Dimensions", 2)).collect();
    assert_eq!(printed(&dictionary, "dim_user"), users);
    let products: Vec<_> = documented("`dim_product`", 3).into_iter().chain(documented("Dimensions", 2)).collect();
    assert_eq!(printed(&dictionary, "dim_product"), products);
}

#[test]
fn the_dictionary_has_the_columns_of_the_files() {
    let work = layer();
    let dictionary = schema(&work, &[]);
    for (table, file) in [
        ("fact_order", "curated/dt=2026-01-01/part-00000.csv"),
        ("fact_order_total", "order_totals/dt=2026-01-01/part-00000.csv"),
        ("fact_refund", "refunds/dt=2026-02-03/part-00000.csv"),
        ("dim_user", "dims/dim_user/dim_user.csv"),
        ("dim_product", "dims/dim_product/dim_product.csv"),
    ] {
        let names: Vec<_> = printed(&dictionary, table).into_iter().map(|column| column.name).collect();
        assert_eq!(work.read(&format!("output/{file}")).lines().next(), Some(names.join(",").as_str()), "{table}");
    }
}

#[test]
fn settings_say_the_tables_before_the_first_run() {
    let work = Workspace::new();
    let plain = schema(&work, &[]);
    assert!(!plain.contains("fact_order_total") && !plain.contains("fact_refund"));
    let settings = SETTINGS.replace("[fact]", "[fact]\nquantity = \"decimal\"");
    work.write("etl.toml", format!("enrich.user_country = \"region\"\n{settings}"));
    let dictionary = schema(&work, &[]);
    assert!(dictionary.contains("## `fact_order_total`\n") && dictionary.contains("## `fact_refund`\n"), "{dictionary}");
    assert!(dictionary.contains("| `user_country` | VARCHAR | possible | `region` of the user in `dim_user` | `DE` |\n"), "{dictionary}");
    assert!(dictionary.contains("| `quantity` | DECIMAL(18,4) | never | pieces;"), "{dictionary}");
    assert_eq!(dictionary.matches("| `is_current` | BOOLEAN |").count(), 2, "{dictionary}");
    let shops = "[[shops]]\nname = \"de\"\norders = \"orders.ndjson\"\n";
    work.write("etl.toml", shops);
    let dictionary = schema(&work, &[]);
    assert!(dictionary.contains("| `shop` | VARCHAR | possible | the shop that"), "{dictionary}");
    assert!(dictionary.contains("the name of its shop stands before it | `de:A-1020` |"), "{dictionary}");
}

/// How a value differs from what its schema allows. Only the words of JSON Schema that the schema of the summary has.
fn misfits(schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().map(|kind| kind.as_str().unwrap()).collect(),
        other => panic!("{place}: {other}"),
    };
    let is_allowed = allowed.contains(&name) || name == "integer" && allowed.contains(&"number");
    if !is_allowed {
        found.push(format!("{place} is {name}"));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        found.push(format!("{place} is {value}"));
    }
    match value {
        Value::Object(entries) => {
            let required = schema["required"].as_array().into_iter().flatten().map(|key| key.as_str().unwrap());
            found.extend(required.filter(|key| !entries.contains_key(*key)).map(|key| format!("{place} lacks {key}")));
            for (key, inner) in entries {
                let place = format!("{place}/{key}");
                match schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]) {
                    Value::Null => found.push(format!("{place} is unknown")),
                    schema => misfits(schema, inner, &place, found),
                }
            }
        }
        Value::Array(elements) => {
            elements.iter().for_each(|element| misfits(&schema["items"], element, &format!("{place}[]"), found));
        }
        _ => {}
    }
}

/// Summaries of runs that ended in different ways.
fn summaries() -> Vec<Value> {
    let work = Workspace::new();
    work.write("users.csv", "user_id,name\nU1,Anna\n");
    let lines = [order("A", "2026-01-01", r#","user_id":"U9""#), r#"{"order_id":"B"}"#.to_owned()];
    let first = work.load(&lines, &["--users", "users.csv", "--keep-raw"]).published();
    let changed = [order("A", "2026-01-01", r#","user_id":"U9","gift_note":"x""#), order("C", "2026-01-03", "")];
    let second = work.load(&changed, &["--since", "2026-01-01", "--keep-raw"]).published();
    let dry = work.load(&[order("D", "2026-01-04", "")], &["--dry-run"]).expect(0, "dry_run");
    let failed = work.etl(&["run", "--orders", "none.ndjson"]).expect(3, "extract_failed");
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &["--keep-raw"]).published();
    let rebuilt = work.etl(&["rebuild", "--from", "raw", "--orders", "orders.ndjson"]).unchanged();
    assert!(first["checks"].as_array().is_some_and(|checks| !checks.is_empty()) && rebuilt["rebuilt_from"].is_object());
    vec![first, second, dry, failed, rebuilt]
}

#[test]
fn summaries_of_runs_are_what_their_schema_says() {
    let work = Workspace::new();
    let text = schema(&work, &["json"]);
    let schema: Value = serde_json::from_str(&text).unwrap();
    let summaries = summaries();
    for summary in &summaries {
        let mut found = Vec::new();
        misfits(&schema, summary, "", &mut found);
        assert!(found.is_empty(), "{found:#?}\n{summary:#}");
    }
    let Some(python) = tool("ETL_TEST_PYTHON", "validating summaries by jsonschema") else { return };
    let program = r"
import importlib.util, json, sys
if importlib.util.find_spec('jsonschema') is None:
    print('no jsonschema')
    sys.exit()
from jsonschema import Draft202012Validator
schema, *summaries = [json.load(open(path)) for path in sys.argv[1:]]
Draft202012Validator.check_schema(schema)
for summary in summaries:
    Draft202012Validator(schema).validate(summary)
    assert not Draft202012Validator(schema).is_valid(summary | {'revenue': {'EUR': 1.5}})
print('valid')
";
    let mut command = Command::new(&python);
    command.args(["-c", program]).arg(work.write("schema.json", &text));
    for (number, summary) in summaries.iter().enumerate() {
        command.arg(work.write(&format!("{number}.json"), summary.to_string()));
    }
    let output = command.output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(["valid", "no jsonschema"].contains(&answer.trim()), "{answer}{}", String::from_utf8_lossy(&output.stderr));
}

/// A YAML document as a reader of YAML sees it.
fn read_yaml(python: &Path, work: &Workspace, text: &str) -> Value {
    let program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1], encoding='utf-8'))))";
    let output = Command::new(python).args(["-c", program]).arg(work.write("read.yml", text)).output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn dbt_and_contracts_have_every_column_with_its_meaning() {
    let Some(python) = tool("ETL_TEST_PYTHON", "reading YAML (PyYAML)") else { return };
    let work = layer();
    let dictionary = schema(&work, &[]);
    let sources = read_yaml(&python, &work, &schema(&work, &["dbt", "--schema", "it's: #1"]));
    let contract = read_yaml(&python, &work, &schema(&work, &["odcs"]));
    assert_eq!(sources["sources"][0]["schema"], "it's: #1");
    let tables = ["fact_order", "fact_order_total", "fact_refund", "dim_user", "dim_product"];
    for (number, table) in tables.into_iter().enumerate() {
        let expected: Vec<_> = printed(&dictionary, table).into_iter().map(|column| (column.name, column.meaning, column.kind)).collect();
        let source = &sources["sources"][0]["tables"][number];
        let object = &contract["schema"][number];
        assert_eq!((&source["name"], &object["name"]), (&table.into(), &table.into()));
        for (columns, kind) in [(&source["columns"], "data_type"), (&object["properties"], "physicalType")] {
            let text = |column: &Value, key: &str| column[key].as_str().unwrap().to_owned();
            let columns = columns.as_array().unwrap().iter();
            let found: Vec<_> = columns.map(|column| (text(column, "name"), text(column, "description"), text(column, kind))).collect();
            assert_eq!(found, expected, "{table}, {kind}");
        }
    }
}

#[test]
fn an_unknown_form_is_bad_usage_and_the_layer_stays() {
    let work = layer();
    let before = work.layer();
    assert_eq!(work.etl(&["schema", "xml"]).code, 2);
    let mistaken = work.etl(&["schema", "--format", "dbml"]);
    assert_eq!(mistaken.code, 2, "{}", mistaken.stdout);
    assert!(mistaken.stderr.contains("`etl schema dbml`"), "{}", mistaken.stderr);
    assert_eq!(work.etl(&["schema", "dbt", "--schema", ""]).code, 2);
    for form in ["md", "json", "dbml", "odcs", "dbt"] {
        assert!(!schema(&work, &[form]).is_empty());
    }
    assert_eq!(work.layer(), before);
}
