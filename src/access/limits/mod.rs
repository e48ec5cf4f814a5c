//! Rate limits of requests, shared by all instances through Redis.
//!
//! Each instance keeps what it knows of a client, and decides most requests by it without waiting: who is over the limit
//! here is over it everywhere, and while more than `EXACT_BELOW` of the places are left, a request passes and is
//! reported to Redis in the background, together with those that pass while a report is under way. A client that is new to
//! this instance, or was not compared for `FRESH_FOR`, or nears its limit is decided by Redis first. So the limit is
//! exact but for what passes on other instances within one round trip to Redis, while much is left; and that is made up
//! for by what follows.
//!
//! Without Redis, or while it is away, each instance goes on by itself from what it last knew: neither open nor shut. What
//! passed meanwhile it tells Redis with the next question.

mod gcra;
mod shards;

pub use gcra::{Gcra, Verdict};

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use self::shards::{Client, Shards};
use super::keys::CodeKey;
use crate::{
    access::{Keys, keys::hex},
    config::RateLimits,
    ids::UserId,
    redis::Commands,
};

/// Requests pass before Redis was asked while at least this part of the places is left: one of so many, a fifth.
const EXACT_BELOW: u32 = 5;
/// How long what is known of a client counts without another look.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// A request is not held up longer by its limit; then it is decided here.
const PATIENCE: Duration = Duration::from_millis(100);
/// After Redis was too slow, it is not waited for during this time.
const SPARE: Duration = Duration::from_secs(1);
/// What is known of a client here is taken by Redis for what it forgot only beyond this: clocks and answers have no exact
/// time.
const SLACK_US: u64 = 20_000;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Requests to the API, by address.
    Api,
    /// Requests to the API, by user.
    User,
    /// Logins with a code, by address.
    Login,
    /// Requests for a login code, by address and by e-mail address.
    LoginCode,
}

/// Who is limited.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whom {
    /// An IPv4 address, or the first 64 bits of an IPv6 address: what one household has.
    Address(IpAddr),
    /// A user.
    User(UserId),
    /// The hash of an e-mail address.
    Mailbox(String),
}

/// The limits of the hub, as this instance knows them.
pub struct Limits {
    config: RateLimits,
    redis: Option<Commands>,
    clients: Shards,
    begun: Instant,
    /// Until when Redis is not waited for, µs since `begun`.
    spared_until_us: AtomicU64,
    key: CodeKey,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::User => "user",
            Self::Login => "login",
            Self::LoginCode => "code",
        }
    }

    /// Few and dear: each is decided by Redis.
    fn is_exact(self) -> bool {
        matches!(self, Self::Login | Self::LoginCode)
    }
}

impl Whom {
    /// Whoever has an address.
    pub fn at(ip: IpAddr) -> Self {
        Self::Address(match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::from((u128::from(ip) & !u128::from(u64::MAX)).to_be_bytes()),
            ip => ip,
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Address(ip) => ip.to_string(),
            Self::User(user) => user.as_str().into(),
            Self::Mailbox(hash) => hash.clone(),
        }
    }
}

impl Limits {
    /// The limits of the settings; in memory alone without Redis.
    pub fn new(config: RateLimits, redis: Option<Commands>, keys: &Keys) -> Arc<Self> {
        let begun = Instant::now();
        Arc::new(Self {
            config,
            redis,
            clients: Shards::new(begun),
            begun,
            spared_until_us: AtomicU64::new(0),
            key: keys.codes.clone(),
        })
    }

    /// Whoever reads mail at an address, which is not written anywhere itself.
    pub fn mailbox(&self, email: &str) -> Whom {
        Whom::Mailbox(hex(&self.key.hash(&["mailbox", email])[..16]))
    }

    /// Whether a class is limited at all.
    pub fn has(&self, class: Class) -> bool {
        self.limit(class).is_some()
    }

    fn limit(&self, class: Class) -> Option<Gcra> {
        let limit = match class {
            Class::Api => self.config.api,
            Class::User => self.config.user,
            Class::Login | Class::LoginCode => self.config.login,
        };
        limit.map(Gcra::from)
    }

