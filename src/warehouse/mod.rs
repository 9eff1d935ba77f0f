//! The SQL that loads the output into a warehouse. Text only: nothing here connects anywhere.

mod redshift;

pub use redshift::{RedshiftError, copy, ddl};
