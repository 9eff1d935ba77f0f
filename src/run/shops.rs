//! What a shop may not change once it is loaded: its name, and whether its skus carry it. Both are parts of the ids of rows.
//!
//! What a shop has loaded is the ledger's; which shops there are, and where they read, the settings'.

use std::{collections::BTreeSet, path};

use reqwest::Url;

use super::{RequestError, ledger};
use crate::{
    coverage::Ledger,
    layer::{OpenedLayer, StateOrigin},
    settings::{Settings, Shop, Skus, Source},
};

/// Fails if the orders of a shop would be loaded a second time, under other ids.
///
/// # Errors
/// [`RequestError::RenamedShop`], [`RequestError::MovedShop`], [`RequestError::UnknownShop`], [`RequestError::OwnSkus`].
pub(super) fn verify(settings: &Settings, orders: &Source, ledger: &Ledger, opened: &OpenedLayer) -> Result<(), RequestError> {
    let Some(shop) = &settings.shop else { return Ok(()) };
    let loaded = Loaded::of(ledger);
    verify_skus(shop, &loaded, opened)?;
    // Where one name is wrong, others may be, too.
    for other in settings.shop_orders.iter().filter(|other| other.shop != shop.name) {
        if let Some(orders) = &other.orders {
            verify_name(&other.shop, &Place::of(&ledger::source_name(orders)), settings, &loaded)?;
        }
    }
    verify_name(&shop.name, &Place::of(&ledger::source_name(orders)), settings, &loaded)?;
    verify_new(&shop.name, settings, &loaded)
}

fn verify_skus(shop: &Shop, loaded: &Loaded, opened: &OpenedLayer) -> Result<(), RequestError> {
    let own_skus = shop.skus == Skus::OfShop;
    // What was known of skus goes with the state, which the log alone keeps.
    if loaded.has(&shop.name) && opened.origin == StateOrigin::Log && opened.state.own_skus.contains(&shop.name) != own_skus {
        return Err(RequestError::OwnSkus { shop: shop.name.clone(), own_skus });
    }
    Ok(())
}

/// Whether another shop has loaded what this one reads, and reads it no longer: then the name has changed, not the shop. Shops that
/// read one place with credentials of their own are no such case: each of them still reads it.
fn verify_name(name: &str, own: &Place, settings: &Settings, loaded: &Loaded) -> Result<(), RequestError> {
    if loaded.by_shop.iter().any(|of_shop| of_shop.shop == *name && of_shop.place == *own) {
        return Ok(());
    }
    let is_new = !loaded.has(name);
    let is_accepted = is_new && settings.accept_new_shop;
    let renamed = loaded.by_shop.iter().filter(|of_shop| of_shop.shop != *name).find(|of_shop| match now(settings, &of_shop.shop) {
        Some(now) if of_shop.place == *own => now != *own,
        Some(now) => of_shop.place.is_beside(own) && !now.is_beside(own),
        None => of_shop.place.is_beside(own),
    });
    let Some(before) = renamed.filter(|_| !is_accepted) else { return Ok(()) };
    let (name, before) = (name.to_owned(), before.shop.clone());
    Err(if is_new { RequestError::RenamedShop { name, before } } else { RequestError::MovedShop { name, before } })
}

/// Whether a shop was never loaded while a loaded one is gone: both may be one.
fn verify_new(name: &str, settings: &Settings, loaded: &Loaded) -> Result<(), RequestError> {
    if settings.accept_new_shop || loaded.has(name) {
        return Ok(());
    }
    match loaded.by_shop.iter().find(|of_shop| !settings.shops.contains(&of_shop.shop)) {
        Some(gone) => Err(RequestError::UnknownShop { name: name.to_owned(), gone: gone.shop.clone() }),
        None => Ok(()),
    }
}

/// Where a shop reads its orders by the settings; `None`: they do not have it.
fn now(settings: &Settings, name: &str) -> Option<Place> {
    let of_shop = settings.shop_orders.iter().find(|of_shop| of_shop.shop == name)?;
    Some(Place::of(&ledger::source_name(of_shop.orders.as_ref()?)))
}

/// What shops have loaded.
struct Loaded {
    by_shop: Vec<LoadedPlace>,
}

/// A place that a shop has loaded.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct LoadedPlace {
    shop: String,
    place: Place,
}

impl Loaded {
    fn of(ledger: &Ledger) -> Loaded {
        let covered = ledger.sources.iter().filter(|coverage| !coverage.loaded.is_empty());
        let places = covered.filter_map(|coverage| {
            let (shop, source) = coverage.identity.source.split_once(':')?;
            Some(LoadedPlace { shop: shop.to_owned(), place: Place::of(source) })
        });
        Loaded { by_shop: places.collect::<BTreeSet<_>>().into_iter().collect() }
    }

    fn has(&self, shop: &str) -> bool {
        self.by_shop.iter().any(|of_shop| of_shop.shop == shop)
    }
}

/// Where orders are read, whatever the spelling: `http` or `https`, `localhost` or an address of it, doubled slashes, `./`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    /// The host, its port and the path; or the path of files.
    path: String,
    /// The parameters of a URL, in order of their names: one of them may tell shops apart.
    parameters: Vec<String>,
}

impl Place {
    fn of(source: &str) -> Place {
        match Url::parse(source) {
            Ok(url) if url.has_host() => Place::of_url(&url),
            _ => Place {
                path: path::absolute(source).map_or_else(|_| source.to_owned(), |path| path.display().to_string()),
                parameters: Vec::new(),
            },
        }
    }

    fn of_url(url: &Url) -> Place {
        let host = match url.host_str().unwrap_or_default() {
            "127.0.0.1" | "[::1]" => "localhost",
            host => host,
        };
        let port = url.port().filter(|port| !matches!(port, 80 | 443)).map(|port| format!(":{port}")).unwrap_or_default();
        let steps: Vec<&str> = url.path().split('/').filter(|step| !step.is_empty()).collect();
        let mut parameters: Vec<String> = url.query_pairs().map(|(name, value)| format!("{name}={value}")).collect();
        parameters.sort();
        Place { path: format!("//{host}{port}/{}", steps.join("/")), parameters }
    }

    /// Whether both differ by nothing but parameters.
    fn is_beside(&self, other: &Place) -> bool {
        self.path == other.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_whatever_its_spelling() {
        let place = |source: &str| Place::of(source);
        let plain = place("https://127.0.0.1:8080/orders?b=2&a=1");
        for other in
            ["http://localhost:8080//orders/?a=1&b=2", "https://LOCALHOST:8080/./orders?a=1&b=2#x", "https://[::1]:8080/orders?a=1&b=2"]
        {
            assert_eq!(place(other), plain, "{other}");
        }
        assert_eq!(place("https://h:443/o"), place("http://h:80/o"));
        for other in ["https://127.0.0.1:8081/orders?a=1&b=2", "https://127.0.0.1:8080/order?a=1&b=2"] {
            assert!(!place(other).is_beside(&plain), "{other}");
        }
        let other = place("https://127.0.0.1:8080/orders?b=2&a=3");
        assert!(other != plain && other.is_beside(&plain));
        assert_eq!(place("./de/*.ndjson"), place("de/*.ndjson"));
        assert_ne!(place("de/*.ndjson"), place("us/*.ndjson"));
    }
}
