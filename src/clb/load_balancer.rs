use std::{
    fmt, future::Future, net::SocketAddr, panic::AssertUnwindSafe, pin::pin, sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::task::{JoinError, JoinSet};

use super::{
    ClassicListener, ClassicLoadBalancerBuilder, ClassicStatus, InstanceHealth, ListenerCounts,
    plan::{Plan, Work},
};
use crate::{
    Balancer,
    balance::{Monitor, Status},
    health::CheckFigures,
    listener::{Drained, ListenerHandle, LocalAddress},
    strategy::Strategy,
    sync::{Mutex, lock},
    tcp::Relays,
};

/// A Classic Load Balancer with its listening sockets.
///
/// Its [`serve`](Self::serve) is a future that does all the work. Dropping the load balancer closes
/// the sockets.
pub struct ClassicLoadBalancer {
    // Dropped in this order: balancers before their drivers, and drivers before the source, to
    // which they subscribe. No warning then says that one misses the other.
    active: Active,
    nodes: Vec<Node>,
    source: Work,
}

/// Reads the status of a [`ClassicLoadBalancer`] and stops it. Clones are for the same one.
///
/// After the end of the load balancer, the status is that of its end.
#[derive(Clone)]
pub struct ClassicHandle {
    shared: Arc<Shared>,
}

struct Shared {
    name: Arc<str>,
    checks: CheckFigures,
    nodes: Vec<NodeFigures>,
}

/// Lets go of the balancers when it is dropped: handles keep their last figures, and not the
/// connections to instances.
struct Active(ClassicHandle);

/// A listener that does not serve yet.
pub(super) struct Node {
    figures: NodeFigures,
    start: Start,
    driver: Work,
}

/// Begins to serve. The time is how long connections may take when the listener stops.
type Start = Box<dyn FnOnce(Duration) -> BoxFuture<'static, Drained> + Send>;

/// What the status of a listener is read from.
#[derive(Clone)]
pub(super) struct NodeFigures {
    pub(super) listener: ClassicListener,
    pub(super) addresses: Vec<LocalAddress>,
    pub(super) handle: ListenerHandle,
    pub(super) balancer: BalancerFigures,
    pub(super) monitor: Monitor,
    /// Of a listener of TCP or SSL.
    pub(super) relays: Option<Relays>,
}

/// Reads the status of a listener's balancer, also after it has served.
#[derive(Clone)]
pub(super) struct BalancerFigures {
    state: Arc<Mutex<BalancerState>>,
}

enum BalancerState {
    Live(Arc<dyn Fn() -> Status + Send + Sync>),
    Ended(Status),
}

impl BalancerFigures {
    pub(super) fn of<S, St, T>(balancer: Balancer<S, St, T>) -> Self
    where
        S: Send + Sync + 'static,
        St: Strategy<Picker: Send + Sync> + 'static,
        T: Send + Sync + 'static,
    {
        let state = BalancerState::Live(Arc::new(move || balancer.status()));
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn status(&self) -> Status {
        let state = lock(&self.state);
        let read = match &*state {
            BalancerState::Live(read) => Arc::clone(read),
            BalancerState::Ended(last) => return last.clone(),
        };
        drop(state);
        read()
    }

    /// Keeps the present status, and drops the balancer.
    fn end(&self) {
        let last = BalancerState::Ended(self.status());
        let before = std::mem::replace(&mut *lock(&self.state), last);
        // After the lock is released, because it drops the services of instances.
        drop(before);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.shared.nodes.iter().for_each(|node| node.balancer.end());
    }
}

impl Node {
    pub(super) fn new<F>(
        figures: NodeFigures,
        driver: Work,
        start: impl FnOnce(Duration) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Drained> + Send + 'static,
    {
        Self { figures, start: Box::new(|limit| start(limit).boxed()), driver }
    }
}

impl ClassicLoadBalancer {
    /// Returns the default settings. `name` is that of the load balancer in log events and figures.
    #[must_use]
    pub fn builder(name: impl Into<Arc<str>>) -> ClassicLoadBalancerBuilder {
        ClassicLoadBalancerBuilder::new(name.into())
    }

    pub(super) fn new(plan: Plan, nodes: Vec<Node>, source: Work) -> Self {
        let figures = nodes.iter().map(|node| node.figures.clone()).collect();
        let shared = Shared { name: plan.name, checks: plan.checks, nodes: figures };
        Self { active: Active(ClassicHandle { shared: Arc::new(shared) }), nodes, source }
    }

    /// Returns a handle, which is of use while the load balancer serves.
    #[must_use]
    pub fn handle(&self) -> ClassicHandle {
        self.active.0.clone()
    }

    /// Returns the address of each listener, in their order. A listener with port 0 has the port
    /// that it got.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.active.0.local_addresses()
    }

    /// Returns what the load balancer has done so far.
    #[must_use]
    pub fn status(&self) -> ClassicStatus {
        self.active.0.status()
    }

    /// Serves until `stop` is ready, or until [`ClassicHandle::shutdown`]. Then connections have
    /// `limit` to finish: see [`Serve`](crate::listener::Serve). Returns what became of them.
    ///
    /// The future polls the streams of instances, the health checks and the balancers itself. The
    /// listeners and their connections run as tasks of the tokio runtime. They belong to this
    /// future, and end when it is dropped.
    ///
    /// If a stream of instances panics, the listeners go on with the instances that they have.
    pub async fn serve(self, stop: impl Future<Output = ()>, limit: Duration) -> Drained {
        let Self { source, nodes, active } = self;
        let mut source = pin!(contained(source).fuse());
        let (mut drivers, mut listeners) = (FuturesUnordered::new(), JoinSet::new());
        for Node { driver, start, .. } in nodes {
            drivers.push(driver);
            listeners.spawn(start(limit));
        }
        // Dropped before the drivers, and these before the source, as the fields are.
        let active = active;
        let (mut stop, mut is_stopping) = (pin!(stop), false);
        let mut drained = Drained::default();
        loop {
            tokio::select! {
                () = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    active.0.shutdown();
                }
                ended = listeners.join_next() => match ended {
                    Some(ended) => add(&mut drained, ended),
                    None => return drained,
                },
                () = &mut source => {}
                // One that ends has a list of instances that does not change any more.
                Some(()) = drivers.next() => {}
            }
        }
    }
}

/// Polls `source`. A panic in the code of its streams does not end the listeners.
async fn contained(source: Work) {
    // After a panic the source is only dropped, which tells its subscribers.
    if AssertUnwindSafe(source).catch_unwind().await.is_err() {
        tracing::error!("a stream of instances has panicked: their changes are not seen any more");
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

impl ClassicHandle {
    /// Begins the graceful shutdown of all listeners. A second call has no effect.
    pub fn shutdown(&self) {
        self.shared.nodes.iter().for_each(|node| node.handle.shutdown());
    }

    /// Returns the address of each listener, in their order.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.shared.nodes.iter().filter_map(NodeFigures::address).collect()
    }

    /// Returns the figures of health checks.
    #[must_use]
    pub fn checks(&self) -> &CheckFigures {
        &self.shared.checks
    }

    /// Returns the listeners with their balancers.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (&ListenerHandle, &Monitor)> {
        self.shared.nodes.iter().map(|node| (&node.handle, &node.monitor))
    }

    /// Returns what the load balancer has done so far.
    #[must_use]
    pub fn status(&self) -> ClassicStatus {
        let Shared { name, checks, nodes } = &*self.shared;
        ClassicStatus {
            name: Arc::clone(name),
            listeners: nodes.iter().map(NodeFigures::counts).collect(),
            instances: checks.status().endpoints.iter().map(InstanceHealth::of).collect(),
        }
    }
}

impl NodeFigures {
    fn address(&self) -> Option<SocketAddr> {
        self.addresses.first().and_then(LocalAddress::tcp)
    }

    fn counts(&self) -> ListenerCounts {
        let address = self.address().unwrap_or(self.listener.address);
        let relays = self.relays.as_ref().map(Relays::status);
        let balancer = self.balancer.status();
        ListenerCounts::of(&self.listener, address, self.handle.status(), relays, &balancer)
    }
}

impl fmt::Debug for ClassicLoadBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassicLoadBalancer")
            .field("handle", &self.active.0)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClassicHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassicHandle").field("status", &self.status()).finish_non_exhaustive()
    }
}
