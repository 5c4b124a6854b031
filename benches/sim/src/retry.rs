//! Bounds of retries and hedges.

use std::collections::VecDeque;

use crate::clock::{Nanos, SECOND};

/// The budget for a client's retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Only the number of attempts bounds retries.
    None,
    /// Each request adds this share of a retry to a bucket that holds 10.
    Bucket(f64),
    /// This share of the requests of the last ten seconds, plus ten retries a second (Finagle,
    /// tower).
    Window(f64),
}

/// When a second attempt is sent in parallel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hedge {
    Never,
    /// After the time that this share of recent requests did not exceed.
    AtQuantile(f64),
}

/// The state of a client's budget.
#[derive(Debug)]
pub struct Account {
    budget: Budget,
    tokens: f64,
    window: VecDeque<(Nanos, f64)>,
}

const BUCKET: f64 = 10.0;
const TTL: f64 = 10.0;
const RESERVE_PER_SECOND: f64 = 10.0;

impl Account {
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        Self { budget, tokens: BUCKET, window: VecDeque::new() }
    }

    pub fn request(&mut self, now: Nanos) {
        match self.budget {
            Budget::None => {}
            Budget::Bucket(share) => self.tokens = (self.tokens + share).min(BUCKET),
            Budget::Window(share) => self.window.push_back((now, share)),
        }
    }

    /// Takes a retry from the budget; returns false if the budget is empty.
    pub fn retry(&mut self, now: Nanos) -> bool {
        match self.budget {
            Budget::None => true,
            Budget::Bucket(_) => {
                let granted = self.tokens >= 1.0;
                self.tokens -= f64::from(u8::from(granted));
                granted
            }
            Budget::Window(_) => {
                let ttl = (TTL * SECOND) as Nanos;
                while self.window.front().is_some_and(|(at, _)| at + ttl < now) {
                    self.window.pop_front();
                }
                let balance: f64 = self.window.iter().map(|(_, amount)| amount).sum();
                let granted = balance + RESERVE_PER_SECOND * TTL >= 1.0;
                if granted {
                    self.window.push_back((now, -1.0));
                }
                granted
            }
        }
    }
}

/// The latest latencies, and a quantile that is computed after every `EVERY` latencies.
#[derive(Debug, Default)]
pub struct RecentQuantile {
    recent: VecDeque<u64>,
    since: u32,
    value: Option<u64>,
}

const RECENT: usize = 2000;
const EVERY: u32 = 200;

impl RecentQuantile {
    pub fn record(&mut self, nanos: Nanos, share: f64) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(nanos);
        self.since += 1;
        if self.since == EVERY {
            self.since = 0;
            let mut sorted: Vec<_> = self.recent.iter().copied().collect();
            let at = ((sorted.len() - 1) as f64 * share) as usize;
            self.value = Some(*sorted.select_nth_unstable(at).1);
        }
    }

    #[must_use]
    pub fn get(&self) -> Option<Nanos> {
        self.value
    }
}
