// says: if the targets are addresses, call `.connect(...)` on the stream to make services of them
use tower_lb::{discover, prelude::*};

fn main() {
    let endpoints = discover::addresses(["10.0.0.1:80", "10.0.0.2:80"]);
    let _ = Balancer::new::<_, String>(P2c::default(), endpoints);
}
