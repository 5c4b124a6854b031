use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ipnet::IpNet;
use tokio::time::Instant;

use crate::{rng::Rng, sync::lock};

/// How strongly a client is bound to the zone that it is in.
///
/// A zone that is not healthy gets no client, whatever the affinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZoneAffinity {
    /// Answers with all healthy zones.
    #[default]
    None,
    /// Answers 85 of 100 queries with the client's zone only, and the others with all healthy
    /// zones.
    Partial,
    /// Answers with the client's zone only.
    Full,
}

impl ZoneAffinity {
    /// Returns the share of the queries that are answered with the client's zone only.
    fn share(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Partial => 0.85,
            Self::Full => 1.0,
        }
    }
}

/// A zone and the addresses of its nodes.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
}

/// Whether the zone of this name can serve.
pub(super) type IsHealthy = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How long the health of the zones is answered from memory: to read it may take time in proportion
/// to all targets, and clients keep an answer for longer.
pub(super) const MAX_HEALTH_AGE: Duration = Duration::from_millis(100);

/// Which zones can serve, as it was last read.
#[derive(Debug, Default)]
pub(super) struct KnownHealth(Mutex<Option<Reading>>);

#[derive(Clone, Debug)]
struct Reading {
    begun: Instant,
    /// One for each zone, in order.
    healthy: Arc<[bool]>,
}

impl KnownHealth {
    /// Returns for each zone whether it can serve, as of at most [`MAX_HEALTH_AGE`] ago.
    pub(super) fn of(&self, zones: &Zones) -> Arc<[bool]> {
        let now = Instant::now();
        {
            let mut known = lock(&self.0);
            if let Some(reading) = &mut *known {
                if now.saturating_duration_since(reading.begun) < MAX_HEALTH_AGE {
                    return Arc::clone(&reading.healthy);
                }
                // Other queries are answered by the old reading until there is the new one.
                reading.begun = now;
            }
        }
        // The program's closure runs without the lock.
        let healthy: Arc<[bool]> = zones.read_health().collect();
        *lock(&self.0) = Some(Reading { begun: now, healthy: Arc::clone(&healthy) });
        healthy
    }
}

/// The zones of one name, and who is sent to which.
#[derive(Clone)]
pub(super) struct Zones {
    pub(super) zones: Vec<Zone>,
    pub(super) clients: Vec<(IpNet, String)>,
    pub(super) affinity: ZoneAffinity,
    pub(super) is_healthy: IsHealthy,
}

impl Zones {
    /// Asks the program for each zone whether it can serve.
    fn read_health(&self) -> impl Iterator<Item = bool> {
        self.zones.iter().map(|zone| (self.is_healthy)(&zone.name))
    }

    /// Returns the addresses for a client, in random order, so that clients that take the first one
    /// spread.
    ///
    /// If no zone is healthy, these are the addresses of all zones: a wrong health check must not
    /// make the name disappear.
    pub(super) fn addresses_for(
        &self,
        client: IpAddr,
        healthy: &[bool],
        rng: &mut Rng,
    ) -> Vec<IpAddr> {
        let healthy: Vec<&Zone> =
            self.zones.iter().zip(healthy).filter_map(|(zone, &is)| is.then_some(zone)).collect();
        let mut addresses: Vec<IpAddr> = match self.own_zone(client, &healthy) {
            Some(zone) if rng.unit() < self.affinity.share() => zone.addresses.clone(),
            _ if healthy.is_empty() => {
                self.zones.iter().flat_map(|zone| &zone.addresses).copied().collect()
            }
            _ => healthy.iter().flat_map(|zone| &zone.addresses).copied().collect(),
        };
        shuffle(&mut addresses, rng);
        addresses
    }

    /// Returns the addresses of the zone `name`, healthy or not.
    pub(super) fn addresses_in(&self, name: &str) -> Option<&[IpAddr]> {
        let zone = self.zones.iter().find(|zone| zone.name.eq_ignore_ascii_case(name))?;
        Some(&zone.addresses)
    }

    /// Returns the client's zone if it is among `healthy`: the one with the longest prefix.
    fn own_zone<'a>(&self, client: IpAddr, healthy: &[&'a Zone]) -> Option<&'a Zone> {
        let client = client.to_canonical();
        let networks = self.clients.iter().filter(|(network, _)| network.contains(&client));
        let (_, name) = networks.max_by_key(|(network, _)| network.prefix_len())?;
        healthy.iter().find(|zone| zone.name == *name).copied()
    }
}

fn shuffle(addresses: &mut [IpAddr], rng: &mut Rng) {
    for last in (1..addresses.len()).rev() {
        addresses.swap(last, rng.below(last + 1));
    }
}

