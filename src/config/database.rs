//! `DATABASE_URL`: which database, and for PostgreSQL by which address, checked before anything connects.
//!
//! An address of PostgreSQL is taken as libpq takes it, with the parameters that managed providers hand out. What libpq
//! knows and this hub has no use for is dropped; what nobody knows is refused, since a misspelt `sslmode` must not turn
//! into a connection without TLS.

use std::path::{Path, PathBuf};

use url::Url;

use super::{DatabaseConfig, DatabaseLocation, Faults, PostgresAddress, Secret, Settings, TlsMode};

const FORMS: &str = "must be sqlite:PATH (as in sqlite:data/hubbub.db) or postgres://user:password@host:5432/database";

/// What the hub makes use of, and passes on.
const USED: [&str; 10] =
    ["application_name", "dbname", "host", "hostaddr", "options", "password", "port", "sslcert", "sslkey", "user"];
/// What is known and changes nothing here: the hub has its own times and pool, and prepared statements are its own affair.
const DROPPED: [&str; 17] = [
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "pgbouncer",
    "pool_timeout",
    "prepareThreshold",
    "sslcompression",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

pub(super) fn database(settings: &Settings, faults: &mut Faults) -> DatabaseConfig {
    let location = location(settings.database_url.trim()).unwrap_or_else(|fault| {
        faults.add("DATABASE_URL", fault);
        DatabaseLocation::Sqlite(PathBuf::new())
    });
    DatabaseConfig {
        location,
        busy_timeout: faults.millis("DATABASE_BUSY_TIMEOUT_MS", &settings.database_busy_timeout_ms, 1, 60_000),
        readers: faults.number("DATABASE_READERS", &settings.database_readers, 1, 64),
        pool_size: faults.number("DATABASE_POOL_SIZE", &settings.database_pool_size, 2, 1_000),
        connect_timeout: faults.millis(
            "DATABASE_CONNECT_TIMEOUT_MS",
            &settings.database_connect_timeout_ms,
            100,
            600_000,
        ),
        statement_timeout: faults.millis(
            "DATABASE_STATEMENT_TIMEOUT_MS",
            &settings.database_statement_timeout_ms,
            100,
            600_000,
        ),
    }
}

/// Says what is wrong with an address without repeating it: it may hold a password.
fn location(text: &str) -> Result<DatabaseLocation, String> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err("names no file; write sqlite:data/hubbub.db".into());
        }
        return Ok(DatabaseLocation::Sqlite(path.into()));
    }
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err(FORMS.into());
    }
    postgres(text).map(DatabaseLocation::Postgres)
}

fn postgres(text: &str) -> Result<PostgresAddress, String> {
    let parsed = Url::parse(text).ok().filter(|url| !url.host_str().is_some_and(|host| host.contains(',')));
    let mut url = parsed.ok_or(
        "is not an address of one server; write postgres://user:password@host:5432/database (percent-encode special \
         characters in the password)",
    )?;
    if url.fragment().is_some() {
        return Err("holds a `#`; percent-encode special characters in the password (# is %23)".into());
    }
    let (mut mode, mut root, mut kept) = (None, None, Vec::new());
    for (name, value) in url.query_pairs() {
        match &*name {
            "sslmode" => mode = Some(tls_mode(&value)?),
            "sslrootcert" => root = Some(value.into_owned()),
            "port" if value.parse::<u16>().is_err() => return Err("its parameter `port` is not a port".into()),
            name if USED.contains(&name) => kept.push((name.to_owned(), value.into_owned())),
            name if DROPPED.contains(&name) => {}
            name => return Err(format!("its parameter `{name}` is not known; see docs/configuration.md")),
        }
    }
    let (tls, root_cert) = verification(mode, root)?;
    let name = display_name(&url, &kept);
    if kept.is_empty() {
        url.set_query(None);
    } else {
        url.query_pairs_mut().clear().extend_pairs(kept);
    }
    Ok(PostgresAddress { url: Secret(url.into()), tls, root_cert, name })
}

fn tls_mode(text: &str) -> Result<TlsMode, String> {
    Ok(match text {
        "disable" => TlsMode::Disable,
        "allow" => TlsMode::Allow,
        "prefer" => TlsMode::Prefer,
        "require" => TlsMode::Require,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyFull,
        _ => {
            return Err("its `sslmode` is none of disable, allow, prefer, require, verify-ca and verify-full".into());
        }
    })
}

/// `sslrootcert=system` means the system's authorities and a full check; with a file, `require` checks the chain as well.
fn verification(mode: Option<TlsMode>, root: Option<String>) -> Result<(Option<TlsMode>, Option<PathBuf>), String> {
    match (mode, root.as_deref()) {
        (mode, None) => Ok((mode, None)),
        (None | Some(TlsMode::VerifyFull), Some("system")) => Ok((Some(TlsMode::VerifyFull), None)),
        (_, Some("system")) => Err("its `sslrootcert=system` needs `sslmode=verify-full`".into()),
        (mode, Some(file)) => {
            std::fs::File::open(file)
                .map_err(|error| format!("its `sslrootcert` names {file}, which cannot be read: {}", error.kind()))?;
            let mode = if mode == Some(TlsMode::Require) { Some(TlsMode::VerifyCa) } else { mode };
            Ok((mode, Some(Path::new(file).into())))
        }
    }
}

/// Server and database for people, without user and password.
fn display_name(url: &Url, parameters: &[(String, String)]) -> String {
    let given = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let host = given("host").or(url.host_str().filter(|host| !host.is_empty())).unwrap_or("the default host");
    let port = given("port").and_then(|port| port.parse().ok()).or(url.port()).unwrap_or(5432);
    let database = given("dbname").or(Some(url.path().trim_start_matches('/'))).filter(|name| !name.is_empty());
    format!("PostgreSQL at {}:{port}, database {}", host.replace("%2F", "/"), database.unwrap_or("by default"))
}
