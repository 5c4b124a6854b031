use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use super::Candidates;

/// What a [`Strategy`](super::Strategy) builds from the candidates: the picker, the candidates that it
/// may pick, and notices for the operator.
///
/// A wrapper gets all three from its inner strategy at once and passes them on with
/// [`map`](Self::map), so that it changes each of them knowingly or not at all.
#[derive(Clone, Debug)]
#[must_use]
pub struct Built<P> {
    /// Selects a candidate for each request.
    pub picker: P,
    /// The candidates that requests may go to. The balancer is ready, and requests wait for room,
    /// according to them.
    pub eligible: Candidates,
    /// What the operator should know of the present state, such as a panic rule that holds. The
    /// balancer's [`status`](crate::Balancer::status) shows them, the outermost wrapper's first.
    pub notices: Vec<String>,
}

impl<P> Built<P> {
    /// A picker that may pick `eligible`, without notices.
    pub fn new(picker: P, eligible: Candidates) -> Self {
        Self { picker, eligible, notices: Vec::new() }
    }

    /// Wraps the picker and passes everything else on.
    pub fn map<Q>(self, wrap: impl FnOnce(P) -> Q) -> Built<Q> {
        Built { picker: wrap(self.picker), eligible: self.eligible, notices: self.notices }
    }

    /// Puts notices in front of those of the inner strategy.
    pub fn with_notices(mut self, notices: impl IntoIterator<Item = String>) -> Self {
        self.notices.splice(..0, notices);
        self
    }
}

/// Collects the events after which a strategy wants to build a new picker over the same candidates.
///
/// The driver passes it to [`Strategy::build`](super::Strategy::build) and polls what is registered
/// until it builds the next picker. A wrapper passes it to its inner strategies, whose events so reach
/// the driver without its help; a strategy that was not built has no events.
#[derive(Default)]
pub struct BuildContext {
    events: Vec<Pin<Box<dyn Stream<Item = ()> + Send>>>,
}

impl BuildContext {
    /// Without events. For the use of a strategy without a balancer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a new picker each time that `events` yields.
    ///
    /// The stream is polled by the driver, and may do work between requests without ever yielding. It is
    /// dropped when the next picker is built, so state that outlives a picker is shared with the
    /// strategy. A stream that has ended is not polled again; the driver of a balancer whose endpoints
    /// can't change any more runs as long as there is a stream that has not ended.
    pub fn rebuild_on(&mut self, events: impl Stream<Item = ()> + Send + 'static) {
        self.events.push(Box::pin(events));
    }

    /// `Ready(Some(()))` if a new picker is wanted, `Ready(None)` if none will ever be.
    pub fn poll_rebuild(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let mut rebuild = false;
        // Each is polled, so that each is registered for its wake-up.
        self.events.retain_mut(|events| match events.as_mut().poll_next(cx) {
            Poll::Ready(Some(())) => {
                rebuild = true;
                true
            }
            Poll::Ready(None) => false,
            Poll::Pending => true,
        });
        match (rebuild, self.events.is_empty()) {
            (true, _) => Poll::Ready(Some(())),
            (false, true) => Poll::Ready(None),
            (false, false) => Poll::Pending,
        }
    }
}

impl fmt::Debug for BuildContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildContext").field("events", &self.events.len()).finish()
    }
}
