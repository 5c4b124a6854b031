//! Signed requests to a server that computes their signatures on its own.
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
};
use bytes::Bytes;
use futures::stream;
use hmac::{Hmac, KeyInit, Mac};
use http::Response;
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tower::{BoxError, Layer, ServiceExt};
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    http::{
        Origin, RetryOn,
        sigv4::{SignError, SignLayer},
    },
    retry::{RetryDecision, RetryPolicy},
    strategy::RoundRobin,
};

const REGION: &str = "eu-west-1";
const TOKEN: &str = "session/token==";

fn credentials(secret: &str) -> Credentials {
    Credentials::new("AKID", secret, Some(TOKEN.into()), None, "test")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// All but what is unreserved, percent-encoded; the path once more, as AWS wants it.
fn encoded(text: &str, also: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match plain(byte) || also.contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// The signature that a request should have, by the specification.
fn signature(head: &http::request::Parts, body: &[u8], signed: &str) -> String {
    let header = |name: &str| head.headers[name].to_str().unwrap().trim().to_owned();
    let mut query: Vec<_> = head.uri.query().into_iter().flat_map(|all| all.split('&')).collect();
    query.sort_unstable();
    let headers: String =
        signed.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    let canonical = [
        head.method.as_str(),
        &encoded(head.uri.path(), b"/"),
        &query.join("&"),
        &headers,
        signed,
        &hex(&Sha256::digest(body)),
    ]
    .join("\n");
    let time = header("x-amz-date");
    let scope = format!("{}/{REGION}/lambda/aws4_request", &time[..8]);
    let hash = hex(&Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
    let steps = [&time[..8], REGION, "lambda", "aws4_request"];
    let key = steps.iter().fold(b"AWS4secret".to_vec(), |key, step| hmac(&key, step));
    let signature = hex(&hmac(&key, &to_sign));
    format!(
        "AWS4-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders={signed}, Signature={signature}"
    )
}

/// Echoes the body of a request that is signed as it should be, and says 403 to others.
async fn verify(
    State(address): State<SocketAddr>,
    request: Request,
) -> Result<Bytes, (StatusCode, String)> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let forbidden = |why: String| Err((StatusCode::FORBIDDEN, why));
    assert_eq!(head.headers["host"], address.to_string());
    let Some(authorization) = head.headers.get("authorization") else {
        return forbidden("no signature".into());
    };
    let authorization = authorization.to_str().unwrap();
    let signed = authorization.split("SignedHeaders=").nth(1).unwrap_or_default();
    let signed = signed.split(',').next().unwrap_or_default();
    if !["host", "x-amz-date", "x-amz-security-token"].iter().all(|name| signed.contains(name)) {
        return forbidden(format!("signed are only {signed}"));
    }
    assert_eq!(head.headers["x-amz-security-token"], TOKEN);
    let expected = signature(&head, &body, signed);
    match authorization == expected {
        true => Ok(body),
        false => forbidden(format!("{authorization}\n{expected}")),
    }
}

async fn server() -> Origin {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(verify).with_state(address);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address.into()
}

fn client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn text<B>(response: Response<B>) -> (StatusCode, String)
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, String::from_utf8_lossy(&body).into_owned())
}

async fn send(request: Request, secret: &str) -> Result<(StatusCode, String), BoxError> {
    let signer = SignLayer::new(credentials(secret)).region(REGION);
    let service = signer.connector(client())(&server().await);
    Ok(text(service.oneshot(request).await?).await)
}

#[tokio::test]
async fn requests_of_all_kinds_are_signed_as_the_server_computes_it() {
    let pieces = ["one, ", "", "two, ", "three"].map(Ok::<_, BoxError>);
    for (request, body) in [
        (Request::get("/").body(Body::empty()), ""),
        (Request::get("/a/b%20c/~d?z=1&a=x%2Fy&a=").body(Body::empty()), ""),
        (Request::post("/orders").body(Body::from("{}")), "{}"),
        (
            Request::put("/x")
                .header("content-type", "application/json")
                .header("x-amz-meta-a", "b")
                .header("te", "trailers")
                .header("user-agent", "who")
                .header("authorization", "Basic of somebody else")
                .body(Body::from_stream(stream::iter(pieces))),
            "one, two, three",
        ),
        (Request::delete("https://elsewhere.example/y").body(Body::empty()), ""),
    ] {
        let answer = send(request.unwrap(), "secret").await.unwrap();
        assert_eq!(answer, (StatusCode::OK, body.to_owned()));
    }
}

