//! The pool of probes' answers that [`Prequal`](crate::strategy::Prequal) picks from.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{endpoint::EndpointStats, strategy::Rng};

pub(super) const POOL_SIZE: usize = 16;
const MAX_ANSWER_AGE: Duration = Duration::from_secs(1);
/// How many of the latest answers the quantile is computed from.
const QUANTILE_ANSWERS: usize = 128;

/// An answer in the pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) endpoint: EndpointKey,
    pub(super) in_flight: f64,
    pub(super) latency_secs: f64,
    pub(super) at: Instant,
    /// How many times it has been used.
    pub(super) used: u32,
}

/// Identifies an endpoint: the address of its stats.
pub(super) type EndpointKey = usize;

pub(super) fn endpoint_key(stats: &EndpointStats) -> EndpointKey {
    std::ptr::from_ref(stats) as usize
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    /// The oldest first.
    pub(super) answers: Vec<Answer>,
    /// The requests in flight of the latest answers.
    recent: VecDeque<f64>,
    /// An answer with more requests in flight is hot.
    threshold: f64,
    /// Removals that are due; a fraction is carried over to the next request.
    removals: f64,
    /// Whether the next removal is of the worst answer, and not of the oldest.
    worst_next: bool,
}

impl Pool {
    pub(super) fn add(&mut self, answer: Answer, quantile: f64) {
        if self.answers.len() == POOL_SIZE {
            self.answers.remove(0);
        }
        self.answers.push(answer);
        if self.recent.len() == QUANTILE_ANSWERS {
            self.recent.pop_front();
        }
        self.recent.push_back(answer.in_flight);
        // The copy, which the selection reorders, is on the stack: reports come with responses,
        // which must not allocate.
        let mut sorted = [0.0; QUANTILE_ANSWERS];
        sorted.iter_mut().zip(&self.recent).for_each(|(copy, in_flight)| *copy = *in_flight);
        let recent = &mut sorted[..self.recent.len()];
        let at = ((recent.len() - 1) as f64 * quantile) as usize;
        // With the quantile 0, all answers are hot.
        self.threshold = match quantile {
            0.0 => -1.0,
            _ => *recent.select_nth_unstable_by(at, f64::total_cmp).1,
        };
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.answers.retain(|answer| now.saturating_duration_since(answer.at) < MAX_ANSWER_AGE);
    }

    fn is_hot(&self, answer: &Answer) -> bool {
        answer.in_flight > self.threshold
    }

    /// Returns the rank of an answer; the least is the best.
    pub(super) fn rank(&self, answer: &Answer) -> (bool, f64) {
        let hot = self.is_hot(answer);
        (hot, if hot { answer.in_flight } else { answer.latency_secs })
    }

    /// Returns the index of the best accepted answer.
    pub(super) fn best(&self, accepts: impl Fn(&Answer) -> bool) -> Option<usize> {
        let accepted = self.answers.iter().enumerate().filter(|(_, answer)| accepts(answer));
        let ranked = accepted.map(|(index, answer)| (self.rank(answer), index));
        ranked.min_by(|(one, _), (other, _)| compare(one, other)).map(|(_, index)| index)
    }

    /// Records that an answer was used, and removes it after `uses` uses on average.
    pub(super) fn use_up(&mut self, index: usize, uses: f64, rng: &mut Rng) {
        let answer = &mut self.answers[index];
        answer.in_flight += 1.0;
        answer.used += 1;
        // Rounded at random, so that the mean is `uses`.
        let rounded = uses.floor() + f64::from(u8::from(rng.unit() < uses.fract()));
        if f64::from(answer.used) >= rounded {
            self.answers.remove(index);
        }
    }

    /// Removes answers at the rate of `removals` for each call.
    pub(super) fn remove(&mut self, removals: f64) {
        self.removals += removals;
        while self.removals >= 1.0 {
            self.removals -= 1.0;
            let worst = self.worst_next;
            self.worst_next = !worst;
            let ranked = self.answers.iter().map(|answer| self.rank(answer)).enumerate();
            let index = if worst {
                ranked.max_by(|(_, one), (_, other)| compare(one, other)).map(|(at, _)| at)
            } else {
                Some(0)
            };
            if let Some(index) = index.filter(|&index| index < self.answers.len()) {
                self.answers.remove(index);
            }
        }
    }
}

fn compare(one: &(bool, f64), other: &(bool, f64)) -> std::cmp::Ordering {
    one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(endpoint: EndpointKey, in_flight: f64, latency_secs: f64) -> Answer {
        Answer { endpoint, in_flight, latency_secs, at: Instant::now(), used: 0 }
    }

    fn pool(answers: &[Answer]) -> Pool {
        let mut pool = Pool::default();
        answers.iter().for_each(|&answer| pool.add(answer, 0.84));
        pool.threshold = 5.0;
        pool
    }

    #[test]
    fn the_quickest_cold_one_is_taken_or_else_the_hot_one_with_the_fewest() {
        let mut all = pool(&[answer(0, 1.0, 0.3), answer(1, 5.0, 0.1), answer(2, 6.0, 0.01)]);
        assert_eq!(all.best(|_| true), Some(1), "cold, and quickest");
        assert_eq!(all.best(|answer| answer.endpoint == 2), Some(2));
        all.threshold = 0.0;
        assert_eq!(all.best(|_| true), Some(0), "all are hot");
    }

    #[test]
    fn the_oldest_and_the_worst_are_removed_in_turn() {
        let mut all = pool(&[answer(0, 1.0, 0.1), answer(1, 9.0, 0.1), answer(2, 2.0, 0.5)]);
        all.remove(1.0);
        assert_eq!(all.answers.iter().map(|one| one.endpoint).collect::<Vec<_>>(), [1, 2]);
        all.remove(0.5);
        all.remove(0.5);
        assert_eq!(all.answers[0].endpoint, 2, "the hot one was worse than the slow one");
        all.remove(7.0);
        assert!(all.answers.is_empty());
    }

    #[test]
    fn an_answer_is_used_as_often_as_the_rates_say() {
        let mut rng = Rng::seeded(1);
        let mut used = 0;
        for _ in 0..10_000 {
            let mut one = pool(&[answer(0, 1.0, 0.1)]);
            while !one.answers.is_empty() {
                one.use_up(0, 1.3, &mut rng);
                used += 1;
            }
        }
        assert!((12_700..13_300).contains(&used), "{used}");
    }

    #[test]
    fn answers_expire_and_the_pool_stays_small() {
        let now = Instant::now();
        let many: Vec<_> = (0..40).map(|endpoint| answer(endpoint, 1.0, 0.1)).collect();
        let mut pool = pool(&many);
        assert_eq!((pool.answers.len(), pool.answers[0].endpoint), (16, 24));
        pool.expire(now + Duration::from_secs(2));
        assert!(pool.answers.is_empty());
    }
}
