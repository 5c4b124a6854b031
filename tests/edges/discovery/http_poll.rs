//! A document that is polled over HTTP.
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::StreamExt;
use tokio::{net::TcpListener, time::timeout};
use tower::service_fn;
use tower_lb::discover::{HttpApi, HttpPoll, Refresh, Schedule, SourceError, Update};

const MS: Duration = Duration::from_millis(1);

#[derive(Clone)]
struct Document {
    status: StatusCode,
    etag: Option<&'static str>,
    content_type: &'static str,
    body: String,
}

#[derive(Clone, Default)]
struct Server {
    document: Arc<Mutex<Option<Document>>>,
    not_modified: Arc<AtomicU32>,
}

async fn serve(State(server): State<Server>, headers: HeaderMap) -> Response {
    let document = server.document.lock().unwrap().clone();
    let Some(Document { status, etag, content_type, body }) = document else {
        return (StatusCode::SERVICE_UNAVAILABLE, "down for maintenance").into_response();
    };
    if etag.is_some_and(|etag| headers.get(header::IF_NONE_MATCH).is_some_and(|sent| sent == etag))
    {
        server.not_modified.fetch_add(1, Ordering::SeqCst);
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag.parse().unwrap());
    }
    response
}

impl Server {
    async fn start() -> (Self, SocketAddr) {
        let server = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/endpoints", get(serve)).with_state(server.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        (server, address)
    }

    fn say(&self, etag: &'static str, body: &str) {
        let (status, content_type) = (StatusCode::OK, "application/json; charset=utf-8");
        let etag = Some(etag).filter(|etag| !etag.is_empty());
        let document = Document { status, etag, content_type, body: body.to_owned() };
        *self.document.lock().unwrap() = Some(document);
    }
}

fn quick() -> Schedule {
    Schedule::new().jitter(0.0).interval(20 * MS).floor(20 * MS).backoff(20 * MS, 20 * MS)
}

fn poll(address: SocketAddr) -> HttpPoll {
    HttpPoll::new(format!("http://{address}/endpoints")).unwrap().schedule(quick())
}

async fn item(source: &mut Refresh<String, String>) -> Result<Vec<String>, SourceError> {
    let item = timeout(Duration::from_secs(20), source.next()).await.expect("an item").unwrap();
    item.map(|update| match update {
        Update::Reset(all) => all.into_iter().map(|(key, _)| key).collect(),
        update => panic!("{update:?}"),
    })
}

#[tokio::test]
async fn a_document_is_read_again_when_its_tag_has_changed() {
    let (server, address) = Server::start().await;
    server.say("\"1\"", "{\"endpoints\": [\"a\"]}");
    let mut source = poll(address).watch().unwrap();
    let status = source.status();
    assert_eq!(item(&mut source).await.unwrap(), ["a"]);
    assert!(timeout(200 * MS, source.next()).await.is_err(), "nothing has changed");
    assert!(server.not_modified.load(Ordering::SeqCst) > 2);
    assert!(status.report().successes > 3 && status.report().endpoints == 1);

    server.say("\"2\"", "{\"endpoints\": [\"b\"]}");
    assert_eq!(item(&mut source).await.unwrap(), ["b"]);
    // Broken, and it stays an error, tag or no tag.
    server.say("\"3\"", "{\"endpoints\": [\n\"c\"");
    let not_modified = server.not_modified.load(Ordering::SeqCst);
    for _ in 0..3 {
        let error = item(&mut source).await.unwrap_err().to_string();
        assert!(error.contains(": line 2, column 3: EOF"), "{error}");
    }
    assert_eq!(server.not_modified.load(Ordering::SeqCst), not_modified);
    server.say("", "{\"endpoints\": []}");
    assert!(item(&mut source).await.unwrap().is_empty());
}

#[tokio::test]
async fn formats_are_told_by_type_and_other_answers_are_errors() {
    let (server, address) = Server::start().await;
    let mut source = poll(address).watch::<String>().unwrap();
    let error = item(&mut source).await.unwrap_err().to_string();
    let expected = "the answer is 503 Service Unavailable: down for maintenance";
    assert_eq!(error, format!("http://{address}/endpoints: {expected}"));
    server.say("", "endpoints = [\"t\"]");
    server.document.lock().unwrap().as_mut().unwrap().content_type = "application/toml";
    while item(&mut source).await.ok() != Some(vec!["t".to_owned()]) {}
    server.document.lock().unwrap().as_mut().unwrap().status = StatusCode::NO_CONTENT;
    let error = item(&mut source).await.unwrap_err().to_string();
    assert!(error.ends_with("the answer is 204 No Content"), "{error}");
}

#[tokio::test]
async fn requests_are_sent_by_the_service_that_is_handed_over() {
    let service = service_fn(|request: hyper::Request<String>| async move {
        assert_eq!(request.headers()["authorization"], "Bearer x");
        let body = format!("endpoints = [\"{}\"]", request.uri());
        Ok::<_, std::convert::Infallible>(hyper::Response::new(body))
    });
    let api = HttpApi::new("https://config.test/endpoints.toml").unwrap().client(service);
    let api = api.header(header::AUTHORIZATION, "Bearer x".parse().unwrap());
    let mut source = HttpPoll::new(api).unwrap().watch().unwrap();
    assert_eq!(item(&mut source).await.unwrap(), ["https://config.test/endpoints.toml"]);
    assert!(HttpPoll::new("endpoints.toml").unwrap_err().to_string().contains("an absolute URL"));
}
