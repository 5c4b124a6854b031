//! Sockets: Unix, several, shared ports, inherited, and a lack of file descriptors.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tower_lb::listener::{Listener, Socket};

use crate::{
    child::Process,
    served::{loopback, serve, site},
    wire::{Client, curl, is_installed},
};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tower-lb-{}-{name}.sock", std::process::id()))
}

#[tokio::test]
async fn unix_and_tcp_at_the_same_time() {
    let path = path("both");
    let builder = Listener::builder().socket(loopback()).socket(Socket::unix(&path));
    let served = serve(builder);
    assert_eq!(served.handle.local_addresses()[1].to_string(), format!("unix:{}", path.display()));
    assert!(Client::connect(served.address).await.get("/").await.contains("client 127.0.0.1:"));
    if is_installed("curl", "--version") {
        let told = curl(&["--unix-socket", path.to_str().unwrap(), "http://localhost/"]).await;
        assert!(told.contains("no client\nsocket None at unix:/"), "{told}");
    }
    served.stop().await;
    assert!(!path.exists(), "the file is removed");
}

#[tokio::test]
async fn a_stale_unix_socket_is_replaced_and_nothing_else() {
    let path = path("stale");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let served = serve(Listener::builder().socket(Socket::unix(&path)));
    // One that is in use is not.
    let error = Listener::builder().socket(Socket::unix(&path)).bind().unwrap_err();
    assert!(error.to_string().starts_with("cannot listen on unix:/"), "{error}");
    served.stop().await;
    std::fs::write(&path, "a file").unwrap();
    assert!(Listener::builder().socket(Socket::unix(&path)).bind().is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptors_share_a_port() {
    let served = serve(Listener::builder().socket(loopback().acceptors(4).backlog(64)));
    assert_eq!(served.handle.local_addresses().len(), 1);
    for _ in 0..40 {
        assert!(Client::connect(served.address).await.get("/").await.contains("200 OK"));
    }
    served.until("closed", |status| status.closed.finished == 40).await;
    served.stop().await;
}

#[tokio::test]
async fn an_open_socket_and_ipv6() {
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = open.local_addr().unwrap();
    let six = Socket::tcp("[::]:0".parse().unwrap());
    let served = serve(Listener::builder().socket(Socket::from_tcp(open)).socket(six));
    assert_eq!(served.address, address);
    let port = served.handle.local_addresses()[1].tcp().unwrap().port();
    // An IPv4 client on an IPv6 socket is an IPv4 client.
    let told = Client::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.get("/").await;
    assert!(told.contains(&format!("to 127.0.0.1:{port}")), "{told}");
    assert!(told.contains("client 127.0.0.1:"), "{told}");
}

#[tokio::test]
async fn connections_in_the_queue_are_served_when_it_stops() {
    let listener = Listener::builder().socket(loopback()).bind().unwrap();
    let address = listener.local_addresses()[0].tcp().unwrap();
    // Nothing accepts yet.
    let mut queued = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(address).await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        queued.push(client);
    }
    let drained = listener.serve(site()).shutdown_on(async {});
    let drained = tokio::spawn(drained);
    for mut client in queued {
        assert!(client.response().await.contains("connection: close"));
    }
    assert_eq!(drained.await.unwrap().finished, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_it_pauses_and_goes_on() {
    let (process, address) = Process::start("ulimit -n 40; exec \"$0\" \"$@\"", None);
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    sleep(Duration::from_secs(1)).await;
    // It does not spin.
    let before = cpu_time(process.0.id());
    sleep(Duration::from_secs(2)).await;
    let used = cpu_time(process.0.id()) - before;
    assert!(used < 20, "{used} hundredths of a second of processor time in 2 s");
    drop(clients);
    let mut client = Client::connect(address).await;
    let told = timeout(Duration::from_secs(10), client.get("/")).await.unwrap();
    assert!(told.contains("200 OK"), "{told}");
}

/// Processor time in hundredths of a second.
fn cpu_time(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_an_inherited_socket_refuses_no_connection() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // As a supervisor does: the socket is descriptor 3 of the process.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let start = || {
        let (process, listening) = Process::start(script, Some(socket.try_clone().unwrap().into()));
        assert_eq!(listening, address);
        process
    };
    let mut process = start();
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    request(address).await;
                    served.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        let next = tokio::task::block_in_place(start);
        process.terminate();
        let begin = Instant::now();
        while process.0.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(10));
            sleep(Duration::from_millis(10)).await;
        }
        process = next;
    }
    stop.store(true, Relaxed);
    for task in load {
        task.await.unwrap();
    }
    let served = served.load(Relaxed);
    println!("{served} connections over 3 restarts, none refused");
    assert!(served > 500, "{served}");
}

/// Makes a request on a connection of its own, which must succeed.
async fn request(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.expect("refused");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("reset");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
}
