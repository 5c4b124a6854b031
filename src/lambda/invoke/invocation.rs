use bytes::Bytes;

use crate::{
    lambda::Qualifier,
    outcome::{Attempts, Carry},
    retry::{RetrySafety, RetryableRequest},
};

/// What a function is invoked with: the payload, and how.
///
/// Cheap to clone, so that it can be sent again.
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
    /// Waits, and gives the function's answer. The default.
    #[default]
    RequestResponse,
    /// Is put in the function's queue; the answer is empty.
    Event,
    /// Only checks that the function could be invoked.
    DryRun,
}

impl Invocation {
    /// A synchronous invocation with this payload: JSON, or nothing.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// Sets whether to wait for the function. Default [`InvocationType::RequestResponse`].
    #[must_use]
    pub fn with_type(mut self, kind: InvocationType) -> Self {
        self.kind = kind;
        self
    }

    /// Chooses an alias or version, before what the [`Function`](crate::lambda::Function) has. Default none.
    #[must_use]
    pub fn with_qualifier(mut self, qualifier: Qualifier) -> Self {
        self.qualifier = Some(qualifier);
        self
    }

    /// Asks for the last 4 KB of the function's log. Synchronous invocations only.
    #[must_use]
    pub fn with_log_tail(mut self) -> Self {
        self.log_tail = true;
        self
    }

    /// Sets the client context, JSON of up to 2685 bytes (3583 in base64). Synchronous invocations
    /// only.
    #[must_use]
    pub fn with_client_context(mut self, json: impl Into<Bytes>) -> Self {
        self.client_context = Some(json.into());
        self
    }

    /// Says that to run it twice is as good as once, so that it may be sent again when it may have
    /// run already. Default: it is not said.
    #[must_use]
    pub fn idempotent(self) -> Self {
        self.with_safety(RetrySafety::Idempotent)
    }

    /// Says when it may be sent again. Default [`RetrySafety::IfUnsent`], if the function did not run; for
    /// [`InvocationType::DryRun`], whenever it failed.
    #[must_use]
    pub fn with_safety(mut self, retry_safety: RetrySafety) -> Self {
        self.retry_safety = Some(retry_safety);
        self
    }

    /// What the function gets.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The payload itself, without a copy.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// The alias or version, if one was chosen.
    #[must_use]
    pub fn qualifier(&self) -> Option<&Qualifier> {
        self.qualifier.as_ref()
    }

    /// Whether it waits for the function.
    #[must_use]
    pub fn kind(&self) -> InvocationType {
        self.kind
    }

    /// True if the end of the log is asked for.
    #[must_use]
    pub fn wants_log_tail(&self) -> bool {
        self.log_tail
    }

    /// The client context, as JSON.
    #[must_use]
    pub fn client_context(&self) -> Option<&Bytes> {
        self.client_context.as_ref()
    }

    /// True if it may be run twice.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.retry_safety == Some(RetrySafety::Idempotent)
    }

    /// Fills in the qualifier if there is none.
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
    /// What was [said](Self::with_safety), or its default.
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
