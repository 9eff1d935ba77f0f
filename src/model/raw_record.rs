//! A record in the original bytes of its source, before parsing.

/// The bytes of one record, valid JSON or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawRecord<'a> {
    /// Its bytes, or its first bytes if it is too large.
    pub bytes: &'a [u8],
    /// Whether these are all its bytes.
    pub is_whole: bool,
}

/// The types of the values of a record.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum CellTypes {
    /// The types of the source: numbers, texts and others.
    #[default]
    Typed,
    /// Texts only, even for numbers: CSV.
    Text,
}

impl RawRecord<'_> {
    /// Whether objects and arrays are nested more than `limit` deep. Most records have fewer brackets in total, so counting them
    /// first is enough.
    pub fn is_deeper(&self, limit: usize) -> bool {
        let record = self.bytes;
        if memchr::memchr2_iter(b'{', b'[', record).nth(limit).is_none() {
            return false;
        }
        let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
        for &byte in record {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => {
                    depth += 1;
                    if depth > limit {
                        return true;
                    }
                }
                b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        false
    }
}

impl<'a> From<&'a [u8]> for RawRecord<'a> {
    fn from(bytes: &'a [u8]) -> RawRecord<'a> {
        RawRecord { bytes, is_whole: true }
    }
}
