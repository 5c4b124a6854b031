//! Converts the SDK's errors.

use std::{
    error::Error as StdError,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_lambda::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse,
        interceptors::BeforeTransmitInterceptorContextRef,
    },
    error::{ProvideErrorMetadata, SdkError},
    types::error::TooManyRequestsException,
};
use hyper_util::client::legacy;

use crate::{
    BoxError,
    error::chain,
    lambda::{InvokeError, ServiceError, Throttle, ThrottleReason},
};

pub(super) fn invoke_error<E>(error: SdkError<E, HttpResponse>) -> InvokeError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(error) => {
            let status = error.raw().status().as_u16();
            let too_many = error.err().source().and_then(|error| error.downcast_ref());
            if status == 429 || too_many.is_some() {
                return InvokeError::Throttled(throttle(too_many, error.raw()));
            }
            let code = error.err().code().unwrap_or_default();
            let message = error.err().message().unwrap_or_default();
            InvokeError::Service(Box::new(ServiceError::new(status, code, message)))
        }
        SdkError::ConstructionFailure(_) => InvokeError::Unsigned(error.into()),
        SdkError::TimeoutError(_) => InvokeError::TimedOut(error.into()),
        SdkError::DispatchFailure(ref failure) => {
            let timed_out = failure.is_timeout();
            match never_connected(&error) {
                true => InvokeError::Unreachable(error.into()),
                false if timed_out => InvokeError::TimedOut(error.into()),
                false => InvokeError::Interrupted(error.into()),
            }
        }
        _ => InvokeError::Interrupted(error.into()),
    }
}

fn throttle(exception: Option<&TooManyRequestsException>, response: &HttpResponse) -> Throttle {
    let reason = exception.and_then(TooManyRequestsException::reason);
    let reason = reason.and_then(|reason| reason.as_str().parse().ok());
    let asked = exception.and_then(TooManyRequestsException::retry_after_seconds);
    let asked = asked.or_else(|| response.headers().get("retry-after"));
    let seconds = asked.and_then(|seconds| seconds.trim().parse().ok());
    let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Throttle::new(reason.unwrap_or(ThrottleReason::Unknown), delay)
}

/// Returns true if the request was certainly not sent, because no connection was established.
fn never_connected(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| {
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        error.downcast_ref().is_some_and(legacy::Error::is_connect)
            || error.downcast_ref().is_some_and(refused)
    })
}

/// Whether a request was signed, and so counts as sent.
///
/// The flag is written and read by one task, so relaxed order is enough.
///
/// The SDK's errors don't tell: a failure to get credentials looks like a failed connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    /// Converts the error of the request that this interceptor watched.
    pub(super) fn error<E>(&self, error: SdkError<E, HttpResponse>) -> InvokeError
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match self.0.load(Ordering::Relaxed) {
            true => invoke_error(error),
            false => InvokeError::Unsigned(error.into()),
        }
    }
}

impl Intercept for Sent {
    fn name(&self) -> &'static str {
        "Sent"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::operation::invoke;

    use super::*;

    fn response(status: u16, retry_after: Option<&'static str>) -> HttpResponse {
        let mut response = HttpResponse::new(
            status.try_into().unwrap(),
            aws_sdk_lambda::primitives::SdkBody::empty(),
        );
        if let Some(seconds) = retry_after {
            response.headers_mut().insert("retry-after", seconds);
        }
        response
    }

    fn too_many(reason: &str, seconds: Option<&str>) -> invoke::InvokeError {
        let exception = TooManyRequestsException::builder()
            .reason(reason.into())
            .set_retry_after_seconds(seconds.map(Into::into))
            .build();
        invoke::InvokeError::TooManyRequestsException(exception)
    }

    #[test]
    fn a_delay_is_taken_from_the_exception_or_the_header() {
        for (said, header, expected) in [
            (Some("2"), Some("7"), Some(2.0)),
            (Some("0.5"), None, Some(0.5)),
            (None, Some("7"), Some(7.0)),
            (Some("soon"), None, None),
            (Some("-1"), None, None),
            (Some("1e300"), None, None),
            (None, None, None),
        ] {
            let error = too_many("ConcurrentInvocationLimitExceeded", said);
            let error = SdkError::service_error(error, response(429, header));
            let InvokeError::Throttled(throttle) = invoke_error(error) else { panic!() };
            assert_eq!(throttle.reason(), ThrottleReason::ConcurrentInvocations);
            assert_eq!(throttle.retry_after().map(|delay| delay.as_secs_f64()), expected);
        }
    }
}
