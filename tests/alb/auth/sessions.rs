//! What a session opens, for how long, and how it is renewed.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE};
use futures::future::join_all;
use http::{Request, header};
use serde_json::{Value, json};
use tower_lb::auth::oidc::{CookieKey, OidcLayer, OnUnauthenticated, Provider, SigningKey};

use super::{
    browser::{Browser, location},
    edge::{client, field, send, serve},
    logins::builder,
    scripted_provider::{CLIENT, Script, ScriptedProvider, now},
};

/// Logs in at an edge whose requests without a session are denied elsewhere.
async fn logged_in(provider: &ScriptedProvider) -> (std::net::SocketAddr, Browser) {
    let edge = serve(builder(provider).build().unwrap()).await;
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(edge, "/").await.status(), 302);
    (edge, browser)
}

#[tokio::test]
async fn a_session_of_another_realm_host_name_or_key_does_not_open() {
    let provider = ScriptedProvider::start().await;
    let deny = || builder(&provider).on_unauthenticated(OnUnauthenticated::Deny);
    let (own, browser) = logged_in(&provider).await;
    let same_host = own.to_string();
    let status = async |layer: OidcLayer, host: &str| {
        let request = Request::get("/").header(header::COOKIE, browser.cookie_field());
        let request = request.header(header::HOST, host);
        send(serve(layer).await, request).await.status().as_u16()
    };
    assert_eq!(status(deny().build().unwrap(), &same_host).await, 200);
    assert_eq!(status(deny().build().unwrap(), "127.0.0.1:1").await, 401);
    assert_eq!(status(deny().realm("another").build().unwrap(), &same_host).await, 401);
    let key = CookieKey::new([2; 32]);
    let other = OidcLayer::builder(Provider::new(provider.issuer()), CLIENT, client(), key);
    let other = other.on_unauthenticated(OnUnauthenticated::Deny);
    assert_eq!(status(other.clone().build().unwrap(), &same_host).await, 401);
    let rotated = other.also_accept(CookieKey::new([1; 32])).build().unwrap();
    assert_eq!(status(rotated, &same_host).await, 200);

    // The same cookies under the name of another rule.
    let layer = deny().cookie("__Host-Other").build().unwrap();
    let renamed = browser.cookie_field().replace("__Host-AuthSession", "__Host-Other");
    let request =
        Request::get("/").header(header::COOKIE, renamed).header(header::HOST, &same_host);
    assert_eq!(send(serve(layer).await, request).await.status(), 401);
}

#[tokio::test]
async fn forged_and_repeated_cookies_are_no_session() {
    let provider = ScriptedProvider::start().await;
    let (own, browser) = logged_in(&provider).await;
    let layer = builder(&provider).on_unauthenticated(OnUnauthenticated::Deny).build().unwrap();
    let edge = serve(layer).await;
    let status = async |cookies: Vec<String>| {
        let mut request = Request::get("/").header(header::HOST, own.to_string());
        for cookie in cookies {
            request = request.header(header::COOKIE, cookie);
        }
        send(edge, request).await.status().as_u16()
    };
    let (name, value) = browser.cookies.first_key_value().unwrap();
    let pair = format!("{name}={value}");
    assert_eq!(status(vec!["a=b".into(), pair.clone(), "c=d".into()]).await, 200);
    assert_eq!(status(vec![format!("a=b; {pair}; c=d")]).await, 200);
    for at in (0..value.len()).step_by(17) {
        let mut forged = value.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert_eq!(status(vec![format!("{name}={forged}")]).await, 401, "{at}");
        assert_eq!(status(vec![format!("{name}={}", &value[..at])]).await, 401, "{at}");
    }
    assert_eq!(status(vec![pair.clone(); 10]).await, 401);
    assert_eq!(status(vec![pair.clone(), "__Host-AuthSession-1=x".into()]).await, 401);
    assert_eq!(status(vec![format!("{pair}; {pair}")]).await, 401);
}

