use std::{
    fmt,
    hash::Hash,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use super::{SERVER_ID_LABEL, ServerId, UdpTarget};
use crate::{
    discover::{AfterPublish, Discover, DiscoverExt, Update},
    endpoint::Endpoint,
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
    Targets { informing: AfterPublish::new(connected) }
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
        informing: AfterPublish<D, D::Key, UdpTarget>,
    }
}

impl<D> Stream for Targets<D>
where
    D: Discover<Target = UdpTarget, Key: Clone + Eq + Hash>,
{
    type Item = Result<Update<D::Key, UdpTarget>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().informing.poll_next(cx)
    }
}

impl<D: Discover + fmt::Debug> fmt::Debug for Targets<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets")
            .field("discover", self.informing.discover())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Waker};

    use super::*;
    use crate::{
        discover::channel,
        endpoint::Health,
        udp::{Flow, target::Loss},
    };

    fn flow_of_a_client() -> Flow {
        Flow::new("192.0.2.1:5000".parse().unwrap(), "192.0.2.2:53".parse().unwrap())
    }

    #[tokio::test]
    async fn flows_learn_of_a_loss_after_the_balancer() {
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let (endpoints, stream) = channel();
        let mut stream = pin!(targets(stream));
        let mut next = || stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop()));
        let unhealthy = || Endpoint::new(address).with_health(Health::unhealthy("test"));
        endpoints.insert('a', address).unwrap();
        let Poll::Ready(Some(Ok(Update::Insert(_, endpoint)))) = next() else { panic!() };
        let flow = || endpoint.target().open(&flow_of_a_client()).unwrap();
        let first = flow();
        endpoints.insert('a', unhealthy()).unwrap();
        assert!(next().is_ready() && next().is_pending());
        assert_eq!(first.loss(), None, "the balancer publishes it now");
        assert!(next().is_pending());
        assert_eq!(first.loss(), Some(Loss::Unhealthy));
        // A flow that began at an unhealthy target loses it only when it gets unhealthy anew.
        let second = flow();
        endpoints.insert('a', unhealthy().with_weight(7)).unwrap();
        assert!(next().is_ready() && next().is_pending() && next().is_pending());
        assert_eq!(second.loss(), None);
        endpoints.insert('a', address).unwrap();
        endpoints.insert('a', unhealthy()).unwrap();
        while next().is_ready() {}
        assert!(next().is_pending());
        assert_eq!(second.loss(), Some(Loss::Unhealthy));
        let third = flow();
        endpoints.remove('a').unwrap();
        assert!(next().is_ready() && next().is_pending());
        assert_eq!(third.loss(), None);
        assert!(next().is_pending());
        assert_eq!(third.loss(), Some(Loss::Removed));
    }

    #[tokio::test]
    async fn another_server_id_is_another_target() {
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let (endpoints, stream) = channel();
        let mut stream = pin!(targets(stream));
        let mut next = || match stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(Update::Insert(_, endpoint)))) => Some(endpoint.target().clone()),
            _ => None,
        };
        let named = |id: &str| Endpoint::new(address).with_metadata(SERVER_ID_LABEL, id);
        endpoints.insert('a', named("0a")).unwrap();
        let first = next().unwrap().open(&flow_of_a_client()).unwrap();
        assert_eq!(first.server_id(), "0a".parse().ok());
        endpoints.insert('a', named("0b")).unwrap();
        assert_eq!(next().unwrap().server_id(), "0b".parse().ok());
        assert!(next().is_none() && next().is_none());
        assert_eq!(first.loss(), Some(Loss::Removed));
        endpoints.insert('a', named("not an id")).unwrap();
        assert_eq!(next().unwrap().server_id(), None);
    }
}
