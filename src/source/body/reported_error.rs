//! Detects an error that a body reports, even if the status of its response is a success (contract, Completeness).
//!
//! Looks only at the top of the envelope, because an error inside a record is not an error of the request.

use super::{Node, OVERSIZED};
use crate::source::error::ReportedRefusal;

/// Keys whose value, if not empty, is an error. Compared without case and punctuation.
const ERROR_KEYS: [&str; 12] = [
    "error",
    "errors",
    "errormessage",
    "errormessages",
    "errorcode",
    "errordescription",
    "errormsg",
    "errcode",
    "errmsg",
    "fault",
    "exception",
    "failure",
];

/// Keys of a boolean that says whether the request succeeded.
const SUCCESS_KEYS: [&str; 5] = ["success", "ok", "succeeded", "issuccess", "successful"];

/// Keys of a word or a status code that says how the request ended.
const STATUS_KEYS: [&str; 7] = ["status", "result", "outcome", "code", "statuscode", "httpstatus", "responsecode"];

/// Values of a status key that mean that the request failed.
const FAILED_WORDS: [&str; 16] = [
    "error",
    "err",
    "errors",
    "fail",
    "failed",
    "failure",
    "ko",
    "nok",
    "exception",
    "unauthorized",
    "forbidden",
    "denied",
    "throttled",
    "unavailable",
    "timeout",
    "internalservererror",
];

/// Values of an error key that mean that there was no error.
const FINE_WORDS: [&str; 9] = ["", "none", "null", "no", "false", "ok", "success", "noerror", "noerrors"];

/// Keys of objects in the envelope that describe the whole response.
const RESPONSE_KEYS: [&str; 6] = ["meta", "metadata", "response", "responsestatus", "header", "status"];

/// The error that a body reports, if any: its key and the kind of its value.
pub(in crate::source) fn reported_error(root: &Node) -> Option<String> {
    root.pairs().iter().find_map(|(key, value)| {
        let plain = plain(key);
        if RESPONSE_KEYS.contains(&plain.as_str()) && matches!(value, Node::Object(_)) {
            return reported_error(value);
        }
        let is_fine_code = plain.ends_with("code") && value.count().is_some_and(|code| (200..300).contains(&code));
        let reports = if ERROR_KEYS.contains(&plain.as_str()) {
            is_error_value(value) && !is_fine_code
        } else if SUCCESS_KEYS.contains(&plain.as_str()) {
            is_false(value)
        } else {
            STATUS_KEYS.contains(&plain.as_str()) && is_failed_status(value)
        };
        reports.then(|| format!("`{key}` is {}", shown(value)))
    })
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
        Node::Text(text) => text == OVERSIZED || !FINE_WORDS.contains(&plain(text).as_str()),
        Node::Array(elements) => elements.iter().any(|element| !element.pairs().is_empty() || is_error_value(element)),
        // `{"code":0,"message":""}` is not an error.
        Node::Object(pairs) => pairs.iter().any(|(_, value)| is_error_value(value)),
    }
}

fn is_false(value: &Node) -> bool {
    match value {
        Node::Bool(is_true) => !is_true,
        Node::Number(text) => text == "0",
        Node::Text(text) => matches!(plain(text).as_str(), "false" | "no" | "0"),
        _ => false,
    }
}

fn is_failed_status(value: &Node) -> bool {
    match value {
        // An HTTP status in the body.
        Node::Number(_) | Node::Text(_) if value.count().is_some() => value.count().is_some_and(|code| (400..600).contains(&code)),
        Node::Text(text) => FAILED_WORDS.contains(&plain(text).as_str()),
        _ => false,
    }
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
        ] {
            assert!(!is_error(body), "{body}");
        }
    }
}
