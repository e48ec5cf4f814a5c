//! Who is asked for how often: by Zipf's law, the n-th with a likelihood of 1/n.

/// Draws numbers from 0 by Zipf's law; the same seed draws the same.
#[derive(Debug, Clone)]
pub struct Zipf {
    sums: Vec<f64>,
    state: u64,
}

impl Zipf {
    /// Of `count` numbers, at least one.
    pub fn new(count: usize, seed: u64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count.max(1)).map(|n| {
            sum += 1.0 / n as f64;
            sum
        });
        Self { sums: sums.collect(), state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// The next number.
    pub fn draw(&mut self) -> usize {
        let at = self.chance() * self.sums.last().copied().unwrap_or_default();
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len() - 1)
    }

    /// A number from 0 to 1 (xorshift64*).
    pub fn chance(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_asked_for_most_and_all_are() {
        let mut zipf = Zipf::new(10, 7);
        let mut drawn = [0u32; 10];
        (0..20_000).for_each(|_| drawn[zipf.draw()] += 1);
        assert!(drawn.iter().all(|count| *count > 300), "{drawn:?}");
        let ratio = f64::from(drawn[0]) / f64::from(drawn[9]);
        assert!((7.0..14.0).contains(&ratio), "{ratio}");
    }
}
