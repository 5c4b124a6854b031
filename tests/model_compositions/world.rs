//! A balancer over a composition, what surrounds it, and what must hold.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::channel::mpsc;
use http::header::{COOKIE, SET_COOKIE};
use tokio::time::Instant;
use tower::Service;
use tower_lb::{
    Balancer, Error,
    balance::Driver,
    discover::Update,
    endpoint::{Allowance, Endpoint, Health},
    http::sticky::{Affinity, StickyTrack, WhenDraining},
    lambda::{ThrottleReason, TrackThrottles},
    outcome::{Attempts, Carry, Following, LoadReport, OnResponse, ResultOnly},
    strategy::Rng,
};

use crate::{
    checked::{Checked, Shared, Wants},
    oracle::Class,
    server::{Answer, Event, Id, Log, Member, Readiness, Request, Response, Server, State},
    tree::{Controls, Growth, Tree, ZONES, locality, sessions},
};

type Source = mpsc::UnboundedReceiver<Result<Update<usize, Server>, SourceError>>;
type Tracker = StickyTrack<TrackThrottles<Following<OnResponse>>>;
type Lb = Balancer<Server, Checked, Tracker>;

#[derive(Debug)]
struct SourceError;

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source fails")
    }
}

impl std::error::Error for SourceError {}

/// The driver among the tasks.
const DRIVER: usize = 0;
const KEYS: usize = 10;
/// More are not sent before some have ended.
const CALLS: usize = 24;
/// Of polls after one step.
const TURNS: usize = 5_000;
/// Pickers that a step may lead to, beside those that throttled requests lead to.
const PICKERS: usize = 5;
/// Endpoints that one request asks whether they are ready.
const ASKED: usize = 5;
/// Older requests that a request in line lets go first.
const LOOK_AHEAD: usize = 16;
/// A timer's resolution, and the one of rounding up.
const TICK: Duration = Duration::from_millis(2);

type Ready = Arc<Mutex<VecDeque<usize>>>;

struct Task {
    id: usize,
    ready: Ready,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap();
        if !ready.contains(&self.id) {
            ready.push_back(self.id);
        }
    }
}

/// What a request waits for, and since when at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Eligible,
    Room,
    Ready,
}

struct Call {
    future: Pin<Box<dyn Future<Output = Result<Response, Error>>>>,
    wants: Wants,
    attempts: Option<Attempts>,
    elsewhere: bool,
    impatient: bool,
    since: Instant,
    /// In order of the first polls.
    joined: Option<usize>,
    /// It has been picked an endpoint that was not ready.
    touched: bool,
    /// Servers that failed to get ready, since the last picker that it knows.
    failed: BTreeSet<usize>,
    version: usize,
    /// Where it was sent.
    called: Option<usize>,
    lack: Option<(Lack, Instant)>,
}

struct Watcher {
    balancer: Lb,
    then_calls: bool,
}

/// How the balancer is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    limit: Option<u32>,
    max_wait: Option<Duration>,
    fail_fast: Option<Duration>,
    clones: usize,
}

impl Settings {
    fn draw(rng: &mut Rng) -> Self {
        let limit = [None, None, Some(1), Some(1), Some(2), Some(3)][rng.below(6)];
        let times = [0, 250, 10_000].map(Duration::from_millis);
        let wait = rng.below(6);
        let fail = rng.below(8);
        Self {
            limit,
            max_wait: limit.and_then(|_| times.get(wait).copied()),
            fail_fast: times.get(fail).copied(),
            clones: 1 + rng.below(3),
        }
    }
}

