//! What is wrong with what the settings name on this machine: credentials, certificates, checks. Asks no network, and writes nothing.

use super::{
    RunError,
    outside::{refuse_lineage_inside_layer, refuse_metrics_inside_layer},
};
use crate::{check, net::Network, settings::Settings, source::SourceError, store::Output};

/// Everything that a run would refuse before its first request.
pub fn config_problems(settings: &Settings) -> Vec<RunError> {
    let mut problems: Vec<RunError> = Vec::new();
    for source in [&settings.orders, &settings.users, &settings.products].into_iter().flatten() {
        problems.extend(source.missing_credentials().map(|variables| SourceError::Credentials { variables }.into()));
    }
    if let Err(error) = Network::new(&settings.http).client() {
        problems.push(SourceError::Network(error).into());
    }
    if let Err(error) = check::load_custom(settings.checks.as_deref(), &settings.column_checks, &settings.schema()) {
        problems.push(error.into());
    }
    let folder = settings.output.folder().map(|folder| Output::new(folder.to_owned()));
    problems.extend(folder.and_then(|output| refuse_metrics_inside_layer(settings, &output).err()).map(RunError::from));
    problems.extend(refuse_lineage_inside_layer(settings).err().map(RunError::from));
    problems
}
