//! Flows through a relay.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use tokio::{
    net::UdpSocket,
    time::{Instant, sleep},
};
use tower::Layer;
use tower_lb::{
    Balancer, discover,
    endpoint::{Endpoint, Health},
    health::{HealthCheck, HealthExt},
    retry::{RetryFailures, RetryLayer},
    strategy::{Maglev, P2c, RoundRobin},
    udp::{
        ByServerId, DatagramCheck, Flow, SERVER_ID_LABEL, ServerId, TargetLoss, UdpRelay,
        UdpRelayBuilder, UntilFlowEnd, targets,
    },
};

use crate::peers::{Client, Echo, Endpoints, Running, SOON, WHILE, by_flow};

fn builder() -> UdpRelayBuilder {
    UdpRelay::builder().max_flows(5000)
}

async fn echoes(count: usize) -> Vec<Echo> {
    let mut echoes = Vec::new();
    for _ in 0..count {
        echoes.push(Echo::start().await);
    }
    echoes
}

fn addresses(echoes: &[Echo]) -> Vec<SocketAddr> {
    echoes.iter().map(|echo| echo.address).collect()
}

#[tokio::test]
async fn a_flow_is_one_request_until_it_is_idle() {
    let echoes = echoes(3).await;
    let idle = Duration::from_millis(1500);
    let relay = Running::start(builder().idle_timeout(idle), addresses(&echoes)).await;
    let client = Client::of(relay.address).await;
    let target = client.ask("0").await;
    for number in 1..20 {
        assert_eq!(client.ask(&number.to_string()).await, target);
    }
    assert_eq!((relay.status().flows, relay.outstanding()), (1, 1));
    let begun = Instant::now();
    relay.until("idle", |status| status.flows == 0).await;
    assert!(begun.elapsed() > idle / 2);
    assert_eq!(relay.outstanding(), 0);
    let status = relay.balancer.status();
    let outcomes = status.endpoints.iter().map(|endpoint| endpoint.outcomes);
    assert_eq!(outcomes.map(|outcomes| outcomes.success).sum::<u64>(), 1);
    let status = relay.stop().await;
    assert_eq!((status.flows_created, status.flows_ended.idle), (1, 1));
    assert_eq!((status.datagrams_in, status.datagrams_out), (20, 20));
    assert_eq!((status.bytes_in, status.dropped.total()), (30, 0));
}

#[tokio::test]
async fn only_the_flows_of_a_changed_target_move() {
    let echoes = echoes(11).await;
    let all = addresses(&echoes);
    let (first, added) = (&all[..10], all[10]);
    let relay = Running::start(builder(), first.iter().copied()).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let client = Client::of(relay.address).await;
        let target = client.ask("first").await;
        clients.push((client, target));
    }
    relay.endpoints.insert(added, added).unwrap();
    sleep(WHILE).await;
    for (client, target) in &clients {
        assert_eq!(client.ask("one more").await, *target, "an endpoint more moves no flow");
    }
    let removed = first[0];
    relay.endpoints.remove(removed).unwrap();
    sleep(WHILE).await;
    let mut moved = 0;
    for (client, target) in &mut clients {
        let now = client.ask("one less").await;
        assert_ne!(now, removed);
        assert_eq!(now == *target, *target != removed, "only the flows of the removed one move");
        moved += u64::from(now != *target);
        *target = now;
    }
    assert!(moved > 3, "{moved} of 200 flows were at the removed endpoint");
    assert_eq!(relay.status().repicked, moved);
    for (client, target) in &clients {
        assert_eq!(client.ask("again").await, *target, "the new target is kept");
    }
    assert_eq!(relay.outstanding(), 200);
}

#[tokio::test]
async fn a_killed_target_loses_its_flows_to_another_one() {
    let mut echoes = echoes(2).await;
    let relay = Running::start(builder(), addresses(&echoes)).await;
    let mut clients = HashMap::<SocketAddr, Vec<Client>>::new();
    for _ in 0..20 {
        let client = Client::of(relay.address).await;
        let target = client.ask("first").await;
        clients.entry(target).or_default().push(client);
    }
    let (dead, alive) = (echoes.remove(0), echoes.remove(0));
    let address = dead.address;
    dead.kill().await;
    for client in &clients[&address] {
        assert_eq!(client.ask_again("second").await, alive.address);
    }
    for client in &clients[&alive.address] {
        assert_eq!(client.ask("second").await, alive.address);
    }
    let status = relay.balancer.status();
    let failed = status.endpoints.iter().find(|endpoint| *endpoint.name == *address.to_string());
    let failures = failed.unwrap().outcomes.transport;
    assert!(failures as usize >= clients[&address].len(), "{failures}");
    assert_eq!(relay.outstanding(), 20);
}

