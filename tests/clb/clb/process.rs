//! The example `clb` as a process of its own.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use crate::{
    balancer::until,
    encrypted::files,
    example::{
        self,
        options::{Command as Parsed, parse},
    },
    instance::{instances, served_by},
    tools::{Directory, is_installed, output},
};

const ARGUMENTS: &str = "TOWER_LB_CLB";

/// Not a test, but what the tests start as a process: this binary again.
#[test]
fn clb_process() {
    let Ok(arguments) = env::var(ARGUMENTS) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let code = runtime.block_on(example::clb(arguments.split('\n').map(OsString::from)));
    std::process::exit(code.into());
}

struct Process {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "process::clb_process", "--nocapture", "--test-threads=1"]);
        command.env(ARGUMENTS, arguments.join("\n")).stdin(Stdio::null()).stderr(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn address(&mut self) -> SocketAddr {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the process has ended");
            if let Some((_, address)) = line.trim().split_once("listening on ") {
                break address.parse().unwrap();
            }
        }
    }

    /// Ends the process by SIGTERM, and returns its code and what it has printed since.
    fn terminate(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_until_it_is_terminated() {
    if !is_installed("curl", "--version") {
        return;
    }
    let [a, b] = instances(["a", "b"]).await;
    let directory = Directory::new("clb-process");
    let (cert, key) = (directory.write("cert", files().0), directory.write("key", files().1));
    let (port, health) = (a.port().to_string(), format!("http:{}/health", a.port()));
    let mut process = Process::start(&[
        "--listen=http:127.0.0.1:0",
        "--instance-port",
        &port,
        "--listen=https:127.0.0.1:0",
        &format!("--instance-port=http:{port}"),
        "--listen",
        "tcp:127.0.0.1:0",
        "--instance-port",
        &port,
        "--instance=127.0.0.1",
        "--instance=127.0.0.2",
        "--health",
        &health,
        "--health-interval=0.2",
        "--health-timeout=0.1",
        "--cookie-seconds=60",
        "--draining=10",
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ]);
    let addresses = [(); 3].map(|()| process.address());
    until("both were checked twice", || {
        [&a, &b].iter().all(|one| one.state.checks.lock().unwrap().len() > 3)
    })
    .await;
    let curl = |scheme: &str, address: SocketAddr| {
        let mut curl = Command::new("curl");
        curl.args(["-sSik", "--max-time", "10"]).arg(format!("{scheme}://{address}/"));
        output(curl)
    };
    for (scheme, address) in [("http", addresses[0]), ("https", addresses[1])] {
        let response = curl(scheme, address).await;
        assert!(["a", "b"].contains(&served_by(&response)), "{response}");
        assert!(response.contains("AWSELB="), "{response}");
    }
    let mut names = [curl("http", addresses[2]).await, curl("http", addresses[2]).await]
        .map(|response| served_by(&response).to_owned());
    names.sort_unstable();
    assert_eq!(names, ["a", "b"], "connections take turns");
    let ended = tokio::task::spawn_blocking(move || process.terminate()).await.unwrap();
    let (code, rest) = ended;
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("drained") && rest.contains("instance 127.0.0.2: InService"), "{rest}");
}

#[test]
fn the_command_line_says_what_is_wrong() {
    let parsed = |arguments: &[&str]| parse(arguments.iter().map(OsString::from));
    let http = ["--listen", "http:127.0.0.1:8080", "--instance-port", "9001"];
    for (arguments, expected) in [
        (&[][..], "--listen is needed at least once"),
        (&http[..], "--instance is needed at least once"),
        (&http[..2], "--listen HTTP:127.0.0.1:8080 needs an --instance-port after it"),
        (&http[2..], "--instance-port needs a --listen before it"),
        (&["--listen", "http"], "--listen \"http\": expected a protocol and an address"),
        (&["--listen", "udp:127.0.0.1:53"], "--listen \"udp\": invalid protocol"),
        (&["--listen=tcp:nowhere"], "--listen \"nowhere\""),
        (&["--instance", "host"], "--instance \"host\""),
        (&["--health", "TCP:80/"], "--health \"TCP:80/\""),
        (&["--health-interval", "x"], "--health-interval \"x\": expected seconds"),
        (&["--tls-cert", "a"], "--tls-cert and --tls-key need each other"),
        (&["--proxy-protocol=v1"], "--proxy-protocol takes no value"),
        (&["--cookie-seconds"], "--cookie-seconds needs a value"),
        (&["--what"], "unknown option \"--what\""),
    ] {
        let error = parsed(arguments).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(matches!(parsed(&["--help"]), Ok(Parsed::Help)));
    let all = [&http[..], &["--instance", "127.0.0.1"]].concat();
    assert!(matches!(parsed(&all), Ok(Parsed::Serve(_))));
}
