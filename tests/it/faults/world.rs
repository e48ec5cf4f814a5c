//! What a run takes place in: two instances, a Redis, a database, and a network between all of them that can be broken.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize as _;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::{
    check::{Account, Rules},
    transcript::{Room, Seen, Side},
    troubles::{Effect, Trouble},
};
use crate::support::{
    Losing, LossyBus, PostgresServer, Proxy, RedisServer, TestHub, WallClock,
    cluster::{PASSWORD, connected},
    frames::Member,
    http::Http,
    hub::UNHURRIED,
};

/// A message is everywhere so soon after anybody knows of it, whatever was lost on the way.
const TAIL: Duration = Duration::from_secs(2);
/// Trouble with Redis, and its end, is told of within this time.
const NOTICE: Duration = Duration::from_secs(3);
/// With the database: it is asked every two seconds, and has two to answer.
const NOTICE_DATABASE: Duration = Duration::from_secs(5);

/// What the instances are set to.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub heartbeat: Duration,
    pub ttl: Duration,
    pub grace: Duration,
}

/// Presence can be watched: who is gone is gone after three seconds.
pub const BRISK: Times = Times {
    heartbeat: Duration::from_millis(400),
    ttl: Duration::from_millis(3_000),
    grace: Duration::from_millis(1_000),
};
/// No outage here lasts as long as the TTL: nobody may be seen to leave.
pub const PATIENT: Times = Times { ttl: Duration::from_secs(60), grace: Duration::from_secs(20), ..BRISK };

/// What a world is to be like.
#[derive(Debug, Clone)]
pub struct Setup {
    pub times: Times,
    /// More settings of the instances.
    pub settings: Vec<(&'static str, String)>,
    /// What Redis publishes is lost so.
    pub losing: Losing,
    /// Nothing stands between instances and Redis: for tests with so many clients that what stands there would be slow.
    pub direct: bool,
    /// PostgreSQL; else both instances share a SQLite file.
    pub postgres: bool,
    /// Each instance has a wall clock that can be set.
    pub clocks: bool,
}

impl Setup {
    pub fn new(times: Times) -> Self {
        Self { times, settings: Vec::new(), losing: Losing::Nothing, direct: false, postgres: false, clocks: false }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let millis = |time: Duration| time.as_millis().to_string();
        let mut settings = vec![
            ("HEARTBEAT_INTERVAL_MS", millis(self.times.heartbeat)),
            ("PRESENCE_TTL_MS", millis(self.times.ttl)),
            ("PRESENCE_GRACE_MS", millis(self.times.grace)),
        ];
        settings.extend(self.settings.clone());
        settings
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }
}

/// The two instances and all between them.
pub struct World {
    pub hubs: [TestHub; 2],
    pub redis: RedisServer,
    /// What the instances share, and the ways to it: a server, or a file in the folder of both.
    pub database: Option<Database>,
    pub clocks: Option<[WallClock; 2]>,
    /// Between each instance and Redis.
    pub to_redis: [Proxy; 2],
    /// Between clients and each instance.
    pub doors: [Proxy; 2],
    pub times: Times,
    pub troubles: Vec<Trouble>,
    /// In front of Redis.
    _bus: LossyBus,
}

/// A PostgreSQL.
pub struct Database {
    pub server: Arc<PostgresServer>,
    pub links: [Proxy; 2],
    name: String,
}

impl Database {
    async fn start() -> Self {
        let server = spawn_blocking(|| Arc::new(PostgresServer::start())).await.expect("a server");
        let name = server.database().await;
        let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
        let links = [Proxy::to(address).await, Proxy::to(address).await];
        Self { server, links, name }
    }

    /// Starts it again; the clients, on this thread, go on meanwhile.
    pub async fn restart(&self) {
        let server = Arc::clone(&self.server);
        spawn_blocking(move || server.restart()).await.expect("it starts");
    }

    /// Ends it in good order.
    pub async fn stop(&self) {
        let server = Arc::clone(&self.server);
        spawn_blocking(move || server.stop()).await.expect("it stops");
    }

