//! Endpoints from DNS, asked of hickory's server over loopback.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::{IpAddr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use hickory_server::{
    Server,
    proto::{
        op::{Message, MessageType, ResponseCode},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{SOA, SRV},
        },
    },
    store::in_memory::InMemoryZoneHandler,
    zone_handler::{AxfrPolicy, Catalog, ZoneType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    time::timeout,
};
use tower_lb::discover::{AddressFilter, Discover, Dns, Family, Refresh, Schedule, Update};

use tower_lb_test_support::logs::Logs;

const MS: Duration = Duration::from_millis(1);

/// A server for the zone `test.`, on one port for UDP and TCP.
struct Zone {
    handler: Arc<InMemoryZoneHandler>,
    server: Option<Server<Catalog>>,
    address: SocketAddr,
    serial: u32,
}

fn name(name: &str) -> Name {
    Name::from_ascii(name).unwrap()
}

impl Zone {
    async fn start() -> Self {
        let handler =
            InMemoryZoneHandler::empty(name("test."), ZoneType::Primary, AxfrPolicy::Deny);
        let soa = SOA::new(name("ns.test."), name("me.test."), 1, 60, 60, 60, 60);
        handler.upsert(Record::from_rdata(name("test."), 60, RData::SOA(soa)), 1).await;
        let address = ([127, 0, 0, 1], 0).into();
        let mut zone = Self { handler: Arc::new(handler), server: None, address, serial: 1 };
        zone.serve().await;
        zone
    }

    async fn serve(&mut self) {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind(self.address).await.unwrap();
            match TcpListener::bind(udp.local_addr().unwrap()).await {
                Ok(tcp) => break (udp, tcp),
                Err(_) => continue,
            }
        };
        self.address = udp.local_addr().unwrap();
        let mut catalog = Catalog::new();
        catalog.upsert(name("test.").into(), vec![self.handler.clone()]);
        let mut server = Server::new(catalog);
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 32);
        self.server = Some(server);
    }

    async fn stop(&mut self) {
        self.server.take().unwrap().shutdown_gracefully().await.unwrap();
    }

    /// Replaces all records of a name and type.
    async fn set(&mut self, host: &str, ttl: u32, data: impl IntoIterator<Item = RData>) {
        let host = name(host);
        let data: Vec<_> = data.into_iter().collect();
        let kinds: BTreeSet<RecordType> = data.iter().map(RData::record_type).collect();
        self.handler.records_mut().await.retain(|key, _| {
            *key.name() != (&host).into() || !(kinds.contains(&key.record_type) || kinds.is_empty())
        });
        for data in data {
            self.serial += 1;
            self.handler.upsert(Record::from_rdata(host.clone(), ttl, data), self.serial).await;
        }
    }

    fn dns(&self) -> Dns {
        Dns::with_servers([self.address]).unwrap().schedule(quick())
    }
}

/// Asks every 50 ms, whatever the TTLs are.
fn quick() -> Schedule {
    Schedule::new().jitter(0.0).floor(50 * MS).ceiling(50 * MS).backoff(50 * MS, 50 * MS)
}

fn ip(address: &str) -> RData {
    match address.parse().unwrap() {
        IpAddr::V4(address) => RData::A(address.into()),
        IpAddr::V6(address) => RData::AAAA(address.into()),
    }
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, name(target)))
}

type Source = Refresh<SocketAddr, SocketAddr>;

/// The next update; errors are passed over.
async fn next(source: &mut Source) -> Vec<String> {
    let update = async {
        loop {
            if let Ok(Update::Reset(all)) = source.next().await.unwrap() {
                return all.iter().map(|(key, _)| key.to_string()).collect();
            }
        }
    };
    timeout(Duration::from_secs(20), update).await.expect("an update")
}

async fn error(source: &mut Source) -> String {
    let error = timeout(Duration::from_secs(20), source.next()).await.expect("an error");
    error.unwrap().unwrap_err().to_string()
}

