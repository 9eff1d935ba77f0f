//! The three sources out of all layers: where each is, and by which profile it is read. Asks none of them.

use reqwest::Url;

use super::{
    ConfiguredValue, CredentialVariables, Flags, HttpSettings, Location, Origin, Profile, SHIPPED, SettingsError, Shipped, Source,
    SourceKind,
    credentials::{self, NamedSource, NeededCredentials, TopUrls},
    file,
    merge::Layers,
    profile::{SourceTable, joined, overlay, read_table},
    reader::{Reader, typed},
    setting::{self, Form},
    shipped,
    shops::Whose,
    storage,
    toml_tree::{Node, Table, Value, nearest},
    value::choice,
};

/// How the name of a profile's file begins, in errors and origins.
pub(super) const SHIPPED_FILE: &str = "shipped profile ";

/// The sources that settings name.
#[derive(Default)]
pub(super) struct Sources {
    /// The shipped profile of all three.
    pub(super) profile: Option<String>,
    pub(super) orders: Option<Source>,
    pub(super) users: Option<Source>,
    pub(super) products: Option<Source>,
    /// Users or products that a profile or a table describes, and that nothing names.
    pub(super) unread: Vec<SourceKind>,
}

/// Reads the sources.
pub(super) fn read(layers: &Layers<'_>, http: &HttpSettings, whose: &Whose<'_>) -> Result<Sources, SettingsError> {
    let Base { shared, url, .. } = base(layers)?;
    let mut sources = SourceKind::ALL.map(|kind| NamedSource { kind, source: None });
    for NamedSource { kind, source } in &mut sources {
        *source = read_source(layers, *kind, url.as_ref(), &shared)?;
    }
    match whose {
        Whose::Shop { shop, top, .. } => credentials::distribute_to_shop(layers.environment, &shop.name, top, &mut sources)?,
        Whose::OneSource | Whose::AllShops { .. } => credentials::distribute(layers.environment, &mut sources)?,
    }
    for NamedSource { kind, source } in &mut sources {
        let Some(source) = source else { continue };
        credentials::refuse_plain(*kind, source, http)?;
        if let Location::Bucket(objects) = &source.location {
            source.storage = storage::read(layers, Some(objects.bucket.clone()), http)?;
        }
    }
    let mut unread = Vec::new();
    for NamedSource { kind, source } in &sources {
        if *kind != SourceKind::Orders && source.is_none() && is_described(layers, *kind, &shared)? {
            unread.push(*kind);
        }
    }
    let [orders, users, products] = sources.map(|named| named.source);
    if orders.is_none() {
        unread.clear();
    }
    Ok(Sources { profile: shared.name, orders, users, products, unread })
}

/// Whether a profile or a table of `etl.toml` says anything of a source.
fn is_described(layers: &Layers<'_>, kind: SourceKind, shared: &Shared) -> Result<bool, SettingsError> {
    Ok(merged_table(&own_table(layers, kind)?, kind, shared)?.entries().next().is_some())
}

/// Where the top level of a file with shops has sources of its own. Flags and variables are not about those.
pub(super) fn top_urls(layers: &Layers<'_>) -> Result<TopUrls, SettingsError> {
    let none = Flags::default();
    let layers = Layers::new(&none, layers.environment, layers.file);
    let Base { url, .. } = base(&layers)?;
    let at = |kind: SourceKind| {
        Ok::<_, SettingsError>(match own_location(&layers, kind)? {
            Some(Location::Http(url)) => Some(url),
            Some(Location::Files(_) | Location::Bucket(_)) => None,
            None => url.clone(),
        })
    };
    Ok(TopUrls { orders: at(SourceKind::Orders)?, users: at(SourceKind::Users)?, products: at(SourceKind::Products)? })
}

/// A kind of source and its table.
pub(super) struct NamedTable {
    pub(super) kind: SourceKind,
    pub(super) table: Table,
}

/// The tables of the sources: what `etl.toml` says, over the shipped profile that each starts from.
pub(super) fn merged_tables(layers: &Layers<'_>) -> Result<Vec<NamedTable>, SettingsError> {
    let Base { shared, .. } = base(layers)?;
    let named =
        |kind: SourceKind| Ok::<_, SettingsError>(NamedTable { kind, table: merged_table(&own_table(layers, kind)?, kind, &shared)? });
    SourceKind::ALL.into_iter().map(named).collect()
}

