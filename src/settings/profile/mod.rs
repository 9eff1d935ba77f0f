//! A source's profile: where its records and fields are, how its list is paged, how it authenticates, and how it filters.
//! Read from `etl.toml`, or shipped under a name; compiled once, and never looked at per record.
//!
//! Knows no request and no byte of a document: `source` asks by it, `normalize` maps by it.

mod auth;
mod bulk;
mod children;
mod fields;
mod kinds;
mod overlay;
mod pagination;
mod refunds;
mod schema;
mod shipped;
mod table;
mod template;

pub use bulk::{BulkOperation, BulkPoll};
pub use children::ChildLines;
pub(super) use fields::paths;
pub(super) use overlay::overlay;
pub(super) use schema::{profile_name, source_schema};
pub use shipped::{SHIPPED, Shipped, shipped};
pub(super) use table::{SourceTable, read as read_table};
pub use template::Template;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Cursor, MergeBy, RepeatedSku, When};
use crate::model::{FieldPath, MinorUnits, QuantityType, Severity, UtcMicros, is_same_value};

/// A path beneath a URL, which may have a path of its own.
pub fn joined(url: &reqwest::Url, path: &str) -> reqwest::Url {
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

impl Source {
    /// The variables that its authentication needs and that are not set; `None` for anything but HTTP.
    pub fn missing_credentials(&self) -> Option<String> {
        let is_asked = matches!(self.location, super::Location::Http(_));
        is_asked.then(|| self.credentials.missing_for(&self.profile.http.auth)).flatten()
    }
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
    /// How the lists of lines become the lines of a record. Orders only.
    pub lines: LineLists,
    /// Where a record says the totals of its order; `None`: no such totals are kept. Orders only.
    pub totals: Option<OrderTotalRules>,
    /// Where a record lists its refunds; `None`: no refunds are kept. Orders only.
    pub refunds: Option<RefundRules>,
    /// Records that are left out. Orders only.
    pub skip: Vec<SkipRule>,
    /// Lines that are left out. Orders only.
    pub skip_lines: Vec<SkipRule>,
    /// What an object or nothing means at the place of the records.
    pub record_list: RecordList,
    /// A request for the lines of an order. Orders only.
    pub line_request: Option<ListRequest>,
    /// A request for the refunds of an order; `None`: its record lists them. Orders only.
    pub refund_request: Option<ListRequest>,
    /// A request for members that the list does not hold. Users and products only.
    pub more_request: Option<MoreRequest>,
    /// Lines of a file that belong to a line before them; `None`: each line is a record. Orders only.
    pub children: Option<ChildLines>,
    /// An operation whose result over HTTP is a file of such lines. Orders only.
    pub bulk: Option<BulkOperation>,
    /// The zone of times that have none; `None`: UTC.
    pub zone: Option<chrono_tz::Tz>,
    /// How the source wants several lines of one sku; settings come first.
    pub repeated_sku: Option<RepeatedSku>,
    /// What a newer version of an order replaces; settings come first.
    pub merge: Option<MergeBy>,
    /// The time that windows are on; settings come first.
    pub cursor: Option<Cursor>,
    /// For how long after its creation an order may still come to count, or change; settings come first.
    pub lookback: Option<Duration>,
    /// The type of quantities; settings come first.
    pub quantity: Option<QuantityType>,
    /// How it is requested over HTTP.
    pub http: HttpProfile,
}

/// Where a record says the totals of its order (`[orders.totals]`).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OrderTotalRules {
    /// The rules of the amounts, by the names of [`crate::model::ORDER_AMOUNTS`].
    pub amounts: BTreeMap<String, AmountRule>,
    /// Whether they add up.
    pub reconciles: Reconciliation,
}

