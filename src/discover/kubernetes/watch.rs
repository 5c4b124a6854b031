use std::{
    collections::{BTreeMap, VecDeque},
    error::Error as StdError,
    fmt::{self, Display},
    str::FromStr,
    time::Duration,
};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use http::{HeaderMap, Request, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{
    lines::Lines,
    slice::{Choice, ObjectMeta, Slice, endpoints},
};
use crate::{
    BoxError,
    discover::{
        Fetched,
        transport::{Answer, Transport, escape, read, unexpected},
    },
};

/// How much longer than asked for a watch may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Slices in one part of a list.
const PART: usize = 500;

/// List and watch: the slices as the API server has told them so far.
pub(super) struct Watch {
    url: String,
    headers: HeaderMap,
    transport: Transport,
    answer_in: Option<Duration>,
    watch_for: Duration,
    slices: BTreeMap<String, Slice>,
    /// Up to where the slices are known; `None` if they must be listed.
    version: Option<String>,
    open: Option<Open>,
}

/// A watch that is open.
struct Open {
    body: BoxStream<'static, Result<Bytes, BoxError>>,
    lines: Lines,
    events: VecDeque<Vec<u8>>,
}

impl Watch {
    /// By a URL that has a query already.
    pub(super) fn new(url: String, headers: HeaderMap, transport: Transport) -> Self {
        Self {
            url,
            headers,
            transport,
            answer_in: None,
            watch_for: Duration::ZERO,
            slices: BTreeMap::new(),
            version: None,
            open: None,
        }
    }

    /// How long an answer may take to begin, and how long a watch is to be kept open.
    pub(super) fn limits(mut self, answer_in: Option<Duration>, watch_for: Duration) -> Self {
        (self.answer_in, self.watch_for) = (answer_in, watch_for.max(Duration::from_secs(1)));
        self
    }

    /// Waits for news: all endpoints, or that they are the same. More may come at once.
    pub(super) async fn next<T>(&mut self, choice: &Choice) -> Result<Fetched<String, T>, BoxError>
    where
        T: FromStr<Err: Display>,
    {
        let changed = match self.advance().await {
            Ok(changed) => changed,
            Err(error) => {
                // The next watch goes on where this one was.
                self.open = None;
                return Err(error);
            }
        };
        let fetched = if changed {
            Fetched::new(endpoints(self.slices.values(), choice))
        } else {
            Fetched::unchanged()
        };
        Ok(fetched.valid_for(Duration::ZERO))
    }

    /// One step of list and watch; true if slices may have changed.
    async fn advance(&mut self) -> Result<bool, BoxError> {
        let Some(version) = self.version.clone() else {
            self.list().await?;
            return Ok(true);
        };
        let Some(open) = &mut self.open else {
            self.open(&version).await?;
            return Ok(false);
        };
        if !open.fill(self.watch_for.saturating_add(PATIENCE)).await? {
            // Its time is over, as it is every few minutes.
            self.open = None;
            return Ok(false);
        }
        let mut changed = false;
        while let Some(event) = self.open.as_mut().and_then(|open| open.events.pop_front()) {
            match self.apply(&event) {
                Ok(change) => changed |= change,
                Err(error) => {
                    // What was missed is not known.
                    self.version = None;
                    return Err(error);
                }
            }
        }
        Ok(changed)
    }

    async fn list(&mut self) -> Result<(), BoxError> {
        let (mut slices, mut next): (BTreeMap<_, _>, _) = (BTreeMap::new(), None::<String>);
        let mut limit = format!("&limit={PART}");
        let version = loop {
            let query = match &next {
                None => limit.clone(),
                Some(next) => format!("{limit}&continue={}", escape(next)),
            };
            let answer = self.ask(&query).await?;
            if answer.status() == StatusCode::GONE && next.is_some() {
                // It took too long; all at once, which can't.
                (slices, next, limit) = (BTreeMap::new(), None, String::new());
                continue;
            }
            if answer.status() != StatusCode::OK {
                return Err(unexpected(answer).await);
            }
            let body = within(self.answer_in, read(answer)).await??;
            let list: List = serde_json::from_slice(&body)?;
            let items = list.items.unwrap_or_default();
            slices.extend(items.into_iter().map(|slice| (slice.metadata.name.clone(), slice)));
            next = list.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                break list.metadata.resource_version;
            }
        };
        (self.slices, self.version, self.open) = (slices, Some(version), None);
        Ok(())
    }

    async fn open(&mut self, version: &str) -> Result<(), BoxError> {
        let seconds = self.watch_for.as_secs();
        let query = format!(
            "&watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
            escape(version)
        );
        let answer = self.ask(&query).await?;
        match answer.status() {
            StatusCode::OK => {
                let (lines, events) = (Lines::default(), VecDeque::new());
                self.open = Some(Open { body: answer.into_body(), lines, events });
                Ok(())
            }
            StatusCode::GONE => {
                self.version = None;
                Ok(())
            }
            _ => Err(unexpected(answer).await),
        }
    }

    async fn ask(&mut self, query: &str) -> Result<Answer, BoxError> {
        let mut request = Request::get(format!("{}{query}", self.url)).body(String::new())?;
        request.headers_mut().extend(self.headers.clone());
        within(self.answer_in, self.transport.send(request)).await?
    }

    /// Applies one event; true if slices may have changed.
    fn apply(&mut self, event: &[u8]) -> Result<bool, BoxError> {
        let Event { kind, object } = serde_json::from_slice(event)?;
        match &*kind {
            "ADDED" | "MODIFIED" => {
                let slice: Slice = serde_json::from_str(object.get())?;
                self.version = Some(slice.metadata.resource_version.clone());
                self.slices.insert(slice.metadata.name.clone(), slice);
                Ok(true)
            }
            "DELETED" => {
                let Bookmark { metadata } = serde_json::from_str(object.get())?;
                self.version = Some(metadata.resource_version);
                Ok(self.slices.remove(&metadata.name).is_some())
            }
            "BOOKMARK" => {
                let Bookmark { metadata } = serde_json::from_str(object.get())?;
                self.version = Some(metadata.resource_version);
                Ok(false)
            }
            "ERROR" => {
                let status: Status = serde_json::from_str(object.get())?;
                if status.code != StatusCode::GONE.as_u16() {
                    return Err(status.into());
                }
                (self.version, self.open) = (None, None);
                Ok(false)
            }
            // Of a kind that is yet to be invented.
            _ => Ok(false),
        }
    }
}

impl Open {
    /// Waits until there are events; false if the watch has ended.
    async fn fill(&mut self, patience: Duration) -> Result<bool, BoxError> {
        while self.events.is_empty() {
            let Some(data) = within(Some(patience), self.body.next()).await? else {
                return Ok(false);
            };
            self.lines.push(&data?)?;
            self.events.extend(self.lines.take());
        }
        Ok(true)
    }
}

async fn within<F: Future>(limit: Option<Duration>, future: F) -> Result<F::Output, Silent> {
    match limit {
        None => Ok(future.await),
        Some(limit) => timeout(limit, future).await.map_err(|_| Silent(limit)),
    }
}

#[derive(Deserialize)]
struct List {
    metadata: ObjectMeta,
    items: Option<Vec<Slice>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: ObjectMeta,
}

/// What the API server says went wrong with a watch.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the watch failed with {}: {}", self.code, self.message)
    }
}

impl StdError for Status {}

#[derive(Debug)]
struct Silent(Duration);

impl Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the API server said nothing for {:?}", self.0)
    }
}

impl StdError for Silent {}