/// The variables that the sources of a shipped profile ask for, all at one origin.
pub fn credentials_of_profile(profile: &Shipped) -> NeededCredentials {
    let mut needed = NeededCredentials::default();
    let Ok(file) = shipped_profile(profile.name) else { return needed };
    for kind in SourceKind::ALL {
        if let Some(Value::Table(table)) = file.get(kind.table()).map(|node| &node.value)
            && let Ok(SourceTable { profile, .. }) = read_table(table, kind)
        {
            needed.add(CredentialVariables::Common.names().needed_for(&profile.http.auth));
        }
    }
    needed
}

/// The URL of the API by the shipped profile of all three sources, if it is not its example.
pub(super) fn url_of_profile(layers: &Layers<'_>) -> Result<Option<Node>, SettingsError> {
    let Base { shared, names_orders_alone, .. } = base(layers)?;
    let url = shared.table.as_ref().filter(|_| !names_orders_alone).and_then(|table| table.get("url")).cloned();
    Ok(url.filter(|node| node.value.scalar().is_some_and(|url| !is_example(&url))))
}

/// The shipped profile that all three sources start from.
struct Shared {
    table: Option<Table>,
    name: Option<String>,
}

/// What all three sources share.
struct Base {
    shared: Shared,
    /// The URL of their API.
    url: Option<Url>,
    /// Whether the API that the shipped profile names is asked for nothing.
    names_orders_alone: bool,
}

fn base(layers: &Layers<'_>) -> Result<Base, SettingsError> {
    let named = layers.get(&setting::PROFILE)?;
    let table = named.as_ref().map(|configured| shipped_profile(configured.value.trim()).map_err(|detail| configured.invalid(detail)));
    let shared = Shared { table: table.transpose()?, name: named.map(|configured| configured.value.trim().to_owned()) };
    let names_orders_alone = names_orders_alone(layers)?;
    let url = base_url(layers, shared.table.as_ref().filter(|_| !names_orders_alone))?;
    Ok(Base { shared, url, names_orders_alone })
}

/// Whether somebody says where the orders are, by a flag, by a variable, or as files in `etl.toml`, and names no API.
/// The API that a shipped profile names is then asked for nothing: who loads a file of orders does not expect a request
/// to their vendor.
fn names_orders_alone(layers: &Layers<'_>) -> Result<bool, SettingsError> {
    if layers.get(&setting::URL)?.is_some() {
        return Ok(false);
    }
    if layers.above_file(&setting::ORDERS).is_some() {
        return Ok(true);
    }
    Ok(matches!(own_location(layers, SourceKind::Orders)?, Some(Location::Files(_) | Location::Bucket(_))))
}

/// That no shipped profile has this name, with the one that may be meant.
pub fn no_such_profile(name: &str) -> String {
    let near = nearest(name, SHIPPED.iter().map(|shipped| shipped.name));
    format!("no such profile{}", near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default())
}

/// The `etl.toml` of a shipped profile, or why there is none.
fn shipped_profile(name: &str) -> Result<Table, String> {
    let names: Vec<_> = SHIPPED.iter().map(|shipped| shipped.name).collect();
    let found = shipped(name).ok_or_else(|| format!("{}: write {} (see `etl sources`)", no_such_profile(name), choice(&names)))?;
    file::parse(&format!("{SHIPPED_FILE}{name}"), found.toml).map_err(|error| error.to_string())
}

/// The URL of the API of all three sources. The example of a shipped profile is nobody's API.
fn base_url(layers: &Layers<'_>, shared: Option<&Table>) -> Result<Option<Url>, SettingsError> {
    let below = || shared.and_then(|table| table.get("url")).map(|node| typed(node, "url", Form::Text)).transpose();
    let configured = match layers.get(&setting::URL)? {
        Some(configured) if is_example(&configured.value) => {
            return Err(configured.invalid("this is the example of the shipped profile: say where your own API is"));
        }
        Some(configured) => Some(configured),
        None => below()?.filter(|configured| !is_example(&configured.value)),
    };
    let Some(configured) = configured else { return Ok(None) };
    match configured.value.trim().parse::<Location>() {
        Ok(Location::Http(url)) => Ok(Some(url)),
        Ok(Location::Files(_) | Location::Bucket(_)) => Err(configured.invalid("not an http(s) URL")),
        Err(error) => Err(configured.without_credentials().invalid(error)),
    }
}

/// Whether a URL is that of a shipped profile which its user must replace.
fn is_example(url: &str) -> bool {
    let bare = |url: &str| url.trim().trim_end_matches('/').to_ascii_lowercase();
    SHIPPED.iter().filter_map(|shipped| shipped.example_url()).any(|example| bare(example) == bare(url))
}

