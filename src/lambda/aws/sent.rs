use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_sdk_lambda::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse,
        interceptors::BeforeTransmitInterceptorContextRef,
    },
    error::{ProvideErrorMetadata, SdkError},
};

use super::error::{TooMany, invoke_error};
use crate::{BoxError, lambda::InvokeError};

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
        E: TooMany + ProvideErrorMetadata + StdError + Send + Sync + 'static,
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
