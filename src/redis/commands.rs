//! What the hub asks of Redis besides the bus: keys with a lifetime, scripts, figures.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fred::{
    clients::WithOptions,
    error::Error,
    interfaces::{KeysInterface as _, LuaInterface as _},
    prelude::{Client, ClientLike as _},
    types::{ClusterHash, CustomCommand, Expiration, Key, MultipleKeys, SetOptions, Value},
};
use futures_util::future::try_join_all;

use super::{Fault, Faults, FromReply, Part, RedisThread, Scan, Script, pool::Pool};
use crate::config::RedisConfig;

/// On which condition a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// Only if it is not there (`NX`).
    Absent,
    /// Only if it is there (`XX`).
    Present,
}

/// Asks Redis. Cheap to clone, good on any thread and any runtime. What all methods share:
///
/// - Keys are given without `REDIS_KEY_PREFIX`, which is put before them. Every key that is written has a lifetime.
/// - Without a connection they fail within microseconds with [`Fault::Disconnected`]; none takes longer than
///   `REDIS_COMMAND_TIMEOUT`. What is under way is bounded; who comes on top waits, within that time.
/// - When the connection breaks under a command that may be repeated, it is repeated on another, with at most
///   `REDIS_MAX_RETRIES` tries in all. Scripts and `getdel` are never repeated.
/// - After [`Fault::Broken`] or [`Fault::Timeout`] a write may have been carried out, or may yet be.
#[derive(Clone)]
pub struct Commands {
    pub(super) pool: Arc<Pool>,
    pub(super) prefix: Arc<str>,
    pub(super) timeout: Duration,
    pub(super) tries_max: u32,
}

