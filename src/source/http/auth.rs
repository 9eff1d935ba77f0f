//! Authentication: sends credentials only to the origin of the source, and renews OAuth 2 tokens before they expire.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;

use crate::{
    net::{
        client::{ConnectionError, HttpClient},
        rate_limit, redact,
        token::{IssuedToken, Refused, TokenSlot},
    },
    settings::{Auth, Credentials, CredentialsIn, Grant, Secret},
    source::{
        Access,
        error::{RequestFailure, SourceError, TokenOutlook},
        url_query,
    },
    store,
};

/// The maximum bytes of a response with a token.
const MAX_TOKEN_BYTES: usize = 1 << 20;

/// Authorizes requests.
pub(super) struct Authorizer<'a> {
    auth: &'a Auth,
    credentials: &'a Credentials,
    /// The only origin that receives secrets, except the token server.
    trusted: &'a Url,
    access: Access<'a>,
    client: &'a HttpClient,
    token: Option<Arc<TokenSlot>>,
}

/// Where a request and its redirects may carry credentials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CredentialUse {
    /// To the origin of the source.
    OwnOrigin,
    /// Nowhere: another origin decides where the request leads.
    Never,
}

/// The URL and headers of a request, with credentials.
pub(super) struct Authorization {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// The OAuth token in the headers.
    pub(super) token: Option<Secret>,
}

