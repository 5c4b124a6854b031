//! Providers that lie, fail, or take too long.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{
    browser::{Browser, location},
    edge::{send, serve},
    logins::builder,
    scripted_provider::{CLIENT, SECRET, Script, ScriptedProvider, now, signing_key},
};

/// Returns the status of a login at a provider that was changed.
async fn status(change: impl FnOnce(&mut Script)) -> u16 {
    let provider = ScriptedProvider::start().await;
    provider.change(change);
    let layer = builder(&provider).fetch_timeout(Duration::from_millis(500)).build().unwrap();
    let edge = serve(layer).await;
    let mut browser = Browser::default();
    let begun = browser.get(edge, "/").await;
    if begun.status() != 302 {
        return begun.status().as_u16();
    }
    let back = browser.authorize(&begun).await;
    let finished = browser.get(edge, &back).await;
    let has_session = browser.cookies.keys().any(|name| name == "__Host-AuthSession-0");
    assert_eq!(has_session, finished.status() == 302, "{finished:?}");
    assert!(finished.status() != 302 || location(&finished) == format!("http://{edge}/"));
    finished.status().as_u16()
}

async fn with_claims(change: impl Fn(&mut Value) + Send + 'static) -> u16 {
    status(|script| script.claims = Box::new(change)).await
}

#[tokio::test]
async fn claims_of_the_id_token_are_verified() {
    assert_eq!(with_claims(|_| {}).await, 302);
    assert_eq!(with_claims(|claims| claims["nonce"] = json!("other")).await, 401);
    assert_eq!(with_claims(|claims| _ = claims["nonce"].take()).await, 401);
    assert_eq!(with_claims(|claims| claims["aud"] = json!("other")).await, 401);
    assert_eq!(with_claims(|claims| claims["aud"] = json!([])).await, 401);
    assert_eq!(with_claims(|claims| claims["iss"] = json!("https://other.example")).await, 401);
    assert_eq!(with_claims(|claims| claims["exp"] = json!(now() - 1)).await, 401);
    assert_eq!(with_claims(|claims| claims["iat"] = json!(now() + 120)).await, 401);
    assert_eq!(with_claims(|claims| claims["azp"] = json!("other")).await, 401);
    assert_eq!(with_claims(|claims| claims["azp"] = json!(CLIENT)).await, 302);
    assert_eq!(with_claims(|claims| claims["at_hash"] = json!("AAAA")).await, 401);
    // A token for several is for the one that `azp` names.
    assert_eq!(with_claims(|claims| claims["aud"] = json!([CLIENT, "other"])).await, 401);
    let with_party = |claims: &mut Value| {
        claims["aud"] = json!([CLIENT, "other"]);
        claims["azp"] = json!(CLIENT);
    };
    assert_eq!(with_claims(with_party).await, 302);
    // Claims of the wrong type make the token unreadable.
    assert_eq!(with_claims(|claims| claims["exp"] = json!("soon")).await, 500);
    assert_eq!(with_claims(|claims| _ = claims["sub"].take()).await, 500);
    assert_eq!(with_claims(|claims| claims["sub"] = json!("mallory")).await, 401, "user info");
}

async fn with_token(token: impl Fn(&Value, String) -> String + Send + 'static) -> u16 {
    status(|script| script.token = Box::new(token)).await
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn the_algorithm_and_the_key_are_not_chosen_by_the_token() {
    let none = |alg: &'static str| {
        move |claims: &Value, _| format!("{}.{}.", encode(&json!({ "alg": alg })), encode(claims))
    };
    for alg in ["none", "None", "NONE", "nOnE"] {
        let status = with_token(none(alg)).await;
        assert!(matches!(status, 401 | 500), "{alg}: {status}");
    }
    // The client's secret as a shared secret, which the library would verify.
    let shared = |claims: &Value, _| {
        let key = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
    };
    assert_eq!(with_token(shared).await, 401);
    // The right `kid` and another key, which the token brings along.
    let foreign = |claims: &Value, _| {
        let (key, public) = signing_key("first");
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("first".into());
        header.jwk = Some(serde_json::from_value(public).unwrap());
        header.jku = Some("http://127.0.0.1:1/jwks".into());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    };
    assert_eq!(with_token(foreign).await, 401);
    assert_eq!(with_token(|_, token| token[..token.len() - 4].to_owned()).await, 401);
    assert_eq!(with_token(|_, token| format!("{token}AAAA")).await, 401);
    assert_eq!(with_token(|_, _| "a.b.c".into()).await, 500);
    assert_eq!(with_token(|_, _| String::new()).await, 500);
    let with_header =
        async |change: fn(&mut Value)| status(move |script| script.header = Box::new(change)).await;
    assert_eq!(with_header(|header| header["typ"] = json!("jwt")).await, 302);
    assert_eq!(with_header(|header| header["kid"] = json!("other")).await, 401);
    let with_extension = |header: &mut Value| {
        header["crit"] = json!(["x"]);
        header["x"] = json!(1);
    };
    assert_eq!(with_header(with_extension).await, 401);
}

