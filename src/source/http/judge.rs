//! Judges a response before it counts as a page. An error that the body reports is a failed request, whatever the status is.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use reqwest::{StatusCode, Url, header::HeaderMap};
use serde_json::value::RawValue;

use super::link;
use crate::model::FieldPath;
use crate::net::redact;
use crate::settings::RecordList;
use crate::source::{
    Query, RecordShape,
    body::{self, CutBody, Envelope, List, Node, OVERSIZED, SignalSource, Signals},
    error::RequestFailure,
};

/// A complete response.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The URL that answered, after redirects.
    pub(super) url: Url,
    pub(super) body: Bytes,
}

/// A valid page: the ranges of its records, and its signals about the list.
pub(super) struct Fetched {
    pub(super) body: Bytes,
    pub(super) places: Vec<Range<usize>>,
    pub(super) signals: Signals,
    pub(super) url: Url,
    /// What was asked for by each record and is none of the list; empty where nothing was.
    pub(super) more: Vec<Vec<Vec<u8>>>,
    /// Why the page proves nothing: it has records that are not read.
    pub(super) passed_over: Option<String>,
}

/// What a page hands on.
pub(super) struct HandedOn {
    pub(super) body: Bytes,
    pub(super) places: Vec<Range<usize>>,
}

impl Fetched {
    /// The records from a place on, each behind what was asked for by it: of two members of one key, that of the list wins.
    pub(super) fn handed_on(&self, from: usize) -> HandedOn {
        let places = self.places.get(from..).unwrap_or_default();
        if self.more.iter().all(Vec::is_empty) {
            return HandedOn { body: self.body.clone(), places: places.to_vec() };
        }
        let (mut body, mut new_places) = (Vec::with_capacity(self.body.len()), Vec::new());
        let mut add = |record: &[u8]| {
            let start = body.len();
            body.extend_from_slice(record);
            new_places.push(start..body.len());
        };
        for (number, record) in self.records().enumerate().skip(from) {
            self.more.get(number).into_iter().flatten().for_each(|member| add(member));
            add(record);
        }
        HandedOn { body: body.into(), places: new_places }
    }

    /// The bytes of each record.
    pub(super) fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| self.body.get(place.clone()).unwrap_or_default())
    }
}

/// Judges a response by the profile of a source. `read_before` is the number of records on earlier pages.
pub(super) fn judge(response: Response, query: &Query<'_>, read_before: u64) -> Result<Fetched, RequestFailure> {
    judge_status(&response)?;
    let Response { status, headers, url, body } = response;
    let excerpt = || redact::beginning(&body);
    let links = link::read(&headers, &url);
    let read = |root: &Node, places: &[Range<usize>]| {
        let source = SignalSource {
            root,
            headers: &headers,
            link: links.next.clone(),
            previous_link: links.previous.clone(),
            begins_with_one: links.begins_with_one,
            records: query.profile.records.as_ref(),
            record_count: places.len() as u64,
            last_record: places.last().and_then(|place| body.get(place.clone())),
            trusts_counts: query.profile.http.trusts_counts,
        };
        Signals::read(&source, &query.profile.http.pagination)
    };
    if status == StatusCode::NO_CONTENT {
        let signals = read(&Node::Null, &[]);
        return Ok(Fetched { body, places: Vec::new(), signals, url, more: Vec::new(), passed_over: None });
    }
    if let Some(format) = compressed(&body) {
        let detail = format!("it is compressed ({format}), but has no Content-Encoding header");
        return Err(RequestFailure::NotJson { detail, excerpt: String::new() });
    }
    let text = body.strip_prefix(b"\xef\xbb\xbf").map_or_else(|| body.clone(), |rest| body.slice_ref(rest));
    let cut = body::cut(&text, query.profile.records.as_ref())
        .map_err(|error| RequestFailure::NotJson { detail: error.to_string(), excerpt: excerpt() })?;
    let Some(CutBody { places, envelope }) = cut else {
        return Err(RequestFailure::NotJson { detail: "it is empty".into(), excerpt: String::new() });
    };
    let CutBody { places, envelope } = by_record_list(&text, query, CutBody { places, envelope });
    let shift = body.len() - text.len();
    let mut places: Vec<_> = places.into_iter().map(|place| place.start + shift..place.end + shift).collect();
    // An empty list after pages with records is the last page, not a record without lines.
    let is_empty_page = read_before > 0 && places.is_empty() && matches!(envelope.list, List::Found(_));
    if !is_empty_page && query.may_be_one_record() && query.shape.is_record(&envelope, elements(&body, &places)) {
        places = std::iter::once(0..body.len()).collect();
        return Ok(Fetched { signals: read(&Node::Null, &places), body, places, url, more: Vec::new(), passed_over: None });
    }
    let doubt = || if places.is_empty() { body::doubted_emptiness(&envelope.root) } else { None };
    if let Some(what) =
        body::reported_error(&envelope.root).or_else(|| query.shape.reported_errors(elements(&body, &places))).or_else(doubt)
    {
        let refusal = body::reported_refusal(&envelope.root);
        return Err(RequestFailure::Reported { status: status.as_u16(), refusal, what, excerpt: excerpt() });
    }
    let signals = read(&envelope.root, &places);
    if let Some(place) = &signals.cut {
        return Err(RequestFailure::SignalsTooLarge { place: place.clone() });
    }
    let has_none = signals.total_records == Some(0) && !query.shape.has_list_within(&envelope.root);
    if places.is_empty()
        && !has_none
        && let Some(looked_for) = body::object_in_place_of_a_list(&envelope, query.profile.records.as_ref())
    {
        return Err(RequestFailure::NoRecords { looked_for, excerpt: excerpt(), had_some: read_before > 0 });
    }
    match &envelope.list {
        List::Found(_) if signals.total_records == Some(0) && !places.is_empty() => {
            return Err(RequestFailure::ZeroTotal { records: places.len() as u64, excerpt: excerpt() });
        }
        List::Found(_) => {}
        List::Null => {
            if let Some(total) = signals.total_records.filter(|total| *total > read_before) {
                return Err(RequestFailure::NullRecords { total, excerpt: excerpt() });
            }
        }
        // The list may be absent if the source says that it has no records, and nothing else.
        List::Missing if signals.total_records == Some(0) && read_before == 0 && !says_otherwise(&envelope.root, query.shape) => {}
        List::Missing => {
            let looked_for = body::looked_for(query.profile.records.as_ref());
            return Err(RequestFailure::NoRecords { looked_for, excerpt: excerpt(), had_some: read_before > 0 });
        }
    }
    warn_of_other_list(&envelope);
    let others = body::passed_over(&envelope, query.profile.records.as_ref(), query.shape);
    let passed_over = others.first().map(|key| format!("the body has records under `{key}` too, which are not read"));
    Ok(Fetched { body, places, signals, url, more: Vec::new(), passed_over })
}

