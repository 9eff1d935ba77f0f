//! The Glue Data Catalog: one command of the AWS CLI for each table.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{DT, DdlError, Engine, Layer, Target, hive, hive::External, script::Script};
use crate::model::shell_quoted;

/// The database of Glue that always exists.
const DATABASE: &str = "default";

pub(super) fn script(layer: &Layer, target: &Target) -> Result<String, DdlError> {
    let tables = hive::tables(Engine::Glue, layer, target)?;
    let database = shell_quoted(target.schema.as_deref().unwrap_or(DATABASE));
    let mut script = Script::shell();
    script.comment("For a shell. The database exists; a table that exists takes the same --table-input with update-table.");
    script.comment(&hive::range_note(layer));
    script.comment(hive::CSV_NOTES);
    script.comment("The views: `etl ddl athena` prints them.");
    for table in &tables {
        let input = shell_quoted(&input(table).to_string());
        script.line(&format!("aws glue create-table --database-name {database} --table-input {input}"));
    }
    Ok(script.finish())
}

/// The input of the call, as the API of Glue names it.
fn input(table: &External) -> Value {
    let reader = hive::reader(table.format);
    let column = |(name, kind): &(String, String)| json!({"Name": name, "Type": kind});
    let partition_keys = if table.is_partitioned { vec![json!({"Name": DT, "Type": "date"})] } else { Vec::new() };
    let mut parameters: BTreeMap<&str, &str> = table.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    parameters.insert("EXTERNAL", "TRUE");
    let serde_parameters: BTreeMap<_, _> = reader.serde_properties.iter().copied().collect();
    json!({
        "Name": table.name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": parameters,
        "PartitionKeys": partition_keys,
        "StorageDescriptor": {
            "Columns": table.columns.iter().map(column).collect::<Vec<_>>(),
            "Location": table.location,
            "InputFormat": reader.input,
            "OutputFormat": reader.output,
            "SerdeInfo": {"SerializationLibrary": reader.serde, "Parameters": serde_parameters},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::FileFormat,
        warehouse::ddl::tests::{hostile, target},
    };

    #[test]
    fn each_table_is_one_line_of_a_shell() {
        for format in FileFormat::ALL {
            let text = script(&hostile(), &target("s3://b/o'x", format)).unwrap();
            let commands: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(commands.len(), 3, "{text}");
            for command in commands {
                let input = command.strip_prefix("aws glue create-table --database-name 'my \"`'\\''schema' --table-input '").unwrap();
                let input: Value = serde_json::from_str(&input.strip_suffix('\'').unwrap().replace("'\\''", "'")).unwrap();
                let is_fact = input["Name"].as_str().unwrap().starts_with("fact_order");
                assert_eq!(input["PartitionKeys"] == json!([{"Name": "dt", "Type": "date"}]), is_fact, "{input}");
                assert_eq!(input["Parameters"]["projection.dt.type"] == "date", is_fact, "{input}");
                assert!(input["StorageDescriptor"]["Location"].as_str().unwrap().starts_with("s3://b/o'x/"), "{input}");
            }
        }
    }
}
