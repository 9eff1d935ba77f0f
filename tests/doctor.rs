//! `etl doctor`: each part is tried for real, fails with its own exit code, and nothing is written or sent.

use serde_json::Value;

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json, order, status};

fn with(work: &Workspace, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    support::ended(work.command(&[&["doctor"], args].concat()).envs(variables.iter().copied()).output().unwrap())
}

/// The state of a part, and what was found.
#[track_caller]
fn part(ended: &Ended, name: &str) -> (String, String) {
    let summary = ended.summary();
    let parts = summary["parts"].as_array().unwrap();
    let found = parts.iter().find(|part| part["part"] == name).unwrap_or_else(|| panic!("no {name}: {parts:#?}"));
    [&found["state"], &found["detail"]].map(|text: &Value| text.as_str().unwrap().to_owned()).into()
}

#[track_caller]
fn state(ended: &Ended, name: &str) -> String {
    part(ended, name).0
}

/// A source of orders that asks for a token, and a receiver of alerts.
fn server() -> Server {
    Server::start(|asked: &Asked| -> Reply {
        match (asked.path.as_str(), asked.header("authorization")) {
            ("/orders", Some("Bearer right-token")) => json(format!("[{}]", order("A", "2026-01-01", ""))),
            ("/orders", _) => status(401),
            _ => status(405),
        }
    })
}

#[test]
fn every_part_is_tried_and_nothing_is_written_or_sent() {
    let server = server();
    let work = Workspace::new();
    work.write("users.csv", "user_id,country\n1,DE\n");
    let hook = format!("{}/services/a-secret-of-the-hook", server.url);
    let variables = [("ETL_API_TOKEN", "right-token"), ("ETL_ALERT_SLACK_URL", hook.as_str())];
    let ended = with(&work, &["--orders", &server.orders(), "--users", "users.csv"], &variables);
    assert_eq!((ended.code, ended.summary()["works"].as_bool()), (0, Some(true)), "{}{}", ended.stdout, ended.stderr);
    // How much space is free is for the machine to say.
    for name in ["orders", "orders token", "users", "output", "clock", "alerts to slack"] {
        assert_eq!(state(&ended, name), "works", "{name}: {}", ended.stdout);
    }
    assert!(part(&ended, "orders").1.ends_with("1 record on the first page"), "{}", ended.stdout);
    assert_eq!(part(&ended, "users").1, "users.csv: 1 file");
    for name in ["products", "warehouse", "checks"] {
        assert_eq!(state(&ended, name), "unused", "{name}");
    }
    let asked = server.asked();
    let paths: Vec<_> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/orders", "/"], "one request a part, and not to the path of the webhook");
    assert!(asked.iter().all(|asked| asked.body.is_empty()));
    assert!(!work.path("output").exists());
    let text = with(&work, &["--orders", &server.orders(), "--format", "text"], &variables).stdout;
    assert!(text.lines().any(|line| line.starts_with("orders token ") && line.contains(" works ")), "{text}");
    assert!(!text.contains("a-secret-of-the-hook"));
}

#[test]
fn a_part_that_fails_gives_its_exit_code() {
    let server = server();
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let orders = server.orders();
    let files = ["--orders", "orders.ndjson"];

    let refused = with(&work, &["--orders", &orders], &[("ETL_API_TOKEN", "wrong-token")]);
    assert_eq!((refused.code, state(&refused, "orders token")), (3, "fails".to_owned()), "{}", refused.stdout);
    assert!(part(&refused, "orders").1.contains("401"));

    let busy = Server::start(|_: &Asked| status(503));
    let ended = with(&work, &["--orders", &busy.orders()], &[]);
    assert_eq!((ended.code, state(&ended, "orders"), busy.asked().len()), (3, "fails".to_owned(), 1), "a look does not wait");

    let missing = with(&work, &["--orders", "nothing/*.ndjson"], &[]);
    assert_eq!((missing.code, state(&missing, "orders")), (3, "fails".to_owned()));

    let none = with(&work, &[], &[]);
    assert_eq!((none.code, state(&none, "orders")), (2, "fails".to_owned()), "{}", none.stdout);

    let credentials = with(&work, &["--profile", "shopify", "--url", "https://shop.invalid"], &[]);
    assert_eq!((credentials.code, state(&credentials, "orders token")), (2, "fails".to_owned()));
    assert!(part(&credentials, "orders token").1.contains("ETL_API_KEY"), "{}", credentials.stdout);

    let file = with(&work, &[&files[..], &["--output", "orders.ndjson/output"]].concat(), &[]);
    assert!(file.code == 2 && file.stderr.contains("orders.ndjson is a file"), "{}", file.stderr);
    // A folder stands where a file of the log is needed.
    std::fs::create_dir_all(work.path("damaged/state/latest.json")).unwrap();
    let output = with(&work, &[&files[..], &["--output", "damaged"]].concat(), &[]);
    assert_eq!((output.code, state(&output, "output")), (5, "fails".to_owned()), "{}", output.stdout);

    let receiver = with(&work, &files, &[("ETL_ALERT_SLACK_URL", "http://127.0.0.1:1/services/hook")]);
    assert_eq!((receiver.code, state(&receiver, "alerts to slack")), (2, "fails".to_owned()), "{}", receiver.stdout);

    let warehouse = with(&work, &files, &[("ETL_REDSHIFT_URL", "postgresql://me:hush-hush@127.0.0.1:1/db?sslmode=disable")]);
    assert_eq!((warehouse.code, state(&warehouse, "warehouse")), (5, "fails".to_owned()), "{}", warehouse.stdout);
    assert!(!warehouse.stdout.contains("hush-hush"));

    work.write("checks/two.sql", "SELECT 1; SELECT 2");
    let checks = with(&work, &files, &[]);
    assert_eq!((checks.code, state(&checks, "checks")), (2, "fails".to_owned()), "{}", checks.stdout);
    assert!(!work.path("output").exists());
}

