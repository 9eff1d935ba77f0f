//! OAuth 2: tokens that are revoked while several requests are in flight, formats of the life of a token, and the errors of the
//! token server.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json, order, status};

const HASTE: &str = "[http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\nread_timeout = \"5s\"\n";

/// The number of pages of the list.
const PAGES: usize = 40;

/// A page of one order.
fn page(asked: &Asked) -> Reply {
    let number: usize = asked.parameter("page").parse().unwrap();
    let mut reply = json(format!("[{}]", order(&format!("O{number}"), "2026-01-01", "")));
    reply.1.push(("x-pages", PAGES.to_string()));
    reply
}

/// A server of tokens and orders. `revokes` tells whether a request revokes the current token. `token` answers requests for
/// tokens, numbered from 1.
struct Shop {
    server: Server,
    /// The number of pages that were served.
    served: Arc<Mutex<BTreeSet<String>>>,
    issued: Arc<AtomicUsize>,
}

fn shop(token: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static, revokes: impl Fn(usize) -> bool + Send + Sync + 'static) -> Shop {
    let (served, issued) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicUsize::new(0)));
    let (seen, count, valid) = (served.clone(), issued.clone(), Mutex::new(String::new()));
    let requests = AtomicUsize::new(0);
    let server = Server::start(move |asked: &Asked| {
        if asked.path == "/token" {
            let mut valid = valid.lock().unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            *valid = format!("Bearer issued-token-{number}");
            return token(asked, number);
        }
        let number = requests.fetch_add(1, Ordering::SeqCst);
        {
            let mut valid = valid.lock().unwrap();
            if revokes(number) {
                valid.clear();
            }
            if valid.is_empty() || asked.header("authorization") != Some(valid.as_str()) {
                return status(401);
            }
        }
        std::thread::sleep(Duration::from_millis(3));
        seen.lock().unwrap().insert(asked.parameter("page").to_owned());
        page(asked)
    });
    Shop { server, served, issued }
}

fn token(number: usize, rest: &str) -> Reply {
    json(format!(r#"{{"access_token":"issued-token-{number}","token_type":"bearer"{rest}}}"#))
}

fn run(server: &Server, auth: &str, credentials: (&str, &str)) -> Ended {
    let work = Workspace::new();
    let profile = "concurrency = 4\npagination = { kind = \"page\", pages_header = \"x-pages\" }\n";
    let auth = format!("auth = {{ kind = \"oauth2\", token_url = \"{}/token\"{auth} }}", server.url);
    work.write("etl.toml", format!("{HASTE}[orders]\nlocation = \"{}\"\n{auth}\n{profile}", server.orders()));
    let mut command = work.command(&["run", "-vv", "--log-format", "json"]);
    command.envs([("ETL_OAUTH_CLIENT_ID", credentials.0), ("ETL_OAUTH_CLIENT_SECRET", credentials.1)]);
    let ended = support::ended(command.output().unwrap());
    for secret in [credentials.1, "issued-token-1", "issued-token-2"] {
        assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret), "{secret}: {}", ended.stderr);
    }
    ended
}

const CLIENT: (&str, &str) = ("client-1", "hush-hush-4711");

