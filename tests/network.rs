//! The network of a company: proxies, private certificate authorities, encodings, timeouts, and the connections and rate limits
//! that all sources of a run share.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use orders_etl::{
    net::Network,
    report::{
        AlertKind,
        alert::{Notice, NoticeState, OpenAlert, Sender, deliver},
    },
    settings::{
        ClientCertificate, HttpSettings, Location, NetworkSettings, Pagination, ProxySettings, Receiver, ReceiverKind, Secret, Source,
        Total,
    },
    source::{Page, PageSink},
};

use crate::support::{
    self, Asked, Reply, Server, Workspace, json,
    network::{Clients, PrivateAuthority, Proxy, read, read_into, read_over, read_within},
    order, status,
};

const HASTE: &str = "[http]\nbackoff_first = \"1ms\"\nbackoff_cap = \"4ms\"\nread_timeout = \"2s\"\n";

fn haste() -> HttpSettings {
    HttpSettings { backoff_first: Duration::from_millis(1), backoff_cap: Duration::from_millis(4), ..HttpSettings::default() }
}

fn over(network: NetworkSettings) -> HttpSettings {
    HttpSettings { network, ..haste() }
}

/// Both schemes through one proxy.
fn through(proxy: &str, exceptions: &str) -> HttpSettings {
    let url = || Some(Secret::new(proxy.to_owned()));
    let proxies = ProxySettings { http: url(), https: url(), exceptions: exceptions.to_owned() };
    over(NetworkSettings { proxies, ..NetworkSettings::default() })
}

fn source(url: &str) -> Source {
    url.parse::<Location>().unwrap().into()
}

/// A complete list of one page.
fn complete_page(records: &str) -> Reply {
    with_header(json(records), "link", "<?page=1>; rel=\"first\"")
}

fn with_header(mut reply: Reply, name: &'static str, value: &str) -> Reply {
    reply.1.push((name, value.to_owned()));
    reply
}

#[track_caller]
fn refused(source: &Source, http: &HttpSettings) -> String {
    match read(source, http, |_| {}) {
        Err(error) => error,
        Ok(fetched) => panic!("{:?}", fetched.records),
    }
}

