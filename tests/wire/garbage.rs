//! Random bytes at the listener.

use std::{env, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tower_lb::strategy::Rng;

use crate::{
    backend::{Backend, Speaks},
    client::{Ask, Client, Ends, Talks},
    gateway::Gateway,
};

const SEEDS: [&[u8]; 6] = [
    b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789",
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET http://h/a HTTP/1.0\r\nConnection: keep-alive, x\r\nX: 1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x05\x01\x05\0\0\0\x01\x82\x84\x86\x41\x00",
];

/// Noise, or a request with some bytes changed, removed or repeated.
fn garbage(rng: &mut Rng) -> Vec<u8> {
    if rng.below(4) == 0 {
        let length = rng.below(400);
        return (0..length).map(|_| rng.bits() as u8).collect();
    }
    let mut bytes = SEEDS[rng.below(SEEDS.len())].to_vec();
    for _ in 0..1 + rng.below(6) {
        let at = rng.below(bytes.len());
        match rng.below(4) {
            0 => bytes[at] = rng.bits() as u8,
            1 => bytes[at] = b"\r\n \t:,;/0\0"[rng.below(10)],
            2 => drop(bytes.remove(at)),
            _ => {
                let end = (at + 1 + rng.below(30)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_harm_neither_gateway_nor_backends() {
    let count = env::var("WIRE_GARBAGE").ok().and_then(|n| n.parse().ok()).unwrap_or(3000_u64);
    let backends =
        [Backend::start(Speaks::Http1, None).await, Backend::start(Speaks::Http1, None).await];
    let gateway = Gateway::before(backends.iter().map(|backend| backend.address));
    let client =
        Client { talks: Talks::Http11, address: gateway.address, tls: crate::certificate::none() };
    client.send(&Ask::get("/echo"), Ends::Well).await.unwrap();
    let own = |gateway: &Gateway| {
        let upstream: usize = backends.iter().map(Backend::open).sum();
        gateway.descriptors().saturating_sub(upstream)
    };
    let base = own(&gateway);

    let address = gateway.address;
    let at_once = Arc::new(Semaphore::new(64));
    let mut tasks = JoinSet::new();
    let mut forwarded = 0;
    for seed in 0..count {
        let permit = Arc::clone(&at_once).acquire_owned().await.unwrap();
        tasks.spawn(async move {
            let bytes = garbage(&mut Rng::seeded(seed));
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(&bytes).await;
            // Most clients go on waiting, some hang up.
            if seed % 8 > 0 {
                let _ = stream.shutdown().await;
            }
            let wait = Duration::from_millis(if seed % 8 > 0 { 2000 } else { 20 });
            let _ = timeout(wait, stream.read_to_end(&mut Vec::new())).await;
            drop(permit);
        });
        while tasks.try_join_next().is_some() {}
        for seen in backends.iter().flat_map(Backend::take) {
            forwarded += 1;
            assert_eq!(seen.ambiguity, None, "{seen:?}");
        }
    }
    tasks.join_all().await;
    println!("{count} strings, {forwarded} of them forwarded");

    for talks in [Talks::Http10, Talks::Http11, Talks::Http2] {
        let client = Client { talks, ..client.clone() };
        assert_eq!(client.send(&Ask::get("/echo"), Ends::Well).await.unwrap().status, 200);
    }
    let mut left = 0;
    for _ in 0..100 {
        left = own(&gateway);
        if left <= base {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(left <= base, "{left} descriptors, {base} before");
    gateway.stop().assert_nothing_was_charged();
}
