use std::{fmt::Display, str::FromStr, time::Duration};

use http::StatusCode;

use super::{
    api::SlicesApi,
    events::{Bookmark, Event, Events, Status},
    list::list,
    slice::{Selection, Slice, endpoints},
    slices::{Limits, Slices},
};
use crate::{
    BoxError,
    discover::{
        Fetched,
        source::{http_api::percent_encode, validation::LeftOutLog},
    },
    escape::Escaped,
};

/// How much longer than requested a watch may stay silent before it is closed.
const WATCH_GRACE: Duration = Duration::from_secs(30);

/// The slices of a service, kept up to date by list and watch.
pub(super) struct Watch {
    api: SlicesApi,
    /// How long the API server is asked to keep a watch open.
    watch_for: Duration,
    limits: Limits,
    slices: Slices,
    /// The slices have changed since they were last turned into endpoints.
    pending: bool,
    left_out: LeftOutLog,
    /// The version of the slices; `None` if they must be listed.
    version: Option<String>,
    /// The open watch.
    events: Option<Events>,
}

impl Watch {
    pub(super) fn new(api: SlicesApi, watch_for: Duration) -> Self {
        Self {
            api,
            // A watch of 0 s would be closed at once.
            watch_for: watch_for.max(Duration::from_secs(1)),
            limits: Limits::default(),
            slices: Slices::default(),
            pending: false,
            left_out: LeftOutLog::default(),
            version: None,
            events: None,
        }
    }

    /// Waits for a change: returns all endpoints, or that they are unchanged. The next call may
    /// return at once.
    pub(super) async fn next<T: FromStr<Err: Display>>(
        &mut self,
        source: &str,
        selection: &Selection,
    ) -> Result<Fetched<String, T>, BoxError> {
        match self.advance().await {
            Ok(changed) => self.pending |= changed,
            Err(error) => {
                // The next watch resumes at the last version.
                self.events = None;
                return Err(error);
            }
        }
        let fetched = if self.pending {
            let endpoints = endpoints(self.slices.iter(), selection);
            let endpoints = self.left_out.keep_usable(source, endpoints)?;
            // Cleared only now: if no endpoint is usable, the error is repeated until that changes.
            self.pending = false;
            Fetched::new(endpoints)
        } else {
            Fetched::unchanged()
        };
        Ok(fetched.valid_for(Duration::ZERO))
    }

    /// Does one step of list and watch; true if slices may have changed.
    async fn advance(&mut self) -> Result<bool, BoxError> {
        let Some(version) = self.version.clone() else {
            // The known slices stay unless the whole list is read: a list that is cut off would
            // remove endpoints.
            let (slices, version) = list(&self.api, &self.limits).await?;
            (self.slices, self.version, self.events) = (slices, Some(version), None);
            return Ok(true);
        };
        let Some(events) = &mut self.events else {
            self.open(&version).await?;
            return Ok(false);
        };
        if !events.receive(self.watch_for.saturating_add(WATCH_GRACE)).await? {
            // The server ends a watch every few minutes.
            self.events = None;
            return Ok(false);
        }
        let mut changed = false;
        while let Some(event) = self.events.as_mut().and_then(Events::pop) {
            match self.apply(&event) {
                Ok(change) => changed |= change,
                Err(error) => {
                    // The change of this event is lost, so the slices must be listed again.
                    self.version = None;
                    return Err(error);
                }
            }
        }
        Ok(changed)
    }

    /// Opens a watch from a version.
    async fn open(&mut self, version: &str) -> Result<(), BoxError> {
        let seconds = self.watch_for.as_secs();
        let parameters = format!(
            "&watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
            percent_encode(version)
        );
        let response = self.api.get(&parameters).await?;
        match response.status() {
            StatusCode::OK => self.events = Some(Events::new(response)),
            // The server no longer has the version.
            StatusCode::GONE => self.version = None,
            _ => return Err(self.api.unexpected(response).await),
        }
        Ok(())
    }

    /// Applies an event; true if slices may have changed.
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
            "DELETED" | "BOOKMARK" => {
                let Bookmark { metadata } = serde_json::from_str(object.get())?;
                self.version = Some(metadata.resource_version);
                Ok(kind == "DELETED" && self.slices.remove(&metadata.name))
            }
            "ERROR" => {
                let Status { code, message } = serde_json::from_str(object.get())?;
                if code != StatusCode::GONE.as_u16() {
                    return Err(
                        format!("the watch failed with {code}: {}", Escaped(message)).into()
                    );
                }
                (self.version, self.events) = (None, None);
                Ok(false)
            }
            // A later version of Kubernetes may add kinds of events.
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use bytes::Bytes;
    use futures::stream;
    use http::{Request, Response};
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use tower::service_fn;

    use super::*;
    use crate::discover::HttpApi;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Returns a watch of a server that answers its nth request with a function, and the number of
    /// requests.
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
        let http = HttpApi::new("http://api").unwrap().client(service);
        let api = SlicesApi::new(http, "/slices?labelSelector=a".to_owned(), Some(LIMIT));
        (Watch { limits, ..Watch::new(api, LIMIT) }, asked)
    }

    pub(in super::super) fn slice(name: &str, endpoints: usize) -> String {
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
        watch.next("kubernetes", &Selection::default()).await.map_err(|error| error.to_string())
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
        assert_eq!(error, "the list of EndpointSlices has no end: a `continue` token was repeated");
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    /// A list that is requested without pages and expires again must not be restarted again.
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

    /// An answer without a usable endpoint must not empty the set, and is an error until it
    /// changes.
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
        let http = HttpApi::new("http://api").unwrap().client(service);
        let api = SlicesApi::new(http, "/slices?labelSelector=a".to_owned(), Some(LIMIT));
        let mut watch = Watch::new(api, LIMIT);
        assert_eq!(next(&mut watch).await.unwrap_err(), "the API server sent nothing for 10s");
    }
}
