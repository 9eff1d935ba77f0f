//! What stands before the ids of a shop, so that equal ids of two shops are two ids in one layer.

use std::borrow::Cow;

/// What stands before ids: the name of a shop, or nothing.
#[derive(Clone, Default, Debug)]
pub(super) struct IdPrefix(Option<Box<str>>);

impl IdPrefix {
    pub(super) fn new(prefix: Option<String>) -> IdPrefix {
        IdPrefix(prefix.map(String::into_boxed_str))
    }

    /// The id as the layer has it.
    pub(super) fn before<'a>(&self, id: Cow<'a, str>) -> Cow<'a, str> {
        match &self.0 {
            None => id,
            Some(prefix) => Cow::Owned([&**prefix, &*id].concat()),
        }
    }

    /// An id of the layer as the source has it.
    pub(super) fn without<'a>(&self, id: &'a str) -> &'a str {
        self.0.as_deref().and_then(|prefix| id.strip_prefix(prefix)).unwrap_or(id)
    }
}
