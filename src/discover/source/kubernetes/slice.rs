use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
};

use serde::Deserialize;

use crate::{
    discover::{
        AddressFilter,
        source::{
            validation::BoundedVec,
            validation::{LeftOut, host_port, parse_target},
        },
    },
    endpoint::{Endpoint, Health, Locality, Metadata},
};

/// The largest number of endpoints in a slice. The API server accepts 1000.
const MAX_ENDPOINTS_PER_SLICE: usize = 10_000;
/// The largest number of ports of a slice, and of addresses and hints of an endpoint. The API
/// server accepts 100, 100 and 8.
const MAX_ITEMS: usize = 1000;

/// Which endpoints of the slices are selected, and what is added to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) port: Option<String>,
    pub(super) region: String,
    pub(super) zone: Option<String>,
    pub(super) filter: AddressFilter,
}

/// An EndpointSlice; fields that are not needed are left out.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Slice {
    pub(super) metadata: ObjectMeta,
    endpoints: Option<BoundedVec<Entry, MAX_ENDPOINTS_PER_SLICE>>,
    ports: Option<BoundedVec<Port, MAX_ITEMS>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ObjectMeta {
    pub(super) name: String,
    pub(super) resource_version: String,
    /// The token for the next page of a list.
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    addresses: Option<BoundedVec<String, MAX_ITEMS>>,
    conditions: Option<Conditions>,
    zone: Option<String>,
    node_name: Option<String>,
    target_ref: Option<Reference>,
    hints: Option<Hints>,
}

/// `serving` is not read: it is what `ready` would be if the pod were not terminating. Only a proxy
/// that falls back to terminating endpoints needs it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
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
    for_zones: Option<BoundedVec<ForZone, MAX_ITEMS>>,
}

#[derive(Clone, Debug, Deserialize)]
struct ForZone {
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Port {
    name: Option<String>,
    /// `null` means all ports, which is not an address.
    port: Option<u16>,
    protocol: Option<String>,
}

impl Port {
    /// Returns true if requests can be sent to the port; a missing protocol means TCP.
    fn is_tcp(&self) -> bool {
        self.protocol.as_deref().is_none_or(|protocol| matches!(protocol, "TCP" | ""))
    }
}

impl Slice {
    /// Returns the number of endpoints.
    pub(super) fn len(&self) -> usize {
        self.endpoints.as_ref().map_or(0, |endpoints| endpoints.0.len())
    }

    fn port(&self, selection: &Selection) -> Option<u16> {
        let ports = self.ports.iter().flat_map(|ports| &ports.0);
        let mut ports = ports.filter(|port| port.is_tcp());
        let port = match &selection.port {
            None => ports.next(),
            // The API server leaves out the empty name.
            Some(name) => ports.find(|port| port.name.as_deref().unwrap_or_default() == name),
        };
        port?.port
    }
}

impl Entry {
    fn health(&self) -> Health {
        let Conditions { ready, terminating } = self.conditions.unwrap_or_default();
        // The API tells consumers to go by `ready`, and that a missing one means true. A pod can be
        // ready while it terminates, for example with `publishNotReadyAddresses`.
        match (ready, terminating) {
            (None | Some(true), _) => Health::Healthy,
            (Some(false), Some(true)) => Health::draining("the pod is terminating"),
            (Some(false), _) => Health::unhealthy("the pod is not ready"),
        }
    }

