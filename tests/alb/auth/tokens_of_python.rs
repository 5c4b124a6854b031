//! Tokens that PyJWT has signed, so that two implementations have to agree.

use std::{collections::BTreeMap, path::Path, process::Command};

use http::Request;
use serde::Deserialize;
use serde_json::Value;
use tower_lb::auth::{
    Algorithm,
    jwt::{ClaimFormat, JwtLayer, KeySource, RequiredClaim},
};

use super::edge::{send, serve};

#[derive(Deserialize)]
struct Tokens {
    jwks: Value,
    valid: BTreeMap<String, String>,
    invalid: BTreeMap<String, String>,
}

const ISSUER: &str = "https://id.example.com";

/// Runs the script with a Python that has PyJWT: `.ci/install` makes one.
fn tokens() -> Option<Tokens> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = root.join("../../target/jwt/bin/python");
    let python = if own.exists() { own } else { "python3".into() };
    let output = Command::new(python).arg(root.join("auth/tokens.py")).arg(ISSUER).output().ok()?;
    if !output.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn tokens_of_another_implementation_are_judged_alike() {
    let Some(Tokens { jwks, valid, invalid }) = tokens() else { return };
    assert!(valid.len() >= 15 && invalid.len() >= 50);
    let layer = JwtLayer::builder(ISSUER, KeySource::fixed(jwks.to_string()))
        .algorithms([
            Algorithm::Rs256,
            Algorithm::Rs384,
            Algorithm::Rs512,
            Algorithm::Ps256,
            Algorithm::Ps384,
            Algorithm::Ps512,
            Algorithm::Es256,
            Algorithm::Es384,
            Algorithm::EdDsa,
        ])
        .audiences(["orders"])
        .claim(RequiredClaim::new("scope", ClaimFormat::SpaceSeparatedValues, ["a", "b"]))
        .claim(RequiredClaim::new("groups", ClaimFormat::StringArray, ["x"]))
        .claim(RequiredClaim::new("sub", ClaimFormat::SingleString, ["python", "perl"]))
        .build()
        .unwrap();
    let edge = serve(layer).await;
    let status = async |token: &str| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        send(edge, request).await.status().as_u16()
    };
    for (name, token) in &valid {
        assert_eq!(status(token).await, 200, "{name}");
    }
    for (name, token) in &invalid {
        assert_eq!(status(token).await, 401, "{name}");
    }

    // Every algorithm is refused that is not configured.
    let layer = JwtLayer::builder(ISSUER, KeySource::fixed(jwks.to_string())).build().unwrap();
    let edge = serve(layer).await;
    let algorithms: Vec<_> =
        valid.iter().filter(|(name, _)| name.parse::<Algorithm>().is_ok()).collect();
    assert_eq!(algorithms.len(), 9);
    for (name, token) in algorithms {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let expected = if name == "RS256" { 200 } else { 401 };
        assert_eq!(send(edge, request).await.status(), expected, "{name}");
    }
}
