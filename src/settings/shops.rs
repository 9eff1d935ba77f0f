//! `[[shops]]`: several shops in one layer. The settings of a shop are those of a file whose top level says what the shop says.
//!
//! Not what the name of a shop does to ids: `normalize` puts it before them.

use std::sync::Arc;

use super::{
    CredentialVariables, FactColumn, Origin, Setting, Settings, SettingsError, Source, SourceKind,
    credentials::TopUrls,
    merge::{self, Layers},
    profile::overlay,
    reader::Reader,
    setting,
    sources::{self, source_table},
    toml_tree::{Node, Table, Value},
};
use crate::model::{LayerIds, QuantityType};

/// The keys of a shop's table.
pub(super) const KEYS: [&str; 7] = ["name", "own_skus", "profile", "url", "orders", "users", "products"];

/// The key of the list of shops.
const LIST: &str = "shops";

/// The bytes that the name of a shop may have: it stands before every id.
const LONGEST_NAME: usize = 64;

/// A shop: the ids of its orders and customers carry its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shop {
    /// Its name.
    pub name: String,
    /// Whose its skus are.
    pub skus: Skus,
}

/// Where a shop reads its orders.
#[derive(Clone, Debug)]
pub struct ShopOrders {
    /// Its name.
    pub shop: String,
    /// The source of its orders; `None`: it has none.
    pub orders: Option<Source>,
}

/// Whose the skus of a shop are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Skus {
    /// Those of the company: one sku is the same thing in every shop.
    #[default]
    OfCompany,
    /// Its own: the same sku is another thing in another shop.
    OfShop,
}

impl Shop {
    /// What stands before the ids of its orders and customers.
    pub fn id_prefix(&self) -> String {
        format!("{}:", self.name)
    }

    /// What stands before its skus and the ids of its products; `None`: nothing.
    pub fn sku_prefix(&self) -> Option<String> {
        (self.skus == Skus::OfShop).then(|| self.id_prefix())
    }
}

/// Whose settings are read.
pub(super) enum Whose<'s> {
    /// Those of a layer of one source.
    OneSource,
    /// Those of a layer of several shops, as a whole: no source is read.
    AllShops {
        /// The names of the shops.
        names: &'s [String],
    },
    /// Those of one shop.
    Shop {
        /// The shop.
        shop: &'s Shop,
        /// The names of all shops.
        names: &'s [String],
        /// Where the top level's own sources are.
        top: &'s TopUrls,
    },
}

impl Whose<'_> {
    pub(super) fn shop(&self) -> Option<&Shop> {
        match self {
            Whose::Shop { shop, .. } => Some(shop),
            Whose::OneSource | Whose::AllShops { .. } => None,
        }
    }

    /// The names of all shops; none of a layer of one source.
    pub(super) fn names(&self) -> &[String] {
        match self {
            Whose::OneSource => &[],
            Whose::AllShops { names } | Whose::Shop { names, .. } => names,
        }
    }

    /// The column of the shop; `None` in a layer of one source.
    pub(super) fn column(&self) -> Option<FactColumn> {
        (!self.names().is_empty()).then(|| FactColumn::of_shop(self.shop().map(|shop| shop.name.as_str())))
    }
}

/// Which ids the orders of a layer of these shops have.
pub(super) fn layer_ids(names: &[String]) -> LayerIds {
    if names.is_empty() { LayerIds::OfOneSource } else { LayerIds::OfShops }
}

/// A shop and its table.
struct ShopTable<'t> {
    shop: Shop,
    table: &'t Table,
}

/// A shop as it is written.
pub(super) struct ShopTree {
    /// Its name.
    pub(super) name: String,
    /// Its own table.
    pub(super) own: Table,
    /// A file whose top level says what the shop says.
    pub(super) tree: Table,
}

/// The shops of a file, in its order.
pub(super) fn trees(file: &Table) -> Result<Vec<ShopTree>, SettingsError> {
    let tree = |ShopTable { shop, table }: ShopTable<'_>| ShopTree { name: shop.name, own: table.clone(), tree: laid_over(table, file) };
    Ok(tables(file)?.into_iter().map(tree).collect())
}

