use std::{error::Error as StdError, fmt, sync::Arc};

use aws_credential_types::provider::error::CredentialsError;

use crate::{BoxError, escape::Escaped};

/// A request could not be signed and was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignError {
    /// The provider has returned no credentials.
    Credentials(Arc<CredentialsError>),
    /// The host of the request does not contain a region, and no region is set.
    NoRegion {
        /// The host.
        host: Box<str>,
    },
    /// The request has a host neither in its URI nor in a header.
    NoHost,
    /// The body exceeds [`max_body`](crate::http::sigv4::SignLayer::max_body).
    TooLarge {
        /// The maximum number of bytes.
        limit: usize,
    },
    /// Reading the body failed.
    Body(BoxError),
    /// The request or the credentials contain characters that cannot be signed or sent.
    Invalid(BoxError),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was not signed: ")?;
        match self {
            Self::Credentials(_) => f.write_str("no credentials"),
            Self::NoRegion { host } => {
                let host = Escaped(host);
                write!(f, "{host} contains no region: set one with `SignLayer::region`")
            }
            Self::NoHost => f.write_str("it has no host: set it in the URI or in a `Host` header"),
            Self::TooLarge { limit } => {
                write!(f, "its body exceeds `max_body`, which is {limit} bytes")
            }
            Self::Body(_) => f.write_str("reading its body failed"),
            Self::Invalid(_) => f.write_str("it or the credentials contain invalid characters"),
        }
    }
}

impl StdError for SignError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Credentials(cause) => Some(&**cause),
            Self::Body(cause) | Self::Invalid(cause) => Some(&**cause),
            Self::NoRegion { .. } | Self::NoHost | Self::TooLarge { .. } => None,
        }
    }
}
