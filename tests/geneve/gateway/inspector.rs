use std::{convert::Infallible, net::SocketAddr, num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use tokio::{net::UdpSocket, sync::mpsc, time::timeout};
use tower::{Service, service_fn};
use tower_lb::{
    BoxError,
    geneve::{AwsOptions, Inspector, InspectorBuilder, InspectorMonitor, InspectorStatus, Packet},
};

use crate::rig::{CLIENT, SERVER, ping, udp};

const OPTIONS: AwsOptions = AwsOptions { endpoint_id: 1, attachment_id: 2, flow_cookie: 3 };

struct Asked {
    socket: UdpSocket,
    inspector: SocketAddr,
    monitor: InspectorMonitor,
}

impl Asked {
    async fn start<S>(settings: InspectorBuilder, service: S) -> Self
    where
        S: Service<Packet, Response = Option<Packet>, Error: Into<BoxError>>
            + Send
            + Unpin
            + 'static,
        S::Future: Send,
    {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let inspector = settings.build(socket, service);
        let monitor = inspector.monitor();
        tokio::spawn(inspector);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Self { socket, inspector: address, monitor }
    }

    async fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.inspector).await.unwrap();
    }

    async fn receive(&self) -> Vec<u8> {
        let mut bytes = vec![0; 2000];
        let received = timeout(Duration::from_secs(20), self.socket.recv_from(&mut bytes)).await;
        let (length, from) = received.expect("an answer").unwrap();
        assert_eq!(from, self.inspector, "the answer comes from the address that was asked");
        bytes.truncate(length);
        bytes
    }

    async fn counted(&self, is_so: impl Fn(&InspectorStatus) -> bool) -> InspectorStatus {
        loop {
            let status = self.monitor.status();
            if is_so(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn datagram(packet: &[u8]) -> Vec<u8> {
    [&OPTIONS.encode(0x0800)[..], packet].concat()
}

#[tokio::test]
async fn a_packet_is_returned_as_it_came_or_dropped() {
    let firewall = service_fn(|packet: Packet| async move {
        assert_eq!(packet.options(), Some(&OPTIONS));
        Ok::<_, Infallible>((packet.destination_port() != Some(23)).then_some(packet))
    });
    let asked = Asked::start(Inspector::builder(), firewall).await;
    asked.send(&datagram(&udp(CLIENT, "10.0.9.9:23", b"telnet"))).await;
    // The header is returned bit by bit, with reserved bits and unknown options.
    let mut header = OPTIONS.encode(0x0800).to_vec();
    (header[0], header[7]) = (9, 0xaa);
    header.extend([0x77, 0x77, 0x01, 0xe0]);
    let passed = [&header[..], &udp(CLIENT, SERVER, b"question")].concat();
    asked.send(&passed).await;
    assert_eq!(asked.receive().await, passed);
    let status = asked.counted(|status| status.dropped.rejected == 1).await;
    assert_eq!((status.received, status.returned, status.dropped.total()), (2, 1, 1));
}

#[tokio::test]
async fn a_packet_may_be_changed() {
    let other = |packet: &Packet| match packet.payload() {
        b"four" => udp(CLIENT, SERVER, b"changed"),
        _ => udp("[::1]:1", "[::2]:2", b"six"),
    };
    let editor = service_fn(move |packet: Packet| {
        let changed = other(&packet);
        async move { Packet::parse(changed.into()).map(Some) }
    });
    let asked = Asked::start(Inspector::builder(), editor).await;
    asked.send(&datagram(&udp(CLIENT, SERVER, b"four"))).await;
    assert_eq!(asked.receive().await, datagram(&udp(CLIENT, SERVER, b"changed")));
    // The header names the version, and is not changed.
    asked.send(&datagram(&udp(CLIENT, SERVER, b"six"))).await;
    asked.counted(|status| status.dropped.other_version == 1).await;
}

#[tokio::test]
async fn what_is_no_packet_is_counted_by_reason() {
    let all = service_fn(|packet: Packet| async move { Ok::<_, Infallible>(Some(packet)) });
    let asked = Asked::start(Inspector::builder(), all).await;
    let with = |index: usize, value: u8| {
        let mut bytes = datagram(&ping(CLIENT, SERVER));
        bytes[index] = value;
        bytes
    };
    let datagrams = [
        vec![],
        with(0, 0x48),
        with(1, 0x80),
        with(2, 9),
        with(34, 9),
        with(34, 0x83),
        with(40, 0),
    ];
    for datagram in &datagrams {
        asked.send(datagram).await;
    }
    let dropped = asked.counted(|status| status.received == 7).await.dropped;
    let each = [
        dropped.malformed_header,
        dropped.wrong_version,
        dropped.control,
        dropped.wrong_protocol,
        dropped.wrong_options,
        dropped.unknown_critical_option,
        dropped.unparsable,
    ];
    assert_eq!(each, [1; 7], "{dropped}");
}

#[tokio::test]
async fn a_service_that_fails_drops_the_packet() {
    let fails = service_fn(|packet: Packet| async move {
        if packet.protocol() == 1 { Err("broken") } else { Ok(Some(packet)) }
    });
    let asked = Asked::start(Inspector::builder(), fails).await;
    asked.send(&datagram(&ping(CLIENT, SERVER))).await;
    asked.counted(|status| status.dropped.failed == 1).await;
    asked.send(&datagram(&udp(CLIENT, SERVER, b"1"))).await;
    asked.receive().await;
}

/// A slow decision does not hold up others, up to the limit.
#[tokio::test]
async fn the_packets_in_flight_are_limited() {
    let (sender, mut started) = mpsc::unbounded_channel::<tokio::sync::oneshot::Sender<()>>();
    let slow = service_fn(move |packet: Packet| {
        let (decide, decided) = tokio::sync::oneshot::channel();
        sender.send(decide).unwrap();
        async move { decided.await.map(|()| Some(packet)) }
    });
    let limit = NonZeroUsize::new(2).unwrap();
    let asked = Asked::start(Inspector::builder().max_in_flight(limit), slow).await;
    for number in 1..=3_u8 {
        asked.send(&datagram(&udp(CLIENT, SERVER, &[number]))).await;
    }
    let first = started.recv().await.unwrap();
    let second = started.recv().await.unwrap();
    assert!(timeout(Duration::from_millis(100), started.recv()).await.is_err());
    second.send(()).unwrap();
    assert_eq!(asked.receive().await, datagram(&udp(CLIENT, SERVER, &[2])));
    let third = started.recv().await.unwrap();
    third.send(()).unwrap();
    assert_eq!(asked.receive().await, datagram(&udp(CLIENT, SERVER, &[3])));
    first.send(()).unwrap();
    assert_eq!(asked.receive().await, datagram(&udp(CLIENT, SERVER, &[1])));
}

#[tokio::test]
async fn answers_go_to_another_port_if_the_settings_say_so() {
    let all = service_fn(|packet: Packet| async move { Ok::<_, Infallible>(Some(packet)) });
    let expected = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let settings = Inspector::builder().reply_port(expected.local_addr().unwrap().port());
    let asked = Asked::start(settings, all).await;
    let sent: Bytes = datagram(&udp(CLIENT, SERVER, b"1")).into();
    asked.send(&sent).await;
    let mut bytes = vec![0; 2000];
    let length = expected.recv(&mut bytes).await.unwrap();
    assert_eq!(bytes[..length], sent);
}
