//! Credentials of sources, from the environment or `.env` only; which source gets which; none in plain sight on the network.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use reqwest::Url;

use super::{
    Auth, ConfiguredValue, Environment, Form, Grant, HttpSettings, Location, SETTINGS, Secret, SettingsError, Source, SourceKind,
    environment::SHOP_PREFIX, is_loopback,
};

/// What a source asks for before it answers.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The variables that these are read from: an error names them.
    pub variables: CredentialNames,
    /// A bearer token.
    pub bearer: Option<Secret>,
    /// The name of a header, and the API key that goes there.
    pub api_key: Option<(String, Secret)>,
    /// User and password.
    pub basic: Option<(Secret, Secret)>,
    /// Id and secret of an OAuth 2 client.
    pub client: Option<(Secret, Secret)>,
    /// A token that gets others.
    pub refresh: Option<Secret>,
    /// The file that keeps the refresh token, for servers that replace it.
    pub refresh_file: Option<PathBuf>,
}

/// Which variables hold the credentials of a source.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum CredentialVariables {
    /// `ETL_API_TOKEN` and its like: those of the orders, and of every source of their origin.
    #[default]
    Common,
    /// `ETL_USERS_API_TOKEN` and its like.
    Users,
    /// `ETL_PRODUCTS_API_TOKEN` and its like.
    Products,
}

/// The names of variables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CredentialNames {
    /// Of the bearer token.
    pub token: String,
    /// Of the API key.
    pub key: String,
    /// Of the header for the API key.
    pub key_header: String,
    /// Of the user.
    pub user: String,
    /// Of the password.
    pub password: String,
    /// Of the id of an OAuth 2 client.
    pub client_id: String,
    /// Of its secret.
    pub client_secret: String,
    /// Of the refresh token.
    pub refresh_token: String,
    /// Of the file that keeps it.
    pub refresh_token_file: String,
}

/// How the names of variables end that hold secrets.
const SECRET_ENDS: [&str; 5] = ["API_TOKEN", "API_KEY", "API_PASSWORD", "OAUTH_CLIENT_SECRET", "OAUTH_REFRESH_TOKEN"];

impl CredentialVariables {
    /// All sets of variables.
    pub const ALL: [CredentialVariables; 3] = [CredentialVariables::Common, CredentialVariables::Users, CredentialVariables::Products];

    /// The names of the variables.
    pub fn names(self) -> CredentialNames {
        CredentialNames::with_prefix(&format!("ETL_{}", self.part()))
    }

    /// The names of the variables of a shop.
    pub fn names_of_shop(self, shop: &str) -> CredentialNames {
        let shop = shop.to_ascii_uppercase().replace('-', "_");
        CredentialNames::with_prefix(&format!("{SHOP_PREFIX}{shop}_{}", self.part()))
    }

    /// The part of the names that says which set they are of.
    fn part(self) -> &'static str {
        match self {
            CredentialVariables::Common => "",
            CredentialVariables::Users => "USERS_",
            CredentialVariables::Products => "PRODUCTS_",
        }
    }

    /// Those of a kind of source.
    fn of(kind: SourceKind) -> CredentialVariables {
        match kind {
            SourceKind::Orders => CredentialVariables::Common,
            SourceKind::Users => CredentialVariables::Users,
            SourceKind::Products => CredentialVariables::Products,
        }
    }
}

impl Default for CredentialNames {
    fn default() -> CredentialNames {
        CredentialVariables::default().names()
    }
}

impl CredentialNames {
    /// Those that begin so.
    fn with_prefix(prefix: &str) -> CredentialNames {
        let name = |end: &str| format!("{prefix}{end}");
        CredentialNames {
            token: name("API_TOKEN"),
            key: name("API_KEY"),
            key_header: name("API_KEY_HEADER"),
            user: name("API_USER"),
            password: name("API_PASSWORD"),
            client_id: name("OAUTH_CLIENT_ID"),
            client_secret: name("OAUTH_CLIENT_SECRET"),
            refresh_token: name("OAUTH_REFRESH_TOKEN"),
            refresh_token_file: name("OAUTH_REFRESH_TOKEN_FILE"),
        }
    }

    /// All of them.
    pub fn all(self) -> [String; 9] {
        let CredentialNames { token, key, key_header, user, password, client_id, client_secret, refresh_token, refresh_token_file } = self;
        [token, key, key_header, user, password, client_id, client_secret, refresh_token, refresh_token_file]
    }
}

