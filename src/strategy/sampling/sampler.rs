//! What P2C and least-loaded have in common: drawing candidates by weight, and comparing them.

use std::cmp::Ordering;

use super::alias::AliasTable;
use crate::{
    load::{Load, Score},
    rng::scale,
    strategy::{Candidate, Candidates, PickContext, Rng},
};

/// Draws candidates in proportion to their weights.
#[derive(Debug)]
pub(crate) enum Sampler {
    /// All weights are equal.
    Uniform(usize),
    Weighted(AliasTable),
}

impl Sampler {
    pub(crate) fn new(candidates: &Candidates) -> Self {
        if candidates.have_equal_weights() {
            return Self::Uniform(candidates.len());
        }
        let weights: Vec<_> = candidates.iter().map(Candidate::weight).collect();
        AliasTable::new(&weights).map_or(Self::Uniform(weights.len()), Self::Weighted)
    }

    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        match self {
            Self::Uniform(len) => rng.below(*len),
            Self::Weighted(table) => table.draw(rng),
        }
    }

    /// Two distinct ones of at least two: by weight where that succeeds soon (it may not if the
    /// first has nearly all the weight), else the second is any other.
    #[inline]
    pub(crate) fn draw_two(&self, len: usize, rng: &mut Rng) -> [usize; 2] {
        match self {
            Self::Uniform(_) => {
                let (first, rest) = rng.split(len);
                let (other, _) = scale(rest, len - 1);
                [first, skip(first, other)]
            }
            Self::Weighted(table) => {
                let first = table.draw(rng);
                let other = (0..4).map(|_| table.draw(rng)).find(|&other| other != first);
                [first, other.unwrap_or_else(|| skip(first, rng.below(len - 1)))]
            }
        }
    }
}

/// The `other`th index of those that are not `first`. Without a branch: nobody could predict it.
#[inline]
fn skip(first: usize, other: usize) -> usize {
    other + usize::from(other >= first)
}

/// A candidate under consideration, with its load.
#[derive(Clone, Copy)]
pub(crate) struct Contender<'a> {
    pub(crate) candidate: &'a Candidate,
    score: Score,
    /// The load with this request on top.
    load: f64,
}

impl<'a> Contender<'a> {
    #[inline]
    pub(crate) fn new(
        candidate: &'a Candidate,
        load: &impl Load,
        context: &mut PickContext<'_>,
    ) -> Self {
        let score = load.score(&candidate.gauge(context.class()), context.clock());
        Self { candidate, score, load: score.with_one_more() }
    }

    /// True if the load for its weight, with this request on top, is at most `factor` times the
    /// other's.
    pub(crate) fn is_at_most(&self, factor: f64, other: &Self) -> bool {
        let [weight, its] = [self, other].map(|one| f64::from(one.candidate.weight()));
        self.load * its <= factor * other.load * weight
    }

    /// True if the request is better off here than at `incumbent`, which was drawn by weight.
    ///
    /// With equal weights: if the load with this request on top is lower. With unequal ones the
    /// backlog is divided by the weight, and the incumbent is charged for this request no more than
    /// the heavier of the two would be. So an idle endpoint, whose backlog says nothing, keeps the
    /// requests that were drawn for it, and shares under equal latency are those of the weights, be
    /// they as unequal as 198:1:1. Both sides are multiplied by both weights instead of divided.
    #[inline]
    pub(crate) fn beats(&self, incumbent: &Self) -> bool {
        if self.candidate.weight() == incumbent.candidate.weight() {
            return self.load < incumbent.load;
        }
        let ([ours, its], [weight, its_weight]) = self.beside(incumbent);
        ours.cost * (ours.backlog + 1.0) * its_weight
            < its.cost * (its.backlog * weight + weight.min(its_weight))
    }

    /// How the loads per weight, with this request on top, compare.
    #[inline]
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        if self.candidate.weight() == other.candidate.weight() {
            return self.load.total_cmp(&other.load);
        }
        let ([ours, its], [weight, its_weight]) = self.beside(other);
        let load = ours.cost * (ours.backlog + 1.0) * its_weight;
        load.total_cmp(&(its.cost * (its.backlog + 1.0) * weight))
    }

    /// The scores and weights of both. Costs are made equal if they nearly are: what is picked
    /// rarely is estimated roughly, and noise must not shift the shares of the light.
    fn beside(&self, other: &Self) -> ([Score; 2], [f64; 2]) {
        let mut scores = [self.score, other.score].map(Score::sanitized);
        let [ours, its] = scores.map(|score| score.cost);
        if ours < its * ALIKE && its < ours * ALIKE {
            scores.iter_mut().for_each(|score| score.cost = 1.0);
        }
        (scores, [self.candidate, other.candidate].map(|one| f64::from(one.weight())))
    }
}

/// The ratio within which costs count as equal where weights differ.
const ALIKE: f64 = 1.25;
