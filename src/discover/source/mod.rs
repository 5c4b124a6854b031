mod address_filter;
#[cfg(any(feature = "consul", feature = "document", feature = "kubernetes"))]
mod bounds;
mod channel;
#[cfg(feature = "cloudmap")]
mod cloud_map;
#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "document")]
mod document;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "http-poll")]
mod http_poll;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "dns", feature = "kubernetes"))]
mod left_out;
mod list;
mod refresh;
mod schedule;
mod sets;
mod source_status;
mod tower;
#[cfg(any(feature = "http-poll", feature = "consul", feature = "kubernetes"))]
mod transport;

#[cfg(feature = "cloudmap")]
pub use self::cloud_map::CloudMap;
#[cfg(feature = "consul")]
pub use self::consul::Consul;
#[cfg(feature = "dns")]
pub use self::dns::{Dns, DnsError, Family};
#[cfg(feature = "document")]
pub use self::document::{DocumentError, Format, parse_document};
#[cfg(feature = "file")]
pub use self::file::{File, FileError};
#[cfg(feature = "http-poll")]
pub use self::http_poll::HttpPoll;
#[cfg(feature = "kubernetes")]
pub use self::kubernetes::Kubernetes;
#[cfg(any(feature = "http-poll", feature = "consul", feature = "kubernetes"))]
pub use self::transport::InvalidUrl;
pub use self::{
    address_filter::{AddressFilter, RejectedAddress},
    channel::{Channel, Disconnected, Handle, channel},
    list::{List, addresses, list},
    refresh::{Fetched, Refresh, refresh},
    schedule::{InvalidSchedule, Schedule},
    sets::{Sets, sets},
    source_status::{SourceError, SourceReport, SourceStatus},
    tower::{FromTower, IntoTower, from_tower},
};
