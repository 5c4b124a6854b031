use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{secret::SigningKey, session::Session};
use crate::{auth::future::Grant, header_fields::remove_if, hop_by_hop::describes_user};

const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-amzn-oidc-accesstoken");
const SUBJECT: HeaderName = HeaderName::from_static("x-amzn-oidc-identity");
const DATA: HeaderName = HeaderName::from_static("x-amzn-oidc-data");

/// Removes the fields that name a user, `x-amzn-oidc-*`.
///
/// [`Oidc`](super::Oidc) does so with each request. A router does so before it reads a request, and
/// on the paths that no such layer protects: otherwise a client could name a user there.
pub fn strip_identity(headers: &mut HeaderMap) {
    remove_if(headers, describes_user);
}

/// The user of a request, as an extension that [`Oidc`](super::Oidc) inserts.
///
/// `Debug` shows nothing of the user. Clones share the claims.
#[derive(Clone)]
pub struct Identity(Arc<User>);

struct User {
    subject: String,
    claims: Map<String, Value>,
}

impl Identity {
    /// Returns the identifier of the user at the provider, the claim `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Returns the claims of the user-info endpoint, or those of the ID token if there is no such
    /// endpoint.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.0.claims
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Who signs what targets get.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) key: Option<SigningKey>,
    pub(super) issuer: String,
    pub(super) client: String,
}

impl Signer {
    /// Returns what a request of a session gets. `None` if a value cannot be in a field.
    pub(super) fn grant(&self, session: Session, now: u64) -> Option<Grant> {
        let mut fields = HeaderMap::with_capacity(3);
        fields.insert(ACCESS_TOKEN, value(&session.access_token)?);
        fields.insert(SUBJECT, value(&session.subject)?);
        if let Some(key) = &self.key {
            let data = key.sign(&session.claims, &self.issuer, &self.client, now)?;
            fields.insert(DATA, value(&data)?);
        }
        let user = User { subject: session.subject, claims: session.claims };
        let mut extensions = Extensions::new();
        extensions.insert(Identity(Arc::new(user)));
        Some(Grant { fields, extensions, cookies: Vec::new() })
    }
}

/// Returns the value of a field, which logs do not show.
fn value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
