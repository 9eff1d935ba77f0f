//! A full load, and the load of some days. Both replace rows within one transaction and keep the tables themselves, so that
//! grants and views on them stay (<https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html>,
//! <https://docs.aws.amazon.com/redshift/latest/dg/merge-specify-a-column-list.html>).
//!
//! `UPDATE`, `DELETE ... USING` and `INSERT` take the place of `MERGE`: every PostgreSQL and every Redshift has them, and none
//! of them needs an alias.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CopySource, Dimension, RedshiftError, SideContent, SideTable, Table, Tables, columns::FACTS, identifier, identifiers, literal,
};
use crate::{
    model::{Compression, Dt, FileFormat},
    store::places::{self, SideFact},
};

/// What is loaded again, as the output now holds it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// Of the facts.
    pub facts: DayChanges,
    /// Of each side fact of which something is. The rows of the others stay as they are.
    pub sides: BTreeMap<SideFact, SideChanges>,
}

/// What is loaded again of a side fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SideChanges {
    /// All rows: the warehouse's table is new, or has a new column.
    Whole,
    /// Those of some days.
    Days(DayChanges),
}

/// Days of a table to load again.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DayChanges {
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
    for side in &tables.sides {
        stage_side(tables, side, &SideChanges::Whole, &mut sql)?;
    }
    sql.push(format!("DELETE FROM {}", tables.qualified(FACTS)));
    for dimension in tables.stored_dimensions() {
        replace(tables, &dimension.table, &mut sql);
    }
    insert(tables, &tables.facts, &mut sql);
    for side in &tables.sides {
        load_side(tables, side, &SideChanges::Whole, &mut sql);
    }
    finish(tables, &mut sql, |_| true);
    Ok(sql)
}

/// The rows of some days and the dimensions, after the statements `before` in the same transaction. Running it twice changes
/// nothing more.
///
/// # Errors
/// [`RedshiftError::NoUrl`].
pub fn merge(tables: &Tables<'_>, changes: &Changes, before: Vec<String>) -> Result<Vec<String>, RedshiftError> {
    let mut sql = begin(before);
    let changed_sides: Vec<_> = tables.sides.iter().filter_map(|side| Some((side, changes.sides.get(&side.fact)?))).collect();
    stage_days(tables, &tables.facts, &changes.facts, &mut sql)?;
    for dimension in tables.stored_dimensions() {
        stage_dimension(tables, dimension, &mut sql)?;
    }
    for (side, changes) in &changed_sides {
        stage_side(tables, side, changes, &mut sql)?;
    }
    // New members come before the rows that refer to them, and members leave after those rows: PostgreSQL enforces the keys.
    for dimension in tables.stored_dimensions() {
        if dimension.is_versioned() {
            replace(tables, &dimension.table, &mut sql);
        } else {
            upsert(tables, dimension, &mut sql);
        }
    }
    replace_days(tables, &tables.facts, &changes.facts, &same_key(FACTS, &["order_id", "sku"]), &mut sql);
    for (side, changes) in &changed_sides {
        load_side(tables, side, changes, &mut sql);
    }
    for dimension in tables.stored_dimensions().filter(|dimension| !dimension.is_versioned()) {
        let name = dimension.spec.name;
        let same = same_key(name, &[dimension.spec.key()]);
        sql.push(format!("DELETE FROM {} WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {same})", tables.qualified(name), stage(name)));
    }
    finish(tables, &mut sql, |side| changes.sides.contains_key(&side.fact));
    Ok(sql)
}

/// Deletes the rows of the facts, or of a side fact, that lie on no day: the layer never has such rows.
pub fn delete_undated(tables: &Tables<'_>, table: &Table) -> String {
    let place = tables.qualified(table.name);
    format!(
        r#"DELETE FROM {place} WHERE "created_at" IS NULL OR "created_at" < '0001-01-01 00:00:00' OR "created_at" > '9999-12-31 23:59:59.999999'"#
    )
}

fn begin(before: Vec<String>) -> Vec<String> {
    std::iter::once("BEGIN".to_owned()).chain(before).collect()
}

