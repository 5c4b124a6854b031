//! Certificates, keys and revocation lists as the configuration gives them: files or bytes, PEM or
//! DER.

use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use crate::ConfigError;

/// The largest file that is read, in bytes. A bundle of 150 CA certificates has 250 KB; a
/// revocation list of 100 000 certificates has 4 MB.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A part of the configuration, of which error texts name the field and the file.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) field: &'static str,
    pub(super) path: Option<&'a Path>,
}

impl Subject<'_> {
    /// Returns an error that names the field, and the file if there is one.
    pub(super) fn expects(self, expected: impl Into<String>) -> ConfigError {
        let error = ConfigError::new(self.field, expected.into());
        match self.path {
            Some(path) => error.with_value(path.display()),
            None => error,
        }
    }

    /// Returns an error that also says what the parser found.
    fn expects_but(self, expected: &str, found: impl Display) -> ConfigError {
        self.expects(format!("{expected} ({found})"))
    }
}

/// Bytes of the configuration, or where they are.
pub(super) enum Input {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Input {
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Bytes(_) => None,
        }
    }

    /// Returns the bytes; those of a file are read now.
    pub(super) fn read(&self, field: &'static str) -> Result<Vec<u8>, ConfigError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => {
                let subject = Subject { field, path: Some(path) };
                read_file(path).map_err(|error| subject.expects_but("a readable file", error))
            }
        }
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Reads all certificates of a PEM text, or the one of a DER file. At least one is found.
pub(super) fn certificates(
    bytes: &[u8],
    subject: Subject<'_>,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let expected = "certificates in PEM, or one in DER";
    all(bytes, CertificateDer::from, subject, expected)
}

/// Reads all revocation lists of a PEM text, or the one of a DER file. At least one is found.
pub(super) fn revocation_lists(
    bytes: &[u8],
    subject: Subject<'_>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, ConfigError> {
    let expected = "revocation lists in PEM, or one in DER";
    all(bytes, CertificateRevocationListDer::from, subject, expected)
}

fn all<T: PemObject>(
    bytes: &[u8],
    of_der: impl Fn(Vec<u8>) -> T,
    subject: Subject<'_>,
    expected: &str,
) -> Result<Vec<T>, ConfigError> {
    if !is_pem(bytes) {
        return match bytes {
            [] => Err(subject.expects_but(expected, "it is empty")),
            bytes => Ok(vec![of_der(bytes.to_vec())]),
        };
    }
    let items: Vec<_> = T::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| subject.expects_but(expected, error))?;
    match items.is_empty() {
        true => Err(subject.expects_but(expected, "it has none")),
        false => Ok(items),
    }
}

/// Reads the first private key of a PEM text, or the one of a DER file.
pub(super) fn private_key(
    bytes: &[u8],
    subject: Subject<'_>,
) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let contains = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    if contains(b"BEGIN ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED") {
        return Err(subject.expects("a private key that is not encrypted"));
    }
    let expected = "a private key in PKCS#8, PKCS#1 or SEC1";
    // Errors of the parsers describe the form only. They contain nothing of the key.
    if !is_pem(bytes) {
        return PrivateKeyDer::try_from(bytes.to_vec())
            .map_err(|error| subject.expects_but(expected, error));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => subject.expects_but(expected, "it has none"),
        error => subject.expects_but(expected, error),
    })
}

fn is_pem(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}
