use std::{error::Error as StdError, fmt, sync::Arc};

use aws_credential_types::provider::error::CredentialsError;

use crate::{BoxError, error::chain, escape::Escaped};

/// Why a request could not be signed. It was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignError {
    /// There are no credentials.
    Credentials(Arc<CredentialsError>),
    /// The host of the request tells no region, and none is set.
    NoRegion {
        /// The host.
        host: Box<str>,
    },
    /// The request has no host, neither in its URI nor in a header.
    NoHost,
    /// The body is larger than is read for signing.
    TooLarge {
        /// How many bytes it may have.
        limit: usize,
    },
    /// The body could not be read.
    Body(BoxError),
    /// The request or the credentials have something in them that can't be signed or sent.
    Invalid(BoxError),
}

impl SignError {
    /// True if it is among the error and its sources.
    pub(crate) fn is_in(error: &(dyn StdError + 'static)) -> bool {
        chain(error).any(|error| error.is::<Self>())
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is not signed: ")?;
        match self {
            Self::Credentials(_) => f.write_str("no credentials"),
            Self::NoRegion { host } => {
                let host = Escaped(host);
                write!(f, "{host} tells no region; set one with SignLayer::region")
            }
            Self::NoHost => f.write_str("it has no host"),
            Self::TooLarge { limit } => write!(f, "its body has more than {limit} bytes"),
            Self::Body(_) => f.write_str("its body can't be read"),
            Self::Invalid(_) => f.write_str("it can't be"),
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
