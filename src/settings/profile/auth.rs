//! `auth` of a source's table: each kind with its own keys. The secrets themselves are not here.

use super::{
    Auth, CredentialsIn, Grant,
    kinds::{Kind, kind_of},
};
use crate::{
    model::FieldPath,
    settings::{SettingsError, reader::Reader},
};

/// The kinds.
pub(super) static KINDS: [Kind; 7] = [
    Kind { name: "environment", keys: &[] },
    Kind { name: "bearer", keys: &["key_header"] },
    Kind { name: "basic", keys: &["parameters"] },
    Kind { name: "api_key", keys: &["header", "parameter", "user"] },
    Kind { name: "login", keys: &["url", "user", "password", "token"] },
    Kind { name: "oauth2", keys: &["token_url", "scope", "audience", "credentials_in", "grant", "header", "key_header"] },
    Kind { name: "none", keys: &[] },
];

/// Reads the table.
pub(super) fn read(table: Option<Reader<'_>>) -> Result<Auth, SettingsError> {
    let Some(table) = table else { return Ok(Auth::Environment) };
    Ok(match kind_of(&table, &KINDS)? {
        "bearer" => Auth::Bearer { key_header: table.header("key_header")? },
        "basic" => match table.scalars("parameters")?.as_slice() {
            [] => Auth::Basic,
            [user, password] => Auth::PairOfParameters(user.clone(), password.clone()),
            _ => return Err(table.error("parameters", "write the names of two parameters: of the user, and of the password")),
        },
        "none" => Auth::None,
        "login" => Auth::Login {
            url: own_url(&table, "url", "/login")?,
            user: table.name("user")?.unwrap_or_else(|| "email".to_owned()),
            password: table.name("password")?.unwrap_or_else(|| "password".to_owned()),
            token: table.path("token")?.unwrap_or_else(|| FieldPath::root().child("token")),
        },
        "api_key" if table.yes_no("user")? == Some(true) => Auth::KeyAsUser,
        "api_key" => match (table.header("header")?, table.name("parameter")?) {
            (Some(_), Some(_)) => return Err(table.error("parameter", "the key goes in a header or in a parameter, not in both")),
            (None, Some(parameter)) => Auth::KeyParameter(parameter),
            (header, None) => Auth::KeyHeader(header.unwrap_or_else(|| "X-API-Key".to_owned())),
        },
        "oauth2" => Auth::OAuth {
            token_url: own_url(&table, "token_url", "/oauth/token")?,
            grant: match table.text("grant")?.as_deref() {
                None | Some("client_credentials") => Grant::ClientCredentials,
                Some("refresh_token") => Grant::RefreshToken,
                Some(other) => return Err(table.error("grant", format!("`{other}`: write client_credentials or refresh_token"))),
            },
            token_header: table.header("header")?,
            key_header: table.header("key_header")?,
            scope: table.text("scope")?,
            audience: table.text("audience")?,
            credentials_in: match table.text("credentials_in")?.as_deref() {
                None | Some("header") => CredentialsIn::Header,
                Some("body") => CredentialsIn::Body,
                Some(other) => return Err(table.error("credentials_in", format!("`{other}`: write header or body"))),
            },
        },
        _ => Auth::Environment,
    })
}

/// Where credentials go: a URL, or a path of the source.
fn own_url(table: &Reader<'_>, key: &str, example: &str) -> Result<String, SettingsError> {
    let text = table.needed(key)?;
    let url = text.parse::<reqwest::Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let is_url = url.is_some_and(|url| url.username().is_empty() && url.password().is_none());
    if !is_url && !text.starts_with('/') {
        return Err(table.error(key, format!("write an http(s) URL without credentials, or a path such as {example}")));
    }
    Ok(text)
}
