//! Every member of the service model is modelled or listed.
//!
//! `service-model.json` has the names of what `describe-*` prints, from the service model that
//! botocore ships.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::{document::Documents, leftovers::IGNORED_MEMBERS, shapes};

fn model() -> Value {
    serde_json::from_str(include_str!("service-model.json")).unwrap()
}

/// Returns the members of a shape.
fn members<T: Default + Serialize>() -> BTreeSet<String> {
    let value = serde_json::to_value(T::default()).unwrap();
    value.as_object().unwrap().keys().cloned().collect()
}

/// The shapes by their names in the model.
fn shapes() -> Vec<(&'static str, BTreeSet<String>)> {
    vec![
        ("Action", members::<shapes::Action>()),
        ("AdministrativeOverride", members::<shapes::AdministrativeOverride>()),
        ("AnomalyDetection", members::<shapes::AnomalyDetection>()),
        ("AuthenticateCognitoActionConfig", members::<shapes::AuthenticateCognitoConfig>()),
        ("AuthenticateOidcActionConfig", members::<shapes::AuthenticateOidcConfig>()),
        ("AvailabilityZone", members::<shapes::AvailabilityZone>()),
        ("Certificate", members::<shapes::Certificate>()),
        ("FixedResponseActionConfig", members::<shapes::FixedResponseConfig>()),
        ("ForwardActionConfig", members::<shapes::ForwardConfig>()),
        ("HostHeaderConditionConfig", members::<shapes::PatternConfig>()),
        ("HostHeaderRewriteConfig", members::<shapes::Rewrites>()),
        ("HttpHeaderConditionConfig", members::<shapes::HttpHeaderConfig>()),
        ("HttpRequestMethodConditionConfig", members::<shapes::ValuesConfig>()),
        ("IpamPools", members::<shapes::IpamPools>()),
        ("JwtValidationActionAdditionalClaim", members::<shapes::JwtValidationClaim>()),
        ("JwtValidationActionConfig", members::<shapes::JwtValidationConfig>()),
        ("Listener", members::<shapes::Listener>()),
        ("ListenerAttribute", members::<shapes::Attribute>()),
        ("LoadBalancer", members::<shapes::LoadBalancer>()),
        ("LoadBalancerAddress", members::<shapes::LoadBalancerAddress>()),
        ("LoadBalancerAttribute", members::<shapes::Attribute>()),
        ("LoadBalancerState", members::<shapes::LoadBalancerState>()),
        ("Matcher", members::<shapes::Matcher>()),
        ("MutualAuthenticationAttributes", members::<shapes::MutualAuthentication>()),
        ("PathPatternConditionConfig", members::<shapes::PatternConfig>()),
        ("QueryStringConditionConfig", members::<shapes::QueryStringConfig>()),
        ("QueryStringKeyValuePair", members::<shapes::QueryStringPair>()),
        ("RedirectActionConfig", members::<shapes::RedirectConfig>()),
        ("RewriteConfig", members::<shapes::RewriteConfig>()),
        ("Rule", members::<shapes::Rule>()),
        ("RuleCondition", members::<shapes::RuleCondition>()),
        ("RuleTransform", members::<shapes::RuleTransform>()),
        ("SourceIpConditionConfig", members::<shapes::SourceIpConfig>()),
        ("TargetDescription", members::<shapes::TargetDescription>()),
        ("TargetGroup", members::<shapes::TargetGroup>()),
        ("TargetGroupAttribute", members::<shapes::Attribute>()),
        ("TargetGroupStickinessConfig", members::<shapes::TargetGroupStickinessConfig>()),
        ("TargetGroupTuple", members::<shapes::TargetGroupTuple>()),
        ("TargetHealth", members::<shapes::TargetHealth>()),
        ("TargetHealthDescription", members::<shapes::TargetHealthDescription>()),
        ("UrlRewriteConfig", members::<shapes::Rewrites>()),
    ]
}

#[test]
fn every_member_is_modelled() {
    let model = model();
    let model = model["members"].as_object().unwrap();
    let shapes = shapes();
    for (name, expected) in model {
        let expected: BTreeSet<_> =
            expected.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect();
        if name.starts_with("Describe") {
            for output in expected.iter().filter(|output| *output != "NextMarker") {
                let (mut documents, mut problems) = (Documents::default(), Vec::new());
                documents.add("a.json", &format!("{{\"{output}\": []}}"), &mut problems);
                assert!(problems.is_empty(), "{name}: {problems:?}");
            }
        } else if ["Tag", "TagDescription"].contains(&&**name) {
            // Tags are not read, and have no effect.
        } else {
            let shape = shapes.iter().find(|(shape, _)| shape == name);
            let (_, members) = shape.unwrap_or_else(|| panic!("no shape for {name}"));
            // A client secret is never read, and `describe-*` does not print it.
            let expected = expected.into_iter().filter(|it| it != "ClientSecret").collect();
            assert_eq!(*members, expected, "{name}");
        }
    }
    for (member, why) in IGNORED_MEMBERS {
        let name = member.rsplit('.').next().unwrap();
        let is_known = model.values().any(|it| it.as_array().unwrap().iter().any(|it| it == name));
        assert!(is_known && !why.is_empty(), "{member}");
    }
}
