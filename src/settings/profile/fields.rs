//! `fields` and `line_fields` of a source's table: where each field is, and how its value is written.

use std::collections::BTreeMap;

use super::{
    AmountRule, FieldRule, LineLists, ObjectInPlace, OrderTotalRules, PathRule, Reconciliation, ScaleText, TimeText, Units, WhichAmounts,
    WhichLists,
};
use crate::{
    model::{
        DimensionSpec, FieldPath, FieldPathError, LONGEST_COLUMN_NAME, MinorUnits, ORDER_AMOUNTS, parse_money, parse_time_rfc2822,
        parse_time_text, parse_whole,
    },
    settings::{
        SettingsError, SourceKind,
        reader::Reader,
        setting::bounds,
        source_kind::{FieldKind, is_sum},
        toml_tree::{Node, Value, unknown_key},
        value::choice,
    },
};

/// The keys of a field's table.
pub(super) const KEYS: [&str; 9] = ["path", "paths", "value", "default", "missing", "scale", "format", "after", "map"];

/// The keys of a path that has rules of its own.
pub(super) const PATH_KEYS: [&str; 3] = ["path", "missing", "after"];

/// The key whose paths may have rules of their own: it alone has paths of different meanings.
const WITH_PATH_RULES: &str = "sku";

/// The keys of the table of an amount that is a sum.
pub(super) const ALL_KEYS: [&str; 3] = ["all", "missing", "scale"];

/// The key of `totals` that is no amount.
pub(super) const RECONCILES: &str = "reconciles";

/// The keys of the table of `lines`.
pub(super) const LINES_KEYS: [&str; 4] = ["path", "paths", "all", "object"];

/// The rules of the fields in a table of a source.
pub(super) fn read(source: &Reader<'_>, table: &str, kind: SourceKind) -> Result<BTreeMap<String, FieldRule>, SettingsError> {
    let Some(fields) = source.inner(table)? else { return Ok(BTreeMap::new()) };
    let mut rules = BTreeMap::new();
    for (name, node) in fields.table().by_line() {
        let field_kind = if table == "line_fields" { kind.line_field(name) } else { kind.field(name) };
        let Some(field_kind) = field_kind else {
            let known = SourceKind::known_fields(table);
            let detail = unknown_key(name, known.iter().copied()).replace("unknown key", "unknown field");
            return Err(fields.error(name, format!("{detail} (the fields are {})", known.join(", "))));
        };
        if kind != SourceKind::Orders {
            verify_column(&fields, name, &rules)?;
        }
        let rule = if name == "lines" { lines(&fields, node)? } else { rule(&fields, name, node, kind, field_kind)? };
        let takes_wildcard = name == "lines" || (table == "line_fields" && is_sum(name));
        if let Some(path) = rule.paths.iter().find(|path| path.has_wildcard()).filter(|_| !takes_wildcard) {
            return Err(fields.error(name, format!("`{path}`: only `lines` and sums of amounts take every element of a list")));
        }
        if kind == SourceKind::Orders && name == "order_id" && (rule.paths.is_empty() || rule.default.is_some()) {
            return Err(fields.error(name, "an id that several records share would make them one order: write a path, without `default`"));
        }
        verify_rule(&fields, name, &rule, field_kind)?;
        if kind != SourceKind::Orders {
            refuse_path_rules(&fields, name, &rule)?;
        }
        rules.insert(name.to_owned(), rule);
    }
    Ok(rules)
}

