use std::mem::{self, Discriminant};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{escape::Escaped, http_semantics::text_response, log_limit::LogLimits};

/// Why a request is neither forwarded nor led to the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no session, and none is begun.
    Unauthenticated,
    /// The login cannot be finished: it is forged, replayed, too old, or the provider's tokens are
    /// not valid. The text says why.
    Refused(&'static str),
    /// The provider could not be reached, or its answer could not be used.
    Unreachable(String),
    /// The provider answered with an error that says nothing about the user.
    Provider(String),
    /// The provider no longer accepts the code, the refresh token or the access token.
    Denied(String),
    /// The user's claims and tokens do not fit into header fields or cookies.
    TooLarge,
    /// The system has no random numbers, or a text cannot be sealed.
    Internal,
}

impl Failure {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::Refused(_) => StatusCode::UNAUTHORIZED,
            Self::Unreachable(_) | Self::TooLarge | Self::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Provider(_) | Self::Denied(_) => {
                StatusCode::from_u16(561).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// Returns the response: one constant line that no cache keeps.
    pub(super) fn respond(&self) -> Response<Bytes> {
        let text = match self {
            Self::Unauthenticated => "a login is required\n",
            Self::Refused(_) => "the login is not valid\n",
            Self::Unreachable(_) => "the identity provider could not be reached\n",
            Self::Provider(_) | Self::Denied(_) => "the identity provider answered with an error\n",
            Self::TooLarge => "the claims of the user are too large\n",
            Self::Internal => "the login failed\n",
        };
        let mut response = text_response(self.status(), text, None);
        forbid_caching(&mut response);
        response
    }

    /// Returns whether the provider may answer otherwise later.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Provider(_))
    }

    /// Returns whether a session that cannot be refreshed for this reason has ended.
    pub(super) fn ends_session(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Refused(_))
    }
}

/// Logs failures. At `WARN`, each kind is logged once per minute: an outage of the provider fails
/// every login.
pub(super) struct FailureLog {
    pub(super) realm: String,
    limits: LogLimits<(&'static str, Discriminant<Failure>)>,
}

impl FailureLog {
    pub(super) fn new(realm: String) -> Self {
        Self { realm, limits: LogLimits::default() }
    }

    /// Logs a request that fails: at `WARN` if the provider or this program is at fault.
    pub(super) fn log(&self, failure: &Failure) {
        let (realm, status) = (&*self.realm, failure.status().as_u16());
        match failure {
            Failure::Unauthenticated => tracing::debug!(realm, status, "login required"),
            Failure::Refused(reason) => tracing::debug!(realm, status, reason, "login refused"),
            _ => self.warn(failure, "login failed"),
        }
    }

    /// Logs a session that goes on although its access token could not be replaced.
    pub(super) fn log_kept_session(&self, failure: &Failure) {
        self.warn(failure, "session kept with its old access token");
    }

    /// Logs claims that stay as they are although the access token was replaced.
    pub(super) fn log_kept_claims(&self, failure: &Failure) {
        self.warn(failure, "session kept with its old claims");
    }

    fn warn(&self, failure: &Failure, message: &'static str) {
        let Some(suppressed) = self.limits.pass(&(message, mem::discriminant(failure))) else {
            return;
        };
        let (realm, status) = (&*self.realm, failure.status().as_u16());
        let error = match failure {
            Failure::Unreachable(cause) | Failure::Provider(cause) | Failure::Denied(cause) => {
                cause.as_str()
            }
            Failure::Refused(reason) => reason,
            Failure::TooLarge => "the claims and the access token are too large",
            Failure::Internal => "no random numbers, or a value that no field can have",
            Failure::Unauthenticated => "there is no session",
        };
        tracing::warn!(realm, status, error = %Escaped(error), suppressed, "{message}");
    }
}

/// Returns a redirect to `location` that no cache keeps.
pub(super) fn redirect(
    location: &str,
    cookies: Vec<HeaderValue>,
) -> Result<Response<Bytes>, Failure> {
    let location = HeaderValue::try_from(location).map_err(|_| Failure::Internal)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, location);
    forbid_caching(&mut response);
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn forbid_caching(response: &mut Response<Bytes>) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;
    use tower_lb_test_support::logs::Logs;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_logged_once_per_minute_for_each_kind_of_failure() {
        let (logs, _collecting) = Logs::collect();
        let failures = FailureLog::new("shop".into());
        let down = Failure::Unreachable("down\u{1b}".into());
        for _ in 0..100 {
            failures.log(&down);
            failures.log(&Failure::Provider("error x".into()));
            failures.log_kept_session(&down);
        }
        advance(Duration::from_secs(60)).await;
        failures.log(&down);
        assert_eq!(
            logs.take(),
            [
                "login failed realm=shop status=500 error=down\\u{1b} suppressed=0",
                "login failed realm=shop status=561 error=error x suppressed=0",
                "session kept with its old access token realm=shop status=500 error=down\\u{1b} \
                 suppressed=0",
                "login failed realm=shop status=500 error=down\\u{1b} suppressed=99",
            ]
        );
    }

    #[test]
    fn only_the_provider_ends_a_session() {
        let text = String::new;
        for (failure, expected) in [
            (Failure::Unreachable(text()), (true, false)),
            (Failure::Provider(text()), (true, false)),
            (Failure::Denied(text()), (false, true)),
            (Failure::Refused(""), (false, true)),
            (Failure::TooLarge, (false, false)),
            (Failure::Internal, (false, false)),
        ] {
            assert_eq!((failure.is_temporary(), failure.ends_session()), expected, "{failure:?}");
        }
    }
}
