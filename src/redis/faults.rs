//! What is wrong with Redis at present: logged when it begins and every so often while it lasts, and shown by the health
//! routes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use super::Fault;
use crate::health::Health;

/// The same fault is logged again after this time.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Who met a fault; each has one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Part {
    /// The bus between instances.
    Bus = 1,
    /// The connections for commands.
    Pool = 2,
    /// Commands that write.
    Writes = 4,
    /// Commands that read.
    Reads = 8,
}

/// Shared by all that speaks to Redis, so that a fault is told once and not by each.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

struct Inner {
    health: Arc<Health>,
    key_prefix: String,
    /// The parts that have a fault, to be looked at for free.
    faulty: AtomicU8,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    present: BTreeMap<Part, Fault>,
    logged: Vec<(Fault, Instant)>,
}

impl Faults {
    /// No fault yet.
    pub fn new(health: Arc<Health>, key_prefix: &str) -> Self {
        let (key_prefix, faulty) = (key_prefix.to_owned(), AtomicU8::new(0));
        Self(Arc::new(Inner { health, key_prefix, faulty, state: Mutex::default() }))
    }

    pub(crate) fn report(&self, part: Part, fault: Fault) {
        let mut state = self.state();
        self.0.faulty.fetch_or(part as u8, Ordering::Relaxed);
        state.present.insert(part, fault);
        state.logged.retain(|(_, at)| at.elapsed() < LOG_INTERVAL);
        if !state.logged.iter().any(|(logged, _)| *logged == fault) {
            fault.count();
            tracing::warn!("{}", fault.words(&self.0.key_prefix));
            state.logged.push((fault, Instant::now()));
        }
        self.show(&state);
    }

    /// The part is well again.
    pub(crate) fn clear(&self, part: Part) {
        if self.0.faulty.load(Ordering::Relaxed) & part as u8 == 0 {
            return;
        }
        let mut state = self.state();
        self.0.faulty.fetch_and(!(part as u8), Ordering::Relaxed);
        state.present.remove(&part);
        self.show(&state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State) {
        let worst = state.present.values().next(); // in the order of the parts
        self.0.health.set_redis_fault(worst.map(|fault| fault.words(&self.0.key_prefix)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Link, Links};

    #[test]
    fn the_worst_fault_is_shown_until_its_part_is_well() {
        let health = Arc::new(Health::new(Links { database: Link::Connected, redis: Link::Connected }));
        let faults = Faults::new(Arc::clone(&health), "app:");
        faults.clear(Part::Bus);
        assert_eq!(health.redis_fault(), None);
        faults.report(Part::Writes, Fault::OutOfMemory);
        faults.report(Part::Bus, Fault::ForbiddenChannel);
        assert!(health.redis_fault().is_some_and(|fault| fault.contains("&app:*")));
        faults.clear(Part::Bus);
        assert!(health.redis_fault().is_some_and(|fault| fault.contains("out of memory")));
        faults.clear(Part::Reads);
        assert!(health.redis_fault().is_some());
        faults.clear(Part::Writes);
        assert_eq!(health.redis_fault(), None);
    }
}
