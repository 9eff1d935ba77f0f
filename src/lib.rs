//! Orders to a star schema.
pub mod cancel;
pub mod check;
pub mod join;
pub mod layer;
pub mod model;
pub mod normalize;
pub mod report;
pub mod run;
pub mod settings;
pub mod source;
pub mod store;
