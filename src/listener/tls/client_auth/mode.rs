use super::trust_store::TrustStore;

/// Whether clients present a certificate, and who verifies it.
///
/// In both modes other than `Off`, the client proves that it has the private key.
///
/// | mode | the listener asks for a certificate | it accepts |
/// |---|---|---|
/// | `Off` | no | |
/// | `Passthrough` | yes | any certificate of X.509 version 3, and clients without one |
/// | `Verify` | yes | certificates that the [`TrustStore`] verifies |
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ClientAuth {
    /// Clients are not asked.
    #[default]
    Off,
    /// Clients are asked, and the backend verifies what they present: until then, each name in the
    /// certificate is only a claim.
    Passthrough,
    /// Clients are asked, and the listener verifies what they present.
    Verify(TrustStore),
}
