use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Says so loudly if they are not.
pub(crate) fn are_installed() -> bool {
    let runs = |name: &str| {
        let mut version = Command::new(name);
        version.arg("-v").stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    };
    let installed = runs("nginx") && runs("haproxy");
    if !installed {
        eprintln!(
            "SKIPPED: nginx or haproxy is not installed; \
             apt-get install -y --no-install-recommends nginx-light haproxy"
        );
    }
    installed
}

/// One process, which can be stopped and killed as a whole.
pub(crate) fn nginx(address: SocketAddr) -> Command {
    let directory = directory(address);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {what};\n"))
        .concat();
    let configuration = format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_requests 50;
{temporary}
    server {{
        listen {address};
        location / {{ return 200 {address}; }}
    }}
}}
"
    );
    fs::write(directory.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&directory).args(["-c", "nginx.conf"]);
    command
}

pub(crate) fn haproxy(address: SocketAddr) -> Command {
    let file = directory(address).join("haproxy.cfg");
    let configuration = format!(
        "defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 1s
frontend all
    bind {address}
    http-request return status 200 content-type text/plain string \"{address}\"
"
    );
    fs::write(&file, configuration).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(file);
    command
}

fn directory(address: SocketAddr) -> PathBuf {
    let path = format!("{}/reliability-{}", env!("CARGO_TARGET_TMPDIR"), address.port());
    fs::create_dir_all(&path).unwrap();
    path.into()
}
