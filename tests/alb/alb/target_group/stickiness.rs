//! Sessions, by curl's cookie jar.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header::SET_COOKIE};
use hyper::body::Incoming;
use tower_lb::{
    alb::{TargetGroup, TargetGroupBuilder, target_group::Stickiness},
    http::sticky::SessionKey,
};

use super::backend::{Backend, Body, checks, curl, front, get, group, healthy, send, until};

fn key(byte: u8) -> SessionKey {
    SessionKey::new([byte; 32]).unwrap()
}

/// A server that says its name, and sets a cookie if asked.
async fn named(name: &'static str) -> Backend {
    Backend::answering(move |request| async move {
        let response = Response::builder();
        let response = match request.uri().path() {
            "/login" => response.header(SET_COOKIE, "JSESSIONID=1234; Path=/"),
            _ => response,
        };
        response.body(Body::from(name)).unwrap()
    })
    .await
}

struct Jar(PathBuf);

impl Jar {
    fn new(name: &str) -> Self {
        let file = format!("tower-lb-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(file))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Jar {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn served(name: &str, backends: [&Backend; 3]) -> TargetGroupBuilder<Incoming> {
    TargetGroup::builder(name)
        .targets(backends.map(|backend| backend.address))
        .health_checks(checks())
        .unrestricted()
}

#[tokio::test]
async fn a_browser_stays_at_its_target_until_that_is_gone() {
    let [a, b, c] = [named("a").await, named("b").await, named("c").await];
    let group = served("shop", [&a, &b, &c])
        .stickiness(Stickiness::load_balancer_cookie(key(1)))
        .spawn()
        .unwrap();
    until("all are healthy", || group.group_health().healthy == 3).await;
    let address = front(group.clone()).await;
    let (jar, url) = (Jar::new("sticky"), format!("http://{address}/"));
    let arguments = ["--cookie", jar.path(), "--cookie-jar", jar.path(), &url];
    let browse = || curl(&arguments);
    let Some(first) = browse().await else { return };
    for _ in 0..8 {
        assert_eq!(browse().await.unwrap(), first);
    }
    let cookies = std::fs::read_to_string(jar.path()).unwrap();
    assert!(cookies.contains("AWSALB\t") && cookies.contains("AWSALBCORS\t"), "{cookies}");
    // Without the jar, requests are balanced.
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(curl(&[&url]).await.unwrap());
    }
    assert!(others.iter().any(|name| *name != first));
    let home = [("a", &a), ("b", &b), ("c", &c)].into_iter().find(|(name, _)| **name == *first);
    group.targets().deregister(&home.unwrap().1.id());
    until("two targets are left", || group.health().len() == 2).await;
    let second = browse().await.unwrap();
    assert_ne!(second, first);
    for _ in 0..5 {
        assert_eq!(browse().await.unwrap(), second);
    }
}

#[tokio::test]
async fn a_session_follows_the_cookie_of_the_application() {
    let [a, b, c] = [named("a").await, named("b").await, named("c").await];
    let group = served("app", [&a, &b, &c])
        .stickiness(Stickiness::application_cookie(key(1), "JSESSIONID"))
        .spawn()
        .unwrap();
    until("all are healthy", || group.group_health().healthy == 3).await;
    let address = front(group).await;
    let (jar, url) = (Jar::new("app"), format!("http://{address}/"));
    let login = format!("{url}login");
    let Some(home) = curl(&["--cookie-jar", jar.path(), &login]).await else { return };
    let cookies = std::fs::read_to_string(jar.path()).unwrap();
    assert!(cookies.contains("AWSALBAPP-0\t") && cookies.contains("JSESSIONID\t1234"), "{cookies}");
    for _ in 0..6 {
        assert_eq!(curl(&["--cookie", jar.path(), &url]).await.unwrap(), home);
    }
    // The load balancer's cookie alone, or with another session, is worth nothing.
    let forged = cookies.replace("1234", "1235");
    std::fs::write(jar.path(), forged).unwrap();
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(curl(&["--cookie", jar.path(), &url]).await.unwrap());
    }
    assert!(names.iter().any(|name| *name != home));
}

fn cookies(response: &Response<Bytes>) -> Vec<String> {
    let values = response.headers().get_all(SET_COOKIE).iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn cookies_are_those_of_the_alb_and_of_this_group_only() {
    let [a, b] = [Backend::good().await, Backend::good().await];
    let sticky = |name: &str, key| {
        let group = group(&[&a, &b]);
        let _ = name;
        group.stickiness(Stickiness::load_balancer_cookie(key).duration(Duration::from_secs(60)))
    };
    let group = sticky("test", key(1)).spawn().unwrap();
    healthy(&group, 2).await;
    let issued = cookies(&send(&group, get("/")).await.unwrap());
    let [own, cross_site] = &issued[..] else { panic!("{issued:?}") };
    assert!(own.starts_with("AWSALB=") && own.contains("; Max-Age=60") && !own.contains("Secure"));
    assert!(cross_site.starts_with("AWSALBCORS="), "{cross_site}");
    assert!(cross_site.contains("; Secure") && cross_site.contains("; SameSite=None"));
    let token = own["AWSALB=".len()..].split(';').next().unwrap();
    let with = |name: &str| {
        Request::get("/").header("cookie", format!("{name}={token}")).body(Body::default()).unwrap()
    };
    // Either cookie names the session, so no other is issued.
    for name in ["AWSALB", "AWSALBCORS"] {
        assert!(cookies(&send(&group, with(name)).await.unwrap()).is_empty(), "{name}");
    }
    // A token of another group or another key is not valid.
    let other_group = TargetGroup::builder("other")
        .targets([a.address, b.address])
        .stickiness(Stickiness::load_balancer_cookie(key(1)))
        .spawn()
        .unwrap();
    let other_key = sticky("test", key(2)).spawn().unwrap();
    for group in [other_group, other_key] {
        assert_eq!(cookies(&send(&group, with("AWSALB")).await.unwrap()).len(), 2);
    }
}
