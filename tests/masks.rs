//! Masks of personal data (`[columns.NAME]`): no file, log, answer or alert of a run holds a masked value, and joins hold.

use serde_json::Value;

use crate::support::{self, Ended, Server, Workspace, order, status};

const KEY: &str = "0123456789abcdef0123456789abcdef-one";
const OTHER_KEY: &str = "0123456789abcdef0123456789abcdef-two";

/// The addresses that the sources hold.
const ADDRESSES: [&str; 5] = ["ann@one.example", "bob@two.example", "cyd@three.example", "dan@four.example", "eve@five.example"];

/// The first three with [`KEY`], computed by another program.
const HMACS: [&str; 3] = [
    "b9cfd59c6bb4a506d6941d69d9d0560098ff14f3731f84686f787d158ebffe83",
    "ef1c7b0646c1fe010cfc3e34aedef9482ba951b9d9041e290baef8075854ab6b",
    "09d1b32aabb69b134efec0929b58c6a86e5c609b3fdc93b618d0e93c31bd61c8",
];

const USERS: &str = "id,name,email,phone,country\n\
    ann@one.example,Ann,ann@one.example,+491,DE\n\
    bob@two.example,Bob,bob@two.example,+492,FR\n\
    eve@five.example,Eve,eve@five.example,+493,IT\n";

fn order_of(order_id: &str, address: &str, rest: &str) -> String {
    format!(
        r#"{{"order_id":"{order_id}","user_id":"{address}","customer":{{"email":"{address}","phone":"+491"}},"contact":"{address}"{rest}}}"#
    )
}