/// Stages the rows of the days that have a partition, each once.
fn stage_days(tables: &Tables<'_>, table: &Table, changes: &DayChanges, sql: &mut Vec<String>) -> Result<(), RedshiftError> {
    if let [] | [CopySource::Manifest(_)] = changes.sources[..] {
        return stage_rows(tables, table, &changes.sources, sql);
    }
    let loaded = identifier(&format!("etl_loaded_{}", table.name));
    let url = url(tables)?;
    sql.push(format!("CREATE TEMP TABLE {loaded} (LIKE {})", tables.qualified(table.name)));
    sql.extend(changes.sources.iter().map(|source| copy_statement(tables, url, &loaded, table, source)));
    // Manifests of several runs may list the same partition.
    let has_manifest = changes.sources.iter().any(|source| matches!(source, CopySource::Manifest(_)));
    let distinct = if has_manifest { "DISTINCT " } else { "" };
    let rows = format!("SELECT {distinct}* FROM {loaded} WHERE {}", within(&changes.stored));
    sql.push(format!("CREATE TEMP TABLE {} AS {rows}", stage(table.name)));
    sql.push(format!("DROP TABLE {loaded}"));
    Ok(())
}

/// Stages the rows of a side fact. `COPY` fails at a prefix that has no files: where there are none, nothing is read.
fn stage_side(tables: &Tables<'_>, side: &SideTable, changes: &SideChanges, sql: &mut Vec<String>) -> Result<(), RedshiftError> {
    match (changes, side.content) {
        (SideChanges::Days(changes), _) => stage_days(tables, &side.table, changes, sql),
        (SideChanges::Whole, SideContent::Nothing) => stage_rows(tables, &side.table, &[], sql),
        (SideChanges::Whole, SideContent::Rows) => {
            stage_rows(tables, &side.table, &[CopySource::Prefix(format!("{}/", side.fact.folder()))], sql)
        }
    }
}

/// Puts the staged rows of a side fact in place of what they replace.
fn load_side(tables: &Tables<'_>, side: &SideTable, changes: &SideChanges, sql: &mut Vec<String>) {
    match changes {
        SideChanges::Whole => replace(tables, &side.table, sql),
        SideChanges::Days(changes) => replace_days(tables, &side.table, changes, &side_key(side.fact), sql),
    }
}

/// Puts the staged rows of some days in place of those that are there. `same` says which rows have the key of a staged one.
fn replace_days(tables: &Tables<'_>, table: &Table, changes: &DayChanges, same: &str, sql: &mut Vec<String>) {
    let place = tables.qualified(table.name);
    if !changes.days.is_empty() {
        sql.push(format!("DELETE FROM {place} WHERE {}", within(&changes.days)));
    }
    // A row that moved into these days may still lie in a day that is not loaded now.
    sql.push(format!("DELETE FROM {place} USING {} WHERE {same}", stage(table.name)));
    insert(tables, table, sql);
}

