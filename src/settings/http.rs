//! How an HTTP source is asked.

use std::{path::PathBuf, time::Duration};

use super::Secret;

/// How an HTTP source is asked (contract, Source over HTTP).
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Attempts a request.
    pub max_attempts: u32,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Without a byte of the response.
    pub read_timeout: Duration,
    /// One attempt at a request, with its redirects and its body.
    pub request_timeout: Duration,
    /// All attempts at a request, with the waits between them.
    pub retry_timeout: Duration,
    /// The longest that `Retry-After` is obeyed for.
    pub retry_after_cap: Duration,
    /// The longest first wait between attempts; it doubles from there.
    pub backoff_first: Duration,
    /// The longest wait between attempts.
    pub backoff_cap: Duration,
    /// `per_page` of a numbered list.
    pub per_page: u32,
    /// Pages that a source may have.
    pub max_pages: u64,
    /// Redirects that one request may lead over.
    pub max_redirects: u32,
    /// Bytes that a body may have, decompressed.
    pub max_body: u64,
    /// Whether credentials may be sent over plain http to a host that is not loopback.
    pub allow_plain: bool,
    /// What every connection shares, also those of alerts.
    pub network: NetworkSettings,
}

/// How this machine reaches others: proxies, trusted authorities, a client certificate.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct NetworkSettings {
    /// Proxies.
    pub proxies: ProxySettings,
    /// A PEM file of authorities that are trusted beside those of the platform.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, where servers ask for one.
    pub client_certificate: Option<ClientCertificate>,
}

/// Proxies, by the scheme of the URL that is requested. Loopback is never proxied. A URL may hold credentials.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ProxySettings {
    /// For `http` URLs.
    pub http: Option<Secret>,
    /// For `https` URLs.
    pub https: Option<Secret>,
    /// Hosts that are reached without a proxy, as `NO_PROXY` lists them.
    pub exceptions: String,
}

/// Two PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// The certificate, with its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            max_attempts: 3,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(300),
            retry_timeout: Duration::from_secs(900),
            retry_after_cap: Duration::from_secs(60),
            backoff_first: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(30),
            per_page: 500,
            max_pages: 1_000_000,
            max_redirects: 10,
            max_body: 256 << 20,
            allow_plain: false,
            network: NetworkSettings::default(),
        }
    }
}

/// What a source asks for before it answers. From the environment or `.env` only.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// `ETL_API_TOKEN`.
    pub bearer: Option<Secret>,
    /// `ETL_API_KEY_HEADER` and `ETL_API_KEY`.
    pub api_key: Option<(String, Secret)>,
    /// `ETL_API_USER` and `ETL_API_PASSWORD`.
    pub basic: Option<(Secret, Secret)>,
    /// `ETL_OAUTH_CLIENT_ID` and `ETL_OAUTH_CLIENT_SECRET`.
    pub client: Option<(Secret, Secret)>,
}
