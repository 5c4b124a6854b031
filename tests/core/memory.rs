//! What stays in memory while endpoints, and balancers themselves, come and go.

use std::{
    convert::Infallible,
    future::{Future, Ready, poll_fn, ready},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use allocation_counter::measure;
use tokio::{
    runtime::{self, Runtime},
    task::yield_now,
    time::advance,
};
use tower::Service;
use tower_lb::{
    Balancer, BoxError,
    discover::{self, Channel, Discover, DiscoverExt, Handle},
    endpoint::{Endpoint, Health, Locality},
    health::{
        CircuitBreaker, Draining, HealthCheck, HealthExt, OutlierDetection, OverloadBackoff,
        SlowStart,
    },
    outcome::LoadReport,
    strategy::{
        Candidate, Freshest, LeastLoaded, Maglev, P2c, Pick, Prequal, Probed, Random, Split,
        Strategy, SubsetBy, Tiers, WeightedRoundRobin, ZonalShift, ZonalShiftHandle, ZoneAware,
        stable_hash,
    },
};

/// Answers at once. All clones share an instance, so that the instances are those of endpoints that
/// somebody keeps.
#[derive(Clone)]
struct Backend(Arc<EndpointId>);

struct EndpointId {
    id: u64,
    /// Counts the instances.
    _alive: Arc<()>,
}

impl Service<u64> for Backend {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// One endpoint in ten fails.
    fn call(&mut self, request: u64) -> Self::Future {
        ready(if self.0.id % 10 == 7 { Err("down".into()) } else { Ok(request) })
    }
}

/// Makes endpoints, and knows how many instances are alive.
#[derive(Default)]
struct Fleet {
    alive: Arc<()>,
}

impl Fleet {
    fn backend(&self, id: u64) -> Backend {
        Backend(Arc::new(EndpointId { id, _alive: Arc::clone(&self.alive) }))
    }

    fn endpoint(&self, id: u64) -> Endpoint<Backend> {
        Endpoint::new(self.backend(id))
            .with_weight(1 + id as u32 % 3)
            .with_tier(id as u32 % 2)
            .with_locality(locality(id))
            .with_metadata("parity", (id % 2).to_string())
    }

    fn alive(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }
}

fn locality(id: u64) -> Locality {
    Locality::new("region", ["a", "b", "c"][id as usize % 3])
}

fn paused_runtime() -> Runtime {
    runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Sends one request. What the response says is no matter.
async fn request<St: Strategy<Picker: Pick<u64>>>(
    balancer: &mut Balancer<Backend, St>,
    request: u64,
) {
    if poll_fn(|cx| balancer.poll_ready(cx)).await.is_ok() {
        let _ = balancer.call(request).await;
    }
}

/// Lets spawned drivers do what they have to.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

type Targets = Channel<u64, Backend>;

/// A balancer whose endpoints are replaced, oldest first, and changed in place.
struct Churn<St: Strategy> {
    fleet: Fleet,
    handle: Handle<u64, Backend>,
    balancer: Balancer<Backend, St>,
    oldest: u64,
}

/// How many endpoints there are, and how many of them are replaced at a time.
const ENDPOINTS: u64 = 200;
const REPLACED: u64 = 10;

impl<St> Churn<St>
where
    St: Strategy<Picker: Pick<u64> + Send + Sync> + Send + 'static,
{
    fn new<D>(strategy: St, stages: impl FnOnce(Targets) -> D) -> Self
    where
        D: Discover<Key = u64, Target = Backend, Error: Into<BoxError>> + Send + 'static,
    {
        let (handle, targets): (_, Targets) = discover::channel();
        let fleet = Fleet::default();
        handle.reset((0..ENDPOINTS).map(|id| (id, fleet.endpoint(id)))).unwrap();
        let balancer = Balancer::builder().seed(1).spawn(strategy, stages(targets)).unwrap();
        Self { fleet, handle, balancer, oldest: 0 }
    }

    /// Replaces every endpoint so many times.
    async fn turn_over(&mut self, times: u64) {
        for _ in 0..times * ENDPOINTS / REPLACED {
            for _ in 0..REPLACED {
                let (gone, new) = (self.oldest, self.oldest + ENDPOINTS);
                self.handle.remove(gone).unwrap();
                self.handle.insert(new, self.fleet.endpoint(new)).unwrap();
                self.oldest += 1;
            }
            let known = self.oldest + ENDPOINTS / 2;
            let endpoint = self.fleet.endpoint(known);
            let changed = match self.oldest / REPLACED % 3 {
                0 => endpoint.with_health(Health::unhealthy("maintenance")),
                1 => endpoint.with_health(Health::draining("deploy")),
                _ => endpoint.with_metadata("version", known.to_string()),
            };
            self.handle.insert(known, changed).unwrap();
            settle().await;
            for number in 0..50 {
                request(&mut self.balancer, number).await;
            }
            advance(Duration::from_millis(500)).await;
            settle().await;
        }
        // Those that drain are gone after a while.
        advance(Duration::from_secs(10)).await;
        settle().await;
    }
}

/// After forty turnovers there is as much in memory as after ten, and no endpoint that was removed.
fn check<St, D>(name: &str, strategy: St, stages: impl FnOnce(Targets) -> D)
where
    St: Strategy<Picker: Pick<u64> + Send + Sync + 'static> + Send + 'static,
    D: Discover<Key = u64, Target = Backend, Error: Into<BoxError>> + Send + 'static,
{
    let runtime = paused_runtime();
    let mut churn = runtime.block_on(async {
        let mut churn = Churn::new(strategy, stages);
        churn.turn_over(10).await;
        churn
    });
    let kept = measure(|| runtime.block_on(churn.turn_over(30)));
    println!("{name}: {} bytes, {} allocations", kept.bytes_current, kept.count_current);
    assert_eq!(churn.fleet.alive(), ENDPOINTS as usize, "{name}");
    assert!(kept.bytes_current.abs() < 16 * 1024, "{name}: {kept:?}");
    assert!(kept.count_current.abs() < 100, "{name}: {kept:?}");
    let Churn { fleet, balancer, .. } = churn;
    drop(balancer);
    runtime.block_on(settle());
    assert_eq!(fleet.alive(), 0, "{name}: endpoints of a dropped balancer");
}

fn key(request: &u64) -> Option<u64> {
    Some(stable_hash(request.to_le_bytes()))
}

async fn probe(_endpoint: String) -> Result<LoadReport, Infallible> {
    Ok(LoadReport::new().with_requests_in_flight(1.0))
}

fn ask(endpoint: &Candidate) -> impl Future<Output = Result<LoadReport, Infallible>> + use<> {
    probe(endpoint.name().to_owned())
}

fn parity<'a>(request: &'a u64, _label: &str) -> Option<&'a str> {
    Some(if request % 2 == 0 { "0" } else { "1" })
}