#[tokio::test]
async fn a_wrong_secret_is_found_out() {
    let request = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(send(request, "another").await.unwrap().0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn each_endpoint_behind_a_balancer_signs_for_itself() {
    let origins = [server().await, server().await];
    let signer = SignLayer::new(credentials("secret")).region(REGION);
    let endpoints = discover::addresses(origins).connect(signer.connector(client()));
    let balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
    for number in 0..10 {
        let body = number.to_string();
        let request = Request::post("/").header("host", "the.front").body(body.clone().into());
        let response = balancer.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(text(response).await, (StatusCode::OK, body));
    }
    let endpoints = balancer.status().endpoints;
    assert!(endpoints.iter().all(|endpoint| endpoint.outcomes.success == 5), "{endpoints:?}");
}

/// Fails at first.
#[derive(Debug)]
struct Late(Arc<AtomicU32>);

impl ProvideCredentials for Late {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        future::ProvideCredentials::ready(match asked {
            0 => Err(CredentialsError::not_loaded("not yet")),
            _ => {
                let expiry = Some(SystemTime::now() + Duration::from_secs(3600));
                Ok(Credentials::new("AKID", "secret", Some(TOKEN.into()), expiry, "test"))
            }
        })
    }
}

/// When a provider that failed is asked again.
async fn a_second_later() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
}

fn sign_error(error: &BoxError) -> &SignError {
    error.downcast_ref().unwrap_or_else(|| panic!("{error:?}"))
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_later_they_are_asked_for_again() {
    let asked = Arc::new(AtomicU32::new(0));
    let signer = SignLayer::new(Late(Arc::clone(&asked))).region(REGION);
    let service = signer.connector(client())(&server().await);
    let get = || Request::get("/").body(Body::empty()).unwrap();
    let error = service.clone().oneshot(get()).await.unwrap_err();
    assert!(matches!(sign_error(&error), SignError::Credentials(_)));
    let mut causes = std::iter::successors(error.source(), |error| error.source());
    assert!(causes.any(|cause| cause.to_string() == "not yet"), "{error:?}");
    a_second_later().await;
    for _ in 0..3 {
        let answer = text(service.clone().oneshot(get()).await.unwrap()).await;
        assert_eq!(answer.0, StatusCode::OK);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn no_endpoint_is_blamed_for_missing_credentials() {
    let signer = SignLayer::new(Late(Arc::default())).region(REGION);
    let endpoints = discover::addresses([server().await]).connect(signer.connector(client()));
    let balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
    let get = || Request::get("/").body(Body::empty()).unwrap();
    assert!(balancer.clone().oneshot(get()).await.is_err());
    let outcomes = balancer.status().endpoints[0].outcomes;
    assert_eq!((outcomes.cancelled, outcomes.failures()), (1, 0));
    a_second_later().await;
    let answer = text(balancer.oneshot(get()).await.unwrap()).await;
    assert_eq!(answer.0, StatusCode::OK);
}

#[tokio::test]
async fn bodies_that_can_not_be_signed_are_errors() {
    let client = tower::service_fn(async |_: Request| -> Result<Response<Body>, BoxError> {
        panic!("nothing is to be sent")
    });
    let signer = SignLayer::new(credentials("secret")).region(REGION).max_body(10);
    let post = |body: Body| {
        let request = Request::post("http://127.0.0.1/").body(body).unwrap();
        signer.layer(client).oneshot(request)
    };
    let error = post("eleven byte".into()).await.unwrap_err();
    assert!(matches!(sign_error(&error), SignError::TooLarge { limit: 10 }));
    let pieces = stream::iter(["six by", "six by"].map(Ok::<_, BoxError>));
    let error = post(Body::from_stream(pieces)).await.unwrap_err();
    assert!(matches!(sign_error(&error), SignError::TooLarge { limit: 10 }));
    let broken = stream::iter([Ok("a"), Err(BoxError::from("gone"))]);
    let error = post(Body::from_stream(broken)).await.unwrap_err();
    assert!(matches!(sign_error(&error), SignError::Body(_)));

    let request = Request::get("http://127.0.0.1/").body(Body::empty()).unwrap();
    let nowhere = SignLayer::new(credentials("secret")).layer(client);
    let error = nowhere.oneshot(request).await.unwrap_err();
    assert!(error.to_string().contains("SignLayer::region"), "{error}");
}

#[tokio::test]
async fn what_can_not_be_signed_is_not_tried_again() {
    let signer = SignLayer::new(credentials("secret"));
    let endpoints = discover::addresses([server().await]).connect(signer.connector(client()));
    let balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
    let request = Request::get("/").body(Body::empty()).unwrap();
    let Err(error) = balancer.oneshot(request).await else { panic!("its host tells no region") };
    let policy: &dyn RetryPolicy<Response<()>> = &RetryOn::http();
    assert_eq!(policy.decide(Err(&error)), RetryDecision::Final, "{error:?}");
}
