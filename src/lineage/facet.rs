//! The facets that events have, and the versions of their schemas.

use serde_json::{Map, Value};

/// Who makes the events.
pub(super) const PRODUCER: &str = concat!("https://pypi.org/project/orders-etl/", env!("CARGO_PKG_VERSION"), "/");

/// The schema of an event.
pub(super) const EVENT_SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// A kind of facet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facet {
    /// Its key among the facets of a run, a job or a dataset.
    key: &'static str,
    /// The name of its schema.
    schema: &'static str,
    /// The version of its schema.
    version: &'static str,
}

const fn facet(key: &'static str, schema: &'static str, version: &'static str) -> Facet {
    Facet { key, schema, version }
}

pub(super) const COLUMN_LINEAGE: Facet = facet("columnLineage", "ColumnLineageDatasetFacet", "1-2-0");
pub(super) const ASSERTIONS: Facet = facet("dataQualityAssertions", "DataQualityAssertionsDatasetFacet", "1-1-0");
pub(super) const DATA_SOURCE: Facet = facet("dataSource", "DatasourceDatasetFacet", "1-0-1");
pub(super) const DOCUMENTATION: Facet = facet("documentation", "DocumentationDatasetFacet", "1-1-0");
pub(super) const ERROR_MESSAGE: Facet = facet("errorMessage", "ErrorMessageRunFacet", "1-0-1");
pub(super) const PARAMETERS: Facet = facet("executionParameters", "ExecutionParametersRunFacet", "1-0-0");
pub(super) const INPUT_STATISTICS: Facet = facet("inputStatistics", "InputStatisticsInputDatasetFacet", "1-0-0");
pub(super) const JOB_TYPE: Facet = facet("jobType", "JobTypeJobFacet", "2-0-4");
pub(super) const NOMINAL_TIME: Facet = facet("nominalTime", "NominalTimeRunFacet", "1-0-1");
pub(super) const OUTPUT_STATISTICS: Facet = facet("outputStatistics", "OutputStatisticsOutputDatasetFacet", "1-0-2");
pub(super) const PARENT: Facet = facet("parent", "ParentRunFacet", "1-2-0");
pub(super) const PROCESSING_ENGINE: Facet = facet("processing_engine", "ProcessingEngineRunFacet", "1-1-1");
pub(super) const SCHEMA: Facet = facet("schema", "SchemaDatasetFacet", "1-2-0");

/// Facets of one run, job or dataset.
#[derive(Clone, Default, Debug)]
pub(super) struct Facets(Map<String, Value>);

impl Facets {
    /// The facets with one more. Its content must be an object.
    pub(super) fn with(mut self, facet: Facet, mut content: Value) -> Facets {
        if let Some(fields) = content.as_object_mut() {
            fields.insert("_producer".to_owned(), PRODUCER.into());
            let schema = format!("https://openlineage.io/spec/facets/{}/{}.json", facet.version, facet.schema);
            fields.insert("_schemaURL".to_owned(), schema.into());
            self.0.insert(facet.key.to_owned(), content);
        }
        self
    }

    /// The same, if there is something to tell.
    pub(super) fn with_some(self, facet: Facet, content: Option<Value>) -> Facets {
        match content {
            Some(content) => self.with(facet, content),
            None => self,
        }
    }

    pub(super) fn into_json(self) -> Value {
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_versions_are_those_of_the_schemas_that_events_are_validated_by() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/openlineage/facets");
        for facet in [
            COLUMN_LINEAGE,
            ASSERTIONS,
            DATA_SOURCE,
            DOCUMENTATION,
            ERROR_MESSAGE,
            PARAMETERS,
            INPUT_STATISTICS,
            JOB_TYPE,
            NOMINAL_TIME,
            OUTPUT_STATISTICS,
            PARENT,
            PROCESSING_ENGINE,
            SCHEMA,
        ] {
            let text = std::fs::read_to_string(folder.join(format!("{}.json", facet.schema))).unwrap();
            let schema: Value = serde_json::from_str(&text).unwrap();
            let made = Facets::default().with(facet, serde_json::json!({})).into_json();
            assert_eq!(made[facet.key]["_schemaURL"], schema["$id"], "{facet:?}");
            assert!(schema["properties"].get(facet.key).is_some(), "{facet:?}");
        }
    }
}
