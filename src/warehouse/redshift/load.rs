//! A full load, and the load of what runs have changed. Both replace rows within one transaction and keep the tables
//! themselves, so that grants and views on them stay
//! (<https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html>, <https://docs.aws.amazon.com/redshift/latest/dg/r_MERGE.html>).

use std::collections::BTreeSet;

use super::{Dimension, RedshiftError, Tables, identifier, identifiers, literal};
use crate::model::Dt;

/// What runs have changed, as the output now holds it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// The days whose partitions they wrote or removed.
    pub days: BTreeSet<Dt>,
    /// What is to be loaded of them: manifests where all of their files are still there, else single files. Beneath the output.
    pub sources: Vec<CopySource>,
}

/// What one `COPY` reads, beneath the output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopySource {
    /// The manifest of a run.
    Manifest(String),
    /// A file, or all under a prefix.
    Prefix(String),
}

/// The table that a load of `name` is staged in.
fn stage(name: &str) -> String {
    format!("etl_stage_{name}")
}

/// A full load of all tables.
///
/// # Errors
/// [`RedshiftError::NoUrl`].
pub fn copy(tables: &Tables<'_>) -> Result<Vec<String>, RedshiftError> {
    let facts: Vec<_> = tables.schema.names().collect();
    let dimensions = tables.dimensions();
    let stored = || dimensions.iter().filter(|dimension| dimension.is_stored);
    let mut sql = vec!["BEGIN".to_owned()];
    stage_rows(tables, "fact_order", &facts, &[CopySource::Prefix("curated/".into())], &mut sql)?;
    for dimension in stored() {
        stage_dimension(tables, dimension, &mut sql)?;
    }
    sql.push(format!("DELETE FROM {}", tables.qualified("fact_order")));
    for dimension in stored() {
        replace(tables, dimension, &mut sql);
    }
    insert(tables, "fact_order", &facts, &mut sql);
    finish(stored().map(|dimension| dimension.spec.name), &mut sql);
    Ok(sql)
}

/// What `changes` tell of, and the dimensions. Twice is as good as once.
///
/// # Errors
/// [`RedshiftError::NoUrl`].
pub fn merge(tables: &Tables<'_>, changes: &Changes) -> Result<Vec<String>, RedshiftError> {
    let facts: Vec<_> = tables.schema.names().collect();
    let dimensions = tables.dimensions();
    let stored = || dimensions.iter().filter(|dimension| dimension.is_stored);
    let mut sql = vec!["BEGIN".to_owned()];
    stage_rows(tables, "fact_order", &facts, &changes.sources, &mut sql)?;
    for dimension in stored() {
        stage_dimension(tables, dimension, &mut sql)?;
    }
    let key = ["order_id", "sku"];
    if !changes.days.is_empty() {
        // Rows that left a day stand in the stage under another day, and are moved by the MERGE; those that don't are gone.
        let gone = absent("fact_order", &key);
        sql.push(format!("DELETE FROM {} WHERE ({}) AND {gone}", tables.qualified("fact_order"), within(&changes.days)));
    }
    for dimension in stored() {
        if dimension.is_versioned() {
            replace(tables, dimension, &mut sql);
        } else {
            let columns: Vec<_> = dimension.columns.iter().map(String::as_str).collect();
            sql.push(upsert(tables, dimension.spec.name, &columns, &[dimension.spec.key()]));
        }
    }
    sql.push(upsert(tables, "fact_order", &facts, &key));
    for dimension in stored().filter(|dimension| !dimension.is_versioned()) {
        let name = dimension.spec.name;
        sql.push(format!("DELETE FROM {} WHERE {}", tables.qualified(name), absent(name, &[dimension.spec.key()])));
    }
    finish(stored().map(|dimension| dimension.spec.name), &mut sql);
    Ok(sql)
}

/// Loads files into a temporary table of the target's columns. Runs may have written the same partition, whose file is then
/// loaded more than once, each time the same: equal rows count once.
fn stage_rows(
    tables: &Tables<'_>,
    name: &str,
    columns: &[&str],
    sources: &[CopySource],
    sql: &mut Vec<String>,
) -> Result<(), RedshiftError> {
    let (settings, place) = (tables.settings, tables.qualified(name));
    let url = settings.url.as_deref().ok_or(RedshiftError::NoUrl)?;
    let twice = sources.len() > 1;
    let loaded = if twice { format!("{}_loaded", stage(name)) } else { stage(name) };
    sql.push(format!("CREATE TEMP TABLE {loaded} (LIKE {place})"));
    let role = settings.iam_role.as_deref().map_or("default".to_owned(), literal);
    let region = settings.region.as_deref().map(|region| format!(" REGION {}", literal(region))).unwrap_or_default();
    for source in sources {
        let (place, manifest) = match source {
            CopySource::Manifest(place) => (place, " MANIFEST"),
            CopySource::Prefix(place) => (place, ""),
        };
        sql.push(format!(
            "COPY {loaded} ({}) FROM {} IAM_ROLE {role}{region} FORMAT AS CSV DELIMITER ',' IGNOREHEADER 1 TIMEFORMAT 'auto' EMPTYASNULL{manifest}",
            identifiers(columns.iter().copied()),
            literal(&format!("{url}/{place}")),
        ));
    }
    if twice {
        sql.push(format!("CREATE TEMP TABLE {} AS SELECT DISTINCT * FROM {loaded}", stage(name)));
        sql.push(format!("DROP TABLE {loaded}"));
    }
    Ok(())
}