#[tokio::test]
async fn answers_that_are_errors_slow_huge_or_redirects_end_the_login() {
    let replaced = |path, code: u16, body: &str| {
        let body = body.to_owned();
        status(move |script| _ = script.replaced.insert(path, (code, body)))
    };
    let huge = "x".repeat(200_000);
    let error = "{\"error\":\"invalid_client\",\"error_description\":\"\\u001b[31m\"}";
    for (path, code, body, expected) in [
        ("token", 400, error, 561),
        ("token", 401, error, 561),
        ("token", 500, "", 561),
        ("token", 502, "<html>", 561),
        ("token", 302, "", 561),
        ("token", 200, "<html>", 500),
        ("token", 200, "{}", 500),
        ("token", 200, &huge, 500),
        ("userinfo", 401, "{}", 561),
        ("userinfo", 500, "{}", 561),
        ("userinfo", 307, "{}", 561),
        ("userinfo", 200, "[]", 500),
        ("userinfo", 200, &huge, 500),
        ("userinfo", 200, "{\"sub\":\"mallory\"}", 401),
        ("userinfo", 200, "{}", 401),
        ("jwks", 500, "", 500),
        ("jwks", 302, "", 500),
        ("jwks", 200, "{\"keys\":[]}", 500),
        ("jwks", 200, &huge, 500),
        ("description", 404, "", 500),
        ("description", 301, "", 500),
        ("description", 200, "{\"issuer\":\"https://other.example\"}", 500),
        ("description", 200, &huge, 500),
    ] {
        let found = replaced(path, code, body).await;
        assert_eq!(found, expected, "{path} {code} {}", &body[..body.len().min(20)]);
    }
    for path in ["description", "token", "userinfo", "jwks"] {
        let slow = status(|script| _ = script.slow.insert(path, Duration::from_secs(3)));
        assert_eq!(slow.await, 500, "{path}");
    }
}

#[tokio::test]
async fn tokens_that_cannot_be_in_a_field_are_refused() {
    for bad in ["", "a b", "a\nb", "ü", "a\u{0}"] {
        let response = move |response: &mut Value| response["access_token"] = json!(bad);
        let found = status(|script| script.response = Box::new(response)).await;
        assert_eq!(found, 500, "{bad:?}");
    }
    let without = |response: &mut Value| _ = response["id_token"].take();
    assert_eq!(status(|script| script.response = Box::new(without)).await, 500);
}

#[tokio::test]
async fn a_description_with_endpoints_that_are_not_secure_is_refused() {
    let provider = ScriptedProvider::start().await;
    let issuer = provider.issuer();
    let description = json!({
        "issuer": issuer,
        "authorization_endpoint": "http://id.example/authorize",
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
    });
    provider.change(|script| {
        script.replaced.insert("description", (200, description.to_string()));
    });
    let edge = serve(builder(&provider).build().unwrap()).await;
    assert_eq!(send(edge, Request::get("/")).await.status(), 500);
}

#[tokio::test]
async fn a_provider_that_is_down_costs_one_request_per_second() {
    let provider = ScriptedProvider::start().await;
    provider.change(|script| _ = script.replaced.insert("description", (503, String::new())));
    let edge = serve(builder(&provider).build().unwrap()).await;
    for _ in 0..50 {
        assert_eq!(send(edge, Request::get("/")).await.status(), 500);
    }
    assert!(provider.asked("description") <= 3, "{}", provider.asked("description"));
}
