//! Detects an error that a body reports, even if the status of its response is a success (contract, Completeness).
//!
//! Looks only at the top of the envelope, because an error inside a record is not an error of the request. What is certain is an error
//! whatever else a body has; what is likely is one only where the body has no record, and would else be the end of a list.

use super::{Node, OVERSIZED};
use crate::source::error::ReportedRefusal;

/// Keys whose value, if not empty, is an error. Compared without case and punctuation, as all keys and words here.
const ERROR_KEYS: [&str; 23] = [
    "error",
    "errors",
    "err",
    "errs",
    "errormessage",
    "errormessages",
    "errorcode",
    "errordescription",
    "errormsg",
    "errcode",
    "errmsg",
    "errno",
    "errorno",
    "errorcount",
    "errorscount",
    "apierror",
    "apierrors",
    "fault",
    "faultcode",
    "faultstring",
    "exception",
    "failure",
    "failures",
];

/// Keys of a boolean that is true where the request failed, or where its answer lacks something.
const FAILURE_FLAGS: [&str; 10] =
    ["iserror", "haserror", "haserrors", "failed", "isfailed", "hasfailed", "hasfailures", "timedout", "incompleteresults", "isincomplete"];

/// Keys of a boolean that says of an answer without records that it is not whole. Others may mean records without all of their fields.
const PARTIAL_FLAGS: [&str; 4] = ["partial", "ispartial", "partialresults", "incomplete"];

/// Keys of a boolean that says whether the request succeeded.
const SUCCESS_KEYS: [&str; 5] = ["success", "ok", "succeeded", "issuccess", "successful"];

/// Keys of a word, a status code or a boolean that says how the request ended.
const STATUS_KEYS: [&str; 13] = [
    "status",
    "state",
    "result",
    "outcome",
    "ack",
    "code",
    "statuscode",
    "httpstatus",
    "httpstatuscode",
    "responsecode",
    "returncode",
    "retcode",
    "resultcode",
];

/// Those of them that name a code: a text is then a code of an error, or of success, and no word of the source's own.
const CODE_KEYS: [&str; 8] = ["code", "statuscode", "httpstatus", "httpstatuscode", "responsecode", "returncode", "retcode", "resultcode"];

/// Keys of a sentence about the response.
const MESSAGE_KEYS: [&str; 9] =
    ["message", "msg", "detail", "reason", "statusmessage", "responsemessage", "returnmessage", "resultmessage", "retmsg"];

/// Values of a status key that mean that the request failed.
const FAILED_WORDS: [&str; 19] = [
    "error",
    "err",
    "errors",
    "fail",
    "failed",
    "failure",
    "partialfailure",
    "ko",
    "nok",
    "exception",
    "unauthorized",
    "forbidden",
    "denied",
    "throttled",
    "ratelimited",
    "unavailable",
    "timeout",
    "timedout",
    "internalservererror",
];

/// Parts of codes and sentences that mean that the request failed.
const FAILED_PARTS: [&str; 24] = [
    "error",
    "fail",
    "timeout",
    "timedout",
    "toomany",
    "ratelimit",
    "quota",
    "throttl",
    "unavailable",
    "overload",
    "maintenance",
    "busy",
    "tryagain",
    "unauthori",
    "unauthent",
    "forbidden",
    "denied",
    "exception",
    "expired",
    "invalid",
    "aborted",
    "refused",
    "unsuccess",
    "notsuccess",
];

/// Values of an error key, and sentences, that mean that there was no error.
const FINE_WORDS: [&str; 14] =
    ["", "none", "null", "no", "false", "ok", "okay", "fine", "done", "found", "complete", "completed", "noerror", "noerrors"];

/// Parts of codes and sentences that mean that there was no error, in some languages, or that there is nothing to list.
const FINE_PARTS: [&str; 20] = [
    "succ",
    "成功",
    "exito",
    "éxito",
    "erfolg",
    "sucesso",
    "noerror",
    "withouterror",
    "0error",
    "0failed",
    "noorder",
    "norecord",
    "nodata",
    "noresult",
    "noitem",
    "nomore",
    "nothing",
    "empty",
    "ordersnotfound",
    "recordsnotfound",
];

