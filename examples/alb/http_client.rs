//! The client that fetches key sets and talks to identity providers.

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use rustls::crypto::ring;
use tower::{ServiceExt, service_fn};
use tower_lb::{
    BoxError,
    auth::HttpClient,
    http::{Origin, Pool, Tls},
};

/// Returns a client for any URL. Certificates are verified by what the platform trusts.
pub(crate) fn http_client() -> Result<HttpClient, BoxError> {
    let tls = Tls::builder().crypto_provider(ring::default_provider().into()).build()?;
    let pool = Pool::new().name("authentication").tls(tls);
    Ok(HttpClient::new(service_fn(move |request: Request<Full<Bytes>>| {
        // These requests are few, so each one has a connection of its own.
        let client = origin(request.uri()).map(|origin| pool.client(origin));
        async move { client?.oneshot(request).await.map_err(BoxError::from) }
    })))
}

/// Returns the scheme, host and port of a URL.
fn origin(url: &Uri) -> Result<Origin, BoxError> {
    let (scheme, authority) = url.scheme().zip(url.authority()).ok_or("the URL is not absolute")?;
    Ok(format!("{scheme}://{authority}").parse()?)
}
