//! Strategies that wrap others: subsets and splits, through a balancer where it matters.

use std::{collections::BTreeMap, pin::Pin};

use futures::FutureExt;
use proptest::{prelude::*, test_runner::RngSeed};
use tower::Service;
use tower_lb::{
    Balancer, Error,
    balance::Driver,
    discover::{self, Channel, Handle},
    endpoint::{Endpoint, Health, Tried},
    load::Now,
    strategy::{
        BuildContext, Candidate, Candidates, LeastLoaded, P2c, Pick, PickContext, Random, Rng,
        RoundRobin, Split, Strategy, Subset, SubsetBy,
    },
};
use tower_lb_test_support::{Backend, drive};

/// A balancer over endpoints that the test changes.
struct Site<St: Strategy> {
    handle: Handle<&'static str, Backend>,
    balancer: Balancer<Backend, St>,
    driver: Pin<Box<Driver<Channel<&'static str, Backend>, St>>>,
}

impl<St: Strategy> Site<St> {
    fn new(strategy: St) -> Self {
        Self::limited(strategy, u32::MAX)
    }

    fn limited(strategy: St, max_outstanding: u32) -> Self {
        let (handle, stream) = discover::channel();
        let builder = Balancer::builder().seed(1).max_outstanding(max_outstanding);
        let (balancer, driver) = builder.build(strategy, stream).unwrap();
        Self { handle, balancer, driver: Box::pin(driver) }
    }

    fn insert(&mut self, name: &'static str, endpoint: Endpoint<Backend>) {
        self.handle.insert(name, endpoint).unwrap();
        drive(&mut self.driver);
    }

    fn ask<Req>(&mut self, request: Req) -> Option<Result<String, Error>>
    where
        St::Picker: Pick<Req>,
    {
        self.balancer.call(request).now_or_never()
    }

    /// Who answers; there must be somebody.
    fn answer<Req>(&mut self, request: Req) -> String
    where
        St::Picker: Pick<Req>,
    {
        self.ask(request).unwrap().unwrap()
    }

    fn answers(&mut self, requests: usize) -> BTreeMap<String, usize>
    where
        St::Picker: Pick<()>,
    {
        count((0..requests).map(|_| self.answer(())))
    }
}

fn count(names: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    names.into_iter().fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name).or_default() += 1;
        counts
    })
}

fn version(name: &'static str, version: &str) -> Endpoint<Backend> {
    Endpoint::new(Backend::new(name)).with_metadata("version", version)
}

fn down<T>(endpoint: Endpoint<T>) -> Endpoint<T> {
    endpoint.with_health(Health::unhealthy("down"))
}

#[test]
fn a_subset_falls_back_when_none_of_it_is_eligible() {
    let strategy = Subset::new(RoundRobin::starting_at(0), [("version", "2"), ("stage", "prod")])
        .or([("version", "2")])
        .or_any();
    let mut site = Site::new(strategy);
    site.insert("a", version("a", "1"));
    assert_eq!(site.answer(()), "a");
    site.insert("b", version("b", "2"));
    assert_eq!(site.answers(4), count(["b"; 4].map(String::from)));
    let prod = version("c", "2").with_metadata("stage", "prod");
    site.insert("c", prod.clone());
    assert_eq!(site.answers(4), count(["c"; 4].map(String::from)));
    site.insert("c", down(prod));
    let back = site.answers(4);
    assert_eq!(back, count(["b"; 4].map(String::from)), "that it exists is not enough");
    site.insert("b", version("b", "2").with_weight(0));
    assert_eq!(site.answer(()), "a");
}

#[test]
fn without_a_last_resort_nobody_is_available_until_the_subset_is() {
    let mut site = Site::new(Subset::new(P2c::default(), [("version", "2")]));
    site.insert("a", version("a", "1"));
    assert!(site.ask(()).is_none(), "waits");
    site.insert("b", version("b", "2"));
    assert_eq!(site.answer(()), "b");
}

