//! Starts the processes, takes the rounds and prints the table.

use std::{
    error::Error,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::{
    peers::{PEERS, Peer, Site, role},
    table::median,
};

pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const CONNECTIONS: [u32; 2] = [8, 64];
const BACKENDS: usize = 3;
/// The core of the proxy; all else runs on the other one.
const PROXY_CORE: &str = "1";
pub const OTHER_CORE: &str = "0";

/// What the command line says.
pub struct Options {
    pub rounds: u32,
    pub seconds: u32,
    /// Connections that are left idle.
    pub idle: u32,
}

/// Runs a comparison with a folder of its own.
pub fn run(arguments: &[String], compare: fn(&Path, &Options) -> Result) -> Result {
    let options = Options {
        rounds: option(arguments, "--rounds", 5)?,
        seconds: option(arguments, "--seconds", 4)?,
        idle: option(arguments, "--idle", 10_000)?,
    };
    let folder = std::env::temp_dir().join(format!("proxy-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = compare(&folder, &options);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn option(arguments: &[String], name: &str, default: u32) -> Result<u32> {
    let Some(index) = arguments.iter().position(|argument| argument == name) else {
        return Ok(default);
    };
    let value = arguments.get(index + 1).ok_or_else(|| format!("{name} needs a number"))?;
    Ok(value.parse()?)
}

/// Starts the backends.
pub fn backends() -> Result<Vec<Process>> {
    let start = || {
        let address = free_address()?;
        let command = role("backend", address, &[]).ok_or("this program is gone")?;
        Process::start(command, OTHER_CORE, address)
    };
    (0..BACKENDS).map(|_| start()).collect()
}

/// Starts a proxy in front of the backends, or says that it is not installed.
pub fn start(
    peer: &Peer,
    folder: &Path,
    backends: &[Process],
    key: Option<&Path>,
) -> Result<Option<Process>> {
    let home = folder.join(peer.name.replace(' ', "-"));
    fs::create_dir_all(&home)?;
    let backends: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let site = Site { folder: &home, listen: free_address()?, backends: &backends, key };
    let Some(command) = (peer.command)(&site) else {
        println!("{}: SKIPPED, it is not installed", peer.name);
        return Ok(None);
    };
    Process::start(command, PROXY_CORE, site.listen).map(Some)
}

pub fn compare(folder: &Path, options: &Options) -> Result {
    let backends = backends()?;
    let mut proxies = Vec::new();
    for peer in &PEERS {
        proxies.extend(start(peer, folder, &backends, None)?.map(|process| (peer, process)));
    }
    let mut table = vec![Vec::new(); proxies.len() * CONNECTIONS.len()];
    for round in 0..=options.rounds {
        for (index, (_, proxy)) in proxies.iter().enumerate() {
            for (column, &connections) in CONNECTIONS.iter().enumerate() {
                let seconds = if round == 0 { 1 } else { options.seconds };
                let sample = measure(proxy, connections, seconds, "http")?;
                // The first round warms up.
                if round > 0 {
                    table[index * CONNECTIONS.len() + column].push(sample);
                }
            }
        }
    }
    print(&proxies, &table);
    Ok(())
}

/// What one round of wrk found.
#[derive(Clone, Copy)]
pub struct Sample {
    pub cpu_micros: f64,
    p50_micros: f64,
    p99_micros: f64,
    errors: u64,
}

/// Sends requests through the proxy for a time.
pub fn measure(proxy: &Process, connections: u32, seconds: u32, scheme: &str) -> Result<Sample> {
    let before = proxy.cpu_micros()?;
    let output = Command::new("taskset")
        .args(["-c", OTHER_CORE, "wrk", "--latency", "-t1"])
        .args([format!("-c{connections}"), format!("-d{seconds}s")])
        .arg(format!("{scheme}://{}/", proxy.address))
        .output()?;
    let cpu = proxy.cpu_micros()? - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1))
    };
    let requests = text.lines().find(|line| line.contains(" requests in "));
    let requests = requests.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let requests = requests.filter(|&count| count > 0.0).ok_or_else(|| format!("wrk: {text}"))?;
    // "Socket errors: connect 0, read 0, …" and "Non-2xx or 3xx responses: 5".
    let faults = text.lines().filter(|line| line.contains("errors:") || line.contains("Non-2xx"));
    let numbers =
        faults.flat_map(|line| line.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()));
    Ok(Sample {
        cpu_micros: cpu / requests,
        p50_micros: field("50%").and_then(micros).unwrap_or(f64::NAN),
        p99_micros: field("99%").and_then(micros).unwrap_or(f64::NAN),
        errors: numbers.sum::<u64>(),
    })
}

/// Parses a time of wrk: `85.00us`, `1.20ms`, `2.00s`.
fn micros(text: &str) -> Option<f64> {
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1e3)
    } else {
        (text.strip_suffix('s')?, 1e6)
    };
    Some(number.parse::<f64>().ok()? * factor)
}

fn print(proxies: &[(&Peer, Process)], table: &[Vec<Sample>]) {
    let cell = |row: usize, column: usize| &table[row * CONNECTIONS.len() + column];
    let reference = proxies.iter().position(|(peer, _)| peer.name == "HAProxy");
    for (column, connections) in CONNECTIONS.iter().enumerate() {
        println!("\n{connections} connections\n");
        println!(
            "| proxy | CPU us a request | lowest to highest | of HAProxy's | p50 us | p99 us | errors |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|");
        let median_cpu = |row: usize| median(cell(row, column).iter().map(|one| one.cpu_micros));
        for (row, (peer, _)) in proxies.iter().enumerate() {
            let samples = cell(row, column);
            let cpu = median_cpu(row);
            let lowest = samples.iter().map(|one| one.cpu_micros).fold(f64::INFINITY, f64::min);
            let highest = samples.iter().map(|one| one.cpu_micros).fold(0.0, f64::max);
            let share = reference.map_or(f64::NAN, |row| cpu / median_cpu(row));
            let p50 = median(samples.iter().map(|one| one.p50_micros));
            let p99 = median(samples.iter().map(|one| one.p99_micros));
            let errors: u64 = samples.iter().map(|one| one.errors).sum();
            println!(
                "| {} | {cpu:.1} | {lowest:.1} to {highest:.1} | {share:.2} | {p50:.0} | {p99:.0} | {errors} |",
                peer.name
            );
        }
    }
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A process that is killed when it is dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

impl Process {
    /// Starts a server on a core, and waits until it accepts connections.
    fn start(command: Command, core: &str, address: SocketAddr) -> Result<Self> {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", core]).arg(command.get_program()).args(command.get_args());
        pinned.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let child = pinned.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut process = Self { child, address };
        for _ in 0..100 {
            if TcpStream::connect(address).is_ok() {
                return Ok(process);
            }
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("{:?} ended: {status}", command.get_program()).into());
            }
            sleep(Duration::from_millis(50));
        }
        Err(format!("{:?} does not listen", command.get_program()).into())
    }

    /// Returns the resident memory in KiB.
    pub fn resident_kib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(number.parse()?)
    }

    /// Returns the CPU time of the process in microseconds, as the scheduler accounts it.
    pub fn cpu_micros(&self) -> Result<f64> {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        let mut nanos = 0.0;
        for task in fs::read_dir(tasks)? {
            // Nanoseconds on a core come first. `stat` has them in hundredths of a second only.
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos +=
                text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
        }
        Ok(nanos / 1e3)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
