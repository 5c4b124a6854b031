use std::{collections::HashMap, time::Duration};

use futures::executor::block_on;
use proptest::prelude::*;
use tokio::net::UdpSocket;
use tower::service_fn;
use tower_lb::{
    ConfigError, Endpoint,
    endpoint::Health,
    geneve::{
        self, Appliance, ApplianceFailover, Assigned, Gateway, GatewayBuilder, NewFlow, Stickiness,
    },
};

use crate::rig::{CLIENT, Rig, SERVER, data, ping, syn, syn_ack, udp};

#[tokio::test]
async fn both_directions_of_a_flow_pass_the_same_appliance() {
    let mut rig = Rig::with(4).await;
    let mut flows = HashMap::new();
    for port in 1..=60 {
        let client = format!("10.0.0.{port}:{}", 40_000 + port);
        let packet = udp(&client, SERVER, b"question");
        let (number, passed) = rig.pass(packet.clone()).await;
        assert_eq!(passed, packet, "unchanged");
        let (back, _) = rig.pass(udp(SERVER, &client, b"answer")).await;
        assert_eq!(back, number);
        flows.insert(client, number);
    }
    for number in 0..4 {
        let flows = flows.values().filter(|&&one| one == number).count();
        assert!((5..=30).contains(&flows), "{flows} of 60 flows at appliance {number}");
    }
    // Later packets follow, whatever else has come.
    for (client, &number) in &flows {
        assert_eq!(rig.pass(udp(client, SERVER, b"more")).await.0, number);
    }
    let status = rig.counted(|status| status.packets_passed == 180).await;
    assert_eq!((status.flows, status.flows_created, status.dropped.total()), (60, 60, 0));
    assert_eq!(rig.in_flight(), 60);
}

/// It sees their IPv4 addresses as mapped ones.
#[tokio::test]
async fn a_socket_of_ipv6_reaches_appliances_of_ipv4() {
    let mut rig = Rig::bound("[::]:0", Gateway::builder(), 2).await;
    for port in 1..=10 {
        let packet = udp(&format!("10.0.0.1:{port}"), SERVER, b"1");
        assert_eq!(rig.pass(packet.clone()).await.1, packet);
    }
}

#[tokio::test]
async fn appliances_see_the_settings_and_one_cookie_a_flow() {
    let settings = Gateway::builder().endpoint_id(7).attachment_id(9);
    let rig = Rig::start(settings, 1).await;
    let options = async |packet| {
        let (_, delivered) = rig.deliver(packet).await;
        assert_eq!(delivered.from, rig.gateway);
        *delivered.packet.options().unwrap()
    };
    let first = options(udp(CLIENT, SERVER, b"1")).await;
    assert_eq!((first.endpoint_id, first.attachment_id), (7, 9));
    assert_eq!(options(udp(SERVER, CLIENT, b"2")).await, first);
    assert_ne!(options(udp("10.0.0.2:40000", SERVER, b"1")).await.flow_cookie, first.flow_cookie);
    // The same packets before another gateway have another cookie.
    let other = Rig::with(1).await;
    let (_, delivered) = other.deliver(udp(CLIENT, SERVER, b"1")).await;
    assert_ne!(delivered.packet.options().unwrap().flow_cookie, first.flow_cookie);
}

#[tokio::test]
async fn stickiness_says_which_packets_are_one_flow() {
    let flows = async |stickiness| {
        let rig = Rig::start(Gateway::builder().stickiness(stickiness), 3).await;
        let packets = [
            udp(CLIENT, SERVER, b"1"),
            udp("10.0.0.1:50000", SERVER, b"2"),
            syn("10.0.9.9:999", "10.0.0.1:888"),
            ping(CLIENT, SERVER),
            udp("10.0.0.2:1", SERVER, b"other client"),
        ];
        for packet in packets {
            rig.deliver(packet).await;
        }
        rig.counted(|status| status.packets_sent == 5).await.flows
    };
    assert_eq!(flows(Stickiness::FiveTuple).await, 5);
    // UDP, TCP, ICMP, and the other client.
    assert_eq!(flows(Stickiness::ThreeTuple).await, 4);
    assert_eq!(flows(Stickiness::TwoTuple).await, 2);
}

#[tokio::test]
async fn only_a_syn_opens_a_tcp_flow() {
    let mut rig = Rig::with(2).await;
    rig.enter(data(CLIENT, SERVER, b"GET"));
    rig.enter(syn_ack(SERVER, CLIENT));
    rig.counted(|status| status.dropped.not_syn == 2).await;
    let (number, _) = rig.pass(syn(CLIENT, SERVER)).await;
    assert_eq!(rig.pass(syn_ack(SERVER, CLIENT)).await.0, number);
    assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, number);
    // Without resets, the packets that were dropped have no answer.
    rig.is_quiet().await;
}

