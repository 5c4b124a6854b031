use std::error::Error as StdError;

use super::{Attempt, Attempts, OnResponse, Track};

/// A request that has room for its [`Attempts`].
///
/// `http::Request` has them in its extensions. A request type of your own keeps them in a field;
/// for the balancer to look there, wrap its tracker into [`Following`].
#[diagnostic::on_unimplemented(
    message = "requests of type `{Self}` do not carry their attempts",
    note = "implement `Carry` with a field of type `Option<Attempts>`; `http::Request` implements it"
)]
pub trait Carry {
    /// What became of the request so far; `None` on a first attempt that nobody takes note of.
    fn attempts(&self) -> Option<&Attempts>;

    /// Hands the request what became of it so far.
    fn carry(&mut self, attempts: Attempts);
}

/// The side of a tracker that finds out what became of a request before the balancer got it.
///
/// Companion of [`Track`]. Without a method of its own, a tracker takes every request for new.
#[diagnostic::on_unimplemented(
    note = "wrap the tracker in `Following` for requests that `Carry` their attempts, or write `impl<Req> Follow<Req> for` it"
)]
pub trait Follow<Req> {
    /// The request's attempts so far, if it carries them.
    #[inline]
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        let _ = request;
        None
    }
}

impl<C, Req> Follow<Req> for OnResponse<C> {}

/// A tracker for requests that [`Carry`] their attempts; all else is up to the tracker inside.
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
    /// Follows requests, and tracks their responses by `tracker`.
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
