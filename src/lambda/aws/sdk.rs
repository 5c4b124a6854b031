use aws_sdk_lambda::{
    Client,
    operation::{
        RequestId, invoke::InvokeOutput,
        invoke_with_response_stream::InvokeWithResponseStreamOutput,
    },
    primitives::Blob,
    types::{
        InvocationType as SdkInvocationType, InvokeWithResponseStreamResponseEvent as Event,
        LogType, ResponseStreamingInvocationType,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{Stream, future::BoxFuture, stream};

use super::error::Sent;
use crate::{
    BoxError,
    lambda::{
        FunctionError, FunctionErrorKind, FunctionName, Invocation, InvocationType, Invoke,
        InvokeError, InvokeStreaming, Invoked, InvokedStream,
    },
};

/// Invokes functions by a client of the AWS SDK. The [module](super) says how to configure it.
#[derive(Clone, Debug)]
pub struct Sdk {
    client: Client,
}

impl Sdk {
    /// Creates a transport that invokes by `client`. Logs a warning if the client may retry, which
    /// hides failures from the balancer.
    #[must_use]
    pub fn new(client: Client) -> Self {
        if client.config().retry_config().is_none_or(|retries| retries.has_retry()) {
            tracing::warn!(
                "the SDK's client may retry invocations, which hides failures and throttles from \
                 the balancer and delays failover: set retry_config(RetryConfig::disabled())"
            );
        }
        Self { client }
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Invoke for Sdk {
    type Future = SdkFuture<Invoked>;

    fn invoke(&self, function: &FunctionName, invocation: Invocation) -> Self::Future {
        let request = self
            .client
            .invoke()
            .function_name(function.unqualified())
            .invocation_type(match invocation.kind() {
                InvocationType::RequestResponse => SdkInvocationType::RequestResponse,
                InvocationType::Event => SdkInvocationType::Event,
                InvocationType::DryRun => SdkInvocationType::DryRun,
            })
            .set_qualifier(invocation.qualifier().map(ToString::to_string))
            .set_log_type(invocation.wants_log_tail().then_some(LogType::Tail))
            .set_client_context(client_context(&invocation))
            .payload(payload(invocation));
        let sent = Sent::default();
        let request = request.customize().interceptor(sent.clone());
        Box::pin(
            async move { request.send().await.map(invoked).map_err(|error| sent.error(error)) },
        )
    }
}

impl InvokeStreaming for Sdk {
    type Future = SdkFuture<InvokedStream>;

    /// Ignores what streamed invocations don't support: the end of the log, and the type `Event`.
    fn invoke_streaming(&self, function: &FunctionName, invocation: Invocation) -> Self::Future {
        let request = self
            .client
            .invoke_with_response_stream()
            .function_name(function.unqualified())
            .invocation_type(match invocation.kind() {
                InvocationType::DryRun => ResponseStreamingInvocationType::DryRun,
                _ => ResponseStreamingInvocationType::RequestResponse,
            })
            .set_qualifier(invocation.qualifier().map(ToString::to_string))
            .set_client_context(client_context(&invocation))
            .payload(payload(invocation));
        let sent = Sent::default();
        let request = request.customize().interceptor(sent.clone());
        Box::pin(async move {
            let output = request.send().await.map_err(|error| sent.error(error))?;
            let version = output.executed_version().and_then(|version| version.parse().ok());
            let request_id = output.request_id().map(Into::into);
            let mut streamed = InvokedStream::new(pieces(output));
            (streamed.executed_version, streamed.request_id) = (version, request_id);
            Ok(streamed)
        })
    }
}

fn client_context(invocation: &Invocation) -> Option<String> {
    invocation.client_context().map(|json| STANDARD.encode(json))
}

/// Does not copy if the payload has no other owner.
fn payload(invocation: Invocation) -> Blob {
    Blob::new(Vec::from(invocation.into_payload()))
}

fn invoked(output: InvokeOutput) -> Invoked {
    let log_tail = output.log_result().and_then(|log| STANDARD.decode(log).ok());
    Invoked {
        status: u16::try_from(output.status_code()).unwrap_or_default(),
        request_id: output.request_id().map(Into::into),
        function_error: output.function_error().map(|kind| match kind {
            "Handled" => FunctionErrorKind::Handled,
            _ => FunctionErrorKind::Unhandled,
        }),
        executed_version: output.executed_version().and_then(|version| version.parse().ok()),
        log_tail: log_tail.map(|log| String::from_utf8_lossy(&log).into()),
        payload: output.payload.map(Blob::into_inner).unwrap_or_default().into(),
        endpoint_id: None,
    }
}

/// Returns the pieces of a streamed response, up to its end or the first error.
fn pieces(
    output: InvokeWithResponseStreamOutput,
) -> impl Stream<Item = Result<Bytes, InvokeError>> + Send {
    let interrupted = |why: BoxError| Some((Err(InvokeError::Interrupted(why)), None));
    stream::unfold(Some(output), move |output| async move {
        let mut output = output?;
        loop {
            return match output.event_stream.recv().await {
                Ok(Some(Event::PayloadChunk(chunk))) => {
                    let piece = chunk.payload.map(Blob::into_inner).unwrap_or_default();
                    Some((Ok(piece.into()), Some(output)))
                }
                Ok(Some(Event::InvokeComplete(end))) => {
                    let code = end.error_code?;
                    let details = end.error_details.unwrap_or_default();
                    let kind = FunctionErrorKind::Unhandled;
                    let failed = FunctionError::new(kind, details.as_bytes()).or_type(code);
                    Some((Err(InvokeError::FunctionFailed(failed)), None))
                }
                Ok(Some(_)) => continue,
                Ok(None) => interrupted("the stream ended without notice".into()),
                Err(error) => interrupted(error.into()),
            };
        }
    })
}

/// The response future of an [`Sdk`]. Boxed, because the SDK's futures have no names.
pub type SdkFuture<R> = BoxFuture<'static, Result<R, InvokeError>>;
