use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{future::join_all, join};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};
use tokio::time::timeout;

use super::{
    DnsError, Family,
    answer::{Looked, Srv, address, choose, records, resolved, ttl},
};
use crate::discover::{Fetched, InvalidSchedule, Refresh, Schedule, refresh};

/// Endpoints from DNS, through hickory-resolver: [`host`](Self::host) for addresses,
/// [`srv`](Self::srv) for services. Several names are [merged](crate::discover::merge()).
///
/// Records are asked for again when their TTL is over, within the bounds of the [`Schedule`]; they
/// are not cached otherwise. **A failure never empties the set**, be it that there is no answer or
/// that the server says SERVFAIL. Nor does the answer that there is no such name or record, unless
/// [`believe_negative`](Self::believe_negative) is set. Answers that don't fit into a datagram are
/// asked for over TCP. `/etc/hosts` counts where the system's configuration is used.
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
        let known: Arc<Mutex<Known>> = Arc::default();
        let source = format!("dns host {name}");
        refresh(source, self.schedule.clone(), move || {
            let (dns, name, known) = (dns.clone(), name.clone(), Arc::clone(&known));
            async move {
                let (addresses, ttl) = match dns.addresses(&name, &known).await {
                    Err(error) if dns.believe_negative && error.is_negative() => (Vec::new(), None),
                    answer => answer?,
                };
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
    /// left out; if that is all of them, it is an error.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] if the schedule can't be kept.
    pub fn srv(
        &self,
        service: impl Into<String>,
    ) -> Result<Refresh<SocketAddr, SocketAddr>, InvalidSchedule> {
        let (dns, name) = (self.clone(), service.into());
        let known: Arc<Mutex<BTreeMap<String, Arc<Mutex<Known>>>>> = Arc::default();
        let source = format!("dns service {name}");
        refresh(source, self.schedule.clone(), move || {
            let (dns, name, known) = (dns.clone(), name.clone(), Arc::clone(&known));
            async move {
                let (services, ttl) = match dns.services(&name).await {
                    Err(error) if dns.believe_negative && error.is_negative() => (Vec::new(), None),
                    answer => answer?,
                };
                let known: Vec<_> = {
                    let mut all = lock(&known);
                    let last = std::mem::take(&mut *all);
                    let targets = services.iter().map(|service| {
                        let known = last.get(&service.target).cloned().unwrap_or_default();
                        Arc::clone(all.entry(service.target.clone()).or_insert(known))
                    });
                    targets.collect()
                };
                let lookups = services.iter().zip(&known);
                let lookups = lookups.map(|(service, known)| dns.addresses(&service.target, known));
                let mut answers = join_all(lookups).await;
                if answers.iter().any(Result::is_ok) {
                    for (answer, known) in answers.iter_mut().zip(&known) {
                        dns.fall_back(answer, &lock(known).chosen);
                    }
                }
                let (endpoints, ttl) = resolved(services, answers, ttl)?;
                Ok(valid_for(Fetched::new(endpoints), ttl))
            }
        })
    }

    async fn services(&self, name: &str) -> Result<(Vec<Srv>, Option<Duration>), DnsError> {
        let lookup = self.ask(name, RecordType::SRV).await?;
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
        Ok((services, ttl(&lookup)))
    }

    /// The addresses of a host, sorted, and for how long they are valid.
    async fn addresses(&self, name: &str, known: &Mutex<Known>) -> Looked {
        if let Ok(address) = name.parse() {
            return Ok((vec![address], None));
        }
        let (mut v4, mut v6) = match self.family {
            Family::V4 => (Some(self.lookup(name, RecordType::A).await), None),
            Family::V6 => (None, Some(self.lookup(name, RecordType::AAAA).await)),
            Family::Any | Family::PreferV4 | Family::PreferV6 => {
                let v4 = self.lookup(name, RecordType::A);
                let (v4, v6) = join!(v4, self.lookup(name, RecordType::AAAA));
                (Some(v4), Some(v6))
            }
        };
        let mut known = lock(known);
        known.complete(&mut v4, &mut v6);
        let chosen = choose(self.family, v4, v6)?;
        known.chosen.clone_from(&chosen.0);
        Ok(chosen)
    }

    async fn lookup(&self, name: &str, kind: RecordType) -> Looked {
        let lookup = self.ask(name, kind).await?;
        let mut addresses: Vec<IpAddr> = records(&lookup).filter_map(address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok((addresses, ttl(&lookup)))
    }

    /// One query. It may take half of the time that there is, so that what is never answered (AAAA
    /// in some networks) does not take along what is.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Lookup, DnsError> {
        let lookup = self.resolver.lookup(name, kind);
        let answer = match self.schedule.timeout {
            None => lookup.await,
            Some(limit) => timeout(limit / 2, lookup).await.unwrap_or(Err(NetError::Timeout)),
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

/// The addresses of a host as they were last looked up.
#[derive(Default)]
struct Known {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    chosen: Vec<IpAddr>,
}

impl Known {
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
            .finish_non_exhaustive()
    }
}
