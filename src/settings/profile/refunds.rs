//! `refunds` of a source's table: where a record lists its refunds, and what each refund says.

use super::{
    ASKED_REFUNDS, FieldRule, KeyedList, OrderLineKey, RefundLineRules, RefundRules, RefundSign,
    fields::{rule, verify_rule},
    table::{ListPath, list_of_order, skip, word},
};
use crate::{
    model::FieldPath,
    settings::{SettingsError, SourceKind, reader::Reader, source_kind::FieldKind},
};

/// The keys of the table.
pub(super) const KEYS: [&str; 9] = ["list", "request", "refund_id", "created_at", "amount", "skip_amounts", "currency", "skip", "lines"];

/// The keys of its table `lines`.
pub(super) const LINE_KEYS: [&str; 6] = ["list", "sign", "sku", "quantity", "amount", "by_line"];

/// The keys of its table `lines.by_line`.
pub(super) const BY_LINE_KEYS: [&str; 4] = ["id", "line", "list", "when"];

/// How quantities and amounts of lines may be written.
pub(super) const SIGNS: [(&str, RefundSign); 2] = [("positive", RefundSign::Positive), ("negative", RefundSign::Negative)];

/// `refunds`, read.
pub(super) struct RefundTable {
    pub(super) rules: RefundRules,
    /// The request for them, before it is known where the API is; `None`: a record lists them.
    pub(super) request: Option<ListPath>,
}

/// `refunds`: where a record lists its refunds. `false` takes away those of a profile below.
pub(super) fn read(source: &Reader<'_>) -> Result<Option<RefundTable>, SettingsError> {
    let Some(table) = source.inner_unless_false("refunds")? else { return Ok(None) };
    table.only(&KEYS)?;
    let request = request(&table)?;
    let list = list(&table, request.as_ref())?;
    let lines = table.inner("lines")?.map(|lines| self::lines(&lines)).transpose()?;
    let amount = field(&table, "amount", FieldKind::Amount)?;
    if amount.is_none() && lines.is_none() {
        return Err(table.error("amount", "write an amount, or `lines`, or both: a refund without money says nothing"));
    }
    let skip_amounts: Vec<_> = table.tables("skip_amounts")?.iter().map(skip).collect::<Result<_, _>>()?;
    let is_sum = amount.as_ref().is_some_and(|rule| !rule.paths.is_empty() && rule.paths.iter().all(FieldPath::has_wildcard));
    if !skip_amounts.is_empty() && !is_sum {
        return Err(table.error("skip_amounts", "`amount` adds up no list: its path leads into no list by `*`"));
    }
    let rules = RefundRules {
        list,
        announced: request.as_ref().and_then(ListPath::when).cloned(),
        refund_id: needed(&table, "refund_id", FieldKind::Plain)?,
        created_at: needed(&table, "created_at", FieldKind::Time)?,
        amount,
        skip_amounts,
        currency: field(&table, "currency", FieldKind::Plain)?,
        skip: table.tables("skip")?.iter().map(skip).collect::<Result<_, _>>()?,
        lines,
    };
    Ok(Some(RefundTable { rules, request }))
}

/// `refunds.request`: the refunds of an order by a request of their own. `false` takes away that of a profile below.
fn request(table: &Reader<'_>) -> Result<Option<ListPath>, SettingsError> {
    let Some(request) = table.inner_unless_false("request")? else { return Ok(None) };
    let list = list_of_order(&request, "no place `{id}`: all orders would get the same refunds")?;
    match list.when().filter(|when| when.has_wildcard()) {
        Some(when) => Err(request.error("when", format!("`{when}`: one value says whether an order has refunds: leave `*` out"))),
        None => Ok(Some(list)),
    }
}

/// Where the refunds are: at a path of the record, or where those go that were asked for.
fn list(table: &Reader<'_>, request: Option<&ListPath>) -> Result<FieldPath, SettingsError> {
    match request {
        None => table.needed_path("list"),
        Some(_) if table.table().get("list").is_some() => {
            Err(table.error("list", "`request` brings the refunds: leave one of the two out, or write `request = false`"))
        }
        Some(_) => Ok(FieldPath::root().child(ASKED_REFUNDS)),
    }
}

