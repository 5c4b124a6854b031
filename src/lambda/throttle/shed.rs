use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::throttles::Memory;
use crate::{
    BoxError,
    lambda::{InvokeError, Throttle, ThrottleReason},
    rng::Rng,
};

/// Wraps services in [`Shed`]; created by [`Throttles::shed`](crate::lambda::Throttles::shed).
#[derive(Clone, Debug)]
pub struct ShedLayer {
    pub(super) memory: Arc<Memory>,
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed { inner, memory: Arc::clone(&self.memory) }
    }
}

/// Rejects a share of requests while the rate of this caller is too high for Lambda, so that the
/// service throttles few of the others.
///
/// A rejected request fails with [`InvokeError::Throttled`] for [`ThrottleReason::CallerRate`],
/// like one that the service throttles.
#[derive(Clone, Debug)]
pub struct Shed<S> {
    inner: S,
    memory: Arc<Memory>,
}

impl<S, Req> Service<Req> for Shed<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ShedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let share = self.memory.shed_share.share(Instant::now);
        // Nearly always 0: then no generator is made. One in each clone would be made in vain for
        // nearly every request, because services are cloned for each.
        let passes = share == 0.0 || Rng::from_entropy().unit() >= f64::from(share);
        if !passes {
            self.memory.shed.fetch_add(1, Ordering::Relaxed);
        }
        ShedFuture { response: passes.then(|| self.inner.call(request)) }
    }
}

pin_project! {
    /// The response future of [`Shed`].
    #[derive(Debug)]
    pub struct ShedFuture<F> {
        #[pin]
        response: Option<F>,
    }
}

impl<F, R, E> Future for ShedFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().response.as_pin_mut() {
            Some(response) => response.poll(cx).map_err(Into::into),
            None => {
                let throttle = Throttle::new(ThrottleReason::CallerRate, None);
                Poll::Ready(Err(InvokeError::Throttled(throttle).into()))
            }
        }
    }
}

/// The share of requests to shed because the caller's rate is too high.
///
/// Each throttle reduces the passing share by 3 %, and each second raises it by 10 %. It settles
/// where about three requests a second are throttled, at any rate.
#[derive(Debug)]
pub(super) struct ShedShare {
    /// The passing share as an `f32`, and the time when it was set in ticks since `epoch`; 0 if all
    /// requests pass.
    ///
    /// The word guards no other memory, so relaxed order is enough.
    state: AtomicU64,
    epoch: Instant,
}

/// The part of the passing share that a throttle removes.
const DECREASE_PER_THROTTLE: f32 = 0.03;
/// The exponential growth of the passing share, per second.
const GROWTH_PER_SEC: f32 = 0.1;
/// The unit of times; ticks wrap around after 8 years.
const TICK_MILLIS: u128 = 64;
/// This share always passes, to find out whether the rate is still too high.
const MIN_PASSING: f32 = 0.001;

impl ShedShare {
    pub(super) fn new() -> Self {
        Self { state: AtomicU64::new(0), epoch: Instant::now() }
    }

    /// Lowers the passing share after a throttle.
    pub(super) fn record_throttle(&self, now: Instant) {
        let ticks = self.ticks(now);
        let lower = |state| {
            let passing = passing(state, ticks).min(1.0);
            Some(pack((passing * (1.0 - DECREASE_PER_THROTTLE)).max(MIN_PASSING), ticks))
        };
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
    }

    /// Returns the share to shed, 0 to 1. Does not read the clock while nothing is shed.
    pub(super) fn share(&self, now: impl FnOnce() -> Instant) -> f32 {
        let state = self.state.load(Ordering::Relaxed);
        if state == 0 {
            return 0.0;
        }
        let passing = passing(state, self.ticks(now()));
        if passing < 1.0 {
            return 1.0 - passing;
        }
        // If a throttle was recorded meanwhile, the exchange fails and that one counts.
        let _ = self.state.compare_exchange(state, 0, Ordering::Relaxed, Ordering::Relaxed);
        0.0
    }

    fn ticks(&self, now: Instant) -> u32 {
        (now.saturating_duration_since(self.epoch).as_millis() / TICK_MILLIS) as u32
    }
}

fn pack(passing: f32, ticks: u32) -> u64 {
    u64::from(passing.to_bits()) << 32 | u64::from(ticks)
}

/// Returns the passing share, above 1 once all requests may pass again.
fn passing(state: u64, ticks: u32) -> f32 {
    if state == 0 {
        return 1.0;
    }
    // A clock that steps back counts as no time passed.
    let passed = ticks.wrapping_sub(state as u32) as i32;
    let seconds = passed.max(0) as f32 * (TICK_MILLIS as f32 / 1000.0);
    f32::from_bits((state >> 32) as u32) * (seconds * GROWTH_PER_SEC).exp()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::strategy::Rng;

    use super::*;

    /// Simulates a minute of a caller at `rate`, against a limit counted in windows of 100 ms.
    /// Returns the shares that were shed and throttled in the last half.
    fn simulate(rate: u32, limit: u32) -> (f64, f64) {
        let (start, mut rng) = (Instant::now(), Rng::seeded(7));
        let share = ShedShare { state: AtomicU64::new(0), epoch: start };
        let (mut shed, mut throttled, mut sent, mut counted) = (0, 0, 0, 0);
        for request in 0..rate * 60 {
            let now = start + Duration::from_secs(1) * request / rate;
            if request % (rate / 10) == 0 {
                sent = 0;
            }
            let settled = request >= rate * 30;
            counted += u32::from(settled);
            if rng.unit() < f64::from(share.share(|| now)) {
                shed += u32::from(settled);
            } else if sent < limit / 10 {
                sent += 1;
            } else {
                throttled += u32::from(settled);
                share.record_throttle(now);
            }
        }
        (f64::from(shed) / f64::from(counted), f64::from(throttled) / f64::from(counted))
    }

    #[test]
    fn the_excess_is_shed_and_few_requests_are_throttled() {
        for (rate, limit) in [(1000, 500), (1000, 900), (200, 50), (5000, 500)] {
            let (shed, throttled) = simulate(rate, limit);
            let excess = 1.0 - f64::from(limit) / f64::from(rate);
            assert!((shed - excess).abs() < 0.08, "{rate} of {limit}: shed {shed:.3}");
            assert!(throttled < 0.06, "{rate} of {limit}: throttled {throttled:.3}");
        }
        assert_eq!(simulate(1000, 1000), (0.0, 0.0));
    }

    #[test]
    fn shedding_ends_without_throttles() {
        let now = Instant::now();
        let share = ShedShare::new();
        (0..1000).for_each(|_| share.record_throttle(now));
        assert!(share.share(|| now) > 0.9);
        assert_eq!(share.share(|| now + Duration::from_secs(100)), 0.0);
        assert_eq!(share.share(|| unreachable!()), 0.0, "and the clock is not read");
    }
}
