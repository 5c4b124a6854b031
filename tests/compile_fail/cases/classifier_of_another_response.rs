// says: expected closure signature `for<'a, 'b> fn(Result<&'a String, &'b (dyn std::error::Error + 'static)>) -> _`
use std::error::Error;

use tower::{Service, service_fn};
use tower_lb::{discover, prelude::*};

fn serve(_: impl Service<String>) {}

fn main() {
    let endpoints = discover::addresses(["10.0.0.1:80"])
        .connect(|_| service_fn(|request: String| async { Ok::<_, std::io::Error>(request) }));
    let classify = |_: Result<&u64, &(dyn Error + 'static)>| Outcome::Success;
    let (balancer, _) =
        Balancer::builder().classify(classify).build(P2c::default(), endpoints).unwrap();
    serve(balancer);
}
