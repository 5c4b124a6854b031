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
    endpoint::{Allowance, Endpoint, Health},
};

/// What an adapter does with the endpoints of its stage. `S` is its state for one endpoint.
pub(crate) trait Policy<K, T, S> {
    /// Returns the state of a new endpoint. `endpoints` is how many there are, together with those
    /// that arrive in the same update.
    fn added(&mut self, id: Id, key: &K, endpoint: &Endpoint<T>, endpoints: usize) -> S;

    /// Upstream has changed an endpoint. The stage passes the endpoint on afterwards.
    fn changed(&mut self, id: Id, member: &mut Member<K, T, S>) {
        let _ = (id, member);
    }

    /// Upstream has removed an endpoint, or has replaced its target: then the new target is added
    /// next, and the result is ignored.
    fn removed(&mut self, id: Id, member: &mut Member<K, T, S>) -> Removal {
        let _ = (id, member);
        Removal::Now
    }

    /// Returns the endpoint as downstream sees it, or `None` to hide it.
    fn publish(&self, endpoint: Endpoint<T>, state: &S) -> Option<Endpoint<T>>;

    /// Does the policy's own work and queues updates of the endpoints that it changes. Returns
    /// `Ready` if there is no work until upstream changes something. The stage polls once per
    /// update, so this must be cheap if nothing is due.
    fn poll(&mut self, members: &mut Members<K, T, S>, cx: &mut Context<'_>) -> Poll<()>;
}

/// When an endpoint that upstream has removed is removed downstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    Now,
    /// When the policy calls [`Members::remove_deferred`].
    Deferred,
}

/// Lowers the endpoint's health to `health`, unless upstream's is worse already.
pub(crate) fn with_worse_health<T>(endpoint: Endpoint<T>, health: Health) -> Endpoint<T> {
    let upstream = endpoint.health().clone();
    endpoint.with_health(upstream.or_worse(health))
}

/// Limits the endpoint to the requests of `allowance`. If an earlier stage has the endpoint on
/// trial too, that stage's allowance stays: the same requests decide for both.
pub(crate) fn with_trial<T>(endpoint: Endpoint<T>, allowance: &Allowance) -> Endpoint<T> {
    match endpoint.allowance() {
        Some(_) => endpoint,
        None => endpoint.with_allowance(allowance.clone()),
    }
}

pin_project! {
    /// A stream of updates to which a policy is applied.
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

    pub(crate) fn policy(&self) -> &P {
        &self.policy
    }
}

impl<
    D: Discover<Key: Clone + Eq + Hash, Target: Clone + 'static>,
    P: Policy<D::Key, D::Target, S>,
    S,
> Stream for Stage<D, P, S>
{
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(update) = this.members.next_change(this.policy) {
                return Poll::Ready(Some(Ok(update)));
            }
            // The policy comes before upstream: an upstream that is always ready would starve it.
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

/// Defines the public stream of an adapter around a [`Stage`]: its name, which may be followed by a
/// type parameter for a [`Check`](crate::health::Check), its settings, its policy and its state. If
/// the policy has a field `figures`, its type follows.
macro_rules! stage {
    (
        $(#[$doc:meta])*
        $name:ident $(<$check:ident>)?, $config:ty, $policy:ty, $state:ty $(, $figures:ty)?
    ) => {
        $crate::health::stage::stage::stage!(@figures $name $(<$check>)?; $($figures)?);

        pin_project_lite::pin_project! {
            $(#[$doc])*
            pub struct $name<D: $crate::discover::Discover $(, $check)?> {
                #[pin]
                stage: $crate::health::stage::stage::Stage<D, $policy, $state>,
            }
        }

        impl<D: $crate::discover::Discover $(, $check)?> $name<D $(, $check)?> {
            pub(crate) fn new(discover: D, config: $config) -> Result<Self, $crate::ConfigError> {
                config.validate()?;
                let policy = <$policy>::new(config);
                Ok(Self { stage: $crate::health::stage::stage::Stage::new(discover, policy) })
            }
        }

        impl<D $(, $check)?> futures::Stream for $name<D $(, $check)?>
        where
            D: $crate::discover::Discover<
                    Key: Clone + Eq + std::fmt::Display + std::hash::Hash,
                    Target: Clone + 'static,
                >,
            $($check: $crate::health::Check<D::Target>,)?
        {
            type Item = Result<$crate::discover::Update<D::Key, D::Target>, D::Error>;

            fn poll_next(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Self::Item>> {
                self.project().stage.poll_next(cx)
            }
        }

        impl<D: $crate::discover::Discover + std::fmt::Debug, $($check)?> std::fmt::Debug
            for $name<D $(, $check)?>
        {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.stage.fmt_as(stringify!($name), f)
            }
        }
    };
    (@figures $name:ident $(<$check:ident>)?;) => {};
    (@figures $name:ident $(<$check:ident>)?; $figures:ty) => {
        impl<D: $crate::discover::Discover $(, $check)?> $name<D $(, $check)?> {
            /// Sets the name in events and figures. Default the kind of the stage.
            #[must_use]
            pub fn named(self, name: impl Into<std::sync::Arc<str>>) -> Self {
                self.figures().set_name(name.into());
                self
            }

            /// Returns a handle that reports what the stage has done, also while a balancer owns
            /// the stream.
            #[must_use]
            pub fn figures(&self) -> $figures {
                self.stage.policy().figures.clone()
            }
        }
    };
}

pub(crate) use stage;
