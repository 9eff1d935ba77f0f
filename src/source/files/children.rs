//! Files in which a child stands on a line of its own behind its parent and names it, as Shopify's bulk operations write them.
//! Puts the children into lists of their parent, so that a record has the shape that the API gives it.
//!
//! Holds one record with its children at a time, up to the limit of a record. Interprets nothing but the ids, and whether an order
//! without children has no lines or unknown ones.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Read},
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    LARGEST_BEGINNING,
    rows::{RowPages, TableRows},
};
use crate::{
    model::{CellTypes, FieldPath, counted},
    settings::ChildLines,
    source::{Access, PageSink, SourceError, body::Node},
};

/// The bytes of records without children that are held back until a file shows whether it has lines of orders at all.
const LARGEST_WAIT: u64 = 4 << 20;

/// How the lines of a file are joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct FamilyRules<'r> {
    /// Where each child belongs.
    pub(super) children: &'r ChildLines,
    /// Where a record has the lines of its order.
    pub(super) lines: &'r [FieldPath],
    /// What a record without children of these lists means.
    pub(super) empty: EmptyLists,
}

/// What a record without lines of its order means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EmptyLists {
    /// The lines were asked for: the order has none.
    Asked,
    /// The same, if the file has lines of any order; else nobody asked for them. The last record may be cut off from its lines.
    IfSeen,
}

/// What a file of records and children held.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::source) struct FamiliesRead {
    /// Its records.
    pub(in crate::source) records: u64,
    /// Its records and children.
    pub(in crate::source) objects: u64,
}

impl FamiliesRead {
    /// The records as those of a table.
    pub(super) fn rows(self) -> TableRows {
        TableRows { records: self.records, ..TableRows::default() }
    }
}

/// Reads a file of lines some of which are children; `None` if the sink stopped the reading.
pub(super) fn read_families(
    path: &Path,
    rules: FamilyRules<'_>,
    reader: impl Read,
    access: &Access<'_>,
    sink: &mut dyn PageSink,
) -> Result<Option<FamiliesRead>, SourceError> {
    let malformed = |line: u64, detail: String| SourceError::Malformed { path: path.to_owned(), line, detail };
    let largest = access.limits.record_bytes;
    let mut reader = BufReader::with_capacity(1 << 17, reader);
    let mut families = Families::new(rules, largest);
    let mut pages = RowPages::new(path, CellTypes::Typed, sink);
    let mut text = Vec::new();
    let mut objects = 0;
    for line in 1.. {
        if access.cancel.is_stopped() {
            return Err(SourceError::Interrupted);
        }
        text.clear();
        let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
        // Two bytes more than a record may have: the end of the line.
        let read = reader.by_ref().take(largest.saturating_add(2)).read_until(b'\n', &mut text).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        let record = text.trim_ascii();
        if record.len() as u64 > largest {
            return Err(malformed(
                line,
                format!("the line is larger than {}, so it was not read. Raise `limits.record_bytes`", counted(largest, "byte")),
            ));
        }
        if record.is_empty() {
            continue;
        }
        objects += 1;
        let complete = families.line(line, record).map_err(|detail| malformed(line, detail))?;
        if complete.iter().any(|complete| !complete.deliver(&mut pages)) {
            return Ok(None);
        }
    }
    if families.finish().iter().any(|complete| !complete.deliver(&mut pages)) {
        return Ok(None);
    }
    if families.repeated > 0 {
        tracing::warn!(lines = families.repeated, file = %path.display(), "the file repeats lines: each of them counts once");
        access.counters.repeated_lines(families.repeated);
    }
    Ok(pages.finish()?.map(|rows| FamiliesRead { records: rows.records, objects }))
}

/// Whether a record of a document names a parent: then it is a child, and no record.
pub(super) fn names_parent(record: &[u8], rules: &ChildLines) -> bool {
    Node::of_bytes(record).is_some_and(|node| node.at(&rules.parent).is_some())
}

