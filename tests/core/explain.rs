//! Why a request goes where it goes: `Balancer::explain` says what the next pick does, and `Explained`
//! what a real one did.

use std::{
    convert::Infallible,
    fmt::Display,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use futures::FutureExt;
use tower::{Service, service_fn};
use tower_lb::{
    Balancer, Driver,
    discover::{self, Discover},
    endpoint::{Endpoint, Health, Tried},
    load::{Now, Outstanding},
    outcome::{Attempts, Carry},
    strategy::{
        BoundedLoad, BuildContext, Candidate, Candidates, Explained, Explanation, LeastLoaded,
        Maglev, P2c, Panic, PanicMode, Pick, PickContext, PickFirst, PickOutcome, Rng, RoundRobin,
        Split, Standing, Strategy, Subset, Tiers, TopK, ZonalShift, ZoneAware,
    },
};
use tower_lb_test_support::{logs::Logs, picks::zone_named};

use crate::matrix::{Any, Request, Server, endpoint, strategies, wrappers};

/// A balancer over these endpoints, whose driver has run.
fn balancer<St, S>(
    strategy: St,
    endpoints: impl IntoIterator<Item = (u32, Endpoint<S>)>,
) -> Balancer<S, St>
where
    St: Strategy,
    S: Clone + Send + 'static,
{
    let endpoints = discover::list(endpoints);
    let (balancer, driver) = Balancer::builder().seed(1).build(strategy, endpoints).unwrap();
    drive(driver);
    balancer
}

fn drive<D, St>(driver: Driver<D, St>)
where
    D: Discover<Key: Display + Eq + std::hash::Hash, Target: Clone, Error: Into<tower_lb::BoxError>>,
    St: Strategy,
{
    driver.now_or_never();
}

/// Runs `test` while time stands still: loads decay with time.
fn paused(test: impl FnOnce()) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { test() });
}

#[test]
fn every_strategy_in_every_wrapper_is_explained_as_it_picks() {
    for (name, strategy) in strategies() {
        for (inner, wrap) in wrappers() {
            for (outer, wrap_again) in wrappers() {
                let name = format!("{name} / {inner} / {outer}");
                let strategy = wrap_again(wrap(strategy.clone()));
                paused(|| explained_as_picked(&name, strategy, 40));
            }
        }
    }
}

fn explained_as_picked(name: &str, strategy: Any, users: Request) {
    let mut balancer = balancer(strategy, (0..16).map(|number| (number, endpoint(number))));
    let mut cx = Context::from_waker(Waker::noop());
    for user in 0..users {
        let explanation = balancer.explain(&user);
        assert_eq!(balancer.explain(&user), explanation, "{name}: explaining changes nothing");
        assert!(Service::<Request>::poll_ready(&mut balancer, &mut cx).is_ready(), "{name}");
        let Poll::Ready(Ok(picked)) = pin!(balancer.call(user)).poll(&mut cx) else {
            panic!("{name}: the request waits or fails");
        };
        let text = explanation.to_string();
        assert_eq!(explanation.picked, Some(picked.to_string()), "{name}: {text}");
        assert_eq!(explanation.outcome, PickOutcome::Picked, "{name}: {text}");
        assert!(!explanation.steps.is_empty() && explanation.endpoints == 16, "{name}: {text}");
        assert_eq!(explanation.candidates.len(), 16, "{name}: {text}");
        assert!(!text.contains("does not explain"), "{name}: {text}");
        assert!(!text.contains("by the strategy"), "{name}: {text}");
        if user == 7 && std::env::var_os("SHOW").is_some() {
            println!("## {name}\n{text}{}\n", explanation.compact());
        }
    }
}
