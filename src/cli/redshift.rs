//! `etl redshift`: prints SQL, and only that; or runs it.

use std::{io::Write, time::Instant};

use serde_json::json;

use super::{
    args::{RedshiftArgs, RedshiftCommand, RedshiftSqlArgs},
    display::{Display, Ending},
};
use crate::{
    cancel::Cancel,
    model::{DIM_PRODUCT, DIM_USER},
    run::{RunError, WhichRuns, changes, recover_unless_held},
    settings,
    store::Output,
    warehouse::redshift::{self, Tables},
};

pub(super) fn run(args: &RedshiftArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let RedshiftSqlArgs { config, execute } = args.what.sql();
    let settings = settings::load(&config.flags)?;
    let output = Output::new(settings.output.clone());
    recover_unless_held(&output)?;
    let columns = |file: String| {
        csv::Reader::from_path(output.at(file)).ok()?.headers().ok().map(|names| names.iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let schema = settings.schema();
    let tables = Tables::new(&settings.redshift, &schema, columns(DIM_USER.file()), columns(DIM_PRODUCT.file()));
    let statements = match &args.what {
        RedshiftCommand::Ddl(_) => redshift::ddl(&tables),
        RedshiftCommand::Copy(_) => redshift::copy(&tables)?,
        RedshiftCommand::Merge { run, since_run, .. } => {
            let which = match (run, since_run) {
                (Some(run), _) => WhichRuns::One(run),
                (None, Some(run)) => WhichRuns::Since(run),
                (None, None) => WhichRuns::Last,
            };
            redshift::merge(&tables, &changes(&output, which)?)?
        }
    };
    if !execute {
        let _ = std::io::stdout().write_all(redshift::script(&statements).as_bytes());
        return Ok(0);
    }
    let began = Instant::now();
    redshift::execute(settings.redshift.connection.as_ref(), &settings.http.network, &statements, cancel)?;
    let seconds = began.elapsed().as_secs_f64();
    display.outcome(
        Ending::Success,
        &json!({"status": "done", "statements": statements.len(), "execution_time_seconds": seconds}),
        |out| {
            out.push_str(&format!("done: {} statements in {seconds:.2} s\n", statements.len()));
        },
    );
    Ok(0)
}
