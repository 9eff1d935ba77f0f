//! `[orders.children]`: lines of a file that belong to a line before them. Not how they are joined.

use std::collections::BTreeMap;

use crate::{
    model::FieldPath,
    settings::{SettingsError, reader::Reader},
};

/// How the lines of a file that belong to a line before them become lists of its record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildLines {
    /// Where a line names the line that it belongs to. A line without it begins a record.
    pub parent: FieldPath,
    /// Where a line has its own id. That of a child tells its type: `gid://shopify/LineItem/11` is a `LineItem`.
    pub id: FieldPath,
    /// Where the parent gets its children, by their type.
    pub lists: BTreeMap<String, FieldPath>,
}

/// Reads the table.
pub(super) fn read(table: Option<Reader<'_>>) -> Result<Option<ChildLines>, SettingsError> {
    let Some(table) = table else { return Ok(None) };
    table.only(&["parent", "id", "lists"])?;
    let Some(written) = table.inner("lists")? else { return Err(table.error("lists", "this key is needed here")) };
    let mut lists: BTreeMap<String, FieldPath> = BTreeMap::new();
    for (kind, _) in written.table().by_line() {
        let list = written.needed_path(kind)?;
        if list.has_wildcard() {
            return Err(written.error(kind, "`*` leads into every element of a list: write the path of one list"));
        }
        let is_in_the_way = |other: &&FieldPath| **other != list && other.steps().first() == list.steps().first();
        if let Some(other) = lists.values().find(is_in_the_way) {
            return Err(written.error(kind, format!("`{list}` begins as `{other}` does: write paths that begin with different keys")));
        }
        lists.insert(kind.to_owned(), list);
    }
    let or_else = |key: &str, name: &str| Ok::<_, SettingsError>(table.path(key)?.unwrap_or_else(|| FieldPath::root().child(name)));
    Ok(Some(ChildLines { parent: or_else("parent", "__parentId")?, id: or_else("id", "id")?, lists }))
}
