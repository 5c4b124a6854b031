use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::mode::ClientAuth;
use crate::{ConfigError, listener::tls::details::ClientCertificate};

/// The longest chain that a client may present, in bytes. Chains in use have 2 to 8 KB. A longer
/// one would fill the memory of the connection, and the header of each request.
const MAX_CHAIN_BYTES: usize = 32 << 10;

/// Decides whether the certificate of a client is accepted: in its handshake, and when it resumes
/// a session.
#[derive(Clone, Debug)]
pub(in crate::listener::tls) struct ClientVerifier {
    verifier: Arc<dyn ClientCertVerifier>,
    is_verifying: bool,
    identity: Vec<u8>,
}

impl ClientVerifier {
    pub(in crate::listener::tls) fn new(
        mode: &ClientAuth,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, ConfigError> {
        let algorithms = provider.signature_verification_algorithms;
        let limited = |inner| Arc::new(LimitChain { inner, algorithms });
        Ok(match mode {
            ClientAuth::Off => Self {
                verifier: WebPkiClientVerifier::no_client_auth(),
                is_verifying: false,
                identity: vec![0],
            },
            ClientAuth::Passthrough => {
                Self { verifier: limited(None), is_verifying: false, identity: vec![1] }
            }
            ClientAuth::Verify(store) => {
                let mut identity = vec![2];
                store.write_identity(&mut identity);
                let verifier = limited(Some(store.verifier(provider)?));
                Self { verifier, is_verifying: true, identity }
            }
        })
    }

    pub(in crate::listener::tls) fn for_handshakes(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }

    /// Returns bytes that are the same for all verifiers that accept the same clients.
    pub(in crate::listener::tls) fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// Returns what the handshake says about the client.
    ///
    /// A resumed session brings the certificate of an earlier handshake, which rustls does not
    /// verify again. It may have expired since.
    pub(in crate::listener::tls) fn accepted(
        &self,
        chain: Option<&[CertificateDer<'static>]>,
        is_resumed: bool,
    ) -> Result<ClientCertificate, Error> {
        let Some(chain @ [end_entity, intermediates @ ..]) = chain else {
            // Only a session that began under other rules comes without a certificate.
            if self.verifier.client_auth_mandatory() {
                return Err(Error::NoCertificatesPresented);
            }
            return Ok(ClientCertificate::None);
        };
        if is_resumed {
            self.verifier.verify_client_cert(end_entity, intermediates, UnixTime::now())?;
        }
        Ok(match self.is_verifying {
            true => ClientCertificate::Verified(chain.to_vec()),
            false => ClientCertificate::Unverified(chain.to_vec()),
        })
    }
}

/// Accepts what the inner verifier accepts, or everything, unless the chain is too long.
#[derive(Debug)]
struct LimitChain {
    inner: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for LimitChain {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes: usize = intermediates.iter().map(|certificate| certificate.len()).sum();
        if end_entity.len() + bytes > MAX_CHAIN_BYTES {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        match &self.inner {
            Some(inner) => inner.verify_client_cert(end_entity, intermediates, now),
            None => Ok(ClientCertVerified::assertion()),
        }
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.client_auth_mandatory())
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.as_ref().map_or(&[], |inner| inner.root_hint_subjects())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