/// One source; `None` where no layer says where it is.
fn read_source(layers: &Layers<'_>, kind: SourceKind, url: Option<&Url>, shared: &Shared) -> Result<Option<Source>, SettingsError> {
    let own = own_table(layers, kind)?;
    let reader = Reader::new(&own, kind.table());
    let merged = merged_table(&own, kind, shared)?;
    let SourceTable { name, path, count, line_request, refund_request, more_request, mut profile } = read_table(&merged, kind)?;
    let configured = match layers.above_file(kind.setting()) {
        Some(configured) => Some(configured),
        None => location_in_file(layers, kind, &reader)?,
    };
    // The name is that of the source in etl.toml, and not of one that a flag or a variable names in its place.
    let is_of_file = configured.as_ref().is_none_or(|configured| matches!(configured.origin, Origin::File { .. }));
    let location = match (configured.map(|configured| layers.location(&configured)).transpose()?, url, &path) {
        (Some(Location::Http(url)), _, Some(path)) if matches!(url.path(), "" | "/") => Some(Location::Http(joined(&url, path))),
        (Some(location), ..) => Some(location),
        (None, Some(url), Some(path)) => Some(Location::Http(joined(url, path))),
        (None, ..) => None,
    };
    match (&location, &profile.bulk) {
        (Some(Location::Http(_)), Some(bulk)) => profile.cursor = profile.cursor.or(bulk.cursor),
        (Some(Location::Http(_)), None) if profile.children.is_some() => {
            let detail = "lines with children stand in files: download the file, and name it: --orders bulk.jsonl";
            return Err(reader.error("children", detail));
        }
        _ => {}
    }
    if let (Some(Location::Http(source)), Some(count)) = (&location, count) {
        profile.http.count = Some(count.request(url, source)?);
    }
    let api = match (url, &location, &path) {
        (Some(url), ..) => Some(url.clone()),
        (None, Some(Location::Http(source)), Some(path)) => api_above(source, path),
        (None, ..) => None,
    };
    if let (Some(Location::Http(source)), Some(request)) = (&location, line_request) {
        profile.line_request = Some(request.request(api.as_ref(), source, &profile.http.auth));
    }
    if let (Some(Location::Http(source)), Some(request)) = (&location, refund_request) {
        profile.refund_request = Some(request.request(api.as_ref(), source, &profile.http.auth));
    }
    if let (Some(Location::Http(source)), Some(request)) = (&location, more_request) {
        profile.more_request = Some(request.request(api.as_ref(), source, &profile.http.auth));
    }
    if kind == SourceKind::Orders {
        refuse_without_use(&reader, location.as_ref())?;
    }
    let profile_name = reader.text("profile")?.or_else(|| shared.name.clone());
    Ok(location.map(|location| Source {
        name: name.filter(|_| is_of_file),
        profile_name,
        location,
        credentials: credentials::Credentials::default(),
        storage: None,
        profile,
    }))
}

/// The URL of the API, where that of a source is the path of its profile beneath it.
fn api_above(source: &Url, path: &str) -> Option<Url> {
    let path = format!("/{}", path.trim_matches('/'));
    let above = source.path().trim_end_matches('/').strip_suffix(path.as_str())?.to_owned();
    let mut api = source.clone();
    api.set_path(&above);
    api.set_query(None);
    Some(api)
}

/// Refuses keys that files of orders have no use for: what they say would be lost in silence. Those of a shipped profile below stay.
fn refuse_without_use(own: &Reader<'_>, location: Option<&Location>) -> Result<(), SettingsError> {
    let Some(location) = location.filter(|location| !matches!(location, Location::Http(_))) else { return Ok(()) };
    if own.table().get("line_request").is_some() {
        return Err(own.error("line_request", "lines are asked for over HTTP, and the orders are files: leave this out"));
    }
    if let Some(refunds) = own.inner_unless_false("refunds")?
        && refunds.inner_unless_false("request")?.is_some()
    {
        return Err(refunds.error("request", "refunds are asked for over HTTP, and the orders are files: leave this out"));
    }
    if !location.names_tables() {
        return Ok(());
    }
    if own.table().get("records").is_some() {
        return Err(own.error("records", "in CSV and Parquet each row is a line of an order: leave this out"));
    }
    let lines = own.inner("fields")?.filter(|fields| fields.table().get("lines").is_some());
    let Some(fields) = lines else { return Ok(()) };
    match fields.table().get("lines").map(|node| &node.value) {
        // Each row is an order of one line.
        Some(Value::Text(text)) if text == "." => Ok(()),
        _ => Err(fields.error("lines", "in CSV and Parquet the rows of an order are its lines: leave this out, or write \".\"")),
    }
}

