//! `etl sources`: the profiles that ship.

use std::fmt::Write;

use serde_json::json;

use super::{
    args::{SourcesArgs, SourcesCommand},
    display::Display,
    table::{Column, Table},
};
use crate::{
    run::RunError,
    settings::{SHIPPED, SettingsError, shipped},
};

pub(super) fn run(args: &SourcesArgs, display: &Display) -> Result<u8, RunError> {
    match &args.what {
        None => {
            let list: Vec<_> = SHIPPED.iter().map(|profile| json!({"name": profile.name, "title": profile.title()})).collect();
            display.answer(&json!({ "sources": list }), |out| {
                let mut table = Table::new(&[Column::text("name"), Column::text("profile").wraps(20)]);
                SHIPPED.iter().for_each(|profile| table.row([profile.name.to_owned(), profile.title().to_owned()]));
                table.show(out, display.width);
                let _ = writeln!(out, "\nTo start from one:  etl sources show NAME > etl.toml");
                let _ = writeln!(out, "Or as it is:        etl run --profile NAME --url https://your.api");
            });
        }
        Some(SourcesCommand::Show { name }) => {
            let profile = shipped(name).ok_or_else(|| {
                let names: Vec<_> = SHIPPED.iter().map(|profile| profile.name).collect();
                SettingsError::Conflict(format!("no profile `{name}`: there are {}", names.join(", ")))
            })?;
            // An etl.toml, in whatever format results are otherwise.
            display.verbatim(profile.toml);
        }
    }
    Ok(0)
}
