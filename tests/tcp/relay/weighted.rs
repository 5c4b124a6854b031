//! Target groups that get connections by weight.

use std::{collections::HashMap, net::SocketAddr};

use tower::Layer;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    endpoint::Endpoint,
    retry::{RetryFailures, RetryLayer},
    strategy::{Candidate, Maglev, Split},
    tcp::{Connection, Relays},
    traffic::CanaryLayer,
};

use crate::{
    nlb::{Nlb, balancer, loopback, serve, soon},
    target::{Target, closed, read},
};

type Key = fn(&Connection) -> Option<u64>;

/// Returns how many connections each target gets.
async fn served(nlb: &Nlb, connections: usize) -> HashMap<String, usize> {
    let mut served = HashMap::new();
    for _ in 0..connections {
        let name = soon(read(&mut nlb.connect().await, 1)).await;
        *served.entry(name).or_default() += 1;
    }
    served
}

/// Of the group that its label names.
fn labelled(address: SocketAddr, group: &str) -> (SocketAddr, Endpoint<SocketAddr>) {
    (address, Endpoint::new(address).with_metadata("group", group))
}

fn group(name: &'static str) -> impl Fn(&Candidate) -> bool + Send + Sync {
    move |endpoint| endpoint.metadata().get("group") == Some(name)
}

fn by_flow() -> Maglev<Key> {
    Maglev::new(Connection::flow_key)
}

#[tokio::test]
async fn groups_of_one_balancer_get_their_shares_exactly() {
    let [a, b, c] = [Target::echo("a").await, Target::echo("b").await, Target::echo("c").await];
    let relays = Relays::builder().build().unwrap();
    let endpoints = discover::list([
        labelled(a.address, "blue"),
        labelled(b.address, "blue"),
        labelled(c.address, "green"),
    ]);
    let (strategy, shares) = Split::builder()
        .group("blue", 90, group("blue"), by_flow())
        .group("green", 10, group("green"), by_flow())
        .build()
        .unwrap();
    let balancer = Builder::tcp().spawn(strategy, endpoints.connect(relays.connector())).unwrap();
    let nlb = serve(loopback(), &relays, balancer);
    let first = served(&nlb, 100).await;
    assert_eq!((first["c"], first["a"] + first["b"]), (10, 90), "{first:?}");
    shares.set([("blue", 0), ("green", 1)]).unwrap();
    assert_eq!(served(&nlb, 20).await, HashMap::from([("c".into(), 20)]));
}

#[tokio::test]
async fn a_client_stays_in_its_group_if_asked() {
    let [a, b] = [Target::echo("a").await, Target::echo("b").await];
    let relays = Relays::builder().build().unwrap();
    let endpoints = discover::list([labelled(a.address, "blue"), labelled(b.address, "green")]);
    let (strategy, _shares) = Split::builder()
        .group("blue", 1, group("blue"), by_flow())
        .group("green", 1, group("green"), by_flow())
        .sticky_by(Connection::source_key)
        .build()
        .unwrap();
    let balancer = Builder::tcp().spawn(strategy, endpoints.connect(relays.connector())).unwrap();
    let nlb = serve(loopback(), &relays, balancer);
    assert_eq!(served(&nlb, 20).await.len(), 1);
}

/// The target of one group refuses connections: a retry goes to the other group.
#[tokio::test]
async fn a_group_that_refuses_is_followed_by_another() {
    let a = Target::echo("a").await;
    let relays = Relays::builder().build().unwrap();
    let endpoints =
        discover::list([labelled(a.address, "blue"), labelled(closed().await, "green")]);
    let (strategy, _shares) = Split::builder()
        .group("blue", 1, group("blue"), by_flow())
        .group("green", 1, group("green"), by_flow())
        .build()
        .unwrap();
    let balancer = Builder::tcp().spawn(strategy, endpoints.connect(relays.connector())).unwrap();
    let retry = RetryLayer::builder(RetryFailures::default()).attempts(3).build().unwrap();
    let nlb = serve(loopback(), &relays, retry.layer(balancer));
    assert_eq!(served(&nlb, 20).await, HashMap::from([("a".into(), 20)]));
}

#[tokio::test]
async fn a_share_goes_to_a_balancer_of_its_own() {
    let [a, b] = [Target::echo("a").await, Target::echo("b").await];
    let relays = Relays::builder().build().unwrap();
    let [blue, green] = [&a, &b].map(|target| balancer(&relays, &[target.address]));
    let canary = CanaryLayer::new(green, 0.3).unwrap().seed(1);
    let nlb = serve(loopback(), &relays, canary.layer(blue));
    let first = served(&nlb, 200).await;
    assert!((40..=80).contains(&first["b"]), "{first:?}");
    canary.set_share(1.0).unwrap();
    assert_eq!(served(&nlb, 20).await, HashMap::from([("b".into(), 20)]));
}
