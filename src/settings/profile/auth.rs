//! `auth` of a source's table: each kind with its own keys. The secrets themselves are not here.

use super::{
    Auth, CredentialsIn,
    kinds::{Kind, kind_of},
};
use crate::settings::{SettingsError, reader::Reader};

/// The kinds.
pub(super) static KINDS: [Kind; 6] = [
    Kind { name: "environment", keys: &[] },
    Kind { name: "bearer", keys: &[] },
    Kind { name: "basic", keys: &[] },
    Kind { name: "api_key", keys: &["header", "parameter"] },
    Kind { name: "oauth2", keys: &["token_url", "scope", "audience", "credentials_in"] },
    Kind { name: "none", keys: &[] },
];

/// Reads the table.
pub(super) fn read(table: Option<Reader<'_>>) -> Result<Auth, SettingsError> {
    let Some(table) = table else { return Ok(Auth::Environment) };
    Ok(match kind_of(&table, &KINDS)? {
        "bearer" => Auth::Bearer,
        "basic" => Auth::Basic,
        "none" => Auth::None,
        "api_key" => match (table.header("header")?, table.name("parameter")?) {
            (Some(_), Some(_)) => return Err(table.error("parameter", "the key goes in a header or in a parameter, not in both")),
            (None, Some(parameter)) => Auth::KeyParameter(parameter),
            (header, None) => Auth::KeyHeader(header.unwrap_or_else(|| "X-API-Key".to_owned())),
        },
        "oauth2" => {
            let text = table.needed("token_url")?;
            let token_url = text.parse::<reqwest::Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let token_url = token_url.filter(|url| url.username().is_empty() && url.password().is_none());
            Auth::ClientCredentials {
                token_url: token_url.ok_or_else(|| table.error("token_url", "write an http(s) URL without credentials"))?,
                scope: table.text("scope")?,
                audience: table.text("audience")?,
                credentials_in: match table.text("credentials_in")?.as_deref() {
                    None | Some("header") => CredentialsIn::Header,
                    Some("body") => CredentialsIn::Body,
                    Some(other) => return Err(table.error("credentials_in", format!("`{other}`: write header or body"))),
                },
            }
        }
        _ => Auth::Environment,
    })
}
