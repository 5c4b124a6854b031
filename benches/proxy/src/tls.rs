//! TLS: the CPU time of handshakes, requests and bytes, and the memory of idle connections.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::{
    load::NAME,
    peers::{Peer, TLS_PEERS},
    run::{OTHER_CORE, Options, Process, Result, backends, measure, start},
    table::median,
};

/// What is measured of each proxy, and its unit.
const COLUMNS: [(&str, &str); 4] = [
    ("full handshake", "us"),
    ("resumed handshake", "us"),
    ("request", "us"),
    ("download", "ms/GiB"),
];
const REQUEST_CONNECTIONS: u32 = 64;

pub fn compare(folder: &Path, options: &Options) -> Result {
    for (name, key) in [("ECDSA P-256", ecdsa()?), ("RSA 2048", rsa()?)] {
        let file = folder.join("key.pem");
        fs::write(&file, key)?;
        println!("\n{name}\n");
        rounds(folder, &file, options)?;
    }
    Ok(())
}

fn rounds(folder: &Path, key: &Path, options: &Options) -> Result {
    let backends = backends()?;
    let mut proxies: Vec<(&Peer, Process)> = Vec::new();
    for peer in &TLS_PEERS {
        let started = start(peer, folder, &backends, Some(key))?;
        proxies.extend(started.map(|process| (peer, process)));
    }
    let mut table = vec![[const { Vec::new() }; COLUMNS.len()]; proxies.len()];
    for round in 0..=options.rounds {
        // The first round warms up.
        let seconds = if round == 0 { 1 } else { options.seconds };
        for ((_, proxy), row) in proxies.iter().zip(&mut table) {
            let figures = [
                handshakes("full", proxy, key, seconds)?,
                handshakes("resumed", proxy, key, seconds)?,
                measure(proxy, REQUEST_CONNECTIONS, seconds, "https")?.cpu_micros,
                download(proxy, key, seconds)?,
            ];
            if round > 0 {
                row.iter_mut().zip(figures).for_each(|(cell, figure)| cell.push(figure));
            }
        }
    }
    let header: Vec<_> = COLUMNS.iter().map(|(name, unit)| format!("{name} {unit}")).collect();
    println!("| proxy | {} | KiB an idle connection |", header.join(" | "));
    println!("|---|{}---:|", "---:|".repeat(COLUMNS.len()));
    let medians = |row: &[Vec<f64>]| row.iter().map(|cell| median(cell.iter().copied())).collect();
    let reference: Option<Vec<f64>> = proxies
        .iter()
        .zip(&table)
        .find(|((peer, _), _)| peer.name == "HAProxy")
        .map(|(_, row)| medians(row));
    for ((peer, proxy), row) in proxies.iter().zip(&table) {
        let row: Vec<f64> = medians(row);
        let cells: Vec<_> = row
            .iter()
            .enumerate()
            .map(|(column, figure)| {
                let share = reference.as_ref().map_or(f64::NAN, |row| figure / row[column]);
                format!("{figure:.1} ({share:.2})")
            })
            .collect();
        let memory = idle(proxy, key, options.idle)?;
        println!("| {} | {} | {memory:.1} |", peer.name, cells.join(" | "));
    }
    Ok(())
}

/// Returns the CPU time of a handshake with one request, in microseconds.
fn handshakes(kind: &str, proxy: &Process, key: &Path, seconds: u32) -> Result<f64> {
    let before = proxy.cpu_micros()?;
    let count = finish(load(kind, proxy, key, seconds))?;
    Ok((proxy.cpu_micros()? - before) / count)
}

/// Returns the CPU time of a gibibyte, in milliseconds.
fn download(proxy: &Process, key: &Path, seconds: u32) -> Result<f64> {
    let before = proxy.cpu_micros()?;
    let bytes = finish(load("bulk", proxy, key, seconds))?;
    Ok((proxy.cpu_micros()? - before) / 1e3 / (bytes / f64::from(1 << 30)))
}

/// Returns the resident memory that each of the idle connections adds, in KiB.
fn idle(proxy: &Process, key: &Path, connections: u32) -> Result<f64> {
    if connections == 0 {
        return Ok(f64::NAN);
    }
    let before = proxy.resident_kib()?;
    let mut client = load("idle", proxy, key, connections)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(client.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let held: f64 = line.trim().parse().map_err(|_| "the client could not connect")?;
    sleep(Duration::from_secs(2));
    let after = proxy.resident_kib()?;
    client.kill()?;
    client.wait()?;
    Ok((after - before) / held)
}

fn load(kind: &str, proxy: &Process, key: &Path, number: u32) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", OTHER_CORE]).arg(std::env::current_exe().unwrap_or_default());
    command.args(["load", kind, &proxy.address.to_string()]).arg(key).arg(number.to_string());
    command
}

fn finish(mut command: Command) -> Result<f64> {
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.trim().parse().map_err(|_| format!("{command:?}: {text}"))?;
    Ok(number)
}

fn ecdsa() -> Result<String> {
    certificate(&rcgen::KeyPair::generate()?)
}

fn rsa() -> Result<String> {
    let key = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .stderr(Stdio::null())
        .output()?;
    certificate(&rcgen::KeyPair::from_pem(&String::from_utf8(key.stdout)?)?)
}

/// Returns a certificate, signed by its own key, and the key.
fn certificate(key: &rcgen::KeyPair) -> Result<String> {
    let params = rcgen::CertificateParams::new(vec![NAME.to_owned()])?;
    Ok(params.self_signed(key)?.pem() + &key.serialize_pem())
}
