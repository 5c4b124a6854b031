use std::{
    fmt,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use pin_project_lite::pin_project;

use super::members::{Id, Member, Members};
use crate::{
    discover::{Discover, Update},
    endpoint::Endpoint,
};

/// What a stage makes of the endpoints that come through it.
pub(crate) trait Policy<K, T, S> {
    /// What the stage knows of a new endpoint, which makes so many, with those that come with it.
    fn join(&mut self, id: Id, endpoint: &Endpoint<T>, endpoints: usize) -> S;

    /// Upstream has changed an endpoint. The change is passed on afterwards.
    fn change(&mut self, id: Id, member: &mut Member<K, T, S>) {
        let _ = (id, member);
    }

    /// Upstream has removed an endpoint. True if it stays until it is retired.
    fn leave(&mut self, id: Id, member: &mut Member<K, T, S>) -> bool {
        let _ = (id, member);
        false
    }

    /// The endpoint as it is passed on; `None` if downstream is not to have it.
    fn pass(&self, endpoint: Endpoint<T>, state: &S) -> Option<Endpoint<T>>;

    /// Does its own work, and announces what it changes. Ready if there is none and will be none unless
    /// upstream has more to say. Called for each update, so it must be cheap if nothing is due.
    fn poll(&mut self, members: &mut Members<K, T, S>, cx: &mut Context<'_>) -> Poll<()>;
}

pin_project! {
    /// A stream of updates with a policy put in.
    pub(crate) struct Stage<D: Discover, P, S> {
        #[pin]
        discover: D,
        ended: bool,
        members: Members<D::Key, D::Target, S>,
        policy: P,
    }
}

impl<D: Discover, P, S> Stage<D, P, S> {
    pub(crate) fn new(discover: D, policy: P) -> Self {
        Self { discover, ended: false, members: Members::new(), policy }
    }
}

impl<D, P, S> Stream for Stage<D, P, S>
where
    D: Discover<Key: Clone + Eq + Hash, Target: Clone>,
    P: Policy<D::Key, D::Target, S>,
{
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(update) = this.members.next_change(this.policy) {
                return Poll::Ready(Some(Ok(update)));
            }
            // Before upstream, which may always have something to say.
            let idle = this.policy.poll(this.members, cx).is_ready();
            if this.members.has_changes() {
                continue;
            }
            if *this.ended {
                return if idle { Poll::Ready(None) } else { Poll::Pending };
            }
            match ready!(this.discover.as_mut().poll_discover(cx)) {
                None => *this.ended = true,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(update)) => {
                    if let Some(update) = this.members.apply(update, this.policy) {
                        return Poll::Ready(Some(Ok(update)));
                    }
                }
            }
        }
    }
}

impl<D: Discover + fmt::Debug, P, S> Stage<D, P, S> {
    pub(crate) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("discover", &self.discover)
            .field("endpoints", &self.members.len())
            .finish_non_exhaustive()
    }
}

/// Defines the stream of an adapter: a stage with its policy.
macro_rules! stage {
    ($(#[$doc:meta])* $name:ident, $policy:ty, $state:ty) => {
        pin_project_lite::pin_project! {
            $(#[$doc])*
            pub struct $name<D: $crate::discover::Discover> {
                #[pin]
                stage: $crate::health::stage::stage::Stage<D, $policy, $state>,
            }
        }

        impl<D> futures::Stream for $name<D>
        where
            D: $crate::discover::Discover<
                    Key: Clone + Eq + std::fmt::Display + std::hash::Hash,
                    Target: Clone,
                >,
        {
            type Item = Result<$crate::discover::Update<D::Key, D::Target>, D::Error>;

            fn poll_next(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Self::Item>> {
                self.project().stage.poll_next(cx)
            }
        }

        impl<D: $crate::discover::Discover + std::fmt::Debug> std::fmt::Debug for $name<D> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.stage.fmt_as(stringify!($name), f)
            }
        }
    };
}

pub(crate) use stage;
