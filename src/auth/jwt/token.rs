use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    bearer::TokenError,
    keys::{Keys, library_algorithm},
};
use crate::auth::Algorithm;

/// The header of a signed token (RFC 7515, 4.1). What is not read cannot be trusted by mistake:
/// `jku`, `jwk`, `x5u` and `x5c` name keys of the token's choice.
#[derive(Deserialize)]
struct JoseHeader<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

/// Returns the claims of a token that one of the keys has signed with one of the algorithms.
pub(super) fn signed_claims(
    token: &str,
    keys: &Keys,
    algorithms: &[Algorithm],
) -> Result<Map<String, Value>, TokenError> {
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let [header, payload] = [decode(header)?, decode(payload)?];
    decode(signature)?;

    let header: JoseHeader<'_> =
        serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
    if header.crit {
        return Err(TokenError::UnknownExtension);
    }
    let algorithm = header.alg.parse().map_err(|_| TokenError::Algorithm)?;
    if !algorithms.contains(&algorithm) {
        return Err(TokenError::Algorithm);
    }

    let mut outcome = Err(TokenError::UnknownKey);
    for key in keys.candidates(header.kid.as_deref(), algorithm) {
        let library = library_algorithm(algorithm);
        let verified = jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, library);
        if matches!(verified, Ok(true)) {
            outcome = Ok(());
            break;
        }
        outcome = Err(TokenError::Signature);
    }
    outcome?;
    let Claims(claims) = serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
    Ok(claims)
}

/// Decodes base64url without padding. Text that is not canonical is refused, so that a token has
/// one form only.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

/// Returns `true` for a member that is there, whatever its value.
fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// An object in which no name occurs twice.
struct Claims(Map<String, Value>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a claim occurs twice"));
            }
        }
        Ok(Claims(claims))
    }
}
