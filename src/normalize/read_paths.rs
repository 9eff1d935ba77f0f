//! Which paths of a record a mapping reads, and where a column for another path would stand.

use std::collections::{BTreeMap, BTreeSet};

use super::mapping::{LINE_FIELDS, Mapping, RECORD_FIELDS};
use crate::{
    model::{FieldPath, Level, WILDCARD},
    settings::{
        ASKED_LINES, FieldRule, KeyedList, LINE_CURRENCY, ObjectInPlace, OrderLineKey, Profile, RefundLineRules, RefundRules, SkipRule,
        Units, WhichLists,
    },
};

/// The paths that a mapping reads, from the root of a record.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ReadPaths {
    paths: Vec<FieldPath>,
    /// The paths of the lines: of each element of a list of them.
    lines: Vec<FieldPath>,
}

/// Where a value stands, as a column of the facts names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnPlace {
    /// Whether it belongs to the record or to the line.
    pub level: Level,
    /// Its path in the record or in the line.
    pub path: FieldPath,
}

impl ReadPaths {
    /// The paths of a mapping.
    pub fn of(mapping: &Mapping<'_>) -> ReadPaths {
        let profile = mapping.profile;
        let columns = |level: Level| mapping.columns.iter().filter(move |column| column.level == level).map(|column| &column.rule);
        let skipped = |rules: fn(&Profile) -> &Vec<SkipRule>| profile.into_iter().flat_map(rules).map(|rule| rule.path.clone());
        let lists = list_paths(profile);
        let mut paths = field_paths(&RECORD_FIELDS, profile.map(|profile| &profile.fields));
        paths.extend(columns(Level::Record).flat_map(rule_paths));
        paths.extend(skipped(|profile| &profile.skip));
        paths.extend(lists.iter().cloned());
        let totals = profile.and_then(|profile| profile.totals.as_ref()).into_iter().flat_map(|totals| totals.amounts.values());
        paths.extend(totals.flat_map(|amount| rule_paths(&amount.field)));
        let refunds = profile.and_then(|profile| profile.refunds.as_ref());
        paths.extend(refunds.into_iter().flat_map(refund_paths));
        let mut of_line = field_paths(&LINE_FIELDS, profile.map(|profile| &profile.line_fields));
        let of_discount_and_currency = ["discount", LINE_CURRENCY].into_iter().filter_map(|name| profile?.line_fields.get(name));
        of_line.extend(of_discount_and_currency.flat_map(rule_paths));
        of_line.extend(columns(Level::Line).flat_map(rule_paths));
        of_line.extend(skipped(|profile| &profile.skip_lines));
        let line_key = refunds.and_then(|refunds| refunds.lines.as_ref()?.by_line.as_ref());
        of_line.extend(line_key.into_iter().flat_map(|key| rule_paths(&key.line)));
        let lines = line_paths(profile, &lists);
        paths.extend(lines.iter().flat_map(|line| of_line.iter().map(move |path| joined(line, path))));
        ReadPaths { paths, lines }
    }

    /// The paths, as the mapping names them.
    pub(super) fn paths(&self) -> &[FieldPath] {
        &self.paths
    }

    /// Whether a path is read. Its step `*` stands for every element of a list, and for every key of a map.
    pub fn has(&self, steps: &[String]) -> bool {
        self.paths.iter().any(|path| path.steps().len() == steps.len() && leads_to(path.steps(), steps))
    }

    /// The names that its columns have in a table, where a row is a line with the columns of its order: the first keys
    /// of the paths of records and of those of lines.
    pub fn column_names(&self) -> BTreeSet<String> {
        let is_of_lists = |path: &FieldPath| self.lines.iter().any(|line| line.steps().starts_with(path.steps()));
        let name = |path: &FieldPath| {
            let of_lines = self.lines.iter().filter(|line| path.steps().starts_with(line.steps())).map(|line| line.steps().len());
            path.steps().get(of_lines.max().unwrap_or(0)).filter(|step| *step != WILDCARD).cloned()
        };
        self.paths.iter().filter(|&path| !is_of_lists(path)).filter_map(name).collect()
    }

    /// The paths from the root of a record to the values at a path of its lines.
    pub fn in_lines(&self, path: &FieldPath) -> Vec<FieldPath> {
        self.lines.iter().map(|line| joined(line, path)).collect()
    }

    /// Where the value at a path would be read for a column; `None` if it is one of several values.
    pub fn column_place(&self, steps: &[String]) -> Option<ColumnPlace> {
        let within = |line: &FieldPath| steps.get(line.steps().len()..).filter(|_| leads_to(line.steps(), steps));
        let in_line = self.lines.iter().filter(|line| !line.steps().is_empty()).find_map(within);
        let (level, steps) = in_line.map_or((Level::Record, steps), |within| (Level::Line, within));
        let is_one = !steps.is_empty() && steps.iter().all(|step| step != WILDCARD);
        let path = FieldPath::of_steps(steps);
        // A key that no path can name, such as an empty one.
        let can_be_written = path.to_string().parse::<FieldPath>().is_ok_and(|read| read == path);
        (is_one && can_be_written).then_some(ColumnPlace { level, path })
    }
}

