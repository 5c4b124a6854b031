use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// The share of requests that is turned away at once, because the caller calls too fast.
///
/// Each throttle takes 3 % of what passes, each second gives 10 % back: it settles where some three
/// requests a second are throttled, whatever the rates are, and follows them.
#[derive(Debug)]
pub(super) struct ShedShare {
    /// The share that passes as an `f32`, and when it was set, in ticks since `epoch`; 0 if all
    /// pass.
    state: AtomicU64,
    epoch: Instant,
}

const TAKEN: f32 = 0.03;
/// Each second.
const GIVEN_BACK: f32 = 0.1;
/// Milliseconds; they wrap around after 8 years.
const TICK: u128 = 64;
/// So much passes always, to find out.
const LEAST: f32 = 0.001;

impl ShedShare {
    pub(super) fn new() -> Self {
        Self { state: AtomicU64::new(0), epoch: Instant::now() }
    }

    /// Something was throttled.
    pub(super) fn throttled(&self, now: Instant) {
        let ticks = self.ticks(now);
        let lower = |state| {
            let passing = passing(state, ticks).min(1.0);
            Some(pack((passing * (1.0 - TAKEN)).max(LEAST), ticks))
        };
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
    }

    /// The share that is shed, 0 to 1. Reads no clock while nothing is.
    pub(super) fn share(&self, now: impl FnOnce() -> Instant) -> f32 {
        let state = self.state.load(Ordering::Relaxed);
        if state == 0 {
            return 0.0;
        }
        let passing = passing(state, self.ticks(now()));
        if passing < 1.0 {
            return 1.0 - passing;
        }
        // If something was throttled meanwhile, that counts.
        let _ = self.state.compare_exchange(state, 0, Ordering::Relaxed, Ordering::Relaxed);
        0.0
    }

    fn ticks(&self, now: Instant) -> u32 {
        (now.saturating_duration_since(self.epoch).as_millis() / TICK) as u32
    }
}

fn pack(passing: f32, ticks: u32) -> u64 {
    u64::from(passing.to_bits()) << 32 | u64::from(ticks)
}

/// More than 1 once all may pass again.
fn passing(state: u64, ticks: u32) -> f32 {
    if state == 0 {
        return 1.0;
    }
    // A clock that steps back passes no time.
    let passed = ticks.wrapping_sub(state as u32) as i32;
    let seconds = passed.max(0) as f32 * (TICK as f32 / 1000.0);
    f32::from_bits((state >> 32) as u32) * (seconds * GIVEN_BACK).exp()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::strategy::Rng;

    /// One minute of a caller at a rate, against a limit counted in windows of 100 ms; gives the shares
    /// of the last half that were shed and throttled.
    fn simulate(rate: u32, limit: u32) -> (f64, f64) {
        let (start, mut rng) = (Instant::now(), Rng::seeded(7));
        let shed_share = ShedShare { state: AtomicU64::new(0), epoch: start };
        let (mut shed, mut throttled, mut sent, mut counted) = (0, 0, 0, 0);
        for request in 0..rate * 60 {
            let now = start + Duration::from_secs(1) * request / rate;
            if request % (rate / 10) == 0 {
                sent = 0;
            }
            let settled = request >= rate * 30;
            counted += u32::from(settled);
            if rng.unit() < f64::from(shed_share.share(|| now)) {
                shed += u32::from(settled);
            } else if sent < limit / 10 {
                sent += 1;
            } else {
                throttled += u32::from(settled);
                shed_share.throttled(now);
            }
        }
        (f64::from(shed) / f64::from(counted), f64::from(throttled) / f64::from(counted))
    }

    #[test]
    fn what_is_too_much_is_shed_and_hardly_anything_throttled() {
        for (rate, limit) in [(1000, 500), (1000, 900), (200, 50), (5000, 500)] {
            let (shed, throttled) = simulate(rate, limit);
            let excess = 1.0 - f64::from(limit) / f64::from(rate);
            assert!((shed - excess).abs() < 0.08, "{rate} of {limit}: shed {shed:.3}");
            assert!(throttled < 0.06, "{rate} of {limit}: throttled {throttled:.3}");
        }
        assert_eq!(simulate(1000, 1000), (0.0, 0.0));
    }

    #[test]
    fn shedding_ends() {
        let now = Instant::now();
        let shed_share = ShedShare::new();
        (0..1000).for_each(|_| shed_share.throttled(now));
        assert!(shed_share.share(|| now) > 0.9);
        assert_eq!(shed_share.share(|| now + Duration::from_secs(100)), 0.0);
        assert_eq!(shed_share.share(|| unreachable!()), 0.0, "and asks for no time any more");
    }
}
