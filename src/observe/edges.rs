//! The edges below HTTP as components of a registry: relays of TCP and UDP, and both sides of a
//! Gateway Load Balancer.
//!
//! Add a relay, responder, gateway or inspector itself before it moves into its task, or its handle
//! or monitor afterwards. The registry sees them as one component, which disappears when the last
//! of them is dropped.

use super::{Observable, Observed};
#[cfg(feature = "geneve")]
use crate::geneve::{Gateway, GatewayMonitor, Inspector, InspectorMonitor};
#[cfg(feature = "tcp")]
use crate::tcp::Relays;
#[cfg(feature = "udp")]
use crate::udp::{UdpRelay, UdpRelayHandle, UdpResponder, UdpResponderHandle};

/// Observes all relays of the group, until the last clone, relay and connection of it is dropped.
#[cfg(feature = "tcp")]
impl Observable for Relays {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.tcp_relays).at(self.address())
    }
}

#[cfg(feature = "udp")]
impl<S> Observable for UdpRelay<S> {
    fn observe(&self) -> Observed {
        self.handle().observe()
    }
}

#[cfg(feature = "udp")]
impl Observable for UdpRelayHandle {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.udp_relays).at(self.address())
    }
}

#[cfg(feature = "udp")]
impl<S> Observable for UdpResponder<S> {
    fn observe(&self) -> Observed {
        self.handle().observe()
    }
}

#[cfg(feature = "udp")]
impl Observable for UdpResponderHandle {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.udp_responders).at(self.address())
    }
}

#[cfg(feature = "geneve")]
impl<E, B> Observable for Gateway<E, B> {
    fn observe(&self) -> Observed {
        self.monitor().observe()
    }
}

#[cfg(feature = "geneve")]
impl Observable for GatewayMonitor {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.gateways).at(self.address())
    }
}

#[cfg(feature = "geneve")]
impl<S, F> Observable for Inspector<S, F> {
    fn observe(&self) -> Observed {
        self.monitor().observe()
    }
}

#[cfg(feature = "geneve")]
impl Observable for InspectorMonitor {
    fn observe(&self) -> Observed {
        Observed::by(self.weak_status(), |report| &mut report.inspectors).at(self.address())
    }
}