#[tokio::test]
async fn a_session_ends_by_the_time_inside() {
    let provider = ScriptedProvider::start().await;
    let short = || builder(&provider).session_timeout(Duration::from_secs(1));
    let edge = serve(short().build().unwrap()).await;
    let deny = serve(short().on_unauthenticated(OnUnauthenticated::Deny).build().unwrap()).await;
    let mut browser = Browser::default();
    browser.log_in(edge, "/").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(browser.get(edge, "/").await.status(), 302);
    // As with an Application Load Balancer, a session that has ended is not denied.
    let ended = || {
        let request = Request::get("/").header(header::COOKIE, browser.cookie_field());
        request.header(header::HOST, edge.to_string())
    };
    assert_eq!(send(deny, ended()).await.status(), 302);
    assert_eq!(send(deny, Request::get("/")).await.status(), 401);
}

#[tokio::test]
async fn large_claims_take_several_cookies_and_have_a_limit() {
    let provider = ScriptedProvider::start().await;
    provider.change(|script| script.user_info["groups"] = json!("g".repeat(10_000)));
    let (edge, mut browser) = logged_in(&provider).await;
    assert_eq!(browser.cookies.len(), 4);
    assert!(browser.get(edge, "/").await.body().contains("identity alice 3\n"));
    let field: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(field < 16 << 10);
    let mut incomplete = browser.clone();
    incomplete.cookies.remove("__Host-AuthSession-2");
    assert_eq!(incomplete.get(edge, "/").await.status(), 302);

    // The next login is small, and leaves no cookie of the large one behind.
    provider.change(|script| script.user_info["groups"] = Value::Null);
    browser.cookies.remove("__Host-AuthSession-0");
    assert_eq!(browser.log_in(edge, "/").await.status(), 302);
    assert_eq!(browser.cookies.len(), 1);

    provider.change(|script| script.user_info["groups"] = json!("g".repeat(12_000)));
    let mut browser = Browser::default();
    let answer = browser.log_in(edge, "/").await;
    assert_eq!(
        (answer.status().as_u16(), &**answer.body()),
        (500, "the claims of the user are too large\n")
    );
}

#[tokio::test]
async fn requests_of_a_session_share_one_refresh() {
    let provider = ScriptedProvider::start().await;
    provider
        .change(|script| script.response = Box::new(|response| response["expires_in"] = json!(1)));
    let (edge, mut browser) = logged_in(&provider).await;
    let first = browser.get(edge, "/").await;
    let old = field(&first, "x-amzn-oidc-accesstoken").unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(1100)).await;

    provider.change(|script| {
        script.response = Box::new(|_| {});
        script.slow.insert("token", Duration::from_millis(100));
    });
    let mut browsers = vec![browser; 20];
    let answers = join_all(browsers.iter_mut().map(|browser| browser.get(edge, "/"))).await;
    assert_eq!(provider.asked("refresh_token"), 1);
    for answer in &answers {
        let new = field(answer, "x-amzn-oidc-accesstoken").unwrap();
        assert!(new != old && new.starts_with("access-"), "{answer:?}");
        assert!(answer.headers().contains_key(header::SET_COOKIE));
    }
    let later = browsers[0].get(edge, "/").await;
    assert!(!later.headers().contains_key(header::SET_COOKIE));
    assert_eq!(provider.asked("refresh_token"), 1);
}

/// Starts a provider whose access tokens expire at once.
async fn short_lived() -> ScriptedProvider {
    let provider = ScriptedProvider::start().await;
    provider
        .change(|script| script.response = Box::new(|response| response["expires_in"] = json!(0)));
    provider
}

#[tokio::test]
async fn tokens_that_expire_at_once_are_not_replaced_by_each_request() {
    let provider = short_lived().await;
    let (edge, mut browser) = logged_in(&provider).await;
    let old = browser.clone();
    for _ in 0..10 {
        let answer = browser.get(edge, "/").await;
        assert_eq!(answer.status(), 200);
        assert!(field(&answer, "x-amzn-oidc-accesstoken").is_some());
    }
    assert_eq!(provider.asked("refresh_token"), 1);
    // The cookies from before the refresh, as of a request whose response took long.
    let late = old.clone().get(edge, "/").await;
    assert!(late.status() == 200 && late.headers().contains_key(header::SET_COOKIE), "{late:?}");
    assert_eq!(provider.asked("refresh_token"), 1);
    // Another load balancer opens the new session, and need not refresh it either.
    let other = serve(builder(&provider).build().unwrap()).await;
    let request = Request::get("/").header(header::HOST, edge.to_string());
    assert_eq!(browser.send(other, request).await.status(), 200);
    assert_eq!(provider.asked("refresh_token"), 1);
}

