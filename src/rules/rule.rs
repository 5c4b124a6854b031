use std::{fmt, sync::Arc};

use super::Condition;
#[cfg(feature = "alb")]
use super::{
    builder::compile_rewrite,
    condition::{Case, compile_conditions},
};
#[cfg(feature = "alb")]
use crate::ConfigError;

/// A rule: which requests it applies to, and the service that gets them.
///
/// Its conditions must all be met. Of the rules that apply to a request, the one with the lowest
/// priority number gets it.
#[derive(Clone)]
#[must_use]
pub struct Rule<S> {
    pub(super) priority: u32,
    pub(super) name: Option<Arc<str>>,
    pub(super) conditions: Vec<Condition>,
    pub(super) host_rewrite: Option<RewriteText>,
    pub(super) url_rewrite: Option<RewriteText>,
    pub(super) service: S,
}

/// A regular expression and its replacement, as written.
#[derive(Clone, Debug)]
pub(super) struct RewriteText {
    pub(super) regex: String,
    pub(super) replacement: String,
}

impl<S> Rule<S> {
    /// Creates a rule without conditions; it needs at least one. `priority` is from 1 to 50000, and
    /// no other rule of the same set may have it.
    pub fn new(priority: u32, service: S) -> Self {
        Self {
            priority,
            name: None,
            conditions: Vec::new(),
            host_rewrite: None,
            url_rewrite: None,
            service,
        }
    }

    /// Names the rule, for logs, figures and explanations. No other rule of the same set may have
    /// the name. Default: the priority.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a condition to those that must be met.
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Rewrites the host, before the service gets the request: the first text in the host that
    /// `regex` matches, whatever its case, becomes `replacement`.
    ///
    /// In the replacement, `$1` stands for the first group of the expression, `$0` for the whole
    /// match and `$$` for a dollar sign. The expression sees the host without its port, which
    /// stays. A host that does not match stays as it is. If the result is not a host, the request
    /// fails with a [`RewriteError`](super::RewriteError). A login in the service (`auth::oidc`)
    /// still sees the host and the URL of the browser.
    pub fn rewrite_host(
        mut self,
        regex: impl Into<String>,
        replacement: impl Into<String>,
    ) -> Self {
        let (regex, replacement) = (regex.into(), replacement.into());
        self.host_rewrite = Some(RewriteText { regex, replacement });
        self
    }

    /// Rewrites the path and the query, as [`rewrite_host`](Self::rewrite_host) does the host. The
    /// expression sees both as they were sent, such as `/a?b=c`, in upper and lower case. The
    /// result must start with `/`.
    pub fn rewrite_url(mut self, regex: impl Into<String>, replacement: impl Into<String>) -> Self {
        let (regex, replacement) = (regex.into(), replacement.into());
        self.url_rewrite = Some(RewriteText { regex, replacement });
        self
    }

    /// Checks the conditions and the rewrites, as the builder of rules does.
    #[cfg(feature = "alb")]
    pub(crate) fn check(self) -> Result<(), ConfigError> {
        compile_conditions(&self.conditions)?;
        compile_rewrite("host_rewrite", self.host_rewrite, Case::Insensitive)?;
        compile_rewrite("url_rewrite", self.url_rewrite, Case::Sensitive)?;
        Ok(())
    }
}

impl<S> fmt::Debug for Rule<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("priority", &self.priority)
            .field("name", &self.name)
            .field("conditions", &self.conditions)
            .finish_non_exhaustive()
    }
}

/// The rule that a request has matched, in the extensions of the request that its service gets.
///
/// Clones are cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedRule(pub(super) Arc<Identity>);

/// What names a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// `None` for the default rule.
    pub(super) priority: Option<u32>,
    pub(super) name: Arc<str>,
}

impl MatchedRule {
    /// Returns the priority; `None` for the default rule.
    #[must_use]
    pub fn priority(&self) -> Option<u32> {
        self.0.priority
    }

    /// Returns the name of the rule.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }
}
