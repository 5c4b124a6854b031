use http::Request;

use crate::{
    http::UntilBodyEnd,
    outcome::{Attempts, Carry, Follow},
};

/// Carries the attempts in the extensions of the request.
impl<B> Carry for Request<B> {
    #[inline]
    fn attempts(&self) -> Option<&Attempts> {
        self.extensions().get()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.extensions_mut().insert(attempts);
    }
}

impl<C, Req: Carry> Follow<Req> for UntilBodyEnd<C> {
    #[inline]
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        request.attempts()
    }
}
