use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use http::{request::Parts, uri::Scheme};
use tokio::{runtime::Handle, sync::Notify};

use super::{
    ListenerResponses, LoadBalancerBuilder, LoadBalancerServer, LoadBalancerStatus,
    TargetGroupStatus,
    assemble::GroupBody,
    resources::Resources,
    sockets::{Bound, Sockets},
    state::{NodeKey, Plan, State},
};
use crate::{
    alb::{
        config::{Checked, ListenerProtocol, Problem, ProblemKind, Problems},
        target_group::{TargetGroup, TargetGroupDriver, TargetHealth},
    },
    http::ResilienceLayer,
    listener::ListenerHandle,
    named::weak_status,
    rules::Explanation,
    sync::{Mutex, lock},
};

/// An Application Load Balancer that serves a configuration.
///
/// Clones are handles to the same one. Nothing is served before [`bind`](Self::bind) and
/// [`LoadBalancerServer::serve`]; without them, it can still [`explain`](Self::explain) requests,
/// so that a test can check production rules.
#[derive(Clone)]
pub struct LoadBalancer {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    resources: Resources,
    /// Held by a reload from its beginning to its end. The parts are made without the lock below,
    /// because that reads files.
    reloading: Mutex<()>,
    present: Mutex<Present>,
    /// Tells the server that there are other nodes or drivers.
    pub(super) changed: Notify,
}

/// What is changed together.
pub(super) struct Present {
    pub(super) state: State,
    /// Drivers of target groups that nothing polls yet.
    pub(super) drivers: Vec<TargetGroupDriver>,
    pub(super) phase: Phase,
    /// The runtime that serves.
    pub(super) runtime: Option<Handle>,
    pub(super) sockets: Sockets,
    /// Sockets of nodes that do not serve yet.
    pub(super) bound: BTreeMap<NodeKey, Bound>,
    /// The listeners that serve.
    pub(super) handles: BTreeMap<NodeKey, ListenerHandle>,
}

/// How far the load balancer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has no sockets.
    Unbound,
    /// It has sockets, and may serve.
    Bound,
    Serving,
    /// It has served, and its target groups have stopped.
    Over,
}

impl LoadBalancer {
    /// Makes a load balancer of a configuration.
    #[must_use]
    pub fn builder(config: Checked) -> LoadBalancerBuilder {
        LoadBalancerBuilder::new(config)
    }