/// `totals`: where a record says the totals of its order. `false` takes away those of a profile below.
pub(super) fn totals(source: &Reader<'_>) -> Result<Option<OrderTotalRules>, SettingsError> {
    let Some(table) = source.inner_unless_false("totals")? else { return Ok(None) };
    let reconciles = match table.yes_no(RECONCILES)? {
        None => Reconciliation::Unsaid,
        Some(true) => Reconciliation::Always,
        Some(false) => Reconciliation::Never,
    };
    let mut totals = OrderTotalRules { reconciles, ..OrderTotalRules::default() };
    for (name, node) in table.table().by_line() {
        if name == RECONCILES {
            continue;
        }
        if !ORDER_AMOUNTS.contains(&name) {
            return Err(node.place.error(unknown_key(name, ORDER_AMOUNTS.into_iter().chain([RECONCILES]))));
        }
        let rule = amount(&table, name, node)?;
        verify_rule(&table, name, &rule.field, FieldKind::Amount)?;
        totals.amounts.insert(name.to_owned(), rule);
    }
    if !totals.amounts.contains_key("total") {
        return Err(table.error("total", "this key is needed here: without it, nothing can be compared with the lines"));
    }
    Ok(Some(totals))
}

/// An amount of an order: a field, or `all` paths whose amounts are added up.
fn amount(fields: &Reader<'_>, name: &str, node: &Node) -> Result<AmountRule, SettingsError> {
    let all = match &node.value {
        Value::Table(table) if table.get("all").is_some() => Reader::new(table, &fields.full(name)),
        _ => {
            let field = rule(fields, name, node, SourceKind::Orders, FieldKind::Amount)?;
            return Ok(AmountRule { field, which: WhichAmounts::First });
        }
    };
    all.only(&ALL_KEYS)?;
    let paths = paths(&all, "all")?;
    if paths.is_empty() {
        return Err(all.error("all", "write at least one path"));
    }
    let field = FieldRule { paths, missing: all.scalars("missing")?, units: units(&all)?, ..FieldRule::default() };
    Ok(AmountRule { field, which: WhichAmounts::All })
}

/// The paths of the lists of lines.
fn lines(fields: &Reader<'_>, node: &Node) -> Result<FieldRule, SettingsError> {
    let paths = match &node.value {
        Value::Text(text) if text == "." => Vec::new(),
        Value::Text(_) => fields.path("lines")?.into_iter().collect(),
        Value::List(_) => paths(fields, "lines")?,
        Value::Table(table) => {
            let table = Reader::new(table, &fields.full("lines"));
            table.only(&LINES_KEYS)?;
            match (table.path("path")?, table.table().get("all").is_some()) {
                (Some(path), false) => vec![path],
                (None, true) => paths(&table, "all")?,
                (None, false) => paths(&table, "paths")?,
                (Some(_), true) => return Err(table.error("all", "write `path`, `paths` or `all`, and one of them only")),
            }
        }
        other => return Err(fields.error("lines", format!("write a path, a list of paths or a table, not {}", other.kind()))),
    };
    let is_record = matches!(&node.value, Value::Text(text) if text == ".");
    if paths.is_empty() && !is_record {
        return Err(fields.error("lines", "write at least one path"));
    }
    Ok(FieldRule { paths, ..FieldRule::default() })
}

/// How the lists of lines become lines.
pub(super) fn line_lists(source: &Reader<'_>) -> Result<LineLists, SettingsError> {
    let Some(fields) = source.inner("fields")? else { return Ok(LineLists::default()) };
    match fields.table().get("lines").map(|node| &node.value) {
        Some(Value::Text(text)) if text == "." => Ok(LineLists { which: WhichLists::Record, ..LineLists::default() }),
        Some(Value::Table(table)) => {
            let table = Reader::new(table, &fields.full("lines"));
            let which = if table.table().get("all").is_some() { WhichLists::All } else { WhichLists::First };
            let object = match table.text("object")?.as_deref() {
                None => ObjectInPlace::Wrong,
                Some("line") => ObjectInPlace::OnlyElement,
                Some(other) => return Err(table.error("object", format!("`{other}`: write line"))),
            };
            Ok(LineLists { which, object })
        }
        _ => Ok(LineLists::default()),
    }
}

