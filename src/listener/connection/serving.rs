use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::{
    rt::{Read, Write},
    server::conn::{http1, http2},
};
use tokio::time::{Sleep, sleep_until};

use super::{
    HttpService,
    activity::{Activity, Expiry},
    exchange::Exchanges,
    stream_tasks::{Spawner, StreamTasks},
};
use crate::listener::limits::Times;

/// Hyper's side of a connection.
pub(super) trait HttpConnection: Future<Output = hyper::Result<()>> + Unpin {
    /// Ends the connection after the requests in flight, and tells the client.
    fn leave(&mut self);
}

impl<I, S> HttpConnection for http1::UpgradeableConnection<I, Exchanges<S>>
where
    I: Read + Write + Unpin + Send + 'static,
    S: HttpService,
{
    fn leave(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

impl<I, S> HttpConnection for http2::Connection<I, Exchanges<S>, Spawner>
where
    I: Read + Write + Unpin + Send + 'static,
    S: HttpService,
{
    fn leave(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

/// How the serving of a connection has ended.
pub(super) enum Served {
    /// Hyper has ended it: it is closed, or another task has it after an upgrade.
    Ended(hyper::Result<()>),
    /// A time limit is over.
    Expired(Expiry),
}

/// The time that a client has to close after it was asked to.
const LEAVE_GRACE_MILLIS: u64 = 1000;

/// Drives a connection until it ends or a time limit is over, and tells the client to leave when
/// the listener drains, and when the connection is old or idle.
pub(super) async fn serve<C: HttpConnection>(
    connection: &mut C,
    activity: &Arc<Activity>,
    tasks: Option<&StreamTasks>,
) -> Served {
    let mut draining = pin!(activity.core.until_draining());
    let (first, _) = activity.deadline(&activity.core.limits.times, None);
    let timer = pin!(sleep_until(activity.instant(first)));
    let mut watch = Watch { stage: Stage::Serving, drained_since: None, timer, armed: first };
    poll_fn(|cx| {
        loop {
            if watch.drained_since.is_none() && draining.as_mut().poll(cx).is_ready() {
                watch.drained_since = Some(activity.now());
                // The first request of a new connection may be on the way. On HTTP/1.1 it would
                // meet a closed connection; on HTTP/2 the client gets a chance to send it.
                if tasks.is_some() || activity.requests() > 0 {
                    watch.tell(connection);
                }
            }
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(match (watch.stage, result) {
                    (Stage::Leaving { expiry, .. }, Ok(())) => Served::Expired(expiry),
                    (_, result) => Served::Ended(result),
                });
            }
            if let Some(tasks) = tasks {
                if activity.in_flight() == 0 {
                    tasks.reap();
                }
                if activity.is_retiring() && watch.stage == Stage::Serving {
                    watch.tell(connection);
                    continue;
                }
            }
            match ready!(watch.poll_expiry(activity, cx)) {
                // Hyper has to be polled for what it tells the client.
                Expiry::Age => activity.retire(),
                Expiry::KeepAlive | Expiry::Drain if watch.leaves(activity) => {
                    connection.leave();
                }
                expiry => return Poll::Ready(Served::Expired(expiry)),
            }
        }
    })
    .await
}

/// What is due on a connection.
struct Watch<'a> {
    stage: Stage,
    drained_since: Option<u64>,
    timer: Pin<&'a mut Sleep>,
    /// The time that the timer is set to.
    armed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// The client knows that no further request is wanted.
    Told,
    /// Besides, the connection has nothing to do, and ends soon.
    Leaving {
        since: u64,
        expiry: Expiry,
    },
}

impl Watch<'_> {
    fn tell(&mut self, connection: &mut impl HttpConnection) {
        connection.leave();
        if self.stage == Stage::Serving {
            self.stage = Stage::Told;
        }
    }

    /// Gives an idle client time to close. Returns `false` if it has had that time.
    fn leaves(&mut self, activity: &Activity) -> bool {
        if matches!(self.stage, Stage::Leaving { .. }) {
            return false;
        }
        let expiry = if self.drained_since.is_some() { Expiry::Drain } else { Expiry::KeepAlive };
        self.stage = Stage::Leaving { since: activity.now(), expiry };
        true
    }

    /// Returns the time limit that is over.
    ///
    /// The timer is not moved when a deadline moves away, which happens with each byte. It ends too
    /// early then, looks again, and is set to the deadline of that time.
    fn poll_expiry(&mut self, activity: &Activity, cx: &mut Context<'_>) -> Poll<Expiry> {
        let times = &activity.core.limits.times;
        let (deadline, _) = self.deadline(activity, times);
        if deadline < self.armed {
            self.arm(activity, deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let (deadline, expiry) = self.deadline(activity, times);
            if deadline <= activity.now() {
                return Poll::Ready(expiry);
            }
            self.arm(activity, deadline);
        }
    }

    fn deadline(&self, activity: &Activity, times: &Times) -> (u64, Expiry) {
        match self.stage {
            // A request may have come before the client knew.
            Stage::Leaving { since, expiry } if activity.in_flight() == 0 => {
                (since.max(activity.idle_since()).saturating_add(LEAVE_GRACE_MILLIS), expiry)
            }
            _ => activity.deadline(times, self.drained_since),
        }
    }

    fn arm(&mut self, activity: &Activity, deadline: u64) {
        self.armed = deadline;
        self.timer.as_mut().reset(activity.instant(deadline));
    }
}
