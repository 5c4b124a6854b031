use std::{convert::Infallible, net::SocketAddr, time::Duration};

use futures_util::stream;
use tower::{
    BoxError, Service,
    balance::p2c::Balance,
    discover::{Change, Discover},
    load::{CompleteOnResponse, Load, PeakEwma, PendingRequests},
};

use crate::addresses::addresses;

/// tower's balancer over endpoints that don't change, each made and measured by `measured`.
///
/// The stream makes the services one by one and ends: the cheapest that `Balance` can poll.
pub fn fixed<S>(
    measured: impl Fn() -> S + Send + 'static,
    n: usize,
) -> Balance<impl Discover<Key = SocketAddr, Service = S, Error = Infallible> + Unpin + Send, ()>
where
    S: Service<(), Error: Into<BoxError>> + Load + Send + 'static,
{
    let insert = move |address| Ok(Change::Insert(address, measured()));
    Balance::new(stream::iter(addresses(n).map(insert)))
}

pub fn pending_requests<S>(service: S) -> PendingRequests<S> {
    PendingRequests::new(service, CompleteOnResponse::default())
}

/// With the time constant that is our default, 10 s.
pub fn peak_ewma<S>(service: S) -> PeakEwma<S> {
    let decay = Duration::from_secs(10).as_nanos() as f64;
    let first_guess = Duration::from_millis(30);
    PeakEwma::new(service, first_guess, decay, CompleteOnResponse::default())
}
