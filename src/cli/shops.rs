//! A command over several shops: one after the other, and one result for all of them. What is done for a shop is the command's.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    display::{Display, Ending},
    text::counted,
};
use crate::{cancel::Cancel, lineage::tell_undelivered, report::Status, settings::Settings};

/// How the work for a shop has ended.
pub(super) struct ShopEnd {
    /// How.
    pub(super) status: Status,
    /// The exit code of the command, if it were for this shop alone.
    pub(super) exit_code: u8,
    /// Whether that is a failure.
    pub(super) ending: Ending,
    /// What the command would print for this shop alone.
    pub(super) result: Value,
    /// The same, in short, for a person.
    pub(super) text: String,
}

/// The name of the shop of these settings.
pub(super) fn name(settings: &Settings) -> &str {
    settings.shop.as_ref().map_or("", |shop| shop.name.as_str())
}

/// Works for one shop after the other, whatever becomes of the one before, until a signal comes. Prints what became of all of them.
/// The exit code is that of the first failure; else 0, or, if no shop had anything new, that of its settings.
pub(super) fn for_each(
    command: &'static str,
    shops: &[Settings],
    display: &Display,
    cancel: &Cancel,
    mut work: impl FnMut(&Settings) -> ShopEnd,
) -> u8 {
    let mut ends: Vec<ShopEnd> = Vec::with_capacity(shops.len());
    for settings in shops {
        // The first one tells how a signal ended it.
        if cancel.is_stopped() && !ends.is_empty() {
            break;
        }
        ends.push(work(settings));
    }
    tell_undelivered();
    let failed = ends.iter().find(|end| end.ending == Ending::Failure);
    let is_published = ends.iter().any(|end| end.status == Status::Published);
    let status = match (failed, is_published) {
        (Some(failed), _) => failed.status,
        (None, true) => Status::Published,
        (None, false) => ends.last().map_or(Status::Unchanged, |end| end.status),
    };
    let exit_code = match (failed, ends.last()) {
        (Some(failed), _) => failed.exit_code,
        (None, Some(last)) if !is_published => last.exit_code,
        (None, _) => 0,
    };
    let begun = ends.len();
    let not_begun: Vec<&str> = shops.iter().skip(begun).map(name).collect();
    let ending = if failed.is_some() { Ending::Failure } else { Ending::Success };
    let failures = ends.iter().filter(|end| end.ending == Ending::Failure).count();
    let results: Vec<&Value> = ends.iter().map(|end| &end.result).collect();
    let result = json!({"command": command, "status": status, "shops": results, "shops_not_begun": not_begun});
    display.outcome(ending, &result, |out| {
        for (settings, end) in shops.iter().zip(&ends) {
            let _ = writeln!(out, "shop {}\n{}", name(settings), end.text);
        }
        let _ = writeln!(out, "{} of {} succeeded", begun - failures, counted(shops.len() as u64, "shop"));
        if !not_begun.is_empty() {
            let _ = writeln!(out, "Not begun, because of a signal: {}", not_begun.join(", "));
        }
    });
    exit_code
}
