use super::{Projection, Value, catalog};
use crate::udp::{UdpDrops, UdpRelayStatus, UdpResponderStatus};

/// What both kinds of relays count.
struct Datagrams<'a> {
    name: &'a str,
    kind: &'static str,
    datagrams: [u64; 2],
    bytes: [u64; 2],
    dropped: UdpDrops,
}

/// The directions of `Datagrams`, as clients are seen: from them, and to them.
const DIRECTIONS: [&str; 2] = ["in", "out"];

impl Projection {
    pub(super) fn udp_relay(&mut self, status: &UdpRelayStatus) {
        let name = [("relay", &*status.name)];
        self.push(&catalog::UDP_FLOWS, name, Value::Gauge(status.flows as f64));
        self.push(&catalog::UDP_FLOWS_CREATED, name, Value::Counter(status.flows_created));
        self.push(&catalog::UDP_FLOWS_REPICKED, name, Value::Counter(status.repicked));
        self.push_counts(&catalog::UDP_FLOWS_ENDED, &name, "cause", status.flows_ended.iter());
        self.datagrams(&Datagrams {
            name: &status.name,
            kind: "relay",
            datagrams: [status.datagrams_in, status.datagrams_out],
            bytes: [status.bytes_in, status.bytes_out],
            dropped: status.dropped,
        });
    }

    pub(super) fn udp_responder(&mut self, status: &UdpResponderStatus) {
        let in_flight = Value::Gauge(status.in_flight as f64);
        self.push(&catalog::UDP_REQUESTS, [("relay", &*status.name)], in_flight);
        self.datagrams(&Datagrams {
            name: &status.name,
            kind: "responder",
            datagrams: [status.datagrams_in, status.datagrams_out],
            bytes: [status.bytes_in, status.bytes_out],
            dropped: status.dropped,
        });
    }

    fn datagrams(&mut self, counted: &Datagrams<'_>) {
        let labels = [("relay", counted.name), ("kind", counted.kind)];
        let counts = |counts: [u64; 2]| DIRECTIONS.into_iter().zip(counts);
        let (datagrams, bytes) = (counts(counted.datagrams), counts(counted.bytes));
        self.push_counts(&catalog::UDP_DATAGRAMS, &labels, "direction", datagrams);
        self.push_counts(&catalog::UDP_BYTES, &labels, "direction", bytes);
        self.push_counts(&catalog::UDP_DROPPED, &labels, "reason", counted.dropped.iter());
    }
}