    pub(super) fn new(config: Checked, resources: Resources) -> Result<Self, Problems> {
        let mut state = State::new(config.clone());
        let mut plan = Plan::new(config, &resources, None)?;
        plan.register_targets(None);
        let drivers = std::mem::take(&mut plan.drivers);
        plan.carry_out(&mut state);
        let present = Present {
            state,
            drivers,
            phase: Phase::Unbound,
            runtime: None,
            sockets: Sockets::default(),
            bound: BTreeMap::new(),
            handles: BTreeMap::new(),
        };
        let (present, changed) = (Mutex::new(present), Notify::new());
        let shared = Shared { resources, reloading: Mutex::new(()), present, changed };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Binds the listeners. Connections queue from here on until the server serves.
    ///
    /// # Errors
    ///
    /// If an address cannot be bound; then none is. If another server of this load balancer is
    /// bound, or has served. Outside of a tokio runtime.
    pub fn bind(&self) -> Result<LoadBalancerServer, Problems> {
        LoadBalancerServer::new(Arc::clone(&self.shared))
    }

    /// Serves another configuration from now on.
    ///
    /// All of its parts are made and all new addresses bound before anything changes. Files are
    /// read again; blocking. Connections stay open, unless their listener is gone, its times
    /// change, or it asks for other client certificates: then they are drained.
    ///
    /// # Errors
    ///
    /// If a part cannot be made or an address cannot be bound. Then nothing has changed. If the
    /// load balancer is stopping or has stopped.
    pub fn reload(&self, config: Checked) -> Result<(), Problems> {
        let shared = &self.shared;
        let _one_at_a_time = lock(&shared.reloading);
        let before = lock(&shared.present).state.clone();
        let mut plan = Plan::new(config, &shared.resources, Some(&before))?;
        let mut guard = lock(&shared.present);
        let present = &mut *guard;
        if present.phase == Phase::Over {
            let expected = "a load balancer that has not been stopped";
            return Err(Problem::new(ProblemKind::Invalid, "listeners", expected).into());
        }
        let is_bound = present.phase != Phase::Unbound;
        let mut bound = BTreeMap::new();
        for key in plan.nodes.keys().filter(|_| is_bound) {
            if !present.state.nodes.contains_key(key) {
                bound.insert(key.clone(), present.sockets.bind(key)?);
            }
        }
        // A node that has left before the server has followed never serves.
        present.bound.retain(|key, _| plan.nodes.contains_key(key));
        present.bound.append(&mut bound);
        if !plan.config.load_balancer.attributes.zonal_shift {
            // `shift_zone` could not end the shift any more.
            present.state.shifted_zone = None;
        }
        plan.register_targets(present.state.shifted_zone.as_deref());
        if is_bound {
            // This may be another thread than one of the runtime.
            let _entered = present.runtime.as_ref().map(Handle::enter);
            // The next request may be for a new group.
            plan.drivers.iter_mut().for_each(TargetGroupDriver::take_first_step);
        }
        present.drivers.append(&mut plan.drivers);
        plan.carry_out(&mut present.state);
        drop(guard);
        shared.changed.notify_one();
        tracing::info!("configuration reloaded");
        Ok(())
    }

    /// Says, rule by rule, what would happen to a request with this head: an absolute URL, whose
    /// scheme and port select the listener. `None` if there is no such listener.
    #[must_use]
    pub fn explain(&self, head: &Parts) -> Option<Explanation> {
        let is_https = head.uri.scheme() == Some(&Scheme::HTTPS);
        let protocol = if is_https { ListenerProtocol::Https } else { ListenerProtocol::Http };
        let port = head.uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let present = lock(&self.shared.present);
        let state = &present.state;
        let listener = state
            .config
            .listeners
            .iter()
            .find(|listener| listener.port == port && listener.protocol == protocol)?;
        let node = state.nodes.iter().find(|(key, _)| key.port == listener.port)?.1;
        Some(node.rules.rules().explain(head))
    }

    /// Returns whether a zone can serve: each target group has as many healthy targets as its
    /// threshold for DNS asks for. They are counted in the zone if cross-zone load balancing is
    /// off, and in all zones otherwise. A zone that is shifted away cannot serve. Groups without
    /// targets do not count.
    ///
    /// If a name is answered with the zones that can serve, a zone without healthy targets gets no
    /// new clients; see [`DnsServer`](crate::dns_server::DnsServer).
    #[must_use]
    pub fn is_zone_healthy(&self, zone: &str) -> bool {
        let present = lock(&self.shared.present);
        let state = &present.state;
        state.shifted_zone.as_deref() != Some(zone)
            && state.groups.values().all(|group| group.is_in_dns(zone))
    }

    /// Takes a zone out of all target groups, as a zonal shift does, also of those that a reload
    /// adds. `None` ends it, and so does a reload without `zonal_shift`. Returns false if the
    /// configuration does not have `zonal_shift`; then nothing has changed.
    pub fn shift_zone(&self, zone: Option<&str>) -> bool {
        let mut present = lock(&self.shared.present);
        let is_enabled = present.state.config.load_balancer.attributes.zonal_shift;
        if is_enabled {
            present.state.shifted_zone = zone.map(str::to_owned);
            present.state.shift_groups();
        }
        is_enabled
    }

    /// Returns what the load balancer does at this moment.
    #[must_use]
    pub fn status(&self) -> LoadBalancerStatus {
        self.shared.status()
    }
}

/// The target groups that serve at a moment, and their retries.
pub(crate) type ServingGroups = Vec<(TargetGroup<GroupBody>, ResilienceLayer)>;

impl LoadBalancer {
    /// Returns a function that reads the status until the load balancer is dropped.
    pub(crate) fn weak_status(
        &self,
    ) -> impl Fn() -> Option<LoadBalancerStatus> + Send + Sync + use<> {
        weak_status(&self.shared, Shared::status)
    }

    /// Returns a function that reads the target groups until the load balancer is dropped.
    pub(crate) fn weak_groups(&self) -> impl Fn() -> Option<ServingGroups> + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || {
            let shared = Weak::upgrade(&shared)?;
            let present = lock(&shared.present);
            let groups = present.state.groups.values();
            Some(groups.map(|group| (group.group.clone(), group.resilience.clone())).collect())
        }
    }
}

impl Shared {
    pub(super) fn present(&self) -> impl std::ops::DerefMut<Target = Present> + '_ {
        lock(&self.present)
    }

    fn status(&self) -> LoadBalancerStatus {
        let present = lock(&self.present);
        let listeners = present.state.nodes.iter().map(|(key, node)| ListenerResponses {
            port: key.port,
            zone: key.zone.clone(),
            responses: node.responses.read(),
            rules: node.rules.rules().status(),
            connections: present.handles.get(key).map(ListenerHandle::status),
        });
        let groups = present.state.groups.iter().map(|(name, group)| {
            let mut targets = group.group.health();
            if !present.state.used_groups.contains(name) {
                targets = targets.into_iter().map(TargetHealth::not_in_use).collect();
            }
            TargetGroupStatus { name: name.clone(), health: group.group.group_health(), targets }
        });
        LoadBalancerStatus {
            name: present.state.config.load_balancer.name.clone(),
            listeners: listeners.collect(),
            target_groups: groups.collect(),
        }
    }
}

impl fmt::Debug for LoadBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = lock(&self.shared.present);
        f.debug_struct("LoadBalancer")
            .field("name", &present.state.config.load_balancer.name)
            .field("nodes", &present.state.nodes.len())
            .field("groups", &present.state.groups.len())
            .finish_non_exhaustive()
    }
}
