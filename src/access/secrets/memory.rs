//! Secrets of an instance without Redis.

use std::time::{Duration, Instant};

use moka::{Expiry, future::Cache, ops::compute::Op};
use subtle::ConstantTimeEq as _;

use super::{Place, TRIES};

/// Secrets kept; beyond it the oldest are forgotten.
const SECRETS_MAX: u64 = 100_000;

#[derive(Debug, Clone)]
struct Secret {
    hash: [u8; 32],
    memo: String,
    tries: u32,
    until: Instant,
}

struct AtItsEnd;

impl Expiry<String, Secret> for AtItsEnd {
    fn expire_after_create(&self, _: &String, secret: &Secret, now: Instant) -> Option<Duration> {
        Some(secret.until.saturating_duration_since(now))
    }

    fn expire_after_update(&self, _: &String, secret: &Secret, now: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(secret.until.saturating_duration_since(now))
    }
}

pub(super) struct Memory(Cache<String, Secret>);

impl Memory {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(SECRETS_MAX).expire_after(AtItsEnd).build())
    }

    pub(super) async fn keep(&self, place: Place, memo: &str, lifetime: Duration) {
        let until = Instant::now() + lifetime;
        self.0.insert(place.name, Secret { hash: place.hash, memo: memo.into(), tries: TRIES, until }).await;
    }

    pub(super) async fn take(&self, place: &Place) -> Option<String> {
        let mut memo = None;
        let try_it = |entry: Option<moka::Entry<_, Secret>>| {
            let secret = entry.map(moka::Entry::into_value).filter(|secret| secret.until > Instant::now());
            std::future::ready(match secret {
                None => Op::Nop,
                Some(secret) if bool::from(secret.hash.ct_eq(&place.hash)) => {
                    memo = Some(secret.memo);
                    Op::Remove
                }
                Some(secret) if secret.tries <= 1 => Op::Remove,
                Some(secret) => Op::Put(Secret { tries: secret.tries - 1, ..secret }),
            })
        };
        self.0.entry_by_ref(&place.name).and_compute_with(try_it).await;
        memo
    }
}
