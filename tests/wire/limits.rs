//! Heads at and above each limit, and clients that stop.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::{
    backend::{Backend, Speaks},
    certificate::Certificate,
    client::{Ask, Client, Ends, Talks},
    gateway::Gateway,
};

/// Returns the first status, or 0 if the connection closes without one.
async fn status(gateway: &Gateway, request: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    // The gateway may close the connection before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = [0; 12];
    match timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await {
        Ok(Ok(_)) => String::from_utf8_lossy(&answer[9..]).parse().unwrap(),
        _ => 0,
    }
}

fn get(target: &str, fields: &[(String, String)]) -> Vec<u8> {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n");
    for (name, value) in fields {
        request += &format!("{name}: {value}\r\n");
    }
    (request + "\r\n").into_bytes()
}

fn fields(count: usize, value: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("x-{n:04}"), "v".repeat(value))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_limits() {
    let backend = Backend::start(Speaks::Http1, None).await;
    let gateway = Gateway::before([backend.address]);
    // "Host: h" counts: 4 + 1 bytes, and 4 more, as for every field.
    let rest = 64 * 1024 - 9;
    let one = |value: usize| vec![("x".to_owned(), "v".repeat(value - 5))];
    for (what, request, expected) in [
        ("a target of 16 KiB", get(&format!("/{}", "a".repeat(16 * 1024 - 1)), &[]), 200),
        ("a target of 1 byte more", get(&format!("/{}", "a".repeat(16 * 1024)), &[]), 414),
        ("a target of 60 KiB", get(&format!("/{}", "a".repeat(60 * 1024)), &[]), 414),
        ("100 fields", get("/", &fields(99, 1)), 200),
        ("101 fields", get("/", &fields(100, 1)), 431),
        ("5000 fields", get("/", &fields(5000, 1)), 431),
        ("fields of 64 KiB", get("/", &one(rest)), 200),
        ("fields of 1 byte more", get("/", &one(rest + 1)), 431),
        ("fields of 10 MiB", get("/", &one(10 << 20)), 431),
        ("a name of 60 KiB", get("/", &[("n".repeat(60 * 1024), "v".into())]), 200),
    ] {
        // A client whose surplus bytes are not read may see a reset instead of the status.
        let status = status(&gateway, &request).await;
        assert!(status == expected || status == 0 && expected == 431, "{what}: {status}");
    }
    let client =
        Client { talks: Talks::Http2, address: gateway.address, tls: crate::certificate::none() };
    assert_eq!(client.send(&Ask::get("/echo"), Ends::Well).await.unwrap().status, 200);
    backend.take();
    gateway.stop().assert_nothing_was_charged();
}

/// A client that stops in the middle, where it may stop longest: all of them are disconnected, or
/// get status 408, after half a minute, and after a minute in the middle of a body.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_are_disconnected() {
    let certificate = Certificate::new("limits");
    let backend = Backend::start(Speaks::Http1, None).await;
    let plain = Gateway::before([backend.address]);
    let (cert, key) = (certificate.cert.display(), certificate.key.display());
    let upstream = format!("--upstream=http://{}", backend.address);
    let tls = Gateway::start(&[upstream, format!("--tls-cert={cert}"), format!("--tls-key={key}")]);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc";
    let mut clients = JoinSet::new();
    for (what, address, sent, seconds, answer) in [
        ("before a byte", plain.address, &b""[..], 30, ""),
        ("in a TLS handshake", tls.address, hello, 30, ""),
        ("in a request line", plain.address, b"GET / HT", 30, ""),
        ("in a header field", plain.address, b"GET / HTTP/1.1\r\nHost: h\r\nX-", 30, ""),
        ("in the preface", plain.address, b"PRI * HTTP/2.0\r\n\r\n", 30, ""),
        ("after the preface", plain.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 30, ""),
        (
            "in a body",
            plain.address,
            b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n01234",
            60,
            "HTTP/1.1 408",
        ),
        (
            "in a chunk",
            plain.address,
            b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01",
            60,
            "HTTP/1.1 408",
        ),
    ] {
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent).await.unwrap();
            let (start, mut received) = (Instant::now(), Vec::new());
            let limit = Duration::from_secs(seconds + 5);
            let end = timeout(limit, stream.read_to_end(&mut received)).await;
            let waited = start.elapsed();
            assert!(end.is_ok(), "stopped {what}: still connected");
            assert!(waited > Duration::from_secs(seconds - 1), "stopped {what}: only {waited:?}");
            let received = String::from_utf8_lossy(&received);
            assert!(received.contains(answer), "stopped {what}: {received}");
        });
    }
    clients.join_all().await;
    plain.stop().assert_nothing_was_charged();
    tls.stop().assert_nothing_was_charged();
}

/// Uploads that fail on the client's side: none is charged to a backend.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_break_are_charged_to_nothing() {
    let backends =
        [Backend::start(Speaks::Http1, None).await, Backend::start(Speaks::Http1, None).await];
    let gateway = Gateway::before(backends.iter().map(|backend| backend.address));
    for talks in [Talks::Http11, Talks::Http2] {
        let client = Client { talks, address: gateway.address, tls: crate::certificate::none() };
        let mut uploads = JoinSet::new();
        for _ in 0..30 {
            let client = client.clone();
            uploads.spawn(async move {
                client.send(&Ask::post("/echo", "some bytes"), Ends::Cancels).await.unwrap();
            });
        }
        uploads.join_all().await;
    }
    for _ in 0..30 {
        let broken =
            b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234XX";
        let told = status(&gateway, broken).await;
        assert!(told == 0 || (400..500).contains(&told), "{told}");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    gateway.stop().assert_nothing_was_charged();
}
