use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use openidconnect::{
    AccessTokenHash, AsyncHttpClient, AuthorizationCode, ClaimsVerificationError, Nonce,
    NonceVerifier, OAuth2TokenResponse, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, SignatureVerificationError, TokenResponse,
    core::{
        CoreErrorResponseType, CoreIdToken, CoreIdTokenVerifier, CoreJwsSigningAlgorithm,
        CoreTokenResponse,
    },
};
use serde_json::{Map, Value};

use super::{
    answer::{Failure, FailureLog},
    provider::{Endpoints, ProviderClient, SigningKeys},
    session::{CLOCK_SKEW, REFRESH_SECONDS, Session},
};
use crate::auth::{Algorithm, http_client::FetchError, unix_time::unix_time};

/// Exchanges codes and refresh tokens for sessions.
pub(super) struct TokenClient {
    pub(super) provider: ProviderClient,
    pub(super) algorithms: Vec<CoreJwsSigningAlgorithm>,
    /// How long a session lasts, in seconds.
    pub(super) session_seconds: u64,
}

/// What a code was requested with, and is exchanged with.
pub(super) struct CodeGrant {
    pub(super) code: String,
    pub(super) verifier: String,
    pub(super) nonce: String,
    pub(super) redirect: RedirectUrl,
}

type TokenError =
    RequestTokenError<FetchError, openidconnect::StandardErrorResponse<CoreErrorResponseType>>;

impl TokenClient {
    /// Returns a new session for the code of a login.
    pub(super) async fn login(&self, grant: CodeGrant) -> Result<Session, Failure> {
        let endpoints = self.provider.endpoints().await?;
        let client = self.provider.login_client(&endpoints);
        let now = unix_time();
        let response = client
            .exchange_code(AuthorizationCode::new(grant.code))
            .set_pkce_verifier(PkceCodeVerifier::new(grant.verifier))
            .set_redirect_uri(std::borrow::Cow::Owned(grant.redirect))
            .request_async(&self.provider)
            .await
            .map_err(failure_of)?;

        let access_token = access_token(&response)?;
        let token = response.id_token().ok_or_else(|| unusable("there is no ID token"))?;
        let nonce = Nonce::new(grant.nonce);
        let claims = self.verified(token, &nonce, &response, &endpoints).await?;
        let subject = subject_of(&claims)
            .filter(|subject| !subject.is_empty() && !subject.chars().any(char::is_control))
            .ok_or_else(|| unusable("the ID token has no valid subject"))?
            .to_owned();
        let claims = self.user_claims(claims, &access_token, &subject, &endpoints).await?;
        let session = Session {
            end: now.saturating_add(self.session_seconds),
            subject,
            claims,
            access_token,
            access_end: access_end(&response, now),
            refresh_token: refresh_token(&response),
        };
        if session.fits() { Ok(session) } else { Err(Failure::TooLarge) }
    }