fn is_even(candidate: &Candidate) -> bool {
    candidate.metadata().get("parity") == Some("0")
}

#[test]
fn strategies_keep_nothing_of_endpoints_that_are_gone() {
    fn plain<St>(name: &str, strategy: St)
    where
        St: Strategy<Picker: Pick<u64> + Send + Sync + 'static> + Send + 'static,
    {
        check(name, strategy, |targets| targets);
    }
    plain("P2c", P2c::default());
    plain("LeastLoaded", LeastLoaded::default());
    plain("Freshest", Probed::new(ask, Freshest::default()).seed(1));
    plain("Prequal", Prequal::new(ask).seed(1));
    plain("WeightedRoundRobin", WeightedRoundRobin::new());
    plain("Maglev", Maglev::new(key).table_size(1009).unwrap());
    plain("SubsetBy", SubsetBy::new(P2c::default(), ["parity"], parity).or_any());
    let split = Split::builder().group("even", 95, is_even, ZonalShift::new(P2c::default())).group(
        "odd",
        0,
        |_| true,
        ZonalShift::new(P2c::default()),
    );
    plain("Split", split.build().unwrap().0);
    plain("Tiers(ZoneAware)", Tiers::new(ZoneAware::new(locality(0), P2c::default())));
}

#[test]
fn stages_keep_nothing_of_endpoints_that_are_gone() {
    fn is_up(backend: Backend) -> impl Future<Output = Result<(), &'static str>> {
        ready(if backend.0.id % 10 == 7 { Err("down") } else { Ok(()) })
    }
    check("checks", P2c::default(), |targets| {
        targets.health_checked(HealthCheck::new(is_up).seed(1)).unwrap()
    });
    check("outliers", P2c::default(), |targets| {
        targets.outlier_detected(OutlierDetection::new().seed(1)).unwrap()
    });
    check("circuit breaker", P2c::default(), |targets| {
        targets.circuit_broken(CircuitBreaker::new()).unwrap()
    });
    check("relief", P2c::default(), |targets| {
        targets.overload_backoff(OverloadBackoff::new()).unwrap()
    });
    check("slow start", P2c::default(), |targets| {
        targets.slow_start(SlowStart::over(Duration::from_secs(2))).unwrap()
    });
    check("drain", P2c::default(), |targets| {
        targets.drained(Draining::within(Duration::from_secs(2))).unwrap()
    });
    check("adapters of discovery", P2c::default(), |targets| {
        targets
            .keep_last_good()
            .debounce(Duration::from_millis(10), Duration::from_millis(100))
            .map_keys(|key: u64| key.to_string())
            .map_keys(|key: String| key.parse::<u64>().unwrap())
    });
}