#[test]
fn a_token_revoked_during_several_requests_is_renewed_once() {
    let shop = shop(|_, number| token(number, r#","expires_in":3600"#), |request| request == 9);
    assert_eq!(run(&shop.server, "", CLIENT).published()["records_read"], PAGES as u64);
    assert_eq!((shop.served.lock().unwrap().len(), shop.issued.load(Ordering::SeqCst)), (PAGES, 2));
}

#[test]
fn tokens_that_are_revoked_again_and_again_do_not_end_the_run() {
    let shop = shop(|_, number| token(number, r#","expires_in":3600"#), |request| request % 7 == 6);
    assert_eq!(run(&shop.server, "", CLIENT).published()["records_read"], PAGES as u64);
    let issued = shop.issued.load(Ordering::SeqCst);
    assert!(shop.served.lock().unwrap().len() == PAGES && issued > 5, "{issued}");
}

#[test]
fn the_number_of_token_requests_is_bounded_if_the_server_refuses_every_token() {
    let shop = shop(|_, number| token(number, ""), |_| true);
    run(&shop.server, "", CLIENT).expect(3, "extract_failed");
    assert_eq!(shop.issued.load(Ordering::SeqCst), 3);
}

#[test]
fn the_life_of_a_token_may_have_any_format() {
    for life in ["3600", "3600.5", "\"3600\"", "0", "-1", "\"soon\"", "null", "[1]"] {
        let shop = shop(move |_, number| token(number, &format!(r#","expires_in":{life}"#)), |_| false);
        assert_eq!(run(&shop.server, "", CLIENT).published()["records_read"], PAGES as u64, "{life}");
        assert_eq!(shop.issued.load(Ordering::SeqCst), 1, "{life}");
    }
}

#[test]
fn the_client_credentials_are_form_encoded_in_the_header_or_in_the_form() {
    let shop = shop(|_, number| token(number, ""), |_| false);
    run(&shop.server, "", ("cli:ent é", "hush/hush+4711")).published();
    let asked = shop.server.asked().into_iter().find(|asked| asked.path == "/token").unwrap();
    let expected = format!("Basic {}", STANDARD.encode("cli%3Aent+%C3%A9:hush%2Fhush%2B4711"));
    assert_eq!(asked.header("authorization"), Some(expected.as_str()));
    assert_eq!(asked.body, "grant_type=client_credentials");
}

#[test]
fn credentials_in_the_body_and_an_audience_are_sent_in_the_form() {
    let shop = shop(|_, number| token(number, ""), |_| false);
    run(&shop.server, r#", scope = "orders", audience = "https://api/", credentials_in = "body""#, ("cli:ent", "hush/hush+4711"))
        .published();
    let asked = shop.server.asked().into_iter().find(|asked| asked.path == "/token").unwrap();
    assert_eq!(asked.header("authorization"), None);
    let mut pairs: Vec<_> = asked.body.split('&').collect();
    pairs.sort_unstable();
    let expected = [
        "audience=https%3A%2F%2Fapi%2F",
        "client_id=cli%3Aent",
        "client_secret=hush%2Fhush%2B4711",
        "grant_type=client_credentials",
        "scope=orders",
    ];
    assert_eq!(pairs, expected);
}

#[test]
fn a_request_to_a_busy_token_server_is_retried() {
    let busy: [fn() -> Reply; 3] = [
        || (200, vec![("content-type", "text/html".into())], b"<html>busy</html>".to_vec()),
        || status(503),
        || (429, vec![("retry-after", "0.1".into())], Vec::new()),
    ];
    for busy in busy {
        let shop = shop(move |_, number| if number == 1 { busy() } else { token(number, "") }, |_| false);
        assert_eq!(run(&shop.server, "", CLIENT).published()["records_read"], PAGES as u64);
        assert_eq!(shop.issued.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn errors_of_the_token_server_are_shown_without_the_secret() {
    let page = "<html>gateway is down: hush-hush-4711</html>";
    let refusals: [(Reply, usize, &[&str]); 7] = [
        (
            (400, Vec::new(), br#"{"error":"invalid_client","error_description":"unknown: hush-hush-4711"}"#.to_vec()),
            1,
            &["answered 400: invalid_client: unknown: ***"],
        ),
        ((200, Vec::new(), page.as_bytes().to_vec()), 3, &["not JSON", "gateway is down: ***"]),
        (json(r#"{"access_token":"issued-token-1","token_type":"mac"}"#), 1, &["token_type is `mac`"]),
        (json(r#"{"error":"unauthorized_client"}"#), 1, &["no access_token", "unauthorized_client"]),
        ((302, vec![("location", "/login".into())], Vec::new()), 1, &["answered 302"]),
        // `run` looks for tokens in all that is shown.
        (json(r#"{"data":{"access_token":"issued-token-1"}}"#), 1, &["no access_token: its keys are data"]),
        ((200, Vec::new(), b"access_token=issued-token-1".to_vec()), 3, &["the response is not JSON"]),
    ];
    for (reply, attempts, words) in refusals {
        let shop = shop(move |_, _| reply.clone(), |_| false);
        let ended = run(&shop.server, "", CLIENT);
        ended.expect(3, "extract_failed");
        let place = format!("could not obtain an OAuth token from {}/token: ", shop.server.url);
        assert!(ended.stderr.contains(&place), "{}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
        }
        assert_eq!((shop.issued.load(Ordering::SeqCst), shop.server.asked().len()), (attempts, attempts), "{words:?}");
    }
}