#[tokio::test]
async fn addresses_of_both_families_and_their_changes() {
    let mut zone = Zone::start().await;
    zone.set("web.test.", 60, [ip("10.0.0.2"), ip("10.0.0.1"), ip("fd00::1")]).await;
    let mut any = zone.dns().host("web.test.", 80).unwrap();
    assert_eq!(next(&mut any).await, ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]);
    for (family, expected) in [
        (Family::V4, &["10.0.0.1:80", "10.0.0.2:80"][..]),
        (Family::V6, &["[fd00::1]:80"]),
        (Family::PreferV4, &["10.0.0.1:80", "10.0.0.2:80"]),
        (Family::PreferV6, &["[fd00::1]:80"]),
    ] {
        let mut source = zone.dns().family(family).host("web.test.", 80).unwrap();
        assert_eq!(next(&mut source).await, expected, "{family:?}");
    }
    zone.set("web.test.", 60, [ip("10.0.0.3")]).await;
    assert_eq!(next(&mut any).await, ["10.0.0.3:80", "[fd00::1]:80"]);
    zone.set("four.test.", 60, [ip("10.0.0.4")]).await;
    let mut prefers = zone.dns().family(Family::PreferV6).host("four.test.", 80).unwrap();
    assert_eq!(next(&mut prefers).await, ["10.0.0.4:80"], "the other will do");
    let mut literal = zone.dns().host("10.1.2.3", 80).unwrap();
    assert_eq!(next(&mut literal).await, ["10.1.2.3:80"]);
}

#[tokio::test]
async fn priorities_are_tiers_and_weights_are_weights() {
    let mut zone = Zone::start().await;
    zone.set("a.test.", 60, [ip("10.0.0.1"), ip("10.0.0.2")]).await;
    zone.set("b.test.", 60, [ip("10.0.0.3")]).await;
    let services = [
        srv(10, 3, 81, "a.test."),
        srv(10, 0, 82, "b.test."),
        srv(20, 5, 83, "b.test."),
        srv(20, 1, 83, "b.test."),
        srv(20, 1, 84, "unknown.test."),
        // The same address and port as above, in a worse tier.
        srv(30, 9, 82, "b.test."),
    ];
    zone.set("_http._tcp.test.", 60, services).await;
    let mut source = zone.dns().srv("_http._tcp.test.").unwrap();
    let Some(Ok(Update::Reset(all))) = source.next().await else { panic!() };
    let all: BTreeMap<_, _> = all
        .iter()
        .map(|(key, e)| {
            (key.to_string(), (e.tier(), e.weight(), e.metadata().get("host").unwrap()))
        })
        .collect();
    let expected = [
        ("10.0.0.1:81", (10, 1500, "a.test")),
        ("10.0.0.2:81", (10, 1500, "a.test")),
        ("10.0.0.3:82", (10, 1, "b.test")),
        ("10.0.0.3:83", (20, 6000, "b.test")),
    ];
    assert_eq!(all, expected.map(|(key, value)| (key.to_owned(), value)).into());
}

#[tokio::test]
async fn what_is_not_found_is_an_error_unless_it_is_believed() {
    let mut zone = Zone::start().await;
    zone.set("web.test.", 60, [ip("10.0.0.1")]).await;
    let mut doubts = zone.dns().host("web.test.", 80).unwrap();
    let mut believes = zone.dns().believe_negative(true).host("web.test.", 80).unwrap();
    assert_eq!(next(&mut doubts).await, ["10.0.0.1:80"]);
    assert_eq!(next(&mut believes).await, ["10.0.0.1:80"]);
    zone.set("web.test.", 60, []).await;
    assert_eq!(error(&mut doubts).await, "dns host web.test.: no such name");
    assert!(next(&mut believes).await.is_empty());
    zone.set("web.test.", 60, [ip("10.0.0.2")]).await;
    assert_eq!(next(&mut doubts).await, ["10.0.0.2:80"]);
    assert_eq!(next(&mut believes).await, ["10.0.0.2:80"]);

    // There is the name, and no record of this type.
    let mut service = zone.dns().srv("web.test.").unwrap();
    assert_eq!(error(&mut service).await, "dns service web.test.: no such record");
    // RFC 2782: the service is decidedly not available.
    zone.set("_none._tcp.test.", 60, [srv(0, 0, 0, ".")]).await;
    let mut service = zone.dns().believe_negative(true).srv("_none._tcp.test.").unwrap();
    assert!(next(&mut service).await.is_empty());
}

