//! The limits of size and depth of a record. A record beyond a limit is dropped; quarantine keeps its beginning.

use crate::{
    model::{RawRecord, Reason},
    settings::Limits,
};

/// The bytes that quarantine keeps of a record beyond a limit.
const KEPT_BYTES: usize = 64 << 10;

/// The limit that a record exceeds, if any.
pub(super) fn exceeded(record: RawRecord<'_>, limits: &Limits) -> Option<Reason> {
    if !record.is_whole || record.bytes.len() as u64 > limits.record_bytes {
        return Some(Reason::RecordTooLarge);
    }
    record.is_deeper(limits.depth).then_some(Reason::RecordTooDeep)
}

/// The part of a record that quarantine keeps: the whole record, or its beginning. Never cuts inside a character.
pub(super) fn beginning(record: RawRecord<'_>) -> &[u8] {
    let Some(kept) = record.bytes.get(..KEPT_BYTES).filter(|kept| !record.is_whole || kept.len() < record.bytes.len()) else {
        return record.bytes;
    };
    match std::str::from_utf8(kept) {
        Err(error) if error.error_len().is_none() => kept.get(..error.valid_up_to()).unwrap_or(kept),
        _ => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_beyond_a_limit_has_a_reason() {
        let limits = Limits { record_bytes: 40, depth: 3, ..Limits::default() };
        let of = |text: &str| exceeded(RawRecord::from(text.as_bytes()), &limits);
        assert_eq!(of("{\"a\":[{}]}"), None);
        assert_eq!(of("{\"a\":\"[[[[[[[[\\\"{{{{\"}"), None, "brackets in a text");
        assert_eq!(of("[[]][[]][[]]"), None, "brackets beside each other");
        assert_eq!(of("{\"a\":[{\"b\":[]}]}"), Some(Reason::RecordTooDeep));
        assert_eq!(of(&"x".repeat(41)), Some(Reason::RecordTooLarge));
        assert_eq!(exceeded(RawRecord { bytes: b"{", is_whole: false }, &limits), Some(Reason::RecordTooLarge));
    }

    #[test]
    fn the_kept_beginning_ends_with_a_whole_character() {
        let kept = |bytes: &[u8]| beginning(RawRecord::from(bytes)).to_vec();
        assert_eq!(kept(b"abc"), b"abc");
        let long = format!("x{}", "\u{e9}".repeat(KEPT_BYTES));
        assert_eq!(kept(long.as_bytes()).len(), KEPT_BYTES - 1);
        assert_eq!(kept(&vec![0xff; KEPT_BYTES + 1]).len(), KEPT_BYTES);
        assert_eq!(kept(b"cut \xc3"), b"cut \xc3", "a short record keeps the bytes of the source");
        let streamed = RawRecord { bytes: &long.as_bytes()[..KEPT_BYTES], is_whole: false };
        assert_eq!(beginning(streamed).len(), KEPT_BYTES - 1);
    }
}
