use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::sync::mpsc;
use tower::{ServiceExt, timeout::Timeout};
use tower_lb::{
    balance::Builder,
    discover::{self, Discover, DiscoverExt},
    endpoint::{Endpoint, Health},
    health::{Draining, HealthCheck, HealthExt, HttpCheck, OutlierDetection, SlowStart},
    http::{Client, Pool},
    strategy::{P2c, Pick, RoundRobin, Strategy},
};

use super::load::Ask;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Choosing {
    RoundRobin,
    P2c,
}

type Body = Empty<Bytes>;
type Service = Timeout<Client<Body>>;

fn connect(address: SocketAddr) -> Service {
    Timeout::new(Pool::new().client(address.into()), TIMEOUT)
}

/// What a client of ours is made of: the defaults, with intervals that are as short as Envoy's here.
fn watched_over(
    stream: impl Discover<Key = SocketAddr, Target = SocketAddr, Error: Send + Sync + std::error::Error>
    + Send
    + 'static,
) -> impl Discover<Key = SocketAddr, Target = Service, Error: Send + Sync + std::error::Error>
+ Send
+ 'static {
    let check = HealthCheck::new(HttpCheck::<Body>::get("/healthz").unwrap());
    let detection = OutlierDetection::new().interval(SECOND).ejection_time(5 * SECOND, 60 * SECOND);
    stream
        .connect(|address| connect(*address))
        .health_checked(check.interval(SECOND).changing_interval(SECOND).idle_interval(SECOND))
        .and_then(|stream| stream.outlier_detected(detection))
        .and_then(|stream| stream.slow_start(SlowStart::over(5 * SECOND)))
        .unwrap()
}

pub(crate) fn ask(addresses: &[SocketAddr], choosing: Choosing) -> Ask {
    let endpoints = watched_over(discover::addresses(addresses.iter().copied()));
    match choosing {
        Choosing::RoundRobin => balanced(RoundRobin::new(), endpoints),
        Choosing::P2c => balanced(P2c::default(), endpoints),
    }
}

fn balanced<St, D>(strategy: St, endpoints: D) -> Ask
where
    St: Strategy<Picker: Pick<Request<Body>> + Send + Sync> + Send + 'static,
    D: Discover<Key = SocketAddr, Target = Service, Error: Send + Sync + std::error::Error>
        + Send
        + 'static,
{
    let balancer = Builder::http().spawn(strategy, endpoints).unwrap();
    Arc::new(move || {
        let balancer = balancer.clone();
        Box::pin(async move {
            let response = balancer.oneshot(Request::new(Body::new())).await.ok()?;
            let is_good = response.status().is_success();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            is_good.then(|| String::from_utf8_lossy(&body).into_owned())
        })
    })
}

/// Takes backends out of service and puts them back, as a deployment does.
pub(crate) struct Deployment(discover::Handle<SocketAddr, SocketAddr>);

impl Deployment {
    pub(crate) fn drain(&self, address: SocketAddr) {
        let leaving = Endpoint::new(address).with_health(Health::draining("deployment"));
        self.0.insert(address, leaving).unwrap();
    }

    pub(crate) fn restore(&self, address: SocketAddr) {
        self.0.insert(address, address).unwrap();
    }
}

/// A balancer whose endpoints are drained, and the names of those that have been.
pub(crate) fn with_draining(
    addresses: &[SocketAddr],
) -> (Deployment, mpsc::UnboundedReceiver<String>, Ask) {
    let (handle, stream) = discover::channel();
    handle.reset(addresses.iter().map(|&address| (address, address))).unwrap();
    let (tell, drained) = mpsc::unbounded_channel();
    let draining = Draining::default().on_drained(move |drained| {
        let _ = tell.send(drained.endpoint.to_owned());
    });
    let endpoints = watched_over(stream).drained(draining).unwrap();
    (Deployment(handle), drained, balanced(RoundRobin::new(), endpoints))
}
