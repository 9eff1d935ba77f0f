//! The rows that the warehouse holds of one order, as text. Changes nothing there.

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{RedshiftError, identifier, literal};
use crate::{
    cancel::Cancel,
    net::{error_chain::chain, tls},
    settings::{NetworkSettings, RedshiftSettings},
};

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
        let table = schema.map_or_else(|| "fact_order".to_owned(), |schema| format!("{}.fact_order", identifier(schema)));
        let sku = self.sku.map(|sku| format!(" AND sku = {}", literal(sku))).unwrap_or_default();
        format!("SELECT * FROM {table} WHERE order_id = {}{sku} ORDER BY created_at, sku", literal(self.order_id))
    }
}

/// Reads the rows of an order: name and text of each column, in the order of the table. `None` is NULL.
///
/// # Errors
/// The warehouse is not reached, refuses, or a signal comes.
pub fn look_up(
    settings: &RedshiftSettings,
    network: &NetworkSettings,
    query: &OrderQuery<'_>,
    cancel: &Cancel,
) -> Result<Vec<Vec<(String, Option<String>)>>, RedshiftError> {
    let connection = settings.connection.as_ref().ok_or(RedshiftError::NoConnection)?;
    let config: Config = connection.expose().parse().map_err(|_| RedshiftError::Connection)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RedshiftError::Unreachable(chain(&error)))?;
    let sql = query.sql(settings.schema.as_deref());
    runtime.block_on(async {
        tokio::select! {
            rows = ask(config, network, &sql) => rows,
            () = cancel.wait() => Err(RedshiftError::Interrupted),
        }
    })
}

async fn ask(config: Config, network: &NetworkSettings, sql: &str) -> Result<Vec<Vec<(String, Option<String>)>>, RedshiftError> {
    let client = connect(config, network).await?;
    let messages = client.simple_query(sql).await.map_err(|error| RedshiftError::Refused {
        detail: error.as_db_error().map_or_else(|| chain(&error), |error| error.message().to_owned()),
        statement: sql.to_owned(),
    })?;
    let rows = messages.into_iter().filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None });
    Ok(rows.map(|row| texts(&row)).collect())
}

fn texts(row: &SimpleQueryRow) -> Vec<(String, Option<String>)> {
    row.columns().iter().enumerate().map(|(place, column)| (column.name().to_owned(), row.get(place).map(str::to_owned))).collect()
}

async fn connect(mut config: Config, network: &NetworkSettings) -> Result<Client, RedshiftError> {
    let unreachable = |error: &dyn std::error::Error| RedshiftError::Unreachable(chain(error));
    config.application_name("etl");
    if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await.map_err(|error| unreachable(&error))?;
        tokio::spawn(connection);
        return Ok(client);
    }
    config.ssl_mode(SslMode::Require);
    let tls = tls::client_config(network).map_err(|error| unreachable(&error))?;
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await.map_err(|error| unreachable(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_quoted() {
        let query = OrderQuery { order_id: "O'1", sku: Some("a") };
        assert_eq!(
            query.sql(Some("My Shop")),
            "SELECT * FROM \"My Shop\".fact_order WHERE order_id = 'O''1' AND sku = 'a' ORDER BY created_at, sku"
        );
    }
}
