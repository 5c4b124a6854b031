//! Every wrapper around every other, over endpoints in every state: readiness tells the truth, every
//! candidate that the rules admit gets requests and no other does, notices and events of the innermost
//! strategy arrive, and the driver is idle after a bounded number of pickers.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use futures::{FutureExt, stream};
use http::Request as HttpRequest;
use tokio_test::task;
use tower::Service;
use tower_lb::{
    Balancer, Error, discover,
    endpoint::{Endpoint, Health, Locality, Tried},
    load::{Now, Outstanding},
    outcome::{LoadReport, Meter},
    strategy::{
        BoundedLoad, BuildContext, Built, Candidate, Candidates, Classified, CrossZone, Dynamic,
        Freshest, LeastLoaded, LoadAwareZones, Maglev, P2c, Panic, PanicMode, Pick, PickContext,
        PickFirst, Prequal, Probed, Random, Rendezvous, Ring, Rng, RoundRobin, Split, Strategy,
        Subset, SubsetBy, Tiers, TopK, WeightedRoundRobin, ZonalShift, ZoneAware,
    },
};
use tower_lb_test_support::{Backend, drive};

type Request = HttpRequest<()>;
type Any = Dynamic<Request>;

fn request(path: &str) -> Request {
    HttpRequest::builder().uri(path).body(()).unwrap()
}

fn key(request: &Request) -> Option<u64> {
    request.uri().path().strip_prefix('/')?.parse().ok()
}

fn zone(name: &str) -> Locality {
    Locality::new("region", name)
}

fn ask(_endpoint: &Candidate) -> Ready<Result<LoadReport, Infallible>> {
    ready(Ok(LoadReport::new().with_requests_in_flight(1.0)))
}

/// The states that endpoints can be in, all of them together.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    AllHealthy,
    AllUnhealthy,
    AllDegraded,
    AllDraining,
    OneLeft,
    None,
    AllWeightless,
}

use State::*;

const STATES: [State; 7] =
    [AllHealthy, AllUnhealthy, AllDegraded, AllDraining, OneLeft, None, AllWeightless];

impl State {
    /// Twelve endpoints in three zones and two versions, the one that is left in zone a.
    fn endpoints(self) -> Vec<(usize, Endpoint<Backend>)> {
        let count = if self == None { 0 } else { 12 };
        let endpoint = |number: usize| {
            let endpoint = Endpoint::new(Backend::new(number))
                .with_locality(zone(["a", "b", "c"][number % 3]))
                .with_metadata("version", (number % 2).to_string());
            (number, self.apply(number, endpoint))
        };
        (0..count).map(endpoint).collect()
    }

    fn apply(self, number: usize, endpoint: Endpoint<Backend>) -> Endpoint<Backend> {
        match self {
            AllHealthy | None => endpoint,
            OneLeft if number == 0 => endpoint,
            OneLeft | AllUnhealthy => endpoint.with_health(Health::unhealthy("down")),
            AllDegraded => endpoint.with_health(Health::degraded("slow")),
            AllDraining => endpoint.with_health(Health::draining("deploy")),
            AllWeightless => endpoint.with_weight(0),
        }
    }
}

/// What a wrapper does to the endpoints that requests may go to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Passes,
    /// One endpoint can take the traffic of all, so that there is no reason for a panic.
    Suffices,
    Opens,
    Closes,
    /// Zone c is away.
    Shifts,
    /// To zone a.
    Keeps,
}

type Wrap = fn(Any) -> Any;

