//! The cost of a request through `http::Pool`, beside hyper-util's client in the same run.
//! `cargo bench --bench pooled_client`
//!
//! The server is a loop of reads and writes on a thread of its own; the client has one thread. The
//! system calls are the same for both, so a difference is the client's.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::runtime;
use tower::{Service, ServiceExt};
use tower_lb::http::{Origin, Pool, SetOrigin};

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 128\r\n\r\n";

fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let response = [RESPONSE, &[b'x'; 128]].concat();
                let mut head = [0; 4096];
                // A request arrives in one piece.
                while stream.read(&mut head).is_ok_and(|read| read > 0) {
                    stream.write_all(&response).unwrap();
                }
            });
        }
    });
    address
}

async fn exchange<S, B>(client: &S)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: std::fmt::Debug> + Clone,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let request = Request::get("/items/17?full").header("host", "shop.example");
    let request = request.body(Empty::new()).unwrap();
    let response = client.clone().oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

fn pooled_client(criterion: &mut Criterion) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("request over loopback, HTTP/1.1");
    let origin = Origin::from(serve());
    let pool = Pool::new().client(origin.clone());
    group.bench_function("tower-lb", |bencher| {
        bencher.iter(|| runtime.block_on(exchange(&pool)));
    });
    let legacy = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .build_http();
    let legacy = SetOrigin::new(legacy, origin);
    group.bench_function("hyper-util", |bencher| {
        bencher.iter(|| runtime.block_on(exchange(&legacy)));
    });
    group.finish();
}

criterion_group!(benches, pooled_client);
criterion_main!(benches);
