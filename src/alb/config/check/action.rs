use std::collections::BTreeSet;

use super::at::At;
use crate::alb::config::{
    Action, Config, FixedResponse, Forward, Listener, ListenerProtocol, Redirect, Stickiness,
    TargetGroup, TargetVersion,
};

/// The most target groups of an action in the ALB. It is a quota.
const MAX_GROUPS: usize = 5;
const CONTENT_TYPES: [&str; 5] =
    ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

/// The parts of a redirect, and the keywords that each may contain.
const KEYWORDS: [(&str, &[&str]); 5] = [
    ("protocol", &["protocol"]),
    ("host", &["host"]),
    ("port", &["port"]),
    ("path", &["host", "port", "path"]),
    ("query", &["protocol", "host", "port", "path", "query"]),
];

pub(super) fn check(config: &Config, listener: &Listener, action: &Action, at: &mut At<'_>) {
    match action {
        Action::Forward(action) => forward(config, listener, action, &mut at.at("forward")),
        Action::Redirect(action) => redirect(listener, action, &mut at.at("redirect")),
        Action::FixedResponse(action) => fixed_response(action, &mut at.at("fixed_response")),
    }
}

/// Returns true if the action names the group, by its name or its ARN.
pub(super) fn names(forward: &Forward, group: &TargetGroup) -> bool {
    let is_group = |name: &str| name == group.name || group.arn.as_deref() == Some(name);
    forward.groups.iter().any(|weighted| is_group(&weighted.group))
}

fn forward(config: &Config, listener: &Listener, forward: &Forward, at: &mut At<'_>) {
    if forward.groups.is_empty() {
        at.missing("at least one target group");
    }
    if forward.groups.len() > MAX_GROUPS {
        at.note(format!("the ALB's quota is {MAX_GROUPS} target groups"));
    }
    let is_weighted = forward.groups.len() > 1;
    if is_weighted && forward.groups.iter().all(|group| group.weight == 0) {
        at.note("all weights are 0, so that no target group gets requests");
    }
    let mut seen = BTreeSet::new();
    for (index, weighted) in forward.groups.iter().enumerate() {
        let mut at = at.at("groups");
        let mut at = at.item(index);
        at.at("weight").number(weighted.weight.into(), 0, 999);
        let Some(group) = config.target_group(&weighted.group) else {
            at.at("group").invalid(&weighted.group, "the name or the ARN of a target group");
            continue;
        };
        if !seen.insert(&group.name) {
            at.at("group").invalid(&weighted.group, "each target group once");
        }
        if group.version == TargetVersion::Grpc && listener.protocol == ListenerProtocol::Http {
            let expected = "a group whose `version` is not `grpc`, or an HTTPS listener";
            at.at("group").beyond(&weighted.group, expected);
        }
        let by_app_cookie =
            matches!(group.attributes.stickiness, Some(Stickiness::AppCookie { .. }));
        if is_weighted && by_app_cookie {
            let expected = "a group without stickiness by `app_cookie`, because there are weights";
            at.at("group").beyond(&weighted.group, expected);
        }
    }
    if let Some(time) = forward.stickiness {
        at.at("stickiness").time(time, 1, 604_800);
    }
}

fn redirect(listener: &Listener, redirect: &Redirect, at: &mut At<'_>) {
    let Redirect { protocol, host, port, path, query, status } = redirect;
    if ![301, 302].contains(status) {
        at.at("status").invalid(status, "301 or 302");
    }
    let parts = [protocol, host, port, path, query];
    for (part, (field, allowed)) in parts.into_iter().zip(KEYWORDS) {
        let Some(text) = part else { continue };
        let mut at = at.at(field);
        at.no_control(text);
        keywords(text, allowed, &mut at);
        if ["host", "path", "query"].contains(&field) {
            at.at_most_chars(text, 128);
        }
        if text.is_empty() && field != "query" {
            at.invalid("\"\"", "no value, or a text");
        }
    }
    if let Some(protocol) = protocol.as_deref() {
        match protocol {
            "https" | "#{protocol}" => {}
            "http" if listener.protocol == ListenerProtocol::Http => {}
            "http" => {
                let expected = "https: an HTTPS request is not redirected to HTTP";
                at.at("protocol").invalid(protocol, expected);
            }
            _ => at.at("protocol").invalid(protocol, "http, https or #{protocol}"),
        }
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some(port) = port.as_deref().filter(|port| *port != "#{port}" && !is_port(port)) {
        at.at("port").invalid(port, "a port from 1 to 65535, or #{port}");
    }
    if let Some(path) = path.as_deref().filter(|path| !path.starts_with('/')) {
        at.at("path").invalid(format_args!("{path:?}"), "a path that begins with `/`");
    }
    let is_same = |part: &Option<String>, same: &str| part.as_deref().is_none_or(|it| it == same);
    let own_port = listener.port.to_string();
    // The query is not enough: the ALB requires another protocol, host, port or path.
    let unchanged = (is_same(protocol, "#{protocol}")
        || is_same(protocol, listener.protocol.scheme()))
        && (is_same(port, "#{port}") || is_same(port, &own_port))
        && is_same(host, "#{host}")
        && is_same(path, "/#{path}");
    if unchanged {
        at.missing("another protocol, host, port or path than that of the request");
    }
}

/// Reports keywords that a part of a redirect may not contain.
fn keywords(text: &str, allowed: &[&str], at: &mut At<'_>) {
    for rest in text.split("#{").skip(1) {
        let keyword = rest.split_once('}').map(|(keyword, _)| keyword);
        if keyword.is_none_or(|keyword| !allowed.contains(&keyword)) {
            let shown = keyword.map_or_else(|| format!("#{{{rest}"), |it| format!("#{{{it}}}"));
            let allowed: Vec<_> = allowed.iter().map(|it| format!("#{{{it}}}")).collect();
            at.invalid(shown, format!("no other keywords than {}", allowed.join(", ")));
        }
    }
}

fn fixed_response(response: &FixedResponse, at: &mut At<'_>) {
    match response.status {
        200..=299 | 400..=599 => {}
        // An interim response would not end the request.
        300..=399 | 600..=999 => {
            at.at("status").beyond(response.status, "a status 2xx, 4xx or 5xx")
        }
        status => at.at("status").invalid(status, "a status 2xx, 4xx or 5xx"),
    }
    if let Some(kind) = response.content_type.as_deref() {
        let mut at = at.at("content_type");
        if http::HeaderValue::from_str(kind).is_err() || kind.is_empty() {
            at.invalid(format_args!("{kind:?}"), "a content type");
        } else if !CONTENT_TYPES.contains(&kind) {
            at.beyond(kind, format!("one of {}", CONTENT_TYPES.join(", ")));
        }
    }
    if let Some(body) = &response.body {
        at.at("body").at_most_chars(body, 1024);
        if matches!(response.status, 204 | 205 | 304) && !body.is_empty() {
            let expected = format!("no body, because the status is {}", response.status);
            at.at("body").missing(expected);
        }
    }
}
