//! What a connection and a gigabyte cost, beside HAProxy and nginx:
//! `cargo test --release -p tower-lb-tcp-tests -- --ignored --nocapture measure`.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    nlb_process::Process,
    target::{Target, closed},
    tools::{Directory, Running, await_port, is_installed},
};

const GIGABYTES: u64 = 2;
const CONNECTIONS: usize = 5000;

/// Sends as many bytes as it is asked for.
async fn sender() -> Target {
    Target::start(|mut stream| async move {
        let Ok(mut left) = stream.read_u64().await else { return };
        let chunk = vec![7; 1 << 20];
        while left > 0 {
            let length = left.min(1 << 20);
            let sent = stream.write_all(&chunk[..length as usize]).await;
            left = if sent.is_ok() { left - length } else { 0 };
        }
    })
    .await
}

async fn receive(address: SocketAddr, bytes: u64) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_u64(bytes).await.unwrap();
    let (mut received, mut buffer) = (0, vec![0; 1 << 20]);
    while received < bytes {
        received += stream.read(&mut buffer).await.unwrap() as u64;
    }
}

/// The processor time of a process, in seconds.
fn processor_time(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn measure(name: &str, id: u32, address: SocketAddr) {
    receive(address, 1 << 26).await;
    let start = processor_time(id);
    receive(address, GIGABYTES << 30).await;
    let moved = processor_time(id);
    for _ in 0..CONNECTIONS {
        receive(address, 1).await;
    }
    let each = (processor_time(id) - moved) / CONNECTIONS as f64 * 1e6;
    let gigabyte = (moved - start) / GIGABYTES as f64;
    println!("{name:15} {gigabyte:.2} s per GiB, {each:.0} us per connection");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn the_cost_beside_haproxy_and_nginx() {
    let target = sender().await;
    let directory = Directory::new("tcp-measure");
    let path = directory.path().display();
    for _ in 0..3 {
        let process = Process::start(&[target.address], &["--drain=0"]);
        measure("nlb", process.id(), process.address).await;
        drop(process);
        for (name, option) in [("haproxy", ""), ("haproxy, splice", "option splice-auto\n")] {
            if !is_installed("haproxy", "-v") {
                continue;
            }
            let address = closed().await;
            let config = format!(
                "global\n nbthread 2\ndefaults\n mode tcp\n {option} timeout connect 5s\n \
                 timeout client 50s\n timeout server 50s\nlisten one\n bind {address}\n \
                 server one {}\n",
                target.address
            );
            let config = directory.write("haproxy.cfg", config);
            let mut haproxy = Command::new("haproxy");
            haproxy.args(["-db", "-f"]).arg(config).stderr(Stdio::null());
            let haproxy = Running::start(&mut haproxy);
            await_port(address).await;
            measure(name, haproxy.0.id(), address).await;
        }
        let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
        if is_installed("nginx", "-v") && std::path::Path::new(module).exists() {
            let address = closed().await;
            let config = format!(
                "load_module {module};\ndaemon off;\nmaster_process off;\npid {path}/pid;\n\
                 error_log {path}/log;\nevents {{}}\nstream {{ server {{ listen {address}; \
                 proxy_pass {}; }} }}\n",
                target.address
            );
            let config = directory.write("nginx.conf", config);
            let nginx = Running::start(Command::new("nginx").arg("-c").arg(config));
            await_port(address).await;
            measure("nginx", nginx.0.id(), address).await;
        }
    }
}
