//! Functions in virtual time: Poisson arrivals, environments that start cold and expire, limits.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use tokio::time::Instant;
use tower_lb::{
    endpoint::{Endpoint, Tried},
    load::Now,
    outcome::{Attempt, Outcome},
    strategy::{BuildContext, Candidates, Pick, PickContext, Rng, Strategy},
};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A function: how long it takes, and how many at once it takes before it throttles.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    pub(crate) latency: Duration,
    pub(crate) room: usize,
    pub(crate) fails: bool,
    pub(crate) tier: u32,
}

pub(crate) const FUNCTION: Function =
    Function { latency: Duration::from_millis(50), room: 1000, fails: false, tier: 0 };

/// Environments stay for so long after their last request; a cold start takes so much longer.
pub(crate) const STAYS: Duration = Duration::from_secs(60);
pub(crate) const COLD: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) requests: Vec<u32>,
    pub(crate) cold_starts: u32,
    pub(crate) throttled: u32,
    pub(crate) refused: u32,
    /// How long functions ran, cold starts included: what is paid for.
    pub(crate) ran: Duration,
}

/// Poisson arrivals at a rate that may change, in virtual time. `rate` is per second, at a time.
pub(crate) fn simulate<St>(
    mut strategy: St,
    functions: &[Function],
    time: Duration,
    rate: impl Fn(Duration) -> f64,
) -> Counts
where
    St: Strategy<Picker: Pick<()>>,
{
    let tiers = functions.iter().map(|function| function.tier);
    let endpoints: Vec<_> =
        (0..).zip(tiers).map(|(n, tier)| Endpoint::new(n).with_tier(tier)).collect();
    let candidates = Candidates::for_strategy(&strategy, endpoints.iter().map(|e| (e.target(), e)));
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let (start, mut rng, tried) = (Instant::now(), Rng::seeded(7), Tried::none());
    let mut counts = Counts { requests: vec![0; functions.len()], ..Counts::default() };
    // When idle environments were last used, oldest first.
    let mut idle = vec![Vec::<Duration>::new(); functions.len()];
    let mut running: BinaryHeap<Reverse<(Duration, usize, usize)>> = BinaryHeap::new();
    let mut attempts: Vec<Option<Attempt>> = Vec::new();
    let mut now = Duration::ZERO;
    loop {
        now += Duration::from_secs_f64(-(1.0 - rng.unit()).ln() / rate(now));
        while let Some(&Reverse((ended, index, attempt))) = running.peek() {
            if ended > now {
                break;
            }
            running.pop();
            idle[index].push(ended);
            let outcome =
                if functions[index].fails { Outcome::ApplicationError } else { Outcome::Success };
            if let Some(attempt) = attempts[attempt].take() {
                attempt.finish_at(outcome, start + ended);
            }
        }
        if now > time {
            return counts;
        }
        let mut context = PickContext::new(&mut rng, Now::at(start + now), &tried);
        let Some(picked) = picker.pick(&(), &mut context) else {
            counts.refused += 1;
            continue;
        };
        let index: usize = picked.name().parse().unwrap();
        let attempt = picked.begin(Some(start + now)).unwrap();
        counts.requests[index] += 1;
        let busy = running.iter().filter(|Reverse((_, at, _))| *at == index).count();
        if busy >= functions[index].room {
            counts.throttled += 1;
            attempt.finish_at(Outcome::Overload { retry_after: None }, start + now + MS);
            continue;
        }
        idle[index].retain(|&used| now < used + STAYS);
        let mut latency = functions[index].latency.mul_f64(0.5 + rng.unit());
        if idle[index].pop().is_none() {
            counts.cold_starts += 1;
            latency += COLD;
        }
        counts.ran += latency;
        running.push(Reverse((now + latency, index, attempts.len())));
        attempts.push(Some(attempt));
    }
}
