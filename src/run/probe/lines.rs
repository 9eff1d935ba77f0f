//! The lines of the records of a page: those that a run takes, and where they may stand if it takes none.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Found, Proposal, SHOWN,
    propose::{Document, Known, line_object},
};
use crate::{
    model::{FieldPath, Level, counted},
    normalize::{SeenLines, SeenRecord},
    source::PageKind,
};

/// The column of the lines: where they stand, and in how many records there are any.
pub(super) fn found(seen: &[SeenRecord<'_>], kind: PageKind) -> Found {
    let counts: Vec<usize> = seen.iter().map(|record| record.lines.len()).filter(|count| *count > 0).collect();
    let from: BTreeSet<&SeenLines> = seen.iter().flat_map(|record| &record.lines).map(|line| &line.from).collect();
    let shown: Vec<String> = from.into_iter().map(|from| shown(from, kind)).collect();
    let mut values: Vec<String> = Vec::new();
    for value in counts.iter().map(|count| counted(*count as u64, "line")) {
        if values.len() < SHOWN && !values.contains(&value) {
            values.push(value);
        }
    }
    let path = (!shown.is_empty()).then(|| shown.join(" + "));
    Found { column: "lines", level: Level::Record.as_str(), path, found_in: counts.len(), of: seen.len(), values, proposed: None }
}

/// Whether each record is its own line.
pub(super) fn are_records(seen: &[SeenRecord<'_>]) -> bool {
    seen.iter().flat_map(|record| &record.lines).any(|line| line.from == SeenLines::Record)
}

fn shown(from: &SeenLines, kind: PageKind) -> String {
    match (from, kind) {
        (SeenLines::At(_), PageKind::Table) => "the rows of each order".to_owned(),
        (SeenLines::At(path), PageKind::Document | PageKind::Response) => path.to_string(),
        (SeenLines::Request, _) => "a request for each order".to_owned(),
        (SeenLines::Record, _) => "the record itself".to_owned(),
    }
}

/// Where lines may stand, for records that have none. `tried` are the paths that are looked at.
pub(super) fn propose(seen: &[SeenRecord<'_>], records: &[Value], tried: &[FieldPath], known: &Known<'_>) -> Option<Proposal> {
    let without: Vec<Value> =
        seen.iter().zip(records).filter(|(seen, _)| seen.lines.is_empty()).map(|(_, record)| record.clone()).collect();
    if without.is_empty() {
        return None;
    }
    let has_any = without.len() < seen.len();
    let object = line_object(&without, tried).filter(|proposal| {
        // Where others have a list, it is the same place.
        !has_any
            || seen
                .iter()
                .flat_map(|record| &record.lines)
                .any(|line| matches!(&line.from, SeenLines::At(path) if path.to_string() == proposal.path))
    });
    if object.is_some() || has_any {
        return object;
    }
    let document = Document::of(&without);
    document.propose("lines", known).or_else(|| {
        let because = "each record has a sku and a price itself".to_owned();
        document.is_of_lines(known).then(|| Proposal { path: ".".to_owned(), because, more: None, others: Vec::new() })
    })
}
