//! `ETL_REDSHIFT_URL`: what it may say, and what becomes of it. Connects to nothing.

use std::time::Duration;

use tokio_postgres::{Config, config::SslMode};

use super::RedshiftError;

/// The time without traffic after which the kernel asks whether the server is still there. Firewalls on the way drop a
/// connection that is silent for longer, and a load is silent while the server works.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// The time between the kernel's questions, and how many stay unanswered before the connection counts as broken.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 6;

/// What `tokio_postgres` has as `keepalives_idle` where nothing is said.
const UNSET_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// A parameter of a connection, decoded.
struct Parameter {
    name: String,
    value: String,
}

/// The connection that a URL or a `host=... password=...` text names.
///
/// `sslmode` may be `disable`, or any that encrypts: the certificate and the host's name are then always verified, as
/// `verify-full` has it.
///
/// # Errors
/// A text that is no connection, or a parameter that has a setting of its own.
pub(super) fn config(text: &str, connect_timeout: Duration) -> Result<Config, RedshiftError> {
    let text = text.trim();
    let is_url = text.starts_with("postgresql://") || text.starts_with("postgres://");
    let rest = if is_url { without_tls_parameters_of_url(text)? } else { without_tls_parameters(text)? };
    let mut config: Config = rest.text.parse().map_err(|_| RedshiftError::Connection)?;
    if let Some(mode) = rest.ssl_mode {
        config.ssl_mode(mode);
    }
    if config.get_ssl_mode() != SslMode::Disable {
        config.ssl_mode(SslMode::Require);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(connect_timeout);
    }
    if config.get_keepalives_idle() == UNSET_IDLE {
        config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVE_RETRIES);
    }
    config.application_name("etl");
    Ok(config)
}

/// A connection text without its parameters of TLS, and what those said.
struct WithoutTls {
    text: String,
    ssl_mode: Option<SslMode>,
}

/// What a parameter of TLS says; `None` for any other parameter.
fn tls_parameter(parameter: &Parameter) -> Result<Option<Option<SslMode>>, RedshiftError> {
    let refused = |instead| Err(RedshiftError::ConnectionParameter { parameter: parameter.name.clone(), instead });
    match (parameter.name.as_str(), parameter.value.as_str()) {
        ("sslmode", "verify-full" | "verify-ca" | "require" | "prefer" | "allow") => Ok(Some(Some(SslMode::Require))),
        ("sslmode", "disable") => Ok(Some(Some(SslMode::Disable))),
        ("sslmode", _) => refused("write sslmode=verify-full, require or disable"),
        ("sslrootcert", "system") => Ok(Some(None)),
        ("sslrootcert", _) => refused("name the file of the authority as `http.ca_file` in etl.toml, or in SSL_CERT_FILE"),
        ("sslcert" | "sslkey", _) => refused("name the files as `http.client_cert` and `http.client_key` in etl.toml"),
        ("sslcrl" | "sslcrldir" | "sslpassword", _) => refused("remove it"),
        _ => Ok(None),
    }
}

fn without_tls_parameters_of_url(text: &str) -> Result<WithoutTls, RedshiftError> {
    let Some((base, query)) = text.split_once('?') else { return Ok(WithoutTls { text: text.to_owned(), ssl_mode: None }) };
    let (mut kept, mut ssl_mode) = (Vec::new(), None);
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match tls_parameter(&Parameter { name: name.to_owned(), value: value.to_owned() })? {
            Some(mode) => ssl_mode = mode.or(ssl_mode),
            None => kept.push(pair),
        }
    }
    let separator = if kept.is_empty() { "" } else { "?" };
    Ok(WithoutTls { text: format!("{base}{separator}{}", kept.join("&")), ssl_mode })
}

fn without_tls_parameters(text: &str) -> Result<WithoutTls, RedshiftError> {
    let (mut kept, mut ssl_mode) = (Vec::new(), None);
    for parameter in keyword_parameters(text).ok_or(RedshiftError::Connection)? {
        match tls_parameter(&parameter)? {
            Some(mode) => ssl_mode = mode.or(ssl_mode),
            None => kept.push(format!("{}='{}'", parameter.name, parameter.value.replace('\\', "\\\\").replace('\'', "\\'"))),
        }
    }
    Ok(WithoutTls { text: kept.join(" "), ssl_mode })
}

/// The parameters of `name=value name='value'`, as libpq reads them; `None` where it is not of that form.
fn keyword_parameters(text: &str) -> Option<Vec<Parameter>> {
    let mut chars = text.chars().peekable();
    let mut parameters = Vec::new();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return (!parameters.is_empty()).then_some(parameters);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        chars.next_if_eq(&'=')?;
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let is_quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                Some('\\') => value.push(chars.next()?),
                Some('\'') if is_quoted => break,
                Some(c) if c.is_whitespace() && !is_quoted => break,
                Some(c) => value.push(c),
                None if is_quoted => return None,
                None => break,
            }
        }
        parameters.push(Parameter { name, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Duration = Duration::from_secs(30);

    #[test]
    fn every_mode_that_encrypts_verifies_and_only_disable_does_not_encrypt() {
        for (mode, expected) in [
            ("", SslMode::Require),
            ("?sslmode=verify-full", SslMode::Require),
            ("?sslmode=verify-ca&connect_timeout=7", SslMode::Require),
            ("?application_name=x&sslmode=prefer&sslrootcert=system", SslMode::Require),
            ("?sslmode=disable", SslMode::Disable),
        ] {
            let found = config(&format!("postgresql://u:p@h:5439/db{mode}"), SECONDS).unwrap();
            assert_eq!(found.get_ssl_mode(), expected, "{mode}");
            assert_eq!((found.get_dbname(), found.get_user()), (Some("db"), Some("u")), "{mode}");
        }
        let found = config(r"host=h dbname = db user=u password='it\'s sslmode=disable' sslmode=verify-full", SECONDS).unwrap();
        assert_eq!((found.get_ssl_mode(), found.get_password()), (SslMode::Require, Some(&b"it's sslmode=disable"[..])));
    }

    #[test]
    fn the_connection_is_kept_alive_and_has_a_time_out() {
        let found = config("postgresql://u@h/db?sslmode=verify-full", SECONDS).unwrap();
        assert!(found.get_keepalives());
        assert_eq!((found.get_keepalives_idle(), found.get_keepalives_retries()), (KEEPALIVE_IDLE, Some(KEEPALIVE_RETRIES)));
        assert_eq!(found.get_connect_timeout(), Some(&SECONDS));
        let said = config("postgresql://u@h/db?keepalives_idle=5&connect_timeout=7", SECONDS).unwrap();
        assert_eq!((said.get_keepalives_idle().as_secs(), said.get_connect_timeout().map(Duration::as_secs)), (5, Some(7)));
    }

    #[test]
    fn a_parameter_with_a_setting_of_its_own_names_that_setting_and_nothing_secret_is_shown() {
        let error = |text: &str| config(text, SECONDS).map(drop).unwrap_err().to_string();
        assert!(error("postgresql://u:hush@h/db?sslrootcert=ca.pem").contains("http.ca_file"));
        assert!(error("postgresql://u:hush@h/db?sslcert=c.pem").contains("http.client_cert"));
        assert!(error("postgresql://u:hush@h/db?sslmode=sometimes").contains("write sslmode=verify-full"));
        for text in ["hush", "postgresql://u:hush@h:port/db", "postgresql://u@h/db?hush=1", "host=h password='hush"] {
            assert!(!error(text).contains("hush"), "{text}");
        }
    }
}
