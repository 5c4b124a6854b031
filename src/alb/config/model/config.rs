use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bindings, Leftover, Listener, LoadBalancer, Resilience, TargetGroup};
use crate::alb::config::form::is_default;

/// The configuration of an Application Load Balancer.
///
/// It is read from the output of `aws elbv2 describe-*` ([`from_dir`](Self::from_dir)) or from a
/// hand-written file ([`from_toml`](Self::from_toml)). [`check`](Self::check) finds all problems at
/// once.
///
/// ```
/// use tower_lb::alb::config::Config;
///
/// let config = Config::from_toml(r#"
///     [[listeners]]
///     port = 8080
///     default_action = { forward = "web" }
///
///     [[listeners.rules]]
///     conditions = [{ path = "/api/*" }]
///     action = { forward = [{ group = "api", weight = 90 }, { group = "api-v2", weight = 10 }] }
///
///     [[target_groups]]
///     name = "web"
///     targets = ["127.0.0.1:9001", "127.0.0.1:9002"]
///
///     [[target_groups]]
///     name = "api"
///     targets = ["127.0.0.1:9003"]
///
///     [[target_groups]]
///     name = "api-v2"
///     targets = ["127.0.0.1:9004"]
/// "#)?;
/// let checked = config.check()?;
/// assert_eq!(checked.listeners[0].rules_by_priority()[0].0, 1);
/// # Ok::<_, tower_lb::alb::config::Problems>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Problems that are accepted, as paths in which `*` stands for any text: settings that this
    /// library does not support, and values outside of the ALB's limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<String>,
    /// The load balancer itself.
    #[serde(skip_serializing_if = "is_default")]
    pub load_balancer: LoadBalancer,
    /// What the load balancer does beyond the ALB, for each target group that has no such settings
    /// of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub resilience: Resilience,
    /// What the names in this configuration stand for: addresses, files, functions, secrets.
    #[serde(skip_serializing_if = "is_default")]
    pub bindings: Bindings,
    /// The listeners.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// The target groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_groups: Vec<TargetGroup>,
    /// What an import found and this model has no place for. A check reports each entry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Leftover>,
}

impl Config {
    /// Returns the target group with this name or ARN.
    #[must_use]
    pub fn target_group(&self, name: &str) -> Option<&TargetGroup> {
        self.target_groups
            .iter()
            .find(|group| group.name == name || group.arn.as_deref() == Some(name))
    }

    /// Returns the resilience settings of a target group: its own, or those of the configuration.
    pub(in crate::alb) fn resilience_of<'a>(&'a self, group: &'a TargetGroup) -> &'a Resilience {
        group.resilience.as_ref().unwrap_or(&self.resilience)
    }
}
