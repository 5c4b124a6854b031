use http::{HeaderMap, HeaderName};

use crate::{
    ConfigError, header_fields,
    hop_by_hop::{HopByHop, describes_client, describes_user},
};

/// A header field about the TLS of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsField {
    /// `X-Amzn-Mtls-Clientcert`: the chain that the client presents, unverified. PEM,
    /// percent-encoded except for `+`, `=` and `/`.
    ClientCertificate,
    /// `X-Amzn-Mtls-Clientcert-Serial-Number`: in hexadecimal digits.
    ClientCertificateSerialNumber,
    /// `X-Amzn-Mtls-Clientcert-Issuer`: a distinguished name as RFC 2253 writes it.
    ClientCertificateIssuer,
    /// `X-Amzn-Mtls-Clientcert-Subject`: a distinguished name as RFC 2253 writes it.
    ClientCertificateSubject,
    /// `X-Amzn-Mtls-Clientcert-Validity`:
    /// `NotBefore=2026-01-01T00:00:00Z;NotAfter=2027-01-01T00:00:00Z`.
    ClientCertificateValidity,
    /// `X-Amzn-Mtls-Clientcert-Leaf`: the verified certificate, encoded as the chain is.
    ClientCertificateLeaf,
    /// `X-Amzn-Tls-Version`: such as `TLSv1.3`.
    Version,
    /// `X-Amzn-Tls-Cipher-Suite`: such as `TLS_AES_128_GCM_SHA256`.
    CipherSuite,
}

/// All fields, in the order of their declaration.
const ALL: [TlsField; 8] = [
    TlsField::ClientCertificate,
    TlsField::ClientCertificateSerialNumber,
    TlsField::ClientCertificateIssuer,
    TlsField::ClientCertificateSubject,
    TlsField::ClientCertificateValidity,
    TlsField::ClientCertificateLeaf,
    TlsField::Version,
    TlsField::CipherSuite,
];

impl TlsField {
    /// Returns all fields.
    #[cfg(feature = "alb")]
    pub(crate) fn all() -> [Self; 8] {
        ALL
    }

    /// Returns the name that an Application Load Balancer uses unless another is set.
    #[must_use]
    pub fn default_name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::ClientCertificate => "x-amzn-mtls-clientcert",
            Self::ClientCertificateSerialNumber => "x-amzn-mtls-clientcert-serial-number",
            Self::ClientCertificateIssuer => "x-amzn-mtls-clientcert-issuer",
            Self::ClientCertificateSubject => "x-amzn-mtls-clientcert-subject",
            Self::ClientCertificateValidity => "x-amzn-mtls-clientcert-validity",
            Self::ClientCertificateLeaf => "x-amzn-mtls-clientcert-leaf",
            Self::Version => "x-amzn-tls-version",
            Self::CipherSuite => "x-amzn-tls-cipher-suite",
        })
    }
}

/// The names that are written, and those that a client may not send.
#[derive(Clone, Debug)]
pub(super) struct Names {
    written: [HeaderName; ALL.len()],
    /// Names that are written, and the default ones: an endpoint may still read those.
    reserved: Vec<HeaderName>,
}

impl Names {
    /// Returns the names, of which some are changed.
    pub(super) fn new(renamed: &[(TlsField, HeaderName)]) -> Result<Self, ConfigError> {
        let mut written = ALL.map(TlsField::default_name);
        for (field, name) in renamed {
            written[*field as usize] = name.clone();
        }
        for (index, name) in written.iter().enumerate() {
            // An endpoint could not tell the two apart.
            if written[..index].iter().any(|other| is_alike(other.as_str(), name.as_str())) {
                let expected = "a name that no other field has";
                return Err(ConfigError::new("rename", expected).with_value(name));
            }
            // Whatever a client sends under the name is removed from its requests.
            if has_other_meaning(name) {
                let expected = "a field that has no other meaning";
                return Err(ConfigError::new("rename", expected).with_value(name));
            }
        }
        let mut reserved = written.to_vec();
        let defaults = ALL.map(TlsField::default_name);
        reserved.extend(defaults.into_iter().filter(|name| !written.contains(name)));
        Ok(Self { written, reserved })
    }

    pub(super) fn of(&self, field: TlsField) -> &HeaderName {
        &self.written[field as usize]
    }

    /// Removes the fields that only the load balancer may write, and those that an endpoint could
    /// take for them.
    pub(super) fn remove_forged(&self, headers: &mut HeaderMap) {
        header_fields::remove_if(headers, |name| {
            self.reserved.iter().any(|reserved| is_alike(reserved.as_str(), name.as_str()))
        });
    }
}