/// The variables that a source asks for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct NeededCredentials {
    /// All of these.
    pub all: Vec<String>,
    /// Or one of these in their place.
    pub instead: Vec<String>,
}

impl NeededCredentials {
    /// Whether none are needed.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds those that another source asks for.
    pub(super) fn add(&mut self, other: NeededCredentials) {
        let new = |known: &[String], name: &String| !known.contains(name);
        let all: Vec<_> = other.all.into_iter().filter(|name| new(&self.all, name)).collect();
        self.all.extend(all);
        let instead: Vec<_> = other.instead.into_iter().filter(|name| new(&self.instead, name) && new(&self.all, name)).collect();
        self.instead.extend(instead);
    }
}

impl CredentialNames {
    /// The variables that this authentication needs.
    pub(super) fn needed_for(self, auth: &Auth) -> NeededCredentials {
        let second_key = |header: &Option<String>| header.as_ref().map(|_| self.key.clone());
        let all = |all: Vec<String>| NeededCredentials { all, instead: Vec::new() };
        match auth {
            Auth::Environment | Auth::None => NeededCredentials::default(),
            Auth::KeyHeader(_) | Auth::KeyParameter(_) | Auth::KeyAsUser => all(vec![self.key]),
            Auth::Bearer { key_header } => {
                let key = second_key(key_header);
                all([self.token].into_iter().chain(key).collect())
            }
            Auth::Basic | Auth::PairOfParameters(..) | Auth::Login { .. } => all(vec![self.user, self.password]),
            Auth::OAuth { grant, token_header, key_header, .. } => {
                let key = second_key(key_header);
                let refresh = (*grant == Grant::RefreshToken).then_some(self.refresh_token);
                let instead = if token_header.is_some() { self.key } else { self.token };
                let all = [self.client_id, self.client_secret].into_iter().chain(refresh).chain(key).collect();
                NeededCredentials { all, instead: vec![instead] }
            }
        }
    }
}

impl Credentials {
    /// Whether none are set.
    pub fn is_empty(&self) -> bool {
        let has_refresh = self.refresh.is_some() || self.refresh_file.is_some();
        self.bearer.is_none() && self.api_key.is_none() && self.basic.is_none() && self.client.is_none() && !has_refresh
    }

    /// Whether they let in the same one, whatever variables they are read from.
    pub fn are_equal_to(&self, other: &Credentials) -> bool {
        Credentials { variables: other.variables.clone(), refresh_file: other.refresh_file.clone(), ..self.clone() } == *other
    }

    /// Whether they are enough to get tokens.
    pub fn gets_tokens(&self, grant: Grant) -> bool {
        self.client.is_some() && (grant == Grant::ClientCredentials || self.refresh.is_some())
    }

    /// The variables that hold the credentials of this authentication, in words; empty if it sends none.
    pub fn variables_of(&self, auth: &Auth) -> String {
        let CredentialNames { token, key, user, password, client_id, client_secret, refresh_token, .. } = &self.variables;
        match auth {
            Auth::None => String::new(),
            Auth::Environment => format!("{token}, {key}, or {user} and {password}"),
            Auth::KeyHeader(_) | Auth::KeyParameter(_) => key.clone(),
            Auth::KeyAsUser => format!("{key}, or {user} and {password}"),
            Auth::Bearer { key_header: None } => token.clone(),
            Auth::Bearer { key_header: Some(_) } => format!("{token} and {key}"),
            Auth::Basic | Auth::PairOfParameters(..) | Auth::Login { .. } => format!("{user} and {password}"),
            Auth::OAuth { grant, token_header, .. } => {
                let refresh = if *grant == Grant::RefreshToken { format!(", {refresh_token}") } else { String::new() };
                format!("{client_id}, {client_secret}{refresh} (or {})", if token_header.is_some() { key } else { token })
            }
        }
    }

