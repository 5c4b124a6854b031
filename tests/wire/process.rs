//! The gateway as a program: its command line, and how it ends.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    backend::{Backend, Speaks},
    example::options::{Command as Parsed, parse},
    gateway::Gateway,
};

fn ask(gateway: &Gateway, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_command_line_says_what_is_wrong() {
    let parsed = |line: &str| parse(line.split_whitespace().map(Into::into));
    for (line, error) in [
        ("--listen", "--listen needs a value"),
        ("--listen localhost", "--listen \"localhost\": "),
        ("--upstream ftp://h", "--upstream \"ftp://h\": "),
        ("--upstream http://h:0", "--upstream \"http://h:0\": "),
        ("--upstream-http2=yes", "--upstream-http2 takes no value"),
        ("--health-path healthz", "--health-path \"healthz\": "),
        ("--tls-cert a.pem", "--tls-cert and --tls-key need each other"),
        ("--drain -1", "--drain \"-1\": "),
        ("--drain soon", "--drain \"soon\": "),
        ("--timeout 0", "--timeout \"0\": expected a time above 0"),
        ("--timeout 1e-99", "--timeout \"1e-99\": expected a time above 0"),
        ("serve", "unknown option \"serve\""),
    ] {
        let is = parsed(line).unwrap_err();
        assert!(is.starts_with(error), "{line}: {is}");
    }
    let all = "--listen=[::1]:80 --upstream http://a:1 --upstream=http://b:2 --upstream-http2 \
               --health-path /healthz --tls-cert c --tls-key k --sticky s --no-retries --drain 0.5";
    let Ok(Parsed::Serve(options)) = parsed(all) else { panic!("{:?}", parsed(all)) };
    assert_eq!(options.listen, "[::1]:80".parse().unwrap());
    assert_eq!(options.upstreams.len(), 2);
    assert!(options.upstream_http2 && !options.retries && options.tls.is_some());
    assert_eq!((options.sticky.as_deref(), options.drain), (Some("s"), Duration::from_millis(500)));
    assert!(matches!(parsed("--help"), Ok(Parsed::Help)));
}

#[test]
fn without_backends_it_has_its_own() {
    let gateway = Gateway::start(&[]);
    let request = "GET /hello HTTP/1.1\r\nHost: shop.example\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\n\r\n";
    let answer = rest(ask(&gateway, request));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("GET /hello HTTP/1.1\nhost: shop.example\n"), "{answer}");
    assert!(!answer.contains("x-secret"), "{answer}");
    let ended = gateway.stop();
    ended.assert_nothing_was_charged();
    assert!(ended.output.contains("curl"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_tunnels_finish_before_the_end() {
    let backend = Backend::start(Speaks::Http1, None).await;
    let upstream = format!("--upstream=http://{}", backend.address);
    let upload = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n01234";
    let websocket = "GET /upgrade HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tokio::task::spawn_blocking(move || {
        let mut gateway = Gateway::start(&[upstream.clone(), "--drain=20".into()]);
        let mut slow = ask(&gateway, upload);
        let mut tunnel = ask(&gateway, websocket);
        let mut head = [0; 12];
        tunnel.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        let idle = ask(&gateway, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
        sleep(Duration::from_millis(300));

        gateway.signal();
        sleep(Duration::from_millis(300));
        // The idle connection closes, and no other opens.
        assert!(rest(idle).starts_with("HTTP/1.1 200"));
        assert!(TcpStream::connect(gateway.address).is_err());
        slow.write_all(b"56789").unwrap();
        let answer = rest(slow);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("0123456789"), "{answer}");
        tunnel.write_all(b"ping").unwrap();
        drop(tunnel);
        let ended = gateway.ended();
        assert_eq!(ended.code, Some(0));
        assert!(ended.output.contains("drained"), "{ended:?}");

        // A request that takes longer than the limit does not keep the process alive.
        let mut gateway = Gateway::start(&[upstream, "--drain=1".into()]);
        let slow = ask(&gateway, upload);
        let tunnel = ask(&gateway, websocket);
        sleep(Duration::from_millis(300));
        let start = Instant::now();
        gateway.signal();
        let ended = gateway.ended();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!((1..4).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        drop((slow, tunnel));
    })
    .await
    .unwrap();
}

/// With more clients than file descriptors, the gateway neither spins nor stops.
#[test]
fn accepting_goes_on_after_descriptors_have_run_out() {
    let gateway = Gateway::limited(&[], 60);
    let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(gateway.address).unwrap()).collect();
    sleep(Duration::from_millis(500));
    let before = processor_ticks(gateway.id());
    sleep(Duration::from_secs(1));
    let spent = processor_ticks(gateway.id()) - before;
    assert!(spent < 20, "{spent} of 100 ticks");
    drop(crowd);
    sleep(Duration::from_millis(500));
    let answer = rest(ask(&gateway, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The time that a process has used, in hundredths of a second.
fn processor_ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_address_in_use_is_an_error() {
    let gateway = Gateway::start(&[]);
    let address = gateway.address.to_string();
    let second = Gateway::command(&["--listen".into(), address.clone()]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(error.contains(&format!("--listen {address}: ")), "{error}");
    let unknown = Gateway::command(&["--unknown".into()]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let help = Gateway::command(&["--help".into()]).output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("--health-path"));
}
