use std::{collections::BTreeMap, fmt, sync::Arc};

use rustls::crypto::CryptoProvider;

use super::function::Function;
use crate::{
    alb::edge::RequestFilter,
    http::sticky::SessionKey,
    listener::tls::Certificate,
};
#[cfg(any(feature = "jwt", feature = "oidc"))]
use crate::auth::HttpClient;

/// What the program supplies, because no file can contain it.
#[derive(Clone)]
pub(super) struct Resources {
    pub(super) session_key: SessionKey,
    pub(super) crypto_provider: Option<Arc<CryptoProvider>>,
    pub(super) certificates: BTreeMap<String, Certificate>,
    pub(super) functions: BTreeMap<String, Function>,
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) filter: Option<Arc<Filter>>,
    #[cfg(any(feature = "jwt", feature = "oidc"))]
    pub(super) http_client: Option<HttpClient>,
}
