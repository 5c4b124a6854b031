use std::{
    fmt::Debug,
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tower::{Service, ServiceExt};

/// Returns the time for this number of requests, one after the other, polled by hand, so that no
/// executor is measured.
pub fn by_hand<S>(service: &mut S, requests: u64) -> Duration
where
    S: Service<(), Error: Debug>,
{
    let cx = &mut Context::from_waker(Waker::noop());
    let start = Instant::now();
    for _ in 0..requests {
        let Poll::Ready(Ok(())) = service.poll_ready(cx) else {
            panic!("an endpoint that answers at once is always ready");
        };
        let Poll::Ready(Ok(response)) = pin!(service.call(())).poll(cx) else {
            panic!("an endpoint that answers at once answers at once");
        };
        black_box(response);
    }
    start.elapsed()
}

/// The same for a service that has a task of its own and must be waited for.
pub async fn on_runtime<S>(service: &mut S, requests: u64) -> Duration
where
    S: Service<(), Error: Debug>,
{
    let start = Instant::now();
    for _ in 0..requests {
        let ready = service.ready().await.expect("ready");
        black_box(ready.call(()).await.expect("a response"));
    }
    start.elapsed()
}
