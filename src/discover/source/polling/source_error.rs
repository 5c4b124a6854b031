use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{BoxError, escape::Escaped};

/// The error of a source that could not be read, with the name of the source. Cheap to clone.
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
    pub(crate) fn failed(source: impl Into<Arc<str>>, cause: impl Into<BoxError>) -> Self {
        Self::new(source, Kind::Failed(cause.into()))
    }

    pub(super) fn timed_out(source: impl Into<Arc<str>>, limit: Duration) -> Self {
        Self::new(source, Kind::TimedOut(limit))
    }

    fn new(source: impl Into<Arc<str>>, kind: Kind) -> Self {
        Self { inner: Arc::new(Inner { source: source.into(), kind }) }
    }

    /// Returns the name of the source.
    #[must_use]
    pub fn source_name(&self) -> &str {
        &self.inner.source
    }

    /// Returns the error of the source, or `None` if the poll timed out.
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
            Kind::TimedOut(limit) => write!(f, "{source}: no answer in {limit:?}"),
        }
    }
}

impl StdError for SourceError {
    /// Returns the source of the cause. The cause itself is part of the message.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause()?.source()
    }
}