impl<'a> Authorizer<'a> {
    /// # Errors
    /// [`SourceError::Credentials`] if the profile needs credentials that are not set.
    pub(super) fn new(
        auth: &'a Auth,
        credentials: &'a Credentials,
        trusted: &'a Url,
        access: Access<'a>,
        client: &'a HttpClient,
    ) -> Result<Authorizer<'a>, SourceError> {
        if let Some(variables) = credentials.missing_for(auth) {
            return Err(SourceError::Credentials { variables });
        }
        for (user, password) in [&credentials.basic, &credentials.client].into_iter().flatten() {
            Secret::register_pair(user, password);
        }
        let token = token_key(auth, credentials, trusted).map(|key| access.network.token(key));
        Ok(Authorizer { auth, credentials, trusted, access, client, token })
    }

    /// A URL of the only origin that receives secrets, except the token server.
    pub(super) fn trusted(&self) -> &'a Url {
        self.trusted
    }

    /// Whether credentials may be sent to a URL.
    pub(super) fn trusts(&self, url: &Url) -> bool {
        url.origin() == self.trusted.origin()
    }

    /// Where a request that begins at this URL may carry credentials. One that begins elsewhere never carries
    /// any, even after a redirect back to the source. Otherwise that origin would decide how they are used.
    pub(super) fn credential_use(&self, start: &Url) -> CredentialUse {
        if self.trusts(start) { CredentialUse::OwnOrigin } else { CredentialUse::Never }
    }

    /// The URL and headers for a request, with the credentials that its origin may receive.
    pub(super) async fn authorize(&self, url: &Url, credential_use: CredentialUse) -> Result<Authorization, RequestFailure> {
        let mut authorized = Authorization { url: url.clone(), headers: HeaderMap::new(), token: None };
        let credentials = self.credentials;
        let key = credentials.api_key.as_ref();
        if credential_use == CredentialUse::Never || !self.trusts(url) {
            // A link from the server may contain the key and lead to another origin.
            if let (Auth::KeyParameter(parameter), Some((_, key))) = (self.auth, key)
                && url_query::has_value(url, parameter, key.expose())
            {
                authorized.url = url_query::without(url, parameter, key.expose());
            }
            if let (Auth::PairOfParameters(user, password), Some(pair)) = (self.auth, &credentials.basic) {
                authorized.url = url_query::without(&authorized.url, user, pair.0.expose());
                authorized.url = url_query::without(&authorized.url, password, pair.1.expose());
            }
            return Ok(authorized);
        }
        let headers = &mut authorized.headers;
        match self.auth {
            Auth::None => {}
            Auth::Environment => {
                if let Some((header, key)) = key {
                    insert(headers, header, key.expose())?;
                }
                if let Some(token) = &credentials.bearer {
                    insert_bearer(headers, token)?;
                }
                if let Some((user, password)) = &credentials.basic {
                    insert_basic(headers, user.expose(), password.expose())?;
                }
            }
            Auth::KeyHeader(header) => {
                if let Some((_, key)) = key {
                    insert(headers, header, key.expose())?;
                }
            }
            Auth::KeyParameter(parameter) => {
                if let Some((_, key)) = key {
                    authorized.url = url_query::with(url, &[(parameter, key.expose())]);
                }
            }
            Auth::KeyAsUser => match (key, &credentials.basic) {
                (Some((_, key)), _) => insert_basic(headers, key.expose(), "")?,
                (None, Some((user, password))) => insert_basic(headers, user.expose(), password.expose())?,
                (None, None) => {}
            },
            Auth::Bearer { key_header } => {
                if let Some(token) = &credentials.bearer {
                    insert_bearer(headers, token)?;
                }
                insert_key(headers, key_header.as_deref(), key)?;
            }
            Auth::PairOfParameters(user, password) => {
                if let Some(pair) = &credentials.basic {
                    authorized.url = url_query::with(url, &[(user, pair.0.expose()), (password, pair.1.expose())]);
                }
            }
            Auth::Basic => {
                if let Some((user, password)) = &credentials.basic {
                    insert_basic(headers, user.expose(), password.expose())?;
                }
            }
            // A token that was given once and does not expire takes the place of the client's credentials.
            Auth::OAuth { token_header: Some(header), .. } if self.token.is_none() => insert_key(headers, Some(header.as_str()), key)?,
            Auth::OAuth { key_header, .. } if self.token.is_none() => {
                if let Some(token) = &credentials.bearer {
                    insert_bearer(headers, token)?;
                }
                insert_key(headers, key_header.as_deref(), key)?;
            }
            Auth::OAuth { token_header, key_header, .. } => {
                if let Some(slot) = &self.token {
                    let token = slot.get(self.issue_token(slot)).await?;
                    match token_header {
                        Some(header) => insert(headers, header, token.expose())?,
                        None => insert_bearer(headers, &token)?,
                    }
                    insert_key(headers, key_header.as_deref(), key)?;
                    authorized.token = Some(token);
                }
            }
            Auth::Login { .. } => {
                if let Some(slot) = &self.token {
                    let token = slot.get(self.log_in()).await?;
                    insert_bearer(headers, &token)?;
                    authorized.token = Some(token);
                }
            }
        }
        Ok(authorized)
    }

    /// Call this when a server refused a token. The next request gets another one.
    pub(super) async fn refuse_token(&self, sent: &Secret) -> Refused {
        match &self.token {
            Some(slot) => slot.refuse(sent).await,
            None => Refused::Forgotten,
        }
    }

    /// A URL that may be relative to the source.
    fn relative(&self, url: &str) -> Result<Url, RequestFailure> {
        self.trusted.join(url).map_err(|error| RequestFailure::NotSent(format!("`{url}`: {error}")))
    }

    /// Logs in with user and password. Does not follow redirects.
    async fn log_in(&self) -> Result<IssuedToken, RequestFailure> {
        let (Auth::Login { url, user, password, token }, Some(pair)) = (self.auth, &self.credentials.basic) else {
            return Err(RequestFailure::NotSent("ETL_API_USER and ETL_API_PASSWORD are not set".into()));
        };
        let url = self.relative(url)?;
        let mut headers = HeaderMap::new();
        insert(&mut headers, CONTENT_TYPE.as_str(), "application/json")?;
        let body = serde_json::json!({ user.as_str(): pair.0.expose(), password.as_str(): pair.1.expose() }).to_string();
        let asked = Instant::now();
        let answer = self.ask_token(&url, headers, body).await?;
        let found = token.steps().iter().try_fold(&answer, |value, step| value.get(step)).and_then(Value::as_str);
        let secret = found.filter(|text| is_token(text)).map(|text| Secret::new(text.to_owned()));
        let detail = || format!("the response has no text at `{token}`");
        let secret =
            secret.ok_or_else(|| RequestFailure::Token { url: redact::url(&url), detail: detail(), outlook: TokenOutlook::Final })?;
        Ok(IssuedToken::new(secret, None, asked))
    }

    /// Keeps a refresh token that the server has given in place of another.
    fn keep_refresh_token(&self, slot: &TokenSlot, token: &str) {
        let sent = slot.refresh_token().or_else(|| self.credentials.refresh.clone());
        if sent.is_some_and(|sent| sent.expose() == token) {
            return;
        }
        slot.keep_refresh_token(Secret::new(token.to_owned()));
        let Some(path) = &self.credentials.refresh_file else {
            let variable = &self.credentials.variables.refresh_token_file;
            tracing::warn!(
                "the server has replaced the refresh token, and {variable} names no file to keep it in: the next run can't log in"
            );
            return;
        };
        if let Err(error) = store::replace_secret(path, token) {
            tracing::error!(%error, "the server has replaced the refresh token, and it could not be kept: the next run can't log in");
        }
    }

    /// Requests a token (RFC 6749, 4.4.2 and 6). Does not follow redirects.
    async fn issue_token(&self, slot: &TokenSlot) -> Result<IssuedToken, RequestFailure> {
        let Auth::OAuth { token_url, scope, audience, credentials_in, grant, .. } = self.auth else {
            return Err(RequestFailure::NotSent("the profile has no token server".into()));
        };
        let Some((id, secret)) = &self.credentials.client else {
            return Err(RequestFailure::NotSent("ETL_OAUTH_CLIENT_ID and ETL_OAUTH_CLIENT_SECRET are not set".into()));
        };
        let token_url = &self.relative(token_url)?;
        let failed = |outlook: TokenOutlook, detail: String| RequestFailure::Token { url: redact::url(token_url), detail, outlook };
        let mut headers = HeaderMap::new();
        insert(&mut headers, CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")?;
        let refresh = slot.refresh_token().or_else(|| self.credentials.refresh.clone());
        let mut pairs = match (grant, &refresh) {
            (Grant::RefreshToken, Some(refresh)) => vec![("grant_type", "refresh_token"), ("refresh_token", refresh.expose())],
            _ => vec![("grant_type", "client_credentials")],
        };
        pairs.extend(scope.as_deref().map(|scope| ("scope", scope)));
        pairs.extend(audience.as_deref().map(|audience| ("audience", audience)));
        match credentials_in {
            // RFC 6749, 2.3.1: both are form-encoded before they are joined.
            CredentialsIn::Header => {
                let (id, secret) = form_encoded_pair(id, secret);
                insert_basic(&mut headers, id.expose(), secret.expose())?;
            }
            CredentialsIn::Body => pairs.extend([("client_id", id.expose()), ("client_secret", secret.expose())]),
        }
        let asked = Instant::now();
        let answer = self.ask_token(token_url, headers, url_query::form(pairs.into_iter())).await?;
        let text = |key: &str| answer.get(key).and_then(Value::as_str);
        let Some(token) = text("access_token").filter(|token| is_token(token)) else {
            return Err(failed(TokenOutlook::Final, format!("the response has no access_token{}", error_or_keys(&answer))));
        };
        let secret = Secret::new(token.to_owned());
        if let Some(other) = text("token_type").filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            let other = redact::text(other).into_owned();
            return Err(failed(TokenOutlook::Final, format!("the token_type is `{other}`, but only `Bearer` is supported")));
        }
        if let Some(replaced) = text("refresh_token").filter(|token| *grant == Grant::RefreshToken && is_token(token)) {
            self.keep_refresh_token(slot, replaced);
        }
        Ok(IssuedToken::new(secret, answer.get("expires_in").and_then(life), asked))
    }

    /// Sends a request for a token, and reads its answer.
    async fn ask_token(&self, token_url: &Url, mut headers: HeaderMap, body: String) -> Result<Value, RequestFailure> {
        let failed = |outlook: TokenOutlook, detail: String| RequestFailure::Token { url: redact::url(token_url), detail, outlook };
        insert(&mut headers, ACCEPT.as_str(), "application/json")?;
        let limiter = self.access.network.rate_limiter(token_url);
        limiter.wait_turn().await;
        let request = self.client.client().post(token_url.clone()).headers(headers).body(body);
        let connection = |error: reqwest::Error| match self.client.failure(error, token_url) {
            ConnectionError::ProxyCredentials(text) => failed(TokenOutlook::Final, text),
            ConnectionError::Failed(text) => failed(TokenOutlook::MayPass, text),
        };
        let mut response = request.send().await.map_err(connection)?;
        let (status, headers) = (response.status(), response.headers().clone());
        limiter.observe(&headers, self.access.http.retry_after_cap);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(connection)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_TOKEN_BYTES {
                return Err(failed(TokenOutlook::Final, format!("the response is larger than {MAX_TOKEN_BYTES} bytes")));
            }
        }
        if !status.is_success() {
            if let Some(wait) = rate_limit::retry_after(&headers) {
                limiter.hold(wait.min(self.access.http.retry_after_cap));
            }
            let outlook = match status.as_u16() {
                408 | 425 | 429 | 500..=599 => TokenOutlook::MayPass,
                _ => TokenOutlook::Final,
            };
            return Err(failed(outlook, format!("the server answered {}{}", status.as_u16(), reported(&body))));
        }
        serde_json::from_slice::<Value>(&body)
            .map_err(|_| failed(TokenOutlook::MayPass, format!("the response is not JSON{}", web_page(&body))))
    }
}

