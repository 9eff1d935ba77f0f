//! A small JSON document. Numbers keep their digits.

use serde_json::value::RawValue;

use crate::model::{FieldPath, Pairs};

/// The maximum depth of nested containers; deeper ones are read as null.
const DEPTH: usize = 12;

/// A JSON value.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::source) enum Node {
    Null,
    Bool(bool),
    /// The digits as in the document.
    Number(String),
    Text(String),
    Array(Vec<Node>),
    /// In the order of the document.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::source) fn parse(text: &str) -> Result<Node, String> {
        serde_json::from_str::<&RawValue>(text).map_err(|error| error.to_string()).and_then(|raw| Node::of(raw, 0))
    }

    /// Reads the bytes of a record or an element; `None` if they are no JSON.
    pub(in crate::source) fn of_bytes(bytes: &[u8]) -> Option<Node> {
        Node::parse(std::str::from_utf8(bytes).ok()?).ok()
    }

    fn of(raw: &RawValue, depth: usize) -> Result<Node, String> {
        let text = raw.get();
        Ok(match text.as_bytes().first() {
            Some(b'{' | b'[') if depth >= DEPTH => Node::Null,
            Some(b'{') => {
                let pairs: Pairs<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
                Node::Object(
                    pairs
                        .0
                        .into_iter()
                        .map(|(key, raw)| Ok((key.into_owned(), Node::of(raw, depth + 1)?)))
                        .collect::<Result<_, String>>()?,
                )
            }
            Some(b'[') => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| error.to_string())?;
                Node::Array(elements.into_iter().map(|raw| Node::of(raw, depth + 1)).collect::<Result<_, _>>()?)
            }
            // A text with an invalid escape is read as null; the rest of the document stays.
            Some(b'"') => serde_json::from_str(text).map_or(Node::Null, Node::Text),
            Some(b't') => Node::Bool(true),
            Some(b'f') => Node::Bool(false),
            Some(b'n') | None => Node::Null,
            Some(_) => Node::Number(text.to_owned()),
        })
    }

    /// The value under a key.
    pub(in crate::source) fn get(&self, key: &str) -> Option<&Node> {
        self.pairs().iter().find(|(own, _)| own == key).map(|(_, node)| node)
    }

    /// The keys and values of an object; empty for any other value.
    pub(in crate::source) fn pairs(&self) -> &[(String, Node)] {
        if let Node::Object(pairs) = self { pairs } else { &[] }
    }

    /// The value at a path.
    pub(in crate::source) fn at(&self, path: &FieldPath) -> Option<&Node> {
        self.within(path.steps())
    }

    /// The value at the steps of a path. `normalize` evaluates paths separately, with a trie.
    pub(in crate::source) fn within(&self, steps: &[String]) -> Option<&Node> {
        steps.iter().try_fold(self, |node, step| match node {
            Node::Object(_) => node.get(step),
            Node::Array(elements) => elements.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// A text or a number, as trimmed text; `None` if it is blank.
    pub(in crate::source) fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) | Node::Number(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// A whole number that is not negative, or a text of one.
    pub(in crate::source) fn count(&self) -> Option<u64> {
        self.text()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits_and_paths_lead_through_arrays() {
        let node = Node::parse(r#"{"a":[{"b":1.10}],"n":12345678901234567890123,"t":" x ","e":""}"#).unwrap();
        let at = |path: &str| node.at(&path.parse().unwrap());
        assert_eq!(at("a.0.b").and_then(Node::text), Some("1.10"));
        assert_eq!(at("n").and_then(Node::text), Some("12345678901234567890123"));
        assert_eq!((at("t").and_then(Node::text), at("e").and_then(Node::text), at("a.1")), (Some("x"), None, None));
        assert_eq!(Node::Text("7".into()).count(), Some(7));
        assert!(Node::parse("{").is_err());
    }
}
