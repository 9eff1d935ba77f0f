//! What a body holds at the keys of records beside the list that is read: other lists, and objects that may hold
//! records.
//!
//! Does not decide what becomes of a body: `http` and `files` do. Where a profile names the place of the records, no
//! other place counts.

use super::{Envelope, List, Node, RECORD_KEYS, RecordShape, cut::is_cut};
use crate::model::FieldPath;

/// The depth at which records are looked for within an object: `orders.edges.0.node`.
const DEPTH: usize = 3;

/// The keys whose records are not read, because the records of another key are.
pub(in crate::source) fn passed_over<'e>(envelope: &'e Envelope, records: Option<&FieldPath>, shape: &RecordShape) -> Vec<&'e str> {
    let List::Found(read) = &envelope.list else { return Vec::new() };
    let holds_records = |node: &Node| match node {
        Node::Array(elements) => elements.iter().any(|element| matches!(element, Node::Object(_)) || is_cut(element)),
        Node::Object(_) => holds_a_record(node, shape, DEPTH),
        _ => false,
    };
    other_keys(envelope, records).filter(|(key, node)| key != read && holds_records(node)).map(|(key, _)| key).collect()
}

/// Why a body whose lists have no elements is no empty list: an object stands where records are looked for, and may
/// hold them.
pub(in crate::source) fn object_in_place_of_a_list(envelope: &Envelope, records: Option<&FieldPath>) -> Option<String> {
    if envelope.list == List::Missing {
        return None;
    }
    let (key, _) = other_keys(envelope, records).find(|(_, node)| may_hold_records(node))?;
    Some(format!("`{key}` holds an object, and no other key a list with elements (set `records` in a profile to say where they stand)"))
}

/// The values at the keys of records.
fn other_keys<'e>(envelope: &'e Envelope, records: Option<&FieldPath>) -> impl Iterator<Item = (&'e str, &'e Node)> {
    let pairs = if records.is_none() { envelope.root.pairs() } else { &[] };
    pairs.iter().map(|(key, node)| (key.as_str(), node)).filter(|(key, _)| RECORD_KEYS.contains(key))
}

/// Whether an object may hold records: one with nothing but texts and numbers describes the list.
fn may_hold_records(node: &Node) -> bool {
    let may_be_record = |inner: &Node| matches!(inner, Node::Object(pairs) if !pairs.is_empty()) || is_cut(inner);
    node.pairs().iter().any(|(_, value)| match value {
        Node::Array(elements) => elements.iter().any(may_be_record),
        value => may_be_record(value),
    })
}

/// Whether a value is a record, or holds one.
fn holds_a_record(node: &Node, shape: &RecordShape, depth: usize) -> bool {
    let within = |inner: &Node| is_cut(inner) || (depth > 0 && holds_a_record(inner, shape, depth - 1));
    match node {
        Node::Object(pairs) => shape.has_id_and_time(node) || pairs.iter().any(|(_, value)| within(value)),
        Node::Array(elements) => elements.iter().any(within),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::cut;
    use super::*;

    fn envelope(body: &str, records: Option<&FieldPath>) -> Envelope {
        cut(body.as_bytes(), records).unwrap().unwrap().envelope
    }

    fn shape() -> RecordShape {
        let paths = |path: &str| vec![path.parse().unwrap()];
        RecordShape { id: paths("id"), created_at: paths("at"), ..RecordShape::default() }
    }

    #[test]
    fn other_lists_of_objects_and_records_in_objects_are_passed_over() {
        let others = |body: &str| {
            let envelope = envelope(body, None);
            passed_over(&envelope, None, &shape()).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(others(r#"{"data":[{"id":1}],"orders":[{"id":2}],"carts":[{"id":3}]}"#), ["orders", "carts"]);
        assert_eq!(others(r#"{"data":[{"id":1}],"orders":{"7":{"id":7,"at":"x"}}}"#), ["orders"]);
        assert_eq!(others(r#"{"data":[{"id":1}],"orders":{"edges":[{"node":{"id":7,"at":"x"}}]}}"#), ["orders"]);
        let large = format!(r#"{{"data":[{{"id":1}}],"orders":[{{"x":"{}"}}]}}"#, r#"y"},{"x":""#.repeat(20_000));
        assert_eq!(others(&large), ["orders"]);
        for one in [
            r#"{"data":[{"id":1}],"orders":[]}"#,
            r#"{"data":[{"id":1}],"orders":null,"results":1}"#,
            r#"{"data":[{"id":1}],"results":[1,2]}"#,
            r#"{"results":{"shop":{"id":1}},"data":[{"id":1}]}"#,
            r#"{"data":[{"id":1}],"links":[{"id":2}]}"#,
            r#"[{"id":1}]"#,
        ] {
            assert_eq!(others(one), [""; 0], "{one}");
        }
        let path = "data".parse().unwrap();
        let chosen = envelope(r#"{"data":[{"id":1}],"orders":[{"id":2}]}"#, Some(&path));
        assert_eq!(passed_over(&chosen, Some(&path), &shape()), [""; 0], "a profile chooses");
    }

    #[test]
    fn an_object_with_objects_is_no_empty_list() {
        let detail = |body: &str| object_in_place_of_a_list(&envelope(body, None), None);
        for body in [
            r#"{"data":null,"orders":{"7":{"id":7}}}"#,
            r#"{"data":[],"orders":{"edges":[{"node":{}}]}}"#,
            r#"{"orders":{"id":7,"lines":[{"sku":"a"}]},"data":[]}"#,
        ] {
            assert!(detail(body).unwrap().contains("`orders` holds an object"), "{body}");
        }
        for body in [
            r#"{"data":null,"orders":[],"results":0}"#,
            r#"{"data":[],"results":{"total":0,"page":"1"}}"#,
            r#"{"data":[],"orders":{}}"#,
            r#"{"data":[],"orders":{"edges":[],"pageInfo":{}}}"#,
            r#"{"data":[],"meta":{"page":{"size":1}}}"#,
            r#"{"orders":{"7":{"id":7}}}"#,
            "[]",
            "null",
        ] {
            assert_eq!(detail(body), None, "{body}");
        }
    }
}
