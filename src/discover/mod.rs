//! Where endpoints come from: streams of [`Update`]s, and adapters from stream to stream.
//!
//! Any stream of `Result<Update<K, T>, E>` is a [`Discover`]. An endpoint has a key and a target.
//! The target is an address at first, and a service after [`connect`](DiscoverExt::connect). The
//! key identifies the endpoint: an update for a known key changes the endpoint in place.
//!
//! | source | for |
//! |---|---|
//! | [`list`], [`addresses`] | a fixed list of endpoints |
//! | [`channel`] | changes that the application sends |
//! | [`sets`] | a stream of whole sets of addresses |
//! | [`from_tower`] | any `tower::discover::Discover` |
//! | [`refresh`](refresh()) | an async function that is called repeatedly |
//! | `Dns`, with feature `dns` | A, AAAA and SRV records |
//! | `File`, with feature `file` | a file that is watched for changes |
//! | `HttpPoll`, with feature `http-poll` | a document at a URL |
//! | `Consul`, with feature `consul` | a service in Consul |
//! | `Kubernetes`, with feature `kubernetes` | the EndpointSlices of a service |
//! | `CloudMap`, with feature `cloudmap` | a service in AWS Cloud Map |
//! | [`merge`](merge()) | several sources as one |
//!
//! Sources that are polled follow a [`Schedule`], keep the last good set when a poll fails, and
//! report in a [`SourceStatus`] when they last succeeded.
//!
//! An [`AddressFilter`] rejects addresses from name services that must not be endpoints. The size
//! of every answer is limited; see `docs/discovery.md`.
//!
//! The adapters in [`DiscoverExt`] change the updates of a source: they set attributes, filter,
//! merge and delay. A [`Broadcast`] passes the endpoints of one source on to many balancers.
//!
//! The modules: `source` has the sources, `adapter` the adapters, and `subset` the adapter that
//! selects a subset of a large set of endpoints. `after_publish` informs targets, after the
//! balancer, of what becomes of their endpoints. `error_backoff` bounds the polls of a stream, and
//! paces those of one that fails.
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

/// Defines the stream of an adapter of a source `D`: first the fields that `new` takes, then the
/// others with their first values.
macro_rules! adapter {
    (
        $(#[$attribute:meta])*
        $(project = $project:ident,)?
        pub struct $name:ident<D $(, $parameter:ident)*>($($field:ident: $type:ty),*) {
            $($state:ident: $state_type:ty = $first:expr,)*
        }
    ) => {
        pin_project_lite::pin_project! {
            $(#[$attribute])*
            $(#[project = $project])?
            pub struct $name<D: $crate::discover::Discover $(, $parameter)*> {
                #[pin]
                discover: D,
                $($field: $type,)*
                $($state: $state_type,)*
            }
        }

        impl<D: $crate::discover::Discover $(, $parameter)*> $name<D $(, $parameter)*> {
            pub(crate) fn new(discover: D $(, $field: $type)*) -> Self {
                Self { discover, $($field,)* $($state: $first,)* }
            }
        }

        impl<D: $crate::discover::Discover + std::fmt::Debug $(, $parameter)*> std::fmt::Debug
            for $name<D $(, $parameter)*>
        {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                shown.field("discover", &self.discover).finish_non_exhaustive()
            }
        }
    };
}

mod adapter;
#[cfg(any(feature = "geneve", feature = "udp"))]
mod after_publish;
#[allow(clippy::module_inception)]
mod discover;
mod error_backoff;
mod ext;
mod source;
mod subset;
mod update;

#[cfg(any(feature = "geneve", feature = "udp"))]
pub(crate) use self::after_publish::{AfterPublish, Informed};
pub(crate) use self::error_backoff::{ErrorBackoff, MAX_UPDATES_PER_POLL};
#[cfg(feature = "cloudmap")]
pub use self::source::CloudMap;
#[cfg(feature = "consul")]
pub use self::source::Consul;
#[cfg(feature = "file")]
pub use self::source::File;
#[cfg(any(feature = "http-poll", feature = "consul", feature = "kubernetes"))]
pub use self::source::HttpApi;
#[cfg(feature = "http-poll")]
pub use self::source::HttpPoll;
#[cfg(feature = "kubernetes")]
pub use self::source::Kubernetes;
#[cfg(feature = "alb")]
pub(crate) use self::source::Malformed;
#[cfg(feature = "dns")]
pub use self::source::{Dns, Family};
#[cfg(feature = "document")]
pub use self::source::{Format, parse_document};
pub use self::{
    adapter::{
        Broadcast, BroadcastDriver, BroadcastError, Connect, Debounce, Dedup, Erased,
        FilterEndpoints, IntoTower, KeepLastGood, Make, MapEndpoints, MapKeys, Merge, Subscription,
        merge,
    },
    discover::Discover,
    ext::DiscoverExt,
    source::{
        AddressFilter, Channel, Disconnected, Fetched, FromTower, Handle, List, Refresh,
        RejectedAddress, Schedule, Sets, SourceError, SourceReport, SourceStatus, WeakSourceStatus,
        addresses, channel, from_tower, list, refresh, sets,
    },
    subset::{
        ApertureSubset, FleetMember, Placement, RendezvousSubset, SubsetEndpoints, Subsetting,
    },
    update::Update,
};
