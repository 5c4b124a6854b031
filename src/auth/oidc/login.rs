use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Response, uri::PathAndQuery};
use openidconnect::{
    CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    core::CoreAuthenticationFlow,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    answer::{Failure, redirect},
    builder::Settings,
    head::RequestHead,
    origin::PublicOrigin,
    seal::{Purpose, random, random_text},
    session::CLOCK_SKEW,
};
use crate::auth::unix_time::unix_time;

/// The longest path and query to return to, in bytes: `state` goes through the provider's URLs.
const MAX_RETURN_BYTES: usize = 2048;

/// A login that has begun, as it is sealed in `state`.
#[derive(Serialize, Deserialize)]
pub(super) struct Login {
    /// The seconds since the Unix epoch.
    #[serde(rename = "t")]
    begun: u64,
    /// Names the cookie.
    #[serde(rename = "i")]
    pub(super) id: String,
    /// The value of the cookie, which binds the login to a browser.
    #[serde(rename = "b")]
    binding: String,
    #[serde(rename = "n")]
    pub(super) nonce: String,
    #[serde(rename = "v")]
    pub(super) verifier: String,
    /// The path and query to return to.
    #[serde(rename = "r")]
    return_to: String,
}

impl Login {
    fn begin(now: u64, return_to: &PathAndQuery) -> Option<Self> {
        Some(Self {
            begun: now,
            id: URL_SAFE_NO_PAD.encode(random::<8>()?),
            binding: random_text()?,
            nonce: random_text()?,
            verifier: random_text()?,
            return_to: return_path(return_to).to_owned(),
        })
    }

    /// Returns whether the login is not too old at `now`, and not from the future.
    fn is_recent(&self, now: u64, timeout: u64) -> bool {
        now < self.begun.saturating_add(timeout) && self.begun <= now.saturating_add(CLOCK_SKEW)
    }

    /// Returns whether the browser with this cookie has begun the login.
    fn is_bound_to(&self, cookie: &[u8]) -> bool {
        // The time that it takes to compare hashes tells nothing of the value.
        Sha256::digest(cookie) == Sha256::digest(&self.binding)
    }

    /// Returns where the browser goes after the login: an absolute URL, as a path that begins with
    /// two slashes would lead to another host.
    pub(super) fn return_url(&self, origin: &PublicOrigin) -> String {
        format!("{origin}{}", self.return_to)
    }
}

/// Returns the path and query of a request if they are not too long, else the path, else `/`.
fn return_path(target: &PathAndQuery) -> &str {
    let candidates = [target.as_str(), target.path()];
    let is_valid = |text: &&str| text.len() <= MAX_RETURN_BYTES && text.starts_with('/');
    candidates.into_iter().find(is_valid).unwrap_or("/")
}

impl Settings {
    /// Leads the browser to the provider.
    pub(super) async fn begin_login(&self, head: &RequestHead) -> Result<Response<Bytes>, Failure> {
        let origin = &head.origin;
        let endpoints = self.tokens.provider.endpoints().await?;
        let login = Login::begin(unix_time(), &head.path_and_query()).ok_or(Failure::Internal)?;
        let state = serde_json::to_vec(&login).map_err(|_| Failure::Internal)?;
        let state = self.sealer.seal(Purpose::State, origin.host(), &state);
        let state = CsrfToken::new(state.ok_or(Failure::Internal)?);

        let client = self.tokens.provider.login_client(&endpoints);
        let nonce = Nonce::new(login.nonce.clone());
        let verifier = PkceCodeVerifier::new(login.verifier.clone());
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let mut request = client
            .authorize_url(flow, move || state, move || nonce)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .set_redirect_uri(Cow::Owned(self.redirect_url(origin)?));
        for scope in self.scope.split(' ').filter(|scope| !scope.is_empty() && *scope != "openid") {
            request = request.add_scope(Scope::new(scope.to_owned()));
        }
        for (name, value) in &self.parameters {
            request = request.add_extra_param(name.as_str(), value.as_str());
        }
        let (url, _, _) = request.url();
        let seconds = self.login_seconds;
        let cookies = self.cookies.set_login(&login.id, &login.binding, seconds, &head.cookies);
        redirect(url.as_str(), cookies)
    }

    /// Returns the URL that the provider sends the browser back to.
    pub(super) fn redirect_url(&self, origin: &PublicOrigin) -> Result<RedirectUrl, Failure> {
        RedirectUrl::new(format!("{origin}{}", self.callback_path)).map_err(|_| Failure::Internal)
    }

    /// Opens the `state` of a login that was begun for this realm and host.
    pub(super) fn open_state(&self, state: &str, host: &str) -> Option<Login> {
        let text = self.sealer.open(Purpose::State, host, state.as_bytes())?;
        serde_json::from_slice(&text).ok()
    }

    /// Checks that this browser has begun the login, and not too long ago.
    pub(super) fn check_login(&self, login: &Login, headers: &HeaderMap) -> Result<(), Failure> {
        let cookie = self.cookies.login(headers, &login.id);
        let cookie =
            cookie.ok_or(Failure::Refused("the login has ended, or is of another browser"))?;
        if !login.is_bound_to(cookie) {
            return Err(Failure::Refused("the login is of another browser"));
        }
        if !login.is_recent(unix_time(), self.login_seconds) {
            return Err(Failure::Refused("the login has taken too long"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_bound_to_its_browser_and_its_time() {
        let login = Login::begin(1000, &PathAndQuery::from_static("/a")).unwrap();
        assert!(login.is_bound_to(login.binding.as_bytes()));
        assert!(!login.is_bound_to(b"") && !login.is_bound_to(login.nonce.as_bytes()));
        assert!(login.is_recent(1000, 900) && login.is_recent(1899, 900));
        assert!(!login.is_recent(1900, 900));
        // The clock has jumped back.
        assert!(login.is_recent(940, 900) && !login.is_recent(939, 900));
    }

    #[test]
    fn the_browser_returns_to_the_same_origin() {
        let origin = {
            let request = http::Request::get("/").header("host", "a.example").body(()).unwrap();
            PublicOrigin::of(&request).unwrap()
        };
        let url = |target: &str| {
            let login = Login::begin(1, &target.parse().unwrap()).unwrap();
            login.return_url(&origin)
        };
        assert_eq!(url("/a?b=c"), "https://a.example/a?b=c");
        assert_eq!(url("//evil.example/"), "https://a.example//evil.example/");
        assert_eq!(url("/\\evil.example"), "https://a.example/\\evil.example");
        assert_eq!(url("*"), "https://a.example/");
        let long = "x".repeat(MAX_RETURN_BYTES);
        assert_eq!(url(&format!("/a?{long}")), "https://a.example/a");
        assert_eq!(url(&format!("/{long}")), "https://a.example/");
    }
}
