//! A rule with a login that rewrites requests: the browser's address is that of the login, and the
//! rewritten one that of the target.

use std::convert::Infallible;

use http::Request;
use tower::{Layer, ServiceExt, layer::layer_fn};
use tower_lb::{
    BoxError,
    rules::{Condition, Rule, Rules},
};

use super::{
    browser::{Browser, location},
    edge::{field, serve},
    logins::builder,
    scripted_provider::ScriptedProvider,
};

#[tokio::test]
async fn a_login_sees_the_address_of_the_browser_and_the_target_the_rewritten_one() {
    let provider = ScriptedProvider::start().await;
    let oidc = builder(&provider).build().unwrap();
    let edge = serve(layer_fn(move |target| {
        let service = oidc.layer(target);
        // The path of the callback is rewritten as well.
        let rule = Rule::new(1, service.clone())
            .when(Condition::any())
            .rewrite_host("^.*$", "internal.test")
            .rewrite_url("^/(.*)$", "/v2/$1");
        let rules = Rules::builder(service).rule(rule).build().unwrap();
        rules.map_err(|error: BoxError| -> Infallible { panic!("{error}") })
    }))
    .await;
    let mut browser = Browser::default();
    let begun = browser.get(edge, "/app?x=1").await;
    let back = format!("redirect_uri=http%3A%2F%2F127.0.0.1%3A{}%2Foauth2%2F", edge.port());
    assert!(location(&begun).contains(&back), "{begun:?}");

    let back = browser.authorize(&begun).await;
    let finished = browser.get(edge, &back).await;
    assert_eq!(finished.status(), 302, "{finished:?}");
    assert_eq!(location(&finished), format!("http://{edge}/app?x=1"));

    let answer = browser.get(edge, "/app?x=1").await;
    assert!(answer.body().starts_with("GET /v2/app?x=1\n"), "{answer:?}");
    assert_eq!(field(&answer, "host"), Some(&*format!("internal.test:{}", edge.port())));
    assert_eq!(field(&answer, "x-amzn-oidc-identity"), Some("alice"));
    // The session is that of the browser's host, and not of the rewritten one.
    let request = Request::get("/app").header("host", "127.0.0.1:1");
    assert_eq!(browser.send(edge, request).await.status(), 302);
}
