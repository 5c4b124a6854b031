// says: make the client take `http::Request<ReplayBody<B>>` or a request of any body
use std::io;

use http::{Request, Response};
use http_body_util::Empty;
use tower::util::BoxCloneService;
use tower_lb::prelude::*;

type Body = Empty<&'static [u8]>;

fn add_retries(client: BoxCloneService<Request<Body>, Response<Body>, io::Error>) {
    let _ = resilient::<_, Body>(client);
}

fn main() {}
