use std::time::Duration;

use futures::future::join_all;
use socket2::{Domain, Socket, Type};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tower::ServiceExt;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    listener::Listener,
    strategy::{LeastLoaded, Maglev},
    tcp::{Connection, RelayErrorKind, Relays},
};

use crate::{
    nlb::{balancer, before, loopback, serve, soon},
    target::{Target, assert_reset, closed, read},
};

#[tokio::test]
async fn a_target_that_refuses_is_followed_by_another() {
    let target = Target::echo("up").await;
    let nlb = before(Relays::builder(), &[closed().await, target.address]);
    let clients = (0..20).map(|_| async {
        let mut client = nlb.connect().await;
        // Sent before a target is connected, and not lost with the first attempt.
        client.write_all(b"early").await.unwrap();
        assert_eq!(soon(read(&mut client, 7)).await, "upearly");
    });
    join_all(clients).await;
    nlb.idle().await;
    let status = nlb.relays.status();
    assert_eq!((status.connected, status.ended.closed), (20, 20));
    assert!(status.failed.refused >= 5, "{status}");
}

/// A listening socket whose queue is full does not answer.
#[tokio::test]
async fn a_target_that_does_not_answer_is_followed_by_another() {
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    silent.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap().as_socket().unwrap();
    let _queued =
        join_all((0..3).map(|_| {
            tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address))
        }))
        .await;

    let target = Target::echo("up").await;
    let relays = Relays::builder().connect_timeout(Duration::from_millis(300));
    let nlb = before(relays, &[address, target.address]);
    for _ in 0..4 {
        assert_eq!(soon(read(&mut nlb.connect().await, 2)).await, "up");
    }
    assert!(nlb.relays.status().failed.timeout >= 1, "{}", nlb.relays.status());
}

#[tokio::test]
async fn a_client_without_a_target_is_reset() {
    let nlb = before(Relays::builder(), &[closed().await, closed().await]);
    soon(assert_reset(&mut nlb.connect().await)).await;
    nlb.idle().await;
    let status = nlb.handle.status();
    assert_eq!((status.closed.failed, status.closed.total()), (1, 1));
    assert_eq!(nlb.relays.status().connected, 0);
}

#[tokio::test]
async fn a_target_that_is_the_load_balancer_is_refused() {
    let relays = Relays::builder().build().unwrap();
    let listener = Listener::builder().socket(loopback()).bind().unwrap();
    let address = listener.local_addresses()[0].tcp().unwrap();
    let serving = tokio::spawn(listener.serve_connections(balancer(&relays, &[address])));
    soon(assert_reset(&mut TcpStream::connect(address).await.unwrap())).await;
    assert_eq!(relays.status().failed.target_is_self, 1);
    serving.abort();
}

/// The address that the client has connected to, written otherwise.
#[tokio::test]
async fn other_forms_of_the_own_address_are_refused_too() {
    let relays = Relays::builder().build().unwrap();
    let (local, peer) = (closed().await, ([127, 0, 0, 1], 5000).into());
    let mapped = std::net::SocketAddr::from(([0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1], local.port()));
    let unspecified = std::net::SocketAddr::from(([0, 0, 0, 0], local.port()));
    for (target, local) in
        [(mapped, local), (local, mapped), (unspecified, local), (local, unspecified)]
    {
        let connection = Connection::new(tokio::io::duplex(16).0, peer, local);
        let error = soon(relays.relay(target).oneshot(connection)).await.unwrap_err();
        assert_eq!(error.kind(), RelayErrorKind::Loop, "{target} from {local}: {error}");
    }
}

#[tokio::test]
async fn a_client_stays_at_its_target_by_its_address_and_spreads_by_its_flows() {
    let [one, two, three] =
        [Target::echo("1").await, Target::echo("2").await, Target::echo("3").await];
    let addresses = [one.address, two.address, three.address];
    let seen_by = async |key: fn(&Connection) -> Option<u64>| {
        let relays = Relays::builder().build().unwrap();
        let endpoints = discover::addresses(addresses).connect(relays.connector());
        let balancer = Builder::tcp().spawn(Maglev::new(key), endpoints).unwrap();
        let nlb = serve(loopback(), &relays, balancer);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..60 {
            *seen.entry(soon(read(&mut nlb.connect().await, 1)).await).or_insert(0) += 1;
        }
        seen
    };
    assert_eq!(seen_by(Connection::source_key).await.len(), 1);
    let seen = seen_by(Connection::flow_key).await;
    assert!(seen.len() == 3 && seen.values().all(|&count| count > 5), "{seen:?}");
}

/// An open connection is load.
#[tokio::test]
async fn connections_are_in_flight_until_they_are_closed() {
    let [one, two] = [Target::echo("1").await, Target::echo("2").await];
    let relays = Relays::builder().build().unwrap();
    let endpoints = discover::addresses([one.address, two.address]).connect(relays.connector());
    let balancer = Builder::tcp().spawn(LeastLoaded::default(), endpoints).unwrap();
    let nlb = serve(loopback(), &relays, balancer.clone());
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = nlb.connect().await;
        let name = soon(read(&mut client, 1)).await;
        clients.push((name, client));
    }
    let of_one = clients.iter().filter(|(name, _)| name == "1").count();
    assert_eq!(of_one, 5);
    let outstanding = || balancer.status().endpoints.iter().map(|one| one.outstanding).sum::<u32>();
    assert_eq!(outstanding(), 10);
    clients.retain(|(name, _)| name == "1");
    crate::nlb::until("five are left", || outstanding() == 5).await;
    for _ in 0..5 {
        let mut client = nlb.connect().await;
        assert_eq!(soon(read(&mut client, 1)).await, "2");
        clients.push((String::new(), client));
    }
    drop(clients);
    nlb.idle().await;
    assert_eq!(outstanding(), 0);
    let successes: u64 = balancer.status().endpoints.iter().map(|one| one.outcomes.success).sum();
    assert_eq!(successes, 15);
}
