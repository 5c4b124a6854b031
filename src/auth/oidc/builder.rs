use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Request};
use openidconnect::AuthType;
use tower_layer::Layer;

use super::{
    Oidc, Provider,
    answer::FailureLog,
    callback::CallbackParameters,
    cookies::Cookies,
    identity::Signer,
    origin::PublicOrigin,
    original_target::original,
    provider::ProviderClient,
    refresh::Refreshes,
    seal::{CookieKey, Sealer},
    secret::{ClientSecret, SigningKey},
    tokens::{TokenClient, library_algorithm},
};
use crate::{
    ConfigError,
    auth::{Algorithm, HttpClient},
};

/// Wraps services in [`Oidc`]. Clones, and all services of a layer, share what was fetched.
#[derive(Clone)]
pub struct OidcLayer {
    settings: Arc<Settings>,
}

/// What all clones share.
pub(super) struct Settings {
    pub(super) tokens: Arc<TokenClient>,
    pub(super) sealer: Sealer,
    pub(super) cookies: Cookies,
    pub(super) signer: Signer,
    pub(super) refreshes: Arc<Refreshes>,
    pub(super) failures: Arc<FailureLog>,
    pub(super) scope: String,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) login_seconds: u64,
    pub(super) callback_path: String,
    pub(super) on_unauthenticated: OnUnauthenticated,
}

/// What happens to a request without a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnauthenticated {
    /// It is answered with status 401. One whose session has ended begins a login, as with an
    /// Application Load Balancer.
    Deny,
    /// It is forwarded without the fields that name a user.
    Allow,
    /// It begins a login if it is `GET` or `HEAD`, and is answered with status 401 otherwise,
    /// because the browser would repeat it as `GET`. The default.
    #[default]
    Authenticate,
}

/// How the client proves its identity to the token endpoint, if it has a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// By `Authorization: Basic` (`client_secret_basic`). The default.
    #[default]
    Basic,
    /// In the body of the request (`client_secret_post`).
    Body,
}

impl OidcLayer {
    /// Logs users in at `provider`, where this program is the client `client_id`.
    pub fn builder(
        provider: Provider,
        client_id: impl Into<String>,
        client: HttpClient,
        key: CookieKey,
    ) -> OidcBuilder {
        OidcBuilder {
            provider,
            client_id: client_id.into(),
            http: client,
            keys: vec![key],
            client_secret: None,
            authentication: ClientAuthentication::default(),
            realm: String::new(),
            cookie: "__Host-AuthSession".to_owned(),
            scope: "openid".to_owned(),
            parameters: Vec::new(),
            session_timeout: MAX_SESSION_TIMEOUT,
            login_timeout: Duration::from_secs(15 * 60),
            callback_path: "/oauth2/idpresponse".to_owned(),
            on_unauthenticated: OnUnauthenticated::default(),
            signing_key: None,
            algorithms: vec![Algorithm::Rs256],
            fetch_timeout: Duration::from_secs(5),
        }
    }

    /// Returns the values of `Set-Cookie` that end the session of a browser. An application that
    /// logs a user out adds them to a response, and may then lead the browser to the provider's own
    /// logout.
    ///
    /// A copy of the cookies stays valid until its session ends: there is no list of sessions.
    pub fn logout_cookies(&self) -> impl Iterator<Item = HeaderValue> + use<'_> {
        self.settings.cookies.delete_session()
    }

    /// Returns whether a request is the end of a login that this layer has begun.
    ///
    /// Several layers may share a callback path. A router asks each of them before it evaluates its
    /// rules, because the path is not that of the request that began the login.
    pub fn finishes<B>(&self, request: &Request<B>) -> bool {
        let settings = &self.settings;
        let (target, _) = original(request);
        if target.path() != settings.callback_path {
            return false;
        }
        let query = target.query().and_then(CallbackParameters::parse);
        let Some(state) = query.and_then(|query| query.state) else { return false };
        let origin = PublicOrigin::of(request);
        origin.is_some_and(|origin| settings.open_state(&state, origin.host()).is_some())
    }
}

impl<S> Layer<S> for OidcLayer {
    type Service = Oidc<S>;

