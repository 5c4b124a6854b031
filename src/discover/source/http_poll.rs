use std::{
    fmt::Display,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use http_body::Body;
use tower_service::Service;

use super::http_api::{Answer, Transport, absolute, read, unexpected};
use crate::{
    BoxError,
    discover::{
        Fetched, Format, InvalidSchedule, InvalidUrl, Refresh, Schedule, parse_document, refresh,
    },
};

/// Endpoints from a document at a URL, which is asked for again and again; see [`parse_document`]
/// for what is in it.
///
/// If the server gives an `ETag`, it is sent with the next request, and an answer of 304 changes
/// nothing. Answers other than 200 and 304, and broken documents, are errors and change no
/// endpoint.
///
/// ```no_run
/// use tower_lb::discover::HttpPoll;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoints = HttpPoll::new("http://config.internal/backends.json")?
///     .watch::<std::net::SocketAddr>()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpPoll {
    url: String,
    format: Option<Format>,
    headers: HeaderMap,
    schedule: Schedule,
    transport: Transport,
}

impl HttpPoll {
    /// The document at this URL, by a plain HTTP client on hyper-util.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] if it is not absolute.
    pub fn new(url: impl Into<String>) -> Result<Self, InvalidUrl> {
        let url = url.into();
        absolute(&url)?;
        Ok(Self {
            url,
            format: None,
            headers: HeaderMap::new(),
            schedule: Schedule::new(),
            transport: Transport::plain(),
        })
    }

    /// Sends requests by this service, for TLS, authentication and the like.
    #[must_use]
    pub fn client<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<String>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.transport = Transport::new(service);
        self
    }

    /// The format. Default by the answer's `Content-Type`, or else by the extension in the URL, or
    /// else JSON.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Adds a header to the requests.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// When to ask, and how long an answer may take. Default [`Schedule::new`].
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The source. Addresses are parsed as `T`; names are the keys.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] if the schedule can't be kept.
    pub fn watch<T>(self) -> Result<Refresh<String, T>, InvalidSchedule>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let (name, schedule) = (self.url.clone(), self.schedule.clone());
        let (poll, etag) = (Arc::new(self), Arc::new(Mutex::new(None)));
        refresh(name, schedule, move || {
            let (poll, etag) = (Arc::clone(&poll), Arc::clone(&etag));
            async move { poll.fetch(&etag).await }
        })
    }

    async fn fetch<T>(
        &self,
        etag: &Mutex<Option<HeaderValue>>,
    ) -> Result<Fetched<String, T>, BoxError>
    where
        T: FromStr<Err: Display>,
    {
        let last = || etag.lock().unwrap_or_else(PoisonError::into_inner);
        let mut request = Request::get(&self.url).body(String::new())?;
        request.headers_mut().extend(self.headers.clone());
        if let Some(etag) = last().clone() {
            request.headers_mut().insert(IF_NONE_MATCH, etag);
        }
        let answer = self.transport.send(request).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => Ok(Fetched::unchanged()),
            StatusCode::OK => {
                let (format, etag) = (self.format_of(&answer), answer.headers().get(ETAG).cloned());
                let text = String::from_utf8(read(answer).await?)?;
                let endpoints = parse_document(&text, format)?;
                // Only of what was understood: a broken document must not pass for a known one.
                *last() = etag;
                Ok(Fetched::new(endpoints))
            }
            _ => Err(unexpected(answer).await),
        }
    }

    fn format_of(&self, answer: &Answer) -> Format {
        let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let subtype = content_type.and_then(|value| {
            let subtype = value.split(';').next()?.trim().rsplit(['/', '+', '-']).next()?;
            Format::of_extension(&subtype.to_ascii_lowercase())
        });
        let extension = || {
            let path = self.url.split(['?', '#']).next()?;
            Format::of_extension(path.rsplit('.').next()?)
        };
        self.format.or(subtype).or_else(extension).unwrap_or(Format::Json)
    }
}

impl std::fmt::Debug for HttpPoll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers may hold secrets.
        f.debug_struct("HttpPoll")
            .field("url", &self.url)
            .field("format", &self.format)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