/// Where a record lists its refunds, and what each says (`[orders.refunds]`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefundRules {
    /// The list. Its path may lead into every element of lists above it.
    pub list: FieldPath,
    /// Where a record says that it has refunds, whose list comes by a request of its own; `None`: it does not say it.
    pub announced: Option<FieldPath>,
    /// The id of a refund.
    pub refund_id: FieldRule,
    /// When it was made.
    pub created_at: FieldRule,
    /// All of its money; `None`: that of its lines.
    pub amount: Option<FieldRule>,
    /// Elements of the list that `amount` adds up which are left out, such as payments that failed.
    pub skip_amounts: Vec<SkipRule>,
    /// Its currency; `None`: that of the order.
    pub currency: Option<FieldRule>,
    /// Refunds that are left out, such as those that failed.
    pub skip: Vec<SkipRule>,
    /// Its lines, if it has some.
    pub lines: Option<RefundLineRules>,
}

/// Where a refund lists what it gives back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefundLineRules {
    /// The list, within the refund.
    pub list: FieldPath,
    /// How quantities and amounts of lines are written.
    pub sign: RefundSign,
    /// The sku, where the line itself says it.
    pub sku: Option<FieldRule>,
    /// How many.
    pub quantity: Option<FieldRule>,
    /// The money of the line.
    pub amount: FieldRule,
    /// Which line of the order it gives back, to find the sku there.
    pub by_line: Option<OrderLineKey>,
}

/// How a line of a refund names a line of its order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderLineKey {
    /// In the line of the refund, or in the element of `among`.
    pub id: FieldRule,
    /// In the line of the order.
    pub line: FieldRule,
    /// A list in the line of the refund, one element of which has the id; `None`: the line itself has it.
    pub among: Option<KeyedList>,
}

/// A list of keys and values, one element of which counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyedList {
    /// The list.
    pub list: FieldPath,
    /// Which of its elements: the first that fulfils this.
    pub when: SkipRule,
}

/// The sign with which a source writes what was given back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum RefundSign {
    /// As a positive quantity and amount.
    #[default]
    Positive,
    /// As a negative one.
    Negative,
}

impl RefundSign {
    /// What makes a quantity or amount one that was given back.
    pub fn factor(self) -> i128 {
        match self {
            RefundSign::Positive => 1,
            RefundSign::Negative => -1,
        }
    }
}

/// How an amount of an order is found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AmountRule {
    /// Where, and how it is written.
    pub field: FieldRule,
    /// Which of the paths count.
    pub which: WhichAmounts,
}

/// Which of several paths of an amount count.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum WhichAmounts {
    /// The first that has an amount.
    #[default]
    First,
    /// All of them: the amount is their sum.
    All,
}

/// Whether lines, less discount, with shipping and tax are the total.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconciliation {
    /// Nothing says so: a difference is reported.
    #[default]
    Unsaid,
    /// By the vendor's own definition: a difference fails the run.
    Always,
    /// Not in every order, such as where prices include tax: nothing is compared.
    Never,
}

impl Reconciliation {
    /// What a difference means; `None`: nothing.
    pub fn severity(self) -> Option<Severity> {
        match self {
            Reconciliation::Always => Some(Severity::Error),
            Reconciliation::Unsaid => Some(Severity::Warn),
            Reconciliation::Never => None,
        }
    }
}

/// How the lists at the paths of `lines` become the lines of a record.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LineLists {
    /// Which of the lists count.
    pub which: WhichLists,
    /// What an object at the place of a list is.
    pub object: ObjectInPlace,
}

/// Which of several lists of lines count.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum WhichLists {
    /// The first that has lines.
    #[default]
    First,
    /// All of them, one after the other.
    All,
    /// None: the record itself is its only line.
    Record,
}

/// What an object means where a list is expected.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ObjectInPlace {
    /// A mistake.
    #[default]
    Wrong,
    /// The only element.
    OnlyElement,
}

