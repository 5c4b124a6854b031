//! What a request's attempts know of each other, and what the balancer makes of it.

use std::{collections::BTreeSet, sync::Arc};

use tokio_test::{assert_pending, assert_ready_ok, task::spawn};
use tower::{Service, ServiceExt};
use tower_lb::{
    Balancer, discover,
    endpoint::Endpoint,
    outcome::{Attempts, Carry, Following, Meter, OnResponse},
    strategy::{
        BuildContext, Built, Candidate, Candidates, LeastLoaded, P2c, Pick, PickContext, Random,
        RoundRobin, Strategy,
    },
};
use tower_lb_test_support::{Backend, Readiness, drive};

#[derive(Clone, Debug, Default)]
struct Request {
    attempts: Option<Attempts>,
}

impl Request {
    fn of(attempts: &Attempts) -> Self {
        Self { attempts: Some(attempts.clone()) }
    }
}

impl Carry for Request {
    fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.attempts = Some(attempts);
    }
}

/// Uses the balancer itself, not a clone, whose generator would be another.
async fn send<S: Service<Request>>(
    service: &mut S,
    request: Request,
) -> Result<S::Response, S::Error> {
    service.ready().await?.call(request).await
}

fn over<St: Strategy>(
    strategy: St,
    backends: &[Backend],
    limit: Option<u32>,
) -> Balancer<Backend, St, Following<OnResponse>> {
    let endpoints: Vec<_> = backends.iter().cloned().map(Endpoint::new).collect();
    over_endpoints(strategy, &endpoints, limit)
}

fn over_endpoints<St: Strategy>(
    strategy: St,
    endpoints: &[Endpoint<Backend>],
    limit: Option<u32>,
) -> Balancer<Backend, St, Following<OnResponse>> {
    let endpoints = endpoints.iter().cloned().enumerate();
    let builder = Balancer::builder().seed(1).track(Following::new(OnResponse::default()));
    let builder = limit.into_iter().fold(builder, |builder, limit| builder.max_outstanding(limit));
    let (balancer, driver) = builder.build(strategy, discover::list(endpoints)).unwrap();
    drive(&mut Box::pin(driver));
    balancer
}

#[tokio::test]
async fn attempts_of_one_request_go_to_endpoints_not_yet_tried() {
    async fn check<St: Strategy<Picker: Pick<Request> + Send + Sync>>(
        strategy: St,
        limit: Option<u32>,
    ) {
        let backends: Vec<_> = (0..5).map(Backend::new).collect();
        let mut balancer = over(strategy, &backends, limit);
        for _ in 0..100 {
            let attempts = Attempts::new();
            let mut seen = BTreeSet::new();
            for _ in 0..5 {
                let request = Request::of(&attempts);
                seen.insert(send(&mut balancer, request).await.unwrap());
            }
            assert_eq!(seen.len(), 5);
            assert_eq!(attempts.tried().len(), 5);
            // All have been tried: any will do.
            send(&mut balancer, Request::of(&attempts)).await.unwrap();
        }
    }
    for limit in [None, Some(3)] {
        check(RoundRobin::new(), limit).await;
        check(Random, limit).await;
        check(P2c::default(), limit).await;
        check(P2c::peak_ewma(), limit).await;
        check(LeastLoaded::default(), limit).await;
    }
}

#[tokio::test]
async fn one_endpoint_is_tried_again_and_again() {
    let mut balancer = over(P2c::default(), &[Backend::new("only")], None);
    let attempts = Attempts::new();
    for _ in 0..3 {
        let request = Request::of(&attempts);
        assert_eq!(send(&mut balancer, request).await.unwrap(), "only");
    }
}

#[tokio::test]
async fn a_request_that_waits_for_readiness_avoids_what_was_tried() {
    let backends: Vec<_> = (0..3).map(Backend::new).collect();
    backends.iter().for_each(|backend| backend.set_readiness(Readiness::Pending));
    let endpoints: Vec<_> = backends.iter().cloned().map(Endpoint::new).collect();
    let balancer = over_endpoints(RoundRobin::starting_at(0), &endpoints, None);
    let attempts = Attempts::new();
    endpoints[1..].iter().for_each(|endpoint| attempts.went_to(endpoint.stats()));
    let mut response = spawn(balancer.oneshot(Request::of(&attempts)));
    assert_pending!(response.poll());
    backends[0].set_readiness(Readiness::Ready);
    assert_eq!(assert_ready_ok!(response.poll()), "0");
}

#[tokio::test]
async fn an_error_names_the_instance_to_avoid() {
    let backends: Vec<_> = (0..2).map(Backend::new).collect();
    backends[0].set_failing(true);
    let mut balancer = over(RoundRobin::starting_at(0), &backends, None);
    for _ in 0..10 {
        let first = send(&mut balancer, Request::default()).await;
        if let Err(error) = first {
            let attempts = Attempts::new();
            attempts.went_to(error.endpoint_id().unwrap().stats());
            let second = send(&mut balancer, Request::of(&attempts)).await;
            assert_eq!(second.unwrap(), "1");
        }
    }
}

#[tokio::test]
async fn an_attempt_knows_how_the_last_one_failed() {
    use std::time::Duration;
    use tower_lb::{
        outcome::Outcome,
        retry::{Backoff, RetryFailures, RetryLayer},
    };
    let seen = tower::service_fn(|query: tower_lb_test_support::request::Query| async move {
        match query.attempts().and_then(Attempts::last_failure) {
            None => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
            Some(failure) => Ok(failure),
        }
    });
    let retry = RetryLayer::builder(RetryFailures::default())
        .backoff(Backoff::full(Duration::ZERO, Duration::ZERO))
        .build()
        .unwrap();
    let failure = tower::Layer::layer(&retry, seen)
        .oneshot(tower_lb_test_support::request::Query::idempotent());
    assert_eq!(failure.await.unwrap(), Outcome::Timeout);
}

/// Fails the test unless the pick knows which attempt it is for.
struct Numbered(u32);

struct NumberedPicker(Candidates, u32);

impl Strategy for Numbered {
    type Picker = NumberedPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<NumberedPicker> {
        Built::new(NumberedPicker(candidates.clone(), self.0), candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

impl<Req> Pick<Req> for NumberedPicker {
    fn pick(&self, _: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        assert_eq!(context.attempt(), self.1);
        assert_eq!(context.tried().len() as u32, self.1 - 1);
        self.0.iter().find(|candidate| context.accepts(candidate))
    }
}

#[tokio::test]
async fn a_pick_knows_the_number_of_its_attempt() {
    let backends: Vec<_> = (0..3).map(Backend::new).collect();
    let attempts = Attempts::new();
    for number in 1..=3 {
        if number > 1 {
            attempts.begin_next();
        }
        let mut balancer = over(Numbered(number), &backends, None);
        send(&mut balancer, Request::of(&attempts)).await.unwrap();
        backends.iter().for_each(|backend| backend.set_readiness(Readiness::Ready));
    }
    let mut balancer = over(Numbered(1), &backends, None);
    send(&mut balancer, Request::default()).await.unwrap();
}