fn lines(table: &Reader<'_>) -> Result<RefundLineRules, SettingsError> {
    table.only(&LINE_KEYS)?;
    let list = table.needed_path("list")?;
    if list.has_wildcard() {
        return Err(table.error("list", format!("`{list}`: the lines of a refund are one list, without `*`")));
    }
    let sku = field(table, "sku", FieldKind::Plain)?;
    let by_line = table.inner("by_line")?.map(|by_line| order_line_key(&by_line)).transpose()?;
    if sku.is_none() && by_line.is_none() {
        return Err(table.error("sku", "write `sku`, or `by_line` to find it among the lines of the order"));
    }
    Ok(RefundLineRules {
        list,
        sign: word(table, "sign", &SIGNS)?.unwrap_or_default(),
        sku,
        quantity: field(table, "quantity", FieldKind::Plain)?,
        amount: needed(table, "amount", FieldKind::Amount)?,
        by_line,
    })
}

fn order_line_key(table: &Reader<'_>) -> Result<OrderLineKey, SettingsError> {
    table.only(&BY_LINE_KEYS)?;
    Ok(OrderLineKey {
        id: needed(table, "id", FieldKind::Plain)?,
        line: needed(table, "line", FieldKind::Plain)?,
        among: keyed_list(table)?,
    })
}

/// `list` and `when` of `by_line`: which element of a list has the id.
fn keyed_list(table: &Reader<'_>) -> Result<Option<KeyedList>, SettingsError> {
    let (list, when) = (table.path("list")?, table.inner("when")?);
    match (list, when) {
        (None, None) => Ok(None),
        (Some(list), _) if list.has_wildcard() => Err(table.error("list", format!("`{list}`: one list has the id, without `*`"))),
        (Some(list), Some(when)) => Ok(Some(KeyedList { list, when: skip(&when)? })),
        (Some(_), None) => Err(table.error("when", "this key is needed here: it says which element of `list` has the id")),
        (None, Some(_)) => Err(table.error("when", "`when` belongs to `list`, which is missing")),
    }
}

/// The rule of a field, if it has one. Only amounts take every element of a list, which they add up.
fn field(table: &Reader<'_>, name: &str, kind: FieldKind) -> Result<Option<FieldRule>, SettingsError> {
    let Some(node) = table.table().get(name) else { return Ok(None) };
    let rule = rule(table, name, node, SourceKind::Orders, kind)?;
    if let Some(path) = rule.paths.iter().find(|path| path.has_wildcard()).filter(|_| kind != FieldKind::Amount) {
        return Err(table.error(name, format!("`{path}`: only amounts take every element of a list")));
    }
    verify_rule(table, name, &rule, kind)?;
    Ok(Some(rule))
}

