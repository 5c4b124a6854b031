//! Protocol versions and TLS to targets.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::StreamBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_lb::{
    alb::{
        TargetGroup,
        target_group::{Protocol, ProtocolVersion},
    },
    http::Tls,
};

use super::backend::{Backend, Body, checks, get, group, healthy, reply, status};

#[tokio::test]
async fn targets_of_http2_get_http2() {
    let backend = Backend::answering(|request| async move {
        reply(if request.version() == Version::HTTP_2 { 200 } else { 505 })
    });
    let backend = backend.await;
    let group = group(&[&backend]).protocol_version(ProtocolVersion::Http2).spawn().unwrap();
    healthy(&group, 1).await;
    let request = Request::get("/").version(Version::HTTP_2).body(Body::default()).unwrap();
    assert_eq!(status(&group, request).await, 200);
}

/// A server of gRPC that answers every method with a status in the trailers.
async fn grpc(code: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| async move {
                    assert_eq!(request.headers()["content-type"], "application/grpc");
                    let trailers = HeaderMap::from_iter([(
                        http::HeaderName::from_static("grpc-status"),
                        http::HeaderValue::from_static(code),
                    )]);
                    let frame =
                        Ok::<_, std::io::Error>(http_body::Frame::<Bytes>::trailers(trailers));
                    let response = Response::builder().header("content-type", "application/grpc");
                    response.body(StreamBody::new(futures::stream::iter([frame])))
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn targets_of_grpc_are_checked_by_their_grpc_status() {
    let (alive, broken) = (grpc("12").await, grpc("13").await);
    let checks = tower_lb::alb::target_group::HealthChecks::new()
        .interval(std::time::Duration::from_millis(50));
    let group: TargetGroup<Body> = TargetGroup::builder("grpc")
        .protocol_version(ProtocolVersion::Grpc)
        .targets([alive, broken])
        .health_checks(checks)
        .unrestricted()
        .spawn()
        .unwrap();
    healthy(&group, 1).await;
    let request = Request::post("/shop.Cart/Get")
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from(&b"\0\0\0\0\0"[..]))
        .unwrap();
    let response = super::backend::send(&group, request).await.unwrap();
    assert_eq!(response.status(), 200);
    let broken = group.health_of(&broken.to_string());
    super::backend::until("the broken one is found", || {
        group
            .health_of(&broken.id)
            .reason
            .is_some_and(|reason| reason.as_str() == "Target.ResponseCodeMismatch")
    })
    .await;
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A TLS server whose certificate, signed by itself, is for `name`.
async fn secured(name: &str) -> (SocketAddr, rustls::RootCertStore) {
    let generated = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let certificate = generated.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(generated.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.unwrap())
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = |_: Request<Incoming>| async { Ok::<_, std::io::Error>(reply(200)) };
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    (address, roots)
}

#[tokio::test]
async fn certificates_of_targets_are_verified_unless_it_is_turned_off() {
    let (address, roots) = secured("shop.internal").await;
    let tls = Tls::builder().roots(roots).crypto_provider(provider()).build().unwrap();
    let https = || {
        TargetGroup::<Body>::builder("tls")
            .protocol(Protocol::Https)
            .target(address)
            .health_checks(checks())
            .unrestricted()
    };
    let by_name = https().tls(tls.clone()).server_name("shop.internal").spawn().unwrap();
    healthy(&by_name, 1).await;
    assert_eq!(status(&by_name, get("/")).await, 200);
    let by_address = https().tls(tls.clone()).spawn().unwrap();
    assert_eq!(status(&by_address, get("/")).await, 502, "the certificate is for another name");
    let unverified =
        Tls::builder().without_verification().crypto_provider(provider()).build().unwrap();
    let as_the_alb = https().tls(unverified).spawn().unwrap();
    assert_eq!(status(&as_the_alb, get("/")).await, 200);
    // The target does not understand a request that is not encrypted.
    let plain = https().protocol(Protocol::Http).spawn().unwrap();
    assert_eq!(status(&plain, get("/")).await, 502);
}