    fn zones(&self) -> BTreeSet<&str> {
        let hints = self.hints.iter().flat_map(|hints| &hints.for_zones);
        hints.flat_map(|zones| &zones.0).map(|zone| &*zone.name).collect()
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

/// Returns the endpoints of the slices with their keys, each once and in the order of their
/// addresses, or why an endpoint is left out.
pub(super) fn endpoints<'a, T: FromStr<Err: Display>>(
    slices: impl IntoIterator<Item = &'a Slice>,
    selection: &Selection,
) -> Vec<Result<(String, Endpoint<T>), LeftOut>> {
    let mut entries: BTreeMap<String, Found<'_>> = BTreeMap::new();
    let mut portless = Vec::new();
    for slice in slices {
        let Some(port) = slice.port(selection) else {
            if slice.len() > 0 {
                // So are the slices of a service that is about to be replaced.
                portless.push(Err(LeftOut::new(&*slice.metadata.name, NO_PORT).plausible()));
            }
            continue;
        };
        for entry in slice.endpoints.iter().flat_map(|endpoints| &endpoints.0) {
            // The addresses of an endpoint are equivalent; Kubernetes' own consumers use the first.
            let Some(host) = entry.addresses.as_ref().and_then(|all| all.0.first()) else {
                continue;
            };
            let found = || Found { host, port, entry, health: entry.health() };
            // An endpoint can occur in two slices while slices are rearranged.
            let known = entries.entry(host_port(host, port)).or_insert_with(found);
            if known.health != Health::Healthy && entry.health() == Health::Healthy {
                *known = found();
            }
        }
    }
    if let Some(zone) = &selection.zone {
        apply_hints(&mut entries, zone);
    }
    let endpoints = entries.into_iter().map(|(address, Found { host, port, entry, health })| {
        let target = parse_target(&address, host, port, &selection.filter)?;
        let mut endpoint =
            Endpoint::new(target).with_health(health).with_all_metadata(entry.metadata());
        if let Some(zone) = &entry.zone {
            endpoint = endpoint.with_locality(Locality::new(&*selection.region, &**zone));
        }
        Ok((address, endpoint))
    });
    endpoints.chain(portless).collect()
}

const NO_PORT: &str = "the slice has no such TCP port";

/// An endpoint of a slice.
struct Found<'a> {
    host: &'a str,
    port: u16,
    entry: &'a Entry,
    health: Health,
}

/// Keeps only the endpoints with a hint for the zone, if all ready endpoints have hints and at
/// least one is for the zone.
fn apply_hints(entries: &mut BTreeMap<String, Found<'_>>, zone: &str) {
    let mut ready = entries.values().filter(|found| found.health == Health::Healthy).peekable();
    let some = ready.peek().is_some();
    let (mut complete, mut for_zone) = (some, false);
    for found in ready {
        let zones = found.entry.zones();
        complete &= !zones.is_empty();
        for_zone |= zones.contains(zone);
    }
    if complete && for_zone {
        entries.retain(|_, found| found.entry.zones().contains(zone));
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

    fn read(slices: &[&str], selection: &Selection) -> BTreeMap<String, Endpoint<String>> {
        let slices: Vec<Slice> =
            slices.iter().map(|slice| serde_json::from_str(slice).unwrap()).collect();
        endpoints(&slices, selection).into_iter().filter_map(Result::ok).collect()
    }

    fn http() -> Selection {
        Selection { port: Some("http".to_owned()), region: "eu".to_owned(), ..Selection::default() }
    }

    #[test]
    fn conditions_are_health() {
        let terminating = Health::draining("the pod is terminating");
        let unready = Health::unhealthy("the pod is not ready");
        let conditions = r#"{"ready":true,"serving":true,"terminating":false}"#;
        for (to, expected) in [
            (conditions, Health::Healthy),
            ("null", Health::Healthy),
            ("{}", Health::Healthy),
            (r#"{"ready":null,"serving":false,"terminating":null}"#, Health::Healthy),
            (r#"{"ready":true,"serving":true,"terminating":true}"#, Health::Healthy),
            (r#"{"ready":null,"terminating":true}"#, Health::Healthy),
            (r#"{"ready":false,"serving":true,"terminating":true}"#, terminating.clone()),
            (r#"{"ready":false,"serving":false,"terminating":true}"#, terminating),
            (r#"{"ready":false,"serving":false,"terminating":false}"#, unready.clone()),
            (r#"{"ready":false}"#, unready.clone()),
            (r#"{"ready":false,"serving":null,"terminating":null}"#, unready),
        ] {
            let all = read(&[&SLICE.replace(conditions, to)], &http());
            let endpoint = &all["10.0.0.1:8080"];
            assert_eq!(endpoint.health(), &expected);
            assert_eq!(endpoint.locality(), Some(&Locality::new("eu", "a")));
            assert_eq!(endpoint.metadata().get("kubernetes.pod"), Some("web-x"));
            assert_eq!(endpoint.metadata().get("kubernetes.hints"), Some("a"));
        }
        assert!(
            read(&[SLICE], &Selection::default()).contains_key("10.0.0.1:9000"),
            "the first port"
        );
        let nulls = r#"{"metadata":{"name":"a"},"endpoints":null,"ports":null}"#;
        assert!(read(&[nulls], &http()).is_empty());
    }

    #[test]
    fn only_tcp_ports_are_used() {
        let ports = r#"{"name":"admin","port":9000},{"name":"http","port":8080,"protocol":"TCP"}"#;
        let found = |with: &str, name: Option<&str>| {
            let selection = Selection { port: name.map(str::to_owned), ..Selection::default() };
            read(&[&SLICE.replace(ports, with)], &selection).into_keys().next()
        };
        let dns = r#"{"name":"dns","port":53,"protocol":"UDP"},
            {"name":"sctp","port":54,"protocol":"SCTP"},{"name":"dns","port":55,"protocol":null}"#;
        assert_eq!(found(dns, None).unwrap(), "10.0.0.1:55");
        assert_eq!(found(dns, Some("dns")).unwrap(), "10.0.0.1:55");
        assert_eq!(found(dns, Some("sctp")), None);
        assert_eq!(found(r#"{"port":53,"protocol":"UDP"}"#, None), None);
        assert_eq!(found(r#"{"port":0},{"port":80}"#, None), None, "0 is not a port");
        assert_eq!(found(r#"{"port":null}"#, None), None);
        assert_eq!(found(r#"{"port":80}"#, Some("")).unwrap(), "10.0.0.1:80");
        let slice: Slice = serde_json::from_str(&SLICE.replace(ports, "")).unwrap();
        let left_out = endpoints::<String>([&slice], &http());
        assert_eq!(left_out, [Err(LeftOut::new("web-1", NO_PORT).plausible())]);
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
    fn addresses_that_can_not_be_used_are_left_out() {
        let bad = SLICE.replace("10.0.0.1", "169.254.169.254");
        let slices = [SLICE, &bad].map(|slice| serde_json::from_str::<Slice>(slice).unwrap());
        let (found, left_out): (Vec<_>, Vec<_>) =
            endpoints::<String>(&slices, &http()).into_iter().partition(Result::is_ok);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].as_ref().unwrap().0, "10.0.0.1:8080");
        let reason =
            "169.254.169.254 can't be an endpoint: it is the address of a metadata service";
        assert_eq!(left_out, [Err(LeftOut::new("169.254.169.254:8080", reason))]);
        let selection = Selection { filter: AddressFilter::usable(), ..http() };
        let found = endpoints::<String>(&slices, &selection);
        assert_eq!(found.iter().filter(|found| found.is_ok()).count(), 2);
    }

    #[test]
    fn hints_are_heeded_if_they_are_complete() {
        let other = SLICE.replace("10.0.0.1", "10.0.0.2");
        let other = other.replace(r#"[{"name":"a"}]"#, r#"[{"name":"b"}]"#);
        let unhinted = SLICE.replace("10.0.0.1", "10.0.0.3").replace(r#"[{"name":"a"}]"#, "[]");
        let zone = |zone: &str| Selection { zone: Some(zone.to_owned()), ..http() };
        let keys =
            |slices: &[&str], selection| read(slices, &selection).into_keys().collect::<Vec<_>>();
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