/// Whether the steps of a path are the first steps of an observed one.
fn leads_to(path: &[String], observed: &[String]) -> bool {
    path.len() <= observed.len() && path.iter().zip(observed).all(|(step, seen)| step == seen || seen == WILDCARD)
}

/// The paths of the fixed fields: those of the profile, or else the default ones.
fn field_paths(fields: &[(&str, &[&str])], own: Option<&BTreeMap<String, FieldRule>>) -> Vec<FieldPath> {
    let of_field = |&(name, paths): &(&str, &[&str])| match own.and_then(|own| own.get(name)) {
        Some(rule) => rule_paths(rule).collect(),
        None => default_paths(paths),
    };
    fields.iter().flat_map(of_field).collect()
}

fn default_paths(paths: &[&str]) -> Vec<FieldPath> {
    paths.iter().filter_map(|path| path.parse().ok()).collect()
}

fn rule_paths(rule: &FieldRule) -> impl Iterator<Item = FieldPath> {
    let scale = match &rule.units {
        Units::Beside { path, .. } => Some(path.clone()),
        Units::Major | Units::Minor(_) | Units::OfCurrency(_) => None,
    };
    rule.paths.clone().into_iter().chain(scale)
}

/// The paths of the lists of lines.
fn list_paths(profile: Option<&Profile>) -> Vec<FieldPath> {
    let own = profile.and_then(|profile| profile.fields.get("lines"));
    let by_default = RECORD_FIELDS.iter().find(|(name, _)| *name == "lines").map(|(_, paths)| default_paths(paths));
    let mut lists = own.map(|rule| rule.paths.clone()).or(by_default).unwrap_or_default();
    if profile.is_some_and(|profile| profile.line_request.is_some()) {
        lists.push(FieldPath::root().child(ASKED_LINES));
    }
    lists
}

/// The paths of refunds, of their fields and of those of their lines.
fn refund_paths(rules: &RefundRules) -> Vec<FieldPath> {
    let RefundRules { list, announced, refund_id, created_at, amount, skip_amounts, currency, skip, lines } = rules;
    let refund = list.child(WILDCARD);
    let fields = [Some(refund_id), Some(created_at), amount.as_ref(), currency.as_ref()].into_iter().flatten().flat_map(rule_paths);
    let mut paths: Vec<_> = fields.chain(skip.iter().map(|rule| rule.path.clone())).map(|path| joined(&refund, &path)).collect();
    let added_up = amount.iter().flat_map(|amount| &amount.paths).filter_map(elements_of);
    paths.extend(
        added_up.flat_map(|element| skip_amounts.iter().map(move |rule| joined(&element, &rule.path))).map(|path| joined(&refund, &path)),
    );
    if let Some(RefundLineRules { list, sign: _, sku, quantity, amount, by_line }) = lines {
        let list = joined(&refund, list);
        let line = list.child(WILDCARD);
        let fields = [sku.as_ref(), quantity.as_ref(), Some(amount)].into_iter().flatten().flat_map(rule_paths);
        paths.extend(fields.chain(by_line.iter().flat_map(line_key_paths)).map(|path| joined(&line, &path)));
        paths.push(list);
    }
    paths.push(list.clone());
    paths.extend(announced.clone());
    paths
}

/// The elements of the innermost list that a path leads into.
fn elements_of(path: &FieldPath) -> Option<FieldPath> {
    let last = path.steps().iter().rposition(|step| step == WILDCARD)?;
    path.steps().get(..=last).map(FieldPath::of_steps)
}

/// The paths, in a line of a refund, that lead to the id of the order's line.
fn line_key_paths(key: &OrderLineKey) -> Vec<FieldPath> {
    let ids = rule_paths(&key.id);
    let Some(KeyedList { list, when }) = &key.among else { return ids.collect() };
    let element = list.child(WILDCARD);
    let of_element = ids.chain([when.path.clone()]).map(|path| joined(&element, &path));
    of_element.chain([list.clone()]).collect()
}

/// The paths of lines. The root, where a record is its only line.
fn line_paths(profile: Option<&Profile>, lists: &[FieldPath]) -> Vec<FieldPath> {
    let kinds = profile.map(|profile| profile.lines).unwrap_or_default();
    let mut lines: Vec<_> = lists.iter().map(|list| list.child(WILDCARD)).collect();
    if kinds.object == ObjectInPlace::OnlyElement {
        lines.extend(lists.iter().cloned());
    }
    if kinds.which == WhichLists::Record {
        lines.push(FieldPath::root());
    }
    lines
}