fn needed(table: &Reader<'_>, name: &str, kind: FieldKind) -> Result<FieldRule, SettingsError> {
    field(table, name, kind)?.ok_or_else(|| table.error(name, "this key is needed here"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::orders_profile;

    fn refunds(keys: &str) -> Result<Option<RefundRules>, String> {
        orders_profile(&format!("[orders]\n{keys}")).map(|profile| profile.refunds).map_err(|error| error.to_string())
    }

    #[test]
    fn refunds_have_an_id_a_time_and_money() {
        assert_eq!(refunds("refunds = false"), Ok(None));
        let found = refunds(
            "refunds = { list = 'a.*.refunds', refund_id = 'id', created_at = 'at', amount = { path = 't.*.amount', scale = 2 }, skip = [{ path = 's', equals = 'failed' }], lines = { list = 'l', quantity = 'q', amount = 'sum', by_line = { id = 'line_id', line = 'id' } } }",
        );
        let found = found.unwrap().unwrap();
        assert_eq!((found.list.to_string().as_str(), found.skip.len(), found.currency), ("a.*.refunds", 1, None));
        let lines = found.lines.unwrap();
        assert_eq!((lines.sku, lines.by_line.unwrap().line.paths.len()), (None, 1));
    }

    #[test]
    fn refunds_may_come_by_a_request_with_lines_that_are_negative() {
        let keys = "refund_id = 'id', created_at = 'at', amount = 'a'";
        let found = refunds(&format!(
            "refunds = {{ request = {{ path = '/o/{{id}}/r', when = 'n' }}, {keys}, lines = {{ list = 'l', sign = 'negative', amount = 'a', by_line = {{ list = 'meta', when = {{ path = 'key', equals = 'k' }}, id = 'value', line = 'id' }} }} }}"
        ));
        let found = found.unwrap().unwrap();
        assert_eq!((found.list.to_string().as_str(), found.announced), (ASKED_REFUNDS, "n".parse().ok()));
        let lines = found.lines.unwrap();
        assert_eq!((lines.sign, lines.by_line.unwrap().among.unwrap().list.to_string().as_str()), (RefundSign::Negative, "meta"));
        // A list of one's own over a profile that asks for refunds.
        let found = refunds(&format!("refunds = {{ request = false, list = 'r', {keys} }}")).unwrap().unwrap();
        assert_eq!((found.list.to_string().as_str(), found.announced), ("r", None));
    }

    #[test]
    fn what_says_no_refund_is_refused() {
        let base = "list = 'r', refund_id = 'id', created_at = 'at'";
        for (keys, message) in [
            ("refunds = { refund_id = 'id' }".to_owned(), "`orders.refunds.list`: this key is needed here"),
            ("refunds = { list = '*.r' }".to_owned(), "`*.r`: write a path like"),
            (format!("refunds = {{ {base} }}"), "`orders.refunds.amount`: write an amount, or `lines`, or both"),
            ("refunds = { list = 'r', created_at = 'at', amount = 'a' }".to_owned(), "`orders.refunds.refund_id`: this key is needed here"),
            (format!("refunds = {{ {base}, amont = 'a' }}"), "did you mean `amount`?"),
            (format!("refunds = {{ {base}, amount = 'a', currency = 'c.*.d' }}"), "only amounts take every element of a list"),
            (format!("refunds = {{ {base}, lines = {{ list = 'l', amount = 'a' }} }}"), "write `sku`, or `by_line`"),
            (
                format!("refunds = {{ {base}, lines = {{ list = 'l', sku = 's' }} }}"),
                "`orders.refunds.lines.amount`: this key is needed here",
            ),
            (format!("refunds = {{ {base}, lines = {{ list = 'l.*.m', sku = 's', amount = 'a' }} }}"), "one list, without `*`"),
            ("refunds = true".to_owned(), "write a table, not a boolean"),
            (format!("refunds = {{ {base}, request = {{ path = '/o/{{id}}' }}, amount = 'a' }}"), "`request` brings the refunds"),
            ("refunds = { request = { path = '/o' } }".to_owned(), "all orders would get the same refunds"),
            ("refunds = { request = { path = '/o/{id}', pth = 'x' } }".to_owned(), "did you mean `path`?"),
            ("refunds = { request = { path = '/o/{id}', when = 'a.*.b' } }".to_owned(), "one value says whether an order has refunds"),
            (
                format!("refunds = {{ {base}, lines = {{ list = 'l', sku = 's', sign = 'minus' }} }}"),
                "`orders.refunds.lines.sign`: `minus`: write",
            ),
            (
                format!(
                    "refunds = {{ {base}, lines = {{ list = 'l', amount = 'a', by_line = {{ list = 'm', id = 'v', line = 'id' }} }} }}"
                ),
                "it says which element of `list` has the id",
            ),
            (
                format!(
                    "refunds = {{ {base}, lines = {{ list = 'l', amount = 'a', by_line = {{ when = {{ path = 'k' }}, id = 'v', line = 'id' }} }} }}"
                ),
                "`when` belongs to `list`, which is missing",
            ),
        ] {
            let found = refunds(&keys);
            assert!(found.as_ref().is_err_and(|error| error.contains(message)), "{keys}: {found:?}");
        }
    }
}
