use std::{fmt, future::poll_fn, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use tower_service::Service;

use crate::{
    BoxError,
    http::{Client, ClientError, ClientErrorKind, Origin, Pool},
    lambda::{
        FunctionErrorKind, FunctionName, Invocation, Invoke, InvokeError, Invoked, ServiceError,
    },
};

/// How functions are invoked, whatever the type of the client.
#[derive(Clone)]
pub(super) struct AnyInvoke(Arc<InvokeFn>);

type InvokeFn = dyn Fn(&FunctionName, Invocation) -> InvokeFuture + Send + Sync;
type InvokeFuture = BoxFuture<'static, Result<Invoked, InvokeError>>;

impl AnyInvoke {
    pub(super) fn new<I>(invoke: I) -> Self
    where
        I: Invoke<Future: Send + 'static> + Send + Sync + 'static,
    {
        Self(Arc::new(move |function, invocation| Box::pin(invoke.invoke(function, invocation))))
    }

    /// Invokes functions at an address that asks for no signature, such as that of an emulator.
    pub(super) fn unsigned(origin: Origin) -> Self {
        let client = Pool::new().name("functions").client::<Full<Bytes>>(origin);
        Self(Arc::new(move |function, invocation| {
            Box::pin(invoke_unsigned(client.clone(), function.clone(), invocation))
        }))
    }
}

impl Invoke for AnyInvoke {
    type Future = InvokeFuture;

    fn invoke(&self, function: &FunctionName, invocation: Invocation) -> InvokeFuture {
        (self.0)(function, invocation)
    }
}

/// The largest response that a function may have.
const MAX_RESPONSE_BYTES: usize = 6 << 20;

async fn invoke_unsigned(
    mut client: Client<Full<Bytes>>,
    function: FunctionName,
    invocation: Invocation,
) -> Result<Invoked, InvokeError> {
    let interrupted = |error: BoxError| InvokeError::Interrupted(error);
    let qualifier = invocation.qualifier().or_else(|| function.qualifier());
    let qualifier = qualifier.map(|qualifier| format!("?Qualifier={qualifier}"));
    let path = format!(
        "/2015-03-31/functions/{}/invocations{}",
        function.name(),
        qualifier.unwrap_or_default()
    );
    let request = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(invocation.into_payload()))
        .map_err(|error| InvokeError::Unsigned(error.into()))?;
    let unreachable = |error: ClientError| InvokeError::Unreachable(error.into());
    poll_fn(|cx| client.poll_ready(cx)).await.map_err(unreachable)?;
    let response = client.call(request).await.map_err(|error| match error.kind() {
        ClientErrorKind::Connect | ClientErrorKind::Tls | ClientErrorKind::Unsent => {
            unreachable(error)
        }
        // The function may have run.
        _ => InvokeError::Interrupted(error.into()),
    })?;
    let (head, body) = response.into_parts();
    let payload = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map_err(interrupted)?;
    let payload = payload.to_bytes();
    if !head.status.is_success() {
        let error = head.headers.get("x-amzn-errortype").and_then(|code| code.to_str().ok());
        let message = String::from_utf8_lossy(&payload).into_owned();
        let error = ServiceError::new(head.status.as_u16(), error.unwrap_or_default(), message);
        return Err(InvokeError::Service(Box::new(error)));
    }
    let invoked = Invoked::new(head.status.as_u16(), payload);
    Ok(match head.headers.get("x-amz-function-error").map(http::HeaderValue::as_bytes) {
        None => invoked,
        Some(b"Handled") => invoked.with_function_error(FunctionErrorKind::Handled),
        Some(_) => invoked.with_function_error(FunctionErrorKind::Unhandled),
    })
}

impl fmt::Debug for AnyInvoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyInvoke")
    }
}
