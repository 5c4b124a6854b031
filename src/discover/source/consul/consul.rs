use std::{
    fmt::{Display, Write},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;

use super::entry::Entry;
use crate::{
    BoxError, ConfigError, ParseError,
    discover::{
        AddressFilter, Fetched, HttpApi, Refresh, Schedule, refresh,
        source::{
            http_api::{percent_encode, read, unexpected},
            validation::{BoundedVec, LeftOutLog, MAX_ENDPOINTS},
        },
    },
    sync::{Mutex, lock},
};

/// A source of endpoints from Consul: the instances of a service with their checks, by blocking
/// queries to the health endpoint.
///
/// | Consul | endpoint |
/// |---|---|
/// | node and service id | the key, `node/id` |
/// | the service's address, or else the node's, and port | the target |
/// | all checks pass, one warns, one is critical | healthy, degraded, unhealthy |
/// | maintenance mode | draining |
/// | `Weights.Passing`, or `Warning` if a check warns | the weight |
/// | `Locality` of the service or node | the locality |
/// | `Meta` of the service | metadata |
/// | tags, node, datacenter | metadata `consul.tags`, `consul.node`, `consul.datacenter` |
///
/// Consul answers a query as soon as something changes. The index is reset when it decreases and
/// after errors. If the agent can't be reached, no endpoint changes.
///
/// ```no_run
/// use tower_lb::discover::Consul;
///
/// let endpoints =
///     Consul::new("http://127.0.0.1:8500")?.tag("v2").service::<std::net::SocketAddr>("web")?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Consul {
    api: HttpApi,
    parameters: String,
    wait: Duration,
    filter: AddressFilter,
    schedule: Schedule,
}

impl Consul {
    /// Creates a source from the agent's URL, or from an [`HttpApi`] for headers such as
    /// `X-Consul-Token` or another client.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the URL is not absolute.
    pub fn new(api: impl TryInto<HttpApi, Error: Into<ParseError>>) -> Result<Self, ParseError> {
        Ok(Self {
            api: api.try_into().map_err(Into::into)?,
            parameters: String::new(),
            wait: Duration::from_secs(300),
            filter: AddressFilter::new(),
            schedule: Schedule::new().floor(Duration::from_millis(100)),
        })
    }

    /// Selects the instances with this tag. With several calls, an instance needs all tags.
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        self.parameter("tag", tag)
    }

    /// Selects the datacenter. Default the agent's own.
    #[must_use]
    pub fn datacenter(self, datacenter: &str) -> Self {
        self.parameter("dc", datacenter)
    }

    /// Adds a parameter to the query, such as `ns`, `partition` or `filter`.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        let (name, value) = (percent_encode(name), percent_encode(value));
        // Writing to a string does not fail.
        let _ = write!(self.parameters, "&{name}={value}");
        self
    }

    setters! {
        /// Sets which IP addresses may be endpoints. Others are left out with a warning. Default
        /// [`AddressFilter::new`].
        pub fn address_filter(filter: AddressFilter) => filter = filter;
        /// Sets how long Consul may delay the answer to a query while nothing changes. Default 5
        /// min; Consul allows 10 min.
        pub fn wait(wait: Duration) => wait = wait;
        /// Sets the delay after an answer (the floor) and after errors. The timeout is added to
        /// [`wait`](Self::wait). Default [`Schedule::new`] with a floor of 100 ms.
        pub fn schedule(schedule: Schedule) => schedule = schedule;
    }

    /// Returns the source of a service. Addresses, `host:port`, are parsed as `T`. Instances whose
    /// address can't be parsed, and those without a port, are left out with a warning. It is an
    /// error if no instance is left, or if an answer has more than 64 MiB or 500 000 instances.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the schedule is invalid.
    pub fn service<T>(&self, name: &str) -> Result<Refresh<String, T>, ConfigError>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let mut schedule = self.schedule.clone();
        // Consul adds up to a sixteenth of the wait, so that clients do not return together.
        schedule.timeout = schedule
            .timeout
            .map(|timeout| timeout.saturating_add(self.wait).saturating_add(self.wait / 16));
        let source = format!("consul service {name}");
        let query = Arc::new(Query {
            path: format!("/v1/health/service/{}", percent_encode(name)),
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

/// The blocking query for a service.
struct Query {
    path: String,
    consul: Consul,
    /// The index of the last answer. 0 is unknown, which Consul answers at once.
    ///
    /// Relaxed accesses suffice: a `Refresh` runs one fetch after the other.
    index: AtomicU64,
    source: String,
    left_out: Mutex<LeftOutLog>,
}

impl Query {
    async fn fetch<T: FromStr<Err: Display>>(&self) -> Result<Fetched<String, T>, BoxError> {
        // Unknown until this query succeeds: an agent that restarted starts its index anew.
        let before = self.index.swap(0, Ordering::Relaxed);
        let Consul { api, parameters, wait, filter, .. } = &self.consul;
        // A wait of 0 would select Consul's own default.
        let (path, wait) = (&self.path, wait.as_millis().max(1));
        let query = format!("{path}?index={before}&wait={wait}ms{parameters}");
        let response = api.get(&query, None).await?;
        if response.status() != StatusCode::OK {
            return Err(unexpected(response).await);
        }
        let index = response.headers().get("x-consul-index").and_then(|index| index.to_str().ok());
        let index = index.and_then(|index| index.parse::<u64>().ok());
        let entries: BoundedVec<Entry, MAX_ENDPOINTS> =
            serde_json::from_slice(&read(response).await?)?;
        let endpoints = entries.0.into_iter().map(|entry| entry.endpoint(filter));
        let fetched = Fetched::new(lock(&self.left_out).keep_usable(&self.source, endpoints)?);
        Ok(match index {
            // Without an index Consul answers at once, so the interval paces the queries.
            None => fetched,
            Some(index) => {
                // An index of 0 must not be sent, as Consul would answer it at once. One that has
                // decreased is invalid.
                let index = index.max(1);
                self.index.store(if index < before { 0 } else { index }, Ordering::Relaxed);
                fetched.valid_for(Duration::ZERO)
            }
        })
    }
}
