use http::{HeaderName, Method, header::HOST};
use ipnet::IpNet;

use super::{
    Condition, Pattern, QueryPattern, Test, TextMatcher,
    condition::Kind,
    leaf::{Leaf, ParameterMatcher, is_secret_field},
    pattern::{Case, Reading},
};
use crate::ConfigError;

const HOST_READING: Reading = Reading { case: Case::Insensitive, has_escapes: false };
const PATH_READING: Reading = Reading { case: Case::Sensitive, has_escapes: false };
const HEADER_READING: Reading = Reading { case: Case::Insensitive, has_escapes: false };
const QUERY_READING: Reading = Reading { case: Case::Insensitive, has_escapes: true };

/// Conditions may contain each other this deep, so that they fit on any stack.
const MAX_DEPTH: usize = 32;

/// Compiles the conditions of a rule. The field of an error is a path from the rule:
/// `conditions[0].values[1]`.
pub(in crate::rules) fn compile_conditions(
    conditions: &[Condition],
) -> Result<Box<[Test]>, ConfigError> {
    if conditions.is_empty() {
        let expected = "at least one condition; `Condition::any()` is met by every request";
        return Err(ConfigError::new("conditions", expected));
    }
    each("conditions", conditions, |condition| compile(condition, 0))
}

fn compile(condition: &Condition, depth: usize) -> Result<Test, ConfigError> {
    if depth > MAX_DEPTH {
        let expected = format!("conditions that contain each other at most {MAX_DEPTH} deep");
        return Err(ConfigError::new("", expected));
    }
    let group = |field, conditions: &[Condition]| {
        not_empty(field, conditions)?;
        each(field, conditions, |condition| compile(condition, depth + 1))
    };
    Ok(match &condition.0 {
        Kind::AllOf(conditions) => Test::AllOf(group("all_of", conditions)?),
        Kind::AnyOf(conditions) => Test::AnyOf(group("any_of", conditions)?),
        Kind::Not(condition) => {
            let test = compile(condition, depth + 1).map_err(|error| at("not", error))?;
            Test::Not(Box::new(test))
        }
        _ => Test::Leaf(compile_leaf(condition)?),
    })
}

fn compile_leaf(condition: &Condition) -> Result<Leaf, ConfigError> {
    Ok(match &condition.0 {
        // Groups have no leaf of their own; they are compiled above.
        Kind::Any | Kind::AllOf(_) | Kind::AnyOf(_) | Kind::Not(_) => Leaf::Any,
        Kind::Host(values) => Leaf::Host(texts(values, HOST_READING)?),
        Kind::Path(values) => Leaf::Path(texts(values, PATH_READING)?),
        Kind::Header { name, values } => {
            let name = field_name(name)?;
            let values = texts(values, HEADER_READING);
            let hide = |error: ConfigError| {
                // The value may be a secret.
                ConfigError::new(error.field().to_owned(), error.expected().to_owned())
            };
            let is_secret = is_secret_field(name.as_str());
            Leaf::Header {
                values: values.map_err(|error| if is_secret { hide(error) } else { error })?,
                name,
            }
        }
        Kind::Method(methods) => {
            not_empty("values", methods)?;
            Leaf::Method(each("values", methods, |method| {
                Method::from_bytes(method.as_bytes())
                    .map_err(|_| ConfigError::new("", "a method, a token").with_value(method))
            })?)
        }
        Kind::Query(values) => {
            not_empty("values", values)?;
            Leaf::Query(each("values", values, parameter)?)
        }
        Kind::Source(networks) => {
            not_empty("values", networks)?;
            Leaf::Source(each("values", networks, |text| network(text))?)
        }
        Kind::Predicate(predicate) => Leaf::Predicate(predicate.clone()),
    })
}

fn field_name(name: &str) -> Result<HeaderName, ConfigError> {
    let invalid = |expected| ConfigError::new("name", expected).with_value(name);
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed.map_err(|_| invalid("the name of a header field"))?;
    // On HTTP/2 there may be no `Host`, and behind another target it is not the host.
    if parsed == HOST {
        return Err(invalid("another name; use a host condition"));
    }
    Ok(parsed)
}

