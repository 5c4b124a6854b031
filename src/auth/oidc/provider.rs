use std::{sync::Arc, time::Duration};

use http::Uri;
use http_body_util::Full;
use openidconnect::{
    AsyncHttpClient, AuthType, AuthUrl, ClientId, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IssuerUrl, TokenUrl,
    core::{CoreClient, CoreJsonWebKeySet},
};
use serde::Deserialize;
use serde_json::json;

use super::{answer::Failure, secret::ClientSecret};
use crate::{
    BoxError, ConfigError,
    auth::{
        HttpClient,
        cached::{Cached, Timing},
        http_client::{BoxFuture, FetchError, FetchLimits},
        key_set::verification_keys,
        secure_url::{SECURE_URL, checked_url, secure_url},
    },
};

/// An OpenID provider: its issuer, and its endpoints or the means to find them.
///
/// An endpoint that is not set is read from `{issuer}/.well-known/openid-configuration`. If the
/// authorization endpoint, the token endpoint and the URL of the keys are set, that document is not
/// fetched, and users have the claims of the ID token unless the user-info endpoint is set too. All
/// URLs are `https`, or `http` to a loopback address.
#[derive(Clone, Debug)]
pub struct Provider {
    issuer: String,
    authorization: Option<String>,
    token: Option<String>,
    user_info: Option<String>,
    jwks: Option<String>,
}

impl Provider {
    /// Names the issuer, exactly as the claim `iss` does.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            authorization: None,
            token: None,
            user_info: None,
            jwks: None,
        }
    }

    setters! {
        /// Sets where browsers log in.
        pub fn authorization_endpoint(url: impl Into<String>) => authorization = Some(url.into());
        /// Sets where codes and refresh tokens are exchanged.
        pub fn token_endpoint(url: impl Into<String>) => token = Some(url.into());
        /// Sets where the claims of a user come from.
        pub fn user_info_endpoint(url: impl Into<String>) => user_info = Some(url.into());
        /// Sets where the keys are that sign ID tokens.
        pub fn jwks_uri(url: impl Into<String>) => jwks = Some(url.into());
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    fn check(&self) -> Result<IssuerUrl, ConfigError> {
        checked_url("issuer", &self.issuer)?;
        let urls = [
            ("authorization_endpoint", &self.authorization),
            ("token_endpoint", &self.token),
            ("user_info_endpoint", &self.user_info),
            ("jwks_uri", &self.jwks),
        ];
        for (field, url) in urls {
            if let Some(url) = url {
                checked_url(field, url)?;
            }
        }
        IssuerUrl::new(self.issuer.clone())
            .map_err(|_| ConfigError::new("issuer", SECURE_URL).with_value(&self.issuer))
    }

    /// Returns the endpoints, those that are set before those of the provider's own document.
    fn endpoints(&self, document: Document) -> Option<Endpoints> {
        let secure = |url: String| secure_url(&url).map(|_| url);
        let user_info = match self.user_info.clone().or(document.userinfo_endpoint) {
            Some(url) => Some(secure_url(&url)?),
            None => None,
        };
        let authorization = self.authorization.clone().or(document.authorization_endpoint)?;
        let token = self.token.clone().or(document.token_endpoint)?;
        Some(Endpoints {
            authorization: AuthUrl::new(secure(authorization)?).ok()?,
            token: TokenUrl::new(secure(token)?).ok()?,
            user_info,
            jwks: secure_url(&self.jwks.clone().or(document.jwks_uri)?)?,
        })
    }

    fn document_url(&self) -> Option<Uri> {
        let issuer = self.issuer.trim_end_matches('/');
        format!("{issuer}/.well-known/openid-configuration").parse().ok()
    }
}

/// What is read of the provider's own description (OpenID Connect Discovery 1.0, 3).
#[derive(Default, Deserialize)]
struct Document {
    #[serde(default)]
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    jwks_uri: Option<String>,
}

pub(super) struct Endpoints {
    authorization: AuthUrl,
    token: TokenUrl,
    pub(super) user_info: Option<Uri>,
    jwks: Uri,
}

/// The keys of a provider that sign ID tokens.
pub(super) struct SigningKeys(pub(super) CoreJsonWebKeySet);

/// The library's client, with the endpoints that a login needs.
pub(super) type LoginClient = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

/// A provider as one client sees it. Endpoints and keys are fetched when they are needed.
pub(super) struct ProviderClient {
    provider: Provider,
    pub(super) issuer: IssuerUrl,
    pub(super) client_id: ClientId,
    client_secret: Option<ClientSecret>,
    authentication: AuthType,
    http: HttpClient,
    limits: FetchLimits,
    /// `None` if all endpoints are set.
    discovered: Option<Cached<Endpoints>>,
    set: Option<Arc<Endpoints>>,
    keys: Cached<SigningKeys>,
}

/// The most bytes of a response of the provider.
const MAX_RESPONSE_BYTES: usize = 150_000;
/// The most keys of a provider.
const MAX_KEYS: usize = 100;

impl ProviderClient {
    pub(super) fn new(
        provider: Provider,
        client_id: String,
        client_secret: Option<ClientSecret>,
        authentication: AuthType,
        http: HttpClient,
        fetch_timeout: Duration,
    ) -> Result<Self, ConfigError> {
        let issuer = provider.check()?;
        let timing = Timing {
            refresh: Duration::from_secs(10 * 60),
            max_age: Duration::from_secs(24 * 60 * 60),
            cooldown: Duration::from_secs(30),
            fetch_timeout,
        };
        let set = provider.endpoints(Document::default()).map(Arc::new);
        Ok(Self {
            issuer,
            client_id: ClientId::new(client_id),
            client_secret,
            authentication,
            http,
            limits: FetchLimits { bytes: MAX_RESPONSE_BYTES, timeout: fetch_timeout },
            discovered: set.is_none().then(|| Cached::new(timing)),
            set,
            keys: Cached::new(timing),
            provider,
        })
    }

