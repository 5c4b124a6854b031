//! Whole logins, and what becomes of states and cookies that are not what they should be.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, header};
use tower_lb::auth::{
    Algorithm,
    oidc::{ClientSecret, CookieKey, OidcBuilder, OidcLayer, OnUnauthenticated, Provider},
};

use super::{
    browser::{Browser, location, parameter},
    edge::{client, field, send, serve},
    scripted_provider::{CLIENT, SECRET, ScriptedProvider},
};

/// Returns the settings of an edge that uses the provider.
pub(crate) fn builder(provider: &ScriptedProvider) -> OidcBuilder {
    let issuer = Provider::new(provider.issuer());
    OidcLayer::builder(issuer, CLIENT, client(), CookieKey::new([1; 32]))
        .client_secret(ClientSecret::new(SECRET))
        .algorithms([Algorithm::Es256])
}

async fn edge(provider: &ScriptedProvider) -> SocketAddr {
    serve(builder(provider).build().unwrap()).await
}

#[tokio::test]
async fn a_user_logs_in_and_the_target_learns_who_it_is() {
    let provider = ScriptedProvider::start().await;
    let edge = edge(&provider).await;
    let mut browser = Browser::default();

    let begun = browser.get(edge, "/app?x=1&y=%2F").await;
    let url = location(&begun);
    assert_eq!(begun.headers()[header::CACHE_CONTROL], "no-store");
    assert!(url.starts_with(&format!("{}/authorize?response_type=code&", provider.issuer())));
    assert_eq!(parameter(&url, "scope").as_deref(), Some("openid"));
    assert_eq!(browser.cookies.len(), 1);
    assert!(browser.cookies.keys().all(|name| name.starts_with("__Host-AuthSession-login-")));

    let back = browser.authorize(&begun).await;
    assert!(back.starts_with("/oauth2/idpresponse?code="));
    let finished = browser.get(edge, &back).await;
    assert_eq!(finished.status(), 302, "{finished:?}");
    assert_eq!(location(&finished), format!("http://{edge}/app?x=1&y=%2F"));
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["__Host-AuthSession-0"]);

    let answer = browser.get(edge, "/app").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(field(&answer, "x-amzn-oidc-identity"), Some("alice"));
    assert!(field(&answer, "x-amzn-oidc-accesstoken").unwrap().starts_with("access-"));
    assert_eq!(field(&answer, "x-amzn-oidc-data"), None, "there is no signing key");
    assert!(answer.body().contains("identity alice 2\n"));
    // Nothing of the user or of the tokens can be read from the cookie.
    let sealed = &browser.cookies["__Host-AuthSession-0"][1..];
    let bytes = URL_SAFE_NO_PAD.decode(sealed).unwrap();
    let contains = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    for secret in ["alice", "access-", "refresh-"] {
        assert!(!contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn fields_of_the_client_never_reach_the_target() {
    let provider = ScriptedProvider::start().await;
    let allow = builder(&provider).on_unauthenticated(OnUnauthenticated::Allow).build().unwrap();
    let edge = serve(allow).await;
    let forged = |path| {
        let request = Request::get(path).header("x-amzn-oidc-identity", "root");
        let request = request.header("X-Amzn-Oidc-Data", "forged");
        request.header("x-amzn-oidc-other", "x").header("x-amzn-oidc-identity", "again")
    };
    let answer = send(edge, forged("/")).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.body().contains("oidc"), "{answer:?}");

    let edge = self::edge(&provider).await;
    let mut browser = Browser::default();
    browser.log_in(edge, "/").await;
    let answer = browser.send(edge, forged("/")).await;
    assert_eq!(field(&answer, "x-amzn-oidc-identity"), Some("alice"));
    assert!(!answer.body().contains("root") && !answer.body().contains("forged"));
    assert_eq!(answer.body().matches("x-amzn-oidc-").count(), 2);
}

#[tokio::test]
async fn requests_without_a_session_are_denied_allowed_or_led_to_the_provider() {
    let provider = ScriptedProvider::start().await;
    let status = async |action, request: http::request::Builder| {
        let layer = builder(&provider).on_unauthenticated(action).build().unwrap();
        send(serve(layer).await, request).await.status().as_u16()
    };
    assert_eq!(status(OnUnauthenticated::Deny, Request::get("/")).await, 401);
    assert_eq!(status(OnUnauthenticated::Allow, Request::post("/")).await, 200);
    assert_eq!(status(OnUnauthenticated::Authenticate, Request::get("/")).await, 302);
    assert_eq!(status(OnUnauthenticated::Authenticate, Request::head("/")).await, 302);
    // The browser would come back without the body.
    assert_eq!(status(OnUnauthenticated::Authenticate, Request::post("/")).await, 401);
}

#[tokio::test]
async fn a_login_works_once_and_in_its_own_browser() {
    let provider = ScriptedProvider::start().await;
    let edge = edge(&provider).await;
    let mut browser = Browser::default();
    let begun = browser.get(edge, "/").await;
    let back = browser.authorize(&begun).await;

    // Another browser, such as that of a victim who follows a link with the attacker's code.
    let mut victim = Browser::default();
    assert_eq!(victim.get(edge, &back).await.status(), 401);
    let other = victim.get(edge, "/").await;
    assert_eq!(victim.get(edge, &back).await.status(), 401);
    let swapped = victim.authorize(&other).await;
    assert_eq!(browser.clone().get(edge, &swapped).await.status(), 401);
    assert_eq!(provider.asked("authorization_code"), 0, "no code was exchanged");

    // A cookie of the same name with another value, and one that occurs twice.
    let (name, secret) = browser.cookies.first_key_value().unwrap();
    for cookies in [format!("{name}=x"), format!("{name}={secret}; {name}={secret}")] {
        let request = Request::get(&back).header(header::COOKIE, cookies);
        assert_eq!(send(edge, request).await.status(), 401);
    }

    let before = browser.clone();
    assert_eq!(browser.get(edge, &back).await.status(), 302);
    let again = browser.get(edge, &back).await;
    assert_eq!(again.status(), 401, "the cookie of the login was deleted");
    assert_eq!(provider.asked("authorization_code"), 1);
    // A copy of both is stopped by the provider, which accepts a code once.
    let copied = before.clone().get(edge, &back).await;
    assert_eq!((copied.status().as_u16(), provider.asked("authorization_code")), (561, 2));
}

#[tokio::test]
async fn two_tabs_log_in_at_once_and_abandoned_logins_do_not_pile_up() {
    let provider = ScriptedProvider::start().await;
    let edge = edge(&provider).await;
    let mut browser = Browser::default();
    let (first, second) = (browser.get(edge, "/a").await, browser.get(edge, "/b").await);
    for (begun, path) in [(second, "/b"), (first, "/a")] {
        let back = browser.authorize(&begun).await;
        assert_eq!(location(&browser.get(edge, &back).await), format!("http://{edge}{path}"));
    }
    let mut browser = Browser::default();
    for _ in 0..50 {
        browser.get(edge, "/").await;
        assert!(browser.cookies.len() <= 5);
    }
    assert_eq!(browser.log_in(edge, "/").await.status(), 302);
}

#[tokio::test]
async fn a_forged_state_is_refused() {
    let provider = ScriptedProvider::start().await;
    let edge = edge(&provider).await;
    let mut browser = Browser::default();
    let begun = browser.get(edge, "/").await;
    let back = browser.authorize(&begun).await;
    let state = parameter(&back, "state").unwrap();
    let with = |state: &str| format!("/oauth2/idpresponse?code=code-0&state={state}");
    let mut flipped = state.clone().into_bytes();
    flipped[state.len() / 2] ^= 1;
    let paths = [
        "/oauth2/idpresponse".to_owned(),
        "/oauth2/idpresponse?code=code-0".to_owned(),
        with(""),
        with("x"),
        with(&state[..state.len() - 1]),
        with(&format!("{state}A")),
        with(&String::from_utf8(flipped).unwrap()),
        format!("{back}&state={state}"),
        format!("{back}&code=code-0"),
        format!("{back}&iss=https://other.example"),
    ];
    for path in paths {
        let answer = browser.clone().get(edge, &path).await;
        assert_eq!(answer.status(), 401, "{path}");
        assert_eq!(answer.body(), "the login is not valid\n");
    }
    let posted = browser.clone().send(edge, Request::post(&back)).await;
    assert_eq!(posted.status(), 401);
    assert_eq!(provider.asked("authorization_code"), 0);
    assert_eq!(browser.get(edge, &back).await.status(), 302);
}

#[tokio::test]
async fn a_login_of_another_realm_host_or_key_is_refused() {
    let provider = ScriptedProvider::start().await;
    let own = edge(&provider).await;
    let mut browser = Browser::default();
    let begun = browser.get(own, "/").await;
    let back = browser.authorize(&begun).await;
    let key = CookieKey::new([2; 32]);
    let other_key = OidcLayer::builder(Provider::new(provider.issuer()), CLIENT, client(), key)
        .build()
        .unwrap();
    let same = || builder(&provider).build().unwrap();
    let status = async |layer: OidcLayer, host: &str| {
        let request = Request::get(&back).header(header::HOST, host);
        browser.clone().send(serve(layer).await, request).await.status().as_u16()
    };
    let host = own.to_string();
    assert_eq!(status(builder(&provider).realm("another").build().unwrap(), &host).await, 401);
    assert_eq!(status(other_key, &host).await, 401);
    assert_eq!(status(same(), "127.0.0.1:1").await, 401);
    assert_eq!(provider.asked("authorization_code"), 0);
    // The cookie of the login under the other name, so that only the name differs.
    let mut renamed = browser.clone();
    renamed.cookies = browser
        .cookies
        .iter()
        .map(|(name, value)| (name.replace("AuthSession", "Other"), value.clone()))
        .collect();
    let other_name = builder(&provider).cookie("__Host-Other").build().unwrap();
    let request = Request::get(&back).header(header::HOST, &host);
    assert_eq!(renamed.send(serve(other_name).await, request).await.status(), 401);
    assert_eq!(provider.asked("authorization_code"), 0);
    // Another load balancer with the same settings finishes it.
    assert_eq!(status(same(), &host).await, 302);
    // A router finds the layer that has begun the login.
    let request = |host: &str| Request::get(&back).header(header::HOST, host).body(()).unwrap();
    let plain = tower_lb::http::ClientConnection::new(own, own);
    let asked = |layer: OidcLayer, host: &str| {
        let mut request = request(host);
        request.extensions_mut().insert(plain.clone());
        layer.finishes(&request)
    };
    assert!(asked(same(), &host));
    assert!(!asked(builder(&provider).realm("another").build().unwrap(), &host));
    assert!(!asked(same(), "127.0.0.1:1"));
}

#[tokio::test]
async fn a_login_that_takes_too_long_is_refused() {
    let provider = ScriptedProvider::start().await;
    let layer = builder(&provider).login_timeout(Duration::from_secs(1)).build().unwrap();
    let edge = serve(layer).await;
    let mut browser = Browser::default();
    let begun = browser.get(edge, "/").await;
    let back = browser.authorize(&begun).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    // A browser would have deleted the cookie; this one keeps it.
    assert_eq!(browser.get(edge, &back).await.status(), 401);
    assert_eq!(provider.asked("authorization_code"), 0);
}

#[tokio::test]
async fn the_browser_returns_to_its_own_origin_only() {
    let provider = ScriptedProvider::start().await;
    let edge = edge(&provider).await;
    for path in ["//evil.example/a", "/\\evil.example", "/%2f%2fevil.example"] {
        let mut browser = Browser::default();
        let finished = browser.log_in(edge, path).await;
        assert_eq!(location(&finished), format!("http://{edge}{path}"), "{path}");
    }
}

#[tokio::test]
async fn the_provider_may_refuse_a_user() {
    let provider = ScriptedProvider::start().await;
    let edge = edge(&provider).await;
    let mut browser = Browser::default();
    let begun = browser.get(edge, "/").await;
    let back = browser.authorize(&begun).await;
    let state = parameter(&back, "state").unwrap();
    let denied = format!("/oauth2/idpresponse?error=access_denied%0Ax&state={state}");
    let answer = browser.get(edge, &denied).await;
    assert_eq!(answer.status(), 561);
    assert_eq!(answer.body(), "the identity provider answered with an error\n");
    assert!(browser.cookies.is_empty(), "the login has ended");
}
