/// How many requests each rule has got: the result of [`Rules::status`](super::Rules::status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RulesStatus {
    /// The name of the set of rules.
    pub name: String,
    /// How often the rules were replaced.
    pub replacements: u64,
    /// How often rules were rejected that should have replaced them.
    pub rejected_replacements: u64,
    /// The rules in order of priority. The default rule is the last.
    pub rules: Vec<RuleStatus>,
}

/// How many requests one rule has got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuleStatus {
    /// The name of the rule.
    pub name: String,
    /// The priority; `None` for the default rule.
    pub priority: Option<u32>,
    /// The number of requests that have matched it. A rule of the same name in a new set continues
    /// the count.
    pub matched: u64,
}
