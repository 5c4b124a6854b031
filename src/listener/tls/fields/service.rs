use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Request};
use tower_service::Service;

use super::names::{Names, TlsField};
use crate::listener::tls::TlsDetails;

/// Tells endpoints about the TLS of the client's connection, in the header fields of an Application
/// Load Balancer; made by [`TlsFieldsLayer`](super::TlsFieldsLayer).
///
/// First it removes all such fields that the client has sent, under their default and their current
/// names, in any case, and with any other character for `-`: many endpoints read
/// `X_Amzn_Tls_Version` as `X-Amzn-Tls-Version`. It does so on connections without TLS, too. Then
/// it writes those that apply, from the [`TlsDetails`] in the request's extensions:
///
/// | the client's certificate is | fields |
/// |---|---|
/// | [`Unverified`](crate::listener::tls::ClientCertificate::Unverified) | the chain |
/// | [`Verified`](crate::listener::tls::ClientCertificate::Verified) | serial number, issuer, subject, validity, leaf |
///
/// Place it inside of [`Proxy`](crate::http::Proxy). Outside, a client could have the proxy remove
/// the fields, by naming them in `Connection`.
#[derive(Clone, Debug)]
pub struct TlsFields<S> {
    inner: S,
    settings: Arc<Settings>,
}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) names: Names,
    pub(super) version_and_cipher_suite: bool,
}

impl<S> TlsFields<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B> Service<Request<B>> for TlsFields<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        self.settings.names.remove_forged(request.headers_mut());
        // The details are an `Arc`, and the headers are changed while they are read.
        if let Some(details) = request.extensions().get::<TlsDetails>().cloned() {
            self.settings.write(&details, request.headers_mut());
        }
        self.inner.call(request)
    }
}

impl Settings {
    fn write(&self, details: &TlsDetails, headers: &mut HeaderMap) {
        let mut insert = |field, value: HeaderValue| {
            headers.insert(self.names.of(field).clone(), value);
        };
        for (field, value) in details.certificate_fields().iter() {
            insert(*field, value.clone());
        }
        if self.version_and_cipher_suite {
            insert(TlsField::Version, HeaderValue::from_static(details.version()));
            insert(TlsField::CipherSuite, HeaderValue::from_static(details.cipher_suite()));
        }
    }
}
