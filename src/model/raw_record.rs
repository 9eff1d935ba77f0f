//! A record as its source delivered it, before anybody has looked at what it says.

/// The bytes of one record, valid JSON or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawRecord<'a> {
    /// Its bytes, or the first of them.
    pub bytes: &'a [u8],
    /// Whether these are all of its bytes. Of one that is too large, only the beginning is kept.
    pub is_whole: bool,
}

/// What the values of a record are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum CellTypes {
    /// Numbers, texts and more, each as its source means it.
    #[default]
    Typed,
    /// Texts alone, also where they stand for numbers: CSV.
    Text,
}

impl RawRecord<'_> {
    /// Whether more than `limit` objects and arrays stand within each other. Most records open fewer in all, which is seen
    /// without a look at their texts.
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