/// A column that a profile adds to a dimension has a name that the dimension can have.
fn verify_column(fields: &Reader<'_>, name: &str, earlier: &BTreeMap<String, FieldRule>) -> Result<(), SettingsError> {
    let folded = name.to_lowercase();
    if name.trim() != name || name.is_empty() || name.len() > LONGEST_COLUMN_NAME || name.chars().any(char::is_control) {
        let detail = format!("the name of a column has 1 to {LONGEST_COLUMN_NAME} bytes, and neither line breaks nor spaces around it");
        return Err(fields.error(name, detail));
    }
    if DimensionSpec::FLAGS.contains(&folded.as_str()) {
        return Err(fields.error(name, "the dimension keeps this column for itself"));
    }
    match earlier.keys().find(|own| own.to_lowercase() == folded) {
        Some(own) => Err(fields.error(name, format!("`{own}` is the same column: names are folded to lower case"))),
        None => Ok(()),
    }
}

/// The parts of a rule go together, and a value that stands in the profile itself is one of its kind.
pub(super) fn verify_rule(fields: &Reader<'_>, name: &str, rule: &FieldRule, kind: FieldKind) -> Result<(), SettingsError> {
    if matches!(rule.units, Units::Beside { .. }) && rule.paths.iter().any(FieldPath::has_wildcard) {
        let detail = "a scale beside the amount goes without `*`: the elements of a list may have a scale each";
        return Err(fields.error(name, detail));
    }
    if kind != FieldKind::Plain || name != WITH_PATH_RULES {
        refuse_path_rules(fields, name, rule)?;
    }
    let Some(text) = rule.default.as_deref().map(str::trim) else { return Ok(()) };
    let is_valid = match kind {
        FieldKind::Time => match rule.time {
            TimeText::Contract => parse_time_text(text).is_some(),
            TimeText::Rfc2822 => parse_time_rfc2822(text).is_some(),
        },
        FieldKind::Amount => parse_money(text.as_bytes()).is_ok(),
        FieldKind::Plain if name == "quantity" => parse_whole(text.as_bytes()).is_some(),
        FieldKind::Plain | FieldKind::Any => true,
    };
    if is_valid { Ok(()) } else { Err(fields.error(name, format!("`{text}` is not a value that `{name}` can have"))) }
}

fn refuse_path_rules(fields: &Reader<'_>, name: &str, rule: &FieldRule) -> Result<(), SettingsError> {
    if rule.own.is_empty() {
        return Ok(());
    }
    Err(fields.error(name, "only the paths of the `sku` of a line may have rules of their own: write paths in quotes"))
}

pub(super) fn rule(
    fields: &Reader<'_>,
    name: &str,
    node: &Node,
    kind: SourceKind,
    field_kind: FieldKind,
) -> Result<FieldRule, SettingsError> {
    match &node.value {
        Value::Text(_) => Ok(FieldRule { paths: fields.path(name)?.into_iter().collect(), ..FieldRule::default() }),
        Value::List(_) => match paths_with_rules(fields, name)? {
            rule if rule.paths.is_empty() => Err(fields.error(name, "write at least one path")),
            rule => Ok(rule),
        },
        Value::Table(table) => {
            let table = Reader::new(table, &fields.full(name));
            table.only(&KEYS)?;
            for (key, needed) in [("scale", FieldKind::Amount), ("format", FieldKind::Time)] {
                if table.table().get(key).is_some() && !field_kind.may_be(needed) {
                    let (what, names) = (if needed == FieldKind::Amount { "amounts" } else { "times" }, kind.names_of(needed));
                    let names = if names.is_empty() { String::new() } else { format!(" ({})", choice(&names)) };
                    return Err(table.error(key, format!("`{key}` belongs to {what}{names}, and `{name}` is none")));
                }
            }
            from_table(fields, name, &table)
        }
        other => Err(fields.error(name, format!("write a path, a list of paths or a table, not {}", other.kind()))),
    }
}

