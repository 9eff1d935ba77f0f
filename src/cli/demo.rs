//! `etl demo`: the whole job against the embedded API.

use std::fmt::Write;

use super::{args::DemoArgs, display::Display, run::run_and_show};
use crate::{
    cancel::Cancel,
    demo::DemoApi,
    report::CommandName,
    run::RunError,
    settings::{Location, LocationError, Settings},
};

pub(super) fn run(args: &DemoArgs, display: &Display, cancel: &Cancel) -> Result<u8, RunError> {
    let api = DemoApi::start().map_err(|error| RunError::Internal(format!("the embedded API can't be started: {error}")))?;
    let location =
        |resource: &str| api.url(resource).parse::<Location>().map_err(|error: LocationError| RunError::Internal(error.to_string()));
    let settings = Settings {
        orders: Some(location("orders")?.into()),
        users: Some(location("users")?.into()),
        products: Some(location("products")?.into()),
        ..Settings::plain(args.output.clone())
    };
    Ok(run_and_show(&settings, CommandName::Demo, display, cancel, |out| {
        let output = args.output.display();
        let _ = writeln!(out, "\nLook at it:   head {output}/curated/dt=*/part-00000.csv {output}/dims/*/*.csv");
        let _ = writeln!(out, "What it drops, and why: {output}/quarantine/");
        let _ = writeln!(out, "Run it again: nothing changes. Your own orders: etl run --orders URL-or-files");
    }))
}
