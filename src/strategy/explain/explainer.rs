use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    ExplainedCandidate, ExplainedStep, Explanation, PickOutcome, Rules, Standing,
    rule::Exclusion,
    tree::{Part, Step, Tree},
};
use crate::{
    endpoint::Health,
    strategy::{Candidate, Candidates, Pick, PickContext},
};

/// The most steps of an explanation, and the most candidates that it lists.
const MAX_LISTED: usize = 100;
/// The longest decision of a step, in bytes, before more is left out.
const MAX_DECISION_BYTES: usize = 1000;
/// How many parts without an eligible endpoint are shown.
const MAX_EMPTY_PARTS: usize = 5;

/// Whether a pick that is explained counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nothing is sent, so the pick must have no effect.
    DryRun,
    /// The request goes where the pick says.
    RealPick,
}

/// Records a pick while it is made; see [`Pick::explain`].
///
/// A leaf strategy calls [`step`](Self::step) and then [`say`](Self::say),
/// [`compare`](Self::compare) and [`note`](Self::note). A wrapper calls `step`, `say`, and
/// [`inner`](Self::inner) for its inner picker.
///
/// ```
/// use tower_lb::strategy::{Candidate, Candidates, Explainer, Pick, PickContext};
///
/// /// Selects the endpoint with the fewest requests in flight.
/// struct FewestPicker(Candidates);
///
/// impl<Req> Pick<Req> for FewestPicker {
///     fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
///         let accepted = self.0.iter().filter(|candidate| context.accepts(candidate));
///         let fewest = accepted.min_by_key(|candidate| candidate.stats().outstanding());
///         fewest.or_else(|| self.0.fallback(context))
///     }
///
///     fn explain(
///         &self,
///         request: &Req,
///         context: &mut PickContext<'_>,
///         explainer: &mut Explainer,
///     ) -> Option<&Candidate> {
///         explainer.step("fewest");
///         explainer.say("compares the requests in flight of all endpoints");
///         for candidate in self.0.iter().filter(|candidate| context.accepts(candidate)) {
///             explainer.compare(candidate, candidate.stats().outstanding().into());
///         }
///         self.pick(request, context)
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Explainer {
    purpose: Purpose,
    steps: Vec<Step>,
    parts: Vec<Part>,
    /// What was read of each candidate, by its position, in the order of the first look.
    looks: Vec<Look>,
    look_by_position: HashMap<usize, usize>,
    /// How many turns of each sequence a dry run has looked at, by the sequence's address.
    turns: Vec<(usize, u64)>,
    at: At,
}

/// Where in the tree of pickers the pick is.
#[derive(Clone, Debug)]
struct At {
    /// The part whose picker is asked; `None` for the outermost picker.
    part: Option<usize>,
    /// The step of the present picker, once it has begun.
    step: Option<usize>,
    depth: usize,
    /// The number of pickers of this part that were passed.
    passed: usize,
    /// The rules of this part that are not shown yet: those from this index on.
    rules: Rules,
    shown: usize,
}

#[derive(Debug, Default)]
struct Look {
    score: Option<f64>,
    note: String,
}

