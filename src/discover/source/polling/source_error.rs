use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{BoxError, escape::Escaped};

/// Why a source could not be read, and which. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SourceError {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: Arc<str>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Failed(BoxError),
    TimedOut(Duration),
}

impl SourceError {
    pub(super) fn failed(source: &Arc<str>, cause: BoxError) -> Self {
        Self::new(source, Kind::Failed(cause))
    }

    pub(super) fn timed_out(source: &Arc<str>, after: Duration) -> Self {
        Self::new(source, Kind::TimedOut(after))
    }

    fn new(source: &Arc<str>, kind: Kind) -> Self {
        Self { inner: Arc::new(Inner { source: Arc::clone(source), kind }) }
    }

    /// The name of the source.
    #[must_use]
    pub fn source_name(&self) -> &str {
        &self.inner.source
    }

    /// What the source failed with; `None` if it did not answer in time.
    #[must_use]
    pub fn cause(&self) -> Option<&BoxError> {
        match &self.inner.kind {
            Kind::Failed(cause) => Some(cause),
            Kind::TimedOut(_) => None,
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { source, kind } = &*self.inner;
        let source = Escaped(source);
        match kind {
            Kind::Failed(cause) => write!(f, "{source}: {}", Escaped(cause)),
            Kind::TimedOut(after) => write!(f, "{source}: no answer in {after:?}"),
        }
    }
}

impl StdError for SourceError {
    /// The source of the cause; the cause itself is part of the message.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause()?.source()
    }
}
