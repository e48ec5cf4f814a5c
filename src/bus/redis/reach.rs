//! Which channels can be reached now, for all threads to look at: a bit for each slot of a cluster, one bit otherwise.

use std::{
    cell::RefCell,
    fmt::Write as _,
    ops::RangeInclusive,
    sync::atomic::{AtomicU64, Ordering},
};

use fred::util::redis_keyslot;

use crate::{
    bus::Channel,
    config::{RedisConfig, RedisForm},
};

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// The bits. Set on the Redis thread.
pub(super) struct Reach {
    prefix: String,
    slots: u16,
    bits: Vec<AtomicU64>,
}

impl Reach {
    /// Nothing can be reached yet.
    pub(super) fn new(config: &RedisConfig) -> Self {
        let slots = if matches!(config.address.form, RedisForm::Cluster(_)) { SLOTS } else { 1 };
        let bits = std::iter::repeat_with(AtomicU64::default).take(usize::from(slots).div_ceil(64)).collect();
        Self { prefix: config.key_prefix.clone(), slots, bits }
    }

    /// Whether the channel's server answers.
    pub(super) fn is_up(&self, channel: &Channel) -> bool {
        let slot = if self.slots == 1 { 0 } else { slot_of(&self.prefix, channel) };
        self.bits[usize::from(slot) / 64].load(Ordering::Acquire) & bit(slot) != 0
    }

    /// Sets some of the slots; those beyond the last one are none.
    pub(super) fn set(&self, slots: RangeInclusive<u16>, up: bool) {
        for slot in slots.filter(|slot| *slot < self.slots) {
            let word = &self.bits[usize::from(slot) / 64];
            if up {
                word.fetch_or(bit(slot), Ordering::AcqRel)
            } else {
                word.fetch_and(!bit(slot), Ordering::AcqRel)
            };
        }
    }

    /// These slots are up, and no others. No slot that stays up seems down meanwhile.
    pub(super) fn replace(&self, up: impl IntoIterator<Item = RangeInclusive<u16>>) {
        let mut words = vec![0; self.bits.len()];
        for slot in up.into_iter().flatten().filter(|slot| *slot < self.slots) {
            words[usize::from(slot) / 64] |= bit(slot);
        }
        for (word, bits) in self.bits.iter().zip(words) {
            word.store(bits, Ordering::Release);
        }
    }
}

fn bit(slot: u16) -> u64 {
    1 << (slot % 64)
}

/// The slot of a channel's name, without an allocation: every publication asks.
fn slot_of(prefix: &str, channel: &Channel) -> u16 {
    thread_local!(static NAME: RefCell<String> = const { RefCell::new(String::new()) });
    NAME.with_borrow_mut(|name| {
        name.clear();
        // Writing to a string cannot fail.
        let _ = write!(name, "{prefix}{channel}");
        redis_keyslot(name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    fn reach(url: &str) -> Reach {
        Reach::new(&config(&["--redis-url", url]).unwrap().redis.unwrap())
    }

    fn room(name: &str) -> Channel {
        Channel::Room(name.parse().unwrap())
    }

    #[test]
    fn a_server_on_its_own_is_reached_or_not() {
        let reach = reach("redis://h");
        assert!(!reach.is_up(&room("p/r")));
        reach.set(0..=SLOTS - 1, true);
        assert!(reach.is_up(&room("p/r")) && reach.is_up(&Channel::Hub("x")));
        reach.set(0..=SLOTS - 1, false);
        assert!(!reach.is_up(&room("p/r")));
    }

    #[test]
    fn of_a_cluster_each_slot_is() {
        let reach = reach("redis-cluster://h");
        let slot = redis_keyslot(b"hubbub:room:p/r");
        reach.set(slot..=slot, true);
        assert!(reach.is_up(&room("p/r")) && !reach.is_up(&room("p/s")));
        reach.set(0..=SLOTS - 1, true);
        reach.set(slot..=slot, false);
        assert!(!reach.is_up(&room("p/r")) && reach.is_up(&room("p/s")));
        reach.replace([slot..=slot]);
        assert!(reach.is_up(&room("p/r")) && !reach.is_up(&room("p/s")));
    }
}