/// Explains one pick over `candidates`, whose eligible ones are those that `picker` may pick.
pub(crate) fn explain<'a, P, Req>(
    picker: &'a P,
    candidates: &Candidates,
    rules: &Rules,
    purpose: Purpose,
    request: &Req,
    context: &mut PickContext<'_>,
) -> (Option<&'a Candidate>, Explanation)
where
    P: Pick<Req> + ?Sized,
{
    let mut explainer = Explainer::new(purpose, Arc::clone(rules));
    let picked = picker.explain(request, context, &mut explainer);
    explainer.show_rules(usize::MAX);
    let explanation = explainer.finish(candidates, picked, context);
    (picked, explanation)
}

impl Explainer {
    fn new(purpose: Purpose, rules: Rules) -> Self {
        let at = At { part: None, step: None, depth: 0, passed: 0, rules, shown: 0 };
        Self {
            purpose,
            steps: Vec::new(),
            parts: Vec::new(),
            looks: Vec::new(),
            look_by_position: HashMap::new(),
            turns: Vec::new(),
            at,
        }
    }

    /// Returns true if no request is sent, so that the pick must have no effect: it moves no
    /// cursor and counts nothing. If false, the pick is a real one, which is explained while it is
    /// made.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.purpose == Purpose::DryRun
    }

    /// Begins the step of this picker. `name` is that of the strategy or wrapper.
    pub fn step(&mut self, name: impl Into<Cow<'static, str>>) {
        self.show_rules(self.at.passed);
        self.add_step(name.into(), String::new(), None);
    }

    /// Adds `text` to the decision of the present step.
    pub fn say(&mut self, text: impl AsRef<str>) {
        let Some(step) = self.at.step.and_then(|step| self.steps.get_mut(step)) else { return };
        append(&mut step.decision, text.as_ref());
    }

    /// Records that the strategy compared the candidate by `score`. The lowest score should win; a
    /// step says what it is.
    pub fn compare(&mut self, candidate: &Candidate, score: f64) {
        self.look(candidate).score = Some(score);
    }

    /// Adds `text` to the reason why the candidate was picked or not.
    pub fn note(&mut self, candidate: &Candidate, text: impl AsRef<str>) {
        append(&mut self.look(candidate).note, text.as_ref());
    }

    /// Passes the pick on to the inner picker of a wrapper.
    pub fn inner<'a, P, Req>(
        &mut self,
        picker: &'a P,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + ?Sized,
    {
        let (step, depth, passed) = (self.at.step, self.at.depth, self.at.passed);
        self.pass();
        let picked = picker.explain(request, context, self);
        (self.at.step, self.at.depth, self.at.passed) = (step, depth, passed);
        picked
    }

    /// Records that the pick goes through a picker, which may have no step.
    pub(crate) fn pass(&mut self) {
        self.at.passed += 1;
    }

    /// Passes the pick on to the picker of a part of the candidates. The present step then counts
    /// as one that excludes the candidates of its other parts.
    pub(crate) fn part<'a, P, Req>(
        &mut self,
        (name, eligible, rules): (&Arc<str>, &Candidates, &Rules),
        picker: &'a P,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + ?Sized,
    {
        let Some(step) = self.at.step else { return picker.pick(request, context) };
        self.parts.push(Part { step, name: Arc::clone(name), eligible: eligible.clone() });
        let inner = At {
            part: Some(self.parts.len() - 1),
            step: None,
            depth: self.at.depth,
            passed: 0,
            rules: Arc::clone(rules),
            shown: 0,
        };
        let outer = std::mem::replace(&mut self.at, inner);
        let picked = picker.explain(request, context, self);
        self.show_rules(usize::MAX);
        self.at = outer;
        picked
    }

    /// Marks the present step as one that asks only some of its parts.
    pub(crate) fn divides(&mut self) {
        if self.at.step.is_none() {
            self.step("parts");
        }
        // The rules of its parts without a picker belong here.
        let (step, depth) = (self.at.step, self.at.depth);
        self.show_rules(self.at.passed + 1);
        (self.at.step, self.at.depth) = (step, depth);
        if let Some(step) = self.at.step.and_then(|step| self.steps.get_mut(step)) {
            step.divides = true;
        }
    }

    /// Returns how many turns of the sequence at this address were looked at before this one.
    pub(super) fn next_turn(&mut self, sequence: usize) -> u64 {
        let known = self.turns.iter_mut().find(|(address, _)| *address == sequence);
        match known {
            Some((_, taken)) => {
                *taken += 1;
                *taken
            }
            None => {
                self.turns.push((sequence, 0));
                0
            }
        }
    }

    /// Shows the rules around which at most `passed` pickers are.
    fn show_rules(&mut self, passed: usize) {
        let rules = Arc::clone(&self.at.rules);
        let due = rules.iter().skip(self.at.shown).take_while(|rule| rule.wraps <= passed);
        let of_empty_parts = due.clone().filter(|rule| rule.of_empty_part).count();
        for rule in due {
            self.at.shown += 1;
            self.add_step(rule.name.into(), rule.decision.clone(), rule.exclusion.clone());
            if rule.of_empty_part {
                // Siblings, not one inside of the other.
                self.at.depth -= 1;
                if let Some(step) = self.steps.last_mut() {
                    step.hidden = of_empty_parts > MAX_EMPTY_PARTS;
                }
            }
        }
    }

    fn add_step(
        &mut self,
        name: Cow<'static, str>,
        decision: String,
        exclusion: Option<Exclusion>,
    ) {
        let At { part, depth, .. } = self.at;
        self.at.step = Some(self.steps.len());
        self.at.depth += 1;
        self.steps.push(Step {
            part,
            depth,
            name,
            decision,
            exclusion,
            divides: false,
            hidden: false,
        });
    }

    fn look(&mut self, candidate: &Candidate) -> &mut Look {
        let position = candidate.position();
        let index = *self.look_by_position.entry(position).or_insert_with(|| {
            self.looks.push(Look::default());
            self.looks.len() - 1
        });
        &mut self.looks[index]
    }

    fn finish(
        self,
        candidates: &Candidates,
        picked: Option<&Candidate>,
        context: &PickContext<'_>,
    ) -> Explanation {
        let is_full = picked.is_some_and(|picked| !context.has_room(picked));
        let outcome = match picked {
            Some(picked) if context.is_refused_at(picked) => PickOutcome::Refused,
            Some(_) if is_full => PickOutcome::Waits,
            Some(_) => PickOutcome::Picked,
            None if context.waits() => PickOutcome::Waits,
            None if candidates.iter().any(|one| context.has_room(one)) => PickOutcome::Refused,
            None => PickOutcome::Waits,
        };
        let tree = Tree::of(&self.steps, &self.parts);
        let mut listed = Vec::new();
        let mut counts: BTreeMap<Standing, usize> = BTreeMap::new();
        let mut endpoints = 0;
        for candidate in candidates.all() {
            endpoints += 1;
            let look = self.look_by_position.get(&candidate.position());
            let standing = self.standing(candidate, picked, look, candidates, &tree, context);
            *counts.entry(standing).or_default() += 1;
            listed.push((standing.priority(), look.copied().unwrap_or(usize::MAX), candidate));
            // Kept bounded while all endpoints are gone through.
            if listed.len() >= 16 * MAX_LISTED {
                keep_first(&mut listed);
            }
        }
        keep_first(&mut listed);
        let describe = |&(_, look, candidate): &(u8, usize, &Candidate)| {
            let at = (look != usize::MAX).then_some(&look);
            let standing = self.standing(candidate, picked, at, candidates, &tree, context);
            if let Some(count) = counts.get_mut(&standing) {
                *count -= 1;
            }
            let look = self.looks.get(look);
            ExplainedCandidate {
                name: candidate.name().to_owned(),
                zone: candidate.locality().map(|locality| locality.zone().to_owned()),
                tier: candidate.tier(),
                weight: candidate.weight(),
                outstanding: candidate.stats().outstanding(),
                standing,
                score: look.and_then(|look| look.score),
                reason: self.reason(candidate, standing, look, &tree),
            }
        };
        let mut listed: Vec<_> = listed.iter().map(describe).collect();
        // Stable, so those of one standing stay in the order in which they were looked at.
        listed.sort_by_key(|one| one.standing);
        counts.retain(|_, count| *count > 0);
        let shown = || self.steps.iter().filter(|step| !step.hidden);
        let more = shown().count().saturating_sub(MAX_LISTED);
        let mut steps: Vec<_> = shown().take(MAX_LISTED).map(ExplainedStep::from).collect();
        if let Some(last) = steps.last_mut().filter(|_| more > 0) {
            last.decision = format!("this and {more} more steps are left out");
        }
        Explanation {
            outcome,
            picked: picked.map(|picked| picked.name().to_owned()),
            endpoints,
            steps,
            candidates: listed,
            unlisted: counts.into_iter().collect(),
        }
    }

    fn standing(
        &self,
        candidate: &Candidate,
        picked: Option<&Candidate>,
        look: Option<&usize>,
        candidates: &Candidates,
        tree: &Tree<'_>,
        context: &PickContext<'_>,
    ) -> Standing {
        if picked.is_some_and(|picked| Arc::ptr_eq(picked.stats(), candidate.stats())) {
            return Standing::Picked;
        }
        let is_eligible = candidates.is_eligible_at(candidate.position());
        match candidate.health() {
            _ if is_eligible => {}
            Health::Unhealthy(_) => return Standing::Unhealthy,
            Health::Draining(_) => return Standing::Draining,
            _ if candidate.weight() == 0 => return Standing::ZeroWeight,
            _ => return Standing::Excluded,
        }
        if look.is_none() && tree.exclusion(candidate).is_some() {
            return Standing::Excluded;
        }
        if !context.has_room(candidate) {
            return Standing::Full;
        }
        if context.has_tried(candidate) {
            return Standing::Tried;
        }
        match look.and_then(|&look| self.looks.get(look)) {
            Some(Look { score: Some(_), .. }) => Standing::Compared,
            _ => Standing::NotCompared,
        }
    }

    fn reason(
        &self,
        candidate: &Candidate,
        standing: Standing,
        look: Option<&Look>,
        tree: &Tree<'_>,
    ) -> Option<String> {
        let mut reason = match standing {
            Standing::Unhealthy | Standing::Draining => {
                candidate.health().reason().unwrap_or_default().to_owned()
            }
            Standing::Excluded => match tree.exclusion(candidate) {
                Some(exclusion) => exclusion.to_string(),
                None => "by the strategy".to_owned(),
            },
            // Degraded, or admitted by a panic rule.
            _ => match candidate.health() {
                Health::Healthy => String::new(),
                Health::Degraded(reason) => format!("degraded: {reason}"),
                Health::Unhealthy(reason) => format!("unhealthy: {reason}"),
                Health::Draining(reason) => format!("draining: {reason}"),
            },
        };
        if let Some(look) = look {
            append(&mut reason, &look.note);
        }
        (!reason.is_empty()).then_some(reason)
    }
}

/// Keeps the candidates that an explanation lists.
fn keep_first<T>(listed: &mut Vec<(u8, usize, T)>) {
    listed.sort_by_key(|&(priority, look, _)| (priority, look));
    listed.truncate(MAX_LISTED);
}

/// Adds a clause, unless the text is too long already.
fn append(text: &mut String, clause: &str) {
    if clause.is_empty() || text.len() + clause.len() > MAX_DECISION_BYTES && !text.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push_str("; ");
    }
    text.push_str(clause);
}
