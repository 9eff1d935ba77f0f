//! Where a source is: a URL, or files.

use std::{borrow::Cow, fmt, path::Path, str::FromStr};

use reqwest::Url;

/// A URL, or a path: file, folder or glob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// An HTTP API.
    Http(Url),
    /// A file, a folder or a glob, as it was written.
    Files(String),
}

/// Text that is not a location.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LocationError {
    /// No URL.
    #[error("not a URL: {0}")]
    Url(String),
    /// A scheme other than http and https.
    #[error("`{0}` URLs are not read: give an http(s) URL, or a path")]
    Scheme(String),
    /// Credentials stand in the URL, and so would stand in logs and shell histories.
    #[error("credentials do not belong in a URL: set ETL_API_USER and ETL_API_PASSWORD in the environment or .env")]
    Credentials,
    /// No text at all.
    #[error("empty")]
    Empty,
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Location, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        let Some((scheme, _)) = text.split_once("://") else { return Ok(Location::Files(text.to_owned())) };
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
        }
    }
}

/// Parameters whose values are hidden in logs and errors, where their name contains one of these.
const SECRET_PARAMETERS: [&str; 7] = ["token", "key", "secret", "password", "passwd", "sig", "auth"];

/// The URL as it may be shown: without credentials, and without the values of parameters that look like secrets. All else
/// stays byte by byte.
pub fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither can fail for http(s), and a URL without them is what is wanted.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if let Some(query) = url.query() {
        let is_secret = |name: &str| SECRET_PARAMETERS.iter().any(|secret| query_decoded(name).to_ascii_lowercase().contains(secret));
        let pairs: Vec<_> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if is_secret(name) => Cow::Owned(format!("{name}=***")),
                _ => Cow::Borrowed(pair),
            })
            .collect();
        shown.set_query(Some(&pairs.join("&")));
    }
    shown.to_string()
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
        assert_eq!("s3://bucket/x".parse::<Location>(), Err(LocationError::Scheme("s3".into())));
        assert_eq!("https://u:p@shop.example/".parse::<Location>(), Err(LocationError::Credentials));
        assert_eq!("".parse::<Location>(), Err(LocationError::Empty));
        assert!(matches!("http://".parse::<Location>(), Err(LocationError::Url(_))));
    }
}