/// What stands at the place of the records, beside a list.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum RecordList {
    /// Nothing else counts.
    #[default]
    List,
    /// An object is the only record, and nothing there is an empty list: as in JSON that was made from XML.
    ListOrObject,
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
    /// Only what follows the last of this text counts: with `/`, `gid://shop/Order/7` is `7`.
    pub after: Option<String>,
    /// What the values of the source mean, such as `1` = `EUR`. Others stay.
    pub map: BTreeMap<String, String>,
    /// Rules of single paths: ids are written in another way than the sku that they stand in for.
    pub own: BTreeMap<FieldPath, PathRule>,
}

/// What holds for the values at one path of a field, beside the rules of the field.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PathRule {
    /// Values there that count as missing.
    pub missing: Vec<String>,
    /// Only what follows the last of this text counts there.
    pub after: Option<String>,
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

/// A condition under which a record or a line is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkipRule {
    /// The path of a value.
    pub path: FieldPath,
    /// Which values.
    pub values: SkipValues,
}

/// The values under which something is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SkipValues {
    /// Any that is not missing.
    Any,
    /// Any that is neither missing nor one of these texts, which count as missing.
    AnyBut(Vec<String>),
    /// One of these texts.
    OneOf(Vec<String>),
    /// Any but these texts; a missing one, too.
    NoneOf(Vec<String>),
}

/// What stands at the path of a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SkipCandidate<'a> {
    /// Nothing, null, or blank text.
    Missing,
    /// A text, a number or a boolean, as it is written.
    Text(&'a str),
    /// A list or an object: a value, and none of any texts.
    Other,
}

impl SkipValues {
    /// Whether a value is one of these. Numbers are compared by value: `0`, `0.0` and `"0.00"` are the same.
    pub fn take(&self, value: SkipCandidate<'_>) -> bool {
        let is_among = |texts: &[String]| match value {
            SkipCandidate::Text(text) => texts.iter().any(|known| is_same_value(known, text)),
            SkipCandidate::Missing | SkipCandidate::Other => false,
        };
        let is_missing = value == SkipCandidate::Missing;
        match self {
            SkipValues::Any => !is_missing,
            SkipValues::AnyBut(texts) => !is_missing && !is_among(texts),
            SkipValues::OneOf(texts) => is_among(texts),
            SkipValues::NoneOf(texts) => !is_among(texts),
        }
    }
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
    /// Parameters with places for others, which then are not sent by themselves. A name may come twice.
    pub templates: Vec<(String, Template)>,
    /// The body of requests, which then are sent by POST.
    pub body: Option<BodyTemplate>,
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

/// The JSON body of requests. Its texts may have places, as a [`Template`] has.
#[derive(Clone, PartialEq, Debug)]
pub struct BodyTemplate {
    /// Of the first page, and of the others unless they have their own.
    pub first: serde_json::Value,
    /// Of pages that continue by a cursor.
    pub next: Option<serde_json::Value>,
    /// The text of a GraphQL query, which has no places: it goes into every body as `query`.
    pub query: Option<String>,
}

impl BodyTemplate {
    /// The names of its places.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        [Some(&self.first), self.next.as_ref()].into_iter().flatten().for_each(|value| add_names(value, &mut names));
        names
    }
}