/// One endpoint of version 1, and two of version 2 that hold their requests and take one each.
fn full_site<St: Strategy>(strategy: St) -> (Site<St>, [Backend; 2]) {
    let mut site = Site::limited(strategy, 1);
    site.insert("a", version("a", "1"));
    let holding = ["b", "c"].map(|name| {
        let backend = Backend::holding(name);
        site.insert(name, Endpoint::new(backend.clone()).with_metadata("version", "2"));
        backend
    });
    (site, holding)
}

#[test]
fn a_full_subset_spills_into_the_next() {
    let strategy = Subset::new(P2c::default(), [("version", "2")]).or_any();
    let (mut site, holding) = full_site(strategy);
    let held = [site.balancer.call(()), site.balancer.call(())];
    assert_eq!(holding.each_ref().map(Backend::calls), [1, 1]);
    assert_eq!(site.answer(()), "a");
    drop(held);
    drop(site.balancer.call(()));
    assert_eq!(holding.iter().map(Backend::calls).sum::<usize>(), 3);
}

#[test]
fn a_full_subset_without_a_next_has_requests_wait() {
    let (mut site, holding) = full_site(Subset::new(P2c::default(), [("version", "2")]));
    let mut held = [site.balancer.call(()), site.balancer.call(())].map(Box::pin);
    let mut waiting = Box::pin(site.balancer.call(()));
    assert!(waiting.as_mut().now_or_never().is_none(), "neither refused nor sent to a");
    assert!(holding[0].answer());
    let answered = held.iter_mut().filter_map(|held| held.as_mut().now_or_never());
    assert_eq!(answered.count(), 1);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(holding[0].calls(), 2, "sent as soon as there was room");
    assert!(holding[0].answer());
    assert_eq!(waiting.now_or_never().unwrap().unwrap(), "b");
}

/// A request that says what it wants.
#[derive(Clone, Copy, Default)]
struct Wish {
    version: Option<&'static str>,
    stage: Option<&'static str>,
}

fn wanted<'a>(wish: &'a Wish, label: &str) -> Option<&'a str> {
    match label {
        "version" => wish.version,
        "stage" => wish.stage,
        _ => None,
    }
}

fn wish(version: &'static str, stage: &'static str) -> Wish {
    Wish { version: Some(version), stage: Some(stage) }
}

#[test]
fn a_request_gets_the_subset_it_asks_for() {
    let strategy = SubsetBy::new(P2c::default(), ["version", "stage"], wanted)
        .or(["stage"])
        .or_fixed([("version", "1")]);
    let mut site = Site::new(strategy);
    for (name, of, stage) in
        [("1-prod", "1", "prod"), ("2-prod", "2", "prod"), ("2-test", "2", "test")]
    {
        site.insert(name, version(name, of).with_metadata("stage", stage));
    }
    assert_eq!(site.answer(wish("2", "prod")), "2-prod");
    assert_eq!(site.answer(wish("2", "test")), "2-test");
    assert_eq!(site.answer(wish("1", "test")), "2-test", "there is no 1-test: by stage alone");
    assert_eq!(site.answer(Wish { stage: Some("test"), ..Wish::default() }), "2-test");
    assert_eq!(site.answer(wish("2", "none")), "1-prod", "no such stage: the fixed one");
    assert_eq!(site.answer(Wish::default()), "1-prod");
    site.insert("1-prod", down(version("1-prod", "1").with_metadata("stage", "prod")));
    assert!(matches!(site.ask(Wish::default()), Some(Err(Error::Refused { .. }))));
}

#[test]
fn subsets_take_their_turns_apart_and_keep_them_when_endpoints_change() {
    let strategy = SubsetBy::new(RoundRobin::starting_at(0), ["version"], wanted);
    let mut site = Site::new(strategy);
    for name in ["a", "b"] {
        site.insert(name, version(name, "1"));
    }
    for name in ["c", "d"] {
        site.insert(name, version(name, "2"));
    }
    let of = |version| Wish { version: Some(version), stage: None };
    // With one counter for both, a and c would get all of this.
    let ask = |site: &mut Site<_>, times| {
        count((0..times).flat_map(|_| ["1", "2"].map(of)).map(|wish| site.answer(wish)))
    };
    let even: BTreeMap<_, _> = ["a", "b", "c", "d"].map(|name| (name.to_owned(), 2)).into();
    assert_eq!(ask(&mut site, 4), even);
    assert_eq!(site.answer(of("1")), "a");
    site.insert("e", version("e", "3"));
    assert_eq!(site.answer(of("1")), "b", "goes on where it was");
}

