//! Each status that the load balancer itself may answer with, by the ALB's table of errors. Those of
//! authentication are in the target `auth`.

use std::{
    future::ready,
    net::TcpListener,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};
use tower_lb::lambda::{FunctionErrorKind, FunctionName, Invocation, InvokeError, Invoked};

use super::running::{Answer, LIMIT, Running, builder, forwarding};
use crate::target_group::backend::{Backend, reply};

/// Asserts that the load balancer itself has answered.
#[track_caller]
fn assert_own(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.field("server"), Some("tower-lb"), "{answer:?}");
}

/// Sends bytes to a load balancer with a good target, which must not get a request.
async fn refused(bytes: impl AsRef<[u8]>) -> Answer {
    let backend = Backend::good().await;
    let running = Running::start(&forwarding(&backend));
    let answer = running.send(bytes).await;
    assert_eq!(backend.served(), 0, "{answer:?}");
    answer
}

/// Returns the response if the target writes these bytes and closes the connection.
async fn of_target(bytes: impl Into<Vec<u8>>) -> Answer {
    let backend = Backend::raw(bytes.into()).await;
    Running::start(&forwarding(&backend)).get("/").await
}

#[tokio::test]
async fn a_malformed_request_is_400() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a.test\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        "G@T{} / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: -1\r\n\r\n",
        "complete nonsense\r\n\r\n",
    ] {
        let answer = refused(request).await;
        assert_eq!(answer.status, 400, "{request}: {answer:?}");
    }
    assert_own(&refused("GET / HTTP/1.1\r\n\r\n").await, 400);
}

/// The ALB's limits are 16 K for a field and 64 K for all; see the tests of the listener for more.
#[tokio::test]
async fn a_head_that_is_too_large_is_400() {
    let with = |count: usize, bytes: usize| {
        let fields: String =
            (0..count).map(|field| format!("x-{field}: {}\r\n", "x".repeat(bytes))).collect();
        format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
    };
    assert_own(&refused(with(20, 4 << 10)).await, 400);
    // The ALB has 400 for these, too. hyper refuses them before there is a request.
    assert_eq!(refused(with(40, 4 << 10)).await.status, 431);
    assert_eq!(refused(with(150, 10)).await.status, 431);
}

#[tokio::test]
async fn a_request_that_the_filter_does_not_admit_is_403() {
    let backend = Backend::good().await;
    let builder = builder(&forwarding(&backend));
    let running = Running::of(builder.filter(|head| Ok(head.uri.path() != "/admin")));
    assert_own(&running.get("/admin").await, 403);
    assert_eq!(running.get("/").await.status, 200);
}

#[tokio::test]
async fn a_filter_that_fails_is_500_unless_it_fails_open() {
    let backend = Backend::good().await;
    let fails = |config: &str| Running::of(builder(config).filter(|_| Err("no rules".into())));
    assert_own(&fails(&forwarding(&backend)).get("/").await, 500);
    let open = "[load_balancer.attributes]\nwaf_fail_open = true\n";
    assert_eq!(fails(&(forwarding(&backend) + open)).get("/").await.status, 200);
}

