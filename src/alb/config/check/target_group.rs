use std::collections::BTreeSet;

use super::{at::At, resilience};
use crate::{
    alb::config::{
        Algorithm, Config, CrossZoneMode, HealthThresholds, Stickiness, TargetGroup,
        TargetGroupAttributes, TargetKind, TargetProtocol, TargetVersion, Threshold, parse_matcher,
    },
    lambda::FunctionName,
    request_path::request_path,
};

/// The ALB's quota of targets in a group.
const MAX_TARGETS: usize = 1_000;
/// The longest path of a health check, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// The most consecutive checks that this library counts.
const MAX_THRESHOLD: u64 = 1_000_000;
/// The beginning of the names of the load balancer's own cookies.
const RESERVED_COOKIES: &str = "AWSALB";

pub(super) fn check_all(config: &Config, at: &mut At<'_>) {
    let mut names = BTreeSet::new();
    for group in &config.target_groups {
        let mut at = at.at(&group.name);
        if group.name.is_empty() || !names.insert(&group.name) {
            let value = format_args!("{:?}", group.name);
            at.at("name").invalid(value, "a name that no other target group has");
        }
        check(config, group, &mut at);
    }
}

fn check(config: &Config, group: &TargetGroup, at: &mut At<'_>) {
    let is_alb_name = |char: char| char.is_ascii_alphanumeric() || char == '-';
    if !group.name.chars().all(is_alb_name)
        || group.name.starts_with('-')
        || group.name.ends_with('-')
    {
        let value = format_args!("{:?}", group.name);
        at.at("name").beyond(value, "letters, digits and hyphens, without one at the ends");
    }
    at.at("name").at_most_chars(&group.name, 32);
    for (field, port) in [("port", group.port), ("control_port", group.control_port)] {
        if port == Some(0) {
            at.at(field).invalid(0, "a port from 1 to 65535");
        }
    }
    if group.control_port.is_some() {
        let why = "no agent of AWS is spoken to; in code, a target permits requests by the field \
                   `endpoint-permits` of its responses";
        at.at("control_port").unsupported(why);
    }
    if group.protocol == TargetProtocol::Https {
        at.at("protocol").note("the ALB does not verify the certificates of targets");
    }
    match group.kind {
        TargetKind::Lambda => lambda(group, at),
        TargetKind::Instance | TargetKind::Ip => {
            if group.attributes.multi_value_headers {
                let expected = "false, because the targets are not functions";
                at.at("attributes.multi_value_headers").invalid(true, expected);
            }
        }
    }
    targets(config, group, &mut at.at("targets"));
    health_check(group, &mut at.at("health_check"));
    attributes(config, group, &mut at.at("attributes"));
    if let Some(own) = &group.resilience {
        resilience::check(own, &mut at.at("resilience"));
    }
    if let Some(strategy) = &group.strategy {
        at.at("strategy").built(strategy.build::<()>());
    }
}

fn lambda(group: &TargetGroup, at: &mut At<'_>) {
    match &*group.targets {
        [target] if target.id.parse::<FunctionName>().is_err() => {
            at.at("targets[0]").invalid(target.name(), "the ARN or the name of a function");
        }
        [_] => {}
        targets => {
            at.at("targets").invalid(format_args!("{} targets", targets.len()), "one function");
        }
    }
    if group.version != TargetVersion::Http1 {
        at.at("version").missing("http1, because the target is a function");
    }
    if group.control_port.is_some() {
        at.at("control_port").missing("no value, because the target is a function");
    }
    let expected = "no value, because the target is a function";
    if group.strategy.is_some() {
        at.at("strategy").missing(expected);
    }
    let default = TargetGroupAttributes::default();
    let own = &group.attributes;
    for (field, is_set) in [
        ("algorithm", own.algorithm != default.algorithm),
        ("anomaly_mitigation", own.anomaly_mitigation),
        ("slow_start", own.slow_start != default.slow_start),
        ("stickiness", own.stickiness.is_some()),
    ] {
        if is_set {
            at.at("attributes").at(field).missing(expected);
        }
    }
    for (field, is_set) in [
        ("port", group.port.is_some()),
        ("protocol", group.protocol != TargetProtocol::Http),
        (
            "attributes.deregistration_delay",
            own.deregistration_delay != default.deregistration_delay,
        ),
        ("attributes.cross_zone", own.cross_zone != default.cross_zone),
        ("attributes.dns_failover", own.dns_failover != default.dns_failover),
        ("attributes.fail_open", own.fail_open != default.fail_open),
    ] {
        if is_set {
            at.at(field).note("it has no effect, because the target is a function");
        }
    }
}

fn targets(config: &Config, group: &TargetGroup, at: &mut At<'_>) {
    let is_bound = config.bound_group(group).is_some();
    if group.targets.is_empty() && !is_bound && group.kind != TargetKind::Lambda {
        at.note("the group has no targets, so that its requests get 503");
    }
    if group.targets.len() > MAX_TARGETS {
        at.note(format!("the ALB's quota is {MAX_TARGETS}"));
    }
    let mut seen = BTreeSet::new();
    for (index, target) in group.targets.iter().enumerate() {
        let mut at = at.item(index);
        if !seen.insert((&target.id, target.port.or(group.port))) {
            at.invalid(target.name(), "each target once");
        }
        let zones = &config.load_balancer.zones;
        let zone = target.zone.as_ref().filter(|zone| *zone != "all");
        if let Some(zone) = zone.filter(|zone| !zones.iter().any(|known| known.name == **zone)) {
            at.at("zone").invalid(zone, "a zone of the load balancer, or `all`");
        }
    }
    if group.kind == TargetKind::Lambda {
        if is_bound {
            at.missing("no entry of `bindings.groups`, because the target is a function");
        }
        if !group.targets.is_empty() && config.bound_function(group).is_none() {
            at.note("the program has to supply the function, as `bindings.functions` does not");
        }
        return;
    }
    for (index, target) in group.targets.iter().enumerate().filter(|_| !is_bound) {
        if let Err(expected) = config.bound_target(group, target) {
            at.item(index).invalid(target.name(), expected);
        }
    }
}

