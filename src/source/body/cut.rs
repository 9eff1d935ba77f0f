//! Cuts a JSON body into the records of its list and the envelope around them, in one pass over its bytes.
//!
//! ```text
//! {"total":2,"orders":[{"id":1},{"id":2}]}   ->   records {"id":1} {"id":2}, envelope {"total":2,"orders":[]}
//! ```
//! Finds where records begin and end, in bodies in memory and in streams larger than memory. Does not check whether a
//! record is valid JSON: an invalid record does not affect its neighbours.

use std::ops::Range;

use super::node::Node;
use crate::model::FieldPath;

/// The keys of an object that may hold the list of records (contract, Orders: "Records of a body").
pub const RECORD_KEYS: [&str; 5] = ["data", "orders", "results", "items", "carts"];

/// The maximum bytes of a text or list in the envelope. A larger one is not kept, because it is not a URL, cursor or count.
const LARGEST_VALUE: usize = 64 << 10;

/// The maximum bytes of an object in the envelope, without its large texts and lists. It may have the signals of the next page, so a
/// larger one is marked as cut, and its absence is not taken for the end of a list.
const LARGEST_OBJECT: usize = 1 << 20;

/// The maximum bytes of an envelope. A larger one is an error.
const LARGEST_ENVELOPE: usize = 4 << 20;

/// The error for a closing bracket that does not match the open one.
const MISMATCH: &str = "brackets that do not match";

/// Replaces the text of a value that is too large to keep, and the content of such an object or array.
pub(in crate::source) const OVERSIZED: &str = "\u{0}";

/// Whether a value was too large to keep.
pub(in crate::source) fn is_cut(value: &Node) -> bool {
    match value {
        Node::Array(elements) => matches!(elements.as_slice(), [Node::Text(text)] if text == OVERSIZED),
        Node::Object(pairs) => pairs.iter().any(|(key, _)| key == OVERSIZED),
        Node::Text(text) => text == OVERSIZED,
        Node::Null | Node::Bool(_) | Node::Number(_) => false,
    }
}

/// Why a body can't be cut.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{detail} (line {line})")]
pub(in crate::source) struct CutError {
    /// The line, from 1.
    pub(in crate::source) line: u64,
    pub(in crate::source) detail: String,
}

/// The value at the place of the list of records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::source) enum List {
    /// No value, or a value that is neither a list nor null.
    #[default]
    Missing,
    /// Null instead of a list.
    Null,
    /// A list, at this key or path; empty for the body itself.
    Found(String),
}

/// A body without its records.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::source) struct Envelope {
    /// The body with an empty list.
    pub(in crate::source) root: Node,
    /// Where the records were found.
    pub(in crate::source) list: List,
    /// Another default key with a list that has elements; that list is not read.
    pub(in crate::source) other_list: Option<String>,
}

/// An open container of the envelope.
struct Frame {
    is_object: bool,
    /// Whether this is the list whose elements are records.
    is_list: bool,
    /// Whether the path of the records leads through this container.
    on_path: bool,
    /// The key of the current value.
    key: String,
    /// The index of the current value.
    index: usize,
    /// The offset in the envelope at which the content begins.
    content: usize,
}

/// What the cutter expects next, or is reading.
#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Text {
        escaped: bool,
        is_key: bool,
        start: usize,
    },
    Scalar {
        start: usize,
    },
    Colon,
    AfterValue,
    /// Inside a record that is an object, an array or a text.
    Element {
        in_text: bool,
        escaped: bool,
    },
    /// Inside a record that is a number or a word.
    ElementScalar,
    Done,
}

/// The outermost open containers that neither are the list of records nor lead to it: those within them are smaller.
#[derive(Clone, Copy, Default)]
struct Outermost {
    list: Option<usize>,
    object: Option<usize>,
}

impl Outermost {
    fn open(&mut self, index: usize, frame: &Frame) {
        if !frame.on_path && !frame.is_list {
            self.of(frame).get_or_insert(index);
        }
    }

    fn close(&mut self, index: usize, frame: &Frame) {
        let outermost = self.of(frame);
        if *outermost == Some(index) {
            *outermost = None;
        }
    }

    fn of(&mut self, frame: &Frame) -> &mut Option<usize> {
        if frame.is_object { &mut self.object } else { &mut self.list }
    }
}

