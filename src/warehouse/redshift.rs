//! Redshift: the tables, and the `COPY` that loads each from the output's own files
//! (<https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html>).

use std::fmt::Write;

use crate::{
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, FactSchema},
    settings::RedshiftSettings,
};

/// The longest text that Redshift takes: a source's texts have no length that is known.
const TEXT: &str = "VARCHAR(65535)";

/// Settings that are missing.
#[derive(Debug, thiserror::Error)]
pub enum RedshiftError {
    /// Where the warehouse finds the output.
    #[error("where does the warehouse find the output? Say so in etl.toml:\n\n    [redshift]\n    url = \"s3://my-bucket/etl/output\"")]
    NoUrl,
}

/// The tables. `users` and `products` are the columns of the stored dimensions, where there are some.
pub fn ddl(settings: &RedshiftSettings, schema: &FactSchema, users: Option<&[String]>, products: Option<&[String]>) -> String {
    let mut sql = String::new();
    if let Some(schema) = &settings.schema {
        let _ = writeln!(sql, "CREATE SCHEMA IF NOT EXISTS {};\n", identifier(schema));
    }
    let typed: Vec<_> = schema.columns().collect();
    let facts: Vec<_> = typed
        .iter()
        .map(|(name, kind)| {
            let required =
                matches!(*name, "order_id" | "sku" | "quantity" | "unit_price" | "line_total" | "price_defaulted" | "created_at");
            (*name, if kind == "VARCHAR" { TEXT } else { kind.as_str() }, required)
        })
        .collect();
    table(&mut sql, settings, "fact_order", &facts, &["order_id", "sku"], "DISTKEY (order_id)\nCOMPOUND SORTKEY (created_at, order_id)");
    for (spec, stored) in [(DIM_USER, users), (DIM_PRODUCT, products)] {
        sql.push('\n');
        dimension(&mut sql, settings, &spec, stored);
    }
    sql
}

fn dimension(sql: &mut String, settings: &RedshiftSettings, spec: &DimensionSpec, stored: Option<&[String]>) {
    let fixed: Vec<String> = spec.columns.iter().map(|column| column.name.to_owned()).chain(["inferred".to_owned()]).collect();
    let names = stored.unwrap_or(&fixed);
    let kind = |name: &str| match name {
        "inferred" | "is_current" => "BOOLEAN",
        "valid_from" | "valid_to" => "TIMESTAMP",
        _ => spec
            .columns
            .iter()
            .find(|column| column.name == name)
            .map_or(TEXT, |column| if column.kind.sql() == "VARCHAR" { TEXT } else { column.kind.sql() }),
    };
    let columns: Vec<_> = names.iter().map(|name| (name.as_str(), kind(name), name == spec.key() || name == "inferred")).collect();
    // A member with versions has more rows than one.
    let key: &[&str] = if names.iter().any(|name| name == "is_current") { &[] } else { &[spec.key()] };
    table(sql, settings, spec.name, &columns, key, &format!("DISTSTYLE ALL\nSORTKEY ({})", identifier(spec.key())));
}

fn table(sql: &mut String, settings: &RedshiftSettings, name: &str, columns: &[(&str, &str, bool)], key: &[&str], tail: &str) {
    let mut lines: Vec<_> = columns
        .iter()
        .map(|(name, kind, required)| format!("    {} {kind}{}", identifier(name), if *required { " NOT NULL" } else { "" }))
        .collect();
    if !key.is_empty() {
        lines.push(format!("    PRIMARY KEY ({})", key.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ")));
    }
    let _ = writeln!(sql, "CREATE TABLE IF NOT EXISTS {} (\n{}\n)\n{tail};", qualified(settings, name), lines.join(",\n"));
}

/// A full load of all tables.
///
/// # Errors
/// [`RedshiftError::NoUrl`].
pub fn copy(settings: &RedshiftSettings) -> Result<String, RedshiftError> {
    let url = settings.url.as_deref().ok_or(RedshiftError::NoUrl)?;
    let mut sql = String::new();
    for (name, place) in [("fact_order", "curated/".to_owned()), (DIM_USER.name, DIM_USER.file()), (DIM_PRODUCT.name, DIM_PRODUCT.file())] {
        let role = settings.iam_role.as_deref().map_or("default".to_owned(), literal);
        let region = settings.region.as_deref().map(|region| format!(" REGION {}", literal(region))).unwrap_or_default();
        let from = literal(&format!("{url}/{place}"));
        let _ = writeln!(
            sql,
            "COPY {} FROM {from} IAM_ROLE {role}{region} FORMAT AS CSV DELIMITER ',' IGNOREHEADER 1 TIMEFORMAT 'auto';",
            qualified(settings, name)
        );
    }
    Ok(sql)
}

fn qualified(settings: &RedshiftSettings, name: &str) -> String {
    settings.schema.as_deref().map_or_else(|| identifier(name), |schema| format!("{}.{}", identifier(schema), identifier(name)))
}

/// A name as an SQL identifier: quoted unless it is plain.
fn identifier(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_the_contracts() {
        let settings = RedshiftSettings { url: Some("s3://b/out".into()), ..RedshiftSettings::default() };
        let sql = copy(&settings).unwrap();
        assert!(
            sql.starts_with("COPY fact_order FROM 's3://b/out/curated/' IAM_ROLE default FORMAT AS CSV DELIMITER ',' IGNOREHEADER 1"),
            "{sql}"
        );
        assert!(copy(&RedshiftSettings::default()).is_err());
    }

    #[test]
    fn names_are_quoted_and_values_escaped() {
        let settings =
            RedshiftSettings { schema: Some("My \"schema\"".into()), url: Some("s3://b/o'clock".into()), ..RedshiftSettings::default() };
        assert!(copy(&settings).unwrap().contains(r#"COPY "My ""schema""".fact_order FROM 's3://b/o''clock/curated/'"#));
        let columns = ["user_id", "inferred", "Full Name"].map(str::to_owned);
        let sql = ddl(&settings, &FactSchema::default(), Some(&columns), None);
        assert!(sql.contains("\"Full Name\" VARCHAR(65535)"), "{sql}");
        assert!(sql.contains("unit_price DECIMAL(18,4) NOT NULL"), "{sql}");
    }
}