fn stage_dimension(tables: &Tables<'_>, dimension: &Dimension, sql: &mut Vec<String>) -> Result<(), RedshiftError> {
    let columns: Vec<_> = dimension.columns.iter().map(String::as_str).collect();
    stage_rows(tables, dimension.spec.name, &columns, &[CopySource::Prefix(dimension.spec.file())], sql)
}

fn insert(tables: &Tables<'_>, name: &str, columns: &[&str], sql: &mut Vec<String>) {
    let list = identifiers(columns.iter().copied());
    sql.push(format!("INSERT INTO {} ({list}) SELECT {list} FROM {}", tables.qualified(name), stage(name)));
}

/// All rows of a dimension by those of its stage.
fn replace(tables: &Tables<'_>, dimension: &Dimension, sql: &mut Vec<String>) {
    sql.push(format!("DELETE FROM {}", tables.qualified(dimension.spec.name)));
    let columns: Vec<_> = dimension.columns.iter().map(String::as_str).collect();
    insert(tables, dimension.spec.name, &columns, sql);
}

fn upsert(tables: &Tables<'_>, name: &str, columns: &[&str], key: &[&str]) -> String {
    let list = |prefix: &str| columns.iter().map(|column| format!("{prefix}{}", identifier(column))).collect::<Vec<_>>().join(", ");
    let set = columns.iter().filter(|column| !key.contains(column)).map(|column| {
        let column = identifier(column);
        format!("{column} = s.{column}")
    });
    format!(
        "MERGE INTO {} USING {} AS s ON {} WHEN MATCHED THEN UPDATE SET {} WHEN NOT MATCHED THEN INSERT ({}) VALUES ({})",
        tables.qualified(name),
        stage(name),
        same_key(name, key),
        set.collect::<Vec<_>>().join(", "),
        list(""),
        list("s.")
    )
}

fn same_key(name: &str, key: &[&str]) -> String {
    key.iter().map(|column| format!("{name}.{} = s.{}", identifier(column), identifier(column))).collect::<Vec<_>>().join(" AND ")
}

/// That a row of the table has no like in the stage.
fn absent(name: &str, key: &[&str]) -> String {
    format!("NOT EXISTS (SELECT 1 FROM {} AS s WHERE {})", stage(name), same_key(name, key))
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
        bound(to).map_or_else(|| format!("created_at >= {from}"), |to| format!("created_at >= {from} AND created_at < {to}"))
    };
    ranges.into_iter().map(range).collect::<Vec<_>>().join(" OR ")
}

fn finish<'n>(dimensions: impl Iterator<Item = &'n str>, sql: &mut Vec<String>) {
    for name in ["fact_order"].into_iter().chain(dimensions) {
        sql.push(format!("DROP TABLE {}", stage(name)));
    }
    sql.push("COMMIT".to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::FactSchema, settings::RedshiftSettings};

    fn day(text: &str) -> Dt {
        text.parse().unwrap()
    }

    #[test]
    fn neighbouring_days_are_one_range() {
        let days = ["2026-01-01", "2026-01-02", "2026-01-04"].map(day).into();
        assert_eq!(
            within(&days),
            "created_at >= '2026-01-01 00:00:00' AND created_at < '2026-01-03 00:00:00' OR created_at >= '2026-01-04 00:00:00' AND created_at < '2026-01-05 00:00:00'"
        );
    }

    #[test]
    fn values_are_escaped_and_a_load_is_one_transaction() {
        let schema = FactSchema::default();
        let settings = RedshiftSettings { url: Some("s3://b/o'clock".into()), region: Some("eu".into()), ..RedshiftSettings::default() };
        let sql = copy(&Tables::new(&settings, &schema, None, None)).unwrap();
        assert_eq!((sql.first().unwrap().as_str(), sql.last().unwrap().as_str()), ("BEGIN", "COMMIT"));
        assert!(
            sql.iter().any(|sql| sql.contains("FROM 's3://b/o''clock/curated/' IAM_ROLE default REGION 'eu' FORMAT AS CSV")),
            "{sql:?}"
        );
        assert!(copy(&Tables::new(&RedshiftSettings::default(), &schema, None, None)).is_err());
    }

    #[test]
    fn what_several_runs_wrote_counts_once() {
        let schema = FactSchema::default();
        let settings = RedshiftSettings { url: Some("s3://b".into()), ..RedshiftSettings::default() };
        let changes = Changes {
            days: [day("2026-01-01")].into(),
            sources: vec![CopySource::Manifest("manifests/1.manifest".into()), CopySource::Prefix("curated/x.csv".into())],
        };
        let sql = merge(&Tables::new(&settings, &schema, None, None), &changes).unwrap();
        assert!(sql.iter().any(|sql| sql.ends_with("EMPTYASNULL MANIFEST")), "{sql:?}");
        assert!(sql.iter().any(|sql| sql.contains("SELECT DISTINCT")), "{sql:?}");
        assert!(sql.iter().any(|sql| sql.starts_with("MERGE INTO fact_order USING etl_stage_fact_order AS s ON fact_order.order_id = s.order_id AND fact_order.sku = s.sku WHEN MATCHED THEN UPDATE SET user_id = s.user_id")), "{sql:?}");
    }
}
