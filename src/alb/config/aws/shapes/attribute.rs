use serde::{Deserialize, Serialize};
/// An attribute of a load balancer, a listener or a target group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct Attribute {
    /// The name.
    pub(in crate::alb::config::aws) key: Option<String>,
    /// The value.
    pub(in crate::alb::config::aws) value: Option<String>,
}
