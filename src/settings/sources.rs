//! The three sources out of all layers: where each is, and by which profile it is read.

use reqwest::Url;

use super::{
    EtlToml, Location, SettingsError, Source, SourceToml, file,
    layers::{Layers, Origin, Said},
    shipped,
};

/// A source's names: of its flag, its variable and its table in `etl.toml`.
pub(super) struct Names {
    pub(super) flag: &'static str,
    pub(super) variable: &'static str,
    pub(super) table: &'static str,
    /// Its table of an `etl.toml`.
    of: fn(&EtlToml) -> &SourceToml,
    fields: &'static [&'static str],
    line_fields: &'static [&'static str],
}

pub(super) static ORDERS: Names = Names {
    flag: "--orders",
    variable: "ETL_ORDERS",
    table: "orders",
    of: |toml| &toml.orders,
    fields: &["order_id", "created_at", "updated_at", "user_id", "status", "currency", "lines"],
    line_fields: &["sku", "product_id", "quantity", "unit_price"],
};

pub(super) static USERS: Names =
    Names { flag: "--users", variable: "ETL_USERS", table: "users", of: |toml| &toml.users, fields: &[], line_fields: &[] };

pub(super) static PRODUCTS: Names =
    Names { flag: "--products", variable: "ETL_PRODUCTS", table: "products", of: |toml| &toml.products, fields: &[], line_fields: &[] };

/// What a profile that ships says, as a layer below the user's own.
pub(super) fn shipped_layer(said: Option<Said>) -> Result<Option<EtlToml>, SettingsError> {
    said.map(|said| shipped_toml(said.value.trim()).map_err(|detail| said.invalid(detail))).transpose()
}

fn shipped_toml(name: &str) -> Result<EtlToml, String> {
    let found = shipped(name).ok_or_else(|| {
        let names: Vec<_> = super::SHIPPED.iter().map(|shipped| shipped.name).collect();
        format!("no such profile: there are {} (see `etl sources`)", names.join(", "))
    })?;
    file::parse(found.toml).map_err(|(line, detail)| format!("line {line}: {detail}"))
}

/// Where the API of all three sources lives, where that is said.
pub(super) fn base_url(said: Option<Said>, shipped: Option<&EtlToml>) -> Result<Option<Url>, SettingsError> {
    let (text, said) = match said {
        Some(said) => (said.value.clone(), Some(said)),
        // What ships names a real API, or a shop that is nobody's.
        None => match shipped.and_then(|toml| toml.url.clone()).filter(|url| !url.contains("your-")) {
            Some(url) => (url, None),
            None => return Ok(None),
        },
    };
    let said = said.unwrap_or(Said { value: text, origin: Origin::File("url".into()) });
    match said.value.trim().parse::<Location>() {
        Ok(Location::Http(url)) if !url.as_str().contains("your-") => Ok(Some(url)),
        Ok(Location::Http(_)) => Err(said.invalid("this is the example's: say where your own API is")),
        Ok(Location::Files(_)) => Err(said.invalid("not an http(s) URL")),
        Err(error) => Err(said.without_credentials().invalid(error)),
    }
}

/// One source; `None` where nobody says where it is.
pub(super) fn source(
    layers: &Layers,
    names: &Names,
    location: Option<Said>,
    url: Option<&Url>,
    own: SourceToml,
    shipped: Option<&EtlToml>,
    shipped_name: Option<&str>,
) -> Result<Option<Source>, SettingsError> {
    let key_error = |(key, detail): (String, String)| SettingsError::Conflict(format!("`{}.{key}` in etl.toml: {detail}", names.table));
    let below = match &own.profile {
        Some(name) => Some(shipped_toml(name).map_err(|detail| key_error(("profile".into(), format!("`{name}`: {detail}"))))?),
        None => None,
    };
    let base = below.as_ref().or(shipped).map(|toml| (names.of)(toml).clone()).unwrap_or_default();
    // The name is that of the source in etl.toml, and not of one that a flag or a variable names in its place.
    let has_own_place = location.as_ref().is_none_or(|said| matches!(said.origin, Origin::File(_)));
    let profile_name = own.profile.clone().or_else(|| shipped_name.map(str::to_owned));
    let table = own.over(SourceToml { location: None, ..base });
    let mut profile = table.compile(names.fields, names.line_fields).map_err(key_error)?;
    let location = match (layers.location(location)?, url, &table.path) {
        (Some(Location::Http(url)), _, Some(path)) if matches!(url.path(), "" | "/") => Some(Location::Http(joined(&url, path))),
        (Some(location), ..) => Some(location),
        (None, Some(url), Some(path)) => Some(Location::Http(joined(url, path))),
        (None, ..) => None,
    };
    if let Some(Location::Http(orders)) = &location {
        profile.http.count = table.count_request(url, orders).map_err(key_error)?;
    }
    let name = table.name.clone().filter(|_| has_own_place);
    Ok(location.map(|location| Source { name, profile_name, location, credentials: super::Credentials::default(), profile }))
}

/// The profile of the orders that an `etl.toml` describes by itself.
///
/// # Errors
/// What is wrong with it.
pub fn orders_profile(text: &str) -> Result<super::Profile, String> {
    let toml = file::parse(text).map_err(|(line, detail)| format!("line {line}: {detail}"))?;
    toml.orders.compile(ORDERS.fields, ORDERS.line_fields).map_err(|(key, detail)| format!("{key}: {detail}"))
}

/// A path beneath a URL, which may have a path of its own.
pub(super) fn joined(url: &Url, path: &str) -> Url {
    let mut joined = url.clone();
    joined.set_path(&format!("{}/{}", url.path().trim_end_matches('/'), path.trim_start_matches('/')));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_that_ships_compiles_and_names_its_fields_rightly() {
        for profile in super::super::SHIPPED {
            let toml = shipped_toml(profile.name).unwrap();
            for names in [&ORDERS, &USERS, &PRODUCTS] {
                let compiled = (names.of)(&toml).compile(names.fields, names.line_fields);
                assert!(compiled.is_ok(), "{}: {}: {compiled:?}", profile.name, names.table);
            }
            assert!(toml.orders.path.is_some() && toml.url.is_some() && profile.title().len() > 10, "{}", profile.name);
        }
    }

    #[test]
    fn a_path_lies_beneath_the_url() {
        let joined = |url: &str, path| super::joined(&url.parse().unwrap(), path).to_string();
        assert_eq!(joined("https://h", "/a/b.json"), "https://h/a/b.json");
        assert_eq!(joined("https://h/v1/", "a?b"), "https://h/v1/a%3Fb");
    }
}