/// Returns whether names are the same for an endpoint that makes variables of them, as CGI does:
/// each character other than a letter or a digit becomes `_`.
fn is_alike(one: &str, other: &str) -> bool {
    let folded =
        |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' };
    one.len() == other.len() && one.bytes().map(folded).eq(other.bytes().map(folded))
}

/// Returns whether HTTP or a load balancer has a use for the name, also if the name has another
/// character for `-`.
fn has_other_meaning(name: &HeaderName) -> bool {
    /// Fields of requests that HTTP and its authentication, caches, browsers and proxies define.
    const OF_HTTP: [&str; 36] = [
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "access-control-request-headers",
        "access-control-request-method",
        "authorization",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "from",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "last-modified",
        "max-forwards",
        "origin",
        "pragma",
        "range",
        "referer",
        "set-cookie",
        "trailer",
        "user-agent",
        "via",
        "warning",
    ];
    /// The trace of a request, which a load balancer writes.
    const OF_LOAD_BALANCER: &str = "x-amzn-trace-id";

    let hyphened: String = name
        .as_str()
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char } else { '-' })
        .collect();
    let is_other = |name: &HeaderName| {
        OF_HTTP.contains(&name.as_str())
            || name == OF_LOAD_BALANCER
            || describes_user(name)
            || describes_client(name)
            || HopByHop::of(&HeaderMap::new()).contains(name)
    };
    // A name stays one when its separators change.
    HeaderName::try_from(hyphened).is_ok_and(|name| is_other(&name))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    #[test]
    fn forged_fields_are_removed_in_every_spelling() {
        let name = HeaderName::from_static("x-client-subject");
        let names = Names::new(&[(TlsField::ClientCertificateSubject, name)]).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("X-Amzn-Mtls-Clientcert", "a"),
            ("x-amzn-mtls-clientcert", "b"),
            ("X_Amzn_Mtls_Clientcert", "c"),
            ("x-amzn_mtls-clientcert-leaf", "d"),
            ("x.amzn.mtls.clientcert.issuer", "e"),
            ("x-amzn-mtls-clientcert-subject", "the old name"),
            ("X_CLIENT_SUBJECT", "the new name"),
            ("x-amzn-tls-version", "f"),
        ] {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
        }
        let kept =
            ["x-amzn-trace-id", "x-amzn-mtls-clientcert-leaf-2", "xamznmtlsclientcert", "host"];
        for name in kept {
            headers.insert(name, HeaderValue::from_static("kept"));
        }
        names.remove_forged(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            ["host", "x-amzn-mtls-clientcert-leaf-2", "x-amzn-trace-id", "xamznmtlsclientcert"]
        );
    }

    #[test]
    fn names_with_another_meaning_are_rejected() {
        let renamed = |field, name| Names::new(&[(field, HeaderName::from_static(name))]);
        for name in [
            "host",
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "proxy-authorization",
            "content-length",
            "content_length",
            "transfer.encoding",
            "authorization",
            "cookie",
            "range",
            "forwarded",
            "x-forwarded-for",
            "x_forwarded_proto",
            "x-real-ip",
            "x-amzn-trace-id",
            "x-amzn-oidc-identity",
            "x_amzn_oidc_data",
            "x-amzn-tls-version",
        ] {
            let error = renamed(TlsField::ClientCertificate, name).unwrap_err();
            assert_eq!((error.field(), error.value()), ("rename", Some(name)), "{name}");
        }
        assert!(renamed(TlsField::ClientCertificate, "x_amzn_tls_version").is_err());
        assert!(renamed(TlsField::Version, "x-amzn-tls-version").is_ok());
        for (index, field) in ALL.into_iter().enumerate() {
            assert_eq!(field as usize, index);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_spelling_of_a_name_passes(
            field in prop::sample::select(ALL.to_vec()),
            separators in prop::collection::vec(prop::sample::select(vec!['-', '_', '.', '!', '~']), 8),
            upper in any::<u64>(),
        ) {
            let mut separators = separators.into_iter().cycle();
            let spelled: String = field.default_name().as_str().char_indices().map(|(at, char)| match char {
                '-' => separators.next().unwrap(),
                char if upper >> (at % 64) & 1 == 1 => char.to_ascii_uppercase(),
                char => char,
            }).collect();
            let mut headers = HeaderMap::new();
            headers.insert(spelled.parse::<HeaderName>().unwrap(), HeaderValue::from_static("forged"));
            Names::new(&[]).unwrap().remove_forged(&mut headers);
            prop_assert!(headers.is_empty(), "{}", spelled);
        }
    }
}
