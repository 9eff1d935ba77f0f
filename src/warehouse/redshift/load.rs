//! A full load, and the load of some days. Both replace rows within one transaction and keep the tables themselves, so that
//! grants and views on them stay (<https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html>,
//! <https://docs.aws.amazon.com/redshift/latest/dg/merge-specify-a-column-list.html>).
//!
//! `UPDATE`, `DELETE ... USING` and `INSERT` take the place of `MERGE`: every PostgreSQL and every Redshift has them, and none
//! of them needs an alias.

use std::collections::BTreeSet;

use super::{CopySource, Dimension, RedshiftError, Table, Tables, columns::FACTS, identifier, identifiers, literal};
use crate::{
    model::{Compression, Dt, FileFormat},
    store::places,
};

/// Days to load again, as the output now holds them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// The days whose rows are replaced.
    pub days: BTreeSet<Dt>,
    /// Those of them that have a partition now. The rows of the others are deleted.
    pub stored: BTreeSet<Dt>,
    /// What is read for them. It may hold other days too.
    pub sources: Vec<CopySource>,
}

/// The table that a load of `name` is staged in.
fn stage(name: &str) -> String {
    identifier(&format!("etl_stage_{name}"))
}

/// A full load of all tables, after the statements `before` in the same transaction. `whole` is what holds all facts.
///
/// # Errors
/// [`RedshiftError::NoUrl`].
pub fn copy(tables: &Tables<'_>, whole: CopySource, before: Vec<String>) -> Result<Vec<String>, RedshiftError> {
    let mut sql = begin(before);
    stage_rows(tables, &tables.facts, &[whole], &mut sql)?;
    for dimension in tables.stored_dimensions() {
        stage_dimension(tables, dimension, &mut sql)?;
    }
    sql.push(format!("DELETE FROM {}", tables.qualified(FACTS)));
    for dimension in tables.stored_dimensions() {
        replace(tables, &dimension.table, &mut sql);
    }
    insert(tables, &tables.facts, &mut sql);
    finish(tables, &mut sql);
    Ok(sql)
}

/// The rows of some days and the dimensions, after the statements `before` in the same transaction. Running it twice changes
/// nothing more.
///
/// # Errors
/// [`RedshiftError::NoUrl`].
pub fn merge(tables: &Tables<'_>, changes: &Changes, before: Vec<String>) -> Result<Vec<String>, RedshiftError> {
    let mut sql = begin(before);
    stage_days(tables, changes, &mut sql)?;
    for dimension in tables.stored_dimensions() {
        stage_dimension(tables, dimension, &mut sql)?;
    }
    // New members come before the rows that refer to them, and members leave after those rows: PostgreSQL enforces the keys.
    for dimension in tables.stored_dimensions() {
        if dimension.is_versioned() {
            replace(tables, &dimension.table, &mut sql);
        } else {
            upsert(tables, dimension, &mut sql);
        }
    }
    let facts = tables.qualified(FACTS);
    if !changes.days.is_empty() {
        sql.push(format!("DELETE FROM {facts} WHERE {}", within(&changes.days)));
    }
    // A row that moved into these days may still lie in a day that is not loaded now.
    let key = same_key(FACTS, &["order_id", "sku"]);
    sql.push(format!("DELETE FROM {facts} USING {} WHERE {key}", stage(FACTS)));
    insert(tables, &tables.facts, &mut sql);
    for dimension in tables.stored_dimensions().filter(|dimension| !dimension.is_versioned()) {
        let name = dimension.spec.name;
        let same = same_key(name, &[dimension.spec.key()]);
        sql.push(format!("DELETE FROM {} WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {same})", tables.qualified(name), stage(name)));
    }
    finish(tables, &mut sql);
    Ok(sql)
}

/// Deletes the rows that lie on no day, which the layer never has.
pub fn delete_undated(tables: &Tables<'_>) -> String {
    let facts = tables.qualified(FACTS);
    format!(
        r#"DELETE FROM {facts} WHERE "created_at" IS NULL OR "created_at" < '0001-01-01 00:00:00' OR "created_at" > '9999-12-31 23:59:59.999999'"#
    )
}

fn begin(before: Vec<String>) -> Vec<String> {
    std::iter::once("BEGIN".to_owned()).chain(before).collect()
}

/// Stages the rows of the days that have a partition, each once.
fn stage_days(tables: &Tables<'_>, changes: &Changes, sql: &mut Vec<String>) -> Result<(), RedshiftError> {
    let facts = &tables.facts;
    if let [] | [CopySource::Manifest(_)] = changes.sources[..] {
        return stage_rows(tables, facts, &changes.sources, sql);
    }
    let loaded = identifier(&format!("etl_loaded_{FACTS}"));
    let url = url(tables)?;
    sql.push(format!("CREATE TEMP TABLE {loaded} (LIKE {})", tables.qualified(facts.name)));
    sql.extend(changes.sources.iter().map(|source| copy_statement(tables, url, &loaded, facts, source)));
    // Manifests of several runs may list the same partition.
    let has_manifest = changes.sources.iter().any(|source| matches!(source, CopySource::Manifest(_)));
    let distinct = if has_manifest { "DISTINCT " } else { "" };
    let rows = format!("SELECT {distinct}* FROM {loaded} WHERE {}", within(&changes.stored));
    sql.push(format!("CREATE TEMP TABLE {} AS {rows}", stage(facts.name)));
    sql.push(format!("DROP TABLE {loaded}"));
    Ok(())
}

