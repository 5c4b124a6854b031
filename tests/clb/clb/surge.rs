use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tower_lb::clb::{ClassicProtocol, ListenerCounts};

use crate::{
    balancer::{Clb, before, listener, soon, status, until},
    instance::{free_port, instances, served_by},
    target::{Target, echo, read},
};

fn counts(clb: &Clb) -> ListenerCounts {
    clb.handle.status().listeners.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_and_spill_over() {
    let [a] = instances(["a"]).await;
    let clb = before(&[&a])
        .listener(listener(ClassicProtocol::Http, a.port()))
        .max_requests_per_instance(2)
        .surge_queue(3);
    let clb = Clb::ready(clb, 1).await;
    let held = futures::future::join_all((0..5).map(|_| clb.get("/hold")));
    let rest = async {
        until("the queue is full", || counts(&clb).surge_queue_length == 3).await;
        assert_eq!(a.requests(), 2, "the instance has no more than two");
        for spilled in 1..=4 {
            let start = Instant::now();
            let response = clb.get("/").await;
            assert_eq!(status(&response), 503, "{response}");
            assert!(start.elapsed() < Duration::from_secs(2), "it does not wait");
            assert_eq!(counts(&clb).spillover, spilled);
        }
        a.state.held.add_permits(5);
    };
    let (held, ()) = tokio::join!(held, rest);
    assert!(held.iter().all(|response| served_by(response) == "a"), "{held:?}");
    let after = counts(&clb);
    assert_eq!((after.surge_queue_length, after.spillover, a.requests()), (0, 4, 5));
    assert_eq!(served_by(&clb.get("/").await), "a");
}

/// A client that leaves while it waits leaves the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_up_leaves_the_queue() {
    let [a] = instances(["a"]).await;
    let clb = before(&[&a])
        .listener(listener(ClassicProtocol::Http, a.port()))
        .max_requests_per_instance(1)
        .surge_queue(1);
    let clb = Clb::ready(clb, 1).await;
    let held = clb.get("/hold");
    let rest = async {
        until("it is at the instance", || a.requests() == 1).await;
        let mut leaving = clb.connect(0).await;
        leaving.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        until("it waits", || counts(&clb).surge_queue_length == 1).await;
        drop(leaving);
        until("it has left", || counts(&clb).surge_queue_length == 0).await;
        a.state.held.add_permits(1);
    };
    tokio::join!(held, rest);
    assert_eq!((a.requests(), counts(&clb).spillover), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_idle_timeout() {
    let [a] = instances(["a"]).await;
    let clb = before(&[&a])
        .listener(listener(ClassicProtocol::Http, a.port()))
        .max_requests_per_instance(1)
        .idle_timeout(Duration::from_millis(500));
    let clb = Clb::ready(clb, 1).await;
    let (first, second) = tokio::join!(clb.get("/hold"), async {
        until("it is at the instance", || a.requests() == 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        clb.get("/").await
    });
    // The first one ends in time for the second to go on.
    assert_eq!((status(&first), status(&second)), (504, 200));
    assert_eq!(counts(&clb).spillover, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_wait_and_spill_over() {
    let port = free_port().await;
    let _target = Target::at(([127, 0, 0, 1], port).into(), |stream| echo("a", stream)).await;
    let [a] = instances(["a"]).await;
    let clb = before(&[&a])
        .listener(listener(ClassicProtocol::Tcp, port))
        .max_requests_per_instance(1)
        .surge_queue(2);
    let clb = Clb::ready(clb, 1).await;
    let mut first = clb.connect(0).await;
    assert_eq!(soon(read(&mut first, 1)).await, "a");
    let mut second = clb.connect(0).await;
    until("it waits", || counts(&clb).surge_queue_length == 1).await;
    let mut third = clb.connect(0).await;
    until("both wait", || counts(&clb).surge_queue_length == 2).await;
    clb.assert_refused(0).await;
    assert_eq!(counts(&clb).spillover, 1);
    drop(first);
    assert_eq!(soon(read(&mut second, 1)).await, "a", "in the order of arrival");
    assert_eq!(counts(&clb).surge_queue_length, 1);
    drop(second);
    assert_eq!(soon(read(&mut third, 1)).await, "a");
    until("nothing is left", || {
        let counts = counts(&clb);
        counts.surge_queue_length == 0 && counts.instances[0].outstanding == 1
    })
    .await;
}
