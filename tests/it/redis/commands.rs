//! The handle that the rest of the hub asks Redis by.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hubbub::{
    health::{Health, Link, Links},
    redis::{Commands, Fault, Faults, RedisThread, Script, When},
};

use crate::support::{
    Proxy, RedisServer, eventually,
    library::{AT_ONCE, in_system, redis_config},
    resp::Reply,
};

const MINUTE: Duration = Duration::from_secs(60);

pub async fn start(flags: &[&str]) -> Commands {
    let health = Health::new(Links { database: Link::Connected, redis: Link::Connected });
    let faults = Faults::new(Arc::new(health), "hubbub:");
    let commands = Commands::start(&RedisThread::start(), &redis_config(flags), faults).await.expect("a good address");
    ready(&commands).await;
    commands
}

/// Tries every command.
pub async fn all_succeed(url: &str) {
    all_succeed_with(&["--redis-url", url]).await;
}

/// Tries every command with these settings.
pub async fn all_succeed_with(flags: &[&str]) {
    let commands = start(flags).await;
    let entries: Vec<_> = (0..2_000).map(|n| (format!("k:{n}"), Bytes::from(n.to_string()), MINUTE)).collect();
    let keys: Vec<_> = entries.iter().map(|(key, ..)| key.clone()).collect();
    commands.mset(entries).await.expect("they are written");
    let values: Vec<_> = (0..2_000).map(|n| Some(Bytes::from(n.to_string()))).collect();
    assert_eq!(commands.mget(&keys).await, Ok(values));
    let (mut scan, mut found) = (commands.scan("k:"), std::collections::HashSet::new());
    while let Some(keys) = scan.next().await.expect("a step") {
        found.extend(keys);
    }
    assert_eq!(found.len(), 2_000);
    assert_eq!(commands.unlink(&keys).await, Ok(2_000));
    assert_eq!(commands.set("one", text("ASK me anything"), MINUTE, When::Absent).await, Ok(true));
    assert_eq!(commands.get("one").await, Ok(Some(text("ASK me anything"))));
    assert_eq!(commands.getdel("one").await, Ok(Some(text("ASK me anything"))));
    assert_eq!(commands.getdel("one").await, Ok(None));
    let count = Script::new("return redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) and 7");
    for n in 0..20 {
        assert_eq!(commands.eval(&count, &[&format!("s:{n}")], vec![text("x")]).await, Ok(7));
    }
    assert!(commands.time().await.expect("a time") > Duration::from_secs(1_700_000_000));
    let memory = commands.info("memory").await.expect("figures");
    assert_eq!(memory.len(), if flags[1].contains("cluster") { 3 } else { 1 });
    assert!(memory.iter().all(|text| text.contains("used_memory:")));
}

