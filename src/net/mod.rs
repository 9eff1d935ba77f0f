//! What every user of the network shares: the client, TLS, proxies, the retry policy, rate limits, tokens, and the
//! redaction of secrets.
//!
//! It knows no list, no page and no alert: what is requested, and what a response means, is for the rooms that ask.

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

/// Settings of the network that can't be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkError {
    /// A file of the settings.
    #[error("{setting}: {}: {detail}", path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A proxy. Its URL may hold a password, and is not shown.
    #[error("the proxy (http.proxy, ETL_PROXY, HTTP_PROXY, HTTPS_PROXY): {detail}")]
    Proxy {
        /// What is wrong with it.
        detail: String,
    },
    /// The client can't be made.
    #[error("the HTTP client can't be started: {0}")]
    Client(String),
}

/// The network as one run sees it: one client with its pool of connections, one rate limiter for each origin, one token for each OAuth
/// client. All requests of the run go through it, and run on its runtime, since a connection lives on the runtime that made it.
pub struct Network {
    http: HttpSettings,
    /// Made when the first request is made: a run over files needs none of it.
    made: OnceLock<Result<Made, NetworkError>>,
    rate_limiters: Mutex<HashMap<String, Arc<RateLimiter>>>,
    tokens: Mutex<HashMap<String, Arc<TokenSlot>>>,
}

struct Made {
    client: HttpClient,
    runtime: Runtime,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Network {
    /// The network by these settings. Nothing is opened yet.
    pub fn new(http: &HttpSettings) -> Network {
        Network { http: http.clone(), made: OnceLock::new(), rate_limiters: Mutex::default(), tokens: Mutex::default() }
    }

    fn made(&self) -> Result<&Made, NetworkError> {
        let made = self.made.get_or_init(|| {
            let timeouts = Timeouts { connect: self.http.connect_timeout, read: Some(self.http.read_timeout), total: None };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| NetworkError::Client(chain(&error)))?;
            Ok(Made { client: HttpClient::new(&self.http.network, timeouts)?, runtime })
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// The client.
    ///
    /// # Errors
    /// Settings of the network that can't be used.
    pub(crate) fn client(&self) -> Result<&HttpClient, NetworkError> {
        Ok(&self.made()?.client)
    }

    /// Does work that makes requests, on the calling thread.
    ///
    /// # Errors
    /// Settings of the network that can't be used.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, NetworkError> {
        let runtime = &self.made()?.runtime;
        Ok(runtime.block_on(async {
            // Nobody has looked at the idle connections since the last request: those that the server closed are noticed here.
            tokio::task::yield_now().await;
            work.await
        }))
    }

    /// The rate limiter of an origin.
    pub(crate) fn rate_limiter(&self, url: &Url) -> Arc<RateLimiter> {
        let origin = url.origin().ascii_serialization();
        self.rate_limiters.lock().unwrap_or_else(PoisonError::into_inner).entry(origin).or_default().clone()
    }

    /// The token of an OAuth client; `client` tells it from all others.
    pub(crate) fn token(&self, client: String) -> Arc<TokenSlot> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).entry(client).or_default().clone()
    }
}
