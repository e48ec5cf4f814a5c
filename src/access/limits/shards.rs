//! What an instance knows of the clients it limits: bounded, spread over several locks.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{Class, Gcra, SLACK_US, Whom};

const SHARDS: usize = 16;
/// Clients known in a shard. When there are more, those with most places left are forgotten.
const CLIENTS_MAX: usize = 8_192;

/// What is known of one client. Times are µs since the limits began.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// When all its places are free again, as far as known here; with all that passed here.
    free_at_us: u64,
    /// When this was last compared with Redis.
    pub(super) compared_us: Option<u64>,
    /// Requests that passed here and nobody told Redis of.
    pub(super) unreported: u32,
    /// Requests that Redis is being told or asked of.
    pub(super) asked: u32,
    /// A task is telling Redis.
    pub(super) reporting: bool,
}

/// A client under one of the limits.
pub(super) struct Client {
    key: String,
    known: Mutex<Known>,
}

type Clients = HashMap<(Class, Whom), Arc<Client>>;

/// All clients.
pub(super) struct Shards {
    hasher: RandomState,
    shards: [Mutex<Clients>; SHARDS],
    begun: Instant,
}

impl Known {
    /// How far ahead of the clock the client is.
    pub(super) fn ahead_us(&self, now_us: u64) -> u64 {
        self.free_at_us.saturating_sub(now_us)
    }

    pub(super) fn put(&mut self, now_us: u64, ahead_us: u64) {
        self.free_at_us = now_us + ahead_us;
    }

    /// What Redis should know already: all but what it is being told, and what it will be.
    pub(super) fn floor_us(&self, now_us: u64, limit: &Gcra) -> u64 {
        let untold = limit.cost_us(self.unreported + self.asked);
        self.ahead_us(now_us).saturating_sub(untold).saturating_sub(SLACK_US)
    }

    /// Takes over what Redis said to a question of `asked_us`; gives how far ahead the client is with that.
    pub(super) fn learn(&mut self, asked_us: u64, ahead_us: u64, limit: &Gcra) -> u64 {
        self.free_at_us = self.free_at_us.max(asked_us + ahead_us + limit.cost_us(self.unreported));
        self.compared_us = Some(asked_us);
        self.ahead_us(asked_us)
    }

    /// A request did not pass after all.
    pub(super) fn take_back(&mut self, cost_us: u64) {
        self.free_at_us = self.free_at_us.saturating_sub(cost_us);
    }
}

impl Client {
    /// Its name in Redis.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shards {
    pub(super) fn new(begun: Instant) -> Self {
        Self { hasher: RandomState::new(), shards: Default::default(), begun }
    }

    /// The client, made if it is new.
    pub(super) fn client(&self, class: Class, whom: Whom) -> Arc<Client> {
        let id = (class, whom);
        let shard = &self.shards[self.hasher.hash_one(&id) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = shard.get(&id) {
            return Arc::clone(client);
        }
        if shard.len() >= CLIENTS_MAX {
            self.make_room(&mut shard);
        }
        let key = format!("limit:{}:{}", class.name(), id.1.text());
        let client = Arc::new(Client { key, known: Mutex::default() });
        shard.insert(id, Arc::clone(&client));
        client
    }

    /// Forgets those whose places are all free; if that is not half of them, the half that has most of them.
    fn make_room(&self, shard: &mut Clients) {
        let now_us = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut ahead: Vec<u64> = shard.values().map(|client| client.lock().ahead_us(now_us)).collect();
        let middle = ahead.len() / 2;
        let (_, median, _) = ahead.select_nth_unstable(middle);
        let least = *median;
        shard.retain(|_, client| client.lock().ahead_us(now_us) > least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_clients_does_not_free_those_at_their_limit() {
        let shards = Shards::new(Instant::now());
        let whom = |n: u32| Whom::at(std::net::Ipv4Addr::from(n).into());
        shards.client(Class::Api, whom(0)).lock().put(0, 3_600_000_000);
        for n in 1..200_000 {
            shards.client(Class::Api, whom(n)).lock().put(0, 1_000);
        }
        let known: usize = shards.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(known <= SHARDS * CLIENTS_MAX, "{known}");
        assert!(shards.client(Class::Api, whom(0)).lock().ahead_us(0) > 0, "it is still limited");
    }

    #[test]
    fn a_household_is_one_client() {
        let at = |text: &str| Whom::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2:3::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }

    #[test]
    fn what_redis_is_told_is_not_told_twice() {
        let limit = Gcra::from(crate::config::RateLimit { count: 10, window: std::time::Duration::from_secs(10) });
        let mut known = Known { free_at_us: 5_000_000, unreported: 2, asked: 1, ..Known::default() };
        assert_eq!(known.floor_us(0, &limit), 2_000_000 - SLACK_US);
        assert_eq!(known.learn(0, 1_000_000, &limit), 5_000_000, "what passed here stays");
        assert_eq!(known.learn(0, 6_000_000, &limit), 8_000_000, "what passed elsewhere counts, too");
        known.take_back(1_000_000);
        assert_eq!(known.ahead_us(0), 7_000_000);
    }
}
