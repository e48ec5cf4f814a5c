//! The only reader of the environment: settings in, a checked [`Config`] out.
//!
//! `main` parses [`Settings`] (flags, environment, `.env`), [`Config::from_settings`] checks them all and either answers
//! with a struct per module or with every fault at once, each naming its variable and the remedy.

mod check;
mod settings;
#[cfg(test)]
mod tests;

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
    /// Where messages are kept.
    pub database: DatabaseConfig,
    /// How instances reach each other; `None` for a single instance.
    pub redis: Option<RedisConfig>,
    /// Beats, ticks and times of rooms.
    pub room: RoomConfig,
    /// What one connection may take and do.
    pub limits: LimitsConfig,
    /// From SIGTERM to exit.
    pub drain_timeout: Duration,
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
    /// Web origins besides the hub's own.
    pub allowed_origins: AllowedOrigins,
}

impl fmt::Debug for AccessConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessConfig")
            .field("allow_guests", &self.allow_guests)
            .field("jwt_secret", &self.jwt_secret)
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

/// Where messages are kept.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// SQLite's file.
    pub path: PathBuf,
    /// How long a write waits for another process.
    pub busy_timeout: Duration,
    /// Connections for reading.
    pub readers: u32,
}

/// How instances reach each other.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// Address with credentials.
    pub url: Secret,
    /// Put before every key and channel.
    pub key_prefix: String,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a command.
    pub command_timeout: Duration,
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

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the hub cannot start, {} setting(s) need a look:", self.0.len())?;
        self.0.iter().try_for_each(|fault| writeln!(f, "  - {fault}"))
    }
}

impl std::error::Error for Faults {}
