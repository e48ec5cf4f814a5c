//! When a commit may start: pure, time comes as an argument.

use super::BATCH_ROWS_MAX;
use crate::clock::{Duration, Instant};

/// Decides whether the next commit waits for company.
#[derive(Debug)]
pub(super) struct Pace {
    linger: Duration,
    started: Option<Instant>,
    /// For how many more commits of one message waiting is worth a try.
    worthwhile: u8,
}

/// Waiting goes on until this many commits in a row carried a single message. A lone client that sends one message after
/// the other gains nothing from it, and is left alone from then on; at 500 messages a second such a row does not happen.
const LONE_COMMITS_MAX: u8 = 16;

impl Pace {
    pub(super) fn new(linger: Duration) -> Self {
        Self { linger, started: None, worthwhile: 0 }
    }

    /// Until when the next commit waits for company, if it does. `gathered` are the messages that wait already.
    pub(super) fn rest_until(&self, now: Instant, gathered: usize) -> Option<Instant> {
        let until = self.started? + self.linger;
        (self.worthwhile > 0 && gathered < BATCH_ROWS_MAX && until > now).then_some(until)
    }

    /// A commit starts; `company` says whether it carries several messages or others are under way.
    pub(super) fn started(&mut self, now: Instant, company: bool) {
        self.started = Some(now);
        self.worthwhile = if company { LONE_COMMITS_MAX } else { self.worthwhile.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_message_is_never_held_back() {
        let linger = Duration::from_millis(4);
        let mut pace = Pace::new(linger);
        let mut now = Instant::now();
        for _ in 0..100 {
            assert_eq!(pace.rest_until(now, 1), None);
            pace.started(now, false);
            now += Duration::from_micros(200);
        }
    }

    #[test]
    fn waiting_begins_with_company_and_ends_without() {
        let linger = Duration::from_millis(4);
        let mut pace = Pace::new(linger);
        let mut now = Instant::now();
        pace.started(now, true);
        assert_eq!(pace.rest_until(now, 1), Some(now + linger));
        assert_eq!(pace.rest_until(now, BATCH_ROWS_MAX), None, "a full batch has nothing to wait for");
        assert_eq!(pace.rest_until(now + linger, 1), None, "it came long after the last");
        for _ in 0..LONE_COMMITS_MAX {
            assert!(pace.rest_until(now, 1).is_some());
            now += linger;
            pace.started(now, false);
        }
        assert_eq!(pace.rest_until(now, 1), None);
    }
}
