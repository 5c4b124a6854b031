use std::{
    fmt,
    future::{Future, Pending, pending},
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{task::JoinSet, time::sleep};

use super::{
    acceptor::accept,
    connection::Protocol,
    core::{Core, Phase},
    socket::BoundSocket,
};
use crate::future::{LazySleep, polled_after_completion};

pin_project! {
    /// The work of a [`Listener`](super::Listener): a future that accepts and serves connections
    /// until its graceful shutdown, then drains them, and returns what became of them.
    ///
    /// The shutdown begins when the signal of [`shutdown_on`](Self::shutdown_on) is ready, or by
    /// [`ListenerHandle::shutdown`](super::ListenerHandle::shutdown):
    ///
    /// 1. The connections that wait in the kernel's queue are accepted, and the listening sockets
    ///    are closed.
    /// 2. Connections without a request in flight are closed. One that has not had a request yet
    ///    gets a second for it.
    /// 3. Responses say `Connection: close`; HTTP/2 gets a GOAWAY in two steps, so that no request
    ///    on the way is lost. Requests in flight, tunnels, and connections that
    ///    `serve_connections` has given to a service go on.
    /// 4. After [`drain_limit`](Self::drain_limit) the connections that are still open are cut off.
    ///
    /// Each listening socket and each connection is a task, and so is each request of HTTP/2. They
    /// belong to this future: when it is dropped, they end, and so do the tunnels of their
    /// connections.
    #[must_use = "a listener serves only while this future is polled"]
    pub struct Serve<S, F = Pending<()>> {
        #[pin]
        signal: F,
        // `None` once it was ready.
        sockets: Option<(Vec<BoundSocket>, S)>,
        acceptors: JoinSet<()>,
        core: Arc<Core>,
        stage: Stage,
        drain_limit: Duration,
        #[pin]
        limit: LazySleep,
    }
}

enum Stage {
    Serving { stopped: Pin<Box<dyn Future<Output = ()> + Send>> },
    Draining,
    Cutting,
    Done,
}

/// What became of the connections that were open when a listener began to drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that ended within the limit.
    pub finished: u64,
    /// Connections that were cut off after it.
    pub cut_off: u64,
    /// Requests that were in flight on those.
    pub requests_cut_off: u64,
}

impl<S> Serve<S> {
    pub(super) fn new(bound: Vec<BoundSocket>, core: Arc<Core>, service: S) -> Self {
        let stopped = {
            let core = Arc::clone(&core);
            Box::pin(async move { core.until_draining().await })
        };
        Self {
            signal: pending(),
            sockets: Some((bound, service)),
            acceptors: JoinSet::new(),
            core,
            stage: Stage::Serving { stopped },
            drain_limit: Duration::from_secs(30),
            limit: LazySleep::default(),
        }
    }
}

impl<S, F> Serve<S, F> {
    /// Begins the graceful shutdown when `signal` is ready, such as a signal of the process. It
    /// replaces the signal of an earlier call. Default none.
    pub fn shutdown_on<G: Future<Output = ()>>(self, signal: G) -> Serve<S, G> {
        let Self { sockets, acceptors, core, stage, drain_limit, limit, .. } = self;
        Serve { signal, sockets, acceptors, core, stage, drain_limit, limit }
    }

    /// Sets how long connections have to finish after that; 0 cuts them off at once. Default 30 s.
    pub fn drain_limit(mut self, time: Duration) -> Self {
        self.drain_limit = time;
        self
    }
}

impl<S: Protocol, F: Future<Output = ()>> Future for Serve<S, F> {
    type Output = Drained;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Drained> {
        let mut this = self.project();
        if let Some((sockets, service)) = this.sockets.take() {
            for bound in sockets {
                this.acceptors.spawn(accept(bound, service.clone(), Arc::clone(this.core)));
            }
        }
        loop {
            match this.stage {
                Stage::Serving { stopped } => {
                    if this.signal.as_mut().poll(cx).is_ready() {
                        this.core.advance(Phase::Draining);
                    }
                    if stopped.as_mut().poll(cx).is_pending() {
                        fail_if_panicked(this.acceptors, cx);
                        return Poll::Pending;
                    }
                    *this.stage = Stage::Draining;
                }
                Stage::Draining => {
                    if poll_end(this.acceptors, cx).is_ready() {
                        *this.stage = Stage::Done;
                        return Poll::Ready(this.core.drained());
                    }
                    let limit = *this.drain_limit;
                    ready!(this.limit.as_mut().poll(cx, || sleep(limit)));
                    this.core.advance(Phase::CutOff);
                    *this.stage = Stage::Cutting;
                }
                Stage::Cutting => {
                    ready!(poll_end(this.acceptors, cx));
                    *this.stage = Stage::Done;
                    return Poll::Ready(this.core.drained());
                }
                Stage::Done => polled_after_completion("Serve"),
            }
        }
    }
}

fn poll_end(acceptors: &mut JoinSet<()>, cx: &mut Context<'_>) -> Poll<()> {
    while ready!(acceptors.poll_join_next(cx)).is_some() {}
    Poll::Ready(())
}

/// Passes on the panic of an acceptor, which is one of `Clone` for the service: its socket would
/// be open, and serve no connection.
fn fail_if_panicked(acceptors: &mut JoinSet<()>, cx: &mut Context<'_>) {
    if let Poll::Ready(Some(Err(error))) = acceptors.poll_join_next(cx) {
        if let Ok(panic) = error.try_into_panic() {
            resume_unwind(panic);
        }
    }
}

impl Core {
    fn drained(&self) -> Drained {
        Drained {
            finished: self.counters.connections_drained.load(Relaxed),
            cut_off: self.counters.connections_cut_off.load(Relaxed),
            requests_cut_off: self.counters.requests_cut_off.load(Relaxed),
        }
    }
}

impl<S, F> fmt::Debug for Serve<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Serving { .. } => "serving",
            Stage::Draining => "draining",
            Stage::Cutting => "cutting off",
            Stage::Done => "done",
        };
        f.debug_struct("Serve")
            .field("stage", &stage)
            .field("drain_limit", &self.drain_limit)
            .finish_non_exhaustive()
    }
}
