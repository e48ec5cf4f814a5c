//! Loads that are slower than a write, in every place where they could bring back what was before it. Two instances of the
//! cache on one database and a real Redis; the loads wait at gates, so that each race is run, not hoped for.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use hubbub::{
    bus::RedisBus,
    cache::{Cache, Catalogue, Loaded, ProjectKey, ProjectsPageKey},
    health::{Health, Link, Links},
    ids::{InstanceId, ProjectId},
    redis::{Commands, Faults, RedisThread},
    store::{CountedStore, Project, ProjectFilter, SqliteStore, Store, StoreError, Visibility},
};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::support::{
    Proxy, RedisServer, eventually,
    library::{config, in_system},
    resp::Reply,
};

/// One instance, as far as the cache is concerned.
struct Instance {
    catalogue: Arc<Catalogue>,
    store: Arc<CountedStore>,
}

impl Instance {
    /// One that is patient: a machine under load is no reason to go on without Redis.
    async fn start(home: &Path, redis_url: &str) -> Self {
        Self::start_with(home, &["--redis-url", redis_url, "--cache-redis-timeout-ms", "10000"]).await
    }

    async fn start_with(home: &Path, flags: &[&str]) -> Self {
        let config = config(flags);
        let redis = config.redis.as_ref().expect("a Redis");
        let health = Arc::new(Health::new(Links { database: Link::Connected, redis: Link::Disconnected }));
        let (thread, id) = (RedisThread::start(), InstanceId::random());
        let faults = Faults::new(Arc::clone(&health), "hubbub:");
        let commands = Commands::start(&thread, redis, faults.clone()).await.expect("a good address");
        let bus = RedisBus::start(&thread, redis, id, Arc::clone(&health), faults).await.expect("a good address");
        let store = SqliteStore::open(&home.join("hub.db"), Duration::from_secs(5), 2).await.expect("a database");
        let store = Arc::new(CountedStore::new(Arc::new(store)));
        let shared: Arc<dyn Store> = store.clone();
        let cache = Cache::start(&config.cache, id, shared, Arc::new(bus), Some(commands));
        let this = Self { catalogue: Arc::new(Catalogue::new(store.clone(), cache)), store };
        eventually("the cache can be used", async || {
            let cache = this.catalogue.cache().snapshot();
            let bus_is_up = health.links().redis == Link::Connected;
            (cache.fresh && cache.redis_available && bus_is_up).then_some(())
        })
        .await;
        this
    }

    async fn name(&self) -> String {
        self.catalogue.project(&p()).await.expect("an answer").expect("a project").name
    }

    async fn rename(&self, name: &str) {
        self.catalogue.update_project(&p(), Some(name), None).await.expect("an answer").expect("a project");
    }
}

/// Reads the project, then waits until the gate is opened before it says so.
async fn slow_load(
    store: &dyn Store,
    begun: &Semaphore,
    gate: &Semaphore,
) -> Result<Loaded<Option<Project>>, StoreError> {
    let project = store.project(&p()).await?;
    begun.add_permits(1);
    gate.acquire().await.expect("open").forget();
    Ok(Loaded::Keep(project))
}

fn p() -> ProjectId {
    "p".parse().expect("a name")
}

struct Pair {
    a: Instance,
    b: Instance,
    redis: RedisServer,
    _home: TempDir,
}

async fn pair() -> Pair {
    let redis = RedisServer::start().await;
    let home = TempDir::new().expect("a folder");
    let (a, b) = (Instance::start(home.path(), &redis.url()).await, Instance::start(home.path(), &redis.url()).await);
    let project =
        Project { id: p(), name: "old".into(), visibility: Visibility::Public, created_at: hubbub::clock::now_utc() };
    assert!(a.catalogue.create_project(&project, None).await.expect("an answer"));
    Pair { a, b, redis, _home: home }
}