fn wrappers() -> Vec<(&'static str, Rule, Wrap)> {
    use Rule::*;
    let wrappers: &[(&'static str, Rule, Wrap)] = &[
        ("tiers", Passes, |inner| Any::new(Tiers::new(inner))),
        ("backup tiers", Suffices, |inner| {
            Any::new(Tiers::new(inner).all_or_nothing().backup_from(0))
        }),
        ("panic", Opens, |inner| Any::new(Panic::new(inner))),
        ("panic, best", Opens, |inner| Any::new(Panic::new(inner).mode(PanicMode::OpenToBest))),
        ("panic, closed", Closes, |inner| Any::new(Panic::new(inner).mode(PanicMode::Closed))),
        ("zones", Passes, |inner| {
            Any::new(ZoneAware::new(zone("a"), inner).min_endpoints(1).unwrap())
        }),
        ("zones, elsewhere", Passes, |inner| Any::new(ZoneAware::new(zone("x"), inner))),
        ("zones, never crossed", Keeps, |inner| {
            Any::new(ZoneAware::new(zone("a"), inner).cross_zone(CrossZone::Never))
        }),
        ("zones, always crossed", Passes, |inner| {
            Any::new(ZoneAware::new(zone("a"), inner).cross_zone(CrossZone::Always))
        }),
        ("zones by load", Passes, |inner| Any::new(LoadAwareZones::new(zone("a"), inner))),
        ("zonal shift", Shifts, |inner| {
            let shift = ZonalShift::new(inner);
            shift.handle().shift_away("c");
            Any::new(shift)
        }),
        ("subset", Passes, |inner| Any::new(Subset::new(inner, [("version", "1")]).or_any())),
        ("subset by request", Passes, |inner| {
            Any::new(SubsetBy::new(inner, ["version"], |_: &Request, _| Some("0")).or_any())
        }),
        ("split", Passes, |inner| {
            let version =
                |wanted| move |one: &Candidate| one.metadata().get("version") == Some(wanted);
            let split = Split::builder()
                .group("stable", 95, version("0"), inner.clone())
                .group("canary", 5, version("1"), inner.clone())
                .group("nobody's", 5, version("2"), inner);
            Any::new(split.build().unwrap().0)
        }),
        ("split with a share of 0", Passes, |inner| {
            let split = Split::builder()
                .group("next", 0, |_: &Candidate| false, inner.clone())
                .group("all", 1, |_: &Candidate| true, inner);
            Any::new(split.sticky_by(key).build().unwrap().0)
        }),
        ("classes", Passes, |inner| Any::new(Classified::new(|_: &Request| 1, inner))),
        ("probed", Passes, |inner| Any::new(Probed::new(ask, inner))),
        #[cfg(feature = "sticky")]
        ("sticky", Passes, |inner| {
            use tower_lb::http::sticky::{SessionKey, Sessions};
            let sessions = Sessions::builder(SessionKey::new([7; 32]).unwrap()).build().unwrap();
            Any::new(sessions.stick(inner))
        }),
        #[cfg(feature = "lambda")]
        ("AIMD", Passes, |inner| Any::new(tower_lb::lambda::Aimd::new(inner))),
        #[cfg(feature = "lambda")]
        ("throttles", Passes, |inner| {
            Any::new(tower_lb::lambda::Throttles::new().avoid_throttled(inner))
        }),
    ];
    wrappers.to_vec()
}

fn strategies() -> Vec<(&'static str, Any)> {
    vec![
        ("round robin", Any::new(RoundRobin::new())),
        ("random", Any::new(Random)),
        ("p2c", Any::new(P2c::default())),
        ("least loaded", Any::new(LeastLoaded::default())),
        ("weighted round robin", Any::new(WeightedRoundRobin::new())),
        ("rendezvous", Any::new(Rendezvous::new(key))),
        ("maglev", Any::new(Maglev::new(key).table_size(1009).unwrap())),
        ("ring", Any::new(Ring::new(key))),
        ("bounded load", Any::new(BoundedLoad::new(Ring::new(key), 1.25).unwrap())),
        ("top k", Any::new(TopK::new(Rendezvous::new(key), 3, Outstanding).unwrap())),
        ("pick first", Any::new(PickFirst::new())),
        ("freshest", Any::new(Freshest::default())),
        ("prequal", Any::new(Prequal::new(ask))),
    ]
}

/// What the rules, the outermost first, admit of the endpoints, and whether one of them panics.
fn admitted(rules: &[Rule], state: State) -> (BTreeSet<usize>, bool) {
    let numbers: BTreeSet<usize> = (0..if state == None { 0 } else { 12 }).collect();
    let nobody = BTreeSet::new();
    let (healthy, mut counted) = match state {
        AllHealthy | AllDegraded => (numbers.clone(), numbers),
        AllUnhealthy => (nobody, numbers),
        OneLeft => ([0].into(), numbers),
        AllDraining | None | AllWeightless => (nobody.clone(), nobody),
    };
    let mut eligible = healthy.clone();
    let (mut panics, mut suffices) = (false, false);
    for rule in rules {
        let holds = !suffices && 2 * eligible.len() < counted.len();
        let is_left = |number: &usize| number % 3 != 2;
        match rule {
            Rule::Suffices => suffices |= !eligible.is_empty(),
            Rule::Opens if holds => {
                panics = true;
                eligible.clone_from(&counted);
            }
            Rule::Closes if holds => {
                panics = true;
                (eligible, counted) = Default::default();
            }
            Rule::Shifts if eligible.iter().chain(&healthy).any(is_left) => {
                eligible.retain(is_left);
                counted.retain(is_left);
            }
            Rule::Keeps => {
                eligible.retain(|number| number % 3 == 0);
                counted.retain(|number| number % 3 == 0);
            }
            Rule::Passes | Rule::Opens | Rule::Closes | Rule::Shifts => {}
        }
    }
    (eligible, panics)
}

/// A panic rule lets no endpoint through.
fn is_closed(rules: &[Rule], state: State) -> bool {
    rules.contains(&Rule::Closes) && matches!(state, AllUnhealthy | OneLeft)
}

/// Picks at random, has something to say, and wants to build anew when it is told to.
#[derive(Clone, Default)]
struct Spy(Arc<Signal>);

#[derive(Default)]
struct Signal {
    version: AtomicUsize,
    built: AtomicUsize,
    wakers: Mutex<Vec<Waker>>,
}

impl Signal {
    fn send(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
        std::mem::take(&mut *self.wakers.lock().unwrap()).into_iter().for_each(Waker::wake);
    }
}

const NOTICE: &str = "the spy is here";

impl Strategy for Spy {
    type Picker = <Random as Strategy>::Picker;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let signal = Arc::clone(&self.0);
        signal.built.fetch_add(1, Ordering::SeqCst);
        let seen = signal.version.load(Ordering::SeqCst);
        context.rebuild_on(stream::poll_fn(move |cx| {
            signal.wakers.lock().unwrap().push(cx.waker().clone());
            let changed = signal.version.load(Ordering::SeqCst) != seen;
            if changed { Poll::Ready(Some(())) } else { Poll::Pending }
        }));
        Random.build(candidates, context).with_notices([NOTICE.to_owned()])
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Option::None
    }
}

