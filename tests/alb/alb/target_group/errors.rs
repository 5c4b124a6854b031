//! The ALB's table of errors, each from a target that does it.

use std::{net::TcpListener, time::Duration};

use bytes::Bytes;
use http::{Request, Version};
use tokio::time::{Instant, sleep};
use tower_lb::alb::{TargetGroup, target_group::ProtocolVersion};

use super::backend::{Backend, Body, get, group, healthy, reply, status};

/// Returns the status for a target that writes these bytes.
async fn status_of(bytes: impl Into<Vec<u8>>) -> u16 {
    let backend = Backend::raw(bytes.into()).await;
    let group = group(&[&backend]).spawn().unwrap();
    healthy(&group, 1).await;
    status(&group, get("/")).await
}

#[tokio::test]
async fn refused_is_502() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let group = group(&[]).target(free).spawn().unwrap();
    assert_eq!(status(&group, get("/")).await, 502);
}

#[tokio::test]
async fn a_connection_that_closes_is_502() {
    assert_eq!(status_of("").await, 502);
    assert_eq!(status_of("HTTP/1.1 200 OK\r\ncontent-le").await, 502);
}

#[tokio::test]
async fn a_malformed_response_is_502() {
    assert_eq!(status_of("SSH-2.0-OpenSSH_9.6\r\n\r\n").await, 502);
    assert_eq!(status_of("HTTP/1.1 xyz OK\r\n\r\n").await, 502);
    assert_eq!(
        status_of("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab").await,
        502
    );
}

#[tokio::test]
async fn a_response_head_of_more_than_32_kilobytes_is_502() {
    let head = |bytes: usize| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: {}\r\n\r\n", "x".repeat(bytes))
    };
    assert_eq!(status_of(head(30 << 10)).await, 200);
    assert_eq!(status_of(head(40 << 10)).await, 502);
}

#[tokio::test]
async fn no_target_is_503() {
    let group = TargetGroup::<Body>::builder("empty").spawn().unwrap();
    assert_eq!(status(&group, get("/")).await, 503);
}

#[tokio::test]
async fn no_response_within_the_idle_timeout_is_504() {
    let backend = Backend::answering(|_| async {
        sleep(Duration::from_secs(60)).await;
        reply(200)
    });
    let backend = backend.await;
    let limit = Duration::from_millis(300);
    let group = group(&[&backend]).idle_timeout(limit).spawn().unwrap();
    healthy(&group, 1).await;
    let start = Instant::now();
    assert_eq!(status(&group, get("/")).await, 504);
    assert!(start.elapsed() >= limit);
    let outcomes = group.status().endpoints[0].outcomes;
    assert_eq!(outcomes.timeout, 1, "{outcomes:?}");
}

/// The backlog of a listener that accepts nothing is full after a few connections; the next ones
/// stay unanswered.
#[tokio::test]
async fn no_connection_in_time_is_504() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    loop {
        let connect = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(200), connect).await {
            Ok(stream) => held.push(stream.unwrap()),
            Err(_full) => break,
        }
        assert!(held.len() < 64, "the backlog is never full");
    }
    let group = group(&[]).target(address);
    let group = group.connect_timeout(Duration::from_millis(300)).spawn().unwrap();
    assert_eq!(status(&group, get("/")).await, 504);
}

#[tokio::test]
async fn another_version_is_464() {
    let backend = Backend::good().await;
    let group = group(&[&backend]).protocol_version(ProtocolVersion::Http2).spawn().unwrap();
    healthy(&group, 1).await;
    assert_eq!(status(&group, get("/")).await, 464);
    let http2 = || Request::get("/").version(Version::HTTP_2).body(Body::default()).unwrap();
    assert_eq!(status(&group, http2()).await, 200);
    assert_eq!(backend.served(), 1);
}

/// The client's body fails, and the target is not to blame.
#[tokio::test]
async fn a_failed_request_body_is_400() {
    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tower::ServiceExt;
    use tower_lb::alb::ElbError;

    let backend = Backend::answering(|request| async move {
        let _ = request.into_body().collect().await;
        reply(200)
    });
    let backend = backend.await;
    let group = TargetGroup::builder("bodies").target(backend.address).spawn().unwrap();
    let frames = stream::iter([
        Ok(http_body::Frame::data(Bytes::from("half"))),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    let request = Request::post("/").body(StreamBody::new(frames)).unwrap();
    let error = group.clone().oneshot(request).await.unwrap_err();
    assert_eq!(ElbError::of(&*error), ElbError::BadRequest);
    assert_eq!(group.status().endpoints[0].outcomes.failures(), 0);
}

#[tokio::test]
async fn an_upload_that_takes_longer_than_the_idle_timeout_is_served() {
    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tower::ServiceExt;

    let backend = Backend::answering(|request| async move {
        let _ = request.into_body().collect().await;
        reply(200)
    });
    let backend = backend.await;
    let group = TargetGroup::builder("uploads")
        .target(backend.address)
        .idle_timeout(Duration::from_millis(300))
        .unrestricted()
        .spawn()
        .unwrap();
    let frames = Box::pin(stream::unfold(0, |sent| async move {
        sleep(Duration::from_millis(100)).await;
        let frame = Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from("piece")));
        (sent < 8).then_some((frame, sent + 1))
    }));
    let request = Request::post("/").body(StreamBody::new(frames)).unwrap();
    assert_eq!(group.clone().oneshot(request).await.unwrap().status(), 200);
}