/// Keys of objects in the envelope that describe the whole response.
const RESPONSE_KEYS: [&str; 10] =
    ["meta", "metadata", "response", "responsestatus", "responsemetadata", "responseheader", "header", "head", "status", "result"];

/// Keys of an object that is a record, wherever it stands.
const RECORD_IDS: [&str; 4] = ["id", "orderid", "orderno", "ordernumber"];

/// The error that a body reports, if any: its key and the kind of its value.
pub(in crate::source) fn reported_error(root: &Node) -> Option<String> {
    parts(root).into_iter().flat_map(Node::pairs).find(|(key, value)| is_error(&plain(key), value)).map(|(key, value)| said(key, value))
}

/// What makes it doubtful that a body without records is an empty list.
pub(in crate::source) fn doubted_emptiness(root: &Node) -> Option<String> {
    parts(root).into_iter().find_map(|part| {
        let message = part.pairs().iter().find(|(key, value)| MESSAGE_KEYS.contains(&plain(key).as_str()) && value.text().is_some());
        let says_something = message.is_some_and(|(_, value)| !value.text().is_some_and(is_fine_text));
        let is_doubtful = |key: &str, value: &Node| {
            SUCCESS_KEYS.contains(&key) && *value == Node::Null
                || PARTIAL_FLAGS.contains(&key) && is_true(value)
                || CODE_KEYS.contains(&key) && says_something && !is_fine_code(value)
        };
        let by_key = part.pairs().iter().find(|(key, value)| is_doubtful(&plain(key), value));
        let by_message = message.filter(|(_, value)| value.text().is_some_and(is_failing_text));
        by_key.or(by_message).map(|(key, value)| said(key, value))
    })
}

/// Keys beside an error that say more of it.
const DETAILS: [&str; 6] = ["title", "type", "field", "path", "location", "extensions"];

/// Keys beside an error that name the request or what it asked for.
const REQUEST_KEYS: [&str; 6] = ["orderid", "requestid", "traceid", "correlationid", "timestamp", "instance"];

/// Whether a key, without case and punctuation, tells of an error.
fn tells_of_error(key: &str) -> bool {
    MESSAGE_KEYS.contains(&key) || STATUS_KEYS.contains(&key) || ERROR_KEYS.contains(&key) || DETAILS.contains(&key)
}

/// The message of an object that has nothing but a message, such as an element of a list of errors.
pub(in crate::source) fn lone_message(object: &Node) -> Option<String> {
    let pairs = object.pairs();
    let message = pairs.iter().find(|(key, value)| MESSAGE_KEYS.contains(&plain(key).as_str()) && value.text().is_some())?;
    pairs.iter().all(|(key, _)| tells_of_error(&plain(key))).then(|| said(&message.0, &message.1))
}

/// The error of an object that has nothing but an error, and what names the request. A refund that failed is none.
pub(in crate::source) fn lone_error(object: &Node) -> Option<String> {
    let is_of_error =
        |key: &str| tells_of_error(key) || FAILURE_FLAGS.contains(&key) || SUCCESS_KEYS.contains(&key) || REQUEST_KEYS.contains(&key);
    reported_error(object).filter(|_| object.pairs().iter().all(|(key, _)| is_of_error(&plain(key))))
}

/// Whether a sentence says that there was no error, or that there is nothing to list.
pub(in crate::source) fn is_fine_text(text: &str) -> bool {
    let text = plain(text);
    let is_fine = FINE_WORDS.contains(&text.as_str()) || FINE_PARTS.iter().any(|part| text.contains(part));
    is_fine && !["unsucc", "notsucc"].iter().any(|part| text.contains(part))
}