impl Pair {
    async fn is_in_redis(&self, key: &str) {
        eventually("it is in Redis", async || {
            (self.redis.command(&["EXISTS", key]).await == Reply::Number(1)).then_some(())
        })
        .await;
    }
}

#[test]
fn a_load_from_before_a_write_that_ends_after_it_is_believed_by_nobody() {
    in_system(async {
        let hubs = pair().await;
        let (begun, gate) = (Semaphore::new(0), Semaphore::new(0));
        let key = ProjectKey(p());
        let slow = hubs.a.catalogue.cache().get_or_load(&key, slow_load(&*hubs.a.store, &begun, &gate));
        let meanwhile = async {
            begun.acquire().await.expect("open").forget();
            hubs.b.rename("new").await;
            // Who comes after the write does not wait for the load of before it, on either instance.
            assert_eq!((hubs.a.name().await, hubs.b.name().await), ("new".into(), "new".into()));
            gate.add_permits(1);
        };
        let (slow, ()) = tokio::join!(slow, meanwhile);
        // Whoever asked before the write may get what was before.
        assert_eq!(slow.expect("an answer").as_ref().as_ref().expect("a project").name, "old");
        for hub in [&hubs.a, &hubs.b] {
            assert_eq!(hub.name().await, "new");
        }
    });
}

#[test]
fn a_late_fill_of_redis_is_believed_by_nobody() {
    in_system(async {
        let hubs = pair().await;
        let (begun, gate) = (Semaphore::new(0), Semaphore::new(0));
        let key = ProjectKey(p());
        let slow = hubs.a.catalogue.cache().get_or_load(&key, slow_load(&*hubs.a.store, &begun, &gate));
        let meanwhile = async {
            begun.acquire().await.expect("open").forget();
            hubs.b.rename("new").await;
            gate.add_permits(1);
        };
        let (slow, ()) = tokio::join!(slow, meanwhile);
        drop(slow);
        // The only fill of this key so far is that of the slow load; neither has the key in memory.
        hubs.is_in_redis("hubbub:cache:p:project").await;
        assert_eq!((hubs.b.name().await, hubs.a.name().await), ("new".into(), "new".into()));
    });
}

#[test]
fn a_redis_that_comes_back_with_old_data_is_not_believed() {
    in_system(async {
        let hubs = pair().await;
        let key = "hubbub:cache:p:project";
        assert_eq!(hubs.a.name().await, "old");
        hubs.is_in_redis(key).await;
        hubs.redis.command(&["COPY", key, "kept"]).await;
        for name in ["one", "two", "three"] {
            hubs.a.rename(name).await;
            assert_eq!(hubs.redis.command(&["COPY", "kept", key, "REPLACE"]).await, Reply::Number(1));
            assert_eq!((hubs.b.name().await, hubs.a.name().await), (name.into(), name.into()));
        }
        // What is in Redis and not stale is believed: an instance that has not asked before loads nothing.
        let reads = hubs.b.store.reads();
        let other = Instance::start(hubs._home.path(), &hubs.redis.url()).await;
        hubs.redis.command(&["DEL", "kept"]).await;
        eventually("the latest is in Redis", async || {
            let before = other.store.reads();
            assert_eq!(other.name().await, "three");
            (other.catalogue.cache().snapshot().l2_hits > 0 && other.store.reads() == before).then_some(())
        })
        .await;
        assert_eq!(hubs.b.store.reads(), reads);
    });
}

#[test]
fn of_many_who_ask_at_once_one_loads() {
    in_system(async {
        let hubs = pair().await;
        let (loads, gate) = (AtomicUsize::new(0), Semaphore::new(0));
        let key = ProjectKey(p());
        let ask = || async {
            let load = async {
                loads.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.expect("open").forget();
                hubs.a.store.project(&p()).await.map(Loaded::Keep)
            };
            hubs.a.catalogue.cache().get_or_load(&key, load).await.expect("an answer")
        };
        let all = join_all((0..1_000).map(|_| ask()));
        let open = async { gate.add_permits(1_000) };
        let (answers, ()) = tokio::join!(all, open);
        assert!(answers.iter().all(|answer| answer.as_ref().as_ref().is_some_and(|project| project.name == "old")));
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    });
}