    fn layer(&self, inner: S) -> Oidc<S> {
        Oidc::new(inner, Arc::clone(&self.settings))
    }
}

impl fmt::Debug for OidcLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcLayer")
            .field("issuer", &self.signer.issuer)
            .field("client_id", &self.signer.client)
            .field("realm", &self.failures.realm)
            .field("on_unauthenticated", &self.on_unauthenticated)
            .finish_non_exhaustive()
    }
}

/// Configures an [`OidcLayer`].
#[derive(Clone, Debug)]
pub struct OidcBuilder {
    provider: Provider,
    client_id: String,
    http: HttpClient,
    keys: Vec<CookieKey>,
    client_secret: Option<ClientSecret>,
    authentication: ClientAuthentication,
    realm: String,
    cookie: String,
    scope: String,
    parameters: Vec<(String, String)>,
    session_timeout: Duration,
    login_timeout: Duration,
    callback_path: String,
    on_unauthenticated: OnUnauthenticated,
    signing_key: Option<SigningKey>,
    algorithms: Vec<Algorithm>,
    fetch_timeout: Duration,
}

const MAX_SESSION_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MAX_LOGIN_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// A sealed text is decrypted by the key that it names; more keys cost nothing, but are an error.
const MAX_COOKIE_KEYS: usize = 8;
const MAX_NAME_BYTES: usize = 256;
const MAX_PARAMETERS: usize = 10;
/// The parameters that a login sets itself.
pub(crate) const OWN_PARAMETERS: [&str; 9] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

impl OidcBuilder {
    setters! {
        /// Sets the secret of this client. Default none: a public client, which only PKCE protects.
        pub fn client_secret(secret: ClientSecret) => client_secret = Some(secret);
        /// Sets how the secret is sent. Default [`ClientAuthentication::Basic`].
        pub fn client_authentication(how: ClientAuthentication) => authentication = how;
        /// Names what a session opens, such as a rule. A session of another realm does not open.
        /// Default empty.
        pub fn realm(realm: impl Into<String>) => realm = realm.into();
        /// Sets the name of the session's cookies, which `-0` to `-3` follow. A name with the
        /// prefix `__Host-` cannot be set by another host. Default `__Host-AuthSession`; an
        /// Application Load Balancer has `AWSELBAuthSessionCookie`.
        pub fn cookie(name: impl Into<String>) => cookie = name.into();
        /// Sets the scopes that are asked for, with spaces between them. `openid` is added. Default
        /// `openid`.
        pub fn scope(scope: impl Into<String>) => scope = scope.into();
        /// Sets how long a user stays logged in, from 1 s to 7 days. The time is inside of the
        /// session. Default 7 days.
        pub fn session_timeout(time: Duration) => session_timeout = time;
        /// Sets how long a login may take, from 1 s to 1 hour. Default 15 minutes.
        pub fn login_timeout(time: Duration) => login_timeout = time;
        /// Sets the path that the provider sends browsers back to. Register it there, for each
        /// host. Default `/oauth2/idpresponse`.
        pub fn callback_path(path: impl Into<String>) => callback_path = path.into();
        /// Sets what happens to a request without a session. Default
        /// [`OnUnauthenticated::Authenticate`].
        pub fn on_unauthenticated(action: OnUnauthenticated) => on_unauthenticated = action;
        /// Sets the key that signs `x-amzn-oidc-data`. Signing takes each request time. Default
        /// none: the field is left out.
        pub fn signing_key(key: SigningKey) => signing_key = Some(key);
        /// Sets the signature algorithms of ID tokens that are accepted. Default `RS256`.
        pub fn algorithms(algorithms: impl IntoIterator<Item = Algorithm>)
            => algorithms = algorithms.into_iter().collect();
        /// Limits the time of each request to the provider. Default 5 s.
        pub fn fetch_timeout(time: Duration) => fetch_timeout = time;
    }

