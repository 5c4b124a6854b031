// says: `async fn check(target: String) -> Result<(), BoxError>`
use tower_lb::{discover, prelude::*};

async fn check(_: String) -> bool {
    true
}

fn main() {
    let endpoints = discover::addresses(["10.0.0.1:80".to_owned()]);
    let _ = endpoints.health_checked(HealthCheck::new(check));
}
