//! The replay window: the latest messages of a room, encoded, for those who come back and for readers that lag.
//!
//! Filled by what is delivered and, backwards, by what had to be read, so that a crowd that comes back costs one read.
//! Bounded in number and bytes, and over all rooms by a [`ReplayBudget`]: beyond it every room keeps only a tail, as does
//! a room in which the window was not needed for a while.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::protocol::outbound::EncodedMessage;

/// The most messages kept: twice what a resume replays, so that a busy room does not lose them while somebody joins.
pub const WINDOW_MESSAGES_MAX: usize = 2_000;
/// The most bytes they take: twice what a `joined` holds.
pub const WINDOW_BYTES_MAX: usize = 1024 * 1024;
/// What is kept when memory is short or the room is quiet: what is told to a joiner that asks for nothing.
const TAIL_MESSAGES: usize = 50;
const TAIL_BYTES: usize = 32 * 1024;

/// What the windows of all rooms may take together. The bound is soft by one tail per room.
#[derive(Debug)]
pub struct ReplayBudget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl ReplayBudget {
    /// Nothing used of `bytes_max`.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), bytes_max })
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.used.load(Relaxed).saturating_add(bytes) <= self.bytes_max
    }
}

/// The latest messages. Invariant: they are contiguous and end at the head of the order.
#[derive(Debug)]
pub struct ReplayWindow {
    messages: VecDeque<EncodedMessage>,
    bytes: usize,
    budget: Arc<ReplayBudget>,
    /// Something was added or asked for since the last rest.
    needed: bool,
}

impl ReplayWindow {
    /// An empty window.
    pub fn new(budget: Arc<ReplayBudget>) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, budget, needed: false }
    }

    /// How many messages are kept.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Their bytes as frames.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The latest messages, oldest first, without the first `skipped`.
    pub fn skip(&self, skipped: usize) -> impl DoubleEndedIterator<Item = &EncodedMessage> + Clone {
        self.messages.range(skipped.min(self.messages.len())..)
    }

    /// Adds the next message.
    pub fn push(&mut self, message: EncodedMessage) {
        debug_assert!(self.messages.back().is_none_or(|last| last.seq + 1 == message.seq), "contiguous");
        self.needed = true;
        self.count_in(message.frame().len());
        self.messages.push_back(message);
        if self.bytes > TAIL_BYTES && !self.budget.has_room_for(0) {
            self.trim(TAIL_MESSAGES, TAIL_BYTES);
        } else {
            self.trim(WINDOW_MESSAGES_MAX, WINDOW_BYTES_MAX);
        }
    }

    /// Adds older messages, which ascend and end right before the oldest kept one: as many of the newest as fit.
    pub fn fill_back(&mut self, older: &[EncodedMessage]) {
        self.needed = true;
        for message in older.iter().rev() {
            debug_assert!(self.messages.front().is_none_or(|first| first.seq == message.seq + 1), "contiguous");
            let bytes = message.frame().len();
            let fits = self.messages.len() < WINDOW_MESSAGES_MAX && self.bytes + bytes <= WINDOW_BYTES_MAX;
            if !fits || !self.budget.has_room_for(bytes) {
                return;
            }
            self.count_in(bytes);
            self.messages.push_front(message.clone());
        }
    }

    /// Somebody needs the window.
    pub fn touch(&mut self) {
        self.needed = true;
    }

    /// To be called now and then: keeps only a tail when the window was not needed since the last call.
    pub fn rest(&mut self) {
        if !std::mem::replace(&mut self.needed, false) {
            self.trim(TAIL_MESSAGES, TAIL_BYTES);
            self.messages.shrink_to_fit();
        }
    }

    /// Drops the oldest until the bounds are kept; the latest message stays whatever its size.
    fn trim(&mut self, messages_max: usize, bytes_max: usize) {
        while self.messages.len() > messages_max || (self.bytes > bytes_max && self.messages.len() > 1) {
            let Some(oldest) = self.messages.pop_front() else { return };
            self.count_out(oldest.frame().len());
        }
    }

    fn count_in(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.used.fetch_add(bytes, Relaxed);
    }

    fn count_out(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for ReplayWindow {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Seq;

    fn message(seq: Seq, bytes: usize) -> EncodedMessage {
        EncodedMessage::from_json(seq, &"x".repeat(bytes))
    }

    fn seqs(window: &ReplayWindow) -> Vec<Seq> {
        window.skip(0).map(|message| message.seq).collect()
    }

    #[derive(Debug, Clone)]
    enum Event {
        Push(usize),
        FillBack(usize, usize),
        Rest,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => (0usize..20_000).prop_map(Event::Push),
            2 => (0usize..80, 0usize..20_000).prop_map(|(count, bytes)| Event::FillBack(count, bytes)),
            1 => Just(Event::Rest),
        ]
    }

    proptest! {
        /// Two rooms share a budget: each is contiguous up to its head, within its bounds, and what is counted is what is kept.
        #[test]
        fn contiguous_bounded_and_counted(events in prop::collection::vec((0usize..2, event()), 0..200)) {
            const START: Seq = 100_000;
            let budget = ReplayBudget::new(400 * 1024);
            let mut windows = [ReplayWindow::new(budget.clone()), ReplayWindow::new(budget.clone())];
            let mut heads = [START, START];
            for (room, event) in events {
                let window = &mut windows[room];
                match event {
                    Event::Push(bytes) => {
                        heads[room] += 1;
                        window.push(message(heads[room], bytes));
                    }
                    Event::FillBack(count, bytes) => {
                        let kept_after = heads[room] - window.len() as Seq;
                        let older: Vec<_> =
                            (kept_after - count as Seq + 1..=kept_after).map(|seq| message(seq, bytes)).collect();
                        window.fill_back(&older);
                    }
                    Event::Rest => window.rest(),
                }
                let kept = seqs(window);
                let first = heads[room] + 1 - kept.len() as Seq;
                prop_assert_eq!(kept, (first..=heads[room]).collect::<Vec<_>>());
                let sums = windows.each_ref().map(|window| window.skip(0).map(|kept| kept.frame().len()).sum::<usize>());
                prop_assert_eq!(sums, windows.each_ref().map(ReplayWindow::bytes));
                prop_assert_eq!(sums.iter().sum::<usize>(), budget.used.load(Relaxed));
                prop_assert!(budget.used.load(Relaxed) <= budget.bytes_max + 2 * (TAIL_BYTES + 20_010));
            }
            drop(windows);
            prop_assert_eq!(budget.used.load(Relaxed), 0);
        }
    }

    #[test]
    fn a_window_that_is_not_needed_keeps_a_tail_after_the_second_rest() {
        let mut window = ReplayWindow::new(ReplayBudget::new(usize::MAX));
        (1..=500).for_each(|seq| window.push(message(seq, 100)));
        window.rest();
        assert_eq!(window.len(), 500);
        window.touch();
        window.rest();
        assert_eq!(window.len(), 500, "it was needed meanwhile");
        window.rest();
        assert_eq!(seqs(&window), (451..=500).collect::<Vec<_>>());
    }

    #[test]
    fn the_latest_message_is_kept_whatever_its_size() {
        let mut window = ReplayWindow::new(ReplayBudget::new(10));
        window.push(message(1, 10));
        window.push(message(2, 2 * WINDOW_BYTES_MAX));
        assert_eq!(seqs(&window), [2]);
    }
}