/// What sources must have in common to share a token; `None` if they get none. Whatever decides who gives it, to whom
/// and for which account belongs to it. It holds secrets, and is never shown.
fn token_key(auth: &Auth, credentials: &Credentials, trusted: &Url) -> Option<String> {
    let resolved = |url: &str| trusted.join(url).map_or_else(|_| format!("{trusted} {url}"), |url| url.to_string());
    match (auth, &credentials.client) {
        (Auth::OAuth { token_url, scope, audience, grant, credentials_in, .. }, Some((id, secret))) if credentials.gets_tokens(*grant) => {
            let refresh = credentials.refresh.as_ref().filter(|_| *grant == Grant::RefreshToken).map(Secret::expose);
            let client = format!("{:?} {:?} {credentials_in:?} {grant:?} {refresh:?}", id.expose(), secret.expose());
            Some(format!("{} {scope:?} {audience:?} {client}", resolved(token_url)))
        }
        (Auth::Login { url, .. }, _) => {
            let user = credentials.basic.as_ref().map(|(user, _)| user.expose());
            Some(format!("{} {url} {user:?}", trusted.origin().ascii_serialization()))
        }
        _ => None,
    }
}

/// Whether a text can be sent as a token.
fn is_token(text: &str) -> bool {
    !text.is_empty() && !text.bytes().any(|byte| byte.is_ascii_control())
}