fn joined(line: &FieldPath, path: &FieldPath) -> FieldPath {
    path.steps().iter().fold(line.clone(), |joined, step| joined.child(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::orders_profile;

    fn steps(path: &str) -> Vec<String> {
        path.split('.').map(str::to_owned).collect()
    }

    fn is_read(profile: &str, path: &str) -> bool {
        let profile = orders_profile(profile).unwrap();
        ReadPaths::of(&Mapping { profile: Some(&profile), ..Mapping::default() }).has(&steps(path))
    }

    #[test]
    fn the_paths_of_fields_lines_and_conditions_are_read() {
        let own = "[orders]\nskip = [{ path = 'test' }]\nfields.lines = 'c.*.l'\nfields.order_id = 'no'\nline_fields.discount = 'off.*.amount'\nline_fields.unit_price = { path = 'cents', scale = { path = 'digits' } }";
        for (path, by_default, by_own) in [
            ("order_id", true, false),
            ("no", false, true),
            ("customer.id", true, true),
            ("customer", false, false),
            ("items", true, false),
            ("items.*.sku", true, false),
            ("items.*.name", false, false),
            ("c.*.l", false, true),
            ("c.*.l.*.sku", false, true),
            ("c.*.l.*.off.*.amount", false, true),
            ("c.*.l.*.digits", false, true),
            ("test", false, true),
        ] {
            assert_eq!((is_read("[orders]", path), is_read(own, path)), (by_default, by_own), "{path}");
        }
    }

    #[test]
    fn the_paths_of_totals_and_of_the_lines_that_refunds_name_are_read() {
        let own = "[orders]\ntotals = { total = 'sum', tax = 'taxes.*.amount' }\n[orders.refunds]\nlist = 'back'\nrefund_id = 'id'\ncreated_at = 'at'\nlines = { list = 'rows', amount = 'sum', by_line = { id = 'row', line = 'key' } }";
        for path in ["sum", "taxes.*.amount", "items.*.key", "back.*.rows.*.row"] {
            assert_eq!((is_read("[orders]", path), is_read(own, path)), (false, true), "{path}");
        }
    }

    #[test]
    fn the_paths_of_refunds_that_are_asked_for_are_read() {
        let own = "[orders.refunds]\nrequest = { path = '/o/{id}', when = 'back' }\nrefund_id = 'id'\ncreated_at = 'at'\nlines = { list = 'rows', amount = 'sum', by_line = { list = 'meta', when = { path = 'key', equals = 'k' }, id = 'value', line = 'id' } }";
        for path in ["back", "etl_refunds", "etl_refunds.*.at", "etl_refunds.*.rows.*.meta.*.key", "etl_refunds.*.rows.*.meta.*.value"] {
            assert_eq!((is_read("[orders]", path), is_read(own, path)), (false, true), "{path}");
        }
        assert!(!is_read(own, "etl_refunds.*.rows.*.value"));
    }

    #[test]
    fn columns_of_a_table_are_named_by_the_first_keys_of_paths() {
        let names = |profile: &str| {
            let profile = orders_profile(profile).unwrap();
            ReadPaths::of(&Mapping { profile: Some(&profile), ..Mapping::default() }).column_names()
        };
        let own = "[orders]\nfields.lines = 'c.*.l'\nfields.order_id = 'no'\nfields.user_id = '/a.b'\nline_fields.sku = ['x.y', 'z']";
        for (name, by_default, by_own) in [
            ("order_id", true, false),
            ("quantity", true, true),
            ("qty", true, true),
            ("customer", true, false),
            ("no", false, true),
            ("a.b", false, true),
            ("x", false, true),
            ("z", false, true),
            ("y", false, false),
            ("items", false, false),
            ("c", false, false),
            ("l", false, false),
            ("*", false, false),
        ] {
            let has = |profile: &str| names(profile).contains(name);
            assert_eq!((has("[orders]"), has(own)), (by_default, by_own), "{name}");
        }
    }

    #[test]
    fn a_column_has_a_place_where_there_is_one_value() {
        let place = |profile: &str, path: &str| {
            let profile = orders_profile(profile).unwrap();
            let place = ReadPaths::of(&Mapping { profile: Some(&profile), ..Mapping::default() }).column_place(&steps(path));
            place.map(|place| format!("{} {}", place.level.as_str(), place.path))
        };
        for (path, expected) in [
            ("gift.note", Some("record gift.note")),
            ("items.*.gift", Some("line gift")),
            ("line_items.*.tax.rate", Some("line tax.rate")),
            ("tags.*", None),
            ("items.*.tags.*", None),
            ("items.*", None),
            ("a..b", None),
        ] {
            assert_eq!(place("[orders]", path).as_deref(), expected, "{path}");
        }
        assert_eq!(place("[orders]\nfields.lines = '.'", "gift").as_deref(), Some("record gift"));
    }
}
