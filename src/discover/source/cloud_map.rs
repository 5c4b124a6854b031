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

use super::validation::{LeftOut, LeftOutLog, NothingLeft, target};
use crate::{
    BoxError,
    discover::{AddressFilter, Fetched, InvalidSchedule, Refresh, Schedule, refresh},
    endpoint::{Endpoint, Health, Locality},
    escape::Escaped,
};

/// Endpoints from AWS Cloud Map: the instances of a service.
///
/// | Cloud Map | here |
/// |---|---|
/// | instance id | the key |
/// | `AWS_INSTANCE_IPV4`, or else `_IPV6`, or else `_CNAME`, and `_PORT` | the target, `host:port` |
/// | `HEALTHY` or no health check, `UNHEALTHY` | healthy, unhealthy |
/// | `REGION` and `AVAILABILITY_ZONE`, as ECS sets them | the locality |
/// | all attributes | metadata |
///
/// The service's revision is asked for every 5 s, which costs little, and the instances when it has
/// changed. A change of health does not change the revision, so they are asked for every 30 s
/// anyway. Cloud Map gives 1000 instances at the most. If it can't be reached, no endpoint changes.
///
/// The client brings region, credentials and TLS along, and its own retries.
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

/// As many as Cloud Map gives.
const MOST_INSTANCES: i32 = 1000;

impl CloudMap {
    /// The services of a namespace, asked for by this client.
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

    /// The port of instances that have none registered. Default: they are left out with a warning.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Which IP addresses may be endpoints. Others are left out with a warning. Default
    /// [`AddressFilter::new`].
    #[must_use]
    pub fn address_filter(mut self, filter: AddressFilter) -> Self {
        self.filter = filter;
        self
    }

    /// How often instances are asked for though the revision is the same, to see their health.
    /// Default 30 s.
    #[must_use]
    pub fn list_every(mut self, time: Duration) -> Self {
        self.list_every = time;
        self
    }

    /// When to ask for the revision, and how long an answer may take. Default [`Schedule::new`],
    /// with an interval of 5 s.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The instances of a service. Addresses, `host:port`, are parsed as `T`; what can't be parsed
    /// is left out with a warning. If that is all of them, it is an error.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] if the schedule can't be kept.
    pub fn service<T>(&self, name: &str) -> Result<Refresh<String, T>, InvalidSchedule>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let source = format!("cloud map service {name}.{}", self.namespace);
        let query = Arc::new(Query {
            cloud_map: self.clone(),
            service: name.to_owned(),
            listed: Mutex::default(),
            source: source.clone(),
            left_out: Mutex::default(),
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
    listed: Mutex<Option<Listed>>,
    source: String,
    left_out: Mutex<LeftOutLog>,
}

/// What the instances looked like when they were asked for.
#[derive(Clone, Copy)]
struct Listed {
    revision: Option<i64>,
    at: Instant,
}

impl Query {
    async fn fetch<T>(&self) -> Result<Fetched<String, T>, BoxError>
    where
        T: FromStr<Err: Display>,
    {
        let mut listed = self.listed.lock().await;
        let CloudMap { client, namespace, port, list_every, filter, .. } = &self.cloud_map;
        if let Some(Listed { revision: Some(revision), at }) = *listed {
            if at.elapsed() < *list_every {
                let request = client.discover_instances_revision();
                let request = request.namespace_name(namespace).service_name(&self.service);
                let answer = request.send().await.map_err(failed)?;
                if answer.instances_revision() == Some(revision) {
                    return Ok(Fetched::unchanged());
                }
            }
        }
        let request = client.discover_instances().namespace_name(namespace);
        let request = request.service_name(&self.service).max_results(MOST_INSTANCES);
        let answer = request.health_status(HealthStatusFilter::All).send().await;
        let answer = answer.map_err(failed)?;
        let instances = answer.instances();
        if instances.len() >= MOST_INSTANCES as usize {
            tracing::warn!(
                service = %Escaped(&self.service),
                "there may be more instances than Cloud Map gives"
            );
        }
        let (mut endpoints, mut left_out) = (Vec::new(), Vec::new());
        for instance in instances {
            match endpoint(instance, *port, filter) {
                Some(Ok(endpoint)) => endpoints.push(endpoint),
                Some(Err(reason)) => left_out.push(reason),
                None => {}
            }
        }
        let usable = NothingLeft::check(endpoints.len(), &left_out);
        self.left_out.lock().await.log(&self.source, left_out);
        usable?;
        let fetched = Fetched::new(endpoints);
        *listed = Some(Listed { revision: answer.instances_revision(), at: Instant::now() });
        Ok(fetched)
    }
}

/// The endpoint under its key, unless it is left out; `None` without an id.
fn endpoint<T>(
    instance: &HttpInstanceSummary,
    port: Option<u16>,
    filter: &AddressFilter,
) -> Option<Result<(String, Endpoint<T>), LeftOut>>
where
    T: FromStr<Err: Display>,
{
    let id = instance.instance_id()?;
    let nothing = HashMap::new();
    let attributes = instance.attributes().unwrap_or(&nothing);
    let attribute = |name: &str| attributes.get(name).map(String::as_str);
    let host = attribute("AWS_INSTANCE_IPV4");
    let host = host.or_else(|| attribute("AWS_INSTANCE_IPV6"));
    let host = host.or_else(|| attribute("AWS_INSTANCE_CNAME"));
    let registered = attribute("AWS_INSTANCE_PORT").and_then(|port| port.parse().ok());
    let (Some(host), Some(port)) = (host, registered.or(port)) else {
        return Some(Err(LeftOut::new(id, "it has no address or no port")));
    };
    let target = match target(id, host, port, filter) {
        Ok(target) => target,
        Err(left_out) => return Some(Err(left_out)),
    };
    let labels = attributes.iter().map(|(name, value)| (name.clone(), value.clone()));
    let mut endpoint = Endpoint::new(target).with_all_metadata(labels.collect());
    if instance.health_status() == Some(&HealthStatus::Unhealthy) {
        endpoint = endpoint.with_health(Health::unhealthy("Cloud Map says so"));
    }
    if let Some(zone) = attribute("AVAILABILITY_ZONE") {
        let region = attribute("REGION").unwrap_or_default();
        endpoint = endpoint.with_locality(Locality::new(region, zone));
    }
    Some(Ok((id.to_owned(), endpoint)))
}

fn failed(error: impl StdError + Send + Sync + 'static) -> BoxError {
    CloudMapError { cause: error.into() }.into()
}

/// An error of the SDK, whose own message says nothing of its causes.
#[derive(Debug)]
struct CloudMapError {
    cause: BoxError,
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
