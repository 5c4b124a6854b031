//! Clients of the simulation that use the strategies of `tower_lb`.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{sync::oneshot, time::Instant};
use tower_lb::{
    BoxError,
    endpoint::{Endpoint, Tried},
    load::Now,
    outcome::{Attempt, LoadReport, Outcome},
    strategy::{
        BuildContext, Candidate, Candidates, Dynamic, Fresh, Pick, PickContext, Probes, Strategy,
    },
};

use crate::{
    balance::{Balance, World},
    clock::Nanos,
    scenario::Scenario,
    server::{Report, Try},
};

/// The probes that a strategy sends: a server, and the channel for its response.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Mutex<Vec<Probe>>>);

type Probe = (u32, oneshot::Sender<LoadReport>);

/// The pending response to a probe.
pub type ProbeResponse = futures_util::future::Map<
    oneshot::Receiver<LoadReport>,
    fn(Result<LoadReport, oneshot::error::RecvError>) -> Result<LoadReport, BoxError>,
>;

impl Outbox {
    /// Sends a probe to an endpoint.
    pub fn probe(&self, candidate: &Candidate) -> ProbeResponse {
        let (response, receiver) = oneshot::channel();
        let server = number(candidate) as u32;
        self.0.lock().expect("no panic before").push((server, response));
        receiver.map(|result| result.map_err(Into::into))
    }
}

/// A client that uses a strategy of the library.
pub struct Ours {
    strategy: Dynamic<()>,
    events: BuildContext,
    picker: <Dynamic<()> as Strategy>::Picker,
    endpoints: Vec<Endpoint<()>>,
    all: Candidates,
    /// The number of the present endpoint of each server.
    current: Vec<usize>,
    candidates: Candidates,
    attempts: HashMap<Try, Attempt>,
    reports: Reports,
    probe_reports: Reports,
    outbox: Outbox,
    awaited: HashMap<u32, oneshot::Sender<LoadReport>>,
    next_probe: u32,
    woken: Arc<Woken>,
    works_between: bool,
    /// The probes that requests wait for.
    first: Option<First>,
    /// The requests that wait.
    waiting: HashMap<u32, (Instant, Pin<Box<Fresh>>)>,
}

/// Requests wait for `probes` if the last response is older than `max_age`.
pub struct First {
    pub probes: Probes,
    pub max_age: Duration,
}

/// The longest time that a request waits for a probe.
pub const MAX_PROBE_WAIT: Duration = Duration::from_millis(50);

/// What servers report with each response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    Nothing,
    /// Whether the server has a free core.
    Bit,
    InFlight,
    /// Requests in flight, and a moving average of latencies at any load.
    Average,
    /// Requests in flight, and the latency at this load.
    Everything,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Reports {
    fn of(self, report: Report) -> LoadReport {
        let told = LoadReport::new();
        match self {
            Self::Nothing => told,
            Self::Bit => told.with_free_capacity(f64::from(u8::from(report.free > 0.0))),
            Self::InFlight => told.with_requests_in_flight(report.in_flight.into()),
            Self::Average => full(Report { latency: report.average, ..report }),
            Self::Everything => full(report),
        }
    }
}

fn number(candidate: &Candidate) -> usize {
    candidate.name().parse().expect("endpoints are numbered")
}

fn full(report: Report) -> LoadReport {
    let told = LoadReport::new().with_requests_in_flight(report.in_flight.into());
    let told = told.with_free_capacity(report.free);
    match report.latency {
        0.0 => told,
        latency => told.with_latency(Duration::from_secs_f64(latency)),
    }
}

impl Ours {
    /// Creates a client with the strategy that `build` returns. The strategy sends its probes to
    /// the `Outbox`, and responses contain `reports`.
    pub fn new(
        scenario: &Scenario,
        reports: Reports,
        build: impl FnOnce(Outbox) -> Dynamic<()>,
    ) -> Self {
        let servers = scenario.servers.len();
        let outbox = Outbox::default();
        let mut strategy = build(outbox.clone());
        // Endpoints that replace others have higher numbers than all replaced endpoints.
        let count = if scenario.replaces() { 2 * servers } else { servers };
        let weights = (0..count).map(|number| scenario.weight(number % servers));
        let endpoints: Vec<_> = weights.map(|w| Endpoint::new(()).with_weight(w)).collect();
        let all = Candidates::for_strategy(&strategy, (0..count).zip(&endpoints));
        let current: Vec<_> = (0..servers).collect();
        let candidates = if scenario.replaces() {
            all.filter(|one| current.contains(&number(one)))
        } else {
            all.clone()
        };
        let mut events = BuildContext::new();
        let picker = strategy.build(&candidates, &mut events).into_picker();
        let mut ours = Self {
            strategy,
            events,
            picker,
            endpoints,
            all,
            current,
            candidates,
            probe_reports: Reports::Everything,
            attempts: HashMap::new(),
            reports,
            outbox,
            awaited: HashMap::new(),
            next_probe: 0,
            woken: Arc::new(Woken(AtomicBool::new(true))),
            works_between: true,
            first: None,
            waiting: HashMap::new(),
        };
        ours.work();
        ours
    }

