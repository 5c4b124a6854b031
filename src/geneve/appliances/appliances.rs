use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;

use super::{Appliance, Standing};
use crate::{
    capacity::shrunk,
    discover::{Connect, Discover, DiscoverExt, Update},
    endpoint::Endpoint,
};

/// Turns addresses into [`Appliance`]s, and tells each its health, so that flows leave a failed
/// one. Call it after the stages of `health`.
///
/// ```
/// use std::net::SocketAddr;
/// use tower_lb::{
///     Balancer, discover,
///     geneve::{self, NewFlow},
///     strategy::Maglev,
/// };
///
/// # tokio_test::block_on(async {
/// let addresses: [SocketAddr; 2] = ["10.0.1.1:6081".parse()?, "10.0.2.1:6081".parse()?];
/// let endpoints = geneve::appliances(discover::addresses(addresses));
/// let balancer = Balancer::builder()
///     .track(geneve::ApplianceTracker)
///     .spawn(Maglev::new(NewFlow::hash), endpoints)?;
/// # let _ = balancer;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub fn appliances<D>(discover: D) -> Appliances<D>
where
    D: Discover<Target = SocketAddr>,
    D::Key: Clone + Eq + Hash,
{
    let connect: fn(&SocketAddr) -> Appliance = |address| Appliance::new(*address);
    Appliances { connect: discover.connect(connect), known: HashMap::new() }
}

pin_project_lite::pin_project! {
    /// The stream of [`appliances`].
    pub struct Appliances<D: Discover> {
        #[pin]
        connect: Connect<D, fn(&SocketAddr) -> Appliance, Appliance>,
        known: HashMap<D::Key, Appliance>,
    }
}

impl<D> Stream for Appliances<D>
where
    D: Discover<Target = SocketAddr>,
    D::Key: Clone + Eq + Hash,
{
    type Item = Result<Update<D::Key, Appliance>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let update = ready!(this.connect.poll_next(cx));
        if let Some(Ok(update)) = &update {
            observe(this.known, update);
        }
        Poll::Ready(update)
    }
}

/// Tells the appliances of an update what it says of them.
fn observe<K: Clone + Eq + Hash>(known: &mut HashMap<K, Appliance>, update: &Update<K, Appliance>) {
    match update {
        Update::Insert(key, endpoint) => insert(known, key, endpoint),
        Update::Remove(key) => {
            known.remove(key).inspect(deregister);
            if let Some(capacity) = shrunk(known.len(), known.capacity()) {
                known.shrink_to(capacity);
            }
        }
        Update::Reset(endpoints) => {
            let before = std::mem::take(known);
            endpoints.iter().for_each(|(key, endpoint)| insert(known, key, endpoint));
            let is_gone =
                |(key, old): &(&K, &Appliance)| known.get(*key).is_none_or(|new| !new.is_same(old));
            before.iter().filter(is_gone).for_each(|(_, old)| deregister(old));
        }
    }
}

fn insert<K: Clone + Eq + Hash>(
    known: &mut HashMap<K, Appliance>,
    key: &K,
    endpoint: &Endpoint<Appliance>,
) {
    let appliance = endpoint.target();
    appliance.set_standing(Standing::of(endpoint.health()));
    let before = known.insert(key.clone(), appliance.clone());
    before.filter(|before| !before.is_same(appliance)).inspect(deregister);
}

fn deregister(appliance: &Appliance) {
    appliance.set_standing(Standing::Deregistered);
}

impl<D: Discover + fmt::Debug> fmt::Debug for Appliances<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appliances").field("connect", &self.connect).finish_non_exhaustive()
    }
}
