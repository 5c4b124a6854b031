//! Functions found by prefix and tags: a control plane that is answered in process, in virtual time.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_lambda::{
    Client, Config,
    config::{BehaviorVersion, Credentials, IntoShared, Region, retry::RetryConfig},
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower_lb::{
    discover::{Refresh, Schedule, Update},
    lambda::{FunctionName, aws::FunctionSearch},
};

const SECOND: Duration = Duration::from_secs(1);

type Tags = BTreeMap<&'static str, &'static str>;

/// Functions with their tags, two on a page, and when what was asked for.
#[derive(Clone, Debug, Default)]
struct Plane(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    functions: BTreeMap<&'static str, Tags>,
    asked: Vec<(String, Instant)>,
    throttled: bool,
    endless: bool,
    /// Each page names another one.
    long: bool,
    denied: Vec<&'static str>,
}

fn arn(name: &str) -> String {
    format!("arn:aws:lambda:eu-west-1:123456789012:function:{name}")
}

impl Plane {
    fn of(functions: &[(&'static str, &[(&'static str, &'static str)])]) -> Self {
        let plane = Self::default();
        functions.iter().for_each(|(name, tags)| plane.add(name, tags));
        plane
    }

    fn add(&self, name: &'static str, tags: &[(&'static str, &'static str)]) {
        self.with(|state| state.functions.insert(name, tags.iter().copied().collect()));
    }

    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }

    /// What was asked for since last time.
    fn asked(&self) -> Vec<(String, Instant)> {
        self.with(|state| std::mem::take(&mut state.asked))
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let uri: http::Uri = request.uri().parse().unwrap();
        let path = uri.path().replace("%3A", ":");
        self.with(|state| {
            state.asked.push((path.clone(), Instant::now()));
            if state.throttled {
                let said =
                    json!({ "Reason": "CallerRateLimitExceeded", "message": "Rate exceeded" });
                return response(429, "TooManyRequestsException", &said);
            }
            if let Some((_, resource)) = path.split_once("/tags/") {
                let name = resource.rsplit(':').next().unwrap();
                if state.denied.contains(&name) {
                    return response(403, "AccessDeniedException", &json!({ "message": "no" }));
                }
                return match state.functions.get(name) {
                    Some(tags) => response(200, "", &json!({ "Tags": tags })),
                    None => response(404, "ResourceNotFoundException", &json!({})),
                };
            }
            assert!(path.starts_with("/2015-03-31/functions"), "{path}");
            let marker = uri.query().and_then(|query| query.split_once("Marker="));
            let from: usize = marker.map_or(0, |(_, marker)| marker.parse().unwrap());
            let page = state.functions.keys().skip(from).take(2).map(|name| {
                json!({
                    "FunctionName": name, "FunctionArn": arn(name),
                    "MemorySize": 512, "Architectures": ["arm64"],
                })
            });
            let page: Vec<Value> = page.collect();
            let more = state.endless || state.long || from + 2 < state.functions.len();
            let next =
                more.then(|| if state.endless { "0".into() } else { (from + 2).to_string() });
            response(200, "", &json!({ "Functions": page, "NextMarker": next }))
        })
    }

    fn search(&self) -> FunctionSearch {
        let plane = self.clone();
        let http = http_client_fn(move |_, _| plane.clone().into_shared());
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(http);
        FunctionSearch::new(Client::from_conf(config.build()))
    }
}

impl HttpConnector for Plane {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok(self.answer(&request)))
    }
}

fn response(status: u16, exception: &'static str, said: &Value) -> HttpResponse {
    let body = SdkBody::from(said.to_string());
    let mut response = HttpResponse::new(status.try_into().unwrap(), body);
    response.headers_mut().insert("x-amzn-errortype", exception);
    response
}

type Source = Refresh<FunctionName, FunctionName>;

