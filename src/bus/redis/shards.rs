//! Which server a channel is on.

use std::{collections::HashMap, ops::RangeInclusive, rc::Rc};

use fred::{
    types::{cluster::ClusterRouting, config::Server},
    util::redis_keyslot,
};

use super::{link::Link, reach::SLOTS};

/// The links, and who has which slots.
pub(super) enum Shards {
    /// One server has everything.
    One(Rc<Link>),
    /// The primaries of a cluster.
    Many { routing: ClusterRouting, links: HashMap<Server, Rc<Link>> },
}

impl Shards {
    /// The link of a channel; `None` while nobody is known to have its slot.
    pub(super) fn link_of(&self, name: &str) -> Option<&Rc<Link>> {
        match self {
            Self::One(link) => Some(link),
            Self::Many { routing, links } => links.get(routing.get_server(redis_keyslot(name.as_bytes()))?),
        }
    }

    pub(super) fn links(&self) -> Vec<Rc<Link>> {
        match self {
            Self::One(link) => vec![Rc::clone(link)],
            Self::Many { links, .. } => links.values().cloned().collect(),
        }
    }

    /// The slots that a link has.
    pub(super) fn slots_of(&self, link: &Link) -> Vec<RangeInclusive<u16>> {
        match self {
            Self::One(_) => vec![0..=SLOTS - 1],
            Self::Many { routing, .. } => {
                let of_link = routing.slots().iter().filter(|range| Some(&range.primary) == link.node());
                of_link.map(|range| range.start..=range.end).collect()
            }
        }
    }

    /// Whether every slot is somebody's.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::One(_) => true,
            Self::Many { routing, .. } => {
                let count = |range: &fred::types::cluster::SlotRange| usize::from(range.end - range.start) + 1;
                routing.slots().iter().map(count).sum::<usize>() == usize::from(SLOTS)
            }
        }
    }
}

/// A name that begins so and lies in one of these slots.
pub(super) fn name_in_slots(start: &str, slots: &[RangeInclusive<u16>]) -> Option<String> {
    // A node with a single slot is found after 16,384 attempts on average: a few milliseconds, once.
    const ATTEMPTS: u32 = 400_000;
    (0..ATTEMPTS)
        .map(|n| format!("{start}:{n}"))
        .find(|name| slots.iter().any(|range| range.contains(&redis_keyslot(name.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_for_any_slot() {
        for slots in [0..=5_460, 16_383..=16_383, 0..=0] {
            let name = name_in_slots("hubbub:probe:x", std::slice::from_ref(&slots)).unwrap();
            assert!(slots.contains(&redis_keyslot(name.as_bytes())));
        }
        assert_eq!(name_in_slots("hubbub:probe:x", &[]), None);
    }

    /// The names of rooms must not share a slot, or one node would carry all.
    #[test]
    fn rooms_are_spread_over_the_slots() {
        let third =
            |n| usize::from(redis_keyslot(format!("hubbub:room:project-{}/room-{n}", n % 7).as_bytes()) / 5_462);
        let mut counts = [0; 3];
        (0..3_000).for_each(|n| counts[third(n)] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
