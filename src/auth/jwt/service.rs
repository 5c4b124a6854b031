use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, HeaderMap, Request, Response};
use tower_service::Service;

use super::{
    VerifiedClaims,
    bearer::{Refusal, TokenError, bearer_token},
    builder::Settings,
    keys::Keys,
};
use crate::{
    auth::{
        AuthFuture,
        future::{Decision, Grant},
        http_client::BoxFuture,
        unix_time::unix_time,
    },
    http::GatewayBody,
};

/// Forwards requests with a valid bearer token; made by [`JwtLayer`](super::JwtLayer).
///
/// The token passes unchanged, and the request gets [`VerifiedClaims`] as an extension. The
/// [module](super) lists what is verified, and the answers to all other requests. `CONNECT` and
/// `OPTIONS` need a token, too: route preflights around this service.
///
/// A request that need not wait for a key set reaches the inner service in `call`. The others hold
/// a clone of it. A refused request leaves what `poll_ready` has reserved to the clone.
#[derive(Clone)]
pub struct Jwt<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Jwt<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for Jwt<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<GatewayBody<R>>;
    type Error = S::Error;
    type Future = AuthFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> AuthFuture<S, B> {
        // No one but this service vouches for claims.
        request.extensions_mut().remove::<VerifiedClaims>();
        let decision = self.settings.decide_now(request.headers());
        let decision = decision.map_err(|wait| {
            let settings = Arc::clone(&self.settings);
            Box::pin(async move { settings.decide(wait).await }) as BoxFuture<_>
        });
        AuthFuture::new(&mut self.inner, request, decision)
    }
}

/// A token that cannot be verified yet.
struct Wait {
    token: String,
    /// The keys of which none has the token's `kid`.
    tried: Option<Arc<Keys>>,
}

impl Settings {
    /// Decides without waiting, or returns what has to be waited for.
    fn decide_now(&self, headers: &HeaderMap) -> Result<Decision, Wait> {
        let token = match bearer_token(headers) {
            Ok(token) => token,
            Err(refusal) => return Ok(refuse(refusal)),
        };
        let Some(keys) = self.keys.fresh() else {
            return Err(Wait { token: token.to_owned(), tried: None });
        };
        match self.verifier.verify(token, &keys, unix_time()) {
            Err(TokenError::UnknownKey) if self.keys.is_fetched() => {
                Err(Wait { token: token.to_owned(), tried: Some(keys) })
            }
            verified => Ok(decision(verified)),
        }
    }

    async fn decide(&self, wait: Wait) -> Decision {
        let Wait { token, tried } = wait;
        let tried = match tried {
            Some(keys) => keys,
            None => {
                let Some(keys) = self.keys.get().await else { return refuse(Refusal::NoKeys) };
                match self.verifier.verify(&token, &keys, unix_time()) {
                    Err(TokenError::UnknownKey) => keys,
                    verified => return decision(verified),
                }
            }
        };
        match self.keys.newer_than(&tried).await {
            Some(keys) => decision(self.verifier.verify(&token, &keys, unix_time())),
            None => refuse(Refusal::Token(TokenError::UnknownKey)),
        }
    }
}

fn decision(verified: Result<VerifiedClaims, TokenError>) -> Decision {
    match verified {
        Ok(claims) => {
            let mut extensions = Extensions::new();
            extensions.insert(claims);
            Decision::Forward(Grant { extensions, ..Grant::default() })
        }
        Err(error) => refuse(Refusal::Token(error)),
    }
}

fn refuse(refusal: Refusal) -> Decision {
    refusal.log();
    Decision::Answer(refusal.respond())
}

impl<S: fmt::Debug> fmt::Debug for Jwt<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("inner", &self.inner)
            .field("verifier", &self.settings.verifier)
            .finish_non_exhaustive()
    }
}
