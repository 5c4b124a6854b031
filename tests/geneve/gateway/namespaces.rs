//! The example as processes in network namespaces, with TCP of the Linux kernel.
//!
//! ```text
//! client ──veth── gateway ──veth── server
//!                  │   ▲
//!              tun ▼   │ tun        two inspectors, on 127.0.0.2 and 127.0.0.3
//! ```
//!
//! Whatever comes to the namespace in the middle from the client or the server is routed to the tun
//! device, and what comes out of the tun device is routed as usual.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::example;

const ARGUMENTS: &str = "TOWER_LB_GWLB_ARGUMENTS";

/// Not a test, but what the tests start as a process: this binary again.
#[test]
fn gwlb_process() {
    let Ok(arguments) = env::var(ARGUMENTS) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let code = runtime.block_on(example::gwlb(arguments.split('\n').map(OsString::from)));
    std::process::exit(code.into());
}

/// Three namespaces, which go when this is dropped.
struct Namespaces {
    prefix: String,
    processes: Vec<Child>,
}

fn command(line: &str) -> Output {
    let mut words = line.split_whitespace();
    Command::new(words.next().unwrap()).args(words).output().unwrap()
}

fn run(line: &str) {
    let output = command(line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Namespaces {
    /// Returns `None`, and says why, where namespaces are not permitted.
    fn new(name: &str) -> Option<Self> {
        if !["ip", "curl", "python3"]
            .iter()
            .all(|tool| Command::new(tool).arg("-V").output().is_ok())
        {
            println!("SKIPPED: ip, curl or python3 is not installed");
            return None;
        }
        let namespaces =
            Self { prefix: format!("gwlb{name}{}", std::process::id()), processes: Vec::new() };
        let [client, gateway, server] = ["c", "g", "s"].map(|one| namespaces.name(one));
        let first = command(&format!("ip netns add {client}"));
        if !first.status.success() || std::fs::metadata("/dev/net/tun").is_err() {
            println!("SKIPPED: {}", String::from_utf8_lossy(&first.stderr));
            return None;
        }
        for line in [
            format!("ip netns add {gateway}"),
            format!("ip netns add {server}"),
            format!("ip link add vc netns {gateway} type veth peer name eth0 netns {client}"),
            format!("ip link add vs netns {gateway} type veth peer name eth0 netns {server}"),
            format!("ip -n {client} addr add 10.1.0.2/24 dev eth0"),
            format!("ip -n {server} addr add 10.2.0.2/24 dev eth0"),
            format!("ip -n {gateway} addr add 10.1.0.1/24 dev vc"),
            format!("ip -n {gateway} addr add 10.2.0.1/24 dev vs"),
            format!("ip -n {client} link set eth0 up"),
            format!("ip -n {server} link set eth0 up"),
            format!("ip -n {gateway} link set vc up"),
            format!("ip -n {gateway} link set vs up"),
            format!("ip -n {gateway} link set lo up"),
            format!("ip -n {client} route add default via 10.1.0.1"),
            format!("ip -n {server} route add default via 10.2.0.1"),
            format!("ip netns exec {gateway} sysctl -qw net.ipv4.ip_forward=1"),
            // A packet of the client comes from the tun device as well.
            format!("ip netns exec {gateway} sysctl -qw net.ipv4.conf.all.rp_filter=0"),
            format!("ip netns exec {gateway} sysctl -qw net.ipv4.conf.default.rp_filter=0"),
            format!("ip -n {gateway} rule add dev vc lookup 100"),
            format!("ip -n {gateway} rule add dev vs lookup 100"),
        ] {
            run(&line);
        }
        Some(namespaces)
    }

    fn name(&self, one: &str) -> String {
        format!("{}{one}", self.prefix)
    }

    fn inside(&self, one: &str, line: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(one)]).args(line.split_whitespace());
        command
    }

    /// Starts the example in the namespace in the middle, and waits for its first line.
    fn gwlb(&mut self, arguments: &str) -> usize {
        let mut command = self.inside("g", "");
        command.arg(env::current_exe().unwrap());
        command.args(["--exact", "namespaces::gwlb_process", "--nocapture", "--test-threads=1"]);
        command.env(ARGUMENTS, arguments.split_whitespace().collect::<Vec<_>>().join("\n"));
        self.start(command, &["inspecting on", "packets of"])
    }

    /// Starts a process, waits until it says one of these, and returns its number.
    fn start(&mut self, mut command: Command, signs: &[&str]) -> usize {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !signs.iter().any(|sign| line.contains(sign)) {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the process has ended");
        }
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::stderr()));
        self.processes.push(process);
        self.processes.len() - 1
    }

    /// Starts two inspectors and a gateway, and routes packets through it. Returns the inspectors.
    fn serve(&mut self, settings: &str) -> [usize; 2] {
        let inspectors = ["127.0.0.2", "127.0.0.3"].map(|address| {
            self.gwlb(&format!("--inspect {address}:6081 --check-port 80 --drop 10.2.0.66"))
        });
        self.gwlb(&format!(
            "--tun gwlb0 --listen 127.0.0.1:6081 --appliance 127.0.0.2:6081 \
             --appliance 127.0.0.3:6081 --check-port 80 --check-interval 0.2 {settings}"
        ));
        let gateway = self.name("g");
        run(&format!("ip -n {gateway} link set gwlb0 up"));
        run(&format!("ip -n {gateway} route add default dev gwlb0 table 100"));
        inspectors
    }

    /// Starts an HTTP server with a file of 20 MB.
    fn web(&mut self, directory: &std::path::Path) {
        let mut file = std::fs::File::create(directory.join("file")).unwrap();
        file.write_all(&vec![7; FILE]).unwrap();
        let mut command = self.inside("s", "python3 -u -m http.server 80");
        command.current_dir(directory).stderr(Stdio::null());
        self.start(command, &["Serving"]);
    }

    fn curl(&self, arguments: &str) -> Command {
        let options = "curl -sS -m 60 -o /dev/null -w %{http_code}:%{size_download}";
        let mut command = self.inside("c", &format!("{options} {arguments}"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn kill(&mut self, number: usize) {
        self.processes[number].kill().unwrap();
        self.processes[number].wait().unwrap();
    }

    fn signal(&mut self, number: usize) {
        run(&format!("kill -TERM {}", self.processes[number].id()));
        assert!(self.processes[number].wait().unwrap().success());
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        for one in ["c", "g", "s"] {
            command(&format!("ip netns del {}", self.name(one)));
        }
    }
}

const FILE: usize = 20_000_000;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn temporary(name: &str) -> std::path::PathBuf {
    let directory = env::temp_dir().join(format!("gwlb-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn tcp_goes_on_when_an_appliance_dies() {
    let Some(mut namespaces) = Namespaces::new("a") else { return };
    let inspectors = namespaces.serve("--rebalance");
    let directory = temporary("rebalance");
    namespaces.web(&directory);
    let whole = format!("200:{FILE}");
    let once = namespaces.curl("http://10.2.0.2/file").output().unwrap();
    assert_eq!(text(&once), whole);

    // Eight downloads at a speed that lets them last for some seconds.
    let downloads: Vec<Child> = (0..8)
        .map(|_| namespaces.curl("--limit-rate 5M http://10.2.0.2/file").spawn().unwrap())
        .collect();
    sleep(Duration::from_secs(1));
    namespaces.kill(inspectors[0]);
    for download in downloads {
        assert_eq!(text(&download.wait_with_output().unwrap()), whole);
    }
    // What begins afterwards sees nothing of it.
    for _ in 0..8 {
        assert_eq!(text(&namespaces.curl("http://10.2.0.2/file").output().unwrap()), whole);
    }
    // The gateway ends by its signal, with its figures, and the device with it.
    namespaces.signal(2);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_host_is_dropped_and_connections_are_reset() {
    let Some(mut namespaces) = Namespaces::new("b") else { return };
    let inspectors = namespaces.serve("--reset");
    run(&format!("ip -n {} addr add 10.2.0.66/24 dev eth0", namespaces.name("s")));
    let directory = temporary("reset");
    namespaces.web(&directory);
    let whole = format!("200:{FILE}");
    assert_eq!(text(&namespaces.curl("http://10.2.0.2/file").output().unwrap()), whole);
    let dropped = namespaces.curl("--connect-timeout 1 http://10.2.0.66/file").output().unwrap();
    assert_eq!(dropped.status.code(), Some(28), "{}", text(&dropped));

    // With both inspectors gone, each side learns that its connection has ended: well before
    // curl's limit, and not by a time limit of TCP.
    let began = Instant::now();
    let downloads: Vec<Child> = (0..4)
        .map(|_| namespaces.curl("--limit-rate 1M http://10.2.0.2/file").spawn().unwrap())
        .collect();
    sleep(Duration::from_secs(1));
    inspectors.into_iter().for_each(|inspector| namespaces.kill(inspector));
    for download in downloads {
        let output = download.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(56), "{}", text(&output));
        assert!(text(&output).contains("reset by peer"), "{}", text(&output));
    }
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let connections = namespaces.inside("s", "ss -Htn state established").output();
    if let Ok(connections) = connections {
        assert_eq!(text(&connections), "", "the server's side is reset as well");
    }
    std::fs::remove_dir_all(directory).unwrap();
}