pub(crate) struct World {
    settings: Settings,
    growth: Growth,
    shared: Arc<Shared>,
    log: Arc<Log>,
    source: Option<mpsc::UnboundedSender<Result<Update<usize, Server>, SourceError>>>,
    driver: Option<Pin<Box<Driver<Source, Checked>>>>,
    clones: Vec<Lb>,
    ready: Ready,
    calls: BTreeMap<usize, Call>,
    watchers: BTreeMap<usize, Watcher>,
    /// Those that are not polled though they were woken.
    frozen: BTreeSet<usize>,
    next_id: usize,
    joined: usize,
    known: BTreeMap<usize, Endpoint<Server>>,
    removed: Vec<Endpoint<Server>>,
    servers: Vec<Arc<State>>,
    members: Vec<Arc<Member>>,
    shared_allowance: Allowance,
    /// The driver has yet to see what was sent.
    dirty: bool,
    errors_sent: u64,
    errors_seen: u64,
    pause_until: Instant,
    cookies: Vec<(String, usize)>,
    throttled: usize,
    /// The last steps were not settled in between.
    batched: bool,
    must_settle: bool,
    /// Who was served, where, and who has come earlier and could have been served there.
    overtaken: Vec<(usize, usize, usize)>,
    /// The clock has moved in this step.
    time_passed: bool,
    built_before: usize,
    pub(crate) polls: usize,
    pub(crate) completed: usize,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::seeded(seed);
        let depth = rng.below(5);
        let mut growth = Growth::default();
        let tree = Arc::new(Tree::grow(&mut rng, depth, &mut growth));
        let settings = Settings::draw(&mut rng);
        let controls = Controls::new(&growth);
        let inner = tree.strategy(&controls);
        let away = Mutex::new(vec![BTreeSet::new(); growth.shifts]);
        let shared = Arc::new(Shared {
            tree,
            controls,
            away,
            record: Mutex::default(),
            builds: 0.into(),
            refuses: growth.has_aimd,
            strict: growth.has_strict_sessions,
        });
        let tracker = Following::new(OnResponse::new(ResultOnly));
        let tracker = shared.controls.throttles.track(tracker);
        let tracker = sessions(Affinity::Preferred, WhenDraining::Move).track(tracker);
        let mut builder = Balancer::builder().seed(seed).track(tracker);
        if let Some(limit) = settings.limit {
            builder = builder.max_outstanding(limit);
        }
        if let Some(time) = settings.max_wait {
            builder = builder.max_wait(time);
        }
        if let Some(time) = settings.fail_fast {
            builder = builder.fail_fast(time);
        }
        let (source, stream) = mpsc::unbounded();
        let strategy = Checked { inner, shared: Arc::clone(&shared) };
        let (balancer, driver) = builder.build(strategy, stream).unwrap();
        let ready = Ready::default();
        ready.lock().unwrap().push_back(DRIVER);
        let mut world = Self {
            settings,
            growth,
            shared,
            log: Arc::default(),
            source: Some(source),
            driver: Some(Box::pin(driver)),
            clones: vec![balancer; settings.clones],
            ready,
            calls: BTreeMap::new(),
            watchers: BTreeMap::new(),
            frozen: BTreeSet::new(),
            next_id: DRIVER + 1,
            joined: 0,
            known: BTreeMap::new(),
            removed: Vec::new(),
            servers: Vec::new(),
            members: Vec::new(),
            shared_allowance: Allowance::of(2),
            dirty: false,
            errors_sent: 0,
            errors_seen: 0,
            pause_until: Instant::now(),
            cookies: Vec::new(),
            throttled: 0,
            batched: false,
            must_settle: false,
            overtaken: Vec::new(),
            time_passed: false,
            built_before: 0,
            polls: 0,
            completed: 0,
        };
        for _ in 0..rng.below(KEYS) {
            world.insert(&mut rng);
        }
        world
    }

    /// For the report of a failure.
    pub(crate) fn describe(&self) -> String {
        format!("{:?}\n{:#?}", self.settings, self.shared.tree)
    }

    /// One random step. Everything random about it is in `step`.
    pub(crate) async fn step(&mut self, step: u64) {
        let rng = &mut Rng::seeded(step);
        match rng.below(100) {
            0..9 => self.insert(rng),
            9..16 => self.change(rng),
            16..20 => self.remove(rng),
            20..22 => self.reset(rng),
            22..24 => self.outage(rng),
            24..25 => self.source_fails(),
            25..26 if rng.below(12) == 0 => self.source = None,
            26..27 if rng.below(12) == 0 => self.drop_driver(),
            27..36 => self.set_readiness(rng),
            36..42 => self.set_answer(rng),
            42..54 => self.answer(rng),
            54..72 => self.call_new(rng, false),
            72..75 => self.watch(rng),
            75..79 => self.cancel(rng),
            79..81 => self.freeze(rng),
            81..83 => self.thaw(),
            83..86 => self.shift(rng),
            86..88 => self.set_shares(rng),
            88..90 => self.report(rng),
            _ => self.advance(rng).await,
        }
        self.note();
        // Some steps come before anything is polled.
        if rng.below(6) == 0 && !std::mem::take(&mut self.must_settle) {
            self.batched = true;
            return;
        }
        self.settle();
    }

    // What surrounds the balancer.

    fn send(&mut self, update: Update<usize, Server>) {
        if let Some(source) = &self.source {
            self.dirty = true;
            let _ = source.unbounded_send(Ok(update));
        }
    }

    fn has_source(&self) -> bool {
        self.source.is_some() && self.driver.is_some()
    }

    fn member(&mut self, key: usize, endpoint: &Endpoint<()>) -> Arc<Member> {
        let member = Arc::new(Member {
            key,
            stats: Arc::clone(endpoint.stats()),
            used: AtomicU32::new(0),
            limit: self.settings.limit,
        });
        self.members.push(Arc::clone(&member));
        member
    }

    fn server(&mut self, rng: &mut Rng, member: Arc<Member>) -> Server {
        let readiness = draw_readiness(rng);
        let server =
            Server::new(self.servers.len(), member, &self.log, readiness, draw_answer(rng));
        self.servers.push(Arc::clone(&server.state));
        server
    }

    /// A new endpoint, or another service in the place of one that is there.
    fn endpoint(&mut self, rng: &mut Rng, key: usize, healthy: bool) -> Endpoint<Server> {
        let endpoint = Endpoint::new(());
        let member = match self.known.get(&key) {
            Some(known) => known.target().state.member(),
            None => self.member(key, &endpoint),
        };
        let server = self.server(rng, member);
        self.attributes(rng, endpoint.map(|()| server), healthy)
    }

    fn attributes<T>(&self, rng: &mut Rng, endpoint: Endpoint<T>, healthy: bool) -> Endpoint<T> {
        let health = match rng.below(20) {
            _ if healthy => Health::Healthy,
            0..12 => Health::Healthy,
            12..15 => Health::degraded("slow"),
            15..18 => Health::unhealthy("down"),
            _ => Health::draining("deploy"),
        };
        let weight = if healthy { 1 } else { [0, 1, 1, 1, 2, 100][rng.below(6)] };
        let mut endpoint = endpoint
            .with_health(health)
            .with_weight(weight)
            .with_tier([0, 0, 0, 1, 2][rng.below(5)]);
        if let Some(locality) = locality(rng.below(4)) {
            endpoint = endpoint.with_locality(locality);
        }
        if let Some(version) = ["0", "1"].get(rng.below(3)) {
            endpoint = endpoint.with_metadata("version", *version);
        }
        if rng.below(2) == 0 {
            endpoint = endpoint.with_metadata("stage", "x");
        }
        let allowance = match rng.below(20) {
            _ if healthy => None,
            0 => Some(Allowance::of(rng.below(3) as u32)),
            1 => Some(self.shared_allowance.clone()),
            _ => None,
        };
        endpoint.with_allowance(allowance)
    }

    fn insert(&mut self, rng: &mut Rng) {
        if !self.has_source() {
            return;
        }
        let key = rng.below(KEYS);
        let rests = self.ready.lock().unwrap().is_empty() && !self.dirty && !self.is_stale();
        let back = rests && rng.below(4) == 0 && !self.removed.is_empty();
        let endpoint = if back && !self.known.contains_key(&key) {
            // One that was removed, with its figures. It has other slots from the next poll on.
            self.must_settle = true;
            let again = self.removed.swap_remove(rng.below(self.removed.len()));
            let member = self.member(key, &again.clone().map(|_| ()));
            again.target().state.move_to(member);
            again
        } else {
            self.endpoint(rng, key, false)
        };
        say!("insert {key}: {endpoint:?}");
        self.known.insert(key, endpoint.clone());
        self.send(Update::Insert(key, endpoint));
    }

    /// Other attributes of the same service.
    fn change(&mut self, rng: &mut Rng) {
        let Some((key, known)) = draw(rng, &self.known) else { return };
        if !self.has_source() {
            return;
        }
        let endpoint = match rng.below(4) {
            0 => known,
            1 => known.with_allowance(Allowance::of(rng.below(3) as u32)),
            2 => known.with_health(Health::Healthy).with_allowance(None),
            _ => self.attributes(rng, known, false),
        };
        say!("change {key}: {endpoint:?}");
        self.known.insert(key, endpoint.clone());
        self.send(Update::Insert(key, endpoint));
    }

    /// Most of the endpoints change together.
    fn outage(&mut self, rng: &mut Rng) {
        if !self.has_source() {
            return;
        }
        let kind = rng.below(6);
        let changed: Vec<_> = self.known.iter().filter(|_| rng.below(5) > 0).collect();
        let changed = changed.into_iter().map(|(&key, known)| {
            let endpoint = known.clone();
            let endpoint = match kind {
                0 => endpoint.with_health(Health::degraded("slow")),
                1 => endpoint.with_health(Health::draining("deploy")),
                2 => endpoint.with_health(Health::Healthy),
                3 => endpoint.with_weight(0),
                _ => endpoint.with_health(Health::unhealthy("down")),
            };
            (key, endpoint)
        });
        for (key, endpoint) in changed.collect::<Vec<_>>() {
            say!("outage at {key}: {endpoint:?}");
            self.known.insert(key, endpoint.clone());
            self.send(Update::Insert(key, endpoint));
        }
    }

    fn remove(&mut self, rng: &mut Rng) {
        if !self.has_source() {
            return;
        }
        let key = rng.below(KEYS);
        say!("remove {key}");
        self.removed.extend(self.known.remove(&key));
        self.removed.truncate(4);
        self.send(Update::Remove(key));
    }

    fn reset(&mut self, rng: &mut Rng) {
        if !self.has_source() {
            return;
        }
        let mut all = Vec::new();
        let mut after = BTreeMap::new();
        for _ in 0..rng.below(KEYS) {
            let key = rng.below(KEYS);
            let known = self.known.get(&key).filter(|_| rng.below(2) == 0).cloned();
            // A key may be there twice; then the second takes the place of the first.
            let before = after.get(&key).map(|one: &Endpoint<Server>| one.target().state.member());
            let endpoint = match (known, before) {
                (Some(known), _) => known,
                (None, Some(member)) => {
                    let server = self.server(rng, member);
                    self.attributes(rng, Endpoint::new(server), false)
                }
                (None, None) => self.endpoint(rng, key, false),
            };
            after.insert(key, endpoint.clone());
            all.push((key, endpoint));
        }
        all.iter().for_each(|one| say!("reset {one:?}"));
        self.known = after;
        self.send(Update::Reset(all));
    }

    fn source_fails(&mut self) {
        if let Some(source) = self.source.as_ref().filter(|_| self.driver.is_some()) {
            say!("the source fails");
            let _ = source.unbounded_send(Err(SourceError));
            self.errors_sent += 1;
        }
    }

    /// It goes when it has done what there was to do.
    fn drop_driver(&mut self) {
        self.settle();
        if !self.is_stale() {
            self.driver = None;
        }
    }

    /// The source has failed, and the driver may not have seen all updates.
    fn is_stale(&self) -> bool {
        let seen = self.errors_seen == self.errors_sent;
        !seen || self.driver.is_some() && Instant::now() <= self.pause_until
    }

    fn set_readiness(&mut self, rng: &mut Rng) {
        if let Some((key, endpoint)) = draw(rng, &self.known) {
            let readiness = draw_readiness(rng);
            say!("{key} is {readiness:?}");
            endpoint.target().state.set_readiness(readiness);
        }
    }

    fn set_answer(&mut self, rng: &mut Rng) {
        if let Some((_, endpoint)) = draw(rng, &self.known) {
            endpoint.target().state.set_answer(draw_answer(rng));
        }
    }

    fn answer(&mut self, rng: &mut Rng) {
        let answers = [Answer::Succeeds, Answer::Succeeds, Answer::Fails, draw_answer(rng)];
        let start = rng.below(self.servers.len().max(1));
        let servers = self.servers[start.min(self.servers.len())..].iter().chain(&self.servers);
        let mut count = 1 + rng.below(3);
        for server in servers {
            if count == 0 {
                return;
            }
            count -= usize::from(server.answer(answers[rng.below(4)]));
        }
    }

    fn shift(&mut self, rng: &mut Rng) {
        if self.growth.shifts == 0 {
            return;
        }
        let number = rng.below(self.growth.shifts);
        let handle = &self.shared.controls.shifts[number];
        let (_, zone) = ZONES[rng.below(ZONES.len())];
        say!("shift {number}: {zone}");
        let away = &mut self.shared.away.lock().unwrap()[number];
        if rng.below(2) == 0 {
            away.insert(zone.to_owned());
            handle.shift_away(zone);
        } else {
            away.remove(zone);
            handle.restore(zone, Duration::from_secs([0, 3, 300][rng.below(3)]));
        }
    }

    fn set_shares(&mut self, rng: &mut Rng) {
        let shares = self.shared.controls.shares.lock().unwrap();
        if shares.is_empty() {
            return;
        }
        let (_, shares) = &shares[rng.below(shares.len())];
        let groups = shares.get();
        let groups = groups.iter().map(|(name, _)| (name, [0, 1, 95][rng.below(3)]));
        // They can't be all 0.
        let _ = shares.set(groups);
    }

    fn report(&mut self, rng: &mut Rng) {
        let report = LoadReport::new()
            .with_requests_per_second(rng.below(100) as f64)
            .with_cpu_utilization(rng.unit())
            .with_requests_in_flight(rng.below(10) as f64)
            .with_latency(Duration::from_millis(rng.below(100) as u64));
        self.clones[0].report(&rng.below(KEYS).to_string(), &report);
    }

    async fn advance(&mut self, rng: &mut Rng) {
        let millis = [0, 1, 5, 100, 250, 1_000, 3_000, 30_000, 600_000, 86_400_000, 3_456_000_000];
        let time = Duration::from_millis(millis[rng.below(millis.len())]);
        say!("{time:?} pass");
        self.time_passed = true;
        tokio::time::advance(time).await;
    }

    // Requests.

    fn call_new(&mut self, rng: &mut Rng, again: bool) {
        if self.calls.len() >= CALLS {
            return self.cancel(rng);
        }
        let clone = rng.below(self.clones.len());
        let mut balancer = self.clones[clone].clone();
        let waits = !again && rng.below(3) == 0;
        let mut impatient = false;
        if waits {
            let mut cx = Context::from_waker(Waker::noop());
            match Service::<Request>::poll_ready(&mut balancer, &mut cx) {
                Poll::Pending | Poll::Ready(Err(_)) => return,
                // It need not wait, and slots may be kept for others.
                Poll::Ready(Ok(())) => {
                    let Settings { max_wait, fail_fast, .. } = self.settings;
                    impatient = [max_wait, fail_fast].contains(&Some(Duration::ZERO));
                }
            }
        }
        self.call(rng, balancer, impatient, None);
    }

    fn call(
        &mut self,
        rng: &mut Rng,
        mut balancer: Lb,
        impatient: bool,
        attempts: Option<(Attempts, bool)>,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        let stages = [None, None, Some("x")];
        let versions = [None, None, Some("0"), Some("1"), Some("9")];
        let class = Class { version: versions[rng.below(5)], stage: stages[rng.below(3)] };
        let path = if rng.below(4) == 0 { "/".into() } else { format!("/{}", rng.below(20)) };
        let mut request = http::Request::builder().uri(path);
        let labels = [("version", class.version), ("stage", class.stage)];
        for (label, value) in labels.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            request = request.header(label, value);
        }
        let mut home = None;
        if !self.cookies.is_empty() && rng.below(2) == 0 {
            let (cookie, of) = &self.cookies[rng.below(self.cookies.len())];
            request = request.header(COOKIE, cookie);
            home = self.growth.has_sessions.then_some(*of);
        }
        let wants = Wants { class, home };
        let mut request = request.extension(Id(id)).extension(wants).body(()).unwrap();
        let elsewhere = attempts.as_ref().is_some_and(|(_, elsewhere)| *elsewhere);
        let mut attempts = attempts.map(|(attempts, _)| attempts);
        if attempts.is_none() && rng.below(4) == 0 {
            attempts = Some(Attempts::new());
        }
        if let Some(attempts) = &attempts {
            request.carry(attempts.clone());
        }
        self.log.current.store(id, SeqCst);
        let since = Instant::now();
        let future = Box::pin(balancer.call(request));
        say!("call {id}: {wants:?}, {attempts:?}, elsewhere {elsewhere}, impatient {impatient}");
        let (version, called, lack) = (self.builds(), None, None);
        let (joined, touched, failed) = (None, false, BTreeSet::new());
        let call = Call {
            future,
            wants,
            attempts,
            elsewhere,
            impatient,
            since,
            joined,
            touched,
            failed,
            version,
            called,
            lack,
        };
        self.calls.insert(id, call);
        self.note();
        match rng.below(8) {
            // Never polled until it is dropped or thawed.
            0 => {
                say!("freeze {id}");
                self.frozen.insert(id);
            }
            _ => self.wake(id),
        }
    }

    fn wake(&self, id: usize) {
        let mut ready = self.ready.lock().unwrap();
        if !ready.contains(&id) {
            ready.push_back(id);
        }
    }

    fn watch(&mut self, rng: &mut Rng) {
        if self.watchers.len() >= 4 {
            let oldest = self.watchers.pop_first();
            return drop(oldest);
        }
        let balancer = self.clones[rng.below(self.clones.len())].clone();
        let id = self.next_id;
        self.next_id += 1;
        self.watchers.insert(id, Watcher { balancer, then_calls: rng.below(2) == 0 });
        self.wake(id);
    }

    fn cancel(&mut self, rng: &mut Rng) {
        for _ in 0..=rng.below(3) {
            if let Some(id) = self.calls.keys().nth(rng.below(self.calls.len().max(1))).copied() {
                say!("cancel {id}");
                self.calls.remove(&id);
                self.frozen.remove(&id);
            }
        }
    }

    fn freeze(&mut self, rng: &mut Rng) {
        let id = self.calls.keys().nth(rng.below(self.calls.len().max(1)));
        say!("freeze {id:?}");
        self.frozen.extend(id.copied());
    }

    fn thaw(&mut self) {
        for id in std::mem::take(&mut self.frozen) {
            // Not in the order of wake-ups.
            self.batched = true;
            self.wake(id);
        }
    }

    // The executor.

    fn builds(&self) -> usize {
        self.shared.builds.load(SeqCst)
    }

    /// Polls what was woken, in the order of wake-ups, until nothing is.
    fn settle(&mut self) {
        self.built_before = self.builds();
        self.throttled = 0;
        for turn in 0.. {
            let Some(id) = self.ready.lock().unwrap().pop_front() else { break };
            assert!(turn < TURNS, "it never rests; the last was {id}");
            self.poll(id);
        }
        let pickers = self.builds() - self.built_before;
        let most = PICKERS + 2 * self.throttled;
        assert!(pickers <= most, "{pickers} pickers after one step");
        // The other may have been offered another slot, and been polled later.
        for (id, key, other) in std::mem::take(&mut self.overtaken) {
            let waits = self.calls.get(&other).is_some_and(|call| call.called.is_none());
            assert!(!waits, "{id} overtook {other} at {key}");
        }
        self.check();
        self.batched = false;
        self.time_passed = false;
    }

    fn poll(&mut self, id: usize) {
        say!("poll {id}");
        if self.frozen.contains(&id) {
            return;
        }
        self.polls += 1;
        let waker = Waker::from(Arc::new(Task { id, ready: Arc::clone(&self.ready) }));
        let mut cx = Context::from_waker(&waker);
        if id == DRIVER {
            self.poll_driver(&mut cx);
        } else if self.watchers.contains_key(&id) {
            self.poll_watcher(id, &mut cx);
        } else {
            self.poll_call(id, &mut cx);
        }
    }

    fn poll_driver(&mut self, cx: &mut Context<'_>) {
        let Some(driver) = &mut self.driver else { return };
        if driver.as_mut().poll(cx).is_ready() {
            self.driver = None;
        }
        let errors = self.clones[0].status().driver.errors;
        if errors > self.errors_seen {
            self.errors_seen = errors;
            self.pause_until = Instant::now() + Duration::from_secs(10) + TICK;
        }
        self.dirty &= self.is_stale();
    }

    fn poll_watcher(&mut self, id: usize, cx: &mut Context<'_>) {
        let watcher = self.watchers.get_mut(&id).unwrap();
        let ready = Service::<Request>::poll_ready(&mut watcher.balancer, cx);
        let Poll::Ready(ready) = ready else { return };
        let watcher = self.watchers.remove(&id).unwrap();
        if let Err(error) = ready {
            assert!(self.driver.is_none(), "{error} while the driver runs");
            return;
        }
        let bounded = self.settings.max_wait.is_some() || self.settings.fail_fast.is_some();
        if !self.has_room_anywhere() && !self.dirty && !self.is_stale() {
            assert!(bounded, "ready without room");
        }
        // It may have waited long enough, though there is room by now.
        let impatient = bounded;
        if watcher.then_calls {
            self.call(&mut Rng::seeded(id as u64), watcher.balancer, impatient, None);
        }
    }

    fn poll_call(&mut self, id: usize, cx: &mut Context<'_>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let builds = self.shared.builds.load(SeqCst);
        if std::mem::replace(&mut call.version, builds) != builds {
            call.failed.clear();
        }
        self.log.current.store(id, SeqCst);
        let result = call.future.as_mut().poll(cx);
        self.note();
        match result {
            Poll::Pending => {
                let call = self.calls.get_mut(&id).unwrap();
                if call.joined.is_none() {
                    call.joined = Some(self.joined);
                    self.joined += 1;
                }
            }
            Poll::Ready(result) => {
                let call = self.calls.remove(&id).unwrap();
                self.completed += 1;
                self.ended(id, call, result);
            }
        }
    }

    /// What servers have seen.
    fn note(&mut self) {
        let events = std::mem::take(&mut *self.log.events.lock().unwrap());
        for event in events {
            say!("{event:?}");
            match event {
                Event::Throttled => self.throttled += 1,
                Event::Asked { request, server, readiness } => {
                    let Some(call) = self.calls.get_mut(&request) else { continue };
                    call.touched |= readiness != Readiness::Ready;
                    if readiness == Readiness::Fails {
                        call.failed.insert(server);
                    }
                }
                Event::Called { request, server } => self.called(request, server),
            }
        }
    }

    fn called(&mut self, id: usize, server: usize) {
        let state = Arc::clone(&self.servers[server]);
        assert_eq!(state.readiness(), Readiness::Ready, "{state:?}");
        let key = state.member().key;
        let record = self.shared.record();
        let call = self.calls.get_mut(&id).unwrap();
        assert_eq!(call.called.replace(key), None, "{id} was sent twice");
        let Wants { class, home } = call.wants;
        let (touched, joined) = (call.touched, call.joined);
        if !self.dirty && !self.is_stale() {
            // A request that waits for an endpoint to get ready stays while any request may go there.
            let stayed = touched && record.eligible.contains(&key);
            let allowed = record.allowed(class).contains(&key) || home == Some(key) || stayed;
            assert!(allowed, "{id} went to {key}, which is not admitted: {record:?}");
            let current = self.known.get(&key).map(|known| known.target().state.id);
            assert_eq!(current, Some(server), "{id} went to what was replaced");
        }
        // Those that compete for it and came earlier.
        let newcomer = joined.is_none();
        let changed = self.builds() != self.built_before || self.is_rationed();
        let busy = self.calls.values().filter(|other| other.called.is_none()).count();
        // Its own timer, which logs that it waits, may wake a request before a change wakes all.
        let first = newcomer || self.time_passed;
        if touched || self.batched || first && changed || busy >= LOOK_AHEAD {
            return;
        }
        if self.shared.refuses || self.shared.strict || !self.frozen.is_empty() {
            return;
        }
        for (other, call) in &self.calls {
            let is_earlier = call.joined.is_some_and(|at| joined.is_none_or(|own| at < own));
            let waits = call.called.is_none() && !call.touched && is_earlier;
            let plain = call.wants.home.is_none() && call.attempts.is_none();
            if waits && plain && record.allowed(call.wants.class).contains(&key) {
                self.overtaken.push((id, key, *other));
            }
        }
    }

    fn ended(&mut self, id: usize, call: Call, result: Result<Response, Error>) {
        let Settings { max_wait, fail_fast, limit, .. } = self.settings;
        let waited = call.since.elapsed();
        let at_once = call.impatient || !self.frozen.is_empty();
        say!("{id} ended: {result:?}");
        match result {
            Ok(response) => {
                let key = call.called.expect("answered without a call");
                if let Some(cookie) = response.headers().get(SET_COOKIE) {
                    let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
                    self.cookies.push((cookie.to_owned(), key));
                    if self.cookies.len() > 6 {
                        self.cookies.remove(0);
                    }
                }
            }
            Err(Error::Endpoint { endpoint, .. }) => {
                let key: usize = endpoint.name().parse().unwrap();
                assert!(call.called.is_some() || call.touched, "{id} never was at {key}");
                let rng = &mut Rng::seeded(id as u64);
                if let Some(attempts) = call.attempts.filter(|_| rng.below(3) > 0) {
                    let elsewhere = rng.below(2) == 0;
                    if elsewhere {
                        attempts.begin_elsewhere()
                    } else {
                        attempts.begin_next()
                    }
                    if attempts.number() < 6 {
                        let balancer = self.clones[0].clone();
                        self.call(rng, balancer, false, Some((attempts, elsewhere)));
                    }
                }
            }
            Err(error @ Error::Refused { .. }) => {
                let may = self.growth.has_aimd
                    || self.growth.has_subset_by
                    || self.growth.has_strict_sessions
                    || call.elsewhere;
                assert!(may, "{id}: {error}");
            }
            Err(error @ Error::Overloaded { .. }) => {
                assert_eq!(call.called, None);
                assert!(limit.is_some(), "{id}: {error}");
                let enough = max_wait.is_some_and(|time| waited + TICK >= time);
                assert!(enough || at_once, "{id}: {error} after {waited:?}");
            }
            Err(error @ (Error::NoEndpoints { .. } | Error::Unavailable(_))) => {
                assert_eq!(call.called, None);
                let enough = fail_fast.is_some_and(|time| waited + TICK >= time);
                let gone = self.driver.is_none();
                assert!(enough || at_once || gone, "{id}: {error} after {waited:?}");
            }
            Err(error @ Error::Closed { .. }) => {
                let closed = self.driver.is_none() && self.shared.record().facts.is_empty();
                assert!(closed, "{id}: {error}");
            }
            Err(error) => panic!("{id}: {error}"),
        }
    }

    // What must hold when nothing is woken.

    fn has_room(&self, key: usize) -> bool {
        self.known.get(&key).is_some_and(|endpoint| {
            let member = endpoint.target().state.member();
            let used = member.used.load(SeqCst);
            let spent = endpoint.allowance().is_some_and(|allowance| allowance.left() == 0);
            member.limit.is_none_or(|limit| used < limit) && !spent
        })
    }

    fn has_room_anywhere(&self) -> bool {
        self.shared.record().eligible.iter().any(|&key| self.has_room(key))
    }

    fn is_rationed(&self) -> bool {
        self.known.values().any(|endpoint| endpoint.allowance().is_some())
    }

    fn check(&mut self) {
        if self.is_stale() || !self.frozen.is_empty() {
            self.calls.values_mut().for_each(|call| call.lack = None);
            return;
        }
        self.dirty = false;
        self.check_endpoints();
        self.check_readiness();
        let ids: Vec<_> = self.calls.keys().copied().collect();
        for id in ids {
            if self.calls[&id].called.is_none() {
                self.check_pending(id);
            }
        }
    }

    fn check_endpoints(&self) {
        let status = self.clones[0].status();
        let keys: Vec<usize> =
            status.endpoints.iter().map(|one| one.name.parse().unwrap()).collect();
        let sorted: BTreeSet<_> = keys.iter().copied().collect();
        assert!(sorted.iter().eq(self.known.keys()), "{keys:?} and {:?}", self.known.keys());
        for (key, one) in keys.iter().zip(&status.endpoints) {
            let known = &self.known[key];
            assert!(one.attributes == **known, "{key}: {one:?}");
            let stats = &known.target().state.member().stats;
            let members = self.members.iter().filter(|member| Arc::ptr_eq(&member.stats, stats));
            let used: u32 = members.map(|member| member.used.load(SeqCst)).sum();
            assert_eq!(one.outstanding, used, "requests in flight at {key}");
        }
        for server in &self.servers {
            let current = self.known.values().any(|one| one.target().state.id == server.id);
            server.retired.store(!current, SeqCst);
        }
    }

    fn check_readiness(&self) {
        let record = self.shared.record();
        let never = self.driver.is_none() && record.eligible.is_empty();
        let ready = self.has_room_anywhere();
        let mut balancer = self.clones[0].clone();
        let mut cx = Context::from_waker(Waker::noop());
        let told = Service::<Request>::poll_ready(&mut balancer, &mut cx);
        let limited = self.settings.limit.is_some() && !record.eligible.is_empty();
        let time = if limited { self.settings.max_wait } else { self.settings.fail_fast };
        match told {
            Poll::Ready(Ok(())) if ready => {}
            Poll::Ready(Ok(())) => assert_eq!(time, Some(Duration::ZERO), "ready without room"),
            Poll::Ready(Err(Error::Closed { .. })) => assert!(never && record.facts.is_empty()),
            Poll::Ready(Err(error)) => assert!(never && !record.facts.is_empty(), "{error}"),
            Poll::Pending => assert!(!ready && !never, "pending with room: {record:?}"),
        }
        for id in self.watchers.keys() {
            assert!(!ready && !never, "{id} watches, and was not told");
        }
    }

    fn check_pending(&mut self, id: usize) {
        let record = self.shared.record();
        let call = &self.calls[&id];
        let Wants { class, home } = call.wants;
        let asked: Vec<_> = self.servers.iter().filter(|one| one.holders().contains(&id)).collect();
        for state in &asked {
            let key = state.member().key;
            let current = self.known.get(&key).map(|known| known.target().state.id);
            assert_eq!(current, Some(state.id), "{id} waits for what was replaced or removed");
            let stays = home == Some(key) && record.fact(key).is_some_and(|one| one.is_draining());
            let admitted = record.eligible.contains(&key) || stays;
            assert!(admitted, "{id} waits for {key}, which is not admitted");
            let readiness = state.readiness();
            assert_eq!(readiness, Readiness::Pending, "{id} waits for {key}, which is ready");
        }
        // A session stays at an endpoint that drains, also if that is not ready.
        assert!(
            self.driver.is_some() || !record.eligible.is_empty() || !asked.is_empty(),
            "{id} waits for endpoints, and there will be none"
        );
        let strict = self.shared.strict && home.is_some_and(|home| record.fact(home).is_some());
        let done = asked.len() + call.failed.len() >= ASKED.min(record.eligible.len());
        if !strict && (asked.is_empty() || !done && !self.shared.refuses) {
            let tried = call.attempts.as_ref().filter(|_| call.elsewhere).map(Attempts::tried);
            for &key in record.allowed(class).iter().filter(|&&key| self.has_room(key)) {
                let endpoint = &self.known[&key];
                let server = endpoint.target().state.id;
                let idle = endpoint.target().state.member().stats.outstanding() == 0;
                let stats = &endpoint.target().state.member().stats;
                let been = tried.as_ref().is_some_and(|tried| tried.contains(stats));
                let here = asked.iter().any(|one| one.id == server);
                let may = !been && !here && !call.failed.contains(&server);
                let may = may && (idle || !self.shared.refuses);
                assert!(!may, "{id} waits, and {key} has room; asked {asked:?}; {record:?}");
            }
        }
        // No longer than it may.
        let lack = match () {
            () if !asked.is_empty() => Lack::Ready,
            () if record.eligible.is_empty() => Lack::Eligible,
            () => Lack::Room,
        };
        let limited = lack == Lack::Room && self.settings.limit.is_some();
        let time = if limited { self.settings.max_wait } else { self.settings.fail_fast };
        let call = self.calls.get_mut(&id).unwrap();
        let since = call.lack.filter(|(before, _)| *before == lack);
        let (_, since) = *call.lack.insert(since.unwrap_or_else(|| (lack, Instant::now())));
        if let Some(time) = time {
            let waited = since.elapsed();
            assert!(waited <= time + TICK, "{id} waits for {waited:?}, for {lack:?}");
        }
    }

    /// Everything gets well; then every request ends, and nothing is left.
    pub(crate) async fn end(&mut self, seed: u64) {
        self.thaw();
        self.settle();
        let rng = &mut Rng::seeded(seed);
        for (number, handle) in self.shared.controls.shifts.iter().enumerate() {
            for (_, zone) in ZONES {
                self.shared.away.lock().unwrap()[number].remove(zone);
                handle.restore(zone, Duration::ZERO);
            }
        }
        for (_, shares) in &*self.shared.controls.shares.lock().unwrap() {
            let groups = shares.get();
            shares.set(groups.iter().map(|(name, _)| (name, 1))).unwrap();
        }
        if self.has_source() {
            let mut all = Vec::new();
            for key in 0..KEYS {
                let endpoint = self.endpoint(rng, key, true);
                all.push((key, endpoint));
            }
            self.known = all.iter().cloned().collect();
            self.send(Update::Reset(all));
        }
        for server in &self.servers {
            server.set_answer(Answer::Succeeds);
            server.set_readiness(Readiness::Ready);
        }
        for _ in 0..4 {
            for server in &self.servers {
                while server.answer(Answer::Succeeds) {}
            }
            self.thaw();
            self.settle();
            tokio::time::advance(Duration::from_secs(70)).await;
            self.time_passed = true;
            self.settle();
        }
        self.thaw();
        self.settle();
        let rationed = self.is_rationed();
        if !self.shared.record().eligible.is_empty() && !rationed {
            let left: Vec<_> = self.calls.keys().collect();
            assert!(left.is_empty(), "{left:?} never end");
        }
        self.watchers.clear();
        self.calls.clear();
        self.settle();
        for one in self.clones[0].status().endpoints {
            assert_eq!(one.outstanding, 0, "{one:?}");
        }
        for member in &self.members {
            assert_eq!(member.used.load(SeqCst), 0, "{member:?}");
        }
        self.removed.clear();
        for server in &self.servers {
            let retired = server.retired.load(SeqCst);
            assert!(!retired || Arc::strong_count(server) == 1, "{server:?} is held on to");
        }
        // The last balancer goes, and the driver with it.
        self.clones.clear();
        assert!(self.driver.is_none() || self.ready.lock().unwrap().contains(&DRIVER));
        if let Some(mut driver) = self.driver.take() {
            let ended = driver.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(ended.is_ready(), "the driver outlives its balancers");
        }
    }
}

fn draw<V: Clone>(rng: &mut Rng, map: &BTreeMap<usize, V>) -> Option<(usize, V)> {
    let (key, value) = map.iter().nth(rng.below(map.len().max(1)))?;
    Some((*key, value.clone()))
}

fn draw_readiness(rng: &mut Rng) -> Readiness {
    match rng.below(8) {
        0..5 => Readiness::Ready,
        5..7 => Readiness::Pending,
        _ => Readiness::Fails,
    }
}

fn draw_answer(rng: &mut Rng) -> Answer {
    match rng.below(12) {
        0..6 => Answer::Holds,
        6..9 => Answer::Succeeds,
        9 => Answer::Fails,
        10 => Answer::Throttled(ThrottleReason::ReservedFunctionConcurrentInvocations),
        _ => Answer::Throttled(ThrottleReason::ConcurrentInvocations),
    }
}
