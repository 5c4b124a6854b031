//! Sources and adapters, from stream to stream.

use std::{
    convert::Infallible,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::time::sleep;
use tower::{
    Service, ServiceExt,
    discover::{Change, ServiceList},
    load::{CompleteOnResponse, PendingRequestsDiscover},
    service_fn,
};
use tower_lb::{
    Balancer, BoxError,
    discover::{self, Disconnected, Discover, DiscoverExt, Update},
    endpoint::{Endpoint, Health},
    strategy::RoundRobin,
};
use tower_lb_test_support::{Backend, Failure, drive};

/// All that a stream has for us now.
fn collect_now<T>(stream: impl Stream<Item = T>) -> Vec<T> {
    let mut stream = std::pin::pin!(stream);
    std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect()
}

fn ok<K: Debug, T: Debug, E: Debug>(items: Vec<Result<Update<K, T>, E>>) -> Vec<Update<K, T>> {
    items.into_iter().map(Result::unwrap).collect()
}

#[test]
fn a_channel_passes_changes_on_in_order_and_ends_with_its_handles() {
    let (handle, stream) = discover::channel();
    let second = handle.clone();
    handle.insert("a", 1).unwrap();
    second.remove("a").unwrap();
    handle.reset([("b", Endpoint::new(2).with_weight(3))]).unwrap();
    drop((handle, second));
    let updates = ok(stream.collect::<Vec<_>>().now_or_never().expect("ends"));
    let expected = [
        Update::Insert("a", Endpoint::new(1)),
        Update::Remove("a"),
        Update::Reset(vec![("b", Endpoint::new(2).with_weight(3))]),
    ];
    assert_eq!(updates, expected);

    let (handle, stream) = discover::channel::<&str, u8>();
    drop(stream);
    assert_eq!(handle.insert("a", 1), Err(Disconnected));
}

#[test]
fn sets_of_addresses_are_whole_updates() {
    let sets = stream::iter([Ok(vec!["a", "b"]), Err(Failure("down")), Ok(vec![])]);
    let updates = collect_now(discover::sets(sets));
    let reset = vec![("a", Endpoint::new("a")), ("b", Endpoint::new("b"))];
    assert_eq!(
        updates,
        [Ok(Update::Reset(reset)), Err(Failure("down")), Ok(Update::Reset(vec![]))]
    );
}

/// Connects by counting.
fn counted(connects: &Arc<AtomicU32>) -> impl FnMut(&&'static str) -> (&'static str, u32) + use<> {
    let connects = Arc::clone(connects);
    move |address| (*address, connects.fetch_add(1, Ordering::SeqCst))
}

#[test]
fn connect_keeps_services_of_unchanged_targets_and_drops_updates_that_change_nothing() {
    let connects = Arc::default();
    let (handle, stream) = discover::channel();
    let mut stream = stream.connect(counted(&connects));
    handle.insert("k", "10.0.0.1").unwrap();
    let [Update::Insert(_, first)] = &ok(collect_now(&mut stream))[..] else { panic!() };

    handle.insert("k", "10.0.0.1").unwrap();
    assert!(collect_now(&mut stream).is_empty(), "nothing has changed");

    handle.insert("k", Endpoint::new("10.0.0.1").with_weight(5)).unwrap();
    let [Update::Insert(_, heavier)] = &ok(collect_now(&mut stream))[..] else { panic!() };
    assert_eq!((heavier.target(), heavier.weight()), (&("10.0.0.1", 0), 5));
    assert!(Arc::ptr_eq(heavier.stats(), first.stats()));

    handle.insert("k", "10.0.0.2").unwrap();
    let [Update::Insert(_, moved)] = &ok(collect_now(&mut stream))[..] else { panic!() };
    assert_eq!(moved.target(), &("10.0.0.2", 1));

    handle.reset([("k", "10.0.0.2"), ("l", "10.0.0.3")]).unwrap();
    let [Update::Reset(all)] = &ok(collect_now(&mut stream))[..] else { panic!() };
    assert_eq!(all.len(), 2);
    assert_eq!(connects.load(Ordering::SeqCst), 3, "k goes on with its service");
    handle.reset([("l", "10.0.0.3"), ("k", "10.0.0.2")]).unwrap();
    assert!(collect_now(&mut stream).is_empty(), "the same set again");

    handle.remove("k").unwrap();
    handle.remove("k").unwrap();
    handle.insert("k", "10.0.0.2").unwrap();
    let updates = ok(collect_now(&mut stream));
    assert!(matches!(updates[..], [Update::Remove("k"), Update::Insert("k", _)]), "{updates:?}");
    assert_eq!(connects.load(Ordering::SeqCst), 4, "connected anew");
}

#[tokio::test(start_paused = true)]
async fn make_waits_for_none_retries_failures_and_drops_what_is_out_of_date() {
    let attempts = Arc::new(AtomicU32::new(0));
    let make = {
        let attempts = Arc::clone(&attempts);
        service_fn(move |address: &'static str| {
            let attempt = attempts.fetch_add(1, Ordering::SeqCst);
            async move {
                match address {
                    "slow" => sleep(Duration::from_secs(10)).await,
                    "flaky" if attempt < 3 => return Err(Failure("refused")),
                    _ => {}
                }
                Ok(address)
            }
        })
    };
    let (handle, stream) = discover::channel();
    let mut stream = Box::pin(stream.make(make));
    handle.insert("s", "slow").unwrap();
    handle.insert("f", "flaky").unwrap();
    handle.insert("q", "quick").unwrap();

    let (mut made, mut errors) = (Vec::new(), 0);
    let start = tokio::time::Instant::now();
    while made.len() < 2 {
        match stream.next().await.unwrap() {
            Ok(Update::Insert(key, _)) => made.push(key),
            Ok(update) => panic!("{update:?}"),
            Err(error) => {
                assert_eq!(error.downcast_ref(), Some(&Failure("refused")));
                errors += 1;
            }
        }
    }
    assert_eq!((&made[..], errors), (&["q", "f"][..], 1));
    assert!(start.elapsed() < Duration::from_secs(1), "nobody waited for the slow one");

    // What is made for a target that has changed meanwhile is dropped.
    handle.insert("s", "quick").unwrap();
    let Some(Ok(Update::Insert("s", endpoint))) = stream.next().await else { panic!() };
    assert_eq!(endpoint.target(), &"quick");
    handle.remove("s").unwrap();
    let Some(Ok(Update::Remove("s"))) = stream.next().await else { panic!() };
    drop(handle);
    assert!(stream.next().await.is_none(), "and the stream ends without the slow one's service");
}

