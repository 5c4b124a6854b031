use std::fmt;

use serde::de::DeserializeOwned;

use crate::{
    alb::config::{Bindings, Config, Problem, Problems},
    discover::Format,
};

impl Config {
    /// Parses a configuration in TOML.
    ///
    /// # Errors
    ///
    /// If the text is malformed, or has an unknown field or a value of a wrong type. The path of
    /// the problem is the line and the column. Only the first such problem is reported.
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        Ok(parse(text, Format::Toml).map_err(|problem| problem.at(""))?)
    }

    /// Parses a configuration in JSON.
    ///
    /// # Errors
    ///
    /// As [`from_toml`](Self::from_toml).
    pub fn from_json(text: &str) -> Result<Self, Problems> {
        Ok(parse(text, Format::Json).map_err(|problem| problem.at(""))?)
    }

    /// Parses a configuration in YAML 1.2.
    ///
    /// # Errors
    ///
    /// As [`from_toml`](Self::from_toml).
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Self, Problems> {
        Ok(parse(text, Format::Yaml).map_err(|problem| problem.at(""))?)
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

/// Parses a configuration that was read from the file `name`.
pub(super) fn parse_file(name: &str, text: &str, format: Format) -> Result<Config, Problem> {
    parse(text, format).map_err(|problem| problem.at(name))
}

/// Parses bindings that were read from the file `name`.
pub(super) fn parse_bindings(name: &str, text: &str, format: Format) -> Result<Bindings, Problem> {
    parse(text, format).map_err(|problem| problem.at(name))
}

/// What a parser reports. The text around it is left out, because it could be a secret.
struct Malformed {
    position: Option<(usize, usize)>,
    message: String,
}

impl Malformed {
    fn at(self, name: &str) -> Problem {
        let position = self.position.map(|(line, column)| format!("line {line}, column {column}"));
        let path = match (name, position) {
            ("", position) => position.unwrap_or_else(|| "the document".to_owned()),
            (name, None) => name.to_owned(),
            (name, Some(position)) => format!("{name}, {position}"),
        };
        Problem::invalid(path, format!("a valid document: {}", self.message))
    }
}

fn parse<T: DeserializeOwned>(text: &str, format: Format) -> Result<T, Malformed> {
    // JSON forbids it, and editors write it nevertheless.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Json => serde_json::from_str(text).map_err(|error| malformed_json(&error)),
        Format::Toml => toml::from_str(text).map_err(|error| Malformed {
            position: error.span().map(|span| position(text, span.start)),
            message: error.message().to_owned(),
        }),
        #[cfg(feature = "yaml")]
        Format::Yaml => {
            let options = serde_saphyr::options! { with_snippet: false };
            serde_saphyr::from_str_with_options(text, options).map_err(|error| Malformed {
                position: error.location().map(|at| (at.line() as usize, at.column() as usize)),
                message: error.to_string(),
            })
        }
    }
}

fn malformed_json(error: &serde_json::Error) -> Malformed {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    // serde_json repeats the position at the end of its message.
    let end = format!(" at line {line} column {column}");
    let message = message.strip_suffix(&end).unwrap_or(&message).to_owned();
    Malformed { position: (line > 0).then_some((line, column)), message }
}

/// Returns the line and the column, both from 1, of a byte.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Parses any JSON document of the file `name`.
pub(in crate::alb::config) fn parse_value(
    name: &str,
    text: &str,
) -> Result<serde_json::Value, Problem> {
    parse(text, Format::Json).map_err(|problem| problem.at(name))
}

impl fmt::Debug for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(all(test, feature = "yaml"))]
mod tests {
    use super::*;
    use crate::alb::config::Action;

    #[test]
    fn yaml() {
        let config = Config::from_yaml(
            "listeners:\n  - port: 80\n    default_action: { forward: web }\n\
             target_groups:\n  - name: web\n    targets: [\"10.0.0.1:80\"]\n",
        )
        .unwrap();
        assert_eq!(config.listeners[0].default_action, Action::forward("web"));
        // JSON is YAML, so that what is written as JSON is read as YAML.
        assert_eq!(Config::from_yaml(&config.to_json().unwrap()).unwrap(), config);
        let problems = Config::from_yaml("listeners:\n  - prt: 80\n").unwrap_err().to_string();
        assert!(problems.starts_with("`line 2, column 5`: expected"), "{problems}");
        let secret = "bindings: { client_secrets: { shop: hunter2 } }";
        let problems = Config::from_yaml(secret).unwrap_err();
        assert!(!format!("{problems} {problems:?}").contains("hunter2"), "{problems}");
    }
}
