#[cfg(any(feature = "jwt", feature = "oidc"))]
use tower_layer::Layer;

#[cfg(any(feature = "jwt", feature = "oidc"))]
use super::kept::Kept;
use super::rules::RuleSources;
#[cfg(feature = "jwt")]
use crate::auth::jwt::JwtLayer;
#[cfg(feature = "oidc")]
use crate::auth::oidc::OidcLayer;
use crate::{
    alb::{
        config::{self, Problem, ProblemKind},
        load_balancer::rule_service::RuleService,
    },
    rules::Action,
};

/// The authentication layers of all rules, by their settings. A reload keeps the layers whose
/// settings stay, with the key sets and the providers' metadata that they have fetched.
#[derive(Clone, Default)]
pub(in crate::alb::load_balancer) struct AuthLayers {
    #[cfg(feature = "jwt")]
    jwt: Kept<jwt::Parts, JwtLayer>,
    #[cfg(feature = "oidc")]
    oidc: Kept<oidc::Parts, OidcLayer>,
}

impl AuthLayers {
    /// Returns the layers for the next configuration.
    pub(in crate::alb::load_balancer) fn next(&self) -> Self {
        Self {
            #[cfg(feature = "jwt")]
            jwt: self.jwt.next(),
            #[cfg(feature = "oidc")]
            oidc: self.oidc.next(),
        }
    }
}

/// What stands before the action of a rule.
pub(super) enum Authentication {
    #[cfg(feature = "jwt")]
    Jwt(JwtLayer),
    #[cfg(feature = "oidc")]
    Oidc(OidcLayer),
}

impl Authentication {
    #[cfg_attr(not(any(feature = "jwt", feature = "oidc")), allow(unused_variables))]
    pub(super) fn wrap<S>(self, action: Action<S>) -> RuleService<S> {
        match self {
            #[cfg(feature = "jwt")]
            Self::Jwt(layer) => RuleService::Jwt(layer.layer(action)),
            #[cfg(feature = "oidc")]
            Self::Oidc(layer) => {
                let service = layer.layer(action);
                RuleService::Oidc { layer, service }
            }
        }
    }
}

/// Makes the authentication of a rule.
#[cfg_attr(not(any(feature = "jwt", feature = "oidc")), allow(unused_variables))]
pub(super) fn authenticate<S>(
    authenticate: &config::Authenticate,
    path: &str,
    sources: &RuleSources<'_, S>,
) -> Result<Authentication, Problem> {
    match authenticate {
        #[cfg(feature = "jwt")]
        config::Authenticate::Jwt(jwt) => jwt::layer(jwt, path, sources).map(Authentication::Jwt),
        #[cfg(feature = "oidc")]
        config::Authenticate::Oidc(oidc) => {
            let login = oidc::Login::Oidc(oidc.clone());
            oidc::layer(login, path, sources).map(Authentication::Oidc)
        }
        #[cfg(feature = "oidc")]
        config::Authenticate::Cognito(cognito) => {
            let login = oidc::Login::Cognito(cognito.clone());
            oidc::layer(login, path, sources).map(Authentication::Oidc)
        }
        #[allow(unreachable_patterns, reason = "with both features there is no other")]
        other => {
            let feature =
                if matches!(other, config::Authenticate::Jwt(_)) { "jwt" } else { "oidc" };
            let why = format!("this program is built without the feature `{feature}` of tower-lb");
            Err(Problem::new(ProblemKind::NotSupported, path, why))
        }
    }
}

/// Returns the client that the program supplies for key sets and identity providers.
#[cfg(any(feature = "jwt", feature = "oidc"))]
fn http_client<S>(
    path: &str,
    sources: &RuleSources<'_, S>,
) -> Result<crate::auth::HttpClient, Problem> {
    sources.resources.http_client.clone().ok_or_else(|| {
        let expected = "an HTTP client that the program supplies (`http_client` of the builder)";
        Problem::new(ProblemKind::Invalid, path, expected)
    })
}

