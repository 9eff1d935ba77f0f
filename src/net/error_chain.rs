//! An error with what caused it, in one line.

use std::error::Error;

/// The error and its causes; a cause that the text has already is not said again.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let detail = error.to_string();
        if !text.contains(&detail) {
            text = format!("{text}: {detail}");
        }
        source = error.source();
    }
    text
}
