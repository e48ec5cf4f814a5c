//! Composition root: puts the parts together, runs them, and stops them in the order in which nothing is lost.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{App as WebApp, HttpServer, dev::ServerHandle, web};

use crate::{
    access::Access,
    bus::{Bus, LocalBus, RedisBus},
    config::Config,
    fanout::{Fanouts, LocalFanout},
    health::{Health, Link, Links},
    http::{self, HttpState},
    ids::InstanceId,
    protocol::outbound,
    room::Directory,
    session::{ConnectionCounts, SessionContext, keep_socket},
    store::{GroupCommit, GroupCommitLimits, SqliteStore, Store, StoreError},
};

/// Connections that the kernel may hold until a worker takes them.
const BACKLOG: u32 = 4_096;
/// A client that has not sent its request's head by then is refused with 408.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle HTTP connection is closed; longer than load balancers keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a closed connection may linger for the peer's own close. Browsers report a close only at the end of the
/// connection, so a longer one would hold up every reconnect. Not under 500 ms: actix-http counts it from a clock that
/// ticks so often, and a timer that is past when it is set never fires: the connection would stay open for ever.
const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(600);
/// What is copied per connection before it is written; bounds the memory of slow readers.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// How often the database is asked whether it is there, and how long it has to answer.
const DATABASE_PROBE_INTERVAL: Duration = Duration::from_secs(2);
const DATABASE_PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// How often a stop looks whether all clients are gone.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// Why the hub did not start; each text names the setting and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {cause}; set PORT or HOST to another")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The database cannot be opened.
    #[error("DATABASE_URL: {0}")]
    Database(#[from] StoreError),
    /// Redis' address cannot be used.
    #[error("{0}")]
    Redis(String),
    /// The server could not be set up.
    #[error("the server cannot start: {0}")]
    Server(#[from] io::Error),
}

/// A running hub.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    config: Arc<Config>,
    health: Arc<Health>,
    fanouts: Arc<Fanouts>,
    rooms: Arc<Directory>,
    group_commit: GroupCommit,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
    server: ServerHandle,
}

impl App {
    /// Starts everything; when it returns the hub answers at [`App::address`]. Must run inside an actix system.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let address = SocketAddr::new(config.listen.host, config.listen.port);
        let listener = TcpListener::bind(address).map_err(|cause| StartError::Listen { address, cause })?;
        let address = listener.local_addr()?;

        let database = &config.database;
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&database.path, database.busy_timeout, database.readers).await?);
        let redis = if config.redis.is_some() { Link::Disconnected } else { Link::NotConfigured };
        let health = Arc::new(Health::new(Links { database: Link::Connected, redis }));
        let instance = InstanceId::random();
        let bus: Arc<dyn Bus> = match &config.redis {
            Some(redis) => {
                Arc::new(RedisBus::start(redis, instance, Arc::clone(&health)).await.map_err(StartError::Redis)?)
            }
            None => {
                tracing::warn!("no Redis is configured: this instance is on its own (set REDIS_URL to run several)");
                Arc::new(LocalBus)
            }
        };
        let group_commit = GroupCommit::start(Arc::clone(&store), GroupCommitLimits::default());
        let rooms =
            Directory::new(instance, config.room.clone(), Arc::clone(&store), group_commit.clone(), Arc::clone(&bus));
        let fanouts = Arc::new(Fanouts::default());
        let server = serve(listener, &config, &store, &rooms, &health, &fanouts)?;
        tell_status(&health, &fanouts);
        probe_database(Arc::clone(&store), Arc::clone(&health));
        Ok(Self { address, config, health, fanouts, rooms, group_commit, bus, store, server })
    }

    /// Stops in good order, within the drain time: not ready any more, clients sent away in waves, what was accepted made
    /// durable and told to the other instances, people handed over, connections closed.
    pub async fn stop(self) {
        let begun = Instant::now();
        let drain = self.config.drain_timeout;
        tracing::info!(connections = self.fanouts.connection_count(), "stopping");
        self.health.start_draining();
        self.fanouts.drain(drain / 2);
        // A part of the time is kept for what comes after.
        while self.fanouts.connection_count() > 0 && begun.elapsed() < drain * 8 / 10 {
            actix_web::rt::time::sleep(DRAIN_POLL).await;
        }
        self.server.pause().await;
        let rest = drain.saturating_sub(begun.elapsed()).max(Duration::from_millis(500));
        let finish = async {
            self.rooms.hand_over().await;
            self.group_commit.flush().await;
            self.bus.close().await;
            self.store.close().await;
        };
        if tokio::time::timeout(rest, finish).await.is_err() {
            tracing::warn!("the drain time is over, what is not finished is left");
        }
        let left = self.fanouts.connection_count();
        self.server.stop(false).await;
        tracing::info!(connections = left, rooms = self.rooms.room_count(), "stopped");
    }
}

