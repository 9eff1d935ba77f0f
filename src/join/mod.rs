//! Users and products: the dimensions, their merge by key, inferred members, and the columns that they add to a fact.
//!
//! Works on tables of text and frames of lines. Does not use the network or partitions.

mod dimension;
mod enrich;
mod error;
mod missing_members;
mod removed_members;
mod stored_members;

pub use dimension::{Dimension, DimensionCounts, LookUpColumn, MergedDimension, OldVersions, ScdType};
pub use enrich::{Enricher, UnknownKeys};
pub use error::DimensionError;
pub use missing_members::with_missing_members;
pub use removed_members::{RemovedMembers, StoredVersion, each_version, without_members};
pub use stored_members::StoredRows;
