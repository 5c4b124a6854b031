use std::error::Error as StdError;

use super::{Attempt, Attempts, OnResponse, Track};

/// A request that stores its [`Attempts`].
///
/// `http::Request` stores them in its extensions. Another type of request stores them in a field;
/// wrap the balancer's tracker in [`Following`], so that the balancer reads it.
#[diagnostic::on_unimplemented(
    message = "requests of type `{Self}` do not carry their attempts",
    note = "implement `Carry` with a field of type `Option<Attempts>`; `http::Request` implements it"
)]
pub trait Carry {
    /// Returns the attempts so far; `None` on a first attempt without a layer that records it.
    fn attempts(&self) -> Option<&Attempts>;

    /// Stores the attempts so far in the request.
    fn carry(&mut self, attempts: Attempts);
}

/// The part of a tracker that reads the earlier attempts of a request.
///
/// It complements [`Track`]. By default, every request is on its first attempt.
#[diagnostic::on_unimplemented(
    note = "wrap the tracker in `Following` for requests that `Carry` their attempts, or write `impl<Req> Follow<Req> for` it"
)]
pub trait Follow<Req> {
    /// Returns the request's attempts so far, if it carries them.
    #[inline]
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        let _ = request;
        None
    }
}

impl<C, Req> Follow<Req> for OnResponse<C> {}

/// A tracker for requests that [`Carry`] their attempts. The inner tracker does everything else.
///
/// ```
/// use tower_lb::{
///     Balancer,
///     outcome::{Attempts, Carry, Following, OnResponse, ResultOnly},
/// };
///
/// #[derive(Clone)]
/// struct Query {
///     text: String,
///     attempts: Option<Attempts>,
/// }
///
/// impl Carry for Query {
///     fn attempts(&self) -> Option<&Attempts> {
///         self.attempts.as_ref()
///     }
///
///     fn carry(&mut self, attempts: Attempts) {
///         self.attempts = Some(attempts);
///     }
/// }
///
/// let builder = Balancer::builder().track(Following::new(OnResponse::new(ResultOnly)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Following<T>(T);

impl<T> Following<T> {
    /// Creates a tracker that follows requests, and tracks their responses with `tracker`.
    pub fn new(tracker: T) -> Self {
        Self(tracker)
    }
}

impl<T, Req: Carry> Follow<Req> for Following<T> {
    #[inline]
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        request.attempts()
    }
}

impl<T: Track<Response>, Response> Track<Response> for Following<T> {
    type Response = T::Response;

    #[inline]
    fn response(&self, response: Response, attempt: Attempt) -> T::Response {
        self.0.response(response, attempt)
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        self.0.error(error, attempt);
    }
}