/// The settings of every shop, in the order of the file; none where it has no shops.
pub(super) fn all(layers: &Layers<'_>) -> Result<Vec<Settings>, SettingsError> {
    let tables = tables(layers.file)?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = tables.iter().map(|table| table.shop.name.clone()).collect();
    let top = sources::top_urls(layers)?;
    let mut all = Vec::with_capacity(tables.len());
    for ShopTable { shop, table } in &tables {
        let tree = laid_over(table, layers.file);
        let own = Layers::new(layers.flags, layers.environment, &tree);
        all.push(merge::settings(&own, &Whose::Shop { shop, names: &names, top: &top })?);
    }
    let orders = all.iter().zip(&names).map(|(settings, shop)| ShopOrders { shop: shop.clone(), orders: settings.orders.clone() });
    let orders: Arc<[ShopOrders]> = orders.collect();
    all.iter_mut().for_each(|settings| settings.shop_orders = Arc::clone(&orders));
    // All rows of a layer have quantities of one type: the one that holds those of every shop.
    if all.iter().any(|settings| settings.quantity == Some(QuantityType::Decimal)) {
        all.iter_mut().for_each(|settings| settings.quantity = Some(QuantityType::Decimal));
    }
    Ok(all)
}

/// The tables of the shops, free of mistakes in what is theirs alone.
fn tables(file: &Table) -> Result<Vec<ShopTable<'_>>, SettingsError> {
    let mut tables: Vec<ShopTable<'_>> = Vec::new();
    for reader in Reader::new(file, "").tables(LIST)? {
        let shop = shop(&reader)?;
        for ShopTable { shop: earlier, .. } in &tables {
            if earlier.name == shop.name {
                return Err(reader.error("name", format!("`{}`: another shop has this name", shop.name)));
            }
            if let Some(variable) = shared_variable(&earlier.name, &shop.name) {
                let detail = format!("`{}` and `{}` would share the variable {variable}: rename one of them", earlier.name, shop.name);
                return Err(reader.error("name", detail));
            }
        }
        tables.push(ShopTable { shop, table: reader.table() });
    }
    Ok(tables)
}

fn shop(reader: &Reader<'_>) -> Result<Shop, SettingsError> {
    reader.only(&KEYS)?;
    let name = reader.needed("name")?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_word) {
        let detail = format!("`{name}`: the name of a shop has 1 to {LONGEST_NAME} letters, digits, `_` and `-`");
        return Err(reader.error("name", detail));
    }
    let skus = if reader.yes_no("own_skus")?.unwrap_or_default() { Skus::OfShop } else { Skus::OfCompany };
    Ok(Shop { name, skus })
}

/// A variable that would hold credentials of both shops.
fn shared_variable(one: &str, other: &str) -> Option<String> {
    let of =
        |shop: &str| CredentialVariables::ALL.into_iter().flat_map(|variables| variables.names_of_shop(shop).all()).collect::<Vec<_>>();
    let taken = of(one);
    of(other).into_iter().find(|variable| taken.contains(variable))
}

/// A file whose top level says what the shop says, and else what it said before.
fn laid_over(shop: &Table, file: &Table) -> Table {
    let mut tree = file.clone();
    tree.remove(LIST);
    if shop.get("profile").is_some() {
        // What the shop says of all its sources comes before the profile of one source of all shops.
        SourceKind::ALL.into_iter().for_each(|kind| remove_within(&mut tree, kind.table(), "profile"));
    }
    if shop.get("url").is_some() {
        // The orders of the shop are there, and nowhere else.
        remove_within(&mut tree, SourceKind::Orders.table(), "location");
    }
    for key in ["profile", "url"] {
        if let Some(node) = shop.get(key) {
            tree.insert(key, Node::clone(node));
        }
    }
    for kind in SourceKind::ALL {
        let key = kind.table();
        if let Some(over) = shop.get(key) {
            let laid = source_over(over, tree.get(key));
            tree.insert(key, laid);
        }
    }
    tree
}

