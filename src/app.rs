//! Composition root: puts the parts together, runs them, and stops them in the order in which nothing is lost.

mod door;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_server::ServerHandle;
use actix_service::IntoServiceFactory as _;
use actix_web::{App as WebApp, middleware::from_fn, web};

use self::door::Door;
use crate::{
    bus::{Bus, LocalBus, RedisBus},
    cache::{Cache, Catalogue},
    config::{Config, DatabaseLocation, RedisTrust},
    count,
    fanout::{Fanouts, LocalFanout},
    health::{Health, Link, Links},
    http::{self, HttpState, Instruments},
    ids::InstanceId,
    observe,
    protocol::outbound,
    redis::{Commands, Faults, RedisFigures, RedisThread},
    room::Directory,
    session::{ConnectionCounts, SessionContext},
    store::{self, CountedStore, GroupCommit, GroupCommitLimits, MachineWatch, SearchIndexer, Store, StoreError},
    telemetry::Recorder,
};

/// How often the database is asked whether it is there, and how long it has to answer.
const DATABASE_PROBE_INTERVAL: Duration = Duration::from_secs(2);
const DATABASE_PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a start waits for Redis: who connects first should not be told of trouble that is only the beginning.
const REDIS_START_PATIENCE: Duration = Duration::from_secs(1);
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
    /// The mail server's address cannot be used.
    #[error("{0}")]
    Mail(String),
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
    redis: Option<Commands>,
    store: Arc<dyn Store>,
    search_indexer: SearchIndexer,
    catalogue: Arc<Catalogue>,
    _machine_watch: Option<MachineWatch>,
    server: ServerHandle,
}

impl App {
    /// Starts everything; when it returns the hub answers at [`App::address`]. Must run inside an actix system.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let recorder = Recorder::install();
        recorder.keep_up();
        let address = SocketAddr::new(config.listen.host, config.listen.port);
        let listener = TcpListener::bind(address).map_err(|cause| StartError::Listen { address, cause })?;
        let address = listener.local_addr()?;

        let counted = Arc::new(CountedStore::new(store::open(&config.database).await?));
        let store: Arc<dyn Store> = Arc::clone(&counted) as _;
        let machine_watch = watch_for_other_machines(&config);
        let redis = if config.redis.is_some() { Link::Disconnected } else { Link::NotConfigured };
        let health = Arc::new(Health::new(Links { database: Link::Connected, redis }));
        let instance = InstanceId::random();
        let (bus, redis) = connect(&config, instance, &health).await.map_err(StartError::Redis)?;
        let group_commit = GroupCommit::start(Arc::clone(&store), GroupCommitLimits::default());
        let rooms =
            Directory::new(instance, config.room.clone(), Arc::clone(&store), group_commit.clone(), Arc::clone(&bus));
        let fanouts = Arc::new(Fanouts::default());
        // Who comes meanwhile waits in the listener's queue.
        let mut links = health.watch();
        let connected = links.wait_for(|links| links.redis != Link::Disconnected);
        tokio::time::timeout(REDIS_START_PATIENCE, connected).await.ok();
        let cache = Cache::start(&config.cache, instance, Arc::clone(&store), Arc::clone(&bus), redis.clone());
        let catalogue = Arc::new(Catalogue::new(counted, cache));
        catalogue.keep_warm();
        let instruments = Instruments {
            recorder,
            fanouts: Arc::clone(&fanouts),
            group_commit: group_commit.clone(),
            redis: RedisFigures::watch(redis.clone()),
        };
        let door = Door::new(&config, redis.clone(), &bus, &catalogue).map_err(StartError::Mail)?;
        let server = serve(listener, &config, door, &store, &rooms, &health, instruments)?;
        tell_status(&health, &fanouts);
        probe_database(Arc::clone(&store), Arc::clone(&health));
        let search_indexer = SearchIndexer::start(Arc::clone(&store));
        Ok(Self {
            address,
            config,
            health,
            fanouts,
            rooms,
            group_commit,
            bus,
            redis,
            store,
            search_indexer,
            catalogue,
            _machine_watch: machine_watch,
            server,
        })
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
        self.remember_people(begun + drain * 8 / 10).await;
        self.server.pause().await;
        let rest = drain.saturating_sub(begun.elapsed()).max(Duration::from_millis(500));
        let finish = async {
            self.rooms.hand_over().await;
            self.group_commit.flush().await;
            self.catalogue.remember_recent().await;
            self.catalogue.cache().stop().await;
            self.bus.close().await;
            if let Some(redis) = &self.redis {
                redis.close().await;
            }
            drop(self.search_indexer); // what it has not done, the next start does
            self.store.close().await;
        };
        if tokio::time::timeout(rest, finish).await.is_err() {
            tracing::warn!("the drain time is over, what is not finished is left");
        }
        let left = self.fanouts.connection_count();
        self.server.stop(false).await;
        tracing::info!(connections = left, rooms = self.rooms.room_count(), "stopped");
    }

    /// Waits until those who were sent away have come back elsewhere, or their grace is over. A room that nobody served
    /// elsewhere starts there with the first who comes, and asks who is here: until then only this instance knows.
    async fn remember_people(&self, deadline: Instant) {
        let deadline = deadline.min(Instant::now() + self.config.room.presence_grace);
        while self.bus.is_shared() && self.rooms.remembered() > 0 && Instant::now() < deadline {
            actix_web::rt::time::sleep(DRAIN_POLL).await;
        }
    }
}

