//! The first bytes of a file decide its format, not its name.

use std::io::Write;

use crate::support::{Workspace, order};

fn orders() -> [String; 2] {
    [order("A", "2026-01-01", r#","note":"Zoë""#), order("B", "2026-01-01", "")]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(encode).collect()
}

#[test]
fn formats_with_certain_detection_are_read_under_any_name() {
    let lines = orders().join("\n");
    let array = format!("[{},\r\n {}]\n", orders()[0], orders()[1]);
    let envelope = format!("{{\"total\":2,\"orders\":[{}]}}", orders().join(","));
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&envelope).unwrap()).unwrap();
    let contents: Vec<Vec<u8>> = vec![
        lines.clone().into(),
        lines.replace('\n', "\r\n\r\n").into(),
        array.clone().into(),
        envelope.into(),
        pretty.into(),
        format!("\u{feff}{array}").into(),
        utf16(&lines, u16::to_le_bytes),
        utf16(&array, u16::to_be_bytes),
        gzip(lines.as_bytes()),
        gzip(array.as_bytes()),
        zstd::encode_all(array.as_bytes(), 1).unwrap(),
    ];
    for (number, content) in contents.iter().enumerate() {
        for name in ["o.ndjson", "o.json", "o.jsonl"] {
            let work = Workspace::new();
            work.write(name, content);
            let completeness = work.etl(&["run", "--orders", name]).published()["completeness"].clone();
            assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), ["A", "B"], "{name} {number}");
            let shown = ["status", "by", "read", "distinct"].map(|key| completeness[key].to_string());
            assert_eq!(shown, ["\"proven\"", "\"file\"", "2", "2"], "{name} {number}");
        }
    }
}

