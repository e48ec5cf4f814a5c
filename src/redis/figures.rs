//! Asks Redis for its figures every so often, so that nobody who wants to see them has to wait for it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use metrics::{Counter, counter, gauge};

use super::{
    Commands, Fault,
    info::{Figures, Info},
};

/// How often Redis is asked.
const INTERVAL: Duration = Duration::from_secs(15);
/// The same until it has answered for the first time, and after it did not.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of Redis' own figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seen {
    /// There is no Redis.
    NotConfigured,
    /// Redis has not answered yet, or does not any more.
    NotNow,
    /// Redis does not tell: `INFO` is not permitted, renamed or unknown.
    Refused,
    /// What it said, and when.
    Known(Figures, Instant),
}

/// What Redis said of itself last; clones see the same.
#[derive(Debug, Clone)]
pub struct RedisFigures(Arc<Mutex<Seen>>);

impl RedisFigures {
    /// Begins to ask, on this thread, for as long as the runtime lives.
    pub fn watch(commands: Option<Commands>) -> Self {
        let seen = if commands.is_some() { Seen::NotNow } else { Seen::NotConfigured };
        let this = Self(Arc::new(Mutex::new(seen)));
        if let Some(commands) = commands {
            actix::spawn(this.clone().ask(commands));
        }
        this
    }

    /// What it said last.
    pub fn seen(&self) -> Seen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(self, commands: Commands) {
        let mut counted = Counted::new();
        loop {
            let seen = match commands.info("default").await {
                Ok(texts) => {
                    let servers: Vec<Info> = texts.iter().map(|text| Info::parse(text)).collect();
                    let figures = Figures::of(&servers);
                    counted.count(&figures);
                    Seen::Known(figures, Instant::now())
                }
                Err(fault) if fault.is_passing() => Seen::NotNow,
                Err(fault) => {
                    if self.seen() != Seen::Refused {
                        tracing::info!(reason = %fault, "Redis does not tell its figures (INFO); all else goes on");
                    }
                    Seen::Refused
                }
            };
            gauge!("hubbub_redis_figures").set(f64::from(u8::from(matches!(seen, Seen::Known(..)))));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
            let pause = if matches!(seen, Seen::NotNow) { FIRST_INTERVAL } else { INTERVAL };
            tokio::time::sleep(pause).await;
        }
    }
}

impl Fault {
    /// Counts it for the figures.
    pub(crate) fn count(self) {
        counter!("hubbub_redis_faults_total", "fault" => self.label()).increment(1);
    }

    /// The name of its kind, as a label: `OutOfMemory` is `out_of_memory`.
    fn label(self) -> String {
        let name = format!("{self:?}");
        let name = name.split('(').next().unwrap_or_default();
        let mut label = String::with_capacity(name.len() + 4);
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !label.is_empty() {
                label.push('_');
            }
            label.push(letter.to_ascii_lowercase());
        }
        label
    }

    /// Whether it is about the connection and not about what was asked.
    fn is_passing(self) -> bool {
        matches!(self, Self::Disconnected | Self::Broken | Self::Timeout | Self::Loading)
    }
}

/// Redis' own counters go on in ours: they begin anew when it restarts, ours must not.
struct Counted {
    last: Option<Figures>,
    evicted_keys: Counter,
    commands: Counter,
    hits: Counter,
    misses: Counter,
}

impl Counted {
    fn new() -> Self {
        Self {
            last: None,
            evicted_keys: counter!("hubbub_redis_evicted_keys_total"),
            commands: counter!("hubbub_redis_commands_total"),
            hits: counter!("hubbub_redis_keyspace_hits_total"),
            misses: counter!("hubbub_redis_keyspace_misses_total"),
        }
    }

    fn count(&mut self, now: &Figures) {
        gauge!("hubbub_redis_memory_used_bytes").set(now.memory_used_bytes as f64);
        gauge!("hubbub_redis_memory_max_bytes").set(now.memory_max_bytes as f64);
        gauge!("hubbub_redis_memory_used_ratio").set(now.memory_used_ratio.unwrap_or_default());
        gauge!("hubbub_redis_connected_clients").set(now.connected_clients as f64);
        gauge!("hubbub_redis_commands_per_second").set(now.commands_per_second as f64);
        if let Some(last) = &self.last {
            self.evicted_keys.increment(grown(last.evicted_keys, now.evicted_keys));
            self.commands.increment(grown(last.commands, now.commands));
            self.hits.increment(grown(last.keyspace_hits, now.keyspace_hits));
            self.misses.increment(grown(last.keyspace_misses, now.keyspace_misses));
        }
        self.last = Some(*now);
    }
}

/// How much a server's counter grew; one that shrank began anew (or a node of a cluster is gone), and what it lost in
/// between nobody knows.
fn grown(last: u64, now: u64) -> u64 {
    now.saturating_sub(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_labels() {
        assert_eq!((Fault::OutOfMemory.label(), Fault::Tls.label()), ("out_of_memory".into(), "tls".into()));
    }

    #[test]
    fn a_restart_of_redis_takes_nothing_back() {
        assert_eq!(grown(10, 15), 5);
        assert_eq!(grown(15, 3), 0);
    }
}
