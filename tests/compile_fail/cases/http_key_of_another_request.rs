// says: pass a function of the request that the endpoints get: `|request: &String| -> Option<u64>`
use tower::service_fn;
use tower_lb::{discover, http::RequestKey, prelude::*};

fn main() {
    let endpoints = discover::addresses(["10.0.0.1:80"])
        .connect(|_| service_fn(|request: String| async { Ok::<_, std::io::Error>(request) }));
    let by_path = Maglev::new(RequestKey::path());
    let _ = Balancer::new::<_, String>(by_path, endpoints);
}
