//! `pagination` of a source's table: each kind with its own keys.

use super::{
    Pagination, Total,
    kinds::{Kind, kind_of},
};
use crate::settings::{SettingsError, reader::Reader, setting::bounds};

/// The kinds. `total` of a kind that has no totals may only be "": no count in the responses is believed.
pub(super) static KINDS: [Kind; 8] = [
    Kind { name: "auto", keys: &["total"] },
    Kind { name: "link", keys: &["size_parameter", "total"] },
    Kind { name: "next_url", keys: &["path", "size_parameter", "total"] },
    Kind { name: "cursor", keys: &["path", "parameter", "more", "size_parameter", "total"] },
    Kind { name: "last_id", keys: &["id", "parameter", "more", "size_parameter", "total"] },
    Kind { name: "page", keys: &["parameter", "size_parameter", "first", "pages_header", "pages", "total"] },
    Kind { name: "offset", keys: &["parameter", "size_parameter", "total", "largest"] },
    Kind { name: "single", keys: &["total"] },
];

/// What a table says about pagination.
#[derive(Debug, PartialEq)]
pub(super) struct PaginationTable {
    pub(super) pagination: Pagination,
    /// The parameter that asks for a page's size.
    pub(super) size_parameter: Option<String>,
    /// Whether counts in the responses are believed.
    pub(super) trusts_counts: bool,
}

impl Default for PaginationTable {
    fn default() -> PaginationTable {
        PaginationTable { pagination: Pagination::Auto, size_parameter: None, trusts_counts: true }
    }
}

/// Reads the table.
pub(super) fn read(table: Option<Reader<'_>>) -> Result<PaginationTable, SettingsError> {
    let Some(table) = table else { return Ok(PaginationTable::default()) };
    let kind = kind_of(&table, &KINDS)?;
    let trusts_counts = table.text("total")?.as_deref() != Some("");
    if trusts_counts && table.text("total")?.is_some() && !matches!(kind, "page" | "offset") {
        let detail = format!("kind `{kind}` has no total: write \"\" (no count is believed), or take kind page or offset");
        return Err(table.error("total", detail));
    }
    let total = || {
        Ok::<_, SettingsError>(Total {
            pages_header: table.header("pages_header")?,
            pages: table.path("pages")?,
            records: if trusts_counts { table.path("total")? } else { None },
        })
    };
    let parameter = |default: &str| Ok::<_, SettingsError>(table.name("parameter")?.unwrap_or_else(|| default.to_owned()));
    let pagination = match kind {
        "link" => Pagination::Link,
        "next_url" => Pagination::NextUrl { path: table.needed_path("path")? },
        "cursor" => Pagination::Cursor { path: table.needed_path("path")?, parameter: parameter("cursor")?, more: table.path("more")? },
        "last_id" => {
            let id = table.text("id")?.unwrap_or_else(|| "id".to_owned());
            let id = id.parse().map_err(|error| table.error("id", format!("`{id}`: {error}")))?;
            Pagination::LastId { id, parameter: parameter("starting_after")?, more: table.path("more")? }
        }
        "page" => {
            let first = table.whole("first", bounds::FIRST_PAGE)?.unwrap_or(1);
            Pagination::Page { parameter: parameter("page")?, first, total: total()? }
        }
        "offset" => Pagination::Offset { parameter: parameter("offset")?, total: total()?, largest: largest(&table)? },
        "single" => Pagination::Single,
        _ => Pagination::Auto,
    };
    Ok(PaginationTable { pagination, size_parameter: table.name("size_parameter")?, trusts_counts })
}

/// `largest`, which nothing could be compared with without a total.
fn largest(table: &Reader<'_>) -> Result<Option<u64>, SettingsError> {
    let largest = table.whole("largest", bounds::LARGEST_OFFSET)?;
    if largest.is_some() && table.path("total")?.is_none() {
        return Err(table.error("largest", "`total` is missing: it says whether the list is longer than the largest offset"));
    }
    Ok(largest)
}
