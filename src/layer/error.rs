//! What is wrong with the layer itself: exit 5.

use std::path::PathBuf;

use polars::error::PolarsError;

use crate::{
    model::{Compression, FactSchema, FileFormat, LayerIds, SHOP_COLUMN},
    store::{Key, StoreError},
};

/// What is wrong with the layer, or what the disk refuses.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A stored file that does not read as what it should be. It is never overwritten.
    #[error("{}, line {line}: {detail}. Nothing was changed. Restore the file, or remove it and load its day again", path.display())]
    Partition {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// The layer has other further columns than the settings say: exit 2.
    #[error(
        "the layer's columns behind the fixed ones are {stored}, and by the settings they should be {wanted}: change `fact.columns` in etl.toml, or rewrite the layer: etl rewrite"
    )]
    Columns {
        /// Those that are stored.
        stored: String,
        /// Those of the settings.
        wanted: String,
    },
    /// The layer has quantities of another type than the settings say: exit 2.
    #[error(
        "the layer's quantities are {stored}, and by the settings they should be {wanted}: write `fact.quantity = \"{}\"` in etl.toml to go on with them, or write there what you want, and rewrite the layer then: etl rewrite",
        if *stored == "BIGINT" { "whole" } else { "decimal" }
    )]
    Quantity {
        /// That of the layer.
        stored: &'static str,
        /// That of the settings.
        wanted: &'static str,
    },
    /// The local dates of the layer are of another zone than the settings say: exit 2.
    #[error(
        "the layer's `local_date` is of {stored}, and by the settings it should be of {wanted}: set `fact.time_zone` in etl.toml to what the layer has, or to what you want, and then rewrite the layer: etl rewrite"
    )]
    TimeZone {
        /// That of the layer.
        stored: String,
        /// That of the settings.
        wanted: String,
    },
    /// The layer is one of several shops and the settings name none, or the other way round: exit 2.
    #[error("{}", other_shops(*stored))]
    Shops {
        /// Which ids the layer has.
        stored: LayerIds,
    },
    /// The layer has files of another format than the settings say: exit 2.
    #[error(
        "the layer has {file}, and by the settings its files should be .{}: leave --file-format and --compression out, or rewrite the layer: etl rewrite --file-format {}{}",
        wanted.extension(),
        wanted.as_str(),
        match wanted.compression() { Compression::None => String::new(), compression => format!(" --compression {compression}") }
    )]
    FileFormat {
        /// A file of the layer.
        file: Key,
        /// The format of the settings.
        wanted: FileFormat,
    },
    /// A file that somebody changed while the run was at work.
    #[error("{}: somebody changed this file while the run was at work. Nothing was published: run it again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A frame that Polars refuses.
    #[error("a frame could not be made: {0}")]
    Frame(#[from] PolarsError),
    /// What the disk refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread has died.
    #[error("a thread that compares versions of orders has died")]
    Worker,
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}

impl LayerError {
    /// The layer has these further columns, and should have those of the schema.
    pub(super) fn columns<'n>(stored: impl Iterator<Item = &'n str>, schema: &FactSchema) -> LayerError {
        let stored: Vec<&str> = stored.collect();
        if schema.ids() == LayerIds::OfShops && stored.first() != Some(&SHOP_COLUMN) {
            return LayerError::Shops { stored: LayerIds::OfOneSource };
        }
        let shown = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let wanted = schema.extra().iter().map(|column| column.name.as_str()).collect();
        LayerError::Columns { stored: shown(stored), wanted: shown(wanted) }
    }
}

/// Why shops do not go into a layer, and the way out.
fn other_shops(stored: LayerIds) -> &'static str {
    match stored {
        LayerIds::OfOneSource => {
            "the layer was made without shops, and etl.toml has [[shops]]: its orders would count twice, as `1` and as `shop:1`. Load the shops into another output (--output), or remove [[shops]] from etl.toml"
        }
        LayerIds::OfShops => {
            "the layer is one of several shops, and etl.toml has no [[shops]]: its orders would count twice, as `shop:1` and as `1`. Put [[shops]] back into etl.toml, or load into another output (--output)"
        }
    }
}
