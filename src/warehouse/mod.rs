//! SQL that loads the output into a warehouse, and running it there. Knows the output's files, and changes none.

pub mod redshift;
