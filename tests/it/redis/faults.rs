//! K8: what is wrong is said in the log and by the health route, each fault in its own words, and never the password.

use std::sync::Arc;

use bytes::Bytes;
use hubbub::{
    health::{Health, Link, Links},
    redis::{Commands, Fault, Faults, RedisThread, Script, When},
};

use super::servers::{full, with_tls};
use crate::support::{
    RedisCluster, RedisServer, Sentinels, TestHub,
    certificates::Authority,
    cluster::{PASSWORD, connected},
    eventually,
    library::{in_system, redis_config},
    ports::free_port,
};

/// Waits until log and health route of a hub say so.
async fn says(settings: &[(&str, &str)], words: &str) {
    let settings = [&[("HUBBUB_LOG", "debug"), ("REDIS_CONNECT_TIMEOUT", "800")], settings].concat();
    let hub = TestHub::with(&settings).await;
    let (mut log, mut health) = (String::new(), String::new());
    let what = format!("it says `{words}`");
    eventually(&what, async || {
        log = hub.log();
        health = hub.http().get("/health").await.body;
        let logged = log.lines().any(|line| line.contains(" WARN ") && line.contains(words));
        (logged && health.contains(words)).then_some(())
    })
    .await;
    for said in [log, health] {
        assert!(!said.contains(PASSWORD), "the password is shown");
    }
}

#[tokio::test]
async fn a_refused_connection() {
    says(&[("REDIS_URL", &format!("redis://:{PASSWORD}@127.0.0.1:{}", free_port()))], "nothing listens").await;
}

#[tokio::test]
async fn a_wrong_password() {
    let redis = RedisServer::with_password("another").await;
    says(&[("REDIS_URL", &format!("redis://:{PASSWORD}@{}", redis.address()))], "refused the user or password").await;
}

#[tokio::test]
async fn a_user_who_is_unknown() {
    let redis = RedisServer::with_password(PASSWORD).await;
    says(&[("REDIS_URL", &format!("redis://nobody:{PASSWORD}@{}", redis.address()))], "refused the user").await;
}

#[tokio::test]
async fn no_answer() {
    let redis = RedisServer::start().await;
    redis.pause();
    says(&[("REDIS_URL", &redis.url()), ("REDIS_COMMAND_TIMEOUT", "500")], "does not answer in time").await;
    redis.resume();
}

#[tokio::test]
async fn an_unknown_authority() {
    let (_redis, url) = with_tls(&Authority::new(), &["localhost"]).await;
    let other = Authority::new();
    says(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &other.file())], "unknown authority: set REDIS_TLS_CA_FILE")
        .await;
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let authority = Authority::new();
    let (_redis, url) = with_tls(&authority, &["elsewhere.example"]).await;
    says(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &authority.file())], "for another name than the host").await;
}

#[tokio::test]
async fn tls_to_a_port_without() {
    let redis = RedisServer::start().await;
    let url = redis.url().replace("redis://", "rediss://");
    says(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &Authority::new().file())], "write redis:// there").await;
}

