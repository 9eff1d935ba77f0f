//! One table of a source laid over another, key by key: the user's over a shipped profile. Knows no types.

use super::kinds::kind_text;
use crate::settings::toml_tree::{Node, Table, Value};

/// Keys of a field's table that say where its value is from: one of them replaces those below.
const ORIGINS: [&str; 4] = ["path", "paths", "all", "value"];

/// `over` over `base`. Tables are merged key by key; everything else replaces what is below.
pub(in crate::settings) fn overlay(over: &Table, base: &Table) -> Table {
    merged(over, base, |key, over, base| match key {
        // The keys of one kind mean nothing to another.
        "pagination" | "auth" if kind_text(over).is_some_and(|kind| kind_text(base) != Some(kind)) => over.clone(),
        "fields" | "line_fields" | "totals" => fields(over, base),
        "bulk" => deep(over, base),
        _ => plain(over, base),
    })
}

fn plain(over: &Table, base: &Table) -> Table {
    merged(over, base, |_, over, _| over.clone())
}

/// Tables within tables are merged, too.
fn deep(over: &Table, base: &Table) -> Table {
    merged(over, base, |_, over, base| deep(over, base))
}

/// Whether a field is a path or a list of paths. `reconciles` of `totals` is neither.
fn is_path(value: &Value) -> bool {
    matches!(value, Value::Text(_) | Value::List(_))
}

/// Fields: a path or a list of paths below counts as a table that says no more.
fn fields(over: &Table, base: &Table) -> Table {
    let mut base = base.clone();
    let short: Vec<String> = base.entries().filter(|(_, node)| is_path(&node.value)).map(|(name, _)| name.to_owned()).collect();
    for name in short {
        let Some(node) = base.remove(&name) else { continue };
        let key = if matches!(node.value, Value::List(_)) { "paths" } else { "path" };
        let (place, mut table) = (node.place.clone(), Table::new(node.place.clone()));
        table.insert(key, node);
        base.insert(&name, Node { place, value: Value::Table(table) });
    }
    for (name, node) in over.entries() {
        let below = base.get(name).map(|node| &node.value);
        if let (false, Some(Value::Table(table))) = (matches!(node.value, Value::Table(_)), below)
            && table.get("scale").is_some()
        {
            tracing::warn!(
                field = name,
                "the path replaces a field of the shipped profile with its `scale`: amounts are read in major units. {{ path = ... }} keeps the scale"
            );
        }
    }
    merged(over, &base, |_, over, base| {
        let mut base = base.clone();
        if ORIGINS.iter().any(|key| over.get(key).is_some()) {
            ORIGINS.iter().for_each(|key| drop(base.remove(key)));
        }
        if over.get("value").is_some() {
            ["default", "missing"].iter().for_each(|key| drop(base.remove(key)));
        }
        plain(over, &base)
    })
}

/// `base` with the entries of `over`; `tables` merges two tables under one key.
fn merged(over: &Table, base: &Table, tables: impl Fn(&str, &Table, &Table) -> Table) -> Table {
    let mut merged = base.clone();
    merged.place = over.place.clone();
    for (key, node) in over.entries() {
        let value = match (&node.value, base.get(key).map(|node| &node.value)) {
            (Value::Table(over), Some(Value::Table(base))) => Value::Table(tables(key, over, base)),
            (value, _) => value.clone(),
        };
        merged.insert(key, Node { place: node.place.clone(), value });
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(table: &Table) -> String {
        let value = |node: &Node| match &node.value {
            Value::Table(table) => format!("{{{}}}", shown(table)),
            Value::List(list) => format!("[{}]", list.len()),
            value => value.scalar().unwrap(),
        };
        table.entries().map(|(key, node)| format!("{key}={}", value(node))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_layer_lies_over_another_key_by_key() {
        let table = |text: &str| Table::parse("x", text).unwrap();
        for (base, over, expected) in [
            ("path = 'a'\npage_size = 5", "page_size = 9", "page_size=9 path=a"),
            ("query = { a = 1, b = 2 }", "query.a = 3", "query={a=3 b=2}"),
            ("totals = { total = 't', reconciles = true }", "totals.total.scale = 2", "totals={reconciles=true total={path=t scale=2}}"),
            ("totals.tax = { all = ['a', 'b'], scale = 2 }", "totals.tax.path = 'c'", "totals={tax={path=c scale=2}}"),
            ("totals = { total = 't', reconciles = true }", "totals = false", "totals=false"),
            ("refunds = { list = 'r', amount = 'a' }", "refunds.amount = 'b'", "refunds={amount=b list=r}"),
            ("refunds = { list = 'r', amount = 'a' }", "refunds = false", "refunds=false"),
            (
                "bulk = { id = 'i', poll = { url = 'u', timeout = '1h' } }",
                "bulk.poll.timeout = '2h'",
                "bulk={id=i poll={timeout=2h url=u}}",
            ),
            ("skip = [{}, {}]", "skip = [{}]", "skip=[1]"),
            ("pagination = { kind = 'page', first = 0 }", "pagination.first = 2", "pagination={first=2 kind=page}"),
            ("pagination = { kind = 'page', first = 0 }", "pagination = { kind = 'page' }", "pagination={first=0 kind=page}"),
            ("pagination = { kind = 'page', first = 0 }", "pagination = { kind = 'offset' }", "pagination={kind=offset}"),
            ("auth = { kind = 'api_key', header = 'x' }", "auth.kind = 'bearer'", "auth={kind=bearer}"),
            ("fields.a = { path = 'p', scale = 2 }", "fields.a = 'q'", "fields={a=q}"),
            ("fields.a = { path = 'p', scale = 2 }", "fields.a = ['q']", "fields={a=[1]}"),
            ("fields.a = { paths = ['p'], scale = 2 }", "fields.a = { path = 'q' }", "fields={a={path=q scale=2}}"),
            ("fields.a = 'p'", "fields.a = { missing = [0] }", "fields={a={missing=[1] path=p}}"),
            ("fields.a = ['p', 'q']", "fields.a = { default = 1 }", "fields={a={default=1 paths=[2]}}"),
            ("fields.a = { path = 'p', missing = [0] }", "fields.a = { value = 'v' }", "fields={a={value=v}}"),
            ("fields = { a = 'p', b = 'q' }", "fields.a = 'z'", "fields={a=z b={path=q}}"),
        ] {
            assert_eq!(shown(&overlay(&table(over), &table(base))), expected, "{over} over {base}");
        }
    }
}