#[tokio::test]
async fn a_flow_is_in_flight_until_it_is_idle() {
    let idle = Duration::from_millis(200);
    let settings = Gateway::builder().tcp_idle(idle).other_idle(idle);
    let rig = Rig::start(settings, 1).await;
    rig.deliver(syn(CLIENT, SERVER)).await;
    rig.deliver(udp(CLIENT, SERVER, b"1")).await;
    let status = rig.counted(|status| status.flows_expired == 2).await;
    assert_eq!((status.flows, rig.in_flight()), (0, 0));
    let outcomes = rig.balancer.status().endpoints[0].outcomes;
    assert_eq!((outcomes.success, outcomes.total()), (2, 2));
    // Afterwards only a SYN opens it again, and datagrams may.
    rig.enter(data(CLIENT, SERVER, b"GET"));
    rig.counted(|status| status.dropped.not_syn == 1).await;
    rig.deliver(udp(CLIENT, SERVER, b"2")).await;
    rig.deliver(syn(CLIENT, SERVER)).await;
}

/// More than end at once.
#[tokio::test]
async fn many_flows_may_end_at_the_same_time() {
    let settings = Gateway::builder().other_idle(Duration::from_millis(300)).source_share(1.0);
    let rig = Rig::start(settings, 2).await;
    for port in 1..=1000 {
        rig.deliver(udp(&format!("10.0.0.1:{port}"), SERVER, b"1")).await;
    }
    let status = rig.counted(|status| status.flows_expired == 1000).await;
    assert_eq!((status.flows, rig.in_flight()), (0, 0));
}

#[tokio::test]
async fn protocols_have_their_own_timeouts() {
    let settings = Gateway::builder().other_idle(Duration::from_millis(100));
    let rig = Rig::start(settings, 1).await;
    rig.deliver(syn(CLIENT, SERVER)).await;
    rig.deliver(ping(CLIENT, SERVER)).await;
    let status = rig.counted(|status| status.flows_expired == 1).await;
    assert_eq!(status.flows, 1);
    rig.deliver(data(CLIENT, SERVER, b"GET")).await;
}

#[tokio::test]
async fn packets_that_are_no_use_are_counted_by_reason() {
    let mut rig = Rig::start(Gateway::builder().mtu(1500), 1).await;
    rig.enter(vec![0x45; 10]);
    rig.enter(vec![]);
    rig.enter(udp(CLIENT, SERVER, &[0; 1473]));
    let status = rig.counted(|status| status.packets_in == 3).await;
    assert_eq!((status.dropped.unparsable, status.dropped.too_long), (2, 1));
    let longest = udp(CLIENT, SERVER, &[0; 1472]);
    assert_eq!(rig.pass(longest.clone()).await.1, longest);
}

#[tokio::test]
async fn without_an_appliance_packets_are_dropped() {
    let rig = Rig::with(0).await;
    rig.enter(udp(CLIENT, SERVER, b"1"));
    let status = rig.counted(|status| status.dropped.no_appliance == 1).await;
    assert_eq!(status.flows, 0);
    let rig = Rig::with(1).await;
    rig.remove(0).await;
    rig.enter(udp(CLIENT, SERVER, b"1"));
    rig.counted(|status| status.dropped.no_appliance == 1).await;
}

