// says: expected closure signature `fn(http::Request<ReplayBody<_>>) -> _`
use http::{Request, Response};
use http_body_util::Empty;
use tower::service_fn;
use tower_lb::prelude::*;

fn main() {
    let client = service_fn(|_: Request<Empty<&'static [u8]>>| async {
        Ok::<_, std::io::Error>(Response::new(Empty::<&'static [u8]>::new()))
    });
    let _ = resilient(client);
}