#[test]
fn plain_http_uses_the_proxy_with_its_credentials_and_exceptions_are_direct() {
    let server = Server::start(|_: &Asked| complete_page(r#"[{"id":1}]"#));
    let proxy = Proxy::start(server.address(), Some("Basic bWU6aHVzaC00NzEx"));
    let url = "http://shop.example/orders?sign=a%2Fb/c".to_owned();
    let fetched = read(&source(&url), &through(&format!("http://me:hush-4711@{}", proxy.address), ""), |_| {}).unwrap();
    assert_eq!(fetched.records, [r#"{"id":1}"#]);
    let proxied = proxy.proxied();
    assert_eq!((proxied.len(), server.asked().len()), (1, 1));
    assert!(proxied[0].line.starts_with("GET http://shop.example/orders?sign=a%2Fb/c&page=1"), "{}", proxied[0].line);
    assert!(server.asked()[0].header("proxy-authorization").is_none());
    // Requests to loopback never use a proxy, whatever the exceptions are.
    read(&source(&server.orders()), &through("http://127.0.0.1:1", ""), |_| {}).unwrap();
    assert_eq!(proxy.proxied().len(), 1);
    // A request to an exception is direct: the host does not exist.
    let error = refused(&source("http://shop.invalid/"), &through(&format!("http://{}", proxy.address), "x.example, .invalid"));
    assert!(error.contains("dns error") && !error.contains("through the proxy"), "{error}");
    assert_eq!(proxy.proxied().len(), 1);
}

#[test]
fn an_error_names_the_proxy_that_refuses_without_its_credentials() {
    let server = Server::start(|_: &Asked| complete_page("[]"));
    let asking = Proxy::start(server.address(), Some("Basic x"));
    let url = format!("http://me:hush-4711@{}", asking.address);
    for target in ["http://shop.example/", "https://shop.example/"] {
        let error = refused(&source(target), &through(&url, ""));
        assert!(error.contains(&format!("the proxy http://{} asks for credentials (407)", asking.address)), "{error}");
        assert!(error.contains("after 1 attempt ") && !error.contains("hush"), "{error}");
    }
    let closed = Proxy::refusing("403 Forbidden");
    let error = refused(&source("https://shop.example/"), &through(&format!("http://{}", closed.address), ""));
    assert!(error.contains(&format!("the proxy http://{} refuses to connect to shop.example:443", closed.address)), "{error}");
    let error = refused(&source("http://shop.example/"), &through(&format!("http://{}", closed.address), ""));
    assert!(error.contains("answered 403") && error.contains(&format!("through the proxy http://{}", closed.address)), "{error}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for target in ["http://shop.example/", "https://shop.example/"] {
        let error = refused(&source(target), &through(&format!("127.0.0.1:{port}"), ""));
        assert!(error.contains(&format!("the proxy http://127.0.0.1:{port} can't be reached")), "{error}");
    }
}

#[test]
fn a_configured_private_authority_is_trusted_also_through_a_tunnel() {
    let authority = PrivateAuthority::new();
    let server = authority.serve(Clients::Any, |_: &Asked| complete_page(r#"[{"id":1}]"#));
    let folder = tempfile::tempdir().unwrap();
    let (ca_file, ..) = authority.files(folder.path());
    let error = refused(&source(&server.orders()), &haste());
    assert!(error.contains("UnknownIssuer") || error.contains("no CA certificates"), "{error}");
    assert!(error.contains("http.ca_file") && server.asked().is_empty(), "{error}");
    let trusting = NetworkSettings { ca_file: Some(ca_file), ..NetworkSettings::default() };
    assert_eq!(read(&source(&server.orders()), &over(trusting.clone()), |_| {}).unwrap().records.len(), 1);
    let proxy = Proxy::start(server.address(), None);
    let proxies = ProxySettings { https: Some(Secret::new(proxy.address.clone())), ..ProxySettings::default() };
    let tunnelled = over(NetworkSettings { proxies, ..trusting });
    assert_eq!(read(&source("https://shop.example/orders"), &tunnelled, |_| {}).unwrap().records.len(), 1);
    assert_eq!(proxy.proxied()[0].line, "CONNECT shop.example:443 HTTP/1.1");
}

#[test]
fn a_server_that_asks_for_a_client_certificate_gets_it() {
    let authority = PrivateAuthority::new();
    let server = authority.serve(Clients::Certified, |_: &Asked| complete_page(r#"[{"id":1}]"#));
    let folder = tempfile::tempdir().unwrap();
    let (ca_file, certificate, key) = authority.files(folder.path());
    let without = NetworkSettings { ca_file: Some(ca_file), ..NetworkSettings::default() };
    refused(&source(&server.orders()), &over(without.clone()));
    let with = NetworkSettings { client_certificate: Some(ClientCertificate { certificate, key }), ..without };
    assert_eq!(read(&source(&server.orders()), &over(with), |_| {}).unwrap().records.len(), 1);
}

#[test]
fn alerts_use_the_proxy_except_to_loopback() {
    let server = Server::start(|_: &Asked| status(200));
    let proxy = Proxy::start(server.address(), None);
    let alert = OpenAlert {
        kind: AlertKind::Test,
        subject: String::new(),
        message: "m".into(),
        run_id: "r".into(),
        message_run_id: None,
        since: "2026-01-01T00:00:00Z".into(),
        in_layer: false,
        sent_at: None,
        told: std::collections::BTreeSet::new(),
        over_at: None,
        dedup_key: None,
        sources: std::collections::BTreeMap::new(),
    };
    let sender = Sender { pipeline: "orders", output: "output", host: "host", run_id: "r" };
    let send = |url: &str| {
        let receiver = Receiver { kind: ReceiverKind::Webhook, url: Secret::new(url.to_owned()), key: None };
        let notice = Notice { state: NoticeState::Firing, alert: alert.clone() };
        let network = through(&format!("http://{}", proxy.address), "").network;
        deliver(&[(&receiver, notice)], sender, Duration::from_secs(5), &network).remove(0).error
    };
    assert_eq!(send("http://hooks.example/x"), None);
    assert_eq!((proxy.proxied().len(), server.asked().len()), (1, 1));
    assert_eq!(send(&format!("{}/x", server.url)), None);
    assert_eq!((proxy.proxied().len(), server.asked().len()), (1, 2));
}

#[test]
fn the_demo_needs_no_proxy_and_no_authorities() {
    let work = Workspace::new();
    let mut command = work.command(&["demo", "--output", "output/demo"]);
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(variable, "http://127.0.0.1:1");
    }
    command.env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    let ended = support::ended(command.output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn variables_and_files_set_the_proxy_and_the_authority() {
    let authority = PrivateAuthority::new();
    let orders = || complete_page(&format!("[{}]", order("A", "2026-01-01", "")));
    let server = authority.serve(Clients::Certified, move |_: &Asked| orders());
    let proxy = Proxy::start(server.address(), Some("Basic bWU6aHVzaC00NzEx"));
    let work = Workspace::new();
    authority.files(&work.path(""));
    work.write("etl.toml", format!("{HASTE}ca_file = \"ca.pem\"\nclient_cert = \"client.pem\"\nclient_key = \"client.key\"\n"));
    let run = |variable: &str, exceptions: &str| {
        let mut command = work.command(&["run", "--orders", "https://shop.example/orders", "--log-format", "text"]);
        command.env(variable, format!("http://me:hush-4711@{}", proxy.address)).env("NO_PROXY", exceptions);
        support::ended(command.output().unwrap())
    };
    assert_eq!(run("HTTPS_PROXY", "").published()["records_read"], 1);
    run("ETL_PROXY", "").unchanged();
    assert_eq!(proxy.proxied().len(), 2);
    let ended = run("HTTPS_PROXY", "shop.example");
    ended.expect(3, "extract_failed");
    assert!(!ended.stderr.contains("hush") && proxy.proxied().len() == 2, "{}", ended.stderr);
}

#[test]
fn supported_encodings_are_requested_and_any_other_is_an_error() {
    let body = br#"[{"id":1}]"#;
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let deflate = {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(&body[..], 0).unwrap();
    let encoded = |encoding: &'static str, bytes: &[u8]| {
        let bytes = bytes.to_vec();
        let server = Server::start(move |asked: &Asked| {
            let accepted = asked.header("accept-encoding").unwrap();
            assert!(["gzip", "deflate", "br", "zstd"].iter().all(|encoding| accepted.contains(encoding)), "{accepted}");
            let reply = with_header(complete_page(""), "content-encoding", encoding);
            (reply.0, reply.1, bytes.clone())
        });
        read(&source(&server.orders()), &haste(), |_| {}).map(|fetched| fetched.records.len())
    };
    for (encoding, bytes) in
        [("gzip", &gzip[..]), ("GZIP", &gzip), ("x-gzip", &gzip), ("deflate", &deflate), ("zstd", &zstd), ("identity", body), ("", body)]
    {
        assert_eq!(encoded(encoding, bytes), Ok(1), "{encoding}");
    }
    for encoding in ["compress", "aes128gcm", "gzip, compress"] {
        let error = encoded(encoding, body).unwrap_err();
        assert!(error.contains(&format!("`{encoding}`")) && error.contains("after 1 attempt "), "{error}");
    }
    let server = Server::start(move |_: &Asked| (200, Vec::new(), gzip.clone()));
    let error = refused(&source(&server.orders()), &haste());
    assert!(error.contains("compressed (gzip)"), "{error}");
}

/// A server that sends the head of a response, and then its body one byte at a time, with pauses.
fn trickling() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/orders", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
                while stream.write_all(b" ").is_ok() {
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    url
}

#[test]
fn a_trickling_response_times_out_and_no_attempt_begins_after_the_retry_timeout() {
    let url = trickling();
    let began = Instant::now();
    let limited = HttpSettings { request_timeout: Duration::from_millis(300), max_attempts: 2, ..haste() };
    let error = refused(&source(&url), &limited);
    assert!(error.contains("http.request_timeout") && error.contains("after 2 attempts"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let server = Server::start(|_: &Asked| with_header(status(503), "retry-after", "0.2"));
    let limited = HttpSettings { retry_timeout: Duration::from_millis(500), max_attempts: 100, ..haste() };
    let error = refused(&source(&server.orders()), &limited);
    assert!(error.contains("http.retry_timeout") && (2..=3).contains(&server.asked().len()), "{error}");
}

#[test]
fn headers_of_a_profile_replace_defaults_and_none_is_sent_twice() {
    let server = Server::start(|_: &Asked| complete_page("[]"));
    let mut source = source(&server.orders());
    let headers = [("Accept", "application/vnd.shop+json"), ("user-agent", "shop/1"), ("X-Own", "1")];
    source.profile.http.headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    read(&source, &haste(), |_| {}).unwrap();
    for (name, value) in headers {
        let sent: Vec<_> = server.asked()[0].headers.get_all(name).iter().cloned().collect();
        assert_eq!(sent, [value], "{name}");
    }
}

#[test]
fn the_query_of_a_location_and_of_a_next_link_keeps_its_bytes() {
    let own = "path=a%2Fb/c&empty=&flag&q=x+y%20z&q=2&sig=ab%2Bc%3d";
    let next = "sig=%2b/%2F+%20&&page=2&page=2&x";
    let server = Server::start(move |asked: &Asked| match asked.before {
        0 => with_header(json(r#"[{"id":1}]"#), "link", &format!("</orders?{next}>; rel=\"next\"")),
        _ => complete_page(r#"[{"id":2}]"#),
    });
    read(&source(&format!("{}?{own}", server.orders())), &haste(), |_| {}).unwrap();
    let asked: Vec<_> = server.asked().iter().map(|asked| asked.raw_query.clone()).collect();
    assert_eq!(asked, [format!("{own}&page=1&per_page=500"), next.to_owned()]);
}

#[test]
fn all_sources_of_a_run_share_one_connection() {
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/orders" => complete_page(&format!("[{}]", order("A", "2026-01-01", r#","user_id":"1""#))),
        "/users" => complete_page(r#"[{"id":"1","country":"DE"}]"#),
        _ => complete_page(r#"[{"sku":"S","name":"Thing"}]"#),
    });
    let work = Workspace::new();
    work.write("etl.toml", HASTE);
    let (users, products) = (format!("{}/users", server.url), format!("{}/products", server.url));
    work.etl(&["run", "--orders", &server.orders(), "--users", &users, "--products", &products]).published();
    assert_eq!((server.asked().len(), server.connections()), (3, 1));
}

/// The arrival time of each request.
fn timed(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Server, Arc<Mutex<Vec<Instant>>>) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    let server = Server::start(move |asked: &Asked| {
        seen.lock().unwrap().push(Instant::now());
        answer(asked)
    });
    (server, times)
}

#[test]
fn all_sources_of_an_origin_share_one_rate_limit() {
    let (server, times) = timed(|asked: &Asked| match asked.path.as_str() {
        "/users" => with_header(with_header(complete_page(r#"[{"id":1}]"#), "ratelimit", r#""default";r=0;t=1"#), "x", "y"),
        _ => complete_page(r#"[{"id":2}]"#),
    });
    let http = haste();
    let network = Network::new(&http);
    for path in ["users", "orders"] {
        read_over(&network, &source(&format!("{}/{path}", server.url)), &http, |_| {}).unwrap();
    }
    let times = times.lock().unwrap();
    assert!(times[1] - times[0] >= Duration::from_millis(990), "{:?}", times[1] - times[0]);
}

/// Numbered pages of one record. The source announces the number of pages.
fn numbered(url: &str, concurrency: usize) -> Source {
    let mut source = source(url);
    source.profile.http.pagination =
        Pagination::Page { parameter: "page".into(), first: 1, total: Total { pages_header: Some("x-pages".into()), ..Total::default() } };
    source.profile.http.concurrency = concurrency;
    source
}

fn numbered_page(asked: &Asked, pages: u64) -> Reply {
    with_header(json(format!(r#"[{{"id":{}}}]"#, asked.parameter("page"))), "x-pages", &pages.to_string())
}

#[test]
fn a_rate_limit_in_one_response_applies_to_concurrent_requests() {
    let (server, times) = timed(|asked: &Asked| match asked.before {
        1 => with_header(status(429), "retry-after", "1.0"),
        _ => numbered_page(asked, 12),
    });
    let fetched = read(&numbered(&server.orders(), 2), &haste(), |_| {}).unwrap();
    assert_eq!((fetched.records.len(), fetched.counts.retries), (12, 1));
    let times = times.lock().unwrap();
    // One concurrent request may already be in flight.
    let early = times.iter().filter(|time| **time - times[0] < Duration::from_millis(900)).count();
    assert!(early <= 4, "{early}");
}

#[test]
fn requests_in_flight_continue_while_the_consumer_is_slow() {
    let server = Server::start(|asked: &Asked| numbered_page(asked, 20));
    let http = HttpSettings { read_timeout: Duration::from_millis(300), ..haste() };
    let fetched = read_slowly(&numbered(&server.orders(), 4), &http);
    assert_eq!(fetched, (20, 0));
}

/// Reads with a sink that pauses for longer than the read timeout. Returns the number of records and of retries.
fn read_slowly(source: &Source, http: &HttpSettings) -> (u64, u64) {
    struct Slow {
        records: u64,
        pause: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
    }

    impl PageSink for Slow {
        fn page(&mut self, page: Page) -> bool {
            self.records += page.len();
            self.pause = None;
            true
        }

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
            let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(400))));
            pause.as_mut().poll(context)
        }
    }

    let mut sink = Slow { records: 0, pause: None };
    let counts = read_into(None, &Network::new(http), source, http, &mut sink).unwrap();
    (sink.records, counts.retries)
}

/// A sink that takes every page.
struct AllPages<F>(F);

impl<F: FnMut()> PageSink for AllPages<F> {
    fn page(&mut self, _: Page) -> bool {
        (self.0)();
        true
    }

    fn takes_all(&self) -> bool {
        true
    }
}

/// Reads a list into a sink that takes all of it. `each` sees the number of every page.
fn read_all(source: &Source, http: &HttpSettings, mut each: impl FnMut(u64)) -> Result<(), String> {
    let mut pages = 0;
    let mut sink = AllPages(|| {
        pages += 1;
        each(pages);
    });
    read_into(None, &Network::new(http), source, http, &mut sink).map(|_| ())
}

/// Pages of one record, of which the server says nothing but what `pagination` looks for.
fn one_record(asked: &Asked, pages: u64) -> Reply {
    let number: u64 = asked.parameter("page").parse().unwrap_or(1);
    let records = if number > pages { "[]".to_owned() } else { format!(r#"[{{"id":{number}}}]"#) };
    match asked.path.as_str() {
        "/linked" if number < pages => with_header(json(records), "link", &format!("<?page={}>; rel=\"next\"", number + 1)),
        "/linked" => with_header(json(records), "link", "<?page=1>; rel=\"first\""),
        "/counted" => with_header(json(records), "x-pages", &pages.to_string()),
        _ => json(records),
    }
}

#[test]
fn a_page_is_requested_before_the_one_before_it_is_taken() {
    const PAGES: u64 = 6;
    // Without a count, an empty page is the end. By default the list may then have a page 0.
    for (path, pagination, pages, requests) in [
        ("counted", numbered("http://h", 1).profile.http.pagination, 6, 6),
        ("uncounted", numbered("http://h", 1).profile.http.pagination, 7, 7),
        ("linked", Pagination::Auto, 6, 6),
        ("uncounted", Pagination::Auto, 7, 8),
    ] {
        let server = Server::start(|asked: &Asked| one_record(asked, PAGES));
        let mut source = source(&format!("{}/{path}", server.url));
        source.profile.http.pagination = pagination;
        let mut late = Vec::new();
        read_all(&source, &haste(), |page| {
            // The sink blocks the thread that reads: what is not sent yet is not sent now.
            let deadline = Instant::now() + Duration::from_secs(5);
            let expected = usize::try_from(page + 1).unwrap().min(pages);
            while server.asked().len() < expected && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            if server.asked().len() != expected {
                late.push(page);
            }
        })
        .unwrap();
        assert_eq!((late, server.asked().len(), server.connections()), (vec![], requests, 1), "{path}");
    }
}

#[test]
fn no_page_is_requested_that_would_not_be_requested_page_by_page() {
    let requests = |server: &Server| server.asked().iter().map(|asked| asked.parameter("page").to_owned()).collect::<Vec<_>>();
    // At the limit of pages.
    let server = Server::start(|asked: &Asked| one_record(asked, 9));
    let http = HttpSettings { max_pages: 3, ..haste() };
    assert!(read_all(&source(&server.orders()), &http, |_| {}).unwrap_err().contains("max_pages"));
    assert_eq!(requests(&server), ["1", "2", "3"]);
    // Where the list goes in a circle.
    let server = Server::start(|asked: &Asked| {
        let number: u64 = asked.parameter("page").parse().unwrap();
        let next = if number == 3 { 2 } else { number + 1 };
        with_header(json(format!(r#"[{{"id":{number}}}]"#)), "link", &format!("<?page={next}&per_page=500>; rel=\"next\""))
    });
    assert!(read_all(&source(&server.orders()), &haste(), |_| {}).is_err());
    assert_eq!(requests(&server), ["1", "2", "3"]);
    // A total that these records may be, and a page that may be the one before it.
    let server = Server::start(|asked: &Asked| {
        let number: u64 = asked.parameter("page").parse().unwrap();
        json(format!(r#"{{"data":[{{"id":{number}}}],"total":2}}"#))
    });
    let mut counted = source(&server.orders());
    let total = Total { records: "total".parse().ok(), ..Total::default() };
    counted.profile.http.pagination = Pagination::Page { parameter: "page".into(), first: 1, total };
    read_all(&counted, &haste(), |_| {}).unwrap();
    assert_eq!(requests(&server), ["1", "2"]);
    let server = Server::start(|_: &Asked| json(r#"[{"id":1},{"id":2}]"#));
    read_all(&source(&server.orders()), &haste(), |_| {}).unwrap();
    assert_eq!(requests(&server), ["1", "2", "2"], "a page that equals the one before it is requested again, and no other");
    // The first page without a number comes before the second.
    let server = Server::start(|asked: &Asked| match asked.parameter("page") {
        "" => json(r#"[{"id":0}]"#),
        "1" => json(r#"{"data":[{"id":1}],"prev":"/orders"}"#),
        "2" => json(r#"{"data":[{"id":2}]}"#),
        _ => json("[]"),
    });
    read_all(&source(&server.orders()), &haste(), |_| {}).unwrap();
    assert_eq!(requests(&server), ["1", "", "2", "3"]);
    // A sink that has enough after a page.
    let server = Server::start(|asked: &Asked| one_record(asked, 9));
    read_into(None, &Network::new(&haste()), &source(&server.orders()), &haste(), &mut |_: Page| false).unwrap();
    assert_eq!(requests(&server), ["1"]);
}

#[test]
fn bodies_requested_ahead_fit_into_the_memory_limit() {
    const BODY: usize = 100_000;
    // How many bodies fit into an eighth of the limit, and the maximum number of requests in flight.
    for (fitting, most) in [(1, 1), (3, 3), (100, 6)] {
        let (now, peak) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let seen = peak.clone();
        let server = Server::start(move |asked: &Asked| {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(30));
            now.fetch_sub(1, Ordering::SeqCst);
            let mut reply = numbered_page(asked, 20);
            reply.2.resize(BODY, b' ');
            reply
        });
        let (http, limit) = (haste(), (8 * fitting * BODY) as u64);
        let fetched = read_within(Some(limit), &Network::new(&http), &numbered(&server.orders(), 6), &http, |_| {}).unwrap();
        assert_eq!((fetched.records.len(), peak.load(Ordering::SeqCst)), (20, most), "{fitting}");
    }
    let server = Server::start(|_: &Asked| complete_page(&" ".repeat(BODY + 1)));
    let http = haste();
    let Err(error) = read_within(Some(BODY as u64), &Network::new(&http), &source(&server.orders()), &http, |_| {}) else { panic!() };
    assert!(error.contains("larger than 100000 bytes (memory_limit)"), "{error}");
}

#[test]
fn the_limit_of_pages_applies_before_millions_of_urls_are_built() {
    let server = Server::start(|asked: &Asked| numbered_page(asked, 10_000_000));
    let limited = HttpSettings { max_pages: 5, ..haste() };
    let began = Instant::now();
    let error = refused(&numbered(&server.orders(), 100_000_000), &limited);
    assert!(error.contains("http.max_pages") && server.asked().len() == 5, "{error}: {}", server.asked().len());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn an_error_names_the_redirect_and_the_origin_without_credentials() {
    let elsewhere = Server::start(|_: &Asked| status(401));
    let target = format!("{}/moved?token=hush-4711", elsewhere.url);
    let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
        "/same" => with_header(status(302), "location", "/gone"),
        "/gone" => status(404),
        _ => with_header(status(302), "location", &target),
    });
    let error = refused(&source(&format!("{}/other", server.url)), &haste());
    let hop = format!("(redirected to {}/moved?token=***, another origin: credentials are not sent there)", elsewhere.url);
    assert!(error.contains(&hop) && error.contains("answered 401"), "{error}");
    let error = refused(&source(&format!("{}/same", server.url)), &haste());
    assert!(error.contains(&format!("(redirected to {}/gone)", server.url)) && error.contains("answered 404"), "{error}");
    // From https to plain http: refused, unless it is allowed.
    let authority = PrivateAuthority::new();
    let plain = Server::start(|_: &Asked| complete_page(r#"[{"id":1}]"#));
    let target = plain.orders();
    let secure = authority.serve(Clients::Any, move |_: &Asked| with_header(status(302), "location", &target));
    let folder = tempfile::tempdir().unwrap();
    let http = over(NetworkSettings { ca_file: Some(authority.files(folder.path()).0), ..NetworkSettings::default() });
    let error = refused(&source(&secure.orders()), &http);
    assert!(error.contains("http.allow_plain") && error.contains(&plain.url) && plain.asked().is_empty(), "{error}");
    assert!(read(&source(&secure.orders()), &HttpSettings { allow_plain: true, ..http }, |_| {}).is_ok());
}
