//! What a failed operation of a bucket means: the store's own words, a hint, and whether it may have been done.

use object_store::Error;
use reqwest::StatusCode;
use serde_json::Value;

use super::exchange::{Answer, Lost, Seen};
use crate::{
    model::counted,
    net::{error_chain::chain, redact},
    settings::{AwsCredentials, AzureIdentity, BucketScheme, GoogleCredentials, StorageCredentials, StorageSettings},
    store::{Condition, PutError, StoreError},
};

/// Codes of status 409 or 404 under a condition that say nothing about the condition.
const NOT_CONFLICTS: [&str; 8] = [
    "NoSuchBucket",
    "NoSuchUpload",
    "OperationAborted",
    "ContainerNotFound",
    "ContainerBeingDeleted",
    "BlobImmutableDueToPolicy",
    "LeaseIdMissing",
    "AccountBeingCreated",
];

/// The `store` of an error of [`super::credentials`].
pub(super) const CREDENTIALS: &str = "credentials";

/// What was to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Get,
    List,
    Put,
    Delete,
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Action::Get => "read",
            Action::List => "list",
            Action::Put => "write",
            Action::Delete => "delete",
        }
    }

    /// What the credentials must be allowed to do.
    fn permission(self, scheme: BucketScheme) -> &'static str {
        match (scheme, self) {
            (BucketScheme::S3, Action::Get) => "s3:GetObject, and s3:ListBucket, without which a missing object is reported like this",
            (BucketScheme::S3, Action::List) => "s3:ListBucket on the bucket",
            (BucketScheme::S3, Action::Put) => "s3:PutObject and s3:AbortMultipartUpload",
            (BucketScheme::S3, Action::Delete) => "s3:DeleteObject",
            (BucketScheme::Gs, Action::Get) => "storage.objects.get",
            (BucketScheme::Gs, Action::List) => "storage.objects.list",
            (BucketScheme::Gs, Action::Put) => "storage.objects.create and storage.objects.delete",
            (BucketScheme::Gs, Action::Delete) => "storage.objects.delete",
            (BucketScheme::Az, Action::Get | Action::List) => "the role Storage Blob Data Reader",
            (BucketScheme::Az, Action::Put | Action::Delete) => "the role Storage Blob Data Contributor",
        }
    }
}

/// A store's own words about an error.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Words {
    /// Its code, such as `NoSuchBucket`.
    pub(super) code: Option<String>,
    /// Its message, in one line.
    pub(super) message: Option<String>,
    /// The region that it names.
    pub(super) region: Option<String>,
}

/// The words of the body of an error: XML, or JSON of Google.
pub(super) fn words(body: &[u8]) -> Words {
    let text = String::from_utf8_lossy(body);
    if let Ok(json) = serde_json::from_str::<Value>(&text) {
        return json_words(&json);
    }
    let code = tag(&text, "Code");
    if code.is_none() {
        let beginning = redact::beginning(body);
        return Words { message: Some(beginning).filter(|text| !text.is_empty()), ..Words::default() };
    }
    let message = [tag(&text, "Message"), tag(&text, "Details")].into_iter().flatten().collect::<Vec<_>>().join("; ");
    Words { code, message: Some(message).filter(|text| !text.is_empty()), region: tag(&text, "Region") }
}

fn json_words(json: &Value) -> Words {
    let error = json.get("error").unwrap_or(json);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(one_line);
    let code = text(error.get("status")).or_else(|| text(Some(error)));
    let message = text(error.get("message")).or_else(|| text(json.get("error_description")));
    Words { code, message, region: None }
}

/// The text of the first element of this name.
fn tag(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&");
    Some(one_line(&text)).filter(|text| !text.is_empty())
}

fn one_line(text: &str) -> String {
    redact::beginning(text.as_bytes())
}

/// A failed operation.
pub(super) struct Failure<'b> {
    pub(super) settings: &'b StorageSettings,
    pub(super) action: Action,
    /// The URL of the object, or of the folder.
    pub(super) location: String,
    pub(super) seen: Seen,
}

