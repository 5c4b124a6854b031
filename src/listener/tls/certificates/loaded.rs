use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    Error as TlsError, InconsistentKeys,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::{
    certificate::{Certificate, Source},
    rank::Rank,
    server_name::ServerName,
};
use crate::{
    ConfigError,
    listener::tls::input::{self, Subject},
};

/// A certificate that has been read and checked.
pub(super) struct Loaded {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) names: Vec<ServerName>,
    pub(super) rank: Rank,
    pub(super) role: Role,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
    /// The files that can be read again.
    files: Option<Files>,
}

/// A certificate whose chain and key are both in files.
struct Files {
    certificate: Arc<Certificate>,
    /// The number of the certificate among those of its role.
    index: usize,
    chain: PathBuf,
    key: PathBuf,
    /// The state of both files before they were read.
    stamps: [Option<Stamp>; 2],
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

/// What a [`Certificates`](super::Certificates) serves, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateInfo {
    /// The names that get this certificate, in lower case: `shop.example`, `*.shop.example`.
    pub names: Vec<String>,
    /// Whether clients get it that ask for no name, or for an unknown one.
    pub is_default: bool,
    /// The algorithm of its key: `ECDSA`, `RSA` or `other`.
    pub algorithm: &'static str,
    /// The first moment at which it is valid.
    pub not_before: SystemTime,
    /// The last second in which it is valid.
    pub not_after: SystemTime,
    /// The file of the chain, if it was read from one.
    pub file: Option<PathBuf>,
}

/// Which names a certificate must have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It may be without a name.
    Default,
    ByName,
}

impl Role {
    /// Returns the name of a certificate in errors.
    fn field(self, index: usize) -> String {
        match self {
            Self::Default => format!("default_certificates[{index}]"),
            Self::ByName => format!("certificates[{index}]"),
        }
    }
}

impl Loaded {
    /// Reads and checks the certificate that is the `index`th of its role. One of `served` may have
    /// expired.
    pub(super) fn load(
        certificate: Arc<Certificate>,
        role: Role,
        index: usize,
        provider: &CryptoProvider,
        served: &[Arc<Self>],
    ) -> Result<Self, ConfigError> {
        Self::read(certificate, role, index, provider, served)
            .map_err(|error| error.within(&role.field(index)))
    }

    /// Reads the files of this certificate again, or returns `None` if it is not from files.
    pub(super) fn reload(
        &self,
        provider: &CryptoProvider,
        served: &[Arc<Self>],
    ) -> Option<Result<Self, ConfigError>> {
        let files = self.files.as_ref()?;
        let certificate = Arc::clone(&files.certificate);
        Some(Self::load(certificate, self.role, files.index, provider, served))
    }

    fn read(
        certificate: Arc<Certificate>,
        role: Role,
        index: usize,
        provider: &CryptoProvider,
        served: &[Arc<Self>],
    ) -> Result<Self, ConfigError> {
        // The state of the files is read before their content. So if they change in between, they
        // are read once more, and not too rarely.
        let files = Files::of(&certificate, index);
        let (chain_path, key_path) = match &certificate.source {
            Source::Encoded { chain, key } => (chain.path(), key.path()),
            Source::Der { .. } => (None, None),
        };
        let of_chain = Subject { field: "chain", path: chain_path };
        let of_key = Subject { field: "key", path: key_path };
        let (chain, key) = decode(&certificate.source, of_chain, of_key)?;

        let first = chain.first().cloned();
        let first = first.ok_or_else(|| of_chain.expects("at least one certificate"))?;
        let (_, parsed) = X509Certificate::from_der(&first)
            .map_err(|_| of_chain.expects("certificates that can be parsed"))?;
        let certified = Arc::new(certify(chain, key, provider, of_chain, of_key)?);
        let names = names(&parsed, &certificate, role, of_chain)?;
        // A certificate that has expired while it is served must not keep others from being
        // replaced.
        let is_served =
            |served: &Arc<Self>| served.certified.cert.first() == certified.cert.first();
        if !served.iter().any(is_served) {
            check_validity(&parsed, of_chain)?;
        }
        let rank = Rank::of(&parsed);
        let validity = parsed.validity();
        let (not_before, not_after) =
            (validity.not_before.timestamp(), validity.not_after.timestamp());
        Ok(Self { certified, names, rank, role, not_before, not_after, files })
    }

