//! The Redshift `COPY` manifest of what a run wrote
//! (<https://docs.aws.amazon.com/redshift/latest/dg/loading-data-files-using-manifest.html>).

use serde_json::json;

use crate::store::{Key, Output};

/// A file of a manifest.
pub(super) struct Entry {
    /// Its place beneath the output.
    pub(super) place: Key,
    /// Its size.
    pub(super) bytes: u64,
}

/// A manifest of files beneath the output, with their sizes. Where it is not said how the warehouse sees the output, it
/// names the files where they lie.
pub(super) fn manifest(output: &Output, url: Option<&str>, files: &[Entry]) -> Vec<u8> {
    let base = url.map_or_else(|| location(output), str::to_owned);
    let entry =
        |Entry { place, bytes }: &Entry| json!({"url": format!("{base}/{place}"), "mandatory": true, "meta": {"content_length": bytes}});
    let entries: Vec<_> = files.iter().map(entry).collect();
    let mut text = serde_json::to_vec_pretty(&json!({ "entries": entries })).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Where the output is for a warehouse that nobody has told it: the URL of the bucket, or the folder.
pub(super) fn location(output: &Output) -> String {
    match output.folder() {
        Some(folder) => format!("file://{}", std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display()),
        None => output.location(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_the_warehouse_sees_them() {
        let output = Output::new("/data/out".into());
        let text = |url| {
            String::from_utf8(manifest(&output, url, &[Entry { place: "curated/dt=2026-01-01/part-00000.csv".into(), bytes: 7 }])).unwrap()
        };
        assert!(text(Some("s3://bucket/etl")).contains("\"url\": \"s3://bucket/etl/curated/dt=2026-01-01/part-00000.csv\""));
        assert!(text(None).contains("file:///data/out/curated/"));
        assert!(text(None).contains("\"content_length\": 7"));
    }
}
