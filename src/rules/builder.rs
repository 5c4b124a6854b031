use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use super::{
    MatchedRule, Rule, Rules,
    condition::{Case, compile_conditions},
    index::Index,
    rewrite::{Replacement, Rewrites},
    rule::{Identity, RewriteText},
    table::{Table, TableRule},
    warning::find_warnings,
};
use crate::ConfigError;

/// Configures [`Rules`]; made by [`Rules::builder`].
#[derive(Clone)]
#[must_use]
pub struct RulesBuilder<S> {
    pub(super) name: Arc<str>,
    default_name: Arc<str>,
    default: S,
    rules: Vec<Rule<S>>,
}

/// The priorities of rules.
const PRIORITIES: std::ops::RangeInclusive<u32> = 1..=50_000;

impl<S> RulesBuilder<S> {
    pub(super) fn new(default: S) -> Self {
        Self { name: "rules".into(), default_name: "default".into(), default, rules: Vec::new() }
    }

    /// Names the set of rules, for logs and figures. Default `rules`. [`Rules::replace`] keeps the
    /// first name.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Names the default rule. Default `default`.
    pub fn default_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.default_name = name.into();
        self
    }

    /// Adds a rule. The order does not matter: rules are evaluated by priority.
    pub fn rule(mut self, rule: Rule<S>) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds rules.
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule<S>>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// Checks and compiles the rules.
    ///
    /// # Errors
    ///
    /// If a priority is not from 1 to 50000 or occurs twice, if a name occurs twice, if a condition
    /// has no value or an invalid one, or if a rewrite is invalid. The field of the error is a
    /// path, such as `rules[3].conditions[0].values[1]`; rules are counted from 0 in the order in
    /// which they were added.
    pub fn build(self) -> Result<Rules<S>, ConfigError> {
        let name = Arc::clone(&self.name);
        Ok(Rules::from_table(name, self.compile(None)?))
    }

    /// Compiles the table. Rules of the same name as in `previous` continue its counts.
    pub(super) fn compile(self, previous: Option<&Table<S>>) -> Result<Table<S>, ConfigError> {
        self.check_identities()?;
        let counts: HashMap<_, _> = previous
            .into_iter()
            .flat_map(|table| table.rules.iter().chain([&table.default]))
            .map(|rule| (rule.identity.name(), &rule.matched))
            .collect();
        let count =
            |name: &str| counts.get(name).map(|count| Arc::clone(count)).unwrap_or_default();

        let mut rules = Vec::with_capacity(self.rules.len());
        for (position, rule) in self.rules.into_iter().enumerate() {
            let within = |error: ConfigError| error.within(&format!("rules[{position}]"));
            let tests = compile_conditions(&rule.conditions).map_err(within)?;
            let rewrites = Rewrites {
                host: compile_rewrite("host_rewrite", rule.host_rewrite, Case::Insensitive)
                    .map_err(within)?,
                url: compile_rewrite("url_rewrite", rule.url_rewrite, Case::Sensitive)
                    .map_err(within)?,
            };
            let name = name_of(rule.name, rule.priority);
            let matched = count(&name);
            let identity = MatchedRule(Arc::new(Identity { priority: Some(rule.priority), name }));
            rules.push(TableRule { identity, tests, rewrites, service: rule.service, matched });
        }
        rules.sort_unstable_by_key(|rule| rule.identity.priority());

        let index = Index::new(rules.iter().map(|rule| &*rule.tests));
        let identified = rules.iter().map(|rule| (&*rule.identity.0, &*rule.tests));
        let warnings = find_warnings(identified);
        let default = TableRule {
            matched: count(&self.default_name),
            identity: MatchedRule(Arc::new(Identity { priority: None, name: self.default_name })),
            tests: Box::default(),
            rewrites: Rewrites::default(),
            service: self.default,
        };
        Ok(Table { rules: rules.into(), default, index, warnings })
    }

    fn check_identities(&self) -> Result<(), ConfigError> {
        let mut priorities = HashMap::with_capacity(self.rules.len());
        let mut names = HashSet::from([Arc::clone(&self.default_name)]);
        for (position, rule) in self.rules.iter().enumerate() {
            let invalid = |field, expected: String| {
                ConfigError::new(format!("rules[{position}].{field}"), expected)
            };
            let priority = rule.priority;
            if !PRIORITIES.contains(&priority) {
                let expected = "a number from 1 to 50000".to_owned();
                return Err(invalid("priority", expected).with_value(priority));
            }
            if let Some(other) = priorities.insert(priority, position) {
                let expected = format!("another priority than that of rules[{other}]");
                return Err(invalid("priority", expected).with_value(priority));
            }
            let name = name_of(rule.name.clone(), priority);
            if !names.insert(Arc::clone(&name)) {
                let expected = "a name that no other rule has".to_owned();
                return Err(invalid("name", expected).with_value(name));
            }
        }
        Ok(())
    }
}

fn name_of(name: Option<Arc<str>>, priority: u32) -> Arc<str> {
    name.unwrap_or_else(|| priority.to_string().into())
}

pub(super) fn compile_rewrite(
    field: &str,
    text: Option<RewriteText>,
    case: Case,
) -> Result<Option<Replacement>, ConfigError> {
    let Some(RewriteText { regex, replacement }) = text else { return Ok(None) };
    Replacement::new(&regex, &replacement, case).map(Some).map_err(|error| error.within(field))
}

impl<S> fmt::Debug for RulesBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesBuilder")
            .field("name", &self.name)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
