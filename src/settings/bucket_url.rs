//! The location of a bucket: `s3://bucket/prefix`. Opens nothing, and knows no credentials.

use std::{fmt, str::FromStr};

/// Which service holds a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BucketScheme {
    /// Amazon S3, or a server that speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage; its buckets are called containers.
    Az,
}

impl BucketScheme {
    /// The scheme of the URL.
    pub fn as_str(self) -> &'static str {
        match self {
            BucketScheme::S3 => "s3",
            BucketScheme::Gs => "gs",
            BucketScheme::Az => "az",
        }
    }
}

/// A bucket and a prefix in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketUrl {
    /// The service.
    pub scheme: BucketScheme,
    /// The name of the bucket, or of the container.
    pub bucket: String,
    /// What all keys begin with, without slashes at its ends. Empty for the whole bucket.
    pub prefix: String,
}

/// Text that is not the URL of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BucketUrlError {
    /// Another scheme, or none.
    #[error("`{0}` is not a store: write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")]
    Scheme(String),
    /// Credentials in the URL would end up in logs and shell histories.
    #[error(
        "credentials and ports do not belong in the URL of a bucket: write {0}://bucket/prefix, and set credentials in the environment"
    )]
    Credentials(&'static str),
    /// No bucket.
    #[error("the bucket is missing: write {0}://bucket/prefix")]
    NoBucket(&'static str),
    /// A bucket that no service allows.
    #[error("`{0}` is not a name of a bucket: it may have letters, digits, `.`, `-` and `_`")]
    Bucket(String),
    /// A query or a fragment.
    #[error("`?` and `#` have no meaning in the URL of a bucket: write {0}://bucket/prefix, and set options in [storage] of etl.toml")]
    Query(&'static str),
    /// A prefix that names no folder.
    #[error("the prefix has an empty part, a `.` or a `..`: write {0}://bucket/prefix")]
    Prefix(&'static str),
    /// Characters that do not survive in every tool.
    #[error("the prefix has a backslash, a `%` or a control character: use other characters")]
    Character,
}

impl BucketUrl {
    /// Whether a text is meant to be the URL of a bucket, and not a path.
    pub fn is_meant(text: &str) -> bool {
        text.contains("://")
    }
}

impl FromStr for BucketUrl {
    type Err = BucketUrlError;

    fn from_str(text: &str) -> Result<BucketUrl, BucketUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| BucketUrlError::Scheme(text.to_owned()))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "s3" => BucketScheme::S3,
            "gs" => BucketScheme::Gs,
            "az" => BucketScheme::Az,
            _ => return Err(BucketUrlError::Scheme(format!("{scheme}://"))),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains(['@', ':']) {
            return Err(BucketUrlError::Credentials(scheme.as_str()));
        }
        if rest.contains(['?', '#']) {
            return Err(BucketUrlError::Query(scheme.as_str()));
        }
        if bucket.is_empty() {
            return Err(BucketUrlError::NoBucket(scheme.as_str()));
        }
        if !is_bucket_name(bucket) {
            return Err(BucketUrlError::Bucket(bucket.to_owned()));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        check_prefix(prefix, scheme)?;
        Ok(BucketUrl { scheme, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

fn is_bucket_name(bucket: &str) -> bool {
    let is_known = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
    bucket.chars().all(is_known) && !bucket.contains("..") && !bucket.starts_with('.')
}

fn check_prefix(prefix: &str, scheme: BucketScheme) -> Result<(), BucketUrlError> {
    if prefix.contains(['\\', '%']) || prefix.contains(char::is_control) {
        return Err(BucketUrlError::Character);
    }
    if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(BucketUrlError::Prefix(scheme.as_str()));
    }
    Ok(())
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_shown_without_the_slash_at_its_end() {
        for (text, shown) in [
            ("s3://lake/orders/eu/", "s3://lake/orders/eu"),
            (" S3://my-lake.eu/a b ", "s3://my-lake.eu/a b"),
            ("gs://lake", "gs://lake"),
            ("az://lake/", "az://lake"),
        ] {
            assert_eq!(text.parse::<BucketUrl>().unwrap().to_string(), shown);
        }
        let url: BucketUrl = "s3://lake/orders/eu".parse().unwrap();
        assert_eq!((url.scheme, url.bucket.as_str(), url.prefix.as_str()), (BucketScheme::S3, "lake", "orders/eu"));
    }

    #[test]
    fn an_error_names_the_way_out() {
        for text in ["lake", "s3a://lake/x", "https://lake.s3.amazonaws.com/", "file:///tmp", "abfss://c@a.dfs.core.windows.net/x"] {
            let error = text.parse::<BucketUrl>().unwrap_err();
            assert!(matches!(error, BucketUrlError::Scheme(_)) && error.to_string().contains("write s3://bucket/prefix"), "{text}");
        }
        for text in ["s3://key:secret@lake/x", "s3://key@lake", "s3://AKIA:se/cret@lake/x", "gs://host:443/lake"] {
            assert!(matches!(text.parse::<BucketUrl>(), Err(BucketUrlError::Credentials(_))), "{text}");
        }
        for text in ["s3://", "s3:///x", "gs://"] {
            assert!(matches!(text.parse::<BucketUrl>(), Err(BucketUrlError::NoBucket(_))), "{text}");
        }
        for text in ["s3://lake/a//b", "s3://lake//a", "s3://lake/a/../b", "s3://lake/..", "s3://lake/./a", "s3://lake/a//"] {
            assert!(matches!(text.parse::<BucketUrl>(), Err(BucketUrlError::Prefix("s3"))), "{text}");
        }
        assert!(matches!("s3://lake/a?versionId=1".parse::<BucketUrl>(), Err(BucketUrlError::Query(_))));
        assert!(matches!("az://lake?sig=x".parse::<BucketUrl>(), Err(BucketUrlError::Query(_))));
        assert!(matches!("s3://la ke/a".parse::<BucketUrl>(), Err(BucketUrlError::Bucket(_))));
        assert!(matches!("s3://../a".parse::<BucketUrl>(), Err(BucketUrlError::Bucket(_))));
        assert!(matches!("s3://lake/a\\b".parse::<BucketUrl>(), Err(BucketUrlError::Character)));
    }
}
