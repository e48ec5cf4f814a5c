//! What the hub does with keys, done once: under a name of the doctor's own, with a lifetime, and taken away at the end.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{HANGS, Session};
use crate::{
    doctor::examination::{Examination, Verdict},
    ids::InstanceId,
    redis::{Fault, Script, When},
};

/// What is left behind by a doctor that was killed is gone after it.
const LIFETIME: Duration = Duration::from_secs(60);
/// A key that is to expire while it is looked at.
const SHORT_LIFETIME: Duration = Duration::from_millis(100);
/// Keys of a batch.
const BATCH: usize = 100;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return #redis.call('GET', KEYS[1])")
});

/// The doctor's keys: `{prefix}doctor:{random}:…`.
struct Keys<'a> {
    session: &'a Session,
    start: String,
}

/// A check that ends with a fault, or with a verdict.
type Checked = Result<Verdict, Fault>;

pub(super) async fn examine(session: &Session, examination: &mut Examination) {
    let keys = Keys { session, start: format!("doctor:{}:", InstanceId::random()) };
    let patience = examination.check_limit() / 2;
    examination.check("redis.ping", HANGS, keys.verdict(keys.ping())).await;
    examination.check("redis.set-get", HANGS, keys.verdict(keys.set_get())).await;
    examination.check("redis.ttl", HANGS, keys.verdict(keys.ttl())).await;
    examination.check("redis.delete", HANGS, keys.verdict(keys.delete())).await;
    examination.check("redis.batch", HANGS, keys.verdict(keys.batch())).await;
    examination.check("redis.scan", HANGS, keys.verdict(keys.scan(patience))).await;
    examination.check("redis.scripts", HANGS, keys.verdict(keys.scripts())).await;
    drop(tokio::time::timeout(patience, keys.clean_up()).await);
}

impl Keys<'_> {
    async fn verdict(&self, check: impl Future<Output = Checked>) -> Verdict {
        check.await.unwrap_or_else(|fault| self.session.failed(fault))
    }

    fn key(&self, what: impl std::fmt::Display) -> String {
        format!("{}{what}", self.start)
    }

    async fn set(&self, key: &str, lifetime: Duration) -> Result<(), Fault> {
        self.session.commands.set(key, value(), lifetime, When::Always).await.map(drop)
    }

    async fn ping(&self) -> Checked {
        let took = self.session.commands.ping().await?;
        Ok(Verdict::passed(format!("answered in {:.2} ms", took.as_secs_f64() * 1e3)))
    }

    async fn set_get(&self) -> Checked {
        let key = self.key("value");
        self.set(&key, LIFETIME).await?;
        Ok(match self.session.commands.get(&key).await? {
            Some(found) if found == value() => Verdict::passed("what was written was read"),
            Some(_) => Verdict::failed("another value was read than was written", SHARED),
            None => {
                Verdict::failed("what was written was gone at once", "look at the memory of Redis: it evicts at once")
            }
        })
    }

    async fn ttl(&self) -> Checked {
        let (key, begun) = (self.key("short"), Instant::now());
        self.set(&key, SHORT_LIFETIME).await?;
        while self.session.commands.get(&key).await?.is_some() {
            tokio::time::sleep(super::LOOK_INTERVAL).await;
        }
        let (gone, meant) = (begun.elapsed().as_millis(), SHORT_LIFETIME.as_millis());
        Ok(Verdict::passed(format!("a key with a lifetime of {meant} ms was gone after {gone} ms")))
    }

    async fn delete(&self) -> Checked {
        let (commands, keys) = (&self.session.commands, [self.key("one"), self.key("other")]);
        for key in &keys {
            self.set(key, LIFETIME).await?;
        }
        let taken = commands.getdel(&keys[0]).await?;
        let removed = commands.unlink(&keys).await?;
        let left = commands.get(&keys[1]).await?;
        Ok(if taken == Some(value()) && removed == 1 && left.is_none() {
            Verdict::passed("a value was taken once, and what was deleted is gone")
        } else {
            Verdict::failed("deleted keys are still there, or were gone before", SHARED)
        })
    }

    async fn batch(&self) -> Checked {
        let (commands, begun) = (&self.session.commands, Instant::now());
        let keys: Vec<String> = (0..BATCH).map(|n| self.key(format_args!("batch:{n}"))).collect();
        commands.mset(keys.iter().map(|key| (key.clone(), value(), LIFETIME)).collect()).await?;
        let found = commands.mget(&keys).await?.into_iter().flatten().count();
        commands.unlink(&keys).await?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        Ok(if found == BATCH {
            Verdict::passed(format!("{BATCH} keys written, read and deleted in {took:.1} ms"))
        } else {
            Verdict::failed(
                format!("of {BATCH} keys only {found} were read again"),
                "look at the memory of Redis: it evicts at once",
            )
        })
    }

    /// Stops when it found what it looks for, and after a while: a server in use may have millions of keys.
    async fn scan(&self, patience: Duration) -> Checked {
        let key = self.key("scanned");
        self.set(&key, LIFETIME).await?;
        let (mut scan, begun, mut steps) = (self.session.commands.scan(&self.start), Instant::now(), 0);
        while let Some(found) = scan.next().await? {
            steps += 1;
            if found.contains(&key) {
                return Ok(Verdict::passed(format!("a key was found by its beginning in {steps} step(s)")));
            }
            if begun.elapsed() > patience {
                return Ok(Verdict::passed(format!("works; there are too many keys to walk over all ({steps} steps)")));
            }
        }
        Ok(Verdict::failed("a key that is there was not found", SHARED))
    }

    async fn scripts(&self) -> Checked {
        let key = self.key("script");
        for _ in 0..2 {
            // The second time the server knows it.
            let arguments = vec![value(), Bytes::from(LIFETIME.as_millis().to_string())];
            let length: usize = self.session.commands.eval(&SCRIPT, &[&key], arguments).await?;
            if length != value().len() {
                return Ok(Verdict::failed(
                    "a script gave another answer than it should",
                    "check that REDIS_URL leads to a Redis or Valkey server",
                ));
            }
        }
        Ok(Verdict::passed("a script ran by its text and by its hash"))
    }

    async fn clean_up(&self) {
        let keys = ["value", "short", "one", "other", "scanned", "script"].map(|what| self.key(what));
        let _ = self.session.commands.unlink(&keys).await; // else their lifetime ends them
    }
}

const SHARED: &str = "check that nothing else deletes or writes keys under REDIS_KEY_PREFIX";

fn value() -> Bytes {
    Bytes::from_static(b"written by hubbub doctor")
}