/// Creates balancers of ten endpoints with spawned drivers, and drops them: with what is told about
/// all of them, `strategy` may keep nothing.
fn come_and_go<St>(name: &str, mut strategy: impl FnMut() -> St)
where
    St: Strategy<Picker: Pick<u64> + Send + Sync + 'static> + Send + 'static,
{
    let (runtime, fleet) = (paused_runtime(), Fleet::default());
    let mut create = |count: usize| {
        runtime.block_on(async {
            let mut balancers: Vec<_> = (0..count)
                .map(|_| {
                    let (handle, targets): (_, Targets) = discover::channel();
                    handle.reset((0..10).map(|id| (id, fleet.endpoint(id)))).unwrap();
                    (Balancer::spawn(strategy(), targets), handle)
                })
                .collect();
            settle().await;
            for (balancer, _) in &mut balancers {
                request(balancer, 1).await;
            }
            drop(balancers);
            // The drivers find out that their balancers are gone.
            settle().await;
        });
    };
    create(100);
    let kept = measure(|| (0..10).for_each(|_| create(100)));
    println!("{name}: {} bytes, {} allocations", kept.bytes_current, kept.count_current);
    assert!(kept.bytes_current.abs() < 4 * 1024, "{name}: {kept:?}");
    assert_eq!(fleet.alive(), 0, "{name}");
}

#[test]
fn balancers_that_are_dropped_leave_nothing() {
    come_and_go("P2c", P2c::default);
    let shift = ZonalShiftHandle::new();
    come_and_go("ZonalShift", || ZonalShift::new(P2c::default()).following(&shift));
    let split = Split::builder().group("even", 95, is_even, Random);
    let (split, shares) = split.group("odd", 5, |_| true, Random).build().unwrap();
    come_and_go("Split", || split.clone());
    let probed = Probed::new(ask, Freshest::default()).seed(1);
    come_and_go("Probed", || probed.clone());
    drop((shift, shares));
}

