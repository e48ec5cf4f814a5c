//! The only reader of the environment: settings in, a checked [`Config`] out.
//!
//! `main` parses [`Settings`] (flags, environment, `.env`), [`Config::from_settings`] checks them all and either answers
//! with a struct per module or with every fault at once, each naming its variable and the remedy.

mod cache;
mod check;
mod database;
mod identity;
mod redis;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

pub use cache::{CacheConfig, CacheLifetimes};
pub use redis::{RedisAddress, RedisConfig, RedisForm, RedisHost, RedisTrust};
pub use settings::Settings;

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

/// The checked settings, a struct per module.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the hub listens.
    pub listen: ListenConfig,
    /// Who may.
    pub access: AccessConfig,
    /// Cookie sessions and one-time secrets.
    pub sessions: SessionsConfig,
    /// How requests are limited, on all instances together.
    pub rate_limits: RateLimits,
    /// How mail is sent; `None` when it is not.
    pub mail: Option<MailConfig>,
    /// Where messages are kept.
    pub database: DatabaseConfig,
    /// How instances reach each other; `None` for a single instance.
    pub redis: Option<RedisConfig>,
    /// What is kept of what was read.
    pub cache: CacheConfig,
    /// Beats, ticks and times of rooms.
    pub room: RoomConfig,
    /// What one connection may take and do.
    pub limits: LimitsConfig,
    /// Who may see the figures.
    pub metrics: MetricsAccess,
    /// From SIGTERM to exit.
    pub drain_timeout: Duration,
}

impl Config {
    /// Every secret, to be looked for in what somebody else wrote before it is shown.
    pub fn secrets(&self) -> Vec<String> {
        let redis = self.redis.iter().flat_map(|redis| {
            let at_sentinels = match &redis.address.form {
                RedisForm::Sentinel { password, .. } => password.as_ref(),
                _ => None,
            };
            redis.address.password.iter().chain(at_sentinels)
        });
        let metrics = match &self.metrics {
            MetricsAccess::Token(token) => Some(token),
            MetricsAccess::Open | MetricsAccess::Closed => None,
        };
        let single = redis.chain(&self.access.jwt_secret).chain(metrics).map(|secret| secret.expose().to_owned());
        let database = match &self.database.location {
            DatabaseLocation::Postgres(address) => address.passwords(),
            DatabaseLocation::Sqlite(_) => Vec::new(),
        };
        single.chain(database).collect()
    }
}

/// Where the hub listens.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// Address to bind.
    pub host: IpAddr,
    /// Port to bind, 0 for a free one.
    pub port: u16,
    /// Worker threads.
    pub workers: usize,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// Who may.
#[derive(Clone)]
pub struct AccessConfig {
    /// People may join by name alone.
    pub allow_guests: bool,
    /// Key of HS256 tokens.
    pub jwt_secret: Option<Secret>,
    /// Key of the operator's routes.
    pub admin_token: Option<Secret>,
    /// Web origins besides the hub's own.
    pub allowed_origins: AllowedOrigins,
}

impl fmt::Debug for AccessConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessConfig")
            .field("allow_guests", &self.allow_guests)
            .field("jwt_secret", &self.jwt_secret)
            .field("admin_token", &self.admin_token)
            .field("allowed_origins", &self.allowed_origins)
            .finish()
    }
}

/// Web origins besides the hub's own that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// `*`.
    Any,
    /// `scheme://host[:port]`, lower case, no trailing slash.
    Listed(Vec<String>),
}

/// A value that no log, error or debug print shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A value to be kept secret from now on.
    pub fn of(value: String) -> Self {
        Self(value)
    }

    /// The value, for the library that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Who may see the figures of `GET /metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Whoever reaches the hub: it listens on a loopback address.
    Open,
    /// Nobody: it can be reached from outside, and no token is set.
    Closed,
    /// Who shows this token.
    Token(Secret),
}

/// Cookie sessions and one-time secrets.
#[derive(Debug, Clone)]
pub struct SessionsConfig {
    /// What keys are derived from; `None` for random ones.
    pub secret: Option<Secret>,
    /// How long a session lasts after its last use.
    pub ttl: Duration,
    /// When the cookie is for TLS alone.
    pub cookie_secure: CookieSecure,
}

/// When a session cookie is marked `Secure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieSecure {
    /// When a trusted proxy says that the request came over TLS.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How requests are limited; `None` for no limit.
