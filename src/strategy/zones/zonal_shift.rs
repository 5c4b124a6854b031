use std::{collections::BTreeMap, fmt, sync::Arc, task::Poll, time::Duration};

use futures::Stream;
use futures::stream::poll_fn;
use tokio::time::Instant;

use crate::{
    escape::Escaped,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Strategy, ticker::Ticker, wakers::Wakers,
    },
    sync::{Mutex, lock},
};

/// Takes whole zones out by a call, and puts them back gradually.
///
/// While a zone is away its endpoints get no new requests, whatever their health. If no eligible endpoint
/// would be left for the requests without it, it stays in, and the balancer's [`status`](crate::Balancer::status) says so. Zones
/// are matched by the name in [`Locality::zone`](crate::endpoint::Locality::zone).
///
/// ```
/// use std::time::Duration;
/// use tower_lb::strategy::{P2c, ZonalShift};
///
/// let strategy = ZonalShift::new(P2c::default());
/// let shift = strategy.handle();
/// // later, from anywhere:
/// shift.away("eu-central-1a");
/// shift.back("eu-central-1a", Duration::from_secs(300));
/// ```
///
/// Source: zonal shift of AWS' Application Recovery Controller. Where we differ: coming back takes
/// as long as one likes.
#[derive(Clone, Debug)]
pub struct ZonalShift<St> {
    inner: St,
    shifts: Arc<Shifts>,
}

/// Takes zones out of each [`ZonalShift`] that follows it, and puts them back: one may serve all
/// balancers of a program. Clones are the same.
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
    version: u64,
    zones: BTreeMap<String, Shift>,
}

#[derive(Clone, Copy, Debug)]
enum Shift {
    Away,
    Returning { since: Instant, over: Duration },
}

impl Shift {
    /// The share of its traffic that the zone gets.
    fn share(self, now: Instant) -> f64 {
        match self {
            Self::Away => 0.0,
            Self::Returning { over, .. } if over.is_zero() => 1.0,
            Self::Returning { since, over } => {
                let passed = now.saturating_duration_since(since).as_secs_f64();
                (passed / over.as_secs_f64()).clamp(SMALLEST_SHARE, 1.0)
            }
        }
    }
}

/// What a zone that comes back gets at first.
const SMALLEST_SHARE: f64 = 0.01;
/// How often the share of such a zone is raised.
const STEP: Duration = Duration::from_secs(1);
/// Weights are multiplied by this, if they can be, so that a hundredth of one is a whole number.
const SCALE: u32 = 100;

impl<St> ZonalShift<St> {
    /// All zones are in.
    pub fn new(inner: St) -> Self {
        Self { inner, shifts: Arc::default() }
    }

    /// Follows a handle that there is already, with what it has taken out. Default: one of its own.
    #[must_use]
    pub fn following(mut self, handle: &ZonalShiftHandle) -> Self {
        self.shifts = Arc::clone(&handle.shifts);
        self
    }

    /// What zones are taken out and put back by.
    #[must_use]
    pub fn handle(&self) -> ZonalShiftHandle {
        ZonalShiftHandle { shifts: Arc::clone(&self.shifts) }
    }
}

/// What the inner strategy sees of the candidates, and how the shifts stand.
struct View {
    candidates: Candidates,
    notices: Vec<String>,
    /// Some zone is on its way back.
    returning: bool,
    /// Of the shifts.
    version: u64,
}

impl View {
    fn of(candidates: &Candidates, shifts: &Shifts) -> Self {
        let mut state = lock(&shifts.state);
        let now = candidates.now();
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
        // Not only out of the pick: a panic rule further in must not let them in again.
        let left = candidates.part(|candidate| share(candidate) > 0.0);
        // Where these are a part only, such as one zone, others may be left for the requests.
        let is_left = |candidate: &Candidate| candidate.is_eligible() && share(candidate) > 0.0;
        let futile = left.is_empty() && !candidates.anywhere().any(is_left);
        let seen = if futile {
            candidates.clone()
        } else if returning {
            let heaviest = left.iter().map(Candidate::weight).max().unwrap_or_default();
            let scale = SCALE.min(u32::MAX / heaviest.max(1)).max(1);
            left.reweighted(|candidate| {
                let weight = f64::from(candidate.weight()) * f64::from(scale) * share(candidate);
                Some((weight.round() as u32).max(u32::from(candidate.weight() > 0)))
            })
        } else {
            left
        };
        let futile = if futile { ", but nothing else is left" } else { "" };
        let notice = |(zone, shift): (&String, &Shift)| format!("zone {zone} is {shift}{futile}");
        let notices = state.zones.iter().map(notice).collect();
        Self { candidates: seen, notices, returning, version: state.version }
    }
}

impl Shifts {
    /// Yields when the shifts are no longer those of `view`.
    fn changes(self: &Arc<Self>, view: &View) -> impl Stream<Item = ()> + Send + use<> {
        let (shifts, seen) = (Arc::clone(self), view.version);
        let registration = shifts.wakers.registration();
        let mut ticker = view.returning.then(|| Ticker::new(STEP));
        poll_fn(move |cx| {
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
    /// Takes nothing out yet, and nobody follows it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a zone out. One that nobody has heard of is remembered, and out when it turns up.
    pub fn away(&self, zone: impl Into<String>) {
        let zone = zone.into();
        tracing::warn!(zone = %Escaped(&zone), "zone taken out");
        self.shifts.change(|zones| {
            zones.insert(zone, Shift::Away);
        });
    }

    /// Puts a zone back, its share of the traffic growing evenly over so long a time, in steps of a
    /// second; with zero at once. Does nothing for a zone that is not away.
    pub fn back(&self, zone: &str, over: Duration) {
        self.shifts.change(|zones| {
            if let Some(shift) = zones.get_mut(zone) {
                tracing::info!(zone = %Escaped(zone), ?over, "zone put back");
                *shift = Shift::Returning { since: Instant::now(), over };
            }
        });
    }

    /// The zones that are away, or on their way back.
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
        self.inner.build(&view.candidates, context).with_notices(view.notices)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "away",
            Self::Returning { .. } => "coming back",
        })
    }
}