/// A balancer outlives the driver of a list, by far.
#[test]
fn a_driver_that_has_ended_is_not_kept_by_its_balancer() {
    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    let fleet = Fleet::default();
    let endpoints = discover::list([(1, fleet.endpoint(1))]);
    let (balancer, driver) = Balancer::new(P2c::default(), endpoints);
    let (task, mut driver) = (Arc::new(Task), Box::pin(driver));
    let waker = Waker::from(Arc::clone(&task));
    assert!(driver.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    drop((driver, waker));
    assert_eq!(Arc::strong_count(&task), 1, "its task can be freed");

    // The same for one that is dropped before its time.
    let (handle, targets): (_, Targets) = discover::channel();
    handle.insert(1, fleet.endpoint(1)).unwrap();
    let (second, driver) = Balancer::new(P2c::default(), targets);
    let mut driver = Box::pin(driver);
    let waker = Waker::from(Arc::clone(&task));
    assert!(driver.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop((driver, waker));
    assert_eq!(Arc::strong_count(&task), 1, "its task can be freed");
    drop((balancer, second));
}

/// The heap bytes of a balancer that has had many endpoints and has ten now.
fn after_shrinking<St, D>(strategy: St, stages: impl FnOnce(Targets) -> D) -> i64
where
    St: Strategy<Picker: Pick<u64> + Send + Sync + 'static> + Send + 'static,
    D: Discover<Key = u64, Target = Backend, Error: Into<BoxError>> + Send + 'static,
{
    const MANY: u64 = 20_000;
    let (runtime, fleet) = (paused_runtime(), Fleet::default());
    let mut kept = None;
    let cost = measure(|| {
        kept = Some(runtime.block_on(async {
            let (handle, targets): (_, Targets) = discover::channel();
            let balancer = Balancer::builder().spawn(strategy, stages(targets)).unwrap();
            handle.reset((0..MANY).map(|id| (id, fleet.endpoint(id)))).unwrap();
            settle().await;
            for id in 10..MANY {
                handle.remove(id).unwrap();
            }
            advance(Duration::from_secs(60)).await;
            settle().await;
            (balancer, handle)
        }));
    });
    assert_eq!(fleet.alive(), 10);
    cost.bytes_current
}

#[test]
fn a_set_that_has_shrunk_takes_little_memory() {
    fn check<St, D>(name: &str, strategy: St, stages: impl FnOnce(Targets) -> D)
    where
        St: Strategy<Picker: Pick<u64> + Send + Sync + 'static> + Send + 'static,
        D: Discover<Key = u64, Target = Backend, Error: Into<BoxError>> + Send + 'static,
    {
        let bytes = after_shrinking(strategy, stages);
        println!("{name}: {bytes} bytes");
        assert!(bytes < 64 * 1024, "{name}: {bytes} bytes");
    }
    check("P2c", P2c::default(), |targets| targets);
    check("outliers", P2c::default(), |targets| {
        targets.outlier_detected(OutlierDetection::new().seed(1)).unwrap()
    });
    check("slow start and drain", P2c::default(), |targets| {
        let ramped = targets.slow_start(SlowStart::default()).unwrap();
        ramped.drained(Draining::default()).unwrap()
    });
    // Services as targets: what connects keeps a service for each address.
    check("connect", P2c::default(), |targets| {
        targets
            .map_endpoints(|key, endpoint| endpoint.map(|backend| Same(*key, backend)))
            .connect(|same: &Same| same.1.clone())
    });
    check("dedup", P2c::default(), |targets| {
        let targets = targets.map_endpoints(|key, endpoint| endpoint.map(|one| Same(*key, one)));
        targets.dedup().map_endpoints(|_, endpoint| endpoint.map(|same| same.1))
    });
}

/// A target that is the same if its key is.
#[derive(Clone)]
struct Same(u64, Backend);

impl PartialEq for Same {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

#[cfg(feature = "sticky")]
#[test]
fn sessions_keep_nothing_of_endpoints_that_are_gone() {
    use tower_lb::{
        http::sticky::{SessionKey, Sessions},
        strategy::{BuildContext, Candidates},
    };

    let sessions = Sessions::builder(SessionKey::new([7; 32]).unwrap()).build().unwrap();
    let mut strategy = sessions.stick(Random);
    let few: Vec<_> = (0..10).map(|id| (id, Endpoint::new(()))).collect();
    let many: Vec<_> = (0..10_000).map(|id| (id, Endpoint::new(()))).collect();
    let candidates = |of: &[(u32, Endpoint<()>)]| {
        Candidates::for_strategy(&Random, of.iter().map(|(id, endpoint)| (id, endpoint)))
    };
    let mut build = |of: &[_]| drop(strategy.build(&candidates(of), &mut BuildContext::new()));
    build(&few);
    let kept = measure(|| {
        build(&many);
        build(&few);
    });
    println!("{} bytes", kept.bytes_current);
    assert!(kept.bytes_current < 4 * 1024, "{kept:?}");
    assert!(many.iter().all(|(_, endpoint)| Arc::strong_count(endpoint.stats()) == 1));
}