/// Cuts one body. The caller feeds it in pieces, and keeps the bytes of a record that continues in the next piece.
pub(in crate::source) struct Cutter<'p> {
    records: Option<&'p FieldPath>,
    state: State,
    frames: Vec<Frame>,
    envelope: Vec<u8>,
    /// The index of the frame whose content is too large to keep, if any.
    unkept: Option<usize>,
    /// The indexes of the outermost open list and object that may be too large to keep.
    outermost: Outermost,
    /// The closing brackets that the current record still needs.
    closers: Vec<u8>,
    /// The offset of the current record; `None` if no record is open, or if its beginning was discarded.
    element: Option<usize>,
    list: List,
    list_len: u64,
    other_list: Option<String>,
    newlines: u64,
}

impl<'p> Cutter<'p> {
    /// A cutter for records at a path; without a path, [`RECORD_KEYS`] are tried.
    pub(in crate::source) fn new(records: Option<&'p FieldPath>) -> Cutter<'p> {
        Cutter {
            records,
            state: State::Value,
            frames: Vec::new(),
            envelope: Vec::new(),
            unkept: None,
            outermost: Outermost::default(),
            closers: Vec::new(),
            element: None,
            list: List::Missing,
            list_len: 0,
            other_list: None,
            newlines: 0,
        }
    }

    /// Scans `buffer` from `from` on, and adds the ranges of the records that end in it to `places`. Adds `None` for a record
    /// that was discarded with [`Cutter::discard_element`].
    ///
    /// # Errors
    /// Invalid JSON outside the records, or brackets that do not match.
    pub(in crate::source) fn feed(&mut self, buffer: &[u8], from: usize, places: &mut Vec<Option<Range<usize>>>) -> Result<(), CutError> {
        let mut at = from;
        while let Some(&byte) = buffer.get(at) {
            let step = match self.state {
                State::Element { in_text, escaped } => self.in_element(buffer, at, in_text, escaped, places).ok_or(MISMATCH),
                State::ElementScalar if !matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n') => Ok(at + 1),
                State::ElementScalar => {
                    self.end_element(at, places);
                    Ok(at)
                }
                _ => self.outside(byte, at),
            };
            at = step.map_err(|detail| self.error(buffer, from, at, detail))?;
        }
        self.newlines += memchr::memchr_iter(b'\n', buffer.get(from..).unwrap_or_default()).count() as u64;
        Ok(())
    }

    fn error(&self, buffer: &[u8], from: usize, at: usize, detail: &str) -> CutError {
        let before = buffer.get(from..at).unwrap_or_default();
        CutError { line: self.newlines + memchr::memchr_iter(b'\n', before).count() as u64 + 1, detail: detail.to_owned() }
    }

    /// The offset in the last buffer at which the open record begins.
    pub(in crate::source) fn open_element(&self) -> Option<usize> {
        self.element
    }

    /// Call this after removing the bytes before the open record from the buffer.
    pub(in crate::source) fn rebase_element(&mut self) {
        self.element = self.element.map(|_| 0);
    }

    /// Discards the open record, which is too large to keep. The cutter still finds its end.
    pub(in crate::source) fn discard_element(&mut self) {
        self.element = None;
    }

    /// Whether the body begins as an object.
    pub(in crate::source) fn is_object(&self) -> bool {
        self.envelope.first() == Some(&b'{')
    }

    /// The part of the envelope before the list that is being read; `None` if no list is being read.
    pub(in crate::source) fn envelope_so_far(&self) -> Option<Envelope> {
        if !self.frames.last().is_some_and(|frame| frame.is_list) {
            return None;
        }
        let mut text = self.envelope.clone();
        text.extend(self.frames.iter().rev().map(|frame| if frame.is_object { b'}' } else { b']' }));
        let root = Node::parse(&String::from_utf8_lossy(&text)).ok()?;
        Some(Envelope { root, list: self.list.clone(), other_list: None })
    }

    /// The envelope, at the end of the body; `None` if the body has only white space.
    ///
    /// # Errors
    /// A body that ends early, or an envelope that is not JSON.
    pub(in crate::source) fn finish(self) -> Result<Option<Envelope>, CutError> {
        let failed = |detail: &str| CutError { line: self.newlines + 1, detail: detail.to_owned() };
        match self.state {
            State::Done => {}
            // A number or a word that is the whole body ends with it.
            State::Scalar { .. } if self.frames.is_empty() => {}
            State::Value if self.frames.is_empty() && self.envelope.is_empty() => return Ok(None),
            _ => return Err(failed("the JSON ends early")),
        }
        let root = Node::parse(&String::from_utf8_lossy(&self.envelope)).map_err(|error| failed(&error))?;
        // The body `null` counts as null instead of a list.
        let is_root = self.records.is_none_or(|path| path.steps().is_empty());
        let list = if self.list == List::Missing && is_root && root == Node::Null { List::Null } else { self.list };
        Ok(Some(Envelope { root, list, other_list: self.other_list }))
    }

    /// Reads one byte of the envelope and returns the offset of the next one.
    fn outside(&mut self, byte: u8, at: usize) -> Result<usize, &'static str> {
        match self.state {
            State::Text { escaped, is_key, start } => return self.in_text(byte, escaped, is_key, start).map(|()| at + 1),
            State::Scalar { start } => match byte {
                b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n' => {
                    self.end_scalar(start);
                    return Ok(at);
                }
                b'"' | b'{' | b'[' | b':' => return Err("not valid JSON"),
                _ => {
                    self.keep(byte)?;
                    return Ok(at + 1);
                }
            },
            _ if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => return Ok(at + 1),
            _ => {}
        }
        match (self.state, byte) {
            (State::ValueOrEnd, b']') | (State::KeyOrEnd, b'}') => self.close(byte)?,
            (State::Value | State::ValueOrEnd, _) if self.frames.last().is_some_and(|frame| frame.is_list) => {
                self.begin_element(byte, at)?;
            }
            (State::Value | State::ValueOrEnd, _) => self.begin_value(byte)?,
            (State::Key | State::KeyOrEnd, b'"') => {
                self.keep(byte)?;
                self.state = State::Text { escaped: false, is_key: true, start: self.envelope.len() };
            }
            (State::Colon, b':') => {
                self.keep(byte)?;
                self.state = State::Value;
            }
            (State::AfterValue, b',') => self.next_value()?,
            (State::AfterValue, b'}' | b']') => self.close(byte)?,
            (State::Done, _) => return Err("there is text after the end of the JSON"),
            _ => return Err("not valid JSON"),
        }
        Ok(at + 1)
    }

    fn in_text(&mut self, byte: u8, escaped: bool, is_key: bool, start: usize) -> Result<(), &'static str> {
        if byte == b'"' && !escaped {
            if self.envelope.len().saturating_sub(start) >= LARGEST_VALUE {
                self.envelope.truncate(start);
                self.envelope.extend_from_slice(b"\\u0000");
            }
            if is_key {
                self.take_key(start);
                self.state = State::Colon;
            } else {
                self.state = State::AfterValue;
            }
            self.keep(byte)?;
            self.end_value();
            return Ok(());
        }
        self.state = State::Text { escaped: byte == b'\\' && !escaped, is_key, start };
        if self.envelope.len().saturating_sub(start) < LARGEST_VALUE { self.keep(byte) } else { Ok(()) }
    }

    fn take_key(&mut self, start: usize) {
        let raw = self.envelope.get(start..).unwrap_or_default();
        let quoted = [b"\"", raw, b"\""].concat();
        let key = serde_json::from_slice(&quoted).unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned());
        if let Some(frame) = self.frames.last_mut() {
            frame.key = key;
        }
    }

    /// Keeps a byte of the envelope, unless it is inside a container that is too large to keep.
    fn keep(&mut self, byte: u8) -> Result<(), &'static str> {
        if self.unkept.is_some() {
            return Ok(());
        }
        self.envelope.push(byte);
        for (place, largest) in [(self.outermost.list, LARGEST_VALUE), (self.outermost.object, LARGEST_OBJECT)] {
            if let Some(place) = place
                && let Some(frame) = self.frames.get(place)
                && self.envelope.len().saturating_sub(frame.content) > largest
            {
                self.envelope.truncate(frame.content);
                self.unkept = Some(place);
            }
        }
        if self.envelope.len() > LARGEST_ENVELOPE { Err("the JSON around the records is larger than 4 MiB") } else { Ok(()) }
    }

    /// Whether the current value is at the place of the list of records.
    fn is_list_place(&self) -> bool {
        match self.records {
            Some(path) => self.is_on_path() && self.frames.len() == path.steps().len() && self.list == List::Missing,
            None => match self.frames.as_slice() {
                [] => true,
                [root] => root.is_object && RECORD_KEYS.contains(&root.key.as_str()),
                _ => false,
            },
        }
    }

    /// Whether the path of the records leads to the current value, or through it.
    fn is_on_path(&self) -> bool {
        let Some(path) = self.records else { return self.frames.is_empty() };
        let Some(frame) = self.frames.last() else { return true };
        let Some(step) = path.steps().get(self.frames.len() - 1) else { return false };
        frame.on_path && if frame.is_object { frame.key == *step } else { *step == frame.index.to_string() }
    }

    fn begin_value(&mut self, byte: u8) -> Result<(), &'static str> {
        match byte {
            b'{' | b'[' => {
                let on_path = self.is_on_path();
                if byte == b'[' && self.is_second_list() {
                    return Err("the key of the list of records occurs twice");
                }
                let is_list = byte == b'[' && self.is_list_place() && self.takes_list();
                self.keep(byte)?;
                let content = self.envelope.len();
                let is_object = byte == b'{';
                let frame = Frame { is_object, is_list, on_path, key: String::new(), index: 0, content };
                self.outermost.open(self.frames.len(), &frame);
                self.frames.push(frame);
                self.state = if is_object { State::KeyOrEnd } else { State::ValueOrEnd };
            }
            b'"' => {
                self.keep(byte)?;
                self.state = State::Text { escaped: false, is_key: false, start: self.envelope.len() };
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.state = State::Scalar { start: self.envelope.len() };
                self.keep(byte)?;
            }
            _ => return Err("not valid JSON"),
        }
        Ok(())
    }

    /// Whether the key of a list that was already read occurs again. The second list would replace the first one, whose
    /// records were already passed on.
    fn is_second_list(&self) -> bool {
        let List::Found(name) = &self.list else { return false };
        self.list_len > 0
            && match (self.records, self.frames.as_slice()) {
                (Some(path), frames) => self.is_on_path() && !frames.is_empty() && frames.len() == path.steps().len(),
                (None, [root]) => root.is_object && root.key == *name,
                (None, _) => false,
            }
    }

    /// Whether the elements of the list that begins here are records: true unless an earlier list had elements.
    fn takes_list(&mut self) -> bool {
        if self.list_len > 0 {
            return false;
        }
        self.list = List::Found(match (self.records, self.frames.first()) {
            (Some(path), _) if !path.steps().is_empty() => path.to_string(),
            (None, Some(root)) => root.key.clone(),
            _ => String::new(),
        });
        true
    }

    fn end_scalar(&mut self, start: usize) {
        let is_null = self.envelope.get(start..) == Some(b"null".as_slice());
        if is_null && !self.frames.is_empty() && self.is_list_place() && self.list == List::Missing {
            self.list = List::Null;
        }
        self.state = if self.frames.is_empty() { State::Done } else { State::AfterValue };
    }

    /// Called after a text or a container of the envelope.
    fn end_value(&mut self) {
        if self.frames.is_empty() && self.state == State::AfterValue {
            self.state = State::Done;
        }
    }

    fn next_value(&mut self) -> Result<(), &'static str> {
        let Some(frame) = self.frames.last_mut() else { return Err("not valid JSON") };
        frame.index += 1;
        self.state = if frame.is_object { State::Key } else { State::Value };
        if frame.is_list {
            return Ok(());
        }
        self.keep(b',')
    }

    fn close(&mut self, byte: u8) -> Result<(), &'static str> {
        let Some(frame) = self.frames.pop() else { return Err(MISMATCH) };
        if frame.is_object != (byte == b'}') {
            return Err(MISMATCH);
        }
        self.outermost.close(self.frames.len(), &frame);
        let is_unkept = self.unkept == Some(self.frames.len());
        if is_unkept {
            self.unkept = None;
            let mark: &[u8] = if frame.is_object { br#""\u0000":"\u0000""# } else { br#""\u0000""# };
            self.envelope.extend_from_slice(mark);
        }
        let has_elements = is_unkept || self.envelope.len() > frame.content;
        if has_elements && !frame.is_list && !frame.is_object && self.list_len > 0 && self.records.is_none() && self.is_list_place() {
            self.other_list = self.frames.last().map(|root| root.key.clone());
        }
        self.keep(byte)?;
        self.state = State::AfterValue;
        self.end_value();
        Ok(())
    }

    fn begin_element(&mut self, byte: u8, at: usize) -> Result<(), &'static str> {
        self.element = Some(at);
        self.closers.clear();
        self.state = match byte {
            b'{' | b'[' => {
                self.closers.push(if byte == b'{' { b'}' } else { b']' });
                State::Element { in_text: false, escaped: false }
            }
            b'"' => State::Element { in_text: true, escaped: false },
            b',' | b']' | b'}' | b':' => return Err("not valid JSON"),
            _ => State::ElementScalar,
        };
        Ok(())
    }

    fn end_element(&mut self, end: usize, places: &mut Vec<Option<Range<usize>>>) {
        places.push(self.element.take().map(|start| start..end));
        self.list_len += 1;
        self.state = State::AfterValue;
    }

    /// Continues inside a record. Returns the offset after the bytes read, or `None` if a bracket does not match.
    fn in_element(
        &mut self,
        buffer: &[u8],
        mut at: usize,
        mut in_text: bool,
        escaped: bool,
        places: &mut Vec<Option<Range<usize>>>,
    ) -> Option<usize> {
        if escaped {
            at += 1;
        }
        loop {
            if in_text {
                match memchr::memchr2(b'"', b'\\', buffer.get(at..).unwrap_or_default()) {
                    None => break,
                    Some(found) => at += found,
                }
                if buffer.get(at) == Some(&b'\\') {
                    if at + 1 >= buffer.len() {
                        self.state = State::Element { in_text, escaped: true };
                        return Some(buffer.len());
                    }
                    at += 2;
                    continue;
                }
                at += 1;
                in_text = false;
                if self.closers.is_empty() {
                    self.end_element(at, places);
                    return Some(at);
                }
                continue;
            }
            let Some(found) = buffer.get(at..).unwrap_or_default().iter().position(|&byte| IS_STRUCTURE[usize::from(byte)]) else { break };
            at += found + 1;
            match buffer.get(at - 1) {
                Some(b'"') => in_text = true,
                Some(b'{') => self.closers.push(b'}'),
                Some(b'[') => self.closers.push(b']'),
                closer => {
                    if self.closers.pop().as_ref() != closer {
                        return None;
                    }
                    if self.closers.is_empty() {
                        self.end_element(at, places);
                        return Some(at);
                    }
                }
            }
        }
        self.state = State::Element { in_text, escaped: false };
        Some(buffer.len())
    }
}

