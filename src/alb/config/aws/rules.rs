use super::{
    actions::{self, Step},
    document::{Documents, Read},
    import::Findings,
    shapes::{Action, PatternConfig, Rule, RuleCondition, RuleTransform},
};
use crate::alb::config::{
    self, Authenticate, Condition, HeaderCondition, Patterns, Problem, QueryPattern, Rewrite,
    Transforms,
};

/// Adds the rules to their listeners.
pub(super) fn add(
    documents: &Documents,
    mut listeners: Vec<config::Listener>,
    findings: &mut Findings,
) -> Vec<config::Listener> {
    let arns = documents.listeners.iter().map(|read| read.shape.listener_arn.as_deref());
    let other_arns: Vec<_> = arns.flatten().collect();
    let mut defaults = vec![0_usize; listeners.len()];
    for list in &documents.rules {
        for read in &list.items {
            let rule_arn = read.shape.rule_arn.as_deref();
            let arn = list.resource.clone().or_else(|| rule_arn.and_then(listener_of));
            let arn = arn.as_deref();
            let index =
                listeners.iter().position(|it| it.arn.is_some() && it.arn.as_deref() == arn);
            let Some(index) = index else {
                // A rule of a listener of another load balancer is left out.
                if arn.is_none_or(|arn| !other_arns.contains(&arn)) {
                    let value = rule_arn.unwrap_or("absent");
                    let expected = "the ARN of a rule whose listener is in the files";
                    findings.invalid(read.at("RuleArn"), value, expected);
                }
                continue;
            };
            if is_default(&read.shape) {
                defaults[index] += 1;
                if defaults[index] > 1 {
                    let expected = "one default rule for each listener";
                    findings.problems.push(Problem::invalid(read.at("IsDefault"), expected));
                }
                set_default(&mut listeners[index], read, findings);
            } else if let Some(rule) = translate_rule(read, findings) {
                listeners[index].rules.push(rule);
            }
        }
    }
    for (listener, defaults) in listeners.iter_mut().zip(defaults) {
        listener.rules.sort_by_key(|rule| rule.priority);
        if defaults == 0 {
            let why = "the files have no output of `describe-rules` for this listener: it always \
                       prints the default rule";
            let path = format!("listeners.{}.rules", listener.port);
            findings.leftovers.unsupported(path, None, why);
        }
    }
    listeners
}

/// Returns the ARN of the listener from that of a rule.
fn listener_of(rule: &str) -> Option<String> {
    let (listener, _) = rule.rsplit_once('/')?;
    Some(listener.replacen(":listener-rule/", ":listener/", 1))
}

fn is_default(rule: &Rule) -> bool {
    rule.is_default == Some(true) || rule.priority.as_deref() == Some("default")
}

/// Uses the default rule, which repeats the listener's actions.
fn set_default(listener: &mut config::Listener, read: &Read<Rule>, findings: &mut Findings) {
    findings.leftovers.of(read);
    let shape = &read.shape;
    if shape.conditions.as_ref().is_some_and(|conditions| !conditions.is_empty()) {
        let expected = "no condition of a default rule";
        findings.problems.push(Problem::invalid(read.at("Conditions"), expected));
    }
    if shape.transforms.as_ref().is_some_and(|transforms| !transforms.is_empty()) {
        let why = "a default rule has no transforms here: add a rule without conditions";
        findings.leftovers.unsupported(read.at("Transforms"), None, why);
    }
    let default = shape.actions.as_deref().unwrap_or_default();
    let Some(actions) = actions(default, &read.at("Actions"), findings) else { return };
    (listener.default_authenticate, listener.default_action) = actions;
}

fn translate_rule(read: &Read<Rule>, findings: &mut Findings) -> Option<config::Rule> {
    findings.leftovers.of(read);
    let shape = &read.shape;
    let priority = shape.priority.as_deref().unwrap_or("absent");
    let Ok(number) = priority.parse::<u32>() else {
        findings.invalid(read.at("Priority"), priority, "a number from 1 to 50000, or default");
        return None;
    };
    // A rule without one of its conditions would match more requests, so a condition that cannot be
    // translated is a problem and not a leftover.
    let conditions = shape.conditions.iter().flatten().enumerate();
    let conditions: Vec<_> = conditions
        .map(|(index, it)| condition(it, &read.at(&format!("Conditions[{index}]")), findings))
        .collect();
    let transforms = transforms(read, findings);
    let default = shape.actions.as_deref().unwrap_or_default();
    let (authenticate, action) = actions(default, &read.at("Actions"), findings)?;
    Some(config::Rule {
        arn: shape.rule_arn.clone(),
        priority: Some(number),
        transforms,
        authenticate,
        ..config::Rule::new(conditions.into_iter().collect::<Option<Vec<_>>>()?, action)
    })
}

