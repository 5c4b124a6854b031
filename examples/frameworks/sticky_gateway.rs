//! A gateway that uses a cookie to send each visitor to the backend with its session, until that
//! backend drains. `cargo run -p tower-lb-framework-examples --example sticky_gateway`

use std::{error::Error as StdError, time::Duration};

use axum::{Router, body::Body};
use futures::future::try_join_all;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::Bytes,
    header::{COOKIE, HeaderValue, SET_COOKIE},
};
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_lb::{
    Endpoint,
    balance::Builder,
    discover::{self, DiscoverExt},
    endpoint::Health,
    http::{
        Client, Gateway, HttpStatus, Origin, Pool, UntilBodyEnd,
        sticky::{SessionKey, Sessions},
    },
    strategy::RoundRobin,
};
use tower_lb_examples::backend::Backend;

type BoxError = Box<dyn StdError + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let latency = Duration::from_millis(1);
    let backends =
        try_join_all(["red", "green", "blue"].map(|name| Backend::start(name, latency))).await?;

    // Gateways that share sessions share the key. In production, it comes from a secret store.
    let sessions = Sessions::builder(SessionKey::new([7; 32])?)
        .cookie("session-at")
        .lifetime(Duration::from_secs(3600))
        .build()?;
    let (handle, endpoints) = discover::channel();
    let balancer = Builder::http()
        .track(sessions.track(UntilBodyEnd::new(HttpStatus)))
        .fail_fast(Duration::from_secs(1))
        .spawn(
            sessions.stick(RoundRobin::starting_at(0)),
            endpoints.connect(Pool::new().connector::<Body>()),
        )?;
    for backend in &backends {
        handle.insert(backend.name, Origin::from(backend.address))?;
    }

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let gateway = Origin::from(listener.local_addr()?);
    let app = Router::new().fallback_service(Gateway::new(balancer.clone()));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let mut visitors = ["Ann", "Bob", "Cleo", "Dan", "Eve", "Finn"].map(|name| Visitor {
        name,
        client: Pool::new().client(gateway.clone()),
        cookie: None,
    });
    print!("{:28}", "");
    visitors.iter().for_each(|visitor| print!("{:8}", visitor.name));
    println!("cookies set");
    round("first visit", &mut visitors).await?;
    round("next visits", &mut visitors).await?;
    round("", &mut visitors).await?;

    let green = Endpoint::new(Origin::from(backends[1].address));
    let draining = green.clone().with_health(Health::draining("deploy"));
    handle.insert("green", draining)?;
    while balancer.status().endpoints.iter().all(|e| e.attributes.health().is_serving()) {
        tokio::task::yield_now().await;
    }
    round("green drains", &mut visitors).await?;
    round("", &mut visitors).await?;

    handle.insert("green", green)?;
    while balancer.status().endpoints.iter().any(|e| !e.attributes.health().is_serving()) {
        tokio::task::yield_now().await;
    }
    round("green is back", &mut visitors).await?;

    visitors[0].cookie = Some(HeaderValue::from_static("session-at=forged"));
    round("Ann's cookie is forged", &mut visitors).await?;

    println!("\nAnn's new cookie: {:?}\n", visitors[0].cookie);
    println!("{}", balancer.status());
    Ok(())
}

/// A browser that keeps one cookie.
struct Visitor {
    name: &'static str,
    client: Client<Empty<Bytes>>,
    cookie: Option<HeaderValue>,
}

impl Visitor {
    /// Sends a request; returns the name of the backend, and whether it set a cookie.
    async fn visit(&mut self) -> Result<(String, bool), BoxError> {
        let mut request = Request::new(Empty::new());
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert(COOKIE, cookie.clone());
        }
        let response = self.client.clone().oneshot(request).await?;
        let set = response.headers().get(SET_COOKIE).cloned();
        if let Some(set) = &set {
            let pair = set.to_str()?.split(';').next().unwrap_or_default();
            self.cookie = Some(pair.parse()?);
        }
        let backend = response.into_body().collect().await?.to_bytes();
        Ok((String::from_utf8_lossy(&backend).into_owned(), set.is_some()))
    }
}

async fn round(title: &str, visitors: &mut [Visitor]) -> Result<(), BoxError> {
    print!("{title:28}");
    let mut cookies = 0;
    for visitor in visitors {
        let (backend, cookie) = visitor.visit().await?;
        cookies += u32::from(cookie);
        print!("{backend:8}");
    }
    println!("{cookies}");
    Ok(())
}
