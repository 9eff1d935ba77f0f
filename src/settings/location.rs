//! The location of a source: a URL, files, or objects of a bucket. Also how a URL is shown. Opens nothing.

use std::{borrow::Cow, fmt, net::IpAddr, path::Path, str::FromStr};

use reqwest::Url;

use super::{BucketUrl, BucketUrlError};

/// A URL, or a path: file, folder or glob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// An HTTP API.
    Http(Url),
    /// A file, a folder or a glob, as it was written.
    Files(String),
    /// Objects of a bucket.
    Bucket(ObjectPattern),
}

/// Objects of a bucket: one key, a prefix that ends in `/`, or a glob on the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectPattern {
    /// The bucket, without a prefix.
    pub bucket: BucketUrl,
    /// The key, prefix or glob, as it was written: keys have no percent-encoding. An empty one is the whole bucket.
    pub key: String,
}

impl ObjectPattern {
    /// The URL of an object of the bucket.
    pub fn url(&self, key: &str) -> String {
        format!("{}/{key}", self.bucket)
    }

    /// The pattern of a URL; `None` if its scheme is not that of a bucket.
    fn parse(scheme: &str, rest: &str) -> Result<Option<ObjectPattern>, BucketUrlError> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        match format!("{scheme}://{bucket}").parse() {
            Ok(bucket) => Ok(Some(ObjectPattern { bucket, key: key.to_owned() })),
            Err(BucketUrlError::Scheme(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for ObjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url(&self.key))
    }
}

/// The schemes that people write, and how a location of each is written.
const SCHEMES: [(&str, &str); 13] = [
    ("s3", "s3://bucket/key"),
    ("s3a", "s3://bucket/key"),
    ("s3n", "s3://bucket/key"),
    ("gs", "gs://bucket/key"),
    ("gcs", "gs://bucket/key"),
    ("az", "az://container/key"),
    ("abfs", "az://container/key"),
    ("abfss", "az://container/key"),
    ("wasb", "az://container/key"),
    ("wasbs", "az://container/key"),
    ("http", "http://host/path"),
    ("https", "https://host/path"),
    ("file", "as its path alone, such as /data/orders"),
];

/// Text that begins as a URL does, and is none that can be used. Taken for a path, it would be a folder of this
/// machine, which may go with it: `s3:/bucket` and `gcs://bucket`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a location that begins with `{scheme}:` is written {form}; put `./` before a path of this name")]
pub struct MistakenUrl {
    /// What it begins with.
    scheme: &'static str,
    /// How its location is written.
    form: &'static str,
}

impl MistakenUrl {
    /// The mistake in a text; `None` if it is a path, a URL that can be used, or one of a scheme that nobody knows.
    pub fn of(text: &str) -> Option<MistakenUrl> {
        let (beginning, rest) = text.trim().split_once(':')?;
        let &(scheme, form) = SCHEMES.iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case(beginning))?;
        let is_url = rest.starts_with("//") && form.split_once("://").is_some_and(|(used, _)| used == scheme);
        (!is_url).then_some(MistakenUrl { scheme, form })
    }
}

/// Text that is not a location.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LocationError {
    /// Not a URL.
    #[error("not a URL: {0}")]
    Url(String),
    /// A scheme that is neither http nor that of a bucket.
    #[error("`{0}` URLs are not read: give an http(s) URL, a URL of objects (s3, gs, az), or a path")]
    Scheme(String),
    /// It begins as a URL does.
    #[error(transparent)]
    Mistaken(#[from] MistakenUrl),
    /// The URL of objects has no valid bucket.
    #[error(transparent)]
    Bucket(#[from] BucketUrlError),
    /// Credentials in the URL would end up in logs and shell histories.
    #[error("credentials do not belong in a URL: set ETL_API_USER and ETL_API_PASSWORD in the environment or .env")]
    Credentials,
    /// No text.
    #[error("empty")]
    Empty,
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Location, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if let Some(mistaken) = MistakenUrl::of(text) {
            return Err(mistaken.into());
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(Location::Files(text.to_owned())) };
        if let Some(objects) = ObjectPattern::parse(scheme, rest)? {
            return Ok(Location::Bucket(objects));
        }
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(LocationError::Scheme(scheme.to_owned()));
        }
        let url = Url::parse(text).map_err(|error| LocationError::Url(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LocationError::Credentials);
        }
        Ok(Location::Http(url))
    }
}

