//! Invocations by a client of the AWS SDK.
//!
//! [`Sdk`] takes a ready `aws_sdk_lambda::Client`: region, credentials and TLS are the caller's. Two
//! things must be set for a balancer to do its work:
//!
//! - **No retries.** The SDK sends an invocation up to three times by default, with pauses in
//!   between, all to the same function. Failures, throttles and latencies are then seen late or
//!   never. A client that may retry is warned about in a `tracing` event.
//! - **Timeouts.** By default only connecting has one.
//!
//! ```no_run
//! use std::time::Duration;
//! use aws_sdk_lambda::{
//!     Client, Config,
//!     config::{
//!         BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig,
//!     },
//! };
//! use tower_lb::lambda::{Function, aws::Sdk};
//!
//! # fn example(credentials: Credentials) -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::builder()
//!     .behavior_version(BehaviorVersion::latest())
//!     .region(Region::new("eu-west-1"))
//!     .credentials_provider(credentials)
//!     .retry_config(RetryConfig::disabled())
//!     .timeout_config(
//!         TimeoutConfig::builder()
//!             .connect_timeout(Duration::from_secs(1))
//!             .operation_timeout(Duration::from_secs(30))
//!             .build(),
//!     )
//!     .build();
//! let function = Function::new(Sdk::new(Client::from_conf(config)), "orders:live".parse()?);
//! # Ok(())
//! # }
//! ```
//!
//! With the crate `aws-config`, the same three settings go to
//! `aws_sdk_lambda::config::Builder::from(&aws_config::load_defaults(..).await)`.
//!
//! [`AliasVersions`] discovers the versions behind a weighted alias, and follows it; [`Provisioned`]
//! weights functions by the concurrency that is provisioned for them.
//!
//! The SDK needs a newer Rust than the rest of this crate: its latest versions 1.94, older ones 1.86.

mod alias;
mod error;
mod provisioned;
mod schedule;
mod sdk;

pub use self::{
    alias::AliasVersions,
    provisioned::Provisioned,
    sdk::{Answer, Sdk},
};
