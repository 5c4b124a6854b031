use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use tower_layer::Layer;

use super::{
    ClassicListener,
    load_balancer::{BalancerFigures, Node, NodeFigures},
    plan::{Plan, Settings, origin},
};
use crate::{
    ConfigError,
    balance::Builder,
    http::{
        Client, ClientBody, GatewayLayer, HttpStatus, IdleBody, IdleTimeout, IdleTimeoutLayer,
        ObservedBody, Pool, ProxyLayer, ReplayBody, ReplayLayer, RequestBody, ResilienceLayer,
        RetryOn, TrackedBody, UntilBodyEnd,
    },
    listener::ListenError,
    outcome::{Follow, Track},
    retry::RetrySafety,
    strategy::{Dynamic, LeastLoaded},
};

/// The request body that reaches an instance: that of the client, as the proxy and the retries pass
/// it on.
type Body = ReplayBody<RequestBody<Incoming>>;

/// The service of an instance.
type Instance = IdleTimeout<Client<ObservedBody<Body>>>;

/// The time by which the limit of the client's connection exceeds that of the instances, so that a
/// client gets status 504 before its connection ends.
const IDLE_MARGIN: Duration = Duration::from_secs(5);

/// Makes a listener of HTTP or HTTPS: the fewest outstanding requests, with sessions if they are
/// set.
pub(super) fn node(plan: &Plan, listener: &ClassicListener) -> Result<Node, ListenError> {
    let strategy = plan.settings.within_zone(LeastLoaded::default());
    let tracker = UntilBodyEnd::new(HttpStatus);
    let Some(policy) = &listener.cookies else {
        return balanced(plan, listener, strategy, tracker);
    };
    let within = |error: ConfigError| error.within(&format!("listener.{}", listener.address));
    let sessions = policy.sessions(listener.protocol.is_encrypted()).map_err(within)?;
    let (strategy, tracker) = (Dynamic::new(sessions.stick(strategy)), sessions.track(tracker));
    balanced(plan, listener, strategy, tracker)
}

fn balanced<T>(
    plan: &Plan,
    listener: &ClassicListener,
    strategy: Dynamic<Request<Body>>,
    tracker: T,
) -> Result<Node, ListenError>
where
    T: Track<
            Response<IdleBody<ClientBody>>,
            Response = Response<TrackedBody<IdleBody<ClientBody>, HttpStatus>>,
        > + Follow<Request<Body>>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let settings = &plan.settings;
    let idle = settings.idle_timeout;
    // What may fail comes first, so that no driver is dropped beside its balancer.
    let bound = plan.bind(listener, |builder| {
        builder
            .http2(false)
            .idle_timeout(idle.saturating_add(IDLE_MARGIN))
            .head_timeout(idle)
            .keep_alive(idle)
            .max_age(Duration::MAX)
    })?;
    let layers = (proxy(settings)?, GatewayLayer, retries(plan, listener)?);
    let (balancer, driver) = settings
        .limit(Builder::http())
        .name(plan.name_of(listener))
        .track(tracker)
        .build(strategy, plan.instances(instance(plan, listener))?)?;
    let figures = NodeFigures {
        listener: listener.clone(),
        addresses: bound.local_addresses().to_vec(),
        handle: bound.handle(),
        balancer: BalancerFigures::of(balancer.clone()),
        monitor: balancer.monitor(),
        relays: None,
    };
    let service = layers.layer(balancer);
    let start = move |limit| bound.serve(service).drain_limit(limit);
    Ok(Node::new(figures, Box::pin(driver), start))
}

/// Returns what makes the service of an instance.
fn instance(
    plan: &Plan,
    listener: &ClassicListener,
) -> impl Fn(std::net::IpAddr) -> Instance + Send + 'static {
    let settings = &plan.settings;
    // As many requests may wait for a connection as the instance may have.
    let waiting = usize::try_from(settings.max_per_instance).unwrap_or(usize::MAX);
    let mut pool = Pool::new()
        .name(format!("{} instances", plan.name_of(listener)))
        .http1()
        .connect_timeout(settings.connect_timeout)
        .idle_timeout(settings.idle_timeout)
        .max_waiting(NonZeroUsize::new(waiting).unwrap_or(NonZeroUsize::MAX));
    if let Some(tls) = &settings.instance_tls {
        pool = pool.tls(tls.clone());
    }
    let port = listener.instance_port;
    let encrypted = listener.instance_protocol.is_encrypted();
    let idle_timeout = IdleTimeoutLayer::new(settings.idle_timeout);
    move |address| {
        idle_timeout.layer(pool.client(origin(SocketAddr::new(address, port), encrypted)))
    }
}

fn proxy(settings: &Settings) -> Result<ProxyLayer, ConfigError> {
    ProxyLayer::builder()
        .trusted_networks(settings.trusted_networks.clone())
        .via(None)
        .body_idle(settings.idle_timeout)
        .build()
}

/// Returns the retries: of requests that no instance has got, whatever their method.
fn retries(plan: &Plan, listener: &ClassicListener) -> Result<ResilienceLayer, ConfigError> {
    ResilienceLayer::builder()
        .name(plan.name_of(listener))
        .attempts(Settings::ATTEMPTS)
        .retry_on(RetryOn::http().statuses([]))
        .replay(ReplayLayer::new().cap(0).retry_safety(|_| Some(RetrySafety::IfUnsent)))
        .overall(Duration::MAX)
        .build()
}
