//! Endpoints from Kubernetes, against a server that lists and watches as the API server does:
//! parts of lists, resource versions, bookmarks, time-outs of watches, and 410 Gone in all its forms.
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tower_lb::{
    discover::{Kubernetes, Refresh, Schedule, SourceError, Update},
    endpoint::{Endpoint, Health},
};

const MS: Duration = Duration::from_millis(1);

/// What the API server has: objects, and what happened to them.
#[derive(Default)]
struct Store {
    version: u64,
    slices: BTreeMap<String, Value>,
    events: Vec<(u64, Value)>,
    /// Events up to here are forgotten.
    compacted: u64,
    /// Whether a watch from a version that is forgotten fails at once or by an event.
    gone_by_event: bool,
    /// Parts of lists are this long.
    part: usize,
    down: bool,
    asked: Vec<String>,
}

#[derive(Clone)]
struct Api {
    store: Arc<Mutex<Store>>,
    /// Counts events; the second number, watches that were ended.
    changed: watch::Sender<(u64, u64)>,
}

fn gone() -> Value {
    json!({"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version"})
}

async fn slices(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let mut store = api.store.lock().unwrap();
    assert_eq!(query["labelSelector"], "kubernetes.io/service-name=web");
    assert_eq!(namespace, "shop");
    if store.down {
        store.asked.push("down".to_owned());
        return (StatusCode::INTERNAL_SERVER_ERROR, "etcd is away").into_response();
    }
    if query.contains_key("watch") {
        assert_eq!(query["allowWatchBookmarks"], "true");
        let version: u64 = query["resourceVersion"].parse().unwrap();
        store.asked.push(format!("watch {version}"));
        if version < store.compacted && !store.gone_by_event {
            return (StatusCode::GONE, Json(gone())).into_response();
        }
        if version < store.compacted {
            let event = json!({"type": "ERROR", "object": gone()});
            return format!("{event}\n").into_response();
        }
        drop(store);
        return watching(api, version);
    }
    let from: usize = query.get("continue").map_or(0, |next| next.parse().unwrap());
    store.asked.push(format!("list {from}"));
    if from > 0 && store.compacted == u64::MAX {
        store.compacted = 0;
        return (StatusCode::GONE, Json(gone())).into_response();
    }
    let limited = query.contains_key("limit");
    let part = if limited { store.part } else { usize::MAX - from };
    let items: Vec<_> = store.slices.values().skip(from).take(part).cloned().collect();
    let more = store.slices.len() > from + part;
    let next = if more { (from + part).to_string() } else { String::new() };
    let metadata = json!({"resourceVersion": store.version.to_string(), "continue": next});
    Json(json!({"kind": "EndpointSliceList", "metadata": metadata, "items": items})).into_response()
}

/// The events after a version, as they come, in pieces that don't end where lines do.
fn watching(api: Api, version: u64) -> Response {
    let changed = api.changed.subscribe();
    let ends = changed.borrow().1;
    let body =
        stream::unfold((api, changed, version), move |(api, mut changed, version)| async move {
            loop {
                if changed.borrow_and_update().1 != ends {
                    return None;
                }
                let next = {
                    let store = api.store.lock().unwrap();
                    store.events.iter().find(|(at, _)| *at > version).cloned()
                };
                if let Some((at, event)) = next {
                    return Some((format!("{event}\n"), (api, changed, at)));
                }
                changed.changed().await.ok()?;
            }
        });
    let pieces = body.flat_map(|line| {
        let (one, other) = line.split_at(line.len() / 2);
        stream::iter([one.to_owned(), other.to_owned()].map(Ok::<_, std::io::Error>))
    });
    Body::from_stream(pieces).into_response()
}

