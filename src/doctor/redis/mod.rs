//! Redis, from the outside in: the way there, the login, keys, channels, the server itself.

mod channels;
mod keys;
mod server;
mod way;

use std::{cell::RefCell, collections::BTreeSet, sync::Arc, time::Duration};

use super::examination::{Examination, Verdict};
use crate::{
    config::RedisConfig,
    health::{Health, Link, Links},
    redis::{Commands, Fault, Faults, RedisThread},
};

/// How often a state that will change soon is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// What a check that hangs says.
const HANGS: &str = "look at the load of Redis and at the network on the way to the host in REDIS_URL";

/// What makes no sense without a login.
const WITH_LOGIN: &[&str] = &[
    "redis.ping",
    "redis.set-get",
    "redis.ttl",
    "redis.delete",
    "redis.batch",
    "redis.scan",
    "redis.scripts",
    "redis.pubsub",
    "redis.sharded-pubsub",
    "redis.info",
    "redis.version",
    "redis.role",
    "redis.memory",
    "redis.eviction",
    "redis.persistence",
    "redis.clients",
    "redis.clock",
    "redis.latency",
    "redis.permissions",
];

/// A way to ask Redis that works.
struct Session {
    commands: Commands,
    thread: RedisThread,
    /// With times that fit into a check, and one connection.
    config: RedisConfig,
    /// How many connections the hub would have.
    pool_size: usize,
    /// What was asked for and not permitted, as `ACL SETUSER` would grant it.
    missing: RefCell<BTreeSet<String>>,
}

pub(super) async fn examine(config: Option<&RedisConfig>, examination: &mut Examination) {
    let Some(config) = config else {
        examination.note("redis.configured", Verdict::skipped("no REDIS_URL: this instance is on its own"));
        return;
    };
    if !way::examine(config, examination).await {
        examination.skip(&["redis.login"], "Redis cannot be reached");
        return examination.skip(WITH_LOGIN, "Redis cannot be reached");
    }
    let Some(session) = log_in(config, examination).await else {
        return examination.skip(WITH_LOGIN, "there is no login");
    };
    keys::examine(&session, examination).await;
    channels::examine(&session, examination).await;
    server::examine(&session, examination).await;
    examination.note("redis.permissions", session.permissions());
    drop(tokio::time::timeout(examination.check_limit(), session.commands.close()).await);
}

async fn log_in(config: &RedisConfig, examination: &mut Examination) -> Option<Session> {
    let (limit, pool_size) = (examination.check_limit(), config.pool_size);
    let mut config = config.clone();
    // A fault of its own says more than a check that was given up.
    config.connect_timeout = config.connect_timeout.min(limit * 3 / 4);
    config.command_timeout = config.command_timeout.min(limit / 2);
    (config.pool_size, config.tries_max) = (1, 1);
    let health = unknown_health();
    let thread = RedisThread::start();
    let faults = Faults::new(Arc::clone(&health), &config.key_prefix);
    let commands = match Commands::start(&thread, &config, faults).await {
        Ok(commands) => commands,
        Err(fault) => {
            examination.note("redis.login", failed_for(&fault));
            return None;
        }
    };
    let login = async {
        loop {
            let answer = commands.ping().await;
            // A user that may do nothing has logged in all the same: what is missing is told below.
            if answer.is_ok() || answer.is_err_and(is_forbidden) {
                let user = config.address.username.as_deref().unwrap_or("default");
                return Verdict::passed(format!("as user `{user}`, database {}", config.address.database));
            }
            if let Some(fault) = health.redis_fault() {
                return failed_for(&fault);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    let logged_in = examination.check("redis.login", HANGS, login).await;
    logged_in.then_some(Session { commands, thread, config, pool_size, missing: RefCell::default() })
}

/// For parts that say what they meet to a [`Health`].
fn unknown_health() -> Arc<Health> {
    Arc::new(Health::new(Links { database: Link::NotConfigured, redis: Link::Disconnected }))
}

impl Session {
    /// The verdict for a fault, which is remembered if it is one of permission.
    fn failed(&self, fault: Fault) -> Verdict {
        let words = fault.words(&self.config.key_prefix);
        self.remember(&words);
        failed_for(&words)
    }

    fn remember(&self, words: &str) {
        self.missing.borrow_mut().extend(grants(words));
    }

    fn permissions(&self) -> Verdict {
        let user = self.config.address.username.as_deref().unwrap_or("default");
        let missing: Vec<_> = self.missing.borrow().iter().cloned().collect();
        if missing.is_empty() {
            return Verdict::passed(format!("user `{user}` may do all that the hub needs"));
        }
        let missing = missing.join(" ");
        let remedy = format!(
            "on the server: ACL SETUSER {user} {missing} (docs/redis.md lists all that REDIS_URL's user needs)"
        );
        Verdict::failed(format!("user `{user}` lacks {missing}"), remedy)
    }
}

fn is_forbidden(fault: Fault) -> bool {
    matches!(fault, Fault::ForbiddenCommand(_) | Fault::ForbiddenKey | Fault::ForbiddenChannel)
}

/// What the words of a fault say should be granted.
fn grants(words: &str) -> impl Iterator<Item = String> {
    let quoted = words.split('`').skip(1).step_by(2);
    let grants = quoted.filter(|text| text.starts_with(['+', '~', '&'])).filter(|_| words.contains("ACL SETUSER"));
    grants.map(str::to_owned)
}

/// Words of a fault are what happened, a colon, and what to do; the setting may stand on either side.
fn failed_for(words: &str) -> Verdict {
    let (text, remedy) = words.split_once(": ").unwrap_or((words, "check REDIS_URL"));
    let named = remedy.contains("REDIS_") || !text.contains("REDIS_URL");
    Verdict::failed(text, if named { remedy.to_owned() } else { format!("{remedy} (REDIS_URL)") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_from_the_words_of_faults() {
        let of = |fault: Fault| grants(&fault.words("app:")).collect::<Vec<_>>();
        assert_eq!(of(Fault::ForbiddenCommand("scan")), ["+scan"]);
        assert_eq!(of(Fault::ForbiddenKey), ["~app:*"]);
        assert_eq!(of(Fault::NotDelivered("subscribe")), ["+subscribe", "&app:*"]);
        assert!(of(Fault::OutOfMemory).is_empty() && of(Fault::Credentials).is_empty());
    }

    #[test]
    fn every_fault_has_a_remedy() {
        let faults =
            [Fault::Refused, Fault::Credentials, Fault::NotTls, Fault::OutOfMemory, Fault::ReadOnly, Fault::Other];
        for fault in faults {
            let Verdict::Failed(text, remedy) = failed_for(&fault.words("app:")) else { panic!("{fault}") };
            assert!(!text.is_empty() && remedy.len() > 10, "{fault}: {text}, {remedy}");
        }
    }
}
