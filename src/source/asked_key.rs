//! The keys under which a record gets the lists that were asked for by requests of their own.
//!
//! These keys are ours alone. What a source writes there itself is hidden, so that it can't pass for what was asked for. It is hidden
//! by a null behind it, since the last value of a repeated key counts: the bytes of the source stay as they are.

use std::task::{Context, Poll};

use memchr::memmem;

use super::{Page, PageSink};
use crate::{
    model::{FieldPath, Pairs},
    settings::{ASKED_LINES, ASKED_REFUNDS, Profile, RefundRules},
};

/// The keys under which the records of a profile get such lists.
pub(super) fn of_profile(profile: &Profile) -> Vec<&'static str> {
    // Of files nothing is asked, and their refunds are read at the same place.
    let at_asked_key = |rules: &RefundRules| rules.list == FieldPath::root().child(ASKED_REFUNDS);
    let asks_for_refunds = profile.refund_request.is_some() || profile.refunds.as_ref().is_some_and(at_asked_key);
    let lines = profile.line_request.is_some().then_some(ASKED_LINES);
    lines.into_iter().chain(asks_for_refunds.then_some(ASKED_REFUNDS)).collect()
}

/// Whether a record has such a key of its own, however it is escaped.
fn is_own(record: &[u8], key: &str) -> bool {
    // Only `\u` can stand for a letter.
    let may_be_there = memmem::find(record, key.as_bytes()).is_some() || memmem::find(record, b"\\u").is_some();
    may_be_there && serde_json::from_slice::<Pairs<'_>>(record).is_ok_and(|pairs| pairs.0.iter().any(|(own, _)| *own == key))
}

/// The record with its own value of a key hidden; `None` if it has none.
pub(super) fn hidden(record: &[u8], key: &str) -> Option<Vec<u8>> {
    is_own(record, key).then(|| with_value(record, key, b"null"))
}

/// A record with one more value, which counts before any other of its key.
pub(super) fn with_value(record: &[u8], key: &str, value: &[u8]) -> Vec<u8> {
    let end = record.iter().rposition(|&byte| byte == b'}').unwrap_or(record.len());
    let head = record.get(..end).unwrap_or(record).trim_ascii_end();
    let comma: &[u8] = if head.ends_with(b"{") { b"" } else { b"," };
    [head, comma, format!("\"{key}\":").as_bytes(), value, b"}"].concat()
}

/// Says how many records of a page have a key of their own.
pub(super) fn warn_of_own(records: usize, key: &str) {
    if records > 0 {
        tracing::warn!(records, "records have a key `{key}` of their own, where only what was asked for may stand: it is not read");
    }
}

/// A sink that hides such keys in records for which nothing was asked: those of files.
pub(super) struct OwnKeysHidden<'s> {
    pub(super) sink: &'s mut dyn PageSink,
    pub(super) keys: Vec<&'static str>,
}

impl PageSink for OwnKeysHidden<'_> {
    fn page(&mut self, mut page: Page) -> bool {
        for key in &self.keys {
            let mut records = 0;
            page = page.rewritten(|record| {
                let hidden = hidden(record, key);
                records += usize::from(hidden.is_some());
                hidden
            });
            warn_of_own(records, key);
        }
        self.sink.page(page)
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sink.poll_ready(context)
    }

    fn takes_all(&self) -> bool {
        self.sink.takes_all()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::source::{BlankRun, Origin};

    #[test]
    fn a_key_of_the_source_is_hidden_however_it_is_escaped() {
        let hidden = |record: &str| hidden(record.as_bytes(), ASKED_REFUNDS).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(hidden(r#"{"id":1,"etl_refunds":[1] }"#).as_deref(), Some(r#"{"id":1,"etl_refunds":[1],"etl_refunds":null}"#));
        let escaped = r#"{"\u0065tl_refunds":[1]}"#;
        assert_eq!(hidden(escaped).as_deref(), Some(r#"{"\u0065tl_refunds":[1],"etl_refunds":null}"#));
        for record in [r#"{"id":1}"#, r#"{"note":"etl_refunds"}"#, r#"{"a":{"etl_refunds":[1]}}"#, r#"["etl_refunds"]"#, "{etl_refunds"] {
            assert_eq!(hidden(record), None, "{record}");
        }
    }

    #[test]
    fn pages_of_files_keep_their_cut_and_their_blank_lines() {
        let origin = || Origin::File { path: "x".into(), first: 1 };
        let text = "{\"id\":1}\n\n{\"etl_lines\":[]}\r\n{\"id\":3}\n";
        let second = r#"{"etl_lines":[],"etl_lines":null}"#;
        let mut pages = Vec::new();
        let mut keep = |page: Page| {
            pages.push(page);
            true
        };
        let mut sink = OwnKeysHidden { sink: &mut keep, keys: vec![ASKED_LINES] };
        assert!(sink.page(Page::lines(origin(), Bytes::from(text))));
        assert!(sink.page(Page::elements(origin(), Bytes::from(text), vec![0..8, 10..26])));
        let records = |page: &Page| page.records().map(|record| String::from_utf8(record.bytes.to_vec()).unwrap()).collect::<Vec<_>>();
        assert_eq!(records(&pages[0]), [r#"{"id":1}"#, second, r#"{"id":3}"#]);
        assert_eq!(pages[0].blank_runs(), [BlankRun { records_before: 1, lines: 1 }]);
        assert!(!pages[0].is_cut_by_elements() && pages[1].is_cut_by_elements());
        assert_eq!(records(&pages[1]), [r#"{"id":1}"#, second]);
    }
}
