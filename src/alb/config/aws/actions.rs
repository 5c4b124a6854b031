//! Actions: from AWS's shapes to the model's.

use super::{
    import::Findings,
    shapes::{
        Action, AuthenticateCognitoConfig, AuthenticateOidcConfig, FixedResponseConfig,
        ForwardConfig, JwtValidationConfig, RedirectConfig,
    },
};
use crate::alb::config::{
    self, Authenticate, Claim, ClaimFormat, Cognito, FixedResponse, Forward, Jwt, Oidc,
    OidcEndpoints, Problem, Redirect, Session, Time, Unauthenticated, WeightedGroup,
};

/// A translated action.
pub(super) enum Step {
    Authenticate(Authenticate),
    Answer(config::Action),
}

/// Translates an action. An unknown one is a problem: a rule without it would do something else.
pub(super) fn action(shape: &Action, path: &str, findings: &mut Findings) -> Option<Step> {
    let kind = shape.r#type.as_deref().unwrap_or("absent");
    // Each kind of action has a table of its own; another one would be ignored.
    let tables = [
        ("forward", "TargetGroupArn", shape.target_group_arn.is_some()),
        ("forward", "ForwardConfig", shape.forward_config.is_some()),
        ("redirect", "RedirectConfig", shape.redirect_config.is_some()),
        ("fixed-response", "FixedResponseConfig", shape.fixed_response_config.is_some()),
        ("authenticate-oidc", "AuthenticateOidcConfig", shape.authenticate_oidc_config.is_some()),
        (
            "authenticate-cognito",
            "AuthenticateCognitoConfig",
            shape.authenticate_cognito_config.is_some(),
        ),
        ("jwt-validation", "JwtValidationConfig", shape.jwt_validation_config.is_some()),
    ];
    findings.foreign_members(kind, &tables, "an action", path);
    let expect = |is_present: bool, member: &str, findings: &mut Findings| {
        if !is_present {
            let expected = format!("a table for an action of the type {kind}");
            findings.problems.push(Problem::invalid(format!("{path}.{member}"), expected));
        }
        is_present.then_some(())
    };
    Some(match kind {
        "forward" => Step::Answer(config::Action::Forward(forward(shape, path, findings)?)),
        "redirect" => {
            expect(shape.redirect_config.is_some(), "RedirectConfig", findings)?;
            let config = shape.redirect_config.as_ref()?;
            Step::Answer(config::Action::Redirect(redirect(config, path, findings)?))
        }
        "fixed-response" => {
            expect(shape.fixed_response_config.is_some(), "FixedResponseConfig", findings)?;
            let config = shape.fixed_response_config.as_ref()?;
            Step::Answer(config::Action::FixedResponse(fixed_response(config, path, findings)?))
        }
        "authenticate-oidc" => {
            expect(shape.authenticate_oidc_config.is_some(), "AuthenticateOidcConfig", findings)?;
            let config = shape.authenticate_oidc_config.as_ref()?;
            Step::Authenticate(Authenticate::Oidc(oidc(config, path, findings)?))
        }
        "authenticate-cognito" => {
            let member = "AuthenticateCognitoConfig";
            expect(shape.authenticate_cognito_config.is_some(), member, findings)?;
            let config = shape.authenticate_cognito_config.as_ref()?;
            Step::Authenticate(Authenticate::Cognito(cognito(config, path, findings)?))
        }
        "jwt-validation" => {
            expect(shape.jwt_validation_config.is_some(), "JwtValidationConfig", findings)?;
            let config = shape.jwt_validation_config.as_ref()?;
            Step::Authenticate(Authenticate::Jwt(jwt(config, path, findings)?))
        }
        _ => {
            let expected = "forward, redirect, fixed-response, authenticate-oidc, \
                            authenticate-cognito or jwt-validation";
            findings.invalid(format!("{path}.Type"), kind, expected);
            return None;
        }
    })
}

fn forward(shape: &Action, path: &str, findings: &mut Findings) -> Option<Forward> {
    let default = ForwardConfig::default();
    let config = shape.forward_config.as_ref().unwrap_or(&default);
    let tuples = config.target_groups.as_deref().unwrap_or_default();
    let mut groups = Vec::with_capacity(tuples.len());
    for tuple in tuples {
        let arn = tuple.target_group_arn.as_deref().unwrap_or_default();
        groups.push(WeightedGroup::new(group_name(arn), tuple.weight.unwrap_or(1)));
    }
    if let Some(arn) = &shape.target_group_arn {
        let name = group_name(arn);
        match &*groups {
            [] => groups.push(WeightedGroup::new(name, 1)),
            [only] if only.group == name => {}
            _ => {
                let expected = "the only target group of `ForwardConfig`";
                findings.invalid(format!("{path}.TargetGroupArn"), arn, expected);
                return None;
            }
        }
    }
    let sticky = config.target_group_stickiness_config.as_ref();
    let sticky = sticky.filter(|sticky| sticky.enabled == Some(true));
    if sticky.is_some_and(|sticky| sticky.duration_seconds.is_none()) {
        let path = format!("{path}.ForwardConfig.TargetGroupStickinessConfig.DurationSeconds");
        findings.problems.push(Problem::invalid(path, "a number of seconds"));
    }
    let stickiness = sticky.and_then(|sticky| sticky.duration_seconds).map(Time::from_secs);
    Some(Forward { groups, stickiness })
}

/// Returns the name of a target group from its ARN, `…:targetgroup/name/id`.
pub(super) fn group_name(arn: &str) -> String {
    let name = arn.split_once(":targetgroup/").and_then(|(_, rest)| rest.split('/').next());
    name.unwrap_or(arn).to_owned()
}

