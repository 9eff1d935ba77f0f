//! A partition as a Parquet file: the columns of `fact_order`, each with the type that the contract names.
//!
//! Responsible for the step from the canonical CSV to Parquet and back, exact for every value. Equal CSV is equal bytes.
//! Which rows a partition has, and in which order, is not its business.

mod column;
mod read;
mod write;

pub(super) use read::{ExtraTypes, Unreadable, read};
pub(super) use write::{FileWriter, Unwritable, write};
