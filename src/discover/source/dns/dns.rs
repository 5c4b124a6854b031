use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::join, stream};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};
use tokio::time::{Instant, timeout_at};

use super::{
    Family,
    answer::{Addresses, EndpointCount, Srv, address, choose, records, service_endpoints, ttl},
    error::DnsError,
    host::{HostState, Targets},
};
use crate::{
    BoxError, ConfigError,
    discover::{
        AddressFilter, Fetched, Refresh, RejectedAddress, Schedule, SourceError, refresh,
        source::validation::{LeftOut, LeftOutLog, split_zone},
    },
    opaque::Opaque,
    sync::{Mutex, lock},
};

/// The largest number of SRV records of a service.
const MAX_SERVICES: usize = 1024;
/// The largest number of targets that are looked up concurrently, each with up to two queries.
const MAX_CONCURRENT_LOOKUPS: usize = 32;

/// A source of endpoints from DNS, through hickory-resolver: [`host`](Self::host) for addresses,
/// [`srv`](Self::srv) for services. Use [`merge`](crate::discover::merge()) for several names.
///
/// Records are looked up again when their TTL expires, within the limits of the [`Schedule`]. There
/// is no other cache. **A failure never empties the set**, whether there is no answer or the server
/// answers SERVFAIL. Neither does the answer that a name or record does not exist, unless
/// [`believe_negative`](Self::believe_negative) is set. Answers that exceed a datagram are
/// requested over TCP. `/etc/hosts` is used with the system's configuration.
///
/// Addresses that can never be an endpoint, and those of the metadata services of clouds, are left
/// out with a warning; see [`address_filter`](Self::address_filter). An answer of which all
/// addresses are left out is an error, and so are more than 1024 SRV records or 10 000 endpoints.
///
/// hickory-resolver spawns tasks on the runtime that read its sockets. Needs Rust 1.88.
///
/// ```no_run
/// use tower_lb::discover::{self, Dns, DiscoverExt};
///
/// let dns = Dns::system()?;
/// let endpoints = discover::merge([
///     dns.host("blue.example.com", 8080)?,
///     dns.srv("_http._tcp.green.example.com")?,
/// ]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dns {
    resolver: Opaque<TokioResolver>,
    schedule: Schedule,
    family: Family,
    believe_negative: bool,
    filter: AddressFilter,
}

impl Dns {
    /// Creates a source with the servers and search domains of the system's configuration.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the configuration can't be read.
    pub fn system() -> Result<Self, SourceError> {
        let build = || {
            let mut builder = TokioResolver::builder_tokio()?;
            set_options(builder.options_mut());
            builder.build()
        };
        build().map(Self::new).map_err(|error| SourceError::failed("dns configuration", error))
    }

