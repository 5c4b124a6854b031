use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Certificate, Listener, LoadBalancer, Rule, TargetGroup, TargetHealthDescription};

/// An attribute of a load balancer, a listener or a target group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Attribute {
    /// The name.
    pub key: Option<String>,
    /// The value.
    pub value: Option<String>,
}

/// The tags of a resource. They are not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct TagDescription {
    /// The ARN of the resource.
    pub resource_arn: Option<String>,
    /// The tags.
    pub tags: Option<Value>,
}

/// The output of one of the commands. Each has one list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct DescribeOutput {
    /// Of `describe-load-balancers`.
    pub load_balancers: Option<Vec<LoadBalancer>>,
    /// Of `describe-listeners`.
    pub listeners: Option<Vec<Listener>>,
    /// Of `describe-rules`.
    pub rules: Option<Vec<Rule>>,
    /// Of `describe-target-groups`.
    pub target_groups: Option<Vec<TargetGroup>>,
    /// Of `describe-target-health`.
    pub target_health_descriptions: Option<Vec<TargetHealthDescription>>,
    /// Of `describe-listener-certificates`.
    pub certificates: Option<Vec<Certificate>>,
    /// Of `describe-*-attributes`.
    pub attributes: Option<Vec<Attribute>>,
    /// Of `describe-tags`.
    pub tag_descriptions: Option<Vec<TagDescription>>,
    /// The next page, if the output is incomplete.
    pub next_marker: Option<String>,
    /// The next page of the command line, if the output is incomplete.
    pub next_token: Option<String>,
    /// Not of AWS: the resource of an output that does not name it.
    pub resource_arn: Option<String>,
}
