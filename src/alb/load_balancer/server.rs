use std::{collections::BTreeMap, fmt, future::Future, net, pin::pin, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{
    assemble::{NodeService, listener_builder},
    load_balancer::{Present, Shared},
    sockets::Bound,
    state::{Node, NodeKey, NodeSettings},
    swap::Swap,
};
use crate::{
    alb::config::{Checked, Problem, ProblemKind, Problems},
    listener::{Drained, ListenError, Listener, ListenerHandle, Socket},
};

/// A [`LoadBalancer`](super::LoadBalancer) with its listening sockets.
pub struct LoadBalancerServer {
    shared: Arc<Shared>,
}

/// A listener that serves a node.
struct Serving {
    handle: ListenerHandle,
    service: Swap<NodeService>,
    settings: NodeSettings,
    bound: Bound,
}

impl Serving {
    /// Returns whether the listener can go on. A node that has left and come back meanwhile has
    /// another service.
    fn serves(&self, node: &Node) -> bool {
        self.settings == node.settings && self.service.is_same(&node.service)
    }
}

impl LoadBalancerServer {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, Problems> {
        {
            let mut present = shared.present();
            if present.is_bound {
                let expected = "to be bound once at a time";
                return Err(Problem::new(ProblemKind::Invalid, "listeners", expected).into());
            }
            let Present { state, sockets, .. } = &mut *present;
            let mut bound = BTreeMap::new();
            for key in state.nodes.keys() {
                bound.insert(key.clone(), sockets.bind(key)?);
            }
            present.bound = bound;
            present.is_bound = true;
        }
        Ok(Self { shared })
    }

    /// Returns the port of each listener in the configuration, and the address that it is bound to.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<(u16, net::SocketAddr)> {
        let present = self.shared.present();
        let bound = present.bound.iter();
        bound
            .flat_map(|(key, bound)| bound.local_addresses().map(|address| (key.port, address)))
            .collect()
    }

    /// Serves until `stop` is ready. Then connections have `limit` to finish their requests.
    ///
    /// The listeners, their connections and the drivers of the target groups run as tasks of the
    /// tokio runtime. They belong to this future, and end when it is dropped.
    pub async fn serve(self, stop: impl Future<Output = ()>, limit: Duration) -> Drained {
        let mut stop = pin!(stop);
        let mut listeners = JoinSet::new();
        let mut drivers = JoinSet::new();
        let mut serving = BTreeMap::new();
        loop {
            self.adapt(&mut serving, &mut listeners, &mut drivers, limit);
            tokio::select! {
                () = &mut stop => break,
                () = self.shared.changed.notified() => {}
                // A listener that was told to stop has drained.
                Some(_) = listeners.join_next() => {}
                Some(_) = drivers.join_next() => {}
            }
        }
        for Serving { handle, .. } in serving.values() {
            handle.shutdown();
        }
        let mut drained = Drained::default();
        while let Some(result) = listeners.join_next().await {
            let next = result.unwrap_or_default();
            drained.finished += next.finished;
            drained.cut_off += next.cut_off;
            drained.requests_cut_off += next.requests_cut_off;
        }
        drained
    }

    /// Starts the listeners and drivers that are new, and stops the listeners that are gone.
    fn adapt(
        &self,
        serving: &mut BTreeMap<NodeKey, Serving>,
        listeners: &mut JoinSet<Drained>,
        drivers: &mut JoinSet<()>,
        limit: Duration,
    ) {
        let mut guard = self.shared.present();
        let present = &mut *guard;
        for mut driver in present.drivers.drain(..) {
            // The listeners that start below may have requests in their queues.
            driver.take_first_step();
            drivers.spawn(driver);
        }
        serving.retain(|key, serving| {
            let stays = present.state.nodes.contains_key(key);
            if !stays {
                serving.handle.shutdown();
            }
            stays
        });
        for (key, node) in &present.state.nodes {
            let new = present.bound.remove(key);
            let bound = match serving.remove(key) {
                Some(same) if same.serves(node) => {
                    serving.insert(key.clone(), same);
                    continue;
                }
                Some(changed) => {
                    changed.handle.shutdown();
                    Some(changed.bound)
                }
                None => new,
            };
            let Some(bound) = bound else { continue };
            match start(node, &bound, &present.state.config) {
                Ok(listener) => {
                    let handle = listener.handle();
                    let settings = node.settings.clone();
                    let service = node.service.clone();
                    let started = Serving { handle, service: service.clone(), settings, bound };
                    serving.insert(key.clone(), started);
                    listeners
                        .spawn(async move { listener.serve(service).drain_limit(limit).await });
                }
                Err(error) => tracing::error!(port = key.port, %error, "a listener cannot serve"),
            }
        }
        present.handles =
            serving.iter().map(|(key, serving)| (key.clone(), serving.handle.clone())).collect();
    }
}

fn start(node: &Node, bound: &Bound, config: &Checked) -> Result<Listener, ListenError> {
    let mut builder = listener_builder(Listener::builder(), &node.settings.listener, config);
    let copies = bound.copies().map_err(|error| {
        let address = format!("the sockets of port {}", node.settings.listener.port);
        ListenError::Socket { address, error }
    })?;
    for socket in copies {
        let socket = Socket::from_tcp(socket);
        builder = builder.socket(match &node.tls {
            Some(tls) => socket.tls(tls.clone()),
            None => socket,
        });
    }
    builder.bind()
}

impl Drop for LoadBalancerServer {
    fn drop(&mut self) {
        let mut present = self.shared.present();
        let Present { is_bound, bound, handles, .. } = &mut *present;
        *is_bound = false;
        bound.clear();
        handles.clear();
    }
}

impl fmt::Debug for LoadBalancerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancerServer").finish_non_exhaustive()
    }
}
