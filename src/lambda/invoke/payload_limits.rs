use crate::lambda::{Invocation, InvocationType, InvokeError};

/// The largest payloads that a [`Function`](crate::lambda::Function) sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadLimits {
    synchronous: usize,
    event: usize,
}

const MIB: usize = 1024 * 1024;

impl PayloadLimits {
    /// Creates the limits of the service: 6 MiB for synchronous payloads, 1 MiB for events.
    #[must_use]
    pub const fn new() -> Self {
        Self { synchronous: 6 * MIB, event: MIB }
    }

    /// Sets the largest payload of a synchronous invocation, in bytes. Default 6 MiB.
    #[must_use]
    pub const fn synchronous(mut self, bytes: usize) -> Self {
        self.synchronous = bytes;
        self
    }

    /// Sets the largest payload of an event, in bytes. Default 1 MiB.
    #[must_use]
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
