//! Endpoints that leave finish what they have begun.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::advance;
use tower_lb::{
    discover::{self, Handle},
    endpoint::{Endpoint, Health},
    health::{Drained, Draining, HealthExt},
    outcome::Outcome,
};
use tower_lb_test_support::Watched;

type Fleet = Watched<Drained<discover::Channel<usize, ()>>>;
type Told = Arc<Mutex<Vec<(String, u32, Duration)>>>;

const SECOND: Duration = Duration::from_secs(1);

fn fleet() -> (Handle<usize, ()>, Fleet, Told) {
    let (handle, stream) = discover::channel();
    handle.reset([(0, ()), (1, ())]).unwrap();
    let told = Told::default();
    let observer = Arc::clone(&told);
    let draining = Draining::within(10 * SECOND).on_drained(move |drained| {
        let told = (drained.endpoint.to_owned(), drained.outstanding, drained.time);
        observer.lock().unwrap().push(told);
    });
    let mut fleet = Watched::new(stream.drained(draining).unwrap());
    fleet.settle();
    (handle, fleet, told)
}

async fn pass(fleet: &mut Fleet, time: Duration) {
    for _ in 0..10 {
        advance(time / 10).await;
        fleet.settle();
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_endpoint_stays_until_its_requests_have_finished() {
    let (handle, mut fleet, told) = fleet();
    let request = fleet.request(&0);
    handle.remove(0).unwrap();
    handle.remove(1).unwrap();
    fleet.settle();
    assert!(!fleet.endpoints().contains_key(&1), "had nothing to do");
    assert_eq!(fleet.endpoint(&0).health(), &Health::draining("removed by discovery"));
    pass(&mut fleet, 5 * SECOND).await;
    assert!(fleet.endpoints().contains_key(&0));
    request.finish(Outcome::Success);
    pass(&mut fleet, SECOND).await;
    assert!(fleet.endpoints().is_empty());
    let told = told.lock().unwrap();
    assert_eq!(told[0], ("1".to_owned(), 0, Duration::ZERO));
    assert_eq!((told[1].0.as_str(), told[1].1), ("0", 0));
    assert!((5 * SECOND..6 * SECOND).contains(&told[1].2), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_marked_goes_when_it_is_empty_and_is_back_when_it_is_healthy() {
    let (handle, mut fleet, told) = fleet();
    let request = fleet.request(&0);
    let marked = Endpoint::new(()).with_health(Health::draining("deploy"));
    handle.insert(0, marked.clone()).unwrap();
    pass(&mut fleet, SECOND).await;
    assert_eq!(fleet.endpoint(&0).health(), marked.health());
    drop(request);
    pass(&mut fleet, SECOND).await;
    assert!(!fleet.endpoints().contains_key(&0));
    // Said once more, and as part of a whole set.
    handle.insert(0, marked.clone()).unwrap();
    handle.reset([(0, marked), (1, Endpoint::new(()))]).unwrap();
    pass(&mut fleet, SECOND).await;
    assert_eq!(fleet.endpoints().len(), 1);
    assert_eq!(told.lock().unwrap().len(), 1);
    handle.insert(0, ()).unwrap();
    fleet.settle();
    assert_eq!(fleet.endpoint(&0).health(), &Health::Healthy);
    handle.remove(0).unwrap();
    fleet.settle();
    assert_eq!(fleet.endpoints().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_it() {
    let (handle, mut fleet, told) = fleet();
    let request = fleet.request(&0);
    handle.reset([(1, ())]).unwrap();
    fleet.settle();
    assert_eq!(fleet.endpoints().len(), 2, "a whole set drains what it leaves out");
    pass(&mut fleet, 11 * SECOND).await;
    assert_eq!(fleet.endpoints().len(), 1);
    assert_eq!(told.lock().unwrap()[0].1, 1, "one request was left");
    request.finish(Outcome::Success);
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_while_it_leaves_has_its_requests_still() {
    let (handle, mut fleet, told) = fleet();
    let request = fleet.request(&0);
    handle.remove(0).unwrap();
    pass(&mut fleet, SECOND).await;
    handle.insert(0, Endpoint::new(()).with_weight(4)).unwrap();
    fleet.settle();
    let endpoint = fleet.endpoint(&0);
    assert_eq!((endpoint.weight(), endpoint.health()), (4, &Health::Healthy));
    assert_eq!(endpoint.stats().outstanding(), 1);
    drop(request);
    pass(&mut fleet, 20 * SECOND).await;
    assert!(fleet.endpoints().contains_key(&0));
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_leave_at_once() {
    let (handle, mut fleet, told) = fleet();
    handle.reset((0..10_000).map(|key| (key, ()))).unwrap();
    fleet.settle();
    let requests: Vec<_> = (0..10_000).map(|key| fleet.request(&key)).collect();
    handle.reset::<()>([]).unwrap();
    fleet.settle();
    assert_eq!(fleet.endpoints().len(), 10_000);
    drop(requests);
    pass(&mut fleet, SECOND).await;
    assert!(fleet.endpoints().is_empty());
    assert_eq!(told.lock().unwrap().len(), 10_000);
}

#[test]
fn nonsense_is_rejected() {
    let stream = discover::channel::<usize, ()>().1;
    let error = stream.drained(Draining::within(Duration::ZERO)).unwrap_err();
    assert_eq!(error.to_string(), "`deadline` is 0 s: expected a time above 0");
}
