use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, SocketAddr},
};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A target. A file has `"10.0.0.1:80"`, an address without a port, the ARN of a function, the id
/// of an instance, or a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The IP address, the ARN of a function, or a name that `bindings.targets` explains.
    pub id: String,
    /// The port. `None`: that of the target group.
    pub port: Option<u16>,
    /// The zone. `None` or `all`: each zone.
    pub zone: Option<String>,
}

impl Target {
    /// Creates a target from its short form.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let (id, port) = split_port(text);
        Self { id, port, zone: None }
    }

    /// Returns the short form, without the zone: the id, and the port if it has one.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.id.parse::<IpAddr>(), self.port) {
            (Ok(address), Some(port)) => SocketAddr::new(address, port).to_string(),
            (_, Some(port)) => format!("{}:{port}", self.id),
            (_, None) => self.id.clone(),
        }
    }
}

/// Splits `10.0.0.1:80` and `i-1:80`. An ARN may end with a number, which is not a port.
fn split_port(text: &str) -> (String, Option<u16>) {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.ip().to_string(), Some(address.port()));
    }
    let split = text.rsplit_once(':').filter(|(id, _)| !id.contains(':') && !id.is_empty());
    let split = split.and_then(|(id, port)| Some((id.to_owned(), Some(port.parse().ok()?))));
    split.unwrap_or_else(|| (text.to_owned(), None))
}

/// The table of [`Target`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TargetTable {
    /// The IP address, the ARN of a function, or a name that `bindings.targets` explains.
    id: String,
    /// The port. Default: that of the target group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// The zone. Default: each zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
}

/// The schema of [`Target`].
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Target")]
#[allow(dead_code, reason = "only its schema is used")]
enum TargetForm {
    /// An address such as `10.0.0.1:80`, the ARN of a function, or the id of an instance.
    Name(String),
    /// A target with its port and its zone.
    Table(TargetTable),
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        TargetForm::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        TargetForm::json_schema(generator)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // An id such as `a:1` without a port has no short form.
        let name = self.name();
        if self.zone.is_none() && Self::new(&name) == *self {
            return name.serialize(serializer);
        }
        let Self { id, port, zone } = self.clone();
        TargetTable { id, port, zone }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Target;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target such as \"10.0.0.1:80\", or a table with its `id`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Target, E> {
                Ok(Target::new(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
                let table = TargetTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Target { id: table.id, port: table.port, zone: table.zone })
            }
        }

        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_forms() {
        let parts = |text: &str| {
            let Target { id, port, .. } = Target::new(text);
            (id, port)
        };
        assert_eq!(parts("10.0.0.1:80"), ("10.0.0.1".to_owned(), Some(80)));
        assert_eq!(parts("[::1]:80"), ("::1".to_owned(), Some(80)));
        assert_eq!(parts("::1"), ("::1".to_owned(), None));
        assert_eq!(parts("i-0abc:8080"), ("i-0abc".to_owned(), Some(8080)));
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:3";
        assert_eq!(parts(arn), (arn.to_owned(), None));
    }

    proptest! {
        #[test]
        fn a_target_survives_json(id in ".{0,12}|[0-9a-f:.]{1,9}", port: Option<u16>, zone: Option<bool>) {
            let target = Target { id, port, zone: zone.map(|zone| zone.to_string()) };
            let json = serde_json::to_string(&target).unwrap();
            prop_assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), target);
        }
    }
}
