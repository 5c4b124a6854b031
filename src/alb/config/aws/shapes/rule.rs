use serde::{Deserialize, Serialize};

use super::Action;

/// A rule of `describe-rules`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Rule {
    /// The ARN.
    pub rule_arn: Option<String>,
    /// The priority, or `default`.
    pub priority: Option<String>,
    /// The conditions.
    pub conditions: Option<Vec<RuleCondition>>,
    /// The actions.
    pub actions: Option<Vec<Action>>,
    /// Whether it is the default rule.
    pub is_default: Option<bool>,
    /// The transforms.
    pub transforms: Option<Vec<RuleTransform>>,
}

/// A condition of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct RuleCondition {
    /// The kind of condition.
    pub field: Option<String>,
    /// The values of a host or a path condition.
    pub values: Option<Vec<String>>,
    /// The values of a host condition.
    pub host_header_config: Option<PatternConfig>,
    /// The values of a path condition.
    pub path_pattern_config: Option<PatternConfig>,
    /// The values of a header condition.
    pub http_header_config: Option<HttpHeaderConfig>,
    /// The values of a query condition.
    pub query_string_config: Option<QueryStringConfig>,
    /// The values of a method condition.
    pub http_request_method_config: Option<ValuesConfig>,
    /// The values of a condition on the peer.
    pub source_ip_config: Option<SourceIpConfig>,
    /// The regular expressions of a host, path or header condition.
    pub regex_values: Option<Vec<String>>,
}

/// The values of a host or a path condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct PatternConfig {
    /// Texts with wildcards.
    pub values: Option<Vec<String>>,
    /// Regular expressions.
    pub regex_values: Option<Vec<String>>,
}

/// The values of a header condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct HttpHeaderConfig {
    /// The name of the field.
    pub http_header_name: Option<String>,
    /// Texts with wildcards.
    pub values: Option<Vec<String>>,
    /// Regular expressions.
    pub regex_values: Option<Vec<String>>,
}

/// The values of a query condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct QueryStringConfig {
    /// The parameters.
    pub values: Option<Vec<QueryStringPair>>,
}

/// A parameter of a query condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct QueryStringPair {
    /// The name.
    pub key: Option<String>,
    /// The value.
    pub value: Option<String>,
}

/// The values of a method condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ValuesConfig {
    /// The methods.
    pub values: Option<Vec<String>>,
}

/// The values of a condition on the peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct SourceIpConfig {
    /// The networks.
    pub values: Option<Vec<String>>,
    /// For Network Load Balancers.
    pub ip_address_type: Option<String>,
}

/// A transform of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct RuleTransform {
    /// `host-header-rewrite` or `url-rewrite`.
    #[serde(rename = "Type")]
    pub r#type: Option<String>,
    /// The rewrites of the host.
    pub host_header_rewrite_config: Option<Rewrites>,
    /// The rewrites of the URL.
    pub url_rewrite_config: Option<Rewrites>,
}

/// The rewrites of a transform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Rewrites {
    /// The rewrites, one in practice.
    pub rewrites: Option<Vec<RewriteConfig>>,
}

/// A rewrite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct RewriteConfig {
    /// The regular expression.
    pub regex: Option<String>,
    /// The replacement.
    pub replace: Option<String>,
}
