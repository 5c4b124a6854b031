use std::fmt;

use bytes::Bytes;
use serde::Deserialize;

use crate::{endpoint::EndpointId, escape::Escaped, lambda::Qualifier};

/// What came of an invocation that the service took.
///
/// That the function failed is no error of the service: look at
/// [`function_error`](Self::function_error).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invoked {
    payload: Bytes,
    status: u16,
    details: Details,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Details {
    function_error: Option<FunctionErrorKind>,
    executed_version: Option<Qualifier>,
    request_id: Option<Box<str>>,
    log_tail: Option<Box<str>>,
    endpoint_id: Option<EndpointId>,
}

/// Who caught the function's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionErrorKind {
    /// The function's own code, which returned it.
    Handled,
    /// Nobody: an exception, a crash, running out of time or of memory.
    Unhandled,
}

impl Invoked {
    /// An answer as transports make it; `status` is 200, or 202 and 204 for events and dry runs.
    pub fn new(status: u16, payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), status, ..Self::default() }
    }

    /// Says that the function failed.
    #[must_use]
    pub fn with_function_error(mut self, kind: FunctionErrorKind) -> Self {
        self.details.function_error = Some(kind);
        self
    }

    /// Says which version ran.
    #[must_use]
    pub fn with_executed_version(mut self, version: Qualifier) -> Self {
        self.details.executed_version = Some(version);
        self
    }

    /// Sets the id by which the service's logs know the invocation.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<Box<str>>) -> Self {
        self.details.request_id = Some(id.into());
        self
    }

    /// Sets the end of the function's log.
    #[must_use]
    pub fn with_log_tail(mut self, text: impl Into<Box<str>>) -> Self {
        self.details.log_tail = Some(text.into());
        self
    }

    /// What the function answered; its error if it failed; empty for events and dry runs.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The payload itself, without a copy.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// The service's status: 200, 202 or 204.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// How the function failed; `None` if it did not.
    #[must_use]
    pub fn function_error(&self) -> Option<FunctionError> {
        let kind = self.details.function_error?;
        Some(FunctionError::new(kind, &self.payload))
    }

    /// True if the function failed.
    #[must_use]
    pub fn is_function_error(&self) -> bool {
        self.details.function_error.is_some()
    }

    /// The version that ran, also where an alias was invoked.
    #[must_use]
    pub fn executed_version(&self) -> Option<&Qualifier> {
        self.details.executed_version.as_ref()
    }

    /// The id by which the service's logs know the invocation.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.details.request_id.as_deref()
    }

    /// The endpoint of a balancer that a failed function was; `None` if it did not fail, or if nobody
    /// took note ([`UntilResponse`](crate::lambda::UntilResponse)).
    #[must_use]
    pub fn endpoint_id(&self) -> Option<&EndpointId> {
        self.details.endpoint_id.as_ref()
    }

    pub(crate) fn came_from(&mut self, endpoint_id: Option<EndpointId>) {
        self.details.endpoint_id = endpoint_id;
    }

    /// The last 4 KB of the function's log, if they were asked for.
    #[must_use]
    pub fn log_tail(&self) -> Option<&str> {
        self.details.log_tail.as_deref()
    }
}

/// A function's error, as far as its payload tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    kind: FunctionErrorKind,
    said: Said,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    error_type: Option<Box<str>>,
    error_message: Option<Box<str>>,
}

impl FunctionError {
    pub(crate) fn new(kind: FunctionErrorKind, payload: &[u8]) -> Self {
        Self { kind, said: serde_json::from_slice(payload).unwrap_or_default() }
    }

    /// With this type, if the payload has none.
    #[cfg(feature = "aws")]
    pub(crate) fn or_type(mut self, error_type: impl Into<Box<str>>) -> Self {
        self.said.error_type.get_or_insert_with(|| error_type.into());
        self
    }

    /// Who caught it.
    #[must_use]
    pub fn kind(&self) -> FunctionErrorKind {
        self.kind
    }

    /// The error's type, in the function's language.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        self.said.error_type.as_deref()
    }

    /// The error's message.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.said.error_message.as_deref()
    }
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function failed")?;
        for said in [&self.said.error_type, &self.said.error_message].into_iter().flatten() {
            write!(f, ": {}", Escaped(said))?;
        }
        Ok(())
    }
}

impl std::error::Error for FunctionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_error_tells_what_its_payload_tells() {
        let failed = |payload: &'static str| {
            let invoked = Invoked::new(200, payload);
            let invoked = invoked.with_function_error(FunctionErrorKind::Unhandled);
            invoked.function_error().unwrap().to_string()
        };
        let told = failed(r#"{"errorType":"Oops","errorMessage":"no luck","stackTrace":[]}"#);
        assert_eq!(told, "the function failed: Oops: no luck");
        for said_nothing in ["", "null", "[]", r#"{"errorType":7}"#, "no JSON"] {
            assert_eq!(failed(said_nothing), "the function failed");
        }
        assert_eq!(Invoked::new(200, "{}").function_error(), None);
    }
}
