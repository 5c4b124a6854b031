use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream};
use tower_lb::{
    balance::Builder,
    discover,
    endpoint::{Endpoint, Health},
    health::{Draining, HealthExt},
    strategy::RoundRobin,
    tcp::{Relays, Termination, TerminationExt},
};

use crate::{
    nlb::{Nlb, balancer, loopback, serve, serve_within, soon, until},
    target::{Target, assert_reset, read},
};

async fn is_alive(client: &mut TcpStream) -> bool {
    client.write_all(b"ping").await.is_ok() && soon(read(client, 4)).await == "ping"
}

#[tokio::test]
async fn a_listener_that_drains_lets_connections_finish() {
    let target = Target::echo("up").await;
    let relays = Relays::builder().build().unwrap();
    let nlb = serve(loopback(), &relays, balancer(&relays, &[target.address]));
    let mut client = nlb.connect().await;
    assert_eq!(soon(read(&mut client, 2)).await, "up");
    nlb.handle.shutdown();
    let address = nlb.address;
    let start = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    assert!(is_alive(&mut client).await);
    drop(client);
    let drained = soon(nlb.serving).await.unwrap();
    assert_eq!(drained.cut_off, 0);
    assert_eq!(relays.status().ended.closed, 1);
}

#[tokio::test]
async fn what_is_left_when_the_time_is_over_is_cut_off() {
    let target = Target::echo("up").await;
    let relays = Relays::builder().build().unwrap();
    let limit = Duration::from_millis(200);
    let balancer = balancer(&relays, &[target.address]);
    let nlb = serve_within(limit, loopback(), &relays, balancer.clone());
    let mut client = nlb.connect().await;
    assert_eq!(soon(read(&mut client, 2)).await, "up");
    nlb.handle.shutdown();
    let drained = soon(nlb.serving).await.unwrap();
    assert_eq!((drained.finished, drained.cut_off), (0, 1));
    assert_eq!((relays.status().open, relays.status().ended.cut_off), (0, 1));
    assert_eq!(balancer.status().endpoints[0].outstanding, 0);
}

struct Changing {
    nlb: Nlb,
    targets: discover::Handle<&'static str, tower_lb::tcp::Relay>,
    endpoint: Endpoint<tower_lb::tcp::Relay>,
    client: TcpStream,
    _target: Target,
}

/// A client of a target that is going to change.
async fn changing(termination: Termination, draining: Option<Duration>) -> Changing {
    let target = Target::echo("up").await;
    let relays = Relays::builder().build().unwrap();
    let (targets, endpoints) = discover::channel();
    let endpoint = Endpoint::new(relays.relay(target.address));
    targets.insert("a", endpoint.clone()).unwrap();
    let builder = Builder::tcp();
    let balancer = match draining {
        Some(limit) => {
            let endpoints = endpoints.drained(Draining::within(limit)).unwrap();
            builder.spawn(RoundRobin::new(), endpoints.terminating(termination)).unwrap()
        }
        None => builder.spawn(RoundRobin::new(), endpoints.terminating(termination)).unwrap(),
    };
    let nlb = serve(loopback(), &relays, balancer);
    let mut client = nlb.connect().await;
    assert_eq!(soon(read(&mut client, 2)).await, "up");
    Changing { nlb, targets, endpoint, client, _target: target }
}

fn unhealthy() -> Health {
    Health::unhealthy("a test")
}

#[tokio::test]
async fn an_unhealthy_target_loses_its_connections() {
    let mut changing = changing(Termination::new(), None).await;
    let unhealthy = changing.endpoint.clone().with_health(unhealthy());
    changing.targets.insert("a", unhealthy.clone()).unwrap();
    soon(assert_reset(&mut changing.client)).await;
    changing.nlb.idle().await;
    assert_eq!(changing.nlb.relays.status().ended.terminated, 1);
    // It returns, and gets connections again.
    changing.targets.insert("a", changing.endpoint.clone()).unwrap();
    let mut client = changing.nlb.connect().await;
    assert_eq!(soon(read(&mut client, 2)).await, "up");
    changing.targets.insert("a", unhealthy).unwrap();
    soon(assert_reset(&mut client)).await;
}

#[tokio::test]
async fn an_unhealthy_target_may_have_time() {
    let time = Duration::from_millis(400);
    let mut changing = changing(Termination::new().on_unhealthy(time), None).await;
    let unhealthy = changing.endpoint.clone().with_health(unhealthy());
    // Healthy again in time.
    changing.targets.insert("a", unhealthy.clone()).unwrap();
    assert!(is_alive(&mut changing.client).await);
    changing.targets.insert("a", changing.endpoint.clone()).unwrap();
    tokio::time::sleep(time * 3 / 2).await;
    assert!(is_alive(&mut changing.client).await);

    let start = Instant::now();
    changing.targets.insert("a", unhealthy).unwrap();
    soon(assert_reset(&mut changing.client)).await;
    assert!(start.elapsed() >= time, "{:?}", start.elapsed());
}

#[tokio::test]
async fn connections_may_outlive_the_health_of_their_target() {
    let mut changing = changing(Termination::new().on_unhealthy(None), None).await;
    changing.targets.insert("a", changing.endpoint.clone().with_health(unhealthy())).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(is_alive(&mut changing.client).await);
}

#[tokio::test]
async fn connections_outlive_their_target_unless_they_are_ended() {
    let mut kept = changing(Termination::new(), None).await;
    kept.targets.remove("a").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(is_alive(&mut kept.client).await);

    let mut ended = changing(Termination::new().on_removal(true), None).await;
    ended.targets.remove("a").unwrap();
    soon(assert_reset(&mut ended.client)).await;
}

#[tokio::test]
async fn a_target_that_drains_keeps_its_connections_until_its_time_is_over() {
    let time = Duration::from_millis(500);
    let mut changing = changing(Termination::new().on_removal(true), Some(time)).await;
    let start = Instant::now();
    changing.targets.remove("a").unwrap();
    tokio::time::sleep(time / 5).await;
    assert!(is_alive(&mut changing.client).await);
    soon(assert_reset(&mut changing.client)).await;
    assert!(start.elapsed() >= time, "{:?}", start.elapsed());
    let relays = &changing.nlb.relays;
    until("it is counted", || relays.status().ended.terminated == 1).await;
}
