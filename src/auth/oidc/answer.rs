use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{escape::Escaped, http_semantics::text_response};

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
    /// The provider answered with an error.
    Provider(String),
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
            Self::Provider(_) => {
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
            Self::Provider(_) => "the identity provider answered with an error\n",
            Self::TooLarge => "the claims of the user are too large\n",
            Self::Internal => "the login failed\n",
        };
        let mut response = text_response(self.status(), text, None);
        forbid_caching(&mut response);
        response
    }

    /// Logs the failure: at `WARN` if the provider or this program is at fault.
    pub(super) fn log(&self, realm: &str) {
        let status = self.status().as_u16();
        match self {
            Self::Unauthenticated => tracing::debug!(realm, status, "login required"),
            Self::Refused(reason) => tracing::debug!(realm, status, reason, "login refused"),
            Self::Unreachable(cause) | Self::Provider(cause) => {
                tracing::warn!(realm, status, error = %Escaped(cause), "login failed");
            }
            Self::TooLarge => tracing::warn!(realm, status, error = "too large", "login failed"),
            Self::Internal => tracing::error!(realm, status, error = "internal", "login failed"),
        }
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
