use super::{
    attributes,
    document::{Documents, Read},
    import::Findings,
    resource::{Assignment, Resource},
    shapes::{TargetGroup, TargetHealthDescription},
};
use crate::alb::config::{
    self, Action, Config, HealthCheck, Problem, Target, TargetKind, TargetProtocol, TargetVersion,
    Time,
};

/// Translates the target groups that the load balancer uses.
pub(super) fn of(
    documents: &Documents,
    load_balancer: &str,
    config: &Config,
    findings: &mut Findings,
) -> Vec<config::TargetGroup> {
    let resource = |read: &Read<TargetGroup>| {
        let TargetGroup { target_group_arn, target_group_name, .. } = &read.shape;
        Resource::new(target_group_arn.as_deref(), target_group_name.as_deref())
    };
    let resources: Vec<_> = documents.target_groups.iter().map(resource).collect();
    let mut groups: Vec<Option<config::TargetGroup>> = documents
        .target_groups
        .iter()
        .map(|read| {
            let is_used = is_used(&read.shape, load_balancer, config);
            Some(read).filter(|_| is_used).and_then(|read| translate(read, findings))
        })
        .collect();
    let mut health = Assignment::new("target-health", &resources);
    for list in &documents.health {
        let Some(index) = health.resource_of(list, findings) else { continue };
        let Some(group) = &mut groups[index] else { continue };
        for read in &list.items {
            group.targets.extend(target(read, findings));
        }
    }
    let places = groups.iter_mut().map(|group| {
        group.as_mut().map(|it| (format!("target_groups.{}", it.name), &mut it.attributes))
    });
    attributes::of_target_groups(documents, &resources, places.collect(), findings);
    for (index, group) in groups.iter().enumerate() {
        let Some(group) = group.as_ref().filter(|_| !health.is_assigned(index)) else { continue };
        let why = "there is no output of `describe-target-health` for this group";
        findings.leftovers.ignore(format!("target_groups.{}.targets", group.name), why);
    }
    groups.into_iter().flatten().collect()
}

/// Returns true if a rule names the group, or AWS does, or no load balancer uses it.
fn is_used(shape: &TargetGroup, load_balancer: &str, config: &Config) -> bool {
    let name = shape.target_group_name.as_deref().unwrap_or_default();
    let mut actions = config.listeners.iter().flat_map(|listener| listener.actions());
    let is_named = actions.any(|action| match action {
        Action::Forward(forward) => forward.groups.iter().any(|group| group.group == name),
        Action::Redirect(_) | Action::FixedResponse(_) => false,
    });
    let users = shape.load_balancer_arns.as_deref().unwrap_or_default();
    is_named || users.is_empty() || users.iter().any(|arn| arn == load_balancer)
}

fn translate(read: &Read<TargetGroup>, findings: &mut Findings) -> Option<config::TargetGroup> {
    findings.leftovers.of(read);
    let shape = &read.shape;
    let Some(name) = shape.target_group_name.clone() else {
        let path = read.at("TargetGroupName");
        findings.problems.push(Problem::invalid(path, "the name of the target group"));
        return None;
    };
    let kind = match shape.target_type.as_deref() {
        None | Some("instance") => TargetKind::Instance,
        Some("ip") => TargetKind::Ip,
        Some("lambda") => TargetKind::Lambda,
        Some(other) => {
            findings.invalid(read.at("TargetType"), other, "instance, ip or lambda");
            return None;
        }
    };
    let version = match shape.protocol_version.as_deref() {
        None | Some("HTTP1") => TargetVersion::Http1,
        Some("HTTP2") => TargetVersion::Http2,
        Some("GRPC") => TargetVersion::Grpc,
        Some(other) => {
            findings.invalid(read.at("ProtocolVersion"), other, "HTTP1, HTTP2 or GRPC");
            return None;
        }
    };
    let protocol = protocol(shape.protocol.as_deref(), read, "Protocol", findings)?;
    Some(config::TargetGroup {
        arn: shape.target_group_arn.clone(),
        kind,
        protocol: protocol.unwrap_or_default(),
        version,
        port: shape.port,
        control_port: shape.target_control_port,
        health_check: health_check(read, findings)?,
        ..config::TargetGroup::new(name)
    })
}

fn protocol(
    name: Option<&str>,
    read: &Read<TargetGroup>,
    member: &str,
    findings: &mut Findings,
) -> Option<Option<TargetProtocol>> {
    match name {
        None => Some(None),
        Some("HTTP") => Some(Some(TargetProtocol::Http)),
        Some("HTTPS") => Some(Some(TargetProtocol::Https)),
        Some(other) => {
            findings.invalid(read.at(member), other, "HTTP or HTTPS");
            None
        }
    }
}

fn health_check(read: &Read<TargetGroup>, findings: &mut Findings) -> Option<HealthCheck> {
    let shape = &read.shape;
    let port = match shape.health_check_port.as_deref() {
        None | Some("traffic-port") => None,
        Some(port) => match port.parse() {
            Ok(port) => Some(port),
            Err(_) => {
                let expected = "traffic-port, or a port from 1 to 65535";
                findings.invalid(read.at("HealthCheckPort"), port, expected);
                return None;
            }
        },
    };
    let protocol = shape.health_check_protocol.as_deref();
    let matcher = shape.matcher.as_ref();
    Some(HealthCheck {
        enabled: shape.health_check_enabled,
        protocol: self::protocol(protocol, read, "HealthCheckProtocol", findings)?,
        port,
        path: shape.health_check_path.clone(),
        interval: shape.health_check_interval_seconds.map(Time::from_secs),
        timeout: shape.health_check_timeout_seconds.map(Time::from_secs),
        healthy_threshold: shape.healthy_threshold_count,
        unhealthy_threshold: shape.unhealthy_threshold_count,
        matcher: matcher.and_then(|it| it.http_code.clone().or_else(|| it.grpc_code.clone())),
    })
}

/// Translates a target. One that is being removed is left out.
fn target(read: &Read<TargetHealthDescription>, findings: &mut Findings) -> Option<Target> {
    findings.leftovers.of(read);
    let shape = &read.shape;
    let state = shape.target_health.as_ref().and_then(|health| health.state.as_deref());
    let Some(target) = shape.target.as_ref().filter(|target| target.id.is_some()) else {
        findings.problems.push(Problem::invalid(read.at("Target.Id"), "the target's id"));
        return None;
    };
    let id = target.id.clone().unwrap_or_default();
    if state == Some("draining") {
        findings.leftovers.ignore(format!("targets.{id}"), "AWS is removing this target");
        return None;
    }
    Some(Target { id, port: target.port, zone: target.availability_zone.clone() })
}
