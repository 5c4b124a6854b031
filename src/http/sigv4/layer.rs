use std::sync::Arc;

use aws_credential_types::provider::ProvideCredentials;
use tower_layer::Layer;

use super::{Sign, credentials_cache::CredentialsCache};
use crate::http::{HostHeader, Origin, SetOrigin};

/// Wraps clients in [`Sign`]. Clones share the credentials.
#[derive(Clone, Debug)]
pub struct SignLayer {
    pub(super) credentials: Arc<CredentialsCache>,
    pub(super) region: Option<Arc<str>>,
    pub(super) service: Arc<str>,
    pub(super) max_body: usize,
}

impl SignLayer {
    /// Signs for the service `lambda`, for the region in the host, and bodies of at most 6 MiB.
    pub fn new(credentials: impl ProvideCredentials + 'static) -> Self {
        Self {
            credentials: Arc::new(CredentialsCache::new(credentials)),
            region: None,
            service: "lambda".into(),
            max_body: 6 * 1024 * 1024,
        }
    }

    setters! {
        /// Sets the region of the signature. Default: the region in the host of a function URL,
        /// `….lambda-url.<region>.on.aws`; a request to another host fails.
        pub fn region(region: impl Into<Arc<str>>) => region = Some(region.into());
        /// Sets the service of the signature, such as `execute-api` for API Gateway. Default
        /// `lambda`.
        pub fn service(service: impl Into<Arc<str>>) => service = service.into();
        /// Limits the bytes of a request body; a longer body fails. Default 6 MiB, the limit of
        /// Lambda.
        pub fn max_body(bytes: usize) => max_body = bytes;
    }

    /// Returns a function that wraps `client` for each endpoint, for
    /// [`DiscoverExt::connect`](crate::discover::DiscoverExt::connect). The endpoints share the
    /// client.
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
