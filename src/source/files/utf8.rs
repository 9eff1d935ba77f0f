//! Text of a file as UTF-8: without a byte order mark, and decoded if the mark says that it is UTF-16.
//!
//! Nothing is replaced: what is no character stays bytes that are not UTF-8, so that the reader behind this one judges
//! it.

use std::io::{self, Cursor, Read};

/// The bytes that are decoded at once.
const BLOCK_BYTES: u64 = 64 << 10;

/// Half of a code unit of UTF-16, at the end of a file, becomes this byte, which occurs in no UTF-8.
const HALF_UNIT: u8 = 0xff;

/// What the first bytes of a file say about its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    /// UTF-8, or anything without a mark: all bytes pass unchanged.
    Unchanged,
    Utf16(ByteOrder),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// Reads the text of a file as UTF-8.
pub(super) struct Utf8Reader<R> {
    reader: R,
    /// `None` before the first bytes are read.
    encoding: Option<Encoding>,
    /// Bytes that are not handed on yet.
    decoded: Cursor<Vec<u8>>,
    /// Bytes of UTF-16 whose character goes on in the next block.
    open: Vec<u8>,
}

impl<R: Read> Utf8Reader<R> {
    pub(super) fn new(reader: R) -> Utf8Reader<R> {
        Utf8Reader { reader, encoding: None, decoded: Cursor::default(), open: Vec::new() }
    }

    /// Whether a byte order mark says that the file is UTF-16. Known once something is read.
    pub(super) fn is_utf_16(&self) -> bool {
        matches!(self.encoding, Some(Encoding::Utf16(_)))
    }

    /// Reads the byte order mark, if there is one.
    fn recognise(&mut self) -> io::Result<Encoding> {
        let mut start = Vec::new();
        self.reader.by_ref().take(3).read_to_end(&mut start)?;
        let encoding = match start.as_slice() {
            [0xff, 0xfe, rest @ ..] => {
                self.open = rest.to_vec();
                Encoding::Utf16(ByteOrder::Little)
            }
            [0xfe, 0xff, rest @ ..] => {
                self.open = rest.to_vec();
                Encoding::Utf16(ByteOrder::Big)
            }
            [0xef, 0xbb, 0xbf] => Encoding::Unchanged,
            _ => {
                self.decoded = Cursor::new(start);
                Encoding::Unchanged
            }
        };
        self.encoding = Some(encoding);
        Ok(encoding)
    }

    /// Decodes the next block of UTF-16; `false` at the end of the file.
    fn decode(&mut self, order: ByteOrder) -> io::Result<bool> {
        let mut raw = std::mem::take(&mut self.open);
        let is_last = self.reader.by_ref().take(BLOCK_BYTES).read_to_end(&mut raw)? == 0;
        if raw.is_empty() {
            return Ok(false);
        }
        let (pairs, odd) = raw.as_chunks::<2>();
        // The second half of a pair may stand in the next block.
        let waits = !is_last && pairs.last().is_some_and(|pair| (0xd800..0xdc00).contains(&order.unit(*pair)));
        let complete = pairs.len() - usize::from(waits);
        let mut text = Vec::with_capacity(raw.len() * 3 / 2 + 1);
        for unit in char::decode_utf16(pairs.iter().take(complete).map(|pair| order.unit(*pair))) {
            match unit {
                Ok(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(half) => text.extend_from_slice(&bytes_of_half(half.unpaired_surrogate())),
            }
        }
        if is_last && !odd.is_empty() {
            text.push(HALF_UNIT);
        }
        if !is_last {
            self.open = raw.get(complete * 2..).unwrap_or_default().to_vec();
        }
        self.decoded = Cursor::new(text);
        Ok(true)
    }
}

/// Half of a surrogate pair as three bytes, in the way of UTF-8, which does not allow them. Two halves have different
/// bytes.
fn bytes_of_half(half: u16) -> [u8; 3] {
    let [_, middle] = (0x80 | ((half >> 6) & 0x3f)).to_be_bytes();
    let [_, last] = (0x80 | (half & 0x3f)).to_be_bytes();
    [0xed, middle, last]
}

impl<R: Read> Read for Utf8Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None => self.recognise()?,
        };
        loop {
            let read = self.decoded.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            match encoding {
                Encoding::Unchanged => return self.reader.read(buffer),
                Encoding::Utf16(order) if self.decode(order)? => {}
                Encoding::Utf16(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands on one byte at a time.
    struct Slow<'b>(&'b [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    fn read(bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        Utf8Reader::new(bytes).read_to_end(&mut text).unwrap();
        let mut slowly = Vec::new();
        Utf8Reader::new(Slow(bytes)).read_to_end(&mut slowly).unwrap();
        assert_eq!(text, slowly);
        text
    }

    fn utf_16(units: impl IntoIterator<Item = u16>, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
        std::iter::once(0xfeff).chain(units).flat_map(encode).collect()
    }

    #[test]
    fn a_mark_is_taken_off_and_other_bytes_pass_unchanged() {
        for text in ["", "a", "ab", "abc", "a\u{eb}\u{1f600}"] {
            assert_eq!(read(text.as_bytes()), text.as_bytes());
            assert_eq!(read(format!("\u{feff}{text}").as_bytes()), text.as_bytes());
            assert_eq!(read(&utf_16(text.encode_utf16(), u16::to_le_bytes)), text.as_bytes());
            assert_eq!(read(&utf_16(text.encode_utf16(), u16::to_be_bytes)), text.as_bytes());
        }
        assert_eq!(read(b"\xef\xbbM\xfcller"), b"\xef\xbbM\xfcller");
    }

    #[test]
    fn a_character_at_the_border_of_two_blocks_is_whole() {
        for before in 32 * 1024 - 3..32 * 1024 + 3 {
            let text = "x".repeat(before) + "\u{1f600}y";
            let mut decoded = String::new();
            Utf8Reader::new(utf_16(text.encode_utf16(), u16::to_le_bytes).as_slice()).read_to_string(&mut decoded).unwrap();
            assert!(decoded == text, "{before}");
        }
    }

    #[test]
    fn what_is_no_character_is_not_utf_8_and_stays_different() {
        let half = |unit: u16| read(&utf_16([0x61, unit, 0x62], u16::to_le_bytes));
        assert_eq!(half(0xd800), b"a\xed\xa0\x80b");
        assert_eq!(half(0xd801), b"a\xed\xa0\x81b");
        assert_eq!(half(0xdfff), b"a\xed\xbf\xbfb");
        assert!(std::str::from_utf8(&half(0xd800)).is_err());
        assert_eq!(read(b"\xff\xfea\0\0\xd8"), b"a\xed\xa0\x80", "the file ends with a half");
        assert_eq!(read(b"\xff\xfea\0b"), b"a\xff", "the file ends within a unit");
    }
}
