use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{self, Read},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

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
    pub(in crate::alb) fn read(&self) -> io::Result<Secret> {
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

/// What is wrong with a secret in a file. It does not repeat what is written there.
const NOT_A_SOURCE: &str = "a secret is not part of a configuration: write a table with one of \
                            `env`, `file` and `program`, each a text";

impl SecretSource {
    /// Returns the source that a file has, whatever else may be in its place.
    fn of(value: Value) -> Option<Self> {
        let Value::Object(table) = value else { return None };
        let mut entries = table.into_iter();
        match (entries.next()?, entries.next()) {
            ((key, Value::String(text)), None) => match &*key {
                "env" => Some(Self::Env(text)),
                "file" => Some(Self::File(text.into())),
                "program" => Some(Self::Program(text)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Deserialized by hand: an error of serde would repeat a secret that stands here.
impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(any_value(deserializer)?).ok_or_else(|| de::Error::custom(NOT_A_SOURCE))
    }
}

/// Deserializes secrets by name, without repeating what else stands in their place.
pub(super) fn secret_sources<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, SecretSource>, D::Error> {
    struct Sources;

    impl Sources {
        fn not_a_table<T, E: de::Error>() -> Result<T, E> {
            Err(E::custom("the secrets of clients are a table by the client's id"))
        }
    }

    impl<'de> Visitor<'de> for Sources {
        type Value = BTreeMap<String, SecretSource>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table by the client's id")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            BTreeMap::deserialize(MapAccessDeserializer::new(map))
        }

        fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
            Self::not_a_table()
        }

        fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
            Self::not_a_table()
        }

        fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
            Self::not_a_table()
        }

        fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
            Self::not_a_table()
        }

        fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Self::not_a_table()
        }
    }

    deserializer.deserialize_any(Sources)
}

fn any_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    // A number that no `Value` holds is not a source either.
    Value::deserialize(deserializer).map_err(|_| de::Error::custom(NOT_A_SOURCE))
}

/// A secret. Its `Debug` output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::alb) struct Secret(String);

impl Secret {
    /// Creates a secret that the program has.
    pub(in crate::alb) fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the secret.
    pub(in crate::alb) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
