//! Draws candidates by weight and compares their loads, for P2C, least-loaded and others.

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
    /// All weights are equal; holds the number of candidates.
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

    /// Draws two distinct candidates; returns `None` if there are fewer.
    ///
    /// Both are drawn by weight. If the first has nearly all the weight, so that four more draws
    /// yield the same one, the second is a random other.
    #[inline(always)]
    pub(crate) fn draw_two(&self, rng: &mut Rng) -> Option<[usize; 2]> {
        match self {
            Self::Uniform(len @ 2..) => {
                // One random number for both: of the fraction, the first draw takes log2(len) bits.
                let (first, rest) = rng.split(*len);
                let (other, _) = scale(rest, len - 1);
                Some([first, skip(first, other)])
            }
            Self::Uniform(_) => None,
            Self::Weighted(table) => draw_two_by_weight(table, rng),
        }
    }
}

// Not inlined, so that equal weights, which are common, cost no registers.
#[inline(never)]
fn draw_two_by_weight(table: &AliasTable, rng: &mut Rng) -> Option<[usize; 2]> {
    let others = table.len().checked_sub(1).filter(|&others| others > 0)?;
    let first = table.draw(rng);
    let other = (0..4).map(|_| table.draw(rng)).find(|&other| other != first);
    Some([first, other.unwrap_or_else(|| skip(first, rng.below(others)))])
}

/// Returns the index number `other` among those that are not `first`. Without a branch, which the
/// processor could not predict.
#[inline]
fn skip(first: usize, other: usize) -> usize {
    other + usize::from(other >= first)
}

/// A candidate and its load, to be compared with others.
#[derive(Clone, Copy)]
pub(crate) struct Contender<'a> {
    pub(crate) candidate: &'a Candidate,
    score: Score,
    /// The load including this request.
    load: f64,
}

impl<'a> Contender<'a> {
    #[inline(always)]
    pub(crate) fn new(
        candidate: &'a Candidate,
        load: &impl Load,
        context: &mut PickContext<'_>,
    ) -> Self {
        let mut now = *context.clock();
        let score = load.score(&candidate.gauge(context.class()), &mut now);
        *context.clock() = now;
        Self { candidate, score, load: score.with_one_more() }
    }

    /// Returns the load, including this request.
    pub(crate) fn load(&self) -> f64 {
        self.load
    }

    /// Returns true if the load per weight, including this request, is at most `factor` times that
    /// of `other`.
    pub(crate) fn is_at_most(&self, factor: f64, other: &Self) -> bool {
        let [weight, other_weight] = [self, other].map(|one| f64::from(one.candidate.weight()));
        self.load * other_weight <= factor * other.load * weight
    }

    /// Returns true if this candidate is better for the request than `incumbent`, which was drawn
    /// by weight.
    ///
    /// With equal weights, the lower load including this request wins. With unequal weights, the
    /// backlog is divided by the weight, and this request adds to the incumbent's backlog no more
    /// than it would add at the heavier of the two. An idle endpoint therefore keeps the requests
    /// that were drawn for it, and the shares under equal latency are those of the weights, even
    /// with weights of 198:1:1.
    #[inline]
    pub(crate) fn beats(&self, incumbent: &Self) -> bool {
        if self.candidate.weight() == incumbent.candidate.weight() {
            return self.load < incumbent.load;
        }
        let ([ours, other], [weight, other_weight]) = self.weighted_scores(incumbent);
        // Both sides are multiplied by both weights, which saves two divisions.
        ours.cost * (ours.backlog + 1.0) * other_weight
            < other.cost * (other.backlog * weight + weight.min(other_weight))
    }

    /// Compares the loads per weight, including this request.
    #[inline]
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        if self.candidate.weight() == other.candidate.weight() {
            return self.load.total_cmp(&other.load);
        }
        let ([ours, theirs], [weight, other_weight]) = self.weighted_scores(other);
        let load = ours.cost * (ours.backlog + 1.0) * other_weight;
        load.total_cmp(&(theirs.cost * (theirs.backlog + 1.0) * weight))
    }

    /// Returns the scores and the weights of both. Nearly equal costs are made equal: the cost of a
    /// light endpoint, which is picked rarely, is a rough estimate, and its noise must not shift
    /// the shares.
    fn weighted_scores(&self, other: &Self) -> ([Score; 2], [f64; 2]) {
        let mut scores = [self.score, other.score].map(Score::sanitized);
        let [ours, theirs] = scores.map(|score| score.cost);
        if ours < theirs * EQUAL_COST_RATIO && theirs < ours * EQUAL_COST_RATIO {
            scores.iter_mut().for_each(|score| score.cost = 1.0);
        }
        (scores, [self.candidate, other.candidate].map(|one| f64::from(one.weight())))
    }
}

/// The ratio of costs below which they count as equal where weights differ.
const EQUAL_COST_RATIO: f64 = 1.25;
