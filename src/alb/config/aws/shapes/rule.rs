use serde::{Deserialize, Serialize};

use super::Action;

/// A rule of `describe-rules`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct Rule {
    /// The ARN.
    pub(in crate::alb::config::aws) rule_arn: Option<String>,
    /// The priority, or `default`.
    pub(in crate::alb::config::aws) priority: Option<String>,
    /// The conditions.
    pub(in crate::alb::config::aws) conditions: Option<Vec<RuleCondition>>,
    /// The actions.
    pub(in crate::alb::config::aws) actions: Option<Vec<Action>>,
    /// Whether it is the default rule.
    pub(in crate::alb::config::aws) is_default: Option<bool>,
    /// The transforms.
    pub(in crate::alb::config::aws) transforms: Option<Vec<RuleTransform>>,
}

/// A condition of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct RuleCondition {
    /// The kind of condition.
    pub(in crate::alb::config::aws) field: Option<String>,
    /// The values of a host or a path condition.
    pub(in crate::alb::config::aws) values: Option<Vec<String>>,
    /// The values of a host condition.
    pub(in crate::alb::config::aws) host_header_config: Option<PatternConfig>,
    /// The values of a path condition.
    pub(in crate::alb::config::aws) path_pattern_config: Option<PatternConfig>,
    /// The values of a header condition.
    pub(in crate::alb::config::aws) http_header_config: Option<HttpHeaderConfig>,
    /// The values of a query condition.
    pub(in crate::alb::config::aws) query_string_config: Option<QueryStringConfig>,
    /// The values of a method condition.
    pub(in crate::alb::config::aws) http_request_method_config: Option<ValuesConfig>,
    /// The values of a condition on the peer.
    pub(in crate::alb::config::aws) source_ip_config: Option<SourceIpConfig>,
    /// The regular expressions of a host, path or header condition.
    pub(in crate::alb::config::aws) regex_values: Option<Vec<String>>,
}

/// The values of a host or a path condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct PatternConfig {
    /// Texts with wildcards.
    pub(in crate::alb::config::aws) values: Option<Vec<String>>,
    /// Regular expressions.
    pub(in crate::alb::config::aws) regex_values: Option<Vec<String>>,
}

/// The values of a header condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct HttpHeaderConfig {
    /// The name of the field.
    pub(in crate::alb::config::aws) http_header_name: Option<String>,
    /// Texts with wildcards.
    pub(in crate::alb::config::aws) values: Option<Vec<String>>,
    /// Regular expressions.
    pub(in crate::alb::config::aws) regex_values: Option<Vec<String>>,
}

/// The values of a query condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct QueryStringConfig {
    /// The parameters.
    pub(in crate::alb::config::aws) values: Option<Vec<QueryStringPair>>,
}

/// A parameter of a query condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct QueryStringPair {
    /// The name.
    pub(in crate::alb::config::aws) key: Option<String>,
    /// The value.
    pub(in crate::alb::config::aws) value: Option<String>,
}

/// The values of a method condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct ValuesConfig {
    /// The methods.
    pub(in crate::alb::config::aws) values: Option<Vec<String>>,
}

/// The values of a condition on the peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct SourceIpConfig {
    /// The networks.
    pub(in crate::alb::config::aws) values: Option<Vec<String>>,
    /// For Network Load Balancers.
    pub(in crate::alb::config::aws) ip_address_type: Option<String>,
}

/// A transform of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct RuleTransform {
    /// `host-header-rewrite` or `url-rewrite`.
    #[serde(rename = "Type")]
    pub(in crate::alb::config::aws) r#type: Option<String>,
    /// The rewrites of the host.
    pub(in crate::alb::config::aws) host_header_rewrite_config: Option<Rewrites>,
    /// The rewrites of the URL.
    pub(in crate::alb::config::aws) url_rewrite_config: Option<Rewrites>,
}

/// The rewrites of a transform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct Rewrites {
    /// The rewrites, one in practice.
    pub(in crate::alb::config::aws) rewrites: Option<Vec<RewriteConfig>>,
}

/// A rewrite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct RewriteConfig {
    /// The regular expression.
    pub(in crate::alb::config::aws) regex: Option<String>,
    /// The replacement.
    pub(in crate::alb::config::aws) replace: Option<String>,
}
