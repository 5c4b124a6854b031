use std::{error::Error as StdError, io};

#[cfg(feature = "http-client")]
use crate::error::{ClientError, ClientErrorKind};
use crate::{
    Error,
    error::chain,
    limit::Rejected,
    outcome::{Bound, CallerError, Elapsed, Outcome},
};

/// Returns the class of an error for the field `error.type`: a fixed set of names.
///
/// The innermost error that is known says most: `connection_refused` rather than `connect`.
pub(super) fn error_type(error: &(dyn StdError + 'static)) -> &'static str {
    let known = chain(error).filter_map(of_one).last();
    known.unwrap_or_else(|| match Outcome::of_error(error) {
        Outcome::Success => "_OTHER",
        outcome => outcome.as_str(),
    })
}

fn of_one(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    if let Some(elapsed) = error.downcast_ref::<Elapsed>() {
        return Some(match elapsed.bound() {
            Bound::Connect => "connect_timeout",
            _ => "timeout",
        });
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return of_io(error.kind());
    }
    #[cfg(feature = "http-client")]
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return Some(of_client(error.kind()));
    }
    if error.is::<Rejected>() {
        return Some("rejected");
    }
    if error.is::<CallerError>() {
        return Some("caller");
    }
    match error.downcast_ref::<Error>()? {
        Error::NoEndpoints { .. } | Error::Closed { .. } => Some("no_endpoints"),
        Error::Unavailable(_) => Some("unavailable"),
        Error::Overloaded { .. } => Some("overloaded"),
        Error::Refused { .. } => Some("refused"),
        Error::Endpoint { .. } => None,
    }
}

fn of_io(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::ConnectionRefused => Some("connection_refused"),
        io::ErrorKind::ConnectionReset => Some("connection_reset"),
        io::ErrorKind::ConnectionAborted => Some("connection_aborted"),
        io::ErrorKind::BrokenPipe => Some("broken_pipe"),
        io::ErrorKind::HostUnreachable => Some("host_unreachable"),
        io::ErrorKind::NetworkUnreachable => Some("network_unreachable"),
        io::ErrorKind::TimedOut => Some("timeout"),
        io::ErrorKind::UnexpectedEof => Some("unexpected_eof"),
        _ => None,
    }
}

#[cfg(feature = "http-client")]
fn of_client(kind: ClientErrorKind) -> &'static str {
    match kind {
        ClientErrorKind::Connect => "connect",
        ClientErrorKind::Tls => "tls",
        ClientErrorKind::Busy => "busy",
        ClientErrorKind::Unsent => "unsent",
        ClientErrorKind::InvalidRequest => "invalid_request",
        ClientErrorKind::Unsupported => "unsupported",
        ClientErrorKind::RequestBody => "request_body",
        ClientErrorKind::Connection => "connection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_known_error_names_the_type() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(error_type(&refused()), "connection_refused");
        assert_eq!(error_type(&io::Error::other(refused())), "connection_refused");
        assert_eq!(error_type(&io::Error::other("?")), "transport_failure");
        assert_eq!(error_type(&Error::NoEndpoints { balancer: None }), "no_endpoints");
        #[cfg(feature = "http-client")]
        {
            let failed = |source| ClientError::new(ClientErrorKind::Connect, source);
            assert_eq!(error_type(&failed(refused())), "connection_refused");
            assert_eq!(error_type(&failed(io::Error::other("?"))), "connect");
        }
    }
}