#[test]
fn a_file_that_is_not_json_fails_with_the_name_of_its_format() {
    for (content, seems) in [
        (&b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"[..], "a web page"),
        (b"PK\x03\x04xxxxxxxx", "spreadsheet"),
        (b"PAR1xxxxxxxx", "Parquet"),
        (b"order_id,created_at\nA,2026-01-01\n", "CSV"),
        (b"{\x00\"\x00a\x00\"\x00", "UTF-16 without a byte order mark"),
        (b"{\n\"a\":1\n}\n{\n\"a\":2\n}\n", "jq -c"),
        (b"{\"orders\":[{\"a\":1}]}\n{\"orders\":[{\"a\":2}]}\n", "each of its lines is a page"),
        (b"{\"a\":1},\n{\"a\":2}\n", "separated by commas"),
        (b"just words\nand more words\n", "none of its 2 records is a JSON object"),
        (b"[1,2]\n[3]\n", "none of its 2 records is a JSON object"),
    ] {
        for name in ["o.ndjson", "o.json"] {
            let work = Workspace::new();
            work.load(&orders(), &["--until", "2026-01-02"]).published();
            work.write(name, content);
            let ended = work.etl(&["run", "--orders", name, "--log-format", "text"]);
            ended.expect(3, "extract_failed");
            let is_document = name == "o.json" && ended.stderr.contains("not valid JSON");
            assert!(ended.stderr.contains(seems) || is_document, "{name} {seems}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_damaged_element_does_not_affect_the_others() {
    let work = Workspace::new();
    let [first, last] = orders();
    work.write("o.json", [first.as_bytes(), b",{\"order_id\":\"\xe9\"},{\"a\":tru},", last.as_bytes()].concat());
    let array = [b"[", std::fs::read(work.path("o.json")).unwrap().as_slice(), b"]"].concat();
    work.write("o.json", array);
    let summary = work.etl(&["run", "--orders", "o.json"]).published();
    assert_eq!((&summary["records_read"], &summary["dropped"]["invalid_json"]), (&4.into(), &2.into()));
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), ["A", "B"]);
}

#[test]
fn values_beside_the_list_of_records_are_not_records() {
    let work = Workspace::new();
    let log = "1,".repeat(3_000_000);
    work.write("o.json", format!("{{\"log\":[{log}1],\"orders\":[{}]}}", orders().join(",")));
    work.write("etl.toml", "[limits]\nrecord_bytes = 100000\n");
    work.etl(&["run", "--orders", "o.json"]).published();
    assert_eq!(work.query("SELECT count(*) FROM fact_order"), ["2"]);
}

#[test]
fn a_document_with_a_total_larger_than_its_records_is_incomplete() {
    let page = |range: std::ops::Range<u32>, more: &str| {
        let orders: Vec<_> = range.map(|number| order(&format!("O{number}"), "2026-01-01", "")).collect();
        format!("{{{more}\"orders\":[{}]}}", orders.join(","))
    };
    let work = Workspace::new();
    work.write("pages/1.json", page(0..2, "\"total\":3,"));
    work.etl(&["run", "--orders", "pages"]).expect(3, "extract_failed");
    work.write("pages/2.json", page(2..3, "\"total\":3,"));
    work.etl(&["run", "--orders", "pages"]).published();
    work.write("open.json", page(0..2, "\"next\":\"/orders?page=2\","));
    let summary = work.etl(&["run", "--orders", "open.json"]).unchanged();
    assert_eq!(summary["completeness"]["status"], "unproven");
    work.write("error.json", "{\"error\":\"expired\",\"orders\":[]}");
    work.etl(&["run", "--orders", "error.json"]).expect(3, "extract_failed");
}

#[test]
fn hidden_files_are_ignored_unless_they_are_named() {
    let work = Workspace::new();
    let [first, last] = orders();
    work.write("in/a.json", &first);
    for name in ["in/._a.json", "in/_b.json", "in/.c.ndjson", "in/_temporary/x.json"] {
        work.write(name, if name == "in/._a.json" { "\u{0}\u{5}\u{16}\u{7}".to_owned() } else { last.clone() });
    }
    for orders in ["in", "in/*.json", "in/**/*.json"] {
        assert_eq!(
            work.etl(&["run", "--orders", orders, "--output", &format!("out-{}", orders.len())]).published()["records_read"],
            1,
            "{orders}"
        );
    }
    assert_eq!(work.etl(&["run", "--orders", "in/_*.json"]).published()["records_read"], 1);
}

#[test]
fn a_broken_link_is_an_unreadable_input() {
    let work = Workspace::new();
    work.write("in/a.ndjson", &orders()[0]);
    std::os::unix::fs::symlink("nowhere.ndjson", work.path("in/b.ndjson")).unwrap();
    work.etl(&["run", "--orders", "in"]).expect(3, "extract_failed");
}

#[test]
fn users_without_any_readable_record_fail_the_run() {
    let work = Workspace::new();
    work.write("o.ndjson", &orders()[0]);
    work.write("users.ndjson", "not json\nnor this\n");
    let ended = work.etl(&["run", "--orders", "o.ndjson", "--users", "users.ndjson"]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("none of its 2 records"), "{}", ended.stderr);
}

#[test]
fn brackets_in_the_folder_of_etl_toml_do_not_break_a_glob() {
    let work = Workspace::new();
    work.write("a[1]/in/o.json", &orders()[0]);
    work.write("a[1]/etl.toml", "orders = \"in/*.json\"\noutput = \"../output\"\n");
    work.etl(&["run", "--config", "a[1]/etl.toml"]).published();
}

#[test]
fn an_empty_json_file_is_valid_like_an_empty_ndjson_file() {
    for name in ["o.json", "o.ndjson"] {
        for content in ["", " \n", "\u{feff}"] {
            let work = Workspace::new();
            work.write(name, content);
            assert_eq!(work.etl(&["run", "--orders", name]).unchanged()["records_read"], 0, "{name} {content:?}");
        }
    }
}

#[test]
fn csv_of_users_is_read_or_fails_with_its_line() {
    let users = |content: &[u8]| {
        let work = Workspace::new();
        work.write("o.ndjson", order("A", "2026-01-01", r#","user_id":"U1""#));
        work.write("users.csv", content);
        let ended = work.etl(&["run", "--orders", "o.ndjson", "--users", "users.csv", "--log-format", "text"]);
        let name = if ended.code == 0 { work.query("SELECT name FROM dim_user").join(",") } else { String::new() };
        (ended.code, name, ended.stderr)
    };
    for content in [
        b" User_ID , Name \r\nU1,Zo\xc3\xab\r\n".to_vec(),
        b"user_id;name\nU1;Zo\xc3\xab\n".to_vec(),
        b"userId\tname\nU1\tZo\xc3\xab\n".to_vec(),
        utf16("user_id,name\r\nU1,Zo\u{eb}\r\n", u16::to_le_bytes),
    ] {
        let (code, name, stderr) = users(&content);
        assert_eq!((code, name.as_str()), (0, "Zoë"), "{stderr}");
    }
    let (code, name, stderr) = users(b"user_id,name,Name\nU1,Zo\xc3\xab,b\n");
    assert_eq!((code, name.as_str()), (0, "Zoë"), "{stderr}");
    assert!(stderr.contains("columns that have one name, in lower case"), "{stderr}");
    for (content, message) in [
        (&b"user_id,name\nU1,\"Zoe\nU2,x\n"[..], "users.csv, line 2: the file ends within quotes"),
        (b"user_id,name,name\nU1,a,b\n", "line 1: the header has the name \"name\" twice, in columns 2 and 3"),
        (b"user_id,name\nU1,Zo\xeb\n", "line 2: the file is not UTF-8; it may be Windows-1252"),
    ] {
        let (code, _, stderr) = users(content);
        assert!(code == 3 && stderr.contains(message), "{message}: {stderr}");
    }
}

#[test]
fn a_second_list_of_a_file_is_warned_of_and_proves_nothing() {
    let work = Workspace::new();
    let [a, b] = orders();
    work.write("o.json", format!("[{b}]"));
    work.etl(&["run", "--orders", "o.json"]).published();
    for other in [format!("[{b}]"), format!(r#"{{"edges":[{{"node":{b}}}]}}"#)] {
        work.write("o.json", format!(r#"{{"data":[{a}],"orders":{other}}}"#));
        let ended = work.etl(&["run", "--orders", "o.json", "--delete-missing", "--delete-limit", "100%", "--log-format", "text"]);
        let summary = ended.expect(0, if other.starts_with('[') { "published" } else { "unchanged" });
        assert_eq!(summary["completeness"]["status"], "unproven", "{summary}");
        let why = "o.json has records under `orders` too, which are not read";
        assert!(summary["completeness"]["why"].as_str().unwrap().ends_with(why), "{summary}");
        assert!(summary["deletions_refused"].as_str().unwrap().contains(why), "{summary}");
        assert!(ended.stderr.contains("records under `data` and `orders`: `data` is read"), "{}", ended.stderr);
        assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), ["A", "B"]);
    }
    // Texts are no records, and a profile says which list counts.
    work.write("o.json", format!(r#"{{"data":[{a}],"results":["x"]}}"#));
    let summary = work.etl(&["run", "--orders", "o.json"]).summary();
    assert_eq!(summary["completeness"]["status"], "proven");
    work.write("o.json", format!(r#"{{"data":[{a}],"orders":[{b}]}}"#));
    work.write("etl.toml", "[orders]\nrecords = \"orders\"\n");
    let ended = work.etl(&["run", "--orders", "o.json", "--log-format", "text"]);
    assert_eq!(ended.summary()["completeness"]["status"], "proven");
    assert!(!ended.stderr.contains("records under"), "{}", ended.stderr);
}

#[test]
fn users_of_a_second_list_are_warned_of_too() {
    let work = Workspace::new();
    work.write("u.json", r#"{"data":[{"user_id":"U1"}],"results":[{"user_id":"U2"}]}"#);
    let ended = work.load(&orders(), &["--users", "u.json", "--log-format", "text"]);
    assert_eq!(ended.published()["completeness"]["users"]["status"], "unproven", "{}", ended.stderr);
    assert!(ended.stderr.contains("records under `data` and `results`: `data` is read"), "{}", ended.stderr);
}

#[test]
fn an_object_with_orders_beside_an_empty_list_is_no_empty_list() {
    let order = &orders()[0];
    for object in [format!(r#"{{"7":{order}}}"#), format!(r#"{{"edges":[{{"node":{order}}}]}}"#)] {
        for empty in ["null", "[]"] {
            for body in [format!(r#"{{"data":{empty},"orders":{object}}}"#), format!(r#"{{"orders":{object},"data":{empty}}}"#)] {
                let work = Workspace::new();
                work.write("o.json", &body);
                let ended = work.etl(&["run", "--orders", "o.json", "--log-format", "text"]);
                ended.expect(3, "extract_failed");
                assert!(ended.stderr.contains("o.json, line 1: the file has no records: `orders` holds an object"), "{}", ended.stderr);
            }
        }
    }
    let work = Workspace::new();
    work.write("o.json", r#"{"data":[],"orders":null,"results":{"total":0}}"#);
    assert_eq!(work.etl(&["run", "--orders", "o.json"]).summary()["records_read"], 0);
}

#[test]
fn a_damaged_element_on_a_line_of_its_own_costs_itself() {
    let [first, last] = orders();
    let elements = format!("\n{first},\n{{\"order_id\":\"x\", bad}},\n{last}\n");
    let documents = [format!("[{elements}]"), format!("{{\"orders\":[{elements}]}}")];
    let in_one_line = documents.clone().map(|document| document.replace('\n', ""));
    for document in documents.iter().chain(&in_one_line) {
        for name in ["o.json", "o.ndjson"] {
            let work = Workspace::new();
            work.write(name, document);
            let summary = work.etl(&["run", "--orders", name]).published();
            assert_eq!((&summary["records_read"], &summary["dropped"]["invalid_json"]), (&3.into(), &1.into()), "{name} {document}");
            assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), ["A", "B"], "{name} {document}");
        }
    }
}

#[test]
fn one_order_that_is_larger_than_a_block_is_one_order() {
    let note = "x".repeat(5 << 20);
    let half = "x".repeat(3 << 20);
    let lines = r#"{"sku":"P","quantity":1,"price":1},{"sku":"Q","quantity":1,"price":2}"#;
    let noted = format!(r#"{{"sku":"P","price":1,"note":"{half}"}},{{"sku":"Q","price":2,"note":"{half}"}}"#);
    for order in [
        format!(r#"{{"order_id":"A","created_at":"2026-01-01","items":[{lines}],"note":"{note}"}}"#),
        format!(r#"{{"order_id":"A","created_at":"2026-01-01","note":"{note}","items":[{lines}]}}"#),
        format!(r#"{{"items":[{noted}],"order_id":"A","created_at":"2026-01-01"}}"#),
        format!(r#"{{"order_id":"A","created_at":"2026-01-01","line_items":[{noted}]}}"#),
    ] {
        for document in [order.clone(), order.replacen(',', ",\n", 2)] {
            let work = Workspace::new();
            work.write("o.json", &document);
            if order.contains("line_items") {
                work.write("etl.toml", "[orders.fields]\nlines = \"line_items\"\n");
            }
            let ended = work.etl(&["run", "--orders", "o.json"]);
            let beginning = &document[..80];
            assert_eq!(ended.code, 0, "{beginning}: {}", ended.stderr);
            assert_eq!(ended.published()["records_read"], 1, "{beginning}");
            assert_eq!(work.query("SELECT order_id, sku FROM fact_order ORDER BY ALL"), ["A|P", "A|Q"], "{beginning}");
        }
    }
    // Its lines have gone for records before the end shows what it is.
    let work = Workspace::new();
    work.write("o.json", format!(r#"{{"items":[{noted}],"order_id":"A","created_at":"2026-01-01"}}"#));
    work.write("etl.toml", "[limits]\nrecord_bytes = 5000000\n");
    let ended = work.etl(&["run", "--orders", "o.json", "--log-format", "text"]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("the file is one record of more than 5000000 bytes (limits.record_bytes)"), "{}", ended.stderr);
}

#[test]
fn a_page_on_one_line_is_a_page_whatever_its_size() {
    let numbered = |number: usize| order(&format!("O{number:04}"), "2026-01-01", "");
    // The window of detection is 256 KiB.
    for count in [10, 4000] {
        let page = format!("{{\"orders\":[{}]}}\n", (0..count).map(numbered).collect::<Vec<_>>().join(","));
        let limited = if count == 10 { "" } else { "[limits]\nrecord_bytes = 100000\n" };
        for settings in ["", limited] {
            let work = Workspace::new();
            work.write("etl.toml", settings);
            work.write("o.ndjson", &page);
            let summary = work.etl(&["run", "--orders", "o.ndjson"]).published();
            assert_eq!((&summary["records_read"], &summary["records_dropped_count"]), (&count.into(), &0.into()), "{count} {settings}");
        }
    }
    // A record of one long line stays a record, and its neighbours stay.
    let long = format!(r#"{{"items":[{{"sku":"P","note":"{}"}}],"order_id":"L","created_at":"2026-01-01"}}"#, "x".repeat(1 << 20));
    let work = Workspace::new();
    work.load(&[long, numbered(1)], &[]).published();
    assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY ALL"), ["L", "O0001"]);
}

#[test]
fn half_a_character_of_utf_16_makes_no_two_orders_one() {
    let work = Workspace::new();
    let lines = [order("aX", "2026-01-01", ""), order("aY", "2026-01-01", ""), order("b", "2026-01-01", "")].join("\n");
    let halved = |unit: u16| match char::from_u32(unit.into()) {
        Some('X') => 0xd800,
        Some('Y') => 0xd801,
        _ => unit,
    };
    let units = format!("\u{feff}{lines}").encode_utf16().map(halved).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    work.write("o.ndjson", &units);
    let summary = work.etl(&["run", "--orders", "o.ndjson"]).published();
    assert_eq!((&summary["records_read"], &summary["dropped"]["invalid_json"]), (&3.into(), &2.into()), "{summary}");
    assert_eq!(work.query("SELECT order_id FROM fact_order"), ["b"]);
    assert_eq!(work.quarantine().len(), 2);

    let table = "order_id,created_at,sku,price\naX,2026-01-01,S,1\n";
    let units = format!("\u{feff}{table}").encode_utf16().map(halved).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    work.write("o.csv", &units);
    let ended = work.etl(&["run", "--orders", "o.csv", "--log-format", "text"]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("o.csv, line 2: the file is damaged UTF-16"), "{}", ended.stderr);
}
