//! Flags, environment, `.env` and `etl.toml` become one validated [`Settings`]. The only reader of the environment.

mod http;
mod secret;

pub use http::{Credentials, HttpSettings};
pub use secret::Secret;
