use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alb::config::form::{Time, is_default};

/// What a client has to prove before an action. Only on HTTPS listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Authenticate {
    /// A login at an OpenID Connect provider.
    Oidc(Oidc),
    /// A login at an Amazon Cognito user pool.
    Cognito(Cognito),
    /// A valid JSON Web Token in `Authorization`.
    Jwt(Jwt),
}

/// A login at an OpenID Connect provider. Its client secret is in `bindings.client_secrets`, under
/// `client_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The issuer, an `https` URL.
    pub issuer: String,
    /// The endpoints. Default: those that the issuer publishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<OidcEndpoints>,
    /// The client's id.
    pub client_id: String,
    /// The session.
    #[serde(default, skip_serializing_if = "is_default")]
    pub session: Session,
}

/// The endpoints of an OpenID Connect provider, `https` URLs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcEndpoints {
    /// Where browsers log in.
    pub authorization: String,
    /// Where a code is exchanged for tokens.
    pub token: String,
    /// Where the user's claims are read.
    pub user_info: String,
}

/// A login at an Amazon Cognito user pool. Its client secret is in `bindings.client_secrets`, under
/// `client_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cognito {
    /// The ARN of the user pool.
    pub user_pool: String,
    /// The client's id.
    pub client_id: String,
    /// The domain of the user pool, or its prefix.
    pub domain: String,
    /// The session.
    #[serde(default, skip_serializing_if = "is_default")]
    pub session: Session,
}

/// The session of a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// The name of the cookie. Default `AWSELBAuthSessionCookie`.
    pub cookie: String,
    /// The scope that is requested. Default `openid`.
    pub scope: String,
    /// How long a login is valid, up to 7 days. Default 7 days.
    pub timeout: Time,
    /// Further parameters of the request to the authorization endpoint, at most 10.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// What happens to requests without a session. Default `authenticate`.
    pub unauthenticated: Unauthenticated,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            cookie: "AWSELBAuthSessionCookie".to_owned(),
            scope: "openid".to_owned(),
            timeout: Time::from_secs(604_800),
            parameters: BTreeMap::new(),
            unauthenticated: Unauthenticated::default(),
        }
    }
}

/// What happens to requests without a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unauthenticated {
    /// They are refused with 401.
    Deny,
    /// They are forwarded.
    Allow,
    /// The browser is sent to the login. The default.
    #[default]
    Authenticate,
}

/// The check of a JSON Web Token. `iss` and `exp` are always checked, and `nbf` and `iat` if
/// present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The issuer, up to 256 characters.
    pub issuer: String,
    /// Where the keys are: an `https` URL of a JSON Web Key Set, up to 256 characters.
    pub jwks: String,
    /// The algorithms that a token may be signed by, such as `ES256`. Default `RS256`, which is the
    /// only one of the ALB.
    #[serde(default = "Jwt::default_algorithms", skip_serializing_if = "are_default")]
    pub algorithms: Vec<String>,
    /// Further claims that are checked, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
}

impl Jwt {
    /// Returns the algorithm of the ALB.
    pub(in crate::alb::config) fn default_algorithms() -> Vec<String> {
        vec!["RS256".to_owned()]
    }
}

#[allow(clippy::ptr_arg, reason = "serde calls it with a reference to the field")]
fn are_default(algorithms: &Vec<String>) -> bool {
    *algorithms == Jwt::default_algorithms()
}

/// A claim of a token that must have one of several values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The name of the claim; not `exp`, `iss`, `nbf` or `iat`.
    pub name: String,
    /// The form of the claim.
    pub format: ClaimFormat,
    /// The values, at most 10 of up to 256 characters.
    pub values: Vec<String>,
}

/// The form of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClaimFormat {
    /// A text.
    SingleString,
    /// A list of texts.
    StringArray,
    /// A text of words with spaces between them, as `scope` has it.
    SpaceSeparatedValues,
}
