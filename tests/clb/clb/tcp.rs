use std::process::Command;

use tokio::io::AsyncWriteExt;
use tower_lb::clb::{ClassicProtocol, InstanceState};

use crate::{
    balancer::{Clb, anywhere, before, listener, quick, soon, until},
    instance::{free_port, instances, served_by},
    target::{Target, assert_reset, echo, read, read_all},
    tools::{Directory, Running, await_port, is_installed},
};

#[tokio::test(flavor = "multi_thread")]
async fn connections_take_turns() {
    let [a, b, c] = instances(["a", "b", "c"]).await;
    let clb = before(&[&a, &b, &c]).listener(listener(ClassicProtocol::Tcp, a.port()));
    let clb = Clb::ready(clb, 3).await;
    for _ in 0..12 {
        clb.get("/").await;
    }
    assert_eq!([&a, &b, &c].map(|one| one.requests()), [4, 4, 4]);
    until("all have ended", || {
        let listener = clb.handle.status().listeners.remove(0);
        let ended: Vec<_> = listener.instances.iter().map(|one| one.outcomes.total()).collect();
        listener.relays.unwrap().connected == 12 && ended == [4, 4, 4]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_reads_the_proxy_header_and_checks_have_none() {
    if !is_installed("haproxy", "-v") {
        return;
    }
    let (port, checked) = (free_port().await, free_port().await);
    let directory = Directory::new("clb-haproxy");
    let answer = "http-request return status 200 content-type text/plain lf-string";
    let config = directory.write(
        "haproxy.cfg",
        format!(
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
             frontend f\n bind 127.0.0.1:{port} accept-proxy\n {answer} \
             \"from %[src]:%[src_port] to %[dst]:%[dst_port]\"\n\
             frontend c\n bind 127.0.0.1:{checked}\n {answer} \"well\"\n"
        ),
    );
    let _haproxy = Running::start(Command::new("haproxy").args(["-db", "-f"]).arg(config));
    await_port(([127, 0, 0, 1], port).into()).await;
    let [other] = instances(["other"]).await;
    let clb = before(&[&other])
        .listener(listener(ClassicProtocol::Tcp, port).proxy_protocol(true))
        .health_check(quick(&format!("HTTP:{checked}/")));
    let clb = Clb::ready(clb, 1).await;
    let mut client = clb.connect(0).await;
    let expected = format!("from {} to {}", client.local_addr().unwrap(), clb.addresses[0]);
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let answer = soon(read_all(&mut client)).await;
    assert!(answer.contains(&expected), "{answer}");
}

/// Connections to an instance that dies are reset, those to another one go on, and new ones go
/// there.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_killed() {
    let port = free_port().await;
    let [a, b] = [1, 2].map(|last| ([127, 0, 0, last], port).into());
    let start = |address, name: &'static str| Target::at(address, move |stream| echo(name, stream));
    let (a, b) = (start(a, "a").await, start(b, "b").await);
    let addresses = [a.address.ip(), b.address.ip()];
    let clb = tower_lb::clb::ClassicLoadBalancer::builder("test")
        .instances(tower_lb::discover::addresses(addresses))
        .listener(listener(ClassicProtocol::Tcp, port))
        .health_check(quick(&format!("TCP:{port}")))
        .unrestricted();
    let clb = Clb::ready(clb, 2).await;
    let mut clients = [clb.connect(0).await, clb.connect(0).await];
    let mut names = [String::new(), String::new()];
    for (client, name) in clients.iter_mut().zip(&mut names) {
        *name = soon(read(client, 1)).await;
    }
    let [mut of_a, mut of_b] = clients;
    if names[0] == "b" {
        std::mem::swap(&mut of_a, &mut of_b);
    }
    drop(a);
    // It has closed, so the client sees an end or a reset.
    let _ = of_a.write_all(b"x").await;
    let end = soon(tokio::io::AsyncReadExt::read(&mut of_a, &mut [0; 8])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    // Before the check notices it, a refused connection is tried at the next instance.
    for _ in 0..4 {
        assert_eq!(soon(read(&mut clb.connect(0).await, 1)).await, "b");
    }
    clb.until_in_service(1).await;
    of_b.write_all(b"still").await.unwrap();
    assert_eq!(soon(read(&mut of_b, 5)).await, "still");
    drop(b);
    until("none is in service", || {
        clb.handle.status().instances.iter().all(|one| one.state == InstanceState::OutOfService)
    })
    .await;
    clb.assert_refused(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_connection() {
    let port = free_port().await;
    let target = Target::at(([127, 0, 0, 1], port).into(), |stream| echo("a", stream)).await;
    let clb = tower_lb::clb::ClassicLoadBalancer::builder("test")
        .instances(tower_lb::discover::addresses([target.address.ip()]))
        .listener(tower_lb::clb::ClassicListener::new(ClassicProtocol::Tcp, anywhere(), port))
        .health_check(quick(&format!("TCP:{port}")))
        .idle_timeout(std::time::Duration::from_millis(200))
        .unrestricted();
    let clb = Clb::ready(clb, 1).await;
    let mut client = clb.connect(0).await;
    assert_eq!(soon(read(&mut client, 1)).await, "a");
    soon(assert_reset(&mut client)).await;
    assert_eq!(clb.handle.status().listeners[0].relays.as_ref().unwrap().ended.idle, 1);
}

/// A listener of HTTP and one of TCP, with the same instances and different ports.
#[tokio::test(flavor = "multi_thread")]
async fn http_and_tcp_side_by_side() {
    let [a] = instances(["a"]).await;
    let port = free_port().await;
    let _echo = Target::at(([127, 0, 0, 1], port).into(), |stream| echo("tcp", stream)).await;
    let clb = before(&[&a])
        .listener(listener(ClassicProtocol::Http, a.port()))
        .listener(listener(ClassicProtocol::Tcp, port));
    let clb = Clb::ready(clb, 1).await;
    assert_eq!(served_by(&clb.get("/").await), "a");
    assert_eq!(soon(read(&mut clb.connect(1).await, 3)).await, "tcp");
    let status = clb.handle.status();
    assert!(status.listeners[0].relays.is_none() && status.listeners[1].relays.is_some());
    let shown = status.to_string();
    assert!(shown.starts_with("load balancer test\ninstance 127.0.0.1: InService\n"), "{shown}");
}
