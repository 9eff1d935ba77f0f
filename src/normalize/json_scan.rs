//! A scanner over the bytes of one JSON value (RFC 8259): tells where the values of an object or a list begin and end. It reads each
//! byte once, and fails where the text is no JSON.
//!
//! Interprets neither keys nor values: a number may have any size, and an escape may be half of a surrogate pair. Takes texts that are
//! UTF-8 already.

use std::borrow::Cow;

use serde::de::Deserializer as _;

/// The text is no JSON from here on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotJson;

/// A place in a JSON text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The objects and lists around the place, while a value that nobody reads is passed.
    open: Vec<Container>,
}

/// What holds values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    List,
}

/// A key as it is written, without its quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WrittenKey<'a> {
    raw: &'a str,
    escapes: Escapes,
}

/// Whether a text has escapes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Escapes {
    None,
    Some,
}

impl<'a> WrittenKey<'a> {
    /// The key. Half of a surrogate pair stays as it is: bytes that no text has.
    #[inline]
    pub(super) fn bytes(self) -> Cow<'a, [u8]> {
        match self.escapes {
            Escapes::None => Cow::Borrowed(self.raw.as_bytes()),
            Escapes::Some => Cow::Owned(self.unescaped()),
        }
    }

    /// The key, if it has no escapes.
    pub(super) fn plain(self) -> Option<&'a str> {
        (self.escapes == Escapes::None).then_some(self.raw)
    }

    fn unescaped(self) -> Vec<u8> {
        let quoted = format!("\"{}\"", self.raw);
        serde_json::Deserializer::from_str(&quoted).deserialize_byte_buf(KeyBytes).unwrap_or_default()
    }
}

/// Takes the bytes of a text.
struct KeyBytes;

impl serde::de::Visitor<'_> for KeyBytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Vec<u8>, E> {
        Ok(key.to_owned())
    }
}

