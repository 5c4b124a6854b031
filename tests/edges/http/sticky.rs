//! Sticky sessions, as a browser sees them through a balancer.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use allocation_counter::measure;
use bytes::Bytes;
use futures::FutureExt;
use http::{
    HeaderValue, Request, Response,
    header::{COOKIE, SET_COOKIE},
};
use http_body_util::Empty;
use proptest::{prelude::*, test_runner::RngSeed};
use tokio::time::advance;
use tower::Service;
use tower_lb::{
    balance::{Builder, Driver},
    discover::{self, Channel, Handle},
    endpoint::{Endpoint, Health, Tried},
    http::{
        HttpStatus, UntilBodyEnd,
        sticky::{
            Affinity, SameSite, SessionKey, Sessions, SessionsBuilder, Sticky, StickyBalancer,
            WhenDraining,
        },
    },
    load::Now,
    strategy::{
        BuildContext, Candidates, LeastLoaded, P2c, Pick, PickContext, Random, Rng, RoundRobin,
        Split, Strategy, Subset,
    },
};
use tower_lb_test_support::drive;

/// Tells its name, and does what the request asks for.
#[derive(Clone)]
struct Server {
    name: Arc<str>,
    hold: Arc<AtomicBool>,
}

type Answer = Response<Empty<Bytes>>;

impl Server {
    fn new(name: &str) -> Self {
        Self { name: name.into(), hold: Arc::default() }
    }
}

impl Service<Request<()>> for Server {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let mut answer = Response::builder().header("server", &*self.name);
        if let Some(cookie) = request.headers().get("set") {
            answer = answer.header(SET_COOKIE, cookie);
        }
        if let Some(status) = request.headers().get("status") {
            answer = answer.status(status.to_str().unwrap());
        }
        let answer = answer.body(Empty::new()).unwrap();
        if self.hold.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(Ok(answer)))
    }
}

type RoundRobinSite = Driver<Channel<String, Server>, Sticky<RoundRobin>>;

/// A balancer over servers that the test changes.
struct Site {
    handle: Handle<String, Server>,
    balancer: StickyBalancer<Server, Sticky<RoundRobin>, UntilBodyEnd>,
    driver: Pin<Box<RoundRobinSite>>,
}

const LIFETIME: Duration = Duration::from_secs(1000);

fn key(byte: u8) -> SessionKey {
    SessionKey::new([byte; 32]).unwrap()
}

fn settings() -> SessionsBuilder {
    Sessions::builder(key(1)).cookie("lb").lifetime(LIFETIME)
}

impl Site {
    /// With servers a, b and c, which take turns.
    fn new(settings: SessionsBuilder) -> Self {
        Self::limited(settings, None)
    }

    fn limited(settings: SessionsBuilder, limit: Option<u32>) -> Self {
        let sessions = settings.build().unwrap();
        let (handle, stream) = discover::channel();
        let builder = Builder::http().track(sessions.track(UntilBodyEnd::new(HttpStatus)));
        let builder = limit.into_iter().fold(builder, |b, limit| b.max_outstanding(limit));
        let strategy = sessions.stick(RoundRobin::starting_at(0));
        let (balancer, driver) = builder.build(strategy, stream).unwrap();
        let mut site = Self { handle, balancer, driver: Box::pin(driver) };
        for name in ["a", "b", "c"] {
            site.insert(Server::new(name));
        }
        site
    }

    fn insert(&mut self, server: impl Into<Endpoint<Server>>) {
        let server = server.into();
        self.handle.insert(server.target().name.to_string(), server).unwrap();
        drive(&mut self.driver);
    }

    fn remove(&mut self, name: &str) {
        self.handle.remove(name.to_owned()).unwrap();
        drive(&mut self.driver);
    }

    fn send(&mut self, request: Request<()>) -> Option<Visit> {
        let answer = self.balancer.call(request).now_or_never()?.unwrap();
        let set = answer.headers().get_all(SET_COOKIE).iter();
        Some(Visit {
            server: answer.headers()["server"].to_str().unwrap().to_owned(),
            cookies: set.map(|value| value.to_str().unwrap().to_owned()).collect(),
        })
    }
}