/// A record with its children, and the line that it began on.
#[derive(PartialEq, Eq, Debug)]
struct JoinedRecord {
    line: u64,
    content: Content,
}

#[derive(PartialEq, Eq, Debug)]
enum Content {
    Whole(Vec<u8>),
    /// It was too large to keep: its beginning.
    Beginning(Vec<u8>),
}

impl JoinedRecord {
    /// Adds it to the pages; `false` if the sink stopped the reading.
    fn deliver(&self, pages: &mut RowPages<'_>) -> bool {
        match &self.content {
            Content::Whole(json) => pages.row(self.line, |out| out.extend_from_slice(json)),
            Content::Beginning(kept) => pages.beginning(self.line, kept),
        }
    }
}

/// Joins children with the record before them.
struct Families<'r> {
    rules: &'r ChildLines,
    /// The lists that hold the lines of an order.
    of_orders: Vec<&'r FieldPath>,
    empty: EmptyLists,
    /// Whether a line of an order came.
    has_lines: bool,
    /// The bytes that a record may have, with its children.
    largest: u64,
    open: Option<Family<'r>>,
    /// Records without lines that came before the first line of an order.
    waiting: Vec<Family<'r>>,
    waiting_bytes: u64,
    /// The lines that stand there again as they are.
    repeated: u64,
}

/// A record whose children are being read.
struct Family<'r> {
    line: u64,
    /// The record, and behind it its children and theirs, in the order of the file. A parent stands before its children.
    members: Vec<Member<'r>>,
    /// The place of each member, by a hash of its id.
    places: HashMap<u64, usize>,
    /// The place of each child, by a hash of its id and the place of its parent.
    children: HashMap<(u64, usize), usize>,
    bytes: u64,
    is_too_large: bool,
}

/// A record, or a child of one.
struct Member<'r> {
    json: Vec<u8>,
    /// The list that it belongs to, in the member at a place; `None` for the record itself.
    list: Option<InList<'r>>,
    /// The lists whose place something else has in it.
    taken: Vec<&'r FieldPath>,
    /// The children, by the list that they belong to, the last one first.
    children: BTreeMap<&'r FieldPath, Vec<Vec<u8>>>,
}

#[derive(Clone, Copy)]
struct InList<'r> {
    parent: usize,
    path: &'r FieldPath,
}