impl<'a> Scanner<'a> {
    /// A scanner at the beginning of a text.
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0, open: Vec::new() }
    }

    /// The first byte of the value that follows; `None` at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.pass_space();
        self.byte()
    }

    /// The place of the value that follows, to be given to [`Scanner::since`].
    #[inline]
    pub(super) fn start(&mut self) -> usize {
        self.pass_space();
        self.at
    }

    /// The text between an earlier place and this one.
    pub(super) fn since(&self, place: usize) -> &'a str {
        self.text.get(place..self.at).unwrap_or_default()
    }

    /// Whether nothing but space follows.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Passes a value, and returns its text.
    ///
    /// # Errors
    /// There is no whole value.
    #[inline]
    pub(super) fn value(&mut self) -> Result<&'a str, NotJson> {
        let start = self.start();
        self.pass()?;
        Ok(self.since(start))
    }

    /// Calls `take` for each member of the object that begins here. It passes the key and the value.
    ///
    /// # Errors
    /// This is no whole object; what `take` says.
    #[inline]
    pub(super) fn members(&mut self, mut take: impl FnMut(&mut Self) -> Result<(), NotJson>) -> Result<(), NotJson> {
        if !self.opens(b'{', b'}')? {
            return Ok(());
        }
        loop {
            take(self)?;
            if !self.goes_on(b'}')? {
                return Ok(());
            }
        }
    }

    /// Calls `take` with the index of each element of the list that begins here. It passes the element.
    ///
    /// # Errors
    /// This is no whole list; what `take` says.
    #[inline]
    pub(super) fn elements(&mut self, mut take: impl FnMut(&mut Self, usize) -> Result<(), NotJson>) -> Result<(), NotJson> {
        if !self.opens(b'[', b']')? {
            return Ok(());
        }
        for index in 0.. {
            take(self, index)?;
            if !self.goes_on(b']')? {
                break;
            }
        }
        Ok(())
    }

    /// Passes a value. Its depth is no limit: what is open is counted here, and not by calls.
    ///
    /// # Errors
    /// There is no whole value.
    pub(super) fn pass(&mut self) -> Result<(), NotJson> {
        self.open.clear();
        loop {
            if let Some(container) = self.enter_or_pass()? {
                self.open.push(container);
                continue;
            }
            loop {
                let Some(container) = self.open.last() else { return Ok(()) };
                let goes_on = match container {
                    Container::Object => self.goes_on(b'}')? && self.key().map(|_| true)?,
                    Container::List => self.goes_on(b']')?,
                };
                if goes_on {
                    break;
                }
                self.open.pop();
            }
        }
    }

    /// Passes a value that holds no others. Enters an object or a list that does, up to its first value, and returns what it is.
    #[inline]
    fn enter_or_pass(&mut self) -> Result<Option<Container>, NotJson> {
        match self.peek().ok_or(NotJson)? {
            b'"' => self.quoted().map(|_| None),
            b'{' => {
                let has_members = self.opens(b'{', b'}')?;
                if has_members { self.key().map(|_| Some(Container::Object)) } else { Ok(None) }
            }
            b'[' => Ok(self.opens(b'[', b']')?.then_some(Container::List)),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number().map(|()| None),
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn pass_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() != Some(byte) {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Passes the beginning of an object or a list; `false` if it is empty, and passed as well.
    #[inline]
    fn opens(&mut self, begin: u8, end: u8) -> Result<bool, NotJson> {
        self.expect(begin)?;
        let is_empty = self.peek() == Some(end);
        self.at += usize::from(is_empty);
        Ok(!is_empty)
    }

    /// After a value: passes the comma before the next one, or the end; `false` at the end.
    #[inline]
    fn goes_on(&mut self, end: u8) -> Result<bool, NotJson> {
        let byte = self.peek().ok_or(NotJson)?;
        self.at += 1;
        match byte {
            b',' => Ok(true),
            byte if byte == end => Ok(false),
            _ => Err(NotJson),
        }
    }

    /// Passes what follows, if it is this text.
    #[inline]
    pub(super) fn passes(&mut self, text: &str) -> bool {
        self.pass_space();
        let follows = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(text.as_bytes()));
        self.at += if follows { text.len() } else { 0 };
        follows
    }

    /// Passes a key and its colon.
    ///
    /// # Errors
    /// There is no key.
    #[inline]
    pub(super) fn key(&mut self) -> Result<WrittenKey<'a>, NotJson> {
        if self.peek() != Some(b'"') {
            return Err(NotJson);
        }
        let start = self.at + 1;
        let escapes = self.quoted()?;
        let raw = self.text.get(start..self.at - 1).ok_or(NotJson)?;
        self.expect(b':')?;
        Ok(WrittenKey { raw, escapes })
    }

    fn word(&mut self, word: &str) -> Result<Option<Container>, NotJson> {
        if self.passes(word) { Ok(None) } else { Err(NotJson) }
    }

    /// Passes a text, and says whether it has escapes.
    #[inline]
    fn quoted(&mut self) -> Result<Escapes, NotJson> {
        self.at += 1;
        let mut escapes = Escapes::None;
        loop {
            let rest = self.text.as_bytes().get(self.at..).ok_or(NotJson)?;
            self.at += plain_bytes(rest);
            match self.byte().ok_or(NotJson)? {
                b'"' => break,
                b'\\' => {
                    escapes = Escapes::Some;
                    self.escape()?;
                }
                0..0x20 => return Err(NotJson),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Ok(escapes)
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        self.at += match rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', digits @ ..] if digits.len() >= 4 && digits.iter().take(4).all(u8::is_ascii_hexdigit) => 6,
            _ => return Err(NotJson),
        };
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(NotJson) } else { Ok(()) }
    }

    #[inline]
    fn number(&mut self) -> Result<(), NotJson> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }
}

