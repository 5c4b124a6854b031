//! Why a request goes where it goes: `Balancer::explain` says what the next pick does, and `Explained`
//! what a real one did.

use std::{
    convert::Infallible,
    fmt::Display,
    future::{Future, ready},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::FutureExt;
use tower::{Service, service_fn};
use tower_lb::{
    Balancer, Driver,
    discover::{self, Discover},
    endpoint::{Allowance, Endpoint, Health, Tried},
    load::{Now, Outstanding},
    outcome::{Attempts, Carry, Following, Meter, OnResponse, ResultOnly},
    strategy::{
        BuildContext, Built, BuiltParts, Candidate, Candidates, Explained, Explainer, Explanation,
        LeastLoaded, Maglev, P2c, Panic, PanicMode, PartPicker, Pick, PickContext, PickOutcome,
        Random, Rng, RoundRobin, Split, Standing, Strategy, Subset, Tiers, ZonalShift, ZoneAware,
    },
};
use tower_lb_test_support::{logs::Logs, picks::zone_named};

use crate::matrix::{Any, Request, Server, endpoint, strategies, wrappers};

/// A balancer over these endpoints, whose driver has run.
fn balancer<St, S>(
    strategy: St,
    endpoints: impl IntoIterator<Item = (u32, Endpoint<S>)>,
) -> Balancer<S, St>
where
    St: Strategy,
    S: Clone + Send + 'static,
{
    let endpoints = discover::list(endpoints);
    let (balancer, driver) = Balancer::builder().seed(1).build(strategy, endpoints).unwrap();
    drive(driver);
    balancer
}

fn drive<D, St>(driver: Driver<D, St>)
where
    D: Discover<
            Key: Display + Eq + std::hash::Hash,
            Target: Clone,
            Error: Into<tower_lb::BoxError>,
        >,
    St: Strategy,
{
    driver.now_or_never();
}

/// Runs `test` while time stands still: loads decay with time.
fn paused(test: impl FnOnce()) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { test() });
}

#[test]
fn every_strategy_in_every_wrapper_is_explained_as_it_picks() {
    for (name, strategy) in strategies() {
        for (inner, wrap) in wrappers() {
            for (outer, wrap_again) in wrappers() {
                let name = format!("{name} / {inner} / {outer}");
                let strategy = wrap_again(wrap(strategy.clone()));
                paused(|| explained_as_picked(&name, strategy, 5));
            }
        }
    }
}

fn explained_as_picked(name: &str, strategy: Any, users: Request) {
    let mut balancer = balancer(strategy, (0..16).map(|number| (number, endpoint(number))));
    let mut cx = Context::from_waker(Waker::noop());
    for user in 0..users {
        let explanation = balancer.explain(&user);
        assert_eq!(balancer.explain(&user), explanation, "{name}: explaining changes nothing");
        assert!(Service::<Request>::poll_ready(&mut balancer, &mut cx).is_ready(), "{name}");
        let Poll::Ready(Ok(picked)) = pin!(balancer.call(user)).poll(&mut cx) else {
            panic!("{name}: the request waits or fails");
        };
        let text = explanation.to_string();
        assert_eq!(explanation.picked, Some(picked.to_string()), "{name}: {text}");
        assert_eq!(explanation.outcome, PickOutcome::Picked, "{name}: {text}");
        assert!(!explanation.steps.is_empty() && explanation.endpoints == 16, "{name}: {text}");
        assert_eq!(explanation.candidates.len(), 16, "{name}: {text}");
        assert!(!text.contains("does not explain"), "{name}: {text}");
        assert!(!text.contains("by the strategy"), "{name}: {text}");
    }
}

type Client = tower::util::BoxCloneService<u64, u64, Infallible>;

/// An endpoint that returns its request, at once.
fn serving() -> Endpoint<Client> {
    let service = service_fn(|request: u64| ready(Ok::<_, Infallible>(request)));
    Endpoint::new(Client::new(service))
}

