//! The one place that connects to Redis or Valkey: clients with our timeouts and backoff, faults in plain words.
//!
//! Callers run on the thread that called [`connect`]: fred drives its connections on the runtime it was started on, and
//! one single-threaded runtime for all of it costs least.

mod fault;

pub use fault::plain_words;

use fred::{
    clients::SubscriberClient,
    prelude::{Builder, Client, ClientLike as _, Config, ReconnectPolicy, TcpConfig},
};

use crate::config::RedisConfig;

/// The delay before the n-th attempt to reconnect is min(n × 50 ms, 1.4 s), and up to 0.2 s of jitter: the whole stays
/// under the 2 s within which instances are to be one again after Redis is back.
const RECONNECT_STEP_MS: u32 = 50;
const RECONNECT_DELAY_MAX_MS: u32 = 1_400;
const RECONNECT_JITTER_MS: u32 = 200;
/// Messages fred keeps for the bus thread while that is behind; its own default of 32 loses most of a burst. The slots are
/// allocated at once, several times over. A burst beyond them is noticed, and healed.
const RECEIVE_BUFFER: usize = 4_096;

/// Two connections: a subscribed one can publish nothing.
pub struct Clients {
    /// For commands and publishing.
    pub commands: Client,
    /// For subscriptions.
    pub subscriber: SubscriberClient,
}

/// Makes the clients and starts connecting; they go on trying for ever, so this does not wait for Redis.
///
/// # Errors
/// The address cannot be understood; the text does not repeat it.
pub fn connect(config: &RedisConfig) -> Result<Clients, String> {
    let mut settings =
        Config::from_url(config.url.expose()).map_err(|_| "REDIS_URL: the address cannot be understood".to_owned())?;
    settings.fail_fast = false;
    let mut policy = ReconnectPolicy::new_linear(0, RECONNECT_DELAY_MAX_MS, RECONNECT_STEP_MS);
    policy.set_jitter(RECONNECT_JITTER_MS);
    let mut builder = Builder::from_config(settings);
    builder.set_policy(policy);
    builder.with_connection_config(|connection| {
        connection.connection_timeout = config.connect_timeout;
        connection.internal_command_timeout = config.command_timeout;
        connection.max_command_attempts = 1;
        connection.reconnect_on_auth_error = true;
        // Not more than 0: a full queue would wedge the client for good.
        connection.max_command_buffer_len = 0;
        // No TCP keep-alive is asked for: the bus's own probe, twice a second, notices more and sooner.
        connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
    });
    builder.with_performance_config(|performance| {
        performance.default_command_timeout = config.command_timeout;
        performance.broadcast_channel_capacity = RECEIVE_BUFFER;
    });
    let broken = |_| "REDIS_URL: no client can be made for this address".to_owned();
    let commands = builder.build().map_err(broken)?;
    let subscriber = builder.build_subscriber_client().map_err(broken)?;
    drop(commands.connect()); // handles of tasks that run until quit
    drop(subscriber.connect());
    Ok(Clients { commands, subscriber })
}
