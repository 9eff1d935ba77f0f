//! A session in the warehouse, over PostgreSQL's wire protocol, encrypted: statements, queries, time-outs, and what is known of
//! the outcome when it ends early. Knows no table.

use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::{runtime::Runtime, time::timeout};
use tokio_postgres::{Client, Config, NoTls, SimpleColumn, SimpleQueryMessage, config::SslMode, error::DbError};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{RedshiftError, connection, password};
use crate::{
    cancel::{Cancel, Stop},
    net::{error_chain::chain, tls},
    settings::{NetworkSettings, RedshiftSettings},
};

/// How much of a statement a message shows, in characters.
const SHOWN: usize = 200;

/// How much longer than the server this side waits for a statement that takes too long.
const GRACE: Duration = Duration::from_secs(30);

/// How long a request to cancel a statement may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// The statement that decides a transaction.
const COMMIT: &str = "COMMIT";

/// SQLSTATE of a statement that was cancelled, also by its time-out.
const QUERY_CANCELED: &str = "57014";

/// The name of a column, and its text in a row. `None` is NULL.
pub type NamedText = (String, Option<String>);

/// An open session.
pub struct Session<'c> {
    runtime: Runtime,
    client: Client,
    /// How requests to cancel are encrypted; `None`: not at all.
    tls: Option<ClientConfig>,
    statement_timeout: Duration,
    cancel: &'c Cancel,
}