    /// Logs it if the certificate is served although it is not valid now.
    pub(super) fn warn_if_invalid(&self) {
        if !(self.not_before..=self.not_after).contains(&seconds(SystemTime::now())) {
            let CertificateInfo { names, file, not_before, not_after, .. } = self.info();
            tracing::warn!(
                ?names,
                ?file,
                ?not_before,
                ?not_after,
                "a certificate is served that is not valid now"
            );
        }
    }

    /// Returns whether the files have changed since they were read.
    pub(super) fn has_changed_files(&self) -> bool {
        self.files
            .as_ref()
            .is_some_and(|files| files.stamps != [Stamp::of(&files.chain), Stamp::of(&files.key)])
    }

    pub(super) fn info(&self) -> CertificateInfo {
        CertificateInfo {
            names: self.names.iter().map(ToString::to_string).collect(),
            is_default: self.role == Role::Default,
            algorithm: self.rank.algorithm(),
            not_before: time(self.not_before),
            not_after: time(self.not_after),
            file: self.files.as_ref().map(|files| files.chain.clone()),
        }
    }
}

impl Files {
    fn of(certificate: &Arc<Certificate>, index: usize) -> Option<Self> {
        let Source::Encoded { chain, key } = &certificate.source else { return None };
        let (chain, key) = (chain.path()?.to_owned(), key.path()?.to_owned());
        let stamps = [Stamp::of(&chain), Stamp::of(&key)];
        Some(Self { certificate: Arc::clone(certificate), index, chain, key, stamps })
    }
}

impl Stamp {
    /// Follows symbolic links, so that exchanging one is a change.
    fn of(path: &PathBuf) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len() })
    }
}

fn decode(
    source: &Source,
    of_chain: Subject<'_>,
    of_key: Subject<'_>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ConfigError> {
    match source {
        Source::Der { chain, key } => Ok((chain.clone(), key.clone_key())),
        Source::Encoded { chain, key } => {
            let chain = input::certificates(&chain.read(of_chain.field)?, of_chain)?;
            let key = input::private_key(&key.read(of_key.field)?, of_key)?;
            Ok((chain, key))
        }
    }
}

fn names(
    parsed: &X509Certificate<'_>,
    certificate: &Certificate,
    role: Role,
    of_chain: Subject<'_>,
) -> Result<Vec<ServerName>, ConfigError> {
    let names: Vec<_> = match &certificate.names {
        Some(names) => {
            let expected = "DNS names, or `*.` before one";
            let parse = |name: &String| {
                ServerName::parse(name)
                    .ok_or_else(|| ConfigError::new("names", expected).with_value(name))
            };
            names.iter().map(parse).collect::<Result<_, _>>()?
        }
        // Clients can ask for no other names, such as addresses.
        None => match parsed.subject_alternative_name() {
            Ok(Some(extension)) => extension
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => ServerName::parse(name),
                    _ => None,
                })
                .collect(),
            Ok(None) => Vec::new(),
            Err(_) => return Err(of_chain.expects("valid subject alternative names")),
        },
    };
    if names.is_empty() && role == Role::ByName {
        let expected = "a certificate with a DNS name among its subject alternative names, \
                        or `names` to be set";
        return Err(of_chain.expects(expected));
    }
    Ok(names)
}

fn check_validity(parsed: &X509Certificate<'_>, of_chain: Subject<'_>) -> Result<(), ConfigError> {
    let validity = parsed.validity();
    let now = seconds(SystemTime::now());
    if now > validity.not_after.timestamp() {
        let expired = format!("a certificate that has not expired, as on {}", validity.not_after);
        return Err(of_chain.expects(expired));
    }
    if now < validity.not_before.timestamp() {
        let valid =
            format!("a certificate that is valid already, not from {}", validity.not_before);
        return Err(of_chain.expects(valid));
    }
    Ok(())
}

fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
    of_chain: Subject<'_>,
    of_key: Subject<'_>,
) -> Result<CertifiedKey, ConfigError> {
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| of_key.expects("a private key of a kind that the crypto provider supports"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A key in a hardware module may not tell its public half.
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(TlsError::InconsistentKeys(_)) => Err(match of_chain.path {
            Some(path) => of_key
                .expects(format!("the private key of the first certificate in {}", path.display())),
            None => of_key.expects("the private key of the first certificate"),
        }),
        Err(_) => Err(of_chain.expects("an X.509 certificate of version 3")),
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}