/// A source's own table over that of the shipped profile that it starts from.
fn merged_table(own: &Table, kind: SourceKind, shared: &Shared) -> Result<Table, SettingsError> {
    let reader = Reader::new(own, kind.table());
    let profile = reader.text("profile")?;
    let named =
        profile.as_deref().map(|name| shipped_profile(name).map_err(|detail| reader.error("profile", format!("`{name}`: {detail}"))));
    let named = named.transpose()?;
    let table = named.as_ref().or(shared.table.as_ref()).and_then(|file| file.get(kind.table())).map(|node| &node.value);
    Ok(match table {
        Some(Value::Table(below)) => overlay(own, below),
        _ => own.clone(),
    })
}

/// The table of a source in `etl.toml`; a location alone counts as a table with that location.
fn own_table(layers: &Layers<'_>, kind: SourceKind) -> Result<Table, SettingsError> {
    let Some(node) = layers.file.get(kind.table()) else { return Ok(Table::new(layers.file.place.clone())) };
    source_table(node)
        .ok_or_else(|| node.place.error(format!("`{}`: write a location or a table, not {}", kind.table(), node.value.kind())))
}

/// The table of a source; a location alone is a table with that location. `None` for anything else.
pub(super) fn source_table(node: &Node) -> Option<Table> {
    match &node.value {
        Value::Table(table) => Some(table.clone()),
        Value::Text(_) => {
            let mut table = Table::new(node.place.clone());
            table.insert("location", Node::clone(node));
            Some(table)
        }
        _ => None,
    }
}

/// Where `etl.toml` says that a source is.
fn own_location(layers: &Layers<'_>, kind: SourceKind) -> Result<Option<Location>, SettingsError> {
    let own = own_table(layers, kind)?;
    let configured = location_in_file(layers, kind, &Reader::new(&own, kind.table()))?;
    configured.map(|configured| layers.location(&configured)).transpose()
}

fn location_in_file(layers: &Layers<'_>, kind: SourceKind, own: &Reader<'_>) -> Result<Option<ConfiguredValue>, SettingsError> {
    let configured = own.value("location", Form::Text)?;
    let is_alone = layers.file.get(kind.table()).is_some_and(|node| matches!(node.value, Value::Text(_)));
    Ok(configured.map(|configured| match configured.origin {
        Origin::File { place, .. } if is_alone => {
            ConfiguredValue { value: configured.value, origin: Origin::File { place, key: kind.table().into() } }
        }
        origin => ConfiguredValue { value: configured.value, origin },
    }))
}

/// The profile of the orders that an `etl.toml` describes by itself.
///
/// # Errors
/// The first mistake in the text.
pub fn orders_profile(text: &str) -> Result<Profile, SettingsError> {
    let file = file::parse("etl.toml", text)?;
    match file.get(SourceKind::Orders.table()).map(|node| &node.value) {
        Some(Value::Table(table)) => Ok(read_table(table, SourceKind::Orders)?.profile),
        _ => Ok(Profile::default()),
    }
}