/// The bytes that open or close a text, object or array.
static IS_STRUCTURE: [bool; 256] = {
    let mut table = [false; 256];
    table[b'"' as usize] = true;
    table[b'{' as usize] = true;
    table[b'}' as usize] = true;
    table[b'[' as usize] = true;
    table[b']' as usize] = true;
    table
};

/// The parts of a whole body.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::source) struct CutBody {
    /// The byte range of each record.
    pub(in crate::source) places: Vec<Range<usize>>,
    /// The body without the records.
    pub(in crate::source) envelope: Envelope,
}

/// Cuts a whole body in memory; `None` if it has only white space.
///
/// # Errors
/// Invalid JSON outside the records.
pub(in crate::source) fn cut(body: &[u8], records: Option<&FieldPath>) -> Result<Option<CutBody>, CutError> {
    let mut cutter = Cutter::new(records);
    let mut places = Vec::new();
    cutter.feed(body, 0, &mut places)?;
    Ok(cutter.finish()?.map(|envelope| CutBody { places: places.into_iter().flatten().collect(), envelope }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_text(body: &str, path: Option<&str>) -> Result<(Vec<String>, Envelope), CutError> {
        let path = path.map(|path| if path == "." { FieldPath::root() } else { path.parse().unwrap() });
        let CutBody { places, envelope } = cut(body.as_bytes(), path.as_ref())?.unwrap();
        Ok((places.into_iter().map(|place| body[place].to_owned()).collect(), envelope))
    }

    #[test]
    fn a_very_long_error_value_is_still_an_error() {
        let long = "x".repeat(70_000);
        for error in [
            format!("\"{long}\""),
            format!("{{\"message\":\"{long}\"}}"),
            format!("[\"{long}\"]"),
            format!("[{}]", "{\"m\":1},".repeat(20_000).trim_end_matches(',')),
        ] {
            let body = format!("{{\"error\":{error},\"orders\":[]}}");
            let envelope = cut(body.as_bytes(), None).unwrap().unwrap().envelope;
            assert!(super::super::reported_error(&envelope.root).is_some(), "{}", error.len());
        }
    }

    #[test]
    fn a_large_list_is_cut_and_not_the_object_around_it() {
        let hrefs = vec![r#"{"href":"https://h/orders/1"}"#; 5000].join(",");
        let texts = vec![r#""f""#; 40_000].join(",");
        for body in [
            format!(r#"{{"_links":{{"item":[{hrefs}],"next":{{"href":"/p2"}}}},"orders":[1]}}"#),
            format!(r#"{{"orders":[1],"_links":{{"next":{{"href":"/p2"}},"a":{{"facets":[{texts}]}},"b":[{texts}]}}}}"#),
        ] {
            let (records, envelope) = cut_text(&body, None).unwrap();
            let next = "_links.next.href".parse().unwrap();
            assert_eq!((records.len(), envelope.root.at(&next)), (1, Some(&Node::Text("/p2".into()))));
            assert!(!is_cut(envelope.root.get("_links").unwrap()));
        }
        let many: Vec<String> = (0..60_000).map(|number| format!(r#""key-{number}":{{"n":{number}}}"#)).collect();
        let body = format!(r#"{{"meta":{{{},"next":"/p2"}},"orders":[1],"total":7}}"#, many.join(","));
        let root = cut_text(&body, None).unwrap().1.root;
        assert!(is_cut(root.get("meta").unwrap()) && root.get("total") == Some(&Node::Number("7".into())));
    }

    #[test]
    fn two_lists_under_the_same_key_are_an_error() {
        let detail = |body: &str, records: Option<&str>| {
            let records = records.map(|path| path.parse().unwrap());
            cut(body.as_bytes(), records.as_ref()).map(drop).map_err(|error| error.detail)
        };
        let twice = Err("the key of the list of records occurs twice".to_owned());
        assert_eq!(detail(r#"{"orders":[1],"orders":[2]}"#, None), twice);
        assert_eq!(detail(r#"{"a":{"b":[1],"b":[2]}}"#, Some("a.b")), twice);
        assert_eq!(detail(r#"{"orders":[],"orders":[2],"items":[3]}"#, None), Ok(()));
        assert_eq!(detail(r#"{"a":{"b":[[1],[2]]}}"#, Some("a.b")), Ok(()));
    }

    #[test]
    fn the_records_are_the_body_or_the_first_list_with_elements_under_a_known_key() {
        for (body, expected, at) in [
            (r#"[{"a": 1}, 2, "x,]", [3]]"#, vec![r#"{"a": 1}"#, "2", r#""x,]""#, "[3]"], ""),
            (r#"{"total":2,"data":[1]}"#, vec!["1"], "data"),
            (r#"{"results":[2],"data":[1]}"#, vec!["2"], "results"),
            (r#"{"data":{"x":[9]},"orders":[3]}"#, vec!["3"], "orders"),
            (r#"{"data":null,"orders":[3,4]}"#, vec!["3", "4"], "orders"),
            (r#"{"data":[],"orders":[3]}"#, vec!["3"], "orders"),
            (r#"{"carts":[ ]}"#, vec![], "carts"),
            (r#"{"orders":[{"t":"a\"]}\\"},{"u":[{}]}]}"#, vec![r#"{"t":"a\"]}\\"}"#, r#"{"u":[{}]}"#], "orders"),
        ] {
            let (records, envelope) = cut_text(body, None).unwrap();
            assert_eq!((records, envelope.list), (expected.into_iter().map(str::to_owned).collect(), List::Found(at.to_owned())), "{body}");
        }
        assert_eq!(cut_text(r#"{"items":null}"#, None).unwrap().1.list, List::Null);
        assert_eq!(cut_text("null", None).unwrap().1.list, List::Null);
        assert_eq!(cut_text(r#"{"error":"no","data":"none"}"#, None).unwrap().1.list, List::Missing);
        assert_eq!(cut_text(r#"{"items":[1],"orders":[2]}"#, None).unwrap().1.other_list.as_deref(), Some("orders"));
        assert!(cut(b" \n", None).unwrap().is_none());
    }

    #[test]
    fn a_path_selects_one_list_and_no_other() {
        let at = |body: &str, path: &str| {
            let (records, envelope) = cut_text(body, Some(path)).unwrap();
            matches!(envelope.list, List::Found(_)).then_some(records.len())
        };
        assert_eq!(at(r#"{"a":{"b":[1,2]},"data":[1]}"#, "a.b"), Some(2));
        assert_eq!(at(r#"[[1],[1,2,3]]"#, "1"), Some(3));
        assert_eq!(at("[1]", "."), Some(1));
        assert_eq!(at(r#"{"data":[1]}"#, "orders"), None);
        assert_eq!(at(r#"{"orders":{"x":1}}"#, "orders"), None);
        assert_eq!(at(r#"{"x":{"orders":[1]}}"#, "orders"), None);
    }

    #[test]
    fn the_envelope_keeps_everything_except_records_and_values_that_are_too_large() {
        let log = format!("[{}1]", "1,".repeat(100_000));
        let body = format!(r#"{{"log":{log},"next":"/p2","orders":[{{"x":1}}],"deep":{{"a":[1,{{"b":12345678901234567890123}}]}}}}"#);
        let (records, envelope) = cut_text(&body, None).unwrap();
        assert_eq!(records, [r#"{"x":1}"#]);
        let root = envelope.root;
        assert_eq!(root.get("log"), Some(&Node::Array(vec![Node::Text(OVERSIZED.into())])), "its values are not kept");
        assert_eq!(root.get("next"), Some(&Node::Text("/p2".into())));
        assert_eq!(root.get("orders"), Some(&Node::Array(Vec::new())));
        assert_eq!(root.at(&"deep.a.1.b".parse().unwrap()), Some(&Node::Number("12345678901234567890123".into())));
        let long = format!(r#"{{"next":"{}","orders":[]}}"#, "x".repeat(1 << 20));
        assert_eq!(cut_text(&long, None).unwrap().1.root.get("next"), Some(&Node::Text(OVERSIZED.into())));
    }

    #[test]
    fn invalid_json_around_the_records_is_an_error_with_its_line() {
        for (body, line) in [
            ("[{\"a\":1},\n{\"a\"]", 2),
            ("[1,]", 1),
            ("[1 2]", 1),
            ("{\"a\":1,}", 1),
            ("{\"a\" 1}", 1),
            ("<html>", 1),
            ("[1]\n\nx", 3),
            ("[{\"a\":1}", 1),
            ("{\"orders\":[{\"a\":1}]", 1),
            ("{\"a\":tru}", 1),
            ("]", 1),
        ] {
            assert_eq!(cut_text(body, None).map(drop).unwrap_err().line, line, "{body}");
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same_records() {
        let body = r#" {"total": 3, "orders": [ {"t":"a\"]}\\"}, "x\\", 17 ,[{"u":"é"}], null], "next": "/p\"2"} "#;
        let whole = cut_text(body, None).unwrap();
        for size in 1..body.len() {
            let mut cutter = Cutter::new(None);
            let mut records = Vec::new();
            let mut buffer = Vec::new();
            for piece in body.as_bytes().chunks(size) {
                let from = buffer.len();
                buffer.extend_from_slice(piece);
                let mut places = Vec::new();
                cutter.feed(&buffer, from, &mut places).unwrap();
                records.extend(places.into_iter().map(|place| String::from_utf8(buffer[place.unwrap()].to_vec()).unwrap()));
                let open = cutter.open_element().unwrap_or(buffer.len());
                buffer.drain(..open);
                cutter.rebase_element();
            }
            assert_eq!((records, cutter.finish().unwrap().unwrap()), whole, "{size}");
        }
    }

    #[test]
    fn a_discarded_record_has_no_range() {
        let mut cutter = Cutter::new(None);
        let mut places = Vec::new();
        cutter.feed(b"[{\"a\":\"xxxx", 0, &mut places).unwrap();
        assert_eq!(cutter.open_element(), Some(1));
        cutter.discard_element();
        cutter.feed(b"yyy\"},{\"b\":1}]", 0, &mut places).unwrap();
        assert_eq!(places, [None, Some(6..13)]);
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(proptest::sample::select(b"[]{}\",:\\ 1n\nx".to_vec()), 0..40)) {
            let _ = cut(&body, None);
        }
    }
}
