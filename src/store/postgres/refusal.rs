//! What PostgreSQL's refusals mean for a caller, in words that carry no statement, no password and nothing of what a user
//! wrote. The server's own texts are not passed on: they quote values.

use std::io;

use sqlx::migrate::MigrateError;

use crate::store::StoreError;

// SQLSTATEs, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const READ_ONLY: &str = "25006";
const UNIQUE: &str = "23505";
const FOREIGN_KEY: &str = "23503";
const SERIALIZATION: &str = "40001";
const DEADLOCK: &str = "40P01";
const NO_DATABASE: &str = "3D000";
const NO_PRIVILEGE: &str = "42501";
const NO_TABLE: &str = "42P01";
const DISK_FULL: &str = "53100";
const OUT_OF_MEMORY: &str = "53200";
const TOO_MANY_CONNECTIONS: &str = "53300";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const CANCELED: &str = "57014";
const SHUTTING_DOWN: &str = "57P01";
const CRASHED: &str = "57P02";
const STARTING: &str = "57P03";

/// The error as a caller sees it.
pub(super) fn refused(error: &sqlx::Error) -> StoreError {
    let unavailable = |text: &str| StoreError::Unavailable(text.into());
    let broken = |text: &str| StoreError::Broken(text.into());
    match error {
        sqlx::Error::Database(_) => by_state(&state(error).unwrap_or_default()),
        sqlx::Error::Io(error) => StoreError::Unavailable(io_text(error)),
        sqlx::Error::Tls(error) => StoreError::Unavailable(format!("no TLS to the server: {error}; see sslmode")),
        sqlx::Error::Configuration(_) => broken("the address cannot be used; see its certificates and parameters"),
        _ if is_silent_close(error) => unavailable("the connection was lost"),
        sqlx::Error::Protocol(text) => {
            tracing::debug!(text, "not the protocol of PostgreSQL");
            unavailable("what answers is not a PostgreSQL server that this hub understands")
        }
        sqlx::Error::ColumnDecode { index, .. } => StoreError::Broken(format!("column {index} cannot be read")),
        _ => broken("an unexpected answer"),
    }
}

fn by_state(state: &str) -> StoreError {
    let unavailable = |text: &str| StoreError::Unavailable(format!("{text} (SQLSTATE {state})"));
    match state {
        READ_ONLY => unavailable("the server only reads: it is a standby, or was set so"),
        SERIALIZATION | DEADLOCK => unavailable("others were writing the same for too long"),
        NO_DATABASE => unavailable("there is no such database; make it with createdb"),
        NO_PRIVILEGE => unavailable("the user may not do that; it needs to own the database, or rights on its tables"),
        NO_TABLE => unavailable("a table is missing; run hubbub migrate"),
        DISK_FULL => unavailable("the server's disk is full"),
        OUT_OF_MEMORY => unavailable("the server is out of memory"),
        TOO_MANY_CONNECTIONS => {
            unavailable("the server has no connection left; raise its max_connections or lower DATABASE_POOL_SIZE")
        }
        LOCK_NOT_AVAILABLE | CANCELED => unavailable("the statement took too long"),
        SHUTTING_DOWN | CRASHED => unavailable("the server is shutting down"),
        STARTING => unavailable("the server is starting up"),
        _ => match state.get(..2).unwrap_or_default() {
            "08" => unavailable("the connection was lost"),
            "28" => unavailable("the server refused user or password, or this host (pg_hba.conf)"),
            "22" | "23" | "54" | "42" | "0A" | "21" => StoreError::Broken(format!("SQLSTATE {state}")),
            "XX" => StoreError::Broken(format!("the server failed inside (SQLSTATE {state})")),
            _ => unavailable("the server cannot do it now"),
        },
    }
}

fn io_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => "nobody listens at this address".into(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the connection was lost".into()
        }
        // How the TLS library says that a handshake failed.
        io::ErrorKind::InvalidData => format!("no TLS to the server: {error}; see sslmode and sslrootcert"),
        _ if error.to_string().starts_with("failed to lookup address") => "its host name cannot be resolved".into(),
        kind => kind.to_string(),
    }
}

/// Rolled back because of what others wrote in the same moment: the same again may well succeed.
pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
    state(error).is_some_and(|state| matches!(&*state, UNIQUE | FOREIGN_KEY | SERIALIZATION | DEADLOCK))
}

/// The server said it in full, and the connection is as good as before.
pub(super) fn leaves_connection_usable(error: &sqlx::Error) -> bool {
    is_conflict(error) || state(error).is_some_and(|state| matches!(state.get(..2), Some("22" | "23" | "54")))
}

/// The connection is gone, whatever became of the statement.
pub(super) fn is_lost_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        _ if is_silent_close(error) => true,
        _ => state(error).is_some_and(|state| {
            matches!(&*state, SHUTTING_DOWN | CRASHED | STARTING | READ_ONLY) || state.starts_with("08")
        }),
    }
}

/// The server is about to take connections.
pub(super) fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        // The last two, and a silent close, are what comes from a proxy before it.
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NotFound
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
        ),
        _ if is_silent_close(error) => true,
        _ => state(error).is_some_and(|state| matches!(&*state, STARTING | SHUTTING_DOWN | TOO_MANY_CONNECTIONS)),
    }
}

/// A connection that ended before the answer about TLS, as from a proxy with no server behind it: sqlx does not look at how
/// many bytes it has read, and takes the end for an answer of one zero byte. (Its text goes on with a place in its source.)
fn is_silent_close(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Protocol(text) if text.contains("response from SSLRequest: 0x00"))
}

/// The server will not have a connection of this kind: with TLS, or without.
pub(super) fn is_refused_kind(error: &sqlx::Error) -> bool {
    state(error).is_some_and(|state| state == "28000")
}

/// The error of a migration as a caller sees it.
pub(super) fn migration_refused(error: &MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => refused(error),
        MigrateError::VersionMissing(version) => StoreError::Broken(format!(
            "its schema has migration {version}, which this version of hubbub does not know"
        )),
        MigrateError::VersionMismatch(version) => {
            StoreError::Broken(format!("migration {version} was applied in another form than this version's"))
        }
        MigrateError::Dirty(version) => StoreError::Broken(format!("migration {version} was left half applied")),
        _ => StoreError::Broken("its schema cannot be brought up to date".into()),
    }
}

fn state(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What sqlx says of a server that reads what a client says first and answers so.
    async fn error_of(answer: &'static [u8]) -> sqlx::Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            client.read_exact(&mut request).await.unwrap();
            client.write_all(answer).await.unwrap();
        };
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port).username("u").database("d");
        let (connected, ()) = tokio::join!(options.connect(), server);
        connected.err().unwrap()
    }

    #[tokio::test]
    async fn an_end_without_a_word_is_a_lost_connection_and_another_protocol_is_not() {
        let silent = error_of(b"").await;
        assert!(is_starting(&silent) && is_lost_connection(&silent), "{silent}");
        let http = error_of(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(!is_starting(&http) && !is_lost_connection(&http), "{http}");
    }
}
