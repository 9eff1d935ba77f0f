//! DuckDB: views over the files. Nothing is guessed from the files, and nothing from the folders above the output.

use super::{
    DT, Layer, LayerLocation, S3Server, Target, dimension_file, is_fact, is_partitioned, partition_file,
    quote::{literal, name, names, qualified},
    script::Script,
    sql_type,
};
use crate::{
    model::{Compression, FileFormat},
    warehouse::redshift::Table,
};

/// The column for the path of a row's file. No column of the facts has a space in its name.
const READ_FROM: &str = "read from";

/// The rules of the layer's CSV. The size of a line is bounded by the memory that a reader gives to it.
const READ_CSV: &str = r#"auto_detect = false, header = true, delim = ',', quote = '"', escape = '"', nullstr = '', new_line = '\n', max_line_size = 67108864"#;

pub(super) fn script(layer: &Layer, target: &Target) -> String {
    let mut script = Script::sql();
    access(target, &mut script);
    if layer.partitions.is_empty() {
        script.comment("The output has no rows yet, and DuckDB refuses a view over missing files: run this after the first load.");
    }
    if let Some(schema) = &target.schema {
        script.statement(&format!("CREATE SCHEMA IF NOT EXISTS {}", name(schema)));
    }
    for table in &layer.tables {
        if is_fact(table) {
            script.comment("dt is the folder's date. A filter on it reads the files of these days only.");
        }
        // An output without rows has no file of any table, which the first comment says.
        if layer.absent.contains(&table.name) && !layer.partitions.is_empty() {
            script.comment(&format!("The layer has no {} yet: run this again when it has.", table.name));
            script.statement(&empty_view(table, target));
            continue;
        }
        script.statement(&view(table, target));
    }
    script.finish()
}

/// How DuckDB gets at a bucket.
fn access(target: &Target, script: &mut Script) {
    let Some(scheme) = target.location.scheme() else { return };
    let lines = match scheme.as_str() {
        "gs" | "gcs" => "INSTALL httpfs; LOAD httpfs;\nCREATE SECRET (TYPE gcs, KEY_ID '...', SECRET '...');  -- an HMAC key".to_owned(),
        "az" | "azure" | "abfss" => {
            "INSTALL azure; LOAD azure;\nCREATE SECRET (TYPE azure, PROVIDER credential_chain, ACCOUNT_NAME '...');".to_owned()
        }
        _ => {
            let server = target.server.as_ref().map(at_server).unwrap_or_default();
            format!("INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;\nCREATE SECRET (TYPE s3, PROVIDER credential_chain{server});")
        }
    };
    script.comment("Each session needs access to the bucket before it reads the views (CREATE PERSISTENT SECRET keeps it):");
    script.comment(&lines);
}

/// What a secret says of a server that is not Amazon's.
fn at_server(S3Server { address, has_tls, path_style }: &S3Server) -> String {
    let style = if *path_style { "path" } else { "vhost" };
    format!(", ENDPOINT {}, URL_STYLE '{style}', USE_SSL {has_tls}", literal(address))
}

/// A view with the columns of a table, and no row.
fn empty_view(table: &Table, target: &Target) -> String {
    let column = |column: &crate::warehouse::redshift::Column| {
        format!("CAST(NULL AS {}) AS {}", sql_type(column.kind, "VARCHAR", "TIMESTAMP"), name(&column.name))
    };
    let columns: Vec<_> = table.columns.iter().map(column).collect();
    let view = qualified(target.schema.as_deref(), table.name, name);
    format!("CREATE OR REPLACE VIEW {view} AS\nSELECT {}\nWHERE false", columns.join(", "))
}

