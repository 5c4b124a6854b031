use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{FuturesUnordered, poll_fn},
    task::AtomicWaker,
};
use tokio::time::{Instant, timeout};

use super::probes::{Asker, Round};
use crate::{
    outcome::{LoadReport, Meter},
    strategy::{
        BuildContext, Built, Candidate, Candidates, InvalidParameter, Pick, PickContext, Probes,
        Rng, Strategy,
    },
    sync::{Mutex, lock},
};

/// Asks endpoints how loaded they are, beside the requests, and lets any strategy that goes by
/// [`LoadReport`]s know.
///
/// The probe is a function: it gets the endpoint by name and attributes, and gives a future of a
/// report. Yours, or, over HTTP, `http::load_probe`. Probes are sent for a share of the requests, one
/// for each by default, to the endpoints in random order, each once before any again. They hold no
/// request up: requests go by the reports that are there, and those are used as often as they are
/// of use.
///
/// The balancer's driver runs the probes; nothing is spawned. At most 64 are under way at a time,
/// none for longer than [`timeout`](Self::timeout); one that fails is no report, and says nothing
/// else of the endpoint. Without requests no probe is sent, and what is known grows old: a request that
/// comes then can wait for an answer, before the pick, in [`AwaitProbes`](crate::strategy::AwaitProbes).
///
/// ```
/// use tower_lb::{outcome::LoadReport, strategy::{Candidate, Freshest, Probed}};
///
/// async fn ask(_host: String) -> Result<LoadReport, std::io::Error> {
///     Ok(LoadReport::new().with_requests_in_flight(3.0))
/// }
///
/// let strategy = Probed::new(|endpoint: &Candidate| ask(endpoint.name().to_owned()), Freshest::default())
///     .per_request(0.5)?;
/// # Ok::<_, tower_lb::strategy::InvalidParameter>(())
/// ```
pub struct Probed<St, F> {
    inner: St,
    rate: f64,
    due: Arc<Due>,
    asker: Arc<Asker>,
    /// Shared with the driver's events of the last picker.
    prober: Arc<Mutex<Prober<F>>>,
}

/// What sends probes and hears of them.
struct Prober<F> {
    probe: F,
    timeout: Duration,
    due: Arc<Due>,
    candidates: Option<Candidates>,
    /// Positions that are to be probed before any is again.
    unasked: Vec<usize>,
    rng: Rng,
    running: FuturesUnordered<Running>,
    asker: Arc<Asker>,
    /// What requests wait for, and the number of the latest that was begun.
    round: Option<Round>,
    begun: u64,
    /// Probes of the latest round that no request has called for yet.
    ahead: u64,
}

type Running = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// A probe that is over.
struct Ended {
    candidate: Candidate,
    report: Option<LoadReport>,
    /// The round that it was sent for, if requests waited for it.
    round: Option<u64>,
}

/// Probes that requests have called for.
#[derive(Debug, Default)]
struct Due {
    /// In units of 2^-16 probes.
    probes: AtomicU64,
    waker: AtomicWaker,
}

const ONE: u64 = 1 << 16;
/// Probes under way at a time; what is due beyond that is forgotten.
const MOST: usize = 64;
const MOST_PER_REQUEST: f64 = 16.0;
const TIMEOUT: Duration = Duration::from_secs(1);

impl<St, F> Probed<St, F> {
    /// One probe for each request, a timeout of a second.
    pub fn new<Fut, E>(probe: F, inner: St) -> Self
    where
        F: Fn(&Candidate) -> Fut,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        Self::with(probe, inner, 1.0, TIMEOUT, Asker::new(), Rng::from_entropy())
    }

    fn with(
        probe: F,
        inner: St,
        rate: f64,
        timeout: Duration,
        asker: Arc<Asker>,
        rng: Rng,
    ) -> Self {
        let due = Arc::<Due>::default();
        let prober = Prober {
            probe,
            timeout,
            due: Arc::clone(&due),
            candidates: None,
            unasked: Vec::new(),
            rng,
            running: FuturesUnordered::new(),
            begun: asker.latest(),
            asker: Arc::clone(&asker),
            round: None,
            ahead: 0,
        };
        Self { inner, rate, due, asker, prober: Arc::new(Mutex::new(prober)) }
    }

    /// For who wants to wait for probes.
    #[must_use]
    pub fn probes(&self) -> Probes {
        self.asker.probes()
    }

    /// Probes for each request, on average. Default 1.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] if it is not above 0 and at most 16.
    pub fn per_request(mut self, probes: f64) -> Result<Self, InvalidParameter> {
        if probes > 0.0 && probes <= MOST_PER_REQUEST {
            self.rate = probes;
            return Ok(self);
        }
        Err(InvalidParameter::new("per_request", "above 0 and at most 16"))
    }

    pub(super) fn set_rate(&mut self, probes: f64) {
        self.rate = probes;
    }

    pub(super) fn inner_mut(&mut self) -> &mut St {
        &mut self.inner
    }

    /// How long a probe may take. Default 1 s.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        lock(&self.prober).timeout = timeout;
        self
    }

    /// Fixes the order of probes, for tests and simulations.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        lock(&self.prober).rng = Rng::seeded(seed);
        self
    }
}