#[tokio::test]
async fn rules_that_share_sessions_share_refreshes() {
    let provider = short_lived().await;
    let rule = builder(&provider);
    let [first, second] = [&rule, &rule].map(|rule| rule.clone().build().unwrap());
    let (first, second) = (serve(first).await, serve(second).await);
    let mut browser = Browser::default();
    browser.log_in(first, "/").await;
    provider.change(|script| _ = script.slow.insert("token", Duration::from_millis(100)));
    let answers = join_all([first, second, first, second].map(async |edge| {
        let request = Request::get("/").header(header::HOST, first.to_string());
        browser.clone().send(edge, request).await
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.status() == 200), "{answers:?}");
    assert_eq!(provider.asked("refresh_token"), 1);
}

#[tokio::test]
async fn a_session_outlives_a_provider_that_fails_for_a_while() {
    let provider = short_lived().await;
    let layer = builder(&provider).fetch_timeout(Duration::from_millis(300)).build().unwrap();
    let edge = serve(layer).await;
    let error = "{\"error\":\"invalid_client\"}";
    for (path, status, body) in [
        ("token", 500, ""),
        ("token", 503, "<html>"),
        ("token", 429, ""),
        ("token", 302, ""),
        ("token", 200, "garbage"),
        // The secret of this client is the operator's matter, and not the user's.
        ("token", 401, error),
        ("token", 0, "slow"),
        ("userinfo", 500, "{}"),
        ("userinfo", 200, "garbage"),
        ("userinfo", 0, "slow"),
    ] {
        let mut browser = Browser::default();
        browser.log_in(edge, "/").await;
        provider.change(|script| match status {
            0 => _ = script.slow.insert(path, Duration::from_secs(3)),
            _ => _ = script.replaced.insert(path, (status, body.into())),
        });
        let before = provider.asked("refresh_token");
        for _ in 0..3 {
            let answer = browser.get(edge, "/").await;
            assert_eq!(answer.status(), 200, "{path} {status} {body}: {answer:?}");
            assert!(answer.body().contains("identity alice 2\n"), "{path} {status}: {answer:?}");
        }
        assert_eq!(provider.asked("refresh_token") - before, 1, "{path} {status} {body}");
        provider.change(|script| {
            script.slow.clear();
            script.replaced.clear();
        });
    }
}

#[tokio::test]
async fn a_token_that_was_replaced_is_kept_without_user_info() {
    let provider = short_lived().await;
    let (edge, mut browser) = logged_in(&provider).await;
    provider.change(|script| _ = script.replaced.insert("userinfo", (503, String::new())));
    let old = browser.clone();
    let answer = browser.get(edge, "/").await;
    let new = field(&answer, "x-amzn-oidc-accesstoken").unwrap().to_owned();
    assert_eq!(field(&browser.get(edge, "/").await, "x-amzn-oidc-accesstoken"), Some(&*new));
    // The provider would refuse the old refresh token.
    let again = old.clone().get(edge, "/").await;
    assert_eq!(field(&again, "x-amzn-oidc-accesstoken"), Some(&*new));
    assert_eq!(provider.asked("refresh_token"), 1);
}

/// The keys were fetched less than 30 s ago, so that newer ones are not fetched yet.
#[tokio::test]
async fn a_session_outlives_a_change_of_keys() {
    let provider = short_lived().await;
    let (edge, mut browser) = logged_in(&provider).await;
    provider.change(|script| script.kid = "second".into());
    let before = field(&browser.get(edge, "/").await, "x-amzn-oidc-accesstoken").map(str::to_owned);
    assert_eq!(provider.asked("refresh_token"), 1);
    let again = browser.get(edge, "/").await;
    assert_eq!(again.status(), 200, "{again:?}");
    assert!(again.body().contains("identity alice"), "{again:?}");
    assert!(before.is_some() && field(&again, "x-amzn-oidc-accesstoken") == before.as_deref());
}

#[tokio::test]
async fn a_session_ends_when_the_provider_refuses_it() {
    let provider = short_lived().await;
    let edge = serve(builder(&provider).build().unwrap()).await;
    let status = async |change: fn(&mut Script)| {
        let mut browser = Browser::default();
        browser.log_in(edge, "/").await;
        provider.change(change);
        let answer = browser.get(edge, "/").await;
        provider.change(|script| {
            script.replaced.clear();
            script.claims = Box::new(|_| {});
        });
        answer.status().as_u16()
    };
    fn replace(script: &mut Script, path: &'static str, status: u16, body: &str) {
        script.replaced.insert(path, (status, body.to_owned()));
    }
    assert_eq!(status(|_| {}).await, 200);
    let denied =
        |script: &mut Script| replace(script, "token", 400, "{\"error\":\"invalid_grant\"}");
    assert_eq!(status(denied).await, 302, "a new login");
    assert_eq!(status(|script| replace(script, "userinfo", 401, "{}")).await, 302);
    assert_eq!(status(|script| replace(script, "userinfo", 403, "{}")).await, 302);
    let other_user = |script: &mut Script| {
        script.claims = Box::new(|claims| {
            if claims.get("nonce").is_none() {
                claims["sub"] = json!("mallory");
            }
        });
    };
    assert_eq!(status(other_user).await, 302);
    let other_user_info = |script: &mut Script| replace(script, "userinfo", 200, "{\"sub\":\"m\"}");
    assert_eq!(status(other_user_info).await, 302);
}

#[tokio::test]
async fn without_a_refresh_token_a_session_lasts_until_its_end() {
    let provider = ScriptedProvider::start().await;
    provider.change(|script| {
        script.response = Box::new(|response| {
            response["expires_in"] = json!(0);
            response["refresh_token"].take();
        })
    });
    let (edge, mut browser) = logged_in(&provider).await;
    assert_eq!(browser.get(edge, "/").await.status(), 200);
    assert_eq!(provider.asked("refresh_token"), 0);
}

#[tokio::test]
async fn logging_out_deletes_all_cookies() {
    let provider = ScriptedProvider::start().await;
    let layer = builder(&provider).build().unwrap();
    let values: Vec<_> = layer.logout_cookies().map(|v| v.to_str().unwrap().to_owned()).collect();
    assert_eq!(values.len(), 4);
    for (index, value) in values.iter().enumerate() {
        assert!(value.starts_with(&format!("__Host-AuthSession-{index}=; Path=/; Max-Age=0; ")));
    }
}

#[tokio::test]
async fn the_claims_are_signed_for_the_target() {
    let provider = ScriptedProvider::start().await;
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = SigningKey::from_pem(pair.serialize_pem(), "key-1", "arn:example").unwrap();
    assert!(!format!("{key:?}").contains("PRIVATE"));
    let edge = serve(builder(&provider).signing_key(key).build().unwrap()).await;
    let mut browser = Browser::default();
    browser.log_in(edge, "/").await;
    let answer = browser.get(edge, "/").await;
    let data = field(&answer, "x-amzn-oidc-data").unwrap().to_owned();
    let parts: Vec<_> = data.split('.').collect();
    // Padded, so each part is a multiple of 4.
    assert!(parts.len() == 3 && parts.iter().all(|part| part.len() % 4 == 0), "{data}");
    let part = |index: usize| -> Value {
        serde_json::from_slice(&URL_SAFE.decode(parts[index]).unwrap()).unwrap()
    };
    let (head, claims) = (part(0), part(1));
    assert_eq!((&head["alg"], &head["kid"]), (&json!("ES256"), &json!("key-1")));
    assert_eq!((&head["signer"], &head["client"]), (&json!("arn:example"), &json!(CLIENT)));
    assert_eq!((&claims["sub"], &claims["email"]), (&json!("alice"), &json!("alice@example.com")));
    assert!(claims["exp"].as_u64().unwrap() > now());
    // Verified by another library.
    let public = ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_FIXED,
        pair.public_key_raw(),
    );
    let message = format!("{}.{}", parts[0], parts[1]);
    public.verify(message.as_bytes(), &URL_SAFE.decode(parts[2]).unwrap()).unwrap();
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let provider = ScriptedProvider::start().await;
    let shown = format!("{:?} {:?}", builder(&provider), builder(&provider).build().unwrap());
    assert!(!shown.contains("client secret"), "{shown}");
    assert!(!shown.contains("1, 1, 1"), "{shown}");
    assert_eq!(
        location(&{
            let edge = serve(builder(&provider).build().unwrap()).await;
            send(edge, Request::get("/")).await
        })
        .matches("secret")
        .count(),
        0
    );
}
