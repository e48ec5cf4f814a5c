//! The order of a room on this instance: every message once, by `seq`, without holes.
//!
//! The room offers messages as they come: its own after their commit, other instances' from the bus, in any order among
//! each other, some twice, some never. What is next is delivered; what is early is held until the hole before it is filled, by the
//! bus or, a moment later, by the room from the store. The latest delivered messages are kept in the replay window.

use std::{collections::BTreeMap, sync::Arc};

use super::window::{ReplayBudget, ReplayWindow};
use crate::{ids::Seq, protocol::outbound::EncodedMessage};

/// The most bytes of early messages held; beyond it they are dropped and read from the store with the hole.
const HELD_BYTES_MAX: usize = 512 * 1024;

/// Delivers by `seq`. Invariant: the window ends at `head`.
#[derive(Debug)]
pub struct Sequencer {
    head: Seq,
    held: BTreeMap<Seq, EncodedMessage>,
    held_bytes: usize,
    held_to: Seq,
    window: ReplayWindow,
}

impl Sequencer {
    /// Starts before the first message, with a window that is counted in `budget`.
    pub fn new(budget: Arc<ReplayBudget>) -> Self {
        Self { head: 0, held: BTreeMap::new(), held_bytes: 0, held_to: 0, window: ReplayWindow::new(budget) }
    }

    /// Starts after the given messages, which ascend without holes and end at the room's head.
    pub fn starting_with(messages: Vec<EncodedMessage>, budget: Arc<ReplayBudget>) -> Self {
        let mut this = Self::new(budget);
        if let Some(first) = messages.first() {
            this.head = first.seq.saturating_sub(1);
        }
        let mut delivered = Vec::new();
        for message in messages {
            this.offer(message, &mut delivered);
        }
        this
    }

    /// The `seq` of the last delivered message.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// Takes a message; appends to `deliver` what is now to be delivered, in order.
    pub fn offer(&mut self, message: EncodedMessage, deliver: &mut Vec<EncodedMessage>) {
        if message.seq <= self.head {
            return;
        }
        self.held_to = self.held_to.max(message.seq);
        if message.seq > self.head + 1 {
            let bytes = message.frame().len();
            if self.held_bytes + bytes <= HELD_BYTES_MAX && self.held.insert(message.seq, message).is_none() {
                self.held_bytes += bytes;
            }
            return;
        }
        self.deliver(message, deliver);
        while let Some(entry) = self.held.first_entry().filter(|entry| *entry.key() <= self.head + 1) {
            let next = entry.remove();
            self.held_bytes -= next.frame().len();
            if next.seq == self.head + 1 {
                self.deliver(next, deliver);
            }
        }
    }

    /// Notes that the room's order reaches at least to `seq`, as another instance's beat says.
    pub fn heard_of(&mut self, seq: Seq) {
        self.held_to = self.held_to.max(seq);
    }

    /// The highest `seq` known to exist.
    pub fn known(&self) -> Seq {
        self.held_to.max(self.head)
    }

    /// Whether messages up to a known `seq` are missing.
    pub fn has_hole(&self) -> bool {
        self.held_to > self.head
    }

    /// Forgets what was only heard of: the store says there is nothing after `head`.
    pub fn settle(&mut self) {
        self.held_to = self.held.last_key_value().map_or(self.head, |(seq, _)| *seq);
    }

    /// The `seq` before the oldest kept message.
    pub fn kept_after(&self) -> Seq {
        self.head - self.window.len() as Seq
    }

    /// The kept messages with `seq > after`, if they are all here.
    pub fn since(&self, after: Seq) -> Option<impl DoubleEndedIterator<Item = &EncodedMessage> + Clone> {
        let skipped = after.checked_sub(self.kept_after())?;
        Some(self.window.skip(usize::try_from(skipped).unwrap_or(usize::MAX)))
    }

    /// The kept messages.
    pub fn window(&mut self) -> &mut ReplayWindow {
        &mut self.window
    }

    /// The bytes of the kept messages.
    pub fn kept_bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Takes messages that were read to stand before the kept ones; of use if they end where those begin.
    pub fn fill_back(&mut self, older: &[EncodedMessage]) {
        let kept_after = self.kept_after();
        let end = older.partition_point(|message| message.seq <= kept_after);
        if older[..end].last().is_some_and(|newest| newest.seq == kept_after) {
            self.window.fill_back(&older[..end]);
        }
    }

