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
    settings::{Auth, Credentials, CredentialsIn, Secret},
    source::{
        Access,
        error::{RequestFailure, SourceError, TokenOutlook},
        url_query,
    },
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
        let token = match (auth, &credentials.client) {
            (Auth::ClientCredentials { token_url, scope, audience, .. }, Some((id, secret))) => {
                // Sources with the same OAuth client share its token.
                let client = format!("{token_url} {scope:?} {audience:?} {:?} {:?}", id.expose(), secret.expose());
                Some(access.network.token(client))
            }
            _ => None,
        };
        Ok(Authorizer { auth, credentials, trusted, access, client, token })
    }

    /// Whether credentials may be sent to a URL.
    pub(super) fn trusts(&self, url: &Url) -> bool {
        url.origin() == self.trusted.origin()
    }

    /// The URL and headers for a request, with the credentials that its origin may receive.
    pub(super) async fn authorize(&self, url: &Url) -> Result<Authorization, RequestFailure> {
        let mut authorized = Authorization { url: url.clone(), headers: HeaderMap::new(), token: None };
        let credentials = self.credentials;
        let key = credentials.api_key.as_ref();
        if !self.trusts(url) {
            // A link from the server may contain the key and lead to another origin.
            if let (Auth::KeyParameter(parameter), Some((_, key))) = (self.auth, key)
                && url_query::has_value(url, parameter, key.expose())
            {
                authorized.url = url_query::without(url, parameter, key.expose());
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
            Auth::Bearer => {
                if let Some(token) = &credentials.bearer {
                    insert_bearer(headers, token)?;
                }
            }
            Auth::Basic => {
                if let Some((user, password)) = &credentials.basic {
                    insert_basic(headers, user.expose(), password.expose())?;
                }
            }
            Auth::ClientCredentials { .. } => {
                if let Some(slot) = &self.token {
                    let token = slot.get(self.issue_token()).await?;
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

    /// Requests a token (RFC 6749, 4.4.2). Does not follow redirects.
    async fn issue_token(&self) -> Result<IssuedToken, RequestFailure> {
        let Auth::ClientCredentials { token_url, scope, audience, credentials_in } = self.auth else {
            return Err(RequestFailure::NotSent("the profile has no token server".into()));
        };
        let Some((id, secret)) = &self.credentials.client else {
            return Err(RequestFailure::NotSent("ETL_OAUTH_CLIENT_ID and ETL_OAUTH_CLIENT_SECRET are not set".into()));
        };
        let failed = |outlook: TokenOutlook, detail: String| RequestFailure::Token { url: redact::url(token_url), detail, outlook };
        let mut headers = HeaderMap::new();
        insert(&mut headers, ACCEPT.as_str(), "application/json")?;
        insert(&mut headers, CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")?;
        let mut pairs = vec![("grant_type", "client_credentials")];
        pairs.extend(scope.as_deref().map(|scope| ("scope", scope)));
        pairs.extend(audience.as_deref().map(|audience| ("audience", audience)));
        match credentials_in {
            // RFC 6749, 2.3.1: both are form-encoded before they are joined.
            CredentialsIn::Header => insert_basic(&mut headers, &form_encoded(id.expose()), &form_encoded(secret.expose()))?,
            CredentialsIn::Body => pairs.extend([("client_id", id.expose()), ("client_secret", secret.expose())]),
        }
        let limiter = self.access.network.rate_limiter(token_url);
        limiter.wait_turn().await;
        let asked = Instant::now();
        let request = self.client.client().post(token_url.clone()).headers(headers).body(url_query::form(pairs.into_iter()));
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
        let Ok(answer) = serde_json::from_slice::<Value>(&body) else {
            return Err(failed(TokenOutlook::MayPass, format!("the response is not JSON{}", reported(&body))));
        };
        let text = |key: &str| answer.get(key).and_then(Value::as_str);
        let Some(token) = text("access_token").filter(|token| !token.is_empty() && !token.bytes().any(|byte| byte.is_ascii_control()))
        else {
            return Err(failed(TokenOutlook::Final, format!("the response has no access_token{}", reported(&body))));
        };
        let secret = Secret::new(token.to_owned());
        if let Some(other) = text("token_type").filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            let other = redact::text(other).into_owned();
            return Err(failed(TokenOutlook::Final, format!("the token_type is `{other}`, but only `Bearer` is supported")));
        }
        Ok(IssuedToken::new(secret, answer.get("expires_in").and_then(life), asked))
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

/// The error that the token server reports (RFC 6749, 5.2), or the beginning of its response.
fn reported(body: &[u8]) -> String {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let text = |key: &str| Some(redact::beginning(answer.as_ref()?.get(key)?.as_str()?.as_bytes()));
    let message = match (text("error"), text("error_description")) {
        (Some(error), Some(description)) => format!("{error}: {description}"),
        (Some(message), None) | (None, Some(message)) => message,
        (None, None) => redact::beginning(body),
    };
    if message.is_empty() { message } else { format!(": {message}") }
}

fn form_encoded(text: &str) -> String {
    url_query::encoded("", text).trim_start_matches('=').to_owned()
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
}
