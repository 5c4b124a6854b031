use std::error::Error as StdError;

use super::body::BodyFailed;
use crate::error::{ClientError, ClientErrorKind, chain};

/// Returns the error of a request that hyper did not hand back.
pub(super) fn of_sent(error: hyper::Error) -> ClientError {
    ClientError::new(kind_of_sent(&error), error)
}

fn kind_of_sent(error: &hyper::Error) -> ClientErrorKind {
    if error.is_body_write_aborted() || chain(error).any(|error| error.is::<BodyFailed>()) {
        return ClientErrorKind::RequestBody;
    }
    if let Some(error) = chain(error).find_map(|error| error.downcast_ref::<h2::Error>()) {
        return kind_of_h2(error);
    }
    // "User" is also what hyper calls the end of the runtime, and that error has a source.
    if error.is_user() && error.source().is_none() {
        return ClientErrorKind::InvalidRequest;
    }
    ClientErrorKind::Connection
}

fn kind_of_h2(error: &h2::Error) -> ClientErrorKind {
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if error.is_remote() && (is_refused || error.is_go_away()) {
        // RFC 9113, 8.7. h2 gives this error to the streams above the last one of a GOAWAY only.
        ClientErrorKind::Unsent
    } else if error.is_reset() && !error.is_remote() && !error.is_library() {
        // hyper resets a stream when its request body fails.
        ClientErrorKind::RequestBody
    } else if error.reason().is_none() && !error.is_io() {
        // h2 refuses to encode the request.
        ClientErrorKind::InvalidRequest
    } else {
        ClientErrorKind::Connection
    }
}