#[cfg(feature = "jwt")]
mod jwt {
    use std::fs;

    use super::{Problem, ProblemKind, RuleSources, config, http_client};
    use crate::auth::{
        Algorithm,
        jwt::{ClaimFormat, JwtLayer, KeySource, RequiredClaim},
    };

    /// What a layer is made of.
    #[derive(Clone, PartialEq)]
    pub(super) struct Parts {
        jwt: config::Jwt,
        keys: Keys,
    }

    #[derive(Clone, PartialEq)]
    enum Keys {
        Url(String),
        /// The content of a file.
        Fixed(String),
    }

    pub(super) fn layer<S>(
        jwt: &config::Jwt,
        path: &str,
        sources: &RuleSources<'_, S>,
    ) -> Result<JwtLayer, Problem> {
        let keys = match sources.config.bindings.jwks.get(&jwt.jwks) {
            Some(config::JwksBinding::File(file)) => {
                Keys::Fixed(fs::read_to_string(file).map_err(|error| {
                    let path = format!("bindings.jwks.{}", jwt.jwks);
                    let expected = format!("a file that can be read ({error})");
                    Problem::new(ProblemKind::Invalid, path, expected).with_value(file.display())
                })?)
            }
            Some(config::JwksBinding::Url(url)) => Keys::Url(url.clone()),
            None => Keys::Url(jwt.jwks.clone()),
        };
        let parts = Parts { jwt: jwt.clone(), keys };
        let mut layers = sources.layers.borrow_mut();
        layers.jwt.get_or_make(parts, |parts| make(parts, path, sources))
    }

    fn make<S>(
        Parts { jwt, keys }: &Parts,
        path: &str,
        sources: &RuleSources<'_, S>,
    ) -> Result<JwtLayer, Problem> {
        let keys = match keys {
            Keys::Url(url) => KeySource::url(url, http_client(path, sources)?),
            Keys::Fixed(text) => KeySource::fixed(text),
        };
        let invalid = |error| Problem::from_config_error(path, &error);
        let algorithm = |name: &String| {
            name.parse::<Algorithm>().map_err(|error| {
                let path = format!("{path}.algorithms");
                let expected = error.expected().to_owned();
                Problem::new(ProblemKind::Invalid, path, expected).with_value(name)
            })
        };
        let algorithms = jwt.algorithms.iter().map(algorithm).collect::<Result<Vec<_>, _>>()?;
        let mut builder = JwtLayer::builder(&jwt.issuer, keys).algorithms(algorithms);
        for claim in &jwt.claims {
            let format = match claim.format {
                config::ClaimFormat::SingleString => ClaimFormat::SingleString,
                config::ClaimFormat::StringArray => ClaimFormat::StringArray,
                config::ClaimFormat::SpaceSeparatedValues => ClaimFormat::SpaceSeparatedValues,
            };
            builder = builder.claim(RequiredClaim::new(&claim.name, format, claim.values.clone()));
        }
        builder.build().map_err(invalid)
    }
}

#[cfg(feature = "oidc")]
mod oidc {
    use super::{Problem, ProblemKind, RuleSources, config, http_client};
    use crate::auth::oidc::{ClientSecret, OidcLayer, OnUnauthenticated, Provider};

    /// What a layer is made of, besides what the program supplies once.
    #[derive(Clone, PartialEq)]
    pub(super) struct Parts {
        login: Login,
        secret: Option<config::Secret>,
    }

    #[derive(Clone, PartialEq)]
    pub(super) enum Login {
        Oidc(config::Oidc),
        Cognito(config::Cognito),
    }

    impl Login {
        fn client(&self) -> &str {
            match self {
                Self::Oidc(oidc) => &oidc.client_id,
                Self::Cognito(cognito) => &cognito.client_id,
            }
        }

        fn session(&self) -> &config::Session {
            match self {
                Self::Oidc(oidc) => &oidc.session,
                Self::Cognito(cognito) => &cognito.session,
            }
        }

