use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep_until};

use super::{domain::Domain, throttles::Memory};
use crate::{
    outcome::Meter,
    strategy::{Candidate, Candidates, Strategy},
};

/// Lets another strategy choose among the endpoints that are not throttled; made by
/// [`Throttles::steer`](super::Throttles::steer).
///
/// It works in the driver: a pick costs no more than the inner strategy's.
///
/// What is left out counts as missing to strategies that count, as [`Tiers`](crate::strategy::Tiers) do, and
/// may be let in again by a [`Panic`](crate::strategy::Panic) further in, which belongs around this.
#[derive(Debug)]
pub struct Steer<St> {
    inner: St,
    memory: Arc<Memory>,
    id: u64,
    /// Of the pauses that the picker knows.
    version: u64,
    /// What the picker leaves out: regions, and functions.
    paused: [Vec<Domain>; 2],
    /// When a pause ends.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<St> Steer<St> {
    pub(super) fn new(inner: St, memory: Arc<Memory>) -> Self {
        let id = memory.new_id();
        Self { inner, memory, id, version: 0, paused: Default::default(), timer: None }
    }

    /// The candidates that are not throttled.
    fn left(&self, candidates: &Candidates) -> Candidates {
        self.paused.iter().fold(candidates.clone(), |left, domains| without(domains, left))
    }

    /// Ready when a pause has begun or ended since last time.
    fn poll_pauses(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (version, next_end) = self.memory.watch(self.id, cx.waker());
        if std::mem::replace(&mut self.version, version) != version {
            self.timer = next_end.map(|end| Box::pin(sleep_until(end)));
            return Poll::Ready(());
        }
        match &mut self.timer {
            None => Poll::Pending,
            Some(timer) => {
                std::task::ready!(timer.as_mut().poll(cx));
                self.timer = next_end.map(|end| Box::pin(sleep_until(end)));
                Poll::Ready(())
            }
        }
    }
}

impl<St: Clone> Clone for Steer<St> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.memory))
    }
}

impl<St> Drop for Steer<St> {
    fn drop(&mut self) {
        self.memory.forget(self.id);
    }
}

impl<St: Strategy> Strategy for Steer<St> {
    type Picker = St::Picker;

    fn picker(&mut self, candidates: &Candidates) -> St::Picker {
        let (regions, functions) = self.memory.paused().into_iter().partition(Domain::is_region);
        self.paused = [regions, functions];
        self.inner.picker(&self.left(candidates))
    }

    fn eligible(&self, candidates: &Candidates) -> Candidates {
        self.inner.eligible(&self.left(candidates))
    }

    fn notices(&self) -> Vec<String> {
        let paused = self.paused.iter().flatten();
        let notices = paused.map(|domain| format!("throttled, so left out: {domain}"));
        notices.chain(self.inner.notices()).collect()
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let inner = self.inner.poll_update(cx);
        if self.poll_pauses(cx).is_ready() {
            return Poll::Ready(Some(()));
        }
        match inner {
            Poll::Ready(Some(())) => inner,
            // There may always be a throttle yet to come.
            _ => Poll::Pending,
        }
    }
}

/// The candidates outside of the domains; all if none would be left.
fn without(domains: &[Domain], candidates: Candidates) -> Candidates {
    if domains.is_empty() {
        return candidates;
    }
    let is_out = |candidate: &Candidate| {
        let endpoint = Domain::of_function(candidate.name(), candidate);
        domains.iter().any(|domain| domain.contains(&endpoint))
    };
    let left = candidates.filter(|candidate| !is_out(candidate));
    if left.is_empty() { candidates } else { left }
}
