//! `etl erase`: no byte of a person is left beneath the output, revenue is what it was, and no later run brings the person back.

use std::{collections::BTreeMap, process::Command, thread, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    Ended, Workspace,
    buckets::S3Server,
    ended,
    fault_proxy::{Fault, Rule},
    lake::Lake,
    order,
};

/// What the sources say of the person, and of nobody else.
const OF_ANN: [&str; 4] = ["u-ann-4711", "ann.erased@one.example", "Annabel Erased", "+49 30 4711"];

const USERS: &str = "user_id,name,email,country,phone\n\
    u-ann-4711,Annabel Erased,ann.erased@one.example,DE,+49 30 4711\n\
    u-bob-4712,Bob Kept,bob.kept@two.example,FR,+33 1 4712\n";

const ARGS: [&str; 3] = ["--users", "users.csv", "--keep-raw"];

const ERASE: [&str; 3] = ["erase", "--user", "u-ann-4711"];

/// Orders of both: sound ones, and of each one record that is dropped.
fn orders() -> Vec<String> {
    let of = |order_id: &str, day: &str, user: &str, more: &str| order(order_id, day, &format!(r#","user_id":"{user}"{more}"#));
    let contact = r#","gift_note":"for ann.erased@one.example","contact":{"email":"ann.erased@one.example","name":"Annabel Erased"}"#;
    vec![
        of("A", "2026-01-01", OF_ANN[0], contact),
        of("B", "2026-01-01", "u-bob-4712", r#","gift_note":"for Bob""#),
        of("C", "2026-01-02", OF_ANN[0], contact),
        of("D", "2026-01-03", "u-bob-4712", ""),
        format!(r#"{{"order_id":"E","user_id":"{}","created_at":"soon","items":[{{"sku":"S","price":1}}]}}"#, OF_ANN[0]),
        r#"{"order_id":"F","user_id":"u-bob-4712","created_at":"soon","items":[{"sku":"S","price":1}]}"#.to_owned(),
        format!(r#"{{"order_id":"G","user_id":"{}","items""#, OF_ANN[0]),
    ]
}

/// A check whose sample shows the person.
const OWN_CHECK: &str = "-- severity: warn\nSELECT order_id, u.email, u.name FROM fact_order JOIN dim_user u USING (user_id)\n";

fn workspace() -> Workspace {
    let work = Workspace::new();
    work.write("users.csv", USERS);
    work.write("checks/own.sql", OWN_CHECK);
    work.write("etl.toml", "[[fact.columns]]\nname = \"gift_note\"\npath = \"gift_note\"\n");
    work.load(&orders(), &ARGS).published();
    work
}

/// The bytes of a file, decompressed where they are compressed.
fn plain(name: &str, bytes: &[u8]) -> Vec<u8> {
    if name.ends_with(".zst") { zstd::decode_all(bytes).unwrap() } else { bytes.to_vec() }
}

/// The files that hold something of the person.
fn files_of_ann(files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let is_told = |text: &str| OF_ANN.iter().any(|of_ann| text.contains(of_ann));
    let told = |(name, bytes): &(&String, &Vec<u8>)| is_told(&String::from_utf8_lossy(&plain(name, bytes)));
    files.iter().filter(told).map(|(name, _)| name.clone()).collect()
}

fn erase(work: &Workspace, more: &[&str]) -> Ended {
    work.etl(&[&ERASE[..], more].concat())
}

/// The result of an erasure that must have ended so.
#[track_caller]
fn result(ended: &Ended, status: &str) -> Value {
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let result = ended.summary();
    assert_eq!(result["status"], status, "{result}");
    result
}

/// What readers see of the money.
fn revenue(work: &Workspace) -> Vec<Vec<String>> {
    let columns = ["order_id", "sku", "currency", "quantity", "unit_price", "line_total", "created_at"];
    let mut rows: Vec<Vec<_>> = work.facts().iter().map(|row| columns.map(|column| row[column].clone()).to_vec()).collect();
    rows.sort();
    rows
}

#[test]
fn no_byte_of_a_person_is_left_and_revenue_is_what_it_was() {
    let work = workspace();
    // An earlier version of a partition, and of the person.
    work.write("users.csv", USERS.replace("+33 1", "+33 2"));
    work.load(&[order("D", "2026-01-03", r#","user_id":"u-bob-4712","status":"paid","updated_at":"2026-02-01T00:00:00Z""#)], &ARGS)
        .published();
    let before = revenue(&work);
    let told = files_of_ann(&work.files(""));
    for place in ["curated/", "dims/", "data/dim_user/", "quarantine/", "raw/", "reports/"] {
        assert!(told.iter().any(|name| name.starts_with(place)), "the premise: {place} of {told:?}");
    }
    let erased = result(&erase(&work, &["--column", "gift_note"]), "published");
    assert_eq!(files_of_ann(&work.files("")), [""; 0]);
    assert_eq!(revenue(&work), before);
    assert_eq!((&erased["dim_user_rows"], &erased["fact_order_rows"]), (&json!(1), &json!(2)));
    assert_eq!(erased["partitions_written"], json!(["2026-01-01", "2026-01-02"]));
    assert_eq!((&erased["quarantined_records"], &erased["raw_records"]), (&json!(2), &json!(4)), "{erased}");
    assert!(erased["versions_removed"].as_u64().unwrap() >= 3, "{erased}");
    // Others are as they were, and the layer is sound.
    let rows = work.facts();
    let of = |order_id: &str| rows.iter().find(|row| row["order_id"] == order_id).unwrap();
    assert_eq!((of("A")["user_id"].as_str(), of("A")["user_country"].as_str(), of("A")["gift_note"].as_str()), ("", "", ""));
    assert_eq!(
        (of("B")["user_id"].as_str(), of("B")["user_country"].as_str(), of("B")["gift_note"].as_str()),
        ("u-bob-4712", "FR", "for Bob")
    );
    assert_eq!(work.files("dims")["dims/dim_user/dim_user.csv"].iter().filter(|byte| **byte == b'\n').count(), 2);
    assert_eq!(work.etl(&["check"]).code, 0);
    let runs = work.etl(&["runs", "--json"]).summary();
    assert_eq!((&runs["runs"][0]["command"], &runs["runs"][0]["lines_erased"]), (&json!("erase"), &json!(2)));
    let first = runs["runs"][2]["run_id"].as_str().unwrap();
    assert_eq!(work.etl(&["undo", first]).code, 2, "what it replaced is gone");
    assert!(work.etl(&["status"]).code == 0 && work.etl(&["explain", "A"]).code == 0);
}

#[test]
fn no_run_of_before_an_erasure_can_be_undone_also_of_days_without_the_person() {
    let work = workspace();
    work.write("later.ndjson", order("OTHER", "2026-02-09", ""));
    let later = work.etl(&["run", "--orders", "later.ndjson"]).published();
    let later = later["run_id"].as_str().unwrap();
    result(&work.etl(&ERASE), "published");
    let refused = work.etl(&["undo", later]);
    assert!(refused.code == 2 && refused.stderr.contains("has erased a user since"), "{}", refused.stderr);
    let none = work.etl(&["undo"]);
    assert!(none.code == 2 && !none.stderr.contains(later), "{}", none.stderr);
    // What comes after it can be undone.
    work.write("after.ndjson", order("AFTER", "2026-02-10", ""));
    let after = work.etl(&["run", "--orders", "after.ndjson"]).published();
    assert_eq!(work.etl(&["undo", after["run_id"].as_str().unwrap()]).code, 0);
}

#[test]
fn a_later_run_over_all_changes_nothing_and_leaves_no_trace() {
    let work = workspace();
    result(&erase(&work, &["--column", "gift_note"]), "published");
    let (layer, times) = (work.layer(), work.times());
    let again = work.load(&orders(), &ARGS).unchanged();
    assert_eq!((work.layer(), work.times()), (layer, times));
    assert_eq!((&again["users_erased"], &again["lines_erased"]), (&json!(1), &json!(2)));
    assert_eq!(again["records_withheld"], 6, "two drops, and four kept records");
    assert_eq!(files_of_ann(&work.files("")), [""; 0]);
    // A new order of the person counts, and names nobody.
    let new = order("H", "2026-01-04", r#","user_id":"u-ann-4711""#);
    assert_eq!(work.load(&[new], &ARGS).published()["rows_inserted"], 1);
    assert_eq!(files_of_ann(&work.files("")), [""; 0]);
    assert!(work.facts().iter().any(|row| row["order_id"] == "H" && row["user_id"].is_empty()));
    // What was kept is mapped again, without what is withheld.
    let rows = revenue(&work);
    let rebuilt = work.etl(&["rebuild", "--from", "raw", "--orders", "orders.ndjson"]);
    assert_eq!(rebuilt.code, 0, "{}", rebuilt.stderr);
    assert_eq!((rebuilt.summary()["users_erased"].clone(), revenue(&work)), (json!(0), rows));
    assert_eq!(rebuilt.summary()["dropped"].get("invalid_json"), None, "a withheld record is none");
    assert_eq!(files_of_ann(&work.files("")), [""; 0]);
}

#[test]
fn a_second_erasure_and_a_dry_run_change_nothing() {
    let work = workspace();
    let all = work.files("");
    let dry = result(&erase(&work, &["--dry-run"]), "dry_run");
    let without_leases = |files: BTreeMap<String, Vec<u8>>| -> BTreeMap<_, _> {
        files.into_iter().filter(|(name, _)| !name.starts_with("state/leases") && name != "state/lock").collect()
    };
    assert_eq!(without_leases(work.files("")), without_leases(all));
    let done = result(&erase(&work, &[]), "published");
    let counts = [
        "dim_user_rows",
        "fact_order_rows",
        "partitions_written",
        "quarantined_records",
        "raw_records",
        "reports_changed",
        "reports_adjusted",
        "versions_removed",
    ];
    for count in counts {
        assert_eq!(done[count], dry[count], "{count}");
    }
    assert_eq!(done["columns_kept"], json!(["gift_note"]), "it says what it does not reach");
    let all = work.files("");
    let again = result(&erase(&work, &[]), "unchanged");
    assert_eq!((&again["users_before"], &again["fact_order_rows"], &again["commit"]), (&json!(1), &json!(0), &Value::Null));
    assert_eq!(without_leases(work.files("")), without_leases(all));
}

#[test]
fn reports_that_show_nothing_of_the_person_are_counted_apart_in_the_preview_too() {
    let work = Workspace::new();
    let of = |order_id: &str, user: &str| order(order_id, "2026-01-01", &format!(r#","user_id":"{user}""#));
    work.load(&[of("A", OF_ANN[0])], &["--keep-raw"]).published();
    work.load(&[of("B", "u-bob-4712")], &["--keep-raw"]).published();
    let told = |ended: &Ended, status: &str| {
        let result = result(ended, status);
        (result["reports_changed"].as_u64().unwrap(), result["reports_adjusted"].as_u64().unwrap(), result["raw_records"].clone())
    };
    let before = work.files("reports/");
    let dry = told(&erase(&work, &["--dry-run"]), "dry_run");
    assert_eq!(dry, (0, 1, json!(1)), "no report shows the person; that of the first run has the size of its records");
    assert_eq!(told(&erase(&work, &[]), "published"), dry);
    let changed = work.files("reports/").into_iter().filter(|(name, bytes)| before.get(name).is_some_and(|before| before != bytes));
    assert_eq!(changed.count() as u64, dry.0 + dry.1, "what is counted is what is changed");
}

#[test]
fn users_that_were_cut_short_are_refused_and_not_written_again() {
    let work = workspace();
    let users = "output/dims/dim_user/dim_user.csv";
    let whole = work.read(users);
    assert!(whole.ends_with("+33 1 4712\n"), "the premise: {whole}");
    // All columns of the last row are there: only the missing line break tells.
    work.write(users, &whole[..whole.len() - 3]);
    let before = work.layer();
    let refused = erase(&work, &[]);
    assert_eq!(refused.code, 5, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("dims/dim_user/dim_user.csv, line 3: the last line has no line break"), "{}", refused.stderr);
    assert_eq!(work.layer(), before);
    work.write(users, whole);
    result(&erase(&work, &[]), "published");
    assert_eq!(files_of_ann(&work.files("dims")), [""; 0]);
}

#[test]
fn what_an_erasure_has_removed_is_gone_because_of_it_and_not_because_of_keep() {
    let work = workspace();
    let before = work.etl(&["runs", "--json"]).summary()["runs"][0]["run_id"].as_str().unwrap().to_owned();
    let erasure = result(&erase(&work, &[]), "published")["run_id"].as_str().unwrap().to_owned();
    for run_id in [&erasure, &before] {
        let refused = work.etl(&["diff", run_id]);
        assert_eq!(refused.code, 2, "{}", refused.stdout);
        let cause = format!("run `{erasure}` has erased a user");
        assert!(refused.stderr.contains(&cause) && !refused.stderr.contains("`keep`"), "{run_id}: {}", refused.stderr);
    }
}

#[test]
fn who_names_no_user_is_told_of_both_ways_to() {
    let ended = Workspace::new().etl(&["erase"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("--user ID") && ended.stderr.contains("--users-file FILE"), "{}", ended.stderr);
}

#[test]
fn who_is_known_nowhere_is_an_error_and_nothing_is_changed() {
    let work = workspace();
    let all = work.layer();
    let refused = erase(&work, &["--user", "u-nobody", "--log-format", "text"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("no user `u-nobody` is known here"), "{}", refused.stderr);
    let refused = erase(&work, &["--column", "status", "--log-format", "text"]);
    assert!(refused.code == 2 && refused.stderr.contains("there are gift_note"), "{}", refused.stderr);
    assert_eq!(work.layer(), all);
    assert_eq!(work.etl(&["erase"]).code, 2, "nobody is named");
    work.write("erase.txt", "\n");
    assert_eq!(work.etl(&["erase", "--users-file", "erase.txt"]).code, 2);
    assert_eq!(work.etl(&["erase", "--users-file", "missing.txt"]).code, 2);
    work.write("erase.txt", "u-ann-4711\r\n\nu-bob-4712\n");
    assert_eq!(result(&work.etl(&["erase", "--users-file", "erase.txt"]), "published")["dim_user_rows"], 2);
}

#[test]
fn where_there_is_no_layer_the_advice_is_that_of_an_erasure() {
    let empty = Workspace::new();
    let refused = erase(&empty, &["--log-format", "text"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("holds no layer. Name the output of your runs: --output DIR") && !refused.stderr.contains("etl check"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_file_of_ids_may_come_from_a_spreadsheet() {
    let work = workspace();
    work.write("erase.txt", "\u{feff}user_id\r\n\r\n u-ann-4711 \r\nu-bob-4712\r\n\r\n");
    let erased = result(&work.etl(&["erase", "--users-file", "erase.txt"]), "published");
    assert_eq!((&erased["users"], &erased["dim_user_rows"]), (&json!(2), &json!(2)));
    work.write("erase.txt", "\u{feff}user_id\r\n");
    assert_eq!(work.etl(&["erase", "--users-file", "erase.txt"]).code, 2, "a header names nobody");
}

/// The files that hold a text, in upper or lower case, wherever it stands.
fn files_with(work: &Workspace, text: &str) -> Vec<String> {
    let holds = |(name, bytes): &(&String, &Vec<u8>)| String::from_utf8_lossy(&plain(name, bytes)).to_lowercase().contains(text);
    work.files("").iter().filter(holds).map(|(name, _)| name.clone()).collect()
}

/// Orders that name the person by the address alone: a guest, a malformed record, a note, and a present from somebody else.
fn orders_by_address() -> Vec<String> {
    let soon = r#""created_at":"soon","items":[{"sku":"S","price":1}]"#;
    vec![
        order("K", "2026-01-01", r#","user_id":"Ann.Erased@One.example""#),
        order("L", "2026-01-02", r#","gift_note":"Annie <ANN.ERASED@one.example>""#),
        order("M", "2026-01-02", r#","user_id":"u-bob-4712","gift_note":"to ann.erased@ONE.example, from Bob""#),
        format!(r#"{{"order_id":"N","contact":{{"mail":" ANN.erased@one.example "}},{soon}}}"#),
        r#"{"order_id":"O","note":"Hi\nAnn.Erased@one.example","items""#.to_owned(),
        order("P", "2026-01-02", r#","user_id":"u-bob-4712","gift_note":"joann.erased@one.example""#),
    ]
}

#[test]
fn records_that_name_the_address_alone_go_and_do_not_come_back() {
    let work = workspace();
    let all = [orders(), orders_by_address()].concat();
    work.load(&all, &ARGS).published();
    let before = revenue(&work);
    let erased = result(&erase(&work, &["--column", "gift_note"]), "published");
    // `joann.erased@` is the address of somebody else.
    let others = |work: &Workspace| {
        files_with(work, "ann.erased@one.example").into_iter().all(|name| {
            let text = String::from_utf8_lossy(&plain(&name, &work.files("")[&name])).to_lowercase();
            text.matches("ann.erased@one.example").count() == text.matches("joann.erased@one.example").count()
        })
    };
    assert!(others(&work), "{:?}", files_with(&work, "ann.erased@one.example"));
    assert_eq!((erased["users_with_them"].clone(), erased["same_address"].clone()), (json!(["Ann.Erased@One.example"]), json!([])));
    assert_eq!((&erased["dim_user_rows"], &erased["fact_order_rows"]), (&json!(2), &json!(5)), "A, C, K, L and M");
    assert_eq!(revenue(&work), before);
    let rows = work.facts();
    let of = |order_id: &str| {
        rows.iter().find(|row| row["order_id"] == order_id).map(|row| (row["user_id"].as_str(), row["gift_note"].as_str()))
    };
    assert_eq!((of("K"), of("L"), of("M")), (Some(("", "")), Some(("", "")), Some(("u-bob-4712", ""))));
    assert_eq!(of("P"), Some(("u-bob-4712", "joann.erased@one.example")));
    let sql = erased["redshift_sql"].to_string();
    assert!(sql.contains("'Ann.Erased@One.example', 'u-ann-4711'") && sql.contains("'to ann.erased@ONE.example, from Bob'"), "{sql}");
    // The source still has them all.
    let (layer, times) = (work.layer(), work.times());
    let again = work.load(&all, &ARGS).unchanged();
    assert_eq!((work.layer(), work.times()), (layer, times));
    assert!(others(&work), "{:?}", files_with(&work, "ann.erased@one.example"));
    assert_eq!((&again["lines_erased"], &again["users_erased"]), (&json!(5), &json!(1)));
    assert_eq!(again["records_withheld"], 13, "four drops, and nine kept records");
    // New orders by the address alone.
    let new = [
        order("Q", "2026-01-04", r#","user_id":"ANN.ERASED@ONE.EXAMPLE""#),
        order("R", "2026-01-04", r#","contact":{"email":"Ann.Erased@one.example"}"#),
    ];
    assert_eq!(work.load(&new, &ARGS).published()["records_withheld"], 2);
    assert!(others(&work), "{:?}", files_with(&work, "ann.erased@one.example"));
    // A source of users may have the guest, too.
    work.write("users.csv", format!("{USERS}ANN.erased@one.example,,,,\n"));
    assert_eq!(work.load(&new, &ARGS).unchanged()["users_erased"], 2);
    result(&erase(&work, &[]), "unchanged");
}

#[test]
fn a_second_erasure_looks_again() {
    let work = workspace();
    work.load(&[orders(), orders_by_address()].concat(), &ARGS).published();
    let kept: Vec<_> = work.files("").into_iter().filter(|(name, _)| name.starts_with("quarantine/") || name.starts_with("raw/")).collect();
    let first = result(&erase(&work, &[]), "published");
    // Somebody restores a backup of what stands beside the layer.
    kept.iter().for_each(|(name, bytes)| drop(work.write(&format!("output/{name}"), bytes)));
    assert!(!files_of_ann(&work.files("")).is_empty(), "the premise");
    let again = result(&erase(&work, &[]), "published");
    for count in ["quarantined_records", "raw_records"] {
        assert_eq!(again[count], first[count], "{count}");
    }
    assert_eq!((&again["users_before"], &again["fact_order_rows"]), (&json!(1), &json!(0)));
    let mut left = files_of_ann(&work.files(""));
    left.retain(|name| !name.starts_with("curated/") && !name.starts_with("data/") && !name.starts_with("raw/"));
    assert_eq!(left, [""; 0]);
    result(&erase(&work, &[]), "unchanged");
}

#[test]
fn an_address_that_another_user_has_names_that_user() {
    let work = workspace();
    work.write("users.csv", format!("{USERS}u-eve-4713,Eve,ANN.erased@one.example,DE,\n"));
    let of_eve = order("E1", "2026-01-05", r#","user_id":"u-eve-4713","gift_note":"ann.erased@one.example""#);
    work.load(&[of_eve.clone(), order("K", "2026-01-05", r#","user_id":"ann.erased@one.example""#)], &ARGS).published();
    let text = erase(&work, &["--dry-run", "--format", "text"]);
    assert!(text.stdout.contains("etl erase --user 'ann.erased@one.example' --user 'u-eve-4713'"), "{}", text.stdout);
    let erased = result(&erase(&work, &[]), "published");
    assert_eq!((&erased["same_address"], &erased["users_with_them"]), (&json!(["ann.erased@one.example", "u-eve-4713"]), &json!([])));
    let row = |order_id: &str| work.facts().into_iter().find(|row| row["order_id"] == order_id).unwrap();
    assert_eq!((row("E1")["gift_note"].as_str(), row("K")["user_id"].as_str()), ("ann.erased@one.example", "ann.erased@one.example"));
    let again = work.load(&[of_eve], &ARGS).unchanged();
    assert_eq!((&again["records_withheld"], &again["lines_erased"]), (&json!(0), &json!(0)));
    // With the last one who has it, the address goes.
    let last = result(&work.etl(&["erase", "--user", "u-eve-4713"]), "published");
    assert_eq!(last["users_with_them"], json!(["ann.erased@one.example"]));
    assert_eq!(files_with(&work, "ann.erased@one.example"), [""; 0]);
}

#[test]
fn an_address_that_nobody_has_as_an_id_leads_to_the_user_who_has_it() {
    let work = workspace();
    let all = work.layer();
    let refused = work.etl(&["erase", "--user", "Ann.Erased@one.example", "--log-format", "text"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("etl erase --user 'u-ann-4711'"), "{}", refused.stderr);
    assert_eq!(work.layer(), all);
    // A guest who is no user goes by the address, however it is written.
    work.load(&[order("K", "2026-01-05", r#","user_id":"Guest@three.example""#)], &ARGS).published();
    let erased = result(&work.etl(&["erase", "--user", "guest@THREE.example"]), "published");
    assert_eq!((&erased["dim_user_rows"], &erased["fact_order_rows"]), (&json!(1), &json!(1)));
    assert_eq!(files_with(&work, "guest@three.example"), [""; 0]);
}

#[test]
fn addresses_of_earlier_versions_and_of_kept_orders_are_found() {
    for scd in ["1", "2"] {
        let work = Workspace::new();
        work.write("etl.toml", format!("[dim_user]\nscd = {scd}\n\n[[fact.columns]]\nname = \"gift_note\"\npath = \"gift_note\"\n"));
        let shop = r#","merchant_email":"shop@shop.example""#;
        let guest = |order_id: &str, mail: &str| {
            format!(r#"{{"order_id":"{order_id}","email":"{mail}","created_at":"soon","items":[{{"sku":"S","price":1}}]{shop}}}"#)
        };
        let records = [
            order("A", "2026-01-01", &format!(r#","user_id":"u-ann-4711","customer":{{"email":"ann.kept@one.example"}}{shop}"#)),
            order("B", "2026-01-01", &format!(r#","user_id":"u-bob-4712","email":"bob.kept@two.example"{shop}"#)),
            order("K", "2026-01-01", r#","user_id":"Ann.Old@one.example""#),
            order("L", "2026-01-01", r#","user_id":"ann.KEPT@one.example""#),
            guest("M", "ANN.old@one.example"),
            guest("N", "Ann.Kept@one.example"),
            guest("O", "joe@three.example"),
        ];
        work.write("users.csv", USERS.replace("ann.erased@", "ann.old@"));
        work.load(&records, &ARGS).published();
        work.write("users.csv", USERS);
        work.load(&records, &ARGS).published();
        let erased = result(&erase(&work, &[]), "published");
        assert_eq!(erased["users_with_them"], json!(["Ann.Old@one.example", "ann.KEPT@one.example"]), "scd = {scd}: {erased}");
        for pass in ["the erasure", "a later run"] {
            for text in ["ann.old@", "ann.kept@", "u-ann-4711"] {
                assert_eq!(files_with(&work, text), [""; 0], "scd = {scd}, {text}, {pass}");
            }
            for text in ["shop@shop.example", "joe@three.example", "bob.kept@two.example"] {
                assert!(files_with(&work, text).iter().any(|name| name.starts_with("raw/")), "scd = {scd}, {text}, {pass}");
            }
            work.load(&records, &ARGS).unchanged();
        }
        // What only orders had may be that of somebody else later.
        let of_bob = order("C", "2026-01-06", r#","user_id":"u-bob-4712","email":"ann.kept@one.example""#);
        assert_eq!(work.load(&[of_bob], &ARGS).published()["records_withheld"], 0, "scd = {scd}");
    }
}

#[test]
fn copies_of_damaged_records_of_the_log_go_if_they_show_the_person() {
    let work = workspace();
    let copy = |name: &str| format!("state/damaged_commits/{name}.json");
    let report = |user: &str| format!(r#"{{"number":1,"told":[{{"key":"reports/x.json","text":"{{\"sample\":[{{\"who\":\"{user}\"}}]}}"#);
    for (name, user) in [("1", "u-ann-4711"), ("2", "ANN.erased@one.example"), ("3", "u-bob-4712")] {
        work.write(&format!("output/{}", copy(name)), report(user));
    }
    assert_eq!(result(&erase(&work, &["--dry-run"]), "dry_run")["damaged_records_removed"], 2);
    assert_eq!(work.files("state/damaged_commits").len(), 3);
    assert_eq!(result(&erase(&work, &[]), "published")["damaged_records_removed"], 2);
    assert_eq!(work.files("state/damaged_commits").into_keys().collect::<Vec<_>>(), [copy("3")]);
}

#[test]
fn columns_of_an_earlier_erasure_are_emptied_and_it_says_where_a_new_one_comes_too_late() {
    let work = workspace();
    result(&erase(&work, &["--column", "gift_note"]), "published");
    let second = result(&work.etl(&["erase", "--user", "u-bob-4712"]), "published");
    assert_eq!((&second["columns_emptied"], &second["columns_kept"]), (&json!(["gift_note"]), &json!([])));
    assert!(work.facts().iter().all(|row| row["gift_note"].is_empty() && row["user_id"].is_empty()));
    let work = workspace();
    let first = result(&work.etl(&["erase", "--user", "u-bob-4712"]), "published");
    assert_eq!((&first["columns_kept"], &first["columns_not_reached"]), (&json!(["gift_note"]), &json!([])));
    let late = result(&work.etl(&["erase", "--user", "u-bob-4712", "--column", "gift_note"]), "published");
    assert_eq!((&late["columns_not_reached"], &late["fact_order_rows"]), (&json!(["gift_note"]), &json!(0)));
}

#[test]
fn withheld_records_are_no_records_of_a_rebuild_or_a_replay() {
    let work = workspace();
    let first = work.etl(&["runs", "--json"]).summary()["runs"][0]["run_id"].as_str().unwrap().to_owned();
    result(&erase(&work, &[]), "published");
    let rows = revenue(&work);
    let rebuilt = work.etl(&["rebuild", "--from", "raw", "--orders", "orders.ndjson"]).summary();
    assert_eq!(
        (&rebuilt["records_read"], &rebuilt["records_withheld"], &rebuilt["dropped"]),
        (&json!(3), &json!(4), &json!({"invalid_created_at": 1}))
    );
    assert_eq!(revenue(&work), rows);
    let replayed = work.etl(&["quarantine", "replay", &first]).summary();
    assert_eq!(
        (&replayed["records_read"], &replayed["records_withheld"], &replayed["dropped"]),
        (&json!(1), &json!(2), &json!({"invalid_created_at": 1}))
    );
}

#[test]
fn the_statements_for_redshift_quote_ids() {
    let work = Workspace::new();
    work.write("etl.toml", "[redshift]\nschema = \"shop\"\n");
    work.load(&[order("A", "2026-01-01", r#","user_id":"o'neil""#)], &[]).published();
    let erased = result(&work.etl(&["erase", "--user", "o'neil"]), "published");
    assert_eq!(
        erased["redshift_sql"],
        json!([
            r#"UPDATE "shop"."fact_order" SET "user_id" = NULL, "user_country" = NULL WHERE "user_id" IN ('o''neil')"#,
            r#"DELETE FROM "shop"."dim_user" WHERE "user_id" IN ('o''neil')"#
        ])
    );
    let text = work.etl(&["erase", "--user", "o'neil", "--format", "text"]);
    assert!(text.stdout.contains("backups") && text.stdout.contains("IN ('o''neil');"), "{}", text.stdout);
}

#[test]
fn a_masked_id_is_found_by_what_it_was() {
    let work = Workspace::new();
    work.write(".env", "ETL_MASK_KEY=0123456789abcdef0123456789abcdef-one\n");
    work.write("etl.toml", "[columns]\nuser_id.mask = \"hmac\"\n");
    work.load(&[order("A", "2026-01-01", r#","user_id":"u-ann-4711""#)], &[]).published();
    let erased = result(&erase(&work, &[]), "published");
    assert_eq!((&erased["dim_user_rows"], &erased["fact_order_rows"]), (&json!(1), &json!(1)));
    assert_eq!(work.facts()[0]["user_id"], "");
}

#[test]
fn a_bucket_is_erased_as_a_folder_is() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::new(server.bucket());
    lake.work.write("users.csv", USERS);
    lake.work.write("checks/own.sql", OWN_CHECK);
    lake.work.write("etl.toml", "[[fact.columns]]\nname = \"gift_note\"\npath = \"gift_note\"\n");
    lake.load(&orders(), &ARGS).published();
    assert!(!files_of_ann(&lake.files("")).is_empty(), "the premise");
    let hint: Value = serde_json::from_slice(&lake.get("state/latest.json").unwrap()).unwrap();
    assert!(hint["notes"]["copies"]["dims/dim_user/dim_user.csv"].is_string(), "the premise: {hint}");
    let erased = result(&lake.etl(&[&ERASE[..], &["--column", "gift_note"]].concat()), "published");
    assert_eq!((&erased["dim_user_rows"], &erased["fact_order_rows"]), (&json!(1), &json!(2)));
    assert_eq!(files_of_ann(&lake.files("")), [""; 0]);
    // Copies beside the newest record are compressed: no text is found in them.
    let hint: Value = serde_json::from_slice(&lake.get("state/latest.json").unwrap()).unwrap();
    assert_eq!((&hint["command"], &hint["notes"]["copies"], &hint["notes"]["alerts"]), (&json!("erase"), &Value::Null, &Value::Null));
    lake.assert_projected("erased");
    lake.load(&orders(), &ARGS).unchanged();
    assert_eq!(files_of_ann(&lake.files("")), [""; 0]);
}

#[test]
fn an_erasure_that_dies_with_its_commit_leaves_no_copy_beside_the_newest_record() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.work.write("users.csv", USERS);
    lake.load(&orders(), &ARGS).published();
    let copies =
        || -> Value { serde_json::from_slice::<Value>(&lake.get("state/latest.json").unwrap()).unwrap()["notes"]["copies"].take() };
    assert!(copies()["dims/dim_user/dim_user.csv"].is_string(), "the premise");
    let proxy = lake.bucket.proxy();
    proxy.add(Rule::new(Fault::Hold).method("PUT").key("/state/commits/").nth(0));
    let mut child = lake.start(&ERASE);
    proxy.wait_for_held(1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(copies(), Value::Null, "whoever finishes it would not remove them");
    proxy.clear();
    lake.end_leases();
    result(&lake.etl(&ERASE), "published");
    assert_eq!(files_of_ann(&lake.files("")), [""; 0]);
}

/// Erases behind a proxy that holds the first put of a place, and presses Ctrl-C meanwhile.
fn interrupted_at(lake: &Lake, place: &str) -> Ended {
    let proxy = lake.bucket.proxy();
    proxy.add(Rule::new(Fault::Hold).method("PUT").key(place).nth(0));
    let child = lake.start(&ERASE);
    proxy.wait_for_held(1);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    // Until the command has seen it.
    thread::sleep(Duration::from_millis(500));
    proxy.release();
    ended(child.wait_with_output().unwrap())
}

#[test]
fn an_erasure_that_is_interrupted_says_what_it_has_changed() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.work.write("users.csv", USERS);
    lake.load(&orders(), &ARGS).published();
    // Quarantine is written before `raw/`, and all of it before the commit.
    let stopped = interrupted_at(&lake, "/raw/");
    assert_eq!(stopped.code, 130, "{}", stopped.stderr);
    let told = "The tables still name the users. Files beside them that no longer do: 2.";
    assert!(stopped.stderr.contains(told) && !stopped.stderr.contains("nothing was"), "{}", stopped.stderr);
    let left = files_of_ann(&lake.files(""));
    assert!(left.iter().any(|file| file.starts_with("dims/")) && !left.iter().any(|file| file.starts_with("quarantine/")), "{left:?}");
    lake.bucket.proxy().clear();
    result(&lake.etl(&ERASE), "published");
    assert_eq!(files_of_ann(&lake.files("")), [""; 0]);
}

#[test]
fn an_erasure_whose_commit_is_decided_is_not_told_as_interrupted() {
    let Some(server) = S3Server::moto() else { return };
    let lake = Lake::behind_proxy(server.bucket());
    lake.work.write("users.csv", USERS);
    lake.load(&orders(), &ARGS).published();
    lake.bucket.proxy().add(Rule::refuse_puts("/dims/dim_user/"));
    // The commit of the load is written anew before: it shows the person.
    let stopped = interrupted_at(&lake, "/state/commits/00000000000000000002");
    assert_eq!(stopped.code, 5, "{}", stopped.stderr);
    let is_told = stopped.stderr.contains("is decided all the same: the next command finishes its publish");
    assert!(is_told && !stopped.stderr.contains("nothing was"), "{}", stopped.stderr);
    lake.bucket.proxy().clear();
    lake.end_leases();
    // The next command installs the commit, and this one removes the kept versions that name the person.
    assert_eq!(lake.etl(&ERASE).code, 0);
    assert_eq!(files_of_ann(&lake.files("")), [""; 0]);
}

/// Places at which a run is held while it publishes: what it has dropped and kept is put after the erasure, or before.
const HELD_AT: [&str; 3] = ["/quarantine/", "/raw/", "/state/commits/"];

#[test]
fn a_run_that_an_erasure_overtakes_leaves_no_byte_of_the_person() {
    let Some(server) = S3Server::moto() else { return };
    for place in HELD_AT {
        let lake = Lake::behind_proxy(server.bucket());
        lake.work.write("users.csv", USERS);
        lake.work.write("checks/own.sql", OWN_CHECK);
        lake.load(&orders(), &ARGS).published();
        let orders = orders();
        let later = orders.iter().map(|line| line.replace("2026-01-0", "2026-02-0").replace(r#""order_id":""#, r#""order_id":"later-"#));
        lake.work.write("later.ndjson", later.collect::<Vec<_>>().join("\n"));
        let run = [&["run", "--orders", "later.ndjson"], &ARGS[..]].concat();
        let proxy = lake.bucket.proxy();
        proxy.add(Rule::new(Fault::Hold).method("PUT").key(place).nth(0));
        let at_work = lake.start(&run);
        proxy.wait_for_held(1);
        lake.end_leases();
        result(&lake.etl(&ERASE), "published");
        proxy.release();
        let overtaken = ended(at_work.wait_with_output().unwrap());
        overtaken.expect(5, "storage_failed");
        assert!(overtaken.stderr.contains("a user was erased while this run was at work"), "{place}: {}", overtaken.stderr);
        assert_eq!(files_of_ann(&lake.files("")), [""; 0], "held at {place}");
        // The summary is kept by schedulers.
        assert!(!OF_ANN.iter().any(|of_ann| overtaken.stdout.contains(of_ann)), "{place}: {}", overtaken.stdout);
        lake.etl(&run).published();
        assert_eq!(files_of_ann(&lake.files("")), [""; 0], "held at {place}, and run again");
        lake.assert_projected(place);
    }
}