#[tokio::test]
async fn an_outage_changes_nothing_and_ends_without_help() {
    let mut zone = Zone::start().await;
    zone.set("web.test.", 60, [ip("10.0.0.1")]).await;
    let schedule = quick().timeout(300 * MS);
    let dns = zone.dns().believe_negative(true).schedule(schedule);
    let mut source = dns.host("web.test.", 80).unwrap();
    let status = source.status();
    assert_eq!(next(&mut source).await, ["10.0.0.1:80"]);
    zone.stop().await;
    for failures in 1..=5 {
        error(&mut source).await;
        assert_eq!(status.report().failures, failures);
    }
    zone.set("web.test.", 60, [ip("10.0.0.2")]).await;
    zone.serve().await;
    assert_eq!(next(&mut source).await, ["10.0.0.2:80"]);
    assert_eq!(status.report().failures, 0);
}

/// SERVFAIL is a failure, never "there is none"; for one kind of address, the others are used.
#[tokio::test]
async fn a_server_that_fails_is_not_believed() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (fails, failing) = tokio::sync::watch::channel::<&[RecordType]>(&[]);
    let (drops, dropping) = tokio::sync::watch::channel::<&[RecordType]>(&[]);
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let query = message.queries[0].clone();
            if dropping.borrow().contains(&query.query_type()) {
                continue;
            }
            if failing.borrow().contains(&query.query_type()) {
                message.metadata.response_code = ResponseCode::ServFail;
            } else {
                let address =
                    if query.query_type() == RecordType::A { "10.0.0.1" } else { "fd00::1" };
                // An absurd TTL, which the ceiling cuts.
                message.add_answer(Record::from_rdata(query.name().clone(), u32::MAX, ip(address)));
            }
            socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let dns = Dns::with_servers([address]).unwrap().believe_negative(true).schedule(quick());
    let mut source = dns.host("web.test.", 80).unwrap();
    assert_eq!(next(&mut source).await, ["10.0.0.1:80", "[fd00::1]:80"]);
    fails.send(&[RecordType::A, RecordType::AAAA]).unwrap();
    let message = error(&mut source).await;
    assert!(message.contains("Server Failure"), "{message}");
    let mut fresh = dns.host("web.test.", 80).unwrap();
    error(&mut fresh).await;
    // One kind is enough, and of the other those known last are kept.
    fails.send(&[RecordType::AAAA]).unwrap();
    assert_eq!(next(&mut fresh).await, ["10.0.0.1:80"]);
    let successes = source.status().report().successes;
    while source.status().report().successes < successes + 3 {
        let waited = timeout(50 * MS, source.next()).await;
        assert!(!matches!(waited, Ok(Some(Ok(_)))), "{waited:?}");
    }
    fails.send(&[]).unwrap();
    assert_eq!(next(&mut fresh).await, ["10.0.0.1:80", "[fd00::1]:80"]);

    // Networks in which one kind is never answered.
    drops.send(&[RecordType::AAAA]).unwrap();
    let dns = Dns::with_servers([address]).unwrap().schedule(quick().timeout(2000 * MS));
    let mut fresh = dns.host("web.test.", 80).unwrap();
    assert_eq!(next(&mut fresh).await, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn large_answers_come_over_tcp() {
    let mut zone = Zone::start().await;
    let many = (0..1000).map(|n: u16| ip(&format!("10.1.{}.{}", n >> 8, n & 255)));
    zone.set("many.test.", 60, many).await;
    let mut source = zone.dns().family(Family::V4).host("many.test.", 80).unwrap();
    assert_eq!(next(&mut source).await.len(), 1000);
}

/// In real time, as nothing else moves sockets.
#[tokio::test]
async fn ttls_are_honoured() {
    let mut zone = Zone::start().await;
    zone.set("web.test.", 1, [ip("10.0.0.1")]).await;
    let schedule = Schedule::new().jitter(0.0).floor(10 * MS);
    let mut source =
        zone.dns().schedule(schedule).family(Family::V4).host("web.test.", 80).unwrap();
    next(&mut source).await;
    let start = Instant::now();
    zone.set("web.test.", 1, [ip("10.0.0.2")]).await;
    assert_eq!(next(&mut source).await, ["10.0.0.2:80"]);
    let took = start.elapsed();
    assert!((900 * MS..5000 * MS).contains(&took), "{took:?}");
    assert_eq!(source.status().report().successes, 2);
}

#[tokio::test]
async fn addresses_that_can_not_be_endpoints_are_left_out_and_told_once() {
    let (logs, _guard) = Logs::collect();
    let mut zone = Zone::start().await;
    let bad = ["0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.169.254", "::", "fe80::1"];
    let bad = bad.into_iter().chain(["fd00:ec2::254", "::ffff:169.254.169.254"]);
    let records = |good: &'static [&str]| bad.clone().chain(good.iter().copied()).map(ip);
    zone.set("web.test.", 60, records(&["10.0.0.1", "127.0.0.1", "169.254.171.1", "fd00::1"]))
        .await;
    let mut source = zone.dns().host("web.test.", 80).unwrap();
    let usable = ["10.0.0.1:80", "127.0.0.1:80", "169.254.171.1:80", "[fd00::1]:80"];
    assert_eq!(next(&mut source).await, usable);
    let mut strict =
        zone.dns().address_filter(AddressFilter::strict()).host("web.test.", 80).unwrap();
    assert_eq!(next(&mut strict).await, ["10.0.0.1:80", "127.0.0.1:80", "[fd00::1]:80"]);
    let filter = AddressFilter::usable().and(|ip| !ip.is_loopback());
    let mut own = zone.dns().address_filter(filter).host("web.test.", 80).unwrap();
    let all = next(&mut own).await;
    assert!(all.contains(&"169.254.169.254:80".to_owned()) && !all.contains(&usable[1].to_owned()));

    // Further answers tell nothing new, until there is something.
    logs.take();
    let mut source = zone.dns().host("web.test.", 80).unwrap();
    next(&mut source).await;
    let told = logs.take();
    let expected = "an endpoint is left out source=dns host web.test. endpoint=web.test. \
        reason=169.254.169.254 can't be an endpoint: it is the address of a metadata service";
    assert!(told.contains(&expected.to_owned()), "{told:#?}");
    assert_eq!(told.len(), 8, "{told:#?}");
    zone.set("web.test.", 60, records(&["10.0.0.2", "fd00::1"])).await;
    assert_eq!(next(&mut source).await, ["10.0.0.2:80", "[fd00::1]:80"]);
    assert!(logs.take().is_empty());
    zone.set("web.test.", 60, records(&["10.0.0.3", "100.100.100.200", "fd00::1"])).await;
    next(&mut source).await;
    assert_eq!(logs.take().len(), 1);

    // However much is left out, the log stays short.
    let many = (0..100).map(|n| ip(&format!("0.0.0.{n}"))).chain([ip("10.0.0.4")]);
    zone.set("many.test.", 60, many).await;
    let mut many = zone.dns().host("many.test.", 80).unwrap();
    assert_eq!(next(&mut many).await, ["10.0.0.4:80"]);
    let told = logs.take();
    assert_eq!(told.len(), 21, "{told:#?}");
    assert_eq!(told[20], "more endpoints are left out source=dns host many.test. more=80");
}

/// A resolver that blocks a name by the answer 0.0.0.0 must not empty the set.
#[tokio::test]
async fn an_answer_without_a_usable_address_changes_nothing() {
    let mut zone = Zone::start().await;
    zone.set("web.test.", 60, [ip("10.0.0.1"), ip("fd00::1")]).await;
    let dns = zone.dns().believe_negative(true);
    let mut source = dns.host("web.test.", 80).unwrap();
    assert_eq!(next(&mut source).await, ["10.0.0.1:80", "[fd00::1]:80"]);
    // Of one kind nothing is left: that is a failure of this kind, so the last ones are kept.
    zone.set("web.test.", 60, [ip("0.0.0.0"), ip("fd00::2")]).await;
    assert_eq!(next(&mut source).await, ["10.0.0.1:80", "[fd00::2]:80"]);
    zone.set("web.test.", 60, [ip("0.0.0.0"), ip("::")]).await;
    let expected = "dns host web.test.: 0.0.0.0 can't be an endpoint: it is an unspecified address";
    assert_eq!(error(&mut source).await, expected);
    assert_eq!(source.status().report().endpoints, 2, "the last stay");
    // One kind is rejected, and of the other there is none: no failure passes for "there is none".
    zone.set("web.test.", 60, []).await;
    zone.set("web.test.", 60, [ip("0.0.0.0")]).await;
    assert_eq!(error(&mut source).await, expected);
    zone.set("web.test.", 60, [ip("10.0.0.3")]).await;
    assert_eq!(next(&mut source).await, ["10.0.0.3:80"]);

    let mut literal = dns.host("169.254.169.254", 80).unwrap();
    assert!(error(&mut literal).await.ends_with("it is the address of a metadata service"));
    let mut port = dns.host("web.test.", 0).unwrap();
    assert_eq!(
        error(&mut port).await,
        "dns host web.test.: the port is 0, which is not a valid port"
    );
}

#[tokio::test]
async fn targets_without_a_usable_address_are_left_out() {
    let (logs, _guard) = Logs::collect();
    let mut zone = Zone::start().await;
    zone.set("a.test.", 60, [ip("10.0.0.1"), ip("0.0.0.0")]).await;
    zone.set("b.test.", 60, [ip("224.0.0.1")]).await;
    let services = [srv(1, 1, 80, "a.test."), srv(1, 1, 0, "a.test."), srv(1, 1, 80, "b.test.")];
    zone.set("_http._tcp.test.", 60, services).await;
    let mut source = zone.dns().srv("_http._tcp.test.").unwrap();
    assert_eq!(next(&mut source).await, ["10.0.0.1:80"]);
    let mut told = logs.take();
    told.sort();
    let expected = [
        "a.test. reason=0.0.0.0 can't be an endpoint: it is an unspecified address",
        "a.test. reason=the port is 0, which is not a valid port",
        "b.test. reason=224.0.0.1 can't be an endpoint: it is a multicast address",
    ];
    let expected = expected.map(|event| {
        format!("an endpoint is left out source=dns service _http._tcp.test. endpoint={event}")
    });
    assert_eq!(told, expected);
    // What was usable is kept when nothing of an answer is.
    zone.set("a.test.", 60, [ip("0.0.0.0")]).await;
    error(&mut source).await;
    zone.set("_http._tcp.test.", 60, [srv(1, 1, 0, "a.test.")]).await;
    loop {
        let message = error(&mut source).await;
        if message.ends_with("the port is 0, which is not a valid port") {
            break;
        }
    }
    assert_eq!(source.status().report().endpoints, 1);
}

#[tokio::test]
async fn services_have_bounds() {
    let mut zone = Zone::start().await;
    zone.set("a.test.", 60, (0..100).map(|n| ip(&format!("10.0.0.{n}")))).await;
    let many = |ports: u16| (1..=ports).map(|port| srv(1, 1, port, "a.test."));
    zone.set("_fits._tcp.test.", 60, many(100)).await;
    zone.set("_wide._tcp.test.", 60, many(101)).await;
    zone.set("_long._tcp.test.", 60, many(1025)).await;
    let dns = zone.dns().family(Family::V4);
    let mut fits = dns.srv("_fits._tcp.test.").unwrap();
    assert_eq!(next(&mut fits).await.len(), 10_000);
    for (name, expected) in [
        ("_wide._tcp.test.", "more than 10000 endpoints"),
        ("_long._tcp.test.", "more than 1024 SRV records"),
    ] {
        let mut source = dns.srv(name).unwrap();
        assert_eq!(error(&mut source).await, format!("dns service {name}: {expected}"));
    }
}

/// A service whose targets are many, on a server that counts the queries it has not answered yet, and
/// never answers for some.
#[tokio::test]
async fn targets_are_looked_up_a_few_at_a_time() {
    const TARGETS: usize = 100;
    let (socket, tcp) = loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(socket.local_addr().unwrap()).await {
            break (Arc::new(socket), tcp);
        }
    };
    let address = socket.local_addr().unwrap();
    let (pending, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&pending), Arc::clone(&most));
    // The records of the service don't fit into a datagram.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut query = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut query).await.unwrap();
            let mut message = Message::from_vec(&query).unwrap();
            message.metadata.message_type = MessageType::Response;
            for n in 0..TARGETS {
                let data = srv(1, 1, 80, &format!("t{n}."));
                message.add_answer(Record::from_rdata(name("web."), 60, data));
            }
            let answer = message.to_vec().unwrap();
            stream.write_u16(answer.len() as u16).await.unwrap();
            stream.write_all(&answer).await.unwrap();
            // It stays open until the client closes it.
            let _ = stream.read_u8().await;
        }
    });
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let host = message.queries[0].name().to_string();
            match host.strip_prefix('t').and_then(|host| host.strip_suffix('.')) {
                None => message.metadata.truncation = true,
                Some(number) => {
                    let number: usize = number.parse().unwrap();
                    // The first of the list are dead.
                    if number < 10 {
                        continue;
                    }
                    let data = ip(&format!("10.0.0.{number}"));
                    message.add_answer(Record::from_rdata(name(&host), 60, data));
                }
            }
            let ((pending, most), socket) = (counts.clone(), Arc::clone(&socket));
            most.fetch_max(pending.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::spawn(async move {
                tokio::time::sleep(5 * MS).await;
                pending.fetch_sub(1, Ordering::SeqCst);
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            });
        }
    });
    let schedule = quick().timeout(4000 * MS);
    let dns = Dns::with_servers([address]).unwrap().schedule(schedule).family(Family::V4);
    let mut source = dns.srv("web.").unwrap();
    // Those that never answer take their time, and the others are found meanwhile.
    assert_eq!(next(&mut source).await.len(), TARGETS - 10);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=32).contains(&most), "{most} at the same time");
}

