//! Every setting with its value and where that comes from, for `etl config show`. Judges no value, and shows no secret.

use reqwest::Url;
use serde::Serialize;

use super::{
    ConfiguredValue, Flags, Form, Origin, SETTINGS, Setting, SettingsError, SourceKind,
    environment::SHOP_PREFIX,
    location::redacted,
    merge::{self, Layers, Written},
    problems::known_variables,
    shops, sources,
    toml_tree::{Node, Table, Value},
};

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// How the names of variables end that hold no secret, of those that are no settings of this tool.
const PLAIN_ENDS: [&str; 18] = [
    "KEY_HEADER",
    "_FILE",
    "_PATH",
    "_REGION",
    "_PROFILE",
    "_ACCOUNT",
    "_NAME",
    "_ARN",
    "_HOST",
    "_URL",
    "_URL_S3",
    "_URL_STS",
    "_ENDPOINT",
    "_TIMEOUT",
    "_PROTOCOL",
    "_DISABLED",
    "_EMULATOR",
    "_TENANT_ID",
];

/// What kind of place a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginKind {
    /// A flag.
    Flag,
    /// A variable of the environment.
    Variable,
    /// A variable of `.env`.
    DotEnv,
    /// A line of `etl.toml`.
    File,
    /// A profile that ships.
    Profile,
    /// The default: nothing else has it.
    Default,
}

/// A value, and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ShownSetting {
    /// Its key in `etl.toml`; where it has none, its variable.
    pub name: String,
    /// The value, as it is written; `***` for a secret.
    pub value: String,
    /// What kind of place it comes from.
    pub from: OriginKind,
    /// The flag, the variable, or the line; `None` for a default.
    pub place: Option<String>,
}

/// All values, in the order of the documentation; then the variables that are set and are no settings of this tool, such as
/// credentials.
///
/// # Errors
/// [`SettingsError`], where so much is wrong that no value can be told: `etl config check` tells all that is.
pub fn shown_settings(flags: &Flags) -> Result<Vec<ShownSetting>, SettingsError> {
    let Written { environment, file } = merge::written(flags)?;
    of_layers(&Layers::new(flags, &environment, &file))
}

fn of_layers(layers: &Layers<'_>) -> Result<Vec<ShownSetting>, SettingsError> {
    let shops = shops::trees(layers.file)?;
    let tables = if shops.is_empty() { sources::merged_tables(layers)? } else { Vec::new() };
    let orders = tables.iter().find(|named| named.kind == SourceKind::Orders).map(|named| &named.table);
    let mut all = Vec::new();
    for setting in SETTINGS {
        let above = layers.above_file(setting).map(|configured| of_configured(setting, &configured));
        match setting.form {
            Form::Table => {
                let (before, is_above) = (all.len(), above.is_some());
                all.extend(above);
                if let Some(named) = tables.iter().find(|named| named.kind.table() == setting.key) {
                    // A location that a flag or a variable replaces counts no more.
                    let mut table = named.table.clone();
                    if is_above {
                        table.remove("location");
                    }
                    add_table(setting.key, &table, &mut all);
                } else if setting.key == "shops" {
                    for shop in &shops {
                        add_shop(layers, shop, &mut all)?;
                    }
                } else if let Some(node) =
                    layers.file.at(setting.key).filter(|_| SourceKind::ALL.iter().all(|kind| kind.table() != setting.key))
                {
                    add_leaves(setting.key, node, &mut all);
                }
                if all.len() == before {
                    all.push(default_of(setting));
                }
            }
            Form::Secret => all.push(above.unwrap_or_else(|| default_of(setting))),
            _ => {
                let configured = layers.get(setting)?.map(|configured| of_configured(setting, &configured));
                let shown = match configured {
                    Some(shown) => Some(shown),
                    None => of_profile(layers, setting, orders)?,
                };
                all.push(shown.unwrap_or_else(|| default_of(setting)));
            }
        }
    }
    all.extend(other_variables(layers));
    Ok(all)
}

fn name_of(setting: &Setting) -> String {
    [setting.key, setting.variable].into_iter().find(|name| !name.is_empty()).unwrap_or(setting.flag).to_owned()
}

fn default_of(setting: &Setting) -> ShownSetting {
    ShownSetting { name: name_of(setting), value: setting.default.to_owned(), from: OriginKind::Default, place: None }
}

fn of_configured(setting: &Setting, configured: &ConfiguredValue) -> ShownSetting {
    let value = if setting.form == Form::Secret { HIDDEN.to_owned() } else { shown(configured) };
    of_origin(name_of(setting), value, &configured.origin)
}