/// The envelope, and the objects in it that describe the response.
fn parts(root: &Node) -> Vec<&Node> {
    let mut parts = vec![root];
    let mut at = 0;
    while let Some(part) = parts.get(at).copied() {
        let describes = |(key, value): &&(String, Node)| {
            RESPONSE_KEYS.contains(&plain(key).as_str()) && matches!(value, Node::Object(_)) && !may_be_record(value)
        };
        parts.extend(part.pairs().iter().filter(describes).map(|(_, value)| value));
        at += 1;
    }
    parts
}

fn may_be_record(object: &Node) -> bool {
    object.pairs().iter().any(|(key, _)| RECORD_IDS.contains(&plain(key).as_str()))
}

/// Whether a value under a key reports an error for certain.
fn is_error(key: &str, value: &Node) -> bool {
    if ERROR_KEYS.contains(&key) {
        let is_fine_code = key.ends_with("code") && value.count().is_some_and(|code| (200..300).contains(&code));
        return is_error_value(value) && !is_fine_code;
    }
    FAILURE_FLAGS.contains(&key) && is_true(value)
        || SUCCESS_KEYS.contains(&key) && is_false(value)
        || STATUS_KEYS.contains(&key) && is_failed_status(value)
        || CODE_KEYS.contains(&key) && matches!(value, Node::Text(text) if value.count().is_none() && is_failing_text(text))
}

/// The key of an error, and the kind of its value.
fn said(key: &str, value: &Node) -> String {
    format!("`{key}` is {}", shown(value))
}

/// Codes by which GraphQL servers refuse credentials. Compared without case and punctuation.
const REFUSED_CREDENTIALS: [&str; 7] =
    ["forbidden", "unauthenticated", "unauthorized", "accessdenied", "permissiondenied", "invalidtoken", "expiredsignatureerror"];

/// Whether the errors of a GraphQL body refuse the credentials: each by its code.
pub(in crate::source) fn reported_refusal(root: &Node) -> ReportedRefusal {
    let child = |node: &Node, key: &str| node.pairs().iter().find(|(own, _)| own == key).map(|(_, value)| value.clone());
    let code = |error: &Node| {
        let extensions = child(error, "extensions")?;
        let exception = child(&extensions, "exception").and_then(|exception| child(&exception, "code"));
        child(&extensions, "code").or(exception)?.text().map(plain)
    };
    let Some(Node::Array(errors)) = child(root, "errors") else { return ReportedRefusal::Other };
    let refuses = |error: &Node| code(error).is_some_and(|code| REFUSED_CREDENTIALS.contains(&code.as_str()));
    if !errors.is_empty() && errors.iter().all(refuses) { ReportedRefusal::Credentials } else { ReportedRefusal::Other }
}

/// A name without case and punctuation.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_error_value(value: &Node) -> bool {
    match value {
        Node::Null | Node::Bool(false) => false,
        Node::Bool(true) => true,
        // `0`, `0.0` and `00000` are the codes of "no error".
        Node::Number(text) | Node::Text(text) if !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0' | b'.')) => false,
        Node::Number(_) => true,
        Node::Text(text) => text == OVERSIZED || !is_fine_word(&plain(text)),
        Node::Array(elements) => elements.iter().any(|element| !element.pairs().is_empty() || is_error_value(element)),
        // `{"code":0,"message":""}` is not an error.
        Node::Object(pairs) => pairs.iter().any(|(_, value)| is_error_value(value)),
    }
}

/// Whether the value of an error key says that there was none. A sentence there is an error, whatever its words.
fn is_fine_word(word: &str) -> bool {
    FINE_WORDS.contains(&word) || matches!(word, "success" | "successful")
}

fn is_false(value: &Node) -> bool {
    match value {
        Node::Bool(is_true) => !is_true,
        Node::Number(text) => text == "0",
        Node::Text(text) => matches!(plain(text).as_str(), "false" | "no" | "0"),
        _ => false,
    }
}

