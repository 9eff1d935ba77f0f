//! Whether the shape of a run's records is watched, and what a changed one means for the run. Finds no change itself: `run::drift` does.

use super::Job;
use crate::{
    drift::Shapes,
    layer::OpenedLayer,
    normalize::ReadPaths,
    run::{
        RunError,
        drift::{self, Watched},
        extract::{Extracted, ShapeWatch},
    },
    settings::OnSchemaChange,
};

impl Job<'_> {
    /// Whether the shape of the records is observed: of a source that coverage counts for, unless the settings ignore it.
    pub(super) fn shape_watch(&self) -> ShapeWatch {
        match (self.settings.on_schema_change, &self.summary.identity) {
            (OnSchemaChange::Ignore, _) | (_, None) => ShapeWatch::Off,
            (OnSchemaChange::Tell | OnSchemaChange::Freeze, Some(_)) => ShapeWatch::On,
        }
    }

    /// Compares the shape of the records with the one that the layer remembers, and returns what it remembers next.
    ///
    /// # Errors
    /// [`RunError::SchemaChanged`], if it has changed and the settings freeze it.
    pub(super) fn watch_shape(&mut self, opened: &OpenedLayer, extracted: &Extracted) -> Result<Shapes, RunError> {
        let mut shapes = opened.state.shapes.clone();
        let (Some(orders), Some(identity), ShapeWatch::On) = (&self.settings.orders, self.summary.identity.clone(), self.shape_watch())
        else {
            return Ok(shapes);
        };
        let reads = ReadPaths::of(&self.mapping(orders));
        let Watched { changes, omitted, shape } = drift::watch(shapes.of(&identity), &extracted.shape, &reads, &self.settings.fact_columns);
        let told = crate::drift::told(&changes, omitted);
        (self.summary.schema_changes, self.summary.schema_changes_omitted) = (changes, omitted);
        if let Some(shape) = shape {
            shapes.remember(&identity, shape);
        }
        let has_changed = !told.is_empty();
        if has_changed && self.settings.on_schema_change == OnSchemaChange::Freeze && !self.settings.accept_schema {
            return Err(RunError::SchemaChanged { told });
        }
        if has_changed {
            tracing::warn!(of_source = identity.source, "the records of the orders have another shape than before: {told}");
        }
        Ok(shapes)
    }
}
