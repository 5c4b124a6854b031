use std::collections::BTreeSet;

use http::Uri;

use super::at::At;
use crate::{
    alb::config::{
        Authenticate, ClaimFormat, Cognito, Config, Jwt, Listener, ListenerProtocol, Oidc, Session,
    },
    loopback::is_loopback,
};

/// The longest URL that the ALB accepts, in characters.
const MAX_URL_CHARS: usize = 256;
/// The longest issuer of tokens, value of a claim and name of a cookie, in bytes.
const MAX_BYTES: usize = 256;
/// The longest issuer and client id together, in bytes: a session is bound to both, and to its
/// time.
const MAX_REALM_BYTES: usize = 200;
/// The most claims, values of a claim, and parameters.
const MAX_ITEMS: u64 = 10;
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
    let (feature, is_built) = match authenticate {
        Authenticate::Oidc(_) | Authenticate::Cognito(_) => ("oidc", cfg!(feature = "oidc")),
        Authenticate::Jwt(_) => ("jwt", cfg!(feature = "jwt")),
    };
    if !is_built {
        // Not to be accepted: the action would be open to everyone.
        at.missing(format!("a program that is built with the feature `{feature}` of tower-lb"));
    }
    match authenticate {
        Authenticate::Oidc(it) => oidc(config, it, &mut at.at("oidc")),
        Authenticate::Cognito(it) => cognito(config, it, &mut at.at("cognito")),
        Authenticate::Jwt(it) => jwt(config, it, &mut at.at("jwt")),
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
    client(config, &oidc.issuer, &oidc.client_id, at);
    session(&oidc.session, &mut at.at("session"));
}

fn cognito(config: &Config, cognito: &Cognito, at: &mut At<'_>) {
    let Cognito { user_pool, client_id, domain, session: own } = cognito;
    let is_word = |text: &str| {
        let is_valid = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
        !text.is_empty() && text.chars().all(is_valid)
    };
    let parts: Vec<_> = user_pool.split(':').collect();
    let is_pool = matches!(&*parts, ["arn", _, "cognito-idp", region, _, pool]
        if is_word(region) && pool.strip_prefix("userpool/").is_some_and(is_word));
    if !is_pool {
        at.at("user_pool").invalid(format_args!("{user_pool:?}"), "the ARN of a user pool");
    }
    let is_host = domain.split('.').all(is_word);
    if !is_host {
        let expected = "the domain of the user pool, or its prefix";
        at.at("domain").invalid(format_args!("{domain:?}"), expected);
    }
    client(config, user_pool, client_id, at);
    session(own, &mut at.at("session"));
}

/// Checks the client of a login. Its sessions are bound to the issuer and the client.
fn client(config: &Config, issuer: &str, id: &str, at: &mut At<'_>) {
    let mut at = at.at("client_id");
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        at.invalid(format_args!("{id:?}"), "the id of the client, of printable ASCII characters");
    } else if !config.bindings.client_secrets.contains_key(id) {
        // Without a secret, anyone who steals a code can use it.
        at.beyond(id, "a client with an entry in `bindings.client_secrets`");
    }
    if issuer.len() + id.len() > MAX_REALM_BYTES {
        at.missing(format!(
            "an issuer and a client id of together at most {MAX_REALM_BYTES} bytes"
        ));
    }
}

fn session(session: &Session, at: &mut At<'_>) {
    at.note("targets get `x-amzn-oidc-data` only if the program supplies a key that signs it");
    // The characters of a token of RFC 9110, which names of cookies are.
    let is_token = http::HeaderName::from_bytes(session.cookie.as_bytes()).is_ok();
    if !is_token || session.cookie.len() > MAX_BYTES {
        let expected = format!("the name of a cookie, of at most {MAX_BYTES} bytes");
        at.at("cookie").invalid(format_args!("{:?}", session.cookie), expected);
    }
    let is_scope = session.scope.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !is_scope || !session.scope.split(' ').any(|scope| scope == "openid") {
        let expected = "a scope of printable ASCII characters that contains `openid`";
        at.at("scope").invalid(format_args!("{:?}", session.scope), expected);
    }
    at.at("timeout").time_within(session.timeout, 1, 604_800);
    let mut at = at.at("parameters");
    at.number_within(session.parameters.len() as u64, 0, MAX_ITEMS);
    #[cfg(feature = "oidc")]
    for name in session.parameters.keys() {
        if name.is_empty() || crate::auth::oidc::OWN_PARAMETERS.contains(&&**name) {
            let expected = "no parameter without a name, nor one that a login sets itself";
            at.invalid(format_args!("{name:?}"), expected);
        }
    }
}

fn jwt(config: &Config, jwt: &Jwt, at: &mut At<'_>) {
    if jwt.issuer.is_empty() || jwt.issuer.len() > MAX_BYTES {
        let expected = format!("the issuer of the tokens, of at most {MAX_BYTES} bytes");
        at.at("issuer").invalid(format_args!("{:?}", jwt.issuer), expected);
    }
    // With a binding it is only a name.
    if !config.bindings.jwks.contains_key(&jwt.jwks) {
        url(&jwt.jwks, &mut at.at("jwks"));
    }
    at.at("jwks").at_most_chars(&jwt.jwks, MAX_URL_CHARS);
    if jwt.algorithms.is_empty() {
        at.at("algorithms").missing("at least one algorithm");
    }
    #[cfg(feature = "jwt")]
    for (index, name) in jwt.algorithms.iter().enumerate() {
        if let Err(error) = name.parse::<crate::auth::Algorithm>() {
            let mut at = at.at("algorithms");
            at.item(index).invalid(format_args!("{name:?}"), error.expected().to_owned());
        }
    }
    at.at("claims").number_within(jwt.claims.len() as u64, 0, MAX_ITEMS);
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
        at.number_within(claim.values.len() as u64, 1, MAX_ITEMS);
        for (index, value) in claim.values.iter().enumerate() {
            let mut at = at.item(index);
            if value.is_empty() || value.len() > MAX_BYTES {
                let expected = format!("a value of 1 to {MAX_BYTES} bytes");
                at.invalid(format_args!("{value:?}"), expected);
            } else if claim.format == ClaimFormat::SpaceSeparatedValues && value.contains(' ') {
                at.invalid(format_args!("{value:?}"), "a value without spaces");
            }
        }
    }
}

/// Reports a text that is not an `https` URL. `http` is accepted to this machine, for tests.
pub(super) fn url(text: &str, at: &mut At<'_>) {
    let uri = text.parse::<Uri>().ok();
    let authority = uri.as_ref().and_then(Uri::authority);
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        // The password would be shown.
        return at.missing("a URL without a user and a password");
    }
    let host = authority.map(|authority| authority.host()).filter(|host| !host.is_empty());
    match (uri.as_ref().and_then(Uri::scheme_str), host) {
        (Some("https"), Some(_)) => {}
        (Some("http"), Some(host)) if is_loopback(host) => {
            at.beyond(format_args!("{text:?}"), "an https URL");
        }
        _ => {
            let expected = "an https URL with a host; http is for loopback only";
            at.invalid(format_args!("{text:?}"), expected);
        }
    }
}
