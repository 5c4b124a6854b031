use std::time::Duration;

use crate::{
    ConfigError,
    http::sticky::{SameSite, SessionKey, Sessions, WhenDraining},
};

/// How requests of one client stay at one target: `stickiness.*`.
///
/// | setting | the ALB's | here |
/// |---|---|---|
/// | `stickiness.type` | `lb_cookie`, `app_cookie` | [`load_balancer_cookie`](Self::load_balancer_cookie), [`application_cookie`](Self::application_cookie) |
/// | duration | 1 s to 7 days, default one day | the same |
/// | cookies | `AWSALB` and `AWSALBCORS`, or `AWSALBAPP-0` to `-3` | the same, and only `AWSALBAPP-0` |
/// | renewal | with every response | after a tenth of the duration |
/// | content | encrypted | an identifier that only holders of the key can compute |
///
/// A cookie is valid in the group that has issued it: the keys of groups are derived from the
/// [`SessionKey`] and the name of the group.
#[derive(Clone, Debug)]
pub struct Stickiness {
    key: SessionKey,
    also_accepted: Vec<SessionKey>,
    cookie: String,
    copy: Option<String>,
    application_cookie: Option<String>,
    duration: Duration,
    secure: bool,
}

const ONE_DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Stickiness {
    /// Sticks by a cookie of the load balancer, for one day: `lb_cookie`.
    #[must_use]
    pub fn load_balancer_cookie(key: SessionKey) -> Self {
        Self {
            key,
            also_accepted: Vec::new(),
            cookie: "AWSALB".into(),
            copy: Some("AWSALBCORS".into()),
            application_cookie: None,
            duration: ONE_DAY,
            secure: false,
        }
    }

    /// Sticks as long as the client has the same value of a cookie that the application sets, for
    /// one day at most: `app_cookie`. Requests without that cookie are balanced.
    #[must_use]
    pub fn application_cookie(key: SessionKey, name: impl Into<String>) -> Self {
        Self {
            cookie: "AWSALBAPP-0".into(),
            copy: None,
            application_cookie: Some(name.into()),
            ..Self::load_balancer_cookie(key)
        }
    }

    setters! {
        /// Sets how long a session lasts without a request, from 1 s to 7 days. Default one day.
        pub fn duration(duration: Duration) => duration = duration;
        /// Sets the name of the load balancer's cookie. Default `AWSALB`, or `AWSALBAPP-0` if an
        /// application's cookie is followed.
        pub fn cookie_name(name: impl Into<String>) => cookie = name.into();
        /// Sets the name of the second cookie, with `SameSite=None; Secure`, for requests from
        /// other sites; `None` sets none. Default `AWSALBCORS`, none if an application's cookie is
        /// followed.
        pub fn cross_site_cookie(name: Option<&str>) => copy = name.map(str::to_owned);
        /// Sets whether browsers send the cookie by HTTPS only. Default false, as the ALB's: a
        /// group may be behind listeners of both protocols.
        pub fn secure(secure: bool) => secure = secure;
    }

    /// Also accepts cookies that another key has signed, and replaces them; see
    /// [`SessionsBuilder::also_accept`](crate::http::sticky::SessionsBuilder::also_accept).
    #[must_use]
    pub fn also_accept(mut self, key: SessionKey) -> Self {
        self.also_accepted.push(key);
        self
    }

    /// Returns the sessions of the group with this name.
    pub(super) fn sessions(&self, group: &str) -> Result<Sessions, ConfigError> {
        let mut sessions = Sessions::builder(self.key.derive(group))
            .cookie(&self.cookie)
            .lifetime(self.duration)
            .secure(self.secure)
            .same_site(SameSite::Lax)
            .when_draining(WhenDraining::Move);
        for key in &self.also_accepted {
            sessions = sessions.also_accept(key.derive(group));
        }
        if let Some(name) = &self.copy {
            sessions = sessions.cross_site_copy(name);
        }
        if let Some(name) = &self.application_cookie {
            let is_reserved =
                ["AWSALB", "AWSALBAPP", "AWSALBTG"].iter().any(|prefix| name.starts_with(prefix));
            if is_reserved {
                let expected = "a name that does not start with AWSALB";
                let error = ConfigError::new("stickiness.application_cookie", expected);
                return Err(error.with_value(name));
            }
            sessions = sessions.follow(name);
        }
        sessions.build().map_err(|error| error.within("stickiness"))
    }
}