    /// Counts a request; `None` where there is no limit.
    pub async fn check(self: &Arc<Self>, class: Class, whom: Whom) -> Option<Verdict> {
        let limit = self.limit(class)?;
        let client = self.clients.client(class, whom);
        let now_us = self.now_us();
        let decided = {
            let mut known = client.lock();
            let (allowed, ahead_us) = limit.take(known.ahead_us(now_us), 1);
            let Some(redis) = self.redis.as_ref().filter(|redis| redis.is_up() && !self.is_spared(now_us)) else {
                known.put(now_us, ahead_us);
                return Some(limit.verdict(allowed, ahead_us));
            };
            let is_fresh = known.compared_us.is_some_and(|at| now_us.saturating_sub(at) < FRESH_FOR.as_micros() as u64);
            if !allowed {
                // Redis may have lost what is known here, and then be asked by others.
                if !is_fresh {
                    known.compared_us = Some(now_us);
                    let (limits, client) = (Arc::clone(self), Arc::clone(&client));
                    actix_web::rt::spawn(async move { limits.remind(&client, limit).await });
                }
                return Some(limit.verdict(false, ahead_us));
            }
            let left = limit.verdict(true, ahead_us).remaining;
            let floor_us = known.floor_us(now_us, &limit);
            known.put(now_us, ahead_us);
            if is_fresh && !class.is_exact() && left >= limit.count.div_ceil(EXACT_BELOW) {
                known.unreported += 1;
                if !std::mem::replace(&mut known.reporting, true) {
                    let (limits, client) = (Arc::clone(self), Arc::clone(&client));
                    actix_web::rt::spawn(async move { limits.report(&client, limit).await });
                }
                return Some(limit.verdict(true, ahead_us));
            }
            known.asked += 1;
            (redis, floor_us, ahead_us)
        };
        let (redis, floor_us, ahead_us) = decided;
        let asked = limit.ask(redis, client.key(), 1, false, floor_us, None);
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let mut known = client.lock();
        known.asked -= 1;
        Some(match answer {
            Ok(Ok((true, ahead_us))) => limit.verdict(true, known.learn(now_us, ahead_us, &limit)),
            Ok(Ok((false, ahead_us))) => {
                known.take_back(limit.cost_us(1));
                limit.verdict(false, known.learn(now_us, ahead_us, &limit))
            }
            Ok(Err(_)) => limit.verdict(true, ahead_us),
            Err(_) => {
                self.spare_redis();
                limit.verdict(true, ahead_us)
            }
        })
    }

    /// Tells Redis what has passed, until nothing is left to tell. What cannot be told stays in what is known here.
    async fn report(&self, client: &Client, limit: Gcra) {
        loop {
            let now_us = self.now_us();
            let (requests, floor_us) = {
                let mut known = client.lock();
                let floor_us = known.floor_us(now_us, &limit);
                let requests = std::mem::take(&mut known.unreported);
                if requests == 0 {
                    known.reporting = false;
                    return;
                }
                known.asked += requests;
                (requests, floor_us)
            };
            let Some(redis) = &self.redis else { return };
            let asked = limit.ask(redis, client.key(), requests, true, floor_us, None);
            let answer = tokio::time::timeout(PATIENCE, asked).await;
            let mut known = client.lock();
            known.asked -= requests;
            if let Ok(Ok((_, ahead_us))) = answer {
                known.learn(now_us, ahead_us, &limit);
                continue;
            }
            // What passed since counts as told, too: the next question says all of it.
            known.unreported = 0;
            known.reporting = false;
            if answer.is_err() {
                self.spare_redis();
            }
            return;
        }
    }

    /// Tells Redis what is known of a client that asks in vain.
    async fn remind(&self, client: &Client, limit: Gcra) {
        let Some(redis) = &self.redis else { return };
        let now_us = self.now_us();
        let floor_us = client.lock().floor_us(now_us, &limit);
        let asked = limit.ask(redis, client.key(), 0, true, floor_us, None);
        if let Ok(Ok((_, ahead_us))) = tokio::time::timeout(PATIENCE, asked).await {
            client.lock().learn(now_us, ahead_us, &limit);
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn is_spared(&self, now_us: u64) -> bool {
        now_us < self.spared_until_us.load(Ordering::Relaxed)
    }

    fn spare_redis(&self) {
        self.spared_until_us.store(self.now_us() + SPARE.as_micros() as u64, Ordering::Relaxed);
    }
}