fn condition(shape: &RuleCondition, path: &str, findings: &mut Findings) -> Option<Condition> {
    let field = shape.field.as_deref().unwrap_or("absent");
    // Each kind of condition has a table of its own; another one would be ignored.
    let tables = [
        ("host-header", "HostHeaderConfig", shape.host_header_config.is_some()),
        ("path-pattern", "PathPatternConfig", shape.path_pattern_config.is_some()),
        ("http-header", "HttpHeaderConfig", shape.http_header_config.is_some()),
        ("query-string", "QueryStringConfig", shape.query_string_config.is_some()),
        (
            "http-request-method",
            "HttpRequestMethodConfig",
            shape.http_request_method_config.is_some(),
        ),
        ("source-ip", "SourceIpConfig", shape.source_ip_config.is_some()),
    ];
    findings.foreign_members(field, &tables, "a condition", path);
    let is_present =
        |values: &Option<Vec<String>>| values.as_ref().is_some_and(|it| !it.is_empty());
    let has_regex = ["host-header", "path-pattern", "http-header"].contains(&field);
    for (member, is_read, is_present) in [
        ("Values", field != "query-string", is_present(&shape.values)),
        ("RegexValues", has_regex, is_present(&shape.regex_values)),
    ] {
        if is_present && !is_read {
            let expected = format!("no such member in a condition {field}");
            findings.problems.push(Problem::invalid(format!("{path}.{member}"), expected));
        }
    }
    Some(match field {
        "host-header" => Condition::Host(patterns(shape, shape.host_header_config.as_ref())),
        "path-pattern" => Condition::Path(patterns(shape, shape.path_pattern_config.as_ref())),
        "http-header" => {
            let config = shape.http_header_config.clone().unwrap_or_default();
            let own = PatternConfig { values: config.values, regex_values: config.regex_values };
            let name = config.http_header_name.unwrap_or_default();
            Condition::Header(HeaderCondition { name, value: patterns(shape, Some(&own)) })
        }
        "query-string" => {
            let config = shape.query_string_config.as_ref();
            let pairs = config.and_then(|config| config.values.as_ref()).into_iter().flatten();
            let pairs = pairs.map(|pair| QueryPattern {
                key: pair.key.clone(),
                value: pair.value.clone().unwrap_or_default(),
            });
            Condition::Query(pairs.collect())
        }
        "http-request-method" => {
            let config = shape.http_request_method_config.as_ref();
            Condition::Method(values(shape, config.and_then(|config| config.values.as_ref())))
        }
        "source-ip" => {
            let config = shape.source_ip_config.as_ref();
            Condition::SourceIp(values(shape, config.and_then(|config| config.values.as_ref())))
        }
        _ => {
            let expected = "host-header, path-pattern, http-header, query-string, \
                            http-request-method or source-ip";
            findings.invalid(format!("{path}.Field"), field, expected);
            return None;
        }
    })
}

/// Joins the values of a condition, which AWS prints at one place or at both.
fn values(shape: &RuleCondition, own: Option<&Vec<String>>) -> Vec<String> {
    join(shape.values.as_ref(), own)
}

fn patterns(shape: &RuleCondition, own: Option<&PatternConfig>) -> Patterns {
    Patterns {
        values: join(shape.values.as_ref(), own.and_then(|own| own.values.as_ref())),
        regex: join(shape.regex_values.as_ref(), own.and_then(|own| own.regex_values.as_ref())),
    }
}

fn join(outer: Option<&Vec<String>>, own: Option<&Vec<String>>) -> Vec<String> {
    let mut joined = own.cloned().unwrap_or_default();
    for value in outer.into_iter().flatten() {
        if !joined.contains(value) {
            joined.push(value.clone());
        }
    }
    joined
}

fn transforms(read: &Read<Rule>, findings: &mut Findings) -> Transforms {
    let mut transforms = Transforms::default();
    for (index, shape) in read.shape.transforms.iter().flatten().enumerate() {
        let path = read.at(&format!("Transforms[{index}]"));
        let RuleTransform { r#type, host_header_rewrite_config, url_rewrite_config } = shape;
        let tables = [
            (
                "host-header-rewrite",
                "HostHeaderRewriteConfig",
                host_header_rewrite_config.is_some(),
            ),
            ("url-rewrite", "UrlRewriteConfig", url_rewrite_config.is_some()),
        ];
        let kind = r#type.as_deref().unwrap_or("absent");
        findings.foreign_members(kind, &tables, "a transform", &path);
        let (place, config) = match r#type.as_deref() {
            Some("host-header-rewrite") => (&mut transforms.host, host_header_rewrite_config),
            Some("url-rewrite") => (&mut transforms.url, url_rewrite_config),
            other => {
                let value = other.unwrap_or("absent");
                findings.invalid(
                    format!("{path}.Type"),
                    value,
                    "host-header-rewrite or url-rewrite",
                );
                continue;
            }
        };
        let rewrites = config.as_ref().and_then(|config| config.rewrites.as_deref());
        match rewrites.unwrap_or_default() {
            [one] if place.is_none() => {
                *place = Some(Rewrite {
                    regex: one.regex.clone().unwrap_or_default(),
                    replace: one.replace.clone().unwrap_or_default(),
                });
            }
            rewrites => {
                let expected = "one transform of each type, with one rewrite";
                findings.invalid(path, format_args!("{} rewrites", rewrites.len()), expected);
            }
        }
    }
    transforms
}

/// Translates the actions of a rule: at most one that authenticates, and one that answers.
pub(super) fn actions(
    shapes: &[Action],
    path: &str,
    findings: &mut Findings,
) -> Option<(Option<Authenticate>, config::Action)> {
    let mut ordered: Vec<_> = shapes.iter().enumerate().collect();
    ordered.sort_by_key(|(index, shape)| (shape.order.unwrap_or(u32::MAX), *index));
    let (mut authenticate, mut action) = (None, None);
    let count = ordered.len();
    for (place, (index, shape)) in ordered.into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        let is_last = place + 1 == count;
        match actions::action(shape, &path, findings)? {
            Step::Authenticate(step) if !is_last && authenticate.is_none() => {
                authenticate = Some(step);
            }
            Step::Answer(step) if is_last => action = Some(step),
            Step::Authenticate(_) | Step::Answer(_) => {
                let kind = shape.r#type.as_deref().unwrap_or_default();
                let expected = "at most one action that authenticates, and then one that answers";
                findings.invalid(path, kind, expected);
                return None;
            }
        }
    }
    if action.is_none() {
        findings.problems.push(Problem::invalid(path, "an action that answers"));
    }
    Some((authenticate, action?))
}
