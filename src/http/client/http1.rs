//! HTTP/1.1 connections: one request at a time.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::ReusableBoxFuture;

use super::{
    body::SentBody,
    connect::Io,
    endpoint::{Endpoint, RequestBody},
};
use crate::sync::{Mutex, lock};

type Exchanged<B> = Result<Response<Incoming>, TrySendError<Request<SentBody<B>>>>;

/// A connection that is idle, or that belongs to one request.
pub(super) struct Connection<B> {
    pub(super) id: u64,
    sender: http1::SendRequest<SentBody<B>>,
    /// The exchange with the endpoint. hyper's future cannot be named, so it is in a box. The box
    /// belongs to the connection: a request does not allocate one.
    pub(super) exchange: ReusableBoxFuture<'static, Exchanged<B>>,
    parking: Arc<Parking<B>>,
    /// The end of its age.
    pub(super) retire_at: Option<Instant>,
    /// Whether it has served a request.
    pub(super) is_reused: bool,
}

/// Where a connection waits until its response body has ended.
///
/// The task of the connection returns it to the pool from here, so no other task is needed.
struct Parking<B>(Mutex<Parked<B>>);

enum Parked<B> {
    None,
    Connection(Connection<B>),
    /// The connection has ended.
    Closed,
}

/// hyper's side of a connection, which has to be driven for the connection to work.
pub(super) struct Driver<B, C> {
    connection: C,
    parking: Arc<Parking<B>>,
    id: u64,
}

/// Returns a new connection and its driver.
pub(super) async fn establish<B: RequestBody>(
    io: Io,
    id: u64,
    retire_at: Option<Instant>,
    max_head: Option<usize>,
) -> hyper::Result<(Connection<B>, Driver<B, impl Future<Output = hyper::Result<()>> + Send>)> {
    let mut builder = http1::Builder::new();
    if let Some(max_head) = max_head {
        builder.max_buf_size(max_head);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
    let parking = Arc::new(Parking(Mutex::new(Parked::None)));
    let driver =
        Driver { connection: connection.with_upgrades(), parking: Arc::clone(&parking), id };
    let exchange = ReusableBoxFuture::new(std::future::pending());
    let connection = Connection { id, sender, exchange, parking, retire_at, is_reused: false };
    Ok((connection, driver))
}

impl<B: RequestBody> Connection<B> {
    /// Starts an exchange. The connection must be [usable](Self::is_usable).
    pub(super) fn send(&mut self, request: Request<SentBody<B>>) {
        self.exchange.set(self.sender.try_send_request(request));
    }
}

impl<B> Connection<B> {
    /// Returns whether the connection can take a request.
    pub(super) fn is_usable(&self) -> bool {
        self.sender.is_ready()
    }

    /// Returns whether the connection is too old for another request.
    pub(super) fn is_retired(&self) -> bool {
        self.retire_at.is_some_and(|retire_at| retire_at <= Instant::now())
    }

    /// Returns whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns the connection to the pool, at once or when its response body has ended.
    pub(super) fn finish(mut self, endpoint: &Arc<Endpoint<B>>) {
        self.is_reused = true;
        if self.is_usable() {
            endpoint.release(self);
        } else if !self.is_closed() {
            let parking = Arc::clone(&self.parking);
            let mut parked = lock(&parking.0);
            if matches!(*parked, Parked::None) {
                *parked = Parked::Connection(self);
            }
            // The body may have ended between the look at the connection and the lock, and then
            // its task does not look again.
            let ended = parked.take_usable();
            drop(parked);
            if let Some(connection) = ended {
                endpoint.release(connection);
            }
        }
    }
}

impl<B> Parked<B> {
    fn take_usable(&mut self) -> Option<Connection<B>> {
        match std::mem::replace(self, Self::None) {
            Self::Connection(connection) if connection.is_usable() => Some(connection),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// Takes a connection from the pool when its driver ends, however it ends.
struct LeaveOnDrop<B> {
    parking: Arc<Parking<B>>,
    id: u64,
    endpoint: Weak<Endpoint<B>>,
}

impl<B> Drop for LeaveOnDrop<B> {
    fn drop(&mut self) {
        let parked = std::mem::replace(&mut *lock(&self.parking.0), Parked::Closed);
        drop(parked);
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.leave(self.id);
        }
    }
}

impl<B: RequestBody, C: Future> Driver<B, C> {
    /// Drives the connection to its end. Returns it to the pool after each response body, and
    /// closes it when it has been idle for too long.
    pub(super) async fn run(self, endpoint: Weak<Endpoint<B>>, first_check: Instant) {
        let Self { connection, parking, id } = self;
        // Dropped after the connection, which is closed then.
        let leave = LeaveOnDrop { parking, id, endpoint: Weak::clone(&endpoint) };
        let mut connection = pin!(connection);
        let mut timer = pin!(sleep_until(first_check));
        poll_fn(|cx| {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let ended = lock(&leave.parking.0).take_usable();
            // Without a pool, dropping it closes the connection.
            if let (Some(connection), Some(endpoint)) = (ended, endpoint.upgrade()) {
                endpoint.release(connection);
            }
            while timer.as_mut().poll(cx).is_ready() {
                let Some(next) = endpoint.upgrade().map(|endpoint| endpoint.expire(id)) else {
                    break;
                };
                timer.as_mut().reset(next);
            }
            Poll::Pending
        })
        .await;
    }
}
