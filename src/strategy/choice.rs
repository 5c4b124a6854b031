//! What P2C and least-loaded have in common: drawing candidates by weight, and comparing them.

use std::cmp::Ordering;

use super::{Candidate, Candidates, PickContext, Rng, alias::AliasTable};
use crate::load::{Load, Score};

/// Draws candidates in proportion to their weights.
#[derive(Debug)]
pub(super) enum Sampler {
    /// All weights are equal.
    Uniform(usize),
    Weighted(AliasTable),
}

impl Sampler {
    pub(super) fn new(candidates: &Candidates) -> Self {
        if candidates.have_equal_weights() {
            return Self::Uniform(candidates.len());
        }
        let weights: Vec<_> = candidates.iter().map(Candidate::weight).collect();
        AliasTable::new(&weights).map_or(Self::Uniform(weights.len()), Self::Weighted)
    }

    #[inline]
    pub(super) fn draw(&self, rng: &mut Rng) -> usize {
        match self {
            Self::Uniform(len) => rng.below(*len),
            Self::Weighted(table) => table.draw(rng),
        }
    }

    /// Another one than `first`, of at least two: by weight where that succeeds soon (it may not
    /// if `first` has nearly all the weight), else any.
    #[inline]
    pub(super) fn draw_other(&self, first: usize, len: usize, rng: &mut Rng) -> usize {
        if let Self::Weighted(table) = self {
            for _ in 0..4 {
                let other = table.draw(rng);
                if other != first {
                    return other;
                }
            }
        }
        let other = rng.below(len - 1);
        if other >= first { other + 1 } else { other }
    }
}

/// A candidate under consideration, with its load.
#[derive(Clone, Copy)]
pub(super) struct Contender<'a> {
    pub(super) candidate: &'a Candidate,
    score: Score,
    /// The load with this request on top.
    load: f64,
}

impl<'a> Contender<'a> {
    #[inline]
    pub(super) fn new(
        candidate: &'a Candidate,
        load: &impl Load,
        context: &mut PickContext<'_>,
    ) -> Self {
        let score = load.score(candidate.vitals(), context.clock()).sanitized();
        Self { candidate, score, load: score.cost * (score.backlog + 1.0) }
    }

    /// True if the request is better off here than at `incumbent`, which was drawn by weight.
    ///
    /// With equal weights: if the load with this request on top is lower. With unequal ones the
    /// backlog is divided by the weight, and the incumbent is charged for this request no more than
    /// the heavier of the two would be. So an idle endpoint, whose backlog says nothing, keeps the
    /// requests that were drawn for it, and shares under equal latency are those of the weights, be
    /// they as unequal as 198:1:1. Both sides are multiplied by both weights instead of divided.
    #[inline]
    pub(super) fn beats(&self, incumbent: &Self) -> bool {
        let Some([weight, its_weight]) = self.unequal_weights(incumbent) else {
            return self.load < incumbent.load;
        };
        let [cost, its_cost] = self.costs_beside(incumbent);
        cost * (self.score.backlog + 1.0) * its_weight
            < its_cost * (incumbent.score.backlog * weight + weight.min(its_weight))
    }

    /// How the loads per weight, with this request on top, compare.
    #[inline]
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let Some([weight, its_weight]) = self.unequal_weights(other) else {
            return self.load.total_cmp(&other.load);
        };
        let [cost, its_cost] = self.costs_beside(other);
        let load = cost * (self.score.backlog + 1.0) * its_weight;
        let its_load = its_cost * (other.score.backlog + 1.0) * weight;
        load.total_cmp(&its_load)
    }

    #[inline]
    fn unequal_weights(&self, other: &Self) -> Option<[f64; 2]> {
        let weights = [self.candidate.weight(), other.candidate.weight()];
        (weights[0] != weights[1]).then(|| weights.map(f64::from))
    }

    /// Both costs, made equal if they nearly are: what is picked rarely is estimated roughly, and
    /// noise must not shift the shares of the light.
    fn costs_beside(&self, other: &Self) -> [f64; 2] {
        let costs = [self.score.cost, other.score.cost];
        let alike = costs[0] < costs[1] * ALIKE && costs[1] < costs[0] * ALIKE;
        if alike { [1.0, 1.0] } else { costs }
    }
}

/// The ratio within which costs count as equal where weights differ.
const ALIKE: f64 = 1.25;
