use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use crate::alb::config::form::{TextOrNumber, Time, text_or_number};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Action {
    /// A target group gets it.
    Forward(Forward),
    /// The client is sent to another URL.
    Redirect(Redirect),
    /// The load balancer answers.
    FixedResponse(FixedResponse),
}

impl Action {
    /// Creates the action that forwards to one target group.
    pub fn forward(group: impl Into<String>) -> Self {
        Self::Forward(Forward::to(group))
    }

    /// Creates the action that answers with a status and an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::FixedResponse(FixedResponse { status, content_type: None, body: None })
    }
}

impl Default for Action {
    fn default() -> Self {
        Self::status(404)
    }
}

/// Target groups by weight. A file has the name of one group, a list of groups, or a table with
/// `groups` and `stickiness`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// The groups, 1 to 5.
    pub groups: Vec<WeightedGroup>,
    /// How long a client's requests go to the same group, from 1 s to 7 days. `None`: each request
    /// is distributed anew.
    pub stickiness: Option<Time>,
}

impl Forward {
    /// Creates the action that forwards to one target group.
    pub fn to(group: impl Into<String>) -> Self {
        Self { groups: vec![WeightedGroup::new(group, 1)], stickiness: None }
    }
}

/// A target group and its weight. A file has the group's name, or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedGroup {
    /// The name or the ARN of the target group.
    pub group: String,
    /// The weight, from 0 to 999. Default 1.
    pub weight: u32,
}

impl WeightedGroup {
    /// Creates a group with a weight.
    pub fn new(group: impl Into<String>, weight: u32) -> Self {
        Self { group: group.into(), weight }
    }
}

/// The table of [`Forward`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForwardTable {
    /// The target groups, 1 to 5.
    groups: Vec<WeightedGroup>,
    /// How long a client's requests go to the same group, from 1 s to 7 days. Default: each request
    /// is distributed anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stickiness: Option<Time>,
}

/// The table of [`WeightedGroup`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GroupTable {
    /// The name or the ARN of the target group.
    group: String,
    /// The weight, from 0 to 999. Default 1.
    #[serde(default = "one")]
    weight: u32,
}

fn one() -> u32 {
    1
}

/// The schema of [`Forward`].
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Forward")]
#[allow(dead_code, reason = "only its schema is used")]
enum ForwardForm {
    /// The name of one target group.
    One(String),
    /// Target groups by weight, 1 to 5.
    Many(Vec<WeightedGroup>),
    /// Target groups by weight, and stickiness.
    Table(ForwardTable),
}

/// The schema of [`WeightedGroup`].
#[derive(JsonSchema)]
#[schemars(untagged, rename = "WeightedGroup")]
#[allow(dead_code, reason = "only its schema is used")]
enum GroupForm {
    /// The name of a target group, with the weight 1.
    Name(String),
    /// A target group and its weight.
    Table(GroupTable),
}

impl JsonSchema for Forward {
    fn schema_name() -> Cow<'static, str> {
        ForwardForm::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        ForwardForm::json_schema(generator)
    }
}

impl JsonSchema for WeightedGroup {
    fn schema_name() -> Cow<'static, str> {
        GroupForm::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        GroupForm::json_schema(generator)
    }
}

impl Serialize for Forward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (&*self.groups, self.stickiness) {
            ([WeightedGroup { group, weight: 1 }], None) => group.serialize(serializer),
            (groups, None) => groups.serialize(serializer),
            (groups, stickiness) => {
                ForwardTable { groups: groups.to_vec(), stickiness }.serialize(serializer)
            }
        }
    }
}

impl Serialize for WeightedGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { group, weight } = self.clone();
        GroupTable { group, weight }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Forward {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Forward;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a target group, a list of groups, or a table of `groups`")
            }

            fn visit_str<E>(self, group: &str) -> Result<Forward, E> {
                Ok(Forward::to(group))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Forward, A::Error> {
                let groups = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Forward { groups, stickiness: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Forward, A::Error> {
                let table = ForwardTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Forward { groups: table.groups, stickiness: table.stickiness })
            }
        }

        deserializer.deserialize_any(Form)
    }
}

impl<'de> Deserialize<'de> for WeightedGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = WeightedGroup;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a target group, or a table with `group` and `weight`")
            }

            fn visit_str<E>(self, group: &str) -> Result<WeightedGroup, E> {
                Ok(WeightedGroup::new(group, 1))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WeightedGroup, A::Error> {
                let table = GroupTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(WeightedGroup { group: table.group, weight: table.weight })
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// A redirect. Parts that are absent stay as in the request. The texts may contain `#{protocol}`,
/// `#{host}`, `#{port}`, `#{path}` (without the leading `/`) and `#{query}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redirect {
    /// `http`, `https` or `#{protocol}`. An HTTPS request is never redirected to HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The host, up to 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port, from 1 to 65535, or `#{port}`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text_or_number")]
    #[schemars(with = "Option<TextOrNumber>")]
    pub port: Option<String>,
    /// The path, from the leading `/`, up to 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The query without the leading `?`, up to 128 characters. Empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// 301 (permanent: browsers remember it) or 302. Default 302.
    pub status: u16,
}

impl Default for Redirect {
    fn default() -> Self {
        Self { protocol: None, host: None, port: None, path: None, query: None, status: 302 }
    }
}

/// A response of the load balancer itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedResponse {
    /// The status, 2xx, 4xx or 5xx.
    pub status: u16,
    /// `text/plain`, `text/css`, `text/html`, `application/javascript` or `application/json`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The body, up to 1024 characters. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}
