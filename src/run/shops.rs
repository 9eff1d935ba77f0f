//! What a shop may not change once it is loaded: its name, and whether its skus carry it. Both are parts of the ids of rows.

use super::{RequestError, ledger};
use crate::{
    coverage::Ledger,
    layer::{OpenedLayer, StateOrigin},
    settings::{Settings, Skus, Source},
};

/// Fails if the orders of a shop would be loaded a second time, under other ids.
///
/// # Errors
/// [`RequestError::RenamedShop`], [`RequestError::OwnSkus`].
pub(super) fn verify(settings: &Settings, orders: &Source, ledger: &Ledger, opened: &OpenedLayer) -> Result<(), RequestError> {
    let Some(shop) = &settings.shop else { return Ok(()) };
    let own = ledger::identity(orders, settings);
    let prefix = shop.id_prefix();
    let loaded = || ledger.sources.iter().map(|coverage| &coverage.identity);
    let own_skus = shop.skus == Skus::OfShop;
    let is_loaded = loaded().any(|identity| identity.source.starts_with(&prefix));
    // What was known of skus goes with the state, which the log alone keeps.
    if is_loaded && opened.origin == StateOrigin::Log && opened.state.own_skus.contains(&shop.name) != own_skus {
        return Err(RequestError::OwnSkus { shop: shop.name.clone(), own_skus });
    }
    if is_loaded {
        return Ok(());
    }
    let place = own.source.strip_prefix(&prefix);
    let before = loaded().filter(|identity| identity.profile == own.profile).find_map(|identity| {
        let (name, rest) = identity.source.split_once(':')?;
        (Some(rest) == place && !settings.shops.iter().any(|known| known == name)).then(|| name.to_owned())
    });
    match before {
        Some(before) => Err(RequestError::RenamedShop { name: shop.name.clone(), before }),
        None => Ok(()),
    }
}
