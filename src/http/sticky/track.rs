use std::error::Error as StdError;

use http::{HeaderValue, Response, header::SET_COOKIE};

use super::{
    Sessions,
    binding::{Bindings, NO_BINDING},
    cookie::set_cookie,
};
use crate::{
    http::UntilBodyEnd,
    outcome::{Attempt, Attempts, Follow, Track},
};

/// A balancer of HTTP requests with sticky sessions.
pub type StickyBalancer<S, St, T = UntilBodyEnd> = crate::Balancer<S, St, StickyTrack<T>>;

/// Adds session cookies to responses and passes everything else to another tracker; made by
/// [`Sessions::track`].
///
/// Cookies that the application sets are kept. A cache between the balancer and its clients must
/// not store responses with `Set-Cookie`: otherwise all clients that get the response share a
/// session.
#[derive(Clone, Debug)]
pub struct StickyTrack<T> {
    sessions: Sessions,
    inner: T,
}

impl<T> StickyTrack<T> {
    pub(super) fn new(sessions: Sessions, inner: T) -> Self {
        Self { sessions, inner }
    }

    fn cookies<B>(
        &self,
        response: &Response<B>,
        attempt: &Attempt,
    ) -> impl Iterator<Item = HeaderValue> + use<T, B> {
        let binding = self.binding_of(response, attempt);
        let cookies = binding.map(|binding| self.sessions.cookies(attempt.endpoint(), binding));
        cookies.into_iter().flatten()
    }

    /// Returns the binding of the session that is to be issued, if one is.
    fn binding_of<B>(&self, response: &Response<B>, attempt: &Attempt) -> Option<u64> {
        let application = self.sessions.config().application.as_deref();
        let set = application.and_then(|name| set_cookie(response.headers(), name));
        let binding = match set {
            Some(value) if Bindings::can_be_bound_to(value) => self.sessions.key()?.binding(value),
            // The application ends its session, or sets a cookie that is too long for one.
            Some(_) => NO_BINDING,
            None => attempt.metadata(),
        };
        if binding == NO_BINDING || response.status().is_server_error() {
            return None;
        }
        Some(binding)
    }
}

impl<T, B, Tracked> Track<Response<B>> for StickyTrack<T>
where
    T: Track<Response<B>, Response = Response<Tracked>>,
{
    type Response = Response<Tracked>;

    fn response(&self, response: Response<B>, attempt: Attempt) -> Self::Response {
        let cookies = self.cookies(&response, &attempt);
        let mut response = self.inner.response(response, attempt);
        for cookie in cookies {
            // It fails only if the response has the maximum number of headers; then there is no
            // session.
            let _ = response.headers_mut().try_append(SET_COOKIE, cookie);
        }
        response
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        self.inner.error(error, attempt);
    }
}

impl<T: Follow<Req>, Req> Follow<Req> for StickyTrack<T> {
    #[inline]
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        self.inner.attempts(request)
    }
}
