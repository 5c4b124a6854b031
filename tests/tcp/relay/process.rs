//! The example `nlb`: its command line, and the process under load.

use std::{
    collections::HashSet,
    env, io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::sleep};

use crate::{
    example::options::{Command, Protocol, parse},
    nlb::soon,
    nlb_process::Process,
    target::{Target, echo, read},
};

#[test]
fn the_command_line_says_what_is_wrong() {
    let parsed = |line: &str| parse(line.split_whitespace().map(Into::into));
    for (line, error) in [
        ("", "--target is needed"),
        ("--listen", "--listen needs a value"),
        ("--target localhost", "--target \"localhost\": "),
        ("--proxy-protocol 3", "--proxy-protocol \"3\": expected v1 or v2"),
        ("--accept-proxy 10", "--accept-proxy \"10\": "),
        ("--sticky-source=yes", "--sticky-source takes no value"),
        ("--tls-key a.pem", "--tls-cert and --tls-key need each other"),
        ("--idle-timeout -1", "--idle-timeout \"-1\": "),
        ("--udp", "--target is needed"),
        ("--target 127.0.0.1:1 --health none", "--health needs --udp"),
        ("--udp --target 127.0.0.1:1 --proxy-protocol v2", "--proxy-protocol is not possible"),
        ("--target 127.0.0.1:1 --accept-proxy ::/0 --udp", "--accept-proxy is not possible"),
        ("--udp --target 127.0.0.1:1 --tls-cert c --tls-key k", "--tls-cert is not possible"),
        ("--udp --target 127.0.0.1:1 --tls-key k", "--tls-key is not possible with --udp: TLS"),
        ("--udp --health http", "--health \"http\": expected tcp, dns:NAME or none"),
        ("--udp --health dns:", "--health \"dns:\": "),
        ("--what", "unknown option \"--what\""),
    ] {
        let is = parsed(line).unwrap_err();
        assert!(is.starts_with(error), "{line}: {is}");
    }
    assert!(matches!(parsed("--help"), Ok(Command::Help)));
}

