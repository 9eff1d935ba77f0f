//! What every user of the network shares: the client, TLS, proxies, the retry policy, rate limits, tokens, and the
//! redaction of secrets.
//!
//! Does not interpret requests and responses: that is the task of the modules that use it.

pub(crate) mod bounded_wait;
pub(crate) mod client;
pub(crate) mod error_chain;
pub(crate) mod proxy;
pub(crate) mod rate_limit;
pub(crate) mod redact;
pub(crate) mod retry;
pub(crate) mod tls;
pub(crate) mod token;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use reqwest::Url;
use tokio::runtime::Runtime;

use self::{
    client::{HttpClient, Timeouts},
    error_chain::chain,
    rate_limit::RateLimiter,
    token::TokenSlot,
};
use crate::settings::HttpSettings;

/// Invalid settings of the network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    /// A file that a setting names can't be used.
    #[error("{setting}: {}: {detail}", path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The setting of a proxy is invalid. Its URL may contain a password, so the error does not show it.
    #[error("the proxy (http.proxy, ETL_PROXY, HTTP_PROXY, HTTPS_PROXY): {detail}")]
    Proxy {
        /// What is wrong with it.
        detail: String,
    },
    /// The client can't be created.
    #[error("the HTTP client can't be started: {0}")]
    Client(String),
}

/// The network of one run: one client with its pool of connections, one rate limiter for each origin, one token for each OAuth
/// client. All requests of the run go through it, and run on its runtime, since a connection lives on the runtime that made it.
pub struct Network {
    http: HttpSettings,
    /// Created at the first request. A run over files needs neither client nor runtime.
    connection: OnceLock<Result<Connection, NetworkError>>,
    rate_limiters: Mutex<HashMap<String, Arc<RateLimiter>>>,
    tokens: Mutex<HashMap<String, Arc<TokenSlot>>>,
}

struct Connection {
    client: HttpClient,
    runtime: Runtime,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Network {
    /// A network with these settings. Opens no connection yet.
    pub fn new(http: &HttpSettings) -> Network {
        Network { http: http.clone(), connection: OnceLock::new(), rate_limiters: Mutex::default(), tokens: Mutex::default() }
    }

    fn connection(&self) -> Result<&Connection, NetworkError> {
        let connection = self.connection.get_or_init(|| {
            let timeouts = Timeouts { connect: self.http.connect_timeout, read: Some(self.http.read_timeout), total: None };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| NetworkError::Client(chain(&error)))?;
            Ok(Connection { client: HttpClient::new(&self.http.network, timeouts)?, runtime })
        });
        connection.as_ref().map_err(Clone::clone)
    }

    /// The client.
    ///
    /// # Errors
    /// Invalid settings of the network.
    pub(crate) fn client(&self) -> Result<&HttpClient, NetworkError> {
        Ok(&self.connection()?.client)
    }

    /// Runs a future that makes requests, on the calling thread.
    ///
    /// # Errors
    /// Invalid settings of the network.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, NetworkError> {
        let runtime = &self.connection()?.runtime;
        Ok(runtime.block_on(async {
            // Lets the runtime notice idle connections that the server closed since the last request.
            tokio::task::yield_now().await;
            work.await
        }))
    }

    /// The rate limiter of an origin.
    pub(crate) fn rate_limiter(&self, url: &Url) -> Arc<RateLimiter> {
        let origin = url.origin().ascii_serialization();
        self.rate_limiters.lock().unwrap_or_else(PoisonError::into_inner).entry(origin).or_default().clone()
    }

    /// The token of an OAuth client; `client` identifies it.
    pub(crate) fn token(&self, client: String) -> Arc<TokenSlot> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).entry(client).or_default().clone()
    }
}
