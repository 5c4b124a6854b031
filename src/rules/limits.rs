use super::{
    Action, Condition, Pattern, Rule,
    condition::{Kind, Syntax},
};
use crate::ConfigError;

/// What rules and actions may be at most. The default has no limits.
///
/// [`Limits::alb`] has those of an Application Load Balancer, so that what is built here can also
/// run there.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    rules: Option<usize>,
    values: Option<usize>,
    wildcards: Option<usize>,
    pattern_chars: Option<usize>,
    rewrite_chars: Option<usize>,
    shapes: Shapes,
}

/// Which conditions and actions there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shapes {
    #[default]
    All,
    /// Those that an Application Load Balancer can express.
    Alb,
}

/// The longest name of a header field in a condition of an Application Load Balancer, and the
/// longest method.
const ALB_NAME_CHARS: usize = 40;
const ALB_BODY_BYTES: usize = 1024;
const ALB_REDIRECT_CHARS: usize = 128;
const ALB_CONTENT_TYPES: [&str; 5] =
    ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

impl Limits {
    /// The quotas and the syntax of an Application Load Balancer, at their default values: 100
    /// rules; for each rule 5 values, 6 wildcards, and at most one condition each of host, path,
    /// method and source address; patterns of 128 characters, rewrites of 1024. Combinations and
    /// closures are refused, and so are the values that its interface refuses.
    #[must_use]
    pub fn alb() -> Self {
        Self {
            rules: Some(100),
            values: Some(5),
            wildcards: Some(6),
            pattern_chars: Some(128),
            rewrite_chars: Some(1024),
            shapes: Shapes::Alb,
        }
    }

    setters! {
        /// Limits the number of rules, without the default rule.
        pub fn rules(rules: usize) => rules = Some(rules);
        /// Limits the values in the conditions of a rule.
        pub fn values_per_rule(values: usize) => values = Some(values);
        /// Limits the wildcards in the conditions of a rule.
        pub fn wildcards_per_rule(wildcards: usize) => wildcards = Some(wildcards);
        /// Limits the length of a pattern, in characters.
        pub fn pattern_chars(chars: usize) => pattern_chars = Some(chars);
        /// Limits the length of the expression and of the replacement of a rewrite, in characters.
        pub fn rewrite_chars(chars: usize) => rewrite_chars = Some(chars);
    }

    /// Checks an action.
    ///
    /// # Errors
    ///
    /// If the action has a status, a content type or a length that the limits exclude.
    pub fn check_action<S>(&self, action: &Action<S>) -> Result<(), ConfigError> {
        if self.shapes == Shapes::All {
            return Ok(());
        }
        match action {
            Action::Forward(_) => Ok(()),
            Action::Redirect(redirect) => {
                let status = redirect.status().as_u16();
                ConfigError::unless(matches!(status, 301 | 302), "status", status, "301 or 302")?;
                for (field, text) in redirect.texts() {
                    let chars = text.chars().count();
                    if chars > ALB_REDIRECT_CHARS {
                        let expected = format!("at most {ALB_REDIRECT_CHARS} characters");
                        return Err(ConfigError::new(field, expected).with_value(text));
                    }
                }
                Ok(())
            }
            Action::FixedResponse(response) => {
                let (bytes, content_type) = (response.body().len(), response.content_type());
                ConfigError::unless(bytes <= ALB_BODY_BYTES, "body", bytes, "at most 1024 bytes")?;
                let is_known = content_type.is_none_or(|own| {
                    // An Application Load Balancer knows types, without parameters.
                    ALB_CONTENT_TYPES.iter().any(|known| own.as_bytes() == known.as_bytes())
                });
                let shown = format!("{content_type:?}");
                let expected = "text/plain, text/css, text/html, application/javascript or \
                                application/json";
                ConfigError::unless(is_known, "content_type", shown, expected)
            }
        }
    }

    /// Checks rules. The field of an error is a path, such as `rules[3].conditions[0].values[1]`.
    pub(super) fn check<S>(&self, rules: &[Rule<S>]) -> Result<(), ConfigError> {
        within(self.rules, "rules", rules.len(), "rules")?;
        for (position, rule) in rules.iter().enumerate() {
            self.check_rule(rule).map_err(|error| error.within(&format!("rules[{position}]")))?;
        }
        Ok(())
    }

