//! Numbers and texts as few bytes: numbers are LEB128, signed ones in zigzag; texts have their length before them. What may be missing
//! has a byte of its own before it: 1 where a value follows.
//!
//! Lineage stores blocks of these bytes in the layer, so they never change. Knows nothing of what the numbers mean.

/// Appends a text, its length before it.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a text that may be missing.
pub(super) fn write_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        write_text(out, text);
    }
}

/// Appends a number as LEB128.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// Appends a signed number as LEB128, in zigzag.
pub(super) fn write_signed(out: &mut Vec<u8>, number: i64) {
    write_number(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Reads numbers and texts back; `None` where the bytes are not those that were written.
pub struct Reader<'s>(pub(super) &'s [u8]);

impl<'s> Reader<'s> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn text(&mut self) -> Option<&'s str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    pub(super) fn optional(&mut self) -> Option<Option<&'s str>> {
        if self.byte()? == 0 { Some(None) } else { self.text().map(Some) }
    }
}