/// Which rows of a side fact have the key of a staged one.
fn side_key(fact: SideFact) -> String {
    let (name, stage) = (identifier(fact.table()), stage(fact.table()));
    match fact {
        SideFact::OrderTotals => same_key(fact.table(), &["order_id"]),
        // What is in no line of a refund has no sku. No sku is an empty text.
        SideFact::Refunds => {
            let refund = same_key(fact.table(), &["refund_id", "order_id"]);
            format!(r#"{refund} AND COALESCE({name}."sku", '') = COALESCE({stage}."sku", '')"#)
        }
    }
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

/// Ends the transaction, and the stages before it: those of the facts, of the dimensions, and of these side facts.
fn finish(tables: &Tables<'_>, sql: &mut Vec<String>, is_staged: impl Fn(&SideTable) -> bool) {
    let sides = tables.sides.iter().filter(|side| is_staged(side)).map(|side| side.table.name);
    let names = std::iter::once(FACTS).chain(tables.stored_dimensions().map(|dimension| dimension.spec.name)).chain(sides);
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

    /// Two days, of which one has a partition.
    fn two_days(sources: Vec<CopySource>) -> DayChanges {
        DayChanges { days: ["2026-01-01", "2026-01-02"].map(day).into(), stored: [day("2026-01-01")].into(), sources }
    }

    fn tables_with_sides(settings: &RedshiftSettings, refunds: SideContent) -> Tables<'_> {
        let sides = [(SideFact::OrderTotals, SideContent::Rows), (SideFact::Refunds, refunds)].into();
        tables(settings).with_sides(&sides, &LongestTexts::default())
    }

    /// The statements that one list has and the other has not.
    fn added(with: &[String], without: &[String]) -> Vec<String> {
        assert!(without.iter().all(|sql| with.contains(sql)), "{with:#?}");
        with.iter().filter(|sql| !without.contains(sql)).cloned().collect()
    }

    #[test]
    fn a_full_load_replaces_side_facts_and_reads_none_that_has_no_files() {
        let settings = RedshiftSettings { url: Some("s3://b".into()), ..RedshiftSettings::default() };
        let sql = |tables: &Tables<'_>| copy(tables, whole(), Vec::new()).unwrap();
        let added = added(&sql(&tables_with_sides(&settings, SideContent::Nothing)), &sql(&tables(&settings)));
        let beginnings = [
            r#"CREATE TEMP TABLE "etl_stage_fact_order_total" (LIKE "fact_order_total")"#,
            r#"COPY "etl_stage_fact_order_total" ("order_id", "currency", "lines_total", "#,
            r#"CREATE TEMP TABLE "etl_stage_fact_refund" (LIKE "fact_refund")"#,
            r#"DELETE FROM "fact_order_total""#,
            r#"INSERT INTO "fact_order_total" ("order_id", "#,
            r#"DELETE FROM "fact_refund""#,
            r#"INSERT INTO "fact_refund" ("refund_id", "#,
            r#"DROP TABLE "etl_stage_fact_order_total""#,
            r#"DROP TABLE "etl_stage_fact_refund""#,
        ];
        assert_eq!(added.len(), beginnings.len(), "{added:#?}");
        assert!(added.iter().zip(beginnings).all(|(sql, beginning)| sql.starts_with(beginning)), "{added:#?}");
        assert!(added[1].contains(" FROM 's3://b/order_totals/' IAM_ROLE default FORMAT AS CSV DELIMITER"), "{added:#?}");
    }

    #[test]
    fn only_the_changed_days_of_side_facts_are_replaced_and_a_side_fact_without_changes_is_left_alone() {
        let settings = RedshiftSettings { url: Some("s3://b".into()), ..RedshiftSettings::default() };
        let facts = two_days(vec![CopySource::Manifest("manifests/1.manifest".into())]);
        let none = Changes { facts: facts.clone(), ..Changes::default() };
        let with = tables_with_sides(&settings, SideContent::Rows);
        let before = merge(&tables(&settings), &none, Vec::new()).unwrap();
        assert_eq!(merge(&with, &none, Vec::new()).unwrap(), before);
        let days = two_days(vec![CopySource::Prefix("refunds/dt=2026-01-01/".into())]);
        let changes = Changes { facts, sides: [(SideFact::Refunds, SideChanges::Days(days))].into() };
        let added = added(&merge(&with, &changes, Vec::new()).unwrap(), &before);
        let range = |until: &str| format!("\"created_at\" >= '2026-01-01 00:00:00' AND \"created_at\" < '{until} 00:00:00'");
        let staged = r#"CREATE TEMP TABLE "etl_stage_fact_refund" AS SELECT * FROM "etl_loaded_fact_refund" WHERE "#;
        assert_eq!(added[2], format!("{staged}{}", range("2026-01-02")));
        assert_eq!(added[4], format!("DELETE FROM \"fact_refund\" WHERE {}", range("2026-01-03")));
        assert_eq!(
            added[5],
            r#"DELETE FROM "fact_refund" USING "etl_stage_fact_refund" WHERE "fact_refund"."refund_id" = "etl_stage_fact_refund"."refund_id" AND "fact_refund"."order_id" = "etl_stage_fact_refund"."order_id" AND COALESCE("fact_refund"."sku", '') = COALESCE("etl_stage_fact_refund"."sku", '')"#
        );
        assert!(added.iter().all(|sql| sql.contains("fact_refund")), "{added:#?}");
        // A new table is loaded whole.
        let whole = Changes { sides: [(SideFact::OrderTotals, SideChanges::Whole)].into(), ..changes };
        let sql = merge(&with, &whole, Vec::new()).unwrap();
        assert!(sql.contains(&"DELETE FROM \"fact_order_total\"".to_owned()), "{sql:#?}");
        assert!(sql.iter().any(|sql| sql.contains("FROM 's3://b/order_totals/' ")), "{sql:#?}");
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
        let changes = |sources| Changes { facts: two_days(sources), ..Changes::default() };
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
