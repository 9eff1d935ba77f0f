//! A value that must not appear in a log, summary, report, alert or error.
//!
//! Every secret of the process is registered when it is made, so that none can be forgotten. `net::redact` hides all of them
//! by value in whatever leaves the process.

use std::{
    fmt,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::Url;

use super::location::percent_decoded;

/// Shorter passwords, keys and tokens are not hidden: they occur in too many texts.
const SHORTEST_SECRET: usize = 4;

/// Shorter names of users are not hidden: a user called `user` must not change `dim_user`.
const SHORTEST_NAME: usize = 8;

/// Shorter secrets are not hidden in lower case: they would be common words.
const SHORTEST_FOLDED: usize = 8;

/// A path of a webhook, or a segment of it, is a secret from this length on.
const SHORTEST_PATH: usize = 16;

/// A parameter of a secret URL is a secret from this length on.
const SHORTEST_PARAMETER: usize = 8;

static REGISTRY: RwLock<Vec<String>> = RwLock::new(Vec::new());
static REGISTERED: AtomicUsize = AtomicUsize::new(0);

/// A secret. It has no `Display`, and its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A password, a key, a token, or a URL that holds one. It is hidden in everything that leaves the process.
    pub fn new(value: String) -> Secret {
        register(parts(&value).into_iter().filter(|part| part.chars().count() >= SHORTEST_SECRET));
        Secret(value)
    }

    /// The name of a user or of an OAuth client. A short one is not hidden where it stands alone.
    pub fn user_name(value: String) -> Secret {
        register(std::iter::once(value.clone()).filter(|name| name.chars().count() >= SHORTEST_NAME));
        Secret(value)
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Registers `user:password`, the text that basic authentication encodes.
    pub(crate) fn register_pair(user: &Secret, password: &Secret) {
        register(std::iter::once(format!("{}:{}", user.0, password.0)));
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How many texts are registered. The number only grows.
pub(crate) fn registered_count() -> usize {
    REGISTERED.load(Ordering::Acquire)
}

/// All texts that must be hidden.
pub(crate) fn registered() -> Vec<String> {
    REGISTRY.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Registers texts, and what they are in lower case: names of columns and of encodings are folded before they are shown.
fn register(texts: impl Iterator<Item = String>) {
    let folded = |text: &String| (text.chars().count() >= SHORTEST_FOLDED).then(|| text.to_lowercase());
    for text in texts.flat_map(|text| folded(&text).into_iter().chain([text])) {
        if REGISTRY.read().unwrap_or_else(PoisonError::into_inner).contains(&text) {
            continue;
        }
        let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
        if !registry.contains(&text) {
            registry.push(text);
        }
        REGISTERED.store(registry.len(), Ordering::Release);
    }
}

/// The texts of a secret that must be hidden, each also where it stands alone.
fn parts(value: &str) -> Vec<String> {
    if value.contains("://") {
        return match Url::parse(value) {
            Ok(url) => url_parts(value, &url),
            Err(_) => vec![value.to_owned()],
        };
    }
    let mut parts = vec![value.to_owned()];
    // A connection string of PostgreSQL: `host=h password='p'`.
    if let Some((_, rest)) = value.split_once("password=") {
        let password = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split('\'').next(),
            None => rest.split_whitespace().next(),
        };
        parts.extend(password.map(str::to_owned));
    }
    parts
}

/// Of a URL, what makes it a secret. A URL that is only an origin, such as that of a proxy, is none.
fn url_parts(value: &str, url: &Url) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(password) = url.password() {
        let (user, decoded) = (percent_decoded(url.username()), percent_decoded(password));
        parts.extend([format!("{user}:{decoded}"), decoded, password.to_owned()]);
    }
    let is_web = matches!(url.scheme(), "http" | "https");
    if is_web && url.path().len() >= SHORTEST_PATH {
        parts.push(url.path().to_owned());
        parts.extend(url.path().split('/').filter(|segment| segment.len() >= SHORTEST_PATH).map(str::to_owned));
    }
    if is_web {
        parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()).filter(|value| value.len() >= SHORTEST_PARAMETER));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        parts.extend([value.to_owned(), url.to_string()]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Some(Secret::new("hush".into()))), "Some(***)");
    }

    #[test]
    fn the_secret_parts_of_a_url_are_secrets_by_themselves_and_a_plain_origin_is_none() {
        assert_eq!(parts("http://proxy:3128"), [""; 0]);
        assert_eq!(parts("http://me:pa%20ss@proxy:3128"), ["me:pa ss", "pa ss", "pa%20ss"]);
        assert!(parts("postgresql://u:hush@h:5439/db").contains(&"hush".to_owned()));
        assert!(parts("host=h password='hu sh' user=u").contains(&"hu sh".to_owned()));
        let slack = parts("https://hooks.example/services/T000/B000/abcdefghijklmnop?wait=0123456789");
        for secret in ["/services/T000/B000/abcdefghijklmnop", "abcdefghijklmnop", "0123456789"] {
            assert!(slack.contains(&secret.to_owned()), "{secret}");
        }
    }

    #[test]
    fn short_names_and_very_short_secrets_are_not_registered() {
        Secret::user_name("user-7".into());
        Secret::new("ab1".into());
        Secret::user_name("registered-name".into());
        let registered = registered();
        assert!(!registered.contains(&"user-7".to_owned()) && !registered.contains(&"ab1".to_owned()));
        assert!(registered.contains(&"registered-name".to_owned()));
    }
}