    /// Sets what responses to probes contain. Default: everything.
    pub fn probes_tell(self, probe_reports: Reports) -> Self {
        Self { probe_reports, ..self }
    }

    /// Lets requests wait for probes.
    pub fn waiting_for(self, first: First) -> Self {
        Self { first: Some(first), ..self }
    }

    /// Polls the strategy like the driver.
    fn work(&mut self) {
        while self.works_between && self.woken.0.swap(false, Ordering::Relaxed) {
            let waker = Waker::from(Arc::clone(&self.woken));
            match self.events.poll_rebuild(&mut Context::from_waker(&waker)) {
                Poll::Pending => {}
                Poll::Ready(None) => self.works_between = false,
                Poll::Ready(Some(())) => {
                    self.candidates = self.candidates.clone().at_time(Instant::now());
                    self.events = BuildContext::new();
                    let built = self.strategy.build(&self.candidates, &mut self.events);
                    self.picker = built.into_picker();
                    self.woken.0.store(true, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Balance for Ours {
    fn holds(&mut self, request: u32) -> bool {
        let Some(First { probes, max_age }) = &self.first else { return false };
        let now = Instant::now();
        let fresh = || (now, Box::pin(probes.fresh(*max_age, MAX_PROBE_WAIT)));
        let (since, waits) = self.waiting.entry(request).or_insert_with(fresh);
        // No runtime drives timers here, so the end of the wait must be checked.
        let over = waits.as_mut().now_or_never().is_some() || now >= *since + MAX_PROBE_WAIT;
        if over {
            self.waiting.remove(&request);
        }
        !over
    }

    fn pick(&mut self, number: Try, before: &[u32], world: &mut World<'_>) -> u32 {
        let now = Instant::now();
        let mut tried = Tried::none();
        let endpoint = |server: u32| &self.endpoints[self.current[server as usize]];
        before.iter().for_each(|&server| tried.add(endpoint(server).stats()));
        let mut context = PickContext::new(world.rng, Now::at(now), &tried);
        let picked = self.picker.pick(&(), &mut context).expect("all have room");
        let server = (self::number(picked) % self.current.len()) as u32;
        let attempt = picked.begin(Some(now)).expect("there is no limit");
        self.attempts.insert(number, attempt);
        server
    }

    fn ended(
        &mut self,
        number: Try,
        _server: u32,
        outcome: Outcome,
        report: Option<Report>,
        _now: Nanos,
    ) {
        let Some(mut attempt) = self.attempts.remove(&number) else { return };
        if let Some(report) = report {
            attempt.first_byte();
            if attempt.wants_reports() && self.reports != Reports::Nothing {
                attempt.report(&self.reports.of(report));
            }
        }
        attempt.finish(outcome);
    }

    fn replaced(&mut self, server: u32) {
        self.current[server as usize] += self.current.len();
        let current = &self.current;
        self.candidates =
            self.all.filter(|one| current.contains(&number(one))).at_time(Instant::now());
        self.events = BuildContext::new();
        self.picker = self.strategy.build(&self.candidates, &mut self.events).into_picker();
    }

    fn probes(&mut self) -> Vec<(u32, u32)> {
        self.work();
        let mut outbox = self.outbox.0.lock().expect("no panic before");
        let mut sent = Vec::new();
        for (server, response) in outbox.drain(..) {
            self.awaited.insert(self.next_probe, response);
            sent.push((self.next_probe, server % self.current.len() as u32));
            self.next_probe += 1;
        }
        sent
    }

    fn probed(&mut self, number: u32, report: Report) {
        if let Some(response) = self.awaited.remove(&number) {
            _ = response.send(self.probe_reports.of(report));
        }
    }
}
