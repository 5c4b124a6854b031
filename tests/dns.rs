//! Endpoints from DNS, asked of hickory's server over loopback.
#![cfg(feature = "dns")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::{IpAddr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::Arc,
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
    net::{TcpListener, UdpSocket},
    time::timeout,
};
use tower_lb::discover::{Discover, Dns, DnsError, Family, Refresh, Schedule, Update};

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
    assert!(matches!(Dns::with_servers([]), Err(DnsError::NoServers)));
    let dns = Dns::with_servers([([127, 0, 0, 1], 53).into()]).unwrap();
    assert!(dns.clone().schedule(Schedule::new().floor(Duration::ZERO)).host("a", 1).is_err());
    assert_discover(&dns.host("a", 1).unwrap());
}
