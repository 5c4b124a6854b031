use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Spaces requests to the control plane, which takes 15 a second from all of an account together.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Duration,
    next: Instant,
}

/// Requests a second, unless told otherwise: others need the control plane too.
pub(super) const USUAL: u32 = 5;

impl Pace {
    /// So many a second; 0 counts as 1.
    pub(super) fn new(per_second: u32) -> Self {
        Self { gap: Duration::from_secs(1) / per_second.max(1), next: Instant::now() }
    }

    /// Waits until the next request may be sent.
    pub(super) async fn turn(&mut self) {
        sleep_until(self.next).await;
        self.next = Instant::now() + self.gap;
    }
}
