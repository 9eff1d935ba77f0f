//! Authentication: credentials on each request to the configured origin, and to no other; OAuth 2 tokens, renewed in time.

use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::request::connection;
use crate::{
    net::redact::Redactor,
    settings::{Auth, Credentials, Secret},
    source::error::{RequestFailure, SourceError},
};

/// A token is renewed this long before it expires.
const RENEW_BEFORE: Duration = Duration::from_secs(30);

/// How requests are authorized.
pub(super) struct Authorizer<'a> {
    auth: &'a Auth,
    credentials: &'a Credentials,
    /// The only origin that secrets are sent to, but for the token's own.
    trusted: &'a Url,
    token: Mutex<Option<Token>>,
}

struct Token {
    secret: Secret,
    expires: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    expires_in: Option<u64>,
}

impl<'a> Authorizer<'a> {
    /// # Errors
    /// [`SourceError::Credentials`], where the profile needs some that are not set.
    pub(super) fn new(auth: &'a Auth, credentials: &'a Credentials, trusted: &'a Url) -> Result<Authorizer<'a>, SourceError> {
        let missing = match auth {
            Auth::KeyHeader(_) | Auth::KeyParameter(_) if credentials.api_key.is_none() => Some("ETL_API_KEY"),
            Auth::Bearer if credentials.bearer.is_none() => Some("ETL_API_TOKEN"),
            Auth::Basic if credentials.basic.is_none() => Some("ETL_API_USER and ETL_API_PASSWORD"),
            Auth::ClientCredentials { .. } if credentials.client.is_none() => Some("ETL_OAUTH_CLIENT_ID and ETL_OAUTH_CLIENT_SECRET"),
            _ => None,
        };
        match missing {
            Some(variables) => Err(SourceError::Credentials { variables }),
            None => Ok(Authorizer { auth, credentials, trusted, token: Mutex::new(None) }),
        }
    }

    /// The request with what its origin may see.
    pub(super) async fn authorize(
        &self,
        request: RequestBuilder,
        url: &Url,
        client: &Client,
        redactor: &Redactor,
    ) -> Result<RequestBuilder, RequestFailure> {
        if url.origin() != self.trusted.origin() {
            return Ok(request);
        }
        let credentials = self.credentials;
        let key = credentials.api_key.as_ref();
        Ok(match self.auth {
            Auth::None => request,
            Auth::Environment => {
                let request = bearer(request, credentials.bearer.as_ref());
                let request = key.map(|(header, key)| (header.as_str(), key)).into_iter().fold(request, with_key);
                basic(request, credentials)
            }
            Auth::KeyHeader(header) => key.map(|(_, key)| (header.as_str(), key)).into_iter().fold(request, with_key),
            Auth::KeyParameter(parameter) => match key {
                Some((_, key)) => request.query(&[(parameter.as_str(), key.expose())]),
                None => request,
            },
            Auth::Bearer => bearer(request, credentials.bearer.as_ref()),
            Auth::Basic => basic(request, credentials),
            Auth::ClientCredentials { token_url, scope, .. } => {
                let mut token = self.token.lock().await;
                let is_good = |token: &Token| token.expires.is_none_or(|expires| Instant::now() < expires);
                if !token.as_ref().is_some_and(is_good) {
                    let fetched = self.fetch_token(client, token_url, scope.as_deref(), redactor).await?;
                    redactor.add(fetched.secret.expose());
                    *token = Some(fetched);
                }
                bearer(request, token.as_ref().map(|token| &token.secret))
            }
        })
    }

    /// Forgets the token at hand; tells whether there was one.
    pub(super) async fn forget_token(&self) -> bool {
        self.token.lock().await.take().is_some()
    }

    async fn fetch_token(&self, client: &Client, url: &Url, scope: Option<&str>, redactor: &Redactor) -> Result<Token, RequestFailure> {
        let Some((id, secret)) = &self.credentials.client else { return Err(RequestFailure::Token("no client is set".into())) };
        // A form is written as a query is.
        let mut form = url.clone();
        form.query_pairs_mut().clear().append_pair("grant_type", "client_credentials").extend_pairs(scope.map(|scope| ("scope", scope)));
        // RFC 6749, 2.3.1: a server must take the client's credentials this way.
        let request = client
            .post(url.clone())
            .basic_auth(id.expose(), Some(secret.expose()))
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(reqwest::header::ACCEPT, "application/json")
            .body(form.query().unwrap_or_default().to_owned());
        let asked = Instant::now();
        let response = request.send().await.map_err(|error| RequestFailure::Connection(connection(error)))?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let said = redactor.body(&response.bytes().await.unwrap_or_default());
            let failure = RequestFailure::Status { status, said };
            return Err(if failure.is_transient() { failure } else { RequestFailure::Token(failure.to_string()) });
        }
        let body = response.bytes().await.map_err(|error| RequestFailure::Connection(connection(error)))?;
        let token: TokenResponse = serde_json::from_slice(&body)
            .ok()
            .filter(|token: &TokenResponse| {
                !token.access_token.is_empty() && !token.access_token.bytes().any(|byte| byte.is_ascii_control())
            })
            .ok_or_else(|| RequestFailure::Token("the token's server answered without an access_token".into()))?;
        let expires = token.expires_in.map(|seconds| {
            let life = Duration::from_secs(seconds.min(31_536_000));
            asked + life.checked_sub(RENEW_BEFORE).unwrap_or(life / 2)
        });
        Ok(Token { secret: Secret::new(token.access_token), expires })
    }
}

fn bearer(request: RequestBuilder, token: Option<&Secret>) -> RequestBuilder {
    token.into_iter().fold(request, |request, token| request.bearer_auth(token.expose()))
}

fn with_key(request: RequestBuilder, (header, key): (&str, &Secret)) -> RequestBuilder {
    request.header(header, key.expose())
}

fn basic(request: RequestBuilder, credentials: &Credentials) -> RequestBuilder {
    match &credentials.basic {
        Some((user, password)) => request.basic_auth(user.expose(), Some(password.expose())),
        None => request,
    }
}
