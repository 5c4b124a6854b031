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

use super::ejected::{Ejected, EjectionRank};
use crate::{
    discover::Discover,
    endpoint::{Allowance, Endpoint, EndpointStats, Health, OutcomeCounts},
    escape::Escaped,
    health::{
        InvalidSetting, OutlierDetection,
        passive::{
            interval_stats::{IntervalStats, median},
            monitor::{Alarm, Event, PassiveMonitor},
            severity::Severity,
        },
        stage::{
            members::{self, Id},
            stage::{Policy, Stage, stage},
            timer::{Interval, after},
        },
    },
    rng::Rng,
};

stage! {
    /// Ejects endpoints that do worse than others, by what requests see of them, and lets them back in.
    /// The stream of [`HealthExt::outlier_detected`](crate::health::HealthExt::outlier_detected).
    ///
    /// An ejected endpoint is passed on as [`Health::Unhealthy`] with the reason. When its time is over it
    /// is put on trial: it has an [`Allowance`] of one request, whose outcome is the verdict. The
    /// endpoint is what upstream says it is again, or out for longer. If the caller gives the request up
    /// before the response has begun, the next one decides.
    ///
    /// The number of ejected endpoints is limited. While the limit is reached, a clearly worse endpoint
    /// replaces the least bad one; see [`OutlierDetection::max_ejected`].
    ///
    /// Sources: Envoy's outlier detection and gRPC A50; the trial is that of Finagle's failure accrual.
    OutlierDetected, OutlierPolicy, State
}

impl<D: Discover> OutlierDetected<D> {
    pub(crate) fn new(discover: D, detection: OutlierDetection) -> Result<Self, InvalidSetting> {
        detection.validate()?;
        Ok(Self { stage: Stage::new(discover, OutlierPolicy::new(detection)) })
    }
}

type Members<K, T> = members::Members<K, T, State>;

/// What the stage knows of an endpoint.
#[derive(Debug)]
struct State {
    watch: Arc<PassiveMonitor>,
    ejection: EjectionState,
    /// How often it was ejected, less the intervals in good ejection.
    ejections: u32,
    /// It has come back in this interval, which is not one in good ejection.
    returned: bool,
    /// Intervals in a row in which its latency was far off.
    slow: u32,
    /// The outcomes that have been looked at.
    seen: OutcomeCounts,
    /// Its signs of life as they were last, and how many looks at it have found requests waiting and
    /// no other.
    life: u64,
    silent: u32,
}

#[derive(Debug)]
enum EjectionState {
    Good,
    Ejected(Arc<str>),
    OnTrial(Allowance),
}

impl State {
    fn is_good(&self) -> bool {
        matches!(self.ejection, EjectionState::Good)
    }

    /// For how many looks in a row at least so many requests have waited without a sign of life.
    ///
    /// Looks are counted and not the time between them: if the process itself was stopped, answers may
    /// lie in its sockets that nobody has looked at.
    fn listen(&mut self, stats: &EndpointStats, least: u32) -> u32 {
        let (waiting, life) = self.watch.pulse(stats);
        let is_silent = waiting >= least && life == self.life;
        (self.life, self.silent) =
            (life, if is_silent { self.silent.saturating_add(1) } else { 0 });
        self.silent.saturating_sub(1)
    }
}

struct OutlierPolicy {
    detection: OutlierDetection,
    alarms: (UnboundedSender<Alarm>, UnboundedReceiver<Alarm>),
    tick: Interval,
    stall_tick: Interval,
    /// Who is ejected or on trial.
    ejected: Ejected,
    rng: Rng,
}

/// How often silence is looked for, in parts of the time that makes one.
const LOOKS: u32 = 8;

impl OutlierPolicy {
    fn new(detection: OutlierDetection) -> Self {
        let silence = detection.stalls.map_or(Duration::MAX, |stalls| stalls.after / LOOKS);
        Self {
            alarms: unbounded_channel(),
            tick: Interval::new(detection.interval),
            stall_tick: Interval::new(silence),
            ejected: Ejected::default(),
            rng: detection.seed.map_or_else(Rng::from_entropy, Rng::seeded),
            detection,
        }
    }

