//! SQL that loads the output into a warehouse, or makes it readable where it lies; and running it there. Knows the output's files,
//! and changes none.

pub mod ddl;
pub mod redshift;