impl<'r> Families<'r> {
    fn new(rules: FamilyRules<'r>, largest: u64) -> Families<'r> {
        let FamilyRules { children, lines, empty } = rules;
        let of_orders = children.lists.values().filter(|list| lines.contains(*list)).collect();
        Families {
            rules: children,
            of_orders,
            empty,
            has_lines: false,
            largest,
            open: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            repeated: 0,
        }
    }

    /// Takes a line. Returns the records before it that are complete now.
    ///
    /// # Errors
    /// What is wrong with the line.
    fn line(&mut self, line: u64, json: &[u8]) -> Result<Vec<JoinedRecord>, String> {
        let unknown = |what: &str| format!("the line is not {what}, so its parent is unknown. Export the file again");
        let text = std::str::from_utf8(json).map_err(|_| unknown("valid UTF-8"))?;
        let node = Node::parse(text).map_err(|error| unknown(&format!("valid JSON ({error})")))?;
        if !matches!(node, Node::Object(_)) {
            return Err(unknown("a JSON object"));
        }
        let id = node.at(&self.rules.id).and_then(Node::text);
        let Some(parent) = node.at(&self.rules.parent) else {
            let complete = self.close();
            let member = Member::new(json, None, taken(self.rules, &node));
            self.open = Some(Family::new(line, member, id));
            return Ok(complete);
        };
        let parent = parent.text().ok_or_else(|| without_parent(&self.rules.parent))?;
        let path = list_of(self.rules, id)?;
        let orphan = || {
            format!(
                "its parent `{parent}` is not the record before it. A child must follow its parent, before the next record \
                 (Shopify: start the bulk operation with `groupObjects: true`)"
            )
        };
        let largest = self.largest;
        let is_line = self.of_orders.contains(&path);
        let family = self.open.as_mut().ok_or_else(orphan)?;
        let place = family.places.get(&hash(parent)).copied().ok_or_else(orphan)?;
        if is_line && place > 0 {
            return Err(format!(
                "this line of an order has the parent `{parent}`, which is itself a child, so its revenue would be lost. \
                 Export the lines of orders alone: their parent is then the order"
            ));
        }
        if family.members.get(place).is_some_and(|parent| parent.taken.contains(&path)) {
            return Err(format!(
                "its parent `{parent}` has `{path}` already, and `children.lists` puts children there. \
                 Leave `{path}` out of the export, or name another list"
            ));
        }
        match family.earlier(id.unwrap_or_default(), place) {
            // The same line again: it is one.
            Some(earlier) if earlier.json == json => {
                self.repeated += 1;
                return Ok(Vec::new());
            }
            Some(_) => {
                return Err(format!(
                    "the file has `{}` of `{parent}` twice, with different content. Both together would be added up, and nothing \
                     says which one is right. Export the file again",
                    id.unwrap_or_default()
                ));
            }
            None => {}
        }
        family.add(Member::new(json, Some(InList { parent: place, path }), taken(self.rules, &node)), id, largest);
        self.has_lines |= is_line;
        Ok(Vec::new())
    }

    /// Ends the open record. Returns it behind those that waited, unless it is not known yet what a record without lines means.
    fn close(&mut self) -> Vec<JoinedRecord> {
        let Some(family) = self.open.take() else { return Vec::new() };
        self.waiting_bytes = self.waiting_bytes.saturating_add(family.bytes);
        self.waiting.push(family);
        let may_be_known = !self.is_known() && !self.of_orders.is_empty();
        if may_be_known && self.waiting_bytes <= LARGEST_WAIT { Vec::new() } else { self.release() }
    }

    /// The last records.
    fn finish(&mut self) -> Vec<JoinedRecord> {
        let last = self.open.take();
        let mut complete = self.release();
        // A file may be cut off behind the record, and before its lines.
        let missing = if self.empty == EmptyLists::Asked { self.of_orders.as_slice() } else { &[] };
        complete.extend(last.map(|family| family.join(missing)));
        complete
    }

    fn release(&mut self) -> Vec<JoinedRecord> {
        self.waiting_bytes = 0;
        let missing = if self.is_known() { self.of_orders.as_slice() } else { &[] };
        std::mem::take(&mut self.waiting).into_iter().map(|family| family.join(missing)).collect()
    }

    /// Whether a record without lines is an order that has none.
    fn is_known(&self) -> bool {
        self.has_lines || self.empty == EmptyLists::Asked
    }
}

fn without_parent(path: &FieldPath) -> String {
    format!(
        "its `{path}` names no parent. A child names its parent there, and a record has no `{path}`. \
         Use the file as the source wrote it"
    )
}

fn hash(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

/// The lists whose first key a line has itself.
fn taken<'r>(rules: &'r ChildLines, node: &Node) -> Vec<&'r FieldPath> {
    rules.lists.values().filter(|list| list.steps().first().is_some_and(|key| node.get(key).is_some())).collect()
}

/// The list that a child belongs to, by the type in its id: the last but one of its parts.
fn list_of<'r>(rules: &'r ChildLines, id: Option<&str>) -> Result<&'r FieldPath, String> {
    let Some(id) = id else {
        return Err(format!("the child has no `{}`, which tells its type. Export the id of every object", rules.id));
    };
    let kind = id.rsplit('/').nth(1).unwrap_or_default();
    rules.lists.get(kind).ok_or_else(|| {
        format!(
            "`children.lists` does not name the type `{kind}` of this child (`{id}`). Write there where it belongs: {kind} = \"others\""
        )
    })
}

