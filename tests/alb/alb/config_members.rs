//! Every enumeration and attribute of the service model is modelled or left over. Its members are
//! compared with the shapes in the crate itself.

use serde_json::{Value, json};
use tower_lb::alb::config::{Import, LeftoverKind};

fn model() -> Value {
    serde_json::from_str(include_str!("../../../src/alb/config/aws/service-model.json")).unwrap()
}

const LOAD_BALANCER: &str =
    r#"{"LoadBalancers": [{"LoadBalancerArn": "arn:lb", "LoadBalancerName": "a"}]}"#;

/// Imports one attribute, and returns how it was left over.
fn attribute(kind: &str, key: &str) -> Option<LeftoverKind> {
    let attributes = json!({ "Attributes": [{ "Key": key, "Value": value_of(key) }] });
    let listener = r#"{"Listeners": [{"ListenerArn": "arn:l", "LoadBalancerArn": "arn:lb", "Port": 80,
        "Protocol": "HTTP", "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:targetgroup/g/1"}]}]}"#;
    let group =
        r#"{"TargetGroups": [{"TargetGroupArn": "arn:targetgroup/g/1", "TargetGroupName": "g"}]}"#;
    let name = match kind {
        "listener" => "80",
        "target-group" => "g",
        _ => "a",
    };
    let file = format!("{kind}-attributes-{name}.json");
    let import = Import::new()
        .file("lb.json", LOAD_BALANCER)
        .file("l.json", listener)
        .file("g.json", group)
        .file(&file, &attributes.to_string());
    let config = import.finish().unwrap_or_else(|problems| panic!("{key}: {problems}"));
    let is_it = |path: &str| path == key || path.ends_with(&format!(" {key}"));
    config.leftovers.iter().find(|it| is_it(&it.path)).map(|it| it.kind)
}

fn value_of(key: &str) -> &'static str {
    match key {
        _ if key.ends_with("seconds") || key.ends_with("count") => "60",
        _ if key.ends_with("percentage") => "off",
        _ if key.ends_with("desync_mitigation_mode") => "strictest",
        _ if key.ends_with("xff_header_processing.mode") => "remove",
        "load_balancing.algorithm.type" => "weighted_random",
        "load_balancing.algorithm.anomaly_mitigation" => "on",
        "stickiness.type" => "app_cookie",
        _ => "true",
    }
}

/// The attributes of Network and Gateway Load Balancers are left over, and no others.
#[test]
fn every_attribute_is_modelled() {
    let model = model();
    let mut left = Vec::new();
    for (shape, kind) in [
        ("LoadBalancerAttribute", "load-balancer"),
        ("ListenerAttribute", "listener"),
        ("TargetGroupAttribute", "target-group"),
    ] {
        for key in model["attributes"][shape].as_array().unwrap() {
            let key = key.as_str().unwrap();
            // A state of targets, which the documentation mentions.
            if key != "unhealthy.draining" {
                left.extend(attribute(kind, key).map(|kind| (key.to_owned(), kind)));
            }
        }
    }
    let unsupported = |key: &str| (key.to_owned(), LeftoverKind::Unsupported);
    assert_eq!(
        left,
        [
            unsupported("dns_record.client_routing_policy"),
            ("ipv6.deny_all_igw_traffic".to_owned(), LeftoverKind::Ignored),
            unsupported("secondary_ips.auto_assigned.per_subnet"),
            unsupported("send_tcp_reset.on_idle_timeout.enabled"),
            unsupported("tcp.idle_timeout.seconds"),
            unsupported("deregistration_delay.connection_termination.enabled"),
            unsupported("preserve_client_ip.enabled"),
            unsupported("proxy_protocol_v2.enabled"),
            unsupported("send_tcp_reset.on_deregistration.enabled"),
            unsupported("send_tcp_reset.on_unhealthy.enabled"),
            unsupported("target_failover.on_deregistration"),
            unsupported("target_failover.on_unhealthy"),
            unsupported("target_health_state.unhealthy.connection_termination.enabled"),
            unsupported("target_health_state.unhealthy.draining_interval_seconds"),
        ]
    );
}

/// Each value of an enumeration that decides something is known.
#[test]
fn every_enumeration_is_known() {
    let model = model();
    let values = |name: &str| -> Vec<String> {
        let values = model["enums"][name].as_array().unwrap();
        values.iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(values("ActionTypeEnum").len(), 6);
    assert_eq!(values("TransformTypeEnum"), ["host-header-rewrite", "url-rewrite"]);
    assert_eq!(values("RedirectActionStatusCodeEnum"), ["HTTP_301", "HTTP_302"]);
    let unauthenticated = values("AuthenticateOidcActionConditionalBehaviorEnum");
    assert_eq!(unauthenticated, ["deny", "allow", "authenticate"]);
    let formats = values("JwtValidationActionAdditionalClaimFormatEnum");
    assert_eq!(formats, ["single-string", "string-array", "space-separated-values"]);
    assert_eq!(values("TargetTypeEnum"), ["instance", "ip", "lambda", "alb"]);
}
