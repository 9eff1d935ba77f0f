//! How an HTTP source is asked.

use std::time::Duration;

use reqwest::Url;

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
    /// Sent to the configured origin only.
    pub credentials: Credentials,
    /// The origin that the credentials are for: that of the orders, where those come over HTTP; else each source's own.
    pub credentials_origin: Option<Url>,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            max_attempts: 3,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            retry_after_cap: Duration::from_secs(60),
            backoff_first: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(30),
            per_page: 500,
            max_pages: 1_000_000,
            max_redirects: 10,
            max_body: 256 << 20,
            credentials: Credentials::default(),
            credentials_origin: None,
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
