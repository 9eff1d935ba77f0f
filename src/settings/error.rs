//! Errors of settings (exit 2), and where a value comes from. Each error names the place to correct.

use std::{borrow::Cow, fmt, io, path::PathBuf};

use super::toml_tree::Place;

/// A setting that can't be used: exit 2.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// `etl.toml` or `.env` can't be read.
    #[error("{}: can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// `etl.toml` has a mistake.
    #[error("{place}: {detail}")]
    File {
        /// The line.
        place: Place,
        /// The mistake.
        detail: String,
    },
    /// `.env` has a mistake. Its content may be secret and is not shown.
    #[error("{}: can't be read as NAME=value lines", path.display())]
    DotEnv {
        /// The file.
        path: PathBuf,
    },
    /// A variable of the environment is not UTF-8. Its content may be secret and is not shown.
    #[error("{variable}: the value is not valid UTF-8")]
    NotUtf8 {
        /// The variable.
        variable: String,
    },
    /// A value that can't be used.
    #[error("{origin}: `{value}`: {detail}")]
    Value {
        /// Where it comes from.
        origin: Origin,
        /// The value.
        value: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A value that can't be used and may hold a secret, so it is not shown.
    #[error("{origin}: {detail}")]
    SecretValue {
        /// Where it comes from.
        origin: Origin,
        /// What is wrong with it.
        detail: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Conflict(String),
    /// Credentials for a source that is reached without encryption.
    #[error(
        "{source_name}: credentials would be sent to {host} over plain http, where anybody on the way can read them. Use https, or set `http.allow_plain = true` in etl.toml"
    )]
    PlainHttp {
        /// The source, or its key.
        source_name: String,
        /// The host.
        host: String,
    },
    /// A shipped profile needs the URL of the user's API.
    #[error(
        "where is your {0} API? Say so with --url https://..., ETL_URL, or `url` in etl.toml (or name the orders alone: --orders https://..., or a file)"
    )]
    NoPlace(String),
    /// A shop has no orders.
    #[error("where are the orders of the shop `{0}`? Give its table in etl.toml a `url` (with a profile that knows the path) or `orders`")]
    NoOrdersOfShop(String),
    /// No orders are named.
    #[error("no orders source is named: say where the orders are with --orders, ETL_ORDERS, or `orders` in etl.toml")]
    NoOrders,
}

impl SettingsError {
    /// Commands that show the way out; none where the message says it all.
    pub fn examples(&self) -> &'static [&'static str] {
        match self {
            SettingsError::NoOrders => &[
                "etl run --orders https://shop.example/api/orders --users users.csv",
                "etl run --orders 'data/*.ndjson.gz'",
                "etl init      # writes an etl.toml",
                "etl demo      # shows the whole job at work, without any of that",
            ],
            _ => &[],
        }
    }

    /// An error about the value of a flag that no other layer has.
    pub fn flag(flag: &'static str, value: &str, detail: impl fmt::Display) -> SettingsError {
        SettingsError::Value { origin: Origin::Flag(flag), value: value.to_owned(), detail: detail.to_string() }
    }
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The command line.
    Flag(&'static str),
    /// The environment.
    Environment(Cow<'static, str>),
    /// `.env`.
    DotEnv(Cow<'static, str>),
    /// `etl.toml`.
    File {
        /// The line.
        place: Place,
        /// The key, with the tables above it.
        key: Cow<'static, str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => f.write_str(name),
            Origin::Environment(name) => f.write_str(name),
            Origin::DotEnv(name) => write!(f, "{name} in .env"),
            Origin::File { place, key } => write!(f, "{place}: `{key}`"),
        }
    }
}