    fn check_rule<S>(&self, rule: &Rule<S>) -> Result<(), ConfigError> {
        let conditions = &rule.conditions;
        let values = conditions.iter().map(values).sum();
        within(self.values, "conditions", values, "values in a rule")?;
        let wildcards = conditions.iter().map(|one| sum_of_patterns(one, wildcards)).sum();
        within(self.wildcards, "conditions", wildcards, "wildcards in a rule")?;
        if let Some(limit) = self.pattern_chars {
            for (number, condition) in conditions.iter().enumerate() {
                let is_long = |pattern: &Pattern| usize::from(pattern.text.chars().count() > limit);
                if sum_of_patterns(condition, is_long) > 0 {
                    let expected = format!("patterns of at most {limit} characters");
                    return Err(ConfigError::new(format!("conditions[{number}]"), expected));
                }
            }
        }
        let rewrites = [("host_rewrite", &rule.host_rewrite), ("url_rewrite", &rule.url_rewrite)];
        for (field, rewrite) in rewrites {
            let Some(rewrite) = rewrite else { continue };
            let chars = rewrite.regex.chars().count().max(rewrite.replacement.chars().count());
            within(self.rewrite_chars, field, chars, "characters")?;
        }
        if self.shapes == Shapes::Alb { check_shapes(conditions) } else { Ok(()) }
    }
}

fn within(
    limit: Option<usize>,
    field: &'static str,
    count: usize,
    what: &str,
) -> Result<(), ConfigError> {
    match limit {
        Some(limit) if count > limit => {
            let expected = format!("at most {limit} {what}");
            Err(ConfigError::new(field, expected).with_value(count))
        }
        _ => Ok(()),
    }
}

fn values(condition: &Condition) -> usize {
    match &condition.0 {
        Kind::Any | Kind::Predicate(_) => 0,
        Kind::Host(values) | Kind::Path(values) | Kind::Header { values, .. } => values.len(),
        Kind::Method(values) | Kind::Source(values) => values.len(),
        Kind::Query(values) => values.len(),
        Kind::AllOf(conditions) | Kind::AnyOf(conditions) => conditions.iter().map(values).sum(),
        Kind::Not(condition) => values(condition),
    }
}

fn sum_of_patterns(condition: &Condition, figure: impl Fn(&Pattern) -> usize + Copy) -> usize {
    match &condition.0 {
        Kind::Host(values) | Kind::Path(values) | Kind::Header { values, .. } => {
            values.iter().map(figure).sum()
        }
        Kind::Query(values) => {
            values.iter().map(|one| one.key.as_ref().map_or(0, figure) + figure(&one.value)).sum()
        }
        Kind::AllOf(conditions) | Kind::AnyOf(conditions) => {
            conditions.iter().map(|condition| sum_of_patterns(condition, figure)).sum()
        }
        Kind::Not(condition) => sum_of_patterns(condition, figure),
        Kind::Any | Kind::Method(_) | Kind::Source(_) | Kind::Predicate(_) => 0,
    }
}

fn wildcards(pattern: &Pattern) -> usize {
    let is_wildcard = |byte: &u8| matches!(byte, b'*' | b'?');
    match pattern.syntax {
        Syntax::Wildcards => pattern.text.bytes().filter(is_wildcard).count(),
        Syntax::Literal | Syntax::Regex => 0,
    }
}

