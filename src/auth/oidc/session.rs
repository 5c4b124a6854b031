use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How far the clocks of two load balancers may differ, in seconds.
pub(super) const CLOCK_SKEW: u64 = 60;

/// The shortest time between two refreshes of a session, in seconds, whatever the lifetime of the
/// provider's tokens.
pub(super) const REFRESH_SECONDS: u64 = 30;

/// The most bytes of claims and access token, which targets get in header fields.
const MAX_IDENTITY_BYTES: usize = 11 << 10;

/// A login, as it is sealed in the session's cookies. All times are seconds since the Unix epoch.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    /// When the user has to log in again.
    #[serde(rename = "e")]
    pub(super) end: u64,
    #[serde(rename = "s")]
    pub(super) subject: String,
    #[serde(rename = "c")]
    pub(super) claims: Map<String, Value>,
    #[serde(rename = "a")]
    pub(super) access_token: String,
    /// When the access token expires, if the provider has said so.
    #[serde(rename = "x")]
    pub(super) access_end: Option<u64>,
    #[serde(rename = "r")]
    pub(super) refresh_token: Option<String>,
}

/// What a session is good for at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    Valid,
    /// The access token has expired, and can be replaced.
    NeedsRefresh,
    Ended,
}

impl Session {
    /// Returns the validity at `now`, of a session that lasts for at most `timeout` seconds.
    pub(super) fn validity(&self, now: u64, timeout: u64) -> Validity {
        // One that ends too late was sealed under a longer timeout, or by a clock that was wrong.
        if now >= self.end || self.end > now.saturating_add(timeout + CLOCK_SKEW) {
            return Validity::Ended;
        }
        match self.access_end {
            Some(end) if now >= end && self.refresh_token.is_some() => Validity::NeedsRefresh,
            // Without a refresh token, a session lasts until its own end.
            _ => Validity::Valid,
        }
    }

    /// Returns the session as it is, to be refreshed again after a pause.
    pub(super) fn retried_later(mut self, now: u64) -> Self {
        self.access_end = Some(now.saturating_add(REFRESH_SECONDS));
        self
    }

    /// Returns whether targets can be given the claims and the access token.
    pub(super) fn fits(&self) -> bool {
        let claims = serde_json::to_vec(&self.claims).map_or(usize::MAX, |text| text.len());
        claims.saturating_add(self.access_token.len()) <= MAX_IDENTITY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(end: u64, access_end: Option<u64>, refresh: bool) -> Session {
        Session {
            end,
            subject: "a".into(),
            claims: Map::new(),
            access_token: "token".into(),
            access_end,
            refresh_token: refresh.then(|| "refresh".into()),
        }
    }

    #[test]
    fn the_end_is_inside_and_cannot_be_later_than_the_timeout() {
        let validity = |end, now| session(end, None, false).validity(now, 100);
        assert_eq!(validity(1100, 1000), Validity::Valid);
        assert_eq!(validity(1100, 1099), Validity::Valid);
        assert_eq!(validity(1100, 1100), Validity::Ended);
        // The clock has jumped back, or the timeout has become shorter.
        assert_eq!(validity(1100, 940), Validity::Valid);
        assert_eq!(validity(1100, 939), Validity::Ended);
        assert_eq!(validity(u64::MAX, u64::MAX - 1), Validity::Valid);
    }

    #[test]
    fn an_expired_access_token_is_replaced_if_that_is_possible() {
        let validity = |access_end, refresh| session(1100, access_end, refresh).validity(1000, 100);
        assert_eq!(validity(Some(1000), true), Validity::NeedsRefresh);
        assert_eq!(validity(Some(1001), true), Validity::Valid);
        assert_eq!(validity(Some(1000), false), Validity::Valid);
        assert_eq!(validity(None, true), Validity::Valid);
        assert_eq!(session(1000, Some(900), true).validity(1000, 100), Validity::Ended);
    }

    #[test]
    fn claims_and_token_have_a_limit() {
        let mut session = session(1, None, false);
        assert!(session.fits());
        session.access_token = "x".repeat((11 << 10) - 2);
        assert!(session.fits());
        session.claims.insert("a".into(), 1.into());
        assert!(!session.fits());
    }
}
