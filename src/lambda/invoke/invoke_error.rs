use std::{error::Error as StdError, fmt};

use crate::{
    BoxError,
    error::chain,
    escape::Escaped,
    lambda::{FunctionError, Throttle},
};

/// Why an invocation failed. A failure of the function itself is not such an error, but
/// [`Invoked::function_error`](crate::lambda::Invoked::function_error).
///
/// [`RetryAdvice::of_error`](crate::lambda::RetryAdvice::of_error) says whether a retry is safe and
/// may help.
#[derive(Debug)]
#[non_exhaustive]
pub enum InvokeError {
    /// The payload is too large. It was not sent.
    TooLarge {
        /// The size of the payload.
        bytes: usize,
        /// The largest size that is sent.
        limit: usize,
    },
    /// The client context is too large. It was not sent.
    ContextTooLarge {
        /// The size of the client context, before base64.
        bytes: usize,
        /// The largest size that is sent.
        limit: usize,
    },
    /// The service throttled the invocation. The function did not run.
    Throttled(Throttle),
    /// The service failed the invocation with another exception.
    Service(Box<ServiceError>),
    /// The request could not be built or signed, for example because there are no credentials. It
    /// was not sent, and the endpoint is not at fault.
    Unsigned(BoxError),
    /// The service could not be reached. It has not received the invocation.
    Unreachable(BoxError),
    /// No response arrived in time. The function may have run.
    TimedOut(BoxError),
    /// The exchange was interrupted. The function may have run.
    Interrupted(BoxError),
    /// The function failed in the middle of a streamed response.
    FunctionFailed(FunctionError),
}

/// An exception of the Lambda service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    status: u16,
    code: Box<str>,
    message: Box<str>,
}

impl ServiceError {
    /// Creates an exception from the response of the service: its HTTP status, the name of the
    /// exception (such as `ResourceNotFoundException`), and the message.
    pub fn new(status: u16, code: impl Into<Box<str>>, message: impl Into<Box<str>>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the name of the exception, which is empty if the service gave none.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the message of the service.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, Escaped(&self.code), Escaped(&self.message))
    }
}

impl InvokeError {
    /// Returns the `InvokeError` that `error` is, or that is among its sources, as in a balancer's
    /// error.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }
}

impl fmt::Display for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, limit } => {
                write!(f, "the payload has {bytes} bytes: send at most {limit}")
            }
            Self::ContextTooLarge { bytes, limit } => {
                write!(f, "the client context has {bytes} bytes: send at most {limit}")
            }
            Self::Throttled(throttle) => throttle.fmt(f),
            Self::Service(error) => write!(f, "the service failed the invocation: {error}"),
            Self::Unsigned(_) => {
                f.write_str("the invocation could not be signed, and was not sent")
            }
            Self::Unreachable(_) => f.write_str("the service could not be reached"),
            Self::TimedOut(_) => f.write_str("no response in time; the function may have run"),
            Self::Interrupted(_) => f.write_str("no response; the function may have run"),
            Self::FunctionFailed(error) => error.fmt(f),
        }
    }
}

impl StdError for InvokeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unsigned(source)
            | Self::Unreachable(source)
            | Self::TimedOut(source)
            | Self::Interrupted(source) => Some(&**source),
            _ => None,
        }
    }
}
