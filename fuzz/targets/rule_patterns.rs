//! The patterns of rules, compared with a matcher that tries everything.

#![no_main]

use http::{HeaderValue, Request, request::Parts};
use libfuzzer_sys::{arbitrary::Arbitrary, fuzz_target};
use tower_lb::rules::{Condition, Pattern, Rule, Rules};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    first: &'a str,
    second: &'a str,
    text: &'a [u8],
    is_regex: bool,
}

fuzz_target!(|input: Input<'_>| {
    let Input { first, second, text, is_regex } = input;
    if let Ok(value) = HeaderValue::from_bytes(text) {
        if is_regex {
            // Checks only that the pattern is refused, or that matching ends.
            matches(Condition::header("x-text", [Pattern::regex(first)]), &of_field(value));
        } else {
            field(first, second, value);
        }
    }
    if let Some(head) = of_path(text) {
        let path = head.uri.path().as_bytes();
        let matched = matches(Condition::path([first]), &head);
        assert!(matched.is_none_or(|matched| matched == is_match(first.as_bytes(), path)));
        let matched = matches(Condition::path([Pattern::literal(first)]), &head);
        assert!(matched.is_none_or(|matched| matched == (first.as_bytes() == path)));
    }
});

fn of_field(value: HeaderValue) -> Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.headers.insert("x-text", value);
    head
}

fn of_path(text: &[u8]) -> Option<Parts> {
    let uri = text.try_into().ok()?;
    let (mut head, ()) = Request::new(()).into_parts();
    head.uri = uri;
    head.uri.path().starts_with('/').then_some(head)
}

/// Returns whether a request meets a condition; `None` if the condition is refused.
fn matches(condition: Condition, head: &Parts) -> Option<bool> {
    let rules = Rules::builder(()).rule(Rule::new(1, ()).name("rule").when(condition));
    let explanation = rules.build().ok()?.explain(head);
    let _ = explanation.to_string();
    Some(explanation.priority == Some(1))
}

/// Fields are compared whatever their case. A rule that is reported as one that no request matches
/// matches none that the rule before it does not match.
fn field(first: &str, second: &str, value: HeaderValue) {
    let text = value.as_bytes().to_ascii_lowercase();
    let expected = |pattern: &str| is_match(pattern.to_ascii_lowercase().as_bytes(), &text);
    let head = of_field(value);
    let condition = |pattern: &str| Condition::header("x-text", [pattern]);
    for pattern in [first, second] {
        let matched = matches(condition(pattern), &head);
        assert!(matched.is_none_or(|matched| matched == expected(pattern)), "{pattern:?}");
    }
    let builder = Rules::builder(())
        .rule(Rule::new(1, ()).when(condition(first)))
        .rule(Rule::new(2, ()).when(condition(second)));
    let Ok(rules) = builder.build() else { return };
    if rules.warnings().iter().any(|warning| warning.priority == 2) {
        assert!(expected(first) || !expected(second), "{first:?} does not cover {second:?}");
        // Texts that the second pattern matches.
        for (many, one) in [("", "a"), ("z", "b"), ("ab", "?")] {
            let text = second.to_ascii_lowercase().replace('?', one).replace('*', many);
            let is_covered = is_match(first.to_ascii_lowercase().as_bytes(), text.as_bytes());
            assert!(is_covered, "{first:?} does not cover {second:?}: {text:?}");
        }
    }
}

/// Returns whether a pattern with `*` and `?` matches, by a table of all parts of both.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for &unit in pattern {
        let above = row.clone();
        row[0] = above[0] && unit == b'*';
        for at in 1..row.len() {
            row[at] = match unit {
                b'*' => above[at] || row[at - 1],
                b'?' => above[at - 1],
                byte => above[at - 1] && byte == text[at - 1],
            };
        }
    }
    row[text.len()]
}
