//! No output of the process contains a secret, whatever a server echoes and however the secret is escaped.

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json, order, status};

const HASTE: &str = "[http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\nread_timeout = \"2s\"\n";

/// A secret that looks different in JSON, in a URL and in HTML.
const SECRET: &str = "hush/47k11+\"q\\z é=&<x>";

/// The forms in which an output could show a secret.
fn forms(secret: &str) -> Vec<String> {
    let percent: String = secret
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    let unicode: String = secret.chars().map(|character| format!("\\u{:04x}", u32::from(character))).collect();
    let json = serde_json::to_string(secret).unwrap().trim_matches('"').to_owned();
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let solidus = json.replace('/', "\\/");
    vec![
        secret.to_owned(),
        percent.replace("%20", "+"),
        percent.to_ascii_lowercase(),
        percent,
        unicode,
        json,
        solidus,
        html,
        STANDARD.encode(secret),
        STANDARD.encode(format!("some-user:{secret}")),
    ]
}

/// Asserts that no output file except the data, no stream and no notice contains a secret in any form.
#[track_caller]
fn assert_no_secret(work: &Workspace, ended: &Ended, notices: &[String], secret: &str) {
    let mut shown = vec![("stdout".to_owned(), ended.stdout.clone()), ("stderr".to_owned(), ended.stderr.clone())];
    for folder in ["reports", "state", "manifests"] {
        // The records of commits sum revenue by the currencies that the rows name, and lineage names their skus: both are data.
        let is_data = |name: &str| name == "state/latest.json" || name.starts_with("state/commits/") || name.starts_with("state/lineage/");
        let files = work.files(folder).into_iter().filter(|(name, _)| !is_data(name));
        shown.extend(files.map(|(name, content)| (name, String::from_utf8_lossy(&content).into_owned())));
    }
    for name in ["metrics.prom", "metrics.emf"] {
        shown.extend(std::fs::read(work.path(name)).ok().map(|content| (name.to_owned(), String::from_utf8_lossy(&content).into_owned())));
    }
    shown.extend(notices.iter().map(|notice| ("notice".to_owned(), notice.clone())));
    for (place, content) in &shown {
        for form in forms(secret) {
            assert!(!content.to_lowercase().contains(&form.to_lowercase()), "{place} shows {form}: {content}");
        }
        // Text that JSON escapes a second time.
        assert!(!content.contains("hush") && !content.contains("47k11"), "{place}: {content}");
    }
}

/// A receiver of notices, and the notices that it received.
fn receiver() -> (Server, Arc<Mutex<Vec<String>>>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let kept = notices.clone();
    let server = Server::start(move |asked: &Asked| {
        kept.lock().unwrap().push(asked.body.clone());
        status(200)
    });
    (server, notices)
}

/// Runs against a server with these answers, with credentials, alerts and metrics, and with logs of both formats.
fn run_against(answer: impl Fn(&Asked) -> Reply + Send + Sync + Clone + 'static, credentials: &[(&str, &str)], profile: &str) {
    for log in ["json", "text", "ecs"] {
        let server = Server::start(answer.clone());
        let (hook, notices) = receiver();
        let work = Workspace::new();
        work.write("etl.toml", format!("{HASTE}[orders]\nlocation = \"{}\"\n{profile}\n", server.orders()));
        let mut command =
            work.command(&["run", "-vv", "--log-format", log, "--metrics-file", "metrics.prom", "--metrics-emf", "metrics.emf"]);
        command.envs(credentials.iter().copied()).env("ETL_ALERT_WEBHOOK_URL", format!("{}/hook", hook.url));
        let ended = support::ended(command.output().unwrap());
        assert!(matches!(ended.code, 0 | 3 | 4), "{}: {}", ended.code, ended.stderr);
        assert!(!server.asked().is_empty());
        assert_no_secret(&work, &ended, &notices.lock().unwrap(), SECRET);
    }
}

/// Each way to set credentials, with the secret that the server receives.
fn credentials() -> Vec<(Vec<(&'static str, &'static str)>, &'static str)> {
    vec![
        (vec![("ETL_API_KEY", SECRET)], "auth = { kind = \"api_key\", parameter = \"appid\" }"),
        (vec![("ETL_API_USER", "some-user"), ("ETL_API_PASSWORD", SECRET)], ""),
    ]
}

#[test]
fn an_error_that_echoes_the_secret_shows_it_nowhere() {
    for (variables, profile) in credentials() {
        for code in [200, 400, 401, 500] {
            let echo = move |_: &Asked| {
                let said: String = forms(SECRET).join(" | ");
                let body = if code == 200 { serde_json::json!({"error": said}).to_string() } else { format!("<html>{said}</html>") };
                (code, Vec::new(), body.into_bytes())
            };
            run_against(echo, &variables, profile);
        }
    }
}