impl Location {
    /// Whether its name says that it is a table, or several: CSV or Parquet. A folder does not say so.
    pub fn names_tables(&self) -> bool {
        let name = match self {
            Location::Http(_) => return false,
            Location::Files(path) => path,
            Location::Bucket(objects) => &objects.key,
        };
        let name = name.to_ascii_lowercase();
        let stem = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        stem.ends_with(".csv") || name.ends_with(".parquet")
    }

    /// The location as `base` sees it: a relative path is taken from there.
    #[must_use]
    pub fn relative_to(self, base: &Path) -> Location {
        match self {
            Location::Files(path) if Path::new(&path).is_relative() && !base.as_os_str().is_empty() => {
                let base = base.to_string_lossy();
                // Brackets in the folder's own name are not a pattern.
                let base = if path.contains(['*', '?', '[']) { glob::Pattern::escape(&base) } else { base.into_owned() };
                Location::Files(Path::new(&base).join(path).to_string_lossy().into_owned())
            }
            other => other,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Http(url) => f.write_str(&redacted(url)),
            Location::Files(path) => f.write_str(path),
            Location::Bucket(objects) => objects.fmt(f),
        }
    }
}

/// Whether a URL leads to this machine: its connections leave it by no network, and no proxy could serve them.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback()),
        Err(_) => host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
    }
}

/// Parameters whose values are hidden in logs and errors, where their name contains one of these.
const SECRET_PARAMETERS: [&str; 7] = ["token", "key", "secret", "password", "passwd", "sig", "auth"];

/// The URL as it may be shown: without credentials, and without the values of parameters that look like secrets. Everything
/// else keeps its bytes.
pub fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither can fail for http(s), and a URL without credentials is what is wanted.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if let Some(query) = url.query() {
        let pairs: Vec<_> = query.split('&').map(redacted_pair).collect();
        shown.set_query(Some(&pairs.join("&")));
    }
    shown.to_string()
}

/// A `name=value` of a query. The name may be percent-encoded.
fn redacted_pair(pair: &str) -> String {
    let Some((written, value)) = pair.split_once('=') else { return pair.to_owned() };
    let name = query_decoded(written).to_ascii_lowercase();
    let is_secret = !value.is_empty() && SECRET_PARAMETERS.iter().any(|secret| name.contains(secret));
    if is_secret { format!("{written}=***") } else { pair.to_owned() }
}

/// A name or a value of a query as its author meant it.
pub(crate) fn query_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(percent_decoded(&text.replace('+', " ")))
}

