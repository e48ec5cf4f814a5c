//! The open-loop schedule: message `n` is due at `start + n / rate`, however late its predecessors left.
//!
//! Latency is measured from the due time, so a generator or server that stalls is charged for the whole stall and not
//! for one slow message (no coordinated omission).

/// Due times of evenly spaced messages, in microseconds of the generator's clock.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    start_us: u64,
    per_second: f64,
    total: u64,
}

impl Schedule {
    /// `per_second` messages a second for `seconds` from `start_us` on.
    pub fn new(start_us: u64, per_second: f64, seconds: f64) -> Self {
        Self { start_us, per_second, total: (per_second * seconds).round() as u64 }
    }

    /// How many messages there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When message `n` is due, `None` after the last.
    pub fn due_us(&self, n: u64) -> Option<u64> {
        (n < self.total).then(|| self.start_us + (n as f64 * 1e6 / self.per_second) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_spread_evenly_and_end() {
        let schedule = Schedule::new(1_000, 500.0, 2.0);
        assert_eq!(schedule.total(), 1_000);
        assert_eq!(schedule.due_us(0), Some(1_000));
        assert_eq!(schedule.due_us(1), Some(3_000));
        assert_eq!(schedule.due_us(999), Some(1_999_000));
        assert_eq!(schedule.due_us(1_000), None);
    }

    #[test]
    fn a_due_time_does_not_depend_on_what_was_sent() {
        let schedule = Schedule::new(0, 3.0, 60.0);
        let again = schedule.due_us(100);
        assert_eq!(schedule.due_us(100), again);
        assert_eq!(again, Some(33_333_333));
    }
}