/// Removes a key of a source's table. A location alone is its `location`.
fn remove_within(tree: &mut Table, table: &str, key: &str) {
    match tree.remove(table) {
        Some(Node { place, value: Value::Table(mut inner) }) => {
            inner.remove(key);
            tree.insert(table, Node { place, value: Value::Table(inner) });
        }
        Some(Node { value: Value::Text(_), .. }) if key == "location" => {}
        Some(node) => tree.insert(table, node),
        None => {}
    }
}

/// What a shop says of a source over what the top level says of it.
fn source_over(over: &Node, below: Option<&Node>) -> Node {
    match (source_table(over), below.and_then(source_table)) {
        (Some(table), Some(below)) => Node { place: over.place.clone(), value: Value::Table(overlay(&table, &below)) },
        _ => over.clone(),
    }
}

/// Those that are picked, or all where none is; in the order of the file.
pub(super) fn picked(all: Vec<Settings>, picked: &[String]) -> Result<Vec<Settings>, SettingsError> {
    let names = all.first().map(|settings| settings.shops.clone()).unwrap_or_default();
    if let Some(unknown) = picked.iter().find(|name| !names.contains(name)) {
        return Err(SettingsError::flag("--shop", unknown, format!("no such shop in etl.toml: there are {}", names.join(", "))));
    }
    let is_picked = |settings: &Settings| settings.shop.as_ref().is_some_and(|shop| picked.is_empty() || picked.contains(&shop.name));
    Ok(all.into_iter().filter(is_picked).collect())
}

/// The settings that say where sources are.
const SOURCES: [&Setting; 5] = [&setting::PROFILE, &setting::URL, &setting::ORDERS, &setting::USERS, &setting::PRODUCTS];

/// Whether a flag or a variable says where sources are.
pub(super) fn has_source_above(layers: &Layers<'_>) -> bool {
    SOURCES.into_iter().any(|setting| layers.above_file(setting).is_some())
}

/// Refuses flags and variables that would put one source in place of those of every shop.
pub(super) fn refuse_one_source(layers: &Layers<'_>, picked: &[String]) -> Result<(), SettingsError> {
    for setting in SOURCES {
        let Some(configured) = layers.above_file(setting) else { continue };
        let detail = match configured.origin {
            Origin::Flag(_) if picked.len() == 1 => continue,
            Origin::Flag(_) => "etl.toml has [[shops]], and this is the source of one of them: say of which (--shop NAME)",
            _ => "etl.toml has [[shops]], and this would be the source of each of them: write it into the table of its shop",
        };
        return Err(configured.without_credentials().invalid(detail));
    }
    Ok(())
}

/// Refuses two shops that read the same orders: they would count twice.
pub(super) fn refuse_same_orders(all: &[Settings]) -> Result<(), SettingsError> {
    for (place, settings) in all.iter().enumerate() {
        let (Some(shop), Some(orders)) = (&settings.shop, &settings.orders) else { continue };
        // Whose credentials are missing is told so by name.
        if orders.credentials.missing_for(&orders.profile.http.auth).is_some() {
            continue;
        }
        for earlier in all.iter().take(place) {
            let (Some(earlier), Some(other)) = (&earlier.shop, &earlier.orders) else { continue };
            let is_same =
                orders.location == other.location && orders.profile == other.profile && orders.credentials.are_equal_to(&other.credentials);
            if is_same {
                return Err(SettingsError::Conflict(format!(
                    "the shops `{}` and `{}` read the same orders, {}, which would count twice: give each its own url, orders or credentials",
                    earlier.name, shop.name, orders.location
                )));
            }
        }
    }
    Ok(())
}

