use bytes::Bytes;

use crate::{
    lambda::Qualifier,
    outcome::{Attempts, Carry},
    retry::{RetrySafety, RetryableRequest},
};

/// A request to a function: the payload, and how to invoke it.
///
/// Cloning is cheap, which retries rely on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    payload: Bytes,
    qualifier: Option<Qualifier>,
    kind: InvocationType,
    log_tail: bool,
    client_context: Option<Bytes>,
    retry_safety: Option<RetrySafety>,
    attempts: Option<Attempts>,
}

/// Whether an invocation waits for the function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InvocationType {
    /// Waits for the function and returns its response. The default.
    #[default]
    RequestResponse,
    /// Queues the event for the function; the response is empty.
    Event,
    /// Only checks whether the function can be invoked.
    DryRun,
}

impl Invocation {
    /// Creates a synchronous invocation with `payload`: JSON, or empty.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// Sets whether the invocation waits for the function. Default
    /// [`InvocationType::RequestResponse`].
    #[must_use]
    pub fn with_type(mut self, kind: InvocationType) -> Self {
        self.kind = kind;
        self
    }

    /// Sets an alias or version, which takes precedence over that of the
    /// [`Function`](crate::lambda::Function). Default none.
    #[must_use]
    pub fn with_qualifier(mut self, qualifier: Qualifier) -> Self {
        self.qualifier = Some(qualifier);
        self
    }

    /// Requests the last 4 KB of the function's log. Synchronous invocations only.
    #[must_use]
    pub fn with_log_tail(mut self) -> Self {
        self.log_tail = true;
        self
    }

    /// Sets the client context, JSON of at most 2685 bytes (3583 in base64). Synchronous
    /// invocations only.
    #[must_use]
    pub fn with_client_context(mut self, json: impl Into<Bytes>) -> Self {
        self.client_context = Some(json.into());
        self
    }

    /// Declares that running the invocation twice has the same effect as once, so that it may be
    /// retried even after it may have run. Default: not idempotent.
    #[must_use]
    pub fn idempotent(self) -> Self {
        self.with_safety(RetrySafety::Idempotent)
    }

    /// Sets when the invocation may be retried. Default [`RetrySafety::IfUnsent`]: only if the
    /// function did not run. For [`InvocationType::DryRun`] the default is
    /// [`RetrySafety::Idempotent`].
    #[must_use]
    pub fn with_safety(mut self, retry_safety: RetrySafety) -> Self {
        self.retry_safety = Some(retry_safety);
        self
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Returns the payload without a copy.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Returns the alias or version, if one was set.
    #[must_use]
    pub fn qualifier(&self) -> Option<&Qualifier> {
        self.qualifier.as_ref()
    }

    /// Returns whether the invocation waits for the function.
    #[must_use]
    pub fn kind(&self) -> InvocationType {
        self.kind
    }

    /// Returns true if the end of the log is requested.
    #[must_use]
    pub fn wants_log_tail(&self) -> bool {
        self.log_tail
    }

    /// Returns the client context, as JSON.
    #[must_use]
    pub fn client_context(&self) -> Option<&Bytes> {
        self.client_context.as_ref()
    }

    /// Returns true if the invocation may run twice.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.retry_safety == Some(RetrySafety::Idempotent)
    }

    /// Sets the qualifier unless the invocation has one.
    pub(super) fn or_qualifier(mut self, qualifier: Option<&Qualifier>) -> Self {
        self.qualifier = self.qualifier.or_else(|| qualifier.cloned());
        self
    }
}

impl Carry for Invocation {
    fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.attempts = Some(attempts);
    }
}

impl RetryableRequest for Invocation {
    /// Returns what [`with_safety`](Self::with_safety) set, or its default.
    fn retry_safety(&self) -> RetrySafety {
        self.retry_safety.unwrap_or(match self.kind {
            InvocationType::DryRun => RetrySafety::Idempotent,
            _ => RetrySafety::IfUnsent,
        })
    }

    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl From<Bytes> for Invocation {
    fn from(payload: Bytes) -> Self {
        Self::new(payload)
    }
}

impl From<Vec<u8>> for Invocation {
    fn from(payload: Vec<u8>) -> Self {
        Self::new(payload)
    }
}

impl From<&'static str> for Invocation {
    fn from(payload: &'static str) -> Self {
        Self::new(payload)
    }
}
