//! Making a connection: TLS as libpq's `sslmode` has it, and the settings that the hub relies on, whatever the server's
//! defaults are.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::refusal::{is_refused_kind, is_starting, refused};
use crate::{
    config::{PostgresAddress, TlsMode},
    store::StoreError,
};

/// How the hub's connections are named in `pg_stat_activity`.
const APPLICATION_NAME: &str = "hubbub";
/// How long to wait before a server that is coming up is asked again.
const STARTING_RETRY: Duration = Duration::from_millis(200);

/// A server, and how connections to it are made.
pub(super) struct Server {
    name: String,
    /// The first kind of connection, and the second for a server that refuses the first.
    kinds: Vec<PgConnectOptions>,
    session: String,
}

impl Server {
    pub(super) fn new(address: &PostgresAddress, statement_timeout: Duration) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(address.url.expose())
            .map_err(|_| StoreError::Broken("the address cannot be used".into()))?
            // What a pooler between hub and server would refuse.
            .extra_float_digits(None)
            .disable_statement_logging();
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name(APPLICATION_NAME),
        };
        let options = match &address.root_cert {
            Some(file) => options.ssl_root_cert(file),
            None => options,
        };
        // Over a unix socket there is no TLS, whatever was asked for.
        let local = options.get_socket().is_some() || options.get_host().starts_with('/');
        let modes = match address.tls {
            _ if local => vec![PgSslMode::Disable],
            Some(mode) => modes(mode),
            None => modes(TlsMode::Prefer),
        };
        let kinds = modes.into_iter().map(|mode| options.clone().ssl_mode(mode)).collect();
        Ok(Self { name: address.name.clone(), kinds, session: session(statement_timeout) })
    }

    /// The error with the server's name in it, for whoever starts the hub.
    pub(super) fn named(&self, error: StoreError) -> StoreError {
        let name = &self.name;
        match error {
            StoreError::Unavailable(text) => StoreError::Unavailable(format!("{name}: {text}")),
            StoreError::Broken(text) => StoreError::Broken(format!("{name}: {text}")),
            StoreError::NoRoom => StoreError::NoRoom,
        }
    }

    /// A connection that is ready for use.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.connect_raw().await?;
        sqlx::raw_sql(AssertSqlSafe(self.session.clone())).execute(&mut connection).await?;
        Ok(connection)
    }

    async fn connect_raw(&self) -> Result<PgConnection, sqlx::Error> {
        let mut outcome = Err(sqlx::Error::PoolClosed);
        for kind in &self.kinds {
            outcome = kind.connect().await;
            if !outcome.as_ref().is_err_and(is_refused_kind) {
                break;
            }
        }
        outcome
    }

    /// The first connection, made within `patience`; meanwhile a server that is not there yet may come up.
    pub(super) async fn connect_first(&self, patience: Duration) -> Result<PgConnection, StoreError> {
        let deadline = Instant::now() + patience;
        loop {
            let Ok(outcome) = timeout_at(deadline, self.connect()).await else {
                let text = format!("no answer within {} ms (DATABASE_CONNECT_TIMEOUT_MS)", patience.as_millis());
                return Err(self.named(StoreError::Unavailable(text)));
            };
            match outcome {
                Ok(connection) => return Ok(connection),
                Err(error) if is_starting(&error) && Instant::now() + STARTING_RETRY < deadline => {
                    tracing::debug!(error = %refused(&error), "waiting for the database");
                    sleep(STARTING_RETRY).await;
                }
                Err(error) => return Err(self.named(refused(&error))),
            }
        }
    }
}

/// What is tried, in this order. sqlx has no `allow`, and its `prefer` does not go on without TLS where the server wants none.
fn modes(mode: TlsMode) -> Vec<PgSslMode> {
    match mode {
        TlsMode::Disable => vec![PgSslMode::Disable],
        TlsMode::Allow => vec![PgSslMode::Disable, PgSslMode::Require],
        TlsMode::Prefer => vec![PgSslMode::Prefer, PgSslMode::Disable],
        TlsMode::Require => vec![PgSslMode::Require],
        TlsMode::VerifyCa => vec![PgSslMode::VerifyCa],
        TlsMode::VerifyFull => vec![PgSslMode::VerifyFull],
    }
}

/// Settings of every connection:
/// - an acknowledged message is on the server's disk, also where the server's default is to answer before;
/// - a statement that waits for a row's lock sees the row as it is then (`append` and others count on it);
/// - the server gives up a statement when the hub does, and lets go of its locks;
/// - each statement has its index: a plan that was made while a table was small must not go through it when it has grown.
fn session(statement_timeout: Duration) -> String {
    let millis = statement_timeout.as_millis();
    format!(
        "SET client_min_messages = warning; SET default_transaction_isolation = 'read committed'; \
         SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}; \
         SET jit = off; SET enable_seqscan = off; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
}

/// Refuses a database that cannot hold every text, and warns of a server that may lose what it acknowledged.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    let settings = "SELECT current_setting('server_encoding'), current_setting('fsync'), \
                    current_setting('server_version_num')::int";
    let row = sqlx::query(settings).fetch_one(connection).await.map_err(|error| refused(&error))?;
    let text = |at: usize| row.try_get::<String, _>(at).map_err(|error| refused(&error));
    if text(0)? != "UTF8" {
        return Err(StoreError::Broken(format!(
            "its encoding is {} and must be UTF8: make another one with createdb --encoding=UTF8 --template=template0",
            text(0)?
        )));
    }
    if row.try_get::<i32, _>(2).map_err(|error| refused(&error))? < VERSION_MIN {
        return Err(StoreError::Broken("PostgreSQL 12 or later is needed".into()));
    }
    if text(1)? == "off" {
        tracing::warn!("the database server runs with fsync=off: if its machine fails, acknowledged messages are lost");
    }
    Ok(())
}

/// The oldest version that is not long out of support and has all that is used here.
const VERSION_MIN: i32 = 12_00_00;
