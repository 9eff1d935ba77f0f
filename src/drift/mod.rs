//! Drift: what the records of a source look like, and what has changed since earlier runs.
//!
//! ```text
//! sampled records ──observe──▶ ObservedShape ──compare──▶ changes, and the shape to remember
//!                                Shape (remembered) ──┘
//! ```
//! A shape is the paths of a source's records, each with its JSON types and whether every record has it. No value is in it.
//!
//! Pure: knows no bytes, no disk and no clock. `normalize` observes, each commit remembers, and `run` decides what a change means.

mod change;
mod compare;
mod json_type;
mod observed;
mod shape;

pub use change::{ChangeKind, SchemaChange, told};
pub use compare::{Comparison, PathChange, compare};
pub use json_type::{JsonType, JsonTypes};
pub use observed::{ObservedShape, Place};
pub use shape::{Shape, Shapes};

use std::collections::BTreeMap;

use crate::model::WILDCARD;

/// Paths of one source beyond this are not watched.
pub const MOST_PATHS: usize = 2000;

/// Values that are nested deeper than this are not watched.
pub const MOST_LEVELS: usize = 8;

/// An object with more different keys than this is a map: its keys are data, and count as one.
pub const MOST_KEYS: usize = 200;

/// With fewer observed records than this, no path is called vanished, and none counts as one that every record has.
pub const NEEDED_RECORDS: u64 = 50;

/// Whether the keys of an object are names or data.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Keys {
    /// Each has a meaning of its own.
    #[default]
    Names,
    /// All are ids or the like: the step `*` stands for each of them.
    Data,
}

/// Makes one path of all keys, once. `join` takes a path for the same as another.
fn fold<P>(keys: &mut Keys, fields: &mut BTreeMap<String, P>, join: impl Fn(&mut P, P)) {
    if std::mem::replace(keys, Keys::Data) == Keys::Data {
        return;
    }
    let mut paths = std::mem::take(fields).into_values();
    let Some(mut all) = paths.next() else { return };
    paths.for_each(|path| join(&mut all, path));
    fields.insert(WILDCARD.to_owned(), all);
}

impl Keys {
    fn are_names(&self) -> bool {
        *self == Keys::Names
    }
}
