//! Turns the records of an answer into endpoints.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{lookup::Lookup, proto::rr::RData};

use super::{Family, error::DnsError};
use crate::{discover::source::validation::LeftOut, endpoint::Endpoint};

/// The addresses of a host and how long they are valid.
pub(super) type Addresses = Result<(Vec<IpAddr>, Option<Duration>), DnsError>;

/// An SRV record. The order of the fields sorts records by priority.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Srv {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

pub(super) fn records(lookup: &Lookup) -> impl Iterator<Item = &RData> {
    lookup.answers().iter().map(|record| &record.data)
}

pub(super) fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(Ipv4Addr::from(*address).into()),
        RData::AAAA(address) => Some(Ipv6Addr::from(*address).into()),
        _ => None,
    }
}

/// Returns the shortest TTL of the records, including those of aliases.
pub(super) fn ttl(lookup: &Lookup) -> Option<Duration> {
    let ttls = lookup.answers().iter().map(|record| record.ttl);
    ttls.min().map(|seconds| Duration::from_secs(seconds.into()))
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// Selects addresses by family. `None` is a record type that was not looked up.
pub(super) fn choose(family: Family, v4: Option<Addresses>, v6: Option<Addresses>) -> Addresses {
    let (first, second) = match family {
        Family::PreferV6 => (v6, v4),
        _ => (v4, v6),
    };
    let prefers = matches!(family, Family::PreferV4 | Family::PreferV6);
    match (first, second) {
        (Some(Ok(first)), Some(Ok(_))) if prefers && !first.0.is_empty() => Ok(first),
        (Some(Ok((mut addresses, ttl))), Some(Ok((more, other)))) => {
            addresses.extend(more);
            Ok((addresses, shorter(ttl, other)))
        }
        (Some(Ok(found)), _) | (_, Some(Ok(found))) => Ok(found),
        // A failure must not appear as a negative answer, which may be trusted.
        (Some(Err(first)), Some(Err(second))) if first.is_negative() => Err(second),
        (Some(Err(error)), _) | (None, Some(Err(error))) => Err(error),
        (None, None) => Err(DnsError::NotFound(None)),
    }
}

/// The largest number of endpoints of a source.
const MAX_ENDPOINTS: usize = 10_000;

/// Counts endpoints, up to a limit.
#[derive(Default)]
pub(super) struct EndpointCount(usize);

impl EndpointCount {
    pub(super) fn add(&mut self, endpoints: usize) -> Result<(), DnsError> {
        self.0 = self.0.saturating_add(endpoints);
        if self.0 > MAX_ENDPOINTS {
            return Err(DnsError::TooManyEndpoints { limit: MAX_ENDPOINTS });
        }
        Ok(())
    }
}

/// Combines services with the addresses of their targets. Targets without an address are left out;
/// it is an error if no target has one.
pub(super) fn service_endpoints(
    services: Vec<Srv>,
    mut answers: BTreeMap<String, Addresses>,
    mut ttl: Option<Duration>,
    left_out: &mut Vec<LeftOut>,
) -> Result<(BTreeMap<SocketAddr, Endpoint<SocketAddr>>, Option<Duration>), DnsError> {
    let mut endpoints: BTreeMap<SocketAddr, Endpoint<SocketAddr>> = BTreeMap::new();
    let (mut failed, mut count) = (None, EndpointCount::default());
    for service in services {
        let (addresses, other) = match answers.get(&service.target) {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                left_out.push(LeftOut::new(&*service.target, error));
                failed = Some(service.target);
                continue;
            }
            None => continue,
        };
        // Counted before duplicates are merged, because merging them takes time as well.
        count.add(addresses.len())?;
        ttl = shorter(ttl, *other);
        // The weight is divided in thousandths, and a weight of 0 counts as one of them.
        let scaled = u32::from(service.weight).saturating_mul(1000).max(1);
        let weight = (scaled / addresses.len().max(1) as u32).max(1);
        for address in addresses {
            let address = SocketAddr::new(*address, service.port);
            let endpoint = Endpoint::new(address)
                .with_tier(service.priority.into())
                .with_weight(weight)
                .with_metadata("host", service.target.trim_end_matches('.'));
            // Services are sorted by priority, so the first record of an address has the best tier.
            let known = endpoints.entry(address).or_insert_with(|| endpoint.clone().with_weight(0));
            if known.tier() == endpoint.tier() {
                *known = known.clone().with_weight(known.weight().saturating_add(weight));
            }
        }
    }
    match failed.and_then(|target| answers.remove(&target)) {
        Some(Err(error)) if endpoints.is_empty() => Err(error),
        _ => Ok((endpoints, ttl)),
    }
}