/// Loads files into a temporary table of the target's columns.
fn stage_rows(tables: &Tables<'_>, table: &Table, sources: &[CopySource], sql: &mut Vec<String>) -> Result<(), RedshiftError> {
    let (url, stage) = (url(tables)?, stage(table.name));
    sql.push(format!("CREATE TEMP TABLE {stage} (LIKE {})", tables.qualified(table.name)));
    sql.extend(sources.iter().map(|source| copy_statement(tables, url, &stage, table, source)));
    Ok(())
}

fn url<'s>(tables: &Tables<'s>) -> Result<&'s str, RedshiftError> {
    tables.settings.url.as_deref().ok_or(RedshiftError::NoUrl)
}

/// One `COPY`. A temporary table needs neither an analysis of compression nor statistics.
fn copy_statement(tables: &Tables<'_>, url: &str, into: &str, table: &Table, source: &CopySource) -> String {
    let settings = tables.settings;
    let role = settings.iam_role.as_deref().map_or("default".to_owned(), literal);
    let region = settings.region.as_deref().map(|region| format!(" REGION {}", literal(region))).unwrap_or_default();
    let (place, manifest) = match source {
        CopySource::Manifest(place) => (place, " MANIFEST"),
        CopySource::Prefix(place) => (place, ""),
    };
    format!(
        "COPY {into} ({}) FROM {} IAM_ROLE {role}{} STATUPDATE OFF{manifest}",
        identifiers(table.names()),
        literal(&format!("{url}/{place}")),
        format_options(tables.format_of(table), &region),
    )
}

/// What `COPY` is told of the files. Parquet takes neither a region, which is that of the cluster then, nor rules of texts
/// (<https://docs.aws.amazon.com/redshift/latest/dg/copy-usage_notes-copy-from-columnar.html>).
fn format_options(format: FileFormat, region: &str) -> String {
    let compression = match format {
        FileFormat::Parquet => return " FORMAT AS PARQUET".to_owned(),
        FileFormat::Csv(Compression::None) => "",
        FileFormat::Csv(Compression::Gzip) => " GZIP",
        FileFormat::Csv(Compression::Zstd) => " ZSTD",
    };
    format!("{region} FORMAT AS CSV{compression} DELIMITER ',' IGNOREHEADER 1 TIMEFORMAT 'auto' EMPTYASNULL COMPUPDATE OFF")
}

fn stage_dimension(tables: &Tables<'_>, dimension: &Dimension, sql: &mut Vec<String>) -> Result<(), RedshiftError> {
    stage_rows(tables, &dimension.table, &[CopySource::Prefix(places::dimension(&dimension.spec).to_string())], sql)
}

fn insert(tables: &Tables<'_>, table: &Table, sql: &mut Vec<String>) {
    let list = identifiers(table.names());
    sql.push(format!("INSERT INTO {} ({list}) SELECT {list} FROM {}", tables.qualified(table.name), stage(table.name)));
}

/// All rows of a table by those of its stage.
fn replace(tables: &Tables<'_>, table: &Table, sql: &mut Vec<String>) {
    sql.push(format!("DELETE FROM {}", tables.qualified(table.name)));
    insert(tables, table, sql);
}

/// The members of the stage, updated in place: rows of the facts may refer to them.
fn upsert(tables: &Tables<'_>, dimension: &Dimension, sql: &mut Vec<String>) {
    let (table, key) = (&dimension.table, dimension.spec.key());
    let (place, stage, column) = (tables.qualified(table.name), stage(table.name), identifier(key));
    // Redshift does not enforce keys: a member that stands there twice is loaded again.
    sql.push(format!("DELETE FROM {place} WHERE {column} IN (SELECT {column} FROM {place} GROUP BY {column} HAVING COUNT(*) > 1)"));
    let set = table.names().filter(|name| *name != key).map(identifier).map(|name| format!("{name} = {stage}.{name}"));
    let same = same_key(table.name, &[key]);
    sql.push(format!("UPDATE {place} SET {} FROM {stage} WHERE {same}", set.collect::<Vec<_>>().join(", ")));
    let list = identifiers(table.names());
    sql.push(format!("INSERT INTO {place} ({list}) SELECT {list} FROM {stage} WHERE NOT EXISTS (SELECT 1 FROM {place} WHERE {same})"));
}

fn same_key(name: &str, key: &[&str]) -> String {
    let (table, stage) = (identifier(name), stage(name));
    key.iter()
        .map(|column| identifier(column))
        .map(|column| format!("{table}.{column} = {stage}.{column}"))
        .collect::<Vec<_>>()
        .join(" AND ")
}