/// The bytes of the elements of a list.
fn elements<'b>(body: &'b [u8], places: &'b [Range<usize>]) -> impl ExactSizeIterator<Item = &'b [u8]> {
    places.iter().map(move |place| body.get(place.clone()).unwrap_or_default())
}

/// An object, or nothing, at the place of the records counts for some sources; and so does an empty list in place of the whole body.
fn by_record_list(text: &Bytes, query: &Query<'_>, cut: CutBody) -> CutBody {
    let CutBody { places, mut envelope } = cut;
    let Some(path) = query.profile.records.as_ref().filter(|_| envelope.list == List::Missing) else { return CutBody { places, envelope } };
    if envelope.root == Node::Array(Vec::new()) {
        envelope.list = List::Found(String::new());
        return CutBody { places, envelope };
    }
    if query.profile.record_list == RecordList::List {
        return CutBody { places, envelope };
    }
    match (envelope.root.at(path), object_at(text, path)) {
        (None, _) if is_another_answer(&envelope.root) => CutBody { places, envelope },
        (None, _) => CutBody { places, envelope: Envelope { list: List::Found(path.to_string()), ..envelope } },
        (Some(Node::Object(_)), Some(place)) => {
            CutBody { places: vec![place], envelope: Envelope { list: List::Found(path.to_string()), ..envelope } }
        }
        _ => CutBody { places, envelope },
    }
}

/// Whether a body without anything at the place of its records says something else: it has another list of objects, or a message.
fn is_another_answer(root: &Node) -> bool {
    let is_object = |element: &Node| matches!(element, Node::Object(_)) || matches!(element, Node::Text(text) if text == OVERSIZED);
    let has_objects = |value: &Node| matches!(value, Node::Array(elements) if elements.iter().any(is_object));
    has_message(root) || root.pairs().iter().any(|(_, value)| has_objects(value))
}

/// Whether a body with a total of 0 and without a list says something else: it has records elsewhere, or a message.
fn says_otherwise(root: &Node, shape: &RecordShape) -> bool {
    has_message(root) || shape.has_list_within(root)
}

/// Whether a body has a message, and not one that all is well.
fn has_message(root: &Node) -> bool {
    const MESSAGES: [&str; 4] = ["message", "msg", "detail", "title"];
    let is_message = |value: &Node| matches!(value, Node::Text(_)) && value.text().is_some_and(|text| !body::is_fine_text(text));
    root.pairs().iter().any(|(key, value)| MESSAGES.contains(&key.to_ascii_lowercase().as_str()) && is_message(value))
}