/// Checks what only the interface of an Application Load Balancer refuses.
fn check_shapes(conditions: &[Condition]) -> Result<(), ConfigError> {
    let mut seen = [false; 4];
    for (number, condition) in conditions.iter().enumerate() {
        let invalid = |field: &str, expected: &'static str| {
            ConfigError::new(format!("conditions[{number}]{field}"), expected)
        };
        let once = match &condition.0 {
            Kind::Host(_) => Some(0),
            Kind::Path(_) => Some(1),
            Kind::Method(_) => Some(2),
            Kind::Source(_) => Some(3),
            Kind::Header { .. } | Kind::Query(_) => None,
            _ => return Err(invalid("", "no combination and no closure")),
        };
        if once.is_some_and(|kind| std::mem::replace(&mut seen[kind], true)) {
            return Err(invalid("", "one condition each of host, path, method and source"));
        }
        match &condition.0 {
            Kind::Header { name, .. } if name.len() > ALB_NAME_CHARS => {
                return Err(invalid(".name", "at most 40 characters").with_value(name));
            }
            Kind::Header { .. } | Kind::Query(_) => {}
            Kind::Host(values) => {
                check_values(
                    number,
                    values,
                    is_alb_host,
                    "a name with a dot, and only letters behind the last",
                )?;
            }
            Kind::Path(values) => {
                check_values(number, values, is_alb_path, "a path without % and spaces")?;
            }
            Kind::Method(methods) => {
                let expected = "at most 40 characters of A-Z, - and _";
                check_values(number, methods, |method| is_alb_method(method), expected)?;
            }
            Kind::Source(networks) => {
                let is_valid = |network: &String| !network.starts_with("255.255.255.255");
                check_values(number, networks, is_valid, "another address")?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_values<T: std::fmt::Display>(
    condition: usize,
    values: &[T],
    is_valid: impl Fn(&T) -> bool,
    expected: &'static str,
) -> Result<(), ConfigError> {
    match values.iter().position(|value| !is_valid(value)) {
        None => Ok(()),
        Some(position) => {
            let field = format!("conditions[{condition}].values[{position}]");
            Err(ConfigError::new(field, expected).with_value(&values[position]))
        }
    }
}

fn is_alb_host(pattern: &Pattern) -> bool {
    if pattern.syntax == Syntax::Regex {
        return true;
    }
    let Some((_, end)) = pattern.text.rsplit_once('.') else { return false };
    let is_host_char = |char: char| char.is_ascii_alphanumeric() || "-.*?_".contains(char);
    let is_end_char = |char: char| char.is_ascii_alphabetic() || "*?".contains(char);
    pattern.text.chars().all(is_host_char) && !end.is_empty() && end.chars().all(is_end_char)
}

fn is_alb_path(pattern: &Pattern) -> bool {
    pattern.syntax == Syntax::Regex
        || pattern.text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%')
}

fn is_alb_method(method: &str) -> bool {
    let is_method_byte = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    method.len() <= ALB_NAME_CHARS && method.bytes().all(is_method_byte)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::rules::{FixedResponse, Forward, Redirect, Rules};

    fn error(rule: Rule<()>) -> String {
        Rules::builder(()).rule(rule).limits(Limits::alb()).build().unwrap_err().to_string()
    }

    #[test]
    fn an_alb_has_fewer_actions() {
        let field = |action: Action<()>| {
            assert!(Limits::default().check_action(&action).is_ok());
            Limits::alb().check_action(&action).err().map(|error| error.field().to_owned())
        };
        let redirect = |code, path: String| {
            let status = StatusCode::from_u16(code).unwrap();
            Action::from(Redirect::builder(status).path(path).build().unwrap())
        };
        let fixed = |content_type: &str, bytes| {
            let builder = FixedResponse::builder(StatusCode::OK).content_type(content_type);
            Action::from(builder.body(vec![b'x'; bytes]).build().unwrap())
        };
        assert_eq!(field(redirect(302, "/x".into())), None);
        assert_eq!(field(redirect(308, "/x".into())).as_deref(), Some("status"));
        assert_eq!(field(redirect(301, format!("/{}", "x".repeat(128)))).as_deref(), Some("path"));
        assert_eq!(field(fixed("text/html", 1024)), None);
        assert_eq!(field(fixed("text/html", 1025)).as_deref(), Some("body"));
        assert_eq!(field(fixed("image/png", 1)).as_deref(), Some("content_type"));
        assert_eq!(field(Forward::to(()).into()), None);
    }

    #[test]
    fn an_alb_has_quotas() {
        let rule = || Rule::new(1, ());
        let valid = rule()
            .when(Condition::host(["*.example.com", "a.example"]))
            .when(Condition::path(["/a/*", Pattern::regex("^/b").text.as_str()]))
            .when(Condition::header("x-a", ["*b*"]));
        assert!(Rules::builder(()).rule(valid).limits(Limits::alb()).build().is_ok());
        let with = |condition| error(rule().when(condition));
        for (error, expected) in [
            (with(Condition::path(["/"; 6])), "`rules[0].conditions` is 6: expected at most 5 val"),
            (with(Condition::path(["/*******"])), "`rules[0].conditions` is 7: expected at most 6"),
            (with(Condition::path(["/".repeat(129)])), "`rules[0].conditions[0]`: expected patte"),
            (with(Condition::path(["/%20"])), "`rules[0].conditions[0].values[0]` is /%20: expec"),
            (with(Condition::host(["localhost"])), "`rules[0].conditions[0].values[0]` is localho"),
            (with(Condition::host(["a.b1"])), "`rules[0].conditions[0].values[0]` is a.b1: expect"),
            (with(Condition::method(["get"])), "`rules[0].conditions[0].values[0]` is get: expect"),
            (with(Condition::any()), "`rules[0].conditions[0]`: expected no combination"),
            (with(!Condition::path(["/"])), "`rules[0].conditions[0]`: expected no combination"),
            (with(Condition::header("x".repeat(41), ["a"])), "`rules[0].conditions[0].name` is x"),
            (
                with(Condition::source(["255.255.255.255/32"])),
                "`rules[0].conditions[0].values[0]` is 255.255.255.255/32: expected another",
            ),
            (
                error(rule().when(Condition::path(["/a"])).when(Condition::path(["/b"]))),
                "`rules[0].conditions[1]`: expected one condition each",
            ),
            (
                error(rule().when(Condition::path(["/a"])).rewrite_url("a".repeat(1025), "")),
                "`rules[0].url_rewrite` is 1025: expected at most 1024 characters",
            ),
        ] {
            assert!(error.starts_with(expected), "{error}");
        }
        let rules = (1..=101).map(|priority| Rule::new(priority, ()).when(Condition::path(["/"])));
        let error = Rules::builder(()).rules(rules).limits(Limits::alb()).build().unwrap_err();
        assert_eq!(error.to_string(), "`rules` is 101: expected at most 100 rules");
    }
}
