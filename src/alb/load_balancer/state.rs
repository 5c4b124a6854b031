use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net,
    sync::Arc,
    time::Duration,
};

use super::{
    assemble::{
        AuthLayers, Group, GroupService, GroupSettings, NodeService, RetrySettings, RuleSources,
        assemble_group, assemble_rules, assemble_tls, node_service, targets_of,
    },
    login_router::LoginRouter,
    resources::Resources,
    swap::Swap,
};
use crate::{
    alb::{
        config::{self, Checked, Problem, Problems},
        edge::ResponseCounters,
        target_group::{Target, TargetGroupDriver},
    },
    http::Tunnels,
    listener::tls::ServerTls,
};

/// The parts of a load balancer at a moment.
#[derive(Clone)]
pub(super) struct State {
    pub(super) config: Checked,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) nodes: BTreeMap<NodeKey, Node>,
    /// The groups that a rule forwards to.
    pub(super) used_groups: BTreeSet<String>,
    /// The zone that is taken out of all groups.
    pub(super) shifted_zone: Option<String>,
    layers: AuthLayers,
}

/// What tells nodes apart: a node whose key is in the next configuration, too, goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeKey {
    pub(super) port: u16,
    pub(super) zone: Option<String>,
    pub(super) addresses: Vec<net::SocketAddr>,
}

/// A listener in one zone.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) service: Swap<NodeService>,
    pub(super) rules: LoginRouter<GroupService>,
    pub(super) tls: Option<ServerTls>,
    pub(super) responses: Arc<ResponseCounters>,
    security_policy: Option<String>,
    /// What only a new listener can change.
    pub(super) settings: NodeSettings,
}

/// The settings of a node that its connections depend on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeSettings {
    pub(super) listener: config::Listener,
    times: [config::Time; 2],
    http2: bool,
}

/// What is made of a configuration before anything changes.
pub(super) struct Plan {
    pub(super) config: Checked,
    groups: BTreeMap<String, PlannedGroup>,
    pub(super) nodes: BTreeMap<NodeKey, Node>,
    /// Of the groups that are new.
    pub(super) drivers: Vec<TargetGroupDriver>,
    used_groups: BTreeSet<String>,
    layers: AuthLayers,
}

struct PlannedGroup {
    group: Group,
    targets: Vec<Target>,
}

impl Plan {
    /// Makes the parts of `config`, with those of `present` that stay.
    pub(super) fn new(
        config: Checked,
        resources: &Resources,
        present: Option<&State>,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut drivers = Vec::new();
        let mut groups = BTreeMap::new();
        let idle_timeout = idle_timeout(&config);
        for group in &config.target_groups {
            let settings = GroupSettings::of(group, &config);
            let retries = RetrySettings::of(group, &config);
            let targets = targets_of(group, &config).unwrap_or_else(|problem| {
                problems.push(problem);
                Vec::new()
            });
            let same = present
                .and_then(|state| state.groups.get(&group.name))
                .filter(|present| present.settings == settings);
            let made = match same {
                Some(present) => present.clone().with_retries(retries),
                None => assemble_group(settings, retries, idle_timeout, resources).map(
                    |(group, driver)| {
                        drivers.push(driver);
                        group
                    },
                ),
            };
            match made {
                Ok(made) => {
                    groups.insert(group.name.clone(), PlannedGroup { group: made, targets });
                }
                Err(problem) => problems.push(problem),
            }
        }
        let mut plan = Self {
            config,
            groups,
            nodes: BTreeMap::new(),
            drivers,
            used_groups: BTreeSet::new(),
            layers: AuthLayers::default(),
        };
        plan.add_nodes(resources, present, &mut problems);
        Problems::or(problems, plan)
    }

    fn add_nodes(
        &mut self,
        resources: &Resources,
        present: Option<&State>,
        problems: &mut Vec<Problem>,
    ) {
        let tunnels = &Tunnels::new().idle_timeout(idle_timeout(&self.config));
        let layers = present.map(|state| state.layers.clone()).unwrap_or_default();
        let (layers, used_groups) = (RefCell::new(layers), RefCell::new(BTreeSet::new()));
        for listener in &self.config.listeners {
            let present_tls = present.and_then(|state| {
                let mut nodes = state.nodes.iter().filter(|(key, _)| key.port == listener.port);
                nodes.find_map(|(_, node)| node.tls.as_ref())
            });
            let tls = assemble_tls(listener, &self.config, resources, present_tls, problems);
            for key in node_keys(listener, &self.config) {
                let zone = key.zone.as_deref();
                let group = |name: &str| {
                    let group = &self.groups.get(name)?.group;
                    used_groups.borrow_mut().insert(name.to_owned());
                    Some(group.service(zone))
                };
                let sources =
                    RuleSources { config: &self.config, resources, group: &group, layers: &layers };
                // The counts of a node go on.
                let same = present.and_then(|state| state.nodes.get(&key));
                let responses = same.map(|node| Arc::clone(&node.responses)).unwrap_or_default();
                let present_rules = same.map(|node| &node.rules);
                let rules = assemble_rules(listener, &sources, present_rules, problems);
                let Some(rules) = rules else { continue };
                let made =
                    node_service(listener, &sources, rules.clone(), &responses, tunnels, problems);
                let Some(service) = made else { continue };
                let node = Node {
                    service: Swap::new(service),
                    rules,
                    tls: tls.clone(),
                    responses,
                    security_policy: listener.security_policy.clone(),
                    settings: NodeSettings::of(listener, &self.config),
                };
                self.nodes.insert(key, node);
            }
        }
        self.used_groups = used_groups.into_inner();
        self.layers = layers.into_inner().next();
    }