/// Adds the names of the places in the texts of a JSON value.
fn add_names(value: &serde_json::Value, names: &mut Vec<String>) {
    use serde_json::Value;
    match value {
        Value::String(text) => names.extend(Template::parse(text).names().map(str::to_owned)),
        Value::Array(list) => list.iter().for_each(|value| add_names(value, names)),
        Value::Object(map) => map.values().for_each(|value| add_names(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A request for a list that belongs to a record, by its id: its lines, its refunds, members that it stands for.
#[derive(Clone, PartialEq, Debug)]
pub struct ListRequest {
    /// The URL that its path is relative to.
    pub base: reqwest::Url,
    /// Its path, with a place `{id}`; empty: the base itself.
    pub path: Template,
    /// Where a record has the id.
    pub id: FieldPath,
    /// Where a record says that there is something to ask for; `None`: it is asked for by every record.
    pub when: Option<FieldPath>,
    /// How the list is read.
    pub list: Box<Profile>,
}

/// A request for the members that belong to a record and are not in its list, by its id.
#[derive(Clone, PartialEq, Debug)]
pub struct MoreRequest {
    /// The list of them.
    pub list: ListRequest,
    /// Which records have some; `None`: all.
    pub when: Option<SkipRule>,
    /// What they take from the record where they have it not themselves.
    pub inherit: Vec<Inherited>,
}

/// A value that a member takes from the record that it belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inherited {
    /// Its key in the member.
    pub key: String,
    /// Its key in the record.
    pub from: String,
}

/// The key under which a record gets the lines that were asked for.
pub const ASKED_LINES: &str = "etl_lines";

/// The key under which a record gets the refunds that were asked for.
pub const ASKED_REFUNDS: &str = "etl_refunds";

/// Whether the text of a value says that there is something: all but nothing, `false` and a zero.
pub fn says_some(text: &str) -> bool {
    let text = text.trim();
    !text.eq_ignore_ascii_case("false") && text.chars().any(|char| char.is_alphanumeric() && char != '0')
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
            templates: Vec::new(),
            body: None,
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
        /// The largest offset that the source accepts: a longer list is read by slices of the window.
        largest: Option<u64>,
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
    /// `ETL_API_KEY` as the user of Basic authentication, with an empty password.
    KeyAsUser,
    /// `ETL_API_TOKEN` as bearer; and `ETL_API_KEY` in a header, if the source wants both.
    Bearer {
        /// The header of the key.
        key_header: Option<String>,
    },
    /// `ETL_API_USER` and `ETL_API_PASSWORD`.
    Basic,
    /// `ETL_API_USER` and `ETL_API_PASSWORD` in these two parameters.
    PairOfParameters(String, String),
    /// `ETL_API_USER` and `ETL_API_PASSWORD`, for which a request gives a token.
    Login {
        /// Where the request goes, relative to the source.
        url: String,
        /// The key of the user in its JSON body.
        user: String,
        /// The key of the password.
        password: String,
        /// Where the answer has the token.
        token: FieldPath,
    },
    /// OAuth 2 (RFC 6749): `ETL_OAUTH_CLIENT_ID` and `ETL_OAUTH_CLIENT_SECRET`.
    OAuth {
        /// What the token is given for.
        grant: Grant,
        /// The header of the token, without the word `Bearer`; `None`: `Authorization`.
        token_header: Option<String>,
        /// The header of `ETL_API_KEY`, if the source wants both.
        key_header: Option<String>,
        /// The endpoint for tokens, relative to the source.
        token_url: String,
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

/// What a token is given for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Grant {
    /// The client's own credentials (RFC 6749, 4.4).
    #[default]
    ClientCredentials,
    /// `ETL_OAUTH_REFRESH_TOKEN` (RFC 6749, 6).
    RefreshToken,
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
    /// The beginning of a window that has none, for a source that demands one.
    pub earliest: Option<When>,
    /// The source shows records of this span before now alone; `None`: of all times.
    pub shows: Option<Duration>,
}

impl Filter {
    /// The beginning of what the source shows of a window that begins here; `None` if the window is open and nothing limits it.
    pub fn begins(&self, since: Option<UtcMicros>, now: UtcMicros) -> Option<UtcMicros> {
        let asked = since.or_else(|| self.earliest.and_then(|earliest| earliest.instant(now)));
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        asked.max(self.shows.map(|span| now.minus(micros(span))))
    }
}

/// How a time is written in a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TimeFormat {
    /// `2026-01-31T10:00:00Z`.
    #[default]
    Rfc3339,
    /// `2026-01-31T10:00:00.000Z`.
    Rfc3339Millis,
    /// `2026-01-31T10:00:00`, in UTC or the zone of the source.
    Naive,
    /// `2026-01-31 10:00:00`, likewise.
    Spaced,
    /// `2026-01-31`.
    Date,
    /// Seconds since the epoch.
    Epoch,
    /// Milliseconds since the epoch.
    EpochMillis,
}