#[tokio::test]
async fn the_gateway_is_no_appliance_of_its_own() {
    for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
        let (end, network) = geneve::memory_ends(8);
        let socket = UdpSocket::bind(bind).await.unwrap();
        let own = (std::net::Ipv4Addr::LOCALHOST, socket.local_addr().unwrap().port()).into();
        let itself = service_fn(move |_: NewFlow| async move {
            Ok::<_, std::io::Error>(Assigned::from(Appliance::new(own)))
        });
        let gateway = Gateway::builder().build(end, socket, Box::new(itself)).unwrap();
        let monitor = gateway.monitor();
        let task = tokio::spawn(Box::pin(gateway));
        network.send(udp(CLIENT, SERVER, b"1").into());
        while monitor.status().dropped.own_address == 0 {
            tokio::task::yield_now().await;
        }
        // The network is gone, so the gateway ends.
        drop(network);
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_flood_of_one_source_leaves_room_for_others() {
    let rig = Rig::start(Gateway::builder().max_flows(100).source_share(0.2), 2).await;
    let mut delivered = 0;
    for port in 1..=500 {
        rig.deliver(udp(&format!("10.6.6.6:{port}"), SERVER, b"flood")).await;
        delivered += 1;
    }
    let status = rig.counted(|status| status.packets_sent == delivered).await;
    assert_eq!((status.flows, status.flows_evicted), (20, 480));
    assert_eq!(rig.in_flight(), 20);
    rig.deliver(udp(CLIENT, SERVER, b"question")).await;
    rig.deliver(udp(SERVER, CLIENT, b"answer")).await;
    for port in 1..=500 {
        rig.deliver(udp(&format!("10.6.6.6:{port}"), SERVER, b"flood")).await;
    }
    assert_eq!(rig.counted(|status| status.packets_sent == 1002).await.flows, 21);
}

/// A connection of which both sides were seen is not displaced, not even by its own source.
#[tokio::test]
async fn a_flood_displaces_no_established_flow() {
    let rig = Rig::start(Gateway::builder().max_flows(100).source_share(0.2), 1).await;
    rig.deliver(syn(CLIENT, SERVER)).await;
    rig.deliver(syn_ack(SERVER, CLIENT)).await;
    for port in 1..=100 {
        rig.deliver(udp(&format!("10.0.0.1:{port}"), SERVER, b"flood")).await;
    }
    rig.deliver(data(CLIENT, SERVER, b"GET")).await;
    let status = rig.counted(|status| status.packets_sent == 103).await;
    assert_eq!((status.flows, status.dropped.total()), (20, 0));
}

#[tokio::test]
async fn random_packets_do_no_harm() {
    let settings = Gateway::builder().reset_on_idle(true).tcp_idle(Duration::from_millis(5));
    let rig = Rig::start(settings, 1).await;
    let mut random = proptest::test_runner::TestRng::deterministic_rng(
        proptest::test_runner::RngAlgorithm::XorShift,
    );
    for _ in 0..3000 {
        let mut bytes = match random.next_u32() % 4 {
            0 => syn(CLIENT, SERVER),
            1 => data(SERVER, CLIENT, b"data"),
            2 => ping(CLIENT, SERVER),
            _ => udp(SERVER, CLIENT, b"data"),
        };
        for _ in 0..random.next_u32() % 4 {
            let index = random.next_u32() as usize % bytes.len();
            bytes[index] = random.next_u32() as u8;
        }
        rig.network.send(bytes.clone().into());
        let appliance = &rig.appliances[0].socket;
        appliance.send_to(&bytes, rig.gateway).await.unwrap();
        let mut header = geneve::AwsOptions { endpoint_id: 0, attachment_id: 0, flow_cookie: 0 }
            .encode(0x0800)
            .to_vec();
        let index = random.next_u32() as usize % header.len();
        header[index] = random.next_u32() as u8;
        appliance.send_to(&[header, bytes].concat(), rig.gateway).await.unwrap();
        tokio::task::yield_now().await;
    }
    rig.deliver(udp("10.7.7.7:1", SERVER, b"still there")).await;
    assert!(!rig.task.is_finished());
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_errors() {
    let build = async |settings: GatewayBuilder| -> Result<(), ConfigError> {
        let (end, _network) = geneve::memory_ends(1);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let appliance = |_: NewFlow| async {
            Ok::<_, std::io::Error>(Assigned::from(Appliance::new("127.0.0.1:1".parse().unwrap())))
        };
        settings.build(end, socket, service_fn(appliance)).map(drop)
    };
    let settings = Gateway::builder;
    build(settings()).await.unwrap();
    let faults = [
        (settings().mtu(67), "mtu"),
        (settings().tcp_idle(Duration::ZERO), "tcp_idle"),
        (settings().other_idle(Duration::ZERO), "other_idle"),
        (settings().max_flows(0), "max_flows"),
        (settings().source_share(0.0), "source_share"),
        (settings().reset_on_idle(true).stickiness(Stickiness::ThreeTuple), "stickiness"),
        (settings().reset_on_unhealthy(true).stickiness(Stickiness::TwoTuple), "stickiness"),
        (
            settings().reset_on_deregistration(true).failover(ApplianceFailover::Rebalance),
            "failover",
        ),
    ];
    for (settings, field) in faults {
        assert_eq!(build(settings).await.unwrap_err().field(), field);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Both directions of any flow have one hash, whichever comes first.
    #[test]
    fn the_hash_of_a_flow_is_symmetric(
        client: std::net::Ipv6Addr, server: std::net::Ipv6Addr, ports: (u16, u16), seed: u64,
    ) {
        let (one, other) = (format!("[{client}]:{}", ports.0), format!("[{server}]:{}", ports.1));
        let hashes = [udp(&one, &other, b""), udp(&other, &one, b"")].map(|packet| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (end, network) = geneve::memory_ends(8);
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let record = service_fn(move |flow: NewFlow| {
                    sender.send((flow.hash(), *flow.key())).unwrap();
                    std::future::pending::<Result<Assigned, std::io::Error>>()
                });
                let gateway = Gateway::builder().hash_seed(seed).build(end, socket, record);
                network.send(packet.into());
                drop(network);
                gateway.unwrap().await.unwrap();
            });
            receiver.recv().unwrap()
        });
        prop_assert_eq!(hashes[0], hashes[1]);
        prop_assert!(hashes[0].0.is_some());
    }
}

/// An endpoint keeps its address under another health, and its flows.
#[test]
fn appliances_of_one_address_are_kept() {
    block_on(async {
        use futures::StreamExt;
        use tower_lb::discover;
        let (endpoints, stream) = discover::channel();
        let mut stream = geneve::appliances(stream);
        let address: std::net::SocketAddr = "127.0.0.1:6081".parse().unwrap();
        endpoints.insert("a", address).unwrap();
        endpoints
            .insert("a", Endpoint::new(address).with_health(Health::unhealthy("down")))
            .unwrap();
        for expected in ["healthy", "unhealthy"] {
            let Some(Ok(discover::Update::Insert(_, endpoint))) = stream.next().await else {
                panic!("an insertion")
            };
            assert_eq!(endpoint.health().state(), expected);
            assert_eq!(endpoint.target().address(), address);
        }
    });
}
