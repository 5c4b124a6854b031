use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::{SecretSource, secret_sources};
use crate::alb::config::form::is_default;

/// What the names of a configuration stand for, which the output of `describe-*` cannot contain.
///
/// A directory of `describe-*` files may have them in a file of their own, `bindings.toml`,
/// `bindings.json` or `bindings.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bindings {
    /// The addresses that a listener binds instead of its own, by the listener's port or ARN.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub listen: BTreeMap<String, Vec<SocketAddr>>,
    /// The addresses of a whole target group instead of its targets, by the group's name or ARN.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Vec<SocketAddr>>,
    /// The addresses of single targets, by `id:port` or by id. Those of instances are required.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, SocketAddr>,
    /// The Lambda functions, by ARN or name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<String, FunctionBinding>,
    /// The certificates, by ARN or name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, CertificateBinding>,
    /// The trust stores of mutual TLS, by ARN or name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub trust_stores: BTreeMap<String, TrustStoreBinding>,
    /// The secrets of OpenID Connect clients, by the client's id.
    #[serde(deserialize_with = "secret_sources", skip_serializing_if = "BTreeMap::is_empty")]
    pub client_secrets: BTreeMap<String, SecretSource>,
    /// The key sets of JSON Web Tokens, by the URL in the configuration. Default: they are fetched
    /// from that URL.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub jwks: BTreeMap<String, JwksBinding>,
    /// The secret that encrypts session cookies, at least 32 bytes. Default: a random one for each
    /// start, so that users log in again after a restart.
    #[serde(skip_serializing_if = "is_default")]
    pub cookie_secret: Option<SecretSource>,
}

/// Where a Lambda function is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FunctionBinding {
    /// The URL of an Invoke API without signatures, such as that of an emulator.
    Endpoint(String),
    /// The name by which the program supplies the function.
    Program(String),
}

/// Where a certificate and its key are: a table with `certificate` and `key`, or with `program`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, try_from = "CertificateTable")]
#[non_exhaustive]
pub enum CertificateBinding {
    /// Two files in PEM.
    Files {
        /// The file of the certificate and its chain.
        certificate: PathBuf,
        /// The file of the private key.
        key: PathBuf,
    },
    /// A certificate of the program.
    Program {
        /// The name by which the program supplies the certificate.
        program: String,
    },
}

/// Where a certificate and its key are: `certificate` and `key`, or `program` alone.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CertificateBinding")]
struct CertificateTable {
    /// The file of the certificate and its chain, in PEM.
    certificate: Option<PathBuf>,
    /// The file of the private key, in PEM.
    key: Option<PathBuf>,
    /// The name by which the program supplies the certificate, instead of files.
    program: Option<String>,
}

impl TryFrom<CertificateTable> for CertificateBinding {
    type Error = &'static str;

    fn try_from(table: CertificateTable) -> Result<Self, Self::Error> {
        // The text of a key in the place of its path would be shown by the error about the file.
        let is_pem = |path: &PathBuf| path.to_string_lossy().contains("-----BEGIN");
        if [&table.certificate, &table.key].into_iter().flatten().any(is_pem) {
            return Err("`certificate` and `key` are paths: write the PEM texts into files");
        }
        match (table.certificate, table.key, table.program) {
            (Some(certificate), Some(key), None) => Ok(Self::Files { certificate, key }),
            (None, None, Some(program)) => Ok(Self::Program { program }),
            _ => Err("a certificate needs `certificate` and `key`, or `program` alone"),
        }
    }
}

/// Where the authorities of client certificates are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustStoreBinding {
    /// The file of the authorities' certificates, in PEM.
    pub certificates: PathBuf,
    /// The files of revocation lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocations: Vec<PathBuf>,
}

/// Where a key set of JSON Web Tokens is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum JwksBinding {
    /// A file with the key set.
    File(PathBuf),
    /// Another URL.
    Url(String),
}
