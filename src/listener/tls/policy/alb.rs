//! The security policies of Application Load Balancers.
//!
//! Source: AWS, "Security policies for your Application Load Balancer". The policies of the family
//! `RFC9151` are not here: they demand more of certificates and signatures than suites.

use rustls::CipherSuite;

use super::security_policy::{Groups, Order, SecurityPolicy};

/// Returns the policy of a name.
pub(super) fn find(name: &str) -> Option<SecurityPolicy> {
    TABLE.iter().find(|policy| policy.name == name).map(AlbPolicy::to_security_policy)
}

/// Returns the names of all policies.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|policy| policy.name)
}

/// One policy as AWS describes it. All have the four suites of [`GCM`] in TLS 1.2.
struct AlbPolicy {
    name: &'static str,
    versions: Versions,
    /// The other suites of TLS 1.2 and before.
    legacy: &'static [&'static [&'static str]],
    is_fips: bool,
    is_hybrid: bool,
}

#[derive(Clone, Copy)]
enum Versions {
    /// TLS 1.3 only.
    Tls13,
    /// TLS 1.3 and 1.2, and these before.
    Since(&'static [&'static str]),
    /// TLS 1.2, and these before.
    Until12(&'static [&'static str]),
}

const TLS13: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];
const TLS13_FIPS: [CipherSuite; 2] =
    [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_AES_256_GCM_SHA384];
const GCM: [CipherSuite; 4] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
];

const CBC_SHA2: &[&str] = &[
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
];
const CBC_SHA1: &[&str] = &[
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
];
/// Key exchange by RSA encryption, without forward secrecy.
const RSA_SHA2: &[&str] =
    &["AES128-GCM-SHA256", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA256"];
const RSA_SHA1: &[&str] = &["AES128-SHA", "AES256-SHA"];
const TRIPLE_DES: &[&str] = &["DES-CBC3-SHA"];

const NONE: &[&[&str]] = &[];
const CBC: &[&[&str]] = &[CBC_SHA2];
const ALL_CBC: &[&[&str]] = &[CBC_SHA2, CBC_SHA1];
const CBC_AND_RSA: &[&[&str]] = &[CBC_SHA2, RSA_SHA2];
const ALL_CBC_AND_RSA: &[&[&str]] = &[CBC_SHA2, CBC_SHA1, RSA_SHA2, RSA_SHA1];
const EVERYTHING: &[&[&str]] = &[CBC_SHA2, CBC_SHA1, RSA_SHA2, RSA_SHA1, TRIPLE_DES];

const SINCE_10: Versions = Versions::Since(&["TLSv1.1", "TLSv1"]);
const SINCE_11: Versions = Versions::Since(&["TLSv1.1"]);
const SINCE_12: Versions = Versions::Since(&[]);
const FROM_10_TO_12: Versions = Versions::Until12(&["TLSv1.1", "TLSv1"]);
const FROM_11_TO_12: Versions = Versions::Until12(&["TLSv1.1"]);
const ONLY_12: Versions = Versions::Until12(&[]);

#[rustfmt::skip]
const TABLE: &[AlbPolicy] = &[
    hybrid("ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", Versions::Tls13, NONE),
    hybrid("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", SINCE_12, NONE),
    hybrid("ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", SINCE_12, CBC),
    hybrid("ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09", SINCE_12, CBC_AND_RSA),
    hybrid("ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09", SINCE_12, ALL_CBC_AND_RSA),
    hybrid("ELBSecurityPolicy-TLS13-1-0-PQ-2025-09", SINCE_10, ALL_CBC_AND_RSA),
    policy("ELBSecurityPolicy-TLS13-1-3-2021-06", Versions::Tls13, NONE),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", SINCE_12, NONE),
    policy("ELBSecurityPolicy-TLS13-1-2-2021-06", SINCE_12, CBC),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", SINCE_12, CBC_AND_RSA),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", SINCE_12, ALL_CBC_AND_RSA),
    policy("ELBSecurityPolicy-TLS13-1-1-2021-06", SINCE_11, ALL_CBC_AND_RSA),
    policy("ELBSecurityPolicy-TLS13-1-0-2021-06", SINCE_10, ALL_CBC_AND_RSA),
    policy("ELBSecurityPolicy-FS-1-2-Res-2020-10", ONLY_12, NONE),
    policy("ELBSecurityPolicy-FS-1-2-Res-2019-08", ONLY_12, CBC),
    policy("ELBSecurityPolicy-FS-1-2-2019-08", ONLY_12, ALL_CBC),
    policy("ELBSecurityPolicy-FS-1-1-2019-08", FROM_11_TO_12, ALL_CBC),
    policy("ELBSecurityPolicy-FS-2018-06", FROM_10_TO_12, ALL_CBC),
    policy("ELBSecurityPolicy-TLS-1-2-2017-01", ONLY_12, CBC_AND_RSA),
    policy("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", ONLY_12, ALL_CBC_AND_RSA),
    policy("ELBSecurityPolicy-TLS-1-1-2017-01", FROM_11_TO_12, ALL_CBC_AND_RSA),
    policy("ELBSecurityPolicy-2016-08", FROM_10_TO_12, ALL_CBC_AND_RSA),
    policy("ELBSecurityPolicy-2015-05", FROM_10_TO_12, ALL_CBC_AND_RSA),
    policy("ELBSecurityPolicy-TLS-1-0-2015-04", FROM_10_TO_12, EVERYTHING),
    fips(hybrid("ELBSecurityPolicy-TLS13-1-3-FIPS-PQ-2025-09", Versions::Tls13, NONE)),
    fips(hybrid("ELBSecurityPolicy-TLS13-1-2-Res-FIPS-PQ-2025-09", SINCE_12, NONE)),
    fips(hybrid("ELBSecurityPolicy-TLS13-1-2-FIPS-PQ-2025-09", SINCE_12, CBC)),
    fips(hybrid("ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-PQ-2025-09", SINCE_12, ALL_CBC)),
    fips(hybrid("ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-PQ-2025-09", SINCE_12, CBC_AND_RSA)),
    fips(hybrid("ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-PQ-2025-09", SINCE_12, ALL_CBC_AND_RSA)),
    fips(hybrid("ELBSecurityPolicy-TLS13-1-0-FIPS-PQ-2025-09", SINCE_10, ALL_CBC_AND_RSA)),
    fips(policy("ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04", Versions::Tls13, NONE)),
    fips(policy("ELBSecurityPolicy-TLS13-1-2-Res-FIPS-2023-04", SINCE_12, NONE)),
    fips(policy("ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", SINCE_12, CBC)),
    fips(policy("ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-2023-04", SINCE_12, ALL_CBC)),
    fips(policy("ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-2023-04", SINCE_12, CBC_AND_RSA)),
    fips(policy("ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-2023-04", SINCE_12, ALL_CBC_AND_RSA)),
    fips(policy("ELBSecurityPolicy-TLS13-1-1-FIPS-2023-04", SINCE_11, ALL_CBC_AND_RSA)),
    fips(policy("ELBSecurityPolicy-TLS13-1-0-FIPS-2023-04", SINCE_10, ALL_CBC_AND_RSA)),
];

