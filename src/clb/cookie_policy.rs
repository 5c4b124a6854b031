use std::time::Duration;

use crate::{
    ConfigError,
    http::sticky::{SameSite, SessionKey, Sessions, WhenDraining},
};

/// How requests of one client stay at one instance: the stickiness policies of a listener.
///
/// | setting | of AWS | here |
/// |---|---|---|
/// | duration-based | `AWSELB`, not renewed; the load balancer does not check its age | [`duration`](Self::duration): not renewed, and a session ends with its duration |
/// | the same without `CookieExpirationPeriod` | until the browser is closed | [`browser_session`](Self::browser_session): the same, and at most 7 days without a request |
/// | application-controlled | as long as the application's cookie | [`application`](Self::application): as long as it has the same value, at most 7 days without a request |
/// | `AWSELBCORS` | with `AWSELB` | the same, by listeners of HTTPS |
/// | content | an identifier of the instance | an identifier that only holders of the key can compute |
///
/// The instance of a session that is full does not keep its requests: they go to another one, and
/// the session stays. The sessions of an unhealthy or removed instance move.
#[derive(Clone, Debug)]
pub struct CookiePolicy {
    key: SessionKey,
    also_accepted: Vec<SessionKey>,
    name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Duration(Duration),
    BrowserSession,
    Application(String),
}

/// The longest lifetime that the cookie can have.
const ONE_WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl CookiePolicy {
    /// Sticks for `duration`, from 1 s to 7 days, since the first request:
    /// `CookieExpirationPeriod`.
    #[must_use]
    pub fn duration(key: SessionKey, duration: Duration) -> Self {
        Self::new(key, Kind::Duration(duration))
    }

    /// Sticks until the browser is closed.
    #[must_use]
    pub fn browser_session(key: SessionKey) -> Self {
        Self::new(key, Kind::BrowserSession)
    }

    /// Sticks while the client has the same value of a cookie that the application sets:
    /// `CookieName`. Requests without it are balanced.
    #[must_use]
    pub fn application(key: SessionKey, name: impl Into<String>) -> Self {
        Self::new(key, Kind::Application(name.into()))
    }

    fn new(key: SessionKey, kind: Kind) -> Self {
        Self { key, also_accepted: Vec::new(), name: "AWSELB".to_owned(), kind }
    }

    setters! {
        /// Sets the name of the load balancer's cookie. The second one, for requests from other
        /// sites, has the same name with `CORS` at the end. Default `AWSELB`.
        pub fn cookie_name(name: impl Into<String>) => name = name.into();
    }

    /// Also accepts cookies that another key has signed, and replaces them; see
    /// [`SessionsBuilder::also_accept`](crate::http::sticky::SessionsBuilder::also_accept).
    #[must_use]
    pub fn also_accept(mut self, key: SessionKey) -> Self {
        self.also_accepted.push(key);
        self
    }

    /// Returns the sessions of a listener, with the second cookie if the listener is `encrypted`:
    /// browsers accept that one over HTTPS only.
    pub(super) fn sessions(&self, encrypted: bool) -> Result<Sessions, ConfigError> {
        let mut sessions = Sessions::builder(self.key.clone())
            .cookie(&self.name)
            .secure(false)
            .same_site(SameSite::Lax)
            .when_draining(WhenDraining::Move);
        for key in &self.also_accepted {
            sessions = sessions.also_accept(key.clone());
        }
        if encrypted {
            sessions = sessions.cross_site_copy(format!("{}CORS", self.name));
        }
        let sessions = match &self.kind {
            Kind::Duration(duration) => sessions.lifetime(*duration).renewed(false),
            Kind::BrowserSession => sessions.lifetime(ONE_WEEK).browser_session(),
            Kind::Application(name) => sessions.lifetime(ONE_WEEK).browser_session().follow(name),
        };
        sessions.build().map_err(|error| error.within("cookies"))
    }
}