    /// Also opens what `key` has sealed. At most 8 keys in all.
    ///
    /// To change keys without losing sessions: accept the new key in all load balancers; seal with
    /// the new one and accept the old one; remove the old one after the timeout of its sessions.
    #[must_use]
    pub fn also_accept(mut self, key: CookieKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Adds a parameter to the request of a login, such as `prompt`. At most 10.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Returns the layer. Fetches nothing.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, if a URL is not secure, or if browsers would reject the
    /// cookie.
    pub fn build(self) -> Result<OidcLayer, ConfigError> {
        self.check()?;
        let issuer = self.provider.issuer().to_owned();
        let context = [&issuer, &self.client_id, &self.cookie, &self.realm].map(String::as_str);
        let refreshes = self.keys.first().map(CookieKey::refreshes).unwrap_or_default();
        let sealer = Sealer::new(self.keys, context);
        let authentication = match self.authentication {
            ClientAuthentication::Basic => AuthType::BasicAuth,
            ClientAuthentication::Body => AuthType::RequestBody,
        };
        let provider = ProviderClient::new(
            self.provider,
            self.client_id.clone(),
            self.client_secret,
            authentication,
            self.http,
            self.fetch_timeout,
        )?;
        let settings = Settings {
            tokens: Arc::new(TokenClient {
                provider,
                algorithms: self.algorithms.into_iter().map(library_algorithm).collect(),
                session_seconds: self.session_timeout.as_secs(),
            }),
            sealer,
            cookies: Cookies::new(&self.cookie),
            signer: Signer { key: self.signing_key, issuer, client: self.client_id },
            refreshes,
            failures: Arc::new(FailureLog::new(self.realm)),
            scope: self.scope,
            parameters: self.parameters,
            login_seconds: self.login_timeout.as_secs(),
            callback_path: self.callback_path,
            on_unauthenticated: self.on_unauthenticated,
        };
        Ok(OidcLayer { settings: Arc::new(settings) })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid =
            |field, value: &str, expected| Err(ConfigError::new(field, expected).with_value(value));
        let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.client_id.is_empty() || !is_text(&self.client_id) {
            return invalid("client_id", &self.client_id, "printable characters");
        }
        let keys = self.keys.len();
        let expected = "at most 8 keys in all";
        ConfigError::unless(keys <= MAX_COOKIE_KEYS, "also_accept", keys, expected)?;
        if self.realm.len() > MAX_NAME_BYTES {
            return invalid("realm", &self.realm, "at most 256 bytes");
        }
        // The name of a field is a token, too.
        let is_token = HeaderName::from_bytes(self.cookie.as_bytes()).is_ok();
        if !is_token || self.cookie.len() > MAX_NAME_BYTES {
            return invalid("cookie", &self.cookie, "a cookie name of at most 256 bytes");
        }
        if !self.scope.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return invalid("scope", &self.scope, "names with spaces between them");
        }
        let parameters = self.parameters.len();
        let expected = "at most 10 parameters";
        ConfigError::unless(parameters <= MAX_PARAMETERS, "parameter", parameters, expected)?;
        let is_own = |name: &str| name.is_empty() || OWN_PARAMETERS.contains(&name);
        if let Some((name, _)) = self.parameters.iter().find(|(name, _)| is_own(name)) {
            return invalid("parameter", name, "a parameter that a login does not set itself");
        }
        let is_within = |time: Duration, most| time >= Duration::from_secs(1) && time <= most;
        let time = self.session_timeout;
        ConfigError::unless(
            is_within(time, MAX_SESSION_TIMEOUT),
            "session_timeout",
            format_args!("{time:?}"),
            "a time from 1 s to 7 days",
        )?;
        let time = self.login_timeout;
        ConfigError::unless(
            is_within(time, MAX_LOGIN_TIMEOUT),
            "login_timeout",
            format_args!("{time:?}"),
            "a time from 1 s to 1 hour",
        )?;
        let path = &self.callback_path;
        if !path.starts_with('/') || path.contains(['?', '#', '%']) || !is_text(path) {
            return invalid("callback_path", path, "a plain path that starts with /");
        }
        if self.algorithms.is_empty() {
            return Err(ConfigError::new("algorithms", "at least one"));
        }
        ConfigError::if_zero_time("fetch_timeout", self.fetch_timeout)
    }
}