impl<'r> Member<'r> {
    fn new(json: &[u8], list: Option<InList<'r>>, taken: Vec<&'r FieldPath>) -> Member<'r> {
        Member { json: json.to_vec(), list, taken, children: BTreeMap::new() }
    }

    /// Its JSON, with its children.
    fn into_json(self) -> Vec<u8> {
        let mut json = self.json;
        for (path, children) in self.children {
            let end = json.iter().rposition(|&byte| byte == b'}').unwrap_or(json.len());
            json.truncate(json.get(..end).unwrap_or_default().trim_ascii_end().len());
            if !json.ends_with(b"{") {
                json.push(b',');
            }
            for (depth, step) in path.steps().iter().enumerate() {
                json.extend_from_slice(if depth == 0 { b"" } else { b"{" });
                json.extend_from_slice(serde_json::Value::from(step.as_str()).to_string().as_bytes());
                json.push(b':');
            }
            json.push(b'[');
            for (number, child) in children.iter().rev().enumerate() {
                json.extend_from_slice(if number == 0 { b"" } else { b"," });
                json.extend_from_slice(child);
            }
            json.push(b']');
            // One brace for each step: those within the record, and that of the record itself.
            json.resize(json.len() + path.steps().len(), b'}');
        }
        json
    }
}

impl<'r> Family<'r> {
    fn new(line: u64, record: Member<'r>, id: Option<&str>) -> Family<'r> {
        let bytes = record.json.len() as u64;
        let places = id.map(|id| (hash(id), 0)).into_iter().collect();
        Family { line, members: vec![record], places, children: HashMap::new(), bytes, is_too_large: false }
    }

    /// The child with this id of the member at a place.
    fn earlier(&self, id: &str, parent: usize) -> Option<&Member<'r>> {
        self.members.get(*self.children.get(&(hash(id), parent))?)
    }

    /// Adds a child. Of a record that is too large only the beginning and the ids are kept.
    fn add(&mut self, child: Member<'r>, id: Option<&str>, largest: u64) {
        self.bytes = self.bytes.saturating_add(child.json.len() as u64);
        if self.is_too_large || self.bytes > largest {
            self.is_too_large = true;
            self.members.truncate(1);
            self.children.clear();
            self.places.extend(id.map(|id| (hash(id), 0)));
            return;
        }
        let place = self.members.len();
        self.places.extend(id.map(|id| (hash(id), place)));
        let parent = child.list.map(|list| list.parent);
        self.children.extend(id.zip(parent).map(|(id, parent)| ((hash(id), parent), place)));
        self.members.push(child);
    }

