use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::{Either, select, try_join};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

/// The connections that a [`Proxy`](crate::http::Proxy) has switched to another protocol, such as
/// WebSocket. Clones share the connections.
///
/// A tunnel copies bytes in both directions until both sides have closed, or until neither has sent
/// anything for the idle time. It is a task of the Tokio runtime that answers the request, because
/// a server hands a connection over when it switches protocols. For the balancer, the request is in
/// flight until the tunnel ends.
///
/// A server on HTTP/1.1 hands its connection over and does not wait for the tunnel, and one on
/// HTTP/2 waits for it indefinitely. When it stops, [`drain`](Self::drain) the tunnels at the same
/// time.
#[derive(Clone, Debug)]
pub struct Tunnels {
    /// Each tunnel is a receiver; `true` closes them.
    closing: Arc<watch::Sender<bool>>,
    idle: Duration,
}

impl Tunnels {
    /// Closes a tunnel after an hour without a byte in either direction.
    #[must_use]
    pub fn new() -> Self {
        Self { closing: Arc::new(watch::Sender::new(false)), idle: Duration::from_secs(3600) }
    }

    setters! {
        /// Sets how long a tunnel may be idle before it is closed. Default 1 h.
        pub fn idle_timeout(time: Duration) => idle = time;
    }

    /// Returns the number of open tunnels.
    #[must_use]
    pub fn count(&self) -> usize {
        self.closing.receiver_count()
    }

    /// Waits until all tunnels have ended, at most for `limit`, then closes the others. Returns how
    /// many it has closed. Later requests for an upgrade get status 503.
    pub async fn drain(&self, limit: Duration) -> usize {
        let _ = timeout(limit, self.closing.closed()).await;
        let left = self.count();
        self.closing.send_replace(true);
        self.closing.closed().await;
        left
    }

    /// Returns whether [`drain`](Self::drain) has closed the tunnels.
    pub(super) fn is_closed(&self) -> bool {
        *self.closing.borrow()
    }

    /// Opens a tunnel. `guard` is dropped when the tunnel ends. Returns `false` outside a runtime.
    pub(super) fn open<G: Send + 'static>(
        &self,
        client: OnUpgrade,
        endpoint: OnUpgrade,
        guard: G,
    ) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        let mut closing = self.closing.subscribe();
        let (idle, sender) = (self.idle, Arc::clone(&self.closing));
        runtime.spawn(async move {
            // Without a sender the tunnels would close: they outlive the proxy.
            let _sender = sender;
            {
                let relay = pin!(relay(client, endpoint, idle));
                let closed = pin!(closing.wait_for(|closing| *closing));
                match select(relay, closed).await {
                    Either::Left((end, _)) => tracing::debug!(?end, "tunnel ended"),
                    Either::Right(_) => tracing::debug!("tunnel closed while draining"),
                }
            }
            // The attempt at the endpoint ends here.
            drop(guard);
            drop(closing);
        });
        true
    }
}

impl Default for Tunnels {
    fn default() -> Self {
        Self::new()
    }
}

/// How a tunnel ended.
#[derive(Debug)]
#[allow(dead_code, reason = "for the log")]
enum End {
    /// One side did not switch protocols in time, or its connection failed before.
    NotSwitched,
    /// Neither side has sent anything for the idle time.
    Idle,
    /// Both sides have closed: bytes from the client, bytes from the endpoint.
    Closed(u64, u64),
    /// A connection failed.
    Failed(io::ErrorKind),
}

/// Both sides have agreed, so what is left is to write the response to the client.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(10);

async fn relay(client: OnUpgrade, endpoint: OnUpgrade, idle: Duration) -> End {
    let Ok(Ok((client, endpoint))) = timeout(SWITCH_TIMEOUT, try_join(client, endpoint)).await
    else {
        return End::NotSwitched;
    };
    let activity = Arc::new(Activity { start: Instant::now(), last: AtomicU64::new(0) });
    let observe = |io: Upgraded| Observed { io: TokioIo::new(io), activity: Arc::clone(&activity) };
    let (mut client, mut endpoint) = (observe(client), observe(endpoint));
    let copy = pin!(copy_bidirectional(&mut client, &mut endpoint));
    let idle = pin!(activity.until_idle(idle));
    match select(copy, idle).await {
        Either::Left((Ok((sent, received)), _)) => End::Closed(sent, received),
        Either::Left((Err(error), _)) => End::Failed(error.kind()),
        Either::Right(_) => End::Idle,
    }
}

/// When a tunnel last moved a byte.
#[derive(Debug)]
struct Activity {
    start: Instant,
    /// Milliseconds since `start`.
    last: AtomicU64,
}

impl Activity {
    fn record(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Relaxed);
    }

    async fn until_idle(&self, limit: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Relaxed));
            // A deadline beyond the range of the clock is never reached.
            let deadline = last.checked_add(limit).and_then(|time| self.start.checked_add(time));
            let Some(deadline) = deadline else { return std::future::pending().await };
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

pin_project! {
    /// One side of a tunnel, which records when it moves a byte.
    struct Observed {
        #[pin]
        io: TokioIo<Upgraded>,
        activity: Arc<Activity>,
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        ready!(this.io.poll_read(cx, buf))?;
        this.activity.record();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Observed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.io.poll_write(cx, buf))?;
        this.activity.record();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.io.poll_write_vectored(cx, bufs))?;
        this.activity.record();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
