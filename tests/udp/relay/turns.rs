//! How much one poll does. The futures are polled by hand, in a task with tokio's budget.

use std::{
    fmt,
    future::{pending, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::UdpSocket,
    sync::watch,
    time::{sleep, timeout},
};
use tower::{BoxError, service_fn};
use tower_lb::{
    Balancer, discover,
    udp::{Datagram, UdpRelay, UdpRelayHandle, UdpResponder, UntilFlowEnd, targets},
};

use crate::peers::{Client, SOON, by_flow};

/// How long the driver of tokio takes at most to notice what has come.
const SETTLED: Duration = Duration::from_millis(50);

/// A future that serves, and is polled only when the test wants.
struct Serving(Pin<Box<dyn Future<Output = std::io::Result<()>>>>);

impl Serving {
    async fn poll_once(&mut self) {
        let is_pending = poll_fn(|cx| Poll::Ready(self.0.as_mut().poll(cx).is_pending())).await;
        assert!(is_pending, "it has ended");
    }

    /// Serves until something else is done.
    async fn until<T>(&mut self, done: impl Future<Output = T>) -> T {
        tokio::select! {
            ended = &mut self.0 => panic!("{ended:?}"),
            done = timeout(SOON, done) => done.expect("not within the time"),
        }
    }

    /// Serves until the status is as it should be.
    async fn until_status<S: fmt::Display>(
        &mut self,
        status: impl Fn() -> S,
        is: impl Fn(&S) -> bool,
    ) {
        self.until(async {
            while !is(&status()) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// A relay with many flows to a target.
struct ManyFlows {
    target: UdpSocket,
    /// The addresses of the relay's sockets.
    flows: Vec<SocketAddr>,
    clients: Vec<Client>,
    handle: UdpRelayHandle,
    serving: Serving,
}

impl ManyFlows {
    async fn start(count: usize) -> Self {
        let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let stream = targets(discover::addresses([target.local_addr().unwrap()]));
        let balancer = Balancer::builder().track(UntilFlowEnd).spawn(by_flow(), stream).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let relay = UdpRelay::builder().max_flows(1000).source_share(1.0);
        let relay = relay.build(socket, balancer).unwrap();
        let handle = relay.handle();
        let mut serving = Serving(Box::pin(relay.serve(pending())));
        let (mut flows, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let client = Client::of(handle.local_address()).await;
            client.send("hello").await;
            let mut buffer = [0; 8];
            let (_, flow) = serving.until(target.recv_from(&mut buffer)).await.unwrap();
            flows.push(flow);
            clients.push(client);
        }
        serving.until(sleep(SETTLED)).await;
        Self { target, flows, clients, handle, serving }
    }

    /// Sends replies to each flow, which the relay does not relay yet.
    async fn reply(&self, count: usize) {
        for flow in &self.flows {
            for _ in 0..count {
                self.target.send_to(b"reply", flow).await.unwrap();
            }
        }
        sleep(SETTLED).await;
    }
}

#[tokio::test]
async fn busy_flows_leave_a_turn_to_clients() {
    let mut many = ManyFlows::start(12).await;
    many.clients[0].send("one more").await;
    many.reply(30).await;
    many.serving.poll_once().await;
    let status = many.handle.status();
    assert_eq!(status.datagrams_out, 12 * 16, "some replies of each flow: {status}");
    assert_eq!(status.datagrams_in, 12 + 1, "{status}");
    many.serving.until_status(|| many.handle.status(), |it| it.datagrams_out == 12 * 30).await;
}

#[tokio::test]
async fn many_flows_take_several_turns() {
    let mut many = ManyFlows::start(100).await;
    many.reply(1).await;
    many.serving.poll_once().await;
    assert_eq!(many.handle.status().datagrams_out, 64);
    many.serving.until_status(|| many.handle.status(), |it| it.datagrams_out == 100).await;
}

#[tokio::test]
async fn many_requests_take_several_turns() {
    let (release, released) = watch::channel(false);
    let service = service_fn(move |request: Datagram| {
        let mut released = released.clone();
        async move {
            released.wait_for(|&is| is).await?;
            Ok::<Bytes, BoxError>(request.payload().clone())
        }
    });
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let responder = UdpResponder::builder().max_in_flight(1000).source_share(1.0);
    let responder = responder.build(socket, service).unwrap();
    let handle = responder.handle();
    let mut serving = Serving(Box::pin(responder.serve(pending())));
    let client = Client::of(handle.local_address()).await;
    for _ in 0..200 {
        client.send("hello").await;
    }
    serving.until_status(|| handle.status(), |it| it.in_flight == 200).await;
    release.send(true).unwrap();
    client.send("one more").await;
    sleep(SETTLED).await;
    serving.poll_once().await;
    let status = handle.status();
    assert_eq!((status.datagrams_out, status.datagrams_in), (64 + 1, 201), "{status}");
    serving.until_status(|| handle.status(), |it| it.datagrams_out == 201).await;
}
