use std::{fmt, time::Duration};

use super::{
    Affinity, Key, SameSite, Sessions, WhenDraining,
    config::{Clock, Config, MAX_KEYS},
    cookie::Attributes,
};

/// Configures [`Sessions`]; made by [`Sessions::builder`].
#[derive(Clone, Debug)]
pub struct SessionsBuilder {
    keys: Vec<Key>,
    name: String,
    attributes: Attributes,
    lifetime: Duration,
    browser_session: bool,
    application: Option<String>,
    affinity: Affinity,
    draining: WhenDraining,
}

/// The lifetimes that there are.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl SessionsBuilder {
    pub(super) fn new(key: Key) -> Self {
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

    /// Accepts cookies that were signed by this key too, and replaces them. To change keys: accept
    /// the new one everywhere, then sign with it everywhere and accept the old one, then drop that
    /// once its sessions' lifetime is over. There may be 8 keys in all.
    #[must_use]
    pub fn also_accept(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// The cookie's name. Default `tower-lb`. A prefix `__Host-` or `__Secure-` is held to what
    /// browsers demand of it.
    #[must_use]
    pub fn cookie(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long a session lasts without a request, from 1 s to 7 days; up to a tenth less, because
    /// the cookie is renewed when a tenth has passed. Default one day.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Leaves `Max-Age` out, so that browsers forget the session when they are closed; its lifetime
    /// holds all the same. Default: `Max-Age` is the lifetime.
    #[must_use]
    pub fn browser_session(mut self) -> Self {
        self.browser_session = true;
        self
    }

    /// Binds sessions to a cookie of the application's: one begins when a response sets that cookie,
    /// and holds for requests that carry both, the application's as it was set. Default: sessions
    /// are the balancer's own and begin with any response.
    ///
    /// A value longer than 4096 bytes, which is more than browsers keep, has no session: requests that
    /// carry it are balanced like any other.
    #[must_use]
    pub fn follow(mut self, application_cookie: impl Into<String>) -> Self {
        self.application = Some(application_cookie.into());
        self
    }

    /// Which requests from other sites carry the cookie. Default [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.attributes.same_site = same_site;
        self
    }

    /// Whether the cookie is for HTTPS only. Default true; browsers make an exception for `localhost`.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.attributes.secure = secure;
        self
    }

    /// Whether the cookie is kept from scripts. Default true.
    #[must_use]
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.attributes.http_only = http_only;
        self
    }

    /// The paths that the cookie is for, all that begin with this. Default `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.attributes.path = path.into();
        self
    }

    /// The host that the cookie is for, along with those below it. Default: exactly the host that the
    /// request was for.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.attributes.domain = Some(domain.into());
        self
    }

    /// Whether requests may go elsewhere while their endpoint is busy. Default
    /// [`Affinity::Preferred`].
    #[must_use]
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.affinity = affinity;
        self
    }

    /// What becomes of the sessions of an endpoint that is draining. Default [`WhenDraining::Move`].
    #[must_use]
    pub fn when_draining(mut self, draining: WhenDraining) -> Self {
        self.draining = draining;
        self
    }

    /// The sessions. Reads the system's clock, once: later steps of it are not followed.
    ///
    /// # Errors
    ///
    /// [`InvalidSessions`] for settings that make no sense, or that browsers would reject.
    pub fn build(mut self) -> Result<Sessions, InvalidSessions> {
        self.check()?;
        self.attributes.max_age = (!self.browser_session).then_some(self.lifetime);
        Ok(Sessions::of(Config {
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

    fn check(&self) -> Result<(), InvalidSessions> {
        let Attributes { path, domain, secure, same_site, .. } = &self.attributes;
        for name in [Some(&self.name), self.application.as_ref()].into_iter().flatten() {
            if !is_token(name) {
                return Err(InvalidSessions::Name { name: name.clone() });
            }
        }
        if self.keys.len() > MAX_KEYS {
            return Err(InvalidSessions::TooManyKeys { keys: self.keys.len() });
        }
        if self.application.as_ref() == Some(&self.name) {
            return Err(InvalidSessions::SameName { name: self.name.clone() });
        }
        if !(SHORTEST..=LONGEST).contains(&self.lifetime) {
            return Err(InvalidSessions::Lifetime { lifetime: self.lifetime });
        }
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
        if !path.starts_with('/') || !plain(path) {
            return Err(InvalidSessions::Path { path: path.clone() });
        }
        let host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if let Some(domain) = domain {
            if domain.is_empty() || !domain.bytes().all(host) {
                return Err(InvalidSessions::Domain { domain: domain.clone() });
            }
        }
        if *same_site == SameSite::None && !secure {
            return Err(InvalidSessions::InsecureSameSiteNone);
        }
        let starts = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let host_only = *secure && domain.is_none() && path == "/";
        if starts("__Secure-") && !secure || starts("__Host-") && !host_only {
            return Err(InvalidSessions::Prefix { name: self.name.clone() });
        }
        Ok(())
    }
}

/// What a cookie's name may be.
fn is_token(name: &str) -> bool {
    let separator = |byte| b"()<>@,;:\\\"/[]?={}".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !separator(byte))
}

/// Settings of [`Sessions`] that make no sense, or that browsers would reject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSessions {
    /// A key of fewer than 32 bytes.
    ShortKey {
        /// How many it has.
        bytes: usize,
    },
    /// More than 8 keys.
    TooManyKeys {
        /// How many there are.
        keys: usize,
    },
    /// A name that no cookie can have.
    Name {
        /// The name.
        name: String,
    },
    /// The application's cookie has the name of the balancer's.
    SameName {
        /// The name of both.
        name: String,
    },
    /// A lifetime below 1 s or above 7 days.
    Lifetime {
        /// The lifetime.
        lifetime: Duration,
    },
    /// A path that doesn't begin with `/`, or has characters that a cookie's path can't have.
    Path {
        /// The path.
        path: String,
    },
    /// A domain that is no host name.
    Domain {
        /// The domain.
        domain: String,
    },
    /// [`SameSite::None`] without `Secure`.
    InsecureSameSiteNone,
    /// A name with prefix `__Host-` or `__Secure-`, and attributes that go against it.
    Prefix {
        /// The name.
        name: String,
    },
}

impl fmt::Display for InvalidSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortKey { bytes } => {
                write!(f, "a key of {bytes} bytes: take at least 32 random ones")
            }
            Self::TooManyKeys { keys } => {
                write!(
                    f,
                    "{keys} keys: accept at most {MAX_KEYS}, those of sessions that still last"
                )
            }
            Self::Name { name } => {
                write!(f, "{name:?} is no name for a cookie: take letters, digits, - and _")
            }
            Self::SameName { name } => write!(
                f,
                "the application's cookie is named {name:?} as the balancer's: rename one of them"
            ),
            Self::Lifetime { lifetime } => {
                write!(f, "a lifetime of {lifetime:?}: set it to between 1 s and 7 days")
            }
            Self::Path { path } => write!(
                f,
                "{path:?} is no path for a cookie: begin with / and leave out spaces and ;"
            ),
            Self::Domain { domain } => {
                write!(f, "{domain:?} is no domain for a cookie: take a host's name")
            }
            Self::InsecureSameSiteNone => {
                f.write_str("SameSite=None without Secure: browsers reject it, so set both")
            }
            Self::Prefix { name } => write!(
                f,
                "{name:?} asks for Secure, and with __Host- for path / and no domain: set them so, \
                 or take another name"
            ),
        }
    }
}

impl std::error::Error for InvalidSessions {}
