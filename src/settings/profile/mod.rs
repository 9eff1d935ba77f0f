//! A source's profile: where its records and fields are, how its list is paged, how it authenticates, and how it filters.
//! Read from `etl.toml`, or shipped under a name; compiled once, and never looked at per record.
//!
//! Knows no request and no byte of a document: `source` asks by it, `normalize` maps by it.

mod auth;
mod fields;
mod kinds;
mod overlay;
mod pagination;
mod shipped;
mod table;

pub(super) use fields::paths;
pub(super) use overlay::overlay;
pub use shipped::{SHIPPED, Shipped, shipped};
pub(super) use table::{SourceTable, read as read_table};

use std::collections::BTreeMap;

use crate::model::{FieldPath, MinorUnits};

/// A path beneath a URL, which may have a path of its own.
pub(super) fn joined(url: &reqwest::Url, path: &str) -> reqwest::Url {
    let mut joined = url.clone();
    joined.set_path(&format!("{}/{}", url.path().trim_end_matches('/'), path.trim_start_matches('/')));
    joined
}

/// One of the three sources: its location, and how it is read.
#[derive(Clone, PartialEq, Debug)]
pub struct Source {
    /// The name that its user gave it. Its coverage is kept under this name.
    pub name: Option<String>,
    /// The name of the profile that it starts from.
    pub profile_name: Option<String>,
    /// Its location.
    pub location: super::Location,
    /// Its credentials, which are sent to its own origin only.
    pub credentials: super::Credentials,
    /// How its bucket is reached, if it lies in one.
    pub storage: Option<super::StorageSettings>,
    /// How it is read.
    pub profile: Profile,
}

impl From<super::Location> for Source {
    /// A source of the default profile (contract, Orders).
    fn from(location: super::Location) -> Source {
        Source {
            name: None,
            profile_name: None,
            location,
            credentials: super::Credentials::default(),
            storage: None,
            profile: Profile::default(),
        }
    }
}

/// How a source is read.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Profile {
    /// The path of the records within a body; `None`: they are looked for.
    pub records: Option<FieldPath>,
    /// The rules of fields that are not at their default paths, by the name of the column.
    pub fields: BTreeMap<String, FieldRule>,
    /// The same for the fields of a line. Orders only.
    pub line_fields: BTreeMap<String, FieldRule>,
    /// Records that are left out. Orders only.
    pub skip: Vec<SkipRule>,
    /// How it is requested over HTTP.
    pub http: HttpProfile,
}

/// How the value of a field is found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FieldRule {
    /// Tried in order: the first one that holds something counts.
    pub paths: Vec<FieldPath>,
    /// Values of the source that count as missing, beside null and blank text.
    pub missing: Vec<String>,
    /// The value if none of them does.
    pub default: Option<String>,
    /// Whether an amount is written in minor units.
    pub units: Units,
    /// How a time is written.
    pub time: TimeText,
}

/// How a time is written in a document.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TimeText {
    /// As the contract has it: RFC 3339 and its like, or a number since the epoch.
    #[default]
    Contract,
    /// `Tue, 20 Nov 2012 00:00:00 +0000` (RFC 2822).
    Rfc2822,
}

/// What an amount is written in.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Units {
    /// Major units: `12.50`.
    #[default]
    Major,
    /// Minor units, this many decimals below: with 2, `1250`.
    Minor(u32),
    /// Minor units of the record's own currency: cents, whole yen, thousandths of a dinar.
    OfCurrency(MinorUnits),
    /// Minor units; the document says beside the amount how many.
    Beside {
        /// Where, from the record or the line, as the path of the amount is.
        path: FieldPath,
        /// What stands there.
        scale: ScaleText,
    },
}

/// What a document says of the scale of an amount.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ScaleText {
    /// 0 and 2 to 9 are decimals; 1 and the powers of ten from 10 on are divisors.
    #[default]
    DecimalsOrDivisor,
    /// A number of decimals.
    Decimals,
    /// A power of ten.
    Divisor,
}

/// A condition under which a record is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkipRule {
    /// The path of a value.
    pub path: FieldPath,
    /// The text that the value must have; `None`: any value.
    pub equals: Option<String>,
}

