//! Endpoints from Consul: against a server that answers as Consul does, blocking queries included,
//! and against the real agent where there is one.
use std::{
    collections::HashMap,
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::StreamExt;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tower_lb::{
    discover::{Consul, Refresh, Schedule, SourceError, Update},
    endpoint::{Endpoint, Health},
};

const MS: Duration = Duration::from_millis(1);

fn quick() -> Schedule {
    Schedule::new().jitter(0.0).floor(10 * MS).backoff(20 * MS, 20 * MS)
}

type Source = Refresh<String, SocketAddr>;

async fn item(source: &mut Source) -> Result<HashMap<String, Endpoint<SocketAddr>>, SourceError> {
    let item = timeout(Duration::from_secs(30), source.next()).await.expect("an item").unwrap();
    item.map(|update| match update {
        Update::Reset(all) => all.into_iter().collect(),
        update => panic!("{update:?}"),
    })
}

/// Answers the health endpoint. An index that is not below its own waits for a change.
#[derive(Clone)]
struct Fake {
    state: watch::Sender<(u64, Result<String, StatusCode>)>,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn health(
    State(fake): State<Fake>,
    Path(service): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let index: u64 = query["index"].parse().unwrap();
    let asked = format!("{service} {index} {}", query.get("tag").map_or("", |tag| tag));
    fake.asked.lock().unwrap().push(asked);
    let wait: u64 = query["wait"].strip_suffix("ms").unwrap().parse().unwrap();
    let mut state = fake.state.subscribe();
    let changed = state.wait_for(|(now, answer)| index == 0 || index != *now || answer.is_err());
    let _ = timeout(Duration::from_millis(wait), changed).await;
    let (index, answer) = fake.state.borrow().clone();
    match answer {
        Ok(body) => ([("x-consul-index", index.to_string())], body).into_response(),
        Err(status) => (status, "No cluster leader").into_response(),
    }
}

impl Fake {
    async fn start() -> (Self, SocketAddr) {
        let (state, _) = watch::channel((1, Ok("[]".to_owned())));
        let fake = Self { state, asked: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/health/service/{service}", get(health));
        tokio::spawn(axum::serve(listener, router.with_state(fake.clone())).into_future());
        (fake, address)
    }

    fn say(&self, index: u64, instances: &[(&str, &str)]) {
        let entries = instances.iter().map(|(id, status)| {
            format!(
                r#"{{"Node":{{"Node":"n","Address":"10.0.0.1","Datacenter":"dc1"}},
                "Service":{{"ID":"{id}","Service":"web","Address":"10.0.0.2","Port":80}},
                "Checks":[{{"CheckID":"c","Name":"ping","Status":"{status}"}}]}}"#
            )
        });
        let body = format!("[{}]", entries.collect::<Vec<_>>().join(","));
        drop(self.state.send_replace((index, Ok(body))));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// An answer of which nothing is usable is an error, which is told until it changes.
#[tokio::test]
async fn an_answer_without_a_usable_address_changes_nothing() {
    let (fake, address) = Fake::start().await;
    fake.say(1, &[("a", "passing")]);
    let consul = Consul::new(format!("http://{address}")).unwrap().schedule(quick());
    let mut source: Source = consul.service("web").unwrap();
    assert_eq!(item(&mut source).await.unwrap().len(), 1);
    fake.state.send_modify(|(index, answer)| {
        *index = 2;
        *answer = Ok(answer.clone().unwrap().replace("10.0.0.2", "0.0.0.0"));
    });
    for _ in 0..2 {
        let error = item(&mut source).await.unwrap_err().to_string();
        let expected = "consul service web: none of 1 endpoints is usable; n/a: \
            0.0.0.0 can't be an endpoint: it is an unspecified address";
        assert_eq!(error, expected);
    }
    fake.say(3, &[("a", "passing"), ("b", "passing")]);
    let found = loop {
        if let Ok(all) = item(&mut source).await {
            break all;
        }
    };
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn changes_arrive_when_they_happen_and_the_index_is_heeded() {
    let (fake, address) = Fake::start().await;
    fake.say(7, &[("a", "passing")]);
    let consul = Consul::new(format!("http://{address}/")).unwrap().schedule(quick());
    let mut source: Source = consul.tag("x y").service("we b").unwrap();
    assert_eq!(item(&mut source).await.unwrap().len(), 1);
    assert!(timeout(200 * MS, source.next()).await.is_err(), "nothing has changed");
    assert_eq!(fake.asked(), ["we b 0 x y", "we b 7 x y"], "one query waits");

    let start = Instant::now();
    fake.say(9, &[("a", "critical"), ("b", "passing")]);
    let all = item(&mut source).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "told, not polled");
    assert_eq!(all["n/a"].health(), &Health::unhealthy("the check \"ping\" is critical"));
    assert_eq!(
        (all["n/b"].health(), all["n/b"].target()),
        (&Health::Healthy, &([10, 0, 0, 2], 80).into())
    );

    // Backwards: a server that was replaced. It is asked as if for the first time.
    let _ = timeout(100 * MS, source.next()).await;
    fake.say(3, &[("c", "passing")]);
    assert!(item(&mut source).await.unwrap().contains_key("n/c"));
    let _ = timeout(200 * MS, source.next()).await;
    assert_eq!(fake.asked(), ["we b 9 x y", "we b 0 x y", "we b 3 x y"]);
}

#[tokio::test]
async fn an_index_of_nought_or_a_wait_that_is_over_does_no_harm() {
    let (fake, address) = Fake::start().await;
    fake.say(0, &[("a", "passing")]);
    let consul = Consul::new(format!("http://{address}")).unwrap().wait(50 * MS);
    let mut source: Source = consul.schedule(quick().floor(100 * MS)).service("web").unwrap();
    item(&mut source).await.unwrap();
    assert!(timeout(500 * MS, source.next()).await.is_err());
    let asked = fake.asked();
    assert!((2..=6).contains(&asked.len()), "{asked:?}");
    assert!(asked[1..].iter().all(|asked| asked == "web 1 "), "{asked:?}");
}

#[tokio::test]
async fn an_outage_changes_nothing() {
    let (fake, address) = Fake::start().await;
    fake.say(7, &[("a", "passing")]);
    let consul = Consul::new(format!("http://{address}")).unwrap().schedule(quick());
    let mut source: Source = consul.service("web").unwrap();
    item(&mut source).await.unwrap();
    drop(fake.state.send_replace((7, Err(StatusCode::INTERNAL_SERVER_ERROR))));
    for _ in 0..3 {
        let error = item(&mut source).await.unwrap_err().to_string();
        assert!(error.ends_with("500 Internal Server Error: No cluster leader"), "{error}");
    }
    drop(fake.state.send_replace((8, Ok("[{\"Node\": {}}]".to_owned()))));
    while !item(&mut source).await.unwrap_err().to_string().contains("missing field") {}
    fake.asked();
    fake.say(2, &[("a", "passing"), ("b", "passing")]);
    let all = loop {
        if let Ok(all) = item(&mut source).await {
            break all;
        }
    };
    assert_eq!(all.len(), 2);
    assert!(fake.asked().iter().all(|asked| asked == "web 0 "), "asked anew");
}

/// The real agent, if `consul` is on the path or in `TOWER_LB_CONSUL`.
struct Agent {
    process: Child,
    address: SocketAddr,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    async fn start() -> Option<Self> {
        let binary = std::env::var("TOWER_LB_CONSUL").unwrap_or_else(|_| "consul".to_owned());
        let mut ports = Vec::new();
        for _ in 0..5 {
            ports.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let ports: Vec<u16> = ports.iter().map(|port| port.local_addr().unwrap().port()).collect();
        let [http, dns, lan, wan, server] = ports[..] else { unreachable!() };
        let config = format!(
            "ports {{ http = {http} dns = {dns} grpc = -1 serf_lan = {lan} serf_wan = {wan} server = {server} }}"
        );
        let process = Command::new(binary)
            .args(["agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1"])
            .args(["-disable-host-node-id", "-node", "me", "-hcl", &config])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { process, address: ([127, 0, 0, 1], http).into() })
    }

    async fn put(&self, path: &str, body: &str) -> bool {
        let url = format!("http://{}/v1/agent/{path}", self.address);
        let request = reqwest::Client::new().put(url).body(body.to_owned()).send();
        request.await.is_ok_and(|response| response.status().is_success())
    }
}

#[tokio::test]
async fn the_real_agent() {
    let Some(mut agent) = Agent::start().await else {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no consul. Put it on the path or name it in TOWER_LB_CONSUL."
        );
        return;
    };
    let consul = Consul::new(format!("http://{}", agent.address)).unwrap().schedule(quick());
    let mut source: Source = consul.service("web").unwrap();
    let web = |id: &str| {
        format!(
            r#"{{"ID":"{id}","Name":"web","Address":"10.0.0.7","Port":80,"Tags":["t"],
            "Meta":{{"version":"2"}},"Weights":{{"Passing":5,"Warning":2}},
            "Check":{{"CheckID":"{id}-check","Name":"ping","TTL":"1h","Status":"passing"}}}}"#
        )
    };
    let start = Instant::now();
    while !agent.put("service/register", &web("a")).await {
        if let Ok(Some(status)) = agent.process.try_wait() {
            let _ = writeln!(std::io::stderr(), "SKIPPED: consul ended with {status}");
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the agent does not start");
        tokio::time::sleep(50 * MS).await;
    }
    /// Until it is as wanted.
    async fn until(
        source: &mut Source,
        wanted: impl Fn(&HashMap<String, Endpoint<SocketAddr>>) -> bool,
    ) -> HashMap<String, Endpoint<SocketAddr>> {
        loop {
            match item(source).await {
                Ok(all) if wanted(&all) => return all,
                _ => {}
            }
        }
    }
    let all = until(&mut source, |all| all.len() == 1).await;
    let a = &all["me/a"];
    assert_eq!(
        (a.target(), a.weight(), a.health()),
        (&([10, 0, 0, 7], 80).into(), 5, &Health::Healthy)
    );
    assert_eq!(
        (a.metadata().get("version"), a.metadata().get("consul.tags")),
        (Some("2"), Some("t"))
    );

    agent.put("service/register", &web("b")).await;
    until(&mut source, |all| all.len() == 2).await;
    agent.put("check/warn/a-check", "").await;
    until(&mut source, |all| {
        matches!(all["me/a"].health(), Health::Degraded(_)) && all["me/a"].weight() == 2
    })
    .await;
    agent.put("check/fail/a-check", "").await;
    until(&mut source, |all| matches!(all["me/a"].health(), Health::Unhealthy(_))).await;
    agent.put("check/pass/a-check", "").await;
    until(&mut source, |all| *all["me/a"].health() == Health::Healthy).await;
    agent.put("service/maintenance/a?enable=true", "").await;
    until(&mut source, |all| matches!(all["me/a"].health(), Health::Draining(_))).await;
    agent.put("service/deregister/a", "").await;
    until(&mut source, |all| all.len() == 1).await;
    drop(agent);
    item(&mut source).await.unwrap_err();
    assert_eq!(source.status().report().endpoints, 1, "an outage changes nothing");
}
