//! Where the records of a page come from, in the words of the layer's lineage.

use std::path::Path;

use crate::{
    layer::{Gap, PageOrigin, RecordUnit},
    source::{Origin, Page},
};

/// The origin of a page, with its blank lines.
pub(super) fn page_origin(page: &Page) -> PageOrigin {
    let gap = |run: crate::source::BlankRun| Gap { after: run.records_before, units: run.lines };
    let gaps = page.blank_runs().into_iter().map(gap).collect();
    match &page.origin {
        Origin::File { path, first } => {
            let unit = if page.is_cut_by_elements() { RecordUnit::Element } else { unit_of_lines(path) };
            PageOrigin { location: path.display().to_string(), page: None, unit, first: *first, gaps }
        }
        Origin::Response { url, page, first } => {
            PageOrigin { location: url.clone(), page: Some(*page), unit: RecordUnit::Record, first: *first, gaps }
        }
    }
}

/// Rows of a Parquet file arrive as lines, too.
fn unit_of_lines(path: &Path) -> RecordUnit {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if name.ends_with(".parquet") { RecordUnit::Row } else { RecordUnit::Line }
}