/// Who belongs to a version.
fn of_version(wanted: &'static str) -> impl Fn(&Candidate) -> bool + Send + Sync + 'static {
    move |candidate| candidate.metadata().get("version") == Some(wanted)
}

#[test]
fn five_percent_is_five_in_every_hundred() {
    let (strategy, _shares) = Split::builder()
        .group("stable", 95, of_version("1"), P2c::default())
        .group("canary", 5, of_version("2"), P2c::default())
        .build()
        .unwrap();
    let mut site = Site::new(strategy);
    for name in ["a", "b"] {
        site.insert(name, version(name, "1"));
    }
    site.insert("c", version("c", "2"));
    site.insert("x", version("x", "3"));
    for _ in 0..20 {
        let mut clones: Vec<_> = (0..4).map(|_| site.balancer.clone()).collect();
        let names = (0..100).map(|n| clones[n % 4].call(()).now_or_never().unwrap().unwrap());
        let counts = count(names);
        assert_eq!(counts["c"], 5);
        assert!(!counts.contains_key("x"), "who belongs to no group gets nothing");
    }
}

#[test]
fn a_group_without_eligible_endpoints_hands_its_share_on() {
    let (strategy, _shares) = Split::builder()
        .group("one", 2, of_version("1"), RoundRobin::new())
        .group("two", 1, of_version("2"), RoundRobin::new())
        .group("three", 1, of_version("3"), RoundRobin::new())
        .group("off", 0, of_version("4"), RoundRobin::new())
        .build()
        .unwrap();
    let mut site = Site::new(strategy);
    site.insert("off", version("off", "4"));
    assert!(site.ask(()).is_none(), "0 is 0, so nobody is available");
    let all = [("a", "1"), ("b", "2"), ("c", "3")];
    for (name, of) in all {
        site.insert(name, version(name, of));
    }
    let counts = |counts: [(&str, usize); 3]| -> BTreeMap<_, _> {
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        counts.map(|(name, count)| (name.to_owned(), count)).collect()
    };
    assert_eq!(site.answers(12), counts([("a", 6), ("b", 3), ("c", 3)]));
    site.insert("a", down(version("a", "1")));
    assert_eq!(site.answers(12), counts([("a", 0), ("b", 6), ("c", 6)]));
    site.insert("a", version("a", "1"));
    site.insert("b", down(version("b", "2")));
    assert_eq!(site.answers(12), counts([("a", 8), ("b", 0), ("c", 4)]));
}

#[test]
fn a_retry_leaves_its_group_if_that_has_nobody_else() {
    let (strategy, _shares) = Split::builder()
        .group("stable", 1, of_version("1"), P2c::default())
        .group("canary", 1, of_version("2"), P2c::default())
        .build()
        .unwrap();
    let mut strategy = strategy;
    let endpoints = ["1", "1", "2"].map(|of| Endpoint::new(()).with_metadata("version", of));
    let candidates = Candidates::for_strategy(&strategy, endpoints.iter().enumerate());
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let pick = |tried: &[usize]| {
        let mut been = Tried::none();
        tried.iter().for_each(|&index| been.add(endpoints[index].stats()));
        let mut rng = Rng::seeded(1);
        let mut context = PickContext::new(&mut rng, Now::lazy(), &been);
        picker.pick(&(), &mut context).unwrap().name().parse::<usize>().unwrap()
    };
    for _ in 0..10 {
        assert_ne!(pick(&[2]), 2);
        assert_eq!(pick(&[0, 1]), 2);
        assert_ne!(pick(&[0]), 0);
    }
    let everywhere: std::collections::BTreeSet<_> = (0..10).map(|_| pick(&[0, 1, 2])).collect();
    assert!(everywhere.contains(&2), "a preference, never a veto");
}

/// 1000 requests through a strategy; all are answered, by those that may.
fn run<St: Strategy<Picker: Pick<Wish>>>(strategy: St, may: fn(&str) -> bool) {
    let mut site = Site::limited(strategy, 3);
    for (name, of) in [("1a", "1"), ("1b", "1"), ("1c", "1"), ("2a", "2"), ("2b", "2"), ("3a", "3")]
    {
        site.insert(name, version(name, of).with_weight(2));
    }
    site.insert("2c", down(version("2c", "2")));
    for _ in 0..1000 {
        let answer = site.answer(Wish { version: Some("2"), stage: None });
        assert!(may(&answer), "{answer}");
    }
}

/// Wrappers in each other's way round, over every everyday strategy.
fn run_all<St: Strategy<Picker: Pick<Wish>> + Clone>(inner: &St) {
    fn subset<S: Strategy + Clone>(inner: S) -> Subset<S> {
        Subset::new(inner, [("version", "4")]).or([("version", "2")])
    }
    fn second<S: Strategy + Clone>(inner: S) -> Subset<S> {
        Subset::new(inner, [("version", "2")])
    }
    fn by<S: Strategy + Clone>(
        inner: S,
    ) -> SubsetBy<S, for<'a, 'b> fn(&'a Wish, &'b str) -> Option<&'a str>> {
        let wanted: for<'a, 'b> fn(&'a Wish, &'b str) -> Option<&'a str> = wanted;
        SubsetBy::new(inner, ["version", "stage"], wanted).or(["version"])
    }
    fn split<S: Strategy + Clone>(inner: S) -> Split<S> {
        let split = Split::builder().group("one", 1, of_version("1"), inner.clone());
        split.group("two", 3, of_version("2"), inner).build().unwrap().0
    }
    let two: fn(&str) -> bool = |name| ["2a", "2b"].contains(&name);
    let one_or_two: fn(&str) -> bool = |name| ["1a", "1b", "1c", "2a", "2b"].contains(&name);
    let inner = || inner.clone();
    run(subset(inner()), two);
    run(by(inner()), two);
    run(split(inner()), one_or_two);
    run(second(subset(inner())).or_any(), two);
    run(subset(Subset::new(inner(), [("version", "1")]).or_any()), two);
    run(by(second(inner())), two);
    run(split(second(inner())), two);
    run(second(by(inner())), two);
    run(by(by(inner())), two);
    run(split(by(inner())), one_or_two);
    run(second(split(inner())), two);
    run(by(split(inner())), two);
    run(split(split(inner())), one_or_two);
}

