use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{Stream, future::BoxFuture};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::{
    BoxError, ConfigError,
    discover::{Schedule, SourceError, SourceStatus, Update},
    endpoint::Endpoint,
    escape::{Escaped, EscapedChain},
    rng::Rng,
};

/// Creates a source that calls an async function repeatedly, which returns the whole set.
///
/// `name` is the name of the source in errors and in the status. The [`Schedule`] decides when the
/// function is called. The balancer's driver polls the source, with or without requests. An answer
/// that equals the last one causes no update. An endpoint with the key and the target of the last
/// answer is the same endpoint, and a new target starts with new state. An error changes no
/// endpoint.
///
/// ```
/// use tower_lb::discover::{self, Fetched, Schedule};
///
/// # async fn read_table() -> Result<Vec<(String, u32)>, std::io::Error> { Ok(Vec::new()) }
/// let source = discover::refresh("table", Schedule::new(), || async {
///     let rows = read_table().await?;
///     let endpoints = rows.into_iter().map(|(address, weight)| {
///         (address.clone(), tower_lb::Endpoint::new(address).with_weight(weight))
///     });
///     Ok(Fetched::new(endpoints))
/// })?;
/// let status = source.status();
/// assert_eq!(status.age(), None);
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
///
/// # Errors
///
/// [`ConfigError`] if the schedule is invalid.
pub fn refresh<K, T, F, Fut>(
    name: impl Into<Arc<str>>,
    schedule: Schedule,
    mut fetch: F,
) -> Result<Refresh<K, T>, ConfigError>
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<Fetched<K, T>, BoxError>> + Send + 'static,
{
    schedule.check()?;
    let name = name.into();
    Ok(Refresh {
        schedule,
        fetch: Box::new(move || Box::pin(fetch())),
        state: State::Due,
        last: None,
        rng: Rng::from_entropy(),
        status: SourceStatus::new(Arc::clone(&name)),
        state_since: None,
        name,
    })
}

/// The answer of a source: all endpoints, or that they are unchanged.
#[derive(Clone, Debug)]
pub struct Fetched<K, T> {
    endpoints: Option<Vec<(K, Endpoint<T>)>>,
    valid_for: Option<Duration>,
}

impl<K, T> Fetched<K, T> {
    /// Creates an answer with all endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = (K, Endpoint<T>)>) -> Self {
        Self { endpoints: Some(endpoints.into_iter().collect()), valid_for: None }
    }

    /// Creates the answer that the endpoints are the same as before.
    #[must_use]
    pub fn unchanged() -> Self {
        Self { endpoints: None, valid_for: None }
    }

    setters! {
        /// Sets how long the answer is valid. The next poll starts then, within the floor and the
        /// ceiling of the schedule. Default the interval of the schedule.
        pub fn valid_for(time: Duration) => valid_for = Some(time);
    }
}

/// The stream of [`refresh`](refresh()) and of all sources that are polled.
pub struct Refresh<K, T> {
    name: Arc<str>,
    schedule: Schedule,
    fetch: Box<dyn FnMut() -> Fetching<K, T> + Send>,
    state: State<K, T>,
    /// The endpoints of the last answer, to detect an equal one.
    last: Option<Vec<(K, Endpoint<T>)>>,
    rng: Rng,
    status: SourceStatus,
    /// When the first answer came, or when answers and errors last took turns.
    state_since: Option<Instant>,
}

type Fetching<K, T> = BoxFuture<'static, Result<Fetched<K, T>, BoxError>>;

enum State<K, T> {
    Due,
    Fetching(BoxFuture<'static, Result<Fetched<K, T>, SourceError>>),
    Waiting {
        sleep: Pin<Box<Sleep>>,
        /// When an early poll may start; `None` after an error.
        earliest: Option<Instant>,
    },
}

impl<K, T> Refresh<K, T> {
    setters! {
        /// Seeds the random numbers, for reproducible tests. Default a random seed.
        pub fn seed(seed: u64) => rng = Rng::seeded(seed);
    }