impl Failure<'_> {
    /// Whether there is no such object. A bucket that is missing is an error.
    pub(super) fn is_absent(&self, error: &Error) -> bool {
        matches!(error, Error::NotFound { .. }) && !matches!(self.code(), Some("NoSuchBucket" | "ContainerNotFound"))
    }

    /// `None` if there is no such object.
    pub(super) fn absent_or_error<T>(self, error: &Error) -> Result<Option<T>, StoreError> {
        if self.is_absent(error) { Ok(None) } else { Err(self.error(error)) }
    }

    /// The error.
    pub(super) fn error(self, error: &Error) -> StoreError {
        let detail = redact::text(&self.detail(error)).into_owned();
        StoreError::Bucket { action: self.action.verb(), location: self.location, detail }
    }

    /// The error of a put or a deletion.
    pub(super) fn put_error(self, error: &Error, condition: &Condition) -> PutError {
        let is_conflict = matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. });
        if is_conflict && *condition != Condition::Always && !self.code().is_some_and(|code| NOT_CONFLICTS.contains(&code)) {
            return PutError::Conflict;
        }
        let may_be_done = self.seen.may_be_done;
        let error = self.error(error);
        if may_be_done { PutError::Unknown(error) } else { PutError::Io(error) }
    }

    fn code(&self) -> Option<&str> {
        self.seen.answer.as_ref()?.words.code.as_deref()
    }

    fn detail(&self, error: &Error) -> String {
        let attempts = match self.seen.attempts {
            0 | 1 => String::new(),
            attempts => format!(", after {}", counted(u64::from(attempts), "attempt")),
        };
        match (&self.seen.answer, &self.seen.lost) {
            (_, Some(lost)) => {
                let hint = self.lost_hint(lost).map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{}{attempts}{hint}", lost_words(lost))
            }
            (Some(answer), None) if !answer.status.is_success() => {
                let hint = self.hint(answer).map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{}{attempts}{hint}", answer_words(answer))
            }
            _ => format!("{}{attempts}", own_words(error)),
        }
    }

    fn lost_hint(&self, lost: &Lost) -> Option<&'static str> {
        let cause = lost.cause.as_str();
        if cause.contains("UnknownIssuer") {
            return Some("this machine does not trust the authority that signed the server's certificate: set http.ca_file");
        }
        if cause.contains("(Connect)") {
            return Some(match &self.settings.endpoint {
                Some(_) => "does the server run, and is storage.endpoint, or the variable for it, right?",
                None => "can this machine reach it? A proxy is set by http.proxy",
            });
        }
        let is_slow = cause.contains("timed out") || cause.contains("no answer within");
        is_slow.then_some("on a slow network, set storage.request_timeout")
    }

    /// What helps, as far as an answer tells.
    fn hint(&self, answer: &Answer) -> Option<String> {
        let settings = self.settings;
        let of = origin(&settings.credentials);
        match answer.words.code.as_deref() {
            Some("NoSuchBucket" | "ContainerNotFound") => return Some("create it, or correct the name in the URL of the output".into()),
            Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" | "TemporaryRedirect") => {
                return Some(self.region_hint(answer));
            }
            Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthenticationFailed" | "InvalidToken") => {
                return Some(format!("the store does not know {of}, or the secret is wrong"));
            }
            Some("ExpiredToken" | "TokenRefreshRequired") => return Some(format!("the session of {of} has ended: get new credentials")),
            Some("RequestTimeTooSkewed") => return Some("the clock of this machine is wrong".into()),
            Some("EntityTooLarge") => return Some("the store takes at most 5 GiB in one request".into()),
            Some("NotImplemented") => return Some("the server does not know this request: conditional puts are needed".into()),
            _ => {}
        }
        match answer.status {
            StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT => Some(self.region_hint(answer)),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                Some(format!("{of} must be allowed {}", self.action.permission(settings.location.scheme)))
            }
            // A store names what is missing: this may be a server of something else.
            StatusCode::NOT_FOUND if answer.words.code.is_none() => {
                settings.endpoint.as_ref().map(|_| "is storage.endpoint, or the variable for it, the address of a store?".into())
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some("the proxy asks for credentials: set ETL_PROXY".into()),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some("the store is busy: run again later".into()),
            _ => None,
        }
    }

    fn region_hint(&self, answer: &Answer) -> String {
        let asked = self.settings.region.as_deref().unwrap_or(super::client::DEFAULT_REGION);
        match answer.region.as_deref() {
            Some(region) if region != asked => {
                format!("the bucket is in region {region}, but {asked} was asked: set storage.region, or AWS_REGION, to {region}")
            }
            _ => format!("region {asked} was asked: set storage.region, or AWS_REGION, to that of the bucket"),
        }
    }
}

