use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures::future::{Either, select};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{sleep, sleep_until, timeout},
};

#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use super::{
    ClientStream, ConnectionInfo, HttpService,
    activity::{Activity, Expiry, FIRST_REQUEST_GRACE},
    exchange::{Exchanges, Extensions},
    frame_meter::FrameMeter,
    info::Facts,
    serving::{Served, serve},
    stream_tasks::StreamTasks,
    version::Version,
};
#[cfg(feature = "tls")]
use crate::listener::tls::{ServerTls, TlsDetails};
use crate::{
    http::ClientConnection,
    listener::{
        LocalAddress, ProxyHeader,
        core::Core,
        limits::Limits,
        proxy_protocol::ReceiveError,
        socket::Opening,
        status::{Closing, End, Refusal},
    },
};

/// An accepted connection.
pub(in crate::listener) struct Connection<S> {
    pub(in crate::listener) stream: ClientStream,
    /// `None` on a Unix socket.
    pub(in crate::listener) peer: Option<SocketAddr>,
    pub(in crate::listener) local: LocalAddress,
    pub(in crate::listener) opening: Arc<Opening>,
    pub(in crate::listener) service: S,
    pub(in crate::listener) core: Arc<Core>,
}

/// A connection after its PROXY header and its TLS handshake.
pub(in crate::listener) struct Opened {
    pub(super) io: OpenedIo,
    pub(super) peer: Option<SocketAddr>,
    pub(super) local: LocalAddress,
    pub(super) proxy_header: Option<ProxyHeader>,
    pub(super) activity: Arc<Activity>,
}

pub(super) enum OpenedIo {
    Plain(ClientStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<ClientStream>>, TlsDetails),
}

/// What is spoken on the connections of a listener.
pub(in crate::listener) trait Protocol: Clone + Send + 'static {
    /// Serves a connection until its socket is closed or handed over.
    fn serve(self, opened: Opened) -> impl Future<Output = ()> + Send;
}

impl<S: Protocol> Connection<S> {
    /// Serves the connection until its socket is closed.
    pub(in crate::listener) async fn run(self) {
        let activity = Arc::clone(self.stream.activity());
        let opened = pin!(self.open());
        // Dropped before what it cuts off, also when the listener drops the task.
        let cut = CutOnDrop(&activity);
        opened.await;
        drop(cut);
    }

    async fn open(mut self) {
        let proxy_header = match self.receive_proxy_header().await {
            Ok(header) => header,
            Err(end) => return self.stream.activity().set_end(end),
        };
        let address = proxy_header.as_ref().and_then(ProxyHeader::source).or(self.peer);
        if let (Some(limit), Some(address)) = (&self.core.addresses, address) {
            let Some(permit) = limit.admit(address.ip()) else {
                let activity = self.stream.activity();
                return activity.set_end(End::Refused(Refusal::ConnectionsPerAddress));
            };
            self.stream.hold(permit);
        }
        let Self { stream, peer, local, opening, service, .. } = self;
        let activity = Arc::clone(stream.activity());
        #[cfg(feature = "tls")]
        if let Some(tls) = &opening.tls {
            // Boxed, so that a connection without TLS has no memory for it.
            return Box::pin(async move {
                activity.set_handshaking(true);
                // Boxed, so that the memory of the handshake is free after it.
                let shaken = Box::pin(shake_hands(stream, tls, &activity.core)).await;
                let Some((stream, details)) = shaken else { return };
                activity.set_handshaking(false);
                let io = OpenedIo::Tls(stream, details);
                service.serve(Opened { io, peer, local, proxy_header, activity }).await;
            })
            .await;
        }
        #[cfg(not(feature = "tls"))]
        drop(opening);
        let io = OpenedIo::Plain(stream);
        service.serve(Opened { io, peer, local, proxy_header, activity }).await;
    }

    /// Reads the PROXY header, if the socket expects one.
    async fn receive_proxy_header(&mut self) -> Result<Option<ProxyHeader>, End> {
        let Some(settings) = &self.opening.proxy_protocol else { return Ok(None) };
        let peer = self.peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string());
        let refuse = |core: &Core, refusal: Refusal, reason: &dyn std::fmt::Display| {
            core.log_refusal(refusal, &peer, reason);
            End::Refused(refusal)
        };
        if self.peer.is_some_and(|peer| !settings.trusts(peer.ip())) {
            let reason = "a PROXY header is expected, and the peer is in no trusted network";
            return Err(refuse(&self.core, Refusal::UntrustedPeer, &reason));
        }
        let received = pin!(settings.receive(&mut self.stream));
        match within(&self.core, settings.timeout, received).await {
            Ok(Ok(header)) => Ok(Some(header)),
            Ok(Err(ReceiveError::Silent)) => Err(End::Closed(Closing::Finished)),
            Ok(Err(error)) => Err(refuse(&self.core, Refusal::ProxyHeader, &error)),
            Err(Late::TimedOut) => {
                let reason = "the PROXY header was not complete in time";
                Err(refuse(&self.core, Refusal::ProxyTimeout, &reason))
            }
            Err(Late::Draining) => Err(End::Closed(Closing::Drained)),
        }
    }
}

