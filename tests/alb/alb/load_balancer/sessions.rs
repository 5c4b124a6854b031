//! Sticky sessions of targets and of groups: when a session stays, moves and returns. HAProxy's
//! `cookie` persistence gets the same requests as a second opinion; nginx has none without its
//! commercial modules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Response;
use tokio::{net::TcpStream, time::sleep};

use super::running::{Running, checked, directory, exchange};
use crate::target_group::backend::{Backend, Body, until};

/// A target that says its name, and whose checks fail when it is told so.
struct Named {
    name: &'static str,
    backend: Backend,
    is_up: Arc<AtomicBool>,
}

impl Named {
    async fn start(name: &'static str) -> Self {
        let is_up = Arc::new(AtomicBool::new(true));
        let check = {
            let is_up = Arc::clone(&is_up);
            move || if is_up.load(Relaxed) { 200 } else { 500 }
        };
        let answer = move |_| async move { Response::new(Body::from(name)) };
        Self { name, backend: Backend::checked_by(check, answer).await, is_up }
    }
}

/// A browser with its cookies.
#[derive(Clone, Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
    /// Whether it keeps the cookies that it has.
    is_stubborn: bool,
}

impl Browser {
    /// Returns the name of the target that has answered.
    async fn ask(&mut self, address: SocketAddr) -> String {
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let field = match cookies.is_empty() {
            true => String::new(),
            false => format!("Cookie: {}\r\n", cookies.join("; ")),
        };
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{field}\r\n");
        let answer = exchange(address, request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            if !self.is_stubborn {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer.text().to_owned()
    }

    /// Asks ten times, and returns the one target that answers.
    async fn home(&mut self, address: SocketAddr) -> String {
        let home = self.ask(address).await;
        for _ in 0..9 {
            assert_eq!(self.ask(address).await, home);
        }
        home
    }

    /// Waits until the target with this name answers, or no longer does.
    async fn until(&mut self, address: SocketAddr, name: &str, answers: bool) {
        for _ in 0..500 {
            // A browser that looks, so that the one of the test sees nothing of the change.
            if (self.clone().ask(address).await == name) == answers {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} is not seen to change");
    }
}

/// What the sessions of a balancer do, as text to compare.
async fn sessions(address: SocketAddr, targets: &[Named]) -> Vec<String> {
    let mut told = Vec::new();
    let mut newcomers = BTreeSet::new();
    for _ in 0..12 {
        newcomers.insert(Browser::default().ask(address).await);
    }
    told.push(format!("newcomers reach {} targets", newcomers.len()));

    let mut browser = Browser::default();
    let first = browser.home(address).await;
    let mut stubborn = Browser { is_stubborn: true, ..browser.clone() };
    let home = targets.iter().find(|target| target.name == first).unwrap();
    home.is_up.store(false, Relaxed);
    browser.until(address, &first, false).await;
    let second = browser.home(address).await;
    assert_ne!(second, first);
    assert_ne!(stubborn.ask(address).await, first);
    told.push("a session moves when its target fails".to_owned());

    home.is_up.store(true, Relaxed);
    stubborn.until(address, &first, true).await;
    let where_to = |home: &str| if home == first { "returns" } else { "stays" };
    told.push(format!("a session that has moved {}", where_to(&browser.home(address).await)));
    told.push(format!("a session with its old cookie {}", where_to(&stubborn.home(address).await)));
    told
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts HAProxy in front of the targets. `None` if it is not installed.
async fn haproxy(targets: &[Named]) -> Option<(SocketAddr, Process)> {
    if Command::new("haproxy").arg("-v").output().is_err() {
        println!("skipped: no haproxy");
        return None;
    }
    // HAProxy takes no port 0, so a free one is looked for.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers: String = targets
        .iter()
        .map(|Named { name, backend, .. }| {
            format!(
                " server {name} {} check inter 100ms rise 1 fall 2 cookie {name}\n",
                backend.address
            )
        })
        .collect();
    let config = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
         listen test\n bind {free}\n balance roundrobin\n option httpchk GET /check\n\
         option redispatch\n cookie HOME insert indirect nocache\n{servers}"
    );
    let file = directory("sessions-haproxy").join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let mut haproxy = Command::new("haproxy");
    haproxy.args(["-db", "-f"]).arg(&file).stdin(Stdio::null());
    let process = Process(haproxy.spawn().unwrap());
    for _ in 0..500 {
        if TcpStream::connect(free).await.is_ok() {
            return Some((free, process));
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("HAProxy does not listen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_a_target_moves_and_stays_as_at_haproxy() {
    let targets = [Named::start("a").await, Named::start("b").await, Named::start("c").await];
    let addresses: Vec<_> = targets.iter().map(|target| target.backend.id()).collect();
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
            attributes = {{ stickiness = {{ by = "lb_cookie", duration = "1h" }} }}
            [target_groups.health_check]
            path = "/check"
            interval = "100ms"
            healthy_threshold = 2
            unhealthy_threshold = 2
        "#
    ));
    let healthy = || running.balancer.status().target_groups[0].health.healthy;
    until("all are healthy", || healthy() == 3).await;
    let ours = sessions(running.at(8080), &targets).await;
    assert_eq!(
        ours,
        [
            "newcomers reach 3 targets",
            "a session moves when its target fails",
            "a session that has moved stays",
            "a session with its old cookie returns",
        ]
    );
    if let Some((address, _haproxy)) = haproxy(&targets).await {
        assert_eq!(sessions(address, &targets).await, ours);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_a_group_stays_until_the_group_is_gone() {
    let targets = [Named::start("a").await, Named::start("b").await, Named::start("c").await];
    let text = |groups: &[&str]| {
        let group = |target: &Named| {
            format!(
                "[[target_groups]]\nname = \"{}\"\ntargets = [\"{}\"]\n\
                 health_check = {{ path = \"/check\", interval = \"100ms\" }}\n",
                target.name, target.backend.address
            )
        };
        let made: String = targets.iter().map(group).collect();
        format!(
            "[[listeners]]\nport = 8080\n\
             default_action = {{ forward = {{ groups = {groups:?}, stickiness = \"1h\" }} }}\n\
             [bindings.listen]\n8080 = [\"127.0.0.1:0\"]\n{made}"
        )
    };
    let running = Running::start(&text(&["a", "b", "c"]));
    let address = running.at(8080);

    let mut browser = Browser::default();
    let first = browser.home(address).await;
    assert!(browser.cookies.contains_key("AWSALBTG"), "{:?}", browser.cookies);
    let others: Vec<_> = ["a", "b", "c"].into_iter().filter(|name| *name != first).collect();
    let mut newcomers = BTreeSet::new();
    for _ in 0..30 {
        newcomers.insert(Browser::default().ask(address).await);
    }
    assert_eq!(newcomers.len(), 3);

    // Without its group the session moves, and stays there when the group is back.
    running.balancer.reload(checked(&text(&others))).unwrap();
    let second = browser.home(address).await;
    assert_ne!(second, first);
    running.balancer.reload(checked(&text(&["a", "b", "c"]))).unwrap();
    assert_eq!(browser.home(address).await, second);
}
