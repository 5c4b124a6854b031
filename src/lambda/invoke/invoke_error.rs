use std::{error::Error as StdError, fmt};

use crate::{
    BoxError,
    escape::Escaped,
    lambda::{FunctionError, Throttle, outcome::retry_advice::ServiceRule},
};

/// Why an invocation came to nothing. That the function itself failed is told by
/// [`Invoked::function_error`](crate::lambda::Invoked::function_error) instead.
///
/// What to do about it is told by [`RetryAdvice::of_error`](crate::lambda::RetryAdvice::of_error).
#[derive(Debug)]
#[non_exhaustive]
pub enum InvokeError {
    /// The payload is too large. It was not sent.
    TooLarge {
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The client context is too large. It was not sent.
    ContextTooLarge {
        /// How many bytes it has, before they are encoded.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The service turned the invocation away because there are too many. The function did not run.
    Throttled(Throttle),
    /// The service said no for another reason.
    Service(Box<ServiceError>),
    /// It could not be signed, or not be written at all: there are no credentials, say. It was not sent, and
    /// no function is to blame.
    Unsigned(BoxError),
    /// The service could not be reached; it has not seen the invocation.
    Unreachable(BoxError),
    /// There was no answer in time. The function may have run.
    TimedOut(BoxError),
    /// The exchange broke off. The function may have run.
    Interrupted(BoxError),
    /// The function failed in the middle of a streamed answer.
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
    /// What the service answered: its HTTP status, the name of the exception (such as
    /// `ResourceNotFoundException`), and the message.
    pub fn new(status: u16, code: impl Into<Box<str>>, message: impl Into<Box<str>>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The name of the exception; empty if the service gave none.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What the service said about it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn rule(&self) -> ServiceRule {
        ServiceRule::of(self.status, &self.code)
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, Escaped(&self.code), Escaped(&self.message))
    }
}

impl InvokeError {
    /// The one in an error or among its sources, a balancer's error for example.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source())
            .find_map(|error| error.downcast_ref())
    }
}

impl fmt::Display for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, limit } => {
                write!(f, "a payload of {bytes} bytes: {limit} is the most")
            }
            Self::ContextTooLarge { bytes, limit } => {
                write!(f, "a client context of {bytes} bytes: {limit} is the most")
            }
            Self::Throttled(throttle) => throttle.fmt(f),
            Self::Service(refusal) => write!(f, "the service refused: {refusal}"),
            Self::Unsigned(_) => {
                f.write_str("the invocation could not be signed, and was not sent")
            }
            Self::Unreachable(_) => f.write_str("the service could not be reached"),
            Self::TimedOut(_) => f.write_str("no answer in time; the function may have run"),
            Self::Interrupted(_) => f.write_str("no answer; the function may have run"),
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
