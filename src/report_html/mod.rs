//! The layer as one HTML page: no network, no script, light and dark.
//!
//! ```text
//! LayerFacts ──sections──▶ Page (texts, tables, pictures) ──templates──▶ HTML
//! ```
//! Responsible for what the page says and how it looks. Reads nothing: `run::layer_report` has read what it shows. All markup
//! is in `templates/`, which escape every value.

mod facts;
mod numbers;
mod picture;
mod scale;
mod sections;
mod view;
mod words;

pub use facts::{AmountSum, DifferingFile, LayerFacts, ShownDays, TotalSums, UndoneInterval, Verdict};

use minijinja::{Environment, UndefinedBehavior, value::Serde};
use serde_json::Value;

use crate::net::redact;

/// What keeps a page from being made: a defect of this tool.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A picture could not be drawn.
    #[error("a picture of the report could not be drawn: {0}")]
    Picture(String),
    /// The templates and what they show do not fit.
    #[error("the report could not be written: {0}")]
    Template(#[from] minijinja::Error),
    /// The values are no JSON.
    #[error("the report could not be written: {0}")]
    Values(#[from] serde_json::Error),
}

/// The templates, by the names that they know each other by. Names that end in `.html` escape every value.
const TEMPLATES: [(&str, &str); 3] = [
    ("page.html", include_str!("templates/page.html")),
    ("macros.html", include_str!("templates/macros.html")),
    ("style.css", include_str!("templates/style.css")),
];

/// The page of a layer.
///
/// # Errors
/// A defect of this tool.
pub fn page(facts: &LayerFacts) -> Result<String, PageError> {
    let page = serde_json::to_string(&sections::page(facts)?)?;
    // Before it is marked up: a secret that is escaped would not be found.
    let shown: Value = serde_json::from_str(&redact::json(&page))?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("parts", words::parts);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment.get_template("page.html")?.render(Serde(shown))?)
}