/// Text without its percent-encoding.
pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let code = others.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = others.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_stand_in_what_is_shown() {
        let url = Url::parse("https://user:hush@shop.example/orders?api_key=hush&page=2&access_token=hush").unwrap();
        assert_eq!(redacted(&url), "https://shop.example/orders?api_key=***&page=2&access_token=***");
        let encoded = Url::parse("https://shop.example/?%61pi%5Fkey=h%75sh&a=%2F/+%20b&c&d=").unwrap();
        assert_eq!(redacted(&encoded), "https://shop.example/?%61pi%5Fkey=***&a=%2F/+%20b&c&d=");
        let signed = Url::parse("https://shop.example/o?path=a%2Fb/c&&x=a+b%20c&flag&api%5Fkey=hush#x").unwrap();
        assert_eq!(redacted(&signed), "https://shop.example/o?path=a%2Fb/c&&x=a+b%20c&flag&api%5Fkey=***#x");
    }

    #[test]
    fn brackets_in_the_folder_of_etl_toml_are_no_pattern() {
        let at = |path: &str| Location::Files(path.into()).relative_to(Path::new("a[1]"));
        assert_eq!(at("x/*.json"), Location::Files("a[[]1[]]/x/*.json".into()));
        assert_eq!(at("x.json"), Location::Files("a[1]/x.json".into()));
    }

    #[test]
    fn urls_and_paths_are_told_apart() {
        assert!(matches!("https://shop.example/orders".parse(), Ok(Location::Http(_))));
        assert!(matches!("HTTP://shop.example/orders".parse(), Ok(Location::Http(_))));
        assert!(matches!("data/*.ndjson.gz".parse(), Ok(Location::Files(_))));
        assert_eq!("ftp://host/x".parse::<Location>(), Err(LocationError::Scheme("ftp".into())));
        assert_eq!("https://u:p@shop.example/".parse::<Location>(), Err(LocationError::Credentials));
        assert_eq!("".parse::<Location>(), Err(LocationError::Empty));
        assert!(matches!("http://".parse::<Location>(), Err(LocationError::Url(_))));
    }

    #[test]
    fn what_begins_as_a_url_does_is_no_path() {
        for (text, form) in [
            ("s3:/my-bucket/x", "s3://bucket/key"),
            ("s3:my-bucket", "s3://bucket/key"),
            (" S3:/b", "s3://bucket/key"),
            ("s3a://b/x", "s3://bucket/key"),
            ("gcs://b/x", "gs://bucket/key"),
            ("az:/c", "az://container/key"),
            ("abfs://c@account.dfs.core.windows.net/x", "az://container/key"),
            ("https:/shop.example/orders", "https://host/path"),
            ("http:shop.example", "http://host/path"),
            ("file:///data/x", "as its path alone"),
            ("file:x", "as its path alone"),
        ] {
            let mistaken = MistakenUrl::of(text).map(|mistaken| mistaken.to_string()).unwrap_or_default();
            assert!(mistaken.contains(form), "{text}: {mistaken}");
            assert!(matches!(text.trim().parse::<Location>(), Err(LocationError::Mistaken(_))), "{text}");
        }
        for text in ["s3://b/x", "HTTPS://h/x", "./s3:/b", "/data/s3:x", "s3", "data/2026-01-31T10:00.json", "ftp:/x", "ftp://h/x", "gs://"]
        {
            assert_eq!(MistakenUrl::of(text), None, "{text}");
        }
    }

    #[test]
    fn objects_are_a_bucket_and_the_text_after_it() {
        let location = |text: &str| text.parse::<Location>();
        for (text, bucket, key) in [
            ("s3://b/export/2026-*.ndjson.gz", "s3://b", "export/2026-*.ndjson.gz"),
            ("GS://b/a b%20[x]/", "gs://b", "a b%20[x]/"),
            ("az://b", "az://b", ""),
        ] {
            let pattern = ObjectPattern { bucket: bucket.parse().unwrap(), key: key.into() };
            assert_eq!(pattern.to_string(), format!("{bucket}/{key}"));
            assert_eq!(location(text), Ok(Location::Bucket(pattern)));
        }
        assert_eq!(location("s3:///x"), Err(LocationError::Bucket(BucketUrlError::NoBucket("s3"))));
        assert_eq!(location("s3://b*/x"), Err(LocationError::Bucket(BucketUrlError::Bucket("b*".into()))));
        assert_eq!(location("s3://key:hush@b/x"), Err(LocationError::Bucket(BucketUrlError::Credentials("s3"))));
        let at = |text: &str| location(text).map(|location| location.relative_to(Path::new("conf")));
        assert_eq!(at("s3://b/x"), location("s3://b/x"));
    }
}