    /// Registers the targets, and takes `shifted_zone` out. Nothing can fail from here on.
    pub(super) fn register_targets(&mut self, shifted_zone: Option<&str>) {
        for PlannedGroup { group, targets } in self.groups.values_mut() {
            // Before the first step of a new group, which builds its first picker.
            group.shift(shifted_zone);
            // Unchanged targets keep their statistics, and those that are gone drain.
            if !targets.is_empty() || !group.group.targets().list().is_empty() {
                group.group.targets().replace(std::mem::take(targets));
            }
        }
    }

    /// Puts the plan into effect.
    pub(super) fn carry_out(self, state: &mut State) {
        let nodes = self.nodes.into_iter().map(|(key, next)| {
            let node = match state.nodes.remove(&key) {
                Some(present) => present.take_over(next),
                None => next,
            };
            (key, node)
        });
        state.nodes = nodes.collect();
        let groups = self.groups.into_iter().map(|(name, planned)| (name, planned.group));
        state.groups = groups.collect();
        let idle_timeout = idle_timeout(&self.config);
        state.groups.values().for_each(|group| group.group.set_idle_timeout(idle_timeout));
        state.used_groups = self.used_groups;
        state.layers = self.layers;
        state.config = self.config;
    }
}

impl State {
    /// Returns the state before the first plan for `config`.
    pub(super) fn new(config: Checked) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            nodes: BTreeMap::new(),
            used_groups: BTreeSet::new(),
            shifted_zone: None,
            layers: AuthLayers::default(),
        }
    }

    /// Takes the shifted zone out of all groups, and brings all others back.
    pub(super) fn shift_groups(&self) {
        for group in self.groups.values() {
            group.shift(self.shifted_zone.as_deref());
        }
    }
}

impl Node {
    /// Serves by the parts of `next`, on the connections that are open as well.
    fn take_over(self, next: Self) -> Self {
        self.service.replace(&next.service);
        let is_same_policy = self.has_policy_of(&next);
        // The listener has the handle of the present one.
        let tls = match (self.tls, next.tls) {
            (Some(present), Some(new)) => {
                let is_same =
                    is_same_policy && present.certificates().serves_the_same(&new.certificates());
                // Sessions end with the configuration that they have begun under.
                if !is_same {
                    present.replace(&new);
                }
                Some(present)
            }
            (_, next) => next,
        };
        Self { service: self.service, tls, ..next }
    }

    /// Returns whether TLS is the same but for the certificates. With client certificates there are
    /// no sessions to keep, and the trust store's files are read again.
    fn has_policy_of(&self, next: &Self) -> bool {
        self.security_policy == next.security_policy
            && [self, next]
                .iter()
                .all(|node| node.settings.listener.mutual_tls == config::MutualTls::Off)
    }
}

impl NodeSettings {
    fn of(listener: &config::Listener, config: &config::Config) -> Self {
        let mut listener = listener.clone();
        // These are swapped while the node serves. Client certificates are not among them: a
        // connection that was opened without one must not outlive a listener that asks for it.
        listener.rules.clear();
        listener.default_action = config::Action::default();
        listener.default_authenticate = None;
        listener.attributes = config::ListenerAttributes::default();
        listener.certificates.clear();
        listener.security_policy = None;
        let attributes = &config.load_balancer.attributes;
        let times = [attributes.idle_timeout, attributes.client_keep_alive];
        Self { listener, times, http2: attributes.http2 }
    }
}

fn idle_timeout(config: &Checked) -> Duration {
    config.load_balancer.attributes.idle_timeout.into()
}

/// Returns a node for each zone that has addresses, or one for all.
fn node_keys(listener: &config::Listener, config: &Checked) -> Vec<NodeKey> {
    let port = listener.port;
    let zoned: Vec<_> = config
        .load_balancer
        .zones
        .iter()
        .filter(|zone| !zone.addresses.is_empty())
        .map(|zone| NodeKey {
            port,
            zone: Some(zone.name.clone()),
            addresses: zone.addresses.iter().map(|&ip| (ip, port).into()).collect(),
        })
        .collect();
    if zoned.is_empty() {
        return vec![NodeKey { port, zone: None, addresses: config.bound_addresses(listener) }];
    }
    zoned
}
