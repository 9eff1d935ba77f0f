//! A proxy in front of a real object store, on the loopback: it records every request, and injects faults by rule.
//!
//! It forwards the bytes of a request as they are, with the client's own `Host`: signatures stay valid. What a rule with a share
//! hits depends on the seed, the request and how often it came, and not on the order of requests of several threads.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{ConnectInfo, connect_info::Connected},
    http::{HeaderMap, Method, Request, Response, StatusCode, header},
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Mutex as AsyncMutex, watch},
};

/// What goes wrong with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// 503 `SlowDown`; the store never sees the request.
    SlowDown,
    /// 403 `AccessDenied`; the store never sees the request.
    Refused,
    /// The connection is reset; the store never sees the request.
    ResetBefore,
    /// The store carries the request out; the connection is reset before the first byte of the answer.
    ResetAfter,
    /// The store carries the request out; the answer is 500 `InternalError`.
    ErrorAfter,
    /// The store carries the request out; the connection is reset in the middle of the answer's body.
    CutBody,
    /// The store carries the request out; each eighth of the answer's body comes after this pause.
    SlowBody(Duration),
    /// The request is forwarded after this pause.
    Delay(Duration),
    /// The request is forwarded when [`FaultProxy::release`] is called.
    Hold,
}

/// Which of the matching requests a rule hits.
#[derive(Clone, Copy, Debug)]
enum Which {
    All,
    /// Those with these ordinals, from 0.
    Range(usize, usize),
    /// This share, by seed: never twice in a row for the same request, so that a client that repeats gets through.
    Share(f64),
}

/// A fault, and the requests that it hits. The first rule that hits a request counts.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    method: Option<Method>,
    key: String,
    which: Which,
}

impl Rule {
    /// Hits every request, unless narrowed.
    pub fn new(fault: Fault) -> Rule {
        Rule { fault, method: None, key: String::new(), which: Which::All }
    }

    /// Refuses every PUT whose key contains this.
    pub fn refuse_puts(key: &str) -> Rule {
        Rule::new(Fault::Refused).method("PUT").key(key)
    }

    /// Only requests with this method.
    #[must_use]
    pub fn method(self, method: &str) -> Rule {
        Rule { method: Some(method.parse().unwrap()), ..self }
    }

    /// Only requests whose key, or prefix of a list, contains this.
    #[must_use]
    pub fn key(self, contained: &str) -> Rule {
        Rule { key: contained.to_owned(), ..self }
    }

    /// Only the matching request with this ordinal, from 0.
    #[must_use]
    pub fn nth(self, ordinal: usize) -> Rule {
        Rule { which: Which::Range(ordinal, ordinal + 1), ..self }
    }

    /// Only the first so many of the matching requests.
    #[must_use]
    pub fn first(self, count: usize) -> Rule {
        Rule { which: Which::Range(0, count), ..self }
    }

    /// A share of the matching requests, by the proxy's seed. The next try of a request that was hit is spared.
    #[must_use]
    pub fn share(self, share: f64) -> Rule {
        Rule { which: Which::Share(share), ..self }
    }

    fn matches(&self, request: &Recorded) -> bool {
        self.method.as_ref().is_none_or(|method| method == request.method)
            && (self.key.is_empty() || request.key.contains(&self.key) || request.parameter("prefix").contains(&self.key))
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: Method,
    /// As it came, with the bucket.
    pub path: String,
    /// As it came.
    pub query: String,
    /// The object: the path without the bucket, decoded. Empty where the bucket itself is asked.
    pub key: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub fault: Option<Fault>,
    /// What the store answered, if it was asked.
    pub status: Option<u16>,
    id: usize,
}

impl Recorded {
    /// `PUT curated/dt=2026-01-31/part-00000.csv`; a list is `LIST prefix`.
    pub fn line(&self) -> String {
        if self.key.is_empty() && self.method == Method::GET {
            return format!("LIST {}", self.parameter("prefix"));
        }
        format!("{} {}", self.method, self.key)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A parameter of the query, decoded.
    pub fn parameter(&self, name: &str) -> String {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(&value.replace('+', " "))).next().unwrap_or_default()
    }
}

/// `%20` and the like, decoded.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How often a rule was matched, and each request that matched it.
#[derive(Default)]
struct Seen {
    count: usize,
    tries: HashMap<u64, (u64, bool)>,
}

#[derive(Default)]
struct State {
    rules: Vec<(Rule, Seen)>,
    requests: Vec<Recorded>,
    came: usize,
}

impl State {
    /// The fault of this request, if a rule hits it.
    fn fault(&mut self, seed: u64, request: &Recorded) -> Option<Fault> {
        let mut hit = None;
        // All rules count all that matches them, whichever rule hits.
        for (rule, seen) in self.rules.iter_mut().filter(|(rule, _)| rule.matches(request)) {
            let ordinal = seen.count;
            seen.count += 1;
            let hits = match rule.which {
                Which::All => true,
                Which::Range(from, until) => (from..until).contains(&ordinal),
                Which::Share(share) => seen.drawn(seed, request, share),
            };
            if hits && hit.is_none() {
                hit = Some(rule.fault);
            }
        }
        hit
    }
}

impl Seen {
    fn drawn(&mut self, seed: u64, request: &Recorded, share: f64) -> bool {
        let hash = |value: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            value(&mut hasher);
            hasher.finish()
        };
        let name = hash(&|hasher| (request.method.as_str(), &request.key, &request.query).hash(hasher));
        let (tries, was_hit) = self.tries.entry(name).or_default();
        let drawn = hash(&|hasher| (seed, name, *tries).hash(hasher));
        *tries += 1;
        *was_hit = !*was_hit && (drawn >> 11) as f64 / (1_u64 << 53) as f64 <= share;
        *was_hit
    }
}

