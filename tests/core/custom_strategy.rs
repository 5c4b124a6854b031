//! A strategy written from scratch by an outsider, with what the public API gives: it sees the
//! request, wraps another strategy, learns from outcomes by a meter of its own for each endpoint,
//! and asks the driver for new pickers between requests.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use futures::{FutureExt, stream::poll_fn};
use tower::Service;
use tower_lb::{
    Balancer, Error, discover,
    endpoint::{Endpoint, EndpointStats},
    outcome::{Meter, Sample},
    strategy::{
        BuildContext, Built, BuiltParts, Candidate, Candidates, PartPicker, Pick, PickContext,
        RoundRobin, Strategy,
    },
};
use tower_lb_test_support::{Backend, drive};

/// Requests name the version they want; within it `S` chooses.
struct ByVersion<S>(S);

struct ByVersionPicker<P>(HashMap<String, PartPicker<P>>);

/// A request type of the outsider's.
struct Versioned(&'static str);

impl<S: Strategy> Strategy for ByVersion<S> {
    type Picker = ByVersionPicker<S::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let mut parts = BuiltParts::new();
        let versions = candidates.partition(|candidate| candidate.metadata().get("version"));
        let pickers = versions.into_iter().filter_map(|(version, part)| {
            let picker = parts.add(version, self.0.build(&part, context))?;
            Some((version.to_owned(), picker))
        });
        let picker = ByVersionPicker(pickers.collect());
        parts.finish(candidates, picker)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.0.meter()
    }
}

impl<P: Pick<Versioned>> Pick<Versioned> for ByVersionPicker<P> {
    fn pick(&self, request: &Versioned, context: &mut PickContext<'_>) -> Option<&Candidate> {
        PartPicker::first_accepted(self.0.get(request.0), request, context)
    }
}

#[test]
fn a_strategy_that_sees_the_request_and_wraps_another() {
    let endpoints = [("a", "v1"), ("b", "v2"), ("c", "v2")].map(|(name, version)| {
        (name, Endpoint::new(Backend::new(name)).with_metadata("version", version))
    });
    let strategy = ByVersion(RoundRobin::starting_at(0));
    let (mut balancer, driver) = Balancer::new(strategy, discover::list(endpoints));
    drive(&mut Box::pin(driver));
    let mut ask = |version| balancer.call(Versioned(version)).now_or_never().unwrap();
    assert_eq!(ask("v1").unwrap(), "a");
    assert_eq!(ask("v1").unwrap(), "a");
    let mut second: Vec<_> = (0..2).map(|_| ask("v2").unwrap()).collect();
    second.sort();
    assert_eq!(second, ["b", "c"]);
    assert!(matches!(ask("v3"), Err(Error::Refused { .. })), "no endpoint would ever take it");
}

/// Fewest failures so far, counted by a meter for each endpoint.
struct FewestFailures;

#[derive(Debug, Default)]
struct RetryFailures(AtomicU32);

impl Meter for RetryFailures {
    fn record(&self, _vitals: &EndpointStats, sample: &Sample<'_>) {
        if sample.outcome().is_failure() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn needs_latency(&self) -> bool {
        false
    }
}

struct FewestFailuresPicker(Candidates);

impl Strategy for FewestFailures {
    type Picker = FewestFailuresPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<Self::Picker> {
        Built::new(FewestFailuresPicker(candidates.clone()), candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(RetryFailures::default()))
    }
}

impl<Req> Pick<Req> for FewestFailuresPicker {
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let failures = |candidate: &&Candidate| {
            let meter = candidate.meter::<RetryFailures>();
            meter.map_or(0, |failures| failures.0.load(Ordering::Relaxed))
        };
        let accepted = self.0.iter().filter(|candidate| context.accepts(candidate));
        accepted.min_by_key(failures)
    }
}