const fn policy(
    name: &'static str,
    versions: Versions,
    legacy: &'static [&'static [&'static str]],
) -> AlbPolicy {
    AlbPolicy { name, versions, legacy, is_fips: false, is_hybrid: false }
}

const fn hybrid(
    name: &'static str,
    versions: Versions,
    legacy: &'static [&'static [&'static str]],
) -> AlbPolicy {
    AlbPolicy { is_hybrid: true, ..policy(name, versions, legacy) }
}

const fn fips(policy: AlbPolicy) -> AlbPolicy {
    AlbPolicy { is_fips: true, ..policy }
}

impl AlbPolicy {
    /// Returns the part that rustls has, and the names of the rest.
    fn to_security_policy(&self) -> SecurityPolicy {
        let of_tls13 = || if self.is_fips { &TLS13_FIPS[..] } else { &TLS13 };
        let (tls13, tls12, older) = match self.versions {
            Versions::Tls13 => (of_tls13(), &[][..], &[][..]),
            Versions::Since(older) => (of_tls13(), &GCM[..], older),
            Versions::Until12(older) => (&[][..], &GCM[..], older),
        };
        let mut left_out = older.to_vec();
        left_out.extend(self.legacy.iter().copied().flatten());
        if self.is_hybrid {
            left_out.push("SecP384r1MLKEM1024");
        }
        SecurityPolicy {
            name: self.name,
            tls13,
            tls12,
            groups: if self.is_hybrid { Groups::Hybrid } else { Groups::Classical },
            order: Order::Server,
            needs_fips: self.is_fips,
            left_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rustls_has_is_exact_and_the_rest_is_named() {
        let named = |name: &str| find(&format!("ELBSecurityPolicy-{name}")).unwrap();
        for name in ["TLS13-1-3-2021-06", "TLS13-1-2-Res-2021-06", "FS-1-2-Res-2020-10"] {
            assert!(named(name).is_exact(), "{name}");
        }
        for (name, left_out) in [
            ("TLS13-1-2-2021-06", CBC_SHA2.to_vec()),
            ("TLS13-1-2-Ext1-2021-06", [CBC_SHA2, RSA_SHA2].concat()),
            ("FS-1-1-2019-08", [&["TLSv1.1"], CBC_SHA2, CBC_SHA1].concat()),
            ("TLS13-1-3-PQ-2025-09", vec!["SecP384r1MLKEM1024"]),
        ] {
            let policy = named(name);
            assert_eq!(policy.left_out(), left_out, "{name}");
            assert!(!policy.is_exact());
        }
        let default = named("2016-08");
        assert!(!default.has_tls13() && default.left_out().contains(&"AES256-SHA"));
        assert!(named("TLS-1-0-2015-04").left_out().contains(&"DES-CBC3-SHA"));
    }

    #[test]
    fn tls12_has_no_chacha20_and_names_differ() {
        let is_chacha = |suite: &&CipherSuite| format!("{suite:?}").contains("CHACHA20");
        for name in names() {
            let policy = find(name).unwrap();
            assert_eq!(policy.tls12.iter().filter(is_chacha).count(), 0, "{name}");
            assert_eq!(names().filter(|other| *other == name).count(), 1, "{name}");
            assert_eq!(name.contains("FIPS"), policy.needs_fips, "{name}");
            assert_eq!(name.contains("PQ"), policy.groups == Groups::Hybrid, "{name}");
            assert_eq!(name.contains("TLS13"), policy.has_tls13(), "{name}");
        }
        assert!(SecurityPolicy::alb("ELBSecurityPolicy-TLS13-9").is_err());
        assert!(SecurityPolicy::alb("").is_err());
    }
}
