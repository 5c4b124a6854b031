//! The flow table at its size.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::time::Instant;
use tower_lb::flow::{FlowKey, FlowTable, Refusal};

const FLOWS: u32 = 100_000;
const SECOND: Duration = Duration::from_secs(1);

fn flow(number: u32) -> (FlowKey, IpAddr) {
    let source = IpAddr::from(Ipv4Addr::from_bits(0x0A00_0000 + number / 50));
    let destination = SocketAddr::from(([192, 0, 2, 1], 53));
    let port = 1024 + (number % 50) as u16;
    (FlowKey::five_tuple(FlowKey::UDP, (source, port).into(), destination), source)
}

fn full(now: Instant) -> FlowTable<u64> {
    let mut table = FlowTable::builder().max_flows(FLOWS).build().unwrap();
    for number in 0..FLOWS {
        let (key, source) = flow(number);
        assert_eq!(table.insert(key, source, 0, number.into(), now), Ok(None));
    }
    table
}

#[test]
fn a_flow_takes_little_memory_and_gives_it_back() {
    let mut table = None;
    let now = Instant::now();
    let used = allocation_counter::measure(|| table = Some(full(now)));
    let bytes = used.bytes_current / i64::from(FLOWS);
    println!("{bytes} bytes for each of {FLOWS} flows");
    // Half of that is room to grow. A source with 50 flows takes 1 or 2 bytes of it.
    assert!((100..=200).contains(&bytes), "{bytes} bytes for each flow");
    let freed = allocation_counter::measure(|| {
        let table = table.as_mut().unwrap();
        while table.pop_expired(now + SECOND * 120).is_some() {}
        assert_eq!((table.len(), table.counts().expired), (0, FLOWS.into()));
    });
    let left = used.bytes_current + freed.bytes_current;
    assert!(left < 100_000, "{left} bytes are left");
}

#[test]
fn packets_of_known_flows_allocate_nothing() {
    let now = Instant::now();
    let mut table = full(now);
    let used = allocation_counter::measure(|| {
        for number in 0..FLOWS {
            let (key, _) = flow(number);
            assert!(table.get(&key, now + SECOND).is_some());
            assert!(table.establish(&key, now + SECOND * 20).is_some());
        }
    });
    assert_eq!(used.count_total, 0);
}

/// Expiry looks at flows that expire, and at no other: with 100 000 flows, of which one expires in
/// each step, a scan would look at ten thousand millions.
#[test]
fn expiry_does_not_scan() {
    let start = Instant::now();
    let mut table = FlowTable::builder().max_flows(FLOWS).build::<u32>().unwrap();
    let step = SECOND * 120 / FLOWS;
    let mut expired = 0;
    for number in 0..2 * FLOWS {
        let now = start + step * number;
        while let Some((key, value)) = table.pop_expired(now) {
            assert_eq!((key, value), (flow(expired).0, expired), "in order");
            expired += 1;
        }
        let (key, source) = flow(number);
        table.insert(key, source, 0, number, now).unwrap();
        assert!(table.next_expiry().unwrap() > now);
    }
    assert_eq!((table.len(), expired), (FLOWS as usize, FLOWS));
}

#[test]
fn a_flood_of_one_source_and_one_of_many_leave_established_flows_alone() {
    let now = Instant::now();
    let mut table = FlowTable::builder().max_flows(1000).source_share(0.1).build().unwrap();
    for number in 0..500 {
        let (key, source) = flow(number);
        table.insert(key, source, 0, (), now).unwrap();
        table.establish(&key, now).unwrap();
    }
    let attacker = |source: u32, port: u32| {
        let source = IpAddr::from(Ipv4Addr::from_bits(0xC000_0000 + source));
        let destination = SocketAddr::from(([192, 0, 2, 1], 53));
        let port = port as u16;
        (FlowKey::five_tuple(FlowKey::UDP, (source, port).into(), destination), source)
    };
    for port in 0..60_000 {
        let (key, source) = attacker(0, port);
        table.insert(key, source, 0, (), now).unwrap();
    }
    assert_eq!(table.len(), 600, "one source gets a tenth");
    for source in 0..100_000 {
        let (key, source) = attacker(source, 1);
        table.insert(key, source, 0, (), now).unwrap();
    }
    assert_eq!(table.len(), 1000);
    for number in 0..500 {
        assert!(table.is_established(&flow(number).0), "{number}");
    }
    // A real client among them gets its place, if the reply comes before 500 others.
    let (key, source) = flow(90_000);
    table.insert(key, source, 0, (), now).unwrap();
    table.establish(&key, now).unwrap();
    for source in 0..10_000 {
        let (key, source) = attacker(source, 2);
        assert!(!matches!(
            table.insert(key, source, 0, (), now).map_err(|refused| refused.reason),
            Err(Refusal::TableFull)
        ));
    }
    assert!(table.is_established(&key));
}