fn answer_words(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    match (&answer.words.code, &answer.words.message) {
        (Some(code), Some(message)) => format!("HTTP {status} {code}: {}", message.trim_end_matches('.')),
        (Some(text), None) | (None, Some(text)) => format!("HTTP {status} {text}"),
        (None, None) => format!("HTTP {status} {}", answer.status.canonical_reason().unwrap_or_default()).trim_end().to_owned(),
    }
}

fn lost_words(lost: &Lost) -> String {
    // "HTTP error" and "error sending request" say no more than that there was none.
    let cause = lost.cause.trim_start_matches("HTTP error: ").trim_start_matches("error sending request: ");
    format!("no answer from {}: {cause}", lost.server)
}

/// The words of an error that no answer tells: credentials, or an answer that can't be read.
pub(super) fn own_words(error: &Error) -> String {
    let text = match error {
        // Our own text, which is never long.
        Error::Generic { store: CREDENTIALS, source } => return redact::text(&source.to_string()).into_owned(),
        Error::Generic { source, .. } => chain(source.as_ref()),
        other => chain(other),
    };
    // S3 completes an upload with status 200, and may tell an error after that.
    match (tag(&text, "Code"), tag(&text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {}", message.trim_end_matches('.')),
        // The words say no more than that there was an error.
        _ => redact::beginning(text.replace("HTTP error: ", "").as_bytes()),
    }
}

/// Where the credentials come from.
pub(super) fn origin(credentials: &StorageCredentials) -> String {
    match credentials {
        StorageCredentials::Anonymous => "an anonymous user (storage.anonymous)".to_owned(),
        StorageCredentials::Aws(aws) => match aws {
            AwsCredentials::Keys { origin, .. } => format!("the keys of {origin}"),
            AwsCredentials::WebIdentity { identity, .. } => identity.role_arn.clone(),
            AwsCredentials::Process { profile, .. } => format!("`credential_process` of the AWS profile `{profile}`"),
            AwsCredentials::Task(_) => "the role of the ECS task".to_owned(),
            AwsCredentials::Pod { .. } => "the identity of the EKS pod".to_owned(),
            AwsCredentials::Instance { .. } | AwsCredentials::Missing => "the role of the instance".to_owned(),
        },
        StorageCredentials::Google(google) => match google {
            GoogleCredentials::ServiceAccount(path) | GoogleCredentials::ApplicationDefault(path) => {
                format!("the account of {}", path.display())
            }
            GoogleCredentials::ServiceAccountKey(_) => "the account of GOOGLE_SERVICE_ACCOUNT_KEY".to_owned(),
            GoogleCredentials::Discover => "the application default credentials".to_owned(),
        },
        StorageCredentials::Azure(azure) => match &azure.identity {
            AzureIdentity::Anonymous => "an anonymous user (storage.anonymous)".to_owned(),
            AzureIdentity::Emulator => "the emulator's account".to_owned(),
            AzureIdentity::AccountKey(_) => "the key of AZURE_STORAGE_ACCOUNT_KEY".to_owned(),
            AzureIdentity::SharedAccess(_) => "the signature of AZURE_STORAGE_SAS_TOKEN".to_owned(),
            AzureIdentity::ClientSecret { client, .. } | AzureIdentity::Federated { client, .. } => format!("the application {client}"),
            AzureIdentity::Managed { .. } => "the managed identity".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_store_are_read_from_xml_and_json() {
        let xml = b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access &amp; all\n denied</Message><Region>eu-west-1</Region></Error>";
        let read = words(xml);
        assert_eq!((read.code.as_deref(), read.message.as_deref()), (Some("AccessDenied"), Some("Access & all denied")));
        assert_eq!(read.region.as_deref(), Some("eu-west-1"));
        let google = words(br#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no"}}"#);
        assert_eq!((google.code.as_deref(), google.message.as_deref()), (Some("PERMISSION_DENIED"), Some("no")));
        let oauth = words(br#"{"error":"invalid_grant","error_description":"expired"}"#);
        assert_eq!((oauth.code.as_deref(), oauth.message.as_deref()), (Some("invalid_grant"), Some("expired")));
        let html = words(b"<html>\n<b>Bad Gateway</b></html>");
        assert_eq!((html.code, html.message.as_deref()), (None, Some("<html> <b>Bad Gateway</b></html>")));
        assert_eq!(words(b""), Words::default());
    }
}