/// The proxy. It ends with the test's process.
pub struct FaultProxy {
    /// Where it listens: the endpoint for the client.
    pub url: String,
    state: Arc<Mutex<State>>,
    held: watch::Sender<usize>,
    released: watch::Sender<bool>,
    serialized: Arc<AtomicBool>,
}

impl FaultProxy {
    /// A proxy to `http://127.0.0.1:port`. The first `root` segments of a path are the bucket: 1 for S3, 2 for Azurite.
    pub fn start(upstream: &str, root: usize, seed: u64) -> FaultProxy {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (state, held, released) = (Arc::<Mutex<State>>::default(), watch::Sender::new(0), watch::Sender::new(false));
        let serialized = Arc::<AtomicBool>::default();
        let relay = Arc::new(Relay {
            upstream: upstream.to_owned(),
            root,
            seed,
            client: client(),
            state: state.clone(),
            held: held.clone(),
            released: released.clone(),
            serialized: serialized.clone(),
            one_write: AsyncMutex::new(()),
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = Resettable { listener: TcpListener::from_std(listener).unwrap() };
                let router = axum::Router::new().fallback(move |request: Request<Body>| {
                    let relay = relay.clone();
                    async move { relay.answer(request).await }
                });
                axum::serve(listener, router.into_make_service_with_connect_info::<Reset>()).await.unwrap();
            });
        });
        FaultProxy { url, state, held, released, serialized }
    }

    /// Adds a rule, behind those that are there. Its count of matching requests begins now.
    pub fn add(&self, rule: Rule) {
        self.state.lock().unwrap().rules.push((rule, Seen::default()));
    }

    /// From now on the store sees one write at a time. moto looks at the condition of a PUT first and puts later, in threads.
    pub fn serialize_writes(&self) {
        self.serialized.store(true, Ordering::SeqCst);
    }

    /// From now on nothing goes wrong.
    pub fn clear(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    /// All requests that came, in the order in which they came.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The requests since this was asked last.
    pub fn take_requests(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// How many requests a rule hit.
    pub fn faults(&self) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|request| request.fault.is_some()).count()
    }

    /// Waits until so many requests are held.
    pub fn wait_for_held(&self, count: usize) {
        let began = std::time::Instant::now();
        while *self.held.borrow() < count {
            assert!(began.elapsed() < Duration::from_secs(60), "{} of {count} requests are held", *self.held.borrow());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Forwards all that is held. What a rule would hold from now on passes.
    pub fn release(&self) {
        self.released.send_replace(true);
    }
}

/// The client to the store: nothing of a request or an answer is changed.
pub(super) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .no_gzip()
        .no_deflate()
        .no_brotli()
        .no_zstd()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// What the proxy's thread works with.
struct Relay {
    upstream: String,
    root: usize,
    seed: u64,
    client: reqwest::Client,
    state: Arc<Mutex<State>>,
    held: watch::Sender<usize>,
    released: watch::Sender<bool>,
    serialized: Arc<AtomicBool>,
    one_write: AsyncMutex<()>,
}

/// A request that is held: until it is released, or its client goes away.
struct Held<'a>(&'a watch::Sender<usize>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|held| *held -= 1);
    }
}

