//! How fast one connection may send, lane by lane, and when impatience becomes flooding.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    state::{InMemoryState, NotKeyed},
};

use crate::config::Rates;

/// A connection may break its limits so often in a row, and go on doing so this often a second, before it is closed.
const STRIKES_BURST: NonZeroU32 = NonZeroU32::new(200).expect("not zero");
const STRIKES_PER_SECOND: NonZeroU32 = NonZeroU32::new(5).expect("not zero");
/// The same for frames that are not understood.
const BAD_FRAMES_BURST: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const BAD_FRAMES_PER_SECOND: NonZeroU32 = NonZeroU32::new(1).expect("not zero");

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Joins,
    Messages,
    Cursors,
    Presence,
    Broadcasts,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, MonotonicClock>;

/// The lanes of one connection.
pub(super) struct Lanes {
    lanes: [Limiter; 5],
    strikes: Limiter,
    bad_frames: Limiter,
}

impl Lanes {
    pub(super) fn new(rates: &Rates) -> Self {
        let lane = |per_second: u32| limiter(per_second, per_second.saturating_mul(2));
        Self {
            lanes: [rates.joins, rates.messages, rates.cursors, rates.presence, rates.broadcasts].map(lane),
            strikes: limiter(STRIKES_PER_SECOND.get(), STRIKES_BURST.get()),
            bad_frames: limiter(BAD_FRAMES_PER_SECOND.get(), BAD_FRAMES_BURST.get()),
        }
    }

    /// Whether a frame may pass.
    ///
    /// # Errors
    /// How long to wait before the next one.
    pub(super) fn pass(&self, lane: Lane) -> Result<(), Duration> {
        self.lanes[lane as usize].check().map_err(|until| until.wait_time_from(MonotonicClock.now()))
    }

    /// Counts a frame over its limit; says whether that is flooding.
    pub(super) fn is_flooding(&self) -> bool {
        self.strikes.check().is_err()
    }

    /// Counts a frame that was not understood; says whether there were too many.
    pub(super) fn too_many_bad_frames(&self) -> bool {
        self.bad_frames.check().is_err()
    }
}

fn limiter(per_second: u32, burst: u32) -> Limiter {
    let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    RateLimiter::direct_with_clock(Quota::per_second(per_second).allow_burst(burst), MonotonicClock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_do_not_share_their_allowance() {
        let lanes = Lanes::new(&Rates { joins: 1, messages: 3, cursors: 1, presence: 1, broadcasts: 1 });
        let passed = (0..100).filter(|_| lanes.pass(Lane::Messages).is_ok()).count();
        assert!((6..10).contains(&passed), "a burst of twice the rate, {passed} passed");
        assert!(lanes.pass(Lane::Messages).unwrap_err() <= Duration::from_secs(1));
        assert!(lanes.pass(Lane::Cursors).is_ok());
    }

    #[test]
    fn impatience_is_forgiven_for_a_while() {
        let lanes = Lanes::new(&Rates { joins: 1, messages: 1, cursors: 1, presence: 1, broadcasts: 1 });
        assert!((0..200).all(|_| !lanes.is_flooding()));
        assert!((0..100).any(|_| lanes.is_flooding()));
        assert!((0..50).any(|_| lanes.too_many_bad_frames()));
    }
}
