use std::error::Error as StdError;

use super::body::BodyFailed;
use crate::error::{ClientError, ClientErrorKind, chain};

/// Returns the error of a request that hyper did not hand back.
pub(super) fn of_sent(error: hyper::Error) -> ClientError {
    ClientError::new(kind_of_sent(&error), error)
}

/// Returns the error of a request that hyper handed back, so that nothing of it was sent.
pub(super) fn of_unsent(error: hyper::Error) -> ClientError {
    #[cfg(feature = "tls")]
    if chain(&error).any(rejects_certificate) {
        return ClientError::new(ClientErrorKind::Tls, error);
    }
    ClientError::new(ClientErrorKind::Unsent, error)
}

fn kind_of_sent(error: &hyper::Error) -> ClientErrorKind {
    if error.is_body_write_aborted() || chain(error).any(|error| error.is::<BodyFailed>()) {
        return ClientErrorKind::RequestBody;
    }
    #[cfg(feature = "tls")]
    if chain(error).any(rejects_certificate) {
        return ClientErrorKind::Tls;
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

/// Returns whether the endpoint rejects the client's certificate, or demands one.
///
/// With TLS 1.3 the handshake of the client is over by then, so the alert is the first that it
/// reads. The endpoint has read no request.
#[cfg(feature = "tls")]
fn rejects_certificate(error: &(dyn StdError + 'static)) -> bool {
    use rustls::{AlertDescription as Alert, Error};

    if let Some(io) = error.downcast_ref::<h2::Error>().and_then(h2::Error::get_io) {
        return chain(io).any(rejects_certificate);
    }
    matches!(
        error.downcast_ref(),
        Some(Error::AlertReceived(
            Alert::CertificateRequired
                | Alert::NoCertificate
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
        ))
    )
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