        /// Returns the issuer and its endpoints.
        fn provider(&self, path: &str) -> Result<(String, Provider), Problem> {
            match self {
                Self::Oidc(oidc) => Ok((oidc.issuer.clone(), provider(oidc))),
                Self::Cognito(cognito) => user_pool(cognito, path),
            }
        }
    }

    pub(super) fn layer<S>(
        login: Login,
        path: &str,
        sources: &RuleSources<'_, S>,
    ) -> Result<OidcLayer, Problem> {
        let client = login.client();
        let secret = match sources.config.bindings.client_secrets.get(client) {
            Some(source) => {
                let path = format!("bindings.client_secrets.{client}");
                Some(sources.resources.secret(source, &path)?)
            }
            None => None,
        };
        let mut layers = sources.layers.borrow_mut();
        layers.oidc.get_or_make(Parts { login, secret }, |parts| make(parts, path, sources))
    }

    fn make<S>(
        Parts { login, secret }: &Parts,
        path: &str,
        sources: &RuleSources<'_, S>,
    ) -> Result<OidcLayer, Problem> {
        let (issuer, provider) = login.provider(path)?;
        let (client, session) = (login.client(), login.session());
        let resources = sources.resources;
        let http = http_client(path, sources)?;
        let mut builder = OidcLayer::builder(provider, client, http, resources.keys.cookie.clone())
            // Rules with the same provider, client and times share their sessions.
            .realm(format!("{issuer} {client} {}", session.timeout))
            .cookie(&session.cookie)
            .scope(&session.scope)
            .session_timeout(session.timeout.into())
            .on_unauthenticated(match session.unauthenticated {
                config::Unauthenticated::Deny => OnUnauthenticated::Deny,
                config::Unauthenticated::Allow => OnUnauthenticated::Allow,
                config::Unauthenticated::Authenticate => OnUnauthenticated::Authenticate,
            });
        for (name, value) in &session.parameters {
            builder = builder.parameter(name, value);
        }
        if let Some(secret) = secret {
            builder = builder.client_secret(ClientSecret::new(secret.expose()));
        }
        if let Some(key) = &resources.signing_key {
            builder = builder.signing_key(key.clone());
        }
        builder.build().map_err(|error| Problem::from_config_error(path, &error))
    }

    fn provider(oidc: &config::Oidc) -> Provider {
        let provider = Provider::new(&oidc.issuer);
        match &oidc.endpoints {
            Some(endpoints) => provider
                .authorization_endpoint(&endpoints.authorization)
                .token_endpoint(&endpoints.token)
                .user_info_endpoint(&endpoints.user_info),
            None => provider,
        }
    }

    /// A user pool is an OpenID Connect provider, whose issuer its ARN names.
    fn user_pool(cognito: &config::Cognito, path: &str) -> Result<(String, Provider), Problem> {
        let mut parts = cognito.user_pool.split(':').skip(3);
        let region = parts.next().filter(|region| !region.is_empty());
        let pool = parts.nth(1).and_then(|resource| resource.strip_prefix("userpool/"));
        let (Some(region), Some(pool)) = (region, pool) else {
            let expected = "the ARN of a user pool";
            let path = format!("{path}.user_pool");
            let problem = Problem::new(ProblemKind::Invalid, path, expected);
            return Err(problem.with_value(&cognito.user_pool));
        };
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{pool}");
        let domain = match cognito.domain.contains('.') {
            true => cognito.domain.clone(),
            false => format!("{}.auth.{region}.amazoncognito.com", cognito.domain),
        };
        let provider = Provider::new(&issuer)
            .authorization_endpoint(format!("https://{domain}/oauth2/authorize"))
            .token_endpoint(format!("https://{domain}/oauth2/token"))
            .user_info_endpoint(format!("https://{domain}/oauth2/userInfo"));
        Ok((issuer, provider))
    }
}
