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

use super::probes::{ProbeSource, Round};
use crate::{
    ConfigError,
    outcome::{LoadReport, Meter},
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Probes, Rng, Strategy,
        explain::{Observe, observed_pick},
    },
    sync::{Mutex, lock},
};

/// Asks endpoints for their load between requests, for any inner strategy that reads
/// [`LoadReport`]s.
///
/// `probe` is a function from an endpoint, with its name and attributes, to a future of a report:
/// your own, or, over HTTP, `http::load_probe`. By default one probe is sent for each request.
/// Endpoints are probed in random order, each once before any is probed again. Probes delay no
/// request: a request uses the reports at hand, and a report is used as long as it is of use.
///
/// The balancer's driver runs the probes; no task is spawned. At most 64 are in flight, each for at
/// most [`timeout`](Self::timeout). A probe that fails yields no report and has no other effect on
/// its endpoint. Without requests no probe is sent, and reports age. The next request can then wait
/// for an answer before it is balanced: see [`AwaitProbes`](crate::strategy::AwaitProbes).
///
/// ```
/// use tower_lb::{outcome::LoadReport, strategy::{Candidate, Freshest, Probed}};
///
/// async fn ask(_host: String) -> Result<LoadReport, std::io::Error> {
///     Ok(LoadReport::new().with_requests_in_flight(3.0))
/// }
///
/// let probe = |endpoint: &Candidate| ask(endpoint.name().to_owned());
/// let strategy = Probed::new(probe, Freshest::default()).per_request(0.5)?;
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
pub struct Probed<St, F> {
    inner: St,
    per_request: f64,
    due: Arc<DueProbes>,
    source: Arc<ProbeSource>,
    /// Shared with the driver's events of the latest picker.
    prober: Arc<Mutex<Prober<F>>>,
}

/// Sends probes and receives their reports.
struct Prober<F> {
    probe: F,
    timeout: Duration,
    due: Arc<DueProbes>,
    candidates: Option<Candidates>,
    /// Indexes of the candidates that are probed before any is probed again.
    unprobed: Vec<usize>,
    rng: Rng,
    in_flight: FuturesUnordered<ProbeFuture>,
    source: Arc<ProbeSource>,
    /// The round that requests wait for.
    round: Option<Round>,
    /// The number of the latest round that was started.
    latest_round: u64,
    /// Probes of the latest round that replace later ones and have not done so yet.
    prepaid: u64,
}

type ProbeFuture = Pin<Box<dyn Future<Output = EndedProbe> + Send>>;

struct EndedProbe {
    candidate: Candidate,
    /// `None` if the probe failed or timed out.
    report: Option<LoadReport>,
    /// The round that it was sent for, if requests waited for it.
    round: Option<u64>,
}

/// The probes that requests have caused and the driver has not sent yet.
#[derive(Debug, Default)]
struct DueProbes {
    /// In units of 1 / [`PROBE`], so that a request can cause a fraction of a probe.
    amount: AtomicU64,
    waker: AtomicWaker,
}

/// One probe, in the units of [`DueProbes`].
const PROBE: u64 = 1 << 16;
/// The most probes in flight. Those due beyond that are dropped.
const MAX_IN_FLIGHT: usize = 64;
const MAX_PER_REQUEST: f64 = 16.0;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

impl<St, F> Probed<St, F> {
    /// Sends one probe for each request, with a timeout of a second.
    pub fn new<Fut, E>(probe: F, inner: St) -> Self
    where
        F: Fn(&Candidate) -> Fut,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        Self::with_rate(probe, inner, 1.0)
    }

    pub(super) fn with_rate(probe: F, inner: St, per_request: f64) -> Self {
        let (source, rng) = (ProbeSource::new(), Rng::from_entropy());
        Self::with(probe, inner, per_request, DEFAULT_TIMEOUT, source, rng)
    }

    fn with(
        probe: F,
        inner: St,
        per_request: f64,
        timeout: Duration,
        source: Arc<ProbeSource>,
        rng: Rng,
    ) -> Self {
        let due = Arc::<DueProbes>::default();
        let prober = Prober {
            probe,
            timeout,
            due: Arc::clone(&due),
            candidates: None,
            unprobed: Vec::new(),
            rng,
            in_flight: FuturesUnordered::new(),
            latest_round: source.latest_requested(),
            source: Arc::clone(&source),
            round: None,
            prepaid: 0,
        };
        Self { inner, per_request, due, source, prober: Arc::new(Mutex::new(prober)) }
    }

    /// Returns what lets requests wait for the probes.
    #[must_use]
    pub fn probes(&self) -> Probes {
        self.source.probes()
    }

    /// Sets how many probes are sent for each request, on average. Default 1.
    ///
    /// # Errors
    ///
    /// If `probes` is not above 0 and at most 16.
    pub fn per_request(mut self, probes: f64) -> Result<Self, ConfigError> {
        let valid = probes > 0.0 && probes <= MAX_PER_REQUEST;
        ConfigError::unless(valid, "per_request", probes, "a number above 0 and at most 16")?;
        self.per_request = probes;
        Ok(self)
    }

    pub(super) fn inner_mut(&mut self) -> &mut St {
        &mut self.inner
    }

    /// Limits how long a probe may take. Default 1 s.
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