/// A page that is expensive to load, and the key of the leave to load it.
fn page(limit: u32) -> (ProjectsPageKey, String) {
    let filter = ProjectFilter { member: None, named: Vec::new(), public: true };
    let leave = format!("hubbub:cache:-loading:-projects:{limit}:e3b0c44298fc1c149afbf4c8996fb924:1::");
    (ProjectsPageKey { filter, after: None, limit }, leave)
}

#[test]
fn instances_spare_each_other_an_expensive_load() {
    in_system(async {
        let hubs = pair().await;
        for limit in 1..=20 {
            let (key, leave) = page(limit);
            let (begun, gate) = (Semaphore::new(0), Semaphore::new(0));
            let load = |by: &'static str| {
                let (begun, gate) = (&begun, &gate);
                async move {
                    begun.add_permits(1);
                    gate.acquire().await.expect("open").forget();
                    Ok(Loaded::Keep(hubbub::cache::Ids(vec![by.parse().expect("a name")])))
                }
            };
            let first = hubs.a.catalogue.cache().get_or_load(&key, load("a"));
            let second = async {
                begun.acquire().await.expect("open").forget();
                hubs.is_in_redis(&leave).await;
                let ask = hubs.b.catalogue.cache().get_or_load(&key, load("b"));
                // The second has asked, and looks for the value again and again, while the first ends and tells it.
                tokio::join!(biased; ask, async { gate.add_permits(2) }).0
            };
            let (first, second) = tokio::join!(first, second);
            let (first, second) = (first.expect("an answer"), second.expect("an answer"));
            assert_eq!((first.0[0].as_str(), second.0[0].as_str()), ("a", "a"), "the second load never began");
        }
    });
}

#[test]
fn an_instance_that_dies_over_an_expensive_load_holds_up_the_others_for_a_second() {
    in_system(async {
        let hubs = pair().await;
        let (key, leave) = page(51);
        hubs.redis.command(&["SET", &leave, "1", "PX", "60000"]).await;
        let begun = Instant::now();
        let load = async { Ok(Loaded::Keep(hubbub::cache::Ids(vec![p()]))) };
        let got = hubs.b.catalogue.cache().get_or_load(&key, load).await.expect("an answer");
        assert_eq!(got.0, [p()]);
        assert!(
            (Duration::from_millis(900)..Duration::from_secs(3)).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
    });
}

/// The bus of one instance is dead and it has not noticed: the writer waits until the other has read the log, or cannot
/// believe its cache any more.
#[test]
fn a_write_that_the_bus_does_not_carry_is_seen_all_the_same() {
    in_system(async {
        let redis = RedisServer::start().await;
        let proxy = Proxy::to(redis.address()).await;
        let home = TempDir::new().expect("a folder");
        let a = Instance::start_with(home.path(), &["--redis-url", &redis.url()]).await;
        let b = Instance::start_with(home.path(), &["--redis-url", &redis.url_at(proxy.address())]).await;
        let project =
            Project { id: p(), name: "0".into(), visibility: Visibility::Public, created_at: hubbub::clock::now_utc() };
        a.catalogue.create_project(&project, None).await.expect("an answer");
        proxy.lose();
        for n in 1..=5 {
            let (writer, reader) = if n % 2 == 0 { (&b, &a) } else { (&a, &b) };
            assert_eq!(reader.name().await, (n - 1).to_string());
            let begun = Instant::now();
            writer.rename(&n.to_string()).await;
            assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
            assert_eq!(reader.name().await, n.to_string());
        }
        proxy.resume();
        eventually("writes are quick again", async || {
            let begun = Instant::now();
            a.rename("x").await;
            assert_eq!(b.name().await, "x");
            (begun.elapsed() < Duration::from_millis(100)).then_some(())
        })
        .await;
    });
}