#[test]
fn links_redirects_and_data_that_echo_the_secret_show_it_nowhere() {
    let percent = forms(SECRET).swap_remove(3);
    for (variables, profile) in credentials() {
        let target = percent.clone();
        let next = move |asked: &Asked| match asked.before {
            0 => json(format!(r#"{{"orders":[{}],"next":"/orders?page=2&appid={target}"}}"#, order("A", "2026-01-01", ""))),
            _ => status(404),
        };
        run_against(next, &variables, profile);
        let target = percent.clone();
        let redirect = move |asked: &Asked| match asked.path.as_str() {
            "/orders" => (302, vec![("location", format!("/moved/{target}?x={target}"))], Vec::new()),
            _ => status(404),
        };
        run_against(redirect, &variables, profile);
        // In every field of the data, so that checks sample it and revenue is counted under it.
        let secret = serde_json::to_string(SECRET).unwrap();
        let data = move |_: &Asked| {
            let line = format!(r#"{{"sku":{secret},"product_id":{secret},"quantity":-1,"price":1.5}}"#);
            let body = format!(
                r#"[{{"order_id":{secret},"created_at":"2026-01-01","currency":{secret},"status":{secret},"user_id":{secret},"items":[{line}]}},{secret}]"#
            );
            let mut reply = json(body);
            reply.1.push(("link", "<?page=1>; rel=\"first\"".into()));
            reply
        };
        run_against(data, &variables, profile);
    }
}

#[test]
fn a_key_that_the_next_link_echoes_is_sent_once() {
    let secret = "hush-47k11+x/y";
    let server = Server::start(move |asked: &Asked| match asked.before {
        0 => json(format!(
            r#"{{"orders":[{}],"previous":null,"next":"/orders?page=2&appid=hush-47k11%2Bx%2fy"}}"#,
            order("A", "2026-01-01", "")
        )),
        _ => json(format!(r#"{{"orders":[{}],"next":null}}"#, order("B", "2026-01-01", ""))),
    });
    let work = Workspace::new();
    let auth = "auth = { kind = \"api_key\", parameter = \"appid\" }";
    work.write("etl.toml", format!("{HASTE}[orders]\nlocation = \"{}\"\n{auth}\n", server.orders()));
    let mut command = work.command(&["run", "-vv", "--log-format", "json"]);
    command.env("ETL_API_KEY", secret);
    let ended = support::ended(command.output().unwrap());
    assert_eq!(ended.published()["records_read"], 2);
    let queries: Vec<_> = server.asked().iter().map(|asked| asked.raw_query.clone()).collect();
    assert_eq!(queries, ["page=1&per_page=500&appid=hush-47k11%2Bx%2Fy", "page=2&appid=hush-47k11%2Bx%2fy"]);
    assert_no_secret(&work, &ended, &[], secret);
}

#[test]
fn short_names_and_the_values_of_etl_are_not_redacted() {
    let server = Server::start(|_: &Asked| {
        let mut reply = json(format!("[{}]", order("A", "2026-01-01", r#","user_id":"user""#)));
        reply.1.push(("link", "<?page=1>; rel=\"first\"".into()));
        reply
    });
    let work = Workspace::new();
    let mut command = work.command(&["run", "--orders", &server.orders(), "-vv", "--log-format", "json"]);
    command.envs([("ETL_API_USER", "user"), ("ETL_API_PASSWORD", "published")]);
    let ended = support::ended(command.output().unwrap());
    let summary = ended.published();
    assert_eq!(summary["dimensions"]["dim_user"]["inferred"], 1, "{summary}");
    let run_id = summary["run_id"].as_str().unwrap();
    assert!(!run_id.contains("***") && ended.stderr.contains(run_id));
}

#[test]
fn parts_of_the_urls_of_webhooks_and_of_the_warehouse_are_secrets() {
    let secret = "hush-47k11-hush-47k11-hush";
    let echo = Server::start(move |_: &Asked| (500, Vec::new(), format!("{secret} and pass-word-47k11").into_bytes()));
    let work = Workspace::new();
    work.write("etl.toml", HASTE);
    let mut command = work.command(&["run", "--orders", &echo.orders(), "-vv", "--log-format", "json"]);
    command.env("ETL_ALERT_SLACK_URL", format!("http://127.0.0.1:1/services/T0/B0/{secret}"));
    command.env("ETL_REDSHIFT_URL", "postgresql://loader:pass-word-47k11@warehouse.example:5439/db");
    let ended = support::ended(command.output().unwrap());
    ended.expect(3, "extract_failed");
    assert_no_secret(&work, &ended, &[], secret);
}

#[test]
fn a_setting_that_repeats_a_secret_is_refused_without_showing_it() {
    let work = Workspace::new();
    for (variable, secret) in
        [("ETL_API_TOKEN", "hush-47k11-token"), ("ETL_PRODUCTS_API_KEY", "hush-47k11-key"), ("ETL_ALERT_PAGERDUTY_KEY", "hush-47k11-pd")]
    {
        for (name, value) in
            [("ETL_API_KEY_HEADER", format!("no header: {secret}")), ("ETL_SINCE", secret.to_owned()), ("ETL_FORMAT", secret.to_owned())]
        {
            let mut command = work.command(&["run", "--orders", "o.ndjson", "--log-format", "text"]);
            let ended = support::ended(command.env(variable, secret).env(name, value).output().unwrap());
            assert_eq!(ended.code, 2, "{}", ended.stderr);
            assert!(ended.stderr.contains(name) && !ended.stderr.contains("47k11"), "{}", ended.stderr);
        }
    }
}