#[test]
fn the_receiver_of_lineage_is_asked_without_an_event() {
    // As Marquez does: it takes posts there, and answers other requests by a complaint.
    let marquez = Server::start(|asked: &Asked| match (asked.path.as_str(), asked.header("authorization")) {
        ("/api/v1/lineage", Some("Bearer right-key")) => status(400),
        ("/api/v1/lineage", _) => status(401),
        _ => status(404),
    });
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01", ""));
    let url = ("OPENLINEAGE_URL", marquez.url.as_str());
    let asked = |variables: &[(&str, &str)]| with(&work, &["--orders", "orders.ndjson"], variables);

    let file = ("ETL_LINEAGE_FILE", "events.ndjson");
    let works = asked(&[url, file, ("OPENLINEAGE_API_KEY", "right-key")]);
    assert_eq!((works.code, state(&works, "lineage"), state(&works, "lineage file")), (0, "works".to_owned(), "works".to_owned()));
    assert!(!work.path("events.ndjson").exists(), "a look makes no file");

    let (refused, unnamed) = (asked(&[url, ("OPENLINEAGE_API_KEY", "wrong-key")]), asked(&[url]));
    assert_eq!((refused.code, state(&refused, "lineage")), (2, "fails".to_owned()), "{}", refused.stdout);
    assert!(part(&refused, "lineage").1.contains("does not take OPENLINEAGE_API_KEY") && !refused.stdout.contains("wrong-key"));
    assert!(part(&unnamed, "lineage").1.contains("asks for OPENLINEAGE_API_KEY (401)"), "{}", unnamed.stdout);

    let elsewhere = asked(&[url, ("OPENLINEAGE_ENDPOINT", "api/v2")]);
    assert_eq!((elsewhere.code, state(&elsewhere, "lineage")), (0, "warns".to_owned()), "{}", elsewhere.stdout);
    assert!(marquez.asked().iter().all(|asked| asked.body.is_empty()), "no event was sent");

    let dead = asked(&[("OPENLINEAGE_URL", "http://127.0.0.1:1"), ("ETL_LINEAGE_FILE", "missing/events.ndjson")]);
    assert_eq!((dead.code, state(&dead, "lineage"), state(&dead, "lineage file")), (2, "fails".to_owned(), "fails".to_owned()));
    assert_eq!(state(&asked(&[]), "lineage"), "unused");
}

#[test]
fn the_first_part_that_fails_decides() {
    let work = Workspace::new();
    let ended = with(&work, &["--orders", "nothing/*.ndjson"], &[("ETL_ALERT_SLACK_URL", "http://127.0.0.1:1/services/hook")]);
    assert_eq!((ended.code, state(&ended, "alerts to slack")), (3, "fails".to_owned()), "{}", ended.stdout);
}

#[test]
fn a_clock_that_differs_from_the_servers_is_told_and_is_no_failure() {
    let server = Server::start(|_: &Asked| {
        let (code, mut headers, body) = json(format!("[{}]", order("A", "2026-01-01", "")));
        headers.push(("date", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()));
        (code, headers, body)
    });
    let work = Workspace::new();
    let ended = with(&work, &["--orders", &server.orders()], &[]);
    let (state, detail) = part(&ended, "clock");
    assert!(ended.code == 0 && state == "warns" && detail.contains("ahead of"), "{}", ended.stdout);
}

#[test]
fn each_shop_has_parts_of_its_own() {
    let work = Workspace::new();
    work.write("de.ndjson", order("A", "2026-01-01", ""));
    work.write("etl.toml", "[[shops]]\nname = \"de\"\norders = \"de.ndjson\"\n[[shops]]\nname = \"us\"\norders = \"us.ndjson\"\n");
    let ended = with(&work, &[], &[]);
    assert_eq!((ended.code, state(&ended, "de orders"), state(&ended, "us orders")), (3, "works".to_owned(), "fails".to_owned()));
    let one = with(&work, &["--shop", "de"], &[]);
    assert_eq!((one.code, one.stdout.contains("us orders")), (0, false), "{}", one.stdout);
}
