//! A change as the summary has it, and in words.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::JsonType;

/// How a path has changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ChangeKind {
    /// Every record had it, and no record has it now.
    Vanished,
    /// It has a value of a type that was never seen.
    Retyped,
    /// It was never seen.
    New,
}

impl ChangeKind {
    /// The name in the summary.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A path of the records that has changed. Its fields are the keys of the summary, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SchemaChange {
    /// The path, as profiles write it.
    pub path: String,
    /// How it has changed.
    pub change: ChangeKind,
    /// The types that it has now.
    pub types: Vec<JsonType>,
    /// The types that it had before.
    pub was: Vec<JsonType>,
    /// Whether the run reads it.
    pub read: bool,
    /// The `[[fact.columns]]` that would take it, as TOML.
    pub column: Option<String>,
}

/// How many changes a sentence names.
const NAMED: usize = 5;

/// The changes in words, the first of them by name. `omitted` are those that the list does not have.
pub fn told(changes: &[SchemaChange], omitted: u64) -> String {
    let mut parts: Vec<_> = changes.iter().take(NAMED).map(in_words).collect();
    let more = changes.len().saturating_sub(NAMED) as u64 + omitted;
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    parts.join(", ")
}

fn in_words(change: &SchemaChange) -> String {
    let SchemaChange { path, change, types, was, read, column } = change;
    let names = |types: &[JsonType]| types.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" or ");
    let read = if *read { ", which is read," } else { "" };
    match change {
        ChangeKind::Vanished => format!("`{path}`{read} has vanished (it was {})", names(was)),
        ChangeKind::Retyped => format!("`{path}`{read} is {} (it was {})", names(types), names(was)),
        ChangeKind::New => format!("`{path}`{read} is new ({}){}", names(types), column.as_deref().map(in_one_line).unwrap_or_default()),
    }
}

/// A column's table in one line.
fn in_one_line(column: &str) -> String {
    format!(": {}", column.lines().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_changes_are_told_by_name() {
        let change = |path: &str, change, types: &[JsonType], was: &[JsonType]| SchemaChange {
            path: path.into(),
            change,
            types: types.to_vec(),
            was: was.to_vec(),
            read: false,
            column: None,
        };
        let vanished = SchemaChange { read: true, ..change("id", ChangeKind::Vanished, &[], &[JsonType::Number]) };
        let retyped = change("a.b", ChangeKind::Retyped, &[JsonType::Null, JsonType::Text], &[JsonType::Number]);
        let column = Some("[[fact.columns]]\nname = \"c\"\npath = \"c\"\n".to_owned());
        let new = SchemaChange { column, ..change("c", ChangeKind::New, &[JsonType::Text], &[]) };
        assert_eq!(
            told(&[vanished, retyped, new.clone()], 0),
            "`id`, which is read, has vanished (it was number), `a.b` is null or text (it was number), \
             `c` is new (text): [[fact.columns]] name = \"c\" path = \"c\""
        );
        assert!(told(&vec![new; 50], 7).ends_with(", 52 more"));
    }
}
