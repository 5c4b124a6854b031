use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    error::Error as StdError,
    fmt::{self, Display},
    str::FromStr,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
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
        source::{
            http_api::{Answer, Transport, escape, read, unexpected},
            validation::{AtMost, MAX_ENDPOINTS},
            validation::{LeftOutLog, NothingLeft},
        },
    },
    escape::Escaped,
};

/// How much longer than asked for a watch may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Slices asked for in one page of a list.
const PAGE: usize = 500;
/// Slices that are read of one page, which is the whole list if pages can't be had.
const MAX_SLICES_PER_PAGE: usize = 20_000;

/// List and watch: the slices as the API server has told them so far.
pub(super) struct Watch {
    url: String,
    headers: HeaderMap,
    transport: Transport,
    answer_in: Option<Duration>,
    watch_for: Duration,
    limits: Limits,
    slices: Slices,
    /// The slices have changed, and could not be turned into endpoints.
    unread: bool,
    left_out: LeftOutLog,
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
            limits: Limits::default(),
            slices: Slices::default(),
            unread: false,
            left_out: LeftOutLog::default(),
            version: None,
            open: None,
        }
    }

    /// How long an answer may take to begin, and how long a watch is to be kept open.
    pub(super) fn times(mut self, answer_in: Option<Duration>, watch_for: Duration) -> Self {
        (self.answer_in, self.watch_for) = (answer_in, watch_for.max(Duration::from_secs(1)));
        self
    }

    /// Waits for news: all endpoints, or that they are the same. More may come at once.
    pub(super) async fn next<T>(
        &mut self,
        source: &str,
        choice: &Choice,
    ) -> Result<Fetched<String, T>, BoxError>
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
        let fetched = if changed || self.unread {
            self.unread = true;
            let (endpoints, left_out) = endpoints(self.slices.iter(), choice);
            let usable = NothingLeft::check(endpoints.len(), &left_out);
            self.left_out.log(source, left_out);
            usable?;
            self.unread = false;
            Fetched::new(endpoints)
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

    /// Lists all slices, page by page.
    ///
    /// The slices known before are kept unless the whole list could be read: a list that is cut off
    /// would take endpoints away.
    async fn list(&mut self) -> Result<(), BoxError> {
        let mut limit = format!("&limit={PAGE}");
        let (mut slices, mut next) = (Slices::default(), None::<String>);
        let (mut seen, mut pages, mut bytes) = (HashSet::new(), 0_usize, 0_usize);
        let version = loop {
            let query = match &next {
                None => limit.clone(),
                Some(next) => format!("{limit}&continue={}", escape(next)),
            };
            pages += 1;
            if pages > self.limits.pages {
                return Err(TooMuch { what: "pages", limit: self.limits.pages }.into());
            }
            let answer = self.ask(&query).await?;
            if answer.status() == StatusCode::GONE && next.is_some() && !limit.is_empty() {
                // The pages took too long to read. A list without pages can't be too late.
                (slices, next, limit) = (Slices::default(), None, String::new());
                seen.clear();
                continue;
            }
            if answer.status() != StatusCode::OK {
                return Err(self.unexpected(answer).await);
            }
            let body = within(self.answer_in, read(answer)).await??;
            bytes = bytes.saturating_add(body.len());
            if bytes > self.limits.bytes {
                return Err(TooMuch { what: "bytes", limit: self.limits.bytes }.into());
            }
            let list: List<'_> = serde_json::from_slice(&body)?;
            for item in list.items.into_iter().flat_map(|items| items.0) {
                slices.insert(serde_json::from_str(item.get())?, item.get().len(), &self.limits)?;
            }
            match list.metadata.next.filter(|next| !next.is_empty()) {
                None => break list.metadata.resource_version,
                Some(again) if !seen.insert(again.clone()) => return Err(Endless.into()),
                more => next = more,
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
            _ => Err(self.unexpected(answer).await),
        }
    }

    /// The error that an answer of this status is. Its text may never come.
    async fn unexpected(&mut self, answer: Answer) -> BoxError {
        match within(self.answer_in, unexpected(answer)).await {
            Ok(error) => error,
            Err(silent) => silent.into(),
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
                let version = slice.metadata.resource_version.clone();
                self.slices.insert(slice, object.get().len(), &self.limits)?;
                self.version = Some(version);
                Ok(true)
            }
            "DELETED" => {
                let Bookmark { metadata } = serde_json::from_str(object.get())?;
                self.version = Some(metadata.resource_version);
                Ok(self.slices.remove(&metadata.name))
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
            self.events.extend(self.lines.push(&data?)?);
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

/// How much of a service is kept in memory, and how far a list is followed. More is an error, and
/// the endpoints stay as they were.
#[derive(Clone, Copy, Debug)]
struct Limits {
    pages: usize,
    /// Of JSON: of all pages of a list, and of all slices that are kept.
    bytes: usize,
    slices: usize,
    /// Of all slices; one that occurs in two counts twice.
    endpoints: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pages: 1000, bytes: 256 << 20, slices: 20_000, endpoints: MAX_ENDPOINTS }
    }
}

/// The slices of a service by name, and how much that is.
#[derive(Default)]
struct Slices {
    by_name: BTreeMap<String, (Slice, usize)>,
    bytes: usize,
    endpoints: usize,
}

impl Slices {
    /// Adds a slice, or replaces the one of its name. An error leaves what was there.
    fn insert(&mut self, slice: Slice, bytes: usize, limits: &Limits) -> Result<(), TooMuch> {
        let old = self.by_name.get(&slice.metadata.name);
        let (old_endpoints, old_bytes) = old.map_or((0, 0), |(old, bytes)| (old.len(), *bytes));
        let slices = self.by_name.len() + usize::from(old.is_none());
        let all_bytes = self.bytes - old_bytes + bytes;
        let endpoints = self.endpoints - old_endpoints + slice.len();
        for (what, count, limit) in [
            ("slices", slices, limits.slices),
            ("bytes", all_bytes, limits.bytes),
            ("endpoints", endpoints, limits.endpoints),
        ] {
            if count > limit {
                return Err(TooMuch { what, limit });
            }
        }
        (self.bytes, self.endpoints) = (all_bytes, endpoints);
        self.by_name.insert(slice.metadata.name.clone(), (slice, bytes));
        Ok(())
    }

    /// True if there was one of this name.
    fn remove(&mut self, name: &str) -> bool {
        let removed = self.by_name.remove(name);
        if let Some((slice, bytes)) = &removed {
            self.bytes -= bytes;
            self.endpoints -= slice.len();
        }
        removed.is_some()
    }

    fn iter(&self) -> impl Iterator<Item = &Slice> {
        self.by_name.values().map(|(slice, _)| slice)
    }
}

#[derive(Deserialize)]
struct List<'a> {
    metadata: ObjectMeta,
    /// Read one by one, so that what is too much is noticed before all of it is in memory.
    #[serde(borrow)]
    items: Option<AtMost<&'a RawValue, MAX_SLICES_PER_PAGE>>,
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
        write!(f, "the watch failed with {}: {}", self.code, Escaped(&self.message))
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

/// More than is taken of a service.
#[derive(Debug)]
struct TooMuch {
    what: &'static str,
    limit: usize,
}

impl Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service has more than {} {} of EndpointSlices", self.limit, self.what)
    }
}

