//! Sources of endpoints.
//!
//! Endpoints that the application supplies: `list`, `channel`, `sets`, `from_tower`. Everything
//! else is a [`Refresh`] of `polling`, which calls an async function on a [`Schedule`]: `dns`,
//! `file`, `http_poll`, `consul`, `kubernetes` and `cloud_map`. `validation` checks what they
//! return, `document` parses lists of endpoints, and `http_api` sends HTTP requests.

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
#[cfg(feature = "document")]
mod format;
mod from_tower;
#[cfg(any(feature = "http-poll", feature = "consul", feature = "kubernetes"))]
mod http_api;
#[cfg(feature = "http-poll")]
mod http_poll;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod list;
mod polling;
mod sets;
mod validation;

#[cfg(feature = "cloudmap")]
pub use self::cloud_map::CloudMap;
#[cfg(feature = "consul")]
pub use self::consul::Consul;
#[cfg(feature = "dns")]
pub use self::dns::{Dns, Family};
#[cfg(feature = "file")]
pub use self::file::File;
#[cfg(feature = "alb")]
pub(crate) use self::format::Malformed;
#[cfg(any(feature = "http-poll", feature = "consul", feature = "kubernetes"))]
pub use self::http_api::HttpApi;
#[cfg(feature = "http-poll")]
pub use self::http_poll::HttpPoll;
#[cfg(feature = "kubernetes")]
pub use self::kubernetes::Kubernetes;
pub use self::{
    channel::{Channel, Disconnected, Handle, channel},
    from_tower::{FromTower, from_tower},
    list::{List, addresses, list},
    polling::{
        Fetched, Refresh, Schedule, SourceError, SourceReport, SourceStatus, WeakSourceStatus,
        refresh,
    },
    sets::{Sets, sets},
    validation::{AddressFilter, RejectedAddress},
};
#[cfg(feature = "document")]
pub use self::{document::parse_document, format::Format};
