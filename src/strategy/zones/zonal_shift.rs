use std::{collections::BTreeMap, fmt, sync::Arc, task::Poll, time::Duration};

use futures::Stream;
use futures::stream::poll_fn;
use tokio::time::Instant;

use crate::{
    escape::Escaped,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Strategy, explain::Rule, ticker::Ticker,
        wakers::Wakers,
    },
    sync::{Mutex, lock},
};

/// Takes whole zones out of service by a call, and puts them back gradually.
///
/// While a zone is away, its endpoints get no new requests, whatever their health. If no other
/// endpoint is eligible, the zone still gets requests, and the balancer's
/// [`status`](crate::Balancer::status) reports it. Zones are matched by the name in
/// [`Locality::zone`](crate::endpoint::Locality::zone).
///
/// ```
/// use std::time::Duration;
/// use tower_lb::strategy::{P2c, ZonalShift};
///
/// let strategy = ZonalShift::new(P2c::default());
/// let shift = strategy.handle();
/// // Later, from anywhere:
/// shift.shift_away("eu-central-1a");
/// shift.restore("eu-central-1a", Duration::from_secs(300));
/// ```
///
/// Source: zonal shift of AWS' Application Recovery Controller. Where this differs: the time that a
/// zone takes to return is a parameter.
#[derive(Clone, Debug)]
pub struct ZonalShift<St> {
    inner: St,
    shifts: Arc<Shifts>,
}

/// Takes zones out of each [`ZonalShift`] that follows this handle, and puts them back.
///
/// One handle can serve all balancers of a program. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct ZonalShiftHandle {
    shifts: Arc<Shifts>,
}

#[derive(Debug, Default)]
struct Shifts {
    state: Mutex<State>,
    wakers: Wakers,
}

#[derive(Debug, Default)]
struct State {
    /// Counts the changes, so that a picker can tell whether it is outdated.
    version: u64,
    zones: BTreeMap<String, Shift>,
}

#[derive(Clone, Copy, Debug)]
enum Shift {
    Away,
    Returning { since: Instant, over: Duration },
}

impl Shift {
    /// Returns the share of its normal traffic that the zone gets at `now`.
    fn share(self, now: Instant) -> f64 {
        match self {
            Self::Away => 0.0,
            Self::Returning { over, .. } if over.is_zero() => 1.0,
            Self::Returning { since, over } => {
                let passed = now.saturating_duration_since(since).as_secs_f64();
                (passed / over.as_secs_f64()).clamp(MIN_SHARE, 1.0)
            }
        }
    }
}

/// The share that a returning zone starts with.
const MIN_SHARE: f64 = 0.01;
/// How often the share of a returning zone is raised.
const STEP_PERIOD: Duration = Duration::from_secs(1);
/// Weights are multiplied by this while a zone returns, unless they would overflow, so that a
/// hundredth of a weight is a whole number.
const WEIGHT_SCALE: u32 = 100;

impl<St> ZonalShift<St> {
    /// Wraps `inner`, with a handle of its own and no zone away.
    pub fn new(inner: St) -> Self {
        Self { inner, shifts: Arc::default() }
    }

    /// Follows `handle`, including the zones that it has already taken out.
    #[must_use]
    pub fn following(mut self, handle: &ZonalShiftHandle) -> Self {
        self.shifts = Arc::clone(&handle.shifts);
        self
    }

    /// Returns the handle that takes zones out and puts them back.
    #[must_use]
    pub fn handle(&self) -> ZonalShiftHandle {
        ZonalShiftHandle { shifts: Arc::clone(&self.shifts) }
    }
}

/// The candidates as the inner strategy sees them, and the state of the shifts when they were
/// built.
struct View {
    candidates: Candidates,
    notices: Vec<String>,
    /// True if a zone is returning, so that weights change with time.
    returning: bool,
    /// The [`State::version`] that this view was built from.
    version: u64,
}

