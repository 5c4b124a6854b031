use super::{Gauge, Load, Now, Score};

/// Counts requests in flight. All requests cost the same; no clock is read.
///
/// An endpoint that fails fast has few requests in flight and looks idle: wrap this load in
/// [`FailureAware`](super::FailureAware), as the defaults of the strategies do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outstanding;

impl Load for Outstanding {
    #[inline]
    fn score(&self, gauge: &Gauge<'_>, _now: &mut Now) -> Score {
        Score { cost: 1.0, backlog: f64::from(gauge.stats().outstanding()) }
    }
}
