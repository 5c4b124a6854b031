use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of an import that this model has no place for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Leftover {
    /// Where it was found, such as `Listener.AlpnPolicy` or a path in a file.
    pub path: String,
    /// Whether it matters.
    pub kind: LeftoverKind,
    /// The value as JSON, without secrets; left out if it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why the model has no place for it.
    pub why: String,
}

/// Whether a [`Leftover`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftoverKind {
    /// It has no meaning outside of AWS. A check notes it.
    Ignored,
    /// It changes what the load balancer does, and this library does not support it. A check fails
    /// unless it is accepted.
    Unsupported,
}
