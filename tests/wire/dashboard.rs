//! The dashboard's page in Chromium: what it shows, how it is used, and who may act.
//!
//! `DASHBOARD_PICTURES=/tmp cargo test -p tower-lb-wire-tests dashboard` keeps the pictures.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::Duration,
};

use axum::Router;
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};
use tower_lb::observe::{
    Registry,
    dashboard::{Action, ActionError, ActionKind, Dashboard, DashboardBuilder},
};

use crate::{chromium::Chromium, edges::Edges};

const TOKEN: &str = "a-token-of-a-test";
/// Noon, so that pictures do not depend on when they are taken.
const START: f64 = 1_790_000_000.0;
const SCRIPT: &str = "<script>window.broken = 1</script><img src=x onerror=\"window.broken = 1\">";

/// Balancers and their endpoints, of which each report is one second later than the one before.
struct World {
    seconds: u32,
    random: u64,
    balancers: Vec<Balancer>,
    retries: u64,
}

struct Balancer {
    name: String,
    endpoints: Vec<Endpoint>,
    events: Vec<Value>,
    notices: Vec<String>,
    source_error: Option<String>,
    requests_per_second: f64,
}

struct Endpoint {
    name: String,
    zone: Option<String>,
    tier: u32,
    weight: u32,
    health: &'static str,
    reason: Option<String>,
    since: f64,
    latency: f64,
    error_ratio: f64,
    success: u64,
    transport: u64,
}

impl World {
    fn new(balancers: Vec<Balancer>) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { seconds: 0, random: 7, balancers, retries: 900 }))
    }

    fn now(&self) -> f64 {
        START + f64::from(self.seconds)
    }

    /// A number from 0 to 1.
    fn random(&mut self) -> f64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) as f64 / (1 << 24) as f64
    }

    fn endpoint(&mut self, balancer: usize, endpoint: usize) -> &mut Endpoint {
        &mut self.balancers[balancer].endpoints[endpoint]
    }

    fn set_health(&mut self, balancer: usize, endpoint: usize, health: &'static str, cause: &str) {
        let now = self.now();
        let balancer = &mut self.balancers[balancer];
        let changed = &mut balancer.endpoints[endpoint];
        let from = std::mem::replace(&mut changed.health, health);
        balancer.events.push(json!({
            "id": balancer.events.len(), "time": now, "kind": "health", "endpoint": changed.name,
            "from": from, "to": health, "cause": cause, "lasted_seconds": now - changed.since,
        }));
        changed.reason = (health != "healthy").then(|| cause.to_owned());
        changed.since = now;
    }

    fn log(&mut self, balancer: usize, ago: f64, kind: &str, cause: &str, lasted: Option<f64>) {
        let time = self.now() - ago;
        let events = &mut self.balancers[balancer].events;
        events.push(json!({
            "id": events.len(), "time": time, "kind": kind, "endpoint": null,
            "from": null, "to": null, "cause": cause, "lasted_seconds": lasted,
        }));
    }

    fn report(&mut self) -> Value {
        self.seconds += 1;
        let now = self.now();
        let mut balancers = Vec::new();
        for index in 0..self.balancers.len() {
            let wave = 1.0 + 0.25 * (f64::from(self.seconds) / 11.0 + index as f64).sin();
            let rate = self.balancers[index].requests_per_second * wave;
            let is_serving = |endpoint: &Endpoint| {
                endpoint.tier == 0 && ["healthy", "degraded"].contains(&endpoint.health)
            };
            let serving = self.balancers[index].endpoints.iter().filter(|it| is_serving(it));
            let weights: u32 = serving.map(|endpoint| endpoint.weight).sum();
            let mut endpoints = Vec::new();
            for position in 0..self.balancers[index].endpoints.len() {
                let (noise, chance) = (0.7 + 0.6 * self.random(), self.random());
                let seconds = f64::from(self.seconds);
                let endpoint = self.endpoint(index, position);
                let mut rate =
                    rate * f64::from(endpoint.weight) / f64::from(weights.max(1)) * noise;
                if !is_serving(endpoint) {
                    rate = 0.0;
                }
                let failed = (rate * endpoint.error_ratio + chance * 0.999).floor();
                endpoint.transport += failed as u64;
                endpoint.success += (rate - failed).max(0.0).round() as u64;
                let slower = 1.0 + 0.1 * (seconds / 7.0 + position as f64).sin();
                let (p50, p99) = (endpoint.latency * slower, endpoint.latency * slower * 6.0);
                endpoints.push(json!({
                    "name": endpoint.name, "zone": endpoint.zone, "region": "eu-central-1",
                    "tier": endpoint.tier, "weight": endpoint.weight, "health": endpoint.health,
                    "reason": endpoint.reason, "since_seconds": now - endpoint.since,
                    "outstanding": (rate * p50 * 6.0 * noise).round(),
                    "outcomes": {
                        "success": endpoint.success, "application": 0, "overload": 0,
                        "transport": endpoint.transport, "timeout": 0, "cancelled": 0,
                    },
                    "latency_seconds": p50,
                    "first_byte": { "count": endpoint.success, "p50": p50, "p99": p99 },
                    "end": null,
                }));
            }
            let balancer = &self.balancers[index];
            balancers.push(json!({
                "name": balancer.name, "version": 3, "notices": balancer.notices, "waiting": 0,
                "driver": {
                    "state": "running", "errors": u32::from(balancer.source_error.is_some()),
                    "last_error": balancer.source_error,
                },
                "endpoints": endpoints, "events": balancer.events,
            }));
        }
        let sent = 3 + (4.0 * self.random()) as u64;
        self.retries += sent;
        let in_flight = 90 + (60.0 * self.random()) as u64;
        json!({
            "time": now,
            "balancers": balancers,
            "retries": [{ "name": "checkout", "sent": self.retries, "succeeded": self.retries - 88,
                "stopped_by_budget": 3, "stopped_by_deadline": 0 }],
            "hedges": [{ "name": "search", "sent": self.retries / 3, "won": self.retries / 8 }],
            "failovers": [],
            "budgets": [{ "name": "checkout", "balance": 84.5, "spent": self.retries, "refused": 3 }],
            "limits": [
                { "name": "ingress", "kind": "gradient", "limit": 240, "in_flight": in_flight, "waiting": 0, "rejected": 17 },
                { "name": "search", "kind": "fixed", "limit": 32, "in_flight": 28, "waiting": 2, "rejected": 0 },
            ],
            "circuits": [{ "name": "payments", "state": "half_open", "opened": 4 }],
        })
    }
}