    fn deliver(&mut self, message: EncodedMessage, deliver: &mut Vec<EncodedMessage>) {
        debug_assert_eq!(message.seq, self.head + 1, "delivery without holes");
        self.head = message.seq;
        self.window.push(message.clone());
        #[cfg(feature = "sabotage")]
        if crate::sabotage::loses() {
            return;
        } else if crate::sabotage::delivers_twice() {
            deliver.push(message.clone());
        }
        deliver.push(message);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::room::window::WINDOW_MESSAGES_MAX;

    fn sequencer() -> Sequencer {
        Sequencer::new(ReplayBudget::new(usize::MAX))
    }

    fn message(seq: Seq) -> EncodedMessage {
        EncodedMessage::from_json(seq, "{}")
    }

    fn seqs(messages: &[EncodedMessage]) -> Vec<Seq> {
        messages.iter().map(|message| message.seq).collect()
    }

    proptest! {
        /// Any order, any repetition, a store that fills the holes: the same delivery.
        #[test]
        fn every_message_once_and_in_order(mut arrivals in proptest::collection::vec(1u64..60, 0..200)) {
            let mut sequencer = sequencer();
            let mut delivered = Vec::new();
            for seq in arrivals.iter().copied() {
                sequencer.offer(message(seq), &mut delivered);
            }
            arrivals.sort_unstable();
            let top = arrivals.last().copied().unwrap_or(0);
            prop_assert_eq!(sequencer.has_hole(), sequencer.head() < top);
            for seq in sequencer.head() + 1..=top {
                sequencer.offer(message(seq), &mut delivered);
            }
            prop_assert_eq!(seqs(&delivered), (1..=top).collect::<Vec<_>>());
            prop_assert!(!sequencer.has_hole());
        }

        #[test]
        fn what_is_kept_is_the_tail(count in 0u64..4_500, after in 0u64..4_600) {
            let mut sequencer = sequencer();
            let mut delivered = Vec::new();
            for seq in 1..=count {
                sequencer.offer(message(seq), &mut delivered);
            }
            match sequencer.since(after) {
                Some(kept) => {
                    let kept: Vec<Seq> = kept.map(|message| message.seq).collect();
                    prop_assert_eq!(kept, (after + 1..=count).collect::<Vec<_>>());
                }
                None => prop_assert!(after + (WINDOW_MESSAGES_MAX as u64) < count),
            }
        }
    }

    #[test]
    fn it_starts_where_the_store_ends() {
        let mut sequencer = Sequencer::starting_with((41..=90).map(message).collect(), ReplayBudget::new(usize::MAX));
        assert_eq!(sequencer.head(), 90);
        assert!(sequencer.since(39).is_none());
        assert_eq!(sequencer.since(40).unwrap().count(), 50);
        let mut delivered = Vec::new();
        sequencer.offer(message(90), &mut delivered);
        sequencer.offer(message(91), &mut delivered);
        assert_eq!(seqs(&delivered), [91]);
    }

    #[test]
    fn what_was_read_stands_before_what_is_kept_if_it_fits() {
        let mut sequencer = Sequencer::starting_with((41..=50).map(message).collect(), ReplayBudget::new(usize::MAX));
        sequencer.fill_back(&(20..=39).map(message).collect::<Vec<_>>());
        assert_eq!(sequencer.kept_after(), 40, "a hole between them");
        sequencer.fill_back(&(20..=45).map(message).collect::<Vec<_>>());
        let kept: Vec<Seq> = sequencer.since(19).unwrap().map(|message| message.seq).collect();
        assert_eq!(kept, (20..=50).collect::<Vec<_>>());
        sequencer.fill_back(&[]);
        assert_eq!(sequencer.kept_after(), 19);
    }

    #[test]
    fn a_beat_tells_of_a_lost_tail_and_the_store_has_the_last_word() {
        let mut sequencer = sequencer();
        sequencer.heard_of(3);
        assert!(sequencer.has_hole());
        sequencer.settle();
        assert!(!sequencer.has_hole());
    }
}