impl View {
    fn of(candidates: &Candidates, shifts: &Shifts) -> Self {
        let mut state = lock(&shifts.state);
        let now = candidates.now();
        // Zones that have returned completely are forgotten.
        state.zones.retain(|_, shift| shift.share(now) < 1.0);
        if state.zones.is_empty() {
            let (candidates, version) = (candidates.clone(), state.version);
            return Self { candidates, notices: Vec::new(), returning: false, version };
        }
        let is_returning = |shift: &Shift| matches!(shift, Shift::Returning { .. });
        let returning = state.zones.values().any(is_returning);
        let share = |candidate: &Candidate| {
            let shift = candidate.locality().and_then(|locality| state.zones.get(locality.zone()));
            shift.map_or(1.0, |shift| shift.share(now))
        };
        // A part and not a filter: a panic rule in an inner strategy must not admit the others
        // again.
        let remaining = candidates.part(|candidate| share(candidate) > 0.0);
        // If `candidates` are only a part, such as one zone, a wrapper around may send requests
        // elsewhere.
        let can_take_over =
            |candidate: &Candidate| candidate.is_eligible() && share(candidate) > 0.0;
        let futile = remaining.is_empty() && !candidates.scope().any(can_take_over);
        let seen = if futile {
            candidates.clone()
        } else if returning {
            let heaviest = remaining.iter().map(Candidate::weight).max().unwrap_or_default();
            let scale = WEIGHT_SCALE.min(u32::MAX / heaviest.max(1)).max(1);
            remaining.reweighted(|candidate| {
                let weight = f64::from(candidate.weight()) * f64::from(scale) * share(candidate);
                Some((weight.round() as u32).max(u32::from(candidate.weight() > 0)))
            })
        } else {
            remaining
        };
        let futile = if futile { ", but no other endpoint is eligible" } else { "" };
        let notice = |(zone, shift): (&String, &Shift)| format!("zone {zone} is {shift}{futile}");
        let notices = state.zones.iter().map(notice).collect();
        Self { candidates: seen, notices, returning, version: state.version }
    }
}

impl Shifts {
    /// Yields when the shifts differ from those of `view`, and once per step while a zone returns.
    fn changes(self: &Arc<Self>, view: &View) -> impl Stream<Item = ()> + Send + use<> {
        let (shifts, seen) = (Arc::clone(self), view.version);
        let registration = shifts.wakers.registration();
        let mut ticker = view.returning.then(|| Ticker::new(STEP_PERIOD));
        poll_fn(move |cx| {
            // Before the version is read: a change after that wakes the task.
            registration.register(cx.waker());
            let changed = lock(&shifts.state).version != seen;
            let ticked = ticker.as_mut().is_some_and(|ticker| ticker.poll_tick(cx).is_ready());
            if changed || ticked { Poll::Ready(Some(())) } else { Poll::Pending }
        })
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Shift>)) {
        let mut state = lock(&self.state);
        change(&mut state.zones);
        state.version += 1;
        drop(state);
        self.wakers.wake();
    }
}

impl ZonalShiftHandle {
    /// Returns a handle that no strategy follows yet, with no zone away.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `zone` out. An unknown zone is remembered, and is out when it appears.
    pub fn shift_away(&self, zone: impl Into<String>) {
        let zone = zone.into();
        self.shifts.change(|zones| {
            if !matches!(zones.get(&zone), Some(Shift::Away)) {
                tracing::warn!(zone = %Escaped(&zone), "zone taken out");
                zones.insert(zone, Shift::Away);
            }
        });
    }

    /// Puts `zone` back. Its share of the traffic grows linearly during `over`, in steps of a
    /// second; if `over` is zero, it returns at once. Does nothing if the zone is not away.
    pub fn restore(&self, zone: &str, over: Duration) {
        self.shifts.change(|zones| {
            if let Some(shift) = zones.get_mut(zone) {
                tracing::info!(zone = %Escaped(zone), ?over, "zone put back");
                *shift = Shift::Returning { since: Instant::now(), over };
            }
        });
    }

    /// Returns the zones that are away or returning.
    #[must_use]
    pub fn zones(&self) -> Vec<String> {
        lock(&self.shifts.state).zones.keys().cloned().collect()
    }
}

impl<St: Strategy> Strategy for ZonalShift<St> {
    type Picker = St::Picker;

    fn build(&mut self, candidates: &Candidates, context: &mut BuildContext) -> Built<St::Picker> {
        let view = View::of(candidates, &self.shifts);
        context.rebuild_on(self.shifts.changes(&view));
        let decision = match &*view.notices {
            [] => "no zone is away".to_owned(),
            notices => notices.join("; "),
        };
        let rule = Rule::new("zonal shift", decision);
        let rule = rule.excluding(candidates, &view.candidates, "its zone is away");
        let built = self.inner.build(&view.candidates, context);
        built.with_notices(view.notices).with_rules([rule])
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "away",
            Self::Returning { .. } => "returning",
        })
    }
}
