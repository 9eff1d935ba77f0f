//! Runs statements in the warehouse, over PostgreSQL's wire protocol, encrypted.

use std::time::Instant;

use tokio_postgres::{Client, Config, NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::RedshiftError;
use crate::{
    cancel::Cancel,
    net::{error_chain::chain, tls},
    settings::{NetworkSettings, Secret},
};

/// How much of a statement a message shows.
const SHOWN: usize = 200;

/// Runs the statements one after the other in one session. One that fails ends it, and the server takes its transaction back.
///
/// The connection is encrypted, and the server's certificate is verified by the platform's authorities and `http.ca_file`,
/// unless the URL says `sslmode=disable`.
///
/// # Errors
/// The warehouse is not reached, refuses, or a signal comes.
pub fn execute(
    connection: Option<&Secret>,
    network: &NetworkSettings,
    statements: &[String],
    cancel: &Cancel,
) -> Result<(), RedshiftError> {
    let connection = connection.ok_or(RedshiftError::NoConnection)?;
    let config: Config = connection.expose().parse().map_err(|_| RedshiftError::Connection)?;
    let unreachable = |error: &dyn std::error::Error| RedshiftError::Unreachable(chain(error));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| unreachable(&error))?;
    runtime.block_on(async {
        tokio::select! {
            ended = in_session(config, network, statements) => ended,
            // The session goes with its connection, and its transaction with the session.
            () = cancel.wait() => Err(RedshiftError::Interrupted),
        }
    })
}

async fn in_session(mut config: Config, network: &NetworkSettings, statements: &[String]) -> Result<(), RedshiftError> {
    let unreachable = |error: &dyn std::error::Error| RedshiftError::Unreachable(chain(error));
    config.application_name("etl");
    let client = if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await.map_err(|error| unreachable(&error))?;
        tokio::spawn(connection);
        client
    } else {
        config.ssl_mode(SslMode::Require);
        let tls = tls::client_config(network).map_err(|error| unreachable(&error))?;
        let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await.map_err(|error| unreachable(&error))?;
        tokio::spawn(connection);
        client
    };
    for statement in statements {
        run(&client, statement).await?;
    }
    Ok(())
}

async fn run(client: &Client, statement: &str) -> Result<(), RedshiftError> {
    let began = Instant::now();
    client.batch_execute(statement).await.map_err(|error| RedshiftError::Refused {
        detail: error.as_db_error().map_or_else(|| chain(&error), |error| error.message().to_owned()),
        statement: beginning(statement),
    })?;
    tracing::info!(seconds = began.elapsed().as_secs_f64(), "{}", beginning(statement));
    Ok(())
}

fn beginning(statement: &str) -> String {
    let one_line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = one_line.chars().take(SHOWN).collect();
    if shown.len() < one_line.len() { format!("{shown}…") } else { shown }
}
