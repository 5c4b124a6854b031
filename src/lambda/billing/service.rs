use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{BillingStatus, report::Report, status::BillingCounters};
use crate::{
    lambda::{Invocation, InvocationType, Invoked},
    named::weak_status,
};

/// Adds up the billed time and memory, and the cold starts, of a function's invocations.
///
/// It requests the end of the log of each synchronous invocation, up to 4 KB of the response, and
/// reads Lambda's report in it. Place it around each [`Function`](crate::lambda::Function), below
/// the balancer, so that it sees every attempt.
///
/// ```
/// use std::future::ready;
/// use tower::{Layer, ServiceExt};
/// use tower_lb::lambda::{BillingLayer, Function, FunctionName, Invocation, Invoked};
///
/// # tokio_test::block_on(async {
/// let invoke = |_: &FunctionName, _: Invocation| {
///     let log = "REPORT RequestId: 1\tBilled Duration: 100 ms\tMemory Size: 512 MB";
///     ready(Ok(Invoked::new(200, "").with_log_tail(log)))
/// };
/// let billing = BillingLayer::new().name("orders");
/// let function = billing.layer(Function::new(invoke, "orders".parse()?));
/// function.oneshot("{}".into()).await?;
/// assert_eq!(billing.status().gb_seconds, 0.05);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Billing<S> {
    inner: S,
    counters: Arc<BillingCounters>,
}

impl<S> Service<Invocation> for Billing<S>
where
    S: Service<Invocation, Response = Invoked>,
{
    type Response = Invoked;
    type Error = S::Error;
    type Future = BillingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        // Others have no log.
        let has_log = invocation.kind() == InvocationType::RequestResponse;
        let invocation = if has_log { invocation.with_log_tail() } else { invocation };
        let counters = has_log.then(|| Arc::clone(&self.counters));
        BillingFuture { response: self.inner.call(invocation), counters }
    }
}

/// Wraps services in [`Billing`]. All of them count together.
#[derive(Clone, Debug)]
pub struct BillingLayer {
    counters: Arc<BillingCounters>,
}

impl BillingLayer {
    /// Creates a layer that has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { counters: Arc::new(BillingCounters::new()) }
    }

    /// Sets the name, also for clones, in the [status](Self::status). Default "billing".
    #[must_use]
    pub fn name(self, name: impl Into<Arc<str>>) -> Self {
        self.counters.name.set(name.into());
        self
    }

    /// Returns the counters of all services made by this layer and its clones.
    #[must_use]
    pub fn status(&self) -> BillingStatus {
        self.counters.status()
    }

    /// Returns a function that reads the status until the layer and its services are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<BillingStatus> + Send + Sync + use<> {
        weak_status(&self.counters, BillingCounters::status)
    }
}

impl Default for BillingLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for BillingLayer {
    type Service = Billing<S>;

    fn layer(&self, inner: S) -> Billing<S> {
        Billing { inner, counters: Arc::clone(&self.counters) }
    }
}

pin_project! {
    /// The response future of [`Billing`].
    #[derive(Debug)]
    pub struct BillingFuture<F> {
        #[pin]
        response: F,
        // `None` if the invocation has no log.
        counters: Option<Arc<BillingCounters>>,
    }
}

impl<F, E> Future for BillingFuture<F>
where
    F: Future<Output = Result<Invoked, E>>,
{
    type Output = Result<Invoked, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.response.poll(cx));
        if let (Ok(invoked), Some(counters)) = (&result, &this.counters) {
            counters.record(invoked.log_tail().and_then(Report::find));
        }
        Poll::Ready(result)
    }
}