/// The next answer that is news, within ten minutes; names without what their ARNs begin with.
async fn names(source: &mut Source) -> Option<Vec<String>> {
    let update = timeout(600 * SECOND, source.next()).await.ok()?;
    let Update::Reset(all) = update.unwrap().unwrap() else { panic!("not a whole set") };
    let name = |(name, _): &(FunctionName, _)| name.to_string().split_off(arn("").len());
    Some(all.iter().map(name).collect())
}

const LIVE: &[(&str, &str)] = &[("stage", "live"), ("team", "shop")];
const TEST: &[(&str, &str)] = &[("stage", "test"), ("team", "shop")];

#[tokio::test(start_paused = true)]
async fn functions_are_found_by_prefix_on_all_pages_and_followed() {
    let plane = Plane::of(&[
        ("worker-a", LIVE),
        ("api", LIVE),
        ("worker-b", TEST),
        ("worker-c", &[]),
        ("x-worker", LIVE),
    ]);
    let mut source = plane.search().prefix("worker-").endpoints().unwrap();
    assert_eq!(names(&mut source).await.unwrap(), ["worker-a", "worker-b", "worker-c"]);
    assert_eq!(plane.asked().len(), 3, "three pages, and no tags");
    plane.with(|state| state.functions.remove("worker-b"));
    assert_eq!(names(&mut source).await.unwrap(), ["worker-a", "worker-c"]);
    assert_eq!(names(&mut source).await, None, "the same is no news");
    plane.with(|state| state.functions.clear());
    assert_eq!(names(&mut source).await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn tags_must_all_be_there_and_are_passed_on() {
    let plane = Plane::of(&[("a", LIVE), ("b", TEST), ("c", &[("stage", "live")])]);
    let search = plane.search().tag("stage", "live").tag("team", "shop");
    let mut source = search.qualifier("blue".parse().unwrap()).endpoints().unwrap();
    let Update::Reset(all) = source.next().await.unwrap().unwrap() else { panic!() };
    let [(name, endpoint)] = &all[..] else { panic!("{all:?}") };
    assert_eq!(name.to_string(), arn("a") + ":blue");
    assert_eq!(endpoint.target(), name);
    assert_eq!(endpoint.locality().unwrap().region(), "eu-west-1");
    let labels: Vec<_> = endpoint.metadata().iter().collect();
    let expected = [
        (FunctionSearch::ARCHITECTURE, "arm64"),
        (FunctionSearch::MEMORY, "512"),
        ("stage", "live"),
        ("team", "shop"),
    ];
    assert_eq!(labels, expected);
}

#[tokio::test(start_paused = true)]
async fn tags_are_believed_for_a_while_and_asked_for_again() {
    let plane = Plane::of(&[("a", LIVE), ("b", TEST)]);
    let mut source = plane.search().tag("stage", "live").endpoints().unwrap();
    assert_eq!(names(&mut source).await.unwrap(), ["a"]);
    let told = Instant::now();
    plane.add("b", LIVE);
    assert_eq!(names(&mut source).await.unwrap(), ["a", "b"]);
    assert!((300 * SECOND..400 * SECOND).contains(&told.elapsed()), "{:?}", told.elapsed());
    // A new one is asked about at once.
    plane.add("c", LIVE);
    let told = Instant::now();
    assert_eq!(names(&mut source).await.unwrap(), ["a", "b", "c"]);
    assert!(told.elapsed() < 70 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_asked_than_the_rate_allows() {
    const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let plane = Plane::of(&NAMES.map(|name| (name, LIVE)));
    let quick = Schedule::new().interval(SECOND).timeout(None);
    let search = plane.search().tag("stage", "live").tags_every(Duration::ZERO).schedule(quick);
    let mut source = search.rate(10).unwrap().endpoints().unwrap();
    assert_eq!(names(&mut source).await.unwrap().len(), 12);
    assert_eq!(names(&mut source).await, None);
    let asked = plane.asked();
    assert!(asked.len() > 1000, "asked for {} things in ten minutes", asked.len());
    let closest = asked.windows(2).map(|pair| pair[1].1 - pair[0].1).min().unwrap();
    assert!(closest >= Duration::from_millis(100), "{closest:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_control_plane_fails_nothing_is_lost() {
    let plane = Plane::of(&[("a", LIVE), ("b", LIVE), ("c", LIVE)]);
    let mut source = plane.search().tag("stage", "live").endpoints().unwrap();
    assert_eq!(names(&mut source).await.unwrap(), ["a", "b", "c"]);
    plane.with(|state| state.throttled = true);
    let error = timeout(100 * SECOND, source.next()).await.unwrap().unwrap().unwrap_err();
    assert!(format!("{error:?}").contains("Throttle"), "{error:?}");
    plane.asked();
    plane.with(|state| {
        state.throttled = false;
        state.functions.remove("a");
    });
    assert_eq!(names(&mut source).await.unwrap(), ["b", "c"]);
    let asked = plane.asked();
    assert!(asked.iter().all(|(path, _)| !path.contains("/tags/")), "tags are still known");

    plane.with(|state| state.endless = true);
    let error = timeout(100 * SECOND, source.next()).await.unwrap().unwrap().unwrap_err();
    assert!(format!("{error:?}").contains("does not end"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_has_a_bound_on_its_pages() {
    let plane = Plane::of(&[("a", LIVE), ("b", LIVE), ("c", LIVE)]);
    plane.with(|state| state.long = true);
    let mut source = plane.search().rate(1000).unwrap().endpoints().unwrap();
    let error = timeout(100 * SECOND, source.next()).await.unwrap().unwrap().unwrap_err();
    assert!(
        error.to_string().ends_with("the list of functions has more than 2000 pages"),
        "{error}"
    );
    assert_eq!(plane.asked().len(), 2000);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_deleted_meanwhile_is_not_there() {
    let plane = Plane::of(&[("a", LIVE), ("b", LIVE)]);
    let mut source = plane.search().tag("stage", "live").endpoints().unwrap();
    // Listed, and gone when its tags are asked for.
    assert!(source.next().now_or_never().is_none());
    tokio::time::advance(Duration::from_millis(200)).await;
    plane.with(|state| state.functions.remove("b"));
    assert_eq!(names(&mut source).await.unwrap(), ["a"]);
    assert!(plane.asked().iter().any(|(path, _)| path.ends_with(":b")));
}

#[tokio::test(start_paused = true)]
async fn a_function_whose_tags_may_not_be_read_stops_no_other() {
    let plane = Plane::of(&[("a", LIVE), ("b", LIVE), ("c", LIVE)]);
    plane.with(|state| state.denied = vec!["a"]);
    let mut source = plane.search().tag("stage", "live").endpoints().unwrap();
    assert_eq!(names(&mut source).await.unwrap(), ["b", "c"]);
    // What is known of one is believed on.
    plane.with(|state| {
        state.denied = vec!["b"];
        state.functions.remove("c");
    });
    assert_eq!(names(&mut source).await.unwrap(), ["b"]);
    assert_eq!(names(&mut source).await.unwrap(), ["a", "b"], "asked for again");
    plane.with(|state| state.denied = vec!["a", "b"]);
    assert_eq!(names(&mut source).await, None);
}

#[tokio::test(start_paused = true)]
async fn that_no_tags_at_all_may_be_read_is_an_error() {
    let plane = Plane::of(&[("a", LIVE), ("b", LIVE)]);
    plane.with(|state| state.denied = vec!["a", "b"]);
    let mut source = plane.search().tag("stage", "live").endpoints().unwrap();
    let error = timeout(100 * SECOND, source.next()).await.unwrap().unwrap().unwrap_err();
    assert!(format!("{error:?}").contains("ListTags is denied"), "{error:?}");
}
