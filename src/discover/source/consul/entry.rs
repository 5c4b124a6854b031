use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use serde::Deserialize;

use crate::{
    discover::{
        AddressFilter,
        source::validation::{LeftOut, parse_target},
    },
    endpoint::{Endpoint, Health, Locality},
};

/// An instance of a service, as Consul's health endpoint returns it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    node: Node,
    service: Instance,
    checks: Option<Vec<Check>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
    address: String,
    #[serde(default)]
    datacenter: String,
    locality: Option<ConsulLocality>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    address: String,
    /// 0 or missing for a service without a port, such as one that listens on a socket file.
    #[serde(default)]
    port: i64,
    tags: Option<Vec<String>>,
    meta: Option<BTreeMap<String, String>>,
    weights: Option<Weights>,
    locality: Option<ConsulLocality>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Weights {
    passing: u32,
    warning: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConsulLocality {
    region: String,
    zone: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", default)]
    id: String,
    #[serde(default)]
    name: String,
    status: String,
}

impl Entry {
    /// Returns the key and the endpoint, or why it is left out.
    pub(super) fn endpoint<T: FromStr<Err: Display>>(
        self,
        filter: &AddressFilter,
    ) -> Result<(String, Endpoint<T>), LeftOut> {
        let Self { node, service, checks } = self;
        let health = health(&checks.unwrap_or_default());
        let key = format!("{}/{}", node.node, service.id);
        let host = if service.address.is_empty() { node.address } else { service.address };
        let port = u16::try_from(service.port)
            .map_err(|_| LeftOut::new(&*key, format_args!("{} is not a port", service.port)))?;
        let target = parse_target(&key, &host, port, filter)?;
        let weights = service.weights.unwrap_or_default();
        let warns = matches!(health, Health::Degraded(_));
        let own = [
            ("consul.tags", service.tags.unwrap_or_default().join(",")),
            ("consul.node", node.node),
            ("consul.datacenter", node.datacenter),
        ];
        let own = own.into_iter().filter(|(_, value)| !value.is_empty());
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let mut endpoint = Endpoint::new(target)
            .with_weight(if warns { weights.warning } else { weights.passing })
            .with_health(health)
            .with_all_metadata(service.meta.into_iter().flatten().chain(own).collect());
        if let Some(locality) = service.locality.or(node.locality) {
            endpoint = endpoint.with_locality(Locality::new(locality.region, locality.zone));
        }
        Ok((key, endpoint))
    }
}

/// Returns the health according to the worst check. The output of a check is not part of the
/// reason, because it changes with each run.
fn health(checks: &[Check]) -> Health {
    let says = |check: &&Check, status: &str| check.status.eq_ignore_ascii_case(status);
    let maintenance = |check: &&Check| {
        check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:")
    };
    let critical = || checks.iter().filter(|check| says(check, "critical"));
    if critical().any(|check| maintenance(&check)) {
        return Health::draining("in maintenance mode");
    }
    if let Some(check) = critical().next() {
        return Health::unhealthy(format!("the check {:?} is critical", check.name));
    }
    match checks.iter().find(|check| says(check, "warning")) {
        Some(check) => Health::degraded(format!("the check {:?} warns", check.name)),
        None => Health::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    const ENTRY: &str = r#"[{"Node":{"Node":"n","Address":"10.0.0.1","Datacenter":"dc1"},
        "Service":{"ID":"web-1","Service":"web","Tags":["a","b"],"Address":"","Meta":null,
        "Port":80,"Weights":{"Passing":3,"Warning":1}},
        "Checks":[{"CheckID":"c","Name":"ping","Status":"passing","Output":"fine"}]}]"#;

    fn parse(text: &str) -> Result<Vec<(String, Endpoint<String>)>, serde_json::Error> {
        let entries: Vec<Entry> = serde_json::from_str(text)?;
        Ok(entries
            .into_iter()
            .filter_map(|entry| entry.endpoint(&AddressFilter::new()).ok())
            .collect())
    }

    #[test]
    fn the_worst_check_decides() {
        for (from, to, expected) in [
            ("passing", "passing", Health::Healthy),
            ("passing", "warning", Health::degraded("the check \"ping\" warns")),
            ("passing", "critical", Health::unhealthy("the check \"ping\" is critical")),
            (
                r#"{"CheckID":"c""#,
                r#"{"Status":"critical","CheckID":"_node_maintenance"},{"CheckID":"c""#,
                Health::draining("in maintenance mode"),
            ),
        ] {
            let [(key, endpoint)] = &parse(&ENTRY.replace(from, to)).unwrap()[..] else { panic!() };
            assert_eq!((key.as_str(), endpoint.target().as_str()), ("n/web-1", "10.0.0.1:80"));
            assert_eq!(endpoint.health(), &expected);
            assert_eq!(endpoint.weight(), if to == "warning" { 1 } else { 3 });
            assert_eq!(endpoint.metadata().get("consul.tags"), Some("a,b"));
        }
    }

    #[test]
    fn an_address_that_can_not_be_used_is_left_out() {
        let entries: Vec<Entry> =
            serde_json::from_str(&ENTRY.replace("10.0.0.1", "169.254.169.254")).unwrap();
        let [entry] = <[Entry; 1]>::try_from(entries).ok().unwrap();
        let reason =
            "169.254.169.254 can't be an endpoint: it is the address of a metadata service";
        let left_out = entry.endpoint::<String>(&AddressFilter::new()).unwrap_err();
        assert_eq!(left_out, LeftOut::new("n/web-1", reason));
        for port in ["\"Port\":0", "\"Port\":70000", "\"Port\":-1", "\"Kind\":\"\""] {
            let entries = parse(&ENTRY.replace("\"Port\":80", port));
            assert!(entries.unwrap().is_empty(), "{port}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_damaged_answer_panics(at in 0_usize..400, cut in 0_usize..20, piece in "[\\[\\]{}\":,0-9a-z-]{0,6}") {
            let (at, after) = (at.min(ENTRY.len()), (at + cut).min(ENTRY.len()));
            let _ = parse(&format!("{}{piece}{}", &ENTRY[..at], &ENTRY[after..]));
        }
    }
}
