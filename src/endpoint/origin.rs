use std::sync::atomic::{AtomicU32, Ordering};

/// Tells whether an endpoint under a known key is the one before or another one.
///
/// Targets need not be comparable: a service is not. So the first stage that can compare decides,
/// and the origin tells the later stages and the balancer what it decided. An endpoint that has,
/// compared with the one before it under its key:
///
/// - the same origin: the target is the same, and all state stays.
/// - another origin of [`Origin::another`]: the target was replaced, and all state starts anew.
/// - another origin of [`Origin::unknown`]: the targets were not compared. The state stays, but
///   requests that wait for the service to get ready pick again.
///
/// The lowest bit is set for a target that is known to be another one. The number may wrap around,
/// because an origin is compared only with that of the earlier endpoint under the same key. A
/// shared pointer would need no static, but an allocation per endpoint and 8 bytes more per
/// balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin(u32);

impl Origin {
    /// Returns the origin of a target that was not compared with the one before.
    pub(crate) fn unknown() -> Self {
        Self(next() << 1)
    }

    /// Returns the origin of a target that differs from the one before.
    pub(crate) fn another() -> Self {
        Self(next() << 1 | 1)
    }

    /// Returns an origin that replaces any earlier endpoint: this one if it does.
    pub(crate) fn of_another(self) -> Self {
        if self.0 & 1 == 1 { self } else { Self::another() }
    }

    /// Returns true if the target is known to be another one than that of the endpoint before.
    pub(crate) fn replaces(self, before: Self) -> bool {
        self != before && self.0 & 1 == 1
    }
}

fn next() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}
