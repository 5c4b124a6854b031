// says: implement `RetryableRequest` and `Carry` for `String`
use tower::{Layer, Service, service_fn};
use tower_lb::{prelude::*, retry::RetryFailures};

fn serve(_: impl Service<String>) {}

fn main() {
    let client = service_fn(|request: String| async move { Ok::<_, std::io::Error>(request) });
    let retries = RetryLayer::builder(RetryFailures::default()).build().unwrap();
    serve(retries.layer(client));
}
