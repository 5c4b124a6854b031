use std::time::Duration;

use serde_json::{Map, Value};

use super::{RequiredClaim, VerifiedClaims, bearer::TokenError, keys::Keys, token::signed_claims};
use crate::auth::Algorithm;

/// What every token must have.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) issuer: String,
    pub(super) algorithms: Vec<Algorithm>,
    /// `aud` is not verified if the list is empty.
    pub(super) audiences: Vec<String>,
    pub(super) claims: Vec<RequiredClaim>,
    pub(super) leeway: Duration,
}

impl Verifier {
    /// Returns the claims of a token that is valid at `now`, in seconds since the Unix epoch.
    pub(super) fn verify(
        &self,
        token: &str,
        keys: &Keys,
        now: u64,
    ) -> Result<VerifiedClaims, TokenError> {
        let claims = signed_claims(token, keys, &self.algorithms)?;
        self.check_issuer(&claims)?;
        self.check_times(&claims, now)?;
        self.check_audience(&claims)?;
        if self.claims.iter().all(|claim| claim.is_met_by(&claims)) {
            Ok(VerifiedClaims::new(claims))
        } else {
            Err(TokenError::RequiredClaim)
        }
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        match claims.get("iss") {
            Some(Value::String(issuer)) if *issuer == self.issuer => Ok(()),
            _ => Err(TokenError::Claim("iss")),
        }
    }

    fn check_times(&self, claims: &Map<String, Value>, now: u64) -> Result<(), TokenError> {
        // Seconds since 1970 are exact in a float, and claims may have fractions.
        let (now, leeway) = (now as f64, self.leeway.as_secs_f64());
        let time = |name| match claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(TokenError::Claim(name)),
        };
        let expiry = time("exp")?.ok_or(TokenError::Claim("exp"))?;
        if now >= expiry + leeway {
            return Err(TokenError::Claim("exp"));
        }
        for name in ["nbf", "iat"] {
            if time(name)?.is_some_and(|time| time > now + leeway) {
                return Err(TokenError::Claim(name));
            }
        }
        Ok(())
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let is_ours = |name: &Value| {
            name.as_str().is_some_and(|name| self.audiences.iter().any(|ours| ours == name))
        };
        let is_valid = match claims.get("aud") {
            _ if self.audiences.is_empty() => true,
            Some(Value::Array(names)) => names.iter().any(is_ours),
            Some(name) => is_ours(name),
            None => false,
        };
        if is_valid { Ok(()) } else { Err(TokenError::Claim("aud")) }
    }
}
