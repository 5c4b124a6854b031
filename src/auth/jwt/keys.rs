use jsonwebtoken::{
    Algorithm as JwtAlgorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use serde_json::Value;

use crate::{
    BoxError,
    auth::{Algorithm, key_set::verification_keys},
};

/// The decoded keys of a set.
pub(super) struct Keys {
    keys: Vec<VerificationKey>,
}

struct VerificationKey {
    kid: Option<String>,
    kind: KeyKind,
    /// `alg` of the key. A key that names one verifies no other.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Keys {
    /// Reads a JWK set. Keys that cannot be decoded are left out; a set without any other is an
    /// error.
    pub(super) fn parse(text: &[u8], max_keys: usize) -> Result<Self, BoxError> {
        let keys: Vec<_> =
            verification_keys(text, max_keys)?.iter().filter_map(VerificationKey::new).collect();
        if keys.is_empty() {
            return Err("the key set has no key of a known type".into());
        }
        Ok(Self { keys })
    }

    /// Returns the keys that may have signed a token with this header.
    pub(super) fn candidates<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let fits = move |key: &&VerificationKey| {
            (kid.is_none() || key.kid.as_deref() == kid)
                && key.kind == KeyKind::of(algorithm)
                && key.algorithm.is_none_or(|only| only == algorithm)
        };
        self.keys.iter().filter(fits).map(|key| &key.key)
    }
}

impl VerificationKey {
    fn new(key: &Value) -> Option<Self> {
        let algorithm = match key.get("alg") {
            Some(name) => Some(name.as_str()?.parse().ok()?),
            None => None,
        };
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        let kind = KeyKind::of_key(&jwk.algorithm)?;
        if algorithm.is_some_and(|algorithm| KeyKind::of(algorithm) != kind) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { kid: jwk.common.key_id, kind, algorithm, key })
    }
}

impl KeyKind {
    fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::P256,
            Algorithm::Es384 => Self::P384,
            Algorithm::EdDsa => Self::Ed25519,
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => Self::Rsa,
        }
    }

    fn of_key(parameters: &AlgorithmParameters) -> Option<Self> {
        match parameters {
            AlgorithmParameters::RSA(_) => Some(Self::Rsa),
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => Some(Self::P256),
                EllipticCurve::P384 => Some(Self::P384),
                _ => None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                Some(Self::Ed25519)
            }
            _ => None,
        }
    }
}

/// Returns the same algorithm in the terms of the library.
pub(super) fn library_algorithm(algorithm: Algorithm) -> JwtAlgorithm {
    match algorithm {
        Algorithm::Rs256 => JwtAlgorithm::RS256,
        Algorithm::Rs384 => JwtAlgorithm::RS384,
        Algorithm::Rs512 => JwtAlgorithm::RS512,
        Algorithm::Ps256 => JwtAlgorithm::PS256,
        Algorithm::Ps384 => JwtAlgorithm::PS384,
        Algorithm::Ps512 => JwtAlgorithm::PS512,
        Algorithm::Es256 => JwtAlgorithm::ES256,
        Algorithm::Es384 => JwtAlgorithm::ES384,
        Algorithm::EdDsa => JwtAlgorithm::EdDSA,
    }
}
