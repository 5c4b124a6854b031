// says: expected function signature `fn(String) -> _`
use tower_lb::{discover, prelude::*};

async fn check(_: &str) -> bool {
    true
}

fn main() {
    let endpoints = discover::addresses(["10.0.0.1:80".to_owned()]);
    let _ = endpoints.health_checked(HealthCheck::new(check));
}
