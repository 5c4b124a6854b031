use std::cmp::Reverse;

use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{
        OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA384WITHRSA,
        OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512, Oid,
    },
    public_key::PublicKey,
};

/// Orders the certificates of one name; the smallest that the client can verify is used.
///
/// Source: Application Load Balancers choose by the algorithm of the public key, the hash of the
/// signature, the length of the key, and the validity. Where this differs: the one that expires
/// last comes first, and Ed25519 comes after ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    algorithm: Algorithm,
    hash_bits: Reverse<u16>,
    key_bits: Reverse<usize>,
    not_after: Reverse<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Ecdsa,
    Other,
    Rsa,
}

impl Rank {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let (algorithm, key_bits) = match certificate.public_key().parsed() {
            Ok(PublicKey::EC(point)) => (Algorithm::Ecdsa, point.key_size()),
            Ok(PublicKey::RSA(key)) => (Algorithm::Rsa, key.key_size()),
            _ => (Algorithm::Other, 0),
        };
        Self {
            algorithm,
            hash_bits: Reverse(hash_bits(&certificate.signature_algorithm.algorithm)),
            key_bits: Reverse(key_bits),
            not_after: Reverse(certificate.validity().not_after.timestamp()),
        }
    }

    /// Returns the name of the key's algorithm, for operators.
    pub(super) fn algorithm(self) -> &'static str {
        match self.algorithm {
            Algorithm::Ecdsa => "ECDSA",
            Algorithm::Rsa => "RSA",
            Algorithm::Other => "other",
        }
    }
}

/// Returns the length of the hash that the issuer has signed. Nearly all are SHA-256.
fn hash_bits(signature: &Oid<'_>) -> u16 {
    let is_one_of = |oids: &[Oid<'_>]| oids.contains(signature);
    if is_one_of(&[OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA512]) {
        512
    } else if is_one_of(&[OID_PKCS1_SHA384WITHRSA, OID_SIG_ECDSA_WITH_SHA384]) {
        384
    } else if is_one_of(&[OID_PKCS1_SHA1WITHRSA, OID_PKCS1_MD5WITHRSAENC]) {
        160
    } else {
        256
    }
}