impl StdError for TooMuch {}

#[derive(Debug)]
struct Endless;

impl Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list of EndpointSlices has no end: a `continue` token came again")
    }
}

impl StdError for Endless {}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use futures::stream;
    use http::Response;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use tower::service_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A watch of a server that answers its nth request by a function, and how many it had.
    fn watch(
        limits: Limits,
        answer: impl Fn(usize, &str) -> (u16, String) + Send + Sync + 'static,
    ) -> (Watch, Arc<AtomicUsize>) {
        let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let count = Arc::clone(&asked);
        let service = service_fn(move |request: Request<String>| {
            let n = count.fetch_add(1, Ordering::Relaxed);
            let (status, body) = answer(n, request.uri().query().unwrap_or_default());
            let body = Full::new(Bytes::from(body));
            async move { Response::builder().status(status).body(body) }
        });
        let url = "http://api/slices?labelSelector=a".to_owned();
        let watch = Watch::new(url, HeaderMap::new(), Transport::new(service));
        (Watch { limits, ..watch.times(Some(LIMIT), LIMIT) }, asked)
    }

    fn slice(name: &str, endpoints: usize) -> String {
        let endpoints: Vec<_> =
            (0..endpoints).map(|n| format!(r#"{{"addresses":["10.0.0.{n}"]}}"#)).collect();
        format!(
            r#"{{"metadata":{{"name":"{name}","resourceVersion":"7"}},"ports":[{{"port":80}}],
            "endpoints":[{}]}}"#,
            endpoints.join(",")
        )
        .replace(['\n', ' '], "")
    }

    fn page(slices: &[String], next: &str) -> String {
        let metadata = format!(r#"{{"resourceVersion":"7","continue":"{next}"}}"#);
        format!(r#"{{"metadata":{metadata},"items":[{}]}}"#, slices.join(","))
    }

    async fn next(watch: &mut Watch) -> Result<Fetched<String, String>, String> {
        watch.next("kubernetes", &Choice::default()).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_list_has_a_bound_on_its_pages() {
        let limits = Limits { pages: 3, ..Limits::default() };
        let (mut watch, asked) =
            watch(limits, |n, _| (200, page(&[slice(&n.to_string(), 1)], &n.to_string())));
        let error = next(&mut watch).await.unwrap_err();
        assert_eq!(error, "the service has more than 3 pages of EndpointSlices");
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_token_that_comes_again_is_an_error() {
        let (mut watch, asked) =
            watch(Limits::default(), |n, _| (200, page(&[], ["a", "b"][n % 2])));
        let error = next(&mut watch).await.unwrap_err();
        assert_eq!(error, "the list of EndpointSlices has no end: a `continue` token came again");
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    /// A list that is asked for whole and expires again must not be begun again.
    #[tokio::test]
    async fn a_list_begins_anew_once() {
        let (mut watch, asked) = watch(Limits::default(), |n, query| match n {
            0 | 2 => {
                assert_eq!(query.contains("limit="), n == 0);
                (200, page(&[], "next"))
            }
            _ => (410, "too late".to_owned()),
        });
        let error = next(&mut watch).await.unwrap_err();
        assert_eq!(error, "the answer is 410 Gone: too late");
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }

    /// Two pages: three slices of two endpoints each, of about 130 bytes.
    #[tokio::test]
    async fn what_is_listed_is_bounded_and_the_last_stay() {
        let all = Limits::default();
        for (limits, expected) in [
            (Limits { slices: 3, endpoints: 6, ..all }, Ok(())),
            (Limits { slices: 2, ..all }, Err("2 slices")),
            (Limits { endpoints: 5, ..all }, Err("5 endpoints")),
            (Limits { bytes: 400, ..all }, Err("400 bytes")),
        ] {
            let (mut watch, _) = watch(limits, |n, _| {
                let slices = ["a", "b", "c"].map(|name| slice(name, 2));
                (200, if n == 0 { page(&slices[..2], "next") } else { page(&slices[2..], "") })
            });
            let known = serde_json::from_str(&slice("known", 1)).unwrap();
            watch.slices.insert(known, 100, &all).unwrap();
            let listed = next(&mut watch).await.map(drop);
            let expected = expected
                .map_err(|what| format!("the service has more than {what} of EndpointSlices"));
            assert_eq!(listed, expected);
            let known: Vec<_> = watch.slices.by_name.into_keys().collect();
            assert_eq!(known.len(), if expected.is_ok() { 3 } else { 1 }, "{known:?}");
        }
    }

    #[tokio::test]
    async fn what_is_watched_is_bounded() {
        let limits = Limits { endpoints: 4, ..Limits::default() };
        let (mut watch, asked) = watch(limits, |n, _| match n {
            0 => (200, page(&[slice("a", 2)], "")),
            1 => {
                let event = |name, endpoints| {
                    let object = slice(name, endpoints);
                    format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n")
                };
                // A slice that is replaced does not count any more.
                (200, event("a", 4) + &event("a", 1) + &event("b", 3) + &event("c", 1))
            }
            _ => (200, page(&[slice("a", 1)], "")),
        });
        next(&mut watch).await.unwrap();
        next(&mut watch).await.unwrap();
        let error = next(&mut watch).await.unwrap_err();
        assert_eq!(error, "the service has more than 4 endpoints of EndpointSlices");
        assert_eq!((watch.slices.by_name.len(), watch.slices.endpoints), (2, 4));
        next(&mut watch).await.unwrap();
        assert_eq!((asked.load(Ordering::Relaxed), watch.slices.endpoints), (3, 1), "listed anew");
    }

    #[test]
    fn counts_follow_what_is_added_replaced_and_removed() {
        let (mut slices, limits) = (Slices::default(), Limits::default());
        for (name, endpoints, bytes) in [("a", 2, 10), ("b", 3, 20), ("a", 5, 30)] {
            let slice = serde_json::from_str(&slice(name, endpoints)).unwrap();
            slices.insert(slice, bytes, &limits).unwrap();
        }
        assert_eq!((slices.endpoints, slices.bytes), (8, 50));
        assert!(slices.remove("a") && !slices.remove("a"));
        assert_eq!((slices.endpoints, slices.bytes), (3, 20));
    }

    /// An answer of which nothing is usable must not empty the set, and is told until it changes.
    #[tokio::test]
    async fn an_answer_without_a_usable_endpoint_is_an_error_until_it_changes() {
        let (mut watch, _) = watch(Limits::default(), |n, _| match n {
            0 => (200, page(&[slice("a", 1).replace("10.0.0.0", "0.0.0.0")], "")),
            _ => (200, String::new()),
        });
        let expected = "none of 1 endpoints is usable; 0.0.0.0:80: \
            0.0.0.0 can't be an endpoint: it is an unspecified address";
        for _ in 0..3 {
            assert_eq!(next(&mut watch).await.unwrap_err(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_whose_text_never_comes_is_told() {
        let service = service_fn(|_: Request<String>| async {
            let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
            Response::builder().status(503).body(body)
        });
        let url = "http://api/slices?labelSelector=a".to_owned();
        let mut watch = Watch::new(url, HeaderMap::new(), Transport::new(service));
        watch = watch.times(Some(LIMIT), LIMIT);
        assert_eq!(next(&mut watch).await.unwrap_err(), "the API server said nothing for 10s");
    }
}