fn from_table(fields: &Reader<'_>, name: &str, table: &Reader<'_>) -> Result<FieldRule, SettingsError> {
    let (default, value) = (table.scalar("default")?, table.scalar("value")?);
    let FieldRule { mut paths, own, .. } = paths_with_rules(table, "paths")?;
    if let Some(path) = table.path("path")? {
        if !paths.is_empty() {
            return Err(table.error("path", "write `path` or `paths`, not both"));
        }
        paths.push(path);
    }
    let rule = FieldRule {
        paths,
        missing: table.scalars("missing")?,
        default,
        units: units(table)?,
        time: time(table)?,
        after: table.text("after")?,
        map: table.scalar_table("map")?,
        own,
    };
    match value {
        Some(_) if !rule.paths.is_empty() || rule.default.is_some() || !rule.missing.is_empty() => {
            Err(table.error("value", "`value` goes without a path, `default` and `missing`"))
        }
        Some(value) => Ok(FieldRule { default: Some(value), ..rule }),
        None if rule.paths.is_empty() && rule.default.is_none() => Err(fields.error(name, "write a path or a value")),
        None => Ok(rule),
    }
}

/// A list of paths.
pub(in crate::settings) fn paths(table: &Reader<'_>, key: &str) -> Result<Vec<FieldPath>, SettingsError> {
    table.list(key)?.iter().map(|node| path_of(table, key, node)).collect()
}

/// A list of paths, some of which have rules of their own.
fn paths_with_rules(table: &Reader<'_>, key: &str) -> Result<FieldRule, SettingsError> {
    let mut rule = FieldRule::default();
    for node in table.list(key)? {
        let Value::Table(inner) = &node.value else {
            rule.paths.push(path_of(table, key, node)?);
            continue;
        };
        let inner = Reader::new(inner, &table.full(key));
        inner.only(&PATH_KEYS)?;
        let path = inner.needed_path("path")?;
        rule.own.insert(path.clone(), PathRule { missing: inner.scalars("missing")?, after: inner.text("after")? });
        rule.paths.push(path);
    }
    Ok(rule)
}

fn path_of(table: &Reader<'_>, key: &str, node: &Node) -> Result<FieldPath, SettingsError> {
    match &node.value {
        Value::Text(text) => {
            text.parse().map_err(|error: FieldPathError| node.place.error(format!("`{}`: `{text}`: {error}", table.full(key))))
        }
        other => Err(node.place.error(format!("`{}`: write a path in quotes, not {}", table.full(key), other.kind()))),
    }
}

/// How an amount is written.
fn units(table: &Reader<'_>) -> Result<Units, SettingsError> {
    let refused = || table.error("scale", "write a number of decimals from 0 to 9, \"currency\", \"stripe\", or { path = \"...\" }");
    match table.table().get("scale").map(|node| &node.value) {
        None => Ok(Units::Major),
        Some(Value::Whole(_)) => {
            let decimals = table.whole("scale", bounds::DECIMALS).map_err(|_| refused())?.unwrap_or_default();
            u32::try_from(decimals).map(Units::Minor).map_err(|_| refused())
        }
        Some(Value::Text(text)) => match text.as_str() {
            "currency" => Ok(Units::OfCurrency(MinorUnits::Iso4217)),
            "stripe" => Ok(Units::OfCurrency(MinorUnits::Stripe)),
            _ => Err(refused()),
        },
        Some(Value::Table(inner)) => {
            let inner = Reader::new(inner, &table.full("scale"));
            inner.only(&["path", "as"])?;
            let scale = match inner.text("as")?.as_deref() {
                None => ScaleText::DecimalsOrDivisor,
                Some("decimals") => ScaleText::Decimals,
                Some("divisor") => ScaleText::Divisor,
                Some(other) => return Err(inner.error("as", format!("`{other}`: write decimals or divisor"))),
            };
            let path = inner.needed_path("path")?;
            if path.has_wildcard() {
                return Err(inner.error("path", format!("`{path}`: only `lines` and sums of amounts take every element of a list")));
            }
            Ok(Units::Beside { path, scale })
        }
        Some(_) => Err(refused()),
    }
}

/// How a time is written.
fn time(table: &Reader<'_>) -> Result<TimeText, SettingsError> {
    match table.text("format")?.as_deref() {
        None => Ok(TimeText::Contract),
        Some("rfc2822") => Ok(TimeText::Rfc2822),
        Some(other) => Err(table.error("format", format!("`{other}`: write rfc2822; the usual forms need no `format`"))),
    }
}