    /// Returns the session with a new access token, or with the old one while the provider cannot
    /// say whether the session goes on.
    pub(super) async fn refresh_or_keep(
        &self,
        session: Session,
        failures: &FailureLog,
    ) -> Result<Session, Failure> {
        match self.refresh(&session).await {
            Ok((session, failure)) => {
                if let Some(failure) = failure {
                    failures.log_kept_claims(&failure);
                }
                Ok(session)
            }
            Err(failure) if failure.is_temporary() => {
                failures.log_kept_session(&failure);
                Ok(session.retried_later(unix_time()))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Returns the session with a new access token and the same end. If the claims cannot be
    /// renewed at the moment, they stay as they are, and the reason is returned as well.
    async fn refresh(&self, old: &Session) -> Result<(Session, Option<Failure>), Failure> {
        let endpoints = self.provider.endpoints().await?;
        let client = self.provider.login_client(&endpoints);
        let now = unix_time();
        let old_token = RefreshToken::new(old.refresh_token.clone().unwrap_or_default());
        let response = client
            .exchange_refresh_token(&old_token)
            .request_async(&self.provider)
            .await
            .map_err(failure_of)?;

        let access_token = access_token(&response)?;
        let claims = self.renewed_claims(old, &response, &access_token, &endpoints).await;
        let (claims, failure) = match claims {
            Ok(claims) => (claims, None),
            // The provider may have withdrawn the old refresh token by now, so the new one must
            // not be lost.
            Err(failure) if failure.is_temporary() => (old.claims.clone(), Some(failure)),
            Err(failure) => return Err(failure),
        };
        let session = Session {
            end: old.end,
            subject: old.subject.clone(),
            claims,
            access_token,
            // A provider whose tokens expire at once must not be asked for each request.
            access_end: access_end(&response, now).map(|end| end.max(now + REFRESH_SECONDS)),
            // A provider that gives no new refresh token means the old one to be kept.
            refresh_token: refresh_token(&response).or_else(|| old.refresh_token.clone()),
        };
        if session.fits() { Ok((session, failure)) } else { Err(Failure::TooLarge) }
    }

    /// Returns the claims of the user of a session after a refresh.
    async fn renewed_claims(
        &self,
        old: &Session,
        response: &CoreTokenResponse,
        access_token: &str,
        endpoints: &Endpoints,
    ) -> Result<Map<String, Value>, Failure> {
        let claims = match response.id_token() {
            Some(token) => {
                // The nonce belongs to the login (OpenID Connect Core 1.0, 12.2).
                let any_nonce = |_: Option<&Nonce>| Ok(());
                let verified = self.verified(token, any_nonce, response, endpoints).await;
                let claims = verified.map_err(|failure| match failure {
                    // The provider may have new keys.
                    Failure::Refused(NO_NEWER_KEYS) => unusable(NO_NEWER_KEYS),
                    failure => failure,
                })?;
                if subject_of(&claims) != Some(&*old.subject) {
                    return Err(Failure::Refused("the refreshed ID token is of another user"));
                }
                claims
            }
            None => {
                let mut claims = old.claims.clone();
                claims.insert("sub".to_owned(), old.subject.clone().into());
                claims
            }
        };
        self.user_claims(claims, access_token, &old.subject, endpoints).await
    }

    /// Returns the claims of the user-info endpoint; without one, those of the ID token.
    async fn user_claims(
        &self,
        claims: Map<String, Value>,
        access_token: &str,
        subject: &str,
        endpoints: &Endpoints,
    ) -> Result<Map<String, Value>, Failure> {
        match &endpoints.user_info {
            Some(url) => self.user_info(url, access_token, subject).await,
            None => Ok(claims),
        }
    }

    /// Returns the claims of an ID token that the provider has made for this client.
    async fn verified<N: NonceVerifier + Copy>(
        &self,
        token: &CoreIdToken,
        nonce: N,
        response: &CoreTokenResponse,
        endpoints: &Endpoints,
    ) -> Result<Map<String, Value>, Failure> {
        let keys = self.provider.keys(endpoints).await?;
        match self.verify(token, nonce, response, &keys) {
            Err(IdTokenError::UnknownKey) => {
                let keys = self.provider.keys_after(&keys, endpoints).await;
                let keys = keys.ok_or(Failure::Refused(NO_NEWER_KEYS))?;
                self.verify(token, nonce, response, &keys)
            }
            verified => verified,
        }
        .map_err(|error| match error {
            IdTokenError::UnknownKey => Failure::Refused(UNKNOWN_KEY),
            IdTokenError::Invalid(reason) => Failure::Refused(reason),
        })
    }

    fn verify<N: NonceVerifier>(
        &self,
        token: &CoreIdToken,
        nonce: N,
        response: &CoreTokenResponse,
        keys: &Arc<SigningKeys>,
    ) -> Result<Map<String, Value>, IdTokenError> {
        let client = &self.provider.client_id;
        let now = unix_time();
        // A client without a secret in the verifier: a shared secret verifies no token.
        let verifier = CoreIdTokenVerifier::new_public_client(
            client.clone(),
            self.provider.issuer.clone(),
            keys.0.clone(),
        )
        .set_allowed_algs(self.algorithms.iter().cloned())
        // The library refuses other audiences; `azp` below decides about them.
        .set_other_audience_verifier_fn(|_| true)
        .set_issue_time_verifier_fn(move |issued| {
            let latest = i64::try_from(now + CLOCK_SKEW).unwrap_or(i64::MAX);
            if issued.timestamp() <= latest { Ok(()) } else { Err("issued in the future".into()) }
        });
        let claims = token.claims(&verifier, nonce).map_err(|error| id_token_error(&error))?;

        let is_for_others = claims.audiences().len() > 1;
        match claims.authorized_party() {
            Some(party) if party != client => return Err(IdTokenError::Invalid(OTHER_PARTY)),
            None if is_for_others => return Err(IdTokenError::Invalid(OTHER_PARTY)),
            _ => {}
        }
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = token.signing_alg().map_err(|_| IdTokenError::Invalid(WRONG_HASH))?;
            let key = token.signing_key(&verifier).map_err(|_| IdTokenError::UnknownKey)?;
            let hash = AccessTokenHash::from_token(response.access_token(), algorithm, key);
            if !hash.is_ok_and(|hash| hash == *expected) {
                return Err(IdTokenError::Invalid(WRONG_HASH));
            }
        }
        payload(token).ok_or(IdTokenError::Invalid("the ID token is malformed"))
    }

    /// Returns the claims of the user-info endpoint `url`, which must be about `subject`.
    async fn user_info(
        &self,
        url: &Uri,
        access_token: &str,
        subject: &str,
    ) -> Result<Map<String, Value>, Failure> {
        let mut request = Request::new(Vec::new());
        *request.uri_mut() = url.clone();
        let mut bearer = HeaderValue::try_from(format!("Bearer {access_token}"))
            .map_err(|_| unusable("the access token is not valid"))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::ACCEPT, json);

        let response = self.provider.call(request).await?;
        match response.status() {
            StatusCode::OK => {}
            // The provider knows the token, and accepts it no longer (RFC 6750, 3.1).
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(Failure::Denied(FetchError::Status(status).to_string()));
            }
            status => return Err(FetchError::Status(status).into()),
        }
        let claims: Map<String, Value> = serde_json::from_slice(response.body())
            .map_err(|_| unusable("the user info is not an object"))?;
        // A token could have been exchanged (OpenID Connect Core 1.0, 5.3.2).
        if subject_of(&claims) != Some(subject) {
            return Err(Failure::Refused("the user info is about another user"));
        }
        Ok(claims)
    }
}