/// `created_at` within these days, neighbours as one range.
fn within(days: &BTreeSet<Dt>) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for day in days.iter().map(|dt| dt.days()) {
        match ranges.last_mut() {
            Some((_, end)) if *end == day => *end = day + 1,
            _ => ranges.push((day, day + 1)),
        }
    }
    let bound = |day: i32| Dt::from_days(day).map(|dt| format!("'{dt} 00:00:00'"));
    let range = |(from, to): (i32, i32)| {
        let from = bound(from).unwrap_or_else(|| "'0001-01-01 00:00:00'".to_owned());
        bound(to).map_or_else(|| format!("\"created_at\" >= {from}"), |to| format!("\"created_at\" >= {from} AND \"created_at\" < {to}"))
    };
    if ranges.is_empty() {
        return "FALSE".to_owned();
    }
    ranges.into_iter().map(range).collect::<Vec<_>>().join(" OR ")
}

fn finish(tables: &Tables<'_>, sql: &mut Vec<String>) {
    let names = std::iter::once(FACTS).chain(tables.stored_dimensions().map(|dimension| dimension.spec.name));
    sql.extend(names.map(|name| format!("DROP TABLE {}", stage(name))));
    sql.push("COMMIT".to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::FactSchema,
        settings::RedshiftSettings,
        warehouse::redshift::{DimensionHeaders, LongestTexts},
    };

    fn day(text: &str) -> Dt {
        text.parse().unwrap()
    }

    fn whole() -> CopySource {
        CopySource::Prefix(format!("{}/", places::CURATED))
    }

    fn tables(settings: &RedshiftSettings) -> Tables<'_> {
        Tables::new(settings, &FactSchema::default(), &DimensionHeaders::default(), &LongestTexts::default()).unwrap()
    }

    #[test]
    fn neighbouring_days_are_one_range() {
        let days = ["2026-01-01", "2026-01-02", "2026-01-04"].map(day).into();
        assert_eq!(
            within(&days),
            r#""created_at" >= '2026-01-01 00:00:00' AND "created_at" < '2026-01-03 00:00:00' OR "created_at" >= '2026-01-04 00:00:00' AND "created_at" < '2026-01-05 00:00:00'"#
        );
        assert_eq!(within(&BTreeSet::new()), "FALSE");
    }

    #[test]
    fn values_are_escaped_and_a_load_is_one_transaction() {
        let settings = RedshiftSettings { url: Some("s3://b/o'clock".into()), region: Some("eu".into()), ..RedshiftSettings::default() };
        let sql = copy(&tables(&settings), whole(), vec!["ALTER TABLE x".into()]).unwrap();
        assert_eq!((sql[0].as_str(), sql[1].as_str(), sql.last().unwrap().as_str()), ("BEGIN", "ALTER TABLE x", "COMMIT"));
        assert!(
            sql.iter().any(|sql| sql.contains("FROM 's3://b/o''clock/curated/' IAM_ROLE default REGION 'eu' FORMAT AS CSV")),
            "{sql:?}"
        );
        assert!(matches!(copy(&tables(&RedshiftSettings::default()), whole(), Vec::new()), Err(RedshiftError::NoUrl)));
    }

    #[test]
    fn rows_that_several_sources_hold_count_once_and_rows_of_other_days_do_not_count() {
        let settings = RedshiftSettings { url: Some("s3://b".into()), ..RedshiftSettings::default() };
        let changes = |sources| Changes { days: ["2026-01-01", "2026-01-02"].map(day).into(), stored: [day("2026-01-01")].into(), sources };
        let manifest = CopySource::Manifest("manifests/1.manifest".into());
        let sql = |sources| merge(&tables(&settings), &changes(sources), Vec::new()).unwrap().join("\n");
        let both = sql(vec![manifest.clone(), CopySource::Prefix("curated/dt=2026-".into())]);
        assert!(both.contains("EMPTYASNULL COMPUPDATE OFF STATUPDATE OFF MANIFEST\n"), "{both}");
        let staged =
            "* FROM \"etl_loaded_fact_order\" WHERE \"created_at\" >= '2026-01-01 00:00:00' AND \"created_at\" < '2026-01-02 00:00:00'\n";
        assert!(both.contains(&format!("AS SELECT DISTINCT {staged}")), "{both}");
        assert!(
            both.contains(
                "DELETE FROM \"fact_order\" WHERE \"created_at\" >= '2026-01-01 00:00:00' AND \"created_at\" < '2026-01-03 00:00:00'\n"
            ),
            "{both}"
        );
        assert!(sql(vec![CopySource::Prefix("curated/dt=2026-".into())]).contains(&format!("AS SELECT {staged}")));
        let one = sql(vec![manifest]);
        assert!(!one.contains("etl_loaded") && !one.contains("MERGE INTO"), "{one}");
    }
}
