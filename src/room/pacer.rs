//! At once when it was quiet, else together with what comes until the interval is over.
//!
//! One rule for everything a room or a fan-out sends in batches: writes to sockets, presence diffs, cursor frames, bus
//! events. A first event leaves without delay; under load each batch waits at most one interval.

use std::time::{Duration, Instant};

/// What to do with something that has just become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Send it now.
    Now,
    /// Set a timer for so long and call [`Pacer::fired`] then.
    After(Duration),
    /// A timer is set already; it will take this along.
    Waiting,
}

/// Spaces batches at least one interval apart; quiet so far.
#[derive(Debug, Clone, Default)]
pub struct Pacer {
    last: Option<Instant>,
    armed: bool,
}

impl Pacer {
    /// Something is there to be sent. On [`Pace::Now`] the caller sends at once.
    pub fn request(&mut self, now: Instant, interval: Duration) -> Pace {
        if self.armed {
            return Pace::Waiting;
        }
        let wait = self.last.map_or(Duration::ZERO, |last| (last + interval).saturating_duration_since(now));
        if wait.is_zero() {
            self.last = Some(now);
            Pace::Now
        } else {
            self.armed = true;
            Pace::After(wait)
        }
    }

    /// The timer fired, the caller sends now.
    pub fn fired(&mut self, now: Instant) {
        self.armed = false;
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_goes_at_once_and_busy_waits_for_the_rest_of_the_interval() {
        let (start, tick) = (Instant::now(), Duration::from_millis(10));
        let at = |ms| start + Duration::from_millis(ms);
        let mut pacer = Pacer::default();
        assert_eq!(pacer.request(at(0), tick), Pace::Now);
        assert_eq!(pacer.request(at(4), tick), Pace::After(Duration::from_millis(6)));
        assert_eq!(pacer.request(at(5), tick), Pace::Waiting);
        pacer.fired(at(10));
        assert_eq!(pacer.request(at(12), tick), Pace::After(Duration::from_millis(8)));
        pacer.fired(at(20));
        assert_eq!(pacer.request(at(31), tick), Pace::Now);
    }
}
