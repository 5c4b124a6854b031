use super::{Projection, Value, catalog};
use crate::geneve::{GatewayStatus, InspectorStatus};

impl Projection {
    pub(super) fn gateway(&mut self, status: &GatewayStatus) {
        let name = [("gateway", &*status.name)];
        self.push(&catalog::GENEVE_FLOWS, name, Value::Gauge(status.flows as f64));
        for (metric, count) in [
            (&catalog::GENEVE_FLOWS_CREATED, status.flows_created),
            (&catalog::GENEVE_FLOWS_REBALANCED, status.rebalanced),
            (&catalog::GENEVE_RESETS, status.resets),
        ] {
            self.push(metric, name, Value::Counter(count));
        }
        let expired = [("idle", status.flows_expired), ("evicted", status.flows_evicted)];
        let packets = [
            ("in", status.packets_in),
            ("to_appliances", status.packets_sent),
            ("out", status.packets_passed),
        ];
        let bytes = [("in", status.bytes_in), ("out", status.bytes_passed)];
        self.push_counts(&catalog::GENEVE_FLOWS_EXPIRED, &name, "cause", expired);
        self.push_counts(&catalog::GENEVE_PACKETS, &name, "direction", packets);
        self.push_counts(&catalog::GENEVE_BYTES, &name, "direction", bytes);
        self.push_counts(&catalog::GENEVE_DROPPED, &name, "reason", status.dropped.iter());
    }

    pub(super) fn inspector(&mut self, status: &InspectorStatus) {
        let name = [("inspector", &*status.name)];
        let packets = [("in", status.received), ("out", status.returned)];
        let dropped = status.dropped.iter();
        self.push_counts(&catalog::INSPECTOR_PACKETS, &name, "direction", packets);
        self.push_counts(&catalog::INSPECTOR_DROPPED, &name, "reason", dropped);
    }
}