#[tokio::test]
async fn flows_that_lost_their_target_follow_the_configuration() {
    for loss in [TargetLoss::Repick, TargetLoss::Drop, TargetLoss::Keep] {
        let echoes = echoes(2).await;
        let builder = builder().on_removed(loss).on_unhealthy(loss);
        let relay = Running::start(builder, addresses(&echoes)).await;
        let (client, other) = (Client::of(relay.address).await, Client::of(relay.address).await);
        let target = client.ask("first").await;
        // Unhealthy, then healthy again: the flow has lost it nevertheless.
        let ill = Endpoint::new(target).with_health(Health::unhealthy("test"));
        relay.endpoints.insert(target, ill).unwrap();
        sleep(WHILE).await;
        relay.endpoints.insert(target, target).unwrap();
        sleep(WHILE).await;
        match loss {
            TargetLoss::Drop => {
                client.send("second").await;
                assert_eq!(client.receive(WHILE).await, None);
                assert_eq!(relay.status().dropped.target_lost, 1);
                assert_eq!(relay.outstanding(), 0);
            }
            // The hash is the same, so it is the same target, by another pick.
            _ => assert_eq!(client.ask("second").await, target),
        }
        assert_eq!(relay.status().repicked, u64::from(loss == TargetLoss::Repick));
        let target = other.ask("first").await;
        relay.endpoints.remove(target).unwrap();
        sleep(WHILE).await;
        match loss {
            TargetLoss::Repick => assert_ne!(other.ask("second").await, target),
            TargetLoss::Keep => assert_eq!(other.ask("second").await, target),
            _ => {
                other.send("second").await;
                assert_eq!(other.receive(WHILE).await, None);
            }
        }
    }
}

#[tokio::test]
async fn a_datagram_that_names_its_server_returns_to_it_after_a_loss() {
    let echoes = echoes(2).await;
    let [named, other] = [echoes[0].address, echoes[1].address];
    let id = |id: u8| ServerId::new(&[id]).unwrap();
    let with_id = |(address, number): (SocketAddr, u8)| {
        Endpoint::new(address).with_metadata(SERVER_ID_LABEL, id(number).to_string())
    };
    let (endpoints, stream): (Endpoints, _) = discover::channel();
    endpoints.insert(named, with_id((named, 7))).unwrap();
    endpoints.insert(other, with_id((other, 8))).unwrap();
    let balancer = Balancer::builder().track(UntilFlowEnd);
    let strategy = ByServerId::new(by_flow());
    let balancer = balancer.spawn(strategy, targets(stream)).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let builder = builder().server_id(move |payload| (payload == b"to 7").then(|| id(7)));
    let relay = builder.build(socket, balancer).unwrap();
    let (address, handle) = (relay.local_address(), relay.handle());
    tokio::spawn(relay.serve(std::future::pending()));
    // About half of these flows have a hash that belongs to the other server.
    let mut clients = Vec::new();
    for _ in 0..16 {
        let client = Client::of(address).await;
        assert_eq!(client.ask("to 7").await, named);
        clients.push(client);
    }
    let ill = with_id((named, 7)).with_health(Health::unhealthy("test"));
    endpoints.insert(named, ill).unwrap();
    sleep(WHILE).await;
    endpoints.insert(named, with_id((named, 7))).unwrap();
    sleep(WHILE).await;
    for client in &clients {
        assert_eq!(client.ask("to 7").await, named);
    }
    assert_eq!(handle.status().repicked, 16);
}

