use std::sync::Arc;

use aws_credential_types::provider::ProvideCredentials;
use tower_layer::Layer;

use super::{Sign, keys::Keys};
use crate::http::{HostHeader, Origin, SetOrigin};

/// Wraps clients into [`Sign`]. Clones share the credentials.
#[derive(Clone, Debug)]
pub struct SignLayer {
    pub(super) keys: Arc<Keys>,
    pub(super) region: Option<Arc<str>>,
    pub(super) service: Arc<str>,
    pub(super) max_body: usize,
}

impl SignLayer {
    /// Signs for the service `lambda` in the region that is in the host, with bodies of up to 6 MiB.
    pub fn new(credentials: impl ProvideCredentials + 'static) -> Self {
        Self {
            keys: Arc::new(Keys::new(credentials)),
            region: None,
            service: "lambda".into(),
            max_body: 6 * 1024 * 1024,
        }
    }

    /// The region that is signed for. Default: that of a function URL's host,
    /// `….lambda-url.<region>.on.aws`; a request to another host is an error.
    #[must_use]
    pub fn region(mut self, region: impl Into<Arc<str>>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The service that is signed for: `execute-api` for API Gateway. Default `lambda`.
    #[must_use]
    pub fn service(mut self, service: impl Into<Arc<str>>) -> Self {
        self.service = service.into();
        self
    }

    /// How many bytes of a body are read for signing; one with more is an error. Default 6 MiB, as
    /// much as a function takes.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// A function that puts a client behind an endpoint's origin and signature, for
    /// [`DiscoverExt::connect`](crate::discover::DiscoverExt::connect). The endpoints share the client.
    pub fn connector<C: Clone>(self, client: C) -> impl Fn(&Origin) -> SetOrigin<Sign<C>> + Clone {
        move |origin| {
            SetOrigin::new(self.layer(client.clone()), origin.clone())
                .host_header(HostHeader::Endpoint)
        }
    }
}

impl<S> Layer<S> for SignLayer {
    type Service = Sign<S>;

    fn layer(&self, inner: S) -> Sign<S> {
        Sign { inner, signer: self.clone() }
    }
}