/// Adds the API key, if a header for it is named.
fn insert_key(headers: &mut HeaderMap, header: Option<&str>, key: Option<&(String, Secret)>) -> Result<(), RequestFailure> {
    match (header, key) {
        (Some(header), Some((_, key))) => insert(headers, header, key.expose()),
        _ => Ok(()),
    }
}

/// The life of a token, from a number or a text. Without a valid life, the token is used until a server refuses it.
fn life(expires_in: &Value) -> Option<Duration> {
    let seconds = match expires_in {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    if !seconds.is_finite() || seconds <= 0.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// What a refusal of the token server says: its error (RFC 6749, 5.2), or the beginning of its response.
fn reported(body: &[u8]) -> String {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    in_words(answer.as_ref().and_then(error_of).unwrap_or_else(|| redact::beginning(body)))
}

/// What a successful answer without a usable token says: its error, or else the names of its keys. Its values may be
/// tokens, which nothing knows to hide.
fn error_or_keys(answer: &Value) -> String {
    let keys = || {
        let names = answer.as_object()?.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("its keys are {}", redact::beginning(names.as_bytes())))
    };
    in_words(error_of(answer).or_else(keys).unwrap_or_default())
}

/// The beginning of a successful answer that is a web page, such as that of a proxy. Of any other text it is not known
/// whether it holds a token.
fn web_page(body: &[u8]) -> String {
    let start = body.trim_ascii_start();
    let begins = |tag: &str| start.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()));
    in_words(if begins("<html") || begins("<!doctype html") { redact::beginning(body) } else { String::new() })
}

/// The error in a response of the token server (RFC 6749, 5.2).
fn error_of(answer: &Value) -> Option<String> {
    let text = |key: &str| Some(redact::beginning(answer.get(key)?.as_str()?.as_bytes()));
    match (text("error"), text("error_description")) {
        (Some(error), Some(description)) => Some(format!("{error}: {description}")),
        (message, None) | (None, message) => message,
    }
}

/// What follows the words of an error; nothing for an empty message.
fn in_words(message: String) -> String {
    if message.is_empty() { message } else { format!(": {message}") }
}

fn form_encoded(text: &str) -> String {
    url_query::encoded("", text).trim_start_matches('=').to_owned()
}

/// The form-encoded credentials of a client. A server may echo the header that carries them, so they are secrets, too.
fn form_encoded_pair(id: &Secret, secret: &Secret) -> (Secret, Secret) {
    let pair = (Secret::user_name(form_encoded(id.expose())), Secret::new(form_encoded(secret.expose())));
    Secret::register_pair(&pair.0, &pair.1);
    pair
}

fn insert_bearer(headers: &mut HeaderMap, token: &Secret) -> Result<(), RequestFailure> {
    insert(headers, AUTHORIZATION.as_str(), &format!("Bearer {}", token.expose()))
}