    /// Returns a handle that reports the state of the source, also while a balancer owns the
    /// stream.
    #[must_use]
    pub fn status(&self) -> SourceStatus {
        self.status.clone()
    }
}

impl<K: 'static, T: 'static> Refresh<K, T> {
    fn start_fetch(&mut self) -> BoxFuture<'static, Result<Fetched<K, T>, SourceError>> {
        self.status.poll_started();
        let (fetching, name, limit) =
            ((self.fetch)(), Arc::clone(&self.name), self.schedule.timeout);
        Box::pin(async move {
            let answer = match limit {
                None => fetching.await,
                Some(limit) => match timeout(limit, fetching).await {
                    Ok(answer) => answer,
                    Err(_) => return Err(SourceError::timed_out(name, limit)),
                },
            };
            answer.map_err(|cause| SourceError::failed(name, cause))
        })
    }

    /// Logs that answers follow errors, or errors follow answers. The driver logs the errors.
    fn log_change(&mut self, failed: Option<&SourceError>, failures: u32) {
        let now = Instant::now();
        let since = self.state_since.replace(now);
        let before = if since.is_some() { "answering" } else { "starting" };
        let lasted = since.map(|since| tracing::field::debug(now - since));
        let source = Escaped(&self.name);
        match failed {
            Some(error) => tracing::debug!(
                %source,
                from = before,
                to = "failing",
                cause = %EscapedChain(error),
                lasted,
                "source changed"
            ),
            None => tracing::info!(
                %source,
                from = "failing",
                to = "answering",
                cause = "the source has answered",
                failures,
                lasted,
                "source changed"
            ),
        }
    }

    fn wait(&mut self, delay: Duration, earliest: Option<Duration>) {
        let earliest = earliest.and_then(|floor| Instant::now().checked_add(floor.min(delay)));
        self.state = State::Waiting { sleep: Box::pin(sleep(delay)), earliest };
    }
}

impl<K, T> Unpin for Refresh<K, T> {}

/// Returns the endpoints of an answer as the successors of those of the last answer.
fn succeeding<K: Eq + Hash, T: PartialEq>(
    endpoints: Option<Vec<(K, Endpoint<T>)>>,
    last: Option<Vec<(K, Endpoint<T>)>>,
) -> Option<Vec<(K, Endpoint<T>)>> {
    let last: HashMap<K, Endpoint<T>> = last.into_iter().flatten().collect();
    let successor = |(key, endpoint): (K, Endpoint<T>)| match last.get(&key) {
        Some(before) => (key, endpoint.succeeding(before)),
        None => (key, endpoint),
    };
    Some(endpoints?.into_iter().map(successor).collect())
}

impl<K: Clone + Eq + Hash + 'static, T: Clone + PartialEq + 'static> Stream for Refresh<K, T> {
    type Item = Result<Update<K, T>, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let answer = match &mut this.state {
                State::Due => {
                    this.state = State::Fetching(this.start_fetch());
                    continue;
                }
                State::Waiting { sleep, earliest } => {
                    if this.status.is_wanted(cx.waker()) {
                        // Taken, so that further wishes do not reset the timer again.
                        if let Some(earliest) = earliest.take() {
                            sleep.as_mut().reset(earliest);
                        }
                    }
                    ready!(sleep.as_mut().poll(cx));
                    this.state = State::Due;
                    continue;
                }
                State::Fetching(fetching) => ready!(fetching.as_mut().poll(cx)),
            };
            let random = this.rng.unit();
            match answer {
                Ok(Fetched { endpoints, valid_for }) => {
                    match this.status.succeeded(endpoints.as_ref().map(Vec::len)) {
                        0 => _ = this.state_since.get_or_insert_with(Instant::now),
                        failures => this.log_change(None, failures),
                    }
                    let delay = this.schedule.delay_after_answer(valid_for, random);
                    this.wait(delay, Some(this.schedule.floor));
                    if endpoints.is_some() && endpoints != this.last {
                        this.status.updated();
                        this.last = succeeding(endpoints, this.last.take());
                        let all = this.last.iter().flatten().cloned();
                        return Poll::Ready(Some(Ok(Update::Reset(all.collect()))));
                    }
                }
                Err(error) => {
                    let failures = this.status.failed(error.clone());
                    if failures == 1 {
                        this.log_change(Some(&error), failures);
                    }
                    this.wait(this.schedule.delay_after_errors(failures, random), None);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl<K, T> fmt::Debug for Refresh<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
