use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::rng::{Rng, scale};

/// Draws numbers whose shares are met closely by any run of draws, and not only in the long run.
///
/// Each draw adds the golden ratio to the one before, modulo 1. So every interval gets its share of
/// any few hundred draws, up to about two. Nearly the same holds for every second or every third
/// draw: requests that alternate are not sorted by kind.
///
/// Source: H. Weyl's equidistribution, with the step that spreads best (D. Knuth, "The Art of
/// Computer Programming", volume 3, 6.4).
#[derive(Debug)]
pub(super) struct GroupDraw {
    /// A fraction of 2^64.
    next: AtomicU64,
}

/// The golden ratio's fraction of 2^64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl GroupDraw {
    /// Starts anywhere, so that many load balancers don't send their first requests to the same
    /// group.
    pub(super) fn new() -> Self {
        Self { next: AtomicU64::new(Rng::from_entropy().bits()) }
    }

    /// Returns a number below `total`; 0 if that is 0.
    pub(super) fn draw(&self, total: u32) -> u32 {
        let fraction = self.next.fetch_add(GOLDEN, Relaxed);
        // Below `total`, so it fits.
        scale(fraction, total as usize).0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_run_of_draws_has_the_shares() {
        let draw = GroupDraw::new();
        let draws: Vec<_> = (0..3000).map(|_| draw.draw(100)).collect();
        for (step, most) in [(1, 2.5), (2, 4.0), (3, 4.0)] {
            for start in (0..1000).step_by(37) {
                let run: Vec<_> = draws[start..].iter().step_by(step).take(200).collect();
                let share = run.iter().filter(|&&&number| number < 10).count() as f64;
                let expected = run.len() as f64 / 10.0;
                assert!((share - expected).abs() <= most, "{share} of {} by {step}", run.len());
            }
        }
    }
}
