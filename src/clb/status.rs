use std::{fmt, net::SocketAddr, sync::Arc};

use super::{ClassicListener, ClassicProtocol};
use crate::{
    balance::{EndpointStatus, Status},
    endpoint::{Health, OutcomeCounts},
    escape::Escaped,
    health::EndpointCheck,
    listener::ListenerStatus,
    tcp::RelayStatus,
};

/// What a [`ClassicLoadBalancer`](super::ClassicLoadBalancer) does at a moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClassicStatus {
    /// The name of the load balancer.
    pub name: Arc<str>,
    /// The listeners, in their order.
    pub listeners: Vec<ListenerCounts>,
    /// The registered instances by their health checks.
    pub instances: Vec<InstanceHealth>,
}

/// What a listener has done so far.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerCounts {
    /// The address that is bound.
    pub address: SocketAddr,
    /// The protocol of clients.
    pub protocol: ClassicProtocol,
    /// The protocol of instances.
    pub instance_protocol: ClassicProtocol,
    /// The port of instances.
    pub instance_port: u16,
    /// The instances by name, also those that drain.
    pub instances: Vec<InstanceCounts>,
    /// Requests, or TCP connections, that wait for an instance at this moment: `SurgeQueueLength`.
    pub surge_queue_length: usize,
    /// Those that were rejected because the surge queue was full: `SpilloverCount`.
    pub spillover: u64,
    /// The connections of clients, and with HTTP their requests.
    pub connections: ListenerStatus,
    /// The connections to instances; `None` with HTTP.
    pub relays: Option<RelayStatus>,
}

/// What an instance has done for one listener.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InstanceCounts {
    /// The key of its discovery.
    pub name: Arc<str>,
    /// The health: healthy, unhealthy, or draining after a removal.
    pub health: Health,
    /// Requests, or TCP connections, at this moment.
    pub outstanding: u32,
    /// How many ended in which way.
    pub outcomes: OutcomeCounts,
}

/// The health of an instance in the words of `DescribeInstanceHealth`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceHealth {
    /// The key of its discovery.
    pub name: Arc<str>,
    /// The state.
    pub state: InstanceState,
    /// Why the instance is not in service; `None` if it is.
    pub description: Option<Arc<str>>,
}

/// The state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InstanceState {
    /// It passes its checks.
    InService,
    /// It fails its checks, or has yet to pass enough of them.
    OutOfService,
    /// No check has ended yet.
    Unknown,
}

impl InstanceState {
    /// Returns the name of the state in AWS's API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InService => "InService",
            Self::OutOfService => "OutOfService",
            Self::Unknown => "Unknown",
        }
    }
}

impl InstanceHealth {
    pub(super) fn of(check: &EndpointCheck) -> Self {
        let (state, description) = match &check.last {
            _ if check.healthy => (InstanceState::InService, None),
            None => (InstanceState::Unknown, Some("no health check has ended yet".into())),
            Some(last) => {
                let error = last.error.clone();
                let few = || "too few consecutive health checks have passed".into();
                (InstanceState::OutOfService, Some(error.unwrap_or_else(few)))
            }
        };
        Self { name: Arc::clone(&check.endpoint), state, description }
    }
}

impl InstanceCounts {
    fn of(instance: &EndpointStatus) -> Self {
        Self {
            name: Arc::clone(&instance.name),
            health: instance.attributes.health().clone(),
            outstanding: instance.outstanding,
            outcomes: instance.outcomes,
        }
    }
}

impl ListenerCounts {
    pub(super) fn of(
        listener: &ClassicListener,
        address: SocketAddr,
        connections: ListenerStatus,
        relays: Option<RelayStatus>,
        balancer: &Status,
    ) -> Self {
        let mut instances: Vec<_> = balancer.endpoints.iter().map(InstanceCounts::of).collect();
        instances.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            address,
            protocol: listener.protocol,
            instance_protocol: listener.instance_protocol,
            instance_port: listener.instance_port,
            instances,
            surge_queue_length: balancer.waiting,
            spillover: balancer.rejected,
            connections,
            relays,
        }
    }
}

impl fmt::Display for ClassicStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "load balancer {}", Escaped(&self.name))?;
        for instance in &self.instances {
            writeln!(f, "{instance}")?;
        }
        self.listeners.iter().try_for_each(|listener| writeln!(f, "{listener}"))
    }
}

impl fmt::Display for InstanceHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instance {}: {}", Escaped(&self.name), self.state.as_str())?;
        match &self.description {
            Some(description) => write!(f, " ({})", Escaped(description)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ListenerCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} to {} {}: {} in the surge queue, {} spilled over",
            self.protocol,
            self.address,
            self.instance_protocol,
            self.instance_port,
            self.surge_queue_length,
            self.spillover
        )?;
        for InstanceCounts { name, health, outstanding, outcomes } in &self.instances {
            let (name, total) = (Escaped(name), outcomes.total());
            write!(f, "\n  {name}: {outstanding} outstanding, {total} ended, {health}")?;
        }
        Ok(())
    }
}
