//! Which proxy serves which URL, by `ETL_PROXY`, `http.proxy` and the variables that other programs read too. Opens no connection.

use super::{ConfiguredValue, Origin, ProxySettings, Secret, SettingsError, merge::Layers, setting};

/// Schemes of proxies.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// The word for no proxy at all.
const NONE: &str = "none";

/// Reads the proxies. Lower case comes first, as in curl.
pub(super) fn read(layers: &Layers<'_>) -> Result<ProxySettings, SettingsError> {
    let environment = layers.environment;
    let exceptions = environment.first_of(&["no_proxy", "NO_PROXY"]).map(|configured| configured.value).unwrap_or_default();
    if let Some(configured) = layers.get(&setting::PROXY)? {
        let text = configured.value.trim();
        if text.is_empty() || text.eq_ignore_ascii_case(NONE) {
            return Ok(ProxySettings::default());
        }
        let proxy = proxy(&configured)?;
        return Ok(ProxySettings { http: Some(proxy.clone()), https: Some(proxy), exceptions });
    }
    // A CGI program gets the header `Proxy` of a request as HTTP_PROXY.
    let is_cgi = environment.first_of(&["REQUEST_METHOD"]).is_some();
    let for_http: &[&str] = if is_cgi { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] };
    let of = |names: &[&'static str]| {
        let configured = environment.first_of(names).or_else(|| environment.first_of(&["all_proxy", "ALL_PROXY"]));
        configured.as_ref().map(proxy).transpose()
    };
    Ok(ProxySettings { http: of(for_http)?, https: of(&["https_proxy", "HTTPS_PROXY"])?, exceptions })
}

/// The URL of a proxy. An error does not show it: it may hold a password.
fn proxy(configured: &ConfiguredValue) -> Result<Secret, SettingsError> {
    let text = configured.value.trim();
    let refused = |detail: &str| configured.invalid_secret(detail);
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = reqwest::Url::parse(&with_scheme).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
    let url = url.ok_or_else(|| refused("not the URL of a proxy: write http://proxy:3128"))?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(refused(&format!("proxies of scheme `{}` are not supported: write http, https, socks5 or socks5h", url.scheme())));
    }
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    if has_credentials && matches!(configured.origin, Origin::File { .. }) {
        return Err(refused("credentials do not belong in etl.toml: set ETL_PROXY in the environment or .env"));
    }
    Ok(Secret::new(with_scheme))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Flags, file};

    fn shown(process: &[(&str, &str)], dot_env: &[(&str, &str)], toml: &str) -> Result<String, String> {
        let (flags, environment, file) = (Flags::default(), Environment::of(process, dot_env), file::parse("etl.toml", toml).unwrap());
        let layers = Layers::new(&flags, &environment, &file);
        let text = |secret: Option<Secret>| secret.map_or("-".to_owned(), |secret| secret.expose().to_owned());
        let shown = |proxies: ProxySettings| format!("{} {} {}", text(proxies.http), text(proxies.https), proxies.exceptions);
        read(&layers).map(shown).map_err(|error| error.to_string())
    }

    #[test]
    fn etl_proxy_beats_the_file_which_beats_the_common_variables() {
        let all = [("HTTP_PROXY", "a:1"), ("https_proxy", "http://b:2"), ("HTTPS_PROXY", "c"), ("NO_PROXY", "d,e")];
        assert_eq!(shown(&all, &[], "").unwrap(), "http://a:1 http://b:2 d,e");
        assert_eq!(shown(&all, &[], "http.proxy = 'f:3'").unwrap(), "http://f:3 http://f:3 d,e");
        assert_eq!(shown(&all, &[("ETL_PROXY", "socks5h://u:p@g")], "http.proxy = 'f'").unwrap(), "socks5h://u:p@g socks5h://u:p@g d,e");
        for (variables, toml) in [(&[][..], "http.proxy = ''"), (&[("ETL_PROXY", "None")][..], "http.proxy = 'f'")] {
            assert_eq!(shown(&all, variables, toml).unwrap(), "- - ");
        }
        assert_eq!(shown(&[("ALL_PROXY", "h"), ("http_proxy", "i")], &[], "").unwrap(), "http://i http://h ");
        assert_eq!(shown(&[("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")], &[], "").unwrap(), "- - ");
        assert_eq!(shown(&[], &[("http_proxy", "j"), ("no_proxy", "k")], "").unwrap(), "http://j - k");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
        for (process, toml, message) in [
            (&[("HTTPS_PROXY", "ftp://u:hush@p")][..], "", "HTTPS_PROXY: proxies of scheme `ftp` are not supported"),
            (&[("ETL_PROXY", "http://u:hush@")][..], "", "ETL_PROXY: not the URL of a proxy"),
            (&[][..], "[http]\nproxy = 'http://u:hush@p'", "etl.toml, line 2: `http.proxy`: credentials do not belong in etl.toml"),
            (&[][..], "[http]\nproxy = 'u:hush@p'", "etl.toml, line 2: `http.proxy`: credentials do not belong in etl.toml"),
        ] {
            let error = shown(process, &[], toml).unwrap_err();
            assert!(error.starts_with(message) && !error.contains("hush"), "{error}");
        }
    }
}
