//! The rows that the warehouse holds of one order, as text. Changes nothing there.

use super::{RedshiftError, Session, identifier, literal, session::NamedText};

/// Which rows of `fact_order`.
#[derive(Clone, Copy, Debug)]
pub struct OrderQuery<'a> {
    /// Those of this order.
    pub order_id: &'a str,
    /// Only the row of this sku.
    pub sku: Option<&'a str>,
}

impl OrderQuery<'_> {
    fn sql(&self, schema: Option<&str>) -> String {
        let table =
            schema.map_or_else(|| identifier("fact_order"), |schema| format!("{}.{}", identifier(schema), identifier("fact_order")));
        let (order_id, sku, created_at) = (identifier("order_id"), identifier("sku"), identifier("created_at"));
        let only = self.sku.map(|wanted| format!(" AND {sku} = {}", literal(wanted))).unwrap_or_default();
        format!("SELECT * FROM {table} WHERE {order_id} = {}{only} ORDER BY {created_at}, {sku}", literal(self.order_id))
    }
}

/// Reads the rows of an order: name and text of each column, in the order of the table. `None` is NULL.
///
/// # Errors
/// The warehouse refuses, or a signal comes.
pub fn look_up(session: &Session<'_>, schema: Option<&str>, query: &OrderQuery<'_>) -> Result<Vec<Vec<NamedText>>, RedshiftError> {
    session.query_named(&query.sql(schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_quoted() {
        let query = OrderQuery { order_id: "O'1", sku: Some("a") };
        assert_eq!(
            query.sql(Some("My Shop")),
            "SELECT * FROM \"My Shop\".\"fact_order\" WHERE \"order_id\" = 'O''1' AND \"sku\" = 'a' ORDER BY \"created_at\", \"sku\""
        );
    }
}
