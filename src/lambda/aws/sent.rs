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

/// Watches one request: from when it is signed it counts as sent.
///
/// The SDK's errors do not tell. A failure to get credentials looks like one of the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    /// The error of the request that was watched, as ours.
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
