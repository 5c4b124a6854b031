//! tower's `Balance` over the same endpoints, without the `Buffer` that it needs to be shared.

use std::{convert::Infallible, fmt::Debug, time::Duration};

use futures_util::stream;
use tower::{
    Service,
    balance::p2c::Balance,
    discover::Change,
    load::{CompleteOnResponse, Load, PeakEwma, PendingRequests},
};

use super::plain::{ENDPOINTS, Noop};
use crate::case::send_unit;

fn balance<S>(measured: impl Fn(Noop) -> S, requests: u64)
where
    S: Service<(), Response = (), Error = Infallible> + Load<Metric: Debug>,
{
    let endpoints: Vec<_> = (0..ENDPOINTS)
        .map(|key| Ok::<_, Infallible>(Change::Insert(key, measured(Noop))))
        .collect();
    send_unit(Balance::new(stream::iter(endpoints)), requests);
}

pub fn pending_requests(requests: u64) {
    balance(|noop| PendingRequests::new(noop, CompleteOnResponse::default()), requests);
}

pub fn peak_ewma(requests: u64) {
    // With the time constant that is our default, 10 s.
    let (first_guess, decay_nanos) = (Duration::from_millis(30), 1e10);
    let measured =
        |noop| PeakEwma::new(noop, first_guess, decay_nanos, CompleteOnResponse::default());
    balance(measured, requests);
}