fn serve(
    listener: TcpListener,
    config: &Arc<Config>,
    store: &Arc<dyn Store>,
    rooms: &Arc<Directory>,
    health: &Arc<Health>,
    fanouts: &Arc<Fanouts>,
) -> io::Result<ServerHandle> {
    let limits = &config.limits;
    let access = Arc::new(Access::new(&config.access, config.listen.trusted_proxies.clone(), Arc::clone(store)));
    let sessions = web::Data::new(SessionContext {
        config: Arc::clone(config),
        access: Arc::clone(&access),
        rooms: Arc::clone(rooms),
        health: Arc::clone(health),
        counts: ConnectionCounts::new(limits.connections_per_ip_max, limits.connections_per_user_max),
    });
    let state = web::Data::new(HttpState {
        config: Arc::clone(config),
        store: Arc::clone(store),
        access,
        rooms: Arc::clone(rooms),
        health: Arc::clone(health),
    });
    let (room, limits, fanouts) = (config.room.clone(), limits.clone(), Arc::clone(fanouts));
    // Runs once on each worker thread: each gets its own fan-out.
    let per_worker = move || {
        WebApp::new()
            .app_data(sessions.clone())
            .app_data(LocalFanout::start(&fanouts, &room, &limits))
            .configure(http::configure(state.clone()))
    };
    let server = HttpServer::new(per_worker)
        .workers(config.listen.workers)
        .backlog(BACKLOG)
        .max_connections(1_000_000)
        .client_request_timeout(REQUEST_HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .h1_write_buffer_size(WRITE_BUFFER_BYTES)
        .tcp_nodelay(true)
        .on_connect(keep_socket)
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = server.handle();
    actix_web::rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the server ended");
        }
    });
    Ok(handle)
}

/// Tells every connection when something degrades or is well again.
fn tell_status(health: &Health, fanouts: &Arc<Fanouts>) {
    let (mut links, fanouts) = (health.watch(), Arc::clone(fanouts));
    links.mark_unchanged();
    let mut told = links.borrow().degraded_reasons();
    actix_web::rt::spawn(async move {
        while links.changed().await.is_ok() {
            let reasons = links.borrow_and_update().degraded_reasons();
            if reasons != told {
                fanouts.to_everyone(&outbound::status(&reasons));
                told = reasons;
            }
        }
    });
}

fn probe_database(store: Arc<dyn Store>, health: Arc<Health>) {
    actix_web::rt::spawn(async move {
        let mut tick = actix_web::rt::time::interval(DATABASE_PROBE_INTERVAL);
        loop {
            tick.tick().await;
            let answer = tokio::time::timeout(DATABASE_PROBE_PATIENCE, store.ping()).await;
            let link = if matches!(answer, Ok(Ok(()))) { Link::Connected } else { Link::Disconnected };
            if health.links().database != link {
                tracing::warn!(database = link.as_str(), "the database's state changed");
            }
            health.set_database(link);
        }
    });
}