    /// Creates a source with these servers, over UDP and TCP, without search domains and
    /// `/etc/hosts`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if there are no servers, or if hickory-resolver rejects them.
    pub fn with_servers(
        servers: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self, ConfigError> {
        let servers: Vec<_> = servers.into_iter().map(name_server).collect();
        if servers.is_empty() {
            return Err(ConfigError::new("servers", "at least 1 server"));
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        set_options(builder.options_mut());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder.build().map(Self::new).map_err(|error| {
            ConfigError::new("servers", format!("servers that the resolver accepts: {error}"))
        })
    }

    fn new(resolver: TokioResolver) -> Self {
        Self {
            resolver: Opaque(resolver),
            schedule: Schedule::new(),
            family: Family::Any,
            believe_negative: false,
            filter: AddressFilter::new(),
        }
    }

    setters! {
        /// Sets when names are looked up again, and the timeout of a poll; a single query may take
        /// half of it. Default [`Schedule::new`].
        pub fn schedule(schedule: Schedule) => schedule = schedule;
        /// Sets which addresses are used. Default [`Family::Any`].
        pub fn family(family: Family) => family = family;
        /// Sets which IP addresses may be endpoints. Default [`AddressFilter::new`]; use
        /// [`AddressFilter::strict`] for names that others control.
        pub fn address_filter(filter: AddressFilter) => filter = filter;
        /// Sets whether a negative answer (NXDOMAIN, NODATA, the SRV target `.`) means that there
        /// are no endpoints. By default it is an error, and the last endpoints stay.
        pub fn believe_negative(believe: bool) => believe_negative = believe;
    }

    /// Returns the source of a host's addresses (A and AAAA), with a port. Each is its own key.
    ///
    /// If the lookup of one of the two record types fails, the last addresses of that type are
    /// used.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the schedule is invalid.
    pub fn host(
        &self,
        name: impl Into<String>,
        port: u16,
    ) -> Result<Refresh<SocketAddr, SocketAddr>, ConfigError> {
        let (dns, name) = (self.clone(), name.into());
        let source = format!("dns host {name}");
        let state = Arc::new(SourceState::<HostState>::new(&source));
        refresh(source, self.schedule.clone(), move || {
            let (dns, name, state) = (dns.clone(), name.clone(), Arc::clone(&state));
            async move { dns.fetch_host(&name, port, &state).await }
        })
    }

    /// Returns the source of a service's SRV records (RFC 2782). The addresses of the targets are
    /// the keys.
    ///
    /// The priority of a record is the tier of its endpoints. Its weight times 1000 is divided
    /// among the addresses of the target. A weight of 0 counts as a thousandth of 1: "very little"
    /// compared with other weights, and equal to other zeros. The metadata `host` is the target's
    /// name. An address that several records give for the same port has the best tier, and the sum
    /// of the weights in that tier.
    ///
    /// If the lookup of a target fails, its last addresses are used. A target that was never found
    /// is left out; it is an error if no target is left. At most 32 targets are looked up
    /// concurrently. A lookup fails if it is not finished after nine tenths of the schedule's
    /// timeout.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the schedule is invalid.
    pub fn srv(
        &self,
        service: impl Into<String>,
    ) -> Result<Refresh<SocketAddr, SocketAddr>, ConfigError> {
        let (dns, name) = (self.clone(), service.into());
        let source = format!("dns service {name}");
        let state = Arc::new(SourceState::<Targets>::new(&source));
        refresh(source, self.schedule.clone(), move || {
            let (dns, name, state) = (dns.clone(), name.clone(), Arc::clone(&state));
            async move {
                let mut left_out = Vec::new();
                let fetched = dns.fetch_services(&name, &state.known, &mut left_out).await;
                // A failed lookup does not show what would be left out.
                if fetched.is_ok() || !left_out.is_empty() {
                    lock(&state.log).log(&state.source, left_out);
                }
                fetched
            }
        })
    }

    async fn fetch_host(
        &self,
        name: &str,
        port: u16,
        state: &SourceState<HostState>,
    ) -> Result<Fetched<SocketAddr, SocketAddr>, BoxError> {
        if port == 0 {
            return Err(DnsError::PortZero.into());
        }
        let answer = self.addresses(name, &state.known, None).await;
        let left_out = lock(&state.known).left_out(name);
        lock(&state.log).log(&state.source, left_out);
        let (addresses, ttl) = match answer {
            Err(error) if self.believe_negative && error.is_negative() => (Vec::new(), None),
            answer => answer?,
        };
        EndpointCount::default().add(addresses.len())?;
        let endpoints = addresses.into_iter().map(|address| {
            let address = SocketAddr::new(address, port);
            (address, address.into())
        });
        Ok(valid_for(Fetched::new(endpoints), ttl))
    }

    async fn fetch_services(
        &self,
        name: &str,
        known: &Mutex<Targets>,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<Fetched<SocketAddr, SocketAddr>, BoxError> {
        // Ends before the timeout of the poll, so that the targets found until then are used.
        let limit = self.schedule.timeout.map(|limit| limit - limit / 10);
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let (services, ttl) = match self.services(name, left_out).await {
            Err(error) if self.believe_negative && error.is_negative() => (Vec::new(), None),
            answer => answer?,
        };
        // The targets of this answer, with the state that they have from the last one.
        let targets: Targets = {
            let mut known = lock(known);
            let last = std::mem::take(&mut *known);
            for Srv { target, .. } in &services {
                let state = || last.get(target).cloned().unwrap_or_default();
                known.entry(target.clone()).or_insert_with(state);
            }
            known.clone()
        };
        let mut answers = self.resolve(&targets, deadline).await?;
        // If no target was found, the poll fails, which keeps all endpoints.
        if answers.values().any(Result::is_ok) {
            for (answer, host) in answers.values_mut().zip(targets.values()) {
                self.fall_back(answer, &lock(host).chosen);
            }
        }
        for (target, host) in &targets {
            left_out.extend(lock(host).left_out(target));
        }
        let (endpoints, ttl) = service_endpoints(services, answers, ttl, left_out)?;
        Ok(valid_for(Fetched::new(endpoints), ttl))
    }

    /// Looks up targets, a limited number concurrently.
    async fn resolve(
        &self,
        targets: &Targets,
        deadline: Option<Instant>,
    ) -> Result<BTreeMap<String, Addresses>, DnsError> {
        let mut order: Vec<_> = targets.clone().into_iter().collect();
        // Targets whose last lookup failed come last, because they may use up all the time.
        order.sort_by_key(|(_, known)| lock(known).failed);
        let lookups = order.into_iter().map(|(target, known)| {
            let dns = self.clone();
            async move {
                let answer = dns.addresses(&target, &known, deadline).await;
                let mut known = lock(&known);
                known.failed = answer.is_err();
                let rejected: usize = known.rejected.iter().map(Vec::len).sum();
                let accepted = answer.as_ref().map_or(0, |(addresses, _)| addresses.len());
                (target, answer, accepted + rejected)
            }
        });
        let mut lookups = stream::iter(lookups).buffer_unordered(MAX_CONCURRENT_LOOKUPS);
        let (mut answers, mut count) = (BTreeMap::new(), EndpointCount::default());
        while let Some((target, answer, addresses)) = lookups.next().await {
            count.add(addresses)?;
            answers.insert(target, answer);
        }
        Ok(answers)
    }

    /// Looks up the SRV records of a service, and how long they are valid.
    async fn services(
        &self,
        name: &str,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<(Vec<Srv>, Option<Duration>), DnsError> {
        let lookup = self.ask(name, RecordType::SRV, None).await?;
        let mut services: Vec<_> = records(&lookup)
            .filter_map(|data| match data {
                RData::SRV(srv) if !srv.target.is_root() => Some(Srv {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    target: srv.target.to_ascii(),
                }),
                _ => None,
            })
            .collect();
        services.sort();
        services.dedup();
        // The target `.` says that the service is not available (RFC 2782).
        if services.is_empty() {
            return Err(DnsError::NotFound(None));
        }
        if services.len() > MAX_SERVICES {
            return Err(DnsError::TooManyServices { limit: MAX_SERVICES });
        }
        services.retain(|service| {
            if service.port == 0 {
                left_out.push(LeftOut::new(&*service.target, DnsError::PortZero));
            }
            service.port != 0
        });
        if services.is_empty() {
            return Err(DnsError::PortZero);
        }
        Ok((services, ttl(&lookup)))
    }

    /// Looks up the addresses of a host that the filter accepts, sorted, and how long they are
    /// valid.
    async fn addresses(
        &self,
        name: &str,
        known: &Mutex<HostState>,
        deadline: Option<Instant>,
    ) -> Addresses {
        if let Ok(address) = name.parse() {
            return match self.filter.check_ip(address) {
                Ok(()) => Ok((vec![address], None)),
                Err(rejected) => Err(DnsError::Rejected(rejected)),
            };
        }
        if split_zone(name).1.is_some() {
            return Err(DnsError::Zone);
        }
        let lookup = |kind| self.lookup(name, kind, deadline);
        let (v4, v6) = match self.family {
            Family::V4 => (Some(lookup(RecordType::A).await), None),
            Family::V6 => (None, Some(lookup(RecordType::AAAA).await)),
            Family::Any | Family::PreferV4 | Family::PreferV6 => {
                let (v4, v6) = join(lookup(RecordType::A), lookup(RecordType::AAAA)).await;
                (Some(v4), Some(v6))
            }
        };
        let mut known = lock(known);
        let [v4_rejected, v6_rejected] = &mut known.rejected;
        let mut v4 = v4.map(|answer| self.accepted(answer, v4_rejected));
        let mut v6 = v6.map(|answer| self.accepted(answer, v6_rejected));
        known.complete(&mut v4, &mut v6);
        let chosen = choose(self.family, v4, v6)?;
        known.chosen.clone_from(&chosen.0);
        Ok(chosen)
    }

    /// Removes the addresses that the filter rejects from an answer. If no address is left, the
    /// answer is a failure like SERVFAIL, not a negative answer.
    fn accepted(&self, answer: Addresses, rejected: &mut Vec<RejectedAddress>) -> Addresses {
        let (mut addresses, ttl) = answer?;
        rejected.clear();
        addresses.retain(|address| match self.filter.check_ip(*address) {
            Ok(()) => true,
            Err(error) => {
                rejected.push(error);
                false
            }
        });
        match rejected.first() {
            Some(first) if addresses.is_empty() => Err(DnsError::Rejected(first.clone())),
            _ => Ok((addresses, ttl)),
        }
    }

    async fn lookup(&self, name: &str, kind: RecordType, deadline: Option<Instant>) -> Addresses {
        let lookup = self.ask(name, kind, deadline).await?;
        let mut addresses: Vec<IpAddr> = records(&lookup).filter_map(address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok((addresses, ttl(&lookup)))
    }

    /// Sends a query. It may take half of the schedule's timeout, so that a query that is never
    /// answered (AAAA in some networks) does not fail the others, and it ends at the deadline.
    async fn ask(
        &self,
        name: &str,
        kind: RecordType,
        deadline: Option<Instant>,
    ) -> Result<Lookup, DnsError> {
        let lookup = self.resolver.0.lookup(name, kind);
        let limit = self.schedule.timeout.map(|limit| limit / 2);
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        let answer = match end.into_iter().chain(deadline).min() {
            None => lookup.await,
            Some(end) => timeout_at(end, lookup).await.unwrap_or(Err(NetError::Timeout)),
        };
        Ok(answer?)
    }

    /// Replaces an error with the last addresses, unless the error is a negative answer that is
    /// trusted.
    fn fall_back(&self, answer: &mut Addresses, last: &[IpAddr]) {
        if let Err(error) = answer {
            let believed = self.believe_negative && error.is_negative();
            if !believed && !last.is_empty() {
                *answer = Ok((last.to_vec(), None));
            }
        }
    }
}

/// What a source remembers between polls.
struct SourceState<T> {
    source: String,
    known: Mutex<T>,
    log: Mutex<LeftOutLog>,
}

impl<T: Default> SourceState<T> {
    fn new(source: &str) -> Self {
        Self { source: source.to_owned(), known: Mutex::default(), log: Mutex::default() }
    }
}

/// Disables the resolver's cache, because [`Refresh`] applies the TTLs.
fn set_options(options: &mut ResolverOpts) {
    (options.cache_size, options.try_tcp_on_error) = (0, true);
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn valid_for<K, T>(fetched: Fetched<K, T>, ttl: Option<Duration>) -> Fetched<K, T> {
    match ttl {
        Some(ttl) => fetched.valid_for(ttl),
        None => fetched,
    }
}
