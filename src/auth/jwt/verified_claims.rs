use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

/// The claims of a token that [`Jwt`](super::Jwt) has verified, as an extension of the request.
///
/// `Debug` shows the names of the claims and not their values, which are about a person or a
/// program. Clones share the claims.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedClaims(Arc<Map<String, Value>>);

impl VerifiedClaims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(Arc::new(claims))
    }

    /// Returns the value of a claim.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns the claim `sub`, if it is a string: the user or program that the token is about.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.get("sub")?.as_str()
    }

    /// Returns all claims.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl fmt::Debug for VerifiedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