impl Balancer {
    fn new(name: &str, count: usize, requests_per_second: f64) -> Self {
        let endpoint = |index: usize| Endpoint {
            name: format!("10.0.{}.{}:8080", index % 3, 10 + index / 3),
            zone: Some(format!("eu-central-1{}", ["a", "b", "c"][index % 3])),
            tier: 0,
            weight: [100, 100, 50, 100, 200][index % 5],
            health: "healthy",
            reason: None,
            since: START - 4000.0 * (1 + index % 17) as f64,
            latency: 0.003 + 0.0009 * (index * 7 % 5) as f64,
            error_ratio: 0.0002,
            success: 10_000,
            transport: 0,
        };
        Self {
            name: name.into(),
            endpoints: (0..count).map(endpoint).collect(),
            events: Vec::new(),
            notices: Vec::new(),
            source_error: None,
            requests_per_second,
        }
    }
}

/// A day in which some things went wrong, for pictures and for reading.
fn eventful() -> Arc<Mutex<World>> {
    let mut checkout = Balancer::new("checkout", 18, 640.0);
    for spare in &mut checkout.endpoints[15..] {
        spare.tier = 1;
    }
    let world = World::new(vec![checkout, Balancer::new("search", 5, 85.0)]);
    let mut it = world.lock().unwrap();
    it.endpoint(0, 1).error_ratio = 0.06;
    it.log(0, 810.0, "source_error", "lookup of checkout.internal: SERVFAIL", None);
    it.log(0, 640.0, "notice", "zone eu-central-1b takes traffic of others", None);
    it.log(0, 480.0, "notice_ended", "zone eu-central-1b takes traffic of others", Some(160.0));
    it.set_health(0, 3, "unhealthy", "3 of 3 checks failed: connection refused");
    it.seconds += 21;
    it.set_health(0, 3, "healthy", "2 of 2 checks passed");
    it.seconds += 14;
    it.set_health(0, 7, "unhealthy", "5 consecutive failures: connection reset by peer");
    it.seconds += 9;
    it.set_health(0, 4, "draining", "removed by the source");
    it.seconds += 16;
    it.set_health(0, 10, "degraded", "slow start, 40 % of its weight");
    it.set_health(1, 1, "degraded", "p99 3.1 times the median");
    it.balancers[0].notices.push("zone eu-central-1b: 4 of 5 endpoints are eligible".into());
    drop(it);
    world
}