#[test]
fn the_command_line_sets_all_options() {
    let parsed = |line: &str| match parse(line.split_whitespace().map(Into::into)) {
        Ok(Command::Serve(options)) => *options,
        other => panic!("{other:?}"),
    };
    let all = parsed(
        "--listen=[::1]:80 --target 127.0.0.1:1 --target=127.0.0.1:2 --proxy-protocol v2 \
         --accept-proxy 10.0.0.0/8 --sticky-source --tls-cert c --tls-key k --idle-timeout 60 \
         --health-interval 5 --drain 0.5",
    );
    assert_eq!(all.listen, "[::1]:80".parse().unwrap());
    let Protocol::Tcp(of_tcp) = all.protocol else { panic!("{all:?}") };
    assert_eq!((all.targets.len(), of_tcp.accept_proxy.len()), (2, 1));
    assert!(all.sticky_source && of_tcp.tls.is_some() && of_tcp.proxy_protocol.is_some());
    assert_eq!((all.idle_timeout.as_secs(), all.drain.as_millis()), (60, 500));

    let idle = |line| parsed(line).idle_timeout.as_secs();
    assert_eq!(idle("--target 127.0.0.1:1"), 350);
    assert_eq!(idle("--udp --target 127.0.0.1:1"), 120);
    assert_eq!(idle("--udp --target 127.0.0.1:1 --idle-timeout 5"), 5);
    for health in ["tcp", "dns:shop.example", "none"] {
        let options = parsed(&format!("--udp --target 127.0.0.1:1 --health {health}"));
        assert!(matches!(options.protocol, Protocol::Udp(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_drains_before_it_ends() {
    let target = Target::echo("up").await;
    let mut process = Process::start(&[target.address], &["--drain=20"]);
    let mut client = TcpStream::connect(process.address).await.unwrap();
    assert_eq!(soon(read(&mut client, 2)).await, "up");
    process.signal();
    sleep(Duration::from_millis(300)).await;
    assert!(TcpStream::connect(process.address).await.is_err());
    client.write_all(b"still here").await.unwrap();
    assert_eq!(soon(read(&mut client, 10)).await, "still here");
    drop(client);
    let (code, output) = tokio::task::block_in_place(|| process.ended());
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("drained"), "{output}");

    let mut process = Process::start(&[target.address], &["--drain=0.5"]);
    let mut client = TcpStream::connect(process.address).await.unwrap();
    assert_eq!(soon(read(&mut client, 2)).await, "up");
    let start = Instant::now();
    process.signal();
    let (code, output) = tokio::task::block_in_place(|| process.ended());
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("1 connections were cut off"), "{output}");
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(client);
}

/// A connection that lives: it asks every 100 ms, for one to three seconds. Returns the name of its
/// target, and whether it was ever cut.
async fn long(address: SocketAddr, rounds: usize) -> Option<(String, bool)> {
    use tokio::io::AsyncReadExt;

    let mut stream = TcpStream::connect(address).await.ok()?;
    let mut name = [0];
    // Cut before its target has said its name: by the death of this target.
    stream.read_exact(&mut name).await.ok()?;
    let name = String::from_utf8_lossy(&name).into_owned();
    for _ in 0..rounds {
        sleep(Duration::from_millis(100)).await;
        let mut answer = [0; 4];
        let is_alive =
            stream.write_all(b"ping").await.is_ok() && stream.read_exact(&mut answer).await.is_ok();
        if !is_alive {
            return Some((name, true));
        }
    }
    Some((name, false))
}

/// New connections while each of four targets but the first is killed and started again: 200 a
/// second for ten seconds, or as many as `TCP_CHURN_RATE` and `TCP_CHURN_SECONDS` say. Each stays
/// for two seconds on average, and this process has two descriptors for each.
#[tokio::test(flavor = "multi_thread")]
async fn only_connections_to_a_killed_target_are_cut() {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let mut targets = Vec::new();
    for name in NAMES {
        targets.push(Some(Target::echo(name).await));
    }
    let addresses: Vec<_> = targets.iter().flatten().map(|target| target.address).collect();
    let process = Process::start(&addresses, &["--health-interval=0.5", "--drain=1"]);
    let warm = long(process.address, 1).await;
    assert!(warm.is_some());
    sleep(Duration::from_millis(800)).await;
    let (descriptors, memory) = (process.descriptors(), process.resident_bytes());

    let setting = |name| env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let seconds = setting("TCP_CHURN_SECONDS").unwrap_or(10);
    let rate = setting("TCP_CHURN_RATE").unwrap_or(200).max(1);
    let address = process.address;
    let load = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        let mut interval = tokio::time::interval(Duration::from_secs(1) / rate as u32);
        for number in 0..seconds * rate {
            interval.tick().await;
            connections.spawn(long(address, 10 + number % 20));
        }
        connections.join_all().await
    });
    // While a target is down, the others go on.
    for round in 0..seconds * 2 / 3 {
        let index = 1 + round % 3;
        sleep(Duration::from_millis(700)).await;
        targets[index] = None;
        sleep(Duration::from_millis(700)).await;
        let name = NAMES[index];
        targets[index] = Some(Target::at(addresses[index], move |stream| echo(name, stream)).await);
    }
    let ended = load.await.unwrap();
    let unserved = ended.iter().filter(|one| one.is_none()).count();
    let cut: Vec<_> = ended.iter().flatten().filter(|(_, cut)| *cut).collect();
    let served: HashSet<_> = ended.iter().flatten().map(|(name, _)| name.as_str()).collect();
    println!(
        "{} connections, {} cut with their targets, {unserved} unserved",
        ended.len(),
        cut.len()
    );
    assert_eq!(served.len(), 4);
    assert!(!cut.is_empty(), "targets were killed");
    assert!(cut.iter().all(|(name, _)| name != "a"), "a connection to a healthy target was cut");
    // Cut between the connection to the target and its first byte.
    assert!(unserved <= ended.len() / 100, "{unserved} of {}", ended.len());

    sleep(Duration::from_millis(1500)).await;
    assert!(process.descriptors() <= descriptors + 8, "{descriptors} to {}", process.descriptors());
    let grown = process.resident_bytes().saturating_sub(memory);
    println!("memory has grown by {} KiB", grown / 1024);
    assert!(grown < 64 << 20);
}

/// The memory of connections that are open and silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_has_no_buffer() {
    let target = Target::echo("a").await;
    let process = Process::start(&[target.address], &["--drain=0"]);
    let open = async |number| {
        let mut clients = Vec::new();
        for _ in 0..number {
            let mut client = TcpStream::connect(process.address).await.unwrap();
            assert_eq!(soon(read(&mut client, 1)).await, "a");
            clients.push(client);
        }
        clients
    };
    drop(open(200).await);
    sleep(Duration::from_millis(300)).await;
    let before = process.resident_bytes();
    let clients = open(200).await;
    let more = open(1000).await;
    let each = process.resident_bytes().saturating_sub(before) / 1200;
    println!("{each} bytes for each connection");
    assert!((1 << 10..16 << 10).contains(&each), "{each}");
    drop((clients, more));
}

/// A connection needs two descriptors, so the first one can be there and the second one not.
#[tokio::test(flavor = "multi_thread")]
async fn a_lack_of_descriptors_is_not_charged_to_targets() {
    let target = Target::echo("a").await;
    let arguments = ["--drain=0", "--health-interval=60"];
    let mut process = Process::limited(&[target.address], &arguments, Some(60));
    // The first check, which needs a descriptor too, is over.
    let mut first = TcpStream::connect(process.address).await.unwrap();
    assert_eq!(soon(read(&mut first, 1)).await, "a");
    let mut clients = vec![first];
    for _ in 0..100 {
        match TcpStream::connect(process.address).await {
            Ok(client) => clients.push(client),
            // Refused for the lack before this side knew that it was connected.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
    sleep(Duration::from_millis(500)).await;
    drop(clients);
    sleep(Duration::from_millis(500)).await;
    let mut client = TcpStream::connect(process.address).await.unwrap();
    assert_eq!(soon(read(&mut client, 1)).await, "a");
    drop(client);
    process.signal();
    let (code, output) = tokio::task::block_in_place(|| process.ended());
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("no resources"), "{output}");
    let row = output.lines().find(|line| line.contains(&target.address.to_string())).unwrap();
    assert!(row.contains("healthy") && !row.contains("unhealthy"), "{row}");
}
