// says: if the strategy is your own, implement `Pick<
use std::sync::Arc;

use tower::service_fn;
use tower_lb::{
    discover,
    outcome::Meter,
    prelude::*,
    strategy::{BuildContext, Built, Candidates},
};

struct Nothing;

struct First;

impl Strategy for First {
    type Picker = Nothing;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<Nothing> {
        Built::new(Nothing, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

fn main() {
    let endpoints = discover::addresses(["10.0.0.1:80"])
        .connect(|_| service_fn(|request: String| async { Ok::<_, std::io::Error>(request) }));
    let _ = Balancer::new(First, endpoints);
}
