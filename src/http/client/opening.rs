//! The task that opens a connection and then drives it.

use std::{
    io,
    sync::{Arc, Weak},
};

use http::uri::Scheme;
use tokio::time::{Instant, timeout_at};

use super::{
    connect::{Io, Slot, Transport, dial},
    endpoint::{Endpoint, Leased, RequestBody, Waiter, later},
    http1, http2,
    pool::Protocol,
};
use crate::error::{ClientError, ClientErrorKind};

/// A new connection.
pub(super) enum Established<B> {
    Http1(http1::Connection<B>),
    Http2(http2::Connection<B>),
}

/// A socket that is being opened. The requests that wait for it learn of every end, also of a panic
/// and of the end of the runtime.
pub(super) struct Opening<B: RequestBody> {
    /// `None` once they know.
    endpoint: Option<Arc<Endpoint<B>>>,
    /// The request that needs a connection of its own. Otherwise it is for the queue.
    only_for: Option<Waiter<B>>,
}

impl<B: RequestBody> Opening<B> {
    pub(super) fn new(endpoint: Arc<Endpoint<B>>, only_for: Option<Waiter<B>>) -> Self {
        Self { endpoint: Some(endpoint), only_for }
    }

    /// Hands the connection over, and returns the pool without keeping it alive.
    fn opened(mut self, connection: Established<B>) -> Weak<Endpoint<B>> {
        let Some(endpoint) = self.endpoint.take() else { return Weak::new() };
        match (self.only_for.take(), connection) {
            (Some(waiter), Established::Http1(connection)) => {
                let returned = endpoint.deliver(waiter, Leased::Http1(connection));
                if let Some(Leased::Http1(connection)) = returned {
                    endpoint.release(connection);
                }
            }
            (_, connection) => endpoint.opened(connection),
        }
        Arc::downgrade(&endpoint)
    }

    pub(super) fn failed(mut self, error: &ClientError) {
        self.end(error, false);
    }

    fn end(&mut self, error: &ClientError, runtime_ended: bool) {
        let Some(endpoint) = self.endpoint.take() else { return };
        if !runtime_ended {
            endpoint.record_error(error);
        }
        match self.only_for.take() {
            // An endpoint that speaks HTTP/2 and fails this handshake has no HTTP/1.1.
            Some(waiter)
                if error.kind() == ClientErrorKind::Tls && endpoint.has_negotiated_http2() =>
            {
                let error = ClientError::new(ClientErrorKind::Unsupported, error.clone());
                endpoint.fail([waiter], &error);
            }
            Some(waiter) => endpoint.fail([waiter], error),
            None => endpoint.connect_failed(error, runtime_ended),
        }
    }
}

impl<B: RequestBody> Drop for Opening<B> {
    fn drop(&mut self) {
        let error = || ClientError::new(ClientErrorKind::Connect, "the runtime has ended");
        if self.endpoint.is_some() {
            self.end(&error(), true);
        }
    }
}

/// The task of a connection.
pub(super) async fn run<B: RequestBody>(opening: Opening<B>, slot: Slot) {
    let Some(endpoint) = opening.endpoint.clone() else { return };
    let offer = match opening.only_for {
        Some(_) => Some(Protocol::Http1),
        None => endpoint.pool.prior_knowledge(&endpoint.target.origin),
    };
    // The socket counts until the waiting requests have the error. Otherwise another would be
    // opened for them before.
    let mut slot = Some(slot);
    let opened = open_transport(&endpoint, &mut slot, offer).await;
    let pool = &endpoint.pool;
    let retire_at = pool.retire_at();
    let first_check = endpoint.first_check(retire_at);
    let id = endpoint.next_id();
    match opened {
        Err(error) => {
            drop(endpoint);
            opening.failed(&error);
            drop(slot);
        }
        Ok((io, Protocol::Http1)) => {
            match http1::establish(io, id, retire_at, pool.max_response_head).await {
                Err(error) => opening.failed(&ClientError::new(ClientErrorKind::Connect, error)),
                Ok((connection, driver)) => {
                    let _open = pool.counters.open();
                    drop(endpoint);
                    driver.run(opening.opened(Established::Http1(connection)), first_check).await;
                }
            }
        }
        Ok((io, Protocol::Http2)) => {
            let events: Weak<Endpoint<B>> = Arc::downgrade(&endpoint);
            match http2::establish(
                io,
                id,
                retire_at,
                pool.keep_alive,
                pool.max_response_head,
                events,
            )
            .await
            {
                Err(error) => opening.failed(&ClientError::new(ClientErrorKind::Connect, error)),
                Ok((connection, driver)) => {
                    let _open = pool.counters.open();
                    drop(endpoint);
                    driver.run(opening.opened(Established::Http2(connection)), first_check).await;
                }
            }
        }
    }
}

/// Opens TCP and, for https, TLS. Takes the slot on success.
async fn open_transport<B>(
    endpoint: &Endpoint<B>,
    slot: &mut Option<Slot>,
    offer: Option<Protocol>,
) -> Result<(Io, Protocol), ClientError> {
    let Endpoint { pool, target, .. } = endpoint;
    let deadline = later(Instant::now(), pool.connect_timeout);
    let connect = |error: io::Error| ClientError::new(ClientErrorKind::Connect, error);
    let timed_out = || {
        io::Error::new(io::ErrorKind::TimedOut, format!("not within {:?}", pool.connect_timeout))
    };
    if target.origin.port() == 0 {
        return Err(ClientError::new(ClientErrorKind::Connect, "the endpoint has port 0"));
    }
    let stream = match timeout_at(deadline, dial(&target.origin)).await {
        Ok(stream) => stream.map_err(connect)?,
        Err(_elapsed) => return Err(connect(timed_out())),
    };
    if target.origin.scheme() == &Scheme::HTTPS {
        #[cfg(feature = "tls")]
        if let Some(tls) = &pool.tls {
            let (stream, protocol) =
                tls.connect(stream, &target.origin, offer, deadline, pool.connect_timeout).await?;
            return Ok((Io::new(Transport::Tls(Box::new(stream)), slot.take()), protocol));
        }
        let reason =
            "the origin is https, and the pool has no TLS: set `Pool::tls` (feature `tls`)";
        return Err(ClientError::new(ClientErrorKind::Tls, reason));
    }
    Ok((Io::new(Transport::Tcp(stream), slot.take()), offer.unwrap_or(Protocol::Http1)))
}