    /// The variables that this authentication needs and that are not set.
    pub fn missing_for(&self, auth: &Auth) -> Option<String> {
        let names = &self.variables;
        match auth {
            Auth::KeyAsUser if self.basic.is_some() => None,
            Auth::KeyHeader(_) | Auth::KeyParameter(_) | Auth::KeyAsUser if self.api_key.is_none() => Some(names.key.clone()),
            Auth::Bearer { .. } if self.bearer.is_none() => Some(names.token.clone()),
            Auth::Bearer { key_header: Some(_) } | Auth::OAuth { key_header: Some(_), .. } if self.api_key.is_none() => {
                Some(names.key.clone())
            }
            Auth::Basic | Auth::PairOfParameters(..) | Auth::Login { .. } if self.basic.is_none() => {
                Some(format!("{} and {}", names.user, names.password))
            }
            Auth::OAuth { grant, token_header, .. } if !self.gets_tokens(*grant) => {
                let (given, name) = match token_header {
                    Some(_) => (self.api_key.is_some(), &names.key),
                    None => (self.bearer.is_some(), &names.token),
                };
                let refresh = if *grant == Grant::RefreshToken { format!(", {}", names.refresh_token) } else { String::new() };
                (!given).then(|| format!("{}, {}{refresh} (or {name})", names.client_id, names.client_secret))
            }
            _ => None,
        }
    }
}

/// Hides every secret that is set from now on, also in the errors of other settings.
pub(super) fn hide_all(environment: &Environment) {
    for names in CredentialVariables::ALL.map(CredentialVariables::names) {
        for name in [names.token, names.key, names.password, names.client_secret, names.refresh_token] {
            // The secret registers itself.
            drop(environment.secret(&name));
        }
    }
    // Which shops there are is not known yet.
    for name in environment.of_shops().filter(|name| SECRET_ENDS.iter().any(|end| name.ends_with(end))) {
        drop(environment.secret(name));
    }
    for setting in SETTINGS.iter().filter(|setting| setting.form == Form::Secret) {
        drop(environment.secret(setting.variable));
    }
}

/// Reads one set of variables.
fn read(environment: &Environment, names: CredentialNames) -> Result<Credentials, SettingsError> {
    let header = environment.get(&names.key_header);
    if let Some(configured) = header.as_ref().filter(|header| header.value.parse::<reqwest::header::HeaderName>().is_err()) {
        return Err(configured.invalid("not the name of a header"));
    }
    let header = header.map_or_else(|| "X-API-Key".to_owned(), |configured| configured.value);
    let token = environment.get(&names.token);
    let user = environment.get(&names.user);
    // A key as the user, and no password, is the form of some vendors: then the variable is there, and empty.
    let password = if user.is_some() { environment.get_or_empty(&names.password) } else { environment.get(&names.password) };
    let basic = both(user, password, [&names.user, &names.password])?;
    let client = [&names.client_id, &names.client_secret];
    let client = both(environment.get(client[0]), environment.get(client[1]), client.map(String::as_str))?;
    let key = environment.get(&names.key);
    let refresh_file = environment.get(&names.refresh_token_file).map(|configured| PathBuf::from(configured.value));
    // What a server gave last comes before what was given first.
    let kept = refresh_file.as_deref().map(kept_refresh_token).transpose()?.flatten();
    let refresh = kept.or_else(|| environment.secret(&names.refresh_token));
    if token.is_some() && basic.is_some() {
        let detail = format!("{} and {} are both set: a request carries one Authorization header", names.token, names.user);
        return Err(SettingsError::Conflict(detail));
    }
    let in_headers = [&token, &key].into_iter().flatten().chain(basic.iter().flat_map(|(user, password)| [user, password]));
    for configured in in_headers {
        if configured.value.chars().any(char::is_control) {
            return Err(configured.invalid_secret("the credential holds a line break or another control character"));
        }
    }
    let secret = |configured: ConfiguredValue| Secret::new(configured.value);
    let pair = |(name, password): (ConfiguredValue, ConfiguredValue)| (Secret::user_name(name.value), secret(password));
    Ok(Credentials {
        variables: names,
        bearer: token.map(secret),
        api_key: key.map(|key| (header, secret(key))),
        basic: basic.map(pair),
        client: client.map(pair),
        refresh,
        refresh_file,
    })
}

/// The refresh token that a server gave last; `None` before it gave one. A file that is there and can't be read may
/// hold it. The token that was given first would then be refused, and some servers end all tokens of an account for it.
fn kept_refresh_token(path: &Path) -> Result<Option<Secret>, SettingsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim()).filter(|token| !token.is_empty()).map(|token| Secret::new(token.to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    }
}

