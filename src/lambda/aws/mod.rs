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
//! [`AliasVersions`] discovers the versions behind a weighted alias, and follows it; [`FunctionSearch`]
//! finds functions by prefix and tags; [`Provisioned`] weights them by the concurrency that is
//! provisioned for them.
//!
//! The SDK needs a newer Rust than the rest of this crate: its latest versions 1.94, older ones 1.86.

mod alias;
mod error;
mod pace;
mod provisioned;
mod sdk;
mod search;
mod sent;

use std::time::Duration;

use aws_sdk_lambda::Client;

pub use self::{
    alias::AliasVersions,
    provisioned::Provisioned,
    sdk::{Sdk, SdkFuture},
    search::FunctionSearch,
};
use crate::{
    discover::Schedule,
    endpoint::{Endpoint, Locality},
};

/// The endpoint in the region that the client asks.
fn locality<T>(endpoint: Endpoint<T>, client: &Client) -> Endpoint<T> {
    match client.config().region() {
        Some(region) => endpoint.with_locality(Locality::new(region.as_ref(), "")),
        None => endpoint,
    }
}

/// For many requests one after the other, each of which has the client's timeout.
fn every_minute() -> Schedule {
    Schedule::new().interval(Duration::from_secs(60)).timeout(None)
}
