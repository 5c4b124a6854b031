use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tower::{
    Service, ServiceExt,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PeakEwma},
    util::BoxCloneSyncService,
};
use tower_lb::{
    BoxError,
    balance::Builder,
    discover::{self, DiscoverExt},
    http::{Origin, Pool},
    load::{FailureAware, PredictedLatency},
    strategy::{Candidate, Freshest, LeastLoaded, P2c, Pick, Probed, Strategy},
};

pub(crate) type Body = String;
pub(crate) type BoxResponse = Response<UnsyncBoxBody<Bytes, BoxError>>;
pub(crate) type Client = BoxCloneSyncService<Request<Body>, BoxResponse, BoxError>;

/// The balancer of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tower,
    P2c,
    ClientOnly,
    Headers,
    Probes,
}

/// The number of probes that all clients have sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes(Arc<AtomicU64>);

impl Probes {
    pub(crate) fn sent(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Tower, Self::P2c, Self::ClientOnly, Self::Headers, Self::Probes];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tower => "tower `Balance` + `PeakEwma`",
            Self::P2c => "`P2c::peak_ewma()`",
            Self::ClientOnly => "`LeastLoaded::peak_ewma()`",
            Self::Headers => "headers: `LeastLoaded` by `PredictedLatency`",
            Self::Probes => "probes: `Probed` over `Freshest`",
        }
    }

    /// Returns a client with its own state and connections.
    pub(crate) fn client(self, origins: &[Origin], probes: &Probes) -> Result<Client, BoxError> {
        match self {
            Self::Tower => Ok(tower(origins)),
            Self::P2c => ours(P2c::peak_ewma(), origins),
            Self::ClientOnly => ours(LeastLoaded::peak_ewma(), origins),
            Self::Headers => {
                let load = FailureAware::new(PredictedLatency::new());
                ours(LeastLoaded::new(load), origins)
            }
            Self::Probes => {
                let ask = Pool::new().load_probe("/load")?;
                let probes = probes.clone();
                let probe = move |endpoint: &Candidate| {
                    probes.0.fetch_add(1, Ordering::Relaxed);
                    ask(endpoint)
                };
                ours(Probed::new(probe, Freshest::default()), origins)
            }
        }
    }
}

fn ours<St>(strategy: St, origins: &[Origin]) -> Result<Client, BoxError>
where
    St: Strategy<Picker: Pick<Request<Body>> + Send + Sync + 'static> + Send + 'static,
{
    let endpoints = discover::addresses(origins.to_vec()).connect(Pool::new().connector());
    let balancer = Builder::http().spawn(strategy, endpoints)?;
    Ok(boxed(balancer))
}

/// Returns tower's balancer with Linkerd's settings: an initial round trip of 30 ms, and a decay
/// of 10 s.
fn tower(origins: &[Origin]) -> Client {
    let endpoint = |origin: &Origin| {
        let client = Pool::new().client::<Body>(origin.clone());
        let (begin, decay) = (Duration::from_millis(30), Duration::from_secs(10));
        PeakEwma::new(client, begin, decay.as_nanos() as f64, CompleteOnResponse::default())
    };
    let endpoints: Vec<_> = origins.iter().map(endpoint).collect();
    let endpoints = ServiceList::new(endpoints);
    boxed(Buffer::new(Balance::new(endpoints), 1024))
}

/// Boxes the service. A response ends with its body, also for the balancer that tracks it.
fn boxed<S, B>(service: S) -> Client
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let body = |body: B| body.map_err(Into::into).boxed_unsync();
    let service = service.map_response(move |response: Response<B>| response.map(body));
    BoxCloneSyncService::new(service.map_err(Into::into))
}
