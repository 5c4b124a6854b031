use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use pingora_load_balancing::{
    Backend, Backends, LoadBalancer,
    discovery::ServiceDiscovery,
    selection::{BackendIter, BackendSelection},
};

use crate::{addresses::address, ours::Weights};

pub fn backend(index: usize, weight: u32) -> Backend {
    let address = address(index).to_string();
    Backend::new_with_weight(&address, weight as usize).expect("an address")
}

pub fn backends(n: usize, weights: Weights) -> BTreeSet<Backend> {
    (0..n).map(|index| backend(index, weights.of(index))).collect()
}

/// A balancer whose backends are those last handed over.
pub struct Changing<S: BackendSelection> {
    pub balancer: LoadBalancer<S>,
    next: Arc<Mutex<BTreeSet<Backend>>>,
}

impl<S> Changing<S>
where
    S: BackendSelection<Iter: BackendIter> + 'static,
{
    pub fn new(backends: BTreeSet<Backend>) -> Self {
        let next = Arc::default();
        let discovery = HandedOver(Arc::clone(&next));
        let balancer = LoadBalancer::from_backends(Backends::new(Box::new(discovery)));
        let changing = Self { balancer, next };
        changing.update(backends);
        changing
    }

    /// pingora knows whole sets only. This one is made beforehand, so that neither making nor
    /// cloning it is measured.
    pub fn update(&self, backends: BTreeSet<Backend>) {
        *self.next.lock().expect("no panic") = backends;
        let update = std::pin::pin!(self.balancer.update());
        let updated = update.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(updated, Poll::Ready(Ok(()))));
    }
}

struct HandedOver(Arc<Mutex<BTreeSet<Backend>>>);

#[async_trait]
impl ServiceDiscovery for HandedOver {
    async fn discover(&self) -> pingora_error::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let backends = mem::take(&mut *self.0.lock().expect("no panic"));
        Ok((backends, HashMap::new()))
    }
}