/// How a source is requested over HTTP.
#[derive(Clone, PartialEq, Debug)]
pub struct HttpProfile {
    /// How its list is paged.
    pub pagination: Pagination,
    /// Records per page; `None`: `http.per_page`.
    pub page_size: Option<u32>,
    /// How requests authenticate.
    pub auth: Auth,
    /// The parameters by which the source narrows the window.
    pub filter: Filter,
    /// Parameters of every first request.
    pub query: BTreeMap<String, String>,
    /// Headers of every request.
    pub headers: BTreeMap<String, String>,
    /// The rate limit: requests per second.
    pub requests_per_second: Option<f64>,
    /// Pages that are requested at once, if their number is known.
    pub concurrency: usize,
    /// A request that counts the records of a window.
    pub count: Option<CountRequest>,
    /// Whether counts in the responses are believed.
    pub trusts_counts: bool,
}

/// A request whose answer is the number of records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CountRequest {
    /// Its URL.
    pub url: reqwest::Url,
    /// Where the answer holds the number.
    pub value: FieldPath,
}

impl Default for HttpProfile {
    fn default() -> HttpProfile {
        HttpProfile {
            pagination: Pagination::Auto,
            page_size: None,
            auth: Auth::default(),
            filter: Filter::default(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            requests_per_second: None,
            concurrency: 1,
            count: None,
            trusts_counts: true,
        }
    }
}

/// How a list is paged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pagination {
    /// By what the responses announce (contract, Orders: "Pagination by default").
    Auto,
    /// A `Link` header with `rel="next"`.
    Link,
    /// The next page's URL in the body.
    NextUrl {
        /// Where.
        path: FieldPath,
    },
    /// A cursor in the body, sent back as a parameter.
    Cursor {
        /// Where.
        path: FieldPath,
        /// The parameter.
        parameter: String,
        /// Where the body says whether there is more.
        more: Option<FieldPath>,
    },
    /// The last record's id, sent back as a parameter.
    LastId {
        /// The path of the id within a record.
        id: FieldPath,
        /// The parameter.
        parameter: String,
        /// Where the body says whether there is more.
        more: Option<FieldPath>,
    },
    /// Numbered pages.
    Page {
        /// The parameter of the number.
        parameter: String,
        /// The first page's number.
        first: u64,
        /// How many there are.
        total: Total,
    },
    /// A number of records to skip.
    Offset {
        /// The parameter of the offset.
        parameter: String,
        /// How many records there are.
        total: Total,
    },
    /// One page holds everything.
    Single,
}

/// How a response says how much there is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Total {
    /// A header with the number of pages.
    pub pages_header: Option<String>,
    /// Where the body holds the number of pages.
    pub pages: Option<FieldPath>,
    /// Where the body holds the number of records.
    pub records: Option<FieldPath>,
}

/// How requests authenticate. The secrets themselves come from the environment or `.env` only.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Auth {
    /// With whatever credentials are set.
    #[default]
    Environment,
    /// `ETL_API_KEY` in this header.
    KeyHeader(String),
    /// `ETL_API_KEY` in this parameter.
    KeyParameter(String),
    /// `ETL_API_TOKEN` as bearer.
    Bearer,
    /// `ETL_API_USER` and `ETL_API_PASSWORD`.
    Basic,
    /// OAuth 2 client credentials (RFC 6749, 4.4): `ETL_OAUTH_CLIENT_ID` and `ETL_OAUTH_CLIENT_SECRET`.
    ClientCredentials {
        /// The endpoint for tokens.
        token_url: reqwest::Url,
        /// The scope of a token.
        scope: Option<String>,
        /// The audience of a token, which Auth0 and others ask for.
        audience: Option<String>,
        /// Where the client's credentials go.
        credentials_in: CredentialsIn,
    },
    /// Requests carry no credentials.
    None,
}

/// Where a request for a token carries the client's credentials (RFC 6749, 2.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum CredentialsIn {
    /// In the `Authorization` header, each form-encoded.
    #[default]
    Header,
    /// In the form.
    Body,
}

/// The parameters by which a source narrows the window. The exact window is applied again to what it sends.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Filter {
    /// The window's beginning, on creation.
    pub since: Option<String>,
    /// Its end.
    pub until: Option<String>,
    /// The window's beginning, on update.
    pub updated_since: Option<String>,
    /// Its end.
    pub updated_until: Option<String>,
    /// How a time is written.
    pub format: TimeFormat,
}

/// How a time is written in a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TimeFormat {
    /// `2026-01-31T10:00:00Z`.
    #[default]
    Rfc3339,
    /// `2026-01-31T10:00:00`, in UTC.
    Naive,
    /// `2026-01-31`.
    Date,
    /// Seconds since the epoch.
    Epoch,
    /// Milliseconds since the epoch.
    EpochMillis,
}
