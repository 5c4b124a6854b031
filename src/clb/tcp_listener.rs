use std::net::SocketAddr;

use tower_layer::Layer;

use super::{
    ClassicListener,
    load_balancer::{BalancerFigures, Node, NodeFigures},
    plan::{Plan, Settings},
};
use crate::{
    balance::Builder,
    listener::ListenError,
    retry::{RetryFailures, RetryLayer},
    strategy::RoundRobin,
    tcp::{Relays, SendProxy, TargetTls, Termination, TerminationExt},
};

/// Makes a listener of TCP or SSL: round robin over relays.
pub(super) fn node(plan: &Plan, listener: &ClassicListener) -> Result<Node, ListenError> {
    let settings = &plan.settings;
    let mut relays = Relays::builder()
        .connect_timeout(settings.connect_timeout)
        .idle_timeout(settings.idle_timeout);
    if listener.proxy_protocol {
        relays = relays.proxy_protocol(SendProxy::v1());
    }
    if let Some(tls) = settings.instance_tls.as_ref() {
        if listener.instance_protocol.is_encrypted() {
            relays = relays.tls(TargetTls::new(tls.config()));
        }
    }
    let relays = relays.build()?;
    let (port, connector) = (listener.instance_port, relays.clone());
    let instances = plan
        .instances(move |address| connector.relay(SocketAddr::new(address, port)))?
        // An unhealthy instance keeps its connections, and one that has gone does not.
        .terminating(Termination::new().on_removal(true).on_unhealthy(None));
    // What may fail comes first, so that no driver is dropped beside its balancer.
    let retry =
        RetryLayer::builder(RetryFailures::default()).attempts(Settings::ATTEMPTS).build()?;
    let bound = plan.bind(listener, |builder| builder)?;
    let (balancer, driver) = settings
        .limit(Builder::tcp())
        .name(plan.name_of(listener))
        .build(settings.within_zone(RoundRobin::new()), instances)?;
    let figures = NodeFigures {
        listener: listener.clone(),
        addresses: bound.local_addresses().to_vec(),
        handle: bound.handle(),
        balancer: BalancerFigures::of(balancer.clone()),
        monitor: balancer.monitor(),
        relays: Some(relays),
    };
    let service = retry.layer(balancer);
    let start = move |limit| bound.serve_connections(service).drain_limit(limit);
    Ok(Node::new(figures, Box::pin(driver), start))
}