fn redirect(config: &RedirectConfig, path: &str, findings: &mut Findings) -> Option<Redirect> {
    let status = match config.status_code.as_deref() {
        Some("HTTP_301") => 301,
        Some("HTTP_302") => 302,
        other => {
            let path = format!("{path}.RedirectConfig.StatusCode");
            findings.invalid(path, other.unwrap_or("absent"), "HTTP_301 or HTTP_302");
            return None;
        }
    };
    // AWS writes the protocol in upper case, URLs in lower case.
    let protocol = config.protocol.as_deref().map(str::to_ascii_lowercase);
    Some(Redirect {
        protocol,
        host: config.host.clone(),
        port: config.port.clone(),
        path: config.path.clone(),
        query: config.query.clone(),
        status,
    })
}

fn fixed_response(
    config: &FixedResponseConfig,
    path: &str,
    findings: &mut Findings,
) -> Option<FixedResponse> {
    let status = config.status_code.as_deref().unwrap_or("absent");
    let Ok(number) = status.parse() else {
        let path = format!("{path}.FixedResponseConfig.StatusCode");
        findings.invalid(path, status, "a status 2xx, 4xx or 5xx");
        return None;
    };
    Some(FixedResponse {
        status: number,
        content_type: config.content_type.clone().filter(|text| !text.is_empty()),
        body: config.message_body.clone().filter(|text| !text.is_empty()),
    })
}

fn oidc(config: &AuthenticateOidcConfig, path: &str, findings: &mut Findings) -> Option<Oidc> {
    let session = SessionParts {
        cookie: config.session_cookie_name.as_ref(),
        scope: config.scope.as_ref(),
        timeout: config.session_timeout,
        parameters: config.authentication_request_extra_params.as_ref(),
        unauthenticated: config.on_unauthenticated_request.as_deref(),
    };
    let session = session.translate(&format!("{path}.AuthenticateOidcConfig"), findings)?;
    let endpoints =
        [&config.authorization_endpoint, &config.token_endpoint, &config.user_info_endpoint];
    let endpoints = match endpoints.map(Option::as_deref) {
        [None, None, None] => None,
        [authorization, token, user_info] => Some(OidcEndpoints {
            authorization: authorization.unwrap_or_default().to_owned(),
            token: token.unwrap_or_default().to_owned(),
            user_info: user_info.unwrap_or_default().to_owned(),
        }),
    };
    Some(Oidc {
        issuer: config.issuer.clone().unwrap_or_default(),
        endpoints,
        client_id: config.client_id.clone().unwrap_or_default(),
        session,
    })
}

fn cognito(
    config: &AuthenticateCognitoConfig,
    path: &str,
    findings: &mut Findings,
) -> Option<Cognito> {
    let session = SessionParts {
        cookie: config.session_cookie_name.as_ref(),
        scope: config.scope.as_ref(),
        timeout: config.session_timeout,
        parameters: config.authentication_request_extra_params.as_ref(),
        unauthenticated: config.on_unauthenticated_request.as_deref(),
    };
    Some(Cognito {
        user_pool: config.user_pool_arn.clone().unwrap_or_default(),
        client_id: config.user_pool_client_id.clone().unwrap_or_default(),
        domain: config.user_pool_domain.clone().unwrap_or_default(),
        session: session.translate(&format!("{path}.AuthenticateCognitoConfig"), findings)?,
    })
}

/// The members that both logins have.
struct SessionParts<'a> {
    cookie: Option<&'a String>,
    scope: Option<&'a String>,
    timeout: Option<u64>,
    parameters: Option<&'a std::collections::BTreeMap<String, String>>,
    unauthenticated: Option<&'a str>,
}

impl SessionParts<'_> {
    fn translate(self, path: &str, findings: &mut Findings) -> Option<Session> {
        let unauthenticated = match self.unauthenticated {
            None | Some("authenticate") => Unauthenticated::Authenticate,
            Some("allow") => Unauthenticated::Allow,
            Some("deny") => Unauthenticated::Deny,
            Some(other) => {
                let path = format!("{path}.OnUnauthenticatedRequest");
                findings.invalid(path, other, "deny, allow or authenticate");
                return None;
            }
        };
        let default = Session::default();
        Some(Session {
            cookie: self.cookie.cloned().unwrap_or(default.cookie),
            scope: self.scope.cloned().unwrap_or(default.scope),
            timeout: self.timeout.map_or(default.timeout, Time::from_secs),
            parameters: self.parameters.cloned().unwrap_or_default(),
            unauthenticated,
        })
    }
}

fn jwt(config: &JwtValidationConfig, path: &str, findings: &mut Findings) -> Option<Jwt> {
    let mut claims = Vec::new();
    for (index, shape) in config.additional_claims.iter().flatten().enumerate() {
        let format = match shape.format.as_deref() {
            Some("single-string") => ClaimFormat::SingleString,
            Some("string-array") => ClaimFormat::StringArray,
            Some("space-separated-values") => ClaimFormat::SpaceSeparatedValues,
            other => {
                let path = format!("{path}.JwtValidationConfig.AdditionalClaims[{index}].Format");
                let expected = "single-string, string-array or space-separated-values";
                findings.invalid(path, other.unwrap_or("absent"), expected);
                return None;
            }
        };
        claims.push(Claim {
            name: shape.name.clone().unwrap_or_default(),
            format,
            values: shape.values.clone().unwrap_or_default(),
        });
    }
    Some(Jwt {
        algorithms: Jwt::default_algorithms(),
        issuer: config.issuer.clone().unwrap_or_default(),
        jwks: config.jwks_endpoint.clone().unwrap_or_default(),
        claims,
    })
}
