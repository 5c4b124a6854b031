use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use futures::Stream;

use super::{SERVER_ID_LABEL, ServerId, UdpTarget, target::Presence};
use crate::{
    capacity::shrunk,
    discover::{Discover, DiscoverExt, Update},
    endpoint::{Endpoint, Health},
    escape::Escaped,
};

/// Makes a [`UdpTarget`] of each address of `discover`. Place it last, after stages of
/// [`health`](crate::health): flows learn from it that their endpoint was removed or got unhealthy.
///
/// An endpoint with the label [`SERVER_ID_LABEL`] has that server id, in hexadecimal digits. With
/// another id it is another target. An invalid id is logged and ignored.
pub fn targets<D>(
    discover: D,
) -> Targets<impl Discover<Key = D::Key, Target = UdpTarget, Error = D::Error>>
where
    D: Discover<Target = SocketAddr, Key: Clone + Eq + Hash>,
{
    let labelled = discover.map_endpoints(|_, endpoint| with_server_id(endpoint));
    let connected = labelled.connect(|&(address, server_id): &(SocketAddr, Option<ServerId>)| {
        UdpTarget::new(address).with_server_id(server_id)
    });
    Targets { discover: connected, known: HashMap::new() }
}

/// Adds the server id to the target, so that another id is another target.
fn with_server_id(endpoint: Endpoint<SocketAddr>) -> Endpoint<(SocketAddr, Option<ServerId>)> {
    let server_id = endpoint.metadata().get(SERVER_ID_LABEL).and_then(|text| {
        let parsed = text.parse::<ServerId>();
        if let Err(error) = &parsed {
            let address = endpoint.target();
            tracing::warn!(%address, label = %Escaped(text), %error, "server id ignored");
        }
        parsed.ok()
    });
    endpoint.map(|address| (address, server_id))
}

pin_project_lite::pin_project! {
    /// The stream of [`targets`].
    pub struct Targets<D: Discover> {
        #[pin]
        discover: D,
        known: HashMap<D::Key, Arc<Presence>>,
    }
}

impl<D> Stream for Targets<D>
where
    D: Discover<Target = UdpTarget, Key: Clone + Eq + Hash>,
{
    type Item = Result<Update<D::Key, UdpTarget>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let update = this.discover.poll_discover(cx);
        if let Poll::Ready(Some(Ok(update))) = &update {
            match update {
                Update::Insert(key, endpoint) => add(this.known, key, endpoint),
                Update::Remove(key) => {
                    this.known.remove(key).into_iter().for_each(|one| remove(&one));
                    if let Some(capacity) = shrunk(this.known.len(), this.known.capacity()) {
                        this.known.shrink_to(capacity);
                    }
                }
                Update::Reset(endpoints) => {
                    let before = std::mem::take(this.known);
                    endpoints.iter().for_each(|(key, endpoint)| add(this.known, key, endpoint));
                    for (key, presence) in before {
                        let now = this.known.get(&key);
                        if now.is_none_or(|now| !Arc::ptr_eq(now, &presence)) {
                            remove(&presence);
                        }
                    }
                }
            }
        }
        update
    }
}

fn add<K: Clone + Eq + Hash>(
    known: &mut HashMap<K, Arc<Presence>>,
    key: &K,
    endpoint: &Endpoint<UdpTarget>,
) {
    let presence = &endpoint.target().presence;
    presence.set_unhealthy(matches!(endpoint.health(), Health::Unhealthy(_)));
    let before = known.insert(key.clone(), Arc::clone(presence));
    if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, presence)) {
        remove(&before);
    }
}

fn remove(presence: &Presence) {
    presence.is_removed.store(true, Relaxed);
}

impl<D: Discover + fmt::Debug> fmt::Debug for Targets<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets").field("discover", &self.discover).finish_non_exhaustive()
    }
}