#[tokio::test]
async fn a_draining_target_keeps_its_flows_and_gets_no_new_ones() {
    let echoes = echoes(2).await;
    let relay = Running::start(builder(), addresses(&echoes)).await;
    let client = Client::of(relay.address).await;
    let target = client.ask("first").await;
    let draining = Endpoint::new(target).with_health(Health::draining("deploy"));
    relay.endpoints.insert(target, draining).unwrap();
    sleep(WHILE).await;
    assert_eq!(client.ask("second").await, target);
    for _ in 0..10 {
        assert_ne!(Client::of(relay.address).await.ask("first").await, target);
    }
}

#[tokio::test]
async fn datagrams_of_every_size_pass() {
    let echo = Echo::start().await;
    let relay = Running::start(builder(), [echo.address]).await;
    let client = Client::of(relay.address).await;
    client.send("").await;
    relay.until("dropped", |status| status.dropped.empty == 1).await;
    assert_eq!(relay.status().flows_created, 0, "an empty datagram begins no flow");
    for len in [1, 1472, 1473, 9000, 65_000, 65_507] {
        let sent = vec![7; len];
        client.send(&sent).await;
        let reply = client.receive(SOON).await.unwrap();
        let prefix = echo.address.to_string().len() + 1;
        assert_eq!(reply.len(), (len + prefix).min(65_507));
        assert!(reply[prefix..].iter().all(|&byte| byte == 7));
    }
    client.send("").await;
    assert_eq!(client.receive(SOON).await, Some(format!("{} ", echo.address).into()));
    let relay = Running::start(builder().max_datagram_bytes(1000), [echo.address]).await;
    let client = Client::of(relay.address).await;
    client.send([7; 1001]).await;
    client.send([7; 990]).await;
    relay.until("dropped", |status| status.dropped.too_large == 2).await;
}

#[tokio::test]
async fn a_flow_waits_for_an_endpoint_with_its_latest_datagram() {
    let echo = Echo::start().await;
    let builder = builder().open_timeout(Duration::from_millis(400));
    let relay = Running::start(builder, []).await;
    let (client, late) = (Client::of(relay.address).await, Client::of(relay.address).await);
    for number in ["1", "2", "3"] {
        client.send(number).await;
    }
    relay.until("waiting", |status| status.dropped.overtaken == 2).await;
    relay.endpoints.insert(echo.address, echo.address).unwrap();
    let reply = client.receive(SOON).await.unwrap();
    assert_eq!(reply, format!("{} 3", echo.address).into_bytes());
    assert_eq!(client.ask("4").await, echo.address);
    relay.endpoints.remove(echo.address).unwrap();
    sleep(WHILE).await;
    late.send("1").await;
    relay.until("given up", |status| status.dropped.unavailable == 1).await;
    assert_eq!(relay.status().flows_ended.unopened, 1);
}

#[tokio::test]
async fn each_datagram_that_waited_in_vain_is_counted() {
    let builder = builder().max_flows(2).source_share(1.0).open_timeout(SOON * 2);
    let relay = Running::start(builder, []).await;
    for number in 1..=3 {
        Client::of(relay.address).await.send("hello").await;
        relay.until("begun", |status| status.flows_created == number).await;
    }
    assert_eq!(relay.status().dropped.displaced, 1, "{}", relay.status());
    let status = relay.stop().await;
    assert_eq!((status.flows_ended.evicted, status.flows_ended.stopped), (1, 2));
    assert_eq!((status.dropped.displaced, status.dropped.stopping), (1, 2), "{status:?}");
    assert_eq!(status.dropped.total(), status.datagrams_in);
}

#[tokio::test]
async fn a_relay_does_not_send_to_itself() {
    let relay = Running::start(builder(), []).await;
    relay.endpoints.insert(relay.address, relay.address).unwrap();
    let client = Client::of(relay.address).await;
    client.send("hello").await;
    relay.until("dropped", |status| status.dropped.looping == 1).await;
    sleep(WHILE).await;
    let status = relay.status();
    assert_eq!((status.datagrams_in, status.flows), (1, 0));
}

