use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
};

use serde::Deserialize;

use crate::{
    discover::transport::host_port,
    endpoint::{Endpoint, Health, Locality, Metadata},
};

/// Which endpoints of the slices are wanted, and what is added to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    pub(super) port: Option<String>,
    pub(super) region: String,
    pub(super) zone: Option<String>,
}

/// One EndpointSlice, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Slice {
    pub(super) metadata: ObjectMeta,
    endpoints: Option<Vec<Entry>>,
    ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ObjectMeta {
    pub(super) name: String,
    pub(super) resource_version: String,
    /// Of a list: where the next part of it begins.
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    addresses: Option<Vec<String>>,
    #[serde(default)]
    conditions: Conditions,
    zone: Option<String>,
    node_name: Option<String>,
    target_ref: Option<Reference>,
    hints: Option<Hints>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
struct Reference {
    name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hints {
    for_zones: Option<Vec<ForZone>>,
}

#[derive(Clone, Debug, Deserialize)]
struct ForZone {
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Port {
    name: Option<String>,
    port: Option<u16>,
}

impl Slice {
    fn port(&self, choice: &Choice) -> Option<u16> {
        let mut ports = self.ports.iter().flatten();
        let port = match &choice.port {
            None => ports.next(),
            Some(name) => ports.find(|port| port.name.as_deref() == Some(name)),
        };
        port?.port
    }
}

impl Entry {
    fn health(&self) -> Health {
        let Conditions { ready, terminating } = self.conditions;
        if terminating == Some(true) {
            return Health::draining("the pod is terminating");
        }
        // Not said means ready.
        if ready == Some(false) {
            Health::unhealthy("the pod is not ready")
        } else {
            Health::Healthy
        }
    }

    fn zones(&self) -> BTreeSet<&str> {
        let hints = self.hints.iter().flat_map(|hints| &hints.for_zones).flatten();
        hints.map(|zone| &*zone.name).collect()
    }

    fn metadata(&self) -> Metadata {
        let pod = self.target_ref.as_ref().and_then(|pod| pod.name.clone());
        let hints = self.zones().into_iter().collect::<Vec<_>>().join(",");
        let labels = [
            ("kubernetes.pod", pod),
            ("kubernetes.node", self.node_name.clone()),
            ("kubernetes.hints", Some(hints).filter(|hints| !hints.is_empty())),
        ];
        let labels = labels.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        labels.collect()
    }
}

/// All endpoints of the slices, each once, in the order of their addresses.
pub(super) fn endpoints<'a, T>(
    slices: impl IntoIterator<Item = &'a Slice>,
    choice: &Choice,
) -> BTreeMap<String, Endpoint<T>>
where
    T: FromStr<Err: Display>,
{
    let mut entries: BTreeMap<String, (&Entry, Health)> = BTreeMap::new();
    for slice in slices {
        let Some(port) = slice.port(choice) else { continue };
        for entry in slice.endpoints.iter().flatten() {
            // Of several addresses any would do; consumers take the first.
            let Some(address) = entry.addresses.iter().flatten().next() else { continue };
            let known = entries.entry(host_port(address, port));
            let known = known.or_insert_with(|| (entry, entry.health()));
            if known.1 != Health::Healthy && entry.health() == Health::Healthy {
                *known = (entry, Health::Healthy);
            }
        }
    }
    if let Some(zone) = &choice.zone {
        heed_hints(&mut entries, zone);
    }
    let endpoints = entries.into_iter().filter_map(|(address, (entry, health))| {
        let target = match address.parse() {
            Ok(target) => target,
            Err(error) => {
                tracing::warn!(address, %error, "an address of Kubernetes is left out");
                return None;
            }
        };
        let mut endpoint =
            Endpoint::new(target).with_health(health).with_all_metadata(entry.metadata());
        if let Some(zone) = &entry.zone {
            endpoint = endpoint.with_locality(Locality::new(&*choice.region, &**zone));
        }
        Some((address, endpoint))
    });
    endpoints.collect()
}

/// Leaves the endpoints that are hinted for a zone, if hints are complete and some are for it.
fn heed_hints(entries: &mut BTreeMap<String, (&Entry, Health)>, zone: &str) {
    let mut ready = entries.values().filter(|(_, health)| *health == Health::Healthy).peekable();
    let some = ready.peek().is_some();
    let (mut complete, mut for_zone) = (some, false);
    for (entry, _) in ready {
        let zones = entry.zones();
        complete &= !zones.is_empty();
        for_zone |= zones.contains(zone);
    }
    if complete && for_zone {
        entries.retain(|_, (entry, _)| entry.zones().contains(zone));
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    const SLICE: &str = r#"{"metadata":{"name":"web-1","resourceVersion":"7"},"addressType":"IPv4",
        "ports":[{"name":"admin","port":9000},{"name":"http","port":8080,"protocol":"TCP"}],
        "endpoints":[{"addresses":["10.0.0.1","10.0.0.9"],"zone":"a","nodeName":"n",
        "conditions":{"ready":true,"serving":true,"terminating":false},
        "targetRef":{"kind":"Pod","name":"web-x"},"hints":{"forZones":[{"name":"a"}]}}]}"#;

    fn read(slices: &[&str], choice: &Choice) -> BTreeMap<String, Endpoint<String>> {
        let slices: Vec<Slice> =
            slices.iter().map(|slice| serde_json::from_str(slice).unwrap()).collect();
        endpoints(&slices, choice)
    }

    fn http() -> Choice {
        Choice { port: Some("http".to_owned()), region: "eu".to_owned(), zone: None }
    }

    #[test]
    fn conditions_are_health() {
        let healthy = ("\"ready\":true", "\"ready\":true");
        for ((from, to), expected) in [
            (healthy, Health::Healthy),
            (("\"ready\":true", "\"ready\":null"), Health::Healthy),
            (("\"ready\":true", "\"ready\":false"), Health::unhealthy("the pod is not ready")),
            (
                ("\"terminating\":false", "\"terminating\":true"),
                Health::draining("the pod is terminating"),
            ),
        ] {
            let all = read(&[&SLICE.replace(from, to)], &http());
            let endpoint = &all["10.0.0.1:8080"];
            assert_eq!(endpoint.health(), &expected);
            assert_eq!(endpoint.locality(), Some(&Locality::new("eu", "a")));
            assert_eq!(endpoint.metadata().get("kubernetes.pod"), Some("web-x"));
            assert_eq!(endpoint.metadata().get("kubernetes.hints"), Some("a"));
        }
        assert!(read(&[SLICE], &Choice::default()).contains_key("10.0.0.1:9000"), "the first port");
        let nulls = r#"{"metadata":{"name":"a"},"endpoints":null,"ports":null}"#;
        assert!(read(&[nulls], &http()).is_empty());
    }

    #[test]
    fn an_endpoint_of_two_slices_is_taken_once() {
        let sick = SLICE.replace("\"ready\":true", "\"ready\":false");
        for slices in [[SLICE, &sick], [&sick, SLICE]] {
            let all = read(&slices, &http());
            assert_eq!((all.len(), all["10.0.0.1:8080"].health()), (1, &Health::Healthy));
        }
    }

    #[test]
    fn hints_are_heeded_if_they_are_complete() {
        let other = SLICE.replace("10.0.0.1", "10.0.0.2");
        let other = other.replace(r#"[{"name":"a"}]"#, r#"[{"name":"b"}]"#);
        let unhinted = SLICE.replace("10.0.0.1", "10.0.0.3").replace(r#"[{"name":"a"}]"#, "[]");
        let zone = |zone: &str| Choice { zone: Some(zone.to_owned()), ..http() };
        let keys = |slices: &[&str], choice| read(slices, &choice).into_keys().collect::<Vec<_>>();
        assert_eq!(keys(&[SLICE, &other], zone("b")), ["10.0.0.2:8080"]);
        assert_eq!(keys(&[SLICE, &other], zone("c")).len(), 2, "none for this zone");
        assert_eq!(keys(&[SLICE, &other, &unhinted], zone("a")).len(), 3, "not complete");
        assert_eq!(keys(&[SLICE, &other], http()).len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_damaged_slice_panics(at in 0_usize..600, cut in 0_usize..20, piece in "[\\[\\]{}\":,0-9a-z-]{0,6}") {
            let (at, after) = (at.min(SLICE.len()), (at + cut).min(SLICE.len()));
            let damaged = format!("{}{piece}{}", &SLICE[..at], &SLICE[after..]);
            if let Ok(slice) = serde_json::from_str::<Slice>(&damaged) {
                let _ = endpoints::<std::net::SocketAddr>([&slice], &http());
            }
        }
    }
}
