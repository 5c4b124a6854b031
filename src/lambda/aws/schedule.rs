use std::{pin::Pin, time::Duration};

use tokio::time::{Sleep, sleep};

/// When the control plane is asked next: every so often, and after a failure sooner, for whoever has
/// nothing yet should not wait for a whole period.
#[derive(Debug)]
pub(super) struct Schedule {
    period: Duration,
    failures: u32,
}

/// The shortest time between two requests.
const SHORTEST: Duration = Duration::from_secs(1);

impl Schedule {
    pub(super) fn every(period: Duration) -> Self {
        Self { period: period.max(SHORTEST), failures: 0 }
    }

    /// Waits for the next turn, give or take a tenth: many clients that were started at once should
    /// not ask at once.
    pub(super) fn next(&mut self, succeeded: bool) -> Pin<Box<Sleep>> {
        self.failures = if succeeded { 0 } else { self.failures.saturating_add(1) };
        let pause = match self.failures {
            0 => self.period,
            failures => self.period.min(SHORTEST * 2_u32.pow((failures - 1).min(16))),
        };
        Box::pin(sleep(pause.mul_f64(0.9 + 0.2 * fastrand::f64())))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_followed_by_growing_pauses_up_to_the_period() {
        let mut schedule = Schedule::every(Duration::from_secs(30));
        let mut next = |succeeded| {
            let now = Instant::now();
            (schedule.next(succeeded).deadline() - now).as_secs_f64()
        };
        for (succeeded, expected) in
            [(true, 30.0), (false, 1.0), (false, 2.0), (false, 4.0), (true, 30.0), (false, 1.0)]
        {
            let pause = next(succeeded);
            assert!((pause / expected - 1.0).abs() < 0.11, "{pause} instead of {expected}");
        }
        for _ in 0..100 {
            assert!(next(false) < 33.1);
        }
    }
}
