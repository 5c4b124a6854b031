use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;

use super::{
    Candidates, Explanation, Pick, PickContext,
    explain::{Purpose, Rule, Rules, explain},
};

/// What a [`Strategy`](super::Strategy) builds: a picker, the candidates that it may pick, and
/// notices for the operator.
///
/// The fields are private, so that a wrapper cannot lose one of them:
///
/// | the strategy | returns |
/// |---|---|
/// | has no inner strategy | [`Built::new`] |
/// | wraps one strategy | what that strategy built, with [`map`](Self::map) for its own picker |
/// | divides the candidates into parts | [`BuiltParts::finish`](super::BuiltParts::finish) |
#[derive(Clone, Debug)]
#[must_use]
pub struct Built<P> {
    pub(crate) picker: P,
    pub(crate) eligible: Candidates,
    pub(crate) notices: Vec<String>,
    /// What wrappers without a picker did to the candidates, the outermost first.
    rules: Vec<Rule>,
}

impl<P> Built<P> {
    /// Creates a result without notices: `picker` returns candidates out of `eligible` only.
    ///
    /// The balancer is ready, and requests wait for a free slot, according to `eligible`.
    pub fn new(picker: P, eligible: Candidates) -> Self {
        Self { picker, eligible, notices: Vec::new(), rules: Vec::new() }
    }

    /// Wraps the picker and keeps the eligible candidates and the notices.
    pub fn map<Q>(self, wrap: impl FnOnce(P) -> Q) -> Built<Q> {
        let Self { picker, eligible, notices, rules } = self;
        let rules = rules.into_iter().map(Rule::wrapped).collect();
        Built { picker: wrap(picker), eligible, notices, rules }
    }

    /// Adds what a wrapper without a picker did, in front of the rules of the inner strategy.
    pub(crate) fn with_rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.rules.splice(..0, rules);
        self
    }

    pub(crate) fn rules(&self) -> Rules {
        self.rules.iter().cloned().collect()
    }

    /// Explains the pick for `request` that the picker would make now, as
    /// [`Balancer::explain`](crate::Balancer::explain) does, for using a strategy without a
    /// balancer. `candidates` are those that it was built from.
    #[must_use]
    pub fn explain<Req>(
        &self,
        candidates: &Candidates,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Explanation
    where
        P: Pick<Req>,
    {
        let (candidates, rules) = (self.eligible.restored(candidates), self.rules());
        explain(&self.picker, &candidates, &rules, Purpose::DryRun, request, context).1
    }

    /// Adds notices in front of those of the inner strategy.
    ///
    /// A notice describes the present state, such as a panic rule that holds. The balancer's
    /// [`status`](crate::Balancer::status) shows the notices.
    pub fn with_notices(mut self, notices: impl IntoIterator<Item = String>) -> Self {
        self.notices.splice(..0, notices);
        self
    }

    /// Returns the picker.
    #[must_use]
    pub fn picker(&self) -> &P {
        &self.picker
    }

    /// Returns the candidates that requests may go to.
    #[must_use]
    pub fn eligible(&self) -> &Candidates {
        &self.eligible
    }

    /// Returns the notices, those of the outermost wrapper first.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Returns the picker and drops the rest. For using a picker without a balancer, as in a test;
    /// wrappers use [`map`](Self::map).
    #[must_use]
    pub fn into_picker(self) -> P {
        self.picker
    }
}

/// Collects the events after which a strategy wants to build a new picker over the same candidates.
///
/// The driver passes it to [`Strategy::build`](super::Strategy::build) and polls the registered
/// events until it builds the next picker. A wrapper passes it on to its inner strategies, so it
/// cannot lose their events. A strategy that was not built has no events.
#[derive(Default)]
pub struct BuildContext {
    events: Vec<Pin<Box<dyn Stream<Item = ()> + Send>>>,
    balancer: Option<Arc<str>>,
}

impl BuildContext {
    /// Creates a context without events, for using a strategy without a balancer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a context for the strategy of a balancer with the name, if it has one.
    pub(crate) fn for_balancer(balancer: Option<Arc<str>>) -> Self {
        Self { balancer, ..Self::default() }
    }

    /// Returns the name of the balancer, if it has one, for log events.
    #[must_use]
    pub fn balancer(&self) -> Option<&str> {
        self.balancer.as_deref()
    }

    /// Requests a new picker each time that `events` yields.
    ///
    /// The driver polls the stream, which may also do work between requests and never yield. The
    /// driver drops the stream when it builds the next picker: keep state that outlives a picker in
    /// the strategy. A stream that has ended is not polled again. If the endpoints of a balancer
    /// can no longer change, its driver ends when all streams have ended.
    pub fn rebuild_on(&mut self, events: impl Stream<Item = ()> + Send + 'static) {
        self.events.push(Box::pin(events));
    }

    /// Returns `Ready(Some(()))` if a new picker is wanted, and `Ready(None)` if none will ever be.
    pub fn poll_rebuild(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let mut rebuild = false;
        // Polls every stream, also after one has yielded: each must register the waker.
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
