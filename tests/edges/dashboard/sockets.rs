//! The dashboard in servers, over real sockets.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, response::Redirect, routing::get};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn report() -> Value {
    json!({ "time": 1, "balancers": [] })
}

#[tokio::test]
async fn axum_serves_it_below_a_prefix_and_as_its_fallback() {
    let dashboard = crate::shows(report);
    let nested = Router::new()
        .nest_service("/lb/", dashboard.clone())
        .route("/lb", get(|| async { Redirect::permanent("/lb/") }));
    let nested = serve(nested).await;
    let fallback = serve(Router::new().fallback_service(dashboard)).await;
    for base in [
        format!("http://{nested}/lb"),
        format!("http://{nested}/lb/"),
        format!("http://{fallback}"),
    ] {
        let page = reqwest::get(&base).await.unwrap();
        assert_eq!(page.status(), 200);
        // The page's own URLs are relative to where the browser has arrived.
        let arrived = page.url().clone();
        assert!(page.text().await.unwrap().contains("app.js"));
        for path in ["app.js", "style.css", "api/report", "api/actions"] {
            let response = reqwest::get(arrived.join(path).unwrap()).await.unwrap();
            assert_eq!(response.status(), 200, "{base} {path}");
        }
        let mut events = reqwest::get(arrived.join("api/events").unwrap()).await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"}\n\n") {
            received.extend(events.chunk().await.unwrap().unwrap());
        }
        let expected = format!("retry: 2000\n\ndata: {}\n\n", report());
        assert_eq!(String::from_utf8(received).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_client_that_never_reads_stops_the_rendering() {
    let rendered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rendered);
    let builder = crate::configure(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        "x".repeat(1 << 20)
    });
    let dashboard = builder.interval(Duration::from_millis(5)).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(dashboard.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(connection), service).await;
            });
        }
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /api/events HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Buffers of the kernel fill, and then nothing happens any more.
    let settled = async {
        loop {
            let before = rendered.load(Ordering::SeqCst);
            sleep(Duration::from_millis(500)).await;
            if before > 0 && rendered.load(Ordering::SeqCst) == before {
                return before;
            }
        }
    };
    let settled = timeout(Duration::from_secs(60), settled).await.unwrap();
    assert!(settled < 64, "{settled} reports of 1 MiB");
}