fn of_origin(name: String, value: String, origin: &Origin) -> ShownSetting {
    let (from, place) = match origin {
        Origin::Flag(flag) => (OriginKind::Flag, (*flag).to_owned()),
        Origin::Environment(variable) => (OriginKind::Variable, variable.to_string()),
        Origin::DotEnv(variable) => (OriginKind::DotEnv, variable.to_string()),
        Origin::File { place, .. } => (kind_of_file(&place.file), place.to_string()),
    };
    ShownSetting { name, value, from, place: Some(place) }
}

/// Who speaks in a file. Profiles are files of their own.
fn kind_of_file(file: &str) -> OriginKind {
    if file.starts_with(sources::SHIPPED_FILE) { OriginKind::Profile } else { OriginKind::File }
}

/// A value as it may be shown: a URL without its credentials.
fn shown(configured: &ConfiguredValue) -> String {
    match Url::parse(configured.value.trim()) {
        Ok(url) if url.has_host() && (!url.username().is_empty() || url.password().is_some() || url.query().is_some()) => redacted(&url),
        Err(_) if configured.value.contains("://") => configured.without_credentials().value,
        _ => configured.value.clone(),
    }
}

/// What the profile says where no setting does.
fn of_profile(layers: &Layers<'_>, setting: &Setting, orders: Option<&Table>) -> Result<Option<ShownSetting>, SettingsError> {
    let key = match setting.key {
        "url" => return Ok(sources::url_of_profile(layers)?.map(|node| of_node(setting.key, &node))),
        "cursor" | "lookback" | "merge" | "repeated_sku" => setting.key,
        "fact.quantity" => "quantity",
        _ => return Ok(None),
    };
    Ok(orders.and_then(|table| table.get(key)).map(|node| of_node(setting.key, node)))
}

fn of_node(name: &str, node: &Node) -> ShownSetting {
    let origin = Origin::File { place: node.place.clone(), key: name.to_owned().into() };
    let configured = ConfiguredValue { value: written(&node.value), origin };
    of_origin(name.to_owned(), shown(&configured), &configured.origin)
}

