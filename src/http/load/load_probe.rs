use std::{future::poll_fn, pin::pin};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use super::in_flight_header;
use crate::{
    BoxError,
    http::{Origin, SetOrigin},
    outcome::LoadReport,
    strategy::Candidate,
};

/// The probe of [`Probed`](crate::strategy::Probed) over HTTP: a function that asks an endpoint for its
/// load, with a `GET` of `path`.
///
/// The answer tells it in the header [`endpoint-in-flight`](crate::http::IN_FLIGHT) or, with feature `orca`,
/// in ORCA's headers; its status doesn't matter, and neither does its body. A server answers best
/// outside of its [`ReportLoad`](crate::http::ReportLoad), with
/// [`ReportLoadLayer::header`](crate::http::ReportLoadLayer::header): so probes don't count as requests, and
/// wait for nothing. [`Prequal`](crate::strategy::Prequal) goes by latencies too: `ReportLoad` tells
/// them, ORCA's headers don't.
///
/// An endpoint is asked at its name (the key it was discovered under), which must be an [`Origin`] or a
/// socket address. `client` is a service for requests with an absolute URI, such as hyper-util's client;
/// `Pool::load_probe` brings one along. It should not be the endpoints' own: probes then don't queue
/// behind requests.
///
/// ```
/// # use tower_lb::BoxError;
/// # type Client = tower::util::BoxCloneSyncService<::http::Request<String>, ::http::Response<String>, BoxError>;
/// use tower_lb::{http, strategy::{Freshest, Probed}};
///
/// # fn example(client: Client) {
/// let probe = http::load_probe(client, ::http::Uri::from_static("/load"));
/// let strategy = Probed::new(probe, Freshest::default());
/// # }
/// ```
pub fn load_probe<S, B, R>(
    client: S,
    path: Uri,
) -> impl Fn(&Candidate) -> BoxFuture<'static, Result<LoadReport, BoxError>> + Clone
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Default + Send + 'static,
    R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    move |endpoint| {
        let origin = endpoint.name().parse::<Origin>();
        let (client, path) = (client.clone(), path.clone());
        Box::pin(async move { ask(SetOrigin::new(client, origin?), path).await })
    }
}

/// Frames of a body that are read, so that the connection can be used again.
const MOST_FRAMES: usize = 16;

async fn ask<S, B, R>(mut service: S, path: Uri) -> Result<LoadReport, BoxError>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
    B: Default,
    R: Body,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
    let mut request = Request::new(B::default());
    *request.uri_mut() = path;
    let (head, body) = service.call(request).await.map_err(Into::into)?.into_parts();
    let mut body = pin!(body);
    for _ in 0..MOST_FRAMES {
        if !matches!(poll_fn(|cx| body.as_mut().poll_frame(cx)).await, Some(Ok(_))) {
            break;
        }
    }
    read(&head.headers).ok_or_else(|| "the answer tells no load".into())
}

fn read(headers: &HeaderMap) -> Option<LoadReport> {
    let report = in_flight_header::read(headers);
    #[cfg(feature = "orca")]
    let report = report.or_else(|| crate::http::load_report(headers));
    report
}
