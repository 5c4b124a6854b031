use std::{
    fmt::Display,
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{
    AnomalyDetection,
    anomaly_status::{AnomalyFigures, AnomalyResult, EndpointAnomaly},
    verdict::Verdict,
    window::{Tally, Window},
};
use crate::{
    endpoint::{Endpoint, OutcomeCounts},
    health::stage::{
        change::{Change, log_change},
        members::{self, Id, Member},
        stage::{Policy, Removal, stage},
        timer::Interval,
        weight_share::with_weight_share,
    },
};

stage! {
    /// Finds endpoints that fail more often than their peers and lowers their share of the traffic.
    /// The stream of [`HealthExt::anomaly_detected`](crate::health::HealthExt::anomaly_detected).
    ///
    /// In each interval, the errors of each serving endpoint are compared with those of all normal
    /// ones, by Fisher's exact test and by the difference of the shares. An error is any response
    /// that reports a failure or an overload, and any request without a response.
    ///
    /// The share of an anomalous endpoint falls by half in each interval in which it still fails
    /// more often, down to the floor. It rises by half after each ten good responses, or after
    /// twelve intervals without a bad one. A share that is whole again ends the anomaly.
    ///
    /// **The group keeps serving.** Unlike outlier detection, nothing is ejected. The number of
    /// anomalous endpoints is limited, and with too few serving endpoints all get their whole
    /// share. If all endpoints fail alike, none differs from its peers.
    ///
    /// **All weights are multiplied by 100** if mitigation is on, as
    /// [`SlowStarted`](crate::health::SlowStarted) does. Strategies without weights ignore it.
    AnomalyDetected, AnomalyDetection, AnomalyPolicy, State, AnomalyFigures
}

type Members<K, T> = members::Members<K, T, State>;

#[derive(Debug)]
struct State {
    anomaly: Anomaly,
    /// When the endpoint became normal or anomalous.
    since: Instant,
    /// The outcomes up to the last interval.
    seen: OutcomeCounts,
    /// The requests of the latest intervals. Empty while the endpoint is anomalous.
    window: Window,
}

#[derive(Clone, Copy, Debug)]
enum Anomaly {
    Normal,
    Anomalous {
        /// The share of its weight that the endpoint has.
        share: f64,
        /// The requests since the last step, and the intervals.
        since_step: Tally,
        intervals: u32,
        /// By how much its share of errors exceeded that of the peers when last seen.
        excess: f64,
    },
}

impl Anomaly {
    fn share(self) -> f64 {
        match self {
            Self::Normal => 1.0,
            Self::Anomalous { share, .. } => share,
        }
    }

    fn result(self) -> AnomalyResult {
        match self {
            Self::Normal => AnomalyResult::Normal,
            Self::Anomalous { .. } => AnomalyResult::Anomalous,
        }
    }
}

struct AnomalyPolicy {
    detection: AnomalyDetection,
    tick: Interval,
    figures: AnomalyFigures,
}

impl AnomalyPolicy {
    fn new(detection: AnomalyDetection) -> Self {
        let figures = AnomalyFigures::new("anomaly detection");
        Self { detection, tick: Interval::new(detection.interval), figures }
    }

    fn compare<K: Display, T>(&self, members: &mut Members<K, T>) {
        let serving = self.read_counts(members);
        let limit = self.detection.limit(serving.len());
        let normal = |(_, member): &(Id, &Member<K, T, State>)| {
            member.endpoint.is_eligible() && matches!(member.state.anomaly, Anomaly::Normal)
        };
        let all: Tally =
            members.iter().filter(normal).map(|(_, member)| member.state.window.total()).sum();
        let mut changes: Vec<(Id, Anomaly, String)> = Vec::new();
        let mut suspects = Vec::new();
        for &(id, latest) in &serving {
            let Some(member) = members.get(id) else { continue };
            match member.state.anomaly {
                Anomaly::Anomalous { .. } => {
                    let (anomaly, cause) = self.reconsider(member.state.anomaly, latest, all);
                    changes.push((id, anomaly, cause));
                }
                Anomaly::Normal => {
                    let own = member.state.window.total();
                    let peers = Tally {
                        errors: all.errors - own.errors,
                        requests: all.requests - own.requests,
                    };
                    if self.detection.detect(own, peers, serving.len()) == Verdict::Worse {
                        suspects.push((id, own.error_share() - peers.error_share(), own, peers));
                    }
                }
            }
        }
        changes.into_iter().for_each(|(id, next, cause)| self.set(members, id, next, &cause));
        self.release_beyond(members, limit);
        // The worst first: the limit may leave no room for the others.
        suspects.sort_by(|(_, one, ..), (_, other, ..)| other.total_cmp(one));
        for (id, excess, own, peers) in suspects {
            if anomalous(members).count() >= limit {
                self.figures.count(|counts| counts.limited += 1);
                continue;
            }
            let share = self.detection.lowered(1.0);
            let next =
                Anomaly::Anomalous { share, since_step: Tally::default(), intervals: 0, excess };
            let cause = format!("{}, {} at its peers", describe(own), describe(peers));
            self.set(members, id, next, &cause);
        }
    }

    /// Adds the requests since the last interval to the windows, and returns those of serving
    /// endpoints.
    fn read_counts<K, T>(&self, members: &mut Members<K, T>) -> Vec<(Id, Tally)> {
        let mut serving = Vec::new();
        for (id, Member { endpoint, state, .. }) in members.iter_mut() {
            let outcomes = endpoint.stats().outcomes();
            let latest = Tally::of(&outcomes.since(&state.seen));
            state.seen = outcomes;
            if !endpoint.is_eligible() {
                state.window.clear();
                continue;
            }
            if matches!(state.anomaly, Anomaly::Normal) {
                state.window.push(latest, self.detection.window);
            }
            serving.push((id, latest));
        }
        serving
    }

    /// Takes a step down or up, or waits for more requests.
    fn reconsider(&self, anomaly: Anomaly, latest: Tally, peers: Tally) -> (Anomaly, String) {
        let Anomaly::Anomalous { share, since_step, intervals, excess } = anomaly else {
            return (anomaly, String::new());
        };
        let (since_step, intervals) = (since_step + latest, intervals + 1);
        let stepped = |share, excess| Anomaly::Anomalous {
            share,
            since_step: Tally::default(),
            intervals: 0,
            excess,
        };
        let cause = format!("{}, {} at its peers", describe(since_step), describe(peers));
        let next = match self.detection.reconsider(since_step, peers, intervals) {
            Verdict::Worse => {
                let excess = since_step.error_share() - peers.error_share();
                stepped(self.detection.lowered(share), excess)
            }
            Verdict::Unknown => Anomaly::Anomalous { share, since_step, intervals, excess },
            Verdict::Alike => match AnomalyDetection::raised(share) {
                1.0 => Anomaly::Normal,
                share => stepped(share, excess),
            },
        };
        (next, cause)
    }

    /// Makes the least bad endpoints normal while more than `limit` are anomalous.
    fn release_beyond<K: Display, T>(&self, members: &mut Members<K, T>, limit: usize) {
        let mut by_excess: Vec<_> = anomalous(members).collect();
        by_excess.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        for (id, _) in by_excess.into_iter().skip(limit) {
            self.set(members, id, Anomaly::Normal, "too few endpoints serve without it");
        }
    }

    fn set<K: Display, T>(&self, members: &mut Members<K, T>, id: Id, next: Anomaly, cause: &str) {
        let Some(Member { key, state, .. }) = members.get_mut(id) else { return };
        let before = std::mem::replace(&mut state.anomaly, next);
        let (from, to) = (before.result(), next.result());
        if from != to {
            let since = std::mem::replace(&mut state.since, Instant::now());
            state.window.clear();
            let (stage, endpoint) = (&*self.figures.name(), key);
            let (from, to) = (from.as_str(), to.as_str());
            log_change!(
                "anomaly changed",
                Change { stage, endpoint, from, to, cause: &cause, since }
            );
        }
        let since = state.since;
        self.figures.edit(id, |counts, figures| {
            counts.began += u64::from(from != to && to == AnomalyResult::Anomalous);
            counts.ended += u64::from(from != to && to == AnomalyResult::Normal);
            (figures.result, figures.since, figures.weight_share) = (to, since, next.share());
        });
        if before.share() != next.share() {
            members.queue_update(id);
        }
    }
}

/// Iterates over the anomalous endpoints that serve, with the excess of their errors.
fn anomalous<K, T>(members: &Members<K, T>) -> impl Iterator<Item = (Id, f64)> {
    members.iter().filter_map(|(id, member)| match member.state.anomaly {
        Anomaly::Anomalous { excess, .. } if member.endpoint.is_eligible() => Some((id, excess)),
        _ => None,
    })
}

fn describe(tally: Tally) -> String {
    format!("{:.1} % of {} requests failed", tally.error_share() * 100.0, tally.requests)
}

impl<K: Display, T: Clone> Policy<K, T, State> for AnomalyPolicy {
    fn added(&mut self, id: Id, key: &K, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let since = Instant::now();
        let figures = EndpointAnomaly {
            endpoint: key.to_string().into(),
            result: AnomalyResult::Normal,
            weight_share: 1.0,
            since,
        };
        self.figures.add(id, figures);
        let seen = endpoint.stats().outcomes();
        State { anomaly: Anomaly::Normal, since, seen, window: Window::default() }
    }

    fn removed(&mut self, id: Id, _member: &mut Member<K, T, State>) -> Removal {
        self.figures.remove(id);
        Removal::Now
    }

    fn publish(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        Some(match self.detection.mitigate {
            true => with_weight_share(endpoint, state.anomaly.share()),
            false => endpoint,
        })
    }

    fn poll(&mut self, members: &mut Members<K, T>, cx: &mut Context<'_>) -> Poll<()> {
        if members.is_empty() {
            self.tick.reset();
            return Poll::Ready(());
        }
        while self.tick.poll(cx).is_ready() {
            self.compare(members);
        }
        Poll::Pending
    }
}
