//! Which of two services gets a request: a share of them to a new version, copies of a share to one that
//! nobody depends on yet.
//!
//! [`Canary`] sends a share to another service, the same callers each time if told how to know them.
//! [`Shadow`] sends copies of a share to another service and ignores what it answers.
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
//! assert_eq!(service.clone().oneshot(7).await?.0, version, "user 7 stays where it is");
//! canary.set_share(1.0)?;
//! assert_eq!(service.oneshot(7).await?.0, "new");
//! # Ok(())
//! # }
//! ```

mod canary;
mod shadow;

pub use self::{
    canary::{Anyone, ByKey, Canary, CanaryFuture, CanaryLayer, Key},
    shadow::{Shadow, ShadowCounts, ShadowDriver},
};