fn parameter(pattern: &QueryPattern) -> Result<ParameterMatcher, ConfigError> {
    let key = pattern.key.as_ref().map(|key| TextMatcher::new(key, QUERY_READING));
    let key = key.transpose().map_err(|error| at("key", error))?;
    let value = TextMatcher::new(&pattern.value, QUERY_READING);
    Ok(ParameterMatcher { key, value: value.map_err(|error| at("value", error))? })
}

/// Parses a network, or an address as a network of its own.
fn network(text: &str) -> Result<IpNet, ConfigError> {
    let expected = "a network such as 10.0.0.0/8 or 2001:db8::/32, without bits behind its prefix";
    let invalid = || ConfigError::new("", expected).with_value(text);
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<std::net::IpAddr>().map_err(|_| invalid())?),
    };
    // The bits could be a mistake in the prefix.
    if network.trunc() == network { Ok(network) } else { Err(invalid()) }
}

fn texts(patterns: &[Pattern], reading: Reading) -> Result<Box<[TextMatcher]>, ConfigError> {
    not_empty("values", patterns)?;
    each("values", patterns, |pattern| TextMatcher::new(pattern, reading))
}

fn not_empty<T>(field: &'static str, values: &[T]) -> Result<(), ConfigError> {
    if values.is_empty() { Err(ConfigError::new(field, "at least one")) } else { Ok(()) }
}

/// Compiles each value, and names the position of an error.
fn each<T, C>(
    field: &str,
    values: &[T],
    compile: impl Fn(&T) -> Result<C, ConfigError>,
) -> Result<Box<[C]>, ConfigError> {
    let compiled = values.iter().enumerate().map(|(position, value)| {
        compile(value).map_err(|error| at(&format!("{field}[{position}]"), error))
    });
    compiled.collect()
}

/// Puts `outer` in front of the field of an error, which may be empty.
fn at(outer: &str, error: ConfigError) -> ConfigError {
    if !error.field().is_empty() {
        return error.within(outer);
    }
    let named = ConfigError::new(outer.to_owned(), error.expected().to_owned());
    match error.value() {
        Some(value) => named.with_value(value),
        None => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(conditions: &[Condition]) -> String {
        compile_conditions(conditions).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_path() {
        let valid = || Condition::host(["a.example"]);
        for (conditions, expected) in [
            (vec![], "`conditions`: expected at least one condition"),
            (
                vec![valid(), Condition::path([Pattern::from("/"), Pattern::regex("(")])],
                "`conditions[1].values[1]` is (: expected a regular expression",
            ),
            (
                vec![Condition::path(Vec::<String>::new())],
                "`conditions[0].values`: expected at least one",
            ),
            (
                vec![valid().or(!Condition::source(["10.0.0.1/8"]))],
                "`conditions[0].any_of[1].not.values[0]` is 10.0.0.1/8: expected a network",
            ),
            (vec![Condition::any_of([])], "`conditions[0].any_of`: expected at least one"),
            (vec![Condition::method(["GET "])], "`conditions[0].values[0]` is GET : expected a me"),
            (vec![Condition::header("a b", ["x"])], "`conditions[0].name` is a b: expected the na"),
            (vec![Condition::header("Host", ["x"])], "`conditions[0].name` is Host: expected anot"),
            (
                vec![Condition::query([(Pattern::regex("["), "b")])],
                "`conditions[0].values[0].key` is [: expected a regular expression",
            ),
            (
                vec![Condition::header("cookie", [Pattern::regex("secret(")])],
                "`conditions[0].values[0]`: expected a regular expression",
            ),
        ] {
            let error = error(&conditions);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn conditions_have_a_depth() {
        let nested = |depth| (0..depth).fold(Condition::any(), |inner, _| !inner);
        assert!(compile_conditions(&[nested(MAX_DEPTH)]).is_ok());
        assert!(error(&[nested(MAX_DEPTH + 1)]).contains("at most 32 deep"));
        assert!(compile_conditions(&[nested(10_000)]).is_err());
    }
}
