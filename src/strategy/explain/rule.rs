use std::{borrow::Cow, sync::Arc};

use crate::strategy::Candidates;

/// What a wrapper that has no picker of its own did to the candidates when it was built.
///
/// It holds views, not names, so that a build costs nothing for each endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(super) name: &'static str,
    pub(super) decision: String,
    pub(super) exclusion: Option<Exclusion>,
    /// The rule of a part that has no picker, so that the pick cannot ask it.
    pub(super) of_empty_part: bool,
    /// The number of pickers that wrap what this rule was applied to.
    pub(super) wraps: usize,
}

/// The candidates that were eligible before a rule and are not after it.
#[derive(Clone, Debug)]
pub(super) struct Exclusion {
    pub(super) before: Candidates,
    pub(super) after: Candidates,
    pub(super) reason: Cow<'static, str>,
}

/// The rules of one picker, the outermost first.
pub(crate) type Rules = Arc<[Rule]>;

impl Rule {
    pub(crate) fn new(name: &'static str, decision: impl Into<String>) -> Self {
        Self { name, decision: decision.into(), exclusion: None, of_empty_part: false, wraps: 0 }
    }

    /// Records that candidates eligible in `before` are not eligible in `after`, and why.
    pub(crate) fn excluding(
        mut self,
        before: &Candidates,
        after: &Candidates,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (before, after, reason) = (before.clone(), after.clone(), reason.into());
        self.exclusion = Some(Exclusion { before, after, reason });
        self
    }

    /// Records that one more picker wraps the one that this rule belongs to.
    pub(crate) fn wrapped(mut self) -> Self {
        self.wraps += 1;
        self
    }

    /// Names the part that the rule was applied to, which has no eligible candidate and no picker.
    pub(crate) fn in_empty_part(mut self, part: &str) -> Self {
        self.of_empty_part = true;
        self.decision = format!("{part}: {}", self.decision);
        self
    }
}
