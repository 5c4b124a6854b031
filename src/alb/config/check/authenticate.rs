use std::collections::BTreeSet;

use http::Uri;

use super::at::At;
use crate::alb::config::{
    Authenticate, ClaimFormat, Cognito, Config, Jwt, Listener, ListenerProtocol, Oidc, Session,
};

/// The longest URL, issuer and value of a claim that the ALB accepts, in characters.
const MAX_CHARS: usize = 256;
/// The most claims, values of a claim, and parameters.
const MAX_ITEMS: usize = 10;
/// The claims that are always checked.
const OWN_CLAIMS: [&str; 4] = ["exp", "iss", "nbf", "iat"];

pub(super) fn check(
    config: &Config,
    listener: &Listener,
    authenticate: Option<&Authenticate>,
    at: &mut At<'_>,
) {
    let Some(authenticate) = authenticate else { return };
    if listener.protocol == ListenerProtocol::Http {
        // Tokens and session cookies would be readable on the network.
        at.beyond("present", "no value, because `protocol` of the listener is `http`");
    }
    match authenticate {
        Authenticate::Oidc(it) => oidc(config, it, &mut at.at("oidc")),
        Authenticate::Cognito(it) => cognito(config, it, &mut at.at("cognito")),
        Authenticate::Jwt(it) => jwt(it, &mut at.at("jwt")),
    }
}

fn oidc(config: &Config, oidc: &Oidc, at: &mut At<'_>) {
    url(&oidc.issuer, &mut at.at("issuer"));
    if let Some(endpoints) = &oidc.endpoints {
        let mut at = at.at("endpoints");
        url(&endpoints.authorization, &mut at.at("authorization"));
        url(&endpoints.token, &mut at.at("token"));
        url(&endpoints.user_info, &mut at.at("user_info"));
    }
    client(config, &oidc.client_id, at);
    session(&oidc.session, &mut at.at("session"));
}

fn cognito(config: &Config, cognito: &Cognito, at: &mut At<'_>) {
    let parts: Vec<_> = cognito.user_pool.split(':').collect();
    let is_pool =
        matches!(&*parts, ["arn", _, "cognito-idp", _, _, pool] if pool.starts_with("userpool/"));
    if !is_pool {
        let value = format_args!("{:?}", cognito.user_pool);
        at.at("user_pool").invalid(value, "the ARN of a user pool");
    }
    if cognito.domain.is_empty() {
        at.at("domain").missing("the domain of the user pool, or its prefix");
    }
    client(config, &cognito.client_id, at);
    session(&cognito.session, &mut at.at("session"));
}

fn client(config: &Config, id: &str, at: &mut At<'_>) {
    let mut at = at.at("client_id");
    if id.is_empty() {
        at.missing("the id of the client");
    } else if !config.bindings.client_secrets.contains_key(id) {
        // Without a secret, anyone who steals a code can use it.
        at.beyond(id, "a client with an entry in `bindings.client_secrets`");
    }
}

fn session(session: &Session, at: &mut At<'_>) {
    at.note("targets get `x-amzn-oidc-data` only if the program supplies a key that signs it");
    // The characters of a token of RFC 9110, which names of cookies are.
    let is_token = http::HeaderName::from_bytes(session.cookie.as_bytes()).is_ok();
    if !is_token {
        at.at("cookie").invalid(format_args!("{:?}", session.cookie), "the name of a cookie");
    }
    if !session.scope.split(' ').any(|scope| scope == "openid") {
        let expected = "a scope that contains `openid`";
        at.at("scope").invalid(format_args!("{:?}", session.scope), expected);
    }
    at.at("timeout").time(session.timeout, 1, 604_800);
    at.at("parameters").number(session.parameters.len() as u64, 0, MAX_ITEMS as u64);
}

fn jwt(jwt: &Jwt, at: &mut At<'_>) {
    if jwt.issuer.is_empty() {
        at.at("issuer").missing("the issuer of the tokens");
    }
    at.at("issuer").at_most_chars(&jwt.issuer, MAX_CHARS);
    url(&jwt.jwks, &mut at.at("jwks"));
    at.at("jwks").at_most_chars(&jwt.jwks, MAX_CHARS);
    at.at("claims").number(jwt.claims.len() as u64, 0, MAX_ITEMS as u64);
    let mut names = BTreeSet::new();
    for (index, claim) in jwt.claims.iter().enumerate() {
        let mut at = at.at("claims");
        let mut at = at.item(index);
        let name = &*claim.name;
        if OWN_CLAIMS.contains(&name) {
            at.at("name").invalid(name, "another claim: this one is always checked");
        } else if name.is_empty() || !names.insert(name) {
            at.at("name").invalid(format_args!("{name:?}"), "a name that no other claim has");
        }
        let mut at = at.at("values");
        if claim.values.is_empty() {
            at.missing("at least one value");
        }
        at.number(claim.values.len() as u64, 0, MAX_ITEMS as u64);
        for (index, value) in claim.values.iter().enumerate() {
            let mut at = at.item(index);
            at.at_most_chars(value, MAX_CHARS);
            if claim.format == ClaimFormat::SpaceSeparatedValues && value.contains(' ') {
                at.invalid(format_args!("{value:?}"), "a value without spaces");
            }
        }
    }
}

/// Reports a text that is not an `https` URL. `http` is accepted for tests on one machine.
fn url(text: &str, at: &mut At<'_>) {
    let uri = text.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).filter(|host| !host.is_empty());
    match uri.as_ref().and_then(Uri::scheme_str) {
        Some("https") if host.is_some() => {}
        Some("http") if host.is_some() => at.beyond(format_args!("{text:?}"), "an https URL"),
        _ => at.invalid(format_args!("{text:?}"), "an https URL with a host"),
    }
}