impl<'c> Session<'c> {
    /// Opens a session. The connection is encrypted, and the server's certificate and name are verified by the authorities of the
    /// platform and of `http.ca_file`, unless the URL says `sslmode=disable`.
    ///
    /// # Errors
    /// Something is not configured, the warehouse is not reached in time, or a signal comes.
    pub fn open(settings: &RedshiftSettings, network: &NetworkSettings, cancel: &'c Cancel) -> Result<Session<'c>, RedshiftError> {
        let text = settings.connection.as_ref().ok_or(RedshiftError::NoConnection)?;
        let mut config = connection::config(text.expose(), settings.connect_timeout)?;
        if let Some(command) = &settings.password_command {
            let login = password::login(command.expose(), cancel)?;
            config.password(login.password.expose());
            if let Some(user) = login.user {
                config.user(user);
            }
        }
        let unreachable = |error: &dyn std::error::Error| RedshiftError::Unreachable(chain(error));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| unreachable(&error))?;
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls::client_config(network).map_err(|error| unreachable(&error))?),
        };
        let limit = config.get_connect_timeout().copied().unwrap_or(settings.connect_timeout);
        let client = runtime.block_on(async {
            tokio::select! {
                opened = timeout(limit, connect(&config, tls.clone())) => opened.unwrap_or(Err(RedshiftError::ConnectTimeout(limit))),
                stop = stopped(cancel) => Err(RedshiftError::Interrupted(stop)),
            }
        })?;
        let session = Session { runtime, client, tls, statement_timeout: settings.statement_timeout, cancel };
        session.run(&format!("SET statement_timeout TO {}", settings.statement_timeout.as_millis()))?;
        Ok(session)
    }

    /// Runs the statements one after the other. One that fails ends the transaction, and the server takes it back.
    ///
    /// # Errors
    /// What the warehouse refuses, a time-out, a broken connection, or a signal. A signal does not interrupt a COMMIT.
    pub fn execute(&self, statements: &[String]) -> Result<(), RedshiftError> {
        for statement in statements {
            let began = Instant::now();
            self.run(statement)?;
            tracing::info!(seconds = began.elapsed().as_secs_f64(), "{}", beginning(statement));
        }
        Ok(())
    }

    /// The rows of a query, as texts.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, RedshiftError> {
        let cells = |message: SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|place| row.get(place).map(str::to_owned)).collect()),
            _ => None,
        };
        Ok(self.run(sql)?.into_iter().filter_map(cells).collect())
    }

    /// The rows of a query, each column with its name.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub fn query_named(&self, sql: &str) -> Result<Vec<Vec<NamedText>>, RedshiftError> {
        let cells = |message: SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                let named = |(place, column): (usize, &SimpleColumn)| (column.name().to_owned(), row.get(place).map(str::to_owned));
                Some(row.columns().iter().enumerate().map(named).collect())
            }
            _ => None,
        };
        Ok(self.run(sql)?.into_iter().filter_map(cells).collect())
    }

    fn run(&self, statement: &str) -> Result<Vec<SimpleQueryMessage>, RedshiftError> {
        if let Some(stop) = self.cancel.stopped() {
            return Err(RedshiftError::Interrupted(stop));
        }
        self.runtime.block_on(async {
            let answer = timeout(self.statement_timeout + GRACE, self.client.simple_query(statement));
            if statement == COMMIT {
                return self.committed(answer.await);
            }
            tokio::select! {
                answer = answer => match answer {
                    Ok(answer) => answer.map_err(|error| self.failed(&error, statement)),
                    Err(_) => {
                        self.cancel_statement().await;
                        Err(self.timed_out(statement))
                    }
                },
                stop = stopped(self.cancel) => {
                    self.cancel_statement().await;
                    Err(RedshiftError::Interrupted(stop))
                }
            }
        })
    }

    /// What is known after a COMMIT: a server that answers has decided; one that does not may have.
    fn committed(
        &self,
        answer: Result<Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>, tokio::time::error::Elapsed>,
    ) -> Result<Vec<SimpleQueryMessage>, RedshiftError> {
        match answer {
            Ok(Ok(messages)) => Ok(messages),
            Ok(Err(error)) if error.as_db_error().is_some_and(|error| !ends_session(error)) => Err(self.failed(&error, COMMIT)),
            Ok(Err(error)) => Err(RedshiftError::CommitUnknown(chain(&error))),
            Err(_) => Err(RedshiftError::CommitUnknown("the server did not answer in time".to_owned())),
        }
    }

    fn timed_out(&self, statement: &str) -> RedshiftError {
        RedshiftError::StatementTimeout { after: self.statement_timeout, statement: beginning(statement) }
    }

    fn failed(&self, error: &tokio_postgres::Error, statement: &str) -> RedshiftError {
        let statement = beginning(statement);
        match error.as_db_error() {
            None => RedshiftError::Broken { detail: chain(error), statement },
            Some(refused) if refused.code().code() == QUERY_CANCELED && refused.message().contains("timeout") => self.timed_out(&statement),
            Some(refused) if ends_session(refused) => RedshiftError::Broken { detail: refused.message().to_owned(), statement },
            Some(refused) => RedshiftError::Refused { detail: words(refused), statement },
        }
    }

    /// Asks the server to end the statement that is running. The transaction ends with the session, whatever comes of it.
    async fn cancel_statement(&self) {
        let token = self.client.cancel_token();
        let request = async {
            match &self.tls {
                Some(tls) => token.cancel_query(MakeRustlsConnect::new(tls.clone())).await,
                None => token.cancel_query(NoTls).await,
            }
        };
        match timeout(CANCEL_TIMEOUT, request).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %chain(&error), "the warehouse was not asked to cancel the statement"),
            Err(_) => tracing::debug!("the warehouse did not take the request to cancel the statement in time"),
        }
    }
}

async fn connect(config: &Config, tls: Option<ClientConfig>) -> Result<Client, RedshiftError> {
    let unreachable = |error: tokio_postgres::Error| RedshiftError::Unreachable(chain(&error));
    match tls {
        None => {
            let (client, connection) = config.connect(NoTls).await.map_err(unreachable)?;
            tokio::spawn(connection);
            Ok(client)
        }
        Some(tls) => {
            let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await.map_err(unreachable)?;
            tokio::spawn(connection);
            Ok(client)
        }
    }
}

/// Waits for a signal.
async fn stopped(cancel: &Cancel) -> Stop {
    cancel.wait().await;
    cancel.stopped().unwrap_or(Stop::Interrupt)
}

/// Whether the server ends the session with this error.
fn ends_session(error: &DbError) -> bool {
    matches!(error.severity(), "FATAL" | "PANIC") || error.code().code().starts_with("08")
}

/// What the server says, with its detail.
fn words(error: &DbError) -> String {
    error.detail().map_or_else(|| error.message().to_owned(), |detail| format!("{} ({detail})", error.message()))
}

fn beginning(statement: &str) -> String {
    let one_line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = one_line.chars().take(SHOWN).collect();
    if shown.len() < one_line.len() { format!("{shown}…") } else { shown }
}
