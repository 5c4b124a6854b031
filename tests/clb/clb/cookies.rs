use std::{process::Command, time::Duration};

use tokio::time::sleep;
use tower_lb::{
    clb::{ClassicProtocol, CookiePolicy, InstanceState},
    http::sticky::SessionKey,
};

use crate::{
    balancer::{Clb, before, listener, quick, until},
    instance::{Instance, instances, served_by},
    tools::{Directory, is_installed, output},
};

fn key() -> SessionKey {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).unwrap();
    SessionKey::new(secret).unwrap()
}

async fn sticky(instances: &[&Instance], policy: CookiePolicy) -> Clb {
    let listener = listener(ClassicProtocol::Http, instances[0].port()).cookies(policy);
    let check = quick(&format!("HTTP:{}/health", instances[0].port()));
    Clb::ready(before(instances).listener(listener).health_check(check), instances.len()).await
}

/// Returns the first `Set-Cookie` of a response with this name.
fn set_cookie<'r>(response: &'r str, name: &str) -> Option<&'r str> {
    let head = response.split("\r\n\r\n").next()?;
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let mut cookies = fields.filter(|(field, _)| field.eq_ignore_ascii_case("set-cookie"));
    cookies.find_map(|(_, cookie)| cookie.starts_with(&format!("{name}=")).then_some(cookie))
}

fn pair(cookie: &str) -> &str {
    cookie.split(';').next().unwrap()
}

/// Asks ten times, and returns the names of the instances that have answered, without repetition.
async fn ask(clb: &Clb, cookies: &str) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..10 {
        // One that waits keeps the other instance the less loaded.
        let line = format!("Cookie: {cookies}\r\n");
        names.push(served_by(&clb.get_from(0, "/", &line).await).to_owned());
    }
    names.sort_unstable();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duration_is_not_prolonged() {
    let [a, b] = instances(["a", "b"]).await;
    let clb = sticky(&[&a, &b], CookiePolicy::duration(key(), Duration::from_secs(5))).await;
    let first = clb.get("/").await;
    let cookie = set_cookie(&first, "AWSELB").unwrap();
    assert!(cookie.to_lowercase().contains("max-age=5"), "{cookie}");
    assert!(set_cookie(&first, "AWSELBCORS").is_none(), "browsers refuse it over HTTP");
    assert_eq!(ask(&clb, pair(cookie)).await, [served_by(&first)]);
    let line = format!("Cookie: {}\r\n", pair(cookie));
    sleep(Duration::from_millis(1000)).await;
    let later = clb.get_from(0, "/", &line).await;
    assert_eq!(served_by(&later), served_by(&first));
    assert!(set_cookie(&later, "AWSELB").is_none(), "{later}");
    sleep(Duration::from_millis(4200)).await;
    let over = clb.get_from(0, "/", &line).await;
    assert!(set_cookie(&over, "AWSELB").is_some(), "another session: {over}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_moves_with_the_health_of_its_instance() {
    let [a, b] = instances(["a", "b"]).await;
    let clb = sticky(&[&a, &b], CookiePolicy::browser_session(key())).await;
    let first = clb.get("/").await;
    let cookie = set_cookie(&first, "AWSELB").unwrap();
    let lower = cookie.to_lowercase();
    assert!(!lower.contains("max-age") && !lower.contains("expires"), "{cookie}");
    assert_eq!(ask(&clb, pair(cookie)).await, [served_by(&first)]);
    let (home, other) = if served_by(&first) == "a" { (&a, "b") } else { (&b, "a") };
    home.state.health.store(500, std::sync::atomic::Ordering::SeqCst);
    until("it is out of service", || {
        let status = clb.handle.status();
        status.instances.iter().any(|one| one.state == InstanceState::OutOfService)
            && status.listeners[0].instances.iter().any(|one| !one.health.is_serving())
    })
    .await;
    let moved = clb.get_from(0, "/", &format!("Cookie: {}\r\n", pair(cookie))).await;
    assert_eq!(served_by(&moved), other);
    assert!(set_cookie(&moved, "AWSELB").is_some(), "{moved}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_begins_and_ends_a_session() {
    let [a, b] = instances(["a", "b"]).await;
    let clb = sticky(&[&a, &b], CookiePolicy::application(key(), "session")).await;
    assert!(set_cookie(&clb.get("/").await, "AWSELB").is_none(), "no cookie of the application");
    let login = clb.get("/login").await;
    let cookie = pair(set_cookie(&login, "AWSELB").unwrap());
    assert_eq!(ask(&clb, &format!("session=abc; {cookie}")).await, [served_by(&login)]);
    // Without the cookie of the application, or with another value of it, there is no session.
    let busy = if served_by(&login) == "a" { &a } else { &b };
    let both = format!("Cookie: session=abc; {cookie}\r\n");
    let held = clb.get_from(0, "/hold", &both);
    let others = async {
        until("its instance is the more loaded one", || {
            clb.handle.status().listeners[0].instances.iter().any(|one| one.outstanding == 1)
        })
        .await;
        for cookies in [cookie.to_owned(), format!("session=other; {cookie}")] {
            assert_ne!(ask(&clb, &cookies).await, [served_by(&login)], "{cookies}");
        }
        busy.state.held.add_permits(1);
    };
    tokio::join!(held, others);
    assert!(set_cookie(&clb.get("/logout").await, "AWSELB").is_none());
}

/// curl keeps the cookies and sends them, as a browser does.
#[tokio::test(flavor = "multi_thread")]
async fn curl_stays_at_its_instance() {
    if !is_installed("curl", "--version") {
        return;
    }
    let [a, b, c] = instances(["a", "b", "c"]).await;
    let policy = CookiePolicy::duration(key(), Duration::from_secs(60)).cookie_name("STICK");
    let clb = sticky(&[&a, &b, &c], policy).await;
    let directory = Directory::new("clb-cookies");
    let jar = directory.path().join("jar");
    let mut names = Vec::new();
    for _ in 0..6 {
        let mut curl = Command::new("curl");
        curl.arg("-sS").arg("-b").arg(&jar).arg("-c").arg(&jar);
        curl.arg(format!("http://{}/", clb.addresses[0]));
        names.push(served_by(&output(curl).await).to_owned());
    }
    names.dedup();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(std::fs::read_to_string(&jar).unwrap().contains("STICK"));
}
