//! Chooses the proxy for a URL by its scheme, with exceptions. Requests to loopback never use a proxy.

use std::{net::IpAddr, sync::Arc};

use reqwest::Url;

use super::NetworkError;
use crate::settings::{ProxySettings, Secret, is_loopback};

/// The supported schemes of proxies.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxies of all requests.
#[derive(Clone, Default, Debug)]
pub(crate) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: Vec<Exception>,
}

impl Proxies {
    /// # Errors
    /// A setting that is not the URL of a proxy.
    pub(crate) fn new(settings: &ProxySettings) -> Result<Proxies, NetworkError> {
        Ok(Proxies {
            http: settings.http.as_ref().map(parsed).transpose()?,
            https: settings.https.as_ref().map(parsed).transpose()?,
            exceptions: exceptions(&settings.exceptions),
        })
    }

    /// The proxy for a URL.
    pub(crate) fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref()?,
            "https" => self.https.as_ref()?,
            _ => return None,
        };
        let host = host(url)?;
        let is_excepted = is_loopback(url) || self.exceptions.iter().any(|exception| exception.matches(&host, url.port_or_known_default()));
        (!is_excepted).then_some(proxy)
    }

    /// The rule for the client.
    pub(super) fn rule(self: Arc<Proxies>) -> reqwest::Proxy {
        reqwest::Proxy::custom(move |url| self.of(url).cloned())
    }
}

/// The URL of a proxy without credentials.
pub(crate) fn shown(proxy: &Url) -> String {
    let port = proxy.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", proxy.scheme(), proxy.host_str().unwrap_or_default())
}

fn parsed(proxy: &Secret) -> Result<Url, NetworkError> {
    let text = proxy.expose().trim();
    // Many users write `proxy:3128`.
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let invalid = |detail: String| NetworkError::Proxy { detail };
    let url = Url::parse(&text).map_err(|error| invalid(format!("not a URL: {error}")))?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(invalid(format!("`{}` is not the scheme of a proxy: write one of {}", url.scheme(), SCHEMES.join(", "))));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("the URL has no host".into()));
    }
    Ok(url)
}

/// The host of a URL: an address without brackets, or a name without the final dot.
fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
}

/// An entry of `NO_PROXY`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Hosts {
    All,
    /// A domain with its subdomains.
    Domain(String),
    Network {
        address: IpAddr,
        bits: u8,
    },
}

/// The entries of `NO_PROXY`, separated by commas or spaces. Each is `*`, a domain, an address or a network, with or without
/// a port.
fn exceptions(text: &str) -> Vec<Exception> {
    text.split([',', ' ', '\t', ';']).filter(|entry| !entry.is_empty()).map(Exception::parsed).collect()
}

impl Exception {
    fn parsed(entry: &str) -> Exception {
        let entry = entry.split_once("://").map_or(entry, |(_, rest)| rest).trim_end_matches('/').to_ascii_lowercase();
        if entry == "*" {
            return Exception { hosts: Hosts::All, port: None };
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
        {
            return Exception { hosts: Hosts::Network { address, bits }, port: None };
        }
        let (host, port) = match entry.rsplit_once(':') {
            // More than one colon without brackets: an IPv6 address.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host.to_owned(), port.parse().ok()),
            _ => (entry.clone(), None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let hosts = match host.parse::<IpAddr>() {
            Ok(address) => Hosts::Network { address, bits: 128 },
            Err(_) => Hosts::Domain(host.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.').to_owned()),
        };
        Exception { hosts, port }
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        match &self.hosts {
            Hosts::All => true,
            Hosts::Domain(domain) => host == domain || host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.')),
            Hosts::Network { address, bits } => host.parse().is_ok_and(|host| is_within(host, *address, *bits)),
        }
    }
}

fn is_within(host: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (host.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(host), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            host.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(host), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            host.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(exceptions: &str) -> Proxies {
        let secret = |text: &str| Some(Secret::new(text.to_owned()));
        let exceptions = exceptions.to_owned();
        Proxies::new(&ProxySettings { http: secret("proxy:3128"), https: secret("http://me:hush-hush@secure:3129"), exceptions }).unwrap()
    }

    fn is_proxied(proxies: &Proxies, url: &str) -> bool {
        proxies.of(&url.parse().unwrap()).is_some()
    }

    #[test]
    fn each_scheme_has_its_proxy_and_no_credentials_are_shown() {
        let proxies = proxies("");
        let of = |url: &str| proxies.of(&url.parse().unwrap()).map(shown);
        assert_eq!(of("http://shop.example/"), Some("http://proxy:3128".into()));
        assert_eq!(of("https://shop.example/"), Some("http://secure:3129".into()));
        let only_https = ProxySettings { https: Some(Secret::new("socks5h://p:1080".into())), ..ProxySettings::default() };
        assert!(!is_proxied(&Proxies::new(&only_https).unwrap(), "http://shop.example/"));
        for wrong in ["ftp://p:1", "http://", "http://[x"] {
            let settings = ProxySettings { http: Some(Secret::new(wrong.into())), ..ProxySettings::default() };
            assert!(Proxies::new(&settings).is_err(), "{wrong}");
        }
    }

    #[test]
    fn loopback_is_never_proxied() {
        let proxies = proxies("");
        for url in [
            "http://localhost:1/",
            "http://LOCALHOST./",
            "http://api.localhost/",
            "http://127.9.8.7/",
            "http://[::1]:8080/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(!is_proxied(&proxies, url), "{url}");
        }
        for url in ["http://localhost.example/", "http://mylocalhost/", "http://128.0.0.1/", "http://[::2]/"] {
            assert!(is_proxied(&proxies, url), "{url}");
        }
    }

    #[test]
    fn exceptions_are_domains_addresses_and_networks_with_or_without_a_port() {
        for (list, direct, proxied) in [
            ("shop.example", "http://a.shop.example/", "http://ashop.example/"),
            (".shop.example, other.example", "http://other.example/", "http://shop.example.org/"),
            ("*.shop.example", "http://b.shop.example/", "http://shop.example.com/"),
            ("shop.example:8080", "http://shop.example:8080/", "http://shop.example/"),
            ("10.0.0.0/8 x", "http://10.2.3.4/", "http://11.0.0.1/"),
            ("192.168.1.7", "http://192.168.1.7:81/", "http://192.168.1.8/"),
            ("fd00::/8", "http://[fd12::1]/", "http://[fe80::1]/"),
            ("[fd00::1]:81", "http://[fd00::1]:81/", "http://[fd00::1]/"),
        ] {
            let proxies = proxies(list);
            assert!(!is_proxied(&proxies, direct) && is_proxied(&proxies, proxied), "{list}");
        }
        assert!(!is_proxied(&proxies("*"), "http://anything.example/"));
        assert!(!is_proxied(&proxies("0.0.0.0/0"), "http://8.8.8.8/"));
    }
}
