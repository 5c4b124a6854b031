//! Servers under control that keep account of each request.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use tokio::sync::oneshot;
use tower::Service;
use tower_lb::{
    BoxError,
    endpoint::EndpointStats,
    lambda::{InvokeError, Throttle, ThrottleReason},
};

pub(crate) type Request = http::Request<()>;
pub(crate) type Response = http::Response<()>;

/// Carried by a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id(pub(crate) usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    Pending,
    Fails,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Holds,
    Succeeds,
    Fails,
    Throttled(ThrottleReason),
}

#[derive(Debug)]
pub(crate) enum Event {
    Asked { request: usize, server: usize, readiness: Readiness },
    Called { request: usize, server: usize },
    Throttled,
}

/// What all servers write to.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Which request is polled at the moment.
    pub(crate) current: AtomicUsize,
    pub(crate) events: Mutex<Vec<Event>>,
}

/// An endpoint from its insertion to its removal: what the limit of requests is about.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: usize,
    pub(crate) stats: Arc<EndpointStats>,
    /// Requests that are in flight, or hold a slot while the service is not ready.
    pub(crate) used: AtomicU32,
    pub(crate) limit: Option<u32>,
}

pub(crate) struct State {
    pub(crate) id: usize,
    member: Mutex<Arc<Member>>,
    log: Arc<Log>,
    /// Removed or replaced.
    pub(crate) retired: AtomicBool,
    inner: Mutex<Inner>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, member) = (self.id, self.member());
        write!(f, "server {id} at {}, {:?} in use", member.key, member.used)?;
        let Ok(inner) = self.inner.try_lock() else { return Ok(()) };
        let Inner { readiness, answer, holders, .. } = &*inner;
        write!(f, ", {readiness:?}, {answer:?}, held by {holders:?}")
    }
}

#[derive(Debug)]
struct Inner {
    readiness: Readiness,
    answer: Answer,
    wakers: Vec<Waker>,
    held: VecDeque<oneshot::Sender<Answer>>,
    /// Requests that wait for it to get ready.
    holders: Vec<usize>,
}

/// One slot in use.
#[derive(Debug)]
struct Use(Arc<Member>);

impl Use {
    fn of(state: &State) -> Arc<Self> {
        let member = state.member();
        let before = member.used.fetch_add(1, SeqCst);
        let limit = member.limit;
        assert!(limit.is_none_or(|limit| before < limit), "more than {limit:?} at {state:?}");
        Arc::new(Self(member))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, SeqCst);
    }
}

/// A request that waits for the server to get ready.
#[derive(Debug)]
struct PermitScope {
    state: Arc<State>,
    slot: Arc<Use>,
    request: usize,
}

impl Drop for PermitScope {
    fn drop(&mut self) {
        let mut inner = self.state.inner.lock().unwrap();
        let at = inner.holders.iter().position(|&holder| holder == self.request);
        inner.holders.swap_remove(at.unwrap());
    }
}

pub(crate) struct Server {
    pub(crate) state: Arc<State>,
    polled_ready: bool,
    hold: Option<PermitScope>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

impl Clone for Server {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), polled_ready: false, hold: None }
    }
}

impl Server {
    pub(crate) fn new(
        id: usize,
        member: Arc<Member>,
        log: &Arc<Log>,
        readiness: Readiness,
        answer: Answer,
    ) -> Self {
        let inner = Inner {
            readiness,
            answer,
            wakers: Vec::new(),
            held: VecDeque::new(),
            holders: Vec::new(),
        };
        let state = State {
            id,
            member: Mutex::new(member),
            log: Arc::clone(log),
            retired: AtomicBool::new(false),
            inner: Mutex::new(inner),
        };
        Self { state: Arc::new(state), polled_ready: false, hold: None }
    }
}

impl State {
    pub(crate) fn member(&self) -> Arc<Member> {
        Arc::clone(&self.member.lock().unwrap())
    }

    /// It was removed, and is there again.
    pub(crate) fn move_to(&self, member: Arc<Member>) {
        *self.member.lock().unwrap() = member;
        self.retired.store(false, SeqCst);
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.inner.lock().unwrap().readiness
    }

    pub(crate) fn set_readiness(&self, readiness: Readiness) {
        let mut inner = self.inner.lock().unwrap();
        inner.readiness = readiness;
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn set_answer(&self, answer: Answer) {
        self.inner.lock().unwrap().answer = answer;
    }

    /// Answers the oldest request that is held; false if there is none.
    pub(crate) fn answer(&self, answer: Answer) -> bool {
        let oldest = self.inner.lock().unwrap().held.pop_front();
        oldest.is_some_and(|held| {
            let _ = held.send(answer);
            true
        })
    }

    pub(crate) fn holders(&self) -> Vec<usize> {
        self.inner.lock().unwrap().holders.clone()
    }

    fn note(&self, event: Event) {
        self.log.events.lock().unwrap().push(event);
    }
}

impl Service<Request> for Server {
    type Response = Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let request = self.state.log.current.load(SeqCst);
        let readiness = {
            let mut inner = self.state.inner.lock().unwrap();
            if !inner.wakers.iter().any(|known| known.will_wake(cx.waker())) {
                inner.wakers.push(cx.waker().clone());
            }
            inner.readiness
        };
        self.state.note(Event::Asked { request, server: self.state.id, readiness });
        match readiness {
            Readiness::Ready => {
                self.polled_ready = true;
                Poll::Ready(Ok(()))
            }
            Readiness::Pending => {
                if self.hold.is_none() {
                    let (state, slot) = (Arc::clone(&self.state), Use::of(&self.state));
                    self.state.inner.lock().unwrap().holders.push(request);
                    self.hold = Some(PermitScope { state, slot, request });
                }
                Poll::Pending
            }
            Readiness::Fails => Poll::Ready(Err("not ready".into())),
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let state = Arc::clone(&self.state);
        assert!(std::mem::take(&mut self.polled_ready), "called without being polled ready");
        assert!(!state.retired.load(SeqCst), "called after it was replaced: {state:?}");
        let current = state.log.current.load(SeqCst);
        assert_eq!(request.extensions().get::<Id>().unwrap().0, current, "another's request");
        let held = self.hold.take().map(|hold| Arc::clone(&hold.slot));
        let slot = held.unwrap_or_else(|| Use::of(&state));
        state.note(Event::Called { request: current, server: state.id });
        let mut inner = state.inner.lock().unwrap();
        let answer = inner.answer;
        let held = (answer == Answer::Holds).then(|| {
            let (sender, receiver) = oneshot::channel();
            inner.held.push_back(sender);
            receiver
        });
        drop(inner);
        Box::pin(async move {
            let answer = match held {
                Some(held) => held.await.unwrap_or(Answer::Fails),
                None => answer,
            };
            let _in_flight = slot;
            match answer {
                Answer::Throttled(reason) => {
                    state.note(Event::Throttled);
                    Err(InvokeError::Throttled(Throttle::new(reason, None)).into())
                }
                Answer::Fails => Err("failed".into()),
                Answer::Succeeds | Answer::Holds => Ok(Response::new(())),
            }
        })
    }
}
