//! Invocations and discovery with the AWS SDK.
//!
//! [`Sdk`] takes a configured `aws_sdk_lambda::Client`: region, credentials and TLS are the
//! caller's. A balancer needs two settings:
//!
//! - **No retries.** By default the SDK sends an invocation up to three times, with pauses in
//!   between, all to the same function. The balancer then sees failures, throttles and latencies
//!   late or never. [`Sdk::new`] logs a warning for a client that may retry.
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
//! [`AliasVersions`] discovers the versions behind a weighted alias, [`FunctionSearch`] finds
//! functions by prefix and tags, and [`Provisioned`] weights functions by their provisioned
//! concurrency. All three follow changes.
//!
//! The SDK needs a newer Rust than the rest of this crate: its latest versions 1.94, older ones
//! 1.86.

mod alias;
mod control_plane;
mod error;
mod provisioned;
mod sdk;
mod search;

pub use self::{
    alias::AliasVersions,
    provisioned::Provisioned,
    sdk::{Sdk, SdkFuture},
    search::FunctionSearch,
};
