//! Which deliveries arrived: one bit per receiver and message of its room, so that a loss and a duplicate of the same
//! message do not cancel out, and any order of arrival is allowed.

/// What a delivery turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The first time that this receiver gets this message.
    First,
    /// The receiver had it already.
    Again,
    /// No such message was sent in this phase.
    Unknown,
}

/// Deliveries of one phase.
#[derive(Debug)]
pub struct Ledger {
    bits: Vec<u64>,
    words_per_receiver: usize,
    first: u64,
    again: u64,
    unknown: u64,
}

impl Ledger {
    /// Room for `messages` messages per room, received by `receivers` connections.
    pub fn new(receivers: usize, messages: u64) -> Self {
        let words_per_receiver = (messages as usize).div_ceil(64).max(1);
        Self { bits: vec![0; words_per_receiver * receivers], words_per_receiver, first: 0, again: 0, unknown: 0 }
    }

    /// Notes that `receiver` got message `number` of its room.
    pub fn record(&mut self, receiver: usize, number: u64) -> Arrival {
        let word = (number / 64) as usize;
        let bit = 1 << (number % 64);
        let slot = self.bits.get_mut(receiver * self.words_per_receiver + word);
        let (Some(slot), true) = (slot, word < self.words_per_receiver) else {
            self.unknown += 1;
            return Arrival::Unknown;
        };
        if *slot & bit != 0 {
            self.again += 1;
            return Arrival::Again;
        }
        *slot |= bit;
        self.first += 1;
        Arrival::First
    }

    /// Deliveries, each counted once.
    pub fn delivered(&self) -> u64 {
        self.first
    }

    /// Deliveries that came once too often.
    pub fn duplicates(&self) -> u64 {
        self.again
    }

    /// Deliveries of messages that nobody sent.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Deliveries that are missing out of `expected`.
    pub fn lost(&self, expected: u64) -> u64 {
        expected.saturating_sub(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_duplicates_do_not_cancel_out() {
        let mut ledger = Ledger::new(2, 3);
        for (receiver, number) in [(0, 2), (0, 0), (1, 0), (1, 0), (1, 2)] {
            ledger.record(receiver, number);
        }
        assert_eq!(ledger.delivered(), 4);
        assert_eq!(ledger.duplicates(), 1);
        assert_eq!(ledger.lost(6), 2);
    }

    #[test]
    fn rows_are_apart_and_bounded() {
        let mut ledger = Ledger::new(2, 100);
        assert_eq!(ledger.record(0, 127), Arrival::First);
        assert_eq!(ledger.record(1, 127), Arrival::First);
        assert_eq!(ledger.record(0, 128), Arrival::Unknown);
        assert_eq!(ledger.record(1, 128), Arrival::Unknown);
        assert_eq!(ledger.record(1, 127), Arrival::Again);
        assert_eq!((ledger.delivered(), ledger.unknown()), (2, 2));
    }
}
