//! Test doubles: a backend under control, and a hand to poll things with.

pub mod logs;
pub mod picks;
pub mod request;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::{sync::oneshot, time::Instant};
use tower::Service;
use tower_lb::{
    BoxError,
    balance::Driver,
    discover::{Discover, Update},
    endpoint::Endpoint,
    outcome::Attempt,
    strategy::{Candidate, Candidates, RoundRobin, Strategy},
};

/// A backend whose readiness and answers the test decides, and which insists on the contract that
/// the instance that was polled ready is the one that is called.
#[derive(Clone)]
pub struct Backend {
    state: Arc<State>,
    polled_ready: bool,
}

#[derive(Default)]
struct State {
    name: String,
    readiness: Mutex<Readiness>,
    wakers: Mutex<Vec<Waker>>,
    /// Requests that have arrived and wait for their answers.
    held: Mutex<VecDeque<oneshot::Sender<Result<(), Failure>>>>,
    hold: AtomicBool,
    fail: AtomicBool,
    calls: AtomicUsize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Readiness {
    #[default]
    Ready,
    Pending,
    Fails,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Failure(pub &'static str);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failure {}

impl Backend {
    /// Answers every request at once with its name.
    pub fn new(name: impl fmt::Display) -> Self {
        let state = State { name: name.to_string(), ..State::default() };
        Self { state: Arc::new(state), polled_ready: false }
    }

    /// Keeps requests until [`answer`](Self::answer).
    pub fn holding(name: impl fmt::Display) -> Self {
        let backend = Self::new(name);
        backend.state.hold.store(true, Ordering::SeqCst);
        backend
    }

    pub fn set_readiness(&self, readiness: Readiness) {
        *self.state.readiness.lock().unwrap() = readiness;
        self.state.wakers.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    pub fn readiness(&self) -> Readiness {
        *self.state.readiness.lock().unwrap()
    }

    pub fn set_failing(&self, failing: bool) {
        self.state.fail.store(failing, Ordering::SeqCst);
    }

    /// Answers the oldest request that waits; false if there is none.
    pub fn answer(&self) -> bool {
        let oldest = self.state.held.lock().unwrap().pop_front();
        oldest.is_some_and(|held| held.send(Ok(())).is_ok())
    }

    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// How many clones of this backend are alive, this one included.
    pub fn clones(&self) -> usize {
        Arc::strong_count(&self.state)
    }
}

impl<Req> Service<Req> for Backend {
    type Response = String;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<String, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.state.wakers.lock().unwrap().push(cx.waker().clone());
        match self.readiness() {
            Readiness::Ready => {
                self.polled_ready = true;
                Poll::Ready(Ok(()))
            }
            Readiness::Pending => Poll::Pending,
            Readiness::Fails => Poll::Ready(Err(Failure("not ready"))),
        }
    }

    fn call(&mut self, _request: Req) -> Self::Future {
        assert!(std::mem::take(&mut self.polled_ready), "called without being polled ready");
        self.state.calls.fetch_add(1, Ordering::SeqCst);
        let name = self.state.name.clone();
        let failing = self.state.fail.load(Ordering::SeqCst);
        let held = self.state.hold.load(Ordering::SeqCst).then(|| {
            let (sender, receiver) = oneshot::channel();
            self.state.held.lock().unwrap().push_back(sender);
            receiver
        });
        Box::pin(async move {
            match held {
                Some(held) => held.await.unwrap_or(Err(Failure("gone")))?,
                None if failing => return Err(Failure("failing")),
                None => {}
            }
            Ok(name)
        })
    }
}

/// Polls a driver until it has nothing more to do; true if it has ended.
pub fn drive<D, St>(driver: &mut Pin<Box<Driver<D, St>>>) -> bool
where
    D: Discover<Key: fmt::Display + Eq + std::hash::Hash, Target: Clone, Error: Into<BoxError>>,
    St: Strategy,
{
    let (woken, waker) = flag();
    loop {
        woken.store(false, Ordering::SeqCst);
        if driver.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
        if !woken.load(Ordering::SeqCst) {
            return false;
        }
    }
}

/// A waker, and whether it was woken.
pub fn flag() -> (Arc<AtomicBool>, Waker) {
    struct Flag(Arc<AtomicBool>);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let woken = Arc::new(AtomicBool::new(false));
    let waker = Arc::new(Flag(Arc::clone(&woken))).into();
    (woken, waker)
}

/// What comes out of a stream of endpoints, and a hand to send requests to them without a balancer.
pub struct Watched<D: Discover> {
    stream: Pin<Box<D>>,
    endpoints: HashMap<D::Key, Endpoint<D::Target>>,
    candidates: HashMap<D::Key, Candidate>,
    errors: Vec<D::Error>,
    updates: usize,
    ended: bool,
}

impl<D> Watched<D>
where
    D: Discover<Key: Clone + Eq + Hash + fmt::Display>,
{
    pub fn new(stream: D) -> Self {
        Self {
            stream: Box::pin(stream),
            endpoints: HashMap::new(),
            candidates: HashMap::new(),
            errors: Vec::new(),
            updates: 0,
            ended: false,
        }
    }

    /// Applies all that the stream has to say now.
    pub fn settle(&mut self) {
        while let Poll::Ready(update) = self.poll(&mut Context::from_waker(Waker::noop())) {
            match update {
                None => return self.ended = true,
                Some(Err(error)) => self.errors.push(error),
                Some(Ok(update)) => self.apply(update),
            }
        }
    }

    /// Applies one update, if there is one now.
    pub fn step(&mut self) -> bool {
        let Poll::Ready(Some(update)) = self.poll(&mut Context::from_waker(Waker::noop())) else {
            return false;
        };
        match update {
            Err(error) => self.errors.push(error),
            Ok(update) => self.apply(update),
        }
        true
    }

    /// The next update.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Update<D::Key, D::Target>, D::Error>>> {
        // The runtime's own budget would end this after 128 updates.
        let next = std::future::poll_fn(|cx| self.stream.as_mut().poll_discover(cx));
        std::pin::pin!(tokio::task::coop::unconstrained(next)).poll(cx)
    }

    fn apply(&mut self, update: Update<D::Key, D::Target>) {
        self.updates += 1;
        match update {
            Update::Insert(key, endpoint) => self.insert(key, endpoint),
            Update::Remove(key) => {
                assert!(self.endpoints.remove(&key).is_some(), "{key} was not there");
                self.candidates.remove(&key);
            }
            Update::Reset(endpoints) => {
                self.endpoints.clear();
                self.candidates.clear();
                endpoints.into_iter().for_each(|(key, endpoint)| self.insert(key, endpoint));
            }
        }
    }

    fn insert(&mut self, key: D::Key, endpoint: Endpoint<D::Target>) {
        let candidates = Candidates::for_strategy(&RoundRobin::new(), [(&key, &endpoint)]);
        let candidate = candidates.all().next().unwrap().clone();
        self.candidates.insert(key.clone(), candidate);
        self.endpoints.insert(key, endpoint);
    }

    pub fn endpoints(&self) -> &HashMap<D::Key, Endpoint<D::Target>> {
        &self.endpoints
    }

    pub fn endpoint(&self, key: &D::Key) -> &Endpoint<D::Target> {
        &self.endpoints[key]
    }

    /// Begins a request.
    pub fn request(&self, key: &D::Key) -> Attempt {
        self.candidates[key].begin(Some(Instant::now())).expect("there is room")
    }

    /// Begins a request as a balancer would: if the endpoint may get it.
    pub fn try_request(&self, key: &D::Key) -> Option<Attempt> {
        let candidate = self.candidates.get(key).filter(|candidate| candidate.is_eligible())?;
        candidate.begin(Some(Instant::now()))
    }

    pub fn errors(&self) -> &[D::Error] {
        &self.errors
    }

    /// How many updates there were.
    pub fn updates(&self) -> usize {
        self.updates
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }
}
