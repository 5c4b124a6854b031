use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    DnsError, Family,
    answer::{Count, Looked, Srv, address, choose, records, resolved, ttl},
};
use crate::{
    BoxError,
    discover::{
        AddressFilter, Fetched, InvalidSchedule, Refresh, RejectedAddress, Schedule, refresh,
        source::validation::{LeftOut, LeftOutLog},
    },
};

/// The most SRV records of a service that are followed.
const MAX_SERVICES: usize = 1024;
/// The most targets of a service that are looked up at the same time, each by up to two queries.
const MAX_LOOKUPS: usize = 32;

/// Endpoints from DNS, through hickory-resolver: [`host`](Self::host) for addresses,
/// [`srv`](Self::srv) for services. Several names are [merged](crate::discover::merge()).
///
/// Records are asked for again when their TTL is over, within the bounds of the [`Schedule`]; they
/// are not cached otherwise. **A failure never empties the set**, be it that there is no answer or
/// that the server says SERVFAIL. Nor does the answer that there is no such name or record, unless
/// [`believe_negative`](Self::believe_negative) is set. Answers that don't fit into a datagram are
/// asked for over TCP. `/etc/hosts` counts where the system's configuration is used.
///
/// Addresses that can never be an endpoint, and those of the metadata services of clouds, are left out
/// with a warning; [`address_filter`](Self::address_filter) says which. An answer of which nothing is
/// left is an error, and so are more than 1024 SRV records or 10 000 endpoints.
///
/// hickory-resolver spawns tasks on the runtime that read its sockets. Needs Rust 1.88.
///
/// ```no_run
/// use tower_lb::discover::{self, Dns, DiscoverExt};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dns = Dns::system()?;
/// let endpoints = discover::merge([
///     dns.host("blue.example.com", 8080)?,
///     dns.srv("_http._tcp.green.example.com")?,
/// ]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
    schedule: Schedule,
    family: Family,
    believe_negative: bool,
    filter: AddressFilter,
}

impl Dns {
    /// By the servers and search domains of the system's configuration.
    ///
    /// # Errors
    ///
    /// [`DnsError::Configuration`] if that can't be read.
    pub fn system() -> Result<Self, DnsError> {
        let mut builder = TokioResolver::builder_tokio().map_err(DnsError::Configuration)?;
        set_options(builder.options_mut());
        Self::new(builder.build())
    }

