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

mod adapter;
#[allow(clippy::module_inception)]
mod discover;
mod ext;
mod source;
mod subset;
mod update;

#[cfg(feature = "cloudmap")]
pub use self::source::CloudMap;
#[cfg(feature = "consul")]
pub use self::source::Consul;
#[cfg(feature = "http-poll")]
pub use self::source::HttpPoll;
#[cfg(any(feature = "http-poll", feature = "consul", feature = "kubernetes"))]
pub use self::source::InvalidUrl;
#[cfg(feature = "kubernetes")]
pub use self::source::Kubernetes;
#[cfg(feature = "dns")]
pub use self::source::{Dns, DnsError, Family};
#[cfg(feature = "document")]
pub use self::source::{DocumentError, Format, parse_document};
#[cfg(feature = "file")]
pub use self::source::{File, FileError};
pub use self::{
    adapter::{
        Connect, Debounce, Dedup, Erased, FilterEndpoints, IntoTower, KeepLastGood, Make,
        MapEndpoints, MapKeys, Merge, merge,
    },
    discover::Discover,
    ext::DiscoverExt,
    source::{
        AddressFilter, Channel, Disconnected, Fetched, FromTower, Handle, InvalidSchedule, List,
        Refresh, RejectedAddress, Schedule, Sets, SourceError, SourceReport, SourceStatus,
        addresses, channel, from_tower, list, refresh, sets,
    },
    subset::{
        Aperture, FleetMember, InvalidSubset, Placement, RendezvousSubset, Subset, Subsetting,
    },
    update::Update,
};
