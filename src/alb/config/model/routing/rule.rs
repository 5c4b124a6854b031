use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, Authenticate, Condition};
use crate::alb::config::form::is_default;

/// A rule: its action runs for requests that fulfil all conditions and no rule of a lower number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name in logs and metrics. Default: its priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The ARN, if the rule was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// The priority, from 1 to 50000; the lowest number is first. Default: that of the rule before
    /// it in the file, plus 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The conditions, all of which a request must fulfil.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Rewrites of the request before a target gets it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub transforms: Transforms,
    /// What a client has to prove before the action. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticate: Option<Authenticate>,
    /// The action.
    pub action: Action,
}

impl Rule {
    /// Creates a rule that runs `action` for requests that fulfil all `conditions`.
    pub fn new(conditions: impl IntoIterator<Item = Condition>, action: Action) -> Self {
        Self {
            name: None,
            arn: None,
            priority: None,
            conditions: conditions.into_iter().collect(),
            transforms: Transforms::default(),
            authenticate: None,
            action,
        }
    }
}

/// Rewrites of a request before a target gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Transforms {
    /// A rewrite of `Host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Rewrite>,
    /// A rewrite of the path and the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Rewrite>,
}

/// A regular expression, and what replaces its first match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// The regular expression, up to 1024 characters.
    pub regex: String,
    /// The replacement, up to 1024 characters; `$1` is the first group of the expression.
    pub replace: String,
}
