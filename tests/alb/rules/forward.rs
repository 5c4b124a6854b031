//! Forwarding, redirects and fixed responses as clients see them.

use std::{collections::HashSet, net::SocketAddr, process::Stdio};

use http::StatusCode;
use tokio::process::Command;
use tower_lb::{
    http::sticky::{SessionKey, Sessions},
    rules::{Action, Condition, FixedResponse, Forward, Redirect, Rule, Rules},
};

use crate::{
    oracle::is_installed,
    server::{Echo, ask, serve},
};

fn not_found() -> Action<Echo> {
    FixedResponse::builder(StatusCode::NOT_FOUND).body("no such page\n").build().unwrap().into()
}

fn only(action: impl Into<Action<Echo>>) -> Rules<Action<Echo>> {
    Rules::builder(action.into()).build().unwrap()
}

fn sessions() -> Sessions {
    let key = SessionKey::new([7; 32]).unwrap();
    Sessions::builder(key).cookie("AWSALBTG").secure(false).build().unwrap()
}

fn sticky() -> Forward<Echo> {
    let groups =
        Forward::builder().group("blue", 50, Echo("blue")).group("green", 50, Echo("green"));
    groups.sticky(sessions()).build().unwrap()
}

async fn get(address: SocketAddr, cookie: &str) -> crate::server::Answer {
    ask(address, &format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {cookie}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_group_gets_its_share() {
    let groups = Forward::builder().group("a", 90, Echo("a")).group("b", 10, Echo("b"));
    let forward = groups.build().unwrap();
    let address = serve(only(forward.clone())).await;
    for _ in 0..100 {
        assert_eq!(ask(address, "GET / HTTP/1.1\r\nHost: h").await.status, 200);
    }
    let forwarded: Vec<_> = forward.status().iter().map(|group| group.forwarded).collect();
    assert!(forwarded[0].abs_diff(90) <= 2 && forwarded[1].abs_diff(10) <= 2, "{forwarded:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_stays_with_its_group() {
    let address = serve(only(sticky())).await;
    let mut groups = HashSet::new();
    for _ in 0..8 {
        let first = get(address, "x=1").await;
        let group = first.body[..4].to_owned();
        let set = first.field("set-cookie").unwrap();
        assert!(set.contains("Max-Age=86400") && set.contains("HttpOnly"), "{set}");
        let cookie = set.split(';').next().unwrap().to_owned();
        for _ in 0..10 {
            let next = get(address, &cookie).await;
            assert!(next.body.starts_with(&group), "{next:?}");
            assert_eq!(next.field("set-cookie"), None);
        }
        // A forged cookie counts as no session.
        let (start, last) = cookie.split_at(cookie.len() - 1);
        let other = if last == "x" { "y" } else { "x" };
        let forged = get(address, &format!("{start}{other}")).await;
        assert!(forged.field("set-cookie").is_some());
        groups.insert(group);
    }
    assert_eq!(groups.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_moves_from_a_group_that_is_taken_out() {
    let rules = only(sticky());
    let address = serve(rules.clone()).await;
    let mut blue = None;
    while blue.is_none() {
        let answer = get(address, "").await;
        let cookie = answer.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        blue = answer.body.starts_with("blue").then_some(cookie);
    }
    let blue = blue.unwrap();
    let groups = Forward::builder().group("blue", 0, Echo("blue")).group("green", 1, Echo("green"));
    let forward = groups.sticky(sessions()).build().unwrap();
    rules.replace(Rules::builder(forward.into())).unwrap();
    let moved = get(address, &blue).await;
    assert!(moved.body.starts_with("green") && moved.field("set-cookie").is_some(), "{moved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_keeps_the_cookie_of_its_group() {
    if !is_installed("curl") {
        return;
    }
    let address = serve(only(sticky())).await;
    let jar = format!("{}/rules-jar-{}", env!("CARGO_TARGET_TMPDIR"), address.port());
    let mut groups = HashSet::new();
    for _ in 0..10 {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "-c", &jar, "-b", &jar]);
        let output = curl.arg(format!("http://{address}/")).stdin(Stdio::null()).output().await;
        let body = String::from_utf8(output.unwrap().stdout).unwrap();
        groups.insert(body.split(' ').next().unwrap().to_owned());
    }
    // Not a third text, such as that of a curl that fails.
    let is_group = |name: &String| name == "blue" || name == "green";
    assert!(groups.len() == 1 && groups.iter().all(is_group), "{groups:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_follows_a_redirect() {
    if !is_installed("curl") {
        return;
    }
    let old =
        Redirect::builder(StatusCode::MOVED_PERMANENTLY).path("/new/#{path}").build().unwrap();
    let to_itself = Redirect::builder(StatusCode::FOUND).protocol("http").build().unwrap();
    let rules = Rules::builder(not_found())
        .rule(Rule::new(1, old.into()).when(Condition::path(["/old*"])))
        .rule(Rule::new(2, Forward::to(Echo("new")).into()).when(Condition::path(["/new/*"])))
        .rule(Rule::new(3, to_itself.into()).when(Condition::path(["/loop"])));
    let address = serve(rules.build().unwrap()).await;
    for (url, expected) in [
        ("/old/a?b=c", format!("new 2 {address} /new/old/a?b=c\n200 1")),
        ("/loop", "the redirect leads to the same URL\n\n508 0".to_owned()),
        ("/other", "no such page\n\n404 0".to_owned()),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["-sSL", "--max-redirs", "3", "--max-time", "20"]);
        curl.args(["-w", "\n%{http_code} %{num_redirects}"]);
        let output = curl.arg(format!("http://{address}{url}")).stdin(Stdio::null()).output().await;
        assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_request_gets_no_redirect_of_its_own() {
    let address = serve(only(Redirect::to_https())).await;
    for (lines, expected) in [
        ("GET //evil.example/.. HTTP/1.1\r\nHost: a.example", "https://a.example//evil.example/.."),
        ("GET /%0d%0ax: HTTP/1.1\r\nHost: a.example", "https://a.example/%0d%0ax:"),
        ("GET http://a.example/x HTTP/1.1\r\nHost: evil.example", "https://a.example/x"),
        ("GET / HTTP/1.1\r\nHost: evil.example/x", "400"),
        ("GET / HTTP/1.1\r\nHost: a@evil.example", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b", "400"),
        ("GET / HTTP/1.1\r\nX: y", "400"),
    ] {
        let answer = ask(address, lines).await;
        let status = answer.status.to_string();
        assert_eq!(answer.field("location").unwrap_or(&status), expected, "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_weight_and_without_a_valid_rewrite() {
    let none = Forward::builder().group("a", 0, Echo("a")).build().unwrap();
    let rules = Rules::builder(not_found())
        .rule(Rule::new(1, none.into()).when(Condition::path(["/none"])))
        .rule(
            Rule::new(2, Forward::to(Echo("echo")).into())
                .when(Condition::host(["*.test"]))
                .rewrite_host(r"^(.+)\.test$", "$1.internal")
                .rewrite_url("^/([^?]*)(.*)$", "$1"),
        );
    let address = serve(rules.build().unwrap()).await;
    assert_eq!(ask(address, "GET /none HTTP/1.1\r\nHost: h").await.status, 503);
    // The rule makes a path of `x`.
    assert_eq!(ask(address, "GET /x HTTP/1.1\r\nHost: a.test").await.status, 502);
    let answer = ask(address, "GET //x HTTP/1.1\r\nHost: a.test:81").await;
    assert_eq!(answer.body, "echo 2 a.internal:81 /x");
}
