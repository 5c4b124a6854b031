use std::{fmt::Display, str::FromStr, sync::Arc};

use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};

use super::http_api::{ApiResponse, HttpApi, read, unexpected};
use crate::{
    BoxError, ConfigError, ParseError,
    discover::{
        Fetched, Format, Refresh, Schedule, refresh,
        source::{document::parse_listed, validation::LeftOutLog},
    },
    sync::{Mutex, lock},
};

/// A source of endpoints from a document at a URL, which is polled; see
/// [`parse_document`](crate::discover::parse_document) for its content.
///
/// If the server sends an `ETag`, the next request contains it, and a response of 304 changes
/// nothing. Responses other than 200 and 304, and invalid documents, are errors and change no
/// endpoint.
///
/// ```no_run
/// use tower_lb::discover::HttpPoll;
///
/// let endpoints = HttpPoll::new("http://config.internal/backends.json")?
///     .watch::<std::net::SocketAddr>()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpPoll {
    api: HttpApi,
    format: Option<Format>,
    schedule: Schedule,
}

/// What a source remembers between polls.
#[derive(Default)]
struct PollState {
    /// The `ETag` of the last valid document.
    etag: Option<HeaderValue>,
    left_out: LeftOutLog,
}

impl HttpPoll {
    /// Creates a source from the document's URL, or from an [`HttpApi`] for headers or another
    /// client.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the URL is not absolute.
    pub fn new(api: impl TryInto<HttpApi, Error: Into<ParseError>>) -> Result<Self, ParseError> {
        let api = api.try_into().map_err(Into::into)?;
        Ok(Self { api, format: None, schedule: Schedule::new() })
    }

    setters! {
        /// Sets the format. By default the response's `Content-Type` determines it, or else the
        /// extension in the URL; otherwise it is JSON.
        pub fn format(format: Format) => format = Some(format);
        /// Sets when the URL is polled, and the timeout of a poll. Default [`Schedule::new`].
        pub fn schedule(schedule: Schedule) => schedule = schedule;
    }

    /// Returns the source. Addresses are parsed as `T`; names are the keys.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the schedule is invalid.
    pub fn watch<T>(self) -> Result<Refresh<String, T>, ConfigError>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let (name, schedule) = (self.api.url().to_owned(), self.schedule.clone());
        let (poll, state) = (Arc::new(self), Arc::new(Mutex::default()));
        refresh(name, schedule, move || {
            let (poll, state) = (Arc::clone(&poll), Arc::clone(&state));
            async move { poll.fetch(&state).await }
        })
    }

    async fn fetch<T: FromStr<Err: Display>>(
        &self,
        state: &Mutex<PollState>,
    ) -> Result<Fetched<String, T>, BoxError> {
        let last = lock(state).etag.clone().map(|etag| (IF_NONE_MATCH, etag));
        let response = self.api.get("", last).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED => Ok(Fetched::unchanged()),
            StatusCode::OK => {
                let format = self.format_of(&response);
                let new = response.headers().get(ETAG).cloned();
                let text = String::from_utf8(read(response).await?)?;
                let listed = parse_listed(&text, format)?;
                let mut state = lock(state);
                let endpoints = state.left_out.keep_usable(self.api.url(), listed)?;
                // Stored only now: a later 304 for an invalid document would hide its error.
                state.etag = new;
                Ok(Fetched::new(endpoints))
            }
            _ => Err(unexpected(response).await),
        }
    }

    fn format_of(&self, response: &ApiResponse) -> Format {
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let subtype = content_type.and_then(|value| {
            let subtype = value.split(';').next()?.trim().rsplit(['/', '+', '-']).next()?;
            Format::of_extension(&subtype.to_ascii_lowercase())
        });
        let extension = || {
            let path = self.api.url().split(['?', '#']).next()?;
            Format::of_extension(path.rsplit('.').next()?)
        };
        self.format.or(subtype).or_else(extension).unwrap_or(Format::Json)
    }
}
