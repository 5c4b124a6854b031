use std::{cell::RefCell, time::Duration};

use super::authentication::{AuthLayers, authenticate};
use crate::{
    ConfigError,
    alb::{
        config::{self, Checked, Problem, parts},
        load_balancer::{
            login_router::LoginRouter, resources::Resources, rule_service::RuleService,
        },
    },
    http::sticky::{SameSite, Sessions},
    rules::{Action, Condition, Forward, Rule, Rules},
};

/// What the rules of a listener refer to.
pub(in crate::alb::load_balancer) struct RuleSources<'a, S> {
    pub(in crate::alb::load_balancer) config: &'a Checked,
    pub(in crate::alb::load_balancer) resources: &'a Resources,
    /// Returns the service of the target group with this name.
    pub(in crate::alb::load_balancer) group: &'a dyn Fn(&str) -> Option<S>,
    /// The layers that are made so far, and those of the configuration before.
    #[cfg_attr(
        not(any(feature = "jwt", feature = "oidc")),
        allow(dead_code, reason = "only authentication has layers")
    )]
    pub(in crate::alb::load_balancer) layers: &'a RefCell<AuthLayers>,
}

/// Makes the rules of a listener. Those that `present` has by the same name continue its counts.
pub(in crate::alb::load_balancer) fn assemble_rules<S: Clone>(
    listener: &config::Listener,
    sources: &RuleSources<'_, S>,
    present: Option<&LoginRouter<S>>,
    problems: &mut Vec<Problem>,
) -> Option<LoginRouter<S>> {
    let path = format!("listeners.{}", listener.port);
    let is_https = listener.protocol == config::ListenerProtocol::Https;
    let default = service(
        &listener.default_action,
        listener.default_authenticate.as_ref(),
        &path,
        ["default_action", "default_authenticate"],
        is_https,
        sources,
        problems,
    );
    let mut rules = Vec::new();
    let mut logins: Vec<_> =
        default.iter().filter(|service| service.has_login()).cloned().collect();
    for (priority, rule) in listener.rules_by_priority() {
        let path = format!("{path}.rules.{priority}");
        let fields = ["action", "authenticate"];
        let authentication = rule.authenticate.as_ref();
        let service =
            service(&rule.action, authentication, &path, fields, is_https, sources, problems);
        let Some(service) = service else { continue };
        if service.has_login() {
            logins.push(service.clone());
        }
        let mut made = Rule::new(priority, service);
        if let Some(name) = &rule.name {
            made = made.name(name.as_str());
        }
        // A rule without conditions is for all requests.
        if rule.conditions.is_empty() {
            made = made.when(Condition::any());
        }
        made = rule.conditions.iter().map(parts::condition).fold(made, Rule::when);
        if let Some(rewrite) = &rule.transforms.host {
            made = made.rewrite_host(&rewrite.regex, &rewrite.replace);
        }
        if let Some(rewrite) = &rule.transforms.url {
            made = made.rewrite_url(&rewrite.regex, &rewrite.replace);
        }
        rules.push(made);
    }
    let rules = Rules::builder(default?).name(listener.port.to_string()).rules(rules);
    let made = match present {
        Some(present) => present.rules().successor(rules),
        None => rules.build(),
    };
    match made {
        Ok(rules) => Some(LoginRouter::new(rules, logins)),
        Err(error) => {
            problems.push(Problem::from_config_error(&path, &error));
            None
        }
    }
}

/// Makes what a rule does: its action behind its authentication.
fn service<S: Clone>(
    action: &config::Action,
    authentication: Option<&config::Authenticate>,
    path: &str,
    [action_field, authentication_field]: [&str; 2],
    is_https: bool,
    sources: &RuleSources<'_, S>,
    problems: &mut Vec<Problem>,
) -> Option<RuleService<S>> {
    let made = match make_action(action, is_https, sources) {
        Ok(action) => Some(action),
        Err(error) => {
            problems.push(Problem::from_config_error(&format!("{path}.{action_field}"), &error));
            None
        }
    };
    let Some(authentication) = authentication else { return made.map(RuleService::Plain) };
    let path = format!("{path}.{authentication_field}");
    match authenticate(authentication, &path, sources) {
        Ok(layer) => Some(layer.wrap(made?)),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

fn make_action<S: Clone>(
    action: &config::Action,
    is_https: bool,
    sources: &RuleSources<'_, S>,
) -> Result<Action<S>, ConfigError> {
    Ok(match action {
        config::Action::Forward(forward) => make_forward(forward, is_https, sources)?.into(),
        config::Action::Redirect(redirect) => parts::redirect(redirect)?.into(),
        config::Action::FixedResponse(fixed) => parts::fixed_response(fixed)?.into(),
    })
}

fn make_forward<S: Clone>(
    forward: &config::Forward,
    is_https: bool,
    sources: &RuleSources<'_, S>,
) -> Result<Forward<S>, ConfigError> {
    let mut builder = Forward::builder();
    for weighted in &forward.groups {
        let name = sources.config.target_group(&weighted.group).map(|group| group.name.as_str());
        let group = name.and_then(|name| Some((name, (sources.group)(name)?)));
        let unknown =
            || ConfigError::new("groups", "the name of a target group").with_value(&weighted.group);
        let (name, service) = group.ok_or_else(unknown)?;
        builder = builder.group(name, weighted.weight, service);
    }
    if let Some(duration) = forward.stickiness {
        for sessions in group_sessions(duration.into(), is_https, sources.resources)? {
            builder = builder.sticky(sessions);
        }
    }
    builder.build()
}

/// The cookies that keep a client at one of several target groups. The second one is for requests
/// from other sites, to which browsers send secure cookies only.
fn group_sessions(
    lifetime: Duration,
    is_https: bool,
    resources: &Resources,
) -> Result<Vec<Sessions>, ConfigError> {
    let builder = |name: &str| {
        let builder = Sessions::builder(resources.keys.session.clone());
        builder.cookie(name).lifetime(lifetime).secure(is_https)
    };
    let own = builder("AWSALBTG").build()?;
    let cross_site = builder("AWSALBTGCORS").same_site(SameSite::None);
    Ok(if is_https { vec![own, cross_site.build()?] } else { vec![own] })
}