#[test]
fn wrappers_wrap_each_other_over_every_strategy() {
    run_all(&RoundRobin::new());
    run_all(&Random);
    run_all(&P2c::default());
    run_all(&P2c::peak_ewma());
    run_all(&LeastLoaded::default());
    run_all(&LeastLoaded::peak_ewma());
}

#[test]
fn shares_change_while_it_serves_and_the_driver_ends_with_the_last_handle() {
    let (strategy, shares) = Split::builder()
        .group("stable", 100, of_version("1"), P2c::default())
        .group("canary", 0, of_version("2"), P2c::default())
        .build()
        .unwrap();
    let endpoints = [("a", version("a", "1")), ("b", version("b", "2"))];
    let (mut balancer, driver) = Balancer::new::<_, ()>(strategy, discover::list(endpoints));
    let mut driver = Box::pin(driver);
    let mut canary = |percent| {
        let names = (0..100).map(|_| balancer.call(()).now_or_never().unwrap().unwrap());
        assert_eq!(count(names).get("b").copied().unwrap_or(0), percent);
    };
    assert!(!drive(&mut driver), "the list has ended, but shares may change");
    canary(0);
    for percent in [5, 25, 100, 0] {
        shares.set([("canary", percent), ("stable", 100 - percent)]).unwrap();
        assert!(!drive(&mut driver));
        canary(percent as usize);
    }
    let other = shares.clone();
    let error = other.set([("canary", 50), ("green", 1)]).unwrap_err();
    assert_eq!(error.to_string(), "`group` is \"green\": expected the name of a group");
    let error = other.set([("stable", 0)]).unwrap_err();
    assert_eq!(error.to_string(), "`shares`: expected at least one share above 0");
    assert_eq!(other.get(), [("stable".into(), 100), ("canary".into(), 0)]);
    drop(shares);
    assert!(!drive(&mut driver));
    drop(other);
    assert!(drive(&mut driver));
    canary(0);
}

