//! A listener in a process of its own: this test binary, started again.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tower_lb::listener::{Listener, Socket};

use crate::served::{loopback, site};

/// A process that ends with the test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Starts a shell that prepares the process, with `exec "$0" "$@"` at its end.
    pub(crate) fn start(script: &str, stdin: Option<OwnedFd>) -> (Self, SocketAddr) {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .args(["child::serves", "--exact", "--ignored", "--nocapture"])
            .env("LISTENER_CHILD", "1")
            .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| Some(line.unwrap().split_once("listening on ")?.1.parse().unwrap()))
            .unwrap();
        // The process must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        (Self(child), address)
    }

    /// Ends it as a supervisor does.
    pub(crate) fn terminate(&mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test: the process.
#[test]
#[ignore = "it is started by other tests"]
fn serves() {
    if std::env::var_os("LISTENER_CHILD").is_none() {
        return;
    }
    // Before there is another thread of ours.
    let inherited = Socket::inherited().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let builder = Listener::builder();
        let builder = if inherited.is_empty() {
            builder.socket(loopback())
        } else {
            builder.sockets(inherited)
        };
        let listener = builder.bind().unwrap();
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        println!("listening on {}", listener.local_addresses()[0]);
        let serve = listener.serve(site()).drain_limit(Duration::from_secs(10));
        serve
            .shutdown_on(async move {
                let _ = terminate.recv().await;
            })
            .await;
    });
}