    /// For an instance's `DATABASE_URL`.
    fn url(&self, side: Side) -> String {
        let (port, link) = (self.server.port(), self.links[side as usize].address().port());
        self.server.url(&self.name).replace(&format!(":{port}/"), &format!(":{link}/"))
    }
}

/// A trouble that is on.
#[derive(Debug, Clone, Copy)]
pub struct Ongoing(usize);

impl World {
    pub async fn start(setup: &Setup) -> Self {
        let redis = RedisServer::with_password(PASSWORD).await;
        let bus = LossyBus::to(redis.address(), setup.losing).await;
        let to_redis = [Proxy::to(bus.address()).await, Proxy::to(bus.address()).await];
        let home = Arc::new(TempDir::new().expect("a folder"));
        let database = if setup.postgres { Some(Database::start().await) } else { None };
        let clocks = if setup.clocks { Some([WallClock::new(), WallClock::new()]) } else { None };
        let start = async |side: Side| {
            let mut settings = setup.settings();
            let link = to_redis[side as usize].address();
            settings.push(("REDIS_URL", if setup.direct { redis.url() } else { redis.url_at(link) }));
            settings.extend(database.iter().map(|database| ("DATABASE_URL", database.url(side))));
            settings.extend(clocks.iter().flat_map(|clocks| clocks[side as usize].variables()));
            let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
            TestHub::start_in(Arc::clone(&home), &[UNHURRIED, &settings].concat()).await
        };
        let (a, b) = tokio::join!(start(Side::A), start(Side::B));
        let doors = [Proxy::to(a.address()).await, Proxy::to(b.address()).await];
        connected(&a).await;
        connected(&b).await;
        Self {
            hubs: [a, b],
            redis,
            database,
            clocks,
            to_redis,
            doors,
            _bus: bus,
            times: setup.times,
            troubles: Vec::new(),
        }
    }

    pub fn hub(&mut self, side: Side) -> &mut TestHub {
        &mut self.hubs[side as usize]
    }

    /// The PostgreSQL of a world that has one.
    pub fn database(&self) -> &Database {
        self.database.as_ref().expect("a PostgreSQL")
    }

    pub fn rules(&self) -> Rules {
        let Times { ttl, grace, .. } = self.times;
        Rules { ttl, grace, tail: TAIL, hole: None, notice: NOTICE, notice_database: NOTICE_DATABASE }
    }

    // --- troubles ---

    /// From now on clients may notice this.
    pub fn trouble(&mut self, what: &str, effect: Effect) -> Ongoing {
        let from = Instant::now();
        let never = from + Duration::from_secs(24 * 60 * 60);
        self.troubles.push(Trouble { what: what.to_owned(), from, until: never, effect });
        Ongoing(self.troubles.len() - 1)
    }

    /// From now on not any more.
    pub fn mended(&mut self, trouble: Ongoing) {
        self.mended_at(trouble, Instant::now());
    }

    /// Not any more from then on.
    pub fn mended_at(&mut self, Ongoing(at): Ongoing, until: Instant) {
        self.troubles[at].until = until;
    }

    pub fn began(&self, Ongoing(at): Ongoing) -> Instant {
        self.troubles[at].from
    }

    // --- what it says ---

    /// What both instances say of the rooms.
    pub async fn accounts(&self, rooms: &[Room]) -> BTreeMap<Side, Account> {
        let mut accounts = BTreeMap::new();
        for side in Side::BOTH {
            let http = self.hubs[side as usize].http();
            let mut account = Account::default();
            for room in rooms {
                account.histories.insert(room.clone(), http.whole_history(room).await);
                account.presences.insert(room.clone(), presence(&http, room).await);
            }
            accounts.insert(side, account);
        }
        accounts
    }
}

/// Who is in a room, as one instance says.
pub async fn presence(http: &Http, room: &str) -> BTreeMap<String, Seen> {
    let (project, room) = room.split_once('/').expect("project/room");
    let answer = http.get(&format!("/api/projects/{project}/rooms/{room}/presence")).await.json();
    let members = Vec::<Member>::deserialize(&answer["members"]).expect("members");
    let seen = |user_id: &str, state| Seen { user_id: user_id.to_owned(), state };
    members
        .into_iter()
        .flat_map(|Member { user, connections }| {
            connections.into_iter().map(move |one| (one.connection_id, seen(&user.user_id, one.state)))
        })
        .collect()
}