impl Api {
    async fn start() -> (Self, SocketAddr) {
        let store = Store { version: 10, part: 500, ..Store::default() };
        let (changed, _) = watch::channel((0, 0));
        let api = Self { store: Arc::new(Mutex::new(store)), changed };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let path = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices";
        let router = Router::new().route(path, get(slices)).with_state(api.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        (api, address)
    }

    fn happens(&self, kind: &str, change: impl FnOnce(&mut Store) -> Value) {
        let mut store = self.store.lock().unwrap();
        store.version += 1;
        let version = store.version;
        let mut object = change(&mut store);
        object["metadata"]["resourceVersion"] = version.to_string().into();
        if kind == "ADDED" || kind == "MODIFIED" {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            store.slices.insert(name, object.clone());
        }
        store.events.push((version, json!({"type": kind, "object": object})));
        drop(store);
        self.changed.send_modify(|(events, _)| *events += 1);
    }

    fn put(&self, name: &str, endpoints: &[(&str, bool)]) {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|(address, ready)| json!({"addresses": [address], "conditions": {"ready": ready}}))
            .collect();
        let known = self.store.lock().unwrap().slices.contains_key(name);
        self.happens(if known { "MODIFIED" } else { "ADDED" }, |_| {
            json!({"metadata": {"name": name}, "ports": [{"name": "http", "port": 80}],
                "endpoints": endpoints})
        });
    }

    fn delete(&self, name: &str) {
        self.happens("DELETED", |store| store.slices.remove(name).unwrap());
    }

    fn end_watches(&self) {
        self.changed.send_modify(|(_, ends)| *ends += 1);
    }

    /// Changes the store without telling.
    fn quietly(&self, change: impl FnOnce(&mut Store)) {
        change(&mut self.store.lock().unwrap());
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.store.lock().unwrap().asked)
    }

    async fn asked_for(&self, request: &str) {
        let asked = async {
            while !self.store.lock().unwrap().asked.iter().any(|asked| asked == request) {
                tokio::time::sleep(5 * MS).await;
            }
        };
        timeout(Duration::from_secs(20), asked).await.expect(request);
    }
}

type Source = Refresh<String, SocketAddr>;

fn source(address: SocketAddr) -> Source {
    let schedule = Schedule::new().jitter(0.0).floor(10 * MS).backoff(20 * MS, 20 * MS);
    let kubernetes = Kubernetes::new(format!("http://{address}")).unwrap().namespace("shop");
    kubernetes.schedule(schedule).service("web").unwrap()
}

async fn item(source: &mut Source) -> Result<Vec<(String, Endpoint<SocketAddr>)>, SourceError> {
    let item = timeout(Duration::from_secs(20), source.next()).await.expect("an item").unwrap();
    item.map(|update| match update {
        Update::Reset(all) => all,
        update => panic!("{update:?}"),
    })
}

async fn keys(source: &mut Source) -> Vec<String> {
    item(source).await.unwrap().into_iter().map(|(key, _)| key).collect()
}