#[tokio::test]
async fn towers_discover_is_a_source() {
    let services = [Backend::new("a"), Backend::new("b")];
    let list = ServiceList::new::<()>(services);
    let balancer = Balancer::spawn::<_, ()>(RoundRobin::starting_at(0), discover::from_tower(list));
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(balancer.clone().oneshot(()).await.unwrap());
    }
    assert_eq!(answers, ["a", "b", "a", "b"]);
}

#[test]
fn tower_is_told_of_eligible_endpoints_only() {
    let (handle, stream) = discover::channel();
    let mut stream = stream.into_tower();
    let mut changes = || {
        let changes = collect_now(&mut stream).into_iter().map(|change| match change {
            Ok(Change::Insert(key, value)) => format!("+{key}{value}"),
            Ok(Change::Remove(key)) => format!("-{key}"),
            Err(never) => match never {},
        });
        let mut changes: Vec<_> = changes.collect();
        changes.sort();
        changes.join(" ")
    };
    handle.insert("a", 1).unwrap();
    handle.insert("b", Endpoint::new(1).with_health(Health::unhealthy("down"))).unwrap();
    assert_eq!(changes(), "+a1");
    handle.insert("a", Endpoint::new(1).with_weight(0)).unwrap();
    handle.insert("b", 2).unwrap();
    assert_eq!(changes(), "+b2 -a");
    handle.reset([("a", Endpoint::new(3)), ("c", Endpoint::new(1).with_weight(0))]).unwrap();
    assert_eq!(changes(), "+a3 -b");
    handle.remove("a").unwrap();
    handle.remove("c").unwrap();
    assert_eq!(changes(), "-a");
}

#[tokio::test]
async fn towers_own_balance_takes_our_stream() {
    let (handle, stream) = discover::channel();
    let discover =
        PendingRequestsDiscover::new::<()>(stream.into_tower(), CompleteOnResponse::default());
    let mut balance = tower::balance::p2c::Balance::new(discover);
    handle.insert("a", Backend::new("a")).unwrap();
    let answer = balance.ready().await.unwrap().call(()).await.unwrap();
    assert_eq!(answer, "a");
}

/// A source written by hand is any stream; nothing else is asked of it.
#[test]
fn any_stream_is_a_source() {
    fn assert_discover<D: Discover<Key = u32, Target = &'static str, Error = BoxError>>(_: &D) {}
    let mine = stream::iter([Ok(Update::Insert(1_u32, Endpoint::new("a")))]);
    assert_discover(&mine);
    let connected = mine.connect(|_| service_fn(|()| async { Ok::<_, Infallible>("yes") }));
    let (mut balancer, driver) = Balancer::new(RoundRobin::new(), connected);
    drive(&mut Box::pin(driver));
    assert_eq!(balancer.call(()).now_or_never().unwrap().unwrap(), "yes");
}
