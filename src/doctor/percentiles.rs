//! Times in few words.

use std::time::Duration;

/// How long a number of equal things took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Percentiles {
    pub(super) p50: Duration,
    pub(super) p95: Duration,
    pub(super) p99: Duration,
}

impl Percentiles {
    /// `None` of nothing.
    pub(super) fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        // The smallest time that so many percent do not exceed.
        let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { p50: at(50)?, p95: at(95)?, p99: at(99)? })
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        write!(f, "p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms", ms(self.p50), ms(self.p95), ms(self.p99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_seen() {
        let ms = Duration::from_millis;
        assert_eq!(Percentiles::of(vec![]), None);
        assert_eq!(Percentiles::of(vec![ms(7)]), Some(Percentiles { p50: ms(7), p95: ms(7), p99: ms(7) }));
        let hundred = Percentiles::of((1..=100).rev().map(ms).collect()).unwrap();
        assert_eq!((hundred.p50, hundred.p95, hundred.p99), (ms(50), ms(95), ms(99)));
        assert_eq!(hundred.to_string(), "p50 50.00 ms, p95 95.00 ms, p99 99.00 ms");
    }
}
