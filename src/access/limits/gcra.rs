//! The arithmetic of a limit: the generic cell rate algorithm, the same in memory and in Redis' script.
//!
//! A limit of `count` in `window` gives back one place every `window / count`. What is kept of a client is one number: how
//! far ahead of the clock its theoretical arrival time is, that is how long it would take until all places are free again.
//! All places may be taken at once; in the long run no more than `count` pass per `window`.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;

use crate::{
    config::RateLimit,
    redis::{Commands, Fault, Script},
};

/// A limit, in the units of its arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gcra {
    /// How many may pass at once.
    pub count: u32,
    /// After how long one more may pass, µs.
    interval_us: u64,
}

/// What a limit says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It may pass.
    pub allowed: bool,
    /// The limit.
    pub limit: u32,
    /// How many more may pass now.
    pub remaining: u32,
    /// Until all may pass again.
    pub reset: Duration,
    /// Until the next may pass; zero when it may now.
    pub retry_after: Duration,
}

impl From<RateLimit> for Gcra {
    fn from(limit: RateLimit) -> Self {
        let window_us = u64::try_from(limit.window.as_micros()).unwrap_or(u64::MAX);
        Self { count: limit.count, interval_us: (window_us / u64::from(limit.count.max(1))).max(1) }
    }
}

impl Gcra {
    /// So many requests of a client that is `ahead_us`: whether they pass, and how far ahead it is then.
    pub fn take(&self, ahead_us: u64, requests: u32) -> (bool, u64) {
        let then = ahead_us + self.cost_us(requests);
        if then <= self.full_us() { (true, then) } else { (false, ahead_us) }
    }

    /// As [`take`](Self::take), for requests that have passed already: the client may go into debt, up to all places again.
    pub fn charge(&self, ahead_us: u64, requests: u32) -> u64 {
        (ahead_us + self.cost_us(requests)).min(2 * self.full_us())
    }

    /// How far ahead so many requests bring a client, µs.
    pub(super) fn cost_us(&self, requests: u32) -> u64 {
        self.interval_us.saturating_mul(u64::from(requests))
    }

    /// How far ahead a client is that has no place left, µs.
    pub(super) fn full_us(&self) -> u64 {
        self.cost_us(self.count)
    }

    /// In words for the client, which is so far ahead after the decision.
    pub fn verdict(&self, allowed: bool, ahead_us: u64) -> Verdict {
        let free_us = self.full_us().saturating_sub(ahead_us);
        Verdict {
            allowed,
            limit: self.count,
            remaining: u32::try_from(free_us / self.interval_us).unwrap_or(u32::MAX),
            reset: Duration::from_micros(ahead_us),
            retry_after: Duration::from_micros((ahead_us + self.interval_us).saturating_sub(self.full_us())),
        }
    }

    /// Asks Redis: `take`, or with `passed` `charge`. `floor_us` is what the asker knows of the client already: Redis may
    /// have lost it. `now_us` replaces Redis' clock in tests.
    ///
    /// # Errors
    /// Redis' fault; the requests may have been counted.
    pub async fn ask(
        &self,
        redis: &Commands,
        key: &str,
        requests: u32,
        passed: bool,
        floor_us: u64,
        now_us: Option<u64>,
    ) -> Result<(bool, u64), Fault> {
        let numbers = [self.cost_us(requests), self.full_us(), u64::from(passed), floor_us, now_us.unwrap_or(0)];
        let args = numbers.map(|number| Bytes::from(number.to_string())).to_vec();
        let (allowed, ahead_us): (i64, i64) = redis.eval(&TAKE, &[key], args).await?;
        Ok((allowed == 1, u64::try_from(ahead_us).unwrap_or(0)))
    }
}

/// cost, full, passed, floor, now → allowed, ahead; all in µs. The value is the theoretical arrival time. Lua's numbers hold
/// such times exactly, but only `%.0f` writes all their digits.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local cost, full, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[5])
        if now == 0 then local t = redis.call('TIME') now = t[1] * 1000000 + t[2] end
        local ahead = math.max(0, tonumber(redis.call('GET', KEYS[1]) or '0') - now, tonumber(ARGV[4]))
        local after, allowed = ahead + cost, 1
        if ARGV[3] == '1' then after = math.min(after, 2 * full)
        elseif after > full then after, allowed = ahead, 0 end
        if after > 0 then
            redis.call('SET', KEYS[1], string.format('%.0f', now + after), 'PX', string.format('%.0f', math.ceil(after / 1000)))
        end
        return {allowed, after}",
    )
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(count: u32, window_ms: u64) -> Gcra {
        RateLimit { count, window: Duration::from_millis(window_ms) }.into()
    }

    #[test]
    fn all_places_at_once_then_one_by_one() {
        let three = limit(3, 900_000);
        let mut ahead = 0;
        for left in [2, 1, 0] {
            let (allowed, after) = three.take(ahead, 1);
            assert!(allowed && three.verdict(true, after).remaining == left);
            ahead = after;
        }
        let (allowed, after) = three.take(ahead, 1);
        let verdict = three.verdict(allowed, after);
        assert_eq!((verdict.allowed, verdict.remaining, verdict.retry_after.as_secs()), (false, 0, 300));
        assert_eq!(verdict.reset.as_secs(), 900);
        assert!(three.take(ahead - 300_000_000, 1).0, "one place after a third of the window");
        assert!(!three.take(ahead - 300_000_000, 2).0);
    }

    proptest! {
        /// Over any time no more pass than the places at once and those given back meanwhile.
        #[test]
        fn never_more_than_the_limit(count in 1u32..50, window_ms in 1u64..100_000, steps in prop::collection::vec((0u64..5_000_000, 1u32..4), 1..200)) {
            let limit = limit(count, window_ms);
            let (mut ahead, mut time_us, mut passed) = (0u64, 0u64, 0u64);
            for (pause_us, requests) in steps {
                time_us += pause_us;
                ahead = ahead.saturating_sub(pause_us);
                let (allowed, after) = limit.take(ahead, requests);
                passed += if allowed { u64::from(requests) } else { 0 };
                ahead = after;
                prop_assert!(passed <= u64::from(count) + time_us / limit.interval_us);
                // What is promised with a refusal holds.
                if !allowed && requests == 1 {
                    let wait = limit.verdict(false, ahead).retry_after.as_micros() as u64;
                    prop_assert!(wait > 0 && limit.take(ahead.saturating_sub(wait), 1).0);
                }
            }
        }
    }
}
