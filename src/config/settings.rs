//! Every setting, as text, with its variable, default and reason: what `--help` and `.env.example` show.
//!
//! Values stay text here so that [`super::Config`] can report all faults at once instead of the first one.

use clap::Args;

/// The settings of the hub; each is a flag and an environment variable.
#[derive(Debug, Clone, Args)]
#[expect(missing_docs, reason = "each field's help text is its documentation")]
pub struct Settings {
    // --- where it listens ---
    #[arg(long, env = "HOST", default_value = "127.0.0.1", help = "Address to listen on; 0.0.0.0 for all interfaces")]
    pub host: String,
    #[arg(long, env = "PORT", default_value = "8080", help = "TCP port to listen on; 0 picks a free one")]
    pub port: String,
    #[arg(long, env = "WORKERS", default_value = "0", help = "Worker threads; 0 means one per core")]
    pub workers: String,
    #[arg(
        long,
        env = "TRUSTED_PROXIES",
        default_value = "",
        help = "Addresses or networks of load balancers, comma-separated, whose X-Forwarded-For names the client"
    )]
    pub trusted_proxies: String,

    // --- who may ---
    #[arg(
        long,
        env = "ALLOW_GUESTS",
        default_value = "auto",
        help = "Whether people may join by name alone: true, false, or auto (true only on a loopback HOST)"
    )]
    pub allow_guests: String,
    #[arg(
        long,
        env = "JWT_SECRET",
        hide_env_values = true,
        help = "Secret of the HS256 tokens that name a user, at least 32 bytes; without it tokens are refused"
    )]
    pub jwt_secret: Option<String>,
    #[arg(
        long,
        env = "ADMIN_TOKEN",
        hide_env_values = true,
        help = "Bearer token of the operator's routes under /api/admin, at least 32 bytes; without it they do not exist"
    )]
    pub admin_token: Option<String>,
    #[arg(
        long,
        env = "ALLOWED_ORIGINS",
        default_value = "",
        help = "Web origins that may connect besides the hub's own, comma-separated (https://app.example.com), or *"
    )]
    pub allowed_origins: String,
    #[arg(
        long,
        env = "SESSION_SECRET",
        hide_env_values = true,
        help = "Secret of session cookies and login codes, the same on all instances, at least 32 bytes; derived from JWT_SECRET, or random for this run, without it"
    )]
    pub session_secret: Option<String>,
    #[arg(
        long,
        env = "SESSION_TTL",
        default_value = "24h",
        help = "How long a cookie session lasts after its last use"
    )]
    pub session_ttl: String,
    #[arg(
        long,
        env = "SESSION_COOKIE_SECURE",
        default_value = "auto",
        help = "Whether session cookies travel over TLS alone: true, false, or auto (true when a trusted proxy says X-Forwarded-Proto: https)"
    )]
    pub session_cookie_secure: String,

    // --- mail, for login codes and invitations ---
    #[arg(
        long,
        env = "SMTP_URL",
        hide_env_values = true,
        help = "Mail server: smtps://user:password@host, or smtp://user:password@host:587?tls=required; without it nothing is mailed"
    )]
    pub smtp_url: Option<String>,
    #[arg(
        long,
        env = "MAIL_FROM",
        help = "Sender of the hub's mails, as in Hubbub <hub@example.com>; needed with SMTP_URL"
    )]
    pub mail_from: Option<String>,

    // --- where it keeps things ---
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "sqlite:data/hubbub.db",
        hide_env_values = true,
        help = "Database: sqlite:PATH (the folder is made when it is missing) or postgres://user:password@host/database"
    )]
    pub database_url: String,
    #[arg(
        long,
        env = "DATABASE_BUSY_TIMEOUT_MS",
        default_value = "5000",
        help = "SQLite: how long a write waits for another process's lock, ms"
    )]
    pub database_busy_timeout_ms: String,
    #[arg(long, env = "DATABASE_READERS", default_value = "4", help = "SQLite: connections for reading")]
    pub database_readers: String,
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value = "10", help = "PostgreSQL: connections at most")]
    pub database_pool_size: String,
    #[arg(
        long,
        env = "DATABASE_CONNECT_TIMEOUT_MS",
        default_value = "10000",
        help = "PostgreSQL: time to connect, and for the server to come up when the hub starts, ms"
    )]
    pub database_connect_timeout_ms: String,
    #[arg(
        long,
        env = "DATABASE_STATEMENT_TIMEOUT_MS",
        default_value = "3000",
        help = "PostgreSQL: time for a statement with all it waits for; a message not stored by then is refused, ms"
    )]
    pub database_statement_timeout_ms: String,

    // --- Redis or Valkey, to share everything between instances ---
    #[arg(
        long,
        env = "USE_REDIS",
        default_value = "true",
        help = "false keeps Redis off even when an address for it is set"
    )]
    pub use_redis: String,
    #[arg(
        long,
        env = "REDIS_URL",
        hide_env_values = true,
        help = "redis://, rediss:// (TLS), redis-cluster://, redis-sentinel:// or redis+unix:// address, with user and password"
    )]
    pub redis_url: Option<String>,
    #[arg(long, env = "REDIS_HOST", help = "Redis host, when there is no REDIS_URL")]
    pub redis_host: Option<String>,
    #[arg(long, env = "REDIS_PORT", default_value = "6379", help = "Redis port, with REDIS_HOST")]
    pub redis_port: String,
    #[arg(long, env = "REDIS_USERNAME", help = "Redis user, with REDIS_HOST; without one it is the default user")]
    pub redis_username: Option<String>,
    #[arg(long, env = "REDIS_PASSWORD", hide_env_values = true, help = "Redis password, with REDIS_HOST")]
    pub redis_password: Option<String>,
    #[arg(long, env = "REDIS_TLS_ENABLED", default_value = "false", help = "TLS to Redis, with REDIS_HOST")]
    pub redis_tls_enabled: String,
    #[arg(
        long,
        env = "REDIS_TLS_CA_FILE",
        help = "PEM file with the private authority that signed Redis' certificate; without it the system's are trusted"
    )]
    pub redis_tls_ca_file: Option<String>,
    #[arg(
        long,
        env = "REDIS_TLS_VERIFY",
        default_value = "true",
        help = "false believes any certificate: only for providers that sign their own (Heroku)"
    )]
    pub redis_tls_verify: String,
    #[arg(
        long,
        env = "REDIS_KEY_PREFIX",
        default_value = "hubbub:",
        help = "Put before every key and channel; two apps on one Redis need two"
    )]
    pub redis_key_prefix: String,
    #[arg(long, env = "REDIS_CONNECT_TIMEOUT", default_value = "10000", help = "Time to connect to Redis, ms")]
    pub redis_connect_timeout: String,
    #[arg(long, env = "REDIS_COMMAND_TIMEOUT", default_value = "2000", help = "Time for a Redis command, ms")]
    pub redis_command_timeout: String,
    #[arg(long, env = "REDIS_POOL_SIZE", default_value = "10", help = "Connections to Redis for commands")]
    pub redis_pool_size: String,
    #[arg(
        long,
        env = "REDIS_MAX_RETRIES",
        default_value = "3",
        help = "How often a Redis command is tried in all when its connection breaks and repeating does no harm"
    )]
    pub redis_max_retries: String,

    // --- the read cache ---
    #[arg(long, env = "CACHE_ENABLED", default_value = "true", help = "false reads everything from the database")]
    pub cache_enabled: String,
    #[arg(
        long,
        env = "CACHE_MEMORY_MAX_BYTES",
        default_value = "67108864",
        help = "Memory for what is cached in the process, bytes"
    )]
    pub cache_memory_max_bytes: String,
    #[arg(long, env = "CACHE_MEMORY_MAX_ENTRIES", default_value = "100000", help = "Entries cached in the process")]
    pub cache_memory_max_entries: String,
    #[arg(
        long,
        env = "CACHE_MAX_VALUE_BYTES",
        default_value = "1048576",
        help = "Larger answers are not cached, bytes"
    )]
    pub cache_max_value_bytes: String,
    #[arg(
        long,
        env = "CACHE_COMPRESS_BYTES",
        default_value = "1024",
        help = "Answers cached in Redis are compressed from this size on, bytes"
    )]
    pub cache_compress_bytes: String,
    #[arg(
        long,
        env = "CACHE_REDIS_TIMEOUT_MS",
        default_value = "200",
        help = "How long the cache waits for Redis before it asks the database, ms"
    )]
    pub cache_redis_timeout_ms: String,
    #[arg(
        long,
        env = "CACHE_BREAKER_FAILURES",
        default_value = "5",
        help = "Failures in a row after which the cache leaves Redis alone"
    )]
    pub cache_breaker_failures: String,
    #[arg(
        long,
        env = "CACHE_BREAKER_REST_MS",
        default_value = "60000",
        help = "How long the cache leaves Redis alone before it tries again, ms"
    )]
    pub cache_breaker_rest_ms: String,
    #[arg(
        long,
        env = "CACHE_BREAKER_SUCCESSES",
        default_value = "2",
        help = "Successes in a row after which the cache uses Redis again"
    )]
    pub cache_breaker_successes: String,
    #[arg(
        long,
        env = "CACHE_WARM_PROJECTS",
        default_value = "100",
        help = "Projects used last that are brought back into the cache at the start; 0 for none"
    )]
    pub cache_warm_projects: String,
    #[arg(
        long,
        env = "CACHE_TTL_ACCESS_MS",
        default_value = "300000",
        help = "How long projects, roles and the places of rooms are cached, ms"
    )]
    pub cache_ttl_access_ms: String,
    #[arg(
        long,
        env = "CACHE_TTL_PROJECTS_MS",
        default_value = "60000",
        help = "How long lists of projects are cached, ms"
    )]
    pub cache_ttl_projects_ms: String,
    #[arg(
        long,
        env = "CACHE_TTL_ROOMS_MS",
        default_value = "60000",
        help = "How long lists of rooms are cached (without heads and unread counts), ms"
    )]
    pub cache_ttl_rooms_ms: String,
    #[arg(
        long,
        env = "CACHE_TTL_HISTORY_MS",
        default_value = "30000",
        help = "How long the newest page of a room's messages is cached, ms"
    )]
    pub cache_ttl_history_ms: String,
    #[arg(
        long,
        env = "CACHE_TTL_OLD_HISTORY_MS",
        default_value = "3600000",
        help = "How long older pages of messages, which never change, are cached, ms"
    )]
    pub cache_ttl_old_history_ms: String,
    #[arg(
        long,
        env = "CACHE_TTL_SEARCH_MS",
        default_value = "30000",
        help = "How long what a search found is cached, ms"
    )]
    pub cache_ttl_search_ms: String,
    #[arg(long, env = "CACHE_TTL_PROFILES_MS", default_value = "300000", help = "How long profiles are cached, ms")]
    pub cache_ttl_profiles_ms: String,

    // --- presence and lanes ---
    #[arg(
        long,
        env = "HEARTBEAT_INTERVAL_MS",
        default_value = "10000",
        help = "How often a silent connection is pinged and an instance says it is there, ms"
    )]
    pub heartbeat_interval_ms: String,
    #[arg(
        long,
        env = "PRESENCE_TTL_MS",
        default_value = "30000",
        help = "A connection or instance silent for so long is gone, ms; at least twice the heartbeat interval"
    )]
    pub presence_ttl_ms: String,
    #[arg(
        long,
        env = "PRESENCE_GRACE_MS",
        default_value = "5000",
        help = "How long a dropped connection keeps its presence so that a reload does not flicker, ms"
    )]
    pub presence_grace_ms: String,
    #[arg(
        long,
        env = "CURSOR_TICK_MS",
        default_value = "33",
        help = "Shortest time between two cursor frames of a room, ms; crowded rooms tick slower"
    )]
    pub cursor_tick_ms: String,
    #[arg(
        long,
        env = "FLUSH_INTERVAL_MS",
        default_value = "5",
        help = "Shortest time between two writes of a busy room to a connection, ms; a quiet room writes at once"
    )]
    pub flush_interval_ms: String,
    #[arg(long, env = "ROOM_IDLE_MS", default_value = "30000", help = "A room nobody is in stops after this time, ms")]
    pub room_idle_ms: String,
    #[arg(
        long,
        env = "REPLAY_BYTES_MAX",
        default_value = "67108864",
        help = "Bytes of their latest messages that all rooms together keep in memory for those who come back"
    )]
    pub replay_bytes_max: String,

    // --- limits ---
    #[arg(long, env = "MAX_FRAME_BYTES", default_value = "65536", help = "Largest WebSocket message taken, bytes")]
    pub max_frame_bytes: String,
    #[arg(long, env = "MAX_BODY_BYTES", default_value = "262144", help = "Largest HTTP request body taken, bytes")]
    pub max_body_bytes: String,
    #[arg(
        long,
        env = "MAX_ROOMS_PER_CONNECTION",
        default_value = "100",
        help = "Rooms one connection may be in at the same time"
    )]
    pub max_rooms_per_connection: String,
    #[arg(
        long,
        env = "MAX_CONNECTIONS_PER_IP",
        default_value = "1000",
        help = "WebSockets from one address; behind a load balancer set TRUSTED_PROXIES"
    )]
    pub max_connections_per_ip: String,
    #[arg(
        long,
        env = "MAX_CONNECTIONS_PER_USER",
        default_value = "1000",
        help = "WebSockets of one user on this instance"
    )]
    pub max_connections_per_user: String,
    #[arg(long, env = "RATE_JOINS", default_value = "50", help = "Joins and leaves per second and connection")]
    pub rate_joins: String,
    #[arg(long, env = "RATE_MESSAGES", default_value = "20", help = "Messages per second and connection")]
    pub rate_messages: String,
    #[arg(long, env = "RATE_CURSORS", default_value = "60", help = "Cursor moves per second and connection")]
    pub rate_cursors: String,
    #[arg(long, env = "RATE_PRESENCE", default_value = "10", help = "State changes per second and connection")]
    pub rate_presence: String,
    #[arg(long, env = "RATE_BROADCASTS", default_value = "30", help = "Broadcasts per second and connection")]
    pub rate_broadcasts: String,
    #[arg(
        long,
        env = "RATE_LIMIT_API",
        default_value = "100/60s",
        help = "API requests of one address, shared by all instances: count/time, `general` (150/15m), or off"
    )]
    pub rate_limit_api: String,
    #[arg(
        long,
        env = "RATE_LIMIT_LOGIN",
        default_value = "3/15m",
        help = "Logins with a code, and requests for one, of one address: count/time, `general`, or off"
    )]
    pub rate_limit_login: String,
    #[arg(
        long,
        env = "RATE_LIMIT_USER",
        default_value = "off",
        help = "API requests of one user, whatever their address: count/time, `general`, or off"
    )]
    pub rate_limit_user: String,
    #[arg(
        long,
        env = "OUTBOX_BYTES_MAX",
        default_value = "1048576",
        help = "Bytes waiting for one connection before it is closed (4508); its rooms wait from half of it on, 128 KiB at most"
    )]
    pub outbox_bytes_max: String,
    #[arg(
        long,
        env = "SLOW_CONSUMER_MS",
        default_value = "20000",
        help = "A connection that has not taken what waits for it for so long is closed (4508), ms"
    )]
    pub slow_consumer_ms: String,

    // --- life ---
    #[arg(
        long,
        env = "DRAIN_TIMEOUT_MS",
        default_value = "10000",
        help = "Time from SIGTERM to exit at most, ms; clients are sent away in waves within half of it"
    )]
    pub drain_timeout_ms: String,
    #[arg(
        long,
        env = "METRICS_TOKEN",
        hide_env_values = true,
        help = "Bearer token for GET /metrics, at least 32 bytes; without it the figures are shown on a loopback HOST only"
    )]
    pub metrics_token: Option<String>,
    #[arg(
        long,
        env = "HUBBUB_LOG",
        default_value = "info",
        help = "What is logged: a level, or per module as in info,hubbub::room=debug"
    )]
    pub log: String,
    #[arg(long, env = "HUBBUB_LOG_FORMAT", default_value = "text", help = "text or json")]
    pub log_format: String,
}
