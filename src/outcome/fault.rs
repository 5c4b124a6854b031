//! Whose fault an error is, and whether the endpoint has processed the request.
//!
//! This is the one file that looks into the errors of other crates. `docs/errors.md` has the table.

use std::{error::Error as StdError, io};

use super::{Bound, CallerError, Elapsed};
use crate::error::chain;

/// What an error says beyond "the attempt failed".
// Without the client, fewer kinds are found.
#[cfg_attr(not(feature = "http-client"), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The caller's request is invalid, or its body failed. Every endpoint would get the same.
    Caller,
    /// This process cannot send the request, for example because it cannot be signed or because the
    /// client library does not support it.
    Local,
    /// The endpoint has not processed the request: nothing was sent, or the endpoint has said that.
    Unsent,
    /// The endpoint refused the request without processing it, because it accepts no more at once.
    Refused,
}

impl Fault {
    /// Returns the fault that the outermost telling error of the chain states; `None` if the
    /// endpoint failed and may have processed the request.
    ///
    /// The outermost decides, because the source of a failed request body may be any error of the
    /// caller's own connection, such as a stream that the caller has reset.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        chain(error).find_map(of_one)
    }

    /// Returns true if the error says nothing about the endpoint.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Caller | Self::Local)
    }
}

fn of_one(error: &(dyn StdError + 'static)) -> Option<Fault> {
    if error.is::<CallerError>() {
        return Some(Fault::Caller);
    }
    if let Some(elapsed) = error.downcast_ref::<Elapsed>() {
        return (elapsed.bound() == Bound::Connect).then_some(Fault::Unsent);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // Only a refused connection is certainly unsent: a host may also become unreachable after
        // the request was sent.
        let is_unsent = error.kind() == io::ErrorKind::ConnectionRefused;
        return is_unsent.then_some(Fault::Unsent);
    }
    #[cfg(feature = "sigv4")]
    if let Some(error) = error.downcast_ref::<crate::error::SignError>() {
        use crate::error::SignError::{Body, Invalid, TooLarge};
        let is_request = matches!(error, Body(_) | Invalid(_) | TooLarge { .. });
        return Some(if is_request { Fault::Caller } else { Fault::Local });
    }
    #[cfg(feature = "tcp")]
    if let Some(error) = error.downcast_ref::<crate::error::RelayError>() {
        use crate::error::RelayErrorKind::{
            Connect, Local, Loop, NoClient, ProxyHeader, Tls, UnknownName,
        };
        return Some(match error.kind() {
            Local => Fault::Local,
            // Another target may be reached, also if the address of this one is wrong.
            Connect | ProxyHeader | Tls | Loop => Fault::Unsent,
            UnknownName | NoClient => Fault::Caller,
        });
    }
    #[cfg(feature = "http-client")]
    if let Some(fault) = wire::of_one(error) {
        return Some(fault);
    }
    None
}

/// Returns true if the error is a timeout that the HTTP client detected.
pub(super) fn is_client_timeout(error: &(dyn StdError + 'static)) -> bool {
    #[cfg(feature = "http-client")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return error.is_timeout();
    }
    let _ = error;
    false
}

/// The errors of the HTTP client and of the libraries below it. reqwest and tonic have them as
/// sources.
#[cfg(feature = "http-client")]
mod wire {
    use std::error::Error as StdError;

    use hyper_util::client::legacy;

    use super::Fault;
    use crate::error::{ClientError, ClientErrorKind};

    pub(super) fn of_one(error: &(dyn StdError + 'static)) -> Option<Fault> {
        None.or_else(|| error.downcast_ref().map(of_client))
            .or_else(|| error.downcast_ref().map(of_hyper))
            .or_else(|| error.downcast_ref().map(of_h2))
            .or_else(|| error.downcast_ref().map(of_legacy))
            .flatten()
    }

    fn of_client(error: &ClientError) -> Option<Fault> {
        match error.kind() {
            ClientErrorKind::Connect | ClientErrorKind::Tls => Some(Fault::Unsent),
            // The source may know that the endpoint refused the stream.
            ClientErrorKind::Unsent => match error.source().and_then(Fault::of) {
                Some(Fault::Refused) => Some(Fault::Refused),
                _ => Some(Fault::Unsent),
            },
            ClientErrorKind::Busy => Some(Fault::Refused),
            ClientErrorKind::Unsupported => Some(Fault::Local),
            ClientErrorKind::InvalidRequest | ClientErrorKind::RequestBody => Some(Fault::Caller),
            // The source may know that the stream was refused.
            ClientErrorKind::Connection => None,
        }
    }

    /// hyper-util says only whether it could not connect. Its other errors have a source, which
    /// tells more, unless the client refuses the request: its version, its method with this
    /// version, or a URI without a host.
    fn of_legacy(error: &legacy::Error) -> Option<Fault> {
        match error.source() {
            _ if error.is_connect() => Some(Fault::Unsent),
            Some(_) => None,
            None => Some(Fault::Local),
        }
    }

    fn of_hyper(error: &hyper::Error) -> Option<Fault> {
        // The request was not written (`TrySendError::take_message` would return it), or the
        // connection had closed before it was ready for a request.
        if error.is_canceled() || error.is_closed() {
            return Some(Fault::Unsent);
        }
        // The end of the connection's task, as at the end of a runtime, is an error of the user
        // too, and only its text tells it apart.
        if !error.is_user() || error.to_string() == "dispatch task is gone" {
            return None;
        }
        // A body that ends before its declared length is "aborted". The other errors of the user
        // that have a source are errors of the body.
        let is_body = error.is_body_write_aborted() || error.source().is_some();
        Some(if is_body { Fault::Caller } else { Fault::Local })
    }

    /// The reasons `NO_ERROR` and `ENHANCE_YOUR_CALM` prove nothing by themselves: a server may
    /// reset a stream with them after it has processed the request.
    fn of_h2(error: &h2::Error) -> Option<Fault> {
        let reason = error.reason();
        if error.is_go_away() {
            // h2 returns a received GOAWAY only for streams above the last one that the server has
            // processed or will process (RFC 9113, 6.8). Those below continue.
            return error.is_remote().then_some(match reason {
                Some(h2::Reason::ENHANCE_YOUR_CALM) => Fault::Refused,
                _ => Fault::Unsent,
            });
        }
        if error.is_reset() {
            return match reason {
                // RFC 9113, 8.7.
                Some(h2::Reason::REFUSED_STREAM) if error.is_remote() => Some(Fault::Refused),
                _ if error.is_remote() || error.is_library() => None,
                // hyper resets a stream only if the request body has failed.
                _ => Some(Fault::Caller),
            };
        }
        // An error without a reason is a misuse of h2: the request cannot be expressed in HTTP/2.
        (reason.is_none() && !error.is_io()).then_some(Fault::Local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoxError;

    fn caller(source: impl Into<BoxError>) -> BoxError {
        CallerError::new(source).into()
    }

    #[test]
    fn the_outermost_error_decides() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Fault::of(&refused()), Some(Fault::Unsent));
        assert_eq!(Fault::of(&*caller(refused())), Some(Fault::Caller));
        assert_eq!(Fault::of(&io::Error::other(caller(refused()))), Some(Fault::Caller));
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(Fault::of(&reset), None);
    }

    #[cfg(feature = "http-client")]
    #[test]
    fn the_client_says_whose_fault_its_errors_are() {
        use crate::error::{ClientError, ClientErrorKind as Kind};
        let table = [
            (Kind::Connect, Some(Fault::Unsent)),
            (Kind::Tls, Some(Fault::Unsent)),
            (Kind::Unsent, Some(Fault::Unsent)),
            (Kind::Busy, Some(Fault::Refused)),
            (Kind::Unsupported, Some(Fault::Local)),
            (Kind::InvalidRequest, Some(Fault::Caller)),
            (Kind::RequestBody, Some(Fault::Caller)),
            (Kind::Connection, None),
        ];
        for (kind, fault) in table {
            assert_eq!(Fault::of(&ClientError::new(kind, "source")), fault, "{kind:?}");
        }
    }
}
