//! Active health checks, on paused time; those that speak a protocol, over real sockets.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::{self, FutureExt};
use tokio::time::{Instant, advance, sleep};
use tower_lb::{
    BoxError,
    discover::{self, Channel, Discover, Handle},
    endpoint::{Endpoint, Health},
    health::{Check, HealthCheck, HealthExt, InitialState},
};
use tower_lb_test_support::Watched;

const SECOND: Duration = Duration::from_secs(1);
const MILLIS: Duration = Duration::from_millis(1);

/// What the checks of each endpoint find, and when they were made.
#[derive(Clone, Default)]
struct Patients {
    findings: Arc<Mutex<HashMap<usize, Finding>>>,
    checks: Arc<Mutex<Vec<(usize, Instant)>>>,
    running: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Finding {
    Well,
    Ill,
    Hangs,
}

use Finding::{Hangs, Ill, Well};

impl Patients {
    fn set(&self, patient: usize, finding: Finding) {
        self.findings.lock().unwrap().insert(patient, finding);
    }

    fn checks_of(&self, patient: usize) -> Vec<Instant> {
        let checks = self.checks.lock().unwrap();
        checks.iter().filter(|check| check.0 == patient).map(|check| check.1).collect()
    }
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Check<usize> for Patients {
    fn check(&self, patient: usize) -> future::BoxFuture<'static, Result<(), BoxError>> {
        self.checks.lock().unwrap().push((patient, Instant::now()));
        let finding = self.findings.lock().unwrap().get(&patient).copied().unwrap_or(Well);
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.running));
        async move {
            let _running = running;
            match finding {
                Well => Ok(()),
                Ill => Err("feverish".into()),
                Hangs => future::pending().await,
            }
        }
        .boxed()
    }
}

type Fleet = Watched<tower_lb::health::HealthChecked<Channel<usize, usize>, Patients>>;

fn config(patients: &Patients) -> HealthCheck<Patients> {
    HealthCheck::new(patients.clone()).jitter(0.0).idle_interval(5 * SECOND)
}

fn fleet(check: HealthCheck<Patients>, endpoints: usize) -> (Handle<usize, usize>, Fleet) {
    let (handle, stream) = discover::channel();
    handle.reset((0..endpoints).map(|key| (key, key))).unwrap();
    (handle, Watched::new(stream.health_checked(check).unwrap()))
}

async fn pass<D>(fleet: &mut Watched<D>, time: Duration)
where
    D: Discover<Key: Clone + Eq + std::hash::Hash + std::fmt::Display>,
{
    let end = Instant::now() + time;
    while Instant::now() < end {
        advance((end - Instant::now()).min(50 * MILLIS)).await;
        fleet.settle();
    }
}

fn is_up(fleet: &Fleet, endpoint: usize) -> bool {
    fleet.endpoint(&endpoint).is_eligible()
}

