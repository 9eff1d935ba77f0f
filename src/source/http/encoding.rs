//! The encoding of a body. The client decodes `gzip`, `deflate`, `br` and `zstd` during download. This module decodes the
//! spellings that the client does not recognise, and rejects all other encodings. Of gzip in several members the client decodes
//! the first one only, and the rest of the JSON is missing then (see `troubleshooting.md`); this module decodes all of them.

use std::io::{self, Read};

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use crate::source::error::RequestFailure;

/// The decoded body, of at most `limit` bytes.
///
/// # Errors
/// An unsupported encoding, a damaged body, a body that is too large.
pub(super) fn decoded(headers: &HeaderMap, body: Bytes, limit: u64, setting: &'static str) -> Result<Bytes, RequestFailure> {
    let named: Vec<String> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|value| {
            String::from_utf8_lossy(value.as_bytes()).split(',').map(|name| name.trim().to_ascii_lowercase()).collect::<Vec<_>>()
        })
        .filter(|name| !name.is_empty() && name != "identity")
        .collect();
    // The encoding that was applied last is decoded first (RFC 9110, 8.4).
    named.iter().rev().try_fold(body, |body, name| {
        let mut decoded = Vec::new();
        let read = match name.as_str() {
            "gzip" | "x-gzip" => flate2::read::MultiGzDecoder::new(&*body).take(limit + 1).read_to_end(&mut decoded),
            "deflate" => flate2::read::ZlibDecoder::new(&*body).take(limit + 1).read_to_end(&mut decoded),
            "zstd" => zstd::Decoder::new(&*body).and_then(|decoder| decoder.take(limit + 1).read_to_end(&mut decoded)),
            _ => return Err(RequestFailure::Encoding { encoding: named.join(", ") }),
        };
        read.map_err(|error: io::Error| RequestFailure::Connection(format!("the body is damaged ({name}): {error}")))?;
        if decoded.len() as u64 > limit {
            return Err(RequestFailure::TooLarge { limit, setting });
        }
        Ok(decoded.into())
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn decode(encoding: &str, body: &[u8]) -> Result<Bytes, RequestFailure> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, encoding.parse().unwrap())]);
        decoded(&headers, Bytes::copy_from_slice(body), 1000, "http.max_body")
    }

    #[test]
    fn encodings_that_the_client_does_not_decode_are_decoded_or_rejected() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"[]").unwrap();
        let gzip = gzip.finish().unwrap();
        for encoding in ["x-gzip", "GZIP", "identity, gzip", "gzip, identity"] {
            assert_eq!(&*decode(encoding, &gzip).unwrap(), b"[]", "{encoding}");
        }
        for encoding in ["identity", "", "Identity, "] {
            assert_eq!(&*decode(encoding, b"[]").unwrap(), b"[]", "{encoding}");
        }
        for encoding in ["compress", "aes128gcm", "gzip, compress"] {
            let error = decode(encoding, &gzip).unwrap_err();
            assert!(error.to_string().contains(&format!("`{encoding}`")) && !error.is_transient(), "{error}");
        }
        assert!(decode("gzip", b"not gzip").unwrap_err().is_transient());
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&[b' '; 100_000]).unwrap();
        assert!(matches!(decode("x-gzip", &bomb.finish().unwrap()), Err(RequestFailure::TooLarge { .. })));
    }
}
