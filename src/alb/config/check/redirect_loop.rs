//! Redirects that lead back to themselves.
//!
//! A client that follows a redirect sends another request, of which some parts are known: those
//! that the redirect writes, and those that stay the same. If the rule that handles each further
//! request is certain, and a rule comes again with the same known parts, the redirects never end.
//! What is not certain is not reported: another host may be that of another server.

use super::{
    at::At,
    glob::{self, Syntax},
};
use crate::alb::config::{
    Action, Condition, Config, Listener, ListenerProtocol, Patterns, Redirect, Rule,
};

/// The most redirects that are followed. Clients give up after about as many.
const MAX_REDIRECTS: usize = 20;

pub(super) fn check(config: &Config, at: &mut At<'_>) {
    let steps: Vec<_> = config.listeners.iter().map(steps_of).collect();
    for (index, listener) in config.listeners.iter().enumerate() {
        for (place, step) in steps[index].iter().enumerate() {
            let Action::Redirect(redirect) = step.action else { continue };
            let mut at = at.at(listener.port);
            let mut at = match step.priority {
                Some(priority) => at.at(format_args!("rules.{priority}.action.redirect")),
                None => at.at("default_action.redirect"),
            };
            let start = Position { listener: index, step: place };
            if (Walk { listeners: &config.listeners, steps: &steps, start }).never_ends() {
                let expected = "a target at which the redirects end: this one leads back here";
                at.missing(expected);
            }
            if changes_protocol(listener, redirect) && redirect.port.is_none() {
                let port = listener.port;
                at.at("port")
                    .note(format!("the port stays {port}: a change of protocol needs one"));
            }
        }
    }
}

fn changes_protocol(listener: &Listener, redirect: &Redirect) -> bool {
    let protocol = redirect.protocol.as_deref();
    protocol.is_some_and(|it| it != "#{protocol}" && it != listener.protocol.scheme())
}

/// A rule of a listener, or its default one.
struct Step<'a> {
    priority: Option<u32>,
    conditions: &'a [Condition],
    action: &'a Action,
    /// A client may not get to the action.
    authenticates: bool,
}

/// Returns the rules by priority, and the default one at the end.
fn steps_of(listener: &Listener) -> Vec<Step<'_>> {
    let rules = listener.rules_by_priority().into_iter();
    let rules = rules.map(|(priority, rule): (u32, &Rule)| Step {
        priority: Some(priority),
        conditions: &rule.conditions,
        action: &rule.action,
        authenticates: rule.authenticate.is_some(),
    });
    let default = Step {
        priority: None,
        conditions: &[],
        action: &listener.default_action,
        authenticates: listener.default_authenticate.is_some(),
    };
    rules.chain([default]).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Position {
    listener: usize,
    step: usize,
}

/// What is known about a part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// It is that of the first request.
    Same,
    Known(String),
    Unknown,
}

impl Part {
    /// Applies a template, in which `same` alone keeps the part.
    fn apply(&self, template: Option<&str>, same: &str) -> Self {
        match template {
            None => self.clone(),
            Some(template) if template == same => self.clone(),
            Some(template) if template.contains("#{") => Self::Unknown,
            Some(template) => Self::Known(template.to_owned()),
        }
    }
}

/// What is known about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    host: Part,
    path: Part,
    query: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Matches,
    Differs,
    Uncertain,
}

/// Follows the redirects from a rule on.
struct Walk<'a> {
    listeners: &'a [Listener],
    /// The rules of each listener.
    steps: &'a [Vec<Step<'a>>],
    start: Position,
}

