//! Adapters from stream to stream: what comes out for what goes in.

use std::{convert::Infallible, fmt::Debug, sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt, stream};
use proptest::{prelude::*, test_runner::RngSeed};
use tokio::{
    task::unconstrained,
    time::{Instant, advance},
};
use tower_lb::{
    BoxError,
    discover::{self, DiscoverExt, Handle, Update},
    endpoint::{Endpoint, Health, Locality},
};

type Plain = Handle<&'static str, u32>;

/// All that a stream has for us now.
fn now<K: Debug, T: Debug, E: Debug>(
    stream: impl Stream<Item = Result<Update<K, T>, E>>,
) -> Vec<Update<K, T>> {
    let mut stream = std::pin::pin!(stream);
    let items = std::iter::from_fn(|| stream.next().now_or_never().flatten());
    items.map(Result::unwrap).collect()
}

fn reset<const N: usize>(all: [(&'static str, u32); N]) -> Update<&'static str, u32> {
    Update::Reset(all.into_iter().map(|(key, target)| (key, target.into())).collect())
}

fn insert(key: &'static str, target: u32) -> Update<&'static str, u32> {
    Update::Insert(key, target.into())
}

#[test]
fn attributes_are_set_and_keys_and_targets_mapped() {
    let (handle, stream) = discover::channel();
    let locality = Locality::new("eu", "eu-a");
    let mut stream = stream
        .in_locality(locality.clone())
        .in_tier(2)
        .with_weights(|key: &&str, endpoint| key.len() as u32 * endpoint.target())
        .map_keys(|key| format!("eu/{key}"))
        .map_endpoints(|key, endpoint| endpoint.map(|n| format!("{key}:{n}")));
    handle.insert("ab", 5).unwrap();
    handle.reset([("c", 6)]).unwrap();
    handle.remove("c").unwrap();
    let endpoint = |target: &str, weight| {
        let endpoint = Endpoint::new(target.to_owned()).with_weight(weight).with_tier(2);
        endpoint.with_locality(locality.clone())
    };
    assert_eq!(
        now(&mut stream),
        [
            Update::Insert("eu/ab".to_owned(), endpoint("eu/ab:5", 10)),
            Update::Reset(vec![("eu/c".to_owned(), endpoint("eu/c:6", 6))]),
            Update::Remove("eu/c".to_owned()),
        ]
    );
}

#[test]
fn what_is_no_longer_wanted_is_removed() {
    let (handle, stream): (Plain, _) = discover::channel();
    let mut stream = stream.filter_endpoints(|_, endpoint| endpoint.is_eligible());
    let sick = Endpoint::new(1).with_health(Health::unhealthy("down"));
    handle.insert("a", sick.clone()).unwrap();
    handle.remove("a").unwrap();
    assert_eq!(now(&mut stream), [], "never seen");
    handle.insert("a", 1).unwrap();
    handle.insert("a", sick.clone()).unwrap();
    handle.insert("a", sick.clone()).unwrap();
    assert_eq!(now(&mut stream), [insert("a", 1), Update::Remove("a")]);
    handle.reset([("a", sick), ("b", Endpoint::new(2))]).unwrap();
    handle.remove("b").unwrap();
    handle.remove("a").unwrap();
    assert_eq!(now(&mut stream), [reset([("b", 2)]), Update::Remove("b")]);
}

#[test]
fn updates_that_change_nothing_are_dropped() {
    let (handle, stream): (Plain, _) = discover::channel();
    let mut stream = stream.dedup();
    handle.insert("a", 1).unwrap();
    handle.insert("a", 1).unwrap();
    handle.remove("b").unwrap();
    handle.reset([("a", 1)]).unwrap();
    handle.insert("a", Endpoint::new(1).with_weight(5)).unwrap();
    handle.insert("a", 2).unwrap();
    let updates = now(&mut stream);
    let [Update::Insert("a", first), Update::Insert("a", heavy), Update::Insert("a", other)] =
        &updates[..]
    else {
        panic!("{updates:?}")
    };
    assert_eq!((*first.target(), heavy.weight(), *other.target()), (1, 5, 2));
    assert!(Arc::ptr_eq(first.stats(), heavy.stats()), "the same target");
    assert!(!Arc::ptr_eq(heavy.stats(), other.stats()), "another target");

    handle.reset([("a", 7), ("b", 3), ("a", 2)]).unwrap();
    assert_eq!(now(&mut stream), [reset([("a", 2), ("b", 3)])], "of duplicates the last counts");
    handle.reset([("b", 3), ("a", 2)]).unwrap();
    assert_eq!(now(&mut stream), [], "order is no change");
    handle.remove("a").unwrap();
    handle.reset::<u32>([]).unwrap();
    handle.reset::<u32>([]).unwrap();
    assert_eq!(now(&mut stream), [Update::Remove("a"), reset([])]);
}

#[test]
fn the_first_source_that_has_an_endpoint_says_what_it_is() {
    let (first, one): (Plain, _) = discover::channel();
    let (second, two): (Plain, _) = discover::channel();
    let mut merged = discover::merge([one, two]);
    second.insert("a", 2).unwrap();
    assert_eq!(now(&mut merged), [insert("a", 2)]);
    first.insert("a", 1).unwrap();
    assert_eq!(now(&mut merged), [insert("a", 1)]);
    second.insert("a", 22).unwrap();
    assert_eq!(now(&mut merged), [], "hidden");
    second.insert("b", 3).unwrap();
    first.remove("a").unwrap();
    assert_eq!(now(&mut merged), [insert("a", 22), insert("b", 3)]);
    first.remove("a").unwrap();
    assert_eq!(now(&mut merged), []);

    first.reset([("c", 4), ("b", 5)]).unwrap();
    assert_eq!(now(&mut merged), [reset([("c", 4), ("b", 5), ("a", 22)])]);
    second.remove("b").unwrap();
    second.reset([("d", 6)]).unwrap();
    assert_eq!(now(&mut merged), [reset([("c", 4), ("b", 5), ("d", 6)])]);
    first.remove("b").unwrap();
    assert_eq!(now(&mut merged), [Update::Remove("b")]);

    drop(first);
    second.remove("d").unwrap();
    assert_eq!(now(&mut merged), [Update::Remove("d")]);
    second.reset([("e", 7)]).unwrap();
    assert_eq!(now(&mut merged), [reset([("c", 4), ("e", 7)])], "what has ended stays");
    drop(second);
    assert!(matches!(merged.next().now_or_never(), Some(None)), "ended");
    let none: [discover::List<u32, u32>; 0] = [];
    assert!(matches!(discover::merge(none).next().now_or_never(), Some(None)));
}

#[test]
fn sources_of_different_types_are_merged_and_an_error_of_one_concerns_no_other() {
    let fails = stream::iter([Ok(insert("a", 1)), Err("down")]);
    let fails = fails.chain(stream::pending());
    let (handle, fine): (Plain, _) = discover::channel();
    let mut merged =
        discover::merge([fails.map(|u| u.map_err(BoxError::from)).erase(), fine.erase()]);
    handle.insert("b", 2).unwrap();
    let mut errors = 0;
    let items: Vec<_> =
        std::iter::from_fn(|| merged.next().now_or_never().flatten()).collect::<Vec<_>>();
    let updates: Vec<_> = items
        .into_iter()
        .filter_map(|item| {
            item.map_err(|error| errors += usize::from(error.to_string() == "down")).ok()
        })
        .collect();
    assert_eq!((updates, errors), (vec![insert("a", 1), insert("b", 2)], 1));
}

#[test]
fn a_busy_source_starves_no_other() {
    let busy = || stream::repeat_with(|| Ok::<_, Infallible>(insert("busy", 1))).erase();
    let mut merged = discover::merge([
        busy(),
        discover::addresses(["quiet"]).map_endpoints(|_, e| e.map(|_| 2)).erase(),
        busy(),
    ]);
    let first: Vec<_> = (0..4).filter_map(|_| merged.next().now_or_never().flatten()).collect();
    assert!(first.iter().any(|update| matches!(update, Ok(Update::Reset(_)))));
}

#[test]
fn the_last_endpoints_are_kept_until_there_are_others() {
    let (handle, stream): (Plain, _) = discover::channel();
    let mut stream = stream.keep_last_good();
    handle.reset::<u32>([]).unwrap();
    assert_eq!(now(&mut stream), [reset([])], "nothing to keep");
    handle.reset([("a", 1), ("b", 2)]).unwrap();
    handle.reset::<u32>([]).unwrap();
    handle.reset::<u32>([]).unwrap();
    handle.remove("a").unwrap();
    assert_eq!(now(&mut stream), [reset([("a", 1), ("b", 2)])]);
    handle.insert("b", 3).unwrap();
    assert_eq!(now(&mut stream), [reset([("b", 3)])], "the kept are gone");
    handle.insert("c", 4).unwrap();
    handle.remove("b").unwrap();
    handle.remove("c").unwrap();
    assert_eq!(now(&mut stream), [insert("c", 4), Update::Remove("b")], "the last is kept");
    handle.reset([("d", 5)]).unwrap();
    assert_eq!(now(&mut stream), [reset([("d", 5)])]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_passed_on_as_what_it_amounts_to() {
    const MS: Duration = Duration::from_millis(1);
    let (handle, stream): (Plain, _) = discover::channel();
    let mut stream = Box::pin(stream.debounce(100 * MS, 300 * MS));
    handle.insert("a", 1).unwrap();
    assert_eq!(now(&mut stream), [insert("a", 1)], "the first doesn't wait");

    handle.insert("b", 1).unwrap();
    handle.remove("a").unwrap();
    handle.insert("c", 1).unwrap();
    assert_eq!(now(&mut stream), []);
    advance(99 * MS).await;
    handle.insert("b", 2).unwrap();
    handle.remove("c").unwrap();
    assert_eq!(now(&mut stream), []);
    advance(101 * MS).await;
    assert_eq!(now(&mut stream), [insert("b", 2), Update::Remove("a"), Update::Remove("c")]);

    // One that is never quiet for long is passed on all the same.
    let start = Instant::now();
    let mut n = 0;
    let updates = loop {
        n += 1;
        handle.insert("b", n).unwrap();
        match now(&mut stream) {
            updates if updates.is_empty() => advance(50 * MS).await,
            updates => break updates,
        }
    };
    assert_eq!(updates, [insert("b", n)]);
    assert!((300..=350).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());

    handle.insert("d", 1).unwrap();
    handle.reset([("e", 1), ("f", 1)]).unwrap();
    handle.remove("e").unwrap();
    drop(handle);
    let rest: Vec<_> = stream.map(Result::unwrap).collect().now_or_never().unwrap();
    assert_eq!(rest, [reset([("f", 1)])], "the end waits for nothing");
}

#[tokio::test(start_paused = true)]
async fn errors_do_not_wait_and_lose_nothing() {
    let items = [Ok(insert("a", 1)), Ok(insert("b", 1)), Err("down"), Ok(insert("c", 1))];
    let stream = stream::iter(items).chain(stream::pending());
    let mut stream = Box::pin(stream.debounce(Duration::from_secs(1), Duration::MAX));
    assert_eq!(stream.next().await, Some(Ok(insert("a", 1))));
    assert_eq!(stream.next().await, Some(Err("down")));
    assert_eq!(stream.next().await, Some(Ok(insert("b", 1))));
    assert_eq!(stream.next().await, Some(Ok(insert("c", 1))));
}

/// A hundred thousand endpoints that all change at once, through everything.
#[tokio::test(start_paused = true)]
async fn large_sets_pass_through() {
    const MANY: u32 = 100_000;
    let (first, one) = discover::channel::<u32, u32>();
    let (second, two) = discover::channel::<u32, u32>();
    let subset = discover::RendezvousSubset::new("client", 50).unwrap();
    let second_half = MANY / 2..MANY;
    let stream = discover::merge([one, two])
        .filter_endpoints(|_, endpoint| endpoint.target() % 10 != 3)
        .dedup()
        .debounce(Duration::from_secs(1), Duration::from_secs(10))
        .keep_last_good()
        .subset(subset)
        .in_tier(1);
    let mut stream = Box::pin(stream);
    let start = std::time::Instant::now();
    for round in 0..2 {
        first.reset((0..MANY).map(|key| (key, key + round))).unwrap();
        second.reset(second_half.clone().map(|key| (key, 3))).unwrap();
        for key in second_half.clone() {
            first.insert(key, key + round + 1).unwrap();
            first.remove(key ^ 1).unwrap();
        }
        // Each update is one of the burst; a poll takes in so many.
        let mut last = Vec::new();
        for _ in 0..200 {
            // tokio's budget is lifted, as the driver does.
            last.extend(unconstrained(async { now(&mut stream) }).await);
            advance(Duration::from_millis(100)).await;
        }
        let Some(Update::Reset(subset)) = last.pop() else { panic!("{last:?}") };
        assert_eq!(subset.len(), 50);
        assert!(subset.iter().all(|(_, e)| e.tier() == 1 && e.target() % 10 != 3));
    }
    first.reset::<u32>([]).unwrap();
    second.reset::<u32>([]).unwrap();
    for _ in 0..20 {
        assert_eq!(now(&mut stream), [], "kept");
        advance(Duration::from_secs(1)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

fn any_update() -> impl Strategy<Value = Update<&'static str, u32>> {
    let key = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let entry = move || (key(), (0_u32..3).prop_map(Endpoint::new));
    prop_oneof![
        4 => entry().prop_map(|(key, endpoint)| Update::Insert(key, endpoint)),
        3 => key().prop_map(Update::Remove),
        1 => prop::collection::vec(entry(), 0..4).prop_map(Update::Reset),
    ]
}

/// The set that updates amount to.
fn amounts_to(
    updates: impl IntoIterator<Item = Update<&'static str, u32>>,
) -> std::collections::BTreeMap<&'static str, u32> {
    let mut all = std::collections::BTreeMap::new();
    for update in updates {
        match update {
            Update::Insert(key, endpoint) => drop(all.insert(key, *endpoint.target())),
            Update::Remove(key) => drop(all.remove(key)),
            Update::Reset(set) => all = set.iter().map(|(key, e)| (*key, *e.target())).collect(),
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever goes in, in whatever portions: the outcome is that of the plain updates.
    #[test]
    fn adapters_lose_nothing(
        updates in prop::collection::vec((any::<bool>(), any_update()), 0..40),
        pause in 1_usize..8,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        let (mut seen, mut filtered) = (Vec::new(), Vec::new());
        runtime.block_on(async {
            let channels: Vec<_> = (0..2).map(|_| discover::channel()).collect();
            let (handles, streams): (Vec<Plain>, Vec<_>) = channels.into_iter().unzip();
            let merged = discover::merge(streams).dedup();
            let mut stream = Box::pin(merged.debounce(Duration::from_secs(1), Duration::from_secs(3)));
            let (handle, plain): (Plain, _) = discover::channel();
            let mut wanted = plain.filter_endpoints(|_, endpoint| *endpoint.target() > 0);
            for (n, (which, update)) in updates.iter().enumerate() {
                handles[usize::from(*which)].send(update.clone()).unwrap();
                handle.send(update.clone()).unwrap();
                if n % pause == 0 {
                    advance(Duration::from_millis(700)).await;
                    seen.extend(now(&mut stream));
                    filtered.extend(now(&mut wanted));
                }
            }
            drop(handles);
            seen.extend(now(&mut stream));
            filtered.extend(now(&mut wanted));
        });
        let of = |source| updates.iter().filter(move |(s, _)| *s == source).map(|(_, u)| u.clone());
        let mut expected = amounts_to(of(true));
        expected.extend(amounts_to(of(false)));
        prop_assert_eq!(amounts_to(seen), expected);
        let mut expected = amounts_to(updates.iter().map(|(_, update)| update.clone()));
        expected.retain(|_, target| *target > 0);
        prop_assert_eq!(amounts_to(filtered), expected);
    }
}
