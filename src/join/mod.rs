//! Users and products: the dimensions, their merge by key, the members that only facts name, and what they add to a fact.
//!
//! Knows no network and no partition: it is given tables of text and frames of lines.

mod dimension;
mod enrich;
mod error;

pub use dimension::{Dimension, DimensionCounts, LookUpColumn, MergedDimension};
pub use enrich::{Enricher, UnknownKeys};
pub use error::DimensionError;
