//! Certificates, made as the tests need them.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, ring};
use tower_lb::listener::tls::{Certificate, Certificates, CertificatesBuilder};

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(crate) fn certificates() -> CertificatesBuilder {
    Certificates::builder().crypto_provider(provider())
}

/// An empty directory of a test.
pub(crate) fn directory(test: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{test}"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// A certificate authority with files in the directory of a test.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) directory: PathBuf,
    /// The file of its own certificate.
    pub(crate) bundle: PathBuf,
}

/// The files of a certificate and its key.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) enum Validity {
    Now,
    Past,
    Future,
    /// Until this many seconds from now.
    Seconds(u64),
}

impl Authority {
    pub(crate) fn new(test: &str) -> Self {
        Self::named(test, "Test CA", directory(test))
    }

    /// An authority of another name in the same directory.
    pub(crate) fn other(&self, name: &str) -> Self {
        Self::named(name, name, self.directory.clone())
    }

    fn named(file: &str, name: &str, directory: PathBuf) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(&[(DnType::CommonName, name)]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let bundle = directory.join(format!("{file}-ca.pem"));
        fs::write(&bundle, issuer.pem()).unwrap();
        Self { issuer, directory, bundle }
    }

    /// Issues an ECDSA certificate for hosts, in files of this name.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Issued {
        self.issue_valid(file, names, Validity::Now)
    }

    pub(crate) fn issue_valid(&self, file: &str, names: &[&str], validity: Validity) -> Issued {
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let params = params.as_mut().unwrap();
        params.distinguished_name = distinguished(&[(DnType::CommonName, file)]);
        self.sign(file, params, validity, &KeyPair::generate().unwrap())
    }

    /// Issues an RSA certificate, if openssl can make a key.
    pub(crate) fn issue_rsa(&self, file: &str, names: &[&str]) -> Option<Issued> {
        let key = std::process::Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
            .output()
            .ok()?;
        let key = KeyPair::from_pem(&String::from_utf8(key.stdout).ok()?).ok()?;
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                .unwrap();
        params.distinguished_name = distinguished(&[(DnType::CommonName, file)]);
        Some(self.sign(file, &mut params, Validity::Now, &key))
    }

    /// Issues the certificate of a client.
    pub(crate) fn issue_client(
        &self,
        file: &str,
        name: DistinguishedName,
        serial: u64,
        validity: Validity,
    ) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.serial_number = Some(SerialNumber::from(serial));
        self.sign(file, &mut params, validity, &KeyPair::generate().unwrap())
    }

    fn sign(
        &self,
        file: &str,
        params: &mut CertificateParams,
        validity: Validity,
        key: &KeyPair,
    ) -> Issued {
        let years = match validity {
            Validity::Now => [2020, 2090],
            Validity::Past => [2020, 2021],
            Validity::Future => [2089, 2090],
            Validity::Seconds(_) => [2020, 2020],
        };
        [params.not_before, params.not_after] = years.map(|year| date_time_ymd(year, 1, 2));
        if let Validity::Seconds(seconds) = validity {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            params.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(seconds);
        }
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &*self.issuer).unwrap();
        self.write(file, &certificate.pem(), &key.serialize_pem())
    }

    pub(crate) fn write(&self, file: &str, cert: &str, key: &str) -> Issued {
        let [cert_file, key_file] =
            ["pem", "key"].map(|ending| self.directory.join(format!("{file}.{ending}")));
        fs::write(&cert_file, cert).unwrap();
        fs::write(&key_file, key).unwrap();
        Issued { cert: cert_file, key: key_file }
    }

    /// Writes a list that revokes certificates.
    pub(crate) fn revoke(&self, file: &str, serials: &[u64]) -> PathBuf {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.directory.join(file);
        fs::write(&path, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }
}

impl Issued {
    pub(crate) fn files(&self) -> Certificate {
        Certificate::files(&self.cert, &self.key)
    }

    /// Arguments of openssl that present this certificate.
    pub(crate) fn arguments(&self) -> [String; 4] {
        let (cert, key) = (self.cert.display().to_string(), self.key.display().to_string());
        ["-cert".into(), cert, "-key".into(), key]
    }
}

pub(crate) fn distinguished(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in parts {
        name.push(kind.clone(), *value);
    }
    name
}