fn view(table: &Table, target: &Target) -> String {
    let mut columns = names(table);
    let (place, mut options) = if is_partitioned(table) {
        // The folders above the output may be named `x=y` as well: only the last folder is the partition.
        columns.push(format!(
            "CAST(regexp_extract({}, '/dt=([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})/[^/]*$', 1) AS DATE) AS {}",
            name(READ_FROM),
            name(DT)
        ));
        (partition_file(table, "*", target.format_of(table)), vec![format!("filename = {}", literal(READ_FROM))])
    } else {
        (dimension_file(table), Vec::new())
    };
    let reader = match target.format_of(table) {
        FileFormat::Parquet => "read_parquet",
        FileFormat::Csv(compression) => {
            options.extend(csv_options(table, compression));
            "read_csv"
        }
    };
    options.push("hive_partitioning = false".to_owned());
    format!(
        "CREATE OR REPLACE VIEW {} AS\nSELECT {}\nFROM {reader}({},\n    {})",
        qualified(target.schema.as_deref(), table.name, name),
        columns.join(", "),
        literal(&pattern(&target.location, &place)),
        options.join(",\n    ")
    )
}

fn csv_options(table: &Table, compression: Compression) -> [String; 3] {
    let typed = |column: &crate::warehouse::redshift::Column| {
        format!("{}: {}", literal(&column.name), literal(&sql_type(column.kind, "VARCHAR", "TIMESTAMP")))
    };
    let columns: Vec<_> = table.columns.iter().map(typed).collect();
    [format!("columns = {{{}}}", columns.join(", ")), READ_CSV.to_owned(), format!("compression = '{compression}'")]
}

/// A pattern of files beneath the output: `*`, `?` and `[` in the path of the output are themselves.
fn pattern(location: &LayerLocation, place: &str) -> String {
    let root = location.at("");
    let mut pattern = String::with_capacity(root.len() + place.len());
    for c in root.chars() {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            c => pattern.push(c),
        }
    }
    pattern + place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::ddl::tests::{hostile, target};

    #[test]
    fn every_column_is_typed_and_the_path_is_no_pattern() {
        let sql = script(&hostile(), &target("/data/it's [x]", FileFormat::default()));
        assert!(sql.contains("'/data/it''s [[]x]/curated/dt=*/part-00000.csv'"), "{sql}");
        assert!(sql.contains("'tax': 'DECIMAL(18,2)'") && sql.contains("'a\"b`c''d; --\ndrop table x': 'VARCHAR'"), "{sql}");
        assert!(sql.contains("CREATE OR REPLACE VIEW \"my \"\"`'schema\".\"dim_user\" AS\nSELECT \"user_id\", \"inferred\""), "{sql}");
        assert!(sql.contains("hive_partitioning = false") && !sql.contains("httpfs"), "{sql}");
    }

    #[test]
    fn the_secret_of_another_server_says_where_it_is() {
        let of = |server: Option<S3Server>| script(&hostile(), &Target { server, ..target("s3://bucket/out", FileFormat::default()) });
        let server = S3Server { address: "minio.example:9000".into(), has_tls: false, path_style: true };
        let sql = of(Some(server.clone()));
        let secret =
            "-- CREATE SECRET (TYPE s3, PROVIDER credential_chain, ENDPOINT 'minio.example:9000', URL_STYLE 'path', USE_SSL false);";
        assert!(sql.lines().any(|line| line == secret), "{sql}");
        let sql = of(Some(S3Server { has_tls: true, path_style: false, ..server }));
        assert!(sql.contains("URL_STYLE 'vhost', USE_SSL true);"), "{sql}");
        assert!(of(None).contains("-- CREATE SECRET (TYPE s3, PROVIDER credential_chain);"));
    }

    #[test]
    fn buckets_need_a_secret_and_parquet_no_rules() {
        let sql = script(&hostile(), &target("s3://bucket/out", FileFormat::Parquet));
        assert!(
            sql.contains("-- CREATE SECRET (TYPE s3")
                && sql.contains("FROM read_parquet('s3://bucket/out/curated/dt=*/part-00000.parquet'"),
            "{sql}"
        );
        assert_eq!(sql.matches("delim").count(), 1, "dimensions are CSV, and the layer has no dim_product: {sql}");
        for (location, secret) in [("gs://b", "TYPE gcs"), ("az://c/x", "TYPE azure")] {
            assert!(script(&hostile(), &target(location, FileFormat::Parquet)).contains(secret));
        }
    }
}
