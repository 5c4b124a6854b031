use std::{error::Error as StdError, fmt};

use hickory_resolver::{
    net::{DnsError as Semantic, NetError},
    proto::op::ResponseCode,
};

use crate::{discover::RejectedAddress, escape::Escaped};

/// Why a lookup returned no endpoints.
#[derive(Debug)]
pub(super) enum DnsError {
    /// The name does not exist (NXDOMAIN), or it has no such record or service.
    NotFound(Option<NetError>),
    /// There is no answer, or the answer is an error such as SERVFAIL.
    Failed(NetError),
    /// The [`AddressFilter`](crate::discover::AddressFilter) rejects all addresses. This is the
    /// first.
    Rejected(RejectedAddress),
    /// The name is an IPv6 address with a zone.
    Zone,
    /// The port is 0, or the port of all SRV records.
    PortZero,
    /// The answer has more SRV records than `limit`.
    TooManyServices { limit: usize },
    /// There are more endpoints than `limit`.
    TooManyEndpoints { limit: usize },
}

impl DnsError {
    /// Returns true if the answer is that there are no endpoints.
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

/// Returns true if the name exists and has no record of this type. A referral to other servers is
/// not such an answer.
fn is_no_data(error: &NetError) -> bool {
    let NetError::Dns(Semantic::NoRecordsFound(answer)) = error else { return false };
    answer.response_code == ResponseCode::NoError && (answer.soa.is_some() || answer.ns.is_none())
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(Some(error)) if error.is_nx_domain() => f.write_str("no such name"),
            Self::NotFound(_) => f.write_str("no such record"),
            Self::Failed(error) => write!(f, "{}", Escaped(error)),
            Self::Rejected(rejected) => write!(f, "{rejected}"),
            Self::Zone => {
                f.write_str("an IPv6 address with a zone is not a name: list it as a `SocketAddr`")
            }
            Self::PortZero => f.write_str("the port is 0, which is not a valid port"),
            Self::TooManyServices { limit } => write!(f, "more than {limit} SRV records"),
            Self::TooManyEndpoints { limit } => write!(f, "more than {limit} endpoints"),
        }
    }
}

impl StdError for DnsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed(error) | Self::NotFound(Some(error)) => Some(error),
            _ => None,
        }
    }
}
