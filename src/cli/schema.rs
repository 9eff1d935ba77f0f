//! `etl schema`: prints what each column of the layer means, or the JSON Schema of the summary of a run, and nothing else.

use clap::ValueEnum;
use serde_json::json;

use super::{
    args::{SchemaArgs, SchemaForm},
    ddl::stored_headers,
    display::Display,
};
use crate::{
    dictionary::{self, Dictionary},
    layer::OpenedLayer,
    report::summary_schema,
    run::{RunError, recover_unless_held},
    settings::{self, Flags, Settings, SettingsError},
    store::{Output, places::SideFact},
};

pub(super) fn run(args: &SchemaArgs, display: &Display) -> Result<u8, RunError> {
    let text: fn(&Dictionary) -> String = match args.form {
        SchemaForm::Json => {
            let schema = summary_schema();
            display.document(&schema, &format!("{schema:#}\n"));
            return Ok(0);
        }
        SchemaForm::Md => dictionary::markdown,
        SchemaForm::Dbml => dictionary::dbml,
        SchemaForm::Odcs => dictionary::odcs,
        SchemaForm::Dbt => dictionary::dbt,
    };
    let text = text(&stored_dictionary(args)?);
    let form = args.form.to_possible_value().map(|form| form.get_name().to_owned());
    display.document(&json!({ "form": form, "text": text }), &text);
    Ok(0)
}

/// The tables of the output, or those that its first run would make.
fn stored_dictionary(args: &SchemaArgs) -> Result<Dictionary, RunError> {
    let settings = settings::load(&args.config.flags)?;
    let output = Output::open(&settings.output)?;
    recover_unless_held(&output)?;
    let state = OpenedLayer::open(&output)?.state;
    let settings = settings.with_quantity_of(state.quantity);
    state.verify_columns(&settings.schema())?;
    let mut sides = Vec::new();
    for fact in SideFact::ALL {
        if state.side_days(fact).next().is_some() || is_mapped(fact, &args.config.flags, &settings)? {
            sides.push(fact);
        }
    }
    Ok(Dictionary::new(&settings, &stored_headers(&output)?, &sides)?.in_schema(args.schema.clone()))
}

/// Whether the profile of the orders, or of those of a shop, maps a fact beside the lines.
fn is_mapped(fact: SideFact, flags: &Flags, settings: &Settings) -> Result<bool, SettingsError> {
    if settings.shops.is_empty() {
        return Ok(maps(settings, fact));
    }
    Ok(settings::load_shops(flags, &[])?.iter().any(|shop| maps(shop, fact)))
}

fn maps(settings: &Settings, fact: SideFact) -> bool {
    settings.orders.as_ref().is_some_and(|orders| match fact {
        SideFact::OrderTotals => orders.profile.totals.is_some(),
        SideFact::Refunds => orders.profile.refunds.is_some(),
    })
}