/// Two variables that go together.
fn both(
    first: Option<ConfiguredValue>,
    second: Option<ConfiguredValue>,
    [first_name, second_name]: [&str; 2],
) -> Result<Option<(ConfiguredValue, ConfiguredValue)>, SettingsError> {
    match (first, second) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingsError::Conflict(format!("{first_name} is set, and {second_name} is not"))),
        (None, Some(_)) => Err(SettingsError::Conflict(format!("{second_name} is set, and {first_name} is not"))),
    }
}

/// A kind of source, and the source that settings name for it.
pub(super) struct NamedSource {
    pub(super) kind: SourceKind,
    pub(super) source: Option<Source>,
}

/// Gives each source its credentials: its own, or else the common ones where it has the origin of the orders, or the orders
/// are no URL.
pub(super) fn distribute(environment: &Environment, sources: &mut [NamedSource; 3]) -> Result<(), SettingsError> {
    let common = read(environment, CredentialVariables::Common.names())?;
    let origin = |source: &Option<Source>| url_of(source.as_ref()).map(Url::origin);
    let orders = sources.iter().find(|named| named.kind == SourceKind::Orders).and_then(|named| origin(&named.source));
    for NamedSource { kind, source } in sources {
        let own = read(environment, CredentialVariables::of(*kind).names())?;
        let falls_back = own.is_empty() && (orders.is_none() || origin(source) == orders);
        if let Some(source) = source {
            source.credentials = if falls_back { common.clone() } else { own };
        }
    }
    Ok(())
}

/// Where the top level's own sources are: credentials without a shop are for these origins, and for no other.
#[derive(Clone, Default, Debug)]
pub(super) struct TopUrls {
    pub(super) orders: Option<Url>,
    pub(super) users: Option<Url>,
    pub(super) products: Option<Url>,
}

impl TopUrls {
    fn of(&self, kind: SourceKind) -> Option<&Url> {
        match kind {
            SourceKind::Orders => self.orders.as_ref(),
            SourceKind::Users => self.users.as_ref(),
            SourceKind::Products => self.products.as_ref(),
        }
    }
}

/// Credentials that a source may get.
struct Candidate {
    credentials: Credentials,
    /// Whether they are meant for its origin.
    is_meant: bool,
}

/// Gives each source of a shop its credentials: its own, or else those of the shop's orders where it has their origin. Credentials
/// without a shop go to the origins of the top level's own sources only: the host of another shop must not see them.
pub(super) fn distribute_to_shop(
    environment: &Environment,
    shop: &str,
    top: &TopUrls,
    sources: &mut [NamedSource; 3],
) -> Result<(), SettingsError> {
    let (common, of_shop) =
        (read(environment, CredentialVariables::Common.names())?, read(environment, CredentialVariables::Common.names_of_shop(shop))?);
    let orders = sources.iter().find(|named| named.kind == SourceKind::Orders).and_then(|named| url_of(named.source.as_ref())).cloned();
    for NamedSource { kind, source } in sources {
        let Some(source) = source else { continue };
        let Some(url) = url_of(Some(&*source)) else { continue };
        let variables = CredentialVariables::of(*kind);
        let own = read(environment, variables.names_of_shop(shop))?;
        let is_at = |other: Option<&Url>| other.is_some_and(|other| other.origin() == url.origin());
        let (with_orders, without_url) = (is_at(orders.as_ref()), orders.is_none());
        let hinted = if with_orders || without_url { of_shop.clone() } else { own.clone() };
        let candidates = [
            Candidate { credentials: own, is_meant: true },
            Candidate { credentials: of_shop.clone(), is_meant: with_orders },
            Candidate { credentials: read(environment, variables.names())?, is_meant: is_at(top.of(*kind)) },
            Candidate { credentials: of_shop.clone(), is_meant: without_url },
            Candidate { credentials: common.clone(), is_meant: is_at(top.of(SourceKind::Orders)) },
        ];
        let found = candidates.into_iter().find(|candidate| candidate.is_meant && !candidate.credentials.is_empty());
        source.credentials = found.map_or(hinted, |found| found.credentials);
    }
    Ok(())
}

/// The URL of a source that has one.
fn url_of(source: Option<&Source>) -> Option<&Url> {
    match source {
        Some(Source { location: Location::Http(url), .. }) => Some(url),
        _ => None,
    }
}

