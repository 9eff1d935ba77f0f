//! The order in which the keys of an object came so far. Most records of a source have the same keys in the same order: the next key is
//! compared with one text, and neither scanned nor looked up.
//!
//! Only saves time: what is found is what [`Node::place`] says of the key.

use super::{
    fields::Node,
    json_scan::{NotJson, Scanner, WrittenKey},
};

/// The keys that are remembered of an object. An object with more is a map, whose keys hardly come again.
const MOST_KEYS: usize = 128;

/// How many keys may be left out between two that came one after the other before.
const MOST_LEFT_OUT: usize = 16;

/// The order of the keys of the objects at one node, and at those within it.
#[derive(Default)]
pub(super) struct KeyOrder {
    keys: Vec<KnownKey>,
    /// By the places of the node's children.
    inner: Vec<KeyOrder>,
}

/// A key that came before.
struct KnownKey {
    /// The key with its quotes and its colon.
    written: Box<str>,
    /// The place of the child that it leads to, if it is captured.
    child: Option<usize>,
}

impl KnownKey {
    fn is(&self, raw: &str) -> bool {
        self.written.get(1..self.written.len() - 2) == Some(raw)
    }
}

impl KeyOrder {
    /// The order of the keys within a child.
    #[inline]
    pub(super) fn of_child(&mut self, place: usize) -> &mut KeyOrder {
        if place >= self.inner.len() {
            self.inner.resize_with(place + 1, KeyOrder::default);
        }
        &mut self.inner[place]
    }

    /// Passes a key and its colon. `next` is the place of the key that is expected: 0 at the beginning of an object. Returns the place
    /// of the child that the key leads to.
    #[inline]
    pub(super) fn pass_key<'a>(&mut self, scanner: &mut Scanner<'a>, node: &Node, next: &mut usize) -> Result<Option<usize>, NotJson> {
        if let Some(expected) = self.keys.get(*next).filter(|expected| scanner.passes(&expected.written)) {
            *next += 1;
            return Ok(expected.child);
        }
        let key = scanner.key()?;
        let child = node.place(&key.bytes());
        *next = self.place_after(key, child, *next);
        Ok(child)
    }

    /// The place after a key that was not expected. Remembers the key, where it is new here.
    #[cold]
    fn place_after(&mut self, key: WrittenKey<'_>, child: Option<usize>, expected: usize) -> usize {
        let Some(raw) = key.plain() else { return expected };
        let ahead = self.keys.iter().skip(expected).take(MOST_LEFT_OUT);
        if let Some(left_out) = ahead.into_iter().position(|known| known.is(raw)) {
            return expected + left_out + 1;
        }
        if self.keys.len() >= MOST_KEYS {
            return expected;
        }
        self.keys.insert(expected, KnownKey { written: format!("\"{raw}\":").into(), child });
        expected + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{normalize::fields::PathTrie, settings::FieldRule};

    fn trie(paths: &[&str]) -> PathTrie {
        let mut trie = PathTrie::default();
        for path in paths {
            trie.field(&FieldRule { paths: vec![path.parse().unwrap()], ..FieldRule::default() });
        }
        trie
    }

    /// Passes an object, and returns the place of each key's child.
    fn places(order: &mut KeyOrder, node: &Node, text: &str) -> Vec<Option<usize>> {
        let (mut scanner, mut places, mut next) = (Scanner::new(text), Vec::new(), 0);
        scanner
            .members(|scanner| {
                places.push(order.pass_key(scanner, node, &mut next)?);
                scanner.pass()
            })
            .unwrap();
        assert!(scanner.is_at_end(), "{text}");
        places
    }

    #[test]
    fn whatever_came_before_a_key_leads_to_its_child() {
        let trie = trie(&["a", "b", "c", "ab"]);
        let place = |key: &str| trie.root.place(key.as_bytes());
        let texts: [(&str, &[&str]); 12] = [
            (r#"{"a":1,"x":2,"b":3,"c":4}"#, &["a", "x", "b", "c"]),
            (r#"{"a":1,"x":2,"b":3,"c":4}"#, &["a", "x", "b", "c"]),
            (r#"{"c":1,"b":2,"a":3}"#, &["c", "b", "a"]),
            (r#"{"a":1,"c":2}"#, &["a", "c"]),
            (r#"{"b":1,"b":2,"b":3}"#, &["b", "b", "b"]),
            (r#"{ "a" : 1 , "x" : 2 , "b":3}"#, &["a", "x", "b"]),
            (r#"{"\u0061":1,"x":2}"#, &["a", "x"]),
            (r#"{"ab":1,"a":2}"#, &["ab", "a"]),
            (r#"{"a\"":1,"a":2,"":3}"#, &["a\"", "a", ""]),
            ("{}", &[]),
            (r#"{"a":1,"x":2,"b":3,"c":4}"#, &["a", "x", "b", "c"]),
            (r#"{"":3,"a":{"b":1},"c":[{"a":1}]}"#, &["", "a", "c"]),
        ];
        let mut order = KeyOrder::default();
        for (text, keys) in texts {
            let expected: Vec<_> = keys.iter().map(|key| place(key)).collect();
            assert_eq!(places(&mut order, &trie.root, text), expected, "{text}");
        }
    }

    #[test]
    fn an_object_of_ever_new_keys_does_not_grow_what_is_remembered() {
        let trie = trie(&["a"]);
        let mut order = KeyOrder::default();
        for number in 0..1000 {
            places(&mut order, &trie.root, &format!(r#"{{"k{number}":1,"a":2}}"#));
        }
        assert_eq!(order.keys.len(), MOST_KEYS);
        assert_eq!(places(&mut order, &trie.root, r#"{"k7777":1,"a":2}"#), [None, trie.root.place(b"a")]);
    }

    #[test]
    fn a_key_that_is_expected_is_not_looked_up() {
        let trie = trie(&["a", "b"]);
        let mut order = KeyOrder::default();
        let text = r#"{"a":1,"x":2,"b":3}"#;
        places(&mut order, &trie.root, text);
        // Of another node, whose keys lead nowhere.
        assert_eq!(places(&mut order, &Node::default(), text), places(&mut order, &trie.root, text));
        assert_eq!(order.keys.len(), 3);
    }
}
