//! `etl ddl`: prints the statements that make the layer readable as tables in another engine, and only those.

use std::collections::{BTreeMap, BTreeSet};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::{args::DdlArgs, display::Display};
use crate::{
    layer::{self, OpenedLayer},
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, Dt, FileFormat, UtcMicros},
    run::{RunError, recover_unless_held},
    settings::{self, Settings, SettingsError},
    store::{
        Output, StoreError,
        places::{self, SideFact},
    },
    warehouse::{
        ddl::{self, DdlError, Layer, LayerLocation, S3Server, Target},
        redshift::DimensionHeaders,
    },
};

/// One of the variants of an enumeration: the help and the error name all of them.
pub(super) fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: std::str::FromStr<Err = strum::ParseError> + strum::VariantNames + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::VARIANTS).try_map(|name| name.parse())
}

pub(super) fn run(args: &DdlArgs, display: &Display) -> Result<u8, RunError> {
    let settings = settings::load(&args.settings.flags)?;
    let StoredLayer { layer, format } = stored_layer(&settings)?;
    let location = match &args.location {
        Some(location) => location.parse(),
        None => match settings.output.folder() {
            Some(folder) => LayerLocation::of_folder(folder),
            None => settings.output.to_string().parse(),
        },
    };
    let (location, server) = (location.map_err(refused)?, S3Server::of(&settings.output));
    let target = Target { schema: args.schema.clone(), location, server, format };
    let sql = ddl::script(args.engine, &layer, &target).map_err(refused)?;
    display.document(&json!({ "sql": sql }), &sql);
    Ok(0)
}

/// Each is a mistake of the request.
fn refused(error: DdlError) -> RunError {
    SettingsError::Conflict(error.to_string()).into()
}

/// The columns and partitions of the output, and the format of their files.
struct StoredLayer {
    layer: Layer,
    format: FileFormat,
}

fn stored_layer(settings: &Settings) -> Result<StoredLayer, RunError> {
    let output = Output::open(&settings.output)?;
    recover_unless_held(&output)?;
    let state = OpenedLayer::open(&output)?.state;
    let schema = settings.with_quantity_of(state.quantity).schema();
    state.verify_columns(&schema)?;
    let headers = stored_headers(&output)?;
    let files = layer::stored_partition_files(&output)?;
    let stored = files.values().next_back().and_then(places::partition_format);
    let format = settings.file_format.or(stored).unwrap_or_default();
    let mut sides: BTreeMap<SideFact, BTreeSet<Dt>> = BTreeMap::new();
    for (fact, dt, _) in state.sides() {
        sides.entry(fact).or_default().insert(dt);
    }
    let layer = Layer::new(&schema, &headers, files.into_keys().collect(), Dt::of(UtcMicros::now())).map_err(refused)?.with_sides(sides);
    Ok(StoredLayer { layer, format })
}

/// The columns of the stored dimensions.
pub(super) fn stored_headers(output: &Output) -> Result<DimensionHeaders, RunError> {
    Ok(DimensionHeaders { users: header(output, &DIM_USER)?, products: header(output, &DIM_PRODUCT)? })
}

/// The columns of a stored dimension; `None` where it has no file.
fn header(output: &Output, spec: &DimensionSpec) -> Result<Option<Vec<String>>, RunError> {
    let Some(path) = output.local(places::dimension(spec))? else { return Ok(None) };
    let read = || csv::Reader::from_path(&path)?.headers().cloned();
    let names = read().map_err(|error| StoreError::io("read", &path)(std::io::Error::other(error)))?;
    Ok(Some(names.iter().map(str::to_owned).collect()))
}