/// The range of the object at a path.
fn object_at(text: &[u8], path: &FieldPath) -> Option<Range<usize>> {
    let mut raw: &RawValue = serde_json::from_slice(text).ok()?;
    for step in path.steps() {
        let object: std::collections::BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw.get()).ok()?;
        raw = object.get(step.as_str())?;
    }
    let start = (raw.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    raw.get().starts_with('{').then(|| start..start + raw.get().len())
}

/// Fails if the status is not a success.
pub(super) fn judge_status(response: &Response) -> Result<(), RequestFailure> {
    if response.status.is_success() {
        return Ok(());
    }
    Err(RequestFailure::Status { status: response.status.as_u16(), excerpt: redact::beginning(&response.body) })
}

/// The compression of a body, by its first bytes.
fn compressed(body: &[u8]) -> Option<&'static str> {
    let signatures: [(&[u8], &str); 3] = [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "zip")];
    signatures.into_iter().find(|(signature, _)| body.starts_with(signature)).map(|(_, format)| format)
}

fn warn_of_other_list(envelope: &Envelope) {
    if let (List::Found(read), Some(other)) = (&envelope.list, &envelope.other_list) {
        tracing::warn!("the body has lists under `{read}` and `{other}`: `{read}` is read (set `records` in a profile to choose one)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{settings::Profile, source::RecordShape};

    fn judged(status: u16, headers: &[(&'static str, &str)], body: &str, read_before: u64) -> Result<Vec<String>, RequestFailure> {
        let profile = Profile::default();
        let paths = |paths: &[&str]| paths.iter().map(|path| path.parse().unwrap()).collect();
        let shape = RecordShape {
            id: paths(&["order_id", "id"]),
            created_at: paths(&["created_at"]),
            lines: paths(&["items"]),
            ..RecordShape::default()
        };
        let source = crate::settings::Source { profile, ..crate::settings::Location::Files(String::new()).into() };
        let query = Query::all(&source, &shape);
        let response = Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
            url: "http://h/o".parse().unwrap(),
            body: Bytes::from(body.to_owned()),
        };
        let page = judge(response, &query, read_before)?;
        Ok(page.records().map(|record| String::from_utf8_lossy(record).into_owned()).collect())
    }

    #[test]
    fn an_error_in_a_successful_response_is_retried_and_shows_the_body() {
        let failure = judged(200, &[], r#"{"success":false,"data":[],"message":"quota"}"#, 0).unwrap_err();
        assert!(failure.is_transient());
        assert_eq!(
            failure.to_string(),
            r#"the server answered 200 with a body that reports an error: `success` is false: {"success":false,"data":[],"message":"quota"}"#
        );
        let failure = judged(400, &[], "bad page", 0).unwrap_err();
        assert_eq!((failure.to_string(), failure.is_transient()), ("the server answered 400: bad page".to_owned(), false));
        assert!(judged(200, &[], "", 0).unwrap_err().is_transient());
        let listed = r#"[{"errorCode":"INVALID_SESSION_ID","message":"expired"}]"#;
        assert!(matches!(judged(200, &[], listed, 0), Err(RequestFailure::Reported { .. })));
        let messages = r#"[{"message":"try later","field":null},{"message":"twice"}]"#;
        assert!(matches!(judged(200, &[], messages, 3), Err(RequestFailure::Reported { .. })));
        assert_eq!(judged(200, &[], r#"[{"message":"a gift","price":1}]"#, 3).unwrap().len(), 1, "a record without an id");
        let refused = r#"{"errors":[{"message":"no","extensions":{"code":"FORBIDDEN"}}],"data":null}"#;
        let failure = judged(200, &[], refused, 0).unwrap_err();
        assert!(!failure.is_transient() && failure.to_string().contains("the server refuses the credentials"), "{failure}");
        let busy = r#"{"errors":[{"message":"slow down","extensions":{"code":"THROTTLED"}}],"data":null}"#;
        assert!(judged(200, &[], busy, 0).unwrap_err().is_transient());
        let order = r#"[{"id":1,"error":"card declined"}]"#;
        assert_eq!(judged(200, &[], order, 0).unwrap().len(), 1, "an order's own error");
    }

    #[test]
    fn a_compressed_body_without_a_header_is_an_error_with_its_format() {
        let failure = judged(200, &[], "PK\u{3}\u{4}", 0).unwrap_err().to_string();
        assert!(failure.contains("compressed (zip)"), "{failure}");
    }

    #[test]
    fn null_is_an_empty_page_unless_the_total_is_larger() {
        assert_eq!(judged(200, &[], r#"{"orders":null,"total":0}"#, 0).unwrap(), [""; 0]);
        assert_eq!(judged(200, &[], "null", 0).unwrap(), [""; 0]);
        assert_eq!(judged(200, &[], r#"{"page":{"totalElements":0}}"#, 0).unwrap(), [""; 0]);
        let in_an_object = r#"{"data":[],"orders":{"7":{"order_id":7}}}"#;
        assert!(matches!(judged(200, &[], in_an_object, 0), Err(RequestFailure::NoRecords { .. })));
        assert_eq!(judged(200, &[("x-wp-total", "0")], in_an_object, 0).unwrap(), [""; 0]);
        assert!(matches!(judged(200, &[("x-wp-total", "9")], "null", 3), Err(RequestFailure::NullRecords { total: 9, .. })));
        assert_eq!(judged(200, &[("x-wp-total", "9")], "null", 9).unwrap(), [""; 0]);
    }

    #[test]
    fn a_total_of_0_is_believed_only_where_nothing_says_otherwise() {
        let order = r#"{"id":1,"created_at":"2026-01-01"}"#;
        for (body, read_before) in [
            (format!(r#"{{"total":0,"entries":[{order}]}}"#), 0),
            (format!(r#"{{"total":0,"page":{{"entries":[{order}]}}}}"#), 0),
            (r#"{"total":0,"message":"see the documentation"}"#.to_owned(), 0),
            (r#"{"total":0}"#.to_owned(), 5),
        ] {
            assert!(matches!(judged(200, &[], &body, read_before), Err(RequestFailure::NoRecords { .. })), "{body}");
        }
        let failure = judged(200, &[], &format!(r#"{{"total":0,"orders":[{order}]}}"#), 0).unwrap_err();
        assert!(failure.is_transient() && failure.to_string().contains("announces 0 records, but has 1 record ("), "{failure}");
        for fine in [
            r#"{"total":0}"#,
            r#"{"total":0,"message":"No orders found"}"#,
            r#"{"total":0,"links":[{"rel":"self","href":"/"}],"filters":[{"id":"status"}]}"#,
        ] {
            assert_eq!(judged(200, &[], fine, 0).unwrap(), [""; 0], "{fine}");
        }
    }

    #[test]
    fn an_empty_page_whose_words_say_that_it_failed_is_no_end() {
        for body in [r#"{"code":1001,"message":"rate limited","data":[]}"#, r#"{"message":"Too many requests","data":null}"#] {
            assert!(matches!(judged(200, &[], body, 5), Err(RequestFailure::Reported { .. })), "{body}");
        }
        assert_eq!(judged(200, &[], r#"{"code":1001,"message":"rate limited","data":[{"id":1}]}"#, 5).unwrap().len(), 1);
        assert_eq!(judged(200, &[], r#"{"code":0,"message":"all orders","data":[]}"#, 5).unwrap(), [""; 0]);
    }

    #[test]
    fn a_body_without_records_is_retried_only_if_earlier_pages_had_records() {
        assert!(!judged(200, &[], r#"{"message":"moved"}"#, 0).unwrap_err().is_transient());
        assert!(judged(200, &[], r#"{"message":"moved"}"#, 3).unwrap_err().is_transient());
    }

    #[test]
    fn nothing_at_the_place_of_records_is_an_empty_list_unless_the_body_says_something_else() {
        let judged = |body: &'static str| {
            let profile = Profile { records: "Sale".parse().ok(), record_list: RecordList::ListOrObject, ..Profile::default() };
            let source = crate::settings::Source { profile, ..crate::settings::Location::Files(String::new()).into() };
            let shape = RecordShape::default();
            let response = Response {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                url: "http://h/o".parse().unwrap(),
                body: Bytes::from_static(body.as_bytes()),
            };
            judge(response, &Query::all(&source, &shape), 0).map(|page| page.records().count())
        };
        for empty in ["{}", r#"{"@attributes":{"count":"0"}}"#, r#"{"cursor":"x","Sales":[],"message":null}"#, "[]"] {
            assert_eq!(judged(empty).unwrap(), 0, "{empty}");
        }
        assert_eq!(judged(r#"{"Sale":{"id":1}}"#).unwrap(), 1);
        for other in [r#"{"message":"moved"}"#, r#"{"Sales":[{"id":1}]}"#] {
            assert!(matches!(judged(other), Err(RequestFailure::NoRecords { .. })), "{other}");
        }
    }

    #[test]
    fn one_order_may_be_the_whole_body() {
        let body = r#"{"id":17,"created_at":"2026-01-01","status":"failed","items":[{"sku":"S"}]}"#;
        assert_eq!(judged(200, &[], body, 0).unwrap(), [body]);
        assert_eq!(judged(200, &[], "\u{feff}[{\"id\":1}]", 0).unwrap(), [r#"{"id":1}"#]);
    }
}
