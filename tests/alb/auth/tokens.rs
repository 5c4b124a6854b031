//! Bearer tokens, and key sets that come from a server.

use std::time::Duration;

use futures::future::join_all;
use http::{Request, header};
use jsonwebtoken::{Algorithm as SignAlgorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tower_lb::{
    auth::{
        Algorithm, HttpClient,
        jwt::{JwtBuilder, JwtLayer, KeySource},
    },
    http::Pool,
};

use super::{
    edge::{Answer, client, field, send, serve},
    scripted_provider::{ScriptedProvider, now, signing_key},
};

const ISSUER: &str = "https://id.example.com";

fn builder(provider: &ScriptedProvider) -> JwtBuilder {
    let keys = KeySource::url(format!("{}/jwks", provider.issuer()), client());
    JwtLayer::builder(ISSUER, keys).algorithms([Algorithm::Es256])
}

fn sign(key: &EncodingKey, kid: &str) -> String {
    let mut header = Header::new(SignAlgorithm::ES256);
    header.kid = Some(kid.into());
    let claims = json!({ "iss": ISSUER, "exp": now() + 60, "sub": "client" });
    jsonwebtoken::encode(&header, &claims, key).unwrap()
}

async fn with_token(edge: std::net::SocketAddr, token: &str) -> Answer {
    send(edge, Request::get("/").header(header::AUTHORIZATION, format!("Bearer {token}"))).await
}

/// Publishes a new key, and returns it.
fn publish(provider: &ScriptedProvider, kid: &str) -> EncodingKey {
    let (key, public) = signing_key(kid);
    provider.change(|script| script.keys = json!({ "keys": [public] }));
    key
}

#[tokio::test]
async fn a_valid_token_passes_unchanged_and_others_get_a_challenge() {
    let provider = ScriptedProvider::start().await;
    let key = publish(&provider, "a");
    let edge = serve(builder(&provider).build().unwrap()).await;
    let token = sign(&key, "a");
    let answer = with_token(edge, &token).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(field(&answer, "authorization"), Some(&*format!("Bearer {token}")));
    assert!(answer.body().contains("claims client\n"), "{answer:?}");

    let challenge = |answer: &Answer| answer.headers()[header::WWW_AUTHENTICATE].clone();
    let answer = send(edge, Request::get("/")).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(challenge(&answer), "Bearer");
    let answer = with_token(edge, &token[..token.len() - 1]).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(challenge(&answer), "Bearer error=\"invalid_token\"");
    assert_eq!(answer.body(), "the bearer token is invalid\n");
    let twice = Request::get("/").header(header::AUTHORIZATION, format!("Bearer {token}"));
    let answer = send(edge, twice.header(header::AUTHORIZATION, "Basic YTpi")).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(challenge(&answer), "Bearer error=\"invalid_request\"");
    assert_eq!(provider.asked("jwks"), 1);
}

#[tokio::test]
async fn without_a_key_set_nothing_passes_and_the_server_is_left_alone() {
    let provider = ScriptedProvider::start().await;
    let key = publish(&provider, "a");
    let token = sign(&key, "a");
    let many = json!({ "keys": vec![signing_key("x").1; 11] }).to_string();
    let secret = json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "c2VjcmV0" }] }).to_string();
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(150_000));
    for (status, body) in [
        (500, String::new()),
        (404, String::new()),
        (302, String::new()),
        (200, "<html>".into()),
        (200, "{\"keys\":[]}".into()),
        (200, many),
        (200, secret),
        (200, huge),
    ] {
        provider.change(|script| _ = script.replaced.insert("jwks", (status, body)));
        let edge = serve(builder(&provider).build().unwrap()).await;
        let before = provider.asked("jwks");
        for _ in 0..10 {
            let answer = with_token(edge, &token).await;
            assert_eq!(answer.status(), 503);
            assert_eq!(answer.headers()["retry-after"], "1");
        }
        assert_eq!(send(edge, Request::get("/")).await.status(), 401, "without a token");
        assert_eq!(provider.asked("jwks") - before, 1);
        if status == 500 {
            // It recovers by itself.
            provider.change(|script| script.replaced.clear());
            tokio::time::sleep(Duration::from_millis(1100)).await;
            assert_eq!(with_token(edge, &token).await.status(), 200);
        }
    }
}

#[tokio::test]
async fn a_server_of_keys_that_is_slow_or_gone_costs_its_time_limit() {
    let provider = ScriptedProvider::start().await;
    let token = sign(&publish(&provider, "a"), "a");
    provider.change(|script| _ = script.slow.insert("jwks", Duration::from_secs(30)));
    let layer = builder(&provider).fetch_timeout(Duration::from_millis(300)).build().unwrap();
    let edge = serve(layer).await;
    let begin = std::time::Instant::now();
    let answers = join_all((0..10).map(|_| with_token(edge, &token))).await;
    assert!(answers.iter().all(|answer| answer.status() == 503));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(provider.asked("jwks"), 1);

    let gone = KeySource::url("http://127.0.0.1:1/jwks", client());
    let edge = serve(JwtLayer::builder(ISSUER, gone).build().unwrap()).await;
    assert_eq!(with_token(edge, &token).await.status(), 503);
}

