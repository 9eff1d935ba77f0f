//! The lines of the records of a page, as the profile gathers them.

use serde_json::Value;

use super::{Found, Proposal, first_different, propose::all_at};
use crate::{
    model::{FieldPath, Level, counted},
    normalize::RECORD_FIELDS,
    settings::{ObjectInPlace, Profile, WhichLists},
};

/// The lines of each record, or those at a path that is proposed.
pub(super) fn of(profile: &Profile, proposed: Option<&FieldPath>, records: &[Value]) -> Vec<Vec<Value>> {
    let paths = proposed.map_or_else(|| paths(profile), |path| vec![path.clone()]);
    records.iter().map(|record| of_record(profile, &paths, record).into_iter().cloned().collect()).collect()
}

/// The column of the lines: where they stand, and in how many records there are any.
pub(super) fn found(profile: &Profile, records: &[Value], propose: impl FnOnce() -> Option<Proposal>) -> Found {
    let paths = paths(profile);
    let counts: Vec<usize> = records.iter().map(|record| of_record(profile, &paths, record).len()).filter(|count| *count > 0).collect();
    let served = || {
        let used =
            paths.iter().filter(|path| records.iter().any(|record| !of_record(profile, std::slice::from_ref(*path), record).is_empty()));
        used.map(ToString::to_string).collect::<Vec<_>>().join(" + ")
    };
    let path = match (profile.lines.which, &profile.line_request) {
        (WhichLists::Record, _) => Some("the record itself".to_owned()),
        (_, Some(_)) if counts.is_empty() => Some("a request for each order".to_owned()),
        _ if counts.is_empty() => None,
        _ => Some(served()),
    };
    let values = first_different(counts.iter().map(|count| counted(*count as u64, "line")));
    let proposed = if path.is_none() { propose() } else { None };
    Found { column: "lines", level: Level::Record.as_str(), path, found_in: counts.len(), of: records.len(), values, proposed }
}

fn paths(profile: &Profile) -> Vec<FieldPath> {
    if let Some(rule) = profile.fields.get("lines") {
        return rule.paths.clone();
    }
    let defaults = RECORD_FIELDS.iter().find(|(column, _)| *column == "lines").map_or(&[][..], |(_, paths)| *paths);
    defaults.iter().filter_map(|path| path.parse().ok()).collect()
}

fn of_record<'v>(profile: &Profile, paths: &[FieldPath], record: &'v Value) -> Vec<&'v Value> {
    if profile.lines.which == WhichLists::Record {
        return vec![record];
    }
    let mut lists = paths.iter().map(|path| {
        let elements = all_at(record, path).into_iter().flat_map(|value| match value {
            Value::Array(elements) => elements.iter().collect(),
            Value::Object(_) if profile.lines.object == ObjectInPlace::OnlyElement => vec![value],
            _ => Vec::new(),
        });
        elements.collect::<Vec<_>>()
    });
    match profile.lines.which {
        WhichLists::All => lists.flatten().collect(),
        _ => lists.find(|list| !list.is_empty()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::orders_profile;

    fn shown(profile: &str, record: Value) -> (Option<String>, usize) {
        let profile = orders_profile(&format!("[orders]\n{profile}")).unwrap();
        let records = [record];
        let found = found(&profile, &records, || None);
        (found.path, of(&profile, None, &records).concat().len())
    }

    #[test]
    fn lines_are_gathered_as_the_profile_says() {
        assert_eq!(shown("", json!({"items": [], "products": [1, 2]})), (Some("products".into()), 2));
        let all = "fields.lines = { all = ['a.*.items', 'b'] }";
        assert_eq!(shown(all, json!({"a": [{"items": [1]}, {"items": [2, 3]}], "b": [4]})), (Some("a.*.items + b".into()), 4));
        assert_eq!(shown("fields.lines = '.'", json!({"id": 1})), (Some("the record itself".into()), 1));
        assert_eq!(shown("fields.lines = { path = 'l.i', object = 'line' }", json!({"l": {"i": {"sku": 1}}})), (Some("l.i".into()), 1));
        assert_eq!(shown("fields.lines = 'l'", json!({"l": {"sku": 1}})), (None, 0));
    }
}
