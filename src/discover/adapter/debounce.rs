use std::{
    collections::VecDeque,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use indexmap::IndexMap;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    discover::{Discover, MAX_UPDATES_PER_POLL, Update},
    endpoint::Endpoint,
};

/// The longest delay of an update.
const MAX_DELAY: Duration = Duration::from_secs(3600);

adapter! {
    /// Collects updates until the source is quiet, and passes on the result. The stream of
    /// [`DiscoverExt::debounce`](crate::discover::DiscoverExt::debounce).
    project = DebounceProjection,
    pub struct Debounce<D>(quiet: Duration, at_most: Duration) {
        started: bool = false,
        ended: bool = false,
        pending: Pending<D::Key, D::Target> = Pending { reset: false, changes: IndexMap::new() },
        // When the oldest pending update was received.
        since: Option<Instant> = None,
        timer: Option<Pin<Box<Sleep>>> = None,
        queue: VecDeque<Update<D::Key, D::Target>> = VecDeque::new(),
    }
}

/// The result of a burst of updates.
struct Pending<K, T> {
    /// The changes replace all endpoints. Otherwise they are changes of the endpoints before the
    /// burst.
    reset: bool,
    /// The new endpoint of a key, or `None` if it is removed.
    changes: IndexMap<K, Option<Endpoint<T>>>,
}

impl<K: Eq + Hash, T> Pending<K, T> {
    fn add(&mut self, update: Update<K, T>) {
        match update {
            Update::Insert(key, endpoint) => {
                self.changes.insert(key, Some(endpoint));
            }
            Update::Remove(key) => {
                self.changes.insert(key, None);
            }
            Update::Reset(all) => {
                self.reset = true;
                self.changes =
                    all.into_iter().map(|(key, endpoint)| (key, Some(endpoint))).collect();
            }
        }
    }

    fn take(&mut self) -> VecDeque<Update<K, T>> {
        let changes = std::mem::take(&mut self.changes).into_iter();
        if std::mem::take(&mut self.reset) {
            let left = changes.filter_map(|(key, endpoint)| Some((key, endpoint?)));
            return [Update::Reset(left.collect())].into();
        }
        let updates = changes.map(|(key, endpoint)| match endpoint {
            Some(endpoint) => Update::Insert(key, endpoint),
            None => Update::Remove(key),
        });
        updates.collect()
    }
}

impl<D: Discover<Key: Eq + Hash>> DebounceProjection<'_, D> {
    /// Adds an update, and restarts the timer at the end of which all updates are passed on.
    fn add(&mut self, update: Update<D::Key, D::Target>) {
        self.pending.add(update);
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        // Limited to an hour, because a time that is too long for the clock would overflow.
        let after = |start: Instant, time: Duration| start + time.min(MAX_DELAY);
        let due = after(now, *self.quiet).min(after(since, *self.at_most));
        match self.timer {
            Some(timer) => timer.as_mut().reset(due),
            None => *self.timer = Some(Box::pin(sleep_until(due))),
        }
    }

    fn flush(&mut self) {
        (*self.timer, *self.since) = (None, None);
        *self.queue = self.pending.take();
    }
}

impl<D: Discover<Key: Eq + Hash>> Stream for Debounce<D> {
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        if let Some(update) = this.queue.pop_front() {
            return Poll::Ready(Some(Ok(update)));
        }
        let mut budget = MAX_UPDATES_PER_POLL;
        while !*this.ended {
            match this.discover.as_mut().poll_discover(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => *this.ended = true,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                // The first update is passed on at once, so that a start is not delayed.
                Poll::Ready(Some(Ok(update))) if !*this.started => {
                    *this.started = true;
                    return Poll::Ready(Some(Ok(update)));
                }
                Poll::Ready(Some(Ok(update))) => this.add(update),
            }
            budget -= 1;
            if budget == 0 {
                cx.waker().wake_by_ref();
                break;
            }
        }
        let due = this.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if due || *this.ended {
            this.flush();
        }
        match this.queue.pop_front() {
            Some(update) => Poll::Ready(Some(Ok(update))),
            None if *this.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
