//! Traffic splitting: a share of the requests to another service, or copies of a share.
//!
//! - [`Canary`] sends a share of the requests to another service, such as a new version. With a
//!   [`StickyKey`], requests with the same key always go to the same service.
//! - [`Shadow`] sends copies of a share of the requests to another service and ignores the
//!   responses.
//!
//! ```
//! use std::convert::Infallible;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_lb::traffic::CanaryLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_lb::BoxError> {
//! let new = service_fn(|user: u64| async move { Ok::<_, Infallible>(("new", user)) });
//! let old = service_fn(|user: u64| async move { Ok::<_, Infallible>(("old", user)) });
//! let canary = CanaryLayer::new(new, 0.05)?.sticky_by(|user: &u64| Some(*user));
//! let service = canary.layer(old);
//!
//! let (version, _) = service.clone().oneshot(7).await?;
//! assert_eq!(service.clone().oneshot(7).await?.0, version, "user 7 stays with that version");
//! canary.set_share(1.0)?;
//! assert_eq!(service.oneshot(7).await?.0, "new");
//! # Ok(())
//! # }
//! ```

mod canary;
mod shadow;

pub use self::{
    canary::{Canary, CanaryFuture, CanaryLayer, StickyKey},
    shadow::{Shadow, ShadowCounts, ShadowDriver},
};