    fn ejection_time(&mut self, ejections: u32) -> Duration {
        let time = self.detection.base_time.saturating_mul(ejections);
        let time = time.min(self.detection.max_time);
        let jitter = time.as_secs_f64() * self.rng.unit() * self.detection.jitter;
        time.saturating_add(Duration::try_from_secs_f64(jitter).unwrap_or_default())
    }

    /// Ejects an endpoint in good ejection, if that leaves enough others, or in place of a less bad one.
    /// Its severity is `at_least` what the reason implies.
    fn eject<K: Display, T>(
        &mut self,
        members: &mut Members<K, T>,
        id: Id,
        at_least: Severity,
        reason: &str,
    ) {
        let Some(member) = members.get(id) else { return };
        if !member.state.is_good() || !member.endpoint.is_eligible() {
            return;
        }
        let severity = at_least.max(member.state.watch.severity());
        let serves = |(other, member): (Id, &members::Member<K, T, State>)| {
            other != id && member.endpoint.is_eligible() && member.state.is_good()
        };
        let is_last = !self.detection.may_eject_all() && !members.iter().any(serves);
        if is_last || self.ejected.len() >= self.detection.cap(members.len()) {
            let least_bad = self.least_bad(members, is_last);
            let Some((other, _)) = least_bad.filter(|(_, other)| gives_way(*other, severity))
            else {
                let endpoint = Escaped(&member.key);
                tracing::debug!(%endpoint, reason, ?severity, "not ejected: too many would be out");
                return;
            };
            // Before the other, so that downstream never sees more endpoints out than the limit.
            self.give_way(members, other);
        }
        self.send_away(members, id, severity, reason);
    }

    /// Returns the endpoint that is replaced first; the first eligible one if it `must_serve`.
    fn least_bad<K, T>(
        &mut self,
        members: &Members<K, T>,
        must_serve: bool,
    ) -> Option<(Id, EjectionRank)> {
        loop {
            let (id, rank) = self.ejected.least_bad(must_serve)?;
            // Requests that were in flight at the ejection may have raised it since.
            let severity = members.get(id)?.state.watch.severity();
            if severity <= rank.severity {
                return Some((id, rank));
            }
            self.ejected.change(id, |rank| rank.severity = severity);
        }
    }

    /// Ends an ejection in favour of a worse endpoint. It doesn't count as one; the recent failures do,
    /// because no request has succeeded since.
    fn give_way<K: Display, T>(&mut self, members: &mut Members<K, T>, id: Id) {
        if let Some(member) = members.get_mut(id) {
            member.state.ejections = member.state.ejections.saturating_sub(1);
        }
        self.reinstate(members, id, "a worse one is ejected instead");
    }

    fn send_away<K: Display, T>(
        &mut self,
        members: &mut Members<K, T>,
        id: Id,
        severity: Severity,
        reason: &str,
    ) {
        let Some(member) = members.get_mut(id) else { return };
        let state = &mut member.state;
        state.ejections = state.ejections.saturating_add(1);
        let time = self.ejection_time(state.ejections);
        let until = after(Instant::now(), time);
        tracing::warn!(endpoint = %Escaped(&member.key), reason, ?severity, ?time, "ejected");
        let reason = format!("ejected for {time:.1?}: {reason}").into();
        (state.ejection, state.slow) = (EjectionState::Ejected(reason), 0);
        self.ejected.send(
            id,
            until,
            EjectionRank { serves: member.endpoint.is_eligible(), severity },
        );
        members.announce(id);
    }

    /// The time of an ejected endpoint is over.
    fn bring_back<K: Display, T>(&mut self, members: &mut Members<K, T>, id: Id) {
        if !self.detection.trial {
            if let Some(member) = members.get(id) {
                member.state.watch.forget_severity();
            }
            return self.reinstate(members, id, "its time is over");
        }
        let Some(member) = members.get_mut(id) else { return };
        tracing::info!(endpoint = %Escaped(&member.key), "on trial");
        member.state.ejection = EjectionState::OnTrial(Allowance::of(1));
        member.state.watch.begin_trial(member.endpoint.stats(), Instant::now());
        members.announce(id);
    }