struct Served {
    runtime: Option<Runtime>,
    address: SocketAddr,
}

impl Served {
    fn new(dashboard: &Dashboard) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), dashboard)
    }

    fn at(address: SocketAddr, dashboard: &Dashboard) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().nest_service("/lb/", dashboard.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { runtime: Some(runtime), address }
    }

    fn url(&self) -> String {
        format!("http://{}/lb/", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // This ends its connections too.
        self.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(5));
    }
}

fn showing(world: &Arc<Mutex<World>>) -> DashboardBuilder {
    let world = Arc::clone(world);
    let builder =
        Dashboard::builder(&Registry::new()).report(move || world.lock().unwrap().report());
    builder.interval(Duration::from_millis(50))
}

/// Browsers one after the other: together they would be slow, and times would tell nothing.
fn alone() -> MutexGuard<'static, ()> {
    static BROWSER: Mutex<()> = Mutex::new(());
    BROWSER.lock().unwrap_or_else(PoisonError::into_inner)
}

const ROWS: &str = "document.querySelectorAll('.endpoint').length";

#[test]
fn a_page_shows_what_happens_and_is_used_by_keyboard() {
    let _alone = alone();
    let Some(mut page) = Chromium::start() else { return };
    let world = eventful();
    world.lock().unwrap().endpoint(1, 0).name = SCRIPT.into();
    world.lock().unwrap().endpoint(1, 2).reason =
        Some(format!("{SCRIPT}\n\u{202e}{}", "x".repeat(10_000)));
    world.lock().unwrap().balancers[1].name = SCRIPT.into();
    world.lock().unwrap().endpoint(1, 3).name = format!("\"\n\0{}", "x".repeat(10_000));
    world.lock().unwrap().balancers[1].notices.push(SCRIPT.into());
    let served = Served::new(&showing(&world).build().unwrap());
    page.open(&served.url());

    // Rows appear, and change without any doing.
    page.wait_for(&format!("{ROWS} === 23"));
    page.wait_for("document.getElementById('link').innerText === 'Live'");
    page.wait_for("/^[6-9]\\d\\d$/.test(document.querySelector('.figure dd span').innerText)");
    page.wait_for("document.querySelector('.endpoint .spark path').getAttribute('d').length > 100");
    page.wait_for("document.body.innerText.includes('5 consecutive failures')");
    page.wait_for("[...document.querySelectorAll('.panel h2')].map(it => it.innerText).join() === 'Budgets,Retries,Hedges,Limits,Circuits'");
    world.lock().unwrap().set_health(0, 0, "unhealthy", "the backend was \"unplugged\"");
    page.wait_for("document.querySelector('.endpoint').innerText.includes('unplugged')");
    page.wait_for(
        "document.querySelector('#events li').innerText.includes('10.0.0.10:8080 is unhealthy')",
    );
    page.wait_for(
        "document.getElementById('status').innerText.includes('10.0.0.10:8080 is unhealthy')",
    );
    let added = Balancer::new("", 19, 0.0).endpoints.pop().unwrap();
    world.lock().unwrap().balancers[0].endpoints.push(Endpoint { zone: None, ..added });
    page.wait_for(&format!("{ROWS} === 24"));
    // Two of the same name are two.
    let twin = Balancer::new("", 1, 0.0).endpoints.pop().unwrap();
    world.lock().unwrap().balancers[0].endpoints.push(twin);
    page.wait_for(&format!("{ROWS} === 25"));
    world.lock().unwrap().balancers[0].endpoints.truncate(18);
    page.wait_for(&format!("{ROWS} === 23"));

    // Names are text.
    page.wait_for("document.body.innerText.includes('<script>window.broken = 1</script>')");
    assert_eq!(page.evaluate("window.broken ?? null"), Value::Null);
    assert_eq!(page.evaluate("document.querySelectorAll('script').length"), 1);
    assert_eq!(page.evaluate("document.querySelectorAll('img').length"), 0);
    assert_eq!(page.evaluate("document.body.innerText.includes('\\u202e')"), false);

    page.wait_for("document.body.innerText.includes('\"\\\\n\\\\u{0}xxx')");
    assert_eq!(page.evaluate("document.documentElement.scrollWidth"), 1400);

    // The keyboard alone: filter, sort, move, open, close.
    page.press("/");
    assert_eq!(page.evaluate("document.activeElement.id"), "filter");
    page.insert_text("10.0.2.");
    page.wait_for(&format!("{ROWS} === 7"));
    page.evaluate("document.getElementById('filter').select()");
    page.insert_text("unplugged");
    page.wait_for(&format!("{ROWS} === 1"));
    page.wait_for("document.querySelectorAll('#events li').length === 1");
    page.evaluate("document.getElementById('filter').select()");
    page.insert_text(" ");
    page.wait_for(&format!("{ROWS} === 23"));
    page.evaluate("document.querySelector('[data-column=weight] button').focus()");
    page.press("Enter");
    let sorted = "document.querySelector('[data-column=weight]').getAttribute('aria-sort')";
    assert_eq!(page.evaluate(sorted), "descending");
    page.wait_for("[...document.querySelectorAll('.endpoint .weight')].slice(0, 5).map(it => it.innerText).join() === '200,100,100,100,50'");
    page.press("Enter");
    assert_eq!(page.evaluate(sorted), "ascending");
    page.evaluate("document.querySelector('[data-column=name] button').focus()");
    page.press("Enter");
    // Six headers later begins the table, which is one stop.
    for _ in 0..9 {
        page.press("Tab");
    }
    let focused = "document.activeElement.innerText";
    assert_eq!(page.evaluate(focused), "10.0.0.10:8080");
    page.press("ArrowDown");
    assert_eq!(page.evaluate(focused), "10.0.0.11:8080");
    let outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid");
    page.press("End");
    assert_eq!(page.evaluate(focused), "10.0.2.15:8080");
    page.press("Home");
    page.press("Enter");
    page.wait_for("document.getElementById('details').open");
    page.wait_for("document.getElementById('details-state').innerText.includes('unplugged')");
    assert_eq!(
        page.evaluate("document.querySelectorAll('.act:not([hidden])').length"),
        0,
        "read-only"
    );
    page.press("Escape");
    page.wait_for("!document.getElementById('details').open");
    assert_eq!(page.evaluate(focused), "10.0.0.10:8080");
    // A report without anything is no end of the page.
    page.evaluate("show({ time: 1 })");
    page.evaluate("show({ time: 2, balancers: [{}, null, 7, { name: 5, endpoints: [{}, null], events: 1 }], odd: [{}] })");
    page.wait_for(&format!("{ROWS} === 23"));
    page.evaluate("document.querySelector('.endpoint button').focus()");
    // The focus stays where it is while rows change their places.
    page.evaluate("document.querySelector('[data-column=rate] button').click()");
    sleep(Duration::from_millis(500));
    assert_eq!(page.evaluate(focused), "10.0.0.10:8080");
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[test]
fn a_page_connects_again() {
    let _alone = alone();
    let Some(mut page) = Chromium::start() else { return };
    let dashboard = showing(&eventful()).max_streams(1).build().unwrap();
    let served = Served::new(&dashboard);
    page.open(&served.url());
    page.wait_for("document.getElementById('link').innerText === 'Live'");
    let address = served.address;
    drop(served);
    page.wait_for("document.getElementById('link').innerText === 'Reconnecting'");
    page.wait_for("document.getElementById('status').innerText.includes('lost')");
    let served = Served::at(address, &dashboard);
    page.wait_for("document.getElementById('link').innerText === 'Live'");
    // Another page gets no stream, and asks for reports instead.
    let Some(mut other) = Chromium::start() else { return };
    other.open(&served.url());
    other.wait_for("document.getElementById('link').innerText === 'Every 5 s'");
    other.wait_for(&format!("{ROWS} === 23"));
    drop(page);
    other.wait_for("document.getElementById('link').innerText === 'Live'");
}

#[test]
fn a_page_acts_with_permission_only() {
    let _alone = alone();
    let Some(mut page) = Chromium::start() else { return };
    let world = eventful();
    let acted = Arc::clone(&world);
    let performed = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&performed);
    let granted = [ActionKind::Drain, ActionKind::SetWeight, ActionKind::ShiftZone];
    let builder = showing(&world).token(TOKEN).actions(granted, move |action| {
        let mut world = acted.lock().unwrap();
        match &action {
            Action::Drain { endpoint, .. } => {
                let endpoints = &world.balancers[0].endpoints;
                let position = endpoints.iter().position(|it| it.name == *endpoint);
                let position = position.ok_or(ActionError::UnknownTarget)?;
                world.set_health(0, position, "draining", "drained by an operator");
            }
            Action::SetWeight { .. } => return Err(ActionError::Refused("not on a Friday".into())),
            _ => {}
        }
        noted.lock().unwrap().push(action);
        Ok(())
    });
    let served = Served::new(&builder.build().unwrap());
    page.open(&served.url());
    page.wait_for(&format!("{ROWS} === 23"));
    page.wait_for("document.querySelector('.zone .act:not([hidden])')");
    let buttons = "[...new Set([...document.querySelectorAll('.act:not([hidden])')].map(it => it.innerText))].join()";
    assert_eq!(page.evaluate(buttons), "Shift away");
    page.evaluate("document.querySelector('.endpoint button').click()");
    let buttons =
        "[...document.querySelectorAll('#details-actions button')].map(it => it.innerText).join()";
    assert_eq!(page.evaluate(buttons), "Drain,Set weight");

    let confirm = |page: &mut Chromium, token: &str| {
        page.wait_for("document.getElementById('confirm').open");
        if !token.is_empty() {
            page.evaluate("document.querySelector('#confirm-token input').focus()");
            page.evaluate("document.querySelector('#confirm-token input').select()");
            page.insert_text(token);
        }
        page.evaluate("document.querySelector('#confirm .primary').focus()");
        page.press("Enter");
    };
    page.evaluate("document.querySelector('#details-actions button').click()");
    confirm(&mut page, "a-wrong-token-of-a-test");
    page.wait_for(
        "document.getElementById('confirm-error').innerText === 'actions need the token'",
    );
    assert_eq!(performed.lock().unwrap().len(), 0);
    confirm(&mut page, TOKEN);
    page.wait_for("!document.getElementById('confirm').open");
    page.wait_for(
        "document.getElementById('details-state').innerText.includes('drained by an operator')",
    );
    page.wait_for("document.getElementById('toast').innerText === 'Drain: done'");
    // The page remembers the token, and shows why an action was refused.
    page.evaluate("document.querySelector('#details-actions button:last-child').click()");
    assert_eq!(page.evaluate("document.querySelector('#confirm-token').hidden"), true);
    confirm(&mut page, "");
    page.wait_for(
        "document.getElementById('confirm-error').innerText === 'refused: not on a Friday'",
    );
    page.press("Escape");
    page.press("Escape");
    page.wait_for("!document.querySelector('dialog[open]')");
    page.evaluate("document.querySelector('.zone .act').click()");
    confirm(&mut page, "");
    page.wait_for("!document.querySelector('dialog[open]')");
    let (balancer, endpoint) = (|| "checkout".to_owned(), "10.0.0.10:8080".to_owned());
    let drain = Action::Drain { balancer: balancer(), endpoint };
    let shift = Action::ShiftZone { balancer: balancer(), zone: "eu-central-1a".into() };
    assert_eq!(*performed.lock().unwrap(), [drain, shift]);

    // A page of another site cannot, although this browser knows the token.
    let other =
        Served::new(&Dashboard::builder(&Registry::new()).report(|| json!({})).build().unwrap());
    page.open(&format!("http://localhost:{}/lb/style.css", other.address.port()));
    page.wait_for("location.hostname === 'localhost' && document.readyState === 'complete'");
    let forge = |mode: &str, kind: &str| {
        let body =
            json!({ "action": "drain", "balancer": "checkout", "endpoint": "10.0.1.10:8080" });
        format!(
            "fetch('{}api/actions', {{ method: 'POST', mode: '{mode}', credentials: 'include', \
             headers: {{ 'Content-Type': '{kind}' }}, body: JSON.stringify({body}) }}).then(it => it.type, () => 'failed')",
            served.url()
        )
    };
    assert_eq!(page.evaluate(&forge("cors", "application/json")), "failed");
    let opaque = page.evaluate(&forge("no-cors", "text/plain"));
    assert!(opaque == "opaque" || opaque == "failed", "{opaque}");
    assert_eq!(performed.lock().unwrap().len(), 2);
}

