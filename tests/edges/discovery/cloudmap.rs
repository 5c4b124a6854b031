//! Endpoints from AWS Cloud Map, through the AWS SDK: against a server that answers as Cloud Map
//! does, and against moto where it is installed.
use std::{
    collections::HashMap,
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_sdk_servicediscovery::{
    Client,
    config::{
        BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
        interceptors::BeforeTransmitInterceptorContextMut, retry::RetryConfig,
    },
    error::BoxError,
    types::CustomHealthStatus,
};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tower_lb::{
    discover::{CloudMap, Refresh, Schedule, SourceError, Update},
    endpoint::{Endpoint, Health, Locality},
};

const MS: Duration = Duration::from_millis(1);

/// Takes off the prefix that the SDK puts before the host, which an address can't have.
#[derive(Debug)]
struct NoHostPrefix;

impl Intercept for NoHostPrefix {
    fn name(&self) -> &'static str {
        "NoHostPrefix"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let uri = context.request().uri().replacen("://data-", "://", 1);
        context.request_mut().set_uri(uri)?;
        Ok(())
    }
}

fn client(address: SocketAddr) -> Client {
    let config = aws_sdk_servicediscovery::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .endpoint_url(format!("http://{address}"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .interceptor(NoHostPrefix);
    Client::from_conf(config.build())
}

fn quick() -> Schedule {
    Schedule::new().jitter(0.0).interval(20 * MS).floor(20 * MS).backoff(20 * MS, 20 * MS)
}

type Source = Refresh<String, SocketAddr>;
type All = HashMap<String, Endpoint<SocketAddr>>;

async fn item(source: &mut Source) -> Result<All, SourceError> {
    let item = timeout(Duration::from_secs(30), source.next()).await.expect("an item").unwrap();
    item.map(|update| match update {
        Update::Reset(all) => all.into_iter().collect(),
        update => panic!("{update:?}"),
    })
}

#[derive(Clone, Default)]
struct Fake {
    /// Revision and instances; `None` while it fails.
    state: Arc<Mutex<Option<(i64, Value)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn answer(State(fake): State<Fake>, headers: HeaderMap, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(headers["authorization"].to_str().unwrap().contains("/servicediscovery/aws4_request"));
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.strip_prefix("Route53AutoNaming_v20170314.").unwrap().to_owned();
    assert_eq!((&body["NamespaceName"], &body["ServiceName"]), (&json!("internal"), &json!("web")));
    fake.asked.lock().unwrap().push(operation.clone());
    let Some((revision, instances)) = fake.state.lock().unwrap().clone() else {
        let error = json!({"__type": "ServiceNotFound", "message": "no such service"});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    };
    let answer = match &*operation {
        "DiscoverInstancesRevision" => json!({ "InstancesRevision": revision }),
        _ => {
            assert_eq!((&body["HealthStatus"], &body["MaxResults"]), (&json!("ALL"), &json!(1000)));
            json!({ "InstancesRevision": revision, "Instances": instances })
        }
    };
    Json(answer).into_response()
}

impl Fake {
    async fn start() -> (Self, SocketAddr) {
        let fake = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(answer)).with_state(fake.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        (fake, address)
    }

    fn say(&self, revision: i64, instances: &[(&str, &str, Value)]) {
        let instances = instances.iter().map(|(id, health, attributes)| {
            json!({"InstanceId": id, "HealthStatus": health, "Attributes": attributes})
        });
        *self.state.lock().unwrap() = Some((revision, instances.collect()));
    }

    fn asked(&self, operation: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == operation).count()
    }
}

fn at(ip: &str) -> Value {
    json!({"AWS_INSTANCE_IPV4": ip, "AWS_INSTANCE_PORT": "80"})
}

#[tokio::test]
async fn instances_are_asked_for_when_the_revision_changes() {
    let (fake, address) = Fake::start().await;
    let zone = json!({"AWS_INSTANCE_IPV6": "fd00::1", "REGION": "eu", "AVAILABILITY_ZONE": "eu-a"});
    let none = json!({"AWS_INSTANCE_PORT": "80"});
    fake.say(
        1,
        &[("a", "HEALTHY", at("10.0.0.1")), ("b", "UNHEALTHY", zone), ("c", "HEALTHY", none)],
    );
    let cloud_map = CloudMap::new(client(address), "internal").port(81).schedule(quick());
    let mut source: Source = cloud_map.service("web").unwrap();
    let all = item(&mut source).await.unwrap();
    assert_eq!(all.len(), 2, "one has no address");
    assert_eq!(
        (all["a"].target(), all["a"].health()),
        (&([10, 0, 0, 1], 80).into(), &Health::Healthy)
    );
    assert_eq!(all["b"].target(), &"[fd00::1]:81".parse().unwrap());
    assert_eq!(all["b"].health(), &Health::unhealthy("unhealthy in Cloud Map"));
    assert_eq!(all["b"].locality(), Some(&Locality::new("eu", "eu-a")));
    assert_eq!(all["b"].metadata().get("REGION"), Some("eu"));

    assert!(timeout(200 * MS, source.next()).await.is_err(), "nothing has changed");
    assert!(fake.asked("DiscoverInstancesRevision") >= 2);
    assert_eq!(fake.asked("DiscoverInstances"), 1);
    fake.say(2, &[("a", "HEALTHY", at("10.0.0.2"))]);
    assert_eq!(item(&mut source).await.unwrap().len(), 1);
    assert_eq!(fake.asked("DiscoverInstances"), 2);
}

/// The revision says nothing of health.
#[tokio::test]
async fn health_is_seen_by_and_by() {
    let (fake, address) = Fake::start().await;
    fake.say(1, &[("a", "HEALTHY", at("10.0.0.1"))]);
    let cloud_map = CloudMap::new(client(address), "internal").list_every(100 * MS);
    let mut source: Source = cloud_map.schedule(quick()).service("web").unwrap();
    item(&mut source).await.unwrap();
    fake.say(1, &[("a", "UNHEALTHY", at("10.0.0.1"))]);
    assert!(!item(&mut source).await.unwrap()["a"].is_eligible());
}

#[tokio::test]
async fn an_outage_changes_nothing() {
    let (fake, address) = Fake::start().await;
    fake.say(1, &[("a", "HEALTHY", at("10.0.0.1"))]);
    let cloud_map = CloudMap::new(client(address), "internal").schedule(quick());
    let mut source: Source = cloud_map.service("web").unwrap();
    item(&mut source).await.unwrap();
    *fake.state.lock().unwrap() = None;
    for _ in 0..3 {
        let error = item(&mut source).await.unwrap_err().to_string();
        assert!(error.starts_with("cloud map service web.internal: "), "{error}");
        assert!(error.contains("no such service"), "{error}");
    }
    fake.say(2, &[("b", "HEALTHY", at("10.0.0.2"))]);
    let all = loop {
        if let Ok(all) = item(&mut source).await {
            break all;
        }
    };
    assert!(all.contains_key("b"));
}

struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With `moto_server` on the path or in `TOWER_LB_MOTO`: `pip install 'moto[server]'`. Its revisions go
/// up and down, so that only lists are asked for.
#[tokio::test]
async fn moto() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let binary = std::env::var("TOWER_LB_MOTO").unwrap_or_else(|_| "moto_server".to_owned());
    let server = Command::new(binary)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(server) = server else {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no moto_server. Install it: pip install 'moto[server]'"
        );
        return;
    };
    let mut server = Moto(server);
    let client = client(([127, 0, 0, 1], port).into());
    let start = Instant::now();
    while client.create_http_namespace().name("internal").send().await.is_err() {
        if let Ok(Some(status)) = server.0.try_wait() {
            let _ = writeln!(std::io::stderr(), "SKIPPED: moto_server ended with {status}");
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "moto does not start");
        tokio::time::sleep(100 * MS).await;
    }
    let namespaces = client.list_namespaces().send().await.unwrap();
    let namespace = namespaces.namespaces()[0].id().unwrap();
    let custom = aws_sdk_servicediscovery::types::HealthCheckCustomConfig::builder().build();
    let service = client.create_service().name("web").namespace_id(namespace);
    let service = service.health_check_custom_config(custom).send().await.unwrap();
    let service = service.service().unwrap().id().unwrap().to_owned();
    let register = |id: &str, ip: &str| {
        let register = client.register_instance().service_id(&service).instance_id(id);
        let register = register.attributes("AWS_INSTANCE_IPV4", ip);
        register.attributes("AWS_INSTANCE_PORT", "80").send()
    };
    register("a", "10.0.0.1").await.unwrap();

    let cloud_map = CloudMap::new(client.clone(), "internal").list_every(MS).schedule(quick());
    let mut source: Source = cloud_map.service("web").unwrap();
    assert_eq!(item(&mut source).await.unwrap()["a"].target(), &([10, 0, 0, 1], 80).into());
    register("b", "10.0.0.2").await.unwrap();
    assert_eq!(item(&mut source).await.unwrap().len(), 2);
    let update = client.update_instance_custom_health_status().service_id(&service);
    let update = update.instance_id("a").status(CustomHealthStatus::Unhealthy);
    update.send().await.unwrap();
    assert!(!item(&mut source).await.unwrap()["a"].is_eligible());
    client.deregister_instance().service_id(&service).instance_id("a").send().await.unwrap();
    assert_eq!(item(&mut source).await.unwrap().len(), 1);
}