#[tokio::test]
async fn a_flow_that_one_target_cannot_take_is_retried_at_another() {
    let echo = Echo::start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // The relay itself is one of the targets, and in turn the first of them.
    let stream = targets(discover::addresses([socket.local_addr().unwrap(), echo.address]));
    let balancer = Balancer::builder().track(UntilFlowEnd);
    let balancer = balancer.spawn(RoundRobin::starting_at(0), stream).unwrap();
    let retry = RetryLayer::builder(RetryFailures::default()).build().unwrap();
    let relay = builder().build(socket, retry.layer(balancer)).unwrap();
    let (address, handle) = (relay.local_address(), relay.handle());
    tokio::spawn(relay.serve(std::future::pending()));
    for _ in 0..4 {
        assert_eq!(Client::of(address).await.ask("hello").await, echo.address);
    }
    assert_eq!(handle.status().dropped.total(), 0);
}

#[tokio::test]
async fn a_flow_may_wait_for_its_target_to_come_back() {
    let (echo, other) = (Echo::start().await, Echo::start().await);
    let builder = builder().on_refused(TargetLoss::Keep);
    let relay = Running::start(builder, [echo.address, other.address]).await;
    let client = Client::of(relay.address).await;
    let target = client.ask("first").await;
    let (dead, _alive) = if target == echo.address { (echo, other) } else { (other, echo) };
    dead.kill().await;
    for _ in 0..5 {
        client.send("lost").await;
    }
    relay.until("refused", |status| status.dropped.refused > 0).await;
    let _again = Echo::at(&target.to_string()).await;
    assert_eq!(client.ask_again("second").await, target);
    assert_eq!(relay.status().repicked, 0);
    let outcomes = relay.balancer.status().endpoints.iter().map(|one| one.outcomes.total()).sum();
    assert_eq!((relay.outstanding(), outcomes), (1, 0_u64));
}

#[tokio::test]
async fn flows_go_on_while_a_relay_drains() {
    let echo = Echo::start().await;
    let builder = builder().drain_timeout(Duration::from_millis(500));
    let relay = Running::start(builder, [echo.address]).await;
    let client = Client::of(relay.address).await;
    client.ask("first").await;
    let (balancer, address) = (relay.balancer.clone(), relay.address);
    let stopping = tokio::spawn(relay.stop());
    sleep(WHILE).await;
    client.ask("second").await;
    Client::of(address).await.send("new").await;
    let status = stopping.await.unwrap();
    assert_eq!((status.flows, status.flows_ended.stopped), (0, 1));
    assert_eq!(status.dropped.stopping, 1);
    assert_eq!(balancer.status().endpoints[0].outstanding, 0);
}

#[tokio::test]
async fn flows_may_go_on_until_they_are_idle() {
    let echo = Echo::start().await;
    let builder = builder().drain_timeout(Duration::MAX).idle_timeout(WHILE * 4);
    let relay = Running::start(builder, [echo.address]).await;
    let client = Client::of(relay.address).await;
    client.ask("first").await;
    let stopping = tokio::spawn(relay.stop());
    sleep(WHILE).await;
    client.ask("second").await;
    let status = stopping.await.unwrap();
    assert_eq!((status.flows_ended.idle, status.flows_ended.stopped), (1, 0));
}

#[tokio::test]
async fn a_flow_without_replies_is_a_failure_only_if_replies_are_expected() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    for expected in [false, true] {
        let builder = builder().idle_timeout(Duration::from_millis(100)).expect_replies(expected);
        let relay = Running::start(builder, [address]).await;
        Client::of(relay.address).await.send("hello").await;
        relay.until("idle", |status| status.flows_ended.idle == 1).await;
        let outcomes = relay.balancer.status().endpoints[0].outcomes;
        assert_eq!((outcomes.timeout, outcomes.cancelled), (expected.into(), (!expected).into()));
    }
}