#[tokio::test]
async fn no_tls_to_a_port_with() {
    let authority = Authority::new();
    let (_redis, url) = with_tls(&authority, &["localhost"]).await;
    says(&[("REDIS_URL", &url.replace("rediss://", "redis://"))], "if it expects TLS write rediss://").await;
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate() {
    let authority = Authority::new();
    let (redis, url) = with_tls(&authority, &["localhost"]).await;
    redis.ask(&["CONFIG", "SET", "tls-auth-clients", "yes"]).await;
    says(&[("REDIS_URL", &url), ("REDIS_TLS_CA_FILE", &authority.file())], "tls-auth-clients to no").await;
}

async fn with_grants(grants: &[&str]) -> (RedisServer, String) {
    let redis = RedisServer::start().await;
    let password = format!(">{PASSWORD}");
    redis.ask(&[&["ACL", "SETUSER", "hub", "on", &password], grants].concat()).await;
    let url = format!("redis://hub:{PASSWORD}@{}", redis.address());
    (redis, url)
}

#[tokio::test]
async fn channels_that_are_not_permitted() {
    let (_redis, url) = with_grants(&["+@all", "~*", "resetchannels", "&another:*"]).await;
    says(&[("REDIS_URL", &url)], "`&hubbub:*`").await;
}

#[tokio::test]
async fn a_subscription_that_is_not_permitted() {
    let (_redis, url) = with_grants(&["+@all", "-subscribe", "~*", "&*"]).await;
    says(&[("REDIS_URL", &url)], "`+subscribe`").await;
}

#[tokio::test]
async fn a_command_that_is_not_permitted() {
    let (_redis, url) = with_grants(&["+@all", "-publish", "~*", "&*"]).await;
    says(&[("REDIS_URL", &url)], "`+publish`").await;
}

#[tokio::test]
async fn a_server_that_is_loading() {
    let mut redis = RedisServer::with_settings(&[
        ["key-load-delay", "1000"],
        ["loading-process-events-interval-bytes", "1024"],
        ["enable-debug-command", "yes"],
    ])
    .await;
    redis.ask(&["DEBUG", "POPULATE", "5000", "key", "100"]).await;
    redis.ask(&["SAVE"]).await;
    redis.kill();
    redis.spawn();
    says(&[("REDIS_URL", &redis.url())], "still loading").await;
}

#[tokio::test]
async fn a_server_that_takes_no_more_clients() {
    let redis = RedisServer::with_settings(&[["maxclients", "1"]]).await;
    says(&[("REDIS_URL", &redis.url())], "maxclients").await;
}

#[tokio::test]
async fn a_server_alone_where_a_cluster_is_meant() {
    let redis = RedisServer::start().await;
    says(&[("REDIS_URL", &redis.url().replace("redis://", "redis-cluster://"))], "is no Redis Cluster").await;
}

#[tokio::test]
async fn a_cluster_that_is_down() {
    let cluster = RedisCluster::start(0).await;
    let slot = cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", "x"]).await.concat();
    for node in &cluster.nodes {
        node.ask(&["CLUSTER", "DELSLOTS", &slot]).await;
    }
    says(&[("REDIS_URL", &cluster.url())], "Cluster is down").await;
}

#[tokio::test]
async fn sentinels_that_do_not_let_us_in_or_do_not_know_the_service() {
    let sentinels = Sentinels::start("pw", "sentinel-pw").await;
    says(&[("REDIS_URL", &sentinels.url("pw", PASSWORD))], "sentinelPassword").await;
    let url = sentinels.url("pw", "sentinel-pw").replace("ServiceName=hub", "ServiceName=another");
    says(&[("REDIS_URL", &url)], "sentinelServiceName").await;
    says(&[("REDIS_URL", &sentinels.url(PASSWORD, "sentinel-pw"))], "refused the user or password").await;
}

#[tokio::test]
async fn what_was_wrong_is_not_said_any_more() {
    let mut redis = RedisServer::start().await;
    redis.stop().await;
    let hub = TestHub::with(&[("REDIS_URL", &redis.url())]).await;
    let fault = async || hub.http().get("/health").await.json()["redis_fault"].as_str().map(str::to_owned);
    assert!(eventually("it says what is wrong", fault).await.contains("nothing listens"));
    redis.restart().await;
    connected(&hub).await;
    eventually("it is not said any more", async || fault().await.is_none().then_some(())).await;
}

struct Asking {
    commands: Commands,
    health: Arc<Health>,
}

impl Asking {
    async fn start(url: &str) -> Self {
        let health = Arc::new(Health::new(Links { database: Link::Connected, redis: Link::Connected }));
        let faults = Faults::new(Arc::clone(&health), "hubbub:");
        let commands = Commands::start(&RedisThread::start(), &redis_config(&["--redis-url", url]), faults).await;
        Self { commands: commands.expect("a good address"), health }
    }

    async fn write(&self) -> Result<bool, Fault> {
        self.commands.set("key", Bytes::from_static(b"value"), std::time::Duration::from_secs(60), When::Always).await
    }

    /// What a write meets, once there is a connection.
    async fn fault(&self) -> Fault {
        eventually("a write is refused", async || {
            self.write().await.err().filter(|fault| *fault != Fault::Disconnected)
        })
        .await
    }
}

#[test]
fn a_full_server() {
    in_system(async {
        let redis = full().await;
        let asking = Asking::start(&redis.url()).await;
        assert_eq!(asking.fault().await, Fault::OutOfMemory);
        let script = Script::new("return redis.call('SET', KEYS[1], 'x')");
        assert_eq!(asking.commands.eval::<()>(&script, &["key"], vec![]).await, Err(Fault::OutOfMemory));
        assert_eq!(asking.commands.get("key").await, Ok(None), "reading goes on");
        assert!(asking.health.redis_fault().is_some_and(|fault| fault.contains("raise its maxmemory")));
        redis.ask(&["FLUSHALL"]).await;
        assert_eq!(asking.write().await, Ok(true));
        assert_eq!(asking.health.redis_fault(), None);
    });
}

#[test]
fn a_read_only_replica() {
    in_system(async {
        let primary = RedisServer::start().await;
        let of = format!("127.0.0.1 {}", primary.port());
        let replica = RedisServer::with_settings(&[["replicaof", &of]]).await;
        let asking = Asking::start(&replica.url()).await;
        assert_eq!(asking.fault().await, Fault::ReadOnly);
        assert!(asking.health.redis_fault().is_some_and(|fault| fault.contains("redis-sentinel://")));
    });
}

#[test]
fn keys_and_commands_that_are_not_permitted() {
    in_system(async {
        let (_redis, url) = with_grants(&["+@all", "-set", "~another:*", "&*"]).await;
        let asking = Asking::start(&url).await;
        assert_eq!(asking.fault().await, Fault::ForbiddenCommand("set"));
        assert_eq!(asking.commands.get("key").await, Err(Fault::ForbiddenKey));
    });
}

#[test]
fn a_node_of_a_cluster_where_a_server_is_meant() {
    in_system(async {
        let cluster = RedisCluster::start(0).await;
        let elsewhere = (cluster.owner_of("hubbub:key").await + 1) % 3;
        let asking = Asking::start(&cluster.nodes[elsewhere].url()).await;
        assert_eq!(asking.fault().await, Fault::IsCluster);
    });
}
