use std::{
    fmt,
    hash::Hash,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use super::Appliance;
use crate::discover::{AfterPublish, Connect, Discover, DiscoverExt, Update};

/// Turns addresses into [`Appliance`]s. Call it after the stages of `health`.
///
/// It passes the health that an update reports on to its appliances, so that flows leave a failed
/// one.
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
    Appliances { informing: AfterPublish::new(discover.connect(connect)) }
}

pin_project_lite::pin_project! {
    /// The stream of [`appliances`].
    pub struct Appliances<D: Discover> {
        #[pin]
        informing: AfterPublish<
            Connect<D, fn(&SocketAddr) -> Appliance, Appliance>,
            D::Key,
            Appliance,
        >,
    }
}

impl<D> Stream for Appliances<D>
where
    D: Discover<Target = SocketAddr>,
    D::Key: Clone + Eq + Hash,
{
    type Item = Result<Update<D::Key, Appliance>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().informing.poll_next(cx)
    }
}

impl<D: Discover + fmt::Debug> fmt::Debug for Appliances<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appliances")
            .field("connect", self.informing.discover())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Waker};

    use super::*;
    use crate::{
        Endpoint,
        discover::channel,
        endpoint::Health,
        geneve::appliances::Standing::{self, Deregistered, Serving, Unhealthy},
    };

    /// An appliance learns of a worse standing once the balancer has published it, and of a better
    /// one at once.
    #[tokio::test]
    async fn appliances_learn_of_a_failure_after_the_balancer() {
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let (endpoints, stream) = channel();
        let mut stream = pin!(appliances(stream));
        let mut next = || stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop()));
        let unhealthy = || Endpoint::new(address).with_health(Health::unhealthy("test"));
        endpoints.insert('a', unhealthy()).unwrap();
        let Poll::Ready(Some(Ok(Update::Insert(_, endpoint)))) = next() else { panic!() };
        let appliance = endpoint.target();
        let standing = || -> (Standing, u32) { appliance.standing() };
        assert_eq!(standing(), (Unhealthy, 1), "no flow has it yet");
        endpoints.insert('a', address).unwrap();
        assert!(next().is_ready());
        assert_eq!(standing(), (Serving, 1), "the balancer may pick it from now on");
        endpoints.insert('a', unhealthy()).unwrap();
        assert!(next().is_ready() && next().is_pending());
        assert_eq!(standing(), (Serving, 1), "the balancer publishes it now");
        assert!(next().is_pending());
        assert_eq!(standing(), (Unhealthy, 2));
        // Changes of one burst keep their order.
        endpoints
            .insert('a', Endpoint::new(address).with_health(Health::draining("test")))
            .unwrap();
        endpoints.insert('a', address).unwrap();
        while next().is_ready() {}
        assert_eq!(standing(), (Unhealthy, 2));
        assert!(next().is_pending());
        assert_eq!(standing(), (Serving, 3));
        endpoints.reset([('b', address)]).unwrap();
        assert!(next().is_ready() && next().is_pending());
        assert_eq!(standing(), (Serving, 3));
        assert!(next().is_pending());
        assert_eq!(standing(), (Deregistered, 4));
    }

    /// The flows of one find the other when they leave.
    #[tokio::test]
    async fn an_appliance_learns_that_it_serves_before_another_one_fails() {
        let [a, b]: [SocketAddr; 2] = ["127.0.0.1:9", "127.0.0.1:10"].map(|it| it.parse().unwrap());
        let (endpoints, stream) = channel();
        let mut stream = pin!(appliances(stream));
        let mut next = || stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop()));
        let unhealthy = |address| Endpoint::new(address).with_health(Health::unhealthy("test"));
        endpoints.reset([('a', Endpoint::new(a)), ('b', unhealthy(b))]).unwrap();
        let Poll::Ready(Some(Ok(Update::Reset(known)))) = next() else { panic!() };
        let standing = |key| {
            let found = known.iter().find(|(known, _)| *known == key);
            found.unwrap().1.target().standing().0
        };
        assert_eq!((standing('a'), standing('b')), (Serving, Unhealthy));
        endpoints.insert('a', unhealthy(a)).unwrap();
        endpoints.insert('b', b).unwrap();
        while next().is_ready() {}
        assert_eq!((standing('a'), standing('b')), (Serving, Serving));
        assert!(next().is_pending());
        assert_eq!((standing('a'), standing('b')), (Unhealthy, Serving));
    }
}
