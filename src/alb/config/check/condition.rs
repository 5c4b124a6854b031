use ipnet::IpNet;

use super::at::At;
use crate::alb::config::{Condition, HeaderCondition, Patterns, QueryPattern};

/// The largest compiled regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;
/// The ALB's quota of wildcards in a rule.
const MAX_WILDCARDS: usize = 5;
/// The longest value that the ALB accepts, in characters.
const MAX_VALUE_CHARS: usize = 128;

pub(super) fn check_all(conditions: &[Condition], max_values: usize, at: &mut At<'_>) {
    if conditions.is_empty() {
        at.note("the rule has no condition, so that it matches each request");
    }
    for (index, condition) in conditions.iter().enumerate() {
        let kind = condition.kind();
        let mut at = at.item(index);
        let mut at = at.at(kind);
        let is_single = !matches!(condition, Condition::Header(_) | Condition::Query(_));
        if is_single && conditions[..index].iter().any(|other| other.kind() == kind) {
            at.missing("at most one condition of this kind in a rule");
        }
        check(condition, &mut at);
    }
    let values: usize = conditions.iter().map(count).sum();
    if values > max_values {
        at.note(format!("the rule has {values} values; the ALB's quota is {max_values}"));
    }
    let wildcards: usize = conditions.iter().map(wildcards).sum();
    if wildcards > MAX_WILDCARDS {
        at.note(format!("the rule has {wildcards} wildcards; the ALB's quota is {MAX_WILDCARDS}"));
    }
}

fn count(condition: &Condition) -> usize {
    match condition {
        Condition::Host(patterns) | Condition::Path(patterns) => patterns.len(),
        Condition::Header(header) => header.value.len(),
        Condition::Query(pairs) => pairs.len(),
        Condition::Method(values) | Condition::SourceIp(values) => values.len(),
    }
}

fn wildcards(condition: &Condition) -> usize {
    let count = |text: &String| text.chars().filter(|char| matches!(char, '*' | '?')).count();
    match condition {
        Condition::Host(patterns)
        | Condition::Path(patterns)
        | Condition::Header(HeaderCondition { value: patterns, .. }) => {
            patterns.values.iter().map(count).sum()
        }
        Condition::Query(pairs) => {
            pairs.iter().flat_map(|pair| pair.key.iter().chain([&pair.value])).map(count).sum()
        }
        Condition::Method(_) | Condition::SourceIp(_) => 0,
    }
}

fn check(condition: &Condition, at: &mut At<'_>) {
    if count(condition) == 0 {
        at.missing("at least one value");
    }
    match condition {
        Condition::Host(patterns) => {
            check_patterns(patterns, at);
            for (index, value) in patterns.values.iter().enumerate() {
                host(value, &mut at.item(index));
            }
        }
        Condition::Path(patterns) => {
            check_patterns(patterns, at);
            for (index, value) in patterns.values.iter().enumerate() {
                path(value, &mut at.item(index));
            }
        }
        Condition::Header(header) => {
            header_name(&header.name, &mut at.at("name"));
            check_patterns(&header.value, &mut at.at("value"));
        }
        Condition::Query(pairs) => {
            for (index, QueryPattern { key, value }) in pairs.iter().enumerate() {
                let mut at = at.item(index);
                text(value, &mut at.at("value"));
                key.iter().for_each(|key| text(key, &mut at.at("key")));
            }
        }
        Condition::Method(methods) => {
            for (index, method) in methods.iter().enumerate() {
                check_method(method, &mut at.item(index));
            }
        }
        Condition::SourceIp(networks) => {
            for (index, network) in networks.iter().enumerate() {
                source(network, &mut at.item(index));
            }
        }
    }
}

fn check_patterns(patterns: &Patterns, at: &mut At<'_>) {
    for (index, value) in patterns.values.iter().enumerate() {
        text(value, &mut at.item(index));
    }
    for (index, expression) in patterns.regex.iter().enumerate() {
        let mut at = at.at("regex");
        let mut at = at.item(index);
        at.at_most_chars(expression, MAX_VALUE_CHARS);
        regex(expression, &mut at);
    }
}

/// Reports an expression that the crate `regex` does not accept, and returns its number of groups.
pub(super) fn regex(expression: &str, at: &mut At<'_>) -> Option<usize> {
    let compiled = regex::RegexBuilder::new(expression).size_limit(MAX_REGEX_BYTES).build();
    let error = match compiled {
        Ok(compiled) => return Some(compiled.captures_len()),
        Err(regex::Error::CompiledTooBig(_)) => "it is too large".to_owned(),
        // The message draws the expression over several lines; the last one has the reason.
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
        }
    };
    at.invalid(
        format_args!("{expression:?}"),
        format!("a regular expression without look-around and backreferences: {error}"),
    );
    None
}

fn text(value: &str, at: &mut At<'_>) {
    at.at_most_chars(value, MAX_VALUE_CHARS);
    at.no_control(value);
}

fn host(value: &str, at: &mut At<'_>) {
    let is_valid = |char: char| char.is_ascii_alphanumeric() || "-.*?".contains(char);
    if value.is_empty() || !value.chars().all(is_valid) {
        at.invalid(format_args!("{value:?}"), "letters, digits, `-`, `.`, `*` and `?`");
        return;
    }
    let Some((_, last)) = value.rsplit_once('.') else {
        at.beyond(format_args!("{value:?}"), "a host with at least one `.`");
        return;
    };
    if !last.chars().all(|char| char.is_ascii_alphabetic() || "*?".contains(char)) {
        at.beyond(format_args!("{value:?}"), "only letters after the last `.`");
    }
}

fn path(value: &str, at: &mut At<'_>) {
    // The characters that the ALB lists; `%` is not among them.
    let is_valid = |char: char| {
        char.is_ascii_alphanumeric() || "_-.$/~\"'@:+&*?!(),;=[]|\\{}^`<>#".contains(char)
    };
    if value.is_empty() {
        at.invalid("\"\"", "a path, such as /api/*");
    } else if value.contains('%') {
        let expected = "a path without `%`, because paths are compared as they are sent";
        at.beyond(format_args!("{value:?}"), expected);
    } else if !value.chars().all(is_valid) && !value.chars().any(char::is_control) {
        let expected = "a path of ASCII characters without spaces";
        at.beyond(format_args!("{value:?}"), expected);
    }
    if !value.starts_with(['/', '*', '?']) && !value.is_empty() {
        at.note("a path begins with `/`, so that no request matches this value");
    }
}

fn header_name(name: &str, at: &mut At<'_>) {
    if name.eq_ignore_ascii_case("host") {
        at.invalid(name, "another field: the host has a condition of its own, `host`");
    } else if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        at.invalid(format_args!("{name:?}"), "the name of a header field, without wildcards");
    }
    at.at_most_chars(name, 40);
}

fn check_method(method: &str, at: &mut At<'_>) {
    if http::Method::from_bytes(method.as_bytes()).is_err() {
        at.invalid(format_args!("{method:?}"), "the name of a method, without wildcards");
    } else if !method.chars().all(|char| char.is_ascii_uppercase() || "-_".contains(char)) {
        at.beyond(format_args!("{method:?}"), "upper case letters, `-` and `_`");
    }
    at.at_most_chars(method, 40);
}

fn source(network: &str, at: &mut At<'_>) {
    if network == "255.255.255.255/32" {
        at.beyond(network, "another network than that of the broadcast address");
    } else if network.parse::<IpNet>().is_err() {
        at.invalid(format_args!("{network:?}"), "a network, such as 10.0.0.0/8 or 2001:db8::/32");
    }
}
