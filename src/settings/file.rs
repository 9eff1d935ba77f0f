//! `etl.toml`: its keys, and an error for an unknown one that names it, its line, and the nearest known one.

use serde::Deserialize;

use super::{FactColumnToml, SourceToml, alerts::AlertsToml, profile::location_or_table};

/// The content of `etl.toml`. Every key may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is a key of the reference in docs/configuration.md, under its name")]
pub struct EtlToml {
    pub source: Option<String>,
    pub url: Option<String>,
    #[serde(default, deserialize_with = "location_or_table")]
    pub orders: SourceToml,
    #[serde(default, deserialize_with = "location_or_table")]
    pub users: SourceToml,
    #[serde(default, deserialize_with = "location_or_table")]
    pub products: SourceToml,
    pub output: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
    pub cursor: Option<String>,
    pub merge: Option<String>,
    pub repeated_sku: Option<String>,
    pub allow_incomplete: Option<bool>,
    pub lookback: Option<String>,
    pub lock_wait: Option<String>,
    pub empty_exit_code: Option<u8>,
    pub memory_limit: Option<String>,
    pub threads: Option<usize>,
    pub scd: Option<u8>,
    #[serde(default)]
    pub dim_user: DimensionToml,
    #[serde(default)]
    pub dim_product: DimensionToml,
    #[serde(default)]
    pub fact: FactToml,
    #[serde(default)]
    pub http: HttpToml,
    #[serde(default)]
    pub limits: LimitsToml,
    #[serde(default)]
    pub checks: ChecksToml,
    #[serde(default)]
    pub enrich: EnrichToml,
    #[serde(default)]
    pub metrics: MetricsToml,
    #[serde(default)]
    pub alerts: AlertsToml,
    pub retention: Option<String>,
    #[serde(default)]
    pub redshift: RedshiftToml,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsToml {
    pub file: Option<String>,
    pub emf: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimensionToml {
    pub scd: Option<u8>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactToml {
    #[serde(default)]
    pub columns: Vec<FactColumnToml>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpToml {
    pub max_attempts: Option<u32>,
    pub connect_timeout: Option<String>,
    pub read_timeout: Option<String>,
    pub retry_after_cap: Option<String>,
    pub backoff_first: Option<String>,
    pub backoff_cap: Option<String>,
    pub per_page: Option<u32>,
    pub max_pages: Option<u64>,
    pub max_redirects: Option<u32>,
    pub max_body: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsToml {
    pub record_bytes: Option<u64>,
    pub depth: Option<usize>,
    pub expansion: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChecksToml {
    pub dir: Option<String>,
    pub scope: Option<String>,
    pub on_failure: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrichToml {
    pub user_country: Option<String>,
    pub product_name: Option<String>,
    pub product_category: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedshiftToml {
    pub schema: Option<String>,
    pub url: Option<String>,
    pub iam_role: Option<String>,
    pub region: Option<String>,
}

/// Reads `etl.toml`.
///
/// # Errors
/// The line and what is wrong with it.
pub(super) fn parse(text: &str) -> Result<EtlToml, (usize, String)> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count() + 1;
        (line, explain(error.message()))
    })
}

/// serde's "unknown field `x`, expected one of `a`, `b`", with the nearest of them said.
fn explain(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else { return message.to_owned() };
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next().unwrap_or_default();
    let nearest = names
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= (known.len().max(unknown.len()) / 2).max(2));
    match nearest {
        Some((_, nearest)) => format!("unknown key `{unknown}`: did you mean `{nearest}`?"),
        None => format!("unknown key `{unknown}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        let error = |text: &str| parse(text).unwrap_err();
        assert_eq!(error("orders = \"x\"\nlookbak = \"1h\"\n"), (2, "unknown key `lookbak`: did you mean `lookback`?".into()));
        assert_eq!(error("[http]\n\nmax_atempts = 3\n"), (3, "unknown key `max_atempts`: did you mean `max_attempts`?".into()));
        assert_eq!(error("[checks]\nxyzzy = 1\n"), (2, "unknown key `xyzzy`".into()));
        assert_eq!(error("[htttp]\nx = 1").1, "unknown key `htttp`: did you mean `http`?");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_said_with_its_line() {
        let (line, detail) = parse("output = \"o\"\n[http]\nper_page = \"many\"\n").unwrap_err();
        assert_eq!(line, 3);
        assert!(detail.contains("invalid type: string \"many\""), "{detail}");
        assert_eq!(parse("output = ").unwrap_err().0, 1);
    }
}