#[tokio::test]
async fn the_last_good_key_set_outlives_its_server() {
    let provider = ScriptedProvider::start().await;
    let token = sign(&publish(&provider, "a"), "a");
    let layer = builder(&provider)
        .refresh(Duration::from_millis(100))
        .max_age(Duration::from_millis(1500))
        .cooldown(Duration::from_millis(100))
        .build()
        .unwrap();
    let edge = serve(layer).await;
    assert_eq!(with_token(edge, &token).await.status(), 200);
    provider.change(|script| _ = script.replaced.insert("jwks", (500, String::new())));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(with_token(edge, &token).await.status(), 200);
    assert_eq!(provider.asked("jwks"), 2);
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(with_token(edge, &token).await.status(), 503, "the set is too old");
}

#[tokio::test]
async fn keys_rotate_and_unknown_ones_do_not_flood_the_server() {
    let provider = ScriptedProvider::start().await;
    let old = sign(&publish(&provider, "old"), "old");
    let cooldown = Duration::from_millis(700);
    let edge = serve(builder(&provider).cooldown(cooldown).build().unwrap()).await;
    assert_eq!(with_token(edge, &old).await.status(), 200);
    let new = sign(&publish(&provider, "new"), "new");
    assert_eq!(with_token(edge, &new).await.status(), 401, "the set was just fetched");
    tokio::time::sleep(cooldown).await;
    let answers = join_all((0..20).map(|_| with_token(edge, &new))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!(provider.asked("jwks"), 2);
    assert_eq!(with_token(edge, &old).await.status(), 401, "the old key was withdrawn");

    let begin = std::time::Instant::now();
    let before = provider.asked("jwks");
    for number in 0..100 {
        let (key, _) = signing_key("x");
        assert_eq!(with_token(edge, &sign(&key, &format!("kid-{number}"))).await.status(), 401);
    }
    let most = 1 + begin.elapsed().as_millis() / cooldown.as_millis();
    assert!((provider.asked("jwks") - before) as u128 <= most);
}

#[tokio::test]
async fn one_fetch_serves_all_requests_by_a_pooled_client_too() {
    let provider = ScriptedProvider::start().await;
    let token = sign(&publish(&provider, "a"), "a");
    provider.change(|script| _ = script.slow.insert("jwks", Duration::from_millis(200)));
    let pooled = HttpClient::new(Pool::new().client(provider.issuer().parse().unwrap()));
    let keys = KeySource::url(format!("{}/jwks", provider.issuer()), pooled);
    let layer = JwtLayer::builder(ISSUER, keys).algorithms([Algorithm::Es256]).build().unwrap();
    let edge = serve(layer).await;
    let answers = join_all((0..20).map(|_| with_token(edge, &token))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200), "{answers:?}");
    assert_eq!(provider.asked("jwks"), 1);
}

#[tokio::test]
async fn invalid_settings_name_their_field() {
    let provider = ScriptedProvider::start().await;
    let field = |builder: JwtBuilder| builder.build().unwrap_err().field().to_owned();
    let own = || builder(&provider);
    let with_keys = |keys| field(JwtLayer::builder(ISSUER, keys));
    assert_eq!(with_keys(KeySource::url("http://id.example.com/jwks", client())), "keys");
    assert_eq!(with_keys(KeySource::fixed("{}")), "keys");
    let symmetric: Value = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0c2VjcmV0" }] });
    let error = JwtLayer::builder(ISSUER, KeySource::fixed(symmetric.to_string())).build();
    assert!(!error.unwrap_err().to_string().contains("c2Vj"), "a key in an error");
    assert_eq!(field(JwtLayer::builder("", KeySource::fixed("{}"))), "issuer");
    assert_eq!(field(own().algorithms([])), "algorithms");
    assert_eq!(field(own().audiences([""])), "audiences");
    assert_eq!(field(own().leeway(Duration::from_secs(601))), "leeway");
    assert_eq!(field(own().refresh(Duration::ZERO)), "refresh");
    assert_eq!(field(own().cooldown(Duration::ZERO)), "cooldown");
    assert_eq!(field(own().max_age(Duration::from_secs(1))), "max_age");
    assert_eq!(field(own().max_keys(0)), "max_keys");
    assert_eq!(field(own().fetch_timeout(Duration::ZERO)), "fetch_timeout");
}
