//! `etl redshift`: prints SQL, and only that.

use std::io::Write;

use super::{
    args::{RedshiftArgs, RedshiftCommand},
    config_flags,
    display::Display,
};
use crate::{
    model::{DIM_PRODUCT, DIM_USER},
    run::RunError,
    settings::{self, SettingsError},
    store::Output,
    warehouse,
};

pub(super) fn run(args: &RedshiftArgs, _: &Display) -> Result<u8, RunError> {
    let (RedshiftCommand::Ddl(config) | RedshiftCommand::Copy(config)) = &args.what;
    let settings = settings::load(&config_flags(config))?;
    let output = Output::new(settings.output.clone());
    let header = |file: String| {
        csv::Reader::from_path(output.at(file)).ok()?.headers().ok().map(|names| names.iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let sql = match &args.what {
        RedshiftCommand::Ddl(_) => warehouse::ddl(
            &settings.redshift,
            &settings.schema(),
            header(DIM_USER.file()).as_deref(),
            header(DIM_PRODUCT.file()).as_deref(),
        ),
        RedshiftCommand::Copy(_) => warehouse::copy(&settings.redshift).map_err(|error| SettingsError::Conflict(error.to_string()))?,
    };
    let _ = std::io::stdout().write_all(sql.as_bytes());
    Ok(0)
}
