use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt::{self, Display},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use aws_sdk_servicediscovery::{
    Client,
    error::DisplayErrorContext,
    types::{HealthStatus, HealthStatusFilter, HttpInstanceSummary},
};
use tokio::{sync::Mutex, time::Instant};

use super::validation::{LeftOut, LeftOutLog, parse_target};
use crate::{
    BoxError, ConfigError,
    discover::{AddressFilter, Fetched, Refresh, Schedule, refresh},
    endpoint::{Endpoint, Health, Locality},
    escape::Escaped,
};

/// The largest number of instances that Cloud Map returns.
const MAX_INSTANCES: i32 = 1000;

/// A source of endpoints from AWS Cloud Map: the instances of a service.
///
/// | Cloud Map | endpoint |
/// |---|---|
/// | instance id | the key |
/// | `AWS_INSTANCE_IPV4`, or else `_IPV6`, or else `_CNAME` | the host of the target |
/// | `AWS_INSTANCE_PORT` | the port of the target |
/// | `HEALTHY` or no health check, `UNHEALTHY` | healthy, unhealthy |
/// | `REGION` and `AVAILABILITY_ZONE`, as ECS sets them | the locality |
/// | all attributes | metadata |
///
/// The service's revision is polled every 5 s, which is cheap, and the instances are listed when it
/// has changed. A change of health does not change the revision, so the instances are also listed
/// every 30 s. Cloud Map returns at most 1000 instances. If it can't be reached, no endpoint
/// changes.
///
/// The client supplies region, credentials, TLS and retries.
///
/// ```no_run
/// use tower_lb::discover::CloudMap;
///
/// # fn f(client: aws_sdk_servicediscovery::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let endpoints =
///     CloudMap::new(client, "internal").service::<std::net::SocketAddr>("web")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CloudMap {
    client: Client,
    namespace: String,
    port: Option<u16>,
    list_every: Duration,
    filter: AddressFilter,
    schedule: Schedule,
}

impl CloudMap {
    /// Creates a source of the services of a namespace.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self {
            client,
            namespace: namespace.into(),
            port: None,
            list_every: Duration::from_secs(30),
            filter: AddressFilter::new(),
            schedule: Schedule::new().interval(Duration::from_secs(5)),
        }
    }

    setters! {
        /// Sets the port of instances that register none. By default they are left out with a
        /// warning.
        pub fn port(port: u16) => port = Some(port);
        /// Sets which IP addresses may be endpoints. Others are left out with a warning. Default
        /// [`AddressFilter::new`].
        pub fn address_filter(filter: AddressFilter) => filter = filter;
        /// Sets how often the instances are listed although the revision is unchanged, to update
        /// their health. Default 30 s.
        pub fn list_every(time: Duration) => list_every = time;
        /// Sets when the revision is polled, and the timeout of a poll. Default [`Schedule::new`]
        /// with an interval of 5 s.
        pub fn schedule(schedule: Schedule) => schedule = schedule;
    }

    /// Returns the source of a service. Addresses, `host:port`, are parsed as `T`. Instances whose
    /// address can't be parsed are left out with a warning. It is an error if no instance is left.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the schedule is invalid.
    pub fn service<T>(&self, name: &str) -> Result<Refresh<String, T>, ConfigError>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let source = format!("cloud map service {name}.{}", self.namespace);
        let query = Arc::new(Query {
            cloud_map: self.clone(),
            service: name.to_owned(),
            source: source.clone(),
            state: Mutex::default(),
        });
        refresh(source, self.schedule.clone(), move || {
            let query = Arc::clone(&query);
            async move { query.fetch().await }
        })
    }
}

struct Query {
    cloud_map: CloudMap,
    service: String,
    source: String,
    state: Mutex<QueryState>,
}

#[derive(Default)]
struct QueryState {
    last_list: Option<LastList>,
    left_out: LeftOutLog,
    /// The last list was as long as Cloud Map returns at most.
    may_lack_some: bool,
}

/// The last time the instances were listed.
#[derive(Clone, Copy)]
struct LastList {
    revision: Option<i64>,
    at: Instant,
}

