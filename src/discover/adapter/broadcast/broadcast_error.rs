use std::{error::Error as StdError, fmt, sync::Arc};

use crate::BoxError;

/// The error of a [`Subscription`](super::Subscription): an error of the source, which all
/// subscribers get. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BroadcastError {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Source(Arc<dyn StdError + Send + Sync>),
    DriverDropped,
}

impl BroadcastError {
    pub(super) fn of_source(error: BoxError) -> Self {
        Self { kind: Kind::Source(error.into()) }
    }

    pub(super) fn driver_dropped() -> Self {
        Self { kind: Kind::DriverDropped }
    }

    /// Returns the error of the source, or `None` if the
    /// [`BroadcastDriver`](super::BroadcastDriver) was dropped before the source ended.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        match &self.kind {
            Kind::Source(cause) => Some(&**cause),
            Kind::DriverDropped => None,
        }
    }
}

impl fmt::Display for BroadcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Source(cause) => cause.fmt(f),
            Kind::DriverDropped => {
                f.write_str("the driver of the broadcast was dropped before the source ended")
            }
        }
    }
}

impl StdError for BroadcastError {
    /// Returns the source of the cause. The message is that of the cause.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause()?.source()
    }
}
