use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::Stream;
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};

use super::Relay;
use crate::{
    discover::{Discover, Update},
    endpoint::{Endpoint, Health},
    future::LazySleep,
};

/// When the connections to a target are ended because the target is leaving.
///
/// A balancer sends no new connection to such a target in any case.
///
/// | attribute of a target group of AWS | here |
/// |---|---|
/// | `deregistration_delay.timeout_seconds` | [`HealthExt::drained`](crate::health::HealthExt::drained), placed before |
/// | `deregistration_delay.connection_termination.enabled` | [`on_removal`](Self::on_removal) |
/// | `target_health_state.unhealthy.connection_termination.enabled` | [`on_unhealthy`](Self::on_unhealthy) |
/// | `target_health_state.unhealthy.draining_interval_seconds` | the time of `on_unhealthy` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    removal: bool,
    unhealthy: Option<Duration>,
}

impl Termination {
    /// Ends connections to a target as soon as it is unhealthy, and leaves those to a removed
    /// target alone, as a Network Load Balancer does by default.
    #[must_use]
    pub fn new() -> Self {
        Self { removal: false, unhealthy: Some(Duration::ZERO) }
    }

    setters! {
        /// Sets whether the connections to a target are ended when it is removed. Default `false`.
        /// With [`HealthExt::drained`](crate::health::HealthExt::drained) before this, a target is
        /// removed when its time for draining is over.
        pub fn on_removal(ended: bool) => removal = ended;
        /// Sets how long a target is unhealthy before its connections are ended; `None` never ends
        /// them. Connections that are opened later, because all targets are unhealthy, are left
        /// alone. Default 0.
        pub fn on_unhealthy(after: impl Into<Option<Duration>>) => unhealthy = after.into();
    }
}

impl Default for Termination {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds [`Termination`] to the streams of relays.
pub trait TerminationExt: Discover<Target = Relay> + Sized {
    /// Ends the connections to targets that are removed or unhealthy, as `termination` says. Place
    /// it after health checks and draining, and before outlier detection: a target that refuses new
    /// connections may still serve those that it has.
    fn terminating(self, termination: Termination) -> Terminating<Self>
    where
        Self::Key: Clone + Eq + Hash,
    {
        let (known, timer) = (HashMap::new(), LazySleep::default());
        Terminating { discover: self, has_ended: false, termination, known, timer }
    }
}

impl<D: Discover<Target = Relay>> TerminationExt for D {}

pin_project! {
    /// Passes endpoints on unchanged, and ends the connections to those that leave. The stream of
    /// [`TerminationExt::terminating`].
    pub struct Terminating<D: Discover> {
        #[pin]
        discover: D,
        has_ended: bool,
        termination: Termination,
        known: HashMap<D::Key, Known>,
        #[pin]
        timer: LazySleep,
    }
}

struct Known {
    relay: Relay,
    unhealthy: Unhealthy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unhealthy {
    No,
    /// Its connections are ended at this time.
    Until(Instant),
    /// They have been ended.
    Terminated,
}

impl<D> Stream for Terminating<D>
where
    D: Discover<Target = Relay, Key: Clone + Eq + Hash>,
{
    type Item = Result<Update<D::Key, Relay>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let termination = *this.termination;
        while !*this.has_ended {
            match this.discover.as_mut().poll_discover(cx) {
                Poll::Ready(Some(update)) => {
                    if let Ok(update) = &update {
                        apply(this.known, update, termination);
                        // The deadlines may be others now.
                        this.timer.as_mut().stop();
                    }
                    return Poll::Ready(Some(update));
                }
                Poll::Ready(None) => *this.has_ended = true,
                Poll::Pending => break,
            }
        }
        loop {
            let Some(due) = next_deadline(this.known) else {
                // The times of targets pass, although they do not change any more.
                return if *this.has_ended { Poll::Ready(None) } else { Poll::Pending };
            };
            ready!(this.timer.as_mut().poll(cx, || sleep_until(due)));
            this.timer.as_mut().stop();
            terminate_due(this.known, Instant::now());
        }
    }
}

impl<D: Discover> fmt::Debug for Terminating<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminating")
            .field("termination", &self.termination)
            .field("endpoints", &self.known.len())
            .finish_non_exhaustive()
    }
}

fn apply<K: Clone + Eq + Hash>(
    known: &mut HashMap<K, Known>,
    update: &Update<K, Relay>,
    termination: Termination,
) {
    match update {
        Update::Insert(key, endpoint) => {
            let before = known.remove(key);
            known.insert(key.clone(), insert(before, endpoint, termination));
        }
        Update::Remove(key) => remove(known.remove(key), termination),
        Update::Reset(endpoints) => {
            let mut before = std::mem::take(known);
            for (key, endpoint) in endpoints {
                // Of endpoints with the same key, the last counts.
                let earlier = before.remove(key).or_else(|| known.remove(key));
                known.insert(key.clone(), insert(earlier, endpoint, termination));
            }
            before.into_values().for_each(|gone| remove(Some(gone), termination));
        }
    }
}

fn insert(before: Option<Known>, endpoint: &Endpoint<Relay>, termination: Termination) -> Known {
    let relay = endpoint.target().clone();
    let before = match before {
        Some(before) if before.relay.is_same(&relay) => before.unhealthy,
        // Another target has the key.
        before => {
            remove(before, termination);
            Unhealthy::No
        }
    };
    let unhealthy = match (endpoint.health(), termination.unhealthy) {
        (Health::Unhealthy(_), Some(_)) if before != Unhealthy::No => before,
        (Health::Unhealthy(_), Some(after)) if after.is_zero() => {
            relay.terminate_connections();
            Unhealthy::Terminated
        }
        (Health::Unhealthy(_), Some(after)) => Instant::now()
            .checked_add(after)
            // A time beyond the range of the clock is never reached.
            .map_or(Unhealthy::Terminated, Unhealthy::Until),
        _ => Unhealthy::No,
    };
    Known { relay, unhealthy }
}

fn remove(gone: Option<Known>, termination: Termination) {
    if let Some(gone) = gone.filter(|_| termination.removal) {
        gone.relay.terminate_connections();
    }
}

fn next_deadline<K>(known: &HashMap<K, Known>) -> Option<Instant> {
    let deadlines = known.values().filter_map(|known| match known.unhealthy {
        Unhealthy::Until(due) => Some(due),
        Unhealthy::No | Unhealthy::Terminated => None,
    });
    deadlines.min()
}

fn terminate_due<K>(known: &mut HashMap<K, Known>, now: Instant) {
    for known in known.values_mut() {
        if matches!(known.unhealthy, Unhealthy::Until(due) if due <= now) {
            known.relay.terminate_connections();
            known.unhealthy = Unhealthy::Terminated;
        }
    }
}
