use std::{net::IpAddr, time::Duration};

use tokio::io::AsyncWriteExt;
use tower_lb::{
    clb::{ClassicListener, ClassicLoadBalancer, ClassicProtocol},
    discover::{self, Handle},
    endpoint::Health,
};

use crate::{
    balancer::{Clb, listener, quick, soon, until},
    instance::{Instance, free_port, instances, served_by},
    target::{Target, assert_reset, echo, read},
};

/// A load balancer whose instances come and go.
async fn changing(
    addresses: &[IpAddr],
    check: &str,
    listener: ClassicListener,
    draining: Option<Duration>,
) -> (Clb, Handle<String, IpAddr>) {
    let (handle, stream) = discover::channel();
    for address in addresses {
        handle.insert(address.to_string(), *address).unwrap();
    }
    let mut builder = ClassicLoadBalancer::builder("test")
        .instances(stream)
        .health_check(quick(check))
        .listener(listener)
        .unrestricted();
    if let Some(limit) = draining {
        builder = builder.connection_draining(limit);
    }
    (Clb::ready(builder, addresses.len()).await, handle)
}

fn names(clb: &Clb) -> Vec<(String, bool)> {
    let status = clb.handle.status();
    let instances = status.listeners[0].instances.iter();
    instances.map(|one| (one.name.to_string(), matches!(one.health, Health::Draining(_)))).collect()
}

/// Without draining, too: only TCP connections end with the removal.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_instance_finishes_its_requests() {
    for draining in [Some(Duration::from_secs(60)), None] {
        let [a, b] = instances(["a", "b"]).await;
        let http = listener(ClassicProtocol::Http, a.port());
        let check = format!("TCP:{}", a.port());
        let (clb, handle) = changing(&[a.ip(), b.ip()], &check, http, draining).await;
        let held = clb.get("/hold");
        let rest = async {
            until("it is at an instance", || a.requests() + b.requests() == 1).await;
            let (home, other): (&Instance, _) =
                if a.requests() == 1 { (&a, "b") } else { (&b, "a") };
            let name = home.ip().to_string();
            handle.remove(name.clone()).unwrap();
            until("it drains, or is gone", || {
                let names = names(&clb);
                match draining {
                    Some(_) => names.contains(&(name.clone(), true)),
                    None => names.len() == 1,
                }
            })
            .await;
            for _ in 0..4 {
                assert_eq!(served_by(&clb.get("/").await), other);
            }
            home.state.held.add_permits(1);
        };
        let (held, ()) = tokio::join!(held, rest);
        assert!(["a", "b"].contains(&served_by(&held)));
        until("it is gone", || names(&clb).len() == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_a_removed_instance_end_with_the_time_for_draining() {
    for draining in [None, Some(Duration::from_secs(1))] {
        let port = free_port().await;
        let target = Target::at(([127, 0, 0, 1], port).into(), |stream| echo("a", stream)).await;
        let tcp = listener(ClassicProtocol::Tcp, port);
        let address = target.address.ip();
        let (clb, handle) = changing(&[address], &format!("TCP:{port}"), tcp, draining).await;
        let mut client = clb.connect(0).await;
        assert_eq!(soon(read(&mut client, 1)).await, "a");
        handle.remove(address.to_string()).unwrap();
        if draining.is_some() {
            until("it drains", || names(&clb) == [(address.to_string(), true)]).await;
            client.write_all(b"still").await.unwrap();
            assert_eq!(soon(read(&mut client, 5)).await, "still");
        }
        soon(assert_reset(&mut client)).await;
        let ended = clb.handle.status().listeners[0].relays.as_ref().unwrap().ended;
        assert_eq!(ended.terminated, 1, "{draining:?}");
        until("it is gone", || names(&clb).is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_balancer_finishes_before_it_ends() {
    let [a] = instances(["a"]).await;
    let http = listener(ClassicProtocol::Http, a.port());
    let check = format!("TCP:{}", a.port());
    let (mut clb, _handle) = changing(&[a.ip()], &check, http, None).await;
    let address = clb.addresses[0];
    let request = tokio::spawn({
        let held = async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            crate::target::read_all(&mut stream).await
        };
        soon(held)
    });
    until("it is at the instance", || a.requests() == 1).await;
    clb.stop();
    until("it accepts no more", || std::net::TcpStream::connect(address).is_err()).await;
    a.state.held.add_permits(1);
    let response = request.await.unwrap();
    assert_eq!(served_by(&response), "a");
    assert!(response.to_lowercase().contains("connection: close"), "{response}");
    let handle = clb.handle.clone();
    let drained = clb.ended().await;
    assert_eq!((drained.finished, drained.cut_off), (1, 0));
    // The figures outlive the service.
    assert_eq!(handle.status().listeners[0].instances[0].outcomes.success, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_stops_all_listeners() {
    let [a] = instances(["a"]).await;
    let builder = crate::balancer::before(&[&a])
        .listener(listener(ClassicProtocol::Http, a.port()))
        .listener(listener(ClassicProtocol::Tcp, a.port()));
    let clb = Clb::ready(builder, 1).await;
    clb.handle.shutdown();
    for address in &clb.addresses {
        until("it is closed", || std::net::TcpStream::connect(address).is_err()).await;
    }
    let drained = clb.ended().await;
    assert_eq!(drained.cut_off, 0);
}
