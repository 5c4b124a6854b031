use std::{future::poll_fn, pin::pin};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, Uri};
use http_body::Body;
use http_body_util::BodyExt;
use tower_service::Service;

use super::in_flight_header;
use crate::{
    BoxError, ParseError,
    http::{Origin, SetOrigin},
    outcome::LoadReport,
    request_path::request_path,
    strategy::Candidate,
};

/// Returns a probe for [`Probed`](crate::strategy::Probed), which asks an endpoint for its load
/// with a `GET` of `path`.
///
/// The load is read from the header [`endpoint-in-flight`](crate::http::IN_FLIGHT) of the response
/// or, with feature `orca`, from ORCA's headers. The status and the body of the response are
/// ignored.
///
/// A server should answer probes outside of its [`ReportLoad`](crate::http::ReportLoad), with
/// [`ReportLoadLayer::header`](crate::http::ReportLoadLayer::header). Then probes do not count as
/// requests and do not wait. [`Prequal`](crate::strategy::Prequal) also uses latencies, which
/// `ReportLoad` reports and ORCA's headers do not.
///
/// The probe is sent to the name of the endpoint (the key under which it was discovered), which
/// must be an [`Origin`] or a socket address. `client` is a service for requests with an absolute
/// URI, such as hyper-util's client; `Pool::load_probe` creates one. It should not be the client of
/// the endpoints: otherwise probes queue behind requests.
///
/// ```
/// # use http::{Request, Response};
/// # use tower_lb::BoxError;
/// # type Client = tower::util::BoxCloneSyncService<Request<String>, Response<String>, BoxError>;
/// use tower_lb::{http::load_probe, strategy::{Freshest, Probed}};
///
/// # fn example(client: Client) -> Result<(), tower_lb::ParseError> {
/// let probe = load_probe(client, "/load")?;
/// let strategy = Probed::new(probe, Freshest::default());
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`ParseError`] if `path` is not a path that starts with a slash.
pub fn load_probe<S, B, R>(
    client: S,
    path: &str,
) -> Result<
    impl Fn(&Candidate) -> BoxFuture<'static, Result<LoadReport, BoxError>> + Clone + use<S, B, R>,
    ParseError,
>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Default + Send + 'static,
    R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let path = request_path(path)?;
    Ok(move |endpoint: &Candidate| -> BoxFuture<'static, _> {
        let origin = endpoint.name().parse::<Origin>();
        let (client, path) = (client.clone(), path.clone());
        Box::pin(async move { ask(SetOrigin::new(client, origin?), path).await })
    })
}

/// How many frames of a response body are read.
const MAX_FRAMES_READ: usize = 16;

pub(in crate::http) async fn ask<S, B, R>(mut service: S, path: Uri) -> Result<LoadReport, BoxError>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
    B: Default,
    R: Body,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
    let mut request = Request::new(B::default());
    *request.uri_mut() = path;
    let (head, body) = service.call(request).await.map_err(Into::into)?.into_parts();
    // Reading the body to its end lets the client reuse the connection. A long body is not worth
    // it.
    let mut body = pin!(body);
    for _ in 0..MAX_FRAMES_READ {
        if !matches!(body.frame().await, Some(Ok(_))) {
            break;
        }
    }
    read(&head.headers).ok_or_else(|| "the response to the load probe has no load report".into())
}

fn read(headers: &HeaderMap) -> Option<LoadReport> {
    let report = in_flight_header::read(headers);
    #[cfg(feature = "orca")]
    let report = report.or_else(|| crate::http::load_report(headers));
    report
}