#[test]
fn invalid_splits_are_rejected() {
    let error = |groups: &[(&'static str, u32)]| {
        let builder = Split::builder();
        let builder = groups.iter().fold(builder, |builder, &(name, share)| {
            builder.group(name, share, |_: &Candidate| true, RoundRobin::new())
        });
        builder.build().unwrap_err().to_string()
    };
    assert_eq!(error(&[]), "`groups`: expected at least one group");
    assert_eq!(error(&[("a", 0), ("b", 0)]), "`groups`: expected at least one share above 0");
    let duplicate = "`groups` is two groups named \"a\": expected different names";
    assert_eq!(error(&[("a", 1), ("b", 1), ("a", 1)]), duplicate);
}

/// A split of three groups, each of one endpoint named like its group; `None` is an unhealthy one.
fn split_of(shares: [u32; 3], unhealthy: Option<usize>) -> impl Fn(u64) -> Option<usize> {
    let belongs = |group: usize| move |c: &Candidate| c.name() == group.to_string();
    let builder = shares.into_iter().enumerate().fold(Split::builder(), |builder, (n, share)| {
        builder.group(n.to_string(), share, belongs(n), RoundRobin::new())
    });
    let (mut strategy, _shares) = builder.sticky_by(|&key: &u64| Some(key)).build().unwrap();
    let endpoints: Vec<_> = (0..3)
        .map(|n| if Some(n) == unhealthy { down(Endpoint::new(())) } else { Endpoint::new(()) })
        .collect();
    let candidates = Candidates::for_strategy(&strategy, endpoints.iter().enumerate());
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    move |key| {
        let (mut rng, tried) = (Rng::seeded(1), Tried::none());
        let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
        Some(picker.pick(&key, &mut context)?.name().parse().unwrap())
    }
}

fn seeded() -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(7), cases: 64, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(seeded())]

    /// Raising a share moves keys only to that group; a group that fails loses only its own.
    #[test]
    fn keys_move_only_where_they_must(
        shares in prop::array::uniform3(1_u32..1000), raised in 0_usize..3, by in 1_u32..1000,
    ) {
        let before = split_of(shares, None);
        let mut after = shares;
        after[raised] += by;
        let (after, without) = (split_of(after, None), split_of(shares, Some(raised)));
        for key in 0..500 {
            let [was, is, else_] = [before(key), after(key), without(key)];
            prop_assert_eq!(was, before(key));
            prop_assert!(was == is || is == Some(raised), "{was:?} to {is:?}");
            prop_assert!(was == else_ || was == Some(raised), "{was:?} to {else_:?}");
            prop_assert!(else_.is_some_and(|group| group != raised));
        }
    }

    /// Four standard deviations of 10 000 keys.
    #[test]
    fn keys_are_split_by_shares(shares in prop::array::uniform3(1_u32..20), start: u64) {
        let split = split_of(shares, None);
        let mut counts = [0_u32; 3];
        (0..10_000).for_each(|n| counts[split(start.wrapping_add(n)).unwrap()] += 1);
        let total: u32 = shares.iter().sum();
        for (&count, &share) in counts.iter().zip(&shares) {
            let p = f64::from(share) / f64::from(total);
            let (expected, deviation) = (10_000.0 * p, (10_000.0 * p * (1.0 - p)).sqrt());
            prop_assert!((f64::from(count) - expected).abs() <= 4.0 * deviation, "{counts:?}");
        }
    }

    /// After any number of requests from any turn on, nobody is two requests off its share.
    #[test]
    fn turns_are_split_smoothly(
        shares in prop::collection::vec(0_u32..100, 1..6), start: u64, requests in 1_u32..500,
    ) {
        let total: u32 = shares.iter().sum();
        prop_assume!(total > 0 && start.checked_add(500).is_some());
        let belongs = |group: usize| move |c: &Candidate| c.name() == group.to_string();
        let builder = shares.iter().enumerate().fold(Split::builder(), |builder, (n, &share)| {
            builder.group(n.to_string(), share, belongs(n), P2c::default())
        });
        // Turns are counted modulo 2^32, where the cycle breaks off.
        let start = start % (1 << 31);
        let (mut strategy, _) = builder.starting_at(start).build().unwrap();
        let endpoints = vec![Endpoint::new(()); shares.len()];
        let candidates = Candidates::for_strategy(&strategy, endpoints.iter().enumerate());
        let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
        let (mut rng, tried) = (Rng::seeded(1), Tried::none());
        let mut counts = vec![0_u32; shares.len()];
        for _ in 0..requests {
            let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
            let group: usize = picker.pick(&(), &mut context).unwrap().name().parse().unwrap();
            counts[group] += 1;
        }
        for (&count, &share) in counts.iter().zip(&shares) {
            let expected = f64::from(requests) * f64::from(share) / f64::from(total);
            prop_assert!((f64::from(count) - expected).abs() < 2.0, "{counts:?} of {shares:?}");
        }
    }

    /// Whoever is picked belongs to the first subset in the list that has an eligible endpoint that
    /// was not tried; and somebody is picked if there is such a subset.
    #[test]
    fn the_first_subset_that_will_do_is_taken(
        endpoints in prop::collection::vec((0_u32..3, 0_u32..3, 0_u32..3, any::<bool>()), 0..8),
        wish in (0_usize..3, 0_usize..3), last_resort: bool,
    ) {
        const VALUES: [&str; 3] = ["x", "y", "z"];
        let labelled: Vec<_> = endpoints.iter().map(|&(version, stage, weight, _)| {
            Endpoint::new(())
                .with_metadata("version", VALUES[version as usize])
                .with_metadata("stage", VALUES[stage as usize])
                .with_weight(weight)
        }).collect();
        let mut tried = Tried::none();
        endpoints.iter().zip(&labelled).filter(|((.., been), _)| *been)
            .for_each(|(_, endpoint)| tried.add(endpoint.stats()));
        let wish = Wish { version: Some(VALUES[wish.0]), stage: Some(VALUES[wish.1]) };

        let mut fixed = Subset::new(
            P2c::default(),
            [("version", wish.version.unwrap()), ("stage", wish.stage.unwrap())],
        ).or([("stage", wish.stage.unwrap())]);
        let mut asked = SubsetBy::new(P2c::default(), ["version", "stage"], wanted).or(["stage"]);
        if last_resort {
            (fixed, asked) = (fixed.or_any(), asked.or_any());
        }
        let matches = |endpoint: &Endpoint<()>, level: usize| {
            let is = |label, value| endpoint.metadata().get(label) == value;
            endpoint.is_eligible() && match level {
                0 => is("version", wish.version) && is("stage", wish.stage),
                1 => is("stage", wish.stage),
                _ => last_resort,
            }
        };
        let level = |accepts: &dyn Fn(&Endpoint<()>) -> bool| {
            (0..3).find(|&level| labelled.iter().any(|e| matches(e, level) && accepts(e)))
        };
        let untried = level(&|endpoint| !tried.contains(endpoint.stats()));
        let expected = untried.or_else(|| level(&|_| true));

        let candidates = Candidates::for_strategy(&fixed, labelled.iter().enumerate());
        let (fixed, asked) = (fixed.build(&candidates, &mut BuildContext::new()).into_picker(), asked.build(&candidates, &mut BuildContext::new()).into_picker());
        let mut rng = Rng::seeded(3);
        for _ in 0..5 {
            let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
            for picked in [fixed.pick(&wish, &mut context), asked.pick(&wish, &mut context)] {
                let picked = picked.map(|c| &labelled[c.name().parse::<usize>().unwrap()]);
                prop_assert_eq!(picked.is_some(), expected.is_some());
                let Some((picked, level)) = picked.zip(expected) else { continue };
                prop_assert!(matches(picked, level));
                prop_assert!(untried.is_none() || !tried.contains(picked.stats()));
            }
        }
    }
}
