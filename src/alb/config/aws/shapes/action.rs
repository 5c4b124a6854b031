use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An action of a rule or a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Action {
    /// The kind of action.
    #[serde(rename = "Type")]
    pub r#type: Option<String>,
    /// The only target group.
    pub target_group_arn: Option<String>,
    /// A login at an OpenID Connect provider.
    pub authenticate_oidc_config: Option<AuthenticateOidcConfig>,
    /// A login at a Cognito user pool.
    pub authenticate_cognito_config: Option<AuthenticateCognitoConfig>,
    /// The place among the actions.
    pub order: Option<u32>,
    /// A redirect.
    pub redirect_config: Option<RedirectConfig>,
    /// A fixed response.
    pub fixed_response_config: Option<FixedResponseConfig>,
    /// Target groups.
    pub forward_config: Option<ForwardConfig>,
    /// The check of a token.
    pub jwt_validation_config: Option<JwtValidationConfig>,
}

/// A login at an OpenID Connect provider. A client secret is not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AuthenticateOidcConfig {
    /// The issuer.
    pub issuer: Option<String>,
    /// The authorization endpoint.
    pub authorization_endpoint: Option<String>,
    /// The token endpoint.
    pub token_endpoint: Option<String>,
    /// The endpoint of the user's claims.
    pub user_info_endpoint: Option<String>,
    /// The client's id.
    pub client_id: Option<String>,
    /// The name of the cookie.
    pub session_cookie_name: Option<String>,
    /// The scope.
    pub scope: Option<String>,
    /// The seconds of a session.
    pub session_timeout: Option<u64>,
    /// Further parameters.
    pub authentication_request_extra_params: Option<BTreeMap<String, String>>,
    /// `deny`, `allow` or `authenticate`.
    pub on_unauthenticated_request: Option<String>,
    /// For changes of a rule.
    pub use_existing_client_secret: Option<bool>,
}

/// A login at a Cognito user pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AuthenticateCognitoConfig {
    /// The ARN of the user pool.
    pub user_pool_arn: Option<String>,
    /// The client's id.
    pub user_pool_client_id: Option<String>,
    /// The domain, or its prefix.
    pub user_pool_domain: Option<String>,
    /// The name of the cookie.
    pub session_cookie_name: Option<String>,
    /// The scope.
    pub scope: Option<String>,
    /// The seconds of a session.
    pub session_timeout: Option<u64>,
    /// Further parameters.
    pub authentication_request_extra_params: Option<BTreeMap<String, String>>,
    /// `deny`, `allow` or `authenticate`.
    pub on_unauthenticated_request: Option<String>,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct RedirectConfig {
    /// The protocol.
    pub protocol: Option<String>,
    /// The port.
    pub port: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// The query.
    pub query: Option<String>,
    /// `HTTP_301` or `HTTP_302`.
    pub status_code: Option<String>,
}

/// A fixed response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct FixedResponseConfig {
    /// The body.
    pub message_body: Option<String>,
    /// The status.
    pub status_code: Option<String>,
    /// The content type.
    pub content_type: Option<String>,
}

/// Target groups by weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ForwardConfig {
    /// The groups.
    pub target_groups: Option<Vec<TargetGroupTuple>>,
    /// The stickiness.
    pub target_group_stickiness_config: Option<TargetGroupStickinessConfig>,
}

/// A target group and its weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct TargetGroupTuple {
    /// The ARN.
    pub target_group_arn: Option<String>,
    /// The weight.
    pub weight: Option<u32>,
}

/// Whether a client stays with a target group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct TargetGroupStickinessConfig {
    /// Whether it does.
    pub enabled: Option<bool>,
    /// For how many seconds.
    pub duration_seconds: Option<u64>,
}

/// The check of a JSON Web Token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct JwtValidationConfig {
    /// The URL of the key set.
    pub jwks_endpoint: Option<String>,
    /// The issuer.
    pub issuer: Option<String>,
    /// Further claims.
    pub additional_claims: Option<Vec<JwtValidationClaim>>,
}

/// A claim of a token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct JwtValidationClaim {
    /// The form of the claim.
    pub format: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The values.
    pub values: Option<Vec<String>>,
}
