//! Records that are larger or deeper than one may be: dropped, and kept in quarantine as far as that is bounded.

use crate::{
    model::{RawRecord, Reason},
    settings::Limits,
};

/// So much of a record beyond a limit is kept in quarantine.
const KEPT: usize = 64 << 10;

/// The limit that a record breaks.
pub(super) fn broken(record: RawRecord<'_>, limits: &Limits) -> Option<Reason> {
    if !record.is_whole || record.bytes.len() as u64 > limits.record_bytes {
        return Some(Reason::RecordTooLarge);
    }
    record.is_deeper(limits.depth).then_some(Reason::RecordTooDeep)
}

/// What quarantine keeps of a record beyond a limit: all of it, or its beginning, up to the end of a character.
pub(super) fn beginning(record: RawRecord<'_>) -> &[u8] {
    let Some(kept) = record.bytes.get(..KEPT).filter(|kept| !record.is_whole || kept.len() < record.bytes.len()) else {
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
    fn a_record_beyond_a_limit_is_named() {
        let limits = Limits { record_bytes: 40, depth: 3, ..Limits::default() };
        let of = |text: &str| broken(RawRecord::from(text.as_bytes()), &limits);
        assert_eq!(of("{\"a\":[{}]}"), None);
        assert_eq!(of("{\"a\":\"[[[[[[[[\\\"{{{{\"}"), None, "brackets in a text");
        assert_eq!(of("[[]][[]][[]]"), None, "brackets beside each other");
        assert_eq!(of("{\"a\":[{\"b\":[]}]}"), Some(Reason::RecordTooDeep));
        assert_eq!(of(&"x".repeat(41)), Some(Reason::RecordTooLarge));
        assert_eq!(broken(RawRecord { bytes: b"{", is_whole: false }, &limits), Some(Reason::RecordTooLarge));
    }

    #[test]
    fn what_is_kept_ends_with_a_character() {
        let kept = |bytes: &[u8]| beginning(RawRecord::from(bytes)).to_vec();
        assert_eq!(kept(b"abc"), b"abc");
        let long = format!("x{}", "\u{e9}".repeat(KEPT));
        assert_eq!(kept(long.as_bytes()).len(), KEPT - 1);
        assert_eq!(kept(&vec![0xff; KEPT + 1]).len(), KEPT);
        assert_eq!(kept(b"cut \xc3"), b"cut \xc3", "the source's own bytes");
        let streamed = RawRecord { bytes: &long.as_bytes()[..KEPT], is_whole: false };
        assert_eq!(beginning(streamed).len(), KEPT - 1);
    }
}
