//! Heads at and above each limit, and clients that stop.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
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

/// A backend that does not answer. The client gets a response, and no closed connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_hangs_gets_504() {
    let backend = Backend::start(Speaks::Http1, None).await;
    let upstream = format!("--upstream=http://{}", backend.address);
    for retries in [&[][..], &["--no-retries".to_owned()]] {
        let arguments = [&[upstream.clone(), "--timeout=1".into()], retries].concat();
        let gateway = Gateway::start(&arguments);
        for talks in [Talks::Http10, Talks::Http11, Talks::Http2] {
            let tls = crate::certificate::none();
            let client = Client { talks, address: gateway.address, tls };
            let told = client.send(&Ask::get("/hang"), Ends::Well).await.unwrap();
            assert_eq!(told.status, 504, "{talks:?}");
        }
        let _ = gateway.stop();
    }
}

/// A backend that sends a byte each second, and one that switches protocols and is silent then.
async fn slow_backend(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            if head.starts_with(b"GET /stuck ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").await?;
                stream.read_u8().await?;
            } else if head.starts_with(b"GET /slow ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").await?;
                for _ in 0..8 {
                    sleep(Duration::from_secs(1)).await;
                    stream.write_all(b"x").await?;
                }
            } else {
                let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                    Upgrade: websocket\r\n\r\n";
                stream.write_all(switch).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await?;
            }
            Ok::<_, std::io::Error>(())
        });
    }
}

/// The listener's limit is not that of a response which goes on, or of a tunnel.
#[tokio::test(flavor = "multi_thread")]
async fn long_responses_and_silent_tunnels_go_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("--upstream=http://{}", listener.local_addr().unwrap());
    let _backend = tokio::spawn(slow_backend(listener));
    // A silent connection ends after 5.2 s.
    let gateway = Gateway::start(&[upstream, "--timeout=0.2".into()]);
    let gateway_address = gateway.address;
    let mut slow = TcpStream::connect(gateway_address).await.unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let stuck = tokio::spawn(async move {
        let mut stuck = TcpStream::connect(gateway_address).await.unwrap();
        stuck.write_all(b"GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let start = Instant::now();
        let _ = stuck.read_to_end(&mut Vec::new()).await;
        start.elapsed()
    });
    let mut tunnel = TcpStream::connect(gateway.address).await.unwrap();
    let upgrade = b"GET /tunnel HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tunnel.write_all(upgrade).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(Duration::from_secs(5), tunnel.read_u8()).await.unwrap().unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", head.escape_ascii());
    let mut received = Vec::new();
    timeout(Duration::from_secs(20), slow.read_to_end(&mut received)).await.unwrap().unwrap();
    assert!(received.ends_with(b"\r\n\r\nxxxxxxxx"), "{}", received.escape_ascii());
    // A response that stands still is cut off, by then.
    let stuck = stuck.await.unwrap();
    assert!((5.0..8.0).contains(&stuck.as_secs_f64()), "{stuck:?}");
    // Nothing has passed for 8 s.
    tunnel.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    timeout(Duration::from_secs(5), tunnel.read_exact(&mut echo)).await.unwrap().unwrap();
    assert_eq!(&echo, b"hello");
    drop(tunnel);
    let _ = gateway.stop();
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
    sleep(Duration::from_millis(300)).await;
    gateway.stop().assert_nothing_was_charged();
}
