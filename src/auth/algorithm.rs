use std::{fmt, str::FromStr};

use crate::ParseError;

/// A signature algorithm of JSON Web Tokens (RFC 7518, 3.1 and RFC 8037, 3.1).
///
/// All of them use a public key. `none` and the algorithms with a shared secret, such as `HS256`,
/// have no value here, so a public key can never be mistaken for a secret.
///
/// ```
/// use tower_lb::auth::Algorithm;
///
/// assert!(matches!("ES256".parse(), Ok(Algorithm::Es256)));
/// assert!("HS256".parse::<Algorithm>().is_err() && "none".parse::<Algorithm>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// `RS256`: RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// `RS384`: RSA PKCS #1 v1.5 with SHA-384.
    Rs384,
    /// `RS512`: RSA PKCS #1 v1.5 with SHA-512.
    Rs512,
    /// `PS256`: RSA PSS with SHA-256.
    Ps256,
    /// `PS384`: RSA PSS with SHA-384.
    Ps384,
    /// `PS512`: RSA PSS with SHA-512.
    Ps512,
    /// `ES256`: ECDSA with P-256 and SHA-256.
    Es256,
    /// `ES384`: ECDSA with P-384 and SHA-384.
    Es384,
    /// `EdDSA` with Ed25519.
    EdDsa,
}

impl Algorithm {
    const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// Returns the name in the header of a token.
    fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl FromStr for Algorithm {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        found.ok_or_else(|| {
            ParseError::new("algorithm", text, "one with a public key, such as RS256")
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
