use std::time::Duration;

use super::{
    Affinity, SameSite, SessionKey, Sessions, WhenDraining,
    config::{Clock, Config, MAX_KEYS},
    cookie::Attributes,
};
use crate::ConfigError;

/// Configures [`Sessions`]; made by [`Sessions::builder`].
#[derive(Clone, Debug)]
pub struct SessionsBuilder {
    keys: Vec<SessionKey>,
    name: String,
    attributes: Attributes,
    lifetime: Duration,
    browser_session: bool,
    application: Option<String>,
    affinity: Affinity,
    draining: WhenDraining,
}

const MIN_LIFETIME: Duration = Duration::from_secs(1);
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl SessionsBuilder {
    pub(super) fn new(key: SessionKey) -> Self {
        Self {
            keys: vec![key],
            name: "tower-lb".into(),
            attributes: Attributes::default(),
            lifetime: Duration::from_secs(24 * 60 * 60),
            browser_session: false,
            application: None,
            affinity: Affinity::default(),
            draining: WhenDraining::default(),
        }
    }

    /// Also accepts cookies that `key` has signed, and replaces them. At most 8 keys in all.
    ///
    /// To change keys without losing sessions:
    ///
    /// 1. Accept the new key in all balancers.
    /// 2. Sign with the new key and accept the old one in all balancers.
    /// 3. Remove the old key after the lifetime of its sessions.
    #[must_use]
    pub fn also_accept(mut self, key: SessionKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Sets the name of the cookie. Default `tower-lb`. A name with the prefix `__Host-` or
    /// `__Secure-` needs the attributes that browsers require for it.
    #[must_use]
    pub fn cookie(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how long a session lasts without a request, from 1 s to 7 days. Default one day.
    ///
    /// A session may end up to a tenth earlier, because the cookie is renewed only after a tenth of
    /// its lifetime.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Omits `Max-Age`, so that browsers delete the cookie when they are closed. The lifetime still
    /// applies. Default: `Max-Age` is the lifetime.
    #[must_use]
    pub fn browser_session(mut self) -> Self {
        self.browser_session = true;
        self
    }

    /// Binds sessions to a cookie of the application. Default: sessions follow no other cookie and
    /// begin with any response.
    ///
    /// A session begins when a response sets the application's cookie. It applies to requests that
    /// carry both cookies, with the application's value unchanged. A value that is empty or longer
    /// than 4096 bytes, which is more than browsers keep, has no session: its requests are balanced
    /// like any other.
    #[must_use]
    pub fn follow(mut self, application_cookie: impl Into<String>) -> Self {
        self.application = Some(application_cookie.into());
        self
    }

    /// Sets which requests from other sites carry the cookie. Default [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.attributes.same_site = same_site;
        self
    }

    /// Sets whether the cookie is for HTTPS only. Default true; browsers make an exception for
    /// `localhost`.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.attributes.secure = secure;
        self
    }

    /// Sets whether the cookie is hidden from scripts. Default true.
    #[must_use]
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.attributes.http_only = http_only;
        self
    }

    /// Sets the prefix of the paths that the cookie is for. Default `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.attributes.path = path.into();
        self
    }

    /// Sets the host that the cookie is for, together with its subdomains. Default: exactly the
    /// host of the request.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.attributes.domain = Some(domain.into());
        self
    }

    /// Sets whether requests may go elsewhere while their endpoint is busy. Default
    /// [`Affinity::Preferred`].
    #[must_use]
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.affinity = affinity;
        self
    }

    /// Sets what happens to the sessions of a draining endpoint. Default [`WhenDraining::Move`].
    #[must_use]
    pub fn when_draining(mut self, draining: WhenDraining) -> Self {
        self.draining = draining;
        self
    }

    /// Returns the sessions. Reads the system clock once, and ignores later changes of it.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or if browsers would reject the cookie.
    pub fn build(mut self) -> Result<Sessions, ConfigError> {
        self.check()?;
        self.attributes.max_age = (!self.browser_session).then_some(self.lifetime);
        Ok(Sessions::new(Config {
            keys: self.keys.into(),
            name: self.name,
            attributes: self.attributes.to_string(),
            lifetime: self.lifetime,
            application: self.application,
            affinity: self.affinity,
            draining: self.draining,
            clock: Clock::new(),
        }))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Attributes { path, domain, secure, same_site, .. } = &self.attributes;
        let invalid =
            |field, text: &str, expected| Err(ConfigError::new(field, expected).with_value(text));
        if !is_token(&self.name) {
            return invalid("cookie", &self.name, COOKIE_NAME);
        }
        if let Some(name) = self.application.as_ref().filter(|name| !is_token(name)) {
            return invalid("follow", name, COOKIE_NAME);
        }
        if self.application.as_ref() == Some(&self.name) {
            return invalid("follow", &self.name, "another name than that of the session cookie");
        }
        let keys = self.keys.len();
        ConfigError::unless(keys <= MAX_KEYS, "also_accept", keys, "at most 8 keys in all")?;
        let lifetime = self.lifetime;
        ConfigError::unless(
            (MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime),
            "lifetime",
            format_args!("{lifetime:?}"),
            "a time from 1 s to 7 days",
        )?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
        if !path.starts_with('/') || !plain(path) {
            return invalid("path", path, "a path that starts with / and has no spaces and no ;");
        }
        let host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if let Some(domain) = domain {
            if domain.is_empty() || !domain.bytes().all(host) {
                return invalid("domain", domain, "a host name");
            }
        }
        if *same_site == SameSite::None && !secure {
            return invalid("same_site", "None", "`secure` to be set as well");
        }
        let has_prefix = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if has_prefix("__Secure-") && !secure {
            return invalid("cookie", &self.name, "`secure` to be set for the prefix __Secure-");
        }
        if has_prefix("__Host-") && !(*secure && domain.is_none() && path == "/") {
            let expected = "`secure`, path / and no domain for the prefix __Host-";
            return invalid("cookie", &self.name, expected);
        }
        Ok(())
    }
}

const COOKIE_NAME: &str = "a cookie name of letters, digits, - and _";

/// Returns whether `name` is valid for a cookie.
fn is_token(name: &str) -> bool {
    let separator = |byte| b"()<>@,;:\\\"/[]?={}".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !separator(byte))
}