fn insert_basic(headers: &mut HeaderMap, user: &str, password: &str) -> Result<(), RequestFailure> {
    insert(headers, AUTHORIZATION.as_str(), &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// Sets a header. Replaces a header of the same name.
pub(super) fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), RequestFailure> {
    let unusable = || RequestFailure::NotSent(format!("the header `{name}` can't be sent: its name or value is not valid"));
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
    let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unusable())?;
    value.set_sensitive(true);
    headers.insert(parsed, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_life_of_a_token_is_a_positive_number_or_a_text_of_one() {
        for (value, expected) in
            [(json!(3600), Some(3600.0)), (json!(59.5), Some(59.5)), (json!("3600"), Some(3600.0)), (json!(" 10.5 "), Some(10.5))]
        {
            assert_eq!(life(&value).map(|life| life.as_secs_f64()), expected, "{value}");
        }
        for value in [json!(0), json!(-5), json!("soon"), json!("NaN"), json!("inf"), json!(null), json!([1])] {
            assert_eq!(life(&value), None, "{value}");
        }
    }

    #[test]
    fn the_error_of_the_token_server_is_shown() {
        assert_eq!(reported(br#"{"error":"invalid_client","error_description":"no such client"}"#), ": invalid_client: no such client");
        assert_eq!(reported(b"<html>busy</html>"), ": <html>busy</html>");
        assert_eq!(reported(b""), "");
        assert_eq!(form_encoded("a b:c=é"), "a+b%3Ac%3D%C3%A9");
    }

    #[test]
    fn a_token_is_shared_by_sources_with_the_same_token_server_grant_and_account_alone() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let secret = |text: &str| Secret::new(text.to_owned());
        let auth = |token_url: &str, grant, credentials_in| Auth::OAuth {
            token_url: token_url.to_owned(),
            scope: None,
            audience: None,
            credentials_in,
            grant,
            token_header: None,
            key_header: None,
        };
        let with = |refresh: &str| Credentials {
            client: Some((secret("client-1"), secret("hush-hush-4711"))),
            refresh: Some(secret(refresh)),
            ..Credentials::default()
        };
        let (orders, users) = (url("https://orders.example/list"), url("https://users.example/list"));
        let (grant, place) = (Grant::RefreshToken, CredentialsIn::Header);
        let own = token_key(&auth("/token", grant, place), &with("refresh-token-1"), &orders);
        assert!(own.is_some());
        let same = auth("https://orders.example/token", grant, place);
        assert_eq!(token_key(&same, &with("refresh-token-1"), &users), own, "the same token server and account");
        let other_server = token_key(&auth("/token", grant, place), &with("refresh-token-1"), &users);
        let other_account = token_key(&same, &with("refresh-token-2"), &orders);
        let other_grant = token_key(&auth("/token", Grant::ClientCredentials, place), &with("refresh-token-1"), &orders);
        let other_place = token_key(&auth("/token", grant, CredentialsIn::Body), &with("refresh-token-1"), &orders);
        for other in [other_server, other_account, other_grant, other_place] {
            assert!(other.is_some() && other != own);
        }
    }

    #[test]
    fn the_header_with_the_credentials_of_a_client_is_hidden() {
        let (id, secret) = (Secret::user_name("cli:ent".to_owned()), Secret::new("hush/hush+4713".to_owned()));
        let mut headers = HeaderMap::new();
        let (id, secret) = form_encoded_pair(&id, &secret);
        insert_basic(&mut headers, id.expose(), secret.expose()).unwrap();
        let sent = headers[AUTHORIZATION].to_str().unwrap();
        assert_eq!(sent, format!("Basic {}", STANDARD.encode("cli%3Aent:hush%2Fhush%2B4713")));
        assert_eq!(redact::text(sent), "Basic ***");
    }

    #[test]
    fn a_successful_answer_is_shown_without_its_values() {
        assert_eq!(error_or_keys(&json!({"data": {"access_token": "live-token-1"}, "id": 7})), ": its keys are data, id");
        assert_eq!(error_or_keys(&json!({"error": "no", "access_token": ["live-token-1"]})), ": no");
        for answer in [json!(["live-token-1"]), json!("live-token-1"), json!({})] {
            assert_eq!(error_or_keys(&answer), "", "{answer}");
        }
        assert_eq!(web_page(b" <!DOCTYPE html><p>busy"), ": <!DOCTYPE html><p>busy");
        assert_eq!(web_page("<HTML>é".as_bytes()), ": <HTML>é");
        for answer in ["access_token=live-token-1", "<token>live-token-1</token>", "<ht", ""] {
            assert_eq!(web_page(answer.as_bytes()), "", "{answer}");
        }
    }
}
