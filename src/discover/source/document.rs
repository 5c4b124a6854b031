use std::{
    collections::{BTreeMap, HashSet},
    fmt::{self, Display},
    marker::PhantomData,
    str::FromStr,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    format::{Format, Malformed},
    validation::{
        LeftOut, LeftOutLog, MAX_ENDPOINTS, PortZero, has_port_zero, parse_address, zone_of,
    },
};
use crate::{
    ParseError,
    endpoint::{Endpoint, Health, Locality},
};

/// Parses a document with a list of endpoints. Addresses are parsed as `T`; names are the keys.
///
/// The document has a list `endpoints`. An item is an address, or a table with these fields:
///
/// | field | default |
/// |---|---|
/// | `address` | required |
/// | `name` | the address |
/// | `weight`; 0 means drain | 1 |
/// | `tier` | 0 |
/// | `zone`, `region` | none |
/// | `health`: `healthy`, `degraded`, `unhealthy` or `draining` | `healthy` |
/// | `reason` of the health | "as listed" |
/// | `metadata`: a table of strings | empty |
///
/// ```
/// use std::net::SocketAddr;
/// use tower_lb::discover::{Format, parse_document};
///
/// let document = r#"
///     endpoints = [
///         "10.0.0.1:80",
///         { address = "10.0.0.2:80", name = "b", weight = 5, zone = "eu-1a" },
///     ]
/// "#;
/// let endpoints = parse_document::<SocketAddr>(document, Format::Toml)?;
/// assert_eq!((endpoints[1].0.as_str(), endpoints[1].1.weight()), ("b", 5));
///
/// let error = parse_document::<SocketAddr>("{\"endpoints\": [\n80]}", Format::Json).unwrap_err();
/// assert_eq!(error.line(), Some(2));
/// # Ok::<_, tower_lb::ParseError>(())
/// ```
///
/// An address with the port 0, or with an IPv6 zone that is not a number if `T` needs one, is left
/// out with a warning. A byte-order mark at the beginning is ignored.
///
/// # Errors
///
/// [`ParseError`], with line and column, if the document is malformed, an address is invalid, a
/// name occurs twice, a field is unknown or missing, or there are more than 500 000 endpoints. Also
/// if all endpoints are left out.
pub fn parse_document<T: FromStr<Err: Display>>(
    text: &str,
    format: Format,
) -> Result<Vec<(String, Endpoint<T>)>, ParseError> {
    let listed = parse_listed(text, format)?;
    let usable = LeftOutLog::default().keep_usable("document", listed);
    usable.map_err(|problem| invalid(text, None, problem))
}

/// An endpoint of a document, or why it is left out.
pub(super) type Listed<T> = Result<(String, Endpoint<T>), LeftOut>;

/// Parses a document, as [`parse_document`] does, for a source that logs what is left out.
pub(super) fn parse_listed<T: FromStr<Err: Display>>(
    text: &str,
    format: Format,
) -> Result<Vec<Listed<T>>, ParseError> {
    let document: Document<T> = format
        .parse(text)
        .map_err(|Malformed { position, message }| invalid(text, position, message))?;
    Ok(document.endpoints.0)
}

/// Returns the error of a parser, with the line of the document at `position`.
fn invalid(text: &str, position: Option<(usize, usize)>, problem: impl Display) -> ParseError {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = position.and_then(|(line, _)| text.lines().nth(line.checked_sub(1)?));
    ParseError::new("document", line.unwrap_or(text), "a list of endpoints")
        .with_problem(position, problem)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "T: FromStr<Err: Display>")]
struct Document<T> {
    endpoints: Endpoints<T>,
}

struct Endpoints<T>(Vec<Listed<T>>);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Endpoints<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);

        impl<'de, T: FromStr<Err: Display>> Visitor<'de> for List<T> {
            type Value = Endpoints<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of endpoints")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let (mut names, mut endpoints) = (HashSet::new(), Vec::new());
                while let Some(endpoint) = list
                    .next_element_seed(UniqueEndpoint { names: &mut names, target: PhantomData })?
                {
                    if endpoints.len() >= MAX_ENDPOINTS {
                        let error = format_args!("more than {MAX_ENDPOINTS} endpoints");
                        return Err(de::Error::custom(error));
                    }
                    endpoints.push(endpoint);
                }
                Ok(Endpoints(endpoints))
            }
        }

        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// Parses an endpoint whose name must not be in `names` yet. The name is checked during parsing,
/// where the position is known.
struct UniqueEndpoint<'a, T> {
    names: &'a mut HashSet<String>,
    target: PhantomData<T>,
}

impl<'de, T: FromStr<Err: Display>> DeserializeSeed<'de> for UniqueEndpoint<'_, T> {
    type Value = Listed<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: FromStr<Err: Display>> Visitor<'de> for UniqueEndpoint<'_, T> {
    type Value = Listed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a table with an address")
    }

    fn visit_str<E: de::Error>(self, address: &str) -> Result<Self::Value, E> {
        self.finish(address.to_owned(), address, Endpoint::new)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let entry = Entry::deserialize(MapAccessDeserializer::new(map))?;
        let name = entry.name.unwrap_or_else(|| entry.address.clone());
        self.finish(name, &entry.address, |target| {
            let endpoint = Endpoint::new(target)
                .with_weight(entry.weight)
                .with_tier(entry.tier)
                .with_health(entry.health.with_reason(entry.reason))
                .with_all_metadata(entry.metadata.into_iter().collect());
            if entry.region.is_none() && entry.zone.is_none() {
                return endpoint;
            }
            let (region, zone) = (entry.region.unwrap_or_default(), entry.zone.unwrap_or_default());
            endpoint.with_locality(Locality::new(region, zone))
        })
    }
}

impl<T: FromStr<Err: Display>> UniqueEndpoint<'_, T> {
    fn finish<E: de::Error>(
        self,
        name: String,
        address: &str,
        endpoint: impl FnOnce(T) -> Endpoint<T>,
    ) -> Result<Listed<T>, E> {
        let listed = match parse_address(address) {
            _ if has_port_zero(address) => Err(LeftOut::new(&*name, PortZero(address))),
            Ok(target) => Ok((name.clone(), endpoint(target))),
            // The zone may be one of another host.
            Err(problem) if zone_of(address).is_some() => {
                Err(LeftOut::new(&*name, format_args!("{address}: {problem}")))
            }
            Err(problem) => {
                return Err(E::custom(format_args!("the address {address:?}: {problem}")));
            }
        };
        if !self.names.insert(name.clone()) {
            return Err(E::custom(format_args!("the endpoint {name:?} occurs twice")));
        }
        Ok(listed)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: String,
    name: Option<String>,
    #[serde(default = "default_weight")]
    weight: u32,
    #[serde(default)]
    tier: u32,
    region: Option<String>,
    zone: Option<String>,
    #[serde(default)]
    health: HealthState,
    reason: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

fn default_weight() -> u32 {
    1
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HealthState {
    #[default]
    Healthy,
    Degraded,
    Unhealthy,
    Draining,
}

impl HealthState {
    fn with_reason(self, reason: Option<String>) -> Health {
        let reason = reason.unwrap_or_else(|| "as listed".to_owned());
        match self {
            Self::Healthy => Health::Healthy,
            Self::Degraded => Health::degraded(reason),
            Self::Unhealthy => Health::unhealthy(reason),
            Self::Draining => Health::draining(reason),
        }
    }
}
