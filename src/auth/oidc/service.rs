use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tower_service::Service;

use super::{
    Identity, OnUnauthenticated,
    answer::Failure,
    builder::Settings,
    cookies::Presented,
    head::RequestHead,
    identity::strip_identity,
    origin::PublicOrigin,
    original_target::original,
    seal::Purpose,
    session::{Session, Validity},
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

/// Forwards the requests of users that are logged in, and logs the others in; made by
/// [`OidcLayer`](super::OidcLayer). The [module](super) says how.
///
/// A request with a valid session reaches the inner service in `call`. One that has to wait for the
/// provider holds a clone of it. A request that is answered here leaves what `poll_ready` has
/// reserved to the clone.
#[derive(Clone)]
pub struct Oidc<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Oidc<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for Oidc<S>
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
        // Nothing but this service names a user.
        strip_identity(request.headers_mut());
        request.extensions_mut().remove::<Identity>();
        let decision = self.settings.decide_now(&request).map_err(|wait| {
            let settings = Arc::clone(&self.settings);
            Box::pin(async move { settings.decide(*wait).await }) as BoxFuture<_>
        });
        AuthFuture::new(&mut self.inner, request, decision)
    }
}

/// A decision that the provider is needed for.
struct Wait {
    task: Task,
    head: RequestHead,
}

/// What has to be asked of the provider.
enum Task {
    /// Where the browser is led to.
    BeginLogin,
    /// What the login is worth that the browser comes back from.
    FinishLogin,
    /// A new access token.
    Refresh(Session),
}

impl Settings {
    /// Decides without the provider, or returns what has to be asked.
    fn decide_now<B>(&self, request: &Request<B>) -> Result<Decision, Box<Wait>> {
        let Some(origin) = PublicOrigin::of(request) else {
            return Ok(self.answer(&Failure::Refused("the request has no valid host")));
        };
        let wait =
            |task, origin| Err(Box::new(Wait { task, head: RequestHead::of(request, origin) }));
        if original(request).0.path() == self.callback_path {
            return wait(Task::FinishLogin, origin);
        }
        let now = unix_time();
        let found = self.find_session(request.headers(), &origin);
        let validity = |session: &Session| session.validity(now, self.tokens.session_seconds);
        match found.map(|session| (validity(&session), session)) {
            Some((Validity::Valid, session)) => Ok(self.grant(session, Vec::new())),
            Some((Validity::NeedsRefresh, session)) => wait(Task::Refresh(session), origin),
            found => match self.without_session(request.method(), found.is_some()) {
                Some(decision) => Ok(decision),
                None => wait(Task::BeginLogin, origin),
            },
        }
    }

    /// Returns what becomes of a request without a session, or `None` if it begins a login.
    fn without_session(&self, method: &Method, has_ended: bool) -> Option<Decision> {
        // The browser would come back by `GET`, without the body.
        let may_begin = matches!(*method, Method::GET | Method::HEAD);
        match self.on_unauthenticated {
            OnUnauthenticated::Allow => Some(Decision::Forward(Grant::default())),
            OnUnauthenticated::Authenticate if may_begin => None,
            OnUnauthenticated::Deny if may_begin && has_ended => None,
            OnUnauthenticated::Authenticate | OnUnauthenticated::Deny => {
                Some(self.answer(&Failure::Unauthenticated))
            }
        }
    }

    async fn decide(&self, wait: Wait) -> Decision {
        let Wait { task, head } = wait;
        let response = match task {
            Task::BeginLogin => self.begin_login(&head).await,
            Task::FinishLogin => self.finish_login(&head).await,
            Task::Refresh(session) => return self.refresh(session, head).await,
        };
        response.map_or_else(|failure| self.answer(&failure), Decision::Answer)
    }

    /// Replaces the access token, or begins a login if the provider has ended the session.
    async fn refresh(&self, session: Session, head: RequestHead) -> Decision {
        let needs_refresh = |session: &Session| {
            session.validity(unix_time(), self.tokens.session_seconds) == Validity::NeedsRefresh
        };
        // Not the settings, which hold the kept refreshes themselves.
        let (tokens, failures) = (Arc::clone(&self.tokens), Arc::clone(&self.failures));
        let refresh =
            self.refreshes.join(self.sealer.context(), session, needs_refresh, |session| {
                Box::pin(async move { tokens.refresh_or_keep(session, &failures).await })
            });
        let refreshed = match refresh.await {
            Ok(session) => self.session_cookies(&session, &head).map(|cookies| (session, cookies)),
            Err(failure) => Err(failure),
        };
        match refreshed {
            Ok((session, cookies)) => self.grant(session, cookies),
            Err(failure) if failure.ends_session() => {
                self.failures.log(&failure);
                match self.without_session(&head.method, true) {
                    Some(decision) => decision,
                    None => {
                        let response = self.begin_login(&head).await;
                        response.map_or_else(|failure| self.answer(&failure), Decision::Answer)
                    }
                }
            }
            Err(failure) => self.answer(&failure),
        }
    }

    /// Returns the session of a request, which may have ended.
    fn find_session(&self, headers: &HeaderMap, origin: &PublicOrigin) -> Option<Session> {
        let Presented::Sealed(sealed) = self.cookies.session(headers) else { return None };
        let text = self.sealer.open(Purpose::Session, origin.host(), &sealed)?;
        serde_json::from_slice(&text).ok()
    }

    /// Returns the values of `Set-Cookie` that give a browser its session.
    pub(super) fn session_cookies(
        &self,
        session: &Session,
        head: &RequestHead,
    ) -> Result<Vec<HeaderValue>, Failure> {
        let text = serde_json::to_vec(session).map_err(|_| Failure::Internal)?;
        let sealed = self.sealer.seal(Purpose::Session, head.origin.host(), &text);
        let sealed = sealed.ok_or(Failure::Internal)?;
        self.cookies.set_session(&sealed, &head.cookies).ok_or(Failure::TooLarge)
    }

    fn grant(&self, session: Session, cookies: Vec<HeaderValue>) -> Decision {
        match self.signer.grant(session, unix_time()) {
            Some(grant) => Decision::Forward(Grant { cookies, ..grant }),
            None => self.answer(&Failure::Internal),
        }
    }

    fn answer(&self, failure: &Failure) -> Decision {
        self.failures.log(failure);
        Decision::Answer(failure.respond())
    }
}

impl<S: fmt::Debug> fmt::Debug for Oidc<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .finish()
    }
}
