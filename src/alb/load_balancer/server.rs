use std::{collections::BTreeMap, fmt, future::Future, net, pin::pin, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    task::{JoinError, JoinSet},
};

use super::{
    assemble::{NodeService, listener_builder},
    load_balancer::{Phase, Present, Shared},
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
    /// `None` after a listener with other settings could not be started.
    settings: Option<NodeSettings>,
    bound: Bound,
}

impl Serving {
    /// Returns whether the listener can go on. A node that has left and come back meanwhile has
    /// another service.
    fn serves(&self, node: &Node) -> bool {
        self.settings.as_ref() == Some(&node.settings) && self.service.is_same(&node.service)
    }
}

impl LoadBalancerServer {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, Problems> {
        {
            let mut present = shared.present();
            let invalid = |expected| Problem::new(ProblemKind::Invalid, "listeners", expected);
            match present.phase {
                Phase::Unbound => {}
                Phase::Bound | Phase::Serving => {
                    return Err(invalid("to be bound once at a time").into());
                }
                Phase::Over => return Err(invalid("a load balancer that has not served").into()),
            }
            let runtime = Handle::try_current();
            let runtime = runtime.map_err(|_| invalid("to be bound inside a tokio runtime"))?;
            let Present { state, sockets, .. } = &mut *present;
            let mut bound = BTreeMap::new();
            for key in state.nodes.keys() {
                bound.insert(key.clone(), sockets.bind(key)?);
            }
            present.bound = bound;
            present.phase = Phase::Bound;
            present.runtime = Some(runtime);
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
        self.shared.present().phase = Phase::Serving;
        let mut stop = pin!(stop);
        let mut listeners = JoinSet::new();
        let mut drivers = JoinSet::new();
        let mut serving = BTreeMap::new();
        let mut drained = Drained::default();
        loop {
            self.adapt(&mut serving, &mut listeners, &mut drivers, limit);
            tokio::select! {
                () = &mut stop => break,
                () = self.shared.changed.notified() => {}
                // A listener that was told to stop has drained.
                Some(ended) = listeners.join_next() => add(&mut drained, ended),
                Some(_) = drivers.join_next() => {}
            }
        }
        self.shared.present().phase = Phase::Over;
        for Serving { handle, .. } in serving.values() {
            handle.shutdown();
        }
        while let Some(ended) = listeners.join_next().await {
            add(&mut drained, ended);
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
            let (bound, replaced) = match (serving.remove(key), new) {
                (Some(same), _) if same.serves(node) => {
                    serving.insert(key.clone(), same);
                    continue;
                }
                (Some(changed), _) => (changed.bound, Some(changed.handle)),
                (None, Some(new)) => (new, None),
                (None, None) => continue,
            };
            let (service, settings) = (node.service.clone(), Some(node.settings.clone()));
            match start(node, &bound, &present.state.config) {
                Ok(listener) => {
                    // Both have the sockets, so no connection is refused in between.
                    replaced.iter().for_each(ListenerHandle::shutdown);
                    let handle = listener.handle();
                    let serve = listener.serve(service.clone()).drain_limit(limit);
                    listeners.spawn(serve);
                    serving.insert(key.clone(), Serving { handle, service, settings, bound });
                }
                Err(error) => {
                    tracing::error!(port = key.port, %error, "a listener cannot serve");
                    // The one before goes on, and the next change tries again.
                    match replaced {
                        Some(handle) => {
                            let present = Serving { handle, service, settings: None, bound };
                            serving.insert(key.clone(), present);
                        }
                        None => drop(present.bound.insert(key.clone(), bound)),
                    }
                }
            }
        }
        present.handles =
            serving.iter().map(|(key, serving)| (key.clone(), serving.handle.clone())).collect();
    }
}

/// Adds what became of the connections of a listener.
fn add(drained: &mut Drained, ended: Result<Drained, JoinError>) {
    match ended {
        Ok(ended) => {
            drained.finished += ended.finished;
            drained.cut_off += ended.cut_off;
            drained.requests_cut_off += ended.requests_cut_off;
        }
        Err(error) => tracing::error!(%error, "a listener has failed"),
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
        let Present { phase, bound, handles, .. } = &mut *present;
        // Without its drivers, which have ended, a target group learns of no target.
        *phase = if *phase == Phase::Bound { Phase::Unbound } else { Phase::Over };
        bound.clear();
        handles.clear();
    }
}

impl fmt::Debug for LoadBalancerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancerServer").finish_non_exhaustive()
    }
}
