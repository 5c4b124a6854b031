use std::{error::Error as StdError, io};

/// Returns an error and its sources.
///
/// An `io::Error` that wraps another error does not return that one as a source, so it is read by
/// `get_ref`.
pub(crate) fn chain<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}
