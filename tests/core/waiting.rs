//! Requests that wait for room: which of them delay which, in what order they are served, and that no
//! slot is lost.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    future::{Future, Pending, pending},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake},
    time::Duration,
};

use futures::FutureExt;
use proptest::prelude::{Just, Strategy as _, any, prop, prop_oneof, proptest};
use tokio::time::{Instant, timeout};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Service, ServiceExt as _};
use tower_lb::{
    Balancer, BoxError, Error,
    balance::{Builder, Driver},
    discover::{self, Channel, Discover, DiscoverExt as _, Handle, Update},
    endpoint::{Allowance, Endpoint, Health},
    outcome::{Attempts, Carry, Following, Meter, OnResponse, ResultOnly},
    strategy::{
        BuildContext, Built, Candidate, Candidates, P2c, Pick, PickContext, PickFirst, Random, Rng,
        RoundRobin, Strategy, SubsetBy, Tiers,
    },
};
use tower_lb_test_support::{Backend, Readiness, drive};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A request that may go to some endpoints only.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    id: usize,
    allowed: BTreeSet<&'static str>,
}

fn request(id: usize, allowed: &[&'static str]) -> Request {
    Request { id, allowed: allowed.iter().copied().collect() }
}

/// Picks an endpoint that the request allows; a full one if all of those are full.
#[derive(Clone)]
struct Allowed;

struct AllowedPicker(Candidates);

impl Strategy for Allowed {
    type Picker = AllowedPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<AllowedPicker> {
        Built::new(AllowedPicker(candidates.clone()), candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

impl Pick<Request> for AllowedPicker {
    fn pick(&self, request: &Request, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let start = context.rng().below(self.0.len().max(1));
        let allowed = || {
            let all = (start..self.0.len()).chain(0..start).filter_map(|index| self.0.get(index));
            all.filter(|candidate| request.allowed.contains(candidate.name()))
        };
        allowed().find(|candidate| context.accepts(candidate)).or_else(|| allowed().next())
    }
}

/// Which request came to which endpoint, in order.
type Log = Arc<Mutex<Vec<(usize, &'static str)>>>;

/// Records requests, and never answers.
#[derive(Clone)]
struct Server {
    name: &'static str,
    log: Log,
}

impl Service<Request> for Server {
    type Response = ();
    type Error = Infallible;
    type Future = Pending<Result<(), Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.log.lock().unwrap().push((request.id, self.name));
        pending()
    }
}

/// Wake-ups in order. A task that is in the list is not added again.
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

type Call = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// A balancer with a limit, and an executor that polls what was woken, in order or at random.
struct World {
    balancer: Balancer<Server, Allowed>,
    handle: Handle<&'static str, Server>,
    driver: Pin<Box<Driver<Channel<&'static str, Server>, Allowed>>>,
    log: Log,
    ready: Ready,
    calls: BTreeMap<usize, Call>,
    waiting: BTreeMap<usize, Request>,
    in_flight: BTreeMap<usize, &'static str>,
    next: usize,
    polls: usize,
    rng: Rng,
}

impl World {
    fn new(endpoints: usize, limit: u32, seed: u64) -> Self {
        let (handle, stream) = discover::channel();
        let builder = Balancer::builder().max_outstanding(limit).seed(seed);
        let (balancer, driver) = builder.build(Allowed, stream).unwrap();
        let mut world = Self {
            balancer,
            handle,
            driver: Box::pin(driver),
            log: Log::default(),
            ready: Ready::default(),
            calls: BTreeMap::new(),
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next: 0,
            polls: 0,
            rng: Rng::seeded(seed),
        };
        NAMES[..endpoints].iter().for_each(|name| world.insert(name));
        world
    }

    fn insert(&mut self, name: &'static str) {
        let server = Server { name, log: Arc::clone(&self.log) };
        self.handle.insert(name, server).unwrap();
        drive(&mut self.driver);
    }

    /// Removes an endpoint with what it serves, and the requests that want no other.
    fn remove(&mut self, name: &'static str, left: &[&'static str]) {
        let gone = |id: &usize| {
            let may_go = |request: &Request| left.iter().any(|name| request.allowed.contains(name));
            self.served(*id) == Some(name) || self.waiting.get(id).is_some_and(|one| !may_go(one))
        };
        let gone: Vec<_> = self.calls.keys().copied().filter(gone).collect();
        gone.into_iter().for_each(|id| self.drop(id));
        self.handle.remove(name).unwrap();
        drive(&mut self.driver);
    }

    /// Sends a request; its number.
    fn call(&mut self, allowed: &[&'static str]) -> usize {
        let id = self.next;
        self.next += 1;
        let request = request(id, allowed);
        self.waiting.insert(id, request.clone());
        let call = self.balancer.call(request);
        self.calls.insert(id, Box::pin(call));
        self.poll(id);
        id
    }

    fn poll(&mut self, id: usize) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let waker = Arc::new(Task { id, ready: Arc::clone(&self.ready) }).into();
        self.polls += 1;
        if let Poll::Ready(result) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
            panic!("{id} ended: {result:?}");
        }
        self.note();
    }

    fn note(&mut self) {
        for (id, name) in self.log.lock().unwrap().drain(..) {
            self.waiting.remove(&id);
            self.in_flight.insert(id, name);
        }
    }

    fn drop(&mut self, id: usize) {
        self.waiting.remove(&id);
        self.in_flight.remove(&id);
        self.calls.remove(&id);
    }

    /// Ends the oldest request at an endpoint, without polling anybody.
    fn release(&mut self, name: &str) {
        let oldest = self.in_flight.iter().find(|(_, at)| **at == name).map(|(&id, _)| id);
        if let Some(id) = oldest {
            self.drop(id);
        }
    }

    /// Polls until nothing is woken.
    fn settle(&mut self, shuffled: bool) {
        let mut rounds = 0;
        loop {
            let mut woken = std::mem::take(&mut *self.ready.lock().unwrap());
            if woken.is_empty() {
                return;
            }
            rounds += 1;
            assert!(rounds < 10_000, "it never rests");
            while !woken.is_empty() {
                let next = if shuffled { self.rng.below(woken.len()) } else { 0 };
                let id = woken.remove(next).unwrap();
                self.poll(id);
            }
        }
    }

    fn at(&self, name: &str) -> usize {
        self.in_flight.values().filter(|at| **at == name).count()
    }

    fn served(&self, id: usize) -> Option<&'static str> {
        self.in_flight.get(&id).copied()
    }

    fn is_ready(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        Service::<Request>::poll_ready(&mut self.balancer.clone(), &mut cx).is_ready()
    }
}

/// The version that a request wants.
fn wanted<'a>(request: &'a &'static str, _label: &str) -> Option<&'a str> {
    Some(request)
}

#[tokio::test(start_paused = true)]
async fn a_request_delays_only_those_that_compete_for_the_same_endpoint() {
    let (a, b) = (Backend::holding("a"), Backend::new("b"));
    let endpoints = [("a", a.clone()), ("b", b)]
        .map(|(name, backend)| (name, Endpoint::new(backend).with_metadata("version", name)));
    let strategy = SubsetBy::new(RoundRobin::new(), ["version"], wanted);
    let builder = Balancer::builder().max_outstanding(1);
    let (mut balancer, driver) = builder.build(strategy, discover::list(endpoints)).unwrap();
    drive(&mut Box::pin(driver));
    let mut first = task::spawn(balancer.call("a"));
    let mut second = task::spawn(balancer.call("a"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(Service::<&'static str>::poll_ready(&mut balancer, &mut cx).is_ready());
    assert_eq!(balancer.call("b").now_or_never().unwrap().unwrap(), "b");
    a.answer();
    assert_eq!(assert_ready_ok!(first.poll()), "a");
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(a.calls(), 2);
}

/// It may wait for as long as it may wait for room, though there is room elsewhere.
#[tokio::test(start_paused = true)]
async fn a_request_whose_endpoint_is_full_fails_as_overloaded_after_max_wait() {
    let endpoints = ["a", "b"]
        .map(|name| (name, Endpoint::new(Backend::holding(name)).with_metadata("version", name)));
    let strategy = SubsetBy::new(RoundRobin::new(), ["version"], wanted);
    let limit = Duration::from_millis(250);
    let builder = Balancer::builder().max_outstanding(1).max_wait(limit);
    let (mut balancer, driver) = builder.build(strategy, discover::list(endpoints)).unwrap();
    drive(&mut Box::pin(driver));
    let _first = balancer.call("a");
    let start = Instant::now();
    let second = timeout(Duration::from_secs(60), balancer.call("a")).await.expect("it ends");
    assert!(matches!(second, Err(Error::Overloaded { max_outstanding: 1, .. })), "{second:?}");
    assert!(start.elapsed().abs_diff(limit) <= Duration::from_millis(1));
}

#[test]
fn those_that_compete_are_served_in_order_though_asked_for_another_slot() {
    let mut world = World::new(2, 1, 1);
    world.call(&["a"]);
    world.call(&["b"]);
    let (b, first, second) = (world.call(&["b"]), world.call(&["a"]), world.call(&["a"]));
    world.release("a");
    world.release("b");
    world.settle(false);
    assert_eq!((world.served(b), world.served(first)), (Some("b"), Some("a")));
    assert_eq!(world.served(second), None);
}

#[test]
fn a_newcomer_takes_nothing_that_is_kept_for_a_request_in_line() {
    let mut world = World::new(1, 1, 1);
    world.call(&["a"]);
    let waiting = world.call(&["a"]);
    world.release("a");
    assert!(!world.is_ready());
    let newcomer = world.call(&["a"]);
    world.settle(false);
    assert_eq!((world.served(waiting), world.served(newcomer)), (Some("a"), None));
}

#[test]
fn a_slot_that_was_offered_to_a_request_that_is_never_polled_goes_to_another() {
    let mut world = World::new(3, 1, 1);
    NAMES[..3].iter().for_each(|name| _ = world.call(&[name]));
    let stuck = world.call(&["a"]);
    let waiting: Vec<_> = (0..9).map(|n| world.call(&[NAMES[n % 3]])).collect();
    world.release("a");
    assert_eq!(std::mem::take(&mut *world.ready.lock().unwrap()), [stuck], "and forgotten");
    for _ in 0..3 {
        for name in ["b", "c"] {
            world.release(name);
            world.settle(false);
        }
    }
    let at = |name| waiting.iter().filter(|&&id| world.served(id) == Some(name)).count();
    // Of each, the last to be served is still in flight.
    assert_eq!((at("b"), at("c"), at("a")), (1, 1, 1), "one that wants it has got the slot");
    let rest = waiting.iter().filter(|id| world.waiting.contains_key(id)).count();
    assert_eq!(rest, 2, "the others that wait for the same endpoint");
    world.drop(stuck);
    world.settle(false);
    assert_eq!(world.at("a"), 1);
}

#[test]
fn a_request_that_is_never_polled_holds_up_none_for_other_endpoints() {
    let mut world = World::new(2, 1, 1);
    NAMES[..2].iter().for_each(|name| _ = world.call(&[name]));
    let stuck = world.call(&["a"]);
    // It is asked about b, which it does not want, and never answers.
    for _ in 0..3 {
        world.release("b");
        world.ready.lock().unwrap().retain(|id| *id != stuck);
        let newcomer = world.call(&["b"]);
        world.settle(false);
        assert_eq!(world.served(newcomer), Some("b"));
    }
    let (waiting, newcomer) = (world.call(&["b"]), world.call(&["b"]));
    world.release("b");
    world.ready.lock().unwrap().retain(|id| *id != stuck);
    world.settle(false);
    assert_eq!((world.served(waiting), world.served(newcomer)), (Some("b"), None));
}

/// Slots that are of no use, because nothing is left of the allowance, don't go round in the line.
#[test]
fn slots_beyond_an_allowance_are_free_and_the_line_rests() {
    let mut world = World::new(0, 3, 1);
    let server = Server { name: "a", log: Arc::clone(&world.log) };
    let allowance = Allowance::of(3);
    world.handle.insert("a", Endpoint::new(server).with_allowance(allowance.clone())).unwrap();
    drive(&mut world.driver);
    let served = [(); 3].map(|()| world.call(&["a"]));
    let waiting = [(); 5].map(|()| world.call(&["a"]));
    served.into_iter().for_each(|id| world.drop(id));
    world.settle(false);
    assert_eq!(waiting.map(|id| world.served(id)), [None; 5]);
    assert_eq!(allowance.left(), 0);
}

/// Each request in line is asked once about an endpoint that it does not want.
#[test]
fn a_long_line_for_one_endpoint_is_asked_once_about_another() {
    let mut world = World::new(2, 1, 1);
    NAMES[..2].iter().for_each(|name| _ = world.call(&[name]));
    (0..500).for_each(|_| _ = world.call(&["a"]));
    for round in 0..20 {
        let waiting = world.call(&["b"]);
        let before = world.polls;
        world.release("b");
        world.settle(false);
        assert_eq!(world.served(waiting), Some("b"));
        let polls = world.polls - before;
        assert!(polls < if round == 0 { 600 } else { 5 }, "{polls} in round {round}");
    }
}

#[test]
fn a_new_endpoint_is_for_those_that_wait() {
    let mut world = World::new(1, 1, 1);
    world.call(&["a"]);
    let waiting = [world.call(&["a"]), world.call(&["b"]), world.call(&["a", "b"])];
    world.insert("b");
    world.settle(false);
    assert_eq!(waiting.map(|id| world.served(id)), [None, Some("b"), None]);
    world.release("b");
    world.settle(false);
    assert_eq!(waiting.map(|id| world.served(id)), [None, None, Some("b")]);
}

#[derive(Clone, Debug)]
enum Step {
    Call(BTreeSet<usize>),
    /// Ends requests at these endpoints before anything is polled.
    Release(Vec<usize>),
    /// Gives up one of those that wait.
    GiveUp(usize),
    /// One that was woken is never polled until it is dropped.
    Freeze,
    Remove(usize),
    Insert(usize),
}

fn step(endpoints: usize) -> impl proptest::strategy::Strategy<Value = Step> {
    let one = 0..endpoints;
    prop_oneof![
        8 => prop::collection::btree_set(one.clone(), 1..=endpoints).prop_map(Step::Call),
        8 => prop::collection::vec(one.clone(), 1..6).prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::GiveUp),
        1 => Just(Step::Freeze),
        1 => one.clone().prop_map(Step::Remove),
        1 => one.prop_map(Step::Insert),
    ]
}

/// Checks after each step that no request has overtaken an older one that could have gone to the same
/// endpoint, and that no slot is free that a request waits for.
fn check_order(limit: u32, seed: u64, steps: Vec<Step>) {
    let mut world = World::new(4, limit, seed);
    let mut known = NAMES.to_vec();
    for step in steps {
        match step {
            Step::Call(allowed) => {
                let allowed: Vec<_> = allowed.iter().map(|&index| NAMES[index]).collect();
                if allowed.iter().any(|name| known.contains(name)) {
                    world.call(&allowed);
                    world.settle(false);
                }
            }
            Step::Remove(index) if known.len() > 1 && known.contains(&NAMES[index]) => {
                known.retain(|other| *other != NAMES[index]);
                world.remove(NAMES[index], &known);
                world.settle(false);
            }
            Step::Insert(index) => {
                // Also one that is there: the same service, and a change all the same.
                if !known.contains(&NAMES[index]) {
                    known.push(NAMES[index]);
                }
                world.insert(NAMES[index]);
                world.settle(false);
            }
            Step::Release(endpoints) => {
                let before = world.in_flight.clone();
                endpoints.iter().for_each(|&index| world.release(NAMES[index]));
                world.settle(false);
                for (id, name) in &world.in_flight {
                    if before.contains_key(id) {
                        continue;
                    }
                    let passed = world.waiting.range(..id);
                    let passed = passed.filter(|(_, other)| other.allowed.contains(name));
                    assert_eq!(passed.count(), 0, "{} overtook at {}", id, name);
                }
            }
            Step::GiveUp(index) if !world.waiting.is_empty() => {
                let id = *world.waiting.keys().nth(index % world.waiting.len()).unwrap();
                world.drop(id);
                world.settle(false);
            }
            // What is never polled can't keep its turn.
            Step::GiveUp(_) | Step::Freeze | Step::Remove(_) => {}
        }
        for request in world.waiting.values() {
            for name in request.allowed.iter().filter(|name| known.contains(name)) {
                assert_eq!(world.at(name), limit as usize, "{} idles", name);
            }
        }
    }
}

/// Checks that no endpoint gets more than its limit, that no slot is free in the end that a request
/// waits for, and that none is lost.
fn check_slots(limit: u32, seed: u64, steps: Vec<Step>) {
    let mut world = World::new(4, limit, seed);
    let mut frozen = Vec::new();
    let mut known = NAMES.to_vec();
    for step in steps {
        match step {
            Step::Call(allowed) => {
                let allowed: Vec<_> = allowed.iter().map(|&index| NAMES[index]).collect();
                if allowed.iter().any(|name| known.contains(name)) {
                    world.call(&allowed);
                }
            }
            Step::Release(endpoints) => {
                endpoints.iter().for_each(|&index| world.release(NAMES[index]));
                if seed % 2 == 0 {
                    world.settle(true);
                }
            }
            Step::GiveUp(index) if !world.waiting.is_empty() => {
                let id = *world.waiting.keys().nth(index % world.waiting.len()).unwrap();
                world.drop(id);
            }
            Step::Freeze => frozen.extend(world.ready.lock().unwrap().pop_front()),
            Step::Remove(index) if known.len() > 1 && known.contains(&NAMES[index]) => {
                let name = NAMES[index];
                known.retain(|other| *other != name);
                world.remove(name, &known);
            }
            Step::Insert(index) if !known.contains(&NAMES[index]) => {
                known.push(NAMES[index]);
                world.insert(NAMES[index]);
            }
            _ => {}
        }
        for name in NAMES {
            assert!(world.at(name) <= limit as usize, "{} has too many", name);
        }
    }
    frozen.into_iter().for_each(|id| world.drop(id));
    world.settle(true);
    for request in world.waiting.values() {
        for name in request.allowed.iter().filter(|name| known.contains(name)) {
            assert_eq!(world.at(name), limit as usize, "{} idles", name);
        }
    }
    let all: Vec<_> = world.calls.keys().copied().collect();
    all.into_iter().for_each(|id| world.drop(id));
    for name in known {
        (0..limit).for_each(|_| _ = world.call(&[name]));
        assert_eq!(world.at(name), limit as usize, "{} has lost a slot", name);
    }
}

/// Polled in another order than woken, a request loses offers that it has not decided about.
#[test]
fn a_request_that_lost_an_offer_is_asked_again() {
    use Step::{Call, GiveUp, Release, Remove};
    let call = |endpoint| Call(BTreeSet::from([endpoint]));
    let release = |endpoints: &[usize]| Release(endpoints.to_vec());
    let mut steps: Vec<_> = [1, 1, 0, 0, 1, 2, 2].map(call).into();
    steps.extend([release(&[2]), release(&[0]), Remove(1), release(&[0, 2]), call(0), call(2)]);
    steps.extend([release(&[2, 0]), call(2), release(&[2])]);
    steps.extend([2, 2, 3, 3, 2, 0, 3, 3, 0, 2].map(call));
    steps.extend([release(&[2]), call(0), Call(BTreeSet::from([2, 3]))]);
    steps.extend([0, 2, 3].map(call));
    steps.extend([release(&[2, 2, 0]), call(3), Call(BTreeSet::from([0, 2])), call(2)]);
    steps.extend([GiveUp(2_075_288_681_353_941_644), release(&[3]), release(&[3, 0]), call(2)]);
    steps.extend([release(&[3]), call(0), release(&[0])]);
    check_slots(3, 11_637_524_462_034_140_515, steps);
}

/// Several requests decide at once, and one of them cedes a slot while it holds another.
#[test]
fn a_request_that_cedes_a_slot_still_decides_about_its_other_one() {
    use Step::{Call, GiveUp, Insert, Release, Remove};
    let call = |endpoint| Call(BTreeSet::from([endpoint]));
    let mut steps: Vec<_> = [0, 0, 0, 0].map(call).into();
    steps.push(Remove(0));
    steps.extend([1, 1, 2, 2, 2, 0].map(call));
    steps.extend([Release(vec![2]), Release(vec![0]), call(3), Release(vec![1])]);
    steps.extend([GiveUp(0), Release(vec![1, 3])]);
    steps.extend([1, 2, 3, 3, 1].map(call));
    steps.extend([Release(vec![1]), Release(vec![3]), call(2), call(1), Insert(1), call(1)]);
    steps.push(Release(vec![1, 3, 2]));
    check_order(1, 2_531_237_028_257_552_899, steps);
}

/// The older request wanted an endpoint, and leaves with a slot that another one ceded to it.
#[test]
fn a_request_that_leaves_takes_no_slot_from_the_holder_it_waited_for() {
    use Step::{Call, Release};
    let call = |endpoint| Call(BTreeSet::from([endpoint]));
    let mut steps: Vec<_> = [0, 0, 1, 1, 1].map(call).into();
    steps.extend([Release(vec![0]), call(1), call(2), Release(vec![0])]);
    steps.extend([2, 0, 3, 0, 2, 3, 3, 3, 0].map(call));
    steps.extend([Release(vec![2, 1]), call(3), Release(vec![0, 1, 3, 3])]);
    check_order(2, 55_768_515_630_411_782, steps);
}

/// A request waits for a holder to decide about one offer, and later the holder has another one.
#[test]
fn a_later_offer_is_not_taken_from_its_holder() {
    use Step::{Call, Release, Remove};
    let call = |endpoints: &[usize]| Call(endpoints.iter().copied().collect());
    let mut steps = vec![Remove(1), call(&[2]), call(&[2]), call(&[0]), call(&[0])];
    steps.extend([call(&[0, 2]), call(&[0, 2]), call(&[3]), Release(vec![0, 2, 3])]);
    steps.extend([call(&[2]), Release(vec![2, 0])]);
    check_order(1, 12_813_350_862_242_916_222, steps);
}

proptest! {
    /// No request is served before an older one that could have gone to the same endpoint, and no slot
    /// is free that a request waits for.
    #[test]
    fn order_of_arrival_among_those_that_compete(
        limit in 1_u32..3,
        seed in any::<u64>(),
        steps in prop::collection::vec(step(4), 1..60),
    ) {
        check_order(limit, seed, steps);
    }

    /// Whatever happens, in whatever order woken requests are polled: no endpoint gets more than its
    /// limit, and in the end every slot is there again.
    #[test]
    fn no_slot_is_lost_or_given_twice(
        limit in 1_u32..4,
        seed in any::<u64>(),
        steps in prop::collection::vec(step(4), 1..120),
    ) {
        check_slots(limit, seed, steps);
    }
}

/// A stream of newcomers that never ends takes no slot that a request in line could use.
#[test]
fn nobody_starves_while_others_come() {
    let mut world = World::new(3, 2, 7);
    for n in 0..6 {
        world.call(&[NAMES[n % 3]]);
    }
    let patient: Vec<_> = (0..30).map(|n| world.call(&[NAMES[n % 3], NAMES[n % 2]])).collect();
    let mut turns = 0;
    while patient.iter().any(|id| world.waiting.contains_key(id)) {
        turns += 1;
        assert!(turns <= 30, "one is served for each slot");
        world.release(NAMES[turns % 3]);
        world.call(&NAMES[..3]);
        world.settle(true);
        world.call(&NAMES[..3]);
    }
}

/// Breaks the contract: picks at random, and may pick a full endpoint though another has room.
struct Blind;

struct BlindPicker(Candidates);

impl Strategy for Blind {
    type Picker = BlindPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<BlindPicker> {
        Built::new(BlindPicker(candidates.clone()), candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

impl Pick<()> for BlindPicker {
    fn pick(&self, _request: &(), context: &mut PickContext<'_>) -> Option<&Candidate> {
        self.0.get(context.rng().below(self.0.len()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_picker_that_ignores_room_starves_nobody() {
    let servers = (0..10).map(|name| {
        let server = tower::service_fn(|()| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>(())
        });
        (name, server.into())
    });
    let builder = Balancer::builder().max_outstanding(1).seed(1);
    let (balancer, driver) = builder.build(Blind, discover::list(servers)).unwrap();
    drive(&mut Box::pin(driver));
    // 30 clients send one request after the other, without end.
    let client = |mut balancer: Balancer<_, Blind>| async move {
        let mut longest = Duration::ZERO;
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            let start = Instant::now();
            balancer.call(()).await.unwrap();
            longest = longest.max(start.elapsed());
        }
        longest
    };
    let clients: Vec<_> = (0..30).map(|_| tokio::spawn(client(balancer.clone()))).collect();
    for client in clients {
        let longest = client.await.unwrap();
        assert!(longest < Duration::from_secs(4), "{longest:?}");
    }
}

type ByTurns = Balancer<Backend, RoundRobin>;

fn by_turns(
    builder: Builder,
) -> (Handle<u32, Backend>, ByTurns, Pin<Box<Driver<Channel<u32, Backend>, RoundRobin>>>) {
    let (handle, stream) = discover::channel();
    let (balancer, driver) = builder.build(RoundRobin::starting_at(0), stream).unwrap();
    (handle, balancer, Box::pin(driver))
}

fn never_ready(name: &str) -> Backend {
    let backend = Backend::new(name);
    backend.set_readiness(Readiness::Pending);
    backend
}

/// Whatever becomes of an endpoint that a request waits for, the request picks again.
#[test]
fn a_request_waits_for_no_endpoint_that_is_replaced_removed_or_taken_out() {
    let change: [fn(&Backend, Backend) -> Vec<Update<u32, Backend>>; 5] = [
        |_, new| vec![Update::Insert(1, new.into())],
        |_, new| vec![Update::Reset(vec![(1, new.into())])],
        |_, new| vec![Update::Remove(1), Update::Insert(2, new.into())],
        |old, new| {
            let ejected = Endpoint::new(old.clone()).with_health(Health::unhealthy("ejected"));
            vec![Update::Insert(1, ejected), Update::Insert(2, new.into())]
        },
        |old, new| {
            let draining = Endpoint::new(old.clone()).with_health(Health::draining("deploy"));
            vec![Update::Insert(1, draining), Update::Insert(2, new.into())]
        },
    ];
    for (limit, change) in [None, Some(1)].into_iter().flat_map(|l| change.map(|c| (l, c))) {
        let builder = Balancer::builder();
        let builder = match limit {
            Some(limit) => builder.max_outstanding(limit),
            None => builder,
        };
        let (handle, mut balancer, mut driver) = by_turns(builder);
        let old = never_ready("old");
        handle.insert(1, old.clone()).unwrap();
        drive(&mut driver);
        let mut response = task::spawn(balancer.call(()));
        assert_pending!(response.poll());
        for update in change(&old, Backend::new("new")) {
            match update {
                Update::Insert(key, endpoint) => handle.insert(key, endpoint).unwrap(),
                Update::Remove(key) => handle.remove(key).unwrap(),
                Update::Reset(all) => handle.reset(all).unwrap(),
            }
        }
        drive(&mut driver);
        assert!(response.is_woken());
        assert_eq!(assert_ready_ok!(response.poll()), "new");
        let in_flight = balancer.status().endpoints.iter().map(|one| one.outstanding).sum::<u32>();
        assert_eq!((in_flight, old.calls()), (0, 0));
    }
}

/// A change of weight or health is no new service: what was begun there goes on.
#[test]
fn a_request_goes_on_waiting_for_an_endpoint_whose_attributes_change() {
    let (handle, mut balancer, mut driver) = by_turns(Balancer::builder());
    let backend = never_ready("a");
    let endpoint = Endpoint::new(backend.clone());
    handle.insert(1, endpoint.clone()).unwrap();
    drive(&mut driver);
    let mut response = task::spawn(balancer.call(()));
    assert_pending!(response.poll());
    // A clone has the same service; it is another here only to show which one is called.
    let clone = endpoint.map(|_| never_ready("clone")).with_weight(7);
    handle.insert(1, clone).unwrap();
    drive(&mut driver);
    assert_pending!(response.poll());
    assert_eq!(balancer.status().endpoints[0].outstanding, 1);
    backend.set_readiness(Readiness::Ready);
    assert!(response.is_woken());
    assert_eq!(assert_ready_ok!(response.poll()), "a");
}

/// What a request names may no longer be true of the endpoint that it waits for.
#[test]
fn a_request_picks_again_if_the_labels_of_the_endpoint_change() {
    let (handle, stream) = discover::channel::<u32, Backend>();
    let strategy = SubsetBy::new(RoundRobin::starting_at(0), ["version"], wanted);
    let (mut balancer, driver) = Balancer::new(strategy, stream);
    let mut driver = Box::pin(driver);
    let backend = never_ready("a");
    let endpoint = Endpoint::new(backend.clone());
    handle.insert(1, endpoint.clone().with_metadata("version", "a")).unwrap();
    handle.insert(2, Endpoint::new(never_ready("b")).with_metadata("version", "a")).unwrap();
    drive(&mut driver);
    let mut response = task::spawn(balancer.call("a"));
    assert_pending!(response.poll());
    handle.insert(1, endpoint.with_metadata("version", "b")).unwrap();
    drive(&mut driver);
    backend.set_readiness(Readiness::Ready);
    assert!(response.is_woken());
    assert_pending!(response.poll());
    assert_eq!(backend.calls(), 0);
}

/// Is ready a second after it was first asked. A clone has to start over, as one that connects.
#[derive(Debug, Default)]
struct Handshake(Option<Pin<Box<tokio::time::Sleep>>>);

impl Clone for Handshake {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Handshake {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Service<()> for Handshake {
    type Response = ();
    type Error = Infallible;
    type Future = std::future::Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let second = || Box::pin(tokio::time::sleep(Duration::from_secs(1)));
        self.0.get_or_insert_with(second).as_mut().poll(cx).map(Ok)
    }

    fn call(&mut self, _request: ()) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

/// How long a request waits for its only endpoint while the source names it anew each 400 ms, with
/// another weight.
async fn wait_while_named_anew<T, D>(
    target: fn(&'static str) -> T,
    stage: impl FnOnce(Channel<u32, T>) -> D,
) -> Duration
where
    D: Discover<Key = u32, Target = Handshake, Error: Into<BoxError>> + Send + 'static,
    T: Send + 'static,
{
    let (handle, stream) = discover::channel();
    let mut balancer = Balancer::spawn(RoundRobin::starting_at(0), stage(stream));
    handle.insert(1, target("a")).unwrap();
    balancer.ready().await.unwrap();
    let start = Instant::now();
    let mut response = pin!(balancer.call(()));
    for weight in 1..=5 {
        if timeout(Duration::from_millis(400), &mut response).await.is_ok() {
            break;
        }
        handle.reset([(1, Endpoint::new(target("a")).with_weight(weight))]).unwrap();
    }
    start.elapsed()
}

/// A stage that keeps the service of an equal target keeps the requests that wait for it, too.
#[tokio::test(start_paused = true)]
async fn a_request_goes_on_waiting_for_a_service_that_is_kept() {
    let connected =
        wait_while_named_anew(|name| name, |stream| stream.connect(|_| Handshake::default()));
    let made = wait_while_named_anew(
        |name| name,
        |stream| {
            let make = |_| async { Ok::<_, Infallible>(Handshake::default()) };
            stream.make(tower::service_fn(make))
        },
    );
    let dedup = wait_while_named_anew(|_| Handshake::default(), |stream| stream.dedup());
    for waited in [connected.await, made.await, dedup.await] {
        assert!(waited < Duration::from_millis(1100), "{waited:?}");
    }
}

/// A stage that makes another service has the requests pick again, though the endpoint is a clone of the
/// one before.
#[test]
fn a_request_waits_for_no_service_that_was_replaced_under_a_clone() {
    let target = |endpoint: &Endpoint<()>, name: &'static str| endpoint.clone().map(|()| name);
    let change: [fn(&Handle<u32, &'static str>, Endpoint<&'static str>); 2] = [
        |handle, new| handle.insert(1, new).unwrap(),
        |handle, new| {
            handle.remove(1).unwrap();
            handle.insert(1, new).unwrap();
        },
    ];
    for (change, name) in change.into_iter().zip(["new", "old"]) {
        let (handle, stream) = discover::channel();
        let mut services = vec![Backend::new("second"), never_ready("first")];
        let stream = stream.connect(move |_| services.pop().unwrap());
        let (mut balancer, driver) = Balancer::new::<_, ()>(RoundRobin::starting_at(0), stream);
        let mut driver = Box::pin(driver);
        let endpoint = Endpoint::new(());
        handle.insert(1, target(&endpoint, "old")).unwrap();
        drive(&mut driver);
        let mut response = task::spawn(balancer.call(()));
        assert_pending!(response.poll());
        change(&handle, target(&endpoint, name));
        drive(&mut driver);
        assert!(response.is_woken());
        assert_eq!(assert_ready_ok!(response.poll()), "second");
    }
}

/// One endpoint doesn't get ready and the other is full: the request takes what comes first.
#[test]
fn a_request_that_waits_for_an_endpoint_to_get_ready_is_told_of_room_elsewhere() {
    let (handle, mut balancer, mut driver) = by_turns(Balancer::builder().max_outstanding(1));
    let (full, slow) = (Backend::holding("full"), never_ready("slow"));
    handle.insert(1, full.clone()).unwrap();
    drive(&mut driver);
    let first = balancer.call(());
    handle.insert(2, slow.clone()).unwrap();
    drive(&mut driver);
    let mut second = task::spawn(balancer.call(()));
    assert_pending!(second.poll());
    drop(first);
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!((full.calls(), slow.calls()), (2, 0));
}

/// A request that only waits for an endpoint to get ready is woken by that and by changes, not by
/// each slot that is released elsewhere.
#[test]
fn a_request_that_waits_for_an_endpoint_to_get_ready_is_not_woken_by_slots() {
    let (handle, mut balancer, mut driver) = by_turns(Balancer::builder().max_outstanding(2));
    let slow = never_ready("slow");
    handle.insert(1, slow.clone()).unwrap();
    drive(&mut driver);
    let mut first = task::spawn(balancer.call(()));
    assert_pending!(first.poll());
    let mut second = task::spawn(balancer.call(()));
    assert_pending!(second.poll());
    drop(second);
    assert!(!first.is_woken());
    slow.set_readiness(Readiness::Ready);
    assert!(first.is_woken());
    assert_eq!(assert_ready_ok!(first.poll()), "slow");
}

/// Several balancers share what an endpoint on trial may get: what one of them gives back is for
/// requests that wait in another.
#[test]
fn an_allowance_that_is_given_back_is_for_those_that_wait_elsewhere() {
    let slow = never_ready("slow");
    let endpoint = Endpoint::new(slow.clone()).with_allowance(Allowance::of(1));
    let balancers = [(); 2].map(|()| {
        let (handle, balancer, mut driver) = by_turns(Balancer::builder());
        handle.insert(1, endpoint.clone()).unwrap();
        drive(&mut driver);
        (handle, balancer, driver)
    });
    let [(one, mut first, mut driver), (_other, mut second, _driver)] = balancers;
    let mut holder = task::spawn(first.call(()));
    assert_pending!(holder.poll());
    let mut waiting = task::spawn(second.call(()));
    assert_pending!(waiting.poll());
    slow.set_readiness(Readiness::Ready);
    // The first has another endpoint now, and gives the one on trial up.
    one.reset([(2, Backend::new("other"))]).unwrap();
    drive(&mut driver);
    assert_eq!(assert_ready_ok!(holder.poll()), "other");
    assert!(waiting.is_woken());
    assert_eq!(assert_ready_ok!(waiting.poll()), "slow");
}

/// Both tiers get room at once, and neither has an endpoint for the requests that wait.
#[test]
fn requests_that_no_endpoint_is_for_are_refused_when_there_is_room() {
    let backends = [("a", 0), ("b", 1)].map(|(name, tier)| (Backend::holding(name), name, tier));
    let endpoints = backends.clone().map(|(backend, name, tier)| {
        (name, Endpoint::new(backend).with_metadata("version", name).with_tier(tier))
    });
    let strategy = Tiers::new(SubsetBy::new(RoundRobin::new(), ["version"], wanted));
    let builder = Balancer::builder().max_outstanding(1);
    let (mut balancer, driver) = builder.build(strategy, discover::list(endpoints)).unwrap();
    drive(&mut Box::pin(driver));
    let served = [balancer.call("a"), balancer.call("b")];
    let mut waiting: Vec<_> = (0..5).map(|_| task::spawn(balancer.call("c"))).collect();
    waiting.iter_mut().for_each(|one| assert_pending!(one.poll()));
    drop(served);
    let mut polls = 0;
    while let Some(at) = waiting.iter().position(|one| one.is_woken()) {
        polls += 1;
        assert!(polls < 100, "it never rests");
        if let Poll::Ready(result) = waiting[at].poll() {
            assert!(matches!(result, Err(Error::Refused { .. })), "{result:?}");
            let ended = waiting.remove(at);
            drop(ended);
        }
    }
    assert!(waiting.is_empty(), "{} are left", waiting.len());
}

/// A slot is free where nothing is left of the allowance: it is not taken in vain again and again.
#[test]
fn a_request_that_waits_for_an_allowance_rests() {
    let (handle, mut balancer, mut driver) = by_turns(Balancer::builder().max_outstanding(2));
    let endpoint = Endpoint::new(Backend::new("on trial"));
    handle.insert(1, endpoint.clone().with_allowance(Allowance::of(0))).unwrap();
    drive(&mut driver);
    let mut waiting = task::spawn(balancer.call(()));
    assert_pending!(waiting.poll());
    assert!(!waiting.is_woken());
    let mut second = task::spawn(balancer.call(()));
    assert_pending!(second.poll());
    assert!(!waiting.is_woken() && !second.is_woken());
    handle.insert(1, endpoint.with_allowance(Allowance::of(1))).unwrap();
    drive(&mut driver);
    assert!(waiting.is_woken());
    assert_eq!(assert_ready_ok!(waiting.poll()), "on trial");
    let mut polls = 0;
    while second.is_woken() {
        polls += 1;
        assert!(polls <= 3, "it never rests");
        assert_pending!(second.poll());
    }
}

/// The older one is asked about one slot while another is released that both want.
#[test]
fn nobody_overtakes_a_request_that_has_another_offer() {
    let mut world = World::new(4, 1, 1);
    NAMES.iter().for_each(|name| _ = world.call(&[name]));
    let (older, younger) = (world.call(&["b"]), world.call(&["b"]));
    // One is asked about c, the other about d; then b is released.
    world.release("c");
    world.release("d");
    world.release("b");
    // The younger one is polled first.
    world.ready.lock().unwrap().make_contiguous().reverse();
    world.settle(false);
    assert_eq!((world.served(older), world.served(younger)), (Some("b"), None));
    assert_eq!(world.call(&["c"]), 6);
    assert_eq!((world.served(6), world.at("d")), (Some("c"), 0));
}

/// All endpoints have been tried, by this attempt or the one before. What this one waits for never
/// gets ready; the other is.
#[test]
fn an_attempt_goes_where_an_earlier_one_has_been_before_it_waits() {
    let tracker = Following::new(OnResponse::new(ResultOnly));
    let (handle, stream) = discover::channel();
    let builder = Balancer::builder().track(tracker);
    let (mut balancer, driver) = builder.build(PickFirst::new(), stream).unwrap();
    let (slow, failing) = (never_ready("slow"), Backend::new("failing"));
    failing.set_failing(true);
    handle.insert(1, slow).unwrap();
    handle.insert(2, failing.clone()).unwrap();
    drive(&mut Box::pin(driver));
    let request = || {
        let (mut request, attempts) =
            (tower_lb_test_support::request::Query::idempotent(), Attempts::new());
        request.carry(attempts.clone());
        (request, attempts)
    };
    let (first, attempts) = request();
    assert!(balancer.call(first).now_or_never().unwrap().is_err());
    failing.set_failing(false);
    attempts.begin_next();
    let (mut second, _) = request();
    second.carry(attempts);
    assert_eq!(balancer.call(second).now_or_never().unwrap().unwrap(), "failing");
}

/// 20 000 requests wait. Giving up wakes nobody, and each slot wakes one request, which is polled once.
#[test]
fn a_long_line_costs_one_poll_for_each_request() {
    for n in [10_000, 20_000] {
        for order in ["from the back", "from the front", "at random"] {
            let mut world = World::new(1, 1, 3);
            world.call(&["a"]);
            let mut line: Vec<_> = (0..n).map(|_| world.call(&["a"])).collect();
            match order {
                "from the back" => line.reverse(),
                "from the front" => {}
                _ => (1..n).for_each(|index| line.swap(index, world.rng.below(index + 1))),
            }
            let polls = world.polls;
            let served = line.split_off(n / 2);
            line.into_iter().for_each(|id| world.drop(id));
            assert!(world.ready.lock().unwrap().is_empty(), "{order}");
            for _ in &served {
                world.release("a");
                world.settle(false);
            }
            assert!(world.waiting.is_empty(), "{order}");
            assert_eq!(world.polls - polls, served.len(), "{order}");
        }
    }
}

/// Every request in line is asked about each endpoint once, not with each slot.
#[test]
fn a_slot_that_nobody_wants_is_not_offered_again() {
    let mut world = World::new(2, 1, 3);
    world.call(&["a"]);
    world.call(&["b"]);
    (0..1000).for_each(|_| _ = world.call(&["a"]));
    let polls = world.polls;
    for _ in 0..1000 {
        world.release("b");
        world.settle(false);
        assert!(world.is_ready());
        world.call(&["b"]);
    }
    // One of each that comes and of each that declines; one with each slot, and of 16 slots one
    // more, that is reminded.
    assert!(world.polls - polls <= 3 * 1000 + 1000 / 16, "{}", world.polls - polls);
}

#[test]
#[should_panic(expected = "`ResponseFuture` polled after completion")]
fn a_response_that_is_polled_after_completion_panics() {
    let (mut balancer, driver) =
        Balancer::new::<_, ()>(Random, discover::list([(1, Backend::new("a").into())]));
    drive(&mut Box::pin(driver));
    let mut response = std::pin::pin!(balancer.call(()));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let answer = assert_ready!(response.as_mut().poll(&mut cx));
    assert_eq!(answer.unwrap(), "a");
    let _ = response.as_mut().poll(&mut cx);
}

#[test]
#[should_panic(expected = "`ResponseFuture` polled after completion")]
fn an_error_that_is_polled_after_completion_panics() {
    let (mut balancer, driver) =
        Balancer::new::<_, ()>(P2c::default(), discover::list::<u32, Backend>([]));
    drive(&mut Box::pin(driver));
    let mut response = std::pin::pin!(balancer.call(()));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(assert_ready!(response.as_mut().poll(&mut cx)).is_err());
    let _ = response.as_mut().poll(&mut cx);
}
