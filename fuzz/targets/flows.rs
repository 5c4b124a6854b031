//! Keys of flows, and the flow table against a map.

#![no_main]

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use libfuzzer_sys::{arbitrary::Arbitrary, fuzz_target};
use tokio::time::Instant;
use tower_lb::flow::{FlowKey, FlowTable, Removal};

#[derive(Arbitrary, Debug)]
struct Input {
    protocol: u8,
    source: SocketAddr,
    destination: SocketAddr,
    max_flows: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Wait { millis: u16 },
    Insert { key: u8, class: u8 },
    Get { key: u8 },
    Establish { key: u8 },
    Remove { key: u8 },
    Expire,
}

fuzz_target!(|input: Input| {
    key(input.protocol, input.source, input.destination);
    let mut model = Model::new(u32::from(input.max_flows % 16) + 1);
    input.steps.iter().for_each(|step| model.run(step));
});

fn key(protocol: u8, source: SocketAddr, destination: SocketAddr) {
    let there = FlowKey::five_tuple(protocol, source, destination);
    let back = FlowKey::five_tuple(protocol, destination, source);
    assert_eq!((there.reversed(), there.reversed().reversed()), (back, there));
    assert_eq!(there.symmetric(), back.symmetric());
    assert_eq!(there.symmetric().hash(7), back.symmetric().hash(7));
    assert_eq!(there.protocol(), protocol);
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    assert_eq!((there.source(), there.destination()), (plain(source), plain(destination)));
    // The key of what was read from a key is the same.
    assert_eq!(FlowKey::five_tuple(protocol, there.source(), there.destination()), there);
    let three = FlowKey::three_tuple(protocol, source.ip(), destination.ip());
    assert_eq!(three == there, (source.port(), destination.port()) == (0, 0));
    assert!(!there.to_string().is_empty());
}

/// The idle timeouts of two classes.
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(16), Duration::from_secs(160)];
/// Keys share few sources, so that the share of a source matters.
const SOURCES: u8 = 4;

struct Model {
    table: FlowTable<u32, u8>,
    max_flows: usize,
    now: Instant,
    inserted: u32,
    /// The value of each flow, when it was last used, its timeout, and whether it is established.
    flows: HashMap<u8, Modelled>,
}

#[derive(Clone, Copy)]
struct Modelled {
    value: u32,
    used: Instant,
    timeout: Duration,
    is_established: bool,
}

impl Modelled {
    fn is_idle(&self, now: Instant) -> bool {
        now - self.used >= self.timeout
    }
}

impl Model {
    fn new(max_flows: u32) -> Self {
        let builder = FlowTable::builder().max_flows(max_flows).idle_timeouts(TIMEOUTS);
        Self {
            table: builder.build_keyed().expect("the settings are valid"),
            max_flows: max_flows as usize,
            now: Instant::now(),
            inserted: 0,
            flows: HashMap::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Wait { millis } => self.now += Duration::from_millis(millis.into()),
            Step::Insert { key, class } => self.insert(key, class),
            Step::Get { key } => {
                let found = self.table.get(&key, now).copied();
                self.used(key, found);
            }
            Step::Establish { key } => {
                let found = self.table.establish(&key, now).copied();
                if self.used(key, found) {
                    self.flows.entry(key).and_modify(|flow| flow.is_established = true);
                }
            }
            Step::Remove { key } => {
                let expected = self.flows.remove(&key).map(|flow| flow.value);
                assert_eq!(self.table.remove(&key), expected);
            }
            Step::Expire => {
                while let Some((key, value)) = self.table.pop_expired(now) {
                    let flow = self.flows.remove(&key).expect("the flow is known");
                    assert!(flow.value == value && flow.is_idle(now));
                }
            }
        }
        self.check();
    }

    fn insert(&mut self, key: u8, class: u8) {
        let (now, value) = (self.now, self.inserted);
        self.inserted += 1;
        let source = IpAddr::from([10, 0, 0, key % SOURCES]);
        match self.table.insert(key, source, class.into(), value, now) {
            Ok(removed) => {
                if let Some(removed) = removed {
                    let flow = self.flows.remove(&removed.key).expect("the flow is known");
                    assert_eq!(flow.value, removed.value);
                    match removed.cause {
                        Removal::Expired => assert!(flow.is_idle(now)),
                        Removal::Replaced => assert!(removed.key == key && !flow.is_idle(now)),
                        Removal::Evicted => assert!(!flow.is_established && removed.key != key),
                        other => panic!("{other:?}"),
                    }
                }
                let timeout = TIMEOUTS[usize::from(class).min(TIMEOUTS.len() - 1)];
                let flow = Modelled { value, used: now, timeout, is_established: false };
                assert!(self.flows.insert(key, flow).is_none());
            }
            Err(refused) => {
                assert_eq!(refused.value, value);
                assert!(!self.flows.contains_key(&key), "a flow can be replaced");
            }
        }
    }

    /// Checks what a look-up has found, and returns whether that is a flow.
    fn used(&mut self, key: u8, found: Option<u32>) -> bool {
        let now = self.now;
        let flow = self.flows.get_mut(&key).filter(|flow| !flow.is_idle(now));
        assert_eq!(found, flow.as_ref().map(|flow| flow.value));
        if let Some(flow) = flow {
            flow.used = now;
        }
        found.is_some()
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.flows.len());
        assert!(self.table.len() <= self.max_flows);
        assert_eq!(self.table.next_expiry().is_none(), self.flows.is_empty());
        for source in 0..SOURCES {
            let flows = self.flows.keys().filter(|&key| key % SOURCES == source).count();
            assert!(flows <= self.table.max_flows_per_source() as usize);
        }
        for (key, value) in self.table.iter() {
            assert_eq!(self.flows[key].value, *value);
            assert_eq!(self.flows[key].is_established, self.table.is_established(key));
        }
    }
}