impl Query {
    async fn fetch<T: FromStr<Err: Display>>(&self) -> Result<Fetched<String, T>, BoxError> {
        let mut state = self.state.lock().await;
        let CloudMap { client, namespace, port, list_every, filter, .. } = &self.cloud_map;
        if let Some(LastList { revision: Some(revision), at }) = state.last_list {
            if at.elapsed() < *list_every {
                let request = client.discover_instances_revision();
                let request = request.namespace_name(namespace).service_name(&self.service);
                let answer = request.send().await.map_err(CloudMapError::new)?;
                if answer.instances_revision() == Some(revision) {
                    return Ok(Fetched::unchanged());
                }
            }
        }
        let request = client.discover_instances().namespace_name(namespace);
        let request = request.service_name(&self.service).max_results(MAX_INSTANCES);
        let answer = request.health_status(HealthStatusFilter::All).send().await;
        let answer = answer.map_err(CloudMapError::new)?;
        let instances = answer.instances();
        let may_lack_some = instances.len() >= MAX_INSTANCES as usize;
        let lacked_some = std::mem::replace(&mut state.may_lack_some, may_lack_some);
        if may_lack_some && !lacked_some {
            tracing::warn!(
                service = %Escaped(&self.service),
                "there may be more instances than Cloud Map returns"
            );
        }
        let endpoints = instances.iter().filter_map(|instance| endpoint(instance, *port, filter));
        let endpoints = state.left_out.keep_usable(&self.source, endpoints)?;
        // Set only now: after an error the instances are listed again.
        let revision = answer.instances_revision();
        state.last_list = Some(LastList { revision, at: Instant::now() });
        Ok(Fetched::new(endpoints))
    }
}

/// Returns the key and the endpoint, or why it is left out; `None` for an instance without an id.
fn endpoint<T: FromStr<Err: Display>>(
    instance: &HttpInstanceSummary,
    port: Option<u16>,
    filter: &AddressFilter,
) -> Option<Result<(String, Endpoint<T>), LeftOut>> {
    let id = instance.instance_id()?;
    let nothing = HashMap::new();
    let attributes = instance.attributes().unwrap_or(&nothing);
    let attribute = |name: &str| attributes.get(name).map(String::as_str);
    let host = attribute("AWS_INSTANCE_IPV4");
    let host = host.or_else(|| attribute("AWS_INSTANCE_IPV6"));
    let host = host.or_else(|| attribute("AWS_INSTANCE_CNAME"));
    let port = match attribute("AWS_INSTANCE_PORT").map(str::parse) {
        Some(Err(_)) => return Some(Err(LeftOut::new(id, "AWS_INSTANCE_PORT is not a port"))),
        Some(Ok(registered)) => Some(registered),
        None => port,
    };
    let (Some(host), Some(port)) = (host, port) else {
        return Some(Err(LeftOut::new(id, "it has no address or no port")));
    };
    let target = match parse_target(id, host, port, filter) {
        Ok(target) => target,
        Err(left_out) => return Some(Err(left_out)),
    };
    let labels = attributes.iter().map(|(name, value)| (name.clone(), value.clone()));
    let mut endpoint = Endpoint::new(target).with_all_metadata(labels.collect());
    if instance.health_status() == Some(&HealthStatus::Unhealthy) {
        endpoint = endpoint.with_health(Health::unhealthy("unhealthy in Cloud Map"));
    }
    if let Some(zone) = attribute("AVAILABILITY_ZONE") {
        let region = attribute("REGION").unwrap_or_default();
        endpoint = endpoint.with_locality(Locality::new(region, zone));
    }
    Some(Ok((id.to_owned(), endpoint)))
}

/// An error of the SDK, whose own message does not include its causes.
#[derive(Debug)]
struct CloudMapError {
    cause: BoxError,
}

impl CloudMapError {
    fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Self { cause: error.into() }
    }
}

impl Display for CloudMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(DisplayErrorContext(&*self.cause)))
    }
}

impl StdError for CloudMapError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.cause)
    }
}