    pub(super) async fn endpoints(&self) -> Result<Arc<Endpoints>, Failure> {
        let endpoints = match (&self.set, &self.discovered) {
            (Some(set), _) => Some(Arc::clone(set)),
            (None, Some(cached)) => cached.get(|| self.discover()).await,
            (None, None) => None,
        };
        endpoints.ok_or_else(|| Failure::Unreachable("no endpoints of the provider".to_owned()))
    }

    fn discover(&self) -> BoxFuture<Result<Endpoints, BoxError>> {
        let provider = self.provider.clone();
        let Some(url) = provider.document_url() else {
            return Box::pin(async { Err("the issuer is not a URL".into()) });
        };
        let text = self.http.get(url, self.limits);
        Box::pin(async move {
            let document: Document = serde_json::from_slice(&text.await?)
                .map_err(|_| "the description of the provider is not valid")?;
            // The document of another provider could name its own endpoints.
            if document.issuer != provider.issuer {
                return Err("the description of the provider has another issuer".into());
            }
            let endpoints = provider.endpoints(document);
            endpoints.ok_or_else(|| "an endpoint of the provider is missing or not secure".into())
        })
    }

    pub(super) async fn keys(&self, endpoints: &Endpoints) -> Result<Arc<SigningKeys>, Failure> {
        let keys = self.keys.get(|| self.fetch_keys(endpoints)).await;
        keys.ok_or_else(|| Failure::Unreachable("no keys of the provider".to_owned()))
    }

    /// Returns newer keys than `old`, if there are any or some may be fetched.
    pub(super) async fn keys_after(
        &self,
        old: &Arc<SigningKeys>,
        endpoints: &Endpoints,
    ) -> Option<Arc<SigningKeys>> {
        self.keys.newer_than(old, || self.fetch_keys(endpoints)).await
    }

    fn fetch_keys(&self, endpoints: &Endpoints) -> BoxFuture<Result<SigningKeys, BoxError>> {
        let text = self.http.get(endpoints.jwks.clone(), self.limits);
        Box::pin(async move {
            let keys = verification_keys(&text.await?, MAX_KEYS)?;
            let keys = serde_json::from_value(json!({ "keys": keys }))
                .map_err(|_| "the document is not a JSON Web Key Set")?;
            Ok(SigningKeys(keys))
        })
    }

    pub(super) fn login_client(&self, endpoints: &Endpoints) -> LoginClient {
        let keys = CoreJsonWebKeySet::default();
        let client = CoreClient::new(self.client_id.clone(), self.issuer.clone(), keys)
            .set_auth_uri(endpoints.authorization.clone())
            .set_token_uri(endpoints.token.clone())
            .set_auth_type(self.authentication.clone());
        match &self.client_secret {
            Some(secret) => {
                let secret = openidconnect::ClientSecret::new(secret.expose().to_owned());
                client.set_client_secret(secret)
            }
            None => client,
        }
    }
}

/// Sends requests to the provider. A status that is neither success nor an error of the request
/// (RFC 6749, 5.2) is an error.
impl AsyncHttpClient<'_> for ProviderClient {
    type Error = FetchError;
    type Future = BoxFuture<Result<HttpResponse, FetchError>>;

    fn call(&self, request: HttpRequest) -> Self::Future {
        let request = request.map(|body| Full::new(body.into()));
        let response = self.http.send(request, self.limits);
        Box::pin(async move {
            let response = response.await?;
            match response.status() {
                status if status.is_success() || status.is_client_error() => {
                    Ok(response.map(|body| body.to_vec()))
                }
                status => Err(FetchError::Status(status)),
            }
        })
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Status(_) => Self::Provider(error.to_string()),
            FetchError::Transport(source) => {
                let chain =
                    std::iter::successors(Some(&*source as &dyn std::error::Error), |e| e.source());
                let causes: Vec<_> = chain.map(ToString::to_string).collect();
                Self::Unreachable(causes.join(": "))
            }
            FetchError::Timeout | FetchError::TooLarge => Self::Unreachable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_are_set_need_no_discovery() {
        let provider = Provider::new("https://id.example")
            .authorization_endpoint("https://id.example/a")
            .token_endpoint("https://id.example/t");
        assert!(provider.endpoints(Document::default()).is_none());
        let provider = provider.jwks_uri("https://id.example/j");
        assert!(provider.endpoints(Document::default()).unwrap().user_info.is_none());
        let document = Document {
            userinfo_endpoint: Some("http://id.example/u".into()),
            ..Document::default()
        };
        assert!(provider.endpoints(document).is_none(), "the endpoint is not secure");
    }

    #[test]
    fn urls_are_checked() {
        let field = |provider: Provider| provider.check().unwrap_err().field().to_owned();
        let provider = Provider::new("https://id.example/realm/");
        assert!(provider.check().is_ok());
        assert_eq!(
            provider.document_url().unwrap(),
            "https://id.example/realm/.well-known/openid-configuration"
        );
        let url = "http://id.example/";
        assert_eq!(field(Provider::new(url)), "issuer");
        assert_eq!(field(provider.clone().authorization_endpoint(url)), "authorization_endpoint");
        assert_eq!(field(provider.clone().token_endpoint(url)), "token_endpoint");
        assert_eq!(field(provider.clone().user_info_endpoint(url)), "user_info_endpoint");
        assert_eq!(field(provider.jwks_uri(url)), "jwks_uri");
    }
}
