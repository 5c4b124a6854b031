//! The streams of instances, which belong to the load balancer.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};
use tower_lb::{
    BoxError,
    clb::{ClassicLoadBalancer, ClassicLoadBalancerBuilder, ClassicProtocol},
    discover::Update,
    endpoint::Endpoint,
};

use crate::{
    balancer::{Clb, listener, quick, soon, status, until},
    instance::{Instance, instances, served_by},
};

type Updates = Result<Update<String, IpAddr>, BoxError>;

/// A stream of the instance that then does what `then` does.
fn source(
    a: &Instance,
    then: impl Stream<Item = Updates> + Send + 'static,
) -> ClassicLoadBalancerBuilder {
    let all = Update::Reset(vec![("a".to_owned(), Endpoint::new(a.ip()))]);
    ClassicLoadBalancer::builder("test")
        .listener(listener(ClassicProtocol::Http, a.port()))
        .listener(listener(ClassicProtocol::Tcp, a.port()))
        .instances(stream::iter([Ok(all)]).chain(then))
        .health_check(quick(&format!("TCP:{}", a.port())))
        .unrestricted()
}

/// A stream without an item, and a flag that is set once the stream is dropped.
fn watched() -> (impl Stream<Item = Updates> + Send + 'static, Arc<AtomicBool>) {
    struct OnDrop(Arc<AtomicBool>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }

    let dropped = Arc::new(AtomicBool::new(false));
    let flag = OnDrop(Arc::clone(&dropped));
    let silent = stream::poll_fn(move |_| {
        assert!(!flag.0.load(SeqCst));
        Poll::Pending
    });
    (silent, dropped)
}

/// No task is left that polls it.
#[tokio::test]
async fn it_is_dropped_with_the_load_balancer() {
    let [a] = instances(["a"]).await;
    let (silent, dropped) = watched();
    drop(source(&a, silent).bind().unwrap());
    assert!(dropped.load(SeqCst), "before it serves");

    let (silent, dropped) = watched();
    let balancer = source(&a, silent).bind().unwrap();
    let (handle, addresses) = (balancer.handle(), balancer.local_addresses());
    let mut serve = Box::pin(balancer.serve(std::future::pending(), Duration::from_secs(5)));
    let in_service = until("it is in service", || {
        let listeners = handle.status().listeners;
        listeners.iter().all(|listener| listener.instances.len() == 1)
    });
    tokio::select! {
        _ = &mut serve => panic!("nothing stops it"),
        () = in_service => {}
    }
    drop(serve);
    assert!(dropped.load(SeqCst), "while it serves");
    for address in addresses {
        until("it is closed", || std::net::TcpListener::bind(address).is_ok()).await;
    }

    let (silent, dropped) = watched();
    let balancer = source(&a, silent).bind().unwrap();
    soon(balancer.serve(std::future::ready(()), Duration::from_secs(5))).await;
    assert!(dropped.load(SeqCst), "at the end");
}

#[tokio::test]
async fn a_shutdown_before_it_serves_is_not_lost() {
    let [a] = instances(["a"]).await;
    let balancer = source(&a, stream::pending()).bind().unwrap();
    balancer.handle().shutdown();
    soon(balancer.serve(std::future::pending(), Duration::from_secs(5))).await;
}

/// The listeners go on with the instances that they have.
#[tokio::test(flavor = "multi_thread")]
async fn its_end_its_errors_and_its_panic_end_nothing() {
    async fn error() -> Updates {
        Err("an error of the source".into())
    }

    async fn panicking() -> Updates {
        panic!("a panic of the source")
    }

    let [a] = instances(["a"]).await;
    for then in [
        stream::empty().boxed(),
        stream::repeat_with(error).then(|error| error).boxed(),
        stream::once(panicking()).boxed(),
    ] {
        let signal = Arc::new(Notify::new());
        let waits = Arc::clone(&signal);
        let begins = async move { waits.notified().await };
        let builder = source(&a, begins.into_stream().flat_map(|()| stream::empty()).chain(then));
        let clb = Clb::ready(builder, 1).await;
        signal.notify_one();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(served_by(&clb.get("/").await), "a");
        clb.connect(1).await;
        assert_eq!(clb.ended().await.cut_off, 0);
    }
}

/// Any time is accepted without AWS's ranges, and none overflows.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_times_do_not_overflow() {
    let [a] = instances(["a"]).await;
    let check = quick(&format!("HTTP:{}/health", a.port()));
    let (signal, gone) = (Arc::new(Notify::new()), Update::Remove("a".to_owned()));
    let waits = Arc::clone(&signal);
    let removal = async move {
        waits.notified().await;
        Ok(gone)
    };
    let builder = source(&a, removal.into_stream().chain(stream::pending()))
        .health_check(check.interval(Duration::MAX).timeout(Duration::MAX / 2))
        .idle_timeout(Duration::MAX)
        .connection_draining(Duration::MAX)
        .connect_timeout(Duration::MAX)
        .max_requests_per_instance(u32::MAX)
        .surge_queue(usize::MAX);
    let balancer = builder.bind().unwrap();
    let (handle, address) = (balancer.handle(), balancer.local_addresses()[0]);
    let serve = tokio::spawn(balancer.serve(std::future::pending(), Duration::MAX));
    until("it is in service", || {
        handle.status().instances.first().is_some_and(|one| one.description.is_none())
    })
    .await;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /hold HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    until("it is at the instance", || a.requests() == 1).await;
    signal.notify_one();
    until("it drains", || handle.status().instances.is_empty()).await;
    a.state.held.add_permits(1);
    let response = soon(crate::target::read_all(&mut stream)).await;
    assert_eq!(served_by(&response), "a");
    until("it is gone", || handle.status().listeners[0].instances.is_empty()).await;
    handle.shutdown();
    soon(serve).await.unwrap();
}

/// A handle that outlives the service keeps its figures, and no connection.
#[tokio::test(flavor = "multi_thread")]
async fn unused_connections_to_instances_end_with_it() {
    let instance = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = instance.local_addr().unwrap();
    let served = tokio::spawn(async move {
        loop {
            let (mut stream, _) = instance.accept().await.unwrap();
            let mut head = vec![0; 4096];
            // A health check closes its connection without a byte.
            if stream.read(&mut head).await.unwrap_or(0) > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                break stream.read(&mut head).await.unwrap_or(0);
            }
        }
    });
    let clb = ClassicLoadBalancer::builder("test")
        .listener(listener(ClassicProtocol::Http, address.port()))
        .instances(tower_lb::discover::addresses([address.ip()]))
        .health_check(quick(&format!("TCP:{}", address.port())))
        .unrestricted();
    let clb = Clb::ready(clb, 1).await;
    assert_eq!(status(&clb.get("/").await), 200);
    let handle = clb.handle.clone();
    assert!(!served.is_finished(), "the connection is kept for other requests");
    clb.ended().await;
    assert_eq!(soon(served).await.unwrap(), 0, "it is closed");
    let counts = &handle.status().listeners[0].instances[0];
    assert_eq!((counts.outcomes.success, counts.outstanding), (1, 0));
}
