//! CPU time and throughput of relayed datagrams, beside a plain relay and nginx.
//!
//! `cargo bench -p tower-lb-udp-tests`. Clients send a datagram and wait for the echo. The CPU time
//! is that of the relay alone, as the kernel counts it for its thread or its process. nginx is left
//! out if it or its module for streams is not installed.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    process::{Child, Command},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{net::UdpSocket, runtime, sync::mpsc};
use tower_lb::{
    Balancer, discover,
    flow::{FlowKey, FlowTable},
    strategy::Maglev,
    udp::{Flow, UdpRelay, UntilFlowEnd, targets},
};

const CLIENTS: usize = 64;
const PAYLOAD: [u8; 200] = [7; 200];
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(3);

/// A relay that runs: its address, and the file with its CPU time in nanoseconds.
struct Running {
    address: SocketAddr,
    schedstat: String,
    _child: Option<Killed>,
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn on_a_thread<F: Future<Output = ()>>(
    run: impl FnOnce(UdpSocket) -> F + Send + 'static,
) -> Running {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            sender.send((socket.local_addr().unwrap(), thread)).unwrap();
            run(socket).await;
        });
    });
    let (address, thread) = receiver.recv().unwrap();
    let schedstat = format!("/proc/{}/schedstat", thread.display());
    Running { address, schedstat, _child: None }
}

fn echo() -> SocketAddr {
    let running = on_a_thread(async |socket| {
        let mut buffer = [0; 2048];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            let _ = socket.send_to(&buffer[..len], from).await;
        }
    });
    running.address
}

fn ours(target: SocketAddr) -> Running {
    on_a_thread(async move |socket| {
        let strategy = Maglev::new(|flow: &Flow| Some(flow.hash()));
        let stream = targets(discover::addresses([target]));
        let balancer = Balancer::builder().track(UntilFlowEnd).spawn(strategy, stream).unwrap();
        let relay = UdpRelay::builder().max_flows(1000).source_share(1.0);
        let relay = relay.build(socket, balancer).unwrap();
        relay.serve(std::future::pending()).await.unwrap();
    })
}

/// What one writes first: a map, and a task for each client.
fn plain(target: SocketAddr) -> Running {
    on_a_thread(async move |socket| {
        let socket = Arc::new(socket);
        let mut clients = HashMap::<SocketAddr, mpsc::Sender<Vec<u8>>>::new();
        let mut buffer = [0; 2048];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            let client = clients.entry(from).or_insert_with(|| {
                let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(8);
                let socket = Arc::clone(&socket);
                tokio::spawn(async move {
                    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    upstream.connect(target).await.unwrap();
                    let mut buffer = [0; 2048];
                    loop {
                        tokio::select! {
                            Some(datagram) = receiver.recv() => {
                                let _ = upstream.send(&datagram).await;
                            }
                            Ok(len) = upstream.recv(&mut buffer) => {
                                let _ = socket.send_to(&buffer[..len], from).await;
                            }
                        }
                    }
                });
                sender
            });
            let _ = client.try_send(buffer[..len].to_vec());
        }
    })
}

fn nginx(target: SocketAddr) -> Option<Running> {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if !Path::new(module).exists() {
        return None;
    }
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = std::env::temp_dir().join(format!("tower-lb-udp-{}.conf", std::process::id()));
    let text = format!(
        "load_module {module}; daemon off; master_process off; pid /dev/null; \
         error_log /dev/null; events {{ worker_connections 1024; }} \
         stream {{ server {{ listen {free} udp; proxy_pass {target}; }} }}"
    );
    std::fs::write(&config, text).unwrap();
    let child = Command::new("nginx").arg("-c").arg(&config).spawn().ok()?;
    thread::sleep(Duration::from_secs(1));
    let schedstat = format!("/proc/{}/schedstat", child.id());
    Some(Running { address: free, schedstat, _child: Some(Killed(child)) })
}

fn cpu_time(schedstat: &str) -> u64 {
    let text = std::fs::read_to_string(schedstat).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns round trips per second, and the relay's CPU time for each in nanoseconds.
fn measure(relay: &Running) -> (f64, f64) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
        for _ in 0..CLIENTS {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(relay.address).await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut buffer = [0; 2048];
                loop {
                    let _ = socket.send(&PAYLOAD).await;
                    let wait = Duration::from_millis(200);
                    if let Ok(Ok(_)) = tokio::time::timeout(wait, socket.recv(&mut buffer)).await {
                        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
        tokio::time::sleep(WARM_UP).await;
        let now = || (count.load(std::sync::atomic::Ordering::Relaxed), cpu_time(&relay.schedstat));
        let (begun, before) = (Instant::now(), now());
        tokio::time::sleep(MEASURED).await;
        let after = now();
        let trips = (after.0 - before.0) as f64;
        (trips / begun.elapsed().as_secs_f64(), (after.1 - before.1) as f64 / trips)
    })
}

/// Prints what a look-up among 100 000 flows takes, and the life of a flow.
fn flow_table() {
    const FLOWS: u32 = 100_000;
    let key = |number: u32| {
        let ip = std::net::Ipv4Addr::from_bits(0x0A00_0000 + number / 50);
        let source = SocketAddr::from((ip, 1024 + (number % 50) as u16));
        (FlowKey::five_tuple(FlowKey::UDP, source, ([192, 0, 2, 1], 53).into()), source.ip())
    };
    // In no order, so that the memory of the flows is not either.
    let flows: Vec<_> = (0..FLOWS).map(|number| key(number * 7919 % FLOWS)).collect();
    let start = tokio::time::Instant::now();
    let mut table = FlowTable::builder().max_flows(FLOWS).build::<u64>().unwrap();
    let begun = Instant::now();
    for &(key, source) in &flows {
        table.insert(key, source, 0, 0, start).unwrap();
    }
    let inserted = begun.elapsed() / FLOWS;
    let begun = Instant::now();
    for round in 1..=10 {
        for (key, _) in &flows {
            *table.get(key, start + Duration::from_secs(round)).unwrap() += 1;
        }
    }
    let found = begun.elapsed() / (10 * FLOWS);
    let begun = Instant::now();
    while table.pop_expired(start + Duration::from_secs(1000)).is_some() {}
    let expired = begun.elapsed() / FLOWS;
    println!("{FLOWS} flows: insert {inserted:?}, look up {found:?}, expire {expired:?} each");
}

fn main() {
    flow_table();
    let target = echo();
    let mut relays = vec![("tower-lb", ours(target)), ("plain relay", plain(target))];
    match nginx(target) {
        Some(nginx) => relays.push(("nginx stream", nginx)),
        None => println!("nginx with its module for streams is not installed"),
    }
    println!("{:14} {:>16} {:>24}", "relay", "round trips/s", "CPU per round trip, µs");
    // In turn, so that the noise of the machine meets all.
    let mut best = vec![(0.0_f64, f64::INFINITY); relays.len()];
    for _ in 0..3 {
        for ((_, relay), best) in relays.iter().zip(&mut best) {
            let (rate, cpu) = measure(relay);
            *best = (best.0.max(rate), best.1.min(cpu));
        }
    }
    for ((name, _), (rate, cpu)) in relays.iter().zip(best) {
        println!("{name:14} {rate:16.0} {:24.2}", cpu / 1000.0);
    }
}
