//! Ways of doing one thing, measured in turn, and what each costs against the first.
//!
//! A machine's speed wanders by more than the ways differ. So each turn does every way once, in a random order; turns are gathered
//! into blocks, and a block gives one ratio of two medians. The median of those is the figure, and the order of the blocks' ratios says how
//! sure it is, whatever their distribution.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub blocks: usize,
    /// Times that a block does every way.
    pub turns: usize,
}

/// Times by block, way and turn.
pub struct Samples(Vec<Vec<Vec<Duration>>>);

/// What a way takes, and that against another.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figure {
    pub p50_us: f64,
    pub p99_us: f64,
    /// Median of the blocks' ratios, and the bounds that hold it at a confidence of 95 %.
    pub ratio: f64,
    pub ratio_low: f64,
    pub ratio_high: f64,
    /// Median of the blocks' differences.
    pub plus_ns: f64,
}

/// Does every way once a turn. `once` is given the number of the way.
pub fn interleave(ways: usize, shape: Shape, mut once: impl FnMut(usize) -> Result<Duration>) -> Result<Samples> {
    let mut order: Vec<usize> = (0..ways).collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut blocks = Vec::new();
    // The first block warms up.
    for _ in 0..=shape.blocks {
        let mut block = vec![Vec::with_capacity(shape.turns); ways];
        for _ in 0..shape.turns {
            dice.shuffle(&mut order);
            for way in &order {
                block[*way].push(once(*way)?);
            }
        }
        blocks.push(block);
    }
    blocks.remove(0);
    Ok(Samples(blocks))
}

impl Samples {
    /// The figure of a way against another.
    pub fn figure(&self, way: usize, base: usize) -> Figure {
        let mut all: Vec<f64> = self.0.iter().flat_map(|block| &block[way]).map(nanos).collect();
        let medians =
            |way: usize| self.0.iter().map(move |block| median(&mut block[way].iter().map(nanos).collect::<Vec<_>>()));
        let mut ratios: Vec<f64> = medians(way).zip(medians(base)).map(|(one, other)| one / other).collect();
        let mut differences: Vec<f64> = medians(way).zip(medians(base)).map(|(one, other)| one - other).collect();
        let (p50_us, p99_us) = (percentile(&mut all, 50) / 1e3, percentile(&mut all, 99) / 1e3);
        let ratio = median(&mut ratios);
        let [ratio_low, ratio_high] = bounds(&ratios);
        Figure { p50_us, p99_us, ratio, ratio_low, ratio_high, plus_ns: median(&mut differences) }
    }
}

impl Figure {
    /// Ratio and bounds as text.
    pub fn ratio(&self) -> String {
        format!("{:.3} ({:.3} to {:.3})", self.ratio, self.ratio_low, self.ratio_high)
    }
}

/// Numbers that look random, the same in every run.
pub struct Dice(pub u64);

impl Dice {
    /// One of `0 .. sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        // Marsaglia's xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides.max(1)
    }

    fn shuffle(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.roll(last + 1));
        }
    }
}

/// Bounds of the median of what sorted values were drawn from, at 95 %: the ranks that the binomial distribution gives.
fn bounds(sorted: &[f64]) -> [f64; 2] {
    let n = sorted.len() as f64;
    let rank = (n / 2.0 - 0.98 * n.sqrt()).max(0.0) as usize;
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    [at(rank), at(sorted.len().saturating_sub(1 + rank))]
}

fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}

/// Sorts the values.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or(0.0)
}

fn nanos(time: &Duration) -> f64 {
    time.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ways of 1,000 and 1,030 ns on a machine whose speed doubles within the run.
    #[test]
    fn a_drifting_clock_does_not_move_the_ratio() {
        let mut turn = 0_u64;
        let shape = Shape { blocks: 20, turns: 50 };
        let samples = interleave(2, shape, |way| {
            turn += 1;
            Ok(Duration::from_nanos((1_000 + 30 * way as u64) * (2_100 + turn) / 2_100))
        });
        let figure = samples.unwrap().figure(1, 0);
        assert!((figure.ratio - 1.03).abs() < 0.002, "{figure:?}");
        assert!(figure.ratio_low <= figure.ratio && figure.ratio <= figure.ratio_high);
        assert!(figure.p99_us > 1.5 && figure.plus_ns > 29.0, "{figure:?}");
    }
}