const UNKNOWN_KEY: &str = "no key of the provider fits the ID token";
const NO_NEWER_KEYS: &str =
    "no key of the provider fits the ID token, and newer keys cannot be fetched now";
const OTHER_PARTY: &str = "the ID token is for another party";
const WRONG_HASH: &str = "the access token does not fit the ID token";

enum IdTokenError {
    /// Newer keys may verify it.
    UnknownKey,
    Invalid(&'static str),
}

/// Returns a reason without anything of the token, which the library's errors quote.
fn id_token_error(error: &ClaimsVerificationError) -> IdTokenError {
    use ClaimsVerificationError as E;
    IdTokenError::Invalid(match error {
        E::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            return IdTokenError::UnknownKey;
        }
        E::SignatureVerification(SignatureVerificationError::DisallowedAlg(_)) => {
            "the algorithm of the ID token is not allowed"
        }
        E::SignatureVerification(_) => "the signature of the ID token is not valid",
        E::Expired(_) => "the ID token has expired, or is from the future",
        E::InvalidAudience(_) => "the ID token is for another client",
        E::InvalidIssuer(_) => "the ID token is of another issuer",
        E::InvalidNonce(_) => "the ID token is of another login",
        _ => "the ID token is not valid",
    })
}

fn failure_of(error: TokenError) -> Failure {
    match error {
        RequestTokenError::ServerResponse(response) => {
            let text = format!("error {}", response.error());
            match response.error() {
                CoreErrorResponseType::InvalidGrant => Failure::Denied(text),
                _ => Failure::Provider(text),
            }
        }
        RequestTokenError::Request(error) => error.into(),
        // The errors of the parser quote the response, which has tokens.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            unusable("the token response is not valid")
        }
    }
}

fn unusable(reason: &str) -> Failure {
    Failure::Unreachable(reason.to_owned())
}

fn access_token(response: &CoreTokenResponse) -> Result<String, Failure> {
    let token = response.access_token().secret();
    let is_text = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_text { Ok(token.clone()) } else { Err(unusable("the access token is not valid")) }
}

fn access_end(response: &CoreTokenResponse, now: u64) -> Option<u64> {
    Some(now.saturating_add(response.expires_in()?.as_secs()))
}

fn refresh_token(response: &CoreTokenResponse) -> Option<String> {
    Some(response.refresh_token()?.secret().clone())
}

fn subject_of(claims: &Map<String, Value>) -> Option<&str> {
    claims.get("sub")?.as_str()
}

/// Returns all claims of a token that has been verified. The library keeps the standard ones only.
fn payload(token: &CoreIdToken) -> Option<Map<String, Value>> {
    let text = token.to_string();
    let payload = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Returns the same algorithm in the terms of the library.
pub(super) fn library_algorithm(algorithm: Algorithm) -> CoreJwsSigningAlgorithm {
    match algorithm {
        Algorithm::Rs256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
        Algorithm::Rs384 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
        Algorithm::Rs512 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
        Algorithm::Ps256 => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
        Algorithm::Ps384 => CoreJwsSigningAlgorithm::RsaSsaPssSha384,
        Algorithm::Ps512 => CoreJwsSigningAlgorithm::RsaSsaPssSha512,
        Algorithm::Es256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        Algorithm::Es384 => CoreJwsSigningAlgorithm::EcdsaP384Sha384,
        Algorithm::EdDsa => CoreJwsSigningAlgorithm::EdDsa,
    }
}