impl<F, Fut, E> Prober<F>
where
    F: Fn(&Candidate) -> Fut,
    Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
{
    /// Sends the probes that are due, and handles those that have ended.
    fn poll(&mut self, cx: &mut Context<'_>) {
        // Registered before the due amount is read: what a request adds after that wakes the
        // driver.
        self.due.waker.register(cx.waker());
        self.send_due();
        while let Poll::Ready(Some(ended)) = self.in_flight.poll_next_unpin(cx) {
            self.handle(ended);
        }
    }

    fn send_due(&mut self) {
        let Some(candidates) = self.candidates.clone() else { return };
        let due = self.due.amount.load(Ordering::Relaxed) / PROBE;
        // Only whole probes are taken; the fraction counts for the next.
        self.due.amount.fetch_sub(due * PROBE, Ordering::Relaxed);
        let replaced = due.min(self.prepaid);
        self.prepaid -= replaced;
        for _ in 0..due - replaced {
            if self.in_flight.len() >= MAX_IN_FLIGHT {
                break;
            }
            self.send_one(&candidates, None);
        }
        let requested = self.source.latest_requested();
        if requested > self.latest_round {
            self.latest_round = requested;
            self.send_round(&candidates);
        }
    }

    /// Probes distinct endpoints, for requests that wait.
    fn send_round(&mut self, candidates: &Candidates) {
        let most = candidates.len().min(MAX_IN_FLIGHT.saturating_sub(self.in_flight.len()));
        let round = self.source.start(self.latest_round, most);
        // With too few left, the draw would start over and might probe one of them twice.
        if self.unprobed.len() < round.probes {
            self.unprobed = (0..candidates.len()).collect();
        }
        (0..round.probes).for_each(|_| self.send_one(candidates, Some(round.number())));
        self.prepaid = round.probes as u64;
        self.round = (!round.is_over()).then_some(round);
    }

    fn send_one(&mut self, candidates: &Candidates, round: Option<u64>) {
        let Some(candidate) = self.draw(candidates) else { return };
        let answer = timeout(self.timeout, (self.probe)(&candidate));
        self.in_flight.push(Box::pin(async move {
            let report = answer.await.ok().and_then(Result::ok);
            EndedProbe { candidate, report, round }
        }));
    }

    /// Draws the next endpoint to be probed.
    fn draw(&mut self, candidates: &Candidates) -> Option<Candidate> {
        if self.unprobed.is_empty() {
            self.unprobed.extend(0..candidates.len());
        }
        let at = self.rng.below(self.unprobed.len());
        let drawn = (!self.unprobed.is_empty()).then(|| self.unprobed.swap_remove(at))?;
        candidates.get(drawn).cloned()
    }

    fn handle(&mut self, EndedProbe { candidate, report, round }: EndedProbe) {
        if let Some(report) = &report {
            candidate.report(report, Instant::now());
            self.source.record_answer();
        }
        // A probe of an earlier round may end after that round was over.
        if let Some(current) = self.round.as_mut().filter(|one| Some(one.number()) == round) {
            current.record_end(report.is_some());
            if current.is_over() {
                self.round = None;
            }
        }
    }
}

impl<St: Clone, F: Clone> Clone for Probed<St, F> {
    /// The clone starts with no probes in flight, and shares the [`Probes`].
    fn clone(&self) -> Self {
        let (inner, prober) = (self.inner.clone(), lock(&self.prober));
        let (probe, rng) = (prober.probe.clone(), prober.rng.clone());
        let source = Arc::clone(&self.source);
        Self::with(probe, inner, self.per_request, prober.timeout, source, rng)
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
        prober.unprobed.clear();
        let (prober, rounds) = (Arc::clone(&self.prober), self.source.registration());
        // Work between requests. It never asks for a new picker, and never ends, as later requests
        // may need it.
        context.rebuild_on(poll_fn(move |cx| {
            rounds.register(cx.waker());
            lock(&prober).poll(cx);
            Poll::Pending
        }));
        let (due, per_request) = (Arc::clone(&self.due), (self.per_request * PROBE as f64) as u64);
        built.map(|inner| ProbedPicker { inner, due, per_request })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

impl<St: fmt::Debug, F> fmt::Debug for Probed<St, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probed")
            .field("inner", &self.inner)
            .field("per_request", &self.per_request)
            .field("in_flight", &lock(&self.prober).in_flight.len())
            .finish_non_exhaustive()
    }
}

/// The picker of [`Probed`].
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <Probed<St, F> as Strategy>::Picker")]
pub struct ProbedPicker<P> {
    inner: P,
    due: Arc<DueProbes>,
    /// In the units of [`DueProbes`].
    per_request: u64,
}

impl<P> ProbedPicker<P> {
    #[inline]
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Pick<Req>,
    {
        observer.step("probed");
        observer.say(|| {
            let per_request = self.per_request as f64 / PROBE as f64;
            format!("asks endpoints for their load; probes per request: {per_request}")
        });
        if !observer.is_dry_run() {
            let before = self.due.amount.fetch_add(self.per_request, Ordering::Relaxed);
            if before + self.per_request >= PROBE {
                self.due.waker.wake();
            }
        }
        observer.inner(&self.inner, request, context)
    }
}

impl<P: Pick<Req>, Req> Pick<Req> for ProbedPicker<P> {
    observed_pick!(Req);
}
