use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, future::BoxFuture, stream::FuturesUnordered};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    BoxError,
    discover::{Discover, Update},
    endpoint::{Endpoint, Origin},
};

pin_project! {
    /// Turns targets into services with a `Service` that makes services asynchronously, for example
    /// one that connects first. The stream of
    /// [`DiscoverExt::make`](crate::discover::DiscoverExt::make).
    ///
    /// An endpoint is passed on as soon as its service is made, independently of others. If making
    /// fails, the error is passed on, and making is retried after 100 ms. The delay doubles with
    /// each failure up to 30 s, until the endpoint is removed. A service is dropped if its target
    /// was changed or removed in the meantime. A [`Reset`](Update::Reset) removes old endpoints at
    /// once, and passes on new endpoints as their services are made.
    #[project = MakeProjection]
    pub struct Make<D: Discover, M>
    where
        M: Service<D::Target>,
    {
        #[pin]
        discover: D,
        ended: bool,
        make: M,
        known: HashMap<D::Key, Made<D::Target, M::Response>>,
        making: FuturesUnordered<BoxFuture<'static, Attempted<D::Key, M::Response, M::Error>>>,
        generation: u64,
        queue: VecDeque<Update<D::Key, M::Response>>,
    }
}

struct Made<T, S> {
    endpoint: Endpoint<T>,
    /// The origin of the service. A removed endpoint that returns has another service for the same
    /// target.
    origin: Origin,
    /// The service for this target; `None` while it is being made.
    service: Option<S>,
    /// A service was passed on, possibly for an earlier target.
    announced: bool,
    /// The attempt whose result is used. Results of earlier attempts are for an old target.
    generation: u64,
    failures: u32,
}

/// The result of an attempt to make a service.
struct Attempted<K, S, E> {
    key: K,
    generation: u64,
    result: Result<S, E>,
}

/// The delay after the first failure to make a service.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
/// The longest delay after a failure to make a service.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

impl<D: Discover, M: Service<D::Target>> Make<D, M> {
    pub(crate) fn new(discover: D, make: M) -> Self {
        Self {
            discover,
            ended: false,
            make,
            known: HashMap::new(),
            making: FuturesUnordered::new(),
            generation: 0,
            queue: VecDeque::new(),
        }
    }
}

impl<
    D: Discover<Key: Clone + Eq + Hash + Send + 'static, Target: Clone + PartialEq + Send + 'static>,
    M: Service<D::Target, Response: Clone + Send, Error: Send, Future: Send> + Clone + Send + 'static,
> MakeProjection<'_, D, M>
{
    fn insert(&mut self, key: D::Key, endpoint: Endpoint<D::Target>) {
        let Some(made) = self.known.get_mut(&key) else {
            self.known.insert(key.clone(), Made::new(endpoint));
            return self.restart(&key);
        };
        if !endpoint.differs_from(&made.endpoint) {
            return;
        }
        let is_equal = made.endpoint.target() == endpoint.target();
        let endpoint = endpoint.succeeding(&made.endpoint);
        if endpoint.origin() != made.endpoint.origin() {
            made.origin = Origin::another();
        }
        made.endpoint = endpoint;
        if is_equal {
            self.queue.extend(made.update(&key));
        } else {
            self.restart(&key);
        }
    }

    fn remove(&mut self, key: D::Key) {
        if self.known.remove(&key).is_some_and(|made| made.announced) {
            self.queue.push_back(Update::Remove(key));
        }
    }

    fn restart(&mut self, key: &D::Key) {
        let Some(made) = self.known.get_mut(key) else { return };
        *self.generation += 1;
        (made.service, made.generation, made.failures) = (None, *self.generation, 0);
        let target = made.endpoint.target().clone();
        self.start(key.clone(), target, *self.generation, Duration::ZERO);
    }

    fn start(&self, key: D::Key, target: D::Target, generation: u64, delay: Duration) {
        let mut make = self.make.clone();
        self.making.push(Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let result = match poll_fn(|cx| make.poll_ready(cx)).await {
                Ok(()) => make.call(target).await,
                Err(error) => Err(error),
            };
            Attempted { key, generation, result }
        }));
    }

    fn finish(
        &mut self,
        attempted: Attempted<D::Key, M::Response, M::Error>,
    ) -> Result<(), M::Error> {
        let Attempted { key, generation, result } = attempted;
        let Some(made) = self.known.get_mut(&key).filter(|made| made.generation == generation)
        else {
            return Ok(());
        };
        match result {
            Ok(service) => {
                (made.service, made.announced) = (Some(service), true);
                self.queue.extend(made.update(&key));
                Ok(())
            }
            Err(error) => {
                let delay = MIN_RETRY_DELAY.saturating_mul(1 << made.failures.min(16));
                made.failures += 1;
                let target = made.endpoint.target().clone();
                self.start(key, target, generation, delay.min(MAX_RETRY_DELAY));
                Err(error)
            }
        }
    }
}

impl<T, S> Made<T, S> {
    fn new(endpoint: Endpoint<T>) -> Self {
        let origin = Origin::another();
        Self { endpoint, origin, service: None, announced: false, generation: 0, failures: 0 }
    }
}

impl<T, S: Clone> Made<T, S> {
    /// Returns the update that passes the endpoint on, if its service is made.
    fn update<K: Clone>(&self, key: &K) -> Option<Update<K, S>> {
        let service = self.service.clone()?;
        let endpoint = self.endpoint.as_ref().map(|_| service).with_origin(self.origin);
        Some(Update::Insert(key.clone(), endpoint))
    }
}

impl<D, M> Stream for Make<D, M>
where
    D: Discover<Error: Into<BoxError>>,
    D::Key: Clone + Eq + Hash + Send + 'static,
    D::Target: Clone + PartialEq + Send + 'static,
    M: Service<D::Target, Response: Clone + Send, Error: Into<BoxError> + Send, Future: Send>
        + Clone
        + Send
        + 'static,
{
    type Item = Result<Update<D::Key, M::Response>, BoxError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(update) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(update)));
            }
            if let Poll::Ready(Some(attempted)) = Pin::new(&mut *this.making).poll_next(cx) {
                if let Err(error) = this.finish(attempted) {
                    return Poll::Ready(Some(Err(error.into())));
                }
                continue;
            }
            if *this.ended {
                let done = this.making.is_empty();
                return if done { Poll::Ready(None) } else { Poll::Pending };
            }
            match this.discover.as_mut().poll_discover(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => *this.ended = true,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(Some(Ok(Update::Insert(key, endpoint)))) => this.insert(key, endpoint),
                Poll::Ready(Some(Ok(Update::Remove(key)))) => this.remove(key),
                Poll::Ready(Some(Ok(Update::Reset(endpoints)))) => {
                    let endpoints: HashMap<_, _> = endpoints.into_iter().collect();
                    let known = this.known.keys();
                    let gone: Vec<_> =
                        known.filter(|key| !endpoints.contains_key(*key)).cloned().collect();
                    gone.into_iter().for_each(|key| this.remove(key));
                    endpoints.into_iter().for_each(|(key, endpoint)| this.insert(key, endpoint));
                }
            }
        }
    }
}

impl<D: Discover + fmt::Debug, M: Service<D::Target>> fmt::Debug for Make<D, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Make").field("discover", &self.discover).finish_non_exhaustive()
    }
}