fn health_check(group: &TargetGroup, at: &mut At<'_>) {
    let check = &group.health_check;
    let effective = group.effective_health_check();
    if check.enabled == Some(false) && group.kind != TargetKind::Lambda {
        at.at("enabled").invalid(false, "true, because the targets are not functions");
    }
    if group.kind == TargetKind::Lambda {
        for (field, is_set) in
            [("protocol", check.protocol.is_some()), ("port", check.port.is_some())]
        {
            if is_set {
                at.at(field).note("it has no effect, because the target is a function");
            }
        }
    }
    if check.port == Some(0) {
        at.at("port").invalid(0, "a port from 1 to 65535");
    }
    if let Some(path) = &check.path {
        let mut at = at.at("path");
        if request_path(path).is_err() || path.len() > MAX_PATH_BYTES {
            let expected = format!("a path of at most {MAX_PATH_BYTES} bytes that begins with `/`");
            at.invalid(format_args!("{path:?}"), expected);
        }
    }
    at.at("interval").time(effective.interval, 5, 300);
    at.at("timeout").time(effective.timeout, 2, 120);
    for (field, number) in [
        ("healthy_threshold", effective.healthy_threshold),
        ("unhealthy_threshold", effective.unhealthy_threshold),
    ] {
        let (number, mut at) = (u64::from(number), at.at(field));
        if (1..=MAX_THRESHOLD).contains(&number) {
            at.number(number, 2, 10);
        } else {
            at.number_within(number, 1, MAX_THRESHOLD);
        }
    }
    if effective.timeout >= effective.interval {
        at.at("timeout").note("a check may take longer than the time to the next one");
    }
    let Some(matcher) = &check.matcher else { return };
    let mut at = at.at("matcher");
    let (least, most) = if group.version == TargetVersion::Grpc { (0, 99) } else { (200, 499) };
    match parse_matcher(matcher) {
        None => at.invalid(format_args!("{matcher:?}"), "codes such as 200,202 or 200-299"),
        Some(ranges) => {
            let is_valid = |code: &u16| (least..=most).contains(code);
            if !ranges.iter().all(|range| is_valid(range.start()) && is_valid(range.end())) {
                at.invalid(matcher, format!("codes from {least} to {most}"));
            }
        }
    }
}

fn attributes(config: &Config, group: &TargetGroup, at: &mut At<'_>) {
    let attributes = &group.attributes;
    at.at("deregistration_delay").time_or_zero(attributes.deregistration_delay, 0, 3600);
    if !attributes.slow_start.is_zero() {
        at.at("slow_start").time(attributes.slow_start, 30, 900);
        if attributes.algorithm != Algorithm::RoundRobin {
            let expected = "0, because `algorithm` is not `round_robin`";
            at.at("slow_start").invalid(attributes.slow_start, expected);
        }
    }
    if attributes.anomaly_mitigation && attributes.algorithm != Algorithm::WeightedRandom {
        let expected = "false, because `algorithm` is not `weighted_random`";
        at.at("anomaly_mitigation").invalid(true, expected);
    }
    if group.strategy.is_some() && attributes.algorithm != Algorithm::default() {
        at.at("algorithm").missing("no value, because the group has a `strategy`");
    }
    if let Some(stickiness) = &attributes.stickiness {
        check_stickiness(stickiness, &mut at.at("stickiness"));
        let crosses = match attributes.cross_zone {
            CrossZoneMode::On => true,
            CrossZoneMode::Off => false,
            CrossZoneMode::Inherit => config.load_balancer.attributes.cross_zone,
        };
        if !crosses {
            let expected = "no value, because targets of other zones are not used";
            at.at("stickiness").missing(expected);
        }
    }
    thresholds(&attributes.dns_failover, &mut at.at("dns_failover"));
    thresholds(&attributes.fail_open, &mut at.at("fail_open"));
    if attributes.fail_open.count == Threshold::Off {
        at.at("fail_open.count").invalid("off", "a number of at least 1");
    }
    // A zone that sends requests to unhealthy targets has to leave the answers of DNS first.
    let (dns, open) = (&attributes.dns_failover, &attributes.fail_open);
    for (field, dns, open) in
        [("count", dns.count, open.count), ("percentage", dns.percentage, open.percentage)]
    {
        if dns != Threshold::Off && open != Threshold::Off && dns < open {
            let expected = format!("at least `fail_open.{field}`, which is {open}");
            at.at("dns_failover").at(field).invalid(dns, expected);
        }
    }
}

fn check_stickiness(stickiness: &Stickiness, at: &mut At<'_>) {
    at.at("duration").time_within(stickiness.duration(), 1, 604_800);
    let Stickiness::AppCookie { cookie, .. } = stickiness else { return };
    let mut at = at.at("cookie");
    if cookie.starts_with(RESERVED_COOKIES) {
        at.invalid(cookie, format!("a name that does not begin with {RESERVED_COOKIES}"));
    } else if http::HeaderName::from_bytes(cookie.as_bytes()).is_err() {
        at.invalid(format_args!("{cookie:?}"), "the name of a cookie");
    }
}

fn thresholds(thresholds: &HealthThresholds, at: &mut At<'_>) {
    if thresholds.percentage.number() > 100 {
        at.at("percentage").invalid(thresholds.percentage, "off, or a number from 1 to 100");
    }
}