struct Visit {
    server: String,
    cookies: Vec<String>,
}

/// Keeps cookies, as far as it matters here.
#[derive(Clone, Default)]
struct Browser {
    jar: Vec<(String, String)>,
}

impl Browser {
    fn keep(&mut self, cookie: &str) {
        let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
        self.jar.retain(|(other, _)| other != name);
        self.jar.push((name.into(), value.into()));
    }

    fn request(&self, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in &self.jar {
            request.headers_mut().append(COOKIE, format!("{name}={value}").parse().unwrap());
        }
        for &(name, value) in headers {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    }

    /// Who answers, and which cookies are set.
    fn ask(&mut self, site: &mut Site, headers: &[(&'static str, &str)]) -> (String, Vec<String>) {
        let visit = site.send(self.request(headers)).expect("waits");
        visit.cookies.iter().for_each(|cookie| self.keep(cookie));
        (visit.server, visit.cookies)
    }

    /// Who answers; the session must be as it was.
    fn stays(&mut self, site: &mut Site) -> String {
        let (server, cookies) = self.ask(site, &[]);
        assert!(cookies.is_empty(), "{cookies:?}");
        server
    }

    /// Who answers; a cookie must be issued.
    fn begins(&mut self, site: &mut Site) -> String {
        let (server, cookies) = self.ask(site, &[]);
        assert_eq!(cookies.len(), 1);
        server
    }

    fn value(&self, name: &str) -> &str {
        &self.jar.iter().find(|(other, _)| other == name).unwrap().1
    }
}

/// A browser whose session is at this server.
fn visitor(site: &mut Site, of: &str) -> Browser {
    let mut servers = std::iter::repeat_with(|| {
        let mut browser = Browser::default();
        (browser.begins(site), browser)
    });
    servers.find(|(server, _)| server == of).unwrap().1
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_and_its_cookie_is_set_once() {
    let mut site = Site::new(settings());
    let mut browsers = [(); 7].map(|()| Browser::default());
    let servers = browsers.each_mut().map(|browser| browser.begins(&mut site));
    assert_eq!(servers.iter().collect::<BTreeSet<_>>().len(), 3, "new ones are spread");
    for _ in 0..3 {
        for (browser, server) in browsers.iter_mut().zip(&servers) {
            assert_eq!(browser.stays(&mut site), *server);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_cookie_says_nothing_and_has_the_attributes_asked_for() {
    let cookie = |settings: SessionsBuilder| {
        Browser::default().ask(&mut Site::new(settings), &[]).1.remove(0)
    };
    let set = cookie(settings());
    let (value, attributes) = set.strip_prefix("lb=").unwrap().split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; Max-Age=1000; HttpOnly; Secure; SameSite=Lax");
    assert_eq!(value.len(), 54);
    let plain = settings().secure(false).http_only(false).same_site(SameSite::Strict);
    let set = cookie(plain.path("/shop").domain("example.com").browser_session());
    assert!(set.ends_with("; Path=/shop; Domain=example.com; SameSite=Strict"), "{set}");
    let set = cookie(Sessions::builder(key(1)).same_site(SameSite::None).cookie("__Host-lb"));
    assert!(set.starts_with("__Host-lb=") && set.ends_with("; Secure; SameSite=None"), "{set}");
    let embedded = Sessions::builder(key(1)).same_site(SameSite::None).partitioned(true);
    let set = cookie(embedded.cookie("__Host-Http-lb"));
    assert!(set.ends_with("; HttpOnly; Secure; SameSite=None; Partitioned"), "{set}");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_by_use_and_ends_without() {
    let mut site = Site::new(settings());
    let mut browser = visitor(&mut site, "b");
    advance(LIFETIME / 10 - Duration::from_millis(1)).await;
    assert_eq!(browser.stays(&mut site), "b");
    advance(Duration::from_millis(1)).await;
    for _ in 0..5 {
        assert_eq!(browser.begins(&mut site), "b", "renewed");
        advance(LIFETIME - Duration::from_millis(1)).await;
    }
    assert_eq!(browser.begins(&mut site), "b");
    let stale = browser.clone();
    advance(LIFETIME).await;
    let servers: BTreeSet<_> = (0..3).map(|_| stale.clone().begins(&mut site)).collect();
    assert_eq!(servers.len(), 3, "a session that is over decides nothing");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_renewed_ends_with_its_lifetime() {
    let mut site = Site::new(settings().renewed(false));
    let mut browser = visitor(&mut site, "b");
    for _ in 0..4 {
        advance(LIFETIME / 5).await;
        assert_eq!(browser.stays(&mut site), "b", "without another cookie");
    }
    advance(LIFETIME / 5).await;
    let stale = browser.clone();
    let servers: BTreeSet<_> = (0..3).map(|_| stale.clone().begins(&mut site)).collect();
    assert_eq!(servers.len(), 3, "a session that is over decides nothing");
}

#[tokio::test(start_paused = true)]
async fn a_session_moves_when_its_endpoint_is_gone_or_unhealthy() {
    let mut site = Site::new(settings());
    let [mut gone, mut sick] = ["a", "b"].map(|server| visitor(&mut site, server));
    let mut kept = gone.clone();
    site.remove("a");
    let moved = gone.begins(&mut site);
    assert_ne!(moved, "a");
    assert_eq!(gone.stays(&mut site), moved);
    site.insert(Endpoint::new(Server::new("b")).with_health(Health::unhealthy("down")));
    let mut sick_before = sick.clone();
    assert_eq!(sick.begins(&mut site), "c");
    site.insert(Server::new("a"));
    site.insert(Server::new("b"));
    assert_eq!(sick.stays(&mut site), "c");
    assert_eq!(sick_before.stays(&mut site), "b");
    assert_eq!(kept.stays(&mut site), "a", "known by name, not by instance");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_back_under_another_name_is_another_home() {
    let mut site = Site::new(settings());
    for name in ["a", "b", "c"] {
        site.remove(name);
    }
    let endpoint = Endpoint::new(Server::new("a"));
    site.insert(endpoint.clone());
    let mut browser = visitor(&mut site, "a");
    site.remove("a");
    site.handle.insert("z".to_owned(), endpoint).unwrap();
    drive(&mut site.driver);
    browser.begins(&mut site);
    browser.stays(&mut site);
}

#[tokio::test(start_paused = true)]
async fn a_draining_endpoint_gives_its_sessions_up_or_keeps_them() {
    let draining = |name| Endpoint::new(Server::new(name)).with_health(Health::draining("deploy"));
    for drained in [draining("b"), Endpoint::new(Server::new("b")).with_weight(0)] {
        let mut site = Site::new(settings());
        let mut browser = visitor(&mut site, "b");
        site.insert(drained.clone());
        assert_ne!(browser.begins(&mut site), "b");

        let mut site = Site::new(settings().when_draining(WhenDraining::Stay));
        let mut browser = visitor(&mut site, "b");
        site.insert(drained);
        assert_eq!(browser.stays(&mut site), "b");
        for _ in 0..6 {
            assert_ne!(Browser::default().begins(&mut site), "b", "no new ones");
        }
        site.insert(Endpoint::new(Server::new("b")).with_health(Health::unhealthy("down")));
        assert_ne!(browser.begins(&mut site), "b", "unhealthy is unhealthy");
    }
    let mut site = Site::new(settings().when_draining(WhenDraining::Stay));
    let mut browser = visitor(&mut site, "b");
    let down = Endpoint::new(Server::new("b")).with_health(Health::unhealthy("down"));
    site.insert(down.with_weight(0));
    assert_ne!(browser.begins(&mut site), "b", "down and weightless is not draining");
}

#[tokio::test(start_paused = true)]
async fn a_full_endpoint_is_passed_over_or_waited_for() {
    for (affinity, waits) in [(Affinity::Preferred, false), (Affinity::Strict, true)] {
        let mut site = Site::limited(settings().affinity(affinity), Some(1));
        let mut browser = visitor(&mut site, "a");
        let held = Server::new("a");
        held.hold.store(true, Ordering::SeqCst);
        site.insert(held.clone());
        let busy = site.balancer.call(browser.request(&[]));
        held.hold.store(false, Ordering::SeqCst);
        if waits {
            let mut waiting = Box::pin(site.balancer.call(browser.request(&[])));
            assert!(waiting.as_mut().now_or_never().is_none());
            drop(busy);
            let answer = waiting.now_or_never().unwrap().unwrap();
            assert_eq!(answer.headers()["server"], "a");
            assert!(!answer.headers().contains_key(SET_COOKIE));
        } else {
            assert_ne!(browser.stays(&mut site), "a", "elsewhere, for once");
            drop(busy);
        }
        assert_eq!(browser.stays(&mut site), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_begins_with_a_request_that_had_to_wait() {
    let mut site = Site::limited(settings(), Some(1));
    let servers = ["a", "b", "c"].map(Server::new);
    for server in &servers {
        server.hold.store(true, Ordering::SeqCst);
        site.insert(server.clone());
    }
    let busy = [(); 3].map(|()| site.balancer.call(Request::new(())));
    let mut waiting = Box::pin(site.balancer.call(Request::new(())));
    assert!(waiting.as_mut().now_or_never().is_none());
    servers.iter().for_each(|server| server.hold.store(false, Ordering::SeqCst));
    drop(busy);
    let answer = waiting.now_or_never().unwrap().unwrap();
    let mut browser = Browser::default();
    browser.keep(answer.headers()[SET_COOKIE].to_str().unwrap());
    drop(answer);
    assert_eq!(browser.stays(&mut site), browser.stays(&mut site));
}

/// New sessions are spread by the inner strategy, and stay where it put them.
fn check_over<St: Strategy<Picker: Pick<Request<()>>>>(inner: St) {
    let sessions = settings().build().unwrap();
    let builder = Builder::http().track(sessions.track(UntilBodyEnd::new(HttpStatus)));
    let servers = ["a", "b", "c", "d"].map(|name| (name, Endpoint::new(Server::new(name))));
    let strategy = sessions.stick(inner);
    let (mut balancer, driver) = builder.build(strategy, discover::list(servers)).unwrap();
    drive(&mut Box::pin(driver));
    let mut ask = |browser: &mut Browser| {
        let answer = balancer.call(browser.request(&[])).now_or_never().unwrap().unwrap();
        let set = answer.headers().get(SET_COOKIE);
        set.into_iter().for_each(|set| browser.keep(set.to_str().unwrap()));
        answer.headers()["server"].to_str().unwrap().to_owned()
    };
    let mut browsers = vec![Browser::default(); 40];
    let homes: Vec<_> = browsers.iter_mut().map(&mut ask).collect();
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 4);
    for _ in 0..25 {
        assert_eq!(browsers.iter_mut().map(&mut ask).collect::<Vec<_>>(), homes);
    }
}

#[test]
fn sessions_go_around_any_strategy() {
    check_over(RoundRobin::new());
    check_over(Random);
    check_over(P2c::default());
    check_over(LeastLoaded::peak_ewma());
    let split = Split::builder().group("a", 1, |c| c.name() == "a", P2c::default());
    check_over(split.group("others", 3, |_| true, P2c::default()).build().unwrap().0);
    check_over(Subset::new(P2c::default(), [("version", "2")]).or_any());
    check_over(settings().cookie("inner").build().unwrap().stick(P2c::default()));
}

/// Candidates, and the picker over them.
fn picker<St: Strategy>(
    sessions: &Sessions,
    inner: St,
    endpoints: &[Endpoint<&'static str>],
) -> <Sticky<St> as Strategy>::Picker {
    let mut strategy = sessions.stick(inner);
    let named = endpoints.iter().map(|endpoint| (endpoint.target(), endpoint));
    let candidates = Candidates::for_strategy(&strategy, named);
    strategy.build(&candidates, &mut BuildContext::new()).into_picker()
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_elsewhere_and_the_session_with_it_unless_it_must_not() {
    for (affinity, moves) in [(Affinity::Preferred, true), (Affinity::Strict, false)] {
        let mut site = Site::new(settings());
        let request = visitor(&mut site, "a").request(&[]);
        let endpoints = ["a", "b"].map(Endpoint::new);
        let sessions = settings().affinity(affinity).build().unwrap();
        let picker = picker(&sessions, P2c::default(), &endpoints);
        let (mut rng, mut tried) = (Rng::seeded(1), Tried::none());
        let mut pick = |tried: &Tried| {
            let mut context = PickContext::new(&mut rng, Now::lazy(), tried);
            let name = picker.pick(&request, &mut context).unwrap().name().to_owned();
            (name, context.metadata() != 0)
        };
        assert_eq!(pick(&tried), ("a".into(), false));
        tried.add(endpoints[0].stats());
        let expected = if moves { ("b".into(), true) } else { ("a".into(), false) };
        assert_eq!(pick(&tried), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn older_keys_are_accepted_and_their_cookies_replaced() {
    let with = |signs: u8| Sessions::builder(key(signs)).cookie("lb").lifetime(LIFETIME);
    let mut old = Site::new(with(1));
    let mut browser = visitor(&mut old, "b");
    let mut stranger = browser.clone();
    let mut both = Site::new(with(2).also_accept(key(1)));
    assert_eq!(browser.begins(&mut both), "b", "stays, under the new key");
    assert_eq!(browser.stays(&mut both), "b");
    let mut new = Site::new(with(2));
    assert_eq!(browser.stays(&mut new), "b", "other balancers with the key agree");
    stranger.begins(&mut new);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_follows_the_application_begins_and_ends_with_its_cookie() {
    let mut site = Site::new(settings().follow("app"));
    let mut browser = Browser::default();
    for _ in 0..3 {
        browser.stays(&mut site);
    }
    let (server, set) = browser.ask(&mut site, &[("set", "app=one; Path=/")]);
    assert_eq!(set.len(), 2);
    assert_eq!(set[0], "app=one; Path=/", "the application's own is kept");
    for _ in 0..3 {
        assert_eq!(browser.stays(&mut site), server);
    }
    advance(LIFETIME / 2).await;
    assert_eq!(browser.begins(&mut site), server, "renewed");

    let anywhere = |site: &mut Site, browser: &Browser| {
        let servers: BTreeSet<_> = (0..3).map(|_| browser.clone().stays(site)).collect();
        servers.len() == 3
    };
    let mut other = browser.clone();
    other.keep("app=two");
    assert!(anywhere(&mut site, &other), "bound to its value");
    let mut without = browser.clone();
    without.jar.retain(|(name, _)| name == "lb");
    assert!(anywhere(&mut site, &without));
    let mut forged = browser.clone();
    forged.keep(&format!("lb={}", "A".repeat(54)));
    assert!(anywhere(&mut site, &forged), "no session, and none begins");

    let long = format!("app={}", "x".repeat(4097));
    let mut overlong = browser.clone();
    let (_, set) = overlong.ask(&mut site, &[("set", &long)]);
    assert_eq!(set, [long], "too long for a session");
    assert!(anywhere(&mut site, &overlong));
    let (_, set) = overlong.ask(&mut site, &[("set", &format!("app={}", "x".repeat(4096)))]);
    assert_eq!(set.len(), 2);

    let (_, set) = browser.clone().ask(&mut site, &[("set", "app=; Max-Age=0")]);
    assert_eq!(set.len(), 1, "the application ends its session");
    site.remove(&server);
    let moved = browser.begins(&mut site);
    assert_ne!(moved, server);
    assert_eq!(browser.stays(&mut site), moved, "moves without the application");
}

#[tokio::test(start_paused = true)]
async fn no_session_begins_with_a_server_error() {
    let mut site = Site::new(settings());
    let mut browser = Browser::default();
    let set = browser.ask(&mut site, &[("status", "500"), ("set", "x=y")]).1;
    assert_eq!(set, ["x=y"]);
    browser.ask(&mut site, &[("status", "404"), ("set", "x=y")]);
    assert_eq!(browser.jar.len(), 2);
    let server = browser.stays(&mut site);
    assert_eq!(browser.ask(&mut site, &[("status", "503")]).0, server, "nor does one end");
    assert_eq!(browser.stays(&mut site), server);
}

#[tokio::test(start_paused = true)]
async fn the_first_valid_cookie_counts_of_the_first_four() {
    let mut site = Site::new(settings());
    let [a, b] = ["a", "b"].map(|server| visitor(&mut site, server).value("lb").to_owned());
    let ask = |site: &mut Site, header: String| {
        let request = Request::builder().header(COOKIE, header).body(()).unwrap();
        let visit = site.send(request).unwrap();
        visit.cookies.is_empty().then_some(visit.server)
    };
    let first = ask(&mut site, format!("x=1; lb={a}; lb={b}"));
    assert_eq!(first.as_deref(), Some("a"));
    let fourth = ask(&mut site, format!("lb=x;lb=;lb={}; lb={b}", "A".repeat(54)));
    assert_eq!(fourth.as_deref(), Some("b"));
    assert_eq!(ask(&mut site, format!("lb=1; lb=2; lb=3; lb=4; lb={b}")), None);
}

#[test]
fn invalid_settings_are_rejected() {
    let short = SessionKey::new([1; 31]).unwrap_err();
    assert_eq!(short.to_string(), "`secret` is 31 bytes long: expected at least 32 random bytes");
    assert_eq!(format!("{:?}", key(1)), "SessionKey(..)");
    let with_keys = |keys: u8| (1..keys).fold(settings(), |all, byte| all.also_accept(key(byte)));
    let ok = |settings: SessionsBuilder| settings.build().is_ok();
    // The field and the value of the error.
    let error = |settings: SessionsBuilder| {
        let error = settings.build().unwrap_err();
        (error.field().to_owned(), error.value().unwrap().to_owned())
    };
    let about = |field: &str, value: &str| (field.to_owned(), value.to_owned());
    assert!(ok(with_keys(8)));
    assert_eq!(error(with_keys(9)), about("also_accept", "9"));
    for name in ["", "a b", "a=b", "a;b", "\u{e4}", "a\r\nb"] {
        assert_eq!(error(settings().cookie(name)), about("cookie", name));
        assert_eq!(error(settings().follow(name)), about("follow", name));
    }
    assert_eq!(error(settings().follow("lb")), about("follow", "lb"));
    let week = Duration::from_secs(604_800);
    for lifetime in [Duration::ZERO, Duration::from_millis(999), week + Duration::from_millis(1)] {
        let expected = about("lifetime", &format!("{lifetime:?}"));
        assert_eq!(error(settings().lifetime(lifetime)), expected);
    }
    assert!(ok(settings().lifetime(Duration::from_secs(1))) && ok(settings().lifetime(week)));
    for path in ["", "shop", "/a;b", "/a b", "/\n"] {
        assert_eq!(error(settings().path(path)), about("path", path));
    }
    for domain in ["", "a;b", "a b", "a/b"] {
        assert_eq!(error(settings().domain(domain)), about("domain", domain));
    }
    let insecure = settings().same_site(SameSite::None).secure(false);
    assert_eq!(error(insecure), about("same_site", "None"));
    let insecure = settings().partitioned(true).secure(false);
    assert_eq!(error(insecure), about("partitioned", "true"));
    let long = "a".repeat(1025);
    assert_eq!(error(settings().cookie(&*long)), about("cookie", &long));
    assert_eq!(error(settings().path(format!("/{long}"))), about("path", &format!("/{long}")));
    assert_eq!(error(settings().domain(&*long)), about("domain", &long));
    let prefixed = |name: &str| settings().cookie(name);
    assert!(ok(prefixed("__Host-a")) && ok(prefixed("__Secure-a").domain("example.com")));
    for wrong in [
        prefixed("__Secure-a").secure(false),
        prefixed("__host-a").secure(false),
        prefixed("__Host-a").domain("example.com"),
        prefixed("__Host-a").path("/shop"),
        prefixed("__Http-a").http_only(false),
        prefixed("__Http-a").secure(false),
        prefixed("__Host-Http-a").http_only(false),
        prefixed("__host-http-a").path("/shop"),
    ] {
        assert_eq!(error(wrong).0, "cookie");
    }
}

#[test]
fn a_pick_allocates_nothing() {
    let endpoints = ["a", "b", "c"].map(Endpoint::new);
    for settings in [settings(), settings().follow("app"), settings().also_accept(key(2))] {
        let mut site = Site::new(settings.clone());
        let mut browser = Browser::default();
        browser.ask(&mut site, &[("set", "app=one")]);
        let mut forged = browser.clone();
        forged.keep(&format!("lb={}", "A".repeat(54)));
        let requests = [Browser::default(), browser, forged].map(|browser| browser.request(&[]));
        let picker = picker(&settings.build().unwrap(), P2c::default(), &endpoints);
        let (mut rng, tried) = (Rng::seeded(1), Tried::none());
        let cost = measure(|| {
            for request in requests.iter().cycle().take(300) {
                let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
                assert!(picker.pick(request, &mut context).is_some());
            }
        });
        assert_eq!(cost.count_total, 0);
    }
}

fn seeded(cases: u32) -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(7), cases, ..ProptestConfig::default() }
}

/// Ways to spoil a value.
#[derive(Clone, Debug)]
enum Spoil {
    Replace(usize, char),
    Truncate(usize),
    Extend(String),
    Anything(Vec<u8>),
}

fn spoil() -> impl proptest::strategy::Strategy<Value = Spoil> {
    use proptest::strategy::Strategy as _;
    prop_oneof![
        (0_usize..54, "[A-Za-z0-9_=+/ -]")
            .prop_map(|(at, with)| Spoil::Replace(at, with.chars().next().unwrap())),
        (0_usize..54).prop_map(Spoil::Truncate),
        "[A-Za-z0-9_=.-]{1,60}".prop_map(Spoil::Extend),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Spoil::Anything),
    ]
}

proptest! {
    #![proptest_config(seeded(256))]

    /// Whatever is not what was issued is no session: one begins.
    #[test]
    fn spoilt_cookies_are_no_sessions(spoil in spoil(), follows: bool) {
        let settings = if follows { settings().follow("app") } else { settings() };
        let mut site = Site::new(settings);
        let mut browser = Browser::default();
        browser.ask(&mut site, &[("set", "app=one")]);
        let valid = browser.value("lb").to_owned();
        let spoilt = match spoil {
            Spoil::Replace(at, with) => {
                let mut spoilt = valid.clone();
                spoilt.replace_range(at..=at, &with.to_string());
                spoilt.into_bytes()
            }
            Spoil::Truncate(len) => valid.as_bytes()[..len].to_vec(),
            Spoil::Extend(by) => [valid.as_bytes(), by.as_bytes()].concat(),
            Spoil::Anything(bytes) => bytes,
        };
        prop_assume!(spoilt != valid.as_bytes());
        let header = [b"app=one; lb=", &*spoilt].concat();
        let Ok(header) = HeaderValue::from_bytes(&header) else { return Ok(()) };
        let request = Request::builder().header(COOKIE, header).body(()).unwrap();
        let visit = site.send(request).unwrap();
        prop_assert_eq!(visit.cookies.len(), usize::from(!follows));
    }
}

proptest! {
    #![proptest_config(seeded(64))]

    /// However endpoints come and go, a session is at the endpoint of its name while that is there.
    #[test]
    fn sessions_follow_names_through_all_changes(
        changes in prop::collection::vec((0_u8..8, 0_u8..4), 1..40),
    ) {
        let mut site = Site::new(settings());
        let mut sessions: Vec<(String, Browser)> = Vec::new();
        let mut present: BTreeSet<String> = ["a", "b", "c"].map(String::from).into();
        for (name, change) in changes {
            let name = char::from(b'a' + name).to_string();
            match change {
                0 if present.len() > 1 => {
                    site.remove(&name);
                    present.remove(&name);
                }
                1 => {
                    site.insert(Endpoint::new(Server::new(&name)).with_weight(3));
                    present.insert(name);
                }
                _ => {
                    site.insert(Server::new(&name));
                    present.insert(name);
                }
            }
            let mut browser = Browser::default();
            sessions.push((browser.begins(&mut site), browser));
            for (server, browser) in &mut sessions {
                let (answered, set) = browser.ask(&mut site, &[]);
                prop_assert_eq!(set.is_empty(), present.contains(server));
                prop_assert!(set.len() == 1 || answered == *server);
                *server = answered;
            }
        }
    }
}
