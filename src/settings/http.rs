//! How HTTP sources are asked: time-outs, limits, retries, TLS. Not whom they ask for credentials, nor their profiles.

use std::{path::PathBuf, time::Duration};

use super::{Secret, SettingsError, merge::Layers, proxies, setting};

/// How HTTP sources are requested (contract, Source over HTTP).
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Attempts per request.
    pub max_attempts: u32,
    /// The time to open a connection.
    pub connect_timeout: Duration,
    /// The time without a byte of the response.
    pub read_timeout: Duration,
    /// The time for one attempt, with its redirects and its body.
    pub request_timeout: Duration,
    /// The time for all attempts at a request, with the waits between them.
    pub retry_timeout: Duration,
    /// The longest wait that `Retry-After` may ask for.
    pub retry_after_cap: Duration,
    /// The longest first wait between attempts; it doubles from there.
    pub backoff_first: Duration,
    /// The longest wait between attempts.
    pub backoff_cap: Duration,
    /// `per_page` of a numbered list.
    pub per_page: u32,
    /// Pages that a source may have.
    pub max_pages: u64,
    /// Redirects of one request.
    pub max_redirects: u32,
    /// Bytes that a body may have, decompressed.
    pub max_body: u64,
    /// Whether credentials may be sent over plain http to a host that is not loopback.
    pub allow_plain: bool,
    /// What every connection shares, those of alerts included.
    pub network: NetworkSettings,
}

/// How this machine reaches others: proxies, trusted authorities, a client certificate.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct NetworkSettings {
    /// Proxies.
    pub proxies: ProxySettings,
    /// A PEM file of authorities that are trusted beside those of the platform.
    pub ca_file: Option<PathBuf>,
    /// The client certificate, for servers that ask for one.
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

/// Reads `[http]`.
pub(super) fn read(layers: &Layers<'_>) -> Result<HttpSettings, SettingsError> {
    let default = HttpSettings::default();
    let narrow = |number: Option<u64>, default: u32| number.map_or(default, |number| u32::try_from(number).unwrap_or(u32::MAX));
    Ok(HttpSettings {
        max_attempts: narrow(layers.whole(&setting::MAX_ATTEMPTS)?, default.max_attempts),
        connect_timeout: layers.span(&setting::CONNECT_TIMEOUT)?.unwrap_or(default.connect_timeout),
        read_timeout: layers.span(&setting::READ_TIMEOUT)?.unwrap_or(default.read_timeout),
        request_timeout: layers.span(&setting::REQUEST_TIMEOUT)?.unwrap_or(default.request_timeout),
        retry_timeout: layers.span(&setting::RETRY_TIMEOUT)?.unwrap_or(default.retry_timeout),
        retry_after_cap: layers.span(&setting::RETRY_AFTER_CAP)?.unwrap_or(default.retry_after_cap),
        backoff_first: layers.span(&setting::BACKOFF_FIRST)?.unwrap_or(default.backoff_first),
        backoff_cap: layers.span(&setting::BACKOFF_CAP)?.unwrap_or(default.backoff_cap),
        per_page: narrow(layers.whole(&setting::PER_PAGE)?, default.per_page),
        max_pages: layers.whole(&setting::MAX_PAGES)?.unwrap_or(default.max_pages),
        max_redirects: narrow(layers.whole(&setting::MAX_REDIRECTS)?, default.max_redirects),
        max_body: layers.whole(&setting::MAX_BODY)?.unwrap_or(default.max_body),
        allow_plain: layers.yes_no(&setting::ALLOW_PLAIN)?.unwrap_or(default.allow_plain),
        network: network(layers)?,
    })
}

fn network(layers: &Layers<'_>) -> Result<NetworkSettings, SettingsError> {
    let certificate = layers.get(&setting::CLIENT_CERT)?;
    let key = layers.get(&setting::CLIENT_KEY)?;
    let client_certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate: layers.path(&certificate), key: layers.path(&key) }),
        (None, None) => None,
        (Some(alone), None) => return Err(alone.invalid("`http.client_key` is missing: a certificate needs its private key")),
        (None, Some(alone)) => return Err(alone.invalid("`http.client_cert` is missing: a private key needs its certificate")),
    };
    let ca_file = layers.get(&setting::CA_FILE)?.map(|file| layers.path(&file));
    Ok(NetworkSettings { proxies: proxies::read(layers)?, ca_file, client_certificate })
}
