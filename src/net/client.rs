//! The HTTP client: how it connects, and its connection errors.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, ClientBuilder, Url, redirect};

use super::{
    NetworkError,
    error_chain::chain,
    proxy::{self, Proxies},
    redact, tls,
};
use crate::settings::NetworkSettings;

/// The `User-Agent` of requests.
pub(crate) const USER_AGENT: &str = concat!("orders-etl/", env!("CARGO_PKG_VERSION"));

/// The timeouts of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For opening a connection.
    pub(crate) connect: Duration,
    /// Between two bytes of the response.
    pub(crate) read: Option<Duration>,
    /// For the request and its response, unless the caller limits that itself.
    pub(crate) total: Option<Duration>,
}

/// A client with its pool of connections.
#[derive(Debug)]
pub(crate) struct HttpClient {
    client: Client,
    proxies: Arc<Proxies>,
}

/// Why a request has no response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ConnectionError {
    /// The proxy asks for credentials, or rejects them.
    ProxyCredentials(String),
    /// Any other failure; a retry may succeed.
    Failed(String),
}

impl ConnectionError {
    pub(crate) fn text(self) -> String {
        match self {
            ConnectionError::ProxyCredentials(text) | ConnectionError::Failed(text) => text,
        }
    }
}

impl HttpClient {
    /// # Errors
    /// Invalid settings of the network.
    pub(crate) fn new(network: &NetworkSettings, timeouts: Timeouts) -> Result<HttpClient, NetworkError> {
        let mut tls = tls::client_config(network)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let proxies = Arc::new(Proxies::new(&network.proxies)?);
        let optional = |builder: ClientBuilder, timeout: Option<Duration>, set: fn(ClientBuilder, Duration) -> ClientBuilder| match timeout
        {
            Some(timeout) => set(builder, timeout),
            None => builder,
        };
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            // The settings read the environment; the client must not.
            .no_proxy()
            .proxy(proxies.clone().rule())
            .user_agent(USER_AGENT)
            .connect_timeout(timeouts.connect)
            // `request` follows redirects itself, because credentials in any header must not leave their origin.
            .redirect(redirect::Policy::none());
        let builder = optional(builder, timeouts.read, ClientBuilder::read_timeout);
        let builder = optional(builder, timeouts.total, ClientBuilder::timeout);
        let client = builder.build().map_err(|error| NetworkError::Client(chain(&error)))?;
        Ok(HttpClient { client, proxies })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The proxy for a URL, without credentials.
    pub(crate) fn proxy_of(&self, url: &Url) -> Option<String> {
        self.proxies.of(url).map(proxy::shown)
    }

    /// The error of a request for a URL, redacted.
    pub(crate) fn failure(&self, error: reqwest::Error, url: &Url) -> ConnectionError {
        let (timed_out, is_encoding) = (error.is_timeout(), error.is_decode());
        let cause = chain(&error.without_url());
        let cause = redact::text(&cause).into_owned();
        if let Some(proxy) = self.proxy_of(url) {
            if cause.contains("proxy authorization required") {
                return ConnectionError::ProxyCredentials(asks_for_credentials(&proxy));
            }
            if cause.contains("tunnel error: unsuccessful") {
                return ConnectionError::Failed(format!("the proxy {proxy} refuses to connect to {}", origin(url)));
            }
            if ["tunnel error", "tcp connect error", "dns error", "socks", "SOCKS"].iter().any(|place| cause.contains(place)) {
                return ConnectionError::Failed(format!("the proxy {proxy} can't be reached or used: {cause}"));
            }
        }
        if cause.contains("UnknownIssuer") {
            return ConnectionError::Failed(format!(
                "{cause} (this machine does not trust the authority that signed the server's certificate: set http.ca_file)"
            ));
        }
        ConnectionError::Failed(match cause {
            cause if timed_out => format!("timed out ({cause})"),
            cause if is_encoding && cause.contains("decompression") => format!("the body does not match its Content-Encoding: {cause}"),
            cause => cause,
        })
    }
}

/// The error text for the status 407.
pub(crate) fn asks_for_credentials(proxy: &str) -> String {
    format!("the proxy {proxy} asks for credentials (407): set ETL_PROXY=http://user:password@host:port in the environment or .env")
}

fn origin(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}