/// The profile that a source's table describes by itself.
///
/// # Errors
/// The first mistake in the text.
pub fn profile_of(kind: SourceKind, table: &str) -> Result<Profile, SettingsError> {
    Ok(read_table(&Table::parse(kind.table(), table)?, kind)?.profile)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Cursor, Environment};

    fn sources(toml: &str, process: &[(&str, &str)]) -> Result<Sources, String> {
        let (flags, environment) = (Flags::default(), Environment::of(process, &[]));
        let file = file::parse("etl.toml", toml).map_err(|error| error.to_string())?;
        read(&Layers::new(&flags, &environment, &file), &HttpSettings::default(), &Whose::OneSource).map_err(|error| error.to_string())
    }

    #[test]
    fn every_shipped_profile_is_free_of_mistakes() {
        for profile in SHIPPED {
            let file = shipped_profile(profile.name).unwrap();
            for kind in SourceKind::ALL {
                let Some(Value::Table(table)) = file.get(kind.table()).map(|node| &node.value) else { continue };
                let read = read_table(table, kind).map(drop).map_err(|error| error.to_string());
                assert_eq!(read, Ok(()), "{}", profile.name);
            }
            let has_place = file.at("orders.path").is_some() && file.get("url").is_some();
            assert!(has_place && profile.title().len() > 10, "{}", profile.name);
        }
    }

    #[test]
    fn a_path_lies_beneath_the_url() {
        let joined = |url: &str, path| super::joined(&url.parse().unwrap(), path).to_string();
        assert_eq!(joined("https://h", "/a/b.json"), "https://h/a/b.json");
        assert_eq!(joined("https://h/v1/", "a?b"), "https://h/v1/a%3Fb");
    }

    #[test]
    fn an_api_lies_above_the_path_of_its_source() {
        let above = |url: &str, path| api_above(&url.parse().unwrap(), path).map(|api| api.to_string());
        assert_eq!(above("https://h/sub/v3/orders?x=1", "/v3/orders").as_deref(), Some("https://h/sub"));
        assert_eq!(above("https://h/v3/orders/", "v3/orders").as_deref(), Some("https://h/"));
        assert_eq!((above("https://h/my-v3/orders", "v3/orders"), above("https://h/else", "/v3/orders")), (None, None));
    }

    #[test]
    fn a_bulk_operation_has_its_cursor_over_the_api_alone() {
        let cursor = |rest: &str| sources(&format!("profile = 'shopify-bulk'\n{rest}"), &[]).unwrap().orders.unwrap().profile.cursor;
        assert_eq!(cursor("url = 'https://own.myshopify.com'"), Some(Cursor::Updated));
        assert_eq!(cursor("url = 'https://own.myshopify.com'\norders.cursor = 'created_at'"), Some(Cursor::Created));
        assert_eq!(cursor("orders = 'bulk.jsonl'"), None);
    }

    #[test]
    fn only_the_unchanged_example_is_no_url() {
        let orders = |toml: &str| sources(toml, &[]).map(|sources| sources.orders.map(|orders| orders.location.to_string()));
        assert_eq!(orders("profile = 'shopify'").unwrap(), None);
        let error = orders("profile = 'shopify'\nurl = 'https://your-shop.myshopify.com/'").unwrap_err();
        assert!(error.starts_with("etl.toml, line 2: `url`: ") && error.contains("say where your own API is"), "{error}");
        let own = orders("profile = 'woocommerce'\nurl = 'https://your-own-shop.example'").unwrap();
        assert_eq!(own.as_deref(), Some("https://your-own-shop.example/wp-json/wc/v3/orders"));
    }

    #[test]
    fn the_users_table_lies_over_the_shipped_profile_and_errors_name_its_own_lines() {
        let read = sources("profile = 'shopify'\nurl = 'https://h'\n[orders.pagination]\nsize_parameter = 'n'\n", &[]).unwrap();
        let orders = read.orders.unwrap();
        assert_eq!((orders.profile.http.pagination, &orders.profile.http.query["n"]), (super::super::Pagination::Link, &"250".to_owned()));
        assert!(read.users.is_some());
        for (toml, message) in [
            (
                "profile = 'shopify'\n[orders.pagination]\n\nfirst = 0\n",
                "etl.toml, line 4: `orders.pagination.first`: unknown key `first` of kind `link`",
            ),
            ("profile = 'shopify'\n[users]\nskip = []\n", "etl.toml, line 3: `users.skip`: `skip` belongs to orders"),
            ("[orders]\nprofile = 'shopfy'\n", "etl.toml, line 2: `orders.profile`: `shopfy`: no such profile (did you mean `shopify`?)"),
            ("orders = 5", "etl.toml, line 1: `orders`: write a location or a table, not a whole number"),
            ("orders = 'ftp://h'", "etl.toml, line 1: `orders`: `ftp://h`: "),
        ] {
            let error = sources(toml, &[]).map(drop).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn credentials_for_a_plain_url_are_refused_by_name() {
        let toml = "orders = 'https://h/o'\nusers = 'http://h/u'\n";
        assert!(sources(toml, &[("ETL_API_TOKEN", "t")]).is_ok(), "another origin gets none");
        let error = sources(toml, &[("ETL_USERS_API_TOKEN", "t")]).map(drop).unwrap_err();
        assert!(
            error.starts_with("users: credentials would be sent to h over plain http") && error.contains("http.allow_plain"),
            "{error}"
        );
        let toml = "[orders]\nlocation = 'https://h/o'\nauth = { kind = 'oauth2', token_url = 'http://t/token' }";
        assert!(sources(toml, &[]).map(drop).unwrap_err().starts_with("`orders.auth.token_url`: "));
    }
}
