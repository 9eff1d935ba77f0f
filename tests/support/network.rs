//! What stands between `etl` and a source in a company: a private authority, a proxy; and reading a list through the library,
//! with settings that no file needs to say.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use axum::serve::Listener;
use orders_etl::{
    cancel::Cancel,
    net::Network,
    settings::{HttpSettings, Limits, Source},
    source::{Access, Page, PageSink, Purpose, Query, RecordShape, SourceCounters, SourceCounts, read_pages},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
};

use super::{Asked, CountedListener, Reply, Server};

/// An authority that no machine knows.
pub struct PrivateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl PrivateAuthority {
    pub fn new() -> PrivateAuthority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        PrivateAuthority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names and its key, in PEM.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        let (certificate, key) = self.certificate(names);
        (certificate.pem(), key.serialize_pem())
    }

    /// Its certificate, and a client certificate with its key, as files.
    pub fn files(&self, folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
        let (certificate, key) = self.issue(&["client"]);
        let write = |name: &str, content: String| {
            let path = folder.join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        (write("ca.pem", self.pem()), write("client.pem", certificate), write("client.key", key))
    }

    fn certificate(&self, names: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server over TLS whose certificate this authority has signed. It may ask clients for one too.
    pub fn serve(&self, clients: Clients, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        let (certificate, key) = self.certificate(&["localhost", "127.0.0.1", "shop.example"]);
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Clients::Any => builder.with_no_client_auth(),
            Clients::Certified => {
                let mut roots = RootCertStore::empty();
                roots.add(self.issuer.der().clone()).unwrap();
                builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Server::serve("https", answer, |listener, router| async move {
            axum::serve(TlsListener { listener, acceptor }, router).await.unwrap();
        })
    }
}

/// Which clients a server lets in.
#[derive(Clone, Copy)]
pub enum Clients {
    Any,
    /// Those with a certificate of the same authority.
    Certified,
}

struct TlsListener {
    listener: CountedListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// The first line of what a proxy was asked.
#[derive(Clone, Debug)]
pub struct Proxied {
    pub line: String,
}

/// A proxy that leads every request to one server, whatever host it names.
pub struct Proxy {
    pub address: String,
    proxied: Arc<Mutex<Vec<Proxied>>>,
}

impl Proxy {
    /// `credentials` is what `Proxy-Authorization` must say, where it must say anything.
    pub fn start(target: &str, credentials: Option<&str>) -> Proxy {
        Proxy::answering(target, credentials, None)
    }

    /// A proxy that refuses each request with this status line.
    pub fn refusing(status: &str) -> Proxy {
        Proxy::answering("127.0.0.1:1", None, Some(status.to_owned()))
    }

    fn answering(target: &str, credentials: Option<&str>, refusal: Option<String>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let proxied = Arc::new(Mutex::new(Vec::new()));
        let (log, target, credentials) = (proxied.clone(), target.to_owned(), credentials.map(str::to_owned));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, target, credentials, refusal) = (log.clone(), target.clone(), credentials.clone(), refusal.clone());
                thread::spawn(move || pass_on(stream.unwrap(), &log, &target, credentials.as_deref(), refusal.as_deref()));
            }
        });
        Proxy { address, proxied }
    }

    pub fn proxied(&self) -> Vec<Proxied> {
        self.proxied.lock().unwrap().clone()
    }
}

fn pass_on(mut client: TcpStream, log: &Mutex<Vec<Proxied>>, target: &str, credentials: Option<&str>, refusal: Option<&str>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let line = lines.next().unwrap().to_owned();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: Vec<_> = lines.filter_map(header).collect();
    let authorization = headers.iter().find(|(name, _)| name == "proxy-authorization").map(|(_, value)| value.clone());
    log.lock().unwrap().push(Proxied { line: line.clone() });
    let refusal =
        if authorization.as_deref() == credentials || credentials.is_none() { refusal } else { Some("407 Proxy Authentication Required") };
    if let Some(status) = refusal {
        let _ = client.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
        return;
    }
    let mut server = TcpStream::connect(target).unwrap();
    if line.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    } else {
        let (method, rest) = line.split_once(' ').unwrap();
        let path = rest.split_once("://").unwrap().1;
        let path = &path[path.find('/').unwrap()..];
        let mut forwarded = format!("{method} {path}\r\nconnection: close\r\n");
        for (name, value) in headers.iter().filter(|(name, _)| name != "connection" && name != "proxy-authorization") {
            forwarded.push_str(&format!("{name}: {value}\r\n"));
        }
        server.write_all(format!("{forwarded}\r\n").as_bytes()).unwrap();
    }
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}

/// What a list brought.
pub struct Fetched {
    pub records: Vec<String>,
    pub counts: SourceCounts,
}

/// Reads a list through the library. `each` sees every page before it is taken.
pub fn read(source: &Source, http: &HttpSettings, each: impl FnMut(&Page)) -> Result<Fetched, String> {
    read_over(&Network::new(http), source, http, each)
}

/// The same over a network that others may use too.
pub fn read_over(network: &Network, source: &Source, http: &HttpSettings, each: impl FnMut(&Page)) -> Result<Fetched, String> {
    read_within(None, network, source, http, each)
}

/// The same within a limit of memory, in bytes.
pub fn read_within(
    memory_limit: Option<u64>,
    network: &Network,
    source: &Source,
    http: &HttpSettings,
    mut each: impl FnMut(&Page),
) -> Result<Fetched, String> {
    let mut records = Vec::new();
    let mut sink = |page: Page| {
        each(&page);
        records.extend(page.records().map(|record| String::from_utf8_lossy(record.bytes).into_owned()));
        true
    };
    let counts = read_into(memory_limit, network, source, http, &mut sink)?;
    Ok(Fetched { records, counts })
}

/// The same into a sink of the caller's own.
pub fn read_into(
    memory_limit: Option<u64>,
    network: &Network,
    source: &Source,
    http: &HttpSettings,
    sink: &mut dyn PageSink,
) -> Result<SourceCounts, String> {
    let (counters, limits, cancel, shape) = (SourceCounters::default(), Limits::default(), Cancel::default(), RecordShape::default());
    let access = Access { http, network, limits: &limits, memory_limit, counters: &counters, cancel: &cancel };
    let read = read_pages(&source.location, Purpose::Orders, &Query::all(source, &shape), &access, sink);
    read.map(|_| counters.counts()).map_err(|error| error.to_string())
}
