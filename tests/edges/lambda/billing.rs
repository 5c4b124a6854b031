//! What invocations cost, by the reports in the functions' logs.

use std::{future::ready, time::Duration};

use tower::{Layer, ServiceExt};
use tower_lb::lambda::{
    BillingLayer, Function, FunctionName, Invocation, InvocationType, InvokeError, Invoked,
};

const LOG: &str = "START RequestId: 1\nEND RequestId: 1\n\
    REPORT RequestId: 1\tDuration: 99.1 ms\tBilled Duration: 250 ms\tMemory Size: 2048 MB\t\
    Max Memory Used: 77 MB";

/// The function does what its payload says. A log is returned only on request, as Lambda does.
fn invoke(
    _: &FunctionName,
    invocation: Invocation,
) -> std::future::Ready<Result<Invoked, InvokeError>> {
    let log = match &**invocation.payload() {
        b"fail" => return ready(Err(InvokeError::TimedOut("no response".into()))),
        b"cold" => format!("{LOG}\tInit Duration: 500 ms\t\n"),
        b"silent" => String::new(),
        _ => LOG.into(),
    };
    let invoked = Invoked::new(200, "{}");
    ready(Ok(if invocation.wants_log_tail() { invoked.with_log_tail(log) } else { invoked }))
}

#[tokio::test]
async fn reports_add_up_to_what_is_billed() {
    let billing = BillingLayer::new().name("orders\n");
    let functions = ["orders:1", "orders:2"]
        .map(|name| billing.layer(Function::new(invoke, name.parse().unwrap())));
    for payload in ["cold", "warm", "fail", "silent", "cold"] {
        for function in &functions {
            let _ = function.clone().oneshot(payload.into()).await;
        }
    }
    let event = Invocation::from("event").with_type(InvocationType::Event);
    functions[0].clone().oneshot(event).await.unwrap();
    let status = billing.status();
    assert_eq!((status.invocations, status.unknown, status.cold_starts), (6, 2, 4));
    assert_eq!(status.billed_time, Duration::from_millis(6 * 250));
    assert_eq!(status.cold_start_time, Duration::from_secs(2));
    assert_eq!((status.gb_seconds, status.max_memory_mb), (3.0, 77));
    assert_eq!(
        status.to_string(),
        "orders\\n: 6 invocations, 4 cold starts, 1.5s billed, 3.000 GB-seconds, at most 77 MB used; \
         2 without report"
    );
    let json = serde_json::to_value(status).unwrap();
    assert_eq!((&json["billed_time"], &json["cold_start_time"]), (&1.5.into(), &2.0.into()));
}
