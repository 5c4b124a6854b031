//! The gateway example as a process of its own.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::example;

const ARGUMENTS: &str = "TOWER_LB_WIRE_GATEWAY";

/// Not a test, but what the tests start as a process: this binary again.
#[test]
fn gateway_process() {
    let Ok(arguments) = env::var(ARGUMENTS) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let code = runtime.block_on(example::gateway(arguments.split('\n').map(OsString::from)));
    std::process::exit(code.into());
}

pub(crate) struct Gateway {
    process: Child,
    pub(crate) address: SocketAddr,
    rest: Option<thread::JoinHandle<String>>,
}

impl Gateway {
    /// A command that runs the gateway with exactly these arguments.
    pub(crate) fn command(arguments: &[String]) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "gateway::gateway_process", "--nocapture", "--test-threads=1"]);
        command.env(ARGUMENTS, arguments.join("\n")).stdin(Stdio::null());
        command
    }

    /// Starts the gateway on a free port.
    pub(crate) fn start(arguments: &[String]) -> Self {
        Self::spawn(Self::command(&on_a_free_port(arguments)))
    }

    /// Starts the gateway with the certificates that it trusts.
    pub(crate) fn trusting(arguments: &[String], certificates: &Path) -> Self {
        let mut command = Self::command(&on_a_free_port(arguments));
        command.env("SSL_CERT_FILE", certificates);
        Self::spawn(command)
    }

    /// Starts the gateway with a limit on its file descriptors.
    pub(crate) fn limited(arguments: &[String], descriptors: usize) -> Self {
        let gateway = Self::command(&on_a_free_port(arguments));
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n $0; exec \"$@\"", &descriptors.to_string()]);
        command.arg(gateway.get_program()).args(gateway.get_args()).stdin(Stdio::null());
        for (name, value) in gateway.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let log = env::var_os("WIRE_LOG").is_some();
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(if log { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "the gateway has ended");
            if let Some((_, url)) = line.trim().split_once("listening on ") {
                break url.split_once("://").unwrap().1.parse().unwrap();
            }
        };
        let rest = thread::spawn(move || {
            let mut rest = String::new();
            output.read_to_string(&mut rest).unwrap();
            rest
        });
        Self { process, address, rest: Some(rest) }
    }

    /// Starts the gateway in front of the backends, without TLS.
    pub(crate) fn before(backends: impl IntoIterator<Item = SocketAddr>) -> Self {
        let upstream = |address| ["--upstream".to_owned(), format!("http://{address}")];
        Self::start(&backends.into_iter().flat_map(upstream).collect::<Vec<_>>())
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The open file descriptors of the process.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    pub(crate) fn signal(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Stops the gateway as an operator would.
    pub(crate) fn stop(mut self) -> Ended {
        self.signal();
        self.ended()
    }

    pub(crate) fn ended(&mut self) -> Ended {
        let (done, wait) = mpsc::channel();
        let rest = self.rest.take().unwrap();
        thread::spawn(move || done.send(rest.join().unwrap()));
        let output = wait.recv_timeout(Duration::from_secs(40)).expect("the gateway ends in time");
        Ended { code: self.process.wait().unwrap().code(), output }
    }
}

fn on_a_free_port(arguments: &[String]) -> Vec<String> {
    let listen = ["--listen".to_owned(), "127.0.0.1:0".to_owned()];
    listen.into_iter().chain(arguments.iter().cloned()).collect()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is left of a gateway.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Ended {
    /// Asserts that no failure was charged to a backend, and that all are healthy.
    #[track_caller]
    pub(crate) fn assert_nothing_was_charged(&self) {
        let rows = self.output.lines().skip_while(|line| !line.starts_with("endpoint ")).skip(1);
        let rows: Vec<Vec<&str>> = rows
            .map(|row| row.split_whitespace().collect())
            .take_while(|row: &Vec<&str>| row.len() >= 7)
            .collect();
        assert!(!rows.is_empty(), "{self:?}");
        for row in rows {
            assert_eq!((row[4], row[6]), ("0", "healthy"), "{}", self.output);
        }
        self.assert_ended_well();
    }

    #[track_caller]
    pub(crate) fn assert_ended_well(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(self.output.contains("drained"), "{self:?}");
    }
}