#[derive(Debug, Clone, Copy)]
pub struct RateLimits {
    /// Of one address to the API.
    pub api: Option<RateLimit>,
    /// Of one address, logins with a code; of one address and one e-mail address, requests for a code.
    pub login: Option<RateLimit>,
    /// Of one user to the API.
    pub user: Option<RateLimit>,
}

/// So many in a time; all of them may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many, at least 1.
    pub count: u32,
    /// In which time.
    pub window: Duration,
}

/// How mail is sent.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// Address of the mail server, with credentials.
    pub url: Secret,
    /// The sender.
    pub from: String,
}

/// Where messages are kept.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Which database.
    pub location: DatabaseLocation,
    /// SQLite: how long a write waits for another process.
    pub busy_timeout: Duration,
    /// SQLite: connections for reading.
    pub readers: u32,
    /// PostgreSQL: connections at most.
    pub pool_size: usize,
    /// PostgreSQL: how long a connection may take to be made; at the start also how long the server may take to come up.
    pub connect_timeout: Duration,
    /// PostgreSQL: how long a call may take, with all it waits for.
    pub statement_timeout: Duration,
}

/// Which database.
#[derive(Debug, Clone)]
pub enum DatabaseLocation {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(PostgresAddress),
}

impl fmt::Display for DatabaseLocation {
    /// For people; no user, no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(address) => f.write_str(&address.name),
        }
    }
}

/// A PostgreSQL server and the database on it.
#[derive(Debug, Clone)]
pub struct PostgresAddress {
    /// The address with user and password, without what is said about TLS.
    pub url: Secret,
    /// TLS, if anything is said about it.
    pub tls: Option<TlsMode>,
    /// Certificates of the authorities that the server's certificate may come from, in PEM.
    pub root_cert: Option<PathBuf>,
    /// Server and database for people, without user and password.
    pub name: String,
}

impl PostgresAddress {
    /// The password as it stands in the address and as it is meant, wherever in the address it stands.
    fn passwords(&self) -> Vec<String> {
        let Ok(url) = url::Url::parse(self.url.expose()) else { return Vec::new() };
        let encoded = url.password().unwrap_or_default().to_owned();
        let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8_lossy().into_owned();
        let parameters = url.query_pairs().filter(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
        [encoded, decoded].into_iter().chain(parameters).collect()
    }
}

/// `sslmode`, as libpq names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// Only if the server refuses a connection without.
    Allow,
    /// If the server can.
    Prefer,
    /// Always, with any certificate.
    Require,
    /// Always, with a certificate of a known authority.
    VerifyCa,
    /// Always, with a certificate of a known authority for this host.
    VerifyFull,
}

/// Beats, ticks and times of rooms.
#[derive(Debug, Clone)]
pub struct RoomConfig {
    /// Pings and beats.
    pub heartbeat_interval: Duration,
    /// Silence after which a connection or instance is gone.
    pub presence_ttl: Duration,
    /// How long a dropped connection keeps its presence.
    pub presence_grace: Duration,
    /// Shortest time between cursor frames.
    pub cursor_tick: Duration,
    /// Shortest time between writes of a busy room.
    pub flush_interval: Duration,
    /// An empty room stops after it.
    pub idle: Duration,
    /// What all rooms together keep of their latest messages, in bytes.
    pub replay_bytes_max: usize,
}

/// What one connection may take and do.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Largest WebSocket message.
    pub frame_bytes_max: usize,
    /// Largest HTTP body.
    pub body_bytes_max: usize,
    /// Rooms per connection.
    pub rooms_per_connection_max: usize,
    /// WebSockets per address.
    pub connections_per_ip_max: usize,
    /// WebSockets per user.
    pub connections_per_user_max: usize,
    /// Frames per second and connection, by lane.
    pub rates: Rates,
    /// Bytes waiting for one connection.
    pub outbox_bytes_max: usize,
    /// How long they may wait.
    pub slow_consumer: Duration,
}

/// Frames per second and connection, by lane; twice as many may come at once.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the lanes are named as the frames")]
pub struct Rates {
    pub joins: u32,
    pub messages: u32,
    pub cursors: u32,
    pub presence: u32,
    pub broadcasts: u32,
}

/// Everything that is wrong with the settings.
#[derive(Debug, Default)]
pub struct Faults(Vec<String>);

impl Faults {
    /// One by one, each with its variable.
    pub fn texts(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the hub cannot start, {} setting(s) need a look:", self.0.len())?;
        self.0.iter().try_for_each(|fault| writeln!(f, "  - {fault}"))
    }
}

impl std::error::Error for Faults {}
