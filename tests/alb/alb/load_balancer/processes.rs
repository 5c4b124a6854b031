//! Targets in processes of their own, which are killed.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    reload::{Client, get, read},
    running::{Running, certificate, directory, exchange},
};
use crate::target_group::backend::until;

const ADDRESS: &str = "ALB_TARGET_ADDRESS";

/// Not a test: the process of a target.
#[test]
#[ignore = "it is started by another test"]
fn serves() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let listener = TcpListener::bind(&address).unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        std::thread::spawn(move || {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok).filter(|line| line.is_empty()) {
                let _end_of_head = line;
                // A request takes a while, so that some are in flight when the process dies.
                std::thread::sleep(Duration::from_millis(5));
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").is_err() {
                    break;
                }
            }
        });
    }
}

/// A target that ends with the test.
struct Target {
    child: Child,
    address: SocketAddr,
}

impl Target {
    fn start(address: SocketAddr) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["load_balancer::processes::serves", "--exact", "--ignored", "--nocapture"])
            .env(ADDRESS, address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| Some(line.unwrap().split_once("listening on ")?.1.parse().unwrap()))
            .unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// Ends the process by SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_get_fails_while_targets_are_killed() {
    let mut targets: Vec<_> = (0..3).map(|_| Target::start(([127, 0, 0, 1], 0).into())).collect();
    let addresses: Vec<_> = targets.iter().map(|target| target.address.to_string()).collect();
    let running = Running::start(&format!(
        r#"
            [[listeners]]
            port = 8080
            default_action = {{ forward = "web" }}
            [bindings.listen]
            8080 = ["127.0.0.1:0"]
            [[target_groups]]
            name = "web"
            targets = {addresses:?}
            health_check = {{ interval = "1s", timeout = "500ms" }}
            [resilience.retries]
            attempts = 3
            [resilience.budget]
            share = 1.0
            floor = 10.0
        "#
    ));
    let healthy = || running.balancer.status().target_groups[0].health.healthy;
    until("all are healthy", || healthy() == 3).await;

    let end = Instant::now() + Duration::from_secs(5);
    let address = running.at(8080);
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(async move {
            let (mut served, mut failed) = (0_u32, Vec::new());
            while Instant::now() < end {
                let answer = exchange(address, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
                if answer.status == 200 { served += 1 } else { failed.push(answer) }
            }
            (served, failed)
        });
    }
    for next in 0.. {
        if Instant::now() + Duration::from_secs(1) > end {
            break;
        }
        let target = &mut targets[next % 3];
        target.kill();
        sleep(Duration::from_millis(500)).await;
        *target = Target::start(target.address);
        sleep(Duration::from_millis(500)).await;
    }
    let mut all = 0;
    while let Some(client) = clients.join_next().await {
        let (served, failed) = client.unwrap();
        assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed[0]);
        all += served;
    }
    println!("{all} requests, none failed");
    assert!(all > 100, "{all}");
}

/// The requests per second of the measurement, and for how long.
const RATE: u64 = 1000;
const SECONDS: u64 = 20;

/// GET requests at a constant rate, by HTTP/2 over TLS and through rules with conditions, while one
/// of three targets is killed every 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes 20 s"]
async fn measure_requests_while_a_target_is_killed_every_5_s() {
    let mut targets: Vec<_> = (0..3).map(|_| Target::start(([127, 0, 0, 1], 0).into())).collect();
    let addresses: Vec<_> = targets.iter().map(|target| target.address.to_string()).collect();
    let directory = directory("killed");
    let (cert, key) = certificate(&directory, "a.test");
    let (cert, key) = (cert.display(), key.display());
    let running = Running::start(&format!(
        r#"
            [bindings.listen]
            443 = ["127.0.0.1:0"]
            [[listeners]]
            port = 443
            protocol = "https"
            certificates = [{{ certificate = "{cert}", key = "{key}" }}]
            default_action = {{ fixed_response = {{ status = 404 }} }}
            [[listeners.rules]]
            conditions = [{{ host = "b.test" }}]
            action = {{ fixed_response = {{ status = 404 }} }}
            [[listeners.rules]]
            conditions = [{{ host = "a.test" }}, {{ path = "/web/*" }}, {{ method = ["GET"] }}]
            action = {{ forward = "web" }}
            [[target_groups]]
            name = "web"
            targets = {addresses:?}
            health_check = {{ interval = "1s", timeout = "500ms" }}
            [resilience.retries]
            attempts = 3
            [resilience.budget]
            share = 1.0
            floor = 10.0
        "#
    ));
    let healthy = || running.balancer.status().target_groups[0].health.healthy;
    until("all are healthy", || healthy() == 3).await;

    let client = Client::new(running.at(443), &[read(&directory)]);
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(client.http2().await.unwrap());
    }
    let killer = async {
        let mut kills = 0;
        for next in 0..SECONDS / 5 {
            sleep(Duration::from_millis(2500)).await;
            let target = &mut targets[next as usize % 3];
            target.kill();
            kills += 1;
            sleep(Duration::from_secs(1)).await;
            *target = Target::start(target.address);
            sleep(Duration::from_millis(1500)).await;
        }
        kills
    };
    let requests = async {
        let mut requests = JoinSet::new();
        let mut due = tokio::time::interval(Duration::from_secs(1) / RATE as u32);
        for number in 0..RATE * SECONDS {
            let due = due.tick().await;
            let mut sender = connections[number as usize % connections.len()].clone();
            requests.spawn(async move {
                let answered = get(&mut sender, "/web/page").await;
                // From the time at which it was due, so that a stall delays all that follow.
                (answered.map_err(|error| error.to_string()), due.elapsed())
            });
        }
        requests.join_all().await
    };
    let (kills, answers) = tokio::join!(killer, requests);

    let failed: Vec<_> = answers.iter().filter(|(answer, _)| *answer != Ok(200)).collect();
    let mut took: Vec<_> = answers.iter().map(|(_, took)| *took).collect();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{} requests at {RATE}/s, {kills} kills: {} failed; p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, max {:.1?}",
        answers.len(),
        failed.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    assert!(failed.is_empty(), "{:?}", failed[0]);
}
