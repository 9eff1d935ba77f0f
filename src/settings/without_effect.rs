//! What settings say that has no effect beside the others: a note each, for `etl config check`. Refuses nothing: the
//! same file may serve other runs, whose flags name other sources.

use std::collections::HashSet;

use super::{Location, OutputLocation, Settings, SourceKind, shops, sources::source_table, toml_tree::Table};

/// Keys of a source's table that are about requests over HTTP.
const OVER_HTTP: [&str; 16] = [
    "path",
    "page_size",
    "concurrency",
    "requests_per_second",
    "pagination",
    "auth",
    "query",
    "headers",
    "count",
    "body",
    "next_body",
    "graphql",
    "variables",
    "filter",
    "bulk",
    "more_request",
];

/// What has no effect of a file whose settings these are: one for each shop, or the only ones.
pub(super) fn notes(file: &Table, all: &[Settings]) -> Vec<String> {
    let shops = shops::trees(file).unwrap_or_default();
    let mut notes = Vec::new();
    for settings in all {
        let shop = settings.shop.as_ref().and_then(|shop| shops.iter().find(|tree| tree.name == shop.name));
        for kind in SourceKind::ALL {
            notes.extend(of_source(shop.map_or(file, |shop| &shop.own), kind, settings));
        }
        let unknown = settings.masks.columns().iter().filter(|column| !settings.knows_column(&column.name));
        notes.extend(unknown.map(|column| {
            format!("`columns.{}`: neither a fixed column nor one of the mapping: a run refuses it if the users have none", column.name)
        }));
    }
    if let Some(settings) = all.first() {
        notes.extend(of_layer(file, settings));
    }
    // Shops share what is said above them.
    let mut told = HashSet::new();
    notes.retain(|note| told.insert(note.clone()));
    notes
}

/// What the table of a source says in vain.
fn of_source(file: &Table, kind: SourceKind, settings: &Settings) -> Vec<String> {
    let name = kind.table();
    let source = match kind {
        SourceKind::Orders => &settings.orders,
        SourceKind::Users => &settings.users,
        SourceKind::Products => &settings.products,
    };
    if settings.unread_members.contains(&kind) {
        return vec![format!("{name}: {NOT_READ}")];
    }
    let own = file.get(name).and_then(source_table);
    let is_read_over_http = source.as_ref().is_none_or(|source| matches!(source.location, Location::Http(_)));
    match own {
        Some(own) if !is_read_over_http => {
            let in_vain = OVER_HTTP.iter().filter(|key| own.get(key).is_some());
            in_vain.map(|key| format!("`{name}.{key}` has no effect: it is about requests, and the {name} are files")).collect()
        }
        _ => Vec::new(),
    }
}

/// Why members are not read that a profile or a table describes.
pub(super) const NOT_READ: &str =
    "not read: a profile or a table describes them, but nothing says where they are. Name them (`users`, `products`), or the API (`url`)";

/// What the settings of the layer say in vain.
fn of_layer(file: &Table, settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |key: &str, why: &str| {
        if file.at(key).is_some() {
            notes.push(format!("`{key}` has no effect: {why}"));
        }
    };
    if settings.deletions.mode.is_none() {
        note("delete_limit", "`delete_missing` is off");
    }
    if !settings.raw.is_kept {
        note("raw.keep", "`keep_raw` is off");
    }
    let sources = [&settings.orders, &settings.users, &settings.products];
    let is_in_bucket = |location: &Location| matches!(location, Location::Bucket(_));
    let reads_bucket = sources.into_iter().flatten().any(|source| is_in_bucket(&source.location));
    if !reads_bucket && matches!(settings.output, OutputLocation::Folder(_)) {
        note("storage", "neither the output nor a source is in a bucket");
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Flags, merge, merge::Layers};

    fn of(toml: &str) -> Vec<String> {
        let file = Table::parse("etl.toml", toml).unwrap();
        let (flags, environment) = (Flags::default(), Environment::of(&[], &[]));
        let settings = merge::of_shops(&Layers::new(&flags, &environment, &file), &[]).unwrap();
        notes(&file, &settings)
    }

    #[test]
    fn what_has_no_effect_is_named_once() {
        let http = of("[orders]\nlocation = 'o.json'\npage_size = 5\nauth = { kind = 'bearer' }\n");
        assert_eq!(http.len(), 2, "{http:?}");
        assert!(http[0].starts_with("`orders.page_size` has no effect: it is about requests, and the orders are files"), "{http:?}");
        assert_eq!(of("orders = 'o.json'\nraw.keep = '3d'\ndelete_limit = '5%'\nstorage.region = 'x'").len(), 3);
        assert_eq!(of("orders = 'o.json'\nkeep_raw = true\nraw.keep = '3d'\n"), Vec::<String>::new());
        assert_eq!(of("[orders]\nlocation = 'https://h/o'\npage_size = 5\n"), Vec::<String>::new());
    }

    #[test]
    fn members_that_are_described_and_not_named_are_told() {
        let unread = of("profile = 'stripe-charges'\norders = 'o.json'\n");
        assert_eq!(unread, [format!("users: {NOT_READ}")]);
        assert_eq!(of("orders = 'o.json'\n[products.fields]\nname = 'title'\n"), [format!("products: {NOT_READ}")]);
        assert_eq!(of("profile = 'stripe-charges'\norders = 'o.json'\nusers = 'u.csv'\n"), Vec::<String>::new());
    }

    #[test]
    fn a_mask_of_a_column_that_may_be_the_users_own_is_told() {
        let masked = of("orders = 'o.json'\nusers = 'u.csv'\n[columns.phone]\nmask = 'omit'\n");
        assert!(masked.len() == 1 && masked[0].starts_with("`columns.phone`: neither a fixed column"), "{masked:?}");
        assert_eq!(
            of("orders = 'o.json'\n[users]\nlocation = 'u.csv'\nfields.phone = 'tel'\n[columns.phone]\nmask = 'omit'\n"),
            Vec::<String>::new()
        );
    }
}