/// How many bytes of a text come before one that may end it: a quote, a backslash, a control character. Looks at eight at once, and may
/// stop at a byte that is none of these, where fewer are left.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // The high bit of a byte that is zero, and of some after it: the first one is right.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut passed = 0;
    for chunk in bytes.chunks_exact(8) {
        let Ok(chunk) = <[u8; 8]>::try_from(chunk) else { break };
        let word = u64::from_le_bytes(chunk);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\'))) | controls;
        if found != 0 {
            return passed + (found.trailing_zeros() / 8) as usize;
        }
        passed += 8;
    }
    passed
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    /// What `serde_json` takes for one value.
    fn is_json(text: &str) -> bool {
        serde_json::from_str::<&RawValue>(text).is_ok()
    }

    fn passes(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.pass().is_ok() && scanner.is_at_end()
    }

    /// Passes a value as one who reads all of it: each object and each list is entered.
    fn enters(text: &str) -> bool {
        fn enter(scanner: &mut Scanner<'_>) -> Result<(), NotJson> {
            match scanner.peek() {
                Some(b'{') => scanner.members(|scanner| scanner.key().and_then(|_| enter(scanner))),
                Some(b'[') => scanner.elements(|scanner, _| enter(scanner)),
                _ => scanner.pass(),
            }
        }
        let mut scanner = Scanner::new(text);
        enter(&mut scanner).is_ok() && scanner.is_at_end()
    }

    #[test]
    fn it_takes_what_serde_json_takes() {
        let texts = [
            r#"{"a":1,"b":[true,false,null],"c":{"d":"e"}}"#,
            " [ ] ",
            "{ }",
            r#"{"a" : [ 1 , 2 ] }"#,
            "-0.5e+10",
            "1E400",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "[1,]",
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{a:1}"#,
            "[1 2]",
            "[1",
            r#"{"a":1"#,
            "\"a",
            r#""\u12g4""#,
            r#""\ud800""#,
            r#""\x""#,
            "\"a\u{1}b\"",
            "\"12345678\u{1f}\"",
            "\"tab\tinside\"",
            "nul",
            "nulll",
            "true false",
            "",
            " ",
            "\u{feff}{}",
            "]",
            "}",
            "[}",
            "{]",
            r#""äöü 😀 \" \\ \/ \b\f\n\r\t A""#,
            "\u{a0}1",
            r#"{"1234567\"":1}"#,
            "\"\u{7f}\u{80}\"",
        ];
        for text in texts {
            assert_eq!((passes(text), enters(text)), (is_json(text), is_json(text)), "{text}");
        }
        assert!(passes(&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000))), "no depth is too much for what nobody reads");
    }

    #[test]
    fn it_takes_what_serde_json_takes_of_damaged_records() {
        let record = r#"{"id":"A-1\n","n":-1.25e3,"lines":[{"sku":"é\u00e9","q":[1,2,{}]},{"x":null,"y":true}],"":""} "#;
        let bytes: Vec<char> = record.chars().collect();
        let other: Vec<char> = "{}[]\":,\\ue1.-+0tfn \u{0}é".chars().collect();
        let (mut seed, mut taken) = (7_u64, 0);
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((seed >> 33) % below as u64).unwrap()
        };
        for _ in 0..60_000 {
            let mut damaged = bytes.clone();
            for _ in 0..=random(2) {
                let place = random(damaged.len());
                match random(3) {
                    0 => drop(damaged.remove(place)),
                    1 => damaged.insert(place, other[random(other.len())]),
                    _ => damaged[place] = other[random(other.len())],
                }
            }
            let text: String = damaged.into_iter().collect();
            taken += usize::from(is_json(&text));
            assert_eq!((passes(&text), enters(&text)), (is_json(&text), is_json(&text)), "{text}");
        }
        assert!(taken > 10_000, "{taken}");
    }

    #[test]
    fn values_are_their_texts_and_keys_lose_their_escapes() {
        let mut scanner = Scanner::new(r#" {"a\u0062": [1, "]"] , "\ud800" : -1.50e2,"c":"x\"y"} "#);
        let mut found = Vec::new();
        scanner
            .members(|scanner| {
                found.push((scanner.key()?.bytes().into_owned(), scanner.value()?));
                Ok(())
            })
            .unwrap();
        assert!(scanner.is_at_end());
        let expected = [(&b"ab"[..], r#"[1, "]"]"#), (&b"\xed\xa0\x80"[..], "-1.50e2"), (&b"c"[..], r#""x\"y""#)];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value)));
    }
}
