use bytes::Bytes;

use crate::{
    lambda::{InvokeError, Qualifier},
    outcome::{Attempts, Carry},
    retry::{RetrySafety, RetryableRequest},
};

/// A request to a function: the payload, and how to invoke it.
///
/// Cloning is cheap, which retries rely on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
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
    pub fn with_type(mut self, kind: InvocationType) -> Self {
        self.kind = kind;
        self
    }

    /// Sets an alias or version, which takes precedence over that of the
    /// [`Function`](crate::lambda::Function). Default none.
    pub fn with_qualifier(mut self, qualifier: Qualifier) -> Self {
        self.qualifier = Some(qualifier);
        self
    }

    /// Requests the last 4 KB of the function's log. Synchronous invocations only.
    pub fn with_log_tail(mut self) -> Self {
        self.log_tail = true;
        self
    }

    /// Sets the client context, JSON of at most 2685 bytes (3583 in base64). Synchronous
    /// invocations only.
    pub fn with_client_context(mut self, json: impl Into<Bytes>) -> Self {
        self.client_context = Some(json.into());
        self
    }

    /// Declares that running the invocation twice has the same effect as once, so that it may be
    /// retried even after it may have run. Default: not idempotent.
    pub fn idempotent(self) -> Self {
        self.with_safety(RetrySafety::Idempotent)
    }

    /// Sets when the invocation may be retried. Default [`RetrySafety::IfUnsent`]: only if the
    /// function did not run. For [`InvocationType::DryRun`] the default is
    /// [`RetrySafety::Idempotent`].
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

impl<P: Into<Bytes>> From<P> for Invocation {
    fn from(payload: P) -> Self {
        Self::new(payload)
    }
}

/// The largest payloads that a [`Function`](crate::lambda::Function) sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PayloadLimits {
    synchronous: usize,
    event: usize,
}

const MIB: usize = 1024 * 1024;

impl PayloadLimits {
    /// Creates the limits of the service: 6 MiB for synchronous payloads, 1 MiB for events.
    pub const fn new() -> Self {
        Self { synchronous: 6 * MIB, event: MIB }
    }

    /// Sets the largest payload of a synchronous invocation, in bytes. Default 6 MiB.
    pub const fn synchronous(mut self, bytes: usize) -> Self {
        self.synchronous = bytes;
        self
    }

    /// Sets the largest payload of an event, in bytes. Default 1 MiB.
    pub const fn event(mut self, bytes: usize) -> Self {
        self.event = bytes;
        self
    }

    /// Fails with [`InvokeError::TooLarge`] or [`InvokeError::ContextTooLarge`].
    pub(super) fn check(&self, invocation: &Invocation) -> Result<(), InvokeError> {
        let limit = match invocation.kind() {
            InvocationType::RequestResponse | InvocationType::DryRun => self.synchronous,
            InvocationType::Event => self.event,
        };
        let bytes = invocation.payload().len();
        if bytes > limit {
            return Err(InvokeError::TooLarge { bytes, limit });
        }
        match invocation.client_context() {
            Some(json) if base64_len(json.len()) > MAX_CONTEXT_BASE64_BYTES => {
                Err(InvokeError::ContextTooLarge { bytes: json.len(), limit: MAX_CONTEXT_BYTES })
            }
            _ => Ok(()),
        }
    }
}

/// The longest client context in base64, in bytes.
const MAX_CONTEXT_BASE64_BYTES: usize = 3583;
/// The longest client context before base64, in bytes.
const MAX_CONTEXT_BYTES: usize = MAX_CONTEXT_BASE64_BYTES / 4 * 3;

fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_one_byte_over_the_limit_is_rejected() {
        let check = |invocation: &Invocation| PayloadLimits::new().check(invocation);
        let largest = Invocation::new(vec![0; 6 * MIB]);
        assert!(check(&largest).is_ok());
        let larger = Invocation::new(vec![0; 6 * MIB + 1]);
        let error = check(&larger).unwrap_err();
        assert_eq!(error.to_string(), "the payload has 6291457 bytes: send at most 6291456");
        assert!(check(&largest.with_type(InvocationType::Event)).is_err());
    }

    #[test]
    fn a_client_context_is_measured_in_base64() {
        let context = |bytes| Invocation::default().with_client_context(vec![b' '; bytes]);
        assert!(PayloadLimits::new().check(&context(MAX_CONTEXT_BYTES)).is_ok());
        assert!(PayloadLimits::new().check(&context(MAX_CONTEXT_BYTES + 1)).is_err());
    }
}
