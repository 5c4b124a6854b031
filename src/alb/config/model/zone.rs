use std::{borrow::Cow, fmt, net::IpAddr};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A zone. A file has its name, or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The name.
    pub name: String,
    /// The addresses that the listeners bind in this zone, instead of their own. With none in any
    /// zone, the listeners are not divided into zones.
    pub addresses: Vec<IpAddr>,
}

impl Zone {
    /// Creates a zone without addresses.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), addresses: Vec::new() }
    }
}

/// The table of [`Zone`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ZoneTable {
    /// The name.
    name: String,
    /// The addresses that the listeners bind in this zone, instead of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<IpAddr>,
}

/// The schema of [`Zone`].
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Zone")]
#[allow(dead_code, reason = "only its schema is used")]
enum ZoneForm {
    /// The name.
    Name(String),
    /// The name and the addresses.
    Table(ZoneTable),
}

impl JsonSchema for Zone {
    fn schema_name() -> Cow<'static, str> {
        ZoneForm::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        ZoneForm::json_schema(generator)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { name, addresses } = self.clone();
        if addresses.is_empty() {
            return name.serialize(serializer);
        }
        ZoneTable { name, addresses }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Zone;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a zone, or a table with `name` and `addresses`")
            }

            fn visit_str<E>(self, name: &str) -> Result<Zone, E> {
                Ok(Zone::new(name))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Zone, A::Error> {
                let ZoneTable { name, addresses } =
                    ZoneTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Zone { name, addresses })
            }
        }

        deserializer.deserialize_any(Form)
    }
}