#[tokio::test]
async fn trace_is_405() {
    let answer = refused("TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_own(&answer, 405);
    assert!(answer.field("allow").unwrap().contains("GET"));
}

#[tokio::test]
async fn a_body_that_stops_is_408() {
    let backend = Backend::answering(|request| async move {
        use http_body_util::BodyExt;
        let _ = request.into_body().collect().await;
        reply(200)
    });
    let backend = backend.await;
    let idle = "[load_balancer.attributes]\nidle_timeout = \"1s\"\n";
    let running = Running::start(&(forwarding(&backend) + idle));
    let start = Instant::now();
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhalf";
    assert_own(&running.send(head).await, 408);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_body_beyond_what_a_function_accepts_is_413() {
    let running = function(|_| Ok(responding(&json!({ "statusCode": 200 }))));
    let post = |bytes: usize| {
        let body = "x".repeat(bytes);
        format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {bytes}\r\n\r\n{body}")
    };
    assert_eq!(running.send(post(1 << 20)).await.status, 200);
    assert_own(&running.send(post((1 << 20) + 1)).await, 413);
}

#[tokio::test]
async fn a_target_that_is_too_long_is_414() {
    let path = "x".repeat(20 << 10);
    assert_own(&refused(format!("GET /{path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await, 414);
}

#[tokio::test]
async fn more_than_thirty_forwarded_addresses_are_463() {
    let backend = Backend::good().await;
    let running = Running::start(&forwarding(&backend));
    let sent = |count: usize| format!("X-Forwarded-For: {}\r\n", vec!["10.0.0.1"; count].join(","));
    assert_eq!(running.with_fields("/", &sent(30)).await.status, 200);
    assert_own(&running.with_fields("/", &sent(31)).await, 463);
}

#[tokio::test]
async fn a_client_of_another_version_than_the_group_is_464() {
    let backend = Backend::good().await;
    let running = Running::start(&(forwarding(&backend) + "version = \"http2\"\n"));
    assert_own(&running.get("/").await, 464);
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn an_unknown_transfer_coding_is_501() {
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: zip, chunked\r\n\r\n";
    assert_own(&refused(format!("{head}0\r\n\r\n")).await, 501);
}

/// The ALB has 505 for versions that it does not know. Such a request does not get beyond hyper's
/// parser, which has one status for everything that is malformed.
#[tokio::test]
async fn an_unknown_version_is_400() {
    assert_eq!(refused("GET / HTTP/3.0\r\nHost: a.test\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn a_target_that_refuses_or_resets_is_502() {
    let backend = Backend::good().await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = forwarding(&backend).replace(&backend.id(), &free.to_string());
    assert_own(&Running::start(&config).get("/").await, 502);
    assert_own(&of_target("").await, 502);
    assert_own(&of_target("HTTP/1.1 200 OK\r\ncontent-le").await, 502);

    let reset = TcpListener::bind("127.0.0.1:0").unwrap();
    let config =
        forwarding(&backend).replace(&backend.id(), &reset.local_addr().unwrap().to_string());
    std::thread::spawn(move || {
        for stream in reset.incoming() {
            let socket = socket2::Socket::from(stream.unwrap());
            // What is unread, and this option, make the end of the connection a reset.
            std::thread::sleep(Duration::from_millis(50));
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    assert_own(&Running::start(&config).get("/").await, 502);
}

#[tokio::test]
async fn a_malformed_response_is_502() {
    for bytes in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 xyz OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        assert_own(&of_target(bytes).await, 502);
    }
}

#[tokio::test]
async fn a_response_head_of_more_than_32_kilobytes_is_502() {
    let head = |bytes: usize| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: {}\r\n\r\n", "x".repeat(bytes))
    };
    assert_eq!(of_target(head(30 << 10)).await.status, 200);
    assert_own(&of_target(head(33 << 10)).await, 502);
}

/// The connection ends, so that the client cannot take the part for the whole.
#[tokio::test]
async fn a_response_body_that_is_cut_off_is_no_complete_response() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    let backend = Backend::raw(head.into()).await;
    let running = Running::start(&forwarding(&backend));
    let mut stream = TcpStream::connect(running.at(8080)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    let read_to_end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut read);
    let _ = tokio::time::timeout(LIMIT, read_to_end).await.expect("it stays open");
    let text = String::from_utf8(read).unwrap();
    assert!(text.contains("content-length: 100") && text.ends_with("half"), "{text}");
}

#[tokio::test]
async fn a_function_that_fails_is_502() {
    let unhandled = || responding(&json!({})).with_function_error(FunctionErrorKind::Unhandled);
    assert_own(&function(move |_| Ok(unhandled())).get("/").await, 502);
    let malformed = || responding(&json!({ "status": 200 }));
    assert_own(&function(move |_| Ok(malformed())).get("/").await, 502);
    let text = || Invoked::new(200, "no JSON");
    assert_own(&function(move |_| Ok(text())).get("/").await, 502);
    let large = json!({ "statusCode": 200, "body": "x".repeat(1 << 20) });
    assert_own(&function(move |_| Ok(responding(&large))).get("/").await, 502);
    let unreachable = || InvokeError::Unreachable("no network".into());
    assert_own(&function(move |_| Err(unreachable())).get("/").await, 502);
}

#[tokio::test]
async fn a_group_without_targets_is_503() {
    let backend = Backend::good().await;
    let config = forwarding(&backend).replace(&format!("\"{}\"", backend.id()), "");
    assert_own(&Running::start(&config).get("/").await, 503);
}

#[tokio::test]
async fn a_target_that_does_not_respond_in_the_idle_timeout_is_504() {
    let backend = Backend::answering(|_| async {
        sleep(Duration::from_secs(60)).await;
        reply(200)
    });
    let backend = backend.await;
    let idle = "[load_balancer.attributes]\nidle_timeout = \"1s\"\n";
    let running = Running::start(&(forwarding(&backend) + idle));
    let start = Instant::now();
    assert_own(&running.get("/").await, 504);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    let late = || InvokeError::TimedOut("no answer".into());
    assert_own(&function(move |_| Err(late())).get("/").await, 504);
}

#[tokio::test]
async fn the_responses_of_targets_are_theirs() {
    let teapot = "HTTP/1.1 503 Busy\r\nserver: teapot\r\ncontent-length: 4\r\n\r\nbusy";
    let answer = of_target(teapot).await;
    assert_eq!((answer.status, answer.field("server")), (503, Some("teapot")));
    assert_eq!(answer.text(), "busy");
    let silent = of_target("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(silent.field("server"), None, "{silent:?}");
}

#[tokio::test]
async fn responses_are_counted_by_who_has_made_them() {
    let backend = Backend::good().await;
    let running = Running::start(&forwarding(&backend));
    running.get("/").await;
    running.send("TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let responses = running.balancer.status().listeners[0].responses;
    assert_eq!((responses.target, responses.own), ([0, 1, 0, 0, 0], [0, 0, 0, 1, 0]));
}

fn responding(response: &Value) -> Invoked {
    Invoked::new(200, response.to_string().into_bytes())
}

/// A load balancer whose only target is this function.
fn function(
    answer: impl Fn(Value) -> Result<Invoked, InvokeError> + Clone + Send + Sync + 'static,
) -> Running {
    let config = r#"
        [[listeners]]
        port = 8080
        default_action = { forward = "function" }
        [[target_groups]]
        name = "function"
        kind = "lambda"
        targets = ["arn:aws:lambda:eu-central-1:000000000000:function:f"]
        [bindings.listen]
        8080 = ["127.0.0.1:0"]
        [bindings.functions]
        "arn:aws:lambda:eu-central-1:000000000000:function:f" = { program = "f" }
    "#;
    let invoke = move |_: &FunctionName, invocation: Invocation| {
        ready(answer(serde_json::from_slice(&invocation.into_payload()).unwrap()))
    };
    Running::of(builder(config).function("f", invoke))
}

#[tokio::test]
async fn a_head_that_stops_is_408() {
    let backend = Backend::good().await;
    let idle = "[load_balancer.attributes]\nidle_timeout = \"1s\"\n";
    let running = Running::start(&(forwarding(&backend) + idle));
    let mut stream = TcpStream::connect(running.at(8080)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.te").await.unwrap();
    let (start, mut read) = (Instant::now(), Vec::new());
    let read_to_end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut read);
    let _ = tokio::time::timeout(LIMIT, read_to_end).await.expect("it stays open");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(read.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&read));
}

#[tokio::test]
async fn a_rewrite_without_a_valid_result_is_500() {
    let backend = Backend::good().await;
    let rule = r#"
        [[listeners.rules]]
        conditions = [{ path = "/bad*" }]
        transforms = { url = { regex = "^/bad", replace = "bad" } }
        action = { forward = "web" }
    "#;
    let running = Running::start(&forwarding(&backend).replacen(
        "[[target_groups]]",
        &format!("{rule}[[target_groups]]"),
        1,
    ));
    assert_own(&running.get("/bad/page").await, 500);
    assert_eq!(backend.served(), 0);
}
