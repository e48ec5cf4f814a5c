//! From text to values: every setting is checked, and every fault kept, before anything is refused.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use ipnet::IpNet;

use super::{
    AccessConfig, AllowedOrigins, Config, Faults, LimitsConfig, ListenConfig, MetricsAccess, Rates, RoomConfig, Secret,
    Settings, database::database, identity, redis,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// HS256 wants a key as long as its hash (RFC 7518, 3.2).
const JWT_SECRET_BYTES_MIN: usize = 32;
/// Too long to be guessed.
const METRICS_TOKEN_BYTES_MIN: usize = 32;
/// Nobody guesses so many.
const ADMIN_TOKEN_BYTES_MIN: usize = 32;

impl Config {
    /// Checks all settings.
    ///
    /// # Errors
    /// Every fault, each with its variable and the remedy.
    pub fn from_settings(settings: &Settings) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let listen = listen(settings, &mut faults);
        let access = access(settings, listen.host, &mut faults);
        let config = Self {
            sessions: identity::sessions(settings, &access, &mut faults),
            rate_limits: identity::rate_limits(settings, &mut faults),
            mail: identity::mail(settings, &mut faults),
            access,
            database: database(settings, &mut faults),
            redis: redis::check(settings, &mut faults),
            cache: super::cache::check(settings, &mut faults),
            room: room(settings, &mut faults),
            limits: limits(settings, &mut faults),
            metrics: metrics(settings, listen.host, &mut faults),
            drain_timeout: faults.millis("DRAIN_TIMEOUT_MS", &settings.drain_timeout_ms, 0, DAY_MS),
            listen,
        };
        if faults.0.is_empty() { Ok(config) } else { Err(faults) }
    }
}

fn listen(settings: &Settings, faults: &mut Faults) -> ListenConfig {
    let host = match settings.host.trim() {
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        text => text.trim_matches(['[', ']']).parse().unwrap_or_else(|_| {
            faults.add("HOST", format_args!("`{text}` is not an IP address; 0.0.0.0 listens on all interfaces"));
            IpAddr::from([127, 0, 0, 1])
        }),
    };
    let trusted_proxies = list(&settings.trusted_proxies)
        .filter_map(|item| match item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from)) {
            Ok(net) => Some(net),
            Err(_) => {
                faults
                    .add("TRUSTED_PROXIES", format_args!("`{item}` is neither an address nor a network (10.0.0.0/8)"));
                None
            }
        })
        .collect();
    let workers = match faults.number("WORKERS", &settings.workers, 0, 256) {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workers => workers,
    };
    ListenConfig { host, port: faults.parse("PORT", &settings.port, "a port, 0 to 65535"), workers, trusted_proxies }
}

fn access(settings: &Settings, host: IpAddr, faults: &mut Faults) -> AccessConfig {
    let jwt_secret = settings.jwt_secret.clone().filter(|secret| !secret.is_empty()).map(Secret);
    if jwt_secret.as_ref().is_some_and(|secret| secret.0.len() < JWT_SECRET_BYTES_MIN) {
        faults.add(
            "JWT_SECRET",
            format_args!("is shorter than {JWT_SECRET_BYTES_MIN} bytes; `openssl rand -hex 32` makes a good one"),
        );
    }
    let admin_token = settings.admin_token.clone().filter(|token| !token.is_empty()).map(Secret);
    if admin_token.as_ref().is_some_and(|token| token.0.len() < ADMIN_TOKEN_BYTES_MIN) {
        faults.add(
            "ADMIN_TOKEN",
            format_args!("is shorter than {ADMIN_TOKEN_BYTES_MIN} bytes; `openssl rand -hex 32` makes a good one"),
        );
    }
    let allow_guests = match settings.allow_guests.trim() {
        "auto" | "" => {
            let loopback = host.is_loopback();
            if !loopback && jwt_secret.is_none() {
                faults.add(
                    "ALLOW_GUESTS",
                    format_args!(
                        "nobody could connect: HOST {host} is reachable from outside, where guests are off unless allowed. \
                         Set JWT_SECRET to let your app's users in, or ALLOW_GUESTS=true to let anybody in by name"
                    ),
                );
            }
            loopback
        }
        text => faults.flag("ALLOW_GUESTS", text),
    };
    if !allow_guests && jwt_secret.is_none() && settings.allow_guests.trim() != "auto" {
        faults.add("JWT_SECRET", "is needed when ALLOW_GUESTS is false, or nobody could connect");
    }
    let allowed_origins = if settings.allowed_origins.trim() == "*" {
        AllowedOrigins::Any
    } else {
        AllowedOrigins::Listed(
            list(&settings.allowed_origins)
                .filter_map(|item| match url::Url::parse(item) {
                    Ok(url) if url.has_host() && matches!(url.path(), "/" | "") => {
                        Some(url.origin().ascii_serialization())
                    }
                    _ => {
                        faults.add(
                            "ALLOWED_ORIGINS",
                            format_args!("`{item}` is not an origin like https://app.example.com"),
                        );
                        None
                    }
                })
                .collect(),
        )
    };
    AccessConfig { allow_guests, jwt_secret, admin_token, allowed_origins }
}