impl Walk<'_> {
    /// Returns true if the redirects come back to the start again and again.
    fn never_ends(&self) -> bool {
        let first = Known { host: Part::Same, path: Part::Same, query: Part::Same };
        let mut seen = vec![(self.start, first)];
        while seen.len() <= MAX_REDIRECTS {
            let Some((position, known)) = seen.last() else { return false };
            let Some(next) = self.follow(*position, known) else { return false };
            if let Some(begin) = seen.iter().position(|earlier| *earlier == next) {
                return seen[begin..].iter().any(|(position, _)| *position == self.start);
            }
            seen.push(next);
        }
        false
    }

    /// Returns the rule that is certain to handle the request after a redirect.
    fn follow(&self, position: Position, known: &Known) -> Option<(Position, Known)> {
        let listener = &self.listeners[position.listener];
        let step = &self.steps[position.listener][position.step];
        let Action::Redirect(redirect) = step.action else { return None };
        if step.authenticates {
            return None;
        }
        let protocol = match redirect.protocol.as_deref() {
            None | Some("#{protocol}") => listener.protocol,
            Some("https") => ListenerProtocol::Https,
            Some("http") => ListenerProtocol::Http,
            Some(_) => return None,
        };
        let port = match redirect.port.as_deref() {
            None | Some("#{port}") => listener.port,
            Some(port) => port.parse().ok()?,
        };
        let known = Known {
            host: known.host.apply(redirect.host.as_deref(), "#{host}"),
            path: known.path.apply(redirect.path.as_deref(), "/#{path}"),
            query: known.query.apply(redirect.query.as_deref(), "#{query}"),
        };
        let mut listeners = self.listeners.iter();
        let next = listeners.position(|it| it.port == port && it.protocol == protocol)?;
        let step = self.handler(next, &known)?;
        Some((Position { listener: next, step }, known))
    }

    /// Returns the rule that is certain to match.
    fn handler(&self, listener: usize, known: &Known) -> Option<usize> {
        for (index, step) in self.steps[listener].iter().enumerate() {
            match self.verdict(Position { listener, step: index }, step, known) {
                Verdict::Differs => {}
                Verdict::Uncertain => return None,
                Verdict::Matches => {
                    // Only a rule about the host tells that the host is this load balancer.
                    let is_here = known.host == Part::Same
                        || step.conditions.iter().any(|it| matches!(it, Condition::Host(_)));
                    return is_here.then_some(index);
                }
            }
        }
        None
    }

    fn verdict(&self, position: Position, step: &Step<'_>, known: &Known) -> Verdict {
        let mut verdict = Verdict::Matches;
        for condition in step.conditions {
            match self.condition(condition, known) {
                Verdict::Matches => {}
                Verdict::Differs => return Verdict::Differs,
                Verdict::Uncertain => verdict = Verdict::Uncertain,
            }
        }
        // The first request came to the start, so that the rules before it did not match it.
        let is_before = position.listener == self.start.listener && position.step < self.start.step;
        let is_same = |condition: &Condition| match condition {
            Condition::Host(_) => known.host == Part::Same,
            Condition::Path(_) => known.path == Part::Same,
            Condition::Query(_) => known.query == Part::Same,
            Condition::Header(_) | Condition::Method(_) | Condition::SourceIp(_) => true,
        };
        if is_before && step.conditions.iter().all(is_same) {
            return Verdict::Differs;
        }
        verdict
    }

    fn condition(&self, condition: &Condition, known: &Known) -> Verdict {
        let start = &self.steps[self.start.listener][self.start.step];
        let held_at_start = start.conditions.contains(condition);
        let as_at_start = if held_at_start { Verdict::Matches } else { Verdict::Uncertain };
        match condition {
            Condition::Host(patterns) => {
                text(&known.host, patterns, Syntax::RuleIgnoringCase, as_at_start)
            }
            Condition::Path(patterns) => text(&known.path, patterns, Syntax::Rule, as_at_start),
            Condition::Query(_) if known.query != Part::Same => Verdict::Uncertain,
            // A browser follows a redirect of POST with GET.
            Condition::Method(methods) if !methods.iter().any(|method| method == "GET") => {
                Verdict::Uncertain
            }
            Condition::Query(_)
            | Condition::Header(_)
            | Condition::Method(_)
            | Condition::SourceIp(_) => as_at_start,
        }
    }
}

fn text(part: &Part, patterns: &Patterns, syntax: Syntax, as_at_start: Verdict) -> Verdict {
    let text = match part {
        Part::Same => return as_at_start,
        Part::Unknown => return Verdict::Uncertain,
        Part::Known(text) => text,
    };
    if patterns.values.iter().any(|value| glob::matches(value, text, syntax)) {
        return Verdict::Matches;
    }
    // Expressions are left to the rules themselves.
    if patterns.regex.is_empty() { Verdict::Differs } else { Verdict::Uncertain }
}
