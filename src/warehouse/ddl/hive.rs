//! What Athena and Glue share: the columns, the reader of a file, and the partitions that are computed and not listed.

use std::collections::BTreeSet;

use super::{DT, DdlError, Engine, Layer, LayerLocation, Target, folder, sql_type};
use crate::{
    model::{Dt, FileFormat},
    warehouse::redshift::Table,
};

/// The first day of an output that has no rows yet.
const FIRST_DAY: &str = "2000-01-01";

/// Why CSV is read as text, and what no reader of CSV can do there.
pub(super) const CSV_NOTES: &str = "\
Each table NAME_csv reads all columns as text, and a view gives the texts their types. Only OpenCSVSerde reads quoted
fields (LazySimpleSerDe does not), and it has no NULL and no decimals. Its escape character is U+0001, because a backslash
in the layer is a plain character. Neither SerDe reads a text with a line break in it. A view fails at such a row, and
does not count its halves: use Parquet then.";

/// How a file is read.
pub(super) struct Reader {
    pub(super) serde: &'static str,
    pub(super) serde_properties: &'static [(&'static str, &'static str)],
    pub(super) input: &'static str,
    pub(super) output: &'static str,
    /// What the name of the table ends with.
    pub(super) suffix: &'static str,
    pub(super) classification: &'static str,
}

const CSV: Reader = Reader {
    serde: "org.apache.hadoop.hive.serde2.OpenCSVSerde",
    serde_properties: &[("separatorChar", ","), ("quoteChar", "\""), ("escapeChar", "\u{1}")],
    input: "org.apache.hadoop.mapred.TextInputFormat",
    output: "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    suffix: "_csv",
    classification: "csv",
};

const PARQUET: Reader = Reader {
    serde: "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
    serde_properties: &[("serialization.format", "1")],
    input: "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    output: "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    suffix: "",
    classification: "parquet",
};

pub(super) fn reader(format: FileFormat) -> &'static Reader {
    match format {
        FileFormat::Csv(_) => &CSV,
        FileFormat::Parquet => &PARQUET,
    }
}

/// An external table.
pub(super) struct External {
    pub(super) name: String,
    /// The format of the files.
    pub(super) format: FileFormat,
    /// Name and type of each column of the files.
    pub(super) columns: Vec<(String, String)>,
    pub(super) location: String,
    pub(super) is_partitioned: bool,
    /// Properties of the table, sorted.
    pub(super) properties: Vec<(String, String)>,
}

/// The tables over the files, in the order of the layer's.
///
/// # Errors
/// [`DdlError::NotS3`].
pub(super) fn tables(engine: Engine, layer: &Layer, target: &Target) -> Result<Vec<External>, DdlError> {
    if target.location.scheme().as_deref() != Some("s3") {
        let location = match &target.location {
            LayerLocation::Folder(location) | LayerLocation::Url(location) => location.clone(),
        };
        return Err(DdlError::NotS3 { engine, location });
    }
    Ok(layer.tables.iter().map(|table| external(table, layer, target)).collect())
}

fn external(table: &Table, layer: &Layer, target: &Target) -> External {
    let format = target.format_of(table);
    let reader = reader(format);
    let typed = |column: &crate::warehouse::redshift::Column| {
        let kind = match format {
            FileFormat::Csv(_) => "string".to_owned(),
            FileFormat::Parquet => sql_type(column.kind, "string", "timestamp").to_ascii_lowercase(),
        };
        (column.name.clone(), kind)
    };
    let location = target.location.at(&(folder(table) + "/"));
    let mut properties = vec![("classification".to_owned(), reader.classification.to_owned())];
    let days = layer.days(table);
    if let Some(days) = days {
        properties.extend(projection(&range_of(layer, days), &location));
    }
    if format != FileFormat::Parquet {
        properties.push(("skip.header.line.count".to_owned(), "1".to_owned()));
    }
    properties.sort();
    External {
        name: format!("{}{}", table.name, reader.suffix),
        format,
        columns: table.columns.iter().map(typed).collect(),
        location,
        is_partitioned: days.is_some(),
        properties,
    }
}

/// The partitions are computed from a range of dates: a new day needs no statement.
fn projection(range: &str, location: &str) -> Vec<(String, String)> {
    let property = |name: &str, value: &str| (format!("projection.{DT}.{name}"), value.to_owned());
    vec![
        ("projection.enabled".to_owned(), "true".to_owned()),
        property("type", "date"),
        property("format", "yyyy-MM-dd"),
        property("range", range),
        property("interval", "1"),
        property("interval.unit", "DAYS"),
        ("storage.location.template".to_owned(), format!("{location}{DT}=${{{DT}}}/")),
    ]
}

/// The range of the facts.
fn range(layer: &Layer) -> String {
    range_of(layer, &layer.partitions)
}

/// From the year of the first partition to tomorrow, or to the last partition if that is later.
fn range_of(layer: &Layer, days: &BTreeSet<Dt>) -> String {
    let first = days.first().map_or_else(|| FIRST_DAY.to_owned(), |dt| format!("{}-01-01", &dt.to_string()[..4]));
    let ahead = days.last().map_or(1, |dt| (dt.days() - layer.today.days()).max(1));
    format!("{first},NOW+{ahead}DAYS")
}

/// The note about the range.
pub(super) fn range_note(layer: &Layer) -> String {
    format!(
        "Partitions are projected from a range of dates ({}): a new day needs no statement.\n\
         Rows before the first day are not seen: print this again after you have loaded earlier years.",
        range(layer)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::FactSchema,
        warehouse::{
            ddl::tests::{hostile, target},
            redshift::DimensionHeaders,
        },
    };

    #[test]
    fn the_range_begins_with_the_first_year_and_follows_the_clock() {
        let layer = |days: &[&str]| {
            let days = days.iter().map(|day| day.parse().unwrap()).collect();
            Layer::new(&FactSchema::default(), &DimensionHeaders::default(), days, "2026-03-29".parse().unwrap()).unwrap()
        };
        assert_eq!(range(&layer(&[])), "2000-01-01,NOW+1DAYS");
        assert_eq!(range(&layer(&["2024-05-06", "2026-03-28"])), "2024-01-01,NOW+1DAYS");
        assert_eq!(range(&layer(&["2026-03-28", "2026-05-01"])), "2026-01-01,NOW+33DAYS");
    }

    #[test]
    fn only_s3_is_read() {
        for location in ["/data/out", "gs://bucket/out"] {
            let found = tables(Engine::Athena, &hostile(), &target(location, FileFormat::default()));
            assert!(matches!(found, Err(DdlError::NotS3 { .. })), "{location}");
        }
    }
}
