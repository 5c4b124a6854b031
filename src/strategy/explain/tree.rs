use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use super::{ExplainedStep, rule::Exclusion};
use crate::strategy::{Candidate, Candidates};

/// How many parts a reason names.
const MAX_NAMED: usize = 3;

#[derive(Debug)]
pub(super) struct Step {
    pub(super) part: Option<usize>,
    pub(super) depth: usize,
    pub(super) name: Cow<'static, str>,
    pub(super) decision: String,
    pub(super) exclusion: Option<Exclusion>,
    /// The step asked only some of its parts.
    pub(super) divides: bool,
    /// It is not part of the explanation, except as the reason why an endpoint is excluded.
    pub(super) hidden: bool,
}

/// A part of the candidates that a step asked.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) step: usize,
    pub(super) name: Arc<str>,
    pub(super) eligible: Candidates,
}

impl From<&Step> for ExplainedStep {
    fn from(step: &Step) -> Self {
        let (name, decision) = (step.name.clone(), step.decision.clone());
        Self { depth: step.depth, name, decision }
    }
}

/// The steps and parts of a pick, to find what excluded a candidate.
pub(super) struct Tree<'a> {
    steps: &'a [Step],
    parts: &'a [Part],
    /// The steps of the outermost picker, and of each part, that may exclude candidates.
    outermost: Vec<usize>,
    steps_of: Vec<Vec<usize>>,
    parts_of: HashMap<usize, Vec<usize>>,
}

/// What excluded a candidate.
pub(super) enum Cause<'a> {
    Rule(&'a str),
    /// The parts that were asked, none of which has the candidate.
    Outside(&'a Tree<'a>, &'a [usize]),
}

impl<'a> Tree<'a> {
    pub(super) fn of(steps: &'a [Step], parts: &'a [Part]) -> Self {
        let mut outermost = Vec::new();
        let mut steps_of = vec![Vec::new(); parts.len()];
        for (index, step) in steps.iter().enumerate() {
            if step.exclusion.is_some() || step.divides {
                step.part.map_or(&mut outermost, |part| &mut steps_of[part]).push(index);
            }
        }
        let mut parts_of: HashMap<_, Vec<_>> = HashMap::new();
        for (index, part) in parts.iter().enumerate() {
            parts_of.entry(part.step).or_default().push(index);
        }
        Self { steps, parts, outermost, steps_of, parts_of }
    }

    /// Returns what kept the pick from the candidate; `None` if a strategy could have picked it.
    pub(super) fn exclusion(&self, candidate: &Candidate) -> Option<Cause<'_>> {
        self.exclusion_by(&self.outermost, candidate.position())
    }

    fn exclusion_by(&self, steps: &[usize], position: usize) -> Option<Cause<'_>> {
        let mut excluded = None;
        for &index in steps {
            let step = &self.steps[index];
            if let Some(Exclusion { before, after, reason }) = &step.exclusion {
                if before.is_eligible_at(position) && !after.is_eligible_at(position) {
                    return Some(Cause::Rule(reason));
                }
            }
            if !step.divides {
                continue;
            }
            let asked = self.parts_of.get(&index).map(Vec::as_slice).unwrap_or_default();
            let mut within =
                asked.iter().filter(|&&part| self.parts[part].eligible.is_eligible_at(position));
            let Some(first) = within.next() else {
                excluded = excluded.or(Some(Cause::Outside(self, asked)));
                continue;
            };
            // A candidate that any of the parts could have picked is not excluded.
            let cause = self.exclusion_by(&self.steps_of[*first], position);
            let open = cause.is_none()
                || within.any(|&part| self.exclusion_by(&self.steps_of[part], position).is_none());
            if open {
                return None;
            }
            excluded = excluded.or(cause);
        }
        excluded
    }
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(reason) => f.write_str(reason),
            Self::Outside(_, []) => f.write_str("no part was asked"),
            Self::Outside(tree, asked) => {
                f.write_str("not in ")?;
                for (number, &part) in asked.iter().take(MAX_NAMED).enumerate() {
                    let separator = if number == 0 { "" } else { ", " };
                    write!(f, "{separator}{}", tree.parts[part].name)?;
                }
                match asked.len().saturating_sub(MAX_NAMED) {
                    0 => Ok(()),
                    more => write!(f, " or {more} more"),
                }
            }
        }
    }
}