/// Refuses to send credentials over plain http to another machine.
pub(super) fn refuse_plain(kind: SourceKind, source: &Source, http: &HttpSettings) -> Result<(), SettingsError> {
    let is_plain = |url: &reqwest::Url| url.scheme() == "http" && !is_loopback(url);
    let refused = |source_name: String, url: &reqwest::Url| SettingsError::PlainHttp {
        source_name,
        host: url.host_str().unwrap_or_default().to_owned(),
    };
    let auth = &source.profile.http.auth;
    let Location::Http(url) = &source.location else { return Ok(()) };
    if http.allow_plain {
        return Ok(());
    }
    let asked_for_tokens = match auth {
        Auth::OAuth { token_url, .. } => Some(("token_url", token_url)),
        Auth::Login { url, .. } => Some(("url", url)),
        _ => None,
    };
    if let Some((key, text)) = asked_for_tokens
        && let Ok(asked) = url.join(text)
        && is_plain(&asked)
    {
        return Err(refused(format!("`{}.auth.{key}`", kind.table()), &asked));
    }
    let sends = match auth {
        Auth::None => false,
        Auth::Environment => !source.credentials.is_empty(),
        _ => true,
    };
    if sends && is_plain(url) { Err(refused(kind.table().to_owned(), url)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(location: &str) -> Option<Source> {
        Some(location.parse::<Location>().unwrap().into())
    }

    fn shown(process: &[(&str, &str)], [orders, users, products]: [&str; 3]) -> Result<[String; 3], SettingsError> {
        let mut sources = [(SourceKind::Orders, orders), (SourceKind::Users, users), (SourceKind::Products, products)]
            .map(|(kind, location)| NamedSource { kind, source: source(location) });
        distribute(&Environment::of(process, &[]), &mut sources)?;
        Ok(sources.map(|named| {
            let credentials = named.source.unwrap().credentials;
            let bearer = credentials.bearer.map_or("-".to_owned(), |secret| secret.expose().to_owned());
            format!("{bearer} {}", credentials.variables.token)
        }))
    }

    #[test]
    fn a_source_gets_its_own_credentials_or_the_common_ones_of_the_same_origin() {
        let all = [("ETL_API_TOKEN", "c"), ("ETL_USERS_API_TOKEN", "u")];
        assert_eq!(
            shown(&all, ["https://a/o", "https://b/u", "https://c/p"]).unwrap(),
            ["c ETL_API_TOKEN", "u ETL_USERS_API_TOKEN", "- ETL_PRODUCTS_API_TOKEN"]
        );
        assert_eq!(
            shown(&all, ["https://a/o", "https://a/u", "https://a/p"]).unwrap(),
            ["c ETL_API_TOKEN", "u ETL_USERS_API_TOKEN", "c ETL_API_TOKEN"]
        );
        assert_eq!(shown(&all, ["o.json", "https://b/u", "https://c/p"]).unwrap()[2], "c ETL_API_TOKEN");
        assert_eq!(shown(&all, ["https://a/o", "https://b/u", "http://a/p"]).unwrap()[2], "- ETL_PRODUCTS_API_TOKEN", "another scheme");
    }

    #[test]
    fn credentials_come_whole_and_one_at_a_time() {
        let read = |process: &[(&str, &str)]| read(&Environment::of(process, &[]), CredentialVariables::Users.names());
        assert_eq!(read(&[("ETL_USERS_API_KEY", "k")]).unwrap().api_key, Some(("X-API-Key".into(), Secret::new("k".into()))));
        assert_eq!(
            read(&[("ETL_USERS_API_PASSWORD", "p")]).unwrap_err().to_string(),
            "ETL_USERS_API_PASSWORD is set, and ETL_USERS_API_USER is not"
        );
        assert!(read(&[("ETL_USERS_OAUTH_CLIENT_ID", "i")]).unwrap_err().to_string().contains("ETL_USERS_OAUTH_CLIENT_SECRET is not"));
        let twice = [("ETL_USERS_API_TOKEN", "hush"), ("ETL_USERS_API_USER", "u"), ("ETL_USERS_API_PASSWORD", "p")];
        assert!(read(&twice).is_err_and(|error| !error.to_string().contains("hush")));
        assert!(read(&[("ETL_USERS_API_TOKEN", "a\nhush")]).is_err_and(|error| !error.to_string().contains("hush")));
        assert!(read(&[("ETL_USERS_API_KEY_HEADER", "no header")]).is_err());
        assert!(read(&[("ETL_API_TOKEN", "common")]).unwrap().is_empty());
        for name in ["ETL_USERS_OAUTH_REFRESH_TOKEN", "ETL_USERS_OAUTH_REFRESH_TOKEN_FILE"] {
            assert!(!read(&[(name, "not-there-4711")]).unwrap().is_empty(), "{name} alone is not passed over");
        }
    }

    #[test]
    fn a_kept_refresh_token_comes_first_and_is_never_passed_over_if_it_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refresh-token");
        let read = || {
            let variables =
                [("ETL_USERS_OAUTH_REFRESH_TOKEN", "given-first"), ("ETL_USERS_OAUTH_REFRESH_TOKEN_FILE", path.to_str().unwrap())];
            let credentials = read(&Environment::of(&variables, &[]), CredentialVariables::Users.names());
            credentials.map(|credentials| credentials.refresh.unwrap().expose().to_owned())
        };
        assert_eq!(read().unwrap(), "given-first");
        fs::write(&path, "given-last\n").unwrap();
        assert_eq!(read().unwrap(), "given-last");
        fs::write(&path, b"given-last\xff").unwrap();
        assert!(matches!(read(), Err(SettingsError::Unreadable { path: named, .. }) if named == path));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(read(), Err(SettingsError::Unreadable { .. })));
    }

    #[test]
    fn missing_credentials_are_named_by_their_variables() {
        let users = Credentials { variables: CredentialVariables::Users.names(), ..Credentials::default() };
        assert_eq!(users.missing_for(&Auth::Bearer { key_header: None }).as_deref(), Some("ETL_USERS_API_TOKEN"));
        assert_eq!(users.missing_for(&Auth::Basic).as_deref(), Some("ETL_USERS_API_USER and ETL_USERS_API_PASSWORD"));
        assert_eq!(Credentials::default().missing_for(&Auth::KeyHeader("x".into())).as_deref(), Some("ETL_API_KEY"));
        assert_eq!((users.missing_for(&Auth::None), users.missing_for(&Auth::Environment)), (None, None));
        assert_eq!(
            users.variables_of(&Auth::Environment),
            "ETL_USERS_API_TOKEN, ETL_USERS_API_KEY, or ETL_USERS_API_USER and ETL_USERS_API_PASSWORD"
        );
        assert_eq!(users.variables_of(&Auth::KeyParameter("k".into())), "ETL_USERS_API_KEY");
        assert_eq!(users.variables_of(&Auth::None), "");
    }

    #[test]
    fn credentials_do_not_go_over_plain_http_to_another_machine() {
        let http = HttpSettings::default();
        let refused = |location: &str, auth: Auth, token: Option<&str>, http: &HttpSettings| {
            let mut source = source(location).unwrap();
            source.profile.http.auth = auth;
            source.credentials.bearer = token.map(|token| Secret::new(token.to_owned()));
            refuse_plain(SourceKind::Users, &source, http).is_err()
        };
        assert!(refused("http://shop.example/u", Auth::Environment, Some("t"), &http));
        assert!(refused("http://shop.example/u", Auth::Bearer { key_header: None }, None, &http));
        assert!(refused("http://10.0.0.1/u", Auth::Environment, Some("t"), &http));
        assert!(refused("http://localhost.example/u", Auth::Environment, Some("t"), &http));
        for location in
            ["https://shop.example/u", "http://localhost:1/u", "http://a.localhost/u", "http://127.9.0.1/u", "http://[::1]/u", "u.csv"]
        {
            assert!(!refused(location, Auth::Environment, Some("t"), &http), "{location}");
        }
        let login = |url: &str| Auth::Login {
            url: url.to_owned(),
            user: "email".to_owned(),
            password: "password".to_owned(),
            token: crate::model::FieldPath::root().child("token"),
        };
        assert!(refused("https://shop.example/u", login("http://shop.example/login"), None, &http));
        assert!(refused("https://shop.example/u", login("http://10.0.0.1/login"), None, &http));
        for url in ["/login", "https://id.example/login", "http://localhost:1/login"] {
            assert!(!refused("https://shop.example/u", login(url), None, &http), "{url}");
        }
        assert!(!refused("http://shop.example/u", Auth::Environment, None, &http));
        assert!(!refused("http://shop.example/u", Auth::None, Some("t"), &http));
        assert!(!refused(
            "http://shop.example/u",
            Auth::Bearer { key_header: None },
            None,
            &HttpSettings { allow_plain: true, ..HttpSettings::default() }
        ));
    }
}
