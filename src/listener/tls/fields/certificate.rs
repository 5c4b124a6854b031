use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer, time::ASN1Time};

use super::{distinguished_name::distinguished_name, names::TlsField};
use crate::listener::tls::ClientCertificate;

/// The values of the fields about a certificate, which are the same for all requests of a
/// connection.
#[derive(Debug)]
pub(in crate::listener::tls) struct CertificateFields(Vec<(TlsField, HeaderValue)>);

impl CertificateFields {
    pub(in crate::listener::tls) fn of(certificate: &ClientCertificate) -> Self {
        let fields = match certificate {
            ClientCertificate::None => Vec::new(),
            ClientCertificate::Unverified(chain) => {
                vec![(TlsField::ClientCertificate, encoded_pem(chain))]
            }
            ClientCertificate::Verified(chain) => match chain.first() {
                Some(leaf) => of_verified(leaf),
                None => Vec::new(),
            },
        };
        // Values are printable ASCII by the way in which they are made.
        let valid = |(field, value): (TlsField, String)| {
            let value = HeaderValue::try_from(value).ok()?;
            Some((field, value))
        };
        Self(fields.into_iter().filter_map(valid).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(TlsField, HeaderValue)> {
        self.0.iter()
    }
}

fn of_verified(leaf: &CertificateDer<'_>) -> Vec<(TlsField, String)> {
    let mut fields = vec![(TlsField::ClientCertificateLeaf, encoded_pem([leaf]))];
    // What has been verified can be parsed.
    if let Ok((_, parsed)) = X509Certificate::from_der(leaf) {
        let validity = parsed.validity();
        let validity = format!(
            "NotBefore={};NotAfter={}",
            timestamp(validity.not_before),
            timestamp(validity.not_after)
        );
        fields.extend([
            (TlsField::ClientCertificateSerialNumber, hexadecimal(parsed.raw_serial())),
            (TlsField::ClientCertificateIssuer, distinguished_name(parsed.issuer())),
            (TlsField::ClientCertificateSubject, distinguished_name(parsed.subject())),
            (TlsField::ClientCertificateValidity, validity),
        ]);
    }
    fields
}

/// Returns certificates in PEM, in which only spaces and line ends need an escape.
fn encoded_pem<'a>(chain: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> String {
    let mut encoded = String::new();
    for certificate in chain {
        encoded.push_str("-----BEGIN%20CERTIFICATE-----%0A");
        let base64 = STANDARD.encode(certificate);
        let mut rest = &*base64;
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            encoded.push_str(line);
            encoded.push_str("%0A");
            rest = after;
        }
        encoded.push_str("-----END%20CERTIFICATE-----%0A");
    }
    encoded
}

/// Returns a positive number in DER as OpenSSL writes it: whole bytes, without the zero byte that
/// only marks the sign.
fn hexadecimal(number: &[u8]) -> String {
    let digits = match number {
        [0, digits @ ..] if !digits.is_empty() => digits,
        digits => digits,
    };
    digits.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

fn timestamp(time: ASN1Time) -> String {
    let time = time.to_datetime();
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_whole_bytes_without_the_sign() {
        for (der, text) in [
            (&[0][..], "00"),
            (&[1], "01"),
            (&[0x0a, 0xbc], "0ABC"),
            (&[0, 0xff, 0], "FF00"),
            (&[0, 0], "00"),
            (&[], ""),
        ] {
            assert_eq!(hexadecimal(der), text);
        }
    }

    #[test]
    fn pem_has_lines_of_64_characters() {
        let certificate = CertificateDer::from(vec![0xff; 60]);
        let encoded = encoded_pem([&certificate, &certificate]);
        let one = format!(
            "-----BEGIN%20CERTIFICATE-----%0A{}%0A{}%0A-----END%20CERTIFICATE-----%0A",
            "/".repeat(64),
            "/".repeat(16)
        );
        assert_eq!(encoded, one.repeat(2));
    }
}
