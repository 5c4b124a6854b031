//! A provider that does what a test tells it, also to lie.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const CLIENT: &str = "edge";
pub(crate) const SECRET: &str = "client secret";

/// What a test may change of a provider that is honest by default.
pub(crate) struct Script {
    /// Changes the claims of the ID token.
    pub(crate) claims: Box<dyn Fn(&mut Value) + Send>,
    /// Changes the header of the ID token, before it is signed.
    pub(crate) header: Box<dyn Fn(&mut Value) + Send>,
    /// Makes the ID token of claims and the honest token.
    pub(crate) token: Box<dyn Fn(&Value, String) -> String + Send>,
    /// Changes the response of the token endpoint.
    pub(crate) response: Box<dyn Fn(&mut Value) + Send>,
    /// Replaces the response of an endpoint, by its path.
    pub(crate) replaced: HashMap<&'static str, (u16, String)>,
    /// How long an endpoint takes, by its path.
    pub(crate) slow: HashMap<&'static str, Duration>,
    pub(crate) user_info: Value,
    pub(crate) keys: Value,
    pub(crate) kid: String,
    /// What the token endpoint has been asked, by `grant_type`, and each path.
    pub(crate) asked: HashMap<String, usize>,
    key: EncodingKey,
    /// Nonce and challenge of each code.
    codes: HashMap<String, (String, String)>,
    /// The refresh tokens that were used. Each is accepted once.
    spent: HashSet<String>,
}

#[derive(Clone)]
pub(crate) struct ScriptedProvider {
    pub(crate) address: SocketAddr,
    pub(crate) script: Arc<Mutex<Script>>,
}

impl ScriptedProvider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (key, keys) = signing_key("first");
        let script = Script {
            claims: Box::new(|_| {}),
            header: Box::new(|_| {}),
            token: Box::new(|_, token| token),
            response: Box::new(|_| {}),
            replaced: HashMap::new(),
            slow: HashMap::new(),
            user_info: json!({ "sub": "alice", "email": "alice@example.com" }),
            keys: json!({ "keys": [keys] }),
            kid: "first".into(),
            asked: HashMap::new(),
            key,
            codes: HashMap::new(),
            spent: HashSet::new(),
        };
        let provider = Self { address, script: Arc::new(Mutex::new(script)) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(description))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .route("/jwks", get(keys_of))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    pub(crate) fn asked(&self, what: &str) -> usize {
        self.script.lock().unwrap().asked.get(what).copied().unwrap_or_default()
    }

    /// Counts a request, waits, and returns the response that replaces the honest one.
    async fn enter(&self, path: &'static str) -> Option<Response> {
        let (slow, replaced) = {
            let mut script = self.script.lock().unwrap();
            *script.asked.entry(path.into()).or_default() += 1;
            (script.slow.get(path).copied(), script.replaced.get(path).cloned())
        };
        tokio::time::sleep(slow.unwrap_or_default()).await;
        let (status, body) = replaced?;
        let status = StatusCode::from_u16(status).unwrap();
        let location =
            [(header::LOCATION, "http://127.0.0.1:1/"), (header::CONTENT_TYPE, "application/json")];
        Some((status, location, body).into_response())
    }
}

/// Returns a new key for ES256, and its public key as a JWK.
pub(crate) fn signing_key(kid: &str) -> (EncodingKey, Value) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    public.common.key_id = Some(kid.into());
    (key, serde_json::to_value(public).unwrap())
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

async fn description(State(provider): State<ScriptedProvider>) -> Response {
    if let Some(replaced) = provider.enter("description").await {
        return replaced;
    }
    let issuer = provider.issuer();
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/jwks"),
    }))
    .into_response()
}

async fn authorize(
    State(provider): State<ScriptedProvider>,
    Query(query): Query<HashMap<String, String>>,
) -> Redirect {
    assert_eq!((&*query["response_type"], &*query["client_id"]), ("code", CLIENT));
    assert_eq!(query["code_challenge_method"], "S256");
    let code = format!("code-{}", provider.script.lock().unwrap().codes.len());
    let grant = (query["nonce"].clone(), query["code_challenge"].clone());
    provider.change(|script| _ = script.codes.insert(code.clone(), grant));
    Redirect::to(&format!("{}?code={code}&state={}", query["redirect_uri"], query["state"]))
}

async fn token(
    State(provider): State<ScriptedProvider>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form: HashMap<String, String> =
        Query::try_from_uri(&format!("/?{}", std::str::from_utf8(&body).unwrap()).parse().unwrap())
            .unwrap()
            .0;
    let grant_type = form["grant_type"].clone();
    provider.change(|script| *script.asked.entry(grant_type.clone()).or_default() += 1);
    let basic = base64::engine::general_purpose::STANDARD.encode("edge:client+secret");
    assert_eq!(headers[header::AUTHORIZATION], format!("Basic {basic}"));
    if let Some(replaced) = provider.enter("token").await {
        return replaced;
    }
    let mut script = provider.script.lock().unwrap();
    let error =
        |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let mut claims = json!({
        "iss": provider.issuer(), "aud": CLIENT, "sub": "alice", "exp": now() + 60, "iat": now(),
    });
    match &*grant_type {
        "authorization_code" => {
            let Some((nonce, challenge)) = script.codes.remove(&form["code"]) else {
                return error("invalid_grant");
            };
            let verifier =
                ring::digest::digest(&ring::digest::SHA256, form["code_verifier"].as_bytes());
            assert_eq!(URL_SAFE_NO_PAD.encode(verifier), challenge);
            claims["nonce"] = nonce.into();
        }
        "refresh_token"
            if form["refresh_token"].starts_with("refresh-")
                && script.spent.insert(form["refresh_token"].clone()) => {}
        _ => return error("invalid_grant"),
    }
    (script.claims)(&mut claims);
    let mut header = json!({ "alg": "ES256", "typ": "JWT", "kid": script.kid });
    (script.header)(&mut header);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &script.key, Algorithm::ES256).unwrap();
    let honest = format!("{message}.{signature}");
    let number = script.asked.values().sum::<usize>();
    let mut response = json!({
        "access_token": format!("access-{number}"),
        "refresh_token": format!("refresh-{number}"),
        "token_type": "Bearer",
        "expires_in": 3600,
        "id_token": (script.token)(&claims, honest),
    });
    (script.response)(&mut response);
    Json(response).into_response()
}

async fn user_info(State(provider): State<ScriptedProvider>, headers: HeaderMap) -> Response {
    assert!(headers[header::AUTHORIZATION].to_str().unwrap().starts_with("Bearer access-"));
    match provider.enter("userinfo").await {
        Some(replaced) => replaced,
        None => Json(provider.script.lock().unwrap().user_info.clone()).into_response(),
    }
}

async fn keys_of(State(provider): State<ScriptedProvider>) -> Response {
    match provider.enter("jwks").await {
        Some(replaced) => replaced,
        None => Json(provider.script.lock().unwrap().keys.clone()).into_response(),
    }
}
