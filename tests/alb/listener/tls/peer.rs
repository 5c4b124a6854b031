//! Clients that others have written.

use std::{
    net::SocketAddr,
    process::{Command as Std, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

const LIMIT: Duration = Duration::from_secs(30);

/// Returns whether a program is there, and tells that the test is skipped if not.
pub(crate) fn is_installed(name: &str, version: &str) -> bool {
    let mut command = Std::new(name);
    command.arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let installed = command.status().is_ok_and(|status| status.success());
    if !installed {
        eprintln!("SKIPPED: {name} is not installed");
    }
    installed
}

pub(crate) fn has_openssl() -> bool {
    is_installed("openssl", "version")
}

pub(crate) fn has_curl() -> bool {
    is_installed("curl", "--version")
}

/// Runs a program and returns all that it prints.
pub(crate) async fn output(program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let write = tokio::spawn(async move {
        let _ = stdin.write_all(input.as_bytes()).await;
    });
    let output = timeout(LIMIT, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("{program} {arguments:?} does not end"));
    write.abort();
    let output = output.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Does a handshake by openssl, sends a request, and returns all that it tells.
pub(crate) async fn openssl(server: SocketAddr, arguments: &[&str]) -> String {
    let connect = server.to_string();
    let all = [&["s_client", "-connect", &connect, "-ign_eof"][..], arguments].concat();
    output("openssl", &all, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await
}

/// Does a handshake by openssl, and no more.
pub(crate) async fn handshake(server: SocketAddr, arguments: &[&str]) -> String {
    let connect = server.to_string();
    let all = [&["s_client", "-connect", &connect][..], arguments].concat();
    output("openssl", &all, "").await
}

/// Returns the common name of the certificate that openssl has got.
pub(crate) fn subject(told: &str) -> Option<&str> {
    let line = told.lines().find(|line| line.starts_with("subject="))?;
    Some(line.rsplit("CN = ").next().unwrap_or(line))
}

/// Returns whether the handshake has succeeded.
pub(crate) fn is_connected(told: &str) -> bool {
    !told.contains("no peer certificate available")
}

/// Requests a URL of a host by curl, and returns the body, the status and the version.
pub(crate) async fn curl(server: SocketAddr, host: &str, arguments: &[&str]) -> String {
    let port = server.port();
    let resolve = format!("{host}:{port}:127.0.0.1");
    let url = format!("https://{host}:{port}/");
    let all = [
        &["-sS", "--max-time", "20", "--resolve", &resolve, "-w", "%{http_code} %{http_version}"][..],
        arguments,
        &[&url],
    ];
    output("curl", &all.concat(), "").await
}
