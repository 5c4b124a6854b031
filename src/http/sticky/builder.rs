use std::time::Duration;

use super::{
    Affinity, SameSite, SessionKey, Sessions, WhenDraining,
    config::{Clock, Config, MAX_KEYS},
    cookie::Attributes,
};
use crate::{ConfigError, http::request_key::is_token};

/// Configures [`Sessions`]; made by [`Sessions::builder`].
#[derive(Clone, Debug)]
pub struct SessionsBuilder {
    keys: Vec<SessionKey>,
    name: String,
    attributes: Attributes,
    copy: Option<String>,
    lifetime: Duration,
    browser_session: bool,
    renewed: bool,
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
            copy: None,
            lifetime: Duration::from_secs(24 * 60 * 60),
            browser_session: false,
            renewed: true,
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

    setters! {
        /// Sets the name of the cookie, of at most 1024 bytes. Default `tower-lb`.
        ///
        /// Browsers require attributes for names with a prefix:
        ///
        /// | prefix | needs |
        /// |---|---|
        /// | `__Secure-` | [`secure`](Self::secure) |
        /// | `__Host-` | `secure`, path `/`, no domain |
        /// | `__Http-` | `secure`, [`http_only`](Self::http_only) |
        /// | `__Host-Http-` | all of these |
        pub fn cookie(name: impl Into<String>) => name = name.into();
        /// Sets how long a session lasts without a request, from 1 s to 7 days. Default one day.
        ///
        /// A session may end up to a tenth earlier, because the cookie is renewed only after a
        /// tenth of its lifetime.
        pub fn lifetime(lifetime: Duration) => lifetime = lifetime;
        /// Sets whether the requests of a session prolong it. If `false`, a session ends when the
        /// lifetime is over, and its next request begins another one. Default `true`.
        pub fn renewed(renewed: bool) => renewed = renewed;
    }

    /// Omits `Max-Age`, so that browsers delete the cookie when they are closed. The lifetime still
    /// applies. Default: `Max-Age` is the lifetime.
    #[must_use]
    pub fn browser_session(mut self) -> Self {
        self.browser_session = true;
        self
    }

    setters! {
        /// Binds sessions to a cookie of the application. Default: sessions follow no other cookie
        /// and begin with any response.
        ///
        /// A session begins when a response sets the application's cookie. It applies to requests
        /// that carry both cookies, with the application's value unchanged. A value that is empty
        /// or longer than 4096 bytes, which is more than browsers keep, has no session: its
        /// requests are balanced like any other.
        pub fn follow(application_cookie: impl Into<String>)
            => application = Some(application_cookie.into());
        /// Sets which requests from other sites carry the cookie. Default [`SameSite::Lax`].
        pub fn same_site(same_site: SameSite) => attributes.same_site = same_site;
        /// Sets whether the cookie is for HTTPS only. Default true; browsers make an exception for
        /// `localhost`.
        pub fn secure(secure: bool) => attributes.secure = secure;
        /// Issues a second cookie of this name with the same value, `SameSite=None` and `Secure`,
        /// so that requests from other sites have a session too. Either cookie is accepted.
        /// Default none.
        pub fn cross_site_copy(name: impl Into<String>) => copy = Some(name.into());
        /// Sets whether browsers keep a separate cookie for each site that embeds this one
        /// (`Partitioned`). Browsers that block cookies of other sites accept such a cookie; it
        /// then needs [`SameSite::None`]. Needs [`secure`](Self::secure). Default false.
        pub fn partitioned(partitioned: bool) => attributes.partitioned = partitioned;
        /// Sets whether the cookie is hidden from scripts. Default true.
        pub fn http_only(http_only: bool) => attributes.http_only = http_only;
        /// Sets the prefix of the paths that the cookie is for, of at most 1024 bytes. Default `/`.
        pub fn path(path: impl Into<String>) => attributes.path = path.into();
        /// Sets the host that the cookie is for, together with its subdomains. Default: exactly the
        /// host of the request.
        pub fn domain(domain: impl Into<String>) => attributes.domain = Some(domain.into());
        /// Sets whether requests may go elsewhere while their endpoint is busy. Default
        /// [`Affinity::Preferred`].
        pub fn affinity(affinity: Affinity) => affinity = affinity;
        /// Sets what happens to the sessions of a draining endpoint. Default
        /// [`WhenDraining::Move`].
        pub fn when_draining(draining: WhenDraining) => draining = draining;
    }

    /// Returns the sessions. Reads the system clock once, and ignores later changes of it.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or if browsers would reject the cookie.
    pub fn build(mut self) -> Result<Sessions, ConfigError> {
        self.check()?;
        self.attributes.max_age = (!self.browser_session).then_some(self.lifetime);
        let for_copy =
            Attributes { secure: true, same_site: SameSite::None, ..self.attributes.clone() };
        Ok(Sessions::new(Config {
            copy: self.copy.map(|name| (name, for_copy.to_string())),
            keys: self.keys.into(),
            name: self.name,
            attributes: self.attributes.to_string(),
            lifetime: self.lifetime,
            renewed: self.renewed,
            application: self.application,
            affinity: self.affinity,
            draining: self.draining,
            clock: Clock::new(),
        }))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Attributes { path, domain, secure, http_only, same_site, partitioned, .. } =
            &self.attributes;
        let invalid =
            |field, text: &str, expected| Err(ConfigError::new(field, expected).with_value(text));
        if !is_token(&self.name) || self.name.len() > MAX_ATTRIBUTE_BYTES {
            return invalid("cookie", &self.name, COOKIE_NAME);
        }
        if let Some(name) = self.application.as_ref().filter(|name| !is_token(name)) {
            return invalid("follow", name, COOKIE_NAME);
        }
        if self.application.as_ref() == Some(&self.name) {
            return invalid("follow", &self.name, "another name than that of the session cookie");
        }
        if let Some(name) = &self.copy {
            if !is_token(name) || name.len() > MAX_ATTRIBUTE_BYTES {
                return invalid("cross_site_copy", name, COOKIE_NAME);
            }
            if *name == self.name || self.application.as_ref() == Some(name) {
                return invalid("cross_site_copy", name, "another name than the other cookies");
            }
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
        if !path.starts_with('/') || !plain(path) || path.len() > MAX_ATTRIBUTE_BYTES {
            return invalid("path", path, PATH);
        }
        let host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if let Some(domain) = domain {
            if domain.is_empty() || domain.len() > MAX_DOMAIN_BYTES || !domain.bytes().all(host) {
                return invalid("domain", domain, "a host name");
            }
        }
        if *same_site == SameSite::None && !secure {
            return invalid("same_site", "None", "`secure` to be set as well");
        }
        if *partitioned && !secure {
            return invalid("partitioned", "true", "`secure` to be set as well");
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
        let is_http = has_prefix("__Http-") || has_prefix("__Host-Http-");
        if is_http && !(*secure && *http_only) {
            let expected = "`secure` and `http_only` for the prefix __Http-";
            return invalid("cookie", &self.name, expected);
        }
        Ok(())
    }
}

const COOKIE_NAME: &str = "a cookie name of at most 1024 letters, digits, - and _";
const PATH: &str = "a path of at most 1024 bytes that starts with / and has no spaces and no ;";
/// The longest host name of the DNS.
const MAX_DOMAIN_BYTES: usize = 253;
/// Browsers ignore attributes that are longer, and reject cookies whose name and value exceed 4096
/// bytes. A name of this length leaves room for the value.
const MAX_ATTRIBUTE_BYTES: usize = 1024;
