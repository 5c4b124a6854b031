//! The example `nlb` as a process of its own: the test binary again, with the arguments in its
//! environment.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
};

use crate::example;

const ARGUMENTS: &str = "TOWER_LB_TCP_NLB";

/// Not a test, but what the tests start as a process: this binary again.
#[test]
fn nlb_process() {
    let Ok(arguments) = env::var(ARGUMENTS) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let code = runtime.block_on(example::nlb(arguments.split('\n').map(OsString::from)));
    std::process::exit(code.into());
}

pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    rest: Option<thread::JoinHandle<String>>,
}

impl Process {
    fn command(arguments: &[String]) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "nlb_process::nlb_process", "--nocapture", "--test-threads=1"]);
        command.env(ARGUMENTS, arguments.join("\n")).stdin(Stdio::null());
        command
    }

    pub(crate) fn start(targets: &[SocketAddr], more: &[&str]) -> Self {
        Self::limited(targets, more, None)
    }

    /// Starts the example, with a limit on its file descriptors.
    pub(crate) fn limited(
        targets: &[SocketAddr],
        more: &[&str],
        descriptors: Option<usize>,
    ) -> Self {
        let targets = targets.iter().map(|target| format!("--target={target}"));
        let more = more.iter().map(|&argument| argument.to_owned());
        let arguments: Vec<_> =
            ["--listen=127.0.0.1:0".to_owned()].into_iter().chain(targets).chain(more).collect();
        let mut command = Self::command(&arguments);
        if let Some(descriptors) = descriptors {
            let nlb = command;
            command = Command::new("sh");
            command.args(["-c", "ulimit -n $0; exec \"$@\"", &descriptors.to_string()]);
            command.arg(nlb.get_program()).args(nlb.get_args()).stdin(Stdio::null());
            command.envs(nlb.get_envs().map(|(name, value)| (name, value.unwrap_or_default())));
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "the process has ended");
            if let Some((_, address)) = line.trim().split_once("listening on ") {
                break address.parse().unwrap();
            }
        };
        let rest = thread::spawn(move || {
            let mut rest = String::new();
            output.read_to_string(&mut rest).unwrap();
            rest
        });
        Self { child, address, rest: Some(rest) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub(crate) fn resident_bytes(&self) -> usize {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    pub(crate) fn signal(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits for the end of the process, and returns its code and what it has printed.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let output = self.rest.take().unwrap().join().unwrap();
        (self.child.wait().unwrap().code(), output)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