fn is_true(value: &Node) -> bool {
    match value {
        Node::Bool(is_true) => *is_true,
        Node::Text(text) => matches!(plain(text).as_str(), "true" | "yes"),
        _ => false,
    }
}

fn is_failed_status(value: &Node) -> bool {
    match value {
        Node::Bool(is_true) => !is_true,
        // An HTTP status in the body.
        Node::Number(_) | Node::Text(_) if value.count().is_some() => value.count().is_some_and(|code| (400..600).contains(&code)),
        Node::Number(text) => text.starts_with('-'),
        Node::Text(text) => {
            let word = plain(text);
            let ends_so = ["error", "errors", "exception"].iter().any(|end| word.ends_with(end));
            is_negative(text) || FAILED_WORDS.contains(&word.as_str()) || ends_so && !is_fine_text(text)
        }
        _ => false,
    }
}

fn is_negative(text: &str) -> bool {
    text.trim().strip_prefix('-').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a code means success in every API: many have numbers of their own for errors, and some for success.
fn is_fine_code(value: &Node) -> bool {
    match value.count() {
        Some(code) => code == 0 || (200..300).contains(&code),
        None => !matches!(value, Node::Text(text) if !is_fine_text(text)),
    }
}

fn is_failing_text(text: &str) -> bool {
    let word = plain(text);
    !is_fine_text(text) && (FAILED_WORDS.contains(&word.as_str()) || FAILED_PARTS.iter().any(|part| word.contains(part)))
}

fn shown(value: &Node) -> &'static str {
    match value {
        Node::Null => "null",
        Node::Bool(true) => "true",
        Node::Bool(false) => "false",
        Node::Array(_) => "a list of errors",
        Node::Object(_) | Node::Number(_) | Node::Text(_) => "an error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_error(body: &str) -> bool {
        reported_error(&Node::parse(body).unwrap()).is_some()
    }

    #[test]
    fn errors_are_found_in_each_of_their_forms() {
        for body in [
            r#"{"status":"error","data":null}"#,
            r#"{"data":null,"errors":[{"message":"no"}]}"#,
            r#"{"success":false,"data":[]}"#,
            r#"{"error":{"code":17},"orders":[]}"#,
            r#"{"error":true}"#,
            r#"{"error":"rate limited"}"#,
            r#"{"ok":false}"#,
            r#"{"Success":"false"}"#,
            r#"{"status":503,"orders":[]}"#,
            r#"{"code":"429","data":[]}"#,
            r#"{"status":"FAIL"}"#,
            r#"{"fault":{"faultstring":"x"}}"#,
            r#"{"error_code":7,"data":[]}"#,
            r#"{"meta":{"code":401},"data":[]}"#,
            r#"{"status":{"code":500,"message":"x"},"data":[]}"#,
            r#"{"hasErrors":true,"data":[],"next":null}"#,
            r#"{"state":"error","message":"db down","data":[],"total":0}"#,
            r#"{"code":-1,"msg":"system busy","data":[]}"#,
            r#"{"code":"INTERNAL_ERROR","message":"x","data":[]}"#,
            r#"{"code":"RATE_LIMITED","data":[]}"#,
            r#"{"isError":true,"data":[]}"#,
            r#"{"has_error":"true","data":[]}"#,
            r#"{"failed":true,"data":[]}"#,
            r#"{"err":"x","data":[]}"#,
            r#"{"api_error":"x","data":[]}"#,
            r#"{"_error":"x","data":[]}"#,
            r#"{"ERRORS":["x"],"data":[]}"#,
            r#"{"status":false,"data":[]}"#,
            r#"{"faultcode":"x","faultstring":"y","data":[]}"#,
            r#"{"timed_out":true,"data":[]}"#,
            r#"{"incomplete_results":true,"data":[{"id":1}]}"#,
            r#"{"errno":5,"data":[]}"#,
            r#"{"errors_count":3,"data":[]}"#,
            r#"{"ack":"Failure","data":[]}"#,
            r#"{"Ack":"PartialFailure","data":[]}"#,
            r#"{"result":{"status":"error"},"data":[]}"#,
            r#"{"ResponseMetadata":{"HTTPStatusCode":503},"data":[]}"#,
            r#"{"status":"SERVER_ERROR","data":[]}"#,
        ] {
            assert!(is_error(body), "{body}");
        }
    }

    #[test]
    fn a_body_without_an_error_reports_none() {
        for body in [
            r#"{"error":null,"orders":[]}"#,
            r#"{"errors":[],"data":[]}"#,
            r#"{"error":"","data":[]}"#,
            r#"{"error":{"code":0,"message":""},"data":[]}"#,
            r#"{"error_code":"00000","data":[]}"#,
            r#"{"errcode":0,"errmsg":"ok"}"#,
            r#"{"errorCode":200,"data":[]}"#,
            r#"{"errors":[null],"data":[]}"#,
            r#"{"errors":{"count":0,"list":[]},"data":[]}"#,
            r#"{"success":true,"data":[]}"#,
            r#"{"status":"ok","code":200}"#,
            r#"{"status":"success","result":"done"}"#,
            r#"{"code":0}"#,
            r#"{"message":"fine","warnings":["x"]}"#,
            r#"[{"error":"x"}]"#,
            r#"{"code":0,"message":"internal transfer of orders","data":[{"id":1}]}"#,
            r#"{"code":"0000","msg":"OK","data":[]}"#,
            r#"{"code":"SUCCESS","data":[]}"#,
            r#"{"code":1001,"message":"rate limited","data":[{"id":1}]}"#,
            r#"{"code":"DE","orders":[]}"#,
            r#"{"ack":"Warning","orders":[{"id":1}]}"#,
            r#"{"failed":0,"timed_out":false,"hasErrors":false,"errno":0,"errors_count":0,"orders":[]}"#,
            r#"{"failed":3,"paid":9,"orders":[{"id":1}]}"#,
            r#"{"result":{"id":7,"status":"failed"}}"#,
            r#"{"result":[{"status":"error"}],"state":"closed"}"#,
            r#"{"status":"no errors","data":[]}"#,
            r#"{"success":null,"errors":null,"data":[{"id":1}]}"#,
            r#"{"partial":true,"data":[{"id":1}]}"#,
        ] {
            assert!(!is_error(body), "{body}");
        }
    }

    #[test]
    fn a_body_without_records_is_no_empty_list_if_its_words_say_otherwise() {
        let doubt = |body: &str| doubted_emptiness(&Node::parse(body).unwrap());
        for body in [
            r#"{"code":1001,"message":"rate limited","data":[]}"#,
            r#"{"code":1001,"message":"Bitte warten","data":[]}"#,
            r#"{"message":"Too many requests","data":[]}"#,
            r#"{"total":0,"message":"upstream timeout"}"#,
            r#"{"status":0,"msg":"fail","data":[]}"#,
            r#"{"success":null,"data":[]}"#,
            r#"{"partial":true,"data":[]}"#,
            r#"{"meta":{"code":"E17","msg":"unsuccessful"},"data":[]}"#,
        ] {
            assert!(doubt(body).is_some(), "{body}");
        }
        for body in [
            r#"{"code":0,"message":"ok","data":[]}"#,
            r#"{"code":200,"message":"Orders of 2026","data":[]}"#,
            r#"{"code":20000,"message":"success","data":[]}"#,
            r#"{"code":1,"msg":"操作成功","data":[]}"#,
            r#"{"code":1,"data":[]}"#,
            r#"{"message":"No orders found","data":[]}"#,
            r#"{"code":1404,"message":"no data","data":[]}"#,
            r#"{"message":"","data":[]}"#,
            r#"{"warnings":["deprecated: will fail in 2027"],"data":[]}"#,
            r#"{"total":0,"data":[]}"#,
        ] {
            assert_eq!(doubt(body), None, "{body}");
        }
    }
}