fn named<St: Strategy>(
    strategy: St,
    endpoints: impl IntoIterator<Item = (&'static str, Endpoint<Client>)>,
) -> Balancer<Client, St> {
    let endpoints = discover::list(endpoints);
    let (balancer, driver) = Balancer::builder().seed(1).build(strategy, endpoints).unwrap();
    drive(driver);
    balancer
}

fn standing(explanation: &Explanation, name: &str) -> (Standing, Option<String>) {
    let found = explanation.candidates.iter().find(|one| one.name == name);
    let found = found.unwrap_or_else(|| panic!("{name}: {explanation}"));
    (found.standing, found.reason.clone())
}

#[test]
fn tiers_over_a_panic_rule_over_p2c() {
    let down = || serving().with_health(Health::unhealthy("connection refused"));
    let endpoints = [
        ("10.0.0.1:80", serving()),
        ("10.0.0.2:80", down()),
        ("10.0.0.3:80", down()),
        ("10.0.0.4:80", down()),
        ("10.0.0.5:80", serving().with_health(Health::draining("deploy"))),
        ("10.1.0.1:80", down().with_tier(1)),
    ];
    let mut balancer = named(Tiers::new(Panic::new(P2c::default())), endpoints);
    let _in_flight: Vec<_> = (0..5).map(|request| balancer.call(request)).collect();
    let text = balancer.explain(&7).to_string();
    assert_eq!(
        text,
        "\
10.0.0.2:80 picked, of 6 endpoints

tiers: draws tier 0, which gets all requests
└ panic: holds, 1 of 4 eligible, requests go to all
  └ p2c: draws 10.0.0.3:80 and 10.0.0.2:80; 10.0.0.2:80 has the lower load

  endpoint     tier  in flight  score  standing
→ 10.0.0.2:80     0          0      1  picked: unhealthy: connection refused
  10.0.0.3:80     0          2      3  compared: unhealthy: connection refused
  10.0.0.1:80     0          2         not compared
  10.0.0.4:80     0          1         not compared: unhealthy: connection refused
  10.1.0.1:80     1          0         unhealthy: connection refused
  10.0.0.5:80     0          0         draining: deploy
"
    );
    let docs = include_str!("../../docs/strategies.md");
    assert!(docs.contains(&text), "the example in docs/strategies.md");
}

#[test]
fn maglev_shows_the_next_in_rank() {
    let endpoints = ["a", "b", "c", "d", "e"].map(|name| (name, serving()));
    let balancer = named(Maglev::new(|key: &u64| (*key > 0).then_some(*key)), endpoints);
    assert_eq!(
        balancer.explain(&7).to_string(),
        "\
d picked, of 5 endpoints

maglev: the key's hash is 0x7, the first in its rank wins

  endpoint  in flight  score  standing
→ d                 0      1  picked
  a                 0      2  compared
  b                 0      3  compared
  c                 0         not compared
  e                 0         not compared
"
    );
}

#[test]
fn zones_name_the_zone_and_its_share() {
    let zone = |name| serving().with_locality(zone_named(name));
    let endpoints = [
        ("a1", zone("a")),
        ("a2", zone("a")),
        ("b1", zone("b")),
        ("b2", zone("b")),
        ("b3", zone("b")),
        ("b4", zone("b").with_health(Health::degraded("slow"))),
        ("c1", zone("c").with_weight(2)),
    ];
    let balancer = named(ZoneAware::new(zone_named("a"), LeastLoaded::default()), endpoints);
    assert_eq!(
        balancer.explain(&7).to_string(),
        "\
a1 picked, of 7 endpoints

zones: draws region/a; the shares are region/a 75.0 %, region/b 25.0 %
└ least loaded: compares the loads of all 2; a random one of the 2 lowest wins

  endpoint  zone  weight  in flight  score  standing
→ a1        a          1          0      1  picked
  a2        a          1          0      1  compared
  b1        b          1          0         excluded: not in region/a
  b2        b          1          0         excluded: not in region/a
  b3        b          1          0         excluded: not in region/a
  b4        b          1          0         excluded: not in region/a
  c1        c          2          0         excluded: not in region/a
"
    );
}

#[test]
fn what_wrappers_without_a_picker_exclude_has_a_reason() {
    let zone = |name| serving().with_locality(zone_named(name));
    let shift = ZonalShift::new(RoundRobin::starting_at(0));
    shift.handle().shift_away("b");
    let balancer = named(shift, [("a", zone("a")), ("b", zone("b"))]);
    let explanation = balancer.explain(&7);
    let reason = Some("its zone is away".to_owned());
    assert_eq!(standing(&explanation, "b"), (Standing::Excluded, reason), "{explanation}");
    assert_eq!(explanation.steps[0].name, "zonal shift");
    assert_eq!(explanation.steps[0].decision, "zone b is away");

    let down = || serving().with_health(Health::unhealthy("down"));
    let closed = || Panic::new(P2c::default()).mode(PanicMode::Closed);
    let endpoints = || [("a", serving()), ("b", down()), ("c", down())];
    for explanation in [
        named(closed(), endpoints()).explain(&7),
        named(Tiers::new(closed()), endpoints()).explain(&7),
    ] {
        let reason = Some("panic closed".to_owned());
        assert_eq!(standing(&explanation, "a"), (Standing::Excluded, reason), "{explanation}");
        assert_eq!(explanation.outcome, PickOutcome::Waits, "{explanation}");
        assert_eq!(standing(&explanation, "b").0, Standing::Unhealthy);
        let text = explanation.to_string();
        assert!(text.contains("holds, 1 of 3 eligible, requests go nowhere"), "{text}");
    }
}

#[test]
fn endpoints_outside_of_every_part_have_a_reason() {
    let version = |version| serving().with_metadata("version", version);
    let endpoints = || [("a", version("1")), ("b", version("2")), ("c", version("3"))];
    let of = |wanted| move |one: &Candidate| one.metadata().get("version") == Some(wanted);
    let group = |name, share, wanted| (name, share, of(wanted), P2c::default());
    let mut split = Split::builder().starting_at(0);
    for (name, share, belongs, inner) in [group("stable", 1, "1"), group("canary", 0, "2")] {
        split = split.group(name, share, belongs, inner);
    }
    let explanation = named(split.build().unwrap().0, endpoints()).explain(&7);
    let outside = |part: &str| (Standing::Excluded, Some(format!("not in {part}")));
    assert_eq!(standing(&explanation, "b"), outside("stable"), "{explanation}");
    assert_eq!(standing(&explanation, "c"), outside("stable"), "{explanation}");

    let subset = Subset::new(P2c::default(), [("version", "2")]);
    let explanation = named(subset, endpoints()).explain(&7);
    assert_eq!(standing(&explanation, "a"), outside("subset 0"), "{explanation}");
    assert_eq!(explanation.picked.as_deref(), Some("b"));

    let subset = Subset::new(P2c::default(), [("version", "9")]);
    let explanation = named(subset, endpoints()).explain(&7);
    let nothing = (Standing::Excluded, Some("no part was asked".to_owned()));
    assert_eq!(standing(&explanation, "a"), nothing, "{explanation}");
    assert_eq!(explanation.outcome, PickOutcome::Waits);
}

#[test]
fn nested_parts_are_told_apart() {
    let at = |tier, zone| serving().with_tier(tier).with_locality(zone_named(zone));
    let endpoints =
        [("0a", at(0, "a")), ("0b", at(0, "b")), ("1a", at(1, "a")), ("1b", at(1, "b"))];
    let zones = ZoneAware::new(zone_named("a"), P2c::default()).min_endpoints(1).unwrap();
    let balancer = named(Tiers::new(zones), endpoints);
    let explanation = balancer.explain(&7);
    let outside = |part: &str| (Standing::Excluded, Some(format!("not in {part}")));
    assert_eq!(explanation.picked.as_deref(), Some("0a"));
    assert_eq!(standing(&explanation, "0b"), outside("region/a"), "{explanation}");
    assert_eq!(standing(&explanation, "1a"), outside("tier 0"), "{explanation}");
    assert_eq!(standing(&explanation, "1b"), outside("tier 0"), "{explanation}");
}

/// Every strategy while some endpoints are full and some were tried.
#[test]
fn full_and_tried_endpoints_are_explained_as_they_are_picked() {
    for (name, strategy) in strategies() {
        for (wrapper, wrap) in wrappers() {
            paused(|| full_and_tried(&format!("{name} / {wrapper}"), wrap(strategy.clone())));
        }
    }
}

fn full_and_tried(name: &str, mut strategy: Any) {
    // Every fourth has no room.
    let limited = |number: u32| match number % 4 {
        3 => endpoint(number).with_allowance(Allowance::of(0)),
        _ => endpoint(number),
    };
    let endpoints: Vec<_> = (0..16).map(limited).collect();
    let candidates = Candidates::for_strategy(&strategy, endpoints.iter().enumerate());
    let built = strategy.build(&candidates, &mut BuildContext::new());
    let mut attempts = Vec::new();
    for user in 0..40_u64 {
        let mut tried = Tried::none();
        for (index, candidate) in candidates.all().enumerate() {
            if (index as u64 + user) % 3 == 0 {
                tried.add(candidate.stats());
            }
        }
        let (mut rng, mut copy) = (Rng::seeded(user), Rng::seeded(user));
        let mut context = PickContext::new(&mut copy, Now::lazy(), &tried);
        let explanation = built.explain(&candidates, &user, &mut context);
        let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
        let picked = built.picker().pick(&user, &mut context);
        let picked_name = picked.map(Candidate::name);
        assert_eq!(explanation.picked.as_deref(), picked_name, "{name}: {explanation}");
        assert_eq!(copy.bits(), rng.bits(), "{name}: as many random numbers");
        for one in &explanation.candidates {
            let number: u64 = one.name.parse().unwrap();
            let (full, tried) = (number % 4 == 3, (number + user) % 3 == 0);
            match one.standing {
                Standing::Full => assert!(full, "{name}: {explanation}"),
                Standing::Tried => assert!(tried && !full, "{name}: {explanation}"),
                Standing::Compared => assert!(!tried && !full, "{name}: {explanation}"),
                _ => {}
            }
        }
        attempts.extend(picked.and_then(|picked| picked.begin(None)));
    }
}

#[test]
fn a_request_waits_for_a_full_endpoint_and_is_refused_if_it_must_go_elsewhere() {
    let endpoints = discover::list([("a", pending()), ("b", pending())]);
    let key = |request: &Query| Some(request.key);
    let builder = Balancer::builder().seed(1).max_outstanding(1);
    let builder = builder.track(Following::new(OnResponse::new(ResultOnly)));
    let (mut balancer, driver) = builder.build(Maglev::new(key), endpoints).unwrap();
    drive(driver);
    let query = |key| Query { key, attempts: None };
    let home = balancer.explain(&query(7)).picked.unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Service::<Query>::poll_ready(&mut balancer, &mut cx).is_ready());
    let held = balancer.call(query(7));
    let explanation = balancer.explain(&query(7));
    assert_eq!(standing(&explanation, &home), (Standing::Full, None), "{explanation}");
    assert_ne!(explanation.picked.as_ref(), Some(&home), "{explanation}");

    let other = balancer.call(query(7));
    let explanation = balancer.explain(&query(7));
    assert_eq!((explanation.outcome, &explanation.picked), (PickOutcome::Waits, &None));
    assert!(explanation.to_string().starts_with("the request waits, of 2 endpoints\n"));
    drop((held, other));

    // A retry avoids what it has tried.
    let retry = Query { key: 7, attempts: Some(Attempts::new()) };
    drop(balancer.call(retry.clone()));
    let explanation = balancer.explain(&retry);
    assert_eq!(standing(&explanation, &home), (Standing::Tried, None), "{explanation}");
    assert_ne!(explanation.picked.as_ref(), Some(&home), "{explanation}");
}