#[tokio::test(start_paused = true)]
async fn goes_down_after_so_many_failures_and_up_after_so_many_passes() {
    let patients = Patients::default();
    let (_handle, mut fleet) = fleet(config(&patients), 1);
    fleet.settle();
    assert!(is_up(&fleet, 0), "the first check was made at once, and decides");
    patients.set(0, Ill);
    // One at the interval, two at the faster one.
    pass(&mut fleet, 6900 * MILLIS).await;
    assert!(is_up(&fleet, 0));
    pass(&mut fleet, 200 * MILLIS).await;
    assert_eq!(fleet.endpoint(&0).health(), &Health::unhealthy("health check: feverish"));
    patients.set(0, Well);
    pass(&mut fleet, 5500 * MILLIS).await;
    assert!(!is_up(&fleet, 0));
    pass(&mut fleet, 1000 * MILLIS).await;
    assert_eq!(fleet.endpoint(&0).health(), &Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn what_a_new_endpoint_is_can_be_chosen() {
    let patients = Patients::default();
    patients.set(0, Hangs);
    let mut seen = Vec::new();
    for initial in
        [InitialState::FullyUp, InitialState::Up, InitialState::Down, InitialState::FullyDown]
    {
        let (_handle, mut fleet) = fleet(config(&patients).initial(initial), 1);
        fleet.settle();
        let before = is_up(&fleet, 0);
        pass(&mut fleet, 1100 * MILLIS).await;
        seen.push((before, is_up(&fleet, 0)));
        if initial == InitialState::Down {
            let reason = fleet.endpoint(&0).health().reason().map(str::to_owned);
            assert_eq!(reason.as_deref(), Some("health check: no response within 1s"));
        }
    }
    assert_eq!(seen, [(true, true), (true, false), (false, false), (false, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_delays_no_other() {
    let patients = Patients::default();
    (0..50).for_each(|patient| patients.set(patient, Hangs));
    let (_handle, mut fleet) = fleet(config(&patients).timeout(60 * SECOND), 100);
    fleet.settle();
    pass(&mut fleet, 20 * SECOND).await;
    assert!((50..100).all(|patient| patients.checks_of(patient).len() >= 4));
    assert!((0..50).all(|patient| patients.checks_of(patient).len() == 1));
    assert!((0..100).all(|patient| is_up(&fleet, patient) == (patient >= 50)));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_are_spread_over_the_interval() {
    let patients = Patients::default();
    let (_handle, mut fleet) = fleet(config(&patients), 10_000);
    fleet.settle();
    pass(&mut fleet, 15 * SECOND).await;
    let start = patients.checks.lock().unwrap()[0].1;
    let mut per_step = HashMap::<u128, usize>::new();
    for (_, at) in &*patients.checks.lock().unwrap() {
        *per_step.entry((*at - start).as_millis() / 50).or_default() += 1;
    }
    let most = per_step.values().max().unwrap();
    assert!(*most <= 120, "an even spread is 100 in 50 ms, the worst was {most}");
    assert!((0..10_000).all(|patient| is_up(&fleet, patient)));
}

#[tokio::test(start_paused = true)]
async fn idle_fleets_are_checked_less_often_and_jitter_is_within_bounds() {
    let patients = Patients::default();
    let check = config(&patients).idle_interval(30 * SECOND).jitter(0.2).seed(1);
    let (_handle, mut fleet) = fleet(check, 1);
    fleet.settle();
    pass(&mut fleet, 300 * SECOND).await;
    let pauses = |checks: &[Instant]| -> Vec<_> {
        checks.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    };
    let idle = pauses(&patients.checks_of(0));
    assert!(idle[1..].iter().all(|pause| (23.9..36.1).contains(pause)), "{idle:?}");
    assert!(idle[1..].windows(2).all(|pair| pair[0] != pair[1]));

    patients.checks.lock().unwrap().clear();
    for _ in 0..100 {
        drop(fleet.request(&0));
        pass(&mut fleet, SECOND).await;
    }
    let busy = pauses(&patients.checks_of(0));
    assert!(busy[1..].iter().all(|pause| (3.9..6.1).contains(pause)), "{busy:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_or_draining_is_not_checked_and_a_late_result_is_nobodys() {
    let patients = Patients::default();
    (0..2).for_each(|patient| patients.set(patient, Hangs));
    let (handle, mut fleet) = fleet(config(&patients).initial(InitialState::Up), 3);
    fleet.settle();
    pass(&mut fleet, 100 * MILLIS).await;
    assert_eq!(patients.running.load(Ordering::SeqCst), 2);
    handle.remove(0).unwrap();
    handle.insert(1, Endpoint::new(1).with_health(Health::draining("deploy"))).unwrap();
    fleet.settle();
    assert_eq!(patients.running.load(Ordering::SeqCst), 0, "their checks went with them");

    // The new endpoint of that key does not inherit the old one's result.
    patients.set(0, Well);
    handle.insert(0, 0).unwrap();
    pass(&mut fleet, 30 * SECOND).await;
    assert!(is_up(&fleet, 0));
    assert_eq!(patients.checks_of(1).len(), 1);
    assert_eq!(fleet.endpoint(&1).health(), &Health::draining("deploy"));

    patients.set(1, Well);
    handle.insert(1, 1).unwrap();
    pass(&mut fleet, SECOND).await;
    assert_eq!(patients.checks_of(1).len(), 2, "it is back");
    assert!(is_up(&fleet, 1));
}

#[tokio::test(start_paused = true)]
async fn discovery_that_knows_better_is_believed_when_it_is_worse() {
    let patients = Patients::default();
    let (handle, mut fleet) = fleet(config(&patients), 1);
    fleet.settle();
    let degraded = Endpoint::new(0).with_health(Health::degraded("slow disk")).with_weight(9);
    handle.insert(0, degraded.clone()).unwrap();
    fleet.settle();
    assert_eq!(fleet.endpoint(&0), &degraded);
    patients.set(0, Ill);
    pass(&mut fleet, 8 * SECOND).await;
    assert_eq!(fleet.endpoint(&0).health(), &Health::unhealthy("health check: feverish"));
    patients.set(0, Well);
    pass(&mut fleet, 8 * SECOND).await;
    assert_eq!(fleet.endpoint(&0), &degraded);
}

/// A source that never rests, and checks all the same.
#[tokio::test(start_paused = true)]
async fn a_source_that_oscillates_does_not_keep_checks_from_being_made() {
    let patients = Patients::default();
    let (handle, mut fleet) = fleet(config(&patients), 2);
    fleet.settle();
    for turn in 0..2000_u32 {
        if turn % 2 == 0 {
            handle.remove(1).unwrap();
        } else {
            handle.insert(1, 1).unwrap();
        }
        handle.insert(0, Endpoint::new(0).with_weight(turn)).unwrap();
        advance(10 * MILLIS).await;
        fleet.settle();
    }
    assert!(patients.checks_of(0).len() >= 4);
    assert!(is_up(&fleet, 0));
}

#[test]
fn nonsense_is_rejected() {
    let new = || HealthCheck::new(Patients::default());
    for (check, text) in [
        (new().interval(Duration::ZERO), "`interval` is 0 s"),
        (new().timeout(Duration::ZERO), "`timeout` is 0 s"),
        (
            new().changing_interval(6 * SECOND),
            "`changing_interval` is 6s: expected at most `interval`",
        ),
        (new().idle_interval(SECOND), "`idle_interval` is 1s: expected at least `interval`"),
        (new().jitter(-0.1), "`jitter` is -0.1: expected a number from 0 to 0.9"),
        (new().rise(0), "`rise` is 0: expected a number from 1 to 1000000"),
        (new().fall(u32::MAX), "`fall` is 4294967295: expected a number from 1 to 1000000"),
    ] {
        let stream = discover::channel::<usize, usize>().1;
        let error = stream.health_checked(check).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

/// Clocks that jump by hours make one check due, not a thousand.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_makes_up_for_nothing() {
    let patients = Patients::default();
    let (_handle, mut fleet) = fleet(config(&patients), 1);
    fleet.settle();
    advance(100_000 * SECOND).await;
    fleet.settle();
    assert_eq!(patients.checks_of(0).len(), 2);
    assert!(is_up(&fleet, 0));
}

#[tokio::test(start_paused = true)]
async fn any_async_function_is_a_check() {
    let check = HealthCheck::new(|patient: usize| async move {
        sleep(Duration::from_millis(5)).await;
        if patient == 0 { Ok(()) } else { Err("odd") }
    });
    let stream = discover::list([(0, Endpoint::new(0)), (1, Endpoint::new(1))]);
    let mut fleet = Watched::new(stream.health_checked(check).unwrap());
    fleet.settle();
    pass(&mut fleet, SECOND).await;
    let healths = [0, 1].map(|key| fleet.endpoint(&key).health().to_string());
    assert_eq!(healths, ["healthy", "unhealthy: health check: odd"]);
    assert!(!fleet.has_ended(), "checks go on when the list has ended");
}

mod protocols {
    use axum::{Router, http::StatusCode, routing::any};
    use bytes::Bytes;
    use http_body_util::{Empty, Full};
    use tokio::net::TcpListener;
    use tower::ServiceExt as _;
    use tower_lb::{
        discover::DiscoverExt,
        health::{GrpcCheck, HttpCheck, TcpCheck},
        http::{Client, Origin, Pool, ReplayBody},
    };

    use super::*;

    async fn serve(app: Router) -> (Origin, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Origin::from(listener.local_addr().unwrap());
        (origin, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
    }

    async fn found(check: HttpCheck<Empty<Bytes>>, origin: &Origin) -> String {
        let client: Client<Empty<Bytes>> = Pool::new().client(origin.clone());
        check.check(client).await.map_or_else(|error| error.to_string(), |()| "well".to_owned())
    }

    #[tokio::test]
    async fn http_checks_look_at_path_method_host_status_and_body() {
        let app = Router::new().route(
            "/healthz",
            any(|request: axum::extract::Request| async move {
                let host = request.headers()["host"].to_str().unwrap().to_owned();
                let answer = format!("{} {} {host}", request.method(), request.uri());
                if request.uri().query() == Some("ill") {
                    return (StatusCode::SERVICE_UNAVAILABLE, answer);
                }
                (StatusCode::OK, answer)
            }),
        );
        let (origin, _server) = serve(app).await;
        let get = |path: &str| HttpCheck::get(path).unwrap();
        assert_eq!(found(get("/healthz"), &origin).await, "well");
        assert_eq!(found(get("/nowhere"), &origin).await, "response status 404 Not Found");
        let ill = get("/healthz?ill");
        assert_eq!(found(ill.clone(), &origin).await, "response status 503 Service Unavailable");
        assert_eq!(found(ill.status(|status| status.as_u16() == 503), &origin).await, "well");
        let asked = get("/healthz")
            .method(http::Method::OPTIONS)
            .host(http::HeaderValue::from_static("shop.example"));
        let expected = b"OPTIONS /healthz shop.example";
        let same = asked.clone().body(move |body| body == expected);
        assert_eq!(found(same, &origin).await, "well");
        assert_eq!(found(asked.body(<[u8]>::is_empty), &origin).await, "unexpected response body");
    }

    #[tokio::test]
    async fn grpc_checks_ask_the_real_service() {
        let (reporter, service) = tonic_health::server::health_reporter();
        reporter.set_service_status("shop.Cart", tonic_health::ServingStatus::Serving).await;
        reporter.set_service_status("shop.Till", tonic_health::ServingStatus::NotServing).await;
        let app = tonic::service::Routes::new(service).into_axum_router();
        let (origin, _server) = serve(app).await;
        let found = async |check: GrpcCheck<Full<Bytes>>| {
            let client: Client<Full<Bytes>> = Pool::new().http2().client(origin.clone());
            check.check(client).await.map_err(|error| error.to_string())
        };
        assert_eq!(found(GrpcCheck::server()).await, Ok(()));
        assert_eq!(found(GrpcCheck::with_body("shop.Cart", Full::new)).await, Ok(()));
        assert_eq!(found(GrpcCheck::service("shop.Cart")).await, Ok(()));
        assert_eq!(
            found(GrpcCheck::service("shop.Till")).await,
            Err("serving status NOT_SERVING".into())
        );
        let unknown = found(GrpcCheck::service("shop.Nothing")).await;
        assert_eq!(unknown, Err("grpc-status 5".into()));
        let (web, _server) = serve(Router::new().fallback(|| async { "hello" })).await;
        let client: Client<Full<Bytes>> = Pool::new().http2().client(web);
        let error = GrpcCheck::server().check(client).await.unwrap_err().to_string();
        assert_eq!(error, "no grpc-status");
    }

    /// A channel takes tonic's body. Below retries, it gets theirs.
    #[tokio::test]
    async fn grpc_checks_use_a_tonic_channel_and_work_below_retries() {
        let (reporter, service) = tonic_health::server::health_reporter();
        reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let app = tonic::service::Routes::new(service).into_axum_router();
        let (origin, _server) = serve(app).await;
        let channel = tonic::transport::Endpoint::from_shared(origin.to_string()).unwrap();
        let channel = channel.connect_lazy();
        let body = |message| tonic::body::Body::new(Full::<Bytes>::new(message));
        GrpcCheck::with_body("", body).check(channel.clone()).await.unwrap();
        let below = channel.map_request(|request: http::Request<ReplayBody<_>>| {
            request.map(tonic::body::Body::new)
        });
        GrpcCheck::<ReplayBody<tonic::body::Body>>::server().check(below).await.unwrap();
    }

    /// TCP checks go before `connect`, the others behind; both ride on one stream.
    #[tokio::test]
    async fn checks_of_addresses_and_of_services_compose() {
        let (origin, server) = serve(Router::new().fallback(|| async { "hello" })).await;
        let address: std::net::SocketAddr = origin.authority().as_str().parse().unwrap();
        let quick = |check| HealthCheck::new(check).interval(20 * MILLIS).fall(2);
        let stream = discover::addresses([address])
            .health_checked(quick(TcpCheck))
            .unwrap()
            .connect(|address| Pool::new().client::<Empty<Bytes>>((*address).into()))
            .health_checked(
                HealthCheck::new(HttpCheck::get("/").unwrap()).interval(20 * MILLIS).fall(2),
            )
            .unwrap();
        let mut fleet = Watched::new(stream);
        let mut until = async |up: bool| {
            let waited = Instant::now();
            loop {
                fleet.settle();
                let endpoint = fleet.endpoints().get(&address);
                if endpoint.is_some_and(|endpoint| endpoint.is_eligible() == up) {
                    return endpoint.unwrap().health().to_string();
                }
                assert!(waited.elapsed() < 10 * SECOND, "{endpoint:?}");
                sleep(5 * MILLIS).await;
            }
        };
        assert_eq!(until(true).await, "healthy");
        server.abort();
        let reason = until(false).await;
        assert!(reason.starts_with("unhealthy: health check: "), "{reason}");
    }
}
