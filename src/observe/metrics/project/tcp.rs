use super::{Projection, Value, catalog};
use crate::tcp::RelayStatus;

impl Projection {
    pub(super) fn tcp_relays(&mut self, status: &RelayStatus) {
        let name = [("relay", &*status.name)];
        self.push(&catalog::TCP_CONNECTIONS, name, Value::Gauge(status.open as f64));
        self.push(&catalog::TCP_CONNECTIONS_OPENED, name, Value::Counter(status.connected));
        let bytes = [("in", status.bytes_to_targets), ("out", status.bytes_to_clients)];
        self.push_counts(&catalog::TCP_CONNECTIONS_CLOSED, &name, "cause", status.ended.iter());
        self.push_counts(&catalog::TCP_CONNECT_FAILURES, &name, "reason", status.failed.iter());
        self.push_counts(&catalog::TCP_BYTES, &name, "direction", bytes);
    }
}
