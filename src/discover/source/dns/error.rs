use std::{error::Error as StdError, fmt};

use hickory_resolver::{
    net::{DnsError as Semantic, NetError},
    proto::op::ResponseCode,
};

use crate::{discover::RejectedAddress, escape::Escaped};

/// Why DNS gave no endpoints.
#[derive(Debug)]
#[non_exhaustive]
pub enum DnsError {
    /// The system's configuration could not be read, or no resolver made by it.
    Configuration(NetError),
    /// No server was given to ask.
    NoServers,
    /// The answer is that there is no such name (NXDOMAIN), no such record, or no such service.
    NotFound(Option<NetError>),
    /// There is no answer, or one that is an error: SERVFAIL, for example.
    Failed(NetError),
    /// The answer has addresses, and the [`AddressFilter`](crate::discover::AddressFilter) rejects
    /// all of them. This is the first.
    Rejected(RejectedAddress),
    /// The port is 0, or that of all SRV records.
    PortZero,
    /// The answer has more than this many SRV records.
    TooManyServices {
        /// The most that are followed.
        limit: usize,
    },
    /// There are more than this many endpoints.
    TooManyEndpoints {
        /// The most that are taken.
        limit: usize,
    },
}

impl DnsError {
    pub(super) fn is_negative(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

impl From<NetError> for DnsError {
    fn from(error: NetError) -> Self {
        if error.is_nx_domain() || is_no_data(&error) {
            Self::NotFound(Some(error))
        } else {
            Self::Failed(error)
        }
    }
}

/// The name is there, and has no record of this type. A referral to other servers says no such
/// thing.
fn is_no_data(error: &NetError) -> bool {
    let NetError::Dns(Semantic::NoRecordsFound(answer)) = error else { return false };
    answer.response_code == ResponseCode::NoError && (answer.soa.is_some() || answer.ns.is_none())
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(error) => {
                write!(f, "the resolver can't be configured: {}", Escaped(error))
            }
            Self::NoServers => f.write_str("no DNS server was given to ask; give one at least"),
            Self::NotFound(Some(error)) if error.is_nx_domain() => f.write_str("no such name"),
            Self::NotFound(_) => f.write_str("no such record"),
            Self::Failed(error) => write!(f, "{}", Escaped(error)),
            Self::Rejected(rejected) => write!(f, "{rejected}"),
            Self::PortZero => f.write_str("the port is 0, which no endpoint has"),
            Self::TooManyServices { limit } => write!(f, "more than {limit} SRV records"),
            Self::TooManyEndpoints { limit } => write!(f, "more than {limit} endpoints"),
        }
    }
}

impl StdError for DnsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Configuration(error) | Self::Failed(error) | Self::NotFound(Some(error)) => {
                Some(error)
            }
            Self::NoServers
            | Self::NotFound(None)
            | Self::Rejected(_)
            | Self::PortZero
            | Self::TooManyServices { .. }
            | Self::TooManyEndpoints { .. } => None,
        }
    }
}