/// As for guests, a loopback address is taken for a machine of one's own.
fn metrics(settings: &Settings, host: IpAddr, faults: &mut Faults) -> MetricsAccess {
    match settings.metrics_token.as_deref().filter(|token| !token.is_empty()) {
        Some(token) if token.len() < METRICS_TOKEN_BYTES_MIN => {
            let remedy = "`openssl rand -hex 32` makes a good one";
            faults.add("METRICS_TOKEN", format_args!("is shorter than {METRICS_TOKEN_BYTES_MIN} bytes; {remedy}"));
            MetricsAccess::Closed
        }
        Some(token) => MetricsAccess::Token(Secret(token.to_owned())),
        None if host.is_loopback() => MetricsAccess::Open,
        None => MetricsAccess::Closed,
    }
}

fn room(settings: &Settings, faults: &mut Faults) -> RoomConfig {
    let heartbeat_interval = faults.millis("HEARTBEAT_INTERVAL_MS", &settings.heartbeat_interval_ms, 100, 600_000);
    let presence_ttl = faults.millis("PRESENCE_TTL_MS", &settings.presence_ttl_ms, 200, DAY_MS);
    if presence_ttl < heartbeat_interval * 2 {
        faults.add("PRESENCE_TTL_MS", "must be at least twice HEARTBEAT_INTERVAL_MS, or one lost beat ends a presence");
    }
    RoomConfig {
        heartbeat_interval,
        presence_ttl,
        presence_grace: faults.millis("PRESENCE_GRACE_MS", &settings.presence_grace_ms, 0, DAY_MS),
        cursor_tick: faults.millis("CURSOR_TICK_MS", &settings.cursor_tick_ms, 5, 10_000),
        flush_interval: faults.millis("FLUSH_INTERVAL_MS", &settings.flush_interval_ms, 1, 1_000),
        idle: faults.millis("ROOM_IDLE_MS", &settings.room_idle_ms, 0, DAY_MS),
        replay_bytes_max: faults.number("REPLAY_BYTES_MAX", &settings.replay_bytes_max, 0, 64 << 30),
    }
}

fn limits(settings: &Settings, faults: &mut Faults) -> LimitsConfig {
    const MANY: usize = 10_000_000;
    const MIB_256: usize = 256 * 1024 * 1024;
    let mut rate = |variable, text: &str| faults.number(variable, text, 1, 1_000_000);
    let rates = Rates {
        joins: rate("RATE_JOINS", &settings.rate_joins),
        messages: rate("RATE_MESSAGES", &settings.rate_messages),
        cursors: rate("RATE_CURSORS", &settings.rate_cursors),
        presence: rate("RATE_PRESENCE", &settings.rate_presence),
        broadcasts: rate("RATE_BROADCASTS", &settings.rate_broadcasts),
    };
    LimitsConfig {
        frame_bytes_max: faults.number("MAX_FRAME_BYTES", &settings.max_frame_bytes, 1024, MIB_256),
        body_bytes_max: faults.number("MAX_BODY_BYTES", &settings.max_body_bytes, 1024, MIB_256),
        rooms_per_connection_max: faults.number(
            "MAX_ROOMS_PER_CONNECTION",
            &settings.max_rooms_per_connection,
            1,
            MANY,
        ),
        connections_per_ip_max: faults.number("MAX_CONNECTIONS_PER_IP", &settings.max_connections_per_ip, 1, MANY),
        connections_per_user_max: faults.number(
            "MAX_CONNECTIONS_PER_USER",
            &settings.max_connections_per_user,
            1,
            MANY,
        ),
        rates,
        outbox_bytes_max: faults.number("OUTBOX_BYTES_MAX", &settings.outbox_bytes_max, 64 * 1024, MIB_256),
        slow_consumer: faults.millis("SLOW_CONSUMER_MS", &settings.slow_consumer_ms, 100, DAY_MS),
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

impl Faults {
    pub(super) fn add(&mut self, variable: &str, fault: impl fmt::Display) {
        self.0.push(format!("{variable}: {fault}"));
    }

    /// The parsed value, or a stand-in after the fault was noted.
    pub(super) fn parse<T: FromStr + Default>(&mut self, variable: &str, text: &str, expected: &str) -> T {
        text.trim().parse().unwrap_or_else(|_| {
            self.add(variable, format_args!("`{text}` is not {expected}"));
            T::default()
        })
    }

    pub(super) fn number<T: FromStr + PartialOrd + fmt::Display + Copy + Default>(
        &mut self,
        variable: &str,
        text: &str,
        min: T,
        max: T,
    ) -> T {
        match text.trim().parse::<T>() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.add(variable, format_args!("`{text}` is not a whole number from {min} to {max}"));
                min
            }
        }
    }

    pub(super) fn millis(&mut self, variable: &str, text: &str, min: u64, max: u64) -> Duration {
        Duration::from_millis(self.number(variable, text, min, max))
    }

    pub(super) fn flag(&mut self, variable: &str, text: &str) -> bool {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.add(variable, format_args!("`{text}` is neither true nor false"));
                false
            }
        }
    }
}