impl<S: HttpService> Protocol for S {
    async fn serve(self, opened: Opened) {
        let Opened { io, peer, local, proxy_header, activity } = opened;
        activity.await_first_request();
        match io {
            OpenedIo::Plain(mut stream) => {
                let version = match detect_version(&mut stream, &activity.core).await {
                    Ok(version) => version,
                    Err(closing) => return activity.set_end(End::Closed(closing)),
                };
                let facts = Facts {
                    peer,
                    local,
                    proxy_header,
                    #[cfg(feature = "tls")]
                    tls: None,
                };
                serve_http(stream, version, exchanges(self, facts, &activity), &activity).await;
            }
            #[cfg(feature = "tls")]
            OpenedIo::Tls(stream, details) => {
                let version = Version::from_alpn(stream.get_ref().1.alpn_protocol());
                let facts = Facts { peer, local, proxy_header, tls: Some(details) };
                serve_http(stream, version, exchanges(self, facts, &activity), &activity).await;
            }
        }
    }
}

/// Looks at the first bytes, if both versions of HTTP are served.
async fn detect_version(stream: &mut ClientStream, core: &Core) -> Result<Version, Closing> {
    if !core.http2 {
        return Ok(Version::Http1);
    }
    let detected = pin!(Version::detect(stream));
    match within(core, core.limits.times.head, detected).await {
        Ok(Ok(Some(version))) => Ok(version),
        Ok(Ok(None)) => Err(Closing::Finished),
        Ok(Err(_)) => Err(Closing::Failed),
        Err(Late::TimedOut) => Err(Closing::HeadTimeout),
        Err(Late::Draining) => Err(Closing::Drained),
    }
}

/// Does the TLS handshake, after it has waited for its turn. `None` if it fails.
#[cfg(feature = "tls")]
async fn shake_hands(
    mut stream: ClientStream,
    tls: &ServerTls,
    core: &Core,
) -> Option<(Box<TlsStream<ClientStream>>, TlsDetails)> {
    let activity = Arc::clone(stream.activity());
    let handshake = pin!(async {
        // A client that sends nothing must not delay those that wait for their turn.
        read_hello(&mut stream).await?;
        // Handshakes are the work that a client can ask for most cheaply. The semaphore is never
        // closed.
        let _permit = core.handshakes.acquire().await;
        tls.accept_with(stream, core.http2).await
    });
    let shaken = within(core, core.limits.handshake, handshake).await;
    // Before the handshake is dropped, and the socket with it.
    match shaken {
        Ok(Ok((stream, details))) => return Some((Box::new(stream), details)),
        Ok(Err(error)) => tracing::debug!(error, "a TLS handshake has failed"),
        Err(Late::TimedOut) => activity.set_end(End::Refused(Refusal::HandshakeTimeout)),
        Err(Late::Draining) => activity.set_end(End::Closed(Closing::Drained)),
    }
    None
}

/// Reads the first record of the handshake ahead, or what there is of it at the end of the stream.
#[cfg(feature = "tls")]
async fn read_hello(stream: &mut ClientStream) -> std::io::Result<()> {
    while !has_record(stream.ahead()) && stream.read_ahead().await? > 0 {}
    Ok(())
}

/// Returns whether the first record of a handshake is complete, or is something else, which the
/// handshake rejects.
#[cfg(feature = "tls")]
fn has_record(ahead: &[u8]) -> bool {
    /// The content type of RFC 8446, 5.1, and the longest record.
    const HANDSHAKE: u8 = 22;
    const MAX_RECORD_BYTES: usize = (1 << 14) + 256;
    match *ahead {
        [HANDSHAKE, _, _, high, low, ref record @ ..] => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            record.len() >= length.min(MAX_RECORD_BYTES)
        }
        [] | [HANDSHAKE, ..] => false,
        _ => true,
    }
}

fn exchanges<S>(service: S, facts: Facts, activity: &Arc<Activity>) -> Exchanges<S> {
    let header = facts.proxy_header.as_ref();
    let peer = header.and_then(ProxyHeader::source).or(facts.peer);
    let local = header.and_then(ProxyHeader::destination).or_else(|| facts.local.tcp());
    #[cfg(feature = "tls")]
    let is_tls = facts.tls.is_some();
    #[cfg(not(feature = "tls"))]
    let is_tls = false;
    // The client's TLS may end at the load balancer in front.
    let is_tls = is_tls || header.and_then(ProxyHeader::ssl).is_some_and(|ssl| ssl.is_tls());
    let client =
        peer.zip(local).map(|(peer, local)| ClientConnection::new(peer, local).tls(is_tls));
    let extensions = Extensions { info: ConnectionInfo::new(facts), client };
    Exchanges::new(service, extensions, Arc::clone(activity))
}