    fn reinstate<K: Display, T>(&mut self, members: &mut Members<K, T>, id: Id, reason: &str) {
        self.ejected.let_in(id);
        let Some(member) = members.get_mut(id) else { return };
        tracing::info!(endpoint = %Escaped(&member.key), reason, "no longer ejected");
        (member.state.ejection, member.state.returned) = (EjectionState::Good, true);
        member.state.seen = member.endpoint.stats().outcomes();
        member.state.watch.start_over();
        member.state.watch.take_latencies();
        member.state.watch.take_unread();
        members.announce(id);
    }

    fn answer<K: Display, T>(&mut self, members: &mut Members<K, T>, Alarm { id, what }: Alarm) {
        let Some(member) = members.get_mut(id) else { return };
        match (what, &mut member.state.ejection) {
            (Event::FailedResponses(failures), _) => {
                let reason = format!("{failures} consecutive failed responses");
                self.eject(members, id, Severity::Failing, &reason);
            }
            (Event::Unanswered(failures), _) => {
                let reason = format!("{failures} consecutive requests without an answer");
                self.eject(members, id, Severity::TimingOut, &reason);
            }
            (Event::TrialPassed, EjectionState::OnTrial(_)) => {
                member.state.watch.forget_severity();
                self.reinstate(members, id, "it has passed the trial");
            }
            (Event::TrialFailed, EjectionState::OnTrial(_)) => {
                let severity = member.state.watch.severity();
                self.send_away(members, id, severity, "it has failed the trial");
            }
            (Event::TrialOpen, EjectionState::OnTrial(allowance)) if allowance.left() == 0 => {
                *allowance = Allowance::of(1);
                members.announce(id);
            }
            _ => {}
        }
    }

    /// Looks at an interval that is over.
    fn judge<K: Display, T>(&mut self, members: &mut Members<K, T>) {
        let mut fleet = Vec::new();
        for (id, member) in members.iter_mut() {
            let (now, state) = (member.endpoint.stats().outcomes(), &mut member.state);
            let mut outcomes = now.since(&state.seen);
            outcomes.success += u64::from(state.watch.take_unread());
            state.seen = now;
            let (measured, latency) = state.watch.take_latencies();
            if state.is_good() {
                let good = !std::mem::take(&mut state.returned);
                state.ejections = state.ejections.saturating_sub(good.into());
                fleet.push(IntervalStats { id, outcomes, measured, latency });
            }
        }
        if let Some(rule) = self.detection.failure_share {
            rule.find(&fleet, |endpoint, reason| {
                self.eject(members, endpoint.id, Severity::Mild, &reason);
            });
        }
        if let Some(rule) = self.detection.success_rate {
            rule.find(&fleet, |endpoint, reason| {
                self.eject(members, endpoint.id, Severity::Mild, &reason);
            });
        }
        if let Some(rule) = self.detection.latency {
            let mut slow = Vec::new();
            rule.find(&fleet, |endpoint, reason| slow.push((endpoint.id, reason)));
            self.strike(members, &fleet, &slow, rule.intervals);
        }
    }

    /// Counts the intervals in a row in which latencies were far off.
    fn strike<K: Display, T>(
        &mut self,
        members: &mut Members<K, T>,
        fleet: &[IntervalStats],
        slow: &[(Id, String)],
        intervals: u32,
    ) {
        let struck: BTreeSet<Id> = slow.iter().map(|&(id, _)| id).collect();
        for endpoint in fleet {
            if let Some(member) = members.get_mut(endpoint.id) {
                let counted = if struck.contains(&endpoint.id) { member.state.slow + 1 } else { 0 };
                member.state.slow = counted;
            }
        }
        for (id, reason) in slow {
            if members.get(*id).is_some_and(|member| member.state.slow >= intervals) {
                self.eject(members, *id, Severity::Mild, reason);
            }
        }
    }