/// Calls `check` with each strategy in each wrapper, and with `inner` in two of them.
fn each_composition(inner: &Any, mut check: impl FnMut(&str, &[Rule], Any)) {
    for (outer_name, outer, wrap_again) in wrappers() {
        for (name, strategy) in strategies() {
            check(&format!("{outer_name} / {name}"), &[outer], wrap_again(strategy));
        }
        for (inner_name, rule, wrap) in wrappers() {
            let name = format!("{outer_name} / {inner_name}");
            check(&name, &[outer, rule], wrap_again(wrap(inner.clone())));
        }
    }
}

fn number(candidate: &Candidate) -> usize {
    candidate.name().parse().unwrap()
}

#[test]
fn requests_go_to_all_that_the_rules_admit_and_to_no_others() {
    each_composition(&Any::new(Spy::default()), |name, rules, strategy| {
        for state in STATES {
            let name = format!("{name}, {state:?}");
            let mut strategy = strategy.clone();
            let endpoints = state.endpoints();
            let all = Candidates::for_strategy(
                &strategy,
                endpoints.iter().map(|(number, endpoint)| (number, endpoint)),
            );
            let built = strategy.build(&all, &mut BuildContext::new());
            let (expected, panics) = admitted(rules, state);
            let eligible: BTreeSet<_> = built.eligible().iter().map(number).collect();
            assert_eq!(eligible, expected, "{name}");
            let said = |what| built.notices().iter().any(|notice| notice.contains(what));
            assert_eq!(said("panic: "), panics, "{name}: {:?}", built.notices());
            // Rules divide endpoints into parts: without any, or behind a rule that is closed, there is none.
            let no_part = state == None || is_closed(rules, state);
            assert!(rules.len() < 2 || no_part || said(NOTICE), "{name}: {:?}", built.notices());

            let mut rng = Rng::seeded(7);
            let mut pick = |user: usize, tried: &Tried| {
                let request = request(&format!("/{user}"));
                let mut context = PickContext::new(&mut rng, Now::lazy(), tried);
                built.picker().pick(&request, &mut context).map(number)
            };
            for user in 0..20 {
                let picked = pick(user, &Tried::none());
                assert_eq!(picked.is_some(), !expected.is_empty(), "{name}");
                assert!(picked.is_none_or(|picked| expected.contains(&picked)), "{name}");
            }
            // Each gets the requests that have been to all others.
            for candidate in built.eligible().iter() {
                let mut tried = Tried::none();
                let others = all.all().filter(|one| one.name() != candidate.name());
                others.for_each(|one| tried.add(one.stats()));
                let last = number(candidate);
                assert_eq!(pick(last, &tried), Some(last), "{name}");
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn readiness_is_what_a_call_finds() {
    each_composition(&Any::new(P2c::default()), |name, rules, strategy| {
        for state in STATES {
            let name = format!("{name}, {state:?}");
            let list = discover::list(state.endpoints());
            let (mut balancer, driver) = Balancer::new(strategy.clone(), list);
            let mut driver = Box::pin(driver);
            let ended = drive(&mut driver);
            let (expected, _) = admitted(rules, state);
            let ready = poll_fn(|cx| Service::<Request>::poll_ready(&mut balancer, cx));
            let ready = ready.now_or_never();
            let answer = balancer.call(request("/3")).now_or_never();
            if expected.is_empty() {
                // Where nothing can change any more it fails, and says why; else it waits.
                let matches = |error: &Error| match state {
                    None => matches!(error, Error::Closed { .. }),
                    _ => matches!(error, Error::Unavailable(_)),
                };
                let refused = |outcome: Option<Error>| outcome.as_ref().map(matches);
                let of_list = ended.then_some(true);
                assert_eq!(refused(ready.and_then(Result::err)), of_list, "{name}");
                assert_eq!(refused(answer.and_then(Result::err)), of_list, "{name}");
            } else {
                assert!(matches!(ready, Some(Ok(()))), "{name}: {ready:?}");
                let served = answer.unwrap_or_else(|| panic!("{name}: the request waits"));
                let served = served.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(expected.contains(&served.parse().unwrap()), "{name}");
            }
        }
    });
}

/// Of pickers that a change may lead to: one for the change, and one for what it has led to.
const PICKERS: u64 = 2;

#[tokio::test(start_paused = true)]
async fn an_event_or_a_change_leads_to_a_bounded_number_of_pickers() {
    for (outer_name, outer, wrap_again) in wrappers() {
        for (inner_name, rule, wrap) in wrappers() {
            let name = format!("{outer_name} / {inner_name}");
            let spy = Spy::default();
            let signal = Arc::clone(&spy.0);
            let (handle, endpoints) = discover::channel::<usize, Backend>();
            for (key, endpoint) in AllHealthy.endpoints() {
                handle.insert(key, endpoint).unwrap();
            }
            let strategy = wrap_again(wrap(Any::new(spy)));
            let (balancer, driver) = Balancer::new(strategy, endpoints);
            let mut driver = task::spawn(driver);
            let mut settle = |after: &str| {
                let before = balancer.status().version;
                let mut turns = 0;
                let _ = driver.poll();
                while driver.is_woken() {
                    turns += 1;
                    assert!(turns < 10, "{name}, {after}: the driver spins");
                    let _ = driver.poll();
                }
                balancer.status().version - before
            };
            settle("at first");
            let built = signal.built.load(Ordering::SeqCst);
            assert!(built > 0, "{name}");
            signal.send();
            let pickers = settle("an event");
            assert!((1..=PICKERS).contains(&pickers), "{name}: {pickers} pickers");
            assert!(signal.built.load(Ordering::SeqCst) > built, "{name}: no wake-up");
            for state in STATES.into_iter().filter(|state| *state != None) {
                for (key, endpoint) in state.endpoints() {
                    handle.insert(key, endpoint).unwrap();
                }
                let pickers = settle("a change");
                assert!(pickers <= PICKERS, "{name}, {state:?}: {pickers} pickers");
                let built = signal.built.load(Ordering::SeqCst);
                signal.send();
                let pickers = settle("an event");
                assert!(pickers <= PICKERS, "{name}, {state:?}: {pickers} pickers");
                let heard = signal.built.load(Ordering::SeqCst) > built;
                assert!(heard || is_closed(&[outer, rule], state), "{name}, {state:?}: no wake-up");
            }
            // Time alone changes nothing where nothing is reported and no zone is on its way back.
            tokio::time::advance(Duration::from_secs(3)).await;
            assert_eq!(settle("time"), 0, "{name}, {rule:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shift_within_groups_that_get_nothing_is_one_picker() {
    let shift = tower_lb::strategy::ZonalShiftHandle::new();
    let shifted = || ZonalShift::new(P2c::default()).following(&shift);
    let version = |wanted| move |one: &Candidate| one.metadata().get("version") == Some(wanted);
    let split = Split::builder()
        .group("stable", 100, version("0"), shifted())
        .group("canary", 0, version("1"), shifted())
        .group("next", 5, version("2"), shifted());
    let (strategy, shares) = split.build().unwrap();
    let endpoints = discover::list(AllHealthy.endpoints());
    let (balancer, driver) = Balancer::new(Any::new(strategy), endpoints);
    let mut driver = task::spawn(driver);
    let mut settle = || {
        let mut turns = 0;
        let _ = driver.poll();
        while driver.is_woken() && turns < 200 {
            turns += 1;
            let _ = driver.poll();
        }
        (turns, balancer.status().version)
    };
    settle();
    let before = settle().1;
    shift.shift_away("c");
    assert_eq!(settle(), (0, before + 1));
    // The group that had no share has not missed the shift.
    shares.set([("canary", 100), ("stable", 0)]).unwrap();
    assert_eq!(settle(), (0, before + 2));
    let mut balancer = balancer.clone();
    for user in 0..20 {
        let served = balancer.call(request(&format!("/{user}"))).await.unwrap();
        let served: usize = served.parse().unwrap();
        assert!(served % 2 == 1 && served % 3 != 2, "{served}");
    }
    shift.restore("c", Duration::ZERO);
    assert_eq!(settle(), (0, before + 3));
}
