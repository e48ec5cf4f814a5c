//! Redis faults in plain words that name the setting to look at, and never the password.

/// Why Redis did not do what was asked. The texts are fit for a log and for the health routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    // --- no connection ---
    /// There is no connection at the moment; told at once.
    #[error("Redis is not connected")]
    Disconnected,
    /// The connection broke while the command was under way: it may have been carried out.
    #[error("the connection to Redis broke")]
    Broken,
    /// No answer in time: it may have been carried out.
    #[error("Redis does not answer in time: look at its load and at the network (REDIS_COMMAND_TIMEOUT)")]
    Timeout,
    /// No connection within the time for it.
    #[error(
        "Redis does not answer in time: check host and port in REDIS_URL, firewalls on the way, and that the address says \
         rediss:// if the server expects TLS (REDIS_CONNECT_TIMEOUT)"
    )]
    NoAnswer,
    /// The TLS handshake was not answered.
    #[error(
        "Redis does not answer in time to TLS: check host and port in REDIS_URL, and write redis:// there (or \
         REDIS_TLS_ENABLED=false) if the server speaks no TLS (REDIS_CONNECT_TIMEOUT)"
    )]
    NoAnswerByTls,
    /// The server hung up.
    #[error(
        "the Redis server closed the connection at once: if it expects TLS write rediss:// in REDIS_URL (or \
         REDIS_TLS_ENABLED=true), and check its protected-mode and access lists"
    )]
    ClosedAtOnce,
    /// Nothing listens there.
    #[error("nothing listens at the Redis address: check host and port in REDIS_URL and that the server runs")]
    Refused,
    /// No way leads there.
    #[error("the Redis address cannot be reached: check host and port in REDIS_URL and the network")]
    Unreachable,
    /// The name is unknown.
    #[error("the Redis host name cannot be resolved: check the host in REDIS_URL")]
    UnknownHost,
    /// There is no such file.
    #[error(
        "the Redis socket file cannot be opened: check the path in REDIS_URL, that the server runs and its unixsocketperm"
    )]
    NoSocket,
    /// The server takes no more connections.
    #[error("Redis has reached its maxclients: raise it, or lower REDIS_POOL_SIZE")]
    TooManyClients,

    // --- TLS ---
    /// Signed by somebody we do not know.
    #[error(
        "TLS to Redis failed, its certificate is signed by an unknown authority: set REDIS_TLS_CA_FILE to the authority's \
         certificate"
    )]
    UnknownAuthority,
    /// For another name.
    #[error("TLS to Redis failed, its certificate is for another name than the host in REDIS_URL")]
    WrongName,
    /// Over, or not begun.
    #[error("TLS to Redis failed, its certificate is not valid at this time: renew it, or set the clock")]
    Expired,
    /// What came back was not TLS.
    #[error(
        "TLS to Redis failed, the server does not speak it at this port: write redis:// in REDIS_URL (or \
         REDIS_TLS_ENABLED=false), or use its TLS port"
    )]
    NotTls,
    /// The server wants to know who we are.
    #[error("TLS to Redis failed, the server asks for a client certificate: set its tls-auth-clients to no")]
    ClientCertificate,
    /// Any other trouble of the handshake.
    #[error("TLS to Redis failed: check the server's certificate and TLS versions, and REDIS_URL")]
    Tls,

    // --- permission ---
    /// Wrong or missing credentials.
    #[error(
        "Redis refused the user or password: check the credentials in REDIS_URL (or REDIS_USERNAME and REDIS_PASSWORD)"
    )]
    Credentials,
    /// The ACL has other channels.
    #[error(
        "Redis does not permit its channels to the user in REDIS_URL: grant `&PREFIX*` with ACL SETUSER (REDIS_KEY_PREFIX)"
    )]
    ForbiddenChannel,
    /// The ACL has other keys.
    #[error(
        "Redis does not permit its keys to the user in REDIS_URL: grant `~PREFIX*` with ACL SETUSER (REDIS_KEY_PREFIX)"
    )]
    ForbiddenKey,
    /// The ACL does not have this command.
    #[error("Redis does not permit the command {0} to the user in REDIS_URL: grant `+{0}` with ACL SETUSER")]
    ForbiddenCommand(&'static str),
    /// The ACL does not have what we could not make out.
    #[error(
        "Redis does not permit all that is needed to the user in REDIS_URL: grant it with ACL SETUSER (docs/redis.md)"
    )]
    Forbidden,
    /// A subscription that the server accepted in silence, or refused in silence.
    #[error(
        "Redis does not deliver what is published: grant `+{0}` and `&PREFIX*` with ACL SETUSER to the user in REDIS_URL"
    )]
    NotDelivered(&'static str),

    // --- the server's state ---
    /// `maxmemory` is reached and nothing may be evicted.
    #[error("Redis is out of memory: raise its maxmemory or set an eviction policy (maxmemory-policy allkeys-lru)")]
    OutOfMemory,
    /// A replica was reached.
    #[error("REDIS_URL leads to a read-only replica: let it name the primary, or the Sentinels (redis-sentinel://)")]
    ReadOnly,
    /// The server reads its data from disk.
    #[error("Redis is still loading its data: wait, and REDIS_URL stays as it is")]
    Loading,
    /// The server refuses writes.
    #[error("Redis refuses writes because it cannot save to its disk: look at its log, or switch saving off there")]
    CannotSave,
    /// A cluster without a majority, or with slots that nobody serves.
    #[error("the Redis Cluster is down: a part of it is not served, look at CLUSTER INFO on the nodes in REDIS_URL")]
    ClusterDown,
    /// One of several primaries is silent.
    #[error("a part of the Redis Cluster does not answer: look at CLUSTER NODES on the nodes in REDIS_URL")]
    ClusterInPart,
    /// `redis-cluster://` to a server on its own.
    #[error("what REDIS_URL names is no Redis Cluster: write redis:// instead of redis-cluster://")]
    NoCluster,
    /// `redis://` to a node of a cluster.
    #[error("what REDIS_URL names is a node of a Redis Cluster: write redis-cluster:// instead of redis://")]
    IsCluster,
    /// None of the Sentinels could be asked.
    #[error(
        "no Redis Sentinel answers or lets us in: check the hosts, sentinelUsername and sentinelPassword in REDIS_URL"
    )]
    NoSentinel,
    /// The Sentinels know no primary.
    #[error("the Redis Sentinels name no primary: check sentinelServiceName in REDIS_URL")]
    NoPrimary,
    /// Anything else.
    #[error("Redis answered with an error: check that REDIS_URL points to a Redis or Valkey server")]
    Other,
}

impl Fault {
    /// The words for a log, with the prefix of this hub's keys and channels.
    pub fn words(self, key_prefix: &str) -> String {
        self.to_string().replace("PREFIX*", &format!("{key_prefix}*"))
    }

    /// Whether another try on another connection may help.
    pub(super) fn is_of_connection(self) -> bool {
        matches!(self, Self::Disconnected | Self::Broken)
    }

    /// Whether a server was not reached at all.
    pub(crate) fn is_of_network(self) -> bool {
        matches!(self, Self::Timeout | Self::NoAnswer | Self::NoAnswerByTls | Self::ClosedAtOnce | Self::Refused)
    }

    /// Whether it says something about the server's state that an operator has to mend.
    pub(super) fn is_for_operators(self) -> bool {
        !matches!(self, Self::Disconnected | Self::Broken | Self::Other)
    }
}