/// Says which variables of shops belong to none.
pub(super) fn tell_unused_variables(layers: &Layers<'_>, all: &[Settings]) {
    let names = all.first().map(|settings| settings.shops.as_slice()).unwrap_or_default();
    let known: Vec<String> = names
        .iter()
        .flat_map(|shop| CredentialVariables::ALL.into_iter().flat_map(move |variables| variables.names_of_shop(shop).all()))
        .collect();
    for variable in layers.environment.of_shops().filter(|variable| !known.iter().any(|known| known == variable)) {
        tracing::warn!(variable, "this variable is of no shop in etl.toml, and is not read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Flags, Location, Secret, file};

    fn read(toml: &str, process: &[(&str, &str)]) -> Result<Vec<Settings>, String> {
        let (flags, environment) = (Flags::default(), Environment::of(process, &[]));
        let file = file::parse("etl.toml", toml).map_err(|error| error.to_string())?;
        let layers = Layers::new(&flags, &environment, &file);
        let all = all(&layers).and_then(|all| refuse_same_orders(&all).map(|()| all));
        all.map_err(|error| error.to_string())
    }

    fn locations(all: &[Settings]) -> Vec<String> {
        all.iter().map(|settings| settings.orders.as_ref().unwrap().location.to_string()).collect()
    }

    fn tokens(settings: &Settings) -> [String; 2] {
        [&settings.orders, &settings.users].map(|source| {
            let credentials = &source.as_ref().unwrap().credentials;
            let token = credentials.bearer.as_ref().map_or("-", Secret::expose);
            format!("{token} {}", credentials.variables.token)
        })
    }

    #[test]
    fn a_shop_lies_over_the_top_level_and_names_its_own_lines() {
        let toml = "profile = 'woocommerce'\n[orders]\npage_size = 7\nfields.status = 'state'\n[[shops]]\nname = 'de'\nurl = 'https://de'\norders.page_size = 9\n[[shops]]\nname = 'us'\nprofile = 'fakestore'\nown_skus = true\norders = 'us.json'";
        let all = read(toml, &[]).unwrap();
        assert_eq!(locations(&all), ["https://de/wp-json/wc/v3/orders", "us.json"]);
        let orders = |place: usize| all[place].orders.as_ref().unwrap();
        assert_eq!((orders(0).profile.http.page_size, orders(1).profile.http.page_size), (Some(9), Some(7)));
        assert_eq!((orders(0).profile_name.as_deref(), orders(1).profile_name.as_deref()), (Some("woocommerce"), Some("fakestore")));
        assert!(all.iter().all(|settings| settings.orders.as_ref().unwrap().profile.fields.contains_key("status")));
        let shop = |place: usize| all[place].shop.clone().unwrap();
        assert_eq!((shop(0).id_prefix().as_str(), shop(0).sku_prefix(), shop(1).sku_prefix().as_deref()), ("de:", None, Some("us:")));
        assert_eq!(all[1].schema().names().nth(15), Some("shop"));
        assert_eq!(all[1].schema().ids(), LayerIds::OfShops);
    }

    #[test]
    fn a_url_of_a_shop_takes_the_place_of_the_location_of_all_orders() {
        let toml = "users = 'u.csv'\n[orders]\nlocation = 'https://old/o'\npath = 'o'\n[[shops]]\nname = 'a'\nurl = 'https://a'\n[[shops]]\nname = 'b'\norders = 'b.json'";
        let all = read(toml, &[]).unwrap();
        assert_eq!(locations(&all), ["https://a/o", "b.json"]);
        assert!(all.iter().all(|settings| settings.users == Some(Location::Files("u.csv".into()).into())));
    }

    #[test]
    fn mistakes_in_shops_are_named_with_their_lines() {
        let first = "[[shops]]\nname = 'de-1'\norders = 'o.json'\n[[shops]]\n";
        for (second, message) in [
            ("orders = 'x'", "etl.toml, line 4: `shops.name`: this key is needed here"),
            ("name = 'a b'", "etl.toml, line 5: `shops.name`: `a b`: the name of a shop has 1 to 64 letters"),
            ("name = 'de-1'", "etl.toml, line 5: `shops.name`: `de-1`: another shop has this name"),
            ("name = 'DE_1'", "would share the variable ETL_SHOP_DE_1_API_TOKEN"),
            ("name = 'de_1_users'", "would share the variable ETL_SHOP_DE_1_USERS_API_TOKEN"),
            ("name = 'b'\nurll = 'x'", "etl.toml, line 6: unknown key `urll`: did you mean `url`?"),
            ("name = 'b'\norders.pag_size = 1", "etl.toml, line 6: unknown key `pag_size`: did you mean `page_size`?"),
            ("name = 'b'\nown_skus = 'yes'", "etl.toml, line 6: `shops.own_skus`: "),
            ("name = 'b'\norders = 'o.json'", "the shops `de-1` and `b` read the same orders, o.json, which would count twice"),
        ] {
            let error = read(&format!("{first}{second}"), &[]).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        assert!(read("shops = 5", &[]).unwrap_err().contains("write a list in brackets"));
        let clash = "[[fact.columns]]\nname = 'Shop'\npath = 'x'\n[[shops]]\nname = 'a'\norders = 'o.json'";
        assert!(read(clash, &[]).unwrap_err().contains("`Shop`: another column has this name"));
        assert!(read("[[fact.columns]]\nname = 'shop'\npath = 'x'\n", &[]).unwrap().is_empty(), "without shops the name is free");
    }

    #[test]
    fn credentials_of_a_shop_come_first_and_others_stay_at_the_origin_of_the_top_level() {
        let shops = "[[shops]]\nname = 'de'\norders = 'https://de/o'\nusers = 'https://de/u'\n[[shops]]\nname = 'us-1'\norders = 'https://top/us'\nusers = 'https://crm/u'\n";
        let top = "orders = 'https://top/o'\nusers = 'https://crm/all'\n";
        let all = [("ETL_API_TOKEN", "common"), ("ETL_USERS_API_TOKEN", "crm")];
        let found = read(&format!("{top}{shops}"), &all).unwrap();
        assert_eq!(tokens(&found[0]), ["- ETL_SHOP_DE_API_TOKEN", "- ETL_SHOP_DE_API_TOKEN"], "a host that nobody meant");
        assert_eq!(tokens(&found[1]), ["common ETL_API_TOKEN", "crm ETL_USERS_API_TOKEN"]);
        let own = [all[0], all[1], ("ETL_SHOP_DE_API_TOKEN", "de"), ("ETL_SHOP_US_1_API_TOKEN", "us")];
        let found = read(&format!("{top}{shops}"), &own).unwrap();
        assert_eq!(tokens(&found[0]), ["de ETL_SHOP_DE_API_TOKEN"; 2]);
        assert_eq!(tokens(&found[1]), ["us ETL_SHOP_US_1_API_TOKEN", "crm ETL_USERS_API_TOKEN"]);
        let users = [own[0], own[1], own[2], own[3], ("ETL_SHOP_US_1_USERS_API_TOKEN", "mine")];
        assert_eq!(tokens(&read(&format!("{top}{shops}"), &users).unwrap()[1])[1], "mine ETL_SHOP_US_1_USERS_API_TOKEN");
        // Without sources of its own, the top level has no origin.
        assert!(read(shops, &all).unwrap().iter().all(|settings| tokens(settings).iter().all(|token| token.starts_with("- ETL_SHOP_"))));
    }

    #[test]
    fn shops_of_one_api_differ_by_their_credentials() {
        let toml = "orders = 'https://api/o'\n[[shops]]\nname = 'a'\n[[shops]]\nname = 'b'\n";
        assert!(read(toml, &[("ETL_API_TOKEN", "t")]).unwrap_err().contains("read the same orders"));
        let all = read(toml, &[("ETL_SHOP_A_API_TOKEN", "a"), ("ETL_SHOP_B_API_TOKEN", "b")]).unwrap();
        assert_eq!(locations(&all), ["https://api/o"; 2]);
    }
}
