use super::Distribution;
use crate::histogram::Histogram;

/// The times that the attempts at one endpoint took, as distributions.
#[derive(Debug)]
pub(crate) struct Durations {
    first_byte: Histogram,
    end: Histogram,
}

/// From 1 µs to 137 s.
const OCTAVES: u32 = 27;
/// A bucket is at most a quarter wider than the one before, so a time is known to an eighth.
const STEP_BITS: u32 = 2;

impl Durations {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new(OCTAVES, STEP_BITS);
        Self { first_byte: histogram(), end: histogram() }
    }

    /// Counts an attempt; times are in nanoseconds from the pick.
    #[inline]
    pub(crate) fn record(&self, first_byte: Option<u64>, end: u64) {
        if let Some(first_byte) = first_byte {
            self.first_byte.record(first_byte);
        }
        self.end.record(end);
    }

    pub(crate) fn first_byte(&self) -> Distribution {
        Distribution::of(&self.first_byte)
    }

    pub(crate) fn end(&self) -> Distribution {
        Distribution::of(&self.end)
    }
}
