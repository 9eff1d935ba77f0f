//! `dim_user`, `dim_product`, and the columns that they add to a fact.

use std::{io::Write, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::support::{Workspace, order};

const USERS: &str = "SELECT * FROM dim_user ORDER BY 1";

fn bought_by(user: &str) -> String {
    order("A", "2026-01-01", &format!(r#","user_id":"{user}""#))
}

#[test]
fn a_key_that_only_facts_name_is_inferred_until_the_source_has_it() {
    let work = Workspace::new();
    work.write("users.csv", "user_id,name,country\nU1,Anna,DE\n");
    work.write("products.csv", "sku,name,category,list_price\nX,Thing,C,2.5\n");
    let load = |expected| {
        let summary = work.load(&[bought_by("U2")], &["--users", "users.csv", "--products", "products.csv"]).expect(0, expected);
        (summary["dimensions"]["dim_user"]["inferred"].clone(), summary["dimensions"]["dim_product"]["inferred"].clone())
    };
    assert_eq!(load("published"), (json!(1), json!(1)));
    assert_eq!(work.query(USERS), ["U1|Anna|NULL|DE|NULL|false", "U2|NULL|NULL|NULL|NULL|true"]);
    assert_eq!(work.query("SELECT f.order_id, d.inferred FROM fact_order f JOIN dim_user d USING (user_id)"), ["A|true"]);
    assert_eq!(load("unchanged"), (json!(1), json!(1)));
    work.write("users.csv", "user_id,name,country\nU2,Ben,FR\n");
    work.write("products.csv", "sku,name,category,list_price\nS,Known,D,1\n");
    assert_eq!(load("published"), (json!(0), json!(0)));
    // A member that the source no longer has stays. An inferred member is completed, and so is its fact.
    assert_eq!(work.query(USERS), ["U1|Anna|NULL|DE|NULL|false", "U2|Ben|NULL|FR|NULL|false"]);
    assert_eq!(work.query("SELECT * FROM dim_product ORDER BY 1"), ["S|NULL|Known|D|1.0000|false", "X|NULL|Thing|C|2.5000|false"]);
    assert_eq!(work.query("SELECT user_country, product_name, product_category FROM fact_order"), ["FR|Known|D"]);
}

#[test]
fn users_and_products_are_read_in_every_format_to_the_same_bytes() {
    let rows = [("U1", "Anna, A.", "DE"), ("U2", "Ben", "FR")];
    let csv = "user_id,name,country\nU1,\"Anna, A.\",DE\nU2,Ben,FR\n".to_owned();
    let ndjson = rows.map(|(id, name, country)| format!(r#"{{"id":"{id}","name":"{name}","country":"{country}"}}"#)).join("\n");
    let array = format!("[{}]", ndjson.replace('\n', ","));
    let wrapped = format!(r#"{{"total":2,"data":{array}}}"#);
    let mut layers = Vec::new();
    for (name, content) in [("u.csv", &csv), ("u.json", &array), ("u.ndjson", &ndjson), ("v.json", &wrapped), ("u.jsonl", &ndjson)] {
        for packed in ["", ".gz", ".zst"] {
            let work = Workspace::new();
            let bytes = match packed {
                "" => content.clone().into_bytes(),
                ".gz" => gzip(content.as_bytes()),
                _ => zstd::encode_all(content.as_bytes(), 3).unwrap(),
            };
            work.write(&format!("{name}{packed}"), bytes);
            work.load(&[bought_by("U1")], &["--users", &format!("{name}{packed}")]).published();
            layers.push((format!("{name}{packed}"), work.layer()));
        }
    }
    let work = Workspace::new();
    let column = |pick: fn((&'static str, &'static str, &'static str)) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from(rows.map(pick).to_vec()))
    };
    let batch =
        RecordBatch::try_from_iter([("user_id", column(|row| row.0)), ("name", column(|row| row.1)), ("country", column(|row| row.2))]);
    let batch = batch.unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(work.path("u.parquet")).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    work.load(&[bought_by("U1")], &["--users", "u.parquet"]).published();
    layers.push(("u.parquet".into(), work.layer()));
    assert_eq!(work.query(USERS), ["U1|Anna, A.|NULL|DE|NULL|false", "U2|Ben|NULL|FR|NULL|false"]);
    for (name, layer) in &layers[1..] {
        assert_eq!(layer, &layers[0].1, "{name}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn orders_are_read_from_every_format_from_folders_and_globs() {
    let lines = [order("A", "2026-01-01", ""), order("B", "2026-01-02", "")];
    let ndjson = lines.join("\n");
    let array = format!("[{}]", lines.join(","));
    let mut layers = Vec::new();
    for (name, location, bytes) in [
        ("o.ndjson", "o.ndjson", ndjson.clone().into_bytes()),
        ("o.jsonl.gz", "o.jsonl.gz", gzip(ndjson.as_bytes())),
        ("o.ndjson.zst", "o.ndjson.zst", zstd::encode_all(ndjson.as_bytes(), 1).unwrap()),
        ("o.json", "o.json", array.clone().into_bytes()),
        ("o.json.gz", "o.json.gz", gzip(format!(r#"{{"orders":{array}}}"#).as_bytes())),
        ("in/deep/o.ndjson", "in/**/*.ndjson", ndjson.clone().into_bytes()),
        ("in/o-2.ndjson", "in", ndjson.clone().into_bytes()),
        ("in/o-1.ndjson", "in/o-*.ndjson", ndjson.clone().into_bytes()),
        ("bom.json", "bom.json", [b"\xef\xbb\xbf".as_slice(), array.as_bytes()].concat()),
    ] {
        let work = Workspace::new();
        work.write(name, bytes);
        let summary = work.etl(&["run", "--orders", location]).published();
        assert_eq!((&summary["records_read"], &summary["source"]["pages"]), (&json!(2), &json!(1)), "{location}");
        layers.push(work.layer());
    }
    assert!(layers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_missing_damaged_or_unknown_file_fails_the_extraction_and_is_named() {
    let work = Workspace::new();
    work.write("cut.ndjson.gz", &gzip(order("A", "2026-01-01", "").as_bytes())[..20]);
    work.write("broken.json", "[{\"order_id\":1},\n{]");
    work.write("orders.xlsx", "?");
    work.write("empty/readme.txt", "?");
    for (location, message) in [
        ("nowhere.ndjson", "nowhere.ndjson"),
        ("cut.ndjson.gz", "cut.ndjson.gz: can't be read"),
        ("broken.json", "broken.json, line 2"),
        ("orders.xlsx", "can't tell the format"),
        ("empty", "no files to read"),
        ("no-*.ndjson", "no files to read"),
    ] {
        let ended = work.etl(&["run", "--orders", location, "--log-format", "text"]);
        ended.expect(3, "extract_failed");
        assert!(ended.stderr.contains(message), "{location}: {}", ended.stderr);
        work.write("orders.ndjson", order("A", "2026-01-01", ""));
        assert_eq!(work.etl(&["run", "--orders", "orders.ndjson", "--users", "nowhere.csv"]).code, 3);
    }
    assert!(work.layer().is_empty());
}

#[test]
fn extra_source_columns_are_kept_and_other_columns_can_be_joined() {
    let work = Workspace::new();
    work.write(
        "users.csv",
        "user_id,name,email,country,created_at,plan,region\nU1,Anna,a@example.com,DE,2025-06-01T10:00:00+02:00,gold,south\n",
    );
    work.write("etl.toml", "[enrich]\nuser_country = \"region\"\n");
    work.load(&[bought_by("U1")], &["--users", "users.csv"]).published();
    assert_eq!(
        work.read("output/dims/dim_user/dim_user.csv"),
        "user_id,name,email,country,created_at,inferred,plan,region\nU1,Anna,a@example.com,DE,2025-06-01 08:00:00,false,gold,south\n"
    );
    assert_eq!(work.query("SELECT user_country FROM fact_order"), ["south"]);
    work.write("etl.toml", "[enrich]\nuser_country = \"planet\"\n");
    let ended = work.load(&[bought_by("U1")], &["--users", "users.csv", "--log-format", "text"]);
    assert!(ended.code == 2 && ended.stderr.contains("planet"), "{}", ended.stderr);
}

#[test]
fn a_dimension_keeps_its_versions_with_scd_2() {
    let work = Workspace::new();
    work.write("etl.toml", "[dim_user]\nscd = 2\n");
    work.write("users.csv", "user_id,name,country\nU1,Anna,DE\n");
    work.load(&[bought_by("U1")], &["--users", "users.csv"]).published();
    let times = work.times();
    work.load(&[bought_by("U1")], &["--users", "users.csv"]).unchanged();
    assert_eq!(work.times(), times);
    work.write("users.csv", "user_id,name,country\nU1,Anna,FR\n");
    work.load(&[bought_by("U1")], &["--users", "users.csv"]).published();
    // The first version has no `valid_from`, because its beginning is unknown.
    assert_eq!(
        work.query("SELECT country, is_current, valid_from IS NULL, valid_to IS NULL FROM dim_user ORDER BY is_current"),
        ["DE|false|true|false", "FR|true|false|true"]
    );
    // A version ends when the next one begins. A fact joins the current version.
    assert_eq!(work.query("SELECT count(*) FROM dim_user a JOIN dim_user b ON a.valid_to = b.valid_from"), ["1"]);
    assert_eq!(work.query("SELECT user_country FROM fact_order"), ["FR"]);
    assert_eq!(work.etl(&["check"]).code, 0);
}

#[test]
fn a_source_without_its_key_is_an_error() {
    let work = Workspace::new();
    work.write("users.csv", "nickname,country\nAnna,DE\n");
    let ended = work.load(&[bought_by("U1")], &["--users", "users.csv", "--log-format", "text"]);
    ended.expect(3, "extract_failed");
    assert!(ended.stderr.contains("user_id"), "{}", ended.stderr);
}
