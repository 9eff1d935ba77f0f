//! The content of a small object, as it stands within a record or beside it. It spares the request that an object would cost.
//!
//! Says nothing of where it stands, and for how long.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// How hard a content is compressed.
const LEVEL: i32 = 3;

/// A content: compressed, in Base64.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inlined(String);

impl Inlined {
    /// The most bytes of an object that stands in a record. Each kept record has it.
    pub const MOST_IN_RECORD: u64 = 256 << 10;

    /// The most bytes of all objects that are copied beside the newest record.
    pub const MOST_BESIDE: u64 = 1 << 20;

    /// The content of an object; `None` if it has more than `most` bytes.
    pub fn new(bytes: &[u8], most: u64) -> Option<Inlined> {
        if bytes.len() as u64 > most {
            return None;
        }
        zstd::encode_all(bytes, LEVEL).ok().map(|compressed| Inlined(STANDARD.encode(compressed)))
    }

    /// The bytes that it takes here.
    pub fn size(&self) -> u64 {
        self.0.len() as u64
    }

    /// The bytes of the object; `None` if they are damaged. Whoever uses them compares their checksum.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let compressed = STANDARD.decode(&self.0).ok()?;
        zstd::decode_all(compressed.as_slice()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_comes_back_as_it_was_and_a_large_or_damaged_one_not_at_all() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let inlined = Inlined::new(&bytes, 1000).unwrap();
        assert_eq!(inlined.bytes(), Some(bytes.clone()));
        assert_eq!(Inlined::new(&[], 0).unwrap().bytes(), Some(Vec::new()));
        assert_eq!(Inlined::new(&bytes, 999), None);
        assert_eq!(Inlined("no Base64!".to_owned()).bytes(), None);
        assert_eq!(Inlined(STANDARD.encode("no zstd")).bytes(), None);
    }
}