/// Serves HTTP, and waits for the end of the tunnel if the connection becomes one.
async fn serve_http<I, S>(
    io: I,
    version: Version,
    exchanges: Exchanges<S>,
    activity: &Arc<Activity>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService,
{
    let limits = &activity.core.limits;
    // Boxed, so that a connection has the memory of its own version only.
    match version {
        Version::Http1 => {
            let connection = http1(limits).serve_connection(TokioIo::new(io), exchanges);
            let mut connection = Box::new(connection.with_upgrades());
            let served = serve(&mut *connection, activity, None).await;
            let refuses = matches!(served, Served::Expired(Expiry::Head));
            end(activity, served);
            if refuses && activity.has_part_of_a_head() {
                if let Some(parts) = connection.into_parts() {
                    refuse_late_head(parts.io.into_inner()).await;
                }
                return;
            }
        }
        Version::Http2 => {
            activity.set_http2();
            let tasks = StreamTasks::default();
            let mut http = http2::Builder::new(tasks.spawner());
            configure_http2(&mut http, limits);
            let io = TokioIo::new(FrameMeter::new(io, Arc::clone(activity)));
            let mut connection = Box::new(http.serve_connection(io, exchanges));
            let served = serve(&mut *connection, activity, Some(&tasks)).await;
            end(activity, served);
        }
    }
    // What is left of the connection is dropped. After an upgrade its socket is still open.
    await_tunnel(activity).await;
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // The limits of time are those of `serving`.
    http.header_read_timeout(None)
        .max_header_size(limits.head_bytes as usize)
        .max_buf_size((limits.head_bytes as usize).max(MIN_BUFFER));
    http
}

/// Hyper's own default is 400 KiB for each direction of each connection.
const MIN_BUFFER: usize = 64 * 1024;

fn configure_http2(http: &mut http2::Builder<super::stream_tasks::Spawner>, limits: &Limits) {
    http.max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.head_bytes)
        .enable_connect_protocol();
}

/// Records why a connection has ended, before its socket is closed.
fn end(activity: &Activity, served: Served) {
    let closing = match served {
        // The socket decides when it is closed: a tunnel may follow.
        Served::Ended(Ok(())) => return,
        Served::Ended(Err(error)) => {
            tracing::debug!(%error, "a connection has failed");
            Closing::Failed
        }
        Served::Expired(expiry) => match expiry {
            Expiry::Head => Closing::HeadTimeout,
            Expiry::KeepAlive => Closing::KeepAlive,
            Expiry::Idle => Closing::IdleTimeout,
            Expiry::Write => Closing::WriteTimeout,
            Expiry::Age => Closing::Retired,
            Expiry::Drain => Closing::Drained,
        },
    };
    activity.set_end(End::Closed(closing));
}

/// Answers a request whose head did not come in time.
async fn refuse_late_head(mut io: impl AsyncWrite + Unpin) {
    const RESPONSE: &[u8] =
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let refused = async {
        io.write_all(RESPONSE).await?;
        io.shutdown().await
    };
    // A client that reads nothing either is not waited for.
    let _ = timeout(Duration::from_secs(1), refused).await;
}

/// Waits until the socket is closed, at most until it has been idle for too long.
async fn await_tunnel(activity: &Activity) {
    let mut closed = pin!(poll_fn(|cx| activity.poll_closed(cx)));
    loop {
        let deadline = activity.tunnel_deadline(&activity.core.limits.times);
        if activity.now() >= deadline && !activity.is_closed() {
            activity.set_end(End::Closed(Closing::IdleTimeout));
            return activity.cut();
        }
        let idle = pin!(sleep_until(activity.instant(deadline)));
        if let Either::Left(_) = select(&mut closed, idle).await {
            return;
        }
    }
}

/// Cuts the connection off when its task ends before the socket is closed, for whatever reason:
/// after an upgrade, another task has the socket.
struct CutOnDrop<'a>(&'a Arc<Activity>);

impl Drop for CutOnDrop<'_> {
    fn drop(&mut self) {
        let activity = self.0;
        if activity.is_closed() {
            return;
        }
        if std::thread::panicking() {
            activity.set_end(End::Closed(Closing::Failed));
        }
        activity.cut_off();
    }
}

/// Why a step was given up.
enum Late {
    TimedOut,
    /// The listener drains.
    Draining,
}

/// Waits for a step before HTTP, at most for `limit`, and not for long while the listener drains.
async fn within<T>(
    core: &Core,
    limit: Duration,
    step: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Late> {
    let draining = async {
        core.until_draining().await;
        sleep(FIRST_REQUEST_GRACE).await;
    };
    let (limit, draining) = (pin!(sleep(limit)), pin!(draining));
    match select(step, select(limit, draining)).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right((Either::Left(_), _)) => Err(Late::TimedOut),
        Either::Right((Either::Right(_), _)) => Err(Late::Draining),
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::has_record;

    #[test]
    fn a_record_is_complete_with_its_last_byte() {
        let record = [22, 3, 1, 0, 2, 7, 7];
        for length in 0..record.len() {
            assert!(!has_record(&record[..length]), "{length}");
        }
        assert!(has_record(&record));
        assert!(has_record(b"GET / HTTP/1.1"), "no record of a handshake");
    }
}
