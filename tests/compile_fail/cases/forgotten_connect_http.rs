// says: if the endpoints' targets are addresses, call `.connect(...)` on the stream to make services of them
use http_body_util::Full;
use tower_lb::{balance::Builder, discover, prelude::*};

fn main() {
    let endpoints = discover::addresses(["10.0.0.1:80", "10.0.0.2:80"]);
    let (balancer, _) = Builder::http().build(P2c::default(), endpoints).unwrap();
    let _ = resilient::<_, Full<&'static [u8]>>(balancer);
}
