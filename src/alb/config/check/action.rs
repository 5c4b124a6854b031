use std::collections::BTreeSet;

use super::at::At;
use crate::{
    alb::config::{
        Action, Config, FixedResponse, Forward, Listener, ListenerProtocol, Redirect, Stickiness,
        TargetGroup, TargetVersion, parts,
    },
    rules,
};

const CONTENT_TYPES: [&str; 5] =
    ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

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
    let is_weighted = forward.groups.len() > 1;
    if is_weighted && forward.groups.iter().all(|group| group.weight == 0) {
        at.note("all weights are 0, so that no target group gets requests");
    }
    let mut seen = BTreeSet::new();
    for (index, weighted) in forward.groups.iter().enumerate() {
        let mut at = at.at("groups");
        let mut at = at.item(index);
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
        at.at("stickiness").time_within(time, 1, 604_800);
    }
    if !forward.groups.is_empty() {
        // Positions as names, because a name that occurs twice is reported above.
        let groups = forward.groups.iter().enumerate();
        let built = groups.fold(rules::Forward::builder(), |builder, (index, group)| {
            builder.group(index.to_string(), group.weight, ())
        });
        at.built(built.build());
    }
}

fn redirect(listener: &Listener, redirect: &Redirect, at: &mut At<'_>) {
    let Redirect { protocol, host, port, path, query, status } = redirect;
    if ![301, 302].contains(status) {
        at.at("status").invalid(status, "301 or 302");
    }
    for (field, text) in [("host", host), ("path", path), ("query", query)] {
        text.iter().for_each(|text| at.at(field).at_most_chars(text, 128));
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
    if !at.is_invalid() {
        at.built(parts::redirect(redirect));
    }
}

fn fixed_response(response: &FixedResponse, at: &mut At<'_>) {
    if let Some(kind) = response.content_type.as_deref().filter(|it| !CONTENT_TYPES.contains(it)) {
        at.at("content_type").beyond(kind, format!("one of {}", CONTENT_TYPES.join(", ")));
    }
    if let Some(body) = &response.body {
        at.at("body").at_most_chars(body, 1024);
    }
    at.built(parts::fixed_response(response));
}
