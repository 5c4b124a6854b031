use std::collections::BTreeSet;

use super::at::At;
use crate::alb::config::{DesyncMode, ForwardedForMode, LoadBalancer, LoadBalancerAttributes};

pub(super) fn check(load_balancer: &LoadBalancer, at: &mut At<'_>) {
    if let Some(scheme) = &load_balancer.scheme {
        let mut at = at.at("scheme");
        at.note(format!("{scheme} has no effect: the listeners' addresses decide who can connect"));
    }
    let mut zones = BTreeSet::new();
    for (index, zone) in load_balancer.zones.iter().enumerate() {
        if zone.name.is_empty() || !zones.insert(&zone.name) {
            let expected = "a name that no other zone has";
            at.at("zones").item(index).invalid(format_args!("{:?}", zone.name), expected);
        }
    }
    attributes(&load_balancer.attributes, &mut at.at("attributes"));
    let mut bound = BTreeSet::new();
    for (index, zone) in load_balancer.zones.iter().enumerate() {
        for address in zone.addresses.iter().filter(|address| !bound.insert(**address)) {
            at.at("zones").item(index).invalid(address, "an address that no other zone has");
        }
    }
}

fn attributes(attributes: &LoadBalancerAttributes, at: &mut At<'_>) {
    at.at("idle_timeout").time(attributes.idle_timeout, 1, 4000);
    at.at("client_keep_alive").time(attributes.client_keep_alive, 60, 604_800);
    let mode = attributes.x_forwarded_for;
    if attributes.x_forwarded_for_port && mode != ForwardedForMode::Append {
        let expected = "false, because `x_forwarded_for` is not `append`";
        at.at("x_forwarded_for_port").invalid(true, expected);
    }
    if attributes.desync_mitigation != DesyncMode::Defensive {
        let why = "requests that two programs could read in two ways are always refused, or \
                   forwarded in one form";
        at.at("desync_mitigation").unsupported(why);
    }
    if attributes.deletion_protection {
        at.at("deletion_protection").note("it has no effect: this program cannot be deleted");
    }
    if attributes.waf_fail_open {
        let text = "there is no web application firewall, except for a filter of the program";
        at.at("waf_fail_open").note(text);
    }
    if !attributes.cross_zone {
        let expected = "true: only target groups can switch it off";
        at.at("cross_zone").beyond(false, expected);
    }
    let logs = [
        ("access_logs", &attributes.access_logs, "log events are emitted by the crate `tracing`"),
        ("connection_logs", &attributes.connection_logs, "the listener has figures instead"),
        ("health_check_logs", &attributes.health_check_logs, "checks emit log events instead"),
    ];
    for (name, _, why) in logs.into_iter().filter(|(_, logs, _)| logs.is_some()) {
        at.at(name).unsupported(format!("logs are not written to S3; {why}"));
    }
}