/// With Redis there are several instances, which can share a SQLite file on one machine only.
fn watch_for_other_machines(config: &Config) -> Option<MachineWatch> {
    let DatabaseLocation::Sqlite(path) = &config.database.location else { return None };
    config.redis.as_ref()?;
    tracing::warn!(
        "instances share a SQLite file: all of them must run on this machine (set DATABASE_URL to a PostgreSQL server for \
         several)"
    );
    Some(MachineWatch::start(path))
}

/// The bus, and what is asked of Redis besides; without Redis the instance is on its own.
async fn connect(
    config: &Config,
    instance: InstanceId,
    health: &Arc<Health>,
) -> Result<(Arc<dyn Bus>, Option<Commands>), String> {
    let Some(redis) = &config.redis else {
        tracing::warn!("no Redis is configured: this instance is on its own (set REDIS_URL to run several)");
        return Ok((Arc::new(LocalBus::default()), None));
    };
    if redis.address.tls && redis.trust == RedisTrust::Anybody {
        tracing::warn!("REDIS_TLS_VERIFY=false: whoever answers at the Redis address is believed");
    }
    let thread = RedisThread::start();
    let faults = Faults::new(Arc::clone(health), &redis.key_prefix);
    let bus = RedisBus::start(&thread, redis, instance, Arc::clone(health), faults.clone()).await?;
    let commands = Commands::start(&thread, redis, faults).await?;
    Ok((Arc::new(bus), Some(commands)))
}

fn serve(
    listener: TcpListener,
    config: &Arc<Config>,
    door: Door,
    store: &Arc<dyn Store>,
    rooms: &Arc<Directory>,
    health: &Arc<Health>,
    instruments: Instruments,
) -> io::Result<ServerHandle> {
    let limits = &config.limits;
    let sessions = web::Data::new(SessionContext {
        config: Arc::clone(config),
        access: Arc::clone(&door.access),
        sessions: Arc::clone(&door.sessions),
        rooms: Arc::clone(rooms),
        health: Arc::clone(health),
        counts: ConnectionCounts::new(limits.connections_per_ip_max, limits.connections_per_user_max),
    });
    let fanouts = Arc::clone(&instruments.fanouts);
    let state = web::Data::new(HttpState {
        config: Arc::clone(config),
        store: Arc::clone(store),
        catalogue: door.catalogue,
        operator: door.operator,
        access: door.access,
        rooms: Arc::clone(rooms),
        health: Arc::clone(health),
        instruments,
        keys: door.keys,
        sessions: door.sessions,
        secrets: door.secrets,
        limits: door.limits,
        mailer: door.mailer,
    });
    let (room, limits) = (config.room.clone(), limits.clone());
    // Runs once on each worker thread: each gets its own fan-out.
    http::serve(listener, config.listen.workers, move || {
        let (sessions, state) = (sessions.clone(), state.clone());
        let fanout = LocalFanout::start(&fanouts, &room, &limits);
        move || {
            WebApp::new()
                .app_data(sessions.clone())
                .app_data(fanout.clone())
                .configure(http::configure(state.clone()))
                .wrap(from_fn(http::measure))
                .into_factory()
        }
    })
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
            let begun = Instant::now();
            let answer = tokio::time::timeout(DATABASE_PROBE_PATIENCE, store.ping()).await;
            match answer {
                Ok(Ok(())) => observe!("hubbub_database_ping_seconds", begun.elapsed().as_secs_f64()),
                _ => count!("hubbub_database_ping_failures_total"),
            }
            let link = if matches!(answer, Ok(Ok(()))) { Link::Connected } else { Link::Disconnected };
            if health.links().database != link {
                tracing::warn!(database = link.as_str(), "the database's state changed");
            }
            health.set_database(link);
        }
    });
}
