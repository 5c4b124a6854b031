use std::{process::Command, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tower_lb::{
    discover::{self, DiscoverExt},
    health::{Check, HealthCheck, HealthExt},
    tcp::{RelayCheck, Relays, SendProxy},
};

use crate::{
    nlb::{before, soon},
    target::{Target, closed, read_all},
    tools::{Directory, Running, await_port, is_installed},
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(REQUEST).await.unwrap();
    soon(read_all(stream)).await
}

/// HAProxy verifies the checksum, and refuses a header that is malformed.
#[tokio::test(flavor = "multi_thread")]
async fn haproxy_reads_the_headers() {
    if !is_installed("haproxy", "-v") {
        return;
    }
    let target = closed().await;
    let directory = Directory::new("tcp-haproxy");
    let config = directory.write(
        "haproxy.cfg",
        format!(
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
             frontend f\n bind {target} accept-proxy\n http-request return status 200 \
             content-type text/plain lf-string \"from %[src]:%[src_port] to %[dst]:%[dst_port]\"\n"
        ),
    );
    let _haproxy = Running::start(Command::new("haproxy").args(["-db", "-f"]).arg(config));
    await_port(target).await;

    for header in [SendProxy::v1(), SendProxy::v2(), SendProxy::v2().checksum(false)] {
        let nlb = before(Relays::builder().proxy_protocol(header), &[target]);
        let mut client = nlb.connect().await;
        let expected = format!("from {} to {}", client.local_addr().unwrap(), nlb.address);
        let answer = ask(&mut client).await;
        assert!(answer.contains(&expected), "{header:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_reads_the_headers_and_those_of_checks() {
    if !is_installed("nginx", "-v") {
        return;
    }
    let target = closed().await;
    let directory = Directory::new("tcp-nginx");
    let path = directory.path().display();
    let config = directory.write(
        "nginx.conf",
        format!(
            "daemon off;\nmaster_process off;\nerror_log {path}/error.log info;\npid {path}/pid;\n\
             events {{}}\nhttp {{\n access_log off;\n client_body_temp_path {path};\n \
             proxy_temp_path {path};\n fastcgi_temp_path {path};\n uwsgi_temp_path {path};\n \
             scgi_temp_path {path};\n server {{\n listen {target} proxy_protocol;\n \
             return 200 \"from $proxy_protocol_addr:$proxy_protocol_port to \
             $proxy_protocol_server_addr:$proxy_protocol_server_port\";\n }}\n}}\n"
        ),
    );
    let _nginx = Running::start(Command::new("nginx").arg("-c").arg(config));
    await_port(target).await;
    for header in [SendProxy::v1(), SendProxy::v2()] {
        let nlb = before(Relays::builder().proxy_protocol(header), &[target]);
        let mut client = nlb.connect().await;
        let expected = format!("from {} to {}", client.local_addr().unwrap(), nlb.address);
        let answer = ask(&mut client).await;
        assert!(answer.ends_with(&expected), "{header:?}: {answer}");
        RelayCheck.check(nlb.relays.relay(target)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let log = std::fs::read_to_string(directory.path().join("error.log")).unwrap();
    assert!(!log.contains("broken header"), "{log}");
}

#[tokio::test]
async fn checks_are_marked_as_local_and_find_targets_that_are_gone() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let target = Target::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            sender.send(bytes).unwrap();
        }
    })
    .await;
    for header in [SendProxy::v1(), SendProxy::v2()] {
        let relays = Relays::builder().proxy_protocol(header).build().unwrap();
        RelayCheck.check(relays.relay(target.address)).await.unwrap();
        assert_eq!(soon(received.recv()).await.unwrap(), header.local_header());
    }

    let up = Target::echo("up").await;
    let relays = Relays::builder().build().unwrap();
    let check = HealthCheck::new(RelayCheck).interval(Duration::from_millis(50)).fall(1);
    let endpoints = discover::addresses([up.address, closed().await])
        .connect(relays.connector())
        .health_checked(check)
        .unwrap();
    let builder = tower_lb::balance::Builder::tcp();
    let balancer = builder.spawn(tower_lb::strategy::RoundRobin::new(), endpoints).unwrap();
    crate::nlb::until("one of two is eligible", || {
        let eligible = balancer.status().endpoints.iter().filter(|one| one.is_eligible).count();
        eligible == 1
    })
    .await;
}
