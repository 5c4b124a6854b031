// says: its error implements `Into<BoxError>`
use tower::service_fn;
use tower_lb::{discover, prelude::*};

struct NotAnError;

fn main() {
    let endpoints = discover::addresses(["10.0.0.1:80"])
        .connect(|_| service_fn(|_: String| async { Err::<String, _>(NotAnError) }));
    let _ = Balancer::new(P2c::default(), endpoints);
}
