use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{self, Read},
    net::SocketAddr,
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
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

/// Where a secret is. A configuration never contains the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SecretSource {
    /// The name of an environment variable.
    Env(String),
    /// A file. A line end at its end is not part of the secret.
    File(PathBuf),
    /// The name by which the program supplies the secret.
    Program(String),
}

/// The longest secret that is read from a file, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;

impl SecretSource {
    /// Reads the secret from the environment or the file; blocking.
    ///
    /// # Errors
    ///
    /// If the variable or the file is missing, is not UTF-8 or is empty, the file is longer than
    /// 64 KiB, or the program supplies the secret. The error does not contain the secret.
    pub fn read(&self) -> io::Result<Secret> {
        let text = match self {
            Self::Env(name) => env::var(name).map_err(|error| match error {
                env::VarError::NotPresent => {
                    let message = format!("the environment has no variable {name:?}");
                    io::Error::new(io::ErrorKind::NotFound, message)
                }
                // The standard library's error would show the value.
                env::VarError::NotUnicode(_) => invalid("the variable is not UTF-8"),
            })?,
            Self::File(path) => {
                let mut text = String::new();
                let file = fs::File::open(path)?;
                file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
                if text.len() as u64 > MAX_SECRET_BYTES {
                    return Err(invalid("the file is longer than 64 KiB"));
                }
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
                text
            }
            Self::Program(_) => return Err(invalid("the program supplies the secret")),
        };
        if text.is_empty() { Err(invalid("the secret is empty")) } else { Ok(Secret(text)) }
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Deserialized by hand, so that the error about a literal secret does not repeat it.
impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Table {
            Env(String),
            File(PathBuf),
            Program(String),
        }

        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = SecretSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with `env`, `file` or `program`")
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretSource, E> {
                let message = "a secret is not part of a configuration: \
                               write a table with `env`, `file` or `program`";
                Err(E::custom(message))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretSource, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(match table {
                    Table::Env(name) => SecretSource::Env(name),
                    Table::File(path) => SecretSource::File(path),
                    Table::Program(name) => SecretSource::Program(name),
                })
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// A secret. Its `Debug` output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Creates a secret that the program has.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
