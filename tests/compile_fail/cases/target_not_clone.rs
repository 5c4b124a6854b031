// says: consider annotating `Client` with `#[derive(Clone)]`
use std::{
    future::{Ready, ready},
    io,
    task::{Context, Poll},
};

use tower::Service;
use tower_lb::{discover, prelude::*};

struct Client;

impl Service<String> for Client {
    type Response = String;
    type Error = io::Error;
    type Future = Ready<io::Result<String>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: String) -> Self::Future {
        ready(Ok(request))
    }
}

fn main() {
    let _ = discover::addresses(["10.0.0.1:80"]).connect(|_| Client);
}