/// An order that is sound, one with a line to drop, one without a time, and one that is no JSON.
fn orders() -> String {
    let [ann, bob, cyd, dan, _] = ADDRESSES;
    [
        order_of("A", ann, r#","created_at":"2026-01-01","items":[{"sku":"S","price":1.50}]"#),
        order_of("B", bob, r#","created_at":"2026-01-02","items":[{"sku":"S","price":2.50},{"price":7}]"#),
        order_of("C", cyd, r#","items":[{"sku":"S","price":3.50}]"#),
        format!(r#"{{"order_id":"D","user_id":"{dan}"#),
    ]
    .join("\n")
}

const MASKS: &str = r#"
[columns]
user_id.mask = "hmac"
email.mask = "hmac"
contact.mask = "domain"
phone.mask = "omit"
"#;

fn workspace(toml: &str) -> Workspace {
    let work = Workspace::new();
    work.write(".env", format!("ETL_MASK_KEY={KEY}\n"));
    work.write("users.csv", USERS);
    work.write("orders.ndjson", orders());
    work.write("etl.toml", format!("orders = \"orders.ndjson\"\nusers = \"users.csv\"\n{toml}{MASKS}"));
    work
}

/// Fails if a text holds an address.
#[track_caller]
fn assert_no_address(what: &str, text: &str) {
    for address in ADDRESSES {
        assert!(!text.contains(address), "{what} holds {address}: {text}");
    }
}

#[track_caller]
fn assert_none_in(work: &Workspace, ended: &Ended) {
    assert_no_address("stdout", &ended.stdout);
    assert_no_address("stderr", &ended.stderr);
    for (name, bytes) in work.files("") {
        assert_no_address(&name, &String::from_utf8_lossy(&bytes));
    }
}

/// The lines of a run's quarantine.
fn quarantine(work: &Workspace, summary: &Value) -> Vec<Value> {
    let file = work.read(&format!("output/quarantine/run_id={}/records.ndjson", summary["run_id"].as_str().unwrap()));
    file.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn nothing_that_a_run_writes_says_or_sends_holds_a_masked_value() {
    let receiver = Server::start(|_| status(202));
    let checks = "[[checks.column]]\ntable = \"dim_user\"\ncolumn = \"email\"\naccepted = [\"nobody\"]\nseverity = \"warn\"\n\
        [[checks.column]]\ncolumn = \"user_id\"\nmatches = \"nobody\"\nseverity = \"warn\"\n";
    let work = workspace(&format!("{checks}[[fact.columns]]\nname = \"contact\"\npath = \"contact\"\n"));
    work.write(".env", format!("ETL_MASK_KEY={KEY}\nETL_ALERT_WEBHOOK_URL={}/hook\n", receiver.url));
    let ended = work.etl(&["run", "-vv"]);
    let summary = ended.published();
    assert_none_in(&work, &ended);
    assert!(!ended.stderr.contains(KEY) && !work.files("").values().any(|bytes| String::from_utf8_lossy(bytes).contains(KEY)));

    let sent = receiver.asked();
    assert!(!sent.is_empty(), "two of four records are dropped");
    sent.iter().for_each(|asked| assert_no_address("an alert", &asked.body));
    let run_id = summary["run_id"].as_str().unwrap();
    for args in [&["quarantine"][..], &["explain", "B"], &["runs", "show", run_id], &["status"], &["report"]] {
        let ended = work.etl(args);
        assert_none_in(&work, &ended);
    }
    assert_no_address("the page", &work.read("report.html"));
    let facts: Vec<_> = work.facts().iter().map(|row| [&row["order_id"], &row["user_id"], &row["contact"]].map(String::clone)).collect();
    assert_eq!(facts, [["A", HMACS[0], "one.example"], ["B", HMACS[1], "two.example"]]);
    let violations: u64 = summary["checks"].as_array().unwrap().iter().map(|check| check["violations"].as_u64().unwrap_or_default()).sum();
    assert!(violations >= 5, "what the checks say of each user and fact: {}", summary["checks"]);

    let kept = quarantine(&work, &summary);
    let reasons: Vec<_> = kept.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["missing_sku", "missing_created_at", "invalid_json"]);
    for (line, hmac, domain) in [(&kept[0], HMACS[1], "@two.example"), (&kept[1], HMACS[2], "@three.example")] {
        let record = &line["record"];
        let hmac = Value::from(format!("hmac:{hmac}"));
        assert_eq!((&record["user_id"], &record["customer"]["email"], &record["contact"]), (&hmac, &hmac, &domain.into()));
        assert_eq!(record["customer"]["phone"], Value::Null);
    }
    assert!(kept[2]["record"].as_str().unwrap().starts_with("withheld"), "{}", kept[2]);
}

#[test]
fn joins_hold_and_the_same_run_again_changes_nothing() {
    let work = workspace("");
    let toml = work.read("etl.toml").replace("contact.mask = \"domain\"\n", "");
    work.write("etl.toml", toml);
    work.etl(&["run"]).published();
    let sql = "SELECT order_id, name, email, user_country FROM fact_order JOIN dim_user USING (user_id) ORDER BY order_id";
    assert_eq!(work.query(sql), [format!("A|Ann|{}|DE", HMACS[0]), format!("B|Bob|{}|FR", HMACS[1])]);
    assert_eq!(work.query("SELECT count(*), count(phone) FROM dim_user"), ["3|0"], "no member is inferred, and no phone is there");
    let times = work.times();
    work.etl(&["run"]).unchanged();
    assert_eq!(work.times(), times);
}

#[test]
fn a_replay_knows_what_is_masked_already() {
    let work = workspace("[[fact.columns]]\nname = \"contact\"\npath = \"contact\"\n");
    let summary = work.etl(&["run"]).published();
    let run_id = summary["run_id"].as_str().unwrap();
    let file = format!("output/quarantine/run_id={run_id}/records.ndjson");
    let before = work.read(&file);
    let mended = before.replace(r#""record":{"order_id":"C","#, r#""record":{"order_id":"C","created_at":"2026-01-03","#);
    assert_ne!(mended, before);
    work.write(&file, mended);
    let replayed = work.etl(&["quarantine", "replay", run_id]);
    let replay = replayed.published();
    assert_none_in(&work, &replayed);
    let facts: Vec<_> = work.facts().iter().map(|row| [&row["order_id"], &row["user_id"], &row["contact"]].map(String::clone)).collect();
    assert_eq!(facts, [["A", HMACS[0], "one.example"], ["B", HMACS[1], "two.example"], ["C", HMACS[2], "three.example"]]);
    let again = quarantine(&work, &replay);
    assert_eq!((&again[0]["reason"], &again[0]["record"]["user_id"]), (&"missing_sku".into(), &format!("hmac:{}", HMACS[1]).into()));
}

#[test]
fn domains_stay_and_documents_within_cells_are_masked() {
    let work = Workspace::new();
    let users = r#"[{"id":1,"email":"ann@one.example","phone":"+491","backup":[{"email":"eve@five.example"}],"contact":{"email":"bob@two.example"}},
        {"id":2,"email":"no address","phone":null}]"#;
    work.write("users.json", users);
    work.write(
        "etl.toml",
        "users = \"users.json\"\n[columns]\nemail.mask = \"domain\"\nphone.mask = \"omit\"\ncontact_email.mask = \"domain\"\n",
    );
    let ended = work.load(&[order("A", "2026-01-01", r#","user_id":1"#)], &[]);
    ended.published();
    assert_none_in(&work, &ended);
    assert_eq!(
        work.query("SELECT user_id, email, phone, contact_email, backup FROM dim_user ORDER BY 1"),
        [r#"1|one.example|NULL|two.example|[{"email":"five.example"}]"#, "2|NULL|NULL|NULL|NULL"]
    );
}

#[test]
fn ids_that_a_csv_writes_as_floats_still_meet_those_of_the_facts() {
    let work = Workspace::new();
    work.write(".env", format!("ETL_MASK_KEY={KEY}\n"));
    work.write("users.csv", "id,name\n7.0,Ann\n8.0,Bob\n");
    work.write("etl.toml", "users = \"users.csv\"\ncolumns.user_id.mask = \"hmac\"\n");
    work.load(&[order("A", "2026-01-01", r#","user_id":7"#)], &[]).published();
    assert_eq!(work.query("SELECT name FROM fact_order JOIN dim_user USING (user_id)"), ["Ann"]);
}

#[test]
fn another_key_changes_every_member_and_a_mask_reaches_a_layer_that_is_there() {
    let work = Workspace::new();
    work.write("users.csv", "id,email\n1,ann@one.example\n2,bob@two.example\n");
    let emails = || work.query("SELECT email FROM dim_user ORDER BY user_id");
    let lines = [order("A", "2026-01-01", r#","user_id":1"#)];
    work.load(&lines, &["--users", "users.csv"]).published();
    assert_eq!(emails(), &ADDRESSES[..2]);
    work.write("etl.toml", "columns.email.mask = \"hmac\"\n");
    work.write(".env", format!("ETL_MASK_KEY={KEY}\n"));
    work.load(&lines, &["--users", "users.csv"]).published();
    assert_eq!(emails(), &HMACS[..2]);
    work.layer().into_iter().for_each(|(name, bytes)| assert_no_address(&name, &String::from_utf8_lossy(&bytes)));
    work.write(".env", format!("ETL_MASK_KEY={OTHER_KEY}\n"));
    let summary = work.load(&lines, &["--users", "users.csv"]).published();
    let other = emails();
    assert!(other.iter().all(|email| email.len() == 64 && !HMACS.contains(&email.as_str())), "{other:?}");
    assert_eq!((other.len(), &summary["rows_unchanged"]), (2, &1.into()), "facts carry no e-mail");
}

#[test]
fn what_can_not_be_masked_is_refused_with_its_place() {
    let work = Workspace::new();
    work.write("users.csv", "id,email\n1,ann@one.example\n");
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let refused = |toml: &str, key: Option<&str>, args: &[&str], message: &str| {
        work.write("etl.toml", format!("users = \"users.csv\"\n{toml}"));
        let args = [&["run", "--orders", "orders.ndjson", "--log-format", "text"][..], args].concat();
        let mut command = work.command(&args);
        command.envs(key.map(|key| ("ETL_MASK_KEY", key)));
        let ended = support::ended(command.output().unwrap());
        assert!(ended.code == 2 && ended.stderr.contains(message), "{toml}: {} {}", ended.code, ended.stderr);
        assert!(work.layer().is_empty() && key.is_none_or(|key| !ended.stderr.contains(key)), "{toml}");
    };
    let hmac = "[columns.email]\nmask = \"hmac\"\n";
    refused(hmac, None, &[], "etl.toml, line 2: `columns.email`: `hmac` needs a key, and ETL_MASK_KEY is not set");
    refused(hmac, Some("31-bytes-are-one-byte-too-few-x"), &[], "ETL_MASK_KEY: a key has at least 32 bytes");
    refused(hmac, Some(KEY), &["--keep-raw"], "`keep_raw` keeps records as they were delivered");
    let unknown =
        "etl.toml, line 2: `columns.emial`: neither dim_user nor the extra columns of fact_order have this column: did you mean `email`?";
    refused("[columns.emial]\nmask = \"omit\"\n", None, &[], unknown);
    refused("[columns.status]\nmask = \"omit\"\n", None, &[], "`columns.status`: neither dim_user nor");
    refused("[columns.user_id]\nmask = \"omit\"\n", None, &[], "only `hmac` keeps the joins");
    let plain = "[columns.email]\nmask = \"omit\"\n[orders]\nfields.user_id = \"customer.email\"\n";
    refused(plain, None, &[], "etl.toml, line 2: `columns.email`: the profile makes `user_id` of this value");
    // Commands that read no source need no key.
    work.write("etl.toml", "");
    work.etl(&["run", "--orders", "orders.ndjson"]).published();
    work.write("etl.toml", hmac);
    assert_eq!(work.etl(&["check"]).code, 0);
}