#[tokio::test]
async fn a_target_gets_no_credit_for_the_replies_of_another_one() {
    let (echo, silent) = (Echo::start().await, UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = silent.local_addr().unwrap();
    let builder = builder().idle_timeout(Duration::from_millis(500)).expect_replies(true);
    let relay = Running::start(builder, [echo.address]).await;
    let client = Client::of(relay.address).await;
    client.ask("first").await;
    relay.endpoints.insert(address, address).unwrap();
    relay.endpoints.remove(echo.address).unwrap();
    sleep(WHILE).await;
    client.send("second").await;
    relay.until("idle", |status| status.flows_ended.idle == 1).await;
    assert_eq!(relay.status().repicked, 1);
    let outcomes = relay.balancer.status().endpoints[0].outcomes;
    assert_eq!((outcomes.success, outcomes.timeout), (0, 1), "{outcomes:?}");
}

#[tokio::test]
async fn flows_of_one_client_share_a_target_by_its_source() {
    let echoes = echoes(4).await;
    let by_source = Maglev::new((|flow: &Flow| Some(flow.source_hash())) as fn(&_) -> _);
    let relay = Running::with(builder(), addresses(&echoes), by_source).await;
    let mut targets = HashMap::<u8, SocketAddr>::new();
    for number in 0..80 {
        let host = number % 8 + 1;
        let target = Client::from([127, 0, 0, host].into(), relay.address).await.ask("hello").await;
        assert_eq!(*targets.entry(host).or_insert(target), target);
    }
    let first = targets[&1];
    assert!(targets.values().any(|&target| target != first), "sources are spread");
}

#[tokio::test]
async fn ipv6_is_relayed_to_ipv4() {
    let echo = Echo::start().await;
    let Ok(socket) = UdpSocket::bind("[::1]:0").await else {
        return println!("skipped: this host has no IPv6");
    };
    let stream = targets(discover::addresses([echo.address]));
    let balancer = Balancer::builder().track(UntilFlowEnd).spawn(P2c::default(), stream).unwrap();
    let relay = builder().build(socket, balancer).unwrap();
    let address = relay.local_address();
    tokio::spawn(relay.serve(std::future::pending()));
    let client = UdpSocket::bind("[::1]:0").await.unwrap();
    client.connect(address).await.unwrap();
    assert_eq!(Client(client).ask("hello").await, echo.address);
}

#[tokio::test]
async fn a_socket_for_both_families_replies_to_both() {
    let echo = Echo::start().await;
    let Ok(socket) = UdpSocket::bind("[::]:0").await else {
        return println!("skipped: this host has no IPv6");
    };
    let stream = targets(discover::addresses([echo.address]));
    let balancer = Balancer::builder().track(UntilFlowEnd).spawn(P2c::default(), stream).unwrap();
    let relay = builder().build(socket, balancer).unwrap();
    let port = relay.local_address().port();
    tokio::spawn(relay.serve(std::future::pending()));
    for ip in ["127.0.0.1", "::1"] {
        let ip = ip.parse().unwrap();
        let client = Client::from(ip, SocketAddr::new(ip, port)).await;
        assert_eq!(client.ask("hello").await, echo.address);
    }
}

#[tokio::test]
async fn a_dropped_relay_leaves_nothing_in_flight() {
    let echo = Echo::start().await;
    let relay = Running::start(builder(), [echo.address]).await;
    Client::of(relay.address).await.ask("hello").await;
    assert_eq!((relay.status().flows, relay.outstanding()), (1, 1));
    relay.task.abort();
    relay.until("dropped", |status| status.flows == 0).await;
    assert_eq!((relay.status().flows_ended.stopped, relay.outstanding()), (1, 0));
}

#[tokio::test]
async fn a_check_by_datagrams_ejects_and_readmits() {
    let (first, second) = (Echo::start().await, Echo::start().await);
    let (gone, stays) = (first.address, second.address);
    let check =
        HealthCheck::new(DatagramCheck::new("ping").reply(|reply| reply.ends_with(b"ping")))
            .interval(Duration::from_millis(50))
            .timeout(Duration::from_millis(500));
    let checked = discover::addresses([gone, stays]).health_checked(check).unwrap();
    let balancer = Balancer::builder().track(UntilFlowEnd);
    let balancer = balancer.spawn(P2c::default(), targets(checked)).unwrap();
    let healthy = async |count: usize| {
        let end = Instant::now() + SOON;
        loop {
            let status = balancer.status();
            let healthy =
                status.endpoints.iter().filter(|one| one.attributes.health().is_serving());
            if status.endpoints.len() == 2 && healthy.count() == count {
                break;
            }
            assert!(Instant::now() < end, "{status}");
            sleep(Duration::from_millis(10)).await;
        }
    };
    healthy(2).await;
    first.kill().await;
    healthy(1).await;
    let _again = Echo::at(&gone.to_string()).await;
    healthy(2).await;
}