#[test]
fn a_thousand_endpoints_do_not_stutter() {
    let _alone = alone();
    let Some(mut page) = Chromium::start() else { return };
    page.size(1400, 900, 1);
    let world = World::new(vec![Balancer::new("large", 1000, 5000.0)]);
    let served = Served::new(&showing(&world).interval(Duration::from_secs(1)).build().unwrap());
    page.open(&served.url());
    page.wait_for(&format!("{ROWS} > 10"));
    let nodes = page.evaluate("document.querySelectorAll('*').length").as_u64().unwrap();
    assert!(nodes < 3000, "{nodes}: only rows in the window exist");
    assert_eq!(
        page.evaluate("document.querySelector('[role=table]').getAttribute('aria-rowcount')"),
        "1004"
    );
    // The time that the script takes of a second, for a report and for scrolling through all rows.
    let timed = "(async () => {
        const times = { reports: [], scrolls: [] };
        const shown = show;
        show = (report) => { const start = performance.now(); shown(report); times.reports.push(performance.now() - start); };
        for (let i = 0; i < 150; i++) {
            scrollBy(0, 240);
            const start = performance.now();
            for (const balancer of model.balancers.values()) balancer.renderRows();
            times.scrolls.push(performance.now() - start);
            await new Promise((done) => setTimeout(done, 20));
        }
        show = shown;
        const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
        return [times.reports.length, median(times.reports), median(times.scrolls), document.querySelectorAll('.endpoint').length];
    })()";
    let timed = page.evaluate(timed);
    eprintln!("reports, ms of one, ms of a scroll, rows: {timed}");
    assert!(timed[0].as_u64().unwrap() >= 2, "{timed}");
    // On an idle machine 6 and 2. A frame has 16.
    assert!(timed[1].as_f64().unwrap() < 100.0 && timed[2].as_f64().unwrap() < 30.0, "{timed}");
    assert!(timed[3].as_u64().unwrap() < 60, "{timed}");
    page.evaluate("scrollTo(0, 0)");
    page.evaluate("document.querySelector('.endpoint button').focus()");
    page.press("End");
    page.wait_for("document.activeElement.innerText === '10.0.2.342:8080'");
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[test]
fn edges_below_http_have_panels() {
    let _alone = alone();
    let Some(mut page) = Chromium::start() else { return };
    let runtime = Runtime::new().unwrap();
    let edges = runtime.block_on(Edges::start("edge-1"));
    let builder = Dashboard::builder(&edges.registry).interval(Duration::from_millis(50));
    let served = Served::new(&builder.build().unwrap());
    page.size(1400, 1400, 1);
    page.open(&served.url());
    page.wait_for(
        "[...document.querySelectorAll('.panel h2')].map(it => it.innerText).join() === \
         'Gateways,Inspectors,TCP relays,UDP relays,UDP responders'",
    );
    let facts = |panel: &str| {
        format!(
            "[...document.querySelectorAll('[aria-label=\"{panel}\"] dl > div')]\
             .map(it => it.querySelector('dt').innerText + ' ' + it.querySelector('dd span').innerText).join()"
        )
    };
    page.wait_for(&format!("{}.includes('ended closed 3')", facts("TCP relays")));
    let relays = page.evaluate(&facts("TCP relays"));
    assert_eq!(
        relays, "connected 3,open 0,ended closed 3,bytes to targets 0,bytes to clients 15",
        "reasons that have not occurred are not shown"
    );
    let relays = page.evaluate(&facts("UDP relays"));
    let relays = relays.as_str().unwrap();
    assert!(relays.starts_with("flows 1,flows created 1,"), "{relays}");
    assert!(relays.ends_with(",dropped empty 1"), "{relays}");
    let gateway = page.evaluate(&facts("Gateways"));
    assert!(gateway.as_str().unwrap().ends_with("dropped unparsable 1"), "{gateway}");
    page.picture("edges");
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[test]
fn pages_look_as_they_should() {
    let _alone = alone();
    let Some(mut page) = Chromium::start() else { return };
    let world = eventful();
    let kinds =
        [ActionKind::Drain, ActionKind::Undrain, ActionKind::SetWeight, ActionKind::ShiftZone];
    let builder = showing(&world).token(TOKEN).actions(kinds, |_| Ok(()));
    let served = Served::new(&builder.build().unwrap());
    page.prefer("prefers-color-scheme", "light");
    page.open(&served.url());
    page.wait_for(&format!("{ROWS} === 23"));
    // A chart has 90 seconds, which pass here in five.
    page.wait_for("[...model.balancers.values()][0].inFlight.written > 95");
    let brightness = "(() => {
        const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
        return (r + g + b) / 3;
    })()";
    assert!(page.evaluate(brightness).as_f64().unwrap() > 200.0);
    page.size(1400, 900, 1);
    sleep(Duration::from_millis(300));
    page.picture("light");
    page.size(1280, 760, 1);
    sleep(Duration::from_millis(300));
    page.picture("readme");
    page.size(1400, 900, 1);
    page.prefer("prefers-color-scheme", "dark");
    assert!(page.evaluate(brightness).as_f64().unwrap() < 60.0);
    page.picture("dark");
    page.evaluate("document.querySelector('.is-unhealthy button').click()");
    sleep(Duration::from_millis(300));
    page.picture("details");
    page.press("Escape");

    page.prefer("prefers-color-scheme", "light");
    page.size(375, 812, 2);
    page.wait_for("rowHeight > 40");
    assert_eq!(page.evaluate("document.documentElement.scrollWidth"), 375);
    page.picture("phone");
    page.evaluate("document.querySelector('.is-unhealthy button').click()");
    sleep(Duration::from_millis(300));
    assert_eq!(page.evaluate("document.getElementById('details').scrollWidth <= 375"), true);
    page.picture("phone-details");
    page.press("Escape");
    page.evaluate("document.querySelector('aside').scrollIntoView()");
    sleep(Duration::from_millis(300));
    page.picture("phone-events");

    page.prefer("prefers-reduced-motion", "reduce");
    let moves = "[...document.querySelectorAll('*')].filter(it => {
        const style = getComputedStyle(it);
        return style.animationName !== 'none' || style.transitionDuration.split(',').some(it => parseFloat(it) > 0);
    }).length";
    assert_eq!(page.evaluate(moves), 0);
    assert_eq!(page.complaints, Vec::<String>::new());
}
