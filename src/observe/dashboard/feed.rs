//! The report as bytes, which all clients share, and the streams that send it.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    escape::Escaped,
    sync::{Mutex, lock},
};

/// A stream writes at least this often, so that proxies keep it and broken connections are found.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A stream that was not polled for this long has a client that does not read: another client gets
/// its place. A client that reads is polled once per heartbeat at least.
const STALLED: Duration = Duration::from_secs(30);
const RECONNECT: &[u8] = b"retry: 2000\n\n";
const PREFIX: &[u8] = b"data: ";
const SUFFIX: &[u8] = b"\n\n";

pub(super) type Render = dyn Fn(&mut Vec<u8>) -> serde_json::Result<()> + Send + Sync;

/// Renders the report at most once per interval, for all clients.
pub(super) struct Feed {
    render: Box<Render>,
    interval: Duration,
    max_streams: usize,
    newest: Mutex<Option<Rendered>>,
    streams: Mutex<Streams>,
}

/// A report at one moment. Clones share the bytes.
#[derive(Clone)]
pub(super) struct Rendered {
    at: Instant,
    event: Bytes,
    pub(super) json: Bytes,
    pub(super) failed: bool,
}

#[derive(Default)]
struct Streams {
    next_id: u64,
    /// When each stream was polled last.
    polled: HashMap<u64, Instant>,
}

impl Feed {
    pub(super) fn new(render: Box<Render>, interval: Duration, max_streams: usize) -> Self {
        Self { render, interval, max_streams, newest: Mutex::default(), streams: Mutex::default() }
    }

    /// Returns a report that is at most one interval old.
    ///
    /// The lock is held while the report is rendered: clients that ask meanwhile would only
    /// render the same again.
    pub(super) fn report(&self) -> Rendered {
        let mut newest = lock(&self.newest);
        let now = Instant::now();
        if let Some(rendered) = &*newest {
            if now < after(rendered.at, self.interval) {
                return rendered.clone();
            }
        }
        let size = newest.as_ref().map_or(0, |rendered| rendered.event.len() + 1024);
        let mut event = Vec::with_capacity(size);
        event.extend_from_slice(PREFIX);
        let result = (self.render)(&mut event);
        let mut prefix = PREFIX.len();
        if let Err(error) = &result {
            event.clear();
            event.extend_from_slice(b"event: failure\n");
            event.extend_from_slice(PREFIX);
            prefix = event.len();
            tracing::warn!(error = %Escaped(error), "the report for the dashboard failed");
            event.extend_from_slice(json!({ "error": error.to_string() }).to_string().as_bytes());
        }
        event.extend_from_slice(SUFFIX);
        let event = Bytes::from(event);
        let json = event.slice(prefix..event.len() - SUFFIX.len());
        // After the report: one that takes longer than the interval must not be old at once.
        let at = Instant::now();
        newest.insert(Rendered { at, event, json, failed: result.is_err() }).clone()
    }

    /// Opens a stream, unless there are too many.
    pub(super) fn open(self: &Arc<Self>) -> Option<EventStream> {
        let now = Instant::now();
        let mut streams = lock(&self.streams);
        if streams.polled.len() >= self.max_streams {
            let oldest = streams.polled.iter().min_by_key(|(_, polled)| **polled);
            let (&id, _) = oldest.filter(|(_, polled)| now > after(**polled, STALLED))?;
            streams.polled.remove(&id);
        }
        let id = streams.next_id;
        streams.next_id += 1;
        streams.polled.insert(id, now);
        drop(streams);
        let timer = Box::pin(sleep_until(now));
        Some(EventStream { feed: Arc::clone(self), id, timer, state: State::Opening })
    }

    /// Notes that a stream was polled. Returns whether it still has its place.
    fn note_poll(&self, id: u64) -> bool {
        let mut streams = lock(&self.streams);
        streams.polled.get_mut(&id).map(|polled| *polled = Instant::now()).is_some()
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("interval", &self.interval)
            .field("max_streams", &self.max_streams)
            .finish_non_exhaustive()
    }
}

/// Reports as server-sent events. It makes an event when it is polled, and none before.
pub(super) struct EventStream {
    feed: Arc<Feed>,
    id: u64,
    timer: Pin<Box<Sleep>>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Opening,
    Opened,
    /// The report that was sent last is of this time.
    Sent(Instant),
}

impl EventStream {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.feed.note_poll(self.id) {
            return Poll::Ready(None);
        }
        let sent = match self.state {
            State::Opening => {
                self.state = State::Opened;
                return Poll::Ready(Some(Bytes::from_static(RECONNECT)));
            }
            State::Opened => None,
            State::Sent(at) => {
                ready!(self.timer.as_mut().poll(cx));
                Some(at)
            }
        };
        let report = self.feed.report();
        // All streams wait for the same moment, the end of the interval of the newest report.
        // So each gets each report, and none gets one twice.
        let next = after(report.at, self.feed.interval);
        self.timer.as_mut().reset(next.min(after(Instant::now(), HEARTBEAT)));
        if sent == Some(report.at) {
            return Poll::Ready(Some(Bytes::from_static(b":\n\n")));
        }
        self.state = State::Sent(report.at);
        Poll::Ready(Some(report.event))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        lock(&self.feed.streams).polled.remove(&self.id);
    }
}

/// Adds without a panic, whatever interval the program has set.
fn after(start: Instant, time: Duration) -> Instant {
    start.checked_add(time).unwrap_or_else(|| start + Duration::from_secs(365 * 24 * 60 * 60))
}