/// A value in one line.
fn written(value: &Value) -> String {
    match value {
        Value::List(list) => format!("[{}]", list.iter().map(|node| written(&node.value)).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => {
            let entries = table.by_line().into_iter().map(|(key, node)| format!("{key} = {}", written(&node.value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.scalar().unwrap_or_default(),
    }
}

fn add_table(name: &str, table: &Table, all: &mut Vec<ShownSetting>) {
    for (key, node) in table.by_line() {
        add_leaves(&format!("{name}.{key}"), node, all);
    }
}

/// What stands in a table or in a list of tables is shown one by one.
fn add_leaves(name: &str, node: &Node, all: &mut Vec<ShownSetting>) {
    match &node.value {
        Value::Table(table) => add_table(name, table, all),
        Value::List(list) if list.iter().any(|node| matches!(node.value, Value::Table(_))) => {
            for (place, node) in list.iter().enumerate() {
                add_leaves(&format!("{name}[{place}]"), node, all);
            }
        }
        _ => all.push(of_node(name, node)),
    }
}

/// The sources of a shop, with what the top level says of the sources of all shops.
fn add_shop(layers: &Layers<'_>, shop: &shops::ShopTree, all: &mut Vec<ShownSetting>) -> Result<(), SettingsError> {
    let name = format!("shops.{}", shop.name);
    for (key, node) in shop.own.by_line() {
        if !SourceKind::ALL.iter().any(|kind| kind.table() == key) {
            add_leaves(&format!("{name}.{key}"), node, all);
        }
    }
    let own = Layers::new(layers.flags, layers.environment, &shop.tree);
    for named in sources::merged_tables(&own)? {
        add_table(&format!("{name}.{}", named.kind.table()), &named.table, all);
    }
    Ok(())
}

/// The variables that are set and are no settings of this tool: credentials, and those of vendors.
fn other_variables(layers: &Layers<'_>) -> Vec<ShownSetting> {
    let known: Vec<String> = known_variables().collect();
    let is_setting =
        |name: &str| SETTINGS.iter().any(|setting| setting.variable == name || setting.old_names().is_some_and(|old| old.variable == name));
    let is_read = |name: &str| name.starts_with(SHOP_PREFIX) || known.iter().any(|known| known == name);
    let names = layers.environment.names().into_iter().filter(|name| is_read(name) && !is_setting(name));
    let row = |name: &str| {
        let configured = layers.environment.get(name)?;
        let is_proxy = name.to_ascii_lowercase().ends_with("_proxy");
        let is_plain = is_proxy || PLAIN_ENDS.iter().any(|end| name.ends_with(end));
        let value = if is_plain { shown(&configured.without_credentials()) } else { HIDDEN.to_owned() };
        Some(of_origin(name.to_owned(), value, &configured.origin))
    };
    names.filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, file, setting};

    fn shown_settings(toml: &str, process: &[(&str, &str)], dot_env: &[(&str, &str)], flags: &Flags) -> Vec<ShownSetting> {
        let environment = Environment::of(process, dot_env);
        let file = file::parse("etl.toml", toml).unwrap();
        of_layers(&Layers::new(flags, &environment, &file)).unwrap()
    }

    fn one<'s>(all: &'s [ShownSetting], name: &str) -> (&'s str, OriginKind, &'s str) {
        let found: Vec<_> = all.iter().filter(|shown| shown.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        (&found[0].value, found[0].from, found[0].place.as_deref().unwrap_or("-"))
    }

    #[test]
    fn every_value_names_where_it_comes_from() {
        let toml = "profile = 'woocommerce'\nurl = 'https://h/?token=hush&a=b'\nlookback = '2d'\n[orders]\npage_size = 7\n";
        let process =
            [("ETL_KEEP", "3d"), ("ETL_API_USER", "ck"), ("ETL_ALERT_SLACK_URL", "https://hush.example/x"), ("AWS_REGION", "eu-1")];
        let flags = Flags::default().with(&setting::SINCE, "7d");
        let all = shown_settings(toml, &process, &[("ETL_UNTIL", "1d"), ("ETL_API_PASSWORD", "hush")], &flags);
        assert_eq!(one(&all, "since"), ("7d", OriginKind::Flag, "--since"));
        assert_eq!(one(&all, "keep"), ("3d", OriginKind::Variable, "ETL_KEEP"));
        assert_eq!(one(&all, "until"), ("1d", OriginKind::DotEnv, "ETL_UNTIL"));
        assert_eq!(one(&all, "lookback"), ("2d", OriginKind::File, "etl.toml, line 3"));
        assert_eq!(one(&all, "orders.page_size"), ("7", OriginKind::File, "etl.toml, line 5"));
        assert_eq!(one(&all, "orders.path").1, OriginKind::Profile);
        assert_eq!((one(&all, "merge").0, one(&all, "merge").1), ("order", OriginKind::Profile));
        assert_eq!(one(&all, "threads"), ("one per core", OriginKind::Default, "-"));
        assert_eq!(one(&all, "ETL_ALERT_SLACK_URL"), ("***", OriginKind::Variable, "ETL_ALERT_SLACK_URL"));
        assert_eq!(one(&all, "ETL_API_PASSWORD"), ("***", OriginKind::DotEnv, "ETL_API_PASSWORD"));
        assert_eq!(one(&all, "AWS_REGION").0, "eu-1");
        let text = format!("{all:?}");
        assert!(!text.contains("hush") && text.contains("a=b"), "{text}");
    }

    #[test]
    fn a_location_that_is_replaced_is_not_shown() {
        let all =
            shown_settings("[orders]\nlocation = 'a.json'\npage_size = 7\n", &[], &[], &Flags::default().with(&setting::ORDERS, "b.json"));
        assert_eq!(one(&all, "orders"), ("b.json", OriginKind::Flag, "--orders"));
        assert!(all.iter().all(|shown| shown.name != "orders.location"));
    }

    #[test]
    fn each_shop_has_rows_of_its_own() {
        let toml = "[orders]\npage_size = 7\n[[shops]]\nname = 'de'\norders = 'de.json'\n[[shops]]\nname = 'us'\norders = { location = 'us.json', page_size = 9 }\n[[fact.columns]]\nname = 'gift'\npath = 'g'\n";
        let all = shown_settings(toml, &[], &[], &Flags::default());
        assert_eq!(one(&all, "shops.de.orders.location"), ("de.json", OriginKind::File, "etl.toml, line 5"));
        assert_eq!((one(&all, "shops.de.orders.page_size").0, one(&all, "shops.us.orders.page_size").0), ("7", "9"));
        assert_eq!(one(&all, "fact.columns[0].name").0, "gift");
    }

    #[test]
    fn every_setting_has_a_row() {
        let all = shown_settings("", &[], &[], &Flags::default());
        assert_eq!(all.len(), SETTINGS.len());
        assert!(all.iter().all(|shown| shown.from == OriginKind::Default), "{all:?}");
    }
}
