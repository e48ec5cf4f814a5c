//! What is tried from within: parts of the hub as a library, on real servers. They run in an actix system.

use std::{sync::Arc, time::Duration};

use clap::{Args as _, Command, FromArgMatches as _};
use hubbub::{
    config::{Config, RedisConfig, Settings},
    health::{Health, Link, Links},
    redis::{Commands, Faults, RedisThread},
};

use super::{RedisServer, eventually, poll::PATIENCE};

/// Runs a test of a part of the hub.
pub fn in_system(test: impl Future<Output = ()>) {
    actix::System::new().block_on(async { tokio::time::timeout(PATIENCE * 6, test).await.expect("it ended in time") });
}

/// The same within another test, on a thread of its own.
pub async fn in_system_beside<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    tokio::task::spawn_blocking(|| in_system(test())).await.expect("it succeeded");
}

/// What the hub makes of its settings, given as flags.
pub fn redis_config(flags: &[&str]) -> RedisConfig {
    config(flags).redis.expect("a Redis")
}

/// As [`redis_config`], all of it.
pub fn config(flags: &[&str]) -> Config {
    let command = Settings::augment_args(Command::new("hubbub")).mut_args(|arg| arg.env(None::<&str>));
    let matches = command.try_get_matches_from(["hubbub"].iter().chain(flags)).expect("flags");
    let settings = Settings::from_arg_matches(&matches).expect("settings");
    Config::from_settings(&settings).expect("good settings")
}

/// The handle that the hub asks Redis by, once commands succeed.
pub async fn redis_commands(redis: &RedisServer) -> Commands {
    let health = Health::new(Links { database: Link::Connected, redis: Link::Connected });
    let config = redis_config(&["--redis-url", &redis.url()]);
    let faults = Faults::new(Arc::new(health), &config.key_prefix);
    let commands = Commands::start(&RedisThread::start(), &config, faults).await.expect("a good address");
    eventually("commands succeed", async || commands.ping().await.ok()).await;
    commands
}

/// Within it a command fails that cannot succeed; it takes microseconds, but the machine may be busy.
pub const AT_ONCE: Duration = Duration::from_millis(20);
