use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::CertificateBinding;

/// A certificate of a listener: a name that `bindings.certificates` explains, or the files.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
#[non_exhaustive]
pub enum Certificate {
    /// The name or the ARN of the certificate, a key of `bindings.certificates`.
    Named(String),
    /// The certificate itself.
    Bound(CertificateBinding),
}

impl Serialize for Certificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Named(name) => name.serialize(serializer),
            Self::Bound(binding) => binding.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Certificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Certificate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a certificate, or a table with its files")
            }

            fn visit_str<E>(self, name: &str) -> Result<Certificate, E> {
                Ok(Certificate::Named(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Certificate, A::Error> {
                let map = MapAccessDeserializer::new(map);
                CertificateBinding::deserialize(map).map(Certificate::Bound)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// What an HTTPS listener asks of clients' certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum MutualTls {
    /// Nothing. The default.
    #[default]
    Off,
    /// The certificate is asked for and passed on, unverified, in `X-Amzn-Mtls-Clientcert`.
    Passthrough,
    /// The certificate is required and verified.
    Verify {
        /// The name or the ARN of the trust store, a key of `bindings.trust_stores`.
        trust_store: String,
        /// Whether expired certificates are accepted. Default false.
        #[serde(default)]
        ignore_expiry: bool,
        /// Whether the handshake names the certificate authorities of the trust store. Default
        /// false.
        #[serde(default)]
        advertise_ca_names: bool,
    },
}

impl CertificateBinding {
    /// Creates the binding of two files in PEM.
    pub fn files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::Files { certificate: certificate.into(), key: key.into() }
    }
}
