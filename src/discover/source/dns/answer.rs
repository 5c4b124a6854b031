//! What the records of an answer amount to.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{lookup::Lookup, proto::rr::RData};

use super::{DnsError, Family};
use crate::{discover::source::validation::LeftOut, endpoint::Endpoint};

/// Addresses, and for how long they are valid.
pub(super) type Looked = Result<(Vec<IpAddr>, Option<Duration>), DnsError>;

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

/// The least TTL of the records, aliases on the way included.
pub(super) fn ttl(lookup: &Lookup) -> Option<Duration> {
    let ttls = lookup.answers().iter().map(|record| record.ttl);
    ttls.min().map(|seconds| Duration::from_secs(seconds.into()))
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// The addresses of both kinds that are wanted.
pub(super) fn choose(family: Family, v4: Option<Looked>, v6: Option<Looked>) -> Looked {
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
        // A failure says less than "there is none" does, and must not pass for it.
        (Some(Err(first)), Some(Err(second))) if first.is_negative() => Err(second),
        (Some(Err(error)), _) | (None, Some(Err(error))) => Err(error),
        (None, None) => Err(DnsError::NotFound(None)),
    }
}

/// The most endpoints of a source.
const MAX_ENDPOINTS: usize = 10_000;

/// Counts endpoints that are found, for a bound on how many there may be.
#[derive(Default)]
pub(super) struct Count(usize);

impl Count {
    pub(super) fn add(&mut self, endpoints: usize) -> Result<(), DnsError> {
        self.0 = self.0.saturating_add(endpoints);
        if self.0 > MAX_ENDPOINTS {
            return Err(DnsError::TooManyEndpoints { limit: MAX_ENDPOINTS });
        }
        Ok(())
    }
}

/// What services and the addresses of their targets amount to. Targets without an address are left
/// out; if that is all of them, it is an error.
pub(super) fn resolved(
    services: Vec<Srv>,
    mut answers: BTreeMap<String, Looked>,
    mut ttl: Option<Duration>,
    left_out: &mut Vec<LeftOut>,
) -> Result<(BTreeMap<SocketAddr, Endpoint<SocketAddr>>, Option<Duration>), DnsError> {
    let mut endpoints: BTreeMap<SocketAddr, Endpoint<SocketAddr>> = BTreeMap::new();
    let (mut failed, mut count) = (None, Count::default());
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
        // Counted before duplicates are merged, which is work as well.
        count.add(addresses.len())?;
        ttl = shorter(ttl, *other);
        let scaled = u32::from(service.weight).saturating_mul(1000).max(1);
        let weight = (scaled / addresses.len().max(1) as u32).max(1);
        for address in addresses {
            let address = SocketAddr::new(*address, service.port);
            let endpoint = Endpoint::new(address)
                .with_tier(service.priority.into())
                .with_weight(weight)
                .with_metadata("host", service.target.trim_end_matches('.'));
            // Services come in the order of their priorities.
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
