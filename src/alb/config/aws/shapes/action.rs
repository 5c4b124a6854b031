use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An action of a rule or a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct Action {
    /// The kind of action.
    #[serde(rename = "Type")]
    pub(in crate::alb::config::aws) r#type: Option<String>,
    /// The only target group.
    pub(in crate::alb::config::aws) target_group_arn: Option<String>,
    /// A login at an OpenID Connect provider.
    pub(in crate::alb::config::aws) authenticate_oidc_config: Option<AuthenticateOidcConfig>,
    /// A login at a Cognito user pool.
    pub(in crate::alb::config::aws) authenticate_cognito_config: Option<AuthenticateCognitoConfig>,
    /// The place among the actions.
    pub(in crate::alb::config::aws) order: Option<u32>,
    /// A redirect.
    pub(in crate::alb::config::aws) redirect_config: Option<RedirectConfig>,
    /// A fixed response.
    pub(in crate::alb::config::aws) fixed_response_config: Option<FixedResponseConfig>,
    /// Target groups.
    pub(in crate::alb::config::aws) forward_config: Option<ForwardConfig>,
    /// The check of a token.
    pub(in crate::alb::config::aws) jwt_validation_config: Option<JwtValidationConfig>,
}

/// A login at an OpenID Connect provider. A client secret is not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct AuthenticateOidcConfig {
    /// The issuer.
    pub(in crate::alb::config::aws) issuer: Option<String>,
    /// The authorization endpoint.
    pub(in crate::alb::config::aws) authorization_endpoint: Option<String>,
    /// The token endpoint.
    pub(in crate::alb::config::aws) token_endpoint: Option<String>,
    /// The endpoint of the user's claims.
    pub(in crate::alb::config::aws) user_info_endpoint: Option<String>,
    /// The client's id.
    pub(in crate::alb::config::aws) client_id: Option<String>,
    /// The name of the cookie.
    pub(in crate::alb::config::aws) session_cookie_name: Option<String>,
    /// The scope.
    pub(in crate::alb::config::aws) scope: Option<String>,
    /// The seconds of a session.
    pub(in crate::alb::config::aws) session_timeout: Option<u64>,
    /// Further parameters.
    pub(in crate::alb::config::aws) authentication_request_extra_params:
        Option<BTreeMap<String, String>>,
    /// `deny`, `allow` or `authenticate`.
    pub(in crate::alb::config::aws) on_unauthenticated_request: Option<String>,
    /// For changes of a rule.
    pub(in crate::alb::config::aws) use_existing_client_secret: Option<bool>,
}

/// A login at a Cognito user pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct AuthenticateCognitoConfig {
    /// The ARN of the user pool.
    pub(in crate::alb::config::aws) user_pool_arn: Option<String>,
    /// The client's id.
    pub(in crate::alb::config::aws) user_pool_client_id: Option<String>,
    /// The domain, or its prefix.
    pub(in crate::alb::config::aws) user_pool_domain: Option<String>,
    /// The name of the cookie.
    pub(in crate::alb::config::aws) session_cookie_name: Option<String>,
    /// The scope.
    pub(in crate::alb::config::aws) scope: Option<String>,
    /// The seconds of a session.
    pub(in crate::alb::config::aws) session_timeout: Option<u64>,
    /// Further parameters.
    pub(in crate::alb::config::aws) authentication_request_extra_params:
        Option<BTreeMap<String, String>>,
    /// `deny`, `allow` or `authenticate`.
    pub(in crate::alb::config::aws) on_unauthenticated_request: Option<String>,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct RedirectConfig {
    /// The protocol.
    pub(in crate::alb::config::aws) protocol: Option<String>,
    /// The port.
    pub(in crate::alb::config::aws) port: Option<String>,
    /// The host.
    pub(in crate::alb::config::aws) host: Option<String>,
    /// The path.
    pub(in crate::alb::config::aws) path: Option<String>,
    /// The query.
    pub(in crate::alb::config::aws) query: Option<String>,
    /// `HTTP_301` or `HTTP_302`.
    pub(in crate::alb::config::aws) status_code: Option<String>,
}

/// A fixed response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct FixedResponseConfig {
    /// The body.
    pub(in crate::alb::config::aws) message_body: Option<String>,
    /// The status.
    pub(in crate::alb::config::aws) status_code: Option<String>,
    /// The content type.
    pub(in crate::alb::config::aws) content_type: Option<String>,
}

/// Target groups by weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct ForwardConfig {
    /// The groups.
    pub(in crate::alb::config::aws) target_groups: Option<Vec<TargetGroupTuple>>,
    /// The stickiness.
    pub(in crate::alb::config::aws) target_group_stickiness_config:
        Option<TargetGroupStickinessConfig>,
}

/// A target group and its weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct TargetGroupTuple {
    /// The ARN.
    pub(in crate::alb::config::aws) target_group_arn: Option<String>,
    /// The weight.
    pub(in crate::alb::config::aws) weight: Option<u32>,
}

/// Whether a client stays with a target group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct TargetGroupStickinessConfig {
    /// Whether it does.
    pub(in crate::alb::config::aws) enabled: Option<bool>,
    /// For how many seconds.
    pub(in crate::alb::config::aws) duration_seconds: Option<u64>,
}

/// The check of a JSON Web Token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct JwtValidationConfig {
    /// The URL of the key set.
    pub(in crate::alb::config::aws) jwks_endpoint: Option<String>,
    /// The issuer.
    pub(in crate::alb::config::aws) issuer: Option<String>,
    /// Further claims.
    pub(in crate::alb::config::aws) additional_claims: Option<Vec<JwtValidationClaim>>,
}

/// A claim of a token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct JwtValidationClaim {
    /// The form of the claim.
    pub(in crate::alb::config::aws) format: Option<String>,
    /// The name.
    pub(in crate::alb::config::aws) name: Option<String>,
    /// The values.
    pub(in crate::alb::config::aws) values: Option<Vec<String>>,
}