    /// By these servers, over UDP and TCP, without search domains and `/etc/hosts`.
    ///
    /// # Errors
    ///
    /// [`DnsError::NoServers`] if there are none; [`DnsError::Configuration`] if the resolver can't
    /// be made.
    pub fn with_servers(servers: impl IntoIterator<Item = SocketAddr>) -> Result<Self, DnsError> {
        let servers: Vec<_> = servers.into_iter().map(name_server).collect();
        if servers.is_empty() {
            return Err(DnsError::NoServers);
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        set_options(builder.options_mut());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        Self::new(builder.build())
    }

    fn new(resolver: Result<TokioResolver, NetError>) -> Result<Self, DnsError> {
        Ok(Self {
            resolver: resolver.map_err(DnsError::Configuration)?,
            schedule: Schedule::new(),
            family: Family::Any,
            believe_negative: false,
            filter: AddressFilter::new(),
        })
    }

    /// When to ask again, and how long an answer may take; a single query may take half of that.
    /// Default [`Schedule::new`].
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Which addresses are used. Default [`Family::Any`].
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// Which IP addresses may be endpoints. Default [`AddressFilter::new`]; take
    /// [`AddressFilter::strict`] for names that others control.
    #[must_use]
    pub fn address_filter(mut self, filter: AddressFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Believes an answer that says that there is no such name or no such record (NXDOMAIN, NODATA,
    /// the SRV target `.`): there are no endpoints then. Default it is an error, and the last
    /// endpoints stay.
    #[must_use]
    pub fn believe_negative(mut self, believe: bool) -> Self {
        self.believe_negative = believe;
        self
    }

    /// The addresses (A and AAAA) of a host, with a port. Each is its own key.
    ///
    /// If one of the two record types fails to be looked up, the addresses of that kind which were
    /// known last are used.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] if the schedule can't be kept.
    pub fn host(
        &self,
        name: impl Into<String>,
        port: u16,
    ) -> Result<Refresh<SocketAddr, SocketAddr>, InvalidSchedule> {
        let (dns, name) = (self.clone(), name.into());
        let source = format!("dns host {name}");
        let state = Arc::new((source.clone(), Mutex::new(Known::default()), Mutex::default()));
        refresh(source, self.schedule.clone(), move || {
            let (dns, name, state) = (dns.clone(), name.clone(), Arc::clone(&state));
            async move {
                let (source, known, log) = &*state;
                if port == 0 {
                    return Err(DnsError::PortZero.into());
                }
                let answer = dns.addresses(&name, known, None).await;
                let left_out = lock(known).left_out(&name);
                lock::<LeftOutLog>(log).log(source, left_out);
                let (addresses, ttl) = match answer {
                    Err(error) if dns.believe_negative && error.is_negative() => (Vec::new(), None),
                    answer => answer?,
                };
                Count::default().add(addresses.len())?;
                let endpoints = addresses.into_iter().map(|address| {
                    let address = SocketAddr::new(address, port);
                    (address, address.into())
                });
                Ok(valid_for(Fetched::new(endpoints), ttl))
            }
        })
    }

    /// The targets of a service's SRV records (RFC 2782), with their addresses as keys.
    ///
    /// A record's priority is its endpoints' tier. Its weight times 1000 is divided among the
    /// addresses of the target; a weight of 0 counts as a thousandth of 1, "very little" beside
    /// others and equal among themselves. The target's name is in the metadata, as `host`. An
    /// address that several records give for the same port has the best tier, and within it the
    /// weights' sum.
    ///
    /// A target that can't be looked up keeps the addresses known last. One that never could be is
    /// left out; if that is all of them, it is an error. At most 32 targets are looked up at the same
    /// time; those that are not found before nine tenths of the schedule's timeout are over could not
    /// be looked up.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] if the schedule can't be kept.
    pub fn srv(
        &self,
        service: impl Into<String>,
    ) -> Result<Refresh<SocketAddr, SocketAddr>, InvalidSchedule> {
        let (dns, name) = (self.clone(), service.into());
        let source = format!("dns service {name}");
        let state = Arc::new((source.clone(), Mutex::default(), Mutex::default()));
        refresh(source, self.schedule.clone(), move || {
            let (dns, name, state) = (dns.clone(), name.clone(), Arc::clone(&state));
            async move {
                let ((source, known, log), mut left_out) = (&*state, Vec::new());
                let fetched = dns.fetch_services(&name, known, &mut left_out).await;
                // A failure says nothing of what would be left out.
                if fetched.is_ok() || !left_out.is_empty() {
                    lock::<LeftOutLog>(log).log(source, left_out);
                }
                fetched
            }
        })
    }

    async fn fetch_services(
        &self,
        name: &str,
        known: &Mutex<Targets>,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<Fetched<SocketAddr, SocketAddr>, BoxError> {
        // Before the whole times out, so that the targets that were found by then count.
        let limit = self.schedule.timeout.map(|limit| limit - limit / 10);
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let (services, ttl) = match self.services(name, left_out).await {
            Err(error) if self.believe_negative && error.is_negative() => (Vec::new(), None),
            answer => answer?,
        };
        let targets: Targets = {
            let mut known = lock(known);
            let last = std::mem::take(&mut *known);
            for Srv { target, .. } in &services {
                let of_target = || last.get(target).cloned().unwrap_or_default();
                known.entry(target.clone()).or_insert_with(of_target);
            }
            known.clone()
        };
        let mut answers = self.resolve(&targets, deadline).await?;
        if answers.values().any(Result::is_ok) {
            for (answer, known) in answers.values_mut().zip(targets.values()) {
                self.fall_back(answer, &lock(known).chosen);
            }
        }
        for (target, known) in &targets {
            left_out.extend(lock(known).left_out(target));
        }
        let (endpoints, ttl) = resolved(services, answers, ttl, left_out)?;
        Ok(valid_for(Fetched::new(endpoints), ttl))
    }

    /// Looks up targets, not too many at the same time.
    async fn resolve(
        &self,
        targets: &Targets,
        deadline: Option<Instant>,
    ) -> Result<BTreeMap<String, Looked>, DnsError> {
        let mut order: Vec<_> = targets.clone().into_iter().collect();
        // Those that failed last may take all the time there is, so they are the last in the queue.
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
        let mut lookups = stream::iter(lookups).buffer_unordered(MAX_LOOKUPS);
        let (mut answers, mut count) = (BTreeMap::new(), Count::default());
        while let Some((target, answer, addresses)) = lookups.next().await {
            count.add(addresses)?;
            answers.insert(target, answer);
        }
        Ok(answers)
    }

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

    /// The addresses of a host that the filter accepts, sorted, and for how long they are valid.
    async fn addresses(
        &self,
        name: &str,
        known: &Mutex<Known>,
        deadline: Option<Instant>,
    ) -> Looked {
        if let Ok(address) = name.parse() {
            return match self.filter.check_ip(address) {
                Ok(()) => Ok((vec![address], None)),
                Err(rejected) => Err(DnsError::Rejected(rejected)),
            };
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

    /// Takes the addresses that the filter rejects out of an answer. If that is all of them, it counts
    /// as a failure, as SERVFAIL does: it must not pass for "there is none".
    fn accepted(&self, answer: Looked, rejected: &mut Vec<RejectedAddress>) -> Looked {
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

    async fn lookup(&self, name: &str, kind: RecordType, deadline: Option<Instant>) -> Looked {
        let lookup = self.ask(name, kind, deadline).await?;
        let mut addresses: Vec<IpAddr> = records(&lookup).filter_map(address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok((addresses, ttl(&lookup)))
    }

    /// One query. It may take half of the time that there is, so that what is never answered (AAAA
    /// in some networks) does not take along what is; and not longer than until the deadline.
    async fn ask(
        &self,
        name: &str,
        kind: RecordType,
        deadline: Option<Instant>,
    ) -> Result<Lookup, DnsError> {
        let lookup = self.resolver.lookup(name, kind);
        let limit = self.schedule.timeout.map(|limit| limit / 2);
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        let answer = match end.into_iter().chain(deadline).min() {
            None => lookup.await,
            Some(end) => timeout_at(end, lookup).await.unwrap_or(Err(NetError::Timeout)),
        };
        Ok(answer?)
    }

    /// The addresses known last instead of an error that is not believed.
    fn fall_back(&self, answer: &mut Looked, last: &[IpAddr]) {
        if let Err(error) = answer {
            let believed = self.believe_negative && error.is_negative();
            if !believed && !last.is_empty() {
                *answer = Ok((last.to_vec(), None));
            }
        }
    }
}

/// The targets of a service, by name.
type Targets = BTreeMap<String, Arc<Mutex<Known>>>;

/// The addresses of a host as they were last looked up.
#[derive(Default)]
struct Known {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    chosen: Vec<IpAddr>,
    /// What the filter rejected of the last answers, A and AAAA.
    rejected: [Vec<RejectedAddress>; 2],
    /// The host could not be looked up.
    failed: bool,
}

impl Known {
    fn left_out(&self, name: &str) -> Vec<LeftOut> {
        self.rejected.iter().flatten().map(|rejected| LeftOut::new(name, rejected)).collect()
    }

    /// Remembers what was found. If one kind can't be looked up and the other can, the addresses
    /// known last stand in for it.
    fn complete(&mut self, v4: &mut Option<Looked>, v6: &mut Option<Looked>) {
        let found = [&*v4, &*v6].into_iter().any(|answer| matches!(answer, Some(Ok(_))));
        for (answer, last) in [(v4, &mut self.v4), (v6, &mut self.v6)] {
            match answer {
                Some(Ok((addresses, _))) => last.clone_from(addresses),
                // There may be none of one kind.
                Some(Err(error)) if error.is_negative() => last.clear(),
                Some(Err(_)) if found && !last.is_empty() => {
                    *answer = Some(Ok((last.clone(), None)))
                }
                _ => {}
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The TTLs are ours to honour, so that nothing is cached below.
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

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns")
            .field("schedule", &self.schedule)
            .field("family", &self.family)
            .field("believe_negative", &self.believe_negative)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