    /// Looks for endpoints that have gone silent.
    fn listen<K: Display, T>(&mut self, members: &mut Members<K, T>) {
        let Some(stalls) = self.detection.stalls else { return };
        let mut silent = Vec::new();
        for (id, member) in members.iter_mut() {
            let least = match member.state.ejection {
                EjectionState::Good => stalls.min_waiting,
                EjectionState::OnTrial(ref allowance) if allowance.left() == 0 => 1,
                EjectionState::OnTrial(_) | EjectionState::Ejected(_) => u32::MAX,
            };
            let looks = member.state.listen(member.endpoint.stats(), least);
            if looks >= LOOKS {
                silent.push((id, self.stall_tick.period().saturating_mul(looks)));
            }
        }
        if silent.is_empty() {
            return;
        }
        let mut usual: Vec<_> =
            members.iter().filter_map(|(_, member)| member.state.watch.usual()).collect();
        let Some(usual) = median(&mut usual) else { return };
        for (id, silence) in silent {
            if silence < stalls.limit(usual) {
                continue;
            }
            let reason = format!("no answer for {silence:.1?} while requests wait");
            match members.get(id).map(|member| &member.state.ejection) {
                Some(EjectionState::OnTrial(_)) => {
                    self.send_away(members, id, Severity::TimingOut, &reason);
                }
                _ => self.eject(members, id, Severity::TimingOut, &reason),
            }
        }
    }

    /// Endpoints were removed: lets those back in that are now too many, the least bad first.
    fn keep_to_the_cap<K: Display, T>(&mut self, members: &mut Members<K, T>) {
        while self.ejected.len() > self.detection.cap(members.len()) {
            let Some((id, _)) = self.least_bad(members, false) else { return };
            self.reinstate(members, id, "too many of the endpoints are out");
        }
    }
}

/// Whether an ejected endpoint is replaced by one of this severity.
fn gives_way(rank: EjectionRank, severity: Severity) -> bool {
    rank.severity < severity || (rank.severity == severity && !rank.serves)
}

impl<K, T> Policy<K, T, State> for OutlierPolicy
where
    K: Clone + Display + Eq + Hash,
    T: Clone,
{
    fn join(&mut self, id: Id, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let watch = PassiveMonitor::new(id, self.detection.limits(), self.alarms.0.clone());
        State {
            watch: Arc::new(watch),
            ejection: EjectionState::Good,
            ejections: 0,
            returned: false,
            slow: 0,
            seen: endpoint.stats().outcomes(),
            life: 0,
            silent: 0,
        }
    }

    fn change(&mut self, id: Id, member: &mut members::Member<K, T, State>) {
        self.ejected.change(id, |rank| rank.serves = member.endpoint.is_eligible());
    }

    fn leave(&mut self, id: Id, _member: &mut members::Member<K, T, State>) -> bool {
        self.ejected.let_in(id);
        false
    }

    fn pass(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        let endpoint = endpoint.with_meter(Arc::clone(&state.watch) as _);
        Some(match &state.ejection {
            EjectionState::Good => endpoint,
            EjectionState::Ejected(reason) => {
                let health = endpoint.health().clone();
                endpoint.with_health(health.or_worse(Health::Unhealthy(Arc::clone(reason))))
            }
            // On trial at an earlier stage already: the same request is for both.
            EjectionState::OnTrial(_) if endpoint.allowance().is_some() => endpoint,
            EjectionState::OnTrial(allowance) => endpoint.with_allowance(allowance.clone()),
        })
    }

    fn poll(&mut self, members: &mut Members<K, T>, cx: &mut Context<'_>) -> Poll<()> {
        self.keep_to_the_cap(members);
        // The changes of one event are passed on before the next event is handled. An endpoint that is
        // announced twice keeps its first turn: it would be ejected before the one that it replaces is
        // back.
        while !members.has_changes() {
            if let Poll::Ready(Some(alarm)) = self.alarms.1.poll_recv(cx) {
                self.answer(members, alarm);
            } else if let Poll::Ready(id) = self.ejected.poll_over(cx) {
                self.bring_back(members, id);
            } else if members.is_empty() {
                self.tick.stop();
                return Poll::Ready(());
            } else if self.tick.poll(cx).is_ready() {
                self.judge(members);
            } else if self.detection.stalls.is_some() && self.stall_tick.poll(cx).is_ready() {
                self.listen(members);
            } else {
                break;
            }
        }
        Poll::Pending
    }
}
