use std::{
    collections::BTreeSet,
    fmt::Display,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::{
    ejected::{Ejected, EjectionRank},
    ejection_status::{EjectionFigures, EjectionReason, EndpointEjection},
};
use crate::{
    endpoint::{Allowance, Endpoint, EndpointStats, Health, OutcomeCounts},
    escape::Escaped,
    health::{
        OutlierDetection,
        outlier::EjectionState as StateName,
        passive::{
            interval_stats::{IntervalStats, median},
            monitor::{MonitorEvent, PassiveMonitor},
            severity::Severity,
        },
        stage::{
            change::{Change, log_change},
            members::{self, Id},
            stage::{Policy, Removal, stage, with_trial, with_worse_health},
            timer::{Interval, after},
        },
    },
    log_limit::LogLimit,
    rng::Rng,
};

stage! {
    /// Ejects endpoints whose requests do worse than those of others, and lets them return. The
    /// stream of [`HealthExt::outlier_detected`](crate::health::HealthExt::outlier_detected).
    ///
    /// An ejected endpoint is passed on as [`Health::Unhealthy`] with the reason. When its ejection
    /// time is over, it is put on trial: it has an [`Allowance`] of one request. If that
    /// request succeeds, the endpoint has the health that upstream reports again; if it fails, the
    /// endpoint is ejected for a longer time. If the caller gives the request up before the
    /// response has begun, the next request decides.
    ///
    /// The number of ejected endpoints is limited. At the limit, a clearly worse endpoint replaces
    /// the ejected one of the lowest severity; see [`OutlierDetection::max_ejected`].
    ///
    /// Sources: Envoy's outlier detection and gRPC A50; the trial is that of Finagle's failure
    /// accrual.
    OutlierDetected, OutlierDetection, OutlierPolicy, State, EjectionFigures
}

type Members<K, T> = members::Members<K, T, State>;
type Member<K, T> = members::Member<K, T, State>;

#[derive(Debug)]
struct State {
    monitor: Arc<PassiveMonitor>,
    ejection: EjectionState,
    /// When the endpoint entered that state.
    since: Instant,
    /// How often the endpoint was ejected, less the intervals in service since.
    ejections: u32,
    /// The endpoint returned in this interval, so it was not in service for all of it.
    has_returned: bool,
    /// Consecutive intervals in which the latency was too high.
    slow_intervals: u32,
    /// The outcomes up to the last interval.
    seen: OutcomeCounts,
    stall: StallState,
}

#[derive(Debug)]
enum EjectionState {
    InService,
    Ejected(Arc<str>),
    OnTrial(Allowance),
}

impl EjectionState {
    fn name(&self) -> StateName {
        match self {
            Self::InService => StateName::InService,
            Self::Ejected(_) => StateName::Ejected,
            Self::OnTrial(_) => StateName::OnTrial,
        }
    }
}

/// Detects that no response has begun or ended while requests wait.
#[derive(Debug, Default)]
struct StallState {
    /// [`PassiveMonitor::progress`] at the last check.
    progress: u64,
    /// Consecutive checks that have found waiting requests and no progress.
    silent_checks: u32,
}

impl StallState {
    /// Returns the number of whole periods between checks in which at least `min_waiting` requests
    /// have waited without progress.
    ///
    /// Checks are counted instead of time: if this process was stopped, responses may lie in its
    /// sockets unread.
    fn check(&mut self, monitor: &PassiveMonitor, stats: &EndpointStats, min_waiting: u32) -> u32 {
        let (waiting, progress) = monitor.progress(stats);
        let is_silent = waiting >= min_waiting && progress == self.progress;
        self.progress = progress;
        self.silent_checks = if is_silent { self.silent_checks.saturating_add(1) } else { 0 };
        // The first check starts the first period.
        self.silent_checks.saturating_sub(1)
    }
}

impl State {
    fn is_in_service(&self) -> bool {
        matches!(self.ejection, EjectionState::InService)
    }
}

struct OutlierPolicy {
    detection: OutlierDetection,
    events: (UnboundedSender<(Id, MonitorEvent)>, UnboundedReceiver<(Id, MonitorEvent)>),
    tick: Interval,
    stall_tick: Interval,
    /// The endpoints that are ejected or on trial.
    ejected: Ejected,
    rng: Rng,
    figures: EjectionFigures,
    limit_log: LogLimit,
}

/// How many times stalls are looked for within the time that makes one.
const STALL_CHECKS: u32 = 8;

impl OutlierPolicy {
    fn new(detection: OutlierDetection) -> Self {
        let stall_period =
            detection.stalls.map_or(Duration::MAX, |stalls| stalls.after / STALL_CHECKS);
        Self {
            events: unbounded_channel(),
            tick: Interval::new(detection.interval),
            stall_tick: Interval::new(stall_period),
            ejected: Ejected::default(),
            rng: detection.seed.map_or_else(Rng::from_entropy, Rng::seeded),
            figures: EjectionFigures::new("outlier detection"),
            limit_log: LogLimit::default(),
            detection,
        }
    }

    fn handle_event<K: Display, T>(
        &mut self,
        members: &mut Members<K, T>,
        id: Id,
        event: MonitorEvent,
    ) {
        let Some(member) = members.get_mut(id) else { return };
        match (event, &mut member.state.ejection) {
            (MonitorEvent::FailedResponses(failures), _) => {
                let reason = format!("{failures} consecutive failed responses");
                self.eject_if_allowed(
                    members,
                    id,
                    Severity::Failing,
                    (EjectionReason::FailedResponses, &reason),
                );
            }
            (MonitorEvent::UnansweredRequests(failures), _) => {
                let reason = format!("{failures} consecutive requests without a response");
                self.eject_if_allowed(
                    members,
                    id,
                    Severity::TimingOut,
                    (EjectionReason::UnansweredRequests, &reason),
                );
            }
            (MonitorEvent::TrialPassed, EjectionState::OnTrial(_)) => {
                member.state.monitor.reset_severity();
                self.reinstate(members, id, "it has passed the trial");
            }
            (MonitorEvent::TrialFailed, EjectionState::OnTrial(_)) => {
                let severity = member.state.monitor.severity();
                self.eject(
                    members,
                    id,
                    severity,
                    (EjectionReason::FailedTrial, "it has failed the trial"),
                );
            }
            // Several requests may have begun since the trial did, for example of other balancers.
            // Each that is given up sends this event, and one new request is enough for all of
            // them.
            (MonitorEvent::TrialAbandoned, EjectionState::OnTrial(allowance))
                if allowance.left() == 0 =>
            {
                *allowance = Allowance::of(1);
                members.queue_update(id);
            }
            // An event of a trial that has ended.
            _ => {}
        }
    }

    /// Ejects an endpoint in service if the limit allows it, or in place of one of lower severity.
    /// Its severity is that of its last requests, but at least `min_severity`, which the reason
    /// implies.
    fn eject_if_allowed<K: Display, T>(
        &mut self,
        members: &mut Members<K, T>,
        id: Id,
        min_severity: Severity,
        (reason, cause): (EjectionReason, &str),
    ) {
        let Some(member) = members.get(id) else { return };
        // It is already ejected or on trial; or it is ineligible upstream, so that an ejection
        // would only use up the limit.
        if !member.state.is_in_service() || !member.endpoint.is_eligible() {
            return;
        }
        let severity = min_severity.max(member.state.monitor.severity());
        let serves = |(other, member): (Id, &Member<K, T>)| {
            other != id && member.endpoint.is_eligible() && member.state.is_in_service()
        };
        let is_last = !self.detection.may_eject_all() && !members.iter().any(serves);
        if is_last || self.ejected.len() >= self.detection.max_ejected_of(members.len()) {
            // If this is the last endpoint in service, the one that returns for it must be
            // eligible.
            let replaced = self
                .least_severe(members, is_last)
                .filter(|(_, rank)| rank.is_replaced_by(severity));
            let Some((replaced, _)) = replaced else {
                self.figures.count(|counts| counts.unenforced.add(reason));
                // An outlier that stays in service is found again and again.
                if let Some(suppressed) = self.limit_log.pass() {
                    tracing::info!(
                        stage = %Escaped(self.figures.name()),
                        endpoint = %Escaped(&member.key),
                        cause,
                        ?severity,
                        suppressed,
                        "outlier not ejected: the limit is reached"
                    );
                }
                return;
            };
            // Before the ejection, so that downstream never sees more ejected endpoints than the
            // limit.
            self.replace(members, replaced);
        }
        self.eject(members, id, severity, (reason, cause));
    }

    /// Returns the endpoint that is replaced first, or the first eligible one if
    /// `must_be_eligible`.
    fn least_severe<K, T>(
        &mut self,
        members: &Members<K, T>,
        must_be_eligible: bool,
    ) -> Option<(Id, EjectionRank)> {
        // Requests that were in flight at the ejection may have raised a severity since. Ranks are
        // brought up to date here, and not for each request. A rank only rises, through a few
        // severities, so the loop ends.
        loop {
            let (id, rank) = self.ejected.least_severe(must_be_eligible)?;
            let severity = members.get(id)?.state.monitor.severity();
            if severity <= rank.severity {
                return Some((id, rank));
            }
            self.ejected.change_rank(id, |rank| rank.severity = severity);
        }
    }

    /// Ends an ejection in favour of a worse endpoint. The ejection does not prolong later ones.
    /// The severity stays, because no request has succeeded since.
    fn replace<K: Display, T>(&mut self, members: &mut Members<K, T>, id: Id) {
        if let Some(member) = members.get_mut(id) {
            member.state.ejections = member.state.ejections.saturating_sub(1);
        }
        self.figures.count(|counts| counts.replaced += 1);
        self.reinstate(members, id, "a worse endpoint is ejected instead");
    }

    /// Ejects an endpoint, or ejects one on trial again.
    fn eject<K: Display, T>(
        &mut self,
        members: &mut Members<K, T>,
        id: Id,
        severity: Severity,
        (reason, cause): (EjectionReason, &str),
    ) {
        let Some(member) = members.get_mut(id) else { return };
        let state = &mut member.state;
        state.ejections = state.ejections.saturating_add(1);
        let time = self.ejection_time(state.ejections);
        let until = after(Instant::now(), time);
        state.slow_intervals = 0;
        let rank = EjectionRank { is_eligible: member.endpoint.is_eligible(), severity };
        self.ejected.insert(id, until, rank);
        self.figures.count(|counts| counts.enforced.add(reason));
        let reason = format!("ejected for {time:.1?}: {cause}").into();
        self.enter(members, id, EjectionState::Ejected(reason), cause);
    }

    fn ejection_time(&mut self, ejections: u32) -> Duration {
        let time = self.detection.base_time.saturating_mul(ejections);
        let time = time.min(self.detection.max_time);
        let jitter = time.as_secs_f64() * self.rng.unit() * self.detection.jitter;
        time.saturating_add(Duration::try_from_secs_f64(jitter).unwrap_or_default())
    }

    /// Puts an endpoint whose ejection time is over on trial, or back into service.
    fn end_ejection<K: Display, T>(&mut self, members: &mut Members<K, T>, id: Id) {
        let Some(member) = members.get_mut(id) else { return };
        if !self.detection.trial {
            member.state.monitor.reset_severity();
            return self.reinstate(members, id, "its ejection time is over");
        }
        member.state.monitor.begin_trial(member.endpoint.stats(), Instant::now());
        let on_trial = EjectionState::OnTrial(Allowance::of(1));
        self.enter(members, id, on_trial, "its ejection time is over");
    }

    fn reinstate<K: Display, T>(&mut self, members: &mut Members<K, T>, id: Id, cause: &str) {
        self.ejected.remove(id);
        let Some(member) = members.get_mut(id) else { return };
        member.state.has_returned = true;
        // What happened before the return must not count against the endpoint.
        member.state.seen = member.endpoint.stats().outcomes();
        member.state.monitor.reset();
        self.enter(members, id, EjectionState::InService, cause);
    }

    /// Changes the state of an endpoint.
    fn enter<K: Display, T>(
        &self,
        members: &mut Members<K, T>,
        id: Id,
        ejection: EjectionState,
        cause: &str,
    ) {
        let Some(Member { key, state, .. }) = members.get_mut(id) else { return };
        let before = std::mem::replace(&mut state.ejection, ejection).name();
        let since = std::mem::replace(&mut state.since, Instant::now());
        let now = state.ejection.name();
        self.figures.edit(id, |_, figures| {
            (figures.state, figures.since) = (now, state.since);
            match &state.ejection {
                EjectionState::InService => figures.reason = None,
                EjectionState::Ejected(reason) => {
                    figures.reason = Some(Arc::clone(reason));
                    figures.ejections += 1;
                }
                EjectionState::OnTrial(_) => {}
            }
        });
        let (stage, endpoint) = (&*self.figures.name(), key);
        let (from, to) = (before.as_str(), now.as_str());
        log_change!("ejection changed", Change { stage, endpoint, from, to, cause: &cause, since });
        members.queue_update(id);
    }

    /// Applies the rules that compare endpoints to the interval that has ended.
    fn evaluate_interval<K: Display, T>(&mut self, members: &mut Members<K, T>) {
        let mut endpoints = Vec::new();
        for (id, member) in members.iter_mut() {
            let (now, state) = (member.endpoint.stats().outcomes(), &mut member.state);
            let mut outcomes = now.since(&state.seen);
            outcomes.success += u64::from(state.monitor.take_unread());
            state.seen = now;
            let (measured, latency) = state.monitor.take_latencies();
            if state.is_in_service() {
                let was_in_service = !std::mem::take(&mut state.has_returned);
                state.ejections = state.ejections.saturating_sub(was_in_service.into());
                endpoints.push(IntervalStats { id, outcomes, measured, latency });
            }
        }
        // The failure share goes first: it finds the worst endpoints, and the limit may not suffice
        // for all.
        if let Some(rule) = self.detection.failure_share {
            rule.find(&endpoints, |endpoint, reason| {
                self.eject_if_allowed(
                    members,
                    endpoint.id,
                    Severity::Mild,
                    (EjectionReason::FailureShare, &reason),
                );
            });
        }
        if let Some(rule) = self.detection.success_rate {
            rule.find(&endpoints, |endpoint, reason| {
                self.eject_if_allowed(
                    members,
                    endpoint.id,
                    Severity::Mild,
                    (EjectionReason::SuccessRate, &reason),
                );
            });
        }
        if let Some(rule) = self.detection.latency {
            let mut slow = Vec::new();
            rule.find(&endpoints, |endpoint, reason| slow.push((endpoint.id, reason)));
            self.eject_slow(members, &endpoints, &slow, rule.intervals);
        }
    }

    /// Ejects endpoints that were `slow` in enough consecutive intervals, the slowest first.
    fn eject_slow<K: Display, T>(
        &mut self,
        members: &mut Members<K, T>,
        endpoints: &[IntervalStats],
        slow: &[(Id, String)],
        intervals: u32,
    ) {
        let slow_ids: BTreeSet<Id> = slow.iter().map(|&(id, _)| id).collect();
        for endpoint in endpoints {
            if let Some(Member { state, .. }) = members.get_mut(endpoint.id) {
                let is_slow = slow_ids.contains(&endpoint.id);
                state.slow_intervals =
                    if is_slow { state.slow_intervals.saturating_add(1) } else { 0 };
            }
        }
        for (id, reason) in slow {
            if members.get(*id).is_some_and(|member| member.state.slow_intervals >= intervals) {
                self.eject_if_allowed(
                    members,
                    *id,
                    Severity::Mild,
                    (EjectionReason::Latency, reason),
                );
            }
        }
    }

    /// Ejects endpoints that have stopped responding.
    fn eject_stalled<K: Display, T>(&mut self, members: &mut Members<K, T>) {
        let Some(stalls) = self.detection.stalls else { return };
        let mut stalled = Vec::new();
        for (id, Member { endpoint, state, .. }) in members.iter_mut() {
            let min_waiting = match &state.ejection {
                EjectionState::InService => stalls.min_waiting,
                // The trial's request is in flight.
                EjectionState::OnTrial(allowance) if allowance.left() == 0 => 1,
                // Without requests of its own: earlier ones that still wait don't count again.
                EjectionState::OnTrial(_) | EjectionState::Ejected(_) => u32::MAX,
            };
            let periods = state.stall.check(&state.monitor, endpoint.stats(), min_waiting);
            if periods >= STALL_CHECKS {
                stalled.push((id, self.stall_tick.period().saturating_mul(periods)));
            }
        }
        // The median below visits all endpoints: only if there is a use for it.
        if stalled.is_empty() {
            return;
        }
        let mut latencies: Vec<_> =
            members.iter().filter_map(|(_, member)| member.state.monitor.usual_latency()).collect();
        let Some(usual) = median(&mut latencies) else { return };
        for (id, time) in stalled {
            if time < stalls.limit(usual) {
                continue;
            }
            let reason = format!("no response for {time:.1?} while requests wait");
            match members.get(id).map(|member| &member.state.ejection) {
                Some(EjectionState::OnTrial(_)) => {
                    self.eject(members, id, Severity::TimingOut, (EjectionReason::Stall, &reason));
                }
                _ => {
                    self.eject_if_allowed(
                        members,
                        id,
                        Severity::TimingOut,
                        (EjectionReason::Stall, &reason),
                    );
                }
            }
        }
    }

    /// Reinstates endpoints of the lowest severity if more than the limit are ejected, because
    /// others were removed.
    fn enforce_limit<K: Display, T>(&mut self, members: &mut Members<K, T>) {
        while self.ejected.len() > self.detection.max_ejected_of(members.len()) {
            let Some((id, _)) = self.least_severe(members, false) else { return };
            self.reinstate(members, id, "too many endpoints are ejected");
        }
    }
}

impl<K: Clone + Display + Eq + Hash, T: Clone> Policy<K, T, State> for OutlierPolicy {
    fn added(&mut self, id: Id, key: &K, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let config = self.detection.monitor_config();
        let since = Instant::now();
        let figures = EndpointEjection {
            endpoint: key.to_string().into(),
            state: StateName::InService,
            reason: None,
            since,
            ejections: 0,
        };
        self.figures.add(id, figures);
        State {
            monitor: Arc::new(PassiveMonitor::new(id, config, self.events.0.clone())),
            ejection: EjectionState::InService,
            since,
            ejections: 0,
            has_returned: false,
            slow_intervals: 0,
            seen: endpoint.stats().outcomes(),
            stall: StallState::default(),
        }
    }

    fn changed(&mut self, id: Id, member: &mut Member<K, T>) {
        let is_eligible = member.endpoint.is_eligible();
        self.ejected.change_rank(id, |rank| rank.is_eligible = is_eligible);
    }

    fn removed(&mut self, id: Id, _member: &mut Member<K, T>) -> Removal {
        self.ejected.remove(id);
        self.figures.remove(id);
        Removal::Now
    }

    fn publish(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        let endpoint = endpoint.with_meter(Arc::clone(&state.monitor) as _);
        Some(match &state.ejection {
            EjectionState::InService => endpoint,
            EjectionState::Ejected(reason) => {
                with_worse_health(endpoint, Health::Unhealthy(Arc::clone(reason)))
            }
            EjectionState::OnTrial(allowance) => with_trial(endpoint, allowance),
        })
    }

    fn poll(&mut self, members: &mut Members<K, T>, cx: &mut Context<'_>) -> Poll<()> {
        self.enforce_limit(members);
        // The updates of one event are passed on before the next event is handled. An endpoint that
        // is queued twice keeps its first place in the queue: it would be ejected downstream before
        // the endpoint that it replaces has returned.
        while !members.has_changes() {
            if let Poll::Ready(Some((id, event))) = self.events.1.poll_recv(cx) {
                self.handle_event(members, id, event);
            } else if let Poll::Ready(id) = self.ejected.poll_ended(cx) {
                self.end_ejection(members, id);
            } else if members.is_empty() {
                self.tick.reset();
                return Poll::Ready(());
            } else if self.tick.poll(cx).is_ready() {
                self.evaluate_interval(members);
            } else if self.detection.stalls.is_some() && self.stall_tick.poll(cx).is_ready() {
                self.eject_stalled(members);
            } else {
                break;
            }
        }
        Poll::Pending
    }
}