impl<F> Prober<F> {
    /// The next endpoint to be probed.
    fn next(&mut self, candidates: &Candidates) -> Option<Candidate> {
        if self.unasked.is_empty() {
            self.unasked.extend(0..candidates.len());
        }
        let at = self.rng.below(self.unasked.len());
        let drawn = (!self.unasked.is_empty()).then(|| self.unasked.swap_remove(at))?;
        candidates.get(drawn).cloned()
    }

    /// Sends the probes that are due.
    fn send<Fut, E>(&mut self)
    where
        F: Fn(&Candidate) -> Fut,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        let Some(candidates) = self.candidates.clone() else { return };
        let due = self.due.probes.load(Ordering::Relaxed) / ONE;
        self.due.probes.fetch_sub(due * ONE, Ordering::Relaxed);
        let sent_before = due.min(self.ahead);
        self.ahead -= sent_before;
        for _ in 0..due - sent_before {
            if self.running.len() >= MOST {
                break;
            }
            self.send_one(&candidates, None);
        }
        let asked = self.asker.latest();
        if asked > self.begun {
            self.begun = asked;
            self.send_round(&candidates);
        }
    }

    /// Asks different endpoints for requests that wait.
    fn send_round<Fut, E>(&mut self, candidates: &Candidates)
    where
        F: Fn(&Candidate) -> Fut,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        let most = candidates.len().min(MOST.saturating_sub(self.running.len()));
        let round = self.asker.begin(self.begun, most);
        if self.unasked.len() < round.asked {
            self.unasked = (0..candidates.len()).collect();
        }
        (0..round.asked).for_each(|_| self.send_one(candidates, Some(round.number())));
        self.ahead = round.asked as u64;
        self.round = (!round.is_over()).then_some(round);
    }

    fn send_one<Fut, E>(&mut self, candidates: &Candidates, round: Option<u64>)
    where
        F: Fn(&Candidate) -> Fut,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        let Some(candidate) = self.next(candidates) else { return };
        let answer = timeout(self.timeout, (self.probe)(&candidate));
        self.running.push(Box::pin(async move {
            let report = answer.await.ok().and_then(Result::ok);
            Ended { candidate, report, round }
        }));
    }

    fn ended(&mut self, Ended { candidate, report, round }: Ended) {
        if let Some(report) = &report {
            candidate.report(report, Instant::now());
            self.asker.answered();
        }
        if let Some(current) = self.round.as_mut().filter(|one| Some(one.number()) == round) {
            current.heard(report.is_some());
            if current.is_over() {
                self.round = None;
            }
        }
    }

    /// Sends what is due, and hears of what has ended.
    fn poll<Fut, E>(&mut self, cx: &mut Context<'_>)
    where
        F: Fn(&Candidate) -> Fut,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        self.due.waker.register(cx.waker());
        self.send();
        while let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(cx) {
            self.ended(ended);
        }
    }
}

impl<St: Clone, F: Clone> Clone for Probed<St, F> {
    /// Begins without probes under way.
    fn clone(&self) -> Self {
        let (inner, prober) = (self.inner.clone(), lock(&self.prober));
        let (probe, rng) = (prober.probe.clone(), prober.rng.clone());
        Self::with(probe, inner, self.rate, prober.timeout, Arc::clone(&self.asker), rng)
    }
}

impl<St, F, Fut, E> Strategy for Probed<St, F>
where
    St: Strategy,
    F: Fn(&Candidate) -> Fut + Send + 'static,
    Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
{
    type Picker = ProbedPicker<St::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let built = self.inner.build(candidates, context);
        let mut prober = lock(&self.prober);
        prober.candidates = Some(built.eligible.clone());
        prober.unasked.clear();
        let (prober, asked) = (Arc::clone(&self.prober), self.asker.registration());
        // Work between requests that never asks for a new picker, nor ends: there are requests to come.
        context.rebuild_on(poll_fn(move |cx| {
            asked.register(cx.waker());
            lock(&prober).poll(cx);
            Poll::Pending
        }));
        let (due, each) = (Arc::clone(&self.due), (self.rate * ONE as f64) as u64);
        built.map(|inner| ProbedPicker { inner, due, each })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

impl<St: fmt::Debug, F> fmt::Debug for Probed<St, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probed")
            .field("inner", &self.inner)
            .field("per_request", &self.rate)
            .field("under_way", &lock(&self.prober).running.len())
            .finish_non_exhaustive()
    }
}

/// The picker of [`Probed`].
#[derive(Debug)]
pub struct ProbedPicker<P> {
    inner: P,
    due: Arc<Due>,
    each: u64,
}

impl<P: Pick<Req>, Req> Pick<Req> for ProbedPicker<P> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let before = self.due.probes.fetch_add(self.each, Ordering::Relaxed);
        if before + self.each >= ONE {
            self.due.waker.wake();
        }
        self.inner.pick(request, context)
    }
}