/// Polls a source for a while, in which it has nothing to say.
async fn quiet(source: &mut Source) {
    let told = timeout(100 * MS, source.next()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test]
async fn slices_are_listed_and_watched_and_merged() {
    let (api, address) = Api::start().await;
    let mut source = source(address);
    assert!(keys(&mut source).await.is_empty(), "an explicit nothing");
    quiet(&mut source).await;
    api.put("web-1", &[("10.0.0.1", true)]);
    assert_eq!(keys(&mut source).await, ["10.0.0.1:80"]);
    api.put("web-2", &[("10.0.0.2", true), ("10.0.0.1", false)]);
    let all = item(&mut source).await.unwrap();
    assert_eq!(all.len(), 2, "each once");
    assert!(all.iter().all(|(_, endpoint)| *endpoint.health() == Health::Healthy));
    api.put("web-1", &[]);
    let all = item(&mut source).await.unwrap();
    assert_eq!(all[0].1.health(), &Health::unhealthy("the pod is not ready"));
    api.delete("web-2");
    assert!(keys(&mut source).await.is_empty());
    assert_eq!(api.asked(), ["list 0", "watch 10"], "one watch told it all");
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_from_the_last_bookmark() {
    let (api, address) = Api::start().await;
    api.put("web-1", &[("10.0.0.1", true)]);
    let mut source = source(address);
    keys(&mut source).await;
    quiet(&mut source).await;
    api.happens("BOOKMARK", |_| json!({"kind": "EndpointSlice", "metadata": {}}));
    quiet(&mut source).await;
    let successes = source.status().report().successes;
    api.end_watches();
    quiet(&mut source).await;
    assert!(source.status().report().successes > successes, "an end is no failure");
    assert_eq!(api.asked(), ["list 0", "watch 11", "watch 12"]);
    api.put("web-1", &[("10.0.0.2", true)]);
    assert_eq!(keys(&mut source).await, ["10.0.0.2:80"]);
}

#[tokio::test]
async fn what_is_forgotten_is_listed_anew() {
    for gone_by_event in [false, true] {
        let (api, address) = Api::start().await;
        api.put("web-1", &[("10.0.0.1", true)]);
        let mut source = source(address);
        keys(&mut source).await;
        quiet(&mut source).await;
        api.quietly(|store| {
            // What happened meanwhile, nobody can tell.
            store.slices.clear();
            (store.version, store.compacted, store.gone_by_event) = (20, 20, gone_by_event);
        });
        api.quietly(|store| store.events.clear());
        api.end_watches();
        assert!(keys(&mut source).await.is_empty());
        api.put("web-3", &[("10.0.0.3", true)]);
        assert_eq!(keys(&mut source).await, ["10.0.0.3:80"]);
        assert_eq!(api.asked(), ["list 0", "watch 11", "watch 11", "list 0", "watch 20"]);
        assert_eq!(source.status().report().failures, 0);
    }
}

#[tokio::test]
async fn long_lists_come_in_parts() {
    let (api, address) = Api::start().await;
    for n in 0..5 {
        api.put(&format!("web-{n}"), &[(&format!("10.0.0.{n}"), true)]);
    }
    // The second part is asked for too late, once.
    api.quietly(|store| (store.part, store.compacted) = (2, u64::MAX));
    let mut source = source(address);
    assert_eq!(keys(&mut source).await.len(), 5);
    assert_eq!(api.asked(), ["list 0", "list 2", "list 0"], "all at once then");
    let mut source = self::source(address);
    assert_eq!(keys(&mut source).await.len(), 5);
    assert_eq!(api.asked(), ["list 0", "list 2", "list 4"]);
}

#[tokio::test]
async fn an_outage_changes_nothing_and_loses_nothing() {
    let (api, address) = Api::start().await;
    api.put("web-1", &[("10.0.0.1", true)]);
    let mut source = source(address);
    let status = source.status();
    keys(&mut source).await;
    quiet(&mut source).await;
    api.quietly(|store| store.down = true);
    api.end_watches();
    for failures in 1..=3 {
        let error = item(&mut source).await.unwrap_err().to_string();
        let expected = "the answer is 500 Internal Server Error: etcd is away";
        assert_eq!(error, format!("kubernetes service shop/web: {expected}"));
        assert_eq!(status.report().failures, failures);
    }
    api.put("web-1", &[("10.0.0.2", true)]);
    api.quietly(|store| store.down = false);
    let found = loop {
        if let Ok(all) = item(&mut source).await {
            break all;
        }
    };
    assert_eq!(found[0].0, "10.0.0.2:80");
    assert!(!api.asked()[1..].contains(&"list 0".to_owned()), "the watch went on where it was");
}

#[tokio::test]
async fn what_can_not_be_read_is_an_error_and_listed_anew() {
    let (api, address) = Api::start().await;
    api.put("web-1", &[("10.0.0.1", true)]);
    let mut source = source(address);
    keys(&mut source).await;
    quiet(&mut source).await;
    api.asked_for("watch 11").await;
    api.quietly(|store| {
        store.version += 1;
        let nonsense = json!({"type": "MODIFIED", "object": {"metadata": 7}});
        store.events.push((store.version, nonsense));
    });
    api.changed.send_modify(|(events, _)| *events += 1);
    item(&mut source).await.unwrap_err();
    quiet(&mut source).await;
    assert_eq!(api.asked(), ["list 0", "watch 11", "list 0", "watch 12"]);
    let other = json!({"kind": "Status", "code": 500, "message": "no more memory"});
    api.quietly(|store| store.events.clear());
    api.happens("ERROR", |_| other);
    let error = item(&mut source).await.unwrap_err().to_string();
    assert!(error.ends_with("the watch failed with 500: no more memory"), "{error}");
}
