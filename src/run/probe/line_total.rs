//! Whether quantity times price gives what a source says that a line costs. Where it does not, its own total is proposed as
//! `line_total`: discounts, taxes and rounded prices are in it. And whether what is taken for a price is such a total itself.
//!
//! Maps no record: it only compares values of the page.

use rust_decimal::Decimal;
use serde_json::Value;

use super::{
    Proposal,
    propose::{Document, at},
};
use crate::model::{FieldPath, counted, plain_name};

/// What the total of a line may be called, the likeliest first.
const NAMES: [&str; 14] = [
    "linetotal",
    "rowtotal",
    "totalprice",
    "total",
    "discountedtotal",
    "lineamount",
    "totalamount",
    "extendedprice",
    "linecost",
    "lineprice",
    "itemprice",
    "netamount",
    "amount",
    "subtotal",
];

/// The paths of a line's quantity and price. A line without a quantity has one piece.
#[derive(Clone, Copy)]
pub(super) struct PricedBy<'p> {
    pub(super) quantity: Option<&'p FieldPath>,
    pub(super) price: &'p FieldPath,
}

/// How often a total differs from quantity times price.
struct Candidate<'p> {
    path: &'p FieldPath,
    rank: usize,
    compared: usize,
    differing: usize,
}

/// The total of a line, where the page has one and quantity times price does not give it. `orders` are the lines by order.
pub(super) fn propose(orders: &[Vec<Value>], document: &Document<'_>, priced: &PricedBy<'_>) -> Option<Proposal> {
    let lines: Vec<&Value> = orders.iter().flatten().collect();
    let of_lines = document.paths().filter(|path| !is_of_order(orders, path));
    let candidates: Vec<_> = of_lines.filter_map(|path| candidate(&lines, priced, path)).collect();
    if candidates.iter().any(|candidate| candidate.differing == 0) {
        return None;
    }
    let best = candidates.iter().min_by_key(|candidate| (candidate.rank, candidate.differing))?;
    Some(Proposal {
        path: best.path.to_string(),
        because: format!("quantity times price gives another amount on {} of {}", best.differing, counted(best.compared as u64, "line")),
        more: None,
        others: Vec::new(),
    })
}

/// What a piece may be said to cost, where `price` is of the whole line.
const UNIT_PRICES: [&str; 7] = ["unitprice", "priceeach", "pieceprice", "singleprice", "priceperunit", "unitamount", "unitcost"];

/// The price of a piece, where the price that is taken is that of the whole line: quantity times another price gives it.
pub(super) fn unit_price(orders: &[Vec<Value>], document: &Document<'_>, priced: &PricedBy<'_>) -> Option<Proposal> {
    let lines: Vec<&Value> = orders.iter().flatten().collect();
    let gives_it = |path: &&FieldPath| {
        let by_piece = PricedBy { price: path, ..*priced };
        let pairs: Vec<_> = lines
            .iter()
            .filter_map(|line| Some((number(at(line, priced.price)?)?, number(at(line, path)?)?, product(line, &by_piece)?)))
            .collect();
        pairs.len() * 2 >= lines.len()
            && pairs.iter().all(|(price, _, product)| price == product)
            && pairs.iter().any(|(price, piece, _)| price != piece)
    };
    let is_named = |path: &&FieldPath| path.steps().last().is_some_and(|step| UNIT_PRICES.contains(&plain_name(step).as_str()));
    let path = document.paths().filter(|path| *path != priced.price).filter(is_named).find(gives_it)?;
    let because = format!("quantity times it gives `{}`, which is the total of a line", priced.price);
    Some(Proposal { path: path.to_string(), because, more: None, others: Vec::new() })
}

fn candidate<'p>(lines: &[&Value], priced: &PricedBy<'_>, path: &'p FieldPath) -> Option<Candidate<'p>> {
    let rank = NAMES.iter().position(|name| path.steps().last().is_some_and(|step| plain_name(step) == *name))?;
    if path == priced.price || priced.quantity == Some(path) {
        return None;
    }
    let pairs: Vec<_> = lines.iter().filter_map(|line| Some((number(at(line, path)?)?, product(line, priced)?))).collect();
    // A total of another unit, such as cents beside whole ones, is not compared with the price.
    let is_near = |(total, product): &(Decimal, Decimal)| {
        total.is_zero() || product.is_zero() || (*total <= product * Decimal::TEN && *total * Decimal::TEN >= *product)
    };
    if pairs.len() * 2 < lines.len() || pairs.is_empty() || !pairs.iter().all(is_near) {
        return None;
    }
    let differing = pairs.iter().filter(|(total, product)| total != product).count();
    Some(Candidate { path, rank, compared: pairs.len(), differing })
}

