use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use tower_service::Service;

/// A service that can be replaced while it serves. A request is served by the one that was current
/// when `poll_ready` was ready.
pub(super) struct Swap<S> {
    current: Arc<ArcSwap<S>>,
    /// What `poll_ready` has made ready.
    ready: Option<S>,
}

impl<S> Swap<S> {
    pub(super) fn new(service: S) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(service)), ready: None }
    }

    /// Returns whether `other` is a clone.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.current, &other.current)
    }

    /// Serves the requests that come from now on, of all clones, by the present service of `with`.
    pub(super) fn replace(&self, with: &Self) {
        self.current.store(with.current.load_full());
    }
}

impl<S, Req> Service<Req> for Swap<S>
where
    S: Service<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let current = &self.current;
        self.ready.get_or_insert_with(|| S::clone(&current.load())).poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> S::Future {
        let current = &self.current;
        let mut ready = self.ready.take().unwrap_or_else(|| S::clone(&current.load()));
        ready.call(request)
    }
}

impl<S> Clone for Swap<S> {
    fn clone(&self) -> Self {
        // What is ready belongs to one clone.
        Self { current: Arc::clone(&self.current), ready: None }
    }
}

impl<S> fmt::Debug for Swap<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swap").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::future::{Ready, ready};
    use tower::ServiceExt;

    use super::*;

    #[derive(Clone)]
    struct Says(&'static str);

    impl Service<()> for Says {
        type Response = &'static str;
        type Error = Infallible;
        type Future = Ready<Result<&'static str, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            ready(Ok(self.0))
        }
    }

    #[tokio::test]
    async fn all_clones_serve_by_the_new_service() {
        let swap = Swap::new(Says("old"));
        let clone = swap.clone();
        let mut begun = swap.clone();
        begun.ready().await.unwrap();
        swap.replace(&Swap::new(Says("new")));
        assert_eq!(clone.oneshot(()).await.unwrap(), "new");
        assert_eq!(begun.call(()).await.unwrap(), "old", "it was ready before");
        assert_eq!(begun.oneshot(()).await.unwrap(), "new");
    }
}
