use super::at::At;
use crate::{
    ConfigError,
    alb::config::{Condition, HeaderCondition, Patterns, QueryPattern, parts},
    rules::Rule,
};

/// The ALB's quota of wildcards in a rule.
const MAX_WILDCARDS: usize = 5;
/// The longest value that the ALB accepts, in characters.
const MAX_VALUE_CHARS: usize = 128;
/// The longest name of a field and the longest method that the ALB accepts, in characters.
const MAX_NAME_CHARS: usize = 40;

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
            check_patterns(patterns, Condition::Host, at);
            each(&patterns.values, at, host);
        }
        Condition::Path(patterns) => {
            check_patterns(patterns, Condition::Path, at);
            each(&patterns.values, at, path);
        }
        Condition::Header(HeaderCondition { name, value }) => {
            let with = |value| Condition::Header(HeaderCondition { name: name.clone(), value });
            at.at("name").at_most_chars(name, MAX_NAME_CHARS);
            let name = compile(with(Patterns::values(["*"])));
            let is_name = name.is_ok();
            at.at("name").built_here(name);
            if is_name {
                check_patterns(value, with, &mut at.at("value"));
            }
        }
        Condition::Query(pairs) => {
            for (index, pair) in pairs.iter().enumerate() {
                let mut at = at.item(index);
                let QueryPattern { key, value } = pair;
                at.at("value").at_most_chars(value, MAX_VALUE_CHARS);
                key.iter().for_each(|key| at.at("key").at_most_chars(key, MAX_VALUE_CHARS));
                at.built_here(compile(Condition::Query(vec![pair.clone()])));
            }
        }
        Condition::Method(methods) => each(methods, at, |method, at| {
            let compiled = compile(Condition::Method(vec![method.to_owned()]));
            let is_upper = |char: char| char.is_ascii_uppercase() || "-_".contains(char);
            if compiled.is_ok() && !method.chars().all(is_upper) {
                at.beyond(format_args!("{method:?}"), "upper case letters, `-` and `_`");
            }
            at.built_here(compiled);
            at.at_most_chars(method, MAX_NAME_CHARS);
        }),
        Condition::SourceIp(networks) => each(networks, at, |network, at| {
            if network == "255.255.255.255/32" {
                at.beyond(network, "another network than that of the broadcast address");
            } else if !network.contains('/') {
                at.beyond(
                    format_args!("{network:?}"),
                    "a network with its prefix, such as 10.0.0.1/32",
                );
            }
            at.built_here(compile(Condition::SourceIp(vec![network.to_owned()])));
        }),
    }
}

fn each(values: &[String], at: &mut At<'_>, check: impl Fn(&str, &mut At<'_>)) {
    for (index, value) in values.iter().enumerate() {
        check(value, &mut at.item(index));
    }
}

/// Checks each value, and compiles it in the condition that `with` makes of it.
fn check_patterns(patterns: &Patterns, with: impl Fn(Patterns) -> Condition, at: &mut At<'_>) {
    each(&patterns.values, at, |value, at| {
        at.at_most_chars(value, MAX_VALUE_CHARS);
        at.built_here(compile(with(Patterns::values([value]))));
    });
    each(&patterns.regex, &mut at.at("regex"), |expression, at| {
        at.at_most_chars(expression, MAX_VALUE_CHARS);
        at.built_here(compile(with(Patterns::regex([expression]))));
    });
}

/// Compiles a condition as the rules do.
fn compile(condition: Condition) -> Result<(), ConfigError> {
    Rule::new(1, ()).when(parts::condition(&condition)).check()
}

fn host(value: &str, at: &mut At<'_>) {
    let is_valid = |char: char| char.is_ascii_alphanumeric() || "-.*?".contains(char);
    let shown = format_args!("{value:?}");
    if value.is_empty() || !value.chars().all(is_valid) {
        at.invalid(shown, "letters, digits, `-`, `.`, `*` and `?`");
        return;
    }
    let Some((_, last)) = value.rsplit_once('.') else {
        at.beyond(shown, "a host with at least one `.`");
        return;
    };
    if !last.chars().all(|char| char.is_ascii_alphabetic() || "*?".contains(char)) {
        at.beyond(shown, "only letters after the last `.`");
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
    } else if !value.chars().all(is_valid) {
        let expected = "a path of ASCII characters without spaces";
        at.beyond(format_args!("{value:?}"), expected);
    }
    if !value.starts_with(['/', '*', '?']) && !value.is_empty() {
        at.note("a path begins with `/`, so that no request matches this value");
    }
}