/// A request with a key, which carries its attempts.
#[derive(Clone)]
struct Query {
    key: u64,
    attempts: Option<Attempts>,
}

impl Carry for Query {
    fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.attempts = Some(attempts);
    }
}

/// An endpoint that never answers.
fn pending() -> Endpoint<Waiting> {
    Endpoint::new(Waiting)
}

#[derive(Clone)]
struct Waiting;

impl Service<Query> for Waiting {
    type Response = ();
    type Error = Infallible;
    type Future = std::future::Pending<Result<(), Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _query: Query) -> Self::Future {
        std::future::pending()
    }
}

#[test]
fn names_from_outside_harm_nothing() {
    let (long, line) = ("x".repeat(10_000), "a\nb\u{1b}[31m\"<script>'\u{202e}");
    let health = Health::unhealthy(format!("line\nbreak {long}"));
    let endpoints = [
        (line.to_owned(), serving()),
        (long.clone(), serving()),
        ("東京".repeat(30), serving().with_locality(zone_named(line))),
        ("down".to_owned(), serving().with_health(health)),
    ];
    let endpoints = discover::list(endpoints);
    let strategy = Tiers::new(LeastLoaded::default());
    let (balancer, driver) = Balancer::builder().seed(1).build(strategy, endpoints).unwrap();
    drive(driver);
    let explanation = balancer.explain(&7_u64);
    let text = explanation.to_string();
    assert!(text.lines().all(|line| line.chars().count() < 500), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text}");
    assert!(text.contains(r#"a\nb\u{1b}[31m"<script>'\u{202e}"#), "{text}");
    // Outcome, steps, head and four rows, with two empty lines.
    assert_eq!(text.lines().count(), 1 + 1 + 2 + 1 + 1 + 4, "{text}");
    let compact = explanation.compact().to_string();
    assert!(!compact.contains(['\n', '\u{1b}', '\u{202e}']) && compact.len() < 2000, "{compact}");
    // Data stays as it is.
    assert!(explanation.candidates.iter().any(|one| one.name == long));
}

#[test]
fn ten_thousand_endpoints_are_counted_and_a_hundred_listed() {
    let endpoint = |number: u32| match number % 100 {
        0 => serving().with_health(Health::unhealthy("down")),
        1 => serving().with_tier(1),
        _ => serving(),
    };
    let endpoints = || (0..10_000).map(|number| (number, endpoint(number)));
    let all = LeastLoaded::default().scan_up_to(10_000).unwrap();
    let strategies =
        [Any::new(P2c::default()), Any::new(Tiers::new(P2c::default())), Any::new(all)];
    for strategy in strategies {
        let explanation = balancer(strategy, endpoints()).explain(&7);
        assert_eq!(explanation.candidates.len(), 100);
        assert_eq!(explanation.endpoints, 10_000);
        let unlisted: usize = explanation.unlisted.iter().map(|(_, count)| count).sum();
        assert_eq!(unlisted, 9_900);
        assert_eq!(explanation.candidates[0].standing, Standing::Picked);
        assert_eq!(explanation.candidates[1].standing, Standing::Compared);
        let text = explanation.to_string();
        assert!(text.len() < 20_000 && text.contains("  and 9900 more: "), "{text}");
    }
}

#[test]
fn a_strategy_from_outside_is_named() {
    let explanation = named(Opaque(P2c::default()), [("a", serving())]).explain(&7);
    let step = &explanation.steps[0];
    assert_eq!((&*step.name, &*step.decision), ("OpaquePicker", "does not explain its picks"));
    assert_eq!(explanation.picked.as_deref(), Some("a"));
}

/// A wrapper written without thought of explanations.
struct Opaque<St>(St);

struct OpaquePicker<P>(P);

impl<St: Strategy> Strategy for Opaque<St> {
    type Picker = OpaquePicker<St::Picker>;

    fn build(&mut self, all: &Candidates, context: &mut BuildContext) -> Built<Self::Picker> {
        self.0.build(all, context).map(OpaquePicker)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.0.meter()
    }
}

impl<P: Pick<Req>, Req> Pick<Req> for OpaquePicker<P> {
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        self.0.pick(request, context)
    }
}

#[test]
fn a_wrapper_from_outside_explains_its_parts() {
    let tier = |tier| serving().with_tier(tier);
    let endpoints = [("even", tier(0)), ("odd", tier(1))];
    let explanation = named(Parity(P2c::default()), endpoints).explain(&7);
    let names: Vec<_> = explanation.steps.iter().map(|step| (step.depth, &*step.name)).collect();
    assert_eq!(names, [(0, "parity"), (1, "p2c")], "{explanation}");
    assert_eq!(explanation.picked.as_deref(), Some("odd"));
    let outside = (Standing::Excluded, Some("not in tier 1".to_owned()));
    assert_eq!(standing(&explanation, "even"), outside);
}

/// Sends odd numbers to odd tiers, and even ones to even tiers.
struct Parity<St>(St);

struct ParityPicker<P>([Option<PartPicker<P>>; 2]);

impl<St: Strategy> Strategy for Parity<St> {
    type Picker = ParityPicker<St::Picker>;

    fn build(&mut self, all: &Candidates, context: &mut BuildContext) -> Built<Self::Picker> {
        let mut parts = BuiltParts::new();
        let pickers = [0, 1].map(|tier| {
            let part = all.part(|one| one.tier() == tier);
            parts.add(format_args!("tier {tier}"), self.0.build(&part, context))
        });
        parts.finish(all, ParityPicker(pickers))
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.0.meter()
    }
}

impl<P: Pick<u64>> Pick<u64> for ParityPicker<P> {
    fn pick(&self, request: &u64, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let part = &self.0[*request as usize % 2];
        PartPicker::first_accepted(part, request, context)
    }

    fn explain(
        &self,
        request: &u64,
        context: &mut PickContext<'_>,
        explainer: &mut Explainer,
    ) -> Option<&Candidate> {
        explainer.step("parity");
        let part = &self.0[*request as usize % 2];
        PartPicker::explain_first_accepted(part, request, context, explainer)
    }
}

#[test]
fn a_logged_pick_is_the_one_that_the_request_follows() {
    let strategy = || Explained::new(1.0, Tiers::new(P2c::new(Outstanding))).unwrap();
    let ten = || (0..10).map(|number| (number, Endpoint::new(Server::numbered(number))));
    let picks = |balancer: &mut Balancer<Server, _>| {
        let mut cx = Context::from_waker(Waker::noop());
        let mut call = |user| match pin!(balancer.call(user)).poll(&mut cx) {
            Poll::Ready(Ok(picked)) => picked,
            _ => panic!("the request waits or fails"),
        };
        (0..50).map(&mut call).collect::<Vec<u32>>()
    };
    let silent = picks(&mut balancer(strategy(), ten()));
    let (logs, collecting) = Logs::collect();
    let mut balancer = balancer(strategy(), ten());
    let expected = balancer.explain(&0);
    assert!(!logs.take().iter().any(|line| line.starts_with("pick explained")), "a dry run");
    let logged = picks(&mut balancer);
    assert_eq!(logged, silent, "the log does not change the picks");
    let lines = logs.take();
    let lines: Vec<_> = lines.iter().filter(|line| line.starts_with("pick explained")).collect();
    drop(collecting);
    assert_eq!(lines.len(), 50);
    for (line, picked) in lines.iter().zip(&logged) {
        assert!(
            line.contains(&format!(" picked={picked} outcome=Picked why={picked} picked; ")),
            "{line}"
        );
    }
    assert!(lines[0].ends_with(&expected.compact().to_string()), "{} {expected}", lines[0]);
}

#[test]
fn a_share_of_the_picks_is_logged_and_turns_pass_once() {
    assert!(Explained::new(1.5, Random).is_err());
    let (logs, _collecting) = Logs::collect();
    let strategy = Explained::new(0.1, RoundRobin::starting_at(0)).unwrap();
    let two = (0..2).map(|number| (number, Endpoint::new(Server::numbered(number))));
    let mut balancer = balancer(strategy, two);
    let mut cx = Context::from_waker(Waker::noop());
    let mut picks = [0; 2];
    for user in 0..10_000 {
        let Poll::Ready(Ok(picked)) = pin!(balancer.call(user)).poll(&mut cx) else { panic!() };
        picks[picked as usize] += 1;
    }
    assert_eq!(picks, [5000, 5000]);
    let logged = logs.take().iter().filter(|line| line.starts_with("pick explained")).count();
    assert!((900..1100).contains(&logged), "{logged}");
}

#[cfg(feature = "lambda")]
#[test]
fn strategies_for_functions_are_explained_as_they_pick() {
    use tower_lb::lambda::{Aimd, CostAware, Pack, Price};

    let price = |one: &Candidate| Price::new().per_request(f64::from(one.weight()));
    let strategies = || {
        vec![
            ("pack", Any::new(Pack::new())),
            ("cost aware", Any::new(CostAware::new(price))),
            ("aimd", Any::new(Aimd::new(P2c::default()).initial(1).unwrap())),
            (
                "aimd over panic",
                Any::new(Aimd::new(Panic::new(P2c::default())).initial(1).unwrap()),
            ),
        ]
    };
    for (name, strategy) in strategies() {
        for (wrapper, wrap) in wrappers() {
            let name = format!("{name} / {wrapper}");
            let strategy = wrap(strategy.clone());
            paused(|| explained_as_picked(&name, strategy.clone(), 12));
            paused(|| full_and_tried(&name, strategy));
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn it_is_plain_data() {
    let endpoints = [("a", serving()), ("b", serving().with_weight(0))];
    let explanation = named(Panic::new(P2c::default()), endpoints).explain(&7);
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "outcome": "picked",
            "picked": "a",
            "endpoints": 2,
            "steps": [
                {"depth": 0, "name": "panic", "decision": "does not hold, 1 of 1 eligible"},
                {"depth": 1, "name": "p2c", "decision": "there is no choice"},
            ],
            "candidates": [
                {"name": "a", "zone": null, "tier": 0, "weight": 1, "outstanding": 0,
                 "standing": "picked", "score": null, "reason": null},
                {"name": "b", "zone": null, "tier": 0, "weight": 0, "outstanding": 0,
                 "standing": "zero_weight", "score": null, "reason": null},
            ],
            "unlisted": [],
        })
    );
}
