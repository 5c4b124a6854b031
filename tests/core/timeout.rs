//! Time limits, and which endpoints they charge.

use std::{io, time::Duration};

use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_lb::{
    Balancer, discover,
    endpoint::Endpoint,
    outcome::{Attempts, Carry, Outcome},
    retry::RetryDecision,
    strategy::P2c,
    timeout::{Bound, ConnectTimeoutLayer, Elapsed, FirstByteTimeoutLayer, OverallTimeoutLayer},
};
use tower_lb_test_support::request::Query;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_limit_below_is_the_endpoints_timeout_and_one_above_the_callers() {
    let hangs = || service_fn(|_: Query| std::future::pending::<Result<(), io::Error>>());
    let first_byte = FirstByteTimeoutLayer::new(100 * MS);
    let endpoints = discover::list([("a", Endpoint::new(first_byte.layer(hangs())))]);
    let below = Balancer::spawn(P2c::default(), endpoints);
    let error = below.clone().oneshot(Query::idempotent()).await.unwrap_err();
    assert_eq!(Outcome::of_error(&error), Outcome::Timeout);
    assert_eq!(below.status().endpoints[0].outcomes.timeout, 1);

    let endpoints = discover::list([("a", Endpoint::new(hangs()))]);
    let above = Balancer::spawn(P2c::default(), endpoints);
    let began = Instant::now();
    let error = OverallTimeoutLayer::new(100 * MS)
        .layer(above.clone())
        .oneshot(Query::idempotent())
        .await
        .unwrap_err();
    let elapsed = error.downcast_ref::<Elapsed>().unwrap();
    assert_eq!((elapsed.bound(), elapsed.limit()), (Bound::Overall, 100 * MS));
    assert_eq!(began.elapsed(), 100 * MS);
    let counts = above.status().endpoints[0].outcomes;
    assert_eq!((counts.timeout, counts.cancelled), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_earlier_deadline_counts_and_travels_with_the_request() {
    let seen = service_fn(|query: Query| async move {
        Ok::<_, io::Error>(query.attempts().and_then(Attempts::deadline))
    });
    let service = OverallTimeoutLayer::new(100 * MS).layer(seen);
    let ours = Instant::now() + 100 * MS;
    assert_eq!(service.clone().oneshot(Query::idempotent()).await.unwrap(), Some(ours));
    for (deadline, expected) in [(ours - 50 * MS, ours - 50 * MS), (ours + 50 * MS, ours)] {
        let mut query = Query::idempotent();
        query.carry(Attempts::with_deadline(deadline));
        assert_eq!(service.clone().oneshot(query).await.unwrap(), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_made_in_time_carried_no_request() {
    let connector = service_fn(|_: &str| std::future::pending::<Result<(), io::Error>>());
    let connector = ConnectTimeoutLayer::new(100 * MS).layer(connector);
    let began = Instant::now();
    let error = connector.oneshot("10.0.0.1:80").await.unwrap_err();
    assert_eq!(began.elapsed(), 100 * MS);
    assert_eq!(error.to_string(), "no connection within 100ms");
    assert_eq!(RetryDecision::of_error(&*error), RetryDecision::Unsent);
    // Behind the errors of a client it is the same.
    let error = io::Error::other(error);
    assert_eq!(RetryDecision::of_error(&error), RetryDecision::Unsent);
    assert_eq!(Outcome::of_error(&error), Outcome::Timeout);
}

#[cfg(feature = "http")]
mod attempts_over_http {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::stream;
    use http::{Request, Response};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::sleep;
    use tower_lb::http::AttemptTimeoutLayer;

    use super::*;

    /// The head after 50 ms, then a piece of the body every 50 ms.
    async fn answer(
        pieces: u32,
    ) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
        sleep(50 * MS).await;
        let pieces = stream::unfold(pieces, |left| async move {
            let left = left.checked_sub(1)?;
            sleep(50 * MS).await;
            Some((Ok(Frame::data(Bytes::from("piece"))), left))
        });
        Ok(Response::new(StreamBody::new(Box::pin(pieces))))
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_is_bounded_to_the_end_of_its_body() {
        let service = service_fn(|request: Request<u32>| answer(request.into_body()));
        let limited = |millis: u32| AttemptTimeoutLayer::new(millis * MS).layer(service);

        let response = limited(160).oneshot(Request::new(2)).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "piecepiece");

        let began = Instant::now();
        let response = limited(160).oneshot(Request::new(3)).await.unwrap();
        let error = response.into_body().collect().await.unwrap_err();
        assert_eq!(began.elapsed(), 160 * MS);
        let elapsed = error.downcast_ref::<Elapsed>().unwrap();
        assert_eq!((elapsed.bound(), elapsed.limit()), (Bound::Attempt, 160 * MS));

        // One who reads late has not been given more time.
        let response = limited(160).oneshot(Request::new(2)).await.unwrap();
        sleep(200 * MS).await;
        response.into_body().collect().await.unwrap_err();

        let error = limited(40).oneshot(Request::new(0)).await.map(drop).unwrap_err();
        assert_eq!(error.downcast_ref::<Elapsed>().unwrap().bound(), Bound::Attempt);
        limited(u32::MAX).oneshot(Request::new(1)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_takes_too_long_is_the_endpoints_timeout() {
        let service = service_fn(|request: Request<u32>| answer(request.into_body()));
        let service = AttemptTimeoutLayer::new(120 * MS).layer(service);
        let endpoints = discover::list([("a", Endpoint::new(service))]);
        let balancer = tower_lb::balance::Builder::http().spawn(P2c::default(), endpoints).unwrap();
        let response = balancer.clone().oneshot(Request::new(9)).await.unwrap();
        response.into_body().collect().await.unwrap_err();
        let status = balancer.status();
        assert_eq!((status.endpoints[0].outcomes.timeout, status.endpoints[0].outstanding), (1, 0));
    }
}
