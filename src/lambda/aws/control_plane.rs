//! What the sources share that fetch from Lambda's control plane.

use std::time::Duration;

use aws_sdk_lambda::Client;
use tokio::time::{Instant, sleep_until};

use crate::{
    discover::Schedule,
    endpoint::{Endpoint, Locality},
};

/// Requests per second by default, a third of what the control plane accepts from an account.
pub(super) const DEFAULT_RATE: u32 = 5;

/// Spaces requests to the control plane, which accepts 15 a second from one account in total.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    /// Allows `per_second` requests a second. The builders reject 0, which would panic here.
    pub(super) fn new(per_second: u32) -> Self {
        Self { gap: Duration::from_secs(1) / per_second, next: Instant::now() }
    }

    /// Waits until the next request may be sent.
    pub(super) async fn wait_turn(&mut self) {
        sleep_until(self.next).await;
        self.next = Instant::now() + self.gap;
    }
}

/// The default schedule of sources that send many requests, each with the client's timeout.
pub(super) fn every_minute() -> Schedule {
    Schedule::new().interval(Duration::from_secs(60)).timeout(None)
}

/// Sets the endpoint's locality to the region of `client`.
pub(super) fn locality<T>(endpoint: Endpoint<T>, client: &Client) -> Endpoint<T> {
    match client.config().region() {
        Some(region) => endpoint.with_locality(Locality::new(region.as_ref(), "")),
        None => endpoint,
    }
}