/// Whether a value is of the order, and not of its lines: all lines of an order have the same one, or only the first has any. So it
/// is in tables, where a row has the columns of its order too.
fn is_of_order(orders: &[Vec<Value>], path: &FieldPath) -> bool {
    let mut of_several = orders.iter().filter(|lines| lines.len() > 1).peekable();
    let differs = |lines: &Vec<Value>| {
        let mut values: Vec<_> = lines.iter().filter_map(|line| number(at(line, path)?)).collect();
        values.dedup();
        values.len() > 1
    };
    of_several.peek().is_some() && !of_several.any(differs)
}

fn product(line: &Value, priced: &PricedBy<'_>) -> Option<Decimal> {
    let quantity = match priced.quantity.and_then(|path| at(line, path)) {
        Some(value) => number(value)?,
        None => Decimal::ONE,
    };
    quantity.checked_mul(number(at(line, priced.price)?)?)
}

fn number(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    text.parse()
        .or_else(|_| Decimal::from_scientific(&text))
        .ok()
        .filter(|number| !number.is_sign_negative() && *number < Decimal::from(1_u64 << 50))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proposed(lines: &[Value]) -> Option<(String, String)> {
        let quantity = "quantity".parse().unwrap();
        let price = "price".parse().unwrap();
        let orders = [lines.to_vec()];
        let proposal = propose(&orders, &Document::of(lines), &PricedBy { quantity: Some(&quantity), price: &price })?;
        Some((proposal.path, proposal.because))
    }

    #[test]
    fn a_total_that_quantity_times_price_does_not_give_is_proposed() {
        let rounded = [json!({"quantity": 3, "price": 3.3333, "total": "10.00"}), json!({"quantity": 1, "price": 5, "total": "5"})];
        let because = "quantity times price gives another amount on 1 of 2 lines";
        assert_eq!(proposed(&rounded), Some(("total".into(), because.into())));
        let nested = [json!({"price": "5", "money": {"row_total": "4.50"}, "amount": 4})];
        assert_eq!(proposed(&nested).map(|(path, _)| path), Some("money.row_total".into()));
    }

    #[test]
    fn a_price_of_the_whole_line_is_told_from_that_of_a_piece() {
        let unit = |line: Value| {
            let (quantity, price) = ("quantity".parse().unwrap(), "price".parse().unwrap());
            let orders = [vec![line]];
            let document = Document::of(&orders[0]);
            unit_price(&orders, &document, &PricedBy { quantity: Some(&quantity), price: &price }).map(|proposal| proposal.path)
        };
        assert_eq!(unit(json!({"price": 20, "unit_price": "10.0", "quantity": 2})).as_deref(), Some("unit_price"));
        assert_eq!(unit(json!({"price": 10, "unit_price": 10, "quantity": 1})), None, "nothing tells them apart");
        assert_eq!(unit(json!({"price": 10, "unit_price": 9, "quantity": 2})), None);
    }

    #[test]
    fn the_total_of_an_order_is_no_total_of_a_line() {
        let row = |quantity: u32, total: &str| json!({"quantity": quantity, "price": 10, "total": total});
        assert_eq!(proposed(&[row(1, "30"), row(2, "30")]), None);
        assert_eq!(proposed(&[row(1, "30"), row(2, "")]), None);
        assert!(proposed(&[row(1, "9"), row(2, "18")]).is_some());
    }

    #[test]
    fn a_total_that_it_gives_or_in_another_unit_is_not() {
        let given = [json!({"quantity": 2, "price": "1.50", "total": 3.0, "discountedTotal": "2.50"})];
        assert_eq!(proposed(&given), None);
        assert_eq!(proposed(&[json!({"quantity": 2, "price": "1.50", "total": 310})]), None);
        assert_eq!(proposed(&[json!({"quantity": 2, "price": "1.50", "total": "free"}), json!({"price": 1})]), None);
        assert_eq!(proposed(&[json!({"quantity": "99999999999999999999999999999", "price": 9e30, "total": 1e308})]), None);
    }
}