impl fmt::Debug for Zones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zones")
            .field("zones", &self.zones)
            .field("clients", &self.clients)
            .field("affinity", &self.affinity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn zones(affinity: ZoneAffinity, healthy: &'static [&'static str]) -> Zones {
        let zone = |name: &str, addresses: &[&str]| Zone {
            name: name.into(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        };
        Zones {
            zones: vec![
                zone("a", &["10.0.1.1", "10.0.1.2"]),
                zone("b", &["10.0.2.1"]),
                zone("c", &["10.0.3.1"]),
            ],
            clients: vec![
                ("192.0.2.0/24".parse().unwrap(), "a".into()),
                ("192.0.2.128/25".parse().unwrap(), "b".into()),
            ],
            affinity,
            is_healthy: Arc::new(|zone| healthy.contains(&zone)),
        }
    }

    fn answer(zones: &Zones, client: &str, rng: &mut Rng) -> BTreeSet<String> {
        let healthy: Vec<_> = zones.read_health().collect();
        let addresses = zones.addresses_for(client.parse().unwrap(), &healthy, rng);
        addresses.iter().map(ToString::to_string).collect()
    }

    fn set(addresses: &[&str]) -> BTreeSet<String> {
        addresses.iter().map(|&address| address.into()).collect()
    }

    #[test]
    fn a_zone_that_is_not_healthy_is_left_out() {
        let rng = &mut Rng::seeded(1);
        let zones = zones(ZoneAffinity::None, &["a", "c"]);
        assert_eq!(answer(&zones, "192.0.2.1", rng), set(&["10.0.1.1", "10.0.1.2", "10.0.3.1"]));
    }

    #[test]
    fn without_a_healthy_zone_all_are_named() {
        let rng = &mut Rng::seeded(1);
        for affinity in [ZoneAffinity::None, ZoneAffinity::Partial, ZoneAffinity::Full] {
            assert_eq!(answer(&zones(affinity, &[]), "192.0.2.1", rng).len(), 4);
        }
    }

    #[test]
    fn full_affinity_names_the_clients_own_zone() {
        let rng = &mut Rng::seeded(1);
        let all = zones(ZoneAffinity::Full, &["a", "b", "c"]);
        assert_eq!(answer(&all, "192.0.2.1", rng), set(&["10.0.1.1", "10.0.1.2"]));
        assert_eq!(answer(&all, "192.0.2.200", rng), set(&["10.0.2.1"]), "the longer prefix");
        assert_eq!(answer(&all, "::ffff:192.0.2.200", rng), set(&["10.0.2.1"]));
        assert_eq!(answer(&all, "198.51.100.1", rng).len(), 4, "of no zone");
        let failed = zones(ZoneAffinity::Full, &["b", "c"]);
        assert_eq!(answer(&failed, "192.0.2.1", rng), set(&["10.0.2.1", "10.0.3.1"]));
    }

    #[test]
    fn partial_affinity_is_85_in_100() {
        let rng = &mut Rng::seeded(1);
        let zones = zones(ZoneAffinity::Partial, &["a", "b", "c"]);
        let own = (0..10_000).filter(|_| answer(&zones, "192.0.2.1", rng).len() == 2).count();
        assert!((8_300..8_700).contains(&own), "{own}");
    }

    #[test]
    fn each_address_is_first_as_often() {
        let rng = &mut Rng::seeded(1);
        let zones = zones(ZoneAffinity::None, &["a", "b", "c"]);
        let first = |rng: &mut Rng| zones.addresses_for([1, 1, 1, 1].into(), &[true; 3], rng)[0];
        let count = (0..4_000).filter(|_| first(rng) == IpAddr::from([10, 0, 2, 1])).count();
        assert!((900..1_100).contains(&count), "{count}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_program_is_asked_ten_times_per_second_whatever_the_queries() {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

        use tokio::time::advance;

        let asked = Arc::new(AtomicU32::new(0));
        let mut zones = zones(ZoneAffinity::None, &[]);
        let counted = Arc::clone(&asked);
        // Healthy from the second reading on.
        zones.is_healthy = Arc::new(move |_| counted.fetch_add(1, Relaxed) >= 3);
        let known = KnownHealth::default();
        for _ in 0..1_000 {
            assert_eq!(*known.of(&zones), [false; 3]);
        }
        assert_eq!(asked.load(Relaxed), 3, "once for each zone");
        advance(MAX_HEALTH_AGE).await;
        for _ in 0..1_000 {
            assert_eq!(*known.of(&zones), [true; 3]);
        }
        assert_eq!(asked.load(Relaxed), 6);
    }
}