impl Relay {
    async fn answer(self: Arc<Relay>, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let reset = parts.extensions.get::<ConnectInfo<Reset>>().unwrap().0.clone();
        // A client that went away in the middle of its request: nobody waits for an answer.
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return reset.now();
        };
        let path = parts.uri.path().to_owned();
        let key = decoded(path.trim_start_matches('/').splitn(self.root + 1, '/').nth(self.root).unwrap_or_default());
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let mut request =
            Recorded { method: parts.method, path, query, key, headers: parts.headers, body, fault: None, status: None, id: 0 };
        {
            let mut state = self.state.lock().unwrap();
            request.fault = state.fault(self.seed, &request);
            (request.id, state.came) = (state.came, state.came + 1);
            state.requests.push(request.clone());
        }
        match request.fault {
            Some(Fault::SlowDown) => return xml(503, "SlowDown", "Please reduce your request rate."),
            Some(Fault::Refused) => return xml(403, "AccessDenied", "Access Denied"),
            Some(Fault::ResetBefore) => return reset.now(),
            Some(Fault::Delay(pause)) => tokio::time::sleep(pause).await,
            Some(Fault::Hold) => self.hold().await,
            _ => {}
        }
        let fault = request.fault;
        // What is on its way to the store is carried out, and known, even if the client goes away.
        let Ok(Ok((status, headers, body))) = tokio::spawn(async move { self.forward(request).await }).await else {
            return reset.now();
        };
        match fault {
            Some(Fault::ResetAfter) => reset.now(),
            Some(Fault::ErrorAfter) => xml(500, "InternalError", "We encountered an internal error. Please try again."),
            Some(Fault::CutBody) => cut(status, &headers, &body, reset),
            Some(Fault::SlowBody(pause)) => slow(status, &headers, body, pause),
            _ => response(status, &headers, Body::from(body)),
        }
    }

    async fn hold(&self) {
        let mut released = self.released.subscribe();
        self.held.send_modify(|held| *held += 1);
        let _held = Held(&self.held);
        let _ = released.wait_for(|released| *released).await;
    }

    async fn forward(&self, request: Recorded) -> Result<(StatusCode, HeaderMap, Bytes), reqwest::Error> {
        let is_write = !matches!(request.method, Method::GET | Method::HEAD);
        let _one_write = if is_write && self.serialized.load(Ordering::SeqCst) { Some(self.one_write.lock().await) } else { None };
        let question = if request.query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{question}{}", self.upstream, request.path, request.query);
        let mut headers = request.headers;
        for name in [header::CONNECTION, header::EXPECT, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
            headers.remove(name);
        }
        // Some stores insist on a length also where nothing is sent.
        if matches!(request.method, Method::PUT | Method::POST) {
            headers.insert(header::CONTENT_LENGTH, request.body.len().into());
        }
        let sent = self.client.request(request.method, url).headers(headers).body(request.body).send().await?;
        let (status, headers) = (sent.status(), sent.headers().clone());
        let body = sent.bytes().await?;
        if let Some(recorded) = self.state.lock().unwrap().requests.iter_mut().rev().find(|recorded| recorded.id == request.id) {
            recorded.status = Some(status.as_u16());
        }
        Ok((status, headers, body))
    }
}

/// An error as S3 words it.
fn xml(status: u16, code: &str, message: &str) -> Response<Body> {
    let error = format!("<Error><Code>{code}</Code><Message>{message}</Message><RequestId>fault</RequestId></Error>");
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{error}");
    Response::builder().status(status).header(header::CONTENT_TYPE, "application/xml").body(Body::from(body)).unwrap()
}

/// The store's answer. Its length stays: that of an answer to HEAD is the length of the object.
fn response(status: StatusCode, headers: &HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers.clone();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        response.headers_mut().remove(name);
    }
    response
}

/// Half of the body, then a reset.
fn cut(status: StatusCode, headers: &HeaderMap, body: &Bytes, reset: Reset) -> Response<Body> {
    let half = body.slice(..body.len() / 2);
    let stream = futures_util::stream::unfold(0, move |step| {
        let (half, reset) = (half.clone(), reset.clone());
        async move {
            if step == 0 {
                return Some((Ok(half), 1));
            }
            // What was written so far is on its way by then.
            tokio::time::sleep(Duration::from_millis(20)).await;
            reset.0.store(true, Ordering::SeqCst);
            Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), 2))
        }
    });
    response(status, headers, Body::from_stream(stream))
}

/// The body in eight pieces.
fn slow(status: StatusCode, headers: &HeaderMap, body: Bytes, pause: Duration) -> Response<Body> {
    let piece = body.len().div_ceil(8).max(1);
    let stream = futures_util::stream::unfold(body, move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let next = left.split_to(piece.min(left.len()));
        Some((Ok::<_, io::Error>(next), left))
    });
    response(status, headers, Body::from_stream(stream))
}

/// Makes a connection end in a reset.
#[derive(Clone, Default)]
struct Reset(Arc<AtomicBool>);

impl Reset {
    /// Resets the connection in place of this answer.
    fn now(&self) -> Response<Body> {
        self.0.store(true, Ordering::SeqCst);
        Response::new(Body::empty())
    }
}

impl Connected<IncomingStream<'_, Resettable>> for Reset {
    fn connect_info(stream: IncomingStream<'_, Resettable>) -> Reset {
        stream.io().reset.clone()
    }
}

/// Accepts connections that can be reset.
struct Resettable {
    listener: TcpListener,
}

impl Listener for Resettable {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        (Connection { stream, reset: Reset::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection of a client.
struct Connection {
    stream: TcpStream,
    reset: Reset,
}

impl Connection {
    /// Fails once the connection is to be reset: the server then closes it, and without lingering that sends a reset.
    fn check(&self) -> io::Result<()> {
        if self.reset.0.load(Ordering::SeqCst) {
            self.stream.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
