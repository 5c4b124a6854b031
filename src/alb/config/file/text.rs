use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::{
    alb::config::{Config, Problem, Problems},
    discover::{Format, Malformed},
};

impl Config {
    /// Parses a configuration in TOML.
    ///
    /// # Errors
    ///
    /// If the text is malformed, or has an unknown field or a value of a wrong type. The path of
    /// the problem is the line and the column. Only the first such problem is reported.
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        Ok(parse("", text, Format::Toml)?)
    }

    /// Parses a configuration in JSON.
    ///
    /// # Errors
    ///
    /// As [`from_toml`](Self::from_toml).
    pub fn from_json(text: &str) -> Result<Self, Problems> {
        Ok(parse("", text, Format::Json)?)
    }

    /// Parses a configuration in YAML 1.2.
    ///
    /// # Errors
    ///
    /// As [`from_toml`](Self::from_toml).
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Self, Problems> {
        Ok(parse("", text, Format::Yaml)?)
    }

    /// Writes the configuration in TOML, from which [`from_toml`](Self::from_toml) reads an equal
    /// one.
    ///
    /// # Errors
    ///
    /// If a number does not fit into TOML.
    pub fn to_toml(&self) -> Result<String, Problem> {
        toml::to_string(self)
            .map_err(|error| Problem::invalid("the configuration", error.to_string()))
    }

    /// Writes the configuration in JSON, from which [`from_json`](Self::from_json) reads an equal
    /// one.
    ///
    /// # Errors
    ///
    /// If a path of a binding is not UTF-8.
    pub fn to_json(&self) -> Result<String, Problem> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Problem::invalid("the configuration", error.to_string()))
    }
}

/// Parses the text of the file `name`, which may be empty. The path of a problem is the file and
/// the position in it.
pub(in crate::alb::config) fn parse<T: DeserializeOwned>(
    name: &str,
    text: &str,
    format: Format,
) -> Result<T, Problem> {
    format.parse(text).map_err(|Malformed { position, message }| {
        let position = position.map(|(line, column)| format!("line {line}, column {column}"));
        let path = match (name, position) {
            ("", position) => position.unwrap_or_else(|| "the document".to_owned()),
            (name, None) => name.to_owned(),
            (name, Some(position)) => format!("{name}, {position}"),
        };
        Problem::invalid(path, format!("a valid document: {}", without_value(&message)))
    })
}

/// Removes the value from a message of serde, such as "invalid type: integer `12345`, expected a
/// map": it could be a secret in a wrong place.
pub(in crate::alb::config) fn without_value(message: &str) -> Cow<'_, str> {
    let begin = ["invalid type: ", "invalid value: "]
        .iter()
        .filter_map(|start| Some(message.find(start)? + start.len()))
        .min();
    let Some(begin) = begin else { return message.into() };
    let (before, rest) = message.split_at(begin);
    // The kind of the value is not quoted, the value is.
    let Some(quote) = rest.find(['`', '"']) else { return message.into() };
    let (kind, value) = rest.split_at(quote);
    let expected = value.rfind(", expected ").map_or("", |end| &value[end..]);
    format!("{before}{}{expected}", kind.trim_end()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_their_value() {
        for (message, expected) in [
            (
                "invalid type: integer `12345`, expected a map",
                "invalid type: integer, expected a map",
            ),
            (
                "invalid type: string \"a, expected b\", expected u16",
                "invalid type: string, expected u16",
            ),
            ("invalid value: string \"a`b\"", "invalid value: string"),
            ("invalid type: sequence, expected a map", "invalid type: sequence, expected a map"),
            ("missing field `port`", "missing field `port`"),
        ] {
            assert_eq!(without_value(message), expected);
        }
    }
}
