//! What every user of the network shares: the client, TLS, proxies, the retry policy, the pace of requests, and the redaction
//! of secrets.
//!
//! It knows no list, no page and no alert: what is requested, and what a response means, is for the rooms that ask.

pub(crate) mod error_chain;
pub(crate) mod pace;
pub(crate) mod redact;
pub(crate) mod retry;
pub(crate) mod tls;
