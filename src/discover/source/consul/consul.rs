use std::{
    fmt::{self, Display, Write},
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use tower_service::Service;

use super::entry::Entry;
use crate::{
    BoxError,
    discover::{
        AddressFilter, Fetched, InvalidSchedule, InvalidUrl, Refresh, Schedule, refresh,
        source::{
            http_api::{Transport, absolute, escape, read, unexpected},
            validation::{AtMost, MAX_ENDPOINTS},
            validation::{LeftOutLog, NothingLeft},
        },
    },
};

/// Endpoints from Consul: the instances of a service with their checks, by blocking queries on the
/// health endpoint.
///
/// | Consul | here |
/// |---|---|
/// | node and service id | the key, `node/id` |
/// | the service's address, or else the node's, and port | the target |
/// | all checks pass, one warns, one is critical | healthy, degraded, unhealthy |
/// | maintenance mode | draining |
/// | `Weights.Passing`, or `Warning` if a check warns | the weight |
/// | `Locality` of the service or node | the locality |
/// | `Meta` of the service, tags, node, datacenter | metadata; the last three as `consul.tags`, `consul.node`, `consul.datacenter` |
///
/// A change arrives when Consul tells it. The index is reset when it goes backwards and after
/// errors. If the agent can't be reached, no endpoint changes.
///
/// ```no_run
/// use tower_lb::discover::Consul;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoints =
///     Consul::new("http://127.0.0.1:8500")?.tag("v2").service::<std::net::SocketAddr>("web")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Consul {
    url: String,
    parameters: String,
    headers: HeaderMap,
    wait: Duration,
    filter: AddressFilter,
    schedule: Schedule,
    transport: Transport,
}

impl Consul {
    /// The agent at this URL, by a plain HTTP client on hyper-util.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] if it is not absolute.
    pub fn new(url: impl Into<String>) -> Result<Self, InvalidUrl> {
        Ok(Self {
            url: absolute(&url.into())?,
            parameters: String::new(),
            headers: HeaderMap::new(),
            wait: Duration::from_secs(300),
            filter: AddressFilter::new(),
            schedule: Schedule::new().floor(Duration::from_millis(100)),
            transport: Transport::plain(),
        })
    }

    /// Sends requests by this service, for TLS and the like.
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

    /// Only instances with this tag; with several, those that have all.
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        self.parameter("tag", tag)
    }

    /// The instances in another datacenter than the agent's own.
    #[must_use]
    pub fn datacenter(self, datacenter: &str) -> Self {
        self.parameter("dc", datacenter)
    }

    /// Adds a parameter to the query, such as `ns`, `partition` or `filter`.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        // Writing to a text does not fail.
        let _ = write!(self.parameters, "&{}={}", escape(name), escape(value));
        self
    }

    /// Adds a header to the requests, such as `X-Consul-Token`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Which IP addresses may be endpoints. Others are left out with a warning. Default
    /// [`AddressFilter::new`].
    #[must_use]
    pub fn address_filter(mut self, filter: AddressFilter) -> Self {
        self.filter = filter;
        self
    }

    /// For how long Consul may hold a query back when nothing changes. Default 5 min; Consul allows
    /// 10 min.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How soon to ask again after an answer (the floor) and after errors; an answer may take its
    /// timeout beyond the wait. Default [`Schedule::new`], with a floor of 100 ms.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The instances of a service. Addresses, `host:port`, are parsed as `T`; what can't be parsed
    /// is left out with a warning. If that is all of them, it is an error, and so is an answer of
    /// more than 64 MiB or 500 000 instances.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] if the schedule can't be kept.
    pub fn service<T>(&self, name: &str) -> Result<Refresh<String, T>, InvalidSchedule>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let mut schedule = self.schedule.clone();
        // Consul adds up to a sixteenth of the wait, so that clients don't come back together.
        schedule.timeout = schedule
            .timeout
            .map(|timeout| timeout.saturating_add(self.wait).saturating_add(self.wait / 16));
        let source = format!("consul service {name}");
        let query = Arc::new(Query {
            url: format!("{}/v1/health/service/{}", self.url, escape(name)),
            consul: self.clone(),
            index: AtomicU64::new(0),
            source: source.clone(),
            left_out: Mutex::default(),
        });
        refresh(source, schedule, move || {
            let query = Arc::clone(&query);
            async move { query.fetch().await }
        })
    }
}

/// One service's query, and where it is in the course of changes.
struct Query {
    url: String,
    consul: Consul,
    /// 0: unknown, so that the next answer comes at once.
    index: AtomicU64,
    source: String,
    left_out: Mutex<LeftOutLog>,
}

impl Query {
    async fn fetch<T>(&self) -> Result<Fetched<String, T>, BoxError>
    where
        T: FromStr<Err: Display>,
    {
        // Unknown again, unless all goes well: an agent that restarted counts anew.
        let before = self.index.swap(0, Ordering::Relaxed);
        let Consul { parameters, headers, wait, transport, .. } = &self.consul;
        // 0 would be Consul's own default.
        let (url, wait) = (&self.url, wait.as_millis().max(1));
        let url = format!("{url}?index={before}&wait={wait}ms{parameters}");
        let mut request = Request::get(url).body(String::new())?;
        request.headers_mut().extend(headers.clone());
        let answer = transport.send(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(unexpected(answer).await);
        }
        let index = answer.headers().get("x-consul-index").and_then(|index| index.to_str().ok());
        let index = index.and_then(|index| index.parse::<u64>().ok());
        let entries: AtMost<Entry, MAX_ENDPOINTS> = serde_json::from_slice(&read(answer).await?)?;
        let (mut endpoints, mut left_out) = (Vec::new(), Vec::new());
        for entry in entries.0 {
            match entry.endpoint(&self.consul.filter) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(reason) => left_out.push(reason),
            }
        }
        let usable = NothingLeft::check(endpoints.len(), &left_out);
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).log(&self.source, left_out);
        usable?;
        let fetched = Fetched::new(endpoints);
        Ok(match index {
            // Without an index nothing is held back, and the interval paces the queries.
            None => fetched,
            Some(index) => {
                // With 0 nothing would be held back. One that went backwards is forgotten.
                let index = index.max(1);
                self.index.store(if index < before { 0 } else { index }, Ordering::Relaxed);
                fetched.valid_for(Duration::ZERO)
            }
        })
    }
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold secrets.
        f.debug_struct("Consul")
            .field("url", &self.url)
            .field("parameters", &self.parameters)
            .field("wait", &self.wait)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
