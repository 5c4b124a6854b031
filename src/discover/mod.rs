//! Where endpoints come from: streams of [`Update`]s, and adapters from stream to stream.
//!
//! Any stream of `Result<Update<K, T>, E>` is a [`Discover`]: the endpoints' keys, and targets that
//! are addresses at first and services once [connected](DiscoverExt::connect). The key is what an
//! endpoint is recognised by: an update for a known key changes the endpoint in place.
//!
//! | source | for |
//! |---|---|
//! | [`list`], [`addresses`] | endpoints known beforehand |
//! | [`channel`] | changes pushed from anywhere |
//! | [`sets`] | a stream of whole sets of addresses |
//! | [`from_tower`] | any `tower::discover::Discover` |
//! | [`refresh`](refresh()) | whatever an async function gives, asked again and again |
//! | `Dns`, with feature `dns` | A, AAAA and SRV records |
//! | `File`, with feature `file` | a document that is watched |
//! | `HttpPoll`, with feature `http-poll` | a document at a URL |
//! | `Consul`, with feature `consul` | a service in Consul |
//! | `Kubernetes`, with feature `kubernetes` | the EndpointSlices of a service |
//! | `CloudMap`, with feature `cloudmap` | a service in AWS Cloud Map |
//! | [`merge`](merge()) | several sources as one |
//!
//! Those that ask somebody are paced by a [`Schedule`], keep the last good set whatever fails, and
//! tell by a [`SourceStatus`] when they last succeeded.
//!
//! An [`AddressFilter`] keeps addresses out of name services that can't be endpoints. What a source
//! may give is bounded; see `docs/discovery.md`.
//!
//! Adapters, all in [`DiscoverExt`], change what a source says on its way: attributes, which
//! endpoints, how many, how often.
//!
//! ```
//! use tower_lb::{Balancer, discover::{self, DiscoverExt}, strategy::P2c};
//! # use tower::{ServiceExt, service_fn};
//! # tokio_test::block_on(async {
//! let (endpoints, stream) = discover::channel();
//! let balancer = Balancer::spawn(
//!     P2c::default(),
//!     stream.connect(|address: &&str| {
//!         let address = address.to_string();
//!         service_fn(move |()| std::future::ready(Ok::<_, std::io::Error>(address.clone())))
//!     }),
//! );
//! endpoints.insert("a", "10.0.0.1:80")?;
//!
//! assert_eq!(balancer.oneshot(()).await?, "10.0.0.1:80");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod address_filter;
mod aperture;
#[cfg(any(feature = "consul", feature = "document", feature = "kubernetes"))]
mod bounds;
mod channel;
#[cfg(feature = "cloudmap")]
mod cloud_map;
mod connect;
#[cfg(feature = "consul")]
mod consul;
mod debounce;
mod dedup;
#[allow(clippy::module_inception)]
mod discover;
#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "document")]
mod document;
mod erase;
mod ext;
#[cfg(feature = "file")]
mod file;
mod filter;
mod hash;
#[cfg(feature = "http-poll")]
mod http_poll;
mod keep_last_good;
mod known;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(any(feature = "cloudmap", feature = "consul", feature = "dns", feature = "kubernetes"))]
mod left_out;
mod list;
mod make;
mod map;
mod merge;
mod refresh;
mod rendezvous;
mod schedule;
mod sets;
mod source_status;
mod subset;
mod tower;
#[cfg(any(feature = "http-poll", feature = "consul", feature = "kubernetes"))]
mod transport;
mod update;

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
    aperture::{Aperture, Placement},
    channel::{Channel, Disconnected, Handle, channel},
    connect::Connect,
    debounce::Debounce,
    dedup::Dedup,
    discover::Discover,
    erase::Erased,
    ext::DiscoverExt,
    filter::FilterEndpoints,
    keep_last_good::KeepLastGood,
    list::{List, addresses, list},
    make::Make,
    map::{MapEndpoints, MapKeys},
    merge::{Merge, merge},
    refresh::{Fetched, Refresh, refresh},
    rendezvous::Rendezvous,
    schedule::{InvalidSchedule, Schedule},
    sets::{Sets, sets},
    source_status::{SourceError, SourceReport, SourceStatus},
    subset::{FleetMember, InvalidSubset, Subset, Subsetting},
    tower::{FromTower, IntoTower, from_tower},
    update::Update,
};