    /// The record with its children, and with empty lists in place of those that are missing. Children stand behind their parents,
    /// so that each is complete when its turn comes.
    fn join(mut self, missing: &[&'r FieldPath]) -> JoinedRecord {
        while self.members.len() > 1 {
            let Some(member) = self.members.pop() else { break };
            let Some(InList { parent, path }) = member.list else { continue };
            let json = member.into_json();
            if let Some(parent) = self.members.get_mut(parent) {
                parent.children.entry(path).or_default().push(json);
            }
        }
        if let Some(record) = self.members.first_mut().filter(|_| !self.is_too_large) {
            for &list in missing.iter().filter(|list| !record.taken.contains(*list)) {
                record.children.entry(list).or_default();
            }
        }
        let json = self.members.pop().map(Member::into_json).unwrap_or_default();
        let content = if self.is_too_large {
            Content::Beginning(json.get(..LARGEST_BEGINNING).unwrap_or(&json).to_vec())
        } else {
            Content::Whole(json)
        };
        JoinedRecord { line: self.line, content }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rules() -> ChildLines {
        let lists = [("LineItem", "lineItems.nodes"), ("Tax", "taxes")];
        ChildLines {
            parent: "__parentId".parse().unwrap(),
            id: "id".parse().unwrap(),
            lists: lists.map(|(kind, path)| (kind.to_owned(), path.parse().unwrap())).into(),
        }
    }

    fn id(kind: &str, number: u64) -> String {
        format!("gid://shopify/{kind}/{number}")
    }

    fn joined(lines: &[Value], largest: u64) -> Result<Vec<JoinedRecord>, String> {
        joined_by(lines, largest, EmptyLists::IfSeen)
    }

    fn joined_by(lines: &[Value], largest: u64, empty: EmptyLists) -> Result<Vec<JoinedRecord>, String> {
        let (rules, of_orders) = (rules(), ["lineItems.nodes".parse::<FieldPath>().unwrap()]);
        let mut families = Families::new(FamilyRules { children: &rules, lines: &of_orders, empty }, largest);
        let mut all = Vec::new();
        for (number, line) in (1..).zip(lines) {
            all.extend(families.line(number, line.to_string().as_bytes()).map_err(|detail| format!("{number}: {detail}"))?);
        }
        all.extend(families.finish());
        Ok(all)
    }

    fn whole(record: &JoinedRecord) -> Value {
        let Content::Whole(json) = &record.content else { panic!("{record:?}") };
        serde_json::from_slice(json).unwrap()
    }

    #[test]
    fn children_and_grandchildren_become_lists_in_the_order_of_the_file() {
        let (order, line, tax) = (id("Order", 1), id("LineItem", 11), id("Tax", 21));
        let records = joined(
            &[
                json!({"id": order, "total": 5}),
                json!({"id": line, "sku": "a", "__parentId": order}),
                json!({"id": tax, "__parentId": line}),
                json!({"id": id("LineItem", 12), "sku": "b", "__parentId": order}),
                json!({"id": id("Tax", 22), "__parentId": order}),
                json!({"id": id("Tax", 23), "__parentId": line}),
                json!({}),
                json!({"id": id("Order", 3)}),
            ],
            1 << 20,
        )
        .unwrap();
        assert_eq!(records.iter().map(|record| record.line).collect::<Vec<_>>(), [1, 7, 8]);
        let first = whole(&records[0]);
        let lines = first["lineItems"]["nodes"].as_array().unwrap();
        assert_eq!((first["total"].as_u64(), lines.len()), (Some(5), 2));
        assert_eq!((lines[0]["sku"].as_str(), lines[1]["sku"].as_str()), (Some("a"), Some("b")));
        let ids = |list: &Value| list.as_array().unwrap().iter().map(|tax| tax["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(&lines[0]["taxes"]), [tax, id("Tax", 23)]);
        assert_eq!(ids(&first["taxes"]), [id("Tax", 22)]);
        assert_eq!(whole(&records[1]), json!({"lineItems": {"nodes": []}}));
        assert_eq!(whole(&records[2]), json!({"id": id("Order", 3)}), "the file may be cut off here");
    }

    #[test]
    fn a_record_without_lines_has_none_if_the_file_shows_that_lines_were_asked_for() {
        let order = |number: u64| json!({"id": id("Order", number)});
        let line = json!({"id": id("LineItem", 31), "__parentId": id("Order", 3)});
        let own = json!({"id": id("Order", 2), "lineItems": null});
        let lists = |lines: &[Value], empty| -> Vec<Value> {
            joined_by(lines, 1 << 20, empty).unwrap().iter().map(|record| whole(record)["lineItems"].clone()).collect()
        };
        let none = json!({"nodes": []});
        let mixed = [order(1), own, order(3), line.clone(), order(4), order(5)];
        let nodes = json!({"nodes": [line]});
        assert_eq!(lists(&mixed, EmptyLists::IfSeen), [none.clone(), Value::Null, nodes.clone(), none.clone(), Value::Null]);
        assert_eq!(lists(&mixed, EmptyLists::Asked), [none.clone(), Value::Null, nodes, none.clone(), none.clone()]);
        let bare = [order(1), order(2), json!({"id": id("Tax", 1), "__parentId": id("Order", 2)}), order(3)];
        assert_eq!(lists(&bare, EmptyLists::IfSeen), [Value::Null, Value::Null, Value::Null]);
        assert_eq!(lists(&bare, EmptyLists::Asked), [none.clone(), none.clone(), none]);
    }

    #[test]
    fn records_without_lines_wait_no_longer_than_their_limit() {
        let text = "x".repeat(1 << 20);
        let order = |number: u64| json!({"id": id("Order", number), "text": text}).to_string();
        let (rules, of_orders) = (rules(), ["lineItems.nodes".parse::<FieldPath>().unwrap()]);
        let mut families = Families::new(FamilyRules { children: &rules, lines: &of_orders, empty: EmptyLists::IfSeen }, 64 << 20);
        let complete: Vec<usize> = (1..=6).map(|number| families.line(number, order(number).as_bytes()).unwrap().len()).collect();
        assert_eq!((complete, families.finish().len()), (vec![0, 0, 0, 0, 4, 0], 2));
    }

    #[test]
    fn what_belongs_to_nobody_is_an_error_with_its_line() {
        let (order, other) = (id("Order", 1), id("Order", 2));
        let child = |parent: &str| json!({"id": id("LineItem", 11), "__parentId": parent});
        for (lines, message) in [
            (vec![child(&order)], "1: its parent `gid://shopify/Order/1` is not the record before it"),
            (vec![json!({"id": order}), json!({"id": other}), child(&order)], "3: its parent `gid://shopify/Order/1` is not"),
            (
                vec![json!({"id": order}), json!({"id": id("Refund", 5), "__parentId": order})],
                "2: `children.lists` does not name the type `Refund`",
            ),
            (vec![json!({"id": order}), json!({"__parentId": order})], "2: the child has no `id`"),
            (
                vec![json!({"id": order, "lineItems": []}), child(&order)],
                "2: its parent `gid://shopify/Order/1` has `lineItems.nodes` already",
            ),
            (vec![json!({"id": order}), json!([1])], "2: the line is not a JSON object"),
            (
                vec![json!({"id": order}), child(&order), json!({"id": id("LineItem", 12), "__parentId": id("LineItem", 11)})],
                "3: this line of an order has the parent `gid://shopify/LineItem/11`, which is itself a child",
            ),
            (vec![json!({"id": order}), child("")], "2: its `__parentId` names no parent"),
            (vec![json!({"id": order}), json!({"id": other, "__parentId": null})], "2: its `__parentId` names no parent"),
        ] {
            let error = joined(&lines, 1 << 20).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_child_that_stands_there_twice_counts_once_and_is_refused_if_the_two_differ() {
        let (order, other) = (id("Order", 1), id("Order", 2));
        let line = |parent: &str, sku: &str| json!({"id": id("LineItem", 11), "sku": sku, "__parentId": parent});
        let twice = [json!({"id": order}), line(&order, "a"), line(&order, "a"), json!({"id": other}), line(&other, "b")];
        let records = joined(&twice, 1 << 20).unwrap();
        let skus =
            |record| whole(record)["lineItems"]["nodes"].as_array().unwrap().iter().map(|line| line["sku"].clone()).collect::<Vec<_>>();
        assert_eq!(records.iter().map(skus).collect::<Vec<_>>(), [[json!("a")], [json!("b")]]);
        let error = joined(&[json!({"id": order}), line(&order, "a"), line(&order, "b")], 1 << 20).unwrap_err();
        let message = "3: the file has `gid://shopify/LineItem/11` of `gid://shopify/Order/1` twice";
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn a_record_that_is_too_large_with_its_children_is_cut_and_the_next_one_is_whole() {
        let order = id("Order", 1);
        let line = |number: u64| json!({"id": id("LineItem", number), "text": "x".repeat(100), "__parentId": order});
        let below = json!({"id": id("Tax", 1), "__parentId": id("LineItem", 3)});
        let lines = [json!({"id": order}), line(1), line(2), line(3), below, json!({"id": id("Order", 2)})];
        let records = joined(&lines, 300).unwrap();
        assert_eq!(records[0].content, Content::Beginning(json!({"id": order}).to_string().into_bytes()));
        assert_eq!(whole(&records[1]), json!({"id": id("Order", 2)}));
    }
}
