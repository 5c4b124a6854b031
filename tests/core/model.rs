//! 100 000 random steps against a model: endpoints come, go, change, fail and get ready; requests
//! come, are answered and are dropped. A request never reaches a removed, ineligible or unready
//! endpoint, the balancer is ready only if something is, and nothing is left in flight at the end.

use std::collections::BTreeMap;

use tokio_test::task::{self, Spawn};
use tower::Service;
use tower_lb::{
    Balancer, Error,
    balance::Builder,
    discover,
    endpoint::{Endpoint, Health},
    load::{FailureAware, PeakEwma},
    strategy::{LeastLoaded, P2c, Pick, Random, Rng, RoundRobin, Strategy},
};
use tower_lb_test_support::{Backend, Readiness, drive};

const STEPS: usize = 100_000;
const KEYS: usize = 12;

struct Known {
    backend: Backend,
    eligible: bool,
}

impl Known {
    fn retire(self) -> (Backend, usize) {
        let calls = self.backend.calls();
        (self.backend, calls)
    }
}

fn stress<St>(strategy: St, max_outstanding: Option<u32>)
where
    St: Strategy<Picker: Pick<()>>,
{
    let mut rng = Rng::seeded(20);
    let builder = Balancer::builder().seed(1);
    let builder = match max_outstanding {
        Some(limit) => builder.max_outstanding(limit),
        None => builder,
    };
    let (handle, stream) = discover::channel::<usize, Backend>();
    let (balancer, driver) = Builder::build(builder, strategy, stream).unwrap();
    let mut driver = Box::pin(driver);
    let mut caller = balancer.clone();
    let mut balancer = task::spawn(balancer);
    let mut model: BTreeMap<usize, Known> = BTreeMap::new();
    let mut waiting: Vec<Spawn<_>> = Vec::new();
    // Backends of removed endpoints, and how many calls they had.
    let mut removed: Vec<(Backend, usize)> = Vec::new();
    let mut was_pending = false;

    for _ in 0..STEPS {
        let key = rng.below(KEYS);
        match rng.below(100) {
            0..10 => {
                let backend = Backend::holding(key);
                let health = match rng.below(4) {
                    0 => Health::unhealthy("so the dice say"),
                    1 => Health::degraded("so the dice say"),
                    _ => Health::Healthy,
                };
                let weight = rng.below(4) as u32;
                let endpoint =
                    Endpoint::new(backend.clone()).with_health(health).with_weight(weight);
                let eligible = endpoint.is_eligible();
                handle.insert(key, endpoint).unwrap();
                model.insert(key, Known { backend, eligible });
            }
            10..17 => {
                handle.remove(key).unwrap();
                removed.extend(model.remove(&key).map(|known| known.retire()));
            }
            17..19 => {
                let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
                    std::mem::take(&mut model).into_iter().partition(|_| rng.below(2) == 0);
                removed.extend(gone.into_values().map(Known::retire));
                let all = kept.iter().map(|(&key, known)| {
                    (
                        key,
                        Endpoint::new(known.backend.clone()).with_weight(u32::from(known.eligible)),
                    )
                });
                handle.reset(all).unwrap();
                model = kept;
            }
            19..40 => {
                let readiness =
                    [Readiness::Ready, Readiness::Ready, Readiness::Pending, Readiness::Fails];
                if let Some(known) = model.get(&key) {
                    known.backend.set_readiness(readiness[rng.below(4)]);
                }
            }
            40..70 => {
                let calls = calls(&model);
                let mut response = task::spawn(caller.call(()));
                check_reached(&model, &calls);
                if response.poll().is_pending() {
                    waiting.push(response);
                }
                check_reached(&model, &calls);
            }
            70..85 => {
                if let Some(known) = model.get(&key) {
                    known.backend.answer();
                }
            }
            85..92 if !waiting.is_empty() => {
                drop(waiting.swap_remove(rng.below(waiting.len())));
            }
            _ => {}
        }
        if waiting.len() >= 60 {
            waiting.truncate(30);
        }
        drive(&mut driver);

        let calls = calls(&model);
        waiting.retain_mut(|response| !response.is_woken() || response.poll().is_pending());
        check_reached(&model, &calls);

        let could_serve = model.values().any(|known| known.eligible);
        let told = balancer.is_woken();
        let ready =
            balancer.enter(|cx, balancer| Service::<()>::poll_ready(balancer.get_mut(), cx));
        if max_outstanding.is_none() {
            assert_eq!(ready.is_ready(), could_serve);
        } else {
            assert!(could_serve || ready.is_pending());
        }
        if was_pending && ready.is_ready() {
            assert!(told, "ready again, and nobody was told");
        }
        was_pending = ready.is_pending();
    }

    drop(waiting);
    drive(&mut driver);
    for (backend, calls) in removed {
        assert_eq!(backend.calls(), calls, "a removed endpoint was called");
        assert_eq!(backend.clones(), 1, "a removed endpoint is held on to");
    }
    // Nothing that waits is left in flight, and everything in flight is somebody's request.
    for endpoint in balancer.enter(|_, balancer| balancer.status()).endpoints {
        assert_eq!(endpoint.outstanding, 0, "{endpoint:?}");
    }
}

fn calls(model: &BTreeMap<usize, Known>) -> BTreeMap<usize, usize> {
    model.iter().map(|(&key, known)| (key, known.backend.calls())).collect()
}

/// Only endpoints that are there, eligible and ready have got requests since `before`.
fn check_reached(model: &BTreeMap<usize, Known>, before: &BTreeMap<usize, usize>) {
    for (key, known) in model {
        if known.backend.calls() > before[key] {
            assert!(known.eligible, "{key} is not eligible and was called");
            assert!(
                known.backend.readiness() == Readiness::Ready,
                "{key} is not ready and was called"
            );
        }
    }
}

#[test]
fn round_robin() {
    stress(RoundRobin::starting_at(0), None);
}

#[test]
fn random_with_a_limit() {
    stress(Random, Some(2));
}

#[test]
fn p2c_by_latency_with_a_limit() {
    stress(P2c::new(FailureAware::new(PeakEwma::new())), Some(1));
}

#[test]
fn least_loaded() {
    stress(LeastLoaded::default(), None);
}

#[test]
fn p2c() {
    stress(P2c::default(), None);
}

#[test]
fn errors_are_those_of_endpoints_or_none() {
    let backend = Backend::new("a");
    backend.set_readiness(Readiness::Fails);
    let (mut balancer, driver) =
        Balancer::new::<_, ()>(RoundRobin::new(), discover::list([("a", backend.into())]));
    drive(&mut Box::pin(driver));
    let mut response = task::spawn(Service::<()>::call(&mut balancer, ()));
    let std::task::Poll::Ready(Err(error)) = response.poll() else { panic!("no error") };
    assert!(matches!(error, Error::Endpoint { .. }));
}
