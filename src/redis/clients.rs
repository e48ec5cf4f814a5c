//! Makes clients: all with the same address, timeouts and backoff.

use std::{
    cell::Cell,
    net::IpAddr,
    ops::Deref,
    time::{Duration, Instant},
};

use fred::{
    clients::SubscriberClient,
    prelude::{Builder, Client, ClientLike, Config, ReconnectPolicy, Server, ServerConfig, TcpConfig},
    types::{ConnectHandle, RespVersion, config::ClusterDiscoveryPolicy},
};
use fred_socket2::TcpKeepalive;

use super::tls::{name_of_all, tls};
use crate::config::{RedisConfig, RedisForm, RedisHost};

/// The delay before the n-th attempt to reconnect is min(n × 50 ms, 1.4 s), and up to 0.2 s of jitter: the whole stays
/// under the 2 s within which instances are to be one again after Redis is back.
const RECONNECT_STEP_MS: u32 = 50;
const RECONNECT_DELAY_MAX_MS: u32 = 1_400;
const RECONNECT_JITTER_MS: u32 = 200;
/// Messages fred keeps for the bus thread while that is behind; its own default of 32 loses most of a burst. The slots are
/// allocated at once, several times over. A burst beyond them is noticed, and healed.
const RECEIVE_BUFFER: usize = 4_096;
/// The same for clients that are subscribed to nothing.
const EVENT_BUFFER: usize = 32;
/// Keeps middleboxes from forgetting an idle connection. A dead peer is noticed sooner, by our own pings.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A connection by way of Sentinels that could not be made for so long is made from scratch.
const HOPELESS_MIN: Duration = Duration::from_secs(5);
/// A connection that cannot be made anew within it goes on by itself.
const RENEW_PATIENCE: Duration = Duration::from_secs(2);

/// Makes clients for one address, and for single nodes of a cluster that is there.
#[derive(Clone)]
pub(crate) struct Clients {
    builder: Builder,
    tls_name: Option<String>,
    hopeless_after: Option<Duration>,
}

impl Clients {
    /// # Errors
    /// TLS is wanted and this machine trusts nobody.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, String> {
        let address = &config.address;
        let settings = Config {
            fail_fast: false, // the hub starts without Redis, too
            username: address.username.clone(),
            password: address.password.as_ref().map(|password| password.expose().to_owned()),
            server: server_config(&address.form),
            // Every server and proxy speaks it, and we need nothing that is new in RESP3.
            version: RespVersion::RESP2,
            database: (address.database > 0).then_some(address.database),
            tls: tls(address, &config.trust)?,
            ..Config::default()
        };
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
            connection.tcp = TcpConfig {
                nodelay: Some(true),
                keepalive: Some(TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE)),
                ..TcpConfig::default()
            };
        });
        builder.with_performance_config(|performance| {
            performance.default_command_timeout = config.command_timeout;
            performance.broadcast_channel_capacity = EVENT_BUFFER;
        });
        // Not while an attempt may still succeed.
        let sentinels = matches!(address.form, RedisForm::Sentinel { .. });
        let hopeless_after = sentinels.then(|| HOPELESS_MIN.max(config.connect_timeout + config.command_timeout * 2));
        Ok(Self { builder, tls_name: name_of_all(address), hopeless_after })
    }

    /// The same, for one node of the cluster.
    pub(crate) fn of_node(&self, node: &Server) -> Self {
        let mut server = node.clone();
        if server.host.parse::<IpAddr>().is_ok() {
            server.tls_server_name = self.tls_name.as_deref().map(Into::into);
        }
        let mut this = self.clone();
        this.builder.with_config(|config| config.server = ServerConfig::Centralized { server });
        this
    }

    /// A client for commands and publishing, not connected yet.
    ///
    /// # Errors
    /// No client can be made for this address.
    pub(crate) fn client(&self) -> Result<Client, String> {
        self.builder.build().map_err(|_| broken())
    }

    /// A client for subscriptions, not connected yet: a subscribed connection can publish nothing.
    ///
    /// # Errors
    /// No client can be made for this address.
    pub(crate) fn subscriber(&self) -> Result<SubscriberClient, String> {
        let mut builder = self.builder.clone();
        builder.with_performance_config(|performance| performance.broadcast_channel_capacity = RECEIVE_BUFFER);
        builder.build_subscriber_client().map_err(|_| broken())
    }

    /// Begins to connect, on this thread, and goes on trying.
    pub(crate) fn connect<C: ClientLike>(&self, client: C) -> Connection<C> {
        let task = client.connect();
        Connection { client, task, hopeless_after: self.hopeless_after, last_up: Cell::new(Instant::now()) }
    }
}

fn server_config(form: &RedisForm) -> ServerConfig {
    let server = |host: &RedisHost| Server::new(host.name.as_str(), host.port);
    match form {
        RedisForm::Server(host) => ServerConfig::Centralized { server: server(host) },
        RedisForm::Cluster(hosts) => ServerConfig::Clustered {
            hosts: hosts.iter().map(server).collect(),
            policy: ClusterDiscoveryPolicy::default(),
        },
        RedisForm::Sentinel { hosts, service, username, password } => ServerConfig::Sentinel {
            hosts: hosts.iter().map(server).collect(),
            service_name: service.clone(),
            username: username.clone(),
            password: password.as_ref().map(|password| password.expose().to_owned()),
        },
        RedisForm::Socket(path) => ServerConfig::Unix { path: path.clone() },
    }
}

fn broken() -> String {
    "REDIS_URL: no client can be made for this address".into()
}

/// A client that is driven for as long as this lives.
pub(crate) struct Connection<C: ClientLike> {
    client: C,
    task: ConnectHandle,
    hopeless_after: Option<Duration>,
    last_up: Cell<Instant>,
}

impl<C: ClientLike> Connection<C> {
    /// Whether it should be thrown away and made from scratch: some faults end fred's attempts for good, and it forgets
    /// the Sentinels it was told of for those it found.
    pub(crate) fn is_hopeless(&self) -> bool {
        if self.client.is_connected() {
            self.last_up.set(Instant::now());
        }
        self.task.is_finished() || self.hopeless_after.is_some_and(|limit| self.last_up.get().elapsed() > limit)
    }

    /// Makes it anew when it is open and dead (a stopped server, dropped packets): the library does not notice. One that
    /// is being made is left alone.
    pub(crate) fn renew(&self) -> impl Future<Output = ()> + use<C> {
        let client = self.client.clone();
        async move {
            if client.is_connected() {
                drop(tokio::time::timeout(RENEW_PATIENCE, client.force_reconnection()).await);
            }
        }
    }
}

impl<C: ClientLike> Deref for Connection<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.client
    }
}

impl<C: ClientLike> Drop for Connection<C> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