struct Dnsmasq(Child);

impl Dnsmasq {
    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server of another make, if `dnsmasq` is on the path: records that change, and one that is stopped
/// so that it neither answers nor refuses.
#[cfg(unix)]
#[tokio::test]
async fn the_real_dnsmasq() {
    let port = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let hosts = std::env::temp_dir().join(format!("tower-lb-hosts-{}", std::process::id()));
    fs::write(&hosts, "10.0.0.1 web.test\n10.0.0.2 web.test\nfd00::1 six.test\n").unwrap();
    let server = Command::new("dnsmasq")
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv"])
        .args(["--no-hosts", "--local=/test/", "--local-ttl=1", "--bind-interfaces", "--user="])
        .args(["--listen-address=127.0.0.1", &format!("--port={port}")])
        .arg(format!("--addn-hosts={}", hosts.display()))
        .args([
            "--srv-host=_http._tcp.test,web.test,81,5,7",
            "--srv-host=_http._tcp.test,six.test,82,6,0",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(server) = server else {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no dnsmasq. Install it: apt-get install --no-install-recommends dnsmasq-base"
        );
        return;
    };
    let mut server = Dnsmasq(server);
    let schedule = quick().timeout(500 * MS);
    let dns = Dns::with_servers([([127, 0, 0, 1], port).into()]).unwrap().schedule(schedule);
    let mut source = dns.host("web.test", 80).unwrap();
    assert_eq!(next(&mut source).await, ["10.0.0.1:80", "10.0.0.2:80"]);
    let mut service = dns.srv("_http._tcp.test").unwrap();
    let Some(Ok(Update::Reset(all))) = service.next().await else { panic!() };
    let tiers: Vec<_> =
        all.iter().map(|(key, e)| (key.to_string(), e.tier(), e.weight())).collect();
    let expected = [("10.0.0.1:81", 5, 3500), ("10.0.0.2:81", 5, 3500), ("[fd00::1]:82", 6, 1)];
    assert_eq!(tiers, expected.map(|(key, tier, weight)| (key.to_owned(), tier, weight)));

    fs::write(&hosts, "10.0.0.3 web.test\n").unwrap();
    server.signal("-HUP");
    assert_eq!(next(&mut source).await, ["10.0.0.3:80"]);
    server.signal("-STOP");
    let silent = error(&mut source).await;
    assert!(silent.ends_with("timed out"), "{silent}");
    server.signal("-CONT");
    let back = timeout(20_000 * MS, async {
        while source.status().report().failures > 0 {
            let _ = timeout(50 * MS, source.next()).await;
        }
    });
    back.await.expect("it recovers");
    server.0.kill().unwrap();
    error(&mut source).await;
    assert_eq!(source.status().report().endpoints, 1);
    let _ = fs::remove_file(&hosts);
}

#[test]
fn it_is_a_source_and_nonsense_is_rejected() {
    fn assert_discover<D: Discover + Send>(_: &D) {}
    assert_eq!(Dns::with_servers([]).err().unwrap().field(), "servers");
    let dns = Dns::with_servers([([127, 0, 0, 1], 53).into()]).unwrap();
    assert!(dns.clone().schedule(Schedule::new().floor(Duration::ZERO)).host("a", 1).is_err());
    assert_discover(&dns.host("a", 1).unwrap());
}
