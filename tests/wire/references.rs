//! nginx and HAProxy as reverse proxies beside the gateway.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream};

use crate::{backend::Speaks, certificate::Certificate, matrix::Front};

pub(crate) struct Reference {
    process: Child,
    pub(crate) front: Front,
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn is_installed(name: &str) -> bool {
    let mut version = Command::new(name);
    version.arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let installed = version.status().is_ok();
    if !installed {
        eprintln!("SKIPPED: {name} is not installed");
    }
    installed
}

/// Starts those that are installed and can speak to the backend.
pub(crate) async fn start(
    backend: SocketAddr,
    speaks: Speaks,
    certificate: &Certificate,
) -> Vec<(&'static str, Reference)> {
    let mut references = Vec::new();
    // nginx has no HTTP/2 to backends but gRPC.
    if speaks == Speaks::Http1 && is_installed("nginx") {
        references.push(("nginx", nginx(backend, certificate).await));
    }
    if is_installed("haproxy") {
        references.push(("HAProxy", haproxy(backend, speaks, certificate).await));
    }
    references
}

async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn ready(mut command: Command, front: Front) -> Reference {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let reference = Reference { process: command.spawn().unwrap(), front };
    for _ in 0..100 {
        if TcpStream::connect(reference.front.http1).await.is_ok() {
            return reference;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{command:?} does not listen");
}

fn directory(address: SocketAddr) -> PathBuf {
    let path = format!("{}/reference-{}", env!("CARGO_TARGET_TMPDIR"), address.port());
    fs::create_dir_all(&path).unwrap();
    path.into()
}

/// As its documentation tells to configure it for WebSocket and for HTTP/1.1 to backends.
async fn nginx(backend: SocketAddr, certificate: &Certificate) -> Reference {
    let front = Front { http1: free().await, http2: free().await, tls: free().await };
    let directory = directory(front.http1);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {what};\n"))
        .concat();
    let Front { http1, http2, tls } = &front;
    let (cert, key) = (certificate.cert.display(), certificate.key.display());
    let configuration = format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 512; }}
http {{
    access_log off;
{temporary}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream backend {{ server {backend}; keepalive 8; }}
    server {{
        listen {http1};
        listen {http2} http2;
        listen {tls} ssl http2;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"
    );
    fs::write(directory.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&directory).args(["-c", "nginx.conf"]);
    ready(command, front).await
}

async fn haproxy(backend: SocketAddr, speaks: Speaks, certificate: &Certificate) -> Reference {
    let http1 = free().await;
    let front = Front { http1, http2: http1, tls: free().await };
    let file = directory(http1).join("haproxy.cfg");
    let both = certificate.cert.with_file_name("both.pem");
    let proto = if speaks == Speaks::Http2 { "proto h2" } else { "" };
    let configuration = format!(
        "defaults
    mode http
    option abortonclose
    timeout client 30s
    timeout server 30s
    timeout connect 1s
frontend all
    bind {http1}
    bind {} ssl crt {} alpn h2,http/1.1
    default_backend one
backend one
    server one {backend} {proto}
",
        front.tls,
        both.display()
    );
    fs::write(&file, configuration).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(file);
    ready(command, front).await
}
