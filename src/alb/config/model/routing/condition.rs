use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use crate::alb::config::form::{OneOrMany, as_one_or_many, one_or_many};

/// A condition of a rule. Of its values, one must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Condition {
    /// The host, without regard to case.
    Host(Patterns),
    /// The path, with regard to case and without the query.
    Path(Patterns),
    /// A header field.
    Header(HeaderCondition),
    /// Parameters of the query, without regard to case.
    Query(
        /// The parameters, of which one must occur.
        Vec<QueryPattern>,
    ),
    /// The method, with regard to case.
    #[serde(deserialize_with = "one_or_many", serialize_with = "as_one_or_many")]
    Method(#[schemars(with = "OneOrMany")] Vec<String>),
    /// Networks of which one contains the peer's address, such as `10.0.0.0/8`.
    #[serde(deserialize_with = "one_or_many", serialize_with = "as_one_or_many")]
    SourceIp(#[schemars(with = "OneOrMany")] Vec<String>),
}

impl Condition {
    /// Returns the name of the kind, as files write it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Path(_) => "path",
            Self::Header(_) => "header",
            Self::Query(_) => "query",
            Self::Method(_) => "method",
            Self::SourceIp(_) => "source_ip",
        }
    }
}

/// The condition on a header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderCondition {
    /// The name of the field, without wildcards; not `Host`.
    pub name: String,
    /// What its value must match, without regard to case.
    pub value: Patterns,
}

/// Texts with the wildcards `*` (any text) and `?` (one character), or regular expressions. A file
/// has one text, a list of texts, or a table with `values` and `regex`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    /// Texts with wildcards, each up to 128 characters.
    pub values: Vec<String>,
    /// Regular expressions, each up to 128 characters.
    pub regex: Vec<String>,
}

impl Patterns {
    /// Creates patterns of texts with wildcards.
    pub fn values(values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { values: values.into_iter().map(Into::into).collect(), regex: Vec::new() }
    }

    /// Creates patterns of regular expressions.
    pub fn regex(regex: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { values: Vec::new(), regex: regex.into_iter().map(Into::into).collect() }
    }

    /// Returns the number of values and regular expressions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() + self.regex.len()
    }

    /// Returns true if no request can match.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The table of [`Patterns`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PatternTable {
    /// Texts with wildcards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    /// Regular expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    regex: Vec<String>,
}

/// The schema of [`Patterns`].
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Patterns")]
#[allow(dead_code, reason = "only its schema is used")]
enum PatternForm {
    /// One text with wildcards.
    One(String),
    /// Several texts with wildcards, of which one must match.
    Many(Vec<String>),
    /// Texts with wildcards, and regular expressions.
    Table(PatternTable),
}

impl JsonSchema for Patterns {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        PatternForm::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        PatternForm::json_schema(generator)
    }
}

impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.regex.is_empty() {
            return as_one_or_many(&self.values, serializer);
        }
        let Self { values, regex } = self.clone();
        PatternTable { values, regex }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Patterns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a list of texts, or a table with `values` and `regex`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Patterns, E> {
                Ok(Patterns::values([text]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Patterns, A::Error> {
                Vec::<String>::deserialize(SeqAccessDeserializer::new(list)).map(Patterns::values)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Patterns, A::Error> {
                let table = PatternTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Patterns { values: table.values, regex: table.regex })
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// A parameter of the query. The wildcards are `*` and `?`; a backslash makes them literal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryPattern {
    /// The name of the parameter. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The value of the parameter.
    pub value: String,
}