async fn ready(commands: &Commands) {
    eventually("commands succeed", async || commands.ping().await.ok()).await;
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Whatever waits for an answer of Redis may be waited for on any thread.
#[test]
fn its_futures_are_good_on_any_thread() {
    fn is_send<T: Send>(_: impl FnOnce(&'static Commands) -> T) {}
    is_send(|commands| commands.get("k"));
    is_send(|commands| commands.set("k", Bytes::new(), MINUTE, When::Always));
    is_send(|commands| commands.mset(Vec::new()));
    is_send(|commands| commands.mget::<&str>(&[]));
    is_send(|commands| commands.mget::<String>(&[]));
    is_send(|commands| commands.unlink::<String>(&[]));
    is_send(|commands| commands.getdel("k"));
    is_send(async |commands| commands.scan("k").next().await);
    is_send(async |commands| commands.eval::<i64>(&Script::new(""), &["k"], vec![]).await);
    is_send(|commands| commands.time());
    is_send(|commands| commands.info("memory"));
    is_send(|commands| commands.ping());
}

#[test]
fn keys_are_written_for_a_time_read_and_removed() {
    in_system(async {
        let redis = RedisServer::start().await;
        let redis_url = redis.url();
        let commands = start(&["--redis-url", &redis_url, "--redis-key-prefix", "app:"]).await;
        assert_eq!(commands.get("a").await, Ok(None));
        assert_eq!(commands.set("a", text("1"), MINUTE, When::Present).await, Ok(false));
        assert_eq!(commands.set("a", text("1"), MINUTE, When::Absent).await, Ok(true));
        assert_eq!(commands.set("a", text("2"), MINUTE, When::Absent).await, Ok(false));
        assert_eq!(commands.set("a", text("3"), MINUTE, When::Present).await, Ok(true));
        assert_eq!(commands.get("a").await, Ok(Some(text("3"))));
        let Reply::Number(left) = redis.command(&["PTTL", "app:a"]).await else { panic!("no number") };
        assert!((50_000..=60_000).contains(&left), "{left}");
        commands.set("soon", text("x"), Duration::from_millis(30), When::Always).await.expect("it is written");
        eventually("a key is gone when its time is over", async || {
            commands.get("soon").await.expect("an answer").is_none().then_some(())
        })
        .await;
        let entries = (0..1_000).map(|n| (format!("many:{n}"), Bytes::from(n.to_string()), MINUTE)).collect();
        commands.mset(entries).await.expect("they are written");
        let keys: Vec<_> = (0..1_000).map(|n| format!("many:{n}")).chain(["nothing".into()]).collect();
        let values = commands.mget(&keys).await.expect("they are read");
        let mut expected: Vec<_> = (0..1_000).map(|n| Some(Bytes::from(n.to_string()))).collect();
        expected.push(None);
        assert_eq!(values, expected);
        assert_eq!(commands.unlink(&keys[..10]).await, Ok(10));
        assert_eq!(commands.unlink(&keys[..11]).await, Ok(1));
        assert_eq!(commands.getdel("a").await, Ok(Some(text("3"))));
        assert_eq!(commands.getdel("a").await, Ok(None));
        assert_eq!(commands.mget::<&str>(&[]).await, Ok(vec![]));
    });
}

/// fred takes lists that begin so for news of a subscription, and answers for the answer to another question.
#[test]
fn values_that_look_like_protocol_are_values() {
    in_system(async {
        let redis = RedisServer::start().await;
        let commands = start(&["--redis-url", &redis.url(), "--redis-pool-size", "1"]).await;
        let odd = ["message", "subscribe", "MOVED 1 127.0.0.1:1", "ASK 1 127.0.0.1:1", "-ERR", "", "\r\n"];
        for first in odd {
            let keys = ["one", "two", "three"];
            let values = [first, "hubbub:room:p/r", "x"];
            for (key, value) in keys.iter().zip(values) {
                commands.set(key, text(value), MINUTE, When::Always).await.expect("it is written");
            }
            assert_eq!(commands.mget(&keys).await, Ok(values.map(|value| Some(text(value))).to_vec()));
            assert_eq!(commands.get("one").await, Ok(Some(text(first))));
        }
    });
}

#[test]
fn a_walk_finds_every_key_of_a_prefix_and_no_other() {
    in_system(async {
        let redis = RedisServer::start().await;
        let commands = start(&["--redis-url", &redis.url(), "--redis-key-prefix", "a*[b]?\\:"]).await;
        let entry = |key: String| (key, Bytes::new(), MINUTE);
        commands.mset((0..3_000).map(|n| entry(format!("in:{n}"))).collect()).await.expect("written");
        commands.mset(vec![entry("out:1".into()), entry("i".into())]).await.expect("written");
        redis.command(&["SET", "axb?\\:in:7777", "another app's"]).await;
        let (mut scan, mut found, mut steps) = (commands.scan("in:"), Vec::new(), 0);
        while let Some(keys) = scan.next().await.expect("a step") {
            found.extend(keys);
            steps += 1;
        }
        found.sort();
        found.dedup();
        let mut expected: Vec<_> = (0..3_000).map(|n| format!("in:{n}")).collect();
        expected.sort();
        assert_eq!(found, expected);
        assert!(steps > 3, "{steps} steps");
        assert_eq!(scan.next().await, Ok(None));
    });
}

#[test]
fn a_script_is_loaded_when_the_server_does_not_know_it() {
    in_system(async {
        let redis = RedisServer::start().await;
        let commands = start(&["--redis-url", &redis.url()]).await;
        let count = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        for expected in [2, 4] {
            assert_eq!(commands.eval(&count, &["n"], vec![text("2")]).await, Ok(expected));
        }
        redis.command(&["SCRIPT", "FLUSH"]).await;
        assert_eq!(commands.eval(&count, &["n"], vec![text("2")]).await, Ok(6));
        assert_eq!(redis.command(&["GET", "hubbub:n"]).await, Reply::Text("6".into()));
        let wrong = Script::new("return redis.call('NONSENSE')");
        assert_eq!(commands.eval::<i64>(&wrong, &["n"], vec![]).await, Err(Fault::Other));
    });
}

#[test]
fn it_tells_time_figures_and_latency() {
    in_system(async {
        let redis = RedisServer::start().await;
        let commands = start(&["--redis-url", &redis.url()]).await;
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let time = commands.time().await.expect("a time");
        assert!(now.abs_diff(time) < Duration::from_secs(1), "{now:?} {time:?}");
        let memory = commands.info("memory").await.expect("figures");
        assert!(memory.len() == 1 && memory[0].contains("used_memory:"), "{memory:?}");
        assert!(commands.ping().await.expect("an answer") < Duration::from_secs(1));
    });
}

#[test]
fn without_redis_it_fails_at_once_and_with_redis_it_is_back() {
    in_system(async {
        let mut redis = RedisServer::start().await;
        let commands = start(&["--redis-url", &redis.url()]).await;
        redis.stop().await;
        eventually("the loss is noticed", async || (commands.get("a").await == Err(Fault::Disconnected)).then_some(()))
            .await;
        let asked = Instant::now();
        assert_eq!(commands.set("a", text("1"), MINUTE, When::Always).await, Err(Fault::Disconnected));
        assert!(asked.elapsed() < AT_ONCE, "it took {:?}", asked.elapsed());
        let back = redis.restart().await;
        ready(&commands).await;
        assert!(back.elapsed() < Duration::from_secs(2), "it took {:?}", back.elapsed());
    });
}

#[test]
fn a_hung_connection_is_noticed_passed_over_and_made_anew() {
    in_system(async {
        let redis = RedisServer::start().await;
        let network = Proxy::to(redis.address()).await;
        let commands = start(&["--redis-url", &redis.url_at(network.address())]).await;
        network.stall();
        let hung = Instant::now();
        assert_eq!(commands.get("a").await, Err(Fault::Timeout), "the first ones wait for their time");
        eventually("it fails at once", async || {
            let asked = Instant::now();
            (commands.get("a").await == Err(Fault::Disconnected) && asked.elapsed() < AT_ONCE).then_some(())
        })
        .await;
        assert!(hung.elapsed() < Duration::from_secs(5), "it took {:?}", hung.elapsed());
        network.resume();
        let back = Instant::now();
        ready(&commands).await;
        assert!(back.elapsed() < Duration::from_secs(4), "it took {:?}", back.elapsed());
    });
}

/// They never hear again, and nobody says so.
#[test]
fn a_connection_that_a_middlebox_forgot_is_made_anew() {
    in_system(async {
        let redis = RedisServer::start().await;
        let network = Proxy::to(redis.address()).await;
        let commands = start(&["--redis-url", &redis.url_at(network.address()), "--redis-pool-size", "1"]).await;
        network.strand();
        let stranded = Instant::now();
        eventually("it is noticed", async || commands.get("a").await.is_err().then_some(())).await;
        ready(&commands).await;
        assert!(stranded.elapsed() < Duration::from_secs(6), "it took {:?}", stranded.elapsed());
    });
}

#[test]
fn a_command_that_may_be_repeated_survives_a_cut_and_none_is_doubled() {
    in_system(async {
        let redis = RedisServer::start().await;
        let network = Proxy::to(redis.address()).await;
        let commands = start(&["--redis-url", &redis.url_at(network.address())]).await;
        let count = Script::new("return redis.call('INCR', KEYS[1])");
        let mut acknowledged = 0;
        for _ in 0..5 {
            network.cut();
            for _ in 0..200 {
                acknowledged += i64::from(commands.eval::<i64>(&count, &["n"], vec![]).await.is_ok());
            }
            ready(&commands).await;
        }
        let counted: i64 = commands.eval(&count, &["n"], vec![]).await.expect("an answer");
        assert!(counted > acknowledged, "{counted} of {acknowledged}");
        assert!(counted <= 1_001, "a script ran twice: {counted}");
    });
}

#[test]
fn more_than_it_takes_waits_and_is_answered() {
    in_system(async {
        let redis = RedisServer::start().await;
        let commands = start(&["--redis-url", &redis.url(), "--redis-command-timeout", "20000"]).await;
        commands.set("a", text("1"), MINUTE, When::Always).await.expect("written");
        let asked = (0..30_000).map(|_| commands.get("a"));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| *answer == Ok(Some(text("1")))));
    });
}
