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
        let mut weights = candidates.iter().map(Candidate::weight);
        let first = weights.next();
        if weights.all(|weight| Some(weight) == first) {
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

/// The ratio within which costs count as equal where weights differ.
const ALIKE: f64 = 1.25;

/// A candidate under consideration, with its load.
#[derive(Clone, Copy)]
pub(super) struct Contender<'a> {
    pub(super) candidate: &'a Candidate,
    score: Score,
    weight: f64,
}

impl<'a> Contender<'a> {
    #[inline]
    pub(super) fn new(
        candidate: &'a Candidate,
        load: &impl Load,
        context: &mut PickContext<'_>,
    ) -> Self {
        let score = load.score(candidate.vitals(), context.clock()).sanitized();
        Self {
            candidate,
            score,
            weight: f64::from(candidate.weight()),
        }
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
        let (cost, its_cost) = self.costs_beside(incumbent);
        let lighter = self.weight.min(incumbent.weight);
        cost * (self.score.backlog + 1.0) * incumbent.weight
            < its_cost * (incumbent.score.backlog * self.weight + lighter)
    }

    /// Both costs, made equal if weights differ and costs hardly do: what is measured rarely is
    /// estimated roughly, and noise must not shift the shares of the rarely picked.
    #[inline]
    fn costs_beside(&self, other: &Self) -> (f64, f64) {
        let (cost, its_cost) = (self.score.cost, other.score.cost);
        let alike = cost < its_cost * ALIKE && its_cost < cost * ALIKE;
        if alike && self.weight != other.weight {
            (1.0, 1.0)
        } else {
            (cost, its_cost)
        }
    }

    /// How the loads per weight, with this request on top, compare.
    #[inline]
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let (cost, its_cost) = self.costs_beside(other);
        let ours = cost * (self.score.backlog + 1.0) * other.weight;
        let its = its_cost * (other.score.backlog + 1.0) * self.weight;
        ours.total_cmp(&its)
    }
}