impl Commands {
    /// Makes the pool of connections on the Redis thread; does not wait for Redis.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn start(thread: &RedisThread, config: &RedisConfig, faults: Faults) -> Result<Self, String> {
        let pool_config = config.clone();
        let pool = thread.run(async move || Pool::start(&pool_config, faults)).await??;
        Ok(Self {
            pool,
            prefix: config.key_prefix.as_str().into(),
            timeout: config.command_timeout,
            tries_max: config.tries_max,
        })
    }

    /// Whether commands have a chance at the moment.
    pub fn is_up(&self) -> bool {
        self.pool.is_up()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// Redis' fault.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, Fault> {
        let key = self.key(key);
        self.repeat(1, Part::Reads, |client| {
            let key = key.clone();
            async move { value_of(&client, key).await }
        })
        .await
    }

    /// The values of keys, in their order, by one pipeline: that reaches all nodes of a cluster.
    ///
    /// # Errors
    /// Redis' fault, if any of them fails.
    pub async fn mget<K: AsRef<str>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>, Fault> {
        let keys: Vec<Key> = keys.iter().map(|key| self.key(key.as_ref())).collect();
        self.repeat(keys.len(), Part::Reads, |client| {
            let keys = keys.clone();
            async move { try_join_all(keys.into_iter().map(|key| value_of(&client, key))).await }
        })
        .await
    }

    /// Writes a key for a time; says whether it was written.
    ///
    /// # Errors
    /// Redis' fault.
    pub async fn set(&self, key: &str, value: Bytes, lifetime: Duration, when: When) -> Result<bool, Fault> {
        let key = self.key(key);
        let condition = match when {
            When::Always => None,
            When::Absent => Some(SetOptions::NX),
            When::Present => Some(SetOptions::XX),
        };
        let set = |client: WithOptions<Client>| {
            let (key, value, condition) = (key.clone(), value.clone(), condition.clone());
            async move {
                let reply: Value = client.set(key, value, Some(for_the_time(lifetime)), condition, false).await?;
                Ok(!reply.is_null())
            }
        };
        // A second NX would find what the first one wrote.
        if when == When::Absent {
            self.once(1, Part::Writes, set).await
        } else {
            self.repeat(1, Part::Writes, set).await
        }
    }

    /// Writes keys, each for its time, in one pipeline.
    ///
    /// # Errors
    /// Redis' fault, if any of them fails; the others may be written.
    pub async fn mset(&self, entries: Vec<(String, Bytes, Duration)>) -> Result<(), Fault> {
        let entries: Vec<(Key, Bytes, Duration)> =
            entries.into_iter().map(|(key, value, lifetime)| (self.key(&key), value, lifetime)).collect();
        self.repeat(entries.len(), Part::Writes, |client| {
            let entries = entries.clone();
            async move {
                let sets = entries.into_iter().map(|(key, value, lifetime)| {
                    client.set::<(), _, _>(key, value, Some(for_the_time(lifetime)), None, false)
                });
                try_join_all(sets).await.map(drop)
            }
        })
        .await
    }

    /// Removes keys; says how many were there.
    ///
    /// # Errors
    /// Redis' fault, if any of them fails; the others may be removed.
    pub async fn unlink<K: AsRef<str>>(&self, keys: &[K]) -> Result<u64, Fault> {
        let keys: Vec<Key> = keys.iter().map(|key| self.key(key.as_ref())).collect();
        self.repeat(keys.len(), Part::Writes, |client| {
            let keys = keys.clone();
            async move {
                let removed = try_join_all(keys.into_iter().map(|key| client.unlink::<u64, _>(key))).await?;
                Ok(removed.into_iter().sum())
            }
        })
        .await
    }

    /// Takes a value: of several who try, one gets it.
    ///
    /// # Errors
    /// Redis' fault. After [`Fault::Broken`] or [`Fault::Timeout`] the value may be gone.
    pub async fn getdel(&self, key: &str) -> Result<Option<Bytes>, Fault> {
        static TAKE: LazyLock<Script> = LazyLock::new(|| {
            Script::new("local value = redis.call('GET', KEYS[1]) redis.call('UNLINK', KEYS[1]) return {value}")
        });
        let taken: Vec<Option<Bytes>> = self.eval(&TAKE, &[key], vec![]).await?;
        Ok(taken.into_iter().next().flatten())
    }

    /// Walks over the keys that begin with a text, in steps.
    pub fn scan(&self, start: &str) -> Scan {
        Scan::new(self.clone(), format!("{}*", as_pattern(&format!("{}{start}", self.prefix))))
    }

    /// Runs a script; loads it first where the server does not know it (any more).
    ///
    /// # Errors
    /// Redis' fault, or the script's.
    pub async fn eval<R: FromReply>(&self, script: &Script, keys: &[&str], args: Vec<Bytes>) -> Result<R, Fault> {
        let keys = MultipleKeys::from(keys.iter().map(|key| self.key(key)).collect::<Vec<_>>());
        let args: Vec<Value> = args.into_iter().map(Value::Bytes).collect();
        self.once(1, Part::Writes, |client| {
            let (hash, keys, args) = (script.hash.clone(), keys.clone(), args.clone());
            async move {
                match client.evalsha(hash, keys.clone(), args.clone()).await {
                    // `EVAL` keeps the script for the next time, too.
                    Err(error) if error.details().starts_with("NOSCRIPT") => client.eval(script.text, keys, args).await,
                    reply => reply,
                }
            }
        })
        .await
    }

    /// The server's clock, as time since 1970.
    ///
    /// # Errors
    /// Redis' fault.
    pub async fn time(&self) -> Result<Duration, Fault> {
        let time = || CustomCommand::new_static("TIME", ClusterHash::Random, false);
        let (seconds, micros): (u64, u64) = self
            .repeat(1, Part::Reads, |client| async move { client.custom(time(), Vec::<Value>::new()).await })
            .await?;
        Ok(Duration::from_secs(seconds) + Duration::from_micros(micros))
    }

    /// A section of `INFO`, one text for each primary of a cluster.
    ///
    /// # Errors
    /// Redis' fault, if any of them fails.
    pub async fn info(&self, section: &'static str) -> Result<Vec<String>, Fault> {
        let mut texts = Vec::new();
        for node in self.pool.nodes() {
            let info = || CustomCommand::new_static("INFO", ClusterHash::Random, false);
            texts.push(self.on_node(&node, |client| async move { client.custom(info(), vec![section]).await }).await?);
        }
        Ok(texts)
    }

    /// Tries a connection; says how long the answer took.
    ///
    /// # Errors
    /// Redis' fault.
    pub async fn ping(&self) -> Result<Duration, Fault> {
        let begun = Instant::now();
        self.once(1, Part::Reads, |client| async move { client.ping::<()>(None).await }).await?;
        Ok(begun.elapsed())
    }

    /// Refuses new commands and ends the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn key(&self, key: &str) -> Key {
        Key::from(format!("{}{key}", self.prefix))
    }
}

/// The value as a list of one. fred would take a bare text of three words that begins with `MOVED` or `ASK` for a
/// redirection within a cluster, and a longer list that begins with `message` for news of a subscription.
async fn value_of(client: &WithOptions<Client>, key: Key) -> Result<Option<Bytes>, Error> {
    let values: Vec<Option<Bytes>> = client.mget(key).await?;
    Ok(values.into_iter().next().flatten())
}

/// Redis takes no lifetime of 0.
fn for_the_time(lifetime: Duration) -> Expiration {
    Expiration::PX(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX).max(1))
}

/// Quotes what `SCAN` would take for a pattern.
fn as_pattern(text: &str) -> String {
    let special = |c| matches!(c, '*' | '?' | '[' | ']' | '^' | '\\');
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