#[test]
fn a_strategy_that_learns_by_a_meter_of_its_own() {
    let (a, b) = (Backend::new("a"), Backend::new("b"));
    a.set_failing(true);
    let (handle, stream) = discover::channel();
    let (mut balancer, driver) = Balancer::new::<_, ()>(FewestFailures, stream);
    let mut driver = Box::pin(driver);
    handle.insert("a", a.clone()).unwrap();
    handle.insert("b", b.clone()).unwrap();
    drive(&mut driver);
    for n in 0..10 {
        let _: Result<String, _> = balancer.call(()).now_or_never().unwrap();
        if n == 5 {
            // The meter is the endpoint's and outlives a change of its attributes.
            handle.insert("a", Endpoint::new(a.clone()).with_weight(3)).unwrap();
            drive(&mut driver);
        }
    }
    assert_eq!((a.calls(), b.calls()), (1, 9));
}

/// Turns its back on the first endpoint when told to, between requests.
struct Alternating {
    signals: Arc<Mutex<tokio::sync::mpsc::UnboundedReceiver<()>>>,
    skip: Arc<AtomicUsize>,
}

struct Nth(Candidates, usize);

impl Strategy for Alternating {
    type Picker = Nth;

    fn build(&mut self, candidates: &Candidates, context: &mut BuildContext) -> Built<Nth> {
        let (signals, skip) = (Arc::clone(&self.signals), Arc::clone(&self.skip));
        context.rebuild_on(poll_fn(move |cx| {
            signals.lock().unwrap().poll_recv(cx).map(|signal| {
                skip.fetch_add(usize::from(signal.is_some()), Ordering::Relaxed);
                signal
            })
        }));
        Built::new(Nth(candidates.clone(), self.skip.load(Ordering::Relaxed)), candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

impl<Req> Pick<Req> for Nth {
    fn pick(&self, _request: &Req, _context: &mut PickContext<'_>) -> Option<&Candidate> {
        self.0.get(self.1 % self.0.len())
    }
}

#[test]
fn a_strategy_with_work_of_its_own_keeps_the_driver_going() {
    let (sender, signals) = tokio::sync::mpsc::unbounded_channel();
    let endpoints = ["a", "b"].map(|name| (name, Endpoint::new(Backend::new(name))));
    let signals = Arc::new(Mutex::new(signals));
    let strategy = Alternating { signals, skip: Arc::default() };
    let (mut balancer, driver) = Balancer::new::<_, ()>(strategy, discover::list(endpoints));
    let mut driver = Box::pin(driver);
    assert!(!drive(&mut driver), "the list has ended, but the strategy goes on");
    let mut ask = || -> String { balancer.call(()).now_or_never().unwrap().unwrap() };
    assert_eq!(ask(), "a");
    sender.send(()).unwrap();
    drive(&mut driver);
    assert_eq!(ask(), "b");
    drop(sender);
    assert!(drive(&mut driver), "nothing more to come from either");
}

#[test]
fn a_picker_of_another_balancer_sends_nothing_astray() {
    /// Picks from candidates that it was not built from.
    struct Stale(Option<Candidates>);
    struct StalePicker(Candidates);
    impl Strategy for Stale {
        type Picker = StalePicker;
        fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<StalePicker> {
            let stale = self.0.get_or_insert_with(|| candidates.clone()).clone();
            Built::new(StalePicker(stale), candidates.clone())
        }

        fn meter(&self) -> Option<Arc<dyn Meter>> {
            None
        }
    }
    impl<Req> Pick<Req> for StalePicker {
        fn pick(&self, _request: &Req, _context: &mut PickContext<'_>) -> Option<&Candidate> {
            self.0.get(0)
        }
    }
    let endpoints = [Endpoint::new(()), Endpoint::new(())];
    let elsewhere =
        Candidates::for_strategy(&RoundRobin::new(), endpoints.iter().map(|e| ("x", e)));
    let backend = Backend::new("a");
    let list = discover::list([("a", backend.clone().into())]);
    let (mut balancer, driver) = Balancer::new::<_, ()>(Stale(Some(elsewhere)), list);
    drive(&mut Box::pin(driver));
    let response = balancer.call(()).now_or_never();
    assert!(matches!(response, Some(Err(Error::Refused { .. }))), "{response:?}");
    assert_eq!(backend.calls(), 0);
}
